"""The explorer's page of an evolved archive: its map is the grid of cells over two measures, and a place on it is the elite of a cell.

Each pair of measures is a layout. A cell of a layout has the best of the elites that lie in it, over the measures that are not shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaekit.deploy.explorer import rows as shown_rows
from vaekit.deploy.explorer import scene, trust
from vaekit.deploy.explorer.html import write_scene
from vaekit.deploy.explorer.layouts import WIDE, Layout
from vaekit.deploy.graphs import ROWS, graphs, narrow
from vaekit.deploy.manifest import manifest
from vaekit.errors import UserError
from vaekit.evolution.archive import VALID
from vaekit.runs.load import load
from vaekit.show.words import number
from vaekit.training.data import Data

PAGE = "archive.html"
ROOM = 0.03  # around the cells, as a share of their extent
PAIRS = 6  # layouts at most: those of four measures
USED = ("encoder", "prior", "decoder", "draw")


def write_explorer(archive: Any, folder: Path, normal: Data | None = None) -> Path:
    """Write `folder`/archive.html, one file that works without a network, and return its path.

    Args:
        archive: an `Archive` with at least one elite.
        normal: packed rows that did not train the model, with their conditions. The page judges children beside them. None: those that
            the run in `folder`/model held out, where its source can be read; otherwise a note says that children are not judged.

    Raises:
        UserError: the archive is empty, a package for ONNX is missing, ONNX cannot express the decoder, or the page would be too large.
    """
    path = folder / PAGE
    write_scene(archive_scene(archive, folder, normal), archive.fitted, path, f"vaekit explore {folder}")
    return path


def archive_scene(archive: Any, folder: Path, normal: Data | None = None) -> scene.Scene:
    """All that the page shows of an archive, the best elite first. See `write_explorer`."""
    if not len(archive):
        raise UserError(
            f"{folder} has no elite, so there is no map of cells: search longer, or widen the ranges of the measures"
        )
    fitted, kind, order = archive.fitted, archive.fitted.kind, np.argsort(-archive.objective, kind="stable")
    x, codes = archive.x[torch.from_numpy(order)].cpu(), np.asarray(archive.z, np.float32)[order]
    notes = [
        f"the p-value of an elite says how many normal {kind.row}s are as odd or odder. "
        f"Elites below {number(level_of(archive))} are hatched",
        f"what a child is worth, this page cannot know: {archive.title} is not part of it",
    ]
    if normal is None:
        normal, why = held_out(folder)
        notes += [why] * bool(why)
    made = {name: graph for name, graph in graphs(fitted).items() if name in USED}
    y = {f"y.{name}": narrow(t) for name, t in fitted.pack_conditions(archive.y or None, len(order)).items()}
    y = {name: t[torch.from_numpy(order)] for name, t in y.items()}
    shown = {"x": narrow(x), "mask": torch.ones(x.shape, dtype=torch.bool), **y}
    trying = partial(scene.some, shown, fitted.model.latent_dim)
    colours, tensors = colours_of(archive, order)
    some = max(1, shown_rows.SHOWN_BYTES // (x[:1].numel() * 4))
    tensors |= {"shown.x": shown["x"][:some].numpy(), **{f"shown.{name}": t.numpy() for name, t in y.items()}}
    tensors |= {
        "codes": scene.as_half(codes),
        "rows": order.astype(np.int32),
        "trusted": trusted(archive)[order].astype(np.uint8),
    }
    if (one := kind.thumbnails(x[:1].float())) is not None:
        tensors["thumbs"] = kind.thumbnails(x[: max(1, shown_rows.THUMBNAIL_BYTES // one.nbytes)].float())
    if normal is not None:
        # Units weigh as much as the codes of rows vary: those of elites vary in units that the model does not use, too.
        theirs = fitted.encode_packed(normal).float().numpy()
        places = trust.normal_places(theirs, theirs.var(0), made, normal)
        tensors |= {"calibration.place": places.astype(np.float32), "calibration.weights": theirs.var(0)}
    found = cells_of(archive, order)
    for i, layout in enumerate(found):
        tensors |= layout.tensors(i)
    model = manifest(fitted, folder.resolve().name, None, notes)
    model["map"] = {
        "rows": len(order),
        "of": len(order),
        "layouts": [layout.about() for layout in found],
        "colours": colours,
        "texts": None,
        "names": [f"elite {i}" for i in order.tolist()],
        "archive": {"level": level_of(archive), "objective": archive.title},
    }
    about = scene.signatures(made, trying(ROWS))
    model |= {"row": kind.row, "noun": f"{kind.row}s", "graphs": about, "engine": "server"}
    if lines := kind.lines(x[:some]):
        model["map"]["texts"] = [line[: shown_rows.LINE] for line in lines]
    return scene.Scene(model, tensors, made, trying)


@dataclass
class Cells(Layout):
    """The cells over two measures, from 0 to `WIDE` across and from 0 to 1 upwards, whatever the units of the measures.

    Attributes:
        cells: how many there are across and upwards. over: the measures that are not shown, in words; "" for none.
    """

    cells: tuple[int, int] = (1, 1)
    over: str = ""

    @property
    def extent(self) -> np.ndarray:
        return np.array([-ROOM * WIDE, (1 + ROOM) * WIDE, -ROOM, 1 + ROOM], np.float32)

    def about(self) -> dict[str, Any]:
        """The entry about it in `model.json`."""
        about = {"name": self.name, "axes": self.axes, "linear": False}
        return about | {"cells": list(self.cells), "size": [WIDE, 1.0], "over": self.over}


def cells_of(archive: Any, order: np.ndarray) -> list[Cells]:
    """The layouts of an archive: one for each pair of measures. order: of the elites."""
    each = np.stack(np.unravel_index(archive.cell[order], archive.cells), 1)  # (n, m)
    said = [
        f"{name}: {number(low)} to {number(high)}"
        for name, (low, high) in zip(archive.names, archive.ranges, strict=True)
    ]
    if len(archive.cells) == 1:
        points = np.stack([(each[:, 0] + 0.5) / archive.cells[0] * WIDE, np.full(len(order), 0.5)], 1)
        return [Cells(archive.names[0], [said[0], ""], points, cells=(archive.cells[0], 1))]
    found = []
    for a, b in list(combinations(range(len(archive.cells)), 2))[:PAIRS]:
        sides = (archive.cells[a], archive.cells[b])
        points = (each[:, [a, b]] + 0.5) / sides * (WIDE, 1.0)
        rest = " and ".join(name for i, name in enumerate(archive.names) if i not in (a, b))
        name = f"{archive.names[a]}, {archive.names[b]}"
        found.append(Cells(name, [said[a], said[b]], points, cells=sides, over=rest))
    return found


def colours_of(archive: Any, order: np.ndarray) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """The quantities that can colour cells: the objective, the p-value, the measures, the emitter and the evaluation."""
    measures = dict(zip(archive.names, archive.measures.T, strict=True))
    given = {archive.title: archive.objective, "p-value": archive.p_value, **measures, "evaluation": archive.evaluation}
    about: list[dict[str, Any]] = []
    tensors = {}
    for name, values in given.items():
        numbers = np.asarray(values, np.float32)[order]
        if np.isfinite(numbers).any():
            ends = (0.0, 1.0) if name == "p-value" else np.nanquantile(numbers, [0.01, 0.99])
            about.append({"name": name, "kind": "number", "low": float(ends[0]), "high": float(ends[1])})
            tensors[f"colour.{name}"] = numbers
    classes, which = np.unique(np.asarray(archive.emitter)[order].astype(str), return_inverse=True)
    about.append({"name": "emitter", "kind": "label", "classes": classes.tolist()})
    tensors["colour.emitter"] = which.astype(np.int32)
    return about, tensors


def level_of(archive: Any) -> float:
    """The p-value below which elites are not trusted."""
    return archive.trust or VALID


def trusted(archive: Any) -> np.ndarray:
    """Whether each elite belongs to the data, (n,); also True where nobody knows, since there are no p-values."""
    return ~(np.asarray(archive.p_value, float) < level_of(archive))


def held_out(folder: Path) -> tuple[Data | None, str]:
    """The packed rows that the run in `folder`/model held out, and ""; if they cannot be read, None and the reason."""
    try:
        estimator = load(folder / "model", device="cpu")
        data = scene.read(estimator)
        chosen = shown_rows.chosen_rows(estimator, data)
    except UserError as e:
        return None, f"children are not judged on this page: {e}"
    return chosen.packed[: min(chosen.held_out or len(chosen), trust.DECODED)], ""
