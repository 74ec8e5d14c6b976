"""How normal a row is, and how normal what a model makes of a code is: the p-value of its score.

A row is held against the rows that the run held out. What a code decodes to is held against what their codes decode to, by a
density: a decoder's mean is smoother than any real picture, and so odd beside them, and by the score "path" odd everywhere.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.conditions import Label, Number
from vaekit.deploy.explorer.layouts import Layout
from vaekit.deploy.graphs import Graph
from vaekit.deploy.manifest import described
from vaekit.fitted import Fitted
from vaekit.recipes.calibrate import calibrated
from vaekit.show.track import track
from vaekit.uses.calibration import Calibration, members
from vaekit.uses.conformal import p_values
from vaekit.uses.scores import LogLikelihood, Score, auto, density, new_score

SIDES = (48, 32, 24, 16, 12)  # cells along a side of the shading; the first that takes no longer than
SECONDS = 10.0
FAR = 2.0  # cells: a place of a bent map that is farther from every code is empty
ROWS = 96  # scored at a time
K = 16  # importance samples of log p(x): the page asks for it all the time
DECODED = 1000  # held-out rows whose codes are decoded: p-values of 0.001 are small enough
USUAL = 300  # rows: enough for a median


def judge_of(run: Path, estimator: Any, data: Any) -> tuple[Calibration | None, str]:
    """The score for the page and what it usually is; None, and why, where there is none. data: the source, as the estimator reads it."""
    fitted, kind = estimator.fitted_, estimator.kind_
    if kind.why_not("scores"):
        return None, f"rows have no score: {run.name} {kind.why_not('scores')}"
    if not kind.exchangeable:
        return None, f"places are not shaded by trust: neighbouring {kind.row}s are alike, so their scores give no p-values"
    if len(members(run)) > 1:
        return None, "places are not shaded by trust: the score is that of several models together"
    name = auto(fitted)
    few = name == LogLikelihood.name and fitted.kind.score_samples > K
    odd = calibrated(run, estimator, *((name, {"k": K}) if few else ()), own=data, keep=not few)
    if not len(odd.scores):
        return None, f"places are not shaded by trust: {odd.origin}"
    if isinstance(odd.score, LogLikelihood):
        odd.score.k = odd.score.k or kind.score_samples  # for its graph, which needs to know
    return odd, ""


def density_of(estimator: Any, data: Any, odd: Calibration) -> Score:
    """The score of what codes decode to. data: the source, as the estimator reads it."""
    fitted = estimator.fitted_
    name = density(fitted)
    if odd.score.name == name:
        return odd.score
    score = new_score(name, fitted, **({"k": K} if name == LogLikelihood.name else {}))
    score.precise = False  # which takes twice as long, and ONNX has no convolutions of 64 bits
    if score.learns:
        learned = estimator.learned_from(data, score.most)
        score.fit(fitted, learned.x, learned.conditions)
    return score


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
def decoded_scores(codes: np.ndarray, y: dict[str, Tensor], graphs: dict[str, Graph]) -> np.ndarray:
    """The scores of what codes (N, latent_dim) decode to under their rows' own conditions, in ascending order. y: as inputs of graphs."""
    n = min(len(codes), DECODED)
    found = []
    for i in track(range(0, n, ROWS), what="score what held-out codes decode to"):
        some = slice(i, min(n, i + ROWS))
        found.append(scores_of(torch.from_numpy(codes[some]), graphs, {name: t[some] for name, t in y.items()}))
    return np.sort(np.concatenate(found))


@torch.no_grad()
def shading(
    layout: Layout, codes: np.ndarray, graphs: dict[str, Graph], normal: np.ndarray, start: dict[str, Tensor]
) -> np.ndarray:
    """255 times the p-value of what each place of a map decodes to, (side, side) uint8, row 0 at the lowest v.

    Args:
        codes: on the map (N, latent_dim). normal: see `decoded_scores`. start: conditions, see `start_of`.
    """
    side = SIDES[0]
    seconds = timed(layout, codes, graphs, start) * side**2
    side = next((s for s in SIDES if seconds * s**2 / side**2 <= SECONDS), SIDES[-1])
    u0, u1, v0, v1 = layout.extent
    z, there = layout.codes_at(layout.places(side), codes, FAR * float(np.hypot(u1 - u0, v1 - v0)) / side)
    p = np.zeros(len(z))
    parts = np.array_split(np.flatnonzero(there), max(1, there.sum() // ROWS))
    for some in track(parts, what=f"shade the map {layout.name}"):
        p[some] = p_values(scores_of(torch.from_numpy(z[some]), graphs, start), normal)
    return np.round(255 * p).astype(np.uint8).reshape(side, side)


def timed(layout: Layout, codes: np.ndarray, graphs: dict[str, Graph], start: dict[str, Tensor]) -> float:
    """Seconds for a place."""
    z = torch.from_numpy(codes[:ROWS])
    scores_of(z[:8], graphs, start)  # the first call takes longer
    began = time.perf_counter()
    scores_of(z, graphs, start)
    return (time.perf_counter() - began) / len(z)


def scores_of(z: Tensor, graphs: dict[str, Graph], start: dict[str, Tensor]) -> np.ndarray:
    """The scores (B,) of what codes z (B, latent_dim) decode to: of draws, with the same noise, where samples are draws."""
    n = len(z)
    y = {name: value.expand(n, *value.shape[1:]) for name, value in start.items()}
    shown = graphs.get("draw", graphs["decoder"])
    x = shown(with_noise(shown, {"z": z, **y}))["x"]
    given = {"x": x, "mask": torch.ones(x.shape, dtype=torch.bool), **y}
    score = graphs.get("trust", graphs["score"])
    return score(with_noise(score, given))["score"].numpy()


def with_noise(graph: Graph, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add the noise that a graph takes, the same for each row."""
    if "noise" not in graph.random:
        return given
    n = len(next(iter(given.values())))
    if "noise" not in graph.turns:
        graph.inputs(given if "z" in given else {**given, "z": torch.zeros(n, 0)})
    one = torch.randn(1, graph.turns["noise"].used, generator=torch.Generator().manual_seed(0))
    return {**given, "noise": one.expand(n, -1)}


@torch.no_grad()
def usual(graph: Graph, shown: dict[str, Tensor], rows: int) -> np.ndarray:
    """The median surprise of each value over rows that are shown, (*event). rows: that fit into memory together."""
    n = min(USUAL, len(shown["x"]))
    parts = [{name: t[i : min(n, i + rows)] for name, t in shown.items()} for i in range(0, n, rows)]
    found = torch.cat([graph(part)["surprise"] for part in track(parts, what="surprise")])
    return found.median(0).values.numpy()
