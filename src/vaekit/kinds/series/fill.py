"""Gaps of series, each filled from its beginning, half a window at a time, given the known and the filled values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.stats import norm

from vaekit.errors import note
from vaekit.kinds.series import Series
from vaekit.structures.resample import GUESSES, complete
from vaekit.training.data import Data, generator

CHECKS, CHECK_DRAWS = 3, 50  # times that values are hidden to check how gaps are filled, and draws of each
LEAST_CHECKED = 30  # values of a channel: fewer say little of its errors
LEVEL = 0.9  # of the intervals that are calibrated

Fill = Callable[[np.ndarray, int, torch.Generator], np.ndarray]


def fill_gaps(
    fitted: Any, series: Sequence[np.ndarray], draws: int | None, seed: int, track: Any = list
) -> list[list[np.ndarray]]:
    """Series (T, channels), NaN where missing -> `draws` sets of them without gaps; None: one set of best guesses.

    Known values are hidden in gaps of the same lengths and filled, too: the errors calibrate the spread of the draws.
    """
    kind, random = fitted.kind, generator(seed)
    fill = partial(filled, fitted, fitted.model)
    found = [fill(values, draws or GUESSES, random) for values in track(series)]
    spread = checked_spread(kind, fill, series, random)
    found = [
        np.where(np.isnan(v), kind.limited(f.mean(0) + spread * (f - f.mean(0))), v)
        for v, f in zip(series, found, strict=True)
    ]
    if draws is None:
        return [[np.where(np.isnan(v), kind.limited(f.mean(0)), v) for v, f in zip(series, found, strict=True)]]
    return [[each[i] for each in found] for i in range(draws)]


def filled(fitted: Any, model: Any, values: np.ndarray, draws: int, random: torch.Generator) -> np.ndarray:
    """Fill (T, channels) -> (draws, T, channels), without the bounds and steps of channels."""
    kind: Series = fitted.kind
    window, steps = kind.window, max(len(values), kind.window)
    whole = replace(kind, window=steps, low=None, high=None, step=None)  # all of it as one window
    x, mask = whole.pack([values], fitted.dtype)
    if mask is None:
        return np.repeat(values[None], draws, axis=0)
    x, seen = x.repeat(draws, 1, 1), mask[0].clone()
    while not seen[:, : len(values)].all():
        first = int((~seen).any(0).nonzero()[0])
        start = min(max(first - window // 2, 0), steps - window)
        part = slice(start, start + window)
        data = Data(x[:, :, part].contiguous(), seen[:, part].expand(draws, -1, -1))
        x[:, :, part] = complete(model, data.to(fitted.device), 1, random)[0].cpu()
        seen[:, part] = True
    return np.where(np.isnan(values), whole.unpack(x)[:, : len(values)], values)


def checked_spread(kind: Series, fill: Fill, series: Sequence[np.ndarray], random: torch.Generator) -> np.ndarray:
    """`calibrated_spread` of each channel, (channels,), from known values that are hidden at the places of the gaps, shifted in
    time; 1 if there are too few. A note names each channel whose gaps are filled no better than with its mean."""
    checked: list[tuple[np.ndarray, ...]] = []  # values, their fills, spreads of these, whether it was hidden
    for values in series:
        missing = np.isnan(values)
        for _ in range(CHECKS if missing.any() else 0):
            shift = int(torch.randint(len(values), (1,), generator=random))
            hidden = np.roll(missing, shift, axis=0) & ~missing
            found = fill(np.where(hidden, np.nan, values), CHECK_DRAWS, random)
            checked.append((values, found.mean(0), found.std(0), hidden))
    spreads = np.ones(len(kind.mean))
    if not checked:
        return spreads
    *parts, hidden = map(np.concatenate, zip(*checked, strict=True))
    every = np.concatenate(series)
    for c in np.flatnonzero(hidden.sum(0) >= LEAST_CHECKED):
        truth, guess, spread = (each[hidden[:, c], c] for each in parts)
        spreads[c] = calibrated_spread(np.abs(truth - guess), spread)
        missed, usual = (float(np.sqrt(np.square(truth - each).mean())) for each in (guess, np.nanmean(every[:, c])))
        if missed >= usual > 0:
            name = repr(kind.columns[c]) if kind.columns else f"channel {c}"
            note(
                f"the model fills gaps of {name} no better than its mean would: {len(truth)} values that were hidden to check "
                f"this are off by {missed:.4g}, and by {usual:.4g} with the mean; train for longer, or with another window"
            )
    return spreads


def calibrated_spread(errors: np.ndarray, spreads: np.ndarray) -> float:
    """The factor for the draws' distance from their mean with which 90 % intervals hold 90 % of the values.

    Where the model was trained on those values, their errors are a little too small.

    Args:
        errors: distance of each hidden value from the mean of its draws, (N,).
        spreads: standard deviation of these draws, (N,).
    """
    return float(np.quantile(errors / np.maximum(spreads, 1e-12), LEVEL) / norm.ppf((1 + LEVEL) / 2))
