"""KL divergences in closed form, where there is one."""

from __future__ import annotations

from torch import Tensor

from vaekit.distributions.base import Distribution
from vaekit.distributions.elementwise import Normal


def kl_per_unit(q: Distribution, p: Distribution) -> Tensor | None:
    """KL(q || p) of each unit, (B, d) nats, where both factorise and a closed form exists; else None."""
    if not (isinstance(q, Normal) and isinstance(p, Normal)):
        return None
    ratio = q.scale / p.scale
    return 0.5 * (ratio.square() + ((q.loc - p.loc) / p.scale).square() - 1) - ratio.log()


def kl_divergence(q: Distribution, p: Distribution) -> Tensor | None:
    """KL(q || p) in nats, (B,), where a closed form exists; else None."""
    units = kl_per_unit(q, p)
    return None if units is None else units.flatten(1).sum(-1)
