"""Rows in Parquet files, read by their numbers. Other sources become such a file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.distributed.work import SLICE, X, packed
from vaekit.errors import UserError
from vaekit.show.write import write_pieces

TAIL = 8  # bytes at the end of a Parquet file: the size of its footer, and PAR1


class Rows:
    """The rows of Parquet files, one file after the other.

    Args:
        place: a file, or a folder of files that are read in the order of their names; on a disk, or s3:// and what else Arrow knows.

    Attributes:
        total: number of rows. schema: Arrow's. fingerprint: a hash of what the files say of their content.

    Raises:
        UserError: it cannot be read, is damaged, has no rows, or its files differ in their columns.
    """

    def __init__(self, place: str):
        from pyarrow import fs, parquet

        with readable(place):
            if "://" in place:
                system, path = fs.FileSystem.from_uri(place)
            else:
                system, path = fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(place))
            found = system.get_file_info(path)
            if found.type == fs.FileType.Directory:
                inside = [each.path for each in system.get_file_info(fs.FileSelector(path))]
                paths = sorted(
                    each for each in inside if each.endswith(".parquet") and os.path.basename(each)[0] not in "._"
                )
            else:
                paths = [path]
        if not paths:
            raise UserError(f"{place} has no .parquet files: give a folder that does")
        self.files, marks, schema = list[Any](), list[Any](), None
        for path in paths:
            with readable(path):
                file = parquet.ParquetFile(path, filesystem=system, page_checksum_verification=True)
                marks.append([os.path.basename(path), file.metadata.num_rows, footer(system, path)])
            schema = schema or file.schema_arrow
            if file.schema_arrow.names != schema.names:
                raise UserError(f"{path} has other columns than {paths[0]}: give files of the same table")
            self.files.append((path, file))
        self.schema = described(schema, system, os.path.join(path, "..", "_manifest.json"))
        self.ends = list(accumulate(file.metadata.num_rows for _, file in self.files))
        self.total = self.ends[-1]
        self.fingerprint = hashlib.sha256(json.dumps(marks).encode()).hexdigest()
        if not self.total:
            raise UserError(f"{place} has no rows: give a table that has some")

    def read(self, start: int, stop: int, columns: Sequence[str]) -> Iterator[Any]:
        """Some columns of rows start to stop, as Arrow tables of at most `SLICE` rows."""
        import pyarrow as pa

        schema = pa.schema([self.schema.field(name) for name in columns])
        for (path, file), end in zip(self.files, self.ends, strict=True):
            at, groups = end - file.metadata.num_rows, []
            first = None
            for i in range(file.metadata.num_row_groups):
                after = at + file.metadata.row_group(i).num_rows
                if at < stop and after > start:
                    first = at if first is None else first
                    groups.append(i)
                at = after
            if first is None:
                continue
            with readable(path):
                for batch in file.iter_batches(SLICE, groups, schema.names, use_threads=False):
                    low, high = max(start - first, 0), min(stop - first, len(batch))
                    first += len(batch)
                    if low < high:
                        yield pa.Table.from_batches([batch.slice(low, high - low)]).cast(schema)


def footer(system: Any, path: str) -> str:
    """A hash of the end of a Parquet file, which says where its columns lie, and how large and what they are."""
    with system.open_input_file(path) as file:
        size = file.size()
        file.seek(size - TAIL)
        file.seek(size - TAIL - int.from_bytes(file.read(4), "little"))
        return hashlib.sha256(file.read()).hexdigest()


def described(schema: Any, system: Any, manifest: str) -> Any:
    """The schema of shards, whose manifest says what the bytes of the column `X` are."""
    try:
        with system.open_input_file(os.path.normpath(manifest)) as file:
            about = json.loads(file.read())
        said = {"dtype": np.dtype(about["dtype"]).str, "shape": json.dumps(about["shape"])}
    except (OSError, ValueError, KeyError, TypeError):
        return schema
    i = schema.get_field_index(X)
    return schema if i < 0 else schema.set(i, schema.field(i).with_metadata(said))


def staged(data: Any, path: Path) -> None:
    """Write a `Dataset` as a Parquet file. One piece of it at a time is in memory."""
    import pyarrow as pa

    def pieces() -> Iterator[Any]:
        start, tables = 0, hasattr(data.x, "pieces")
        for x in data.x.pieces(SLICE) if tables else (data.x[i : i + SLICE] for i in range(0, len(data), SLICE)):
            if tables:
                table = x
            else:
                array, own = packed(np.asarray(x))
                table = pa.table([array], pa.schema([pa.field(X, array.type, metadata=own)]))
            for name, values in {**data.conditions, **data.names}.items():
                values = values[start : start + len(x)]
                table = table.append_column(name, pa.array(values.tolist() if values.ndim > 1 else values))
            yield table
            start += len(x)

    write_pieces(path, pieces())


@contextmanager
def readable(place: str) -> Iterator[None]:
    """Turn what Arrow raises for a file that is not there, damaged or out of reach into a UserError."""
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as e:
        raise UserError(f"cannot read {place}: {str(e).splitlines()[0][:300]}") from e
