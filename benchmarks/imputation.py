"""Gaps of tables, filled: the mean and the commonest class, chained linear regressions (MICE), neighbours, forests (MissForest) and
vaekit. Writes tables to benchmarks/results/.

    python benchmarks/imputation.py tables --data adult california diamonds --rows 4000 --seeds 0 1 2

Of each table `--rows` rows are drawn with the seed, and 20 % of all their cells are hidden, each with the same chance whatever it
holds. A method sees this one table with its gaps, learns from it and fills them; what it put in the hidden cells is compared
with what was there. Cells that were empty before are not scored.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

import vaekit
from harness import Rows, arguments, averages, given, run
from readers import TARGETS, frames

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


COLUMNS = {"RMSE": ("rmse", 3), "error": ("error", 3), "CRPS": ("crps", 3), "inside 90 %": ("inside", 3), "s": ("seconds", 0)}  # fmt: skip


def fill(name: str, method: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """What one method makes of one table."""
    rows = frames(options.folder, name, seed)[0].sample(options.rows, random_state=seed, ignore_index=True)
    seen, gaps = hidden(rows, options.hidden, seed)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        best, draws = METHODS[method](seen, seed, options)
    return {**measured(rows, gaps, best, draws), "seconds": time.perf_counter() - start}


def tables(options: argparse.Namespace) -> Rows:
    """Gaps filled: one cell in five hidden

    RMSE: root mean squared error of the hidden numbers over their column's standard deviation, mean over columns; error: share
    of hidden categories that are guessed wrong, mean over columns. CRPS (over the standard deviation; less is better) and the share
    of hidden numbers inside the middle 90 % are of draws, by those methods that give them. MICE: Bayesian ridge regression and linear
    discriminants of all other columns, ten rounds; its draws by predictive mean matching. MICE and neighbours see categories one-hot
    and numbers standardised, MissForest sees classes by their order. Mean ± standard deviation over the seeds, where there are
    several. s: seconds, all of it, on a machine that others used too. Mean rank: over data sets and RMSE and error, 1 is best."""
    places = []
    for name in options.data:
        means: dict[str, list[float]] = {"rmse": [], "error": []}
        for method in options.methods:
            key = {"data": name, "method": method, **given(options, "rows", "hidden", "draws")}
            if method == "vaekit":
                key |= given(options, "epochs", "settings")
            runs = [options.cell({**key, "seed": seed}, fill, name, method, seed, options) for seed in options.seeds]
            yield {"data": name, "method": method, **averages(runs, COLUMNS)}
            for score in means.keys() & runs[0].keys():
                means[score].append(np.mean([run[score] for run in runs]))
        places += [rankdata(values) for values in means.values() if values]
    for method, place in zip(options.methods, np.mean(places, 0), strict=True):
        yield {"data": "mean rank", "method": method, "RMSE": f"{place:.2f}"}


if __name__ == "__main__":
    parser = arguments(__doc__, seeds=[0, 1, 2], data=TARGETS, methods=METHODS, settings=True)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--hidden", type=float, default=0.2, help="share of the cells")
    parser.add_argument("--draws", type=int, default=50, help="of those methods that give draws")
    parser.add_argument("--epochs", type=int, help="of vaekit, in place of its own")
    methods = ["mean / commonest", "vaekit"]
    run(parser, {"tables": tables}, data=["california"], methods=methods, seeds=[0], rows=100, draws=2, epochs=1)
