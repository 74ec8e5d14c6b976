"""Tables: named columns of numbers, times and classes, with gaps.

A result is a NumPy array for each column, of the type that the column had in training: numbers, bool, datetime64 (with a zone: in
UTC), timedelta64 (times of a day too), or objects for texts. Where a cell may be missing, whole numbers become float64 (NaN), and
booleans objects (None).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from vaekit.forms.base import Form, Packed, observed
from vaekit.forms.cells import Column, Number, column_of
from vaekit.forms.constraints import Constraints
from vaekit.forms.named import columns_of


@dataclass
class Columns(Form):
    """Rows of named columns. The model sees a number for each column, then one for each that has gaps: 1 where a cell is there, 2
    where it is missing.

    Attributes:
        columns: see `vaekit.forms.cells`. gaps: places of the columns that have gaps.
        constraints: what columns have to be to each other, see `vaekit.forms.constraints`.
    """

    columns: list[Any]
    gaps: list[int] = field(default_factory=list)
    constraints: Any = None

    media: ClassVar[tuple[str, ...]] = ("arrow",)

    def __post_init__(self) -> None:
        self.columns = [column_of(c) for c in self.columns]
        self.constraints = Constraints(self.columns, **(self.constraints or {}))

    @cached_property
    def seen(self) -> list[Column]:
        """The columns as the model sees them: some are distances from others."""
        return [self.constraints.distances.get(c.name, c) for c in self.columns]

    @property
    def fields(self) -> dict[str, str]:
        return {c.name: c.type for c in self.columns}

    def schema(self, gaps: bool) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {c.name: c.schema(gaps) for c in self.columns},
            "required": [c.name for c in self.columns],
        }

    def listed(self, rows: dict[str, np.ndarray]) -> list[dict[str, Any]]:
        """A dict for each row."""
        columns = [written(values).tolist() for values in rows.values()]
        return [dict(zip(rows, row, strict=True)) for row in zip(*columns, strict=True)]

    def cells(self, X: Any) -> dict[str, np.ndarray]:
        """The columns of X as numbers or classes, see `Column.read`."""
        given = columns_of(X, [c.name for c in self.columns])
        return {c.name: c.read(given[c.name]) for c in self.columns}

    def pack(self, X: Any) -> Packed:
        cells = self.cells(X)
        distances = self.constraints.seen(cells)
        rows = len(next(iter(cells.values())))
        x = np.empty((rows, *self.event))
        for j, c in enumerate(self.seen):
            x[:, j] = c.pack(distances.get(self.columns[j].name, cells[self.columns[j].name]))
        for j, gap in enumerate(self.gaps, len(self.columns)):
            x[:, j] = 1.0 + self.columns[gap].missing(cells[self.columns[gap].name])
        return observed(x)

    def unpack(self, x: np.ndarray) -> dict[str, np.ndarray]:
        missing = {gap: x[:, j] > 1.5 for j, gap in enumerate(self.gaps, len(self.columns))}
        found = self.values(x, {})
        return {c.name: c.restored(found[c.name], missing.get(j)) for j, c in enumerate(self.columns)}

    def values(self, x: np.ndarray, known: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """x (N, *event) -> cells, none of them missing unless its column has no value at all.

        known: cells that stay as they are, to which those of constraints are fitted.
        """
        x = x.astype(np.float64)
        drawn = {c.name: seen.unpack(x[:, j]) for j, (c, seen) in enumerate(zip(self.columns, self.seen, strict=True))}
        return {**drawn, **self.constraints.completed(drawn, known)}

    def center(self, draws: np.ndarray) -> np.ndarray:
        """The mean of numbers, the commonest class."""
        found = np.empty(draws.shape[1:], draws.dtype)
        for j in range(draws.shape[2]):
            c = self.seen[j] if j < len(self.seen) else None
            found[:, j] = c.mean(draws[..., j]) if isinstance(c, Number) else commonest(draws[..., j])
        return found

    def fill(self, X: Any, x: np.ndarray) -> dict[str, np.ndarray]:
        """All columns of X, those that the model does not know as they are."""
        given, cells = columns_of(X), self.cells(X)
        found = self.values(x, cells)
        for c in self.columns:
            if (gaps := c.missing(cells[c.name])).any():
                given[c.name] = c.restored(np.where(gaps, found[c.name], cells[c.name]))
        return given

    def with_conditions(self, rows: dict[str, np.ndarray], given: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {**rows, **{name: np.asarray(values) for name, values in given.items()}}


def written(values: np.ndarray) -> np.ndarray:
    """Values (N,) as JSON holds them: times as texts, and None where one is missing."""
    if values.dtype.kind not in "mM":
        return values
    texts = values.astype(str).astype(object)
    texts[np.isnat(values)] = None
    return texts


def commonest(codes: np.ndarray) -> np.ndarray:
    """The commonest of codes (k, N), (N,); of several, the least."""
    values = np.unique(codes)
    return values[np.argmax([(codes == value).sum(0) for value in values], axis=0)]
