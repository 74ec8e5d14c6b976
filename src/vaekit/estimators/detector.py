"""Anomaly detection: a VAE that has learned what is normal, a score of how normal a row is, and decisions that you can trust."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted, validate_data

from vaekit.errors import UserError, extra_needed, near_matches, note
from vaekit.estimators.base import kept_if_failed
from vaekit.estimators.hub import OnHub
from vaekit.estimators.vae import VAE
from vaekit.fitted import Fitted
from vaekit.kinds import chosen_kind
from vaekit.runs.hub import folder_of, is_address, pinned
from vaekit.runs.load import load
from vaekit.settings.limits import Seed, Within, check_call
from vaekit.show.notebook import Shown, detector_card
from vaekit.sources.base import Dataset
from vaekit.training.data import split
from vaekit.uses.calibration import DETECTOR, MEMBER, Calibration, kept, members
from vaekit.uses.conformal import discoveries, limit, p_values
from vaekit.uses.scores import SCORES

NOISE = (0.3, 0.1, 0.03)  # standard deviations of a column


class AnomalyDetector(OnHub, Shown, OutlierMixin, BaseEstimator):
    """Finds rows that are not like the rows it was fitted to.

    X is what `vaekit.VAE` takes: (N, columns), NaN where a value is missing, pictures, tables, texts, or windows of a series, one per row.
    Fit it to normal rows only, if you can. A few anomalies among them hardly change the order of scores, but make p-values larger than
    they should be.

    Some rows are held out from all learning, for calibration: a row's p-value is the rank of its score among theirs. It holds
    whatever the model has learned, as long as normal rows come from the same process as the calibration rows.

    Args:
        estimator: the `VAE` to learn with, which is cloned; it has the settings, as in AnomalyDetector(VAE(epochs=3)). None: a VAE
            with default arguments; for arrays of numbers three small VAEs that learn from all rows but the calibration rows, with
            likelihoods of fixed scale, 0.3, 0.1 and 0.03 standard deviations of a column. The density is the mean of theirs. Much
            noise suits sparse rows, since a model that explains a column ever more exactly is surprised by each new row. Little
            noise finds what is odd within a dense region, such as a row just beside a thin sheet of others.
        method: a score of `vaekit.uses.scores.SCORES`, or "auto": "path" for pictures, else "exemplars", or "loglik" if posteriors are not
            Normal.
        contamination: share of the rows given to `fit` that `predict` calls anomalies.
        calibration: share of the rows to hold out; none if there are fewer than 10 rows. No p-value is below
            1 / (held-out rows + 1).
        random_state: seed of everything random, the VAE's own included. None: a new one at each fit.

    Attributes:
        models_: the fitted `VAE`s, only one if `estimator` was given. model_: the first of them.
        calibration_: the `vaekit.uses.calibration.Calibration`, which scores rows and knows the scores of the held-out rows.
        calibration_scores_: scores of the held-out rows, (n,); of half of them for method "path", which learns from the others.
        training_scores_: scores of all rows given to `fit`, (N,).
        offset_: the score that separates anomalies from normal rows in `predict`.
        n_features_in_: number of columns of X (numbers only).

    Example:
        >>> detector = vaekit.AnomalyDetector(vaekit.VAE(2, size="small", epochs=1)).fit(X)
        >>> detector.predict(X).shape, bool(detector.p_values(X).min() >= 1 / 9)  # 8 of 40 rows calibrate
        ((40,), True)
    """

    def __init__(
        self,
        estimator: VAE | None = None,
        *,
        method: str = "auto",
        contamination: Annotated[float, Within(0, 0.5, above=True)] = 0.1,
        calibration: Annotated[float, Within(0, 0.9, above=True)] = 0.2,
        random_state: Seed | None = 0,
    ):
        self.estimator = estimator
        self.method = method
        self.contamination = contamination
        self.calibration = calibration
        self.random_state = random_state

    # -- learning ------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> AnomalyDetector:
        """Learn from rows X (N, ...), most of them normal. y is ignored.

        Raises:
            UserError: an unknown method, or a wrong setting or X.
        """
        check_call(AnomalyDetector, **self.get_params(deep=False))
        methods = ["auto", *SCORES]
        if self.method not in methods:
            raise UserError(f"method {self.method!r} is not one of the choices{near_matches(self.method, methods)}")
        with kept_if_failed(self):
            self._fit(X)
        return self

    def _fit(self, X: Any) -> None:
        X = self._checked(X, reset=True)
        seed = secrets.randbits(31) if self.random_state is None else self.random_state
        models = [clone(self.estimator)] if self.estimator is not None else default(X, self.method)
        learned, held_out = (part.numpy() for part in split(len(X), self.calibration, seed))
        self.models_ = [model.set_params(random_state=seed).fit(_safe_indexing(X, learned)) for model in models]
        self._adopt_names()
        kind = self.model_.kind_
        data = Dataset(kind.take(X), kind.name, "X", None, {}, [])
        self.calibration_ = Calibration([model.fitted_ for model in self.models_], self.method)
        shares = kind.numeric or bool(kind.value_names)
        self.calibration_.calibrate((data, held_out), "held out by the detector", (data, learned), shares=shares)
        self.training_scores_ = self.score_samples(X)
        self.offset_ = float(np.percentile(self.training_scores_, 100 * self.contamination))

    # -- using ---------------------------------------------------------------------------------------------------------

    def score_samples(self, X: Any) -> np.ndarray:
        """Score how normal each row is, (N,) float64; higher is more normal. "exemplars" and "loglik" are in nats."""
        check_is_fitted(self)
        return self.calibration_.score_samples(self._checked(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` minus `offset_`, (N,): below 0 for what `predict` calls an anomaly."""
        return self.score_samples(X) - self.offset_

    def p_values(self, X: Any) -> np.ndarray:
        """The split-conformal p-value of each row, (N,): at most a share a of normal rows gets a p-value of at most a.

        See `vaekit.uses.conformal`: it holds for rows that come as the calibration rows did, not for neighbours in time.

        Raises:
            UserError: no rows were held out, because `fit` had fewer than 10.
        """
        scores = self.score_samples(X)
        if not len(self.calibration_scores_):
            raise UserError("no rows were held out to calibrate on: fit to at least 10 rows for p-values")
        return p_values(scores, self.calibration_scores_)

    def predict(self, X: Any, *, fdr: float | None = None) -> np.ndarray:
        """Return -1 for an anomaly and 1 for a normal row, (N,).

        Args:
            fdr: None: anomalies are the rows whose score is below `offset_`. Else the rows X are judged together: on average, at most
                a share `fdr` of the anomalies is normal (Benjamini and Hochberg 1995). Use it for new rows: among the rows given to
                `fit`, anomalies are as frequent as among the calibration rows, so it finds none.
        """
        if fdr is None:
            return np.where(self.decision_function(X) < 0, -1, 1)
        p = self.p_values(X)
        odd = discoveries(p, fdr)
        if not odd.any() and (cannot := limit(len(p), len(self.calibration_scores_), fdr)):
            note(f"{cannot}: fit to more rows, with a larger calibration share, or judge fewer rows at a time")
        return np.where(odd, -1, 1)

    def contributions(self, X: Any) -> np.ndarray:
        """The contribution of each column to how odd a row is, in nats, in the form of X: (N, ...), 0 for a missing value.

        It is how surprising the value is given the reconstruction of the whole row, -E[log p(x_j|z)] over p(z|x), minus the median of
        that over calibration rows: about 0 is usual, above 0 is odd. It shows where the model cannot follow a row. A row whose
        code is odd, but whose columns are all rebuilt well, has no contribution.
        """
        check_is_fitted(self)
        return self.calibration_.contributions(self._checked(X))

    # -- files ---------------------------------------------------------------------------------------------------------

    def save(self, run: str | Path) -> Path:
        """Write the first VAE's run directory and, in it, the others and what the detector knows. `AnomalyDetector.load(run)` reads it back."""
        check_is_fitted(self)
        folder, *_ = [model.save(Path(run) / MEMBER.format(i) if i else run) for i, model in enumerate(self.models_)]
        settings = {name: getattr(self, name) for name in ("method", "contamination", "calibration", "random_state")}
        self.calibration_.write(folder / DETECTOR, {"training": self.training_scores_}, settings=settings)
        return folder

    @classmethod
    def load(cls, run: str | Path, *, device: str = "auto") -> AnomalyDetector:
        """Load the fitted detector from a run directory that `save` wrote, or from hf://user/name.

        Args:
            device: as for `vaekit.load`.

        Raises:
            UserError: the run has no detector, or its files are damaged.
        """
        place = folder_of(run)
        models = [load(folder, device=device) for folder in members(place)]
        if not (place / DETECTOR).exists():
            raise UserError(f"{run} is a run without an AnomalyDetector: load it with vaekit.load")

        def rebuilt(fitteds: Any, arrays: Any, about: Any) -> AnomalyDetector:
            self = cls(clone(models[0]) if len(fitteds) == 1 else None, **about["settings"])
            self.models_, self.training_scores_ = models[: len(fitteds)], arrays["training"]
            self.calibration_ = Calibration.rebuilt(fitteds, arrays, about)
            return self

        self = kept(place / DETECTOR, [model.fitted_ for model in models], rebuilt)
        self.offset_ = float(np.percentile(self.training_scores_, 100 * self.contamination))
        self._adopt_names()
        if is_address(run):
            self.hub_ = pinned(run, place)
        return self

    @classmethod
    def _loaded(cls, run: str | Path, **options: Any) -> AnomalyDetector:
        return cls.load(run, **options)

    @property
    def fitted_(self) -> Fitted:
        return self.model_.fitted_

    @property
    def model_(self) -> VAE:
        return self.models_[0]

    @property
    def calibration_scores_(self) -> np.ndarray:
        return self.calibration_.scores

    def _card(self) -> str | None:
        return detector_card(self) if hasattr(self, "models_") else None

    # -- details -------------------------------------------------------------------------------------------------------

    def _checked(self, X: Any, *, reset: bool = False) -> Any:
        """Check arrays of rows as scikit-learn does; the VAE checks pictures, tables and texts."""
        kind, _, X = chosen_kind(getattr(self.estimator, "kind", "auto"), X)
        if not kind.counts_columns:
            return X
        return validate_data(self, X, reset=reset, ensure_all_finite="allow-nan", ensure_min_samples=1 + reset)

    def _adopt_names(self) -> None:
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.model_, name):
                setattr(self, name, getattr(self.model_, name))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def default(X: Any, method: str = "auto") -> list[VAE]:
    """The default VAEs for rows X. Scores that are not densities cannot be averaged: then it is one VAE."""
    if not chosen_kind("auto", X)[0].counts_columns or np.isin(X, (0, 1)).all():
        return [VAE(sampler="prior")]
    noises = NOISE if method in ("auto", "exemplars", "loglik") else NOISE[:1]
    likelihoods = [{"name": "normal", "scale": noise} for noise in noises]
    return [VAE(size="small", likelihood=each, validation=0.0, sampler="prior") for each in likelihoods]


def to_pyod(detector: AnomalyDetector) -> Any:
    """The detector in the form of PyOD: high scores and label 1 are anomalies. It is fitted if the detector is.

    Returns:
        A `pyod.models.base.BaseDetector`, with all its methods (`predict_proba`, `predict_confidence`, ...). Its `fit` fits a clone.

    Raises:
        UserError: the extra `pyod` is not installed.

    Example:
        >>> detector = vaekit.AnomalyDetector(vaekit.VAE(2, size="small", epochs=1)).fit(X)
        >>> vaekit.to_pyod(detector).decision_function(X).shape
        (40,)
    """
    try:
        from vaekit.uses.pyod import PyODDetector
    except ModuleNotFoundError as e:
        raise extra_needed("pyod", "pyod") from e
    return PyODDetector(detector)
