"""Rows that stay in files until they are needed: arrays and texts of any size."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.errors import UserError
from vaekit.frame.groups import RowGroups

AT_ONCE = 8 << 20  # bytes of rows that are read at a time
TEXT = 640  # bytes of the tokens of a text and their mask
SAMPLE = 10_000  # rows that a schema is learned from, at most


class Stored:
    """Rows (N, *event) in files, which are read group by group. To NumPy it is an array.

    Args:
        event: the shape of one row. dtype: of the values; object for texts. groups: how many rows each group has.

    Attributes:
        fingerprint: a hash that other rows do not have.
    """

    fingerprint: str
    remote: bool = False
    """Whether the files are not on this machine."""
    extra: Mapping[str, Any] = {}
    """What else the source knows, such as the rate of sounds."""

    def __init__(self, event: Sequence[int], dtype: Any, groups: Sequence[int]):
        self.groups, self.dtype = groups, np.dtype(dtype)
        self.last: tuple[int, Any] = (-1, None)  # the group that was read last by `[rows]`, and its rows
        self.ends = np.cumsum(np.asarray(groups, dtype=np.int64))
        self.shape = (int(self.ends[-1]) if len(groups) else 0, *event)

    def group(self, i: int) -> np.ndarray:
        """The rows of a group, in memory."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The memory that they take; of a text, at most that of its tokens."""
        return self.size * (self.dtype.itemsize if self.dtype != object else TEXT)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows in memory: by a slice, whole numbers or booleans."""
        index = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else np.arange(len(self))[rows]
        if index.ndim == 0:
            return self[[int(index)]][0]
        found = np.empty((len(index), *self.shape[1:]), self.dtype)
        group = np.searchsorted(self.ends, index, side="right")
        for i in np.unique(group).tolist():
            here = np.flatnonzero(group == i)
            if i != self.last[0]:  # pieces that follow each other are of the same group
                self.last = i, self.group(i)
            found[here] = self.last[1][index[here] - (self.ends[i] - self.groups[i])]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def sample(self, seed: int) -> np.ndarray:
        """At most `SAMPLE` rows, from groups chosen at random: what a schema is learned from."""
        chosen, rows = [], 0
        for i in np.random.default_rng(seed).permutation(len(self.groups)).tolist():
            chosen.append(self.group(i)[: SAMPLE - rows])
            rows += len(chosen[-1])
            if rows >= SAMPLE:
                break
        return np.concatenate(chosen)


class StoredNpy(Stored):
    """The rows of a .npy file in C order.

    Args:
        own: the type of its values. start: the byte at which they begin. dtype: the type that rows have in memory.
    """

    def __init__(self, path: Path, shape: Sequence[int], own: np.dtype, start: int, dtype: np.dtype):
        self.path, self.start, self.own = path, start, own
        self.row = math.prod(shape[1:]) * own.itemsize
        at_once = max(1, AT_ONCE // max(1, self.row))
        rows = shape[0]
        super().__init__(shape[1:], dtype, [min(at_once, rows - i) for i in range(0, rows, at_once)])
        self.seen = self._stamp()
        self.fingerprint = self._hash()

    def group(self, i: int) -> np.ndarray:
        rows, first = self.groups[i], int(self.ends[i]) - self.groups[i]
        values = np.fromfile(
            self.path, self.own, rows * self.row // self.own.itemsize, offset=self.start + first * self.row
        )
        if self._stamp() != self.seen or values.nbytes != rows * self.row:
            raise UserError(f"{self.path} was changed while it was read: start again")
        return values.reshape(rows, *self.shape[1:]).astype(self.dtype, copy=False)

    def _stamp(self) -> tuple[int, int]:
        about = self.path.stat()
        return about.st_size, about.st_mtime_ns

    def _hash(self) -> str:
        """A hash of the shape, and of some rows of each of a hundred groups: to read all of a large file takes minutes."""
        found = hashlib.blake2b(f"{self.shape} {self.own}".encode(), digest_size=8)
        with self.path.open("rb") as file:
            for i in np.unique(np.linspace(0, len(self.groups) - 1, 100).astype(int)):
                file.seek(self.start + (int(self.ends[i]) - self.groups[i]) * self.row)
                found.update(file.read(4096))
        return found.hexdigest()


class StoredColumn(Stored):
    """The rows in one column of Parquet files.

    Args:
        decode: an Arrow column -> rows (n, *event).
    """

    def __init__(
        self, files: RowGroups, name: str, decode: Callable[[Any], np.ndarray], event: Sequence[int], dtype: Any
    ):
        super().__init__(event, dtype, files.rows)
        self.files, self.name, self.decode = files, name, decode
        self.fingerprint, self.remote = files.fingerprint, files.remote

    def group(self, i: int) -> np.ndarray:
        return self.decode(self.files.read(i, [self.name])[self.name])


def as_texts(column: Any) -> np.ndarray:
    """(N,) objects, each a str."""
    return np.array(["" if text is None else text for text in column.to_pylist()], dtype=object)


def as_values(column: Any) -> np.ndarray:
    """(N,) objects: text or numbers, None where one is missing."""
    return np.array(column.to_pylist(), dtype=object)
