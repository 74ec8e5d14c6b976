"""Synthetic tables: what a model learns from them that is tested on real rows, whether shapes and pairs are kept, and what they
give away, beside a copy that interpolates (SMOTE) and ctgan's TVAE and CTGAN, trained for the same time. Writes tables to
benchmarks/results/.

    python benchmarks/synthesis.py tables --data adult california diamonds --minutes 3 --seeds 0 1 2

Adult (target: income, a category) has its official test rows; of California housing (median_house_value) and diamonds
(price) a fifth, drawn with the seed, is for testing. Every table has as many synthetic rows as it had training rows. What is
measured, and by what formula: `vaekit.evaluation.synthesis`. Needs the extra `bench`. Data: ../shared/data beside the repository, or where
--folder says. --runs keeps the synthetic tables, and goes on with those that are there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

import vaekit
from tables import SHARED, arguments, few, write
from vaekit.evaluation import synthesis

ADULT = [
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race", "sex",
    "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
]  # fmt: skip
TARGETS = {"adult": "income", "california": "median_house_value", "diamonds": "price"}
GAP = "(missing)"


def tables_of(folder: Path, name: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to learn from and rows to test by."""
    folder = folder / "tabular"
    if name == "adult":
        how: dict[str, Any] = {"names": ADULT, "skipinitialspace": True, "na_values": "?"}
        train = pd.read_csv(folder / "adult.data.gz", **how)
        test = pd.read_csv(folder / "adult.test.gz", skiprows=1, **how)
        return few(train), few(test.assign(income=test.income.str.rstrip(".")))
    file = {"california": "california_housing.csv.gz", "diamonds": "diamonds.csv.gz"}[name]
    rows = few(pd.read_csv(folder / file))
    order = np.random.default_rng(seed).permutation(len(rows))
    return tuple(rows.iloc[part].reset_index(drop=True) for part in np.split(order[::-1], [len(rows) - len(rows) // 5]))


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


def synthetic_table(
    name: str, method: str, seed: int, train: pd.DataFrame, options: argparse.Namespace
) -> tuple[pa.Table, float]:
    """Made, or read back where --runs has it; and the seconds that making it took."""
    path = (
        options.runs / f"{name}-{method}{options.suffix if method == 'vaekit' else ''}-{seed}.parquet"
        if options.runs
        else None
    )
    if path and path.exists():
        table = parquet.read_table(path)
        return table, float((table.schema.metadata or {}).get(b"seconds", b"nan"))
    start = time.perf_counter()
    rows = METHODS[method](train, TARGETS[name], seed, options)
    seconds = time.perf_counter() - start
    table = arrow(rows.replace(GAP, None)[list(train)]).replace_schema_metadata({"seconds": str(seconds)})
    if path:
        options.runs.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table, path)
    return table, seconds


def arrow(rows: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(rows, preserve_index=False)


def measured(name: str, method: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """What one method makes of one table."""
    train, test = tables_of(options.folder, name, seed)
    real, holdout = arrow(train), arrow(test)
    if method == "real":
        scores = synthesis.efficacy(real, real, holdout, TARGETS[name], seed=seed)["real"]
        alike = synthesis.summary(synthesis.column_shapes(holdout, real), synthesis.pair_trends(holdout, real))
        shares = {part: 100 * alike[part] for part in ("column_shapes", "pair_trends")}
        return {**scores, **shares, "two_sample": synthesis.two_sample(holdout, real, seed=seed)["auc"]}
    table, seconds = synthetic_table(name, method, seed, train, options)
    found = synthesis.quality(real, holdout, table, TARGETS[name], seed=seed)
    return {
        **found["efficacy"]["synthetic"],
        **{k: 100 * found[k] for k in ("column_shapes", "pair_trends")},
        "two_sample": found["two_sample"]["auc"],
        "nearer_to_train": 100 * found["copying"]["nearer_to_train"],
        "copies": 100 * found["copying"]["copies"],
        "membership": found["membership"]["auc"],
        "seconds": seconds,
    }


SHOWN = {
    "macro_f1": ("macro F1", 3), "auc": ("AUC", 3), "accuracy": ("accuracy", 3), "r2": ("R²", 3),
    "column_shapes": ("shapes %", 1), "pair_trends": ("pairs %", 1), "two_sample": ("two-sample AUC", 3),
    "nearer_to_train": ("nearer to train %", 1), "copies": ("copies %", 2), "membership": ("membership AUC", 3),
    "seconds": ("s", 0),
}  # fmt: skip
NOTES = """Train on synthetic, test on real, by scikit-learn's histogram gradient boosting: macro F1, AUC and accuracy where the
target is a category, R² where it is a number; "of real" is the first of these beside that of real training rows. Shapes and
pairs: SDMetrics' definitions, against the test rows; the row "real" is the training rows against the test rows, the best there
is to have. Two-sample, membership: 0.5 is best. Nearer to train: 50 is best; copies: equal to a training row in every column.
TVAE, CTGAN and SMOTE cannot take missing values: numbers were given their median, categories a word of their own. Mean ±
standard deviation over the seeds; s: seconds to make the table, all of it."""


def tables(options: argparse.Namespace) -> None:
    """Synthetic tables beside real ones"""
    rows = []
    for name in options.data:
        best = {}
        for method in options.methods:
            runs = []
            for seed in options.seeds:
                runs.append(measured(name, method, seed, options))
                print(name, method, seed, {k: round(v, 4) for k, v in runs[-1].items()}, flush=True)
            score = "r2" if "r2" in runs[0] else "macro_f1"
            best[method] = np.mean([run[score] for run in runs])
            of_real = f"{100 * best[method] / best['real']:.1f} %" if "real" in best else ""
            row = {"data": name, "method": method, "seeds": " ".join(map(str, options.seeds)), "of real": of_real}
            if method == "vaekit" and options.settings:
                row["method"] += f" {json.dumps(options.settings)}"
            for key, (title, digits) in SHOWN.items():
                values = [run[key] for run in runs if key in run]
                row[title] = f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}" if values else ""
            rows.append(row)
            write(options, tables.__doc__, rows, NOTES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["tables"])
    parser.add_argument("--data", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=3.0, help="of training, for each model")
    parser.add_argument("--epochs", type=int, help="of vaekit, in place of --minutes")
    parser.add_argument("--settings", type=json.loads, default={}, help="of vaekit, further ones")
    parser.add_argument("--suffix", default="", help="end of the result's name")
    parser.add_argument("--runs", type=Path, help="keep synthetic tables here, and go on with those that are there")
    parser.add_argument("--folder", type=Path, default=SHARED)
    tables(arguments(parser, data=["california"], methods=["real", "vaekit"], seeds=[0], epochs=1))


if __name__ == "__main__":
    main()
