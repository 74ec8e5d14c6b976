"""From a source to a run: what the verbs of the command line do, callable from Python too."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

import vaekit
from vaekit import sources
from vaekit.errors import UserError, near_matches
from vaekit.estimators.checks import check_settings
from vaekit.estimators.semi_supervised import SemiSupervised
from vaekit.estimators.series import SeriesVAE
from vaekit.estimators.vae import CVAE, VAE
from vaekit.files import parse_yaml, read_tensors, read_yaml, to_yaml, write_tensors
from vaekit.frame import Frame
from vaekit.kinds import kind_part, kinds
from vaekit.kinds.text import rates as texts
from vaekit.robots.datasets import needed, read_demonstrations
from vaekit.robots.demonstrations import Demonstrations
from vaekit.robots.policy import Policy
from vaekit.runs import directory as runs
from vaekit.runs.load import load, moved_settings
from vaekit.settings.limits import check_all, hints_of
from vaekit.settings.parts import options_of
from vaekit.sources.base import Dataset
from vaekit.sources.series import TimeSeries, read_series
from vaekit.training.checkpoint import put_weights
from vaekit.training.data import split
from vaekit.training.progress import ProgressBar, track
from vaekit.uses import labels
from vaekit.uses.labels import keep_some

log = logging.getLogger(__name__)

REPORT_ROWS, TABLE_ROWS = 500, 20_000  # the most that are shown
REPORT_SAMPLES = 100
# How a source is read: kept in the run, so that others are read alike.
READ_BY = ("resize", "metadata", "column", "encoding", "decimal", "map", "fps", "trim")
LABELLED_BY = ("label_column", "labels")
# Parts that `PARTS` does not list, and what they are where nothing is said.
PLAIN_PARTS = {"likelihood": "auto", "kind": "auto"}


@dataclass
class Recipe:
    """All that a user tells `vaekit fit`.

    Attributes:
        source: what `vaekit.read` takes; for demonstrations, also a list of several to join.
        conditions: names, or "name:label" or "name:number" to say the kind. For a policy: what it sees, such as "state".
        resize: (width, height) for pictures of mixed sizes.
        metadata: a .csv file with conditions of the pictures in a folder; None: metadata.csv in it.
        strict: an unreadable picture is an error.
        column: the column of texts to learn in a table.
        encoding: that of a text file; None: UTF-8.
        decimal: the decimal separator, "." or ",", of a .csv file whose numbers do not show it.
        label_column: the label to predict, which most rows may lack: NAME, or "NAME:number".
        labels: how many labels to keep; None: all.
        map, fps, trim: for demonstrations: the names in the source by the names here; frames per second, if the source does not
            say; whether to leave out the beginning of each episode, until the actions change.
        init: a run, or a published checkpoint, whose model is trained further.
        settings: arguments of the estimator.
    """

    source: str | list[str] | None = None
    conditions: list[str] = field(default_factory=list)
    resize: tuple[int, int] | None = None
    metadata: str | None = None
    strict: bool = False
    column: str | None = None
    encoding: str | None = None
    map: dict[str, str] | None = None
    fps: float | None = None
    trim: bool = False
    decimal: str | None = None
    label_column: str | None = None
    labels: int | None = None
    init: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Read a YAML file: what `--print-config` prints, or a run's config.yaml."""
        values = read_yaml(path)
        if not isinstance(values, dict):
            raise UserError(f"{path} is not a configuration: write one with `vaekit fit SOURCE --print-config`")
        if "estimator" in values:
            runs.check_config(path, values)
            known = cls.of_run(values)
        else:
            names = ("source", "conditions", "strict", *READ_BY, *LABELLED_BY)
            own = {f: values.pop(f) for f in names if f in values}
            known = cls(**own, settings=values)
        known.check()
        return known

    @classmethod
    def of_run(cls, config: Mapping[str, Any]) -> Recipe:
        """Read the recipe of a run from its config.yaml."""
        data = config["data"]
        own = data["kind"] in kinds() and kinds()[data["kind"]].estimator
        told = {name: data.get(name) for name in (*READ_BY, *LABELLED_BY, "init")}
        named = [] if own or told["label_column"] else [f"{name}:{c['kind']}" for name, c in data["conditions"].items()]
        source = from_here(data.get("source"), data.get("folder"))
        return cls(source, named, **told, settings=moved_settings(config["settings"]))

    @classmethod
    def going_on(cls, init: str) -> Recipe:
        """Make a recipe that continues a run, or a published checkpoint, on another source, trained as before."""
        recipe = cls.of_run(runs.config(load(init).fitted_))
        recipe.source, recipe.init = None, init
        recipe.settings["warm_start"] = True
        return recipe

    def choose_parts(self, names: Mapping[str, str], options: Sequence[str]) -> None:
        """Choose parts by name, and options of parts as "PART.KEY=VALUE"; the value is YAML. What the user says about the data, such
        as its tokenizer, is an option of the part "kind"."""
        for part, name in names.items():
            self.set_part(part, {"name": name})
        parameters = inspect.signature(self.estimator).parameters
        for text in options:
            where, _, value = text.partition("=")
            part, _, key = where.partition(".")
            known = [*self.estimator.parts, *(part for part in PLAIN_PARTS if part in parameters), *options_of_kinds()]
            if part not in known or not key:
                raise UserError(f"--{where}: no part of a model is named {part!r}{near_matches(part, known)}")
            if not value or value.startswith("--"):
                raise UserError(f"--{where} needs a value")
            self.set_part(part, {key.replace("-", "_"): parse_value(where, value)})

    def set_part(self, part: str, options: Mapping[str, Any]) -> None:
        """Set the name, or options, of a part, and keep its other options."""
        if part in options_of_kinds():
            before = as_part(as_part(self.settings.get("kind"), "auto").get(part), None)
            now = {k: v for k, v in {**before, **options}.items() if v is not None}
            return self.set_part("kind", {part: now["name"] if list(now) == ["name"] else now})
        parameters = inspect.signature(self.estimator).parameters
        default = PLAIN_PARTS.get(part) or parameters[part].default
        chosen = self.settings.get(part) or default
        if "name" not in options and (part, chosen) == ("objective", "auto"):
            chosen = "elbo"  # whose options they are
        renamed = "name" in options and part != "kind"
        chosen = options if renamed else {**as_part(chosen, default), **options}
        self.settings[part] = chosen["name"] if list(chosen) == ["name"] else chosen

    def check(self) -> None:
        """UserError for the first setting that cannot be right, whatever the source."""
        check_all(vars(self), hints_of(Recipe))
        parameters = [p for p in inspect.signature(self.estimator).parameters if p not in ("encoder", "decoder")]
        for name, value in list(self.settings.items()):
            if name in ("encoder", "decoder") and value is None:
                del self.settings[name]
            elif name not in parameters:
                raise UserError(f"unknown setting {name!r}{near_matches(name, parameters)}")
        check_settings(self.estimator(**self.settings))

    @property
    def kind(self) -> str:
        """The kind of data that the user names; "auto": the source decides."""
        return kind_part(self.settings.get("kind") or "auto")[0]

    @property
    def own_estimator(self) -> str:
        """The estimator that the kind of data has of its own; "" for kinds that share theirs."""
        return "" if self.kind == "auto" else kinds()[self.kind].estimator

    @property
    def estimator(self) -> type[Any]:
        """The class of the estimator: that of the kind of data, if it has one, or else what the conditions and labels ask for."""
        own = self.own_estimator
        if self.label_column and not own:
            own = "SemiSupervisedRegressor" if self.label_column.endswith(":number") else "SemiSupervisedVAE"
        return getattr(vaekit, own or ("CVAE" if self.conditions else "VAE"))

    def to_yaml(self) -> str:
        """Every setting, defaults included."""
        parameters = inspect.signature(self.estimator).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.name not in ("encoder", "decoder")}
        values = {
            "source": self.source,
            "conditions": self.conditions,
            "resize": self.resize,
            "metadata": self.metadata,
            "strict": self.strict,
            "column": self.column,
            "encoding": self.encoding,
            "decimal": self.decimal,
            **{name: getattr(self, name) for name in ("map", "fps", "trim") if self.kind == "actions"},
            **{name: getattr(self, name) for name in LABELLED_BY if self.label_column},
        }
        return to_yaml({**values, **defaults, **self.settings})

    def train(self, out: Path | None, *, resume: bool = False, say: Any = print) -> tuple[Path, VAE]:
        """Read the source, train, write the run directory. `say` shows a line to the user."""
        self.check()
        if self.labels is not None and not self.label_column:
            raise UserError("--labels needs --label-column NAME, the label to predict")
        if self.label_column and (self.conditions or self.own_estimator):
            raise UserError("--label-column cannot be combined with --condition or --kind: leave them out")
        if self.source is None:
            raise UserError("give a SOURCE to learn from: `vaekit fit digits` needs no file")
        data = self.read_source()
        folder = Path(out) if out else free_folder(Path("runs"), data.name)
        kinds = {name: kind for name, _, kind in (c.partition(":") for c in self.conditions) if kind}
        say(f"{data.name}: {data.describe()} -> {folder}")
        seen = {"observations": self.conditions} if self.kind == "actions" and self.conditions else {}
        settings = dict(self.settings)
        if schema := as_part(settings.get("kind"), "auto").get("schema"):  # which may well name the conditions too
            own = {name: c for name, c in schema.items() if name not in data.conditions}
            settings["kind"] = {**settings["kind"], "schema": own}
        estimator = self.estimator(**settings, **seen)
        source = self.source if isinstance(self.source, list) else str(self.source)
        origin = {"source": source, "folder": str(Path.cwd()), **{name: getattr(self, name) for name in READ_BY}}
        if self.init:
            start, origin["init"] = load(self.init), str(Path(self.init).absolute())
            if type(start) is not type(estimator):
                raise UserError(
                    f"--init {self.init} is a {type(start).__name__}, but these options ask for another estimator: leave them out"
                )
            estimator = start.set_params(**settings, **seen)
        if self.label_column:
            ((name, values),) = data.conditions.items()
            labels.note_words(name, values.tolist())
            self.hide_labels(data, estimator)
            say(labels.known_line(name, values, data.conditions[name], estimator.target_kind == "label"))
            origin |= {name: getattr(self, name) for name in LABELLED_BY}
        bar = ProgressBar()
        try:
            with bar:
                estimator.fit_data(
                    data, condition_kinds=kinds, folder=folder, resume=resume, origin=origin, watchers=[bar]
                )
        except KeyboardInterrupt:
            if bar.over:
                say(
                    f"stopped; {folder} is trained, and `vaekit sample {folder} --sampler gmm` and `vaekit report {folder}` do "
                    "what is left"
                )
            raise
        return folder, estimator

    def hide_labels(self, data: Dataset, estimator: Any) -> None:
        """Keep as many labels as were asked for, and none of held-out rows."""
        ((name, truth),) = data.conditions.items()
        label = estimator.target_kind == "label"
        truth = truth if label else truth.astype(np.float64)
        seed = 0 if estimator.random_state is None else estimator.random_state
        data.conditions = {name: keep_some(name, truth, self.labels, estimator.validation, seed, label)}

    def read_source(self) -> Any:
        """Read the source: a `Dataset`, or `Demonstrations` if it holds actions."""
        assert self.source is not None
        size = (self.resize[0], self.resize[1]) if self.resize else None  # YAML gives a list
        if self.own_estimator and (self.column or self.encoding):
            raise UserError(
                f"--kind {self.kind} does not take --column or --encoding, which are for texts: leave them out"
            )
        if self.kind == "actions":
            names = self.settings.get("observations") or self.conditions
            return read_demonstrations(
                self.source,
                **needed(names),
                resize=size,
                map=self.map,
                fps=self.fps,
                trim=self.trim,
                strict=self.strict,
            )
        if isinstance(self.source, list):
            raise UserError(
                "only --kind actions takes several SOURCEs: put tables into one file, and pictures into one folder"
            )
        if self.map or self.fps or self.trim:
            raise UserError("--map, --fps and --trim are for demonstrations: add --kind actions, or leave them out")
        if self.kind == "series":
            if self.conditions or size:
                raise UserError("--kind series does not take --condition or --resize: leave them out")
            return read_series(self.source)
        names = [c.partition(":")[0] for c in ([self.label_column] if self.label_column else self.conditions)]
        return sources.read(
            self.source, conditions=names, resize=size, strict=self.strict, column=self.column, encoding=self.encoding,
            metadata=self.metadata, decimal=self.decimal, schema=as_part(self.settings.get("kind"), "auto").get("schema"),
        )  # fmt: skip


