"""Arrow tables as arrays that can be compared: the same codes, and the same places, in all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vaekit.errors import UserError, near_matches

if TYPE_CHECKING:
    import pyarrow as pa

Kinds = Mapping[str, str] | None
"""{"column": "category" or "number"}, where the Arrow type does not say it."""


@dataclass(frozen=True)
class Encoded:
    """Columns of a table as arrays (N,): numbers float64, NaN where missing; categories as codes.

    A code means the same in all tables that were encoded together. `sizes`: how many codes a category has; the last of
    them is a missing value.
    """

    numbers: dict[str, np.ndarray]
    codes: dict[str, np.ndarray]
    sizes: dict[str, int]

    def __len__(self) -> int:
        return len(next(iter((self.numbers or self.codes).values())))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.numbers[name] if name in self.numbers else self.codes[name]

    def rows(self, index: np.ndarray) -> Encoded:
        take = {part: {name: v[index] for name, v in getattr(self, part).items()} for part in ("numbers", "codes")}
        return replace(self, **take)

    def missing(self, name: str) -> np.ndarray:
        return np.isnan(self.numbers[name]) if name in self.numbers else self.codes[name] == self.sizes[name] - 1

    def matrix(self) -> np.ndarray:
        """(N, columns): two of its rows are equal if and only if the table's rows are."""
        return self.features() + 0.0  # there is a -0 too

    def features(self, without: str | None = None) -> np.ndarray:
        """(N, columns): numbers, NaN where missing, then codes."""
        columns = [v for part in (self.numbers, self.codes) for name, v in part.items() if name != without]
        return np.column_stack(columns).astype(np.float64) if columns else np.zeros((len(self), 1))

    def categorical(self, without: str | None = None) -> np.ndarray:
        """Whether each of the `features` is a code."""
        kinds = [part is self.codes for part in (self.numbers, self.codes) for name in part if name != without]
        return np.array(kinds or [False])

    def positions(self, scale: Encoded) -> np.ndarray:
        """Rows as points, (N, D). A number is its rank among those of `scale`, 0..1, and a missing one is 0.9 to 1 from
        any other; two categories that differ are 1 apart."""
        columns: list[np.ndarray] = []
        for name, values in self.numbers.items():
            known = np.sort(scale.numbers[name][~np.isnan(scale.numbers[name])])
            missing = np.isnan(values)
            rank = np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")
            columns += [np.where(missing, 0.5, rank / max(1, 2 * len(known))), missing * math.sqrt(0.75)]
        for name, codes in self.codes.items():
            columns += list(math.sqrt(0.5) * (codes == np.arange(self.sizes[name])[:, None]))
        return np.column_stack(columns)


def encode(
    *tables: pa.Table, kinds: Kinds = None, levels: int | None = None, whole: str | None = None
) -> list[Encoded]:
    """Tables of the same columns as arrays, whose codes are the same in all of them.

    Args:
        levels: how many values of a category are kept, the commonest in the first table; the others are one. None: all.
        whole: a column of which all are kept.
    """
    first = tables[0]
    for table in tables:
        if table.num_rows == 0:
            raise UserError("one of the tables to compare has no rows: give tables that have some")
        if lacking := [name for name in first.column_names if name not in table.column_names]:
            raise UserError(
                f"one of the tables lacks the column {lacking[0]!r}{near_matches(lacking[0], table.column_names)}"
            )
    numbers: dict[str, list[np.ndarray]] = {}
    codes: dict[str, list[np.ndarray]] = {}
    sizes: dict[str, int] = {}
    for name in first.column_names:
        columns = [table[name] for table in tables]
        if is_number(name, columns[0].type, kinds):
            numbers[name] = [as_numbers(name, column) for column in columns]
        else:
            codes[name], sizes[name] = as_codes(columns, None if name == whole else levels)
    return [
        Encoded({k: v[i] for k, v in numbers.items()}, {k: v[i] for k, v in codes.items()}, sizes)
        for i in range(len(tables))
    ]


def is_number(name: str, arrow_type: Any, kinds: Kinds = None) -> bool:
    from pyarrow import types

    if kinds and name in kinds:
        if kinds[name] not in ("number", "category"):
            raise UserError(f"column {name!r} cannot be compared as {kinds[name]!r}: say 'number' or 'category'")
        return kinds[name] == "number"
    checks = (types.is_integer, types.is_floating, types.is_decimal, types.is_temporal)
    return any(check(arrow_type) for check in checks)


def as_numbers(name: str, column: Any) -> np.ndarray:
    """(N,) float64, NaN where missing; times in microseconds."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_temporal(column.type):
        form: Any = pa.timestamp("us", getattr(column.type, "tz", None))
        if types.is_duration(column.type):
            form = pa.duration("us")
        elif types.is_time(column.type):
            form = pa.time64("us")
        column = column.cast(form, safe=False).cast(pa.int64())
    try:
        values = column.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as e:
        raise UserError(f"column {name!r} holds {column.type}, not numbers: compare it as a category") from e
    return values.to_numpy()


def as_codes(columns: list[Any], levels: int | None) -> tuple[list[np.ndarray], int]:
    """Codes of each column, and how many there are; the last is a missing value, before it are those not kept."""
    import pyarrow as pa
    import pyarrow.compute as pc

    words = [plain(column) for column in columns]
    known = pa.chunked_array([chunk for part in words for chunk in part.chunks], pa.large_string()).unique().drop_null()
    rare = False
    if levels is not None and len(known) > levels:
        rare = True
        counts = pc.value_counts(words[0].drop_null())
        order = np.argsort(-counts.field("counts").to_numpy(), kind="stable")[: levels - 1]
        known = counts.field("values").take(pa.array(order))
    missing = len(known) + rare
    found = []
    for part in words:
        places = pc.fill_null(pc.index_in(part, known), len(known)).to_numpy()
        found.append(np.where(part.is_null().to_numpy(), missing, places).astype(np.int64))
    return found, missing + 1


def plain(column: Any) -> Any:
    """A column as text."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_nested(column.type):
        raise UserError(f"a column holds {column.type}: only tables of numbers, words and dates can be compared")
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.large_string())


def some(part: Encoded, n: int, rng: np.random.Generator) -> Encoded:
    """Draw n of the rows at random."""
    return part.rows(rng.choice(len(part), n, replace=False))
