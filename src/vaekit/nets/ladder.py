"""The two networks of a ladder VAE: features of x from fine to coarse, and a pass over latents from coarse to fine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.nets.conv import MAX_WIDTH, ResidualBlock, halvings

ROW_LEVELS = 3  # a row of numbers is a picture of one pixel, and is never halved: it gets as many sizes as 28 x 28

Pick = Callable[[int, Tensor, Tensor | None], Tensor]
"""`pick(level, prior, posterior)` chooses z (n, channels, H, W) by the parameters, each (n, 2 * channels, H, W)."""


def picture_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """(columns,) -> (columns, 1, 1); (channels, H, W) as it is."""
    channels, height, width = (*shape, 1, 1) if len(shape) == 1 else shape
    return channels, height, width


def sizes_of(shape: Sequence[int]) -> list[tuple[int, int]]:
    """(height, width) from the data down to the coarsest."""
    return [(1, 1)] * (ROW_LEVELS + 1) if len(shape) == 1 else halvings(shape[1], shape[2])


def widths_of(width: int, sizes: Sequence[tuple[int, int]]) -> list[int]:
    """Channels at each size but the data's own: doubled at each halving, at most 8 times."""
    return [width * min(2**i, MAX_WIDTH) for i in range(len(sizes) - 1)]


class BottomUp(nn.Module):
    """x (B, *in_shape) -> its features at every size, coarsest first: each (B, channels, H, W)."""

    def __init__(self, in_shape: Sequence[int], condition_features: int, width: int):
        super().__init__()
        channels, *_ = self.in_shape = picture_shape(in_shape)
        self.downs, self.blocks = nn.ModuleList(), nn.ModuleList()
        for wider in widths_of(width, sizes_of(in_shape)):
            self.downs.append(nn.Conv2d(channels, wider, 3, stride=2, padding=1))
            self.blocks.append(ResidualBlock(wider, condition_features))
            channels = wider

    def forward(self, x: Tensor, c: Tensor | None = None) -> list[Tensor]:
        h, features = x.reshape(-1, *self.in_shape), []
        for down, block in zip(self.downs, self.blocks, strict=True):
            h = block(down(h), c)
            features.append(h)
        return features[::-1]


class Rung(nn.Module):
    """One level of z: a residual block, the parameters of p(z|h) and of q(z|h, features), and z put back into h.

    Both sets of parameters start at zero, so that every level starts by saying nothing and costing nothing.
    """

    def __init__(self, channels: int, latent_channels: int, condition_features: int):
        super().__init__()
        self.block = ResidualBlock(channels, condition_features)
        self.prior = zeroed(nn.Conv2d(channels, 2 * latent_channels, 1))
        self.merge = nn.Conv2d(2 * channels, channels, 1)
        self.posterior = zeroed(nn.Conv2d(channels, 2 * latent_channels, 3, padding=1))
        self.inject = nn.Conv2d(latent_channels, channels, 1)

    def forward(self, h: Tensor, c: Tensor | None, features: Tensor | None, level: int, pick: Pick) -> Tensor:
        h = self.block(h, c)
        act, posterior = F.silu(h), None
        if features is not None:
            posterior = self.posterior(F.silu(self.merge(torch.cat([act, F.silu(features)], dim=1))))
        return h + self.inject(pick(level, self.prior(act), posterior))


class TopDown(nn.Module):
    """The way down from a learned constant, which the condition shifts, over all levels of z to (n, *out_shape).

    Args:
        out_shape: of the output. condition_features: size of c; 0 for none.
        width: channels at half the picture's size.
        rungs: levels of z at each size.
        latent_channels: channels of z at each size, coarsest first.

    Attributes:
        shapes: (channels, H, W) of each level of z, coarsest first.
    """

    def __init__(
        self, out_shape: Sequence[int], condition_features: int, width: int, rungs: int, latent_channels: Sequence[int]
    ):
        super().__init__()
        self.out_shape, self.sizes = tuple(out_shape), sizes_of(out_shape)[::-1]
        widths = widths_of(width, self.sizes)[::-1]
        self.constant = nn.Parameter(torch.randn(widths[0], *self.sizes[0]) * 0.1)
        self.condition = nn.Linear(condition_features, widths[0]) if condition_features else None
        self.rungs, self.blocks, self.ups = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.shapes: list[tuple[int, int, int]] = []
        for size, latent, channels, narrower in zip(
            self.sizes, latent_channels, widths, [*widths[1:], picture_shape(out_shape)[0]], strict=False
        ):
            self.shapes += [(latent, *size)] * rungs
            self.rungs.append(nn.ModuleList(Rung(channels, latent, condition_features) for _ in range(rungs)))
            self.blocks.append(ResidualBlock(channels, condition_features))
            self.ups.append(nn.Conv2d(channels, 4 * narrower, 3, padding=1))  # four pictures of half the size

    def forward(self, n: int, c: Tensor | None, features: Sequence[Tensor] | None, pick: Pick) -> Tensor:
        """n rows. features: of x at every size, or None where z comes without x."""
        h = self.constant.expand(n, -1, -1, -1)
        if self.condition is not None:
            h = h + self.condition(c)[:, :, None, None]
        level = 0
        for i, (rungs, block, up) in enumerate(zip(self.rungs, self.blocks, self.ups, strict=True)):
            for rung in rungs:  # type: ignore[attr-defined]
                h = rung(h, c, None if features is None else features[i], level, pick)
                level += 1
            height, width = self.sizes[i + 1]
            h = F.pixel_shuffle(up(F.silu(block(h, c))), 2)[:, :, :height, :width]
        return h.reshape(n, *self.out_shape)


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
