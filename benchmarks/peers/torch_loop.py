"""The loop one writes by hand: float32, default Adam; batches from a DataLoader or by slicing a shuffled index."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from common import HIDDEN, IN, LATENT, job, pictures, run_for
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class MLPs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(IN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT))
        self.decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, IN))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)


class Convolutions(nn.Module):
    """pythae's networks for MNIST."""

    def __init__(self) -> None:
        super().__init__()
        from pythae.models import VAEConfig
        from pythae.models.nn.benchmarks.mnist import Decoder_Conv_AE_MNIST, Encoder_Conv_VAE_MNIST

        config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT)
        self.encoder, self.decoder = Encoder_Conv_VAE_MNIST(config), Decoder_Conv_AE_MNIST(config)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        out = self.encoder(x)
        return out.embedding, out.log_covariance

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).reconstruction


def loss(model: MLPs | Convolutions, x: Tensor) -> Tensor:
    mean, log_variance = model.encode(x)
    z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
    reconstruction = 0.5 * F.mse_loss(model.decode(z), x, reduction="sum")
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
    return (reconstruction + kl) / len(x)


def main() -> None:
    given = job()
    batch, rows = given["batch"], given["rows"]
    x = torch.from_numpy(pictures(rows))
    x = x.unsqueeze(1) if given["conv"] else x.flatten(1)
    model = Convolutions() if given["conv"] else MLPs()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    loader = DataLoader(TensorDataset(x), batch, shuffle=True, drop_last=True)

    def step(data: Tensor) -> None:
        optimizer.zero_grad()
        value = loss(model, data)
        value.backward()
        optimizer.step()

    def by_loader() -> int:
        for (data,) in loader:
            step(data)
        return rows // batch * batch

    def by_slices() -> int:
        order = torch.randperm(rows)
        for start in range(0, rows - batch + 1, batch):
            step(x[order[start : start + batch]])
        return rows // batch * batch

    run_for(given["seconds"], by_loader if given["loader"] else by_slices)


main()
