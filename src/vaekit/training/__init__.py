"""Training: `fit` is the whole story."""

from vaekit.training.data import Data
from vaekit.training.fit import State, Training, disband, fit, launch

__all__ = ["Data", "State", "Training", "disband", "fit", "launch"]
