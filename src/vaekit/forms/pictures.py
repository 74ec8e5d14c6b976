"""Pictures: arrays (N, H, W), (N, H, W, channels) or (N, channels, H, W)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vaekit.forms.array import Array
from vaekit.forms.base import Packed, as_numbers, observed
from vaekit.forms.layout import as_pictures, channels_last, laid_like


@dataclass
class Pictures(Array):
    """Pictures of one size. The model sees (channels, H, W), from 0 (black) to 1 (white).

    Attributes:
        binarize: "threshold": the model sees 1 above one half, else 0; None: it sees grey values.
        black, white: the values that are black and white.
    """

    binarize: str | None = None
    black: float = 0.0
    white: float = 1.0

    media: ClassVar[tuple[str, ...]] = ("npy", "png")

    @property
    def channels(self) -> int:
        return self.event[0] if len(self.shape) == 3 else 0

    def conformed(self, X: Any) -> np.ndarray:
        return laid_like(as_pictures(as_numbers(X)), tuple(self.shape), self.channels, self.axes == "chw")

    def pack(self, X: Any) -> Packed:
        rows = self.conformed(X)
        rows = np.moveaxis(channels_last(rows, self.axes == "chw"), 3, 1) if self.channels else rows[:, None]
        x, mask = observed(rows)
        # As `vaekit.kinds.pictures` computes it, to the bit: what is exactly grey has to fall on the same side.
        x = (x - np.float32(self.black)) * np.float32(1 / (self.white - self.black))
        return (x > 0.5).astype(np.float32) if self.binarize else x, mask

    def unpack(self, x: np.ndarray) -> np.ndarray:
        return self.laid_out(self.values(x)).astype(self.dtype)

    def laid_out(self, values: np.ndarray) -> np.ndarray:
        """Move values (N, *event) to people's axes."""
        if not self.channels:
            return values[:, 0]
        return values if self.axes == "chw" else channels_last(values, True)

    def fill(self, X: Any, x: np.ndarray) -> np.ndarray:
        rows = self.conformed(X)
        return np.where(np.isnan(rows), self.unpack(x), rows) if rows.dtype.kind == "f" else rows
