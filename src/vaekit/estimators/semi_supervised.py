"""VAEs that learn from many rows with few labels, and predict the label."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d
from torch import Tensor

from vaekit.conditions import Conditions
from vaekit.errors import UserError
from vaekit.estimators.base import learned
from vaekit.estimators.checks import PARTS
from vaekit.estimators.vae import VAE
from vaekit.fitted import ROWS_AT_ONCE
from vaekit.nets.population import is_known
from vaekit.runs import directory
from vaekit.settings.options import LABELS, setting
from vaekit.settings.parse import size_text
from vaekit.show.notebook import Results
from vaekit.structures.semi_supervised import (
    SemiSupervisedClassifier,
    SemiSupervisedModel,
)
from vaekit.structures.semi_supervised import SemiSupervisedRegressor as SemiSupervisedRegressorModel
from vaekit.training import Data, Rows, Training
from vaekit.training.data import fixed_uniform, rows_at_once
from vaekit.training.stream import Streamed
from vaekit.uses.labels import are_known, compare_with_alone, note_words, score_predictions, unlabelled
from vaekit.uses.temperature import temperature

ROWS_JUDGED = 64  # at a time, always: another number of rows would be rounded in another way

# What needs the terms of the bound alone, in which y is summed out.
SUMMED = ("auto", "elbo", "iwae", "free_bits", "capacity", "kl_floor", "kl_target", "geco")


@dataclass(eq=False, repr=False, kw_only=True)
class SemiSupervised(VAE):
    """Base of both estimators of few labels. A subclass says how y becomes a condition, and what is predicted."""

    consistency: float = setting(1.0, "Weight of giving close rows the same prediction.", LABELS)
    generative: float = setting(0.0, "How much the classifier learns from the bound; 1: M2 as published.", LABELS)
    label_weight: float = setting(1.0, "Weight of the labels against the bound.", LABELS)
    calibrate: bool = setting(True, "Train a second classifier to calibrate the probabilities.", LABELS)
    radius: float = setting(0.3, "Distance up to which rows are close, as a share of the spread of the data.", LABELS)

    parts: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **PARTS,
        "structure": {"flat": PARTS["structure"]["flat"]},
        "objective": {name: PARTS["objective"][name] for name in SUMMED},
    }
    target_kind: ClassVar[str]
    temperature_ = learned("temperature")
    model: ClassVar[type[SemiSupervisedModel]]

    # -- learning ------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> Any:
        """Train on X (N, ...) and y, one value per row. Most of them may be unknown.

        Raises:
            UserError: y is None, or all of it is unknown.
        """
        if y is None:
            raise UserError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: give a value for at least some "
                "rows, or use VAE"
            )
        if self.target_kind == "label":
            note_words("y", (v for v in np.ravel(np.asarray(y, dtype=object)) if isinstance(v, str)))
        return self.fit_rows(X, {"y": y})

    def fit_rows(self, X: Any, y: Mapping[str, Any], **options: Any) -> Any:
        """Train as `VAE.fit_rows` does. y is one condition, the target, by its name."""
        if len(y) != 1:
            raise UserError(f"{type(self).__name__} predicts one target, got {', '.join(y) or 'none'}")
        ((name, values),) = y.items()
        options["condition_kinds"] = {name: self.target_kind}
        return super().fit_rows(X, {name: self._targets(values)}, **options)

    def _targets(self, y: Any) -> np.ndarray:
        """Turn y from the user's form into an array, None or NaN where it is unknown. UserError if all of it is unknown."""
        raise NotImplementedError

    def _start(self, data: Rows) -> None:
        super()._start(data)
        self._show_labels(data)

    def _show_labels(self, data: Rows) -> None:
        """Give the labelled rows to the model, which learns from all of them at each step."""
        labelled = is_known(data.y[self.target_]).nonzero().squeeze(1)
        size = 4 * len(labelled) * math.prod(data.event)
        if isinstance(data, Streamed) and size > data.memory:
            raise UserError(
                f"the {len(labelled):,} labelled rows are held in memory and take {size_text(size)}, more than memory "
                f"{size_text(data.memory)}: give --memory {size_text(size)} or more, or a column with fewer labels"
            )
        some = data[labelled]
        self.model_.learn_from(self.kind_.batch(some.x, fixed_uniform()), some.mask, some.y[self.target_])

    def build(self, kind: Any, conditions: Conditions, likelihood: Any) -> SemiSupervisedModel:
        chosen = kind.classifier_network(self.size, self.network)
        flat = self._built(kind, conditions, likelihood, chosen)
        flat.condition.population = None  # it sums over y itself
        network, _ = kind.networks(self.size, chosen)
        ((target, condition),) = conditions.named.items()
        outputs = condition.size if self.target_kind == "label" else 2 * condition.size
        return self.model(
            flat, network(likelihood.input_shape, (outputs,), 0), target, kind.perturb, consistency=self.consistency,
            generative=self.generative, label_weight=self.label_weight, radius=self.radius * kind.perturb_radius,
            **self._known_of(condition),
        )  # fmt: skip

    def _known_of(self, condition: Any) -> dict[str, Any]:
        return {}

    def _split(self, data: Rows) -> tuple[Tensor, Tensor]:
        """Hold out no labels: there are few."""
        train, valid = super()._split(data)
        labelled = is_known(data.y[self.target_])[valid]
        return torch.cat([train, valid[labelled]]).sort().values, valid[~labelled]

    def training(self) -> Training:
        training = super().training()
        # The last weights: the best epoch of the bound need not be that of the predictions, and no label is held out.
        training.keep, training.patience, training.condition_dropout = "last", 1.0, 0.0
        return training

    def _learn(self, data: Rows, folder: Path | None, resume: bool, watchers: list[Any]) -> VAE:
        """As in `VAE`; then learn how sure predictions should be."""
        super()._learn(data, folder, resume, watchers)
        if self.calibrate and self.first_process_ and not self.interrupted_:
            self.fitted_.temperature = temperature(self, data)
            if folder:
                directory.save_temperature(folder, self.fitted_)
        self._save_notes(folder)
        return self

    def _fit_sampler(self, name: str, options: dict[str, Any], train: Any, valid: Any, **how: Any) -> VAE:
        completed = []
        for part in (train, valid):
            labels = [self._completed(c) for c in part.chunks(rows_at_once(self.model_, part, most=ROWS_AT_ONCE))]
            completed.append(part.given({self.target_: torch.cat(labels)}) if labels else part)
        return super()._fit_sampler(name, options, *completed, **how)

    # -- using ---------------------------------------------------------------------------------------------------------

    def _given(self, y: Any) -> dict[str, Any]:
        given = self._fitted().conditions.name(y)
        return {k: v if np.ndim(v) == 0 else self._marked(v) for k, v in given.items()}

    def _marked(self, y: Any) -> np.ndarray:
        """Turn y from the user's form into an array, None or NaN where it is unknown."""
        raise NotImplementedError

    @property
    def target_(self) -> str:
        """The name of y."""
        return next(iter(self.conditions_.named))

    @property
    def _condition(self) -> Any:
        return self.conditions_.named[self.target_]

    def _judged(self, X: Any) -> Tensor:
        """The classifier's outputs, (N, outputs) float64."""
        fitted = self._fitted()
        data, model = self.packed(X, None), fitted.model
        with torch.no_grad():
            every = data.filled(math.ceil(len(data) / ROWS_JUDGED) * ROWS_JUDGED)
            judged = [model.judge(c.x, c.mask).double().cpu() for c in fitted.chunks(every, most=ROWS_JUDGED)]
            return torch.cat(judged)[: len(data)]

    @torch.no_grad()
    def _completed(self, data: Data) -> Tensor:
        """The target of packed rows, predicted where it is unknown."""
        data = data.to(self.fitted_.device)
        x = self.kind_.batch(data.x, fixed_uniform())
        return self.model_.completed(data.y, self.model_.judge(x.float(), data.mask)).cpu()

    def _known_or_predicted(self, X: Any, y: Any) -> Any:
        """y in the user's form, predicted where it is unknown."""
        check_is_fitted(self)
        given = self.conditions_.name(y).get(self.target_)
        if given is None:
            return self.predict(X)  # type: ignore[attr-defined]
        if np.ndim(given) == 0:
            return given
        values = self._marked(given).copy()
        missing = ~are_known(values, self.target_kind == "label")
        if missing.any():
            values[missing] = np.reshape(self.predict(X), values.shape)[missing]  # type: ignore[attr-defined]
        return values

    @property
    def comparison(self) -> str | None:
        return "labels_alone"

    def compared(self, other: Any, results: Mapping[str, Any], X: Any, y: Mapping[str, Any]) -> dict[str, Any]:
        return compare_with_alone(other, X, y[self.target_]) if self.target_ in y else {}

    def inverse_transform(self, Z: Any, y: Any = None, **options: Any) -> np.ndarray:
        """Decode latent codes (N, latent_dim), with the target of each, to rows in the form of X; see `VAE.inverse_transform`.

        Raises:
            UserError: y is None: a code alone does not determine a row.
        """
        if y is None:
            raise UserError("a code alone does not determine a row: give y too, such as the result of `predict`")
        return super().inverse_transform(Z, y, **options)

    def reconstruct(self, X: Any, y: Any = None, **options: Any) -> np.ndarray:
        """Encode and decode X; see `VAE.reconstruct`. y is predicted if it is left out or unknown."""
        return super().reconstruct(X, self._known_or_predicted(X, y), **options)

    def impute(self, X: Any, y: Any = None, **options: Any) -> Any:
        """Fill the gaps of X; see `VAE.impute`. y is predicted if it is left out."""
        return super().impute(X, self._known_or_predicted(X, y), **options)

    def interpolate(self, a: Any, b: Any, steps: int = 9, y: Any = None, **options: Any) -> np.ndarray:
        """Walk from row a to row b through the latent space; see `VAE.interpolate`.

        y is the same along the way. If it is left out, it is what is predicted for a.
        """
        if self.target_ not in self.conditions_.name(y):
            y = self.predict(self.kind_.ends(a, b))[0]
        return super().interpolate(a, b, steps, y, **options)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The share of right labels, or R2 for numbers. Rows with an unknown y do not count."""
        rows, truth = self.kind_.take(self._rows(X)), self._marked(y)
        some = np.flatnonzero(are_known(truth, self.target_kind == "label"))
        if not len(some):
            raise UserError("y is unknown in all rows: give rows with a known y to score predictions")
        return score_predictions(
            self, rows[some], truth[some], None if sample_weight is None else np.asarray(sample_weight)[some]
        )

    def evaluate(self, X: Any, y: Any = None, **options: Any) -> Results:
        """Measure as `VAE.evaluate` does, for log p(x) where y is unknown and log p(x|y) where it is known.

        Also "known", the number of rows with a known y, and for these "accuracy", the share of right labels, or "r2".
        """
        label, rows = self.target_kind == "label", self.kind_.take(self._rows(X))
        nothing = np.full(len(rows) if label else (len(rows), self._condition.size), None)
        truth = self._marked(self.conditions_.name(y).get(self.target_, nothing))
        results = super().evaluate(X, {self.target_: truth}, **options)
        some = np.flatnonzero(are_known(truth, label))
        if len(some):
            results |= {
                "known": len(some),
                "accuracy" if label else "r2": score_predictions(self, rows[some], truth[some]),
            }
        return results


@dataclass(eq=False, repr=False, kw_only=True)
class SemiSupervisedVAE(ClassifierMixin, SemiSupervised):
    """A classifier that also learns from rows without a label, and a model of the rows, p(x, y) = p(y) p(x|y), to sample from.

    y is (N,): labels of any kind, numbers or text. Unknown is -1, None or NaN, and among words also "", "-1" and "nan", which a note
    counts. Where y is unknown it is summed out (M2 of Kingma et al. 2014, arXiv 1406.5298). The classifier q(y|x) learns from the labels, and
    to predict the same for rows near to each other: see `vaekit.structures.semi_supervised.SemiSupervisedModel`. It takes all data that
    `VAE` takes. M1+M2 is a pipeline: `make_pipeline(VAE(), SemiSupervisedVAE())`.

    Args:
        consistency: weight of predicting the same for near rows; 0 leaves the labels, and what `generative` adds.
        generative: how much the classifier learns from the bound. 1 is M2 as published, with `consistency=0`. The default is 0: the
            classes that explain the pictures best need not be yours.
        label_weight: weight of the labels against the bound, which has many nats: for example 60 if `generative` is 1.
        radius: how far near rows may be, as a share of the spread of the rows.
        calibrate: make probabilities (for numbers, standard deviations) as sure as predictions are right. For that it trains
            classifiers on half of the labels, which takes a fifth of the training time for pictures, and a half to all of it for
            texts. See `vaekit.uses.temperature`.
        network: "auto" means MLPs also for pictures of at most 1024 values.

    The other arguments and attributes are those of `VAE`. The last epoch's weights are kept, and no labelled row is held out for
    validation.

    Attributes:
        classes_: the labels, sorted.
        model_: the trained `SemiSupervisedClassifier`.
        temperature_: divides the classifier's outputs in `predict_proba`; 1 if they are not calibrated.

    Example:
        >>> few = np.where(np.arange(40) < 10, y, None)  # 10 labels
        >>> model = vaekit.SemiSupervisedVAE(2, size="small", epochs=1, calibrate=False, sampler="prior").fit(X, few)
        >>> model.predict_proba(X).shape, model.classes_.tolist()
        ((40, 2), ['high', 'low'])
    """

    target_kind: ClassVar[str] = "label"
    model: ClassVar[type[SemiSupervisedModel]] = SemiSupervisedClassifier

    def _targets(self, y: Any) -> np.ndarray:
        y = column_or_1d(np.asarray(y, dtype=None if hasattr(y, "dtype") else object), warn=True)
        labels = self._marked(y)
        known = np.array([v for v in labels if v is not None])
        if not len(known):
            raise UserError(
                "no row has a label (y is -1 or missing everywhere): label some rows of each class, or use VAE"
            )
        check_classification_targets(known)
        return labels

    score = SemiSupervised.score  # the mixin's counts rows without a label as wrong

    def _known_of(self, condition: Any) -> dict[str, Any]:
        return {"shares": torch.tensor(condition.shares)}

    def _marked(self, y: Any) -> np.ndarray:
        return np.array([None if unlabelled(v) else v for v in np.ravel(y).tolist()], dtype=object)

    @property
    def classes_(self) -> np.ndarray:
        """The labels, sorted: (classes,)."""
        return np.array(self._condition.classes)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, q(y|x) at `temperature_`: (N, classes) float64, in the order of `classes_`."""
        return (self._judged(X) / self.temperature_).softmax(1).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest label of each row, (N,)."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(1)]

    def predicted(self, X: Any) -> dict[str, np.ndarray]:
        """Predictions as columns (N,) by name: the likeliest label, and "p(CLASS)", the probability of each class."""
        p = self.predict_proba(X)
        return {self.target_: self.classes_[p.argmax(1)]} | {f"p({c})": p[:, i] for i, c in enumerate(self.classes_)}


