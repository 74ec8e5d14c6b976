"""Where a token stands, as features: DETR's embeddings of a picture's pixels, and the table of a sequence.

DETR: Carion et al. 2020, arXiv 2005.12872. Both embeddings are called with a mask (B, H, W), or, where nothing is
masked, as `grid(height, width)`, which gives the same for one row and needs no mask.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn


def check_mask(mask: Tensor) -> None:
    if mask.dtype != torch.bool or mask.ndim != 3:
        shape = tuple(mask.shape)
        raise ValueError(
            f"mask is {mask.dtype} {shape}: give bool (batch, height, width), True where a pixel is padding"
        )


def check_positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise ValueError(f"{name} is {number}: give a positive number")


class PositionEmbeddingSine(nn.Module):
    """Sines and cosines of a pixel's row and column, each counted from 1 over the pixels that are not padding.

    The numbers are those of DETR's published embedding.

    Args:
        num_features: features each for y and x, even. Channels are y's first, then x's; sine and cosine in turn.
        temperature: the longest period is nearly this times the shortest, 2 pi.
        normalize: counts run up to `scale` for every size of the picture.
        scale: 2 pi if None; only with `normalize`.

    Raises:
        ValueError: num_features is odd or not positive, or scale is given without normalize.

    Source: DETR, Carion et al. 2020, arXiv 2005.12872.

    Example:
        >>> from vaekit.nets import PositionEmbeddingSine
        >>> mask = torch.zeros(2, 15, 20, dtype=torch.bool)  # (B, H, W), True where a pixel is padding
        >>> PositionEmbeddingSine(128, normalize=True)(mask).shape
        torch.Size([2, 256, 15, 20])
        >>> PositionEmbeddingSine(2).grid(1, 1).flatten()  # sin 1, cos 1 for y, then for x
        tensor([0.8415, 0.5403, 0.8415, 0.5403])
    """

    like: Tensor

    def __init__(
        self, num_features: int, temperature: float = 10000, normalize: bool = False, scale: float | None = None
    ):
        super().__init__()
        check_positive(num_features=num_features, temperature=temperature)
        if num_features % 2:
            raise ValueError(f"num_features is {num_features}: give an even number, for sines and cosines in pairs")
        if scale is not None and not normalize:
            raise ValueError(f"scale={scale} without normalize: set normalize=True, or leave scale out")
        self.num_features, self.temperature = num_features, temperature
        self.scale = (2 * math.pi if scale is None else scale) if normalize else None
        self.register_buffer("like", torch.empty(0), persistent=False)  # follows the module's device and precision

    def forward(self, mask: Tensor) -> Tensor:
        """Embed pixels: mask (B, H, W) bool, True = padding -> (B, 2 * num_features, H, W), on the mask's device.

        It is computed anew for each mask: to look whether anything is masked would wait for the device, and would branch on
        data in an exported graph. If you know that nothing is masked, call `grid`.
        """
        check_mask(mask)
        return embed(mask, self.num_features, self.temperature, self.scale).to(self.like.dtype)

    def grid(self, height: int, width: int) -> Tensor:
        """The embedding if nothing is masked, (1, 2 * num_features, height, width). It is kept from call to call: do not write to it."""
        size = (height, width, self.num_features, self.temperature, self.scale, self.like.device, self.like.dtype)
        # What a tracer makes is not a tensor to keep.
        return empty_grid.__wrapped__(*size) if torch.compiler.is_compiling() else empty_grid(*size)


def embed(mask: Tensor, num_features: int, temperature: float, scale: float | None) -> Tensor:
    """(B, H, W) -> (B, 2 * num_features, H, W) in float32, in DETR's order of operations."""
    exponents = torch.arange(0, num_features, 2, dtype=torch.float32, device=mask.device) / num_features
    periods = (temperature**exponents)[:, None, None]  # (F/2, 1, 1)
    blocks = []
    for axis in (1, 2):
        count = (~mask).cumsum(axis, dtype=torch.float32)  # (B, H, W)
        if scale is not None:
            count = count / (count.narrow(axis, -1, 1) + 1e-6) * scale
        angles = count[:, None] / periods  # (B, F/2, H, W)
        blocks.append(torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1, 2))  # (B, F, H, W)
    return torch.cat(blocks, dim=1)


@lru_cache(maxsize=32)
def empty_grid(
    height: int,
    width: int,
    num_features: int,
    temperature: float,
    scale: float | None,
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    with torch.inference_mode(False):  # first made while predicting, it must also serve training
        mask = torch.zeros(1, height, width, dtype=torch.bool, device=device)
        return embed(mask, num_features, temperature, scale).to(dtype)


class PositionEmbeddingLearned(nn.Module):
    """A learned vector for each column and for each row of a picture.

    Args:
        num_features: features each for x and y. Channels are x's (columns) first, then y's (rows).
        max_size: the largest height and width.

    Raises:
        ValueError: a picture is larger than max_size.

    Source: DETR, Carion et al. 2020, arXiv 2005.12872.

    Example:
        >>> from vaekit.nets import PositionEmbeddingLearned
        >>> PositionEmbeddingLearned(4, max_size=50).grid(15, 20).shape
        torch.Size([1, 8, 15, 20])
    """

    def __init__(self, num_features: int, max_size: int = 50):
        super().__init__()
        check_positive(num_features=num_features, max_size=max_size)
        self.row_embed, self.col_embed = (nn.Embedding(max_size, num_features) for _ in range(2))
        for table in (self.row_embed, self.col_embed):
            nn.init.uniform_(table.weight)

    def forward(self, mask: Tensor) -> Tensor:
        """Embed pixels: mask (B, H, W) bool, of which only the shape counts -> (B, 2 * num_features, H, W)."""
        check_mask(mask)
        batch, height, width = mask.shape
        return self.grid(height, width).expand(batch, -1, -1, -1)

    def grid(self, height: int, width: int) -> Tensor:
        """The embedding of one picture, (1, 2 * num_features, height, width)."""
        max_size = self.row_embed.num_embeddings
        if max(height, width) > max_size:
            raise ValueError(
                f"a map of {height} x {width} (height x width) is larger than max_size {max_size}: "
                f"build PositionEmbeddingLearned with max_size={max(height, width)} or more, or shrink the pictures"
            )
        x = self.col_embed.weight[:width].T[:, None].expand(-1, height, -1)  # (F, H, W)
        y = self.row_embed.weight[:height].T[:, :, None].expand(-1, -1, width)  # (F, H, W)
        return torch.cat([x, y])[None]


def sinusoid_table(length: int, width: int) -> Tensor:
    """Positions of a sequence's tokens (length, width): sines and cosines in turn, periods from 2 pi to 20000 pi.

    Vaswani et al. 2017, arXiv 1706.03762, counted from 0; computed in float64 and given in float32, as ACT's.
    """
    check_positive(length=length, width=width)
    exponents = torch.arange(0, width, 2, dtype=torch.float64) / width
    angles = torch.arange(length, dtype=torch.float64)[:, None] / 10000**exponents  # (length, ceil(width / 2))
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width].float()
