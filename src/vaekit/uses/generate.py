"""New rows from a model, and paths between rows. At use the encoder is left out: z comes from the prior."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vaekit.distributions import Distribution, normal_noise
from vaekit.model import LatentModel


def shown(distribution: Distribution, mean: bool, generator: torch.Generator | None = None) -> Tensor:
    """One value of each row: the mean, or a draw."""
    return distribution.mean if mean else distribution.sample(1, normal_noise(generator))[0]


@torch.no_grad()
def sample(
    model: LatentModel, n: int, y: Mapping[str, Tensor], *, temperature: float, mean: bool, generator: torch.Generator
) -> Tensor:
    """n rows x ~ p(x|z,y), z ~ p(z|y) with its spread multiplied by `temperature` -> (n, *event).

    `mean`: the mean of p(x|z,y) in place of a draw from it.
    """
    z = model.prior(y or None, n).tempered(temperature).sample(1, normal_noise(generator))[0]
    return shown(model.decode(z, y or None), mean, generator)


def line(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Points from latent a (d,) to latent b (d,), both included -> (steps, d)."""
    share = torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device)[:, None]
    return a + share * (b - a)
