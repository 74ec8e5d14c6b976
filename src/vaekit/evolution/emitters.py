"""Where candidates come from.

    latent    a code between those of two elites, or near one (iso-line variation), decoded
    cma       codes by CMA-MAE (Fontaine & Nikolaidis 2023, arXiv 2205.10752), decoded
    raw       a row between two elites, or near one, without the model
    rebuilt   an elite by way of its code, which leaves out what the data do not have (Gaier et al. 2020, arXiv 2003.04389)

Iso-line variation is that of Vassiliades & Mouret (2018, arXiv 1804.03906).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from vaekit.errors import UserError, extra_needed

ISO, LINE = 0.03, 0.2  # of the variation: beside the spread of the values, and of the way to another elite
LEAST = 0.1  # share of a generation that every emitter gets
MEMORY = 0.9  # of a generation's success, in the next one
SIGMA = 0.5  # of CMA-ES at first, where codes spread as a standard Normal does
ES_BATCH = 20  # candidates of one CMA-ES
MANY_DIMS = 64  # from which on it learns no covariances
SPACES: dict[str, Sequence[str]] = {
    "latent": ("latent", "cma"), "mixed": ("latent", "cma", "raw", "rebuilt"), "raw": ("raw",),
}  # fmt: skip


class Shares:
    """The shares of emitters in a generation: the more of their candidates entered the archive lately, the larger."""

    def __init__(self, names: Sequence[str]):
        self.tried = dict.fromkeys(names, 1.0)
        self.entered = dict.fromkeys(names, 1.0)

    @property
    def now(self) -> dict[str, float]:
        rates = {name: self.entered[name] / self.tried[name] for name in self.tried}
        room, total = 1 - LEAST * len(rates), sum(rates.values())
        return {name: float(LEAST + room * rate / total) for name, rate in rates.items()}

    def split(self, rows: int) -> dict[str, int]:
        """Divide `rows` candidates among the emitters: name -> how many it makes."""
        ends = np.rint(np.cumsum([0.0, *self.now.values()]) * rows).astype(int)
        return dict(zip(self.tried, np.diff(ends).tolist(), strict=True))

    def learn(self, emitter: np.ndarray, entered: np.ndarray) -> None:
        """Count which candidates of a generation entered the archive. emitter: of each, (n,). entered: (n,) bool."""
        for name in self.tried:
            own = emitter == name
            self.tried[name] = MEMORY * self.tried[name] + own.sum() + (1 - MEMORY)
            self.entered[name] = MEMORY * self.entered[name] + entered[own].sum() + (1 - MEMORY)


def iso_line(a: np.ndarray, b: np.ndarray, spread: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rows near `a` on the line through `b`: (n, ...) each. spread: of each value."""
    along = LINE * random.standard_normal((len(a), *[1] * (a.ndim - 1)))
    return a + ISO * spread * random.standard_normal(a.shape) + along * (b - a)


class Strategies:
    """Several CMA-ES that take turns, on a soft archive of codes.

    Args:
        codes: some to begin at (n, d). grid: arguments of pyribs' `GridArchive`. floor: the least objective. seed: of all draws.
    """

    def __init__(self, codes: np.ndarray, grid: Mapping[str, Any], floor: float, seed: int):
        from ribs.archives import GridArchive
        from ribs.emitters import EvolutionStrategyEmitter

        dims = codes.shape[1]
        self.soft = GridArchive(solution_dim=dims, learning_rate=0.01, threshold_min=floor, seed=seed, **grid)
        self.members = [
            EvolutionStrategyEmitter(
                self.soft, x0=codes[i], sigma0=SIGMA, ranker="imp", selection_rule="mu", restart_rule="basic",
                es="sep_cma_es" if dims > MANY_DIMS else "cma_es", batch_size=ES_BATCH, seed=seed + 1 + i,
            )
            for i in range(len(codes))
        ]  # fmt: skip
        self.next = 0
        self.asked: list[Any] = []

    def ask(self, rows: int) -> np.ndarray:
        """Propose codes, (about `rows`, latent_dim): each CMA-ES makes a fixed number."""
        turns = max(1, round(rows / ES_BATCH))
        self.asked = [self.members[(self.next + i) % len(self.members)] for i in range(min(turns, len(self.members)))]
        self.next += len(self.asked)
        return np.concatenate([each.ask() for each in self.asked])

    def tell(
        self, z: np.ndarray, objective: np.ndarray, measures: np.ndarray, good: np.ndarray, own: np.ndarray
    ) -> None:
        """Learn the results of a generation: codes (n, d), the objective (n,), the measures (n, m), and which of them count, (n,) bool.
        own: which it asked for."""
        value = np.full(len(z), np.nan)
        status = np.zeros(len(z), int)
        if good.any():
            found = self.soft.add(z[good], objective[good], measures[good])
            value[good], status[good] = found["value"], found["status"]
        worst = np.nanmin(value) if good.any() else 0.0
        value = np.where(np.isnan(value), worst - 1.0, value)  # of what does not count: below all others
        middle = self.soft.lower_bounds + self.soft.interval_size / 2
        sure = np.where(good, objective, self.soft.threshold_min), np.where(good[:, None], measures, middle)
        if self.soft.empty:
            return  # a restart needs an elite
        starts: Any = np.flatnonzero(own).reshape(len(self.asked), ES_BATCH) if len(self.asked) else []
        for member, rows in zip(self.asked, starts, strict=True):
            member.tell(z[rows], sure[0][rows], sure[1][rows], {"status": status[rows], "value": value[rows]})


def chosen_space(space: str, kind: Any) -> str:
    """The space of the search; decides "auto". UserError for one that rows of this kind do not have, or where pyribs is not installed."""
    if find_spec("ribs") is None:
        raise extra_needed("evolve", "ribs")
    if space == "auto":
        return "mixed" if kind.varies else "latent"
    if space not in SPACES:
        raise UserError(f"space={space!r} has to be one of auto, {', '.join(SPACES)}")
    if space != "latent" and not kind.varies:
        raise UserError(f"space={space!r} varies rows, and {kind.noun} cannot be varied: use space='latent'")
    return space
