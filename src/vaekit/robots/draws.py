"""How z is drawn from p(z|y): one at a decision, which keeps to the way begun, or several, to see how much z changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vaekit.distributions import Distribution, Mixture, Noise, Prior
from vaekit.model import LatentModel, repeated
from vaekit.nets.mlp import MLP

FRAMES_AT_ONCE = 16  # times the samples of z: rows that go through the decoder together
KEPT = 0.1  # of the likeliest component's weight: with less, the held component does not fit the observation


def draw(
    prior: Distribution, noise: Noise, temperature: float = 1.0, held: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """z (B, latent_dim) and, for a mixture, the components (B,) that it came from.

    While the robot moves, a mixture's weights change, and the same random number may select another component: another way,
    in the middle of the first. So a component that is held is kept as long as it is likely at all.

    Args:
        prior: p(z|y) over (B, latent_dim).
        noise: gives the same numbers at every decision, or new ones.
        temperature: a factor on the spread within a component, or of the whole prior if it has no components.
        held: components (B,) of the decision before, -1 where nothing is held; None: nothing is held in any row.
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


def draw_chunks(model: LatentModel, y: Mapping[str, Tensor], k: int, noise: Noise) -> Tensor:
    """k chunks for each of B packed observations, the means of p(x|z,y) for z ~ p(z|y): (k, B, A, chunk_size), standardised.

    The observations pass through the cameras' networks once.
    """
    rows = len(next(iter(y.values())))
    assert model.condition is not None  # a policy's
    places = torch.arange(rows).split(FRAMES_AT_ONCE)
    pieces = [{name: values[i[0] : i[-1] + 1] for name, values in y.items()} for i in places]
    seen = [model.condition(some, len(i)) for some, i in zip(pieces, places, strict=True)]  # (b, ...) by name
    c = {name: torch.cat([some[name] for some in seen]) for name in seen[0]}
    z = model.prior_head(c, rows).sample(k, noise).float()  # (k, B, latent_dim)
    found = []
    for some, some_z in zip(seen, z.split(FRAMES_AT_ONCE, dim=1), strict=True):
        h = model.decoder(some_z.flatten(0, 1), repeated(some, k))  # (k * b, A, chunk_size)
        found.append(model.likelihood(h.unflatten(0, some_z.shape[:2])).mean)
    return torch.cat(found, dim=1)


class ObservationPrior(Prior):
    """p(z|y) from a summary of the observation: its vectors, and the mean of its pictures' tokens.

    Args:
        prior: (latent_dim, condition_features) -> a prior head that reads (B, condition_features).
        features: numbers in the summary of an observation: of its vectors together, and `width` more with cameras.
    """

    def __init__(self, prior: Callable[[int, int], Prior], latent_dim: int, features: int, hidden: int = 128):
        super().__init__()
        self.summary = MLP((features,), (hidden,), hidden=(hidden,))
        self.prior = prior(latent_dim, hidden)

    def forward(self, c: Mapping[str, Tensor], n: int) -> Distribution:
        parts = [values.mean(1) if name == "pictures" else values for name, values in c.items()]
        return self.prior(self.summary(torch.cat(parts, dim=1)), n)
