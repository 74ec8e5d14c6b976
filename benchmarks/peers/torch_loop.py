"""The loop one writes by hand: batches from a DataLoader or by slicing a shuffled index; in float32 with the default Adam, or `tuned`:
in bfloat16 with the fused one; and as one CUDA graph, also in TF32, and with its loss compiled."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from common import HIDDEN, IN, LATENT, job, pictures, run_for, wait_for
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
    batch, rows, device, tuned = given["batch"], given["rows"], given["device"], given.get("tuned", False)
    x = torch.from_numpy(pictures(rows))
    x = x.unsqueeze(1) if given["conv"] else x.flatten(1)
    model = (Convolutions() if given["conv"] else MLPs()).to(device)
    graph, value_of = given.get("graph", False), loss
    if given.get("tf32"):
        torch.set_float32_matmul_precision("high")
    if given.get("compile"):
        value_of = torch.compile(loss)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=tuned or graph or None, capturable=graph)
    loader = DataLoader(TensorDataset(x), batch, shuffle=True, drop_last=True)
    on_device = x.to(device)

    def step(data: Tensor) -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=tuned):
            value = value_of(model, data)
        value.backward()
        optimizer.step()

    def by_loader() -> int:
        for (data,) in loader:
            step(data.to(device))
        return rows // batch * batch

    def by_slices(step: Callable[[Tensor], None] = lambda index: step(on_device[index])) -> int:
        order = torch.randperm(rows, device=device)
        for start in range(0, rows - batch + 1, batch):
            step(order[start : start + batch])
        return rows // batch * batch

    if graph:
        replay = captured(lambda index: step(on_device[index]), torch.zeros(batch, dtype=torch.long, device=device))
        run_for(given["seconds"], lambda: by_slices(replay), wait_for(device))
    else:
        run_for(given["seconds"], by_loader if given["loader"] else by_slices, wait_for(device))


def captured(step: Callable[[Tensor], None], index: Tensor) -> Callable[[Tensor], None]:
    """A step as one CUDA graph, by PyTorch's own recipe."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step(index)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(index)

    def replay(rows: Tensor) -> None:
        index.copy_(rows)
        graph.replay()

    return replay


main()
