"""From a run directory back to a trained estimator."""

from __future__ import annotations

import inspect
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vaekit import __version__
from vaekit.conditions import Conditions
from vaekit.distributions import LIKELIHOODS
from vaekit.kinds import KINDS
from vaekit.errors import UserError, near_matches, note
from vaekit.estimators.vae import CVAE, VAE
from vaekit.files import read_tensors
from vaekit.robots.policy import Policy
from vaekit.robots.published import FPS, is_published, load_published
from vaekit.runs.directory import (
    CONFIG,
    EVALUATION,
    REPORT,
    SAMPLER,
    identity,
    model_hash,
    read_config,
    read_metrics,
    read_temperature,
    source_of,
)
from vaekit.estimators.semi_supervised import SemiSupervised, SemiSupervisedRegressor, SemiSupervisedVAE
from vaekit.estimators.series import SeriesVAE
from vaekit.training.checkpoint import CHECKPOINT, METRICS, MODEL, put_weights
from vaekit.training.guards import OwnDraws, single_precision
from vaekit.uses.samplers import SAMPLERS, new_sampler

ESTIMATORS: dict[str, Any] = {
    "VAE": VAE,
    "CVAE": CVAE,
    "Policy": Policy,
    "SeriesVAE": SeriesVAE,
    "SemiSupervisedVAE": SemiSupervisedVAE,
    "SemiSupervisedRegressor": SemiSupervisedRegressor,
}


def load(run: str | Path, *, encoder: Any = None, decoder: Any = None) -> VAE:
    """The trained estimator of a run directory.

    Args:
        run: the directory; or a checkpoint of ACT, as `vaekit.robots.published.load_published` takes it.
        encoder, decoder: the factories it was trained with, where they were the user's own: code is never loaded from
            a run.

    Raises:
        UserError: the directory is missing something, was cut short, tampered with, or is of something else.
    """
    folder = Path(run)
    if not (folder / CONFIG).exists() and is_published(folder):
        note(f"{folder} does not say how many actions a second it was trained for: {FPS:g} are taken")
        return load_published(folder)  # type: ignore[return-value]
    values = read_config(folder)
    if release(values["vaekit"]) > release(__version__):
        note(
            f"{folder} was written by vaekit {values['vaekit']}, which is newer than this one ({__version__}): update it if it is not read right"
        )
    settings = dict(values["settings"])
    for name, given in {"encoder": encoder, "decoder": decoder}.items():
        if isinstance(own := settings.get(name), dict):
            if given is None:
                raise UserError(
                    f"{folder} was trained with your own {name}, {own.get('custom', 'which it does not name')}: pass {name}= to vaekit.load"
                )
            settings[name] = given
    estimator_class = ESTIMATORS.get(values["estimator"])
    if estimator_class is None:
        raise UserError(
            f"{folder / CONFIG}: unknown estimator {values['estimator']!r}{near_matches(str(values['estimator']), ESTIMATORS)}"
        )
    known = inspect.signature(estimator_class.__init__).parameters
    for name in settings:
        if name not in known:
            raise UserError(
                f"{folder / CONFIG}: unknown setting {name!r}{near_matches(name, [k for k in known if k != 'self'])}"
            )
    tensors, about = read_tensors(folder / MODEL, "model")
    if about.get("run") != identity(values):
        raise UserError(f"{folder}: {CONFIG} and {MODEL} do not fit each other: one is of another run, or was changed")
    estimator = estimator_class(**settings)
    data = values["data"]
    try:
        estimator.kind_ = KINDS[data["kind"]](**data["schema"])
        estimator.kind_.read(folder)
        estimator.conditions_ = Conditions.from_config(data["conditions"], data.get("seen"))
        check_seen(estimator.conditions_)
        estimator.data_ = {k: v for k, v in data.items() if k not in ("kind", "schema", "conditions", "seen")}
        estimator.likelihood_ = dict(values["likelihood"])
        options = {**estimator.kind_.likelihood_options(estimator.size, estimator.latent_dim), **values["likelihood"]}
        estimator.seed_ = settings["random_state"]
        with OwnDraws(), single_precision():
            head = LIKELIHOODS[options.pop("name")](estimator.kind_.event_shape, **options)
            model = estimator._build(head)
        put_weights(model, tensors)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as e:
        reason = " ".join(str(e).split())[:200]
        raise UserError(
            f"{folder}: {CONFIG} and {MODEL} do not fit each other or were changed ({type(e).__name__}: {reason})"
        ) from e
    estimator.model_ = model.eval()
    estimator.history_ = read_metrics(folder)
    estimator._n_features_out = model.latent_dim
    load_samplers(folder, estimator)
    if isinstance(estimator, SemiSupervised):
        estimator.temperature_ = read_temperature(folder, estimator)
    if estimator.kind_.name in ("rows", "table"):
        estimator.n_features_in_ = len(estimator.kind_.columns or estimator.kind_.mean)
    if estimator.kind_.name == "table":
        estimator.feature_names_in_ = np.array(estimator.kind_.columns, dtype=object)
    return estimator


