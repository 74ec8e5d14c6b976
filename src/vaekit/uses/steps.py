"""How likely each step of series is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vaekit import evaluation
from vaekit.errors import UserError, near_matches
from vaekit.fitted import Fitted
from vaekit.training.data import Data

SCORES = ("window", "past", "last")


def score_steps(
    fitted: Fitted, series: Sequence[np.ndarray], *, k: int | None = None, by: str = "window", track: Any = list
) -> list[np.ndarray]:
    """log p of each step of series (T, channels), in nats: for each of them (T,) float64; see `vaekit.SeriesVAE.score_samples`."""
    if by not in SCORES:
        raise UserError(f"by={by!r} is not one of the choices{near_matches(by, SCORES)}")
    kind, model = fitted.kind, fitted.model
    window, channels = kind.window, kind.event_shape[0]
    values = series
    if by != "window":  # a window for each step, that ends with it
        values = [np.pad(v, ((window - 1, 0), (0, 0)), constant_values=np.nan) for v in series]
    data = Data(*kind.pack(values, fitted.dtype))

    def score(data: Data) -> np.ndarray:
        samples = k or kind.score_samples
        return evaluation.importance_weighted(model, data.to(fitted.device), samples, track=track).numpy()

    log_p = score(data)
    if by == "last":
        before = torch.ones(data.x.shape, dtype=torch.bool) if data.mask is None else data.mask.clone()
        before[:, :, -1] = False
        scores = np.split(log_p - score(Data(data.x, before)), np.cumsum(list(map(len, series)))[:-1])
    else:
        seen = np.full(len(data), channels * window) if data.mask is None else data.mask.sum((1, 2)).numpy()
        rates = np.where(seen > 0, log_p * channels / np.maximum(seen, 1), np.nan)
        scores = np.split(rates, stretches(values, window)[:-1])
        if by == "past":
            for each in scores:
                each[: window - 1] = np.nan
        else:
            scores = [over_steps(rate, window)[: len(v)] for rate, v in zip(scores, series, strict=True)]
    for each, v in zip(scores, series, strict=True):
        each[np.isnan(v).all(1)] = np.nan
    return scores


def stretches(series: Sequence[np.ndarray], window: int) -> np.ndarray:
    """The number of windows of each series, added up: (series,)."""
    return np.cumsum([max(len(values) - window, 0) + 1 for values in series])


def over_steps(values: np.ndarray, window: int) -> np.ndarray:
    """Turn values of windows (N,) into means over the windows that hold each time step, without NaN: (N + window - 1,)."""
    seen, ones = ~np.isnan(values), np.ones(window)
    total = np.convolve(np.where(seen, values, 0.0), ones)
    count = np.round(np.convolve(seen.astype(np.float64), ones))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
