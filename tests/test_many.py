"""Several processes train one model: killed, frozen and lost in the middle, they end with the bits of an undisturbed run."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from conftest import assert_same, vaekit, weights, write_settings
from test_training import timeless

FIT = ["fit", "digits", "--condition", "label", "--size", "small", "--latent-dim", 4, "--batch-size", 64]
FIT += ["--sampler", "prior", "--no-report", "--device", "cpu", "--precision", "32-true", "--devices", 2]
ONE_OF_MANY = Path(__file__).with_name("one_of_many.py")
PATIENCE = 300.0  # seconds that a test waits for processes on a busy machine


class Torchrun:
    """`torchrun` in a session of its own, as a scheduler starts it. Used as a context, it leaves no process behind."""

    def __init__(self, *args, script=("-m", "vaekit"), options=("--standalone", "--nproc-per-node=2")):
        command = [sys.executable, "-m", "torch.distributed.run", *options, *script, *args]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.end()

    def workers(self) -> dict[int, int]:
        """The process of each rank that is running."""
        found = {}
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            with suppress(OSError):  # it may have ended
                rank = re.search(r"\0RANK=(\d+)\0", Path(f"/proc/{child}/environ").read_text())
                if rank:
                    found[int(rank[1])] = int(child)
        return found

    def signal(self, rank, number) -> bool:
        """Whether this rank was there to be sent a signal."""
        try:
            os.kill(self.workers()[rank], number)
        except (KeyError, OSError):
            return False
        return True

    def end(self) -> None:
        """Lose the machine: kill all that runs on it."""
        for pid in [*self.workers().values(), self.process.pid] if self.process.poll() is None else []:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def said(self, check=None) -> str:
        out, _ = self.process.communicate(timeout=PATIENCE)
        if check is not None:
            assert self.process.returncode == check, out
        return out


def written(run) -> int:
    path = run / "checkpoint.safetensors"
    return path.stat().st_mtime_ns if path.exists() else 0


def wait_for(happened, torchrun) -> bool:
    """Whether it happened before the end of the processes."""
    until = time.monotonic() + PATIENCE
    while torchrun.process.poll() is None:
        if happened():
            return True
        assert time.monotonic() < until, "nothing happens"
        time.sleep(0.005)
    return False


def wait_for_checkpoint(run, torchrun) -> bool:
    before = written(run)
    return wait_for(lambda: written(run) > before, torchrun)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return write_settings(tmp_path_factory.mktemp("settings") / "settings.yaml")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, settings):
    """A run of two processes that nobody disturbed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    with Torchrun(*FIT, "--epochs", 4, "--config", settings, "--out", run) as torchrun:
        torchrun.said(check=0)
    return run


def assert_same_run(run, whole):
    assert not list(run.glob(".*"))  # nothing half-written is left
    assert_same(weights(whole), weights(run))
    assert_same(load_file(whole / "model.safetensors"), load_file(run / "model.safetensors"))
    assert timeless(whole) == timeless(run)


def test_two_processes_end_with_the_weights_of_one(whole, tmp_path):
    """To rounding: a sum of two halves is rounded in other places than the sum of all rows."""
    vaekit(*FIT[:-2], "--epochs", 4, "--out", tmp_path / "one", check=0)
    one, two = load_file(tmp_path / "one/model.safetensors"), load_file(whole / "model.safetensors")
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-4, atol=1e-6)
    for x, y in zip(timeless(tmp_path / "one"), timeless(whole), strict=True):
        assert {k: float(v) for k, v in x.items()} == pytest.approx({k: float(v) for k, v in y.items()}, rel=1e-5)


def test_torchrun_restarts_a_killed_process_and_all_go_on(whole, settings, tmp_path):
    """The first process alone has a folder for the run."""
    run = tmp_path / "run"
    options = ["--standalone", "--nproc-per-node=2", "--max-restarts=3", "--monitor-interval=0.1"]
    command = [*FIT, "--epochs", 4, "--config", settings, "--resume", "--out", run]
    with Torchrun(*command, script=[ONE_OF_MANY], options=options) as torchrun:
        assert wait_for_checkpoint(run, torchrun)
        assert torchrun.signal(1, signal.SIGKILL), "training was over before it could be killed"
        torchrun.said(check=0)
    assert_same_run(run, whole)


