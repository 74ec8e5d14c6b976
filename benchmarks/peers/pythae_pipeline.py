"""pythae's own TrainingPipeline with its defaults. Its progress bar is silenced and nothing is saved while it runs."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from typing import Any

import torch
from common import HIDDEN, IN, LATENT, job, pictures, report
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.models.nn.benchmarks.mnist import Decoder_Conv_AE_MNIST, Encoder_Conv_VAE_MNIST
from pythae.pipelines import TrainingPipeline
from pythae.trainers import BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor, nn


class Encoder(BaseEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(IN, HIDDEN), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)

    def forward(self, x: Tensor) -> ModelOutput:
        h = self.hidden(x.flatten(1))
        return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))


class Decoder(BaseDecoder):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, IN))

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.net(z).unflatten(1, (1, 28, 28)))


class TimeIsUp(Exception):  # noqa: N818
    pass


class Clock(TrainingCallback):
    """Starts after the first epoch; ends the training at the end of the epoch in which the time is up."""

    def __init__(self, rows: int, seconds: float):
        self.rows, self.seconds, self.epochs, self.start = rows, seconds, 0, 0.0

    def on_log(self, training_config: Any, logs: Any, **kwargs: Any) -> None:
        now = time.perf_counter()
        if not self.start:
            self.start = now
            return
        self.epochs += 1
        if now - self.start >= self.seconds:
            report(rows=self.epochs * self.rows, seconds=now - self.start)
            raise TimeIsUp


def main() -> None:
    given = job()
    logging.disable(logging.INFO)
    x = torch.from_numpy(pictures(given["rows"])).unsqueeze(1)
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="mse")
    if given["conv"]:
        model = VAE(config, Encoder_Conv_VAE_MNIST(config), Decoder_Conv_AE_MNIST(config))
    else:
        model = VAE(config, Encoder(), Decoder())
    with tempfile.TemporaryDirectory() as folder:
        training = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=10**6,
            learning_rate=1e-3,
            per_device_train_batch_size=given["batch"],
            no_cuda=given["device"] != "cuda",
        )
        with contextlib.suppress(TimeIsUp):
            TrainingPipeline(model, training)(x, callbacks=[Clock(len(x), given["seconds"])])


main()
