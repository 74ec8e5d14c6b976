"""Pictures of cameras that stay in their video files until they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol
from zlib import crc32

import numpy as np

from vaekit.errors import UserError, extra_needed
from vaekit.sources.base import decoding
from vaekit.sources.pictures import resized
from vaekit.sources.stored import Stored
from vaekit.threads import OnAllCores

NEAR = 8  # frames: decoding this many unwanted ones takes about as long as a seek
AT_ONCE = 32  # frames that `for picture in video` decodes at a time
AGAIN = "get the whole dataset again"


def av_package() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise extra_needed("robots", "av") from error
    return av


class Reel(Protocol):
    """Frames that follow each other.

    Attributes:
        marks: a number (n,) uint32 for each frame, which says whether it is the same frame.
        apart: the most frames from one key frame to the next, at which decoding can begin.
    """

    marks: np.ndarray

    @property
    def apart(self) -> int: ...

    def pictures(self, places: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """The pictures (height, width, 3) at some places, which rise, each with its place. UserError for a damaged one."""


@dataclass
class Film:
    """A stretch of a video file.

    Attributes:
        size: (height, width) of its pictures.
        times: of its n frames, in units of the file, rising. unit: its length in seconds.
        keys: places of the key frames, rising; at least one. seeks: the time (dts) at which each is found.
        resize: the (width, height) that pictures are resized to.
    """

    path: Path
    size: tuple[int, int]
    times: np.ndarray
    unit: float
    keys: np.ndarray
    seeks: np.ndarray
    marks: np.ndarray
    resize: tuple[int, int] | None = None

    @property
    def apart(self) -> int:
        return int(np.diff(self.keys, append=len(self.times)).max())

    def pictures(self, places: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        key = np.maximum(0, np.searchsorted(self.keys, places, side="right") - 1)
        far = np.flatnonzero(self.keys[key][1:] - places[:-1] > NEAR) + 1
        with decoding(str(self.path), "a video"), av_package().open(str(self.path), format="mp4") as container:
            # No other format: some formats name further files to open.
            container.streams.video[0].codec_context.thread_count = 1  # each core has frames of its own
            for some, first in zip(np.split(places, far), [0, *far], strict=True):
                yield from self._follow(container, some, int(self.seeks[key[first]]))

    def _follow(self, container: Any, places: np.ndarray, seek: int) -> Iterator[tuple[int, np.ndarray]]:
        """The pictures at places that lie near each other."""
        stream = container.streams.video[0]
        converter = av_package().video.reformatter.VideoReformatter()  # one: to make it takes longer than to use it
        wanted = dict(zip(self.times[places].tolist(), places.tolist(), strict=True))
        last = max(wanted)
        container.seek(
            seek, stream=stream
        )  # FFmpeg would go to the last key frame stored before `wanted`, which may be shown later
        why = ""
        try:
            for frame in container.decode(stream):
                if frame.pts in wanted and not frame.is_corrupt:
                    picture = converter.reformat(frame, self.size[1], self.size[0], "rgb24").to_ndarray()
                    yield wanted.pop(frame.pts), resized(picture, self.resize) if self.resize else picture
                if not wanted or (frame.pts or 0) >= last:
                    break
        except av_package().FFmpegError as error:
            why = f" ({error.strerror})"
        if wanted:
            raise UserError(f"{self.path} is damaged at {min(wanted) * self.unit:.3f} seconds{why}: {AGAIN}")


@dataclass
class Held:
    """Pictures (n, height, width, 3) that are in memory."""

    values: np.ndarray
    apart: int = 1

    def __post_init__(self) -> None:
        self.marks = np.array([crc32(picture.tobytes()) for picture in self.values], np.uint32)

    def pictures(self, places: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for place in places.tolist():
            yield place, self.values[place]


class Video(Stored):
    """The pictures of a camera, (T, height, width, 3) bytes, in their files: `video[frames]` decodes these frames and no others.

    Args:
        reels: where frames are. reel: the number of each frame's (T,). place: of each frame in it (T,).
        event: (height, width, 3).
    """

    def __init__(self, reels: Sequence[Reel], reel: np.ndarray, place: np.ndarray, event: Sequence[int]):
        frames = len(reel)
        super().__init__(event, np.uint8, [min(AT_ONCE, frames - i) for i in range(0, frames, AT_ONCE)])
        self.reels, self.reel, self.place = reels, reel, place

    @classmethod
    def join(cls, several: Sequence[Video | np.ndarray]) -> Video:
        """Several as one. Some may be in memory."""
        reels: list[Reel] = []
        numbers, places = [], []
        for each in several:
            video = each if isinstance(each, Video) else held(each)
            numbers.append(video.reel + len(reels))
            places.append(video.place)
            reels += video.reels
        return cls(reels, np.concatenate(numbers), np.concatenate(places), several[0].shape[1:])

    def take(self, frames: np.ndarray, axis: int = 0) -> Video:
        """Some frames by their numbers, not yet decoded; as `numpy.ndarray.take`."""
        return Video(self.reels, self.reel[frames], self.place[frames], self.shape[1:])

    def group(self, i: int) -> np.ndarray:
        return self[int(self.ends[i]) - self.groups[i] : int(self.ends[i])]

    def __iter__(self) -> Iterator[np.ndarray]:
        for pictures in OnAllCores(self.group, range(len(self.groups))):
            yield from pictures

    def __getitem__(self, frames: Any) -> np.ndarray:
        """Pictures in memory: by a slice, whole numbers or booleans. UserError for a damaged one."""
        index = np.arange(len(self))[frames]
        if index.ndim == 0:
            return self[[int(index)]][0]
        found = np.empty((len(index), *self.shape[1:]), np.uint8)
        self.take(index).put(found)
        return found

    def put(self, out: np.ndarray) -> None:
        """Decode all frames to `out` (T, height, width, 3)."""
        order = np.lexsort((self.place, self.reel))
        cuts = np.flatnonzero(np.diff(self.reel[order])) + 1

        def put(rows: np.ndarray) -> None:
            places = self.place[rows]
            for place, picture in self.reels[self.reel[rows[0]]].pictures(np.unique(places)):
                first, stop = np.searchsorted(places, [place, place + 1])
                out[rows[first:stop]] = picture

        for _ in OnAllCores(put, np.split(order, cuts) if len(order) else []):
            pass

    @property
    def apart(self) -> int:
        """The most frames from one key frame to the next."""
        return max((self.reels[i].apart for i in np.unique(self.reel)), default=1)

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        marks = np.empty(len(self), np.uint32)
        for i in np.unique(self.reel):
            here = self.reel == i
            marks[here] = self.reels[i].marks[self.place[here]]
        return hashlib.blake2b(f"{self.shape}".encode() + marks.tobytes(), digest_size=8).hexdigest()


def part(values: Any, frames: slice) -> Any:
    """Some frames of an array, or of a video, without a copy of them."""
    return values.take(np.arange(len(values))[frames]) if isinstance(values, Video) else values[frames]


def held(values: np.ndarray) -> Video:
    """Pictures in memory as a `Video`."""
    return Video(
        [Held(values)], np.zeros(len(values), np.int32), np.arange(len(values), dtype=np.int32), values.shape[1:]
    )
