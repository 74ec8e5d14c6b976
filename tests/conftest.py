"""Shared pieces: real data beside the repository, and a model whose likelihood is known exactly."""

import contextlib
import csv
import datetime
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from hypothesis import settings
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from vaekit.cli import main
from vaekit.distributions.likelihoods import NormalLikelihood
from vaekit.errors import UserError
from vaekit.model import LatentModel
from vaekit.sources.base import Dataset

# Settings of a fit that takes no time.
TINY: dict[str, Any] = {"latent_dim": 2, "size": "small", "epochs": 2, "sampler": "prior"}
DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def pytest_configure(config):
    """Tests are of the CPU, which computes the same bits every time; `make test-gpu` runs those of them that are also of a GPU."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


torch.set_num_threads(1)
# A shell that starts the tests in its background has them ignore Ctrl-C, and nohup a terminal that goes away.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
settings.register_profile("loaded", deadline=None)  # a busy machine is not a fault of the code
settings.load_profile("loaded")


@pytest.fixture(autouse=True)
def seeded():
    """Each test has its own random numbers, whatever ran before it."""
    torch.manual_seed(0)


def real(path: str) -> Path:
    """A file of the real data; the test is skipped where it is absent."""
    if not (DATA / path).exists():
        pytest.skip(f"{path} is not on this machine")
    return DATA / path


def text_stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)


def written(stream) -> str:
    """What was written to a stream that is kept in memory."""
    return stream.buffer.getvalue().decode() if isinstance(stream.buffer, io.BytesIO) else ""


def vaekit(*args, check=None, cwd=None, stdout=None, stderr=None) -> subprocess.CompletedProcess:
    """Run the command line in this process: its exit code, what it printed and what it said, as a process has them."""
    out, err = stdout or text_stream(), stderr or text_stream()
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["vaekit", *map(str, args)])
        patch.setattr(logging.getLogger("vaekit"), "handlers", [])
        patch.setattr(logging.getLogger("vaekit"), "level", logging.NOTSET)
        patch.setenv("COLUMNS", "120")
        if cwd is not None:
            patch.chdir(cwd)
        with pytest.raises(SystemExit) as stopped:
            main()
    done = subprocess.CompletedProcess(args, stopped.value.code, written(out), written(err))
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done


def fails(*args, cwd=None) -> str:
    """The one line that the command line says as it refuses."""
    said = vaekit(*args, cwd=cwd, check=2).stderr.splitlines()
    lines = [line for line in said if not line.startswith(("note:", "epoch")) and " -> " not in line]
    assert len(lines) == 1, said
    assert lines[0].startswith("vaekit: error: ")
    return lines[0]


def process(*args, check=None, cwd=None, env=None, **kwargs) -> subprocess.CompletedProcess:
    """Run the command line in a process of its own, which takes three seconds more."""
    command = [sys.executable, "-m", "vaekit", *map(str, args)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", **(env or {})}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300, **kwargs)
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done


def start(*args, cwd=None, env=None) -> subprocess.Popen:
    command = [sys.executable, "-m", "vaekit", *map(str, args)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def kill_at_checkpoints(run, waits, *command):
    """Start a command again and again, which writes checkpoints to `run`, and kill it a little after it has written a new one. Returns how
    often it was killed before it had ended."""
    kills, checkpoint = 0, run / "checkpoint.safetensors"
    for wait in waits:
        running = start(*command, *(["--resume"] if run.exists() else []))
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while running.poll() is None:
            if checkpoint.exists() and checkpoint.stat().st_mtime_ns > before:
                time.sleep(wait)
                kills += running.poll() is None
                kill(running)
            time.sleep(0.005)
    return kills


def timeless(run):
    """Metrics without the column that no two runs share."""
    with (run / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def write_settings(path, **trainer):
    """Checkpoints at every step, so that a kill can fall inside a write."""
    path.write_text(yaml.safe_dump({"trainer": {"checkpoint_seconds": 0.0, **trainer}}))
    return path


def weights(run):
    return {k: v.clone() for k, v in load_file(run / "checkpoint.safetensors").items() if not k.startswith("random")}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


def mistake(do, *args, **kwargs) -> str:
    """The one line of the UserError that a call ends in."""
    with pytest.raises(UserError) as caught:
        do(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def noise(*shape, top=256, seed=0) -> np.ndarray:
    """Pixels of whole numbers below `top`."""
    return np.random.default_rng(seed).integers(0, top, shape, dtype=np.uint8)


def save_picture(path, pixels, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)
    return path


def people(n: int, seed: int, *, gaps: bool = True) -> pa.Table:
    """Rows of one world: height goes with age, job and its pay with sex, and some answers are missing."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, n)
    sex = rng.integers(0, 2, n)
    job = np.where(rng.random(n) < 0.8, sex, rng.integers(0, 3, n))
    pay = 1000 * (job + 1) + 20 * age + rng.normal(0, 100, n)
    born = [datetime.date(2020 - a, 1, 1) for a in age.tolist()]
    table = {
        "age": pa.array(age),
        "pay": pa.array(np.where(rng.random(n) < 0.1 * gaps, np.nan, pay)),
        "height": pa.array(1.7 + 0.1 * sex + rng.normal(0, 0.05, n)),
        "sex": pa.array(np.array(["f", "m"])[sex]),
        "job": pa.array(np.array(["cook", "clerk", None])[job] if gaps else np.array(["cook", "clerk", "smith"])[job]),
        "born": pa.array(born),
        "member": pa.array(rng.random(n) < 0.3),
    }
    return pa.table(table)


