"""Figures of how training went, which every report has."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from vaekit.evaluation.health import ACTIVE_VARIANCE
from vaekit.show.drawing import ACCENT, MUTED, SECOND, Panel, svg, view
from vaekit.show.report import Report
from vaekit.show.words import nats


def curves(history: list[dict[str, float]], *, keep: str) -> dict[str, Any] | None:
    """ELBO, reconstruction and KL over the epochs. keep: the weights that were, "best" or "last"; the best
    epoch by validation is marked where it is kept."""
    if not history:
        return None
    epochs = [row["epoch"] for row in history]
    train = {name: np.array([row[name] for row in history]) for name in ("reconstruction", "kl")}
    train = {"elbo": -train["reconstruction"] - train["kl"], **train}
    valid = {name: np.array([row.get(f"valid_{name}", np.nan) for row in history]) for name in train}
    if np.isnan(valid["elbo"]).all():
        valid = {}
    best = int(np.nanargmax(valid["elbo"])) if valid and keep == "best" else None
    panels = []
    for name, title in {"elbo": "ELBO", "reconstruction": "Reconstruction", "kl": "KL"}.items():

        def draw(axes: Axes, name: str = name) -> None:
            marker = "o" if len(history) == 1 else None
            axes.plot(epochs, train[name], color=SECOND, marker=marker, markersize=4)
            series = [train[name]]
            if valid:
                axes.plot(epochs, valid[name], color=ACCENT, marker=marker, markersize=4)
                series.append(valid[name])
            if best is not None:
                axes.axvline(epochs[best], color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
                axes.plot(epochs[best], valid[name][best], "o", color=ACCENT, markersize=5)
            # From a tenth of the run on, so that the first epochs do not squash the rest.
            axes.set_ylim(*view([values[len(values) // 10 :] for values in series]))
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))

        end = (valid or train)[name][-1 if best is None else best]
        label = (
            f"{title} in nats over {len(epochs)} epochs; {nats(end)} at the {'last' if best is None else 'best'} epoch"
        )
        panels.append(Panel(title, svg(draw, label, 2.9, 2.2)))
    return {
        "panels": panels,
        "validation": bool(valid),
        "keep": keep,
        "best": None if best is None else int(epochs[best]),
    }


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
