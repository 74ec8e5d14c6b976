"""New rows from a model. At use the encoder is left out: z comes from the prior."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.distributions import Distribution, normal_noise
from vaekit.model import LatentModel
from vaekit.uses.samplers import features

ROWS = 16_384  # drawn at a time: bounds memory


def shown(distribution: Distribution, mean: bool, generator: torch.Generator | None = None) -> Tensor:
    """One value of each row: the mean, or a draw."""
    return distribution.mean if mean else distribution.sample(1, normal_noise(generator))[0]


@torch.no_grad()
def sample(
    model: LatentModel,
    n: int,
    y: Mapping[str, Tensor],
    *,
    sampler: nn.Module | None = None,
    temperature: float,
    guidance: float = 0.0,
    mean: bool,
    generator: torch.Generator,
    likelihood: Callable[[Any], Distribution] | None = None,
) -> Tensor:
    """n rows x ~ p(x|z,y), z ~ p(z|y) with its spread multiplied by `temperature` -> (n, *event).

    `sampler`: what z is drawn from in place of the model's prior; see `vaekit.uses.samplers`.
    `guidance`: see `Model.decode`. `mean`: the mean of p(x|z,y) in place of a draw from it.
    `likelihood`: p(x|z,y) -> what is drawn from in its place.
    """
    prior = model.prior(y, n) if sampler is None else sampler(features(model.condition, y, n), n)
    z = prior.tempered(temperature).sample(1, normal_noise(generator))[0]
    p = model.decode(z, y, guidance)
    return shown(likelihood(p) if likelihood else p, mean, generator)
