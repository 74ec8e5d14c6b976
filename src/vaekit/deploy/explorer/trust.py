"""How normal a row is, and how normal what a model makes of a code is: the p-value of its score.

A row is held against the rows that the run held out, by the score that suits them. A code is held against their codes, by whether
the model reads what it decodes to as the same code again: what decodes is smoother than any real picture, so that the score of
rows may find it odd wherever it is from.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.conditions import Label, Number
from vaekit.deploy.explorer.layouts import WIDE, Layout
from vaekit.deploy.graphs import Graph, narrow
from vaekit.deploy.manifest import described
from vaekit.fitted import Fitted
from vaekit.recipes.calibrate import calibrated
from vaekit.show.track import track
from vaekit.uses.calibration import Calibration, members
from vaekit.uses.conformal import p_values
from vaekit.uses.scores import LogLikelihood, auto

SIDES = (48, 32, 24, 16, 12)  # cells from bottom to top of the shading; the first that takes no longer than
SECONDS = 10.0
ROWS = 96  # decoded at a time
K = 16  # importance samples of log p(x): the page asks for it all the time
DECODED = 500  # normal codes that are decoded: p-values of 0.002 are small enough
USUAL = 300  # rows: enough for a median


def judge_of(run: Path, estimator: Any, data: Any) -> tuple[Calibration | None, str]:
    """Choose the score of the page and calibrate it on normal rows. Returns the calibration and "", or None and the reason.

    data: the source, as the estimator reads it.
    """
    fitted, kind = estimator.fitted_, estimator.kind_
    if kind.why_not("scores"):
        return None, f"{kind.row}s themselves have no score here"
    if not kind.exchangeable:
        return (
            None,
            f"{kind.row}s themselves have no score: neighbouring ones are alike, so there are no p-values, and the trust of places is rough",
        )
    if len(members(run)) > 1:
        return None, f"{kind.row}s themselves have no score: that of several models together is not on this page"
    name = auto(fitted)
    few = name == LogLikelihood.name and fitted.kind.score_samples > K
    odd = calibrated(run, estimator, *((name, {"k": K}) if few else ()), own=data, keep=not few)
    if not len(odd.scores):
        return None, f"{kind.row}s themselves have no score: {odd.origin}"
    return odd, ""


def start_of(fitted: Fitted, first: dict[str, Tensor]) -> dict[str, Tensor]:
    """The conditions that the page starts with, as one row of inputs of graphs. first: the inputs of the first row shown."""
    found = {}
    for name, condition in fitted.conditions.named.items():
        if isinstance(condition, Label):
            value = torch.tensor([described(name, condition, fitted.conditions)["start"]], dtype=torch.int32)
        elif isinstance(condition, Number):
            start = np.asarray(described(name, condition, fitted.conditions)["start"])
            value = torch.tensor((start - condition.mean) / condition.scale, dtype=torch.float32)[None]
        else:
            value = first[f"y.{name}"][:1]
        found[f"y.{name}"] = value
    return found


@torch.no_grad()
def place_scores(z: np.ndarray, weights: np.ndarray, graphs: dict[str, Graph], y: dict[str, Tensor]) -> np.ndarray:
    """Score codes z (B, latent_dim) by how little they change when their decoded rows are encoded again, (B,). The page computes the same.

    Args:
        weights: of each unit, (latent_dim,): how much the codes of rows vary, since a unit that is switched off says nothing.
        y: conditions as inputs of graphs, of each row or one for all.
    """
    given = {name: value.expand(len(z), *value.shape[1:]) for name, value in y.items()}
    x = graphs["decoder"]({"z": torch.from_numpy(z), **given})["x"]
    again = graphs["encoder"]({"x": x, "mask": torch.ones(x.shape, dtype=torch.bool), **given})["z"].numpy()
    return -(weights * (again - z) ** 2).sum(1)


def normal_places(codes: np.ndarray, weights: np.ndarray, graphs: dict[str, Graph], packed: Any) -> np.ndarray:
    """The scores of the codes of normal rows (N, latent_dim), in ascending order. packed: rows with their own conditions."""
    parts = [slice(i, min(len(codes), i + ROWS)) for i in range(0, min(len(codes), DECODED), ROWS)]
    found = []
    for p in track(parts, what="decode normal codes"):
        y = {f"y.{name}": narrow(t) for name, t in packed[p].y.items()}
        found.append(place_scores(codes[p], weights, graphs, y))
    return np.sort(np.concatenate(found))


def shading(
    layout: Layout, codes: np.ndarray, graphs: dict[str, Graph], normal: np.ndarray, start: dict[str, Tensor]
) -> np.ndarray:
    """255 times the p-value of each place of a map, (rows, columns) uint8, row 0 at the lowest v.

    Args:
        codes: on the map (N, latent_dim). normal: see `normal_places`. start: conditions, see `start_of`.
    """
    weights = codes.var(0)
    z = codes[:ROWS]
    place_scores(z, weights, graphs, start)  # the first call takes longer
    began = time.perf_counter()
    place_scores(z, weights, graphs, start)
    each = (time.perf_counter() - began) / len(z)
    side = next((s for s in SIDES if each * s**2 * WIDE <= SECONDS), SIDES[-1])
    shape = side, round(side * WIDE)
    z, there = layout.codes_at(layout.places(*shape), codes)
    p = np.zeros(len(z))
    parts = np.array_split(np.flatnonzero(there), max(1, there.sum() // ROWS))
    for some in track(parts, what=f"shade the map {layout.name}"):
        p[some] = p_values(place_scores(z[some], weights, graphs, start), normal)
    return np.round(255 * p).astype(np.uint8).reshape(shape)


@torch.no_grad()
def usual(graph: Graph, shown: dict[str, Tensor], rows: int) -> np.ndarray:
    """The median surprise of each value over rows that are shown, (*event). rows: that fit into memory together."""
    n = min(USUAL, len(shown["x"]))
    parts = [{name: t[i : min(n, i + rows)] for name, t in shown.items()} for i in range(0, n, rows)]
    found = torch.cat([graph(part)["surprise"] for part in track(parts, what="surprise")])
    return found.median(0).values.numpy()
