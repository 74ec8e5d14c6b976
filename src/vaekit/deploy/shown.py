"""The rows that a report shows, and what the model makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from vaekit.conditions import Condition, Conditions, Label, Number
from vaekit.estimators.vae import VAE
from vaekit.show.drawing import PLEASANT_SIDE, grid, png_data_uri, shrink, webp_data_uri
from vaekit.show.words import number

CLASSES = 20  # the most that are shown
LARGEST_SIDE = 64  # larger pictures are shrunk to this, so that the report stays small
STRIP_WIDTH = 620  # screen pixels that a row of pictures may take


@dataclass
class Shown:
    """The rows that the report shows, with what the model makes of them."""

    estimator: VAE
    x: np.ndarray  # (N, ...)
    y: dict[str, np.ndarray]

    @property
    def pictures(self) -> bool:
        return self.estimator.kind_.name == "images"

    @property
    def conditions(self) -> dict[str, Condition]:
        """The names of the model's conditions."""
        return self.estimator.conditions_.named

    @cached_property
    def known(self) -> dict[str, Condition]:
        """Everything that is known about the rows; the model's conditions come first."""
        rest = {name: values for name, values in self.y.items() if name not in self.conditions}
        return {name: c for name, c in self.conditions.items() if name in self.y} | Conditions.infer(rest).named

    def packed(self, name: str) -> np.ndarray:
        """A condition: the codes (N,) of a label, -1 for unknown; or the first of its numbers (N,), NaN for unknown."""
        condition = self.known[name]
        packed = condition.pack(name, self.y[name]).numpy()
        return packed[:, 0] * condition.scale[0] + condition.mean[0] if isinstance(condition, Number) else packed

    def given(self, rows: np.ndarray) -> dict[str, np.ndarray] | None:
        """The model's conditions of these rows."""
        return {name: self.y[name][rows] for name in self.conditions if name in self.y} or None

    @cached_property
    def codes(self) -> np.ndarray:
        """Posterior means (N, latent_dim)."""
        return self.estimator.transform(self.x, self.given(np.arange(len(self.x))))

    @cached_property
    def names(self) -> list[str]:
        """The names of the columns."""
        kind = self.estimator.kind_
        return kind.columns or [f"column {i}" for i in range(len(kind.mean))]

    # -- rows of pictures ----------------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """How many pictures a strip has: 9, or as many as fit. It is odd, so that there is a middle."""
        kind = self.estimator.kind_
        width = kind.width * min(1.0, LARGEST_SIDE / max(kind.height, kind.width))
        fits = int(STRIP_WIDTH / max(width, PLEASANT_SIDE))
        return min(9, max(3, fits - 1 + fits % 2))

    def strip(self, images: np.ndarray, columns: int | None = None) -> Strip:
        """Put pictures in the user's own form side by side in one picture."""
        kind = self.estimator.kind_
        small = shrink(kind.shown(images), LARGEST_SIDE, kind.low, kind.high)
        image = grid(small, columns or len(small), low=0, high=255, background=None)
        # Colour pictures of some size would make a report of many megabytes; small ones have to stay sharp.
        large = small.shape[3] > 1 and max(small.shape[1:3]) > 40
        return Strip(webp_data_uri(image) if large else png_data_uri(image), *image.size)


@dataclass
class Strip:
    uri: str
    width: int
    height: int


def groups(shown: Shown) -> list[tuple[str, Mapping[str, Any], np.ndarray]]:
    """Groups of conditions to show samples of: a name, what all of the group share, and its rows.

    One a class of the first label the model is conditioned on; else the rows at some quantiles of the first number.
    """
    for name, condition in shown.conditions.items():
        if isinstance(condition, Label):
            codes = shown.packed(name) if name in shown.y else np.empty(0)
            classes = condition.classes[:CLASSES]
            return [(f"{name} {c}", {name: c}, np.flatnonzero(codes == i)) for i, c in enumerate(classes)]
    for name in shown.conditions:
        if name in shown.y:
            values = shown.packed(name)
            order = np.argsort(values)[: np.isfinite(values).sum()]
            places = np.unique((np.linspace(0.02, 0.98, 6) * (len(order) - 1)).round().clip(0).astype(int))
            return [(f"{name} {number(values[row])}", {}, np.array([row])) for row in order[places[: len(order)]]]
    return []


def conditions_of(shown: Shown, shared: Mapping[str, Any], rows: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """Take n conditions of a group: those of its rows in turn, or only what it shares if it has no rows."""
    if len(rows):
        return shown.given(np.resize(rows, n)) or {}
    return {name: np.array([value] * n, dtype=object) for name, value in shared.items()}
