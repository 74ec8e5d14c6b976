"""What the explorer's page gets of a run: `model.json`, tensors by name, and the graphs that it may ask for.

The rows on the map are a sample of a large source. All that is left out is said in `model.json`'s notes, a sentence each.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.deploy.explorer import layouts, rows, trust
from vaekit.deploy.graphs import ROWS, Graph, graphs
from vaekit.deploy.manifest import manifest, plain, signature
from vaekit.errors import UserError
from vaekit.recipes.source import own_source

log = logging.getLogger(__name__)

USED = ("encoder", "prior", "decoder", "draw", "score", "surprise")  # graphs that the page asks for
HALF = np.finfo(np.float16)


@dataclass
class Scene:
    """The content of the page.

    Attributes:
        model: `model.json`. tensors, graphs: by name. some: gives a number of rows as inputs of the graphs, to try them with.
    """

    model: dict[str, Any]
    tensors: dict[str, np.ndarray]
    graphs: dict[str, Graph]
    some: Callable[[int], dict[str, Tensor]]

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
    data = read(estimator) if data is None else data
    chosen = rows.chosen_rows(estimator, data)
    log.info("encoding %s %ss", f"{len(chosen):,}", kind.row)
    codes = rows.codes_of(fitted, chosen)
    found, notes = layouts.layouts_of(codes)
    if len(chosen) < chosen.of:
        notes.append(f"the map shows {len(chosen):,} of {chosen.of:,} {kind.row}s, chosen at random")
    named = {name: values for name, values in data.conditions.items() if name in fitted.conditions.named}
    odd, why = trust.judge_of(run, estimator, replace(data, conditions=named) if data.conditions else data)
    notes += [why] * bool(why)
    made = graphs(fitted, estimator.sampler_, odd.score if odd else None)
    made = {name: graph for name, graph in made.items() if name in USED and (odd or name != "surprise")}
    colours, tensors = rows.colours_of(fitted, chosen)
    shown, texts = rows.shown_of(fitted, chosen)
    trying = partial(some, shown, fitted.model.latent_dim)
    about = signatures(made, trying(ROWS))
    tensors |= {"codes": as_half(codes), **rows.pictures_of(fitted, chosen)}
    tensors |= {f"shown.{name}": t.numpy() for name, t in shown.items() if name != "mask" or not t.all()}
    log.info("finding out which places of the map to trust")
    normal = chosen.held_out or len(chosen)
    places = trust.normal_places(codes[:normal], codes.var(0), made, chosen.packed)
    start = trust.start_of(fitted, shown)
    for i, layout in enumerate(found):
        tensors |= {**layout.tensors(i), f"layout.{i}.trust": trust.shading(layout, codes, made, places, start)}
    tensors |= {"calibration.place": places.astype(np.float32), "rows": chosen.numbers.astype(np.int32)}
    if odd:
        tensors["calibration"] = np.sort(odd.scores).astype(np.float32)
        if "surprise" in made:
            tensors["usual"] = trust.usual(made["surprise"], shown, about["surprise"]["rows"])
    model = manifest(fitted, run.resolve().name, odd, notes)
    names = [f"{kind.row} {i}" for i in chosen.numbers.tolist()]
    layed = [{"name": a.name, "axes": a.axes, "linear": a.basis is not None} for a in found]
    model["map"] = {
        "rows": len(chosen),
        "of": chosen.of,
        "layouts": layed,
        "colours": colours,
        "texts": texts,
        "names": names,
    }
    model |= {"row": kind.row, "noun": f"{kind.row}s", "graphs": about, "engine": "server"}
    return Scene(model, tensors, made, trying)


def read(estimator: Any) -> Any:
    """The source that a model was trained on, with its labels, where it has some, to colour the map by."""
    source = own_source(estimator)
    log.info("reading %s", source)
    try:
        data = estimator.read(source)
    except UserError as e:
        raise UserError(f"the page shows rows that the model was trained on, and they cannot be read: {e}") from e
    if not data.conditions and not estimator.kind_.value_names:
        with suppress(UserError):
            return estimator.read(source, also=["label"])
    return data


@torch.no_grad()
def signatures(made: dict[str, Graph], tried: Mapping[str, Tensor]) -> dict[str, Any]:
    """The inputs and outputs of each graph. tried: rows as inputs."""
    given = {name: graph.inputs(tried) for name, graph in made.items()}
    return {name: signature(graph, given[name], graph(given[name])) for name, graph in made.items()}


def some(shown: Mapping[str, Tensor], latent_dim: int, n: int) -> dict[str, Tensor]:
    """n rows to try graphs with, see `vaekit.deploy.graphs.example`."""
    which = torch.arange(n) % len(shown["x"])
    z = torch.randn(n, latent_dim, generator=torch.Generator().manual_seed(n))
    return {"temperature": torch.tensor(1.0), "z": z, **{name: t[which] for name, t in shown.items()}}


def as_half(codes: np.ndarray) -> np.ndarray:
    """Codes in 16 bits, unless that would lose them."""
    return codes.astype(np.float16) if np.abs(codes).max(initial=0) < HALF.max else codes
