"""Rows of numbers: arrays (N, columns), or named columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vaekit.errors import UserError
from vaekit.forms.array import Array
from vaekit.forms.base import Packed, as_numbers, observed
from vaekit.forms.named import columns_of, is_named


@dataclass
class Rows(Array):
    """Rows of numbers, NaN where a value is missing."""

    media: ClassVar[tuple[str, ...]] = ("npy", "arrow")

    @property
    def fields(self) -> dict[str, str]:
        return dict.fromkeys(self.columns or [], "double")

    def conformed(self, X: Any) -> np.ndarray:
        if self.columns and is_named(X):
            X = np.stack([as_numbers(values) for values in columns_of(X, self.columns).values()], axis=1)
        rows = as_numbers(X)
        if rows.shape[1:] != tuple(self.shape):
            raise UserError(f"rows of shape {rows.shape[1:]} do not fit a model of {self.shape[0]} columns")
        if np.isinf(rows).any():
            row, column = np.argwhere(np.isinf(rows))[0].tolist()
            raise UserError(f"row {row}, column {column} is {rows[row, column]}: use NaN for a missing value")
        return rows

    def pack(self, X: Any) -> Packed:
        return observed(self.scaled(self.conformed(X)))

    def unpack(self, x: np.ndarray) -> np.ndarray:
        return self.values(x).astype(self.dtype)

    def fill(self, X: Any, x: np.ndarray) -> np.ndarray:
        rows = self.conformed(X)
        return np.where(np.isnan(rows), self.unpack(x), rows)
