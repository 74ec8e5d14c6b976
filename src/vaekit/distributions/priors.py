"""Priors p(z|y): a module that turns the condition's features into a distribution over z."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.distributions.base import full_precision
from vaekit.distributions.elementwise import Normal
from vaekit.distributions.posteriors import MIN_SCALE, SOFTPLUS_OF_ONE


class StandardNormalPrior(nn.Module):
    """N(0, I), whatever the condition."""

    zero: Tensor
    one: Tensor

    def __init__(self, latent_dim: int, condition_features: int = 0):
        super().__init__()
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("one", torch.ones(latent_dim), persistent=False)

    def forward(self, condition: Tensor | None, n: int) -> Normal:
        return Normal(1, self.zero.expand(n, -1), self.one)


class ConditionalNormalPrior(nn.Module):
    """N(mu(y), sigma(y)^2) with mu and sigma learned from the condition; it starts as N(0, I)."""

    def __init__(self, latent_dim: int, condition_features: int = 0, hidden: int = 64):
        super().__init__()
        if not condition_features:
            raise ValueError("prior 'conditional' needs a condition: use CVAE, or prior='standard'")
        last = nn.Linear(hidden, 2 * latent_dim)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(nn.Linear(condition_features, hidden), nn.SiLU(), last)

    def forward(self, condition: Tensor | None, n: int) -> Normal:
        assert condition is not None
        loc, raw = full_precision(self.net(condition)).chunk(2, dim=-1)
        return Normal(1, loc, F.softplus(raw + SOFTPLUS_OF_ONE) + MIN_SCALE)


PRIORS: dict[str, type[nn.Module]] = {"standard": StandardNormalPrior, "conditional": ConditionalNormalPrior}
