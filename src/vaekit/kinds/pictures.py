"""Pictures: arrays (N, H, W), (N, H, W, channels) or (N, channels, H, W), of bytes, of larger whole numbers, or of floats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from vaekit.errors import note
from vaekit.files import write_atomically
from vaekit.forms.layout import (
    COLOURS,
    are_channels_first,
    as_pictures,
    channels_last,
    check_shape,
    extremes,
    laid_like,
    value_range,
)
from vaekit.kinds.base import Kind
from vaekit.settings.options import MODEL, Option
from vaekit.show.write import Names
from vaekit.sources.arrays import as_array
from vaekit.structures.semi_supervised import jolted

if TYPE_CHECKING:
    from markupsafe import Markup

PREVIEW_SIDE = 64  # larger pictures are shrunk to this, so that a page stays small
PREVIEW_WIDTH = 620  # screen pixels that pictures beside each other may take
SMALL = 1024  # values of a picture
MOST_PAIRS = 64  # pictures beside their reconstructions in a grid
FEW, FEW_VALUES = 0.05, 0.01  # share of the pictures, and of the values of each, that may be hot pixels


@dataclass
class Images(Kind):
    """Schema of a set of pictures.

    Attributes:
        height, width, channels: of every picture; channels 0 for grey pictures without a channel axis.
        low, high: the values that become 0 and 1 for the model, and black and white where pictures are shown.
        dtype: NumPy type of the pictures, which they come back in.
        binarize: "dynamic": each time a pixel is seen, it is drawn as a Bernoulli of its grey value;
            "threshold": 1 where the grey value is above one half; None: grey values are kept.
        channels_first: pictures are (N, channels, H, W), and come back so.
        limits: the least and the largest value that pictures come back with; None: low and high.
    """

    height: int
    width: int
    channels: int
    low: float
    high: float
    dtype: str
    binarize: str | None = None
    channels_first: bool = False
    limits: list[float] | None = None

    name: ClassVar[str] = "images"
    noun: ClassVar[str] = "pictures"
    row: ClassVar[str] = "picture"
    task: ClassVar[str] = "unconditional-image-generation"
    score: ClassVar[str] = "path"
    mean_samples: ClassVar[bool] = True
    fills: ClassVar[bool] = True
    endings: ClassVar[Sequence[str]] = (".png", ".gif", *Kind.endings)

    @classmethod
    def infer(
        cls, rows: np.ndarray, standardize: bool = True, columns: Any = None, *,
        binarize: Annotated[Literal["dynamic", "threshold"] | None, Option("Make pictures black and white.", MODEL)] = None,
    ) -> Images:  # fmt: skip
        """See `Kind.infer`. binarize: "dynamic" draws each pixel as a Bernoulli of its grey value each time it is seen;
        "threshold" makes it 1 above one half."""
        check_shape(rows)
        first = layout(rows)
        shape = channels_last(rows, first).shape[1:]
        least, most = extremes(rows)
        far = dazzling(rows) if standardize or binarize else None
        low, high = value_range(rows, far)
        limits = None if low <= least and most <= high else [min(low, least), max(high, most)]
        note_range(rows, far, low, high)
        channels = shape[2] if len(shape) == 3 else 0
        return cls(shape[0], shape[1], channels, low, high, str(rows.dtype), binarize, first, limits)

    @classmethod
    def recognises(cls, X: Any, likelihood: str) -> bool:
        return getattr(X, "ndim", 2) > 2

    @classmethod
    def check(cls, X: Any, **options: Any) -> np.ndarray:
        return as_pictures(as_array(X))

    @classmethod
    def default_likelihood(cls, rows: np.ndarray, **options: Any) -> str:
        low, high = extremes(rows)
        return (
            "bernoulli"
            if options.get("binarize") or ((rows == low) | (rows == high) | np.isnan(rows)).all()
            else "normal"
        )

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (self.channels or 1, self.height, self.width)

    @property
    def unit(self) -> Tensor:
        return torch.full((self.channels or 1,), 1.0 if self.binarize else self.high - self.low)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one picture, in the user's own layout."""
        if not self.channels:
            return (self.height, self.width)
        return self.event_shape if self.channels_first else (self.height, self.width, self.channels)

    perturb = staticmethod(jolted)

    def classifier_network(self, size: str, network: str) -> str:
        """ "mlp" for pictures of few values: MLPs do as well there, and are many times faster."""
        return "mlp" if network == "auto" and math.prod(self.event_shape) <= SMALL else network

    @property
    def extent(self) -> str:
        return f"{'x'.join(map(str, self.event_shape))} pictures (channels x height x width)"

    def conform(self, rows: np.ndarray) -> np.ndarray:
        """Give pictures the axes and channels of the training pictures. UserError if they do not fit."""
        return laid_like(rows, self.shape, self.channels, self.channels_first)

    def shown(self, rows: np.ndarray) -> np.ndarray:
        """Make pictures that can be shown, (N, H, W) or (N, H, W, C) with C of 1, 3 or 4. If there are other channels, keep the first."""
        rows = channels_last(rows, self.channels_first)
        if rows.ndim == 3 or rows.shape[3] in COLOURS:
            return rows
        return rows[..., : 3 if rows.shape[3] > 3 else 1]

    @property
    def in_words(self) -> str:
        colours = {0: "grey", 1: "grey", 3: "colour", 4: "colour and transparency"}
        others = f"{self.channels} channels, of which the first {min(3, self.channels - 1)} are shown"
        return f"pictures of {self.width}×{self.height} pixels, {colours.get(self.channels, others)}"

    @property
    def preview_rows(self) -> int:
        """9, or as many as fit. It is odd, so that there is a middle."""
        from vaekit.show.drawing import PLEASANT_SIDE

        width = self.width * min(1.0, PREVIEW_SIDE / max(self.height, self.width))
        fits = int(PREVIEW_WIDTH / max(width, PLEASANT_SIDE))
        return min(9, max(3, fits - 1 + fits % 2))

    def preview(self, rows: np.ndarray, label: str) -> Markup:
        from vaekit.show.drawing import grid, picture, shrink

        small = shrink(self.shown(rows), PREVIEW_SIDE, self.low, self.high)
        image = grid(small, self.preview_rows, low=0, high=255, background=None)
        # Colour pictures of some size would make a page of many megabytes; small ones have to stay sharp.
        return picture(image, label, lossy=small.shape[3] > 1 and max(small.shape[1:3]) > 40)

    def thumbnails(self, x: Tensor, side: int = 32) -> np.ndarray:
        from vaekit.show.drawing import shrink

        colours = 3 if x.shape[1] >= 3 else 1
        return shrink(x[:, :colours].movedim(1, 3).cpu().numpy(), side, 0, 1)

    def pack(
        self, rows: np.ndarray, dtype: torch.dtype = torch.float32, jitter: Any = None
    ) -> tuple[Tensor, Tensor | None]:
        rows = self.conform(rows)
        if rows.dtype != np.uint8:  # bytes stay bytes until a batch of them is used: a quarter of the memory
            rows = rows.astype(np.float64 if dtype == torch.float64 else np.float32)
        rows = np.moveaxis(channels_last(rows, self.channels_first), 3, 1) if self.channels else rows[:, None]
        x = torch.from_numpy(np.require(rows, requirements=["C", "W"]))
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
        values = x.double().cpu().numpy() * (self.high - self.low) + self.low
        values = values.clip(*(self.limits or (self.low, self.high)))
        if np.dtype(self.dtype).kind != "f":
            values = np.rint(values)
        return self.laid_out(values).astype(self.dtype)

    def form(self) -> dict[str, Any]:
        """See `Kind.form`. Pixels that are drawn each time they are seen (binarize: "dynamic") are cut at one half instead: so a picture has
        one code and one score, whatever the machine's random numbers."""
        low, high = self.limits or (self.low, self.high)
        return {
            "type": "array",
            "view": "picture",
            "shape": list(self.shape),
            "event": list(self.event_shape),
            "axes": "hw" if not self.channels else "chw" if self.channels_first else "hwc",
            "mean": [self.low],
            "scale": [self.high - self.low],
            "low": low,
            "high": high,
            "step": None if np.dtype(self.dtype).kind == "f" else 1,
            "dtype": self.dtype,
            "columns": None,
            "binarize": "threshold" if self.binarize else None,
            "black": self.low,
            "white": self.high,
        }

    def laid_out(self, values: np.ndarray) -> np.ndarray:
        """Move values (N, *event_shape) to the user's own axes."""
        if not self.channels:
            return values[:, 0]
        return values if self.channels_first else channels_last(values, True)

    def contributions(self, found: np.ndarray) -> np.ndarray:
        return self.laid_out(found)

    def fill(self, rows: np.ndarray, x: Tensor) -> np.ndarray:
        """Fill missing pixels from x (N, *event)."""
        rows = self.conform(rows)
        return np.where(np.isnan(rows), self.unpack(x), rows) if rows.dtype.kind == "f" else rows

    def write(self, path: Path, rows: np.ndarray, names: Names = None, columns: int | None = None) -> None:
        """See `Kind.write`. A .png shows all pictures in a grid, and a .gif shows one picture per frame."""
        if path.suffix.lower() not in (".png", ".gif"):
            return super().write(path, rows, names)
        from vaekit.show.drawing import grid, save_gif

        if self.channels not in (0, *COLOURS):
            note(
                f"pictures have {self.channels} channels, and {path.name} shows the first {min(3, self.channels - 1)}: write .npy for all"
            )
        show = partial(grid, low=self.low, high=self.high)
        rows = self.shown(rows)
        if path.suffix.lower() == ".png":
            image = show(rows, columns=columns)
            write_atomically(path, lambda p: image.save(p, format="PNG"))
        else:
            frames = [show(row[None], columns=1) for row in rows]
            write_atomically(path, lambda p: save_gif(frames, p))

    def write_reconstructions(self, path: Path, rows: np.ndarray, rebuilt: np.ndarray, names: Names = None) -> str:
        if path.suffix.lower() != ".png":
            return super().write_reconstructions(path, rows, rebuilt, names)
        n = min(len(rows), MOST_PAIRS)
        pairs = np.stack([rows[:n].astype(rebuilt.dtype), rebuilt[:n]], axis=1).reshape(-1, *rebuilt.shape[1:])
        self.write(path, pairs, columns=16 if n > 4 else 2)
        return f"{n} of {len(rows)} pictures, each beside its reconstruction,"

    def write_path(self, path: Path, ends: Sequence[Any], rows: np.ndarray) -> None:
        self.write(path, rows, columns=len(rows))

    def networks(self, size: str, network: str) -> tuple[Any, Any]:
        from vaekit.nets import MLP, ConvDecoder, ConvEncoder, conv, mlp

        if network == "mlp":
            net = partial(MLP, hidden=mlp.SIZES[size])
            return net, net
        options: Any = conv.SIZES[size]
        return partial(ConvEncoder, **options), partial(ConvDecoder, **options)


