"""The report of a model of tables: is its synthetic table any good, is it useful, and what does it reveal?

How it looks is `table_report.html.j2`; what it shares with other reports is in `report` and `page.html.j2`.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from vaekit.deploy.report import Panel, curves, effort, from_here, units, write_page
from vaekit.estimators.vae import VAE
from vaekit.frame import to_frame
from vaekit.kinds.table.synthesis import SENTENCES, choose_target, quality, verdict
from vaekit.show.drawing import ACCENT, MUTED, svg
from vaekit.show.words import number, short

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

ROWS, EVALUATED_ROWS, IW_SAMPLES = 20_000, 1000, 100
COLUMNS, CLASSES, WORST, EXAMPLES = 24, 8, 5, 8  # the most that are shown
SCORES = {"macro_f1": "macro F1", "auc": "AUC", "accuracy": "accuracy", "r2": "R²"}


def write_table_report(
    folder: Path,
    estimator: VAE,
    train: Any,
    holdout: Any,
    results: Mapping[str, Any] | None = None,
    *,
    target: str | None = None,
) -> Path:
    """Write `folder`/report.html.

    Args:
        folder: the run directory.
        estimator: trained on a table.
        train: the rows it learned from: a table of its columns and, by their names, its conditions.
        holdout: such rows that it did not see.
        results: of `estimator.evaluate`; None: evaluated here.
        target: column that others are to predict, to see what can be learned from synthetic rows; None: the last one that is
            a number or has at most 20 classes.
    """
    folder = Path(folder)
    given = list(estimator.conditions_.named)
    names = [*estimator.kind_.columns, *given]
    real, unseen = (to_frame(rows).select(names).table() for rows in (train, holdout))
    real = real.take(np.random.default_rng(0).permutation(len(real))[:ROWS])
    synthetic = drawn(estimator, real, given)
    target = target or choose_target(real, kinds(estimator))
    log.info("comparing synthetic rows with real ones by gradient boosting")
    found = quality(real, unseen, synthetic, target, kinds(estimator))
    some = unseen.slice(0, EVALUATED_ROWS)
    x, y = some.select(estimator.kind_.columns), conditions(some, given)
    if results is None:
        results = estimator.evaluate(x, y, k=IW_SAMPLES)
    results = {**results, "verdict": f"{verdict(found)} {results['verdict']}"}
    return write_page(
        folder,
        "table_report.html.j2",
        estimator,
        about=about(estimator, real, unseen, given),
        results=results,
        found=found,
        says=SENTENCES,
        curves=curves(estimator.history_),
        schema=schema(estimator),
        columns=columns(unseen, synthetic, found),
        shown=COLUMNS,
        pairs=pairs(names, found),
        efficacy=efficacy(found),
        examples=examples(synthetic),
        units=units(results, estimator.transform(x, y).var(0)),
        commands=commands(folder, estimator),
    )


def drawn(estimator: VAE, real: pa.Table, given: list[str]) -> pa.Table:
    """Draw as many new rows, under the conditions of the real ones."""
    rows = to_frame(estimator.sample(len(real), conditions(real, given), random_state=estimator.seed_)).table()
    for name in given:
        if name not in rows.column_names:
            rows = rows.append_column(name, real[name])
    return rows.select(real.column_names)


def conditions(table: pa.Table, given: list[str]) -> dict[str, np.ndarray] | None:
    return {name: table[name].to_numpy() for name in given} or None


def kinds(estimator: VAE) -> dict[str, str]:
    """The kinds of columns for the measures, where the model knows more than the type says."""
    found = {}
    for name, column in estimator.kind_.schema.items():
        if column.kind in ("binary", "categorical"):
            found[name] = "category"
        elif column.kind != "ordinal":
            found[name] = "number"
    return found


# -- what is shown -----------------------------------------------------------------------------------------------------


def about(estimator: VAE, real: pa.Table, unseen: pa.Table, given: list[str]) -> dict[str, Any]:
    """Say in words what was trained on what."""
    wide = len(estimator.kind_.columns)
    return {
        "model": "Conditional variational autoencoder of a table" if given else "Variational autoencoder of a table",
        "source": estimator.data_.get("source"),
        "rows": f"{estimator.data_['rows']:,} rows of {wide} column{'s' if wide > 1 else ''}",
        "row": "row",
        "given": given,
        "shown": f"{len(real):,} training rows, {len(unseen):,} held-out ones and {len(real):,} synthetic ones",
        **effort(estimator),
    }


def schema(estimator: VAE) -> list[dict[str, str]]:
    """A line for each column."""
    lines = []
    for name, column in estimator.kind_.schema.items():
        if hasattr(column, "classes"):
            known = [str(c) for c in column.classes]
            values = f"{len(known)}: " + ", ".join(known[:4]) + (", …" if len(known) > 4 else "")
        elif column.kind == "date":
            values = ""
        else:
            values = f"{number(column.low)} to {number(column.high)}"
            values += f", in steps of {number(column.step)}" if column.step else ""
        missing = f"{column.missing:.1%}" if column.missing else ""
        lines.append({"name": name, "kind": column.kind, "values": values, "missing": missing})
    return lines


def columns(real: pa.Table, synthetic: pa.Table, found: Mapping[str, Any]) -> list[Panel]:
    """A histogram of each number and bars of each category, real beside synthetic; the worst first."""
    from vaekit.kinds.table.encoded import is_number

    order = sorted(found["by_column"].items(), key=lambda item: item[1])
    panels = []
    for name, score in order[:COLUMNS]:
        parts = (real[name], synthetic[name])
        figure = histogram if is_number(name, parts[0].type) else bars
        panels.append(Panel(name, figure(name, *parts), f"{score:.1%}"))
    return panels


def histogram(name: str, real: Any, synthetic: Any) -> Any:
    from vaekit.kinds.table.encoded import as_numbers

    values = [as_numbers(name, part) for part in (real, synthetic)]
    a, b = (v[~np.isnan(v)] for v in values)
    both = np.concatenate([a, b]) if len(a) + len(b) else np.zeros(1)
    low, high = np.quantile(both, [0.005, 0.995])
    bins = np.linspace(low, high if high > low else low + 1, 31)

    def draw(axes: Axes) -> None:
        axes.stairs(np.histogram(a, bins)[0] / max(1, len(a)), bins, fill=True, color=MUTED, alpha=0.35)
        axes.stairs(np.histogram(b, bins)[0] / max(1, len(b)), bins, color=ACCENT, linewidth=1.5)
        bare(axes)
        axes.locator_params(axis="x", nbins=4)
        if is_time(real):
            ticks = np.linspace(bins[0], bins[-1], 3)
            axes.set_xticks(ticks, [date(t, real) for t in ticks])

    return svg(draw, f"{name}: real and synthetic values", 2.5, 1.6)


def is_time(column: Any) -> bool:
    from pyarrow import types

    return types.is_date(column.type) or types.is_timestamp(column.type)


def date(microseconds: float, column: Any) -> str:
    return str(np.datetime64(int(microseconds), "us").astype("datetime64[D]"))


def bars(name: str, real: Any, synthetic: Any) -> Any:
    from vaekit.kinds.table.encoded import plain

    counts = []
    for part in (real, synthetic):
        words = plain(part).fill_null("missing")
        counted = words.value_counts()
        counts.append(
            dict(
                zip(
                    counted.field("values").to_pylist(),
                    (counted.field("counts").to_numpy() / len(words)).tolist(),
                    strict=True,
                )
            )
        )
    a, b = counts
    order = sorted({**a, **b}, key=lambda value: -a.get(value, 0))
    kept = order if len(order) <= CLASSES else order[: CLASSES - 1]
    shares = [[part.get(value, 0) for value in kept] for part in (a, b)]
    titles = [short(value) for value in kept]
    if len(order) > len(kept):
        titles.append(f"{len(order) - len(kept)} others")
        for share in shares:
            share.append(1 - sum(share))

    def draw(axes: Axes) -> None:
        place = np.arange(len(titles))
        axes.barh(place, shares[0], height=0.8, color=MUTED, alpha=0.35)
        axes.barh(place, shares[1], height=0.8, facecolor="none", edgecolor=ACCENT, linewidth=1.5)
        axes.set_yticks(place, titles)
        axes.invert_yaxis()
        axes.set_xticks([])
        axes.grid(False)
        axes.spines["bottom"].set_visible(False)

    return svg(draw, f"{name}: real and synthetic shares", 2.5, max(0.9, 0.35 + 0.2 * len(titles)))


def bare(axes: Axes) -> None:
    """Draw no scale: shares are only compared."""
    axes.set_ylim(0)
    axes.set_yticks([])
    axes.grid(False)
    axes.spines["left"].set_visible(False)


def pairs(names: list[str], found: Mapping[str, Any]) -> dict[str, Any] | None:
    """The matrix of pair trends, and the pairs that are least alike."""
    if not found["by_pair"]:
        return None
    shown = names[:COLUMNS]
    place = {name: i for i, name in enumerate(shown)}
    lost = np.zeros((len(shown), len(shown)))
    for a, b, score in found["by_pair"]:
        if a in place and b in place:
            lost[place[a], place[b]] = lost[place[b], place[a]] = 1 - score
    limit = max(0.05, float(lost.max()))

    def draw(axes: Axes) -> None:
        pixels = np.zeros((*lost.shape, 4))
        pixels[..., :3] = np.array([237, 115, 51]) / 255
        pixels[..., 3] = lost / limit
        axes.imshow(pixels, interpolation="none")
        axes.set_xticks(range(len(shown)), [short(name) for name in shown], rotation=90)
        axes.set_yticks(range(len(shown)), [short(name) for name in shown])
        axes.grid(False)

    side = 1.3 + 0.23 * len(shown)
    return {
        "svg": svg(draw, "difference between real and synthetic rows, for each pair of columns", side, side),
        "limit": f"{limit:.0%}",
        "width": f"{min(44, 9 + 2.1 * len(shown)):.0f}rem",
        "worst": [(a, b, f"{score:.1%}") for a, b, score in found["by_pair"][:WORST]],
        "mean": f"{found['pair_trends']:.1%}",
        "reference": f"{found['reference']['pair_trends']:.1%}",
    }


def efficacy(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Rows of a table, and the first score as a share of the real one; None if no column was predicted."""
    if "efficacy" not in found:
        return None
    real, synthetic = found["efficacy"]["real"], found["efficacy"]["synthetic"]
    first = next(iter(real))
    return {
        "target": found["target"],
        "scores": [(SCORES[name], f"{real[name]:.3f}", f"{synthetic[name]:.3f}") for name in real],
        "name": SCORES[first],
        "share": f"{synthetic[first] / real[first]:.1%}" if real[first] > 0 else None,
    }


