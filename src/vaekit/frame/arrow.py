"""Arrow's types: from a column of any type to one of a few types, and back."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from vaekit.errors import UserError
from vaekit.frame import in_words, is_empty

MOST_EXACT = 2**53  # 64 bits of a float tell whole numbers apart up to this


def canonical(name: str, column: Any) -> Any:
    """Turn a column of any type into one Arrow array of int64, float64, bool or string, null where a value is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(column.type):
        values = column.dictionary  # Arrow cannot take from all types of text
        values = values.cast(pa.string()) if pa.types.is_string_view(values.type) else values
        column = values.take(column.indices)
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
            raise too_large(name, pc.max(column).as_py()) from None
    if is_time(kind):
        return column.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).cast(pa.int64())
    raise UserError(f"column {name!r} holds {in_words(kind)}: leave it out, or convert it to numbers or text")


def numbers(name: str, values: Any, origin: int | None = None) -> np.ndarray:
    """Turn canonical values into (N,) float64, NaN where one is missing. Times count from `origin`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(values.type):
        raise changed(name, values, "a number")
    if origin is not None:
        values = pc.subtract(values, origin)
    elif pa.types.is_integer(values.type) and len(far := values.filter(pc.greater(pc.abs(values), MOST_EXACT))):
        raise too_large(name, far[0])
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)


class TooLargeError(UserError):
    """A column holds whole numbers that floats cannot tell apart."""


def too_large(name: str, value: Any) -> UserError:
    return TooLargeError(
        f"column {name!r} holds whole numbers beyond 2^53, such as {value}, which are identifiers rather than numbers: leave it "
        f"out (schema: {name}: drop), or convert it to text"
    )


def changed(name: str, values: Any, wanted: str) -> UserError:
    example = next((v for v in values.to_pylist() if v is not None), None)
    return UserError(
        f"column {name!r} was {wanted} when the model was trained, and is now {in_words(values.type)} ({str(example)[:40]!r}): "
        "convert it, or train again"
    )


def is_time(kind: Any) -> bool:
    from pyarrow import types

    return types.is_temporal(kind) and not types.is_interval(kind)


def as_trained(name: str, column: Any, text: str) -> Any:
    """Cast a column to the type that it had in training if it is empty or holds times: in another unit they would be other times.

    UserError if only one of the two types holds times, or if values would be lost.
    """
    import pyarrow as pa

    kind, wanted = (value_type(t) for t in (column.type, type_named(text)))
    if is_empty(column):
        return pa.chunked_array([pa.nulls(len(column), wanted)])
    if kind == wanted or not (is_time(kind) or is_time(wanted)):
        return column
    zones = [getattr(t, "tz", None) is None for t in (kind, wanted)]
    if is_time(kind) and is_time(wanted) and zones[0] == zones[1]:
        try:
            cast = column.cast(wanted)
            if cast.cast(column.type).equals(column):  # Arrow cuts hours off days
                return cast
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
    raise changed(name, column, in_words(wanted))


def value_type(kind: Any) -> Any:
    from pyarrow import types

    return kind.value_type if types.is_dictionary(kind) else kind


def date_step(common: int, kind: Any) -> int:
    """Find the largest of days, hours, minutes, seconds, ... that divides all times, in units of the type."""
    if str(kind).startswith("date32"):
        return 1  # it counts days
    unit = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[getattr(kind, "unit", "ms")]
    steps = (86400 * unit, 3600 * unit, 60 * unit, unit, unit // 1000, unit // 10**6)
    return next((step for step in steps if step and common % step == 0), 1)


def step_in_words(step: float, kind: Any) -> str:
    """Say a step of `date_step` in words: "an hour"."""
    unit = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[getattr(kind, "unit", "ms")]
    seconds = step * 86400 if str(kind).startswith("date32") else step / unit
    spans = {
        "a day": 86400,
        "an hour": 3600,
        "a minute": 60,
        "a second": 1,
        "a millisecond": 1e-3,
        "a microsecond": 1e-6,
    }
    return next((name for name, span in spans.items() if seconds >= 0.99 * span), "a nanosecond")


def restore(values: Any, text: str, labels: list[Any] | None = None) -> Any:
    """Turn canonical values back into the type of this name. labels: all values of a dictionary of that type, canonical."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = type_named(text)
    if pa.types.is_dictionary(kind):
        known = pa.array(labels, values.type) if labels else values.unique().drop_null()
        index = pc.index_in(values, value_set=known).cast(kind.index_type)
        return pa.DictionaryArray.from_arrays(index, restore(known, str(kind.value_type)), ordered=kind.ordered)
    if pa.types.is_integer(kind) and pa.types.is_floating(values.type):
        values = pc.round(values)
    if pa.types.is_temporal(kind) and not pa.types.is_null(values.type):
        return values.cast(pa.int32()).cast(kind) if kind.bit_width == 32 else values.cast(kind)
    return values.cast(kind, safe=False)


def filled(name: str, own: Any, found: Any) -> Any:
    """Fill the empty cells of a column from `found`. It keeps its type unless that cannot hold them; then it has that of `found`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if is_empty(own):
        return found
    kind, gaps = own.type, pc.is_null(own, nan_is_null=True)
    if pa.types.is_dictionary(kind):
        values = pc.if_else(gaps.combine_chunks(), canonical(name, found), canonical(name, own))
        known = [v for chunk in own.chunks for v in canonical(name, chunk.dictionary).to_pylist()]
        return restore(values, str(kind), list(dict.fromkeys([*known, *values.unique().to_pylist()])))
    try:
        found = found.cast(kind, safe=False) if is_time(kind) else restore(canonical(name, found), str(kind))
    except pa.ArrowInvalid:  # such as codes of which all that are there happen to be digits
        own, found = own.cast(pa.string()), canonical(name, found).cast(pa.string())
    return pc.if_else(gaps, found, own)


def type_named(text: str) -> Any:
    """Return Arrow's type of this name. Categories, times with a zone and decimals count too, which have no alias in Arrow."""
    import pyarrow as pa

    try:
        return pa.type_for_alias(text)
    except ValueError:
        pass
    if found := re.fullmatch(r"dictionary<values=(.+), indices=(\w+), ordered=(\d)>", text):
        return pa.dictionary(type_named(found[2]), type_named(found[1]), ordered=found[3] == "1")
    if found := re.fullmatch(r"timestamp\[(\w+), tz=(.+)\]", text):
        return pa.timestamp(found[1], found[2])
    if found := re.fullmatch(r"decimal(\d+)\((\d+), (-?\d+)\)", text):
        return (pa.decimal256 if found[1] == "256" else pa.decimal128)(int(found[2]), int(found[3]))
    raise UserError(f"{text!r} is not the type of a column: the run's config was changed")