def layout(rows: np.ndarray) -> bool:
    """Whether training pictures have their channels first; a note says what was guessed."""
    shape = rows.shape[1:]
    first = are_channels_first(shape)
    if first:
        note(f"pictures of shape {shape} were taken to have their channels first: (channels, height, width)")
    elif len(shape) == 3 and (shape[2] not in COLOURS or (shape[0] in COLOURS and shape[2] > 1)):
        note(
            f"pictures of shape {shape} were taken to have their channels last: (height, width, channels); "
            "if they have them first, give np.moveaxis(X, 1, 3)"
        )
    return first


def note_range(rows: np.ndarray, far: np.ndarray | None, low: float, high: float) -> None:
    """Tell the user which values count as black and white, unless these are the usual ones."""
    least, most = extremes(rows)
    if least == most:
        note(f"every pixel of all pictures is {least:g}: there is nothing to learn")
    elif far is not None:
        picture, *place = np.argwhere(far)[0].tolist()
        holders = far.any(tuple(range(1, far.ndim))).sum()
        note(
            f"values far beyond the others, such as {rows[picture, *place]:g} at {tuple(place)} of picture {picture} (the first is 0), do "
            f"not count for black ({low:g}) and white ({high:g}): they are {far.sum()} of {far.size}, in {holders} of {len(rows)} "
            "pictures; put NaN in their place if they are faults of the camera"
        )
    elif (low, high) not in ((0, 1), (0, 255)) and (
        (low >= 0 and high <= 1) or (rows.dtype == np.uint8 and high > 127)
    ):
        note(f"the pictures hold values from {low:g} to {high:g} only, so these two count as black and white")


