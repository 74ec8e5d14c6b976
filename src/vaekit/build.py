"""From a schema to a model with fresh weights, and the checks that belong before training."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.conditions import FAR, Schema
from vaekit.distributions import LIKELIHOODS, Likelihood
from vaekit.errors import UserError
from vaekit.files import digest
from vaekit.model import LatentModel
from vaekit.nets import ConditionEmbedding
from vaekit.structures import build_ladder, build_quantised
from vaekit.training import Data
from vaekit.training.data import generator

NetFactory = Callable[[tuple[int, ...], tuple[int, ...], int], nn.Module]
"""`net(in_shape, out_shape, condition_features)` gives a network."""


def condition_module(schema: Schema) -> tuple[ConditionEmbedding | None, int]:
    """What turns this schema's conditions into features, and how many; None and 0 without conditions."""
    if not schema.named:
        return None, 0
    labels = {name: c.size for name, c in schema.named.items() if c.kind == "label"}
    numbers = {name: c.size for name, c in schema.named.items() if c.kind == "number"}
    if pictures := schema.named.keys() - labels.keys() - numbers.keys():
        raise UserError(f"condition {min(pictures)!r} is a picture, which only policies (--kind actions) can see")
    condition = ConditionEmbedding(labels, numbers)
    condition.population = schema.population
    return condition, condition.features


def build_flat(
    likelihood: Likelihood,
    condition: nn.Module | None,
    features: int,
    *,
    latent_dim: int,
    prior: Callable[[int, int], nn.Module],
    posterior: Callable[[int], nn.Module],
    encoder: NetFactory,
    decoder: NetFactory,
) -> LatentModel:
    """A model of one latent. UserError where a network of the user's own does not fit the others."""
    prior_head, posterior_head = prior(latent_dim, features), posterior(latent_dim)
    model = LatentModel(
        made("encoder", encoder, likelihood.input_shape, (posterior_head.features,), features),
        made("decoder", decoder, (latent_dim,), likelihood.param_shape, features),
        likelihood,
        latent_dim=latent_dim,
        prior=prior_head,
        posterior=posterior_head,
        condition=condition,
    )
    check_shapes(model, likelihood, features)
    return model


STRUCTURES: dict[str, Callable[..., Any]] = {"flat": build_flat, "ladder": build_ladder, "vq": build_quantised}


def made(what: str, factory: Any, *shapes: Any) -> nn.Module:
    """The network that a factory makes. UserError where it makes none."""
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
    """A network of the user's own that gives the wrong shape is told so before training, with both shapes."""
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
            raise UserError(f"the {name} gives {got} a row, and has to give {tuple(wanted)}")


def check_reach(x: Tensor, mask: Tensor | None) -> None:
    """UserError for a value, of packed rows x (N, ...), that is so far from all that was learned from that sums overflow."""
    if not x.is_floating_point():
        return
    far = ~(x.abs() <= FAR)
    if len(rows := (far if mask is None else far & mask).flatten(1).any(1).nonzero()):
        raise UserError(
            f"row {int(rows[0])} holds a value that is too large to compute with: mend it, or leave the row out"
        )


def fingerprint(data: Data) -> str:
    """A hash of the training data, to tell on resuming whether it is the same."""
    mask = {} if data.mask is None else {"mask": data.mask}
    return digest({"x": data.x, **mask, **{f"y.{name}": values for name, values in data.y.items()}})


class Chunks:
    """Packed data as the model sees it, in pieces; it can be walked more than once."""

    def __init__(self, data: Data, domain: Any):
        self.data, self.domain = data, domain

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        for chunk in self.data.chunks(8192):
            yield self.domain.batch(chunk.x, fixed_uniform()), chunk.mask


def learn_likelihood(name: str, chunks: Chunks, unit: Tensor, options: Mapping[str, Any]) -> Likelihood:
    """The likelihood of this name for this data. UserError where it is for data of another kind, or the data holds what it
    cannot explain."""
    parameters = inspect.signature(LIKELIHOODS[name]).parameters.values()
    if any(p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in options for p in parameters):
        raise UserError(f"likelihood {name!r} is not for data of this kind: leave likelihood out")
    likelihood = LIKELIHOODS[name].from_data(chunks, unit, **options)
    for x, mask in chunks:
        likelihood.check(x, mask)
    return likelihood


def fixed_uniform() -> Callable[..., Tensor]:
    """`uniform(*shape)`: numbers in 0..1, the same at every call of this function."""
    return partial(torch.rand, generator=generator(0))
