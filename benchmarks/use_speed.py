"""How fast a trained model is used, beside its networks alone; and whether memory stays flat in the number of rows.

python benchmarks/use_speed.py rates
python benchmarks/use_speed.py memory
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import vaekit
from harness import HERE, Rows, arguments, is_toy, run, take_turns

K = 2 if is_toy() else 100  # importance samples
ROWS = {"sample": 10_000, "encode": 10_000, "reconstruct": 10_000, "score": 500, "impute": 200}


def data(kind: str, rows: int) -> Any:
    """Rows that are made up: numbers, a table of numbers and categories, or pictures of 28 x 28 pixels."""
    random = np.random.default_rng(0)
    if kind == "pictures":
        return random.integers(0, 256, (rows, 28, 28), dtype=np.uint8)
    x = random.normal(size=(rows, 10)) @ np.random.default_rng(1).normal(size=(10, 10))
    if kind == "numbers":
        return np.tanh(x)
    import pandas as pd

    numbers = {f"x{i}": x[:, i] for i in range(6)}
    labels = {f"c{i}": np.array(list("abcdefgh"))[np.clip(x[:, i] + 4, 0, 7).astype(int)] for i in range(6, 10)}
    return pd.DataFrame(numbers | labels)


def with_gaps(x: Any) -> Any:
    """A fifth of the cells is missing."""
    hidden = np.random.default_rng(2).random(x.shape) < 0.2
    return np.where(hidden, np.nan, x) if isinstance(x, np.ndarray) else x.mask(hidden)


def trained(kind: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = data(kind, 300 if kind == "pictures" else 2000)
        return vaekit.VAE(epochs=1, sampler="prior", device="cpu", random_state=0).fit(rows)


def uses(model: Any, x: Any, k: int = K) -> dict[str, Callable[[], Any]]:
    gaps = with_gaps(x)
    return {
        "sample": lambda: model.sample(len(x), random_state=0),
        "encode": lambda: model.transform(x),
        "reconstruct": lambda: model.reconstruct(x),
        "score": lambda: model.score_samples(x, k=k),
        "impute": lambda: model.impute(gaps),
    }


def networks_alone(model: Any, use: str, rows: int) -> float:
    """Rows a second of what the networks have to do, and nothing else."""
    import torch  # after vaekit, which says how its threads wait

    net, decoded = model.model_, {"encode": 0, "score": K, "impute": 200}.get(use, 1)
    pieces = min(rows, max(1, 1024 // max(1, decoded)))
    seen, z = torch.zeros(pieces, *net.likelihood.input_shape), torch.zeros(pieces * decoded, net.latent_dim)
    begin = time.perf_counter()
    with torch.no_grad():
        for _ in range(0, rows, pieces):
            if use != "sample":
                net.encoder(seen)
            if decoded:
                net.decoder(z)
    return rows / (time.perf_counter() - begin)


def rates(options: argparse.Namespace) -> Rows:
    """Rows a second of each use

    On the CPU: median over the rounds, and each round. Made-up data; models of default size. Scores are of k = 100 importance samples,
    guesses of gaps of 100 draws, each from 100 candidates. "networks alone" is the encoder and the decoder in PyTorch on as many rows
    and draws, in batches of 1024 draws: what the rest costs is seen beside it."""
    for kind in options.data:
        model = trained(kind)
        for use in options.methods:
            if (kind, use) == ("pictures", "impute"):
                continue  # a model of pictures fills no gaps
            rows = min(options.rows, ROWS[use]) // (20 if kind == "pictures" else 1) or 1
            call = uses(model, data(kind, rows))[use]

            def rate(call: Callable[[], Any] = call, rows: int = rows) -> float:
                begin = time.perf_counter()
                call()
                return rows / (time.perf_counter() - begin)

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                alone = partial(networks_alone, model, use, rows)
                found = take_turns({"vaekit": rate, "alone": alone}, options.rounds)
            own, floor = (statistics.median(found[who]) for who in ("vaekit", "alone"))
            yield {
                "data": kind, "use": use, "rows/s": f"{own:,.0f}", "rounds": " ".join(f"{v:,.0f}" for v in found["vaekit"]),
                "networks alone": f"{floor:,.0f}", "share of that": f"{own / floor:.2f}",
            }  # fmt: skip


def memory(options: argparse.Namespace) -> Rows:
    """Memory of each use

    Each number is a process of its own: by how many MB its peak lies above what it held before, with the rows themselves made and the
    use warmed up by 100 rows."""
    sizes = [n for n in (1000, 10_000, 100_000, 1_000_000) if n <= options.most]
    for kind in options.data:
        for use in ("sample", "encode", "score"):
            peaks = {}
            for rows in sizes:
                # 100 importance samples take hours of so many rows; 50 at most are held at a time.
                job = json.dumps({"kind": kind, "use": use, "rows": rows, "k": 50, "threads": options.threads})
                command = [sys.executable, str(HERE / "peers" / "use_memory.py"), job]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                peaks[f"{rows:,} rows"] = f"{json.loads(done.stdout.split('RESULT ')[1])['peak']:.0f}"
            yield {"data": kind, "use": use, **peaks}


if __name__ == "__main__":
    parser = arguments(__doc__, data=["numbers", "table", "pictures"], methods=list(ROWS), threads=2)
    parser.add_argument("--rows", type=int, default=10_000, help="at most; of slow uses and of pictures it is fewer")
    parser.add_argument("--most", type=int, default=100_000, help="rows of memory")
    parser.add_argument("--rounds", type=int, default=5)
    run(parser, {"rates": rates, "memory": memory}, rows=20, most=1000, rounds=1)
