"""Mixtures of Normals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from vaekit.distributions.base import Noise
from vaekit.distributions.elementwise import HALF_LOG_2PI

NEGLIGIBLE = -50.0  # log of a term beside the largest


@dataclass
class Mixture:
    """A mixture of K diagonal Normals over (B, d).

    Args:
        log_weights: (B, K) or (K,), normalised.
        loc, scale: (B, K, d), or (K, d) if all rows share them.
        rows: B.

    Example:
        >>> from vaekit.distributions import Mixture
        >>> p = Mixture(torch.tensor([0.5, 0.5]).log(), torch.tensor([[-1.0], [1.0]]), torch.ones(2, 1), rows=3)
        >>> p.mean.tolist(), p.sample(4).shape
        ([[0.0], [0.0], [0.0]], torch.Size([4, 3, 1]))
    """

    log_weights: Tensor
    loc: Tensor
    scale: Tensor
    rows: int

    @property
    def mean(self) -> Tensor:
        weights = self.log_weights.exp().unsqueeze(-1)
        return (weights * self.loc).sum(-2).expand(self.rows, -1)

    def log_prob_components(self, z: Tensor) -> Tensor:
        """log weight + log density of each component at z (..., B, d) -> (..., B, K)."""
        z, (factors, constants) = z.double(), self.multiplied_out
        terms = torch.cat([z.square(), z], -1)
        with torch.autocast(z.device.type, enabled=False):
            shared = self.loc.ndim == 2
            products = terms @ factors.T if shared else torch.einsum("...bd,bkd->...bk", terms, factors)
        return products + constants

    @cached_property
    def multiplied_out(self) -> tuple[Tensor, Tensor]:
        """The log-density of a component as a sum over z^2 and z: factors (..., K, 2 d) and constants (..., K), in float64.

        This avoids a tensor (..., B, K, d). It needs float64, since its terms cancel.
        """
        loc, scale = self.loc.double(), self.scale.double()
        precision = scale.pow(-2)
        constants = (0.5 * loc.square() * precision + scale.log() + HALF_LOG_2PI).sum(-1)
        return torch.cat([-0.5 * precision, loc * precision], -1), self.log_weights - constants

    def log_prob(self, x: Tensor) -> Tensor:
        parts = self.log_prob_components(x)
        most = parts.amax(-1, keepdim=True).detach()
        # As logsumexp, but in 32 bits, and but for terms that are too small to count: exponentials that are almost 0 take long.
        below = (parts - most).float().clamp_min(NEGLIGIBLE)
        return (most.squeeze(-1) + below.exp().sum(-1).log()).to(x)

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        return self.of(self.pick(k, noise), noise)

    def pick(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        """k components of each row, drawn by their weights -> (k, B) of whole numbers."""
        edges = self.log_weights.double().exp().cumsum(-1).expand(self.rows, -1)
        uniform = torch.special.ndtr(noise(k, self.rows, 1).to(edges))
        return (uniform > edges).sum(-1).clamp_max(edges.shape[-1] - 1)

    def of(self, component: Tensor, noise: Noise = torch.randn) -> Tensor:
        """A sample of each of these components (k, B) -> (k, B, d)."""
        row = torch.arange(self.rows, device=component.device)
        loc, scale = (t[component] if t.ndim == 2 else t[row, component] for t in (self.loc, self.scale))
        return loc + scale * noise(len(component), self.rows, self.loc.shape[-1]).to(loc)

    def tempered(self, temperature: float) -> Mixture:
        """The same mixture with the spread of every component multiplied. The weights stay as they are."""
        return replace(self, scale=self.scale * temperature)
