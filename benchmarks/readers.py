"""The data of the benchmarks, as NumPy arrays and DataFrames; with --toy, a few rows of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import vaekit
from harness import is_toy

TOY_ROWS = 300


def few(rows: Any) -> Any:
    """All rows; with --toy some of them, the same for all that have as many rows."""
    if not is_toy():
        return rows
    index = np.sort(np.random.default_rng(0).permutation(len(rows))[:TOY_ROWS])
    if hasattr(rows, "iloc"):
        return rows.iloc[index].reset_index(drop=True)
    return [rows[i] for i in index] if isinstance(rows, list) else rows[index]


# -- pictures: (N, height, width[, 3]) uint8, and labels or factors (N,) by name -----------------------------------------

Pictures = tuple[np.ndarray, dict[str, np.ndarray]]


def idx(folder: Path, name: str, part: str) -> Pictures:
    """MNIST or Fashion-MNIST: part "train" or "test"."""
    file = folder / name / f"{'t10k' if part == 'test' else part}-images-idx3-ubyte.gz"
    data = vaekit.read(file, conditions=["label"])
    return few(data.x), {name: few(values) for name, values in data.conditions.items()}


def sprites(folder: Path, part: str, side: int) -> Pictures:
    """The LPC sprites by area averaging, and their factors. A fifth, chosen at random, is the test set."""
    file = np.load(folder / "lpc_sprites" / "lpc_sprites.npz")
    names = [str(n) for n in file["factor_names"]]
    order = np.random.default_rng(0).permutation(len(file["images"]))
    chosen = order[len(order) // 5 :] if part == "train" else order[: len(order) // 5]  # the file is sorted by factor
    chosen = few(chosen)
    x, by = file["images"][chosen], 64 // side
    x = x.reshape(len(x), side, by, side, by, 3).mean((2, 4)).round().astype(np.uint8)
    return x, {name: file["factors"][chosen, i] for i, name in enumerate(names)}


def jpegs(file: Any, order: np.ndarray, shrink: int = 1) -> np.ndarray:
    """Pictures of an archive, whose `offset` says where in `jpeg` each one starts, in this order."""
    from PIL import Image

    stream, at = file["jpeg"], file["offset"]
    opened = (Image.open(io.BytesIO(stream[at[i] : at[i + 1]].tobytes())).convert("RGB") for i in order)
    return np.stack([np.asarray(picture.reduce(shrink)) for picture in opened])


def cifar10(folder: Path, part: str) -> Pictures:
    """CIFAR-10 from JPEGs of quality 75: numbers compare within a table, not with published ones."""
    file = np.load(folder / "cifar10" / f"cifar10_{part}_jpeg.npz")
    order = few(np.random.default_rng(0).permutation(len(file["labels"])))  # the file is sorted by class
    return jpegs(file, order), {"label": file["labels"][order]}


def sign_digits(folder: Path, part: str) -> np.ndarray:
    """A fifth, chosen at random, is the test set: (N, 32, 32, 3) by area averaging."""
    file = np.load(folder / "sign_digits" / "sign_digits_64_jpeg.npz")
    order = np.random.default_rng(0).permutation(len(file["offset"]) - 1)
    return jpegs(file, order[len(order) // 5 :] if part == "train" else order[: len(order) // 5], shrink=2)


# -- frames --------------------------------------------------------------------------------------------------------------

ADULT = [
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race", "sex",
    "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
]  # fmt: skip
TARGETS = {"adult": "income", "california": "median_house_value", "diamonds": "price"}


def frames(folder: Path, name: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to learn from and rows to test by: of Adult the official ones, of the others a fifth, drawn with the seed, is for testing."""
    folder = folder / "tabular"
    if name == "adult":
        how: dict[str, Any] = {"names": ADULT, "skipinitialspace": True, "na_values": "?"}
        train = pd.read_csv(folder / "adult.data.gz", **how)
        test = pd.read_csv(folder / "adult.test.gz", skiprows=1, **how)
        return few(train), few(test.assign(income=test.income.str.rstrip(".")))
    file = {"california": "california_housing.csv.gz", "diamonds": "diamonds.csv.gz"}[name]
    rows = few(pd.read_csv(folder / file))
    order = np.random.default_rng(seed).permutation(len(rows))
    return tuple(rows.iloc[part].reset_index(drop=True) for part in np.split(order[::-1], [len(rows) - len(rows) // 5]))
