"""Demonstrations: what a robot saw and did, frame by frame, episode after episode."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from vaekit.errors import UserError, note
from vaekit.robots.reels import Video

DEFAULTS = ("actions", "state", "environment_state")  # the vectors that are read by default
VECTORS = DEFAULTS[1:]
CAMERA = "images."
TASK = "task"
MUCH_IDLE = 0.05  # share of the frames


@dataclass
class Demonstrations:
    """Episodes one after another, T frames in all: what a robot saw and did.

    Attributes:
        actions: (T, A) float, in the robot's own units.
        observations: by name, as LeRobot calls them without its prefix: vectors (T, n), such as "state", "environment_state"
            or "velocity", and cameras "images.NAME" (T, height, width, 3) uint8, which may be a `Video`; at least one.
        episode_ends: (E,) int64, rising: the frame after the last one of each episode; the last is T.
        fps: frames per second.
        name: a short name, for run folders.
        notes: what was left out, changed or guessed while reading.
        action_names: a name for each of the A numbers, if they are known.
        tasks: (T,) str, the task at each frame, if it is known. A policy may see it as the observation "task".
        numbers: (E,) of the episodes in their source, if some were left out.

    Example:
        >>> shown = vaekit.Demonstrations(np.zeros((30, 2)), {"state": np.zeros((30, 4))}, [10, 30], fps=20.0)
        >>> shown.describe()
        '2 episodes, 30 frames of 2 actions given state (4)'
        >>> len(shown[1])  # the frames of one episode
        20
    """

    actions: np.ndarray
    observations: dict[str, Any]
    episode_ends: np.ndarray
    fps: float = 50.0
    name: str = "demonstrations"
    notes: list[str] = field(default_factory=list)
    action_names: list[str] | None = None
    tasks: np.ndarray | None = None
    numbers: list[int] | None = None

    kind: ClassVar[str] = "actions"
    conditions: ClassVar[Mapping[str, Any]] = {}  # the observations are part of the data
    names: ClassVar[Mapping[str, Any]] = {}

    @property
    def x(self) -> Demonstrations:
        """The data that an estimator is given: the whole object."""
        return self

    def __post_init__(self) -> None:
        self.actions, self.episode_ends = np.asarray(self.actions), np.asarray(self.episode_ends)
        self.observations = {
            name: values if isinstance(values, Video) else np.asarray(values)
            for name, values in self.observations.items()
        }

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.actions)

    @property
    def episodes(self) -> int:
        return len(self.episode_ends)

    @property
    def episode_starts(self) -> np.ndarray:
        """(E,), the first frame of each episode."""
        return np.concatenate([[0], self.episode_ends[:-1]])

    @property
    def lengths(self) -> np.ndarray:
        """(E,), number of frames of each episode."""
        return self.episode_ends - self.episode_starts

    @property
    def offered(self) -> dict[str, Any]:
        """Everything that a policy can see: the observations, and the task if it is known."""
        return self.observations if self.tasks is None else {**self.observations, TASK: self.tasks}

    def number(self, episode: int) -> int:
        """The number of an episode in its source."""
        return episode if self.numbers is None or len(self.numbers) != self.episodes else self.numbers[episode]

    def describe(self) -> str:
        seen = ", ".join(f"{name} ({'x'.join(map(str, v.shape[1:]))})" for name, v in self.observations.items())
        tasks = 1 if self.tasks is None else len(set(self.tasks))
        of = f" of {tasks} tasks" if tasks > 1 else ""
        return f"{self.episodes} episodes{of}, {len(self)} frames of {self.actions.shape[1]} actions given {seen}"

    def __getitem__(self, episodes: int | slice | Sequence[int] | np.ndarray) -> Demonstrations:
        """The chosen episodes, in that order; an int gives Demonstrations of one. IndexError if one is out of range."""
        chosen = np.atleast_1d(np.arange(self.episodes)[episodes])
        spans = [np.arange(self.episode_starts[i], self.episode_ends[i]) for i in chosen]
        frames = np.concatenate([np.empty(0, np.int64), *spans])  # the empty one: no episodes have no frames
        return replace(
            self,
            actions=self.actions[frames],
            observations={name: values.take(frames, axis=0) for name, values in self.observations.items()},
            episode_ends=np.cumsum(self.lengths[chosen]),
            tasks=None if self.tasks is None else self.tasks[frames],
            numbers=[self.number(i) for i in chosen.tolist()],
        )

    @classmethod
    def join(cls, several: Sequence[Demonstrations]) -> Demonstrations:
        """Join several sets to one.

        An observation that one of them lacks is left out, with a note.

        Raises:
            UserError: their frame rates, actions or shapes differ, or they share no observation.
        """
        if not several:
            raise UserError("there are no demonstrations to join: give some")
        first = several[0]
        for other in several[1:]:
            _check_alike(first, other)
        names = [name for name in first.observations if all(name in each.observations for each in several)]
        lost = sorted({name for each in several for name in each.observations} - set(names))
        if not names:
            raise UserError(f"{_named(several)} have no observation in common: name one in each, with --map state=NAME")
        if lost:
            note(f"left out {', '.join(lost)}, which not all of {_named(several)} have")
        known = [each.tasks for each in several if each.tasks is not None]
        return cls(
            np.concatenate([each.actions for each in several]),
            {name: joined([each.observations[name] for each in several]) for name in names},
            np.cumsum(np.concatenate([each.lengths for each in several])),
            first.fps,
            f"{first.name}-and-{len(several) - 1}-more" if len(several) > 1 else first.name,
            [text for each in several for text in each.notes],
            next((each.action_names for each in several if each.action_names), None),
            np.concatenate(known) if len(known) == len(several) else None,
        )

    @property
    def idle(self) -> np.ndarray:
        """(E,), number of frames at the begin of each episode before its actions move by a hundredth of their range."""
        reach = 0.01 * np.ptp(self.actions, axis=0)
        found = []
        for start, end in zip(self.episode_starts, self.episode_ends, strict=True):
            moved = (np.abs(self.actions[start:end] - self.actions[start]) > reach).any(1)
            found.append(max(0, (int(moved.argmax()) if moved.any() else len(moved)) - 1))
        return np.array(found)

    def closed_up(self, left_out: Collection[int] = (), cut: np.ndarray | None = None) -> Demonstrations:
        """The demonstrations without these episodes, and without the first `cut` (E,) frames of each.

        The frames that are kept move up within the same arrays, to save memory. Do not use `self` afterwards.
        """
        kept = [i for i in range(self.episodes) if i not in left_out]
        starts = self.episode_starts if cut is None else self.episode_starts + cut
        ends = np.cumsum((self.episode_ends - starts)[kept])

        def close(values: Any) -> Any:
            if isinstance(values, Video):
                return values.take(np.concatenate([np.arange(starts[i], self.episode_ends[i]) for i in kept]))
            for i, end in zip(kept, ends, strict=True):
                span = values[starts[i] : self.episode_ends[i]]
                values[end - len(span) : end] = span
            return values[: ends[-1]]

        return replace(
            self,
            actions=close(self.actions),
            observations={name: close(values) for name, values in self.observations.items()},
            episode_ends=ends,
            tasks=None if self.tasks is None else close(self.tasks),
            numbers=[self.number(i) for i in kept],
        )

    def check(self, *, finite: bool = True) -> None:
        """Look for faults that keep a policy from learning. finite: look at every number too.

        Raises:
            UserError: names the first fault, and its place.
        """
        if self.actions.ndim != 2 or not self.actions.size:
            raise UserError(f"{self.name}: actions have the shape {self.actions.shape}: give (frames, numbers)")
        self._check_ends()
        if not self.observations:
            raise UserError(
                f"{self.name} has no observations, and a policy needs a state, an environment state or a camera: if one has "
                "another name, give --map state=NAME"
            )
        if not 0 < self.fps < float("inf"):
            raise UserError(f"{self.name}: fps is {self.fps}: give frames per second, above 0")
        if self.tasks is not None and self.tasks.shape != (len(self),):
            raise UserError(
                f"{self.name}: tasks have the shape {self.tasks.shape}: give one for each of the {len(self)} frames"
            )
        for name, values in {"actions": self.actions, **self.observations}.items():
            self._check_array(name, values, finite)

    def _check_ends(self) -> None:
        ends = self.episode_ends
        if ends.ndim != 1 or not ends.size or ends.dtype.kind not in "iu":
            raise UserError(
                f"{self.name}: episode_ends is {ends.dtype} {ends.shape}: give one whole number per episode"
            )
        if (self.lengths <= 0).any():
            i = int(np.flatnonzero(self.lengths <= 0)[0])
            if self.lengths[i] == 0:
                raise UserError(f"{self.name}: episode {i} is empty: remove its end, {ends[i]}, from episode_ends")
            raise UserError(
                f"{self.name}: episode_ends falls from {self.episode_starts[i]} to {ends[i]} at episode {i}: "
                "give the frame after the last one of each episode, counted from the first episode on"
            )
        if ends[-1] != len(self):
            raise UserError(
                f"{self.name}: the last episode ends at {ends[-1]}, but there are {len(self)} frames: "
                "the last of episode_ends must be the number of frames"
            )

    def _check_array(self, name: str, values: Any, finite: bool) -> None:
        if not values.ndim or len(values) != len(self):
            frames = len(values) if values.ndim else "no"
            raise UserError(
                f"{self.name}: {name!r} has {frames} frames and the actions have {len(self)}: save them again"
            )
        if name.startswith(CAMERA):
            if values.ndim != 4 or values.shape[3] != 3 or values.dtype != np.uint8 or not values.size:
                raise UserError(
                    f"{self.name}: camera {name!r} is {values.dtype} {values.shape}: give whole numbers from 0 to 255, uint8 (frames, height, width, 3)"
                )
            return
        if values.ndim != 2 or values.dtype.kind != "f" or not values.size:
            raise UserError(f"{self.name}: {name!r} is {values.dtype} {values.shape}: give floats (frames, numbers)")
        if finite and (place := not_finite(values)):
            frame, column = place
            episode = int(np.searchsorted(self.episode_ends, frame, side="right"))
            raise UserError(
                f"{self.name}: {name!r} is {values[place]} at frame {frame} (episode {self.number(episode)}, frame "
                f"{frame - self.episode_starts[episode]}), column {column}: correct it, or leave that episode out"
            )


def joined(several: Sequence[Any]) -> Any:
    """The frames of several arrays or videos."""
    return Video.join(several) if any(isinstance(each, Video) for each in several) else np.concatenate(several)


def _named(several: Sequence[Demonstrations]) -> str:
    return " and ".join(dict.fromkeys(each.name for each in several))


def _check_alike(a: Demonstrations, b: Demonstrations) -> None:
    """UserError if one policy cannot learn from both."""
    if not np.isclose(a.fps, b.fps):
        raise UserError(
            f"{a.name} has {a.fps:g} frames per second and {b.name} {b.fps:g}: convert them to one rate, or train on one of them"
        )
    if a.action_names and b.action_names and a.action_names != b.action_names:
        differ = [
            f"{one} and {other}" for one, other in zip(a.action_names, b.action_names, strict=False) if one != other
        ]
        raise UserError(
            f"the actions of {a.name} and {b.name} have different names, such as {(differ or ['more of them'])[0]}"
        )
    shapes = [
        {"actions": each.actions.shape[1:], **{n: v.shape[1:] for n, v in each.observations.items()}} for each in (a, b)
    ]
    for name in shapes[0].keys() & shapes[1].keys():
        if shapes[0][name] != shapes[1][name]:
            remedy = (
                "--resize WIDTHxHEIGHT gives them one size" if name.startswith(CAMERA) else "give data of one robot"
            )
            raise UserError(
                f"a frame of {name!r} has the shape {shapes[0][name]} in {a.name} and {shapes[1][name]} in {b.name}: {remedy}"
            )


def not_finite(values: np.ndarray) -> tuple[int, int] | None:
    """The frame and the column of the first number (T, n) that is NaN or infinite."""
    if values.ndim != 2 or values.dtype.kind != "f" or np.isfinite(values).all():
        return None
    frame, column = np.argwhere(~np.isfinite(values))[0].tolist()
    return frame, column


def split_episodes(
    demonstrations: Demonstrations | int, share: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and of the validation episodes. Episodes stay whole: frames of one episode are much alike.

    demonstrations: or their number of episodes. Fewer than 10 are not split, as in `vaekit.training.data.split`.
    """
    from vaekit.training.data import split

    count = demonstrations if isinstance(demonstrations, int) else demonstrations.episodes
    training, validation = split(count, share, seed)
    return training.numpy(), validation.numpy()


