"""Likelihood heads: the decoder's output -> p(x|z,y).

A likelihood says three things about data: which values it can explain (`check`), what the encoder sees of them
(`features`), and how a decoder's output becomes a distribution over them (`forward`). To add one, write a class and
name it in `LIKELIHOODS`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.distributions.base import DataDistribution
from vaekit.distributions.elementwise import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    Laplace,
    LogisticMixture,
    Normal,
)
from vaekit.errors import UserError
from vaekit.settings.limits import Positive, check

MIN_SCALE = 1e-3  # of a model unit: no column or channel may be explained ever more exactly without end
MAX_CATEGORIES = 10_000
SCALE_SPEED = 5.0  # the log-scale moves this much faster than a weight, or it would limit how fast a model learns

Chunks = Iterable[tuple[Tensor, Tensor | None]]
"""A dataset in pieces that can be walked more than once: x (n, *event) as the model sees it, and its mask."""


class Likelihood(nn.Module):
    """Base of likelihoods: heads that turn the decoder's output into p(x|z,y).

    A likelihood says which values it can explain (`support`), what the encoder sees of them (`features`), and how a decoder's output
    becomes a distribution over them (`forward`). `LIKELIHOODS` names those that estimators find.

    Args:
        event_shape: the shape of one x, (columns,) or (channels, height, width).

    Attributes:
        options: what the constructor needs beside the shape; plain values, for a run's config.
        input_shape: the shape of what the encoder sees of one x.
        param_shape: the shape of what the decoder must give for one x.

    Example:
        >>> from vaekit.distributions import Likelihood, Normal
        >>> class UnitNormal(Likelihood):
        ...     def forward(self, h):
        ...         return Normal(len(self.event_shape), h, torch.ones(()))
        >>> UnitNormal((2,))(torch.zeros(1, 2)).log_prob(torch.zeros(1, 2))
        tensor([-1.8379])
    """

    real_valued = True  # an affine map of x is as good a dataset: the kind may standardise
    any_length = False  # x may be cut behind its last value that is not missing

    def __init__(self, event_shape: tuple[int, ...]):
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.options: dict[str, Any] = {}
        self.input_shape = self.event_shape
        self.param_shape = self.event_shape

    @classmethod
    def from_data(cls, chunks: Chunks, unit: Tensor, **options: Any) -> Likelihood:
        """Make the likelihood for data that comes in `chunks`. One unit of the data in the model is `unit` of the data's own units."""
        return cls(event_shape(chunks), **options)

    def values_per_row(self, shape: Sequence[int]) -> int:
        """The number of values that are held while one x of this shape is scored."""
        return math.prod(self.param_shape)

    def forward(self, h: Tensor) -> DataDistribution:
        """Decoder output (*batch, *param_shape) -> distribution over events (*batch)."""
        raise NotImplementedError

    def features(self, x: Tensor) -> Tensor:
        """What the encoder sees of x: (B, *event) -> (B, *input_shape)."""
        return x

    def support(self, x: Tensor) -> Tensor:
        """True where a value can be explained: bool, (B, *event)."""
        return torch.isfinite(x)

    support_text = "finite numbers"
    support_fix = "remove or mask the infinite values"

    def check(self, x: Tensor, mask: Tensor | None = None) -> None:
        """Check that all values are in the support.

        Raises:
            UserError: names the first value outside the support, its place, and the fix.
        """
        bad = ~self.support(x)
        if mask is not None:
            bad &= mask
        if bad.any():
            where = bad.nonzero()[0].tolist()
            raise UserError(
                f"value {x[tuple(where)].item():g} at row {where[0]}, position {tuple(where[1:])} cannot come from the "
                f"{type(self).__name__.removesuffix('Likelihood')} likelihood, which explains {self.support_text}: "
                f"{self.support_fix}"
            )


