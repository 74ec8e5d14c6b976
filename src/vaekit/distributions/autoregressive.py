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
    """Errors x - loc that are a stationary AR(1) process in each channel: standard deviation `scale`, and correlation
    memory**d at a distance of d steps.

    `loc` (*batch, channels, time), `scale`, `memory`, `log_unit` (channels, 1); `log_unit` as for `Normal`.
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
        seen = step if mask is None else torch.where(mask, step, -1).cummax(-1).values
        before = torch.cat([torch.full_like(seen[..., :1], -1), seen[..., :-1]], dim=-1)
        rho = torch.where(before >= 0, self.memory ** (step - before), 0.0)
        last = torch.cat([torch.zeros_like(error[..., :1]), error[..., :-1]], dim=-1)
        if mask is not None:
            last = error.gather(-1, before.clamp_min(0).expand(error.shape))
        variance = 1 - rho.square()
        logs = -0.5 * (error - rho * last).square() / variance - 0.5 * variance.log()
        logs = logs - (self.scale.log() + HALF_LOG_2PI + self.log_unit)
        return (logs if mask is None else torch.where(mask, logs, 0.0)).flatten(-2).sum(-1)

    def covariance(self) -> Tensor:
        """The covariance of a channel's errors, in units of their variance: (channels, time, time)."""
        step = torch.arange(self.loc.shape[-1], device=self.loc.device)
        return self.memory.unsqueeze(-1) ** (step[:, None] - step).abs()

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        white = noise(k, *self.loc.shape).to(self.loc)
        errors = torch.einsum("cts,...cs->...ct", torch.linalg.cholesky(self.covariance()), white)
        return self.loc + self.scale * errors

    def sample_given(self, x: Tensor, mask: Tensor, noise: Noise = torch.randn) -> Tensor:
        """x (B, channels, time), with draws given the rest where `mask` is False -> (*batch, channels, time). Matheron's rule draws
        all of x, and then corrects the draw by its error where x is known."""
        drawn, covariance = self.sample(1, noise)[0], self.covariance()
        missed, alone = torch.where(mask, x - drawn, 0.0), torch.eye(x.shape[-1]).to(x)
        for seen in mask.unique(dim=0):  # rows with the same gaps share a solve
            rows = (mask == seen).flatten(1).all(1)
            known = torch.where(seen.unsqueeze(-1) & seen.unsqueeze(-2), covariance, alone)
            gain = torch.linalg.solve(known, covariance, left=False)  # (channels, time, time)
            drawn[..., rows, :, :] += torch.einsum("cts,...cs->...ct", gain, missed[..., rows, :, :])
        return torch.where(mask, x, drawn)

    def tempered(self, temperature: float) -> AutoregressiveNormal:
        return replace(self, scale=self.scale * temperature)


class AutoregressiveLikelihood(NormalLikelihood):
    """Like "normal", for windows of series (channels, time); it also learns the memory of each channel's errors. It does not
    model a memory below 0, which means errors that alternate."""

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
