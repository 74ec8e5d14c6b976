"""Pictures and figures: arrays to grids, animations and data URIs; drawings to SVG in the colours of the page."""

from __future__ import annotations

import base64
import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vaekit.forms.layout import value_range

if TYPE_CHECKING:  # matplotlib takes long to import, and only figures need it
    from markupsafe import Markup
    from matplotlib.axes import Axes

PLEASANT_SIDE = 56  # screen pixels: smaller pictures are enlarged to about this
MISSING = 128  # the grey of a pixel that is NaN

# Observable's ten colours and ten darker ones: told apart on white and on black.
COLOURS = [
    "#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0",
    "#27408f", "#a87800", "#b53f2c", "#2f8674", "#1f6b2f", "#c04a7e", "#6a2fb0", "#4f86c6", "#62402c", "#5d6169",
]  # fmt: skip
FALL, RISE = (66, 105, 208), (237, 115, 51)


@dataclass(frozen=True)
class Colours:
    """The colours of figures."""

    ink: str
    muted: str
    rule: str
    accent: str
    second: str

    @property
    def style(self) -> dict[Any, Any]:
        """Matplotlib's settings."""
        return {
            "svg.fonttype": "none", "svg.hashsalt": "vaekit", "text.parse_math": False, "font.size": 9, "text.color": self.ink,
            "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": self.rule, "axes.labelcolor": self.muted,
            "axes.grid": True, "axes.grid.axis": "y", "grid.color": self.rule, "grid.linewidth": 0.6, "axes.axisbelow": True,
            "xtick.color": self.rule, "ytick.color": self.rule, "xtick.labelcolor": self.muted, "ytick.labelcolor": self.muted,
            "ytick.major.size": 0, "xtick.major.size": 3, "lines.linewidth": 1.6, "axes.formatter.limits": (-4, 6),
            "axes.formatter.useoffset": False,
        }  # fmt: skip


# Figures of a page are drawn in stand-ins, and the page's style sheet says what they are in light and in dark.
PAGE = Colours(*(f"#0{i}0{i}0{i}" for i in range(1, 6)))
INK, MUTED, RULE, ACCENT, SECOND = astuple(PAGE)
PAPER = Colours("#1d1e20", "#686b72", "#dddbd4", "#1f6f8b", "#d08a3c")


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
    """Put pictures (N, H, W) or (N, H, W, C), C in {1, 3, 4}, beside and below each other.

    Args:
        columns: pictures in a row; None: such that the grid is a little wider than high, and its last row full where that can be.
        scale: whole factor by which each is enlarged, its pixels staying sharp; None: to a pleasant size.
        low, high: the values of black and white; None: those of the type, or the range of the values.
        gap: screen pixels between pictures.
        background: grey level (0..255) of gaps and of places left over; None: transparent.
    """
    pixels = to_bytes(images, low, high)
    n, height, width, channels = pixels.shape
    scale = scale or max(1, round(PLEASANT_SIDE / max(height, width)))
    columns = columns or pleasant_columns(n, math.sqrt(1.5 * n * height / width))
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


def pleasant_columns(n: int, wanted: float) -> int:
    """Choose about the wanted number of columns for n pictures; one that fills all rows, if it is not far from it."""
    full = [columns for columns in range(1, n + 1) if n % columns == 0 and 2 / 3 < columns / wanted < 3 / 2]
    return min(full, key=lambda columns: abs(columns - wanted), default=max(1, min(n, round(wanted))))


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
    """Pictures (N, H, W[, C]) as bytes (N, h, w, C), their longer side at most `side`; smaller ones keep their size."""
    pixels = to_bytes(images, low, high)
    height, width = pixels.shape[1:3]
    share = side / max(height, width)
    if share >= 1:
        return pixels
    size = (max(1, round(width * share)), max(1, round(height * share)))
    small = [Image.fromarray(p[..., 0] if p.shape[2] == 1 else p).resize(size, Image.Resampling.BOX) for p in pixels]
    return np.stack([np.asarray(p) for p in small]).reshape(len(pixels), size[1], size[0], -1)


def picture(image: Image.Image, label: str, *, lossy: bool = False) -> Markup:
    """The picture itself as an element of a page, which then needs no other file.

    label: says it in words. lossy: at about a third of the size, with losses that are hard to see.
    """
    from markupsafe import Markup

    buffer, form = io.BytesIO(), "webp" if lossy else "png"
    image.save(buffer, form, **({"quality": 85} if lossy else {"optimize": True}))
    data = f"data:image/{form};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
    element = '<img class="pixels" src="{}" width="{}" height="{}" alt="{}">'
    return Markup(element).format(data, *image.size, label)


@dataclass
class Panel:
    """A small figure among others."""

    title: str
    svg: Markup
    note: str = ""


