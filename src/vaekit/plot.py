"""Figures of a trained model, for notebooks and papers.

    vaekit.plot.curves(model).savefig("curves.pdf")

Each function returns a `matplotlib.figure.Figure`, which a notebook shows once, and draws into your own `ax` or `figure` if you give one.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.utils.validation import check_is_fitted

from vaekit.conditions import Conditions
from vaekit.errors import UserError
from vaekit.fitted import Fitted
from vaekit.kinds.series.report import outline
from vaekit.show.curves import TITLES, Curves
from vaekit.show.drawing import PAPER, draw_against, draw_shares, edges, grid
from vaekit.show.latent_map import latent_map
from vaekit.show.report import numbers_of
from vaekit.show.words import short
from vaekit.training.data import fixed_uniform

SIDE = 128  # pixels of a picture, at most
PANELS = 12  # columns or channels drawn, at most
ACROSS = 8  # pictures beside each other
POINTS = 1000  # rows in a panel, at most

__all__ = ["curves", "latent", "reconstructions", "samples", "scores"]


class Drawn(Figure):
    """A figure that a notebook shows, and that pyplot does not know: it is not shown twice, and not kept in memory."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=120)
        return buffer.getvalue()


def curves(model: Any, *, figure: Figure | None = None) -> Figure:
    """Draw ELBO, reconstruction and KL by epoch, in nats; a dot marks the best epoch.

    Args:
        model: a fitted estimator. figure: draw into this figure.

    Raises:
        UserError: the run directory has lost its metrics.csv.

    Example:
        >>> len(vaekit.plot.curves(vae).axes)
        3
    """
    model = fitted(model)
    found = Curves.of(model.history_, model.training().keep)
    if found is None:
        raise UserError("there is no history to draw: the run directory has lost its metrics.csv")
    with sheet(figure, 8.4, 2.5) as figure:
        for axes, (name, title) in zip(figure.subplots(1, len(TITLES)), TITLES.items(), strict=True):
            found.draw(axes, name, PAPER)
            axes.set_title(f"{title}, nats")
        if found.valid:
            axes.legend(frameon=False)
    return figure


