"""Training: `fit` is the whole story."""

from vaekit.training.data import Data, Rows
from vaekit.training.fit import State, Training, disband, fit, launch

__all__ = ["Data", "Rows", "State", "Training", "disband", "fit", "launch"]
