"""What a search found: the best row of each cell of a grid over measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.errors import UserError
from vaekit.files import read_tensors, write_tensors
from vaekit.fitted import Fitted, model_hash

FILE, TABLE, ELITES = "archive.safetensors", "archive.parquet", "elites"
MODEL = "model"  # the run directory of the model, in the folder of an archive
VALID = 0.05  # the p-value from which an elite is taken to belong to the data, where no other was asked for
PER_ELITE = ("z", "objective", "measures", "p_value", "nearest", "evaluation", "cell")


@dataclass
class Archive:
    """The elites of a search, n of them, in the order of their cells.

    Attributes:
        fitted: the model. x: the elites in model units, (n, *event); `rows` has them in their own form.
        z: their codes, (n, latent_dim). y: their conditions by name, each (n, ...).
        objective: (n,), high is good. measures: (n, m).
        p_value: (n,), the conformal p-value of belonging to the data: for a row that came from where the data come from, it is at most a
            with a probability of at most a. NaN if there are no rows of the data to compare with.
        nearest: (n,), the distance to the nearest training row, divided by the median distance of a training row to its nearest other; 0
            is a copy. NaN if it is not known.
        emitter: (n,), where each came from, see `vaekit.evolution.emitters`. evaluation: (n,), the number of the evaluation that found it.
        cell: (n,), the number of its cell, in C order over `cells`.
        cells: number of cells along each measure. ranges: low and high of each measure, (m, 2).
        title: name of the objective. names: names of the measures. trust: the p-value from which an elite is valid.
        history: after each generation: evaluations, coverage, valid_coverage, qd_score, best; how many rows failed, lay outside the
            ranges or were distrusted so far; and the share of each emitter.
        failed: number of rows that could not be evaluated, by the reason. settings: of the search.
        interrupted: whether it was stopped before its end.

    Example:
        >>> archive = vaekit.evolve(vae, cells=(4, 4), budget=40, batch_size=20)
        >>> len(archive.best(3)), len(archive.near([0.0, 0.0], 2)), archive.coverage == len(archive) / 16
        (3, 2, True)
    """

    fitted: Fitted
    x: Tensor
    z: np.ndarray
    y: dict[str, np.ndarray]
    objective: np.ndarray
    measures: np.ndarray
    p_value: np.ndarray
    nearest: np.ndarray
    emitter: np.ndarray
    evaluation: np.ndarray
    cell: np.ndarray
    cells: tuple[int, ...]
    ranges: np.ndarray
    names: list[str]
    title: str
    trust: float = VALID
    history: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False

    def __len__(self) -> int:
        return len(self.objective)

    def __getitem__(self, index: Any) -> Archive:
        """Some elites."""
        parts = {name: getattr(self, name)[index] for name in (*PER_ELITE, "emitter")}
        return replace(self, x=self.x[torch.as_tensor(index)], y={k: v[index] for k, v in self.y.items()}, **parts)

    def __repr__(self) -> str:
        valid = "" if np.isnan(self.valid_coverage) else f", {self.valid_coverage:.1%} with p >= {self.trust:g}"
        return f"Archive({len(self)} elites, {self.coverage:.1%} of {np.prod(self.cells)} cells{valid}; {self.title})"

    # -- what they are -------------------------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> Any:
        """The elites in the data's own form."""
        return rows_of(self.fitted, self.x, self.y)

    @property
    def valid(self) -> np.ndarray:
        """(n,) bool: whether the p-value of each elite is at least `trust`, so that it is taken to belong to the data."""
        return self.p_value >= self.trust

    @property
    def coverage(self) -> float:
        """The share of cells with an elite."""
        return len(self) / float(np.prod(self.cells))

    @property
    def valid_coverage(self) -> float:
        """The share of cells with a valid elite. NaN if no p-values are known."""
        known = len(self) and not np.isnan(self.p_value).all()
        return float(self.valid.sum() / np.prod(self.cells)) if known else np.nan

    @property
    def qd_score(self) -> float:
        """The objective above the lowest of the first generation, summed over all elites and divided by the number of cells."""
        return float((self.objective - self.settings.get("floor", 0.0)).sum() / np.prod(self.cells))

    # -- choosing ------------------------------------------------------------------------------------------------------

    def best(self, n: int = 1) -> Archive:
        """Pick the n elites with the highest objective."""
        return self[np.argsort(-self.objective, kind="stable")[:n]]

    def near(self, point: Sequence[float], n: int = 1) -> Archive:
        """Pick the n elites whose measures are nearest to a point (m,), in units of the ranges."""
        wanted = np.asarray(point, dtype=np.float64)
        if wanted.shape != (len(self.names),):
            raise UserError(
                f"a place in this archive has {len(self.names)} numbers ({', '.join(self.names)}), got {np.size(point)}"
            )
        away = ((self.measures - wanted) / np.ptp(self.ranges, axis=1)) ** 2
        return self[np.argsort(away.sum(1), kind="stable")[:n]]

    def sample(self, n: int, seed: int = 0) -> Archive:
        """Pick n elites at random."""
        return self[np.random.default_rng(seed).choice(len(self), min(n, len(self)), replace=False)]

    def columns(self) -> dict[str, np.ndarray]:
        """Columns (n,) by name: the cell, objective, measures, p-value, conditions and code of each elite."""
        places = {name: self.measures[:, i] for i, name in enumerate(self.names)}
        given = {name: values for name, values in self.y.items() if values.ndim == 1}
        codes = {f"z{i}": values for i, values in enumerate(self.z.T)}
        own = {name: getattr(self, name) for name in ("p_value", "nearest", "emitter", "evaluation")}
        return {"cell": self.cell, self.title: self.objective, **places, **own, **given, **codes}

    def to_frame(self) -> Any:
        """The columns as a DataFrame of pandas."""
        import pandas as pd

        return pd.DataFrame(self.columns())

    # -- files ---------------------------------------------------------------------------------------------------------

    def write(self, folder: str | Path) -> Path:
        """Write the archive to a folder.

        `archive.safetensors` holds it exactly. `archive.parquet` and the elites in a file of their own kind are for other programs.
        """
        from vaekit.show.write import write_table

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in PER_ELITE}
        about = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in (*PER_ELITE, "fitted", "x", "ranges")
        }
        about |= {"y": {name: values.tolist() for name, values in self.y.items()}, "emitter": self.emitter.tolist()}
        about |= {"ranges": self.ranges.tolist(), "of": model_hash(self.fitted)}
        write_tensors(folder / FILE, {"x": self.x.contiguous(), **tensors}, "archive", about)
        write_table(folder / TABLE, self.columns())
        if len(self):  # no kind has a file of no rows
            kind = self.fitted.kind
            kind.write(folder / f"{ELITES}{kind.endings[0]}", kind.with_conditions(kind.unpack(self.x), self.y))
        return folder

    @classmethod
    def read(cls, folder: str | Path, fitted: Fitted | None = None) -> Archive:
        """Read an archive from a folder.

        Args:
            fitted: its model; None: the one in the folder.

        Raises:
            UserError: it is an archive of another model, or damaged.
        """
        from vaekit.runs.load import load

        folder = Path(folder)
        tensors, about = read_tensors(folder / FILE, "archive")
        fitted = load(folder / MODEL).fitted_ if fitted is None else fitted
        if about.pop("of", None) != model_hash(fitted):
            raise UserError(f"{folder} is an archive of another model: give the one that it was made with")
        try:
            parts: dict[str, Any] = {name: tensors[name].numpy() for name in PER_ELITE}
            known: dict[str, Any] = {
                f.name: about[f.name] for f in fields(cls) if f.name in about and f.name not in ("y", "emitter")
            }
            known |= {
                "cells": tuple(about["cells"]),
                "ranges": np.array(about["ranges"]),
                "emitter": np.array(about["emitter"], dtype=str),
            }
            return cls(fitted=fitted, x=tensors["x"], y=listed(about["y"]), **parts, **known)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{folder / FILE} lacks what is needed here ({type(error).__name__}: {error})") from error


def rows_of(fitted: Fitted, x: Tensor, y: Mapping[str, np.ndarray]) -> Any:
    """Rows (n, *event) in model units, in the user's own form and with their conditions where that has room for them."""
    kind = fitted.kind
    return kind.as_given(kind.with_conditions(kind.unpack(x), y), fitted.form, fitted.data.get("own"))


def listed(y: Mapping[str, list[Any]]) -> dict[str, np.ndarray]:
    """Conditions by name, as they were before they were written."""
    found = {}
    for name, values in y.items():
        array = np.array(values)
        found[name] = array.astype(object) if array.dtype.kind in "US" else array
    return found
