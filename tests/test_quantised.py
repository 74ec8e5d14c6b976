"""The quantised VAE against what discrete latents allow: every code map can be counted, so sums are exact."""

import itertools
import math
import sys

import pytest
import torch

from vaekit.distributions.likelihoods import BernoulliLikelihood, CategoricalLikelihood, NormalLikelihood
from vaekit.errors import MissingExtra, UserError
from vaekit.evaluation import evaluate, importance_weighted
from vaekit.nets import ConditionEmbedding
from vaekit.nets.codes import CausalNetwork
from vaekit.objectives import ELBO
from vaekit.structures.quantised import Certain, build_quantised
from vaekit.training import Data, Training, fit, launch

pytest.importorskip("vector_quantize_pytorch")
LABELS = {"label": torch.tensor([0, 1, 2, -1, 0])}


def stirred(model, spread=1.0):
    """As if trained: every weight and the codebook are moved, those that start at zero among them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in [*model.parameters(), model.codebook]:
            p.add_(spread * torch.randn(p.shape, generator=generator) / math.sqrt(max(1, p[0].numel())))
    return model.double().eval()


def pictures(condition=False, **options):
    embedding = ConditionEmbedding({"label": 3}) if condition else None
    options = {"codes": 5, "code_dim": 3, "width": 4, "prior_channels": 8, **options}
    likelihood = BernoulliLikelihood((1, 9, 10))
    return stirred(build_quantised(likelihood, embedding, embedding.features if embedding else 0, **options))


def tiny(condition=False):
    """2 places and 3 codes: 9 values of z in all."""
    embedding = ConditionEmbedding({"label": 3}) if condition else None
    options = {"codes": 3, "code_dim": 2, "side": 2, "width": 4, "prior_channels": 8}
    likelihood = BernoulliLikelihood((1, 2, 4))
    return stirred(build_quantised(likelihood, embedding, embedding.features if embedding else 0, **options), 0.5)


def every_z(model, rows):
    maps = torch.tensor(list(itertools.product(range(len(model.codebook)), repeat=model.positions)))
    return model.vectors(maps)[:, None].expand(-1, rows, -1)


@pytest.fixture
def x():
    return torch.rand(5, 1, 9, 10, dtype=torch.float64).round()


@pytest.mark.parametrize("condition", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_shapes(x, condition, training):
    model, y = pictures(condition).train(training), LABELS if condition else None
    assert model.latent_dim == 3 * 5 * 5
    draw = model.draw(x, y, k=3, mask=torch.rand(x.shape) < 0.8)
    assert draw.z.shape == (3, 5, model.latent_dim)
    assert draw.log_px.shape == draw.log_pz.shape == draw.log_qz.shape == (3, 5)
    assert draw.kl.shape == draw.elbo.shape == (5,)
    assert torch.as_tensor(draw.penalty).shape == ()
    assert draw.posterior.mean.shape == model.posterior(x, y).mean.shape == (5, model.latent_dim)
    assert model.decode(draw.z, y).mean.shape == draw.decode(draw.z).mean.shape == (3, *x.shape)
    assert model.decode(draw.z[0], y).mean.shape == model(x, y).shape == x.shape
    assert model.prior(y, 5).sample(2).shape == (2, 5, model.latent_dim)
    assert model.prior(y, 5).mean.shape == (5, model.latent_dim)


@pytest.mark.parametrize("likelihood", [NormalLikelihood((7,)), CategoricalLikelihood((2,), categories=3)])
def test_rows_of_numbers(likelihood):
    model = build_quantised(likelihood, side=6, code_dim=2, width=4)
    draw = model.draw(torch.randint(0, 3, (4, *likelihood.event_shape)).float(), k=2)
    assert draw.z.shape == (2, 4, 12)
    assert draw.likelihood.sample(1).shape == (1, 2, 4, *likelihood.event_shape)


@pytest.mark.parametrize("condition", [False, True])
def test_probabilities_of_all_code_maps_add_up_to_one(condition):
    model = tiny(condition)
    rows = 5 if condition else 1
    total = model.prior(LABELS if condition else None).log_prob(every_z(model, rows)).exp().sum(0)
    torch.testing.assert_close(total, torch.ones(rows, dtype=torch.float64))


def test_elbo_is_a_bound_and_one_term_of_the_exact_sum():
    """log p(x|y) is known here: the sum over every z. The ELBO is the term of the posterior's z."""
    model, x = tiny(condition=True), torch.rand(5, 1, 2, 4, dtype=torch.float64).round()
    z = every_z(model, 5)
    terms = model.decode(z, LABELS).log_prob(x) + model.prior(LABELS).log_prob(z)  # (9, 5)
    draw = model.draw(x, LABELS)
    chosen = (z == draw.z[0]).all(-1)
    assert (chosen.sum(0) == 1).all()
    torch.testing.assert_close(draw.elbo, terms.T[chosen.T])
    assert (draw.elbo < terms.logsumexp(0)).all()


