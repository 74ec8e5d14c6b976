"""Tables on their way in and out: a DataFrame, an Arrow table or a file becomes a `Frame`, whose pieces fit in memory."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from vaekit.errors import UserError

PIECE = 65_536  # rows read at a time
LARGE = 1 << 30  # bytes: an array of more lies in a file, and is not copied


class Frame:
    """Rows of named columns, in memory or in a file that is read piece by piece.

    Args:
        dataset: a `pyarrow.dataset.Dataset`; of a table in memory, too.
        like: the library whose DataFrame it was: "pandas", "polars" or "arrow".
        columns: names of those that are kept; None: all.
    """

    def __init__(self, dataset: Any, like: str = "arrow", columns: Sequence[str] | None = None):
        reject_duplicates(dataset.schema.names)
        self.dataset, self.like = dataset, like
        self.rows: int = dataset.count_rows()
        self.columns = list(dataset.schema.names if columns is None else columns)

    @classmethod
    def of(cls, table: Any, like: str = "arrow") -> Frame:
        """A frame of an Arrow table."""
        from pyarrow import dataset

        reject_duplicates(table.column_names)
        return cls(dataset.dataset(table.cast(common_schema(table.schema))), like)

    @property
    def shape(self) -> tuple[int, int]:
        return (self.rows, len(self.columns))

    @property
    def ndim(self) -> int:
        return 2

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, rows: Any) -> Frame:
        """The chosen rows: a slice, whole numbers or booleans."""
        index = np.atleast_1d(np.arange(self.rows)[rows])
        with undamaged():
            return Frame.of(self.dataset.take(index, columns=self.columns), self.like)

    def type_of(self, name: str) -> Any:
        return self.dataset.schema.field(name).type

    def pieces(self, rows: int = PIECE) -> Iterator[Any]:
        """Arrow tables of `rows` rows each, the last of the rest, in order."""
        import pyarrow as pa

        batches = self.dataset.to_batches(
            columns=self.columns, batch_size=rows, batch_readahead=2, fragment_readahead=1
        )
        held: Any = None
        with undamaged():
            for batch in batches:
                read = pa.Table.from_batches([batch])
                held = read if held is None else pa.concat_tables([held, read])
                while len(held) >= rows:
                    yield held.slice(0, rows)
                    held = held.slice(rows)
        if held is not None and len(held):
            yield held

    def table(self) -> Any:
        """All of it, as an Arrow table."""
        with undamaged():
            return self.dataset.to_table(columns=self.columns)

    def head(self, rows: int, columns: Sequence[str]) -> Any:
        """The first rows of some columns, as an Arrow table."""
        with undamaged():
            return self.dataset.head(rows, columns=list(columns))

    def select(self, columns: Sequence[str]) -> Frame:
        return Frame(self.dataset, self.like, columns)

    def whole(self) -> Frame:
        """With the columns that were left out."""
        return Frame(self.dataset, self.like)

    def numbers(self) -> np.ndarray:
        """(N, columns) float64, NaN where a cell is empty. UserError where a column does not hold numbers."""
        table = self.table()
        return np.column_stack([column_of_numbers(name, table[name]) for name in self.columns])


@contextmanager
def undamaged() -> Iterator[None]:
    """UserError where the file that rows are read from, when they are needed, turns out to be damaged."""
    import pyarrow as pa

    try:
        yield
    except MemoryError:
        raise
    except (OSError, pa.ArrowException) as e:
        raise UserError(f"the table is damaged, or was changed while it was read ({e}): get it or save it again") from e


def column_of_numbers(name: str, column: Any) -> np.ndarray:
    """(N,) float64, NaN where the column has no value."""
    kind = column.type
    if is_numeric(kind):
        return column.cast("float64", safe=False).to_numpy()
    example = next((v for v in column.to_pylist() if v is not None), None)
    raise UserError(
        f"column {name!r} holds {'text' if isinstance(example, str) else kind}, such as {str(example)[:50]!r}, not numbers: "
        "leave the likelihood at 'auto', which takes columns of any kind, or drop the column"
    )


def common_schema(schema: Any) -> Any:
    """Without the newest type of text, with which Arrow can do little yet."""
    import pyarrow as pa

    def common(kind: Any) -> Any:
        if pa.types.is_dictionary(kind):
            return pa.dictionary(kind.index_type, common(kind.value_type), kind.ordered)
        return pa.large_string() if pa.types.is_string_view(kind) else kind

    return pa.schema([field.with_type(common(field.type)) for field in schema], schema.metadata)


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


def to_frame(X: Any) -> Frame:
    """A DataFrame of pandas or polars, or an Arrow table -> Frame. UserError where a column mixes types."""
    import pyarrow as pa

    if isinstance(X, Frame):
        return X
    like = type(X).__module__.split(".")[0]
    if like == "pandas":
        names = [str(name) for name in X.columns]
        reject_duplicates(names)
        arrays = []
        for i, name in enumerate(names):
            try:
                arrays.append(pa.Array.from_pandas(X.iloc[:, i]))
            except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as e:
                kinds = sorted({type(v).__name__ for v in X.iloc[:, i].dropna()})
                if len(kinds) < 2:
                    holds = X.iloc[:, i].dtype
                    raise UserError(
                        f"column {name!r} holds {holds}: leave it out, or make numbers or text of it"
                    ) from e
                raise UserError(
                    f"column {name!r} mixes {' and '.join(kinds)}: make all of it numbers or all of it text"
                ) from e
        table = pa.table(arrays, names=names)
        with suppress(
            pa.ArrowException, TypeError
        ):  # types that are pandas' own, such as whole numbers that may be missing
            table = table.replace_schema_metadata(pa.Schema.from_pandas(X, preserve_index=False).metadata)
        return Frame.of(table, "pandas")
    try:
        table = pa.table(X)
    except TypeError as e:
        remedy = "call its collect() first" if hasattr(X, "collect") else "give a DataFrame or an Arrow table"
        raise UserError(f"{type(X).__name__} is no table that is in memory: {remedy}") from e
    return Frame.of(table, like if like == "polars" else "arrow")


def from_arrow(table: Any, like: str) -> Any:
    """An Arrow table as the library `like` has tables; as it is where that is not installed."""
    try:
        if like == "pandas":
            importlib.import_module("pandas")
            return table.to_pandas()
        if like == "polars":
            return importlib.import_module("polars").from_arrow(table)
    except ImportError:
        pass
    return table


def unmasked(X: Any) -> Any:
    """A masked array of NumPy as an array of floats, NaN where it is masked; anything else as it is."""
    if not isinstance(X, np.ma.MaskedArray):
        return X
    return np.where(np.ma.getmaskarray(X), np.nan, X.data) if np.ma.is_masked(X) else X.data


def array_frame(X: Any, columns: Sequence[str]) -> Frame:
    """An array (N, columns) as a table of those names."""
    import pyarrow as pa

    X = np.asarray(X)
    if X.ndim != 2 or X.shape[1] != len(columns):
        raise UserError(f"X has shape {X.shape}, and the model knows {len(columns)} columns: give a table of them")
    return Frame.of(pa.table([pa.array(column) for column in X.T], names=list(columns)))
