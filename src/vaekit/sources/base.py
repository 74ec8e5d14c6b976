"""What all sources share: what the user asked for, the conditions on offer, the `Dataset`, the checks."""

from __future__ import annotations

import gzip
import io
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from vaekit.errors import UserError, near_matches
from vaekit.show.track import track
from vaekit.sources.stored import Stored

NOUNS = {"images": "pictures", "audio": "clips"}  # what a row is called; elsewhere a row
KEPT = 5  # names that a note may show
Offers = Mapping[str, Callable[[], np.ndarray]]  # what a source could be conditioned on: name -> values, one a row


@dataclass
class Dataset:
    """Pictures, rows of numbers, a table or texts, with the conditions that belong to them.

    Attributes:
        x: pictures (N, H, W) or (N, H, W, C); numbers (N, D) float, NaN where a value is missing; a table, a `Frame`; or texts (N,), each
            a str. Pictures, numbers and texts may be `Stored`: they stay in their files.
        kind: "images", "rows", "table", "text" or "audio".
        name: a short name of the source, for run folders.
        columns: names of the D columns of rows, if the source has them.
        conditions: by name, each (N,) or (N, n).
        notes: what you should know about the reading, a sentence each.
        names: what names a row, such as the "file" of a picture; each (N,).

    Example:
        >>> data = vaekit.read("digits[0:5]")
        >>> len(data), data.kind, data.describe()
        (5, 'images', '5 pictures of 8x8')
    """

    # pictures: (N, H, W) or (N, H, W, C); numbers: (N, D) float, NaN where a value is missing; a table: a `Frame`; texts: (N,)
    # objects, each a str; pictures, numbers and texts may be `Stored`
    x: Any
    kind: str  # "images", "rows", "table", "text" or "audio"
    name: str  # a short name of the source, for run folders
    columns: list[str] | None  # rows: the names of the D columns, if the source has them
    conditions: dict[str, np.ndarray]  # each (N,) or (N, n)
    notes: list[str]  # what the user should know about the reading
    names: dict[str, np.ndarray] = field(
        default_factory=dict
    )  # what names a row, such as the "file" of a picture; each (N,)

    def __len__(self) -> int:
        return len(self.x)

    def describe(self) -> str:
        given = f" given {', '.join(self.conditions)}" if self.conditions else ""
        if self.kind == "table":
            return f"{len(self)} rows of {len(self.x.columns)} columns{given}"
        if self.kind == "text":
            from vaekit.show.words import have_words, pieces

            some = self.x[:10_000] if isinstance(self.x, Stored) else self.x
            what = "word" if (words := have_words(some)) else "character"
            long = round(sum(len(pieces(text, words)) for text in some) / max(len(some), 1))
            return f"{len(self)} texts, {long} {what}{'s' * (long != 1)} each{',' * bool(given)}{given}"
        shape = "x".join(map(str, self.x.shape[1:]))
        floats = self.x.dtype.kind == "f" and not isinstance(self.x, Stored)
        missing = int(np.isnan(self.x).sum()) if floats else 0
        gaps = f", {missing} of {self.x.size} values missing (the likelihood leaves them out)" if missing else ""
        return f"{len(self)} {NOUNS.get(self.kind, 'rows')}{f' of {shape}' if shape else ''}{given}{gaps}"

    def __getitem__(self, rows: int | slice | np.ndarray) -> Dataset:
        """Pick rows; an int gives a Dataset of one row. IndexError if a row is out of range."""
        index = [rows] if isinstance(rows, (int, np.integer)) else rows
        conditions, names = ({name: c[index] for name, c in of.items()} for of in (self.conditions, self.names))
        return replace(self, x=self.x[index], conditions=conditions, names=names)


@dataclass
class Ask:
    """The arguments of `read`."""

    text: str  # the source without its rows: what messages call it
    path: Path
    conditions: Sequence[str]
    columns: Sequence[str] | None
    resize: tuple[int, int] | None
    strict: bool
    optional_conditions: bool
    array: str | None = None  # the NAME of file.npz:NAME
    column: str | None = None  # the column of a table that is read as texts
    encoding: str | None = None  # of a file of text
    metadata: Path | None = None  # a table with conditions of the pictures in a folder
    decimal: str | None = None  # the decimal separator of a text file
    schema: Mapping[str, Any] = field(default_factory=dict)  # what the user says about columns, see `read_cells`
    every: bool = False  # take all conditions that the source has; a table keeps its columns


class MissingConditionError(UserError):
    """This source does not have a condition that sources of its kind can have."""


