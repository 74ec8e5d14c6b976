"""An exported policy at work.

Needs only NumPy and onnxruntime, no PyTorch: it runs on the robot.

    policy = OnnxPolicy("policy.onnx")
    policy.reset()
    while running:
        act(policy.act({"state": joints(), "images.top": picture()}))
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from vaekit.errors import UserError, extra_needed, near_matches
from vaekit.robots.execution import Execution, execution

METADATA, FORMAT = "vaekit.policy", 1  # name of the metadata, and the number of its form
NOISE, COMPONENT, Z = "noise", "component", "z"  # inputs beside the observations
NONE = np.array([-1])  # no component is held


class OnnxPolicy:
    """A policy of `vaekit export`, with the same `reset` and `act` as the policy that it was.

    z is drawn by the same rule, but from NumPy's random numbers: with `z="mean"`, or z given to `reset`, it acts as the
    policy does; else alike, with another z.

    Args:
        path: of the .onnx file.
        execute: how chunks become actions, as for `Policy`. None: as the file says.
        threads: of the network.

    Attributes:
        about: what the file says of itself: chunk_size, fps, action_names, observations and so on.

    Raises:
        UserError: onnxruntime is not installed, or the file is not there or is none of vaekit's, or `execute` is unknown.
    """

    def __init__(self, path: str | os.PathLike[str], *, execute: str | int | None = None, threads: int = 1):
        self.session = _open(os.fspath(path), threads)
        self.about = _about(os.fspath(path), self.session)
        self.execute = str(self.about["execute"] if execute is None else execute)
        self.shapes = {name: tuple(o["shape"]) for name, o in self.about["observations"].items()}
        self.dtypes = {name: np.dtype(o["dtype"]) for name, o in self.about["observations"].items()}
        self.classes: dict[str, list[str]] = self.about.get("classes", {})
        self._episode = -1
        self.reset()

    def reset(self, seed: int | None = None, *, z: Any = None) -> None:
        """Begin an episode.

        Args:
            seed: of z; None: the next one of a row of them that begins at the policy's own.
            z: (latent_dim,) to use throughout, in place of one that is drawn.
        """
        self._episode += 1
        self._rng = np.random.default_rng((self.about["seed"], self._episode) if seed is None else seed)
        self._extras: dict[str, np.ndarray] = {}
        if z is not None:
            self._extras[Z] = self._given_z(z)
        self._draw()
        try:
            self._execution: Execution = execution(self.execute, self.about["chunk_size"])
        except ValueError as e:
            raise UserError(f"execute={self.execute!r}: {e}") from e

    @property
    def deciding(self) -> bool:
        """Whether the next `act` decides on a new chunk."""
        return self._execution.wants_chunk()

    @property
    def sees_cameras(self) -> bool:
        return any(len(shape) == 3 for shape in self.shapes.values())

    def act(self, observation: Mapping[str, Any]) -> np.ndarray:
        """The action for now: observation by name, without a row axis -> (A,), in the robot's own units.

        Raises:
            UserError: something that the policy was trained to see is missing, or has another shape, or is not finite.
        """
        if self._execution.wants_chunk():
            chunks, *kept = self.session.run(None, {**self._packed(observation), **self._extras})
            self._execution.add(chunks[0])
            if self.about["z"] == "chunk":
                self._draw()
            elif kept:
                self._extras[COMPONENT] = kept[0]
        return self._execution.next()

    def _draw(self) -> None:
        if self.about["component"]:
            self._extras[COMPONENT] = NONE
        if self.about["noise"]:
            self._extras[NOISE] = self._rng.standard_normal((1, self.about["noise"]), dtype=np.float32)

    def _code(self, name: str, label: str) -> int:
        """Which of the classes of an observation this is."""
        if label not in self.classes[name]:
            near = near_matches(label, self.classes[name])
            raise UserError(f"observation {name!r} has no class {label!r}{near}")
        return self.classes[name].index(label)

    def _given_z(self, z: Any) -> np.ndarray:
        z = np.asarray(z, dtype=np.float32)
        if z.shape != (self.about["latent_dim"],):
            raise UserError(f"z has the shape {z.shape}: this policy's is ({self.about['latent_dim']},)")
        return z

    def _packed(self, observation: Mapping[str, Any]) -> dict[str, np.ndarray]:
        packed = {}
        for name, shape in self.shapes.items():
            if name not in observation:
                raise UserError(
                    f"the observation has no {name!r}, which the policy was trained to see{near_matches(name, observation)}"
                )
            value, dtype = observation[name], self.dtypes[name]
            values = np.asarray(self._code(name, str(value)) if name in self.classes else value)
            fits = values.dtype == dtype if dtype == np.uint8 else values.dtype.kind in "biuf"
            if values.shape != shape or not fits:
                raise UserError(f"observation {name!r} is {values.dtype} {values.shape}: give {dtype} {shape}")
            if dtype != np.uint8 and not np.isfinite(values).all():
                raise UserError(f"observation {name!r} is not finite: {values.tolist()}")
            packed[name] = np.ascontiguousarray(values[None], dtype=dtype)
        return packed


def open_session(model: str | bytes, threads: int = 1) -> Any:
    """An `onnxruntime.InferenceSession` of a file or its content."""
    try:
        import onnxruntime
    except ImportError as e:
        raise extra_needed("onnx", "onnxruntime") from e
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # that z may be left out is worth a warning to it
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _open(path: str, threads: int) -> Any:
    if not os.path.isfile(path):
        raise UserError(f"{path} is not there: write it with `vaekit export RUN -o {path}`")
    try:
        return open_session(path, threads)
    except UserError:
        raise
    except Exception as e:  # its own errors share no base but this
        raise UserError(f"{path} is damaged or no ONNX file: export it again") from e


def _about(path: str, session: Any) -> dict[str, Any]:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA)
    about = json.loads(text) if text else {"format": None}
    if about["format"] != FORMAT:
        what = "no policy of vaekit" if about["format"] is None else f"of form {about['format']}, not {FORMAT}"
        raise UserError(f"{path} is {what}: write one with `vaekit export RUN -o policy.onnx`")
    return about
