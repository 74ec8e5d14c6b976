"""What a model is worth on rows: their log-likelihood, and all that `vaekit.evaluation.evaluate` says."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from vaekit import evaluation
from vaekit.fitted import Fitted


def log_likelihood(fitted: Fitted, X: Any, y: Any = None, *, k: int | None = None, track: Any = list) -> np.ndarray:
    """log p(x|y) of each row in nats, (N,) float64, by k importance samples; None: as many as suit the kind of data."""
    to_batch = partial(fitted.kind.batch, dtype=fitted.dtype)
    data = fitted.pack(X, y).to(fitted.device)
    k = fitted.kind.score_samples if k is None else k
    return evaluation.importance_weighted(fitted.model, data, k, to_batch=to_batch, track=track).numpy()


def evaluate(fitted: Fitted, X: Any, y: Any = None, *, k: int | None = None, track: Any = list) -> dict[str, Any]:
    """See `vaekit.evaluation.evaluate`."""
    k = fitted.kind.iw_samples if k is None else k
    to_batch = partial(fitted.kind.batch, dtype=fitted.dtype)
    data = fitted.pack(X, y).to(fitted.device)
    results = evaluation.evaluate(fitted.model, data, k=k, to_batch=to_batch, track=track)
    return results | fitted.kind.evaluate(fitted, X, y, results)
