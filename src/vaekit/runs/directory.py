"""The run directory: what is in it, and how it is written. `vaekit.runs.load` reads a model back.

    config.yaml              everything to rebuild the model and its data schema, for a person to read
    model.safetensors        the weights of the best epoch
    metrics.csv              a row per epoch
    notes.json               what to know about training, and whether it was interrupted
    checkpoint.safetensors   what `--resume` goes on from
    sampler-*.safetensors    what `--sampler` learned of the codes after training
    tokenizer.json           of texts: their tokens
    calibration-*.safetensors   what `vaekit score` learned from normal rows
    detector.safetensors     the same from an `AnomalyDetector`, whose other models are runs in detector-*/
    evaluation.json          what `vaekit evaluate` found last
    privacy.json             of tables and texts: what the report found out about copies of training rows
    README.md                the model card, see `vaekit.runs.card`
    report.html              to look at
    tracking.json            which runs of its trackers it is; tensorboard/ is a tracker's own
    temperature.safetensors  of --label-column: how sure predictions are to be
    labels-alone.safetensors   of --label-column: a classifier that learned from the labels alone, to compare with
    language-model/          of texts: the same model without z, a run of its own, which `vaekit evaluate` compares with

No pickle: a run from a stranger can be opened without running the stranger's code.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vaekit.errors import UserError
from vaekit.files import (
    digest,
    locked,
    read_tensors,
    read_text,
    read_yaml,
    tensor_writer,
    text_digest,
    text_writer,
    to_yaml,
    write_text,
    write_together,
)
from vaekit.fitted import MAY_CHANGE_ON_RESUME, Fitted, config, identity, model_hash
from vaekit.settings.parse import size_text
from vaekit.training.checkpoint import CHECKPOINT, METRICS, MODEL, to_csv
from vaekit.training.trackers import TENSORBOARD
from vaekit.training.tracking import TRACKING

CONFIG, REPORT, EVALUATION = "config.yaml", "report.html", "evaluation.json"
NOTES, PRIVACY = "notes.json", "privacy.json"
SAMPLER = "sampler-{}.safetensors"
LANGUAGE_MODEL, LABELS_ALONE = "language-model", "labels-alone.safetensors"
TEMPERATURE = "temperature.safetensors"
LEFT_BY_A_RUN = (
    CHECKPOINT, "sampler-*.safetensors", "calibration-*.safetensors", "detector*", "tokenizer.json", EVALUATION,
    PRIVACY, REPORT, LANGUAGE_MODEL, LABELS_ALONE, TEMPERATURE, TENSORBOARD, TRACKING, NOTES,
)  # fmt: skip
PATIENCE = 60.0  # seconds that a save waits for another one into the same place


def source_of(data: Mapping[str, Any]) -> str | None:
    """Say what a run was trained on, from the data in its config. None if it was trained from Python."""
    source = data.get("source")
    return " and ".join(source) if isinstance(source, list) else source


@contextmanager
def training(folder: Path | None, fitted: Fitted, *, resume: bool, first: bool) -> Iterator[str]:
    """Make the run directory, write its config, and keep other processes from writing to it while training runs.

    Gives the run's identity. first: whether this is the process that writes, of several that train together.
    """
    if folder is None:
        yield ""
        return
    values = config(fitted)
    if not first:
        yield identity(values)
        return
    make_folder(folder)
    with locked(folder):
        if (folder / CONFIG).exists():
            check_resumable(folder, values, resume)
        write_together(described(folder, values, fitted))
        yield identity(values)


def save_notes(folder: Path, fitted: Fitted) -> None:
    """Keep the notes on training, which the config cannot hold because it is written before."""
    write_together({folder / NOTES: notes_writer(fitted)})


def notes_writer(fitted: Fitted) -> Any:
    kept = {"of": model_hash(fitted), "notes": fitted.notes, "interrupted": fitted.interrupted}
    return text_writer(json.dumps(kept, indent=2) + "\n")


def read_notes(folder: Path, fitted: Fitted) -> None:
    """Read what `save_notes` kept, if it is there and belongs to these weights."""
    try:
        kept = json.loads(read_text(folder / NOTES))
        if kept["of"] == model_hash(fitted):
            fitted.notes = [str(text) for text in kept["notes"]]
            fitted.interrupted = bool(kept["interrupted"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return


def check_resumable(folder: Path, new: dict[str, Any], resume: bool) -> None:
    """UserError if an estimator with this config cannot continue the run in `folder`."""
    if not resume:
        raise UserError(f"{folder} already holds a run: add --resume to continue it, or choose another --out")
    old = read_config(folder)
    if (folder / MODEL).exists() and not (folder / CHECKPOINT).exists():
        raise UserError(
            f"{folder} holds weights but no {CHECKPOINT} to continue from: choose another --out to start again"
        )
    if older := old["settings"].keys() - new["settings"].keys():
        raise UserError(
            f"{folder} was written by an older vaekit (it has the setting {min(older)}), whose training cannot be continued exactly: train "
            f"its model further with --init {folder} and another --out"
        )
    for name, value in new["settings"].items():
        if name not in MAY_CHANGE_ON_RESUME and old["settings"].get(name) != value:
            raise UserError(
                f"{folder} was trained with {name}={old['settings'].get(name)!r}, not {value!r}: resume with the old value"
            )
    if (held := old["data"].get("memory")) != new["data"].get("memory"):  # on which the order of the rows depends
        how = f"--memory {size_text(held)}" if held else "more --memory, which held all rows"
        raise UserError(f"{folder} was trained within another memory: resume with {how}")
    if identity(old) != identity(new):
        raise UserError(f"{folder} was trained on other data: resume with the same data")


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"cannot make the folder {folder}: {e.strerror}") from e


def described(folder: Path, values: dict[str, Any], fitted: Fitted) -> dict[Path, Any]:
    """Files that say what a model is, for `write_together`."""
    texts = {**fitted.kind.files(), CONFIG: config_text(values)}
    return {folder / name: text_writer(content) for name, content in texts.items()}


def config_text(values: Mapping[str, Any]) -> str:
    """A config as its file has it."""
    head = "# A run of vaekit; `vaekit info` explains it. The weights are in model.safetensors.\n"
    return head + to_yaml(dict(values), width=120, default_flow_style=None)


def save(folder: Path, fitted: Fitted) -> Path:
    """Write the files of a fitted model, and remove what other weights left in the folder."""
    make_folder(folder)
    values = config(fitted)
    weights = tensor_writer(fitted.model.state_dict(), "model", {"run": identity(values)})
    with locked(folder, PATIENCE):
        others = (folder / CONFIG).exists() and not holds(folder, identity(values), digest(fitted.model.state_dict()))
        files = described(folder, values, fitted) | sampler_files(folder, fitted) | temperature_file(folder, fitted)
        files |= {
            folder / MODEL: weights,
            folder / METRICS: text_writer(to_csv(fitted.history)),
            folder / NOTES: notes_writer(fitted),
        }
        write_together(files)
        if others:
            clear(folder, keep=files.keys())
    return folder


def holds(folder: Path, run: str, weights: str) -> bool:
    """Whether these are the weights in a run's folder."""
    try:
        _, about = read_tensors(folder / MODEL, "model")
    except UserError:
        return False
    return (about.get("run"), about["hash"]) == (run, weights)


