"""The folder of an exported model: what it says about itself, and its graphs, of which each is opened when it is first used."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.errors import UserError
from vaekit.robots.onnx_policy import OnnxPolicy, open_session

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

Outputs = dict[str, np.ndarray]


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
        self._inputs: dict[str, dict[str, Any]] = {}
        self._outputs: dict[str, dict[str, int]] = {}

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

    def policy(self) -> Any:
        """The policy of a robot. UserError if the model is not a policy."""
        if "policy.onnx" not in self.about["files"]:
            raise self.lacks("policy")
        return OnnxPolicy(self.file("policy.onnx"), threads=self.threads)

    def lacks(self, graph: str) -> UserError:
        said = [note for note in self.notes if note.startswith(f"{graph} ")]
        why = "; ".join(said) or WHY.get(graph, "export the model again")
        return UserError(f"this model was exported without the graph {graph!r}: {why}")

    def inputs(self, graph: str) -> dict[str, Any]:
        """The inputs of a graph by name, with their `shape` and `type`."""
        if graph not in self._inputs:  # onnxruntime makes its answer anew each time
            self._inputs[graph] = {each.name: each for each in self.session(graph).get_inputs()}
        return self._inputs[graph]

    def noise(self, graph: str, name: str = "noise") -> int:
        """The number of random numbers that a graph needs per row (for `draws`, per draw of a row)."""
        noise = self.inputs(graph).get(name)
        return noise.shape[-1] if noise else 0

    def rows(self, graph: str) -> int:
        """The number of rows that go through a graph at a time."""
        return min(ROWS, self.about["graphs"].get(graph, {}).get("rows", ROWS))

    def run(self, graph: str, given: Mapping[str, np.ndarray]) -> Outputs:
        """Run a graph.

        Args:
            given: by name, each (N, ...) or () for all rows. What the graph does not read is left out.

        Returns:
            its outputs by name, with N rows each.
        """
        return self.run_together(graph, [given])[0]

    def run_together(self, graph: str, asked: Sequence[Mapping[str, np.ndarray]]) -> list[Outputs]:
        """Run a graph for several inputs, each as `run` wants them. Those that differ in their rows alone go through it as one."""
        types = {name: TYPES[each.type] for name, each in self.inputs(graph).items()}
        feeds: list[dict[str, np.ndarray]] = [
            {name: np.asarray(given[name], dtype) for name, dtype in types.items()} for given in asked
        ]
        alike: dict[Any, list[int]] = {}
        for i, feed in enumerate(feeds):
            alike.setdefault(tuple(v.shape[1:] if v.ndim else v.item() for v in feed.values()), []).append(i)
        found: list[Outputs] = [{} for _ in feeds]
        for those in alike.values():
            for i, outputs in zip(those, self._run_alike(graph, [feeds[i] for i in those]), strict=True):
                found[i] = outputs
        return found

    def _run_alike(self, graph: str, feeds: Sequence[Mapping[str, np.ndarray]]) -> Iterator[Outputs]:
        session, piece, axes = self.session(graph), self.rows(graph), self._axes(graph)
        one = feeds[0]
        if len(feeds) > 1:
            one = {n: np.concatenate([feed[n] for feed in feeds]) if v.ndim else v for n, v in one.items()}
        rows = [max((len(v) for v in feed.values() if v.ndim), default=1) for feed in feeds]
        parts = [
            session.run(
                list(axes), {n: np.ascontiguousarray(v[i : i + piece]) if v.ndim else v for n, v in one.items()}
            )
            for i in range(0, sum(rows), piece)
        ]
        whole = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True), axes.values())
        split = [
            np.split(values, np.cumsum(rows)[:-1], axis) for values, axis in zip(whole, axes.values(), strict=True)
        ]
        return (dict(zip(axes, outputs, strict=True)) for outputs in zip(*split, strict=True))

    def _axes(self, graph: str) -> dict[str, int]:
        """The outputs of a graph by name, and which of their axes counts rows."""
        if graph not in self._outputs:
            known = self.about["graphs"][graph]["outputs"]
            names = [each.name for each in self.session(graph).get_outputs()]
            self._outputs[graph] = {name: known[name]["shape"].index("rows") for name in names}
        return self._outputs[graph]

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
