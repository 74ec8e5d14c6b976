"""Parts by name with options: what is refused and how it is said; and the way from the command line to a run and back."""

import numpy as np
import pytest
import torch
import yaml

import vaekit as vk
from conftest import vaekit
from vaekit.cli import dotted
from vaekit.distributions import LIKELIHOODS, POSTERIORS, PRIORS
from vaekit.errors import UserError
from vaekit.estimators.vae import PARTS
from vaekit.objectives import OBJECTIVES
from vaekit.recipes.recipe import Recipe
from vaekit.settings.parts import check_options, choose, options_of

REGISTRIES = {**PARTS, "likelihood": LIKELIHOODS}
EVERY = [(what, name) for what, registry in REGISTRIES.items() for name in registry]


def test_a_part_is_a_name_or_a_name_with_options():
    assert choose("prior", "flow", PRIORS) == ("flow", {})
    assert choose("prior", {"name": "Flow", "transforms": 2}, PRIORS) == ("flow", {"transforms": 2})
    assert choose("objective", "free-bits", OBJECTIVES) == ("free_bits", {})
    given = {"name": "flow", "transforms": 2}
    choose("prior", given, PRIORS)
    assert given == {"name": "flow", "transforms": 2}


@pytest.mark.parametrize(
    ("registry", "part"),
    [(LIKELIHOODS, "likelihood"), (OBJECTIVES, "objective"), (PRIORS, "prior"), (POSTERIORS, "posterior")],
)
def test_a_part_that_a_user_registers_is_found_by_its_name(monkeypatch, registry, part):
    usual = next(iter(registry.values())) if part != "likelihood" else registry["normal"]
    monkeypatch.setitem(registry, "mine", usual)
    vae = vk.VAE(2, size="small", epochs=1, sampler="prior", **{part: "mine"})
    assert vae.fit(np.random.default_rng(0).normal(size=(16, 3))).sample(2).shape == (2, 3)


@pytest.mark.parametrize(("what", "name"), EVERY)
def test_every_option_has_a_default_that_is_accepted_and_a_line_of_its_own(what, name):
    factory = REGISTRIES[what][name]
    defaults = {key: parameter.default for key, parameter in options_of(factory).items()}
    check_options(what, name, defaults, factory)
    with pytest.raises(UserError, match="has no option 'nonsense'") as e:
        check_options(what, name, {"nonsense": 1}, factory)
    assert all(option in str(e.value) for option in defaults) or not defaults


def test_an_option_may_be_one_number_or_one_for_each_level():
    ladder = PARTS["structure"]["ladder"]
    for value in (4, [4, 8]):
        check_options("structure", "ladder", {"latent_channels": value}, ladder)
    for value in (0, [4, 0], "4"):
        with pytest.raises(UserError, match="whole number"):
            check_options("structure", "ladder", {"latent_channels": value}, ladder)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prior": "flwo"}, r"prior='flwo' is not one of the choices; did you mean 'flow'\? \(known: standard, .*vamp"),
        ({"objective": "elbow"}, r"did you mean 'elbo'\? \(known: auto, elbo, free_bits, .*vae_gan.*\)"),
        ({"posterior": 3}, r"posterior=3 has to be a word or a dict"),
        ({"likelihood": "norml"}, r"did you mean 'normal'\? \(known: auto, bernoulli"),
        ({"prior": None}, r"prior=None has to be a word or a dict"),
        ({"prior": {"transforms": 2}}, r"prior=.*has no 'name': add one \(known: standard"),
        (
            {"prior": {"name": "flow", "transform": 2}},
            r"no option 'transform'; did you mean 'transforms'\? \(known: tr",
        ),
        ({"prior": {"name": "standard", "hidden": 2}}, r"prior 'standard' has no option 'hidden'; it has no options"),
        ({"objective": {"name": "elbo", "beta": "4"}}, r"objective.beta='4' has to be a number, 0 or more"),
        ({"objective": {"name": "elbo", "beta": None}}, r"objective.beta=None has to be a number"),
        ({"objective": {"name": "elbo", "beta": True}}, r"objective.beta=True has to be a number, 0 or more"),
        ({"objective": {"name": "elbo", "beta": float("nan")}}, r"beta=nan has to be a number"),
        ({"objective": {"name": "elbo", "beta": float("inf")}}, r"beta=inf has to be a number"),
        ({"objective": {"name": "elbo", "beta": -1}}, r"objective.beta=-1 has to be a number, 0 or more"),
        ({"objective": {"name": "elbo", "warmup": 10}}, r"objective.warmup=10 has to be a number from 0 to 1"),
        ({"objective": {"name": "elbo", "cycles": 0}}, r"objective.cycles=0 has to be a whole number from 1"),
        ({"objective": {"name": "iwae", "k": 2.5}}, r"objective.k=2.5 has to be a whole number"),
        ({"objective": {"name": "iwae", "k": 0}}, r"objective.k=0"),
        ({"objective": "geco"}, r"geco.* needs a target: --objective.target NATS"),
        (
            {"prior": {"name": "mixture", "components": 0}},
            r"prior.components=0 has to be a whole number from 1",
        ),
        ({"prior": {"name": "flow", "hidden": 64}}, r"prior.hidden=64 has to be a list, each a whole number"),
        (
            {"prior": {"name": "flow", "hidden": [64, 0]}},
            r"prior.hidden=\[64, 0\] has to be a list, each a whole number",
        ),
        ({"posterior": {"name": "iaf", "context": 1.5}}, r"posterior.context=1.5 has to be a whole number"),
        ({"likelihood": {"name": "normal", "scale": "a"}}, r"likelihood.scale='a' has to be a number"),
        ({"likelihood": {"name": "normal", "scale": 0}}, r"likelihood.scale=0 has to be a number above 0"),
        ({"prior": "conditional"}, r"prior 'conditional' needs a condition: use CVAE"),
        ({"prior": "vamp", "posterior": "full"}, r"prior 'vamp' needs posterior 'normal'"),
        ({"objective": "dreg", "posterior": "iaf"}, r"objective 'dreg' needs .*posterior 'normal'"),
        ({"objective": "beta_tc", "posterior": "full"}, r"objective 'beta_tc' needs .*posterior 'normal'"),
        (
            {"objective": "vae_gan", "likelihood": "categorical"},
            r"'vae_gan' needs .* likelihood 'categorical'",
        ),
    ],
)
def test_a_mistake_is_one_line_that_says_what_there_is(settings, said):
    x = torch.randint(0, 5, (30, 3)).numpy().astype(float)
    with pytest.raises(UserError, match=said) as e:
        vk.VAE(2, size="small", epochs=1, **settings).fit(x)
    assert "\n" not in str(e.value)


