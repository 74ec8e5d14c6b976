"""What is known about rows: named labels, numeric vectors and pictures, and how they become the numbers that a model sees.

Plain values and NumPy. A label that is None, or a number that is NaN, is *unknown*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vaekit.errors import UserError, near_matches
from vaekit.forms.base import LARGEST, nested, number

FAR = 1e12  # standard deviations, or other units of a model: beyond it, squares and sums overflow
MAX_WHOLE_FLOAT_CLASSES = 20
MAX_INTEGER_CLASSES = 64
ROWS = 4096  # held against the training rows at a time: bounds memory


@dataclass
class Label:
    """A condition that is one of `classes`. If it is known how often each class occurs, `shares` says so."""

    classes: list[Any]
    shares: list[float] | None = None
    kind: ClassVar[str] = "label"

    @property
    def size(self) -> int:
        return len(self.classes)

    def schema(self, unknown: bool) -> dict[str, Any]:
        """The JSON Schema of a value. unknown: whether it may be null."""
        return {"enum": [*self.classes, None] if unknown else list(self.classes)}

    def examples(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Codes (n,) of any of the classes."""
        return rng.integers(0, self.size, n)

    @classmethod
    def infer(cls, name: str, values: np.ndarray) -> Label:
        counts = Counter(plain(v) for v in np.ravel(values).tolist() if not is_unknown(v))
        classes = sorted(counts, key=lambda v: (str(type(v)), v))
        return cls(classes, [round(counts[c] / counts.total(), 6) for c in classes])

    def pack(self, name: str, values: np.ndarray) -> np.ndarray:
        """Turn labels (N,) into codes (N,) int64, -1 for unknown. UserError for a label that training did not have."""
        code = {value: i for i, value in enumerate(self.classes)}
        try:
            codes = [-1 if is_unknown(v) else code[plain(v)] for v in np.ravel(values).tolist()]
        except KeyError as e:
            known, given = [str(c) for c in self.classes], e.args[0]
            near = near_matches(str(given), known)
            if str(given) in known:
                same = self.classes[known.index(str(given))]
                near = f": its {same!r} is of the type {type(same).__name__}, and not {type(given).__name__}"
            raise UserError(f"condition {name!r} has no class {given!r}{near}") from None
        return np.array(codes, dtype=np.int64)

    def listed(self, name: str, values: np.ndarray, rows: np.ndarray) -> list[Any]:
        """The labels (N,) of some rows, as plain values."""
        return [plain(v) for v in np.ravel(values)[rows].tolist()]

    def filled(self, name: str, values: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Fill unknown labels (N,) from `own` (N,)."""
        values = np.ravel(values).astype(object)
        return np.where([is_unknown(v) for v in values], own, values)

    def parse(self, name: str, text: str) -> Any:
        for value in self.classes:
            if str(value) == text:
                return value
        raise UserError(f"condition {name!r} has no class {text!r}{near_matches(text, [str(c) for c in self.classes])}")


@dataclass
class Number:
    """A condition that is a vector of numbers; the model sees (value - mean) / scale."""

    mean: list[float]
    scale: list[float]
    kind: ClassVar[str] = "number"

    @property
    def size(self) -> int:
        return len(self.mean)

    def schema(self, unknown: bool) -> dict[str, Any]:
        """The JSON Schema of a value: a number, or an array of them."""
        mean, reach = np.asarray(self.mean), np.asarray(self.scale) * LARGEST
        one = number(unknown, float((mean - reach).max()), float((mean + reach).min()))
        return one if self.size == 1 else nested([self.size], one)

    def examples(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Standardised numbers (n, size), like those of training rows."""
        return rng.standard_normal((n, self.size), dtype=np.float32)

    @classmethod
    def infer(cls, name: str, values: np.ndarray) -> Number:
        values = as_numbers(name, values)
        if np.isnan(values).all(0).any():
            raise UserError(f"condition {name!r} has no known value: leave it out")
        return cls(np.nanmean(values, axis=0).tolist(), scales(values).tolist())

    def pack(self, name: str, values: np.ndarray) -> np.ndarray:
        """Standardise values (N,) or (N, size) to (N, size) float32, NaN for unknown."""
        values = as_numbers(name, values)
        if values.shape[1] != len(self.mean):
            raise UserError(f"condition {name!r} has {len(self.mean)} numbers per row, got {values.shape[1]}")
        packed = (values - np.asarray(self.mean)) / np.asarray(self.scale)
        if (far := np.abs(packed) > FAR).any():
            raise UserError(f"condition {name!r} is {values[far][0]:g}: too large to compute with")
        return packed.astype(np.float32)

    def listed(self, name: str, values: np.ndarray, rows: np.ndarray) -> list[Any]:
        """The values (N,) or (N, size) of some rows, as plain values."""
        known = values if values.dtype.kind in "iuf" else as_numbers(name, values)
        return known[rows].reshape(-1 if self.size == 1 else (len(rows), self.size)).tolist()

    def filled(self, name: str, values: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Fill unknown values (N,) or (N, size) from `own`."""
        known = as_numbers(name, values).reshape(own.shape)
        return np.where(np.isnan(known), own, known)

    def parse(self, name: str, text: str) -> Any:
        try:
            values = [float(part) for part in text.split(",")]
        except ValueError:
            raise UserError(f"condition {name!r} has to be a number, got {text!r}") from None
        if len(values) != len(self.mean):
            raise UserError(
                f"condition {name!r} has {len(self.mean)} numbers, got {len(values)}: separate them by commas"
            )
        return values if len(values) > 1 else values[0]


@dataclass
class Picture:
    """A condition that is a colour picture of bytes, such as what a robot's camera sees."""

    height: int
    width: int
    kind: ClassVar[str] = "picture"

    @property
    def size(self) -> int:
        return 3 * self.height * self.width

    def schema(self, unknown: bool) -> dict[str, Any]:
        """The JSON Schema of a picture: bytes by row, column and colour."""
        return nested([self.height, self.width, 3], {"type": "integer", "minimum": 0, "maximum": 255})

    def examples(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Pictures (n, height, width, 3) of noise."""
        return rng.integers(0, 256, (n, self.height, self.width, 3), dtype=np.uint8)

    @classmethod
    def infer(cls, name: str, values: np.ndarray) -> Picture:
        return cls(*values.shape[1:3])

    def pack(self, name: str, values: np.ndarray) -> np.ndarray:
        """Check bytes (N, height, width, 3), and return them as uint8."""
        values = np.asarray(values)
        if values.shape[1:] != (self.height, self.width, 3) or values.dtype != np.uint8:
            raise UserError(
                f"condition {name!r} is {values.dtype} {values.shape[1:]}: give whole numbers from 0 to 255, uint8 ({self.height}, {self.width}, 3)"
            )
        return np.require(values, requirements=["C", "W"])

    def parse(self, name: str, text: str) -> Any:
        raise UserError(f"condition {name!r} is a picture and cannot be given as text")


Condition = Label | Number | Picture
KINDS: dict[str, Any] = {"label": Label, "number": Number, "picture": Picture}


@dataclass
class Seen:
    """The conditions that training rows had together: the values of some rows by name, and how many rows each stands for."""

    values: dict[str, list[Any]]
    counts: list[int]


@dataclass
class Known:
    """The named conditions of a model, in order, and the values that training rows had together, if any row had all."""

    named: dict[str, Condition]
    seen: Seen | None = None

    def codes(self, y: Mapping[str, Any], rows: int) -> dict[str, np.ndarray]:
        """Turn conditions by name, one value for all rows or one per row, into what the model sees: name -> (rows, ...).

        A name left out is left out.
        """
        unknown = [name for name in y if name not in self.named]
        if unknown:
            raise UserError(f"this model has no condition {unknown[0]!r}{near_matches(unknown[0], list(self.named))}")
        packed = {}
        for name, given in y.items():
            values = self.named[name].pack(name, per_row(self.named[name], given, rows))
            if len(values) != rows:
                raise UserError(
                    f"condition {name!r} has {len(values)} values for {rows} rows: give one value, or one per row"
                )
            packed[name] = values
        return packed

    def fill(self, y: Mapping[str, Any], rows: int, random: np.random.Generator) -> dict[str, Any]:
        """Fill in unknown conditions of each row, in the user's form: draw them as training rows had them, given what is known."""
        codes, picked = self.codes(y, rows), self.pick(y, rows, random)
        filled = {name: per_row(self.named[name], values, rows) for name, values in y.items()}
        if self.seen is None:
            return filled
        for name, c in self.named.items():
            own = np.array(self.seen.values[name], object if isinstance(c, Label) else None)[picked]
            if name not in filled:
                filled[name] = own
            elif not isinstance(c, Picture) and not is_known(codes[name]).all():
                filled[name] = c.filled(name, filled[name], own)
        return filled

    def pick(self, y: Mapping[str, Any], rows: int, random: np.random.Generator) -> np.ndarray:
        """For each row one of the combinations that training rows had, drawn given what is known of y, (rows,).

        Labels have to agree; of numbers the nearer count for more, by a Normal kernel. Labels that no combination has together say
        nothing. It is what `vaekit.nets.population.Population` computes in a model.
        """
        codes, picked = self.codes(y, rows), np.zeros(rows, int)
        if self.seen is None:
            return picked
        total = len(self.seen.counts)
        seen = {name: values for name, values in self.codes(self.seen.values, total).items() if name in codes}
        share = np.array(self.seen.counts) / sum(self.seen.counts)
        for start in range(0, rows, ROWS):
            some = slice(start, min(start + ROWS, rows))
            log_p = np.tile(np.log(share), (some.stop - start, 1))
            for name, own in seen.items():
                given = codes[name][some]
                if own.ndim == 1:
                    log_p[(given[:, None] >= 0) & (given[:, None] != own)] = -np.inf
                else:  # squared distances over what is known; the kernel is as wide as Scott's rule has it in one dimension
                    value, known = np.nan_to_num(given), (~np.isnan(given)).astype(own.dtype)
                    apart = np.square(value).sum(1, keepdims=True) - 2 * value @ own.T + known @ np.square(own).T
                    log_p -= np.maximum(apart, 0.0) * total**0.4 / 2
            log_p = np.where(np.isneginf(log_p).all(1, keepdims=True), np.log(share), log_p)
            p = np.exp(log_p - log_p.max(1, keepdims=True)).cumsum(1)
            at = random.random((len(p), 1)) * p[:, -1:]
            picked[some] = np.minimum((p <= at).sum(1), total - 1)
        return picked

    def parse(self, texts: Sequence[str]) -> dict[str, Any]:
        """Command-line values, "3" or "name=3", -> name -> value. If several names begin a text, the longest counts."""
        out = {}
        for text in texts:
            if not self.named:
                raise UserError(f"this model was trained without conditions, so it cannot take {text!r}: leave it out")
            known = max((name for name in self.named if text.startswith(f"{name}=")), key=len, default="")
            name, equals, value = (known, "=", text[len(known) + 1 :]) if known else text.partition("=")
            if not equals:
                if len(self.named) != 1:
                    raise UserError(f"write the condition as NAME={text}; the names are {', '.join(self.named)}")
                name, value = next(iter(self.named)), text
            if name not in self.named:
                raise UserError(f"this model has no condition {name!r}{near_matches(name, list(self.named))}")
            if name in out:
                raise UserError(f"condition {name!r} is given twice: give it one value")
            out[name] = self.named[name].parse(name, value)
        return out

    def name(self, y: Any) -> dict[str, Any]:
        """Turn what a user gives as conditions (None, a dict, a DataFrame, an array for the only one) into a dict."""
        if y is None:
            return {}
        if isinstance(y, Mapping):
            return dict(y)
        only = next(iter(self.named)) if len(self.named) == 1 else None
        if hasattr(y, "columns") and (only is None or only in y.columns):
            return {str(c): np.asarray(y[c]) for c in y.columns}
        if not self.named:
            raise UserError("this model has no conditions: leave y out")
        if only is None:
            raise UserError(f"this model has the conditions {', '.join(self.named)}: give a dict of values by name")
        return {only: y}


def guess_kind(values: np.ndarray) -> str:
    """Vectors are numbers; text, booleans, and whole numbers with few different values are labels."""
    if values.ndim > 1 and values.shape[1] > 1:
        return "number"
    if values.dtype.kind not in "iuf":
        return "label"
    known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    limit = MAX_WHOLE_FLOAT_CLASSES if values.dtype.kind == "f" else MAX_INTEGER_CLASSES
    return "label" if (known == np.floor(known)).all() and len(np.unique(known)) <= limit else "number"


def is_unknown(value: Any) -> bool:
    """Whether a label is None, NaN, or pandas' NA or NaT."""
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and np.isnan(value))
    )


def plain(value: Any) -> Any:
    """A label as YAML writes it; 3.0, as a table reads a column of whole numbers with gaps, is 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def scales(values: np.ndarray) -> np.ndarray:
    """Return the number to divide each column of (N, size) by, (size,): its standard deviation, but not less than a floor, so
    that a joint that was at rest does not explode when it moves.

    The floor is in the column's own terms, since degrees may stand beside metres: a hundredth of its largest value, or 0.001 where
    it stays near 0. It never exceeds a hundredth of the widest column's deviation.
    """
    deviation = np.nanstd(values, axis=0)
    widest = deviation.max()
    if not widest > 0:
        return np.ones_like(deviation)
    own = np.maximum(0.01 * np.nanmax(np.abs(values), axis=0), 0.001)
    return np.maximum(deviation, np.minimum(own, 0.01 * widest))


def per_row(condition: Condition, values: Any, rows: int) -> np.ndarray:
    if isinstance(condition, Picture):
        return np.asarray(values)
    array = np.asarray(values, dtype=object if values is None else None)
    one = 0 if isinstance(condition, Label) or len(condition.mean) == 1 else 1
    return np.repeat(array[None], rows, axis=0) if array.ndim == one else array


def as_numbers(name: str, values: Any) -> np.ndarray:
    """Turn (N,) or (N, size) of anything into (N, size) float64."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"condition {name!r} should be numbers, got {np.ravel(values)[0]!r}") from None
    if np.isinf(array).any():
        raise UserError(f"condition {name!r} holds an infinite value: use NaN for unknown")
    return array.reshape(len(array), -1)


def is_known(codes: np.ndarray) -> np.ndarray:
    """Codes (N,) of labels or numbers (N, size) -> (N,) bool."""
    return codes >= 0 if codes.ndim == 1 else ~np.isnan(codes).any(-1)
