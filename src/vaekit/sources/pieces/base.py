"""What all sources that are read piece by piece share."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.errors import UserError
from vaekit.frame import common_schema
from vaekit.frame.cells import format_of
from vaekit.frame.packed import as_cells
from vaekit.sources.base import Ask, Told
from vaekit.sources.manifest import X

PIECE = 16 << 20  # bytes of a piece, about
MOST_ROWS = 65_536  # of a piece
LABEL = "label"  # a condition that also names a row
PlainTold = dict[str, tuple[int, list[str]]]


@dataclass
class Piece:
    """Rows of a source.

    Attributes:
        rows: an Arrow table. end: the place in the source, such as a row, a line or a file, where the next piece begins.
        done: how far that is, in the unit of `Pieces.length`.
        told: what there is to tell about the source up to there.
    """

    rows: Any
    end: int
    done: int
    told: PlainTold


class Pieces:
    """A source that can be read piece by piece, from any place on.

    Attributes:
        ask: what the user asked for. name, kind, extra, columns: see `Manifest`.
        length: of the source, in rows, files or bytes; None if it is not known.
        shape, dtype: of an x that is an array. row_bytes: of an x, about.
        conditions, names: columns beside x.
        notes: what to tell about the source as a whole.
    """

    kind = ""

    def __init__(self, ask: Ask, name: str, length: int | None):
        self.ask, self.name, self.length = ask, name, length
        self.shape: list[int] | None = None
        self.dtype: str | None = None
        self.row_bytes = 1
        self.conditions: list[str] = []
        self.names: list[str] = []
        self.columns: list[str] | None = None
        self.extra: dict[str, Any] = {}
        self.notes: list[str] = []

    def identity(self) -> str:
        """A text that changes when the source changes."""
        raise NotImplementedError

    def look(self) -> None:
        """Find `shape`, `dtype` and `row_bytes` where that takes a while. UserError if the rows cannot be packed."""

    def read(self, start: int, told: Told) -> Iterator[Piece]:
        """Read the source from a place on. told: what there is to tell up to there, to which it adds."""
        raise NotImplementedError

    def notes_of(self, told: Told, rows: int) -> list[str]:
        """The notes about a source after all its rows were read."""
        return []

    def nothing(self, told: Told) -> UserError:
        """The error if a source turns out to have no rows."""
        return UserError(f"{self.ask.text} has no rows: give a source that has some")

    def put_beside_x(self, conditions: Iterable[str], names: Iterable[str] = ()) -> None:
        """Name the columns beside x. UserError if two columns would have the same name."""
        self.conditions, self.names = list(conditions), list(names)
        if wrong := [name for name in self.conditions if name in (X, *self.names) and name != LABEL]:
            raise UserError(
                f"{self.ask.text} has a column {wrong[0]!r}, and so have all shards of such data: rename it in the source"
            )

    def expect(self, shape: Sequence[int], dtype: str) -> None:
        """Say which shape and dtype each x has."""
        self.shape, self.dtype = list(shape), dtype
        self.row_bytes = max(1, math.prod(shape) * np.dtype(dtype).itemsize)

    @property
    def at_once(self) -> int:
        """The number of rows of a piece."""
        return max(1, min(MOST_ROWS, PIECE // self.row_bytes))


class RicherError(Exception):
    """A picture has more channels than those before it, so all have to be packed anew, with this shape and dtype."""

    def __init__(self, shape: Sequence[int], dtype: str):
        self.shape, self.dtype = shape, dtype


def plain(told: Told) -> PlainTold:
    return {what: (len(names), list(names.first)) for what, names in told.items()}


def identity_of(paths: Iterable[Path], root: Path | None = None) -> str:
    """A hash of the names, sizes and times of change of files; of those below `root`, their paths there are their names."""
    stats = ((path, os.stat(path)) for path in paths)
    return digest_of(
        (path.relative_to(root) if root and path.is_relative_to(root) else path.name, about.st_size, about.st_mtime_ns)
        for path, about in stats
    )


def digest_of(parts: Iterable[Sequence[Any]]) -> str:
    """A hash of plain values."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update("".join(f"{each}\0" for each in part).encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def table_of(x: np.ndarray, columns: Mapping[str, Any]) -> Any:
    """An Arrow table of the rows of an array, as bytes, and of more columns."""
    import pyarrow as pa

    return pa.table({X: as_cells(x), **columns})


def arrow_values(values: np.ndarray) -> Any:
    """The Arrow array of a condition (N,) or (N, n)."""
    import pyarrow as pa

    values = values.astype(values.dtype.newbyteorder("="), copy=False) if values.dtype.kind in "iuf" else values
    if values.ndim == 1:
        return pa.array(values, pa.string()) if values.dtype.kind in "UO" else pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def plain_schema(schema: Any) -> Any:
    """The types of columns as all parts have them, and how their cells are written, without what other programs noted there."""
    import pyarrow as pa

    return pa.schema(
        field.with_metadata({"format": format_of(field)} if format_of(field) else None)
        for field in common_schema(schema)
    )


def possible_conditions(schema: Any) -> list[str]:
    """The columns that can be conditions: all but those of lists, dicts and bytes."""
    import pyarrow as pa

    types = pa.types
    no = (types.is_nested, types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    return [field.name for field in schema if not any(check(field.type) for check in no)]
