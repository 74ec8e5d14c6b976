"""Arrays as sources: the digits, .npy, .npz and idx files."""

from __future__ import annotations

import math
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from vaekit.errors import UserError
from vaekit.forms.layout import are_channels_first, channels_last
from vaekit.frame import unmasked
from vaekit.sources.base import Ask, Dataset, MissingConditionError, Offers, content_of, decoding, take
from vaekit.sources.pictures import resized
from vaekit.sources.stored import StoredNpy

STAYS = 64 << 20  # bytes: the values of a larger .npy file stay there until they are needed
ARRAY_NAMES = ("x", "X", "images", "data", "observations")  # the arrays of an .npz file that are taken to be the data
REMEDY = (
    "give pictures as X = np.stack([np.asarray(x) for x, _ in data]), and their labels as y; files of any size are read by "
    "fit_data(vaekit.read(FOLDER, resize=(64, 64))), or by `vaekit fit FOLDER --resize 64x64`"
)
IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def from_array(x: np.ndarray, ask: Ask, name: str, offers: Offers) -> Dataset:
    """Make a Dataset of an array: (N, D) is rows, (N, H, W), (N, H, W, C) and (N, C, H, W) are pictures."""
    x = x.astype(_own_type(x.dtype, x.shape, ask), copy=False)
    if x.ndim == 2:
        return Dataset(x, "rows", name, None, take(offers, ask), [])
    conditions = take(offers, ask)
    if ask.resize and x.size:
        first = are_channels_first(x.shape[1:])
        x = np.stack([resized(picture, ask.resize) for picture in channels_last(x, first)])
        x = np.moveaxis(x, 3, 1) if first else x
    return Dataset(x, "images", name, None, conditions, [])


def _own_type(dtype: np.dtype, shape: tuple[int, ...], ask: Ask) -> np.dtype:
    """The type that the values of a file get. UserError if these are no rows of numbers and no pictures."""
    if dtype.kind not in "biuf":
        raise UserError(f"{ask.text} holds values of type {dtype}: give an array of real numbers")
    if len(shape) not in (2, 3, 4):
        raise UserError(
            f"{ask.text} has the shape {shape}: give (N, D) for rows of numbers, "
            "(N, H, W), (N, H, W, channels) or (N, channels, H, W) for pictures"
        )
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        return np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)
    if len(shape) == 2 and dtype.kind != "f":
        return np.dtype(np.float64)
    return dtype.newbyteorder("=")  # PyTorch knows the machine's byte order only


def as_array(X: Any) -> Any:
    """Make an array of what a person may give for one: a tensor, a masked array, a list of arrays. Other things stay as they are.
    UserError where X cannot become an array."""
    if isinstance(X, Dataset):
        raise UserError("X is a Dataset that vaekit.read returned: call fit_data(X), or give X.x and X.conditions")
    if isinstance(X, Iterator):
        raise UserError(f"X is a {type(X).__name__}, which can be read only once: give list(X)")
    if hasattr(X, "toarray") and hasattr(X, "nnz"):
        raise UserError("X is a sparse matrix: make it dense with X.toarray()")
    if isinstance(X, Mapping):
        raise UserError(f"X is a {type(X).__name__}: make it a table with pandas.DataFrame(X)")
    if isinstance(X, os.PathLike):
        raise UserError(f"X is the name of a file or a folder: call fit_data(vaekit.read({str(X)!r}))")
    if hasattr(X, "detach"):  # of PyTorch; NumPy has no bfloat16
        return np.asarray((X.float() if "bfloat16" in str(X.dtype) else X).detach().cpu())
    if isinstance(X, (list, tuple)) or (isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1):
        return stacked(X)
    no_array = not any(hasattr(X, name) for name in ("shape", "__array__", "__arrow_c_stream__"))
    if no_array and any(hasattr(X, name) for name in ("__iter__", "__getitem__")):
        raise UserError(f"X is a {type(X).__name__}, which is not an array: {REMEDY}")
    return unmasked(X)


def stacked(X: Any) -> Any:
    """Stack a list of arrays of one shape, or a nested list, into one array. A list of rows of numbers stays as it is."""
    first: Any = X[0] if len(X) else None
    if isinstance(first, (list, tuple)) and len(first) and is_array(first[0]):
        raise UserError(f"X is a list of pairs that start with arrays: {REMEDY}")
    nested = isinstance(first, (list, tuple)) and len(first) and isinstance(first[0], (list, tuple))
    if not nested and not (is_array(first) and np.ndim(first) > 1):
        return X
    arrays = [as_array(x) if is_array(x) else np.array(x, dtype=object) for x in X]
    sizes = Counter(np.shape(x) for x in arrays).most_common()
    if len(sizes) > 1:
        listed = ", ".join(f"{count} have the shape {shape}" for shape, count in sizes[:3])
        raise UserError(
            f"the arrays in X differ: {listed}{', ...' * (len(sizes) > 3)}; bring all to one shape; {REMEDY}"
        )
    return np.asarray(X) if nested else np.stack(arrays)


def is_array(x: Any) -> bool:
    return hasattr(x, "shape") or hasattr(x, "__array_interface__")  # which Pillow's pictures have


def read_digits(ask: Ask) -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    data = from_array(digits.images.astype(np.uint8), ask, "digits", {"label": lambda: digits.target})
    if ask.path.exists():
        data.notes.append("digits is the built-in data set; write ./digits to read the file or folder of that name")
    return data


def load_array(file: IO[bytes]) -> np.ndarray | None:
    """Read the array in an open .npy file. None if it holds pickled Python objects, which are never opened."""
    try:
        return np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:
        if "Object arrays" in str(error):
            return None
        raise


