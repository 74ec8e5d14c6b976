"""Pictures piece by piece: from a folder, or from another source of files."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.errors import UserError
from vaekit.show.track import track
from vaekit.sources.base import Ask, Names, Told
from vaekit.sources.folders import METADATA, beside, columns_of, key_of, labels_of, pictures_in, subfolder, table_ask
from vaekit.sources.pictures import (
    MANY,
    Read,
    check_sizes,
    check_types,
    copy,
    depth,
    in_words,
    notes_of,
    open_picture,
    read_files,
)  # fmt: skip
from vaekit.sources.pieces.base import (
    LABEL,
    Piece,
    Pieces,
    RicherError,
    identity_of,
    plain,
    possible_conditions,
    table_of,
)
from vaekit.threads import OnAllCores

FILES = 256  # of a piece, at most
LOOKED_AT = 64  # pictures whose pixels say whether the pictures of a folder are coloured, or transparent
FILE = "file"
TYPES = {
    "grey": "uint8",
    "colour": "uint8",
    "clear": "uint8",
}  # of pixels of pictures that look so; others are named by it
UNKNOWN = "unknown"
File = tuple[str, Path | bytes]


class Pictures(Pieces):
    """Pictures in files."""

    kind = "images"

    def batches(self, start: int, files: int) -> Iterator[tuple[Sequence[File], Mapping[str, Any]]]:
        """Yield at most `files` files at a time, by title and content, and columns with what is known about each."""
        raise NotImplementedError

    def look(self) -> None:
        """Take the size of the first pictures that can be read."""
        told: Told = defaultdict(Names)
        for files, _ in self.batches(0, 16):
            found = read_files(files, self.ask, told)
            told["files"].count += len(files)
            if found.titles:
                return self.expect(found.pile.array.shape[1:], found.pile.array.dtype.name)
        raise self.nothing(told)

    @property
    def at_once(self) -> int:
        return min(FILES, super().at_once)

    def read(self, start: int, told: Told) -> Iterator[Piece]:
        for files, columns in self.batches(start, self.at_once):
            found = read_files(files, self.ask, told)
            start += len(files)
            told["files"].count += len(files)
            beside = {name: values.take(found.files) for name, values in columns.items()}
            titles = [title.encode("utf-8", "surrogateescape").decode(errors="replace") for title in found.titles]
            rows = table_of(self.alike(found), {FILE: titles, **beside})
            yield Piece(rows, start, start, plain(told))

    def alike(self, found: Read) -> np.ndarray:
        """The pictures as one array of the shape that all have. UserError if one differs."""
        shape = self.shape or []
        for title, size, dtype in zip(found.titles, found.pile.sizes, found.pile.dtypes, strict=True):
            if list(size) != shape[1::-1]:
                raise UserError(
                    f"the pictures of {self.ask.text} differ in size: {title} is {in_words(size)}, the others are "
                    f"{in_words(shape[1::-1])}; bring them to one size, for example with --resize {in_words(shape[1::-1])}"
                )
            if dtype.name != self.dtype:
                raise UserError(
                    f"the pictures of {self.ask.text} differ in the type of their pixels: {title} has {dtype}, the others have "
                    f"{self.dtype}; save all with the same type"
                )
        whole = np.empty((len(found.titles), *shape), self.dtype)
        if found.titles:
            if depth(found.pile.array[0]) > depth(whole[0]):
                raise RicherError(found.pile.array.shape[1:], found.pile.array.dtype.name)
            copy(whole, found.pile.array)
        if whole.dtype.kind == "f" and np.isinf(whole).any():
            title = found.titles[int(np.isinf(whole).reshape(len(whole), -1).any(1).argmax())]
            raise UserError(
                f"{self.ask.text} holds an infinity in {title}: put a number in its place, or NaN if it is missing"
            )
        return whole

    def notes_of(self, told: Told, rows: int) -> list[str]:
        return notes_of(told, len(told["files"]), rows)

    def nothing(self, told: Told) -> UserError:
        notes = notes_of(told, len(told["files"]), 0)
        return UserError(f"no picture of {self.ask.text} can be read" + "".join(f"; {note}" for note in notes))


class FolderPictures(Pictures):
    """The pictures in a folder. columns: Arrow arrays with what is known about each, by name."""

    def __init__(self, ask: Ask, titles: Sequence[str], columns: Mapping[str, Any]):
        super().__init__(ask, ask.path.resolve().name, len(titles))
        self.titles, self.about = titles, columns

    def identity(self) -> str:
        table = self.ask.metadata or self.ask.path / METADATA
        more = [table] if table.is_file() else []
        return identity_of(chain((self.file(i)[1] for i in range(len(self.titles))), more), self.ask.path)

    def file(self, i: int) -> tuple[str, Path]:
        return self.titles[i], self.ask.path / self.titles[i]

    def batches(self, start: int, files: int) -> Iterator[tuple[Sequence[File], Mapping[str, Any]]]:
        for first in range(start, len(self.titles), files):
            rows = range(first, min(first + files, len(self.titles)))
            yield [self.file(i) for i in rows], {n: v.slice(first, len(rows)) for n, v in self.about.items()}

    def look(self) -> None:
        """Look at the beginning of each file, where its size is, and at the pixels of some.

        UserError if the pictures differ in size, or in the type of their pixels.
        """
        work = OnAllCores(glance, [self.ask.path / title for title in self.titles], 64)
        sizes: dict[tuple[int, int], array[int]] = defaultdict(lambda: array("l"))
        looks: dict[str, array[int]] = defaultdict(lambda: array("l"))
        for i, found in enumerate(track(work, "look") if len(work) >= MANY else work):
            if isinstance(found, Exception):
                if self.ask.strict:
                    read_files([self.file(i)], self.ask)  # which raises
                continue
            sizes[found[0]].append(i)
            looks[found[1]].append(i)
        if not self.ask.resize:
            *fewer, _ = sorted(sizes.values(), key=len) or [array("l")]
            if any(self.picture(i) is not None for some in fewer for i in some):
                check_sizes((size for size, some in sizes.items() for _ in some), self.ask)
        known = {TYPES.get(look, look): self.titles[some[0]] for look, some in looks.items() if look != UNKNOWN}
        check_types(known, self.ask)
        richest = self.richest(
            [looks.pop("clear", []), looks.pop("colour", []), [i for some in looks.values() for i in some]]
        )
        if richest is None:
            super().look()
        else:
            self.expect(richest.shape, richest.dtype.name)

    def richest(self, groups: Sequence[Sequence[int]]) -> np.ndarray | None:
        """The picture with most channels among some of each group: those that may be transparent, coloured, and others."""
        best = None
        for most, group in zip((4, 3, 1), groups, strict=True):
            for i in group[:: max(1, len(group) // LOOKED_AT)]:
                if best is not None and depth(best) >= most:
                    return best
                picture = self.picture(i)
                if picture is not None and (best is None or depth(picture) > depth(best)):
                    best = picture
        return best

    def picture(self, i: int) -> np.ndarray | None:
        """The first picture of a file; None if it cannot be read."""
        found = read_files([self.file(i)], self.ask)
        return found.pile.array[0] if found.titles else None


def glance(path: Path) -> tuple[tuple[int, int], str] | Exception:
    """The size (width, height) of a picture, and what its pixels may be: one of `TYPES`, or a type, as its beginning says."""
    from PIL import ExifTags

    try:
        with open_picture(path) as opened:
            width, height = opened.size
            turned = opened.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
            clear = opened.has_transparency_data
            mode = opened.mode
    except Exception as error:  # a damaged file can make a decoder raise anything
        return error
    deep = "uint16" if mode.startswith("I;16") else {"F": "float32", "I": UNKNOWN}.get(mode)
    look = deep or ("clear" if clear else "grey" if mode in ("L", "1") else "colour")
    return ((height, width) if turned else (width, height)), look


def of_folder(ask: Ask) -> FolderPictures:
    """The pictures in a folder, with the names of subfolders and the columns of the table beside them as conditions."""
    import pyarrow as pa

    titles, notes = pictures_in(ask)
    columns, names = {}, [FILE]
    path = ask.metadata or ask.path / METADATA
    if path.is_file():
        key = key_of(columns_of(table_ask(ask, path)))
        table = beside(replace(ask, optional_conditions=ask.metadata is None), path, titles, notes)
        if table is None:
            notes.append(f"{path} names no picture of {ask.text}, so its columns were left out")
        else:
            columns = {name: table[name].combine_chunks() for name in possible_conditions(table.schema) if name != key}
    if LABEL not in columns and any("/" in title for title in titles):
        columns[LABEL] = pa.array([subfolder(title) for title in titles], pa.string())
        names.append(LABEL)
    conditions = list(columns)
    if LABEL in names:
        try:
            labels_of(titles, ask, notes)
        except UserError as error:
            conditions.remove(LABEL)
            notes.append(f"the subfolders are no condition: {error}")
    pieces = FolderPictures(ask, titles, columns)
    pieces.put_beside_x(conditions, names)
    pieces.notes = notes
    return pieces
