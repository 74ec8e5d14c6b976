"""What a person sees while a model trains."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vaekit.errors import extra_needed


class ProgressBar:
    """A bar with ELBO, reconstruction, KL (nats) and time left on a terminal; a line every tenth of the run elsewhere.
    Use it as a context."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[text]}", style="cyan"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            refresh_per_second=4,
        )
        self.task = self.bar.add_task("fit", total=1.0, epoch=1, text="")
        self.shown = 0.0
        self.tenth = -1
        self.valid = ""

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.shown:  # stopping a bar that never started would print an empty line
            self.bar.stop()

    def step(self, state: Any, progress: float, terms: dict[str, float]) -> None:
        if not self.console.is_terminal or time.monotonic() - self.shown < 0.1:
            return
        self.shown = time.monotonic()
        self.bar.start()  # only now: of several processes only the first is watched
        reconstruction, kl = terms.get("reconstruction", 0.0), terms.get("kl", 0.0)
        text = f"ELBO {-reconstruction - kl:.1f} = -reconstruction {reconstruction:.1f} - KL {kl:.2f} nats{self.valid}"
        self.bar.update(self.task, completed=progress, epoch=state.epoch + 1, text=text)

    def epoch(self, state: Any, progress: float, row: dict[str, float]) -> None:
        if "valid_elbo" in row:
            best = f", best at epoch {state.best_epoch}" if math.isfinite(state.best_score) else ""
            self.valid = f"  (validation {row['valid_elbo']:.1f}{best})"
        if not self.console.is_terminal and int(10 * progress) > self.tenth:
            self.tenth = int(10 * progress)
            elbo = -row["reconstruction"] - row["kl"]
            text = f"epoch {row['epoch']}: ELBO {elbo:.2f}, reconstruction {row['reconstruction']:.2f}, KL {row['kl']:.2f} nats"
            self.console.print(text + self.valid, highlight=False, soft_wrap=True)


def track(work: Iterable[Any], what: str = "evaluate") -> Iterable[Any]:
    """The items of `work`, one by one, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import track as rich_track

    console = Console(stderr=True)
    return rich_track(work, what, console=console, transient=True, disable=not console.is_terminal)


class TensorBoard:
    """Each epoch's metrics as TensorBoard scalars in `folder`; needs the extra `tensorboard`."""

    def __init__(self, folder: Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as e:
            raise extra_needed("tensorboard", "tensorboard") from e
        self.writer = SummaryWriter(str(folder))

    def step(self, state: Any, progress: float, terms: dict[str, float]) -> None: ...

    def epoch(self, state: Any, progress: float, row: dict[str, float]) -> None:
        for name, value in row.items():
            if name not in ("epoch", "step"):
                self.writer.add_scalar(name, value, int(row["step"]))
        self.writer.flush()
