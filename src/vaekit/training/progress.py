"""What a person sees while a model trains."""

from __future__ import annotations

import math
import os
import time
from typing import Any

WIDE = 120  # columns of a terminal that shows the whole line


class ProgressBar:
    """The progress of training: on a terminal a bar with time left, ELBO, reconstruction and KL (nats); elsewhere a line every tenth of the
    run. Use it as a context."""

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
        from rich.table import Column
        from rich.text import Text

        class Terms(ProgressColumn):
            def render(self, task: Any) -> Text:
                return Text(task.fields["text"], style="cyan", no_wrap=True, overflow="ellipsis")

        whole = Column(no_wrap=True)  # the terms, which may wrap and do not, are what gives way
        self.console = console or Console(stderr=True)
        self.wide = self.console.width >= WIDE or not self.console.is_terminal
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24 if self.wide else 12, table_column=whole),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(table_column=whole),
            TextColumn("left"),
            Terms(),
            console=self.console,
            refresh_per_second=4,
        )
        self.waiting = self.console.status("looking at the data")  # until the first step, which may take a while
        self.task = self.bar.add_task("fit", total=1.0, epoch=1, text="")
        self.shown = 0.0
        self.tenth = -1
        self.over = False  # whether training is, and something else goes on
        self.valid = ""

    def __enter__(self) -> ProgressBar:
        if self.console.is_terminal and os.environ.get("LOCAL_RANK", "0") == "0":  # the first of several processes
            self.waiting.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.waiting.stop()
        if self.shown:  # stopping a bar that never started would print an empty line
            self.bar.stop()

    def step(self, state: Any, progress: float, terms: dict[str, float]) -> None:
        if not self.console.is_terminal or time.monotonic() - self.shown < 0.1:
            return
        self.shown = time.monotonic()
        self.waiting.stop()
        self.bar.start()  # only now: of several processes only the first is watched
        reconstruction, kl = terms.get("reconstruction", 0.0), terms.get("kl", 0.0)
        sum_ = f" = -reconstruction {reconstruction:.1f} - KL {kl:.2f} nats" if self.wide else f", KL {kl:.1f}"
        text = f"ELBO {-reconstruction - kl:.1f}{sum_}{self.valid}"
        self.bar.update(self.task, completed=progress, epoch=state.epoch + 1, text=text)

    def epoch(self, state: Any, progress: float, row: dict[str, float]) -> None:
        if "valid_elbo" in row:
            best = f", best at epoch {state.best_epoch}" if self.wide and math.isfinite(state.best_score) else ""
            self.valid = f"  (validation {row['valid_elbo']:.1f}{best})"
        if not self.console.is_terminal and int(10 * progress) > self.tenth:
            self.tenth = int(10 * progress)
            elbo = -row["reconstruction"] - row["kl"]
            text = f"epoch {row['epoch']}: ELBO {elbo:.2f}, reconstruction {row['reconstruction']:.2f}, KL {row['kl']:.2f} nats"
            self.console.print(text + self.valid, highlight=False, soft_wrap=True)
        self.over = progress >= 1 or state.stopped_early
        if self.over:
            self.stop()
        if state.stopped_early:
            self.console.print(
                f"stopped early, after epoch {row['epoch']} and {progress:.0%} of the run: no epoch after epoch "
                f"{state.best_epoch} was better on the held-out rows (--patience)",
                highlight=False, soft_wrap=not self.console.is_terminal,
            )  # fmt: skip
