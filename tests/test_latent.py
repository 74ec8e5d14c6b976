"""What the KL is made of, against models whose aggregate posterior is known."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from conftest import LinearGaussian
from vaekit.distributions import MultivariateNormal, Normal, Prior
from vaekit.distributions.likelihoods import NormalLikelihood
from vaekit.evaluation import evaluate, latent_health, verdict
from vaekit.evaluation.latent import log_mean, moment_kl
from vaekit.model import LatentModel
from vaekit.training.data import Data


def test_of_an_exact_posterior_the_aggregate_is_the_prior_and_the_information_that_of_the_channel(linear_gaussian):
    found = latent_health(linear_gaussian.model(), Data(linear_gaussian.rows(4000)))
    channel = 0.5 * torch.log1p(linear_gaussian.W.square().sum(0) / linear_gaussian.sigma**2).sum()
    assert found["mutual_information"] == pytest.approx(channel.item(), abs=0.1)
    assert found["marginal_kl"] == pytest.approx(0, abs=0.1)
    assert found["marginal_kl_at_least"] == pytest.approx(0, abs=0.01)
    assert found["mutual_information_limit"] == pytest.approx(math.log(2000))


def test_the_two_parts_make_the_kl(linear_gaussian):
    x = linear_gaussian.rows(2000)
    for widen in (0.5, 1.0, 1.6):
        found = evaluate(linear_gaussian.model(widen), Data(x), k=1)
        assert found["mutual_information"] + found["marginal_kl"] == pytest.approx(found["kl"], abs=0.1)


def test_the_shuffle_gap_in_closed_form(linear_gaussian):
    """E |x - W z' - b|² - E |x - W z - b|², over 2 σ²: with z' from another row x keeps all its variance, and more."""
    gap = latent_health(linear_gaussian.model(), Data(linear_gaussian.rows(4000)))["shuffle_gap"]
    w2, s2 = linear_gaussian.W.square().sum(0), linear_gaussian.sigma**2
    # x has covariance W Wᵀ + σ², W z' another W Wᵀ: 2 w² + σ² in each direction of W. With its own z: σ².
    assert gap == pytest.approx((2 * w2 / (2 * s2)).sum().item(), rel=0.1)


def shifted(model, by):
    """The same posterior, moved away from the prior by `by` in every unit; the decoder takes the shift back."""
    with torch.no_grad():
        model.encoder.bias[: len(by)] += by
        model.decoder.bias -= model.decoder.weight @ by
    return model


def test_a_prior_that_misses_the_codes_is_told_with_a_remedy(linear_gaussian):
    by = torch.tensor([2.0, 0.0, -1.0], dtype=torch.float64)
    found = evaluate(shifted(linear_gaussian.model(), by), Data(linear_gaussian.rows(4000)), k=1)
    assert found["marginal_kl"] == pytest.approx(5 / 2, abs=0.25)
    assert found["marginal_kl_at_least"] == pytest.approx(5 / 2, abs=0.25)
    assert "--prior flow" in found["verdict"]
    assert "prior does not fit it" in found["verdict"]


def test_many_nats_are_cut_off_by_the_rows_and_do_not_condemn_the_prior():
    """20 nats cannot be seen in 200 rows: the estimate stays below log N, and the rest is not held against the prior."""
    exact = LinearGaussian(columns=8, latent_dim=3, sigma=1e-3)
    found = evaluate(exact.model(), Data(exact.rows(200)), k=1)
    assert found["kl"] > 15
    assert math.log(200) - 0.5 < found["mutual_information"] <= math.log(200) + 1e-9
    assert found["marginal_kl"] > 8
    assert found["marginal_kl_at_least"] < 0.2
    assert "prior does not fit" not in found["verdict"]
    by = torch.tensor([4.0, 0.0, 0.0], dtype=torch.float64)
    assert "prior does not fit" in evaluate(shifted(exact.model(), by), Data(exact.rows(200)), k=1)["verdict"]


def test_the_moments_never_say_more_than_there_is():
    """A mixture of two points, held against N(0, 1): the fitted Normal's part, and the whole by numerical integration."""
    loc = torch.tensor([[-2.0], [2.0]]).repeat(500, 1).double()
    q, p = Normal(1, loc, torch.full_like(loc, 0.5)), Normal(1, torch.zeros_like(loc), torch.ones_like(loc))
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
    log_q = log_mean([q], grid)
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(grid[:, 0])
    assert torch.trapezoid(log_q.exp(), grid[:, 0]).item() == pytest.approx(1)
    whole = torch.trapezoid(log_q.exp() * (log_q - log_p), grid[:, 0]).item()
    least = moment_kl([q], [p])
    assert least == pytest.approx(0.5 * (4.25 - 1 - math.log(4.25)), abs=0.01)
    assert least < whole


