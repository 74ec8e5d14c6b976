"""Arrow's types: what a column of any type holds, as few types as there are kinds of values, and back."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from vaekit.errors import UserError


def canonical(name: str, column: Any) -> Any:
    """A column of any type as one Arrow array of int64, float64, bool or string, null where a value is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind, types = column.type, pa.types
    if types.is_boolean(kind) or types.is_null(kind):
        return column
    if types.is_large_string(kind) or types.is_string(kind) or types.is_string_view(kind):
        return column.cast(pa.string())
    if types.is_floating(kind) or types.is_decimal(kind):
        column = column.cast(pa.float64())
        bad = pc.is_inf(column)
        if pc.any(bad).as_py():
            row = int(np.argmax(bad.fill_null(False).to_numpy(zero_copy_only=False)))
            raise UserError(
                f"column {name!r} holds an infinity at row {row} (the first is 0): put a number in its place, or leave "
                "it empty if it is missing"
            )
        return pc.if_else(pc.is_nan(column), None, column)
    if types.is_integer(kind):
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:
            return column.cast(pa.float64(), safe=False)
    if is_time(kind):
        return column.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).cast(pa.int64())
    raise UserError(f"column {name!r} holds {kind}: leave it out, or make numbers or text of it")


def numbers(name: str, values: Any) -> np.ndarray:
    """Canonical values -> (N,) float64, NaN where one is missing."""
    import pyarrow as pa

    if pa.types.is_string(values.type):
        raise changed(name, values, "a number")
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)


def changed(name: str, values: Any, wanted: str) -> UserError:
    example = next((v for v in values.to_pylist() if v is not None), None)
    return UserError(
        f"column {name!r} was {wanted} when the model was trained, and is now {values.type} ({str(example)[:40]!r}): "
        "convert it, or train again"
    )


def is_time(kind: Any) -> bool:
    from pyarrow import types

    return types.is_temporal(kind) and not types.is_interval(kind)


def date_step(v: np.ndarray, kind: Any) -> float:
    """The largest of days, hours, minutes, seconds, ... that all dates are multiples of, in units of the type."""
    if str(kind).startswith("date32"):
        return 1.0  # it counts days
    unit = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[getattr(kind, "unit", "ms")]
    for step in (86400 * unit, 3600 * unit, 60 * unit, unit, unit / 1000, unit / 1e6):
        if step >= 1 and (np.mod(v, step) == 0).all():
            return float(step)
    return 1.0


def restore(values: Any, text: str) -> Any:
    """Canonical values in the type of this name."""
    import pyarrow as pa

    found = re.fullmatch(r"dictionary<values=([^,]+), indices=([^,]+), ordered=(\d)>", text)
    if found:
        return restore(values, found[1]).dictionary_encode()
    try:
        kind = pa.type_for_alias(text)
    except ValueError:
        kind = parsed_type(text)
    if pa.types.is_temporal(kind):
        values = values.cast(pa.float64()).cast(pa.int64(), safe=False) if not pa.types.is_null(values.type) else values
        return values.cast(pa.int32()).cast(kind) if kind.bit_width == 32 else values.cast(kind)
    return values.cast(kind, safe=False)


def parsed_type(text: str) -> Any:
    """Arrow's types that have no alias: times with a zone, decimals."""
    import pyarrow as pa

    if found := re.fullmatch(r"timestamp\[(\w+), tz=(.+)\]", text):
        return pa.timestamp(found[1], found[2])
    if found := re.fullmatch(r"decimal(\d+)\((\d+), (-?\d+)\)", text):
        return (pa.decimal256 if found[1] == "256" else pa.decimal128)(int(found[2]), int(found[3]))
    raise UserError(f"{text!r} is no type of a column: the run's config was changed")
