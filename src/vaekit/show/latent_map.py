"""The latent codes of rows as points in a plane, coloured by what is known about the rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from vaekit.conditions import Label
from vaekit.show.drawing import COLOURS, colour_scale
from vaekit.show.report import CLASSES, Report
from vaekit.show.words import number

MAPS = 3  # shown at most


def latent_maps(report: Report) -> Iterator[dict[str, Any]]:
    """Draw the codes in two dimensions (1000 wide, 640 high), once for each thing that is known about the rows."""
    where, axes = plane(report.codes - report.codes.mean(0))
    # A few far points are moved to the edge, so that they do not squash the rest.
    low, high = np.quantile(where, [0.003, 0.997], axis=0)
    share = ((where - low) / np.where(high > low, high - low, 1)).clip(0, 1)
    x, y = (12 + 976 * share[:, 0]).round(1), (628 - 616 * share[:, 1]).round(1)
    for name in list(report.known)[:MAPS] or [""]:
        condition = report.known.get(name)
        colours, titles, legend, bar = ["var(--accent)"] * len(x), [""] * len(x), [], None
        if isinstance(condition, Label):
            present = report.packed(name)
            colours = [COLOURS[c] if 0 <= c < CLASSES else "var(--muted)" for c in present]
            titles = [f"{name}: {condition.classes[c] if c >= 0 else 'unknown'}" for c in present]
            legend = [(str(c), COLOURS[i]) for i, c in enumerate(condition.classes[:CLASSES])]
            if (present < 0).any() or condition.size > CLASSES:
                legend.append(("others" if condition.size > CLASSES else "unknown", "var(--muted)"))
        elif condition:
            values = report.packed(name)
            colours, low_high, stops = colour_scale(values)
            bar = {"low": number(low_high[0]), "high": number(low_high[1]), "stops": stops}
            titles = [f"{name}: {number(v)}" for v in values]
        points = list(zip(x, y, colours, titles, strict=True))
        yield {"name": name, "axes": axes, "points": points, "legend": legend, "bar": bar}


def plane(codes: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Centred codes (N, latent_dim) -> (N, 2), and what the two axes are."""
    if codes.shape[1] == 2:
        return codes, ["latent unit 0", "latent unit 1"]
    if codes.shape[1] == 1:
        jitter = np.random.default_rng(0).uniform(-1, 1, len(codes))
        return np.column_stack([codes, jitter]), ["latent unit 0", "spread at random, to tell points apart"]
    left, size, _ = np.linalg.svd(codes, full_matrices=False)
    spread = size**2 / max((size**2).sum(), 1e-300)
    axes = [f"principal component {i + 1} ({spread[i]:.0%} of the variance)" for i in range(min(2, len(spread)))]
    where = left[:, :2] * size[:2]
    if len(axes) < 2:  # of a single row
        where, axes = np.column_stack([where, np.zeros(len(where))]), [*axes, "nothing"]
    return where, axes
