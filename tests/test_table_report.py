"""The report of a table's model, as a file and in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import vaekit
from conftest import SCRIPT, TINY, check_page, dataset, people
from vaekit.deploy.report import write_report
from vaekit.errors import UserError
from vaekit.frame import to_frame
from vaekit.kinds.table.synthesis import SENTENCES, two_sample, verdict

SECTIONS = {
    "training", "schema", "columns", "pairs", "efficacy", "two-sample", "copying", "membership", "gaps", "rows", "units",
    "next", "settings",
}  # fmt: skip


def report(folder: Path, model: Any, train: Any, holdout: Any, target: str | None = None) -> Path:
    """Write the report of a model that was trained on an Arrow table, whose conditions are columns, too."""
    parts = []
    for rows in (holdout, train):
        y = {name: rows[name].to_pylist() for name in model.conditions_.named}
        parts.append(dataset(to_frame(rows.select(model.kind_.columns)), y))
    results = model.evaluate(parts[0].x, parts[0].conditions, k=2)
    return write_report(folder, model, parts[0], results, parts[1], target=target)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbers, dates, words, gaps, and a column whose name and classes are hostile."""
    hostile = pa.array(np.resize([SCRIPT, "$a_b$", "a & b"], 400))
    train, holdout = (people(400, seed).append_column(SCRIPT, hostile) for seed in (0, 1))
    model = vaekit.VAE(**TINY).fit(train)
    return report(tmp_path_factory.mktemp("<b>run"), model, train, holdout, target="pay")


def test_in_a_browser(written: Path, page: Any) -> None:
    check_page(page, written, SECTIONS)
    assert SCRIPT in page.inner_text("#schema")
    assert page.evaluate("document.querySelectorAll('#columns figure').length") == 8
    assert "predict pay" in page.inner_text("#efficacy")
    said = page.inner_text("main")
    assert all(sentence in said for sentence in SENTENCES.values())
    for command in ("--where", "vaekit impute", "vaekit score"):
        assert command in page.inner_text("#next")


def test_names_are_escaped_and_the_page_stands_alone(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    assert SCRIPT not in text
    assert "<b>run" not in text
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)


def test_the_headline_leads_with_how_well_rows_can_be_told_apart(written: Path) -> None:
    """A model that has hardly learned gives rows that anyone can tell from real ones; real rows nobody can."""
    headline = re.search(r'<p class="verdict">(.*?)</p>', written.read_text(encoding="utf-8"), re.DOTALL)
    assert headline is not None
    assert headline[1].startswith("Synthetic rows are easy to tell from real ones")
    real = pa.table({"a": np.random.default_rng(0).normal(size=400)})
    found = {"two_sample": two_sample(real.slice(0, 200), real.slice(200)), "by_column": {"a": 1.0}}
    assert verdict(found).startswith("Synthetic rows are hard to tell")


def test_given_a_condition_and_many_columns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wide = pa.table({f"x{i}": rng.normal(size=200) for i in range(30)})
    kind = np.array(["a", "b"])[rng.integers(0, 2, 200)]
    model = vaekit.CVAE(**TINY).fit(wide, {"kind": kind})
    rows = wide.append_column("kind", pa.array(kind))
    path = report(tmp_path, model, rows.slice(0, 150), rows.slice(150), target="kind")
    text = path.read_text(encoding="utf-8")
    assert "given <b>kind (2 classes)</b>" in text
    assert "The 24 least alike of 31 columns." in text
    assert "The first 24 of 31 columns." in text


def test_one_column(tmp_path: Path) -> None:
    table = pa.table({"x": np.random.default_rng(0).normal(size=100)})
    model = vaekit.VAE(**TINY).fit(table)
    text = report(tmp_path, model, table.slice(0, 60), table.slice(60)).read_text(encoding="utf-8")
    assert set(re.findall(r'<section id="([a-z-]+)"', text)) == SECTIONS - {"pairs", "gaps"}


def test_a_report_that_compares_with_training_rows_asks_for_them(tmp_path: Path) -> None:
    table = pa.table({"x": [1.5, 2.5, 4.0]})
    model = vaekit.VAE(**TINY).fit(table)
    with pytest.raises(UserError, match="give train"):
        write_report(tmp_path, model, dataset(to_frame(table)), model.evaluate(table, k=2))


def test_three_rows_and_a_last_column_of_names(tmp_path: Path) -> None:
    table = pa.table({"x": [1.5, 2.5, 4.0], "name": ["ann", "bob", "bob"]})
    text = report(tmp_path, vaekit.VAE(**TINY).fit(table), table, table).read_text(encoding="utf-8")
    assert set(re.findall(r'<section id="([a-z-]+)"', text)) == SECTIONS - {"two-sample", "gaps"} | {"left-out"}
    assert "3 rows are too few to tell two tables apart" in text
    names = pa.table({"name": [f"n{i % 30}" for i in range(60)]})
    text = report(tmp_path, vaekit.VAE(**TINY).fit(names), names, names).read_text(encoding="utf-8")
    assert set(re.findall(r'<section id="([a-z-]+)"', text)) == SECTIONS - {"pairs", "efficacy", "gaps"}
