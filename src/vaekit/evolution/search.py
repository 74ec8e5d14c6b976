"""Search for the best row of each cell of a grid (MAP-Elites, Mouret & Clune 2015, arXiv 1504.04909), among rows that a model makes.

Each generation has candidates of several emitters. They are judged by the objective, the measures and the p-value of belonging to the data,
and those that are better than the elite of their cell take its place.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.distributions import normal_noise
from vaekit.errors import UserError, note
from vaekit.evolution.archive import VALID, Archive, rows_of
from vaekit.evolution.belonging import Belonging
from vaekit.evolution.emitters import SPACES, Shares, Strategies, chosen_space, iso_line
from vaekit.evolution.functions import Batch, Functions, Given, written
from vaekit.evolution.grid import Candidates, Grid, cut, joined, picked
from vaekit.evolution.journal import Journal, checksum_of
from vaekit.fitted import model_hash
from vaekit.sources.base import Dataset
from vaekit.training.data import fixed_uniform, generator
from vaekit.training.guards import Interrupt
from vaekit.uses.likelihood import log_likelihood

REFERENCE = 5000  # rows of the data that measures are learned from, and copies are looked for in
MARGIN = 0.1  # beyond the measures of the reference rows, of their range
MEMBERS = 5  # CMA-ES that take turns
START = "start"  # the emitter of the first generation


def evolve(
    model: Any,
    objective: Given = "likelihood",
    measures: Given = "latent",
    *,
    X: Any = None,
    y: Any = None,
    cells: Sequence[int] = (50, 50),
    ranges: Sequence[tuple[float, float]] | None = None,
    budget: int = 10_000,
    space: str = "auto",
    trust: float = 0.0,
    batch_size: int = 100,
    condition: Any = None,
    start: Any = None,
    refit: int = 0,
    workers: int = 0,
    timeout: float = 60.0,
    seed: int = 0,
    folder: str | Path | None = None,
    resume: bool = False,
    track: Callable[[Iterator[int]], Iterable[int]] = iter,
) -> Archive:
    """Search for the best row of each cell of a grid over measures, among rows that a model makes (MAP-Elites).

    Args:
        model: a fitted estimator.
        objective: a function of rows (n, ...) in the data's own form -> (n,), high is good; or FILE.py:NAME, "likelihood", "column:NAME" or
            "-column:NAME".
        measures: a function of rows -> (n, m), which decides the cell of a row, or a list of functions -> (n,), one per measure; or
            FILE.py:NAME, FILE.py:A,B, "latent", "pca:2" or "column:A,B".
        X, y: the rows that the model was trained on, with their conditions. The held-out ones give p-values; measures learn from the
            others.
        cells: number of cells along each measure.
        ranges: (low, high) of each measure; None: those of X, or of the first generation, and a tenth more.
        budget: number of rows to evaluate.
        space: "latent": codes are varied; "raw": rows, without the model; "mixed": both, as it pays; "auto": mixed, and latent for
            texts.
        trust: rows with a p-value below it do not enter the archive.
        batch_size: rows of a generation.
        condition: of all rows, in any form; what is left out is drawn as the data have it.
        start: rows of the first generation; None: samples of the model.
        refit: train the model again on X and the elites each time that this many rows were evaluated; 0: never.
        workers: processes that call functions of your own, and are ended if they take longer than `timeout` seconds; 0: they are called
            here.
        seed: of everything random.
        folder: where the journal is kept, for resume=True, which continues to the same bits.
        track: wraps the generations, which yield the number of evaluated rows, to show progress.

    Returns:
        An `Archive`. A row whose evaluation fails is counted in its history, and is left out.

    Raises:
        UserError: an argument does not fit the model, nothing of the first generation could be evaluated, or a function gives another
            shape.

    Source: Mouret & Clune 2015, arXiv 1504.04909.

    Example:
        >>> def size(rows):
        ...     return (rows**2).sum(1)
        >>> archive = vaekit.evolve(vae, size, "latent", cells=(4, 4), budget=40, batch_size=20)
        >>> archive.z.shape[1], archive.rows.shape[1]
        (2, 3)
    """
    search = Search(
        model, objective, measures, X=X, y=y, cells=tuple(cells), ranges=ranges, budget=budget, space=space, trust=trust,
        batch_size=batch_size, condition=condition, start=start, refit=refit, workers=workers, timeout=timeout, seed=seed,
        folder=None if folder is None else Path(folder),
    )  # fmt: skip
    return search.run(resume, track)


class Search:
    """A search under way. The arguments are those of `evolve`."""

    def __init__(
        self, model: Any, objective: Given, measures: Given, *, X: Any, y: Any, cells: tuple[int, ...], ranges: Any, budget: int,
        space: str, trust: float, batch_size: int, condition: Any, start: Any, refit: int, workers: int, timeout: float,
        seed: int, folder: Path | None,
    ):  # fmt: skip
        self.estimator, self.fitted = model, model.fitted_
        kind = self.fitted.kind
        space = chosen_space(space, kind)
        if not self.fitted.model.latent_dim:
            raise UserError("a model without latent has no space to search: train one with a latent_dim above 0")
        if batch_size < 2 or budget < batch_size:
            raise UserError(
                f"budget={budget} is below a generation of {batch_size} rows: give a larger budget, or a smaller batch_size"
            )
        if not cells or min(cells) < 1:
            raise UserError(f"cells={cells!r}: give a number of cells, 1 or more, for each measure")
        if not 0 <= trust < 1:
            raise UserError(f"trust={trust:g} has to be 0 or more and below 1")
        self.data = as_dataset(self.estimator, X, y)
        if self.data is None and (trust or refit):
            why = "give X" if kind.exchangeable else f"{kind.noun} have none, because neighbours are alike"
            raise UserError(f"{'trust' if trust else 'refit'} needs rows that the model was trained on: {why}")
        if refit and not kind.varies:
            raise UserError(f"refit trains on elites, and a model of {kind.noun} cannot: leave it out")
        self.judge = belonging(self.estimator, self.data)
        self.space, self.trust, self.batch_size, self.budget, self.refit = space, trust, batch_size, budget, refit
        self.condition = self.fitted.conditions.name(condition)
        drawn = hasattr(model, "sample")  # conditions can be; the observations of a policy cannot
        if not drawn and (missing := [name for name in self.fitted.conditions.named if name not in self.condition]):
            raise UserError(f"a policy acts on what it sees: give {' and '.join(missing)} as the condition")
        self.cells, self.seed, self.folder = cells, seed, folder
        self.random = np.random.default_rng([seed, 0])
        self.done = self.refits = 0
        self.first = self._samples() if start is None else self._of_rows(start, self._given(len(start)), START)
        self.reference = self._reference()
        self.functions = Functions(
            objective, measures, len(cells), self.reference, kind, self._likelihood, workers=workers, timeout=timeout
        )  # fmt: skip
        self.ranges: Any = None if ranges is None else checked_ranges(ranges, len(cells))
        said = [written(each) for each in (objective, measures)]
        self.settings = {
            "objective": said[0], "measures": said[1], "cells": list(cells), "budget": budget, "space": space, "trust": trust,
            "batch_size": batch_size, "refit": refit, "seed": seed,
        }  # fmt: skip
        self.failed: Counter[str] = Counter()
        self.counts = dict.fromkeys(("failed", "outside", "distrusted"), 0)  # rows that did not count
        self.history: list[dict[str, Any]] = []

    # -- the search ----------------------------------------------------------------------------------------------------

    def run(self, resume: bool, track: Callable[[Iterator[int]], Iterable[int]]) -> Archive:
        about = {name: value for name, value in self.settings.items() if name != "budget"}
        about |= {"ranges": None if self.ranges is None else self.ranges.tolist(), "model": model_hash(self.fitted)}
        about |= {f"the text of {file}": checksum_of(file) for file in self.functions.files}
        self.journal = Journal(self.folder, about, self.budget, resume=resume)
        interrupted = False
        try:
            with Interrupt(saves=True) as interrupt:
                for _ in track(self.generations()):
                    if interrupted := interrupt.now and self.done < self.budget:
                        break
        finally:
            self.journal.close()
            self.functions.close()
        return self.archive(interrupted)

    def generations(self) -> Iterator[int]:
        """Run generations one after another, and yield the number of rows that were evaluated by then."""
        while self.done < self.budget:
            self.generation()
            yield self.done

    def generation(self) -> None:
        """Make candidates, judge them, let them compete, and tell the emitters what came of it."""
        candidates = self.ask() if self.done else self.first
        whole = len(candidates)
        candidates = cut(candidates, self.budget - self.done)
        batch = Batch(
            candidates.x.numpy(), candidates.z, candidates.y, rows_of(self.fitted, candidates.x, candidates.y)
        )
        objective, measures, p, failed = self.evaluated(batch, len(batch) < whole)
        self.failed.update(failed)
        if not self.done:
            self._begin(objective, measures, candidates)
        known = np.isfinite(objective)
        inside = known & ((measures >= self.ranges[:, 0]) & (measures <= self.ranges[:, 1])).all(1)
        good = inside & ~(p < self.trust) if self.trust else inside
        numbers = np.arange(self.done, self.done + len(candidates))
        entered = self.grid.add(candidates, objective, measures, p, good, numbers)
        self.done += len(candidates)
        self.shares.learn(candidates.emitter, entered)
        if self.strategies and self.done < self.budget:
            self.strategies.tell(candidates.z, objective, measures, good, candidates.emitter == "cma")
        counts = {"failed": ~known, "outside": known & ~inside, "distrusted": inside & ~good}
        for name, each in counts.items():
            self.counts[name] += int(each.sum())
        self.note_generation()
        due = self.refit and self.done // self.refit > self.refits and self.done < self.budget
        if due and len(self.grid.elites):
            self.refits = self.done // self.refit
            self.train_again()

    def evaluated(self, batch: Batch, cut: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, int]]:
        """The objective, the measures and the p-values of rows, and the number of failures by reason."""
        if self.journal.replaying:
            known = self.journal.recall(batch)
            return known["objective"], known["measures"], known["p_value"], known["failed"]
        failed: Counter[str] = Counter()
        objective, measures = self.functions(batch, failed)
        if not self.done and not np.isfinite(objective).any():
            (why, times), *_ = failed.most_common(1)
            raise UserError(f"no row of the first generation could be evaluated; {times} of {len(batch)}: {why}")
        p = self._p_values(batch)
        self.journal.keep(batch, objective, measures, p, failed, cut)
        return objective, measures, p, failed

    def _p_values(self, batch: Batch) -> np.ndarray:
        if self.judge is None:
            return np.full(len(batch), np.nan)
        return self.judge.p_values(self._unpacked(batch), batch.y)

    def _likelihood(self, batch: Batch) -> np.ndarray:
        return log_likelihood(self.fitted, self._unpacked(batch), batch.y or None)

    def _unpacked(self, batch: Batch) -> Any:
        return self.fitted.kind.unpack(torch.from_numpy(batch.x))

    def note_generation(self) -> None:
        found = self.archive()
        self.history.append({
            "evaluations": self.done, "coverage": found.coverage, "valid_coverage": found.valid_coverage,
            "qd_score": found.qd_score, "best": float(found.objective.max(initial=-np.inf)), **self.counts,
            **{f"share_{name}": share for name, share in self.shares.now.items()},
        })  # fmt: skip

    # -- candidates ----------------------------------------------------------------------------------------------------

    def _samples(self) -> Candidates:
        """A generation from nothing: samples of the model."""
        given, seed = self._given(self.batch_size), self.seed + self.done
        if not hasattr(self.estimator, "sample"):  # a policy, whose z is drawn as it acts
            prior = self.fitted.model.prior(self.fitted.pack_conditions(given, self.batch_size), self.batch_size)
            z = prior.sample(1, normal_noise(generator(seed)))[0].detach()
            return self._of_codes(z.double().numpy(), given, START)
        arguments = {"y": given} if given else {}
        return self._of_rows(self.estimator.sample(self.batch_size, random_state=seed, **arguments), given, START)

    def _given(self, rows: int) -> dict[str, np.ndarray]:
        """Conditions of new rows: those that the user gave, and others as the data have them."""
        conditions = self.fitted.conditions
        return conditions.fill(self.condition, rows, self.random) if conditions.named else {}

    def _of_rows(self, rows: Any, y: dict[str, np.ndarray], emitter: str) -> Candidates:
        packed = self.fitted.pack(rows, y or None)
        x = self.fitted.kind.batch(packed.x, fixed_uniform())
        return Candidates(
            x, self.fitted.encode_packed(packed).double().numpy(), y, np.full(len(x), emitter, dtype="<U8")
        )

    def ask(self) -> Candidates:
        """The candidates of a generation after the first. As long as no row entered the archive, they are samples, too."""
        if not len(self.grid.elites):
            return self._samples()
        counts = self.shares.split(self.batch_size)
        return joined([getattr(self, f"_{name}")(rows) for name, rows in counts.items() if rows])

    def _parents(self, rows: int) -> tuple[Candidates, Candidates]:
        """Two elites for each child."""
        elites = self.grid.elites
        return tuple(picked(elites, self.random.integers(len(elites), size=rows)) for _ in range(2))  # type: ignore[return-value]

    def _latent(self, rows: int) -> Candidates:
        a, b = self._parents(rows)
        return self._of_codes(iso_line(a.z, b.z, np.ones(a.z.shape[1]), self.random), a.y, "latent")

    def _cma(self, rows: int) -> Candidates:
        codes = self.strategies.ask(rows)
        return self._of_codes(codes, self._given(len(codes)), "cma")

    def _raw(self, rows: int) -> Candidates:
        a, b = self._parents(rows)
        between = iso_line(a.x.numpy(), b.x.numpy(), self.spread, self.random)
        x = self.fitted.kind.crossed(a.x.numpy(), b.x.numpy(), between, self.random)
        return self._of_x(torch.from_numpy(x).to(a.x), a.y, "raw")

    def _rebuilt(self, rows: int) -> Candidates:
        a, _ = self._parents(rows)
        return self._of_codes(a.z, a.y, "rebuilt")

    def _of_codes(self, z: np.ndarray, y: dict[str, np.ndarray], emitter: str) -> Candidates:
        x = self.fitted.decoded(z, y or None, seed=self.seed)
        return Candidates(x, z, y, np.full(len(x), emitter, dtype="<U8"))

    def _of_x(self, x: Tensor, y: dict[str, np.ndarray], emitter: str) -> Candidates:
        found = self._of_rows(self.fitted.kind.unpack(x), y, emitter)
        found.x = x
        return found

    # -- what it begins with, and begins again with after a refit ------------------------------------------------------

    def _reference(self) -> Batch:
        """Rows of the data, or without them of the first generation."""
        if self.data is None:
            some, y = self.first, self.first.y
        else:
            part = self.estimator.learned_from(self.data, REFERENCE)
            y = {name: values for name, values in part.conditions.items() if name in self.fitted.conditions.named}
            some = self._of_rows(part.x, y, START)
        return Batch(some.x.numpy(), some.z, y, rows_of(self.fitted, some.x, y))

    def _begin(self, objective: np.ndarray, measures: np.ndarray, first: Candidates) -> None:
        """Set up the archives, knowing what the first generation gave."""
        if self.ranges is None:
            own = self.functions.measures
            seen = measures if own is None else np.concatenate([measures, own(self.reference)])
            seen = seen[np.isfinite(seen).all(1)]
            low, high = seen.min(0), seen.max(0)
            room = np.where(high > low, MARGIN * (high - low), 0.5)
            self.ranges = np.column_stack([low - room, high + room])
            said = ", ".join(
                f"{name} {a:.3g}..{b:.3g}" for name, (a, b) in zip(self.functions.names, self.ranges, strict=True)
            )
            note(f"ranges of the measures, from {'the first generation' if own is None else 'the data'}: {said}")
        self.floor = float(np.nanmin(objective))
        self.settings["floor"] = self.floor
        self.spread = np.maximum(self.reference.x.std(0), 1e-6).astype(np.float32)
        self.shares = Shares(SPACES[self.space])
        self._new_grid(first.z)

    def _new_grid(self, codes: np.ndarray) -> None:
        bounds = [(float(low), float(high)) for low, high in self.ranges]
        self.grid = Grid(self.cells, bounds, self.seed)
        self.strategies: Any = None
        if "cma" in SPACES[self.space]:
            begin = codes[np.random.default_rng([self.seed, 1, self.refits]).permutation(len(codes))[:MEMBERS]]
            grid = {"dims": list(self.cells), "ranges": bounds}
            self.strategies = Strategies(begin, grid, self.floor, self.seed + 100 * self.refits)

    def train_again(self) -> None:
        """Train the model further, on the rows that it was trained on and as many elites; then judge the elites anew."""
        assert self.data is not None
        before = self.archive()
        where = None if self.folder is None else self.folder / f"refit-{self.refits}"
        if where is not None and self.journal.replaying and (where / "config.yaml").exists():
            from vaekit.runs.load import load

            self.estimator = load(where, device=self.estimator.device)
        else:
            self.estimator = trained_with(self.estimator, self.data, before, self.seed + self.refits)
            if where is not None:
                self.estimator.save(where)
        self.fitted = self.estimator.fitted_
        self.judge = belonging(self.estimator, self.data)
        elites = self._of_rows(before.rows, before.y, START)
        elites.x, elites.emitter = before.x, before.emitter
        self.reference = self._reference()
        own = self.functions.measures
        batch = Batch(elites.x.numpy(), elites.z, elites.y, before.rows)
        measures = before.measures if own is None else own(batch)
        p = self._p_values(batch)
        self._new_grid(elites.z)
        good = ((measures >= self.ranges[:, 0]) & (measures <= self.ranges[:, 1])).all(1) & ~(p < self.trust)
        self.grid.add(elites, before.objective, measures, p, good, before.evaluation)
        if self.strategies:
            self.strategies.tell(elites.z, before.objective, measures, good, np.zeros(len(elites), bool))

    # -- the result ----------------------------------------------------------------------------------------------------

    def archive(self, interrupted: bool | None = None) -> Archive:
        """The archive so far. interrupted: at the end, where copies are looked for, too."""
        elites, known = self.grid.elites, self.grid.known()
        nearest = np.full(len(elites), np.nan)
        if interrupted is not None and self.data is not None and self.fitted.kind.varies:
            nearest = nearness(elites.x.numpy(), self.reference.x, self.spread)
        return Archive(
            self.fitted, elites.x, elites.z, elites.y, known["objective"], known["measures"], known["p_value"], nearest,
            elites.emitter, known["evaluation"], known["index"], self.cells, self.ranges, self.functions.names, self.functions.title,
            self.trust or VALID, list(self.history), dict(self.failed), dict(self.settings), bool(interrupted),
        )  # fmt: skip


# -- the data ----------------------------------------------------------------------------------------------------------


def as_dataset(estimator: Any, X: Any, y: Any) -> Dataset | None:
    """The rows that a model was trained on, given as to `fit` or as `vaekit.read` returns them; None where they are not separate rows."""
    fitted = estimator.fitted_
    if X is not None and not fitted.kind.exchangeable:
        note(f"there are no p-values, because neighbouring {fitted.kind.row}s of {fitted.kind.noun} are alike")
        return None
    if X is None or isinstance(X, Dataset):
        return X
    rows = fitted.kind.take(X)
    if len(rows) != fitted.data["rows"]:
        raise UserError(f"X has {len(rows):,} rows, but the model was trained on {fitted.data['rows']:,}: give those")
    given = {} if y is None else fitted.conditions.name(y)
    return Dataset(rows, fitted.kind.name, "X", None, {k: np.asarray(v) for k, v in given.items()}, [])


def belonging(estimator: Any, data: Dataset | None) -> Belonging | None:
    """The judge of whether a row belongs to the data; None if there is nothing to judge by."""
    if data is None:
        return None
    return Belonging(estimator.fitted_, data, *estimator.divide(data))


def trained_with(estimator: Any, data: Dataset, elites: Archive, seed: int) -> Any:
    """The estimator, trained further on rows that it learned from, without gaps, and on the elites, in equal shares. What it held out stays
    held out."""
    training, _ = estimator.divide(data)
    random = np.random.default_rng(seed)
    own = data[np.sort(random.permutation(training)[: max(len(elites), 2)])]
    packed = estimator.fitted_.pack(own.x, {name: own.conditions[name] for name in elites.y} or None)
    whole = torch.ones(len(own), dtype=torch.bool) if packed.mask is None else packed.mask.flatten(1).all(1)
    x = torch.cat([estimator.kind_.batch(packed.x[whole], fixed_uniform()), elites.x])
    y = {name: np.concatenate([own.conditions[name][whole.numpy()], values]) for name, values in elites.y.items()}
    both = rows_of(estimator.fitted_, x, {})
    again = copy.deepcopy(estimator).set_params(warm_start=True, random_state=seed)
    again.fit_rows(both, y)
    again.fitted_.data = estimator.fitted_.data  # of which the held-out rows are still held out
    again.random_state = again.fitted_.seed = estimator.seed_
    return again


def nearness(x: np.ndarray, training: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The distance of rows (n, ...) to the nearest training row, divided by the median distance of a training row to its nearest other."""
    from sklearn.neighbors import NearestNeighbors

    rows, known = ((each / spread).reshape(len(each), spread.size) for each in (x, training))
    search = NearestNeighbors().fit(known)
    usual = np.median(search.kneighbors(known[:1000], 2)[0][:, 1])
    return search.kneighbors(rows, 1)[0][:, 0] / max(usual, 1e-12) if len(rows) else np.zeros(0)


def checked_ranges(ranges: Any, number: int) -> np.ndarray:
    found = np.asarray(ranges, dtype=np.float64)
    if found.shape != (number, 2) or not (found[:, 0] < found[:, 1]).all() or not np.isfinite(found).all():
        raise UserError(f"ranges={ranges!r}: give (low, high) for each of the {number} measures")
    return found
