"""Rows that fulfil conditions on their columns."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaekit.conditions import Conditions
from vaekit.errors import UserError
from vaekit.frame import Frame
from vaekit.kinds.table import Table
from vaekit.kinds.table.filters import COMPARE, Clause, check, clauses, draw_until

TABLE = pa.table(
    {
        "sex": ["Female", "Male", None, "Female"],
        "age": [20, 40, 60, None],
        "pay": [1.5, 2.5, None, 0.1],
        "day": [datetime.date(2020, 1, d) for d in (1, 2, 3, 4)],
        "at": pa.array([datetime.datetime(2020, 1, d) for d in (1, 2, 3, 4)], pa.timestamp("us")),
        "zoned": pa.array([datetime.datetime(2020, 7, d) for d in (1, 2, 3, 4)], pa.timestamp("ms", "Europe/Berlin")),
        "yes": [True, False, None, True],
        "job": pa.array(["a=b", "c d", "", ">"]).dictionary_encode(),
    }
)


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("sex=Female", [0, 3]),
        ("sex == Female", [0, 3]),
        ("sex!=Female", [1]),  # a cell that is empty fulfils nothing
        ("age>=40", [1, 2]),
        ("age < 40", [0]),
        ("age!=40", [0, 2]),
        ("age=40.0", [1]),
        ("age>20.5", [1, 2]),
        ("pay<=1.5", [0, 3]),
        ("day>2020-01-02", [2, 3]),
        ("day=2020-01-02", [1]),
        ("at<2020-01-02 12:00:00", [0, 1]),
        ("at>=2020-01-03", [2, 3]),
        ("zoned>=2020-07-02 02:00", [1, 2, 3]),  # midnight in London
        ("zoned>2020-07-02 02:00", [2, 3]),
        ("zoned>=2020-07-02 01:00Z", [2, 3]),
        ("yes=true", [0, 3]),
        ("yes=False", [1]),
        ("job=a=b", [0]),
        ("job=c d", [1]),
        ("job=", [2]),
        ("job=>", [3]),
        (["age>=40", "sex=Male"], [1]),
        ({"sex": "Female", "age": 20}, [0]),
        ({"pay": 0.1}, [3]),
        ({"age": 40.0}, [1]),
        ({"yes": True}, [0, 3]),
        ({"day": datetime.date(2020, 1, 4)}, [3]),
        ({"age": np.int64(40)}, [1]),
        ({"sex": np.str_("Male")}, [1]),
    ],
    ids=str,
)
def test_rows_that_fulfil_a_condition(where: Any, rows: list[int]) -> None:
    holds = np.logical_and.reduce([c.holds(TABLE).to_numpy() for c in clauses(where)])
    assert np.flatnonzero(holds).tolist() == rows


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("a=b=x", Clause("a=b", "=", "x")),
        ("a=b", Clause("a", "=", "b")),
        ("inc<50k=yes", Clause("inc<50k", "=", "yes")),
        ("inc<50k >= 3", Clause("inc<50k", ">=", "3")),
        ("inc<5", Clause("inc", "<", "5")),
        ("c=d=1", Clause("c", "=", "d=1")),
    ],
)
def test_names_of_columns_may_hold_operators(text: str, clause: Clause) -> None:
    assert clauses(text, ["a", "a=b", "inc<50k"]) == [clause]
    labels = np.array(["x", "b"])
    assert Conditions.infer({"a": labels, "a=b": labels}).parse(["a=b=x", "a=b"]) == {"a=b": "x", "a": "b"}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("sex", "'sex' is not a condition on a column: write it as NAME=VALUE"),
        ("=x", "is not a condition"),
        ("sx=Female", "no column 'sx'; did you mean 'sex'"),
        ("age=old", "column 'age' holds whole numbers, which cannot be compared with 'old'"),
        ("day>soon", "column 'day' holds days, which cannot be compared with 'soon'"),
        ("yes=maybe", "which cannot be compared with 'maybe'"),
        ({"age": [1, 2]}, "column 'age' holds whole numbers, which"),
        ({"age": None}, "column 'age' .* None"),
    ],
    ids=str,
)
def test_a_condition_that_is_none_is_told(where: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        [c.holds(TABLE) for c in clauses(where)]


def test_draws_go_on_until_there_are_enough_and_are_all_that_fulfil_in_turn() -> None:
    rng = np.random.default_rng(0)
    drawn = []

    def draw(rows: int, i: int) -> pa.Table:
        assert i == len(drawn)
        drawn.append(pa.table({"x": rng.integers(0, 1000, rows), "place": np.arange(rows)}))
        return drawn[-1]

    found = draw_until(50, clauses("x<5"), draw)
    every = pa.concat_tables(drawn)
    first = every.filter(pa.array(every["x"].to_numpy() < 5)).slice(0, 50)
    assert len(found) == 50
    assert found.equals(first)
    assert len(drawn) > 1


def test_what_is_rare_is_told_with_how_rare_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def draw(rows: int, i: int) -> pa.Table:
        calls.append(rows)
        return pa.table({"x": (np.arange(rows) == 0).astype(int) * (i == 0)})

    with pytest.raises(
        UserError, match=r"none of 1\d\d,\d+ rows drawn, so fewer than 1 in \d\d,\d+, have x=2: .*--condition"
    ):
        draw_until(10, clauses("x=2"), draw)
    assert sum(calls) < 200_000
    with pytest.raises(UserError, match=r"^1 of 1,\d+,\d+ rows drawn, 1 in 1,\d+,\d+, have x=1: ask for at most 1, or"):
        draw_until(10, clauses("x=1"), draw)
    with pytest.raises(UserError, match="no column 'y'"):
        draw_until(10, clauses("y=1"), draw)


SEEN = pa.table(
    {
        "city": pa.array(["Oslo", "Paris", "Rome"] * 40),
        "price": pa.array(["$1,234.00", "$5.50", "$0.10"] * 40),
        "age": pa.array(np.arange(120) % 73 + 17),
        "pay": pa.array(np.round(np.linspace(-1, 2, 120), 2)),
        "size": pa.array(np.random.default_rng(0).normal(size=120)),
        "day": pa.array([datetime.date(2020, 1, 1) + datetime.timedelta(int(i)) for i in range(120)]),
        "at": pa.array(
            [datetime.datetime(2020, 1, 1, 0, i) for i in range(60)] * 2, pa.timestamp("us", "Europe/Berlin")
        ),
        "yes": pa.array([True, False] * 60),
        "grade": pa.array([1, 2, 3] * 40),
    }
)
COLUMNS = Table.infer(Frame.of(SEEN)).schema
LABELS = Conditions.infer({"group": np.array(["a", "B"]), "dose": np.array([0.5, 1.5])}).named


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("city=rome", "^no row can have city=rome: city has no such class; did you mean 'Rome'"),
        ("city=PARIS", "did you mean 'Paris'"),
        ("city=", "no row can have city="),
        ("price>1000", r"column 'price' holds text, so price>1000 has no meaning"),
        ("age>89", "no row can have age>89: age is integer, 17 to 89"),
        ("age>=89.5", "no row can have"),
        ("age=17.5", "no row can have"),
        ("age<17", "no row can have"),
        ("age=", "which cannot be compared with ''"),
        (["age>50", "age<=50"], "no row can have age>50 and age<=50"),
        (["age>50", "age<51"], "no row can have"),
        ("pay=0.005", "no row can have"),
        ("size>10", "no row can have"),
        ("day>2020-04-29", "no row can have day>2020-04-29: day is date, 2020-01-01 to 2020-04-29"),
        ("day=2019-12-31", "no row can have"),
        ("at<2020-01-01", "no row can have"),
        ("grade=4", r"no row can have grade=4: grade has no such class \(known: 1, 2, 3\)"),
        (["yes=true", "yes=false"], "no row can have"),
        ("group=b", "did you mean 'B'"),
        ("grop=a", "no column 'grop'; did you mean 'group'"),
    ],
    ids=str,
)
def test_what_no_row_can_have_is_told_before_any_is_drawn(where: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(clauses(where), COLUMNS, LABELS)


@given(st.data())
def test_what_some_row_of_the_data_has_is_never_refused(data: st.DataObject) -> None:
    row = SEEN.slice(data.draw(st.integers(0, len(SEEN) - 1)), 1)
    names = data.draw(st.lists(st.sampled_from(SEEN.column_names), min_size=1))
    wanted = []
    for name in names:
        orders = ["=", "!="] if name in ("city", "price") else list(COMPARE)
        value = SEEN[name][data.draw(st.integers(0, len(SEEN) - 1))].as_py()
        wanted.append(Clause(name, data.draw(st.sampled_from(orders)), value))
    if all(clause.holds(row)[0].as_py() for clause in wanted):
        check(wanted, COLUMNS, LABELS)


@pytest.mark.parametrize(
    "where", ["age=89", "age>88.5", "pay=-1", "pay>1.99", "size<0.123", "day>=2020-04-29", "dose>7"]
)
def test_what_a_row_can_have_is_not_refused(where: str) -> None:
    check(clauses(where), COLUMNS, LABELS)
