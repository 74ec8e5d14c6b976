"""The likelihood of tables: a density in the columns' own units, against integrals and counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import chisquare, kstest

from vaekit.distributions import normal_noise
from vaekit.distributions.mixed import MixedLikelihood
from vaekit.frame import Frame
from vaekit.kinds.table import Table
from vaekit.kinds.table.columns import Continuous

RNG = np.random.default_rng(0)
N = 2000
SPIKED = np.where(RNG.random(N) < 0.3, 0.0, RNG.lognormal(1, 1, N))
COLUMNS: dict[str, Any] = {
    "normal": RNG.normal(170, 10, N),
    "skewed": RNG.lognormal(0, 1.5, N),
    "tiny": 1e-9 * RNG.normal(size=N),
    "whole": RNG.integers(0, 500, N),
    "spiked": SPIKED,
    "two spikes": np.where(RNG.random(N) < 0.2, 99.0, SPIKED),
    "word": np.array(["a", "b", "c"])[RNG.integers(0, 3, N)],
    "yes": RNG.random(N) < 0.1,
    "many": np.array([f"c{i}" for i in RNG.integers(0, 40, N)]),
    "gaps": np.where(RNG.random(N) < 0.25, np.nan, RNG.exponential(1, N)),
}
FRAME = Frame.of(pa.table({name: pa.array(v, from_pandas=True) for name, v in COLUMNS.items()}))
DOMAIN = Table.infer(FRAME)
PLACE = {name: i for i, name in enumerate(DOMAIN.columns)}


@pytest.fixture
def head() -> MixedLikelihood:
    return MixedLikelihood(DOMAIN.event_shape, **DOMAIN.likelihood_options("base", 16)).double()


@pytest.fixture
def h(head: MixedLikelihood) -> torch.Tensor:
    """What a decoder might say: not what the columns are."""
    return torch.randn(1, *head.param_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def rows(x: np.ndarray, name: str) -> torch.Tensor:
    """(len(x), D) that differ in one column."""
    full = torch.ones(len(x), *DOMAIN.event_shape, dtype=torch.float64)
    full[:, PLACE[name]] = torch.from_numpy(x)
    return full


def log_prob_of(head: MixedLikelihood, h: torch.Tensor, x: np.ndarray, name: str) -> np.ndarray:
    with torch.no_grad():
        return head(h.expand(len(x), -1)).log_prob_elements(rows(x, name))[:, PLACE[name]].numpy()


def drawn(head: MixedLikelihood, h: torch.Tensor, k: int, name: str) -> np.ndarray:
    with torch.no_grad():
        return head(h).sample(k, normal_noise(torch.Generator().manual_seed(1)))[:, 0, PLACE[name]].numpy()


@pytest.mark.parametrize("name", ["normal", "skewed", "tiny", "whole", "spiked", "two spikes", "gaps"])
def test_the_density_of_a_number_and_the_probability_of_its_spikes_sum_to_one(
    head: MixedLikelihood, h: torch.Tensor, name: str
) -> None:
    """In the units of the column: integrated over its values, not over normal scores."""
    c = DOMAIN.schema[name]
    assert isinstance(c, Continuous)
    # Evenly in normal scores, far into both tails, by the trapezoidal rule between the knots, where the density is smooth.
    u = np.unique(
        np.concatenate([np.linspace(-12, 12, 200_001), np.array(c.scores) - 1e-12, np.array(c.scores) + 1e-12])
    )
    v = np.interp(u, c.scores, c.knots)
    for end, side in ((0, u < c.scores[0]), (-1, u > c.scores[-1])):
        i = 0 if end == 0 else len(c.knots) - 2
        slope = (c.knots[i + 1] - c.knots[i]) / (c.scores[i + 1] - c.scores[i])
        v[side] = c.knots[end] + (u[side] - c.scores[end]) * slope
    log_p = log_prob_of(head, h, u, name)
    spikes = c.pack(name, pa.array(c.spikes, pa.float64()))
    near = (np.abs(u[:, None] - spikes) < 2e-5).any(1) if len(spikes) else np.zeros(len(u), bool)
    continuous = np.trapezoid(np.exp(log_p[~near]), v[~near])
    probability = np.exp(log_prob_of(head, h, spikes, name)) if len(spikes) else np.zeros(1)
    assert len(c.spikes) == {"spiked": 1, "two spikes": 2}.get(name, 0)
    assert continuous + probability.sum() == pytest.approx(1, abs=2e-4)


@pytest.mark.parametrize("name", ["word", "yes", "many"])
def test_probabilities_of_classes_sum_to_one_and_draws_are_as_frequent(
    head: MixedLikelihood, h: torch.Tensor, name: str
) -> None:
    classes = len(DOMAIN.schema[name].classes)
    p = np.exp(log_prob_of(head, h, np.arange(1.0, classes + 1), name))
    assert p.sum() == pytest.approx(1)
    counts = np.bincount(drawn(head, h, 20_000, name).astype(int), minlength=classes + 1)[1:]
    assert chisquare(counts, p * counts.sum()).pvalue > 1e-3


def test_a_class_never_seen_has_the_probability_of_one_more_row(head: MixedLikelihood, h: torch.Tensor) -> None:
    for name in ("word", "yes", "many"):
        unseen = len(DOMAIN.schema[name].classes) + 1.0
        assert np.exp(log_prob_of(head, h, np.array([unseen]), name)) == pytest.approx(1 / (N + 1))


@pytest.mark.parametrize("name", ["normal", "skewed", "tiny", "spiked", "two spikes"])
def test_draws_of_a_number_follow_its_density(head: MixedLikelihood, h: torch.Tensor, name: str) -> None:
    """The cumulative probability, by summing the density, at draws of it is uniform; spikes are drawn as often as they say."""
    c = DOMAIN.schema[name]
    x = drawn(head, h, 20_000, name)
    spikes = c.pack(name, pa.array(c.spikes, pa.float64()))
    on = (np.abs(x[:, None] - spikes) < 1e-5) if len(spikes) else np.zeros((len(x), 1), bool)
    if len(spikes):
        p = np.exp(log_prob_of(head, h, spikes, name))
        counts = np.append(on.sum(0), (~on.any(1)).sum())
        assert chisquare(counts, np.append(p, 1 - p.sum()) * len(x)).pvalue > 1e-3
    grid = np.linspace(-12, 12, 100_001) + 1e-9
    slope = np.diff(c.scores) / np.diff(c.knots)
    place = np.clip(np.searchsorted(c.scores, grid) - 1, 0, len(slope) - 1)
    density = np.exp(log_prob_of(head, h, grid, name)) / slope[place]  # of normal scores
    cdf = np.cumsum(density) / density.sum()
    assert kstest(np.interp(x[~on.any(1)], grid, cdf), "uniform").pvalue > 1e-3


def test_a_decoder_that_says_nothing_has_the_columns_as_they_are() -> None:
    """Training starts from the columns' own distributions, each by itself."""
    torch.manual_seed(0)
    head = MixedLikelihood(DOMAIN.event_shape, **DOMAIN.likelihood_options("base", 16))
    h = torch.zeros(1, *head.param_shape)
    x = head(h).sample(N, normal_noise(torch.Generator().manual_seed(1)))[:, 0]
    table = DOMAIN.unpack(x)
    for name in ("word", "yes", "many"):
        own, found = (t[name].cast(pa.string()).to_pylist() for t in (FRAME.table(), table))
        classes = sorted(set(own))
        counts = np.array([[values.count(v) for v in classes] for values in (own, found)])
        assert np.abs(counts[0] - counts[1]).max() < 5 * np.sqrt(counts[0].max())
    assert np.mean(table["spiked"].to_numpy() == 0) == pytest.approx(np.mean(SPIKED == 0), abs=0.04)
    assert table["gaps"].null_count / N == pytest.approx(0.25, abs=0.04)


