"""What a program that has no PyTorch has to know of a trained model: `model.json` of an export, and of the explorer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit import __version__
from vaekit.conditions import Condition, Conditions, Label, Number
from vaekit.deploy.graphs import Graph
from vaekit.fitted import Fitted
from vaekit.nets import ConditionEmbedding
from vaekit.training.data import Data, rows_at_once
from vaekit.uses.calibration import Calibration

FORMAT = 1  # of model.json: a program that knows a lower one only cannot read it
DTYPES = {torch.float32: "f32", torch.int32: "i32", torch.bool: "bool", torch.uint8: "u8"}


def manifest(fitted: Fitted, name: str, odd: Calibration | None, notes: list[str]) -> dict[str, Any]:
    """Everything but the graphs, as plain values.

    Args:
        name: of the model. odd: its score, and what its scores usually are. notes: what is not as a user would expect, a sentence each.
    """
    kind = fitted.kind
    return {
        "format": FORMAT,
        "vaekit": __version__,
        "name": name,
        "noun": kind.noun,
        "latent_dim": fitted.model.latent_dim,
        "seed": fitted.seed,
        "form": kind.form(),
        "conditions": [described(name, c, fitted.conditions) for name, c in fitted.conditions.named.items()],
        "seen": seen(fitted.conditions),
        "unknown": isinstance(fitted.model.condition, ConditionEmbedding),
        "mean_samples": kind.mean_samples,
        "path": kind.path,
        "score": {"name": odd.score.name, "rows": len(odd.scores)} if odd else None,
        "notes": notes,
    }


def described(name: str, condition: Condition, conditions: Conditions) -> dict[str, Any]:
    """A condition: what it may be, and where a person begins."""
    about: dict[str, Any] = {"name": name, "kind": condition.kind}
    values = conditions.seen.values[name] if conditions.seen else []
    if isinstance(condition, Label):
        counts = (
            np.bincount([condition.classes.index(v) for v in values], conditions.seen.counts)
            if conditions.seen
            else [0]
        )
        return about | {"classes": condition.classes, "start": int(np.argmax(counts))}
    if isinstance(condition, Number):
        mean, scale = np.asarray(condition.mean), np.asarray(condition.scale)
        known = (
            np.asarray(values, float).reshape(-1, len(mean))
            if values
            else np.stack([mean - 2 * scale, mean, mean + 2 * scale])
        )
        ends = {"low": known.min(0).tolist(), "high": known.max(0).tolist(), "start": np.median(known, 0).tolist()}
        return about | {"mean": condition.mean, "scale": condition.scale} | ends
    return about | {"height": condition.height, "width": condition.width}


def seen(conditions: Conditions) -> dict[str, Any] | None:
    """The values that conditions had together, and the number of training rows with each."""
    return {"values": conditions.seen.values, "counts": conditions.seen.counts} if conditions.seen else None


def signature(graph: Graph, given: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, Any]:
    """The inputs and outputs of a graph; a dimension that is free has a name. rows: how many fit into memory together."""
    x = torch.zeros(1, *graph.kind.event_shape)
    rows = rows_at_once(graph.model, Data(x, None, {}), graph.samples)
    return {
        "inputs": {name: {"dtype": DTYPES[t.dtype], "shape": shape(t, free(name, t))} for name, t in given.items()},
        "outputs": {name: {"dtype": DTYPES[t.dtype], "shape": shape(t, given_out(name))} for name, t in found.items()},
        "rows": rows,
    }


def free(name: str, t: Tensor) -> dict[int, str]:
    """The dimensions of an input that are free."""
    return {} if t.ndim == 0 else {0: "rows", 1: "draws"} if name == "draws" else {0: "rows"}


def given_out(name: str) -> dict[int, str]:
    """Describe an output of a graph."""
    return {0: "draws", 1: "rows"} if name == "filled" else {0: "rows"}


def shape(t: Tensor, names: Mapping[int, str]) -> list[int | str]:
    return [names.get(i, n) for i, n in enumerate(t.shape)]


def plain(value: Any) -> Any:
    """Turn what JSON does not know into plain values: numbers of NumPy, and dates."""
    return value.item() if hasattr(value, "item") else str(value)
