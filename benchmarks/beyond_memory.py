"""Training on, and scoring, what does not fit into memory: pictures in shards, a long table, and demonstrations in videos.

    python benchmarks/beyond_memory.py pictures
    python benchmarks/beyond_memory.py table
    python benchmarks/beyond_memory.py cameras

Every measurement is a command line of vaekit in a process of its own. Where this machine allows control groups to be made (as root on
Linux), the process runs in one that has no more memory than is said: if it needed more, it would be killed.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness import Rows, arguments, run, take_turns
from vaekit.settings.parse import parse_bytes

FIT = ["--size", "small", "--latent-dim", 8, "--epochs", 1, "--sampler", "prior", "--no-report", "--device", "cpu"]
ALL = "1000GiB"  # as much memory as holds everything
LIMITS = {"pictures": "1.2GiB", "table": "1.6GiB", "cameras": "4GiB"}
CGROUPS = {"memory": "memory.limit_in_bytes", "": "memory.max"}  # of version 1 and of version 2, below /sys/fs/cgroup


# -- a process and its memory ------------------------------------------------------------------------------------------


@contextmanager
def limited(limit: int | None) -> Iterator[Path | None]:
    """The file that a process writes its number to, to have no more memory than this; None where there is no limit."""
    folder = None
    for place, name in CGROUPS.items() if limit else ():
        try:
            folder = Path("/sys/fs/cgroup", place, f"vaekit-{os.getpid()}")
            folder.mkdir()
            (folder / name).write_text(str(limit))
            break
        except OSError:
            folder = None
    try:
        yield folder and folder / "cgroup.procs"
    finally:
        if folder:
            folder.rmdir()


def measured(options: argparse.Namespace, *words: Any, limit: int | None = None) -> dict[str, Any]:
    """Run a command line of vaekit: its seconds, the most memory that it held, and whether the limit was enforced."""
    return watched(options, [sys.executable, "-m", "vaekit", *map(str, words)], limit)


def watched(options: argparse.Namespace, command: list[str], limit: int | None = None) -> dict[str, Any]:
    peak, begin = 0, time.monotonic()
    with limited(limit) as group, tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=said, env={**os.environ, "OMP_NUM_THREADS": str(options.threads)},
            preexec_fn=lambda: group and group.write_text(str(os.getpid())),
        )  # fmt: skip
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            if found := re.search(r"VmHWM:\s+(\d+)", status.read_text()):  # the peak so far
                peak = int(found[1]) * 1024
            time.sleep(0.05)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)[:200]} ... ended with {process.returncode}:\n{said.read()}")
    return {"seconds": time.monotonic() - begin, "peak": peak, "limited": group is not None}


def fitted(
    options: argparse.Namespace, source: Any, *words: Any, batch: int, limit: int | None = None
) -> dict[str, Any]:
    """The same of a training, with its training rows a second."""
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        out = Path(folder) / "run"
        found = measured(options, "fit", *source, "--out", out, "--batch-size", batch, *FIT, *words, limit=limit)
        with (out / "metrics.csv").open() as file:
            (row,) = csv.DictReader(file)
    return {**found, "rate": int(row["step"]) * batch / float(row["seconds"])}


def compared(
    names: tuple[str, str], found: dict[str, list[dict[str, Any]]], about: dict[str, str], limit: int | None
) -> Rows:
    """A row for each of two ways, the first in memory."""
    whole, part = (found[name] for name in names)
    ratio = statistics.median(b["rate"] / a["rate"] for a, b in zip(whole, part, strict=True))
    for name, share in zip(names, ("", f"{ratio:.2f}"), strict=True):
        yield {
            "": name, "what": about[name], "rows/s": f"{statistics.median(run['rate'] for run in found[name]):,.0f}",
            "rounds": " ".join(f"{run['rate']:,.0f}" for run in found[name]),
            "peak memory, MB": f"{max(run['peak'] for run in found[name]) / 1e6:,.0f}",
            "limit, MB": f"{limit / 1e6:,.0f}" if limit and share else "", "of the speed in memory": share,
        }  # fmt: skip
    if limit and not all(run["limited"] for run in part):
        yield "No control group could be made here: the limit was not enforced, and the peak says whether it was kept."


# -- tables ------------------------------------------------------------------------------------------------------------


def pictures(options: argparse.Namespace) -> Rows:
    """Pictures, {times:g} times as large as the memory that the process may have

    Shards of 32 x 32 x 3 pictures, made up, packed by `vaekit pack`; one epoch in a process that has no more than {limit}, of which
    rows take {memory}, beside one in memory, of as many pictures as --most allows. Multi-layer perceptrons, batch 512. Rows a second of
    training: median over the rounds, and each round. Peak memory is the process's own, as Linux counts it."""
    limit = parse_bytes(options.limit)
    rows = int(options.times * limit / (32 * 32 * 3))
    some = min(rows, options.most)
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        file, few, shards = (Path(folder) / name for name in ("all.npy", "some.npy", "shards"))
        make_pictures(file, rows)
        make_pictures(few, some)
        packing = measured(options, "pack", file, "-o", shards)
        file.unlink()
        yield f"Packing took {packing['seconds']:,.0f} s and {packing['peak'] / 1e6:,.0f} MB for {rows:,} pictures."
        fit = partial(fitted, options, batch=512)
        networks = ("--network", "mlp")
        found = take_turns(
            {
                "in memory": partial(fit, [few], *networks, "--memory", ALL),
                "shards": partial(fit, [shards], *networks, "--memory", options.memory, limit=limit),
            },
            options.rounds,
        )
    about = {"in memory": f"{some:,} pictures", "shards": f"{rows:,} pictures"}
    yield from compared(("in memory", "shards"), found, about, limit)


