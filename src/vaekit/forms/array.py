"""Arrays of numbers: each value is scaled, and comes back within its range and on its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vaekit.forms.base import LARGEST, Form, nested, number
from vaekit.forms.numbers import rounded

Each = Any  # one number for all values, or a list with a number for each place on the first axis of an event; None: no number


@dataclass
class Array(Form):
    """Rows that are arrays. A value is the model's times `scale` plus `mean`, between low and high, in steps.

    Attributes:
        shape: of one row as people have it. axes: "chw", "hwc" or "hw" (pictures), "tc" (curves), "c" (numbers).
        mean, scale, low, high, step: one for all, or one for each along the event's first axis. A step of 0 rounds nothing.
        dtype: NumPy type of the rows. columns: names along the event's first axis.
    """

    shape: list[int]
    axes: str
    mean: list[float | None]
    scale: list[float]
    low: Each = None
    high: Each = None
    step: Each = None
    dtype: str = "float64"
    columns: list[str] | None = None

    def schema(self, gaps: bool) -> dict[str, Any]:
        reach = np.asarray(self.scale) * LARGEST
        mean = np.nan_to_num(np.asarray(self.mean, dtype=np.float64))
        return nested(self.shape, number(gaps, float((mean - reach).max()), float((mean + reach).min())))

    def along(self, each: Each, none: float = np.nan) -> np.ndarray:
        """Turn them into an array that broadcasts to x (N, *event). `none` stands in for a missing number."""
        values = np.asarray(none if each is None else each, dtype=np.float64)
        return np.where(np.isnan(values), none, values).reshape(-1, *[1] * (len(self.event) - 1))

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Values (N, *event) -> float64, NaN where one is missing."""
        return (values.astype(np.float64) - self.along(self.mean)) / self.along(self.scale)

    def values(self, x: np.ndarray) -> np.ndarray:
        """x (N, *event) -> values (N, *event), float64."""
        return self.limited(x.astype(np.float64) * self.along(self.scale) + self.along(self.mean))

    def limited(self, values: np.ndarray) -> np.ndarray:
        """The nearest values (N, *event) that there can be."""
        values = np.clip(values, self.along(self.low, -np.inf), self.along(self.high, np.inf))
        if not isinstance(self.step, list):
            return rounded(values, self.step or 0.0)
        return np.stack([rounded(values[:, i], step) for i, step in enumerate(self.step)], axis=1)
