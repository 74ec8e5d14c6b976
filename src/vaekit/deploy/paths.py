"""The paths from one picture to another that a report shows."""

from __future__ import annotations

import numpy as np
import torch

from vaekit.conditions import Label, Number
from vaekit.deploy.shown import Shown, Strip
from vaekit.distributions.likelihoods import CategoricalLikelihood
from vaekit.show.words import cell
from vaekit.uses.interpolate import PATHS, smoothness

WAYS = 5  # shown


def interpolations(shown: Shown) -> list[tuple[str, Strip]]:
    """Paths between pairs of pictures: of different classes, or of the same class if the model is conditioned on it.

    A model with the class as a condition leaves it out of z, so no path in z leads from one class to another.
    """
    if not shown.pictures or len(shown.x) < 2:
        return []
    labels = [n for n, c in shown.known.items() if isinstance(c, Label)]
    held = [n for n in labels if n in shown.conditions]
    decide = held or labels[:1]
    kinds = np.array([shown.packed(n) for n in decide]).T if decide else np.zeros((len(shown.x), 0))
    ways: list[tuple[str, Strip]] = []
    taken: set[int] = set()
    begun: set[str] = set()
    for a in range(len(shown.x)):
        alike = (kinds == kinds[a]).all(1) if decide else np.zeros(len(kinds), bool)
        others = [int(b) for b in np.flatnonzero(alike if held else ~alike) if b > a and b not in taken]
        # Each strip is to begin with another class than those before it.
        title = " and ".join(f"{n} {cell(shown.y[n][a])}" for n in decide)
        if a in taken or not others or (decide and title in begun):
            continue
        begun.add(title)
        b = others[0]
        taken |= {a, b}
        if not held and decide:
            title += " to " + cell(shown.y[decide[0]][b])
        # All ways for the first pair, the straight one for the others.
        several = not ways and not isinstance(shown.estimator.model_.likelihood, CategoricalLikelihood)
        for path in list(PATHS) if several else ["linear"]:
            back, said = walk(shown, a, b, path)
            ways.append((f"{title} {path}: {said}".strip(), shown.strip(back)))
        if len(ways) == WAYS:
            break
    return ways


def walk(shown: Shown, a: int, b: int, path: str) -> tuple[np.ndarray, str]:
    """The rows on the path from row a to row b, and how smooth it is, in words."""
    y = between(shown, a, b, np.linspace(0, 1, shown.steps))
    model = shown.estimator.model_
    ends = torch.from_numpy(shown.codes[[a, b]]).to(next(model.parameters()))
    packed = {name: t.to(ends.device) for name, t in shown.estimator.conditions_.pack(y or {}, shown.steps).items()}
    z = PATHS[path](ends[0], ends[1], shown.steps, lambda z: model.decode(z, packed).mean)
    back = shown.estimator.inverse_transform(z.double().cpu().numpy(), y)
    found = smoothness(torch.from_numpy(back.astype(float)))
    return back, f"detour {found['detour']:.2f}, evenness {found['evenness']:.2f}"


def between(shown: Shown, a: int, b: int, share: np.ndarray) -> dict[str, np.ndarray] | None:
    """Conditions on the path from row a to row b: numbers move with it, labels stay."""
    y = {}
    for name, values in (shown.given(np.array([a, b])) or {}).items():
        if isinstance(shown.conditions[name], Number):
            ends = np.asarray(values, float).reshape(2, -1)
            y[name] = ends[0] + share[:, None] * (ends[1] - ends[0])
        else:
            y[name] = np.resize(values[:1], len(share))
    return y or None
