"""Fully connected networks that start without depth, and grow it: residual ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZES = {
    "small": {"width": 128, "blocks": 1},
    "base": {"width": 256, "blocks": 2},
    "large": {"width": 512, "blocks": 4},
}


class ResidualMLP(nn.Module):
    """A fully connected residual network: blocks h + W2 silu(W1 silu(h)), with W2 zero at first.

    So what it learns first is nearly linear (as in Goyal et al. 2017, arXiv 1706.02677). A VAE of columns that begins with deep networks
    leaves latent units dead that this one uses.

    Args:
        in_shape, out_shape: shapes of one row, flattened inside.
        condition_features: size of c, which is added within every block; 0 for none.
        width: width of the hidden layers. blocks: number of blocks.
        columns: number of columns of a row, for an encoder that sees which of them are missing; else 0.

    Example:
        >>> from vaekit.nets.residual import ResidualMLP
        >>> seen = torch.tensor([[True, False, True]])
        >>> ResidualMLP((3,), (4,), columns=3)(torch.zeros(1, 3), mask=seen).shape
        torch.Size([1, 4])
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        condition_features: int = 0,
        *,
        width: int = 256,
        blocks: int = 2,
        columns: int = 0,
    ):
        super().__init__()
        self.out_shape, self.columns = tuple(out_shape), columns
        self.sees_mask = columns > 0
        self.first = nn.Linear(math.prod(in_shape) + columns, width)
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.outer = nn.ModuleList(silent(width) for _ in range(blocks))
        self.conditions = nn.ModuleList(
            nn.Linear(condition_features, width) for _ in range(blocks) if condition_features
        )
        self.out = nn.Linear(width, math.prod(out_shape))

    def forward(self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """x (B, *in_shape), mask (B, columns), True where observed (None: all is) -> (B, *out_shape)."""
        h = x.flatten(1)
        if self.columns:
            h = torch.cat([h, h.new_ones(h.shape[0], self.columns) if mask is None else mask.to(h)], 1)
        h = self.first(h)
        for i, (inner, outer) in enumerate(zip(self.inner, self.outer, strict=True)):
            a = inner(F.silu(h))
            if c is not None:
                a = a + self.conditions[i](c)
            h = h + outer(F.silu(a))
        return self.out(F.silu(h)).unflatten(1, self.out_shape)


def silent(width: int) -> nn.Linear:
    """Make a layer whose output is 0 at first."""
    layer = nn.Linear(width, width)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
