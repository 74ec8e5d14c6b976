"""Objectives against what is known in closed form, brute force, and what their gradients must and must not reach."""

import math
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import LinearGaussian
from vaekit.distributions import POSTERIORS, PRIORS
from vaekit.distributions.likelihoods import BernoulliLikelihood, NormalLikelihood
from vaekit.errors import UserError
from vaekit.model import LatentModel
from vaekit.nets import MLP
from vaekit.objectives import OBJECTIVES
from vaekit.objectives.structure import kl_parts, mmd
from vaekit.training import Training, fit, launch
from vaekit.training.data import Data

OPTIONS = {"geco": {"target": 9.0}, "factor_vae": {"hidden": (16,)}}


def objective(name, **options):
    return OBJECTIVES[name](**{**OPTIONS.get(name, {}), **options})


def mlp_model(latent_dim=2, columns=6):
    return LatentModel(
        MLP((columns,), (2 * latent_dim,), hidden=(16,)),
        MLP((latent_dim,), (columns,), hidden=(16,)),
        NormalLikelihood((columns,)),
        latent_dim=latent_dim,
    )


def gradients(loss, parameters):
    return torch.autograd.grad(loss, list(parameters), retain_graph=True, materialize_grads=True)


def size(grads):
    return sum(g.abs().sum().item() for g in grads)


# -- bounds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["iwae", "dreg"])
@pytest.mark.parametrize("k", [1, 5])
def test_with_the_exact_posterior_the_importance_bound_is_the_log_likelihood(linear_gaussian, name, k):
    x = linear_gaussian.rows(20)
    draw = linear_gaussian.model().draw(x, k=k)
    bound = objective(name, k=k)
    torch.testing.assert_close(-bound(draw, 1.0)[0], linear_gaussian.log_px(x).mean())
    torch.testing.assert_close(bound.validation(draw), linear_gaussian.log_px(x))


def test_importance_bound_lies_between_elbo_and_log_likelihood(linear_gaussian):
    x = linear_gaussian.rows(2000)
    model = linear_gaussian.model(widen=1.5)
    values = [-objective("iwae", k=k)(model.draw(x, k=k), 1.0)[0].item() for k in (1, 4, 64)]
    assert model.draw(x, k=200).elbo.mean().item() == pytest.approx(values[0], abs=0.1)
    assert values[0] < values[1] < values[2] < linear_gaussian.log_px(x).mean().item() + 0.02


def weight_of_kl(loss, draw):
    return ((loss + draw.log_px.mean()) / draw.kl.mean()).item()


@pytest.mark.parametrize(
    ("cycles", "progress", "weight"),
    [(1, 0.0, 0), (1, 0.25, 2), (1, 0.5, 4), (1, 0.9, 4), (1, 1.0, 4), (4, 0.0625, 2), (4, 0.2, 4), (4, 0.25, 0), (4, 0.3125, 2), (4, 0.99, 4), (4, 1.0, 4)],
)  # fmt: skip
def test_elbo_weights_the_kl_by_its_schedule(linear_gaussian, cycles, progress, weight):
    draw = linear_gaussian.model().draw(linear_gaussian.rows(8))
    loss, _ = objective("elbo", beta=4.0, warmup=0.5, cycles=cycles)(draw, progress)
    assert weight_of_kl(loss, draw) == pytest.approx(weight)


def test_dreg_has_the_value_of_iwae_and_its_gradient_for_the_decoder(linear_gaussian):
    x = linear_gaussian.rows(10)
    model = linear_gaussian.model(widen=1.4)
    noise = torch.randn(6, 10, 3)
    losses = {n: objective(n, k=6)(model.draw(x, k=6, noise=lambda *s: noise), 1.0)[0] for n in ("iwae", "dreg")}
    torch.testing.assert_close(losses["iwae"], losses["dreg"])
    iwae, dreg = (gradients(losses[n], model.decoder.parameters()) for n in ("iwae", "dreg"))
    torch.testing.assert_close(iwae, dreg)


