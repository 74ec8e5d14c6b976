"""Quality of the result: test ELBO and IW-NLL with the default settings, bfloat16 against 32 bits, and whether
class-conditioned samples are of their class. Writes tables to benchmarks/results/.

    python benchmarks/quality.py likelihood --data mnist mnist_static fashion_mnist --seeds 0 1 2
    python benchmarks/quality.py precision --seeds 0 1 2 3 4
    python benchmarks/quality.py conditional --seeds 0 1 2

`--epochs` and `--rows` make a smaller run; the tables say which was made. Data: the canonical idx files of MNIST and
Fashion-MNIST, in ../shared/data beside the repository or where --folder says.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import vaekit
from tables import SHARED, TOY_ROWS, Lines, arguments, few, is_toy, write
from vaekit.nets import MLP

NAMES = {
    "mnist": "dynamic binarised MNIST",
    "fashion_mnist": "Fashion-MNIST, dynamic binarisation",
    "mnist_static": "static binarised MNIST",
}
PAIRED = 200  # rows on which the gap between few and many importance samples is measured


def pictures(folder: Path, name: str, part: str) -> vaekit.sources.Dataset:
    if name == "mnist_static":  # 50,000 rows to learn from and 10,000 to choose by; `validation` splits them anew
        parts = np.load(folder / "mnist_static" / "mnist_static_binarized.npz")
        packed = np.concatenate([parts["train"], parts["valid"]]) if part == "train" else parts["test"]
        x = np.unpackbits(packed, axis=1)[:, :784].reshape(-1, 28, 28)
        x = few(x[np.random.default_rng(0).permutation(len(x))])
        return vaekit.sources.Dataset(x, "images", name, None, {}, [])
    rows = f"[:{TOY_ROWS}]" if is_toy() else ""
    return vaekit.read(f"{folder / name}/{part}-images-idx3-ubyte.gz{rows}", conditions=["label"])


def train(estimator: vaekit.VAE, data: Any, options: argparse.Namespace, name: str = "run") -> tuple[vaekit.VAE, float]:
    """Trained, in a run directory where one is asked for: a table that was cut short goes on where it was."""
    folder = options.runs / f"{options.table}{options.suffix}-{name}-{estimator.random_state}" if options.runs else None
    conditions = data.conditions if isinstance(estimator, vaekit.CVAE) else {}
    estimator.fit_rows(data.x, conditions, watchers=[Lines()], folder=folder, resume=True)
    return estimator, estimator.history_[-1]["seconds"]


def likelihood(options: argparse.Namespace) -> None:
    """Binarised pictures: test ELBO and importance-weighted NLL, nats. Few importance samples on all rows bound the NLL
    from above; how much `k` of them lower it is measured on the same 200 rows."""
    rows = []
    for name in options.data:
        data, test = pictures(options.folder, name, "train"), pictures(options.folder, name, "t10k")
        for seed in options.seeds:
            settings = {
                "binarize": None if name == "mnist_static" else "dynamic",
                "validation": 1 / 6 if name == "mnist_static" else 0.1,
                "random_state": seed,
                **({"epochs": options.epochs} if options.epochs else {}),
                **options.settings,
            }
            vae, seconds = train(vaekit.VAE(**settings), data, options, name)
            found = vae.evaluate(test.x[: options.rows], k=options.few)
            some = np.random.default_rng(0).permutation(found["rows"])[:PAIRED]
            few, many = (vae.evaluate(test.x[some], k=k)["iw_nll"] for k in (options.few, options.k))
            rows.append({
                "data": NAMES[name], "settings": json.dumps(options.settings), "seed": seed, "epochs": len(vae.history_),
                "minutes": round(seconds / 60, 1), "test rows": found["rows"], "ELBO": round(found["elbo"], 2),
                "KL": round(found["kl"], 2), f"IW-NLL, k={options.few}": round(found["iw_nll"], 2),
                "standard error over rows": round(found["iw_nll_standard_error"], 2),
                f"lower at k={options.k} by": round(few - many, 2),
                f"so IW-NLL, k={options.k}": round(found["iw_nll"] - few + many, 2),
                "active units": f"{found['active_units']} of {found['latent_units']}",
            })  # fmt: skip
            write(options, TABLES[options.table].__doc__, rows)


def precision(options: argparse.Namespace) -> None:
    """The same full training in bfloat16 autocast and in 32 bits: does the ELBO move by more than seeds do?"""
    rows = []
    net = partial(MLP, hidden=(512,))
    for name in options.data:
        data, test = pictures(options.folder, name, "train"), pictures(options.folder, name, "t10k")
        for seed in options.seeds:
            for kind in ("32-true", "bf16-mixed"):
                vae, seconds = train(
                    vaekit.VAE(
                        16, encoder=net, decoder=net, binarize="dynamic", epochs=options.epochs or 50, random_state=seed,
                        trainer={"precision": kind},
                    ),
                    data, options, f"{name}-{kind}",
                )  # fmt: skip
                found = vae.evaluate(test.x[: options.rows], k=options.k)
                rows.append({
                    "data": NAMES[name], "network": "784-512-16-512-784", "precision": kind, "seed": seed,
                    "epochs": len(vae.history_), "minutes": round(seconds / 60, 1), "ELBO": round(found["elbo"], 2),
                    f"IW-NLL, k={options.k}": round(found["iw_nll"], 2),
                })  # fmt: skip
                write(options, TABLES[options.table].__doc__, rows)


def conditional(options: argparse.Namespace) -> None:
    """What share of class-conditioned samples an independent classifier reads as the class asked for."""
    from sklearn.neural_network import MLPClassifier

    data, test = pictures(options.folder, "mnist", "train"), pictures(options.folder, "mnist", "t10k")

    def flat(x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), -1) / 255

    judge = MLPClassifier((256,), early_stopping=True, random_state=0).fit(flat(data.x), data.conditions["label"])
    accuracy = judge.score(flat(test.x), test.conditions["label"])
    rows = []
    for seed in options.seeds:
        settings = {"random_state": seed, **({"epochs": options.epochs} if options.epochs else {})}
        cvae, seconds = train(vaekit.CVAE(**settings, **options.settings), data, options)
        asked = np.repeat(np.arange(10), 1000)
        read = judge.predict(flat(cvae.sample(len(asked), y=asked).astype(np.float64)))
        worst = min((read[asked == c] == c).mean() for c in range(10))
        rows.append({
            "data": "MNIST", "seed": seed, "epochs": len(cvae.history_), "minutes": round(seconds / 60, 1),
            "classifier on real test pictures": f"{accuracy:.2%}", "samples": len(asked),
            "read as the class asked for": f"{(read == asked).mean():.2%}", "worst class": f"{worst:.2%}",
        })  # fmt: skip
        write(options, TABLES[options.table].__doc__, rows)


TABLES = {"likelihood": likelihood, "precision": precision, "conditional": conditional}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=list(TABLES))
    parser.add_argument("--data", nargs="+", default=["mnist"], choices=list(NAMES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="default: vaekit's own")
    parser.add_argument("--rows", type=int, help="test rows; default: all")
    parser.add_argument("--k", type=int, default=5000)
    parser.add_argument("--few", type=int, default=100, help="importance samples on all test rows")
    parser.add_argument("--settings", type=json.loads, default={}, help='further settings, e.g. \'{"size": "small"}\'')
    parser.add_argument("--suffix", default="", help="end of the result's name")
    parser.add_argument("--runs", type=Path, help="keep run directories here, and go on with those that are there")
    parser.add_argument("--folder", type=Path, default=SHARED)
    options = arguments(
        parser, seeds=[0], epochs=1, rows=20, k=20, few=10, settings={"size": "small", "sampler": "prior"}
    )
    TABLES[options.table](options)


if __name__ == "__main__":
    main()
