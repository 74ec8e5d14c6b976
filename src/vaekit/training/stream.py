"""Rows that are read as they are needed: training on more than fits into memory.

Rows lie in groups, such as the row groups of Parquet files or runs of frames, and a group is read as a whole. An epoch takes the groups in
random order, and as many at a time as fit into half of the memory: such a window is shuffled, and the next one is read as the first one
is used up. So the order follows from the seed, the epoch, the groups and the memory alone, and a run that was cut short goes on with the
rows it would have had.
"""

from __future__ import annotations

import copy
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from vaekit.errors import UserError
from vaekit.settings.parse import size_text
from vaekit.threads import OnAllCores
from vaekit.training.data import ORDER, START, Data, Feed, generator

FEW = 65_536  # rows that what is learned before training is learned from, at most
WINDOWS = 0.6  # of the memory: for two windows
WAITING = 0.2  # of it: for groups that were read and wait, and before training for those few
CHECKED = 1 << 20  # values at a time


class Streamed:
    """Rows that are read group by group.

    Args:
        load: the number of a group -> its rows, packed; the same at every call, from any thread.
        groups: how many rows each group has.
        memory: bytes that may be held at a time.
        fingerprint: a hash that other rows do not have.
        y: conditions of all rows that are in memory anyway, each (N, ...).
        remote: whether reading mostly waits for a network.
        check: raises UserError for rows, packed, that a model cannot learn from.

    Raises:
        UserError: two groups do not fit into the memory.
    """

    streams: ClassVar[bool] = True

    def __init__(
        self,
        load: Callable[[int], Data],
        groups: Sequence[int],
        memory: int,
        fingerprint: str,
        y: Mapping[str, Tensor] | None = None,
        remote: bool = False,
    ):
        self.load, self.memory, self.fingerprint, self.y, self.remote = load, memory, fingerprint, y or {}, remote
        self.check: Callable[[Data], None] = lambda rows: None
        self.device = torch.device("cpu")
        self.sizes = torch.tensor(groups)
        self.ends = self.sizes.cumsum(0)
        self.starts = self.ends - self.sizes
        self.like = self.read(int(self.sizes.argmax()))[:1]  # a row, which says what all look like
        bytes_each = sum(t.nbytes for t in (self.like.x, self.like.mask, *self.like.y.values()) if t is not None)
        largest = int(self.sizes.max())
        self.window = int(WINDOWS / 2 * memory / bytes_each)
        self.waiting = max(1, int(WAITING * memory / (bytes_each * largest)))
        if self.window < largest:
            raise UserError(
                f"memory {size_text(memory)} holds no two groups of rows: a group has {largest:,} rows of {bytes_each:,} bytes; "
                f"give --memory {size_text(2 / WINDOWS * bytes_each * (largest + 1))} or more, or write smaller groups with `vaekit pack`"
            )

    def __len__(self) -> int:
        return int(self.ends[-1])

    @property
    def event(self) -> tuple[int, ...]:
        return self.like.event

    @property
    def seen(self) -> int:
        return self.like.seen

    def to(self, device: torch.device) -> Streamed:
        """The stream, whose rows go to this device as they are read."""
        there = copy.copy(self)
        there.device = device
        return there

    # -- reading -------------------------------------------------------------------------------------------------------

    def read(self, group: int) -> Data:
        """The rows of a group. UserError if a model cannot learn from them."""
        rows = self.load(group)
        if rows.mask is None and rows.x.is_floating_point():  # a gap may come in any group
            rows = Data(rows.x, torch.ones_like(rows.x, dtype=torch.bool), rows.y)
        if (rows.mask is None) != (getattr(self, "like", rows).mask is None):
            raise UserError(
                f"{self._named(group)} have gaps, and the first rows had none: fill them, or leave them out"
            )
        for start, part in enumerate(rows.chunks(size := max(1, CHECKED // math.prod(rows.event)))):
            try:
                self.check(part)
            except UserError as error:
                raise UserError(f"{self._named(group, start * size, len(part))}: {error}") from error
        return rows

    def _named(self, group: int, start: int = 0, rows: int | None = None) -> str:
        first = int(self.starts[group]) + start
        return f"rows {first} to {first + (int(self.sizes[group]) if rows is None else rows) - 1} of the source"

    def pick(self, asked: Sequence[tuple[int, Tensor]]) -> Iterator[Data]:
        """Rows of groups, each with the places of the rows in it."""
        # On a CPU training takes all cores, and reading beside it would hold it up more than reading in between does.
        ahead = self.remote or self.device.type != "cpu"
        read = OnAllCores(lambda one: self.read(one[0])[one[1]], asked, waiting=self.waiting, ahead=ahead)
        return (rows.to(self.device) for rows in read)

    def by_group(self, rows: Tensor) -> Iterator[tuple[int, Tensor]]:
        """The groups that some rows lie in, with the places in `rows` of those that it has."""
        order = rows.argsort(stable=True)
        for group, first, stop in self.spans(rows[order]):
            yield group, order[first:stop]

    def spans(self, rows: Tensor) -> list[tuple[int, int, int]]:
        """The groups that rows in rising order lie in, each with the places in `rows` of its first row and behind its last one."""
        places = [0, *torch.searchsorted(rows, self.ends).tolist()]
        return [(i, first, stop) for i, (first, stop) in enumerate(pairwise(places)) if first < stop]

    def __getitem__(self, index: Tensor | slice) -> Data:
        rows = torch.arange(len(self))[index]
        parts = list(self.by_group(rows))
        picked = self.pick([(group, rows[places] - self.starts[group]) for group, places in parts])
        out = self.room(len(rows))
        for (_, places), found in zip(parts, picked, strict=True):
            put(out, places, found)
        return out

    def chunks(self, size: int, rows: Tensor | None = None) -> Iterator[Data]:
        """These rows, all by default, in pieces of at most `size`. rows: in rising order."""
        rows = torch.arange(len(self)) if rows is None else rows
        asked = [(group, rows[first:stop] - self.starts[group]) for group, first, stop in self.spans(rows)]
        for found in self.pick(asked):
            yield from found.chunks(size)

    def few(self, most: int, seed: int, rows: Tensor | None = None) -> Data:
        """At most this many of these rows. They come from few groups, so that others need not be read."""
        own = torch.arange(len(self)) if rows is None else rows
        first = torch.cat(self.windows(seed, START, rows)[:1])
        return self[own[first[:most]].sort().values]

    def in_memory(self, seed: int, rows: Tensor | None = None) -> Data:
        return self.few(min(FEW, self.waiting * int(self.sizes.max())), seed, rows)

    # -- an epoch ------------------------------------------------------------------------------------------------------

    def windows(self, seed: int, epoch: int, rows: Tensor | None = None) -> list[Tensor]:
        """The order of an epoch: places in `rows`, which are in rising order, window by window. The first windows are small, so that
        learning begins soon."""
        spans = self.spans(torch.arange(len(self)) if rows is None else rows)
        windows: list[list[Tensor]] = []
        room = 0
        for i in torch.randperm(len(spans), generator=generator(seed, ORDER, epoch)).tolist():
            _, first, stop = spans[i]
            if stop - first > room:
                room = max(self.window >> max(0, 3 - len(windows)), stop - first)
                windows.append([])
            windows[-1].append(torch.arange(first, stop))
            room -= stop - first
        whole = (torch.cat(window) for window in windows)
        return [w[torch.randperm(len(w), generator=generator(seed, ORDER, epoch, 2, i))] for i, w in enumerate(whole)]

    def feed(self) -> Ring:
        return Ring(self)

    def room(self, rows: int) -> Data:
        """Memory for as many rows."""

        def one(t: Tensor) -> Tensor:
            return torch.empty((rows, *t.shape[1:]), dtype=t.dtype, device=self.device)

        like = self.like
        return Data(one(like.x), None if like.mask is None else one(like.mask), {k: one(v) for k, v in like.y.items()})


def put(held: Data, places: Tensor, rows: Data) -> None:
    """Write rows to their places."""
    pairs = [(held.x, rows.x), *((held.y[name], rows.y[name]) for name in held.y)]
    if held.mask is not None and rows.mask is not None:
        pairs.append((held.mask, rows.mask))
    places = places.to(held.x.device)
    for to, values in pairs:
        if to.device.type == "cpu":  # NumPy copies rows whole: ten times as fast
            to.numpy()[places.numpy()] = values.numpy()
        else:
            to[places] = values


class Ring(Feed):
    """Two windows of rows in memory, in the order in which an epoch needs them: place i of the order lies at i modulo the size. While
    one window is learned from, the next one is filled, as far as the first has been used."""

    def __init__(self, data: Streamed):
        self.data, self.size = data, min(2 * data.window, len(data))
        self.held = data.room(self.size)
        self.close()

    def begin(self, order: Tensor, ends: Sequence[int]) -> None:
        self.close()
        self.order, self.ends = order, [0, *ends]

    def close(self) -> None:
        self.pieces: Iterator[Data] = iter(())  # which lets the threads go that read
        self.parts: list[Tensor] = []
        self.first, self.filled = 0, -1  # the first place that is held, and how many windows are whole

    def at(self, start: int, rows: int) -> Tensor:
        now = bisect_right(self.ends, start) - 1  # the window that `start` is in
        if self.filled < 0 or start < self.first:
            self.close()
            self.first, self.filled = start, now
            self._next()
        while self.ends[self.filled] < start + rows:
            self._fill()
        used = (start - self.ends[now]) / (self.ends[now + 1] - self.ends[now])
        while self.filled == now + 1 and self.left > (1 - used) * len(self.parts):
            self._fill()
        return (torch.arange(start, start + rows) % self.size).to(self.data.device)

    def _next(self) -> None:
        """Begin to read the next window that has rows, where there is one."""
        self.left = 0
        while not self.left and self.filled + 1 < len(self.ends):
            places = torch.arange(max(self.first, self.ends[self.filled]), self.ends[self.filled + 1])
            found = list(self.data.by_group(rows := self.order[places]))
            self.parts = [places[here] for _, here in found]
            self.left = len(found)
            self.pieces = self.data.pick([(group, rows[here] - self.data.starts[group]) for group, here in found])
            self.filled += not self.left

    def _fill(self) -> None:
        """Put the rows of the next group where they belong: what is there was used."""
        self.first = max(self.first, self.ends[max(0, self.filled - 1)])
        put(self.held, self.parts[-self.left] % self.size, next(self.pieces))
        self.left -= 1
        if not self.left:
            self.filled += 1
            self._next()
