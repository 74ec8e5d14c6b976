"""Posterior heads: the encoder's output -> q(z|x,y)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.distributions.elementwise import Normal

MIN_SCALE = 1e-4
SOFTPLUS_OF_ONE = 0.5413248546  # softplus(this) = 1


class NormalPosterior(nn.Module):
    """A Normal with a diagonal covariance: encoder output (B, 2 * latent_dim) -> location and scale.

    The scale is a softplus, not an exponential: it cannot overflow, and it is bounded away from 0.
    """

    def __init__(self, latent_dim: int):
        super().__init__()
        self.features = 2 * latent_dim

    def forward(self, h: Tensor) -> Normal:
        loc, raw = h.chunk(2, dim=-1)
        return Normal(1, loc, F.softplus(raw + SOFTPLUS_OF_ONE) + MIN_SCALE)
