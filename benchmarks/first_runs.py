"""How long a first run takes, how much memory, and how many rows are enough: the sets of `vaekit data`, by the command that it names.

    python benchmarks/first_runs.py sets

Each fit is a process of its own. A fifth of the rows is kept for the end and never trained on: every run of a set is judged on the same
rows, whatever number of rows it learned from. Of the others every row, every second or every fourth is trained on. Of a series the last
fifth of the time is kept, and the rest, its later half, or its last quarter is trained on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import Rows, arguments, given, is_toy, run
from vaekit.bundled import BUNDLED, write

KEPT, TRAINED = "[4::5]", {1: "[0::5]", 2: "[0::5,2::5]", 4: "[!4::5]"}  # by how many fifths of the rows are trained on
LAST, EARLIER = "[8256:]", {1: "[6192:8256]", 2: "[4128:8256]", 4: "[:8256]"}  # of a series
TOY = ["--epochs", "1", "--latent-dim", "2"]


def sets(options: argparse.Namespace) -> Rows:
    """How long, how much memory, and how many rows are enough

    The commands that `vaekit data` names, with `--size small` and `--size base`, on {threads} thread. Seconds are seconds of the
    processor, from the start of the program to the end of its evaluation: other programs kept the machine busy, so a clock would have
    shown several times as many. Memory is the largest resident set. The ELBO is in nats per row, or per window of a series, on rows
    that no run has seen. They are the same rows for every run of a set: compare numbers within one set, and a higher one is better.

    More rows are worth having while the held-out ELBO rises with them."""
    for size in options.methods:
        for name in options.data:
            for fifths in options.fifths:
                for seed in options.seeds:
                    key = {"set": name, "size": size, "fifths": fifths, "seed": seed, **given(options, "threads")}
                    found = options.cell(key, measure, name, size, fifths, seed, options.threads)
                    yield {
                        "set": name, "size": size, "rows": f"{BUNDLED[name].rows * fifths // 5:,}",
                        "seconds": f"{found['seconds']:,.0f}", "memory, MB": f"{found['memory']:,.0f}",
                        "held-out ELBO": f"{found['elbo']:,.2f}", "active units": found["active_units"],
                    }  # fmt: skip


def measure(name: str, size: str, fifths: int, seed: int, threads: int) -> dict[str, float]:
    """Train on some fifths of a set, and judge the run on the fifth that is kept."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = write(name, Path(folder) / BUNDLED[name].target), Path(folder) / "run"
        rows, kept = (EARLIER[fifths], LAST) if name == "taxi" else (TRAINED[fifths], KEPT)
        _, _, path, *options = BUNDLED[name].next(source).split()
        options += ["--size", size, *(TOY if is_toy() else []), "--seed", str(seed), "--no-report"]
        seconds, memory, _ = used(threads, "fit", path + rows, *options, "--out", str(out))
        _, _, said = used(threads, "evaluate", str(out), path + kept, "--no-comparison", "--k", "10", "--json")
    return {"seconds": seconds, "memory": memory, **{key: json.loads(said)[key] for key in ("elbo", "active_units")}}


def used(threads: int, *words: str) -> tuple[float, float, str]:
    """Run vaekit. Return the seconds that the processor worked for it, its largest resident set in MB, and what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([sys.executable, "-m", "vaekit", *words], stdout=out, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError(f"vaekit {' '.join(words)} failed")
        out.seek(0)
        return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000, out.read()


if __name__ == "__main__":
    parser = arguments(__doc__, seeds=[0], data=BUNDLED, methods=["small", "base"], threads=1)
    parser.add_argument("--fifths", nargs="+", type=int, choices=TRAINED, default=list(TRAINED), help="to train on")
    run(parser, {"sets": sets}, data=["people"], methods=["small"], fifths=[1])
