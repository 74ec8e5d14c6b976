"""Shared pieces: real data beside the repository, and a model whose likelihood is known exactly."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import nn

from vaekit.distributions.likelihoods import NormalLikelihood
from vaekit.model import LatentModel

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"

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


def vaekit(*args, check=None, cwd=None, env=None, **kwargs) -> subprocess.CompletedProcess:
    """Run the command line in a process of its own."""
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
