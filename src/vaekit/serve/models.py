"""What is served: runs, and models that were exported."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vaekit.errors import UserError
from vaekit.runtime.folder import ABOUT
from vaekit.runtime.tasks import Tasks, open_folder
from vaekit.serve.batcher import Batcher
from vaekit.serve.episodes import Act
from vaekit.serve.metrics import Metrics
from vaekit.serve.operations import OPERATIONS, Operation

log = logging.getLogger(__name__)

LOOK = 1.0  # seconds between two looks at what came in, to see whether it is odd
LOOKED_AT = 256  # rows at a time, at most


@dataclass(frozen=True)
class Limits:
    """Limits of the cost of a request.

    Attributes:
        waiting: requests of a model that may be under way. body: bytes of a request. rows: of a request, in or out.
        deadline: seconds for a request. threads: of a graph. device: where runs compute.
    """

    waiting: int = 256
    body: int = 16 << 20
    rows: int = 10_000
    deadline: float = 30.0
    threads: int = 1
    device: str = "cpu"


class Model:
    """A model that is served.

    Attributes:
        tasks: what it does. operations: what can be asked of it, by name.
    """

    def __init__(self, name: str, tasks: Tasks, limits: Limits, metrics: Metrics):
        self.tasks = tasks
        kinds: dict[str, type[Operation]] = {**OPERATIONS, Act.name: Act}
        self.operations = {o: kind(self.tasks, limits.rows) for o, kind in kinds.items() if kind.suits(self.tasks)}
        if not self.operations:
            raise UserError(f"nothing of {name} can be served: {'; '.join(tasks.about['notes']) or 'it has no graphs'}")
        self.batcher = Batcher(tasks.folder, limits.waiting, metrics.graphs(name))
        self._waiting = metrics.waiting.labels(name)
        self._waiting.set_function(lambda: self.batcher.under_way)
        self.drift = None if self.tasks.calibration is None else metrics.drift(name)
        self._looking: asyncio.Task[None] | None = None

    def about(self) -> dict[str, Any]:
        """Facts about the model for clients."""
        about = self.tasks.about
        kept = {
            name: about.get(name) for name in ("name", "noun", "vaekit", "latent_dim", "conditions", "score", "notes")
        }
        return {**kept, "operations": list(self.operations)}

    async def do(self, operation: Operation, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The result of an operation, and the notes that were made."""
        result, notes = await self.batcher.do(operation.run(given), operation.asked(given))
        if self.drift and operation.main == "rows":
            self._look(operation, given, result)
        return result, notes

    # -- is what comes in like what the model was trained on? ----------------------------------------------------------

    def _look(self, operation: Operation, given: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        assert self.drift
        if "p_values" in result:
            self.drift(result["p_values"])
        elif (self._looking is None or self._looking.done()) and operation.count(given["rows"]) <= LOOKED_AT:
            # One request a second is looked at: the figure must not cost what the requests cost.
            self._looking = asyncio.get_running_loop().create_task(self._rate(given))

    async def _rate(self, given: Mapping[str, Any]) -> None:
        assert self.drift
        rows, y = given["rows"], given.get("y")
        await asyncio.sleep(LOOK)
        try:
            (_, p), _ = await self.batcher.do(self.tasks.rate(rows, y))
        except Exception:  # such as gaps, an unknown condition, or no room to wait: this request says nothing
            return
        self.drift(p)


def open_models(places: Mapping[str, Path], limits: Limits, metrics: Metrics) -> dict[str, Model]:
    """Open exported models and runs by name, and check their files. UserError if one cannot be served."""
    models: dict[str, Model] = {}
    for name, place in places.items():
        with TemporaryDirectory(prefix="vaekit-serve-") as scratch:
            models[name] = Model(name, opened(place, name, Path(scratch), limits), limits, metrics)
    return models


def opened(place: Path, name: str, scratch: Path, limits: Limits) -> Tasks:
    """The tasks of an exported model, or of a run."""
    if (place / ABOUT).exists():
        if limits.device != "cpu":
            raise UserError(f"{place} is an exported model, which runs on the CPU: give the run that it came from")
        return open_folder(place, limits.threads)
    if not place.exists():
        raise UserError(f"{place} does not exist: give a run directory, or a folder of `vaekit export`")
    from vaekit.serve.engine import tasks_of  # with PyTorch, which an exported model does not need

    return tasks_of(place, name, scratch, limits.threads, limits.device)


def names_of(places: Sequence[str]) -> list[str]:
    """The names of models in paths: those of their folders, or of repositories. UserError if two have the same name."""
    names = [re.sub(r"[^A-Za-z0-9._-]+", "-", folder_name(place)).strip("-.") for place in places]
    for place, name in zip(places, names, strict=True):
        if not name:
            raise UserError(f"{place} has no name that could be in a path: rename the folder")
        if names.count(name) > 1:
            raise UserError(f"two models have the name {name!r}: rename the folder of one, its name is its path")
    return names


def folder_name(place: str) -> str:
    if place.startswith("hf:"):
        return place.partition("@")[0].rpartition("/")[2]
    return Path(place).resolve().name
