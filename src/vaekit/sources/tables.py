"""Tables as sources: .csv and .parquet files."""

from __future__ import annotations

import csv
import io
import re
from functools import partial
from typing import Any

import numpy as np

from vaekit.errors import UserError, near_matches
from vaekit.frame import Frame, is_numeric, reject_duplicates
from vaekit.sources.base import Ask, Dataset, Offers, content_of, decoded, decoding, take
from vaekit.sources.text import prose

MISSING = ["", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null"]  # what stands for a missing cell


def read_csv(ask: Ask) -> Dataset:
    table, notes = csv_table(ask)
    return from_table(table, ask, re.sub(r"\.csv(\.gz)?$", "", ask.path.name, flags=re.IGNORECASE), notes)


def csv_table(ask: Ask) -> tuple[Any, list[str]]:
    """The Arrow table in a .csv file, its columns of whole numbers, numbers, booleans, days, times or text; and notes on the reading."""
    content = decoded(content_of(ask.path), ask).lstrip("\r\n").encode() + b"\n"
    lines = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="")
    delimiter = max(",;\t", key=lines.readline().count)
    lines.seek(0)
    with decoding(ask.text, "a table"):
        header = [field.strip() for field in next(csv.reader(lines, delimiter=delimiter))]
        if not header:
            raise UserError(f"{ask.text} is empty: give a table with a header and rows")
        headless = any(header) and all(_is_number(field) for field in header if field)
        table = _parsed(content, header, delimiter, headless, ask.column)
        # A first line of which some are numbers, and the words come again below, is a row as the others are.
        if not headless and any(map(_is_number, header)) and _comes_again(header, table):
            headless = True
            table = _parsed(content, header, delimiter, headless, ask.column)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if ask.column is None or name in ask.conditions:
            _reject_mixture(name, column, ask)
    notes = [f"{ask.text} has no header; its columns were named column_0, column_1, ..."] if headless else []
    return table, notes


def _parsed(content: bytes, header: list[str], delimiter: str, headless: bool, as_it_is: str | None) -> Any:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = [f"column_{i}" if headless or not field else field for i, field in enumerate(header)]
    # Everything is read as text and given its type after: Arrow would judge a column by its first rows.
    table = arrow_csv.read_csv(
        pa.BufferReader(content),
        arrow_csv.ReadOptions(
            column_names=names, skip_rows_after_names=not headless, use_threads=False, block_size=1 << 24
        ),
        arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=as_it_is is None),
    )
    columns = [_typed(column) for column in table.columns]
    for i, name in enumerate(names):  # texts are not trimmed, and "NA" may be one
        if name == as_it_is and (pa.types.is_string(columns[i].type) or columns[i].null_count == len(table)):
            columns[i] = table[i]
    return pa.Table.from_arrays(columns, names=names)


def _typed(column: Any) -> Any:
    """A column of text as whole numbers, numbers, booleans, days or times if all of it is, else as text without outer spaces."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pc.utf8_trim_whitespace(column)
    column = pc.if_else(pc.is_in(column, pa.array(MISSING)), None, column)
    for kind in (pa.int64(), pa.float64(), pa.bool_(), pa.date32(), pa.timestamp("us")):
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    return column


def _comes_again(header: list[str], table: Any) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    return any(
        pc.any(pc.equal(column, field)).as_py()
        for field, column in zip(header, table.columns, strict=True)
        if pa.types.is_string(column.type)
    )


def _reject_mixture(name: str, column: Any, ask: Ask) -> None:
    """UserError where most of a column are numbers, and some are words: as categories each number would be one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_string(column.type):
        return
    is_number = pc.match_substring_regex(column, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    if (pc.mean(is_number.cast("float64")).as_py() or 0.0) > 0.5:
        row = pc.index(pc.fill_null(is_number, True), False).as_py()
        raise UserError(
            f"{ask.text}: column {name!r} mixes numbers and words, row {row} (the first is 0) has "
            f"{str(column[row].as_py())[:50]!r}: correct it, empty it if it is missing, or drop the column"
        )


def read_parquet(ask: Ask) -> Dataset:
    from pyarrow import dataset

    with decoding(ask.text, "a parquet file"):
        table = dataset.dataset(ask.path, format="parquet")  # read when it is used, piece by piece
        reject_duplicates(table.schema.names)
        table.count_rows()
    return from_table(table, ask, ask.path.stem, [])


def from_table(table: Any, ask: Ask, name: str, notes: list[str]) -> Dataset:
    """A Dataset of an Arrow table, or of a dataset that is one: its columns, but those taken as conditions."""
    frame = Frame(table) if hasattr(table, "count_rows") else Frame.of(table)
    if not len(frame):
        raise UserError(f"{ask.text} has no rows: give a table that has some")
    conditions = take(column_offers(frame, ask), ask)
    rest = [column for column in frame.columns if column not in conditions]
    columns = rest if ask.columns is None else list(ask.columns)
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        known = near_matches(missing[0], frame.columns)
        raise UserError(f"{ask.text} lacks the columns {', '.join(missing)}: add or rename them{known}")
    if ignored := [column for column in rest if column not in columns]:
        notes.append(f"columns of {ask.text} that were ignored: {', '.join(ignored)}")
    if ask.column is None and ask.columns is None:
        notes += [
            f"column {column!r} looks like texts, and is taken for categories: --column {column} learns to write such"
            for column in prose(frame, columns)
        ]
    if not columns:
        raise UserError(f"{ask.text} has no column left: give a table with more columns, or fewer conditions")
    return Dataset(frame.select(columns), "table", name, columns, conditions, notes)


def column_offers(frame: Frame, ask: Ask) -> Offers:
    return {name: partial(_condition, name, frame, ask) for name in frame.columns}


def _condition(name: str, frame: Frame, ask: Ask) -> np.ndarray:
    """(N,) numbers, NaN where one is missing, or text, None where it is missing."""
    import pyarrow as pa

    column = frame.select([name]).table()[name]
    if not column.null_count and (pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        return column.to_numpy()
    if is_numeric(column.type):
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
