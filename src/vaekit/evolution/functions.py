"""What a search asks of rows: an objective, which is to be high, and measures, which say what a row is like and so its cell.

Built in, objectives are "likelihood" (log p(x)) and "column:NAME" or "-column:NAME" (the value of a column, to be
high or low); measures are "latent" (the code, on its main axes), "pca:2" (the row, on its two main axes) and "column:A,B". All else is the user's own:
FILE.py:NAME, or a function. Measures may be several functions, one for each: FILE.py:A,B, or a list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vaekit.errors import UserError, near_matches
from vaekit.evolution.pool import Here, Own, Pool

Given = str | Callable[[Any], Any] | Sequence[Callable[[Any], Any]]
COLUMN = "column:"
LARGEST = 1e30  # objectives and measures from here on count as failed: they stand for a missing value, and no picture can show them


@dataclass
class Batch:
    """Rows that are judged together.

    Attributes:
        x: (n, *event), in model units. z: (n, latent_dim), their codes. y: conditions by name, each (n, ...). rows: the same in the user's own form.
    """

    x: np.ndarray
    z: np.ndarray
    y: Mapping[str, np.ndarray]
    rows: Any

    def __len__(self) -> int:
        return len(self.x)


class Axes:
    """The main axes of rows (N, D), by principal components."""

    def __init__(self, rows: np.ndarray, number: int):
        flat = rows.reshape(len(rows), -1).astype(np.float64)
        if number > min(flat.shape):
            raise UserError(
                f"{len(flat)} rows of {flat.shape[1]} numbers have no {number} main axes: give cells for fewer measures"
            )
        self.mean = flat.mean(0)
        _, _, axes = np.linalg.svd(flat - self.mean, full_matrices=False)
        self.axes = axes[:number] * np.sign(axes[:number, np.abs(axes[:number]).argmax(1)].diagonal())[:, None]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return (rows.reshape(len(rows), -1) - self.mean) @ self.axes.T


class Functions:
    """An objective and measures.

    Args:
        objective, measures: see above. number: how many measures there are.
        reference: rows of the data, which built-in measures learn from.
        kind: of the data. likelihood: a batch -> log p(x) of its rows, (n,).
        workers: processes for the user's own functions; 0: this one. timeout: seconds that a call may take in them.

    Attributes:
        title, names: of the objective and of the measures. files: of the user's own functions.
    """

    def __init__(
        self, objective: Given, measures: Given, number: int, reference: Batch, kind: Any,
        likelihood: Callable[[Batch], np.ndarray], *, workers: int = 0, timeout: float = 60.0,
    ):  # fmt: skip
        self.number, self.kind = number, kind
        own, own_measures = owned(objective), owned(measures)
        if len(own) > 1:
            raise UserError("there are several objectives: give one function")
        if own:
            self.title, self.objective = name_of(own[0]), None
        else:
            self.title, self.objective = str(objective), self._objective(str(objective), reference, likelihood)
        if own_measures:
            self.names, self.measures = self._named(own_measures), None
        else:
            self.names, self.measures = self._measures(str(measures), reference)
        several = len(own_measures) > 1
        # For each function: 0 for the objective and 1 for the measures, and which of these it gives.
        self.parts = [(0, slice(1))] * len(own)
        self.parts += [(1, slice(i, i + 1) if several else slice(number)) for i in range(len(own_measures))]
        own += own_measures
        self.places = [each.place for each in own]
        self.files = sorted({each.place.rpartition(":")[0] for each in own if each.function is None})
        self.own = (Pool(own, workers, timeout) if workers else Here(own)) if own else None

    def close(self) -> None:
        if self.own:
            self.own.close()

    def __call__(self, batch: Batch, failed: Counter[str]) -> tuple[np.ndarray, np.ndarray]:
        """The objective (n,) and the measures (n, m) of rows, NaN where one of them failed. failed: how many did, by the reason."""
        n = len(batch)
        found = [np.full((n, self.number if of else 1), np.nan) for of in (0, 1)]
        if self.own:
            for part, values in self.own.evaluate(batch.rows, failed):
                for (of, columns), place, each in zip(self.parts, self.places, values, strict=True):
                    width = len(range(self.number)[columns])
                    found[of][part, columns] = checked(each, place, part.stop - part.start, width)
        for i, each in enumerate((self.objective, self.measures)):
            if each is not None:
                found[i] = each(batch).reshape(n, -1)
        known = (np.abs(np.hstack(found)) < LARGEST).all(1)
        if missing := int(n - known.sum() - failed.total()):
            failed[f"the value is not a number below {LARGEST:g}"] += missing
        for each in found:
            each[~known] = np.nan
        return found[0][:, 0], found[1]

    def _named(self, functions: Sequence[Own]) -> list[str]:
        """The names of measures that are the user's own. UserError if there are several functions, but not one for each measure."""
        names = [name_of(each) for each in functions]
        if len(names) > 1:
            self._check_number(",".join(names), len(names))
            return names
        return names if self.number == 1 else [f"{names[0]} {i}" for i in range(self.number)]

    # -- built in ------------------------------------------------------------------------------------------------------

    def _objective(self, said: str, reference: Batch, likelihood: Any) -> Callable[[Batch], np.ndarray]:
        if said == "likelihood":
            return likelihood
        sign, text = (-1.0, said[1:]) if said.startswith("-") else (1.0, said)
        if not text.startswith(COLUMN):
            known = ["likelihood", COLUMN + "NAME", "FILE.py:NAME"]
            raise UserError(f"there is no objective {said!r}{near_matches(said, known)}")
        of = self._columns([text.removeprefix(COLUMN)], reference)
        return lambda batch: sign * of(batch)[:, 0]

    def _measures(self, said: str, reference: Batch) -> tuple[list[str], Callable[[Batch], np.ndarray]]:
        if said == "latent":
            latent = Axes(reference.z, self.number)
            return [f"code axis {i}" for i in range(self.number)], lambda batch: latent(batch.z)
        if said.startswith("pca:") and said.removeprefix("pca:").isdigit():
            self._check_number(said, int(said.removeprefix("pca:")))
            axes = Axes(reference.x, self.number)
            return [f"axis {i}" for i in range(self.number)], lambda batch: axes(batch.x)
        if said.startswith(COLUMN):
            names = said.removeprefix(COLUMN).split(",")
            self._check_number(said, len(names))
            return names, self._columns(names, reference)
        known = ["latent", "pca:2", COLUMN + "A,B", "FILE.py:NAME"]
        raise UserError(f"there are no measures {said!r}{near_matches(said, known)}")

    def _check_number(self, said: str, number: int) -> None:
        if number != self.number:
            raise UserError(f"{said!r} has {number} measures, but cells are given for {self.number}")

    def _columns(self, names: Sequence[str], reference: Batch) -> Callable[[Batch], np.ndarray]:
        """The values of columns, by name; of rows without names, by number. Classes are numbers in the order of their names."""
        known = columns(self.kind, reference)
        for name in names:
            if name not in known:
                raise UserError(f"{self.kind.noun} have no column {name!r}{near_matches(name, known)}")
        classes = {name: sorted(set(map(str, known[name]))) for name in names if known[name].dtype.kind not in "iufbM"}

        def of(batch: Batch) -> np.ndarray:
            found = columns(self.kind, batch)
            return np.column_stack([
                [classes[name].index(v) if v in classes[name] else np.nan for v in map(str, found[name])]
                if name in classes else numbers(found[name])
                for name in names
            ])  # fmt: skip

        return of


