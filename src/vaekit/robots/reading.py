"""What the readers of demonstrations share: the request, one array for all episodes, and leaving out unusable episodes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.errors import UserError, near_matches, note
from vaekit.robots.demonstrations import CAMERA, TASK, Demonstrations, floats, not_finite
from vaekit.show.track import track
from vaekit.sources.base import bounded, decoding
from vaekit.sources.pictures import AT_ONCE, open_picture, resized
from vaekit.threads import OnAllCores

FPS = 50.0  # of ALOHA, whose files do not give it
SAID = 5  # the most reasons that a note names


# Arrays that say whether an episode ends with a frame, as D4RL and Gymnasium name them; and which episode a frame belongs to.
LAST = ("terminals", "timeouts", "terminations", "truncations")
NUMBERS = ("episode_index", "episode", "episode_id")


def ends_by_frames(frames: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The frame after the last one of each episode (E,), from arrays (T,) of `LAST` or `NUMBERS`; None if there are none."""
    last = [np.asarray(frames[name]).ravel().astype(bool) for name in LAST if name in frames]
    last += [np.diff(np.ravel(frames[name]), append=np.nan) != 0 for name in NUMBERS if name in frames]
    if not last:
        return None
    found = np.any(last, axis=0)
    found[-1:] = True
    return np.flatnonzero(found) + 1


class DatasetError(UserError):
    """Something is wrong with the dataset as a whole, so that leaving out episodes does not help."""


@dataclass
class Asked:
    """The arguments of `read_demonstrations`, for the readers."""

    text: str  # the source without its episodes, for messages
    path: Path
    rows: str | None = None  # of the episodes; None: all of them
    cameras: bool | Sequence[str] = True
    resize: tuple[int, int] | None = None
    also: Sequence[str] = ()
    map: Mapping[str, str] = field(default_factory=dict)
    fps: float | None = None
    strict: bool = False
    memory: int = 2**31  # bytes: videos that take more than half of it stay in their files
    notes: list[str] = field(default_factory=list)
    left_out: dict[int, str] = field(default_factory=dict)  # the number of an episode -> why it cannot be used

    @property
    def name(self) -> str:
        """A short name, for run folders."""
        path = self.path.absolute()
        return path.name if path.is_dir() else path.stem

    def episodes(self, count: int) -> list[int]:
        """The numbers of the episodes to read, of `count`."""
        every = range(count) if self.rows is None else bounded(self.rows, count, self.text, "episodes").tolist()
        return list(every)

    def rate(self, given: float | None) -> float:
        """Frames per second, from the source or else from the user."""
        if given is not None and self.fps is not None:
            raise UserError(f"{self.text} gives its frames per second itself, {given:g}: leave out fps={self.fps:g}")
        if given is None and self.fps is None:
            self.notes.append(f"{self.text} does not give its frames per second: took {FPS:g}; --fps changes that")
        return given or self.fps or FPS

    def wanted(self, held: Iterable[str]) -> list[str]:
        """The cameras to read, of those `held`, all "images.NAME". UserError for one that is missing."""
        held = list(held)
        if isinstance(self.cameras, bool):
            return held if self.cameras else []
        wanted = [CAMERA + name.removeprefix(CAMERA) for name in self.cameras]
        for name in wanted:
            if name not in held:
                known = near_matches(name.removeprefix(CAMERA), [camera.removeprefix(CAMERA) for camera in held])
                raise UserError(
                    f"{self.text} has no camera {name.removeprefix(CAMERA)!r}{known or ': it has no cameras'}"
                )
        return wanted

    # -- pictures and memory -----------------------------------------------------------------------------------------------

    def pictures(self, pictures: np.ndarray) -> np.ndarray:
        """(T, height, width, 3) bytes, or (T, 3, height, width), resized; `check` refuses arrays of other shapes."""
        if pictures.ndim == 4 and pictures.shape[1] == 3 != pictures.shape[3]:
            pictures = np.ascontiguousarray(np.moveaxis(pictures, 1, 3))
        if self.resize is None or pictures.ndim != 4 or pictures.dtype != np.uint8 or not pictures.size:
            return pictures
        return stacked(partial(resized, size=self.resize), pictures)

    def picture_bytes(self, shape: Sequence[int]) -> int:
        """The size of a picture of this shape, once it is resized."""
        return 3 * int(np.prod(self.resize)) if self.resize else int(np.prod(shape))

    def check_memory(self, size: int) -> None:
        """A note if arrays of `size` bytes take more than half of the free memory."""
        free = free_memory()
        if size > free / 2:
            note(
                f"{self.text} needs {size / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: smaller pictures "
                "(--resize 160x120), fewer cameras (-c) or fewer episodes (SOURCE[0:50]) need less"
            )

    # -- episodes that cannot be used --------------------------------------------------------------------------------------

    def leave_out(self, episode: int, why: UserError) -> None:
        """Leave out an episode; if `strict`, raise the reason."""
        if isinstance(why, DatasetError):
            raise why
        self.left_out.setdefault(episode, str(why))
        if self.strict:
            raise self.unusable()

    def unusable(self) -> UserError:
        """The error of the first episode that was left out."""
        episode, why = next(iter(self.left_out.items()))
        return UserError(f"{self.text}, episode {episode}: {why}")

    def without_left_out(self, found: Demonstrations) -> Demonstrations:
        """The demonstrations without the unusable episodes, with a note; UserError if all of them are unusable."""
        late = [i for i in range(found.episodes) if found.number(i) in self.left_out]
        if not self.left_out:
            return found
        if len(late) == found.episodes:
            raise self.unusable()
        whys: dict[str, list[str]] = {}
        for episode in sorted(self.left_out):
            whys.setdefault(self.left_out[episode], []).append(str(episode))
        said = [f"{', '.join(episodes)} ({why})" for why, episodes in whys.items()]
        more = f"; and {len(said) - SAID} more" if len(said) > SAID else ""
        count = found.episodes + len(self.left_out) - len(late)
        self.notes.append(
            f"{self.text}: left out {len(self.left_out)} of {count} episodes: {'; '.join(said[:SAID])}{more}"
        )
        return found.closed_up(late) if late else found


