"""From a run directory back to a trained estimator."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import vaekit
from vaekit.conditions import Conditions
from vaekit.distributions import LIKELIHOODS
from vaekit.errors import UserError, near_matches, note
from vaekit.files import read_tensors
from vaekit.fitted import Fitted, Learned
from vaekit.kinds import kinds
from vaekit.runs import hub
from vaekit.runs.directory import (
    CONFIG,
    SAMPLER,
    identity,
    model_hash,
    read_config,
    read_evaluation,
    read_metrics,
    read_notes,
    read_temperature,
)
from vaekit.training.checkpoint import MODEL, put_weights
from vaekit.training.guards import OwnDraws, single_precision
from vaekit.uses.samplers import SAMPLERS, new_sampler

ESTIMATORS = ("VAE", "CVAE", "SeriesVAE", "SemiSupervisedVAE", "SemiSupervisedRegressor", "Policy")
OF_A_KIND = ("binarize", "tokenizer", "schema", "constraints")  # settings that were the estimator's once


def load(
    run: str | Path, *, encoder: Any = None, decoder: Any = None, device: str = "auto", form: str | None = None
) -> Any:
    """Load the trained estimator of a run directory.

    Args:
        run: the directory; a run on the Hugging Face Hub, hf://user/name or hf://user/name@revision, whose commit is then in the
            attribute `hub_`; or a checkpoint of ACT, as `vaekit.load_published` takes it.
        encoder, decoder: the functions that made its networks, if you trained it with your own: code is never loaded from a run.
        device: where it is used: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1" or "mps".
        form: the library in which tables come back: "pandas", "polars" or "arrow". None: that of the training data, else pandas.

    Returns:
        The estimator, such as a `VAE`, fitted.

    Raises:
        UserError: a file of the directory is missing, cut short, changed, or belongs to something else; or the Hub cannot be reached.

    Example:
        >>> folder = vae.save("run")
        >>> vaekit.load(folder).latent_dim
        2
    """
    folder = hub.folder_of(run)
    if not (folder / CONFIG).exists():
        for kind in kinds().values():
            if kind.foreign and (foreign := resolve_name(kind.foreign)(folder)) is not None:
                return foreign.to(device)
    values = read_config(folder)
    if release(values["vaekit"]) > release(vaekit.__version__):
        note(
            f"{folder} was written by vaekit {values['vaekit']}, which is newer than this one ({vaekit.__version__}): update vaekit if the run is not read correctly"
        )
    estimator = new_estimator(folder, values, {"encoder": encoder, "decoder": decoder})
    estimator.device = device
    tensors, about = read_tensors(folder / MODEL, "model")
    if about.get("run") != identity(values):
        raise UserError(
            f"{folder}: {CONFIG} and {MODEL} do not fit each other: one belongs to another run, or was changed"
        )
    try:
        estimator.fitted_ = fitted = rebuilt(folder, values, estimator)
        put_weights(fitted.model, tensors)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as e:
        reason = " ".join(str(e).split())[:200]
        raise UserError(
            f"{folder}: {CONFIG} and {MODEL} do not fit each other or were changed ({type(e).__name__}: {reason})"
        ) from e
    fitted.model.eval()
    fitted.history = read_metrics(folder)
    load_samplers(folder, fitted)
    fitted.temperature = read_temperature(folder, fitted)
    read_notes(folder, fitted)
    fitted.verdict = str((read_evaluation(folder, fitted) or {}).get("verdict", ""))
    fitted.form = form or fitted.form
    fitted.to(device)
    estimator.count_columns()
    if hub.is_address(run):
        estimator.hub_ = hub.pinned(run, folder)
    return estimator


def new_estimator(folder: Path, values: Mapping[str, Any], own: Mapping[str, Any]) -> Any:
    """Make the estimator that a config describes, not fitted. own: the user's own networks, by the names of their settings."""
    name = values["estimator"]
    if name not in ESTIMATORS:
        raise UserError(f"{folder / CONFIG}: unknown estimator {name!r}{near_matches(str(name), ESTIMATORS)}")
    settings = moved_settings(values["settings"])
    for net, given in own.items():
        if isinstance(before := settings.get(net), dict):
            if given is None:
                raise UserError(
                    f"{folder} was trained with your own {net}, {before.get('custom', 'which it does not name')}: pass {net}= to vaekit.load"
                )
            settings[net] = given
    estimator = getattr(vaekit, name)
    known = list(inspect.signature(estimator).parameters)
    for setting in settings:
        if setting not in known:
            raise UserError(f"{folder / CONFIG}: unknown setting {setting!r}{near_matches(setting, known)}")
    return estimator(**settings)


def moved_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run; those of an older run get their present names."""
    settings = dict(settings)
    said = {option: value for option in OF_A_KIND if (value := settings.pop(option, None)) is not None}
    if said or settings.get("kind", "auto") is None:
        settings["kind"] = {"name": settings.get("kind") or "auto", **said}
    if isinstance(settings.get("trainer"), Mapping):
        trainer = {name: value for name, value in settings["trainer"].items() if name != "accelerator"}
        if trainer.pop("tensorboard", False):
            trainer["track"] = ["tensorboard"]
        settings["trainer"] = trainer
    return settings


def rebuilt(folder: Path, values: Mapping[str, Any], estimator: Any) -> Fitted:
    """Rebuild the fitted model that a config describes, with fresh weights."""
    data, settings, said = values["data"], values["settings"], dict(values["likelihood"])
    if data["kind"] not in kinds():
        raise UserError(
            f"{folder} has data of the kind {data['kind']!r}{near_matches(data['kind'], kinds())}: install the package of that kind"
        )
    kind: Any = kinds()[data["kind"]](**data["schema"])
    kind.read_files(folder)
    conditions = Conditions.from_config(data["conditions"], data.get("seen"))
    check_seen(conditions)
    about = {k: v for k, v in data.items() if k not in ("kind", "schema", "conditions", "seen")}
    options = {**kind.likelihood_options(estimator.size, estimator.latent_dim), **said}
    with OwnDraws(), single_precision():
        head = LIKELIHOODS[options.pop("name")](kind.event_shape, **options)
        model = estimator.build(kind, conditions, head)
    return Fitted(values["estimator"], dict(settings), kind, conditions, said, model, settings["random_state"], about)


def check_seen(conditions: Conditions) -> None:
    """ValueError if the conditions that training saw are not possible."""
    try:
        _ = conditions.population
    except UserError as e:
        raise ValueError(str(e)) from e


def release(version: str) -> list[int]:
    """The numbers of a version, for comparison."""
    return [int(number) for number in re.findall(r"\d{1,9}", version)[:3]]


def load_samplers(folder: Path, fitted: Fitted) -> None:
    model = model_hash(fitted)
    for name, build in SAMPLERS.items():
        path = folder / SAMPLER.format(name)
        if not path.exists():
            continue
        tensors, about = read_tensors(path, "sampler")
        if about.get("of") != model:
            note(
                f"{path} was learned for another model, so it is left out: `vaekit sample --sampler {name}` learns it again"
            )
            continue
        try:
            options = about["options"]
            with OwnDraws(), single_precision():
                sampler = new_sampler(fitted.model, partial(build, **options))
            put_weights(sampler, tensors)
        except (KeyError, TypeError, ValueError, RuntimeError) as e:
            raise UserError(f"{path} does not fit this run ({' '.join(str(e).split())[:200]}): delete it") from e
        fitted.samplers[name] = Learned(sampler.eval(), options)