def clear(folder: Path, keep: Collection[Path]) -> None:
    """Remove what another model left in a run's folder, by the names that runs have; other files stay."""
    for pattern in LEFT_BY_A_RUN:
        for path in folder.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path not in keep:
                path.unlink(missing_ok=True)


def shared(folder: Path) -> list[Path]:
    """The files that are of use elsewhere: all of a run but what only this folder needs."""
    own = {CHECKPOINT, TRACKING}
    found = [path for name in (CONFIG, MODEL, METRICS, *LEFT_BY_A_RUN) for path in sorted(folder.glob(name))]
    return [path for path in found if path.name not in own and path.is_file()]


def sampler_files(folder: Path, fitted: Fitted) -> dict[Path, Any]:
    """The samplers that were learned on the codes after training, one file each."""
    model, files = model_hash(fitted), {}
    for name, each in fitted.samplers.items():
        about = {"of": model, "options": each.options}
        files[folder / SAMPLER.format(name)] = tensor_writer(each.module.state_dict(), "sampler", about)
    return files


def temperature_file(folder: Path, fitted: Fitted) -> dict[Path, Any]:
    """The file with the temperature of an estimator that predicts labels."""
    if fitted.temperature == 1.0:
        return {}
    tensors, about = {"temperature": torch.tensor(fitted.temperature, dtype=torch.float64)}, {"of": model_hash(fitted)}
    return {folder / TEMPERATURE: tensor_writer(tensors, "temperature", about)}


