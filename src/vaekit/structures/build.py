"""Build models of every structure with fresh weights, and check them before training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from vaekit.distributions import Likelihood, Prior
from vaekit.errors import UserError
from vaekit.model import LatentModel
from vaekit.structures import build_ladder, build_quantised

NetFactory = Callable[[tuple[int, ...], tuple[int, ...], int], nn.Module]
"""`net(in_shape, out_shape, condition_features)` gives a network."""


def build_flat(
    likelihood: Likelihood,
    condition: nn.Module | None,
    features: int,
    *,
    latent_dim: int,
    prior: Callable[[int, int], Prior],
    posterior: Callable[[int], nn.Module],
    encoder: NetFactory,
    decoder: NetFactory,
) -> LatentModel:
    """Build a model with one latent. UserError if a network of the user's own does not fit the others."""
    prior_head, posterior_head = prior(latent_dim, features), posterior(latent_dim)
    model = LatentModel(
        make_network("encoder", encoder, likelihood.input_shape, (posterior_head.features,), features),
        make_network("decoder", decoder, (latent_dim,), likelihood.param_shape, features),
        likelihood,
        latent_dim=latent_dim,
        prior=prior_head,
        posterior=posterior_head,
        condition=condition,
    )
    check_shapes(model, likelihood, features)
    return model


STRUCTURES: dict[str, Callable[..., Any]] = {"flat": build_flat, "ladder": build_ladder, "vq": build_quantised}


def make_network(what: str, factory: Any, *shapes: Any) -> nn.Module:
    """Call the user's factory for a network. UserError if it does not return one."""
    called = f"{what}(in_shape, out_shape, condition_features)"
    if isinstance(factory, nn.Module):
        raise UserError(
            f"{what} is a network, of the type {type(factory).__name__}: give a function {called} that makes one"
        )
    try:
        network = factory(*shapes)
    except TypeError as e:
        raise UserError(f"{called} cannot be called with {', '.join(map(str, shapes))}: {e}") from e
    if not isinstance(network, nn.Module):
        raise UserError(f"{called} gives a {type(network).__name__}: return a torch.nn.Module")
    return network


def check_shapes(model: LatentModel, likelihood: Likelihood, features: int) -> None:
    """UserError if a network of the user's own gives the wrong shape, before training and with both shapes."""
    c = [torch.zeros(2, features)] if features else []
    for name, net, given, wanted in (
        ("encoder", model.encoder, likelihood.input_shape, (model.posterior_head.features,)),
        ("decoder", model.decoder, (model.latent_dim,), likelihood.param_shape),
    ):
        training = net.training
        try:
            with torch.no_grad():
                got = tuple(net.eval()(torch.zeros(2, *given), *c).shape[1:])  # type: ignore[operator]
        except (RuntimeError, TypeError) as e:
            condition = f" and a condition (B, {features})" if features else ""
            raise UserError(f"the {name} cannot take an input (B, {', '.join(map(str, given))}){condition}: {e}") from e
        net.train(training)  # type: ignore[operator]
        if got != tuple(wanted):
            raise UserError(f"the {name} gives {got} per row, but has to give {tuple(wanted)}")
