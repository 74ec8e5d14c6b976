"""Tables as a whole: the domain, and estimators on DataFrames."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from scipy.stats import ks_2samp

import vaekit
from conftest import TINY, real
from vaekit.errors import Note, UserError
from vaekit.frame import Frame, to_frame
from vaekit.kinds.table import Table

N = 500
RNG = np.random.default_rng(0)
AGE = RNG.integers(18, 90, N)
ROWS = pd.DataFrame(
    {
        "age": AGE,
        "pay": np.where(RNG.random(N) < 0.3, 0.0, RNG.lognormal(1, 1, N).round(2)),
        "sex": np.array(["f", "m"])[RNG.integers(0, 2, N)],
        "job": pd.Categorical(
            np.array(["cook", "clerk", "smith"])[AGE % 3], categories=["smith", "cook", "clerk", "none"]
        ),
        "born": pd.Timestamp("2020-06-01", tz="Europe/Berlin") - pd.to_timedelta(365 * AGE, unit="D"),
        "height": np.where(RNG.random(N) < 0.2, np.nan, RNG.normal(1.7, 0.1, N)),
        "member": RNG.random(N) < 0.2,
    }
)


@pytest.fixture(scope="module")
def model() -> Any:
    return vaekit.VAE(**{**TINY, "sampler": "auto"}).fit(ROWS)


def fit(rows: Any, **settings: Any) -> Any:
    return vaekit.VAE(**{**TINY, **settings}).fit(rows)


def sound(model: Any, rows: Any) -> Any:
    """A model's scores are numbers, and its samples a table of as many rows as were asked for."""
    assert np.isfinite(model.score_samples(rows, k=10)).all()
    samples = model.sample(20)
    assert len(samples) == 20
    return samples


# -- what comes back ---------------------------------------------------------------------------------------------------


def test_samples_are_of_the_same_library_and_types(model: Any) -> None:
    samples = model.sample(200)
    assert isinstance(samples, pd.DataFrame)
    assert samples.dtypes.equals(ROWS.dtypes)
    assert list(samples["job"].cat.categories) == list(ROWS["job"].cat.categories)
    assert samples["age"].between(18, 90).all()
    assert 0 < samples["height"].isna().mean() < 0.5
    table = pa.Table.from_pandas(ROWS, preserve_index=False)
    for given in (table, pl.from_arrow(table)):
        samples = fit(given, epochs=1).sample(20)
        assert type(samples) is type(given)
        if isinstance(samples, pa.Table):
            assert samples.schema.types == table.schema.types
        else:
            assert samples.schema == given.schema


def test_the_library_of_the_table_changes_no_number(model: Any) -> None:
    table = pa.Table.from_pandas(ROWS, preserve_index=False)
    own = model.score_samples(ROWS, k=5)
    for other in (table, pl.from_arrow(table), ROWS.iloc[::-1]):
        scores = model.score_samples(other, k=5)
        np.testing.assert_allclose(
            scores[::-1] if other is not table and isinstance(other, pd.DataFrame) else scores, own
        )


def test_a_score_does_not_depend_on_the_rows_beside_it(model: Any) -> None:
    np.testing.assert_allclose(model.score_samples(ROWS.iloc[[7]]), model.score_samples(ROWS)[7], rtol=1e-6)


def test_saved_and_loaded_it_says_the_same_to_the_bit(model: Any, tmp_path: Path) -> None:
    again = vaekit.load(model.save(tmp_path / "run"))
    np.testing.assert_array_equal(again.score_samples(ROWS, k=5), model.score_samples(ROWS, k=5))
    pd.testing.assert_frame_equal(again.sample(50, random_state=1), model.sample(50, random_state=1))
    assert again.kind_ == model.kind_


def test_where_gives_rows_that_fulfil_it(model: Any) -> None:
    samples = model.sample(30, where=["sex=f", "age>=40", "member=False"])
    assert len(samples) == 30
    assert (samples["sex"] == "f").all()
    assert (samples["age"] >= 40).all()
    assert not samples["member"].any()
    assert (model.sample(5, where={"job": "cook"})["job"] == "cook").all()
    assert (model.sample(5, where="born<1990-01-01")["born"] < pd.Timestamp("1990-01-01", tz="UTC")).all()
    with pytest.raises(UserError, match="no row can have sex=x: sex has no such class"):
        model.sample(5, where="sex=x")


def test_the_label_of_a_conditional_model_is_a_column_of_its_samples() -> None:
    labels = np.where(AGE > 50, "old", "young")
    cvae = vaekit.CVAE(**TINY).fit(ROWS, {"group": labels})
    samples = cvae.sample(400)
    assert list(samples) == [*ROWS, "group"]
    assert (samples["group"] == "old").mean() == pytest.approx((labels == "old").mean(), abs=0.12)
    assert (cvae.sample(9, y={"group": "old"})["group"] == "old").all()


# -- the domain --------------------------------------------------------------------------------------------------------


