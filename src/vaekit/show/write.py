"""Arrays, tables and texts to files; the file's name decides the form."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.errors import UserError, printable
from vaekit.files import write_atomically, write_text
from vaekit.frame.cells import format_of, write_cells

STDOUT = Path("-")  # where rows of a kind that is printed go if no file is named
Names = Mapping[str, np.ndarray] | None  # columns (N,) that say which row is which, such as the file of a picture


def check_suffix(path: Path, allowed: Sequence[str]) -> str:
    """Return the file's suffix. UserError if it is not one of these, before time is spent."""
    suffix = path.suffix.lower()
    if suffix not in allowed:
        raise UserError(f"cannot write {path.name}: choose a name that ends in {', '.join(allowed)}")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: the folder {path.parent} does not exist")
    return suffix


def write_table(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write columns (N,) as .csv or .parquet."""
    import pyarrow as pa

    write_pieces(path, [pa.table({name: np.asarray(values) for name, values in columns.items()})])


def write_pieces(path: Path, tables: Iterable[Any]) -> int:
    """Write Arrow tables, one after another, as one .csv or .parquet. Returns the number of rows. One table at a time is in memory."""
    from pyarrow import csv, parquet

    writer_of: Any = csv.CSVWriter if path.suffix.lower() == ".csv" else parquet.ParquetWriter
    rows = 0

    def write(to: Path) -> None:
        nonlocal rows
        first = next(pieces)
        with writer_of(str(to), first.schema) as writer:
            for piece in chain([first], pieces):
                writer.write_table(piece.cast(first.schema))
                rows += len(piece)

    pieces = map(as_text, tables) if writer_of is csv.CSVWriter else iter(tables)
    write_atomically(path, write)
    return rows


def as_text(table: Any) -> Any:
    """Turn times, and columns with a format of their own, into text."""
    import pyarrow as pa

    for i, field in enumerate(table.schema):
        if format_of(field) or pa.types.is_timestamp(field.type):
            column = write_cells(table[i], format_of(field))
            table = table.set_column(i, field.with_type(column.type), column)
    return table


def write_array(path: Path, rows: np.ndarray, columns: Sequence[str], names: Names = None) -> None:
    """Write an array (N, ...) as .npy, .npz, .csv or .parquet. columns: names of the values of a row; none: x0, x1, ..."""
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz") and rows.dtype.hasobject:
        raise UserError(
            f"cannot write {path}: these rows are objects, which {suffix} can only hold as a pickle. Choose .csv"
        )
    if suffix == ".npy":
        write_atomically(path, lambda p: save_with(np.save, p, rows))
    elif suffix == ".npz":
        write_atomically(path, lambda p: save_with(np.savez_compressed, p, x=rows))
    else:
        flat = rows.reshape(len(rows), -1)
        columns = columns or [f"x{i}" for i in range(flat.shape[1])]
        write_table(path, {**(names or {}), **dict(zip(columns, flat.T, strict=True))})


def write_lines(path: Path, texts: Iterable[str]) -> None:
    """Write one text per line; line ends within a text become spaces."""
    lines = "".join(re.sub(r"[\r\n]+", " ", text) + "\n" for text in texts)
    if path == STDOUT:
        sys.stdout.write(printable(lines) if sys.stdout.isatty() else lines)
        sys.stdout.flush()  # so that who stops reading is noticed here, where it is expected
    else:
        write_text(path, lines)


def save_with(save: Any, path: Path, *args: Any, **kwargs: Any) -> None:
    with path.open("wb") as file:  # numpy adds a suffix to a path, not to a file
        save(file, *args, **kwargs)
