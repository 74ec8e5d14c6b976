"""What the explorer's page gets of a run: `model.json`, tensors by name, and the graphs that it may ask for.

The rows on the map are a sample of a large source. All that is left out is said in `model.json`'s notes, a sentence each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaekit.deploy.explorer import layouts, rows, trust
from vaekit.deploy.graphs import Graph, Scored, example, graphs, narrow
from vaekit.deploy.manifest import manifest, signature
from vaekit.errors import UserError
from vaekit.recipes.source import own_source

USED = ("encoder", "prior", "decoder", "draw", "score", "surprise")  # graphs that the page asks for
HALF = np.finfo(np.float16)


@dataclass
class Scene:
    """Attributes:
    model: `model.json`, without the graphs' engine. tensors: by name. graphs: by name.
    """

    model: dict[str, Any]
    tensors: dict[str, np.ndarray]
    graphs: dict[str, Graph]

    @property
    def json(self) -> str:
        return json.dumps(self.model, allow_nan=False, default=plain, ensure_ascii=False)


def check(estimator: Any, run: Path) -> None:
    """UserError for a model that has no map."""
    if not estimator.model_.latent_dim:
        raise UserError(f"{run} has no latent, so there is no map to explore: try `vaekit sample {run}`")


def scene(run: Path, estimator: Any, data: Any = None) -> Scene:
    """All that the page shows of a trained model.

    Args:
        run: its directory. estimator: on the CPU. data: its source, as it reads it. None: the source that it was trained on.

    Raises:
        UserError: it has no latent, or its source cannot be read.
    """
    check(estimator, run)
    fitted, kind = estimator.fitted_, estimator.kind_
    data = estimator.read(own_source(estimator)) if data is None else data
    chosen = rows.chosen_rows(estimator, data)
    codes = rows.codes_of(fitted, chosen)
    found, notes = layouts.layouts_of(codes)
    if len(chosen) < chosen.of:
        notes.append(f"the map shows {len(chosen):,} of {chosen.of:,} {kind.row}s, chosen at random")
    odd, why = trust.judge_of(run, estimator, data)
    notes += [why] * bool(why)
    made = graphs(fitted, estimator.sampler_, odd.score if odd else None)
    made = {name: graph for name, graph in made.items() if name in USED and (odd or name != "surprise")}
    if odd and (density := trust.density_of(estimator, data, odd)) is not odd.score:
        made["trust"] = Scored(fitted, density)
    about = signatures(fitted, made)
    colours, tensors = rows.colours_of(fitted, chosen)
    shown, texts = rows.shown_of(fitted, chosen)
    tensors |= {"codes": as_half(codes), **rows.pictures_of(fitted, chosen)}
    tensors |= {f"shown.{name}": t.numpy() for name, t in shown.items() if name != "mask" or not t.all()}
    for i, layout in enumerate(found):
        tensors |= layout.tensors(i)
    if odd:
        held = {f"y.{name}": narrow(t[: chosen.held_out]) for name, t in chosen.packed.y.items()}
        normal = trust.decoded_scores(codes[: chosen.held_out], held, made)
        tensors["calibration"] = np.sort(odd.scores).astype(np.float32)
        tensors["calibration.decoded"] = normal.astype(np.float32)
        start = trust.start_of(fitted, shown)
        for i, layout in enumerate(found):
            tensors[f"layout.{i}.trust"] = trust.shading(layout, codes, made, normal, start)
        if "surprise" in made:
            tensors["usual"] = trust.usual(made["surprise"], shown, about["surprise"]["rows"])
    model = manifest(fitted, run.resolve().name, odd, notes)
    names = [f"{kind.row} {i}" for i in chosen.numbers.tolist()]
    layed = [{"name": a.name, "axes": a.axes, "linear": a.basis is not None} for a in found]
    model["map"] = {"rows": len(chosen), "of": chosen.of, "layouts": layed, "colours": colours, "texts": texts, "names": names}
    model |= {"row": kind.row, "noun": f"{kind.row}s", "graphs": about, "engine": "server"}
    return Scene(model, tensors, made)


@torch.no_grad()
def signatures(fitted: Any, made: dict[str, Graph]) -> dict[str, Any]:
    """What goes into each graph and comes out of it."""
    rows_of = example(fitted)
    found = {}
    for name, graph in made.items():
        given = graph.inputs(rows_of)
        found[name] = signature(graph, given, graph(given))
    return found


def as_half(codes: np.ndarray) -> np.ndarray:
    """Codes in 16 bits, unless that would lose them."""
    return codes.astype(np.float16) if np.abs(codes).max(initial=0) < HALF.max else codes


def plain(value: Any) -> Any:
    """What JSON does not know: numbers of NumPy, and dates."""
    return value.item() if hasattr(value, "item") else str(value)