def as_part(part: Any, default: Any) -> dict[str, Any]:
    """A part as a dict of its name and options."""
    return dict(part) if isinstance(part, Mapping) else {"name": default if part is None else part}


def options_of_kinds() -> set[str]:
    """What a user may say about data of some kind, such as "tokenizer"."""
    return {option for kind in kinds().values() for option in options_of(kind.infer)} - {"window"}


def read_schema(path: Path) -> dict[str, Any]:
    """Read the kinds of columns, by name, from a YAML file."""
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise UserError(f"{path} is not a schema: write one with `vaekit schema SOURCE -o {path}`")
    return {str(name): value for name, value in values.items()}


def schema_text(source: str) -> str:
    """Write the guessed schema of a table as YAML, one line per column, to edit and give to `vaekit fit --schema`."""
    from vaekit.kinds.table import Table, describe, said

    data = sources.read(source)
    if data.kind != "table":
        raise UserError(f"{source} is not a table: only .csv and .parquet files have a schema")
    lines = ["# kinds: real, integer, positive, bounded, date, binary, categorical, ordinal (classes in order), drop"]
    table = Table.infer(data.x)
    for name in data.x.columns:
        why = table.left_out.get(name)
        own = {"kind": "drop"} if why else said(table.schema[name])
        about = f"looks like an identifier: {why}" if why else describe(table.schema[name])
        key, value = (
            to_yaml(v, default_flow_style=True, width=10**6).removesuffix("...\n").strip() for v in (name, own)
        )
        lines.append(f"{key}: {value}  # {' '.join(about.split())}")
    return "\n".join(lines) + "\n"


