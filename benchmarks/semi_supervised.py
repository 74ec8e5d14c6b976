"""Semi-supervised learning: what rows without a label are worth.

    python benchmarks/semi_supervised.py mnist            # test error with 100 labels, beside baselines
    python benchmarks/semi_supervised.py mnist --labels 1000 --suffix=-1000
    python benchmarks/semi_supervised.py adult            # 1 % of the labels
    python benchmarks/semi_supervised.py sst2             # 100 labels

A seed chooses the labels, as many of each class (of Adult at random), and whatever else is random. Nothing is chosen by rows that
are held out, there are none: every learner has one setting, and its last weights are judged on the test set. Runs are kept in a file
by learner and seed, and not done again: name another --suffix where labels or epochs are others.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

import vaekit as vk
from synthesis import tables_of
from tables import SHARED, arguments, few, idx, write

Sets = tuple[Any, np.ndarray, Any, np.ndarray]
"""Training rows and their labels, test rows and theirs."""


def mnist(folder: Path) -> Sets:
    (x, y), (test_x, test_y) = (idx(folder, "mnist", part) for part in ("train", "t10k"))
    return x, y["label"], test_x, test_y["label"]


def adult(folder: Path) -> Sets:
    train, test = tables_of(folder, "adult", 0)
    return train.drop(columns="income"), income(train), test.drop(columns="income"), income(test)


def income(table: Any) -> np.ndarray:
    return (table.income == ">50K").to_numpy().astype(int)


def sst2(folder: Path) -> Sets:
    parts: list[Any] = []
    for part in ("train", "test"):
        file = folder / "text" / "sentences" / f"stsa.binary.{part}.gz"
        lines = few(gzip.decompress(file.read_bytes()).decode().splitlines())
        parts += [[line[1:].strip() for line in lines], np.array([int(line[0]) for line in lines])]
    return parts[0], parts[1], parts[2], parts[3]


def kept(y: np.ndarray, labels: int, seed: int, balanced: bool) -> np.ndarray:
    """y with -1 wherever no label is kept."""
    order = np.random.default_rng(seed).permutation(len(y))
    each = labels // len(np.unique(y))
    rows = np.concatenate([order[y[order] == c][:each] for c in np.unique(y)]) if balanced else order[:labels]
    out = np.full(len(y), -1)
    out[rows] = y[rows]
    return out


def ours(o: argparse.Namespace, seed: int, **settings: Any) -> Any:
    own = {"mnist": {"network": "mlp", "likelihood": "bernoulli"}, "sst2": {"size": "small"}}.get(o.table, {})
    return vk.SemiSupervisedVAE(
        sampler="prior", validation=0.0, epochs=o.epochs, random_state=seed, **{**own, **settings}
    )


def features(o: argparse.Namespace) -> Any:
    """What scikit-learn's own learners see of the rows."""
    if o.table == "mnist":
        return FunctionTransformer(lambda x: np.reshape(x, (len(x), -1)) / 255.0)
    if o.table == "sst2":
        return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    numbers, words = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")
    return make_column_transformer(
        (StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words)
    )


def pick(x: Any, rows: np.ndarray) -> Any:
    return [x[i] for i in rows] if isinstance(x, list) else x.iloc[rows] if hasattr(x, "iloc") else x[rows]


Learner = Callable[[argparse.Namespace, int, Any, np.ndarray], Any]
"""Training rows and their labels, -1 where there is none -> something with `predict`."""


def on_labels(build: Callable[[argparse.Namespace, int], Any]) -> Learner:
    def fit(o: argparse.Namespace, seed: int, x: Any, y: np.ndarray) -> Any:
        rows = np.flatnonzero(y >= 0)
        return build(o, seed).fit(pick(x, rows), y[rows])

    return fit


def on_all(build: Callable[[argparse.Namespace, int], Any]) -> Learner:
    return lambda o, seed, x, y: build(o, seed).fit(x, y)


def self_training(o: argparse.Namespace, seed: int) -> Any:
    return make_pipeline(features(o), SelfTrainingClassifier(LogisticRegression(max_iter=1000)))


