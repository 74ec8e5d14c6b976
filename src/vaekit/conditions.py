"""What is known about a row: named labels and numeric vectors, their kinds, and how they become tensors.

The schema is plain values, written to a run's config. A label that is None, or a number that is NaN, is *unknown*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.errors import UserError, note
from vaekit.forms.conditions import (
    FAR,
    KINDS,
    Condition,
    Known,
    Label,
    Number,
    Picture,
    Seen,
    guess_kind,
    is_unknown,
    plain,
    scales,
)
from vaekit.nets.condition import ConditionEmbedding
from vaekit.nets.population import Population, is_code

__all__ = ["FAR", "Condition", "Conditions", "Label", "Number", "Picture", "Seen", "is_unknown", "plain", "scales"]

MAX_SEEN = 1000  # combinations of values that are kept


@dataclass
class Conditions(Known):
    """The named conditions of a model: how they are learned, and as tensors."""

    @classmethod
    def infer(cls, y: Mapping[str, np.ndarray], kinds: Mapping[str, str] | None = None) -> Conditions:
        """Learn the schema from name -> values (N,), (N, 1) or (N, size). `kinds` overrides the guess: "label" or "number"."""
        named = {}
        for name, values in y.items():
            kind = (kinds or {}).get(name) or guess_kind(np.asarray(values))
            if kind not in KINDS:
                raise UserError(
                    f"condition {name!r}: {kind!r} is not a kind of condition; choose from {', '.join(KINDS)}"
                )
            named[name] = KINDS[kind].infer(name, np.asarray(values))
        return cls(named)

    def pack(self, y: Mapping[str, Any], rows: int) -> dict[str, Tensor]:
        """Turn conditions into tensors; as `codes` does with arrays."""
        return {name: torch.from_numpy(values) for name, values in self.codes(y, rows).items()}

    def learn(self, y: Mapping[str, np.ndarray], packed: Mapping[str, Tensor]) -> None:
        """Learn which values go together, from name -> values of each row, and the same packed.

        It keeps all combinations, or `MAX_SEEN` evenly spaced rows if there are more.
        """
        flat = [v.double().where(v >= 0, torch.nan) if is_code(v) else v.double() for v in packed.values()]
        table = torch.cat([v.reshape(len(v), -1) for v in flat], dim=1).numpy()
        known = np.flatnonzero(~np.isnan(table).any(1))
        if not len(known):
            return note(
                f"no row has values for all of {', '.join(self.named)}, so vaekit cannot learn which values go together: where "
                "one of them is unknown, it uses what the model learned from rows without it"
            )
        _, first, counts = np.unique(table[known], axis=0, return_index=True, return_counts=True)
        if len(first) > MAX_SEEN:
            every = (np.arange(MAX_SEEN) + 0.5) / MAX_SEEN * len(known)
            kept, counts = np.unique(np.searchsorted(counts.cumsum(), every), return_counts=True)
            first = first[kept]
        conditions: Mapping[str, Any] = self.named
        self.seen = Seen(
            {name: conditions[name].listed(name, v, known[first]) for name, v in y.items()}, counts.tolist()
        )

    @property
    def population(self) -> Population | None:
        """The conditions that training rows had together, as tensors for a model."""
        if self.seen is None:
            return None
        return Population(self.pack(self.seen.values, len(self.seen.counts)), torch.tensor(self.seen.counts))

    def embedding(self) -> tuple[ConditionEmbedding | None, int]:
        """Make the module that turns these conditions into features. Also returns how many; None and 0 without conditions."""
        if not self.named:
            return None, 0
        labels = {name: c.size for name, c in self.named.items() if c.kind == "label"}
        numbers = {name: c.size for name, c in self.named.items() if c.kind == "number"}
        if pictures := self.named.keys() - labels.keys() - numbers.keys():
            raise UserError(f"condition {min(pictures)!r} is a picture, and only policies (--kind actions) can use one")
        condition = ConditionEmbedding(labels, numbers)
        condition.population = self.population
        return condition, condition.features

    def to_config(self) -> dict[str, Any]:
        return {name: {"kind": c.kind, **asdict(c)} for name, c in self.named.items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], seen: Mapping[str, Any] | None = None) -> Conditions:
        return cls(
            {name: KINDS[c["kind"]](**{k: v for k, v in c.items() if k != "kind"}) for name, c in config.items()},
            Seen(**seen) if seen else None,
        )
