"""Scores of many rows: our own workers beside Ray Data and Spark, with the same exported model.

    python benchmarks/many_scores.py engines

Every engine is a process of its own that starts, reads Parquet files, scores and writes Parquet files. The engines take turns, round by
round.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import vaekit
from harness import Rows, arguments, is_toy, run, take_turns
from vaekit.deploy.export import export
from vaekit.distributed.work import Work

RAY = """
import sys, time, ray
from vaekit.distributed.ray import use
start = time.perf_counter()
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
print("began", time.perf_counter() - start)
use(ray.data.read_parquet(sys.argv[2]), sys.argv[1], actors=2).write_parquet(sys.argv[3])
"""
SPARK = """
import sys, time
from pyspark.sql import SparkSession
from vaekit.distributed.spark import use
start = time.perf_counter()
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
print("began", time.perf_counter() - start)
use(spark.read.parquet(sys.argv[2]), sys.argv[1]).write.parquet(sys.argv[3])
"""
ENGINES: dict[str, dict[str, Any]] = {
    "workers-1": {"title": "our workers, 1"},
    "workers-2": {"title": "our workers, 2"},
    "ray": {"title": "Ray Data, 2 actors", "code": RAY, "needs": "ray"},
    "spark": {"title": "Spark, local[2]", "code": SPARK, "needs": "pyspark"},
}
COLUMNS, FILES = 10, 8


def engines(options: argparse.Namespace) -> Rows:
    """Scores of {rows} x 10 numbers by {k} importance samples

    Seconds of the whole process, its start included: median over the rounds, and each round. start: the seconds of these until the engine itself
    was ready. above our own: beside two of our own workers, in the same round, median over the rounds. equal: rows whose score is, to the
    last bit, that of one call in one process."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        scores = prepared(options, place)
        chosen = [name for name in options.methods if find_spec(ENGINES[name].get("needs", "vaekit"))]
        found = take_turns({name: partial(measure, name, place, scores) for name in chosen}, options.rounds)
    for name, runs in found.items():
        seconds = [one["seconds"] for one in runs]
        own = [one["seconds"] for one in found.get("workers-2", [])]
        above = [a / b - 1 for a, b in zip(seconds, own, strict=False)]
        yield {
            "engine": ENGINES[name]["title"], "seconds": f"{median(seconds):.1f}", "rounds": " ".join(f"{s:.1f}" for s in seconds),
            "start": f"{median(one['start'] for one in runs):.1f}" if "code" in ENGINES[name] else "",
            "rows/s": f"{options.rows / median(seconds):,.0f}", "above our own": f"{median(above):+.0%}" if above else "",
            "equal": f"{min(one['equal'] for one in runs):,} of {options.rows:,}",
        }  # fmt: skip


def prepared(options: argparse.Namespace, place: Path) -> np.ndarray:
    """Write a model and rows. Returns the scores of these in one process."""
    random = np.random.default_rng(0)
    X = random.normal(size=(options.rows, COLUMNS)).cumsum(1)
    table = pa.table({"id": np.arange(len(X)), **{f"c{i}": values for i, values in enumerate(X.T)}})
    (place / "rows").mkdir()
    for i, some in enumerate(np.array_split(np.arange(len(X)), FILES)):
        pq.write_table(table.slice(some[0], len(some)), place / "rows" / f"{i}.parquet")
    model = vaekit.VAE(8, size="small", epochs=1, sampler="prior").fit(table.drop_columns(["id"]).slice(0, 5000))
    export(model, place / "model", k=options.k, only=("score",))
    return Work(place / "model")(table)["score"].to_numpy()


def measure(name: str, place: Path, scores: np.ndarray) -> dict[str, float]:
    """Seconds of an engine, and how many scores are equal."""
    out, engine = place / "scores", ENGINES[name]
    shutil.rmtree(out, ignore_errors=True)
    files = [str(place / "model"), str(place / "rows"), str(out)]
    if "code" in engine:
        command = ["-c", engine["code"], *files]
    else:
        command = ["-m", "vaekit", "score", *files[:2], "-o", files[2], "--workers", name[-1]]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command], check=True, capture_output=True, text=True,
        env={**os.environ, "PYSPARK_PYTHON": sys.executable},
    )  # fmt: skip
    seconds = time.perf_counter() - began
    found = pq.read_table(out)
    found = found.sort_by("id" if "id" in found.column_names else "row")["score"].to_numpy()
    start = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("began ")]
    return {"seconds": seconds, "start": sum(start), "equal": int((found == scores).sum())}


if __name__ == "__main__":
    parser = arguments(__doc__ or "", methods=["workers-1", "workers-2"] if is_toy() else ENGINES, threads=1)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--k", type=int, default=8, help="importance samples of a row")
    parser.add_argument("--rounds", type=int, default=3)
    run(parser, {"engines": engines}, rows=5000, rounds=1)
