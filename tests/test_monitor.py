"""Monitors: the rate of false alarms that was asked for, by episode; what is far out is told; kept without pickle."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaekit.errors import UserError
from vaekit.robots.demonstrations import Demonstrations
from vaekit.robots.environments import demonstrate, make
from vaekit.robots.monitor import (
    Monitor,
    Monitored,
    ObservationModel,
    alarm_lines,
    alarms,
    features,
    observations_of,
    record,
)
from vaekit.robots.policy import Policy
from vaekit.robots.rollout import rollout
from vaekit.uses.calibration import keep


class Given:
    """A detector whose scores are what is seen."""

    window = 1

    def scores(self, observations):
        return observations["state"][:, 0]


def episode(*scores):
    return {"state": np.array(scores, dtype=float)[:, None]}


def calibrated(highest, alpha, detector=None):
    return Monitor(None, detector or Given(), alpha).calibrate(episode(h) for h in highest)


@pytest.fixture(scope="module")
def demonstrations():
    return demonstrate("two-routes", 40, 0)


@pytest.fixture(scope="module")
def policy(demonstrations):
    return Policy(2, size="small", chunk_size=8, epochs=2).fit(demonstrations[:8])


@pytest.fixture(scope="module")
def monitor(policy, demonstrations):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObservationModel, "settings", {**ObservationModel.settings, "epochs": 60})
        return Monitor.fit(policy, demonstrations, alpha=0.1)


@pytest.fixture(scope="module")
def disagreement(policy, demonstrations):
    return Monitor.fit(policy, demonstrations[:19], "disagreement")


# -- calibration -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "alpha"), [(19, 0.05), (25, 0.1), (60, 0.1), (99, 0.3)])
def test_the_rate_of_false_alarms_is_that_of_exchangeable_episodes(n, alpha):
    """Over draws of the calibration, exactly floor(alpha (n + 1)) / (n + 1): the rank of a new score is uniform."""
    rng = np.random.default_rng(0)
    draws = 4000
    monitor, false = Monitor(None, Given(), alpha), 0
    for _ in range(draws):
        monitor.calibration = np.sort(rng.normal(size=n))
        false += rng.normal() > monitor.threshold
    expected = math.floor(alpha * (n + 1) + 1e-9) / (n + 1)
    assert expected <= alpha
    assert false / draws == pytest.approx(expected, abs=4 * math.sqrt(alpha / draws))


@given(
    highest=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=80),
    alpha=st.floats(0.01, 0.99),
    score=st.floats(-1e6, 1e6),
)
def test_the_alarm_is_where_the_p_value_is_at_most_alpha(highest, alpha, score):
    if len(highest) < math.ceil(1 / alpha - 1e-9) - 1:
        with pytest.raises(UserError, match="is calibrated on"):
            calibrated(highest, alpha)
        return
    monitor = calibrated(highest, alpha)
    n = len(highest)
    rank = math.ceil((n + 1) * (1 - alpha) - 1e-9)
    assert monitor.threshold == sorted(highest)[rank - 1]
    p = monitor.p_values(np.array([score]))[0]
    assert p == (1 + sum(h >= score for h in highest)) / (n + 1)
    assert (score > monitor.threshold) == (p <= alpha + 1e-9)


def test_an_episode_counts_once_however_long_it_is():
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 200, 400)
    episodes = [episode(*rng.normal(size=length)) for length in lengths]
    monitor = Monitor(None, Given(), 0.1).calibrate(episodes[:200])
    assert len(monitor.calibration) == 200
    raised = [(monitor.scores(e) > monitor.threshold).any() for e in episodes[200:]]
    by_frame = np.quantile(np.concatenate([e["state"] for e in episodes[:200]]), 0.9)
    assert np.mean(raised) < 0.17
    assert np.mean([(e["state"] > by_frame).any() for e in episodes[200:]]) > 0.9  # what frames would have led to


def test_scores_are_means_over_a_window_or_sums():
    detector = Given()
    monitor = Monitor(None, detector)
    detector.window = 2
    assert monitor.scores(episode(1, 3, 5)).tolist() == [1, 2, 4]
    detector.window = None
    assert monitor.scores(episode(1, 3, 5)).tolist() == [1, 4, 9]
    monitor.calibration = np.arange(19.0)
    odd = monitor.scores(episode(1, math.nan))  # a score that is not a number is as odd as can be
    assert monitor.p_values(odd).tolist() == [19 / 20, 1 / 20]


def test_too_few_episodes(policy, demonstrations):
    with pytest.raises(
        UserError, match=r"calibrated on 19 episodes or more.* there are 18: give more, or an alpha of 0.053"
    ):
        calibrated(range(18), 0.05)
    calibrated(range(19), 0.05)
    calibrated(range(18), 0.053)
    with pytest.raises(UserError, match=r"calibrated on 99 episodes or more.* there are 20"):  # half of 40
        Monitor.fit(policy, demonstrations, alpha=0.01)
    with pytest.raises(UserError, match="there are 0"):
        calibrated([], 0.5)
    for alpha in (0, 1, -1, math.nan):
        with pytest.raises(UserError, match="above 0 and below 1"):
            Monitor(policy, Given(), alpha)


def test_unknown_kinds_and_a_monitor_that_is_not_calibrated(policy, demonstrations):
    with pytest.raises(UserError, match="'observations' is not a kind of monitor"):
        Monitor.fit(policy, demonstrations, "observations")
    with pytest.raises(UserError, match="not been calibrated"):
        Monitor(policy, Given()).step({"state": np.zeros(2)})


# -- detectors ---------------------------------------------------------------------------------------------------------


def test_what_is_far_out_raises_the_alarm_and_what_is_usual_mostly_does_not(monitor):
    new = observations_of(demonstrate("two-routes", 40, 500))
    false = np.mean([(monitor.scores(e) > monitor.threshold).any() for e in new])
    assert false <= 0.35  # alpha is 0.1; 20 episodes to calibrate on, 40 to try
    monitor.reset()
    for values in new[0]["state"][:10]:
        monitor.step({"state": values})
    found = monitor.step({"state": np.array([0.9, -3.0])})
    assert found["alarm"]
    assert found["p_value"] == 1 / 21
    assert monitor.step({"state": np.array([1e9, 1e9])})["alarm"]


def test_step_by_step_is_as_all_at_once(monitor, disagreement, demonstrations):
    seen = observations_of(demonstrations)[3]
    for each in (monitor, disagreement):
        for _ in range(2):  # reset forgets
            each.reset()
            steps = [each.step({"state": row})["score"] for row in seen["state"][:12]]
            np.testing.assert_allclose(steps, each.scores({"state": seen["state"][:12]}), rtol=1e-3, atol=1e-4)


def test_disagreement_is_the_distance_of_overlapping_chunks(policy, disagreement, demonstrations):
    """Of a policy without a choice: z = 0 everywhere gives one chunk a step."""
    still = Policy(0, size="small", chunk_size=8, epochs=1).fit(demonstrations[:4])
    seen = observations_of(demonstrations)[0]
    chunks = (still.predict(seen) - still.kind_.mean) / still.kind_.scale
    expected = np.sqrt(np.square(chunks[1:, :-1] - chunks[:-1, 1:]).mean((1, 2)))
    found = type(disagreement.detector)(still).scores(seen)
    np.testing.assert_allclose(found, [0, *expected], rtol=1e-3, atol=1e-5)


def test_a_chunk_of_one_action_never_disagrees(demonstrations, disagreement):
    single = Policy(2, size="small", chunk_size=1, epochs=1).fit(demonstrations[:4])
    assert (type(disagreement.detector)(single).scores(observations_of(demonstrations)[0]) == 0).all()


def test_features_are_what_is_seen_and_its_change(policy, demonstrations):
    seen = observations_of(demonstrations)[0]
    found = features(policy, seen)
    np.testing.assert_allclose(found[:, :2], policy.conditions_.pack(seen, len(found))["state"].numpy(), rtol=1e-6)
    assert (found[0, 2:] == 0).all()
    np.testing.assert_allclose(found[1:, 2:], np.diff(found[:, :2], axis=0))


def test_cameras_count_by_their_tokens(demonstrations):
    rng = np.random.default_rng(0)
    few = Demonstrations(
        rng.normal(size=(12, 2)),
        {"images.top": rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)},
        np.array([4, 8, 12]),
    )
    policy = Policy(2, size="small", chunk_size=2, epochs=1).fit(few)
    assert features(policy, few.observations).shape == (12, 2 * 64)


def test_what_is_missing_or_broken_is_told(monitor):
    monitor.reset()
    with pytest.raises(UserError, match="has no 'state'"):
        monitor.step({})
    with pytest.raises(UserError, match="not finite"):
        monitor.step({"state": np.array([np.nan, 0])})


# -- in place of a policy ----------------------------------------------------------------------------------------------


def test_in_a_rollout(policy, disagreement):
    env = make("two-routes")
    monitored = Monitored(policy, disagreement)
    found = rollout(monitored, env, 3, 50)
    assert len(monitored.episodes) == 3
    assert np.mean([e["steps"] for e in monitored.episodes]) == pytest.approx(found["steps_mean"])
    assert found["episodes_strict"] == rollout(policy, env, 3, 50)["episodes_strict"]  # it only watches
    assert "of the episodes" in alarm_lines(alarms(monitored.episodes))[0]


def test_alarms_of_episodes():
    steps = [(10, 2, 0.01), (10, 6, 0.01), (20, None, 0.5), (20, None, 1.0)]
    found = alarms([{"steps": n, "alarm": a, "p_value": p} for n, a, p in steps])
    assert (found["episodes"], found["alarms"], found["alarm_step"], found["steps_left"]) == (4, 0.5, 4, 6)
    none = alarms([{"steps": 5, "alarm": None, "p_value": 1.0}])
    assert none["alarm_step"] is None
    assert alarm_lines(none)[0].endswith("of the episodes")


def test_recorded_rollouts_calibrate(policy, monitor):
    class Expert:
        """The environment's own, which always succeeds."""

        deciding = True

        def __init__(self, env):
            self.env = env

        def reset(self, seed=None):
            self.expert = self.env.expert(seed)

        def act(self, observation):
            return self.expert()

    env = make("two-routes")
    episodes = record(Expert(env), env, 9, 900)
    assert len(episodes) == 9
    again = Monitor(policy, monitor.detector, 0.1).calibrate(episodes)
    assert again.threshold == max(again.scores(e).max() for e in episodes)

    class Still(Expert):
        def act(self, observation):
            return np.zeros(2)

    assert record(Still(env), env, 2, 0) == []
    assert [len(e["state"]) for e in record(Still(env), env, 2, 0, successes=False)] == [80, 80]