def preset(name: str) -> dict[str, Any]:
    """Settings by name, such as "act" for `vaekit.Policy`: ACT as published, or "m2" for `vaekit.SemiSupervisedVAE`."""
    folder = Path(__file__).parent / "presets"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = [p.stem for p in folder.glob("*.yaml")]
        raise UserError(f"there is no preset {name!r}{near_matches(name, known)}")
    return read_yaml(path)


def parse_value(where: str, text: str) -> Any:
    """Read a number, a list or a word, as in YAML."""
    try:
        return parse_yaml(text)
    except yaml.YAMLError as e:
        raise UserError(f"--{where} {text!r} is not a value: {e}") from e


def free_folder(parent: Path, name: str) -> Path:
    """Return parent/name, or parent/name-2, -3, ... if that is taken."""
    folder, i = parent / name, 1
    while folder.exists():
        i += 1
        folder = parent / f"{name}-{i}"
    return folder


def read_for(estimator: Any, source: str, *, conditions: bool = True, also: Sequence[str] = ()) -> Any:
    """Read a source as this model needs it: its columns, its size of pictures, its conditions if the source has them.

    `also`: names to be read as conditions are, which the model need not know.
    """
    if isinstance(estimator, Policy | SeriesVAE):
        return estimator.read(source)
    names = [*(estimator.conditions_.named if conditions else ()), *also]
    resize, metadata, column, encoding, decimal = (
        estimator.data_.get(name) for name in ("resize", "metadata", "column", "encoding", "decimal")
    )
    data = sources.read(
        source,
        conditions=list(dict.fromkeys(names)),
        columns=getattr(estimator.kind_, "columns", None),
        resize=(resize[0], resize[1]) if resize else None,
        column=column,
        encoding=encoding,
        metadata=from_here(metadata, estimator.data_.get("folder")) if metadata else None,
        decimal=decimal,
        schema=getattr(estimator.kind_, "readings", None),
        optional_conditions=True,
    )
    if estimator.kind_.name == "text" and data.kind != "text":
        raise UserError(
            f"this is a model of texts, but {source} holds none: give a .txt, or a column of a table as FILE.csv:COLUMN"
        )
    if data.kind == "text" and estimator.kind_.name != "text":
        raise UserError(f"{source} holds texts, but this is a model of {estimator.kind_.noun}: give such data")
    if missing := [name for name in also if name not in data.conditions]:
        sources.read(source, conditions=missing)  # its error says what there is
    data.x = estimator.kind_.conform(data.x)
    if data.kind == "table" and not isinstance(data.x, Frame):  # one likelihood for all columns: rows of numbers
        data.kind = "rows"
    return data


