"""Figures of how training went, which every report has."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from vaekit.evaluation.health import ACTIVE_VARIANCE
from vaekit.show.curves import TITLES, Curves
from vaekit.show.drawing import ACCENT, MUTED, Panel, svg
from vaekit.show.report import Report


def curves(history: list[dict[str, float]], *, keep: str) -> dict[str, Any] | None:
    """ELBO, reconstruction and KL over the epochs. keep: the weights that were, "best" or "last"; the best
    epoch by validation is marked where it is kept."""
    found = Curves.of(history, keep)
    if found is None:
        return None
    panels = [
        Panel(title, svg(partial(found.draw, name=name), found.label(name), 2.9, 2.2)) for name, title in TITLES.items()
    ]
    best = None if found.best is None else found.epochs[found.best]
    return {"panels": panels, "validation": bool(found.valid), "keep": keep, "best": best}


def units(report: Report) -> dict[str, Any] | None:
    """The KL of each unit, the largest first; None for a latent whose KL is not a sum over units."""
    if not report.results["kl_per_unit"]:
        return None
    kl, active = np.asarray(report.results["kl_per_unit"]), report.results["active_units"]
    order = np.argsort(-kl)
    # As many as `evaluate` counts, which may have seen other rows than are shown.
    alive = set(np.argsort(-report.spread())[:active].tolist())

    def draw(axes: Axes) -> None:
        axes.bar(range(len(kl)), kl[order], width=0.8, color=[ACCENT if u in alive else MUTED for u in order])
        axes.set_ylabel("nats")
        axes.set_xlabel("latent unit")
        axes.set_xticks(range(len(kl)) if len(kl) <= 32 else [])
        if len(kl) <= 32:
            axes.set_xticklabels([str(u) for u in order])
        axes.set_ylim(0, max(0.1, 1.05 * kl.max()))
        axes.margins(x=0.01)

    label = f"KL of each of {len(kl)} latent units; {active} are active"
    return {"svg": svg(draw, label, 5.6, 2), "threshold": ACTIVE_VARIANCE}
