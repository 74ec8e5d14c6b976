"""Windows of curves: (N, time, channels) as people have them, (N, channels, time) for the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vaekit.errors import UserError
from vaekit.forms.array import Array
from vaekit.forms.base import Packed, as_numbers, observed


@dataclass
class Curves(Array):
    """Windows of series, NaN where a value is missing. One series (T, channels) counts as its windows, which begin at each step."""

    alone: ClassVar[bool] = False

    @property
    def window(self) -> int:
        return self.shape[0]

    def rows_schema(self, gaps: bool) -> dict[str, Any]:
        """Windows, or one series."""
        window = self.schema(gaps)
        series = {"type": "array", "items": window["items"], "minItems": 1}
        return {"anyOf": [super().rows_schema(gaps), series]}

    def windows(self, X: Any) -> np.ndarray:
        """X -> windows (N, *event) of its values. A series shorter than a window is one window, whose end is missing."""
        values = as_numbers(X)
        if values.ndim == 2 and values.shape[1] == self.shape[1]:
            short = max(0, self.window - len(values))
            padded = np.pad(values.astype(np.float64), ((0, short), (0, 0)), constant_values=np.nan)
            return np.lib.stride_tricks.sliding_window_view(padded, self.window, axis=0)
        if values.shape[1:] != tuple(self.shape):
            raise UserError(
                f"X has the shape {values.shape}: give windows (N, {self.window}, {self.shape[1]}), or one series "
                f"(steps, {self.shape[1]})"
            )
        return values.swapaxes(1, 2)

    def pack(self, X: Any) -> Packed:
        return observed(self.scaled(self.windows(X)))

    def unpack(self, x: np.ndarray) -> np.ndarray:
        return self.values(x).swapaxes(-1, -2)

    def rebuilt(self, X: Any, rows: np.ndarray) -> np.ndarray:
        """Rebuild a series: each step is the mean over the windows that hold it, (T, channels)."""
        given = np.shape(X)
        if len(given) != 2:
            return rows
        steps = len(rows) + self.window - 1
        total, count = np.zeros((steps, rows.shape[2])), np.zeros((steps, 1))
        for i in range(self.window):
            total[i : i + len(rows)] += rows[:, i]
            count[i : i + len(rows)] += 1
        return self.limited((total / count).T[None])[0].T[: given[0]]

    def fill(self, X: Any, x: np.ndarray) -> np.ndarray:
        values = as_numbers(X).astype(np.float64)
        return np.where(np.isnan(values), self.rebuilt(X, self.unpack(x)), values)


class Fan(Curves):
    """Chunks of a robot's next actions, (N, chunk_size, numbers of an action)."""