def test_samples_of_the_prior_come_as_often_as_it_says():
    model, n = tiny(), 20_000
    z, found = every_z(model, 1), model.prior(n=1).sample(n)
    often = torch.stack([(found[:, 0] == one).all(-1).double().mean() for one in z[:, 0]])
    assert often.sum().item() == pytest.approx(1)  # every sample is one of the nine
    torch.testing.assert_close(often, model.prior().log_prob(z).exp()[:, 0], atol=0.015, rtol=0)
    likeliest = model.prior(n=1).mean
    assert (z[:, 0] == likeliest).all(-1).any()
    torch.testing.assert_close(model.prior(n=1).tempered(0.0).sample(4)[3], likeliest)


@pytest.mark.parametrize(("height", "width"), [(5, 5), (1, 6), (4, 2), (3, 1), (1, 1)])
def test_each_code_depends_on_those_before_it_and_on_no_other(height, width):
    net, n = CausalNetwork(height, width, 4, 2, 8).double(), height * width
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p))
    codes, c = torch.randint(4, (1, n)), torch.randn(1, 2, dtype=torch.float64)
    out = net(codes, c)
    for place in range(n):
        changed = codes.clone()
        changed[0, place] = (changed[0, place] + 1) % 4
        moved = (net(changed, c) - out).abs().amax(-1)[0] > 0
        assert moved.tolist() == [i > place for i in range(n)]
        torch.testing.assert_close(net(codes[:, : place + 1], c), out[:, : place + 1])
    assert ((net(codes, c + 1) - out).abs().amax(-1) > 0).all()


def test_a_codes_own_vector_is_nearest_to_itself():
    model = pictures(codes=64)
    codes = torch.randint(64, (3, 7, model.positions))
    assert torch.equal(model.codes(model.vectors(codes)), codes)
    # Independently of how it searches: no code is nearer than the one it names.
    z = torch.randn(4, model.latent_dim, dtype=torch.float64)
    place = z.unflatten(-1, model.map_shape).flatten(2)  # (4, code_dim, positions)
    far = (place[..., None] - model.codebook.T[None, :, None]).square().sum(1)
    assert torch.equal(far.argmin(-1), model.codes(z))


def test_draw_scores_and_decodes_the_z_it_drew(x):
    model = pictures(condition=True)
    draw = model.draw(x, LABELS, k=3)
    assert torch.equal(draw.z[0], draw.z[2])
    assert torch.equal(draw.posterior.mean, model.posterior(x, LABELS).mean)
    torch.testing.assert_close(model.decode(draw.z.clone(), LABELS).log_prob(x), draw.log_px)
    torch.testing.assert_close(model.prior(LABELS).log_prob(draw.z.clone()), draw.log_pz)
    torch.testing.assert_close(model.prior(LABELS).log_prob(draw.z[0]), draw.log_pz[0])
    assert (draw.log_qz == 0).all()
    assert Certain(draw.z[0]).log_prob(draw.z + 1).isneginf().all()


