"""Search of a repertoire after damage: the closed form, a toy world, and trials that fail."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from vaekit.errors import UserError
from vaekit.evolution.adapt import adapt, matern, posterior

GRID = np.stack(np.meshgrid(np.linspace(0, 1, 25), np.linspace(0, 1, 25)), axis=-1).reshape(-1, 2)
SPEED = np.exp(-2 * ((GRID - [0.8, 0.47]) ** 2).sum(1))  # the fastest lean on a leg for 0.8 of the time
SPEED -= SPEED.min()
NOW = SPEED * np.clip(1.4 - 2 * GRID[:, 0], 0, 1)  # it fails: who leans on it slows down, or falls


def test_the_posterior_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    points, prior, tried = rng.random((40, 3)), rng.normal(size=40), [3, 11, 12, 30]
    values = rng.normal(size=4)
    peer = GaussianProcessRegressor(Matern(0.4, nu=2.5), alpha=0.001, optimizer=None)
    difference, deviation = peer.fit(points[tried], values - prior[tried]).predict(points, return_std=True)
    mean, found = posterior(prior, points, tried, values, 0.4, 0.001, 2.0)
    np.testing.assert_allclose(mean, prior + difference, atol=1e-9)
    np.testing.assert_allclose(found, 2 * deviation, atol=1e-6)
    np.testing.assert_allclose(matern(points, points, 0.4), Matern(0.4, nu=2.5)(points), atol=1e-12)


def test_the_best_of_what_is_left_is_found():
    assert NOW[SPEED.argmax()] == 0
    found = adapt(SPEED, GRID, lambda i: NOW[i], alpha=np.inf)
    assert found.best == NOW.argmax()
    assert found.value == NOW.max()
    assert len(found.tried) == len(found.values) == 20
    assert found.tried[0] == SPEED.argmax()  # the first trial is what the repertoire says
    np.testing.assert_array_equal(found.values, NOW[found.tried])


def test_the_search_stops_where_nothing_much_better_is_expected():
    found = adapt(SPEED, GRID, lambda i: NOW[i])
    assert len(found.tried) < 20
    assert found.value == found.values.max() >= 0.9 * found.predicted.max()


def test_one_trial_is_enough_where_nothing_changed():
    found = adapt(SPEED, GRID, lambda i: SPEED[i])
    assert found.tried.tolist() == [SPEED.argmax()]
    np.testing.assert_array_equal(found.predicted, SPEED)


def test_a_trial_that_fails_counts_as_the_least():
    failed = adapt(SPEED, GRID, lambda i: NOW[i] or np.nan, alpha=np.inf)
    least = adapt(SPEED, GRID, lambda i: NOW[i], alpha=np.inf)  # the slowest entry stands still
    assert np.isnan(failed.values[0])
    assert failed.best == NOW.argmax()
    assert failed.tried.tolist() == least.tried.tolist()
    with pytest.raises(UserError, match="none of the 3 trials"):
        adapt(SPEED, GRID, lambda i: np.nan, trials=3)


def test_units_do_not_matter():
    found = adapt(SPEED, GRID, lambda i: NOW[i])
    other = adapt(1024 * SPEED, GRID * [1, 64] + [0, 8], lambda i: 1024 * NOW[i])
    assert other.tried.tolist() == found.tried.tolist()


def test_no_entry_is_tried_twice():
    found = adapt(SPEED[:30], GRID[:30], lambda i: NOW[i], trials=100, alpha=np.inf)
    assert sorted(found.tried) == list(range(30))
    assert found.value == NOW[:30].max()


@pytest.mark.parametrize(
    ("objective", "measures", "words"),
    [
        (SPEED[:5], GRID, r"objective \(5,\) and measures \(625, 2\)"),
        (SPEED, GRID[:, 0], "have to be"),
        (np.full(625, np.nan), GRID, "finite"),
        (SPEED[:0], GRID[:0], "have to be"),
    ],
)
def test_a_mistake_is_told(objective, measures, words):
    with pytest.raises(UserError, match=words):
        adapt(objective, measures, lambda i: 0.0)
