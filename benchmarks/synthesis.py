"""Synthetic tables: what a model learns from them that is tested on real rows, whether shapes and pairs are kept, and what they
give away, beside a copy that interpolates (SMOTE) and ctgan's TVAE and CTGAN, trained for the same time. Writes tables to
benchmarks/results/.

    python benchmarks/synthesis.py tables --data adult california diamonds --minutes 3 --seeds 0 1 2

Adult (target: income, a category) has its official test rows; of California housing (median_house_value) and diamonds
(price) a fifth, drawn with the seed, is for testing. Every table has as many synthetic rows as it had training rows. What is
measured, and by what formula: `vaekit.kinds.table.synthesis`. Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

import vaekit
from harness import Rows, arguments, averages, given, run
from readers import TARGETS, frames
from vaekit.kinds.table import synthesis

GAP = "(missing)"


# -- methods: (training rows, target, seed, options) -> as many synthetic ones -----------------------------------------


def own(train: pd.DataFrame, target: str, seed: int, options: argparse.Namespace) -> pd.DataFrame:
    budget = {"epochs": options.epochs} if options.epochs else {"minutes": options.minutes}
    model = vaekit.VAE(**{**budget, "random_state": seed, **options.settings})
    model.fit(train)
    print({k: round(v, 2) for k, v in model.history_[-1].items()}, model.notes_, flush=True)
    return model.sample(len(train), random_state=seed + 1)


def smote(train: pd.DataFrame, target: str, seed: int, options: argparse.Namespace) -> pd.DataFrame:
    """Rows between a row and one of its 5 nearest neighbours of the same class: imbalanced-learn's SMOTENC, asked for as many
    new rows of each class as there are. Where the target is a number its classes are the lower and the upper half, and the
    target is interpolated with the rest (as in TabDDPM, arXiv 2209.15421)."""
    from imblearn.over_sampling import SMOTENC

    rows = filled(train)
    if rows[target].dtype.kind in "iuf":
        classes = (rows[target] > rows[target].median()).to_numpy()
    else:
        classes = rows.pop(target).to_numpy()
    words = [rows[name].dtype.kind not in "iuf" for name in rows]
    counts = {c: 2 * int(n) for c, n in zip(*np.unique(classes, return_counts=True), strict=True)}
    method = SMOTENC(np.flatnonzero(words).tolist(), sampling_strategy=counts, random_state=seed)
    new, labels = method.fit_resample(rows, classes)
    new = new.iloc[len(rows) :]
    return new if target in new else new.assign(**{target: labels[len(rows) :]})


def peer(name: str) -> Callable[..., pd.DataFrame]:
    """ctgan's TVAE or CTGAN with its own settings, but for as many epochs as fit into the time."""

    def fit(train: pd.DataFrame, target: str, seed: int, options: argparse.Namespace) -> pd.DataFrame:
        import ctgan
        from ctgan.synthesizers import ctgan as gan
        from ctgan.synthesizers import tvae

        rows, start, epochs = filled(train), time.perf_counter(), []

        def clock(steps: Iterable[int], **_: Any) -> Iterator[int]:
            for step in steps:
                if time.perf_counter() - start > 60 * options.minutes:
                    break
                epochs.append(step)
                yield step

        gan.tqdm = tvae.tqdm = clock  # their loop over epochs goes through it
        model = getattr(ctgan, name)(epochs=10**6, enable_gpu=False)
        model.set_random_state(seed)
        model.fit(rows, [c for c in rows if rows[c].dtype.kind not in "iuf"])
        print({"epochs": len(epochs)}, flush=True)
        return model.sample(len(rows))

    return fit


def filled(rows: pd.DataFrame) -> pd.DataFrame:
    """What methods see that cannot do with missing values: the median of a number, a word of its own in a category."""
    return rows.apply(lambda c: c.fillna(c.median() if c.dtype.kind in "iuf" else GAP))