def test_evaluation_changes_nothing_and_is_the_same_each_time(x):
    model = pictures()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    elbo = model.draw(x).elbo
    torch.testing.assert_close(model.draw(x).elbo, elbo, rtol=0, atol=0)
    torch.testing.assert_close(importance_weighted(model, Data(x), 7), elbo)  # k equal samples are worth one
    assert evaluate(model, Data(x), k=3)["elbo"] == pytest.approx(elbo.mean().item())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    model.train().posterior(x)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_training_draws_of_the_same_state_are_the_same(x):
    a, b = pictures(), pictures(codes=5)
    b.load_state_dict(a.state_dict())
    draws = []
    for model in (a, b):
        torch.manual_seed(3)
        model.train()
        draws.append([(d.elbo.detach(), d.penalty.detach()) for d in (model.draw(x) for _ in range(3))])
    for one, other in zip(*draws, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_gradients_reach_every_parameter_and_those_of_the_prior_stay_there(x):
    model = pictures(condition=True).train()
    draw = model.draw(x, LABELS)
    (ELBO()(draw, 1.0)[0] + draw.penalty).backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())
    model.zero_grad()
    model.draw(x, LABELS).log_pz.sum().backward()
    assert all(p.grad is None for net in (model.encoder, model.decoder) for p in net.parameters())
    assert not any(buffer.requires_grad for buffer in model.buffers())  # or it cannot be copied back from a GPU


def test_what_is_missing_is_not_read(x):
    model, mask = pictures(), torch.rand(x.shape) < 0.7
    a, b = model.draw(x, mask=mask), model.draw(torch.where(mask, x, torch.nan), mask=mask)
    torch.testing.assert_close(a.elbo, b.elbo)


def test_training_lowers_the_loss_and_weights_survive_saving():
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(4, 1, 8, 8, generator=generator).round()
    data = Data(base[torch.randint(4, (512,), generator=generator)])
    options = {"codes": 8, "code_dim": 4, "side": 2, "width": 8, "prior_channels": 16}
    model = build_quantised(BernoulliLikelihood((1, 8, 8)), **options)
    run = Training(epochs=16, batch_size=32, learning_rate=5e-3, device="cpu", precision="32-true")
    history = fit(launch(run), model, ELBO(), data, data[:64], run).history
    # Four pictures, equally likely, take log 4 nats; the start takes 64 log 2 and more.
    assert history[0]["valid_elbo"] < history[-1]["valid_elbo"]
    assert -12 < history[-1]["valid_elbo"] <= -math.log(4) + 0.5
    assert 1 < model.perplexity <= 8
    again = build_quantised(BernoulliLikelihood((1, 8, 8)), **options)
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.eval().draw(data.x[:8]).elbo, model.draw(data.x[:8]).elbo)
    assert again.perplexity == model.perplexity


def test_perplexity_and_what_is_said_of_it():
    model = pictures(codes=40)
    sizes = model.quantiser._codebook.cluster_size
    sizes[:] = 3.0
    assert model.perplexity == pytest.approx(40)
    assert "in use" in model.codebook_verdict()
    sizes[:] = 0.0
    sizes[0, :3] = 5.0
    assert model.perplexity == pytest.approx(3)
    told = model.codebook_verdict()
    assert "collapsed" in told
    assert "3.0 out of 40" in told
    assert "fewer codes (6)" in told


@pytest.mark.parametrize(
    ("shape", "options", "told"),
    [((3, 8), {}, "pictures"), ((4,), {"codes": 1}, "codes=1"), ((1, 8, 8), {"side": 0}, "side=0")],
)
def test_what_does_not_fit_is_told(shape, options, told):
    with pytest.raises(UserError, match=told):
        build_quantised(BernoulliLikelihood(shape), **options)


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "vector_quantize_pytorch", None)
    with pytest.raises(MissingExtra, match=r"vaekit\[vq\]"):
        build_quantised(BernoulliLikelihood((1, 8, 8)))
