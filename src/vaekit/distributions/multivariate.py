"""The Normal with a full covariance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vaekit.distributions.base import Noise
from vaekit.distributions.elementwise import HALF_LOG_2PI


@dataclass
class MultivariateNormal:
    """A Normal with a full covariance over (B, d), N(loc, factor factor^T).

    Args:
        loc: (B, d). factor: (B, d, d), lower triangular and positive on the diagonal.

    Example:
        >>> from vaekit.distributions import MultivariateNormal
        >>> MultivariateNormal(torch.zeros(1, 2), torch.eye(2)[None]).log_prob(torch.zeros(1, 2))
        tensor([-1.8379])
    """

    loc: Tensor
    factor: Tensor
    _drawn: tuple[Tensor, Tensor] | None = field(default=None, repr=False)  # the last samples, and their noise

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def log_det(self) -> Tensor:
        """Half the log-determinant of the covariance, (B,)."""
        return self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        if self._drawn is not None and self._drawn[0] is x:  # no equation to solve, and nothing lost in solving it
            white = self._drawn[1]
        else:
            difference = (x - self.loc).unsqueeze(-1)
            white = torch.linalg.solve_triangular(self.factor, difference, upper=False).squeeze(-1)
        return -(0.5 * white.square() + HALF_LOG_2PI).sum(-1) - self.log_det

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        u = noise(k, *self.loc.shape).to(self.loc)
        z = self.loc + (self.factor * u.unsqueeze(-2)).sum(-1)  # a product by @ would be rounded under autocast
        self._drawn = (z, u)
        return z

    def tempered(self, temperature: float) -> MultivariateNormal:
        return replace(self, factor=self.factor * temperature, _drawn=None)
