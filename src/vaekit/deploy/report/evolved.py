"""The page of an evolved archive: its heat maps, how the search went, its elites, and what was not stored."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch
from matplotlib.axes import Axes

from vaekit import __version__
from vaekit.deploy.explorer.evolved import PAGE, level_of, trusted
from vaekit.deploy.report import from_here
from vaekit.files import write_text
from vaekit.runs.directory import REPORT
from vaekit.show.drawing import ACCENT, MUTED, PAPER, SECOND, Colours, Panel, colour_scale, svg
from vaekit.show.drawing import PAGE as OF_PAGE
from vaekit.show.words import number

PICTURE = "archive"  # .png and .svg
SIDE = 5  # elites of the spread, across and upwards
BEST = 10  # elites in the table
WIDTH = 6.4  # inches of a heat map
HATCH = 40_000  # cells: of more, those that are not trusted are pale but not hatched, which would be megabytes of lines
PALE = 0.45  # share of its colour that a cell keeps that is not trusted
EMITTERS = {
    "start": "rows of the first generation",
    "latent": "codes between those of two elites, decoded",
    "cma": "codes by CMA-MAE, decoded",
    "raw": "rows between two elites, without the model",
    "rebuilt": "elites passed through the model and back",
}
OUT = {
    "failed": "the objective or the measures failed on them, took too long, or were not finite",
    "outside": "their measures lie outside the ranges of the grid",
    "distrusted": "their p-value is below the trust that the search asked for",
}


def write_evolved(archive: Any, folder: Path, settings: Mapping[str, Any] | None = None, command: str = "") -> Path:
    """Write archive.png, archive.svg and report.html into the folder of an archive, and return the path of the page.

    Args:
        archive: an `Archive`, which may be empty.
        settings: of the search, by name, to show. command: that of the search, to go on with.
    """
    write_pictures(archive, folder)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    level, kind = level_of(archive), archive.fitted.kind
    last = archive.history[-1] if archive.history else {}
    known = bool(np.isfinite(archive.p_value).any())
    page = environment.get_template("evolved.html.j2").render(
        name=folder.resolve().name, version=__version__, date=datetime.now().strftime("%d %B %Y").lstrip("0"),
        archive=archive, kind=kind, level=level, known=known, last=last, total=int(np.prod(archive.cells)),
        best=archive.objective.max() if len(archive) else np.nan, odd=not trusted(archive).all(),
        valid=int((archive.p_value >= level).sum()),
        maps=list(maps(archive)) if len(archive) else [], over=over(archive), axes=said(archive),
        curves=list(curves(archive, known)), shares=shares(archive.history), emitters=emitters(archive),
        preview=preview(archive, best_rows(archive, kind.preview_rows), f"the best elites by {archive.title}") if len(archive) else None,
        head=["elite", archive.title, *archive.names, "p-value", "emitter", "evaluation"],
        rows=[row(archive, i) for i in best_rows(archive, BEST)],
        spread=spread(archive) if len(archive) else [],
        left_out=[(what, f"{int(last.get(what, 0)):,}", why) for what, why in OUT.items()],
        settings=[(name, str(value)) for name, value in (settings or {}).items() if value is not None],
        commands=commands(folder, command), columns=spread_columns(archive),
        explorer=PAGE if (folder / PAGE).exists() else "",
    )  # fmt: skip
    write_text(folder / REPORT, page)
    return folder / REPORT


def commands(folder: Path, search: str) -> list[tuple[str, str]]:
    """(what it does, the command), ready to paste into a shell in the present folder."""
    path = from_here(folder)
    where = shlex.quote(path)
    return [
        ("Move over the map, see each elite, and breed two", f"vaekit explore {where}"),
        *([("Go on after a stop, or with a larger --budget", f"{search} --resume")] if search else []),
        (
            "Use the elites in Python",
            f"import vaekit; archive = vaekit.evolution.Archive.read({path!r}); archive.to_frame()",
        ),
    ]


# -- which elite is where ----------------------------------------------------------------------------------------------


def shown_cells(archive: Any) -> np.ndarray:
    """The elite of each cell over the first two measures, (across, upwards), -1 for none: the best over other measures. With one
    measure, (across, 1)."""
    sides = (*archive.cells[:2], 1)[:2]
    found = np.full(sides, -1)
    order = np.argsort(archive.objective, kind="stable")  # the best is written last
    each = np.stack(np.unravel_index(archive.cell[order], archive.cells), 1)
    found[each[:, 0], each[:, 1] if len(archive.cells) > 1 else 0] = order
    return found


def edges(archive: Any, measure: int) -> np.ndarray:
    """The ends of the cells of a measure, in its own units, (cells + 1,)."""
    low, high = archive.ranges[measure]
    return np.linspace(low, high, archive.cells[measure] + 1)


def best_rows(archive: Any, n: int) -> np.ndarray:
    """The n elites of the highest objective, the best first."""
    return np.argsort(-archive.objective, kind="stable")[:n]


def over(archive: Any) -> str:
    """The measures that a map does not show, in words."""
    return " and ".join(archive.names[2:])


def said(archive: Any) -> str:
    """The quantities across and upwards on a map, in words."""
    across = f"Across: {archive.names[0]}."
    return (
        f"{across} Upwards: {archive.names[1]}."
        if len(archive.cells) > 1
        else f"{across} The height of a bar says the same as its colour."
    )


# -- pictures ----------------------------------------------------------------------------------------------------------


def write_pictures(archive: Any, folder: Path) -> None:
    """Write the heat map of the objective as archive.png and archive.svg."""
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.figure import Figure

    for ending in ("png", "svg"):
        with matplotlib.rc_context(PAPER.style | {"hatch.linewidth": 0.6}):
            figure = Figure(figsize=(WIDTH, 4.8 if len(archive.cells) > 1 else 3), layout="constrained")
            axes = figure.subplots()
            _, (low, high), _ = colour_scale(archive.objective)
            draw_cells(archive, archive.objective, (low, high), axes, PAPER)
            stops = ListedColormap(colour_scale(np.linspace(0, 1, 256))[0])
            bar = figure.colorbar(
                ScalarMappable(Normalize(low, high if high > low else low + 1), stops), ax=axes, pad=0.02, aspect=30
            )
            bar.outline.set_visible(False)  # type: ignore[operator]
            bar.set_label(archive.title + (f", best over {over(archive)}" if over(archive) else ""))
            axes.set_title(legend(archive), fontsize=9, color=PAPER.muted, loc="left")
            # The same archive gives the same bytes: an SVG has no date.
            figure.savefig(
                folder / f"{PICTURE}.{ending}", dpi=160, metadata={"Date": None} if ending == "svg" else None
            )


def legend(archive: Any) -> str:
    cells = f"{len(archive):,} of {int(np.prod(archive.cells)):,} cells"
    return cells + (f"; hatched: p < {number(level_of(archive))}" if not trusted(archive).all() else "")


def maps(archive: Any) -> Iterator[tuple[Panel, dict[str, Any]]]:
    """The heat maps of the page, each with its scale of colours: the objective, and the p-value where there is one."""
    shown: list[tuple[str, np.ndarray, tuple[float, float] | None]] = [(archive.title, archive.objective, None)]
    if np.isfinite(archive.p_value).any():
        shown.append(("p-value", archive.p_value, (0.0, 1.0)))
    for name, values, ends in shown:
        _, (low, high), stops = colour_scale(np.asarray(values, float))
        low, high = ends or (low, high)
        label = f"{name} of {len(archive)} elites over {' and '.join(archive.names[:2])}, from {number(low)} to {number(high)}"
        height = 4.4 if len(archive.cells) > 1 else 2.4
        drawn = svg(partial(draw_cells, archive, values, (low, high)), label, 5.2, height)
        yield Panel(name, drawn), {"low": number(low), "high": number(high), "stops": stops}


def draw_cells(
    archive: Any, values: np.ndarray, ends: tuple[float, float], axes: Axes, colours: Colours = OF_PAGE
) -> None:
    """Values (n,) of the elites as a heat map over the first two measures; of one measure, as bars.

    ends: the values of the darkest and the lightest colour. A cell is pale and hatched where its elite is not trusted.
    """
    found, odd = shown_cells(archive), ~trusted(archive)
    across = edges(archive, 0)
    axes.grid(False)
    axes.set_xlabel(archive.names[0])
    rgba = painted(np.asarray(values, float), ends, odd)
    filled = np.argwhere(found >= 0)
    if len(archive.cells) == 1:
        which = found[filled[:, 0], 0]
        tops = np.asarray(values, float)[which]
        low = min(ends[0], float(np.nanmin(tops, initial=np.inf)))
        bottom = low - 0.05 * (ends[1] - low or 1)
        heights = np.nan_to_num(tops, nan=bottom) - bottom
        bars = axes.bar(
            across[filled[:, 0]], heights, np.diff(across)[0], bottom=bottom, align="edge", color=rgba[which]
        )
        for bar, i in zip(bars, which, strict=True):
            if odd[i]:
                bar.set(hatch="////", edgecolor=colours.muted, linewidth=0)
        axes.set(xlim=across[[0, -1]], ylabel=archive.title if values is archive.objective else "p-value")
        return
    upwards = edges(archive, 1)
    image = np.zeros((*found.T.shape, 4))
    image[filled[:, 1], filled[:, 0]] = rgba[found[filled[:, 0], filled[:, 1]]]
    axes.imshow(
        image,
        origin="lower",
        extent=(across[0], across[-1], upwards[0], upwards[-1]),
        aspect="auto",
        interpolation="none",
    )
    where = filled[odd[found[filled[:, 0], filled[:, 1]]]]
    if found.size <= HATCH:
        hatch(axes, across, upwards, where, colours)
    axes.set_ylabel(archive.names[1])


def painted(values: np.ndarray, ends: tuple[float, float], odd: np.ndarray) -> np.ndarray:
    """Colours (n, 4) of values (n,), as `colour_scale` has them: pale where odd, grey where NaN."""
    import matplotlib

    low, high = ends
    share = ((values - low) / (high - low if high > low else 1)).clip(0, 1)
    rgba = matplotlib.colormaps["viridis"](0.12 + 0.8 * np.nan_to_num(share))
    rgba[np.isnan(values)] = (0.55, 0.57, 0.6, 1)
    rgba[odd, 3] = PALE
    return rgba


def hatch(axes: Axes, across: np.ndarray, upwards: np.ndarray, where: np.ndarray, colours: Colours) -> None:
    """Hatch cells (n, 2). Neighbours above each other are one area: so there are fewer."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    areas = []
    for i in np.unique(where[:, 0]):
        rows = where[where[:, 0] == i, 1]
        for part in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
            x0, x1, y0, y1 = across[i], across[i + 1], upwards[part[0]], upwards[part[-1] + 1]
            areas.append(Outline([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], closed=True))
    if areas:
        whole = Outline.make_compound_path(*areas)
        axes.add_patch(PathPatch(whole, facecolor="none", edgecolor=colours.muted, hatch="////", linewidth=0))


