"""Rows to learn from; and random numbers that belong to a place in the run.

Training sees rows through the protocol `Rows`. `Data` has them in memory, a `View` is some rows of others, and
`vaekit.training.stream.Streamed` reads them as they are needed.

Every random number of training has an address (seed, purpose, step) and not a history. So a run that was cut short goes
on with the numbers it would have had, and each of several processes can make the whole batch's numbers and keep its own
rows of them: the result does not depend on how the batch was shared out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from vaekit.files import digest

ORDER, STEP, VALIDATION, SPLIT, START = range(5)  # what random numbers are for
VALUES_AT_ONCE = 1 << 23  # decoder outputs held at a time: bounds memory, changes no number


class Rows(Protocol):
    """Packed rows to learn from."""

    @property
    def event(self) -> tuple[int, ...]:
        """The shape of one x."""

    @property
    def y(self) -> Mapping[str, Tensor]:
        """Conditions of all rows that are in memory, each (N, ...)."""

    @property
    def fingerprint(self) -> str:
        """A hash that other rows do not have, to check on resuming that the data are the same."""

    def __len__(self) -> int: ...

    @property
    def seen(self) -> int:
        """The number of values of a row's conditions."""

    def __getitem__(self, index: Tensor | slice) -> Data:
        """Some rows, in memory."""

    def chunks(self, size: int) -> Iterator[Data]:
        """All rows in turn, in pieces of at most `size`."""

    def few(self, most: int, seed: int) -> Data:
        """At most this many rows, drawn at random, in memory."""

    def in_memory(self, seed: int) -> Any:
        """All rows, or as many drawn at random as there is room for."""

    def windows(self, seed: int, epoch: int) -> list[Tensor]:
        """The order of an epoch, in pieces of which two fit into memory: numbers of rows, at random."""

    def feed(self) -> Any:
        """The `Feed` from which the steps of an epoch take their rows."""

    def to(self, device: torch.device) -> Any:
        """The rows on a device, for training there."""


@dataclass
class Data:
    """Packed rows in memory.

    Attributes:
        x: (N, *event). mask: (N, *event), True where observed; None: all of x is.
        y: conditions by name, each (N, ...).

    Example:
        >>> from vaekit.training import Data
        >>> data = Data(torch.zeros(8, 3))
        >>> len(data), data.event, len(data[2:5])
        (8, (3,), 3)
    """

    x: Tensor
    mask: Tensor | None = None
    y: Mapping[str, Tensor] = field(default_factory=dict)

    streams: ClassVar[bool] = False
    """Whether rows are read as they are needed."""

    def __len__(self) -> int:
        return len(self.x)

    @property
    def event(self) -> tuple[int, ...]:
        """The shape of one x."""
        return tuple(self.x.shape[1:])

    def __getitem__(self, index: Tensor | slice) -> Data:
        def pick(t: Tensor) -> Tensor:
            return t[index] if isinstance(index, slice) else t.index_select(0, index.to(t.device))

        return Data(
            pick(self.x), None if self.mask is None else pick(self.mask), {k: pick(v) for k, v in self.y.items()}
        )

    def to(self, device: torch.device) -> Data:
        mask = None if self.mask is None else self.mask.to(device)
        return Data(self.x.to(device), mask, {k: v.to(device) for k, v in self.y.items()})

    def filled(self, rows: int) -> Data:
        """Fill up to this many rows by repeating the last one."""
        return self if len(self) >= rows else self[torch.arange(rows, device=self.x.device).clamp_max(len(self) - 1)]

    def cut(self, length: int) -> Data:
        """The first values of each row (N, T)."""
        return Data(self.x[:, :length], None if self.mask is None else self.mask[:, :length], self.y)

    @property
    def seen(self) -> int:
        return sum(math.prod(values.shape[1:]) for values in self.y.values())

    def chunks(self, size: int, rows: Tensor | None = None) -> Iterator[Data]:
        """These rows, all by default, in pieces of at most `size`."""
        for start in range(0, len(self if rows is None else rows), size):
            part = slice(start, start + size)
            yield self[part if rows is None else rows[part]]

    def few(self, most: int, seed: int, rows: Tensor | None = None) -> Data:
        """At most this many of these rows, drawn at random."""
        rows = torch.arange(len(self)) if rows is None else rows
        return self[rows[torch.randperm(len(rows), generator=generator(seed, START))[:most]]]

    def in_memory(self, seed: int) -> Data:
        return self

    def windows(self, seed: int, epoch: int, rows: Tensor | None = None) -> list[Tensor]:
        """The order of an epoch, in pieces of which two fit into memory, here one: places in `rows`, at random."""
        return [epoch_order(len(self if rows is None else rows), seed, epoch)]

    def feed(self) -> Feed:
        return Feed(self)

    @property
    def fingerprint(self) -> str:
        mask = {} if self.mask is None else {"mask": self.mask}
        return digest({"x": self.x, **mask, **{f"y.{name}": values for name, values in self.y.items()}})