def save_temperature(folder: Path, fitted: Fitted) -> None:
    write_together(temperature_file(folder, fitted))


def read_temperature(folder: Path, fitted: Fitted) -> float:
    """Read what `save_temperature` kept; 1 if there is nothing, or it belongs to other weights."""
    if not (folder / TEMPERATURE).exists():
        return 1.0
    tensors, about = read_tensors(folder / TEMPERATURE, "temperature")
    return tensors["temperature"].item() if about.get("of") == model_hash(fitted) else 1.0


def save_samplers(folder: Path, fitted: Fitted) -> None:
    write_together(sampler_files(folder, fitted))


def save_evaluation(folder: Path, results: Mapping[str, Any], fitted: Fitted, name: str = EVALUATION) -> dict[str, Any]:
    """Keep the results of `evaluate` in the file `name`, with a hash of the model. Returns what is kept."""
    kept = {**results, "hash": evaluation_hash(results, fitted)}
    write_text(folder / name, json.dumps(kept, indent=2) + "\n")
    return kept


def read_evaluation(folder: Path, fitted: Fitted, name: str = EVALUATION) -> dict[str, Any] | None:
    """Read what `save_evaluation` kept; None if there is nothing, it belongs to other weights, or it was changed."""
    try:
        results = json.loads(read_text(folder / name))
        return results if results.pop("hash") == evaluation_hash(results, fitted) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def evaluation_hash(results: Mapping[str, Any], fitted: Fitted) -> str:
    return text_digest(model_hash(fitted) + json.dumps(results))


def read_config(folder: Path) -> dict[str, Any]:
    path = Path(folder) / CONFIG
    if not path.is_file():
        hint = "it does not exist" if not Path(folder).exists() else f"it has no {CONFIG}"
        if (Path(folder) / "config.json").is_file():
            hint += ", and the only checkpoints with a config.json that vaekit reads are LeRobot's ACT"
        raise UserError(f"{folder} is not a run directory: {hint}. Train one with `vaekit fit SOURCE --out {folder}`")
    values = read_yaml(path)
    check_config(path, values)
    return values


def check_config(path: Path, values: Any) -> None:
    """UserError if this does not have the form that `config` gives."""
    form = {
        "vaekit": str, "estimator": str, "settings": dict, "likelihood": dict,
        "data": {"kind": str, "schema": dict, "conditions": dict, "fingerprint": str},
    }  # fmt: skip
    check_form(path, values, form, "")
    for name, condition in values["data"]["conditions"].items():
        check_form(path, condition, {"kind": str}, f"data.conditions.{name}.")


def check_form(path: Path, values: Any, form: Mapping[str, Any], within: str) -> None:
    if not isinstance(values, dict) or (missing := form.keys() - values.keys()):
        lacks = ", ".join(within + name for name in sorted(missing if isinstance(values, dict) else form))
        raise UserError(f"{path} is not the config of a vaekit run: it lacks {lacks}. Restore it from a copy")
    for name, wanted in form.items():
        if isinstance(wanted, dict):
            check_form(path, values[name], wanted, f"{within}{name}.")
        elif not isinstance(values[name], wanted):
            held = " ".join(repr(values[name]).split())[:40]
            raise UserError(f"{path} is damaged: {within}{name} cannot be {held}. Restore it from a copy")


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Read the rows of metrics.csv; none if the file does not exist. UserError if it is damaged."""
    path = folder / METRICS
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            if missing := {"epoch", "step", "seconds"} - set(reader.fieldnames or ("epoch", "step", "seconds")):
                raise ValueError(f"it has no column {min(missing)}")
            rows = [{k: float(v) for k, v in row.items()} for row in reader]
            return [row | {name: int(row[name]) for name in ("epoch", "step")} for row in rows]
    except PermissionError as e:
        raise UserError(f"no permission to read {path}: change its permissions") from e
    except (OSError, ValueError, TypeError, OverflowError, csv.Error) as e:
        raise UserError(
            f"{path} is damaged ({e}): restore it from a copy, or delete it (the model does not need it)"
        ) from e
