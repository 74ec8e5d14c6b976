"""Coupling layers for zuko's flows that never ask the device where they split: zuko looks for that in a mask at every call."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Size, Tensor, nn
from torch.distributions import Transform
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.lazy import LazyComposedTransform
from zuko.transforms import CouplingTransform


class EveryOther(CouplingTransform):
    """A map of every other unit, from unit `1 - first` on, that depends on the units from `first` on, which it leaves alone."""

    def __init__(self, meta: Any, first: int):
        Transform.__init__(self)
        self.meta, self.first = meta, first

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[..., self.first :: 2], x[..., 1 - self.first :: 2]

    def merge(self, x_a: Tensor, x_b: Tensor, shape: Size) -> Tensor:
        x = x_a.new_empty(shape)
        x[..., self.first :: 2], x[..., 1 - self.first :: 2] = x_a, x_b
        return x


class Coupling(GeneralCouplingTransform):
    """A layer of `EveryOther`. Its options are zuko's."""

    def __init__(self, features: int, context: int, first: int, **options: Any):
        super().__init__(features, context, mask=torch.arange(features) % 2 == first, **options)
        self.first = first

    def forward(self, c: Tensor | None = None) -> EveryOther:
        return EveryOther(partial(self.meta, c), self.first)


def real_nvp(features: int, context: int, transforms: int, hidden: Sequence[int]) -> nn.Module:
    """Affine coupling layers that take turns in which half they map (RealNVP, Dinh et al. 2017, arXiv 1605.08803)."""
    options: dict[str, Any] = {"hidden_features": tuple(hidden), "activation": nn.SiLU}
    if features < 2:  # nothing to split
        return LazyComposedTransform(
            *(GeneralCouplingTransform(features, context, **options) for _ in range(transforms))
        )
    return LazyComposedTransform(*(Coupling(features, context, i % 2, **options) for i in range(transforms)))
