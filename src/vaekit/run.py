"""The run directory: what is in it, and how to get a model back.

    config.yaml              everything to rebuild the model and its data schema, for a person to read
    model.safetensors        the weights of the best epoch
    metrics.csv              a row per epoch
    checkpoint.safetensors   what `--resume` goes on from
    evaluation.json          what `vaekit evaluate` found last
    report.html              to look at

No pickle: a run from a stranger can be opened without running the stranger's code.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import yaml

from vaekit.conditions import Schema
from vaekit.distributions import LIKELIHOODS
from vaekit.domains import DOMAINS
from vaekit.errors import UserError, near_matches
from vaekit.estimators import CVAE, VAE
from vaekit.files import read_tensors, write_tensors, write_text
from vaekit.training.checkpoint import CHECKPOINT, METRICS, MODEL, to_csv

CONFIG, REPORT, EVALUATION, TENSORBOARD = "config.yaml", "report.html", "evaluation.json", "tensorboard"
ESTIMATORS = {"VAE": VAE, "CVAE": CVAE}
MAY_CHANGE_ON_RESUME = {"epochs", "minutes", "trainer"}


def config(estimator: VAE) -> dict[str, Any]:
    """Everything but the weights, as plain values."""
    from vaekit import __version__

    settings = estimator.get_params(deep=False)
    for net in ("encoder", "decoder"):
        if settings[net] is not None:
            settings[net] = {"custom": describe(settings[net])}
    settings["random_state"] = estimator.seed_
    settings["trainer"] = dict(settings["trainer"]) if settings["trainer"] else None
    return {
        "vaekit": __version__,
        "estimator": type(estimator).__name__,
        "settings": settings,
        "data": {
            **estimator.data_,
            "kind": estimator.domain_.kind,
            "schema": vars(estimator.domain_).copy(),
            "conditions": estimator.schema_.to_config(),
        },
        "likelihood": estimator.likelihood_,
    }


def describe(factory: Any) -> str:
    factory = getattr(factory, "func", factory)  # what a functools.partial wraps
    return f"{getattr(factory, '__module__', '?')}.{getattr(factory, '__qualname__', type(factory).__name__)}"


def prepare(folder: Path, estimator: VAE, *, resume: bool) -> None:
    """Make the run directory and write its config, before training starts."""
    new = config(estimator)
    if (folder / CONFIG).exists():
        if not resume:
            raise UserError(f"{folder} already holds a run: add --resume to go on with it, or choose another --out")
        old = read_config(folder)
        if old["data"]["fingerprint"] != new["data"]["fingerprint"]:
            raise UserError(f"the data is not what {folder} was trained on: resume with the same data")
        for name, value in new["settings"].items():
            if name not in MAY_CHANGE_ON_RESUME and old["settings"].get(name) != value:
                raise UserError(
                    f"{folder} was trained with {name}={old['settings'].get(name)!r}, not {value!r}: resume with that"
                )
    write_config(folder, new)


def write_config(folder: Path, values: dict[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"cannot make the folder {folder}: {e.strerror}") from e
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    write_text(
        folder / CONFIG, "# A run of vaekit; `vaekit info` explains it. The weights are in model.safetensors.\n" + text
    )


def save(folder: Path, estimator: VAE) -> Path:
    write_config(folder, config(estimator))
    write_tensors(folder / MODEL, estimator.model_.state_dict(), {"vaekit": "model"})
    write_text(folder / METRICS, to_csv(estimator.history_))
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    path = Path(folder) / CONFIG
    if not path.is_file():
        hint = "it does not exist" if not Path(folder).exists() else f"it has no {CONFIG}"
        raise UserError(f"{folder} is no run directory: {hint}. Train one with `vaekit fit SOURCE --out {folder}`")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as e:
        raise UserError(f"{path} cannot be read as YAML: {e}") from e
    missing = {"vaekit", "estimator", "settings", "data", "likelihood"} - set(
        values if isinstance(values, dict) else ()
    )
    if missing:
        raise UserError(f"{path} is no config of a vaekit run: it lacks {', '.join(sorted(missing))}")
    return values


def load(run: str | Path, *, encoder: Any = None, decoder: Any = None) -> VAE:
    """The trained estimator of a run directory.

    Args:
        run: the directory.
        encoder, decoder: the factories it was trained with, where they were the user's own: code is never loaded from
            a run.

    Raises:
        UserError: the directory is missing something, was cut short, tampered with, or is of something else.
    """
    folder = Path(run)
    values = read_config(folder)
    settings = dict(values["settings"])
    for name, given in {"encoder": encoder, "decoder": decoder}.items():
        if isinstance(settings.get(name), dict):
            if given is None:
                raise UserError(
                    f"{folder} was trained with your own {name}, {settings[name]['custom']}: pass {name}= to vaekit.load"
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
    tensors, _ = read_tensors(folder / MODEL)
    estimator = estimator_class(**settings)
    try:
        data = values["data"]
        estimator.domain_ = DOMAINS[data["kind"]](**data["schema"])
        estimator.schema_ = Schema.from_config(data["conditions"])
        estimator.data_ = {k: v for k, v in data.items() if k not in ("kind", "schema", "conditions")}
        estimator.likelihood_ = dict(values["likelihood"])
        options = dict(values["likelihood"])
        head = LIKELIHOODS[options.pop("name")](estimator.domain_.event_shape, **options)
        estimator.seed_ = settings["random_state"]
        model = estimator._build(head)
        model.load_state_dict(tensors)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as e:
        reason = " ".join(str(e).split())[:200]
        raise UserError(
            f"{folder}: {CONFIG} and {MODEL} do not fit each other or were changed ({type(e).__name__}: {reason})"
        ) from e
    estimator.model_ = model.eval()
    estimator.history_ = read_metrics(folder)
    estimator._n_features_out = estimator.latent_dim
    if estimator.domain_.kind == "rows":
        estimator.n_features_in_ = estimator.domain_.event_shape[0]
    return estimator


def read_metrics(folder: Path) -> list[dict[str, float]]:
    import csv

    path = folder / METRICS
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def describe_run(folder: Path) -> str:
    """A page on what a run is: data, model, training, files."""
    values, estimator = read_config(folder), load(folder)
    data, model, history = values["data"], estimator.model_, estimator.history_
    parameters = sum(p.numel() for p in model.parameters())
    shape = "x".join(map(str, estimator.domain_.event_shape))
    what = "pictures (channels x height x width)" if data["kind"] == "images" else "columns"
    lines = [
        f"{values['estimator']} of {data['rows']} rows from {data.get('source') or 'Python'}, vaekit {values['vaekit']}",
        f"data        {shape} {what}",
        *[f"condition   {name}: {explain(c)}" for name, c in data["conditions"].items()],
        f"likelihood  {values['likelihood']['name']}",
        f"latent      {estimator.latent_dim} units, prior {estimator.prior}",
        f"networks    {type(model.encoder).__name__} and {type(model.decoder).__name__}, {parameters:,} parameters",
    ]
    if history:
        last = history[-1]
        lines.append(f"training    {last['epoch']:.0f} epochs, {last['step']:.0f} steps, {last['seconds']:.0f} s")
        scored = [row for row in history if "valid_elbo" in row]
        if scored:
            best = max(scored, key=lambda row: row["valid_elbo"])
            lines.append(f"best epoch  {best['epoch']:.0f}: validation ELBO {best['valid_elbo']:.2f} nats")
    files = [name for name in (CONFIG, MODEL, METRICS, CHECKPOINT, EVALUATION, REPORT) if (folder / name).exists()]
    return "\n".join([*lines, f"files       {', '.join(files)}"])


def explain(condition: dict[str, Any]) -> str:
    if condition["kind"] == "number":
        return f"{len(condition['mean'])} number(s)"
    shown = ", ".join(map(str, condition["classes"][:10]))
    return f"one of {len(condition['classes'])} labels ({shown}{', ...' if len(condition['classes']) > 10 else ''})"
