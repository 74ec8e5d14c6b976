"""The normal rows of a run: those that it held out, which say what its scores usually are."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.errors import UserError, note
from vaekit.recipes.source import own_source
from vaekit.runs.load import load
from vaekit.show.track import track
from vaekit.training.data import split
from vaekit.uses.calibration import FILE, Calibration, members
from vaekit.uses.scores import auto

HELD_OUT = "held out of"  # how the origin of calibration rows begins


def calibrated(
    run: Path, estimator: Any, name: str = "auto", options: dict[str, Any] | None = None, source: str | None = None,
    *, own: Any = None, keep: bool = True,
) -> Calibration:  # fmt: skip
    """The calibration that the run remembers, or a new one with the given rows or with those that the run held out. If there are no
    normal rows it has no scores, and its origin says why.

    own: the run's own source, if it was read. keep: whether the run is to remember it, in place of another of that name.
    """
    fitteds = [estimator.fitted_, *(load(member, device=estimator.device).fitted_ for member in members(run)[1:])]
    odd = Calibration.find(run, fitteds, name, **(options or {})) or Calibration(fitteds[:1], name, **(options or {}))
    if source is None and len(odd.scores):
        return odd
    normal, training, origin = own_rows(estimator, own)
    if source is not None:
        data, origin = estimator.read(source), source
        normal = data, np.arange(len(data))
    if normal is None and name == "auto" and odd.score.of_training and not odd.score.learned:
        note(f"the score is loglik, because {odd.score.name} learns from training rows, which are not at hand")
        return calibrated(run, estimator, auto(estimator.fitted_, learns=False), options, own=own, keep=keep)
    if normal is None:
        odd.origin = origin
        return odd
    odd.calibrate(normal, origin, training, shares=bool(odd.kind.value_names), track=partial(track, what="calibrate"))
    if keep:
        odd.write(run / FILE.format(odd.score.name))
    return odd


def own_rows(estimator: Any, data: Any = None) -> tuple[Any, Any, str]:
    """The rows that the run held out, those that it learned from, and where they come from; else None twice, and why. data: the run's
    own source, if it was read."""
    rows = estimator.data_["rows"]
    learned, held_out = (part.numpy() for part in split(rows, estimator.validation, estimator.seed_))
    if not len(held_out):
        return None, None, "the run held out no rows"
    try:
        data = estimator.read(own_source(estimator)) if data is None else data
    except UserError as e:
        return None, None, f"the rows that the run held out cannot be read ({e})"
    if len(data) != rows:
        return None, None, f"{estimator.data_.get('source', 'the source')} is no longer what the run was trained on"
    return (data, held_out), (data, learned), f"{HELD_OUT} {estimator.data_.get('source', 'the source')}"
