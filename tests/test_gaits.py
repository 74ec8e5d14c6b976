"""Walkers and genomes: what gymnasium's own episodes give, what damage does, and mistakes."""

import pickle

import numpy as np
import pytest

from vaekit.errors import UserError

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("mujoco")

from vaekit.robots.gaits import WALKERS, WEIGHTS, Gaits  # noqa: E402

STEPS = 60


def torques(gaits, seconds, genome):
    amplitude, phase, offset = genome.reshape(3, -1)
    return np.clip(amplitude * np.sin(2 * np.pi * (gaits.frequency * seconds + phase)) + 2 * offset - 1, -1, 1)


@pytest.mark.parametrize("name", WALKERS)
def test_an_episode_is_that_of_gymnasium(name):
    gaits = Gaits(name, steps=STEPS, controller="torques", frequency=3, seed=5)
    genome = gaits.random(1, seed=2)[0]
    env = gymnasium.make(name)
    env.reset(seed=5)
    way, steps, over = 0.0, 0, False
    while steps < STEPS and not over:
        action = torques(gaits, steps * env.unwrapped.dt, genome)
        _, _, over, _, info = env.step(action)
        way, steps = way + info["reward_forward"] * env.unwrapped.dt, steps + 1
    found = gaits(genome)
    assert found["survived"] == [(steps - over) / STEPS]
    # gymnasium takes the ant's speed from its body, whose place MuJoCo has worked out a part of a step earlier.
    np.testing.assert_allclose(found["speed"] * STEPS * env.unwrapped.dt, way, atol=0.02 if name == "Ant-v5" else 1e-9)


@pytest.mark.parametrize("name", WALKERS)
def test_every_walker_has_measures_in_their_ranges(name):
    gaits = Gaits(name, steps=20)
    rows = gaits.random(3)
    measures = gaits.features(rows)
    assert measures.shape == (3, len(gaits.names))
    assert gaits.ranges.shape == (len(gaits.names), 2)
    assert ((measures >= gaits.ranges[:, 0]) & (measures <= gaits.ranges[:, 1])).all()


def test_a_gait_depends_on_its_genome_alone():
    gaits = Gaits("HalfCheetah-v5", steps=STEPS)
    rows = gaits.random(4)
    found = gaits(rows)
    again = pickle.loads(pickle.dumps(gaits))(rows[::-1])
    assert all(np.array_equal(again[name][::-1], found[name]) for name in found)
    assert np.array_equal(gaits.score(rows + [[2]] * 4), gaits.score(np.ones((4, gaits.size))))  # cut to 1
    assert len(set(found["speed"])) == 4


def test_a_batch_is_tried_once(monkeypatch):
    gaits, steps = Gaits("HalfCheetah-v5", steps=10), []
    step = gaits.env.step
    monkeypatch.setattr(gaits.env, "step", lambda action: steps.append(1) or step(action))
    rows = gaits.random(3)
    speed = gaits.score(rows)
    gaits.features(rows)
    assert np.array_equal(gaits.score(rows), speed)
    assert len(steps) == 30


def test_a_dead_leg_is_one_without_torque():
    healthy, dead = (Gaits(steps=STEPS, controller="torques", damage=d) for d in ((), ("leg 1",)))
    leg = [healthy.joints.index(joint) for joint in ("hip_1", "ankle_1")]
    genome = healthy.random(1)[0]
    still = genome.copy().reshape(3, -1)
    still[:, leg] = np.array([0, 0, 0.5])[:, None]
    assert dead.score(genome) == dead.score(still.ravel()) == healthy.score(still.ravel()) != healthy.score(genome)
    assert pickle.loads(pickle.dumps(dead)).score(genome) == dead.score(genome)


def test_a_locked_joint_stays_where_it_is():
    locked = Gaits(steps=STEPS, damage=("ankle_1 locked",))
    angles = []
    step = locked.env.step
    locked.env.step = lambda action: (step(action), angles.append(np.degrees(locked.env.data.qpos[[8, 14]])))[0]
    locked.score(locked.random(1))
    stuck, free = np.array(angles[20:]).T  # ankles 1 and 4, which bend from 30 to 70 degrees
    assert np.abs(stuck - 50).max() < 3
    assert np.ptp(free) > 10


def test_a_network_of_biases_is_a_constant_torque():
    network = Gaits("HalfCheetah-v5", steps=STEPS, controller="network", hidden=(5, 4))
    constant = Gaits("HalfCheetah-v5", steps=STEPS, controller="torques")
    joints, zero = len(network.joints), 0.5
    assert network.size == (17 + 1) * 5 + (5 + 1) * 4 + (4 + 1) * joints
    bias = np.linspace(0, 1, joints)
    genome = np.concatenate([np.full(network.size - joints, zero), bias])
    torque = np.tanh((2 * bias - 1) * WEIGHTS / np.sqrt(4))
    wave = np.concatenate([np.zeros(2 * joints), (torque + 1) / 2])
    np.testing.assert_allclose(network.features(genome), constant.features(wave), atol=0.02)
    np.testing.assert_allclose(network.score(genome), constant.score(wave), atol=1e-6)


def test_a_genome_that_is_not_finite_has_no_gait():
    gaits = Gaits("HalfCheetah-v5", steps=10)
    rows = gaits.random(3)
    rows[1, 0] = np.nan
    assert np.isnan(gaits.score(rows)).tolist() == [False, True, False]
    assert np.isnan(gaits.features(rows)[1]).all()


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"name": "Ant-v6"}, "no walker 'Ant-v6'; did you mean 'Ant-v5'"),
        ({"damage": ("leg 5",)}, "no part 'leg 5'; did you mean 'leg"),
        ({"damage": ("hip_9 locked",)}, "no part 'hip_9'; did you mean 'hip_"),
        ({"controller": "angle"}, "did you mean 'angles'"),
        ({"steps": 0}, "steps=0"),
    ],
)
def test_a_mistake_is_told(about, words):
    with pytest.raises(UserError, match=words):
        Gaits(**about)


def test_genomes_of_another_length_are_told():
    with pytest.raises(UserError, match=r"shape \(2, 3\): Hopper-v5 needs \(n, 9\)"):
        Gaits("Hopper-v5").score(np.zeros((2, 3)))
