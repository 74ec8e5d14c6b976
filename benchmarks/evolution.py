"""Evolution in a learned latent space: an arm with many joints, and pictures of a digit. Writes tables to benchmarks/results/.

python benchmarks/evolution.py arm
python benchmarks/evolution.py arm --evaluations 200000 --suffix=-long      # where raw search overtakes
python benchmarks/evolution.py digits
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import vaekit
from harness import Rows, arguments, averages, given, run
from readers import idx
from searches import METHODS, Watch

TRUST = 0.05


class Arm:
    """A planar arm: genes are angles of its joints, the objective is minus their variance, and measures are where its end is."""

    names = ("x", "y")
    ranges = np.array([[-1.0, 1.0], [-1.0, 1.0]])

    def __init__(self, joints: int):
        self.size = joints

    def random(self, n: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).random((n, self.size))

    def score(self, genomes: np.ndarray) -> np.ndarray:
        return -((2 * genomes - 1).var(1))

    def features(self, genomes: np.ndarray) -> np.ndarray:
        turned = np.cumsum((2 * genomes - 1) * np.pi, axis=1)
        return np.column_stack([np.cos(turned).mean(1), np.sin(turned).mean(1)])


def arm(options: argparse.Namespace) -> Rows:
    """A planar arm of {joints} joints: coverage and mean objective after a tenth of {evaluations} evaluations, and after all

    The end of the arm is to reach each of {cells} x {cells} cells with its joints as even as can be (objective: minus the variance of the
    angles, of which 1 is half a turn). A quarter of the cells is out of reach. PCA and the VAE ({latent_dim} units) begin after {first} evaluations
    of MAP-Elites and are fitted anew every {refit}. Mean ± deviation over seeds."""
    checkpoints = [options.evaluations // 10, options.evaluations // 2, options.evaluations]
    names = ("coverage", "mean")

    def measure(method: str, seed: int) -> dict[str, float]:
        watch = Watch(Arm(options.joints), options.evaluations, options.cells)
        METHODS[method](watch, options, seed, options.evaluations)
        return {
            f"{name} {n}": value for n in checkpoints for name, value in zip(names, watch.mean_after(n), strict=True)
        }

    about = given(options, "joints", "evaluations", "cells", "batch")
    model = given(options, "latent_dim", "first", "refit", "epochs")
    for method in options.methods:
        key = {"method": method, **about, **(model if "latent" in method or "mixed" in method else {})}
        runs = [options.cell({**key, "seed": seed}, measure, method, seed) for seed in options.seeds]
        columns = {f"{name}, {n:,}": (f"{name} {n}", 3) for n in checkpoints for name in names}
        yield {"method": method, **averages(runs, columns)}


# -- digits ------------------------------------------------------------------------------------------------------------


def digits(options: argparse.Namespace) -> Rows:
    """Illumination of the digit 8: cells of a grid that have a picture which belongs to the data, by vaekit and by an outside judge

    A VAE of {rows} MNIST pictures ({latent_dim_digits} units, {epochs_vae} epochs). Objective: the probability of an 8 by a classifier (logistic
    regression). Measures: ink (mean of the pixels) and boldness (share of pixels above one half). {cells_digits} x {cells_digits} cells, {evaluations} evaluations.
    Valid: p-value of belonging to the data at least 0.05. Judge: another classifier (a random forest, on other rows) gives 8 a probability
    of at least 0.5. Both: valid, and an 8 to the judge. Shares of all cells; mean ± deviation over seeds."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    x, named = idx(options.folder, "mnist", "train")
    y = named["label"]
    flat = x.reshape(len(x), -1) / 255

    def measure(seed: int) -> dict[str, dict[str, float]]:
        order = np.random.default_rng(seed).permutation(len(x))
        own, first, second = np.split(order[: 3 * options.rows], 3)
        vae = vaekit.VAE(
            latent_dim=options.latent_dim_digits,
            network="mlp",
            likelihood="bernoulli",
            epochs=options.epochs_vae,
            random_state=seed,
        )
        vae.fit(x[own])
        asked = LogisticRegression(max_iter=50).fit(flat[first], y[first] == 8)
        judge = RandomForestClassifier(random_state=seed).fit(flat[second], y[second] == 8)

        def score(rows: np.ndarray) -> np.ndarray:
            return asked.predict_proba(rows.reshape(len(rows), -1) / 255)[:, 1]

        def features(rows: np.ndarray) -> np.ndarray:
            return np.column_stack([rows.mean((1, 2)) / 255, (rows > 127).mean((1, 2))])

        found = {}
        for trust in (0.0, TRUST):
            archive = vaekit.evolve(
                vae, score, features, X=x[own], cells=(options.cells_digits,) * 2, ranges=[(0, 0.35), (0, 0.35)],
                budget=options.evaluations, space="latent", trust=trust, batch_size=options.batch, seed=seed,
            )  # fmt: skip
            found_rows = archive.rows.reshape(len(archive), flat.shape[1]) / 255
            eight = judge.predict_proba(found_rows)[:, 1] >= 0.5 if len(archive) else np.zeros(0, bool)
            total = options.cells_digits**2
            shares = {
                "coverage": len(archive),
                "valid": archive.valid.sum(),
                "judge": eight.sum(),
                "both": (eight & archive.valid).sum(),
            }
            found[f"trust {trust:g}"] = {name: float(value / total) for name, value in shares.items()}
        return found

    about = given(options, "rows", "latent_dim_digits", "epochs_vae", "evaluations", "cells_digits", "batch")
    runs = [options.cell({**about, "seed": seed}, measure, seed) for seed in options.seeds]
    for name in runs[0]:
        yield {"search": name, **averages([found[name] for found in runs], {each: (each, 3) for each in runs[0][name]})}


if __name__ == "__main__":
    parser = arguments(__doc__, seeds=[0, 1, 2, 3, 4], methods=METHODS, threads=1)
    add: Any = parser.add_argument
    add("--joints", type=int, default=200)
    add("--cells", type=int, default=50, help="for each measure of the arm")
    add("--evaluations", type=int, default=20_000)
    add("--batch", type=int, default=100)
    add("--latent-dim", type=int, default=10, help="arm")
    add("--first", type=int, default=1000, help="arm: evaluations before a model is fitted")
    add("--refit", type=int, default=2000, help="arm: evaluations between fits")
    add("--epochs", type=int, default=100, help="arm")
    add("--rows", type=int, default=10_000, help="digits: pictures for each of three models")
    add("--latent-dim-digits", type=int, default=16)
    add("--epochs-vae", type=int, default=30)
    add("--cells-digits", type=int, default=50)
    toy = {
        "evaluations": 60, "cells": 10, "batch": 20, "first": 40, "refit": 20, "epochs": 1, "joints": 8, "rows": 200, "epochs_vae": 1,
        "latent_dim_digits": 2, "cells_digits": 5, "latent_dim": 2,
    }  # fmt: skip
    run(parser, {"arm": arm, "digits": digits}, seeds=[0], **toy)