class LinearGaussian:
    """z ~ N(0, I), x ~ N(W z + b, sigma^2 I): the model, its exact posterior's encoder, and log p(x) in closed form."""

    def __init__(self, columns=6, latent_dim=3, sigma=0.7, seed=0):
        g = torch.Generator().manual_seed(seed)
        orthogonal = torch.linalg.qr(torch.randn(columns, latent_dim, generator=g, dtype=torch.float64)).Q
        self.W = orthogonal * torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)[:latent_dim]  # WᵀW diagonal
        self.b = torch.randn(columns, generator=g, dtype=torch.float64)
        self.sigma, self.columns, self.latent_dim = sigma, columns, latent_dim

    def log_px(self, x):
        covariance = self.W @ self.W.T + self.sigma**2 * torch.eye(self.columns, dtype=torch.float64)
        return torch.distributions.MultivariateNormal(self.b, covariance).log_prob(x)

    def rows(self, n, seed=1):
        g = torch.Generator().manual_seed(seed)
        z = torch.randn(n, self.latent_dim, generator=g, dtype=torch.float64)
        return z @ self.W.T + self.b + self.sigma * torch.randn(n, self.columns, generator=g, dtype=torch.float64)

    def model(self, widen=1.0) -> LatentModel:
        """The model with its exact posterior, its scale multiplied by `widen` (1: the ELBO is log p(x))."""
        variance = 1 / (1 + self.W.square().sum(0) / self.sigma**2)
        encoder = nn.Linear(self.columns, 2 * self.latent_dim).double()
        decoder = nn.Linear(self.latent_dim, self.columns).double()
        with torch.no_grad():
            half = self.latent_dim
            encoder.weight[:half] = (variance / self.sigma**2)[:, None] * self.W.T
            encoder.bias[:half] = -encoder.weight[:half] @ self.b
            encoder.weight[half:] = 0
            scale = variance.sqrt() * widen - 1e-4  # the inverse of the posterior head's softplus
            encoder.bias[half:] = torch.log(torch.expm1(scale)) - 0.5413248546
            decoder.weight[:] = self.W
            decoder.bias[:] = self.b
        likelihood = NormalLikelihood((self.columns,), scale=self.sigma).double()
        return LatentModel(encoder, decoder, likelihood, latent_dim=self.latent_dim).double()


@pytest.fixture
def linear_gaussian():
    return LinearGaussian()


@pytest.fixture(scope="session")
def digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.images.astype(np.uint8), data.target


SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")  # while a browser is open, its thread has an event loop
def page():
    """A page of a browser as narrow as a phone."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium here")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = p.chromium.launch(executable_path=browser, args=arguments)
        yield chromium.new_page(viewport={"width": 390, "height": 800})
        chromium.close()


def dataset(x: Any, y: Mapping[str, Any] | None = None) -> Dataset:
    """Rows and their conditions, as a source is read."""
    return Dataset(x, "", "data", None, {name: np.asarray(values) for name, values in (y or {}).items()}, [])


def check_page(page: Any, path: Path, sections: set[str]) -> None:
    """The page is one file that asks for nothing else, complains of nothing, runs nothing, has these sections, says what its
    pictures are, and is no wider than a phone."""
    requests: list[str] = []
    troubles: list[str] = []
    page.on("request", lambda r: requests.append(r.url))
    page.on("console", lambda m: troubles.append(m.text))
    page.on("pageerror", lambda e: troubles.append(str(e)))
    page.on("dialog", lambda d: (troubles.append("a dialog"), d.dismiss()))
    page.goto(path.as_uri())
    assert {url.split(":")[0] for url in requests} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in requests) == 1
    assert troubles == []
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0 && i.alt)")
    assert page.evaluate("[...document.querySelectorAll('svg')].every(s => s.getAttribute('aria-label'))")
    assert set(page.evaluate("[...document.querySelectorAll('section')].map(s => s.id)")) == sections
    assert page.evaluate("document.querySelectorAll('script').length") == 0
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
