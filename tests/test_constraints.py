"""What has to hold between columns holds in every row that is drawn, rebuilt or filled."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import vaekit
from conftest import TINY
from vaekit.errors import Note, UserError
from vaekit.frame import Frame
from vaekit.kinds.table import Table

N = 400
RNG = np.random.default_rng(0)
QUANTITY, PRICE = RNG.integers(1, 9, N), RNG.lognormal(2, 1, N).round(2)
START = pd.Timestamp("2019-03-01") + pd.to_timedelta(RNG.integers(0, 60 * 24 * 30, N), unit="min")
LOW = RNG.normal(100, 20, N).round(2)
OPEN, CLOSE = (LOW + RNG.exponential(2, N).round(2) for _ in range(2))
ROWS = pd.DataFrame(
    {
        "end": START + pd.to_timedelta(RNG.exponential(14, N).round() + 1, unit="min"),
        "total": (PRICE * QUANTITY).round(2),
        "low": LOW,
        "open": OPEN.round(2),
        "close": CLOSE.round(2),
        "high": (np.maximum(OPEN, CLOSE) + RNG.exponential(1, N)).round(2),
        "start": START,
        "price": PRICE,
        "quantity": QUANTITY,
        "born": [datetime.date(1980, 1, 1) + datetime.timedelta(int(d)) for d in RNG.integers(0, 9000, N)],
    }
)
ROWS["hired"] = [
    born + datetime.timedelta(int(d)) for born, d in zip(ROWS["born"], RNG.integers(6000, 9000, N), strict=True)
]
RULES = [
    "start < end",
    "total == price * quantity",
    "low <= open",
    "low<=close",
    "open <= high",
    "high >= close",
    "hired > born",
]


def obeys(rows: pd.DataFrame) -> np.ndarray:
    """Which rows do, a missing cell obeys whatever it could be: (rules, N)."""
    r = rows

    def compared(a: str, b: str, strict: bool = False) -> np.ndarray:
        known = r[a].notna() & r[b].notna()
        x, y = r[a].where(known), r[b].where(known)
        return np.array([not k or (p < q if strict else p <= q) for k, p, q in zip(known, x, y, strict=True)])

    product = r["price"].astype(float) * r["quantity"].astype(float)
    return np.array(
        [
            compared("start", "end", strict=True),
            ~((r["total"].astype(float) - product).abs() > 0.0051).to_numpy(bool),
            compared("low", "open"),
            compared("low", "close"),
            compared("open", "high"),
            compared("close", "high"),
            compared("born", "hired", strict=True),
        ]
    )


def test_the_rows_of_the_test_obey() -> None:
    assert obeys(ROWS).all()


@pytest.fixture(scope="module")
def model() -> Any:
    gaps = ROWS.mask(RNG.random(ROWS.shape) < 0.1).astype({"quantity": "Int64"})
    return vaekit.VAE(**TINY, kind={"constraints": RULES}).fit(gaps)


def test_every_row_that_is_drawn_obeys_and_has_the_columns_and_types_of_the_data(model: Any) -> None:
    rows = model.sample(3000)
    assert list(rows) == list(ROWS)
    assert obeys(rows).all()
    for name in ROWS:
        assert 0.05 < rows[name].isna().mean() < 0.2, name
    assert (rows["start"].dropna().dt.second == 0).all()
    assert (rows["end"].dropna().dt.second == 0).all()
    minutes = (rows["end"] - rows["start"]).dt.total_seconds().dropna() / 60
    real = (ROWS["end"] - ROWS["start"]).dt.total_seconds() / 60
    assert minutes.median() == pytest.approx(real.median(), rel=0.3)
    assert rows["low"].dropna().round(2).equals(rows["low"].dropna())


def test_every_row_that_is_rebuilt_obeys(model: Any, tmp_path: Path) -> None:
    assert obeys(model.reconstruct(ROWS)).all()
    loaded = vaekit.load(model.save(tmp_path / "run"))
    pd.testing.assert_frame_equal(loaded.reconstruct(ROWS), model.reconstruct(ROWS))
    np.testing.assert_array_equal(loaded.score_samples(ROWS, k=5), model.score_samples(ROWS, k=5))


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_every_row_that_is_filled_obeys_and_keeps_what_it_had(model: Any, share: float) -> None:
    rng = np.random.default_rng(3)
    gaps = ROWS.mask(rng.random(ROWS.shape) < share)
    gaps["quantity"] = ROWS["quantity"]  # a whole number cannot make up for a price and a total that are there
    for filled in (model.impute(gaps), *model.impute(gaps, draws=2)):
        assert not filled.isna().any().any()
        assert obeys(filled).all()
        for name in ROWS:
            there = gaps[name].notna()
            assert (filled[name][there] == ROWS[name][there]).all()


def test_what_cannot_be_filled_so_is_told(model: Any) -> None:
    rows = ROWS.head(3).assign(price=2.0, total=7.0, quantity=pd.array([None] * 3, "Int64"))
    with pytest.warns(Note, match="'total == price .* does not hold in 3 of the filled rows"):
        filled = model.impute(rows)
    assert filled["quantity"].tolist() == [4, 4, 4]


def test_a_start_is_filled_from_the_end_that_is_known() -> None:
    """Starts lie in a month, trips take a quarter of an hour: given the end, the start is known to minutes."""
    rows = ROWS[["start", "end"]]
    model = vaekit.VAE(**TINY, kind={"constraints": ["start <= end"]}).fit(rows)
    filled = model.impute(rows.assign(start=pd.NaT))
    assert ((filled["start"] - rows["start"]).abs() < pd.Timedelta("3h")).all()


def test_a_density_is_that_of_the_columns_themselves() -> None:
    """With a <= b the model sees a and b - a, a shift: the density is that of a model of a and b - a."""
    rng = np.random.default_rng(0)
    a, gap = rng.normal(size=400).round(3), rng.exponential(1, 400).round(3)
    rows = pd.DataFrame({"a": a, "b": (a + gap).round(3)})
    model = vaekit.VAE(**TINY, kind={"constraints": ["a <= b"]}).fit(rows)
    shifted = pd.DataFrame({"a": a, "b": gap})
    np.testing.assert_allclose(
        model.score_samples(rows), vaekit.VAE(**TINY).fit(shifted).score_samples(shifted), rtol=1e-4, atol=1e-4
    )
    wrong = rows.assign(b=rows["a"] - 2)
    assert (model.score_samples(wrong) < model.score_samples(rows).min()).all()


@settings(max_examples=60)
@given(data=st.data(), step=st.sampled_from([0.0, 0.01, 1.0]), strict=st.booleans(), n=st.integers(8, 40))
def test_whatever_the_model_draws_obeys(data: Any, step: float, strict: bool, n: int) -> None:
    """The way from draws, of any model, to rows: chains and sums of numbers of any step."""
    seed = data.draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    scale = data.draw(st.sampled_from([1e-3, 1.0, 1e5]))

    def stepped(v: np.ndarray) -> np.ndarray:
        return np.round(np.rint(v / step) * step, 2) if step else v

    a = stepped(rng.normal(size=n) * scale * 3)
    b = stepped(a + rng.exponential(scale, n)) + strict * (step or scale)
    b = np.round(b, 2) if step else b
    c = np.maximum(b, a) + stepped(rng.exponential(scale, n))
    table = pa.table({"c": c, "a": a, "b": b, "s": a + b, "d": (rng.random(n) < 0.5).astype(int)})
    holes = {name: rng.random(n) < 0.2 for name in table.column_names}
    holes["s"] |= holes["a"] & holes["b"]  # of a sum that is there the parts are found where one of them is there
    hidden = {name: pa.array(where) for name, where in holes.items()}
    sign = "<" if strict else "<="
    holed = pa.table({k: pa.compute.if_else(hidden[k], None, table[k]) for k in table.column_names})
    assume(len(holed.drop_null()) > 1)
    assume(all(len(np.unique(d)) > 1 for d in (a, b - a, c - b)))
    domain = Table.infer(Frame.of(holed), constraints=[f"a {sign} b", "b <= c", "s = a + b"])
    assume(getattr(domain.schema["s"], "step", step) == step)  # what few sums are rounded to may be coarser by chance
    draws = torch.from_numpy(rng.normal(size=(200, *domain.event_shape)) * 3)
    rows = domain.unpacked(draws, {})
    check(rows, strict, step)
    x, _ = domain.pack(Frame.of(holed), torch.float64)
    draws = torch.from_numpy(rng.normal(size=x.shape) * 3)
    filled = domain.fill(Frame.of(holed), draws)
    kept = {k: pa.compute.if_else(hidden[k], filled[k], table[k]) for k in table.column_names}
    assert filled.equals(pa.table(kept)), "cells that are there stay"
    check({k: filled[k] for k in table.column_names}, strict, step, sums=False)


def check(rows: Any, strict: bool, step: float, sums: bool = True) -> None:
    a, b, c, s = (
        np.asarray(rows[name].to_numpy(zero_copy_only=False) if isinstance(rows[name], pa.Array) else rows[name])
        for name in "abcs"
    )
    assert (a < b).all() if strict else (a <= b).all()
    assert (b <= c).all()
    if sums:
        assert (np.abs(a + b - s) <= 0.51 * step + 1e-8 * np.abs(s)).all()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (["start <= finish"], "there is no column 'finish'"),
        (["start"], "cannot be read: write it as 'start <= end'"),
        (["start <"], "cannot be read"),
        (["low <= open <= high"], "cannot be read"),
        (["low <= max(open, close)"], "there is no column 'max'|cannot be read"),
        (["price >= 0"], "has to compare two columns; .* low and high"),
        (["price + 1 <= total"], "has to compare two columns"),
        (["total == 3"], "needs a single column"),
        (["price * quantity == low + high"], "needs a single column"),
        (["low <= open", "open <= high", "high <= low"], "form a circle"),
        (["total == price * quantity", "price <= total"], "already computes 'total', so 'price <= total'"),
        (["high <= low"], r"\d+ of 400 rows violate 'high <= low': correct the data"),
        (["start <= price"], "mixes times with numbers"),
        (["end == start + price"], "mixes times with numbers"),
        (["name <= price"], "compares numbers or times, and column 'name' holds"),
    ],
    ids=str,
)
def test_what_is_no_constraint_is_told_before_training(rules: list[str], message: str) -> None:
    rows = ROWS.assign(name="x")
    with pytest.raises(UserError, match=message):
        vaekit.VAE(**TINY, kind={"constraints": rules}).fit(rows)
    with pytest.raises(UserError, match="constraints is for tables"):
        vaekit.VAE(kind={"constraints": rules}).fit(np.zeros((20, 3)))


def test_rows_that_violate_are_counted_and_the_cell_counts_as_missing() -> None:
    rows = ROWS[["low", "high"]].copy()
    rows.loc[:2, "high"] = 0.0
    model = vaekit.VAE(**TINY, kind={"constraints": ["low <= high"]})
    with pytest.warns(Note, match="3 of 400 rows violate 'low <= high': their 'high' counts as missing"):
        model.fit(rows)
    assert any("violate" in text for text in model.notes_)
    assert (model.sample(500).eval("low <= high")).all()


def test_from_the_command_line_and_from_a_file(tmp_path: Path) -> None:
    from vaekit.recipes.recipe import Recipe
    from vaekit.runs.describe import describe_run

    ROWS[["low", "high"]].to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "c.yaml").write_text(f"source: {tmp_path}/t.csv\nconstraints: [low <= high]\nepochs: 1\nsize: small\n")
    recipe = Recipe.read(tmp_path / "c.yaml")
    assert "low <= high" in recipe.to_yaml()
    folder, _ = recipe.train(tmp_path / "run", say=lambda _: None)
    assert vaekit.load(folder, form="pandas").sample(200, where="high<110").eval("low <= high and high < 110").all()
    assert "constraint: low <= high" in describe_run(folder)


DAYS, HOURS = RNG.integers(0, 9000, 300), RNG.integers(0, 40, 300)
TIMES = DAYS * 24 + HOURS


@pytest.mark.parametrize(
    ("low", "high", "unit"),
    [
        (pa.array(DAYS.astype(np.int32), pa.date32()), pa.array(TIMES * 3_600_000_000, pa.timestamp("us")), "h"),
        (pa.array(DAYS * 86_400 * 10**9, pa.timestamp("ns")), pa.array(TIMES * 3600, pa.timestamp("s")), "h"),
        (pa.array(DAYS, pa.int32()), pa.array(DAYS + HOURS / 4, pa.float32()), None),
    ],
    ids=["days and microseconds", "nanoseconds and seconds", "whole numbers and floats"],
)
def test_columns_of_different_types_are_compared_as_what_they_mean(low: Any, high: Any, unit: str | None) -> None:
    table = pa.table({"low": low, "high": high})
    new = vaekit.VAE(**TINY, kind={"constraints": ["low <= high"]}).fit(table).sample(500)
    assert new.schema.types == table.schema.types
    rows = new.to_pandas()
    gap = pd.to_datetime(rows["high"]) - pd.to_datetime(rows["low"]) if unit else rows["high"] - rows["low"]
    longest = pd.Timedelta(40, unit) if unit else 10
    assert (gap >= 0 * longest).all()
    assert (gap <= longest).all()


def test_names_that_look_like_sums_and_have_spaces() -> None:
    rows = pd.DataFrame({"check-in": LOW, "check in": OPEN.round(2), "check": CLOSE.round(2)})
    model = vaekit.VAE(**TINY, kind={"constraints": ["check-in <= check in", "check-in<=check"]}).fit(rows)
    new = model.sample(300)
    assert (new["check-in"] <= new["check in"]).all()
    assert (new["check-in"] <= new["check"]).all()


def test_an_order_of_dates_that_nearly_all_rows_have_is_suggested() -> None:
    rows = ROWS[["start", "end", "born"]].copy()
    rows.loc[:1, "end"] = pd.Timestamp("2019-01-01")
    with pytest.warns(Note, match="'start <= end' holds in 99.5% of the rows: .* --constraint 'start <= end'"):
        vaekit.VAE(**TINY).fit(rows[["start", "end"]])
    with pytest.warns(Note, match="'start <= end' holds in all rows: "):
        vaekit.VAE(**TINY).fit(ROWS[["start", "end"]])
    for quiet in (
        rows[["start"]],
        rows.assign(end=rows["end"].to_numpy()[::-1])[["start", "end"]],
        rows[["start", "end"]][2:90],
    ):
        assert not any("holds in" in text for text in vaekit.VAE(**TINY).fit(quiet).notes_)
