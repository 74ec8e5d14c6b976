"""Every distribution against torch.distributions, an independent implementation, and against its own definition."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions as td

from vaekit.distributions import (
    LIKELIHOODS,
    Bernoulli,
    Categorical,
    ConditionalNormalPrior,
    ContinuousBernoulli,
    Laplace,
    Normal,
    StandardNormalPrior,
    kl_divergence,
    kl_per_unit,
)
from vaekit.distributions.likelihoods import CategoricalLikelihood, LaplaceLikelihood, NormalLikelihood
from vaekit.errors import UserError

torch.manual_seed(0)
SHAPE = (3, 4, 5)  # k, B, event
LOC, RAW = torch.randn(SHAPE, dtype=torch.float64), torch.randn(SHAPE, dtype=torch.float64)
SCALE = RAW.exp()
LOGITS = torch.randn(*SHAPE, 7, dtype=torch.float64)

PAIRS = {  # ours, the reference, data
    "normal": (Normal(1, LOC, SCALE), td.Normal(LOC, SCALE), torch.randn(SHAPE, dtype=torch.float64)),
    "laplace": (Laplace(1, LOC, SCALE), td.Laplace(LOC, SCALE), torch.randn(SHAPE, dtype=torch.float64)),
    "bernoulli": (Bernoulli(1, LOC), td.Bernoulli(logits=LOC), torch.randint(0, 2, SHAPE).double()),
    "continuous bernoulli": (
        ContinuousBernoulli(1, 3 * LOC), td.ContinuousBernoulli(logits=3 * LOC), torch.rand(SHAPE, dtype=torch.float64),
    ),
    "categorical": (Categorical(1, LOGITS), td.Categorical(logits=LOGITS), torch.randint(0, 7, SHAPE).double()),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_log_prob_is_the_reference_summed_over_the_event(name):
    ours, reference, x = PAIRS[name]
    torch.testing.assert_close(ours.log_prob(x), reference.log_prob(x).sum(-1))


@pytest.mark.parametrize("name", PAIRS)
def test_mask_leaves_entries_out(name):
    ours, reference, x = PAIRS[name]
    mask = torch.rand(SHAPE) < 0.5
    torch.testing.assert_close(ours.log_prob(x, mask), (reference.log_prob(x) * mask).sum(-1))
    torch.testing.assert_close(ours.log_prob(x, torch.zeros(SHAPE, dtype=torch.bool)), torch.zeros(SHAPE[:2]).double())


@pytest.mark.parametrize("name", PAIRS)
def test_samples_have_the_moments_of_the_distribution(name):
    ours, reference, _ = PAIRS[name]
    samples = ours.sample(20_000)
    assert samples.shape == (20_000, *SHAPE)
    if name == "categorical":
        share = torch.nn.functional.one_hot(samples.long(), 7).double().mean(0)
        assert (share - reference.probs).abs().max() < 5 * math.sqrt(0.25 / 20_000)
    else:
        error = (samples.mean(0) - reference.mean) / (reference.stddev / math.sqrt(20_000))
        assert error.abs().max() < 5
        torch.testing.assert_close(samples.std(0), reference.stddev, rtol=0.15, atol=0.01)


@pytest.mark.parametrize("name", ["normal", "laplace"])
def test_densities_integrate_to_one(name):
    grid = torch.linspace(-60, 60, 200_001, dtype=torch.float64)[:, None]
    cls = {"normal": Normal, "laplace": Laplace}[name]
    density = cls(1, torch.tensor([0.3]).double(), torch.tensor([1.7]).double()).log_prob(grid).exp()
    assert torch.trapezoid(density, grid[:, 0]).item() == pytest.approx(1, abs=1e-6)


@given(st.floats(-5, 5), st.floats(0.05, 5), st.floats(-5, 5), st.floats(0.05, 5))
def test_normal_kl_is_the_reference(a, s, b, t):
    q, p = (Normal(1, torch.tensor([[m]]).double(), torch.tensor([[d]]).double()) for m, d in ((a, s), (b, t)))
    reference = td.kl_divergence(td.Normal(q.loc, q.scale), td.Normal(p.loc, p.scale))
    torch.testing.assert_close(kl_per_unit(q, p), reference)
    torch.testing.assert_close(kl_divergence(q, p), reference.sum(-1))
    assert kl_divergence(q, q).item() == pytest.approx(0, abs=1e-12)


@given(st.floats(0.1, 1000))
@settings(max_examples=20)
def test_unit_changes_the_density_as_a_change_of_variable_does(unit):
    x, loc = torch.randn(4, 5).double(), torch.randn(4, 5).double()
    for ours, reference in ((Normal, td.Normal), (Laplace, td.Laplace)):
        scale = torch.tensor(0.8, dtype=torch.float64)
        got = ours(1, loc, scale, torch.tensor(unit, dtype=torch.float64).log()).log_prob(x)
        torch.testing.assert_close(got, reference(loc * unit, scale * unit).log_prob(x * unit).sum(-1))


def test_tempering_scales_the_spread():
    normal = Normal(1, LOC, SCALE)
    torch.testing.assert_close(normal.tempered(0.5).scale, SCALE / 2)
    torch.testing.assert_close(normal.tempered(0).sample(2)[0], LOC)
    assert (Bernoulli(1, LOC).tempered(0).sample(1)[0] == (LOC > 0)).all()


@pytest.mark.parametrize("name", PAIRS)
def test_temperature_one_changes_nothing(name):
    ours, _, x = PAIRS[name]
    torch.testing.assert_close(ours.tempered(1).log_prob(x), ours.log_prob(x))


def test_standard_prior_and_a_fresh_conditional_prior_are_the_standard_normal():
    c = torch.randn(4, 8)
    for prior in (StandardNormalPrior(3), ConditionalNormalPrior(3, 8)):
        p = prior(c, 4)
        z = torch.randn(4, 3)
        torch.testing.assert_close(p.log_prob(z), td.Normal(0, 1).log_prob(z).sum(-1), rtol=1e-3, atol=1e-3)


def test_learned_scale_starts_at_the_spread_of_the_data_and_is_shared_by_channel():
    x = torch.randn(500, 3, 6, 4) * torch.tensor([0.1, 1.0, 5.0])[:, None, None]
    likelihood = NormalLikelihood.from_data([(x[:200], None), (x[200:], None)], torch.ones(3))
    assert likelihood.scale.shape == (3, 1, 1)
    torch.testing.assert_close(likelihood.scale.flatten(), x.std(dim=(0, 2, 3)), rtol=0.05, atol=2e-3)


def test_spread_ignores_what_is_missing():
    x = torch.randn(1000, 2)
    mask = torch.rand(1000, 2) < 0.7
    spoiled = torch.where(mask, x, 1e6)
    a = NormalLikelihood.from_data([(spoiled, mask)], torch.ones(2)).scale
    torch.testing.assert_close(a, torch.stack([x[:, i][mask[:, i]].std() for i in range(2)]), rtol=0.01, atol=2e-3)


def test_the_best_learned_scale_is_the_error_itself():
    """For a fixed mean, the maximum-likelihood scale is the root mean square error: sigma-VAE's argument."""
    likelihood = NormalLikelihood.from_data([(torch.randn(100, 1), None)], torch.ones(1))
    error = torch.randn(5000, 1) * 0.2
    optimizer = torch.optim.Adam(likelihood.parameters(), 0.01)
    for _ in range(500):
        optimizer.zero_grad()
        (-likelihood(torch.zeros(5000, 1)).log_prob(error).mean()).backward()
        optimizer.step()
    assert likelihood.scale.item() == pytest.approx(error.square().mean().sqrt().item(), rel=0.01)