class Feed:
    """The rows of an epoch, from which its steps take theirs.

    Attributes:
        held: rows in memory, which stay where they are: a captured step reads them.
    """

    def __init__(self, held: Data):
        self.held = held

    def begin(self, order: Tensor, ends: Sequence[int]) -> None:
        """Start an epoch. order: its rows (N,). ends: where in it the windows end."""
        self.order = order.to(self.held.x.device)

    def at(self, start: int, rows: int) -> Tensor:
        """Places in `held` of the next rows, from place `start` of the order on: (rows,)."""
        return self.order[start : start + rows]

    def close(self) -> None:
        """End what reads ahead."""


class View:
    """Some rows of data, without a copy of them.

    Args:
        rows: their numbers, (n,), in rising order. y: their conditions, where these are not those of the data.
    """

    def __init__(self, data: Any, rows: Tensor, y: Mapping[str, Tensor] | None = None):
        self.data, self.rows, self._y = data, rows, y

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def event(self) -> tuple[int, ...]:
        return self.data.event

    @property
    def fingerprint(self) -> str:
        return self.data.fingerprint

    @property
    def seen(self) -> int:
        return self.data.seen

    @property
    def y(self) -> Mapping[str, Tensor]:
        return {k: v[self.rows] for k, v in self.data.y.items()} if self._y is None else self._y

    def given(self, y: Mapping[str, Tensor]) -> View:
        """The rows with other conditions: `y` has one for each row."""
        return View(self.data, self.rows, y)

    def __getitem__(self, index: Tensor | slice) -> Data:
        return self._own(self.data[self.rows[index]], index)

    def chunks(self, size: int) -> Iterator[Data]:
        start = 0
        for piece in self.data.chunks(size, self.rows):
            yield self._own(piece, slice(start, start := start + len(piece)))

    def _own(self, found: Data, index: Tensor | slice) -> Data:
        return found if self._y is None else Data(found.x, found.mask, {k: v[index] for k, v in self._y.items()})

    def few(self, most: int, seed: int) -> Data:
        return self.data.few(most, seed, self.rows)

    def in_memory(self, seed: int) -> Any:
        return self.data.in_memory(seed, self.rows) if self.data.streams else self

    def windows(self, seed: int, epoch: int) -> list[Tensor]:
        return self.data.windows(seed, epoch, self.rows)

    def feed(self) -> ViewFeed:
        return ViewFeed(self.data.feed(), self.rows)

    def to(self, device: torch.device) -> Any:
        """The rows on a device. On the CPU a view of all rows costs nothing; elsewhere these rows alone are copied."""
        if self.data.streams:
            return View(self.data.to(device), self.rows, self._y)
        return self if device.type == "cpu" else self[slice(None)].to(device)


class ViewFeed:
    """The feed of a part: its places become those in all rows."""

    def __init__(self, whole: Any, rows: Tensor):
        self.whole, self.rows = whole, rows
        self.held, self.at, self.close = whole.held, whole.at, whole.close

    def begin(self, order: Tensor, ends: Sequence[int]) -> None:
        self.whole.begin(self.rows[order], ends)


def rows_at_once(model: nn.Module, data: Any, k: int = 1, *, most: int | None = None) -> int:
    """The number of rows that fit in memory at once: with k decoder outputs each, and with their conditions once; at most `most`."""
    shape, likelihood = data.event, getattr(model, "likelihood", None)
    decoded = 0 if likelihood is None else likelihood.values_per_row(shape)  # type: ignore[operator]
    rows = VALUES_AT_ONCE // max(k * max(1, decoded, math.prod(shape)), data.seen)
    return max(1, min(rows, most or rows))


class ToBatch(Protocol):
    """A function from packed rows to what a model sees; a kind's `batch`."""

    def __call__(self, x: Tensor, uniform: Callable[..., Tensor]) -> Tensor: ...


def as_is(x: Tensor, uniform: Callable[..., Tensor]) -> Tensor:
    return x


def generator(seed: int, *address: int) -> torch.Generator:
    """Make a generator whose numbers depend on the seed and the address only."""
    state = np.random.SeedSequence([seed, *address]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 32 | int(state[1]))


def fixed_uniform() -> Callable[..., Tensor]:
    """`uniform(*shape)`: numbers in 0..1, the same at every call of this function."""
    return partial(torch.rand, generator=generator(0))


