"""From a source to a run: what the verbs of the command line do, callable from Python too."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

import vaekit
from vaekit.errors import UserError, near_matches
from vaekit.estimators.checks import check_settings
from vaekit.estimators.vae import VAE
from vaekit.files import read_yaml, to_yaml
from vaekit.fitted import config
from vaekit.kinds import Kind, kind_part, kinds
from vaekit.runs import directory as runs
from vaekit.runs.hub import is_address
from vaekit.runs.load import ESTIMATORS, load, moved_settings
from vaekit.settings.limits import Positive, check_all, hints_of
from vaekit.settings.options import DATA, LABELS, POLICIES, setting
from vaekit.settings.parse import parse_map, parse_size, parse_value
from vaekit.settings.parts import options_of
from vaekit.sources.base import Dataset, from_here
from vaekit.training.progress import ProgressBar
from vaekit.training.trackers import ready
from vaekit.uses import labels
from vaekit.uses.labels import keep_some

log = logging.getLogger(__name__)

LABELLED_BY = ("label_column", "labels")


@dataclass
class Recipe:
    """All that a user tells `vaekit fit`.

    Attributes:
        source: what `vaekit.read` takes; for demonstrations, also a list of several to join.
        settings: arguments of the estimator.
        others: options of `vaekit fit`, which say themselves what they are.
    """

    source: str | list[str] | None = None
    conditions: list[str] = setting(
        list, "Condition on this label or column: NAME, NAME:label or NAME:number; repeat it for several. The model is then a "
        "conditional VAE. For policies: what they see, such as state or images.top. Default: everything.", DATA,
        "--condition", "-c",
    )  # fmt: skip
    label_column: str | None = setting(
        None,
        "Learn to predict this label or column, NAME or NAME:number. The model also learns from rows without it.",
        LABELS,
    )
    labels: int | None = setting(
        None, "Keep this many labels, chosen by the seed, and hide the others. Each class keeps the same number, or all that it "
        "has.", LABELS,
    )  # fmt: skip
    resize: tuple[int, int] | None = setting(None, "Resize all pictures to WIDTHxHEIGHT.", DATA, parse=parse_size)
    metadata: str | None = setting(
        None, "Pictures: a .csv file with a column file_name and columns for --condition. Default: metadata.csv in the folder.",
        DATA,
    )  # fmt: skip
    column: str | None = setting(
        None,
        "Learn from the texts in this column of a .csv or .parquet file. Without it the whole table is the data.",
        DATA,
    )
    encoding: str | None = setting(None, "The encoding of a .txt or .csv file, such as latin-1. Default: UTF-8.", DATA)
    decimal: str | None = setting(
        None, "The decimal separator of a .csv file, . or , , if its numbers do not show it.", DATA
    )
    map: dict[str, str] | None = setting(
        None, "The names that SOURCE uses, NAME=KEY: --map state=observation.joints,action=actions. A KEY a+b "
        "joins two vectors.", POLICIES, parse=parse_map,
    )  # fmt: skip
    fps: Positive | None = setting(None, "Frames per second, if SOURCE does not give them. Default: 50.", POLICIES)
    trim: bool = setting(False, "Leave out the beginning of each episode, until the actions change.", POLICIES)
    strict: bool = setting(False, "Stop at a picture that cannot be read or an episode that cannot be used.", DATA)
    init: str | None = setting(
        None, "Continue training this run, or a checkpoint of ACT (LeRobot's or the original's), with its settings, scaling "
        "and classes.", DATA,
    )  # fmt: skip
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
            own = {f.name: values.pop(f.name) for f in fields(cls) if f.name in values and f.name != "settings"}
            known = cls(**own, settings=moved_settings(values))
        known.check()
        return known

    @classmethod
    def of_run(cls, config: Mapping[str, Any]) -> Recipe:
        """Read the recipe of a run from its config.yaml."""
        data, settings = config["data"], moved_settings(config["settings"])
        told = {name: data.get(name) for name in (*READ_BY, *LABELLED_BY, "init")}
        if data["kind"] in kinds() and kinds()[data["kind"]].estimator:
            settings.setdefault("kind", data["kind"])  # which older runs do not say
        recipe = cls(from_here(data.get("source"), data.get("folder")), **told, settings=settings)
        if not recipe.estimator.sees and not recipe.label_column:
            recipe.conditions = [f"{name}:{c['kind']}" for name, c in data["conditions"].items()]
        return recipe

    @classmethod
    def going_on(cls, init: str) -> Recipe:
        """Make a recipe that continues a run, or a published checkpoint, on another source, trained as before."""
        recipe = cls.of_run(config(load(init).fitted_))
        recipe.source, recipe.init = None, init
        recipe.settings["warm_start"] = True
        return recipe

    def set_options(self, options: Sequence[str]) -> None:
        """Set options of parts, each "PART.KEY=VALUE"; the value is YAML. What the user says about the data, such as its
        tokenizer, is a part too."""
        known = [*self.estimator.parts, "likelihood", "kind", *options_of_kinds()]
        for text in options:
            where, _, value = text.partition("=")
            part, _, key = where.partition(".")
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
        default = self.default(part)
        chosen = self.settings.get(part) or default
        if "name" not in options and (part, chosen) == ("objective", "auto"):
            chosen = "elbo"  # whose options they are
        renamed = "name" in options and part != "kind"
        chosen = options if renamed else {**as_part(chosen, default), **options}
        self.settings[part] = chosen["name"] if list(chosen) == ["name"] else chosen

    def check(self) -> None:
        """UserError for the first setting that cannot be right, whatever the source."""
        check_all(vars(self), hints_of(Recipe))
        for name in ("encoder", "decoder"):
            if self.settings.get(name, "") is None:
                del self.settings[name]
        for name in self.settings:
            self.default(name)
        check_settings(self.estimator(**self.arguments))

    def default(self, name: str) -> Any:
        """The default of a setting. UserError for one that the estimator does not have, or that is code."""
        known = settings_of(self.estimator)
        if name in known:
            return known[name]
        if owners := [each for each in ESTIMATORS if name in settings_of(getattr(vaekit, each))]:
            raise UserError(
                f"{name!r} is a setting of {' and '.join(owners)}, not of {self.estimator.__name__}: leave it out"
            )
        raise UserError(f"unknown setting {name!r}{near_matches(name, known)}")

    @property
    def kind(self) -> str:
        """The kind of data that the user names; "auto": the source decides."""
        return kind_part(self.settings.get("kind") or "auto")[0]

    @property
    def kind_class(self) -> type[Kind]:
        """The kind of data; the base of all kinds where the source tells."""
        return kinds().get(self.kind, Kind)

    @property
    def estimator(self) -> type[Any]:
        """The class of the estimator: that of the kind of data, if it has one, or else what the conditions and labels ask for."""
        own = self.kind_class.estimator
        if self.label_column and not own:
            own = "SemiSupervisedRegressor" if self.label_column.endswith(":number") else "SemiSupervisedVAE"
        return getattr(vaekit, own or ("CVAE" if self.conditions else "VAE"))

    def to_yaml(self) -> str:
        """Every setting, defaults included."""
        own = {"source", *options_of(self.kind_class.read), *(LABELLED_BY if self.label_column else ())}
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name in own}
        return to_yaml({**values, **settings_of(self.estimator), **self.settings})

    def begin(self, out: Path | None, say: Any = print) -> tuple[Any, Any, Path]:
        """The estimator before training, what it learns from, and the folder to write to: `out`, or a free one. `say` shows a line to
        the user."""
        self.check()
        if self.labels is not None and not self.label_column:
            raise UserError("--labels needs --label-column NAME, the label to predict")
        if self.label_column and (self.conditions or self.kind_class.estimator):
            raise UserError("--label-column cannot be combined with --condition or --kind: leave them out")
        if self.source is None:
            raise UserError("give a SOURCE to learn from: `vaekit fit digits` needs no file")
        ready(self.estimator(**self.arguments).tracks)
        estimator, data = self.first_estimator(), self.read_source()
        folder = Path(out) if out else free_folder(Path("runs"), data.name)
        say(f"{data.name}: {data.describe()} -> {folder}")
        if self.label_column:
            ((name, values),) = data.conditions.items()
            labels.note_words(name, values.tolist())
            self.hide_labels(data, estimator)
            say(labels.known_line(name, values, data.conditions[name], estimator.target_kind == "label"))
        return estimator, data, folder

    def train(self, out: Path | None, *, resume: bool = False, say: Any = print) -> tuple[Path, VAE]:
        """Read the source, train, write the run directory. `say` shows a line to the user."""
        estimator, data, folder = self.begin(out, say)
        bar = ProgressBar()
        try:
            with bar:
                estimator.fit_data(data, folder=folder, resume=resume, watchers=[bar], **self.about_data)
        except KeyboardInterrupt:
            if bar.over:
                say(
                    f"stopped; {folder} is trained, and `vaekit sample {folder} --sampler gmm` and `vaekit report {folder}` do "
                    "what is left"
                )
            raise
        return folder, estimator

    @property
    def about_data(self) -> dict[str, Any]:
        """Arguments of `fit_data` about the data: the kinds of conditions that the user names, and the origin of the data."""
        kinds = {name: kind for name, _, kind in (c.partition(":") for c in self.conditions) if kind}
        return {"condition_kinds": kinds, "origin": self.origin}

    def first_estimator(self) -> Any:
        """The estimator before training: a new one, or that of the run to continue."""
        estimator = self.estimator(**self.arguments)
        if not self.init:
            return estimator
        start = load(self.init)
        if type(start) is not type(estimator):
            raise UserError(
                f"--init {self.init} is a {type(start).__name__}, but these options ask for another estimator: leave them out"
            )
        return start.set_params(**self.arguments)

    @property
    def origin(self) -> dict[str, Any]:
        """The origin of the data, for the run's config."""
        source = self.source if isinstance(self.source, list) else str(self.source)
        labelled = LABELLED_BY if self.label_column else ()
        return {
            "source": source,
            "folder": str(Path.cwd()),
            **{name: getattr(self, name) for name in READ_BY},
            **({"init": self.init if is_address(self.init) else str(Path(self.init).absolute())} if self.init else {}),
            **{name: getattr(self, name) for name in labelled},
        }

    def hide_labels(self, data: Dataset, estimator: Any) -> None:
        """Keep as many labels as were asked for, and none of held-out rows."""
        ((name, truth),) = data.conditions.items()
        label = estimator.target_kind == "label"
        truth = truth if label else truth.astype(np.float64)
        seed = 0 if estimator.random_state is None else estimator.random_state
        data.conditions = {name: keep_some(name, truth, self.labels, estimator.validation, seed, label)}

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the estimator: the settings, and the conditions where one of them names these."""
        sees = self.estimator.sees
        return {**self.settings, **({sees: self.conditions} if sees and self.conditions else {})}

    def read_source(self) -> Any:
        """Read the source to learn from. UserError where it is asked for what data of this kind does not have."""
        assert self.source is not None
        conditions = (
            [self.label_column] if self.label_column else self.arguments.get(self.estimator.sees, self.conditions)
        )
        asked = {name: value for name in (*READ_BY, "strict") if (value := getattr(self, name))}
        if self.resize:
            asked["resize"] = tuple(self.resize)  # YAML gives a list
        if conditions:
            asked["conditions"] = [name.partition(":")[0] for name in conditions]
        for name in asked:
            self.check_asked(name)
        if "memory" in options_of(self.kind_class.read):
            asked["memory"] = self.estimator(**self.arguments).memory_bytes
        return self.kind_class.read(self.source, kind_part(self.settings.get("kind") or "auto")[1], **asked)

    def check_asked(self, name: str) -> None:
        """UserError where sources of this kind have no such option."""
        if name in options_of(self.kind_class.read):
            return
        flag = f"--{name.removesuffix('s') if name == 'conditions' else name}"
        if self.kind != "auto":
            raise UserError(f"{flag} is not for --kind {self.kind}: leave it out")
        owners = " or ".join(f"--kind {kind.name}" for kind in kinds().values() if name in options_of(kind.read))
        raise UserError(f"{flag} is for {owners}: add that, or leave {flag} out")


NOT_READ_BY = {"source", "conditions", "strict", "init", "settings", *LABELLED_BY}
READ_BY = tuple(f.name for f in fields(Recipe) if f.name not in NOT_READ_BY)
"""How a source is read: kept in the run, in this order, so that others are read in the same way."""


def settings_of(estimator: Any) -> dict[str, Any]:
    """The settings of an estimator that a file can hold, and their defaults."""
    parameters = inspect.signature(estimator).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in ("encoder", "decoder")}


def as_part(part: Any, default: Any) -> dict[str, Any]:
    """A part as a dict of its name and options."""
    return dict(part) if isinstance(part, Mapping) else {"name": default if part is None else part}


def options_of_kinds() -> set[str]:
    """The options of all kinds of data, such as "tokenizer"."""
    return {option for kind in kinds().values() for option in options_of(kind.infer)}


def preset(name: str) -> dict[str, Any]:
    """Settings by name, such as "act" for `vaekit.Policy` (ACT as published) or "m2" for `vaekit.SemiSupervisedVAE`.

    Returns:
        Arguments of that estimator.

    Raises:
        UserError: there is no preset of that name.

    Example:
        >>> vaekit.preset("m2")
        {'consistency': 0, 'generative': 1, 'label_weight': 60}
    """
    folder = Path(__file__).parent / "presets"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = [p.stem for p in folder.glob("*.yaml")]
        raise UserError(f"there is no preset {name!r}{near_matches(name, known)}")
    return read_yaml(path)


def free_folder(parent: Path, name: str) -> Path:
    """Return parent/name, or parent/name-2, -3, ... if that is taken."""
    folder, i = parent / name, 1
    while folder.exists():
        i += 1
        folder = parent / f"{name}-{i}"
    return folder