# -- how the search went -----------------------------------------------------------------------------------------------


def curves(archive: Any, known: bool) -> Iterator[Panel]:
    """Coverage, QD score and the best objective against evaluations. known: whether elites have p-values."""
    history = archive.history
    if len(history) < 2:
        return
    at = [each["evaluations"] for each in history]

    def draw(keys: list[str], axes: Axes) -> None:
        for key, colour in zip(keys, (ACCENT, SECOND), strict=False):
            axes.plot(at, [each.get(key, np.nan) for each in history], color=colour)
        axes.set_xlabel("evaluations")
        axes.locator_params(nbins=4)
        if "coverage" in keys:
            from matplotlib.ticker import PercentFormatter

            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            axes.set_ylim(0)

    last = history[-1]
    for title, note, keys in (
        ("coverage", "and valid coverage" if known else "", ["coverage", "valid_coverage"][: 1 + known]),
        ("QD score", "", ["qd_score"]),
        ("best", archive.title, ["best"]),
    ):
        label = f"{title} against evaluations; at the end {', '.join(number(last.get(key, np.nan)) for key in keys)}"
        yield Panel(title, svg(partial(draw, keys), label, 3.4, 2.1), note)


def shares(history: list[dict[str, Any]]) -> Any:
    """The share of the evaluations that each emitter got, against evaluations. None where only one made any."""
    names = [key for key in (history[-1] if history else {}) if key.startswith("share_")]
    if len(names) < 2 or len(history) < 2:
        return None
    at = [each["evaluations"] for each in history]
    values = [np.nan_to_num([each.get(name, 0.0) for each in history]) for name in names]

    def draw(axes: Axes) -> None:
        below = np.zeros(len(at))
        for values_of, name, colour, alpha in zip(
            values, names, (ACCENT, SECOND, MUTED, ACCENT), (0.9, 0.9, 0.6, 0.4), strict=False
        ):
            axes.fill_between(at, below, below + values_of, color=colour, alpha=alpha, linewidth=0)
            below = below + values_of
            if values_of[-1] > 0.04:
                beside = at[-1] + 0.015 * (at[-1] - at[0])
                axes.text(beside, below[-1] - values_of[-1] / 2, name.removeprefix("share_"), va="center", color=MUTED)
        axes.set(xlabel="evaluations", xlim=(at[0], at[-1]), ylim=(0, max(1.0, below.max())))
        axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
        axes.locator_params(axis="x", nbins=4)

    words = ", ".join(f"{name.removeprefix('share_')} {each[-1]:.0%}" for name, each in zip(names, values, strict=True))
    return svg(draw, f"share of finds by emitter: at the end {words}", 4.8, 2.1)


