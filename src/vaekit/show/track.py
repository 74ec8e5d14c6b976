"""The progress of work while it runs."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import Any

EVERY = 5.0  # seconds between two lines where there is no terminal


def track_to(work: Iterator[tuple[Any, int]], length: int | None, what: str) -> Generator[Any]:
    """Yield items that come with how far the work is then, of `length`: None, if that is not known. Shown as by `track`."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console, begun = Console(stderr=True), time.monotonic()
    said, first = begun, None
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=length)
        for item, done in work:
            yield item
            now, first = time.monotonic(), done if first is None else first
            bar.update(task, completed=done)
            if not console.is_terminal and now - said > EVERY:
                said = now
                far = f"{done / length:.0%}" if length else f"{done} rows"
                rest = (length - done) * (now - begun) / max(done - first, 1) if length and done > first else None
                left = f", {rest / 60:.0f} min left" if rest and rest > 60 else ""
                console.print(f"{what}: {far}{left}", highlight=False)


def track(work: Any, what: str = "evaluate", total: int | None = None) -> Iterator[Any]:
    """Yield the items of `work` with a bar on a terminal, and a line every few seconds elsewhere. total: how many there are, where `work`
    has no length."""
    from rich.console import Console
    from rich.progress import track as rich_track

    console = Console(stderr=True)
    if console.is_terminal:
        yield from rich_track(work, what, total, console=console, transient=True)
        return
    said = time.monotonic()
    for i, item in enumerate(work):
        yield item
        if time.monotonic() - said > EVERY:
            said = time.monotonic()
            console.print(f"{what}: {(i + 1) / (total or len(work)):.0%}", highlight=False)
