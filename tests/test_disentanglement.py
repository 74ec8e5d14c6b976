"""Disentanglement scores on codes whose score is known beforehand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaekit.errors import UserError
from vaekit.evaluation import disentanglement
from vaekit.evaluation.disentanglement import (
    concentration,
    dci_completeness,
    dci_disentanglement,
    dci_importance,
    factor_vae,
    mig,
    mutual_information,
    sap,
)

SIZES = (4, 3, 5)
GRID = np.array(list(itertools.product(*map(range, SIZES))) * 20)  # every combination, 20 times
NOISE = np.random.default_rng(0).normal(size=(len(GRID), 3))


def test_mutual_information_of_a_table_by_hand():
    # Counts 3 1 / 1 3 of 8: each margin is 1/2.
    a, b = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 0, 1, 0, 1, 1, 1])
    expected = 2 * 3 / 8 * math.log((3 / 8) / (1 / 4)) + 2 * 1 / 8 * math.log((1 / 8) / (1 / 4))
    assert mutual_information(a, b) == pytest.approx(expected)
    assert mutual_information(a, a) == pytest.approx(math.log(2))
    assert mutual_information(GRID[:, 0], GRID[:, 1]) == pytest.approx(0, abs=1e-12)


def test_mutual_information_against_scikit_learn():
    from sklearn.metrics import mutual_info_score

    rng = np.random.default_rng(0)
    a = rng.integers(0, 7, 500)
    b = (a + rng.integers(0, 3, 500)) % 5
    assert mutual_information(a, b) == pytest.approx(mutual_info_score(a, b))


def test_a_perfect_code_scores_one():
    codes = np.hstack([GRID * [3.0, -0.1, 10.0], 1e-3 * NOISE[:, :1]])  # and one idle unit
    scores = disentanglement(codes, GRID, ["a", "b", "c"])
    for name in ("dci_disentanglement", "dci_completeness", "dci_informativeness", "factor_vae"):
        assert scores[name] == pytest.approx(1, abs=1e-6), name
    assert scores["mig"] == pytest.approx(1, abs=0.05)  # less what noise seems to know: 20 bins, 1200 rows
    assert mig(codes[:, :3], GRID) == pytest.approx(1)
    assert scores["sap"] == pytest.approx(np.mean([1 - 1 / k for k in SIZES]), abs=0.05)
    assert scores["factors"]["b"]["sap"] == pytest.approx(1 - 1 / 3, abs=0.06)
    assert scores["factor_vae_chance"] == 1 / 3


def test_a_factor_that_two_units_hold_has_no_gap():
    codes = np.hstack([GRID, -2 * GRID[:, :1]])
    np.testing.assert_allclose(mig(codes, GRID), [0, 1, 1], atol=1e-9)
    np.testing.assert_allclose(sap(codes, GRID)[0], 0, atol=1e-9)
    importance, _ = dci_importance(codes, GRID)
    assert dci_disentanglement(importance) == pytest.approx(1)  # each unit still stands for one factor
    assert dci_completeness(importance) < 0.95  # but the factor is not in one unit


def test_a_unit_that_holds_two_factors_is_entangled_and_complete():
    mixed = (GRID[:, :1] * 3 + GRID[:, 1:2]).astype(float)  # the first two factors in one unit
    importance, informativeness = dci_importance(np.hstack([mixed, GRID[:, 2:]]), GRID)
    np.testing.assert_allclose(informativeness, 1)
    assert dci_completeness(importance) == pytest.approx(1)
    # The unit spreads over two of three factors evenly and carries two thirds of all importance; the other is pure.
    assert dci_disentanglement(importance) == pytest.approx(2 / 3 * (1 - math.log(2) / math.log(3)) + 1 / 3)


def test_dci_of_importances_by_hand():
    """Not square: an importance matrix that is transposed, or summed along the wrong way, gives other numbers."""
    importance = np.array([[1.0, 0.0], [0.0, 0.5], [0.0, 0.5], [0.0, 0.0]])  # 4 units, 2 factors
    assert dci_disentanglement(importance) == pytest.approx(1)
    assert dci_completeness(importance) == pytest.approx((1 + (1 - math.log(2) / math.log(4))) / 2)
    np.testing.assert_allclose(concentration(importance), [1, 1, 1, 0])
    even = np.full((4, 2), 0.25)
    assert dci_disentanglement(even) == dci_completeness(even) == pytest.approx(0)
    assert dci_disentanglement(np.zeros((4, 2))) == 0


def test_noise_scores_nothing():
    scores = disentanglement(NOISE, GRID)
    assert scores["mig"] < 0.02
    assert scores["sap"] < 0.06
    assert scores["dci_disentanglement"] < 0.1
    assert scores["dci_completeness"] < 0.1
    assert scores["dci_informativeness"] == pytest.approx(np.mean([1 / k for k in SIZES]), abs=0.06)
    assert scores["factor_vae"] == pytest.approx(1 / 3, abs=0.08)


def test_a_rotated_code_scores_lower_though_it_holds_the_same():
    codes = GRID / np.array(SIZES) + 0.01 * NOISE
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    straight, turned = disentanglement(codes, GRID), disentanglement(codes @ turn, GRID)
    for name in ("mig", "dci_disentanglement", "dci_completeness", "sap"):
        assert turned[name] < 0.6 * straight[name], name
    assert turned["dci_informativeness"] > 0.9


@settings(max_examples=10)
@given(st.permutations(range(4)), st.lists(st.sampled_from([-8.0, -0.25, 0.5, 2.0, 64.0]), min_size=4, max_size=4))
def test_the_order_scale_and_sign_of_units_do_not_matter(order, scale):
    rng = np.random.default_rng(0)
    codes = np.hstack([GRID, GRID[:, :1]])[::3] @ rng.normal(size=(4, 4)) + 0.3 * rng.normal(size=(len(GRID[::3]), 4))
    factors = GRID[::3]
    other = codes[:, order] * scale
    np.testing.assert_allclose(mig(other, factors), mig(codes, factors), atol=0.02)  # mirrored bins cut ends otherwise
    np.testing.assert_allclose(sap(other, factors), sap(codes, factors), atol=0.02)
    assert factor_vae(other, factors) == pytest.approx(factor_vae(codes, factors))
    one, two = (dci_importance(c, factors)[0] for c in (codes, other))
    np.testing.assert_allclose(two, one[list(order)], atol=0.1)


def test_factors_of_any_values_and_a_lone_unit():
    names = np.array(["left", "front", "right"])[GRID[:, 1]]
    scores = disentanglement(GRID[:, 1:2] * 7.0, names, ["direction"])
    assert scores["mig"] == scores["dci_completeness"] == scores["dci_informativeness"] == 1
    assert scores["dci_disentanglement"] is scores["factor_vae"] is None  # from one factor nothing can be taken apart
    assert scores["sap"] == pytest.approx(1 - 1 / 3)


def test_a_constant_code_knows_nothing():
    scores = disentanglement(np.zeros((len(GRID), 3)), GRID)
    assert [scores[s] for s in ("mig", "sap", "dci_disentanglement")] == pytest.approx([0, 0, 0], abs=1e-9)
    assert scores["factor_vae"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("codes", "factors", "names", "said"),
    [
        (NOISE, GRID[:-1], None, "same rows"),
        (NOISE, GRID, ["a"], "1 names for 3"),
        (NOISE, GRID * [1, 0, 1], ["a", "b", "c"], "'b' has the same value"),
        (NOISE * np.nan, GRID, None, "NaN"),
        (NOISE[:5], GRID[:5], None, "too few"),
        (NOISE, np.arange(len(NOISE)), None, "too few of each"),
    ],
)
def test_mistakes_are_told(codes, factors, names, said):
    with pytest.raises(UserError, match=said):
        disentanglement(codes, factors, names)
