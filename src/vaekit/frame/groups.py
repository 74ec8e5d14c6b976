"""The row groups of Parquet files: what is read of them at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from vaekit.errors import UserError


def open_parquet(paths: Sequence[Any], filesystem: Any = None) -> Any:
    """A pyarrow dataset of Parquet files, one below the other. What is damaged in them is found when it is read."""
    from pyarrow import dataset

    scan = dataset.ParquetFragmentScanOptions(page_checksum_verification=True)
    form = dataset.ParquetFileFormat(default_fragment_scan_options=scan)
    return dataset.dataset([str(path) for path in paths], format=form, filesystem=filesystem)


class RowGroups:
    """The row groups of a pyarrow dataset of Parquet files, in order.

    Attributes:
        rows: how many rows each group has. fingerprint: a hash of what the files say about themselves.
    """

    def __init__(self, dataset: Any):
        self.schema, self.filesystem = dataset.schema, dataset.filesystem
        self.groups: list[tuple[Any, int]] = []
        self.rows: list[int] = []
        self.seen: dict[str, tuple[Any, ...]] = {}
        found = hashlib.blake2b(digest_size=8)
        for fragment in dataset.get_fragments():
            with undamaged():
                self.seen[fragment.path] = self._stamp(fragment.path)
                found.update(PurePosixPath(fragment.path).name.encode())
                found.update(footer(self.filesystem, fragment.path))
                infos = fragment.row_groups
                self._check_schema(fragment)
            self.groups += [(fragment, info.id) for info in infos if info.num_rows]
            self.rows += [info.num_rows for info in infos if info.num_rows]
        self.fingerprint = found.hexdigest()

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def remote(self) -> bool:
        """Whether the files are not on this machine."""
        return self.filesystem.type_name not in ("local", "subtree")

    def read(self, i: int, columns: Sequence[str] | None = None) -> Any:
        """A group as an Arrow table. UserError if its file has changed since it was opened, or is damaged."""
        fragment, group = self.groups[i]
        with undamaged():
            table = fragment.subset(row_group_ids=[group], schema=self.schema).to_table(
                schema=self.schema, columns=None if columns is None else list(columns)
            )
            if self._stamp(fragment.path) != self.seen[fragment.path]:
                raise UserError(f"{fragment.path} was changed while it was read: start again")
        return table

    def take(self, index: np.ndarray, columns: Sequence[str]) -> Any:
        """Rows by their numbers (n,), as an Arrow table. One group at a time is in memory: Arrow's own `take` reads all."""
        import pyarrow as pa

        ends = np.cumsum(self.rows)
        group = np.searchsorted(ends, index, side="right")
        places = [np.flatnonzero(group == i) for i in np.unique(group)]
        starts = ends - self.rows
        parts = [
            self.read(i, columns).take(pa.array(index[here] - starts[i]))
            for i, here in zip(np.unique(group).tolist(), places, strict=True)
        ]
        if not parts:
            return pa.schema([self.schema.field(name) for name in columns]).empty_table()
        return pa.concat_tables(parts).take(pa.array(np.argsort(np.concatenate(places))))

    def _check_schema(self, fragment: Any) -> None:
        """Arrow itself would make a column that a file lacks one of missing cells."""
        for field in self.schema:
            own = fragment.physical_schema
            i = own.get_field_index(field.name)
            if i < 0 or own.field(i).type != field.type:
                held = "no such column" if i < 0 else f"one of {own.field(i).type}"
                raise UserError(
                    f"{fragment.path} is of another schema: the first file has a column {field.name!r} of {field.type}, and this one "
                    f"{held}: write all files of a table alike"
                )

    def _stamp(self, path: str) -> tuple[Any, ...]:
        info = self.filesystem.get_file_info(path)
        return info.size, info.mtime_ns


def footer(filesystem: Any, path: str) -> bytes:
    """The end of a Parquet file. It says where each column lies, how large it is, and its smallest and largest value."""
    with filesystem.open_input_file(path) as file:
        size = file.size()
        file.seek(max(0, size - 8))
        length = int.from_bytes(file.read(8)[:4], "little")
        file.seek(max(0, size - 8 - length))
        return file.read()


@contextmanager
def undamaged() -> Iterator[None]:
    """UserError if the file turns out to be damaged when rows are read from it."""
    import pyarrow as pa

    try:
        yield
    except MemoryError:
        raise
    except (OSError, pa.ArrowException) as e:
        raise UserError(f"the table is damaged, or was changed while it was read ({e}): get it or save it again") from e
