"""A hierarchical VAE: z in levels from coarse to fine, each conditioned on those above.

    p(z|y) = p(z_1|y) p(z_2|z_1,y) ...        q(z|x,y) = q(z_1|x,y) q(z_2|z_1,x,y) ...

Both run top-down through one network; q also sees features of x at each size (the ladder VAE, Sonderby et al. 2016,
arXiv 1602.02282; as a residual network, Kingma et al. 2016, arXiv 1606.04934; deep, Child 2021, arXiv 2011.10650).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.distributions import Distribution, Likelihood, Noise, Normal, kl_per_unit
from vaekit.distributions.base import full_precision
from vaekit.distributions.posteriors import MIN_SCALE, SOFTPLUS_OF_ONE
from vaekit.errors import UserError
from vaekit.model import Draw, Given, Model, blank
from vaekit.nets.ladder import BottomUp, TopDown, sizes_of

Choose = Callable[[int, Normal], Tensor]
"""`choose(level, normal)` gives z of that level, (k, B, units), by this distribution's Normal there."""
Walk = Callable[[Choose, int], tuple[Tensor, list[Normal]]]
"""`walk(choose, k)`: a top-down pass of k samples a row -> z (k, B, latent_dim), and the Normals met along it."""


@dataclass
class Levels:
    """q(z|x,y) or p(z|y): a Normal at each level given the levels above, over (B, latent_dim).

    Attributes:
        walk: goes down the levels.
        units: of each level.
        drawn, path: a z (k, B, latent_dim) that was walked already, and the Normals along it.
    """

    walk: Walk
    units: list[int]
    drawn: Tensor | None = None
    path: list[Normal] | None = None
    temperature: float = 1.0

    @property
    def mean(self) -> Tensor:
        """Each level's mean given the means above it, (B, latent_dim): a likely z, though not the average one."""
        return self.walk(lambda level, normal: normal.loc, 1)[0][0]

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        def choose(level: int, normal: Normal) -> Tensor:
            return reparameterised(normal.tempered(self.temperature), noise)

        return self.walk(choose, k)[0]

    def log_prob(self, x: Tensor) -> Tensor:
        """log q or log p of z (k, B, latent_dim) -> (k, B), or (B, latent_dim) -> (B,). Free for the z that was drawn, else a pass."""
        if x.ndim == 2:
            return self.log_prob(x[None])[0]
        parts, path = x.split(self.units, dim=-1), self.path
        if path is None or x is not self.drawn:
            path = self.walk(lambda level, normal: parts[level], x.shape[0])[1]
        log_p = [normal.tempered(self.temperature).log_prob(z) for normal, z in zip(path, parts, strict=True)]
        return torch.stack(log_p).sum(0)

    def tempered(self, temperature: float) -> Levels:
        return replace(self, temperature=self.temperature * temperature)

    def kl_per_unit(self, other: Distribution) -> Tensor | None:
        """KL of each unit given those above it, in closed form, averaged over the drawn paths: (B, latent_dim) nats."""
        if self.path is None or not isinstance(other, Levels) or other.path is None or other.drawn is not self.drawn:
            return None
        units = [kl_per_unit(q, p) for q, p in zip(self.path, other.path, strict=True)]
        return torch.cat([u.mean(0) for u in units if u is not None], dim=-1)


