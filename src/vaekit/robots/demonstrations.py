"""Demonstrations: what a robot saw and did, frame by frame, episode after episode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vaekit.errors import UserError, near_matches, note
from vaekit.sources.base import bounded
from vaekit.sources.pictures import resized

VECTORS = ("state", "environment_state")
CAMERA = "images."


@dataclass
class Demonstrations:
    """Episodes one after another, T frames in all.

    Attributes:
        actions: (T, A) float, in the robot's own units.
        observations: by name, as LeRobot calls them without its prefix: "state" (T, n), "environment_state" (T, n), and
            cameras "images.NAME" (T, height, width, 3) uint8. Any subset of them.
        episode_ends: (E,) int64, rising: the frame after the last one of each episode; the last is T.
        fps: frames a second.
        name: a short name, for run folders.
        notes: what the user should know about the reading.
        action_names: a name for each of the A numbers, where they are known.
    """

    actions: np.ndarray
    observations: dict[str, np.ndarray]
    episode_ends: np.ndarray
    fps: float = 50.0
    name: str = "demonstrations"
    notes: list[str] = field(default_factory=list)
    action_names: list[str] | None = None

    def __len__(self) -> int:
        """Frames."""
        return len(self.actions)

    @property
    def episodes(self) -> int:
        return len(self.episode_ends)

    @property
    def episode_starts(self) -> np.ndarray:
        """(E,), the first frame of each."""
        return np.concatenate([[0], self.episode_ends[:-1]])

    @property
    def lengths(self) -> np.ndarray:
        """(E,), frames of each episode."""
        return self.episode_ends - self.episode_starts

    def describe(self) -> str:
        seen = ", ".join(f"{name} ({'x'.join(map(str, v.shape[1:]))})" for name, v in self.observations.items())
        return f"{self.episodes} episodes, {len(self)} frames of {self.actions.shape[1]} actions given {seen}"

    def __getitem__(self, episodes: int | slice | Sequence[int] | np.ndarray) -> Demonstrations:
        """The chosen episodes, in that order; an int gives Demonstrations of one. IndexError if one is out of range."""
        chosen = np.atleast_1d(np.arange(self.episodes)[episodes])
        spans = [np.arange(self.episode_starts[i], self.episode_ends[i]) for i in chosen]
        frames = np.concatenate([np.empty(0, np.int64), *spans])  # the empty one: of no episodes, there are no frames
        return replace(
            self,
            actions=self.actions[frames],
            observations={name: values[frames] for name, values in self.observations.items()},
            episode_ends=np.cumsum(self.lengths[chosen]),
        )

    def check(self) -> None:
        """UserError for what no policy could be learned from: where it is, and what to do."""
        if self.actions.ndim != 2 or not self.actions.size:
            raise UserError(f"{self.name}: actions have the shape {self.actions.shape}: give (frames, numbers)")
        self._check_ends()
        if not self.observations:
            raise UserError(
                f"{self.name} holds no observations: a policy needs a state, an environment state or a camera"
            )
        if not 0 < self.fps < float("inf"):
            raise UserError(f"{self.name}: fps is {self.fps}: give frames a second, above 0")
        for name, values in {"actions": self.actions, **self.observations}.items():
            self._check_array(name, values)

    def _check_ends(self) -> None:
        ends = self.episode_ends
        if ends.ndim != 1 or not ends.size or ends.dtype.kind not in "iu":
            raise UserError(f"{self.name}: episode_ends is {ends.dtype} {ends.shape}: give a whole number an episode")
        if (self.lengths <= 0).any():
            i = int(np.flatnonzero(self.lengths <= 0)[0])
            if self.lengths[i] == 0:
                raise UserError(f"{self.name}: episode {i} is empty: remove its end, {ends[i]}, from episode_ends")
            raise UserError(
                f"{self.name}: episode_ends falls from {self.episode_starts[i]} to {ends[i]} at episode {i}: "
                "give for each episode the frame after its last, counted from the beginning of the first"
            )
        if ends[-1] != len(self):
            raise UserError(
                f"{self.name}: the last episode ends at {ends[-1]}, and there are {len(self)} frames: "
                "the last of episode_ends must be the number of frames"
            )

    def _check_array(self, name: str, values: np.ndarray) -> None:
        if not values.ndim or len(values) != len(self):
            frames = len(values) if values.ndim else "no"
            raise UserError(f"{self.name}: {name!r} has {frames} frames and the actions {len(self)}: save them again")
        if name.startswith(CAMERA):
            if values.ndim != 4 or values.shape[3] != 3 or values.dtype != np.uint8 or not values.size:
                raise UserError(
                    f"{self.name}: camera {name!r} is {values.dtype} {values.shape}: give bytes (frames, height, width, 3)"
                )
            return
        if name != "actions" and name not in VECTORS:
            raise UserError(f"{self.name}: {name!r} is no observation: name it {', '.join(VECTORS)} or {CAMERA}NAME")
        if values.ndim != 2 or values.dtype.kind != "f" or not values.size:
            raise UserError(f"{self.name}: {name!r} is {values.dtype} {values.shape}: give floats (frames, numbers)")
        if not np.isfinite(values).all():
            frame, column = np.argwhere(~np.isfinite(values))[0].tolist()
            episode = int(np.searchsorted(self.episode_ends, frame, side="right"))
            raise UserError(
                f"{self.name}: {name!r} is {values[frame, column]} at frame {frame} (episode {episode}, frame "
                f"{frame - self.episode_starts[episode]}), column {column}: mend it, or leave that episode out"
            )


def split_episodes(
    demonstrations: Demonstrations | int, share: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and of the validation episodes, whole ones: frames of one episode are much alike.

    demonstrations: or how many episodes there are. Fewer than 10 are not split, as in `vaekit.training.data.split`.
    """
    from vaekit.training.data import split

    count = demonstrations if isinstance(demonstrations, int) else demonstrations.episodes
    training, validation = split(count, share, seed)
    return training.numpy(), validation.numpy()


