"""The paths from one row to another that a report shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vaekit.conditions import Label, Number
from vaekit.distributions.likelihoods import CategoricalLikelihood
from vaekit.show.report import Report
from vaekit.show.words import cell
from vaekit.uses.interpolate import PATHS, smoothness

WAYS = 5  # shown


def interpolations(report: Report) -> list[tuple[str, Any]]:
    """Previews of paths between pairs of rows: of different classes, or of the same class if the model is conditioned on it.

    A model with the class as a condition leaves it out of z, so no path in z leads from one class to another.
    """
    labels = [n for n, c in report.known.items() if isinstance(c, Label)]
    held = [n for n in labels if n in report.conditions]
    decide = held or labels[:1]
    rows = len(report.x)
    kinds = np.array([report.packed(n) for n in decide]).T if decide else np.zeros((rows, 0))
    ways: list[tuple[str, Any]] = []
    taken: set[int] = set()
    begun: set[str] = set()
    for a in range(rows):
        alike = (kinds == kinds[a]).all(1) if decide else np.zeros(rows, bool)
        others = [int(b) for b in np.flatnonzero(alike if held else ~alike) if b > a and b not in taken]
        # Each path is to begin with another class than those before it.
        title = " and ".join(f"{n} {cell(report.y[n][a])}" for n in decide)
        if a in taken or not others or (decide and title in begun):
            continue
        begun.add(title)
        b = others[0]
        taken |= {a, b}
        if not held and decide:
            title += " to " + cell(report.y[decide[0]][b])
        # All ways for the first pair, the straight one for the others.
        several = not ways and not isinstance(report.estimator.model_.likelihood, CategoricalLikelihood)
        for path in list(PATHS) if several else ["linear"]:
            back, said = walk(report, a, b, path)
            named = f"{title} {path}: {said}".strip(" :")
            ways.append((named, report.kind.preview(back, f"interpolation {named}")))
        if len(ways) == WAYS:
            break
    return ways


def walk(report: Report, a: int, b: int, path: str) -> tuple[np.ndarray, str]:
    """The rows on the path from row a to row b, and how smooth it is, in words; "" for rows that are not numbers."""
    fitted, steps = report.estimator.fitted_.precise(), report.kind.preview_rows
    y = between(report, a, b, np.linspace(0, 1, steps))
    packed = {name: values.to(fitted.device) for name, values in fitted.pack_conditions(y, steps).items()}
    ends = torch.from_numpy(report.codes[[a, b]]).to(fitted.dtype)
    z = PATHS[path](ends[0], ends[1], steps, lambda z: fitted.model.decode(z.to(fitted.device), packed).mean.cpu())
    back = report.estimator.inverse_transform(z.double().numpy(), y)
    if not report.kind.numeric:
        return back, ""
    found = smoothness(torch.from_numpy(back.astype(float)))
    return back, f"detour {found['detour']:.2f}, evenness {found['evenness']:.2f}"


def between(report: Report, a: int, b: int, share: np.ndarray) -> dict[str, np.ndarray] | None:
    """Conditions on the path from row a to row b: numbers move with it, labels stay."""
    y = {}
    for name, values in (report.given(np.array([a, b])) or {}).items():
        if isinstance(report.conditions[name], Number):
            ends = np.asarray(values, float).reshape(2, -1)
            y[name] = ends[0] + share[:, None] * (ends[1] - ends[0])
        else:
            y[name] = np.resize(values[:1], len(share))
    return y or None
