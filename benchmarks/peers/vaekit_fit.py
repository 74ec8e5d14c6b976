"""vaekit by its public API. The history it keeps says which step it was at after how many seconds."""

from __future__ import annotations

from functools import partial
from typing import Any

import vaekit  # isort: skip  # before PyTorch is loaded, as on the command line: it says how threads wait

import torch
from common import HIDDEN, LATENT, job, pictures, report
from torch import Tensor, nn

from vaekit.nets import MLP


class Encoder(nn.Module):
    """pythae's convolutions for MNIST as a vaekit network."""

    def __init__(self, *shapes: Any) -> None:
        super().__init__()
        from pythae.models import VAEConfig
        from pythae.models.nn.benchmarks.mnist import Encoder_Conv_VAE_MNIST

        self.net = Encoder_Conv_VAE_MNIST(VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT))

    def forward(self, x: Tensor) -> Tensor:
        out = self.net(x)
        return torch.cat([out.embedding, out.log_covariance], dim=1)


class Decoder(nn.Module):
    def __init__(self, *shapes: Any) -> None:
        super().__init__()
        from pythae.models import VAEConfig
        from pythae.models.nn.benchmarks.mnist import Decoder_Conv_AE_MNIST

        self.net = Decoder_Conv_AE_MNIST(VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT))

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z).reconstruction


def main() -> None:
    given = job()
    x = pictures(given["rows"])
    mlp = partial(MLP, hidden=(HIDDEN,))
    estimator = vaekit.VAE(
        latent_dim=LATENT,
        encoder=Encoder if given["conv"] else mlp,
        decoder=Decoder if given["conv"] else mlp,
        likelihood={"name": "normal", "scale": given.get("scale", 1.0)},
        sampler="prior",
        batch_size=given["batch"],
        minutes=given["minutes"],
        validation=given["validation"],
        device=given["device"],
        trainer={"precision": given["precision"], "capture": given["capture"]},
    ).fit(x if given["conv"] else x.reshape(len(x), -1))
    first, *_, last = estimator.history_
    if first is last or last["step"] == first["step"]:
        raise SystemExit("one epoch took longer than the time given: use more --seconds")
    report(rows=(last["step"] - first["step"]) * given["batch"], seconds=last["seconds"] - first["seconds"])


main()
