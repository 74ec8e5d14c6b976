"""Tables: named columns of any kind, in memory or read piece by piece from a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vaekit.errors import UserError, near_matches, note
from vaekit.forms.numbers import piecewise
from vaekit.frame import PIECE, Frame, array_frame, both_forms, from_arrow, is_frame, to_frame
from vaekit.frame.arrow import (
    as_trained,
    canonical,
    filled,
    is_time,
    numbers,
    restore,
    step_in_words,
    type_named,
    value_type,
)
from vaekit.frame.cells import as_said, format_of, listed
from vaekit.frame.dates import write_times
from vaekit.kinds.base import Kind
from vaekit.kinds.table.columns import DROP, Column, Continuous, Discrete, Summary, blanks, column
from vaekit.kinds.table.constraints import Constraints, candidates
from vaekit.kinds.table.identifiers import leave_out
from vaekit.settings.options import DATA, Option, Search
from vaekit.settings.parse import read_schema
from vaekit.show.track import track
from vaekit.show.words import cell
from vaekit.show.write import Names, write_pieces
from vaekit.sources.arrays import as_array
from vaekit.sources.series import times

if TYPE_CHECKING:
    from markupsafe import Markup

SAID = ("kind", "classes", "low", "high", "step", "format", "missing")  # what a user may say of a column
LEAST_STEPS = 50  # of a series that is taken for a table
MANY = 1_000_000  # this many rows take a while to look at
BINS = np.linspace(-4, 4, 41).tolist()  # edges, in normal scores, of the intervals that show what a number may be

SCHEMA = Option(
    "Tables: a YAML file that says the kind of each column; `vaekit schema SOURCE` writes the guessed one.",
    DATA,
    parse=read_schema,
)
CONSTRAINTS = Option(
    "Tables: a rule between columns that every drawn or filled row obeys, such as 'start <= end' or 'total == price * quantity'; "
    "repeat it for several.", DATA, ("--constraint",),
)  # fmt: skip


@dataclass
class Table(Kind):
    """Schema of a table.

    The model sees a number for each column (see `columns`), then one for each column that has gaps: 1 where its cell is
    there, 2 where it is missing.

    Attributes:
        schema: the columns by name, in order. rows: that it was learned from.
        constraints: what columns have to be to each other.
        left_out: columns that look like identifiers, and why, by name: the model does not know them.
    """

    schema: dict[str, Any]
    rows: int
    constraints: Constraints = field(default_factory=Constraints)
    left_out: dict[str, str] = field(default_factory=dict)

    name: ClassVar[str] = "table"
    noun: ClassVar[str] = "tables of named columns"
    report: ClassVar[str] = "vaekit.kinds.table.report:TableReport"
    only_likelihood: ClassVar[str] = "mixed"
    numeric: ClassVar[bool] = False
    fills: ClassVar[bool] = True
    endings: ClassVar[Sequence[str]] = (".csv", ".parquet")
    score: ClassVar[str] = "exemplars"
    training: ClassVar[dict[str, Any]] = {"batch_size": 512, "learning_rate": 2e-3, "cell_dropout": 0.1}
    ranges: ClassVar[dict[str, Search]] = {"batch_size": Search(choices=(128, 256, 512, 1024, 2048))}

    def __post_init__(self) -> None:
        self.schema = {n: column(**c) if isinstance(c, Mapping) else c for n, c in self.schema.items()}
        if isinstance(self.constraints, Mapping):
            self.constraints = Constraints(**self.constraints)

    @classmethod
    def infer(
        cls,
        frame: Frame,
        standardize: bool = True,
        columns: Any = None,
        *,
        schema: Annotated[Mapping[str, Any] | None, SCHEMA] = None,
        constraints: Annotated[Sequence[str] | None, CONSTRAINTS] = None,
    ) -> Table:
        """Learn the schema from all pieces of `frame`.

        Args:
            schema: kinds of columns that are not to be guessed, by name: "real", "integer", "positive", "bounded", "date", "binary",
                "categorical", "ordinal", or "drop" to leave the column out; or a dict of the kind and of classes, low, high, step, format
                or missing.
            constraints: rules between columns that every drawn or filled row obeys, such as "start <= end", "low < high" or
                "total == price * quantity" (with +, -, * and /): see `vaekit.kinds.table.constraints`.
        """
        for name, own in (schema or {}).items():
            if unknown := [k for k in own if k not in SAID] if isinstance(own, Mapping) else []:
                raise UserError(f"the schema of column {name!r} has no {unknown[0]!r}{near_matches(unknown[0], SAID)}")
        said = as_said(schema)
        if unknown := [name for name in said if name not in frame.columns]:
            raise UserError(
                f"the schema names a column {unknown[0]!r} that the table does not have{near_matches(unknown[0], frame.columns)}"
            )
        frame = frame.without_values({name: blanks(own) for name, own in said.items() if "missing" in own})
        kept = [name for name in frame.columns if said.get(name, {}).get("kind") != DROP]
        if not kept:
            raise UserError("no column is left: keep at least one")
        fields = [frame.field(name) for name in kept]
        summaries = [Summary(f.name, f.type, len(frame), said.get(f.name, {}), format_of(f)) for f in fields]
        for piece in pieces_of(frame):
            for summary in summaries:
                summary.add(piece[summary.name])
        named = {s.name: why for s in summaries if (why := s.identifier())}
        if far := {s.name: value for s in summaries if s.name not in named and (value := s.sentinel())}:
            note(
                "columns with a value far from all others, which may stand for a missing cell: "
                f"{listed(f'{name} ({value})' for name, value in far.items())}; if it does, say so in the schema: "
                f"{next(iter(far))}: {{missing: {next(iter(far.values())).split()[0]}}}"
            )
        leave_out(named, {s.name for s in summaries if s.is_prose()}, alone=len(named) == len(summaries))
        if clock := steady(frame, kept):
            note(
                f"the times in column {clock!r} rise in equal steps: if the rows are one series, fit it with --kind series"
            )
        self = cls({s.name: s.column() for s in summaries if s.name not in named}, len(frame), left_out=named)
        cells = map(self.cells, pieces_of(frame))
        if constraints:
            self.constraints = Constraints.learn(constraints, self.schema, cells, len(frame))
        elif found := candidates(self.schema, cells):
            shown = listed(
                f"{rule!r} holds in {'all' if share == 1 else f'{share:.1%} of the'} rows"
                for rule, share in found.items()
            )
            note(f"{shown}: with --constraint {next(iter(found))!r}, in Python constraints=[...], all samples obey it")
        return self

    @classmethod
    def recognises(cls, X: Any, likelihood: str) -> bool:
        return (isinstance(X, Frame) or is_frame(X)) and likelihood in ("auto", "mixed")

    @classmethod
    def check(cls, X: Any, **options: Any) -> Frame:
        if not isinstance(X, Frame) and not is_frame(X):
            raise UserError("a table has named columns: give a DataFrame, a .csv or a .parquet file")
        return X if isinstance(X, Frame) else to_frame(X, as_said(options.get("schema")))

    def take(self, X: Any) -> Frame:
        """Frames, DataFrames, or an array whose columns come in the order of the schema."""
        if not isinstance(X, Frame):
            X = as_array(X)
            X = to_frame(X, self.readings) if is_frame(X) else array_frame(X, self.columns)
        return self.conform(X)

    @classmethod
    def without(cls, options: Mapping[str, Any], conditions: Collection[str]) -> dict[str, Any]:
        schema = {name: said for name, said in (options.get("schema") or {}).items() if name not in conditions}
        return {**options, "schema": schema}

    @classmethod
    def default_likelihood(cls, rows: Any, **options: Any) -> str:
        return "mixed"

    @property
    def columns(self) -> list[str]:
        return list(self.schema)

    @property
    def reading(self) -> dict[str, Any]:
        return {"columns": self.columns, "schema": self.readings}

    @property
    def seen(self) -> dict[str, Any]:
        """The columns as the model sees them, by name."""
        return {**self.schema, **self.constraints.distances}

    @property
    def gaps(self) -> list[str]:
        """Columns with missing cells."""
        return [name for name, c in self.schema.items() if 0 < c.missing < 1]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (len(self.schema) + len(self.gaps),)

    @property
    def unit(self) -> Tensor:
        return torch.ones(self.event_shape)  # the likelihood knows the units

    def likelihood_options(self, size: str, latent_dim: int) -> dict[str, Any]:
        flags = [{"shares": [1 - self.schema[name].missing, self.schema[name].missing]} for name in self.gaps]
        return {"columns": [*(c.to_likelihood() for c in self.seen.values()), *flags], "rows": self.rows}

    @property
    def extent(self) -> str:
        return f"{len(self.columns)} columns"

    def conform(self, frame: Frame) -> Frame:
        frame = frame.with_columns({name: type_named(c.type) for name, c in self.schema.items()})
        return frame.without_values({name: c.gaps for name, c in self.schema.items() if c.gaps})

    def pack(
        self, frame: Frame, dtype: torch.dtype = torch.float32, jitter: np.random.Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """See `Kind.pack`. jitter: spreads rounded numbers, for training."""
        frame = self.conform(frame)
        x = np.empty((len(frame), *self.event_shape), np.float64 if dtype == torch.float64 else np.float32)
        mask = np.empty(x.shape, bool)
        start = 0
        for piece in frame.pieces():
            rows = slice(start, start + len(piece))
            own = self.cells(piece)
            distances = self.constraints.seen(own, self.schema, learning=jitter is not None)
            for j, (name, c) in enumerate(self.seen.items()):
                values = c.pack(name, distances.get(name, own[name]), jitter)
                mask[rows, j] = ~np.isnan(values)
                x[rows, j] = np.nan_to_num(values, nan=0.0)
            for j, name in enumerate(self.gaps, len(self.schema)):
                x[rows, j] = 2 - own[name].is_valid().to_numpy(zero_copy_only=False)
                mask[rows, j] = True
            start = rows.stop
        return torch.from_numpy(x), None if mask.all() else torch.from_numpy(mask)

    def cells(self, table: Any) -> dict[str, Any]:
        """The columns of an Arrow table by name, as canonical values of the types in training."""
        return {name: canonical(name, as_trained(name, table[name], c.type)) for name, c in self.schema.items()}

    def open_to(self, mask: Tensor | None) -> Tensor | None:
        """A mask that lets the model decide whether an empty cell is missing."""
        if mask is not None:
            mask = mask.clone()
            mask[:, len(self.schema) :] = False
        return mask

    def center(self, draws: Tensor) -> Tensor:
        """Several draws of each row (k, N, D) -> (N, D): the mean of numbers, the commonest category."""
        k, n = draws.shape[:2]
        found = draws.mode(0).values
        for j, c in enumerate(self.seen.values()):
            if isinstance(c, Continuous):
                values = piecewise(draws[..., j].flatten().numpy(), c.scores, c.knots).reshape(k, n).mean(0)
                found[:, j] = torch.from_numpy(piecewise(values, c.knots, c.scores))
        return found

    def crossed(self, a: np.ndarray, b: np.ndarray, between: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """See `Kind.crossed`. A category is that of one of the two rows."""
        either = np.where(random.random(a.shape) < 0.5, a, b)
        numbers = [isinstance(c, Continuous) for c in self.seen.values()]
        return np.where([*numbers, *[False] * len(self.gaps)], between, either)

    def fill(self, frame: Frame, x: Tensor) -> Any:
        """Fill all empty cells of a frame from x (N, D)."""
        whole = frame.table()
        table = self.unpacked(x, self.cells(whole))
        for i, name in enumerate(whole.column_names):
            if name in self.schema:
                column = filled(name, whole[name], table[name])
                whole = whole.set_column(i, self.field(name, column.type), column)
        return whole

    def field(self, name: str, kind: Any) -> Any:
        """The Arrow field of a column, with the format in which a text file writes it."""
        import pyarrow as pa

        format = self.schema[name].format
        return pa.field(name, kind, metadata={"format": format} if format else None)

    @property
    def readings(self) -> dict[str, dict[str, str]]:
        """The known facts about columns, by name, so that other files are read in the same way: see `vaekit.frame.cells.read_cells`."""
        known = {name: {"type": c.type, "format": c.format} for name, c in self.schema.items()}
        return {**known, **{name: {"kind": DROP} for name in self.left_out}}

    def unpack(self, x: Tensor) -> Any:
        """Turn what the model gives, (N, D), into an Arrow table; a cell is empty where the model says that it is missing."""
        import pyarrow as pa

        cells = self.unpacked(x, {})
        for j, name in enumerate(self.gaps, len(self.schema)):
            cells[name] = cells[name].take(pa.array(np.arange(len(x)), mask=(x[:, j] > 1.5).cpu().numpy()))
        fields = [self.field(name, column.type) for name, column in cells.items()]
        return pa.Table.from_arrays(list(cells.values()), schema=pa.schema(fields))

    def told(self, p: Any) -> dict[str, Tensor]:
        """See `Kind.told`. Adds the probabilities of what is in each column, for the intervals of `BINS`."""
        return {"x": p.mean, "bins": p.shares(torch.tensor(BINS))[:, : len(self.schema)]}

    def form(self) -> dict[str, Any]:
        return {
            "type": "columns",
            "event": list(self.event_shape),
            "columns": [c.form(name) for name, c in self.schema.items()],
            "gaps": [self.columns.index(name) for name in self.gaps],
            "bins": BINS,
            "constraints": self.constraints.form(self.schema),
        }

    def with_conditions(self, rows: Any, conditions: Mapping[str, Any]) -> Any:
        """Conditions become columns too."""
        import pyarrow as pa

        for name, given in conditions.items():
            rows = rows.append_column(name, pa.array(list(given)))
        return rows

    def preview(self, rows: Any, label: str) -> Markup:
        """A line for each row, with the names of its values."""
        lines = [", ".join(f"{name} {cell(value)}" for name, value in row.items()) for row in rows.to_pylist()]
        return super().preview(lines, label)

    def as_given(self, rows: Any, form: str, own: Mapping[str, Any] | None = None) -> Any:
        return from_arrow(rows, form, own)

    def in_form_of(self, rows: Frame, filled: Any, own: Mapping[str, Any] | None) -> Any:
        return from_arrow(filled, rows.like, both_forms(own or {}, rows.own))

    def ends(self, a: Any, b: Any) -> Frame:
        import pyarrow as pa

        return Frame.of(pa.concat_tables([to_frame(end).select(self.columns).table() for end in (a, b)]))

    def search(self, n: int, where: Any, conditions: Mapping[str, Any], draw: Any, track: Any = list) -> Any:
        from vaekit.kinds.table.filters import as_written, check, clauses, draw_until

        wanted = as_written(clauses(where, [*self.columns, *conditions]), self.schema)
        check(wanted, self.schema, conditions)
        return draw_until(n, wanted, draw, track)

    def sample_notes(self) -> list[str]:
        return (
            [f"samples do not have the columns that look like identifiers: {listed(self.left_out)}"]
            if self.left_out
            else []
        )

    @property
    def column_names(self) -> tuple[int, list[str]]:
        return len(self.columns), self.columns

    @property
    def value_names(self) -> list[str]:
        return self.columns

    def pieces(self, rows: Frame, size: int) -> Iterator[Frame]:
        """See `Kind.pieces`. Rows in a file are not all in memory at once."""
        return map(Frame.of, rows.pieces(size))

    def in_pieces(self, data: Any, do: Callable[[Any, Any, int], Any]) -> Iterator[Any]:
        """See `Kind.in_pieces`. Rows have all columns of the source, also those that the model does not know."""
        start = 0
        for i, piece in enumerate(data.x.whole().pieces()):
            rows = slice(start, start := start + len(piece))
            yield do(Frame.of(piece), {name: values[rows] for name, values in data.conditions.items()}, i)

    def known(self, rows: Frame) -> dict[str, np.ndarray]:
        return {name: rows.table()[name].to_numpy(zero_copy_only=False) for name in self.columns}

    def write(self, path: Path, rows: Any, names: Names = None) -> None:
        """Write an Arrow table, or several, one below the other, of which one at a time is in memory."""
        write_pieces(path, rows if isinstance(rows, Iterator) else [rows])

    def contributions(self, found: np.ndarray) -> np.ndarray:
        """Whether a cell is there has a number of its own in what the model sees: it belongs to the cell."""
        own, flags = found[:, : len(self.schema)], found[:, len(self.schema) :]
        own[:, [self.columns.index(name) for name in self.gaps]] += flags
        return own

    def evaluate(self, fitted: Any, X: Any, y: Any, results: Mapping[str, Any]) -> dict[str, Any]:
        from vaekit.kinds.table.gaps import filled_gaps

        return {"gaps": filled_gaps(fitted, self.take(X).table(), fitted.conditions.name(y), seed=fitted.seed)}

    def unpacked(self, x: Tensor, known: Mapping[str, Any]) -> dict[str, Any]:
        """Turn what the model gives, (N, D), into Arrow arrays by name without empty cells. known: canonical values of cells that stay as
        they are, to which those of constraints are fitted."""
        values = x.double().cpu().numpy()
        drawn = {name: c.unpack(values[:, j]) for j, (name, c) in enumerate(self.seen.items())}
        ruled = self.constraints.completed(drawn, known, self.schema)
        return {
            name: ruled[name] if name in ruled else restore(drawn[name], c.type, getattr(c, "labels", None))
            for name, c in self.schema.items()
        }

    @property
    def in_words(self) -> str:
        return f"rows of {len(self.columns)} column{'s' if len(self.columns) > 1 else ''}"

    def reveals(self) -> list[str]:
        numbers = [c for c in self.schema.values() if isinstance(c, Continuous)]
        knots = max((len(c.knots) for c in numbers), default=0)
        of_numbers = (
            f"config.yaml holds up to {knots} quantiles of each column of numbers and dates, among them the lowest and the highest "
            "value, and the values that occur often."
        )
        of_others = "config.yaml holds all classes of each column of categories, and how often each occurs."
        return [of_numbers] * bool(numbers) + [of_others] * (len(numbers) < len(self.schema))

    def privacy(self, found: Mapping[str, Any] | None) -> list[str]:
        from vaekit.kinds.table.synthesis import privacy_lines

        return privacy_lines(found) if found else ["Not checked: run `vaekit report RUN` before pushing."]

    def networks(self, size: str, network: str) -> tuple[Any, Any]:
        from vaekit.nets.residual import SIZES, ResidualMLP

        if network == "conv":
            raise UserError("network 'conv' needs pictures, (N, H, W) or (N, H, W, channels): use 'mlp' for tables")
        options: Any = SIZES[size]
        return partial(ResidualMLP, columns=self.event_shape[0], **options), partial(ResidualMLP, **options)

    def describe(self) -> list[str]:
        """A line for each column, and for each constraint."""
        lines = [f"{name}: {describe(c)}" for name, c in self.schema.items()]
        lines += [f"{name}: left out, it looks like an identifier: {why}" for name, why in self.left_out.items()]
        return lines + [f"constraint: {text}" for text in self.constraints.texts]


def pieces_of(frame: Frame) -> Iterator[Any]:
    """The pieces of a frame; of a large one, with a bar."""
    pieces = frame.pieces()
    return pieces if len(frame) < MANY else track(pieces, "look at the columns", math.ceil(len(frame) / PIECE))


def setting_of(c: Column) -> dict[str, Any]:
    """Describe the guessed column as a user may write it."""
    written: dict[str, Any] = {"format": c.format} if c.format and c.kind not in ("binary", "categorical") else {}
    written |= {"missing": c.blanks} if c.blanks else {}
    if isinstance(c, Discrete):
        return {"kind": c.kind, **({"classes": c.classes} if c.kind == "ordinal" else {}), **written}
    limits = {} if c.kind == "date" else {"low": c.low, "high": c.high, "step": c.step}
    return {"kind": c.kind, **{k: int(v) if v == int(v) else v for k, v in limits.items()}, **written}


def possible(c: Column, near: Sequence[Any]) -> Any:
    """Values that a column may hold, as an Arrow array of their type: all classes; for numbers the ends of the range, and the
    nearest to `near` (Arrow scalars) below and above."""
    import pyarrow as pa

    kind = str(value_type(type_named(c.type)))
    if isinstance(c, Discrete):
        return restore(pa.array(c.classes), kind)
    v = [float(numbers("", canonical("", pa.array([scalar])), c.origin)[0]) for scalar in near]
    points = np.unique([c.low, c.high, *v, *(p + sign * c.step for p in v for sign in (-1, 1))])
    points = np.unique([*points, *(points[1:] + points[:-1]) / 2])
    return restore(c.held(points), kind)


def describe(c: Column) -> str:
    gaps = f", {c.missing:.1%} missing" if c.missing else ""
    if isinstance(c, Discrete):
        shown = ", ".join(str(v) for v in restored(c.classes[:6], c)) + (", ..." if len(c.classes) > 6 else "")
        return f"{c.kind}, {len(c.classes)} classes ({shown}){gaps}"
    ends = [c.low, c.high] if c.origin is None else restored([int(v) + c.origin for v in (c.low, c.high)], c)
    low, high = (f"{v:.{15 if c.step else 6}g}" if isinstance(v, float) else v for v in ends)
    kind = value_type(type_named(c.type))
    step = step_in_words(c.step, kind) if is_time(kind) else f"{c.step:g}"
    return f"{c.kind}, {low} to {high}{f', in steps of {step}' if c.step else ''}{gaps}"


def restored(values: list[Any], c: Column) -> list[Any]:
    """Values as they are shown: times are not numbers."""
    import pyarrow as pa

    kind = value_type(type_named(c.type))
    return write_times(restore(pa.array(values), str(kind)), "").to_pylist() if is_time(kind) else values


def steady(frame: Frame, names: Sequence[str]) -> str | None:
    """Find a column of times that rise in equal steps, as those of a series do, with at most a tenth of the steps missing; else None."""
    piece = next(iter(frame.pieces()))
    for name in names:
        found = times("", piece[name])
        if found is not None and len(found) >= LEAST_STEPS and not np.isnat(found).any():
            steps = np.diff(found).astype(np.int64)
            if (steps > 0).all() and (steps == np.median(steps)).mean() > 0.9:
                return name
    return None
