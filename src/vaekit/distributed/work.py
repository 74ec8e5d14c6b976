"""An exported model at work on Arrow tables: what every engine does with its rows. Needs no PyTorch."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.errors import UserError, near_matches
from vaekit.forms.conditions import Label
from vaekit.frame.arrow import canonical, filled, restore
from vaekit.frame.packed import as_cells, from_cells
from vaekit.runtime import load
from vaekit.runtime.folder import ABOUT, read_about

X = "x"  # the column of rows that are not made of named columns: texts, or the bytes or the numbers of an array
SLICE = 1024  # rows at a time: bounds memory, and progress is shown after each
GRAPHS = {
    "score": ("score", "predict"), "encode": ("encoder",), "impute": ("complete", "predict"), "predict": ("predict",),
    "sample": ("prior", "decoder", "draw"),
}  # fmt: skip
"""What can be done with rows, and by which graphs. The first is needed, others are used where a model has them."""


class Work:
    """The work of a model on rows, as a function of Arrow tables.

    Args:
        folder: that `vaekit export` wrote. verb: one of `GRAPHS`. condition: of samples, NAME=VALUE or VALUE. temperature: of samples. seed: of
            samples, and of guesses.

    Raises:
        UserError: there is no such verb, or the model cannot do it.
    """

    def __init__(
        self, folder: str | os.PathLike[str], verb: str = "score", *, condition: Sequence[str] = (),
        temperature: float = 1.0, seed: int = 0,
    ):  # fmt: skip
        if verb not in GRAPHS:
            raise UserError(f"there is no operation {verb!r}{near_matches(verb, GRAPHS)}")
        self.model = load(folder)
        needed, *others = GRAPHS[verb]
        for graph in (needed, *filter(self.model.tasks.can, others)):
            self.model.folder.session(graph)
        self.verb, self.form, self.conditions = verb, self.model.tasks.form, self.model.tasks.conditions.named
        if verb != "sample" and not self.form.alone:
            raise UserError("steps of a series belong together, and are not spread over processes: give -o a file")
        self.y, self.temperature, self.seed = self.model.tasks.conditions.parse(condition), temperature, seed
        self.find: Callable[..., Any] = getattr(self, f"_{verb}", self.sample)

    def needs(self, schema: Any, names: Sequence[str]) -> list[str]:
        """The columns of a source that it reads: those of rows and conditions, and `names`."""
        known = {*(self.form.fields or [X]), *self.conditions, *names}
        return [name for name in schema.names if self.keeps or name in known]

    def __call__(self, table: Any) -> Any:
        """A table with other rows' columns, as Arrow holds it -> the same with what was found out about each row."""
        import pyarrow as pa

        found = pa.concat_tables([self.found(piece) for piece in slices(table)]) if len(table) else self.found(table)
        for name, column in zip(found.column_names, found.columns, strict=True):
            if name in table.column_names:
                table = table.set_column(table.column_names.index(name), name, column)
            else:
                table = table.append_column(name, column)
        return table

    @property
    def keeps(self) -> bool:
        """Whether what it writes are the rows themselves, with all their columns."""
        return self.verb == "impute" and bool(self.form.fields)

    def written(self, table: Any, names: Sequence[str], first: int) -> Any:
        """The columns that a part holds about these rows. names: columns that name a row. first: the number of the first row."""
        import pyarrow as pa

        if self.keeps:
            return self(table)
        found = self.found(table)
        own = {"row": pa.array(np.arange(first, first + len(table)))} if self.verb == "score" else {}
        own |= {name: table[name] for name in names if name not in found.column_names}
        return pa.table(own | dict(zip(found.column_names, found.columns, strict=True)))

    def found(self, table: Any) -> Any:
        """The results for the rows of a table alone. They have the same types for every table of one schema."""
        import pyarrow as pa

        if not len(table):  # whose types are those of any other
            nothing = pa.table([pa.nulls(1, field.type) for field in table.schema], schema=table.schema)
            return self.found(nothing).slice(0, 0)
        rows = self.rows(table)
        y = {name: numpy_of(table[name]) for name in self.conditions if name in table.column_names}
        return pa.table(self.find(rows, y or None))

    def rows(self, table: Any) -> Any:
        """The rows of a table, as the model takes them."""
        if self.form.fields:
            return table.select([name for name in table.column_names if name in self.form.fields])
        if X not in table.column_names:
            raise UserError(f"the rows have no column {X!r}: give one with {self.model.about['noun']}")
        field = table.schema.field(X)
        own = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        return unpacked(table[X], own, self.form)

    def sample(self, start: int, stop: int) -> Iterator[Any]:
        """Samples start to stop, piece by piece. start: a multiple of 1024."""
        for first in range(start, stop, SLICE):
            n = min(SLICE, stop - first)
            drawn = self.model.sample(n, self.y, temperature=self.temperature, seed=self.seed, first=first)
            yield as_table(self.form, drawn)

    def _score(self, rows: Any, y: Any) -> dict[str, Any]:
        if self.model.calibration is None:
            return {"score": self.model.score(rows, y)}
        scores, p = self.model.rate(rows, y)
        return {"score": scores, "p_value": p}

    def _encode(self, rows: Any, y: Any) -> dict[str, Any]:
        return {f"z{i}": values for i, values in enumerate(self.model.encode(rows, y).T)}

    def _impute(self, rows: Any, y: Any) -> dict[str, Any]:
        filled = as_table(self.form, self.model.impute(rows, y, seed=self.seed))
        if not self.form.fields:
            return dict(zip(filled.column_names, filled.columns, strict=True))
        return {name: completed(name, rows[name], filled[name]) for name in rows.column_names}

    def _predict(self, rows: Any, y: Any) -> dict[str, Any]:
        target = next(iter(self.conditions))
        classes = self.conditions[target]
        if isinstance(classes, Label):
            p = self.model.predict_proba(rows)
            return {target: np.array(classes.classes)[p.argmax(1)]} | {
                f"p({c})": p[:, i] for i, c in enumerate(classes.classes)
            }
        values = self.model.predict(rows).reshape(len(rows), -1)
        names = [target] if values.shape[1] == 1 else [f"{target}{i}" for i in range(values.shape[1])]
        return dict(zip(names, values.T, strict=True))