def take(offers: Offers, ask: Ask) -> dict[str, np.ndarray]:
    """Return the conditions that were asked for; if they are optional, only those that the source has."""
    wanted = list(offers) if ask.every else ask.conditions
    for name in wanted:
        if name not in offers and not ask.optional_conditions:
            known = near_matches(name, offers) or ", or anything else: leave the condition out"
            raise UserError(f"{ask.text} has no label or column {name!r}{known}")
    taken = {}
    for name in wanted:
        if name in offers:
            try:
                taken[name] = offers[name]()
            except MissingConditionError:
                if not (ask.optional_conditions or ask.every):
                    raise
    return taken


def check(data: Dataset, ask: Ask, first: int = 0) -> None:
    """UserError if a source has no rows or has infinities, or does not suit the columns and the size that were asked for.

    first: the number of the first row, where these are not all rows of the source.
    """
    if not len(data):
        raise UserError(f"{ask.text} has no rows: give a source that has some")
    if not np.prod(data.x.shape):
        raise UserError(f"{ask.text} has rows without values (its shape is {data.x.shape}): give a source with values")
    if ask.resize and data.kind != "images":
        held = "texts" if data.kind == "text" else "rows of a table"
        raise UserError(f"{ask.text} holds {held}, and only pictures can be resized: leave out --resize")
    if ask.columns is not None and data.columns is None:
        rows = data.kind == "rows"
        if not rows or data.x.shape[1] != len(ask.columns):
            held = (
                f"{data.x.shape[1]} columns without names" if rows else "texts" if data.kind == "text" else "pictures"
            )
            raise UserError(f"{ask.text} holds {held}: give a table with the columns {', '.join(ask.columns)}")
        data.columns = list(ask.columns)
        data.notes.append(f"{ask.text} does not name its columns, so they count as {', '.join(ask.columns)}")
    data.notes += [
        f"{ask.text} has no {name!r}, so it counts as unknown" for name in ask.conditions if name not in data.conditions
    ]
    arrays = data.conditions if data.kind == "table" else {"x": data.x, **data.conditions}
    for name, values in arrays.items():
        if isinstance(values, Stored):
            continue  # they are checked as they are read
        if values.dtype.kind == "f" and np.isinf(values).any():
            row, *rest = (int(i) for i in np.argwhere(np.isinf(values))[0])
            place = f", pixel {tuple(rest)}" if data.kind == "images" else ""
            if data.kind == "rows" and rest:
                place = f", column {data.columns[rest[0]]!r}" if data.columns else f", column {rest[0]}"
            place = place if name == "x" else f" of the condition {name!r}"
            raise UserError(
                f"{ask.text} holds an infinity at row {first + row} (the first is 0){place}: "
                "put a number in its place, or NaN if it is missing"
            )


def from_here(source: Any, folder: str | None) -> Any:
    """A source as it was written in `folder`, or below that folder where it is there and not here."""
    if isinstance(source, list):
        return [from_here(each, folder) for each in source]
    path = re.split(r"[\[:]", str(source))[0]  # without rows, or a column
    elsewhere = folder and path and not Path(path).expanduser().exists() and (Path(folder) / path).exists()
    return str(Path(folder) / source) if folder and elsewhere and source != "digits" else source


