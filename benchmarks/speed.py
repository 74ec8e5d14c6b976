"""How fast vaekit trains, beside other ways to train the same model; how it scales; how soon it starts, and its memory.

    python benchmarks/speed.py training
    python benchmarks/speed.py networks
    python benchmarks/speed.py scaling
    python benchmarks/speed.py start

`make speed` makes all of these, and those of use_speed.py, reading.py and policy_speed.py; `make speed DEVICE=cuda` on a GPU.
Every measurement is a process of its own, and the peers take turns: round by round, so that what else the machine does
hits all of them alike. The share of the machine's time that other programs took is measured along, and a measurement
that was disturbed is made again.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))

from common import FASHION_MNIST  # noqa: E402

from harness import Rows, arguments, is_toy, run, take_turns  # noqa: E402

DISTURBED = 0.08  # of the machine's time, taken by other programs
TRIES = 1 if is_toy() else 4

VAEKIT = {"script": "vaekit_fit", "precision": "auto", "validation": 0.0, "capture": "always"}
PEERS: dict[str, dict[str, Any]] = {
    "vaekit": {"title": "vaekit", **VAEKIT},
    "vaekit-steps": {"title": "vaekit, steps not captured", **VAEKIT, "capture": "never"},
    "vaekit-validation": {"title": "vaekit, a tenth of the rows validated on", **VAEKIT, "validation": 0.1},
    "vaekit-scale": {"title": "vaekit, scale of the likelihood learned", **VAEKIT, "scale": None},
    "vaekit-fp32": {"title": "vaekit, precision 32-true", **VAEKIT, "precision": "32-true"},
    "jax": {"title": "JAX, the epoch in one `lax.scan`", "script": "jax_scan", "torch": False, "needs": "jax"},
    "graph": {
        "title": "PyTorch, tuned, one CUDA graph by hand",
        "script": "torch_loop",
        "loader": False,
        "tuned": True,
        "graph": True,
    },
    "graph-tf32": {
        "title": "PyTorch, TF32, one CUDA graph by hand",
        "script": "torch_loop",
        "loader": False,
        "graph": True,
        "tf32": True,
    },
    "graph-compiled": {
        "title": "PyTorch, TF32, the loss compiled, one CUDA graph by hand",
        "script": "torch_loop",
        "loader": False,
        "graph": True,
        "tf32": True,
        "compile": True,
    },
    "tuned": {"title": "PyTorch loop, bfloat16, fused Adam", "script": "torch_loop", "loader": False, "tuned": True},
    "slices": {"title": "PyTorch loop, shuffled slices", "script": "torch_loop", "loader": False},
    "loader": {"title": "PyTorch loop, `DataLoader`", "script": "torch_loop", "loader": True},
    "pythae": {"title": "pythae's pipeline", "script": "pythae_pipeline", "needs": "pythae"},
    "limit-fp32": {"title": "limit: matrix products alone, float32", "script": "limit", "dtype": "float32"},
    "limit-bf16": {"title": "limit: matrix products alone, bfloat16", "script": "limit", "dtype": "bfloat16"},
    "limit-adam": {"title": "limit: Adam alone", "script": "limit"},
}
CONV_PEERS = ["vaekit", "vaekit-steps", "vaekit-fp32", "tuned", "slices", "pythae"]

# -- training ----------------------------------------------------------------------------------------------------------


def training(options: argparse.Namespace) -> Rows:
    """Training speed on {device}

    Samples a second: median over the rounds, and each round. The last column is vaekit's speed by that of the row, within the same
    round, median over the rounds: above 1, vaekit is faster."""
    missing = [name for name in options.methods if not find_spec(PEERS[name].get("needs", "torch"))]
    if missing:
        print(f"not installed, and left out: {', '.join(missing)} (pip install 'vaekit[bench]')", flush=True)
    peers = [
        name
        for name in options.methods
        if name not in missing and (not PEERS[name].get("graph") or options.device == "cuda")
    ]
    packages = ["lightning-fabric", "jax", "pythae", "numpy"]
    installed = [p for p in packages if find_spec(p.replace("-", "_"))]
    data = "Fashion-MNIST" if FASHION_MNIST.exists() else "Random numbers of the shape of Fashion-MNIST"
    yield f"{data}, in memory; {', '.join(f'{p} {importlib.metadata.version(p)}' for p in installed)}."
    warm_up()
    setups = [(False, b, t) for b in options.batch for t in options.threads]
    setups += [(True, 128, t) for t in options.threads] if options.conv else []
    candidates = {
        (f"{'conv' if conv else 'mlp'}, batch {batch}{of_threads(options, threads)}", name): partial(
            measure, options, name, conv, batch, threads
        )
        for conv, batch, threads in setups
        for name in peers
        if not conv or name in CONV_PEERS
    }
    found = take_turns(candidates, options.rounds)
    for (setup, name), runs in found.items():
        rates = [run["rate"] for run in runs]
        ours = [run["rate"] for run in found.get((setup, "vaekit"), [])] if name != "vaekit" else []
        ratios = [a / b for a, b in zip(ours, rates, strict=False)]
        yield {
            "setup": setup, "": PEERS[name]["title"], "samples/s": f"{statistics.median(rates):,.0f}",
            "rounds": " ".join(f"{rate:,.0f}" for rate in rates),
            "vaekit against it": f"{statistics.median(ratios):.2f}x" if ratios else "",
        }  # fmt: skip
    every = [run["others"] for runs in found.values() for run in runs]
    yield f"{sum(others > DISTURBED for others in every)} of {len(every)} measurements were disturbed by other programs."


def of_threads(options: argparse.Namespace, threads: int) -> str:
    return f", {threads} thread{'s' * (threads > 1)}" if options.device == "cpu" else ""


def measure(options: argparse.Namespace, name: str, conv: bool, batch: int, threads: int) -> dict[str, float]:
    """Samples a second of one peer, see `undisturbed`."""
    peer = {k: v for k, v in PEERS[name].items() if k not in ("title", "needs")}
    seconds = options.seconds * (1 + conv)
    rows = (
        256
        if conv and options.device == "cpu"
        else 2_560
        if is_toy()
        else 25_600
        if options.device == "cpu"
        else 60_000
    )
    job = {"conv": conv, "batch": batch, "seconds": seconds, "rows": rows, **peer}
    return undisturbed(options, job | {"minutes": (seconds + (8 if conv else 2)) / 60}, threads)


def undisturbed(options: argparse.Namespace, job: dict[str, Any], threads: int) -> dict[str, float]:
    """What a job does a second, and the share of the machine's time that went to other programs meanwhile. Of several tries the one
    that was disturbed least."""
    tries = []
    for attempt in range(TRIES):
        wait_for_quiet()
        others = Others()
        got = result_of({**job, "device": options.device}, threads)
        tries.append({"rate": got["rows"] / got["seconds"], "others": others.share()})
        if tries[-1]["others"] < DISTURBED or attempt == TRIES - 1:
            return min(tries, key=lambda t: t["others"])
    raise AssertionError


def result_of(job: dict[str, Any], threads: int) -> dict[str, Any]:
    """Run the script that the job names, in as many processes as it says, and read its result."""
    job = {"threads": threads, **job}
    processes = job.get("processes", 1)
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    done = subprocess.run(
        [sys.executable, *torchrun, str(HERE / "peers" / f"{job['script']}.py"), json.dumps(job)],
        capture_output=True,
        text=True,
        env=environment(threads, job.get("device", "cpu")),
        preexec_fn=lambda: os.sched_setaffinity(0, cores(threads * processes)),
    )
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    raise SystemExit(f"{job['script']} gave no result:\n{done.stdout}\n{done.stderr}")


CORES = sorted(os.sched_getaffinity(0))


def cores(threads: int) -> set[int]:
    """The same cores for every peer: as many as it may have threads."""
    return set(CORES[:threads])


def environment(threads: int, device: str = "cpu") -> dict[str, str]:
    """Threads, the device, and compiled bytecode as an installed package has it."""
    bytecode = Path(tempfile.gettempdir()) / "vaekit-benchmark-bytecode"
    ours = (
        "PYTHONDONTWRITEBYTECODE",
        "GOMP_SPINCOUNT",
    )  # the second is set by vaekit, and peers have their own default
    kept = {k: v for k, v in os.environ.items() if k not in ours}
    numbers = {k: str(threads) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    place = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if device == "cuda" else {"JAX_PLATFORMS": "cpu"}
    return {**kept, **numbers, **place, "PYTHONPYCACHEPREFIX": str(bytecode)}


def warm_up() -> None:
    result_of({"script": "memory", "rows": 256, "batch": 128}, 1)
    subprocess.run([sys.executable, "-c", "import torch"], env=environment(1), check=True)


class Others:
    """The share of the machine's time that went to programs that this one did not start, since it was made."""

    def __init__(self) -> None:
        self.begin = self.now()

    @staticmethod
    def now() -> tuple[float, float, float]:
        ticks = [int(n) for n in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        idle, stolen = ticks[3] + ticks[4], ticks[7]
        own = sum(os.times()[:4]) * os.sysconf("SC_CLK_TCK")  # user and system, of this process and of its children
        return sum(ticks), idle + stolen, own

    def share(self) -> float:
        total, idle, own = (b - a for a, b in zip(self.begin, self.now(), strict=True))
        return max(0.0, (total - idle - own) / total)


def wait_for_quiet(at_most: float = 30.0) -> None:
    if is_toy():
        return
    end = time.monotonic() + at_most
    while time.monotonic() < end:
        others = Others()
        time.sleep(0.5)
        if others.share() < DISTURBED:
            return


# -- larger networks, and scaling --------------------------------------------------------------------------------------

NETWORKS = {
    "convolutions": "convolutions, flow prior, batch 256",
    "texts": "transformer, texts, batch 64",
    "policy": "ACT, base, batch 8",
}


def networks(options: argparse.Namespace) -> Rows:
    """Steps a second of larger networks on {device}

    Networks of vaekit's own at their default size, each step by itself and captured: median over the rounds, and each round."""
    ways = {"never": "each step by itself", "always": "captured"}
    candidates = {
        (network, capture): partial(
            undisturbed, options,
            {"script": "vaekit_networks", "network": network, "capture": capture, "precision": "auto", "minutes": max(3.0, 5 * options.seconds) / 60},
            options.threads[-1],
        )
        for network in (list(NETWORKS)[:1] if is_toy() else NETWORKS) for capture in ways
    }  # fmt: skip
    found = take_turns(candidates, options.rounds)
    for (network, capture), runs in found.items():
        ratios = [run["rate"] / before["rate"] for run, before in zip(runs, found[network, "never"], strict=True)]
        yield {
            "networks": NETWORKS[network], "": ways[capture], "steps/s": f"{statistics.median(r['rate'] for r in runs):.2f}",
            "rounds": " ".join(f"{run['rate']:.2f}" for run in runs), "against the first": f"{statistics.median(ratios):.2f}x",
        }  # fmt: skip


def scaling(options: argparse.Namespace) -> Rows:
    """Cost against rows, width and processes on {device}

    Rows of 10 numbers, batch 512, two hidden layers; one thread for each process. Training samples a second, median over the rounds."""
    base = {
        "script": "vaekit_scaling",
        "rows": 100_000,
        "width": 256,
        "processes": 1,
        "batch": 512,
        "minutes": options.seconds / 60,
    }
    axes: dict[str, list[int]] = {
        "rows": [1_000, 10_000, 100_000, 1_000_000, 10_000_000],
        "width": [16, 64, 256, 1024, 2048],
        "processes": [1, len(CORES)],
    }
    if is_toy():
        base["rows"], axes = 2_000, {"rows": [1_000, 2_000]}
    candidates = {
        (axis, n): partial(undisturbed, options, {**base, axis: n}, 1) for axis, values in axes.items() for n in values
    }
    found = {key: [run["rate"] for run in runs] for key, runs in take_turns(candidates, options.rounds).items()}
    for (axis, n), rates in found.items():
        yield {
            "against": axis, "": f"{n:,}", "samples/s": f"{statistics.median(rates):,.0f}",
            "rounds": " ".join(f"{rate:,.0f}" for rate in rates),
        }  # fmt: skip
    draw(found, options.results / f"speed-scaling{options.suffix}.svg")


def draw(found: dict[tuple[str, int], list[float]], path: Path) -> None:
    """A panel for each axis: samples a second, with every round as a dot."""
    from matplotlib.figure import Figure

    axes = list(dict.fromkeys(axis for axis, _ in found))
    figure = Figure(figsize=(3.2 * len(axes), 2.6), layout="constrained")
    for axis, panel in zip(axes, figure.subplots(1, len(axes), squeeze=False, sharey=True)[0], strict=True):
        at = [n for name, n in found if name == axis]
        panel.plot(at, [statistics.median(found[axis, n]) for n in at], color="#3b6ea8")
        panel.plot(*zip(*((n, rate) for n in at for rate in found[axis, n]), strict=True), "o", ms=3, color="#3b6ea8")
        panel.set(xscale="log", yscale="log", xlabel=axis, ylabel="samples a second" if axis == axes[0] else "")
        panel.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


# -- start-up and memory -----------------------------------------------------------------------------------------------


def start(options: argparse.Namespace) -> Rows:
    """Start-up and memory

    Seconds from the start of Python: median over the rounds, and each round."""

    def seconds(*command: str) -> float:
        wait_for_quiet()
        begin = time.time()
        out = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment(2), check=True)
        return float(out.stdout.split()[-1]) - begin

    def importing(modules: str) -> Callable[[], float]:
        return lambda: seconds("-c", f"import time, {modules}; print(time.time())")

    programs: dict[str, Callable[[], float]] = {
        "import torch": importing("torch"),
        "import torch, sklearn.base": importing("torch, sklearn.base"),
        "vaekit's first training step": lambda: seconds(str(HERE / "peers" / "start.py")),
    }
    take_turns(programs, 1)  # to warm up
    measured = take_turns(programs, options.rounds)
    base = statistics.median(measured["import torch"])
    for name, times in measured.items():
        middle = statistics.median(times)
        yield {
            "until": name, "seconds": f"{middle:.2f}", "rounds": " ".join(f"{t:.2f}" for t in times),
            "of `import torch`": f"{middle / base:.2f}x",
        }  # fmt: skip
    resident = result_of({"script": "memory", "rows": 2_560 if is_toy() else 25_600, "batch": 128}, 2)["resident"]
    yield f"Resident memory of a process that trains: {resident[1]:,.0f} MB after epoch 2, {resident[9]:,.0f} MB after epoch 10."


if __name__ == "__main__":
    parser = arguments(__doc__, methods=PEERS, threads=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of training to measure, each time")
    parser.add_argument("--batch", type=int, nargs="*", default=[128, 512], help="of the MLP; none: convolutions alone")
    parser.add_argument("--conv", action=argparse.BooleanOptionalAction, default=True, help="also convolutions")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    toy = {"rounds": 1, "seconds": 0.2, "batch": [512], "threads": [1], "conv": False}
    tables = {"training": training, "networks": networks, "scaling": scaling, "start": start}
    run(parser, tables, methods=["vaekit-scale", "slices", "jax", "pythae"], **toy)