def test_a_fixed_scale_is_fixed():
    likelihood = LaplaceLikelihood((4,), scale=1.0)
    assert not list(likelihood.parameters())
    x, h = torch.randn(3, 4), torch.randn(3, 4)
    torch.testing.assert_close(likelihood(h).log_prob(x), -(x - h).abs().sum(-1) - 4 * math.log(2))


def test_fixed_normal_is_half_the_squared_error_and_a_constant():
    x, h = torch.randn(3, 4), torch.randn(3, 4)
    got = NormalLikelihood((4,), scale=1.0)(h).log_prob(x)
    torch.testing.assert_close(got, -0.5 * (x - h).square().sum(-1) - 2 * math.log(2 * math.pi))


def test_bernoulli_is_the_binary_cross_entropy():
    x, h = torch.rand(3, 4), torch.randn(3, 4)
    reference = -torch.nn.functional.binary_cross_entropy_with_logits(h, x, reduction="none").sum(-1)
    torch.testing.assert_close(LIKELIHOODS["bernoulli"]((4,))(h).log_prob(x), reference)


@pytest.mark.parametrize("event", [(3,), (2, 4, 5)])
def test_categorical_shapes_and_one_hot(event):
    x = torch.randint(0, 6, (10, *event)).float()
    likelihood = CategoricalLikelihood.from_data([(x, None)], torch.ones(1), categories=6)
    assert likelihood.param_shape == likelihood.input_shape == (event[0] * 6, *event[1:])
    assert likelihood.features(x).shape == (10, *likelihood.input_shape)
    assert (likelihood.features(x).sum(1) == event[0]).all()
    # A decoder that is sure of the one-hot code it was shown gives the data back, with no surprise left.
    sure = likelihood(likelihood.features(x) * 100)
    assert (sure.mean == x).all()
    torch.testing.assert_close(sure.log_prob(x), torch.zeros(10), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "bad", "word"),
    [
        ("bernoulli", 16.0, "0 to 1"),
        ("bernoulli", -0.1, "0 to 1"),
        ("categorical", 2.5, "whole numbers"),
        ("normal", math.inf, "finite"),
    ],
)
def test_data_outside_the_support_is_named(name, bad, word):
    x = torch.zeros(4, 3)
    x[2, 1] = bad
    options = {"categories": 4} if name == "categorical" else {}
    likelihood = LIKELIHOODS[name]((3,), **options)
    with pytest.raises(UserError, match=rf"value {bad:g} at row 2, position \(1,\).*{word}"):
        likelihood.check(x)
    likelihood.check(x, mask=x != bad)  # a missing entry may hold anything