def stacked(picture: Callable[[Any], np.ndarray], items: Any) -> np.ndarray:
    """One array of the pictures that a function makes of items, on all cores."""
    return np.stack([*OnAllCores(picture, items, AT_ONCE)])


def is_camera(name: str) -> bool:
    return name.startswith(CAMERA)


def gather(
    asked: Asked,
    episodes: Sequence[int],
    frames: int,
    read: Callable[[int], dict[str, np.ndarray]],
    *,
    fps: float,
    more: int = 0,
) -> Demonstrations:
    """Demonstrations of the episodes that can be read, in arrays that are made once.

    Args:
        episodes: their numbers.
        frames: the most frames that they have together.
        read: the number of an episode -> its actions, observations and tasks, by name.
        more: bytes per frame that will be read later.
    """
    whole: dict[str, np.ndarray] = {}
    numbers: list[int] = []
    ends, at = [], 0
    for number in track(list(episodes), "read"):
        try:
            with decoding(f"episode {number} of {asked.text}", "what it should be"):
                part = read(number)
            check_part(part)
            part = {
                name: values if is_camera(name) or name == TASK else floats(values) for name, values in part.items()
            }
        except UserError as error:
            asked.leave_out(number, error)
            continue
        if not whole:
            asked.check_memory(frames * (more + sum(values.nbytes // len(values) for values in part.values())))
            whole = {name: np.empty((frames, *values.shape[1:]), values.dtype) for name, values in part.items()}
        for name, values in part.items():
            check_shape(asked, name, whole[name], values, numbers, number)
            whole[name][at : at + len(values)] = values
        at += len(part["actions"])
        numbers.append(number)
        ends.append(at)
    if not numbers:
        raise asked.unusable()
    cut = {name: values[:at] for name, values in whole.items()}
    return Demonstrations(
        cut.pop("actions"), cut, np.array(ends), fps, asked.name, tasks=cut.pop(TASK, None), numbers=numbers
    )


def opened(file: Path | bytes) -> np.ndarray:
    """(height, width, 3), the pixels of a file of a picture."""
    return np.asarray(open_picture(file).convert("RGB"))


def side_by_side(values: Sequence[np.ndarray]) -> np.ndarray:
    """Several vectors (T, n) -> one (T, sum of n); (T,) becomes (T, 1), and a single array stays as it is."""
    values = [v[:, None] if v.ndim == 1 else v for v in values]
    return values[0] if len(values) == 1 else np.concatenate(values, axis=1)


def check_part(part: Mapping[str, np.ndarray]) -> None:
    """UserError if no policy can learn from the episode."""
    for name, values in part.items():
        if not values.ndim or not len(values):
            raise UserError(f"{name!r} has no frames")
        if len(values) != len(part["actions"]):
            raise UserError(f"{name!r} has {len(values)} frames and the actions have {len(part['actions'])}")
        if not is_camera(name) and name != TASK and values.dtype.kind not in "biuf":
            raise UserError(f"{name!r} is {values.dtype}: give numbers")
        if name != TASK and (place := not_finite(values)):
            raise UserError(f"{name!r} is {values[place]} at its frame {place[0]}, column {place[1]}")


def check_shape(
    asked: Asked, name: str, whole: np.ndarray, values: np.ndarray, numbers: Sequence[int], number: int
) -> None:
    if values.shape[1:] != whole.shape[1:]:
        shapes = f"{whole.shape[1:]} in episode {numbers[0]} and {values.shape[1:]} in episode {number}"
        remedy = "--resize WIDTHxHEIGHT gives them one size" if is_camera(name) else "give episodes of one robot"
        raise DatasetError(f"{asked.text}: a frame of {name!r} has the shape {shapes}: {remedy}, or leave some out")


def free_memory() -> float:
    """Bytes of free memory; infinite if the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            known = dict(line.split(":") for line in file)
        return 1024 * int(known["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return float("inf")