def test_moments_do_not_see_a_prior_in_chance_alone():
    g = torch.Generator().manual_seed(0)
    values = []
    for _ in range(20):
        loc = torch.randn(300, 20, generator=g, dtype=torch.float64) * 0.9
        scale = torch.full_like(loc, math.sqrt(1 - 0.81))
        values.append(moment_kl([Normal(1, loc, scale)], [Normal(1, torch.zeros(300, 20), torch.ones(300, 20))]))
    assert np.mean(values) < 0.1


def test_each_row_against_every_posterior_by_a_plain_loop(linear_gaussian):
    posterior = linear_gaussian.model().posterior(linear_gaussian.rows(7))
    z = torch.randn(5, 3, dtype=torch.float64)
    reference = torch.distributions.Normal(posterior.loc, posterior.scale)
    expected = [torch.stack([reference.log_prob(v).sum(1)]).logsumexp(1)[0] - math.log(7) for v in z]
    split = [replace(posterior, loc=posterior.loc[i], scale=posterior.scale[i]) for i in (slice(0, 4), slice(4, 7))]
    torch.testing.assert_close(log_mean(split, z), torch.stack(expected))


def test_a_decoder_that_ignores_z_is_told():
    encoder, decoder = nn.Linear(5, 4), nn.Linear(2, 5)
    with torch.no_grad():
        decoder.weight.zero_()
    model = LatentModel(encoder, decoder, NormalLikelihood((5,)), latent_dim=2)
    found = evaluate(model, Data(3 * torch.randn(300, 5)), k=1)
    assert found["shuffle_gap"] == 0
    assert found["active_units"] == 2
    assert found["kl"] > 0.1
    assert "ignores z" in found["verdict"]


class TwoClasses(Prior):
    """A prior that is N(±3, 1) by the condition, and codes that follow it."""

    def forward(self, c, n):
        return Normal(1, 6 * c - 3, torch.ones_like(c))


class AsItIs(nn.Module):
    features = 1

    def forward(self, y, rows):
        return y["y"].double()[:, None]


class ClassEncoder(nn.Module):
    def forward(self, x, c):
        return torch.cat([6 * c - 3, torch.full_like(c, math.log(math.expm1(1 - 1e-4)) - 0.5413248546)], 1)


class ClassDecoder(nn.Module):
    def forward(self, z, c):
        return z


def test_with_a_condition_the_aggregate_prior_counts():
    """q(z|x,y) = p(z|y): the codes of both classes together are the prior of both together. z tells the class, which is
    all that the rows share: I(x; z) is that of two Normals 6 apart with their class."""
    model = LatentModel(
        ClassEncoder(), ClassDecoder(), NormalLikelihood((1,)).double(), latent_dim=1, prior=TwoClasses(), condition=AsItIs()
    )  # fmt: skip
    y = torch.arange(1000) % 2
    found = latent_health(model, Data(torch.randn(1000, 1).double(), None, {"y": y}))
    assert found["marginal_kl"] == pytest.approx(0, abs=1e-3)
    assert found["mutual_information"] == pytest.approx(math.log(2), abs=0.02)
    assert found["marginal_kl_at_least"] is None


