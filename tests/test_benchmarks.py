"""Each benchmark runs at a toy size, and says what made its table; what was measured is not measured again."""

import importlib
import json
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch

from conftest import DATA, real

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
LINES = {
    "anomaly.py adbench": "adbench",
    "anomaly.py dense": "",
    "beyond_memory.py cameras": "",
    "beyond_memory.py pictures": "",
    "beyond_memory.py table": "",
    "evolution.py arm": "",
    "evolution.py digits": "",
    "evolution_robots.py damage": "",
    "evolution_robots.py gaits": "",
    "explorer.py page": "",
    "far_away.py auroc": "mnist",
    "first_runs.py sets": "",
    "generation.py disentanglement --data sprites": "lpc_sprites",
    "imputation.py tables": "tabular",
    "many_scores.py engines": "",
    "policy_speed.py training": "",
    "quality.py likelihood": "mnist",
    "reading.py sources": "",
    "robots.py success": "",
    "semi_supervised.py sst2": "text",
    "series.py gaps": "timeseries",
    "serving.py hold": "",
    "serving.py load": "",
    "serving.py lone": "",
    "serving.py stop": "",
    "speed.py networks": "",
    "speed.py scaling": "",
    "speed.py training": "",
    "surprise.py monitors": "",
    "synthesis.py tables": "tabular",
    "text.py ptb": "text",
    "two_processes.py rates": "",
    "use_speed.py rates": "",
}


SHARED = {"harness.py", "readers.py", "searches.py"}


@pytest.fixture
def run(monkeypatch):
    """Runs a benchmark in this process."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads = torch.get_num_threads()

    def run(line, results):
        script, *words = shlex.split(line)
        path = str(BENCHMARKS / script)
        monkeypatch.setattr(sys, "argv", [path, *words, "--results", str(results), "--folder", str(DATA)])
        runpy.run_path(path, run_name="__main__")

    yield run
    torch.set_num_threads(threads)


def test_every_benchmark_is_here():
    assert {line.split()[0] for line in LINES} == {p.name for p in BENCHMARKS.glob("*.py")} - SHARED


@pytest.mark.parametrize("line", LINES)
def test_a_benchmark_runs_at_a_toy_size(line, tmp_path, run):
    if LINES[line]:
        real(LINES[line])
    run(f"{line} --toy", tmp_path)
    (table,) = tmp_path.glob("*.md")
    text = table.read_text()
    assert text.startswith("# ")
    assert f"`python benchmarks/{line}" in text
    assert re.search(r"threads.*commit ([0-9a-f]{7,}|unknown)( \+ uncommitted changes)?;.*date \d{4}-\d\d-\d\d", text)
    assert "/tmp" not in text.split("\n\n")[1]
    assert json.loads(table.with_suffix(".json").read_text())["rows"]


def test_a_published_table_is_that_of_its_cells(tmp_path, run):
    """Nothing is measured here: every cell is in the file, and the rows come out as they are published."""
    real("tabular")
    published = (BENCHMARKS / "results" / "semi_supervised-adult.md").read_text()
    cells = shutil.copy(BENCHMARKS / "results" / "semi_supervised-cells.jsonl", tmp_path)
    before = Path(cells).read_text()
    (command,) = re.findall(r"`python benchmarks/(.*)`", published.split("\n\n")[1])
    run(command, tmp_path)
    made = (tmp_path / "semi_supervised-adult.md").read_text()
    assert rows(made) == [line.replace(" ± 0.00", "") for line in rows(published)]  # one seed has no spread
    assert "cells of commit f973583" in made
    assert Path(cells).read_text() == before


def rows(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def test_a_cell_is_measured_once_and_again_when_asked(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    harness, path, calls = importlib.import_module("harness"), tmp_path / "cells.jsonl", []

    def measure(method, seed):
        calls.append((method, seed))
        return {"error": len(calls)}

    def cells(again=False):
        cell = harness.Cells(path, again)
        return [cell({"method": m, "seed": s}, measure, m, s)["error"] for m, s in (("a", 0), ("a", 1), ("a", 0))]

    assert cells() == [1, 2, 1]
    assert cells() == [1, 2, 1]
    assert cells(again=True) == [3, 4, 3]
    assert cells() == [3, 4, 3]
    assert calls == [("a", 0), ("a", 1)] * 2


def test_a_row_has_mean_and_spread(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    averages = importlib.import_module("harness").averages
    runs = [{"a": 1.0, "b": 2.0}, {"a": 3.0}]
    assert averages(runs, {"A": ("a", 1), "B": ("b", 2), "C": ("c", 1)}) == {"A": "2.0 ± 1.0", "B": "2.00", "C": ""}