def test_dreg_and_iwae_teach_a_learned_prior_alike():
    model = LatentModel(
        MLP((6,), (4,), hidden=(16,)), MLP((2,), (6,)), NormalLikelihood((6,)),
        latent_dim=2, prior=PRIORS["mixture"](2, components=3),
    )  # fmt: skip
    x, noise = torch.randn(10, 6), torch.randn(4, 10, 2)
    iwae, dreg = (
        gradients(objective(n, k=4)(model.draw(x, k=4, noise=lambda *s: noise), 1.0)[0], model.prior_head.parameters())
        for n in ("iwae", "dreg")
    )
    torch.testing.assert_close(iwae, dreg)
    assert size(iwae) > 0


def test_dreg_has_the_expected_gradient_of_iwae_for_the_encoder_with_less_noise(linear_gaussian):
    row, repeats, k = linear_gaussian.rows(1), 20_000, 4
    model = linear_gaussian.model(widen=1.2)
    # A copy of the encoder's output for each repeat, so that one backward gives the gradient of each of them.
    h = model.encoder(row).detach().expand(repeats, -1).clone().requires_grad_()
    noise = torch.randn(k, repeats, 3, dtype=torch.float64)
    found = {}
    for name in ("iwae", "dreg"):
        q = model.posterior_head(h)
        z = q.sample(k, lambda *s: noise)
        like = model.decode(z)
        draw = model.draw(row.expand(repeats, -1), k=k, noise=lambda *s: noise)
        draw = replace(draw, z=z, posterior=q, likelihood=like)
        found[name] = gradients(objective(name, k=k)(draw, 1.0)[0] * repeats, [h])[0]
    error = found["iwae"].std(0) + found["dreg"].std(0)
    assert ((found["iwae"].mean(0) - found["dreg"].mean(0)).abs() < 5 * error / math.sqrt(repeats)).all()
    assert (found["dreg"].mean(0).abs() > 5 * found["dreg"].std(0) / math.sqrt(repeats)).any()  # there is a signal
    assert found["dreg"].var(0).sum() < found["iwae"].var(0).sum()


# -- balance -----------------------------------------------------------------------------------------------------------


def test_free_bits_is_the_elbo_above_the_floor(linear_gaussian):
    draw = linear_gaussian.model().draw(linear_gaussian.rows(30))
    torch.testing.assert_close(objective("free_bits", nats=0.01)(draw, 1.0)[0], -draw.elbo.mean())
    floor = objective("free_bits", nats=50.0)(draw, 1.0)[0]
    torch.testing.assert_close(floor, -draw.log_px.mean() + 3 * 50)


def test_free_bits_does_not_pull_at_a_unit_below_the_floor(linear_gaussian):
    draw = linear_gaussian.model().draw(linear_gaussian.rows(200))
    q = draw.posterior
    units = (-0.5 * (1 + 2 * q.scale.log() - q.loc.square() - q.scale.square())).mean(0)  # KL to N(0, I)
    floor = units.sort().values[:2].mean().item()  # between the smallest and the next
    loss = objective("free_bits", nats=floor)(draw, 1.0)[0] + draw.log_px.mean()
    for grad in gradients(loss, [q.loc, q.scale]):
        pulled = grad.abs().sum(0) > 1e-9
        assert (pulled == (units > floor)).all()


@pytest.mark.parametrize(("progress", "capacity"), [(0.0, 0), (0.4, 5), (0.8, 10), (1.0, 10)])
def test_capacity_charges_the_distance_to_a_growing_capacity(linear_gaussian, progress, capacity):
    draw = linear_gaussian.model().draw(linear_gaussian.rows(8))
    loss, _ = objective("capacity", nats=10.0, gamma=30.0, warmup=0.8)(draw, progress)
    expected = -draw.log_px.mean() + 30 * (draw.kl.mean() - capacity).abs()
    torch.testing.assert_close(loss, expected)


@pytest.fixture(scope="module")
def gaussian_data():
    world = LinearGaussian()
    x = world.rows(2000).float()
    return Data(x[:1800]), Data(x[1800:])


def train(model, objective, data, folder=None, resume=False, **options):
    options = Training(**{"epochs": 60, "device": "cpu", "precision": "32-true", **options})
    torch.manual_seed(1)
    return fit(launch(options), model, objective, *data, options, folder=folder, resume=resume)


