"""How normal a row is: one number per row, by the name of the score. High means like the training rows.

    loglik            log p(x|y) by importance sampling: what a density should say, and on tables says well
    reconstruction    log p(x|z,y) at the posterior's mean: how well the row comes back from its code
    kl                minus KL(q(z|x,y) || p(z|y)): how usual the code is
    regret            minus the likelihood regret (Xiao et al. 2020, arXiv 2003.02977)
    path              minus a distance of what the row does on its way x -> q(z|x) -> p(x|z) from what rows usually do
                      (after Huang et al. 2024, arXiv 2401.04933)
    exemplars         log p(x) with the codes of training rows as the prior (after Norouzi et al. 2020, arXiv 2004.04795)
    auto              see `auto`

Some scores first learn a few arrays from reference rows:
`score = new_score("path", vae.fitted_).fit(vae.fitted_, X_reference); score(vae.fitted_, X)`. A row's score does not depend on the
rows beside it, but for rounding: the noise is the same for every row, or for "loglik" its own. "loglik" sums over an unknown y; the others
take its likeliest value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vaekit.distributions import Distribution, Mixture, Noise, Normal, NormalPosterior, kl_divergence
from vaekit.errors import UserError, near_matches
from vaekit.evaluation.likelihood import DRAWS_AT_ONCE, shared_noise
from vaekit.fitted import Fitted
from vaekit.settings.parts import check_options
from vaekit.structures.marginal import likeliest
from vaekit.structures.quantised import Certain
from vaekit.training.data import Data
from vaekit.uses.likelihood import log_likelihood

STEPS, SPEED = 100, 0.05  # of Adam on a row's own posterior: no knobs, enough to converge
SAMPLES = 16  # of z where there is no closed form
SPREAD_FLOOR = 1e-6  # of a statistic, beside its size: below it is rounding
ROUNDING = (1 / 255) ** 2 / 12  # mean square of what is lost in rounding to bytes: less energy than that says nothing
# Densities of exemplars that are computed at a time. They are read several times, and this many fit in the processor's cache.
DENSITIES = 1 << 19


class Score:
    """Base of the scores.

    Attributes:
        name: in `SCORES`.
        learns: whether it has to see reference rows first. of_training: whether these are rows that the model was trained on.
        most: it learns from at most this many.
        random: names of what it draws anew for each row. samples: decoder outputs per row that it holds at a time. precise: whether it magnifies the rounding of 32 bits.
        learned: what it has learned from them, by name.
    """

    name: ClassVar[str]
    learns: ClassVar[bool] = False
    of_training: ClassVar[bool] = False
    precise: ClassVar[bool] = False
    random: ClassVar[tuple[str, ...]] = ()
    most: int = 10_000
    samples: int = 1

    def __init__(self) -> None:
        self.learned: dict[str, np.ndarray] = {}

    def fit(self, fitted: Fitted, X: Any, y: Any = None) -> Score:
        """Learn from rows X (N, ...) and their condition y."""
        return self

    def __call__(self, fitted: Fitted, X: Any, y: Any = None) -> np.ndarray:
        """Rows X (N, ...) in the user's own form -> (N,) float64: high is normal."""
        if self.learns and not self.learned:
            which = "training" if self.of_training else "reference"
            raise UserError(f'score "{self.name}" has to be fitted to {which} rows first')
        return by_chunks(fitted.precise() if self.precise else fitted, X, y, self.of, samples=self.samples)

    def fixed(self, samples: int) -> Score:
        """The score with this number of samples, if it has none of its own: a graph has to know."""
        return self

    def of(self, model: Any, x: Tensor, rows: Data, noise: Noise | None = None) -> Tensor:
        """Score rows as the model sees them, x (B, *event), with the mask and y of `rows`: (B,). noise: for a score with `random`."""
        raise NotImplementedError


class LogLikelihood(Score):
    """log p(x|y) in nats by `k` importance samples (Burda et al. 2016, arXiv 1509.00519)."""

    name = "loglik"
    random = ("noise",)

    def __init__(self, *, k: int | None = None) -> None:
        super().__init__()
        self.k, self.samples = k, k or 1

    def __call__(self, fitted: Fitted, X: Any, y: Any = None) -> np.ndarray:
        return log_likelihood(fitted, X, y, k=self.k)

    def fixed(self, samples: int) -> Score:
        return LogLikelihood(k=self.k or samples)

    def of(self, model: Any, x: Tensor, rows: Data, noise: Noise | None = None) -> Tensor:
        """Score rows for which all of y is known."""
        assert self.k is not None
        assert noise is not None
        draw = model.draw(x, rows.y, k=self.k, mask=rows.mask, noise=noise)
        return draw.log_weight.double().logsumexp(0) - math.log(self.k)


