"""Which labels are known, which are kept, and how much the rows without a label helped."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.base import is_classifier
from torch import Tensor

from vaekit.conditions import is_unknown, plain
from vaekit.errors import UserError, note
from vaekit.frame.cells import BLANKS, MISSING
from vaekit.training.data import Data, fixed_uniform, split
from vaekit.training.devices import chosen_device
from vaekit.training.fit import schedule
from vaekit.training.guards import seeded

UNLABELLED = -1  # as in scikit-learn
UNKNOWN_WORDS = {"", "-1", "-1.0", *MISSING}  # NumPy makes "-1" and "nan" of -1 and NaN among words
DOUBTFUL_WORDS = {
    *BLANKS, "unlabeled", "unlabelled", "not labeled", "not labelled", "no label", "unk", "undefined", "not known", "unclassified",
    "unassigned", "pending", "tbd", "todo",
}  # fmt: skip
SHOWN = 10  # classes
KEPT = 11  # an address of random numbers


def keep_some(name: str, values: np.ndarray, n: int | None, validation: float, seed: int, label: bool) -> np.ndarray:
    """Hide all but `n` known rows of a target (N, ...) (None: keep all). Each class keeps the same number, as far as possible.
    Validation rows keep none. UserError if fewer than `n` rows are known."""
    train, _ = split(len(values), validation, seed)
    rows = np.random.default_rng([seed, KEPT]).permutation(train.numpy())
    rows = rows[are_known(values, label)[rows]]
    if n is not None:
        if not 0 < n <= len(rows):
            raise UserError(f"--labels {n}: {name!r} is known in {len(rows)} training rows: ask for 1 to {len(rows)}")
        rows = balanced(name, rows, values, n)[:n] if label else rows[:n]
    kept = np.full(values.shape, None if label else np.nan, dtype=object if label else np.float64)
    kept[rows] = values[rows]
    return kept


def balanced(name: str, rows: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Reorder the rows: one of each class, then a second of each, and so on."""
    labels = values[rows].astype(str)
    classes, code = np.unique(labels, return_inverse=True)
    if n < len(classes):
        raise UserError(f"--labels {n}: {name!r} has {len(classes)} classes: ask for at least one label of each")
    turn = np.empty(len(rows), int)
    for c in range(len(classes)):
        of_it = np.flatnonzero(code == c)
        turn[of_it] = np.arange(len(of_it))
    return rows[np.lexsort((code, turn))]


def alone(estimator: Any, rows: Data, track: Any = list) -> Any:
    """Return the estimator with a classifier that learned from the labelled rows alone, in the same number of steps. It shows how
    much the rows without a label helped. The rest of its model has fresh weights.

    Args:
        estimator: fitted. rows: packed, the target of each known. track: wraps the list of steps, to show how far it has come.
    """
    other, batch = untrained(estimator), min(len(rows), estimator.training().batch_size)
    model, y = other.model_, rows.y[estimator.target_]
    x = other.kind_.batch(rows.x, fixed_uniform())

    def loss(step: int) -> Tensor:
        some = torch.randint(len(y), (batch,))
        parts = x[some], None if rows.mask is None else rows.mask[some], y[some]
        return model.label_loss(*(None if t is None else t.to(model.labelled_y.device) for t in parts))

    learn_labels(estimator, model, loss, track)
    return other


def learn_labels(estimator: Any, model: Any, loss: Callable[[int], Tensor], track: Any = list) -> None:
    """Train the classifier of `model`, and nothing else of it, in as many steps as the estimator took; `loss(step)` is what it
    has to lower."""
    steps = int(estimator.history_[-1]["step"])
    model.to(chosen_device(estimator.device)).train()
    adam = torch.optim.Adam(model.classifier.parameters(), lr=estimator.training().learning_rate)
    slower = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: schedule(step / steps))
    with seeded(estimator.seed_):
        for step in track(list(range(steps))):
            adam.zero_grad()
            loss(step).backward()
            adam.step()
            slower.step()
    model.eval().cpu()


