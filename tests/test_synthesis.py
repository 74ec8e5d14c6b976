"""Measures of synthetic tables, against scipy, scikit-learn, and tables of which the answer is known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp, pearsonr
from sklearn.datasets import load_wine
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import r2_score

from conftest import people
from vaekit.errors import UserError
from vaekit.kinds.table import synthesis
from vaekit.kinds.table.synthesis import (
    SENTENCES,
    choose_target,
    column_shapes,
    copying,
    efficacy,
    membership,
    missing_values,
    pair_trends,
    quality,
    two_sample,
)


def numbers(n: int, seed: int, columns: int = 6) -> pa.Table:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, columns)) @ rng.normal(size=(columns, columns))
    return pa.table({f"x{i}": x[:, i] for i in range(columns)})


def shuffled(table: pa.Table, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table({name: table[name].take(rng.permutation(len(table))) for name in table.column_names})


# -- shapes and pairs --------------------------------------------------------------------------------------------------


def test_a_table_is_like_itself_in_any_order_of_its_rows() -> None:
    table = people(500, 0)
    again = table.take(np.random.default_rng(1).permutation(500))
    assert set(column_shapes(table, again).values()) == {1.0}
    assert list(pair_trends(table, again).values()) == pytest.approx([1] * 21)
    assert set(missing_values(table, again)) == {"pay", "job"}
    assert set(missing_values(table, again).values()) == {1.0}


def test_columns_shuffled_apart_keep_their_shapes_and_lose_their_pairs() -> None:
    table = people(3000, 0)
    apart = shuffled(table)
    assert list(column_shapes(table, apart).values()) == pytest.approx([1] * 7)
    pairs, floor = pair_trends(table, apart), pair_trends(table, people(3000, 1))
    for pair in (("sex", "job"), ("pay", "job"), ("height", "sex"), ("age", "born")):
        assert pairs[pair] < 0.85 < 0.95 < floor[pair]
    assert two_sample(table, apart)["auc"] > 0.9


def test_shapes_are_scipys_statistic_and_the_total_variation() -> None:
    a, b = people(400, 0), people(300, 1)
    shapes = column_shapes(a, b)
    for name in ("age", "pay", "height"):
        x, y = (part[name].drop_null().to_numpy() for part in (a, b))
        assert shapes[name] == pytest.approx(1 - ks_2samp(x[~np.isnan(x)], y[~np.isnan(y)]).statistic)
    x, y = (np.array([d.toordinal() for d in part["born"].to_pylist()]) for part in (a, b))
    assert shapes["born"] == pytest.approx(1 - ks_2samp(x, y).statistic)
    jobs = [part["job"].to_pylist() for part in (a, b)]
    distance = sum(abs(jobs[0].count(j) / 400 - jobs[1].count(j) / 300) for j in ("cook", "clerk", None)) / 2
    assert shapes["job"] == pytest.approx(1 - distance)
    assert missing_values(a, b)["job"] == pytest.approx(1 - abs(jobs[0].count(None) / 400 - jobs[1].count(None) / 300))


def test_a_pair_of_numbers_is_compared_by_its_correlation() -> None:
    a, b = people(400, 0, gaps=False), people(300, 1, gaps=False)
    r, s = (pearsonr(part["age"], part["pay"]).statistic for part in (a, b))
    assert pair_trends(a, b)["age", "pay"] == pytest.approx(1 - abs(r - s) / 2)
    turned = b.set_column(1, "pay", pa.array(-b["pay"].to_numpy()))
    assert pair_trends(a, turned)["age", "pay"] == pytest.approx(1 - abs(r + s) / 2)


@pytest.mark.parametrize(("theirs", "expected"), [("aabb", 1.0), ("aaaa", 0.5), ("cccc", 0.0), ("abbb", 0.75)])
def test_categories_by_hand(theirs: str, expected: float) -> None:
    real = pa.table({"c": list("aabb")})
    assert column_shapes(real, pa.table({"c": list(theirs)}))["c"] == pytest.approx(expected)


def test_a_number_beside_a_category_is_binned_over_the_real_values() -> None:
    real = pa.table({"x": np.linspace(0, 10, 101), "c": ["a", "b"] * 50 + ["a"]})
    within, across, beyond = (np.linspace(0, 10, 101) + d for d in (0.0, 1.0, 100.0))
    scores = [pair_trends(real, real.set_column(0, "x", pa.array(x)))["x", "c"] for x in (within, across, beyond)]
    assert scores[0] == pytest.approx(1)
    assert 0.85 < scores[1] < 0.92  # one bin in ten moved out
    assert scores[2] == pytest.approx(11 / 101)  # all is in the last bin


def test_how_a_column_is_stored_changes_nothing() -> None:
    table = people(300, 0)
    stored = pa.table({
        "age": table["age"].cast(pa.float32()),
        "pay": table["pay"],
        "height": table["height"],
        "sex": table["sex"].dictionary_encode(),
        "job": table["job"].cast(pa.large_string()),
        "born": table["born"].cast(pa.timestamp("ns")),
        "member": table["member"],
    })  # fmt: skip
    assert set(column_shapes(table, stored).values()) == {1.0}
    assert list(pair_trends(table, stored).values()) == pytest.approx([1] * 21)
    assert copying(table, people(300, 1), stored)["copies"] == 1


def test_kinds_override_the_type() -> None:
    a, b = pa.table({"code": [1, 1, 2, 2]}), pa.table({"code": [1, 1, 3, 3]})
    assert column_shapes(a, b)["code"] == 0.5
    assert column_shapes(a, pa.table({"code": [1, 1, 9, 9]}))["code"] == 0.5
    c = pa.table({"code": [0, 1, 1, 2]})
    assert column_shapes(a, c)["code"] == pytest.approx(0.75)
    assert column_shapes(a, c, {"code": "category"})["code"] == pytest.approx(0.75)
    d = pa.table({"code": [0, 0, 2, 2]})
    assert column_shapes(a, d)["code"] == pytest.approx(0.5)
    assert pair_trends(numbers(50, 0), numbers(50, 0), {"x0": "category"})["x0", "x1"] == pytest.approx(1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40))
def test_scores_are_shares_and_do_not_ask_which_table_comes_first(seed: int, n: int, m: int) -> None:
    a, b = people(n, seed), people(m, seed + 1)
    forth, back = column_shapes(a, b), column_shapes(b, a)
    assert list(forth.values()) == pytest.approx(list(back.values()), nan_ok=True)
    every = [*forth.values(), *pair_trends(a, b).values()]
    assert all(np.isnan(s) or -1e-9 <= s <= 1 + 1e-9 for s in every)


# -- learning ----------------------------------------------------------------------------------------------------------


def test_efficacy_of_a_number_is_that_of_scikit_learn() -> None:
    train, test = numbers(500, 0), numbers(400, 0).take(np.arange(100, 400))
    scores = efficacy(train, shuffled(train), test, "x0")
    x, x_test = (np.column_stack([part[f"x{i}"] for i in range(1, 6)]) for part in (train, test))
    model = HistGradientBoostingRegressor(random_state=0).fit(x, train["x0"].to_numpy())
    assert scores["real"]["r2"] == pytest.approx(r2_score(test["x0"].to_numpy(), model.predict(x_test)))
    assert scores["synthetic"]["r2"] < 0.1  # columns shuffled apart teach nothing


def test_efficacy_of_a_category() -> None:
    train, test = people(1500, 0), people(1500, 1)
    scores = efficacy(train, people(1500, 2), test, "sex")
    assert set(scores["real"]) == {"macro_f1", "auc", "accuracy"}
    assert scores["synthetic"]["auc"] == pytest.approx(scores["real"]["auc"], abs=0.02)
    assert scores["real"]["auc"] > 0.9
    apart = efficacy(train, shuffled(train), test, "sex")["synthetic"]
    assert apart["auc"] == pytest.approx(0.5, abs=0.08)
    rows = efficacy(train, people(1500, 2), test, "job")["real"]  # a third of the jobs are missing, and are left out
    assert rows["auc"] > 0.8


def test_a_target_of_many_classes_takes_no_more_trees_than_one_of_few(recwarn: pytest.WarningsRecorder) -> None:
    rng = np.random.default_rng(0)
    table = people(300, 0).append_column("mail", pa.array([f"u{i}@x.com" for i in range(300)]))
    with pytest.raises(UserError, match="'mail' has 300 classes, too many to predict"):
        efficacy(table, table, table, "mail")
    table = table.append_column("many", pa.array([f"c{i}" for i in rng.permutation(np.arange(300) % 200)]))
    scores = efficacy(table, table, table, "many")
    assert 0 <= scores["real"]["accuracy"] <= 1
    assert not [str(w.message) for w in recwarn]
    steps = [synthesis.classifier(np.zeros(2, bool), 0, classes).max_iter for classes in (2, 10, 200)]
    assert steps == [100, 100, 5]


def test_the_target_is_the_last_column_that_can_be_predicted() -> None:
    table = people(300, 0)
    assert choose_target(table) == "member"
    mail, constant = pa.array([f"u{i}@x.com" for i in range(300)]), pa.array(["x"] * 300)
    table = table.append_column("mail", mail).append_column("one", constant).append_column("none", pa.nulls(300))
    assert choose_target(table) == "member"
    assert choose_target(table.select(["age", "mail"])) == "age"
    assert choose_target(table.select(["mail", "one"])) is None


@pytest.mark.parametrize("n", [2, 3, 5])
def test_what_needs_more_rows_is_left_out_and_said(n: int) -> None:
    table = people(n, 0)
    found = quality(table, table, table, "member")
    assert "two_sample" not in found
    assert "too few" in found["left_out"]["two_sample"]
    assert set(SENTENCES) <= set(found) | set(found["left_out"])


def test_a_class_that_the_synthetic_table_lacks_is_lost_not_an_error() -> None:
    data = load_wine()
    x = {f"x{i}": data.data[:, i] for i in range(4)}
    table = pa.table({**x, "kind": np.array(["a", "b", "c"])[data.target]})
    for kept in (["a", "b"], ["a"]):
        some = table.filter(pa.compute.is_in(table["kind"], pa.array(kept)))
        scores = efficacy(table, some, table, "kind")
        assert scores["synthetic"]["macro_f1"] < 0.7 < scores["real"]["macro_f1"]
    assert scores["synthetic"]["auc"] == 0.5
    assert scores["synthetic"]["accuracy"] == pytest.approx(np.mean(data.target == 0))


def test_more_categories_than_a_tree_can_split_by() -> None:
    rng = np.random.default_rng(0)
    table = pa.table({"c": [f"c{i}" for i in rng.integers(0, 900, 3000)], "y": rng.normal(size=3000)})
    assert efficacy(table, table, table, "y")["real"]["r2"] < 1
    assert two_sample(table, table)["auc"] < 0.55


# -- what is given away ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [people, numbers])
def test_another_sample_of_the_same_world_gives_nothing_away(world: Any) -> None:
    train, holdout, synthetic = (world(3000, seed) if world is people else numbers_of(3000, seed) for seed in (0, 1, 2))
    apart, near, member = (
        two_sample(holdout, synthetic),
        copying(train, holdout, synthetic),
        membership(train, holdout, synthetic),
    )
    assert abs(apart["auc"] - 0.5) < 4 * apart["standard_error"]
    assert abs(near["nearer_to_train"] - 0.5) < 4 * near["standard_error"]
    for attack in ("distance", "density_ratio"):
        assert abs(member[attack] - 0.5) < 4 * member["standard_error"]
    assert near["copies"] == near["copies_of_holdout"] == 0


def numbers_of(n: int, seed: int) -> pa.Table:
    """Three slices of one table of numbers."""
    return numbers(9000, 0).slice(seed * n, n)


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_a_copy_is_found(noise: float) -> None:
    train, holdout = numbers_of(1000, 0), numbers_of(1000, 1)
    rng = np.random.default_rng(0)
    copy = pa.table({name: train[name].to_numpy() + noise * rng.normal(size=1000) for name in train.column_names})
    found = copying(train, holdout, copy)
    assert found["nearer_to_train"] > 0.99
    assert found["distance_to_train"] < 0.01 < found["distance_to_holdout"]
    assert found["copies"] == (1 if noise == 0 else 0)
    attacks = membership(train, holdout, copy)
    assert attacks["auc"] > 0.99
    assert attacks["density_ratio"] > 0.99


def test_the_share_of_copies_is_told() -> None:
    train, holdout, fresh = people(800, 0), people(800, 1), people(800, 2)
    half = pa.concat_tables([train.slice(0, 400), fresh.slice(0, 400)])
    found = copying(train, holdout, half)
    assert found["copies"] == 0.5
    assert found["nearer_to_train"] == pytest.approx(0.75, abs=0.05)
    # Members whose copy is there are nearest of all, the others are like strangers: 1/2 * 1 + 1/2 * 1/2.
    assert membership(train, people(1600, 1), half)["distance"] == pytest.approx(0.75, abs=0.05)


def test_rows_that_repeat_in_the_real_world_are_no_copies_from_training() -> None:
    few = [
        pa.table({"a": rng.choice(list("xyz"), 600), "b": rng.choice(list("uv"), 600)})
        for rng in map(np.random.default_rng, range(3))
    ]
    found = copying(*few)
    assert found["copies"] == found["copies_of_holdout"] == 1
    assert found["nearer_to_train"] == 0.5
    assert membership(*few)["auc"] == 0.5


def test_distances_by_hand() -> None:
    """Ranks of 4 numbers are 1/8, 3/8, ...; a category that differs is 1 away, beside which a number adds its square."""
    train = pa.table({"x": [0.0, 1.0, 2.0, 3.0], "c": ["a"] * 4})
    holdout = pa.table({"x": [0.0, 1.0, 2.0, 3.0], "c": ["b"] * 4})
    found = copying(train, holdout, pa.table({"x": [1.0, 99.0], "c": ["a", "a"]}))
    assert found["distance_to_train"] == pytest.approx((0 + 1 / 8) / 2)
    assert found["distance_to_holdout"] == pytest.approx((1 + np.hypot(1, 1 / 8)) / 2)


# -- all of it ---------------------------------------------------------------------------------------------------------


def test_quality_says_everything_that_has_a_sentence() -> None:
    train, holdout, synthetic = (people(600, seed) for seed in range(3))
    found = json.loads(json.dumps(quality(train, holdout, synthetic, "job")))
    assert set(SENTENCES) <= set(found)
    assert set(found) - set(quality(train, holdout, synthetic)) == {"efficacy", "target"}
    assert found["column_shapes"] == pytest.approx(np.mean(list(found["by_column"].values())))
    assert found["pair_trends"] == pytest.approx(np.mean([score for _, _, score in found["by_pair"]]))
    assert found["quality"] == pytest.approx((found["column_shapes"] + found["pair_trends"]) / 2)
    assert found["quality"] == pytest.approx(found["reference"]["quality"], abs=0.02)
    worst = found["by_pair"][0]
    assert pair_trends(holdout, synthetic)[worst[0], worst[1]] == min(score for _, _, score in found["by_pair"])
    assert found == json.loads(json.dumps(quality(train, holdout, synthetic, "job")))


def test_the_number_of_rows_compared_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis, "ROWS", 200)
    train, holdout, synthetic = (people(600, seed) for seed in range(3))
    assert copying(train, holdout, synthetic)["standard_error"] == pytest.approx(np.sqrt(0.25 / 200))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda t: efficacy(t, t, t, "wage"), "no column 'wage'"),
        (lambda t: column_shapes(t, t.drop_columns("pay")), "lacks the column 'pay'"),
        (lambda t: column_shapes(t, t.slice(0, 0)), "no rows"),
        (lambda t: column_shapes(t, t, {"sex": "number"}), "'sex' holds string, not numbers"),
        (lambda t: column_shapes(t, t, {"age": "ordinal"}), "say 'number' or 'category'"),
        (lambda t: column_shapes(pa.table({"a": [[1]]}), pa.table({"a": [[1]]})), "list"),
        (lambda t: two_sample(t.slice(0, 3), t), "3 rows are too few"),
        (lambda t: membership(t, t.slice(0, 1), t), "2 held-out ones"),
    ],
)
def test_what_cannot_be_compared(call: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        call(people(30, 0))