# -- kept --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["observation", "disagreement"])
def test_saved_and_loaded_it_is_the_same(kind, monitor, disagreement, policy, demonstrations, tmp_path):
    kept = {"observation": monitor, "disagreement": disagreement}[kind]
    back = Monitor.load(kept.save(tmp_path / "monitor"), policy)
    seen = observations_of(demonstrations)[0]
    assert (back.alpha, back.threshold) == (kept.alpha, kept.threshold)
    assert (back.calibration == kept.calibration).all()
    np.testing.assert_array_equal(back.scores(seen), kept.scores(seen))
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".pt", ".pkl", ".pickle")]


def test_a_monitor_of_another_policy_or_none_at_all(disagreement, policy, demonstrations, tmp_path):
    folder = disagreement.save(tmp_path)
    other = Policy(2, size="small", chunk_size=8, epochs=1, random_state=5).fit(demonstrations[:4])
    with pytest.raises(UserError, match="another model"):
        Monitor.load(folder, other)
    with pytest.raises(UserError, match="does not exist"):
        Monitor.load(tmp_path / "nowhere", policy)
    path, highest = folder / "monitor.safetensors", {"highest": np.zeros(9)}
    for arrays, about in (
        ({}, {"detector": "disagreement", "alpha": 0.1}),
        (highest, {"detector": "magic", "alpha": 0.1}),
        (highest, {"detector": "disagreement"}),
        (highest, {"detector": "disagreement", "alpha": "0.1"}),
        (highest, {"detector": "observation", "alpha": 0.1}),
    ):
        keep(path, [policy.fitted_], arrays, **about)
        with pytest.raises(UserError, match="lacks what is needed"):
            Monitor.load(folder, policy)
    path.write_bytes(b"{}")
    with pytest.raises(UserError, match="damaged or not a safetensors file"):
        Monitor.load(folder, policy)