def test_rows_packed_and_unpacked_are_as_they_were() -> None:
    frame = to_frame(ROWS)
    domain = Table.infer(frame)
    x, mask = domain.pack(frame, torch.float64)
    assert domain.gaps == ["height"]
    assert x.shape == (N, 8)
    assert mask is not None
    np.testing.assert_array_equal(mask[:, 5], ROWS["height"].notna())
    pd.testing.assert_frame_equal(domain.unpack(x).to_pandas(), ROWS)


def test_a_file_in_pieces_is_the_table_in_memory(tmp_path: Path) -> None:
    from pyarrow import dataset

    from vaekit import frame as module

    table = pa.Table.from_pandas(ROWS, preserve_index=False)
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=70)
    file = Frame(dataset.dataset(tmp_path / "t.parquet"))
    whole = Table.infer(Frame.of(table))
    pieces = Frame(file.dataset)
    pieces.pieces = lambda rows=37: Frame.pieces(pieces, rows)  # type: ignore[method-assign]
    found = Table.infer(pieces)
    for name, c in whole.schema.items():
        assert vars(found.schema[name]).keys() == vars(c).keys()
        assert found.schema[name].kind == c.kind
    np.testing.assert_allclose(whole.pack(pieces)[0], whole.pack(Frame.of(table))[0])
    assert module.PIECE > N


def test_a_schema_by_the_user() -> None:
    domain = fit(
        ROWS, kind={"schema": {"sex": "drop", "age": {"kind": "real"}, "pay": {"kind": "positive", "high": 50}}}
    ).kind_
    assert "sex" not in domain.columns
    assert domain.schema["age"].kind == "real"
    assert domain.schema["pay"].high == 50
    with pytest.raises(UserError, match="no column is left"):
        fit(ROWS[["sex"]], kind={"schema": {"sex": "drop"}})
    with pytest.raises(UserError, match="names a column 'sx' that the table does not have; did you mean 'sex'"):
        fit(ROWS, kind={"schema": {"sx": "drop"}})


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        [None] * N,
        [np.nan] * N,
        [3.5] * N,
        ["k"] * N,
        [datetime.date(9999, 12, 31)] * N,
        [1e300, *RNG.normal(size=N - 1)],
        1e-300 * RNG.normal(size=N),
        [datetime.datetime(9999, 12, 31, 23, 59, 59)] + [datetime.datetime(2020, 1, 1) + datetime.timedelta(i) for i in range(N - 1)],
        [f"id{i // 2}" for i in range(N)],
        [""] * (N // 2) + ["ü\n, \""] * (N // 2),
    ],
    ids=["missing", "nan", "constant", "word", "day", "outlier", "tiny", "never", "many classes", "odd words"],
)  # fmt: skip
def test_columns_that_are_odd(values: Any) -> None:
    rows = pd.DataFrame({"a": RNG.normal(size=N), "odd": values})
    samples = sound(fit(rows), rows)
    known = rows["odd"].dropna()
    found = samples["odd"].dropna()
    assert len(found) == (20 if len(known) else 0)
    if len(known):
        assert (found >= known.min()).all()
        assert (found <= known.max()).all()


def test_columns_of_which_all_are_alike() -> None:
    rows = pd.DataFrame({"k": ["only"] * 50, "n": [7] * 50})
    model = fit(rows)
    assert model.sample(9).equals(rows[:9])
    assert model.score_samples(rows, k=2000).mean() == pytest.approx(0, abs=0.05)  # it is certain


