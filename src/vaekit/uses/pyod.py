"""A detector with PyOD's signs and names: https://pyod.readthedocs.io."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyod.models.base import BaseDetector
from sklearn.base import clone


class PyODDetector(BaseDetector):
    """Args: detector: a `vaekit.AnomalyDetector`, fitted or not.

    Attributes: decision_scores_, threshold_, labels_: PyOD's own, of the rows that the detector was fitted to.
    """

    def __init__(self, detector: Any):
        super().__init__(contamination=detector.contamination)
        self.detector = detector
        if hasattr(detector, "training_scores_"):
            self._adopt(detector)

    def fit(self, X: Any, y: Any = None) -> PyODDetector:
        return self._adopt(clone(self.detector).fit(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """(N,), high for anomalies."""
        return -self.detector_.score_samples(X)

    def _adopt(self, fitted: Any) -> PyODDetector:
        self.detector_ = fitted
        self._set_n_classes(None)
        self.decision_scores_ = -fitted.training_scores_
        self._process_decision_scores()
        return self
