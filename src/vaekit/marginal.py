"""What is unknown of y is summed out: p(x) is the sum over y of p(y) p(x|y), p(y) being how often training rows had each y.

Codes of labels are -1 where unknown, numbers NaN. y goes by name, each (B,) or (B, size).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.distributions import Noise
from vaekit.model import Conditions, Draw

MOST = 64  # fewer values of y are all summed over; of more, so many draws
ROWS = 4096  # held against the population at a time: bounds memory

Y = dict[str, Tensor]


class Population(nn.Module):
    """p(y): what conditions training rows had together, and how many rows had them.

    Args:
        y: name -> codes (T,) or values (T, size), all of them known, as the model sees them. counts: (T,).
    """

    log_share: Tensor

    def __init__(self, y: Mapping[str, Tensor], counts: Tensor):
        super().__init__()
        self.names = list(y)
        for i, values in enumerate(y.values()):
            self.register_buffer(f"values{i}", values, persistent=False)
        self.register_buffer("log_share", (counts.double() / counts.sum()).log(), persistent=False)

    @property
    def y(self) -> Y:
        return {name: self.get_buffer(f"values{i}") for i, name in enumerate(self.names)}

    def complete(self, y: Mapping[str, Tensor], rows: int) -> Y:
        """Every condition of B rows, unknown where it was left out."""
        whole = {}
        for name, own in self.y.items():
            unknown = own.new_full((1, *own.shape[1:]), -1 if is_code(own) else torch.nan)
            whole[name] = y[name].to(own) if name in y else unknown.expand(rows, *own.shape[1:])
        return whole

    def log_p(self, y: Mapping[str, Tensor]) -> Tensor:
        """log p(row of the population | what is known of y), (B, T). Labels have to agree; of numbers the nearer count for more, by
        a Normal kernel. Labels that no row has together say nothing."""
        log_p = self.log_share.expand(len(next(iter(y.values()))), -1)
        for name, own in self.y.items():
            given = y[name]
            if is_code(own):
                log_p = log_p.masked_fill((given[:, None] >= 0) & (given[:, None] != own), -torch.inf)
            else:  # squared distances over what is known; the kernel is as wide as Scott's rule has it in one dimension
                value, known = given.nan_to_num(0.0), (~given.isnan()).to(own)
                apart = value.square().sum(1, keepdim=True) - 2 * value @ own.mT + known @ own.square().mT
                log_p = log_p - apart.clamp_min(0.0) * len(own) ** 0.4 / 2
        return torch.where(log_p.isinf().all(1, keepdim=True), self.log_share, log_p).log_softmax(1)

    def pick(self, y: Mapping[str, Tensor], rows: int, random: np.random.Generator) -> np.ndarray:
        """For each of B rows a row of the population, drawn given what is known of y, (B,)."""
        y, picked = self.complete(y, rows), []
        for start in range(0, rows, ROWS):
            p = self.log_p({name: values[start : start + ROWS] for name, values in y.items()}).exp().cumsum(1)
            at = torch.from_numpy(random.random((len(p), 1))).to(p)
            picked.append(
                torch.searchsorted(p, at * p[:, -1:], right=True).squeeze(1).clamp_max(p.shape[1] - 1).numpy()
            )
        return np.concatenate(picked)

    def parts(self, y: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, Y, Tensor]]:
        """Rows of which the same is unknown, and the values that it may have.

        Yields rows (b,), every condition of each by name (b, C, ...), and log p(y | what is known of it), (b, C): all values there
        are, where these are fewer than `MOST`, else `MOST` draws of them, evenly spaced.
        """
        unknown = torch.stack([~is_known(values) for values in y.values()], dim=1)
        for lacks in unknown.unique(dim=0):
            if not lacks.any():
                continue
            rows = (unknown == lacks).all(1).nonzero().squeeze(1)
            first, group = distinct([self.y[name] for name, lacking in zip(y, lacks, strict=True) if lacking])
            given = {name: values[rows] for name, values in y.items()}
            p = self.log_p(given).exp() @ F.one_hot(group).to(self.log_share)
            if p.shape[1] < MOST:
                chosen, log_p = torch.arange(p.shape[1], device=p.device).expand_as(p), p.log()
            else:
                at = (torch.arange(MOST, device=p.device, dtype=p.dtype) + 0.5) / MOST
                chosen = torch.searchsorted(p.cumsum(1), at.expand(len(p), -1).contiguous()).clamp_max(p.shape[1] - 1)
                log_p = torch.full_like(chosen, -math.log(MOST), dtype=p.dtype)
            found = {}
            for name, values in given.items():
                own, values = self.y[name][first[chosen]], values.unsqueeze(1)
                found[name] = torch.where(values < 0 if is_code(own) else values.isnan(), own, values)
            yield rows, found, log_p


def marginal(
    model: Any,
    x: Tensor,
    y: Conditions = None,
    *,
    k: int = 1,
    mask: Tensor | None = None,
    noise: Noise = torch.randn,
) -> Draw:
    """As `model.draw`, with y summed out where it is unknown, for evaluation.

    `log_px`, `kl` and the importance weight log_px + log_pz - log_qz have what is unknown summed out: the ELBO and its
    importance-weighted kin bound log p(x | what is known of y). Of each value of y there are k samples, of `MOST` draws of it
    k / `MOST`. z, its distributions and `decode` are those of the likeliest y. A model that does not know p(y), or sums over y
    itself, draws as it is.

    Args:
        model: anything with `draw`; p(y) is its condition's `population`.
    """
    population = getattr(getattr(model, "condition", None), "population", None)
    if population is None:
        return model.draw(x, y, k=k, mask=mask, noise=noise)
    again = Again(noise, k, len(x))
    sums, whole = summed(model, population, x, population.complete(model.condition.named(y), len(x)), k, mask, again)
    draw = model.draw(x, whole, k=k, mask=mask, noise=again.noise())
    log_px, kl, log_weight = draw.log_px, draw.kl, draw.log_px + draw.log_pz - draw.log_qz
    for rows, *terms in sums:
        log_px[:, rows], kl[rows], log_weight[:, rows] = (t.to(log_px) for t in terms)
    replace(draw, log_px=log_px, kl=kl, log_weight=log_weight)
    return draw


def likeliest(model: Any, x: Tensor, y: Mapping[str, Tensor], mask: Tensor | None = None) -> Mapping[str, Tensor]:
    """y, the likeliest value given x where it is unknown, by the ELBO at the posterior's mean."""
    population = getattr(getattr(model, "condition", None), "population", None)
    if population is None:
        return y
    with torch.no_grad():
        still = Again(lambda *shape: torch.zeros(shape), 1, len(x))
        return summed(model, population, x, population.complete(y, len(x)), 1, mask, still)[1]


