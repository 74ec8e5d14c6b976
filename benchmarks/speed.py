"""How fast vaekit trains, beside other ways to train the same model. See README.md; `python benchmarks/speed.py --help`.

Every measurement is a process of its own, and the peers take turns: round by round, so that what else the machine does
hits all of them alike. The share of the machine's time that other programs took is measured along, and a measurement
that was disturbed is made again.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))

from common import FASHION_MNIST  # noqa: E402

from tables import arguments, is_toy, made_by  # noqa: E402

DISTURBED = 0.08  # of the machine's time, taken by other programs
TRIES = 1 if is_toy() else 4

VAEKIT = {"script": "vaekit_fit", "precision": "auto", "validation": 0.0}
PEERS: dict[str, dict[str, Any]] = {
    "vaekit": {"title": "vaekit", **VAEKIT},
    "vaekit-validation": {"title": "vaekit, a tenth of the rows validated on", **VAEKIT, "validation": 0.1},
    "vaekit-scale": {"title": "vaekit, scale of the likelihood learned", **VAEKIT, "scale": None},
    "vaekit-fp32": {"title": "vaekit, precision 32-true", **VAEKIT, "precision": "32-true"},
    "jax": {"title": "JAX, the epoch in one `lax.scan`", "script": "jax_scan", "torch": False, "needs": "jax"},
    "slices": {"title": "PyTorch loop, shuffled slices", "script": "torch_loop", "loader": False},
    "loader": {"title": "PyTorch loop, `DataLoader`", "script": "torch_loop", "loader": True},
    "pythae": {"title": "pythae's pipeline", "script": "pythae_pipeline", "needs": "pythae"},
    "limit-fp32": {"title": "limit: matrix products alone, float32", "script": "limit", "dtype": "float32"},
    "limit-bf16": {"title": "limit: matrix products alone, bfloat16", "script": "limit", "dtype": "bfloat16"},
}
CONV_PEERS = ["vaekit", "vaekit-fp32", "slices", "pythae"]
MLP_ROWS, CONV_ROWS = 2_560 if is_toy() else 25_600, 256  # an epoch


def main() -> None:
    options = chosen()
    warm_up()
    setups = [(False, b, t) for b in options.batch for t in options.threads]
    setups += [(True, 128, t) for t in options.threads] if options.conv else []
    measured: dict[str, dict[str, list[dict[str, float]]]] = {}
    for round_ in range(options.rounds):
        for conv, batch, threads in setups:
            for name in options.peers:
                if conv and name not in CONV_PEERS:
                    continue
                got = measure(name, conv, batch, threads, options.seconds)
                setup = f"{'conv' if conv else 'mlp'}, batch {batch}, {threads} thread{'s' * (threads > 1)}"
                measured.setdefault(setup, {}).setdefault(name, []).append(got)
                line = f"round {round_ + 1}  {setup:26}  {name:18} {got['rate']:9,.0f} samples/s"
                print(line + f"   others {got['others']:.0%}" * (got["others"] > DISTURBED), flush=True)
    result = {"command": made_by(options)["command"], "machine": machine() | {"made": made_by(options)["machine"]}}
    result |= {"speed": measured}
    if options.start:
        result |= {"start": start(options.rounds), "memory_mb": memory()}
    text = tables(result)
    print("\n" + text)
    (options.results / f"{options.name}.md").write_text(text)
    (options.results / f"{options.name}.json").write_text(json.dumps(result, indent=1) + "\n")


def chosen() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(n) for n in text.split(",")]

    parser = argparse.ArgumentParser(description="How fast vaekit trains, beside its peers.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of training to measure, each time")
    parser.add_argument("--batch", type=numbers, default=[128, 512], help="for example 128,512")
    parser.add_argument("--threads", type=numbers, default=[1, 2], help="for example 1,2")
    parser.add_argument("--peers", type=lambda text: text.split(","), default=list(PEERS), help=", ".join(PEERS))
    parser.add_argument("--conv", action=argparse.BooleanOptionalAction, default=True, help="also convolutions")
    parser.add_argument("--start", action=argparse.BooleanOptionalAction, default=True, help="also start-up, memory")
    parser.add_argument("--name", default="speed", help="of the files in benchmarks/results")
    toy = {"rounds": 1, "seconds": 0.2, "batch": [512], "threads": [1], "conv": False, "start": False}
    options = arguments(parser, peers=["vaekit-scale", "slices", "jax", "pythae"], **toy)
    if unknown := set(options.peers) - set(PEERS):
        parser.error(f"no such peer: {', '.join(unknown)}; there are {', '.join(PEERS)}")
    if missing := [name for name in options.peers if not find_spec(PEERS[name].get("needs", "torch"))]:
        print(f"not installed, and left out: {', '.join(missing)} (pip install 'vaekit[bench]')", flush=True)
        options.peers = [name for name in options.peers if name not in missing]
    return options


# -- one measurement ---------------------------------------------------------------------------------------------------


def measure(name: str, conv: bool, batch: int, threads: int, seconds: float) -> dict[str, float]:
    """Samples a second of one peer, and the share of the machine's time that went to other programs meanwhile. Of
    several tries the one that was disturbed least."""
    peer = {k: v for k, v in PEERS[name].items() if k not in ("title", "needs")}
    if conv:
        seconds *= 2
    job = {"conv": conv, "batch": batch, "threads": threads, "seconds": seconds, **peer}
    job |= {"rows": CONV_ROWS if conv else MLP_ROWS, "minutes": (seconds + (8 if conv else 2)) / 60}
    tries = []
    for attempt in range(TRIES):
        wait_for_quiet()
        others = Others()
        got = run(peer["script"], job, threads)
        tries.append({"rate": got["rows"] / got["seconds"], "others": others.share()})
        if tries[-1]["others"] < DISTURBED or attempt == TRIES - 1:
            return min(tries, key=lambda t: t["others"])
    raise AssertionError


def run(script: str, job: dict[str, Any], threads: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(HERE / "peers" / f"{script}.py"), json.dumps(job)],
        capture_output=True,
        text=True,
        env=environment(threads),
        preexec_fn=lambda: os.sched_setaffinity(0, cores(threads)),
    )
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    raise SystemExit(f"{script} gave no result:\n{done.stdout}\n{done.stderr}")


CORES = sorted(os.sched_getaffinity(0))


def cores(threads: int) -> set[int]:
    """The same cores for every peer: as many as it may have threads."""
    return set(CORES[:threads])


def environment(threads: int) -> dict[str, str]:
    """Threads, and compiled bytecode as an installed package has it."""
    bytecode = Path(tempfile.gettempdir()) / "vaekit-benchmark-bytecode"
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    numbers = {k: str(threads) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    return {**kept, **numbers, "PYTHONPYCACHEPREFIX": str(bytecode)}


def warm_up() -> None:
    run("memory", {"threads": 1, "rows": 256, "batch": 128}, 1)
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


# -- start-up and memory -----------------------------------------------------------------------------------------------


def start(rounds: int) -> dict[str, list[float]]:
    """Seconds from starting Python until `import torch` is done, and until vaekit's first training step is."""

    def seconds(*command: str) -> float:
        wait_for_quiet()
        begin = time.time()
        out = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment(2), check=True)
        return float(out.stdout.split()[-1]) - begin

    done = "print(time.time())"
    programs: dict[str, Callable[[], float]] = {
        "import torch": lambda: seconds("-c", f"import time, torch; {done}"),
        "import torch, sklearn.base, lightning_fabric": lambda: seconds(
            "-c", f"import time, torch, sklearn.base, lightning_fabric; {done}"
        ),
        "vaekit's first training step": lambda: seconds(str(HERE / "peers" / "start.py")),
    }
    for program in programs.values():
        program()
    measured: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            measured[name].append(program())
    return measured


