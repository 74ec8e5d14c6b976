"""The folder of an exported model: what it says about itself, and its graphs, of which each is opened when it is first used."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.errors import UserError
from vaekit.robots.onnx_policy import open_session

ABOUT, FORMAT = "model.json", 1
ROWS = 1024  # that go through a graph at a time: bounds memory
AGAIN = "export the model again, or restore the file from a copy"
WHY = {
    "prior": "its rows cannot be sampled one by one", "draw": "its samples are not drawn", "complete": "such rows have no gaps to fill row by row",
    "score": "its rows cannot be scored one by one", "predict": "it was not trained with few labels", "policy": "it is no policy",
}  # fmt: skip
TYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int32)": np.int32, "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_, "tensor(uint8)": np.uint8,
}  # fmt: skip


class Folder:
    """An exported model's files.

    Args:
        path: of the folder. threads: of a graph.

    Attributes:
        about: the content of model.json.

    Raises:
        UserError: there is no model, it is of a newer format, or model.json is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 1):
        self.path, self.threads = Path(path), threads
        self.about = read_about(self.path / ABOUT)
        self.sessions: dict[str, Any] = {}

    @property
    def notes(self) -> list[str]:
        return list(self.about.get("notes", []))

    def file(self, name: str) -> Path:
        """The path of a file. UserError if it is not there, or was changed after the export."""
        path, known = self.path / name, self.about["files"].get(name)
        if not path.is_file():
            raise UserError(f"{path} does not exist, which {self.path / ABOUT} names: {AGAIN}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != known:
            raise UserError(f"{path} was changed after the export, or is damaged: {AGAIN}")
        return path

    def session(self, graph: str) -> Any:
        """A graph as an onnxruntime session. UserError with the reason if the model has none of that name."""
        if graph not in self.sessions:
            if f"{graph}.onnx" not in self.about["files"]:
                raise self.lacks(graph)
            path = self.file(f"{graph}.onnx")
            try:
                self.sessions[graph] = open_session(path.read_bytes(), self.threads)
            except UserError:
                raise
            except Exception as e:  # onnxruntime's errors share no other base
                raise UserError(f"{path} cannot be opened by this onnxruntime ({str(e)[:200]}): upgrade it") from e
        return self.sessions[graph]

    def lacks(self, graph: str) -> UserError:
        said = [note for note in self.notes if note.startswith(f"{graph} ")]
        why = "; ".join(said) or WHY.get(graph, "export the model again")
        return UserError(f"this model was exported without the graph {graph!r}: {why}")

    def inputs(self, graph: str) -> dict[str, Any]:
        """The inputs of a graph by name, with their `shape` and `type`."""
        return {each.name: each for each in self.session(graph).get_inputs()}

    def noise(self, graph: str, name: str = "noise") -> int:
        """How many random numbers a graph needs for each row (or of `draws`, for each draw of a row)."""
        noise = self.inputs(graph).get(name)
        return noise.shape[-1] if noise else 0

    def rows(self, graph: str) -> int:
        """How many rows go through a graph at a time."""
        return min(ROWS, self.about["graphs"].get(graph, {}).get("rows", ROWS))

    def run(self, graph: str, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run a graph, in pieces of as many rows as fit into memory.

        Args:
            given: by name, each (N, ...) or () for all rows. What the graph does not read is left out.

        Returns:
            its outputs by name, each (N, ...).
        """
        session = self.session(graph)
        feed: dict[str, np.ndarray] = {
            name: np.asarray(given[name], TYPES[each.type]) for name, each in self.inputs(graph).items()
        }
        rows, piece = max((len(values) for values in feed.values() if values.ndim), default=1), self.rows(graph)
        parts = [
            session.run(None, {n: np.ascontiguousarray(v[i : i + piece]) if v.ndim else v for n, v in feed.items()})
            for i in range(0, rows, piece)
        ]
        names = [each.name for each in session.get_outputs()]
        return {name: np.concatenate(outputs) for name, outputs in zip(names, zip(*parts, strict=True), strict=True)}

    def array(self, name: str) -> np.ndarray | None:
        """The array in a .npy file; None if the model has no such file."""
        if name not in self.about["files"]:
            return None
        return np.load(io.BytesIO(self.file(name).read_bytes()), allow_pickle=False)


def digest_of(about: Mapping[str, Any]) -> str:
    """A hash of what model.json says."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def read_about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: give the folder that `vaekit export RUN -o FOLDER` wrote") from None
    except OSError as e:
        raise UserError(f"cannot read {path}: {e.strerror}") from e
    except (ValueError, RecursionError) as e:
        raise UserError(f"{path} is damaged ({e}): {AGAIN}") from e
    written = about.get("format") if isinstance(about, dict) else None
    if not isinstance(written, int):
        raise UserError(f"{path} is not of a model that vaekit exported: give the folder that `vaekit export` wrote")
    if written > FORMAT:
        raise UserError(f"{path} has format {written}, and this vaekit reads up to {FORMAT}: upgrade vaekit")
    if about.pop("digest", None) != digest_of(about):
        raise UserError(f"{path} was changed after the export, or is damaged: {AGAIN}")
    needed = {"form": dict, "conditions": list, "latent_dim": int, "graphs": dict, "files": dict}
    if missing := [name for name, kind in needed.items() if not isinstance(about.get(name), kind)]:
        raise UserError(f"{path} lacks {missing[0]!r}: {AGAIN}")
    return about
