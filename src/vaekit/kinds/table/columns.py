"""Columns of a table: what kind of values a column holds, and how they become the numbers that a model sees, and back.

A column is `Discrete` (binary, categorical, ordinal: one of its classes) or `Continuous` (real, integer, positive, bounded,
date: a number on a line). Both are plain values, written to a run's config.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from vaekit.errors import UserError, near_matches, note
from vaekit.forms.numbers import held, piecewise, unscored
from vaekit.frame import in_words
from vaekit.frame.arrow import MOST_EXACT, TooLargeError, canonical, changed, date_step, is_time, numbers
from vaekit.kinds.table.identifiers import LEAST, SHARE, WORDS, numbers_rows

DISCRETE, CONTINUOUS = ("binary", "categorical", "ordinal"), ("real", "integer", "positive", "bounded", "date")
DROP = "drop"  # a kind to say that a column is to be left out
KINDS = (*DISCRETE, *CONTINUOUS, DROP)
MOST_CLASSES = 10_000
FEW, REPEATED = 32, 10  # numbers with at most this many different values, each this often, are classes in order
SPIKE, MOST_SPIKES = 0.05, 8  # a value that more than this share of the rows has gets a probability of its own
KNOTS = 100
SAMPLE = 200_000  # the numbers of this many rows show the shape of a column
TINY = 1e-300  # numbers nearer to each other than this cannot be told apart
STEPS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # to which numbers may be rounded, beside whole ones


@dataclass
class Discrete:
    """A column of `classes`. The model sees 1 for the first, 2 for the second, ...; 0 is a missing cell, and the number after
    the last is a class that training did not have.

    Attributes:
        classes: values. shares: how many of the rows have each. type: Arrow's, which they come back in.
        missing: share of missing cells. labels: all categories of the type, even those that no row has.
        format: how a file of text writes it, see `vaekit.frame.cells`. blanks: values that stand for a missing cell.
    """

    kind: str
    classes: list[Any]
    shares: list[float]
    type: str
    missing: float = 0.0
    labels: list[Any] = field(default_factory=list)
    format: str = ""
    blanks: list[Any] = field(default_factory=list)

    @property
    def gaps(self) -> list[Any]:
        """Values that count as missing; empty text is one of them if training had none."""
        text = bool(self.classes) and isinstance(self.classes[0], str)
        return [*self.blanks, ""] if text and "" not in self.classes else self.blanks

    def pack(self, name: str, values: Any, jitter: np.random.Generator | None = None) -> np.ndarray:
        """Canonical Arrow values (N,) -> codes (N,) float64, NaN where one is missing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self.classes:
            return np.full(len(values), np.nan)
        known = pa.array(self.classes)
        wanted = f"one of {', '.join(map(repr, self.classes[:5]))}"
        try:
            cast = values.cast(known.type)
            if pa.types.is_boolean(known.type) and not cast.cast(pa.float64()).equals(values.cast(pa.float64())):
                raise changed(name, values, wanted)  # Arrow takes any number but 0 for true
            values = cast
        except pa.ArrowInvalid:
            raise changed(name, values, wanted) from None
        code = pc.fill_null(pc.index_in(values, value_set=known), len(self.classes)).to_numpy() + 1.0
        code = np.where(values.is_valid().to_numpy(zero_copy_only=False), code, np.nan)
        unseen = np.flatnonzero(code > len(self.classes))
        if len(unseen):
            note(
                f"column {name!r} holds classes that training never saw, such as {values[int(unseen[0])].as_py()!r}: the "
                "model finds them improbable and does not know what goes with them"
            )
        return code

    def unpack(self, x: np.ndarray) -> Any:
        """Codes (N,), NaN for missing -> canonical Arrow values."""
        import pyarrow as pa

        missing = np.isnan(x) | (not self.classes)
        code = np.where(missing, 1, np.clip(x, 1, max(1, len(self.classes)))).astype(np.int64) - 1
        return pa.array(self.classes or [None]).take(pa.array(code, mask=missing))

    def form(self, name: str) -> dict[str, Any]:
        """See `vaekit.forms.cells`."""
        own = {"name": name, "kind": "classes", "of": self.kind, "classes": self.classes, "type": self.type}
        return {**own, "format": self.format, "blanks": self.gaps}

    def to_likelihood(self) -> dict[str, Any]:
        return {"shares": self.shares or [1.0]}  # a column that is always missing


