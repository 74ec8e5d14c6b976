"""What every distribution can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Noise = Callable[..., Tensor]
"""`noise(k, B, *event)` gives standard Normal numbers of that shape: k samples for each of B rows."""


def normal_noise(generator: torch.Generator | None = None) -> Noise:
    """Fresh standard Normal noise, from `generator` or from torch's global one.

    Example:
        >>> from vaekit.distributions import normal_noise
        >>> normal_noise(torch.Generator().manual_seed(0))(5, 8, 2).shape
        torch.Size([5, 8, 2])
    """
    return lambda *shape: torch.randn(*shape, generator=generator)


def noise_like(x: Tensor) -> Noise:
    """Fresh standard Normal noise on the device of `x`, from torch's own generator there."""
    return lambda *shape: torch.randn(*shape, device=x.device)


class Distribution(Protocol):
    """A batch of distributions over events. Log-probabilities are in nats and summed over the event.

    Example:
        >>> prior = vae.model_.prior(n=4)  # over (4, 2)
        >>> prior.sample(5).shape, prior.log_prob(torch.zeros(4, 2)).shape
        (torch.Size([5, 4, 2]), torch.Size([4]))
    """

    @property
    def mean(self) -> Tensor:
        """(*batch, *event)"""

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-probability of `x` (*batch, *event) -> (*batch)."""

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        """k reparameterised samples -> (k, *batch, *event)."""

    def tempered(self, temperature: float) -> Distribution:
        """The same distribution with its spread multiplied by `temperature` (0: its mean; 1: itself)."""


class DataDistribution(Distribution, Protocol):
    """A distribution over data, in which entries may be missing. A latent has no missing entries.

    Example:
        >>> p = vae.model_.decode(torch.zeros(1, 2))
        >>> seen = torch.tensor([[True, False, False]])
        >>> p.sample_given(torch.ones(1, 3), seen)[0, 0].item()  # the known entry stays
        1.0
    """

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log-probability of `x` (*batch, *event) -> (*batch). Entries where `mask` is False are left out."""

    def sample_given(self, x: Tensor, mask: Tensor, noise: Noise = torch.randn) -> Tensor:
        """x (B, *event) with a draw, given the rest, where `mask` (B, *event) is False -> (*batch, *event)."""


def sum_event(values: Tensor, event_ndim: int, mask: Tensor | None = None) -> Tensor:
    """Sum (*batch, *event) over the event -> (*batch), leaving out entries where `mask` is False."""
    if mask is not None:
        values = torch.where(mask, values, 0.0)
    return values.flatten(-event_ndim).sum(-1)


def full_precision(h: Tensor) -> Tensor:
    """A network's output, back from half precision: networks may run in it, log-probabilities never do."""
    return h.float() if h.dtype in (torch.bfloat16, torch.float16) else h
