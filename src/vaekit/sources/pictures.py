"""Pictures as sources: how files are read, and how they become one array."""

from __future__ import annotations

import io
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.errors import UserError
from vaekit.sources.base import KEPT, Ask, Dataset, Names, Offers, Told, listed, shown, take
from vaekit.threads import OnAllCores

PICTURE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp", ".avif", ".tif", ".tiff", ".pgm", ".ppm", ".pbm", ".pnm",
)  # fmt: skip
# Only these are read: Pillow would run Ghostscript on an EPS.
PICTURE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "AVIF", "TIFF", "PPM")
PAGED = (
    "TIFF",
    "GIF",
    "WEBP",
    "PNG",
    "AVIF",
)  # each page of these is a picture; in the files of phones, a second page is a preview
AT_ONCE = 8  # pictures that a core reads at a time
MANY = 500  # this many pictures take a while to read


def read_picture_file(ask: Ask) -> Dataset:
    ask.strict = True
    return from_pictures([(ask.path.name, ask.path)], ask, ask.path.stem, {})


def from_pictures(
    pictures: Sequence[tuple[str, Path | bytes]],
    ask: Ask,
    name: str,
    offers: Offers,
    notes: Sequence[str] = (),
    known: Mapping[str, np.ndarray] | None = None,
) -> Dataset:
    """Make a Dataset of pictures, given by name and file. Pictures that cannot be read are left out, with their conditions.

    Each page of a file is a picture, named FILE[0], FILE[1], ... known: more columns to write beside the results for a picture.
    """
    conditions = take(offers, ask)
    read = read_files(pictures, ask)
    notes = [*notes, *notes_of(read.told, len(pictures), len(read.titles))]
    if not read.titles:
        raise UserError(f"no picture of {ask.text} can be read" + "".join(f"; {note}" for note in notes))
    check_sizes(read.pile.sizes, ask)
    check_types(dict(zip(read.pile.dtypes, read.titles, strict=True)), ask)
    taken = {key: values[read.files] for key, values in conditions.items()}
    names = {"file": np.array([os.fsencode(title).decode(errors="replace") for title in read.titles])}
    names |= {key: values[read.files] for key, values in (known or {}).items()}
    return Dataset(read.pile.array, "images", name, None, taken, notes, names)