def examples(synthetic: pa.Table) -> dict[str, Any]:
    """Some synthetic rows, as text."""
    rows = synthetic.slice(0, EXAMPLES).to_pylist()
    return {
        "head": synthetic.column_names[:COLUMNS],
        "rows": [[text(v) for v in list(row.values())[:COLUMNS]] for row in rows],
    }


def text(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return number(value) if isinstance(value, float) else str(value)


def commands(folder: Path, estimator: VAE) -> list[tuple[str, str]]:
    """(what it does, the command), ready to paste into a shell in the present folder."""
    path = from_here(folder)
    name, rows = shlex.quote(path), shlex.quote(str(estimator.data_.get("source") or "SOURCE"))
    return [
        ("Draw a synthetic table", f"vaekit sample {name} -n 1000 -o synthetic.csv"),
        (
            "Draw rows that fulfil conditions",
            f"vaekit sample {name} -n 1000 --where {shlex.quote(where(estimator))} -o some.csv",
        ),
        ("Fill the gaps of a table", f"vaekit impute {name} {rows} -o filled.csv"),
        (
            "Fill them five times, each time with other plausible values",
            f"vaekit impute {name} {rows} --draws 5 -o filled.csv",
        ),
        ("Find odd rows: those with the lowest score", f"vaekit score {name} {rows} -o scores.csv"),
        ("Turn rows into latent codes", f"vaekit encode {name} {rows} -o codes.csv"),
        ("Go on in Python", f"import vaekit; model = vaekit.load({path!r})"),
    ]


def where(estimator: VAE) -> str:
    """A condition that some rows fulfil: the commonest class of a category, or the upper half of a number."""
    for name, column in estimator.kind_.schema.items():
        if column.kind in ("binary", "categorical") and column.classes:
            return f"{name}={column.classes[int(np.argmax(column.shares))]}"
    name, column = next(iter(estimator.kind_.schema.items()))
    if hasattr(column, "classes"):
        return f"{name}={column.classes[0]}"
    middle = column.knots[len(column.knots) // 2] if column.kind != "date" else ""
    return f"{name}>={number(middle).replace(',', '') if middle != '' else ''}"
