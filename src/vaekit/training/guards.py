"""What keeps a run safe: a clean stop on Ctrl-C, NaN named, and memory that is not handed back and forth."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.errors import UserError


class Interrupt:
    """Within it, the first Ctrl-C (or SIGTERM) only sets `now`, for the loop to stop between two steps; the second
    one stops at once. Where nothing would be saved (`saves` False) signals are left alone."""

    def __init__(self, saves: bool) -> None:
        self.now, self.saves = False, saves
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        main = threading.current_thread() is threading.main_thread()  # only there may signals be handled
        if self.saves and main:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: Any) -> None:
        if self.now:
            raise KeyboardInterrupt
        self.now = True


def first_bad(named: dict[str, Any]) -> str | None:
    for name, value in named.items():
        if isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all():
            return name
    return None


def reject_nan(step: nn.Module) -> None:
    """UserError where a weight is not finite: such a state is never saved over a good one."""
    if bad := first_bad(dict(step.named_parameters())):
        raise UserError(f"{bad} is not finite, so this state is not saved: lower the learning rate")


@torch.no_grad()
def explain_nan(model: Any, x: Tensor, y: Any, mask: Any, noise: Any, state: Any, folder: Path | None) -> str:
    """One line: the step, the first tensor that is not finite on the way from data to loss, and what to do."""
    bad = first_bad({"x (the data)": x, **{f"weight {k}": v for k, v in model.named_parameters()}})
    if bad is None:
        draw = model.draw(x, y or None, mask=mask, noise=noise)
        parts = {"posterior": draw.posterior, "prior": draw.prior, "likelihood": draw.likelihood}
        inside = {f"{part} {k}": v for part, d in parts.items() for k, v in vars(d).items()}
        densities = {
            "log p(x|z)": draw.log_px,
            "the posterior's log q(z)": draw.log_qz,
            "the prior's log p(z)": draw.log_pz,
        }
        bad = first_bad({**inside, "z": draw.z, **densities, "KL": draw.kl}) or "the objective"
    kept = f"the last good state is kept in {folder}" if folder else "no weights were kept"
    return (
        f"training stopped at step {state.step + 1} (epoch {state.epoch + 1}): {bad} is not finite; {kept}. "
        "Lower the learning rate, use --precision 32-true, or look for extreme values in the data"
    )


def keep_freed_memory() -> None:
    """Tell glibc to keep memory that is freed. By default it gives every tensor of over 128 KiB back to the system and
    faults its pages in again at the next step."""
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    trim_threshold, top_pad, mmap_threshold, gibibyte = -1, -2, -3, 1 << 30
    mallopt(mmap_threshold, gibibyte) or mallopt(mmap_threshold, 32 << 20)  # the most that an older glibc takes
    mallopt(trim_threshold, gibibyte)
    mallopt(top_pad, 64 << 20)