def columns(kind: Any, batch: Batch) -> dict[str, np.ndarray]:
    """The columns of rows by name: the columns of a table, or of numbers; and their conditions."""
    return {
        **kind.known(kind.take(batch.rows)),
        **{name: values for name, values in batch.y.items() if values.ndim == 1},
    }


def numbers(values: np.ndarray) -> np.ndarray:
    """Values (n,) as numbers. Of times: days since 1970."""
    if values.dtype.kind == "M":
        values = (values - np.datetime64(0, "s")) / np.timedelta64(1, "D")
    return values.astype(np.float64)


def owned(given: Given) -> list[Own]:
    """The user's own functions in an objective or in measures; [] if they are built in."""
    if isinstance(given, str) and ".py:" in given:
        file, _, names = given.rpartition(":")
        return [Own.of(f"{file}:{name.strip()}") for name in names.split(",")]
    if isinstance(given, str):
        return []
    return [Own.of(each) for each in ([given] if callable(given) else given)]


def written(given: Given) -> str:
    """An objective or measures as text."""
    if isinstance(given, str):
        return given
    return ",".join(getattr(each, "__name__", type(each).__name__) for each in ([given] if callable(given) else given))


def name_of(own: Own) -> str:
    return own.place.rpartition(":")[2]


def checked(values: np.ndarray, place: str, rows: int, numbers: int) -> np.ndarray:
    """Check the result of a function, and return it as (rows, numbers). UserError for another shape."""
    if values.shape not in [(rows, numbers), *([(rows,)] if numbers == 1 else [])]:
        wanted = f"({rows}, {numbers})" if numbers > 1 else f"({rows},)"
        raise UserError(
            f"{place} gave the shape {values.shape} for {rows} rows: return {wanted}, and more --cells for more measures"
        )
    return values.reshape(rows, numbers)
