"""Whether a row belongs to the data, as a conformal p-value.

A row belongs where its code lies among the codes of training rows, and where the model rebuilds it as well as it rebuilds rows of the data. The
first finds what was decoded from a hole in the latent, the second what the model does not know. Likelihoods do not: a decoder's mean
has none of the noise of real rows, and so is likelier than they are, wherever its code lies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import gaussian_kde

from vaekit.errors import UserError
from vaekit.fitted import Fitted
from vaekit.uses.conformal import p_values
from vaekit.uses.scores import new_score

TRAINING = 5000  # training rows, at most, whose codes are looked at
DRAW = 8  # an address of random numbers
ALIVE = 1e-3  # of the spread along the longest axis


class Belonging:
    """P-values of rows, from rows that the model held out.

    Args:
        fitted: the model. data: a `Dataset`, the rows that it was trained on. training, normal: numbers of the rows that it learned from, and of
            those that it held out.

    Raises:
        UserError: it held out no rows.
    """

    def __init__(self, fitted: Fitted, data: Any, training: np.ndarray, normal: np.ndarray):
        if not len(normal):
            raise UserError(
                "the model held out no rows, so nothing says what belongs to the data: train it with a validation above 0"
            )
        random = np.random.default_rng([fitted.seed, DRAW])
        self.fitted, self.rebuilds = fitted, new_score("reconstruction", fitted)
        some = data[np.sort(random.permutation(training)[:TRAINING])]
        codes = self._codes(some.x, self._known(some))
        _, spread, axes = np.linalg.svd(codes - codes.mean(0), full_matrices=False)
        self.axes = axes[spread > ALIVE * spread[0]]  # what all rows share, as they do along other axes, says nothing
        self.density = gaussian_kde(self.axes @ codes.T)
        own = data[np.sort(random.permutation(normal)[: fitted.kind.calibration_rows])]
        self.normal = self.scores(own.x, self._known(own))

    def _known(self, data: Any) -> dict[str, np.ndarray]:
        return {name: values for name, values in data.conditions.items() if name in self.fitted.conditions.named}

    def _codes(self, X: Any, y: Any) -> np.ndarray:
        return self.fitted.encode(X, y or None).double().numpy()

    def scores(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Log density of the codes of rows, by kernels at the codes of training rows, and log p(x|z,y): (N,) each."""
        return self.density.logpdf(self.axes @ self._codes(X, y).T), self.rebuilds(self.fitted, X, y or None)

    def p_values(self, X: Any, y: Any) -> np.ndarray:
        """(N,) in (0, 1]. For a row that comes from where the data come from, it is at most a with a probability of at most a: it is twice the
        lower of two p-values (Bonferroni), one of each score."""
        each = [p_values(found, normal) for found, normal in zip(self.scores(X, y), self.normal, strict=True)]
        return np.minimum(1.0, 2 * np.minimum(*each))
