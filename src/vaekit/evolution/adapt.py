"""Which of a repertoire works now: map-based Bayesian optimisation (Cully, Clune, Tarapore & Mouret, Nature 2015)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vaekit.errors import UserError


@dataclass
class Adapted:
    """The result of `adapt`.

    Args:
        best: the entry of the repertoire that did best.
        value: its value in its trial.
        tried: (t,) the entries that were tried, in order.
        values: (t,) the value of each trial; NaN if it failed.
        predicted: (n,) the values that are now expected of all entries.

    Example:
        >>> from vaekit.evolution.adapt import Adapted
        >>> Adapted(1, 0.5, np.array([0, 1]), np.array([0.1, 0.5]), np.zeros(3)).best
        1
    """

    best: int
    value: float
    tried: np.ndarray
    values: np.ndarray
    predicted: np.ndarray


def adapt(
    objective: np.ndarray,
    measures: np.ndarray,
    trial: Callable[[int], float],
    *,
    trials: int = 20,
    alpha: float = 0.9,
    kappa: float = 0.05,
    rho: float = 0.2,
    noise: float = 0.001,
    scale: float | None = None,
    ranges: np.ndarray | None = None,
) -> Adapted:
    """Find an entry of a repertoire that does well in the world as it is now: after damage, on another floor, with another load.

    The values of the repertoire are the prior mean, and a Gaussian process over the measures learns how far each trial departs from it:
    entries that behave alike are taken to fail alike. Each trial is of the entry with the highest mean + kappa deviations. No
    entry is tried twice. Nothing is drawn: the same trials give the same search. The defaults are the numbers of the paper's code
    (github.com/resibots/ITE), except for two. Its scale is 1 m/s. Its rho is 0.4, for a map of six measures: on one of two or four
    a single failure would speak for most of the map.

    Args:
        objective: (n,) the value of each entry when the repertoire was made; higher is better.
        measures: (n, m) how it behaved.
        trial: a function: number of an entry -> its value now. NaN means that it failed: it counts as the least of all known values.
        trials: the most trials.
        alpha: stop when the best value is at least this share of the highest mean. For objectives above 0. inf uses all trials, which
            finds more where trials are cheap.
        kappa: the worth of uncertainty.
        rho: the length over which entries are alike, in shares of the range of a measure.
        noise: variance of a trial, in squared units of `scale`.
        scale: prior deviation from the repertoire, in units of the objective. Default: the objective's range over the repertoire.
        ranges: (m, 2) of the measures. Default: their range over the repertoire.

    Returns:
        An `Adapted`.

    Raises:
        UserError: arrays of different lengths, or not finite; no trials; or none of the trials gave a finite number.

    Source: Cully, Clune, Tarapore & Mouret, Nature 2015.

    Example:
        >>> from vaekit.evolution.adapt import adapt
        >>> now = np.array([0.0, 0.0, 0.8])  # the best entries of the repertoire fail now
        >>> adapt(np.array([1.0, 0.9, 0.8]), np.array([[0.0], [0.1], [1.0]]), lambda i: now[i]).best
        2
    """
    prior, points = np.asarray(objective, dtype=np.float64), np.asarray(measures, dtype=np.float64)
    if prior.ndim != 1 or points.ndim != 2 or len(prior) != len(points) or not len(prior):
        raise UserError(f"objective {prior.shape} and measures {points.shape} have to be (n,) and (n, m)")
    if not (np.isfinite(prior).all() and np.isfinite(points).all()):
        raise UserError("objective and measures have to be finite: leave out the entries that are not")
    if trials < 1:
        raise UserError(f"trials={trials} has to be 1 or more")
    low, high = np.stack([points.min(0), points.max(0)]) if ranges is None else np.asarray(ranges, dtype=np.float64).T
    points = (points - low) / np.where(high > low, high - low, 1)
    scale = scale or float(np.ptp(prior)) or 1.0
    mean, deviation = prior, np.full(len(prior), scale)
    tried, values = list[int](), list[float]()
    while len(tried) < min(trials, len(prior)):
        if np.isfinite(values).any() and np.nanmax(values) >= alpha * mean.max():
            break
        bound = mean + kappa * deviation
        bound[tried] = -np.inf
        tried.append(int(bound.argmax()))
        value = float(trial(tried[-1]))
        values.append(value if np.isfinite(value) else np.nan)
        least = np.nanmin([prior.min(), *values])
        mean, deviation = posterior(prior, points, tried, np.where(np.isnan(values), least, values), rho, noise, scale)
    if not np.isfinite(values).any():
        raise UserError(f"none of the {len(tried)} trials gave a finite number: see what `trial` returns")
    best = int(np.nanargmax(values))
    return Adapted(tried[best], values[best], np.array(tried), np.array(values), mean)


def posterior(
    prior: np.ndarray, points: np.ndarray, tried: list[int], values: np.ndarray, rho: float, noise: float, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every entry, (n,) each, given the values of those that were tried."""
    likeness = matern(points, points[tried], rho)  # (n, t)
    weights = np.linalg.solve(likeness[tried] + noise * np.eye(len(tried)), likeness.T)  # (t, n)
    variance = 1 - np.einsum("nt,tn->n", likeness, weights)
    return prior + (values - prior[tried]) @ weights, scale * np.sqrt(np.maximum(variance, 0))


def matern(a: np.ndarray, b: np.ndarray, rho: float) -> np.ndarray:
    """The Matérn kernel with smoothness 5/2 between points (n, m) and (t, m): (n, t)."""
    d = np.sqrt(5) * np.linalg.norm(a[:, None] - b, axis=-1) / rho
    return (1 + d + d**2 / 3) * np.exp(-d)
