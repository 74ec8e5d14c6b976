"""One process against several that train together under torchrun, each with one thread and a core of its own.

    python benchmarks/two_processes.py rates

Rows of 10 numbers, made up. The batch is the same: each process learns from its share of it, and all of them wait for each other at
every step. So what a step costs beside its networks, and what the processes have to tell each other, decides how much it helps.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import numpy as np

from harness import Rows, arguments, run, take_turns
from speed import CORES, Others, result_of, wait_for_quiet

SETUPS = {"small": (256, 512), "wide": (1024, 512), "large batch": (256, 8192), "wide, large batch": (1024, 8192)}


def rates(options: argparse.Namespace) -> Rows:
    """One process against {processes}, each with one thread

    Training samples a second on the CPU: median over the rounds, and each round. Two hidden layers of the given width, a batch of the
    given size over all processes together. The processes of a round follow each other at once, and the last column is the median of
    the rounds' ratios."""
    candidates: dict[tuple[str, int], Callable[[], dict[str, float]]] = {
        (setup, n): partial(measure, options, setup, n) for setup in options.methods for n in (1, options.processes)
    }
    found = take_turns(candidates, options.rounds)
    for setup in options.methods:
        one, many = ([run["rate"] for run in found[setup, n]] for n in (1, options.processes))
        width, batch = SETUPS[setup]
        yield {
            "width": f"{width:,}", "batch": f"{batch:,}",
            "one process, samples/s": f"{statistics.median(one):,.0f}", "rounds": each(one),
            f"{options.processes} processes, samples/s": f"{statistics.median(many):,.0f}", "their rounds": each(many),
            "times as fast": f"{statistics.median(b / a for a, b in zip(one, many, strict=True)):.2f}",
        }  # fmt: skip
    others = [run["others"] for runs in found.values() for run in runs]
    yield f"Other programs took {np.median(others):.0%} of the machine's time in the median measurement, and {max(others):.0%} at most."


def each(rates: list[float]) -> str:
    return " ".join(f"{rate:,.0f}" for rate in rates)


def measure(options: argparse.Namespace, setup: str, processes: int) -> dict[str, float]:
    """Samples a second, and the share of the machine's time that went to other programs meanwhile."""
    wait_for_quiet()
    others = Others()
    width, batch = SETUPS[setup]
    job = {
        "script": "vaekit_scaling",
        "rows": max(2_000, 8 * batch),
        "width": width,
        "batch": batch,
        "processes": processes,
    }
    got = result_of({**job, "minutes": options.seconds / 60, "device": "cpu"}, 1)
    return {"rate": got["rows"] / got["seconds"], "others": others.share()}


if __name__ == "__main__":
    parser = arguments(__doc__, methods=SETUPS, threads=1)
    parser.add_argument("--processes", type=int, default=len(CORES), help="as many as there are cores")
    parser.add_argument("--seconds", type=float, default=20.0, help="of training in each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    run(parser, {"rates": rates}, methods=["small"], seconds=1.5, rounds=1)
