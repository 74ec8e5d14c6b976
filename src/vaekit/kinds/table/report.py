"""The report of a model of tables: is its synthetic table any good, is it useful, and what does it reveal?"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes
from pyarrow import types

from vaekit.frame import to_frame
from vaekit.kinds.table.encoded import as_numbers, is_number, plain
from vaekit.kinds.table.synthesis import SENTENCES, choose_target, quality, verdict
from vaekit.show.drawing import ACCENT, MUTED, Panel, histograms, svg
from vaekit.show.report import Report
from vaekit.show.words import number, short

log = logging.getLogger(__name__)

COLUMNS, CLASSES, WORST, EXAMPLES = 24, 8, 5, 8  # the most that are shown
SCORES = {"macro_f1": "macro F1", "auc": "AUC", "accuracy": "accuracy", "r2": "R²"}


@dataclass
class TableReport(Report):
    """target: a column that others are to predict, to see what can be learned from synthetic rows; None: the last one that is a
    number or has at most 20 classes."""

    target: str | None = None

    of_what: ClassVar[str] = " of a table"
    most: ClassVar[int] = 20_000
    learned: ClassVar[int] = 20_000

    def contents(self) -> dict[str, Any]:
        taken = measured_as(self.kind)
        real, unseen = (self.whole(rows) for rows in (self.train, self.held_out))
        real = real.take(np.random.default_rng(0).permutation(len(real))[: self.learned])
        synthetic = self.drawn(real)
        target = self.target or choose_target(real, taken)
        log.info("comparing synthetic rows with real ones by gradient boosting")
        found = quality(real, unseen, synthetic, target, taken)
        return {
            "results": {**self.results, "verdict": f"{verdict(found)} {self.results['verdict']}"},
            "found": found,
            "says": SENTENCES,
            "schema": schema(self.kind),
            "columns": columns(unseen, synthetic, found),
            "shown": COLUMNS,
            "pairs": pairs(real.column_names, found),
            "efficacy": efficacy(found),
            "gaps": gaps(self.results),
            "examples": examples(synthetic),
        }

    def privacy(self, contents: Mapping[str, Any]) -> dict[str, Any]:
        return {name: contents["found"][name] for name in ("copying", "membership") if name in contents["found"]}

    def whole(self, rows: Any) -> Any:
        """The columns that the model knows as an Arrow table, its conditions after them."""
        table = to_frame(rows.x).select(self.kind.columns).table()
        return self.kind.with_conditions(table, {name: rows.conditions[name] for name in self.conditions})

    def drawn(self, real: Any) -> Any:
        """Draw as many new rows, under the conditions of the real ones."""
        y = {name: real[name].to_numpy() for name in self.conditions}
        rows = self.estimator.sample(len(real), y or None, random_state=self.estimator.seed_)
        return to_frame(rows).table().select(real.column_names)

    def about(self) -> dict[str, Any]:
        seen = f"{min(len(self.train), self.learned):,}"
        rows = f"{seen} training rows, {len(self.held_out):,} held-out ones and {seen} synthetic ones"
        return {**super().about(), "shown": rows}

    def commands(self) -> list[tuple[str, str]]:
        run, source, wanted = self.run, self.source, shlex.quote(where(self.kind))
        return [
            ("Draw a synthetic table", f"vaekit sample {run} -n 1000 -o synthetic.csv"),
            ("Draw rows that fulfil conditions", f"vaekit sample {run} -n 1000 --where {wanted} -o some.csv"),
            ("Fill the gaps of a table", f"vaekit impute {run} {source} -o filled.csv"),
            ("Fill them five times, each time with other plausible values", f"vaekit impute {run} {source} --draws 5 -o filled.csv"),
            ("Find odd rows: those with the lowest score", f"vaekit score {run} {source} -o scores.csv"),
            ("Turn rows into latent codes", f"vaekit encode {run} {source} -o codes.csv"),
            ("Go on in Python", f"import vaekit; model = vaekit.load({self.path!r})"),
        ]  # fmt: skip


def measured_as(kind: Any) -> dict[str, str]:
    """The kinds of columns for the measures, where the model knows more than the type says."""
    found = {}
    for name, column in kind.schema.items():
        if column.kind in ("binary", "categorical"):
            found[name] = "category"
        elif column.kind != "ordinal":
            found[name] = "number"
    return found


def schema(kind: Any) -> list[dict[str, str]]:
    """A line for each column."""
    lines = []
    for name, column in kind.schema.items():
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


def columns(real: Any, synthetic: Any, found: Mapping[str, Any]) -> list[Panel]:
    """A histogram of each number and bars of each category, real beside synthetic; the worst first."""
    order = sorted(found["by_column"].items(), key=lambda item: item[1])
    panels = []
    for name, score in order[:COLUMNS]:
        parts = (real[name], synthetic[name])
        figure = outlines if is_number(name, parts[0].type) else bars
        panels.append(Panel(name, figure(name, *parts), f"{score:.1%}"))
    return panels


def outlines(name: str, real: Any, synthetic: Any) -> Any:
    a, b = (v[~np.isnan(v)] for v in (as_numbers(name, part) for part in (real, synthetic)))
    dates = types.is_date(real.type) or types.is_timestamp(real.type)
    return histograms(a, b, f"{name}: real and synthetic values", dates=dates)


def bars(name: str, real: Any, synthetic: Any) -> Any:
    a, b = map(shares_of, (real, synthetic))
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


def shares_of(column: Any) -> dict[str, float]:
    """The share of each value, by its name."""
    values = plain(column).fill_null("missing")
    counted = values.value_counts()
    shares = counted.field("counts").to_numpy() / len(values)
    return dict(zip(counted.field("values").to_pylist(), shares.tolist(), strict=True))


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


def gaps(results: Mapping[str, Any]) -> list[list[Any]]:
    """Rows of a table about how well hidden cells of each column were guessed."""
    return [
        [name, each["cells"], f"{each['error']:.3f}", f"{each['usual']:.3f}", "worse" if each["worse"] else ""]
        for name, each in results.get("gaps", {}).items()
    ]


def examples(synthetic: Any) -> dict[str, Any]:
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


def where(kind: Any) -> str:
    """A condition that some rows fulfil: the commonest class of a category, or the upper half of a number."""
    for name, column in kind.schema.items():
        if column.kind in ("binary", "categorical") and column.classes:
            return f"{name}={column.classes[int(np.argmax(column.shares))]}"
    name, column = next(iter(kind.schema.items()))
    if hasattr(column, "classes"):
        return f"{name}={column.classes[0]}"
    middle = column.knots[len(column.knots) // 2] if column.kind != "date" else ""
    return f"{name}>={number(middle).replace(',', '') if middle != '' else ''}"
