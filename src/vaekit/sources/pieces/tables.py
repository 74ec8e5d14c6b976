"""Tables piece by piece, and texts: the column of a table, or the lines of a file."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from vaekit.errors import UserError
from vaekit.frame import Frame, reject_duplicates, undamaged
from vaekit.frame.places import files_in, is_remote, place_of
from vaekit.sources.base import Ask, Told, decoding, undecodable, unpacked
from vaekit.sources.folders import walk
from vaekit.sources.manifest import X
from vaekit.sources.pieces.base import (
    Piece,
    Pieces,
    digest_of,
    identity_of,
    plain,
    plain_schema,
    possible_conditions,
)
from vaekit.sources.shards import is_parquet_folder
from vaekit.sources.tables import typed
from vaekit.sources.text import blank_note, check_texts, empty_note, name_of, no_texts, nul_byte

FIRST = 1000  # rows that say how many bytes a row has
BUFFER = 1 << 20  # bytes of each column that are read at a time
CHUNK = 4 << 20  # bytes of a file of lines that are decoded at a time


class Rows:
    """An Arrow table in memory, or a dataset of Parquet files, that is read from any row on. paths: of files it was read from."""

    def __init__(self, dataset: Any, paths: Sequence[Path] = ()):
        self.dataset, self.paths, self.schema = dataset, paths, plain_schema(dataset.schema)
        self.length: int | None = dataset.count_rows()

    def identity(self) -> str:
        if not hasattr(self.dataset, "files"):
            return identity_of(self.paths)
        infos = self.dataset.filesystem.get_file_info(self.dataset.files)
        return digest_of((info.base_name, info.size, info.mtime_ns) for info in infos)

    def batches(self, start: int, rows: int) -> Iterator[Any]:
        """Arrow tables of at most `rows` rows, in order."""
        with undamaged():
            for fragment in self.dataset.get_fragments():
                for length, read in groups_of(fragment, self.dataset):
                    if start >= length:
                        start -= length
                        continue
                    for table in read(rows):
                        if start < len(table):
                            yield self.complete(table.slice(start), fragment)
                        start = max(0, start - len(table))

    def complete(self, table: Any, fragment: Any) -> Any:
        """Add the columns that the folders of a file say, and bring all to the common types."""
        import pyarrow as pa
        from pyarrow import dataset

        known = dataset.get_partition_keys(fragment.partition_expression)
        for field in self.schema:
            if field.name not in table.column_names:
                table = table.append_column(field.name, pa.array([known.get(field.name)] * len(table), field.type))
        return table.select(self.schema.names).cast(self.schema)


def groups_of(fragment: Any, dataset: Any) -> Iterator[tuple[int, Callable[[int], Iterator[Any]]]]:
    """The row groups of a file, or a table in memory: their lengths, and functions that read them in tables of some rows."""
    import pyarrow as pa
    from pyarrow import parquet

    if not hasattr(fragment, "row_groups"):
        yield (
            fragment.count_rows(),
            lambda rows: (pa.Table.from_batches([b]) for b in fragment.to_batches(batch_size=rows)),
        )
        return
    # A scan of the dataset would hold a row group as a whole, and some files are a single one.
    file = parquet.ParquetFile(fragment.path, buffer_size=BUFFER, pre_buffer=False, filesystem=dataset.filesystem)
    for i in range(file.num_row_groups):
        yield (
            file.metadata.row_group(i).num_rows,
            lambda rows, i=i: (  # type: ignore[misc]
                pa.Table.from_batches([batch]) for batch in file.iter_batches(rows, row_groups=[i])
            ),
        )


def of_parquet(ask: Ask) -> Pieces:
    """A file of Parquet, a folder of such files, also on another machine; or a folder in which folders NAME=VALUE are columns."""
    from pyarrow import dataset

    system, root = place_of(ask.text if is_remote(ask.text) else str(ask.path))
    names = (files_in(system, root) if is_remote(ask.text) or is_parquet_folder(ask) else None) or []
    nested = [str(path) for path in walk(ask.path) if is_parquet(path)] if ask.path.is_dir() and not names else []
    paths = nested or [f"{root}/{name}" for name in names if is_parquet(name)] or [root]
    options: dict[str, Any] = (
        {"partitioning": dataset.partitioning(flavor="hive"), "partition_base_dir": root} if nested else {}
    )
    with decoding(ask.text, "a parquet file"):
        found = dataset.dataset(paths, format="parquet", filesystem=system, **options)
        reject_duplicates(found.schema.names)
        found.count_rows()
    table, notes = typed(found, ask)
    notes += [] if table is found else [as_whole(ask)]
    return of_table(table, ask, PurePath(root).stem, [], notes)


def is_parquet(path: str | Path) -> bool:
    return str(path).lower().endswith(".parquet")


def of_table(table: Any, ask: Ask, name: str, paths: Sequence[Path], notes: list[str]) -> Pieces:
    """An Arrow table or dataset; with --column, its texts."""
    found = table if hasattr(table, "count_rows") else Frame.of(table).dataset
    pieces = (Tables if ask.column is None else Texts)(ask, name, Rows(found, paths))
    pieces.notes = list(notes)
    return pieces


def as_whole(ask: Ask) -> str:
    """The note on a table that could have been read piece by piece."""
    return f"{ask.text} was read as a whole: all cells of its columns of text tell whether they are numbers or dates"


class Tables(Pieces):
    """A table: `rows` is a `Rows`, or has its methods."""

    kind = "table"

    def __init__(self, ask: Ask, name: str, rows: Any):
        super().__init__(ask, name, rows.length)
        self.rows = rows
        if ask.resize:
            held = "texts" if ask.column else "rows of a table"
            raise UserError(f"{ask.text} holds {held}, and only pictures can be resized: leave out --resize")
        self.conditions = possible_conditions(self.rows.schema)
        first = next(self.rows.batches(0, FIRST), None)
        self.row_bytes = max(1, first.nbytes // len(first)) if first else 1

    def identity(self) -> str:
        return self.rows.identity()

    def read(self, start: int, told: Told) -> Iterator[Piece]:
        for rows in self.rows.batches(start, self.at_once):
            end = start + len(rows)
            yield Piece(self.part(rows, start, told), end, end, plain(told))
            start = end

    def part(self, rows: Any, start: int, told: Told) -> Any:
        return rows


class Texts(Tables):
    """The texts in a column of a table, whose other columns are conditions."""

    kind = "text"

    def __init__(self, ask: Ask, name: str, rows: Any):
        check_texts(ask, {field.name: field.type for field in rows.schema})
        super().__init__(ask, name, rows)
        self.put_beside_x(name for name in self.conditions if name != ask.column)

    def part(self, rows: Any, start: int, told: Told) -> Any:
        import pyarrow as pa

        texts = rows[self.ask.column].cast(pa.string())
        full = np.array([bool(text and text.strip()) for text in texts.to_pylist()], dtype=bool)
        told["empty"].add([str(start + row) for row in np.flatnonzero(~full)])
        return rows.select(self.conditions).add_column(0, X, texts).filter(pa.array(full))

    def notes_of(self, told: Told, rows: int) -> list[str]:
        empty = told["empty"]
        return [empty_note(self.ask, len(empty), empty[0])] if len(empty) else []

    def nothing(self, told: Told) -> UserError:
        return no_texts(self.ask)


class Lines(Pieces):
    """The lines of a file of text. Blank lines are left out."""

    kind = "text"

    def __init__(self, ask: Ask):
        super().__init__(ask, name_of(ask), ask.path.stat().st_size)
        if not self.length:
            raise UserError(f"{ask.text} is empty: give a file with a text on each line")
        if ask.resize:
            raise UserError(f"{ask.text} holds texts, and only pictures can be resized: leave out --resize")
        lines, _ = next(self.blocks(1 << 16))
        self.row_bytes = sum(len(line.encode("utf-8", "replace")) for line in lines) // max(len(lines), 1) + 1

    def identity(self) -> str:
        return identity_of([self.ask.path])

    def blocks(self, size: int) -> Iterator[tuple[list[str], int]]:
        """Yield the lines in about `size` bytes, and how many bytes of the file are read. Only \\n, \\r\\n and \\r end a line."""
        ask, before, rest, begun = self.ask, 0, "", False
        try:
            decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(ask.encoding or "utf-8")(), True)
        except LookupError as error:
            raise UserError(f"--encoding {ask.encoding!r} is not known: try utf-8, latin-1 or utf-16") from error
        with ask.path.open("rb") as file, decoding(ask.text, "a file of text"):
            content = unpacked(file)
            while True:
                block = content.read(size)
                try:
                    text = decoder.decode(block, final=not block)
                except UnicodeError as error:
                    raise undecodable(error, getattr(error, "object", block), ask, before) from error
                text = rest + (text if begun else text.removeprefix("\ufeff"))
                begun = True
                *lines, rest = text.split("\n")
                if not block:
                    yield [rest] if rest else [], file.tell()
                    return
                before += len(lines)
                yield lines, file.tell()

    def read(self, start: int, told: Told) -> Iterator[Piece]:
        import pyarrow as pa

        at = 0
        for lines, done in self.blocks(CHUNK):
            first, at = at, at + len(lines)
            if at <= start:
                continue
            lines, first = lines[max(0, start - first) :], max(first, start)
            if bad := next((i for i, line in enumerate(lines, 1) if "\0" in line), 0):
                raise nul_byte(self.ask, first + bad)
            told["lines"].count += len(lines)
            told["blank"].add([str(first + i) for i, line in enumerate(lines, 1) if not line.strip()])
            texts = pa.array([line for line in lines if line.strip()], pa.string())
            yield Piece(pa.table({X: texts}), at, done, plain(told))

    def notes_of(self, told: Told, rows: int) -> list[str]:
        blank = told["blank"]
        return [blank_note(self.ask, len(blank), blank[0])] if len(blank) else []

    def nothing(self, told: Told) -> UserError:
        return UserError(
            f"{self.ask.text} has only blank lines ({len(told['lines'])}): give a file with a text on each line"
        )