class LadderVAE(Model):
    """A hierarchical VAE: z in levels, coarsest first, flattened into (k, B, latent_dim).

    Args:
        likelihood: of pictures (channels, H, W) or rows (columns,).
        condition, condition_features: module that turns y into features, and their number; None and 0 without a condition.
        width: channels at half the picture's size; doubled at each halving, at most 8 times.
        blocks: levels of z at each size.
        latent_channels: channels of z at each size: one number for all, or one per size, coarsest first.

    Source: Sonderby et al. 2016, arXiv 1602.02282; Child 2021, arXiv 2011.10650.

    Example:
        >>> from vaekit.distributions.likelihoods import BernoulliLikelihood
        >>> from vaekit.structures import build_ladder
        >>> model = build_ladder(BernoulliLikelihood((1, 8, 8)), width=4, latent_channels=2)
        >>> model.draw(torch.zeros(2, 1, 8, 8)).elbo.shape, sum(model.units) == model.latent_dim
        (torch.Size([2]), True)
    """

    def __init__(
        self,
        likelihood: Likelihood,
        condition: nn.Module | None,
        condition_features: int,
        *,
        width: int,
        blocks: int,
        latent_channels: int | Sequence[int],
    ):
        super().__init__()
        sizes = len(sizes_of(likelihood.param_shape)) - 1
        channels = [latent_channels] * sizes if isinstance(latent_channels, int) else list(latent_channels)
        if len(channels) != sizes or min(channels) < 1:
            raise UserError(f"latent_channels={latent_channels} has to be a number of at least 1, or {sizes} of them")
        self.likelihood, self.condition = likelihood, condition
        self.bottom_up = BottomUp(likelihood.input_shape, condition_features, width)
        self.top_down = TopDown(likelihood.param_shape, condition_features, width, blocks, channels)
        self.units = [channels * height * width for channels, height, width in self.top_down.shapes]
        self.latent_dim = sum(self.units)

    def posterior(self, x: Tensor, y: Given = None, mask: Tensor | None = None) -> Levels:
        """q(z|x,y) for x (B, *event): a distribution over (B, latent_dim). Missing entries (mask False) are not read."""
        c = self._features(y, x.shape[0])
        return Levels(self._walk(c, x.shape[0], self._climb(blank(x, mask), c)), self.units)

    def draw(
        self, x: Tensor, y: Given = None, *, k: int = 1, mask: Tensor | None = None, noise: Noise = torch.randn
    ) -> Draw:
        """One bottom-up pass over x (B, *event) and one top-down pass of k samples a row, which also decodes them."""
        x, rows = blank(x, mask), x.shape[0]
        c = self._features(y, rows)
        features = self._climb(x, c)
        qs, ps = [], []

        def choose(level: int, q: Normal | None, p: Normal) -> Tensor:
            assert q is not None
            qs.append(q)
            ps.append(p)
            return reparameterised(q, noise)

        h, z = self._descend(choose, k, rows, c, features)
        posterior = Levels(self._walk(c, rows, features), self.units, z, qs)
        prior = Levels(self._walk(c, rows), self.units, z, ps)
        return Draw(
            x, mask, z, posterior, prior, self.likelihood(h), lambda other: self.likelihood(self._decode(other, c))
        )

    def _prior(self, c: Tensor | None, rows: int) -> Levels:
        return Levels(self._walk(c, rows), self.units)

    def _climb(self, x: Tensor, c: Tensor | None) -> list[Tensor]:
        return self.bottom_up(self.likelihood.features(x), c)

    def _walk(self, c: Tensor | None, rows: int, features: list[Tensor] | None = None) -> Walk:
        """One pass: of the posterior if there are features, else of the prior."""

        def walk(choose: Choose, k: int) -> tuple[Tensor, list[Normal]]:
            path: list[Normal] = []

            def choose_one(level: int, q: Normal | None, p: Normal) -> Tensor:
                path.append(p if q is None else q)
                return choose(level, path[-1])

            return self._descend(choose_one, k, rows, c, features)[1], path

        return walk

    def _decode(self, z: Tensor, c: Tensor | None) -> Tensor:
        parts = z.split(self.units, dim=-1)
        return self._descend(lambda level, q, p: parts[level], z.shape[0], z.shape[1], c)[0]

    def _descend(
        self,
        choose: Callable[[int, Normal | None, Normal], Tensor],
        k: int,
        rows: int,
        c: Tensor | None,
        features: list[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """One top-down pass -> the likelihood's parameters (k, B, *param_shape), and z (k, B, latent_dim)."""
        zs = []

        def pick(level: int, prior: Tensor, posterior: Tensor | None) -> Tensor:
            p = normal(prior.unflatten(0, (k, rows)))
            q = None if posterior is None else relative_normal(posterior.unflatten(0, (k, rows)), p)
            zs.append(choose(level, q, p))
            return zs[-1].reshape(k * rows, *self.top_down.shapes[level])

        repeated = None if features is None else [f.repeat(k, 1, 1, 1) for f in features] if k > 1 else features
        h = self.top_down(k * rows, None if c is None else c.repeat(k, 1), repeated, pick)
        return full_precision(h).unflatten(0, (k, rows)), torch.cat(zs, dim=-1)


def build_ladder(
    likelihood: Likelihood,
    condition: nn.Module | None = None,
    condition_features: int = 0,
    *,
    width: int = 32,
    blocks: int = 1,
    latent_channels: int | Sequence[int] = 4,
) -> LadderVAE:
    """Make a `LadderVAE` with fresh weights. The arguments are those of the class.

    Raises:
        UserError: the data is neither pictures nor rows, or an option is too small.

    Example:
        >>> from vaekit.distributions.likelihoods import NormalLikelihood
        >>> from vaekit.structures import build_ladder
        >>> build_ladder(NormalLikelihood((3,)), width=8).prior(n=2).sample(1).shape[:2]
        torch.Size([1, 2])
    """
    if len(likelihood.event_shape) not in (1, 3):
        raise UserError(
            f"the ladder model takes pictures (channels, H, W) or rows (columns,), got {likelihood.event_shape}"
        )
    for name, value in {"width": width, "blocks": blocks}.items():
        if value < 1:
            raise UserError(f"{name}={value} is too small: give at least 1")
    return LadderVAE(
        likelihood, condition, condition_features, width=width, blocks=blocks, latent_channels=latent_channels
    )


def normal(params: Tensor) -> Normal:
    """(k, B, 2 * channels, H, W) -> a Normal over (k, B, channels * H * W)."""
    loc, raw = (t.flatten(2) for t in full_precision(params).chunk(2, dim=2))
    return Normal(1, loc, F.softplus(raw + SOFTPLUS_OF_ONE) + MIN_SCALE)


def relative_normal(params: Tensor, p: Normal) -> Normal:
    """The posterior as a change of the prior: where x adds nothing, the change is 0 (NVAE, Vahdat & Kautz
    2020, arXiv 2007.03898)."""
    change = normal(params)
    return Normal(1, p.loc + p.scale * change.loc, p.scale * change.scale)


def reparameterised(normal: Normal, noise: Noise) -> Tensor:
    """One sample of a Normal whose own shape has the samples first."""
    return normal.loc + normal.scale * noise(*normal.loc.shape).to(normal.loc)