@dataclass
class Continuous:
    """A column of numbers. The model sees their normal scores: a piecewise linear map between quantiles of the data takes
    them to a standard Normal, whatever their skew, and outliers to its tails.

    Attributes:
        low, high: the range that values come back in.
        step: what they are rounded to; 0: nothing.
        spikes: common values, each with a probability of its own, and shares: how many rows have them.
        knots, scores: values, and what they are for the model.
        type, missing, format, blanks: as of `Discrete`.
        origin: of dates, in units of `type`: all else is since then. So whole numbers too large for a float stay exact.
    """

    kind: str
    low: float
    high: float
    step: float
    type: str
    missing: float = 0.0
    spikes: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    knots: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    origin: int | None = None
    format: str = ""
    blanks: list[Any] = field(default_factory=list)

    @property
    def gaps(self) -> list[Any]:
        """Values that count as missing."""
        return self.blanks

    def pack(self, name: str, values: Any, jitter: np.random.Generator | None = None) -> np.ndarray:
        """Canonical Arrow values (N,) -> normal scores (N,) float64, NaN where one is missing.

        jitter: spread rounded values evenly over the numbers that round to them: rounded values have no density
            (Theis et al. 2016, arXiv 1511.01844).
        """
        v = numbers(name, values, self.origin)
        if jitter is not None and self.step:
            spread = (jitter.random(len(v)) - 0.5) * self.step
            v = v + np.where(np.isin(v, self.spikes), 0.0, spread)
        return piecewise(v, self.knots, self.scores)

    def unpack(self, x: np.ndarray) -> Any:
        """Normal scores (N,), NaN for missing -> canonical Arrow values."""
        return self.held(unscored(x, self.knots, self.scores, self.spikes))

    def held(self, v: np.ndarray) -> Any:
        """Turn numbers (N,), for dates since the origin, into the nearest values that the column can hold; NaN for missing."""
        import pyarrow as pa

        return pa.array(held(v, self.low, self.high, self.step, self.origin), mask=np.isnan(v))

    def form(self, name: str) -> dict[str, Any]:
        """See `vaekit.forms.cells`."""
        own = {
            "name": name,
            "kind": "number",
            "of": self.kind,
            "knots": self.knots,
            "scores": self.scores,
            "low": self.low,
        }
        own |= {"high": self.high, "step": self.step, "spikes": self.spikes, "origin": self.origin, "type": self.type}
        return {**own, "format": self.format, "blanks": self.gaps}

    def to_likelihood(self) -> dict[str, Any]:
        spikes = piecewise(np.array(self.spikes), self.knots, self.scores).tolist()
        return {"spikes": spikes, "shares": self.shares, "knots": self.knots, "scores": self.scores}


Column = Discrete | Continuous


def column(kind: str, **values: Any) -> Column:
    """Make a column from the plain values in a run's config."""
    return (Discrete if kind in DISCRETE else Continuous)(kind, **values)


# -- learning ----------------------------------------------------------------------------------------------------------


def blanks(said: Mapping[str, Any]) -> list[Any]:
    """The values that stand for a missing cell, as the user says."""
    missing = said.get("missing", [])
    return list(missing) if isinstance(missing, list | tuple) else [missing]


