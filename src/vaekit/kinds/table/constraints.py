"""Rules between the columns of a table that every row obeys: "start <= end", "total == price * quantity".

A column that has to be at least others is seen by the model as its distance from the largest of them, which is never below 0; one
that is computed from others as its distance from what is computed, which is always 0. So whatever the model draws obeys. A
distance is in the units of its column, and the map to it shifts by what is given: log-densities need no correction.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vaekit.errors import UserError, note
from vaekit.frame import in_words
from vaekit.frame.arrow import canonical, date_step, is_time, numbers, restore, type_named
from vaekit.kinds.table.columns import Column, Discrete, Summary, column, decimals, rounded
from vaekit.kinds.table.rules import Bounds, Formula, Rule, order, parsed

NEARLY_ALL, FEWEST = 0.99, 100  # share of the rows, and rows, from which on an order of dates is suggested
MOST_VIOLATED = 0.1  # share of the rows: if more of them violate a constraint, it is wrong
Values = dict[str, np.ndarray]


@dataclass
class Form:
    """How a column holds numbers. Times are whole units since a day, in the finest unit of the columns that are compared.

    Attributes:
        step, low, high: as of `vaekit.kinds.table.columns.Continuous`, in these numbers. start: one of them: others are steps from it.
        scale: units that one of the type's own has. zero: of times, what they are counted from, in the type's own units.
    """

    type: str
    step: float
    low: float
    high: float
    start: float = 0.0
    scale: int = 1
    zero: int | None = None

    def numbers(self, name: str, values: Any) -> np.ndarray:
        """Canonical Arrow values (N,) -> float64, NaN for missing."""
        return numbers(name, values, self.zero) * self.scale

    def restored(self, v: np.ndarray) -> Any:
        """Numbers (N,) -> an Arrow array of the column's type."""
        import pyarrow as pa

        gaps = np.isnan(v)
        if self.zero is not None:
            v = np.rint(np.nan_to_num(v) / self.scale).astype(np.int64) + self.zero
        return restore(pa.array(v, mask=gaps), self.type)

    def near(self, v: np.ndarray) -> np.ndarray:
        """The nearest numbers that the column can hold."""
        return np.clip(self.on_grid(v), self.low, self.high)

    def on_grid(self, v: np.ndarray) -> np.ndarray:
        if self.zero is None:
            return rounded(v, self.step)
        return np.rint((v - self.start) / self.step) * self.step + self.start

    def least(self, bound: np.ndarray, strict: bool, sign: int = 1) -> np.ndarray:
        """The first number at or above `bound` (sign -1: below) that the column can hold; beyond it where `strict`."""
        if not self.step:
            return np.nextafter(bound, sign * np.inf) if strict else bound
        first = self.on_grid(bound)
        beyond = (first - bound) * sign < 0
        if strict:
            beyond |= first == bound
        return np.where(beyond, self.on_grid(first + sign * self.step), first)