def note_short_episodes(demonstrations: Demonstrations, chunk_size: int) -> None:
    """A note where some or all episodes end before a chunk does."""
    short = np.flatnonzero(demonstrations.lengths < chunk_size)
    longest = int(demonstrations.lengths.max())
    if len(short) == demonstrations.episodes:
        note(
            f"no episode of {demonstrations.name} has the {chunk_size} actions of a chunk: what comes after action {longest} "
            f"is never learned; --chunk-size {longest} is enough"
        )
    elif len(short):
        few = ", ".join(f"episode {i} ({demonstrations.lengths[i]} frames)" for i in short[:5])
        more = f" and {len(short) - 5} more" if len(short) > 5 else ""
        note(
            f"{len(short)} of {demonstrations.episodes} episodes are shorter than a chunk of {chunk_size} actions: {few}{more}; "
            "what lies behind their end is masked"
        )


@dataclass
class Asked:
    """What `read_demonstrations` was asked for; for the readers."""

    text: str  # the source without its episodes: what messages call it
    path: Path
    cameras: bool | Sequence[str]
    resize: tuple[int, int] | None
    rows: str | None  # of the episodes; None: all of them

    @property
    def name(self) -> str:
        """A short one, for run folders."""
        path = self.path.absolute()
        return path.name if path.is_dir() else path.stem

    def episodes(self, count: int) -> Sequence[int]:
        """Those to read of the `count` that are there."""
        if self.rows is None:
            return range(count)
        return bounded(self.rows, count, self.text, "episodes").tolist()

    def wanted(self, held: Iterable[str]) -> list[str]:
        """Those of the cameras "images.NAME" to read. UserError for one that is not there."""
        held = list(held)
        if isinstance(self.cameras, bool):
            return held if self.cameras else []
        wanted = [CAMERA + name.removeprefix(CAMERA) for name in self.cameras]
        for name in wanted:
            if name not in held:
                known = near_matches(name.removeprefix(CAMERA), [camera.removeprefix(CAMERA) for camera in held])
                raise UserError(f"{self.text} has no camera {name.removeprefix(CAMERA)!r}{known or ', nor any other'}")
        return wanted

    def pictures(self, pictures: np.ndarray) -> np.ndarray:
        """(T, height, width, 3) bytes, resized; an array of another kind is left to `check`."""
        if self.resize is None or pictures.ndim != 4 or pictures.dtype != np.uint8 or not pictures.size:
            return pictures
        return np.stack([resized(picture, self.resize) for picture in pictures])


def joined(asked: Asked, parts: Sequence[dict[str, np.ndarray]], episodes: Sequence[int], fps: float) -> Demonstrations:
    """Demonstrations of `parts`, one an episode: "actions" and observations by name. `episodes`: their numbers."""
    first = parts[0]
    for part, i in zip(parts, episodes, strict=True):
        for name in {**first, **part}:
            if name not in part or name not in first:
                lacks = i if name not in part else episodes[0]
                raise UserError(
                    f"{asked.text}: episode {lacks} has no {name!r}, others do: leave it out of all, or add it"
                )
            if part[name].shape[1:] != first[name].shape[1:]:
                shapes = f"{first[name].shape[1:]} in episode {episodes[0]} and {part[name].shape[1:]} in episode {i}"
                raise UserError(f"{asked.text}: a frame of {name!r} has the shape {shapes}: give episodes of one robot")
            if len(part[name]) != len(part["actions"]):
                frames = f"{len(part[name])} frames and the actions {len(part['actions'])}"
                raise UserError(
                    f"{asked.text}: in episode {i}, {name!r} has {frames}: record it again, or leave it out"
                )
    ends = np.cumsum([len(part["actions"]) for part in parts])
    # A name's parts are let go as soon as they are joined, so that only one camera is held twice.
    whole = {name: np.concatenate([part.pop(name) for part in parts]) for name in list(first)}
    return Demonstrations(whole.pop("actions"), whole, ends, fps, asked.name)


def floats(values: np.ndarray) -> np.ndarray:
    """Numbers of any kind as floats that PyTorch knows."""
    known = values.dtype in (np.float32, np.float64) or values.dtype.kind not in "biuf"
    return values if known else values.astype(np.float64)
