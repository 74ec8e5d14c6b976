"""Numbers: their normal scores, and the values that a column can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def piecewise(x: np.ndarray, knots: Any, values: Any) -> np.ndarray:
    """Apply the map that has `values` at `knots`, is linear between them and continues beyond them; NaN stays NaN."""
    knots, values = np.asarray(knots), np.asarray(values)
    if not len(x):
        return np.zeros(0)
    i = np.clip(np.searchsorted(knots, x) - 1, 0, len(knots) - 2)
    slope = (values[i + 1] - values[i]) / (knots[i + 1] - knots[i])
    return values[i] + (x - knots[i]) * slope


def rounded(v: np.ndarray, step: float) -> np.ndarray:
    if not step:
        return v
    digits = max(0, -int(np.floor(np.log10(step))))
    return np.round(np.rint(v / step) * step, digits)


def unscored(x: np.ndarray, knots: Any, scores: Any, spikes: Sequence[float]) -> np.ndarray:
    """Normal scores (N,) -> numbers (N,); those on a spike are exactly that value."""
    v = piecewise(x, scores, knots)
    for spike in spikes:
        near = np.abs(x - piecewise(np.array([spike]), knots, scores)) < 1e-6
        v = np.where(near, spike, v)
    return v


def held(v: np.ndarray, low: float, high: float, step: float, origin: int | None = None) -> np.ndarray:
    """The nearest values that a column can hold, float64; where there is an origin, v counts from it, and the values are int64.

    Where v is NaN, a whole number is meaningless.
    """
    if origin is None:
        return np.clip(rounded(v, step), low, high) + 0.0  # which makes 0 of -0
    steps = np.rint(np.nan_to_num(np.clip(v, low, high)) / step).astype(np.int64)
    whole = np.clip(steps * int(step), int(low), int(high))
    return np.where(v >= float(high) * (1 - 1e-15), int(high), whole) + origin
