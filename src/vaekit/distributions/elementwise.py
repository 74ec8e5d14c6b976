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
    """Base of distributions of independent elements. A subclass gives the log-probability of each element."""

    event_ndim: int

    def log_prob_elements(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return sum_event(self.log_prob_elements(x), self.event_ndim, mask)

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        raise NotImplementedError

    def sample_given(self, x: Tensor, mask: Tensor, noise: Noise = torch.randn) -> Tensor:
        return torch.where(mask, x, self.sample(1, noise)[0])


@dataclass
class Normal(Elementwise):
    """Independent Normals.

    Args:
        event_ndim: how many of the last dimensions are one event.
        loc: (*batch, *event), the means. scale: standard deviations, broadcastable to loc.
        log_unit: log of how many of the data's own units one unit of x is: densities are per unit of the data, whatever scale a
            model works in.

    Example:
        >>> from vaekit.distributions import Normal
        >>> Normal(1, torch.zeros(1, 2), torch.ones(2)).log_prob(torch.zeros(1, 2))  # -log 2 pi
        tensor([-1.8379])
    """

    loc: Tensor
    scale: Tensor
    log_unit: Tensor | float = 0.0

    @property
    def mean(self) -> Tensor:
        return self.loc

    def log_prob_elements(self, x: Tensor) -> Tensor:
        return -0.5 * ((x - self.loc) / self.scale).square() - (self.scale.log() + HALF_LOG_2PI + self.log_unit)

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        # As squares and constants: two passes over the data in place of five.
        x, loc = torch.broadcast_tensors(x, self.loc)
        squares = F.mse_loss(loc, x, reduction="none") * (-0.5 / self.scale.square())
        constants = self.scale.log() + HALF_LOG_2PI + self.log_unit
        if mask is None:
            constants = constants.expand(*constants.shape[: -self.event_ndim], *loc.shape[-self.event_ndim :])
        return sum_event(squares, self.event_ndim, mask) - sum_event(constants, self.event_ndim, mask)

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        return self.loc + self.scale * noise(k, *self.loc.shape).to(self.loc)

    def tempered(self, temperature: float) -> Normal:
        return replace(self, scale=self.scale * temperature)


@dataclass
class Laplace(Elementwise):
    """Independent Laplace distributions.

    Args:
        event_ndim: how many of the last dimensions are one event.
        loc: (*batch, *event), the medians. scale: mean absolute deviations, broadcastable to loc.
        log_unit: as for `Normal`.

    Example:
        >>> from vaekit.distributions import Laplace
        >>> Laplace(1, torch.zeros(1, 2), torch.ones(2)).log_prob(torch.zeros(1, 2))  # -2 log 2
        tensor([-1.3863])
    """

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
    """Independent Bernoullis.

    For x strictly between 0 and 1, `log_prob` is the negative binary cross-entropy: a bound to train by, not a normalised density.

    Args:
        event_ndim: how many of the last dimensions are one event.
        logits: (*batch, *event).

    Example:
        >>> from vaekit.distributions import Bernoulli
        >>> Bernoulli(1, torch.zeros(1, 2)).log_prob(torch.ones(1, 2))  # 2 log 1/2
        tensor([-1.3863])
    """

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
class ContinuousBernoulli(Elementwise):
    """The density on [0, 1] that is proportional to the Bernoulli's formula.

    Args:
        event_ndim: how many of the last dimensions are one event.
        logits: (*batch, *event).
        log_unit: as for `Normal`.

    Source: Loaiza-Ganem & Cunningham 2019, arXiv 1907.06845.

    Example:
        >>> from vaekit.distributions import ContinuousBernoulli
        >>> ContinuousBernoulli(1, torch.zeros(1, 2)).mean  # uniform
        tensor([[0.5000, 0.5000]])
    """

    logits: Tensor
    log_unit: Tensor | float = 0.0

    @property
    def mean(self) -> Tensor:
        x = self.logits
        small, squares = x.abs() < 1, x.square()
        # There the formula cancels. What the series leaves out is below 2e-8.
        series = 0.5 + x * (1 / 12 - squares * (1 / 720 - squares * (1 / 30240 - squares / 1209600)))
        far = torch.where(small, 1.0, x)
        return torch.where(small, series, far.sigmoid() / (0.5 * far).tanh() - far.reciprocal())

    def log_prob_elements(self, x: Tensor) -> Tensor:
        near_zero, logits = self._away_from_zero()
        squares = self.logits.square()
        log_constant = torch.where(  # log of logits / tanh(logits / 2); its series where that is 0 / 0
            near_zero, math.log(2) + squares / 12, (logits / (0.5 * logits).tanh()).log()
        )
        return x * self.logits - F.softplus(self.logits) + log_constant - self.log_unit

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        normal = noise(k, *self.logits.shape).to(self.logits)
        near_zero, logits = self._away_from_zero()
        log_u, log_rest = torch.special.log_ndtr(normal), torch.special.log_ndtr(-normal)
        inverse_cdf = torch.logaddexp(log_u + logits, log_rest) / logits
        return torch.where(near_zero, torch.special.ndtr(normal), inverse_cdf).clamp(0, 1)

    def tempered(self, temperature: float) -> ContinuousBernoulli:
        return replace(self, logits=self.logits / max(temperature, 1e-6))

    def _away_from_zero(self) -> tuple[Tensor, Tensor]:
        near_zero = self.logits.abs() < 1e-2
        return near_zero, torch.where(near_zero, 1.0, self.logits)


@dataclass
class LogisticMixture(Elementwise):
    """A mixture of K logistic densities, rounded to a grid: a probability of each value `low`, `low + step`, ..., `high`.

    The first and the last value get the tails, so that all probabilities add up to 1.

    Args:
        event_ndim: how many of the last dimensions are one event.
        logits, loc, log_scale: (*batch, *event, K).
        step, low, high: broadcastable to an event.

    Source: Salimans et al. 2017, arXiv 1701.05517.

    Example:
        >>> from vaekit.distributions import LogisticMixture
        >>> one = torch.ones(1)
        >>> p = LogisticMixture(1, torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), one, -one, one)
        >>> total = sum(p.log_prob(torch.tensor([[x]])).exp() for x in (-1.0, 0.0, 1.0))
        >>> round(total.item(), 4)
        1.0
    """

    logits: Tensor
    loc: Tensor
    log_scale: Tensor
    step: Tensor
    low: Tensor
    high: Tensor

    @property
    def mean(self) -> Tensor:
        """The mean of the mixture before it is rounded, kept within the range."""
        return (self.logits.softmax(-1) * self.loc).sum(-1).clamp(self.low, self.high)

    def log_prob_elements(self, x: Tensor) -> Tensor:
        inverse, half = (-self.log_scale).exp(), 0.5 * self.step
        centred = x.unsqueeze(-1) - self.loc
        above = inverse * (centred + half.unsqueeze(-1))
        below = inverse * (centred - half.unsqueeze(-1))
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - e^(b - a)), which neither cancels nor underflows.
        inside = F.logsigmoid(above) + F.logsigmoid(-below) + log1mexp(inverse * self.step.unsqueeze(-1))
        first, last = (x < self.low + half).unsqueeze(-1), (x > self.high - half).unsqueeze(-1)
        log_p = torch.where(first, F.logsigmoid(above), torch.where(last, F.logsigmoid(-below), inside))
        log_p = log_p.masked_fill(first & last, 0.0)  # a range of one value
        return (self.logits.log_softmax(-1) + log_p).logsumexp(-1)

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        n = noise(2 * k, *self.loc.shape[:-1]).to(self.loc).unflatten(0, (2, k))
        edges = self.logits.softmax(-1).cumsum(-1)
        component = (torch.special.ndtr(n[0]).unsqueeze(-1) > edges).sum(-1).clamp_max(edges.shape[-1] - 1)
        index = component.unsqueeze(-1)
        loc, log_scale = (t.expand(k, *t.shape).gather(-1, index).squeeze(-1) for t in (self.loc, self.log_scale))
        logistic = torch.special.log_ndtr(n[1]) - torch.special.log_ndtr(-n[1])
        steps = ((loc + log_scale.exp() * logistic - self.low) / self.step).round()
        return (self.low + steps * self.step).clamp(self.low, self.high)

    def tempered(self, temperature: float) -> LogisticMixture:
        return replace(self, log_scale=self.log_scale + math.log(max(temperature, 1e-6)))


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - e^-x) for x > 0, without cancellation (Maechler 2012)."""
    small, half = x < math.log(2), math.log(2)  # each formula sees the x that it is for: elsewhere its slope is NaN
    below, above = torch.where(small, x, half), torch.where(small, half, x)
    return torch.where(small, (-torch.expm1(-below)).clamp_min(1e-30).log(), torch.log1p(-(-above).exp()))


@dataclass
class Categorical(Elementwise):
    """Independent categories 0..K-1, as floats. The mean is the likeliest category, since an average of codes means nothing.

    Args:
        event_ndim: how many of the last dimensions are one event.
        logits: (*batch, *event, K).

    Example:
        >>> from vaekit.distributions import Categorical
        >>> Categorical(1, torch.zeros(1, 1, 4)).log_prob(torch.ones(1, 1))  # log 1/4
        tensor([-1.3863])
    """

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
