"""The report of a run: one HTML file that opens anywhere, without a network and without scripts.

Here the contents are computed, in the order in which they are shown; how they look is `report.html.j2`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from vaekit import __version__
from vaekit.conditions import Label
from vaekit.deploy.paths import interpolations
from vaekit.deploy.shown import CLASSES, Shown, conditions_of, groups
from vaekit.estimators.base import Learner
from vaekit.estimators.vae import VAE
from vaekit.evaluation.health import ACTIVE_VARIANCE
from vaekit.files import write_text
from vaekit.runs import directory as run
from vaekit.show.drawing import (
    ACCENT,
    COLOURS,
    MUTED,
    SECOND,
    change_colours,
    colour_scale,
    svg,
)
from vaekit.show.words import cell, duration, nats, number, short

ROWS, EVALUATED_ROWS, IW_SAMPLES = 2000, 1000, 100
COLUMNS, UNITS, MAPS = 12, 8, 3  # the most that are shown
REACH = 3  # standard deviations of the codes of a traversal, to each side


def write_report(
    folder: Path,
    estimator: VAE,
    x: np.ndarray,
    y: Mapping[str, np.ndarray],
    results: Mapping[str, Any] | None = None,
) -> Path:
    """Write `folder`/report.html.

    Args:
        folder: the run directory.
        estimator: trained.
        x: rows to show, (N, ...) in the user's own form: best those that training did not see.
        y: their conditions by name. What the model is not conditioned on still colours its latent map.
        results: of `estimator.evaluate`; None: evaluated here.
    """
    folder = Path(folder)
    chosen = np.random.default_rng(0).permutation(len(x))[:ROWS]
    shown = Shown(estimator, x[chosen], {name: np.asarray(values)[chosen] for name, values in y.items()})
    if results is None:
        first = np.arange(min(len(chosen), EVALUATED_ROWS))
        results = estimator.evaluate(shown.x[first], shown.given(first), k=IW_SAMPLES)
    return write_page(
        folder,
        "report.html.j2",
        estimator,
        pictures=shown.pictures,
        conditional=bool(shown.conditions),
        about=about(shown),
        results=results,
        curves=curves(estimator.history_),
        reconstructions=reconstructions(shown),
        samples=samples(shown),
        maps=list(latent_maps(shown)),
        interpolations=interpolations(shown),
        traversals=traversals(shown, results),
        units=units(results, shown.codes.var(0)),
        commands=commands(folder, shown),
    )


def write_page(folder: Path, template: str, estimator: Learner, **contents: Any) -> Path:
    """Write `folder`/report.html from a template that extends page.html.j2, the part that all reports share."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"nats": nats, "number": number}
    page = environment.get_template(template).render(
        name=folder.resolve().name,
        date=datetime.now().strftime("%d %B %Y").lstrip("0"),
        version=__version__,
        settings=settings(estimator),
        **contents,
    )
    write_text(folder / run.REPORT, page)
    return folder / run.REPORT


@dataclass
class Panel:
    """A small figure among others."""

    title: str
    svg: Markup
    note: str = ""


def about(shown: Shown) -> dict[str, Any]:
    """Say in words what was trained on what."""
    estimator, kind = shown.estimator, shown.estimator.kind_
    if shown.pictures:
        colours = {0: "grey", 1: "grey", 3: "colour", 4: "colour and transparency"}
        others = f"{kind.channels} channels, of which the first {min(3, kind.channels - 1)} are shown"
        form = f"pictures of {kind.width}×{kind.height} pixels, {colours.get(kind.channels, others)}"
    else:
        form = f"rows of {len(kind.mean)} number{'s' if len(kind.mean) > 1 else ''}"
    given = [
        f"{name} ({c.size} classes)" if isinstance(c, Label) else name if c.size == 1 else f"{name} ({c.size} numbers)"
        for name, c in shown.conditions.items()
    ]
    return {
        "model": "Conditional variational autoencoder" if given else "Variational autoencoder",
        "source": estimator.data_.get("source"),
        "rows": f"{estimator.data_['rows']:,} {form}",
        "row": "row",
        "given": given,
        "shown": f"{len(shown.x):,} rows",
        **effort(estimator),
    }


def effort(estimator: Learner) -> dict[str, Any]:
    """How large the model is, and how long it was trained."""
    history = estimator.history_
    return {
        "epochs": int(history[-1]["epoch"]) if history else None,
        "seconds": duration(history[-1]["seconds"]) if history else None,
        "parameters": f"{sum(p.numel() for p in estimator.model_.parameters()):,}",
    }


# -- figures -----------------------------------------------------------------------------------------------------------