def untrained(estimator: Any) -> Any:
    """Return the estimator with a model of fresh weights."""
    other, fitted = copy.copy(estimator), estimator.fitted_
    with seeded(fitted.seed):
        model = estimator.build(fitted.kind, fitted.conditions, copy.deepcopy(fitted.model.likelihood).cpu())
    other.fitted_ = replace(fitted, model=model.eval())
    return other


def compare_with_alone(other: Any, x: Any, truth: np.ndarray) -> dict[str, Any]:
    """Measure how well a classifier that learned from the labels alone predicts the known targets (N, ...) of rows x, measured as in
    `SemiSupervised.evaluate`. Empty if no target is known."""
    label = is_classifier(other)
    some = np.flatnonzero(are_known(truth, label))
    return (
        {"accuracy_alone" if label else "r2_alone": score_predictions(other, x[some], truth[some])} if len(some) else {}
    )


def label_lines(results: Mapping[str, Any]) -> list[str]:
    """Write what `SemiSupervised.evaluate` and `compare_with_alone` found as lines; empty if no target was known."""
    for name, what, form, of in (
        ("accuracy", "predicted right", "{:.2%}", "labels"), ("r2", "R2             ", "{:.3f}", "known values")
    ):  # fmt: skip
        if name in results:
            line = f"{what} {form.format(results[name])} of {results['known']} {of}"
            if (other := results.get(f"{name}_alone")) is not None:
                line += f"; {form.format(other)} by the same network trained on the {of} alone"
            return [line]
    return []


def unlabelled(value: Any) -> bool:
    """Whether a label is unknown: None, NaN or -1, or a word for these, such as "" or "-1"."""
    if isinstance(value, str):
        return value.strip() in UNKNOWN_WORDS
    return is_unknown(value) or (isinstance(value, int | float) and value == UNLABELLED)


def note_words(name: str, labels: Iterable[Any]) -> None:
    """Note labels that count as unknown although they are not empty, and a class that may mean unknown."""
    counts = Counter(v for v in labels if not is_unknown(v))
    if unknown := {v: n for v, n in counts.items() if unlabelled(v)}:
        what = ", ".join(f"{v!r} ({n} rows)" for v, n in unknown.items())
        note(f"labels {name!r} that count as unknown: {what}")
    for value, n in counts.items():
        if isinstance(value, str) and value.strip().lower() in DOUBTFUL_WORDS and not unlabelled(value):
            note(
                f"the model learns {value!r} as a class of {name!r}, with {n} rows: leave the label empty (None in Python) if it "
                "means that the label is unknown"
            )


def known_line(name: str, values: np.ndarray, kept: np.ndarray, label: bool) -> str:
    """Say how many rows have the target (N, ...), which classes there are, and from how many rows the model learns."""
    some, learned = are_known(values, label), int(are_known(kept, label).sum())
    line = f"{name!r} is known in {some.sum()} of {len(values)} rows"
    if label:
        counts = Counter(str(plain(v)) for v in values[some].tolist()).most_common()
        line += ": " + ", ".join(f"{c} {n}" for c, n in counts[:SHOWN])
        line += f" and {len(counts) - SHOWN} more classes" if len(counts) > SHOWN else ""
    return f"{line}; the model learns from {learned} of these"


def are_known(values: np.ndarray, label: bool) -> np.ndarray:
    """Whether the rows of a target (N, ...) are known, (N,)."""
    if not label:
        return np.asarray(~np.isnan(values.astype(np.float64).reshape(len(values), -1)).any(1))
    return np.array([not unlabelled(v) for v in values.tolist()], bool)


def score_predictions(model: Any, x: Any, truth: np.ndarray, weight: np.ndarray | None = None) -> float:
    """The share of right predictions, weighted by row; for numbers R2."""
    if not is_classifier(model):
        from sklearn.metrics import r2_score

        return float(r2_score(truth.astype(float), model.predict(x), sample_weight=weight))
    right = model.predict(x).astype(str) == np.array([str(plain(v)) for v in truth.tolist()])
    return float(np.average(right, weights=weight))
