"""The report of a model of rows of numbers: each column real and reconstructed, real and sampled."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from vaekit.show.drawing import Panel, change_colours, draw_against, histograms, svg
from vaekit.show.latent_map import latent_maps
from vaekit.show.report import REACH, ROWS, Report
from vaekit.show.words import cell, number, short

COLUMNS, POINTS, STEPS, EXAMPLES = 12, 250, 13, 8  # shown at most


class RowsReport(Report):
    @property
    def names(self) -> list[str]:
        """The names of the columns that are shown."""
        return self.kind.value_names[:COLUMNS]

    def contents(self) -> dict[str, Any]:
        return {
            "columns": len(self.kind.value_names),
            "reconstructions": list(self.reconstructions()),
            "samples": self.samples(),
            "maps": list(latent_maps(self)),
            "traversals": self.traversals(),
        }

    def reconstructions(self) -> Iterator[Panel]:
        """One panel a column: what comes back against what was there."""
        real, back = self.x[:POINTS].astype(float), self.reconstructed(POINTS)
        for i, name in enumerate(self.names):
            seen = np.isfinite(real[:, i])
            a, b = real[seen, i], back[seen, i]
            explained = 1 - np.mean((a - b) ** 2) / a.var() if a.size and a.var() > 0 else None

            note = "" if explained is None else f"{max(0.0, explained):.0%}"
            draw = partial(draw_against, real=a, back=b)
            yield Panel(name, svg(draw, f"{name}: reconstructed against real", 2.5, 2.1), note)

    def samples(self) -> dict[str, Any]:
        """A histogram a column, real beside sampled values, and some new rows after their conditions."""
        y = (self.given() or {}) if self.conditions else {}
        n = len(self.x) if self.conditions else ROWS
        new = self.estimator.sample(n, y or None, random_state=self.estimator.seed_)
        panels = []
        for i, name in enumerate(self.names):
            real = self.x[np.isfinite(self.x[:, i]), i].astype(float)
            panels.append(Panel(name, histograms(real, new[:, i], f"{name}: real and sampled values")))
        rows = range(min(n, EXAMPLES))
        return {
            "panels": panels,
            "head": [*y, *self.names],
            "table": [[*(cell(v[i]) for v in y.values()), *map(number, new[i, :COLUMNS])] for i in rows],
        }

    def traversals(self) -> dict[str, Any]:
        """Draw how each column changes as a unit goes from low to high: a panel per unit, with the columns that change most."""
        group, units = self.traversed(STEPS)
        scale = np.asarray(self.kind.scale)
        changes = np.stack([(rows - rows[STEPS // 2]) / scale for _, _, rows in units])  # (units, steps, columns)
        most = np.sort(np.argsort(-np.abs(changes).max((0, 1)))[:COLUMNS])
        limit = max(1e-9, float(np.abs(changes[..., most]).max()))
        panels = []
        for (unit, nats, _), change in zip(units, changes, strict=True):

            def draw(axes: Axes, change: np.ndarray = change) -> None:
                extent = (-REACH, REACH, len(most) - 0.5, -0.5)
                colours = change_colours(change[:, most].T / limit)
                axes.imshow(colours, aspect="auto", extent=extent, interpolation="none")
                axes.set_yticks(range(len(most)), [short(self.kind.value_names[i]) for i in most])
                axes.set_xticks([-REACH, 0, REACH])
                axes.grid(False)

            label = f"change of each column as latent unit {unit} goes from -{REACH} to {REACH}"
            panels.append(Panel(f"unit {unit}", svg(draw, label, 3.3, 0.6 + 0.19 * len(most)), f"{nats} nats"))
        return {"group": group, "reach": REACH, "panels": panels, "limit": f"{limit:.1f}"}