class Summary:
    """The facts about a column after looking at some pieces of the table.

    Args:
        name, type, format: of the column. rows: of the table. said: what the user says of it: kind, classes, low, high, step.
    """

    def __init__(self, name: str, type: Any, rows: int, said: Mapping[str, Any], format: str = ""):
        self.name, self.type, self.rows, self.said, self.format = name, type, rows, said, format
        self.stride = max(1, rows // SAMPLE)
        self.seen = self.missing = 0
        self.low, self.high, self.whole = np.inf, -np.inf, True
        self.origin: int | None = None  # of times: one in the middle of them
        self.common = 0  # of times: the common divisor of all, since the origin
        self.labels: dict[Any, None] = {}  # of a type with categories, in their order
        self.counts: Counter[Any] | None = Counter()
        self.sample: list[np.ndarray] = []
        self.numeric = False
        self.identifies = ""  # why it is an identifier, where that is clear at once

    def add(self, column: Any) -> None:
        """Look at another piece."""
        if self.identifies:
            return
        try:
            self.look(column)
        except TooLargeError:
            if self.said.get("kind"):
                raise
            self.identifies = "whole numbers beyond 2^53"

    def look(self, column: Any) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        values = canonical(self.name, column)
        words = pa.types.is_string(values.type) or pa.types.is_boolean(values.type)
        self.numeric = not (words or pa.types.is_dictionary(self.type) or len(values) == 0)
        self.missing += values.null_count
        if pa.types.is_dictionary(self.type):
            for chunk in column.chunks:
                self.labels.update(dict.fromkeys(canonical(self.name, chunk.dictionary).to_pylist()))
        if self.numeric and not pa.types.is_null(values.type):
            if is_time(self.type):
                whole = values.drop_null().to_numpy()
                if len(whole) and self.origin is None:
                    self.origin = int(np.sort(whole)[len(whole) // 2])  # near most of them
                self.common = int(np.gcd.reduce(whole - (self.origin or 0), initial=self.common))
            v = numbers(self.name, values, self.origin)
            self.sample.append(v[-self.seen % self.stride :: self.stride].copy())  # a view would hold all of v
            known = v[~np.isnan(v)]
            if len(known):
                ends = (known.min(), known.max()) if self.origin is None else (whole.min(), whole.max())
                low, high = (v if self.origin is None else int(v) - self.origin for v in ends)
                self.low, self.high = min(self.low, low), max(self.high, high)
                self.whole &= bool((known == np.floor(known)).all())
        self.seen += len(values)
        most = FEW if self.numeric and self.said.get("kind") not in DISCRETE else MOST_CLASSES
        if self.counts is not None:
            found = pc.value_counts(values.drop_null())
            pairs = zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)
            self.counts.update(dict(pairs))
            if len(self.counts) > most:
                if most == MOST_CLASSES and self.many() and not self.said.get("kind"):
                    self.identifies = f"more than {MOST_CLASSES:,} values, such as {self.example()!r}"
                elif most == MOST_CLASSES:
                    raise UserError(
                        f"column {self.name!r} has more than {MOST_CLASSES:,} different values, such as "
                        f"{self.example()!r}: leave it out (schema: {self.name}: drop), or group them"
                    )
                self.counts = None if self.numeric else self.counts

    def many(self) -> bool:
        """Whether nearly every row has a different value."""
        return self.counts is not None and len(self.counts) > SHARE * (self.seen - self.missing)

    def example(self) -> str:
        return str(next(iter(self.counts or [""])))[:50]

    def identifier(self) -> str:
        """Say why the column looks like an identifier; "" if it does not, or if the user says its kind."""
        known = self.seen - self.missing
        if self.identifies or self.said.get("kind") or known < LEAST or is_time(self.type):
            return self.identifies
        if not self.numeric:
            return (
                f"{len(self.counts or []):,} values in {known:,} rows, such as {self.example()!r}"
                if self.many()
                else ""
            )
        v = np.concatenate(self.sample)
        v = v[~np.isnan(v)]
        if not self.whole or len(np.unique(v)) < len(v) or not numbers_rows(self.name, self.low, self.high, known):
            return ""
        return f"{known:,} values in {known:,} rows, such as {int(v[0])}"

    def sentinel(self) -> str:
        """Find a value that may stand for a missing cell, and its share, else "". It is negative or made of nines, several rows have
        it, and it is further from all other values than these are from each other."""
        if not self.numeric or is_time(self.type) or not self.sample:
            return ""
        v = np.concatenate(self.sample)
        v = v[~np.isnan(v)]
        for end in (self.low, self.high):
            rest, count = v[v != end], int((v == end).sum())
            whole = re.fullmatch(r"-\d+\.0|99+\.0", str(float(end)))
            if whole and count > 2 and len(rest) and 0 < np.ptp(rest) < np.abs(rest - end).min():
                return f"{int(end)} in {count / len(v):.1%} of the rows"
        return ""

    def is_prose(self) -> bool:
        """Whether the values are texts of several words, on average."""
        some = [str(value) for value in islice(self.counts or [], 1000)]
        return not self.numeric and sum(len(text.split()) for text in some) >= WORDS * max(1, len(some))

    def column(self) -> Column:
        """The schema of the column."""
        kind = self.said.get("kind") or self.guess()
        if kind not in KINDS:
            raise UserError(f"column {self.name!r}: {kind!r} is not a kind of column{near_matches(str(kind), KINDS)}")
        missing = self.missing / max(1, self.rows)
        if kind in DISCRETE:
            return self.discrete(kind, missing)
        if not self.numeric or is_time(self.type) != (kind == "date"):
            other = "date, ordinal" if is_time(self.type) else "real, integer" if self.numeric else "categorical"
            raise UserError(
                f"column {self.name!r} holds {in_words(self.type)}, so it cannot be {kind}: choose {other} or drop"
            )
        return self.continuous(kind, missing)

    def guess(self) -> str:
        import pyarrow as pa

        values = None if self.counts is None else len(self.counts)
        repeated = values is not None and (values <= 2 or self.seen - self.missing >= REPEATED * values)
        if values is not None and (not self.numeric or repeated):
            if values == 2:
                return "binary"
            ordered = pa.types.is_dictionary(self.type) and self.type.ordered
            return "ordinal" if ordered or (self.numeric and values > 2) else "categorical"
        if is_time(self.type):
            return "date"
        if self.whole and max(-self.low, self.high) < MOST_EXACT:
            return "integer"
        if self.low == 0 and self.high in (1, 100):
            return "bounded"
        return "positive" if self.low >= 0 else "real"

    def discrete(self, kind: str, missing: float) -> Discrete:
        assert self.counts is not None
        classes = self.said.get("classes") or [v for v in self.labels if v in self.counts] or sorted(self.counts)
        unknown = [value for value in self.counts if value not in classes]
        if unknown:
            raise UserError(
                f"column {self.name!r} holds {unknown[0]!r}, which is not one of its classes: add it to the schema"
            )
        total = sum(self.counts.values())
        shares = [(self.counts[value] + 1) / (total + len(classes)) for value in classes]  # none is impossible
        return Discrete(
            kind, list(classes), [round(s, 6) for s in shares], str(self.type), missing, list(self.labels), self.format,
            blanks(self.said),
        )  # fmt: skip

    def continuous(self, kind: str, missing: float) -> Continuous:
        v = np.concatenate(self.sample)
        v = v[~np.isnan(v)]
        if not len(v) or self.low == self.high:
            raise UserError(f"column {self.name!r} has at most one value, so it cannot be {kind}: leave the kind out")
        half = float(self.high) / 2 - float(self.low) / 2
        if not TINY < half < np.finfo(float).max / 2:
            raise UserError(
                f"column {self.name!r} reaches from {self.low:g} to {self.high:g}, too {'far' if half > 1 else 'near'} for 64-bit "
                "numbers: rescale it, or empty the cells that are wrong"
            )
        step = self.said.get("step")
        if step is None:
            step = (
                0.0
                if kind == "real" and "kind" in self.said
                else date_step(self.common, self.type)
                if kind == "date"
                else decimals(v)
            )
        number = float if self.origin is None else int
        low = self.said.get("low", self.low)
        high = self.said.get("high", self.high)
        values, counts = np.unique(v, return_counts=True)
        most = np.argsort(-counts, kind="stable")[:MOST_SPIKES]
        spikes = sorted(values[i] for i in most if counts[i] > max(SPIKE * len(v), 10))
        shares = [float((v == s).mean()) for s in spikes]
        knots, scores = normal_scores(v[~np.isin(v, spikes)], step, float(self.low), float(self.high))
        return Continuous(
            kind, number(low), number(high), float(step), str(self.type), missing,
            [float(s) for s in spikes], [round(s, 6) for s in shares], knots, scores, self.origin, self.format,
            blanks(self.said),
        )  # fmt: skip


def normal_scores(v: np.ndarray, step: float, low: float, high: float) -> tuple[list[float], list[float]]:
    """Return values and their normal scores: at most `KNOTS` quantiles of v, and both ends of the range.

    Values that are rounded count as spread evenly over what is rounded to them. Beyond its ends the map goes on as it was
    between its last two knots.
    """
    from scipy.special import ndtri

    v = np.sort(v)
    if step and len(v):
        _, first, counts = np.unique(v, return_index=True, return_counts=True)
        place = (np.arange(len(v)) - np.repeat(first, counts) + 0.5) / np.repeat(counts, counts)
        v = v + (place - 0.5) * step
    if len(v) < 2 or v[-1] - v[0] <= 1e-12 * max(abs(high), abs(low)):
        return [low, high], [-1.0, 1.0]
    n = max(2, min(KNOTS, len(v) // 10))
    end = 0.5 / len(v)
    p = np.concatenate([[end], (np.arange(n) + 0.5) / n, [1 - end]])
    knots = np.quantile(v, np.clip(p, 0, 1), method="hazen")
    # Knots nearer to each other than rounding can tell would make the map steep without end. Outliers do not count for that.
    middle = np.quantile(v, 0.9) - np.quantile(v, 0.1)
    least = np.maximum(1e-9 * middle, 1e-14 * np.abs(knots[1:]))
    keep = np.concatenate([[True], np.diff(knots) > least])
    knots, p = knots[keep], p[keep]
    if len(knots) < 2:
        knots, p = np.array([v[0], v[-1]]), np.array([end, 1 - end])
    return knots.tolist(), ndtri(p).tolist()


def decimals(v: np.ndarray) -> float:
    """Find the largest step of 1, 0.1, ... that divides all values; 0 if there is none."""
    for step in reversed(STEPS):
        scaled = v / step
        exact = np.abs(scaled).max(initial=0) < MOST_EXACT * step
        if exact and (np.abs(scaled - np.rint(scaled)) <= np.minimum(1e-9 * np.abs(scaled), 1e-3)).all():
            return step
    return 0.0