def memory() -> list[float]:
    """Resident memory of a process that trains, after each of 10 epochs, in MB."""
    return run("memory", {"threads": 2, "rows": MLP_ROWS, "batch": 128}, 2)["resident"]


# -- what it looks like ------------------------------------------------------------------------------------------------


def tables(result: dict[str, Any]) -> str:
    parts = ["# Training speed\n", f"`{result['command']}`\n", "; ".join(result["machine"].values()) + ".\n"]
    parts.append(
        "Samples a second: median over the rounds (lowest to highest). The last column is vaekit's speed by that of the "
        "row, within the same round, median over the rounds: above 1, vaekit is faster.\n"
    )
    for setup, peers in result["speed"].items():
        parts.append(f"## {setup}\n\n| | samples/s | vaekit against it |\n|---|---|---|")
        for name, runs in peers.items():
            rates = [r["rate"] for r in runs]
            ratio = "" if name == "vaekit" or "vaekit" not in peers else f"{versus(peers['vaekit'], runs):.2f}x"
            spread = f"({min(rates):,.0f} to {max(rates):,.0f})"
            parts.append(f"| {PEERS[name]['title']} | {statistics.median(rates):,.0f} {spread} | {ratio} |")
        loud = sum(r["others"] > DISTURBED for runs in peers.values() for r in runs)
        every = sum(len(runs) for runs in peers.values())
        parts.append(f"\n{loud} of {every} measurements were disturbed by other programs.\n" if loud else "")
    if "start" in result:
        base = statistics.median(result["start"]["import torch"])
        parts.append("## Start-up\n\n| from the start of Python until | seconds | of `import torch` |\n|---|---|---|")
        for name, times in result["start"].items():
            middle = statistics.median(times)
            parts.append(f"| {name} | {middle:.2f} ({min(times):.2f} to {max(times):.2f}) | {middle / base:.2f}x |")
        resident = result["memory_mb"]
        parts.append(
            f"\n## Memory\n\nResident after epoch 2: {resident[1]:,.0f} MB, after epoch 10: {resident[9]:,.0f} MB.\n"
        )
    return "\n".join(parts)


def versus(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> float:
    return statistics.median(a["rate"] / b["rate"] for a, b in zip(ours, theirs, strict=True))


def machine() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    described = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    processor = described.get("model name", platform.machine())
    known = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in described.get("flags", "").split()]
    packages = ["torch", "lightning-fabric", "jax", "pythae", "numpy"]
    installed = [p for p in packages if find_spec(p.replace("-", "_"))]
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in installed)
    return {
        "processor": f"{processor}, {len(CORES)} cores, {' '.join(known)}",
        "software": f"Python {platform.python_version()}, {versions}",
        "data": f"{'Fashion-MNIST' if FASHION_MNIST.exists() else 'random numbers of the shape of Fashion-MNIST'}, in memory",
    }


if __name__ == "__main__":
    main()
