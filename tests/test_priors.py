"""Priors, posteriors and what they are made of: mixtures, full Normals, flows."""

import copy
import math

import pytest
import torch
from torch import distributions as td

from vaekit.distributions import (
    POSTERIORS,
    PRIORS,
    Mixture,
    MultivariateNormal,
    Normal,
    kl_divergence,
)
from vaekit.distributions.likelihoods import NormalLikelihood
from vaekit.errors import UserError
from vaekit.model import LatentModel
from vaekit.nets import MLP, ConditionEmbedding

SMALL = {"mixture": {"components": 5}, "vamp": {"components": 5}, "flow": {"transforms": 3, "hidden": (16,)}}
SMALL |= {"iaf": {"hidden": (16,)}, "maf": {"hidden": (16,)}}


def tensors(*shapes):
    return [torch.randn(s, dtype=torch.float64) for s in shapes]


# -- what they are made of ---------------------------------------------------------------------------------------------


@pytest.fixture(params=["shared", "weights per row", "per row"])
def mixture(request):
    """Ours and torch's, over (4, 2)."""
    rows = {"shared": ((), ()), "weights per row": ((4,), ()), "per row": ((4,), (4,))}[request.param]
    logits, loc, raw = tensors((*rows[0], 3), (*rows[1], 3, 2), (*rows[1], 3, 2))
    ours = Mixture(logits.log_softmax(-1), 2 * loc, raw.exp(), 4)
    components = td.Independent(td.Normal(2 * loc.expand(4, 3, 2), raw.exp().expand(4, 3, 2)), 1)
    return ours, td.MixtureSameFamily(td.Categorical(logits=logits.expand(4, 3)), components)


def test_mixture_is_the_reference(mixture):
    ours, reference = mixture
    for z in tensors((4, 2), (7, 4, 2)):
        torch.testing.assert_close(ours.log_prob(z), reference.log_prob(z))
    torch.testing.assert_close(ours.mean, reference.mean)
    far = torch.full((4, 2), 1e4).double()
    torch.testing.assert_close(ours.log_prob(far), reference.log_prob(far))


def test_mixture_samples_have_its_moments_and_shares(mixture):
    ours, reference = mixture
    n = 40_000
    z = ours.sample(n)
    assert z.shape == (n, 4, 2)
    torch.testing.assert_close(z.mean(0), reference.mean, atol=5 * reference.stddev.max() / math.sqrt(n), rtol=0)
    torch.testing.assert_close(z.var(0), reference.variance, rtol=0.1, atol=0)
    still = ours.tempered(0).sample(n)  # temperature 0: the components' own means
    loc = ours.loc.expand(4, 3, 2)
    share = (still.unsqueeze(-2) == loc).all(-1).double().mean(0)
    torch.testing.assert_close(share, reference.mixture_distribution.probs, atol=0.015, rtol=0)


def test_mixture_in_float32_is_exact_where_the_components_are_narrow_and_far():
    z, loc = 50 + torch.randn(100, 2), 50 + torch.randn(8, 2)
    scale, weights = torch.full((8, 2), 1e-3), torch.full((8,), 1 / 8).log()
    exact = Mixture(weights.double(), loc.double(), scale.double(), 100).log_prob(z.double())
    torch.testing.assert_close(Mixture(weights, loc, scale, 100).log_prob(z).double(), exact, rtol=1e-6, atol=1e-3)


@pytest.fixture
def full():
    loc, raw = tensors((4, 3), (4, 3, 3))
    factor = raw.tril(-1) + torch.diag_embed(raw.diagonal(dim1=-2, dim2=-1).exp())
    return MultivariateNormal(loc, factor), td.MultivariateNormal(loc, scale_tril=factor)


def test_full_normal_is_the_reference(full):
    ours, reference = full
    for z in tensors((4, 3), (6, 4, 3)):
        torch.testing.assert_close(ours.log_prob(z), reference.log_prob(z))
    z = ours.sample(50_000)
    covariance = torch.stack([torch.cov(z[:, i].T) for i in range(4)])
    size = reference.variance.sqrt()
    error = (covariance - reference.covariance_matrix) / (size[:, :, None] * size[:, None])
    assert error.abs().max() < 0.05
    torch.testing.assert_close(ours.tempered(0.5).factor, ours.factor / 2)


def test_full_normal_kl_is_the_reference(full):
    ours, reference = full
    m, s = torch.randn(4, 3).double(), torch.randn(3).double().exp()  # a scale that all rows share
    expected = td.kl_divergence(reference, td.MultivariateNormal(m, scale_tril=torch.diag(s)))
    torch.testing.assert_close(kl_divergence(ours, Normal(1, m, s)), expected)


