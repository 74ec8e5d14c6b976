"""Every metric against a closed form."""

import math

import pytest
import torch
from torch import nn

from conftest import LinearGaussian
from vaekit.distributions.likelihoods import NormalLikelihood
from vaekit.distributions.priors import SPEED, MixturePrior
from vaekit.evaluation import evaluate, importance_weighted, shared_noise, verdict
from vaekit.model import LatentModel
from vaekit.training.data import Data


def test_with_the_exact_posterior_one_sample_gives_the_log_likelihood(linear_gaussian):
    x = linear_gaussian.rows(20)
    for k in (1, 3, 120):
        got = importance_weighted(linear_gaussian.model(), Data(x), k)
        torch.testing.assert_close(got, linear_gaussian.log_px(x))


@pytest.mark.parametrize("widen", [0.8, 1.5])
def test_with_another_posterior_it_comes_near_from_below(widen, linear_gaussian):
    x = linear_gaussian.rows(200)
    exact = linear_gaussian.log_px(x).mean()
    model = linear_gaussian.model(widen)
    errors = [(exact - importance_weighted(model, Data(x), k).mean()).item() for k in (1, 10, 5000)]
    assert errors[0] > errors[1] > errors[2] - 0.01
    assert errors[2] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_the_mean_over_rows_is_a_lower_bound_with_few_samples_too(seed, linear_gaussian):
    """Each row errs on its own account: over many rows the bound of Burda et al. shows, and luck does not."""
    x = linear_gaussian.rows(2000)
    k = 10
    error = importance_weighted(linear_gaussian.model(2.0), Data(x), k, seed=seed) - linear_gaussian.log_px(x)
    assert error.mean() < 3 * error.std() / math.sqrt(len(x))
    halves = error.view(2, -1).mean(1)  # rows that are alike in nothing but their distribution have the same mean error
    assert (halves[0] - halves[1]).abs() < 4 * error.std() / math.sqrt(len(x) / 4)


def test_missing_entries_are_marginalised_out(linear_gaussian):
    """log p of the observed entries alone, which for a Gaussian is exact: drop the rows and columns of the others."""
    x = linear_gaussian.rows(30)
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[:, [1, 4]] = False
    seen = [0, 2, 3, 5]
    covariance = linear_gaussian.W @ linear_gaussian.W.T + linear_gaussian.sigma**2 * torch.eye(6, dtype=torch.float64)
    exact = torch.distributions.MultivariateNormal(
        linear_gaussian.b[seen], covariance[seen][:, seen]
    ).log_prob(x[:, seen])  # fmt: skip
    got = importance_weighted(linear_gaussian.model(2.0), Data(x, mask), 20_000)
    torch.testing.assert_close(got.mean(), exact.mean(), atol=0.05, rtol=0)


def test_a_score_does_not_depend_on_the_rows_beside_it(linear_gaussian):
    x = linear_gaussian.rows(40)
    model = linear_gaussian.model(1.5)
    together = importance_weighted(model, Data(x), 70)
    alone = torch.cat([importance_weighted(model, Data(x[i : i + 1]), 70) for i in range(40)])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)
    backwards = importance_weighted(model, Data(x.flip(0)), 70)
    torch.testing.assert_close(together, backwards.flip(0), rtol=1e-10, atol=1e-10)
    assert shared_noise(0)(2, 5, 3)[:, 0].equal(shared_noise(0)(2, 1, 3)[:, 0])


def test_evaluate_agrees_with_the_closed_forms(linear_gaussian):
    x = linear_gaussian.rows(4000)
    results = evaluate(linear_gaussian.model(), Data(x), k=10)
    exact = linear_gaussian.log_px(x)
    assert results["iw_nll"] == pytest.approx(-exact.mean().item(), abs=1e-6)
    assert results["iw_nll_standard_error"] == pytest.approx(exact.std().item() / math.sqrt(4000), rel=1e-6)
    assert results["elbo"] == pytest.approx(exact.mean().item(), abs=0.1)
    assert results["elbo"] == pytest.approx(-results["reconstruction"] - results["kl"])
    # The mean KL of each unit over p(x) is the mutual information of its own channel: 1/2 log(1 + w^2 / sigma^2).
    channel = 0.5 * torch.log1p(linear_gaussian.W.square().sum(0) / linear_gaussian.sigma**2)
    assert results["kl_per_unit"] == pytest.approx(channel.tolist(), abs=0.06)
    assert sum(results["kl_per_unit"]) == pytest.approx(results["kl"])
    assert results["active_units"] == results["latent_units"] == 3


