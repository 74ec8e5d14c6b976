"""How a served model holds up under load, beside other servers of the same model.

    python benchmarks/serving.py load
    python benchmarks/serving.py lone
    python benchmarks/serving.py hold
    python benchmarks/serving.py stop

`load`: many clients at once. `lone`: one client, beside the model's own time. `hold`: memory over many requests of all kinds. `stop`: what
becomes of requests when a server under load is told to stop. Every server is a process of its own on the same cores, the clients
are another on the other cores. Servers take turns, round by round. Linux only.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np

import vaekit
from harness import HERE, Rows, arguments, is_toy, run, take_turns
from speed import CORES, environment
from vaekit.deploy.export import export
from vaekit.recipes.calibrate import calibrated
from vaekit.runtime import load as load_model

PEERS: dict[str, dict[str, Any]] = {
    "vaekit": {"title": "`vaekit serve`", "script": "serving_vaekit", "needs": "fastapi"},
    "fastapi": {"title": "FastAPI as in its tutorial", "script": "serving_fastapi", "needs": "fastapi", "tuned": False},
    "fastapi-tuned": {
        "title": "FastAPI, in the loop, orjson",
        "script": "serving_fastapi",
        "needs": "fastapi",
        "tuned": True,
    },
    "litserve": {"title": "LitServe, batches of 64, 2 ms", "script": "serving_litserve", "needs": "litserve"},
    "ray": {"title": "Ray Serve, batches of 64, 2 ms", "script": "serving_ray", "needs": "ray"},
    "limit": {"title": "limit: a server that does nothing", "script": "serving_limit", "needs": "uvloop"},
}
MODEL, LATENT = "digits", 16
PATH = f"/models/{MODEL}/"
OTHERS = 3  # times that another server than vaekit is stopped
ENOUGH = 20.0  # seconds after which a server that is stopped is not waited for


# -- tables ------------------------------------------------------------------------------------------------------------


def load(options: argparse.Namespace) -> Rows:
    """Decode of one item by {clients} clients

    Digits of 8 x 8 pixels, decoded by vaekit.runtime with onnxruntime on one thread in every server. The model is as it is, or each of its
    calls takes 5 ms more, as if a device of its own computed it, one call after another. Requests a second: median over the rounds, and each
    round; p50 and p99: milliseconds, medians over the rounds; failed: requests that were not answered, or not by 200, of all. The
    last column is the requests a second of vaekit by those of the row, within the same round, median over the rounds."""
    peers = installed(options.methods)
    yield setup(options)
    with exported() as folder:
        candidates = {
            (ms, name): partial(measure, options, folder, name, ms, options.clients)
            for ms, name in pairs(options, peers)
        }
        found = take_turns(candidates, options.rounds)
    for (ms, name), runs in found.items():
        yield {
            "model": cost(ms), "server": PEERS[name]["title"], "requests/s": f"{middle(runs, 'rate'):,.0f}",
            "rounds": " ".join(f"{one['rate']:,.0f}" for one in runs), "p50 ms": f"{middle(runs, 'p50'):.1f}",
            "p99 ms": f"{middle(runs, 'p99'):.1f}", "failed": failed(runs), "vaekit against it": ratio(found[ms, "vaekit"], runs, "rate") if "vaekit" in peers else "",
        }  # fmt: skip


def lone(options: argparse.Namespace) -> Rows:
    """Decode of one item by one client, milliseconds

    As in the table of load, but for one client that sends a request when the last one is answered. Beside the same call in a Python process
    without a server. Medians over the rounds; the last column is p50 by that of the model alone, within the same round."""
    peers = installed(options.methods)
    yield setup(options)
    with exported() as folder:
        candidates = {(ms, "alone"): partial(alone, options, folder, ms) for ms in options.ms}
        candidates |= {(ms, name): partial(measure, options, folder, name, ms, 1) for ms, name in pairs(options, peers)}
        found = take_turns(candidates, options.rounds)
    for ms in options.ms:
        for name in ("alone", *peers):
            if runs := found.get((ms, name)):
                yield {
                    "model": cost(ms), "server": PEERS[name]["title"] if name in PEERS else "none: the model alone",
                    "p50 ms": f"{middle(runs, 'p50'):.3f}", "rounds": " ".join(f"{one['p50']:.3f}" for one in runs),
                    "p99 ms": f"{middle(runs, 'p99'):.3f}", "of the model alone": ratio(runs, found[ms, "alone"], "p50"),
                }  # fmt: skip


def hold(options: argparse.Namespace) -> Rows:
    """Memory of `vaekit serve` over {requests} requests

    A quarter each decode, encode, sample and score one row, sent by {clients} clients. Resident memory of the server and its children, MB."""
    yield setup(options)
    with exported() as folder, Served(options, folder, "vaekit", 0.0) as server:
        yield {"requests": 0, "resident MB": f"{server.resident():.1f}", "requests/s": "", "failed": ""}
        done = 0
        for share in (0.01, 0.1, 0.25, 0.5, 0.75, 1.0):
            some = round(share * options.requests) - done
            found = result(clients(options, server, requests=mixed(16), clients=options.clients, at_most=some))
            done += some
            yield {
                "requests": f"{done:,}", "resident MB": f"{server.resident():.1f}",
                "requests/s": f"{found['rate']:,.0f}", "failed": failed([found]),
            }  # fmt: skip


def stop(options: argparse.Namespace) -> Rows:
    """SIGTERM under load by {clients} clients

    {repetitions} times for vaekit and up to 3 times for others, with a model that takes 5 ms a call. Clients go on until they cannot connect, for 10 s at most. In
    flight: requests that waited for their answer at the signal, median. The next columns are sums: answered, after the signal; errors, answers
    other than 200; lost, requests that were sent and whose connection ended without an answer; waiting, those without an answer at the
    end; refused, clients that could not connect, so that nothing was sent. Exit: seconds from the signal to the end of
    the process, median and most of those that ended. No exit: how often it had not ended after some 20 s, and was killed. Goes on: how
    often the port was still answered after all that."""
    peers = installed([name for name in options.methods if name != "limit"])
    yield setup(options)
    with exported() as folder:
        jobs = {name: partial(stopped, options, folder, name) for name in peers}
        others = {name: job for name, job in jobs.items() if name != "vaekit"}
        found = take_turns({name: jobs[name] for name in jobs if name not in others}, options.repetitions)
        found |= take_turns(others, min(OTHERS, options.repetitions))
    for name, runs in found.items():
        exits = [one["exit"] for one in runs if one["exit"] is not None]
        yield {
            "server": PEERS[name]["title"], "in flight": f"{middle(runs, 'in_flight'):.0f}",
            **{title: f"{sum(one[key] for one in runs):,}" for title, key in {"answered after": "after", "errors": "errors", "lost": "lost", "waiting": "waiting", "refused": "refused"}.items()},
            "repetitions with losses": f"{sum(one['lost'] > 0 for one in runs)} of {len(runs)}",
            "exit s": f"{statistics.median(exits):.2f}, {max(exits):.2f}" if exits else "", "no exit": f"{len(runs) - len(exits)} of {len(runs)}", "goes on": f"{sum(one['goes on'] for one in runs)} of {len(runs)}",
        }  # fmt: skip


# -- one measurement ---------------------------------------------------------------------------------------------------


def measure(options: argparse.Namespace, folder: Path, name: str, ms: float, many: int) -> dict[str, Any]:
    """What so many clients find."""
    with Served(options, folder, name, ms) as server:
        asked = {"requests": decodes(64), "clients": many, "seconds": options.seconds, "warm_up": options.seconds / 4}
        return result(clients(options, server, **asked))


def alone(options: argparse.Namespace, folder: Path, ms: float) -> dict[str, Any]:
    """What a caller within the process finds."""
    job = {"folder": str(folder), "ms": ms, "z": codes(1)[0], "seconds": options.seconds / 4}
    return result(start("serving_alone", job, cores(options)[0], stdout=subprocess.PIPE))


def stopped(options: argparse.Namespace, folder: Path, name: str) -> dict[str, Any]:
    """What clients find when the server is told to stop after a moment, and how long it takes to."""
    with Served(options, folder, name, 5.0) as server:
        asking = clients(
            options, server, requests=decodes(64), clients=options.clients, seconds=options.seconds / 4, stop=True
        )
        with suppress(subprocess.TimeoutExpired):
            server.process.wait(options.seconds / 4 + ENOUGH)
        ended, now = server.process.poll() is not None, time.monotonic()
        found = result(asking)
        return {**found, "exit": now - found["stopped"] if ended else None, "goes on": server.decodes() is not None}


def codes(n: int) -> list[list[float]]:
    return np.random.default_rng(0).standard_normal((n, LATENT)).round(4).tolist()


def decodes(n: int) -> list[list[str]]:
    """Requests to decode a code each: path and body."""
    return [[f"{PATH}decode", json.dumps({"z": [z]})] for z in codes(n)]


def mixed(n: int) -> list[list[str]]:
    """Requests of every kind in turn, n of each."""
    pixels = np.random.default_rng(1).integers(0, 17, (n, 8, 8)).tolist()
    kinds = [decodes(n)] + [
        [[f"{PATH}{use}", json.dumps(body(x))] for x in pixels]
        for use, body in {"encode": lambda x: {"rows": [x]}, "sample": lambda x: {"n": 1}, "score": lambda x: {"rows": [x]}}.items()
    ]  # fmt: skip
    return [request for several in zip(*kinds, strict=True) for request in several]


@contextmanager
def exported() -> Iterator[Path]:
    """The folder of a model that every server decodes with."""
    data = vaekit.read("digits")
    vae = vaekit.VAE(latent_dim=LATENT, network="mlp", epochs=1 if is_toy() else 20, random_state=0, device="cpu")
    vae.fit_data(data)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / MODEL
        export(vae, folder, odd=calibrated(Path(place), vae, own=data, keep=False))
        yield folder


# -- processes ---------------------------------------------------------------------------------------------------------


class Served:
    """A server in a process of its own, which is ready and decodes as the model does."""

    def __init__(self, options: argparse.Namespace, folder: Path, name: str, ms: float):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.z, self.ms = codes(1), ms
        job = {"folder": str(folder), "ms": ms, "path": f"{PATH}decode", "port": self.port, "z": self.z[0]}
        self.expected = load_model(folder).decode(self.z)
        more = {k: v for k, v in PEERS[name].items() if k not in ("title", "needs", "script")}
        self.log = folder.parent / f"{name}.log"
        with self.log.open("w") as log:
            self.process = start(PEERS[name]["script"], job | more, cores(options)[0], stdout=log, stderr=log)

    def __enter__(self) -> Served:
        end = time.monotonic() + 60
        while (rows := self.decodes()) is None:
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise SystemExit(f"{self.log.stem} does not decode ({self.failure}):\n{self.log.read_text()}")
            time.sleep(0.05)
        np.testing.assert_allclose(rows, self.expected, rtol=1e-4, atol=1e-4)
        begin = time.perf_counter()
        self.decodes()
        if (took := 1e3 * (time.perf_counter() - begin)) < self.ms:
            self.kill()
            raise SystemExit(
                f"{self.log.stem} decodes in {took:.1f} ms, though its model takes {self.ms:g} ms: it is not slowed down"
            )
        return self

    def decodes(self) -> Any:
        """The rows of a code; None if there is no answer."""
        about = Request(f"http://127.0.0.1:{self.port}{PATH}decode", json.dumps({"z": self.z}).encode(), {"Content-Type": "application/json"})  # fmt: skip
        try:
            return json.loads(urlopen(about, timeout=5).read())["rows"]
        except OSError as e:
            self.failure = e
            return None

    def resident(self) -> float:
        """MB of memory that the process and those that it started hold."""
        return sum(int(Path(f"/proc/{each}/status").read_text().split("VmRSS:")[1].split()[0]) for each in family(self.process.pid)) / 1000  # fmt: skip

    def kill(self) -> None:
        """End the process, and what it started and left behind."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(2)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __exit__(self, *_: Any) -> None:
        self.kill()


