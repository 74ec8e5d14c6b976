"""Rows that fulfil conditions on their columns."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vaekit.errors import UserError
from vaekit.uses.where import clauses, draw_until

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
    ("where", "message"),
    [
        ("sex", "'sex' is no condition on a column: write it as NAME=VALUE"),
        ("=x", "is no condition"),
        ("sx=Female", "no column 'sx'; did you mean 'sex'"),
        ("age=old", "column 'age' holds int64, which cannot be 'old'"),
        ("day>soon", "column 'day' holds date32.*, which cannot be 'soon'"),
        ("yes=maybe", "which cannot be 'maybe'"),
        ({"age": [1, 2]}, "column 'age' holds int64, which cannot be"),
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


def test_what_no_row_fulfils_is_told_and_not_waited_for() -> None:
    def draw(rows: int, i: int) -> pa.Table:
        return pa.table({"x": np.zeros(rows, int)})

    with pytest.raises(UserError, match=r"of 1,\d+,\d+ rows drawn, 0 have x=1: .*--condition on the column"):
        draw_until(10, clauses("x=1"), draw)
    with pytest.raises(UserError, match="no column 'y'"):
        draw_until(10, clauses("y=1"), draw)
