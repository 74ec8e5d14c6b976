"""What training steps come to, which is read now and then: a device that is waited for at every step has nothing to do meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from vaekit.training.devices import most_bits

WAITS = 10.0  # per second, about
MOST = 1000  # steps between two waits


class Meter:
    """The sums over the steps of an epoch, which stay on the device until they are read.

    Attributes:
        stopped: 1 from the first step on whose loss is not finite, else 0.
    """

    def __init__(self, device: torch.device):
        self.stopped = torch.zeros((), device=device)
        self._good = torch.zeros((), device=device)  # steps of this epoch before that one
        self._bits = most_bits(device)
        self._sums: Tensor | None = None  # of the terms over this epoch, (terms,)
        self._last: Tensor | None = None  # the terms of the last step, (terms,)

    def start(self, steps: int, sums: Mapping[str, float]) -> None:
        """Begin an epoch, or go on behind its first `steps`, over which the terms have these sums."""
        self._good.fill_(steps)
        if sums:
            self._sums = torch.tensor([*sums.values()], dtype=self._bits).to(self._good.device)
        elif self._sums is not None:
            self._sums.zero_()

    def add(self, loss: Tensor, terms: Iterable[Tensor]) -> None:
        """Enter a step: its loss and its terms, each a scalar."""
        values = torch.stack([*terms])
        if self._last is None:
            self._last = torch.zeros_like(values)
            self._sums = torch.zeros_like(values, dtype=self._bits) if self._sums is None else self._sums
        assert self._sums is not None
        self._last.copy_(values)
        self._sums.add_(values)
        self.stopped.logical_or_((loss - loss) != 0)  # NaN, where the loss is infinite or NaN itself
        self._good.add_(1 - self.stopped)

    def read(self) -> tuple[int, list[float], list[float]]:
        """Wait for the device. Returns how many steps were good, the sums of the terms, and the last step's terms."""
        assert self._sums is not None
        assert self._last is not None
        good, *values = torch.cat([self._good[None], self._sums, self._last]).tolist()
        return round(good), values[: len(values) // 2], values[len(values) // 2 :]


class Pace:
    """The number of steps from one wait for the device to the next: one on a CPU, which does not run ahead, unless processes wait for each
    other.

    seconds: of training, before this process began. All processes of a training give the same, and so wait after the same steps.
    """

    def __init__(self, device: torch.device, processes: int, seconds: float):
        self.steps = 1
        self.most = 1 if device.type == "cpu" and processes == 1 else MOST
        self._behind, self._since = 0, seconds

    def is_due(self) -> bool:
        """Count a step; True where the device is to be waited for behind it."""
        self._behind += 1
        return self._behind >= self.steps

    def waited(self, seconds: float) -> None:
        """The device was waited for, after these seconds of training; plan the next time."""
        a_second = self._behind / max(seconds - self._since, 1e-6)
        self.steps = max(1, min(2 * self.steps, self.most, int(a_second / WAITS)))
        self._behind, self._since = 0, seconds
