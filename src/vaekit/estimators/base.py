"""What every estimator shares: the settings of parts and of training, the training itself, and saving."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from vaekit.conditions import Conditions
from vaekit.distributions import LIKELIHOODS
from vaekit.errors import UserError, kept_notes, note
from vaekit.estimators.checks import PARTS
from vaekit.fitted import Chunks, fingerprint, learn_likelihood
from vaekit.nets.mlp import SIZES
from vaekit.objectives import Objective
from vaekit.runs import directory as run_directory
from vaekit.settings.limits import Many, Positive, Seed, Share, ShareBelow1, Whole
from vaekit.settings.parts import Part, check_options, choose
from vaekit.training import Data, Training, disband, fit, launch
from vaekit.training.data import split, subset
from vaekit.training.guards import seeded

CALL = 9  # an address of random numbers


@dataclass(eq=False, repr=False)  # it writes the __init__ that stores its arguments, as scikit-learn wants it
class Learner(BaseEstimator):
    """Base of the estimators; see `VAE` for the arguments.

    A subclass learns `kind_` and `conditions_`, says in `_build` which model they make, and calls, within `_seeded`,
    `_assemble` and then `_train`.
    """

    latent_dim: Whole = 16
    _: KW_ONLY
    size: str = "base"
    likelihood: Part = "auto"
    prior: Part = "standard"
    posterior: Part = "normal"
    objective: Part = "auto"
    epochs: Many | None = None
    minutes: Positive | None = None
    batch_size: Many | None = None
    learning_rate: Positive | None = None
    patience: Share = 0.2
    validation: ShareBelow1 = 0.1
    random_state: Seed | None = 0
    trainer: Mapping[str, Any] | None = None
    warm_start: bool = False

    parts: ClassVar[Mapping[str, Mapping[str, Any]]] = PARTS
    sizes: ClassVar[Mapping[str, Any]] = SIZES

    if TYPE_CHECKING:  # learned, and so no arguments
        kind_: Any = field(init=False)
        conditions_: Conditions = field(init=False)
        model_: Any = field(init=False)

    # -- learning ------------------------------------------------------------------------------------------------------

    def _build(self, likelihood: Any) -> Any:
        """The model for this schema, with fresh weights."""
        raise NotImplementedError

    def _split(self, data: Data) -> tuple[Tensor, Tensor]:
        """Indices of the training and of the validation rows."""
        return split(len(data), self.validation, self.seed_)

    def _training(self) -> Training:
        """How to train: as the user says, else as suits data of this kind, else as `Training` has it."""
        own = {
            "epochs": self.epochs, "minutes": self.minutes, "batch_size": self.batch_size,
            "learning_rate": self.learning_rate, "patience": self.patience, "seed": self.seed_, **self._training_extras(),
        }  # fmt: skip
        given = {name: value for name, value in own.items() if value is not None}
        return Training(**{**self.kind_.training, **given, **(self.trainer or {})})

    @property
    def iw_samples(self) -> int:
        """Importance samples for the NLL, where nothing else is asked for."""
        return self.kind_.iw_samples

    def _training_extras(self) -> dict[str, Any]:
        return {}

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """`vaekit.training.guards.seeded`. Notes are kept; an estimator whose learning fails is as it was before."""
        before = dict(self.__dict__)
        self.seed_ = secrets.randbits(31) if self.random_state is None else self.random_state
        self.calls_ = 0
        try:
            with kept_notes() as self.notes_, seeded(self.seed_):
                yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _assemble(self, name: str, options: Mapping[str, Any], data: Data, origin: Mapping[str, Any]) -> None:
        """The likelihood that explains the data, and the model with it; or the model that is there, to be trained further."""
        self.data_ = {**origin, "fingerprint": fingerprint(data)}
        if self._warm:
            self.model_ = self._rebuilt()
            return
        check_options("likelihood", name, options, LIKELIHOODS[name])
        options = {**self.kind_.likelihood_options(self.size, self.latent_dim), **options}
        likelihood = learn_likelihood(name, Chunks(data, self.kind_), self.kind_.unit, options)
        self.likelihood_ = {"name": name, **likelihood.options}
        self.model_ = self._build(likelihood)

    @property
    def _warm(self) -> bool:
        """Whether `fit` goes on from the fitted model: with its scaling, its classes and its weights."""
        return self.warm_start and hasattr(self, "model_")

    def _rebuilt(self) -> Any:
        """The fitted model with what the settings say of dropout and the like. UserError where they ask for other weights."""
        model = self._build(self.model_.likelihood)
        try:
            model.load_state_dict(self.model_.state_dict())
        except RuntimeError as e:
            raise UserError(
                "the settings ask for another model than the one to go on from: leave those of its parts as they were "
                f"({' '.join(str(e).split())[:200]})"
            ) from e
        return model

    def _train(self, data: Data, folder: Path | None, resume: bool, watchers: list[Any]) -> tuple[Data, Data] | None:
        """Train `model_`; returns the training and the validation rows where this process may go on by itself."""
        training = self._training()
        train, valid = (subset(data, rows) for rows in self._split(data))
        if not len(train):
            raise UserError(
                f"validation={self.validation} holds out all {len(valid)} rows, and none is left to learn from"
            )
        fabric = launch(training)
        objective = self._objective()
        first = fabric.is_global_zero
        with run_directory.training(folder, self, resume=resume, first=first) as run:
            if folder and first and training.tensorboard:
                from vaekit.training.progress import TensorBoard

                watchers.append(TensorBoard(folder / run_directory.TENSORBOARD))
            state = fit(
                fabric, self.model_, objective, train, valid, training, to_batch=self.kind_.batch,
                folder=folder, run=run, resume=resume, watchers=watchers if first else [],
            )  # fmt: skip
        disband(fabric)
        self.history_ = state.history
        for text in objective.notes(state.history):
            note(text)
        self.interrupted_ = state.interrupted
        self.first_process_ = first
        self.samplers_: dict[str, nn.Module] = {}
        self.sampler_options_: dict[str, dict[str, Any]] = {}
        self._n_features_out = self.model_.latent_dim
        return None if state.interrupted or fabric.world_size > 1 else (train, valid)

    def _part(self, what: str) -> Callable[..., Any]:
        """The class of a part, its options bound."""
        part = getattr(self, what)
        if what == "objective" and part == "auto":
            part = self.kind_.objective if self.model_.latent_dim else "elbo"
        name, options = choose(what, part, self.parts[what])
        return partial(self.parts[what][name], **options)

    def _objective(self) -> Objective:
        return self._part("objective")()

    # -- using ---------------------------------------------------------------------------------------------------------

    def _call_seed(self, random_state: int | None) -> int:
        """The seed of a call of `sample`: as said; else of the estimator and the number of the call, so that calls differ."""
        if random_state is not None:
            return random_state
        call = getattr(self, "calls_", 0)  # none yet of a model that was loaded
        self.calls_ = call + 1
        return int(np.random.SeedSequence([self.seed_, CALL, call]).generate_state(1)[0]) if call else self.seed_

    def save(self, run: str | Path) -> Path:
        """Write the run directory; `vaekit.load(run)` reads it back. What another model left there is removed."""
        check_is_fitted(self)
        return run_directory.save(Path(run), self)

    def _model(self) -> Any:
        """The model in float64: what it says of a row then does not depend on the rows beside it."""
        check_is_fitted(self)
        return copy.deepcopy(self.model_).double()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")
