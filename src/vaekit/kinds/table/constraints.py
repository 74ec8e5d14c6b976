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
from vaekit.forms.constraints import Grid, distance_step, distances, obeying, tell_broken
from vaekit.forms.rules import Bounds, Formula, Rule, merged, parsed
from vaekit.frame import in_words
from vaekit.frame.arrow import canonical, date_step, is_time, numbers, restore, type_named
from vaekit.kinds.table.columns import Column, Discrete, Summary, column, decimals

NEARLY_ALL, FEWEST = 0.99, 100  # share of the rows, and rows, from which on an order of dates is suggested
MOST_VIOLATED = 0.1  # share of the rows: if more of them violate a constraint, it is wrong


@dataclass
class Form(Grid):
    """The way in which a column holds numbers. type: Arrow's name of its type."""

    type: str = ""

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
            step = distance_step(rule, forms)
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
        rules = [parsed(text, list(schema)) for text in self.texts]
        for rule in rules:
            (text,) = rule.texts
            for name in (rule.name, *rule.others):
                check_numeric(name, schema[name], text)
            clocks = {clock(schema[name]) for name in (rule.name, *rule.others)}
            if len(clocks) > 1 or (
                isinstance(rule, Formula) and clocks != {None} and not isinstance(rule.tree, ast.Name)
            ):
                raise UserError(
                    f"the constraint {text!r} mixes times with numbers, or with times of another zone: leave it out"
                )
        return merged(rules)

    def forms(self, schema: Mapping[str, Column]) -> dict[str, Form]:
        """The forms of all columns that the rules name."""
        return forms_of(self.rules(schema), schema)

    def form(self, schema: Mapping[str, Column]) -> dict[str, Any] | None:
        """Describe the rules as plain JSON, for `vaekit.forms.constraints.Constraints`. None for a table without rules."""
        if not self.texts:
            return None
        grids = {
            name: {"step": f.step, "low": float(f.low), "high": float(f.high), "start": f.start, "scale": f.scale, "zero": f.zero}
            for name, f in self.forms(schema).items()
        }  # fmt: skip
        distances = {name: c.form(name) for name, c in self.distances.items()}
        return {"rules": self.texts, "grids": grids, "distances": distances}

    # -- before the model, and after it --------------------------------------------------------------------------------

    def seen(self, cells: Mapping[str, Any], schema: Mapping[str, Column], *, learning: bool = False) -> dict[str, Any]:
        """Turn canonical columns by name into those that the model sees, some as distances. A distance is missing if a column that
        it depends on is missing, and, while `learning`, if the rule does not hold."""
        import pyarrow as pa

        forms = self.forms(schema)
        v = {name: f.numbers(name, cells[name]) for name, f in forms.items()}
        found = distances(self.rules(schema), v, forms, learning=learning)
        return {name: pa.array(distance, mask=np.isnan(distance)) for name, distance in found.items()}

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
        drawn = {
            name: numbers("", drawn[name]) if name in self.distances else f.numbers(name, drawn[name])
            for name, f in forms.items()
        }
        given = {name: f.numbers(name, known[name]) for name, f in forms.items()} if known else {}
        v = obeying(rules, drawn, given, forms)
        found = {name: f.restored(v[name]) for name, f in forms.items()}
        if known:
            v = {name: f.numbers(name, canonical(name, found[name])) for name, f in forms.items()}
            tell_broken(rules, v, given, forms)
        return found


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
    """The number of units of the type in a day; None for numbers."""
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
            return Form(decimals(values), values.min(), values.max(), type=c.type)
        return Form(c.step, c.low, c.high, type=c.type)
    start, scale, zero = first(c), finest // per, day * per
    if isinstance(c, Discrete):
        ticks = np.array([int(value) for value in c.classes] or [0]) - start
        step, low, high = float(date_step(int(np.gcd.reduce(ticks)), type_named(c.type))), ticks.min(), ticks.max()
    else:
        step, low, high = c.step, c.low, c.high
    at = float((start - zero) * scale)
    return Form(step * scale, float(low) * scale + at, float(high) * scale + at, at, scale, zero, c.type)
