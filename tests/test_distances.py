"""Distances of samples against closed forms, plain loops and toy sets whose answer can be seen."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaekit.errors import MissingExtra, UserError
from vaekit.evaluation import compare, frechet_distance, kernel_distance, precision_recall


def exactly_gaussian(n, mean, covariance, seed=0):
    """n rows whose sample mean and covariance are these to the last digit."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x -= x.mean(0)
    whitened = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return mean + whitened @ np.linalg.cholesky(covariance).T


def random_rotation(d, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def test_frechet_of_gaussians_with_a_common_basis_in_closed_form():
    """Covariances that commute: |m - n|² + Σ (√a - √b)² over the eigenvalues."""
    basis = random_rotation(3, 1)
    one, two = np.array([1.0, 4.0, 0.25]), np.array([9.0, 4.0, 1.0])
    mean = np.array([1000.0, 2.0, -3.0])  # far from 0: sums of squares would lose digits
    a = exactly_gaussian(200, mean, basis @ np.diag(one) @ basis.T)
    b = exactly_gaussian(300, mean + np.array([3, 0, 4]), basis @ np.diag(two) @ basis.T, seed=2)
    assert frechet_distance(a, b) == pytest.approx(25 + ((one**0.5 - two**0.5) ** 2).sum(), rel=1e-8)


def test_frechet_of_any_gaussians_against_a_matrix_square_root():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4)), rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4)) + 1
    p, q = np.cov(a.T), np.cov(b.T)
    root = sqrtm(sqrtm(p) @ q @ sqrtm(p)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(p + q - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_frechet_where_there_are_fewer_rows_than_features():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(10, 40))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-5)
    assert math.isfinite(frechet_distance(a, rng.normal(size=(12, 40))))


def test_kernel_distance_against_plain_loops():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(9, 3)), rng.normal(size=(9, 3)) + 0.5

    def kernel(x, y):
        return (sum(p * q for p, q in zip(x, y, strict=True)) / 3 + 1) ** 3

    def mean_of_pairs(x):
        return np.mean([kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j])

    cross = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(mean_of_pairs(a) + mean_of_pairs(b) - 2 * cross)


def test_kernel_distance_is_zero_in_expectation_on_the_same_distribution():
    rng = np.random.default_rng(0)
    values = [kernel_distance(rng.normal(size=(30, 4)), rng.normal(size=(30, 4))) for _ in range(200)]
    error = np.std(values) / math.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * error
    assert min(values) < 0
    apart = [kernel_distance(rng.normal(size=(30, 4)), rng.normal(size=(30, 4)) + 1) for _ in range(20)]
    assert np.mean(apart) > 20 * error


