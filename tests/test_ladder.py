"""The ladder VAE against its own definition: independent sums of Normal densities, a grid, and bounds."""

import math

import pytest
import torch
from torch.distributions import Normal as TorchNormal

from vaekit.distributions import kl_divergence, kl_per_unit
from vaekit.distributions.likelihoods import BernoulliLikelihood, CategoricalLikelihood, NormalLikelihood
from vaekit.errors import UserError
from vaekit.evaluation import evaluate, importance_weighted
from vaekit.nets import ConditionEmbedding
from vaekit.objectives import ELBO
from vaekit.structures.ladder import build_ladder
from vaekit.training import Data, Training, fit, launch


def stirred(model, spread=0.3):
    """As if trained: every weight is moved, those that start at zero among them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(spread * torch.randn(p.shape, generator=generator) / math.sqrt(max(1, p[0].numel())))
    return model.double().eval()


def pictures(condition=False, spread=0.3, **options):
    embedding = ConditionEmbedding({"label": 3}) if condition else None
    options = {"width": 4, "latent_channels": 2, **options}
    likelihood = BernoulliLikelihood((1, 9, 10))
    return stirred(build_ladder(likelihood, embedding, embedding.features if embedding else 0, **options), spread)


def one_unit_a_level():
    """Two levels of one unit: small enough to integrate over."""
    likelihood = NormalLikelihood((1, 2, 2), scale=1.0)
    return stirred(build_ladder(likelihood, width=4, blocks=2, latent_channels=1), 0.6)


@pytest.fixture
def x():
    return torch.rand(5, 1, 9, 10, dtype=torch.float64).round()


@pytest.mark.parametrize("condition", [False, True])
@pytest.mark.parametrize("blocks", [1, 2])
def test_shapes(x, condition, blocks):
    model = pictures(condition, blocks=blocks, latent_channels=[3, 2])  # sizes 3 x 3 and 5 x 5
    y = {"label": torch.tensor([0, 1, 2, -1, 0])} if condition else None
    assert model.latent_dim == blocks * (3 * 9 + 2 * 25)
    draw = model.draw(x, y, k=3, mask=torch.rand(x.shape) < 0.8)
    assert draw.z.shape == (3, 5, model.latent_dim)
    assert draw.log_px.shape == draw.log_pz.shape == draw.log_qz.shape == (3, 5)
    assert draw.kl.shape == draw.elbo.shape == (5,)
    assert kl_per_unit(draw.posterior, draw.prior).shape == (5, model.latent_dim)
    assert draw.posterior.mean.shape == model.posterior(x, y).mean.shape == (5, model.latent_dim)
    assert model.decode(draw.z, y).mean.shape == draw.decode(draw.z).mean.shape == (3, *x.shape)
    assert model.decode(draw.z[0], y).mean.shape == model(x, y).shape == x.shape
    assert model.prior(y, 5).sample(2).shape == (2, 5, model.latent_dim)


@pytest.mark.parametrize("likelihood", [NormalLikelihood((7,)), CategoricalLikelihood((2,), categories=3)])
def test_rows_of_numbers(likelihood):
    model = build_ladder(likelihood, width=8)
    draw = model.draw(torch.randint(0, 3, (4, *likelihood.event_shape)).float(), k=2)
    assert draw.z.shape == (2, 4, 12)
    assert draw.likelihood.sample(1).shape == (1, 2, 4, *likelihood.event_shape)


def test_at_the_start_z_costs_nothing(x):
    draw = build_ladder(BernoulliLikelihood((1, 9, 10)), width=4).draw(x.float())
    torch.testing.assert_close(draw.kl, torch.zeros(5), atol=1e-4, rtol=0)


def test_draw_decodes_and_scores_the_z_it_drew(x):
    model = pictures(condition=True)
    y = {"label": torch.tensor([0, 1, 2, -1, 0])}
    draw = model.draw(x, y, k=3)
    torch.testing.assert_close(model.decode(draw.z, y).log_prob(x), draw.log_px)
    torch.testing.assert_close(draw.decode(draw.z).log_prob(x), draw.log_px)
    # A copy is another tensor: the pass is made anew, row by row of k, from the model and not from the draw.
    torch.testing.assert_close(model.prior(y).log_prob(draw.z.clone()), draw.log_pz)
    torch.testing.assert_close(model.posterior(x, y).log_prob(draw.z.clone()), draw.log_qz)
    torch.testing.assert_close(draw.posterior.log_prob(draw.z[1]), draw.log_qz[1])
    other = {"label": torch.tensor([1, 2, 0, 1, 1])}
    assert not torch.allclose(model.prior(other).log_prob(draw.z), draw.log_pz)


def test_prior_density_is_the_sum_over_levels_each_given_those_above(x):
    """The levels' parameters are recorded as a pass with every z in place makes them, and scored by torch."""
    model = pictures()
    z = model.prior(n=4).sample(3)
    expected, below = torch.zeros(3, 4, dtype=torch.float64), 0
    for units in model.units:
        changed = torch.cat([z[..., :below], torch.randn_like(z[..., below:])], dim=-1)  # what is below must not matter
        _, path = model.prior(n=4).walk(lambda i, normal, t=changed: t.split(model.units, -1)[i], 3)
        level = path[model.units.index(units)]
        expected += TorchNormal(level.loc, level.scale).log_prob(z[..., below : below + units]).sum(-1)
        below += units
    torch.testing.assert_close(model.prior(n=4).log_prob(z), expected)