def test_geco_reaches_its_target_and_pays_no_more_than_that(gaussian_data):
    geco = objective("geco", target=9.0)
    state = train(mlp_model(3), geco, gaussian_data, epochs=80, learning_rate=5e-3)
    assert state.history[-1]["reconstruction"] == pytest.approx(9.0, abs=0.5)
    assert not geco.notes(state.history)


def test_geco_raises_its_multiplier_while_the_target_is_missed_and_lowers_it_then(linear_gaussian):
    draw = linear_gaussian.model().draw(linear_gaussian.rows(50))
    reconstruction = -draw.log_px.mean().item()
    for target, sign in ((reconstruction - 1, 1), (reconstruction + 1, -1)):
        geco = objective("geco", target=target)
        loss, terms = geco(draw, 0.5)
        assert terms["multiplier"].item() == 1.0
        (grad,) = gradients(loss, [geco.log_multiplier])
        assert math.copysign(1, -grad.item()) == sign


def test_geco_comes_back_from_the_bounds_of_its_multiplier(linear_gaussian):
    draw = linear_gaussian.model().draw(linear_gaussian.rows(50))
    reconstruction = -draw.log_px.mean().item()
    for start, target in ((9.0, reconstruction + 1), (-9.0, reconstruction - 1)):
        geco = objective("geco", target=target)
        torch.nn.init.constant_(geco.log_multiplier, start)
        optimizer = torch.optim.Adam(geco.parameters(), 1e-2)
        seen = []
        for _ in range(50):
            optimizer.zero_grad()
            loss, terms = geco(draw, 0.5)
            loss.backward(retain_graph=True)
            optimizer.step()
            seen.append(terms["multiplier"].log().item())
        assert abs(seen[-1]) < abs(seen[0]) - 1


@pytest.mark.parametrize("nats", [1.0, 2.5])
def test_kl_target_brings_the_kl_to_it(gaussian_data, nats):
    controller = objective("kl_target", nats=nats)
    state = train(mlp_model(3), controller, gaussian_data, epochs=100, learning_rate=5e-3)
    assert state.history[-1]["kl"] == pytest.approx(nats, rel=0.1)
    assert not controller.notes(state.history)


def test_kl_target_does_not_wind_up_and_rests_in_eval(linear_gaussian):
    draw = linear_gaussian.model().draw(linear_gaussian.rows(50))
    kl = draw.kl.mean().item()
    controller = objective("kl_target", nats=kl + 5, proportional=0.0)
    for _ in range(200):  # below the target: the weight is at 0, and must leave it as soon as the KL is above
        assert controller(draw, 1.0)[1]["beta"].item() == 0
    controller.nats = kl - 1
    assert controller(draw, 1.0)[1]["beta"].item() == pytest.approx(1e-3)
    before = controller.sum_of_errors.item()
    controller.eval()
    controller(draw, 1.0)
    assert controller.sum_of_errors.item() == before
    alone = objective("kl_target", nats=kl - 1, proportional=0.5, integral=0.0)  # the proportional part alone
    assert alone(draw, 1.0)[1]["beta"].item() == pytest.approx(0.5 / (1 + math.exp(-1)))


def test_kl_floor_is_the_elbo_where_the_kl_is_above_it(linear_gaussian):
    draw = linear_gaussian.model().draw(linear_gaussian.rows(50))
    kl = draw.kl.mean().item()
    floor = objective("kl_floor", nats=kl / 2, integral=0.1)
    for _ in range(200):
        loss, terms = floor(draw, 1.0)
    assert terms["beta"].item() == 1
    torch.testing.assert_close(loss, -draw.elbo.mean())
    torch.testing.assert_close(floor.validation(draw), draw.elbo)
    assert not floor.notes([{"kl": kl}])


def test_kl_floor_holds_up_a_kl_that_would_fall_below_it(gaussian_data, linear_gaussian):
    best = linear_gaussian.model().draw(linear_gaussian.rows(2000)).kl.mean().item()  # of the true posterior
    floor = objective("kl_floor", nats=best + 4)
    state = train(mlp_model(3), floor, gaussian_data, epochs=100, learning_rate=5e-3)
    assert state.history[-1]["kl"] == pytest.approx(best + 4, rel=0.1)
    assert 0 < state.history[-1]["beta"] < 1
    assert "asked for" in floor.notes([{"kl": best}])[0]


