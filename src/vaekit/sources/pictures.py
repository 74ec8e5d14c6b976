"""Pictures as sources: folders and single files."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.errors import UserError
from vaekit.sources.base import Ask, Dataset, MissingConditionError, Offers, shown, take

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
PICTURE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")  # only these: Pillow would run Ghostscript on an EPS


def read_folder(ask: Ask) -> Dataset:
    root, files = ask.path, []
    for place, folders, names in os.walk(root, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(place, n) for n in names if n.lower().endswith(PICTURE_SUFFIXES) and not n.startswith(".")]
    if not files and (root / "meta" / "info.json").exists():
        raise UserError(f"{ask.text} is a dataset of demonstrations: add --kind actions to learn a policy from it")
    if not files:
        held = ", ".join(shown(root)[:5]) or "nothing"
        raise UserError(
            f"the folder {ask.text} holds no pictures ({', '.join(PICTURE_SUFFIXES)}), but {held}: give another"
        )
    files.sort()
    parts = [path.relative_to(root).parts for path in files]

    def label() -> np.ndarray:
        none_has = all(len(part) == 1 for part in parts)
        for first, *rest in parts:
            if not rest:
                raise (MissingConditionError if none_has else UserError)(
                    f"a picture's label is the name of its subfolder, and {first} lies loose in "
                    f"{ask.text}: move it into one, or leave out --condition label"
                )
        return np.array([first for first, *_ in parts])

    pictures = [("/".join(part), path) for part, path in zip(parts, files, strict=True)]
    return from_pictures(pictures, ask, root.resolve().name, {"label": label})


def _raise(error: OSError) -> None:
    raise error


def read_picture_file(ask: Ask) -> Dataset:
    ask.strict = True
    return from_pictures([(ask.path.name, ask.path)], ask, ask.path.stem, {})


def from_pictures(pictures: Sequence[tuple[str, Path | bytes]], ask: Ask, name: str, offers: Offers) -> Dataset:
    """A Dataset of pictures, given by name and file; those that cannot be read are left out, with their conditions."""
    conditions = take(offers, ask)
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
        arrays.append(resized(array, ask.resize) if ask.resize else array)
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


def open_picture(file: Path | bytes) -> Any:
    """A picture of one of the `PICTURE_FORMATS`, by its path or its bytes, as Pillow opens it."""
    from PIL import Image

    return Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=PICTURE_FORMATS)


def _picture(file: Path | bytes) -> np.ndarray:
    """The pixels of a picture, or of an animation's first frame, in the fewest channels that hold them.

    (H, W) if it is grey, else (H, W, 3), or (H, W, 4) if any of it is transparent; uint8, but 16-bit grey stays uint16.
    """
    from PIL import ImageOps

    with open_picture(file) as opened:
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


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (H, W) or (H, W, C), brought to this (width, height) in its own dtype."""
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
