"""Quality of the result: test ELBO and IW-NLL with the default settings, bfloat16 against 32 bits, and whether
class-conditioned samples are of their class. Writes tables to benchmarks/results/.

    python benchmarks/quality.py likelihood --data mnist fashion_mnist --seeds 0 1 2
    python benchmarks/quality.py precision --seeds 0 1 2 3 4
    python benchmarks/quality.py conditional --seeds 0 1 2

`--epochs` and `--rows` make a smaller run; the tables say which was made. Data: the canonical idx files of MNIST and
Fashion-MNIST, in ../shared/data beside the repository or where --folder says.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vaekit
from vaekit.nets import MLP

HERE = Path(__file__).resolve().parent
NAMES = {"mnist": "dynamic binarised MNIST", "fashion_mnist": "Fashion-MNIST, dynamic binarisation"}


def pictures(folder: Path, name: str, part: str) -> vaekit.sources.Dataset:
    return vaekit.read(folder / name / f"{part}-images-idx3-ubyte.gz", conditions=["label"])


class Lines:
    """A line per epoch, so that a long run can be followed."""

    def step(self, *args: Any) -> None: ...

    def epoch(self, state: Any, progress: float, row: dict[str, float]) -> None:
        print({k: round(v, 2) for k, v in row.items()}, file=sys.stderr, flush=True)


def train(estimator: vaekit.VAE, data: Any, options: argparse.Namespace, name: str = "run") -> tuple[vaekit.VAE, float]:
    """Trained, in a run directory where one is asked for: a table that was cut short goes on where it was."""
    folder = options.runs / f"{options.table}{options.suffix}-{name}-{estimator.random_state}" if options.runs else None
    conditions = data.conditions if isinstance(estimator, vaekit.CVAE) else {}
    estimator.fit_rows(data.x, conditions, watchers=[Lines()], folder=folder, resume=True)
    return estimator, estimator.history_[-1]["seconds"]


def likelihood(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Default settings on binarised pictures: test ELBO and importance-weighted NLL, nats."""
    rows = []
    for name in options.data:
        data, test = pictures(options.folder, name, "train"), pictures(options.folder, name, "t10k")
        for seed in options.seeds:
            settings = {
                "binarize": "dynamic",
                "random_state": seed,
                **({"epochs": options.epochs} if options.epochs else {}),
            }
            vae, seconds = train(vaekit.VAE(**settings, **options.settings), data, options, name)
            found = vae.evaluate(test.x[: options.rows], k=options.k)
            rows.append({
                "data": NAMES[name], "seed": seed, "epochs": len(vae.history_), "minutes": round(seconds / 60, 1),
                "test rows": found["rows"], "ELBO": round(found["elbo"], 2), "KL": round(found["kl"], 2),
                f"IW-NLL, k={options.k}": round(found["iw_nll"], 2), "standard error": round(found["iw_nll_standard_error"], 2),
                "active units": f"{found['active_units']} of {found['latent_units']}",
            })  # fmt: skip
            write(options, rows)
    return rows


def precision(options: argparse.Namespace) -> list[dict[str, Any]]:
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
                write(options, rows)
    return rows


def conditional(options: argparse.Namespace) -> list[dict[str, Any]]:
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
        write(options, rows)
    return rows


def write(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """The table so far, as Markdown and JSON, with the command that made it."""
    command = "python benchmarks/quality.py " + shlex.join(a for a in sys.argv[1:])
    machine = f"{torch.get_num_threads()} threads, {platform.machine()}, torch {torch.__version__}, vaekit {vaekit.__version__}"
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(str(v) for v in row.values()) + " |" for row in rows]
    out = HERE / "results" / f"quality-{options.table}{options.suffix}"
    title = globals()[options.table].__doc__
    out.with_suffix(".md").write_text(f"# {title}\n\n`{command}`\n\n{machine}\n\n" + "\n".join(lines) + "\n")
    out.with_suffix(".json").write_text(
        json.dumps({"command": command, "machine": machine, "rows": rows}, indent=1) + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["likelihood", "precision", "conditional"])
    parser.add_argument("--data", nargs="+", default=["mnist"], choices=list(NAMES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="default: vaekit's own")
    parser.add_argument("--rows", type=int, help="test rows; default: all")
    parser.add_argument("--k", type=int, default=500)
    parser.add_argument("--settings", type=json.loads, default={}, help='further settings, e.g. \'{"size": "small"}\'')
    parser.add_argument("--suffix", default="", help="end of the result's name")
    parser.add_argument("--runs", type=Path, help="keep run directories here, and go on with those that are there")
    parser.add_argument("--folder", type=Path, default=HERE.parents[1] / "shared" / "data")
    options = parser.parse_args()
    for row in globals()[options.table](options):
        print(row)


if __name__ == "__main__":
    main()