def family(pid: int) -> list[int]:
    """Numbers of a process and of all that it started."""
    started = [int(n) for task in Path(f"/proc/{pid}/task").iterdir() for n in (task / "children").read_text().split()]
    return [pid, *(each for child in started for each in family(child))]


def clients(options: argparse.Namespace, server: Served, **job: Any) -> subprocess.Popen[str]:
    """Clients of a server, see peers/serving_load.py. stop: whether they stop it."""
    if job.pop("stop", False):
        job["stop"] = server.process.pid
    return start("serving_load", {"port": server.port, **job}, cores(options)[1], stdout=subprocess.PIPE)


def start(script: str, job: dict[str, Any], where: set[int], **streams: Any) -> subprocess.Popen[str]:
    """A script of the peers, on these cores and in a group of processes of its own."""
    line = [sys.executable, str(HERE / "peers" / f"{script}.py"), json.dumps({"torch": False, **job})]
    return subprocess.Popen(
        line, text=True, env=environment(1), start_new_session=True, preexec_fn=lambda: os.sched_setaffinity(0, where), **streams
    )  # fmt: skip


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a script has found."""
    out, _ = process.communicate()
    for line in out.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    raise SystemExit(f"{process.args[1]} gave no result:\n{out}")  # type: ignore[index]


def cores(options: argparse.Namespace) -> tuple[set[int], set[int]]:
    """The cores of a server, and those of its clients: the rest, or all if none is left."""
    return set(CORES[: options.cores]), set(CORES[options.cores :] or CORES)


# -- rows of tables ----------------------------------------------------------------------------------------------------


def installed(names: Sequence[str]) -> list[str]:
    missing = [name for name in names if not find_spec(PEERS[name]["needs"])]
    if missing:
        print(f"not installed, and left out: {', '.join(missing)} (pip install 'vaekit[bench]')", flush=True)
    return [name for name in names if name not in missing]


def setup(options: argparse.Namespace) -> str:
    """The note on where everything ran."""
    packages = [p for p in ("fastapi", "uvicorn", "litserve", "ray", "onnxruntime") if find_spec(p)]
    ours, theirs = (len(each) for each in cores(options))
    shared = " (the same)" if options.cores >= len(CORES) else ""
    return f"Cores: {ours} for the server, {theirs}{shared} for its clients; {', '.join(f'{p} {importlib.metadata.version(p)}' for p in packages)}."


def pairs(options: argparse.Namespace, peers: Sequence[str]) -> list[tuple[float, str]]:
    """Costs and servers. The limit has no model that costs."""
    return [(ms, name) for ms in options.ms for name in peers if name != "limit" or not ms]


def cost(ms: float) -> str:
    return f"{ms:g} ms a call" if ms else "as it is"


def middle(runs: Sequence[Mapping[str, Any]], key: str) -> float:
    return statistics.median(one[key] for one in runs)


def failed(runs: Sequence[Mapping[str, Any]]) -> str:
    wrong = sum(one[key] for one in runs for key in ("errors", "lost", "refused", "waiting"))
    return f"{wrong:,} of {wrong + sum(one['answered'] for one in runs):,}"


def ratio(over: Sequence[Mapping[str, Any]], under: Sequence[Mapping[str, Any]], key: str) -> str:
    """The ratio within each round: the median."""
    ratios = [one[key] / other[key] for one, other in zip(over, under, strict=True)]
    return f"{statistics.median(ratios):.2f}x"


if __name__ == "__main__":
    parser = arguments(__doc__, methods=PEERS, threads=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of load to measure, each time")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--ms", type=float, nargs="+", default=[0.0, 5.0], help="that a call of the model takes more")
    parser.add_argument("--cores", type=int, default=1, help="of a server; the clients have the others")
    parser.add_argument("--requests", type=int, default=100_000, help="of hold")
    parser.add_argument("--repetitions", type=int, default=20, help="of stop")
    toy = {"rounds": 1, "seconds": 0.4, "clients": 4, "ms": [0.0], "requests": 400, "repetitions": 1}
    tables = {"load": load, "lone": lone, "hold": hold, "stop": stop}
    run(parser, tables, methods=["vaekit", "fastapi"], **toy)
