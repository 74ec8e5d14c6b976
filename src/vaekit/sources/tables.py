"""Tables as sources: .csv and .parquet files."""

from __future__ import annotations

import csv
import io
import re
from functools import partial
from typing import Any

import numpy as np

from vaekit.errors import UserError, near_matches
from vaekit.frame import Frame, in_words, is_numeric, reject_duplicates, undamaged
from vaekit.frame.cells import DROP, is_text, read_cells
from vaekit.frame.groups import open_parquet
from vaekit.sources.base import Ask, Dataset, Offers, content_of, decoded, decoding, shown, take
from vaekit.sources.tabs import as_csv

DELIMITERS = ",;\t|"
BLOCK = 1 << 24  # bytes that are parsed at a time
MANY = 1_000_000  # this many cells take a while to read
LARGE = 64 << 20  # bytes: a note says so if a table of more is read as a whole
FIRST = 1000  # rows that are looked at to guess whether a file has to be read into memory


def read_csv(ask: Ask) -> Dataset:
    table, notes = csv_table(ask)
    return dataset_of(table, ask, re.sub(r"\.(csv|tsv)(\.gz)?$", "", ask.path.name, flags=re.IGNORECASE), notes)


def csv_table(ask: Ask, schema: bool = True) -> tuple[Any, list[str]]:
    """Read a .csv file into an Arrow table with columns of numbers, booleans, dates or text. Also returns notes."""
    text = decoded(content_of(ask.path), ask).lstrip("\r\n")
    text = re.sub(r"\Asep=.\r?\n", "", text)  # Excel's first line
    text, comments = without_comments(text)
    text = as_csv(text, ask.path.name) if ".tsv" in ask.path.suffixes else text
    content = text.encode() + b"\n"
    del text  # which may be large, as all copies of it are
    lines = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="")
    delimiter = max(DELIMITERS, key=lines.readline().count)
    lines.seek(0)
    with decoding(ask.text, "a table"):
        header = [field.strip() for field in next(csv.reader(lines, delimiter=delimiter))]
        if not header:
            raise UserError(f"{ask.text} is empty: give a table with a header and rows")
        headless = any(header) and all(_is_number(field) for field in header if field)
        table = _parsed(content, header, delimiter, headless)
        # A first line of which some are numbers, and the words come again below, is a row as the others are.
        if not headless and any(map(_is_number, header)) and _comes_again(header, table):
            headless = True
            table = _parsed(content, header, delimiter, headless)
    notes = [f"{ask.text}: lines that begin with # and were skipped: {comments}"] if comments else []
    notes += [f"{ask.text} has no header; its columns were named column_0, column_1, ..."] if headless else []
    reject_duplicates(table.column_names)
    raw = table
    try:
        table, told = read_cells(
            table, known_columns(table, ask), decimal=ask.decimal, semicolons=delimiter == ";", schema=schema,
            track=progress(table),
        )  # fmt: skip
    except UserError as error:
        raise UserError(f"{ask.text}: {error}") from error
    if ask.column is None:
        table, left_out = without_margin(table, [] if headless else header)
        told += [f"{ask.text}: {what}" for what in left_out]
    for i, name in enumerate(table.column_names):  # texts are not trimmed, and "NA" may be one
        if name == ask.column and (is_text(table[i].type) or table[i].null_count == len(table)):
            table = table.set_column(i, name, raw[i])
    return table, notes + told


def progress(table: Any) -> Any:
    """Go through the columns of a table, with a progress bar if there are many cells."""
    return shown if table.num_columns * table.num_rows >= MANY else list


def without_margin(table: Any, header: list[str]) -> tuple[Any, list[str]]:
    """Drop empty rows at the end and empty columns without a name, which spreadsheets write. Also returns what was left out."""
    empty = [name for name, field in zip(table.column_names, header, strict=False) if not field]
    empty = [name for name in empty if table[name].null_count == len(table)]
    table = table.drop_columns(empty) if len(empty) < table.num_columns else table
    rows = len(table)
    if table.num_columns > 1 and rows:
        there = np.logical_or.reduce([column.is_valid().to_numpy() for column in table.columns])
        rows = len(there) - int(np.argmax(there[::-1])) if there.any() else rows
    told = [f"empty columns without a name that were left out: {len(empty)}"] if empty else []
    told += [f"empty rows at its end that were left out: {len(table) - rows}"] if rows < len(table) else []
    return table.slice(0, rows), told


def without_comments(text: str) -> tuple[str, int]:
    """Drop the lines at the start that begin with # and are not the header. Also returns their number.

    A header that begins with # has as many cells as the line below it.
    """
    if not text.startswith("#"):
        return text, 0
    lines = text.splitlines(keepends=True)
    first = next((i for i, line in enumerate(lines) if not line.startswith("#")), 0)
    if first and first < len(lines) and (n := cells_of(lines[first])) > 1 and cells_of(lines[first - 1]) == n:
        lines[first - 1] = lines[first - 1].lstrip("# ")
        first -= 1
    return "".join(lines[first:]), first


def cells_of(line: str) -> int:
    return 1 + max(map(line.count, DELIMITERS))


