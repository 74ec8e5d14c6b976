"""What every estimator shares: the settings of parts and of training, the training itself, and saving."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from vaekit.conditions import Conditions
from vaekit.distributions import LIKELIHOODS
from vaekit.errors import UserError, kept_notes, note
from vaekit.estimators.checks import PARTS
from vaekit.estimators.hub import OnHub
from vaekit.fitted import Check, Chunks, Fitted, config, learn_likelihood, model_hash
from vaekit.nets.mlp import SIZES
from vaekit.objectives import Objective
from vaekit.runs import directory
from vaekit.settings.limits import Many, Positive, Seed, Share, ShareBelow1, Whole
from vaekit.settings.options import DATA, DEVICES, MODEL, TRAINING, Search, setting
from vaekit.settings.parse import parse_bytes
from vaekit.settings.parts import Part, check_options, choose
from vaekit.show.notebook import Shown, card
from vaekit.training import Rows, Training, fit, launch, together
from vaekit.training.data import View, split
from vaekit.training.guards import seeded
from vaekit.training.stream import Streamed
from vaekit.training.trackers import FINISHED, KILLED, About, End
from vaekit.training.tracking import Tracking

CALL = 9  # an address of random numbers


@contextmanager
def kept_if_failed(estimator: Any) -> Iterator[None]:
    """If what is within fails, the estimator is as it was before."""
    before = dict(estimator.__dict__)
    try:
        yield
    except BaseException:
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        raise


def learned(name: str) -> Any:
    """An attribute of an estimator that comes from its `fitted_`."""
    return property(attrgetter(f"fitted_.{name}"))


@dataclass(eq=False, repr=False)  # it writes the __init__ that stores its arguments, as scikit-learn wants it
class Learner(OnHub, Shown, BaseEstimator):
    """Base of the estimators; see `VAE` for the arguments.

    A subclass learns what its data look like, says in `build` which model they make, and calls, within `_seeded`,
    `_assemble` and then `_train`.

    Attributes:
        fitted_: all that training made, a `vaekit.fitted.Fitted`; the other attributes are parts of it.
    """

    latent_dim: Whole = setting(
        16, "Number of latent units; 0 makes a policy without a latent, or a language model.", MODEL,
        search=Search(2, 128, log=True),
    )  # fmt: skip
    _: KW_ONLY
    kind: Part = setting(
        "auto", "The kind of data. auto recognises all kinds but series (measurements over time), audio and actions (demonstrations of a robot).", DATA,
    )  # fmt: skip
    size: str = setting("base", "Size of the networks. published: that of the paper, for policies.", MODEL, search=Search(choices=("small", "base", "large")))  # fmt: skip
    likelihood: Part = setting(
        "auto", "The distribution of the data given z. auto: normal (with a learned scale), mixed (one distribution per column) for "
        "tables, autoregressive (errors depend on earlier ones) for series, causal (token by token) for texts.", MODEL,
    )  # fmt: skip
    prior: Part = setting(
        "standard", "The distribution of z. conditional: a Normal, learned from the condition.", MODEL,
        search=Search(choices=("standard", "mixture", "flow")),
    )  # fmt: skip
    posterior: Part = setting(
        "normal",
        "The distribution of z given the data. full: a Normal with a covariance; iaf and maf: flows.",
        MODEL,
        search=Search(usual=False),
    )
    objective: Part = setting(
        "auto", "What training maximises. auto: kl_floor for texts, else elbo.",
        search=Search(choices=("elbo", "free_bits", "kl_floor", "iwae"), usual=False),
    )  # fmt: skip
    epochs: Many | None = setting(
        None, "Passes over the data. Default: as many as 4000 steps take, at least 50 (20 for texts)."
    )
    minutes: Positive | None = setting(None, "Train for this many minutes, not for a number of epochs.")
    batch_size: Many | None = setting(
        None, "Rows per step, over all devices.", search=Search(choices=(32, 64, 128, 256, 512))
    )
    learning_rate: Positive | None = setting(None, "Highest learning rate.", search=Search(1e-4, 1e-2, log=True))
    patience: Share = setting(0.2, "Stop after this share of the run without a better epoch.")
    validation: ShareBelow1 = setting(0.1, "Share of rows to hold out for choosing the best epoch.", DATA)
    random_state: Seed | None = setting(0, "Seed for everything random.", TRAINING, "--seed")
    device: str = setting(
        "auto", "Where to train and evaluate: auto (a GPU if there is one), cpu, cuda, cuda:1 or mps.", DEVICES
    )
    trainer: Mapping[str, Any] | None = None
    warm_start: bool = False

    parts: ClassVar[Mapping[str, Mapping[str, Any]]] = PARTS
    sizes: ClassVar[Mapping[str, Any]] = SIZES
    sees: ClassVar[str] = ""
    """The setting that names the conditions, where there is one."""

    if TYPE_CHECKING:  # learned, and so no argument
        fitted_: Fitted = field(init=False)

    model_ = learned("model")
    kind_ = learned("kind")
    conditions_ = learned("conditions")
    likelihood_ = learned("likelihood")
    seed_ = learned("seed")
    data_ = learned("data")
    history_ = learned("history")
    notes_ = learned("notes")
    interrupted_ = learned("interrupted")
    samplers_ = learned("samplers")
    _n_features_out = learned("model.latent_dim")

    # -- learning ------------------------------------------------------------------------------------------------------

    def build(self, kind: Any, conditions: Conditions, likelihood: Any) -> Any:
        """Make the model for this kind of rows and these conditions, with fresh weights."""
        raise NotImplementedError

    def _split(self, data: Rows) -> tuple[Tensor, Tensor]:
        """Indices of the training and of the validation rows."""
        return split(len(data), self.validation, self.seed_)

    def training(self) -> Training:
        """The `Training` of a fitted estimator: from its own settings, else what suits its kind of data, else the defaults."""
        own = {
            "epochs": self.epochs, "minutes": self.minutes, "batch_size": self.batch_size, "device": self.device,
            "learning_rate": self.learning_rate, "patience": self.patience, "seed": self.seed_, **self._training_extras(),
        }  # fmt: skip
        given = {name: value for name, value in own.items() if value is not None}
        return Training(**{**self.kind_.training, **given, **(self.trainer or {})})

    @property
    def memory_bytes(self) -> int:
        """Bytes that rows may take in training."""
        return parse_bytes({"memory": Training.memory, **(self.trainer or {})}["memory"])

    @property
    def sampler_(self) -> str:
        """Where the z of samples comes from: "prior", or a sampler that was learned on the codes."""
        return "prior"

    @property
    def iw_samples(self) -> int:
        """The default number of importance samples for the NLL."""
        return self.kind_.iw_samples

    def _training_extras(self) -> dict[str, Any]:
        return {}

    @contextmanager
    def _seeded(self) -> Iterator[tuple[int, list[str]]]:
        """`vaekit.training.guards.seeded`: the seed, and the notes that are made. If learning fails, the estimator is as it was
        before. Trackers learn how it ends."""
        seed = secrets.randbits(31) if self.random_state is None else self.random_state
        self._tracking = Tracking(self.tracks)
        try:
            with self._tracking, kept_if_failed(self), kept_notes() as notes, seeded(seed):
                yield seed, notes
                self._tracking.end = self._end()
        finally:
            del self._tracking

    def _assemble(
        self, kind: Any, conditions: Conditions, likelihood: tuple[str, Mapping[str, Any]], data: Rows, *,
        seed: int, notes: list[str], origin: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """Make the likelihood that explains the data, and the model with it; or take the fitted model, to train it further.

        likelihood: its name and options. origin: where the rows came from.
        """
        about = {**origin, "fingerprint": data.fingerprint}
        if self._warm:
            said, model = self.likelihood_, self._rebuilt()
        else:
            name, options = likelihood
            check_options("likelihood", name, options, LIKELIHOODS[name])
            options = {**kind.likelihood_options(self.size, self.latent_dim), **options}
            head = learn_likelihood(name, Chunks(data.in_memory(seed), kind), kind.unit, options)
            said, model = {"name": name, **head.options}, self.build(kind, conditions, head)
        if isinstance(data, Streamed):
            head = copy.deepcopy(model.likelihood)  # the model's own may go to a GPU
            data.check = Check(head, kind)
        settings = {**self.get_params(deep=False), "random_state": seed}
        name = type(self).__name__
        self.fitted_ = Fitted(name, settings, kind, conditions, said, model, seed, about, notes=notes)
        self.calls_ = 0

    @property
    def _warm(self) -> bool:
        """Whether `fit` continues from the fitted model: with its scaling, its classes and its weights."""
        return self.warm_start and hasattr(self, "fitted_")

    def _rebuilt(self) -> Any:
        """The fitted model with the dropout (and the like) of the settings. UserError if the settings need other weights."""
        self.fitted_.to("cpu")
        model = self.build(self.kind_, self.conditions_, self.model_.likelihood)
        try:
            model.load_state_dict(self.model_.state_dict())
        except RuntimeError as e:
            raise UserError(
                "the settings describe another model than the one to continue from: leave the settings of its parts as they were "
                f"({' '.join(str(e).split())[:200]})"
            ) from e
        return model

    def _train(self, data: Rows, folder: Path | None, resume: bool, watchers: list[Any]) -> tuple[Any, Any] | None:
        """Train the model. Returns the training and the validation rows if this process may continue by itself."""
        training, fitted = self.training(), self.fitted_
        train, valid = (View(data, rows) for rows in self._split(data))
        if not len(train):
            raise UserError(
                f"validation={self.validation} holds out all {len(valid)} rows and leaves none to learn from: give a smaller share"
            )
        fabric = launch(training)
        objective = self._objective()
        first = fabric.is_global_zero
        with together(fabric, folder), directory.training(folder, fitted, resume=resume, first=first) as run:
            if first:
                self._tracking.open(self._about(folder), resume)
            state = fit(
                fabric, fitted.model, objective, train, valid, training, to_batch=fitted.kind.batch,
                folder=folder, run=run, resume=resume, watchers=[*watchers, self._tracking] if first else [],
            )  # fmt: skip
        fitted.history, fitted.interrupted = state.history, state.interrupted
        for text in objective.notes(state.history):
            note(text)
        self.first_process_ = first
        self._save_notes(folder)
        fitted.to(self.device)
        return None if state.interrupted or fabric.world_size > 1 else (train, valid)

    @property
    def tracks(self) -> Sequence[str]:
        """Names of the trackers that follow training."""
        return (self.trainer or {}).get("track", ())

    def _about(self, folder: Path | None) -> About:
        """What trackers learn of the run before training."""
        fitted = self.fitted_
        values = config(fitted)
        size = {"parameters": sum(p.numel() for p in fitted.model.parameters())}
        data = {"rows": fitted.data["rows"], "source": fitted.data.get("source"), "kind": fitted.kind.name}
        settings = {
            "estimator": fitted.estimator,
            **values["settings"],
            "likelihood": fitted.likelihood,
            "data": data,
            **size,
        }
        return About(folder.resolve().name if folder else fitted.estimator, settings, values["vaekit"], folder)

    def _end(self) -> End:
        """What trackers learn of the run behind training."""
        fitted, folder = self.fitted_, self._tracking.folder
        tags = {"vaekit.model": model_hash(fitted)} if self._tracking.lines else {}
        files = directory.shared(folder) if folder else []
        return End(KILLED if fitted.interrupted else FINISHED, fitted.notes, tags, files)

    def _save_notes(self, folder: Path | None) -> None:
        """Keep the notes that were made so far in the run directory."""
        if folder and self.first_process_:
            directory.save_notes(folder, self.fitted_)

    def _part(self, what: str) -> Callable[..., Any]:
        """The class of a part, with its options bound."""
        name, options = choose(what, getattr(self, what), self.parts[what])
        return partial(self.parts[what][name], **options)

    def _objective(self) -> Objective:
        """The objective of a fitted estimator."""
        part = self.objective
        if part == "auto":
            part = self.kind_.objective if self.model_.latent_dim else "elbo"
        name, options = choose("objective", part, self.parts["objective"])
        return self.parts["objective"][name](**options)

    # -- the source it was trained on ----------------------------------------------------------------------------------

    def read(self, source: str | Sequence[str], *, conditions: bool = True, also: Sequence[str] = ()) -> Any:
        """Read a source as this model wants it: its columns, its size of pictures, its conditions where the source has them.

        Args:
            also: names that are read as conditions are, which the model need not know.
        """
        named = list(self.conditions_.named) if conditions else []
        return self.kind_.read_again(source, self.fitted_, named, also)

    def divide(self, data: Any) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of the training data: those that it learned from, and those that were held out."""
        train, valid = split(len(data), self.validation, self.seed_)
        return train.numpy(), valid.numpy()

    def division(self, data: Any) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers as of `divide`, for rows as the model counts them, such as windows of series."""
        return self.divide(data)

    def held_out(self, data: Any, limit: int | None = None) -> Any:
        """The rows that were held out of the training data, at most `limit`; if none were held out, all rows."""
        train, valid = self.divide(data)
        return data[(valid if len(valid) else train)[:limit]]

    def learned_from(self, data: Any, limit: int) -> Any:
        """At most `limit` rows of the training data, chosen at random from those that were not held out."""
        train, _ = self.divide(data)
        some = np.random.default_rng(0).permutation(len(train))[:limit]
        return data[train[np.sort(some)]]

    @property
    def comparison(self) -> str | None:
        """The model that this one is compared with: a name of `vaekit.recipes.comparison.COMPARISONS`, or None."""
        return self.kind_.comparison if self.latent_dim else None

    def compared(self, other: Any, results: Mapping[str, Any], X: Any, y: Mapping[str, Any]) -> dict[str, Any]:
        """Results of the other model on X and y, to add to those of `evaluate`."""
        return self.kind_.compared(results, other.score_samples(X, y, k=1))

    # -- using ---------------------------------------------------------------------------------------------------------

    def to(self, device: str) -> Any:
        """Move the model to a device: "cpu", "cuda", "cuda:1", "mps", or "auto": a GPU if there is one.

        Example:
            >>> vae.to("cpu").device
            'cpu'
        """
        check_is_fitted(self)
        self.device = device
        self.fitted_.to(device)
        return self

    def _call_seed(self, random_state: int | None) -> int:
        """The seed of a call of `sample`: the given one, else one from the estimator and the number of the call, so that calls differ."""
        if random_state is not None:
            return random_state
        call = getattr(self, "calls_", 0)  # none yet of a model that was loaded
        self.calls_ = call + 1
        return int(np.random.SeedSequence([self.seed_, CALL, call]).generate_state(1)[0]) if call else self.seed_

    def save(self, run: str | Path) -> Path:
        """Write the run directory, and remove what another model left there. `vaekit.load(run)` reads it back.

        Returns:
            The folder.

        Raises:
            UserError: the folder cannot be written.

        Example:
            >>> vaekit.load(vae.save("run")).transform(X).shape
            (40, 2)
        """
        check_is_fitted(self)
        self.fitted_.settings = {**self.get_params(deep=False), "random_state": self.seed_}
        return directory.save(Path(run), self.fitted_)

    def count_columns(self) -> None:
        """Set the attributes about columns that scikit-learn expects, if rows have columns."""

    def _card(self) -> str | None:
        return card(self) if hasattr(self, "fitted_") else None

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "fitted_")
