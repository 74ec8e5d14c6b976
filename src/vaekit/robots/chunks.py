"""The chunk that begins at each frame, and what is seen there: in memory, or with pictures that stay in their videos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.conditions import Conditions
from vaekit.errors import UserError, near_matches
from vaekit.files import text_digest
from vaekit.robots.actions import Actions
from vaekit.robots.demonstrations import Demonstrations
from vaekit.robots.reels import Video
from vaekit.threads import OnAllCores
from vaekit.training import Data
from vaekit.training.stream import Streamed

LEAST, SHARE = 16, 1 / 16  # frames that are decoded together, and the share of the memory that they take at most


def chunks_of(kind: Actions, conditions: Conditions, demonstrations: Demonstrations, memory: int) -> Data | Filmed:
    """The chunk that begins at each frame, and what is seen there. UserError for demonstrations of another robot.

    memory: bytes. Videos that take more than half of it stay in their files.
    """
    there, size = demonstrations.offered, len(kind.mean)
    for name in conditions.named:
        if name not in there:
            near = near_matches(name, there)
            raise UserError(f"{demonstrations.name} has no {name!r}, which the policy was trained to see{near}")
    if demonstrations.actions.shape[1] != size:
        raise UserError(
            f"an action of {demonstrations.name} has {demonstrations.actions.shape[1]} numbers, and the policy's has {size}: "
            "give demonstrations of the same robot"
        )
    x, mask = kind.pack(demonstrations.actions, demonstrations.episode_ends)
    seen = {name: there[name] for name in conditions.named}
    videos = {name: values for name, values in seen.items() if isinstance(values, Video)}
    if sum(video.nbytes for video in videos.values()) <= memory / 2:
        return Data(x, mask, conditions.pack(seen, len(x)))
    for name, video in videos.items():
        conditions.pack({name: video[:1]}, 1)  # raises for pictures of another size
    known = conditions.pack({name: values for name, values in seen.items() if name not in videos}, len(x))
    return Filmed(Data(x, mask, known), videos, runs(demonstrations.lengths, videos.values(), memory), memory)


def runs(lengths: np.ndarray, videos: Any, memory: int) -> list[int]:
    """The frames that are read at a time: parts of episodes, whose frames follow each other.

    A part is as long as key frames are apart, so that about every second frame that is decoded is one that was asked for, or
    better; and not shorter than `LEAST`, since to open a file and to seek takes as long as some frames. Shorter parts would mix
    an epoch better.
    """
    bytes_each = sum(video[0].nbytes for video in videos)
    most = max(1, int(SHARE * memory / bytes_each))
    size = min(most, max(LEAST, *(video.apart for video in videos)))
    return [min(size, length - start) for length in lengths.tolist() for start in range(0, length, size)]


class Filmed(Streamed):
    """Chunks whose pictures are decoded as they are needed.

    Args:
        rest: everything but the pictures, in memory. videos: the pictures by name. groups, memory: see `Streamed`.
    """

    def __init__(self, rest: Data, videos: Mapping[str, Video], groups: Sequence[int], memory: int):
        assert rest.mask is not None  # as `Actions.pack` makes it
        self.rest, self.videos = rest, videos
        ends = np.cumsum(groups).tolist()
        first = Data(
            rest.x[..., :1], rest.mask[:, :1], rest.y
        )  # as chunks overlap, their first actions are all actions
        marks = [first.fingerprint, *(f"{name} {video.fingerprint}" for name, video in videos.items())]
        super().__init__(
            lambda i: self.rows(torch.arange(ends[i] - groups[i], ends[i])),
            groups,
            memory,
            text_digest(" ".join(marks)),
            rest.y,
        )

    def rows(self, index: Tensor) -> Data:
        some, frames = self.rest[index], index.numpy()
        pictures = {name: torch.from_numpy(video[frames]) for name, video in self.videos.items()}
        return Data(some.x, some.mask, {**some.y, **pictures})

    def pick(self, asked: Sequence[tuple[int, Tensor]]) -> Iterator[Data]:
        """See `Streamed.pick`. The other frames of a group need not be decoded."""
        starts = self.starts.tolist()
        read = OnAllCores(lambda one: self.rows(starts[one[0]] + one[1]), asked, waiting=self.waiting)
        return (rows.to(self.device) for rows in read)

    def in_memory(self, seed: int, rows: Tensor | None = None) -> Data:
        """The rows that are in memory anyway: nothing that is learned before training comes from pictures."""
        return self.rest if rows is None else self.rest[rows]
