"""Each benchmark runs at a toy size, and says what made its table."""

import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import torch

from conftest import DATA, real

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
LINES = {
    "anomaly.py adbench": "adbench",
    "anomaly.py dense": "",
    "far_away.py": "mnist",
    "generation.py disentanglement --data sprites": "lpc_sprites",
    "imputation.py tables": "tabular",
    "policy_speed.py training": "",
    "quality.py likelihood": "mnist",
    "robots.py success": "",
    "semi_supervised.py sst2": "text",
    "series.py gaps": "timeseries",
    "speed.py": "",
    "surprise.py": "",
    "synthesis.py tables": "tabular",
    "text.py ptb": "text",
}


def test_every_benchmark_is_here():
    assert {line.split()[0] for line in LINES} == {p.name for p in BENCHMARKS.glob("*.py")} - {"tables.py"}


@pytest.mark.parametrize("line", LINES)
def test_a_benchmark_runs_at_a_toy_size(line, tmp_path, monkeypatch):
    if LINES[line]:
        real(LINES[line])
    script, *words = shlex.split(line)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(
        sys,
        "argv",
        [str(BENCHMARKS / script), *words, "--toy", "--results", str(tmp_path), "--folder", str(DATA)][
            : None if LINES[line] else -2
        ],
    )
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    (table,) = tmp_path.glob("*.md")
    text = table.read_text()
    assert text.startswith("# ")
    assert f"`python benchmarks/{script}" in text
    assert re.search(r"threads.*commit ([0-9a-f]{7,}|unknown)( \+ uncommitted changes)?;.*date \d{4}-\d\d-\d\d", text)
    assert "/tmp" not in text.split("\n\n")[1]
    assert json.loads(table.with_suffix(".json").read_text())
