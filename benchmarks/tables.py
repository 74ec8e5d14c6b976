"""What the tables share: options, data, and writing what was found with what made it: command, commit, seeds, threads, date."""

from __future__ import annotations

import argparse
import io
import json
import platform
import shlex
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vaekit

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared" / "data"
TOY_ROWS = 300


def arguments(parser: argparse.ArgumentParser, **toy: Any) -> argparse.Namespace:
    """The options. With --toy their defaults are `toy`, readers give few rows, and the table goes to a temporary folder."""
    parser.add_argument(
        "--toy", action="store_true", help="a run of seconds, to see that it runs: its numbers mean nothing"
    )
    parser.add_argument("--results", type=Path, default=HERE / "results", help="the folder to write the table to")
    if is_toy():
        parser.set_defaults(results=Path(tempfile.mkdtemp(prefix="vaekit-toy-")), **toy)
    return parser.parse_args()


def is_toy() -> bool:
    return "--toy" in sys.argv


def few(rows: Any) -> Any:
    """All rows; some of them, the same for all that have as many rows, where the run is a toy."""
    if not is_toy():
        return rows
    index = np.sort(np.random.default_rng(0).permutation(len(rows))[:TOY_ROWS])
    if hasattr(rows, "iloc"):
        return rows.iloc[index].reset_index(drop=True)
    return [rows[i] for i in index] if isinstance(rows, list) else rows[index]


def made_by(options: argparse.Namespace) -> dict[str, str]:
    """What a table was made by: command, commit, seeds, threads, date."""
    script = Path(sys.argv[0]).stem
    # Where data and runs lie is this machine's own affair.
    places = {i + j for i, a in enumerate(sys.argv) if a in ("--folder", "--runs", "--results") for j in (0, 1)}
    command = f"python benchmarks/{script}.py " + shlex.join(a for i, a in enumerate(sys.argv) if i and i not in places)
    seeds = getattr(options, "seeds", getattr(options, "seed", None))
    said = {
        "commit": commit(),
        "seeds": "" if seeds is None else f"0 to {seeds - 1}" if isinstance(seeds, int) and hasattr(options, "seeds") else str(seeds),
        "date": date.today().isoformat(),
    }  # fmt: skip
    machine = f"{torch.get_num_threads()} threads, {platform.machine()}, torch {torch.__version__}, vaekit {vaekit.__version__}"
    about = "; ".join([machine, *(f"{name} {value}" for name, value in said.items() if value)])
    return {"command": command, "machine": about}


def commit() -> str:
    """The commit that is checked out, and whether files, results aside, differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", ":/", ":(exclude,top)benchmarks/results")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" + uncommitted changes" if changed else "")


class Lines:
    """A line per epoch, so that a long run can be followed."""

    def step(self, *args: Any) -> None: ...

    def epoch(self, state: Any, progress: float, row: dict[str, float]) -> None:
        print({k: round(v, 2) for k, v in row.items()}, file=sys.stderr, flush=True)


def idx(folder: Path, name: str, part: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """MNIST or Fashion-MNIST: pictures (N, 28, 28) and their labels."""
    data = vaekit.read(folder / name / f"{part}-images-idx3-ubyte.gz", conditions=["label"])
    return few(data.x), {name: few(values) for name, values in data.conditions.items()}


def sprites(folder: Path, part: str, side: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A fifth of the LPC sprites, chosen at random, is the test set: (N, side, side, 3) by area averaging, and factors."""
    file = np.load(folder / "lpc_sprites" / "lpc_sprites.npz")
    names = [str(n) for n in file["factor_names"]]
    order = np.random.default_rng(0).permutation(len(file["images"]))
    chosen = order[len(order) // 5 :] if part == "train" else order[: len(order) // 5]  # the file is sorted by factor
    chosen = few(chosen)
    x, by = file["images"][chosen], 64 // side
    x = x.reshape(len(x), side, by, side, by, 3).mean((2, 4)).round().astype(np.uint8)
    return x, {name: file["factors"][chosen, i] for i, name in enumerate(names)}


def cifar10(folder: Path, part: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """CIFAR-10 from JPEGs of quality 75: numbers compare within a table, not with published ones."""
    from PIL import Image

    file = np.load(folder / "cifar10" / f"cifar10_{part}_jpeg.npz")
    stream, at = file["jpeg"], file["offset"]
    order = few(np.random.default_rng(0).permutation(len(at) - 1))  # the file is sorted by class
    pictures = [np.asarray(Image.open(io.BytesIO(stream[at[i] : at[i + 1]].tobytes()))) for i in order]
    return np.stack(pictures), {"label": file["labels"][order]}


def write(options: argparse.Namespace, title: str | None, rows: list[dict[str, Any]], notes: str = "") -> None:
    """The table so far, as Markdown and JSON."""
    by = made_by(options)
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(str(v) for v in row.values()) + " |" for row in rows]
    text = "\n\n".join(
        part
        for part in (
            f"# {' '.join((title or '').split())}",
            f"`{by['command']}`",
            by["machine"],
            notes,
            "\n".join(lines),
        )
        if part
    )
    out = options.results / f"{Path(sys.argv[0]).stem}-{options.table}{options.suffix}"
    out.with_suffix(".md").write_text(text + "\n")
    out.with_suffix(".json").write_text(json.dumps({**by, "notes": notes, "rows": rows}, indent=1) + "\n")
    print(rows[-1], flush=True)
