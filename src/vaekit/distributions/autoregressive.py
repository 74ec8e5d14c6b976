"""A Normal whose errors have a memory: what a decoder misses of a series at one step it mostly misses at the next, too.

Errors that are taken to be independent, and are not, count each step as news: a model is then too sure of its latent, and
what it fills a gap with does not meet the steps beside the gap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.distributions.base import Noise
from vaekit.distributions.elementwise import HALF_LOG_2PI
from vaekit.distributions.likelihoods import NormalLikelihood
from vaekit.errors import UserError

MOST_MEMORY = 0.999  # at 1 the errors would wander off without end
LEAST_MEMORY = 0.2  # where learning begins
MEMORY_SPEED = 6.0  # the logit of the memory moves this much faster than a weight


@dataclass
class AutoregressiveNormal:
    """Normal errors x - loc that are a stationary AR(1) process in each channel.

    Their standard deviation is `scale`, and their correlation at a distance of d steps is memory**d.

    Args:
        loc: (*batch, channels, time). scale, memory, log_unit: (channels, 1); log_unit as for `Normal`.

    Example:
        >>> from vaekit.distributions import AutoregressiveNormal
        >>> p = AutoregressiveNormal(torch.zeros(1, 1, 2), torch.ones(1, 1), torch.zeros(1, 1))
        >>> p.log_prob(torch.zeros(1, 1, 2))  # without memory: independent Normals
        tensor([-1.8379])
    """

    loc: Tensor
    scale: Tensor
    memory: Tensor
    log_unit: Tensor | float = 0.0

    @property
    def mean(self) -> Tensor:
        return self.loc

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(*batch): each step that is seen given the last one before it that is. Exact whatever is missing, since an AR(1)
        process is a Markov chain."""
        error = (x - self.loc) / self.scale
        shape = x.shape if mask is None else mask.shape
        step = torch.arange(shape[-1], device=x.device).expand(shape)
        seen = step if mask is None else last_seen(mask)
        before = torch.cat([torch.full_like(seen[..., :1], -1), seen[..., :-1]], dim=-1)
        rho = torch.where(before >= 0, self.memory ** (step - before), 0.0)
        last = torch.cat([torch.zeros_like(error[..., :1]), error[..., :-1]], dim=-1)
        if mask is not None:
            last = error.gather(-1, before.clamp_min(0).expand(error.shape))
        variance = 1 - rho.square()
        logs = -0.5 * (error - rho * last).square() / variance - 0.5 * variance.log()
        logs = logs - (self.scale.log() + HALF_LOG_2PI + self.log_unit)
        return (logs if mask is None else torch.where(mask, logs, 0.0)).flatten(-2).sum(-1)

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        white = noise(k, *self.loc.shape).to(self.loc)
        step = torch.arange(self.loc.shape[-1], device=self.loc.device)
        # The factor of the errors' covariance: what is new at each step fades with the steps behind it.
        new = torch.where(step > 0, (1 - self.memory.square()).sqrt(), 1.0).unsqueeze(-2)  # (channels, 1, time)
        distance = step[:, None] - step
        factor = torch.where(distance >= 0, new * self.memory.unsqueeze(-1) ** distance.clamp_min(0), 0.0)
        return self.loc + self.scale * torch.einsum("cts,...cs->...ct", factor, white)

    def sample_given(self, x: Tensor, mask: Tensor, noise: Noise = torch.randn) -> Tensor:
        """x (B, channels, time), with draws given the rest where `mask` is False -> (*batch, channels, time). Matheron's rule draws
        all of x, and then corrects the draw by its error where x is known: of a Markov chain, at the nearest steps on both sides."""
        drawn = self.sample(1, noise)[0]
        missed = torch.where(mask, x - drawn, 0.0)
        step = torch.arange(mask.shape[-1], device=mask.device)
        left, right = last_seen(mask), mask.shape[-1] - 1 - last_seen(mask.flip(-1)).flip(-1)
        a = torch.where(left >= 0, self.memory ** (step - left), 0.0)
        b = torch.where(right < mask.shape[-1], self.memory ** (right - step), 0.0)
        before, behind = (
            missed.gather(-1, at.expand(missed.shape)) for at in (left.clamp_min(0), right.clamp_max(len(step) - 1))
        )
        apart = (1 - (a * b).square()).clamp_min(1e-12)
        bridge = (a * (1 - b.square()) * before + b * (1 - a.square()) * behind) / apart
        return torch.where(mask, x, drawn + bridge)

    def tempered(self, temperature: float) -> AutoregressiveNormal:
        return replace(self, scale=self.scale * temperature)


def last_seen(mask: Tensor) -> Tensor:
    """The last step up to each at which mask (..., time) is True, or -1: (..., time)."""
    step = torch.where(mask, torch.arange(mask.shape[-1], device=mask.device), -1)
    if not torch.compiler.is_compiling():
        return step.cummax(-1).values
    past = torch.ones(mask.shape[-1], mask.shape[-1], dtype=torch.bool).tril()  # ONNX has no running maximum
    return torch.where(past, step.unsqueeze(-2), -1).amax(-1)


class AutoregressiveLikelihood(NormalLikelihood):
    """Normal errors with a memory, for windows of series (channels, time): it also learns the memory of each channel's errors.

    It does not model a memory below 0, which means errors that alternate. The options are those of `NormalLikelihood`.

    Raises:
        UserError: an event is not (channels, time).

    Example:
        >>> from vaekit.distributions.autoregressive import AutoregressiveLikelihood
        >>> AutoregressiveLikelihood((2, 16)).param_shape
        (2, 16)
    """

    def __init__(self, event_shape: tuple[int, ...], **options: Any):
        if len(event_shape) != 2:
            raise UserError("likelihood 'autoregressive' is for series, (channels, time): use 'normal'")
        super().__init__(event_shape, **options)
        # From little on: where errors begin with a long memory, they explain the series, and the decoder learns little of it.
        self.raw_memory = nn.Parameter(torch.full((event_shape[0], 1), LEAST_MEMORY).logit() / MEMORY_SPEED)

    @property
    def memory(self) -> Tensor:
        """(channels, 1), from 0 to below 1."""
        return MOST_MEMORY * (MEMORY_SPEED * self.raw_memory).sigmoid()

    def forward(self, h: Tensor) -> AutoregressiveNormal:  # type: ignore[override]
        return AutoregressiveNormal(h, self.scale, self.memory, self.log_unit)