@dataclass
class Constraints:
    """Rules between the columns of a table.

    Attributes:
        texts: the rules as the user wrote them.
        distances: what the model sees in the place of a column, by its name.
    """

    texts: list[str] = field(default_factory=list)
    distances: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.distances = {n: column(**c) if isinstance(c, Mapping) else c for n, c in self.distances.items()}

    @classmethod
    def learn(cls, texts: Sequence[str], schema: Mapping[str, Column], pieces: Any, rows: int) -> Constraints:
        """Check the rules and learn the distances, from canonical columns by name, piece by piece.

        Raises UserError where a rule cannot be read, or hardly holds.
        """
        import pyarrow as pa

        self = cls(list(texts))
        rules, forms = self.rules(schema), self.forms(schema)
        summaries = {}
        for rule in rules:
            step = self.step(rule, forms)
            said = {} if forms[rule.name].zero is None else {"step": step}
            summaries[rule.name] = Summary(" and ".join(rule.texts), pa.float64(), rows, said)
        known, violated = dict.fromkeys(summaries, 0), dict.fromkeys(summaries, 0)
        for cells in pieces:
            found = self.seen(cells, schema, learning=True)
            v = {name: f.numbers(name, cells[name]) for name, f in forms.items()}
            for rule in rules:
                there = ~np.isnan(v[rule.name] + rule.base(v))
                known[rule.name] += int(there.sum())
                violated[rule.name] += int((there & ~rule.holds(v, forms[rule.name].step)).sum())
                summaries[rule.name].add(found[rule.name])
        for rule in rules:
            tell(rule, known[rule.name], violated[rule.name])
            constant = isinstance(rule, Formula)
            self.distances[rule.name] = (
                Discrete("categorical", [0.0], [1.0], "double") if constant else summaries[rule.name].column()
            )
        return self

    def rules(self, schema: Mapping[str, Column]) -> list[Rule]:
        """The rules, a column's after those of the columns that it depends on."""
        found: dict[str, Rule] = {}
        for text in self.texts:
            rule = parsed(text, list(schema))
            for name in (rule.name, *rule.others):
                check_numeric(name, schema[name], text)
            clocks = {clock(schema[name]) for name in (rule.name, *rule.others)}
            if len(clocks) > 1 or (
                isinstance(rule, Formula) and clocks != {None} and not isinstance(rule.tree, ast.Name)
            ):
                raise UserError(
                    f"the constraint {text!r} mixes times with numbers, or with times of another zone: leave it out"
                )
            old = found.get(rule.name)
            if old is None:
                found[rule.name] = rule
            elif isinstance(old, Bounds) and isinstance(rule, Bounds):
                old.others += rule.others
                old.strict += rule.strict
                old.texts += rule.texts
            else:
                raise UserError(
                    f"{old.texts[0]!r} already computes {rule.name!r}, so {text!r} cannot limit it: leave out one of the two"
                )
        return [found[name] for name in order(found.values()) if name in found]

    def forms(self, schema: Mapping[str, Column]) -> dict[str, Form]:
        """The forms of all columns that the rules name."""
        return forms_of(self.rules(schema), schema)

    def step(self, rule: Rule, forms: Mapping[str, Form]) -> float:
        """The step that divides a distance, in units of its column; 0 if there is none."""
        return min(forms[name].step for name in (rule.name, *rule.others)) / forms[rule.name].scale

    # -- before the model, and after it --------------------------------------------------------------------------------

    def seen(self, cells: Mapping[str, Any], schema: Mapping[str, Column], *, learning: bool = False) -> dict[str, Any]:
        """Turn canonical columns by name into those that the model sees, some as distances. A distance is missing if a column that
        it depends on is missing, and, while `learning`, if the rule does not hold."""
        import pyarrow as pa

        forms, found = self.forms(schema), {}
        v = {name: f.numbers(name, cells[name]) for name, f in forms.items()}
        for rule in self.rules(schema):
            own = forms[rule.name]
            distance, holds = (v[rule.name] - rule.base(v)) / own.scale, rule.holds(v, own.step)
            if isinstance(rule, Formula):
                distance = np.where(holds, 0.0, distance)
            elif (step := self.step(rule, forms)) and own.zero is None:
                distance = rounded(distance, step)
            distance = np.where(holds | (not learning), distance, np.nan)
            found[rule.name] = pa.array(distance, mask=np.isnan(distance))
        return found

    def completed(
        self, drawn: Mapping[str, Any], known: Mapping[str, Any], schema: Mapping[str, Column]
    ) -> dict[str, Any]:
        """Turn what the model draws, canonical columns by name, some of them distances, into all columns that rules name, in their
        own types.

        Args:
            known: canonical columns of cells that stay as they are, missing where the model decides; empty: it decides on all.
        """
        rules, forms = self.rules(schema), self.forms(schema)
        if not rules:
            return {}
        distances = {rule.name: numbers("", drawn[rule.name]) * forms[rule.name].scale for rule in rules}
        free = np.full(len(next(iter(distances.values()))), np.nan)
        given = {name: f.numbers(name, known[name]) if known else free for name, f in forms.items()}
        v = {
            name: keep_given(given[name], f.numbers(name, drawn[name]))
            for name, f in forms.items()
            if name not in distances
        }
        compute(rules, v, given, distances, forms)
        if known:
            open_ = {name: np.isnan(values) for name, values in given.items()}
            for rule in rules:
                if isinstance(rule, Formula):
                    solve(rule, v, given, forms)
            compute(rules, v, given, distances, forms)
            press(rules, v, given, distances, forms)
            compute([rule for rule in rules if isinstance(rule, Formula)], v, given, distances, forms)
        found = {name: f.restored(v[name]) for name, f in forms.items()}
        if known:
            v = {name: f.numbers(name, canonical(name, found[name])) for name, f in forms.items()}
            for rule in rules:
                filled = np.any([open_[name] for name in (rule.name, *rule.others)], axis=0)
                if missed := int((filled & ~rule.holds(v, forms[rule.name].step)).sum()):
                    said = " and ".join(rule.texts)
                    note(
                        f"{said!r} does not hold in {missed:,} of the filled rows: the cells that were not empty contradict it"
                    )
        return found