def read_npy(ask: Ask) -> Dataset:
    with decoding(ask.text, "a NumPy .npy file"), ask.path.open("rb") as file:
        if ask.path.stat().st_size > STAYS and not ask.resize and (stored := stored_array(file, ask)):
            return Dataset(stored, "rows" if stored.ndim == 2 else "images", ask.path.stem, None, take({}, ask), [])  # type: ignore[arg-type]
        x = load_array(file)
    if x is None:
        raise UserError(f"{ask.text} holds pickled Python objects, which are never opened: save numbers")
    return from_array(x, ask, ask.path.stem, {})


def stored_array(file: IO[bytes], ask: Ask) -> StoredNpy | None:
    """The array in an open .npy file, which stays there. None, and the file as it was, if its values lie in another order."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(file)
    start = file.tell()
    if fortran or dtype.hasobject or not shape or ask.path.stat().st_size - start != math.prod(shape) * dtype.itemsize:
        file.seek(0)
        return None
    return StoredNpy(ask.path, shape, dtype, start, _own_type(dtype, shape, ask))


def read_npz(ask: Ask) -> Dataset:
    found: dict[str, np.ndarray | None] = {}
    with decoding(ask.text, "a NumPy .npz file"), zipfile.ZipFile(ask.path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                found[member.removesuffix(".npy")] = load_array(file)
    x, others = chosen_arrays(found, ask)
    return from_array(x, ask, ask.path.stem, {key: partial(np.asarray, values) for key, values in others.items()})


def chosen_arrays(found: Mapping[str, Any], ask: Ask) -> tuple[Any, dict[str, Any]]:
    """Choose the data among the arrays of an .npz file, and those that can be conditions. None stands for pickled objects."""
    arrays = {key: values for key, values in found.items() if values is not None}
    if {"format", "shape", "data"} <= found.keys():
        raise UserError(
            f"{ask.text} is a SciPy sparse matrix: save it dense, with np.savez(FILE, x=scipy.sparse.load_npz(FILE).toarray())"
        )
    x = arrays.pop(main_array(arrays, [key for key in found if key not in arrays], ask))
    return x, {
        key: values
        for key, values in arrays.items()
        if values.ndim in (1, 2) and x.ndim and len(values) == len(x) and values.dtype.kind in "biufU"
    }


def main_array(arrays: Mapping[str, Any], pickled: list[str], ask: Ask) -> str:
    """Return the name of the array that is the data: the one asked for, else the usual name, else the only one with rows."""
    shapes = ", ".join(f"{key} {values.shape}" for key, values in arrays.items()) or "none"
    if pickled:
        shapes += f"; arrays of pickled Python objects were left out: {', '.join(pickled)}"
    if ask.array is not None:
        if ask.array not in arrays:
            raise UserError(f"{ask.path} has no array of numbers {ask.array!r}: give one of its arrays ({shapes})")
        return ask.array
    named = [key for key in arrays if key in ARRAY_NAMES]
    wide = [key for key, values in arrays.items() if values.ndim >= 2]
    choice = named if len(named) == 1 else wide
    if len(choice) != 1:
        raise UserError(
            f"vaekit cannot tell which array of {ask.text} is the data: name it, as in {ask.text}:NAME ({shapes})"
        )
    return choice[0]


def _idx_array(path: Path) -> np.ndarray:
    """Read an idx file: two zeros, type, number of dimensions, the big-endian dimensions, the values."""
    content = content_of(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES or not content[3]:
        raise UserError(f"{path} is not an idx file, it begins with {content[:4].hex(' ') or 'nothing'}: get it again")
    dtype, ndim = np.dtype(IDX_TYPES[content[2]]), content[3]
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, 4 + 4 * ndim, 4))
    size = 4 + 4 * ndim + math.prod(shape) * dtype.itemsize
    if len(content) != size:
        what = "truncated" if len(content) < size else "longer than it says"
        raise UserError(f"{path} is {what}: its header asks for {size} bytes, it has {len(content)}; get it again")
    return np.frombuffer(content, dtype, offset=4 + 4 * ndim).reshape(shape).copy()


def read_idx(ask: Ask) -> Dataset:
    x = _idx_array(ask.path)
    if x.ndim == 1:
        raise UserError(
            f"{ask.text} holds labels: give the images file beside it; vaekit finds the labels of that file itself"
        )

    def label() -> np.ndarray:
        beside = ask.path.with_name(re.sub(r"images([-.])idx\d", r"labels\1idx1", ask.path.name))
        if beside == ask.path or not beside.exists():
            raise MissingConditionError(
                f"{ask.text} has no labels: put them beside it, as train-labels-idx1-ubyte "
                "beside train-images-idx3-ubyte, or leave out --condition label"
            )
        labels = _idx_array(beside)
        if labels.shape != x.shape[:1]:
            raise UserError(f"{beside} has the shape {labels.shape} for {len(x)} images: get the two files again")
        return labels

    return from_array(x, ask, ask.path.absolute().parent.name, {"label": label})


def mnist_file(folder: Path) -> Path | None:
    """Return the file of training pictures if this is a folder of MNIST's own files, else None."""
    names = ("train-images-idx3-ubyte", "train-images.idx3-ubyte")
    paths = [folder / (name + ending) for name in names for ending in ("", ".gz")]
    return next((path for path in paths if path.is_file()), None)


def read_mnist(ask: Ask) -> Dataset:
    ask.path = mnist_file(ask.path) or ask.path
    return read_idx(ask)
