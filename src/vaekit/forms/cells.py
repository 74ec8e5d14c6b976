"""Cells of a table's columns: from what people give to the numbers that a model sees, and back.

In between, a cell is a *value*: of numbers a float64, NaN where it is missing; of times whole units of their type, int64; of
classes one of them, None where it is missing.
"""

from __future__ import annotations

import datetime
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from vaekit.errors import UserError, note
from vaekit.forms.base import mean, number
from vaekit.forms.conditions import is_unknown
from vaekit.forms.numbers import held, piecewise, unscored

MOST_EXACT = 2**53  # 64 bits of a float tell whole numbers apart up to this
NO_TIME = np.iinfo(np.int64).min  # what NaT is in int64
REACH = 1e6  # how far beyond its range a number of a request may lie, in ranges
JSON_TYPES = {str: "string", bool: "boolean"}  # of classes; others are numbers
FLOATS = {"float": "float32", "double": "float64", "halffloat": "float16"}


@dataclass
class Column:
    """A column.

    Attributes:
        type: Arrow's name of its type in training. format: how a file of text wrote it.
        blanks: values that stand for a missing cell.
    """

    name: str
    type: str
    format: str = ""
    blanks: list[Any] = field(default_factory=list)

    @cached_property
    def dtype(self) -> np.dtype:
        """NumPy's type for it."""
        return numpy_type(self.type)

    @property
    def is_time(self) -> bool:
        return self.dtype.kind in "mM"

    def schema(self, gaps: bool) -> dict[str, Any]:
        """The JSON Schema of a cell. gaps: whether it may be null."""
        raise NotImplementedError

    def read(self, given: np.ndarray) -> np.ndarray:
        """Read cells as people give them, (N,), as values (N,)."""
        raise NotImplementedError

    def missing(self, values: np.ndarray) -> np.ndarray:
        """Whether values are missing, (N,)."""
        raise NotImplementedError

    def pack(self, values: np.ndarray) -> np.ndarray:
        """Values (N,) -> what the model sees (N,) float64, NaN where one is missing."""
        raise NotImplementedError

    def unpack(self, x: np.ndarray) -> np.ndarray:
        """Turn the model's numbers (N,) float64 into values (N,)."""
        raise NotImplementedError

    def restored(self, values: np.ndarray, missing: np.ndarray | None = None) -> np.ndarray:
        """Values (N,) -> an array of the type of training. missing: cells to leave empty, (N,)."""
        gaps = self.missing(values) if missing is None else self.missing(values) | missing
        dtype, none = self.dtype, None
        if self.is_time:
            return np.where(gaps, NO_TIME, whole(values, gaps)).view(dtype)
        if dtype.kind in "iu":
            values, dtype = whole(values, gaps), np.dtype(np.float64) if gaps.any() else dtype
        if dtype.kind == "f":
            none = np.nan
        elif gaps.any():
            dtype = np.dtype(object)
        out = np.empty(len(values), dtype)
        out[~gaps] = values[~gaps].astype(dtype)
        if gaps.any():
            out[gaps] = none
        return out

    def is_blank(self, v: Any) -> bool:
        return is_unknown(v) or (isinstance(v, np.datetime64 | np.timedelta64) and np.isnat(v)) or v in self.blanks

    def units(self, given: np.ndarray) -> np.ndarray:
        """Times as people give them, (N,) -> whole units of the type, int64, `NO_TIME` where one is missing."""
        wanted = self.dtype
        if given.dtype == object or given.dtype.kind in "US":
            given = np.array([self.time(v) for v in given.tolist()] or np.zeros(0, wanted))
        if given.dtype.kind != wanted.kind:
            raise self.changed("times", given)
        found = given.astype(wanted)
        lossy = ~np.isnat(given) & (found.astype(given.dtype) != given)
        if lossy.any():
            raise UserError(f"column {self.name!r} holds {given[lossy][0]}, which {self.type} cannot hold: round it")
        return found.astype(np.int64)

    def time(self, v: Any) -> Any:
        """One time, as NumPy has it."""
        if self.is_blank(v) or (isinstance(v, str) and not v.strip()):
            return np.array("NaT", self.dtype)[()]
        try:
            if isinstance(v, str) and "%" in self.format:
                v = datetime.datetime.strptime(v.strip(), self.format)
            if isinstance(v, datetime.time):
                v = datetime.timedelta(hours=v.hour, minutes=v.minute, seconds=v.second, microseconds=v.microsecond)
            if isinstance(v, datetime.datetime) and v.tzinfo is not None:
                v = v.astimezone(datetime.UTC).replace(tzinfo=None)
            return v.to_datetime64() if hasattr(v, "to_datetime64") else np.array(v, self.dtype.kind + "8")[()]
        except (TypeError, ValueError):
            raise UserError(
                f"column {self.name!r} holds {str(v)[:40]!r}, which is no time: give times as 2024-01-31T12:00 or datetime64"
            ) from None

    def changed(self, wanted: str, given: Any) -> UserError:
        example = next((v for v in np.ravel(given).tolist() if not self.is_blank(v)), None)
        return UserError(
            f"column {self.name!r} held {wanted} when the model was trained, and now holds {str(example)[:40]!r}: convert it"
        )


