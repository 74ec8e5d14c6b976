"""Objectives that balance reconstruction and KL differently from the ELBO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaekit.distributions import kl_per_unit
from vaekit.errors import UserError
from vaekit.model import Draw
from vaekit.objectives.base import Objective, Terms, ramp
from vaekit.settings.limits import Number, Share

LARGEST_LOG_WEIGHT = 12.0
MULTIPLIER_SPEED = 10.0  # the log of a multiplier moves this much faster than a weight


@dataclass(frozen=True, kw_only=True)
class FreeBits(Objective):
    """The ELBO in which a KL below `nats` per unit costs no less than that, so no unit is switched off to save it.

    If the KL has no closed form per unit, the floor is that of their sum.

    Args:
        nats: per unit, mean over the batch.
        warmup: share of the run over which the KL's weight grows from 0.

    Source: Kingma et al. 2016, arXiv 1606.04934.

    Example:
        >>> from vaekit.objectives.balance import FreeBits
        >>> loss, terms = FreeBits(nats=100.0)(draw)  # a floor that both units are under
        >>> torch.allclose(loss, terms["reconstruction"] + 200)
        True
    """

    nats: float = 0.25
    warmup: Share = 0.0

    def __call__(self, draw: Draw, progress: Tensor | float = 1.0) -> tuple[Tensor, Terms]:
        reconstruction, kl = -draw.log_px.mean(), draw.kl.mean()
        units = kl_per_unit(draw.posterior, draw.prior)
        if units is None:
            charged = kl.clamp_min(self.nats * draw.z.flatten(2).shape[-1])
        else:
            charged = units.flatten(1).mean(0).clamp_min(self.nats).sum()
        loss = reconstruction + ramp(progress, self.warmup) * charged
        return loss, {"reconstruction": reconstruction.detach(), "kl": kl.detach()}


@dataclass(frozen=True, kw_only=True)
class Capacity(Objective):
    """Pulls the KL to a capacity that grows over the run.

    Args:
        nats: capacity at the end.
        gamma: weight of the distance to it.
        warmup: share of the run over which it grows from 0.

    Source: Burgess et al. 2018, arXiv 1804.03599.

    Example:
        >>> from vaekit.objectives.balance import Capacity
        >>> loss, terms = Capacity(nats=25.0, gamma=30.0)(draw)
        >>> torch.allclose(loss, terms["reconstruction"] + 30 * (terms["kl"] - 25).abs())
        True
    """

    nats: float = 25.0
    gamma: float = 30.0
    warmup: Share = 0.8

    def __call__(self, draw: Draw, progress: Tensor | float = 1.0) -> tuple[Tensor, Terms]:
        reconstruction, kl = -draw.log_px.mean(), draw.kl.mean()
        capacity = self.nats * ramp(progress, self.warmup)
        loss = reconstruction + self.gamma * (kl - capacity).abs()
        return loss, {"reconstruction": reconstruction.detach(), "kl": kl.detach()}

    def validation(self, draw: Draw) -> None:
        return None

    def notes(self, history: Sequence[Mapping[str, float]]) -> list[str]:
        return missed_kl(history, self.nats, "raise --objective.gamma, or ask for other nats")


class KLTarget(nn.Module, Objective):
    """Steers the KL's weight with ControlVAE's PI controller, so that the KL comes to a target.

    Args:
        nats: the target of the KL.
        proportional, integral: gains of the controller.
        warmup: share of the run over which the target grows from 0.

    Source: Shao et al. 2020, arXiv 2004.05988.

    Example:
        >>> from vaekit.objectives.balance import KLTarget
        >>> loss, terms = KLTarget(nats=20.0)(draw)
        >>> torch.allclose(loss, terms["reconstruction"] + terms["beta"] * terms["kl"])
        True
    """

    largest_weight = 100.0
    sum_of_errors: Tensor

    def __init__(self, *, nats: float = 20.0, proportional: float = 0.01, integral: float = 1e-3, warmup: Share = 0.0):
        super().__init__()
        self.nats, self.proportional, self.integral, self.warmup = nats, proportional, integral, warmup
        self.register_buffer("sum_of_errors", torch.zeros(()))

    def forward(self, draw: Draw, progress: Tensor | float = 1.0) -> tuple[Tensor, Terms]:
        reconstruction, kl = -draw.log_px.mean(), draw.kl.mean()
        error = self.nats * ramp(progress, self.warmup) - kl.detach()
        # The sum stops where the weight is at its bounds, or it would take as long to come back.
        total = (self.sum_of_errors + error).clamp(-self.largest_weight / max(self.integral, 1e-6), 0)
        if self.training:
            self.sum_of_errors.copy_(total)
        beta = self.proportional * (-error).sigmoid() - self.integral * total
        beta = beta.clamp(0, self.largest_weight)
        return reconstruction + beta * kl, {"reconstruction": reconstruction.detach(), "kl": kl.detach(), "beta": beta}

    def validation(self, draw: Draw) -> Tensor | None:
        return None

    def notes(self, history: Sequence[Mapping[str, float]]) -> list[str]:
        return missed_kl(history, self.nats, "train longer, or ask for other nats")


class KLFloor(KLTarget):
    """The ELBO with a KL of at least `nats` over all units: the weight of the KL is 1, and less while the KL is below the floor.

    Free bits ask for the same and get less: below their floor a KL is free of charge, and codes that say nothing use it up. Here
    every nat has its price, which falls until the model buys that many.

    Args:
        nats: the least KL.
        proportional, integral: gains of the controller that steers the weight, which starts at 0.
        warmup: share of the run over which the floor grows from 0.

    Example:
        >>> from vaekit.objectives.balance import KLFloor
        >>> loss, terms = KLFloor(nats=8.0)(draw)
        >>> bool(0 <= terms["beta"] <= 1)
        True
    """

    largest_weight = 1.0

    def __init__(self, *, nats: float = 8.0, proportional: float = 0.01, integral: float = 1e-3, warmup: Share = 0.0):
        super().__init__(nats=nats, proportional=proportional, integral=integral, warmup=warmup)

    def validation(self, draw: Draw) -> Tensor:
        """The ELBO, in which a KL below the floor counts as much as the floor."""
        return draw.elbo - (self.nats - draw.kl.mean()).clamp_min(0)

    def notes(self, history: Sequence[Mapping[str, float]]) -> list[str]:
        return super().notes(history) if history and history[-1]["kl"] < self.nats else []


class GECO(nn.Module, Objective):
    """The least KL at which the reconstruction reaches a target: a Lagrange multiplier in place of a weight.

    Args:
        target: the reconstruction to reach, -log p(x|z) in nats per row: what "reconstruction" shows while training.

    Raises:
        UserError: target is None.

    Source: Rezende & Viola 2018, arXiv 1810.00597.

    Example:
        >>> from vaekit.objectives.balance import GECO
        >>> loss, terms = GECO(target=2.0)(draw)  # the multiplier starts at 1
        >>> torch.allclose(loss, terms["kl"] + terms["reconstruction"] - 2)
        True
    """

    def __init__(self, *, target: Number | None = None):
        super().__init__()
        if target is None:
            raise UserError(
                "objective 'geco' needs a target: --objective.target NATS, the reconstruction to reach, in nats per row"
            )
        self.target = target
        self.log_multiplier = nn.Parameter(torch.zeros(()))

    def forward(self, draw: Draw, progress: Tensor | float = 1.0) -> tuple[Tensor, Terms]:
        reconstruction, kl = -draw.log_px.mean(), draw.kl.mean()
        # The optimiser goes down; the multiplier has to go up where the target is missed: same value, gradient turned.
        with torch.no_grad():  # held back here and not by a clamp below, behind which no gradient would bring it back
            self.log_multiplier.clamp_(-LARGEST_LOG_WEIGHT / MULTIPLIER_SPEED, LARGEST_LOG_WEIGHT / MULTIPLIER_SPEED)
        ascending = 2 * self.log_multiplier.detach() - self.log_multiplier
        multiplier = (MULTIPLIER_SPEED * ascending).exp()
        loss = kl + multiplier * (reconstruction - self.target)
        terms = {"reconstruction": reconstruction.detach(), "kl": kl.detach(), "multiplier": multiplier.detach()}
        return loss, terms

    def validation(self, draw: Draw) -> None:
        return None

    def notes(self, history: Sequence[Mapping[str, float]]) -> list[str]:
        reached = history[-1]["reconstruction"] if history else self.target
        if reached <= self.target + 0.05 * abs(self.target):
            return []
        return [
            f"the target was not reached: reconstruction {reached:.1f} nats, asked for {self.target:g}, with a multiplier "
            f"of {history[-1]['multiplier']:.3g}. Ask for less, or use a larger network or more latent units"
        ]


def missed_kl(history: Sequence[Mapping[str, float]], nats: float, remedy: str) -> list[str]:
    kl = history[-1]["kl"] if history else nats
    if abs(kl - nats) <= 0.1 * nats:
        return []
    return [f"z carries {kl:.1f} nats, and --objective.nats asked for {nats:g}: {remedy}"]