def printed(*args):
    return yaml.safe_load(vaekit("fit", "digits", "--print-config", *args, check=0).stdout)


def test_the_command_line_takes_options_of_parts_in_every_form():
    config = printed(
        "--objective.beta=4", "--objective.warmup", 0.3, "--prior", "flow", "--prior.hidden", "[64, 64]",
        "--set", "posterior.name=iaf", "--likelihood.scale", 1, "--posterior.transforms=3",
    )  # fmt: skip
    assert config["objective"] == {"name": "elbo", "beta": 4, "warmup": 0.3}
    assert config["prior"] == {"name": "flow", "hidden": [64, 64]}
    assert config["posterior"] == {"name": "iaf", "transforms": 3}
    assert config["likelihood"] == {"name": "auto", "scale": 1}
    assert dotted(["--objective.target", "-12.5"]) == dotted(["--objective.target=-12.5"])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--objectiv.beta", 4], "no part of a model is named 'objectiv'; did you mean 'objective'?"),
        (["--objective.beta"], "--objective.beta needs a value"),
        (["--prior", "flow", "--prior.hiden", "[64]"], "prior 'flow' has no option 'hiden'; did you mean 'hidden'?"),
    ],
)
def test_the_command_line_refuses_in_one_line(tmp_path, args, said):
    done = vaekit("fit", "digits", "--out", tmp_path / "run", *args, check=2)
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", ["", "[64, 64", "{a: b: c}"])
def test_a_value_that_is_none_is_said(value):
    arguments = dotted([f"--prior.hidden={value}"])
    assert arguments[0] == "--set"
    with pytest.raises(UserError, match=r"--prior.hidden (needs a value|.* is not a value)") as e:
        Recipe().set_options(arguments[1:])
    assert "\n" not in str(e.value)


def test_options_are_stored_with_the_run_and_rebuild_it(tmp_path):
    run = tmp_path / "run"
    vaekit(
        "fit", "digits[:100]", "--condition", "label", "--out", run, "--epochs", 1, "--size", "small", "--no-report",
        "--latent-dim", 2, "--prior", "vamp", "--prior.components", 7, "--objective", "free_bits",
        "--objective.nats=0.5", "--likelihood", "laplace", "--likelihood.scale", 0.5, check=0,
    )  # fmt: skip
    settings = yaml.safe_load((run / "config.yaml").read_text())["settings"]
    assert settings["prior"] == {"name": "vamp", "components": 7}
    assert settings["objective"] == {"name": "free_bits", "nats": 0.5}
    loaded = vk.load(run)
    assert loaded.model_.prior_head.components == 7
    assert loaded.model_.likelihood.scale.item() == 0.5
    assert loaded.sample(3, 4).shape == (3, 8, 8)


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("prior", PRIORS)
def test_every_pair_of_prior_and_posterior_trains_saves_and_loads(tmp_path, digits, prior, posterior):
    images, labels = digits
    options = {"vamp": {"components": 5}, "mixture": {"components": 5}, "flow": {"transforms": 2, "hidden": [8]}}
    cvae = vk.CVAE(
        2, size="small", network="mlp", epochs=1, posterior=posterior, prior={"name": prior, **options.get(prior, {})},
        trainer={"precision": "bf16-mixed"},
    )  # fmt: skip
    if prior == "vamp" and posterior not in ("normal", "log_variance"):
        with pytest.raises(UserError, match="prior 'vamp' needs posterior 'normal'"):
            cvae.fit(images[:200], labels[:200])
        return
    cvae.fit(images[:200], labels[:200])
    assert all(np.isfinite(list(row.values())).all() for row in cvae.history_)
    found = cvae.evaluate(images[:40], labels[:40], k=5)
    assert found["elbo"] == pytest.approx(-found["reconstruction"] - found["kl"], abs=1e-3)
    again = vk.load(cvae.save(tmp_path / "run"))
    assert (again.sample(4, 3, random_state=1) == cvae.sample(4, 3, random_state=1)).all()
    assert again.score_samples(images[:5], labels[:5], k=5) == pytest.approx(
        cvae.score_samples(images[:5], labels[:5], k=5), rel=1e-6
    )


@pytest.mark.parametrize(
    ("estimator", "kind", "use"),
    [("VAE", "series", "SeriesVAE"), ("VAE", "actions", "Policy"), ("SeriesVAE", "images", "VAE")],
)
def test_a_kind_of_another_estimator_is_refused(estimator, kind, use):
    model = getattr(vk, estimator)(kind=kind, epochs=1)
    with pytest.raises(UserError, match=f"kind='{kind}' is not for {estimator}: use {use}"):
        model.fit(np.zeros((20, 2)))