def carried(folder: str | os.PathLike[str]) -> dict[str, bytes]:
    """The files of an exported model, for machines that cannot reach its folder."""
    about = read_about(Path(folder, ABOUT))
    return {name: Path(folder, name).read_bytes() for name in (ABOUT, *about["files"])}


def opened(files: Mapping[str, bytes], verb: str, **options: Any) -> Work:
    """The work of a model that was carried here. A process opens each once."""
    key = hashlib.sha256(files[ABOUT]).hexdigest() + json.dumps([verb, options], sort_keys=True)
    if key not in OPENED:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                Path(folder, name).write_bytes(content)
            OPENED[key] = Work(folder, verb, **options)
            OPENED[key].model.calibration  # noqa: B018  read now
    return OPENED[key]


OPENED: dict[str, Work] = {}


def slices(table: Any) -> Iterator[Any]:
    return (table.slice(start, SLICE) for start in range(0, len(table), SLICE))


def unpacked(column: Any, own: Mapping[str, str], form: Any) -> np.ndarray:
    """Rows (N, ...) of the column `X`: texts, bytes or lists. own: what the column says of its arrays, "dtype" and "shape"."""
    from pyarrow import types

    kind, column = column.type, column.combine_chunks()
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return np.array(column.to_pylist(), object)
    shape = json.loads(own["shape"]) if "shape" in own else form.shape
    try:
        if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
            return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), *shape)
        return from_cells(column, shape, own.get("dtype", form.dtype))
    except ValueError:
        raise UserError(f"the column {X!r} holds rows that are no {form.dtype} of the shape {tuple(shape)}") from None


def packed(rows: np.ndarray) -> tuple[Any, dict[str, str]]:
    """Rows (N, ...) as an Arrow array, and what it says of them: the inverse of `unpacked`."""
    import pyarrow as pa

    if rows.dtype.hasobject:
        return pa.array(rows.tolist(), pa.string()), {}
    return as_cells(rows), {"dtype": rows.dtype.newbyteorder("<").str, "shape": json.dumps(rows.shape[1:])}


def numpy_of(column: Any) -> np.ndarray:
    """The values of a condition, (N,) or (N, size): None where a label is missing, NaN where a number is."""
    if hasattr(column.type, "value_type"):  # lists, or categories
        return np.array(column.to_pylist())
    return column.to_numpy()


def as_table(form: Any, rows: Any) -> Any:
    """Rows as their form gives them, as columns of an Arrow table whose types do not depend on what lies in them."""
    import pyarrow as pa

    if not isinstance(rows, Mapping):
        if rows.dtype.hasobject:
            return pa.table({"text": pa.array(rows.tolist(), pa.string())})
        flat = rows.reshape(len(rows), -1)
        names = form.fields or [f"x{i}" for i in range(flat.shape[1])]
        return pa.table(dict(zip(names, flat.T, strict=True)))
    columns = {name: pa.array(values, from_pandas=True) for name, values in rows.items()}
    for name, kind in form.fields.items():
        columns[name] = restore(canonical(name, columns[name]), kind)
    return pa.table(columns)


def completed(name: str, own: Any, found: Any) -> Any:
    """A column (N,) whose gaps are filled from `found`. It keeps its type."""
    column = filled(name, own, found)
    return column if own.type in (column.type, "null") else column.cast(own.type, safe=False)