def emitters(archive: Any) -> list[list[str]]:
    """A row per emitter: its name, the number of its elites, their share, and what it does."""
    names, counts = np.unique(np.asarray(archive.emitter).astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [[names[i], f"{counts[i]:,}", f"{counts[i] / len(archive):.0%}", EMITTERS.get(names[i], "")] for i in order]


# -- elites ------------------------------------------------------------------------------------------------------------


def row(archive: Any, i: int) -> list[str]:
    """An elite in the table."""
    measures = [number(value) for value in archive.measures[i]]
    found = f"{archive.evaluation[i]:,}"
    p = f"{archive.p_value[i]:.3f}" if np.isfinite(archive.p_value[i]) else "–"
    return [str(i), number(archive.objective[i]), *measures, p, str(archive.emitter[i]), found]


def preview(archive: Any, which: np.ndarray, label: str) -> Any:
    """Elites as a person sees them."""
    kind = archive.fitted.kind
    return kind.preview(kind.unpack(archive.x[torch.as_tensor(np.array(which))].cpu()), label)


def spread(archive: Any) -> list[tuple[str, list[dict[str, Any] | None]]]:
    """Elites over the grid as rows of a table, the highest of the second measure first: the best elite of each of `SIDE` by `SIDE`
    blocks of cells, or None where a block has none."""
    found = shown_cells(archive)
    blocks = [np.array_split(np.arange(n), min(SIDE, n)) for n in found.shape]
    upwards = edges(archive, 1) if len(archive.cells) > 1 else None
    table = []
    for up in blocks[1][::-1]:
        line: list[dict[str, Any] | None] = []
        for right in blocks[0]:
            inside = found[np.ix_(right, up)].ravel()
            inside = inside[inside >= 0]
            if not len(inside):
                line.append(None)
                continue
            i = int(inside[np.argmax(archive.objective[inside])])
            where = ", ".join(
                f"{name} {number(value)}" for name, value in zip(archive.names, archive.measures[i], strict=True)
            )
            said = f"elite {i}: {archive.title} {number(archive.objective[i])}, {where}"
            line.append(
                {
                    "row": preview(archive, np.array([i]), said),
                    "objective": number(archive.objective[i]),
                    "odd": not trusted(archive)[i],
                }
            )
        name = "" if upwards is None else f"{number(upwards[up[0]])} to {number(upwards[up[-1] + 1])}"
        table.append((name, line))
    return table


def spread_columns(archive: Any) -> list[str]:
    """The ranges of the first measure that the columns of `spread` have."""
    ends = edges(archive, 0)
    parts = np.array_split(np.arange(archive.cells[0]), min(SIDE, archive.cells[0]))
    return [f"{number(ends[part[0]])} to {number(ends[part[-1] + 1])}" for part in parts]
