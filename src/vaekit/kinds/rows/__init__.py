"""Rows of numbers: arrays (N, columns), NaN where a value is missing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils.validation import check_array
from torch import Tensor

from vaekit.errors import UserError
from vaekit.frame import Frame, is_frame, to_frame
from vaekit.kinds.base import Kind
from vaekit.sources.arrays import as_array


@dataclass
class Rows(Kind):
    """Schema of a table of numbers.

    Attributes:
        columns: names, or None.
        mean, scale: of each column; the model sees (x - mean) / scale. The mean of a column without any value is NaN, and so
            is every value that comes back in it.
    """

    columns: list[str] | None
    mean: list[float]
    scale: list[float]

    name: ClassVar[str] = "rows"
    noun: ClassVar[str] = "rows of numbers"
    report: ClassVar[str] = "vaekit.kinds.rows.report:RowsReport"
    counts_columns: ClassVar[bool] = True
    fills: ClassVar[bool] = True
    score: ClassVar[str] = "exemplars"

    @classmethod
    def infer(cls, rows: np.ndarray | Frame, standardize: bool = True, columns: list[str] | None = None) -> Rows:
        """See `Kind.infer`. Rows (N, columns), NaN where a value is missing."""
        if isinstance(rows, Frame):
            columns, rows = rows.columns, rows.numbers()
        infinite = np.argwhere(np.isinf(rows))
        if len(infinite):
            row, column = infinite[0].tolist()
            name = repr(columns[column]) if columns else column
            raise UserError(
                f"row {row}, column {name} is {rows[row, column]}: remove it, or use NaN (an empty cell) for a missing value"
            )
        width = rows.shape[1]
        observed = ~np.isnan(rows)
        count = observed.sum(0)
        if not count.any():
            raise UserError("no column has any value: all of them are missing")
        nothing = np.where(count == 0, np.nan, 0.0)
        if not standardize:
            return cls(columns, nothing.tolist(), [1.0] * width)
        rows, count = rows.astype(np.float64), np.maximum(count, 1)
        mean = np.where(observed, rows, 0).sum(0) / count + nothing
        deviation = np.sqrt(np.where(observed, (rows - mean) ** 2, 0).sum(0) / count)
        # A constant column has no spread of its own to divide by: what is left of it is rounding. An empty one has none at all.
        scale = np.where(deviation > 1e-12 * np.maximum(1.0, np.abs(mean)), deviation, 1.0)
        return cls(columns, mean.tolist(), scale.tolist())

    @classmethod
    def recognises(cls, X: Any, likelihood: str) -> bool:
        return getattr(X, "ndim", 2) <= 2

    @classmethod
    def check(cls, X: Any, **options: Any) -> np.ndarray | Frame:
        X = X if isinstance(X, Frame) else as_array(X)
        if is_frame(X):
            return to_frame(X)
        return X if isinstance(X, Frame) else check_array(X, ensure_all_finite="allow-nan", ensure_min_samples=0)

    @classmethod
    def default_likelihood(cls, rows: np.ndarray | Frame, **options: Any) -> str:
        rows = rows.numbers() if isinstance(rows, Frame) else rows
        return "bernoulli" if ((rows == 0) | (rows == 1) | np.isnan(rows)).all() else "normal"

    @property
    def reading(self) -> dict[str, Any]:
        return {"columns": self.columns}

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (len(self.mean),)

    @property
    def unit(self) -> Tensor:
        return torch.tensor(self.scale)

    def conform(self, rows: np.ndarray | Frame) -> np.ndarray:
        if isinstance(rows, Frame):
            names = self.columns or rows.columns
            rows = rows.with_columns(dict.fromkeys(names, "float64")).select(names).numbers()
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise UserError(f"rows of shape {rows.shape[1:]} do not fit a model of {len(self.mean)} columns")
        if np.isinf(rows).any():
            row, column = np.argwhere(np.isinf(rows))[0].tolist()
            raise UserError(f"row {row}, column {column} is {rows[row, column]}: use NaN for a missing value")
        return rows

    def pack(
        self, rows: np.ndarray | Frame, dtype: torch.dtype = torch.float32, jitter: Any = None
    ) -> tuple[Tensor, Tensor | None]:
        rows = self.conform(rows)
        x = torch.from_numpy((rows - np.asarray(self.mean)) / np.asarray(self.scale)).to(dtype)
        missing = x.isnan()
        return (x.nan_to_num(0.0), ~missing) if missing.any() else (x, None)

    def unpack(self, x: Tensor) -> np.ndarray:
        return x.double().cpu().numpy() * np.asarray(self.scale) + np.asarray(self.mean)

    def form(self) -> dict[str, Any]:
        shape = list(self.event_shape)
        mean = [None if np.isnan(v) else v for v in self.mean]  # which JSON cannot write
        own = {"type": "array", "view": "numbers", "shape": shape, "event": shape, "axes": "c", "mean": mean}
        free = {"low": None, "high": None, "step": None, "dtype": "float64", "columns": self.columns}
        return {**own, "scale": list(self.scale), **free}

    @property
    def column_names(self) -> tuple[int, list[str] | None]:
        return len(self.mean), self.columns

    @property
    def value_names(self) -> list[str]:
        return self.columns or [f"x{i}" for i in range(len(self.mean))]

    def known(self, rows: np.ndarray | Frame) -> dict[str, np.ndarray]:
        return dict(zip(self.value_names, self.conform(rows).T, strict=True))

    def fill(self, rows: np.ndarray | Frame, x: Tensor) -> np.ndarray:
        """Fill missing values from x (N, *event)."""
        rows = self.conform(rows)
        return np.where(np.isnan(rows), self.unpack(x), rows)

    @property
    def in_words(self) -> str:
        return f"rows of {len(self.mean)} number{'s' if len(self.mean) > 1 else ''}"

    def networks(self, size: str, network: str) -> tuple[Any, Any]:
        from vaekit.nets import MLP, mlp

        if network == "conv":
            raise UserError("network 'conv' needs pictures, (N, H, W) or (N, H, W, channels): use 'mlp' for rows")
        net = partial(MLP, hidden=mlp.SIZES[size])
        return net, net
