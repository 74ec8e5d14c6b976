"""Series as sources: what was measured at equal steps of time, from files, arrays and DataFrames.

A table has one column of time, told by its type or name, and columns of numbers. Models of series think in equal steps, so
each row is placed at its step: the usual one is the median, steps that no row has are missing (NaN), and what was done is
told in `notes`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vaekit.errors import UserError, near_matches, tell
from vaekit.frame.cells import format_of, read_cells, write_cells
from vaekit.sources.arrays import load_array
from vaekit.sources.base import Ask, as_slice, bounded, decoding, reading, split_rows, visible_names
from vaekit.sources.tables import csv_table

TIME_NAMES = ("time", "timestamp", "date", "datetime", "epoch", "ds")  # of a column of numbers that is time
FAR_APART = 20  # gaps may make the series at most this many times longer
UNEVEN = 0.1  # of a step: a note counts rows that are further than that from a whole number of steps


@dataclass
class TimeSeries:
    """Series in equal steps.

    Attributes:
        values: one (T, channels) float64 for each series, NaN where a value is missing.
        name: a short name of the source, for run folders.
        columns: names of the channels, if the source has them.
        times: the time of each step (T,), datetime64 in microseconds (UTC where the source gives zones) or numbers; None: the row number.
        time_column: the name of the column of time; "step" if there is none.
        format: how the source writes its times; "" as ISO 8601 has them.
        steps: the step at which each row of the table was placed, (rows,); None: every row is a step.
        notes: what you should know about the reading, a sentence each.

    Example:
        >>> series = vaekit.read_series(np.zeros((3, 60, 2)))
        >>> len(series.values), series.values[0].shape
        (3, (60, 2))
    """

    values: list[np.ndarray]
    name: str = "series"
    columns: list[str] | None = None
    times: np.ndarray | None = None
    time_column: str = "step"
    format: str = ""
    steps: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)

    kind: ClassVar[str] = "series"

    def __len__(self) -> int:
        return sum(map(len, self.values))

    @property
    def x(self) -> TimeSeries:
        """The data that an estimator is given: the whole object."""
        return self

    @property
    def names(self) -> dict[str, np.ndarray]:
        """What tells steps apart: their times (T,), by the name of the column. Empty if the row number is the time."""
        return {} if (times := self.written_times()) is None else {self.time_column: times}

    @property
    def conditions(self) -> dict[str, np.ndarray]:
        return {}

    def written_times(self) -> np.ndarray | None:
        """The time of each step as the source writes it, or as datetime64 if two steps would look alike."""
        import pyarrow as pa

        if not self.format or self.times is None:
            return self.times
        text = write_cells(pa.array(self.times), self.format).to_numpy(zero_copy_only=False)
        return text if len(np.unique(text)) == len(text) else self.times

    def describe(self) -> str:
        channels = self.values[0].shape[1]
        missing = sum(int(np.isnan(v).sum()) for v in self.values)
        several = f"{len(self.values)} series, together " if len(self.values) > 1 else ""
        gaps = (
            f", {missing} of {len(self) * channels} values missing (the likelihood leaves them out)" if missing else ""
        )
        return f"{several}{len(self)} steps of {channels} channel{'s'[: channels - 1]}{gaps}"


def read_series(source: Any, *, columns: Sequence[str] | None = None) -> TimeSeries:
    """Read series into memory, from a file, a DataFrame or an array.

    Args:
        source: .csv, .csv.gz or .parquet (a column of time and columns of numbers; without a column of time the row number is the
            time), or .npy of (T,), (T, channels) or (series, T, channels). A trailing [10:200] picks steps, the first being 0.
            Or a DataFrame or an array.
        columns: the channels, by name; others are ignored. None: every column but that of time.

    Returns:
        A `TimeSeries`.

    Raises:
        UserError: something is wrong with the source.

    Example:
        >>> vaekit.read_series(np.zeros((60, 2))).describe()
        '60 steps of 2 channels'
    """
    if not isinstance(source, str | os.PathLike):
        return to_series(source, columns=columns)
    text = os.fspath(source)
    with reading(text, "give a smaller file"):
        text, picked = split_rows(text)
        path = Path(text).expanduser()
        ask = Ask(text, path, (), columns, None, False, False)
        name = path.name.lower()
        if not path.is_file():
            known = visible_names(path.parent) if path.parent.is_dir() else []
            raise UserError(f"{text or 'the source'} is not a file{near_matches(path.name, known)}")
        if name.endswith(".npy"):
            with decoding(text, "a NumPy .npy file"), path.open("rb") as file:
                x = load_array(file)
            if x is None:
                raise UserError(f"{text} holds pickled Python objects, which are never opened: save numbers")
            found = to_series(x, text)
        elif name.endswith((".csv", ".csv.gz")):
            table, notes = csv_table(ask, schema=False)
            found = from_arrow(table, text, columns)
            found.notes[:0] = notes
        elif name.endswith(".parquet"):
            from pyarrow import parquet

            with decoding(text, "a parquet file"), path.open("rb") as file:
                table = parquet.ParquetFile(file).read()
            found = from_arrow(table, text, columns)
        else:
            raise UserError(
                f"{text} is not a kind of file that vaekit reads as series: give a file ending in .csv, .csv.gz, .parquet or .npy"
            )
    tell(found.notes)
    found.name = re.sub(r"\.(csv|csv\.gz|parquet|npy)$", "", path.name, flags=re.IGNORECASE)
    if picked is None:
        return found
    if len(found.values) > 1:
        raise UserError(f"{text} holds {len(found.values)} series: pick steps in a file of one series")
    steps = as_slice(bounded(picked, len(found), text, "steps"))
    if not isinstance(steps, slice):
        raise UserError(f"the steps [{picked}] of {text} do not follow one another: give a stretch, such as [10:200]")
    found.values = [found.values[0][steps]]
    found.times = None if found.times is None else found.times[steps]
    found.steps = None
    return found


def to_series(X: Any, what: str = "X", columns: Sequence[str] | None = None) -> TimeSeries:
    """Make a TimeSeries of an array (T,), (T, channels) or (series, T, channels), of a DataFrame or Arrow table with a column or
    index of time, or of a list of arrays or tables, which are then several series."""
    if isinstance(X, TimeSeries):
        return X
    if is_several(X) and not isinstance(X, np.ndarray):
        each = [to_series(x, f"series {i}", columns) for i, x in enumerate(X)]
        widths = {v.shape[1] for s in each for v in s.values}
        if len(widths) > 1:
            raise UserError(
                f"the series of {what} have {' and '.join(map(str, sorted(widths)))} channels: give all the same"
            )
        values = [v for s in each for v in s.values]
        return TimeSeries(values, columns=each[0].columns, notes=[note for s in each for note in s.notes])
    if is_table(X):
        import pyarrow as pa

        table = pa.table(X) if hasattr(X, "__arrow_c_stream__") else pa.Table.from_pandas(X)
        unnamed = [
            f.name for f in table.schema if f.name.startswith("__index_level_") and not pa.types.is_temporal(f.type)
        ]
        return from_arrow(table.drop_columns(unnamed), what, columns)
    try:
        x = np.asarray(X)
        x = x if x.dtype.kind in "biuf" else x.astype(np.float64)
        x = x.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{what} is not all numbers ({error}): use NaN for a missing value") from error
    if x.ndim not in (1, 2, 3) or not x.size:
        raise UserError(f"{what} has the shape {x.shape}: give (T,), (T, channels) or (series, T, channels)")
    if np.isinf(x).any():
        raise UserError(
            f"{what} holds an infinity at {tuple(np.argwhere(np.isinf(x))[0].tolist())}: use NaN if it is missing"
        )
    return TimeSeries(list(x) if x.ndim == 3 else [x.reshape(len(x), -1)])


def is_several(X: Any) -> bool:
    """Whether X is several series: an array of three dimensions, or a list of arrays or tables."""
    if isinstance(X, list | tuple):
        return len(X) > 0 and (is_table(X[0]) or (not isinstance(X[0], list | tuple) and np.ndim(X[0]) > 0))
    return getattr(X, "ndim", 0) == 3


def is_table(X: Any) -> bool:
    return hasattr(X, "__arrow_c_stream__") or hasattr(X, "columns")


def from_arrow(table: Any, what: str, columns: Sequence[str] | None = None) -> TimeSeries:
    """Make a TimeSeries of an Arrow table, from `columns` or from all columns that hold numbers."""
    if not table.num_rows:
        raise UserError(f"{what} has no rows: give a table that has some")
    table, notes = read_cells(table, {}, file=False, schema=False)
    names = [name for name in table.column_names if columns is None or name in columns]
    if lacking := [name for name in columns or () if name not in names]:
        raise UserError(f"{what} lacks the columns {', '.join(lacking)}{near_matches(lacking[0], table.column_names)}")
    rest = [name for name in table.column_names if columns is None or name not in columns]
    clocks, parts, said = clocks_of(table, rest, what)
    notes += said
    if len(clocks) > 1:
        raise UserError(f"{what} has {len(clocks)} columns of time, {', '.join(clocks)}: keep one of them")
    names = [name for name in names if name not in (*clocks, *parts)]
    if columns is None:
        left_out = [n for n in names if n.lower() not in TIME_NAMES and not is_measured(table[n])]
        names = [name for name in names if name not in left_out]
        if left_out:
            notes.append(f"{what}: columns without numbers were left out: {', '.join(left_out)}")
    if not names and not clocks:
        raise UserError(f"{what} has no column of numbers: give what was measured")
    if not names:
        raise UserError(f"{what} has no column of numbers beside {next(iter(clocks))!r}: give what was measured")
    values = np.column_stack([numbers(name, table[name], what) for name in names])
    for name, clock in clocks.items():
        found = regular(clock, values, what, name, names)
        if name in table.column_names and name not in parts and not getattr(table[name].type, "tz", None):
            found.format = format_of(table.schema.field(name))
        found.notes[:0] = notes
        return found
    notes.append(f"{what} has no column of time, so its rows count as equal steps")
    return TimeSeries([values], columns=names, notes=notes)


def clocks_of(table: Any, names: Sequence[str], what: str) -> tuple[dict[str, np.ndarray], list[str], list[str]]:
    """Find the columns of time among `names`; there should be one.

    Returns their times by name, the columns that were put together for it or that count the rows, and notes.
    """
    from pyarrow import types

    clocks = {name: clock for name in names if (clock := times(name, table[name])) is not None}
    parts = [name for name in names if types.is_time(table[name].type)]
    counter = counted(table, names)
    ((day, clock),) = clocks.items() if len(clocks) == 1 else (("", np.zeros(0, "M8[us]")),)
    if len(parts) == 1 and day and (clock == clock.astype("M8[D]")).all():  # and what o'clock it is in another column
        clocks, parts = {day: clock + time_of_day(table[parts[0]])}, [day, *parts]
    elif not clocks and (dated := calendar(table, names)):
        parts, clock = dated
        clocks = {"time": clock}
    else:
        parts = []
    notes = [f"{what}: the time is {' and '.join(map(repr, parts))} together"] if parts else []
    if counter and clocks and counter not in (*clocks, *parts):
        notes.append(f"{what}: column {counter!r} was left out: it only counts the rows")
        return clocks, [*parts, counter], notes
    if counter and not clocks:
        return {counter: table[counter].to_numpy().astype(np.float64)}, [], [f"{what}: the time is {counter!r}, whose numbers rise in equal steps"]  # fmt: skip
    return clocks, parts, notes


def times(name: str, column: Any) -> np.ndarray | None:
    """Read the times in a column: (rows,) datetime64 or numbers, NaT or NaN where one is missing. None if it is not a time."""
    import pyarrow as pa
    from pyarrow import types

    kind = column.type
    if types.is_timestamp(kind) or types.is_date(kind):
        column = column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False)
        return column.to_numpy(zero_copy_only=False).astype("M8[us]")
    if name.lower() in TIME_NAMES and (types.is_integer(kind) or types.is_floating(kind)):
        numbers = column.cast("float64", safe=False).to_numpy()
        return numbers if (days := as_days(numbers)) is None else days
    return None


UNITS = {"year": ("Y", 0), "month": ("M", 1), "day": ("D", 1), "hour": ("h", 0), "minute": ("m", 0), "second": ("s", 0)}


def calendar(table: Any, names: Sequence[str]) -> tuple[list[str], np.ndarray] | None:
    """Find columns of whole numbers that are years, months and perhaps days and hours, and the times they make; else None."""
    found = {name.lower(): name for name in names if name.lower() in UNITS}
    units = list(takewhile(found.__contains__, UNITS))
    if len(units) < 2 or not all(is_whole(table[found[unit]]) for unit in units):
        return None
    clock = np.full(len(table), np.datetime64("0000", "Y"))
    for unit in units:
        letter, first = UNITS[unit]
        clock = clock.astype(f"M8[{letter}]") + (table[found[unit]].to_numpy() - first).astype(f"m8[{letter}]")
    return [found[unit] for unit in units], clock.astype("M8[us]")


def counted(table: Any, names: Sequence[str]) -> str:
    """Return the first column if it holds whole numbers that rise in equal steps, such as years, and is not the only one; else ""."""
    if not names or table.num_columns < 2 or len(table) < 3 or not is_whole(table[names[0]]):
        return ""
    steps = np.unique(np.diff(table[names[0]].to_numpy()))
    return names[0] if len(steps) == 1 and steps[0] > 0 else ""


def is_whole(column: Any) -> bool:
    from pyarrow import types

    return types.is_integer(column.type) and not column.null_count


def as_days(numbers: np.ndarray) -> np.ndarray | None:
    """Read numbers such as 19580329 as days, datetime64; None if one of them is not a day between 1800 and 2200."""
    known = numbers[np.isfinite(numbers)]
    if not len(known) or not ((known >= 1800_01_01) & (known < 2200_01_01) & (known == np.floor(known))).all():
        return None
    try:
        named = np.array([f"{n[:4]}-{n[4:6]}-{n[6:]}" for n in known.astype(int).astype(str)], "M8[us]")
    except ValueError:
        return None
    days = np.full(len(numbers), np.datetime64("NaT"), "M8[us]")
    days[np.isfinite(numbers)] = named
    return days


def time_of_day(column: Any) -> np.ndarray:
    """Return the time since midnight, (rows,) timedelta64 in microseconds, NaT for a missing cell."""
    import pyarrow as pa

    return column.cast(pa.time64("us")).cast("int64").to_numpy(zero_copy_only=False).astype("m8[us]")


def is_measured(column: Any) -> bool:
    """Whether at least half of the values are numbers: in such a column, a value that is not a number is a mistake."""
    cells = [cell for cell in column.to_pylist() if cell is not None]
    return bool(cells) and 2 * sum(map(is_number, cells)) >= len(cells)


def numbers(name: str, column: Any, what: str) -> np.ndarray:
    """(rows,) float64, NaN where the column has no value."""
    from pyarrow import types

    checks = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    if any(check(column.type) for check in checks):
        values = column.cast("float64", safe=False).to_numpy()
        if np.isinf(values).any():
            row = int(np.flatnonzero(np.isinf(values))[0])
            raise UserError(
                f"{what}: column {name!r} has an infinity at row {row} (the first is 0): empty it if it is missing"
            )
        return values
    said = ((i, v) for i, v in enumerate(column.to_pylist()) if v is not None)
    row, value = next(((i, v) for i, v in said if not is_number(v)), (0, column[0]))
    raise UserError(
        f"{what}: column {name!r} has {str(value)[:50]!r} at row {row} (the first is 0), which is not a number: correct it, empty it if "
        "it is missing, drop the column, or, if it is the time, write it as 2024-01-31 12:00:00, all with a zone or all without"
    )


def is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def regular(clock: np.ndarray, values: np.ndarray, what: str, time_column: str, columns: list[str]) -> TimeSeries:
    """Put rows (rows, channels) with times on equal steps, whose length is the median step between the rows."""
    absent = np.isnat(clock) if clock.dtype.kind == "M" else ~np.isfinite(clock)
    if absent.any():
        row = int(np.flatnonzero(absent)[0])
        raise UserError(f"{what}: row {row} (the first is 0) has no {time_column!r}: give it one, or remove the row")
    notes = []
    late = int((np.diff(clock) < np.zeros(1, np.diff(clock).dtype)).sum())
    if late:
        notes.append(f"{what}: rows earlier than the row before them: {late}; the rows were sorted by {time_column!r}")
    distinct, at = np.unique(clock, return_inverse=True)
    at = at.reshape(-1)
    if len(distinct) < len(clock):
        notes.append(
            f"{what}: rows that repeat a time: {len(clock) - len(distinct)}; rows of the same time were averaged"
        )
        values = averaged(values, at, len(distinct))
    else:
        values = values[np.argsort(at)]
    if len(distinct) < 2:
        return TimeSeries([values], columns=columns, times=distinct, time_column=time_column, steps=at, notes=notes)
    between = np.diff(distinct).astype(np.float64)
    step = float(np.sort(between)[(len(between) - 1) // 2])  # the lower median: one that is there
    counted = np.maximum(np.rint(between / step), 1)
    place = np.r_[0, np.cumsum(counted)]
    if place[-1] > FAR_APART * len(distinct) + 1000:
        far = int(counted.argmax())
        raise UserError(
            f"{what}: {time_column!r} goes from {distinct[far]} to {distinct[far + 1]}, {counted[far]:.0f} usual steps: "
            "correct the time, or give the parts as separate files"
        )
    place = place.astype(np.int64)
    unit = np.timedelta64(round(step), "us") if clock.dtype.kind == "M" else step
    length = f"{step / 1e6:g} s" if clock.dtype.kind == "M" else f"{step:g}"
    if uneven := int((np.abs(between / step - counted) > UNEVEN).sum()):
        notes.append(
            f"{what}: rows that are not a whole number of steps of {length} after the row before: {uneven} of {len(distinct)}; "
            "each was placed at the nearest step"
        )
    if gaps := int(place[-1]) + 1 - len(place):
        notes.append(f"{what}: steps of {length} that have no row: {gaps}; they are missing values")
    grid = np.full((place[-1] + 1, values.shape[1]), np.nan)
    grid[place] = values
    stamps = distinct[:1] + unit * np.arange(len(grid))
    stamps[place] = distinct
    return TimeSeries([grid], columns=columns, times=stamps, time_column=time_column, steps=place[at], notes=notes)


def averaged(values: np.ndarray, at: np.ndarray, groups: int) -> np.ndarray:
    """Average the rows of each group, without missing values: (groups, channels)."""
    seen = ~np.isnan(values)
    total, count = np.zeros((groups, values.shape[1])), np.zeros((groups, values.shape[1]))
    np.add.at(total, at, np.where(seen, values, 0.0))
    np.add.at(count, at, seen)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
