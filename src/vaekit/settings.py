"""Which arguments of an estimator can be right, whatever the data: told before any time is spent."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from vaekit.build import STRUCTURES
from vaekit.distributions import LIKELIHOODS, POSTERIORS, PRIORS
from vaekit.domains.text import TOKENIZERS
from vaekit.errors import UserError, near_matches
from vaekit.objectives import ELBO, OBJECTIVES
from vaekit.parts import check_options, choose, options_of
from vaekit.uses.samplers import SAMPLERS

PARTS: dict[str, Mapping[str, Any]] = {
    "structure": STRUCTURES,
    "prior": PRIORS,
    "posterior": POSTERIORS,
    "objective": {"auto": ELBO, **OBJECTIVES},
    "sampler": {"auto": lambda: None, "prior": lambda: None, **SAMPLERS},
}
CHOICES = {"network": ["auto", "conv", "mlp"], "z": ["episode", "chunk", "mean"]}
FLAT_ONLY = ("latent_dim", "size", "network", "prior", "posterior", "encoder", "decoder")


def check_settings(estimator: Any) -> None:
    """UserError for the first argument that cannot be right."""
    for name, known in {"size": list(estimator.sizes), **CHOICES}.items():
        value = getattr(estimator, name, known[0])
        if name == "size" and isinstance(value, Mapping):
            check_numbers(value, estimator.sizes)
            continue
        if value not in known:
            raise UserError(f"{name}={value!r} is not one of the choices{near_matches(str(value), known)}")
    choose("likelihood", estimator.likelihood, ["auto", *LIKELIHOODS])
    for what, registry in estimator.parts.items():
        name, options = choose(what, getattr(estimator, what), registry)
        check_options(what, name, options, registry[name])
    if getattr(estimator, "tokenizer", None):
        name, options = choose("tokenizer", estimator.tokenizer, TOKENIZERS)
        check_options("tokenizer", name, options, TOKENIZERS[name])
    if "structure" in estimator.parts:
        check_structure(estimator)
    objective, options = choose("objective", estimator.objective, PARTS["objective"])
    PARTS["objective"][objective](**options)
    for name, least in {
        "latent_dim": estimator.least_latent_dim,
        "batch_size": 1,
        "epochs": 1,
        "chunk_size": 1,
    }.items():
        value = getattr(estimator, name, None)
        if value is not None and value < least:
            raise UserError(f"{name}={value} is too small: at least {least}")
    for name in ("learning_rate", "minutes"):
        value = getattr(estimator, name)
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"{name}={value} has to be a number above 0")
    if not 0 <= getattr(estimator, "temperature", 1.0) < float("inf"):
        raise UserError(f"temperature={estimator.temperature} has to be 0 or more")
    if not 0 <= (getattr(estimator, "cell_dropout", None) or 0.0) <= 1:
        raise UserError(f"cell_dropout={estimator.cell_dropout} is a share of the rows: from 0 to 1")
    if not isinstance(getattr(estimator, "schema", None) or {}, Mapping):
        raise UserError(f"schema={estimator.schema!r}: give a dict of kinds by column name")
    if not 0 <= estimator.validation < 1:
        raise UserError(f"validation={estimator.validation} is a share of the rows: from 0 to below 1")


def check_numbers(size: Mapping[str, Any], sizes: Mapping[str, Any]) -> None:
    """A size as a dict of what differs from "base": only where the named ones are such dicts."""
    known = {key: value for named in sizes.values() if isinstance(named, Mapping) for key, value in named.items()}
    if not known:
        raise UserError(f"size={dict(size)!r} is not one of the choices{near_matches('', sizes)}")
    for key, value in size.items():
        if key not in known:
            raise UserError(f"size has no option {key!r}{near_matches(str(key), known)}")
        if isinstance(known[key], int) and not (type(value) is int and value >= 1):
            raise UserError(f"size.{key}={value!r}: it has to be a whole number, 1 or more")
        if isinstance(known[key], float) and not (isinstance(value, int | float) and 0 <= value < 1):
            raise UserError(f"size.{key}={value!r}: it has to be a share, from 0 to below 1")
    width, heads = (size.get(key, sizes["base"][key]) for key in ("width", "heads"))
    if width % heads or width % 4:
        raise UserError(f"size.width={width} has to be a multiple of 4, and of size.heads={heads}")


def check_structure(estimator: Any) -> None:
    """A structure that is not flat has networks, priors and posteriors of its own."""
    structure, _ = choose("structure", estimator.structure, STRUCTURES)
    if structure == "flat":
        return
    defaults = {p.name: p.default for p in inspect.signature(type(estimator)).parameters.values()}
    for name in FLAT_ONLY:
        if getattr(estimator, name) != defaults[name]:
            raise UserError(
                f"{name} is of structure 'flat': leave it out, structure {structure!r} has options of its own "
                f"({', '.join(options_of(STRUCTURES[structure]))})"
            )
    if choose("sampler", estimator.sampler, PARTS["sampler"])[0] not in ("auto", "prior"):
        raise UserError(f"structure {structure!r} samples from a prior it learns while it trains: leave sampler out")