def save_gif(frames: Sequence[Image.Image], path: Path, ms: int = 120) -> None:
    """An animation that runs forth and back without end, `ms` milliseconds a frame."""
    opaque = []
    for frame in frames:
        if frame.mode == "RGBA":  # GIF knows no half transparent pixels
            frame = Image.alpha_composite(Image.new("RGBA", frame.size, "white"), frame).convert("RGB")
        opaque.append(frame)
    loop = [*opaque, *opaque[-2:0:-1]]
    loop[0].save(path, format="GIF", save_all=True, append_images=loop[1:], duration=ms, loop=0)


def svg(draw: Callable[[Axes], object], label: str, width: float, height: float) -> Markup:
    """A figure (inches) as SVG to put into a page, in the page's colours. label: says it in words."""
    import matplotlib
    from markupsafe import Markup, escape
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with matplotlib.rc_context(PAGE.style), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that its font lacks, which the browser will draw
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
        figure.savefig(buffer, format="svg", transparent=True)
    text = buffer.getvalue()
    box = re.search(r'viewBox="[^"]*"', text)
    assert box
    text = text[text.index("</metadata>") + len("</metadata>") :]
    text = re.sub(r' id="[A-Za-z.0-9]+_\d+"', "", text)  # not referred to, and not unique on the page
    text = re.sub(r" font-family: [^;\"]*;", "", text)
    text = re.sub(r"\s*\n\s*", " ", text)
    for name, colour in asdict(PAGE).items():
        text = text.replace(colour, f"var(--{name})")
    return Markup(f'<svg {box[0]} role="img" aria-label="{escape(label)}">{text}')


def histograms(real: np.ndarray, new: np.ndarray, label: str, *, dates: bool = False) -> Markup:
    """Shares of real values, filled, and of new ones, an outline, on one scale. dates: they are microseconds."""
    return svg(lambda axes: draw_shares(axes, real, new, dates=dates), label, 2.5, 1.6)


def draw_shares(
    axes: Axes,
    real: np.ndarray,
    new: np.ndarray,
    colours: Colours = PAGE,
    *,
    dates: bool = False,
    bins: np.ndarray | None = None,
) -> None:
    """Draw the shares of values into axes. bins: their edges; None: between all values but a few extremes."""
    if bins is None:
        bins = edges(np.concatenate([real, new]))
    axes.stairs(np.histogram(real, bins)[0] / max(1, len(real)), bins, fill=True, color=colours.muted, alpha=0.35)
    axes.stairs(np.histogram(new, bins)[0] / max(1, len(new)), bins, color=colours.accent, linewidth=1.5)
    axes.set_ylim(0)
    axes.set_yticks([])  # shares are there to be compared
    axes.grid(False)
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=4)
    if dates:
        ticks = np.linspace(bins[0], bins[-1], 3)
        axes.set_xticks(ticks, ticks.astype("datetime64[us]").astype("datetime64[D]").astype(str))


def edges(values: np.ndarray, low: float = 0.005, high: float = 0.995) -> np.ndarray:
    """Edges of the bins of a histogram, from one quantile of the values to another."""
    start, end = np.quantile(values if len(values) else np.zeros(1), [low, high])
    return np.linspace(start, end if end > start else start + 1, 31)


def draw_against(axes: Axes, real: np.ndarray, back: np.ndarray, colours: Colours = PAGE) -> None:
    """Draw reconstructions of values (N,) against the values."""
    low, high = view([real])
    axes.plot([low, high], [low, high], color=colours.muted, linewidth=0.8)
    axes.plot(real, back, ".", color=colours.accent, alpha=0.45, markersize=5, markeredgewidth=0)
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set_xlabel("real")
    axes.set_ylabel("reconstructed")
    axes.locator_params(nbins=3)


def view(series: list[np.ndarray]) -> tuple[float, float]:
    """The range of these values, with a margin."""
    values = np.concatenate(series)
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def change_colours(change: np.ndarray) -> np.ndarray:
    """Changes (H, W) in -1..1 -> RGBA (H, W, 4) bytes: falls, rises. No change is transparent: it suits any page."""
    hue = np.where(change[..., None] < 0, FALL, RISE)
    return np.concatenate([hue, np.abs(change[..., None]).clip(0, 1) * 255], axis=-1).round().astype(np.uint8)


def colour_scale(values: np.ndarray) -> tuple[list[str], tuple[float, float], list[str]]:
    """Numbers (N,) as colours, grey for NaN; the range, which a few extremes do not decide; and its colours."""
    import matplotlib
    from matplotlib.colors import to_hex

    def colour(share: float) -> str:
        # The darkest and the lightest are left out: they are hard to see on black and on white.
        return "var(--muted)" if np.isnan(share) else to_hex(matplotlib.colormaps["viridis"](0.12 + 0.8 * share))

    low, high = np.nanquantile(values, [0.01, 0.99]) if np.isfinite(values).any() else (0.0, 1.0)
    shares = ((values - low) / (high - low if high > low else 1)).clip(0, 1)
    return [colour(s) for s in shares], (float(low), float(high)), [colour(s) for s in np.linspace(0, 1, 8)]
