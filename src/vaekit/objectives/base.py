"""The base of objectives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.errors import UserError
from vaekit.model import Draw

Terms = dict[str, Tensor]


class Objective:
    """Called as `objective(draw, progress) -> (loss, terms)`: `progress` is the share of the run that is done, 0..1;
    `loss` is a scalar to minimise; `terms` are scalars to show. Sums over the event, means over the batch, nats.

    In training `progress` is a tensor on the device, and a step may be captured and replayed: what depends on it is computed with
    tensors, and a value that Python remembers from call to call is lost.

    One with parameters of its own (an adversary, a multiplier) is an `nn.Module` too. There is one loss and one
    optimiser: what an adversary learns from is detached from the model, and what the model learns from an adversary
    is detached from that.
    """

    k = 1
    """Samples of z per row that it wants."""

    def __call__(self, draw: Draw, progress: Tensor | float) -> tuple[Tensor, Terms]:
        raise NotImplementedError

    def attach(self, model: Any) -> None:
        """Called once with the model, before training."""

    def validation(self, draw: Draw) -> Tensor | None:
        """The score (B,) that chooses the best epoch; higher is better. None: the last epoch is kept."""
        return draw.elbo

    def notes(self, history: Sequence[Mapping[str, float]]) -> list[str]:
        """What the user should know about how it went, one sentence each."""
        return []


class Function(Objective):
    """A bare function as an objective."""

    def __init__(self, function: Callable[[Draw, Any], tuple[Tensor, Terms]]):
        self.function = function

    def __call__(self, draw: Draw, progress: Tensor | float) -> tuple[Tensor, Terms]:
        return self.function(draw, progress)


def ramp(progress: Tensor | float, share: float) -> Tensor | float:
    """Rise from 0 to 1 over the first `share` of the run."""
    return torch.as_tensor(progress / share).clamp_max(1.0) if share else 1.0


def frozen(net: nn.Module) -> Callable[..., Tensor]:
    """Return `net` as a function whose weights get no gradient."""
    weights = {name: p.detach() for name, p in net.named_parameters()}
    return lambda *args: torch.func.functional_call(net, weights, args)


def require_normal_posterior(model: Any, name: str) -> None:
    from vaekit.distributions import NormalPosterior

    if not isinstance(getattr(model, "posterior_head", None), NormalPosterior):
        raise UserError(f"objective {name!r} needs a model of one latent with posterior 'normal'")