def dazzling(rows: np.ndarray) -> np.ndarray | None:
    """Find hot and dead pixels, which must not set the range of all pictures: bool like rows, or None if there are none.

    Their values are far beyond those of the other pictures, few in each picture, and in few pictures or the same in all.
    """
    flat = rows.reshape(len(rows), -1)
    few_values = max(2, FEW_VALUES * flat.shape[1])
    stuck = np.fmin.reduce(flat, axis=0) == np.fmax.reduce(flat, axis=0)
    counted = flat[:, ~stuck] if 0 < stuck.sum() <= min(few_values, len(stuck) - 1) else flat
    bottoms, tops = np.fmin.reduce(counted, axis=1), np.fmax.reduce(counted, axis=1)
    bottoms, tops = (np.sort(ends[~np.isnan(ends)]).astype(float) for ends in (bottoms, tops))
    few = int(FEW * len(tops))
    if not few:
        return None
    low, high = bottoms[few], tops[-1 - few]
    spread = high - low
    least, most = extremes(rows)
    if least >= low - spread and most <= high + spread:
        return None
    far = (flat < low - spread) | (flat > high + spread)
    if not spread > 0 or not far.any():
        return None
    if far.sum(1).max() <= few_values:
        return far.reshape(rows.shape)
    odd = np.flatnonzero(far.any(1))
    note(
        f"{len(odd)} of {len(rows)} pictures, such as picture {odd[0]} (the first is 0), hold many values far beyond those of the others "
        f"({low:g} to {high:g}), which sets black to {least:g} and white to {most:g}: if these values are mistakes, leave the "
        "pictures out or put NaN in place of the values"
    )
    return None
