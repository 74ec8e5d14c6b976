"""Reading data: a source, as the user names it, becomes a `Dataset`.

Every source ends in one of three builders, which share the rest of the work: `_from_array` (digits, npy, npz, idx),
`_from_pictures` (folders, picture files, Hugging Face images) and `_from_table` (csv, parquet, Hugging Face tables).
What a source could be conditioned on is handed over as functions, so that only what was asked for is read.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from .errors import UserError, extra_needed, near_matches

Offers = Mapping[str, Callable[[], np.ndarray]]  # what a source could be conditioned on: name -> values, one a row

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
ARRAY_NAMES = ("x", "X", "images", "data", "observations")  # the arrays of an .npz file that are taken to be the data
IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass
class Dataset:
    """Pictures or rows of numbers, with the conditions that belong to them."""

    x: np.ndarray  # pictures: (N, H, W) or (N, H, W, C); numbers: (N, D) float, NaN where a value is missing
    kind: str  # "images" or "rows"
    name: str  # a short name of the source, for run folders
    columns: list[str] | None  # rows: the names of the D columns, if the source has them
    conditions: dict[str, np.ndarray]  # each (N,) or (N, n)
    notes: list[str]  # what the user should know about the reading

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: int | slice | np.ndarray) -> Dataset:
        """The chosen rows; an int gives a Dataset of one row. IndexError if a row is out of range."""
        index = [rows] if isinstance(rows, (int, np.integer)) else rows
        return replace(self, x=self.x[index], conditions={name: c[index] for name, c in self.conditions.items()})


@dataclass
class _Ask:
    """What `read` was asked for."""

    text: str  # the source without its rows: what messages call it
    path: Path
    conditions: Sequence[str]
    columns: Sequence[str] | None
    resize: tuple[int, int] | None
    strict: bool
    array: str | None = None  # the NAME of file.npz:NAME


def read(
    source: str | os.PathLike[str],
    *,
    conditions: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    resize: tuple[int, int] | None = None,
    strict: bool = False,
) -> Dataset:
    """Read a source into memory.

    source: "digits", a folder of pictures, a file (a picture, .npy, .npz, .npz:ARRAY, idx, .csv, .csv.gz, .parquet) or
        "hf://name:split"; a trailing [12] or [10:20] picks rows, the first being row 0.
    conditions: names of what the data is conditioned on; they are taken out of x.
    columns: x must have exactly these columns, found by name; others are ignored. None: every remaining column.
    resize: bring every picture to this (width, height).
    strict: a picture that cannot be read is an error; otherwise it is skipped, and `notes` says so.

    Raises UserError, in one line, for whatever is wrong with the source or with what was asked of it.
    """
    text = os.fspath(source)
    conditions = (conditions,) if isinstance(conditions, str) else tuple(conditions)
    if resize is not None and min(resize) < 1:
        raise UserError(f"cannot resize pictures to {resize[0]}x{resize[1]}: give a width and a height of at least 1")
    try:
        text, rows = _split_rows(text)
        ask = _Ask(text, Path(os.path.expanduser(text)), conditions, columns, resize, strict)
        data = _reader(ask, named=isinstance(source, str))(ask)
    except PermissionError as error:
        raise UserError(f"no permission to read {error.filename or text}: change its permissions") from error
    except OSError as error:
        raise UserError(f"{error.filename or text} could not be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise UserError(f"{text} does not fit in memory, or is damaged: give a smaller file") from error
    _check(data, ask)
    return data if rows is None else data[_bounded(rows, len(data), text)]


def _split_rows(text: str) -> tuple[str, tuple[str, str | None] | None]:
    """Split "digits[10:20]" into "digits" and ("10", "20"); "[12]" gives ("12", None). An existing file wins."""
    match = re.fullmatch(r"(.+)\[(-?\d*)(?::(-?\d*))?\]", text, re.DOTALL)
    if match is None or os.path.exists(os.path.expanduser(text)):
        return text, None
    return match[1], (match[2], match[3])


def _bounded(rows: tuple[str, str | None], length: int, text: str) -> slice:
    start, stop = rows
    first = int(start or 0) if stop is not None or start else -1
    last = int(stop or length) if stop is not None else first + 1
    if not 0 <= first < last <= length:
        asked = start if stop is None else f"{start}:{stop}"
        raise UserError(f"{text} has {length} rows, so there is no [{asked}]: give rows from 0 to {length - 1}")
    return slice(first, last)


def _reader(ask: _Ask, named: bool) -> Callable[[_Ask], Dataset]:
    """The function that reads this source: by its name, by its being a folder, or by how the file's name ends."""
    if named and ask.text == "digits":
        return _digits
    if named and ask.text.startswith("hf://"):
        return _hugging_face
    if not ask.text:
        raise UserError("the source is empty: give digits, a folder of pictures, a file or hf://NAME")
    if not ask.path.exists():
        part = re.fullmatch(r"(.+\.npz):([^:]+)", str(ask.path), re.IGNORECASE)
        if part is None or not Path(part[1]).exists():
            folder = ask.path.parent
            beside = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
            place = "" if folder.is_dir() else f" (nor does the folder {folder})"
            raise UserError(f"{ask.text} does not exist{place}{near_matches(ask.path.name, ['digits', *beside])}")
        ask.path, ask.array = Path(part[1]), part[2]
    if ask.path.is_dir():
        return _folder
    for ending, reader in _READERS.items():
        if ask.path.name.lower().endswith(ending):
            return reader
    endings = ", ".join(_READERS)
    raise UserError(f"{ask.text} is of no supported kind: give a folder of pictures or a file ending in {endings}")