class Reconstruction(Score):
    """log p(x|z,y) in nats at z the posterior's mean."""

    name = "reconstruction"

    def of(self, model: Any, x: Tensor, rows: Data, noise: Noise | None = None) -> Tensor:
        z = model.posterior(x, rows.y, rows.mask).mean
        return model.decode(z[None], rows.y).log_prob(x, rows.mask)[0]


class KL(Score):
    """-KL(q(z|x,y) || p(z|y)) in nats, in closed form where there is one."""

    name = "kl"
    samples = SAMPLES

    def of(self, model: Any, x: Tensor, rows: Data, noise: Noise | None = None) -> Tensor:
        q, p = model.posterior(x, rows.y, rows.mask), model.prior(rows.y, x.shape[0])
        if (analytic := kl_divergence(q, p)) is not None:
            return -analytic
        return -model.draw(x, rows.y, k=SAMPLES, mask=rows.mask, noise=shared_noise()).kl


class Regret(Score):
    """Minus the likelihood regret (Xiao et al. 2020, arXiv 2003.02977), in nats: how much the ELBO of a row rises when its
    posterior is no longer the encoder's but the best Normal for this row alone. The networks stay as they are.

    The best is sought by 100 steps of Adam, and both ELBOs are measured with 16 other samples. The noise is the same for
    every row, in pairs of opposite sign and of variance 1: where log p(x|z) bends like a parabola it errs no more than that
    units go together by chance. A flat model with posterior "normal" only.
    """

    name = "regret"
    samples = SAMPLES

    def of(self, model: Any, x: Tensor, rows: Data, noise: Noise | None = None) -> Tensor:
        c, mask = rows.y, rows.mask
        start, prior = model.posterior(x, c, mask), model.prior(c, len(x))
        if not isinstance(start, Normal):
            raise UserError('score "regret" needs a flat model with posterior "normal": try "path" or "loglik"')

        def elbo(q: Normal, k: int, seed: int) -> Tensor:
            half = shared_noise(seed)(k // 2, *q.loc.shape).to(q.loc)
            half = half / half.square().mean(0).sqrt()
            z = q.loc + q.scale * torch.cat([half, -half])
            kl = kl_divergence(q, prior)
            kl = (q.log_prob(z) - prior.log_prob(z)).mean(0) if kl is None else kl
            return model.decode(z, c).log_prob(x, mask).mean(0) - kl

        loc, log_scale = start.loc.clone().requires_grad_(), start.scale.log().requires_grad_()
        adam = torch.optim.Adam([loc, log_scale], lr=SPEED)
        slower = torch.optim.lr_scheduler.CosineAnnealingLR(adam, STEPS)
        for step in range(STEPS):
            with torch.enable_grad():
                loss = -elbo(Normal(1, loc, log_scale.exp()), 2, step + 1).sum()
            loc.grad, log_scale.grad = torch.autograd.grad(loss, [loc, log_scale])
            adam.step()
            slower.step()
        best = Normal(1, loc, log_scale.exp())
        return (elbo(start, SAMPLES, 0) - elbo(best, SAMPLES, 0)).clamp_max(0.0)


class Path(Score):
    """Minus half the squared Mahalanobis distance of a row's path statistics from those of the reference rows, with one
    forward pass: the sizes of x - E[x|z], of the posterior's mean and of its scale (Huang et al. 2024, arXiv 2401.04933), and
    for pictures, where `octaves`, the log energy of x - E[x|z] and of E[x|z] in each octave of frequency and axis of colour.

    Both ends are odd: a picture that is rebuilt too well, such as a smooth one, is no more usual than one that is not. The
    size alone does not tell them apart: what is smooth and rebuilt badly has the size of what is rough and rebuilt well.
    """

    name = "path"
    learns = True
    samples = SAMPLES

    def __init__(self, *, octaves: bool = True) -> None:
        super().__init__()
        self.octaves = octaves

    def fit(self, fitted: Fitted, X: Any, y: Any = None) -> Path:
        statistics = by_chunks(fitted, X, y, self.statistics, samples=SAMPLES)
        if len(statistics) < 2:
            raise UserError(
                f'score "path" learns from reference rows, but got {len(statistics)}: give at least 2, better some hundred'
            )
        self.learned = gaussian(statistics)
        return self

    def of(self, model: Any, x: Tensor, rows: Data, noise: Noise | None = None) -> Tensor:
        return -0.5 * distance(self.statistics(model, x, rows), self.learned)

    def statistics(self, model: Any, x: Tensor, rows: Data) -> Tensor:
        """Statistics of rows as the model sees them, (B, statistics)."""
        if not x.is_floating_point():
            raise UserError('score "path" needs rows that are numbers, not tokens: try "loglik"')
        q = model.posterior(x, rows.y, rows.mask)
        rebuilt = model.decode(q.mean[None], rows.y).mean[0]
        left = x - rebuilt if rows.mask is None else torch.where(rows.mask, x - rebuilt, 0.0)
        sizes = [t.flatten(1).norm(dim=1)[:, None] for t in (left, q.mean, spread(q))]
        octaves = self.octaves and x.ndim == 4  # rows, channels, height and width
        return torch.cat(sizes + ([log_octaves(left), log_octaves(rebuilt)] if octaves else []), dim=1)


class Exemplars(Score):
    """log p(x) in nats by `k` importance samples, where z comes from the posterior of a training row, all equally likely (after
    Norouzi et al. 2020, arXiv 2004.04795).

    p(x) = mean over n of the integral of q(z|x_n) p(x|z): a density like any other, of the decoder as it is, with the
    prior put where the codes are. It knows gaps and corners that the prior does not, as a density estimate by kernels
    does, with kernels that are as wide as the model holds right there. A flat model with posterior "normal" only.

    Args:
        k: samples.
        most: the largest number of exemplars, the first of the rows given to `fit`.
    """

    name = "exemplars"
    learns = of_training = precise = True

    def __init__(self, *, k: int = 8, most: int = 2000) -> None:
        super().__init__()
        self.k, self.most, self.samples = k, most, k

    def fit(self, fitted: Fitted, X: Any, y: Any = None) -> Exemplars:
        """Learn from the training rows X (N, ...), in random order."""
        if fitted.conditions.named:
            raise UserError('score "exemplars" needs a model without conditions: try "loglik"')

        def code(model: Any, x: Tensor, rows: Data) -> Tensor:
            q = model.posterior(x, rows.y, rows.mask)
            if not isinstance(q, Normal):
                raise UserError('score "exemplars" needs a flat model with posterior "normal": try "loglik"')
            return torch.stack([q.loc, q.scale.expand_as(q.loc)], dim=1)

        loc, scale = by_chunks(fitted.precise(), X, y, code)[: self.most].swapaxes(0, 1)
        self.learned = {"loc": loc, "scale": scale}
        return self

    def of(self, model: Any, x: Tensor, rows: Data, noise: Noise | None = None) -> Tensor:
        loc, scale = (torch.from_numpy(self.learned[name]) for name in ("loc", "scale"))
        weights = torch.full((len(loc),), -math.log(len(loc)), dtype=torch.float64)
        draw = model.draw(x, rows.y, k=self.k, mask=rows.mask, noise=shared_noise())
        mixture = Mixture(weights.to(draw.z), loc.to(draw.z), scale.to(draw.z), x.shape[0])
        z = draw.z.flatten(0, 1)
        parts = [z] if torch.compiler.is_compiling() else z.split(max(1, DENSITIES // len(loc)))  # a graph has no loops
        log_pz = torch.cat([mixture.log_prob(z) for z in parts]).unflatten(0, draw.z.shape[:2])
        return (draw.log_px + log_pz - draw.log_qz).logsumexp(0) - math.log(self.k)


def gaussian(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Mean, scale and correlation of the columns of rows (N, d)."""
    mean, scale = rows.mean(0), rows.std(0)
    scale = np.maximum(scale, SPREAD_FLOOR * np.maximum(1.0, np.abs(mean)))
    off = (rows - mean) / scale
    # As if one more row had been seen, in which nothing goes with anything: few rows, too, give a correlation.
    return {"mean": mean, "scale": scale, "correlation": (off.T @ off + np.eye(len(mean))) / (len(rows) + 1)}


def distance(rows: Tensor, learned: Mapping[str, np.ndarray]) -> Tensor:
    """The squared Mahalanobis distance of each row (N, d) from what `gaussian` has learned: (N,) float64."""
    mean, scale, inverse = (
        torch.from_numpy(each).to(rows.device)
        for each in (learned["mean"], learned["scale"], np.linalg.inv(learned["correlation"]))
    )
    off = (rows.double() - mean) / scale
    return ((off @ inverse) * off).sum(1)


def log_octaves(pictures: Tensor) -> Tensor:
    """Pictures (B, channels, H, W) in units of their range -> (B, channels * octaves): the log of the mean square of their
    cosine transform in each octave of frequency, the mean apart. Along three channels the transform's axes are
    grey, red against blue, and green against both: those of the variance of natural colours (Ohta et al. 1980).
    """
    from scipy.fft import dct

    channels, height, width = (
        torch.from_numpy(dct(np.eye(n), axis=0, norm="ortho")).to(pictures) for n in pictures.shape[1:]
    )
    waves = torch.einsum("dc,bchw->bdhw", channels, height @ pictures @ width.T).square()
    across, along = (np.arange(n) / n for n in pictures.shape[2:])
    frequency = np.maximum(across[:, None], along[None])  # 1: a wave of two pixels
    lowest = 0.5 / max(pictures.shape[2:])
    octave = np.floor(np.log2(np.maximum(frequency, lowest) / lowest) + 1e-9)
    energy = [waves[..., torch.from_numpy(octave == i).to(waves.device)].mean(-1) for i in np.unique(octave)]
    return (torch.stack(energy, dim=-1) + ROUNDING).log().flatten(1)


SCORES: dict[str, type[Any]] = {
    score.name: score for score in (LogLikelihood, Reconstruction, KL, Regret, Path, Exemplars)
}


def auto(fitted: Fitted, *, learns: bool = True) -> str:
    """The score that suits a model. Its kind of data says which: "path" for pictures, because the likelihood fails on pictures of
    another world; "exemplars" for numbers and tables; "loglik" for the others. "loglik" stands in for "exemplars" if the model has
    conditions or other codes than Normal ones, or if there are no rows to learn from (`learns`)."""
    name = fitted.kind.score
    normal = isinstance(getattr(fitted.model, "posterior_head", None), NormalPosterior) and not fitted.conditions.named
    return LogLikelihood.name if name == Exemplars.name and not (normal and learns) else name


def new_score(name: str, fitted: Fitted, **options: Any) -> Score:
    """Make the score of this name for this model; decides "auto"."""
    if name not in ["auto", *SCORES]:
        raise UserError(f"score {name!r} is not one of the choices{near_matches(name, ['auto', *SCORES])}")
    factory = SCORES[auto(fitted) if name == "auto" else name]
    check_options("score", factory.name, options, factory)
    return factory(**options)


def contributions(fitted: Fitted, X: Any, y: Any = None, *, k: int = 100) -> np.ndarray:
    """The contribution of each value to how odd a row is: -E[log p(x_j|z,y)] in nats, (N, ...) in the form of X. For a missing value it is
    0, or in a table with missing values the surprise that it is missing.

    The mean is over p(z|x,y), by `k` samples from the posterior and their importance weights. It is a surprise given the rest
    of the row as far as z tells of it, in the column's own units: compare a column with itself in other rows, such as
    with its median.
    """

    if not fitted.kind.numeric and not fitted.kind.value_names:
        raise UserError(f"{fitted.kind.noun} have no columns, and so no contributions")

    of = partial(surprise, k=k)
    return fitted.kind.contributions(by_chunks(fitted, X, y, of, samples=k))


def surprise(model: Any, x: Tensor, rows: Data, k: int = 100) -> Tensor:
    """-E[log p(x_j|z,y)] of each value of rows as the model sees them, (B, *event): nats, 0 for a missing value."""
    draw = model.draw(x, rows.y, k=k, mask=rows.mask, noise=shared_noise())
    weights = draw.log_weight.softmax(0)
    found = -torch.einsum("kb,kb...->b...", weights, draw.likelihood.log_prob_elements(x))
    return found if rows.mask is None else torch.where(rows.mask, found, 0.0)


@torch.no_grad()
def by_chunks(
    fitted: Fitted, X: Any, y: Any, of: Callable[[Any, Tensor, Data], Tensor], *, samples: int = 1
) -> np.ndarray:
    """Compute `of(model, x, rows)`, a value per row, for all rows, in pieces that hold `samples` decoder outputs per row in
    memory. An unknown y counts as its likeliest value."""
    model, data, found = fitted.model, fitted.pack(X, y), []
    for rows in fitted.chunks(data, samples, most=max(1, DRAWS_AT_ONCE // samples)):
        rows.y = likeliest(model, rows.x, rows.y, rows.mask)
        found.append(of(model, rows.x, rows).double().cpu().numpy())
    return np.concatenate(found)


def spread(q: Distribution) -> Tensor:
    """The standard deviation of each unit of a posterior, (B, latent_dim), from samples if it has no closed form."""
    if isinstance(q, Normal | Certain):
        return q.scale.expand_as(q.loc)
    return q.sample(SAMPLES, shared_noise()).std(0)
