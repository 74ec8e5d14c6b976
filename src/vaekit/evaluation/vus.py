"""VUS-PR: how well scores of time steps find labelled ranges (Paparrizos et al. 2022, "Volume Under the Surface", VLDB)."""

from __future__ import annotations

import numpy as np

from vaekit.errors import UserError


def vus_pr(labels: np.ndarray, scores: np.ndarray, window: int = 100, *, thresholds: int = 250) -> float:
    """VUS-PR, the volume under the precision-recall surface, 0 to 1: how well scores of time steps find labelled ranges.

    It is the mean over ell = 0 .. window of the area under the range-based precision-recall curve, where each labelled range has a
    margin of ell / 2 steps on both sides whose label falls from 1, so that a detection just beside a range counts in part. The numbers
    are those of TSB-AD (Liu and Paparrizos 2024) in every digit; O(window * T).

    Args:
        labels: (T,) 0 or 1. scores: (T,), high = anomalous.
        window: the largest margin, both sides together, in time steps; TSB-AD takes the period of the series.
        thresholds: points of each curve, at equal steps of the ranks of the scores.

    Raises:
        UserError: the shapes differ, all labels are the same, or a score is not finite.

    Source: Paparrizos et al. 2022, "Volume Under the Surface", VLDB.

    Example:
        >>> from vaekit.evaluation.vus import vus_pr
        >>> labels = np.arange(50) // 10 == 2
        >>> bool(vus_pr(labels, labels, window=0) > vus_pr(labels, ~labels, window=0))
        True
    """
    labels, scores = np.asarray(labels).astype(bool), np.asarray(scores, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise UserError(f"labels {labels.shape} and scores {scores.shape} both have to be (T,)")
    if labels.all() or not labels.any():
        raise UserError("all labels are the same: VUS-PR needs steps of both kinds")
    if not np.isfinite(scores).all():
        raise UserError("scores have to be finite: give missing steps a low one")
    order = np.argsort(-scores, kind="stable")
    at = scores[order[np.linspace(0, len(scores) - 1, thresholds).astype(int)]]
    found = np.searchsorted(-scores[order], -at, side="right")  # steps at or above each threshold
    ranges = np.flatnonzero(np.diff(np.r_[False, labels, False])).reshape(
        -1, 2
    )  # first step, and the one after the last
    areas = []
    for ell in range(window + 1):
        soft, margins = margin(labels, ranges, ell)
        hit = np.cumsum(soft[order])[found - 1]
        beside = np.cumsum(np.where(labels, 0, soft)[order])[found - 1]
        peaks = np.array([scores[a:b].max() for a, b in margins])
        existence = (peaks[:, None] >= at).mean(0)
        recall = np.minimum(hit / (labels.sum() + beside / 2), 1) * existence
        areas.append(np.sum(np.diff(recall, prepend=0) * hit / found))
    return float(np.mean(areas))


def margin(labels: np.ndarray, ranges: np.ndarray, ell: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Labels with margins of ell // 2 steps, (T,) in 0..1, and the ranges with them, those that overlap as one."""
    soft, half = labels.astype(np.float64), ell // 2
    joined: list[tuple[int, int]] = []
    for start, stop in ranges.tolist():
        before, after = np.arange(max(start - half, 0), start), np.arange(stop, min(stop + half, len(labels)))
        soft[before] += np.sqrt(1 - (start - before) / max(ell, 1))
        soft[after] += np.sqrt(1 - (after - stop + 1) / max(ell, 1))
        if joined and start - half < joined[-1][1]:
            joined[-1] = (joined[-1][0], min(stop + half, len(labels)))
        else:
            joined.append((max(start - half, 0), min(stop + half, len(labels))))
    return np.minimum(soft, 1), joined
