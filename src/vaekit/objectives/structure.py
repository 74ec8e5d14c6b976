"""Objectives that shape the aggregated posterior q(z) = mean of q(z|x): independent units, or near to the prior."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.distributions import Normal
from vaekit.distributions.base import noise_like
from vaekit.errors import UserError
from vaekit.model import Draw
from vaekit.nets import MLP
from vaekit.objectives.base import Objective, Terms, frozen, ramp, require_normal_posterior
from vaekit.settings.limits import Share


class BetaTC(Objective):
    """beta-TCVAE: the KL in three parts (mutual information, total correlation, KL of each unit), with a weight for each.

    The batch's mixture of q(z|x) stands for q(z). It has the gradient of the paper's minibatch-weighted sampling, whose values are off
    by a constant, (units - 1) log rows.

    Args:
        alpha, beta, gamma: weights of the three parts; all 1 is the ELBO.
        warmup: share of the run over which beta grows from 1.

    Source: Chen et al. 2018, arXiv 1802.04942.

    Example:
        >>> from vaekit.objectives.structure import BetaTC
        >>> ones = BetaTC(alpha=1, beta=1, gamma=1)
        >>> sorted(ones(draw)[1])
        ['kl', 'reconstruction', 'total_correlation']
    """

    def __init__(self, *, alpha: float = 1.0, beta: float = 6.0, gamma: float = 1.0, warmup: Share = 0.0):
        self.alpha, self.beta, self.gamma, self.warmup = alpha, beta, gamma, warmup

    def attach(self, model: Any) -> None:
        require_normal_posterior(model, "beta_tc")

    def __call__(self, draw: Draw, progress: Tensor | float = 1.0) -> tuple[Tensor, Terms]:
        information, correlation, units = kl_parts(draw)
        reconstruction = -draw.log_px.mean()
        beta = 1 + (self.beta - 1) * ramp(progress, self.warmup)
        loss = reconstruction + self.alpha * information + beta * correlation + self.gamma * units
        kl = draw.kl.mean().detach()
        return loss, {"reconstruction": reconstruction.detach(), "kl": kl, "total_correlation": correlation.detach()}

    def validation(self, draw: Draw) -> None:
        return None


def kl_parts(draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
    """Mutual information, total correlation and the sum of the units' KL, each a scalar, nats."""
    q, z = draw.posterior, draw.z[0]
    assert isinstance(q, Normal)
    each = Normal(1, q.loc, q.scale.expand_as(q.loc))
    # log q(z_i|x_j) of every unit: (i, j, d)
    pairs = -0.5 * ((z[:, None] - each.loc) / each.scale).square() - each.scale.log() - 0.5 * math.log(2 * math.pi)
    log_q = pairs.sum(-1).logsumexp(1) - math.log(len(z))
    log_q_units = (pairs.logsumexp(1) - math.log(len(z))).sum(-1)
    log_q_given_x = pairs.sum(-1).diagonal()
    return (log_q_given_x - log_q).mean(), (log_q - log_q_units).mean(), (log_q_units - draw.log_pz[0]).mean()


class FactorVAE(nn.Module, Objective):
    """The ELBO plus gamma times the total correlation, which a discriminator estimates.

    It tells codes from codes whose units were shuffled among rows.

    Args:
        gamma: weight of the total correlation.
        hidden: widths of the discriminator.

    Source: Kim & Mnih 2018, arXiv 1802.05983.

    Example:
        >>> from vaekit.objectives.structure import FactorVAE
        >>> objective = FactorVAE(gamma=10.0, hidden=(8,))
        >>> objective.attach(vae.model_)
        >>> sorted(objective(draw)[1])
        ['kl', 'reconstruction', 'total_correlation']
    """

    def __init__(self, *, gamma: float = 10.0, hidden: Sequence[int] = (256, 256, 256)):
        super().__init__()
        self.gamma, self.hidden = gamma, tuple(hidden)

    def attach(self, model: Any) -> None:
        self.discriminator = MLP((model.latent_dim,), (1,), hidden=self.hidden)

    def forward(self, draw: Draw, progress: Tensor | float = 1.0) -> tuple[Tensor, Terms]:
        reconstruction, kl, z = -draw.log_px.mean(), draw.kl.mean(), draw.z[0]
        correlation = frozen(self.discriminator)(z).mean()
        real, shuffled = z.detach(), z.detach().gather(0, torch.rand_like(z).argsort(0))
        adversary = F.softplus(-self.discriminator(real)).mean() + F.softplus(self.discriminator(shuffled)).mean()
        loss = reconstruction + kl + self.gamma * correlation + adversary
        return loss, {
            "reconstruction": reconstruction.detach(), "kl": kl.detach(), "total_correlation": correlation.detach(),
        }  # fmt: skip

    def validation(self, draw: Draw) -> None:
        return None


class InfoVAE(Objective):
    """Reconstruction, (1 - alpha) KL and (alpha + scale - 1) MMD between q(z) and the prior.

    alpha 1 is a Wasserstein autoencoder (Tolstikhin et al. 2018) with a random encoder.

    Args:
        alpha: share of the KL's mutual information that costs nothing.
        scale: weight of the MMD, whose kernel is a sum of inverse multiquadrics.

    Raises:
        UserError: a batch has fewer than 2 rows.

    Source: Zhao et al. 2019, arXiv 1706.02262.

    Example:
        >>> from vaekit.objectives.structure import InfoVAE
        >>> loss, terms = InfoVAE(alpha=0.0, scale=100.0)(draw)
        >>> torch.allclose(loss, terms["reconstruction"] + terms["kl"] + 99 * terms["mmd"])
        True
    """

    def __init__(self, *, alpha: float = 0.0, scale: float = 100.0):
        self.alpha, self.scale = alpha, scale

    def __call__(self, draw: Draw, progress: Tensor | float = 1.0) -> tuple[Tensor, Terms]:
        reconstruction, kl = -draw.log_px.mean(), draw.kl.mean()
        if len(draw.x) < 2:
            raise UserError("objective 'info_vae' compares the rows of a batch: batch_size has to be at least 2")
        discrepancy = mmd(draw.z[0].flatten(1), draw.prior.sample(1, noise_like(draw.z))[0].flatten(1))
        loss = reconstruction + (1 - self.alpha) * kl + (self.alpha + self.scale - 1) * discrepancy
        return loss, {"reconstruction": reconstruction.detach(), "kl": kl.detach(), "mmd": discrepancy.detach()}

    def validation(self, draw: Draw) -> None:
        return None


def mmd(a: Tensor, b: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of samples a (n, d) and b (m, d), unbiased: 0 in expectation for the same distribution."""
    n, m = len(a), len(b)
    with torch.autocast(a.device.type, enabled=False):  # a small difference of large sums
        own = len(SCALES)  # of an entry on the diagonal, which an unbiased estimate leaves out
        within = (imq(a, a).sum() - n * own) / (n * (n - 1)) + (imq(b, b).sum() - m * own) / (m * (m - 1))
        return within - 2 * imq(a, b).mean()


SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def imq(a: Tensor, b: Tensor) -> Tensor:
    """Inverse multiquadrics over a range of widths, (n, m): tails that an RBF would not see."""
    squares = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
    return sum(
        (c / (c + squares.clamp_min(0)) for c in (2 * a.shape[1] * s for s in SCALES)), torch.zeros_like(squares)
    )