class BernoulliLikelihood(Likelihood):
    """Binary cross-entropy, for 0 and 1.

    Values strictly between 0 and 1 are accepted as probabilities, as is usual with grey pictures. The ELBO is then not that of a
    normalised density, so use `binarize` for comparable numbers.

    Example:
        >>> from vaekit.distributions.likelihoods import BernoulliLikelihood
        >>> BernoulliLikelihood((2,))(torch.zeros(1, 2)).log_prob(torch.ones(1, 2))  # 2 log 1/2
        tensor([-1.3863])
    """

    real_valued = False
    support_text = "values from 0 to 1"
    support_fix = "scale the data to [0, 1], or use likelihood 'normal'"

    def forward(self, h: Tensor) -> Bernoulli:
        return Bernoulli(len(self.event_shape), h)

    def support(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x <= 1)


class ContinuousBernoulliLikelihood(BernoulliLikelihood):
    """A density of greys on [0, 1]: the Bernoulli's form with its missing constant. Densities are in the data's own units.

    Source: Loaiza-Ganem & Cunningham 2019, arXiv 1907.06845.

    Example:
        >>> from vaekit.distributions.likelihoods import ContinuousBernoulliLikelihood
        >>> ContinuousBernoulliLikelihood((1,))(torch.zeros(1, 1)).mean
        tensor([[0.5000]])
    """

    log_unit: Tensor

    def __init__(self, event_shape: tuple[int, ...]):
        super().__init__(event_shape)
        self.register_buffer("log_unit", per_channel(event_shape))

    @classmethod
    def from_data(cls, chunks: Chunks, unit: Tensor, **options: Any) -> Likelihood:
        self = cls(event_shape(chunks), **options)
        self.log_unit += unit.log().reshape(-1, *self.log_unit.shape[1:])
        return self

    def forward(self, h: Tensor) -> ContinuousBernoulli:  # type: ignore[override]
        return ContinuousBernoulli(len(self.event_shape), h, self.log_unit)


class ScaledLikelihood(Likelihood):
    """Base of `NormalLikelihood` and `LaplaceLikelihood`: a location from the decoder and one scale per column or channel.

    All rows share the scale. Densities are in the data's own units.

    Args:
        scale: in model units. None: it is learned (sigma-VAE's shared sigma, Rybkin et al. 2021, arXiv 2006.13202: it balances
            reconstruction and KL with no weight to tune).
        shared: one scale for all columns or channels.
    """

    raw_scale: Tensor
    log_unit: Tensor
    distribution: Any

    def __init__(self, event_shape: tuple[int, ...], *, scale: Positive | None = None, shared: bool = False):
        super().__init__(event_shape)
        check("scale", scale, Positive | None)
        self.options = {"scale": scale, "shared": shared}
        raw_scale = per_channel((1, *event_shape[1:]) if shared else event_shape)
        if scale is None:
            self.raw_scale = nn.Parameter(raw_scale)
        else:
            self.register_buffer("raw_scale", torch.full_like(raw_scale, float(scale)))
        self.register_buffer("log_unit", per_channel(event_shape))

    @classmethod
    def from_data(cls, chunks: Chunks, unit: Tensor, **options: Any) -> Likelihood:
        self = cls(event_shape(chunks), **options)
        self.log_unit += unit.log().reshape(-1, *self.log_unit.shape[1:])
        if isinstance(self.raw_scale, nn.Parameter):
            with torch.no_grad():  # start at the spread of the data, where a decoder that knows nothing is right
                start = spread(chunks)
                start = start.square().mean(0, keepdim=True).sqrt() if options.get("shared") else start
                self.raw_scale.copy_(start.clamp_min(2 * MIN_SCALE).log() / SCALE_SPEED)
        return self

    @property
    def scale(self) -> Tensor:
        """(event[0], 1, ...), or (1, 1, ...) if it is shared, in model units."""
        if self.options["scale"] is not None:
            return self.raw_scale
        return (self.raw_scale * SCALE_SPEED).exp() + MIN_SCALE

    def forward(self, h: Tensor) -> DataDistribution:
        return self.distribution(len(self.event_shape), h, self.scale, self.log_unit)


