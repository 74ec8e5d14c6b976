"""Objectives: small functions of a `Draw`.

`objective(draw, progress) -> (loss, terms)`: `progress` is the share of the run that is done, 0..1; `loss` is a scalar
to minimise; `terms` are scalars to show. Sums over the event, means over the batch, nats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from vaekit.model import Draw

Objective = Callable[[Draw, float], tuple[Tensor, dict[str, Tensor]]]


@dataclass(frozen=True)
class ELBO:
    """The negative evidence lower bound (Kingma & Welling 2014, arXiv 1312.6114).

    Args:
        beta: weight of the KL (Higgins et al. 2017); 1 is the bound itself.
        warmup: share of the run over which the weight grows from 0 to `beta`.
    """

    beta: float = 1.0
    warmup: float = 0.0

    def __call__(self, draw: Draw, progress: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        weight = self.beta * min(1.0, progress / self.warmup) if self.warmup else self.beta
        reconstruction = -draw.log_px.mean()
        kl = draw.kl.mean()
        return reconstruction + weight * kl, {"reconstruction": reconstruction.detach(), "kl": kl.detach()}
