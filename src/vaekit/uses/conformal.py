"""Conformal p-values: how odd a row is beside rows that are known to be normal, and decisions based on it.

They hold for any score, good or bad, and any sample size, as long as normal rows to come are exchangeable with the
calibration rows: drawn in the same way, in any order, and none of them used to fit the model. Neighbours in a time series
are not.

So they find what the calibration rows have not. Rows held out of a table come as its other rows do: anomalies are as frequent among
them, and none is found in that table, however odd and however many.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vaekit.errors import UserError


def p_values(scores: Any, calibration: Any) -> np.ndarray:
    """The split-conformal p-value of each score, (N,) in (0, 1].

    It is (1 + the number of calibration scores that are at least as odd) / (n + 1). For a normal row, P(p <= a) <= a. None is below
    1 / (n + 1), so n calibration rows cannot tell rows apart at a level below that.

    Args:
        scores: (N,), high for what is normal.
        calibration: (n,), the scores of n rows known to be normal.

    Raises:
        UserError: no calibration scores, or a score that is NaN.

    Source: Vovk et al. 2005; Bates et al. 2023, arXiv 2104.08279.

    Example:
        >>> from vaekit.uses.conformal import p_values
        >>> p_values([-5.0, 0.5], [0.0, 1.0, 2.0])
        array([0.25, 0.5 ])
    """
    scores, ranked = np.asarray(scores, dtype=np.float64), np.sort(np.asarray(calibration, dtype=np.float64))
    if scores.ndim != 1 or ranked.ndim != 1:
        raise UserError(f"scores have to be one per row, (N,), got the shapes {scores.shape} and {ranked.shape}")
    if not len(ranked):
        raise UserError("there are no calibration scores: give rows that are known to be normal")
    if np.isnan(scores).any() or np.isnan(ranked).any():
        raise UserError("a score is NaN, and has no p-value: leave that row out")
    return (1 + np.searchsorted(ranked, scores, side="right")) / (len(ranked) + 1)


def discoveries(p: Any, fdr: float = 0.1) -> np.ndarray:
    """Decide which rows are anomalies, (N,) bool: on average, at most a share `fdr` of them is normal.

    P-values that share their calibration rows depend on each other in a way that the method allows for (Bates et al. 2023, theorem 2).

    Args:
        p: (N,), p-values of all the rows that are judged together.
        fdr: false-discovery rate, above 0 and below 1.

    Raises:
        UserError: fdr is out of its range.

    Source: Benjamini and Hochberg 1995.

    Example:
        >>> from vaekit.uses.conformal import discoveries
        >>> discoveries([0.001, 0.9], fdr=0.1)
        array([ True, False])
    """
    from scipy.stats import false_discovery_control

    if not 0 < fdr < 1:
        raise UserError(f"fdr={fdr!r}: a false-discovery rate has to be above 0 and below 1")
    p = np.asarray(p, dtype=np.float64)
    return false_discovery_control(p) <= fdr if p.size else np.zeros(0, dtype=bool)


def fewest(rows: int, calibration: int, fdr: float) -> int:
    """The least number of anomalies among rows that are judged together with which `discoveries` finds any.

    No p-value is below 1 / (calibration + 1), and k discoveries need p-values of at most fdr k / rows.
    """
    return math.ceil(rows / (fdr * (calibration + 1)))


def limit(rows: int, calibration: int, fdr: float) -> str:
    """Say what cannot be found among rows that are judged together; "" if a single anomaly can be found."""
    least = fewest(rows, calibration, fdr)
    if least <= 1:
        return ""
    what = "nothing among" if least > rows else f"no fewer than {least} anomalies among"
    return f"with {calibration} calibration rows a false-discovery rate of {fdr:g} finds {what} {rows} rows"
