"""A conditional VAE whose y is known for some rows only. Where it is unknown, y is a latent too (M2, Kingma et al. 2014, arXiv
1406.5298).

    p(x, y, z) = p(y) p(z|y) p(x|z,y)        q(y, z|x) = q(y|x) q(z|x,y)

A label is summed out exactly (in training, without bias); numbers are drawn by reparameterisation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.distributions import Distribution, Noise, Normal
from vaekit.distributions.kl import kl_per_unit
from vaekit.model import Draw, Given, LatentModel, blank
from vaekit.nets.population import is_known
from vaekit.structures.marginal import Again, Marginal

Perturb = Callable[[Tensor, Tensor | None, Noise], tuple[Tensor, Tensor | None]]
"""`perturb(x, mask, noise)`: other rows (B, *event) and their mask, of which y is the same."""

LEAST = 1e-3  # in training, a row of which all but the likeliest class are less probable than this is in no doubt
NEAR = 0.1  # of the radius: where the direction is looked for in which q(y|x) changes most
CERTAIN = 0.95  # what q(y|x) says of a row that is at least so probable, moved rows learn
JOLT = (
    0.26,
    0.15,
    0.3,
    0.15,
    0.15,
)  # at most: radians, share of the size, slant, and shares of half the width and height


class SemiSupervisedModel(LatentModel):
    """A `LatentModel` and q(y|x), for one condition y. It comes by name: {target: (B, ...)}, -1 or NaN where it is unknown.

    `draw` gives a `vaekit.structures.marginal.Marginal` where y is unknown: its bounds are of log p(x) in the rows whose y is
    unknown, and of log p(x|y) in the others.

    Training adds to the bound what q(y|x) learns on its own account, the sum of
    `label_weight` times its loss on the labels, on labelled rows the model holds, since of few labels hardly one is in a batch;
    `consistency` times the sum of
        how much q(y|x) changes where x is moved by `radius` in the direction in which it changes most: virtual adversarial training
        (Miyato et al. 2018, arXiv 1704.03976);
        how much it changes where x is moved by `perturb`: of labels, -log q(y|x') of the likeliest y given x, where that is all but
        certain (FixMatch, Sohn et al. 2020, arXiv 2001.07685);
        of labels, the entropy of q(y|x), and how far its mean over the batch is from p(y).

    Args:
        model: what the other parts are taken from.
        classifier: network, (B, *likelihood.input_shape) -> (B, outputs).
        target: the name of y.
        perturb: what a row's y does not depend on, if anything is known of that.
        consistency: see above; 0: q(y|x) learns from labels, and the bound.
        generative: how much of the gradient of the bound q(y|x) learns from, too. 1 is M2 as published, where it
            is all; 0: q(y|x) says what y is to the rest of the model, and is not told.
        label_weight: what the labels weigh against that gradient, which is of as many nats as x has.
        radius: a share of the spread of x; 0 where x is not made of numbers.
    """

    labelled_x: Tensor
    labelled_mask: Tensor | None
    labelled_y: Tensor
    spread: Tensor

    def __init__(
        self,
        model: LatentModel,
        classifier: nn.Module,
        target: str,
        perturb: Perturb | None = None,
        *,
        consistency: float = 1.0,
        generative: float = 0.0,
        label_weight: float = 1.0,
        radius: float = 0.3,
    ):
        super().__init__(
            model.encoder,
            model.decoder,
            model.likelihood,
            latent_dim=model.latent_dim,
            prior=model.prior_head,
            posterior=model.posterior_head,
            condition=model.condition,
        )
        self.classifier, self.target, self.perturb = classifier, target, perturb
        self.consistency, self.radius = consistency, radius
        self.generative, self.label_weight = generative, label_weight
        self.learn_from(torch.zeros(0), None, torch.zeros(0))

    def learn_from(self, x: Tensor, mask: Tensor | None, y: Tensor) -> None:
        """Keep the labelled rows, as the model sees them. They are not saved with the model."""
        for name, value in {"x": x, "mask": mask, "y": y}.items():
            self.register_buffer(f"labelled_{name}", value, persistent=False)

    # -- q(y|x) --------------------------------------------------------------------------------------------------------

    def judge(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The classifier's output for x (B, *event): (B, outputs). Missing entries (mask False) are not read."""
        return self._judge(self.likelihood.features(blank(x, mask)), mask)

    def _judge(self, features: Tensor, mask: Tensor | None) -> Tensor:
        seen = {"mask": mask} if getattr(self.classifier, "sees_mask", False) else {}
        # Not in half precision, which cannot tell by how little q(y|x) changes where x does.
        with torch.autocast(features.device.type, enabled=False):
            return self.classifier(features, **seen)

    def likeliest(self, h: Tensor) -> Tensor:
        """Turn the output of `judge` into the likeliest y."""
        raise NotImplementedError

    def predicted(self, h: Tensor, temperature: float) -> Tensor:
        """Turn the output of `judge` into what is said of y: the probability of each class (B, classes), or numbers (B, size)."""
        raise NotImplementedError

    def completed(self, y: Given, h: Tensor) -> Tensor:
        """Fill in y where it is unknown with the likeliest value."""
        guess, known = self.likeliest(h), self.known(y, h.shape[0])
        return guess if known is None else torch.where(is_known(known).view(-1, *[1] * (known.ndim - 1)), known, guess)

    def known(self, y: Given, rows: int) -> Tensor | None:
        return None if y is None else y if isinstance(y, Tensor) else y.get(self.target)

    # -- as of a LatentModel -------------------------------------------------------------------------------------------

    def posterior(self, x: Tensor, y: Given = None, mask: Tensor | None = None) -> Distribution:
        """q(z|x,y) for x (B, *event), with the likeliest y where it is unknown: a distribution over (B, latent_dim)."""
        return super().posterior(x, {self.target: self.completed(y, self.judge(x, mask))}, mask)

    def draw(
        self, x: Tensor, y: Given = None, *, k: int = 1, mask: Tensor | None = None, noise: Noise = torch.randn
    ) -> Draw:
        x, h = blank(x, mask), self.judge(x, mask)
        # Every class of a row has the same noise: their difference is not one of luck.
        again = Again(noise, k, x.shape[0])
        chosen = self.completed(y, h)
        draw = super().draw(x, {self.target: chosen}, k=k, mask=mask, noise=again.noise())
        told = h.detach() + self.generative * (h - h.detach())  # the same number, whose gradient is another
        draw = self._sum_out(draw, told, self.known(y, x.shape[0]), chosen, again)
        if self.training:
            draw.penalty = self._learn(x, mask, h, noise)
        return draw

    def _sum_out(self, draw: Draw, h: Tensor, y: Tensor | None, chosen: Tensor, again: Again) -> Draw:
        """The draw, with y summed out where it is unknown."""
        raise NotImplementedError

    def _given(self, x: Tensor, y: Tensor, k: int, mask: Tensor | None, noise: Noise) -> Draw:
        return super().draw(x, {self.target: y}, k=k, mask=mask, noise=noise)

    # -- what q(y|x) learns by itself ----------------------------------------------------------------------------------

    def _learn(self, x: Tensor, mask: Tensor | None, h: Tensor, noise: Noise) -> Tensor:
        loss, rows = h.new_zeros(()), len(x)
        if len(self.labelled_y):
            # As many rows as in the batch, drawn anew at each step.
            which = (uniform(noise, h, rows) * len(self.labelled_y)).long()
            seen = None if self.labelled_mask is None else self.labelled_mask[which]
            judged = self._judge_moved(self.labelled_x[which], seen, noise)
            loss = self.label_weight * self._loss(judged, self.labelled_y[which])
        if not self.consistency:
            return loss
        consistent = self._decisive(h)
        if self.radius:
            consistent = consistent + self._adversarial(x, mask, h, noise)
        if self.perturb:
            consistent = consistent + self._agree(h.detach(), self._judge_moved(x, mask, noise))
        return loss + self.consistency * consistent

    def _judge_moved(self, x: Tensor, mask: Tensor | None, noise: Noise) -> Tensor:
        return self.judge(*(self.perturb(x, mask, noise) if self.perturb and self.consistency else (x, mask)))

    def _adversarial(self, x: Tensor, mask: Tensor | None, h: Tensor, noise: Noise) -> Tensor:
        """How much q(y|x) changes in the worst direction, in nats per row."""
        features, fixed = self.likelihood.features(x), h.detach()
        radius = self.radius * (features - features.mean(0)).flatten(1).square().sum(1).mean().sqrt()

        def unit(direction: Tensor) -> Tensor:
            length = direction.flatten(1).norm(dim=1).clamp_min(1e-12)
            return direction / length.view(-1, *[1] * (direction.ndim - 1))

        direction = unit(noise(1, len(x), *features.shape[1:])[0].to(features)).requires_grad_()
        change = self._divergence(fixed, self._judge(features + NEAR * radius * direction, mask))
        (slope,) = torch.autograd.grad(change, direction)
        return self._divergence(fixed, self._judge(features + radius * unit(slope), mask))

    def label_loss(self, x: Tensor, mask: Tensor | None, y: Tensor) -> Tensor:
        """The mean of -log q(y|x) over rows whose y is known, in nats."""
        return self._loss(self.judge(x, mask), y)

    def own_loss(self, x: Tensor, mask: Tensor | None, noise: Noise) -> Tensor:
        """The loss that training adds to the bound for rows x (B, *event). If `generative` is 0, q(y|x) learns from this alone."""
        return self._learn(x, mask, self.judge(x, mask), noise)

    def fit_temperature(self, h: Tensor, y: Tensor) -> float:
        """Find how much less sure q(y|x) has to be to make y (N, ...) most likely, given the output of `judge` (N, outputs).

        It is drawn towards 1, as if by a few rows: otherwise a few rows that are all right would say that q(y|x) is never wrong.
        """
        raise NotImplementedError

    def _loss(self, h: Tensor, y: Tensor) -> Tensor:
        """-log q(y|x), in nats per row."""
        raise NotImplementedError

    def _divergence(self, h: Tensor, other: Tensor) -> Tensor:
        """KL between the q(y|x) of two outputs, in nats per row."""
        raise NotImplementedError

    def _agree(self, h: Tensor, moved: Tensor) -> Tensor:
        """How far q(y|x) of perturbed rows is from q(y|x) of these rows, in nats per row."""
        return self._divergence(h, moved)

    def _decisive(self, h: Tensor) -> Tensor:
        return h.new_zeros(())


class SemiSupervisedClassifier(SemiSupervisedModel):
    """y is a label: int64 codes (B,), -1 where unknown. `shares`: p(y), (classes,)."""

    log_prior: Tensor

    def __init__(self, *args: Any, shares: Tensor, **options: Any):
        super().__init__(*args, **options)
        self.register_buffer("log_prior", (shares / shares.sum()).log(), persistent=False)

    def likeliest(self, h: Tensor) -> Tensor:
        return h.argmax(-1)

    def predicted(self, h: Tensor, temperature: float) -> Tensor:
        return (h / temperature).softmax(-1)

    def fit_temperature(self, h: Tensor, y: Tensor) -> float:
        log_t = torch.linspace(-3, 5, 801, dtype=h.dtype)
        loss = torch.stack([F.cross_entropy(h / t.exp(), y, reduction="sum") + 2 * t**2 for t in log_t])
        return log_t[loss.argmin()].exp().item()

    def _sum_out(self, draw: Draw, h: Tensor, y: Tensor | None, chosen: Tensor, again: Again) -> Draw:
        compiling = torch.compiler.is_compiling()
        if y is not None and not compiling and is_known(y).all():
            return draw
        log_q, log_p = h.log_softmax(-1), self.log_prior.to(h).expand_as(h)
        if y is not None:  # where y is known all the probability is on it, and log p(y) is not part of log p(x|y)
            known = is_known(y).unsqueeze(1)
            certain = torch.where(F.one_hot(chosen, h.shape[1]).bool(), 0.0, -torch.inf)
            log_q, log_p = torch.where(known, certain, log_q), torch.where(known, certain, log_p)
        q = log_q.exp()
        divergence = torch.where(q > 0, q * (log_q.clamp_min(-1e4) - log_p.clamp_min(-1e4)), 0.0).sum(1)
        if compiling:  # a graph has every class of every row
            return self._every_class(draw, log_q, log_p, divergence, again)
        every = torch.arange(len(h), device=h.device)
        rows, classes, drawn = self._others(q.detach(), chosen, again)
        # Pairs of a row and a class: which they are, and the terms of the bound of each, (k, pairs) and (pairs,).
        pairs = [(every, chosen, draw.log_px, draw.kl, draw.log_weight)]
        for r, c in zip(rows.split(len(h)), classes.split(len(h)), strict=True):
            mask = None if draw.mask is None else draw.mask[r]
            other = self._given(draw.x[r], c, len(draw.z), mask, again.noise(r))
            pairs.append((r, c, other.log_px, other.kl, other.log_weight))
        row, label, log_px, kl, weight = (torch.cat(part, dim=-1) for part in zip(*pairs, strict=True))
        drawn = torch.cat([torch.ones_like(draw.kl), drawn])
        share = q[row, label] / drawn
        log_weight = weight.new_full((len(draw.z), *h.shape), -torch.inf)
        log_weight[:, row, label] = weight + (log_p[row, label] - drawn.log()).to(weight)
        return Marginal.of(
            draw,
            log_px=torch.zeros_like(draw.log_px).index_add(1, row, share * log_px),
            # In training a row has two terms, whose sum does not depend on the order in which a GPU adds them to 0.
            kl=divergence + torch.zeros_like(divergence).index_add(0, row, share * kl),
            log_weight=log_weight.logsumexp(-1),
        )

    def _every_class(self, draw: Draw, log_q: Tensor, log_p: Tensor, divergence: Tensor, again: Again) -> Draw:
        """The sum over all classes, by log q(y|x) and log p(y) of each, (B, classes)."""
        k, (rows, classes), same = draw.z.shape[0], log_q.shape, again.noise()

        def noise(k: int, n: int, *shape: int) -> Tensor:
            return same(k, rows, *shape).repeat(1, classes, *[1] * len(shape))

        every = torch.arange(classes, device=log_q.device).unsqueeze(1).expand(-1, rows).flatten()
        mask = None if draw.mask is None else as_rows(draw.mask, classes)
        each = self._given(as_rows(draw.x, classes), every, k, mask, noise)
        log_px, log_weight = (
            t.unflatten(1, (classes, rows)) for t in (each.log_px, each.log_weight)
        )  # (k, classes, B)
        q = log_q.exp().T
        return Marginal.of(
            draw,
            log_px=(q * log_px).sum(1),
            kl=divergence + (q * each.kl.unflatten(0, (classes, rows))).sum(0),
            log_weight=(log_p.T + log_weight).logsumexp(1),
        )

    def _others(self, q: Tensor, chosen: Tensor, again: Again) -> tuple[Tensor, Tensor, Tensor]:
        """Choose which classes of which rows the sum has beside the likeliest. Also returns the probability of this choice.

        All of them; in training, of each row that is in doubt, one of them by its probability, whose term counts for as much more:
        the sum's value and gradient on average, at two classes a row (Liu et al. 2019, arXiv 1810.04777).
        """
        rest = q.scatter(1, chosen.unsqueeze(1), 0.0)
        if not self.training:
            rows, classes = (rest > 0).nonzero(as_tuple=True)
            return rows, classes, torch.ones_like(q[rows, classes])
        rest = rest.double()
        rows = (rest.sum(1) > LEAST).nonzero().squeeze(1)
        rest = (rest / rest.sum(1, keepdim=True))[rows]
        at = uniform(again.source, rest, len(q))[rows, None]
        classes = (rest.cumsum(1) <= at * rest.sum(1, keepdim=True)).sum(1).clamp_max(q.shape[1] - 1)
        return rows, classes, rest.gather(1, classes.unsqueeze(1)).squeeze(1).to(q)

    def _loss(self, h: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(h, y)

    def _divergence(self, h: Tensor, other: Tensor) -> Tensor:
        return F.kl_div(other.log_softmax(-1), h.log_softmax(-1), reduction="batchmean", log_target=True)

    def _agree(self, h: Tensor, moved: Tensor) -> Tensor:
        probability, label = h.softmax(-1).max(-1)
        return (F.cross_entropy(moved, label, reduction="none") * (probability > CERTAIN)).mean()

    def _decisive(self, h: Tensor) -> Tensor:
        """The entropy of q(y|x), and KL(mean of q(y|x) || p(y)), in nats per row."""
        log_q = h.log_softmax(-1)
        mean = log_q.exp().mean(0)
        entropy = -(log_q.exp() * log_q).sum(1).mean()
        return entropy + (mean * ((mean + 1e-12).log() - self.log_prior)).sum()


class SemiSupervisedRegressor(SemiSupervisedModel):
    """y is numbers (B, size), standardised, NaN where unknown; p(y) is the standard Normal, q(y|x) a Normal whose location and
    scale are the classifier's outputs."""

    def of(self, h: Tensor) -> Normal:
        loc, raw = h.chunk(2, dim=-1)
        return Normal(1, loc, F.softplus(raw + math.log(math.e - 1)) + 1e-3)

    def likeliest(self, h: Tensor) -> Tensor:
        return self.of(h).loc

    def predicted(self, h: Tensor, temperature: float) -> Tensor:
        return self.likeliest(h)

    def fit_temperature(self, h: Tensor, y: Tensor) -> float:
        off = (y - self.of(h).loc) / self.of(h).scale
        return ((off.square().sum() + 4) / (off.numel() + 4)).sqrt().item()

    def _sum_out(self, draw: Draw, h: Tensor, y: Tensor | None, chosen: Tensor, again: Again) -> Draw:
        unknown = torch.ones_like(h[:, 0], dtype=torch.bool) if y is None else ~is_known(y)
        if not torch.compiler.is_compiling() and not unknown.any():
            return draw
        k, q = len(draw.z), self.of(h)
        prior = Normal(1, torch.zeros_like(q.loc), torch.ones_like(q.scale))
        drawn = torch.where(unknown[:, None], q.sample(k, again.source), chosen)  # (k, B, size)
        mask = None if draw.mask is None else as_rows(draw.mask, k)
        each = self._given(as_rows(draw.x, k), drawn.flatten(0, 1), 1, mask, again.flat)
        weight = each.log_weight.view(k, -1)
        return Marginal.of(
            draw,
            log_px=each.log_px.view(k, -1),
            kl=each.kl.view(k, -1).mean(0) + torch.where(unknown, kl(q, prior), 0.0),
            log_weight=weight + torch.where(unknown, prior.log_prob(drawn) - q.log_prob(drawn), 0.0),
        )

    def _loss(self, h: Tensor, y: Tensor) -> Tensor:
        return -self.of(h).log_prob(y).mean()

    def _divergence(self, h: Tensor, other: Tensor) -> Tensor:
        return kl(self.of(h), self.of(other)).mean()


def kl(q: Normal, p: Normal) -> Tensor:
    """KL(q || p) of each row, (B,)."""
    units = kl_per_unit(q, p)
    assert units is not None
    return units.sum(-1)


def as_rows(t: Tensor, k: int) -> Tensor:
    """(B, ...) -> (k * B, ...)"""
    return t.repeat(k, *[1] * (t.ndim - 1))


def uniform(noise: Noise, like: Tensor, rows: int, *shape: int) -> Tensor:
    """Turn standard Normal noise into uniform numbers from 0 to below 1, on the device of `like`: (rows, *shape) float64."""
    return torch.special.ndtr(noise(1, rows, *shape)[0].double()).clamp_max(1 - 1e-9).to(like.device)


def jolted(x: Tensor, mask: Tensor | None, noise: Noise) -> tuple[Tensor, Tensor | None]:
    """Turn, scale, slant and move each picture (B, channels, H, W) a little."""
    turn, scale, slant, right, down = ((2 * uniform(noise, x, len(x), 5) - 1).to(x) * x.new_tensor(JOLT)).unbind(1)
    cos, sin, scale = turn.cos(), turn.sin(), 1 + scale
    first = torch.stack([cos * scale, slant - sin * scale, right], dim=1)
    second = torch.stack([sin * scale, cos * scale, down], dim=1)
    grid = F.affine_grid(torch.stack([first, second], dim=1), list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    if mask is None:
        return moved, None
    return moved, F.grid_sample(mask.to(x), grid, align_corners=False) > 0.99


def thinned(x: Tensor, mask: Tensor | None, noise: Noise) -> tuple[Tensor, Tensor | None]:
    """Hide some values of each row: a different share of each, up to half."""
    share = uniform(noise, x, len(x), 1) / 2
    seen = (uniform(noise, x, len(x), x[0].numel()) >= share).view(x.shape)
    return x, seen if mask is None else mask & seen
