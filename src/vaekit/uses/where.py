"""Rows that fulfil conditions on their columns: "sex=Female", "age>=40"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vaekit.errors import UserError, near_matches

COMPARE = {
    "=": "equal",
    "==": "equal",
    "!=": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}
AT_ONCE = 4096  # rows drawn at a time, at least
MOST = 1_000_000  # rows drawn before giving up, or a thousand for each that is wanted


@dataclass
class Clause:
    """`column` compared with `value`, which is text until the column's type is known."""

    column: str
    compare: str
    value: Any

    def holds(self, table: Any) -> Any:
        """Of an Arrow table: which rows, (N,) booleans; a missing cell fulfils nothing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.column not in table.column_names:
            raise UserError(f"there is no column {self.column!r}{near_matches(self.column, table.column_names)}")
        column = table[self.column]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        value = self.value_as(column.type)
        if value is None and getattr(column.type, "tz", None):  # a time that names no zone is of the column's
            value = self.value_as(pa.timestamp(column.type.unit))
            value = value if value is None else pc.assume_timezone(value, column.type.tz)
        if value is None and pa.types.is_integer(column.type):  # "age>17.5"
            value = self.value_as(pa.float64())
        if value is None:
            raise UserError(f"column {self.column!r} holds {column.type}, which cannot be {self.value!r}")
        return pc.fill_null(getattr(pc, COMPARE[self.compare])(column, value), False)

    def value_as(self, kind: Any) -> Any:
        """The value as an Arrow scalar of this type; None where it is none of it."""
        import pyarrow as pa

        try:
            value = pa.scalar(self.value)
            value = value if value.type == kind else value.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None
        return value if value.is_valid else None


def clauses(where: str | Sequence[str] | Mapping[str, Any]) -> list[Clause]:
    """ "sex=Female", several such, or {"sex": "Female"}."""
    if isinstance(where, Mapping):
        return [Clause(name, "=", value) for name, value in where.items()]
    found = []
    for text in [where] if isinstance(where, str) else where:
        parts = re.fullmatch(r"(.+?)\s*(==|!=|<=|>=|=|<|>)\s*(.*)", text, re.DOTALL)
        if parts is None:
            raise UserError(f"{text!r} is no condition on a column: write it as NAME=VALUE, NAME>=VALUE or NAME!=VALUE")
        found.append(Clause(parts[1].strip(), parts[2], parts[3]))
    return found


def draw_until(n: int, wanted: Sequence[Clause], draw: Callable[[int, int], Any]) -> Any:
    """n rows that fulfil all of `wanted`, of those that `draw(rows, i)` gives at the i-th call: exact draws of the model's own
    rows given that they do.

    Raises UserError where hardly any does.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kept, drawn, found, i = [], 0, 0, 0
    while found < n:
        if drawn >= max(MOST, 1000 * n) or (drawn >= MOST and not found):
            said = " and ".join(f"{c.column}{c.compare}{c.value}" for c in wanted)
            raise UserError(
                f"of {drawn:,} rows drawn, {found} have {said}: ask for at most so many, or train with --condition on the column"
            )
        share = max(found, 1) / max(drawn, 1)
        rows = int(min(max(AT_ONCE, 1.2 * (n - found) / share), 16 * AT_ONCE)) if drawn else max(AT_ONCE, n)
        table = draw(rows, i)
        holds = None
        for clause in wanted:
            own = clause.holds(table)
            holds = own if holds is None else pc.and_(holds, own)
        kept.append(table.filter(holds))
        drawn, found, i = drawn + rows, found + len(kept[-1]), i + 1
    return pa.concat_tables(kept).slice(0, n)