def _check(data: Dataset, ask: _Ask) -> None:
    """What holds for every source: it has rows, no infinities, and suits the columns and the size asked for."""
    if not len(data):
        raise UserError(f"{ask.text} has no rows: give a source that has some")
    if not data.x.size:
        raise UserError(f"{ask.text} has rows of nothing, its shape is {data.x.shape}: give a source with values")
    if ask.resize and data.kind == "rows":
        raise UserError(f"{ask.text} holds rows of numbers, and only pictures can be resized: leave out --resize")
    if ask.columns is not None and data.columns is None:
        if data.kind == "images" or data.x.shape[1] != len(ask.columns):
            held = "pictures" if data.kind == "images" else f"{data.x.shape[1]} columns without names"
            raise UserError(f"{ask.text} holds {held}: give a table with the columns {', '.join(ask.columns)}")
        data.columns = list(ask.columns)
        data.notes.append(f"{ask.text} does not name its columns; they were taken to be {', '.join(ask.columns)}")
    for name, values in {"x": data.x, **data.conditions}.items():
        if values.dtype.kind == "f" and np.isinf(values).any():
            row, *rest = (int(i) for i in np.argwhere(np.isinf(values))[0])
            place = f", pixel {tuple(rest)}" if data.kind == "images" else ""
            if data.kind == "rows" and rest:
                place = f", column {data.columns[rest[0]]!r}" if data.columns else f", column {rest[0]}"
            place = place if name == "x" else f" of the condition {name!r}"
            raise UserError(
                f"{ask.text} holds an infinity at row {row} (the first is 0){place}: "
                "put a number in its place, or NaN if it is missing"
            )


def _take(offers: Offers, ask: _Ask) -> dict[str, np.ndarray]:
    """The conditions asked for, out of those on offer."""
    for name in ask.conditions:
        if name not in offers:
            known = near_matches(name, offers) or ", or anything else: leave the condition out"
            raise UserError(f"{ask.text} has no {name!r} to condition on{known}")
    return {name: offers[name]() for name in ask.conditions}


@contextmanager
def _decoding(text: str, kind: str) -> Iterator[None]:
    """Turns whatever a decoder raises into a UserError: damaged bytes can make it raise anything."""
    try:
        yield
    except (UserError, PermissionError, MemoryError):
        raise
    except Exception as error:
        reason = str(error)[:200] or type(error).__name__
        raise UserError(f"{text} is damaged, truncated or not {kind} ({reason}): get it or save it again") from error


# ---- arrays ----------------------------------------------------------------------------------------------------------


