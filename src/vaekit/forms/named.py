"""Named columns, however they are given: a dict of columns, a list of dicts, or anything like a DataFrame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vaekit.errors import UserError, near_matches


def is_named(X: Any) -> bool:
    """Whether the columns of X have names."""
    if isinstance(X, Mapping) or hasattr(X, "columns"):
        return True
    return isinstance(X, list | tuple) and len(X) > 0 and isinstance(X[0], Mapping)


def columns_of(X: Any, wanted: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The columns of X by name, each (N,): those that are wanted, in their order; if none is said, all.

    UserError if X has no named columns or lacks one, or if columns differ in their length.
    """
    if isinstance(X, Mapping):
        found = dict(X)
    elif is_named(X) and not hasattr(X, "columns"):
        if odd := [i for i, row in enumerate(X) if not isinstance(row, Mapping)]:
            raise UserError(f"row {odd[0]} of X is {X[odd[0]]!r}: give a dict for each row")
        names = wanted or list(dict.fromkeys(name for row in X for name in row))
        if missing := [name for name in names if not any(name in row for row in X)]:
            raise lacking(missing[0], {name: None for row in X for name in row})
        found = {name: [row.get(name) for row in X] for name in names}
    elif hasattr(X, "columns"):
        names = getattr(X, "column_names", X.columns)  # of Arrow, whose columns have no names of their own
        found = {str(name): X[name] for name in names}
    else:
        raise UserError(
            f"X is a {type(X).__name__}: give named columns, as a dict of columns, a list of dicts, or a DataFrame"
        )
    if missing := [name for name in wanted if name not in found]:
        raise lacking(missing[0], found)
    columns = {name: column(name, found[name]) for name in wanted or found}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name!r} has {n}" for name, n in list(lengths.items())[:5])
        raise UserError(f"the columns of X differ in their number of rows: {counts}")
    return columns


def lacking(name: str, known: Mapping[str, Any]) -> UserError:
    return UserError(f"X has no column {name!r}, which the model was trained with{near_matches(name, map(str, known))}")


def column(name: str, values: Any) -> np.ndarray:
    """(N,). What NumPy would turn into text, such as numbers beside None, stays what it is."""
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise UserError(f"column {name!r} is {values!r}: give a value for each row")
    if "dictionary" in str(getattr(values, "type", "")):  # of Arrow, of which NumPy would see the codes
        values = values.to_pylist()
    if isinstance(values, list | tuple):
        array = np.empty(len(values), dtype=object)
        array[:] = values
    else:
        array = np.asarray(values)
    if array.ndim != 1:
        raise UserError(f"column {name!r} has the shape {array.shape}: give one value for each row")
    return array