@pytest.mark.parametrize("which", ["prior", "posterior"])
def test_a_density_integrates_to_one(which):
    model, side = one_unit_a_level(), torch.linspace(-15, 15, 301, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)[:, None]
    with torch.no_grad():
        one = model.prior() if which == "prior" else model.posterior(torch.ones(1, 1, 2, 2, dtype=torch.float64))
        inside = one.log_prob(grid).exp().sum() * (side[1] - side[0]) ** 2
    assert inside.item() == pytest.approx(1, abs=1e-3)


def test_samples_of_the_prior_follow_its_density():
    """E[-log p(z)] of samples is the entropy, which for levels of Normals is the mean of their own entropies."""
    prior = one_unit_a_level().prior(n=1)
    with torch.no_grad():
        _, path = prior.walk(lambda i, normal: normal.loc + normal.scale * torch.randn_like(normal.loc), 40_000)
        entropy = sum((0.5 * math.log(2 * math.pi * math.e) + level.scale.log()).mean() for level in path)
        found = -prior.log_prob(prior.sample(40_000)).mean()
    assert found.item() == pytest.approx(entropy.item(), abs=0.05)


def test_temperature_scales_every_level():
    model = pictures()
    zero = model.prior(n=4).tempered(0.0)
    torch.testing.assert_close(zero.sample(2), model.prior(n=4).mean.expand(2, -1, -1))
    torch.manual_seed(0)
    plain = model.prior(n=4).sample(2)
    torch.manual_seed(0)
    torch.testing.assert_close(model.prior(n=4).tempered(0.5).tempered(2.0).sample(2), plain)


def test_kl_is_the_mean_of_log_q_minus_log_p(x):
    with torch.no_grad():
        draw = pictures().draw(x[:2], k=4000)
        difference = draw.log_qz - draw.log_pz
        error = 5 * difference.std(0) / math.sqrt(4000)
        assert ((difference.mean(0) - draw.kl).abs() < error).all()
    assert (draw.kl > 0.01).all()


def test_kl_of_distributions_that_were_not_drawn_together_has_no_closed_form(x):
    model = pictures()
    assert kl_divergence(model.posterior(x), model.prior(n=5)) is None
    assert kl_divergence(model.draw(x).posterior, model.draw(x).prior) is None


def test_more_importance_samples_give_a_tighter_bound(x):
    model, data = pictures(), Data(x)
    with torch.no_grad():
        elbo = model.draw(x, k=2000).elbo.mean().item()
    few, many = (importance_weighted(model, data, k).mean().item() for k in (20, 2000))
    assert elbo < few < many + 0.05


def test_evaluate_knows_the_levels(x):
    model = pictures()
    results = evaluate(model, Data(x), k=50)
    assert len(results["kl_per_unit"]) == results["latent_units"] == model.latent_dim
    assert sum(results["kl_per_unit"]) == pytest.approx(results["kl"])
    assert results["iw_nll"] < -results["elbo"]


def test_what_is_missing_is_not_read(x):
    model, mask = pictures(), torch.rand(x.shape) < 0.7
    noise = lambda *shape: torch.ones(shape)  # noqa: E731
    a = model.draw(x, mask=mask, noise=noise)
    b = model.draw(torch.where(mask, x, torch.nan), mask=mask, noise=noise)
    torch.testing.assert_close(a.elbo, b.elbo)
    b.elbo.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_gradients_reach_every_parameter(x):
    model = pictures(condition=True)
    ELBO()(model.draw(x, {"label": torch.tensor([0, 1, 2, -1, 0])}), 1.0)[0].backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())


def test_noise_is_all_that_is_random(x):
    model = pictures()
    asked = []

    def noise(*shape):
        asked.append(shape)
        return torch.full(shape, 0.5)

    torch.testing.assert_close(model.draw(x, k=2, noise=noise).z, model.draw(x, k=2, noise=noise).z)
    assert asked[: len(model.units)] == [(2, 5, units) for units in model.units]


def test_training_lowers_the_loss_and_weights_survive_saving():
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(4, 1, 8, 8, generator=generator).round()
    data = Data(base[torch.randint(4, (256,), generator=generator)])
    model = build_ladder(BernoulliLikelihood((1, 8, 8)), width=8)
    options = Training(epochs=20, batch_size=32, learning_rate=5e-3, device="cpu", precision="32-true")
    history = fit(launch(options), model, ELBO(), data, data[:64], options).history
    # Four pictures, equally likely, take log 4 nats; the start takes 64 log 2.
    assert history[0]["valid_elbo"] < history[-1]["valid_elbo"]
    assert -12 < history[-1]["valid_elbo"] <= -math.log(4) + 0.5
    again = build_ladder(BernoulliLikelihood((1, 8, 8)), width=8)
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.eval()(data.x[:8]), model(data.x[:8]))


@pytest.mark.parametrize(
    ("shape", "options", "told"),
    [
        ((3, 8), {}, "pictures"),
        ((4,), {"width": 0}, "width=0"),
        ((1, 28, 28), {"latent_channels": [4, 2]}, "3 of them"),
    ],
)
def test_what_does_not_fit_is_told(shape, options, told):
    with pytest.raises(UserError, match=told):
        build_ladder(BernoulliLikelihood(shape), **options)