@dataclass
class Number(Column):
    """A column of numbers, or of times. The model sees their normal scores, see `vaekit.kinds.table.columns.Continuous`."""

    knots: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    spikes: list[float] = field(default_factory=list)
    origin: int | None = None

    def schema(self, gaps: bool) -> dict[str, Any]:
        if self.origin is not None:
            return {"type": ["string", "null"] if gaps else "string"}
        reach = REACH * (self.high - self.low)
        return number(gaps, max(-float(MOST_EXACT), self.low - reach), min(float(MOST_EXACT), self.high + reach))

    def read(self, given: np.ndarray) -> np.ndarray:
        if self.origin is not None:
            return self.units(given)
        if given.dtype.kind in "biuf":
            v = given.astype(np.float64)
        else:
            v = np.array([self.number(value) for value in given.tolist()], dtype=np.float64)
        v = np.where(np.isin(v, [b for b in self.blanks if isinstance(b, int | float)]), np.nan, v)
        if np.isinf(v).any():
            raise UserError(
                f"column {self.name!r} holds an infinity at row {int(np.argmax(np.isinf(v)))} (the first is 0): put a number in "
                "its place, or leave it empty if it is missing"
            )
        if given.dtype.kind in "iu" and (np.abs(v) > MOST_EXACT).any():
            raise UserError(f"column {self.name!r} holds whole numbers beyond 2^53: they cannot be told apart")
        return v

    def number(self, v: Any) -> float:
        if self.is_blank(v) or (isinstance(v, str) and not v.strip()):
            return np.nan
        try:
            return float(v)
        except (TypeError, ValueError):
            raise self.changed("numbers", [v]) from None

    def missing(self, values: np.ndarray) -> np.ndarray:
        return values == NO_TIME if values.dtype.kind == "i" else np.isnan(values)

    def pack(self, values: np.ndarray) -> np.ndarray:
        if self.origin is not None:
            gaps = self.missing(values)
            values = np.where(gaps, np.nan, (np.where(gaps, self.origin, values) - self.origin).astype(np.float64))
        return piecewise(values, self.knots, self.scores)

    def unpack(self, x: np.ndarray) -> np.ndarray:
        values = held(unscored(x, self.knots, self.scores, self.spikes), self.low, self.high, self.step, self.origin)
        return values if self.origin is None else np.where(np.isnan(x), NO_TIME, values)

    def mean(self, x: np.ndarray) -> np.ndarray:
        """The mean value of several (k, N), as the model sees it, (N,)."""
        values = piecewise(x.ravel().astype(np.float64), self.scores, self.knots).reshape(x.shape)
        return piecewise(mean(values), self.knots, self.scores)


