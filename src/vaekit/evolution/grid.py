"""Rows that belong together: the candidates of a generation, and the grid of cells that they compete for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass
class Candidates:
    """Rows of a generation: x (n, *event) in model units, their codes z (n, d), their conditions by name, and their emitter (n,)."""

    x: Tensor
    z: np.ndarray
    y: dict[str, np.ndarray]
    emitter: np.ndarray

    def __len__(self) -> int:
        return len(self.x)


def picked(rows: Candidates, index: np.ndarray) -> Candidates:
    y = {name: values[index] for name, values in rows.y.items()}
    return Candidates(rows.x[torch.from_numpy(index)], rows.z[index], y, rows.emitter[index])


def cut(rows: Candidates, most: int) -> Candidates:
    return picked(rows, np.arange(min(most, len(rows))))


def joined(parts: Sequence[Candidates]) -> Candidates:
    y = {name: np.concatenate([part.y[name] for part in parts]) for name in parts[0].y}
    z, emitter = (np.concatenate([getattr(part, name) for part in parts]) for name in ("z", "emitter"))
    return Candidates(torch.cat([part.x for part in parts]), z, y, emitter)


class Grid:
    """The elites: pyribs' archive of numbers, with the rows that belong to them."""

    def __init__(self, cells: Sequence[int], ranges: Sequence[tuple[float, float]], seed: int):
        from ribs.archives import GridArchive

        own: Any = {"p_value": ((), np.float64), "evaluation": ((), np.int64)}
        self.store = GridArchive(solution_dim=1, dims=list(cells), ranges=ranges, seed=seed, extra_fields=own)
        self.elites: Any = None  # `Candidates`, in the order of their cells

    def add(
        self, candidates: Candidates, objective: np.ndarray, measures: np.ndarray, p: np.ndarray, good: np.ndarray,
        evaluation: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Let good candidates compete: which of them entered, (n,) bool. evaluation: their numbers, (n,), which no others have."""
        entered = np.zeros(len(candidates), bool)
        numbers = evaluation if self.elites is None else np.concatenate([self.known()["evaluation"], evaluation])
        rows = candidates if self.elites is None else joined([self.elites, candidates])
        if good.any():
            found = self.store.add(
                np.zeros((good.sum(), 1)), objective[good], measures[good], p_value=p[good], evaluation=evaluation[good]
            )
            entered[good] = found["status"] > 0
        order = np.argsort(numbers)
        self.elites = picked(rows, order[np.searchsorted(numbers, self.known()["evaluation"], sorter=order)])
        return entered

    def known(self) -> dict[str, np.ndarray]:
        """The stored values of the elites, in the order of their cells."""
        found = self.store.data(["index", "objective", "measures", "p_value", "evaluation"], return_type="dict")
        order = np.argsort(found["index"])
        return {name: np.asarray(values)[order] for name, values in found.items()}