@dataclass(eq=False, repr=False, kw_only=True)
class SemiSupervisedRegressor(RegressorMixin, SemiSupervised):
    """A regressor that also learns from rows without a number, and a model of the rows to sample from.

    y is (N,) or (N, size), NaN where it is unknown. q(y|x) is a Normal, and p(y) is the Normal of the known y. The arguments are those of
    `SemiSupervisedVAE`.

    Attributes:
        model_: the trained `SemiSupervisedRegressor` of `vaekit.structures`.
        temperature_: multiplies the standard deviations of `predict`.

    Example:
        >>> few = np.where(np.arange(40) < 10, X[:, 0], np.nan)  # 10 known numbers
        >>> model = vaekit.SemiSupervisedRegressor(2, size="small", epochs=1, calibrate=False, sampler="prior").fit(X, few)
        >>> [each.shape for each in model.predict(X, return_std=True)]
        [(40,), (40,)]
    """

    target_kind: ClassVar[str] = "number"
    model: ClassVar[type[SemiSupervisedModel]] = SemiSupervisedRegressorModel

    def _targets(self, y: Any) -> np.ndarray:
        values = self._marked(y)
        if np.isnan(values).all():
            raise UserError("no row has a y (all values are NaN): give some values, or use VAE")
        return values

    def _marked(self, y: Any) -> np.ndarray:
        try:
            return np.asarray(y, dtype=np.float64)
        except (TypeError, ValueError):
            raise UserError(
                f"y has to be numbers, or NaN where it is unknown, got {np.ravel(np.asarray(y, dtype=object))[0]!r}"
            ) from None

    score = SemiSupervised.score

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The mean of q(y|x), (N,) or (N, size), in the units of y. With `return_std` also its standard deviation, of the same shape."""
        check_is_fitted(self)
        condition = self._condition
        q = self.model_.of(self._judged(X))
        scale, one = np.asarray(condition.scale), condition.size == 1
        found = q.loc.numpy() * scale + np.asarray(condition.mean), q.scale.numpy() * scale * self.temperature_
        mean, deviation = (values[:, 0] if one else values for values in found)
        return (mean, deviation) if return_std else mean

    def predicted(self, X: Any) -> dict[str, np.ndarray]:
        """Predictions as columns (N,) by name: each number of y, then "NAME sd", its standard deviation."""
        mean, deviation = (values.reshape(len(values), -1).T for values in self.predict(X, return_std=True))
        names = [self.target_] if len(mean) == 1 else [f"{self.target_}{i}" for i in range(len(mean))]
        return dict(zip([*names, *(f"{name} sd" for name in names)], [*mean, *deviation], strict=True))

    def sample(self, n_samples: int = 1, y: Any = None, *, random_state: int | None = None, **options: Any) -> Any:
        """Draw new rows with the target y. If y is left out, targets are drawn from the model's Normal p(y). See `VAE.sample`."""
        check_is_fitted(self)
        seed = self._call_seed(random_state)
        if y is None:
            condition = self._condition
            random = np.random.default_rng([seed, 1])
            y = condition.mean + random.normal(size=(n_samples, condition.size)) * condition.scale
        return super().sample(n_samples, y, random_state=seed, **options)