# -- what takes minutes ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_process_that_hangs_is_told(whole, settings, tmp_path):
    run = tmp_path / "run"
    command = [*FIT, "--epochs", 4, "--config", settings, "--resume", "--out", run]
    with Torchrun(*command, script=[ONE_OF_MANY]) as torchrun:
        assert wait_for_checkpoint(run, torchrun)
        assert torchrun.signal(1, signal.SIGSTOP), "training was over before it could be stopped"
        begin, said = time.monotonic(), ""
        while "vaekit: error" not in said:
            said = torchrun.process.stdout.readline()
            assert said, "it ended without a word"
        assert time.monotonic() - begin < 60
    assert re.fullmatch(
        rf"vaekit: error: process 0 of 2 lost another one, which ended or did not answer \(.*[Tt]imed out.*\); {run} has the last "
        "checkpoint: start them all again with --resume\n",
        said,
    ), said
    with Torchrun(*command, script=[ONE_OF_MANY]) as torchrun:
        torchrun.said(check=0)
    assert_same_run(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_killed_twenty_times_it_ends_with_the_same_bits(processes, settings, tmp_path):
    """At any moment: also while they start, and while a file is written. More than two processes add in an order of their own."""
    options = ["--standalone", f"--nproc-per-node={processes}"]
    epochs = 20  # long enough to be killed so often
    command = [*FIT[:-1], processes, "--epochs", epochs, "--patience", 1, "--config", settings]
    with Torchrun(*command, "--out", tmp_path / "whole", options=options) as torchrun:
        torchrun.said(check=0)
    rng, run, kills = random.Random(0), tmp_path / "run", 0
    for i in range(40):
        with Torchrun(*command, "--resume", "--out", run, options=options) as torchrun:
            if i % 4:
                wait_for_checkpoint(run, torchrun)
            else:
                wait_for(lambda t=torchrun: len(t.workers()) == processes, torchrun)
            time.sleep(rng.uniform(0.0, 0.3))
            if i % 5 == 4:  # the machine, and not one process
                kills += torchrun.process.poll() is None
                torchrun.end()
            elif torchrun.signal(rng.randrange(processes), signal.SIGKILL):
                kills += 1
                torchrun.said()
        if kills == 20:
            break
    assert kills == 20, "training was over before it could be killed so often"
    with Torchrun(*command, "--resume", "--out", run, options=options) as torchrun:
        torchrun.said(check=0)
    assert_same_run(run, tmp_path / "whole")


@pytest.mark.slow
def test_a_machine_that_is_taken_away_saves_first(whole, settings, tmp_path):
    """A scheduler sends SIGTERM before it takes a machine. All processes stop behind the same step."""
    run = tmp_path / "run"
    command = [*FIT, "--epochs", 4, "--resume", "--out", run]
    with Torchrun(*command, "--config", write_settings(tmp_path / "a.yaml", checkpoint_seconds=0.2)) as torchrun:
        assert wait_for_checkpoint(run, torchrun)
        before = written(run)
        torchrun.process.send_signal(signal.SIGTERM)
        said = torchrun.said()
    assert written(run) > before
    assert f"stopped; continue with: vaekit fit --resume --out {run}" in said
    with Torchrun(*command, "--config", settings) as torchrun:
        torchrun.said(check=0)
    assert_same_run(run, whole)


@pytest.mark.slow
def test_a_lost_node_comes_back(whole, settings, tmp_path, monkeypatch):
    """Two machines with a process each. One is lost and started again: both go on from the last checkpoint."""
    # Without it torchrun tells a machine that comes later no address: it keeps those of the first start.
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    options = ["--nnodes=2", "--nproc-per-node=1", "--max-restarts=3", "--rdzv-backend=c10d", "--rdzv-id=1"]
    port = free_port()
    options += [f"--rdzv-endpoint=127.0.0.1:{port}", "--local-addr=127.0.0.1"]
    run = tmp_path / "run"
    command = [*FIT[:-1], 1, "--nodes", 2, "--epochs", 4, "--config", settings, "--resume", "--out", run]
    with Torchrun(*command, options=options) as first:
        assert wait_for(lambda: answers(port), first)  # whoever is there first is where all meet
        with Torchrun(*command, options=options) as second:
            assert wait_for_checkpoint(run, first)
            time.sleep(0.1)
            second.end()
        with Torchrun(*command, options=options) as second:
            first.said(check=0)
            second.said(check=0)
    assert_same_run(run, whole)


# -- recipes -----------------------------------------------------------------------------------------------------------

RECIPES = Path(__file__).resolve().parents[1] / "examples" / "many-machines"
TOY = ["--size", "small", "--latent-dim", "4", "--epochs", "1", "--sampler", "prior", "--no-report", "--device", "cpu"]


def on_each_node(commands, variables) -> None:
    """Run the command of each of several nodes, with the variables that its scheduler sets."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    nodes = [
        subprocess.Popen(
            command, env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **own}, start_new_session=True
        )
        for command, own in zip(commands, variables, strict=True)
    ]
    try:
        assert [node.wait(PATIENCE) for node in nodes] == [0, 0]
    finally:
        for node in nodes:
            with suppress(OSError):
                os.killpg(node.pid, signal.SIGKILL)


def answers(port) -> bool:
    with socket.socket() as other:
        return other.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.slow
def test_the_command_of_the_recipe_for_kubeflow(tmp_path):
    runtime, job = yaml.safe_load_all((RECIPES / "kubeflow.yaml").read_text())
    assert job["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
    trainer = job["spec"]["trainer"]
    assert trainer["numNodes"] == runtime["spec"]["mlPolicy"]["numNodes"] == 2
    places = {"s3://bucket/shards": "digits", "/runs/mine": str(tmp_path / "run")}
    command = [places.get(word, word) for word in [*trainer["command"], *trainer["args"]]] + TOY
    told = {
        "PET_NNODES": "2",
        "PET_NPROC_PER_NODE": "1",
        "PET_MASTER_ADDR": "127.0.0.1",
        "PET_MASTER_PORT": str(free_port()),
    }
    on_each_node([command] * 2, [{**told, "PET_NODE_RANK": str(i)} for i in range(2)])
    assert len(timeless(tmp_path / "run")) == 1


@pytest.mark.slow
def test_the_command_of_the_recipe_for_skypilot(tmp_path):
    recipe = yaml.safe_load((RECIPES / "skypilot.yaml").read_text())
    told = {"SKYPILOT_NUM_NODES": "2", "SKYPILOT_NUM_GPUS_PER_NODE": "1", "SKYPILOT_NODE_IPS": "127.0.0.1\n127.0.0.1"}
    told |= {**recipe["envs"], "SOURCE": "digits", "RUN": str(tmp_path / "run"), "OPTIONS": " ".join(TOY)}
    command = ["bash", "-c", recipe["run"].replace("8008", str(free_port()))]
    on_each_node([command] * 2, [{**told, "SKYPILOT_NODE_RANK": str(i)} for i in range(2)])
    assert len(timeless(tmp_path / "run")) == 1


@pytest.mark.slow
def test_the_recipe_for_ray(tmp_path):
    pytest.importorskip("ray.train")
    settings = {"latent_dim": 4, "size": "small", "epochs": 1, "device": "cpu", "sampler": "prior"}
    command = [sys.executable, RECIPES / "ray_train.py", "digits", tmp_path / "run", "--settings", json.dumps(settings)]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=3 * PATIENCE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "RAY_ADDRESS": "local"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(timeless(tmp_path / "run")) == 1


def test_the_recipe_for_slurm_is_bash():
    subprocess.run(["bash", "-n", RECIPES / "slurm.sbatch"], check=True)