@dataclass
class Classes(Column):
    """A column of classes. The model sees 1 for the first, 2 for the second, and the number after the last for any other."""

    classes: list[Any] = field(default_factory=list)

    @cached_property
    def codes(self) -> dict[Any, int]:
        return {value: i for i, value in enumerate(self.classes, 1)}

    def schema(self, gaps: bool) -> dict[str, Any]:
        types = {"string"} if self.is_time else {JSON_TYPES.get(type(c), "number") for c in self.classes}
        return {"type": sorted(types | {"null"} if gaps or not types else types)}

    def read(self, given: np.ndarray) -> np.ndarray:
        if self.is_time:
            given = self.units(given)
        values = np.empty(len(given), dtype=object)
        values[:] = [None if v == NO_TIME and self.is_time else self.value(v) for v in given.tolist()]
        return values

    def value(self, v: Any) -> Any:
        """One cell, as the type of the classes has it."""
        if self.is_blank(v):
            return None
        if not self.classes or v in self.codes:
            return v
        kind = type(self.classes[0])
        if isinstance(v, str) and kind is not str and not v.strip():
            return None
        try:
            if kind is str:
                return str(v)
            if kind is bool:
                return {"true": True, "false": False, "1": True, "0": False}[str(v).strip().lower()]
            return float(v)
        except (KeyError, TypeError, ValueError):
            raise self.changed("one of " + ", ".join(map(repr, self.classes[:5])), [v]) from None

    def missing(self, values: np.ndarray) -> np.ndarray:
        return np.array([is_unknown(v) for v in values.tolist()], dtype=bool)

    def pack(self, values: np.ndarray) -> np.ndarray:
        if not self.classes:
            return np.full(len(values), np.nan)
        codes = np.array(
            [np.nan if is_unknown(v) else self.codes.get(v, len(self.classes) + 1) for v in values.tolist()],
            dtype=np.float64,
        )
        if len(unseen := np.flatnonzero(codes > len(self.classes))):
            note(
                f"column {self.name!r} holds classes that training never saw, such as {values[unseen[0]]!r}: the model finds them "
                "improbable and does not know what goes with them"
            )
        return codes

    def unpack(self, x: np.ndarray) -> np.ndarray:
        known = np.array([*self.classes, None], dtype=object)
        missing = np.isnan(x) | (not self.classes)
        return known[np.where(missing, -1, np.clip(np.nan_to_num(x), 1, max(1, len(self.classes))) - 1).astype(int)]


def column_of(description: Mapping[str, Any]) -> Column:
    """A column from its description: "kind" says whether it holds a "number" or "classes"."""
    kinds: dict[str, type[Column]] = {"number": Number, "classes": Classes}
    kind = kinds[description["kind"]]
    known = inspect.signature(kind).parameters
    return kind(**{name: value for name, value in description.items() if name in known})


def whole(values: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Whole numbers (N,) int64; 0 where there are gaps."""
    known = np.where(gaps, 0, values)
    if known.dtype == object:  # of which some may be too large for a float
        return np.array([round(v) for v in known.tolist()], dtype=np.int64)
    return known if known.dtype.kind in "iu" else np.rint(known).astype(np.int64)


def numpy_type(text: str) -> np.dtype:
    """NumPy's type for one of Arrow's, by its name."""
    if found := re.fullmatch(r"dictionary<values=(.+), indices=\w+, ordered=\d>", text):
        return numpy_type(found[1])
    if re.fullmatch(r"u?int\d+|bool", text):
        return np.dtype(text)
    if text in FLOATS:
        return np.dtype(FLOATS[text])
    if text.startswith("decimal"):
        return np.dtype(np.float64)
    if text.startswith("date32"):
        return np.dtype("datetime64[D]")
    if found := re.fullmatch(r"(timestamp|date64|time32|time64|duration)\[(\w+)(, tz=.+)?\]", text):
        return np.dtype(f"{'datetime64' if found[1] in ('timestamp', 'date64') else 'timedelta64'}[{found[2]}]")
    return np.dtype(object)
