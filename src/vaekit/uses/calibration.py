"""How odd rows are beside rows that are known to be normal: a score, its p-value, and the contribution of each column.

A run keeps what was learned of the normal rows, in `calibration-NAME.safetensors`, so that later rows can be judged without
them. P-values hold for rows that come as the calibration rows did (see `vaekit.uses.conformal`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaekit.errors import UserError
from vaekit.files import read_tensors, write_tensors
from vaekit.fitted import Fitted
from vaekit.runs.directory import model_hash
from vaekit.uses.conformal import p_values
from vaekit.uses.scores import contributions, new_score

FILE = "calibration-{}.safetensors"  # in the run directory
ROWS = 512  # judged at a time: few enough to show how far it has come
PART = 3  # an address of random numbers


class Oddness:
    """A score of rows by a trained model, calibrated on normal rows.

    Args:
        fitted: the trained model. name: of the score, see `vaekit.uses.scores`. options: of the score, such as `k`.

    Attributes:
        calibration: scores of the normal rows, (n,); none before `calibrate` or `read`.
        usual: the median of each column's contribution among them, (columns,).
        origin: where they came from, in words.
    """

    def __init__(self, fitted: Fitted, name: str = "auto", **options: Any):
        self.fitted, self.options = fitted, options
        self.score = new_score(name, fitted, **options)
        self.calibration = self.usual = np.zeros(0)
        self.origin = ""

    @property
    def columns(self) -> list[str]:
        """The columns that have contributions; empty for pictures and texts."""
        return self.fitted.kind.value_names

    def calibrate(self, data: Any, origin: str) -> None:
        """Learn from a `Dataset` of normal rows that training did not see, at most 10,000 of them (1000 texts), chosen at random.
        The p-values use all of them, or half if the score learns from the other half."""
        most = self.fitted.kind.calibration_rows
        order = np.random.default_rng([self.fitted.seed, PART]).permutation(len(data))[:most]
        reference, own = np.array_split(order, 2) if self.score.learns else (order[:0], order)
        if len(own) < 1 or (self.score.learns and len(reference) < 2):
            least, other = (
                (3, ", or use --score loglik, which does not learn from them") if self.score.learns else (1, "")
            )
            raise UserError(
                f"calibration takes at least {least} normal rows, but there are {len(data)} ({origin}): give some hundred with "
                f"--calibrate{other}"
            )
        if self.score.learns:
            rows = data[np.sort(reference)]
            self.score.fit(self.fitted, rows.x, rows.conditions)
        rows = data[np.sort(own)]
        self.calibration = self.score(self.fitted, rows.x, rows.conditions)
        if self.columns:
            self.usual = np.median(contributions(self.fitted, rows.x, rows.conditions), axis=0)
        self.origin = origin

    def judge(self, X: Any, y: Any = None, *, shares: bool = False) -> dict[str, np.ndarray]:
        """Columns (N,) by name: "score", "p_value" if there is a calibration, and with `shares` "contribution_NAME" for each
        column of the data: nats above its usual value."""
        score = self.score(self.fitted, X, y)
        found = {"score": score}
        if len(self.calibration):
            found["p_value"] = p_values(score, self.calibration)
        if shares:
            surprise = contributions(self.fitted, X, y)
            if len(self.usual):
                surprise = np.where(surprise == 0, 0.0, surprise - self.usual)
            found |= {f"contribution_{name}": s for name, s in zip(self.columns, surprise.T, strict=True)}
        return found

    def judge_all(self, data: Any, *, shares: bool = False, track: Any = list) -> Iterator[dict[str, np.ndarray]]:
        """Judge a `Dataset` piece by piece, so that a file need not fit in memory; also gives "row", the row numbers, and the names.
        track: wraps the list of pieces of work, to show progress."""
        starts = [*range(0, len(data), ROWS)]
        for start, x in zip(track(starts), self.fitted.kind.pieces(data.x, ROWS), strict=True):
            rows = slice(start, start + len(x))
            y = {name: values[rows] for name, values in data.conditions.items()}
            names = {name: values[rows] for name, values in data.names.items()}
            found = self.judge(x, y, shares=shares)
            score, kind = found["score"], self.fitted.kind
            units = kind.score_columns(data.x, rows, score) if self.score.name == "loglik" else {}
            yield {"row": np.arange(rows.start, rows.stop), **names, "score": score, **units, **found}

    # -- files ---------------------------------------------------------------------------------------------------------

    def path(self, run: Path) -> Path:
        return Path(run) / FILE.format(self.score.name)

    def write(self, run: Path) -> None:
        learned = {f"learned.{name}": value for name, value in self.score.learned.items()}
        arrays = {"calibration": self.calibration, "usual": self.usual, **learned}
        about = {"of": model_hash(self.fitted), "origin": self.origin, "options": self.options}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}
        write_tensors(self.path(run), tensors, "calibration", about)

    def read(self, run: Path) -> bool:
        """Read what `write` left in the run directory; False if there is nothing, or it belongs to other weights or options."""
        if not self.path(run).exists():
            return False
        tensors, about = read_tensors(self.path(run), "calibration")
        if (about.get("of"), about.get("options")) != (model_hash(self.fitted), self.options):
            return False
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        try:
            self.calibration, self.usual, self.origin = arrays["calibration"], arrays["usual"], about["origin"]
        except KeyError as e:
            raise UserError(f"{self.path(run)} is not a calibration (it lacks {e}): delete it") from e
        self.score.learned = {k.removeprefix("learned."): v for k, v in arrays.items() if k.startswith("learned.")}
        return True
