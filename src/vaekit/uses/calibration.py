"""How odd rows are beside rows that are known to be normal: a score, its p-value, and the contribution of each value.

`AnomalyDetector`, `vaekit score` and the monitors of robots all calibrate here, and keep what they learned in one form of file, so
that later rows can be judged without the normal ones. P-values hold for rows that come as the calibration rows did (see
`vaekit.uses.conformal`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from scipy.special import logsumexp

from vaekit.errors import UserError
from vaekit.files import read_tensors, write_tensors
from vaekit.fitted import Fitted, model_hash
from vaekit.uses.conformal import p_values
from vaekit.uses.scores import contributions, new_score

FILE = "calibration-{}.safetensors"  # in the run directory, by the name of the score
DETECTOR = "detector.safetensors"  # the same of an `AnomalyDetector`, in the run directory of its first model
MEMBER = "detector-{}"  # beside it, the run directories of its other models
LEAST, MOST = 512, 4096  # rows that are judged at a time
VALUES = 1 << 20  # that the decoder gives for them: few enough to show how far it has come
USUAL = 1000  # rows: enough for a median
DRAW = 7  # an address of random numbers

Part = tuple[Any, np.ndarray]
"""A `Dataset`, and the numbers of some of its rows."""
T = TypeVar("T")


class OtherModelError(UserError):
    """A calibration belongs to another model."""


class Calibration:
    """A score of rows, and the scores of normal rows.

    Args:
        fitteds: the trained models; with several, the score is the log of the mean of their densities.
        name: of the score, see `vaekit.uses.scores`. options: of the score, such as `k`.

    Attributes:
        parts: the `Score` of each model. score: the first of them. kind: of the data.
        scores: of the normal rows, (n,); empty before `calibrate`.
        usual: the median of each value's contribution among them, in the form of a row; empty if nobody asked for it.
        origin: where they came from, in words.
        trained: whether the score learned from training rows.
    """

    def __init__(self, fitteds: Sequence[Fitted], name: str = "auto", **options: Any):
        self.fitteds, self.options = list(fitteds), options
        self.parts = [new_score(name, fitted, **options) for fitted in fitteds]
        self.score, self.kind = self.parts[0], self.fitteds[0].kind
        self.scores = self.usual = np.zeros(0)
        self.origin, self.trained = "", False

    def calibrate(
        self, normal: Part, origin: str, training: Part | None = None, *, shares: bool = False, track: Any = list
    ) -> None:
        """Learn from normal rows that training did not see, at most 10,000 of them (1000 texts), chosen at random.

        Args:
            normal: their scores give the p-values. Some scores learn from one half of them, and the other half is scored.
            training: training rows, for a score that learns from those. Without them it keeps what it learned from training rows
                before, or else learns from half of the normal rows.
            shares: whether to learn the usual contributions.
            track: wraps the list of pieces of work, to show how far it has come.
        """
        data, index = normal[0], self._draw(normal[1], self.kind.calibration_rows)
        learn = training if self.score.of_training else None
        self.trained = self.trained or bool(learn)
        if self.score.learns and not self.trained:
            half, index = np.array_split(index, 2)
            if len(half) < 2 or not len(index):
                raise UserError(
                    f"calibration takes at least 3 normal rows that training did not see, but there are {len(normal[1])} ({origin}): "
                    'give some hundred, or use the score "loglik", which does not learn from them'
                )
            learn = data, half
        if learn:
            rows = learn[0][np.sort(self._draw(learn[1], self.score.most))]
            for part, fitted in zip(self.parts, self.fitteds, strict=True):
                part.fit(fitted, rows.x, rows.conditions)
        self.scores = self.usual = np.zeros(0)
        self.origin = origin if len(index) else f"no rows were {origin}"
        if not len(index):
            return
        own = data[np.sort(index)]
        self.scores = np.concatenate([self.score_samples(x, y) for _, x, y in self._pieces(own, track)])
        if shares:
            pieces = self._pieces(own[:USUAL], track)
            self.usual = np.median(np.concatenate([self.contributions(x, y) for _, x, y in pieces]), axis=0)

    def _draw(self, index: np.ndarray, most: int) -> np.ndarray:
        return np.random.default_rng([self.fitteds[0].seed, DRAW]).permutation(index)[:most]

    # -- using ---------------------------------------------------------------------------------------------------------

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:
        """Score how normal each row is, (N,) float64; higher is more normal."""
        found = [part(fitted, X, y) for part, fitted in zip(self.parts, self.fitteds, strict=True)]
        return logsumexp(found, axis=0) - np.log(len(found))

    def contributions(self, X: Any, y: Any = None) -> np.ndarray:
        """The contribution of each value to how odd a row is by the first model: nats above its usual value, (N, ...) in the form of
        X; 0 for a missing value. See `vaekit.uses.scores.contributions`."""
        found = contributions(self.fitteds[0], X, y)
        return np.where(found == 0, 0.0, found - self.usual) if len(self.usual) else found

    def judge(self, data: Any, *, shares: bool = False, track: Any = list) -> Iterator[dict[str, np.ndarray]]:
        """Columns (n,) by name for the rows of a `Dataset`, piece by piece, so that a file is never in memory as a whole.

        They are "row" (the number of the row), the names of the rows, "score", for "loglik" the same in other units, "p_value" if
        there are scores of normal rows, and with `shares` "contribution_NAME" for each column of the data.
        """
        for rows, x, y in self._pieces(data, track):
            score = self.score_samples(x, y)
            found = {"row": np.arange(rows.start, rows.stop)}
            found |= {name: values[rows] for name, values in data.names.items()} | {"score": score}
            if self.score.name == "loglik":
                found |= self.kind.score_columns(data.x, rows, score)
            if len(self.scores):
                found["p_value"] = p_values(score, self.scores)
            if shares:
                columns = zip(self.kind.value_names, self.contributions(x, y).T, strict=True)
                found |= {f"contribution_{name}": values for name, values in columns}
            yield found

    def _pieces(self, data: Any, track: Any) -> Iterator[tuple[slice, Any, dict[str, np.ndarray]]]:
        """The rows of a `Dataset`, piece by piece: which they are, their x and their conditions."""
        size = VALUES // (self.score.samples * math.prod(self.kind.event_shape))
        size = min(max(size, LEAST), MOST)
        starts = track([*range(0, len(data), size)])
        for start, x in zip(starts, self.kind.pieces(data.x, size), strict=True):
            rows = slice(start, start + len(x))
            yield rows, x, {name: values[rows] for name, values in data.conditions.items()}

    # -- files ---------------------------------------------------------------------------------------------------------

    def write(self, path: Path, arrays: Mapping[str, np.ndarray] | None = None, **about: Any) -> None:
        """Keep it, and `arrays` and `about` with it."""
        learned = {f"{i}.{name}": value for i, part in enumerate(self.parts) for name, value in part.learned.items()}
        own = {"scores": self.scores, "usual": self.usual, **learned, **(arrays or {})}
        said = {"score": self.score.name, "options": self.options, "origin": self.origin, "trained": self.trained}
        keep(path, self.fitteds, own, **said, **about)

    @classmethod
    def rebuilt(
        cls, fitteds: Sequence[Fitted], arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]
    ) -> Calibration:
        """Rebuild it from what `write` kept, as `kept` hands it over."""
        self = cls(fitteds, about["score"], **about["options"])
        self.scores, self.usual, self.origin = arrays["scores"], arrays["usual"], about["origin"]
        self.trained = about["trained"]
        for i, part in enumerate(self.parts):
            part.learned = {name.removeprefix(f"{i}."): v for name, v in arrays.items() if name.startswith(f"{i}.")}
        return self

    @classmethod
    def find(cls, run: Path, fitteds: Sequence[Fitted], name: str, **options: Any) -> Calibration | None:
        """The calibration that a run keeps of this score with these options, from `vaekit score` or a saved `AnomalyDetector`; None if
        there is nothing, or it belongs to weights that the run had before."""
        wanted = new_score(name, fitteds[0], **options).name
        for path in (run / FILE.format(wanted), run / DETECTOR):
            with suppress(OtherModelError):
                if path.exists():
                    found = kept(path, fitteds, cls.rebuilt)
                    if (found.score.name, found.options) == (wanted, options):
                        return found
        return None


def members(run: Path) -> list[Path]:
    """The run directories of the models that a run holds, its own first: an `AnomalyDetector` may have several."""
    return [run, *sorted(run.glob(MEMBER.format("*")))]


def keep(path: Path, fitteds: Sequence[Fitted], arrays: Mapping[str, np.ndarray], **about: Any) -> None:
    """Write a calibration. fitteds: the models that it belongs to. about: plain values."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}
    write_tensors(path, tensors, "calibration", {"of": [model_hash(fitted) for fitted in fitteds], **about})


def kept(path: Path, fitteds: Sequence[Fitted], build: Callable[[Sequence[Fitted], Any, Any], T]) -> T:
    """`build(fitteds, arrays, about)` of what `keep` wrote. UserError if it is damaged, or belongs to other models than the first of
    these."""
    tensors, about = read_tensors(path, "calibration")
    try:
        own = fitteds[: len(about["of"])]
        if about["of"] != [model_hash(fitted) for fitted in own]:
            raise OtherModelError(f"{path} was calibrated for another model: calibrate again, for this one")
        return build(own, {name: tensor.numpy() for name, tensor in tensors.items()}, about)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, IndexError) as e:
        raise UserError(f"{path} lacks what is needed here ({type(e).__name__}: {e}): calibrate again") from e