@dataclass
class Opaque:
    """A posterior of which only its own samples' density is known."""

    inside: Normal

    @property
    def mean(self):
        return self.inside.mean

    def sample(self, k=1, noise=torch.randn):
        return self.inside.sample(k, noise)

    def log_prob(self, z, mask=None):
        assert z.ndim == 3
        assert z.shape[1:] == self.inside.loc.shape
        return self.inside.log_prob(z)


class OpaqueHead(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, h):
        return Opaque(self.head(h))


def test_other_posteriors_have_no_number_rather_than_a_wrong_one(linear_gaussian):
    model = linear_gaussian.model()
    head = model.posterior_head
    model.posterior_head = OpaqueHead(head)
    found = evaluate(model, Data(linear_gaussian.rows(300)), k=5)
    assert found["mutual_information"] is found["marginal_kl"] is found["marginal_kl_at_least"] is None
    assert found["shuffle_gap"] > 1
    assert found["latent_units"] == found["active_units"] == 3
    assert found["kl_per_unit"] == []
    assert "alive" in found["verdict"]


class TurnedHead(nn.Module):
    """The posterior N(loc, scale²) of its head, with z turned: a full covariance, and every information the same."""

    def __init__(self, head, turn):
        super().__init__()
        self.head, self.turn = head, turn

    def forward(self, h):
        q = self.head(h)
        covariance = self.turn @ q.scale.square().diag_embed() @ self.turn.T
        return MultivariateNormal(q.loc @ self.turn.T, torch.linalg.cholesky(covariance))


def test_a_full_covariance_and_the_same_code_turned_say_the_same(linear_gaussian):
    x = Data(linear_gaussian.rows(1500))
    by = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    straight, turned = (shifted(linear_gaussian.model(), by) for _ in range(2))
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    turned.posterior_head = TurnedHead(turned.posterior_head, turn)
    turned.decoder.weight.data = turned.decoder.weight @ turn.T
    one, other = latent_health(straight, x), latent_health(turned, x)
    assert other["marginal_kl_at_least"] == pytest.approx(one["marginal_kl_at_least"], rel=1e-6)
    for name in ("mutual_information", "marginal_kl", "shuffle_gap"):
        assert other[name] == pytest.approx(one[name], abs=0.1, rel=0.04), name


def test_one_row_has_no_gap(linear_gaussian):
    found = latent_health(linear_gaussian.model(), Data(linear_gaussian.rows(1)))
    assert found["shuffle_gap"] is None
    assert found["mutual_information"] == pytest.approx(0)


def test_missing_entries_do_not_count_in_the_gap(linear_gaussian):
    x = linear_gaussian.rows(400)
    hidden = torch.zeros_like(x, dtype=torch.bool)
    assert latent_health(linear_gaussian.model(), Data(x, hidden))["shuffle_gap"] == 0


def test_verdict_in_order_of_what_matters():
    base = {
        "latent_units": 8, "active_units": 8, "kl": 10.0, "shuffle_gap": 12.0,
        "mutual_information": 4.0, "mutual_information_limit": 7.6, "marginal_kl": 6.0, "marginal_kl_at_least": 0.5,
    }  # fmt: skip
    assert "prior does not fit" in verdict(base)
    assert "ignores z" in verdict({**base, "shuffle_gap": 0.01})
    assert "collapsed" in verdict({**base, "active_units": 0, "shuffle_gap": 0.0})
    assert "loses 12.0 nats" in verdict({**base, "active_units": 0})
    assert "all 8" in verdict({**base, "marginal_kl": 0.5})
    assert "all 8" in verdict({**base, "mutual_information": 7.5})
    assert "all 8" in verdict({**base, "mutual_information": None, "marginal_kl": None, "marginal_kl_at_least": None})
