"""How pictures lie in an array, and which of their values are black and white."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

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


def as_pictures(X: Any) -> np.ndarray:
    """Make an array of pictures. UserError if X is not an array of numbers, or has no pixels."""
    rows = np.asarray(X)
    if rows.dtype == object:
        with suppress(TypeError, ValueError):
            rows = rows.astype(np.float64)
    if rows.dtype.kind not in "buif":
        remedy = ", such as np.abs(X)" if rows.dtype.kind == "c" else ""
        raise UserError(f"pictures have to be arrays of real numbers, got {rows.dtype}: convert them{remedy}")
    check_shape(rows)
    return rows.astype(np.uint8) if rows.dtype.kind == "b" else rows


def check_shape(rows: np.ndarray) -> None:
    if rows.ndim not in (3, 4):
        raise UserError(
            f"pictures have to be an array (N, H, W), (N, H, W, channels) or (N, channels, H, W), got the shape {rows.shape}"
        )
    if not np.prod(rows.shape[1:]):
        raise UserError(f"pictures of shape {rows.shape[1:]} have no pixels: give larger ones")


def laid_like(rows: np.ndarray, shape: tuple[int, ...], channels: int, first: bool) -> np.ndarray:
    """Give pictures the axes and channels of the training pictures. UserError if they do not fit.

    Args:
        shape: of one training picture. channels: of it; 0 if it has no axis of them. first: whether that axis is the first.
    """
    given = rows.shape
    rows = widen(channels_last(rows, first if given[1:] == shape else are_channels_first(given[1:])), channels)
    if first and rows.ndim == 4:
        rows = np.moveaxis(rows, 3, 1)
    if rows.shape[1:] != shape:
        one = ": one picture is given as X[None]" if given == shape else ""
        raise UserError(f"pictures of shape {given[1:]} do not fit a model of pictures of shape {shape}{one}")
    return rows


def widen(rows: np.ndarray, channels: int) -> np.ndarray:
    """Give pictures (N, H, W) or (N, H, W, C) this many channels: grey pictures, with or without an axis of channels, become
    colour, and pictures without transparency become opaque."""
    if rows.ndim == 4 and rows.shape[3] == 1:
        rows = rows[..., 0]
    if rows.ndim == 3 and channels in COLOURS:
        rows = np.repeat(rows[..., None], min(channels, 3), axis=3)
    if rows.ndim == 4 and rows.shape[3] == 3 and channels == 4:
        opaque = np.iinfo(rows.dtype).max if rows.dtype.kind in "iu" else 1
        rows = np.concatenate([rows, np.full_like(rows[..., :1], opaque)], axis=3)
    return rows
