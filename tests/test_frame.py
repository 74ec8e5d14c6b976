"""DataFrames of pandas and polars, Arrow tables and files, on their way in and out."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import dataset, parquet

import vaekit
from vaekit.errors import Note, UserError
from vaekit.frame import Frame, array_frame, from_arrow, is_frame, to_frame

COLUMNS = {"a": [1.5, None, 3.0], "b": ["x", "y", None], "n": [1, 2, 3]}
TABLE = pa.table(COLUMNS)


@pytest.mark.parametrize("like", ["pandas", "polars", "arrow"])
def test_a_table_comes_back_as_the_library_had_it(like: str) -> None:
    given: Any = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.table}[like](COLUMNS)
    frame = to_frame(given)
    assert (frame.like, frame.shape, frame.columns, len(frame)) == (like, (3, 3), ["a", "b", "n"], 3)
    back = from_arrow(frame.table(), frame.like)
    if like == "pandas":
        pd.testing.assert_frame_equal(back, given)
    elif like == "polars":
        polars.testing.assert_frame_equal(back, given)
    else:
        assert back.to_pydict() == COLUMNS


@pytest.mark.parametrize("rows", [slice(1, 3), [2, 0], np.array([True, False, True]), 1, np.int64(2), slice(0, 0)])
def test_rows_are_chosen_as_numpy_chooses_them(rows: Any) -> None:
    assert to_frame(TABLE)[rows].table()["n"].to_pylist() == np.atleast_1d(np.array([1, 2, 3])[rows]).tolist()


def test_numbers_are_numbers_and_gaps_nan() -> None:
    frame = to_frame(pd.DataFrame({"a": [1.5, None], "flag": [True, False], "small": pd.array([None, 3], "Int8")}))
    np.testing.assert_array_equal(frame.numbers(), [[1.5, 1, np.nan], [np.nan, 0, 3]])
    with pytest.raises(UserError, match="column 'b' holds text, such as 'x', not numbers"):
        to_frame(TABLE).numbers()


@pytest.mark.parametrize("rows", [1, 7, 100, 65_536])
def test_a_file_is_read_in_pieces_of_so_many_rows(tmp_path: Path, rows: int) -> None:
    """Whatever groups of rows the file has."""
    table = pa.table({"i": np.arange(250), "c": ["x"] * 250})
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=33)
    frame = Frame(dataset.dataset(tmp_path / "t.parquet"))
    pieces = list(frame.pieces(rows))
    assert [len(p) for p in pieces] == [rows] * (250 // rows) + ([250 % rows] if 250 % rows else [])
    assert pa.concat_tables(pieces).equals(table)
    assert frame.select(["c"]).columns == ["c"]
    assert frame.select(["c"]).whole().columns == ["i", "c"]


@pytest.mark.parametrize(
    "X",
    [
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame([[1, 2]], columns=[1, "1"]),
        pa.table([[1], [2]], names=["a", "a"]),
    ],
    ids=["pandas", "as text", "arrow"],
)
def test_two_columns_of_one_name_are_told(X: Any) -> None:
    with pytest.raises(UserError, match=r"there are 2 columns named '[a1]': give each its own name"):
        to_frame(X)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, "x"], "mixes int and str: make all of it numbers or all of it text"),
        (["x", 1, None], "mixes int and str"),
        ([True, 2.5], "mixes bool and float"),
        ([pd.Timestamp(0), "x"], "mixes Timestamp and str"),
        (np.array([1j, 2]), "holds complex128: leave it out"),
        (pd.arrays.SparseArray([0.0, 1.0]), "holds Sparse.*: leave it out"),
    ],
)
def test_a_column_of_several_types_is_told(values: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"column 'm' {message}"):
        to_frame(pd.DataFrame({"m": values}))


def test_what_is_no_table() -> None:
    assert is_frame(TABLE)
    assert is_frame(pd.DataFrame())
    for X in (np.zeros((3, 2)), [[1, 2]], pd.Series([1.0]), pl.Series([1.0]), pa.array([1.0])):
        assert not is_frame(X)
    with pytest.raises(UserError, match=r"LazyFrame is not a table in memory: call its collect\(\)"):
        to_frame(pl.DataFrame(COLUMNS).lazy())


def test_an_array_takes_the_names_of_columns() -> None:
    assert array_frame(np.array([[1.0, 2], [3, 4]]), ["a", "b"]).table().to_pydict() == {"a": [1, 3], "b": [2, 4]}
    with pytest.raises(UserError, match="the model has 3 columns"):
        array_frame(np.zeros((2, 2)), ["a", "b", "c"])


GAPS = np.random.default_rng(0).random(90) < 0.2
WHOLE = pd.Series(np.arange(90) % 40)
KINDS: dict[Any, Any] = {
    0: WHOLE.astype("Int64").mask(GAPS),
    ("a", "b"): (WHOLE / 4).astype("Float64").mask(GAPS),
    "flag": (WHOLE % 2).astype("boolean").mask(GAPS),
    "text": WHOLE.map(lambda i: "abc"[i % 3]).astype("string").mask(GAPS),
    2.5: WHOLE.astype("int64[pyarrow]"),
    "words of Arrow": WHOLE.map(lambda i: "abc"[i % 3]).astype("string[pyarrow]"),
    "times of Arrow": pd.Series(pd.date_range("2020", periods=90)).astype("timestamp[us][pyarrow]"),
    "objects": WHOLE.map(lambda i: "abc"[i % 3]).astype(object),
    "ordered": pd.Categorical(WHOLE.map(lambda i: "xy"[i % 2]), categories=["y", "x", "never"], ordered=True),
    "small": WHOLE.astype("int8"),
    "single": (WHOLE / 4).astype("float32"),
    "zone": pd.date_range("2020", periods=90, tz="Europe/Berlin"),
    "span": pd.to_timedelta(7 * WHOLE, unit="s"),
    "day": [d.date() for d in pd.date_range("2020", periods=90)],
    "yes or no": pd.Series(np.where(GAPS, None, WHOLE % 2 == 0), dtype=object),
}


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=6, unique=True))
def test_a_data_frame_comes_back_with_its_own_types_and_labels(labels: list[Any]) -> None:
    rows = pd.DataFrame({i: KINDS[label] for i, label in enumerate(labels)})
    rows.columns = pd.Index(labels, tupleize_cols=False, dtype=object)
    with tempfile.TemporaryDirectory() as folder:
        model = vaekit.VAE(epochs=1, latent_dim=2, size="small", sampler="prior").fit(rows)
        loaded = vaekit.load(model.save(Path(folder) / "run"))
    for found in (model.sample(20), loaded.sample(20), model.impute(rows), model.reconstruct(rows)):
        assert found.columns.tolist() == labels
        assert found.dtypes.tolist() == rows.dtypes.tolist()


def test_columns_of_several_levels_in_any_order_with_more_or_with_fewer() -> None:
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(90, 3)))
    rows[2] = np.where(rows[0] > 0, "p", "n")
    model = vaekit.VAE(epochs=1, latent_dim=2, size="small", sampler="prior").fit(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = model.score_samples(rows, k=3)
        np.testing.assert_array_equal(model.score_samples(rows[[2, 1, 0]].assign(more=1), k=3), scores)
        model.score_samples(rows.to_numpy(), k=3)
    with pytest.warns(Note, match="table lacks 2 of the model's . columns: 1, 2"):
        filled = model.impute(rows[[0]])
    assert filled.columns.tolist() == [0, 1, 2]
    assert filled.notna().all(axis=None)
    pd.testing.assert_series_equal(filled[0], rows[0])
    levels = rows.set_axis(pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]), axis=1)
    assert model.fit(levels).sample(2).columns.equals(levels.columns)
