"""How fast sources are read, beside the library that decodes them alone; the memory that it takes, and what a person sees.

    python benchmarks/reading.py sources

Every measurement is a process of its own, whose messages go to a terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import csv, parquet

from harness import Rows, arguments, run, take_turns
from vaekit.robots.datasets import write_demonstrations
from vaekit.robots.demonstrations import Demonstrations

HERE = Path(__file__).parent


def sources(options: argparse.Namespace) -> Rows:
    """Reading

    Rows, pictures or frames a second: median over {rounds} rounds. The floor is the decoder of the same files without any of vaekit's
    rules: Pillow in one thread; Arrow's own reader with its own guesses; FFmpeg in one thread and HDF5, which keep nothing. Cores are
    those at work on average. Peak is the most memory in MB, the data in it, beyond what the process had before. The first
    sign of progress, and the longest time without one, are seconds on a terminal."""
    with tempfile.TemporaryDirectory() as folder:
        for name in options.data:
            title, make, floor = SOURCES[name]
            path = Path(folder) / name
            rows = make(path, options)
            work = {"path": str(path), "robots": floor in ("lerobot", "hdf5"), "torch": False}
            turns = {kind: partial(measure, {**work, "floor": kind}) for kind in ("", floor)}
            found = take_turns(turns, options.rounds)
            ours, theirs = found[""], found[floor]

            def middle(runs: list[dict[str, float]], what: str) -> float:
                return statistics.median(run[what] for run in runs)

            yield {
                "source": title.format(rows=f"{rows:,}", episodes=options.episodes),
                "rows/s": f"{rows / middle(ours, 'seconds'):,.0f}",
                "floor": f"{rows / middle(theirs, 'seconds'):,.0f}",
                "seconds, each round": " ".join(f"{run['seconds']:.1f}" for run in ours),
                "cores": f"{middle(ours, 'cores'):.1f}",
                "peak": f"{middle(ours, 'peak'):,.0f}",
                "floor's peak": f"{middle(theirs, 'peak'):,.0f}",
                "first sign": f"{middle(ours, 'first'):.1f}",
                "longest silence": f"{middle(ours, 'silence'):.1f}",
            }


def measure(job: dict[str, Any]) -> dict[str, float]:
    """Read a source in a process whose messages go to a terminal, and watch when they come."""
    ours, terminal = pty.openpty()
    reader = subprocess.Popen(
        [sys.executable, str(HERE / "peers" / "read.py"), json.dumps(job)],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(terminal)
    signs = []
    while select.select([ours], [], [], 0.05)[0] or reader.poll() is None:
        try:
            if select.select([ours], [], [], 0.05)[0] and os.read(ours, 1 << 16):
                signs.append(time.time())
        except OSError:  # the reader has closed its side
            break
    assert reader.stdout is not None
    lines = reader.stdout.read().decode().splitlines()
    if reader.wait():
        raise SystemExit(f"{job} could not be read")
    os.close(ours)
    found = json.loads(lines[-1].removeprefix("RESULT "))
    seconds = found["ended"] - found["began"]
    marks = [found["began"], *(sign for sign in signs if found["began"] < sign < found["ended"]), found["ended"]]
    gaps = np.diff(marks).tolist()
    return {
        "seconds": seconds, "cores": found["busy"] / seconds, "peak": found["peak"], "first": gaps[0], "silence": max(gaps)
    }  # fmt: skip


# -- sources: each is written to `path`, and its rows are counted ------------------------------------------------------


def smooth(count: int, side: int) -> np.ndarray:
    """Pictures (count, side, side, 3) with gradients, as photographs have them."""
    small = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(s).resize((side, side), Image.Resampling.BICUBIC)) for s in small])


def pictures(path: Path, options: argparse.Namespace, share: int, side: int, ending: str) -> int:
    """A folder of pictures that differ."""
    path.mkdir()
    rows, some = options.pictures // share, smooth(50, side)
    for i in range(rows):
        Image.fromarray(np.roll(some[i % 50], i // 50, axis=1)).save(path / f"{i:06d}.{ending}")
    return rows


def columns(options: argparse.Namespace) -> dict[str, pa.Array]:
    """Numbers, words, booleans, days and times; every thirtieth cell of some of them is empty."""
    random, n = np.random.default_rng(0), options.rows
    gaps = random.random(n) < 1 / 30
    seconds = random.integers(1_500_000_000, 1_700_000_000, n)
    return {
        "count": pa.array(random.integers(0, 90, n), mask=gaps),
        "number": pa.array(random.integers(0, 1 << 30, n)),
        "x": pa.array(random.normal(size=n)),
        "y": pa.array(random.normal(size=n).round(4), mask=gaps),
        "income": pa.array(random.lognormal(10, 1, n).round(2)),
        "city": pa.array(random.choice(["Berlin", "Lagos", "São Paulo", "Tōkyō"], n), mask=gaps),
        "grade": pa.array(random.choice([*"ABCDE"], n)),
        "active": pa.array(random.random(n) < 0.4),
        "day": pa.array(seconds // 86_400, pa.int32(), mask=gaps).cast(pa.date32()),
        "seen": pa.array(seconds, pa.timestamp("s")),
    }


def plain(path: Path, options: argparse.Namespace) -> int:
    csv.write_csv(pa.table(columns(options)), path.with_suffix(".csv"))
    path.with_suffix(".csv").rename(path)
    return options.rows


def semicolons(path: Path, options: argparse.Namespace) -> int:
    """As people write: a decimal comma, a currency, per cent, days before months, codes, words for a gap."""
    lines = (
        f"{i % 100_000},{i % 100:02d} €;{1 + i % 28:02d}.{1 + i % 12:02d}.{2000 + i % 24};{i % 100}%;{i % 1000:05d};"
        f"{'n/a' if i % 50 == 0 else 'ok'};{i * 7 % 1000};{'-' if i % 97 == 0 else i % 13};{i / 7:.6f};k{i % 7};{i % 2}\n"
        for i in range(options.rows)
    )
    with path.open("w", encoding="utf-8") as file:
        file.write("price;day;share;code;note;count;few;x;kind;flag\n")
        file.writelines(lines)
    return options.rows


def columnar(path: Path, options: argparse.Namespace) -> int:
    parquet.write_table(pa.table(columns(options)), path)
    return options.rows


def episodes(options: argparse.Namespace) -> Demonstrations:
    """Episodes of 50 frames with two cameras of 160x120."""
    random, frames = np.random.default_rng(0), 50 * options.episodes
    some = smooth(20, 160)[:, :120]
    film = np.stack([np.roll(some[i // 50 % 20], i, axis=1) for i in range(frames)])
    walk = random.normal(size=(2, frames, 14)).cumsum(1)
    seen = {"state": walk[0], "images.top": film, "images.wrist": film[:, ::-1]}
    return Demonstrations(walk[1], seen, np.arange(50, frames + 1, 50), 50.0, "robots")


def lerobot(path: Path, options: argparse.Namespace) -> int:
    write_demonstrations(data := episodes(options), path)
    return len(data)


def hdf5(path: Path, options: argparse.Namespace) -> int:
    path.mkdir()
    data = episodes(options)
    for i, (start, end) in enumerate(zip(data.episode_starts, data.episode_ends, strict=True)):
        with h5py.File(path / f"episode_{i}.hdf5", "w") as file:
            file["action"], file["observations/qpos"] = data.actions[start:end], data.observations["state"][start:end]
            for name in ("top", "wrist"):
                file[f"observations/images/{name}"] = data.observations[f"images.{name}"][start:end]
    return len(data)


Make = Callable[[Path, argparse.Namespace], int]
SOURCES: dict[str, tuple[str, Make, str]] = {
    "png": ("{rows} PNG of 32x32", partial(pictures, share=1, side=32, ending="png"), "pictures"),
    "jpg": ("{rows} JPEG of 256x256", partial(pictures, share=10, side=256, ending="jpg"), "pictures"),
    "table.csv": ("CSV, {rows} rows of 10 columns", plain, "csv"),
    "people.csv": ("CSV as people write it, {rows} rows of 10 columns", semicolons, "semicolons"),
    "table.parquet": ("Parquet, {rows} rows of 10 columns", columnar, "parquet"),
    "lerobot": ("LeRobot, {episodes} episodes, {rows} frames, two cameras", lerobot, "lerobot"),
    "hdf5": ("HDF5, {episodes} episodes, {rows} frames, two cameras", hdf5, "hdf5"),
}

if __name__ == "__main__":
    parser = arguments(__doc__, data=SOURCES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=50_000, help="of 32x32; a tenth of them are of 256x256")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of a table")
    parser.add_argument("--episodes", type=int, default=200)
    toy = {"rounds": 1, "pictures": 60, "rows": 300, "episodes": 3, "data": ["png", "people.csv", "lerobot"]}
    run(parser, {"sources": sources}, **toy)
