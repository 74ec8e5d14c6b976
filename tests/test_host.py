"""vaekit is a guest in its process: threads, random numbers, signals, streams and the terminal are the host's."""

import io
import os
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

import vaekit as vk
from conftest import TINY, dataset, fails, vaekit
from vaekit.errors import UserError
from vaekit.files import digest

ROWS = np.random.default_rng(0).normal(size=(60, 3))


def weights(seed=0, **options):
    return digest(vk.VAE(**TINY, random_state=seed, **options).fit(ROWS).model_.state_dict())


@pytest.fixture(scope="module")
def alone():
    return {seed: weights(seed) for seed in range(3)}


# -- threads and global state ---------------------------------------------------------------------------------------------


def test_fits_in_threads_give_the_weights_of_fits_alone(alone):
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda i: weights(i % 3), range(6)))
    assert found == [alone[i % 3] for i in range(6)]


def test_loading_in_a_thread_does_not_disturb_a_fit(alone, tmp_path):
    run = vk.VAE(**TINY).fit(ROWS).save(tmp_path / "run")
    over = threading.Event()

    def load():
        while not over.is_set():
            vk.load(run)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(load)
        found = [weights(i) for i in range(2)]
        over.set()
    assert found == [alone[0], alone[1]]


def test_the_state_of_the_host_is_as_before(alone, tmp_path):
    def state():
        numpy = np.random.get_state()
        return (
            torch.get_rng_state().tolist(), random.getstate(), numpy[1].tolist(), numpy[2:], torch.get_default_dtype(),
            torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_num_threads(), os.getcwd(),
            [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
        )  # fmt: skip

    before = state()
    vae = vk.VAE(**TINY).fit_data(dataset(ROWS), folder=tmp_path / "run")
    vae.sample(3)
    vae.score_samples(ROWS[:3], k=2)
    vk.load(tmp_path / "run")
    assert state() == before


@pytest.mark.parametrize(
    ("own", "count"), [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")]
)
def test_threads_that_wait_soon_sleep_unless_the_user_says_otherwise(own, count):
    """It is said before PyTorch is loaded, since OpenMP reads it then."""
    asked = "import os, sys, vaekit; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    others = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, env={**others, **own})
    assert done.stdout.split() == [count, "False"]


PARTS = [{"prior": "mixture", "posterior": "full"}, {"prior": "flow", "posterior": "iaf", "sampler": "flow"}]
PARTS = [{"latent_dim": 2, "size": "small", **parts} for parts in PARTS] + [
    {"structure": "ladder"},
    {"structure": "vq"},
]


@pytest.mark.parametrize("parts", PARTS)
def test_loading_draws_no_random_numbers(parts, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (40, 8, 8), dtype=np.uint8)
    run = vk.VAE(epochs=1, **parts).fit(images).save(tmp_path / "run")
    before = torch.get_rng_state()
    vk.load(run)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_fit_does_not_care_where_it_is_called(mode, alone):
    with mode():
        assert weights() == alone[0]


def test_a_host_that_computes_in_64_bits(alone, tmp_path):
    vae = vk.VAE(**TINY).fit(ROWS)
    torch.set_default_dtype(torch.float64)
    try:
        assert weights() == alone[0]
        other = vk.load(vae.save(tmp_path / "run"))
        codes, scores, samples = other.transform(ROWS), other.score_samples(ROWS, k=3), other.sample(4)
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(codes, vae.transform(ROWS))
    np.testing.assert_allclose(scores, vae.score_samples(ROWS, k=3), rtol=1e-6)
    assert samples.shape == (4, 3)


# -- stopping ----------------------------------------------------------------------------------------------------------------


class Stop:
    """A watcher that does something at the third step."""

    def __init__(self, do):
        self.do, self.steps = do, 0

    def step(self, state, progress, terms):
        self.steps += 1
        if self.steps == 3:
            self.do()

    def epoch(self, state, progress, row): ...


def stop():
    raise KeyboardInterrupt


def test_an_estimator_whose_fit_was_stopped_is_not_fitted():
    vae = vk.VAE(**{**TINY, "epochs": 5})
    with pytest.raises(KeyboardInterrupt):
        vae.fit_data(dataset(ROWS), watchers=[Stop(stop)])
    with pytest.raises(NotFittedError):
        vae.transform(ROWS)
    assert vae.fit(ROWS).transform(ROWS).shape == (60, 2)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_terminal_or_scheduler_that_goes_away_costs_nothing(number, tmp_path):
    vae = vk.VAE(**{**TINY, "epochs": 6}, batch_size=20)
    vae.fit_data(dataset(ROWS), folder=tmp_path / "run", watchers=[Stop(lambda: signal.raise_signal(number))])
    assert vae.interrupted_
    vae.fit_data(dataset(ROWS), folder=tmp_path / "run", resume=True)
    whole = vk.VAE(**{**TINY, "epochs": 6}, batch_size=20).fit(ROWS)
    assert digest(vae.model_.state_dict()) == digest(whole.model_.state_dict())


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        watcher = Stop(lambda: signal.raise_signal(signal.SIGHUP))
        vae = vk.VAE(**{**TINY, "epochs": 6}).fit_data(dataset(ROWS), folder=tmp_path / "run", watchers=[watcher])
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not vae.interrupted_
    assert len(vae.history_) == 6


@pytest.mark.parametrize("after", [0, 3])
def test_a_state_is_said_to_be_kept_only_where_it_is(after, tmp_path):
    class Spoiler(torch.nn.Linear):
        seen = 0

        def forward(self, x):
            self.seen += self.training and torch.is_grad_enabled()
            return super().forward(x) * (torch.nan if self.seen > after else 1)

    vae = vk.VAE(
        2, size="small", epochs=2, batch_size=10, trainer={"checkpoint_seconds": 0.0}, likelihood={"name": "normal", "scale": 1},
        decoder=lambda i, o, c: torch.nn.Sequential(Spoiler(2, 3), torch.nn.Unflatten(1, o)),
    )  # fmt: skip
    with pytest.raises(UserError, match="last good state is kept in" if after else "no weights were kept"):
        vae.fit_data(dataset(ROWS), folder=tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.safetensors").exists() == bool(after)


# -- streams -----------------------------------------------------------------------------------------------------------------


def unread():
    """A pipe whose reader has gone."""
    read, write = os.pipe()
    os.close(read)
    return os.fdopen(write, "w", buffering=1)


def full():
    """A file on a disk without room."""
    return os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")


@pytest.mark.parametrize("stream", [unread, full])
def test_a_log_that_cannot_be_written_stops_nothing(stream, tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    fit = ["fit", tmp_path / "x.npy", "--size", "small", "--epochs", 2, "--sampler", "prior", "--no-report"]
    vaekit(*fit, "--out", tmp_path / "run", stderr=stream(), check=0)
    assert (tmp_path / "run" / "model.safetensors").exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host") / "é\x1b[31m"
    folder.mkdir()
    return (
        vk.VAE(**TINY).fit_data(dataset(ROWS), folder=folder / "run", origin={"source": "é\x1b[31m.npy"})
        and folder / "run"
    )


def test_a_full_disk_under_the_output_is_told(run):
    said = vaekit("info", run, stdout=full(), check=2).stderr
    assert said.startswith("vaekit: error: ")
    assert "No space left on device" in said
    assert said.count("\n") == 1


def test_an_output_that_nobody_reads_is_no_fault(run):
    assert vaekit("info", run, stdout=unread(), check=1).stderr == ""


def test_a_terminal_of_ascii(run):
    assert r"\xe9" in vaekit("info", run, stdout=io.TextIOWrapper(io.BytesIO(), "ascii"), check=0).stdout


def test_no_name_of_a_file_steers_the_terminal(run):
    for args in (
        ["info", run],
        ["info", run / "none"],
        ["encode", run, "é\x1b[31m.npy"],
        ["fit", "digits", "--out", run],
    ):
        done = vaekit(*args)
        assert "\x1b" not in done.stdout + done.stderr


# -- devices, and places to write ------------------------------------------------------------------------------------------------


def test_no_device_starts_the_program_again(monkeypatch):
    for name in ("WORLD_SIZE", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        UserError, match="need 5 processes, but there are 1: start them with `torchrun --nproc-per-node 5"
    ):
        vk.VAE(**TINY, trainer={"devices": 5}).fit(ROWS)
    for option in (["--devices", 1000], ["--nodes", 3]):
        said = vaekit("fit", "digits", *option, check=2).stderr
        assert "torchrun" in said


VERBS = {
    "fit": [], "sample": [], "encode": ["digits[0]"], "reconstruct": ["digits[0]"], "interpolate": ["digits[0]"] * 2,
    "impute": ["digits[0]"], "score": ["digits[0]"], "evaluate": [], "report": [], "predict": ["digits[0]"], "rollout": ["--env", "two-routes"],
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_refuses_a_device_that_is_not_there(run, verb):
    said = fails(verb, "digits" if verb == "fit" else run, *VERBS[verb], "--device", "cuda:70")
    assert "device='cuda:70' is not on this machine: choose from auto, cpu" in said


EMPTY = [
    ["fit", "digits", "--out"],
    ["sample", "run", "-o"],
    ["demonstrate", "two-routes", "-o"],
    ["export", "run", "-o"],
]


@pytest.mark.parametrize("args", EMPTY)
def test_a_variable_that_is_not_set_is_no_place(args, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = vaekit(*args, "", check=2).stderr
    assert "it is empty" in said
    assert not list(tmp_path.iterdir())


def test_resuming_a_run_that_was_killed_before_its_first_file(tmp_path):
    (tmp_path / "run").mkdir()
    for out in (tmp_path / "run", tmp_path / "none"):
        said = vaekit("fit", "--resume", "--out", out, check=2).stderr
        assert f"holds no run yet, so there is nothing to resume: start it with vaekit fit SOURCE --out {out}" in said
