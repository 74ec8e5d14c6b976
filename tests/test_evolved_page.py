"""What people see of an evolved archive: its pictures, its report, and the explorer's page over its cells."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vaekit as vk
from conftest import TINY, check_page, people
from vaekit.deploy.explorer.evolved import archive_scene, cells_of, write_explorer
from vaekit.deploy.report.evolved import shown_cells, spread, write_evolved
from vaekit.errors import UserError


@dataclass
class Archive:
    """The fields that the pages read of an archive."""

    fitted: Any
    x: Any
    z: Any
    y: Any
    objective: Any
    measures: Any
    p_value: Any
    emitter: Any
    evaluation: Any
    cell: Any
    cells: Any
    ranges: Any
    names: Any
    title: str
    trust: float = 0.0
    history: list = field(default_factory=list)

    def __len__(self):
        return len(self.objective)

    @property
    def coverage(self):
        return len(self) / np.prod(self.cells)

    @property
    def valid_coverage(self):
        return (self.p_value >= (self.trust or 0.05)).sum() / np.prod(self.cells)

    @property
    def qd_score(self):
        return self.objective.sum()


def archive_of(fitted, z, objective, measures, cells, ranges, names, title, rng, y=None):
    """The archive that MAP-Elites keeps of these candidates: the best of each cell."""
    ranges, y = np.asarray(ranges, float), y or {}
    share = (measures - ranges[:, 0]) / (ranges[:, 1] - ranges[:, 0])
    inside = np.flatnonzero(((share >= 0) & (share < 1)).all(1))
    flat = np.ravel_multi_index(tuple((share[inside] * cells).astype(int).T), cells)
    order = inside[np.argsort(-objective[inside], kind="stable")]
    where = dict(zip(inside.tolist(), flat.tolist(), strict=True))
    kept = np.array([i for k, i in enumerate(order) if where[i] not in {where[j] for j in order[:k]}], int) if len(z) < 500 else None
    if kept is None:
        _, first = np.unique([where[i] for i in order], return_index=True)
        kept = order[first]
    n = len(kept)
    x = fitted.pack(fitted.decode(z[kept], {name: v[kept] for name, v in y.items()} or None)).x if n else torch.zeros(0, *fitted.kind.event_shape)
    names_of = np.array(["latent", "raw", "rebuilt"])
    steps = np.linspace(0.1, 1, 12)
    history = [
        {"evaluations": int(len(z) * s), "coverage": n / np.prod(cells) * s**0.5, "valid_coverage": n / np.prod(cells) * 0.8 * s**0.6,
         "qd_score": float(objective[kept].sum()) * s, "best": float(objective[kept].max() - 1 + s) if n else np.nan, "failed": int(9 * s),
         "outside": int((len(z) - len(inside)) * s), "distrusted": 0, "share_latent": 0.5 * s, "share_raw": 1 - 0.5 * s - 0.2, "share_rebuilt": 0.2}
        for s in steps
    ]  # fmt: skip
    return Archive(
        fitted, fitted.kind.batch(x, lambda *shape: torch.full(shape, 0.5)), z[kept], {name: v[kept] for name, v in y.items()},
        objective[kept], measures[kept], rng.uniform(0, 1, n) ** 2, names_of[rng.integers(0, 3, n)], rng.integers(0, len(z), n),
        np.array([where[i] for i in kept], int), cells, ranges, names, title, 0.0, history,
    )  # fmt: skip