def imputed(estimator: Any, data: Any, draw: bool, seed: int) -> Iterator[Any]:
    """Yield Arrow tables with all of a source's columns and filled gaps, piece by piece, whatever its size."""
    start, shown = 0, partial(track, what="impute")
    for i, piece in enumerate(data.x.whole().pieces()):
        rows = slice(start, start + len(piece))
        y = {name: values[rows] for name, values in data.conditions.items()}
        draws = 1 if draw else None
        found = estimator.impute(Frame.of(piece), y, draws=draws, random_state=seed + 1009 * i, track=shown)
        yield found[0] if draw else found
        start = rows.stop


def own_source(estimator: Any) -> Any:
    """The source that a run was trained on, as a path from here. UserError if the run does not know it."""
    if not estimator.data_.get("source"):
        raise UserError(
            "this run was trained from Python, so it does not know its source: use Python, or give a SOURCE"
        )
    return from_here(estimator.data_["source"], estimator.data_.get("folder"))


def from_here(source: Any, folder: str | None) -> Any:
    """A source as it was written in `folder`, or its path below that folder if it exists there and not here."""
    if isinstance(source, list):
        return [from_here(each, folder) for each in source]
    path = re.split(r"[\[:]", str(source))[0]  # without rows, or a column
    elsewhere = folder and path and not Path(path).expanduser().exists() and (Path(folder) / path).exists()
    return str(Path(folder) / source) if folder and elsewhere and source != "digits" else source


