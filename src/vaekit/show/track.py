"""How far work has come, while it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

EVERY = 5.0  # seconds between two lines where there is no terminal


def track(work: Any, what: str = "evaluate", total: int | None = None) -> Iterator[Any]:
    """Yield the items of `work` with a bar on a terminal, and a line every few seconds elsewhere. total: how many there are, where `work`
    has no length."""
    from rich.console import Console
    from rich.progress import track as rich_track

    console = Console(stderr=True)
    if console.is_terminal:
        yield from rich_track(work, what, total, console=console, transient=True)
        return
    total = len(work) if total is None else total
    said = time.monotonic()
    for i, item in enumerate(work):
        yield item
        if time.monotonic() - said > EVERY:
            said = time.monotonic()
            console.print(f"{what}: {(i + 1) / total:.0%}", highlight=False)