def test_a_class_never_seen_costs_as_one_more_row_and_is_the_same_whatever_it_is(model: Any) -> None:
    rows = ROWS.assign(sex=["zebra"] * N)
    scores = model.score_samples(rows)
    assert np.isfinite(scores).all()
    assert (scores < model.score_samples(ROWS)).mean() > 0.99
    np.testing.assert_array_equal(scores, model.score_samples(ROWS.assign(sex="lion")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.assign(age=r["age"].astype(str) + "y"), "column 'age' was a number when .* is now text"),
        (lambda r: r.assign(pay=np.inf), "column 'pay' holds an infinity at row 0"),
        (lambda r: r.assign(born=r["age"]), "column 'born' was times with a zone .* is now whole numbers"),
        (lambda r: r.assign(age=r["born"]), "column 'age' was whole numbers .* is now times"),
        (lambda r: r.assign(member=r["age"]), "column 'member' was one of False, True .* is now whole numbers"),
        (lambda r: r.rename(columns=str.upper), "has none of the columns age, pay"),
    ],
)
def test_a_table_that_changed_since_training_is_told(model: Any, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.score_samples(change(ROWS))


def test_two_rows_one_row_none() -> None:
    sound(fit(ROWS[:2]), ROWS[:2])
    for rows in (ROWS[:1], ROWS[:0]):
        with pytest.raises(UserError, match="a model needs at least 2 rows"):
            fit(rows)


def test_two_thousand_columns() -> None:
    rows = pd.DataFrame(RNG.normal(size=(40, 2000)), columns=[f"c{i}" for i in range(2000)])
    assert model_size(fit(rows, epochs=1)) == 2000


def model_size(model: Any) -> int:
    return model.sample(3).shape[1]


@pytest.mark.slow
def test_ten_thousand_classes() -> None:
    rows = pd.DataFrame({"c": [f"c{i:05d}" for i in range(10_000)] * 2, "x": RNG.normal(size=20_000)})
    model = fit(rows, epochs=1)
    assert set(model.sample(50)["c"]) <= set(rows["c"])
    assert np.isfinite(model.score_samples(rows[:20], k=10)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,a\n1,2\n3,4\n", "2 columns named 'a'"),
        ("a,b\n1,x\n", "at least 2 rows"),
        ("a,b\n", "has no rows"),
        ("a,b\n1,x\ninf,y\n2.5,z\n", "infinity at row 1"),
        ("a,b\n1,x\n2,y\n3,z\nfour,z\n", "mixes numbers and words: row 3"),
        ("a,b\n1,x\n2\n", "damaged, truncated or not a table"),
    ],
)
def test_a_bad_file_is_told_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    from vaekit.recipes.recipe import Recipe

    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message) as told:
        Recipe(str(tmp_path / "t.csv"), settings=dict(TINY)).train(tmp_path / "run", say=lambda _: None)
    assert "\n" not in str(told.value)


def test_a_file_cut_in_the_middle_and_one_that_changed(tmp_path: Path) -> None:
    from vaekit.recipes.recipe import Recipe

    ROWS.to_parquet(tmp_path / "t.parquet")
    content = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(content[: len(content) // 2])
    ROWS.rename(columns={"pay": "salary"}).to_parquet(tmp_path / "renamed.parquet")
    changed = ROWS[list(ROWS)[::-1]].assign(more=1, born=ROWS["born"].astype("datetime64[s, UTC]"))
    changed.to_parquet(tmp_path / "changed.parquet")
    recipe = Recipe(str(tmp_path / "t.parquet"), settings=dict(TINY))
    _, model = recipe.train(tmp_path / "run", say=lambda _: None)
    own = model.score_samples(model.read(str(tmp_path / "t.parquet")).x, k=5)
    with pytest.raises(UserError, match="damaged, truncated"):
        model.read(str(tmp_path / "cut.parquet"))
    with pytest.warns(Note, match="lacks 1 of the model's . columns: pay"):
        model.read(str(tmp_path / "renamed.parquet"))
    # Other columns, another order and another unit of time change nothing.
    np.testing.assert_array_equal(model.score_samples(model.read(str(tmp_path / "changed.parquet")).x, k=5), own)


def test_an_array_file_has_the_columns_of_the_table_in_their_order(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(50, 2)).round(2)
    model = vaekit.VAE(**TINY).fit(pd.DataFrame(values, columns=["a", "b"]))
    np.save(tmp_path / "rows.npy", values)
    read = model.read(str(tmp_path / "rows.npy"))
    assert (read.kind, read.x.columns) == ("table", ["a", "b"])
    np.testing.assert_array_equal(model.transform(read.x), model.transform(values))


# -- what it learns ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_scores_of_a_known_density_come_near_it_and_never_above() -> None:
    """Cross-entropy is never below entropy: on rows that were not seen the mean score is at most the true log-density."""

    def world(n: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
        rng = np.random.default_rng(seed)
        wait = rng.exponential(3.0, n)
        yes = rng.random(n) < 0.2
        kind = rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2])
        log_p = -wait / 3 - np.log(3) + np.where(yes, np.log(0.2), np.log(0.8))
        log_p += np.log(pd.Series(kind).map({"a": 0.5, "b": 0.3, "c": 0.2}).to_numpy())
        return pd.DataFrame({"wait": wait, "yes": yes, "kind": kind}), log_p

    train, _ = world(8000, 0)
    test, truth = world(4000, 1)
    model = vaekit.VAE(latent_dim=4, epochs=25).fit(train)
    gap = truth - model.score_samples(test)
    error = gap.std() / np.sqrt(len(gap))
    assert gap.mean() > -3 * error
    assert gap.mean() < 0.05


@pytest.mark.slow
def test_samples_of_a_real_table_are_like_it() -> None:
    rows = pd.read_csv(real("tabular/california_housing.csv.gz")).sample(4000, random_state=0, ignore_index=True)
    samples = vaekit.VAE(epochs=60).fit(rows).sample(4000)
    for name in rows:
        if rows[name].dtype.kind in "if":
            assert ks_2samp(rows[name].dropna(), samples[name].dropna()).statistic < 0.1, name
    assert samples["total_bedrooms"].isna().mean() == pytest.approx(rows["total_bedrooms"].isna().mean(), abs=0.01)
    assert samples["total_rooms"].corr(samples["households"]) > 0.8
