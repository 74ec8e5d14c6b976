"""Latent health of policies: the effective beta, how far actions move with z, and the verdict."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from vaekit.distributions.likelihoods import LaplaceLikelihood
from vaekit.objectives import OBJECTIVES
from vaekit.robots.demonstrations import Demonstrations
from vaekit.robots.environments import demonstrate
from vaekit.robots.health import Setup, action_spread, policy_lines, policy_verdict
from vaekit.robots.policy import Policy

TINY = partial(Policy, 2, size="small", chunk_size=8, epochs=1, batch_size=64)
ALIVE = {
    "kl": 3.0, "active_units": 2, "latent_units": 2, "shuffle_gap": 5.0, "action_spread": 0.5, "action_spread_first": 0.2,
    "effective_beta": 1.0,
}  # fmt: skip
DEAD = {**ALIVE, "kl": 0.0, "active_units": 0, "shuffle_gap": 0.0, "action_spread": 0.0}


@pytest.fixture(scope="module")
def demonstrations():
    return demonstrate("two-routes", 4, 0)


@pytest.fixture(scope="module")
def policy(demonstrations):
    return TINY().fit(demonstrations)


def with_cameras(demonstrations, frames=12):
    few = demonstrations[[0]]
    pictures = np.random.default_rng(0).integers(0, 256, (frames, 32, 32, 3), dtype=np.uint8)
    return Demonstrations(
        few.actions[:frames], {"state": few.observations["state"][:frames], "images.top": pictures}, np.array([frames])
    )


def spread(policy, demonstrations, **options):
    return action_spread(policy.model_, policy.data_of(demonstrations), **options)


class Linear(torch.nn.Module):
    """Actions that are z's first unit times a gain, at every step and number."""

    def __init__(self, gain, steps):
        super().__init__()
        self.gain, self.steps = gain, steps

    def forward(self, z, c):
        return (self.gain * z[:, :1, None]).expand(-1, 2, self.steps)


def test_action_spread_is_the_standard_deviation_over_z(demonstrations):
    policy = TINY(prior="standard").fit(demonstrations)
    policy.model_.decoder = Linear(0.7, 8)
    found = spread(policy, demonstrations, samples=64)
    assert found["action_spread"] == pytest.approx(0.7, rel=0.02)
    assert found["action_spread_first"] == pytest.approx(0.7, rel=0.02)
    policy.model_.decoder = Linear(0.0, 8)
    assert spread(policy, demonstrations)["action_spread"] == 0


def test_steps_behind_the_end_of_an_episode_do_not_count(demonstrations):
    policy = TINY(prior="standard").fit(demonstrations)

    class Late(Linear):
        def forward(self, z, c):
            chunk = super().forward(z, c).clone()
            chunk[..., 0] = 0
            return chunk

    policy.model_.decoder = Late(1.0, 8)
    single = demonstrations[[0]]
    one_frame = Demonstrations(single.actions[:1], {"state": single.observations["state"][:1]}, np.array([1]))
    assert spread(policy, one_frame)["action_spread"] == 0
    assert spread(policy, demonstrations)["action_spread_first"] == 0


def test_the_same_seed_says_the_same(policy, demonstrations):
    assert spread(policy, demonstrations) == spread(policy, demonstrations)
    assert spread(policy, demonstrations) != spread(policy, demonstrations, seed=1)


ELEMENTS = 2 * 8
SETUP = Setup(
    OBJECTIVES["elbo"](), LaplaceLikelihood((2, 8)), ELEMENTS, prior="mixture", z="episode", execute="ensemble"
)


@pytest.mark.parametrize(
    ("objective", "beta"),
    [
        ("elbo", 1.0),
        ({"name": "elbo", "beta": 4.0, "warmup": 0.5}, 4.0),
        ({"name": "act", "kl_weight": 10.0}, 10.0 * ELEMENTS),
        ("free_bits", None),
    ],
)
def test_effective_beta(policy, objective, beta):
    policy = copy.copy(policy).set_params(objective=objective)
    assert policy.setup.effective_beta == beta


def test_the_published_loss_is_a_beta_of_fourteen_thousand():
    published = replace(SETUP, objective=OBJECTIVES["act"](kl_weight=10), elements=14 * 100)
    assert published.effective_beta == 14_000
    said = policy_verdict({**DEAD, "latent_units": 32}, published)
    assert "1,400 elements" in said
    assert "a beta of 14,000:" in said
    assert "0 of 32 units" in said
    assert "--objective.kl_weight 0.0007" in said


def test_a_dead_latent_names_its_cause():
    assert "--objective.beta 1" in policy_verdict(DEAD, replace(SETUP, objective=OBJECTIVES["elbo"](beta=9)))
    said = policy_verdict(DEAD, SETUP)
    assert "z carries 0.000 nats, 0 of 2 units are active, actions move 0.00" in said
    assert "--latent-dim 0 is the same policy" in said
    assert "2 of 2" not in policy_verdict({**DEAD, "active_units": 2}, SETUP)
    assert "sampler" not in said  # which policies do not have


def test_a_latent_that_is_alive():
    assert policy_verdict(ALIVE, SETUP).startswith("The latent is alive: z carries 3.0 nats, 2 of 2 units")
    short = {**ALIVE, "active_units": 0}  # codes that are all short, but used
    assert "alive" in policy_verdict(short, SETUP)
    assert "ignores z" in policy_verdict({**ALIVE, "shuffle_gap": 0.0}, SETUP)


def test_the_mean_of_a_prior_with_modes_is_warned_of():
    assert "z='mean'" in policy_verdict(ALIVE, replace(SETUP, z="mean"))
    assert "z='mean'" not in policy_verdict(ALIVE, SETUP)
    assert "z='mean'" not in policy_verdict(ALIVE, replace(SETUP, z="mean", prior="standard"))
    assert "z='mean'" not in policy_verdict(DEAD, replace(SETUP, z="mean"))


def test_a_prior_that_misses_the_codes():
    missing = {**ALIVE, "mutual_information": 1.0, "mutual_information_limit": 7.0, "marginal_kl": 2.0}
    assert "--prior mixture" in policy_verdict(missing, replace(SETUP, prior="standard"))


def test_evaluate_says_all_of_it(policy, demonstrations):
    found = policy.evaluate(demonstrations, k=2)
    assert found["effective_beta"] == 1
    assert found["action_spread"] >= 0
    assert found["verdict"] == policy_verdict(found, policy.setup)
    assert [line.split("  ")[0] for line in policy_lines(found)] == ["effective beta", "action spread"]


def test_without_a_latent(demonstrations):
    policy = Policy(0, size="small", chunk_size=8, epochs=1).fit(demonstrations)
    found = policy.evaluate(demonstrations, k=2)
    assert found["action_spread"] == 0
    assert found["verdict"].startswith("There is no latent")


def test_with_cameras_and_with_some_observations_only(demonstrations):
    seen = with_cameras(demonstrations)
    for observations in (None, ["images.top"]):
        policy = TINY(observations=observations).fit(seen)
        assert np.isfinite(spread(policy, seen, samples=2)["action_spread"])


def test_lines_of_other_models_stay_as_they_are():
    assert policy_lines({"kl": 1.0}) == []
    assert len(policy_lines({**ALIVE, "effective_beta": None})) == 1