def test_kernel_distance_of_unequal_and_many_rows_is_still_unbiased():
    """The moments of x·y give the distance of two Normals with different means."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2500, 2)), rng.normal(size=(4000, 2)) + np.array([2.0, 0.0])
    # With s = x·y/2, E(1 + s)³ = 1 + 3 E s + 3 E s² + E s³. Within a: E s = E s³ = 0, E s² = 1/2. Between a and b:
    # E s = E s³ = 0, E s² = (5 + 1)/4. Within b: E s = 2, E s² = (25 + 1)/4, E s³ = (14² + 3 * 4 * 1)/8.
    within_a, between = 1 + 3 / 2, 1 + 3 * 3 / 2
    within_b = 1 + 3 * 2 + 3 * 26 / 4 + (14**2 + 12) / 8
    assert kernel_distance(a, b) == pytest.approx(within_a + within_b - 2 * between, rel=0.1)


def line(*points):
    return np.array(points, dtype=float)[:, None] * [1.0, 0.0]


def test_precision_and_recall_of_sets_whose_answer_can_be_seen():
    real = line(0, 1, 2, 3)
    assert precision_recall(real, real, k=1) == (1, 1)
    assert precision_recall(real, real + 100, k=1) == (0, 0)
    # Every ball has radius 1 (k=1): 0.5 and -1 are inside, -1.5 and 9 are not. Balls of the generated rows: -1.5 and -1
    # have radius 0.5, 0.5 has 1.5 and 9 has 8.5, so that 0, 1, 2 and 3 are inside.
    assert precision_recall(real, line(-1.5, -1, 0.5, 9), k=1) == (0.5, 1)
    # One mode of two, generated well: all is plausible, half is covered.
    two_modes = line(0, 1, 2, 3, 100, 101, 102, 103)
    assert precision_recall(two_modes, real + 0.25, k=2) == (1, 0.5)
    # A second mode that is not real.
    assert precision_recall(real, two_modes, k=2) == (0.5, 1)


def test_precision_and_recall_against_plain_loops(monkeypatch):
    rng = np.random.default_rng(0)
    a, b, k = rng.normal(size=(40, 3)), rng.normal(size=(30, 3)) * 1.3 + 0.5, 3

    def covered(points, centres):
        radius = [sorted(np.linalg.norm(c - o) for o in centres)[k] for c in centres]
        return np.mean([any(np.linalg.norm(p - c) <= r for c, r in zip(centres, radius, strict=True)) for p in points])

    expected = covered(b, a), covered(a, b)
    assert precision_recall(a, b, k=k) == pytest.approx(expected)
    monkeypatch.setattr("vaekit.evaluation.distances.DISTANCES_AT_ONCE", 100)  # many small parts
    assert precision_recall(a, b, k=k) == pytest.approx(expected)


@given(st.integers(0, 10_000))
def test_distances_do_not_change_when_both_sets_are_rotated(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(25, 4)), rng.normal(size=(25, 4)) * 0.7 + 0.3
    turn = random_rotation(4, seed)
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b), rel=1e-6)
    assert kernel_distance(a @ turn, b @ turn) == pytest.approx(kernel_distance(a, b), rel=1e-6, abs=1e-9)
    assert precision_recall(a @ turn, b @ turn) == precision_recall(a, b)


def test_the_floor_is_what_the_same_distribution_scores():
    rng = np.random.default_rng(0)
    real, same, other = rng.normal(size=(2000, 8)), rng.normal(size=(3000, 8)), rng.normal(size=(1000, 8)) + 0.5
    good, bad = (compare(real, made, lambda x: x) for made in (same, other))
    assert good["rows"] == bad["rows"] == 1000
    assert good["floor"] == bad["floor"]
    assert good["frechet"] == pytest.approx(good["floor"]["frechet"], rel=0.5)
    assert bad["frechet"] == pytest.approx(8 * 0.5**2, rel=0.15)
    assert bad["kernel"] > 10 * abs(good["kernel"])
    assert bad["recall"] < good["recall"]
    assert good["floor"]["precision"] == pytest.approx(good["precision"], abs=0.1)
    assert compare(real, same, lambda x: x, seed=1)["frechet"] != good["frechet"]


def test_frechet_is_too_large_by_an_amount_that_shrinks_with_the_rows():
    """Why only equal numbers of rows are compared: to first order the excess is in proportion to 1/n."""
    rng = np.random.default_rng(0)

    def floor(n):
        return np.mean([compare(rng.normal(size=(2 * n, 6)), np.zeros((n, 6)), lambda x: x)["floor"]["frechet"] for _ in range(20)])  # fmt: skip

    assert floor(50) / floor(200) == pytest.approx(4, rel=0.25)


def test_mistakes_are_told():
    with pytest.raises(UserError, match="too few"):
        compare(np.zeros((5, 2)), np.zeros((9, 2)), lambda x: x)
    with pytest.raises(UserError, match=r"\(4, 2\) and \(4, 3\)"):
        frechet_distance(np.zeros((4, 2)), np.zeros((4, 3)))
    with pytest.raises(UserError, match="NaN"):
        kernel_distance(np.full((4, 2), np.nan), np.zeros((4, 2)))
    with pytest.raises(UserError, match="k is 4"):
        precision_recall(np.zeros((4, 2)), np.zeros((4, 2)), k=4)


def test_without_the_extra_its_name_is_told(monkeypatch):
    for module in ("torchmetrics.image.fid", "torchmetrics.image.kid"):
        monkeypatch.setitem(sys.modules, module, None)
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(MissingExtra, match=r"vaekit\[metrics\]"):
            distance(np.zeros((4, 2)), np.zeros((4, 2)))
