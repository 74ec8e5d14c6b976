"""The core against what is known in closed form."""

import pytest
import torch
from torch import nn

from vaekit.distributions import ConditionalNormalPrior
from vaekit.distributions.likelihoods import BernoulliLikelihood, NormalLikelihood
from vaekit.model import LatentModel
from vaekit.nets import MLP, ConditionEmbedding
from vaekit.nets.condition import UNKNOWN, forget
from vaekit.objectives import ELBO


def conditional_model(prior=False):
    condition = ConditionEmbedding({"label": 3}, {"pose": 2})
    return LatentModel(
        MLP((5,), (4,), condition.features),
        MLP((2,), (5,), condition.features),
        NormalLikelihood((5,)),
        latent_dim=2,
        prior=ConditionalNormalPrior(2, condition.features) if prior else None,
        condition=condition,
    )


def test_with_the_exact_posterior_the_elbo_is_the_log_likelihood(linear_gaussian):
    x = linear_gaussian.rows(50)
    exact = linear_gaussian.log_px(x)
    draw = linear_gaussian.model().draw(x, k=7)
    # log p(x|z) + log p(z) - log q(z) is log p(x) for every single z when q is the posterior.
    torch.testing.assert_close(draw.log_weight, exact.expand(7, -1))
    many = linear_gaussian.model().draw(x, k=4000)
    torch.testing.assert_close(many.elbo, exact, atol=0.15, rtol=0)


def test_any_other_posterior_gives_less(linear_gaussian):
    x = linear_gaussian.rows(50)
    for widen in (0.5, 2.0):
        assert (linear_gaussian.model(widen).draw(x, k=2000).elbo < linear_gaussian.log_px(x)).all()


def test_closed_form_kl_is_the_mean_of_log_q_minus_log_p(linear_gaussian):
    draw = linear_gaussian.model(1.3).draw(linear_gaussian.rows(4), k=50_000)
    torch.testing.assert_close((draw.log_qz - draw.log_pz).mean(0), draw.kl, atol=0.05, rtol=0)


def test_objective_is_the_negative_elbo_and_warms_up(linear_gaussian):
    draw = linear_gaussian.model().draw(linear_gaussian.rows(8))
    loss, terms = ELBO()(draw, 1.0)
    torch.testing.assert_close(loss, -draw.elbo.mean())
    torch.testing.assert_close(ELBO(beta=2, warmup=0.5)(draw, 0.25)[0], terms["reconstruction"] + 1.0 * terms["kl"])
    torch.testing.assert_close(ELBO(beta=2, warmup=0.5)(draw, 0.9)[0], terms["reconstruction"] + 2.0 * terms["kl"])


@pytest.mark.parametrize("likelihood", [BernoulliLikelihood, NormalLikelihood])
def test_guidance_is_a_power_of_what_the_condition_changes(likelihood):
    model = conditional_model().double()
    model.likelihood = likelihood((5,)).double()
    y, z = {"label": torch.tensor([0, 1, 2])}, torch.randn(3, 2).double()
    x = (torch.rand(2, 3, 5) < 0.5).double()  # two of each row
    given, free, guided = (p.log_prob(x) for p in (model.decode(z, y), model.decode(z), model.decode(z, y, 1.5)))
    # Up to a constant of each row, log p(x|z,y) + guidance (log p(x|z,y) - log p(x|z)).
    asked = given + 1.5 * (given - free)
    torch.testing.assert_close(guided[1] - guided[0], asked[1] - asked[0])


def test_shapes():
    model = conditional_model(prior=True)
    y = {"label": torch.tensor([0, 1, 2, UNKNOWN]), "pose": torch.randn(4, 2)}
    draw = model.draw(torch.randn(4, 5), y, k=3)
    assert draw.z.shape == (3, 4, 2)
    assert draw.log_px.shape == draw.log_pz.shape == draw.log_qz.shape == (3, 4)
    assert draw.kl.shape == draw.elbo.shape == (4,)
    assert model.decode(draw.z, y).mean.shape == (3, 4, 5)
    assert model.decode(draw.z[0], y).mean.shape == (4, 5)
    assert model.prior(y).sample(2).shape == (2, 4, 2)
    assert model.prior(n=6).sample(1).shape == (1, 6, 2)


def test_what_is_missing_is_not_read_and_not_scored():
    model = LatentModel(MLP((5,), (4,)), MLP((2,), (5,)), BernoulliLikelihood((5,)), latent_dim=2)
    x, mask = torch.rand(4, 5).round(), torch.tensor([True, False, True, True, False]).expand(4, 5)
    noise = lambda *shape: torch.ones(shape)  # noqa: E731
    a = model.draw(x, mask=mask, noise=noise)
    b = model.draw(torch.where(mask, x, torch.nan), mask=mask, noise=noise)
    torch.testing.assert_close(a.elbo, b.elbo)
    assert b.elbo.isfinite().all()
    b.elbo.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_unknown_is_the_same_however_it_is_said_and_differs_from_known():
    model = conditional_model(prior=True)
    nn.init.normal_(model.prior_head.net[-1].weight)
    all_unknown = {"label": torch.full((4,), UNKNOWN), "pose": torch.full((4, 2), torch.nan)}
    z = torch.randn(4, 2)
    torch.testing.assert_close(model.decode(z, all_unknown).mean, model.decode(z).mean)
    torch.testing.assert_close(model.decode(z, {"label": all_unknown["label"]}).mean, model.decode(z).mean)
    for nothing in (all_unknown, {}, None):
        torch.testing.assert_close(model.prior(nothing, 4).mean, model.prior(n=4).mean)
    known = model.decode(z, {"label": torch.zeros(4, dtype=torch.long)}).mean
    assert not torch.allclose(known, model.decode(z).mean)


def test_forget_hides_at_the_asked_rate_and_all_together():
    n = 40_000
    y = {"label": torch.zeros(n, dtype=torch.long), "pose": torch.zeros(n, 2)}
    hidden = forget(y, torch.rand(n, 3), 0.2)
    label, pose = hidden["label"] == UNKNOWN, hidden["pose"].isnan().all(1)
    assert label.float().mean().item() == pytest.approx(1 - 0.8**2, abs=0.01)  # for itself, or with all
    assert (label & pose).float().mean().item() == pytest.approx(0.2 + 0.8 * 0.04, abs=0.01)
    assert not forget(y, torch.rand(n, 3), 0.0)["label"].any()
    alone = forget({"label": y["label"]}, torch.rand(n, 2), 0.2)["label"] == UNKNOWN
    assert alone.float().mean().item() == pytest.approx(0.2, abs=0.01)


def test_plain_modules_serve_as_networks():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 8))
    decoder = nn.Sequential(nn.Linear(4, 12), nn.Unflatten(1, (3, 2, 2)))
    model = LatentModel(encoder, decoder, NormalLikelihood((3, 2, 2)), latent_dim=4)
    model.draw(torch.rand(5, 3, 2, 2)).elbo.sum().backward()
    assert encoder[1].weight.grad.abs().sum() > 0