def learn_sampler(folder: Path, estimator: VAE, sampler: str) -> None:
    """Learn where the codes of the run's own source lie, and keep it in the run directory."""
    data = read_for(estimator, own_source(estimator))
    estimator.fit_sampler(sampler, data.x, data.conditions)
    runs.save_samplers(folder, estimator.fitted_)


def held_out(estimator: Any, limit: int | None = None, *, also: Sequence[str] = ()) -> Any:
    """The validation rows, or episodes, of the run's own source (all of them, if none were held out)."""
    data = read_for(estimator, own_source(estimator), also=also)
    if isinstance(data, TimeSeries):
        return estimator.held_out(data)
    rows = data.episodes if isinstance(data, Demonstrations) else len(data)
    _, valid = split(rows, estimator.validation, estimator.seed_)
    index = valid.numpy() if len(valid) else np.arange(rows)
    return data[index[:limit]]


def table_parts(estimator: VAE, limit: int) -> tuple[Frame, Frame]:
    """Some training rows and some held-out rows of the run's own table (or all rows, if none were held out), with all their
    columns."""
    data = read_for(estimator, own_source(estimator))
    train, valid = (index.numpy() for index in split(len(data), estimator.validation, estimator.seed_))
    some = np.random.default_rng(0).permutation(len(train))[:limit]
    whole = data.x.whole()
    return whole[np.sort(train[some])], whole[valid[:limit] if len(valid) else train[:limit]]


def evaluate(
    folder: Path,
    estimator: Any,
    data: Any,
    k: int,
    *,
    features: Path | None = None,
    factors: Sequence[str] = (),
    beside: Any = None,
) -> dict[str, Any]:
    """Evaluate on `data` and keep the result in the run directory.

    Args:
        beside: what `comparison` gave, to be compared with.
        features: file of a feature network: distances of samples from `data` are added.
        factors: names among the data's conditions: disentanglement scores are added.
    """
    from vaekit.recipes import measures

    log.info("evaluating %s %s", f"{len(data):,}", "frames" if isinstance(data, Demonstrations) else "rows")
    added = {}
    if features:
        added["distances"] = measures.distances(estimator, data, measures.FeatureNetwork.load(features))
    if factors:
        added["disentanglement"] = measures.factor_scores(estimator, data, factors)
    if isinstance(data, Demonstrations):
        results = estimator.evaluate(data, k=k, track=track)
    else:
        own = {name: values for name, values in data.conditions.items() if name in estimator.conditions_.named}
        results = {**estimator.evaluate(data.x, own, k=k, track=track), **added}
        if isinstance(beside, SemiSupervised):
            results |= labels.beside(beside, data.x, data.conditions[beside.target_]) if own else {}
        elif beside is not None:
            results |= texts.beside(results, beside.score_samples(data.x, own, k=1))
    return runs.save_evaluation(folder, results, estimator.fitted_)


def comparison(folder: Path, estimator: Any, say: Any = print) -> Any:
    """The model to compare with: a language model for texts, a classifier of the labels alone for --label-column. It is trained
    the first time, and kept in the run directory. None for other models."""
    compared_with = labels_alone if isinstance(estimator, SemiSupervised) else language_model
    return compared_with(folder, estimator, say)