def test_full_normal_draws_in_full_precision_under_autocast(full):
    ours, _ = full
    ours = MultivariateNormal(ours.loc.float(), ours.factor.float())
    noise = torch.randn(5, 4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        z = ours.sample(5, lambda *shape: noise)
    torch.testing.assert_close(z, ours.sample(5, lambda *shape: noise))


# -- every prior -------------------------------------------------------------------------------------------------------


def model_with(prior="standard", posterior="normal", d=2, condition=False):
    embedding = ConditionEmbedding({"label": 3}, {}) if condition else None
    features = embedding.features if embedding else 0
    prior_head = PRIORS[prior](d, features, **SMALL.get(prior, {}))
    posterior_head = POSTERIORS[posterior](d, **SMALL.get(posterior, {}))
    return LatentModel(
        MLP((4,), (posterior_head.features,), features, hidden=(16,)),
        MLP((d,), (4,), features, hidden=(16,)),
        NormalLikelihood((4,)),
        latent_dim=d, prior=prior_head, posterior=posterior_head, condition=embedding,
    )  # fmt: skip


def randomise(module, size=0.3):
    """Away from the start, which is often N(0, I)."""
    with torch.no_grad():
        for p in module.parameters():
            p.add_(size * torch.randn_like(p))
    return module


def conditions(condition, n=3):
    return {"label": torch.arange(n) % 3} if condition else None


CASES = [
    (name, condition) for name in PRIORS for condition in (False, True) if (name, condition) != ("conditional", False)
]
every_prior = pytest.mark.parametrize(("name", "condition"), CASES)


@every_prior
@pytest.mark.parametrize("d", [1, 2, 5])
def test_prior_shapes_and_gradients(name, condition, d):
    model = randomise(model_with(name, d=d, condition=condition))
    p = model.prior(conditions(condition), n=3)
    z = p.sample(7)
    assert z.shape == (7, 3, d)
    assert p.mean.shape == (3, d)
    assert p.log_prob(z).shape == (7, 3)
    assert p.log_prob(z[0]).shape == (3,)
    torch.testing.assert_close(p.log_prob(z)[2], p.log_prob(z[2].clone()))
    torch.testing.assert_close(p.tempered(1).log_prob(z.clone()), p.log_prob(z.clone()))
    if name != "standard":  # which has nothing to learn
        p.log_prob(z.detach()).sum().backward()
    for key, parameter in model.prior_head.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        # Where z has one unit, what says how the units depend on each other has nothing to say.
        assert d == 1 or parameter.grad.abs().sum() > 0, key


def grid(d, width=16.0, n=700):
    axis = torch.linspace(-width, width, n, dtype=torch.float64)
    z = axis[:, None] if d == 1 else torch.cartesian_prod(axis, axis)
    return z, (2 * width / (n - 1)) ** d


@every_prior
@pytest.mark.parametrize("d", [1, 2])
def test_prior_integrates_to_one_and_its_samples_follow_it(name, condition, d):
    by = 0.015 if name == "mixture" else 0.15  # its numbers are scaled up
    model = randomise(model_with(name, d=d, condition=condition), by).double()
    p = model.prior(conditions(condition), n=3)
    z, cell = grid(d)
    with torch.no_grad():
        density = p.log_prob(z[:, None].expand(-1, 3, -1)).exp()  # (points, 3)
        samples = p.sample(20_000)
    torch.testing.assert_close(density.sum(0) * cell, torch.ones(3).double(), atol=0.01, rtol=0)
    # Means of bounded functions, by the density and by the samples.
    for f in (
        lambda z: torch.sin(z).sum(-1),
        lambda z: torch.cos(1.5 * z).prod(-1),
        lambda z: (z > 0.5).all(-1).double(),
    ):
        expected = (density * f(z)[:, None]).sum(0) * cell
        torch.testing.assert_close(f(samples).mean(0), expected, atol=0.04, rtol=0)


@every_prior
def test_prior_is_copied_converted_and_restored(name, condition):
    model = randomise(model_with(name, condition=condition))
    y, z = conditions(condition), torch.randn(3, 2)
    before = model.prior(y, n=3).log_prob(z)
    double = copy.deepcopy(model).double()
    after = double.prior(y, n=3).log_prob(z.double())
    assert after.dtype == torch.float64
    torch.testing.assert_close(after.float(), before, rtol=1e-3, atol=1e-3)
    other = randomise(model_with(name, condition=condition))
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.prior(y, n=3).log_prob(z), before)
    with torch.no_grad():  # the copy has an encoder of its own
        for p in double.parameters():
            p.mul_(3)
    torch.testing.assert_close(model.prior(y, n=3).log_prob(z), before)


def test_vamp_is_the_mixture_of_the_posteriors_of_its_pseudo_inputs():
    model = randomise(model_with("vamp"))
    posteriors = model.posterior(model.prior_head.pseudo_inputs)
    z = torch.randn(9, 2)
    each = torch.stack([posteriors.log_prob(row.expand(5, 2)) for row in z])
    expected = (each + model.prior_head.logits.log_softmax(0)).logsumexp(1)
    torch.testing.assert_close(model.prior(n=9).log_prob(z), expected)
    assert len(list(model.parameters())) == len({id(p) for p in model.parameters()})
    assert not any("encoder" in key for key in model.prior_head.state_dict())


