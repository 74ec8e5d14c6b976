"""Sum out what is unknown about y: p(x) is the sum over y of p(y) p(x|y). p(y) is how often training rows had each y.

Codes of labels are -1 where unknown, numbers NaN. y goes by name, each (B,) or (B, size).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from vaekit.distributions import Noise
from vaekit.model import Draw, Given
from vaekit.nets.population import MOST, Population, Y


@dataclass
class Marginal(Draw):
    """A draw with y summed out where it is unknown: its ELBO and its importance weights bound log p(x | what is known about y).

    z, its distributions and `decode` are those of the likeliest y.
    """

    log_px: Tensor = field(kw_only=True)  # (k, B)
    kl: Tensor = field(kw_only=True)  # (B,)
    log_weight: Tensor = field(kw_only=True)  # (k, B)

    @classmethod
    def of(cls, draw: Draw, *, log_px: Tensor, kl: Tensor, log_weight: Tensor) -> Marginal:
        own = {f.name: getattr(draw, f.name) for f in fields(Draw)}
        return cls(**own, log_px=log_px, kl=kl, log_weight=log_weight)


def marginal(
    model: Any,
    x: Tensor,
    y: Given = None,
    *,
    k: int = 1,
    mask: Tensor | None = None,
    noise: Noise = torch.randn,
) -> Draw:
    """Draw as `model.draw` does, for evaluation: y is summed out where it is unknown.

    Each value of y has k samples; `MOST` draws of y have k / `MOST` samples each. A model that does not know p(y), or sums over y
    itself, draws as it is.

    Args:
        model: anything with `draw`; p(y) is its condition's `population`.
        x, y, k, mask, noise: as for `vaekit.model.Model.draw`.

    Returns:
        A `Marginal`, which is a `Draw`.

    Example:
        >>> from vaekit.structures.marginal import marginal
        >>> marginal(cvae.model_, torch.zeros(8, 3)).elbo.shape  # y is unknown in all rows
        torch.Size([8])
    """
    population = getattr(getattr(model, "condition", None), "population", None)
    if population is None:
        return model.draw(x, y, k=k, mask=mask, noise=noise)
    again = Again(noise, k, len(x))
    sums, whole = summed(model, population, x, population.complete(model.condition.named(y), len(x)), k, mask, again)
    draw = model.draw(x, whole, k=k, mask=mask, noise=again.noise())
    log_px, kl, log_weight = draw.log_px, draw.kl, draw.log_weight
    for rows, *terms in sums:
        log_px[:, rows], kl[rows], log_weight[:, rows] = (t.to(log_px) for t in terms)
    return Marginal.of(draw, log_px=log_px, kl=kl, log_weight=log_weight)


def likeliest(model: Any, x: Tensor, y: Mapping[str, Tensor], mask: Tensor | None = None) -> Mapping[str, Tensor]:
    """Complete y: where it is unknown, take the likeliest value given x, by the ELBO at the posterior's mean."""
    if hasattr(model, "completed"):  # a model of few labels says what is likely itself
        return {model.target: model.completed(y, model.judge(x, mask))}
    population = getattr(getattr(model, "condition", None), "population", None)
    if population is None:
        return y
    with torch.no_grad():
        still = Again(lambda *shape: torch.zeros(shape), 1, len(x))
        return summed(model, population, x, population.complete(y, len(x)), 1, mask, still)[1]


def summed(
    model: Any, population: Population, x: Tensor, y: Y, k: int, mask: Tensor | None, again: Again
) -> tuple[list[tuple[Tensor, Tensor, Tensor, Tensor]], Y]:
    """Sum y out for the rows (b,) where it is unknown. Returns the terms of the bound, (b,) each, and the likeliest y."""
    sums, y = [], {name: values.clone() for name, values in y.items()}
    for rows, values, log_p in population.parts(y):
        count = log_p.shape[1]
        samples = k if count < MOST else math.ceil(k / count)
        seen, terms = None if mask is None else mask[rows], []
        for i in range(count):
            noise = again.noise(rows, i * samples if samples < k else 0)
            draw = model.draw(x[rows], {n: v[:, i] for n, v in values.items()}, k=samples, mask=seen, noise=noise)
            weight = draw.log_weight.double().logsumexp(0) - math.log(samples)
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
    """Noise that can be drawn again for some of the rows: the n-th draw gives the n-th numbers again."""

    def __init__(self, source: Noise, k: int, rows: int):
        self.source, self.k, self.rows = source, k, rows
        self.drawn: list[Tensor] = []

    def noise(self, rows: Tensor | None = None, first: int = 0) -> Noise:
        """The noise of these rows (None: all), from this sample on: (k, rows, *shape)."""
        asked = iter(range(1 << 30))

        def again(k: int, n: int, *shape: int) -> Tensor:
            i = next(asked)
            if i == len(self.drawn):
                self.drawn.append(self.source(self.k, self.rows, *shape))
            drawn = self.drawn[i].roll(-first, 0)[:k] if k < self.k else self.drawn[i]
            return drawn if rows is None else drawn.to(rows.device).index_select(1, rows)

        return again

    def flat(self, k: int, n: int, *shape: int) -> Tensor:
        """The noise of k samples as rows of their own: (1, k * rows, *shape)."""
        return self.source(self.k, self.rows, *shape).flatten(0, 1)[None]