def keep_given(given: np.ndarray, new: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(given), new, given)


def compute(rules: Sequence[Any], v: Values, given: Values, distances: Values, forms: Mapping[str, Form]) -> None:
    """Compute the columns that rules are about from the columns that they depend on."""
    for rule in rules:
        own, base = forms[rule.name], rule.base(v)
        if isinstance(rule, Formula):
            new = own.on_grid(base) if own.step else base
        else:
            new = own.near(base + distances[rule.name])
            for other, strict in zip(rule.others, rule.strict, strict=True):
                new = np.maximum(new, own.least(v[other], strict))
        v[rule.name] = keep_given(given[rule.name], new)


def solve(rule: Formula, v: Values, given: Values, forms: Mapping[str, Form]) -> None:
    """If the result is given, set one of the missing cells that it is computed from."""
    wanted = ~np.isnan(given[rule.name])
    for name in rule.others:
        zero, one = (rule.base({**v, name: np.full_like(v[name], value)}) for value in (0.0, 1.0))
        with np.errstate(all="ignore"):
            exact = (v[rule.name] - zero) / (one - zero)
        rows = wanted & np.isnan(given[name]) & np.isfinite(exact)
        near = forms[name].on_grid(exact) if forms[name].step else exact
        fits = rule.holds({**v, name: near}, forms[rule.name].step)
        v[name] = np.where(rows, np.where(fits, near, exact), v[name])
        given[name] = np.where(rows, v[name], given[name])
        wanted &= ~rows


def press(rules: Sequence[Any], v: Values, given: Values, distances: Values, forms: Mapping[str, Form]) -> None:
    """Move missing cells below their upper bounds, from the top down: by the distance if the upper end is given."""
    bounds = {rule.name: rule for rule in rules if isinstance(rule, Bounds)}
    computed = {rule.name for rule in rules if isinstance(rule, Formula)}
    for name in reversed(order(rules)):
        above = [rule for rule in bounds.values() if name in rule.others]
        if not above or name in computed:
            continue
        new, most = v[name], np.full_like(v[name], np.inf)
        for rule in above:
            strict = any(s for other, s in zip(rule.others, rule.strict, strict=True) if other == name)
            most = np.minimum(most, forms[name].least(v[rule.name], strict, -1))
            if len(rule.others) == 1:  # so that the distance is that from this column
                new = np.where(np.isnan(given[rule.name]), new, forms[name].near(v[rule.name] - distances[rule.name]))
        if name in bounds:
            for other, strict in zip(bounds[name].others, bounds[name].strict, strict=True):
                new = np.where(np.isnan(given[other]), new, np.maximum(new, forms[name].least(v[other], strict)))
        v[name] = keep_given(given[name], np.minimum(new, most))


