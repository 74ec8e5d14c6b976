"""Pictures: arrays (N, H, W) or (N, H, W, channels), of bytes, of larger whole numbers, or of floats."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vaekit.domains.base import Domain
from vaekit.errors import UserError

BINARIZE = ("dynamic", "threshold")


@dataclass
class Images(Domain):
    """Schema of a set of pictures.

    Attributes:
        height, width, channels: of every picture; channels 0 for grey pictures without a channel axis.
        low, high: the values that become 0 and 1 for the model.
        dtype: NumPy type of the pictures, which they come back in.
        binarize: "dynamic": each pixel is drawn as a Bernoulli of its grey value, anew each time it is seen;
            "threshold": 1 where the grey value is above one half; None: grey values are kept.
    """

    height: int
    width: int
    channels: int
    low: float
    high: float
    dtype: str
    binarize: str | None = None

    kind: ClassVar[str] = "images"
    mean_samples: ClassVar[bool] = True

    @classmethod
    def infer(
        cls, rows: np.ndarray, *, standardize: bool = True, columns: Any = None, binarize: str | None = None
    ) -> Images:
        if rows.ndim not in (3, 4):
            raise UserError(f"pictures need an array (N, H, W) or (N, H, W, channels), got shape {rows.shape}")
        if binarize not in (None, *BINARIZE):
            raise UserError(f"binarize is {binarize!r}: choose one of {', '.join(BINARIZE)}")
        low, high = value_range(rows)
        channels = rows.shape[3] if rows.ndim == 4 else 0
        return cls(rows.shape[1], rows.shape[2], channels, low, high, str(rows.dtype), binarize)

    @staticmethod
    def default_likelihood(rows: np.ndarray, binarize: str | None = None) -> str:
        return "bernoulli" if binarize or ((rows == rows.min()) | (rows == rows.max())).all() else "normal"

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (self.channels or 1, self.height, self.width)

    @property
    def unit(self) -> Tensor:
        return torch.full((self.channels or 1,), 1.0 if self.binarize else self.high - self.low)

    def conform(self, rows: np.ndarray) -> np.ndarray:
        rows = widen(rows, self.channels)
        shape = (self.height, self.width, *([self.channels] if self.channels else []))
        if rows.shape[1:] != shape:
            raise UserError(f"pictures of shape {rows.shape[1:]} do not fit a model of pictures of shape {shape}")
        return rows

    def pack(
        self, rows: np.ndarray, dtype: torch.dtype = torch.float32, jitter: Any = None
    ) -> tuple[Tensor, Tensor | None]:
        rows = self.conform(rows)
        if rows.dtype != np.uint8:  # bytes stay bytes until a batch of them is used: a quarter of the memory
            rows = rows.astype(np.float64 if dtype == torch.float64 else np.float32)
        x = torch.from_numpy(np.ascontiguousarray(rows))
        x = x.movedim(-1, 1).contiguous() if self.channels else x.unsqueeze(1)
        if not x.is_floating_point() or not x.isnan().any():
            return x, None
        return x.nan_to_num(0.0), ~x.isnan()

    def batch(self, x: Tensor, uniform: Any = torch.rand, dtype: torch.dtype = torch.float32) -> Tensor:
        x = x.to(dtype)
        if (self.low, self.high) != (0.0, 1.0):
            x = (x - self.low) * (1 / (self.high - self.low))
        if self.binarize == "dynamic":
            return (uniform(*x.shape).to(x) < x).to(x)
        return (x > 0.5).to(x) if self.binarize else x

    def unpack(self, x: Tensor) -> np.ndarray:
        values = x.double().clamp(0, 1).cpu().numpy() * (self.high - self.low) + self.low
        if np.issubdtype(self.dtype, np.integer):
            values = np.rint(values)
        values = np.moveaxis(values, 1, -1) if self.channels else values[:, 0]
        return values.astype(self.dtype)

    def fill(self, rows: np.ndarray, x: Tensor) -> np.ndarray:
        """Pictures, their missing pixels as in x (N, *event)."""
        rows = self.conform(rows)
        return np.where(np.isnan(rows), self.unpack(x), rows) if rows.dtype.kind == "f" else rows

    def networks(self, size: str, network: str) -> tuple[Any, Any]:
        from vaekit.nets import MLP, ConvDecoder, ConvEncoder, conv, mlp

        if network == "mlp":
            net = partial(MLP, hidden=mlp.SIZES[size])
            return net, net
        options: Any = conv.SIZES[size]
        return partial(ConvEncoder, **options), partial(ConvDecoder, **options)


def widen(rows: np.ndarray, channels: int) -> np.ndarray:
    """Grey pictures as colour, pictures without transparency as opaque, where a model of more channels reads them."""
    if rows.ndim == 3 and channels in (3, 4):
        rows = np.repeat(rows[..., None], 3, axis=3)
    if rows.ndim == 4 and rows.shape[3] == 3 and channels == 4:
        opaque = np.iinfo(rows.dtype).max if rows.dtype.kind in "iu" else 1
        rows = np.concatenate([rows, np.full_like(rows[..., :1], opaque)], axis=3)
    return rows


def value_range(rows: np.ndarray) -> tuple[float, float]:
    """The values that stand for black and white. The type's own where it is plain (bytes, floats in 0..1), else the
    range of the data."""
    low, high = float(np.nanmin(rows)), float(np.nanmax(rows))
    if not np.isfinite([low, high]).all():
        where = tuple(np.argwhere(~np.isfinite(rows))[0].tolist())
        raise UserError(
            f"picture {where[0]} holds {rows[where]} at {where[1:]}: remove it, or use NaN for a missing pixel"
        )
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if rows.dtype == np.uint8 and high > 127:
        return 0.0, 255.0
    if np.issubdtype(rows.dtype, np.unsignedinteger):
        return 0.0, high
    return low, high if high > low else low + 1.0
