"""Which labels are known, which are kept, and what the others were worth."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier

from vaekit.conditions import is_unknown, plain
from vaekit.errors import UserError
from vaekit.training.data import split

UNLABELLED = -1  # as in scikit-learn
KEPT = 11  # an address of random numbers
ALONE_STEPS = 1000  # of a classifier that learns from the labels alone


def keep_some(name: str, values: np.ndarray, n: int | None, validation: float, seed: int, label: bool) -> np.ndarray:
    """A target (N, ...) of which `n` rows are known still (None: all), of labels as many of each class as can be; none of them
    among the validation rows, of which none is. UserError where there are not so many."""
    train, _ = split(len(values), validation, seed)
    rows = np.random.default_rng([seed, KEPT]).permutation(train.numpy())
    rows = rows[known(values, label)[rows]]
    if n is not None:
        if not 0 < n <= len(rows):
            raise UserError(f"--labels {n}: {name!r} is known of {len(rows)} training rows, ask for 1 to {len(rows)}")
        rows = balanced(name, rows, values, n)[:n] if label else rows[:n]
    kept = np.full(values.shape, None if label else np.nan, dtype=object if label else np.float64)
    kept[rows] = values[rows]
    return kept


def balanced(name: str, rows: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """The rows in another order: one of each class, then a second of each, and so on."""
    labels = values[rows].astype(str)
    classes, code = np.unique(labels, return_inverse=True)
    if n < len(classes):
        raise UserError(f"--labels {n}: {name!r} has {len(classes)} classes, ask for at least one label of each")
    turn = np.empty(len(rows), int)
    for c in range(len(classes)):
        of_it = np.flatnonzero(code == c)
        turn[of_it] = np.arange(len(of_it))
    return rows[np.lexsort((code, turn))]


def compared(estimator: Any, data: Any, kept: np.ndarray, truth: np.ndarray) -> str:
    """How good predictions are for the rows that were held out, beside those of the same classifier network trained on the same
    labels alone, in a sentence.

    Args:
        estimator: fitted. data: the source. kept: the target as it was learned from. truth: the target.
    """
    label = is_classifier(estimator)
    held_out = split(len(data), estimator.validation, estimator.seed_)[1].numpy()
    judged, some = held_out[known(truth, label)[held_out]], np.flatnonzero(known(kept, label))
    if not len(judged):
        return f"learned from {len(some)} labels; no row whose {estimator.target_!r} is known was held out to judge by"
    batch = min(len(some), estimator._training().batch_size)
    alone = clone(estimator).set_params(
        consistency=0.0, generative=0.0, sampler="prior", validation=0.0, minutes=None, batch_size=batch,
        epochs=max(1, ALONE_STEPS // (len(some) // batch)),
    )  # fmt: skip
    alone.fit_rows(data.x[some], {estimator.target_: kept[some]}, columns=data.columns)
    both = [share(model, data.x[judged], truth[judged]) for model in (estimator, alone)]
    what = "of {n} held-out rows {a} are predicted right, and {b} by the same network trained on the {k} labels alone"
    if not label:
        what = "R2 of {n} held-out rows {a}, and {b} of the same network trained on the {k} known values alone"
    form = "{:.2%}" if label else "{:.3f}"
    a, b = (form.format(v) for v in both)
    return what.format(n=len(judged), a=a, b=b, k=len(some))


def unlabelled(value: Any) -> bool:
    """Whether a label is none: None, NaN or -1."""
    return is_unknown(value) or (isinstance(value, int | float) and value == UNLABELLED)


def known(values: np.ndarray, label: bool) -> np.ndarray:
    """Which rows of a target (N, ...) are, (N,)."""
    if not label:
        return np.asarray(~np.isnan(values.astype(np.float64).reshape(len(values), -1)).any(1))
    return np.array([not unlabelled(v) for v in values.tolist()], bool)


def share(model: Any, x: Any, truth: np.ndarray) -> float:
    """Of predictions that are right; of numbers R2."""
    if not is_classifier(model):
        from sklearn.metrics import r2_score

        return float(r2_score(truth.astype(float), model.predict(x)))
    return float(np.mean(model.predict(x).astype(str) == np.array([str(plain(v)) for v in truth.tolist()])))
