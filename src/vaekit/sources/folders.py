"""Folders of pictures as sources: which files are read, what is left out, and what is known about each picture."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vaekit.errors import UserError
from vaekit.frame import Frame
from vaekit.sources.base import Ask, Dataset, MissingConditionError, Offers, content_of, decoded, listed, visible_names
from vaekit.sources.pictures import PICTURE_SUFFIXES, from_pictures
from vaekit.sources.tables import column_offers, csv_table, without_comments

METADATA, FILE_NAME = "metadata.csv", "file_name"  # as in the imagefolder of Hugging Face's datasets
SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # Windows leaves them behind


def read_folder(ask: Ask) -> Dataset:
    """Read the pictures in a folder and its subfolders, in the order of their names: 10.png comes before 2.png."""
    titles, notes = pictures_in(ask)
    folders = np.array([subfolder(title) for title in titles], dtype=object)
    offers = {"label": lambda: labels_of(titles, ask, notes), **described(ask, titles, notes)}
    known = {"label": folders} if any(folders) else {}
    pictures = [(title, ask.path / title) for title in titles]
    return from_pictures(pictures, ask, ask.path.resolve().name, offers, notes, known)


def pictures_in(ask: Ask) -> tuple[list[str], list[str]]:
    """Find the pictures in a folder and its subfolders, by their paths in it. Also returns notes on the other files."""
    root, titles, others = ask.path, [], []
    for path in walk(root):
        if is_picture(path):
            titles.append("/".join(path.relative_to(root).parts))
        elif path not in (root / METADATA, ask.metadata):
            others.append(path)
    notes = left_out(others)
    if not titles and (root / "meta" / "info.json").exists():
        raise UserError(f"{ask.text} is a dataset of demonstrations: add --kind actions to learn a policy from it")
    if not titles:
        held = notes[0] if notes else f"but {', '.join(visible_names(root)[:5]) or 'nothing'}: give another"
        raise UserError(f"the folder {ask.text} holds no pictures ({', '.join(PICTURE_SUFFIXES)}), {held}")
    return titles, notes


def subfolder(title: str) -> str | None:
    first, slash, _ = title.partition("/")
    return first if slash else None


def labels_of(titles: Sequence[str], ask: Ask, notes: list[str]) -> np.ndarray:
    """The label of each picture: the name of its subfolder. UserError if some are in no subfolder."""
    loose = [title for title in titles if "/" not in title]
    if loose:
        raise (MissingConditionError if len(loose) == len(titles) else UserError)(
            f"a picture's label is the name of its subfolder, but {loose[0]} is in no subfolder of {ask.text}: "
            f"move it into one, give the labels in a {METADATA}, or leave out --condition label"
        )
    if deeper := [title for title in titles if title.count("/") > 1]:
        first = subfolder(deeper[0])
        notes.append(
            f"pictures deeper than one folder: {len(deeper)} of {len(titles)}, such as {deeper[0]}; the first folder, "
            f"{first!r}, is its label; to use the folders inside as labels, give {ask.text}/{first}"
        )
    return np.array([subfolder(title) for title in titles])


def walk(folder: Path, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders in order: linked ones too, but not hidden files or system files."""
    real = os.path.realpath(folder)
    if real in above:  # a link back to a folder around it
        return
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith(".") or entry.name.lower() in SYSTEM_FILES:
            continue
        if entry.is_dir():
            yield from walk(Path(entry.path), (*above, real))
        else:
            yield Path(entry.path)


def is_picture(path: Path) -> bool:
    return path.name.lower().endswith(PICTURE_SUFFIXES)


def left_out(files: Collection[Path]) -> list[str]:
    """Write a sentence for each kind of file that is not read."""
    names: dict[str, list[str]] = {}
    for path in sorted(files):
        names.setdefault(path.suffix.lower(), []).append(path.name)
    kinds = sorted(names.items(), key=lambda kind: -len(kind[1]))
    return [
        f"{len(found)} {suffix or 'nameless'} file{'s were' if len(found) > 1 else ' was'} not read: {listed(found)}; "
        "save them as .png or .jpg if they are pictures; sounds need --kind audio"
        for suffix, found in kinds
    ]


def described(ask: Ask, titles: Sequence[str], notes: list[str]) -> Offers:
    """Offer the columns of the table beside the pictures as conditions; NaN or None for pictures that it does not name."""
    path = ask.metadata or ask.path / METADATA
    if not ask.conditions or not path.is_file():
        return {}
    header = columns_of(table_ask(ask, path))
    if not set(ask.conditions) & set(header):  # what there is may be named in an error
        return dict.fromkeys(header, lambda: np.empty(0))
    table = beside(ask, path, titles, notes)
    return {} if table is None else column_offers(Frame.of(table), ask)


def table_ask(ask: Ask, path: Path) -> Ask:
    """The request for the table beside the pictures."""
    return replace(ask, path=path, text=str(path), column=None)


def beside(ask: Ask, path: Path, titles: Sequence[str], notes: list[str]) -> Any:
    """The rows of the table that belong to the pictures, one for each; empty for pictures that it does not name.

    None if it names none of them and the conditions are optional.
    """
    asked = table_ask(ask, path)
    key = key_of(columns_of(asked))
    table, _ = csv_table(
        replace(asked, schema={**ask.schema, key: {"kind": "categorical"}})
    )  # 007.png is not a number, nor is 007
    row_of = {str(name).replace("\\", "/").removeprefix("./"): i for i, name in enumerate(table[key].to_pylist())}
    paths = [PurePosixPath(title) for title in titles]
    often = Counter(path.name for path in paths)

    def row(path: PurePosixPath) -> int | None:
        """Find a picture's row by its path in the folder, or by its name if no other picture has the same name."""
        known = (str(path), path.name, path.stem) if often[path.name] == 1 else (str(path),)
        return next((row_of[name] for name in known if name in row_of), None)

    rows = [row(path) for path in paths]
    unknown = [title for title, found in zip(titles, rows, strict=True) if found is None]
    if len(unknown) == len(titles) and ask.optional_conditions:
        return None
    if len(unknown) == len(titles):
        raise UserError(
            f"{path} names no picture of {ask.text}: its column {key!r} has {next(iter(row_of), 'no rows')!r}, but a "
            f"picture is {titles[0]!r}"
        )
    if unknown:
        notes.append(
            f"pictures that {path.name} does not name: {len(unknown)} of {len(titles)} ({listed(unknown)}); their conditions "
            "are unknown"
        )
    if idle := sorted(set(range(len(table))) - set(rows)):
        names = [str(table[key][i]) for i in idle]
        notes.append(f"rows of {path.name} that name no picture here: {len(idle)} of {len(table)} ({listed(names)})")
    return arranged(table, rows)


def key_of(header: Sequence[str]) -> str:
    """The column that names the pictures."""
    return FILE_NAME if FILE_NAME in header else header[0]


def columns_of(ask: Ask) -> list[str]:
    """Return the names in the header of a .csv file."""
    line = without_comments(decoded(content_of(ask.path), ask).lstrip())[0].partition("\n")[0]
    return [name.strip() for name in next(csv.reader([line], delimiter=max(",;\t", key=line.count)), [""])]


def arranged(table: Any, rows: Sequence[int | None]) -> Any:
    """Pick rows of an Arrow table; None gives an empty row."""
    import pyarrow as pa

    return table.take(pa.array(rows, pa.int64()))