def _from_array(x: np.ndarray, ask: _Ask, name: str, offers: Offers) -> Dataset:
    """A Dataset of an array: (N, D) is rows, (N, H, W) and (N, H, W, C) are pictures, as is (N, C, H, W)."""
    notes = []
    if x.dtype.kind not in "biuf":
        raise UserError(f"{ask.text} holds values of type {x.dtype}: give an array of numbers")
    if x.dtype.kind == "f" and x.dtype.itemsize not in (4, 8):
        x = x.astype(np.float32 if x.dtype.itemsize < 4 else np.float64)
    x = x.astype(x.dtype.newbyteorder("="), copy=False)  # PyTorch knows the machine's byte order only
    if x.ndim == 4 and x.shape[3] not in (1, 3, 4) and x.shape[1] in (1, 3, 4):
        x = np.ascontiguousarray(np.moveaxis(x, 1, 3))
        notes.append(f"{ask.text} has its channels first; they were moved last, to the shape {x.shape}")
    if x.ndim == 2:
        x = x if x.dtype.kind == "f" else x.astype(np.float64)
        return Dataset(x, "rows", name, None, _take(offers, ask), notes)
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[3] not in (1, 3, 4)):
        raise UserError(
            f"{ask.text} has the shape {x.shape}: give (N, D) for rows of numbers, "
            "(N, H, W) or (N, H, W, C) with C of 1, 3 or 4 for pictures"
        )
    conditions = _take(offers, ask)
    if ask.resize and x.size:
        x = np.stack([_resized(picture, ask.resize) for picture in x])
    return Dataset(x, "images", name, None, conditions, notes)


def _digits(ask: _Ask) -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    data = _from_array(digits.images.astype(np.uint8), ask, "digits", {"label": lambda: digits.target})
    if ask.path.exists():
        data.notes.append("digits is the built-in set; to read what is here under that name, write ./digits")
    return data


def _load_array(file: IO[bytes]) -> np.ndarray | None:
    """The array in an open .npy file; None if it is of pickled Python objects, which are never opened."""
    try:
        return np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:
        if "Object arrays" in str(error):
            return None
        raise


def _npy(ask: _Ask) -> Dataset:
    with _decoding(ask.text, "a NumPy .npy file"), ask.path.open("rb") as file:
        x = _load_array(file)
    if x is None:
        raise UserError(f"{ask.text} holds pickled Python objects, which are never opened: save numbers")
    return _from_array(x, ask, ask.path.stem, {})


def _npz(ask: _Ask) -> Dataset:
    found: dict[str, np.ndarray | None] = {}
    with _decoding(ask.text, "a NumPy .npz file"), zipfile.ZipFile(ask.path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                found[member.removesuffix(".npy")] = _load_array(file)
    arrays = {key: values for key, values in found.items() if values is not None}
    x = arrays.pop(_main_array(arrays, [key for key in found if key not in arrays], ask))
    offers = {
        key: partial(np.asarray, values)
        for key, values in arrays.items()
        if values.ndim in (1, 2) and x.ndim and len(values) == len(x) and values.dtype.kind in "biufU"
    }
    return _from_array(x, ask, ask.path.stem, offers)


def _main_array(arrays: Mapping[str, np.ndarray], pickled: list[str], ask: _Ask) -> str:
    """The name of the array that is the data: the one asked for, else the usual name, else the only one with rows."""
    shapes = ", ".join(f"{key} {values.shape}" for key, values in arrays.items()) or "none"
    if pickled:
        shapes += f"; left out for holding pickled Python objects: {', '.join(pickled)}"
    if ask.array is not None:
        if ask.array not in arrays:
            raise UserError(f"{ask.path} has no array of numbers {ask.array!r}: give one of its arrays ({shapes})")
        return ask.array
    named = [key for key in arrays if key in ARRAY_NAMES]
    wide = [key for key, values in arrays.items() if values.ndim >= 2]
    choice = named if len(named) == 1 else wide
    if len(choice) != 1:
        raise UserError(f"{ask.text} does not tell which array is the data: name it, as in {ask.text}:NAME ({shapes})")
    return choice[0]


def _content(path: Path) -> bytes:
    """All bytes of a file, unpacked if it is gzipped, whatever its name says."""
    content = path.read_bytes()
    with _decoding(str(path), "gzipped"):
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def _idx_array(path: Path) -> np.ndarray:
    """The array of an idx file: two zeros, type, number of dimensions, the big-endian dimensions, the values."""
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES or not content[3]:
        raise UserError(f"{path} is not an idx file, it begins with {content[:4].hex(' ') or 'nothing'}: get it again")
    dtype, ndim = np.dtype(IDX_TYPES[content[2]]), content[3]
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, 4 + 4 * ndim, 4))
    size = 4 + 4 * ndim + math.prod(shape) * dtype.itemsize
    if len(content) != size:
        what = "truncated" if len(content) < size else "longer than it says"
        raise UserError(f"{path} is {what}: its header asks for {size} bytes, it has {len(content)}; get it again")
    return np.frombuffer(content, dtype, offset=4 + 4 * ndim).reshape(shape).copy()


