"""Where codes lie on a map of two dimensions, and which code a place on the map stands for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from vaekit.show.track import track

log = logging.getLogger(__name__)

MARGIN = 0.1  # around the points, as a share of their extent
WIDE = 1.25  # a map is as many times as wide as it is high
FAR = 0.04  # of the height: a place of a bent map that is farther from every code is empty
NEAR = 8  # codes that a place of a bent map is made of
LEARNED = 5_000  # codes that UMAP learns from; the others are put among them
FEWEST = 10  # codes for UMAP


@dataclass
class Layout:
    """A map of codes (N, latent_dim).

    Attributes:
        name: "units", "PCA" or "UMAP". axes: what they are, in words.
        points: (N, 2), where the codes lie.
        basis: (2, latent_dim), and origin (latent_dim,), of a linear one: the place (u, v) stands for origin + u basis[0] + v basis[1].
    """

    name: str
    axes: list[str]
    points: np.ndarray
    basis: np.ndarray | None = None
    origin: np.ndarray | None = None

    @property
    def extent(self) -> np.ndarray:
        """u0, u1, v0, v1: all of the points, with some room around, `WIDE` times as wide as high."""
        low, high = self.points.min(0), self.points.max(0)
        width, height = (1 + 2 * MARGIN) * np.maximum(high - low, 1e-6)
        half = np.array([max(width, WIDE * height), max(height, width / WIDE)]) / 2
        middle = (low + high) / 2
        return np.stack([middle - half, middle + half]).T.ravel().astype(np.float32)

    def places(self, rows: int, columns: int) -> np.ndarray:
        """The middles of the cells of the extent, (rows * columns, 2), row by row from the lowest v."""
        u0, u1, v0, v1 = self.extent
        u, v = (a + (np.arange(n) + 0.5) / n * (b - a) for a, b, n in ((u0, u1, columns), (v0, v1, rows)))
        return np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)

    def codes_at(self, places: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The codes that places (P, 2) stand for: codes (P, latent_dim), and whether they stand for any, (P,).

        A place of a bent map stands for the mean of the codes near it, the nearer the more (the page does the same), and for
        none if all are far.
        """
        if self.basis is not None:
            return (self.origin + places @ self.basis).astype(np.float32), np.ones(len(places), bool)
        from scipy.spatial import KDTree

        away, which = KDTree(self.points).query(places, k=min(NEAR, len(codes)))
        weight = np.exp(-2 * away**2 / np.maximum(away[:, -1:] ** 2, 1e-30))
        z = (weight[..., None] * codes[which]).sum(1) / weight.sum(1, keepdims=True)
        return z.astype(np.float32), away[:, 0] <= FAR * (self.extent[3] - self.extent[2])

    def tensors(self, i: int) -> dict[str, np.ndarray]:
        """The tensors that the page gets, as the i-th layout."""
        found = {f"layout.{i}": self.points, f"layout.{i}.extent": self.extent}
        if self.basis is not None and self.origin is not None:
            found |= {f"layout.{i}.basis": self.basis, f"layout.{i}.origin": self.origin}
        return {name: np.ascontiguousarray(values, np.float32) for name, values in found.items()}


def layouts_of(codes: np.ndarray) -> tuple[list[Layout], list[str]]:
    """All layouts of codes (N, latent_dim), and what to know about them, a sentence each."""
    found = [units(codes)] + ([pca(codes)] if codes.shape[1] > 2 else [])
    if codes.shape[1] < 3 or len(codes) < FEWEST:
        return found, []
    if find_spec("umap") is None:
        return found, ["there is no UMAP among the maps: pip install 'vaekit[explore]' adds it"]
    return [*found, umap(codes)], []


def units(codes: np.ndarray) -> Layout:
    """The two latent units whose means vary most. With one unit, points are spread at random beside it."""
    d = codes.shape[1]
    first = np.argsort(-codes.var(0), kind="stable")[:2]
    basis, origin = np.zeros((2, d)), codes.mean(0)
    basis[np.arange(len(first)), first] = 1
    origin[first] = 0
    points = (codes - origin) @ basis.T
    axes = [f"latent unit {i}" for i in first]
    if d == 1:
        points[:, 1] = np.random.default_rng(0).uniform(-0.3, 0.3, len(codes)) * np.ptp(points[:, 0])
        axes.append("spread at random, to tell points apart")
    return Layout("units", axes, points, basis, origin)


def pca(codes: np.ndarray) -> Layout:
    """The two directions in which the codes vary most."""
    origin = codes.mean(0)
    values, vectors = np.linalg.eigh(np.cov((codes - origin).T.astype(np.float64), ddof=0))
    basis, share = vectors[:, :-3:-1].T, values[:-3:-1] / max(values.sum(), 1e-300)
    axes = [f"principal component {i + 1} ({share[i]:.0%} of the variance)" for i in range(2)]
    return Layout("PCA", axes, (codes - origin) @ basis.T, basis, origin)


def umap(codes: np.ndarray) -> Layout:
    """A bent map that keeps near what is near."""
    from umap import UMAP

    log.info("laying out the map of %s codes by UMAP", f"{len(codes):,}")
    learned: Any = UMAP(n_neighbors=min(15, len(codes) - 1), random_state=0, n_jobs=1).fit(codes[:LEARNED])
    parts = [codes[i : i + LEARNED] for i in range(LEARNED, len(codes), LEARNED)]
    points = np.concatenate([learned.embedding_, *(learned.transform(part) for part in track(parts, "lay out"))])
    return Layout("UMAP", ["UMAP 1", "UMAP 2"], points)