LEARNERS: dict[str, Learner] = {
    "vaekit": on_all(ours),
    "M2, as published": on_all(lambda o, seed: ours(o, seed, **vk.preset("m2"))),
    "the same network, labels alone": on_labels(
        lambda o, seed: ours(o, seed, consistency=0.0).set_params(
            epochs=max(1, 1000 // max(1, o.labels // 128)), batch_size=min(128, o.labels)
        )
    ),
    "logistic regression, labels alone": on_labels(
        lambda o, seed: make_pipeline(features(o), LogisticRegression(max_iter=1000))
    ),
    "gradient boosting, labels alone": on_labels(
        lambda o, seed: make_pipeline(
            features(o),
            FunctionTransformer(lambda x: x.toarray() if hasattr(x, "toarray") else x, accept_sparse=True),
            HistGradientBoostingClassifier(random_state=seed),
        )
    ),
    "self-training, logistic regression": on_all(self_training),
}


def results(o: argparse.Namespace) -> dict[tuple[str, int], dict[str, float]]:
    """What was found by (learner, seed). Each is written down at once, and not computed again when the command is."""
    path = o.results / f"semi_supervised-{o.table}-runs{o.suffix}.csv"
    known: dict[tuple[str, int], dict[str, float]] = {}
    if path.exists():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                found = {name: float(row[name]) for name in ("error", "minutes", "epochs")}
                known[row["learner"], int(row["seed"])] = found
    x, y, test_x, test_y = {"mnist": mnist, "adult": adult, "sst2": sst2}[o.table](o.folder)
    for seed, who in itertools.product(range(o.first, o.first + o.seeds), o.learners):
        if (who, seed) in known:
            continue
        started = time.process_time()
        model = LEARNERS[who](o, seed, x, kept(y, o.labels, seed, balanced=o.table != "adult"))
        minutes = (time.process_time() - started) / 60
        error = 100 * float(np.mean(model.predict(test_x) != test_y))
        known[who, seed] = {"error": error, "minutes": minutes, "epochs": o.epochs or 0}
        print(f"{seed} {who} {error:.2f} {minutes:.1f} min", flush=True)
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, ["learner", "seed", "error", "minutes", "epochs"], lineterminator="\n")
            table.writeheader()
            for (a, b), found in sorted(known.items()):
                table.writerow({"learner": a, "seed": b, **{k: round(v, 3) for k, v in found.items()}})
    return {key: found for key, found in known.items() if 0 <= key[1] - o.first < o.seeds}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["mnist", "adult", "sst2"])
    parser.add_argument("--labels", type=int, help="default: 100, of Adult 1 %%")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--learners", nargs="+", choices=[*LEARNERS], default=[*LEARNERS])
    parser.add_argument("--epochs", type=int, help="of vaekit; default: its own")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--suffix", default="")
    parser.add_argument("--folder", type=Path, default=SHARED)
    options = arguments(parser, seeds=1, labels=30, epochs=1, learners=list(LEARNERS)[:2])
    options.labels = options.labels or (326 if options.table == "adult" else 100)
    torch.set_num_threads(options.threads)
    found = results(options)
    rows = []
    for who in LEARNERS:
        of = [found[key] for key in sorted(found) if key[0] == who]
        if of:
            errors = np.array([f["error"] for f in of])
            rows.append(
                {
                    "learner": who,
                    "seeds": len(of),
                    "test error, %": f"{errors.mean():.2f} ± {errors.std():.2f}",
                    "of each seed": ", ".join(f"{e:.2f}" for e in errors),
                    "CPU minutes a seed": f"{np.mean([f['minutes'] for f in of]):.1f}",
                }
            )
    own = {
        "mnist": """Networks are MLPs, as by default for pictures of this size, and pictures Bernoulli, on which predictions do not
        depend. Published: M2 11.97, M1+M2 3.33 with 100 labels and 2.40 with 1000. The recipe (virtual adversarial training and turned
        pictures together, the entropy's weight, none of the bound's gradient) was chosen with 100 labels of seeds 100, 101 and 102 by the error on
        10,000 training rows whose labels were hidden; the test set was not looked at.""",
        "adult": "The labels are drawn at random, not as many of each class.",
        "sst2": "Networks are small. scikit-learn's learners see TF-IDF of words and pairs of words.",
    }[options.table]
    notes = f"""Mean and standard deviation over seeds, of the labels and of everything else that is random; {options.labels} labels,
    no validation set. vaekit: `SemiSupervisedVAE` at its defaults but for {options.epochs or "its own number of"} epochs. {own}"""
    write(options, f"Semi-supervised learning: {options.table}, {options.labels} labels", rows, " ".join(notes.split()))
