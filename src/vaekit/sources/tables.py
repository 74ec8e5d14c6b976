"""Tables as sources: .csv and .parquet files."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from functools import partial
from typing import Any

import numpy as np

from vaekit.errors import UserError, near_matches
from vaekit.sources.base import Ask, Dataset, Offers, content_of, decoding, take


def read_csv(ask: Ask) -> Dataset:
    table, notes = csv_table(ask)
    return from_table(table, ask, re.sub(r"\.csv(\.gz)?$", "", ask.path.name, flags=re.IGNORECASE), notes)


def csv_table(ask: Ask) -> tuple[Any, list[str]]:
    """The Arrow table in a .csv file, its columns of whole numbers, numbers, booleans or text; and notes on the reading."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    content = content_of(ask.path).removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n") + b"\n"
    lines = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="replace", newline="")
    delimiter = max(",;\t", key=lines.readline().count)
    lines.seek(0)
    with decoding(ask.text, "a table in UTF-8"):
        header = [field.strip() for field in next(csv.reader(lines, delimiter=delimiter))]
        if not header:
            raise UserError(f"{ask.text} is empty: give a table with a header and rows")
        headless = any(header) and all(_is_number(field) for field in header if field)
        names = [f"column_{i}" if headless or not field else field for i, field in enumerate(header)]
        # Everything is read as text and given its type after: Arrow would judge a column by its first rows.
        table = arrow_csv.read_csv(
            pa.BufferReader(content),
            arrow_csv.ReadOptions(
                column_names=names, skip_rows_after_names=not headless, use_threads=False, block_size=1 << 24
            ),
            arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True),
        )
    notes = [f"{ask.text} has no header; its columns were named column_0, column_1, ..."] if headless else []
    return pa.Table.from_arrays([_typed(column) for column in table.columns], names=names), notes


def _typed(column: Any) -> Any:
    """A column of text as whole numbers, numbers or booleans if all of it is, else as text without outer spaces."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pc.utf8_trim_whitespace(column)
    column = pc.if_else(pc.equal(column, ""), None, column)
    for kind in (pa.int64(), pa.float64(), pa.bool_()):
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    return column


def read_parquet(ask: Ask) -> Dataset:
    from pyarrow import parquet

    with decoding(ask.text, "a parquet file"), ask.path.open("rb") as file:
        table = parquet.ParquetFile(file).read()
    return from_table(table, ask, ask.path.stem, [])


def from_table(table: Any, ask: Ask, name: str, notes: list[str]) -> Dataset:
    """A Dataset of an Arrow table: rows of its number columns, but those taken as conditions."""
    for column, count in Counter(table.column_names).items():
        if count > 1:
            raise UserError(f"{ask.text} has {count} columns named {column!r}: give each its own name")
    if not table.num_rows:
        raise UserError(f"{ask.text} has no rows: give a table that has some")
    conditions = take(column_offers(table, ask), ask)
    rest = [column for column in table.column_names if column not in conditions]
    columns = rest if ask.columns is None else list(ask.columns)
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        known = near_matches(missing[0], table.column_names)
        raise UserError(f"{ask.text} lacks the columns {', '.join(missing)}: add or rename them{known}")
    if ignored := [column for column in rest if column not in columns]:
        notes.append(f"columns of {ask.text} that were ignored: {', '.join(ignored)}")
    if not any(_is_numeric(table[column]) for column in columns):
        raise UserError(f"{ask.text} has no column of numbers left: give a table with numbers or fewer conditions")
    x = np.column_stack([_numbers(column, table[column], ask) for column in columns])
    return Dataset(x, "rows", name, columns, conditions, notes)


def column_offers(table: Any, ask: Ask) -> Offers:
    return {name: partial(_condition, name, table[name], ask) for name in table.column_names}


def _is_numeric(column: Any) -> bool:
    from pyarrow import types

    checks = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    return any(check(column.type) for check in checks)


def _numbers(name: str, column: Any, ask: Ask) -> np.ndarray:
    """(N,) float64, NaN where the column has no value."""
    if _is_numeric(column):
        return column.cast("float64", safe=False).to_numpy()
    values = {row: value for row, value in enumerate(column.to_pylist()) if value is not None}
    words = {row: value for row, value in values.items() if not _is_number(value)}
    row, value = next(iter((words or values).items()), (0, None))
    fix = f"use --condition {name} or drop the column"
    if len(words) < len(values) and words:
        raise UserError(
            f"{ask.text}: column {name!r} mixes numbers and words, row {row} (the first is 0) has "
            f"{str(value)[:50]!r}: correct it, empty it if it is missing, or {fix}"
        )
    held = "text" if isinstance(value, str) else column.type
    raise UserError(f"{ask.text}: column {name!r} holds {held}, such as {str(value)[:50]!r}, not numbers: {fix}")


def _condition(name: str, column: Any, ask: Ask) -> np.ndarray:
    """(N,) numbers, NaN where one is missing, or text, None where it is missing."""
    import pyarrow as pa

    if not column.null_count and (pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        return column.to_numpy()
    if _is_numeric(column):
        return column.cast("float64", safe=False).to_numpy()
    try:
        texts = column.cast(pa.string()).to_pylist()
    except pa.ArrowException as error:
        raise UserError(f"{ask.text}: column {name!r} holds {column.type}: a condition is numbers or text") from error
    return np.array(texts, dtype=object if None in texts else str)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
