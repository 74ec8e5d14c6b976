"""An exported policy at work.

Needs only NumPy and onnxruntime, no PyTorch: it runs on the robot.

    policy = OnnxPolicy("policy.onnx")
    policy.reset()
    while running:
        act(policy.act({"state": joints(), "images.top": picture()}))
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from vaekit.errors import UserError, extra_needed
from vaekit.robots.actor import Actor, Input, check_observations

METADATA, FORMAT = "vaekit.policy", 1  # the name of the metadata, and the number of its format
NOISE, COMPONENT, Z = "noise", "component", "z"  # inputs beside the observations


class OnnxPolicy(Actor):
    """An exported policy, with the same `reset`, `act` and `predict` as the policy that it was. It needs only NumPy and onnxruntime.

    z is drawn by the same rule, but from NumPy's random numbers. So with `z="mean"`, or a z given to `reset`, it acts as the
    policy does; otherwise it draws another z from the same distribution.

    Args:
        path: the .onnx file.
        execute: how chunks become actions, as for `Policy`. None: as the file says.
        threads: threads of the network.

    Attributes:
        about: what the file says about itself: chunk_size, fps, action_names, observations and so on.

    Raises:
        UserError: onnxruntime is not installed, the file does not exist or is not a policy, or `execute` is unknown.

    Example:
        >>> from vaekit.robots.onnx_policy import OnnxPolicy
        >>> OnnxPolicy("no-such-file.onnx")
        Traceback (most recent call last):
        vaekit.errors.UserError: no-such-file.onnx does not exist: ...
    """

    def __init__(self, path: str | os.PathLike[str], *, execute: str | int | None = None, threads: int = 1):
        self.session = _open(os.fspath(path), threads)
        self.about = _about(os.fspath(path), self.session)
        self.outputs = [each.name for each in self.session.get_outputs()]  # else onnxruntime asks itself at every run
        self.execute = self.about["execute"] if execute is None else execute
        self.z, self.latent_dim, self.seed_ = self.about["z"], self.about["latent_dim"], self.about["seed"]
        self.reset()

    @property
    def chunk_size_(self) -> int:
        return self.about["chunk_size"]

    @cached_property
    def inputs(self) -> dict[str, Input]:
        classes = self.about.get("classes", {})
        return {
            name: Input(one["dtype"], tuple(one["shape"]), classes.get(name, ()))
            for name, one in self.about["observations"].items()
        }

    def plan(
        self, observations: Mapping[str, Any], z: Any, seed: Sequence[int], held: Any = None
    ) -> tuple[np.ndarray, Any]:
        feed = self._packed(observations)
        rows = len(next(iter(feed.values())))
        if z is not None:
            feed[Z] = np.asarray(z, dtype=np.float32)
            if feed[Z].shape != (self.latent_dim,):
                raise UserError(
                    f"z has the shape {feed[Z].shape}: give one z for all observations, ({self.latent_dim},)"
                )
        if self.about["noise"]:
            feed[NOISE] = numbers(tuple(seed), rows, self.about["noise"])
        if self.about["component"]:
            feed[COMPONENT] = np.full(rows, -1) if held is None else held
        chunks, *kept = self.session.run(self.outputs, feed)
        if not math.isfinite(np.vdot(chunks, chunks)) and not np.isfinite(chunks).all():
            raise UserError("the policy gives no finite action for this observation: a value in it is too large")
        return chunks, kept[0] if kept else None

    def _packed(self, observations: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """What the network reads, (N, ...) by name: labels as their places among the classes."""
        packed = {}
        for name, values in check_observations(observations, self.inputs).items():
            one = self.inputs[name]
            codes = [one.classes.index(value) for value in values.tolist()] if one.classes else values
            packed[name] = np.ascontiguousarray(codes, dtype=one.dtype)
        return packed


@lru_cache(maxsize=8)
def numbers(seed: tuple[int, ...], rows: int, n: int) -> np.ndarray:
    """Standard Normal numbers (rows, n). They are kept, since every decision of an episode uses them and drawing takes time."""
    return np.random.default_rng(seed).standard_normal((rows, n), dtype=np.float32)


def open_session(model: str | bytes, threads: int = 1) -> Any:
    """An `onnxruntime.InferenceSession` from a file or its content."""
    try:
        import onnxruntime
    except ImportError as e:
        raise extra_needed("onnx", "onnxruntime") from e
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # else it warns that z may be left out
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _open(path: str, threads: int) -> Any:
    if not os.path.isfile(path):
        raise UserError(f"{path} does not exist: write it with `vaekit export RUN -o {path}`")
    try:
        return open_session(path, threads)
    except UserError:
        raise
    except Exception as e:  # onnxruntime's errors share no other base
        raise UserError(f"{path} is not an ONNX file, or is damaged: export the policy again") from e


def _about(path: str, session: Any) -> dict[str, Any]:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA)
    about = json.loads(text) if text else {"format": None}
    if about["format"] != FORMAT:
        what = "is not a policy of vaekit" if about["format"] is None else f"has format {about['format']}, not {FORMAT}"
        raise UserError(f"{path} {what}: write one with `vaekit export RUN -o policy.onnx`")
    return about