def test_units_that_the_decoder_does_not_use_are_not_active():
    exact = LinearGaussian()
    exact.W[:, 1:] = 0
    results = evaluate(exact.model(), Data(exact.rows(2000)), k=1)
    assert results["active_units"] == 1
    assert results["kl_per_unit"][1:] == pytest.approx([0, 0], abs=1e-6)
    assert "1 of 3" in results["verdict"]


def test_a_dead_latent_is_told_with_a_remedy():
    encoder, decoder = nn.Linear(5, 4), nn.Linear(2, 5)
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.bias.zero_()
    results = evaluate(
        LatentModel(encoder, decoder, NormalLikelihood((5,)), latent_dim=2), Data(torch.randn(100, 5)), k=5
    )
    assert results["kl"] == pytest.approx(0, abs=1e-6)
    assert results["active_units"] == 0
    assert "collapsed" in results["verdict"]
    assert "no unit is active" in results["verdict"]
    assert "--objective kl_floor" in results["verdict"]


def test_verdict_counts():
    base = {"latent_units": 16, "kl": 12.0}
    assert "all 16" in verdict({**base, "active_units": 16})
    assert "7 of 16" in verdict({**base, "active_units": 7})


def test_verdicts_do_not_contradict_themselves_or_the_objective():
    """A latent that carries nothing is not said to have all its units in use; the remedy is not what a floor replaces."""
    dead = verdict({"latent_units": 4, "active_units": 4, "kl": 0.03})
    assert "collapsed" in dead
    assert "4 of 4" not in dead
    ignored = verdict({"latent_units": 4, "active_units": 4, "kl": 3.0, "shuffle_gap": 0.01})
    for said in (dead, ignored):
        assert "warmup" not in said
        assert "--objective kl_floor" in said


def test_components_that_no_row_uses_are_counted_and_told():
    """Codes in two places; of the prior's four components two lie there, and two far away."""
    places = torch.tensor([[-4.0, 0.0], [4.0, 0.0], [0.0, 90.0], [0.0, -90.0]])
    x = places[torch.randint(0, 2, (500,))] + 0.1 * torch.randn(500, 2)
    encoder = nn.Linear(2, 4)
    prior = MixturePrior(2, components=4)
    model = LatentModel(encoder, nn.Linear(2, 2), NormalLikelihood((2,)), latent_dim=2, prior=prior)
    with torch.no_grad():
        encoder.weight.copy_(torch.cat([torch.eye(2), torch.zeros(2, 2)]))
        encoder.bias.zero_()
        prior.start_at(places)
        prior.numbers[4:12] = places.flatten() / SPEED
    results = evaluate(model, Data(x), k=5)
    assert (results["prior_components"], results["prior_components_used"]) == (4, 2)
    assert "2 of the prior's 4 components are used" in results["verdict"]


def test_a_code_is_as_active_in_small_units_as_in_large_ones():
    """With a learned prior the scale of z is anybody's: a thousandth of it says the same."""
    for scale in (1.0, 1e-3):
        encoder, decoder = nn.Linear(2, 4), nn.Linear(2, 2)
        with torch.no_grad():
            encoder.weight.copy_(torch.cat([torch.tensor([[scale, 0.0], [0.0, 0.0]]), torch.zeros(2, 2)]))
            encoder.bias.copy_(torch.tensor([0.0, 0.0, -12.0, -12.0]))
        model = LatentModel(encoder, decoder, NormalLikelihood((2,)), latent_dim=2, prior=MixturePrior(2, components=2))
        assert evaluate(model, Data(torch.randn(500, 2)), k=2)["active_units"] == 1
