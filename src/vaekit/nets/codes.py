"""The networks of a quantised VAE: data <-> a small map of vectors, and a causal network over a sequence of codes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.nets.conv import MAX_WIDTH, ResidualBlock
from vaekit.nets.mlp import MLP

LOGIT_SPEED = 5.0  # logits of codes move this much faster than a weight: codes move while it learns, and it must follow


def map_sizes(shape: Sequence[int], side: int) -> list[tuple[int, int]]:
    """(height, width) from the picture down: halved, rounding up, at least once and until no side is over `side`."""
    sizes = [(shape[1], shape[2])]
    while len(sizes) == 1 or max(sizes[-1]) > side:
        h, w = sizes[-1]
        sizes.append(((h + 1) // 2, (w + 1) // 2))
    return sizes


class MapEncoder(nn.Module):
    """Pictures (B, *in_shape) -> vectors (B, dim, h, w): residual blocks at every size, the last of them the map's."""

    def __init__(
        self, in_shape: Sequence[int], dim: int, condition_features: int, *, side: int, width: int, blocks: int
    ):
        super().__init__()
        channels = in_shape[0]
        self.downs, self.blocks = nn.ModuleList(), nn.ModuleList()
        for i in range(len(map_sizes(in_shape, side)) - 1):
            wider = width * min(2**i, MAX_WIDTH)
            self.downs.append(nn.Conv2d(channels, wider, 3, stride=2, padding=1))
            self.blocks.append(nn.ModuleList(ResidualBlock(wider, condition_features) for _ in range(blocks)))
            channels = wider
        self.out = nn.Conv2d(channels, dim, 1)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        for down, blocks in zip(self.downs, self.blocks, strict=True):
            x = down(x)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, c)
        return self.out(F.silu(x))


class MapDecoder(nn.Module):
    """Vectors (B, dim, h, w) -> pictures (B, *out_shape): the encoder's sizes in the opposite order."""

    def __init__(
        self, out_shape: Sequence[int], dim: int, condition_features: int, *, side: int, width: int, blocks: int
    ):
        super().__init__()
        self.sizes = map_sizes(out_shape, side)[::-1]
        widths = [width * min(2**i, MAX_WIDTH) for i in range(len(self.sizes) - 1)][::-1]
        self.project = nn.Conv2d(dim, widths[0], 3, padding=1)
        self.blocks, self.ups = nn.ModuleList(), nn.ModuleList()
        for channels, narrower in zip(widths, [*widths[1:], out_shape[0]], strict=True):
            self.blocks.append(nn.ModuleList(ResidualBlock(channels, condition_features) for _ in range(blocks)))
            self.ups.append(nn.Conv2d(channels, 4 * narrower, 3, padding=1))  # four pictures of half the size

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        x = self.project(z)
        for (height, width), blocks, up in zip(self.sizes[1:], self.blocks, self.ups, strict=True):
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, c)
            x = F.pixel_shuffle(up(F.silu(x)), 2)[:, :, :height, :width]
        return x


class RowEncoder(MLP):
    """Rows (B, *in_shape) -> vectors (B, dim, 1, side)."""

    def __init__(
        self, in_shape: Sequence[int], dim: int, condition_features: int, *, side: int, width: int, blocks: int
    ):
        super().__init__(in_shape, (dim, 1, side), condition_features, hidden=[8 * width] * (1 + blocks))


class RowDecoder(MLP):
    """Vectors (B, dim, 1, side) -> rows (B, *out_shape)."""

    def __init__(
        self, out_shape: Sequence[int], dim: int, condition_features: int, *, side: int, width: int, blocks: int
    ):
        super().__init__((dim, 1, side), out_shape, condition_features, hidden=[8 * width] * (1 + blocks))


class CausalNetwork(nn.Module):
    """Codes (n, positions) of a map, row after row -> logits (n, positions, codes): each from the codes before it.

    Causal convolutions over the sequence, by turns along the row and along the column (a dilation of the map's width),
    as many as it takes for the last code to depend on all others. The logits start at zero: every code is equally
    likely at first.

    Args:
        height, width: of the map.
        codes: how many there are.
        condition_features: size of c, which shifts and scales every block; 0 for none.
        channels: of the hidden layers.
    """

    def __init__(self, height: int, width: int, codes: int, condition_features: int, channels: int):
        super().__init__()
        self.embedding = nn.Embedding(codes, channels)
        self.position = nn.Parameter(torch.randn(channels, height * width) * 0.1)
        pairs = max(1, math.ceil((max(height, width) - 1) / 2))  # a kernel of 3 reaches two steps
        dilations = ([1, width] if height > 1 else [1]) * pairs
        self.blocks = nn.ModuleList(CausalBlock(channels, d, condition_features) for d in dilations)
        self.out = nn.Conv1d(channels, codes, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, codes: Tensor, c: Tensor | None = None) -> Tensor:
        """codes (n, length), length up to the number of positions: the logits of the first ones need no others."""
        h = F.pad(self.embedding(codes).mT[:, :, :-1], (1, 0)) + self.position[:, : codes.shape[1]]
        for block in self.blocks:
            h = block(h, c)
        return LOGIT_SPEED * self.out(F.silu(h)).mT


class CausalBlock(nn.Module):
    """x + conv(act(conv over this and two earlier places of act(x)), shifted and scaled by c), (n, channels, length)."""

    def __init__(self, channels: int, dilation: int, condition_features: int):
        super().__init__()
        self.first = nn.Conv1d(channels, channels, 3, dilation=dilation)
        self.second = nn.Conv1d(channels, channels, 1)
        self.past = 2 * dilation
        self.condition = nn.Linear(condition_features, 2 * channels) if condition_features else None

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        h = self.first(F.pad(F.silu(x), (self.past, 0)))
        if self.condition is not None:
            scale, shift = self.condition(c)[:, :, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        return x + self.second(F.silu(h))