def test_the_mean_is_the_typical_value(head: MixedLikelihood, h: torch.Tensor) -> None:
    """The mean of normal scores, and the likeliest class or spike: never a value between two classes."""
    with torch.no_grad():
        mean = head(h).mean[0].numpy()
    x = drawn(head, h, 200_000, "normal")
    assert mean[PLACE["normal"]] == pytest.approx(x.mean(), abs=5 * x.std() / np.sqrt(len(x)))
    for name in ("word", "yes", "many"):
        classes = np.arange(1.0, len(DOMAIN.schema[name].classes) + 1)
        assert mean[PLACE[name]] == classes[log_prob_of(head, h, classes, name).argmax()]


def test_cells_that_are_left_out_count_nothing_and_rows_stand_alone(head: MixedLikelihood, h: torch.Tensor) -> None:
    x, mask = DOMAIN.pack(FRAME, torch.float64)
    assert mask is not None
    x, mask = x[:50], mask[:50]
    with torch.no_grad():
        p = head(h.expand(50, -1))
        elements = p.log_prob_elements(x)
        assert torch.equal(p.log_prob(x, mask), torch.where(mask, elements, 0.0).sum(-1))
        wild = torch.where(mask, x, 1e6)
        assert torch.equal(p.log_prob(wild, mask), p.log_prob(x, mask))
        one = head(h).log_prob(x[7:8], mask[7:8])
    torch.testing.assert_close(one[0], p.log_prob(x, mask)[7], rtol=0, atol=0)


def test_gradients_are_finite_where_cells_are_missing_and_numbers_far_out(head: MixedLikelihood) -> None:
    h = torch.zeros(4, *head.param_shape, dtype=torch.float64, requires_grad=True)
    x = torch.ones(4, *DOMAIN.event_shape, dtype=torch.float64)
    x[0, : len(PLACE)] = 30.0
    x[1, : len(PLACE)] = -30.0
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[2] = False
    p = head(h).log_prob(x, mask)
    p.sum().backward()
    assert p.isfinite().all()
    assert h.grad is not None
    assert h.grad.isfinite().all()
    assert (h.grad[2] == 0).all()