def _idx(ask: _Ask) -> Dataset:
    x = _idx_array(ask.path)
    if x.ndim == 1:
        raise UserError(f"{ask.text} holds labels: give the images file beside it; its labels are found by themselves")

    def label() -> np.ndarray:
        beside = ask.path.with_name(re.sub(r"images([-.])idx\d", r"labels\1idx1", ask.path.name))
        if beside == ask.path or not beside.exists():
            raise UserError(
                f"{ask.text} has no labels: put them beside it, as train-labels-idx1-ubyte "
                "beside train-images-idx3-ubyte, or leave out --condition label"
            )
        labels = _idx_array(beside)
        if labels.shape != x.shape[:1]:
            raise UserError(f"{beside} has the shape {labels.shape} for {len(x)} images: get the two files again")
        return labels

    return _from_array(x, ask, ask.path.absolute().parent.name, {"label": label})


# ---- pictures --------------------------------------------------------------------------------------------------------


def _folder(ask: _Ask) -> Dataset:
    root, files = ask.path, []
    for place, folders, names in os.walk(root, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(place, n) for n in names if n.lower().endswith(PICTURE_SUFFIXES) and not n.startswith(".")]
    if not files:
        held = near_matches("", sorted(path.name for path in root.iterdir()))
        raise UserError(f"the folder {ask.text} holds no pictures ({', '.join(PICTURE_SUFFIXES)}): give another{held}")
    files.sort()
    parts = [path.relative_to(root).parts for path in files]

    def label() -> np.ndarray:
        for first, *rest in parts:
            if not rest:
                raise UserError(
                    f"a picture's label is the name of its subfolder, and {first} lies loose in "
                    f"{ask.text}: move it into one, or leave out --condition label"
                )
        return np.array([first for first, *_ in parts])

    pictures = [("/".join(part), path) for part, path in zip(parts, files, strict=True)]
    return _from_pictures(pictures, ask, root.resolve().name, {"label": label})


def _raise(error: OSError) -> None:
    raise error


def _picture_file(ask: _Ask) -> Dataset:
    ask.strict = True
    return _from_pictures([(ask.path.name, ask.path)], ask, ask.path.stem, {})


def _from_pictures(pictures: Sequence[tuple[str, Path | bytes]], ask: _Ask, name: str, offers: Offers) -> Dataset:
    """A Dataset of pictures, given by name and file; those that cannot be read are left out, with their conditions."""
    conditions = _take(offers, ask)
    kept, arrays, failed = [], [], []
    for i, (title, file) in enumerate(pictures):
        try:
            array = _picture(file)
        except Exception as error:  # a damaged file can make a decoder raise anything
            failed.append(f"{title} ({_reason(error)})")
            if ask.strict:
                raise UserError(f"{ask.text}: cannot read {failed[0]}; mend or remove it") from error
            continue
        kept.append(i)
        arrays.append(_resized(array, ask.resize) if ask.resize else array)
    notes = []
    if failed:
        listed = ", ".join(failed[:5]) + (", ..." if len(failed) > 5 else "")
        notes.append(f"{len(failed)} of {len(pictures)} pictures could not be read and were skipped: {listed}")
    if not arrays:
        raise UserError(f"{ask.text} has no picture that can be read" + "".join(f"; {note}" for note in notes))
    sizes = Counter((array.shape[1], array.shape[0]) for array in arrays).most_common()
    if len(sizes) > 1:
        (a, many), (b, fewer), *others = [(f"{w}x{h}", count) for (w, h), count in sizes]
        more = f" and {len(others)} other sizes occur" if others else ""
        raise UserError(
            f"the pictures of {ask.text} differ in size: {many} are {a}, {fewer} are {b}{more}; "
            f"bring them to one size, as with --resize {a}"
        )
    types = {array.dtype: pictures[i][0] for array, i in zip(arrays, kept, strict=True)}
    if len(types) > 1:
        listed = ", ".join(f"{title} has {dtype}" for dtype, title in types.items())
        raise UserError(f"the pictures of {ask.text} differ in the type of their pixels: {listed}; save all in one")
    channels = max(array.shape[2] if array.ndim == 3 else 1 for array in arrays)
    x = np.stack([_with_channels(array, channels) for array in arrays])
    return Dataset(x, "images", name, None, {key: values[kept] for key, values in conditions.items()}, notes)


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not a picture"
    return "truncated" if "truncated" in str(error).lower() else getattr(error, "strerror", None) or str(error)