def test_kl_floor_prefers_no_epoch_for_a_kl_below_it(linear_gaussian):
    draw = linear_gaussian.model().draw(linear_gaussian.rows(50))
    kl = draw.kl.mean().item()
    score = objective("kl_floor", nats=kl + 5).validation(draw).mean()
    torch.testing.assert_close(score, draw.log_px.mean() - (kl + 5))


def test_notes_speak_of_a_target_that_was_missed():
    near, far = ([{"reconstruction": 10.1, "kl": kl, "multiplier": 3.0}] for kl in (19.0, 10.0))
    for name in ("capacity", "kl_target"):
        assert not objective(name, nats=20.0).notes(near)
        (note,) = objective(name, nats=20.0).notes(far)
        assert "10.0 nats, and --objective.nats asked for 20" in note
    assert not objective("geco", target=10.0).notes(near)
    (note,) = objective("geco", target=5.0).notes(near)
    assert "10.1 nats, asked for 5" in note
    assert not objective("geco", target=10.0).notes([])
    for name in OBJECTIVES:
        assert objective(name).notes([]) == []


# -- structure ---------------------------------------------------------------------------------------------------------


@given(st.integers(2, 6), st.integers(0, 2**31))
def test_kl_parts_are_the_sums_of_the_definition(batch, seed):
    torch.manual_seed(seed)
    world = LinearGaussian(seed=seed)
    draw = world.model().draw(world.rows(batch, seed))
    q, z = draw.posterior, draw.z[0].detach().numpy()
    loc, scale = q.loc.detach().numpy(), q.scale.detach().numpy()
    density = lambda i, j, u: (  # noqa: E731
        math.exp(-0.5 * ((z[i, u] - loc[j, u]) / scale[j, u]) ** 2) / (scale[j, u] * math.sqrt(2 * math.pi))
    )
    information = correlation = units = 0.0
    for i in range(batch):
        joint, single = 0.0, [0.0] * 3
        for j in range(batch):
            each = [density(i, j, u) for u in range(3)]
            joint += math.prod(each) / batch
            single = [s + e / batch for s, e in zip(single, each, strict=True)]
        own = math.prod(density(i, i, u) for u in range(3))
        prior = -0.5 * (z[i] ** 2).sum() - 1.5 * math.log(2 * math.pi)
        information += math.log(own / joint) / batch
        correlation += (math.log(joint) - np.log(single).sum()) / batch
        units += (np.log(single).sum() - prior) / batch
    found = [v.item() for v in kl_parts(draw)]
    assert found == pytest.approx([information, correlation, units], rel=1e-6, abs=1e-8)
    # Whatever the estimate of q(z), the three add to the KL.
    assert sum(found) == pytest.approx((draw.log_qz - draw.log_pz).mean().item())


def test_with_the_exact_posterior_the_kl_is_all_information(linear_gaussian):
    """q(z) is then the prior, whose units are independent."""
    draw = linear_gaussian.model().draw(linear_gaussian.rows(2000))
    information, correlation, units = kl_parts(draw)
    assert information.item() == pytest.approx(draw.kl.mean().item(), rel=0.1)
    assert correlation.item() == pytest.approx(0, abs=0.1)
    assert units.item() == pytest.approx(0, abs=0.1)


def test_beta_tc_with_weights_of_one_is_the_elbo_and_of_more_charges_the_correlation(linear_gaussian):
    model = linear_gaussian.model()
    draw = model.draw(linear_gaussian.rows(16))
    one, six = objective("beta_tc", beta=1.0), objective("beta_tc", beta=6.0, warmup=0.5)
    for o in (one, six):
        o.attach(model)
    elbo = draw.log_weight.mean()
    torch.testing.assert_close(one(draw, 1.0)[0], -elbo)
    torch.testing.assert_close(six(draw, 0.0)[0], -elbo)
    torch.testing.assert_close(six(draw, 1.0)[0], -elbo + 5 * kl_parts(draw)[1])


def test_mmd_is_the_double_sum_of_its_kernel():
    a, b = torch.randn(5, 2).double(), torch.randn(7, 2).double() + 1
    scales = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
    kernel = lambda u, v: sum(4 * s / (4 * s + (u - v).square().sum().item()) for s in scales)  # noqa: E731
    average = lambda values: sum(values) / len(values)  # noqa: E731
    within = [average([kernel(u, v) for i, u in enumerate(s) for j, v in enumerate(s) if i != j]) for s in (a, b)]
    between = average([kernel(u, v) for u in a for v in b])
    assert mmd(a, b).item() == pytest.approx(sum(within) - 2 * between)


