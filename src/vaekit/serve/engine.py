"""Runs as PyTorch computes them: on a GPU, and where ONNX cannot express a model. Exported models need none of this."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from vaekit.deploy.export import check, export, exported_score
from vaekit.deploy.graphs import ROWS, Graph, example, graphs
from vaekit.deploy.manifest import manifest, signature
from vaekit.errors import UserError
from vaekit.forms import open_form
from vaekit.recipes.calibrate import calibrated
from vaekit.runs.load import load
from vaekit.runtime.folder import Folder
from vaekit.runtime.tasks import Task, Tasks, known, open_folder
from vaekit.training.devices import chosen_device
from vaekit.training.products import inference
from vaekit.uses.calibration import Calibration

log = logging.getLogger(__name__)

NAMES = {"f32": "tensor(float)", "i32": "tensor(int32)", "bool": "tensor(bool)", "u8": "tensor(uint8)"}


def tasks_of(run: Path, name: str, scratch: Path, threads: int, device: str) -> Tasks:
    """The tasks of a run: as ONNX graphs on the CPU where that can be, else as PyTorch computes them.

    Raises:
        UserError: there is no such run or device.
    """
    there = chosen_device(device)
    estimator = load(run, device="cpu")
    if not has_graphs(estimator):
        estimator.to(device)
        return Whole(estimator, name)
    odd, kind = None, estimator.kind_
    if kind.exchangeable and not kind.why_not("scores"):
        odd = calibrated(run, estimator, keep=False)
    if there.type == "cpu":
        log.info("exporting %s, which takes a while; `vaekit export %s -o FOLDER` does it once", run, run)
        left_out = [text for text in export(estimator, scratch / name, odd=odd) if " is left out: " in text]
        if not left_out:
            return open_folder(scratch / name, threads)
        log.info("PyTorch computes %s: %s", name, "; ".join(left_out))
    return Tasks(Computed(estimator, name, odd, there))


def has_graphs(estimator: Any) -> bool:
    """A model without a latent has none."""
    try:
        check(estimator)
    except UserError:
        return False
    return True


class Computed(Folder):
    """The graphs of a run, computed by PyTorch, in the place of a folder of ONNX graphs.

    Args:
        odd: the score of rows. device: where to compute.
    """

    def __init__(self, estimator: Any, name: str, odd: Calibration | None, device: torch.device):
        self.path, self.threads, self.estimator = Path(name), 1, estimator
        fitted, notes = estimator.fitted_, list[str]()
        odd, score = exported_score(odd, None, notes)
        made = graphs(fitted, estimator.sampler_, score)
        signatures, self.sessions = {}, {}
        for graph in made.values():
            given = graph.inputs(example(fitted, ROWS))
            with torch.no_grad():
                signatures[graph.name] = signature(graph, given, graph(given))
            self.sessions[graph.name] = Session(graph, signatures[graph.name], device, given)
        about = manifest(fitted, name, odd, notes)
        files = {**{f"{graph}.onnx": "" for graph in made}, **dict.fromkeys(fitted.kind.exports, "")}
        self.about = about | {"graphs": signatures, "files": files}
        self._normal = np.sort(odd.scores) if odd and len(odd.scores) else None
        self._inputs, self._outputs = {}, {}
        fitted.to(device)

    def array(self, name: str) -> np.ndarray | None:
        return self._normal

    def policy(self) -> Any:
        return self.estimator


class Session:
    """A graph with the interface of an onnxruntime session."""

    def __init__(
        self, graph: Graph, signature: Mapping[str, Any], device: torch.device, given: Mapping[str, torch.Tensor]
    ):
        self.inputs, self.outputs = (
            [SimpleNamespace(name=name, shape=one["shape"], type=NAMES[one["dtype"]]) for name, one in ends.items()]
            for ends in (signature["inputs"], signature["outputs"])
        )
        self.graph, self.device = graph.to(device), device
        try:
            self.run(None, {name: t.numpy() for name, t in given.items()})
        except RuntimeError as e:  # such as a score that has learned tensors of its own
            log.info("the CPU computes the %s: %s", graph.name, str(e).splitlines()[0])
            self.graph, self.device = graph.to("cpu"), torch.device("cpu")

    def get_inputs(self) -> list[Any]:
        return self.inputs

    def get_outputs(self) -> list[Any]:
        return self.outputs

    @inference()
    def run(self, names: Sequence[str] | None, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        found = self.graph({name: torch.from_numpy(values).to(self.device) for name, values in feed.items()})
        return [found[name].cpu().numpy() for name in names or found]


class Whole(Tasks):
    """A model that has no latent, and so no graphs: its tasks are the methods of the estimator."""

    folder: Any = None

    def __init__(self, estimator: Any, name: str):
        fitted = estimator.fitted_
        self.estimator, self.about = estimator, manifest(fitted, name, None, []) | {"graphs": {}, "files": {}}
        self.form, self.latent_dim = open_form(self.about["form"]), 0
        self.conditions = known(self.about["conditions"], self.about["seen"])

    def can(self, graph: str) -> bool:
        return graph in ("prior", "score")

    gaps = False
    calibration = None

    def sample(self, n: int, y: Any = None, *, temperature: float = 1.0, seed: int = 0, first: int = 0) -> Task:
        return np.asarray(self.estimator.sample(n, y or None, temperature=temperature, random_state=seed), dtype=object)
        yield  # it is a task that asks for nothing

    def score(self, X: Any, y: Any = None) -> Task:
        return self.estimator.score_samples(X, y or None)
        yield
