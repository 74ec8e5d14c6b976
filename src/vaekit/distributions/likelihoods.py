"""Likelihood heads: the decoder's output -> p(x|z,y).

A likelihood says three things about data: which values it can explain (`check`), what the encoder sees of them
(`features`), and how a decoder's output becomes a distribution over them (`forward`). To add one, write a class and
name it in `LIKELIHOODS`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.distributions.base import Distribution
from vaekit.distributions.elementwise import Bernoulli, Categorical, Laplace, Normal
from vaekit.errors import UserError

MIN_SCALE = 1e-3  # of a model unit: no column or channel may be explained ever more exactly without end
MAX_CATEGORIES = 10_000
SCALE_SPEED = 5.0  # the log-scale moves this much faster than a weight, or it would limit how fast a model learns

Chunks = Iterable[tuple[Tensor, Tensor | None]]
"""A dataset in pieces that can be walked more than once: x (n, *event) as the model sees it, and its mask."""


class Likelihood(nn.Module):
    """Base of the likelihoods.

    Args:
        event_shape: the shape of one x, (columns,) or (channels, height, width).

    Attributes:
        options: what the constructor needs beside the shape; plain values, for a run's config.
        input_shape: the shape of what the encoder sees of one x.
        param_shape: the shape of what the decoder must give for one x.
    """

    real_valued = True  # an affine map of x is as good a dataset: the domain may standardise

    def __init__(self, event_shape: tuple[int, ...]):
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.options: dict[str, Any] = {}
        self.input_shape = self.event_shape
        self.param_shape = self.event_shape

    @classmethod
    def from_data(cls, chunks: Chunks, unit: Tensor, **options: Any) -> Likelihood:
        """The likelihood for data that comes in `chunks`, one unit of which is `unit` of the data's own units."""
        return cls(event_shape(chunks), **options)

    def forward(self, h: Tensor) -> Distribution:
        """Decoder output (*batch, *param_shape) -> distribution over events (*batch)."""
        raise NotImplementedError

    def features(self, x: Tensor) -> Tensor:
        """(B, *event) -> (B, *input_shape), what the encoder sees."""
        return x

    def support(self, x: Tensor) -> Tensor:
        """True where a value can be explained: bool, (B, *event)."""
        return torch.isfinite(x)

    support_text = "finite numbers"
    support_fix = "remove or mask the infinite values"

    def check(self, x: Tensor, mask: Tensor | None = None) -> None:
        """Raises UserError naming the first value outside the support, where it is, and the fix."""
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
    """Binary cross-entropy. Values strictly between 0 and 1 are accepted as probabilities, as is usual with grey
    pictures; the ELBO is then not that of a normalised density, so `binarize` for comparable numbers."""

    real_valued = False
    support_text = "values from 0 to 1"
    support_fix = "scale the data to [0, 1], or use likelihood 'normal'"

    def forward(self, h: Tensor) -> Bernoulli:
        return Bernoulli(len(self.event_shape), h)

    def support(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x <= 1)


class ScaledLikelihood(Likelihood):
    """A location from the decoder and one scale per column or channel, shared by all rows: learned when `scale` is
    None (sigma-VAE's shared sigma, Rybkin et al. 2021, arXiv 2006.13202: it balances reconstruction and KL with no
    weight to tune), else fixed at `scale` model units.

    Densities are in the data's own units: `unit` says how many of them one model unit is.
    """

    raw_scale: Tensor
    log_unit: Tensor
    distribution: Any

    def __init__(self, event_shape: tuple[int, ...], scale: float | None = None):
        super().__init__(event_shape)
        self.options = {"scale": scale}
        shape = (event_shape[0], *[1] * (len(event_shape) - 1))
        if scale is None:
            self.raw_scale = nn.Parameter(torch.zeros(shape))
        else:
            self.register_buffer("raw_scale", torch.full(shape, float(scale)))
        self.register_buffer("log_unit", torch.zeros(shape))

    @classmethod
    def from_data(cls, chunks: Chunks, unit: Tensor, **options: Any) -> Likelihood:
        self = cls(event_shape(chunks), **options)
        self.log_unit += unit.log().reshape(-1, *self.log_unit.shape[1:])
        if isinstance(self.raw_scale, nn.Parameter):
            with torch.no_grad():  # start at the spread of the data, where a decoder that knows nothing is right
                self.raw_scale.copy_(spread(chunks).clamp_min(2 * MIN_SCALE).log() / SCALE_SPEED)
        return self

    @property
    def scale(self) -> Tensor:
        """(event[0], 1, ...), in model units."""
        if self.options["scale"] is not None:
            return self.raw_scale
        return (self.raw_scale * SCALE_SPEED).exp() + MIN_SCALE

    def forward(self, h: Tensor) -> Distribution:
        return self.distribution(len(self.event_shape), h, self.scale, self.log_unit)


class NormalLikelihood(ScaledLikelihood):
    distribution = Normal


class LaplaceLikelihood(ScaledLikelihood):
    distribution = Laplace


class CategoricalLikelihood(Likelihood):
    """One of `categories` codes 0..K-1 for every element. The encoder sees one-hot codes; both networks have the codes
    along the first dimension of an event: (K * event[0], *event[1:])."""

    real_valued = False

    def __init__(self, event_shape: tuple[int, ...], categories: int):
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


def event_shape(chunks: Chunks) -> tuple[int, ...]:
    return tuple(next(iter(chunks))[0].shape[1:])


def spread(chunks: Chunks) -> Tensor:
    """Standard deviation of each column or channel -> (event[0], 1, ...), over what is not missing."""
    count = total = squares = torch.zeros((), dtype=torch.float64)
    for x, mask in chunks:
        dims = [0, *range(2, x.ndim)]
        x = x.double()
        seen = torch.ones_like(x) if mask is None else mask.double()
        count = count + seen.sum(dims, keepdim=True).squeeze(0)
        total = total + (x * seen).sum(dims, keepdim=True).squeeze(0)
        squares = squares + (x.square() * seen).sum(dims, keepdim=True).squeeze(0)
    mean = total / count.clamp_min(1)
    return (squares / count.clamp_min(1) - mean.square()).clamp_min(0).sqrt()


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": BernoulliLikelihood,
    "normal": NormalLikelihood,
    "laplace": LaplaceLikelihood,
    "categorical": CategoricalLikelihood,
}
