"""Filling gaps: against conditional distributions in closed form, and what stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pyarrow as pa
import pytest
import torch

import vaekit
from conftest import real
from vaekit.errors import UserError
from vaekit.structures.resample import complete
from vaekit.training import Data

N = 600
RNG = np.random.default_rng(0)
AGE = RNG.integers(18, 90, N)
COMPLETE = pd.DataFrame(
    {
        "age": AGE.astype(float),
        "pay": np.where(RNG.random(N) < 0.3, 0.0, RNG.lognormal(1, 1, N).round(2)),
        "sex": np.array(["f", "m"])[RNG.integers(0, 2, N)],
        "job": pd.Categorical(
            np.array(["cook", "clerk", "smith"])[AGE % 3], categories=["smith", "cook", "clerk", "none"]
        ),
        "born": pd.Timestamp("2020-06-01", tz="Europe/Berlin") - pd.to_timedelta(365 * AGE, unit="D"),
        "flag": pd.array(RNG.random(N) < 0.2, "boolean"),
        "count": pd.array(RNG.integers(0, 60, N), "Int16"),
    }
)
HIDDEN = RNG.random(COMPLETE.shape) < 0.5
GAPS = COMPLETE.mask(HIDDEN)


@pytest.fixture(scope="module")
def model() -> Any:
    return vaekit.VAE(latent_dim=3, size="small", epochs=3).fit(GAPS)


@pytest.mark.parametrize("seen", [[True] * 3 + [False] * 3, [True] + [False] * 5, [False, True] * 3, [False] * 6])
def test_draws_are_of_what_is_missing_given_what_is_there(linear_gaussian: Any, seen: list[bool]) -> None:
    """Of a linear Gaussian model the conditional is Normal, with a mean and covariance in closed form; the encoder, which
    knows complete rows only, is wrong about these, and wider: the weights of its draws set that right."""
    o = torch.tensor(seen)
    W, b = linear_gaussian.W, linear_gaussian.b
    covariance = W @ W.T + linear_gaussian.sigma**2 * torch.eye(6, dtype=torch.float64)
    x = linear_gaussian.rows(1)
    gain = covariance[~o][:, o] @ torch.linalg.inv(covariance[o][:, o])
    mean = b[~o] + gain @ (x[0, o] - b[o])
    rest = covariance[~o][:, ~o] - gain @ covariance[o][:, ~o]
    rows = 1000  # the same row so often, so that each draw has candidates of its own
    data = Data(torch.where(o, x, torch.nan).expand(rows, -1), o.expand(rows, -1))
    found = complete(linear_gaussian.model(widen=4.0), data, 1, torch.Generator().manual_seed(0), k=2000)[0]
    assert torch.equal(found[:, o], x[:, o].expand(rows, -1))
    missing = found[:, ~o]
    error = rest.diagonal().div(rows).sqrt()
    assert ((missing.mean(0) - mean).abs() < 5 * error).all()
    spread = (rest.square() + rest.diagonal()[:, None] * rest.diagonal()).div(rows).sqrt()  # of a sample covariance
    assert ((missing.T.cov().reshape(rest.shape) - rest).abs() < 6 * spread).all()


def test_memory_is_bounded_and_all_rows_are_filled(linear_gaussian: Any, monkeypatch: Any) -> None:
    x = linear_gaussian.rows(50)
    mask = torch.rand(x.shape) < 0.5
    monkeypatch.setattr("vaekit.training.data.VALUES_AT_ONCE", 6 * 64 * 7)
    found = complete(linear_gaussian.model(), Data(torch.where(mask, x, torch.nan), mask), 3, torch.Generator())
    assert found.shape == (3, 50, 6)
    assert found.isfinite().all()
    assert torch.equal(found[:, mask], x[mask].expand(3, -1))


def test_what_is_there_stays_and_nothing_is_left_empty(model: Any) -> None:
    for filled in (model.impute(GAPS), *model.impute(GAPS, draws=3)):
        assert not filled.isna().any().any()
        for name in GAPS:
            there = ~GAPS[name].isna()
            pd.testing.assert_series_equal(filled[name][there], GAPS[name][there])
        assert list(filled["job"].cat.categories) == ["smith", "cook", "clerk", "none"]
        assert set(filled["sex"]) == {"f", "m"}
        assert filled["age"].between(18, 90).all()
        assert (filled["age"] % 1 == 0).all()
        assert (filled["pay"] >= 0).all()


def test_draws_differ_where_the_best_guess_does_not(model: Any) -> None:
    a, b = model.impute(GAPS, draws=2)
    there = GAPS["count"].notna()
    assert (a["count"][~there] != b["count"][~there]).mean() > 0.5
    pd.testing.assert_frame_equal(model.impute(GAPS), model.impute(GAPS))
    pd.testing.assert_frame_equal(model.impute(GAPS, draws=2)[1], b)
    other = model.impute(GAPS, draws=2, random_state=7)[1]
    assert not other.equals(b)


def test_the_library_of_the_table_is_that_of_the_result(model: Any) -> None:
    table = pa.Table.from_pandas(GAPS, preserve_index=False)
    filled = model.impute(table)
    assert isinstance(filled, pa.Table)
    assert filled.schema.types == table.schema.types
    assert filled.combine_chunks().to_pandas().equals(model.impute(GAPS))
    rows = pl.from_arrow(table)
    assert isinstance(rows, pl.DataFrame)
    again = model.impute(rows)
    assert again.schema == rows.schema
    pl.testing.assert_frame_equal(again, pl.from_arrow(filled), categorical_as_str=True)  # type: ignore[arg-type]


def test_one_row_and_a_row_of_nothing(model: Any) -> None:
    """A column that is all empty, whatever its type is then."""
    one = pd.DataFrame({name: [None] for name in GAPS})
    filled = model.impute(one)
    assert not filled.isna().any().any()
    assert filled["sex"][0] in ("f", "m")
    one = model.impute(GAPS.iloc[[3]].assign(count=[None]))
    assert one["count"].notna().all()


EMPTY = {
    "NaN of NumPy": lambda n: np.full(n, np.nan),
    "None": lambda n: [None] * n,
    "whole numbers of Arrow": lambda n: pd.array([None] * n, "Int64"),
    "text": lambda n: pd.array([None] * n, "string"),
    "empty text": lambda n: [""] * n,
    "times": lambda n: pd.to_datetime([None] * n),
}


@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize("name", COMPLETE)
def test_a_column_that_is_empty_throughout_is_filled_in_the_type_it_was_trained_in(
    model: Any, name: str, empty: str
) -> None:
    rows = COMPLETE.iloc[:4].assign(**{name: EMPTY[empty](4)})
    filled, drawn = model.impute(rows), model.impute(rows, draws=1)[0]
    for found in (filled, drawn):
        assert found[name].notna().all()
        assert set(found[name]) <= set(COMPLETE[name]) or name in ("age", "pay", "born", "count")
        found = pa.Table.from_pandas(found)[name].type
        assert found == pa.Table.from_pandas(COMPLETE)[name].type
    np.testing.assert_array_equal(
        model.score_samples(rows, k=5), model.score_samples(rows.assign(**{name: [None] * 4}), k=5)
    )


def test_a_category_may_stand_for_a_missing_cell() -> None:
    rows = pd.DataFrame({"c": pd.Categorical(["a", "none", "b"] * 20), "x": np.arange(60.0)})
    schema = {"c": {"kind": "categorical", "missing": "none"}}
    filled = (
        vaekit.VAE(latent_dim=2, size="small", epochs=1, kind={"schema": schema})
        .fit(rows)
        .impute(rows)["c"]
        .astype(str)
    )
    assert set(filled) == {"a", "b"}
    assert (filled[rows["c"] != "none"] == rows["c"].astype(str)[rows["c"] != "none"]).all()


def test_what_is_no_table_is_told_by_its_kind(model: Any) -> None:
    for rows, message in (
        (COMPLETE.iloc[0], "give a table with these"),
        (COMPLETE.head(2).to_dict(), "pandas.DataFrame"),
    ):
        with pytest.raises(UserError, match=message):
            model.impute(rows)


def test_columns_that_are_absent_are_filled_too(model: Any) -> None:
    filled = model.impute(COMPLETE[["sex", "age"]].head(5))
    assert set(filled) == set(COMPLETE)
    assert not filled.isna().any().any()
    pd.testing.assert_frame_equal(filled[["sex", "age"]], COMPLETE[["sex", "age"]].head(5))


def test_codes_that_all_happen_to_be_digits_are_text_again_where_the_fill_is() -> None:
    rows = pd.DataFrame({"code": ["7", "A1"] * 50, "x": np.arange(100.0)})
    model = vaekit.VAE(latent_dim=2, size="small", epochs=1).fit(rows)
    filled = model.impute(pd.DataFrame({"code": [7.0] + [None] * 40, "x": np.arange(41.0)}).astype({"code": "Int64"}))
    assert filled["code"][0] == "7"
    assert set(filled["code"]) <= {"7", "A1"}


def test_rows_without_gaps_cost_nothing(model: Any, monkeypatch: Any) -> None:
    seen = []

    def counted(model: Any, data: Data, *args: Any) -> Any:
        seen.append(len(data))
        return complete(model, data, *args)

    monkeypatch.setattr("vaekit.kinds.base.complete", counted)
    rows = COMPLETE.copy()
    rows.loc[[3, 500], "sex"] = None
    filled = model.impute(rows)
    assert seen == [2]
    pd.testing.assert_frame_equal(filled.drop(index=[3, 500]), COMPLETE.drop(index=[3, 500]))


def test_classes_never_seen_stay(model: Any) -> None:
    rows = GAPS.assign(sex=np.where(np.arange(N) % 2, "unknown", None))
    filled = model.impute(rows)
    assert (filled["sex"][1::2] == "unknown").all()
    assert set(filled["sex"][::2]) == {"f", "m"}


def test_a_complete_table_is_as_it_was(model: Any) -> None:
    pd.testing.assert_frame_equal(model.impute(COMPLETE), COMPLETE)
    with pytest.raises(UserError, match="draws=0 has to be a whole number from 1"):
        model.impute(GAPS, draws=0)


def test_gaps_of_an_array_of_numbers() -> None:
    rng = np.random.default_rng(1)
    X = np.where(rng.random((300, 4)) < 0.3, np.nan, rng.normal(size=(300, 1)) + 0.1 * rng.normal(size=(300, 4)))
    filled = vaekit.VAE(latent_dim=2, size="small", epochs=2).fit(X).impute(X)
    there = ~np.isnan(X)
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[there], X[there])


@pytest.mark.slow
def test_learned_imputations_have_the_mean_and_the_spread_of_the_truth() -> None:
    """A multivariate Normal of which cells are missing at random: of each missing cell the conditional mean and standard
    deviation are known; draws have nearly that spread, and the best guess is far nearer to it than the mean of the column."""
    rng = np.random.default_rng(2)
    mixing = rng.normal(size=(5, 2))
    covariance = mixing @ mixing.T + 0.2 * np.eye(5)
    X = rng.multivariate_normal(np.zeros(5), covariance, 4000)
    gaps = rng.random(X.shape) < 0.3
    rows = pd.DataFrame(np.where(gaps, np.nan, X), columns=list("abcde"))
    model = vaekit.VAE(latent_dim=4, epochs=60).fit(rows)
    draws = np.stack([d.to_numpy() for d in model.impute(rows[:800], draws=40)])
    best = model.impute(rows[:800]).to_numpy()
    mean, deviation = X[:800].copy(), np.zeros((800, 5))
    for i in range(800):
        o = ~gaps[i]
        gain = covariance[~o][:, o] @ np.linalg.inv(covariance[o][:, o])
        mean[i, ~o] = gain @ X[i, o]
        deviation[i, ~o] = np.sqrt(np.diag(covariance[~o][:, ~o] - gain @ covariance[o][:, ~o]))
    hidden = gaps[:800]
    truth, bound = X[:800][hidden], np.sqrt(np.mean(deviation[hidden] ** 2))
    assert np.sqrt(np.mean((best[hidden] - truth) ** 2)) < 1.1 * bound
    assert np.sqrt(np.mean((best[hidden] - mean[hidden]) ** 2)) < 0.4 * bound  # 0.31 of it when this was written
    spread = draws.std(0)[hidden] / deviation[hidden]
    assert np.median(spread) == pytest.approx(1, abs=0.15)
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    inside = (truth >= low[hidden]) & (truth <= high[hidden])
    assert inside.mean() == pytest.approx(0.88, abs=0.05)  # 40 draws: 0.90 * 39 / 40


@pytest.mark.slow
def test_real_gaps_are_filled_better_than_by_the_mean() -> None:
    rows = pd.read_csv(real("tabular/diamonds.csv.gz")).sample(3000, random_state=0, ignore_index=True)
    gaps = np.random.default_rng(0).random(rows.shape) < 0.2
    filled = vaekit.VAE(epochs=60).fit(rows.mask(gaps)).impute(rows.mask(gaps))
    for i, name in enumerate(rows):
        truth, found = rows[name][gaps[:, i]], filled[name][gaps[:, i]]
        if truth.dtype.kind in "if":
            assert ((found - truth) ** 2).mean() < 0.9 * truth.var(), name
        else:
            commonest = rows[name][~gaps[:, i]].mode()[0]
            chance = (truth == commonest).mean()  # of a colour nothing else tells much
            assert (found == truth).mean() > chance - 2 * np.sqrt(chance * (1 - chance) / len(truth)), name
