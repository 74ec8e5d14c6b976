"""Does a model fill the gaps of a table better than a plain guess? Known cells are hidden, and guessed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from vaekit.errors import note
from vaekit.kinds.table.encoded import encode

log = logging.getLogger(__name__)

ROWS, SHARE = 300, 0.2  # rows, and the share of their cells that is hidden: 60 cells of a full column, in seconds
FEWEST = 20  # cells of a column that say something


def filled_gaps(fitted: Any, table: Any, y: Mapping[str, Any], *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Measure how far the model's best guesses of hidden cells are off, beside those of the mean and the commonest class.

    A note names the columns whose guesses are worse than that: by more than two standard errors.

    Args:
        fitted: of a table. table: an Arrow table of rows that it did not see. y: their conditions.

    Returns:
        By column: cells, how many were hidden; error, the root of the mean square in standard deviations, or the share of
        classes that are wrong; usual, that of the mean or the commonest class; and worse, whether the guess is.
    """
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(table))[:ROWS])
    schema = fitted.kind.schema
    table = table.select(list(schema)).take(rows)
    hidden = {name: rng.random(len(rows)) < SHARE for name in schema}
    holed = {name: table[name].take(pa.array(np.arange(len(rows)), mask=hidden[name])) for name in schema}
    log.info("hiding cells of %s rows, to see how well gaps are filled", f"{len(rows):,}")
    given = {name: np.asarray(values)[rows] for name, values in y.items()}
    (filled,) = fitted.kind.impute(fitted, pa.table(holed), given, draws=None)
    kinds = {name: "category" if hasattr(c, "classes") else "number" for name, c in schema.items()}
    truth, guess = encode(table, filled, kinds=kinds)
    found = {}
    for name in schema:
        known = ~truth.missing(name)
        cells, rest = known & hidden[name], known & ~hidden[name]
        if cells.sum() < FEWEST or not rest.any():
            continue
        errors = (numbers_off if kinds[name] == "number" else classes_off)(truth[name], guess[name], cells, rest)
        found[name] = {"cells": int(cells.sum()), **errors}
    if worse := [name for name, each in found.items() if each["worse"]]:
        note(
            f"the model fills gaps of {', '.join(worse)} worse than the mean or the commonest class would, as hidden cells show: "
            "do not rely on them, and train for longer"
        )
    return found


def numbers_off(truth: np.ndarray, guess: np.ndarray, cells: np.ndarray, rest: np.ndarray) -> dict[str, Any]:
    scale = truth[cells | rest].std() or 1.0
    own, usual = (((other - truth)[cells] / scale) ** 2 for other in (guess, np.full_like(truth, truth[rest].mean())))
    return {"error": float(np.sqrt(own.mean())), "usual": float(np.sqrt(usual.mean())), "worse": is_worse(own, usual)}


def classes_off(truth: np.ndarray, guess: np.ndarray, cells: np.ndarray, rest: np.ndarray) -> dict[str, Any]:
    own, usual = ((other != truth)[cells] for other in (guess, np.full_like(truth, np.bincount(truth[rest]).argmax())))
    return {"error": float(own.mean()), "usual": float(usual.mean()), "worse": is_worse(own, usual)}


def is_worse(own: np.ndarray, usual: np.ndarray) -> bool:
    more = own.astype(float) - usual
    return bool(more.mean() > 2 * more.std() / np.sqrt(len(more)) and more.mean() > 0)


def gap_lines(results: Mapping[str, Any]) -> list[str]:
    """Write what `filled_gaps` found as lines, for `vaekit evaluate`."""
    found = results.get("gaps")
    if not found:
        return []
    better = [name for name, each in found.items() if each["error"] < each["usual"]]
    worse = [name for name, each in found.items() if each["worse"]]
    line = f"gaps            {len(better)} of {len(found)} columns are filled better than with the mean or the commonest class"
    return [line + (f"; worse: {', '.join(worse)}" if worse else "")]