class BatchNoise:
    """The random numbers of one batch of `total` rows; this process has its `rows`."""

    def __init__(self, gen: torch.Generator, total: int, rows: slice):
        self.generator, self.total, self.rows = gen, total, rows

    def normal(self, k: int, rows: int, *shape: int) -> Tensor:
        """(k, rows, *shape), as `draw` asks for it."""
        return torch.randn(k, self.total, *shape, generator=self.generator, device=self.generator.device)[:, self.rows]

    def uniform(self, rows: int, *shape: int) -> Tensor:
        """(rows, *shape), as a kind and `forget` ask for it."""
        return torch.rand(self.total, *shape, generator=self.generator, device=self.generator.device)[self.rows]


class RowNoise:
    """The random numbers of each row, by what the row holds, in 32 bits and up to its last value that is not 0: they depend
    neither on its place nor on the rows beside it, and other rows have others, so that errors average out over rows."""

    def __init__(self, data: Data, seed: int):
        x = data.x.float() if data.x.is_floating_point() else data.x
        rows = x.cpu().contiguous().numpy()
        self.generators = [torch.Generator().manual_seed(crc32(row.tobytes().rstrip(b"\0"), seed)) for row in rows]

    def normal(self, k: int, rows: int, *shape: int) -> Tensor:
        """(k, rows, *shape), as `draw` asks for it."""
        return torch.stack([torch.randn(k, *shape, generator=g) for g in self.generators], dim=1)

    def uniform(self, rows: int, *shape: int) -> Tensor:
        """(rows, *shape), as a kind asks for it."""
        return torch.stack([torch.rand(*shape, generator=g) for g in self.generators])


LENGTHS_APART = 4  # the lengths of batches are multiples of this: few enough to capture a training step for each
POOL = 50  # batches whose rows are sorted by length together: enough for little padding, few enough to stay mixed


def epoch_order(rows: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(rows, generator=generator(seed, ORDER, epoch))


def own_rows(order: Tensor, windows: Sequence[Tensor], batch: int, mine: slice) -> tuple[Tensor, list[int]]:
    """The part of one process of the order of an epoch: its rows of each whole batch, and where among them the windows end.

    Args:
        order: of all rows. windows: the pieces that it consists of. batch: rows of a batch. mine: those of this process.
    """
    batches, share = len(order) // batch, mine.stop - mine.start
    ends, end = [], 0
    for window in windows:
        end = min(end + len(window), batches * batch)
        ends.append(end // batch * share + min(max(end % batch - mine.start, 0), share))
    return order[: batches * batch].view(batches, batch)[:, mine].flatten(), ends


def like_lengths(order: Tensor, lengths: Tensor, batch: int, seed: int, epoch: int, window: int = 0) -> Tensor:
    """Order rows so that a batch has rows of about the same length, and batches come in random order.

    Args:
        order: of rows, at random. lengths: of each row. batch: rows of a batch. window: of the epoch, that the order is of.
    """
    whole = len(order) // batch * batch
    pools = [pool[lengths[pool].argsort(stable=True)] for pool in order[:whole].split(POOL * batch)]
    batches = torch.cat(pools).view(-1, batch)
    address = (1, window) if window else (1,)
    mixed = torch.randperm(len(batches), generator=generator(seed, ORDER, epoch, *address))
    return torch.cat([batches[mixed].flatten(), order[whole:]])


def row_lengths(data: Rows) -> Tensor:
    """Up to where each row has values that are not missing, (N,)."""

    def one(chunk: Data) -> Tensor:
        there = torch.ones_like(chunk.x, dtype=torch.bool) if chunk.mask is None else chunk.mask
        return (there.flatten(1).long() * torch.arange(1, 1 + there[0].numel(), device=there.device)).amax(1)

    return torch.cat([one(chunk).cpu() for chunk in data.chunks(65536)])


def batch_lengths(lengths: Tensor, order: Tensor, batch: int, most: int) -> list[int]:
    """The length to which the rows of each batch can be cut: a multiple of `LENGTHS_APART`, at most `most`.

    Args:
        lengths: of each row (N,). order: of the rows (N,). batch: rows of a batch.
    """
    longest = lengths[order[: len(order) // batch * batch]].view(-1, batch).amax(1)
    return ((longest + LENGTHS_APART - 1) // LENGTHS_APART * LENGTHS_APART).clamp(1, most).tolist()


def batch_seeds(batches: int, seed: int, epoch: int) -> list[int]:
    """The seed of each batch's noise, all at once: a SeedSequence is too expensive to make at every step."""
    return torch.randint(2**63 - 1, (batches,), generator=generator(seed, STEP, epoch)).tolist()


def split(rows: int, validation: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of the training and of the validation rows. Fewer than 10 rows are not split."""
    order = torch.randperm(rows, generator=generator(seed, SPLIT))
    held_out = round(rows * validation) if rows >= 10 else 0
    return order[held_out:].sort().values, order[:held_out].sort().values