class NormalLikelihood(ScaledLikelihood):
    """Normal errors: the decoder gives the mean. With a fixed scale this is squared error.

    Args:
        scale: standard deviation in model units. None: learned, one per column or channel (Rybkin et al. 2021, arXiv 2006.13202).
        shared: one scale for all columns or channels.

    Example:
        >>> from vaekit.distributions.likelihoods import NormalLikelihood
        >>> NormalLikelihood((2,), scale=1.0)(torch.zeros(1, 2)).log_prob(torch.zeros(1, 2))
        tensor([-1.8379])
    """

    distribution = Normal


class LaplaceLikelihood(ScaledLikelihood):
    """Laplace errors: the decoder gives the median. With a fixed scale this is absolute error.

    Args:
        scale: mean absolute deviation in model units. None: learned, one per column or channel.
        shared: one scale for all columns or channels.

    Example:
        >>> from vaekit.distributions.likelihoods import LaplaceLikelihood
        >>> LaplaceLikelihood((2,), scale=1.0)(torch.zeros(1, 2)).log_prob(torch.zeros(1, 2))
        tensor([-1.3863])
    """

    distribution = Laplace


class LogisticLikelihood(Likelihood):
    """A mixture of discretised logistics for each value, for whole numbers such as the bytes of a picture.

    Its log-probabilities are those of the values themselves.

    Args:
        components: logistics per value.

    Source: Salimans et al. 2017, arXiv 1701.05517.

    Example:
        >>> from vaekit.distributions.likelihoods import LogisticLikelihood
        >>> LogisticLikelihood((1, 8, 8), components=5).param_shape  # logits, means and scales
        (15, 8, 8)
    """

    step: Tensor
    low: Tensor
    high: Tensor
    support_text = "whole numbers"
    support_fix = "use likelihood 'normal'"

    def __init__(self, event_shape: tuple[int, ...], *, components: int = 5):
        super().__init__(event_shape)
        self.components = components
        self.options = {"components": components}
        self.param_shape = (3 * components * event_shape[0], *event_shape[1:])
        for name, value in {"step": 1.0, "low": 0.0, "high": 1.0}.items():
            self.register_buffer(name, per_channel(event_shape) + value)

    @classmethod
    def from_data(cls, chunks: Chunks, unit: Tensor, **options: Any) -> Likelihood:
        self = cls(event_shape(chunks), **options)
        self.step /= unit.reshape(-1, *self.step.shape[1:])
        self.low += torch.inf
        self.high -= torch.inf
        for x, mask in chunks:
            dims = [0, *range(2, x.ndim)]
            low, high = (x, x) if mask is None else (x.where(mask, torch.inf), x.where(mask, -torch.inf))
            self.low = torch.minimum(self.low, low.amin(dims, keepdim=True)[0])
            self.high = torch.maximum(self.high, high.amax(dims, keepdim=True)[0])
        unseen = self.low > self.high  # no value of it is there
        self.low[unseen] = self.high[unseen] = 0.0
        if len(self.event_shape) == 3:  # pictures come in their type's range, whether or not they fill it
            self.low.clamp_max_(0.0)
            self.high.clamp_min_(1.0)
        return self

    def forward(self, h: Tensor) -> LogisticMixture:
        batch = h.ndim - len(self.event_shape)
        logits, loc, log_scale = h.unflatten(batch, (3, self.components, -1)).movedim(batch + 1, -1).unbind(batch)
        # At first spread over the range, each as wide as its share of it.
        span = (self.high - self.low + self.step).unsqueeze(-1)
        centres = (torch.arange(self.components, device=h.device) + 0.5) / self.components
        loc = self.low.unsqueeze(-1) + span * (centres + loc)
        log_scale = (span / (2 * self.components)).log() + log_scale
        narrow = (self.step / 64).log().unsqueeze(-1)  # narrower than that, all of it is in one value
        return LogisticMixture(
            len(self.event_shape), logits, loc, log_scale.clamp_min(narrow), self.step, self.low, self.high
        )

    def support(self, x: Tensor) -> Tensor:
        steps = (x - self.low) / self.step
        rounding = 2e-7 * (self.high - self.low) / self.step  # of 32 bits, where the range is large
        return (steps - steps.round()).abs() < 0.02 + rounding


