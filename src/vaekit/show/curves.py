"""How training went, as curves over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vaekit.show.drawing import PAGE, Colours, view
from vaekit.show.words import nats

if TYPE_CHECKING:  # matplotlib takes long to import
    from matplotlib.axes import Axes

TITLES = {"elbo": "ELBO", "reconstruction": "Reconstruction", "kl": "KL"}


@dataclass
class Curves:
    """ELBO, reconstruction and KL by epoch, in nats: of training, and of validation where rows were held out.

    best: place of the best epoch, where its weights were kept.
    """

    epochs: Sequence[int]
    train: Mapping[str, np.ndarray]
    valid: Mapping[str, np.ndarray]
    best: int | None

    @classmethod
    def of(cls, history: Sequence[Mapping[str, float]], keep: str) -> Curves | None:
        """keep: the weights that were kept, "best" or "last". None if there is no epoch."""
        if not history:
            return None
        train = {name: np.array([row[name] for row in history]) for name in ("reconstruction", "kl")}
        train = {"elbo": -train["reconstruction"] - train["kl"], **train}
        valid = {name: np.array([row.get(f"valid_{name}", np.nan) for row in history]) for name in train}
        if np.isnan(valid["elbo"]).all():
            valid = {}
        best = int(np.nanargmax(valid["elbo"])) if valid and keep == "best" else None
        return cls([int(row["epoch"]) for row in history], train, valid, best)

    def end(self, name: str) -> float:
        """The value of the weights that were kept."""
        return float((self.valid or self.train)[name][-1 if self.best is None else self.best])

    def label(self, name: str) -> str:
        """A curve in words."""
        which = "last" if self.best is None else "best"
        return f"{TITLES[name]} in nats over {len(self.epochs)} epochs; {nats(self.end(name))} at the {which} epoch"

    def draw(self, axes: Axes, name: str, colours: Colours = PAGE) -> None:
        from matplotlib.ticker import MaxNLocator

        marker = "o" if len(self.epochs) == 1 else None
        series = {"second": self.train[name], **({"accent": self.valid[name]} if self.valid else {})}
        for colour, values in series.items():
            label = "training" if colour == "second" else "validation"
            axes.plot(self.epochs, values, color=getattr(colours, colour), marker=marker, markersize=4, label=label)
        if self.best is not None:
            axes.axvline(self.epochs[self.best], color=colours.muted, linewidth=0.8, linestyle=(0, (2, 2)))
            axes.plot(self.epochs[self.best], self.valid[name][self.best], "o", color=colours.accent, markersize=5)
        # From a tenth of the run on, so that the first epochs do not squash the rest.
        axes.set_ylim(*view([values[len(values) // 10 :] for values in series.values()]))
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
