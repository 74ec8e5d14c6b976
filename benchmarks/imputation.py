"""Gaps of tables, filled: the mean and the commonest class, chained linear regressions (MICE), neighbours, forests (MissForest) and
vaekit. Writes tables to benchmarks/results/.

    python benchmarks/imputation.py tables --data adult california diamonds --rows 4000 --seeds 0 1 2

Of each table so many rows are drawn with the seed, and 20 % of all their cells are hidden, each with the same chance whatever it
holds. A method sees this one table with its gaps, learns from it and fills them; what it put in the hidden cells is compared
with what was there. Cells that were empty before are not scored. Data: ../shared/data beside the repository, or where --folder says.
--runs keeps what was measured, and goes on with what is there.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

import vaekit
from synthesis import TARGETS, tables_of
from tables import SHARED, arguments, write

DRAWS = 50  # of those that give draws
Filled = tuple[pd.DataFrame, list[pd.DataFrame]]  # the best guess, and draws


def hidden(rows: pd.DataFrame, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table with gaps, and which cells were there and are hidden."""
    chosen = np.random.default_rng([seed, 1]).random(rows.shape) < share
    return rows.mask(chosen), rows.notna() & chosen


def numeric(rows: pd.DataFrame) -> list[str]:
    return [name for name in rows if rows[name].dtype.kind in "iuf"]


# -- methods: (table with gaps, seed, options) -> the best guess, and draws --------------------------------------------


def simple(rows: pd.DataFrame, *_: Any) -> Filled:
    own = numeric(rows)
    return rows.fillna({name: rows[name].mean() if name in own else rows[name].mode()[0] for name in rows}), []


class OneHot:
    """Numbers standardised and categories one column a class, each NaN where missing; and back by the largest of a category's."""

    def __init__(self, rows: pd.DataFrame):
        self.rows, self.numbers = rows, numeric(rows)
        self.classes = {name: sorted(rows[name].dropna().unique()) for name in rows if name not in self.numbers}
        self.mean, self.scale = rows[self.numbers].mean(), rows[self.numbers].std()

    def forth(self) -> np.ndarray:
        parts = [((self.rows[self.numbers] - self.mean) / self.scale).to_numpy()]
        for name, classes in self.classes.items():
            own = self.rows[name].to_numpy()[:, None]
            parts.append(np.where(self.rows[name].isna().to_numpy()[:, None], np.nan, own == np.array(classes, object)))
        return np.concatenate(parts, 1).astype(float)

    def back(self, x: np.ndarray) -> pd.DataFrame:
        found = pd.DataFrame(x[:, : len(self.numbers)], columns=self.numbers, index=self.rows.index)
        found = found * self.scale + self.mean
        start = len(self.numbers)
        for name, classes in self.classes.items():
            found[name] = np.array(classes, object)[x[:, start : start + len(classes)].argmax(1)]
            start += len(classes)
        return self.rows.fillna(found)


def neighbours(rows: pd.DataFrame, seed: int, options: argparse.Namespace) -> Filled:
    from sklearn.impute import KNNImputer

    encoding = OneHot(rows)
    return encoding.back(KNNImputer(n_neighbors=5).fit_transform(encoding.forth())), []


def chain(
    rows: pd.DataFrame,
    regress: Any,
    classify: Any,
    rounds: int,
    *,
    one_hot: bool,
    random: np.random.Generator | None = None,
) -> list[pd.DataFrame]:
    """The table after each round: every column in turn, the fewest gaps first, from all others as they now are. A category's own
    classes are never among what it is guessed from, as they would be one by one in scikit-learn's IterativeImputer.

    random: draws in place of guesses: a number of one of the 5 rows that are guessed nearest (predictive mean matching), a class by
        its probability.
    """
    own, gaps = numeric(rows), rows.isna()
    now, _ = simple(rows)
    encoded = {name: encode(now[name], rows[name], name in own, one_hot) for name in rows}
    found = []
    for _ in range(rounds):
        for name in gaps.sum().sort_values().index:
            gap = gaps[name].to_numpy()
            if not gap.any():
                continue
            x = np.column_stack([encoded[other] for other in rows if other != name])
            known = rows[name][~gap]
            model = (regress if name in own else classify)().fit(x[~gap], known)
            if random is None:
                guess = model.predict(x[gap])
            elif name in own:
                guess = matched(model.predict(x[gap]), model.predict(x[~gap]), known.to_numpy(), random)
            else:
                edges = model.predict_proba(x[gap]).cumsum(1)
                place = (random.random((len(edges), 1)) * edges[:, -1:] > edges).sum(1)
                guess = model.classes_[place]
            now.loc[gap, name] = guess
            encoded[name] = encode(now[name], rows[name], name in own, one_hot)
        found.append(now.copy())
    return found


