"""Continuous Bernoulli and discretised logistics against their definitions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributions as td

import vaekit as vk
from vaekit.distributions import ContinuousBernoulli, LogisticMixture
from vaekit.distributions.elementwise import log1mexp
from vaekit.distributions.likelihoods import ContinuousBernoulliLikelihood, LogisticLikelihood, NormalLikelihood
from vaekit.errors import UserError

LOGITS = torch.tensor([-30.0, -3.0, -0.5, -1e-3, 0.0, 1e-6, 5e-3, 0.02, 1.0, 4.0, 30.0]).double()


def log_constant(logits):
    """log of the integral of exp(logits x) over [0, 1], by quadrature."""
    x = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    return torch.trapezoid((logits[:, None] * x).exp(), x, dim=1).log()


def test_continuous_bernoulli_is_the_exponential_density_on_the_unit_interval():
    x = torch.rand(50, len(LOGITS)).double()
    expected = (x * LOGITS - log_constant(LOGITS)).sum(-1)
    torch.testing.assert_close(ContinuousBernoulli(1, LOGITS).log_prob(x), expected, rtol=1e-4, atol=1e-4)
    usual = LOGITS[(LOGITS.abs() > 0.01) & (LOGITS.abs() < 10)]
    reference = td.ContinuousBernoulli(logits=usual)
    ours = ContinuousBernoulli(1, usual)
    torch.testing.assert_close(ours.log_prob(x[:, : len(usual)]), reference.log_prob(x[:, : len(usual)]).sum(-1))
    torch.testing.assert_close(ours.mean, reference.mean)


def test_continuous_bernoulli_has_no_seam_near_zero():
    logits = torch.linspace(-0.02, 0.02, 401, dtype=torch.float64, requires_grad=True)
    distribution = ContinuousBernoulli(0, logits)
    values = distribution.log_prob_elements(torch.tensor(0.3).double())
    (slope,) = torch.autograd.grad(values.sum(), logits, retain_graph=True)
    # d/dl log p(x) = x - E[x], for every member of an exponential family.
    torch.testing.assert_close(slope, 0.3 - distribution.mean, atol=1e-7, rtol=0)
    assert distribution.mean.diff().min() > 0
    assert torch.autograd.grad(distribution.mean.sum(), logits)[0].isfinite().all()


def test_continuous_bernoulli_samples_have_its_mean_and_stay_inside():
    ours = ContinuousBernoulli(1, LOGITS)
    samples = ours.sample(40_000)
    assert samples.min() >= 0
    assert samples.max() <= 1
    torch.testing.assert_close(samples.mean(0), ours.mean, atol=5 * 0.29 / math.sqrt(40_000), rtol=0)
    cdf = lambda x: torch.expm1(4 * x) / math.expm1(4)  # noqa: E731  (of logit 4)
    u = cdf(samples[:, 9]).sort().values
    assert (u - torch.linspace(0, 1, len(u)).double()).abs().max() < 1.95 / math.sqrt(len(u))  # Kolmogorov-Smirnov


def test_continuous_bernoulli_densities_are_per_unit_of_the_data():
    x, h = torch.rand(10, 3, 2, 2), torch.randn(10, 3, 2, 2)
    grey = ContinuousBernoulliLikelihood.from_data([(x, None)], torch.tensor([255.0]))(h).log_prob(x)
    plain = ContinuousBernoulliLikelihood((3, 2, 2))(h).log_prob(x)
    torch.testing.assert_close(grey, plain - 12 * math.log(255))


@pytest.mark.parametrize("value", [1e-12, 1e-6, 0.5, math.log(2), 1.0, 30.0, 200.0])
def test_log1mexp_neither_cancels_nor_loses_its_gradient(value):
    exact = math.log(-math.expm1(-value)) if value < 0.1 else math.log1p(-math.exp(-value))
    for dtype in (torch.float32, torch.float64):
        x = torch.tensor(value, dtype=dtype, requires_grad=True)
        log1mexp(x).backward()
        assert log1mexp(x).item() == pytest.approx(exact, rel=1e-5, abs=1e-30)
        slope = math.exp(-value) / -math.expm1(-value)
        assert x.grad.item() == pytest.approx(slope, rel=1e-4, abs=1e-30)


def mixture(logits, loc, log_scale, step=1.0, low=0.0, high=255.0):
    as_tensor = lambda v: torch.as_tensor(v, dtype=torch.float64)  # noqa: E731
    return LogisticMixture(0, *map(as_tensor, (logits, loc, log_scale, step, low, high)))


numbers = lambda low, high: st.lists(st.floats(low, high), min_size=3, max_size=3)  # noqa: E731


@given(numbers(-20, 20), numbers(-1e4, 1e4), numbers(-20, 40), st.integers(0, 20), st.sampled_from([1.0, 1 / 255, 7.5]))
def test_logistic_probabilities_add_to_one(logits, loc, log_scale, last, step):
    grid = 3 + step * torch.arange(last + 1, dtype=torch.float64)
    p = mixture(logits, loc, log_scale, step, 3.0, 3 + step * last)
    each = torch.stack([p.log_prob_elements(x) for x in grid])
    assert each.isfinite().all()
    assert each.logsumexp(0).item() == pytest.approx(0, abs=1e-9)


@given(numbers(-3, 3), numbers(0, 20), numbers(-1, 2))
def test_logistic_is_the_difference_of_sigmoids(logits, loc, log_scale):
    p = mixture(logits, loc, log_scale, high=20.0)
    x = torch.arange(21, dtype=torch.float64)
    above, below = (((x[:, None] + s - p.loc) / p.log_scale.exp()).sigmoid() for s in (0.5, -0.5))
    above[-1], below[0] = 1, 0
    naive = (p.logits.softmax(-1) * (above - below)).sum(-1)
    ours = torch.stack([p.log_prob_elements(v) for v in x]).exp()
    torch.testing.assert_close(ours, naive, rtol=1e-6, atol=1e-12)


def test_logistic_samples_lie_on_the_grid_with_their_frequencies():
    p = mixture([0.0, 1.0, -1.0], [-4.0, 3.0, 12.0], [1.0, -1.0, 0.5], 0.5, -2.0, 2.0)
    grid = torch.arange(-2, 2.5, 0.5).double()
    samples = p.sample(100_000)
    share = (samples[:, None] == grid).double().mean(0)
    assert share.sum().item() == pytest.approx(1)
    expected = torch.stack([p.log_prob_elements(v) for v in grid]).exp()
    assert ((share - expected) / (expected / 100_000).sqrt()).abs().max() < 5


@pytest.mark.parametrize("size", [1.0, 30.0, 300.0])
def test_logistic_gradients_are_finite_for_any_output_of_the_decoder(size):
    x = torch.randint(0, 256, (64, 1, 4, 4)) / 255
    likelihood = LogisticLikelihood.from_data([(x, None)], torch.tensor([255.0]))
    h = (size * torch.randn(64, *likelihood.param_shape)).requires_grad_()
    log_p = likelihood(h).log_prob(x)
    log_p.sum().backward()
    assert log_p.isfinite().all()
    assert h.grad.isfinite().all()


def test_logistic_learns_the_grid_of_bytes():
    x = torch.randint(0, 256, (500, 3, 4, 4)) / 255
    likelihood = LogisticLikelihood.from_data([(x[:99], None), (x[99:], None)], torch.tensor([255.0]))
    likelihood.check(x)
    h = torch.randn(1, *likelihood.param_shape).expand(256, *likelihood.param_shape)
    every = (torch.arange(256) / 255).reshape(256, 1, 1, 1).expand(256, 3, 4, 4)
    each = likelihood(h).log_prob_elements(every)
    torch.testing.assert_close(each.exp().sum(0), torch.ones(3, 4, 4), rtol=1e-4, atol=0)
    samples = likelihood(h[:2]).sample(50)
    assert ((samples * 255).round() / 255 - samples).abs().max() < 1e-6
    # A decoder that says nothing yet is near uniform over the range: about log 256 nats a byte.
    nothing = likelihood(torch.zeros(1, *likelihood.param_shape)).log_prob(x)
    assert -nothing.mean().item() / 48 == pytest.approx(math.log(256), rel=0.05)


@pytest.mark.parametrize("largest", [5, 1000, 1_000_000])
def test_logistic_learns_the_grid_of_standardised_whole_numbers(largest):
    values = torch.randint(0, largest + 1, (2000, 2)).double() + torch.tensor([0, -40]).double()
    mean, unit = values.mean(0), values.std(0)
    x = ((values - mean) / unit).float()
    likelihood = LogisticLikelihood.from_data([(x, None)], unit.float())
    likelihood.check(x)
    samples = likelihood(torch.zeros(20, *likelihood.param_shape)).sample(30).double() * unit + mean
    torch.testing.assert_close(samples, samples.round(), atol=0.02 + 1e-6 * largest, rtol=0)


def test_logistic_refuses_what_is_no_whole_number(digits):
    with pytest.raises(UserError, match=r"whole numbers: use likelihood 'normal'") as e:
        vk.VAE(2, likelihood="logistic").fit(np.random.default_rng(0).normal(size=(50, 3)))
    assert "\n" not in str(e.value)


def test_logistic_leaves_out_what_is_missing():
    x = torch.randint(0, 5, (200, 3)).float()
    mask = torch.rand(200, 3) < 0.7
    spoiled = torch.where(mask, x, 1e6)
    a = LogisticLikelihood.from_data([(spoiled, mask)], torch.ones(3))
    assert (a.low.tolist(), a.high.tolist()) == ([0] * 3, [4] * 3)
    a.check(torch.where(mask, x, 0.5), mask)
    h = torch.randn(200, *a.param_shape)
    alone = a(h).log_prob_elements(x)
    torch.testing.assert_close(a(h).log_prob(spoiled, mask), (alone * mask).sum(-1))


def test_a_column_of_one_value_or_none_is_certain():
    x = torch.stack([torch.full((50,), 3.0), torch.zeros(50)], 1)
    mask = torch.tensor([True, False]).expand(50, 2)
    likelihood = LogisticLikelihood.from_data([(x, mask)], torch.ones(2))
    log_p = likelihood(torch.randn(50, *likelihood.param_shape)).log_prob(x, mask)
    torch.testing.assert_close(log_p, torch.zeros(50))


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_fixed_scale_has_to_be_above_zero(scale):
    with pytest.raises(UserError, match=r"scale.*above 0"):
        NormalLikelihood((3,), scale=scale)


@pytest.mark.parametrize("kind", ["bytes", "numbers"])
def test_continuous_bernoulli_scores_in_the_units_of_the_data(digits, kind):
    """A decoder that says logit 0 everywhere is the uniform density: 1 over the range, for each value."""
    images, _ = digits
    x = images if kind == "bytes" else images.reshape(-1, 64) / 16
    vae = vk.VAE(2, size="small", network="mlp", likelihood="continuous_bernoulli", epochs=1).fit(x)
    with torch.no_grad():
        for p in (*vae.model_.encoder.parameters(), *vae.model_.decoder.parameters()):
            p.zero_()
    expected = -64 * math.log(16) if kind == "bytes" else 0
    assert vae.score(x[:20]) == pytest.approx(expected, abs=1e-2)


def test_vae_of_pictures_by_logistics_gives_bytes_back(digits):
    images, _ = digits
    vae = vk.VAE(4, size="small", likelihood="logistic", epochs=2).fit(images)
    samples = vae.sample(5, mean=False)
    assert samples.dtype == images.dtype
    assert samples.max() <= images.max()
    # Probabilities of 64 bytes: at most 0 nats; and better than a uniform guess among the 17 values.
    assert -64 * math.log(17) < vae.score(images[:100]) < 0