def labels_alone(folder: Path, estimator: Any, say: Any = print) -> Any:
    """The estimator with a classifier that learned from the run's labels alone, in as many steps. None if the run does not know its
    source."""
    if not estimator.data_.get("label_column"):
        return None
    path, about = folder / runs.LABELS_ALONE, {"of": runs.model_hash(estimator.fitted_)}
    if path.exists():
        tensors, found = read_tensors(path, "classifier")
        if found.get("of") == about["of"]:  # and the run has not been continued
            other = labels.untrained(estimator)
            put_weights(other.model_.classifier, tensors)
            return other
    recipe = Recipe.read(folder / runs.CONFIG)
    data = recipe.read_source()
    recipe.hide_labels(data, estimator)
    (values,) = data.conditions.values()
    some = data[np.flatnonzero(labels.known(values, estimator.target_kind == "label"))]
    say("comparing with a classifier trained on the labels alone")
    other = labels.alone(
        estimator, estimator.packed(some.x, some.conditions, torch.float32), partial(track, what="compare")
    )
    write_tensors(path, other.model_.classifier.state_dict(), "classifier", about)
    return other


def language_model(folder: Path, estimator: Any, say: Any = print) -> Any:
    """The same model of texts without z, trained on the same data, in its own run directory within `folder`: beside it, a latent
    that does not help shows. It is trained the first time, and continued if that was interrupted. None for other models."""
    from sklearn.base import clone

    source, path = estimator.data_.get("source"), folder / runs.LANGUAGE_MODEL
    if estimator.kind_.name != "text" or type(estimator) not in (VAE, CVAE) or not estimator.latent_dim or not source:
        return None
    if (path / runs.EVALUATION).exists():  # which is written last
        known = load(path)
        if known.data_["fingerprint"] != estimator.data_["fingerprint"]:
            raise UserError(f"{path} was trained on other data than {folder}: delete it, and vaekit trains a new one")
        return known
    say(f"training a language model of the same size, for comparison -> {path}")
    model = clone(estimator).set_params(latent_dim=0, random_state=estimator.seed_)
    with ProgressBar() as bar:
        model.fit_data(
            read_for(estimator, own_source(estimator)), folder=path, resume=(path / runs.CONFIG).exists(),
            condition_kinds={name: c["kind"] for name, c in estimator.conditions_.to_config().items()},
            origin={name: estimator.data_.get(name) for name in ("source", "folder", *READ_BY)}, watchers=[bar],
        )  # fmt: skip
    if model.interrupted_:
        raise UserError(f"stopped; `vaekit evaluate {folder}` continues it, and --no-comparison leaves it out")
    evaluate(path, model, held_out(model), 1)
    return model


def report(folder: Path, estimator: Any) -> Path:
    """Write report.html from the run's own validation rows or episodes."""
    log.info("writing the report")
    data = held_out(estimator, REPORT_ROWS)
    results = runs.read_evaluation(folder, estimator.fitted_)
    if results is None:
        results = evaluate(folder, estimator, data, min(REPORT_SAMPLES, estimator.iw_samples))
    return REPORTS.get(estimator.kind_.name, plain_report)(folder, estimator, data, results)


def plain_report(folder: Path, estimator: Any, data: Any, results: Mapping[str, Any]) -> Path:
    from vaekit.deploy.report import write_report

    return write_report(folder, estimator, data.x, data.conditions, results)


def policy_report(folder: Path, estimator: Any, data: Any, results: Mapping[str, Any]) -> Path:
    from vaekit.robots.report import write_policy_report

    return write_policy_report(folder, estimator, data, results)


def table_report(folder: Path, estimator: Any, data: Any, results: Mapping[str, Any]) -> Path:
    from vaekit.deploy.table_report import write_table_report

    return write_table_report(folder, estimator, *table_parts(estimator, TABLE_ROWS), results)


def series_report(folder: Path, estimator: Any, data: Any, results: Mapping[str, Any]) -> Path:
    from vaekit.deploy.series_report import write_series_report

    return write_series_report(folder, estimator, estimator.read(own_source(estimator)), results)


def text_report(folder: Path, estimator: Any, data: Any, results: Mapping[str, Any]) -> Path:
    from vaekit.deploy.text_report import write_text_report

    whole = read_for(estimator, own_source(estimator)).x
    train, _ = split(len(whole), estimator.validation, estimator.seed_)
    return write_text_report(folder, estimator, data.x, data.conditions, whole[train.numpy()], results)


REPORTS = {"actions": policy_report, "table": table_report, "series": series_report, "text": text_report}
"""How a run is shown, by the kind of its kind; others by `plain_report`."""