def test_vamp_starts_at_the_data_and_wants_a_plain_posterior():
    model = model_with("vamp")
    model.prior_head.learn(torch.arange(12.0).reshape(3, 4))
    assert model.prior_head.pseudo_inputs[:, 0].tolist() == [0, 4, 8, 0, 4]
    with pytest.raises(UserError, match="posterior 'normal'"):
        model_with("vamp", "full")


def test_flows_start_as_the_standard_normal():
    z = torch.randn(5, 3, 2)
    expected = td.Normal(0, 1).log_prob(z).sum(-1)
    for condition in (False, True):
        p = model_with("flow", condition=condition).prior(conditions(condition), n=3)
        torch.testing.assert_close(p.log_prob(z), expected)


@pytest.mark.parametrize("name", ["mixture", "vamp", "flow"])
@pytest.mark.parametrize("condition", [False, True])
def test_prior_learns_a_density_that_no_normal_has(name, condition):
    """Codes on two sides; with a condition, which side is known. The least cross-entropy is their own entropy."""
    model = model_with(name, condition=condition)
    side = torch.tensor([[2.0, 1.0]])
    reference = td.MixtureSameFamily(
        td.Categorical(torch.ones(2)), td.Independent(td.Normal(torch.cat([side, -side]), 0.3), 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(601):
        label = torch.randint(0, 2, (256,))
        z = side * (1 - 2 * label)[:, None] + 0.3 * torch.randn(256, 2)
        loss = -model.prior({"label": label} if condition else None, n=256).log_prob(z).mean()
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / 601)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    entropy = -reference.log_prob(z).mean().item() - (math.log(2) if condition else 0)
    assert loss.item() == pytest.approx(entropy, abs=0.35)  # of the best Normal: 1.28 more


# -- every posterior ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.parametrize("name", POSTERIORS)
def test_posterior_knows_the_density_of_its_draws(name, d):
    """What was kept from the draw is what inverting the map gives, in value and in gradient."""
    model = randomise(model_with(posterior=name, d=d)).double()
    x = torch.randn(3, 4).double()

    def gradients(again):
        torch.manual_seed(1)
        q = model.posterior(x)
        z = q.sample(6)
        assert z.shape == (6, 3, d)
        log_q = q.log_prob(z.clone() if again else z)
        assert log_q.shape == (6, 3)
        loss = (log_q - 0.5 * z.square().sum(-1)).mean()
        return log_q.detach(), torch.autograd.grad(loss, list(model.encoder.parameters()), materialize_grads=True)

    (kept, kept_gradients), (inverted, inverted_gradients) = gradients(False), gradients(True)
    torch.testing.assert_close(kept, inverted)
    for a, b in zip(kept_gradients, inverted_gradients, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", POSTERIORS)
def test_posterior_integrates_to_one_and_its_samples_follow_it(name):
    model = randomise(model_with(posterior=name)).double()
    q = model.posterior(torch.randn(3, 4).double())
    z, cell = grid(2)
    with torch.no_grad():
        density = q.log_prob(z[:, None].expand(-1, 3, -1)).exp()
        samples = q.sample(20_000)
    torch.testing.assert_close(density.sum(0) * cell, torch.ones(3).double(), atol=0.01, rtol=0)
    for f in (lambda z: torch.sin(z).sum(-1), lambda z: torch.cos(z).prod(-1)):
        torch.testing.assert_close(f(samples).mean(0), (density * f(z)[:, None]).sum(0) * cell, atol=0.04, rtol=0)


@pytest.mark.parametrize("name", POSTERIORS)
def test_posterior_gradients_reach_every_weight_and_copies_agree(name):
    model = randomise(model_with(posterior=name, prior="flow"))
    draw = model.draw(torch.randn(8, 4), k=3)
    (-draw.elbo.mean()).backward()
    for key, p in model.named_parameters():
        assert p.grad is not None, key
        assert p.grad.isfinite().all(), key
    x, z = torch.randn(3, 4), torch.randn(3, 2)
    log_q = model.posterior(x).log_prob(z)
    double = copy.deepcopy(model).double().posterior(x.double()).log_prob(z.double())
    torch.testing.assert_close(log_q.double(), double, rtol=1e-3, atol=1e-3)
    other = model_with(posterior=name, prior="flow")
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.posterior(x).log_prob(z), log_q)


@pytest.mark.parametrize(("name", "draw", "density"), [("iaf", 2, 2 * 5), ("maf", 2 * 5, 2)])
def test_flow_posteriors_are_quick_the_way_they_say(name, draw, density):
    """Passes through the maps' networks: one per map the quick way; the other, one per unit too."""
    model = model_with(posterior=name, d=4)
    q = model.posterior(torch.randn(3, 4))
    passes = 0

    def count(*_):
        nonlocal passes
        passes += 1

    for key, module in model.posterior_head.named_modules():
        if key.endswith("hyper"):
            module.register_forward_hook(count)
    z = q.sample(5)
    assert passes == draw
    q.log_prob(z)  # just drawn: known
    assert passes == draw
    q.log_prob(z.clone())
    assert passes == draw + density