def latent(model: Any, X: Any, y: Any = None, *, ax: Axes | None = None) -> Figure:
    """Draw the latent codes of rows X in a plane: the two units, or else two principal components.

    Args:
        model: a fitted estimator.
        X: rows (N, ...).
        y: what colours the points: labels or numbers (N,), or a dict of them by name, whose first one is used. The encoder
            sees those that are conditions of the model.
        ax: draw into these axes.

    Raises:
        UserError: the model has no latent codes, or y has another number of rows.

    Example:
        >>> vaekit.plot.latent(vae, X, {"size": y}).axes[0].get_title()
        'size'
    """
    model = fitted(model)
    if not hasattr(model, "transform") or not model.model_.latent_dim:
        raise UserError(f"a {type(model).__name__} gives no latent codes of rows, so there is no map of them")
    conditions = model.conditions_.named
    named = {} if y is None else {str(name): y[name] for name in y} if is_named(y) else {next(iter(conditions), "y"): y}
    given = {name: values for name, values in named.items() if name in conditions}
    codes = model.transform(X, given or None)
    name, condition, values = "", None, None
    if named:
        name, shown = next((name, np.asarray(values)) for name, values in named.items())
        if len(shown) != len(codes):
            raise UserError(f"there are {len(codes)} codes, but {name!r} has {len(shown)} values: give one per row")
        condition = conditions.get(name) or Conditions.infer({name: shown}).named[name]
        values = numbers_of(name, condition, shown)
    drawn = latent_map(codes, name, condition, values)
    x, height, colours, _ = zip(*drawn["points"], strict=True)
    with sheet(ax, 6, 4.2) as figure:
        axes = ax or figure.subplots()
        axes.scatter(x, np.negative(height), s=9, c=[on_paper(colour) for colour in colours], alpha=0.8, linewidths=0)
        axes.set(xticks=[], yticks=[], title=name)
        axes.set_xlabel(drawn["axes"][0])
        axes.set_ylabel(drawn["axes"][1])
        if drawn["legend"]:
            dots = [Line2D([], [], marker="o", linestyle="", color=on_paper(colour)) for _, colour in drawn["legend"]]
            titles = [short(title, 24) for title, _ in drawn["legend"]]
            axes.legend(dots, titles, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        if drawn["bar"]:
            stops = matplotlib.cm.ScalarMappable(Normalize(0, 1), ListedColormap(drawn["bar"]["stops"]))
            bar = figure.colorbar(stops, ax=axes, ticks=[0, 1])
            bar.set_ticklabels([drawn["bar"]["low"], drawn["bar"]["high"]])
    return figure


def samples(
    model: Any, n: int = 64, y: Any = None, *, X: Any = None, random_state: int | None = 0, figure: Figure | None = None
) -> Figure:
    """Draw new rows: a grid of pictures; for numbers and tables the shares of values, a panel per column; for series windows.

    Args:
        model: a fitted estimator.
        n, y, random_state: as for `VAE.sample`.
        X: real rows to compare the shares of values with.
        figure: draw into this figure.

    Raises:
        UserError: the model draws no rows, or rows of its kind are not drawn.

    Example:
        >>> len(vaekit.plot.samples(vae, 20, X=X).axes) >= 3  # a panel for each column
        True
    """
    model = fitted(model)
    if not hasattr(model, "sample"):
        raise UserError(f"a {type(model).__name__} draws no rows by itself, so there are no samples to draw")
    rows = model.sample(n, y, random_state=random_state)
    pictures = pictures_of(model.fitted_, rows)
    if pictures is not None:
        return shown(figure, grid(pictures, low=0, high=255))
    if (new := columns_of(model.fitted_, rows)) is not None:
        real = columns_of(model.fitted_, X) if X is not None else None
        with panels(figure, list(new)) as (figure, each):
            for name, axes in each:
                draw_shares(axes, np.zeros(0) if real is None else real[name], new[name], PAPER)
        return figure
    values = np.asarray(rows)
    if values.ndim != 3 or values.dtype == object:
        raise UserError(f"{model.kind_.noun} are not drawn: print model.sample({n}) in place of this")
    with panels(figure, channels_of(model.kind_, values.shape[2])) as (figure, each):
        for i, (_, axes) in enumerate(each):
            axes.plot(values[:8, :, i].T, linewidth=1)
            axes.set_xlabel("step")
    return figure


def reconstructions(model: Any, X: Any, y: Any = None, *, n: int = 16, figure: Figure | None = None) -> Figure:
    """Draw rows X and their reconstructions.

    The first n pictures stand each above its reconstruction. For numbers and tables the values are drawn against each other, a panel per
    column; for series both lines, a panel per channel.

    Args:
        model: a fitted estimator. X, y: rows and their conditions. n: number of pictures. figure: draw into this figure.

    Raises:
        UserError: the model reconstructs no rows, or rows of its kind are not drawn.

    Example:
        >>> len(vaekit.plot.reconstructions(vae, X).axes) >= 3
        True
    """
    model = fitted(model)
    if not hasattr(model, "reconstruct"):
        raise UserError(f"a {type(model).__name__} reconstructs no rows")
    if pictures_of(model.fitted_, X[:1]) is not None:
        given = {name: y[name][:n] for name in y} if is_named(y) else y if y is None or np.ndim(y) == 0 else y[:n]
        above, below = (pictures_of(model.fitted_, rows) for rows in (X[:n], model.reconstruct(X[:n], given)))
        across = min(len(above), ACROSS)
        return shown(figure, grid(in_turn(above, below, across), across, low=0, high=255))
    back = model.reconstruct(X, y)
    if (real := columns_of(model.fitted_, X)) is not None:
        again = columns_of(model.fitted_, back) or {}
        with panels(figure, list(real)) as (figure, each):
            for name, axes in each:
                seen = np.isfinite(real[name])
                draw_against(axes, real[name][seen][:POINTS], again[name][seen][:POINTS], PAPER)
        return figure
    try:
        (line, *_), (rebuilt, *_) = model.kind_.take(X), model.kind_.take(back)
        names = channels_of(model.kind_, line.shape[1])
    except (AttributeError, IndexError, TypeError) as e:
        raise UserError(f"reconstructions of {model.kind_.noun} are not drawn: print model.reconstruct(X)") from e
    with panels(figure, names, 8, 1.7, across=1) as (figure, each):
        for i, (_, axes) in enumerate(each):
            axes.plot(*outline(line[:, i]), color=PAPER.muted, linewidth=1, label="real")
            axes.plot(*outline(rebuilt[:, i]), color=PAPER.accent, linewidth=1, label="reconstructed")
        axes.set_xlabel("step")
        axes.legend(frameon=False, ncols=2)
    return figure


def scores(scores: Any, p: Any = None, *, alpha: float = 0.05, ax: Axes | None = None) -> Figure:
    """Draw scores of rows (N,), such as those of `AnomalyDetector.score_samples`, as shares.

    Args:
        p: p-values (N,): the share of rows whose p-value is at most `alpha` is filled.
        ax: draw into these axes.

    Raises:
        UserError: scores and p-values differ in number.

    Example:
        >>> vaekit.plot.scores(X[:, 0], np.linspace(0.01, 1, 40)).axes[0].get_xlabel()
        'score; lower is odder'
    """
    values = np.asarray(scores, dtype=float).ravel()
    if p is not None and np.size(p) != len(values):
        raise UserError(f"there are {len(values)} scores and {np.size(p)} p-values: give one p-value per score")
    known = np.isfinite(values)
    bins = edges(values[known], 0.005, 1.0)
    values = values.clip(bins[0], bins[-1])  # a few very odd rows join the first bin
    with sheet(ax, 5, 2.6) as figure:
        axes = ax or figure.subplots()
        draw_shares(axes, np.zeros(0), values[known], PAPER, bins=bins)
        if p is not None:
            odd = values[known & (np.ravel(p) <= alpha)]
            counts = np.histogram(odd, bins)[0] / max(1, known.sum())
            axes.stairs(counts, bins, fill=True, color=PAPER.second, label=f"p ≤ {alpha:g}: {len(odd):,} rows")
            axes.legend(frameon=False)
        axes.set_xlabel("score; lower is odder")
    return figure


# -- details -----------------------------------------------------------------------------------------------------------


def fitted(model: Any) -> Any:
    """The fitted estimator; for a detector its first one."""
    check_is_fitted(model)
    return model if hasattr(model, "fitted_") else model.model_


def is_named(y: Any) -> bool:
    return isinstance(y, Mapping) or hasattr(y, "columns")


def on_paper(colour: str) -> str:
    """A colour that a page says by name."""
    return getattr(PAPER, colour.removeprefix("var(--").rstrip(")"), colour)


@contextmanager
def sheet(into: Any, width: float, height: float) -> Iterator[Figure]:
    """The figure to draw into: that of the user, or a new one (inches)."""
    with matplotlib.rc_context(PAPER.style):
        if isinstance(into, Axes):
            yield into.get_figure(root=True)  # type: ignore[misc]
        else:
            yield into or Drawn(figsize=(width, height), layout="constrained")


@contextmanager
def panels(
    into: Figure | None, names: Sequence[str], width: float = 2.5, height: float = 2.0, across: int = 4
) -> Iterator[tuple[Figure, list[tuple[str, Axes]]]]:
    """A panel for each name, `across` of them beside each other."""
    names = list(names)[:PANELS]
    across = min(across, len(names))
    down = math.ceil(len(names) / across)
    with sheet(into, width * across, height * down) as figure:
        every = figure.subplots(down, across, squeeze=False).ravel()
        for axes in every[len(names) :]:
            axes.set_visible(False)
        for name, axes in zip(names, every, strict=False):
            axes.set_title(short(str(name), 28))
        yield figure, list(zip(names, every, strict=False))


def shown(into: Figure | None, image: Any) -> Figure:
    """A picture as a figure, pixel by pixel as large as it is."""
    with sheet(into, image.width / 100, image.height / 100) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.imshow(np.asarray(image.convert("RGB")), interpolation="nearest")
        axes.set_axis_off()
    return figure


def in_turn(above: np.ndarray, below: np.ndarray, across: int) -> np.ndarray:
    """Pictures (N, ...) such that in a grid `across` wide each of the first is above its partner; places left over are white."""
    lines = -(-len(above) // across)
    empty = np.full((lines * across - len(above), *above.shape[1:]), 255, np.uint8)
    both = [np.concatenate([part, empty]).reshape(lines, across, *above.shape[1:]) for part in (above, below)]
    return np.stack(both, axis=1).reshape(-1, *above.shape[1:])


def pictures_of(of: Fitted, rows: Any) -> Any:
    """Rows as pictures, (N, height, width, channels) bytes; None for rows that do not look like anything."""
    x = of.kind.batch(of.kind.pack(of.kind.take(rows))[0], fixed_uniform())
    return of.kind.thumbnails(x, SIDE)


def columns_of(of: Fitted, rows: Any) -> dict[str, np.ndarray] | None:
    """The columns of numbers, (N,) each, by name; None for rows without columns. UserError if no column holds numbers."""
    kind = of.kind
    taken = kind.take(rows)
    if named := kind.known(taken):
        numbers = {name: np.asarray(v, dtype=float) for name, v in named.items() if np.asarray(v).dtype.kind in "iuf"}
        if not numbers:
            raise UserError("no column of this table holds numbers, so there is nothing to draw")
        return numbers
    if kind.value_names and np.ndim(taken) == 2:
        return {name: np.asarray(taken[:, i], dtype=float) for i, name in enumerate(kind.value_names)}
    return None


def channels_of(kind: Any, n: int) -> list[str]:
    return list(kind.columns or [f"channel {i}" for i in range(n)])
