"""Lower bounds of log p(x)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaekit.errors import UserError
from vaekit.model import Draw
from vaekit.objectives.base import Objective, Terms, ramp, require_normal_posterior
from vaekit.settings.limits import Share


@dataclass(frozen=True, kw_only=True)
class ELBO(Objective):
    """The negative evidence lower bound.

    Args:
        beta: weight of the KL (Higgins et al. 2017); 1 is the bound itself.
        warmup: share of a cycle over which the weight grows from 0 to `beta`.
        cycles: number of cycles (Fu et al. 2019, arXiv 1903.10145); 1 is a plain linear warm-up.

    Source: Kingma & Welling 2014, arXiv 1312.6114.

    Example:
        >>> loss, terms = vaekit.ELBO(beta=4.0)(draw)
        >>> torch.allclose(loss, terms["reconstruction"] + 4 * terms["kl"])
        True
    """

    beta: float = 1.0
    warmup: Share = 0.0
    cycles: int = 1

    def __call__(self, draw: Draw, progress: Tensor | float = 1.0) -> tuple[Tensor, Terms]:
        reconstruction, kl = -draw.log_px.mean(), draw.kl.mean()
        loss = reconstruction + self.weight(progress) * kl
        return loss, {"reconstruction": reconstruction.detach(), "kl": kl.detach()}

    def weight(self, progress: Tensor | float) -> Tensor | float:
        """The weight of the KL at this share of the run, 0..1."""
        if not self.warmup:
            return self.beta
        cycle = self.cycles * torch.as_tensor(progress)
        return self.beta * ramp(torch.where(cycle < self.cycles, cycle % 1, 1.0), self.warmup)

    def validation(self, draw: Draw) -> Tensor:
        return draw.log_px.mean(0) - self.beta * draw.kl


@dataclass(frozen=True, kw_only=True)
class ACT(Objective):
    """The loss of ACT as published: the absolute error averaged over the elements of a chunk, plus the KL times `kl_weight`.

    An average over E elements makes that a beta of E * kl_weight of the ELBO with a Laplace scale of 1: 14,000 at the published
    sizes, at which no latent stays alive. It is here to compare with.

    Args:
        kl_weight: weight of the KL, which is summed over units.
        padding: whether missing elements count in the average, as 0: True in the original code and in LeRobot up
            to 0.4, False in LeRobot from 0.6 on.

    Source: Zhao et al. 2023, arXiv 2304.13705.

    Example:
        >>> from vaekit.objectives.bounds import ACT
        >>> loss, terms = ACT(kl_weight=10.0)(draw)
        >>> torch.allclose(loss, terms["l1"] + 10 * terms["kl"])
        True
    """

    kl_weight: float = 10.0
    padding: bool = True

    def __call__(self, draw: Draw, progress: Tensor | float = 1.0) -> tuple[Tensor, Terms]:
        error, kl = self.error(draw), draw.kl.mean()
        return error + self.kl_weight * kl, {**plain_terms(draw), "l1": error.detach()}

    def error(self, draw: Draw) -> Tensor:
        error = (draw.likelihood.mean - draw.x).abs()
        if draw.mask is None:
            return error.mean()
        error = torch.where(draw.mask, error, 0.0)
        return error.mean() if self.padding else error.sum() / (len(error) * draw.mask.sum()).clamp_min(1)

    def beta(self, draw: Draw) -> float:
        """The weight of the KL in the ELBO that this loss is a multiple of."""
        return self.kl_weight * draw.x[0].numel()

    def validation(self, draw: Draw) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class IWAE(Objective):
    """The importance-weighted bound. With more samples it is nearer to log p(x).

    It gives a better decoder, and a posterior that is looser than the ELBO's.

    Args:
        k: samples per row.

    Raises:
        UserError: k is below 1.

    Source: Burda et al. 2016, arXiv 1509.00519.

    Example:
        >>> from vaekit.objectives.bounds import IWAE
        >>> draw = vae.model_.draw(torch.zeros(8, 3), k=50)
        >>> bool(IWAE(k=50)(draw)[0] <= vaekit.ELBO()(draw)[0])  # a tighter bound, a smaller loss
        True
    """

    k: int = 8

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UserError(f"objective.k={self.k} is too small: give at least 1")

    def __call__(self, draw: Draw, progress: Tensor | float = 1.0) -> tuple[Tensor, Terms]:
        return -importance_bound(draw.log_weight).mean(), plain_terms(draw)

    def validation(self, draw: Draw) -> Tensor:
        return importance_bound(draw.log_weight)


class DReG(IWAE):
    """The importance-weighted bound with doubly reparameterised gradients.

    The signal for the encoder does not fade as k grows. It needs posterior "normal".

    Source: Tucker et al. 2019, arXiv 1810.04152.

    Example:
        >>> from vaekit.objectives.bounds import IWAE, DReG
        >>> draw = vae.model_.draw(torch.zeros(8, 3), k=5)
        >>> torch.allclose(DReG(k=5)(draw)[0], IWAE(k=5)(draw)[0])  # the same value, other gradients
        True
    """

    def attach(self, model: Any) -> None:
        require_normal_posterior(model, "dreg")

    def __call__(self, draw: Draw, progress: Tensor | float = 1.0) -> tuple[Tensor, Terms]:
        q = draw.posterior
        fixed = dataclasses.replace(q, **{n: v.detach() for n, v in vars(q).items() if isinstance(v, Tensor)})  # type: ignore[type-var]
        log_weight = draw.log_px + draw.log_pz - fixed.log_prob(draw.z)
        share = log_weight.detach().softmax(0)
        if draw.z.requires_grad:  # the encoder's gradient goes through z alone, with the weights squared
            draw.z.register_hook(lambda gradient: gradient * share.unsqueeze(-1))
        terms = plain_terms(draw)
        # Its value is the bound's; its gradient that of the weighted sum.
        loss = -(share * log_weight).sum(0)
        return (loss - loss.detach() - importance_bound(log_weight.detach())).mean(), terms


def importance_bound(log_weight: Tensor) -> Tensor:
    """log of the mean importance weight: (k, B) -> (B,)."""
    return log_weight.logsumexp(0) - math.log(len(log_weight))


def plain_terms(draw: Draw) -> Terms:
    with torch.no_grad():
        return {"reconstruction": -draw.log_px.mean(), "kl": draw.kl.mean()}