def _picture(file: Path | bytes) -> np.ndarray:
    """The pixels of a picture, or of an animation's first frame, in the fewest channels that hold them.

    (H, W) if it is grey, else (H, W, 3), or (H, W, 4) if any of it is transparent; uint8, but 16-bit grey stays uint16.
    """
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as opened:
        image = ImageOps.exif_transpose(opened)  # cameras store how they were held
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):  # deep grey; "I" also is how 16 bits may arrive
            deep = np.asarray(image)
            return deep.astype(np.uint16) if deep.dtype.kind != "f" and deep.max() < 2**16 and deep.min() >= 0 else deep
        pixels = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    if pixels.shape[2] == 4 and (pixels[..., 3] < 255).any():
        return pixels
    pixels = pixels[..., :3]
    return pixels[..., 0] if (pixels == pixels[..., :1]).all() else pixels


def _with_channels(picture: np.ndarray, channels: int) -> np.ndarray:
    """The same picture with 1 (grey stays (H, W)), 3 or 4 channels."""
    if picture.ndim == 2 and channels > 1:
        picture = np.repeat(picture[..., None], 3, axis=2)
    if channels == 4 and picture.shape[2] == 3:
        opaque = np.full_like(picture[..., :1], 255)
        picture = np.concatenate([picture, opaque], axis=2)
    return picture


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (H, W) or (H, W, C), brought to this (width, height) in its own dtype."""
    from PIL import Image

    if picture.shape[1::-1] == tuple(size):
        return picture
    if picture.ndim == 3 and picture.shape[2] == 1:
        return _resized(picture[..., 0], size)[..., None]
    if picture.dtype == np.uint8:  # Pillow weighs colours by their opacity, so transparent pixels do not bleed
        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
    if picture.ndim == 3:
        return np.stack([_resized(channel, size) for channel in np.moveaxis(picture, 2, 0)], axis=2)
    image = Image.fromarray(picture.astype(np.float32)).resize(size, Image.Resampling.LANCZOS)
    pixels = np.clip(np.asarray(image), picture.min(), picture.max())  # the filter overshoots at edges
    return (pixels if picture.dtype.kind == "f" else np.rint(pixels)).astype(picture.dtype)


# ---- tables ----------------------------------------------------------------------------------------------------------


def _csv(ask: _Ask) -> Dataset:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    content = _content(ask.path).removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n") + b"\n"
    lines = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="replace", newline="")
    delimiter = max(",;\t", key=lines.readline().count)
    lines.seek(0)
    with _decoding(ask.text, "a table in UTF-8"):
        header = [field.strip() for field in next(csv.reader(lines, delimiter=delimiter))]
        if not header:
            raise UserError(f"{ask.text} is empty: give a table with a header and rows")
        headless = any(header) and all(_is_number(field) for field in header if field)
        names = [f"column_{i}" if headless or not field else field for i, field in enumerate(header)]
        # Everything is read as text and given its type after: Arrow would judge a column by its first rows.
        table = arrow_csv.read_csv(
            pa.BufferReader(content),
            arrow_csv.ReadOptions(
                column_names=names, skip_rows_after_names=not headless, use_threads=False, block_size=1 << 24
            ),
            arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True),
        )
    table = pa.Table.from_arrays([_typed(column) for column in table.columns], names=names)
    notes = [f"{ask.text} has no header; its columns were named column_0, column_1, ..."] if headless else []
    return _from_table(table, ask, re.sub(r"\.csv(\.gz)?$", "", ask.path.name, flags=re.IGNORECASE), notes)


def _typed(column: Any) -> Any:
    """A column of text as whole numbers, numbers or booleans if all of it is, else as text without outer spaces."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pc.utf8_trim_whitespace(column)
    column = pc.if_else(pc.equal(column, ""), None, column)
    for kind in (pa.int64(), pa.float64(), pa.bool_()):
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    return column


def _parquet(ask: _Ask) -> Dataset:
    from pyarrow import parquet

    with _decoding(ask.text, "a parquet file"), ask.path.open("rb") as file:
        table = parquet.ParquetFile(file).read()
    return _from_table(table, ask, ask.path.stem, [])


