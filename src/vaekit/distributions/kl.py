"""KL divergences in closed form, where there is one."""

from __future__ import annotations

from torch import Tensor

from vaekit.distributions.base import Distribution
from vaekit.distributions.elementwise import Normal
from vaekit.distributions.multivariate import MultivariateNormal


def kl_per_unit(q: Distribution, p: Distribution) -> Tensor | None:
    """KL(q || p) of each unit, (B, d) nats. None unless both factorise and a closed form exists.

    A distribution that is not a product of Normals but has a closed form offers `kl_per_unit(p)`.

    Example:
        >>> from vaekit.distributions import Normal, kl_per_unit
        >>> kl_per_unit(Normal(1, torch.ones(1, 2), torch.ones(2)), Normal(1, torch.zeros(1, 2), torch.ones(2)))
        tensor([[0.5000, 0.5000]])
    """
    if hasattr(q, "kl_per_unit"):
        return q.kl_per_unit(p)
    if not (isinstance(q, Normal) and isinstance(p, Normal)):
        return None
    ratio = q.scale / p.scale
    return 0.5 * (ratio.square() + ((q.loc - p.loc) / p.scale).square() - 1) - ratio.log()


def kl_divergence(q: Distribution, p: Distribution) -> Tensor | None:
    """KL(q || p) in nats, (B,). None if there is no closed form.

    Example:
        >>> from vaekit.distributions import Normal, kl_divergence
        >>> kl_divergence(Normal(1, torch.ones(1, 2), torch.ones(2)), Normal(1, torch.zeros(1, 2), torch.ones(2)))
        tensor([1.])
    """
    units = kl_per_unit(q, p)
    if units is not None:
        return units.flatten(1).sum(-1)
    if isinstance(q, MultivariateNormal) and isinstance(p, Normal):
        scale = p.scale.expand_as(q.loc)
        spread = (q.factor / scale.unsqueeze(-1)).square().flatten(-2).sum(-1)
        distance = ((q.loc - p.loc) / scale).square().sum(-1)
        return 0.5 * (spread + distance - q.loc.shape[-1]) + scale.log().sum(-1) - q.log_det
    return None
