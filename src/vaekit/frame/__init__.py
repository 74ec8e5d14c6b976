"""Tables on their way in and out: a DataFrame, an Arrow table or a file becomes a `Frame`, whose pieces fit in memory."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np

from vaekit.errors import UserError, near_matches, note, tell
from vaekit.frame.cells import format_of, is_text, listed, read_cells, write_cells
from vaekit.frame.groups import RowGroups, undamaged
from vaekit.threads import OnAllCores

PIECE = 65_536  # rows read at a time
AHEAD = 2  # row groups that are read before they are asked for
CELL = 5  # bytes of a cell in what a model learns from: a number in 32 bits, and whether it is there


class Frame:
    """Rows of named columns, in memory or in a file that is read piece by piece.

    Args:
        dataset: a `pyarrow.dataset.Dataset`; of a table in memory, too.
        like: the library whose DataFrame it was: "pandas", "polars" or "arrow".
        columns: names of those that are kept; None: all.
        own: how pandas had the columns, see `own_form`.
        absent: Arrow types of columns that the dataset lacks, by name: all of their cells are missing.
        blanks: values that stand for a missing cell, by the name of the column.
    """

    def __init__(
        self,
        dataset: Any,
        like: str = "arrow",
        columns: Sequence[str] | None = None,
        own: Mapping[str, Any] | None = None,
        absent: Mapping[str, Any] | None = None,
        blanks: Mapping[str, Sequence[Any]] | None = None,
    ):
        reject_duplicates(dataset.schema.names)
        self.dataset, self.like, self.own, self.absent = dataset, like, dict(own or {}), dict(absent or {})
        self.blanks = dict(blanks or {})
        self.rows: int = dataset.count_rows()
        self.columns = [*dataset.schema.names, *self.absent] if columns is None else list(columns)

    @classmethod
    def of(cls, table: Any, like: str = "arrow", own: Mapping[str, Any] | None = None) -> Frame:
        """A frame of an Arrow table."""
        from pyarrow import dataset

        reject_duplicates(table.column_names)
        return cls(dataset.dataset(table.cast(common_schema(table.schema))), like, own=own)

    @property
    def shape(self) -> tuple[int, int]:
        return (self.rows, len(self.columns))

    @property
    def nbytes(self) -> int:
        """The memory that it takes to learn from it."""
        return self.rows * len(self.columns) * CELL

    @cached_property
    def row_groups(self) -> RowGroups | None:
        """The row groups, which are read one at a time; None in memory."""
        return RowGroups(self.dataset) if hasattr(self.dataset, "files") else None

    @property
    def remote(self) -> bool:
        """Whether its rows are read from another machine."""
        return bool(self.row_groups and self.row_groups.remote)

    @property
    def groups(self) -> Sequence[int]:
        """The number of rows of each row group; empty in memory."""
        return self.row_groups.rows if self.row_groups else ()

    def sample(self, seed: int) -> Frame:
        """The rows that a schema is learned from: all of them, piece by piece."""
        return self

    @property
    def fingerprint(self) -> str:
        return self.row_groups.fingerprint if self.row_groups else ""

    def group(self, i: int) -> Frame:
        """One of its row groups, in memory."""
        assert self.row_groups is not None
        table = self._completed(self.row_groups.read(i, self._there()))
        return Frame.of(table, self.like, self.own)

    @property
    def ndim(self) -> int:
        return 2

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, rows: Any) -> Frame:
        """The chosen rows: a slice, whole numbers or booleans."""
        index = np.atleast_1d(np.arange(self.rows)[rows])
        with undamaged():
            taken = (self.row_groups or self.dataset).take(index, columns=self._there())
        return Frame.of(self._completed(taken), self.like, self.own)

    def field(self, name: str) -> Any:
        """The Arrow field of a column: its type, and in its metadata its format."""
        return self.dataset.schema.field(name)

    def type_of(self, name: str) -> Any:
        return self.field(name).type

    def _there(self) -> list[str]:
        return [name for name in self.columns if name not in self.absent]

    def _completed(self, table: Any) -> Any:
        """Add the columns that the dataset lacks to one of its tables, and make the cells missing that stand for a missing cell."""
        import pyarrow as pa

        for name, values in self.blanks.items():
            if name in table.column_names:
                i = table.column_names.index(name)
                table = table.set_column(i, table.schema.field(i), without(table[i], values))

        for name in self.columns:
            if name in self.absent:
                table = table.append_column(name, pa.nulls(len(table), self.absent[name]))
        return table.select(self.columns)

    def pieces(self, rows: int = PIECE) -> Iterator[Any]:
        """Yield Arrow tables of `rows` rows each, in order; the last has the rest."""
        import pyarrow as pa

        held: Any = None
        with undamaged():
            for read in self._tables(rows):
                held = read if held is None else pa.concat_tables([held, read])
                while len(held) >= rows:
                    yield self._completed(held.slice(0, rows))
                    held = held.slice(rows)
        if held is not None and len(held):
            yield self._completed(held)

    def _tables(self, rows: int) -> Iterator[Any]:
        """All rows in turn, as Arrow tables. A file is read a group at a time: Arrow itself would read far ahead."""
        import pyarrow as pa

        if groups := self.row_groups:
            columns = self._there()
            yield from OnAllCores(lambda i: groups.read(i, columns), range(len(groups)), waiting=AHEAD)
        else:
            for batch in self.dataset.to_batches(columns=self._there(), batch_size=rows):
                yield pa.Table.from_batches([batch])

    def table(self) -> Any:
        """All of it, as an Arrow table."""
        with undamaged():
            return self._completed(self.dataset.to_table(columns=self._there()))

    def head(self, rows: int, columns: Sequence[str]) -> Any:
        """The first rows of some columns, as an Arrow table."""
        with undamaged():
            return self.dataset.head(rows, columns=list(columns))

    def select(self, columns: Sequence[str]) -> Frame:
        return Frame(self.dataset, self.like, columns, self.own, self.absent, self.blanks)

    def whole(self) -> Frame:
        """The same frame, with the columns that were left out."""
        return Frame(self.dataset, self.like, None, self.own, self.absent, self.blanks)

    def without_values(self, blanks: Mapping[str, Sequence[Any]]) -> Frame:
        """The same frame, in which these values of columns count as missing."""
        return Frame(self.dataset, self.like, self.columns, self.own, self.absent, {**self.blanks, **blanks})

    def with_columns(self, types: Mapping[str, Any]) -> Frame:
        """The same frame with exactly these columns. A column that was absent has missing cells only, and a note names it.

        types: Arrow's, by name. Raises UserError where all of the columns are absent.
        """
        absent = {name: kind for name, kind in types.items() if name not in self.columns}
        if not absent:
            return self
        hint = near_matches(next(iter(absent)), self.columns)
        if len(absent) == len(types):
            raise UserError(f"the table has none of the columns {listed(absent)} that the model knows{hint}")
        note(
            f"the table lacks {len(absent)} of the model's {len(types)} columns: {listed(absent)}{hint}; their cells count as missing"
        )
        return Frame(
            self.dataset, self.like, [*self.columns, *absent], self.own, {**self.absent, **absent}, self.blanks
        )

    def numbers(self) -> np.ndarray:
        """(N, columns) float64, NaN where a cell is empty. UserError where a column does not hold numbers."""
        table = self.table()
        return np.column_stack([column_of_numbers(name, table[name]) for name in self.columns])


def without(column: Any, values: Sequence[Any]) -> Any:
    """Make the cells of an Arrow column missing where they hold one of the values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    try:
        known = pa.array(list(values)).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return column  # which cannot hold such a value
    found = pc.is_in(column.cast(kind), known)
    return (
        pc.if_else(found, None, column) if pc.any(found).as_py() else column
    )  # which keeps the order of its categories