class CategoricalLikelihood(Likelihood):
    """Codes 0..K-1 for every element.

    The encoder sees one-hot codes. Both networks have the codes along the first dimension of an event: (K * event[0], *event[1:]).

    Args:
        categories: K.

    Example:
        >>> from vaekit.distributions.likelihoods import CategoricalLikelihood
        >>> head = CategoricalLikelihood((2,), categories=4)
        >>> head.param_shape, head(torch.zeros(1, 8)).log_prob(torch.ones(1, 2))  # 2 log 1/4
        ((8,), tensor([-2.7726]))
    """

    real_valued = False

    def __init__(self, event_shape: tuple[int, ...], *, categories: int = 2):
        super().__init__(event_shape)
        self.categories = categories
        self.options = {"categories": categories}
        self.param_shape = self.input_shape = (event_shape[0] * categories, *event_shape[1:])
        self.support_text = f"whole numbers from 0 to {categories - 1}"
        self.support_fix = "recode the data, or use likelihood 'normal'"

    @classmethod
    def from_data(cls, chunks: Chunks, unit: Tensor, **options: Any) -> Likelihood:
        if "categories" not in options:
            largest = max((x if mask is None else x * mask).max().item() for x, mask in chunks)
            options["categories"] = int(min(max(largest, 1), MAX_CATEGORIES)) + 1
        return cls(event_shape(chunks), **options)

    def forward(self, h: Tensor) -> Categorical:
        batch = h.ndim - len(self.event_shape)
        return Categorical(len(self.event_shape), h.unflatten(batch, (-1, self.categories)).movedim(batch + 1, -1))

    def features(self, x: Tensor) -> Tensor:
        one_hot = x.unsqueeze(2) == torch.arange(self.categories, device=x.device).reshape(-1, *[1] * (x.ndim - 2))
        return one_hot.flatten(1, 2).to(x)

    def support(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x < self.categories) & (x == x.floor())


def per_channel(event_shape: tuple[int, ...]) -> Tensor:
    """Zeros, one per column or channel, that broadcast to an event."""
    return torch.zeros(event_shape[0], *[1] * (len(event_shape) - 1))


def event_shape(chunks: Chunks) -> tuple[int, ...]:
    return tuple(next(iter(chunks))[0].shape[1:])


def spread(chunks: Chunks) -> Tensor:
    """Standard deviation of each column or channel -> (event[0], 1, ...), over what is not missing."""
    count = total = squares = torch.zeros((), dtype=torch.float64)
    for x, mask in chunks:
        dims = [0, *range(2, x.ndim)]
        x = x.double()
        if mask is not None:
            x = x * mask
        seen = x.numel() / x.shape[1] if mask is None else mask.double().sum(dims, keepdim=True).squeeze(0)
        count = count + seen
        total = total + x.sum(dims, keepdim=True).squeeze(0)
        squares = squares + x.square().sum(dims, keepdim=True).squeeze(0)
    mean = total / count.clamp_min(1)
    return (squares / count.clamp_min(1) - mean.square()).clamp_min(0).sqrt()


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": BernoulliLikelihood,
    "continuous_bernoulli": ContinuousBernoulliLikelihood,
    "normal": NormalLikelihood,
    "laplace": LaplaceLikelihood,
    "logistic": LogisticLikelihood,
    "categorical": CategoricalLikelihood,
}
