"""The page of a search: which settings were best, what mattered, and what became of every trial."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.axes import Axes

from vaekit import __version__
from vaekit.files import write_text
from vaekit.recipes.space import Range
from vaekit.recipes.study import DONE, PRUNED, REFUSED, STOPPED, Trial
from vaekit.recipes.tune import BEST, Tuned
from vaekit.runs.directory import REPORT
from vaekit.show.drawing import ACCENT, MUTED, SECOND, Panel, svg, view
from vaekit.show.words import duration, nats

LONG = 30  # characters that fit under a panel
WORST = 0.1  # share of the bounds that may lie below what is shown: those of hopeless settings would squash the rest


def write_search(found: Tuned) -> Path:
    """Write report.html into the folder of a search that has a best trial."""
    best = found.best
    assert best
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["nats"] = nats
    trials = [each for each in found.trials if each.settings]
    judged = [each for each in trials if np.isfinite(each.value) and each.state in (DONE, PRUNED)]
    limits = shown_bounds(judged)
    folder, run = (shlex.quote(path_of(found.folder, name)) for name in (BEST, "best"))
    commands = [
        ("Train the best settings, and write a report of the model", f"vaekit fit --config {folder} --out {run}"),
        ("Judge it on rows that chose nothing", f"vaekit evaluate {run} OTHER-ROWS"),
    ]
    page = environment.get_template("search.html.j2").render(
        name=found.folder.resolve().name, version=__version__, date=datetime.now().strftime("%d %B %Y").lstrip("0"),
        about=found.about, best=best, first=found.first, trials=trials, counts=counts(found), wanted=found.wanted,
        seconds=duration(sum(each.seconds for each in trials)), commands=commands,
        settings=[(name, str(value)) for name, value in best.settings.items()],
        ranges=[(name, str(each)) for name, each in found.space.ranges.items()],
        history=svg(partial(draw_history, judged, limits), f"bound of {len(judged)} trials in turn; the best is {nats(best.value)} nats", 4.8, 2.3),
        importances=importances(found.study.importances()),
        slices=list(slices(found, judged, best, limits)),
        head=["trial", "end", "bound", "KL", "epochs", "time", *found.space.ranges],
        reasons=reasons(trials),
        rows=[row(each, [*found.space.ranges]) for each in trials],
    )  # fmt: skip
    write_text(found.folder / REPORT, page)
    return found.folder / REPORT


def path_of(folder: Path, name: str) -> str:
    """A file of the folder as a command in the present folder names it."""
    path = (folder / name).absolute()
    return (path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path).as_posix()


def counts(found: Tuned) -> dict[str, int]:
    """The number of trials by the way in which they ended."""
    return {state: sum(each.state == state for each in found.trials) for state in (DONE, PRUNED, REFUSED)}


def row(trial: Trial, names: Sequence[str]) -> list[str]:
    """A trial in the table. names: of the settings, a column each."""
    said = {PRUNED: f"pruned at {trial.share:.0%}", STOPPED: "stopped, and tried again"}.get(trial.state, trial.state)
    settings = [str(trial.settings.get(name, "–")) for name in names]
    epochs = "–" if trial.epochs is None else str(trial.epochs)
    return [str(trial.number), said, nats(trial.value), nats(trial.kl), epochs, duration(trial.seconds), *settings]


def reasons(trials: Sequence[Trial]) -> list[tuple[str, str]]:
    """Why trials were refused, the commonest reason first, each behind the numbers of the trials."""
    found: dict[str, list[str]] = {}
    for each in trials:
        if each.state == REFUSED:
            found.setdefault(each.reason, []).append(str(each.number))
    return [(", ".join(found[reason]), reason) for reason in sorted(found, key=lambda reason: -len(found[reason]))]


# -- figures -----------------------------------------------------------------------------------------------------------


def shown_bounds(trials: Sequence[Trial]) -> tuple[float, float]:
    """The range of bounds that figures show."""
    values = np.array([each.value for each in trials], float)
    return view([values[values >= np.quantile(values, WORST)]])


def draw_history(trials: Sequence[Trial], limits: tuple[float, float], axes: Axes) -> None:
    """The bound of every trial, and the best until then."""
    from matplotlib.ticker import MaxNLocator

    for state, colour in ((PRUNED, MUTED), (DONE, ACCENT)):
        those = [each for each in trials if each.state == state]
        axes.plot([t.number for t in those], [t.value for t in those], "o", color=colour, markersize=4)
    done = [each for each in trials if each.state == DONE]
    best = np.maximum.accumulate([each.value for each in done])
    axes.step([*(t.number for t in done), trials[-1].number], [*best, best[-1]], color=SECOND, where="post")
    axes.set(ylim=limits, xlabel="trial", ylabel="bound in nats")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def importances(found: dict[str, float]) -> Any:
    """The importance of each setting as bars. None where Optuna cannot say."""
    if not found:
        return None
    names, shares = list(found)[::-1], list(found.values())[::-1]

    def draw(axes: Axes) -> None:
        axes.barh(names, shares, color=ACCENT, height=0.6)
        axes.grid(False)
        axes.set_xticks([])
        axes.set_xlim(0, 1.15 * max(shares))
        axes.spines["bottom"].set_visible(False)
        for i, share in enumerate(shares):
            axes.text(share, i, f" {share:.0%}", va="center", color=MUTED)

    words = ", ".join(f"{name} {share:.0%}" for name, share in found.items())
    return svg(draw, f"importance of settings: {words}", 4.8, 0.3 + 0.28 * len(names))


def slices(found: Tuned, trials: Sequence[Trial], best: Trial, limits: tuple[float, float]) -> Any:
    """A panel for each setting: the bound against its value."""
    for name, each in found.space.ranges.items():
        those = [t for t in trials if name in t.settings]
        if those:
            draw = partial(draw_slice, those, best, name, each, limits)
            yield Panel(name, svg(draw, f"bound in nats against {name}", 2.9, 2.2))


def draw_slice(
    trials: Sequence[Trial], best: Trial, name: str, tried: Range, limits: tuple[float, float], axes: Axes
) -> None:
    places = [tried.choices.index(t.settings[name]) if tried.choices else t.settings[name] for t in trials]
    # Side by side, or trials of the same choice would hide each other.
    apart = np.random.default_rng(0).uniform(-0.18, 0.18, len(places)) if tried.choices else np.zeros(len(places))
    for state, colour in ((PRUNED, MUTED), (DONE, ACCENT)):
        some = [i for i, t in enumerate(trials) if t.state == state]
        axes.plot([places[i] + apart[i] for i in some], [trials[i].value for i in some], "o", color=colour, markersize=4, alpha=0.7)  # fmt: skip
    if name in best.settings:
        i = [t.number for t in trials].index(best.number)
        axes.plot(places[i] + apart[i], best.value, "o", color=SECOND, markersize=7)
    if tried.choices:
        names = list(map(str, tried.choices))
        turned = {"rotation": 25, "ha": "right"} if len(" ".join(names)) > LONG else {}
        axes.set_xticks(range(len(names)), names, **turned)  # type: ignore[arg-type]
        axes.set_xlim(-0.5, len(tried.choices) - 0.5)
    elif tried.log:
        low, high = float(tried.low or 1), float(tried.high or 1)
        middle = float(f"{(low * high) ** 0.5:.2g}")
        axes.set_xscale("log")
        axes.set_xticks([low, middle, high], [f"{value:g}" for value in (low, middle, high)])
        axes.set_xticks([], minor=True)
    axes.set_ylim(limits)
    axes.locator_params(axis="y", nbins=4)
