"""Arrays piece by piece: those in .npy and .npz files, and those that are read as a whole."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np

from vaekit.errors import UserError
from vaekit.sources.arrays import chosen_arrays, from_array, load_array
from vaekit.sources.base import Ask, Dataset, Told, check, decoding
from vaekit.sources.pieces.base import PIECE, Piece, Pieces, arrow_values, identity_of, plain, table_of


class ArrayFile:
    """An array in a file that is read in blocks of rows, one after another.

    Args:
        open: opens the file. path: of a .npy file, which can be mapped into memory.
    """

    def __init__(self, open: Callable[[], IO[bytes]], path: Path | None = None):
        self.open, self.path = open, path
        with open() as file:
            version = np.lib.format.read_magic(file)
            headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            self.shape, self.columns_first, self.dtype = headers[version](file)
            self.offset = file.tell()
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        if self.columns_first and self.ndim > 1:
            return self.whole[rows]
        first, last, _ = rows.indices(len(self))
        size = self.dtype.itemsize * math.prod(self.shape[1:])
        self.file.seek(self.offset + first * size)
        content = self.file.read((last - first) * size)
        if len(content) < (last - first) * size:
            raise ValueError(f"it ends before row {last}")
        return np.frombuffer(content, self.dtype).reshape(last - first, *self.shape[1:])

    @cached_property
    def file(self) -> IO[bytes]:
        return self.open()

    @cached_property
    def whole(self) -> Any:
        """The array as it lies in the file: a row of one that is stored column by column lies everywhere."""
        return np.load(self.path, mmap_mode="r") if self.path else load_array(self.open())

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(load_array(self.open()), dtype)


class Arrays(Pieces):
    """Rows of numbers or pictures in an array, or in a `ArrayFile`.

    Args:
        x: the array. conditions, others: arrays of as many rows; the latter name rows. paths: the files.
    """

    def __init__(
        self, ask: Ask, name: str, x: Any, paths: Sequence[Path],
        conditions: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray] | None = None,
    ):  # fmt: skip
        super().__init__(ask, name, len(x) if x.ndim else 0)
        self.x, self.paths = x, paths
        self.put_beside_x(conditions, others or ())
        self.beside = {key: arrow_values(values) for key, values in {**(others or {}), **conditions}.items()}
        if not x.ndim:
            from_array(np.asarray(x), ask, name, {})  # its error says what to give
        first = self.block(0, 1)
        self.kind, self.notes = first.kind, first.notes
        self.expect(first.x.shape[1:], first.x.dtype.name)

    def identity(self) -> str:
        return identity_of(self.paths)

    def block(self, first: int, last: int) -> Dataset:
        with decoding(self.ask.text, "a NumPy array"):
            x = self.x[first:last]
        data = from_array(x, self.ask, self.name, {})
        check(data, self.ask, first)
        return data

    def read(self, start: int, told: Told) -> Iterator[Piece]:
        own = self.x.dtype.itemsize * math.prod(self.x.shape[1:])
        rows = min(self.at_once, max(1, PIECE // own))
        for first in range(start, len(self.x), rows):
            last = min(first + rows, len(self.x))
            beside = {name: values[first:last] for name, values in self.beside.items()}
            yield Piece(table_of(self.block(first, last).x, beside), last, last, plain(told))


def of_dataset(data: Dataset, ask: Ask, paths: Sequence[Path]) -> Arrays:
    """A source that was read as a whole."""
    pieces = Arrays(replace(ask, resize=None), data.name, data.x, paths, data.conditions, data.names)
    pieces.notes = data.notes
    return pieces


def of_npy(ask: Ask) -> Arrays:
    with decoding(ask.text, "a NumPy .npy file"):
        x = ArrayFile(lambda: ask.path.open("rb"), ask.path)
    if x.dtype.hasobject:
        raise UserError(f"{ask.text} holds pickled Python objects, which are never opened: save numbers")
    return Arrays(ask, ask.path.stem, x, [ask.path], {})


def of_npz(ask: Ask) -> Arrays:
    with decoding(ask.text, "a NumPy .npz file"):
        archive = zipfile.ZipFile(ask.path)
        found = {
            member.removesuffix(".npy"): ArrayFile(lambda member=member: archive.open(member))  # type: ignore[misc]
            for member in archive.namelist()
        }
        x, others = chosen_arrays({key: None if a.dtype.hasobject else a for key, a in found.items()}, ask)
        conditions = {key: np.asarray(values) for key, values in others.items()}
    return Arrays(ask, ask.path.stem, x, [ask.path], conditions)
