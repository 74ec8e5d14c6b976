"""Quality of the result: test ELBO and IW-NLL with the default settings, bfloat16 against 32 bits, and whether
class-conditioned samples are of their class. Writes tables to benchmarks/results/.

    python benchmarks/quality.py likelihood --data mnist mnist_static fashion_mnist --seeds 0 1 2
    python benchmarks/quality.py precision --seeds 0 1 2 3 4
    python benchmarks/quality.py conditional --seeds 0 1 2

`--epochs` and `--rows` make a smaller run; the tables say which was made. Data: the canonical idx files of MNIST and
Fashion-MNIST.
"""

from __future__ import annotations

import argparse
import itertools
import json
from functools import partial
from typing import Any

import numpy as np

import vaekit
from harness import Rows, arguments, run, trained
from readers import Pictures, few, idx
from vaekit.nets import MLP

NAMES = {
    "mnist": "dynamic binarised MNIST",
    "fashion_mnist": "Fashion-MNIST, dynamic binarisation",
    "mnist_static": "static binarised MNIST",
}
PAIRED = 200  # rows on which the gap between few and many importance samples is measured


def pictures(options: argparse.Namespace, name: str, part: str) -> Pictures:
    if name != "mnist_static":
        return idx(options.folder, name, part)
    # 50,000 rows to learn from and 10,000 to choose by; `validation` splits them anew
    parts = np.load(options.folder / "mnist_static" / "mnist_static_binarized.npz")
    packed = np.concatenate([parts["train"], parts["valid"]]) if part == "train" else parts["test"]
    x = np.unpackbits(packed, axis=1)[:, :784].reshape(-1, 28, 28)
    return few(x[np.random.default_rng(0).permutation(len(x))]), {}


def common(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    return {"random_state": seed, **({"epochs": options.epochs} if options.epochs else {})}


def effort(model: Any) -> dict[str, Any]:
    return {"epochs": len(model.history_), "minutes": round(model.history_[-1]["seconds"] / 60, 1)}


def likelihood(options: argparse.Namespace) -> Rows:
    """Binarised pictures: test ELBO and importance-weighted NLL, nats

    {few} importance samples on all rows bound the NLL from above; how much {k} of them lower it is measured on the same 200 rows."""
    for name, seed in itertools.product(options.data, options.seeds):
        (x, _), (test, _) = pictures(options, name, "train"), pictures(options, name, "test")
        settings = {
            "kind": "images" if name == "mnist_static" else {"binarize": "dynamic"},
            "validation": 1 / 6 if name == "mnist_static" else 0.1,
            **common(options, seed),
            **options.settings,
        }
        vae = trained(options, name, vaekit.VAE(**settings), x)
        found = vae.evaluate(test[: options.rows], k=options.few)
        some = np.random.default_rng(0).permutation(found["rows"])[:PAIRED]
        loose, tight = (vae.evaluate(test[some], k=k)["iw_nll"] for k in (options.few, options.k))
        yield {
            "data": NAMES[name], "settings": json.dumps(options.settings), "seed": seed, **effort(vae),
            "test rows": found["rows"], "ELBO": round(found["elbo"], 2), "KL": round(found["kl"], 2),
            f"IW-NLL, k={options.few}": round(found["iw_nll"], 2),
            "standard error over rows": round(found["iw_nll_standard_error"], 2),
            f"lower at k={options.k} by": round(loose - tight, 2),
            f"so IW-NLL, k={options.k}": round(found["iw_nll"] - loose + tight, 2),
            "active units": f"{found['active_units']} of {found['latent_units']}",
        }  # fmt: skip


def precision(options: argparse.Namespace) -> Rows:
    """The same full training in bfloat16 autocast and in 32 bits: does the ELBO move by more than seeds do?"""
    net = partial(MLP, hidden=(512,))
    for name, seed, kind in itertools.product(options.data, options.seeds, ("32-true", "bf16-mixed")):
        (x, _), (test, _) = pictures(options, name, "train"), pictures(options, name, "test")
        settings = {
            "epochs": 50,
            "kind": {"binarize": "dynamic"},
            "trainer": {"precision": kind},
            **common(options, seed),
        }
        vae = trained(options, f"{name}-{kind}", vaekit.VAE(16, encoder=net, decoder=net, **settings), x)
        found = vae.evaluate(test[: options.rows], k=options.k)
        yield {
            "data": NAMES[name], "network": "784-512-16-512-784", "precision": kind, "seed": seed, **effort(vae),
            "ELBO": round(found["elbo"], 2), f"IW-NLL, k={options.k}": round(found["iw_nll"], 2),
        }  # fmt: skip


def conditional(options: argparse.Namespace) -> Rows:
    """What share of class-conditioned samples an independent classifier reads as the class asked for"""
    from sklearn.neural_network import MLPClassifier

    (x, y), (test, truth) = pictures(options, "mnist", "train"), pictures(options, "mnist", "test")

    def flat(x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), -1) / 255

    judge = MLPClassifier((256,), early_stopping=True, random_state=0).fit(flat(x), y["label"])
    accuracy = judge.score(flat(test), truth["label"])
    for seed in options.seeds:
        cvae = trained(options, "run", vaekit.CVAE(**common(options, seed), **options.settings), x, y)
        asked = np.repeat(np.arange(10), 1000)
        read = judge.predict(flat(cvae.sample(len(asked), y=asked).astype(np.float64)))
        worst = min((read[asked == c] == c).mean() for c in range(10))
        yield {
            "data": "MNIST", "seed": seed, **effort(cvae), "classifier on real test pictures": f"{accuracy:.2%}",
            "samples": len(asked), "read as the class asked for": f"{(read == asked).mean():.2%}",
            "worst class": f"{worst:.2%}",
        }  # fmt: skip


if __name__ == "__main__":
    parser = arguments(__doc__, seeds=[0, 1, 2], data=NAMES, settings=True, runs=True)
    parser.set_defaults(data=["mnist"])
    parser.add_argument("--epochs", type=int, help="default: vaekit's own")
    parser.add_argument("--rows", type=int, help="test rows; default: all")
    parser.add_argument("--k", type=int, default=5000)
    parser.add_argument("--few", type=int, default=100, help="importance samples on all test rows")
    tables = {"likelihood": likelihood, "precision": precision, "conditional": conditional}
    run(parser, tables, seeds=[0], epochs=1, rows=20, k=20, few=10, settings={"size": "small", "sampler": "prior"})
