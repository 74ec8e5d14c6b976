"""The Normal with a full covariance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaekit.distributions.base import Noise
from vaekit.distributions.elementwise import HALF_LOG_2PI


@dataclass
class MultivariateNormal:
    """N(loc, factor factor^T) over (B, d): `loc` (B, d), `factor` (B, d, d) lower triangular, positive on the diagonal."""

    loc: Tensor
    factor: Tensor

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def log_det(self) -> Tensor:
        """Half the log-determinant of the covariance, (B,)."""
        return self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        difference = (x - self.loc).unsqueeze(-1)
        white = torch.linalg.solve_triangular(self.factor, difference, upper=False).squeeze(-1)
        return -(0.5 * white.square() + HALF_LOG_2PI).sum(-1) - self.log_det

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        u = noise(k, *self.loc.shape).to(self.loc)
        return self.loc + (self.factor * u.unsqueeze(-2)).sum(-1)  # a product by @ would be rounded under autocast

    def tempered(self, temperature: float) -> MultivariateNormal:
        return replace(self, factor=self.factor * temperature)
