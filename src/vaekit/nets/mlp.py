"""Fully connected networks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

SIZES = {"small": (128,), "base": (256, 256), "large": (1024, 1024, 1024)}


def linear(in_features: int, out_features: int) -> nn.Linear:
    """As `nn.Linear`, without its warning that no features, such as those of a latent of 0 units, have no weights to draw."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")
        return nn.Linear(in_features, out_features)


class MLP(nn.Module):
    """Linear layers with an activation between them; the condition is added before every activation.

    Args:
        in_shape, out_shape: shapes of one row, flattened inside.
        condition_features: size of c; 0 for none.
        hidden: widths of the hidden layers.

    Example:
        >>> from vaekit.nets import MLP
        >>> MLP((3,), (4,))(torch.zeros(2, 3)).shape
        torch.Size([2, 4])
        >>> MLP((3,), (4,), 5)(torch.zeros(2, 3), torch.zeros(2, 5)).shape  # with a condition
        torch.Size([2, 4])
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        condition_features: int = 0,
        *,
        hidden: Sequence[int] = SIZES["base"],
    ):
        super().__init__()
        widths = [math.prod(in_shape), *hidden]
        self.out_shape = tuple(out_shape)
        self.layers = nn.ModuleList(linear(a, b) for a, b in pairwise(widths))
        self.conditions = nn.ModuleList(nn.Linear(condition_features, b) for b in hidden if condition_features)
        self.out = nn.Linear(widths[-1], math.prod(out_shape))
        self.activation = nn.ReLU()

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        h = x.flatten(1)
        for i, layer in enumerate(self.layers):
            h = layer(h)
            if c is not None:
                h = h + self.conditions[i](c)
            h = self.activation(h)
        return self.out(h).unflatten(1, self.out_shape)
