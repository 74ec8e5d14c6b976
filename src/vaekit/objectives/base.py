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
    """Base of objectives, which are called as `objective(draw, progress) -> (loss, terms)`.

    `progress` is the share of the run that is done, 0..1; `loss` is a scalar to minimise; `terms` are scalars to show. All are sums over
    the event and means over the batch, in nats.

    In training `progress` is a tensor on the device, and a step may be captured and replayed. So compute what depends on it with
    tensors: a value that Python remembers from call to call is lost.

    An objective with parameters of its own (an adversary, a multiplier) is an `nn.Module` too. There is one loss and one
    optimiser: what an adversary learns from is detached from the model, and what the model learns from an adversary
    is detached from the adversary.

    Example:
        >>> from vaekit.objectives import Objective
        >>> class Beta4(Objective):
        ...     def __call__(self, draw, progress):
        ...         kl = draw.kl.mean()
        ...         return 4 * kl - draw.log_px.mean(), {"kl": kl.detach()}
        >>> Beta4().validation(draw).shape  # the ELBO chooses the best epoch
        torch.Size([8])
    """

    k = 1
    """Samples of z per row that it wants."""

    def __call__(self, draw: Draw, progress: Tensor | float) -> tuple[Tensor, Terms]:
        raise NotImplementedError

    def attach(self, model: Any) -> None:
        """Prepare for a model. Called once, before training."""

    def validation(self, draw: Draw) -> Tensor | None:
        """The score (B,) that chooses the best epoch; higher is better. None: the last epoch is kept."""
        return draw.elbo

    def notes(self, history: Sequence[Mapping[str, float]]) -> list[str]:
        """Notes for the user about how training went, one sentence each."""
        return []


class Function(Objective):
    """An objective made of a function `(draw, progress) -> (loss, terms)`.

    Example:
        >>> from vaekit.objectives import Function
        >>> loss, terms = Function(lambda draw, progress: (-draw.elbo.mean(), {}))(draw, 1.0)
        >>> loss.shape
        torch.Size([])
    """

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