def check_seen(schema: Conditions) -> None:
    """ValueError where conditions that were seen cannot be."""
    try:
        _ = schema.population
    except UserError as e:
        raise ValueError(str(e)) from e


def release(version: str) -> list[int]:
    """The numbers of a version, to be compared."""
    return [int(number) for number in re.findall(r"\d{1,9}", version)[:3]]


def load_samplers(folder: Path, estimator: VAE) -> None:
    estimator.samplers_, estimator.sampler_options_ = {}, {}
    model = model_hash(estimator)
    for name, build in SAMPLERS.items():
        path = folder / SAMPLER.format(name)
        if not path.exists():
            continue
        tensors, about = read_tensors(path, "sampler")
        if about.get("of") != model:
            note(
                f"{path} was learned for another model and is left out: `vaekit sample --sampler {name}` learns it again"
            )
            continue
        try:
            options = about["options"]
            with OwnDraws(), single_precision():
                sampler = new_sampler(estimator.model_, partial(build, **options))
            put_weights(sampler, tensors)
        except (KeyError, TypeError, ValueError, RuntimeError) as e:
            raise UserError(f"{path} does not fit this run ({' '.join(str(e).split())[:200]}): delete it") from e
        estimator.samplers_[name], estimator.sampler_options_[name] = sampler.eval(), options


def describe_run(folder: Path) -> str:
    """A page on what a run is: data, model, training, files."""
    values, estimator = read_config(folder), load(folder)
    data, model, history = values["data"], estimator.model_, estimator.history_
    parameters = sum(p.numel() for p in model.parameters())
    shape = "x".join(map(str, estimator.kind_.event_shape))
    if data["kind"] == "table":
        shape = str(len(estimator.kind_.columns))
    described = estimator.kind_.describe()
    what = {
        "text": "tokens a text",
        "images": "pictures (channels x height x width)",
        "actions": "(actions x time steps)",
        "series": "(channels x time steps)",
    }.get(data["kind"], "columns")
    lines = [
        f"{values['estimator']} of {data['rows']} rows from {source_of(data) or 'Python'}, vaekit {values['vaekit']}",
        f"data        {shape} {what}",
        *[f"            {line}" for line in described],
        *[f"condition   {name}: {explain(c)}" for name, c in data["conditions"].items()],
        f"likelihood  {values['likelihood']['name']}",
        f"model       {type(model).__name__} of {', '.join(type(part).__name__ for part in model.children())}",
        f"size        {model.latent_dim} latent units, {parameters:,} parameters",
        f"objective   {estimator.objective}",
        f"samplers    {', '.join(['prior', *estimator.samplers_])}",
    ]
    if history:
        last = history[-1]
        lines.append(f"training    {last['epoch']:.0f} epochs, {last['step']:.0f} steps, {last['seconds']:.0f} s")
        scored = [row for row in history if "valid_elbo" in row]
        if scored and not isinstance(estimator, Policy):  # whose last weights are kept
            best = max(scored, key=lambda row: row["valid_elbo"])
            lines.append(f"best epoch  {best['epoch']:.0f}: validation ELBO {best['valid_elbo']:.2f} nats")
    files = [name for name in (CONFIG, MODEL, METRICS, CHECKPOINT, EVALUATION, REPORT) if (folder / name).exists()]
    return "\n".join([*lines, f"files       {', '.join(files)}"])


def explain(condition: dict[str, Any]) -> str:
    if condition["kind"] == "number":
        return f"{len(condition['mean'])} number(s)"
    if condition["kind"] == "picture":
        return f"a picture of {condition['width']}x{condition['height']} pixels"
    shown = ", ".join(map(str, condition["classes"][:10]))
    return f"one of {len(condition['classes'])} labels ({shown}{', ...' if len(condition['classes']) > 10 else ''})"
