"""The latent codes of rows as points in a plane, coloured by what is known about the rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from vaekit.conditions import Condition, Label
from vaekit.show.drawing import COLOURS, colour_scale
from vaekit.show.report import CLASSES, Report
from vaekit.show.words import number

MAPS = 3  # shown at most


def latent_maps(report: Report) -> Iterator[dict[str, Any]]:
    """Draw the codes, once for each thing that is known about the rows."""
    for name in list(report.known)[:MAPS] or [""]:
        condition = report.known.get(name)
        yield latent_map(report.codes, name, condition, None if condition is None else report.packed(name))


def latent_map(
    codes: np.ndarray, name: str = "", condition: Condition | None = None, values: np.ndarray | None = None
) -> dict[str, Any]:
    """Codes (N, latent_dim) in two dimensions, 1000 wide and 640 high, downwards.

    Args:
        name, condition: what the rows are coloured by, if something is known of them.
        values: the codes (N,) of a label, -1 for unknown; or numbers (N,), NaN for unknown.
    """
    where, axes = plane(codes - codes.mean(0))
    # A few far points are moved to the edge, so that they do not squash the rest.
    low, high = np.quantile(where, [0.003, 0.997], axis=0)
    share = ((where - low) / np.where(high > low, high - low, 1)).clip(0, 1)
    x, y = (12 + 976 * share[:, 0]).round(1), (628 - 616 * share[:, 1]).round(1)
    colours, titles, legend, bar = ["var(--accent)"] * len(x), [""] * len(x), [], None
    if isinstance(condition, Label) and values is not None:
        colours = [COLOURS[c] if 0 <= c < CLASSES else "var(--muted)" for c in values]
        titles = [f"{name}: {condition.classes[c] if c >= 0 else 'unknown'}" for c in values]
        legend = [(str(c), COLOURS[i]) for i, c in enumerate(condition.classes[:CLASSES])]
        if (values < 0).any() or condition.size > CLASSES:
            legend.append(("others" if condition.size > CLASSES else "unknown", "var(--muted)"))
    elif values is not None:
        colours, low_high, stops = colour_scale(values)
        bar = {"low": number(low_high[0]), "high": number(low_high[1]), "stops": stops}
        titles = [f"{name}: {number(v)}" for v in values]
    points = list(zip(x, y, colours, titles, strict=True))
    return {"name": name, "axes": axes, "points": points, "legend": legend, "bar": bar}


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
