"""Evaluation of a run on data, kept in its directory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaekit.recipes import measures
from vaekit.runs import directory as runs
from vaekit.show.track import track

log = logging.getLogger(__name__)

REPORT_ROWS, REPORT_SAMPLES = 500, 100  # at the end of `vaekit fit`, and in its report


def evaluate(
    folder: Path,
    estimator: Any,
    data: Any,
    k: int,
    *,
    features: Path | None = None,
    factors: Sequence[str] = (),
    beside: Any = None,
) -> dict[str, Any]:
    """Evaluate on `data` and keep the result in the run directory.

    Args:
        beside: the model that `vaekit.recipes.comparison.comparison` gave, to be compared with.
        features: file of a feature network: distances of samples from `data` are added.
        factors: names among the data's conditions: disentanglement scores are added.
    """
    log.info("evaluating %s", data.describe())
    results = {}
    if features:
        results["distances"] = measures.distances(estimator, data, measures.FeatureNetwork.load(features))
    if factors:
        results["disentanglement"] = measures.factor_scores(estimator, data, factors)
    y = {name: values for name, values in data.conditions.items() if name in estimator.conditions_.named}
    results = {**estimator.evaluate(data.x, y, k=k, track=track), **results}
    if beside is not None:
        results |= estimator.compared(beside, results, data.x, y)
    return runs.save_evaluation(folder, results, estimator.fitted_)