def summed(
    model: Any, population: Population, x: Tensor, y: Y, k: int, mask: Tensor | None, again: Again
) -> tuple[list[tuple[Tensor, Tensor, Tensor, Tensor]], Y]:
    """Of rows of which something is unknown (b,): the terms of the bound, (b,) each, and y with its likeliest value."""
    sums, y = [], {name: values.clone() for name, values in y.items()}
    for rows, values, log_p in population.parts(y):
        count = log_p.shape[1]
        samples = k if count < MOST else math.ceil(k / count)
        seen, terms = None if mask is None else mask[rows], []
        for i in range(count):
            noise = again.noise(rows, i * samples if samples < k else 0)
            draw = model.draw(x[rows], {n: v[:, i] for n, v in values.items()}, k=samples, mask=seen, noise=noise)
            weight = (draw.log_px + draw.log_pz - draw.log_qz).double().logsumexp(0) - math.log(samples)
            terms.append((draw.log_px.double().mean(0), draw.kl.double(), weight))
        log_px, kl, weight = (torch.stack(term, dim=1) for term in zip(*terms, strict=True))
        log_q = (log_p + log_px - kl).log_softmax(1)  # the q(y|x) whose bound is the highest
        q = log_q.exp()
        divergence = torch.where(q > 0, q * (log_q - log_p), 0.0).sum(1)
        sums.append((rows, (q * log_px).sum(1), (q * kl).sum(1) + divergence, (log_p + weight).logsumexp(1)))
        best = q.argmax(1)
        for name, own in values.items():
            y[name][rows] = own[torch.arange(len(rows), device=best.device), best]
    return sums, y


class Again:
    """Noise that can be asked for again, for some of the rows: the n-th time it is asked for is the n-th number there was."""

    def __init__(self, source: Noise, k: int, rows: int):
        self.source, self.k, self.rows = source, k, rows
        self.drawn: list[Tensor] = []

    def noise(self, rows: Tensor | None = None, first: int = 0) -> Noise:
        """Of these rows, None for all, from this sample on: (k, rows, *shape)."""
        asked = iter(range(1 << 30))

        def again(k: int, n: int, *shape: int) -> Tensor:
            i = next(asked)
            if i == len(self.drawn):
                self.drawn.append(self.source(self.k, self.rows, *shape))
            drawn = self.drawn[i].roll(-first, 0)[:k] if k < self.k else self.drawn[i]
            return drawn if rows is None else drawn.to(rows.device).index_select(1, rows)

        return again

    def flat(self, k: int, n: int, *shape: int) -> Tensor:
        """Of k samples as rows of their own: (1, k * rows, *shape)."""
        return self.source(self.k, self.rows, *shape).flatten(0, 1)[None]


def replace(draw: Draw, *, log_px: Tensor, kl: Tensor, log_weight: Tensor) -> None:
    """Set what a draw would compute when it is asked. log p(z|y) is what makes log p(x|z) + log p(z) - log q(z) the weight."""
    vars(draw).update(log_px=log_px, kl=kl, log_pz=log_weight - log_px + draw.log_qz)


def distinct(columns: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Of columns (T,) or (T, size): the first of each group of rows that are alike (G,), and each row's group (T,)."""
    rows = torch.cat([c.double().reshape(len(c), -1) for c in columns], dim=1)
    groups, group = rows.unique(dim=0, return_inverse=True)
    places = torch.arange(len(rows), device=group.device)
    return places.new_full((len(groups),), len(rows)).scatter_reduce(0, group, places, "amin"), group


def is_code(y: Tensor) -> bool:
    return not y.is_floating_point()


def is_known(y: Tensor) -> Tensor:
    """(B,) codes or (B, size) numbers -> (B,)."""
    return y >= 0 if is_code(y) else ~y.isnan().any(-1)
