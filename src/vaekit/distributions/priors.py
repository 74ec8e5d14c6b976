"""Priors p(z|y): a module that turns the condition's features into a distribution over z.

To add one, write a `Prior` that is made as `prior(latent_dim, condition_features=0, **options)`, and name it in `PRIORS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.distributions.base import Distribution, full_precision
from vaekit.distributions.elementwise import Normal
from vaekit.distributions.flows import Flow, start_at_identity
from vaekit.distributions.mixtures import Mixture
from vaekit.distributions.posteriors import MIN_SCALE, SOFTPLUS_OF_ONE, NormalPosterior
from vaekit.errors import UserError

SPEED = 10.0  # a mixture's numbers move this much faster than a weight: they have as far to go as the codes are wide
HIDDEN = 64  # width of the network from a condition to a prior's numbers


class Prior(nn.Module):
    """Base of priors p(z|y). `attach`, `learn` and `start_at` are called once each, and do nothing unless a subclass needs them.

    A prior is made as `prior(latent_dim, condition_features=0, **options)`; `PRIORS` names those that estimators find.

    Example:
        >>> from vaekit.distributions import Normal, Prior
        >>> class WidePrior(Prior):
        ...     def forward(self, condition, n):
        ...         return Normal(1, torch.zeros(n, 2), torch.full((2,), 3.0))
        >>> WidePrior()(None, 4).sample(5).shape
        torch.Size([5, 4, 2])
    """

    def forward(self, condition: Any, n: int) -> Distribution:
        """p(z|y) for features of the condition (n, condition_features), or None: a distribution over (n, latent_dim)."""
        raise NotImplementedError

    def attach(self, model: Any) -> None:
        """Called when a model is put together, with that model."""

    def learn(self, x: Tensor) -> None:
        """Called before a model is trained, with rows of its data as the encoder sees them, (rows, *input_shape)."""

    def start_at(self, codes: Tensor) -> None:
        """Called before the prior alone is trained on codes, with those codes, (rows, latent_dim)."""


class StandardNormalPrior(Prior):
    """N(0, I) for every condition.

    Example:
        >>> from vaekit.distributions import StandardNormalPrior
        >>> StandardNormalPrior(2)(None, 1).log_prob(torch.zeros(1, 2))
        tensor([-1.8379])
    """

    zero: Tensor
    one: Tensor

    def __init__(self, latent_dim: int, condition_features: int = 0):
        super().__init__()
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("one", torch.ones(latent_dim), persistent=False)

    def forward(self, condition: Tensor | None, n: int) -> Normal:
        return Normal(1, self.zero.expand(n, -1), self.one)


class ConditionalNormalPrior(Prior):
    """N(mu(y), sigma(y)^2) with mu and sigma learned from the condition; it starts as N(0, I).

    Args:
        hidden: width of the network from the condition.

    Raises:
        UserError: the model has no condition.

    Example:
        >>> from vaekit.distributions import ConditionalNormalPrior
        >>> ConditionalNormalPrior(2, 4)(torch.ones(1, 4), 1).mean.tolist()
        [[0.0, 0.0]]
    """

    def __init__(self, latent_dim: int, condition_features: int = 0, *, hidden: int = HIDDEN):
        super().__init__()
        if not condition_features:
            raise UserError("prior 'conditional' needs a condition: use CVAE, or prior='standard'")
        self.net = numbers_from(condition_features, torch.zeros(2 * latent_dim), hidden)

    def forward(self, condition: Tensor | None, n: int) -> Normal:
        assert condition is not None
        loc, raw = full_precision(self.net(condition)).chunk(2, dim=-1)
        return Normal(1, loc, F.softplus(raw + SOFTPLUS_OF_ONE) + MIN_SCALE)


class MixturePrior(Prior):
    """A mixture of diagonal Normals with learned weights, means and scales; with a condition, learned from it.

    Args:
        components: number of Normals.
        hidden: width of the network from the condition.

    Example:
        >>> from vaekit.distributions.priors import MixturePrior
        >>> MixturePrior(2, components=5)(None, 4).sample(3).shape
        torch.Size([3, 4, 2])
    """

    def __init__(self, latent_dim: int, condition_features: int = 0, *, components: int = 50, hidden: int = HIDDEN):
        super().__init__()
        self.components, self.latent_dim = components, latent_dim
        loc = torch.randn(components, latent_dim)  # apart from each other, or they would stay alike
        start = torch.cat([torch.zeros(components), loc.flatten(), torch.zeros(components * latent_dim)]) / SPEED
        self.net = numbers_from(condition_features, start, hidden) if condition_features else None
        if self.net is None:
            self.numbers = nn.Parameter(start)

    def start_at(self, codes: Tensor) -> None:
        """Put the components on codes (n, latent_dim) that are chosen at random, each as wide as its share of their spread."""
        loc = codes[torch.randint(len(codes), (self.components,)).to(codes.device)]
        spread = codes.std(0, correction=0).clamp_min(MIN_SCALE) * self.components ** (-1 / self.latent_dim)
        raw = torch.expm1(spread.clamp_max(20)).log() - SOFTPLUS_OF_ONE
        start = torch.cat([loc.new_zeros(self.components), loc.flatten(), raw.repeat(self.components)])
        with torch.no_grad():
            where = self.numbers if self.net is None else self.net[-1].bias
            where.copy_(start / SPEED)  # type: ignore[operator]

    def forward(self, condition: Tensor | None, n: int) -> Mixture:
        numbers = SPEED * (self.numbers if self.net is None else full_precision(self.net(condition)))
        logits, loc, raw = numbers.split([self.components, *[self.components * self.latent_dim] * 2], dim=-1)
        loc, raw = (t.unflatten(-1, (self.components, self.latent_dim)) for t in (loc, raw))
        return Mixture(logits.log_softmax(-1), loc, F.softplus(raw + SOFTPLUS_OF_ONE) + MIN_SCALE, n)


class VampPrior(Prior):
    """A mixture of the posteriors of learned pseudo-inputs.

    Pseudo-inputs are in the space of what the encoder sees. With a condition, each has a learned condition of its own, and y decides
    their weights.

    Args:
        components: number of pseudo-inputs. Every step encodes all of them, so training slows with their number.
        hidden: width of the network from the condition.

    Raises:
        UserError: the posterior is not "normal", or the data are tokens, which gradient descent cannot change.

    Source: Tomczak & Welling 2018, arXiv 1705.07120.

    Example:
        >>> from vaekit.distributions.likelihoods import NormalLikelihood
        >>> from vaekit.distributions.priors import VampPrior
        >>> from vaekit.nets import MLP
        >>> prior, likelihood = VampPrior(2, components=4), NormalLikelihood((3,))
        >>> model = vaekit.LatentModel(MLP((3,), (4,)), MLP((2,), (3,)), likelihood, latent_dim=2, prior=prior)
        >>> model.prior(n=5).loc.shape
        torch.Size([4, 2])
    """

    def __init__(self, latent_dim: int, condition_features: int = 0, *, components: int = 128, hidden: int = HIDDEN):
        super().__init__()
        self.components, self.condition_features = components, condition_features
        if condition_features:
            self.weights = numbers_from(condition_features, torch.zeros(components), hidden)
            self.pseudo_conditions = nn.Parameter(0.1 * torch.randn(components, condition_features))
        else:
            self.logits = nn.Parameter(torch.zeros(components))

    def attach(self, model: Any) -> None:
        if not isinstance(model.posterior_head, NormalPosterior):
            raise UserError("prior 'vamp' needs posterior 'normal', whose mixture has a density in closed form")
        self.pseudo_inputs = nn.Parameter(torch.rand(self.components, *model.likelihood.input_shape))
        self._encode = model.encode  # a method, and so no part of this module: the encoder has one owner

    def learn(self, x: Tensor) -> None:
        """Start at rows of the data, as the encoder sees them: (n, *input_shape)."""
        if not x.is_floating_point():
            raise UserError(
                "prior 'vamp' learns its inputs by gradient descent, which cannot change tokens: use 'mixture' or 'flow' for texts"
            )
        with torch.no_grad():
            self.pseudo_inputs.copy_(x[torch.arange(self.components, device=x.device) % len(x)])

    def forward(self, condition: Tensor | None, n: int) -> Mixture:
        if condition is None:
            components = self._encode(self.pseudo_inputs, None)
            logits: Tensor = self.logits
        else:
            components = self._encode(self.pseudo_inputs, self.pseudo_conditions)
            logits = full_precision(self.weights(condition))
        assert isinstance(components, Normal)
        return Mixture(logits.log_softmax(-1), components.loc, components.scale, n)


class FlowPrior(Prior):
    """A Normal pushed through affine coupling layers, which also see the condition. It starts as N(0, I).

    Args:
        transforms: number of layers.
        hidden: widths of each layer's network.

    Source: RealNVP, Dinh et al. 2017, arXiv 1605.08803.

    Example:
        >>> from vaekit.distributions.priors import FlowPrior
        >>> round(FlowPrior(2, transforms=2, hidden=(8,))(None, 1).log_prob(torch.zeros(1, 2)).item(), 4)
        -1.8379
    """

    def __init__(
        self,
        latent_dim: int,
        condition_features: int = 0,
        *,
        transforms: int = 6,
        hidden: Sequence[int] = (256, 256),
    ):
        super().__init__()
        from vaekit.distributions.coupling import real_nvp  # zuko takes a second to import

        self.flow = start_at_identity(real_nvp(latent_dim, condition_features, transforms, hidden))
        self.base = StandardNormalPrior(latent_dim)

    def forward(self, condition: Tensor | None, n: int) -> Flow:
        return Flow(self.base(None, n), self.flow(condition).inv)


def numbers_from(condition_features: int, start: Tensor, hidden: int) -> nn.Sequential:
    """A network from a condition to the numbers of a distribution. At first they are `start` for every condition."""
    last = nn.Linear(hidden, len(start))
    nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(start)
    return nn.Sequential(nn.Linear(condition_features, hidden), nn.SiLU(), last)


PRIORS: dict[str, type[Prior]] = {
    "standard": StandardNormalPrior,
    "conditional": ConditionalNormalPrior,
    "mixture": MixturePrior,
    "vamp": VampPrior,
    "flow": FlowPrior,
}
