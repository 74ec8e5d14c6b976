"""What the peers share: the job they are given, the data, the networks, and the clock.

A peer is a script that trains one model in a process of its own. It is given a job as JSON and prints as JSON how many
training rows it went through in how many seconds, the first epoch left out.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

IN, HIDDEN, LATENT = 784, 512, 16
FASHION_MNIST = Path(__file__).parents[2] / ".." / "shared" / "data" / "fashion_mnist" / "train-images-idx3-ubyte.gz"


def job() -> dict[str, Any]:
    """The job, with torch told how many threads it has."""
    given = json.loads(sys.argv[1])
    if given.get("torch", True):
        import torch

        torch.set_num_threads(given["threads"])
    return given


def report(**result: Any) -> None:
    print("RESULT " + json.dumps(result), flush=True)


def pictures(rows: int) -> np.ndarray:
    """(rows, 28, 28) float32 in 0..1: Fashion-MNIST where it is at hand, else random numbers."""
    if FASHION_MNIST.exists():
        with gzip.open(FASHION_MNIST) as file:
            pixels = np.frombuffer(file.read(16 + rows * IN)[16:], np.uint8)
        return (pixels.reshape(rows, 28, 28) / np.float32(255)).astype(np.float32)
    return np.random.default_rng(0).random((rows, 28, 28), dtype=np.float32)


def run_for(seconds: float, epoch: Callable[[], int], wait: Callable[[], None] = lambda: None) -> None:
    """One epoch to warm up, then epochs until the time is up. `epoch` returns the rows it went through; `wait` waits for the device."""
    epoch()
    wait()
    rows, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        rows += epoch()
        wait()
    report(rows=rows, seconds=time.perf_counter() - start)


def wait_for(device: str) -> Callable[[], None]:
    import torch

    return torch.cuda.synchronize if device == "cuda" else lambda: None


class Clock:
    """When vaekit read what its steps came to; the first times, while a step is recorded, do not count."""

    def __init__(self) -> None:
        self.read: list[tuple[int, float]] = []

    def step(self, state: Any, progress: float, terms: Any) -> None:
        self.read.append((state.step, state.seconds))

    def epoch(self, *state: Any) -> None: ...

    def report(self, rows: int) -> None:
        """Report the steps, each of this many rows."""
        begin, end = self.read[min(5, len(self.read) // 2)], self.read[-1]
        if begin == end:
            raise SystemExit("too few steps: use more --seconds")
        report(rows=(end[0] - begin[0]) * rows, seconds=end[1] - begin[1])