def _parsed(content: bytes, header: list[str], delimiter: str, headless: bool) -> Any:
    """Parse the table with all cells as text: Arrow would judge a column by its first rows."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = [f"column_{i}" if headless or not field else field for i, field in enumerate(header)]
    reader = arrow_csv.open_csv(
        pa.BufferReader(content),
        arrow_csv.ReadOptions(
            column_names=names, skip_rows_after_names=not headless, use_threads=False, block_size=BLOCK
        ),
        arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
    )
    blocks = range(len(content) // BLOCK)
    batches = zip(shown(blocks) if len(blocks) > 1 else blocks, reader, strict=False)
    return pa.Table.from_batches([*(batch for _, batch in batches), *reader], reader.schema)


def _comes_again(header: list[str], table: Any) -> bool:
    """Whether a word of the header is also a cell below it."""
    import pyarrow.compute as pc

    return any(
        field and not _is_number(field) and pc.any(pc.equal(pc.utf8_trim_whitespace(column), field)).as_py()
        for field, column in zip(header, table.columns, strict=True)
    )


def read_parquet(ask: Ask) -> Dataset:
    with decoding(ask.text, "a parquet file"):
        table = open_parquet([ask.path])  # read when it is used, piece by piece
        reject_duplicates(table.schema.names)
        table.count_rows()
    return from_table(table, ask, ask.path.stem, [])


def known_columns(table: Any, ask: Ask) -> dict[str, Any]:
    """The user's schema of the columns of a table, by name, for `read_cells`. A column of texts stays text."""
    if ask.column is None:
        return dict(ask.schema)
    if ask.every:
        return {**ask.schema, ask.column: {"kind": "categorical"}}
    others = {name: {"kind": DROP} for name in table.schema.names if name not in ask.conditions}
    return {**ask.schema, **others, ask.column: {"kind": "categorical"}}


def from_table(table: Any, ask: Ask, name: str, notes: list[str]) -> Dataset:
    """Make a Dataset of an Arrow table or dataset. Its columns of text may turn out to be numbers or dates."""
    found, told = typed(table, ask)
    if hasattr(table, "count_rows") and not hasattr(found, "count_rows") and found.nbytes > LARGE:
        told.append(
            f"{ask.text} is held in memory whole, because the first rows of a column of text are numbers or dates: save it as such, or "
            "say in a --schema that it is categorical"
        )
    return dataset_of(found, ask, name, [*notes, *told])


def dataset_of(table: Any, ask: Ask, name: str, notes: list[str]) -> Dataset:
    """Make a Dataset of an Arrow table or dataset: all columns but those that are conditions."""
    frame = Frame(table) if hasattr(table, "count_rows") else Frame.of(table)
    if not len(frame):
        raise UserError(f"{ask.text} has no rows: give a table that has some")
    conditions = {} if ask.every else take(column_offers(frame, ask), ask)
    rest = [column for column in frame.columns if column not in conditions]
    columns = rest if ask.columns is None else list(ask.columns)
    missing = [column for column in columns if column not in frame.columns]
    if missing and ask.optional_conditions and len(missing) < len(columns):
        columns = [column for column in columns if column not in missing]  # the model can do without these
    elif missing:
        known = near_matches(missing[0], frame.columns)
        raise UserError(f"{ask.text} lacks the columns {', '.join(missing)}: add or rename them{known}")
    dropped = [name for name, said in ask.schema.items() if said.get("kind") == DROP]
    if ignored := [column for column in rest if column not in (*columns, *dropped)]:
        notes.append(f"columns of {ask.text} that were ignored: {', '.join(ignored)}")
    if not columns:
        raise UserError(f"{ask.text} has no column left: give a table with more columns, or fewer conditions")
    return Dataset(frame.select(columns), "table", name, columns, conditions, notes)


@undamaged()
def typed(table: Any, ask: Ask) -> tuple[Any, list[str]]:
    """Turn columns of text into numbers or dates where all cells are such. Also returns notes.

    A file is read into memory only where its first rows have such columns.
    """
    said = known_columns(table, ask)
    if not hasattr(table, "count_rows"):
        return read_cells(table, said, file=False, track=progress(table))
    texts = [field.name for field in table.schema if is_text(field.type)]
    some = table.head(FIRST, columns=texts)
    try:
        changed = read_cells(some, said, file=False)[0].schema.types != some.schema.types
    except UserError:  # a column that is mixed among the first rows need not be so
        changed = True
    if not (changed and texts):
        return table, []
    table = table.to_table()
    return read_cells(table, said, file=False, track=progress(table))


def column_offers(frame: Frame, ask: Ask) -> Offers:
    return {name: partial(_condition, name, frame, ask) for name in frame.columns}


def _condition(name: str, frame: Frame, ask: Ask) -> np.ndarray:
    """Return (N,) numbers, NaN where one is missing, or text, None where it is missing; (N, n) numbers of lists of one length."""
    import pyarrow as pa

    column = frame.select([name]).table()[name]
    if not column.null_count and (pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        return column.to_numpy()
    if is_numeric(column.type):
        return column.cast("float64", safe=False).to_numpy()
    if pa.types.is_fixed_size_list(column.type) and is_numeric(column.type.value_type) and not column.null_count:
        return pa.concat_arrays(column.chunks).flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
    try:
        texts = column.cast(pa.string()).to_pylist()
    except pa.ArrowException as error:
        raise UserError(
            f"{ask.text}: column {name!r} holds {in_words(column.type)}: a condition has to be numbers or text"
        ) from error
    return np.array(texts, dtype=object if None in texts else str)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