def column_of_numbers(name: str, column: Any) -> np.ndarray:
    """(N,) float64, NaN where the column has no value."""
    kind = column.type
    if is_numeric(kind):
        return column.cast("float64", safe=False).to_numpy()
    example = next((v for v in column.to_pylist() if v is not None), None)
    raise UserError(
        f"column {name!r} holds {in_words(kind)}, such as {str(example)[:50]!r}, not numbers: "
        "leave the likelihood at 'auto', which takes columns of any kind, or drop the column"
    )


def common_schema(schema: Any) -> Any:
    """Replace Arrow's newest type of text, which few of its functions accept yet."""
    import pyarrow as pa

    def common(kind: Any) -> Any:
        if pa.types.is_dictionary(kind):
            return pa.dictionary(kind.index_type, common(kind.value_type), kind.ordered)
        return pa.large_string() if pa.types.is_string_view(kind) else kind

    return pa.schema([field.with_type(common(field.type)) for field in schema], schema.metadata)


def in_words(kind: Any) -> str:
    """Say in plain words what a column of this Arrow type holds."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return f"categories of {in_words(kind.value_type)}"
    known = {
        "booleans": (types.is_boolean,),
        "whole numbers": (types.is_integer,),
        "numbers": (types.is_floating, types.is_decimal),
        "text": (is_text,),
        "days": (types.is_date,),
        "times with a zone": (lambda k: types.is_timestamp(k) and k.tz,),
        "times": (types.is_timestamp,),
        "times of day": (types.is_time,),
        "spans of time": (types.is_duration,),
        "bytes": (types.is_binary, types.is_large_binary, types.is_fixed_size_binary),
        "lists": (types.is_list, types.is_large_list, types.is_fixed_size_list),
        "dicts": (types.is_struct, types.is_map),
        "periods": (lambda k: "period" in str(k),),
        "intervals": (lambda k: "interval" in str(k),),
        "nothing": (types.is_null,),
    }
    return next((words for words, checks in known.items() if any(check(kind) for check in checks)), str(kind))


def is_numeric(kind: Any) -> bool:
    from pyarrow import types

    checks = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    return any(check(kind) for check in checks)


def reject_duplicates(names: Sequence[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(f"there are {count} columns named {name!r}: give each its own name")


def is_frame(X: Any) -> bool:
    """Whether X is a table of named columns: a DataFrame, or anything that speaks Arrow."""
    if len(getattr(X, "shape", (0, 0))) != 2:  # such as one column of a table
        return False
    return (
        isinstance(X, Frame)
        or (hasattr(X, "columns") and not isinstance(X, np.ndarray))
        or hasattr(X, "__arrow_c_stream__")
    )


def to_frame(X: Any, said: Mapping[str, Any] | None = None) -> Frame:
    """Make a Frame of a pandas or polars DataFrame or an Arrow table. Text that is numbers or dates becomes numbers or dates.

    said: what is known of columns, by name: see `cells.read_cells`. UserError where a column mixes types.
    """
    if isinstance(X, Frame):
        return X
    like = type(X).__module__.split(".")[0]
    like = like if like in ("pandas", "polars") else "arrow"
    table, notes = read_cells(arrow_table(X, like), said or {}, file=False)
    tell(notes)
    return Frame.of(table, like, own_form(X, table) if like == "pandas" else None)


def arrow_table(X: Any, like: str) -> Any:
    """Turn a DataFrame or a table of another library into an Arrow table, with names that are text."""
    import pyarrow as pa

    if like == "pandas":
        names = [str(name) for name in X.columns]
        reject_duplicates(names)
        return pa.table([arrow_column(name, X.iloc[:, i]) for i, name in enumerate(names)], names=names)
    try:
        table = pa.table(X)
    except TypeError as e:
        remedy = "call its collect() first" if hasattr(X, "collect") else "give a DataFrame or an Arrow table"
        raise UserError(f"{type(X).__name__} is not a table in memory: {remedy}") from e
    reject_duplicates(table.column_names)
    return table.cast(common_schema(table.schema))


def arrow_column(name: str, column: Any) -> Any:
    """The Arrow array of a pandas Series."""
    import pyarrow as pa

    try:
        array = pa.Array.from_pandas(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as e:
        kinds = sorted({type(v).__name__ for v in column.dropna()})
        if len(kinds) < 2:
            raise UserError(
                f"column {name!r} holds {column.dtype}: leave it out, or convert it to numbers or text"
            ) from e
        raise UserError(f"column {name!r} mixes {' and '.join(kinds)}: make all of it numbers or all of it text") from e
    if str(array.type) == "extension<arrow.uuid>":
        return pa.array([None if v is None else str(v) for v in array.to_pylist()], pa.string())
    return array


def own_form(X: Any, table: Any) -> dict[str, Any]:
    """Describe the columns of a pandas DataFrame in plain values: their labels if they are not text, and their types.

    A column that was read as numbers is of numbers from then on, and has no type of its own; nor has one without any value.
    """
    import pyarrow as pa

    labels, types = {}, {}
    for label, kind, field, column in zip(X.columns, X.dtypes, table.schema, table.columns, strict=True):
        if not isinstance(label, str):
            labels[field.name] = plain_label(label)
        read = (
            str(kind) in ("object", "str", "string") and is_numeric(field.type) and not pa.types.is_boolean(field.type)
        )
        if not read and not is_empty(column):
            types[field.name] = str(kind)
    return {"labels": labels, "types": types}


def is_empty(column: Any) -> bool:
    """Whether every cell of an Arrow column is missing: its type then says nothing."""
    import pyarrow.compute as pc

    return bool(pc.all(pc.is_null(column, nan_is_null=True)).as_py())


def plain_label(label: Any) -> Any:
    """The label of a column as YAML can keep it; a label of several levels becomes a list."""
    if isinstance(label, tuple):
        return [plain_label(part) for part in label]
    label = label.item() if hasattr(label, "item") else label
    return label if isinstance(label, bool | int | float) else str(label)


def both_forms(trained: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two forms: that of the given columns, and for the others that of the training data."""
    return {part: {**trained.get(part, {}), **given.get(part, {})} for part in ("labels", "types")}


