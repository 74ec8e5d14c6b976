"""Arrays of pictures to files: grids, data URIs, animations."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vaekit.domains.images import value_range

PLEASANT_SIDE = 56  # screen pixels: smaller pictures are enlarged to about this
MISSING = 128  # the grey of a pixel that is NaN


def grid(
    images: np.ndarray,
    columns: int | None = None,
    scale: int | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
    gap: int = 2,
    background: int | None = 255,
) -> Image.Image:
    """Pictures (N, H, W) or (N, H, W, C), C in {1, 3, 4}, beside and below each other.

    Args:
        columns: pictures in a row; None: such that the grid is a little wider than high.
        scale: whole factor by which each is enlarged, its pixels staying sharp; None: to a pleasant size.
        low, high: the values of black and white; None: those of the type, or the range of the values.
        gap: screen pixels between pictures.
        background: grey level (0..255) of gaps and of places left over; None: transparent.
    """
    pixels = to_bytes(images, low, high)
    n, height, width, channels = pixels.shape
    scale = scale or max(1, round(PLEASANT_SIDE / max(height, width)))
    columns = columns or max(1, min(n, round(math.sqrt(1.5 * n * height / width))))
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = height * scale, width * scale

    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    if background is None:
        mode = "LA" if mode == "L" else "RGBA"
    size = (min(n, columns) * (width + gap) - gap, math.ceil(n / columns) * (height + gap) - gap)
    colour = (0,) * len(mode) if background is None else tuple([background] * 3 + [255])[: len(mode)]
    canvas = Image.new(mode, size, colour)
    for i, picture in enumerate(pixels):
        tile = Image.fromarray(picture[..., 0] if channels == 1 else picture).convert(mode)
        place = (i % columns * (width + gap), i // columns * (height + gap))
        # Over an opaque background a transparent picture is blended, over a transparent one it is copied.
        if mode == "RGBA" and background is not None:
            canvas.alpha_composite(tile, place)
        else:
            canvas.paste(tile, place)
    return canvas


def to_bytes(images: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Pictures of any type, (N, H, W) or (N, H, W, C) -> (N, H, W, C) uint8, black 0 and white 255; NaN is grey."""
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3, 4) or not images.size:
        raise ValueError(f"pictures are (N, H, W) or (N, H, W, C) with C of 1, 3 or 4, got the shape {images.shape}")
    if low is None or high is None:
        black, white = value_range(images) if np.isfinite(images).any() else (0.0, 1.0)
        low, high = (black if low is None else low), (white if high is None else high)
    if images.dtype == np.uint8 and (low, high) == (0, 255):
        return images
    values = (images.astype(np.float64) - low) * (255 / (high - low))
    return np.rint(np.clip(np.nan_to_num(values, nan=MISSING), 0, 255)).astype(np.uint8)


def shrink(images: np.ndarray, side: int, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Pictures (N, H, W[, C]) as bytes (N, h, w, C) whose longer side is at most `side`; smaller ones stay as they are."""
    pixels = to_bytes(images, low, high)
    height, width = pixels.shape[1:3]
    share = side / max(height, width)
    if share >= 1:
        return pixels
    size = (max(1, round(width * share)), max(1, round(height * share)))
    small = [Image.fromarray(p[..., 0] if p.shape[2] == 1 else p).resize(size, Image.Resampling.BOX) for p in pixels]
    return np.stack([np.asarray(p) for p in small]).reshape(len(pixels), size[1], size[0], -1)


def png_data_uri(image: Image.Image) -> str:
    """The picture itself as an address, for a page that needs no other file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def save_gif(frames: Sequence[Image.Image], path: Path, ms: int = 120) -> None:
    """An animation that runs forth and back without end, `ms` milliseconds a frame."""
    opaque = []
    for frame in frames:
        if frame.mode == "RGBA":  # GIF knows no half transparent pixels
            frame = Image.alpha_composite(Image.new("RGBA", frame.size, "white"), frame).convert("RGB")
        opaque.append(frame)
    loop = [*opaque, *opaque[-2:0:-1]]
    loop[0].save(path, format="GIF", save_all=True, append_images=loop[1:], duration=ms, loop=0)
