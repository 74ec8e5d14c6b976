"""Columns that look like identifiers are left out, and said to be; others are not."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import vaekit
from conftest import TINY
from vaekit.errors import Note
from vaekit.frame import to_frame
from vaekit.kinds.table import Table
from vaekit.recipes.source import schema_text

N = 200
RNG = np.random.default_rng(0)
FIRST = ["Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal", "Ida", "Jo", "Kim", "Lea", "Max", "Nia", "Ole"]
NAMES = [f"{a} {b}son" for a, b in zip(RNG.choice(FIRST, N), RNG.choice([f + g.lower() for f in FIRST for g in FIRST], N), strict=True)]  # fmt: skip

IDENTIFIERS: dict[str, Any] = {
    "row numbers": np.arange(N),
    "keys from 1 in any order": RNG.permutation(N) + 1.0,
    "consecutive": 90_000 + np.arange(N),
    "customerID": np.sort(RNG.choice(10_000, N, replace=False)),
    "codes": [f"{i * 7919 % 9973:04d}-{'ABCD'[i % 4]}" for i in range(N)],
    "e-mail": [f"user{i}@example.org" for i in range(N)],
    "phone": [f"+1 555 {i:07d}" for i in range(N)],
    "phones as numbers": 5_550_000_000 + RNG.choice(10**9, N, replace=False),
    "uuid": [uuid.UUID(int=int(i) ** 9) for i in range(1, N + 1)],
    "names, some of which come twice": NAMES,
    "snowflake": 2**60 + RNG.choice(10**9, N, replace=False),
    "prose": [f"customer {i} called and said that {i} is wrong" for i in range(N)],
    "with gaps": [None if i % 3 == 0 else f"T{i}" for i in range(N)],
}
OTHERS: dict[str, Any] = {
    "measured": RNG.normal(size=N),
    "counted": RNG.choice(10**6, N, replace=False),
    "rounded": np.round(RNG.permutation(N) / 10, 1),
    "year": 1850 + np.arange(N),
    "seconds since 1970": 1_577_836_800 + 86_400 * np.arange(N),
    "day": pd.date_range("2020-01-01", periods=N),
    "zip": [f"{i % 50:05d}" for i in range(N)],
    "towns, most of which come once": [f"town {i % 120}" for i in range(N)],
    "yes": np.arange(N) % 2 == 0,
}


@pytest.mark.parametrize("name", [*IDENTIFIERS, *OTHERS])
def test_what_looks_like_an_identifier(name: str) -> None:
    values = {**IDENTIFIERS, **OTHERS}[name]
    frame = to_frame(pd.DataFrame({name: values, "x": RNG.normal(size=N)}))
    if name in IDENTIFIERS:
        with pytest.warns(Note, match="left out: "):
            found = Table.infer(frame)
        assert list(found.left_out) == [name]
        assert list(found.schema) == ["x"]
    else:
        assert list(Table.infer(frame).schema) == [name, "x"]


def test_few_rows_and_what_the_user_says_are_no_identifiers() -> None:
    rows = pd.DataFrame({"id": [f"a{i}" for i in range(40)], "x": RNG.normal(size=40)})
    assert list(Table.infer(to_frame(rows[:10])).schema) == ["id", "x"]
    assert Table.infer(to_frame(rows), schema={"id": "categorical"}).schema["id"].kind == "categorical"


def test_identifiers_pass_through_and_are_never_drawn(tmp_path: Path) -> None:
    lines = [f"0{i:05d}-X,{'' if i % 9 == 0 else i % 60},{'abc'[i % 3]}" for i in range(N)]
    (tmp_path / "t.csv").write_text("\n".join(["customerID,age,kind", *lines]) + "\n")
    text = schema_text(str(tmp_path / "t.csv"))
    assert "customerID: {kind: drop}  # looks like an identifier: 200 values in 200 rows, such as '000000-X'\n" in text
    with pytest.warns(Note, match=r"were left out: customerID \(200 values .* customerID: categorical"):
        model = vaekit.VAE(**TINY).fit_data(vaekit.read(tmp_path / "t.csv"))
    assert any("customerID" in note for note in model.notes_)
    model = vaekit.load(model.save(tmp_path / "run"))
    with pytest.warns(Note, match="samples do not have the columns that look like identifiers: customerID"):
        assert list(model.sample(5).columns) == ["age", "kind"]
    filled = model.impute(model.read(str(tmp_path / "t.csv")).x.whole())
    assert filled["customerID"].to_pylist() == [line.split(",")[0] for line in lines]
    assert filled["age"].null_count == 0
    assert np.isfinite(model.score_samples(model.read(str(tmp_path / "t.csv")).x, k=3)).all()


# -- values that stand for a missing cell ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-200, -9999, 99_999])
def test_a_value_far_from_all_others_is_said_and_may_be_declared_missing(value: int) -> None:
    there = RNG.random(N) < 0.8
    rows = pd.DataFrame({"t": np.where(there, RNG.normal(20, 5, N).round(1), value), "x": RNG.normal(size=N)})
    with pytest.warns(
        Note, match=rf"may stand for a missing cell: t \({value} in .*% of the rows\).* t: {{missing: {value}}}"
    ):
        vaekit.VAE(**TINY).fit(rows)
    model = vaekit.VAE(**TINY, kind={"schema": {"t": {"missing": value}}}).fit(rows)
    c = model.kind_.schema["t"]
    assert c.missing == pytest.approx(1 - there.mean())
    assert (c.low, c.high) == (rows["t"][there].min(), rows["t"][there].max())
    assert model.sample(50)["t"].dropna().between(c.low, c.high).all()
    filled = model.impute(rows)["t"]
    assert filled.between(c.low, c.high).all()
    np.testing.assert_array_equal(filled[there], rows["t"][there])
    gaps = rows.assign(t=rows["t"].where(there))
    np.testing.assert_array_equal(model.score_samples(rows, k=3), model.score_samples(gaps, k=3))


def test_a_value_near_to_others_or_of_one_row_is_no_gap(recwarn: Any) -> None:
    grades = np.where(RNG.random(N) < 0.2, -1, RNG.integers(0, 9, N))
    one = np.append(RNG.normal(size=N - 1), -999.0)
    Table.infer(to_frame(pd.DataFrame({"grade": grades, "one": one, "zero": RNG.choice([0, 50, 60, 70], N)})))
    assert not [w for w in recwarn if "missing cell" in str(w.message)]
