"""How z is drawn from p(z|y) at a decision, and a way kept from one decision to the next."""

from __future__ import annotations

import torch
from torch import Tensor

from vaekit.distributions import Distribution, Mixture, Noise

KEPT = 0.1  # of the likeliest component's weight: with less, the component that is held has nothing to do with what is seen


def draw(
    prior: Distribution, noise: Noise, temperature: float = 1.0, held: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """z (B, latent_dim) and, of a mixture, the components (B,) that it came from.

    As the robot moves on, a mixture's weights move, and the same random number comes to mean another component: another way
    round, in the middle of one. So a component that is held is kept for as long as it is likely at all.

    Args:
        prior: p(z|y) over (B, latent_dim).
        noise: the same at every decision, or not.
        temperature: the spread within a component, or of the whole prior where it has none, is multiplied by it.
        held: components (B,) of the decision before, -1 for none; None: none for any row.
    """
    prior = prior.tempered(temperature)
    if not isinstance(prior, Mixture):
        return prior.sample(1, noise)[0], None
    component = prior.pick(1, noise)  # (1, B)
    if held is not None:
        weights = prior.log_weights.exp()  # (B, K)
        weight = weights.gather(1, held.clamp_min(0).unsqueeze(1)).squeeze(1)
        kept = (held >= 0) & (weight >= KEPT * weights.amax(1))
        component = torch.where(kept, held, component)
    return prior.of(component, noise)[0], component[0]
