"""Evolution of gaits: how many ways to walk a search finds, and whether one of them still works when a leg fails.
Writes tables to benchmarks/results/.

    python benchmarks/evolution_robots.py gaits
    python benchmarks/evolution_robots.py gaits --walker Hopper-v5 --frequency 2
    python benchmarks/evolution_robots.py damage --walker Ant-v5 --controller angles --frequency 2 --cells 6 --seeds 2 3 4 5 6

A genome is the amplitude, phase and offset of a wave for each joint (`vaekit.robots.gaits`); the objective is the speed forwards in
metres a second, and the measures are the shares of the time that the feet are on the ground. See `searches.py` for how methods are compared.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from harness import Rows, arguments, averages, given, run, spread
from searches import ISO, LINE, METHODS, Watch, map_elites
from vaekit.evolution.adapt import adapt
from vaekit.robots.gaits import WALKERS, Gaits


def gaits(options: argparse.Namespace) -> Rows:
    """Gaits of {walker}: coverage, QD score and the fastest, after a tenth of {evaluations} evaluations and after all

    Controller: open loop of {controller} at {frequency} Hz, episodes of {steps} steps, grid of {cells} x {cells} cells. QD score: the
    speeds of all elites that walk forwards, added up, in m/s. PCA and the VAE ({latent_dim} units) begin after {first} evaluations of
    MAP-Elites and are fitted anew every {refit}. Mean ± deviation over seeds."""
    options.suffix = options.suffix or f"-{options.walker}"
    checkpoints = [options.evaluations // 10, options.evaluations]
    names = ("coverage", "qd", "best")

    def measure(method: str, seed: int) -> dict[str, float]:
        body = Gaits(options.walker, options.steps, options.controller, options.frequency)
        watch = Watch(body, options.evaluations, options.cells)
        METHODS[method](watch, options, seed, options.evaluations)
        return {f"{name} {n}": value for n in checkpoints for name, value in zip(names, watch.after(n), strict=True)}

    about = given(options, "walker", "steps", "controller", "frequency", "evaluations", "cells", "batch")
    model = given(options, "latent_dim", "first", "refit", "epochs")
    for method in options.methods:
        key = {"method": method, **about, **(model if "latent" in method or "mixed" in method else {})}
        runs = [options.cell({**key, "seed": seed}, measure, method, seed) for seed in options.seeds]
        digits = {"coverage": 3, "qd": 1, "best": 2}
        columns = {f"{name}, {n:,}": (f"{name} {n}", digits[name]) for n in checkpoints for name in names}
        yield {"method": method, **averages(runs, columns)}


# -- damage ------------------------------------------------------------------------------------------------------------

AFTER = {
    "the best gait, unchanged": "unchanged",
    "adapt": "adapt",
    "trials": "used",
    "adapt, all trials": "adapt_all",
    "adapt as published": "published",
    "the best entries in turn": "ranked",
    "entries at random": "random",
    "variations of the best gait": "variations",
    "genomes at random": "fresh",
    "best of all entries": "all",
}


def damage(options: argparse.Namespace) -> Rows:
    """{walker} walks again: speed after damage within {trials} trials, as a share of the fastest undamaged gait

    A repertoire of {evaluations} evaluations of MAP-Elites ({cells} cells for each foot), open loop of {controller} at {frequency} Hz,
    episodes of {steps} steps. Then a part fails, and gaits are tried on the damaged robot. "adapt" is vaekit.evolution.adapt: it stops
    by itself, and "all trials" goes on. "As published" has the length 0.4 on the whole range of the measures, and the scale 1 m/s (Cully
    et al. 2015). "Variations" are iso-line variations of the best gait, "genomes at random" begin anew; "best of all entries" tries the
    whole repertoire. Mean ± deviation over seeds; "70 %": how many of the seeds "adapt, all trials" brings to that share.

    The length 0.2 of adapt was chosen on repertoires of 1,500 evaluations and 150 steps, of the seeds 0 and 1, with dead legs of Ant-v5."""
    options.suffix = options.suffix or f"-{options.walker}"
    parts = options.parts or list(WALKERS[options.walker].legs)

    def measure(seed: int) -> dict[str, Any]:
        def body(*broken: str) -> Gaits:
            return Gaits(options.walker, options.steps, options.controller, options.frequency, damage=broken)

        watch = Watch(body(), options.evaluations, options.cells)
        map_elites(watch, options, seed, options.evaluations)
        genomes, speed, measures = watch.archive.data(["solution", "objective", "measures"], return_type="tuple")
        best, rng = genomes[speed.argmax()], np.random.default_rng(seed)
        found: dict[str, Any] = {"entries": len(speed), "speed": speed.max()}
        for part in parts:
            now = body(part).score(genomes)  # each trial is one of these episodes: they do not depend on the order
            robot, n = body(part), options.trials
            stopped = adapt(speed, measures, now.__getitem__, trials=n)
            all_trials = adapt(speed, measures, now.__getitem__, trials=n, alpha=np.inf)
            published = adapt(speed, measures, now.__getitem__, trials=n, rho=0.4, scale=1.0, ranges=watch.task.ranges)
            lines = LINE * rng.standard_normal((n, 1)) * (genomes[rng.integers(len(genomes), size=n)] - best)
            varied = np.clip(best + ISO * rng.standard_normal((n, len(best))) + lines, 0, 1)
            found[part] = {
                "unchanged": now[speed.argmax()],
                "adapt": stopped.value,
                "used": len(stopped.tried),
                "adapt_all": all_trials.value,
                "published": published.value,
                "ranked": np.nanmax(now[np.argsort(-speed)[:n]]),
                "random": np.nanmax(now[rng.permutation(len(now))[:n]]),
                "variations": np.nanmax(robot.score(varied)),
                "fresh": np.nanmax(robot.score(rng.random((n, len(best))))),
                "all": np.nanmax(now),
            }
        return found

    about = given(
        options, "walker", "steps", "controller", "frequency", "evaluations", "cells", "batch", "trials", "parts"
    )
    runs = [options.cell({**about, "seed": seed}, measure, seed) for seed in options.seeds]
    entries, speeds = [run["entries"] for run in runs], [run["speed"] for run in runs]
    yield f"Entries: {spread(entries, 0)}; fastest undamaged: {spread(speeds, 2)} m/s."

    def row(name: str, cases: list[tuple[dict[str, float], float]]) -> dict[str, Any]:
        shares = {
            title: spread(
                [case[key] / (1 if key == "used" else whole) for case, whole in cases], 1 if key == "used" else 2
            )
            for title, key in AFTER.items()
        }
        walks = sum(case["adapt_all"] >= 0.7 * whole for case, whole in cases)
        return {"what failed": name, **shares, "70 %": f"{walks} of {len(cases)}"}

    for part in parts:
        yield row(part, [(run[part], run["speed"]) for run in runs])
    yield row("any", [(run[part], run["speed"]) for part in parts for run in runs])


if __name__ == "__main__":
    parser = arguments(__doc__, seeds=[0, 1, 2, 3, 4], methods=METHODS, threads=1)
    parser.add_argument("--walker", choices=list(WALKERS), default="HalfCheetah-v5")
    parser.add_argument("--controller", choices=["angles", "torques", "network"], default="torques")
    parser.add_argument("--frequency", type=float, default=3.0, help="hertz")
    parser.add_argument("--cells", type=int, default=50, help="for each measure")
    parser.add_argument("--evaluations", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--latent-dim", type=int, default=8)
    parser.add_argument("--first", type=int, default=1000, help="evaluations before a model is fitted")
    parser.add_argument("--refit", type=int, default=2000, help="evaluations between fits")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument(
        "--parts", nargs="+", help="what fails, one after the other, such as 'ankle_1 locked'; default: each leg"
    )
    toy = {"evaluations": 60, "cells": 10, "steps": 20, "batch": 20, "first": 40, "refit": 20, "epochs": 1, "trials": 3}
    run(parser, {"gaits": gaits, "damage": damage}, seeds=[0], **toy)