@contextmanager
def decoding(text: str, kind: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a UserError: damaged bytes can make it raise anything."""
    try:
        yield
    except (UserError, PermissionError, MemoryError):
        raise
    except Exception as error:
        reason = str(error)[:200] or type(error).__name__
        raise UserError(f"{text} is damaged, truncated or not {kind} ({reason}): get it or save it again") from error


@contextmanager
def reading(text: str, remedy: str) -> Iterator[None]:
    """Turn errors of the operating system into a UserError. remedy: what to do if there is too little memory."""
    try:
        yield
    except PermissionError as error:
        raise UserError(f"no permission to read {error.filename or text}: change its permissions") from error
    except OSError as error:
        raise UserError(f"{error.filename or text} could not be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise UserError(f"{text} does not fit in memory, or is damaged: {remedy}") from error


def split_rows(text: str) -> tuple[str, str | None]:
    """Split "digits[10:20]" into "digits" and "10:20", which `bounded` understands. An existing file wins."""
    match = re.fullmatch(r"(.+)\[(!?[-\d:, ]*)\]", text, re.DOTALL)
    if match is None or os.path.exists(os.path.expanduser(text)):
        return text, None
    return match[1], match[2]


def bounded(rows: str, length: int, text: str, what: str = "rows") -> np.ndarray:
    """Return the indices, in rising order, of the rows (or whatever `what` says) that `split_rows` found.

    rows: "3", "-1" (the last), "0:12", "::2", several of these with commas between them, or "!" and then those to leave out.

    Raises UserError where the source has no such rows.
    """
    named = np.zeros(length, bool)
    for part in rows.removeprefix("!").split(","):
        span = _span(part.strip(), length)
        if not span:
            raise UserError(
                f"{text} has {length} {what}, so [{part.strip()}] does not exist: give {what} from 0 to {length - 1}"
            )
        named[span] = True
    chosen = np.flatnonzero(~named if rows.startswith("!") else named)
    if not len(chosen):
        raise UserError(f"{text} has {length} {what}, and [{rows}] leaves all of them out: leave out fewer")
    return chosen


def _span(part: str, length: int) -> range:
    """Rows "3", "-1", "0:12" or "::2" of `length`; empty where some of them do not exist."""
    match = re.fullmatch(r"(-?\d+)|(-?\d*):(-?\d*)(?::([1-9]\d*)?)?", part)
    if match is None:
        return range(0)

    def place(number: str, otherwise: int) -> int:
        return int(number) + length * number.startswith("-") if number else otherwise

    one, start, stop, step = match.groups()
    first = place(one or start, 0)
    last = first + 1 if one else place(stop, length)
    return range(first, last, int(step or 1)) if 0 <= first < last <= length else range(0)


def as_slice(index: np.ndarray) -> slice | np.ndarray:
    """Turn indices that follow one another into a slice, which picks rows without a copy; leave others as they are."""
    first, last = int(index[0]), int(index[-1])
    return slice(first, last + 1) if last - first + 1 == len(index) else index


def check_size(resize: tuple[int, int] | None) -> None:
    if resize is not None and min(resize) < 1:
        raise UserError(f"cannot resize pictures to {resize[0]}x{resize[1]}: give a width and a height of at least 1")


def content_of(path: Path) -> bytes:
    """Read all bytes of a file and unpack them if they are gzipped, whatever its name says.

    UserError for more than half of the memory: a small file may hold a thousand times its size, and a device never ends.
    """
    most = memory() // 2
    with path.open("rb") as file, decoding(str(path), "gzipped"):
        content = unpacked(file).read(most + 1)
    if len(content) > most:
        raise UserError(
            f"{path} holds more than {most / 2**30:.1f} GiB, half of this machine's memory: give it in parts"
        )
    return content


def unpacked(file: io.BufferedReader) -> IO[bytes]:
    """An open file, or what is in it if it is gzipped, whatever its name says."""
    return gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == b"\x1f\x8b" else file  # type: ignore[return-value]


def memory() -> int:
    """Return the memory of this machine in bytes; 64 GiB if it does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 64 << 30


def decoded(content: bytes, ask: Ask) -> str:
    """Decode a file's text and drop its byte-order mark. UserError with the line that does not fit the encoding."""
    encoding = ask.encoding or "utf-8"
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        raise UserError(f"--encoding {encoding!r} is not known: try utf-8, latin-1 or utf-16") from error
    except UnicodeError as error:
        raise undecodable(error, content, ask) from error


def undecodable(error: UnicodeError, content: bytes, ask: Ask, before: int = 0) -> UserError:
    """Say which line does not fit the encoding. content: what was decoded. before: lines of the file before it."""
    encoding, start = ask.encoding or "utf-8", getattr(error, "start", 0)
    line = before + 1 + len(re.findall("\r\n|\r|\n", content[:start].decode(encoding, "ignore")))
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")  # how UTF-16 begins
    remedy = f"name its encoding, as with --encoding {'utf-16' if wide else 'latin-1'}"
    if b"\0" in content and not wide:
        remedy = "it holds NUL bytes too, so it is hardly a file of text: give another"
    return UserError(
        f"{ask.text}, line {line} (the first is 1): byte 0x{content[start]:02x} is not {encoding.upper()}; {remedy}"
    )


def shown(work: Any) -> Iterator[Any]:
    """Go through work that takes a while, and show how far it has come."""
    return track(work, "read")


class Names:
    """A count of names, and the first few of them."""

    def __init__(self, count: int = 0, first: Sequence[str] = ()):
        self.count, self.first = count, list(first)

    def add(self, names: Sequence[str]) -> None:
        self.count += len(names)
        self.first += names[: KEPT - len(self.first)]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, some: Any) -> Any:
        return self.first[some]


Told = defaultdict[str, Names]
"""What was left out or changed on the way, by what happened to it."""


def listed(names: Sequence[str] | Names, most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def visible_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
