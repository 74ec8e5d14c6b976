"""The environments: the same seed gives the same episode, experts do their tasks, and mistakes are told."""

import importlib.util
import os
import subprocess
import sys
from contextlib import contextmanager
from importlib import metadata

import numpy as np
import pytest

from vaekit.errors import MissingExtra, Note, UserError
from vaekit.robots.environments import ENVIRONMENTS, demonstrate, make
from vaekit.robots.environments.two_routes import TwoRoutes

SHAPES = {  # state, environment_state, action
    "two-routes": (2, 0, 2),
    "fetch-reach": (10, 3, 4),
    "fetch-push": (10, 18, 4),
    "fetch-pick-and-place": (10, 18, 4),
    "aloha-transfer": (14, 7, 14),
    "aloha-insertion": (14, 14, 14),
}


def needs(name):
    package = {"fetch": "gymnasium_robotics", "aloha": "gym_aloha"}.get(name.split("-")[0])
    missing = package is not None and not importlib.util.find_spec(package)
    return pytest.param(name, marks=pytest.mark.skipif(missing, reason=f"{package} is not installed"))


def play(env, seed, steps=None):
    """Observations and actions of the expert's episode, in full or its first steps."""
    observations, actions, over = [env.reset(seed)], [], False
    expert = env.expert(seed)
    while not over and (steps is None or len(actions) < steps):
        actions.append(expert())
        observation, _, over = env.step(actions[-1])
        observations.append(observation)
    return observations, actions


def strict_share(name, seeds):
    env = make(name)
    done = []
    for seed in seeds:
        play(env, seed)
        assert env.success or not env.strict_success
        done.append(env.strict_success)
    env.close()
    return np.mean(done)


def same(first, second):
    return all(np.array_equal(a[name], b[name]) for a, b in zip(first, second, strict=True) for name in a)


@contextmanager
def drawing():
    """Skips the test where MuJoCo cannot draw: no fault of the code."""
    try:
        yield
    except UserError as error:
        if "could not draw" in str(error):
            pytest.skip(str(error))
        raise


@pytest.mark.parametrize("name", [needs(name) for name in SHAPES])
def test_an_episode_is_its_seed_s_and_can_be_replayed(name):
    env = make(name)
    first, actions = play(env, 3, 40)
    other, _ = play(env, 4, 5)
    replayed = [env.reset(3)] + [env.step(action)[0] for action in actions]
    assert same(first, replayed)
    assert not same(first[:6], other)
    state, environment_state, action = SHAPES[name]
    assert first[0]["state"].shape == (state,)
    assert first[0]["state"].dtype == np.float32
    assert first[0].get("environment_state", np.zeros(0)).shape == (environment_state,)
    assert env.action_size == len(actions[0]) == action
    assert set(first[0]) <= {"state", "environment_state"}
    with drawing():
        assert env.frame().dtype == np.uint8
    env.close()


@pytest.mark.parametrize("name", [needs(name) for name in SHAPES])
def test_cameras_add_pictures_and_change_nothing_else(name):
    blind, seeing = make(name), make(name, cameras=True)
    without, _ = play(blind, 0, 3)
    with drawing():
        pictured, _ = play(seeing, 0, 3)
    assert same(without, pictured)
    (camera,) = set(pictured[0]) - set(without[0])
    assert camera.startswith("images.")
    assert pictured[0][camera].dtype == np.uint8
    assert pictured[0][camera].ndim == 3
    assert not np.array_equal(pictured[0][camera], pictured[-1][camera])
    seeing.close()


@pytest.mark.parametrize(
    ("name", "seeds"), [("two-routes", 20), ("fetch-reach", 3), ("fetch-pick-and-place", 3), ("aloha-transfer", 2)]
)
def test_the_expert_succeeds(name, seeds):
    pytest.importorskip("gymnasium_robotics" if name.startswith("fetch") else "numpy")
    assert strict_share(name, range(seeds)) == 1