def encode(column: pd.Series, seen: pd.Series, number: bool, one_hot: bool) -> np.ndarray:
    """What other columns are guessed from: (N, features)."""
    if number:
        return ((column - seen.mean()) / seen.std()).to_numpy()[:, None]
    classes = np.array(sorted(seen.dropna().unique()), object)
    if one_hot:
        return (column.to_numpy(object)[:, None] == classes).astype(float)
    return np.searchsorted(classes.astype(str), column.to_numpy(str))[:, None].astype(float)


def matched(guess: np.ndarray, known: np.ndarray, values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    order = np.argsort(known)
    place = np.searchsorted(known[order], guess) + random.integers(-2, 3, len(guess))
    return values[order[np.clip(place, 0, len(order) - 1)]]


def mice(rows: pd.DataFrame, seed: int, options: argparse.Namespace) -> Filled:
    """Ridge regression and linear discriminants. Draws: the rounds after the first ten of a chain that draws."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import BayesianRidge

    classify = partial(LinearDiscriminantAnalysis, solver="lsqr", shrinkage=0.01)
    best = chain(rows, BayesianRidge, classify, 10, one_hot=True)[-1]
    random = np.random.default_rng([seed, 2])
    return best, chain(rows, BayesianRidge, classify, 10 + options.draws, one_hot=True, random=random)[10:]


def forests(rows: pd.DataFrame, seed: int, options: argparse.Namespace) -> Filled:
    """MissForest (Stekhoven & Buehlmann 2012): random forests of 100 trees, three rounds, categories by their order."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    regress, classify = (
        partial(f, 100, max_features="sqrt", random_state=seed) for f in (RandomForestRegressor, RandomForestClassifier)
    )
    return chain(rows, regress, classify, 3, one_hot=False)[-1], []


def own(rows: pd.DataFrame, seed: int, options: argparse.Namespace) -> Filled:
    budget = {"epochs": options.epochs} if options.epochs else {}
    model = vaekit.VAE(**{**budget, "random_state": seed, **options.settings}).fit(rows)
    print({k: round(v, 2) for k, v in model.history_[-1].items()}, model.notes_, flush=True)
    return model.impute(rows), model.impute(rows, draws=options.draws)


METHODS: dict[str, Callable[..., Filled]] = {
    "mean / commonest": simple, "MICE": mice, "5 neighbours": neighbours, "MissForest": forests, "vaekit": own,
}  # fmt: skip


# -- tables ------------------------------------------------------------------------------------------------------------


def measured(rows: pd.DataFrame, gaps: pd.DataFrame, best: pd.DataFrame, draws: list[pd.DataFrame]) -> dict[str, float]:
    """Means over columns."""
    found: dict[str, list[float]] = {"rmse": [], "error": [], "crps": [], "inside": []}
    for name in rows:
        where = gaps[name].to_numpy()
        truth = rows[name].to_numpy()[where]
        guess = best[name].to_numpy()[where]
        if name not in numeric(rows):
            found["error"].append(float((guess != truth).mean()))
            continue
        scale = rows[name].std()
        found["rmse"].append(float(np.sqrt(np.mean((guess.astype(float) - truth) ** 2)) / scale))
        if draws:
            x = np.sort([d[name].to_numpy()[where].astype(float) for d in draws], axis=0)
            low, high = np.quantile(x, [0.05, 0.95], axis=0)
            found["inside"].append(float(((truth >= low) & (truth <= high)).mean()))
            k = len(x)  # fair CRPS: E|X - t| - E|X - X'| / 2, of sorted draws
            spread = (x * (2 * np.arange(1, k + 1) - k - 1)[:, None]).sum(0) / (k * (k - 1))
            found["crps"].append(float((np.abs(x - truth).mean(0) - spread).mean() / scale))
    return {key: float(np.mean(values)) for key, values in found.items() if values}


