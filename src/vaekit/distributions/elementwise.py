"""Distributions whose elements are independent given their parameters.

`event_ndim` says how many of the last dimensions are one event; the dimensions before them are the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vaekit.distributions.base import Noise, sum_event

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass
class Elementwise:
    """Base: a distribution that says what each element's log-probability is needs no `log_prob` of its own."""

    event_ndim: int

    def log_prob_elements(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return sum_event(self.log_prob_elements(x), self.event_ndim, mask)


@dataclass
class Normal(Elementwise):
    """Independent Normals: `loc` (*batch, *event), `scale` broadcastable to it.

    `log_unit`, where given, is the log of how many of the data's own units one unit of x is: densities are per unit of
    the data, whatever scale a model works in.
    """

    loc: Tensor
    scale: Tensor
    log_unit: Tensor | float = 0.0

    @property
    def mean(self) -> Tensor:
        return self.loc

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        # As squares and constants: two passes over the data in place of five.
        x, loc = torch.broadcast_tensors(x, self.loc)
        squares = F.mse_loss(loc, x, reduction="none") * (-0.5 / self.scale.square())
        constants = self.scale.log() + HALF_LOG_2PI + self.log_unit
        event = loc.shape[-self.event_ndim :] if mask is None else mask.shape
        constants = constants.expand(torch.broadcast_shapes(constants.shape, event))
        return sum_event(squares, self.event_ndim, mask) - sum_event(constants, self.event_ndim, mask)

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        return self.loc + self.scale * noise(k, *self.loc.shape).to(self.loc)

    def tempered(self, temperature: float) -> Normal:
        return replace(self, scale=self.scale * temperature)


@dataclass
class Laplace(Elementwise):
    """Independent Laplace distributions: `loc` (*batch, *event), `scale` (the mean absolute deviation), `log_unit` as for
    `Normal`."""

    loc: Tensor
    scale: Tensor
    log_unit: Tensor | float = 0.0

    @property
    def mean(self) -> Tensor:
        return self.loc

    def log_prob_elements(self, x: Tensor) -> Tensor:
        return -(x - self.loc).abs() / self.scale - ((2 * self.scale).log() + self.log_unit)

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        # Half the sum of two squared Normals is Exponential(1), which is |Laplace|; a third Normal gives the sign.
        n = noise(3 * k, *self.loc.shape).to(self.loc).unflatten(0, (3, k))
        return self.loc + self.scale * n[2].sign() * 0.5 * (n[0].square() + n[1].square())

    def tempered(self, temperature: float) -> Laplace:
        return replace(self, scale=self.scale * temperature)


@dataclass
class Bernoulli(Elementwise):
    """Independent Bernoullis by `logits` (*batch, *event). For x strictly between 0 and 1, log_prob is the negative
    binary cross-entropy, which is a bound to train by and no normalised density."""

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        return self.logits.sigmoid()

    def log_prob_elements(self, x: Tensor) -> Tensor:
        return x * self.logits - F.softplus(self.logits)

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        uniform = torch.special.ndtr(noise(k, *self.logits.shape).to(self.logits))
        return (uniform < self.mean).to(self.logits)

    def tempered(self, temperature: float) -> Bernoulli:
        return replace(self, logits=self.logits / max(temperature, 1e-6))


@dataclass
class Categorical(Elementwise):
    """Independent categories 0..K-1 (as floats) by `logits` (*batch, *event, K). Its mean is the likeliest category:
    an average of codes means nothing."""

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        return self.logits.argmax(-1).to(self.logits)

    def log_prob_elements(self, x: Tensor) -> Tensor:
        log_p = self.logits.log_softmax(-1)
        index = x.long().unsqueeze(-1).expand(*log_p.shape[:-1], 1)
        return log_p.gather(-1, index).squeeze(-1)

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        uniform = torch.special.ndtr(noise(k, *self.logits.shape).to(self.logits)).clamp(1e-7, 1 - 1e-7)
        return (self.logits - (-uniform.log()).log()).argmax(-1).to(self.logits)  # the Gumbel-max trick

    def tempered(self, temperature: float) -> Categorical:
        return replace(self, logits=self.logits / max(temperature, 1e-6))
