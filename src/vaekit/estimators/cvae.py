"""CVAE: a VAE in which every part also sees what is known about a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vaekit.errors import UserError
from vaekit.estimators.vae import VAE
from vaekit.settings.limits import Share
from vaekit.settings.options import MODEL, setting


@dataclass(eq=False, repr=False, kw_only=True)
class CVAE(VAE):
    """A conditional variational autoencoder: every part also sees y, and knows what to do if y is unknown.

    y is (N,) labels or numbers, (N, size) numbers, or a dict or DataFrame of several by name. Unknown is None for a label and NaN for a
    number. The other arguments and attributes are those of `VAE`.

    Args:
        condition_dropout: probability with which training hides a condition, so that the model also works, and samples, without it.

    Source: Sohn, Lee & Yan 2015, "Learning Structured Output Representation using Deep Conditional Generative Models".

    Example:
        >>> cvae = vaekit.CVAE(2, size="small", epochs=1).fit(X, y)  # y (40,): "high" or "low"
        >>> cvae.sample(4, "high").shape
        (4, 3)
        >>> cvae.sample(4, ["high", "low", "low", None]).shape
        (4, 3)
    """

    condition_dropout: Share = setting(0.1, "Probability with which training hides a condition.", MODEL)

    def fit(self, X: Any, y: Any = None) -> CVAE:
        """Train on X (N, ...) with the condition y, one per row.

        Raises:
            UserError: y is None, or y and X differ in their number of rows.

        Example:
            >>> vaekit.CVAE(2, size="small", epochs=1).fit(X, {"size": y}).sample(2, {"size": "low"}).shape
            (2, 3)
        """
        if y is None:
            raise UserError(
                "CVAE requires y to be passed, but the target y is None: give a condition per row, or use VAE"
            )
        if not isinstance(y, Mapping) and not hasattr(y, "columns"):
            y = {"y": y}
        self.fit_rows(X, {str(name): np.asarray(y[name]) for name in y})
        return self

    def _training_extras(self) -> dict[str, Any]:
        return {**super()._training_extras(), "condition_dropout": self.condition_dropout}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
