"""Training: `fit` is the whole story."""

from vaekit.training.data import Data, Rows
from vaekit.training.fit import State, Training, fit
from vaekit.training.launch import launch, together

__all__ = ["Data", "Rows", "State", "Training", "fit", "launch", "together"]
