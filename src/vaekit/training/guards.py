"""What keeps a run safe: random numbers of its own, a clean stop on Ctrl-C, NaN named, and memory that is not handed back and
forth."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

from vaekit.errors import UserError
from vaekit.training.products import quick_products

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, a scheduler, and a terminal that goes away
_one_at_a_time = threading.RLock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A context in which torch's own generator starts at `seed`; after it, the generator is as before.

    The generator belongs to the whole process, and so does more that training sets. So one thread at a time may be within, and
    fits in several threads wait for each other. What the caller has set otherwise (no_grad, inference_mode, a default dtype) does
    not reach in.
    """
    with (
        _one_at_a_time,
        torch.random.fork_rng(devices=range(torch.cuda.device_count())),
        single_precision(),
        torch.inference_mode(False),
        torch.enable_grad(),
        quick_products(),
    ):
        torch.manual_seed(seed)
        yield


@contextmanager
def single_precision() -> Iterator[None]:
    """A context in which new tensors have 32 bits, whatever default the process has."""
    preferred = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(preferred)


class OwnDraws(TorchFunctionMode):
    """A context in which, in this thread alone, modules take their first weights from a generator of its own: for those whose weights come
    from a file, so that loading changes no random numbers of the process."""

    drawing = frozenset(
        {
            torch.rand, torch.randn, torch.randint, torch.randperm, Tensor.normal_, Tensor.uniform_,
            init.normal_, init.uniform_, init.trunc_normal_, init.kaiming_normal_, init.kaiming_uniform_, init.xavier_normal_,
            init.xavier_uniform_, init.orthogonal_,
        }
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function in self.drawing and kwargs.get("generator") is None:
            kwargs["generator"] = self.generator
        return function(*args, **kwargs)


class Interrupt:
    """A context in which the first of `SIGNALS` only sets `now`, for the loop to stop between two steps; the second one stops at once.
    Where nothing would be saved (`saves` False) signals are left alone, and so is one that is ignored, as nohup does."""

    def __init__(self, saves: bool) -> None:
        self.now, self.saves = False, saves
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        main = threading.current_thread() is threading.main_thread()  # only there may signals be handled
        if self.saves and main:
            for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
                if signal.getsignal(number) != signal.SIG_IGN:
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
    """UserError if a weight is not finite: such a state must not replace a good one."""
    if bad := first_bad(step.state_dict()):
        raise UserError(f"{bad} is not finite, so this state is not saved: lower the learning rate")


@torch.no_grad()
def explain_nan(
    model: Any, x: Tensor, y: Any, mask: Any, noise: Any, step: int, epoch: int, folder: Path | None
) -> str:
    """Say in one line the step, the first tensor that is not finite on the way from data to loss, and what to do."""
    bad = first_bad({"x (the data)": x, **{f"weight {k}": v for k, v in model.named_parameters()}})
    if bad is None:
        draw = model.draw(x, y, mask=mask, noise=noise)
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
        f"training stopped at step {step} (epoch {epoch}): {bad} is not finite; {kept}. "
        "Lower the learning rate, use --precision 32-true, or look for extreme values in the data"
    )


def keep_freed_memory() -> None:
    """Tell glibc to keep memory that is freed, in one place for all threads. By default it gives every tensor of over 128 KiB back to the
    system and faults its pages in again at the next step."""
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    trim_threshold, top_pad, mmap_threshold, arena_max, gibibyte = -1, -2, -3, -8, 1 << 30
    mallopt(arena_max, 1)  # or each thread that reads rows would keep what it has freed
    mallopt(mmap_threshold, gibibyte) or mallopt(mmap_threshold, 32 << 20)  # the most that an older glibc takes
    mallopt(trim_threshold, gibibyte)
    mallopt(top_pad, 64 << 20)