def candidates(schema: Mapping[str, Column], pieces: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Find orders of two columns of dates that nearly all rows of the first piece obey: the rule and its share of the rows."""
    names = [name for name, c in schema.items() if c.kind == "date"]
    pairs = [(a, b) for a in names for b in names if a != b and clock(schema[a]) == clock(schema[b])]
    found: dict[str, float] = {}
    cells = next(iter(pieces), {}) if pairs else {}
    for low, high in pairs:
        if not cells or f"{high} <= {low}" in found:  # the same dates twice
            continue
        rule = Bounds(high, [low], [False], [f"{low} <= {high}"])
        forms = forms_of([rule], schema)
        v = {name: f.numbers(name, cells[name]) for name, f in forms.items()}
        known = ~np.isnan(v[low] + v[high])
        if known.sum() >= FEWEST and (share := rule.holds(v, 0.0)[known].mean()) >= NEARLY_ALL:
            found[rule.texts[0]] = float(share)
    return found


def tell(rule: Rule, known: int, violated: int) -> None:
    said = " and ".join(rule.texts)
    if not known:
        raise UserError(f"no row has all the values that {said!r} compares: leave the constraint out")
    if violated > MOST_VIOLATED * known:
        raise UserError(
            f"{violated:,} of {known:,} rows violate {said!r}: correct the data, or leave the constraint out"
        )
    if violated:
        note(f"{violated:,} of {known:,} rows violate {said!r}: their {rule.name!r} counts as missing")


# -- what columns hold --------------------------------------------------------------------------------------------------


def check_numeric(name: str, c: Column, text: str) -> None:
    from pyarrow import types

    kind = type_named(c.type)
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or is_time(kind)):
        raise UserError(
            f"the constraint {text!r} compares numbers or times, and column {name!r} holds {in_words(kind)}: leave it out"
        )


def clock(c: Column) -> str | None:
    """Say what times of a column can be compared with; None for numbers."""
    from pyarrow import types

    kind = type_named(c.type)
    if not is_time(kind):
        return None
    if types.is_date(kind) or types.is_timestamp(kind):
        return "with a zone" if getattr(kind, "tz", None) else "without"
    return str(kind)


def units_a_day(c: Column) -> int | None:
    """How many units of the type a day has; None for numbers."""
    kind = type_named(c.type)
    if not is_time(kind):
        return None
    if str(kind).startswith("date32"):
        return 1
    return 86400 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[getattr(kind, "unit", "ms")]


def first(c: Column) -> int:
    """One of the times of a column, in the type's units."""
    return int(next(iter(c.classes), 0) if isinstance(c, Discrete) else c.origin or 0)


def forms_of(rules: Sequence[Rule], schema: Mapping[str, Column]) -> dict[str, Form]:
    """The forms of all columns that rules name."""
    names = dict.fromkeys(name for rule in rules for name in (*rule.others, rule.name))
    finest = max((units_a_day(schema[name]) or 1 for name in names), default=1)
    days = [first(schema[name]) // units for name in names if (units := units_a_day(schema[name]))]
    return {name: form(schema[name], finest, min(days, default=0)) for name in names}


def form(c: Column, finest: int, day: int) -> Form:
    """Make a form. finest: units per day of the columns that it is compared with. day: times count from it."""
    per = units_a_day(c)
    if per is None:
        if isinstance(c, Discrete):
            values = np.array([float(value) for value in c.classes] or [0.0])
            return Form(c.type, decimals(values), values.min(), values.max())
        return Form(c.type, c.step, c.low, c.high)
    start, scale, zero = first(c), finest // per, day * per
    if isinstance(c, Discrete):
        ticks = np.array([int(value) for value in c.classes] or [0]) - start
        step, low, high = float(date_step(int(np.gcd.reduce(ticks)), type_named(c.type))), ticks.min(), ticks.max()
    else:
        step, low, high = c.step, c.low, c.high
    at = float((start - zero) * scale)
    return Form(c.type, step * scale, float(low) * scale + at, float(high) * scale + at, at, scale, zero)