def make_pictures(path: Path, rows: int) -> None:
    """Soft blobs of colour with noise, a few at a time."""
    rng, out = np.random.default_rng(0), np.lib.format.open_memmap(path, "w+", np.uint8, (rows, 32, 32, 3))
    blobs = np.kron(rng.integers(0, 200, (256, 4, 4, 3)), np.ones((1, 8, 8, 1))).astype(np.uint8)
    for start in range(0, rows, 8192):
        here = out[start : start + 8192]
        here[:] = blobs[rng.integers(0, 256, len(here))] + rng.integers(0, 56, here.shape, dtype=np.uint8)


def table(options: argparse.Namespace) -> Rows:
    """A Parquet file of {rows:,} rows and 10 columns

    Numbers, made up; one epoch (batch 4096) and a score for each row (one sample), by a process that has no more than {limit}, of which
    rows take {memory}, beside the same in memory. Rows a second: of training; of scores with start-up. Median over the rounds, and each
    round. Peak memory is the process's own, as Linux counts it."""
    limit = parse_bytes(options.limit)
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        source, model = Path(folder) / "rows.parquet", Path(folder) / "model"
        make_table(source, options.rows)
        fit = partial(fitted, options, [source], batch=4096)
        found = take_turns(
            {
                "in memory": partial(fit, "--memory", ALL),
                "from the file": partial(fit, "--memory", options.memory, limit=limit),
            },
            options.rounds,
        )
        about = dict.fromkeys(found, "one epoch")
        yield from compared(("in memory", "from the file"), found, about, limit)
        measured(options, "fit", f"{source}[0:10000]", "--out", model, *FIT)
        some = Path(folder) / "some.parquet"
        make_table(some, options.scored)
        score = partial(scored, options, model, some, Path(folder) / "scores.parquet")
        found = take_turns(
            {"in memory": partial(score, ALL), "from the file": partial(score, options.memory, limit)}, options.rounds
        )
        about = dict.fromkeys(found, f"{options.scored:,} scores")
        yield from compared(("in memory", "from the file"), found, about, limit)


def scored(
    options: argparse.Namespace, model: Path, source: Path, out: Path, memory: str, limit: int | None = None
) -> dict[str, Any]:
    """Scores of all rows. In memory is `vaekit.read` and `score_samples`; from the file it is the command line, which reads in pieces."""
    out.unlink(missing_ok=True)
    if limit:
        found = measured(options, "score", model, source, "-o", out, "--score", "loglik", "--k", 1, limit=limit)
        return {**found, "rate": options.scored / found["seconds"]}
    code = (
        "import sys, pandas, numpy, vaekit; model = vaekit.load(sys.argv[1])\n"
        "numpy.save(sys.argv[3], model.score_samples(pandas.read_parquet(sys.argv[2]), k=1))"
    )
    found = watched(options, [sys.executable, "-c", code, str(model), str(source), f"{out}.npy"])
    return {**found, "rate": options.scored / found["seconds"]}


