"""By how many MB the peak of one use of a model lies above what the process held before it. Linux only."""

from __future__ import annotations

import sys
from pathlib import Path

from common import job, report

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from use_speed import data, trained, uses


def high_water() -> float:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1000


given = job()
model, x = trained(given["kind"]), data(given["kind"], given["rows"])
uses(model, x[:100], given["k"])[given["use"]]()  # to warm up
Path("/proc/self/clear_refs").write_text("5")  # begins the peak again
before = high_water()
uses(model, x, given["k"])[given["use"]]()
report(peak=high_water() - before)