def test_two_routes_takes_both_and_ends_at_the_obstacle():
    data = demonstrate("two-routes", 40)
    data.check()
    assert data.episodes == 40
    assert data.lengths.min() > 30
    assert data.lengths.max() <= 60
    above = [episode.observations["state"][:, 1].max() > 0.3 for episode in (data[i] for i in range(40))]
    assert 10 < sum(above) < 30
    env = TwoRoutes(above=1)
    play(env, 0)
    assert (env.route, env.success) == (1, True)
    env.reset(0)
    assert env.route == 0
    over = False
    while not over:  # straight on
        _, reward, over = env.step(np.array([1.0, 0.0]))
    assert (env.success, reward, env.steps < env.max_steps) == (False, 0, True)
    with pytest.raises(UserError, match="probability"):
        TwoRoutes(above=2)


def test_demonstrations_are_the_strict_successes():
    class Clumsy(TwoRoutes):
        """Stays where it is on two seeds of three."""

        def expert(self, seed):
            return super().expert(seed) if seed % 3 == 0 else lambda: np.zeros(2)

    with pytest.warns(Note, match="of 10 tries"):
        data = demonstrate(Clumsy(), 4, seed=0)
    assert data.episodes == 4
    shown = []
    demonstrate("two-routes", 3, track=lambda episodes: (shown.append(i) or i for i in episodes))
    assert shown == [0, 1, 2]
    Clumsy.expert = lambda self, seed: lambda: np.zeros(2)
    with pytest.raises(UserError, match="0 of 30 tries"):
        demonstrate(Clumsy(), 1)
    with pytest.raises(UserError, match="1 or more"):
        demonstrate("two-routes", 0)


def test_a_recording_replays_to_the_same_success():
    pytest.importorskip("gym_aloha")
    data = demonstrate("aloha-transfer", 1, seed=7)
    data.check()
    env = make("gym_aloha/AlohaTransferCube-v0")
    seen = [env.reset(7)] + [env.step(action)[0] for action in data.actions]
    assert np.array_equal([each["state"] for each in seen[:-1]], data.observations["state"])
    assert env.strict_success
    assert env.success


def test_holding_on_with_both_hands_is_no_strict_transfer():
    pytest.importorskip("gym_aloha")
    env = make("aloha-transfer")
    env.reset(0)
    expert = env.expert(0)
    while not env.success:
        assert not env.strict_success
        env.step(expert())
    assert not env.strict_success


def test_a_simulation_that_diverges_is_an_episode_that_failed():
    pytest.importorskip("gym_aloha")
    env, rng, over = make("aloha-insertion"), np.random.default_rng(0), False
    env.reset(0)
    while not over:
        _, _, over = env.step(rng.normal(0, 300, 14))
    assert env.steps < env.max_steps  # it did diverge
    assert not env.success
    assert not env.strict_success
    assert np.isfinite(env.reset(1)["state"]).all()
    env.close()


def test_a_machine_that_cannot_draw_is_told():
    pytest.importorskip("gymnasium_robotics")
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "from vaekit.robots.environments import make; make('fetch-reach', cameras=True).reset(0)",
        ],
        env={**os.environ, "MUJOCO_GL": "disabled"},
        capture_output=True,
        text=True,
    )
    assert "UserError: MuJoCo could not draw a picture" in run.stderr


def test_wrong_names_and_actions_are_told():
    with pytest.raises(UserError, match="did you mean 'fetch-push'"):
        make("fetch-pusch")
    env = make("two-routes")
    with pytest.raises(UserError, match="seed is -1"):
        env.reset(-1)
    env.reset(0)
    with pytest.raises(UserError, match=r"shape \(3,\): give 2 numbers \(vx, vy\)"):
        env.step(np.zeros(3))
    with pytest.raises(UserError, match="nan at vy"):
        env.step(np.array([0, np.nan]))


@pytest.mark.parametrize("name", [name for name in ENVIRONMENTS if name != "two-routes"])
def test_a_simulator_that_would_fail_is_told(monkeypatch, name):
    monkeypatch.setattr(metadata, "version", lambda package: "3.13.0" if package == "mujoco" else "1.0")
    for known in (name, ENVIRONMENTS[name].gym_id):
        with pytest.raises(UserError, match=r"3\.13\.0 is installed: pip install 'mujoco==3\.8\.1'"):
            make(known)

    def missing(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(MissingExtra, match=r"pip install 'vaekit\[robots\]'"):
        make(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [needs(name) for name in SHAPES])
def test_the_expert_succeeds_on_many_seeds(name):
    assert strict_share(name, range(100, 150)) >= 0.98
