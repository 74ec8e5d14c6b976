"""Conformal p-values and decisions: what is promised of them holds exactly, or on simulations whose truth is known."""

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from vaekit.errors import UserError
from vaekit.uses.conformal import discoveries, fewest, p_values

few_values = st.lists(st.integers(0, 4), min_size=2, max_size=6)  # few values: many ties


@given(few_values)
def test_a_normal_row_is_called_odd_no_more_often_than_it_should_be(values):
    """Exchangeable means that every order of the n + 1 scores is as likely: so P(p <= a) <= a can be counted, ties and all."""
    p = [p_values(order[:1], order[1:])[0] for order in permutations(values)]
    n = len(values)
    for a in range(1, n + 1):
        level = Fraction(a, n)
        share = Fraction(sum(round(v * n) <= a for v in p), len(p))
        assert share <= level
        if len(set(values)) == n:
            assert share == level  # without ties a p-value is uniform on 1/n, ..., n/n


@given(few_values, few_values)
def test_it_is_one_plus_those_at_least_as_odd(scores, calibration):
    for score, p in zip(scores, p_values(scores, calibration), strict=True):
        assert p == (1 + sum(c <= score for c in calibration)) / (1 + len(calibration))


@given(few_values, few_values)
def test_only_the_order_of_scores_matters(scores, calibration):
    def squeezed(s):
        return np.arctan(np.array(s)) * 7 - 3

    np.testing.assert_array_equal(p_values(squeezed(scores), squeezed(calibration)), p_values(scores, calibration))


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=30), st.floats(0.01, 0.99))
def test_discoveries_are_the_step_up_procedure(p, fdr):
    """As Benjamini and Hochberg put it: the k smallest, k the last with p_(k) <= fdr k / m."""
    ranked, m = np.sort(p), len(p)
    adjusted = ranked / np.arange(1, m + 1) * m
    assume((np.abs(adjusted - fdr) > 1e-9).all())  # where rounding would decide
    passed = np.flatnonzero(adjusted <= fdr)
    assert discoveries(p, fdr).sum() == (0 if not len(passed) else (np.array(p) <= ranked[passed[-1]]).sum())


def test_the_false_discovery_rate_is_kept():
    """200 rows with 40 anomalies beside 1000 calibration rows, 400 times: FDR <= the share of normal rows times the rate,
    within 4 standard errors, and with power where there is something to find."""
    rng, fdr, normal = np.random.default_rng(0), 0.2, 160
    shares, found = [], []
    for _ in range(400):
        scores = np.r_[rng.normal(size=normal), rng.normal(-4, size=40)]
        odd = discoveries(p_values(scores, rng.normal(size=1000)), fdr)
        shares.append(odd[:normal].sum() / max(1, odd.sum()))
        found.append(odd[normal:].mean())
    assert np.mean(shares) <= fdr * normal / 200 + 4 * stats.sem(shares)
    assert np.mean(found) > 0.9


def test_where_nothing_is_odd_little_is_found():
    """With no anomaly at all each discovery is false, so there is one in a share `fdr` of the batches at most."""
    rng, fdr = np.random.default_rng(1), 0.1
    any_found = [discoveries(p_values(rng.normal(size=50), rng.normal(size=500)), fdr).any() for _ in range(1000)]
    assert np.mean(any_found) <= fdr + 4 * np.sqrt(fdr * (1 - fdr) / 1000)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: p_values([1.0], []), "no calibration scores"),
        (lambda: p_values([np.nan], [1.0]), "NaN"),
        (lambda: p_values([[1.0]], [1.0]), "one per row"),
        (lambda: discoveries([0.1], 0), "fdr=0"),
        (lambda: discoveries([0.1], 1.0), "fdr=1.0"),
    ],
)
def test_what_cannot_be_is_said(call, words):
    with pytest.raises(UserError, match=words):
        call()
    assert discoveries([], 0.1).shape == p_values([], [1.0]).shape == (0,)


def test_the_fewest_anomalies_that_can_be_found_are_found_and_one_fewer_are_not():
    for rows, calibration, fdr in ((100, 99, 0.1), (500, 60, 0.1), (1000, 499, 0.2), (40, 999, 0.05)):
        least = fewest(rows, calibration, fdr)
        for odd, found in ((least, True), (least - 1, False)):
            scores = np.where(np.arange(rows) < odd, -1.0, 1.0)
            assert discoveries(p_values(scores, np.zeros(calibration)), fdr).any() == (found and odd > 0)


def test_anomalies_are_found_by_normal_rows_and_not_by_rows_of_the_same_table():
    """What `--fdr` says of the table that was learned from: nothing, as a held-out part holds anomalies as often."""
    found = {"same table": 0, "normal rows": 0}
    wrong = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        odd = rng.permutation(1000) < 20
        scores = rng.normal(size=1000) - 8 * odd
        found["same table"] += discoveries(p_values(scores, rng.permutation(scores)[:500]), 0.1).sum()
        called = discoveries(p_values(scores, rng.normal(size=500)), 0.1)
        found["normal rows"] += (called & odd).sum()
        wrong.append((called & ~odd).sum() / max(1, called.sum()))
    assert found["same table"] == 0
    assert found["normal rows"] > 0.9 * 50 * 20
    assert np.mean(wrong) < 0.1 + 3 * np.std(wrong) / np.sqrt(50)
