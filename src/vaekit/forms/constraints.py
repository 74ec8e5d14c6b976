"""Rules between the columns of a table that every row obeys, on numbers: see `vaekit.kinds.table.constraints`.

Columns are arrays (N,) of numbers by name, NaN where a cell is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vaekit.errors import note
from vaekit.forms.cells import NO_TIME, Column, column_of
from vaekit.forms.numbers import rounded
from vaekit.forms.rules import Bounds, Formula, Rule, merged, order, parsed

Numbers = dict[str, np.ndarray]


@dataclass
class Grid:
    """The numbers that a column can hold. Times are whole units since a day, in the finest unit of the columns that are compared.

    Attributes:
        step, low, high: as of `vaekit.kinds.table.columns.Continuous`, in these numbers. start: one of them: others are steps from it.
        scale: units that one of the type's own has. zero: of times, what they are counted from, in the type's own units.
    """

    step: float
    low: float
    high: float
    start: float = 0.0
    scale: int = 1
    zero: int | None = None

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


class Constraints:
    """The rules of an exported table.

    Args:
        rules: as the user wrote them. grids: of the columns that they name. distances: what the model sees in the place of a column,
            by its name. columns: all of them.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        rules: Sequence[str] = (),
        grids: Mapping[str, Mapping[str, Any]] | None = None,
        distances: Mapping[str, Mapping[str, Any]] | None = None,
    ):
        self.columns = {c.name: c for c in columns}
        self.rules = merged([parsed(text, list(self.columns)) for text in rules])
        self.grids = {name: Grid(**grid) for name, grid in (grids or {}).items()}
        self.distances = {name: column_of(c) for name, c in (distances or {}).items()}

    def numbers(self, cells: Mapping[str, np.ndarray]) -> Numbers:
        """Cells as values, see `vaekit.forms.cells` -> numbers."""
        found = {}
        for name, grid in self.grids.items():
            gaps, values = self.columns[name].missing(cells[name]), cells[name]
            values = np.where(gaps, grid.zero or 0, values) - (grid.zero or 0)
            found[name] = np.where(gaps, np.nan, values.astype(np.float64) * grid.scale)
        return found

    def values(self, v: Numbers) -> Numbers:
        """Numbers -> cells as values."""
        found = dict(v)
        for name, grid in self.grids.items():
            if grid.zero is not None:
                whole = np.rint(np.nan_to_num(v[name]) / grid.scale).astype(np.int64) + grid.zero
                found[name] = np.where(np.isnan(v[name]), NO_TIME, whole)
        return found

    def seen(self, cells: Mapping[str, np.ndarray]) -> Numbers:
        """The values that the model sees in place of columns, by name."""
        return distances(self.rules, self.numbers(cells), self.grids)

    def completed(self, drawn: Mapping[str, np.ndarray], known: Mapping[str, np.ndarray]) -> Numbers:
        """Turn what the model draws, as values, some of them distances, into those of all columns that rules name.

        Args:
            known: cells that stay as they are, missing where the model decides; empty: it decides on all.
        """
        if not self.rules:
            return {}
        own = self.numbers({**drawn, **{name: np.zeros(len(drawn[name])) for name in self.distances}})
        apart = {name: np.asarray(drawn[name], dtype=np.float64) for name in self.distances}
        given = self.numbers(known) if known else {}
        found = self.values(obeying(self.rules, {**own, **apart}, given, self.grids))
        if known:
            tell_broken(self.rules, self.numbers(found), given, self.grids)
        return found


def distance_step(rule: Rule, grids: Mapping[str, Grid]) -> float:
    """The step that divides a distance, in units of its column. 0 means that no step divides it."""
    return min(grids[name].step for name in (rule.name, *rule.others)) / grids[rule.name].scale


def distances(rules: Sequence[Rule], v: Numbers, grids: Mapping[str, Any], *, learning: bool = False) -> Numbers:
    """The distances that the model sees in place of the columns that rules are about, in units of the column. A distance is missing if a
    column that it depends on is missing, and, while `learning`, if the rule does not hold."""
    found = {}
    for rule in rules:
        own = grids[rule.name]
        distance, holds = (v[rule.name] - rule.base(v)) / own.scale, rule.holds(v, own.step)
        if isinstance(rule, Formula):
            distance = np.where(holds, 0.0, distance)
        elif (step := distance_step(rule, grids)) and own.zero is None:
            distance = rounded(distance, step)
        found[rule.name] = np.where(holds | (not learning), distance, np.nan)
    return found


def obeying(rules: Sequence[Rule], drawn: Numbers, given: Numbers, grids: Mapping[str, Any]) -> Numbers:
    """Turn what the model draws, some of it distances in units of their column, into columns that obey the rules.

    Args:
        given: cells that stay as they are, NaN where the model decides; empty: it decides on all.
    """
    apart = {rule.name: drawn[rule.name] * grids[rule.name].scale for rule in rules}
    free = np.full(len(next(iter(drawn.values()))), np.nan)
    kept = {name: given[name] if given else free for name in grids}
    v = {name: keep_given(kept[name], drawn[name]) for name in grids if name not in apart}
    compute(rules, v, kept, apart, grids)
    if given:
        for rule in rules:
            if isinstance(rule, Formula):
                solve(rule, v, kept, grids)
        compute(rules, v, kept, apart, grids)
        press(rules, v, kept, apart, grids)
        compute([rule for rule in rules if isinstance(rule, Formula)], v, kept, apart, grids)
    return v


def tell_broken(rules: Sequence[Rule], v: Numbers, given: Numbers, grids: Mapping[str, Any]) -> None:
    """Note the rules that filled rows v do not obey, since what was given contradicts them."""
    for rule in rules:
        filled = np.any([np.isnan(given[name]) for name in (rule.name, *rule.others)], axis=0)
        if missed := int((filled & ~rule.holds(v, grids[rule.name].step)).sum()):
            said = " and ".join(rule.texts)
            note(
                f"{said!r} does not hold in {missed:,} of the filled rows: the cells that were not empty contradict it"
            )


def keep_given(given: np.ndarray, new: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(given), new, given)


def compute(rules: Sequence[Any], v: Numbers, given: Numbers, distances: Numbers, forms: Mapping[str, Any]) -> None:
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


def solve(rule: Formula, v: Numbers, given: Numbers, forms: Mapping[str, Any]) -> None:
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


def press(rules: Sequence[Any], v: Numbers, given: Numbers, distances: Numbers, forms: Mapping[str, Any]) -> None:
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