class Pile:
    """Pictures in one array, to which each is copied as it is read. It has the channels of the richest picture so far.

    Pictures that differ from the first in size or dtype only leave their size, dtype and channels: `check_sizes` and `check_types` refuse them.
    """

    def __init__(self, room: int):
        self.room = room
        self.whole = np.empty(0)
        self.sizes: list[tuple[int, int]] = []
        self.dtypes: list[np.dtype] = []
        self.depths: list[int] = []

    @property
    def array(self) -> np.ndarray:
        return self.whole[: len(self.sizes)]

    def add(self, picture: np.ndarray) -> None:
        """Add a picture (H, W) or (H, W, 3 or 4)."""
        n, channels = len(self.sizes), depth(picture)
        if not n:
            self.whole = np.empty((self.room, *picture.shape), picture.dtype)
        self.sizes.append(picture.shape[1::-1])
        self.dtypes.append(picture.dtype)
        self.depths.append(channels)
        if self.sizes[n] != self.sizes[0] or self.dtypes[n] != self.dtypes[0]:
            return
        if n >= len(self.whole) or channels > depth(self.whole[0]):  # more pages than files, or the first colour
            before, shape = self.whole[:n], picture.shape if channels > depth(self.whole[0]) else self.whole.shape[1:]
            self.whole = np.empty((max(self.room, n + n // 2 + 1), *shape), picture.dtype)
            copy(self.whole[: len(before)], before)
        copy(self.whole[n], picture)


def copy(to: np.ndarray, pictures: np.ndarray) -> None:
    """Copy pictures (..., H, W) or (..., H, W, C) to an array of as many or more channels: grey becomes colour, and opaque."""
    if to.shape == pictures.shape:
        to[:] = pictures
        return
    colours = pictures[..., None] if pictures.ndim < to.ndim else pictures
    to[..., :3] = colours
    to[..., 3:] = 255


@dataclass
class Read:
    """Pictures as they were read, a title and the number of its file for each, and what to tell about the files."""

    pile: Pile
    told: Told
    titles: list[str] = field(default_factory=list)
    files: list[int] = field(default_factory=list)


def notes_of(told: Told, files: int, pages: int) -> list[str]:
    """Write the notes on files that could not be read as they are, and on pictures that get more channels because others have them."""
    failed, paged, other_size, cut, grey, clear = (
        told[what] for what in ("failed", "paged", "other_size", "cut", "grey", "clear")
    )
    said = {
        f"{len(failed)} of {files} pictures could not be read and were skipped: {listed(failed, KEPT)}": failed,
        f"{len(paged)} of {files} files hold several pages or frames, and each was read as a picture: {listed(paged)}": paged,
        f"pages that were left out, because their size is not that of the first page of the file: {counted(other_size)}": other_size,
        f"only 8 of 16 bits per colour were read in {len(cut)} of {files} pictures: {listed(cut)}; give a .npy to keep all": cut,
        f"grey pictures that became colour pictures, like the others: {counted(grey, pages)}": len(grey) < pages
        and grey,
        f"pictures with transparent pixels: {counted(clear, pages)}; all have a fourth channel, opacity": clear,
    }
    return [text for text, found in said.items() if found]


def read_files(pictures: Sequence[tuple[str, Path | bytes]], ask: Ask, told: Told | None = None) -> Read:
    """Read each page of each file, in the size that was asked for. With `strict`, UserError for a file that cannot be read.

    told: what there is to tell about earlier files, to which it adds.
    """

    def attempt(picture: tuple[str, Path | bytes]) -> tuple[list[np.ndarray], int, bool] | Exception:
        try:
            pages, left_out, cut = read_pages(picture[1])
        except Exception as error:  # a damaged file can make a decoder raise anything
            return error
        return [resized(page, ask.resize) if ask.resize else page for page in pages], left_out, cut

    read = Read(Pile(len(pictures)), defaultdict(Names) if told is None else told)
    for i, ((title, _), found) in enumerate(
        zip(pictures, progress(OnAllCores(attempt, pictures, AT_ONCE)), strict=True)
    ):
        if isinstance(found, Exception):
            failed = f"{title} ({_reason(found)})"
            if ask.strict:
                raise UserError(f"{ask.text}: cannot read {failed}; mend or remove it") from found
            read.told["failed"].add([failed])
            continue
        pages, left_out, cut = found
        titles = [f"{title}[{k}]" for k in range(len(pages))] if len(pages) > 1 else [title]
        read.files += [i] * len(pages)
        for page, name in zip(pages, titles, strict=True):
            read.pile.add(page)
            read.told[{1: "grey", 3: "colour", 4: "clear"}[depth(page)]].add([name])
        read.titles += titles
        read.told["paged"].add([f"{title} has {len(pages)}"] * (len(pages) > 1))
        read.told["other_size"].add([title] * left_out)
        read.told["cut"].add([title] * cut)
    return read


def check_sizes(sizes: Iterable[tuple[int, int]], ask: Ask) -> None:
    """UserError if pictures differ in size, which is (width, height)."""
    counts = Counter(sizes).most_common()
    if len(counts) > 1:
        (a, many), (b, fewer), *others = [(in_words(size), count) for size, count in counts]
        more = f", other sizes: {sum(count for _, count in others)}" if others else ""
        raise UserError(
            f"the pictures of {ask.text} differ in size: {many} are {a}, {fewer} are {b}{more}; "
            f"bring them to one size, for example with --resize {a}"
        )


def check_types(types: Mapping[Any, str], ask: Ask) -> None:
    """UserError if pictures differ in the type of their pixels. types: for each, the name of a picture that has it."""
    if len(types) > 1:
        each = ", ".join(f"{title} has {dtype}" for dtype, title in types.items())
        raise UserError(
            f"the pictures of {ask.text} differ in the type of their pixels: {each}; save all with the same type"
        )


def in_words(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]}"


def depth(picture: np.ndarray) -> int:
    return picture.shape[2] if picture.ndim == 3 else 1


def counted(names: Names, of: int | None = None) -> str:
    return f"{len(names)}{f' of {of}' if of else ''} ({listed(names)})"


def progress(pictures: OnAllCores) -> Iterable[Any]:
    """Go through the pictures one by one, with a progress bar if there are many."""
    return shown(pictures) if len(pictures) >= MANY else pictures


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not a picture"
    return "truncated" if "truncated" in str(error).lower() else getattr(error, "strerror", None) or str(error)


def open_picture(file: Path | bytes) -> Any:
    """Open a picture in one of the `PICTURE_FORMATS` with Pillow, from its path or its bytes."""
    from PIL import Image

    return Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=PICTURE_FORMATS)


def read_pages(file: Path | bytes) -> tuple[list[np.ndarray], int, bool]:
    """Read the pages or frames of a file that have the size of the first one.

    Returns their pixels, how many pages have another size, and whether colours of 16 bits were cut to 8.
    """
    with open_picture(file) as opened:
        cut = opened.mode in ("RGB", "RGBA") and any(is_deep(tile) for tile in opened.tile)
        pages = []
        for i in range(opened.n_frames if opened.format in PAGED and hasattr(opened, "n_frames") else 1):
            opened.seek(i)
            pages.append(_pixels(opened))
    own = [page for page in pages if page.shape[:2] == pages[0].shape[:2]]
    return own, len(pages) - len(own), cut


def is_deep(tile: Any) -> bool:
    """Whether a part of a file, as Pillow describes it, holds colours of 16 bits."""
    return ";16" in str(tile.args) or (tile.codec_name == "ppm" and isinstance(tile.args, tuple) and tile.args[1] > 255)


def _pixels(opened: Any) -> np.ndarray:
    """Return the pixels of an open picture in as few channels as possible.

    (H, W) if it is grey, else (H, W, 3), or (H, W, 4) if any of it is transparent; uint8, but 16-bit grey stays uint16.
    """
    from PIL import ExifTags, ImageOps

    opened.load()
    turned = opened.getexif().get(ExifTags.Base.Orientation, 1) != 1  # cameras store how they were held
    image = ImageOps.exif_transpose(opened) if turned else opened
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):  # deep grey; "I" also is how 16 bits may arrive
        deep = np.asarray(image)
        return deep.astype(np.uint16) if deep.dtype.kind != "f" and deep.max() < 2**16 and deep.min() >= 0 else deep
    mode = "RGBA" if image.has_transparency_data else "RGB"
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    if pixels.shape[2] == 4 and (pixels[..., 3] < 255).any():
        return pixels
    pixels = pixels[..., :3]
    middle = pixels[len(pixels) // 2]  # a row that mostly tells
    return pixels[..., 0] if all((part == part[..., :1]).all() for part in (middle, pixels)) else pixels


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a picture (H, W) or (H, W, C) to this (width, height) in its own dtype."""
    from PIL import Image

    if picture.shape[1::-1] == tuple(size):
        return picture
    if picture.ndim == 3 and picture.shape[2] == 1:
        return resized(picture[..., 0], size)[..., None]
    if picture.dtype == np.uint8 and (
        picture.ndim == 2 or picture.shape[2] in (3, 4)
    ):  # Pillow weighs colours by their opacity, so transparent pixels do not bleed
        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
    if picture.ndim == 3:
        return np.stack([resized(channel, size) for channel in np.moveaxis(picture, 2, 0)], axis=2)
    image = Image.fromarray(picture.astype(np.float32)).resize(size, Image.Resampling.LANCZOS)
    pixels = np.clip(np.asarray(image), picture.min(), picture.max())  # the filter overshoots at edges
    return (pixels if picture.dtype.kind == "f" else np.rint(pixels)).astype(picture.dtype)