def note_tasks(demonstrations: Demonstrations, names: Collection[str]) -> None:
    """A note if the policy learns several tasks as one. names: the observations that it sees."""
    tasks = list(dict.fromkeys(() if demonstrations.tasks is None else demonstrations.tasks))
    if len(tasks) > 1:
        few = ", ".join(map(repr, tasks[:3])) + (f" and {len(tasks) - 3} more" if len(tasks) > 3 else "")
        add = " ".join(f"-c {name}" for name in [*names, TASK])
        note(
            f"{demonstrations.name} has {len(tasks)} tasks, which the policy cannot tell apart: {few}; with {add} it sees the task"
        )


def note_idle(demonstrations: Demonstrations) -> None:
    """A note if many frames pass before actions change."""
    idle = demonstrations.idle
    if idle.sum() > MUCH_IDLE * len(demonstrations):
        longest = int(idle.argmax())
        note(
            f"{(idle > 0).sum()} of {demonstrations.episodes} episodes begin with frames in which the actions do not change: "
            f"{idle.sum()} frames, {idle.sum() / len(demonstrations):.0%} of all (the most, {idle[longest]}, in episode "
            f"{demonstrations.number(longest)}); a policy may learn from them to stand still; --trim leaves them out"
        )


def note_short_episodes(demonstrations: Demonstrations, chunk_size: int) -> None:
    """A note if some or all episodes are shorter than a chunk."""
    short = np.flatnonzero(demonstrations.lengths < chunk_size)
    longest = int(demonstrations.lengths.max())
    if len(short) == demonstrations.episodes:
        note(
            f"no episode of {demonstrations.name} has the {chunk_size} actions of a chunk: the policy never learns the actions "
            f"after number {longest}; --chunk-size {longest} is enough"
        )
    elif len(short):
        few = ", ".join(f"episode {demonstrations.number(i)} ({demonstrations.lengths[i]} frames)" for i in short[:5])
        more = f" and {len(short) - 5} more" if len(short) > 5 else ""
        note(
            f"a chunk of {chunk_size} actions is longer than {len(short)} of {demonstrations.episodes} episodes: {few}{more}; "
            "steps after the end of an episode are masked"
        )


def floats(values: np.ndarray) -> np.ndarray:
    """Numbers of any type as floats that PyTorch has."""
    known = values.dtype in (np.float32, np.float64) or values.dtype.kind not in "biuf"
    return values if known else values.astype(np.float64)
