"""What the tables share: data, training with a budget, and writing what was found with the command that made it."""

from __future__ import annotations

import argparse
import io
import itertools
import json
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vaekit

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared" / "data"


class Lines:
    """A line per epoch, so that a long run can be followed."""

    def step(self, *args: Any) -> None: ...

    def epoch(self, state: Any, progress: float, row: dict[str, float]) -> None:
        print({k: round(v, 2) for k, v in row.items()}, file=sys.stderr, flush=True)


def idx(folder: Path, name: str, part: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """MNIST or Fashion-MNIST: pictures (N, 28, 28) and their labels."""
    data = vaekit.read(folder / name / f"{part}-images-idx3-ubyte.gz", conditions=["label"])
    return data.x, data.conditions


def sprites(folder: Path, part: str, side: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A fifth of the LPC sprites, chosen at random, is the test set: (N, side, side, 3) by area averaging, and factors."""
    file = np.load(folder / "lpc_sprites" / "lpc_sprites.npz")
    names = [str(n) for n in file["factor_names"]]
    order = np.random.default_rng(0).permutation(len(file["images"]))
    chosen = order[len(order) // 5 :] if part == "train" else order[: len(order) // 5]  # the file is sorted by factor
    x, by = file["images"][chosen], 64 // side
    x = x.reshape(len(x), side, by, side, by, 3).mean((2, 4)).round().astype(np.uint8)
    return x, {name: file["factors"][chosen, i] for i, name in enumerate(names)}


def cifar10(folder: Path, part: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """CIFAR-10 from JPEGs of quality 75: numbers compare within a table, not with published ones."""
    from PIL import Image

    file = np.load(folder / "cifar10" / f"cifar10_{part}_jpeg.npz")
    stream, at = file["jpeg"], file["offset"]
    pictures = [np.asarray(Image.open(io.BytesIO(stream[a:b].tobytes()))) for a, b in itertools.pairwise(at)]
    order = np.random.default_rng(0).permutation(len(pictures))  # the file is sorted by class
    return np.stack(pictures)[order], {"label": file["labels"][order]}


def write(options: argparse.Namespace, title: str | None, rows: list[dict[str, Any]], notes: str = "") -> None:
    """The table so far, as Markdown and JSON."""
    script = Path(sys.argv[0]).stem
    # Where data and runs lie is this machine's own affair.
    places = {i + j for i, a in enumerate(sys.argv) if a in ("--folder", "--runs") for j in (0, 1)}
    command = f"python benchmarks/{script}.py " + shlex.join(a for i, a in enumerate(sys.argv) if i and i not in places)
    machine = f"{torch.get_num_threads()} threads, {platform.machine()}, torch {torch.__version__}, vaekit {vaekit.__version__}"
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(str(v) for v in row.values()) + " |" for row in rows]
    text = "\n\n".join(
        part
        for part in (f"# {' '.join((title or '').split())}", f"`{command}`", machine, notes, "\n".join(lines))
        if part
    )
    out = HERE / "results" / f"{script}-{options.table}{options.suffix}"
    out.with_suffix(".md").write_text(text + "\n")
    found = {"command": command, "machine": machine, "notes": notes, "rows": rows}
    out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    print(rows[-1], flush=True)