def curves(history: list[dict[str, float]], *, keep: str = "best") -> dict[str, Any] | None:
    """ELBO, reconstruction and KL over the epochs. keep: "best" marks the best epoch by validation, "last" none."""
    if not history:
        return None
    epochs = [row["epoch"] for row in history]
    train = {name: np.array([row[name] for row in history]) for name in ("reconstruction", "kl")}
    train = {"elbo": -train["reconstruction"] - train["kl"], **train}
    valid = {name: np.array([row.get(f"valid_{name}", np.nan) for row in history]) for name in train}
    if np.isnan(valid["elbo"]).all():
        valid = {}
    best = int(np.nanargmax(valid["elbo"])) if valid and keep == "best" else None
    panels = []
    for name, title in {"elbo": "ELBO", "reconstruction": "Reconstruction", "kl": "KL"}.items():

        def draw(axes: Axes, name: str = name) -> None:
            marker = "o" if len(history) == 1 else None
            axes.plot(epochs, train[name], color=SECOND, marker=marker, markersize=4)
            series = [train[name]]
            if valid:
                axes.plot(epochs, valid[name], color=ACCENT, marker=marker, markersize=4)
                series.append(valid[name])
            if best is not None:
                axes.axvline(epochs[best], color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
                axes.plot(epochs[best], valid[name][best], "o", color=ACCENT, markersize=5)
            # From a tenth of the run on, so that the first epochs do not squash the rest.
            axes.set_ylim(*view([values[len(values) // 10 :] for values in series]))
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))

        end = (valid or train)[name][-1 if best is None else best]
        label = (
            f"{title} in nats over {len(epochs)} epochs; {nats(end)} at the {'last' if best is None else 'best'} epoch"
        )
        panels.append(Panel(title, svg(draw, label, 2.9, 2.2)))
    return {"panels": panels, "validation": bool(valid), "best": None if best is None else int(epochs[best])}


def view(series: list[np.ndarray]) -> tuple[float, float]:
    """The range of these values, with a margin."""
    values = np.concatenate(series)
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def reconstructions(shown: Shown) -> dict[str, Any]:
    """Pictures: originals and what comes back. Numbers: one against the other, for each column."""
    if shown.pictures:
        n = 2 * shown.steps
        rows = np.arange(min(n, len(shown.x)))
        back = shown.estimator.reconstruct(shown.x[rows], shown.given(rows))
        halves = [rows[i : i + shown.steps] for i in range(0, len(rows), shown.steps)]
        return {"pairs": [(shown.strip(shown.x[half]), shown.strip(back[half])) for half in halves]}
    rows = np.arange(min(250, len(shown.x)))
    real = shown.x[rows].astype(float)
    back = shown.estimator.reconstruct(shown.x[rows], shown.given(rows))
    panels = []
    for i, name in enumerate(shown.names[:COLUMNS]):
        seen = np.isfinite(real[:, i])
        a, b = real[seen, i], back[seen, i]
        error = np.mean((a - b) ** 2)
        explained = 1 - error / a.var() if a.size and a.var() > 0 else None

        def draw(axes: Axes, a: np.ndarray = a, b: np.ndarray = b) -> None:
            low, high = view([a])
            axes.plot([low, high], [low, high], color=MUTED, linewidth=0.8)
            axes.plot(a, b, ".", color=ACCENT, alpha=0.45, markersize=5, markeredgewidth=0)
            axes.set(xlim=(low, high), ylim=(low, high))
            axes.set_xlabel("real")
            axes.set_ylabel("reconstructed")
            axes.locator_params(nbins=3)

        note = "" if explained is None else f"{max(0.0, explained):.0%}"
        panels.append(Panel(name, svg(draw, f"{name}: reconstructed against real", 2.5, 2.1), note))
    return {"panels": panels, "columns": len(shown.names)}


def samples(shown: Shown) -> dict[str, Any]:
    """New rows: a grid of pictures, or a strip for each kind of condition; histograms of numbers and a table."""
    estimator, n = shown.estimator, shown.steps if shown.pictures else 0
    if shown.pictures:
        kinds = groups(shown)
        if not kinds:
            return {"grid": shown.strip(estimator.sample(6 * n, random_state=estimator.seed_), n)}
        strips = []
        for title, shared, rows in kinds:
            strips.append(
                (
                    title,
                    shown.strip(
                        estimator.sample(n, conditions_of(shown, shared, rows, n), random_state=estimator.seed_)
                    ),
                )
            )
        named = next((c for c in shown.conditions.values() if isinstance(c, Label)), None)
        return {"strips": strips, "left_out": max(0, named.size - CLASSES) if named else 0}
    rows = np.arange(len(shown.x)) if shown.conditions else np.arange(ROWS)
    y = shown.given(rows) if shown.conditions else None
    new = estimator.sample(len(rows), y, random_state=estimator.seed_)
    panels = []
    for i, name in enumerate(shown.names[:COLUMNS]):
        real = shown.x[np.isfinite(shown.x[:, i]), i].astype(float)

        def draw(axes: Axes, real: np.ndarray = real, drawn: np.ndarray = new[:, i]) -> None:
            low, high = np.quantile(np.concatenate([real, drawn]), [0.005, 0.995])
            bins = np.linspace(low, high if high > low else low + 1, 31)
            shares = [np.histogram(values, bins)[0] / max(1, len(values)) for values in (real, drawn)]
            axes.stairs(shares[0], bins, fill=True, color=MUTED, alpha=0.35)
            axes.stairs(shares[1], bins, color=ACCENT, linewidth=1.5)
            axes.set_ylim(0)
            axes.set_yticks([])
            axes.grid(False)
            axes.spines["left"].set_visible(False)
            axes.locator_params(axis="x", nbins=4)

        panels.append(Panel(name, svg(draw, f"{name}: real and sampled values", 2.5, 1.6)))
    known = y or {}
    return {
        "panels": panels,
        "columns": len(shown.names),
        "head": [*known, *shown.names[:COLUMNS]],
        "table": [[*(cell(v[i]) for v in known.values()), *map(number, new[i, :COLUMNS])] for i in rows[:8]],
    }


def latent_maps(shown: Shown) -> Iterator[dict[str, Any]]:
    """Draw the latent codes in two dimensions (1000 wide, 640 high), coloured by what is known about the rows."""
    codes = shown.codes - shown.codes.mean(0)
    if codes.shape[1] > 2:
        left, size, _ = np.linalg.svd(codes, full_matrices=False)
        spread = size**2 / max((size**2).sum(), 1e-300)
        where = left[:, :2] * size[:2]
        axes = [f"principal component {i + 1} ({spread[i]:.0%} of the variance)" for i in range(min(2, len(spread)))]
        axes += ["nothing"] * (2 - len(axes))
    elif codes.shape[1] == 2:
        where, axes = codes, ["latent unit 0", "latent unit 1"]
    else:
        jitter = np.random.default_rng(0).uniform(-1, 1, len(codes))
        where = np.column_stack([codes[:, 0], jitter])
        axes = ["latent unit 0", "spread at random, to tell points apart"]
    if where.shape[1] < 2:
        where = np.column_stack([where, np.zeros(len(where))])
    # A few far points are moved to the edge, so that they do not squash the rest.
    low, high = np.quantile(where, [0.003, 0.997], axis=0)
    share = ((where - low) / np.where(high > low, high - low, 1)).clip(0, 1)
    x, y = (12 + 976 * share[:, 0]).round(1), (628 - 616 * share[:, 1]).round(1)
    for name in list(shown.known)[:MAPS] or [""]:
        condition = shown.known.get(name)
        colours, titles, legend, bar = ["var(--accent)"] * len(x), [""] * len(x), [], None
        if isinstance(condition, Label):
            present = shown.packed(name)
            colours = [COLOURS[c] if 0 <= c < CLASSES else "var(--muted)" for c in present]
            titles = [f"{name}: {condition.classes[c] if c >= 0 else 'unknown'}" for c in present]
            legend = [(str(c), COLOURS[i]) for i, c in enumerate(condition.classes[:CLASSES])]
            if (present < 0).any() or condition.size > CLASSES:
                legend.append(("others" if condition.size > CLASSES else "unknown", "var(--muted)"))
        elif condition:
            values = shown.packed(name)
            colours, low_high, stops = colour_scale(values)
            bar = {"low": number(low_high[0]), "high": number(low_high[1]), "stops": stops}
            titles = [f"{name}: {number(v)}" for v in values]
        points = list(zip(x, y, colours, titles, strict=True))
        yield {"name": name, "axes": axes, "points": points, "legend": legend, "bar": bar}


def traversals(shown: Shown, results: Mapping[str, Any]) -> dict[str, Any]:
    """What the units with the most KL do: each goes from -3 to 3 deviations of the codes, the others stay at their mean."""
    estimator, steps = shown.estimator, shown.steps if shown.pictures else 13
    kl = np.asarray(results["kl_per_unit"] or shown.codes.var(0))
    group = next(iter(groups(shown)), None)
    y = conditions_of(shown, group[1], group[2][:1], steps) if group else None
    codes = shown.codes[group[2]] if group and len(group[2]) > 1 else shown.codes
    rows, names = [], []
    for unit in np.argsort(-kl)[:UNITS]:
        z = np.tile(codes.mean(0), (steps, 1))
        z[:, unit] += np.linspace(-REACH, REACH, steps) * codes[:, unit].std()
        rows.append(estimator.inverse_transform(z, y))
        names.append((int(unit), nats(kl[unit])))
    found = {"group": group[0] if group else None, "reach": REACH}
    if shown.pictures:
        return {**found, "strips": [(*name, shown.strip(row)) for name, row in zip(names, rows, strict=True)]}
    scale = np.asarray(estimator.kind_.scale)
    changes = np.stack([(row - row[steps // 2]) / scale for row in rows])  # (units, steps, columns)
    most = np.sort(np.argsort(-np.abs(changes).max((0, 1)))[:COLUMNS])
    limit = max(1e-9, float(np.abs(changes[..., most]).max()))
    panels = []
    for (unit, said), change in zip(names, changes, strict=True):

        def draw(axes: Axes, change: np.ndarray = change) -> None:
            extent = (-REACH, REACH, len(most) - 0.5, -0.5)
            axes.imshow(change_colours(change[:, most].T / limit), aspect="auto", extent=extent, interpolation="none")
            axes.set_yticks(range(len(most)), [short(shown.names[i]) for i in most])
            axes.set_xticks([-REACH, 0, REACH])
            axes.grid(False)

        label = f"change of each column as latent unit {unit} goes from -{REACH} to {REACH}"
        panels.append(Panel(f"unit {unit}", svg(draw, label, 3.3, 0.6 + 0.19 * len(most)), f"{said} nats"))
    return {**found, "panels": panels, "limit": f"{limit:.1f}"}


def units(results: Mapping[str, Any], spread: np.ndarray) -> dict[str, Any] | None:
    """The KL of each unit, the largest first. spread: the variance of each unit over the rows, which tells active ones."""
    if not results["kl_per_unit"]:
        return None
    kl = np.asarray(results["kl_per_unit"])
    order = np.argsort(-kl)
    # As many as `results` counts, which may come from more rows than are shown.
    active = set(np.argsort(-spread)[: results["active_units"]].tolist())

    def draw(axes: Axes) -> None:
        axes.bar(range(len(kl)), kl[order], width=0.8, color=[ACCENT if u in active else MUTED for u in order])
        axes.set_ylabel("nats")
        axes.set_xlabel("latent unit")
        axes.set_xticks(range(len(kl)) if len(kl) <= 32 else [])
        if len(kl) <= 32:
            axes.set_xticklabels([str(u) for u in order])
        axes.set_ylim(0, max(0.1, 1.05 * kl.max()))
        axes.margins(x=0.01)

    label = f"KL of each of {len(kl)} latent units; {results['active_units']} are active"
    return {"svg": svg(draw, label, 5.6, 2), "threshold": ACTIVE_VARIANCE}


# -- words -------------------------------------------------------------------------------------------------------------


def settings(estimator: Learner) -> list[tuple[str, str]]:
    """Every setting that has a value, and the likelihood that "auto" chose."""
    values = run.config(estimator.fitted_)
    likelihood = {f"likelihood ({name})": value for name, value in values["likelihood"].items() if value is not None}
    chosen = {name: value for name, value in values["settings"].items() if value is not None} | likelihood
    return [(name, str(value)) for name, value in chosen.items()]


def commands(folder: Path, shown: Shown) -> list[tuple[str, str]]:
    """(what it does, the command), ready to paste into a shell in the present folder."""
    path = from_here(folder)
    name = shlex.quote(path)
    source = str(shown.estimator.data_.get("source") or "SOURCE")
    rows, a, b = (shlex.quote(text) for text in (source, f"{source}[0]", f"{source}[1]"))
    ending, way = (".png", "strip.gif") if shown.pictures else (".csv", "path.csv")
    known = [shlex.quote(f"{n}={c.classes[0]}") for n, c in shown.conditions.items() if isinstance(c, Label)]
    given = f" -c {known[0]}" if known else ""
    return [
        (f"Draw new rows{', of one class' if given else ''}", f"vaekit sample {name} -n 64{given} -o samples{ending}"),
        ("Turn rows into latent codes", f"vaekit encode {name} {rows} -o codes.csv"),
        ("Pass rows through the latent and back", f"vaekit reconstruct {name} {rows} -o reconstructions{ending}"),
        ("Walk from one row to another", f"vaekit interpolate {name} {a} {b} -o {way}"),
        ("Find odd rows: those with the lowest score", f"vaekit score {name} {rows} -o scores.csv"),
        ("Measure the model with more samples", f"vaekit evaluate {name} --k 5000"),
        ("Go on in Python", f"import vaekit; model = vaekit.load({path!r})"),
    ]


def from_here(folder: Path) -> str:
    """The run as a command names it."""
    here = Path.cwd()
    path = folder.resolve().relative_to(here) if folder.resolve().is_relative_to(here) else Path(folder.name)
    return path.as_posix()