def make_table(path: Path, rows: int) -> None:
    """Ten columns that depend on each other."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, mix = np.random.default_rng(0), np.random.default_rng(1).normal(size=(10, 10))
    names = [f"x{i}" for i in range(10)]
    with pq.ParquetWriter(path, pa.schema([(name, pa.float64()) for name in names])) as writer:
        for start in range(0, rows, 1 << 16):
            values = np.tanh(rng.normal(size=(min(1 << 16, rows - start), 10)) @ mix)
            writer.write_table(pa.table(dict(zip(names, values.T, strict=True))))


def cameras(options: argparse.Namespace) -> Rows:
    """{episodes} episodes of {frames} frames by 2 cameras, each {height} pixels high

    A LeRobot dataset in .mp4, made up, of {distinct} episodes that are repeated. A policy (ACT, small, batch {batch}) is trained for {minutes}
    minutes in a process that has no more than {limit}, of which pictures take {memory}. Frames a second of training."""
    limit = parse_bytes(options.limit)
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        sources = [Path(folder) / str(i) for i in range(options.distinct)]
        for seed, source in enumerate(sources):
            make_episode(source, options.frames, options.height, seed)
        size = sum(path.stat().st_size for source in sources for path in source.rglob("*.mp4")) / options.distinct
        joined = [sources[i % options.distinct] for i in range(options.episodes)]
        out = Path(folder) / "run"
        words = [
            "--kind",
            "actions",
            "--chunk-size",
            20,
            "--size",
            "small",
            "--batch-size",
            options.batch,
            "--no-report",
        ]
        words += ["--minutes", options.minutes, "--memory", options.memory, "--device", "cpu"]
        words += ["--validation", 0.01]  # whose frames are decoded, too
        found = measured(options, "fit", *joined, "--out", out, *words, limit=limit)
        with (out / "metrics.csv").open() as file:
            *_, row = csv.DictReader(file)
    frames = options.episodes * options.frames
    yield {
        "frames": f"{frames:,} x 2", "as pictures, GB": f"{frames * 2 * options.height**2 * 4 / 1e9:,.1f}",
        "as .mp4, GB": f"{size * options.episodes / 1e9:,.2f}", "steps": row["step"],
        "frames/s": f"{int(row['step']) * options.batch / float(row['seconds']):.1f}", "seconds before training": f"{found['seconds'] - float(row['seconds']):.0f}",
        "peak memory, MB": f"{found['peak'] / 1e6:,.0f}", "limit, MB": f"{limit / 1e6:,.0f}",
    }  # fmt: skip
    if not found["limited"]:
        yield "No control group could be made here: the limit was not enforced, and the peak says whether it was kept."


def make_episode(folder: Path, frames: int, height: int, seed: int) -> None:
    """A square that the actions move over a background. Pictures are a third wider than they are high."""
    from vaekit.robots.datasets import write_demonstrations
    from vaekit.robots.demonstrations import Demonstrations

    rng, tile = np.random.default_rng(seed), height // 12
    at = np.cumsum(rng.normal(0, 4, (frames, 2)), 0) % [11 * tile, 15 * tile]
    ground = np.kron(rng.integers(0, 200, (12, 16, 3)), np.ones((tile, tile, 1))).astype(np.uint8)
    seen = np.repeat(ground[None], frames, 0)
    for picture, (y, x) in zip(seen, at.astype(int), strict=True):
        picture[y : y + tile, x : x + tile] = 255
    observations = {"state": at / 100, "images.left": seen, "images.right": seen[:, :, ::-1]}
    write_demonstrations(
        Demonstrations(np.diff(at, axis=0, append=at[-1:]), observations, np.array([frames]), fps=30.0), folder
    )


if __name__ == "__main__":
    parser = arguments(__doc__, threads=2)
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()), help="where the made-up data lie meanwhile"
    )
    parser.add_argument("--limit", help="all the memory of the process (default: 1.2GiB, table: 1.6GiB, cameras: 4GiB)")
    parser.add_argument("--memory", help="what rows may take of it (default: 200MiB, cameras: 1GiB)")
    parser.add_argument("--times", type=float, default=10, help="pictures: how often the limit goes into the shards")
    parser.add_argument(
        "--most", type=int, default=500_000, help="pictures: how many are held in memory for comparison"
    )
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the table")
    parser.add_argument("--scored", type=int, default=10_000_000, help="table: rows that are scored")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--height", type=int, default=480, help="cameras: of the pictures")
    parser.add_argument(
        "--batch", type=int, default=4, help="cameras: frames of a step, whose activations take most of the memory"
    )
    parser.add_argument("--distinct", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=3.0, help="cameras: of training")
    parser.add_argument("--rounds", type=int, default=3)
    limit = next((size for name, size in LIMITS.items() if name in sys.argv), LIMITS["pictures"])
    parser.set_defaults(limit=limit, memory="1GiB" if "cameras" in sys.argv else "200MiB")
    toy = {
        "limit": "8GiB",
        "height": 48,
        "rows": 20_000,
        "scored": 20_000,
        "most": 2000,
        "episodes": 2,
        "frames": 24,
        "distinct": 1,
        "minutes": 0.01,
        "rounds": 1,
    }
    run(parser, {"pictures": pictures, "table": table, "cameras": cameras}, times=0.0004, **toy)
