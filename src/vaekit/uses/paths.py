"""Paths between two latents that need no decoder: a, b (d,) -> (steps, d), both ends included. NumPy alone."""

from __future__ import annotations

import numpy as np

PARALLEL = 1e-6  # radians: directions this close, or this close to opposite, have no arc of their own between them


def linear(a: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
    """The straight line, in equal steps."""
    share = shares(a, steps)
    # As a sum of shares and not as a step from a: both ends are exact, and there and back are the same points.
    return (1 - share) * a + share * b


def spherical(a: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
    """Directions turn at a constant rate while the norm goes from |a| to |b| in equal steps (slerp; White 2016, arXiv
    1609.04468): under a Normal prior every point is then as far out as samples are. Where a or b is zero, or their
    directions are parallel or opposite, the straight line.
    """
    share, norms = shares(a, steps), np.array([np.linalg.norm(a), np.linalg.norm(b)], a.dtype)
    if (norms == 0).any():
        return linear(a, b, steps)
    u, v = a / norms[0], b / norms[1]
    # Not the arc cosine, which is blind to small angles.
    angle = 2 * np.arctan2(np.linalg.norm(u - v), np.linalg.norm(u + v))
    if angle < PARALLEL or np.pi - angle < PARALLEL:
        return linear(a, b, steps)
    direction = (np.sin((1 - share) * angle) * u + np.sin(share * angle) * v) / np.sin(angle)
    path = ((1 - share) * norms[0] + share * norms[1]) * direction
    path[0], path[-1] = a, b
    return path


def shares(a: np.ndarray, steps: int) -> np.ndarray:
    """0 to 1 in equal steps -> (steps, 1)."""
    return np.linspace(0, 1, steps, dtype=a.dtype)[:, None]


PATHS = {"linear": linear, "spherical": spherical}
