"""Residual convolutional networks for pictures of any height, width and number of channels.

No normalisation layers: what a network says of a picture does not depend on the batch it is in. Each residual branch
starts at zero, so that a deep network starts as a shallow one (SkipInit, De & Smith 2020, arXiv 2002.10444).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZES = {  # channels at half the picture's size, and residual blocks per size
    "small": {"width": 16, "blocks": 1},
    "base": {"width": 32, "blocks": 1},
    "large": {"width": 64, "blocks": 3},
}
SMALLEST = 4  # pictures are halved until no side is longer than this
MAX_WIDTH = 8  # times the first width


def halvings(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes (height, width) from the picture down: each side halved, rounding up, at least once."""
    sizes = [(height, width)]
    while len(sizes) == 1 or max(sizes[-1]) > SMALLEST:
        h, w = sizes[-1]
        sizes.append(((h + 1) // 2, (w + 1) // 2))
    return sizes


class Conv(nn.Conv2d):
    """A convolution that also trains in bfloat16 where a side of the picture is 1.

    There oneDNN, which computes on CPUs, leaves parts of the weights' gradient as they lay in memory (seen in PyTorch 2.13), so
    that it is computed in 32 bits.
    """

    def forward(self, x: Tensor) -> Tensor:
        if 1 not in x.shape[2:]:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


class ResidualBlock(nn.Module):
    """x + conv(act(conv(act(x)) * (1 + scale(c)) + shift(c))), for (B, channels, H, W) and c (B, condition_features)."""

    def __init__(self, channels: int, condition_features: int):
        super().__init__()
        self.first = Conv(channels, channels, 3, padding=1)
        self.second = Conv(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]
        self.condition = nn.Linear(condition_features, 2 * channels) if condition_features else None

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        h = self.first(F.silu(x))
        if self.condition is not None:
            scale, shift = self.condition(c)[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        return x + self.second(F.silu(h))


class ConvEncoder(nn.Module):
    """A residual convolutional network for pictures of any size: (B, channels, H, W) -> (B, *out_shape).

    It has residual blocks at every size from half the picture down, and no normalisation layers.

    Args:
        in_shape: (channels, H, W). out_shape: shape of the output, flattened inside.
        condition_features: size of c, injected in every block; 0 for none.
        width: channels at the first size; doubled at each halving, at most 8 times.
        blocks: residual blocks per size.

    Example:
        >>> from vaekit.nets import ConvEncoder
        >>> ConvEncoder((1, 8, 8), (4,), width=4)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        condition_features: int = 0,
        *,
        width: int = SIZES["base"]["width"],
        blocks: int = SIZES["base"]["blocks"],
    ):
        super().__init__()
        self.out_shape = tuple(out_shape)
        channels, sizes = in_shape[0], halvings(in_shape[1], in_shape[2])
        self.downs, self.blocks = nn.ModuleList(), nn.ModuleList()
        for i in range(len(sizes) - 1):
            wider = width * min(2**i, MAX_WIDTH)
            self.downs.append(Conv(channels, wider, 3, stride=2, padding=1))
            self.blocks.append(nn.ModuleList(ResidualBlock(wider, condition_features) for _ in range(blocks)))
            channels = wider
        self.out = nn.Linear(channels * math.prod(sizes[-1]), math.prod(out_shape))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        for down, blocks in zip(self.downs, self.blocks, strict=True):
            x = down(x)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, c)
        return self.out(F.silu(x).flatten(1)).unflatten(1, self.out_shape)


class ConvDecoder(nn.Module):
    """A residual convolutional network in the opposite order: (B, *in_shape) -> (B, channels, H, W).

    The arguments are those of `ConvEncoder`, with out_shape (channels, H, W).

    Example:
        >>> from vaekit.nets import ConvDecoder
        >>> ConvDecoder((2,), (1, 8, 8), width=4)(torch.zeros(3, 2)).shape
        torch.Size([3, 1, 8, 8])
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        condition_features: int = 0,
        *,
        width: int = SIZES["base"]["width"],
        blocks: int = SIZES["base"]["blocks"],
    ):
        super().__init__()
        self.sizes = halvings(out_shape[1], out_shape[2])[::-1]
        widths = [width * min(2**i, MAX_WIDTH) for i in range(len(self.sizes) - 1)][::-1]
        self.start = (widths[0], *self.sizes[0])
        self.project = nn.Linear(math.prod(in_shape), math.prod(self.start))
        self.blocks, self.ups = nn.ModuleList(), nn.ModuleList()
        for channels, narrower in zip(widths, [*widths[1:], out_shape[0]], strict=True):
            self.blocks.append(nn.ModuleList(ResidualBlock(channels, condition_features) for _ in range(blocks)))
            # Four pictures of half the size, interleaved: cheaper than a convolution at the full size.
            self.ups.append(Conv(channels, 4 * narrower, 3, padding=1))

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        x = self.project(z.flatten(1)).unflatten(1, self.start)
        for (height, width), blocks, up in zip(self.sizes[1:], self.blocks, self.ups, strict=True):
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, c)
            x = F.pixel_shuffle(up(F.silu(x)), 2)[:, :, :height, :width]
        return x
