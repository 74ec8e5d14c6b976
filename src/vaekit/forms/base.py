"""What a form of rows is."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vaekit.errors import UserError

LARGEST = 1e9  # number in a request, where a model says nothing better
Packed = tuple[np.ndarray, np.ndarray | None]  # x (N, *event) and a mask, True where observed (None: everywhere)


@dataclass
class Form:
    """The form of rows: how people's rows become what the model sees, x (N, *event), and back.

    This one is that of rows which have no other: they are in model units.

    Attributes:
        event: the shape of one x.
    """

    event: list[int]
    pads: ClassVar[bool] = False
    """Whether what a mask leaves out is the end of a row, which is not missing."""
    alone: ClassVar[bool] = True
    """Whether each row stands for itself, whatever lies beside it. Windows of a series do not."""
    media: ClassVar[tuple[str, ...]] = ("npy",)
    """Files that can hold such rows, by their endings: see `vaekit.serve.media`."""

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Form:
        known = inspect.signature(cls).parameters
        return cls(**{name: value for name, value in description.items() if name in known})

    @property
    def fields(self) -> dict[str, str]:
        """The named columns that a row is made of, with Arrow's names of their types. Empty: a row is one array, or a text."""
        return {}

    def schema(self, gaps: bool) -> dict[str, Any]:
        """The JSON Schema of a row. gaps: whether its values may be missing, null."""
        return nested(self.event, number(gaps))

    def rows_schema(self, gaps: bool) -> dict[str, Any]:
        """The JSON Schema of several rows together."""
        return {"type": "array", "items": self.schema(gaps), "minItems": 1}

    def listed(self, rows: Any) -> Any:
        """Turn rows into what JSON can hold; arrays of numbers may stay arrays."""
        return rows

    def pack(self, X: Any) -> Packed:
        """Rows -> x (N, *event), float32 (texts: int32), and a mask. UserError if they are not like the training rows."""
        x = as_numbers(X)
        if x.shape[1:] != tuple(self.event):
            raise UserError(f"rows of shape {x.shape[1:]} do not fit a model of rows of shape {tuple(self.event)}")
        return observed(x)

    def unpack(self, x: np.ndarray) -> Any:
        """x (N, *event) -> rows, in their own range and type."""
        return x

    def center(self, draws: np.ndarray) -> np.ndarray:
        """Turn several draws of each row (k, N, *event) into its best guess (N, *event)."""
        return mean(draws)

    def fill(self, X: Any, x: np.ndarray) -> Any:
        """Fill what rows lack from x (N, *event). UserError where such rows have no gaps."""
        raise UserError("such rows have no gaps to fill: use reconstruct, which rebuilds whole rows")

    def rebuilt(self, X: Any, rows: Any) -> Any:
        """Put rows that were rebuilt from X into the form of X."""
        return rows

    def with_conditions(self, rows: Any, given: Mapping[str, Any]) -> Any:
        """Add to generated rows the conditions that they were generated for, if rows can hold them."""
        return rows


def mean(draws: np.ndarray) -> np.ndarray:
    """The mean (N, ...) of draws (k, N, ...), which are added in order: NumPy adds those of a lone row in another."""
    return sum(draws) / len(draws)


def number(gaps: bool, low: float = -LARGEST, high: float = LARGEST) -> dict[str, Any]:
    """The JSON Schema of a number between low and high, or null if there may be gaps."""
    return {"type": ["number", "null"] if gaps else "number", "minimum": low, "maximum": high}


def nested(shape: Sequence[int], items: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of an array of this shape."""
    for n in reversed(shape):
        items = {"type": "array", "items": items, "minItems": n, "maxItems": n}
    return items


def as_numbers(X: Any) -> np.ndarray:
    """Turn X into an array of real numbers. UserError if that is impossible."""
    try:
        rows = np.asarray(X.detach().cpu() if hasattr(X, "detach") else X)
        rows = rows.astype(np.float64) if rows.dtype == object else rows
    except (TypeError, ValueError) as e:
        raise UserError(f"X has to be an array of numbers, and cannot become one ({e}): convert it") from None
    if rows.dtype.kind not in "buif" or not rows.ndim:
        raise UserError(f"X has to be an array of real numbers, got {rows.dtype} of shape {rows.shape}: convert it")
    return rows


def observed(x: np.ndarray) -> Packed:
    """x as float32, 0 where it is NaN. Also returns where it is not; None if it is nowhere."""
    with np.errstate(over="ignore"):  # the caller reports values that are too large
        x = x.astype(np.float32)
    there = ~np.isnan(x)
    return (x, None) if there.all() else (np.where(there, x, np.float32(0)), there)
