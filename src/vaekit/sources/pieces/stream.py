"""Datasets of the Hugging Face Hub piece by piece: rows are fetched as they are needed, and nothing is kept on the disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaekit.errors import UserError
from vaekit.frame.cells import is_text, read_cells
from vaekit.sources.base import Ask
from vaekit.sources.folders import walk
from vaekit.sources.hugging_face import files_of, load, loading, name_and_split, read_hugging_face, with_labels
from vaekit.sources.pieces.base import Pieces, identity_of, plain_schema, possible_conditions
from vaekit.sources.pieces.pictures import FILE, File, Pictures
from vaekit.sources.pieces.tables import FIRST, Tables, Texts, as_whole, of_table
from vaekit.sources.tables import known_columns


class Stream:
    """The rows of a dataset, which are fetched from any row on.

    Attributes:
        image: the column of pictures, if there is one.
        revision: the commit of the dataset on the Hub, which later calls read too, whatever was pushed meanwhile; None: local files.
        first: the first rows. schema: of all. length: the number of rows, if the dataset says.
    """

    def __init__(self, ask: Ask):
        self.ask, (self.name, split) = ask, name_and_split(ask)
        self.revision: str | None = None
        with loading(ask):
            if not Path(self.name).exists():
                from huggingface_hub import HfApi

                self.revision = HfApi().dataset_info(self.name).sha
            self.data, self.image = load(ask, streaming=True, revision=self.revision)
        self.schema: Any = None
        self.first: Any = next(self.batches(0, FIRST if self.image is None else 1), None)
        if self.first is None:
            raise UserError(f"{ask.text} has no rows: give a source that has some")
        self.schema = plain_schema(self.first.schema)
        splits = self.data.info.splits or {}
        self.length: int | None = splits[split].num_examples if split in splits else None

    def identity(self) -> str:
        """The commit on the Hub; of a folder, what its files are."""
        if self.revision:
            return self.revision
        path = Path(self.name)
        paths = list(walk(path)) if path.is_dir() else [path]
        return identity_of(paths, path)

    def batches(self, start: int, rows: int) -> Iterator[Any]:
        """Arrow tables of at most `rows` rows, in order."""
        with loading(self.ask):
            for table in self.data.skip(start).with_format("arrow").iter(batch_size=rows):
                named = with_labels(table, self.data.features)
                yield named.cast(self.schema) if self.schema else named


class StreamedPictures(Pictures):
    """The pictures of a dataset, whose other columns are conditions."""

    def __init__(self, ask: Ask, rows: Stream):
        super().__init__(ask, Path(rows.name).name, rows.length)
        self.rows, self.image = rows, str(rows.image)
        others = [name for name in possible_conditions(rows.schema) if name != rows.image]
        self.put_beside_x(others, [FILE])

    def identity(self) -> str:
        return self.rows.identity()

    def batches(self, start: int, files: int) -> Iterator[tuple[Sequence[File], Mapping[str, Any]]]:
        for table in self.rows.batches(start, files):
            yield files_of(table[self.image], start), {name: table[name] for name in self.conditions}
            start += len(table)


def of_hugging_face(ask: Ask) -> Pieces:
    rows = Stream(ask)
    if rows.image is not None:
        return StreamedPictures(ask, rows)
    texts = rows.first.select([field.name for field in rows.schema if is_text(field.type)])
    try:
        changed = read_cells(texts, known_columns(texts, ask), file=False)[0].schema.types != texts.schema.types
    except UserError:  # a column that is mixed among the first rows need not be so
        changed = True
    if changed:
        data = read_hugging_face(ask)
        pieces = of_table(data.x.whole().table(), ask, data.name, [], [*data.notes, as_whole(ask)])
        pieces.identity = rows.identity  # type: ignore[method-assign]
        return pieces
    return (Tables if ask.column is None else Texts)(ask, Path(rows.name).name, rows)
