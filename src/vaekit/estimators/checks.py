"""Check the arguments of an estimator, whatever the data, before any time is spent."""

from __future__ import annotations

import inspect
from collections import ChainMap
from collections.abc import Mapping
from typing import Any, Literal

from vaekit.distributions import LIKELIHOODS, POSTERIORS, PRIORS
from vaekit.errors import UserError
from vaekit.kinds import check_kind, kind_part, kinds
from vaekit.nets.transformer import ACTIVATIONS
from vaekit.objectives import ELBO, OBJECTIVES
from vaekit.settings.limits import ShareBelow1, check, check_all, hints_of
from vaekit.settings.parts import check_options, choose, options_of
from vaekit.structures.build import STRUCTURES
from vaekit.training.devices import chosen_device
from vaekit.training.fit import Training
from vaekit.training.trackers import check_names
from vaekit.uses.samplers import SAMPLERS

PARTS: dict[str, Mapping[str, Any]] = {
    "structure": STRUCTURES,
    "prior": PRIORS,
    "posterior": POSTERIORS,
    "objective": ChainMap(OBJECTIVES, {"auto": ELBO}),  # so that one that is registered later is found
    "sampler": {"auto": lambda: None, "prior": lambda: None, **SAMPLERS},
}
FLAT_ONLY = ("latent_dim", "size", "network", "prior", "posterior", "encoder", "decoder")


def check_settings(estimator: Any) -> None:
    """UserError for the first argument that cannot be right."""
    settings = estimator.get_params(deep=False)
    check_size(estimator.size, estimator.sizes)
    check_all(settings, hints_of(type(estimator)))
    check_all(estimator.trainer or {}, hints_of(Training), "trainer")
    check_names(estimator.tracks)
    chosen_device(estimator.device)
    name, options = choose("likelihood", estimator.likelihood, ["auto", *LIKELIHOODS])
    if name != "auto":  # else the data decides whose options they are
        check_options("likelihood", name, options, LIKELIHOODS[name])
    parts = {what: (settings[what], registry) for what, registry in estimator.parts.items()}
    for what, (part, registry) in parts.items():
        name, options = choose(what, part, registry)
        check_options(what, name, options, registry[name])
    check_kind(estimator.kind)
    check_own_kind(estimator)
    if "structure" in estimator.parts:
        check_structure(estimator)
    objective, options = choose("objective", estimator.objective, PARTS["objective"])
    PARTS["objective"][objective](**options)


def check_own_kind(estimator: Any) -> None:
    """UserError for a kind of data that has another estimator."""
    name, own = kind_part(estimator.kind)[0], type(estimator).kind
    if name in ("auto", own):
        return
    other = kinds()[name].estimator
    if other or own != "auto":
        raise UserError(f"kind={name!r} is not for {type(estimator).__name__}: use {other or 'VAE'}, or leave kind out")


def check_size(size: Any, sizes: Mapping[str, Any]) -> None:
    """Check a size: a name among `sizes`, or, if those are dicts, a dict of what differs from "base"."""
    known = {key: value for named in sizes.values() if isinstance(named, Mapping) for key, value in named.items()}
    if not isinstance(size, Mapping) or not known:
        return check("size", size, Literal[*sizes])  # type: ignore[valid-type]
    kinds: dict[type, Any] = {int: int, float: ShareBelow1, list: list[str], bool: bool, str: Literal[*ACTIVATIONS]}
    check_all(size, {key: kinds[type(value)] for key, value in known.items()}, "size")
    width, heads = (size.get(key, sizes["base"][key]) for key in ("width", "heads"))
    if width % heads or width % 4:
        raise UserError(f"size.width={width} has to be a multiple of 4, and of size.heads={heads}")


def check_structure(estimator: Any) -> None:
    """Check that a structure that is not flat gets no network, prior or posterior of the flat one."""
    structure, _ = choose("structure", estimator.structure, STRUCTURES)
    if structure == "flat":
        return
    defaults = {p.name: p.default for p in inspect.signature(type(estimator)).parameters.values()}
    for name in FLAT_ONLY:
        if getattr(estimator, name) != defaults[name]:
            raise UserError(
                f"{name} belongs to structure 'flat': leave it out; structure {structure!r} has its own options "
                f"({', '.join(options_of(STRUCTURES[structure]))})"
            )
    if choose("sampler", estimator.sampler, PARTS["sampler"])[0] not in ("auto", "prior"):
        raise UserError(f"structure {structure!r} samples from a prior that it learns in training: leave sampler out")


def check_lengths(y: Mapping[str, Any], rows: int) -> None:
    """UserError for a condition that has not one value for each row."""
    for name, values in y.items():
        if len(values) != rows:
            raise UserError(f"X has {rows} rows, but condition {name!r} has {len(values)} values: give one per row")
