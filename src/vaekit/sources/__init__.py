"""Reading data: a source, as the user names it, becomes a `Dataset`.

This module splits a source from its rows and calls its reader. Every reader ends in one of four builders, which share
the rest of the work: `arrays` (digits, npy, npz, idx), `pictures` (folders, picture files, Hugging Face images),
`tables` (csv, parquet, Hugging Face tables) and `text` (txt, or a column of any table). What a source could be conditioned on
is handed over as functions, so that only what was asked for is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaekit.errors import UserError, near_matches, tell
from vaekit.frame.cells import as_said
from vaekit.frame.places import is_remote
from vaekit.sources.arrays import mnist_file, read_digits, read_idx, read_mnist, read_npy, read_npz
from vaekit.sources.base import Ask, Dataset, as_slice, bounded, check, check_size, reading, split_rows, visible_names
from vaekit.sources.folders import read_folder
from vaekit.sources.hugging_face import read_hugging_face
from vaekit.sources.json_lines import read_json_lines
from vaekit.sources.pictures import PICTURE_SUFFIXES, read_picture_file
from vaekit.sources.shards import is_parquet_folder, read_parquets
from vaekit.sources.tables import read_csv, read_parquet
from vaekit.sources.text import column_of, read_text

__all__ = ["Dataset", "read"]


def read(
    source: str | os.PathLike[str],
    *,
    conditions: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    resize: tuple[int, int] | None = None,
    strict: bool = False,
    column: str | None = None,
    encoding: str | None = None,
    metadata: str | os.PathLike[str] | None = None,
    schema: Mapping[str, Any] | None = None,
    decimal: str | None = None,
    optional_conditions: bool = False,
) -> Dataset:
    """Read a source into memory.

    Args:
        source: "digits", a folder of pictures, of Parquet files or of shards that `vaekit pack` wrote (these also as s3://bucket/folder,
            and wherever else fsspec reads), a folder of MNIST's own files (only the training pictures), a file (a picture, .npy, .npz,
            .npz:ARRAY, idx, .csv, .csv.gz, .parquet, .jsonl, .txt, .gz of lines) or "hf://name:split". A trailing [12] or [10:20] picks
            rows, the first being row 0, [0:5,10:] several of these, and [!12] all others.
        conditions: names of labels or columns to condition on; they are taken out of x.
        columns: x must have exactly these columns, found by name; others are ignored. None: every remaining column.
        resize: bring every picture to this (width, height), in pixels.
        strict: a picture that cannot be read is an error; otherwise it is skipped, and `notes` says so.
        column: the column of a table whose texts are the data. "FILE.csv:COLUMN" says the same.
        encoding: that of a .txt or .csv file, such as "latin-1". None: UTF-8.
        metadata: a .csv file with conditions of the pictures in a folder. Its column file_name, or else its first column, names the
            pictures. None: metadata.csv in the folder, if it exists.
        schema: what you say about a table's columns, by name, as for `vaekit.VAE`: columns of text are read accordingly.
        decimal: the decimal separator, "." or ",", of a .csv file whose numbers do not show it, such as 1,234.
        optional_conditions: leave out conditions that the source does not have, and say so in `notes`; ignore a column or an encoding
            if the source is neither a table nor a text file.

    Returns:
        A `Dataset`.

    Raises:
        UserError: something is wrong with the source or with the arguments.

    Example:
        >>> data = vaekit.read("digits[0:5]", conditions=["label"])
        >>> data.x.shape, data.conditions["label"].tolist()
        ((5, 8, 8), [0, 1, 2, 3, 4])
    """
    text = os.fspath(source)
    conditions = (conditions,) if isinstance(conditions, str) else tuple(conditions)
    with reading(text, "give a smaller file"):
        text, rows = split_rows(text)
        ask = Ask(text, Path(os.path.expanduser(text)), conditions, columns, resize, strict, optional_conditions)
        ask.column, ask.encoding, ask.decimal = column, encoding, decimal
        ask.metadata = Path(os.path.expanduser(metadata)) if metadata else None
        ask.schema = as_said(schema)
        reader = checked_reader(ask, named=isinstance(source, str))
        data = reader(ask)
        if ask.column is not None and data.kind == "table":
            data = column_of(data, ask)
        elif ask.column is not None and not optional_conditions:
            raise UserError(f"{ask.text} is not a table, so it has no columns: leave out --column {ask.column}")
    check(data, ask)
    tell(data.notes)
    if rows is None:
        return data
    return data[as_slice(bounded(rows, len(data), text))]


def checked_reader(ask: Ask, named: bool) -> Callable[[Ask], Dataset]:
    """Choose the function that reads a source. UserError if the source is asked for what it cannot have."""
    check_size(ask.resize)
    if ask.decimal not in (None, ".", ","):
        raise UserError(f"--decimal {ask.decimal!r} is not a decimal separator: give . or ,")
    reader = _reader(ask, named)
    if ask.optional_conditions:
        return reader
    if ask.encoding and reader not in (read_csv, read_json_lines, read_text):
        raise UserError(
            f"{ask.text} is not a text file, such as a .txt or .csv, so it has no encoding: leave out --encoding"
        )
    if ask.metadata and reader is not read_folder:
        raise UserError(f"{ask.text} is not a folder of pictures, so it has no metadata: leave out --metadata")
    if ask.metadata and not ask.metadata.is_file():
        raise UserError(f"the metadata {ask.metadata} is not a file: check its name")
    return reader


def _reader(ask: Ask, named: bool) -> Callable[[Ask], Dataset]:
    """Choose the function that reads this source: by its name, because it is a folder, or by the ending of the file's name."""
    if named and ask.text == "digits":
        return read_digits
    if named and ask.text.startswith("hf://"):
        return read_hugging_face
    if named and is_remote(ask.text):
        return read_parquets
    if not ask.text:
        raise UserError("the source is empty: give digits, a folder of pictures, a file or hf://NAME")
    if not ask.path.exists():
        part = re.fullmatch(
            r"(.+\.(?:npz|csv|csv\.gz|tsv|tsv\.gz|parquet|jsonl|jsonl\.gz|ndjson)):([^:]+)",
            str(ask.path),
            re.IGNORECASE,
        )
        if part is None or not Path(part[1]).exists():
            folder = ask.path.parent
            if not folder.is_dir():
                raise UserError(f"{ask.text} does not exist, nor does the folder {folder}: check its name")
            readable = [
                n for n in visible_names(folder) if n.lower().endswith(tuple(_READERS)) or (folder / n).is_dir()
            ]
            known = ["digits"] * (folder == Path()) + readable
            raise UserError(f"{ask.text} does not exist{near_matches(ask.path.name, known)}")
        ask.path = Path(part[1])
        if ask.path.suffix.lower() == ".npz":
            ask.array = part[2]
        else:
            ask.column = part[2]
    if is_parquet_folder(ask):
        return read_parquets
    if ask.path.is_dir():
        return read_mnist if mnist_file(ask.path) else read_folder
    for ending, reader in _READERS.items():
        if ask.path.name.lower().endswith(ending):
            return reader
    endings = ", ".join(_READERS)
    raise UserError(
        f"{ask.text} is not a kind of file that vaekit reads: give a folder of pictures or a file ending in {endings}; "
        "rename it to .txt if each line is a text, and to .csv if it is a table"
    )


_READERS: dict[str, Callable[[Ask], Dataset]] = {
    ".npy": read_npy,
    ".npz": read_npz,
    "-ubyte": read_idx,
    "-ubyte.gz": read_idx,
    ".csv": read_csv,
    ".csv.gz": read_csv,
    ".tsv": read_csv,
    ".tsv.gz": read_csv,
    ".parquet": read_parquet,
    **dict.fromkeys((".jsonl", ".jsonl.gz", ".ndjson"), read_json_lines),
    ".txt": read_text,
    ".txt.gz": read_text,
    **dict.fromkeys(PICTURE_SUFFIXES, read_picture_file),
    ".gz": read_text,  # after the endings that say more
}
