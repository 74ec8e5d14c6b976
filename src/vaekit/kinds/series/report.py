"""The report of a model of series: the series with its scores, the oddest places, new windows."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from vaekit.show.drawing import ACCENT, MUTED, SECOND, Panel, svg
from vaekit.show.report import Report
from vaekit.sources.series import TimeSeries

CHANNELS, PLACES, WINDOWS = 12, 6, 4  # channels, odd places, and windows of each kind, shown at most
STEPS = 4000  # of the longest series: what is behind them is not shown
POINTS = 1200  # drawn of a line: more are drawn as the lowest and highest of each stretch
SAMPLES = 16  # importance samples of a score


class SeriesReport(Report):
    of_what: ClassVar[str] = " of the windows of series"
    row: ClassVar[str] = "window"
    learned: ClassVar[int] = STEPS

    @cached_property
    def values(self) -> np.ndarray:
        """The series that is shown, (T, channels): of several the longest."""
        return max(self.train.values, key=len)[:STEPS]

    @cached_property
    def codes(self) -> np.ndarray:
        return self.estimator.transform(self.held_out)

    def contents(self) -> dict[str, Any]:
        values = self.values
        one = TimeSeries([values], columns=self.kind.columns)
        back, scores = self.estimator.reconstruct(one), self.estimator.score_samples(one, k=SAMPLES)
        places = lowest(scores, self.kind.window)
        names = self.kind.columns or [f"channel {i}" for i in range(values.shape[1])]
        return {
            "channels": len(names),
            "whole": whole(values, back, scores, places, names),
            "odd": odd(values, back, places, self.when(places), names, self.kind),
            "samples": samples(self.estimator, values, names),
        }

    def when(self, places: list[int]) -> list[str]:
        """The time of each of these steps of the series that is shown, as text; else "step" and its number."""
        times, lengths = self.train.written_times(), [len(values) for values in self.train.values]
        if times is None:
            return [f"step {place}" for place in places]
        start = sum(lengths[: int(np.argmax(lengths))])
        return [str(times[start + place]).removesuffix(".000000").replace("T", " ") for place in places]

    def about(self) -> dict[str, Any]:
        return {**super().about(), "shown": f"{len(self.values):,} steps"}

    def commands(self) -> list[tuple[str, str]]:
        run, source = self.run, self.source
        return [
            ("Score each row of a file", f"vaekit score {run} {source} -o scores.csv"),
            ("Reconstruct a file", f"vaekit reconstruct {run} {source} -o reconstructed.csv"),
            ("New windows", f"vaekit sample {run} -n 10 -o windows.csv"),
            ("Fill gaps, or score a stream, in Python", f"import vaekit; vae = vaekit.load({self.path!r}); vae.impute(X); vae.score_samples(X, by='last')"),
        ]  # fmt: skip


def lowest(scores: np.ndarray, window: int) -> list[int]:
    """Find the steps with the lowest scores, no two of them within a window of each other."""
    left, found = np.where(np.isnan(scores), np.inf, scores), list[int]()
    while len(found) < PLACES and np.isfinite(left).any():
        found.append(int(left.argmin()))
        left[max(0, found[-1] - window) : found[-1] + window] = np.inf
    return found


def outline(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values of a line (T,): all, or the lowest and the highest of each stretch."""
    stretch = -(-len(values) // (POINTS // 2))
    if stretch <= 2:
        return np.arange(len(values)), values
    padded = np.pad(values, (0, -len(values) % stretch), constant_values=np.nan).reshape(-1, stretch)
    ends = [np.where(np.isnan(padded), fill, padded) for fill in (np.inf, -np.inf)]
    at = np.stack([ends[0].argmin(1), ends[1].argmax(1)], axis=1)
    at = np.sort(at + stretch * np.arange(len(padded))[:, None], axis=1).ravel().clip(max=len(values) - 1)
    return at, values[at]


def whole(values: np.ndarray, back: np.ndarray, scores: np.ndarray, places: list[int], names: list[str]) -> list[Panel]:
    """Draw each channel with its reconstruction, and the scores, over all steps."""
    lines = [(name, values[:, i], back[:, i]) for i, name in enumerate(names[:CHANNELS])]
    panels = []
    for title, first, second in [*lines, ("score, nats a step", scores, None)]:

        def draw(axes: Axes, first: np.ndarray = first, second: np.ndarray | None = second) -> None:
            for place in places:
                axes.axvspan(
                    place - len(values) / 300, place + len(values) / 300, color=SECOND, alpha=0.35, linewidth=0
                )
            axes.plot(*outline(first), color=MUTED, linewidth=1.0)
            if second is not None:
                axes.plot(*outline(second), color=ACCENT, linewidth=0.9)
            axes.set_xlim(0, len(values))
            axes.yaxis.set_major_locator(MaxNLocator(4))
            if second is None:
                axes.set_xlabel("step")

        panels.append(Panel(title, svg(draw, f"{title} over {len(values)} steps", 7.2, 1.5)))
    return panels


def odd(
    values: np.ndarray, back: np.ndarray, places: list[int], when: list[str], names: list[str], kind: Any
) -> list[Panel]:
    """Draw two windows around each place, in the channel that differs most. when: the time of each place."""
    panels = []
    for place, time in zip(places, when, strict=True):
        part = slice(max(0, place - kind.window), place + kind.window)
        error = np.nan_to_num(np.abs(values[part] - back[part])).max(0) / np.asarray(kind.scale)
        channel = int(error.argmax())

        def draw(axes: Axes, part: slice = part, channel: int = channel, place: int = place) -> None:
            steps = np.arange(part.start, part.start + len(values[part]))
            axes.axvline(place, color=SECOND, linewidth=4, alpha=0.35)
            axes.plot(steps, values[part, channel], color=MUTED, linewidth=1.2)
            axes.plot(steps, back[part, channel], color=ACCENT, linewidth=1.0)
            axes.set_xlabel("step")
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4))

        title = time + (f", {names[channel]}" if len(names) > 1 else "")
        panels.append(Panel(title, svg(draw, f"{title}: measured and reconstructed", 3.3, 1.9)))
    return panels


def samples(estimator: Any, values: np.ndarray, names: list[str]) -> list[Panel]:
    """Draw real and new windows of each channel, on one scale."""
    window = estimator.kind_.window
    starts = np.linspace(0, max(0, len(values) - window), WINDOWS).astype(int)
    new, panels = estimator.sample(WINDOWS, random_state=estimator.seed_), []
    for i, name in enumerate(names[:CHANNELS]):
        for title, lines, colour in (
            ("real", [values[s : s + window, i] for s in starts], MUTED),
            ("sampled", new[..., i], ACCENT),
        ):

            def draw(axes: Axes, lines: Any = lines, colour: str = colour, i: int = i) -> None:
                for line in lines:
                    axes.plot(line, color=colour, linewidth=1.0)
                both = np.concatenate([values[:, i], new[..., i].ravel()])
                axes.set_ylim(*np.nanquantile(both, [0.001, 0.999]) + np.array([-1e-9, 1e-9]))
                axes.set_xlabel("step")
                axes.yaxis.set_major_locator(MaxNLocator(4))

            panels.append(Panel(f"{name}, {title}", svg(draw, f"{WINDOWS} {title} windows of {name}", 3.3, 1.9)))
    return panels
