"""Actions: chunks of a robot's next actions, as (actions, time)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vaekit.conditions import scales
from vaekit.kinds.base import Kind
from vaekit.robots.datasets import needed, read_demonstrations
from vaekit.robots.demonstrations import Demonstrations
from vaekit.training import Training


@dataclass
class Actions(Kind):
    """Schema of action chunks.

    Attributes:
        chunk_size: time steps of a chunk.
        mean, scale: of each number of an action; the model sees (value - mean) / scale.
        fps: actions per second.
        names: of the numbers of an action, if they are known.
    """

    chunk_size: int
    mean: list[float]
    scale: list[float]
    fps: float
    names: list[str] | None = None

    name: ClassVar[str] = "actions"
    noun: ClassVar[str] = "demonstrations"
    row: ClassVar[str] = "chunk"
    report: ClassVar[str] = "vaekit.robots.report:PolicyReport"
    estimator: ClassVar[str] = "Policy"
    task: ClassVar[str] = "robotics"
    packer: ClassVar[str] = "vaekit.robots.datasets:pack_demonstrations"
    exports: ClassVar[Mapping[str, str]] = {"policy.onnx": "vaekit.deploy.policy:policy_bytes"}
    foreign: ClassVar[str] = "vaekit.robots.published:load_foreign"
    exchangeable: ClassVar[bool] = False  # chunks of one episode are alike
    varies: ClassVar[bool] = False
    mean_samples: ClassVar[bool] = True
    least_latent_dim: ClassVar[int] = 0  # a policy without a latent
    iw_samples: ClassVar[int] = (
        20  # each costs a pass of the transformer, and the NLL does not decide which policy is good
    )

    @classmethod
    def infer(cls, actions: np.ndarray, chunk_size: int, fps: float, names: list[str] | None = None) -> Actions:
        """Learn the schema from actions (T, A)."""
        return cls(chunk_size, actions.mean(0).tolist(), scales(actions).tolist(), float(fps), names)

    def first_steps(self, run: str) -> tuple[str, str]:
        return f"vaekit rollout {run} --env two-routes", "model.reset(); action = model.act(observation)"

    def why_not(self, use: str) -> str:
        return "is a policy: try `vaekit rollout RUN --env ENV`, or `vaekit evaluate RUN`"

    @classmethod
    def read(  # type: ignore[override]
        cls,
        source: str | Sequence[str],
        options: Mapping[str, Any],
        *,
        conditions: Sequence[str] = (),
        resize: tuple[int, int] | None = None,
        map: Mapping[str, str] | None = None,
        fps: float | None = None,
        trim: bool = False,
        strict: bool = False,
        memory: str | int = Training.memory,
    ) -> Demonstrations:
        """See `Kind.read`. conditions: what the policy sees. memory: see `read_demonstrations`."""
        return read_demonstrations(
            source, **needed(conditions), resize=resize, map=map, fps=fps, trim=trim, strict=strict, memory=memory
        )

    def read_again(
        self, source: str | Sequence[str], fitted: Any, conditions: Sequence[str], also: Sequence[str] = ()
    ) -> Demonstrations:
        said = {name: value for name in ("resize", "map", "fps", "trim") if (value := fitted.data.get(name))}
        trainer = fitted.settings.get("trainer") or {}
        return self.read(source, {}, conditions=conditions, **said, memory=trainer.get("memory", Training.memory))

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (len(self.mean), self.chunk_size)

    @property
    def unit(self) -> Tensor:
        return torch.tensor(self.scale)

    @property
    def extent(self) -> str:
        return f"{'x'.join(map(str, self.event_shape))} (actions x time steps)"

    def pack(self, actions: np.ndarray, episode_ends: np.ndarray) -> tuple[Tensor, Tensor]:
        """The chunk that begins at each of T frames: actions (T, A) -> x and mask, (T, A, chunk_size) both.

        Both are views that cost no memory. Steps after the end of an episode are masked, whatever their values.
        """
        x = torch.from_numpy((actions - np.asarray(self.mean)) / np.asarray(self.scale)).float()
        chunks = F.pad(x, (0, 0, 0, self.chunk_size - 1)).unfold(0, self.chunk_size, 1)
        frames = np.arange(len(actions))
        left = torch.from_numpy(episode_ends[np.searchsorted(episode_ends, frames, side="right")] - frames)
        inside = torch.arange(self.chunk_size) < left[:, None]
        return chunks, inside[:, None, :].expand_as(chunks)

    def unpack(self, x: Tensor) -> np.ndarray:
        """(..., A, chunk_size) -> (..., chunk_size, A) in the robot's own units."""
        return x.double().cpu().numpy().swapaxes(-1, -2) * np.asarray(self.scale) + np.asarray(self.mean)

    def form(self) -> dict[str, Any]:
        return {
            "type": "chunk",
            "view": "fan",
            "shape": [self.chunk_size, len(self.mean)],
            "event": list(self.event_shape),
            "axes": "tc",
            "mean": list(self.mean),
            "scale": list(self.scale),
            "dtype": "float64",
            "columns": self.names,
            "names": self.names,
            "fps": self.fps,
            "chunk_size": self.chunk_size,
        }
