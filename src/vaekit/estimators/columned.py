"""What an estimator of rows checks about them: their kind, and their columns as scikit-learn does."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils.validation import _check_feature_names, _check_n_features, validate_data

from vaekit.distributions import LIKELIHOODS
from vaekit.estimators.base import Learner
from vaekit.frame import Frame, is_frame
from vaekit.kinds import Kind, chosen_kind
from vaekit.settings.parts import choose
from vaekit.sources.arrays import as_array


class Columned(Learner):
    """An estimator of rows that may have columns."""

    def _new_rows(
        self, X: Any, source: str = "auto", extra: Mapping[str, Any] | None = None
    ) -> tuple[type[Kind], dict[str, Any], Any]:
        """The kind of data of X; what its source (extra) and the user say about it; and checked rows to learn from."""
        name, _ = choose("likelihood", self.likelihood, ["auto", *LIKELIHOODS])
        found, options, X = chosen_kind(self.kind, X, name, source)
        if found.counts_columns and not isinstance(X, Frame):
            self._count_features(X, reset=True)
        options = {**(extra or {}), **options}
        return found, options, found.check(X, **options)

    def _rows(self, X: Any) -> Any:
        """Check rows against the model; if they have columns, as scikit-learn does."""
        if isinstance(X, Frame) or not self.kind_.counts_columns:
            return X
        X = as_array(X)
        self._count_features(X, reset=False)
        return X

    def _count_features(self, X: Any, *, reset: bool) -> None:
        if not is_frame(X) and getattr(X, "ndim", 2) <= 2:
            with warnings.catch_warnings():  # an array has no names: its columns are taken in their order
                warnings.filterwarnings("ignore", "X does not have valid feature names")
                validate_data(self, X, reset=reset, ensure_all_finite="allow-nan", ensure_min_samples=1 + reset)
        elif not reset:
            _check_feature_names(self, X, reset=False)
            _check_n_features(self, X, reset=False)

    def count_columns(self) -> None:
        """Set the number and the names of the columns, as scikit-learn calls them."""
        if (columns := self.kind_.column_names) is not None:
            self.n_features_in_, names = columns
            if names:
                self.feature_names_in_ = np.array(names, dtype=object)