def from_arrow(table: Any, like: str, own: Mapping[str, Any] | None = None) -> Any:
    """Turn an Arrow table into one of the library `like`; return it as it is if that is not installed. own: see `own_form`."""
    try:
        if like == "pandas":
            importlib.import_module("pandas")
            return to_pandas(table, own or {})
        if like == "polars":
            return importlib.import_module("polars").from_arrow(table)
    except ImportError:
        pass
    return table


def to_pandas(table: Any, own: Mapping[str, Any]) -> Any:
    """A DataFrame of pandas with the labels and types that `own_form` found."""
    import pandas as pd

    columns = {}
    for name, field in zip(table.column_names, table.schema, strict=True):
        kind = own.get("types", {}).get(name)
        columns[name] = pandas_column(table[name], kind, format_of(field))
    frame = pd.DataFrame(columns, columns=table.column_names)
    labels = own.get("labels", {})
    if labels:
        given = [labels.get(name, name) for name in table.column_names]
        given = [tuple(label) if isinstance(label, list) else label for label in given]
        levels = all(isinstance(label, tuple) for label in given)
        frame.columns = pd.MultiIndex.from_tuples(given) if levels else pd.Index(given, dtype=object).infer_objects()
    return frame


def pandas_column(column: Any, kind: str | None, format: str) -> Any:
    """Make a pandas Series of the type of this name, if possible. A date that was text is written as it was."""
    import pandas as pd
    import pyarrow as pa

    if format and kind in ("object", "str", "string"):
        column = write_cells(column, format)
    series = column.to_pandas()
    if kind in (None, "category", str(series.dtype)):
        return series
    with suppress(ValueError, TypeError, pa.ArrowException):
        dtype = pd.api.types.pandas_dtype(kind)
        exact = getattr(dtype, "__from_arrow__", None)
        return pd.Series(exact(column)) if exact else series.astype(dtype)
    return series


def unmasked(X: Any) -> Any:
    """Turn a masked NumPy array into floats, NaN where it is masked; leave anything else as it is."""
    if not isinstance(X, np.ma.MaskedArray):
        return X
    return np.where(np.ma.getmaskarray(X), np.nan, X.data) if np.ma.is_masked(X) else X.data


def array_frame(X: Any, columns: Sequence[str]) -> Frame:
    """Turn an array (N, columns) into a table with these names."""
    import pyarrow as pa

    X = np.asarray(X)
    if X.ndim != 2 or X.shape[1] != len(columns):
        raise UserError(f"X has shape {X.shape}, but the model has {len(columns)} columns: give a table with these")
    return Frame.of(pa.table([pa.array(column) for column in X.T], names=list(columns)))
