"""The run directory: what is in it, and how it is written. `loading` gets a model back from it.

    config.yaml              everything to rebuild the model and its data schema, for a person to read
    model.safetensors        the weights of the best epoch
    metrics.csv              a row per epoch
    checkpoint.safetensors   what `--resume` goes on from
    sampler-*.safetensors    what `--sampler` learned of the codes after training
    tokenizer.json           of texts: their tokens
    calibration-*.safetensors   what `vaekit score` learned of normal rows
    evaluation.json          what `vaekit evaluate` found last
    report.html              to look at
    labels-alone.safetensors   of --label-column: a classifier that learned from the labels alone, to compare with
    language-model/          of texts: the same model without z, a run of its own, which `vaekit evaluate` compares with

No pickle: a run from a stranger can be opened without running the stranger's code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from vaekit.errors import UserError
from vaekit.files import locked, write_tensors, write_text
from vaekit.training.checkpoint import METRICS, MODEL, to_csv

CONFIG, REPORT, EVALUATION, TENSORBOARD = "config.yaml", "report.html", "evaluation.json", "tensorboard"
SAMPLER = "sampler-{}.safetensors"
LANGUAGE_MODEL = "language-model"
PATIENCE = 60.0  # seconds that a save waits for another one into the same place
LABELS_ALONE = "labels-alone.safetensors"
MAY_CHANGE_ON_RESUME = {"epochs", "minutes", "trainer"}


def config(estimator: Any) -> dict[str, Any]:
    """Everything but the weights, as plain values."""
    from vaekit import __version__

    settings = estimator.get_params(deep=False)
    for net in ("encoder", "decoder"):
        if settings.get(net) is not None:
            settings[net] = {"custom": describe(settings[net])}
    settings["random_state"] = estimator.seed_
    settings = {name: plain(v) for name, v in settings.items()}
    return {
        "vaekit": __version__,
        "estimator": type(estimator).__name__,
        "settings": settings,
        "data": {
            **estimator.data_,
            "kind": estimator.domain_.kind,
            "schema": asdict(estimator.domain_),
            "conditions": estimator.schema_.to_config(),
        },
        "likelihood": estimator.likelihood_,
    }


def plain(value: Any) -> Any:
    """A setting as YAML writes it: plain dicts, lists and numbers."""
    if isinstance(value, Mapping):
        return {name: plain(v) for name, v in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value


def describe(factory: Any) -> str:
    factory = getattr(factory, "func", factory)  # what a functools.partial wraps
    return f"{getattr(factory, '__module__', '?')}.{getattr(factory, '__qualname__', type(factory).__name__)}"


@contextmanager
def training(folder: Path | None, estimator: Any, *, resume: bool) -> Iterator[None]:
    """The run directory while it is trained: it is made, its config is written, and no other process may write to it."""
    if folder is None:
        yield
        return
    make_folder(folder)
    with locked(folder):
        prepare(folder, estimator, resume=resume)
        yield


def prepare(folder: Path, estimator: Any, *, resume: bool) -> None:
    """Write the config, before training starts."""
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
    estimator.domain_.write(folder)


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"cannot make the folder {folder}: {e.strerror}") from e


def write_config(folder: Path, values: dict[str, Any]) -> None:
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    write_text(
        folder / CONFIG, "# A run of vaekit; `vaekit info` explains it. The weights are in model.safetensors.\n" + text
    )


def save(folder: Path, estimator: Any) -> Path:
    make_folder(folder)
    with locked(folder, PATIENCE):
        write_config(folder, config(estimator))
        estimator.domain_.write(folder)
        write_tensors(folder / MODEL, estimator.model_.state_dict(), {"vaekit": "model"})
        write_text(folder / METRICS, to_csv(estimator.history_))
        save_samplers(folder, estimator)
    return folder


def save_samplers(folder: Path, estimator: Any) -> None:
    """What was learned of the codes after training, a file each."""
    for name, module in estimator.samplers_.items():
        about = {"vaekit": "sampler", "options": json.dumps(estimator.sampler_options_[name])}
        write_tensors(folder / SAMPLER.format(name), module.state_dict(), about)


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


def read_metrics(folder: Path) -> list[dict[str, float]]:
    import csv

    path = folder / METRICS
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
