"""Data in memory, fed by slicing tensors; and random numbers that belong to a place in the run.

Every random number of training has an address (seed, purpose, step) and not a history. So a run that was cut short goes
on with the numbers it would have had, and each of several processes can make the whole batch's numbers and keep its own
rows of them: the result does not depend on how the batch was shared out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from vaekit.frame import LARGE

ORDER, STEP, VALIDATION, SPLIT, START = range(5)  # what random numbers are for
VALUES_AT_ONCE = 1 << 23  # decoder outputs held at a time: bounds memory, changes no number


@dataclass
class Data:
    """Packed rows: x (N, *event), mask (N, *event) or None, and conditions by name, each (N, ...)."""

    x: Tensor
    mask: Tensor | None = None
    y: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Tensor | slice) -> Data:
        def pick(t: Tensor) -> Tensor:
            return t[index] if isinstance(index, slice) else t.index_select(0, index)

        return Data(
            pick(self.x), None if self.mask is None else pick(self.mask), {k: pick(v) for k, v in self.y.items()}
        )

    def to(self, device: torch.device) -> Data:
        mask = None if self.mask is None else self.mask.to(device)
        return Data(self.x.to(device), mask, {k: v.to(device) for k, v in self.y.items()})

    def filled(self, rows: int) -> Data:
        """As many rows as these, or this many: the last one is repeated."""
        return self if len(self) >= rows else self[torch.arange(rows, device=self.x.device).clamp_max(len(self) - 1)]

    def cut(self, length: int) -> Data:
        """The first values of each row (N, T)."""
        return Data(self.x[:, :length], None if self.mask is None else self.mask[:, :length], self.y)

    def chunks(self, size: int) -> Iterator[Data]:
        for start in range(0, len(self), size):
            yield self[start : start + size]


def rows_at_once(model: nn.Module, data: Data, k: int = 1, *, most: int | None = None) -> int:
    """How many rows fit in memory at once with k decoder outputs each; at most `most`."""
    shape, likelihood = data.x.shape[1:], getattr(model, "likelihood", None)
    decoded = 0 if likelihood is None else likelihood.values_per_row(shape)  # type: ignore[operator]
    rows = VALUES_AT_ONCE // (k * max(1, decoded, math.prod(shape)))
    return max(1, min(rows, most or rows))


class Subset(Data):
    """A view of some rows of data that are too large to copy."""

    def __init__(self, data: Data, rows: Tensor):
        self.data, self.rows = data, rows
        self.x, self.mask = data.x[:0], None

    @property
    def y(self) -> Mapping[str, Tensor]:  # type: ignore[override]
        """The conditions of all rows: a copy, so it is made only when asked for."""
        return {k: v.index_select(0, self.rows) for k, v in self.data.y.items()}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor | slice) -> Data:
        return self.data[self.rows[index]]

    def to(self, device: torch.device) -> Data:
        return self if device.type == "cpu" else self[slice(None)].to(device)


def subset(data: Data, rows: Tensor) -> Data:
    """Pick rows: a copy, or a view if the data is too large to hold twice in memory."""
    size = sum(t.nbytes for t in (data.x, data.mask, *data.y.values()) if t is not None)
    return data[rows] if size < LARGE else Subset(data, rows)


class ToBatch(Protocol):
    """How packed rows become what a model sees; a kind's `batch`."""

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
    """The random numbers of one batch of `total` rows, of which this process has `rows`."""

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


def like_lengths(order: Tensor, lengths: Tensor, batch: int, seed: int, epoch: int) -> Tensor:
    """Order rows so that a batch has rows of about the same length, and batches come in random order.

    Args:
        order: of rows, at random. lengths: of each row. batch: rows of a batch.
    """
    whole = len(order) // batch * batch
    pools = [pool[lengths[pool].argsort(stable=True)] for pool in order[:whole].split(POOL * batch)]
    batches = torch.cat(pools).view(-1, batch)
    mixed = torch.randperm(len(batches), generator=generator(seed, ORDER, epoch, 1)).to(order.device)
    return torch.cat([batches[mixed].flatten(), order[whole:]])


def row_lengths(data: Data) -> Tensor:
    """Up to where each row has values that are not missing, (N,)."""

    def one(chunk: Data) -> Tensor:
        there = torch.ones_like(chunk.x, dtype=torch.bool) if chunk.mask is None else chunk.mask
        return (there.flatten(1).long() * torch.arange(1, 1 + there[0].numel(), device=there.device)).amax(1)

    return torch.cat([one(chunk) for chunk in data.chunks(65536)])


def batch_lengths(lengths: Tensor, order: Tensor, batch: int, most: int) -> list[int]:
    """To what length the rows of each batch can be cut: a multiple of `LENGTHS_APART`, at most `most`.

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
