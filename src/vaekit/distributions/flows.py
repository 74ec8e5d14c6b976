"""Normalising flows as priors and posteriors, by zuko (https://zuko.readthedocs.io)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.distributions.base import Noise
from vaekit.distributions.elementwise import Normal


@dataclass
class Flow:
    """A Normal pushed through an invertible map: z = transform(u), u ~ base, over (B, d).

    Args:
        base: the distribution of u.
        transform: a transform of torch.distributions, u -> z.

    Example:
        >>> from torch.distributions import AffineTransform
        >>> from vaekit.distributions import Flow, Normal
        >>> base = Normal(1, torch.zeros(1, 2), torch.ones(2))
        >>> Flow(base, AffineTransform(3.0, 2.0, event_dim=1)).mean
        tensor([[3., 3.]])
    """

    base: Normal
    transform: Any  # of torch.distributions; u -> z
    _drawn: tuple[Tensor, Tensor] | None = field(default=None, repr=False)  # the last samples and their log density

    @property
    def mean(self) -> Tensor:
        """The image of the base's mean: the flow's centre, which differs from its expectation."""
        with full_precision_flow(self.base.loc):
            return self.transform(self.base.mean)

    def log_prob(self, x: Tensor) -> Tensor:
        # An autoregressive map is quick one way alone. What was just drawn need not be inverted.
        if self._drawn is not None and self._drawn[0] is x:
            return self._drawn[1]
        with full_precision_flow(x):
            u, log_slope = self.transform.inv.call_and_ladj(x)
            return self.base.log_prob(u) + log_slope

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        u = self.base.sample(k, noise)
        with full_precision_flow(u):
            z, log_slope = self.transform.call_and_ladj(u)
            self._drawn = (z, self.base.log_prob(u) - log_slope)
        return z

    def tempered(self, temperature: float) -> Flow:
        return replace(self, base=self.base.tempered(temperature), _drawn=None)


def full_precision_flow(x: Tensor) -> Any:
    """A context without half precision: a density is wrong by as much as its map is rounded."""
    return torch.autocast(x.device.type, enabled=False)


def start_at_identity(transform: nn.Module) -> nn.Module:
    """Make each map of a zuko flow begin as the identity: a flow then starts as its base, and cannot overflow at once."""
    for name, module in transform.named_modules():
        if name.endswith("hyper"):
            nn.init.zeros_(module[-1].weight)  # type: ignore[index, arg-type]
            nn.init.zeros_(module[-1].bias)  # type: ignore[index, arg-type]
    return transform
