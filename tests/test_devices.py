"""Models work where their tensors are: on a GPU where there is one, else on a device that only tests know (see `elsewhere`)."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from elsewhere import DEVICE, GPU, elsewhere, moved
from vaekit import evaluation
from vaekit.distributions import LIKELIHOODS, POSTERIORS, PRIORS, normal_noise
from vaekit.distributions.likelihoods import NormalLikelihood
from vaekit.errors import UserError, kept_notes
from vaekit.kinds.text import Text
from vaekit.kinds.text.fill_in import Reader, candidates
from vaekit.model import LatentModel
from vaekit.nets import MLP, ConditionEmbedding, ResNet
from vaekit.nets.act import ActionDecoder, ActionEncoder, Observation
from vaekit.nets.population import Population
from vaekit.nets.text import TextEncoder
from vaekit.objectives import OBJECTIVES
from vaekit.robots.demonstrations import Demonstrations
from vaekit.robots.draws import ObservationPrior
from vaekit.robots.draws import draw as draw_way
from vaekit.robots.health import action_spread
from vaekit.robots.monitor import Disagreement, features, observations_of
from vaekit.robots.policy import Policy
from vaekit.robots.report import most_varied
from vaekit.structures import build_ladder, build_quantised
from vaekit.structures.build import build_flat
from vaekit.structures.marginal import likeliest, marginal
from vaekit.structures.resample import complete
from vaekit.structures.semi_supervised import SemiSupervisedClassifier, SemiSupervisedRegressor, jolted, thinned
from vaekit.training import Data, Training, fit, launch
from vaekit.training.alone import Alone
from vaekit.uses import samplers
from vaekit.uses.interpolate import PATHS
from vaekit.uses.samplers import SAMPLERS
from vaekit.uses.scores import log_octaves

pytestmark = pytest.mark.gpu
ROWS = 6
LABELS = {"label": torch.tensor([0, 1, 2, -1, 0, 1]), "pose": torch.randn(ROWS, 2)}
SMALL = {"mixture": {"components": 3}, "vamp": {"components": 3}, "flow": {"transforms": 2, "hidden": (8,)}}
TINY = {"width": 8, "heads": 2, "layers": 1, "dropout": 0.1}
SPREAD = {"spikes": [0.0], "shares": [0.3], "knots": [-1.0, 0.0, 2.0], "scores": [-1.0, 0.0, 1.0]}
OPTIONS = {
    "mixed": {"columns": [SPREAD, {"shares": [0.5, 0.3, 0.2]}, SPREAD], "rows": 100},
    "causal": {"vocabulary": 5, **TINY},
    "categorical": {"categories": 3},
}


@pytest.fixture(autouse=True)
def there():
    with elsewhere():
        yield


def small_net(in_shape, out_shape, features):
    return MLP(in_shape, out_shape, features, hidden=(8,))


def flat(likelihood=None, prior="standard", posterior="normal", known=True, encoder=small_net):
    """A model of one latent, which is conditional if something is `known`."""
    condition = ConditionEmbedding({"label": 3}, {"pose": 2}, width=4) if known else None
    return build_flat(
        likelihood or NormalLikelihood((3,)), condition, condition.features if condition else 0, latent_dim=2,
        prior=lambda d, c: PRIORS[prior](d, c, **SMALL.get(prior, {})), posterior=POSTERIORS[posterior],
        encoder=encoder, decoder=small_net,
    )  # fmt: skip


def structure(build, *shape):
    condition = ConditionEmbedding({"label": 3}, {"pose": 2}, width=4)
    return build(NormalLikelihood(shape), condition, condition.features, width=4, blocks=1)


def semi_supervised(kind):
    condition = ConditionEmbedding({"label": 3} if kind == "label" else {}, {"pose": 2} if kind == "pose" else {})
    parts = (NormalLikelihood((3,)), condition, condition.features)
    model = build_flat(
        *parts, latent_dim=2, prior=PRIORS["standard"], posterior=POSTERIORS["normal"], encoder=small_net, decoder=small_net
    )  # fmt: skip
    if kind == "label":
        model = SemiSupervisedClassifier(model, small_net((3,), (3,), 0), "label", shares=torch.ones(3))
        model.learn_from(torch.randn(2, 3), None, torch.tensor([0, 1]))
    else:
        model = SemiSupervisedRegressor(model, small_net((3,), (4,), 0), "pose")
        model.learn_from(torch.randn(2, 3), None, torch.randn(2, 2))
    return model


def policy():
    vectors, cameras = {"state": 2}, {"images.top": (32, 32)}
    return LatentModel(
        ActionEncoder(3, 4, 4, vectors, 8, heads=2, layers=1), ActionDecoder(2, 3, 4, vectors, cameras, 8, heads=2, layers=1),
        NormalLikelihood((3, 4)), latent_dim=2, prior=ObservationPrior(PRIORS["mixture"], 2, 2 + 8),
        condition=Observation(vectors, cameras, 8, [ResNet("resnet18")]),
    )  # fmt: skip


MODELS = {
    **{f"prior {name}": lambda name=name: flat(prior=name) for name in PRIORS},
    **{f"prior {name} alone": lambda name=name: flat(prior=name, known=False) for name in PRIORS if name != "conditional"},
    **{f"posterior {name}": lambda name=name: flat(posterior=name) for name in POSTERIORS},
    "ladder": lambda: structure(build_ladder, 1, 8, 8),
    "vq": lambda: structure(build_quantised, 1, 8, 8),
    "semi-supervised label": lambda: semi_supervised("label"),
    "semi-supervised pose": lambda: semi_supervised("pose"),
}  # fmt: skip


def check(thing):
    """Every tensor that an object holds is on the device."""
    if isinstance(thing, Tensor):
        assert thing.device == DEVICE
    elif isinstance(thing, (list, tuple)):
        for value in thing:
            check(value)
    elif hasattr(thing, "__dataclass_fields__"):
        check(list(vars(thing).values()))


def exercise(model, x, y, mask=None):
    noise = normal_noise(torch.Generator())
    model, x, y = moved(model), moved(x), moved(y)
    mask = mask if mask is None else moved(mask)
    for module in (model.train(), model.eval()):
        draw = module.draw(x, y, k=2, mask=mask, noise=noise)
        check([draw, draw.log_weight, draw.elbo])
        (draw.penalty - draw.elbo.mean() - draw.log_weight.mean()).backward()
    assert any(p.grad is not None for p in model.parameters())
    check([p.grad for p in model.parameters() if p.grad is not None])
    with torch.no_grad():
        check(model.posterior(x, y, mask))
        for known in (y, {}, None):
            prior = model.prior(known, len(x))
            z = prior.tempered(0.5).sample(2, noise)
            check([prior.mean, prior.log_prob(z)])
            p = model.decode(z, known, 0.5)
            check([p.mean, p.sample(3, noise), p.log_prob(x, mask)])
    return model


@pytest.mark.parametrize("name", MODELS)
def test_every_structure_prior_and_posterior(name):
    model = MODELS[name]()
    x = torch.randn(ROWS, *model.likelihood.event_shape)
    exercise(model, x, LABELS, torch.rand(x.shape) < 0.7)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_every_likelihood(name):
    shape = {"mixed": (3,), "causal": (5,), "autoregressive": (2, 4)}.get(name, (1, 8, 8))
    x = torch.randint(1, 3, (ROWS, *shape)) if name == "causal" else torch.randint(0, 2, (ROWS, *shape)).float()
    likelihood = LIKELIHOODS[name].from_data([(x, None)], torch.ones(shape[0]), **OPTIONS.get(name, {}))
    encoder = partial(TextEncoder, vocabulary=5, **TINY) if name == "causal" else small_net
    model = exercise(flat(likelihood, encoder=encoder), x, LABELS, torch.rand(x.shape) < 0.7)
    if name == "causal":
        return
    with torch.no_grad():
        data = Data(moved(x), moved(torch.rand(x.shape) < 0.7), moved(LABELS))
        model.likelihood.check(data.x, data.mask)
        check(complete(model, data, 3, torch.Generator()))


def test_a_policy():
    y = {"state": torch.randn(ROWS, 2), "images.top": torch.randint(0, 256, (ROWS, 32, 32, 3), dtype=torch.uint8)}
    model, x = policy(), torch.randn(ROWS, 3, 4)
    model = moved(model.eval())
    draw = model.draw(moved(x), moved(y), noise=normal_noise(torch.Generator()))
    check([draw, draw.elbo])
    prior = model.prior(moved(y))
    z, way = draw_way(prior, normal_noise(torch.Generator()))
    check(draw_way(prior, normal_noise(torch.Generator()), 0.5, way))
    check(model.decode(z, moved(y)).mean)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective(name):
    model = flat(prior="mixture" if name == "iwae" else "standard")
    objective = OBJECTIVES[name](**({"target": 1.0} if name == "geco" else {}))
    objective.attach(model)
    model = moved(model)
    if isinstance(objective, nn.Module):
        objective = moved(objective)
    draw = model.draw(moved(torch.randn(ROWS, 3)), moved(LABELS), k=objective.k, noise=normal_noise(torch.Generator()))
    loss, terms = objective(draw, 0.5)
    loss.backward()
    check([loss, *terms.values(), objective.validation(draw)])


def test_what_is_unknown_is_summed_out():
    model = flat()
    y = {name: values.clamp_min(0) for name, values in LABELS.items()}
    model.condition.population = Population(y, torch.ones(ROWS))
    model, x = moved(model.eval()), moved(torch.randn(ROWS, 3))
    for known in ({}, {"label": LABELS["label"]}):
        draw = marginal(model, x, moved(known), k=2, noise=normal_noise(torch.Generator()))
        check([draw, draw.log_weight])
        check(list(likeliest(model, x, moved(known)).values()))
    assert evaluation.evaluate(model, Data(x, None, moved({"label": LABELS["label"]})), k=3)["rows"] == ROWS


def test_paths():
    model, ends = moved(flat().eval()), moved(torch.randn(2, 2))
    for path in PATHS.values():
        check(path(*ends, 5, lambda z: model.decode(z[None]).mean[0]))


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler(name, monkeypatch):
    if not GPU:  # Lightning does not know the device: the sampler is trained on the CPU
        monkeypatch.setattr(samplers, "launch", lambda options: launch(replace(options, device="cpu")))
    monkeypatch.setattr(samplers, "STEPS", 20)
    model = moved(flat().eval())
    rows = Data(torch.randn(40, 3), None, {"label": torch.arange(40) % 3})
    build = partial(SAMPLERS[name], **SMALL["mixture" if name == "gmm" else name])
    encode = lambda rows: model.posterior(rows.x, rows.y)  # noqa: E731
    sampler = samplers.fit_sampler(model, build, rows[:30], rows[30:], encode, seed=0)
    check(list(sampler.parameters()))
    assert np.isfinite(samplers.gain(model, sampler, rows, encode, 0)).all()


def test_semi_supervised_rows_are_moved():
    noise = normal_noise(torch.Generator())
    x = moved(torch.rand(ROWS, 1, 8, 8))
    check([jolted(x, x > 0.1, noise), thinned(x, x > 0.1, noise), log_octaves(x)])


def test_gaps_of_texts():
    kind = Text.infer(["ab ba", "bb a", "b"], tokenizer={"name": "char", "longest": 6})
    likelihood = LIKELIHOODS["causal"](kind.event_shape, vocabulary=kind.vocabulary, **TINY)
    encoder = partial(TextEncoder, vocabulary=kind.vocabulary, **TINY)
    model = moved(flat(likelihood, known=False, encoder=encoder).eval())
    texts, weights = candidates(model, kind, Reader(kind).pattern("a ___"), {}, 20, torch.Generator())
    assert weights.sum() == pytest.approx(1)
    assert all(text.startswith("a ") for text in texts)


# -- training ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("structure", ["flat", "semi-supervised"])
def test_training_stops_and_goes_on_from_its_checkpoint(structure, tmp_path):
    """To the same bits as training in one go."""
    mask = torch.rand(40, 3) < 0.9 if structure == "flat" else None
    data = Data(torch.randn(40, 3), mask, {"label": torch.arange(40) % 3})
    options = Training(epochs=4, batch_size=10, cell_dropout=0.3, like_lengths=True, checkpoint_seconds=0)

    def train(folder, until=99):
        folder.mkdir(exist_ok=True)
        torch.manual_seed(0)
        model = moved(flat(prior="mixture") if structure == "flat" else semi_supervised("label"))

        class Stop:
            def step(self, state, progress, terms):
                if state.step >= until:  # a GPU tells of a step some steps later
                    raise KeyboardInterrupt

            def epoch(self, state, progress, row):
                pass

        state = fit(
            Alone(DEVICE), model, OBJECTIVES["elbo"](), data[:30], data[30:], options,
            folder=folder, resume=True, watchers=[Stop()],
        )  # fmt: skip
        check(state.best)
        return model.state_dict()

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", until=7)
    again = train(tmp_path / "stopped")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


# -- policies ----------------------------------------------------------------------------------------------------------


def test_a_policy_acts_the_same_on_every_device(monkeypatch):
    if not GPU:  # tensors of a made-up device cannot be inference tensors
        monkeypatch.setattr(Policy, "plan", torch.no_grad()(Policy.plan.__wrapped__))
    rng = np.random.default_rng(0)
    seen = {"state": rng.normal(size=(24, 2)), "images.top": rng.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)}
    demonstrations = Demonstrations(rng.normal(size=(24, 3)), seen, np.array([12, 24]), tasks=np.array(["a", "b"] * 12))
    policy = Policy(2, size="small", chunk_size=4, epochs=1, observations=["state", "images.top", "task"]).fit(
        demonstrations
    )

    def found():
        policy.reset(seed=1)
        rows = [{name: values[i] for name, values in demonstrations.offered.items()} for i in range(3)]
        episode = observations_of(demonstrations)[0]
        return [
            np.stack([policy.act(row) for row in rows]),
            policy.predict(demonstrations.offered, z=[1.0, -1.0]),
            Disagreement(policy).scores(episode),
            features(policy, episode),
            most_varied(policy, demonstrations)[2],
            list(action_spread(policy.model_, policy.data_of(demonstrations)).values()),
        ]

    expected = found()
    moved(policy.model_)
    for here, there in zip(expected, found(), strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-4)


def test_a_number_that_is_not_finite_is_named():
    model, data = flat(), Data(torch.randn(20, 3))
    with torch.no_grad():
        model.prior_head.one.fill_(torch.nan)
    with pytest.raises(UserError, match=r"at step 1 .*: prior scale is not finite"):
        fit(Alone(DEVICE), moved(model), OBJECTIVES["elbo"](), data, data[:0], Training(epochs=1))


# -- captured steps ----------------------------------------------------------------------------------------------------

ROUGH = Data(torch.randn(40, 3), torch.rand(40, 3) < 0.9, {"label": torch.arange(40) % 3, "pose": torch.randn(40, 2)})
PICTURES = replace(ROUGH, x=torch.rand(40, 1, 8, 8), mask=None)
DEPENDS_ON_DATA = {"vq", "semi-supervised label", "semi-supervised pose"}  # which operations a step does


def steps(build, objective, capture, data=ROUGH):
    """The weights after every epoch of a training, and what its notes say."""
    torch.manual_seed(0)
    weights = []

    class Look:
        def step(self, *state): ...

        def epoch(self, state, progress, row):
            weights.append({"row": {k: v for k, v in row.items() if k != "seconds"}, **state.best})

    options = Training(
        epochs=4, batch_size=8, cell_dropout=0.0 if data.mask is None else 0.3, capture=capture, keep="last"
    )
    with kept_notes() as notes:
        fit(Alone(DEVICE), moved(build()), objective, data[:32], data[32:], options, watchers=[Look()])
    return weights, " ".join(notes)


def assert_captured(build, objective=OBJECTIVES["elbo"], data=ROUGH, depends=False):
    (expected, _), (found, notes) = (steps(build, objective(), how, data) for how in ("never", "always"))
    assert ("not captured" in notes) == depends, notes
    for before, after in zip(expected, found, strict=True):
        if GPU and any(name.startswith("quantiser.") for name in before):
            continue  # two runs without capture differ too: CUDA sums up its codes in any order
        assert before.pop("row") == after.pop("row")
        assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("name", MODELS)
def test_a_captured_step_is_the_step_of_every_model(name):
    assert_captured(MODELS[name], data=PICTURES if name in ("ladder", "vq") else ROUGH, depends=name in DEPENDS_ON_DATA)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_captured_step_is_the_step_of_every_objective(name):
    options = {"geco": {"target": 4.0}, "elbo": {"warmup": 0.5, "cycles": 2}, "capacity": {"warmup": 0.5}}
    assert_captured(flat, partial(OBJECTIVES[name], **options.get(name, {})))


@pytest.mark.parametrize("name", [name for name in LIKELIHOODS if name not in ("causal", "autoregressive")])
def test_a_captured_step_is_the_step_of_every_likelihood(name):
    x = torch.arange(120).view(40, 3) % 3 / (2 if "bernoulli" in name else 1)
    assert_captured(lambda: flat(LIKELIHOODS[name]((3,), **OPTIONS.get(name, {}))), data=replace(ROUGH, x=x))
