"""A source, read piece by piece: what `vaekit pack` writes as shards, without holding all of it.

A piece is an Arrow table. Arrays are in its column x, as bytes; conditions and names of rows are columns of their own. Only where
the cells of a table have to be judged by all of them is the source read as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vaekit.errors import UserError
from vaekit.frame.cells import as_said
from vaekit.sources import checked_reader
from vaekit.sources.arrays import read_npy, read_npz
from vaekit.sources.base import Ask, reading, split_rows
from vaekit.sources.folders import is_picture, read_folder, walk
from vaekit.sources.hugging_face import read_hugging_face
from vaekit.sources.manifest import MANIFEST
from vaekit.sources.pieces.arrays import of_dataset, of_npy, of_npz
from vaekit.sources.pieces.base import Piece, Pieces, RicherError
from vaekit.sources.pieces.pictures import of_folder
from vaekit.sources.pieces.stream import of_hugging_face
from vaekit.sources.pieces.tables import Lines, Texts, is_parquet, of_parquet, of_table
from vaekit.sources.shards import read_parquets
from vaekit.sources.tables import read_parquet
from vaekit.sources.text import read_text

__all__ = ["Piece", "Pieces", "RicherError", "open_pieces"]


def open_pieces(
    source: str | os.PathLike[str],
    *,
    resize: tuple[int, int] | None = None,
    metadata: str | os.PathLike[str] | None = None,
    column: str | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    schema: Mapping[str, Any] | None = None,
    strict: bool = False,
) -> Pieces:
    """Open a source to read it piece by piece. The arguments are those of `vaekit.read`. All conditions come along.

    Raises UserError for what is wrong with the source or with the arguments.
    """
    text = os.fspath(source)
    with reading(text, "give a smaller file"):
        if split_rows(text)[1] is not None:
            raise UserError(
                f"{text} picks rows, and shards hold whole sources: pick rows of the shards as you read them"
            )
        ask = Ask(text, Path(os.path.expanduser(text)), (), None, resize, strict, False, every=True)
        ask.column, ask.encoding, ask.decimal, ask.schema = column, encoding, decimal, as_said(schema)
        ask.metadata = Path(os.path.expanduser(metadata)) if metadata else None
        if (ask.path / MANIFEST).is_file():
            raise UserError(f"{text} holds shards already: use it as it is")
        reader = checked_reader(ask, named=isinstance(source, str))
        opener = OPENERS.get(reader, opened_whole(reader))
        if opener is of_folder and is_of_parquet(ask.path):
            opener = of_parquet
        pieces = opener(ask)
        if ask.column is not None and not isinstance(pieces, Texts):
            raise UserError(f"{text} is not a table, so it has no columns: leave out --column {ask.column}")
        return pieces


def opened_whole(reader: Callable[[Ask], Any]) -> Callable[[Ask], Pieces]:
    """A function that reads a source as a whole; what it returns gives it piece by piece."""

    def opened(ask: Ask) -> Pieces:
        data = reader(ask)
        paths = [ask.path] if ask.path.exists() else []
        if data.kind == "table":
            return of_table(data.x.whole().table(), ask, data.name, paths, data.notes)
        return of_dataset(data, ask, paths)

    return opened


def is_of_parquet(folder: Path) -> bool:
    """Whether the first file of a folder that can be read is one of Parquet, as other programs write large tables."""
    known = (path for path in walk(folder) if is_picture(path) or is_parquet(path))
    first = next(known, None)
    return first is not None and not is_picture(first)


OPENERS: dict[Callable[[Ask], Any], Callable[[Ask], Pieces]] = {
    read_folder: of_folder,
    read_npy: of_npy,
    read_npz: of_npz,
    read_text: Lines,
    read_parquet: of_parquet,
    read_parquets: of_parquet,
    read_hugging_face: of_hugging_face,
}