NOTES = """RMSE: root mean squared error of the hidden numbers over their column's standard deviation, mean over columns; error: share
of hidden categories that are guessed wrong, mean over columns. CRPS (over the standard deviation; less is better) and the share
of hidden numbers inside the middle 90 % are of draws, by those methods that give them. MICE: Bayesian ridge regression and linear
discriminants of all other columns, ten rounds; its draws by predictive mean matching. MICE and neighbours see categories one-hot
and numbers standardised, MissForest sees classes by their order. Mean ± standard deviation over the seeds, where there are
several. s: seconds, all of it, on a machine that others used too. Mean rank: over data sets and RMSE and error, 1 is best."""
SHOWN = {
    "rmse": ("RMSE", 3),
    "error": ("error", 3),
    "crps": ("CRPS", 3),
    "inside": ("inside 90 %", 3),
    "seconds": ("s", 0),
}


def cached(name: str, method: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """What one method makes of one table; read back where --runs has it."""
    suffix = options.suffix if method == "vaekit" else ""
    path = options.runs and options.runs / f"{name}-{method.split()[0]}{suffix}-{options.rows}-{seed}.json"
    if path and path.exists():
        return json.loads(path.read_text())
    rows = tables_of(options.folder, name, seed)[0].sample(options.rows, random_state=seed, ignore_index=True)
    seen, gaps = hidden(rows, options.hidden, seed)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        best, draws = METHODS[method](seen, seed, options)
    found = {**measured(rows, gaps, best, draws), "seconds": time.perf_counter() - start}
    if path:
        options.runs.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))
    return found


def tables(options: argparse.Namespace) -> None:
    """Gaps filled: one cell in five hidden"""
    results: dict[tuple[str, str], list[dict[str, float]]] = {}
    for name in options.data:
        for method in options.methods:
            for seed in options.seeds:
                found = cached(name, method, seed, options)
                results.setdefault((name, method), []).append(found)
                print(name, method, seed, {k: round(v, 4) for k, v in found.items()}, flush=True)
            write(options, tables.__doc__, shown(results, options), NOTES)


def shown(results: dict[tuple[str, str], list[dict[str, float]]], options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each data set and method, and one of mean ranks for each method."""
    rows = []
    for (name, method), runs in results.items():
        row = {"data": name, "method": labelled(method, options), "seeds": " ".join(map(str, options.seeds))}
        for key, (title, digits) in SHOWN.items():
            values = [run[key] for run in runs if key in run]
            spread = f" ± {np.std(values):.{digits}f}" if len(values) > 1 else ""
            row[title] = f"{np.mean(values):.{digits}f}{spread}" if values else ""
        rows.append(row)
    methods = [m for m in options.methods if all((name, m) in results for name in {n for n, _ in results})]
    places = []
    for name in {n for n, _ in results}:
        for key in ("rmse", "error"):
            means = [np.mean([run[key] for run in results[name, m] if key in run] or np.nan) for m in methods]
            if not np.isnan(means).any():
                places.append(rankdata(means))
    for method, place in zip(methods, np.mean(places, 0) if places else [], strict=False):
        rows.append(
            {
                **dict.fromkeys(rows[0], ""),
                "data": "mean rank",
                "method": labelled(method, options),
                "RMSE": f"{place:.2f}",
            }
        )
    return rows


def labelled(method: str, options: argparse.Namespace) -> str:
    return f"{method} {json.dumps(options.settings)}" if method == "vaekit" and options.settings else method


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["tables"])
    parser.add_argument("--data", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--hidden", type=float, default=0.2, help="share of the cells")
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--epochs", type=int, help="of vaekit, in place of its own")
    parser.add_argument("--settings", type=json.loads, default={}, help="of vaekit, further ones")
    parser.add_argument("--suffix", default="", help="end of the result's name")
    parser.add_argument("--runs", type=Path, help="keep what was measured here, and go on with what is there")
    parser.add_argument("--folder", type=Path, default=SHARED)
    tables(
        arguments(
            parser, data=["california"], methods=["mean / commonest", "vaekit"], seeds=[0], rows=100, draws=2, epochs=1
        )
    )


if __name__ == "__main__":
    main()