METHODS = {"real": None, "SMOTE": smote, "TVAE": peer("TVAE"), "CTGAN": peer("CTGAN"), "vaekit": own}


# -- tables ------------------------------------------------------------------------------------------------------------


def arrow(rows: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(rows, preserve_index=False)


def measured(name: str, method: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """What one method makes of one table."""
    train, test = frames(options.folder, name, seed)
    real, holdout = arrow(train), arrow(test)
    if method == "real":
        scores = synthesis.efficacy(real, real, holdout, TARGETS[name], seed=seed)["real"]
        alike = synthesis.summary(synthesis.column_shapes(holdout, real), synthesis.pair_trends(holdout, real))
        shares = {part: 100 * alike[part] for part in ("column_shapes", "pair_trends")}
        return {**scores, **shares, "two_sample": synthesis.two_sample(holdout, real, seed=seed)["auc"]}
    start = time.perf_counter()
    rows = METHODS[method](train, TARGETS[name], seed, options)
    seconds = time.perf_counter() - start
    found = synthesis.quality(real, holdout, arrow(rows.replace(GAP, None)[list(train)]), TARGETS[name], seed=seed)
    return {
        **found["efficacy"]["synthetic"],
        **{k: 100 * found[k] for k in ("column_shapes", "pair_trends")},
        "two_sample": found["two_sample"]["auc"],
        "nearer_to_train": 100 * found["copying"]["nearer_to_train"],
        "copies": 100 * found["copying"]["copies"],
        "membership": found["membership"]["auc"],
        "seconds": seconds,
    }


COLUMNS = {
    "macro F1": ("macro_f1", 3), "AUC": ("auc", 3), "accuracy": ("accuracy", 3), "R²": ("r2", 3),
    "shapes %": ("column_shapes", 1), "pairs %": ("pair_trends", 1), "two-sample AUC": ("two_sample", 3),
    "nearer to train %": ("nearer_to_train", 1), "copies %": ("copies", 2), "membership AUC": ("membership", 3),
    "s": ("seconds", 0),
}  # fmt: skip


def tables(options: argparse.Namespace) -> Rows:
    """Synthetic tables beside real ones

    Train on synthetic, test on real, by scikit-learn's histogram gradient boosting: macro F1, AUC and accuracy where the
    target is a category, R² where it is a number; "of real" is the first of these beside that of real training rows. Shapes and
    pairs: SDMetrics' definitions, against the test rows; the row "real" is the training rows against the test rows, the best there
    is to have. Two-sample, membership: 0.5 is best. Nearer to train: 50 is best; copies: equal to a training row in every column.
    TVAE, CTGAN and SMOTE cannot take missing values: numbers were given their median, categories a word of their own. Mean ±
    standard deviation over the seeds, where there are several; s: seconds to make the table, all of it."""
    for name in options.data:
        best = {}
        for method in options.methods:
            key: dict[str, Any] = {"data": name, "method": method}
            if method not in ("real", "SMOTE"):
                key |= given(options, "minutes")
            if method == "vaekit":
                key |= given(options, "epochs", "settings")
            runs = [
                options.cell({**key, "seed": seed}, measured, name, method, seed, options) for seed in options.seeds
            ]
            score = "r2" if "r2" in runs[0] else "macro_f1"
            best[method] = np.mean([run[score] for run in runs])
            of_real = f"{100 * best[method] / best['real']:.1f} %" if "real" in best else ""
            yield {"data": name, "method": method, "of real": of_real, **averages(runs, COLUMNS)}


if __name__ == "__main__":
    parser = arguments(__doc__, seeds=[0, 1, 2], data=TARGETS, methods=METHODS, settings=True)
    parser.add_argument("--minutes", type=float, default=3.0, help="of training, for each model")
    parser.add_argument("--epochs", type=int, help="of vaekit, in place of --minutes")
    run(parser, {"tables": tables}, data=["california"], methods=["real", "vaekit"], seeds=[0], epochs=1)