def _hugging_face(ask: _Ask) -> Dataset:
    try:
        import datasets
    except ImportError as error:
        raise extra_needed("hf", "datasets") from error
    import pyarrow as pa

    name, split = ask.text.removeprefix("hf://"), "train"
    if ":" in name and not Path(name).exists():
        name, split = name.rsplit(":", 1)
    try:
        data = datasets.load_dataset(name, split=split)
        images = [key for key, feature in data.features.items() if isinstance(feature, datasets.Image)]
        for key in images:
            data = data.cast_column(key, datasets.Image(decode=False))
        table = data.with_format("arrow")[:]
    except Exception as error:  # of whichever library it uses for this source
        reason = str(error.__cause__ or error)[:300]
        raise UserError(f"{ask.text} could not be loaded ({reason}): check its name and split") from error
    for i, (key, feature) in enumerate(data.features.items()):
        if isinstance(feature, datasets.ClassLabel):
            labels = [None if k is None or k < 0 else feature.names[k] for k in table[key].to_pylist()]
            table = table.set_column(i, key, pa.array(labels, pa.string()))
    name = Path(name).name
    if not images:
        return _from_table(table, ask, name, [])
    if len(images) > 1:
        raise UserError(f"{ask.text} has several columns of pictures ({', '.join(images)}): give a source with one")
    cells = table[images[0]].to_pylist()
    pictures = [(f"row {i}", cell["bytes"] or Path(cell["path"]) if cell else b"") for i, cell in enumerate(cells)]
    return _from_pictures(pictures, ask, name, _column_offers(table.drop_columns(images), ask))


def _from_table(table: Any, ask: _Ask, name: str, notes: list[str]) -> Dataset:
    """A Dataset of an Arrow table: rows of its number columns, but those taken as conditions."""
    for column, count in Counter(table.column_names).items():
        if count > 1:
            raise UserError(f"{ask.text} has {count} columns named {column!r}: give each its own name")
    if not table.num_rows:
        raise UserError(f"{ask.text} has no rows: give a table that has some")
    conditions = _take(_column_offers(table, ask), ask)
    rest = [column for column in table.column_names if column not in conditions]
    columns = rest if ask.columns is None else list(ask.columns)
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        known = near_matches(missing[0], table.column_names)
        raise UserError(f"{ask.text} lacks the columns {', '.join(missing)}: add or rename them{known}")
    if ignored := [column for column in rest if column not in columns]:
        notes.append(f"columns of {ask.text} that were ignored: {', '.join(ignored)}")
    if not any(_is_numeric(table[column]) for column in columns):
        raise UserError(f"{ask.text} has no column of numbers left: give a table with numbers or fewer conditions")
    x = np.column_stack([_numbers(column, table[column], ask) for column in columns])
    return Dataset(x, "rows", name, columns, conditions, notes)


def _column_offers(table: Any, ask: _Ask) -> Offers:
    return {name: partial(_condition, name, table[name], ask) for name in table.column_names}


def _is_numeric(column: Any) -> bool:
    from pyarrow import types

    checks = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    return any(check(column.type) for check in checks)


def _numbers(name: str, column: Any, ask: _Ask) -> np.ndarray:
    """(N,) float64, NaN where the column has no value."""
    if _is_numeric(column):
        return column.cast("float64", safe=False).to_numpy()
    values = {row: value for row, value in enumerate(column.to_pylist()) if value is not None}
    words = {row: value for row, value in values.items() if not _is_number(value)}
    row, value = next(iter((words or values).items()), (0, None))
    fix = f"use --condition {name} or drop the column"
    if len(words) < len(values) and words:
        raise UserError(
            f"{ask.text}: column {name!r} mixes numbers and words, row {row} (the first is 0) has "
            f"{str(value)[:50]!r}: correct it, empty it if it is missing, or {fix}"
        )
    raise UserError(f"{ask.text}: column {name!r} holds {column.type}, such as {str(value)[:50]!r}, not numbers: {fix}")


def _condition(name: str, column: Any, ask: _Ask) -> np.ndarray:
    """(N,) numbers, NaN where one is missing, or text, None where it is missing."""
    import pyarrow as pa

    if not column.null_count and (pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        return column.to_numpy()
    if _is_numeric(column):
        return column.cast("float64", safe=False).to_numpy()
    try:
        texts = column.cast(pa.string()).to_pylist()
    except pa.ArrowException as error:
        raise UserError(f"{ask.text}: column {name!r} holds {column.type}: a condition is numbers or text") from error
    return np.array(texts, dtype=object if None in texts else str)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


_READERS: dict[str, Callable[[_Ask], Dataset]] = {
    ".npy": _npy,
    ".npz": _npz,
    "-ubyte": _idx,
    "-ubyte.gz": _idx,
    ".csv": _csv,
    ".csv.gz": _csv,
    ".parquet": _parquet,
    **dict.fromkeys(PICTURE_SUFFIXES, _picture_file),
}
