"""Resident memory of vaekit after each epoch, in MB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common import job, pictures, report

import vaekit


class Memory:
    def __init__(self) -> None:
        self.resident: list[float] = []

    def step(self, *state: Any) -> None:
        pass

    def epoch(self, *state: Any) -> None:
        status = Path("/proc/self/status").read_text()
        self.resident.append(int(status.split("VmRSS:")[1].split()[0]) / 1000)


given, memory = job(), Memory()
x = pictures(given["rows"]).reshape(given["rows"], -1)
vaekit.VAE(epochs=10, batch_size=given["batch"]).fit_rows(x, {}, watchers=[memory])
report(resident=memory.resident)
