"""The likelihood of a table: each column by a distribution of its own.

A number has normal scores (see `vaekit.kinds.table.columns`) with a mixture of Normals, and a probability for each of its spikes. A
category has a softmax. A column may be followed by others that say which cells are missing; those are categories too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.distributions.base import Noise
from vaekit.distributions.elementwise import HALF_LOG_2PI, Elementwise
from vaekit.distributions.likelihoods import Likelihood

ON_SPIKE = 1e-5  # how near to a spike is on it: 32 bits round
FARTHEST = 10.0  # normal scores beyond are seen as this: an outlier must not drown the other columns


class Numbers(nn.Module):
    """Columns that are numbers: (C,) of the event.

    Args:
        index: which they are. columns: of each its `spikes`, their `shares`, `knots` and `scores`.
    """

    spikes: Tensor
    seen: Tensor  # which of all columns' spikes there are, (features,)
    log_shares: Tensor
    knots: Tensor
    log_slopes: Tensor
    index: Tensor

    def __init__(self, index: Sequence[int], columns: Sequence[Mapping[str, Any]], components: int, least_scale: float):
        super().__init__()
        self.components, self.least_scale = components, least_scale
        most = max(len(c["spikes"]) for c in columns)
        self.slots = most + 1 if most else 0  # the first is what lies on no spike
        self.width = 3 * components + self.slots
        self.register_buffer("index", torch.tensor(index), persistent=False)
        spikes = [[*c["spikes"], *[math.inf] * (most - len(c["spikes"]))] for c in columns]
        rest = [max(1e-6, 1 - sum(c["shares"])) for c in columns]
        shares = [[r, *c["shares"], *[1.0] * (most - len(c["shares"]))] for r, c in zip(rest, columns, strict=True)]
        self.register_buffer("spikes", torch.tensor(spikes).reshape(len(columns), most), persistent=False)
        known = torch.isfinite(self.spikes)
        self.register_buffer("seen", known.flatten().nonzero().squeeze(1), persistent=False)
        log_shares = torch.tensor(shares).log()
        log_shares[:, 1:].masked_fill_(~known, -math.inf)
        self.register_buffer("log_shares", log_shares, persistent=False)
        longest = max(len(c["scores"]) for c in columns)
        knots, slopes = torch.full((len(columns), longest), math.inf), torch.zeros(len(columns), longest)
        for i, c in enumerate(columns):
            u, v = torch.tensor(c["scores"], dtype=torch.float64), torch.tensor(c["knots"], dtype=torch.float64)
            steep = (u.diff() / v.diff()).log()
            knots[i, : len(u) - 2] = u[1:-1]  # inner ones: before the first and behind the last the map goes on
            slopes[i, : len(steep)] = steep
        self.register_buffer("knots", knots, persistent=False)
        self.register_buffer("log_slopes", slopes, persistent=False)

    @property
    def features(self) -> int:
        return len(self.index) + len(self.seen)

    def see(self, x: Tensor) -> Tensor:
        """(B, C) -> (B, features)"""
        seen = x.clamp(-FARTHEST, FARTHEST)
        return seen if not self.slots else torch.cat([seen, self.on(x).flatten(1)[:, self.seen].to(x)], 1)

    def on(self, x: Tensor) -> Tensor:
        """Whether x (..., C) is on each of the spikes: (..., C, spikes)."""
        return (x.unsqueeze(-1) - self.spikes).abs() < ON_SPIKE

    def parts(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """h (..., C * width) -> log-weights, locations and scales (..., C, components), log-shares (..., C, slots)."""
        k = self.components
        h = h.unflatten(-1, (len(self.index), self.width))
        # At first all of it is the standard Normal that the columns have, by components side by side.
        at = torch.linspace(-1, 1, k, dtype=h.dtype, device=h.device) if k > 1 else h.new_zeros(1)
        scale = nn.functional.softplus(h[..., 2 * k : 3 * k] + 0.5) + self.least_scale
        shares = (h[..., 3 * k :] + self.log_shares).log_softmax(-1) if self.slots else None
        return h[..., :k].log_softmax(-1), h[..., k : 2 * k] + at, scale, shares

    def log_prob(self, h: Tensor, x: Tensor) -> Tensor:
        """h (..., C * width), x (..., C) -> (..., C), densities in the columns' own units, probabilities on spikes."""
        log_weight, loc, scale, shares = self.parts(h)
        z = (x.unsqueeze(-1) - loc) / scale
        log_p = (log_weight - 0.5 * z.square() - scale.log() - HALF_LOG_2PI).logsumexp(-1) + self.log_slope(x)
        if shares is None:
            return log_p
        on = self.on(x)
        log_spike = torch.where(on, shares[..., 1:], -math.inf).amax(-1)
        return torch.where(on.any(-1), log_spike, log_p + shares[..., 0])

    def log_slope(self, x: Tensor) -> Tensor:
        """log of the slope of the map to normal scores at x (..., C)."""
        flat = x.reshape(-1, x.shape[-1]).T.contiguous()
        # Values on a knot, as the ends of a range are, belong to the piece below it, however they were rounded.
        place = torch.searchsorted(self.knots, flat - ON_SPIKE)
        return self.log_slopes.gather(1, place).T.reshape(x.shape)

    def typical(self, h: Tensor) -> Tensor:
        """(..., C): the mean, or the spike that is likelier than all else."""
        log_weight, loc, _, shares = self.parts(h)
        mean = (log_weight.exp() * loc).sum(-1)
        return mean if shares is None else self.place(shares.argmax(-1), mean)

    def sample(self, h: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        """(..., C), by uniform (2, ..., C) and normal (..., C) numbers."""
        log_weight, loc, scale, shares = self.parts(h)
        chosen = pick(log_weight, uniform[0]).unsqueeze(-1)
        loc, scale = (t.expand(*chosen.shape[:-1], t.shape[-1]).gather(-1, chosen).squeeze(-1) for t in (loc, scale))
        value = loc + scale * normal
        return value if shares is None else self.place(pick(shares, uniform[1]), value)

    def shares(self, h: Tensor, edges: Tensor) -> Tensor:
        """The probability of the intervals between edges (W + 1,), and of all beyond in the first and the last: (..., C, W)."""
        log_weight, loc, scale, spikes = self.parts(h)
        below = torch.special.ndtr((edges[1:-1] - loc[..., None]) / scale[..., None])  # (..., C, components, W - 1)
        below = (log_weight.exp()[..., None] * below).sum(-2)
        ends = torch.zeros_like(below[..., :1])
        found = torch.cat([below, ends + 1], -1) - torch.cat([ends, below], -1)
        if spikes is None:
            return found
        place = (self.spikes[..., None] > edges[1:-1]).sum(-1)  # (C, spikes)
        at = place[..., None] == torch.arange(len(edges) - 1)  # (C, spikes, W)
        return found * spikes[..., :1].exp() + (spikes[..., 1:].exp().unsqueeze(-1) * at).sum(-2)

    def place(self, slot: Tensor, value: Tensor) -> Tensor:
        """`value` where the slot is 0, else the spike of that slot."""
        spikes = self.spikes.expand(*slot.shape, -1).gather(-1, (slot - 1).clamp_min(0).unsqueeze(-1)).squeeze(-1)
        return torch.where(slot == 0, value, spikes)


class Classes(nn.Module):
    """Columns that are categories, of about as many classes each, so that they are computed together.

    Args:
        index: which they are. columns: of each the `shares` of its classes.
    """

    log_shares: Tensor
    index: Tensor
    count: Tensor
    seen: Tensor  # which of all columns' classes there are, (features,)

    def __init__(self, index: Sequence[int], columns: Sequence[Mapping[str, Any]], rows: int):
        super().__init__()
        self.most = max(len(c["shares"]) for c in columns)
        self.width = self.most
        self.log_unseen = -math.log(rows + 1)
        log_shares = torch.full((len(columns), self.most), -math.inf)
        for i, c in enumerate(columns):
            log_shares[i, : len(c["shares"])] = torch.tensor(c["shares"]).log()
        self.register_buffer("index", torch.tensor(index), persistent=False)
        self.register_buffer("log_shares", log_shares, persistent=False)
        self.register_buffer("count", torch.tensor([len(c["shares"]) for c in columns]), persistent=False)
        there = torch.arange(self.most) < self.count.unsqueeze(-1)
        self.register_buffer("seen", there.flatten().nonzero().squeeze(1), persistent=False)

    @property
    def features(self) -> int:
        return len(self.seen)

    def see(self, x: Tensor) -> Tensor:
        """Codes (B, C) -> one-hot (B, features), all 0 for a missing code or one that training did not have."""
        one_hot = x.unsqueeze(-1) == torch.arange(1, self.most + 1, device=x.device)
        return one_hot.flatten(1)[:, self.seen].to(x)

    def logits(self, h: Tensor) -> Tensor:
        return (h.unflatten(-1, (len(self.index), self.most)) + self.log_shares).log_softmax(-1)

    def log_prob(self, h: Tensor, x: Tensor) -> Tensor:
        log_p = self.logits(h)
        x = x.expand(log_p.shape[:-1])
        index = (x.long() - 1).clamp(0, self.most - 1).unsqueeze(-1)
        found = log_p.gather(-1, index).squeeze(-1)
        return torch.where(x > self.count, self.log_unseen, found)

    def shares(self, h: Tensor, edges: Tensor) -> Tensor:
        """The probability of each class, (..., C, W), W at least the number of intervals between the edges: 0 behind the last class."""
        p = self.logits(h).exp()
        return nn.functional.pad(p, (0, max(0, len(edges) - 1 - self.most)))

    def typical(self, h: Tensor) -> Tensor:
        return self.logits(h).argmax(-1).to(h) + 1

    def sample(self, h: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        return pick(self.logits(h), uniform[0]).to(h) + 1


@dataclass
class Mixed(Elementwise):
    """Independent columns, each with a distribution of its own, from h (*batch, params).

    Its mean is the mean of numbers and the likeliest category: an average of categories means nothing.
    """

    head: MixedLikelihood
    h: Tensor

    def log_prob_elements(self, x: Tensor) -> Tensor:
        """(*batch, D): log-density of a number in its own units, log-probability of a category or a spike."""
        parts = [g.log_prob(h, x[..., g.index]) for g, h in self.groups()]
        return torch.cat(parts, -1)[..., self.head.order]

    @property
    def mean(self) -> Tensor:
        return torch.cat([g.typical(h) for g, h in self.groups()], -1)[..., self.head.order]

    def shares(self, edges: Tensor) -> Tensor:
        """The probability of each value of a column, (*batch, D, W): each class, or the intervals of a number between edges of its normal
        scores (W + 1,), the last of which go on without end. W is larger where a category has more classes."""
        parts = [g.shares(h, edges) for g, h in self.groups()]
        most = max(p.shape[-1] for p in parts)
        return torch.cat([nn.functional.pad(p, (0, most - p.shape[-1])) for p in parts], -2)[..., self.head.order, :]

    def sample(self, k: int = 1, noise: Noise = torch.randn) -> Tensor:
        n = noise(3 * k, *self.h.shape[:-1], len(self.head.order)).to(self.h).unflatten(0, (3, k))
        uniform = torch.special.ndtr(n[:2])
        parts = [g.sample(h, uniform[..., g.index], n[2][..., g.index]) for g, h in self.groups()]
        return torch.cat(parts, -1)[..., self.head.order]

    def groups(self) -> list[tuple[Any, Tensor]]:
        widths = [len(g.index) * g.width for g in self.head.groups]
        return list(zip(self.head.groups, self.h.split(widths, -1), strict=True))


class MixedLikelihood(Likelihood):
    """A distribution of its own for each column of a table: mixtures of Normals for numbers, probabilities for categories.

    Args:
        columns: for each entry of x what `to_likelihood` of its column gives.
        rows: number of rows of the table: a class that was never seen in them has probability 1 / (rows + 1).
        components: Normals in the mixture of each number.
        least_scale: the smallest scale of each of them, in standard deviations of the column.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"size": X[:, 0], "class": y})
        >>> model = vaekit.VAE(2, size="small", epochs=1, sampler="prior").fit(table)
        >>> type(model.model_.likelihood).__name__, list(model.sample(2).columns)
        ('MixedLikelihood', ['size', 'class'])
    """

    order: Tensor
    groups: Any  # an nn.ModuleList of `Numbers` and `Classes`

    def __init__(
        self,
        event_shape: tuple[int, ...],
        *,
        columns: Sequence[Mapping[str, Any]],
        rows: int,
        components: int = 3,
        least_scale: float = 0.02,
    ):
        super().__init__(event_shape)
        self.options = {"components": components, "least_scale": least_scale}
        self.groups = nn.ModuleList()
        by_size: dict[int, list[int]] = {}
        for i, column in enumerate(columns):
            size = 0 if "knots" in column else (len(column["shares"]) - 1).bit_length() + 1
            by_size.setdefault(size, []).append(i)
        for size, index in sorted(by_size.items()):
            own = [columns[i] for i in index]
            self.groups.append(Classes(index, own, rows) if size else Numbers(index, own, components, least_scale))
        order = torch.tensor([i for index in (by_size[s] for s in sorted(by_size)) for i in index]).argsort()
        self.register_buffer("order", order, persistent=False)
        self.input_shape = (sum(g.features for g in self.groups),)
        self.param_shape = (sum(len(g.index) * g.width for g in self.groups),)

    @classmethod
    def from_data(cls, chunks: Any, unit: Tensor, **options: Any) -> Likelihood:
        return cls((len(unit),), **options)

    def forward(self, h: Tensor) -> Mixed:  # type: ignore[override]
        return Mixed(1, self, h)

    def features(self, x: Tensor) -> Tensor:
        return torch.cat([g.see(x[:, g.index]) for g in self.groups], 1)


def pick(log_p: Tensor, uniform: Tensor) -> Tensor:
    """An index of the last axis by its probabilities: log_p (..., K), uniform (..., ) -> (...) of whole numbers."""
    edges = log_p.exp().cumsum(-1)
    return (uniform.unsqueeze(-1) * edges[..., -1:] > edges).sum(-1).clamp_max(log_p.shape[-1] - 1)