def test_mmd_is_zero_on_average_for_equals_and_positive_for_others():
    same = torch.stack([mmd(torch.randn(50, 3), torch.randn(50, 3)) for _ in range(400)])
    assert abs(same.mean().item()) < 5 * same.std().item() / 20
    for other in (torch.randn(200, 3) + 0.5, torch.randn(200, 3) * 1.5):
        assert mmd(torch.randn(200, 3), other) > 5 * same.std() / 4
    a, b = torch.randn(100, 3), torch.randn(100, 3)
    with torch.autocast("cpu", torch.bfloat16):  # what is a small difference of large sums is not rounded
        rounded = mmd(a, b)
    torch.testing.assert_close(rounded, mmd(a, b))


def test_info_vae_weighs_kl_and_mmd(linear_gaussian):
    draw = linear_gaussian.model().draw(linear_gaussian.rows(60))
    for alpha, scale in ((0.0, 1.0), (1.0, 10.0), (0.5, 100.0)):
        loss, terms = objective("info_vae", alpha=alpha, scale=scale)(draw, 1.0)
        expected = -draw.log_px.mean() + (1 - alpha) * draw.kl.mean() + (alpha + scale - 1) * terms["mmd"]
        torch.testing.assert_close(loss, expected)


def test_info_vae_needs_rows_to_compare(linear_gaussian):
    with pytest.raises(UserError, match="batch_size has to be at least 2"):
        objective("info_vae")(linear_gaussian.model().draw(linear_gaussian.rows(1)), 1.0)


# -- adversaries -------------------------------------------------------------------------------------------------------


def test_factor_vae_trains_model_and_adversary_each_by_its_own(linear_gaussian):
    torch.set_default_dtype(torch.float64)
    try:
        model = mlp_model()
        factor = objective("factor_vae", gamma=3.0)
        factor.attach(model)
        torch.manual_seed(5)
        draw = model.draw(linear_gaussian.rows(40))
        seen = {}
        for gamma in (0.0, 3.0):
            factor.gamma = gamma
            torch.manual_seed(6)  # the same shuffle
            loss, terms = factor(draw, 1.0)
            seen[gamma] = (gradients(loss, model.parameters()), gradients(loss, factor.parameters()))
        elbo = gradients(-draw.elbo.mean(), model.parameters())
        torch.testing.assert_close(seen[0.0][0], elbo)  # the adversary's own loss does not reach the model
        torch.testing.assert_close(seen[0.0][1], seen[3.0][1])  # nor the model's term the adversary
        assert size(seen[0.0][1]) > 0
        correlation = factor.discriminator(draw.z[0]).mean()
        torch.testing.assert_close(terms["total_correlation"], correlation.detach())
        charged = gradients(-draw.elbo.mean() + 3 * correlation, model.parameters())
        torch.testing.assert_close(seen[3.0][0], charged)
    finally:
        torch.set_default_dtype(torch.float32)


def test_factor_vae_learns_the_total_correlation_of_a_normal():
    """For codes from a correlated Normal the total correlation is -log(1 - rho^2) / 2."""
    factor = objective("factor_vae", hidden=(64, 64))
    model = mlp_model()
    factor.attach(model)
    optimizer = torch.optim.Adam(factor.parameters(), 3e-3)
    draw, rho = model.draw(torch.randn(1000, 6)), 0.8
    for _ in range(400):
        u = torch.randn(1, 1000, 2)
        z = torch.stack([u[..., 0], rho * u[..., 0] + math.sqrt(1 - rho**2) * u[..., 1]], -1)
        loss, terms = factor(replace(draw, z=z), 1.0)
        optimizer.zero_grad()
        loss.backward(inputs=list(factor.parameters()), retain_graph=True)
        optimizer.step()
    assert terms["total_correlation"].item() == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.15)


