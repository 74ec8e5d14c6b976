"""Which rows of a run's source are on the map of its codes, and what is known and shown of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.conditions import Condition, Conditions, Label, Number
from vaekit.deploy.graphs import as_inputs
from vaekit.errors import UserError
from vaekit.fitted import Fitted
from vaekit.show.track import track
from vaekit.training.data import Data, View, rows_at_once

MOST = 20_000  # rows on the map
ENOUGH = 5_000  # rows: if fewer were held out, training rows join them
COLOURS = 20  # things that rows can be coloured by
CLASSES = 100  # of a label to colour by
SHOWN_BYTES = 1_500_000  # of rows that can be looked at themselves
THUMBNAIL_BYTES = 1_000_000
LINE = 80  # letters of a line of text
ROWS_AT_ONCE = 1024

Tensors = dict[str, np.ndarray]


@dataclass
class Rows:
    """Rows on the map, in random order: those that were held out come first.

    Attributes:
        packed: as tensors. numbers: of them in the source (N,). of: how many rows the source has.
        held_out: how many of them were held out.
        known: what is known of each, by name: (N,) or (N, n).
    """

    packed: Data | View
    numbers: np.ndarray
    of: int
    held_out: int
    known: dict[str, Any]

    def __len__(self) -> int:
        return len(self.numbers)


def chosen_rows(estimator: Any, data: Any, seed: int = 0) -> Rows:
    """Rows for the map: those that were held out, and training rows if these are few; a sample of a large source.

    data: as the estimator reads its source.
    """
    rng = np.random.default_rng(seed)
    learned, held_out = (rng.permutation(index) for index in estimator.division(data))
    numbers = np.concatenate([held_out[:MOST], learned[: max(0, ENOUGH - len(held_out))]])
    order = np.argsort(numbers)
    packed, known = estimator.rows_of(data, numbers[order])
    back = np.argsort(order)
    known = {name: np.asarray(values)[back] for name, values in known.items()}
    of = len(learned) + len(held_out)
    places = torch.from_numpy(back)
    packed = View(packed.data, packed.rows[places]) if isinstance(packed, View) else packed[places]
    return Rows(packed, numbers, of, min(len(held_out), MOST), known)


def codes_of(fitted: Fitted, rows: Rows) -> np.ndarray:
    """Posterior means (N, latent_dim), float32."""
    size = rows_at_once(fitted.model, rows.packed, most=ROWS_AT_ONCE)
    starts = track([*range(0, len(rows), size)], what="encode")
    return torch.cat([fitted.encode_packed(rows.packed[i : i + size]) for i in starts]).float().numpy()


def colours_of(fitted: Fitted, rows: Rows) -> tuple[list[dict[str, Any]], Tensors]:
    """The known quantities of the rows, the model's conditions first: a description of each, and its values."""
    about, tensors = [], {}
    for name, condition, values in known_values(fitted, rows):
        if isinstance(condition, Label):
            about.append({"name": name, "kind": "label", "classes": condition.classes})
            tensors[f"colour.{name}"] = values.astype(np.int32)
        elif np.isfinite(values).any():
            low, high = np.nanquantile(values, [0.01, 0.99])  # a few far values would make all others one colour
            about.append({"name": name, "kind": "number", "low": float(low), "high": float(high)})
            tensors[f"colour.{name}"] = values.astype(np.float32)
        if len(about) == COLOURS:
            break
    return about, tensors


def known_values(fitted: Fitted, rows: Rows) -> Any:
    """Yield name, condition, and codes (N,) of a label or values (N,) of a number."""
    for name, condition in fitted.conditions.named.items():
        if name in rows.packed.y:
            yield from parts(name, condition, rows.packed.y[name].numpy())
    for name, given in rows.known.items():
        if name in fitted.conditions.named:
            continue
        try:
            condition = Conditions.infer({name: given}).named[name]
            values = condition.pack(name, given)
        except (UserError, TypeError, ValueError):  # such as dates, or a column without a value: they have no colour
            continue
        if condition.kind != "label" or condition.size <= CLASSES:
            yield from parts(name, condition, values)


def parts(name: str, condition: Condition, packed: np.ndarray) -> Any:
    """The numbers of a vector one by one, in the user's own units; a label as it is."""
    if isinstance(condition, Label):
        yield name, condition, packed
    elif isinstance(condition, Number):
        for i, (mean, scale) in enumerate(zip(condition.mean, condition.scale, strict=True)):
            yield f"{name}[{i}]" if condition.size > 1 else name, condition, packed[:, i] * scale + mean


def pictures_of(fitted: Fitted, rows: Rows) -> Tensors:
    """Small pictures of the first rows, if they look like something."""
    kind = fitted.kind
    some = kind.batch(rows.packed[:1].x, half)
    if (one := kind.thumbnails(some)) is None:
        return {}
    n = max(1, THUMBNAIL_BYTES // one.nbytes)
    return {"thumbs": kind.thumbnails(kind.batch(rows.packed[:n].x, half))}


def shown_of(fitted: Fitted, rows: Rows) -> tuple[dict[str, Tensor], list[str] | None]:
    """The first rows themselves as inputs of graphs, x (R, *event), mask and y.NAME, and as lines of text, if they are texts."""
    size = 4 * math.prod(fitted.kind.event_shape)
    size += sum(t.nbytes for t in rows.packed[:1].y.values())
    some = rows.packed[: max(1, SHOWN_BYTES // size)]
    lines = fitted.kind.lines(some.x)
    return as_inputs(fitted.kind, some, half), lines and [line[:LINE] for line in lines]


def half(*shape: int) -> Tensor:
    """Round pixels that are drawn each time they are seen: black or white, whichever is nearer."""
    return torch.full(shape, 0.5)
