"""How pictures lie in an array, and which of their values are black and white."""

from __future__ import annotations

import numpy as np

from vaekit.errors import UserError

COLOURS = (1, 3, 4)  # numbers of channels that can be shown: grey, colour, colour and opacity


def are_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether a picture of this shape is (channels, H, W), as in PyTorch: the last axis is not a number of colours, and the first
    is the shortest. Otherwise it is (H, W, channels), or (H, W)."""
    return len(shape) == 3 and shape[2] not in COLOURS and shape[0] < min(shape[1:])


def channels_last(rows: np.ndarray, first: bool) -> np.ndarray:
    """Put channels last: (N, H, W) or (N, H, W, channels). first: whether the pictures have them first."""
    return np.moveaxis(rows, 1, 3) if first and rows.ndim == 4 else rows


def value_range(rows: np.ndarray, far: np.ndarray | None = None) -> tuple[float, float]:
    """Choose the values of black and white: those of the type if the pictures use much of its range (bytes, floats in 0..1), else
    the range of the data. far: values that do not count, bool like rows."""
    low, high = extremes(rows if far is None else rows[~far])
    if low >= 0 and high <= 1:
        plain = (0.0, 1.0)
    elif rows.dtype == np.uint8 and high > 127:
        plain = (0.0, 255.0)
    else:
        plain = (low, high if high > low else low + 1.0)
    return (low, high) if 0 < high - low < 0.5 * (plain[1] - plain[0]) else plain


def extremes(rows: np.ndarray) -> tuple[float, float]:
    """Return the least and the largest value. UserError if a value is infinite or all are NaN."""
    low, high = float(np.fmin.reduce(rows, axis=None)), float(np.fmax.reduce(rows, axis=None))
    if np.isnan(low):
        raise UserError("every pixel of the pictures is NaN, which means missing: give pictures with values")
    if not np.isfinite([low, high]).all():
        where = tuple(np.argwhere(np.isinf(rows))[0].tolist())
        raise UserError(
            f"picture {where[0]} holds {rows[where]} at {where[1:]}: remove it, or use NaN for a missing pixel"
        )
    return low, high
