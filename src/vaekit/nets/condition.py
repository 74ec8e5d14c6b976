"""y -> features: labels, numeric vectors, several of them by name, and *unknown* for any."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

UNKNOWN = -1  # the code of an unknown label; an unknown number is NaN


class ConditionEmbedding(nn.Module):
    """Turns named conditions into one feature vector per row.

    Unknown labels have an embedding of their own, and a flag marks every unknown number, so both are learned.
    `vaekit.structures.marginal` sums over what is unknown instead, with `population`.

    Args:
        classes: name -> number of classes, for each label. A label is an int64 tensor (B,) of codes, -1 for unknown.
        numbers: name -> size, for each numeric vector: a float tensor (B, size), NaN for unknown.
        width: features per condition.

    Example:
        >>> from vaekit.nets import ConditionEmbedding
        >>> embed = ConditionEmbedding({"colour": 3}, {"size": 2}, width=8)
        >>> embed({"colour": torch.tensor([0, -1]), "size": torch.zeros(2, 2)}, rows=2).shape
        torch.Size([2, 16])
    """

    def __init__(
        self, classes: Mapping[str, int] | None = None, numbers: Mapping[str, int] | None = None, width: int = 32
    ):
        super().__init__()
        classes, numbers = dict(classes or {}), dict(numbers or {})
        # A ModuleDict takes no dots in its keys, and a column may well be named so: keep the names apart.
        self.class_names, self.number_names = list(classes), list(numbers)
        self.embeddings = nn.ModuleList(nn.Embedding(n + 1, width) for n in classes.values())
        self.projections = nn.ModuleList(nn.Linear(2 * size, width) for size in numbers.values())
        self.classes, self.sizes = list(classes.values()), list(numbers.values())
        self.features = width * (len(classes) + len(numbers))
        self.population: nn.Module | None = None  # p(y)

    def forward(self, y: Tensor | Mapping[str, Tensor] | None, rows: int) -> Tensor:
        """Features of B rows, (B, features). A name that is left out, or y None, is unknown for every row."""
        named = self.named(y)
        dtype, device = self._like.dtype, self._like.device
        parts = []
        for name, classes, embedding in zip(self.class_names, self.classes, self.embeddings, strict=True):
            code = named.get(name)
            if code is None:
                code = torch.full((rows,), UNKNOWN, device=device)
            parts.append(embedding(torch.where(code < 0, classes, code)))
        for name, size, projection in zip(self.number_names, self.sizes, self.projections, strict=True):
            value = named.get(name)
            if value is None:
                value = torch.full((rows, size), torch.nan, device=device)
            unknown = value.isnan()
            known_value = torch.where(unknown, 0.0, value).to(dtype)
            parts.append(projection(torch.cat([known_value, unknown.to(known_value)], dim=1)))
        return torch.cat(parts, dim=1)

    def named(self, y: Tensor | Mapping[str, Tensor] | None) -> Mapping[str, Tensor]:
        if y is None:
            return {}
        if isinstance(y, Mapping):
            return y
        names = self.class_names + self.number_names
        if len(names) != 1:
            raise ValueError(f"this model has the conditions {names}: give y as a dict by name")
        return {names[0]: y}

    @property
    def _like(self) -> Tensor:
        return next(self.parameters())


def forget(y: Mapping[str, Tensor], uniform: Tensor, rate: float) -> dict[str, Tensor]:
    """Set conditions to unknown at random, so that one model also learns p(x) and p(x | some of y).

    Args:
        y: name -> codes (B,) or values (B, size).
        uniform: (B, 1 + conditions) numbers in 0..1; the first column decides for all conditions of a row together,
            the others, where there are several conditions, for each by itself.
        rate: probability of either.
    """
    drop = uniform[:, :1] < rate
    drop = drop | (uniform < rate) if len(y) > 1 else drop.expand_as(uniform)
    out = {}
    for i, (name, value) in enumerate(y.items(), start=1):
        unknown = UNKNOWN if not value.is_floating_point() else torch.nan
        out[name] = torch.where(drop[:, i] if value.ndim == 1 else drop[:, i : i + 1], unknown, value)
    return out