@pytest.mark.parametrize("shape", [(6,), (1, 8, 8)])
def test_vae_gan_trains_model_and_adversary_each_by_its_own(shape):
    columns = math.prod(shape)
    model = LatentModel(MLP(shape, (4,), hidden=(16,)), MLP((2,), shape), BernoulliLikelihood(shape), latent_dim=2)
    gan = objective("vae_gan")
    gan.attach(model)
    draw = model.draw(torch.rand(20, *shape))
    assert draw.x[0].numel() == columns
    seen = {}
    for weights in ((0.0, 0.0), (0.5, 0.5)):
        gan.weight, gan.feature_weight = weights
        torch.manual_seed(6)  # the same samples of the prior
        loss, _ = gan(draw, 1.0)
        seen[weights] = (gradients(loss, model.parameters()), gradients(loss, gan.parameters()))
    elbo = gradients(-draw.elbo.mean(), model.parameters())
    torch.testing.assert_close(seen[0.0, 0.0][0], elbo)
    torch.testing.assert_close(seen[0.0, 0.0][1], seen[0.5, 0.5][1])
    assert size(seen[0.0, 0.0][1]) > 0
    assert size([a - b for a, b in zip(seen[0.5, 0.5][0], elbo, strict=True)]) > 0


# -- all of them, trained ----------------------------------------------------------------------------------------------


class Stop:
    """Stops a run in the middle, as Ctrl-C does."""

    def __init__(self, after):
        self.after = after

    def step(self, state, progress, terms):
        assert all(math.isfinite(v) for v in terms.values()), terms
        if state.step == self.after:
            os.kill(os.getpid(), signal.SIGINT)

    def epoch(self, state, progress, row):
        pass


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_trains_and_resumes_to_the_same_bits(tmp_path, gaussian_data, name, precision):
    options = Training(epochs=4, batch_size=64, device="cpu", precision=precision)
    train, valid = gaussian_data[0][:320], gaussian_data[1][:64]

    def go(folder, resume=False, watchers=()):
        torch.manual_seed(1)
        model, own = mlp_model(), objective(name)
        state = fit(launch(options), model, own, train, valid, options, folder=folder, resume=resume, watchers=watchers)
        learned = own.state_dict() if isinstance(own, torch.nn.Module) else {}
        return state, {**model.state_dict(), **{f"objective.{k}": v for k, v in learned.items()}}

    (tmp_path / "cut").mkdir()
    (tmp_path / "whole").mkdir()
    whole, weights = go(tmp_path / "whole", watchers=[Stop(-1)])
    cut, _ = go(tmp_path / "cut", watchers=[Stop(7)])
    assert cut.interrupted
    again, resumed = go(tmp_path / "cut", resume=True)
    assert again.step == whole.step == 20
    assert weights.keys() == resumed.keys()
    for key in weights:
        assert torch.equal(weights[key], resumed[key]), key
    assert {k: v for k, v in whole.history[-1].items() if k != "seconds"} == {
        k: v for k, v in again.history[-1].items() if k != "seconds"
    }


def test_a_nan_is_named_by_where_it_is_first_seen(gaussian_data):
    """A scale and a flow that overflow."""

    class Overflow(torch.nn.Module):
        def __init__(self, net, at):
            super().__init__()
            self.net, self.at = net, at

        def forward(self, x, c=None):
            h = self.net(x)
            return torch.cat([h[:, : self.at], h[:, self.at :].exp().exp().exp().exp() * 1e38], 1)

    model = mlp_model()
    model.encoder = Overflow(model.encoder, 2)
    with pytest.raises(
        UserError, match=r"step 1 \(epoch 1\): posterior scale is not finite.*no weights were kept"
    ) as e:
        train(model, objective("elbo"), gaussian_data)
    assert "\n" not in str(e.value)

    prior, posterior = PRIORS["flow"](2, hidden=(16,)), POSTERIORS["iaf"](2, hidden=(16,))
    model = LatentModel(
        MLP((6,), (posterior.features,)), MLP((2,), (6,)), NormalLikelihood((6,)),
        latent_dim=2, prior=prior, posterior=posterior,
    )  # fmt: skip
    with torch.no_grad():
        prior.flow.transforms[0].hyper[-1].bias.fill_(1e30)
    with pytest.raises(UserError, match=r"step 1 \(epoch 1\): the prior's log p\(z\) is not finite"):
        train(model, objective("elbo"), gaussian_data)
