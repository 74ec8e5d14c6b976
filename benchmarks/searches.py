"""Searches that the benchmarks of evolution compare, all watched in the same way: each genome that was not tried before is an evaluation,
and goes to a grid of the watcher's own.

A task has `size` genes in 0..1, `names` and `ranges` of its measures, and `score`, `features` and `random` as `vaekit.robots.gaits.Gaits` has them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from ribs.archives import GridArchive
from ribs.emitters import EvolutionStrategyEmitter, IsoLineEmitter
from ribs.schedulers import Scheduler
from sklearn.decomposition import PCA

import vaekit

ISO, LINE = 0.02, 0.2  # of iso-line variation: deviations of the noise, and along the line to another elite


class Watch:
    """The objective and the measures of a search, which end it when its evaluations are spent."""

    def __init__(self, task: Any, evaluations: int, cells: int):
        self.task, self.evaluations, self.cells = task, evaluations, cells
        self.tried, self.history = set[bytes](), list[tuple[int, float, float, float, float]]()
        self.archive = self.grid()
        self.best: dict[str, Any] = {}

    def grid(self, size: int | None = None) -> GridArchive:
        """An empty grid of the measures."""
        dims = [self.cells] * len(self.task.names)
        return GridArchive(solution_dim=size or self.task.size, dims=dims, ranges=self.task.ranges, seed=0)

    @property
    def left(self) -> int:
        return self.evaluations - len(self.tried)

    def score(self, genomes: np.ndarray) -> np.ndarray:
        genomes = np.clip(genomes, 0, 1)
        speed, measures = self.task.score(genomes), self.task.features(genomes)
        # Rows come back from a model with the last digits changed.
        keys = [row.tobytes() for row in np.round(genomes, 4)]
        for key, *found in zip(keys, genomes, speed, measures, strict=True):
            if key not in self.tried and self.left > 0:
                self.tried.add(key)
                if np.isfinite(found[1]):
                    self.archive.add_single(*found)
        elites = self.archive.data("objective")
        qd = np.maximum(elites, 0).sum()
        self.history.append(
            (len(self.tried), len(elites) / self.archive.cells, qd, elites.max(initial=-np.inf), float(elites.mean()))
        )
        return speed

    def features(self, genomes: np.ndarray) -> np.ndarray:
        return self.task.features(np.clip(genomes, 0, 1))

    def after(self, evaluations: int) -> tuple[float, float, float]:
        """Coverage, QD score and best speed after this many evaluations."""
        return next(row[1:4] for row in reversed(self.history) if row[0] <= evaluations or row is self.history[0])

    def mean_after(self, evaluations: int) -> tuple[float, float]:
        """Coverage, and the mean objective of the elites, after this many evaluations."""
        found = next(row for row in reversed(self.history) if row[0] <= evaluations or row is self.history[0])
        return found[1], found[4]

    def search(self, ask: Callable[[], np.ndarray], tell: Callable[..., Any], until: int) -> None:
        """Ask for genomes and tell what they do, until this many evaluations are spent."""
        while len(self.tried) < until:
            genomes = ask()
            tell(self.score(genomes), self.features(genomes))


# -- searches ----------------------------------------------------------------------------------------------------------


def at_random(watch: Watch, options: argparse.Namespace, seed: int, until: int) -> None:
    rng = np.random.default_rng(seed)
    watch.search(lambda: rng.random((options.batch, watch.task.size)), lambda *found: None, until)


def map_elites(watch: Watch, options: argparse.Namespace, seed: int, until: int) -> None:
    """MAP-Elites with iso-line variation of genomes, from a first batch at random."""
    first = watch.task.random(options.batch, seed)
    archive = watch.grid()
    about = {"iso_sigma": ISO, "line_sigma": LINE, "initial_solutions": first, "bounds": [(0, 1)] * watch.task.size}
    scheduler = Scheduler(archive, [IsoLineEmitter(archive, batch_size=options.batch, seed=seed, **about)])
    watch.search(scheduler.ask, scheduler.tell, until)


def cma_me(watch: Watch, options: argparse.Namespace, seed: int, until: int) -> None:
    """CMA-ME: five improvement emitters on genomes, as in pyribs' examples."""
    archive = watch.grid()
    about = {"sigma0": 0.2, "batch_size": max(2, options.batch // 5)}  # `Watch.score` cuts genes to 0..1
    middle = np.full(watch.task.size, 0.5)
    emitters = [EvolutionStrategyEmitter(archive, x0=middle, seed=5 * seed + i, **about) for i in range(5)]
    scheduler = Scheduler(archive, emitters)
    watch.search(scheduler.ask, scheduler.tell, until)


def pca(watch: Watch, options: argparse.Namespace, seed: int, until: int) -> None:
    """Iso-line variation of the codes of elites: principal components of the elites, fitted anew every --refit evaluations."""
    map_elites(watch, options, seed, options.first)
    rng, codes = np.random.default_rng(seed), PCA(min(options.latent_dim, watch.task.size))
    fitted = -np.inf

    def ask() -> np.ndarray:
        nonlocal fitted
        elites = watch.archive.data("solution")
        if len(watch.tried) >= fitted + options.refit:
            codes.fit(elites)
            fitted = len(watch.tried)
        z, scale = codes.transform(elites), np.sqrt(codes.explained_variance_)
        one, other = z[rng.integers(len(z), size=(2, options.batch))]
        # As large a share of the spread as of raw genomes.
        noise = ISO / np.sqrt(1 / 12) * scale * rng.standard_normal(one.shape)
        return codes.inverse_transform(one + noise + LINE * rng.standard_normal((len(one), 1)) * (other - one))

    watch.search(ask, lambda *found: None, until)


def learned(space: str) -> Callable[..., None]:
    def search(watch: Watch, options: argparse.Namespace, seed: int, until: int) -> None:
        """MAP-Elites for the first evaluations, a VAE of its elites, and vaekit.evolve from there."""
        map_elites(watch, options, seed, options.first)
        elites = watch.archive.data("solution")
        vae = vaekit.VAE(latent_dim=options.latent_dim, epochs=options.epochs, random_state=seed).fit(elites)
        vaekit.evolve(
            vae,
            watch.score,
            watch.features,
            cells=(watch.cells,) * len(watch.task.names),
            ranges=watch.task.ranges,
            X=elites,
            budget=until - len(watch.tried) + len(elites),
            space=space,
            batch_size=options.batch,
            seed=seed,
            start=elites,
            refit=options.refit,
        )

    return search


METHODS: dict[str, Callable[..., None]] = {
    "random search": at_random,
    "MAP-Elites": map_elites,
    "CMA-ME": cma_me,
    "PCA, latent": pca,
    "VAE, latent": learned("latent"),
    "VAE, mixed": learned("mixed"),
}
