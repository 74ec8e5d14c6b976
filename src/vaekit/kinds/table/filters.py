"""Rows that fulfil conditions on their columns: "sex=Female", "age>=40"."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vaekit.conditions import Condition, Label
from vaekit.errors import UserError, near_matches
from vaekit.frame import dates, in_words
from vaekit.frame.arrow import is_time, type_named
from vaekit.kinds.table import describe, possible
from vaekit.kinds.table.columns import Column, Discrete

log = logging.getLogger(__name__)

COMPARE = {
    "=": "equal",
    "==": "equal",
    "!=": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}
ORDER = ("<", "<=", ">", ">=")
AT_ONCE = 4096  # rows drawn at a time, at least
MOST = 1_000_000  # rows drawn before giving up, or a thousand for each that is wanted
NONE = 100_000  # rows drawn before giving up where not one fulfils the conditions


@dataclass
class Clause:
    """A comparison of `column` with `value`, which is text until the column's type is known."""

    column: str
    compare: str
    value: Any

    def __str__(self) -> str:
        return f"{self.column}{self.compare}{self.value}"

    def holds(self, table: Any) -> Any:
        """Whether rows of an Arrow table fulfil it, (N,) booleans; a missing cell fulfils nothing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.column not in table.column_names:
            raise UserError(f"there is no column {self.column!r}{near_matches(self.column, table.column_names)}")
        column = table[self.column]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        return pc.fill_null(getattr(pc, COMPARE[self.compare])(column, self.operand(column.type)), False)

    def operand(self, kind: Any) -> Any:
        """The value as an Arrow scalar that a column of this type can be compared with."""
        import pyarrow as pa
        import pyarrow.compute as pc

        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if self.compare in ORDER and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise UserError(
                f"column {self.column!r} holds text, so {self} has no meaning: compare text by = or !=, or train on numbers"
            )
        value = self.value_as(kind)
        if value is None and getattr(kind, "tz", None):  # a time that names no zone is of the column's
            value = self.value_as(pa.timestamp(kind.unit))
            value = value if value is None else pc.assume_timezone(value, kind.tz)
        if value is None and pa.types.is_integer(kind):  # "age>17.5"
            value = self.value_as(pa.float64())
        if value is None:
            raise UserError(
                f"column {self.column!r} holds {in_words(kind)}, which cannot be compared with {self.value!r}"
            )
        return value

    def value_as(self, kind: Any) -> Any:
        """The value as an Arrow scalar of this type; None if it is not of this type."""
        import pyarrow as pa

        try:
            value = pa.scalar(self.value)
            value = value if value.type == kind else value.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None
        return value if value.is_valid else None


def clauses(where: str | Sequence[str] | Mapping[str, Any], names: Sequence[str] = ()) -> list[Clause]:
    """ "sex=Female", several such, or {"sex": "Female"}. names: columns; if several begin a text, the longest counts."""
    if isinstance(where, Mapping):
        return [Clause(name, "=", value) for name, value in where.items()]
    known = [re.escape(name) for name in sorted(names, key=len, reverse=True)]
    pattern = rf"\s*({'|'.join([*known, '.+?'])})\s*(==|!=|<=|>=|=|<|>)\s*(.*)"
    found = []
    for text in [where] if isinstance(where, str) else where:
        parts = re.fullmatch(pattern, text, re.DOTALL)
        if parts is None:
            raise UserError(
                f"{text!r} is not a condition on a column: write it as NAME=VALUE, NAME>=VALUE or NAME!=VALUE"
            )
        found.append(Clause(parts[1].strip(), parts[2], parts[3]))
    return found


def check(wanted: Sequence[Clause], columns: Mapping[str, Column], conditions: Mapping[str, Condition]) -> None:
    """UserError, before any row is drawn, if a column, or a condition that becomes one, cannot fulfil a clause."""
    import pyarrow as pa
    import pyarrow.compute as pc

    labels = {name: c.classes for name, c in conditions.items() if isinstance(c, Label)}
    columns = {
        **columns,
        **{n: Discrete("categorical", known, [], str(pa.array(known).type)) for n, known in labels.items()},
    }
    for name in dict.fromkeys(clause.column for clause in wanted):
        if name not in columns:
            if name not in conditions:
                raise UserError(f"there is no column {name!r}{near_matches(name, [*columns, *conditions])}")
            continue  # a number that is given
        own, column = [clause for clause in wanted if clause.column == name], columns[name]
        values = possible(column, [])
        values = possible(column, [clause.operand(values.type) for clause in own])
        if not pc.any(fulfilling(own, pa.table({name: values}))).as_py():
            asked = " and ".join(map(str, own))
            if isinstance(column, Discrete):
                known = near_matches(str(own[0].value), values.cast(pa.string()).to_pylist())
                raise UserError(f"no row can have {asked}: {name} has no such class{known}")
            raise UserError(f"no row can have {asked}: {name} is {describe(column)}")


def as_written(wanted: Sequence[Clause], columns: Mapping[str, Column]) -> list[Clause]:
    """The clauses with times in place of text that is written as the column writes times."""
    import pyarrow as pa

    found = []
    for clause in wanted:
        c = columns.get(clause.column)
        if c is not None and c.format and isinstance(clause.value, str) and is_time(type_named(c.type)):
            times = dates.read_times(pa.chunked_array([[clause.value]]), c.format)
            clause = clause if times is None else replace(clause, value=times[0].as_py())
        found.append(clause)
    return found


def fulfilling(wanted: Sequence[Clause], table: Any) -> Any:
    """Whether rows of an Arrow table fulfil all of `wanted`, (N,) booleans."""
    import pyarrow.compute as pc

    holds = wanted[0].holds(table)
    for clause in wanted[1:]:
        holds = pc.and_(holds, clause.holds(table))
    return holds


def draw_until(n: int, wanted: Sequence[Clause], draw: Callable[[int, int], Any], track: Any = list) -> Any:
    """Draw n rows that fulfil all of `wanted` from those that `draw(rows, i)` gives at the i-th call. These are exact draws from
    the model, given the clauses. track: wraps the pieces of work, to show progress.

    Raises UserError if hardly any row fulfils them.
    """
    import pyarrow as pa

    return pa.concat_tables(track(found_until(n, wanted, draw))).slice(0, n)


def found_until(n: int, wanted: Sequence[Clause], draw: Callable[[int, int], Any]) -> Iterator[Any]:
    """Yield the rows of each call of `draw` that fulfil all of `wanted`, until there are n."""
    drawn, found, i = 0, 0, 0
    while found < n:
        if drawn >= max(MOST, 1000 * n) or (drawn >= NONE and not found):
            raise UserError(f"{rarity(drawn, found)} {' and '.join(map(str, wanted))}: {remedy(found)}")
        if i == 1:
            log.info(
                "drawing until %s rows have %s; %s of the first %s do", n, " and ".join(map(str, wanted)), found, drawn
            )
        share = max(found, 1) / max(drawn, 1)
        rows = int(min(max(AT_ONCE, 1.2 * (n - found) / share), 16 * AT_ONCE)) if drawn else max(AT_ONCE, n)
        table = draw(rows, i)
        table = table.filter(fulfilling(wanted, table))
        drawn, found, i = drawn + rows, found + len(table), i + 1
        yield table


def rarity(drawn: int, found: int) -> str:
    if found:
        return f"{found} of {drawn:,} rows drawn, 1 in {drawn // found:,}, have"
    return f"none of {drawn:,} rows drawn, so fewer than 1 in {drawn // 3:,}, have"  # 3 / n: the rule of three, 95 %


def remedy(found: int) -> str:
    fewer = f"ask for at most {found}, or " if found else "widen the conditions, or "
    return fewer + "train with --condition on the column, which draws it without a search"
