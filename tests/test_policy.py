"""Policies: what is learned from demonstrations, how z is chosen and held, what is saved, and mistakes told in time."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file

import vaekit as vk
from conftest import kill, start, vaekit
from vaekit.conditions import scales
from vaekit.errors import Note, UserError
from vaekit.robots.actions import Actions
from vaekit.robots.datasets import write_demonstrations
from vaekit.robots.demonstrations import Demonstrations, split_episodes
from vaekit.robots.environments import demonstrate, make
from vaekit.robots.rollout import load_policy, rollout, wilson
from vaekit.training.data import View

TINY = dict(size="small", latent_dim=2, epochs=1)


@pytest.fixture(scope="module")
def demos():
    return demonstrate("two-routes", 12)


@pytest.fixture(scope="module")
def policy(demos):
    return vk.Policy(**TINY).fit(demos)


def made_up(episodes=12, length=20, actions=3, seed=0, **observations) -> Demonstrations:
    rng = np.random.default_rng(seed)
    frames = episodes * length
    seen = observations or {"state": rng.normal(size=(frames, 4))}
    return Demonstrations(rng.normal(size=(frames, actions)), seen, np.arange(1, episodes + 1) * length, 10.0)


# -- the data that is trained on -----------------------------------------------------------------------------------------


def test_a_chunk_is_what_follows_and_ends_with_its_episode():
    actions = np.arange(10.0)[:, None] * [1, 10]
    domain = Actions.infer(actions, chunk_size=4, fps=1)
    x, mask = domain.pack(actions, np.array([3, 10]))
    for frame in range(10):
        end = 3 if frame < 3 else 10
        left = min(4, end - frame)
        assert mask[frame].any(0).sum() == left == mask[frame].all(0).sum()
        back = domain.unpack(x[frame])
        np.testing.assert_allclose(back[:left], actions[frame : frame + left], rtol=1e-5, atol=1e-6)


def of_lengths(*lengths, fps=10.0) -> Demonstrations:
    rng = np.random.default_rng(1)
    actions, state = rng.normal(size=(2, sum(lengths), 2))
    return Demonstrations(actions, {"state": state}, np.cumsum(lengths), fps)


def test_a_short_episode_leaves_the_chunk_as_it_is():
    demos = of_lengths(*[25] * 5, 3)
    with pytest.warns(Note, match=r"a chunk of 20 actions is longer than 1 of 6 episodes: episode 5 \(3 frames\)"):
        policy = vk.Policy(**TINY).fit(demos)
    assert policy.kind_.chunk_size == 20  # two seconds
    assert "longer than 1 of 6 episodes" in policy.notes_[0]
    assert policy.evaluate(demos, k=2)["elbo"] < np.inf
    # What comes behind the short episode does not matter to it: another one, or nothing.
    drawn = []
    for order in ([5, 0, 1, 2, 3, 4], [5, 4, 3, 2, 1, 0], [5]):
        data = policy.data_of(demos[order])[:3]
        draw = policy.model_.draw(data.x, data.y, mask=data.mask, noise=lambda *shape: torch.ones(shape))
        drawn.append(torch.stack([draw.log_px[0], draw.kl]))
    torch.testing.assert_close(drawn[0], drawn[1])
    torch.testing.assert_close(drawn[0], drawn[2])


def test_a_chunk_may_be_longer_than_all_episodes():
    with pytest.warns(Note, match="has the 100 actions of a chunk: the policy never learns the actions after number 8"):
        policy = vk.Policy(**TINY, chunk_size=100, objective="act").fit(of_lengths(7, 8, 7))
    assert policy.act({"state": np.zeros(2)}).shape == (2,)
    assert vk.Policy(**TINY).fit(of_lengths(7, 8, 7)).kind_.chunk_size == 8


def test_a_joint_that_hardly_moved_does_not_explode():
    demos = made_up()
    demos.observations["state"][:, 2] = 1 + 1e-9 * np.random.default_rng(1).normal(size=len(demos))
    demos.actions[:, 1] = 0.5
    policy = vk.Policy(**TINY).fit(demos)
    moved = {"state": np.array([0, 0, 1.05, 0.0])}
    still = {"state": np.array([0, 0, 1.0, 0.0])}
    assert abs(policy.conditions_.pack({"state": moved["state"][None]}, 1)["state"]).max() < 10
    assert np.isfinite(policy.predict({"state": np.stack([moved["state"], still["state"]])})).all()
    np.testing.assert_allclose(policy.predict({"state": still["state"][None]})[0, :, 1], 0.5, atol=0.2)


def test_a_gripper_in_metres_beside_joints_in_degrees_keeps_its_own_scale():
    rng = np.random.default_rng(0)
    joints, gripper = 60 * rng.normal(size=(200, 2)), 0.08 * rng.integers(0, 2, (200, 1))
    steps, at_rest = 0.004 * rng.normal(size=(200, 1)), 45 + 1e-9 * rng.normal(size=(200, 1))
    values = np.hstack([joints, gripper, steps, at_rest])
    np.testing.assert_allclose(scales(values)[:4], values[:, :4].std(0))
    assert 0.1 < scales(values)[4] < 1  # a joint at 45 degrees that moves by one is not a million deviations away
    years = rng.integers(1990, 2021, (200, 1))  # far from 0, and yet no column at rest
    np.testing.assert_allclose(scales(years), years.std(0))
    assert scales(np.full((5, 2), 3.0)).tolist() == [1, 1]


def test_episodes_are_held_out_whole(demos):
    policy = vk.Policy(**TINY, validation=0.25).fit(demos)
    train, valid = policy._split(policy.data_of(demos))
    ends = demos.episode_ends
    episodes = [set(np.searchsorted(ends, rows.numpy(), side="right")) for rows in (train, valid)]
    assert not episodes[0] & episodes[1]
    assert len(episodes[1]) == 3
    assert len(train) + len(valid) == len(demos)
    assert episodes[1] == set(split_episodes(demos, 0.25, 0)[1])


def test_rows_to_learn_from_are_not_copied():
    pictures = np.random.default_rng(0).integers(0, 256, (6 * 8, 32, 32, 3), dtype=np.uint8)
    demos = made_up(6, 8, **{"images.top": pictures})
    policy = vk.Policy(**TINY, chunk_size=4, batch_size=48, validation=0).fit(demos)
    data, rows = policy.data_of(demos), torch.arange(0, 48, 3)
    seen = View(data, rows).to(torch.device("cpu"))
    assert seen.data.y["images.top"].data_ptr() == pictures.ctypes.data
    index = torch.tensor([5, 0, 15])
    for a, b in zip(vars(data[rows[index]]).values(), vars(seen[index]).values(), strict=True):
        torch.testing.assert_close(a, b)


# -- several tasks ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_tasks():
    """To the left or to the right, as the task says; what else is seen does not tell."""
    demos = made_up(24, 10, actions=1)
    demos.tasks = np.repeat([["go left"], ["go right"]] * 12, 10, axis=1).ravel().astype(object)
    demos.actions = np.where(demos.tasks == "go left", -1.0, 1.0)[:, None] + 0.01 * demos.actions
    return demos


@pytest.fixture(scope="module")
def told_policy(two_tasks):
    tiny = {"width": 16, "heads": 2, "hidden": 32, "layers": 1, "posterior_layers": 1}
    settings = dict(size=tiny, chunk_size=5, epochs=15, batch_size=60, learning_rate=0.01)
    return vk.Policy(0, observations=["state", "task"], **settings).fit(two_tasks)


def test_tasks_that_cannot_be_told_apart_are_noted(two_tasks, told_policy):
    with pytest.warns(
        Note, match="2 tasks, which the policy cannot tell apart: 'go left', 'go right'.*-c state -c task"
    ):
        vk.Policy(**TINY).fit(two_tasks)
    assert not any("tasks" in note for note in told_policy.notes_)
    two_tasks = replace(two_tasks, tasks=np.full(len(two_tasks), "go left", object))
    assert not any("tasks" in note for note in vk.Policy(**TINY).fit(two_tasks).notes_)


def test_a_policy_does_the_task_it_is_told(two_tasks, told_policy, tmp_path):
    state = np.zeros((2, 4))
    chunks = told_policy.predict({"state": state, "task": ["go left", "go right"]})
    assert (chunks[0] < -0.5).all()
    assert (chunks[1] > 0.5).all()
    again = vk.load(told_policy.save(tmp_path / "run"))
    again.reset()
    np.testing.assert_allclose(again.act({"state": state[0], "task": "go right"}), chunks[1, 0], atol=1e-5)
    assert again.evaluate(two_tasks[:3], k=2)["verdict"]
    for task, said in {
        "go up": "no class 'go up'",
        None: r"'task' has no class None \(known: go left, go right\)",
    }.items():
        with pytest.raises(UserError, match=said):
            again.predict({"state": state[:1], "task": [task]})
    with pytest.raises(UserError, match="the observation has no 'task'"):
        again.predict({"state": state})


def test_demonstrations_that_a_policy_cannot_be_judged_by(two_tasks, told_policy):
    for said, other in {
        "has no 'task', which the policy was trained to see": replace(two_tasks, tasks=None),
        "an action of demonstrations has 2 numbers, and the policy's has 1": replace(
            two_tasks, actions=np.zeros((len(two_tasks), 2))
        ),
    }.items():
        with pytest.raises(UserError, match=said):
            told_policy.evaluate(other, k=2)
    state = two_tasks.observations["state"][:3]
    np.testing.assert_array_equal(
        told_policy.predict({"state": state, "task": "go left"}),
        told_policy.predict({"state": state, "task": ["go left"] * 3}),
    )


def test_an_environment_says_the_task(demos):
    demos = replace(demos, tasks=np.array(["this way", "that way"], object)[np.arange(len(demos)) % 2])
    policy = vk.Policy(**TINY, observations=["state", "task"]).fit(demos)
    environment = make("two-routes")
    with pytest.raises(UserError, match="the observation has no 'task'"):
        rollout(policy, environment, 1)
    environment.extra = {"task": np.asarray("that way")}
    assert rollout(policy, environment, 1)["episodes"] == 1


# -- acting ----------------------------------------------------------------------------------------------------------------


def test_the_same_seed_is_the_same_episode(policy):
    results = [rollout(policy, make("two-routes"), 3, seed=5) for _ in range(2)]
    assert results[0]["episodes_strict"] == results[1]["episodes_strict"]
    assert results[0]["return_mean"] == results[1]["return_mean"]
    assert results[0]["routes"] == results[1]["routes"]


def test_z_is_held_drawn_anew_or_the_mean(demos):
    policy = vk.Policy(**TINY, execute=1, prior="standard").fit(demos)
    seen = {"state": demos.observations["state"][0]}
    drawn = {}
    for rule in ("episode", "chunk", "mean"):
        policy.z = rule
        policy.reset(seed=3)
        drawn[rule] = np.stack([policy.act(seen) for _ in range(3)])
    assert (drawn["episode"] == drawn["episode"][0]).all()
    assert len(np.unique(drawn["chunk"], axis=0)) == 3
    np.testing.assert_array_equal(drawn["chunk"][0], drawn["episode"][0])
    policy.reset(z=np.zeros(2))
    np.testing.assert_array_equal(policy.act(seen), drawn["mean"][0])
    policy.reset(z=[0.0, 3.0])
    assert (policy.act(seen) != drawn["mean"][0]).any()
    with pytest.raises(UserError, match=r"z has the shape \(3,\): this policy's is \(2,\)"):
        policy.reset(z=np.zeros(3))


def test_a_fixed_z_is_that_of_every_episode(demos):
    policy = vk.Policy(**TINY, execute=1, prior="standard").fit(demos)
    seen = {"state": demos.observations["state"][0]}
    policy.reset(z=[0.5, -2.0])
    one = policy.act(seen)
    policy.fixed_z = np.array([0.5, -2.0])
    for seed in (1, 2):
        policy.reset(seed)
        np.testing.assert_array_equal(policy.act(seen), one)
    policy.reset(1, z=np.zeros(2))
    assert (policy.act(seen) != one).any()


def test_a_rollout_of_an_elite(policy, tmp_path):
    """It acts with the z of the elite whose measures are nearest to those that are asked for."""
    from vaekit.evolution.archive import Archive

    archive = Archive(
        fitted=policy.fitted_,
        x=torch.zeros(2, *policy.kind_.event_shape),
        z=np.array([[0.0, 0.0], [3.0, -3.0]]),
        y={},
        objective=np.array([1.0, 2.0]),
        measures=np.array([[0.1, 0.9], [0.8, 0.4]]),
        p_value=np.full(2, np.nan),
        nearest=np.full(2, np.nan),
        emitter=np.array(["start", "latent"]),
        evaluation=np.arange(2),
        cell=np.array([1, 2]),
        cells=(2, 2),
        ranges=np.array([[0.0, 1.0], [0.0, 1.0]]),
        names=["height", "bend"],
        title="return",
    )
    archive.write(tmp_path / "evolved")
    policy.save(tmp_path / "run")
    line = ["rollout", "run", "--env", "two-routes", "--episodes", 1, "--archive", "evolved"]
    done = vaekit(*line, "--at", "0.7,0.5", "--json", cwd=tmp_path, check=0)
    assert "elite at height 0.8, bend 0.4: return 2" in done.stderr
    own = load_policy(tmp_path / "run")
    own.fixed_z = archive.z[1]
    assert json.loads(done.stdout)["return_mean"] == rollout(own, make("two-routes"), 1)["return_mean"]
    for at, told in {"0.7": "2 numbers (height, bend)", "0.7,high": "a number for each measure (height, bend)"}.items():
        assert told in vaekit(*line, "--at", at, cwd=tmp_path, check=2).stderr
    for wrong in ([], ["--at", "0.7,0.5", "--z", "mean"]):
        assert "--archive and --at go together" in vaekit(*line, *wrong, cwd=tmp_path, check=2).stderr


def test_ways_to_act_are_searched(policy, demos):
    """For one observation: each elite is the chunk that its z stands for there."""
    seen = {name: values[0] for name, values in demos.observations.items()}
    archive = vk.evolve(
        policy, lambda chunks: -np.abs(chunks).mean((1, 2)), lambda chunks: chunks[:, -1, :1],
        cells=(5,), budget=40, batch_size=20, condition=seen,
    )  # fmt: skip
    np.testing.assert_allclose(archive.objective, -np.abs(archive.rows).mean((1, 2)), rtol=1e-5)
    again = policy.fitted_.decode(archive.z, {name: np.repeat(v[None], len(archive), 0) for name, v in seen.items()})
    np.testing.assert_allclose(archive.rows, again, atol=1e-5)
    with pytest.raises(UserError, match=r"acts on what it sees: give .*state as the condition"):
        vk.evolve(policy, measures="pca:2", budget=40, batch_size=20)
    with pytest.raises(UserError, match="use space='latent'"):
        vk.evolve(policy, measures="pca:2", budget=40, batch_size=20, condition=seen, space="mixed")


def test_a_chunk_is_played_as_it_was_decided(demos):
    policy = vk.Policy(**TINY, execute=4, z="mean").fit(demos)
    states = demos.observations["state"]
    policy.reset()
    played = [(policy.deciding, policy.act({"state": state})) for state in states[:8]]
    assert [deciding for deciding, _ in played] == [True, False, False, False] * 2
    chunks = policy.predict({"state": states[[0, 4]]})
    np.testing.assert_allclose(np.stack([a for _, a in played]), chunks[:, :4].reshape(8, 2), atol=1e-6)


def test_without_a_latent_it_is_behaviour_cloning(demos):
    policy = vk.Policy(**{**TINY, "latent_dim": 0}).fit(demos)
    assert policy.history_[-1]["kl"] == 0
    seen = {"state": demos.observations["state"][:2]}
    np.testing.assert_array_equal(policy.predict(seen, noise_seed=(1,)), policy.predict(seen, noise_seed=(2,)))


@pytest.mark.parametrize(
    "names", [["state"], ["environment_state"], ["images.top"], ["images.top", "images.wrist", "state"]]
)
def test_any_subset_of_observations(names):
    rng = np.random.default_rng(0)
    frames = 6 * 8
    there = {
        "state": rng.normal(size=(frames, 4)),
        "environment_state": rng.normal(size=(frames, 3)),
        "images.top": rng.integers(0, 256, (frames, 32, 40, 3), dtype=np.uint8),
        "images.wrist": rng.integers(0, 256, (frames, 33, 32, 3), dtype=np.uint8),
    }
    demos = made_up(6, 8, **there)
    policy = vk.Policy(**TINY, observations=names, chunk_size=4, batch_size=16, validation=0).fit(demos)
    chunk = policy.predict({name: there[name][:3] for name in there})
    assert chunk.shape == (3, 4, 3)
    assert policy.sees_cameras == any(name.startswith("images") for name in names)


@pytest.mark.parametrize("prior", ["standard", "conditional", "mixture", "flow"])
@pytest.mark.parametrize("z", ["episode", "mean"])
def test_saved_and_loaded_it_acts_alike(demos, prior, z, tmp_path):
    policy = vk.Policy(**TINY, prior=prior, z=z, execute=3).fit(demos)
    again = vk.load(policy.save(tmp_path / "run"))
    assert (again.z, again.execute, again.get_params()) == (z, 3, policy.get_params())
    for each in (policy, again):
        each.reset(seed=1)
    for state in demos.observations["state"][:5]:
        np.testing.assert_array_equal(policy.act({"state": state}), again.act({"state": state}))


def test_the_mean_of_a_flow_is_where_its_base_s_mean_goes(demos):
    policy = vk.Policy(**TINY, prior="flow", z="mean").fit(demos)
    seen = {"state": demos.observations["state"][:2]}
    mean = policy.predict(seen)
    policy.z, policy.temperature = "chunk", 0.0  # no spread is left
    np.testing.assert_allclose(policy.predict(seen), mean, atol=1e-5)


def test_wilson():
    """Against values from Newcombe (1998), Statistics in Medicine 17, table I, method 3."""
    for successes, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        np.testing.assert_allclose(wilson(successes, n), (low, high), atol=5e-5)


# -- from the command line ---------------------------------------------------------------------------------------------------


def test_killed_and_resumed_it_ends_with_the_same_weights(demos, tmp_path):
    write_demonstrations(demos, tmp_path / "data")
    common = ["fit", "data", "--kind", "actions", "--size", "small", "--latent-dim", 2, "--epochs", 4, "--no-report"]
    vaekit(*common, "--out", "whole", cwd=tmp_path, check=0)
    (tmp_path / "fast.yaml").write_text("trainer: {checkpoint_seconds: 0.05}\n")
    process = start(*common, "--out", "cut", "--config", "fast.yaml", cwd=tmp_path)
    while not (tmp_path / "cut" / "checkpoint.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.3)
    kill(process)
    vaekit("fit", "--resume", "--out", "cut", "--no-report", cwd=tmp_path, check=0)
    whole, cut = (load_file(tmp_path / run / "model.safetensors") for run in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], cut[name], err_msg=name)


def test_from_demonstrations_to_a_video(tmp_path):
    vaekit("demonstrate", "two-routes", "--episodes", 12, "-o", "data", cwd=tmp_path, check=0)
    again = vaekit(
        "demonstrate", "aloha-transfer", "-o", "data", cwd=tmp_path, check=2
    )  # told before anything is shown
    assert "exists already" in again.stderr
    vaekit("fit", "data", "--kind", "actions", "--size", "small", "--epochs", 1, "--out", "run", "--no-report", cwd=tmp_path, check=0)  # fmt: skip
    done = vaekit("rollout", "run", "--env", "two-routes", "--episodes", 2, "--execute", 5, "--video", "films", cwd=tmp_path, check=0)  # fmt: skip
    assert "success (strict)" in done.stdout
    assert "a decision" in done.stdout
    import av

    with av.open(str(tmp_path / "films" / "two-routes-1001.mp4")) as film:
        frames = sum(1 for _ in film.decode(video=0))
    assert 2 < frames <= 81
    vaekit("export", "run", "-o", "policy.onnx", cwd=tmp_path, check=0)
    done = vaekit("rollout", "policy.onnx", "--env", "two-routes", "--episodes", 1, cwd=tmp_path, check=0)
    assert "two-routes: 1 episode" in done.stdout
    assert "Policy of" in vaekit("info", "run", cwd=tmp_path, check=0).stdout
    for verb in (["sample", "run"], ["score", "run", "data"], ["encode", "run", "data"]):
        assert "is a policy" in vaekit(*verb, cwd=tmp_path, check=2).stderr


def test_what_it_sees_is_chosen_by_condition(tmp_path):
    write_demonstrations(made_up(state=np.zeros((240, 2)), environment_state=np.ones((240, 3))), tmp_path / "data")
    common = ["fit", "data", "--size", "small", "--epochs", 1, "--no-report"]
    vaekit(*common, "--kind", "actions", "-c", "environment_state", "--out", "run", cwd=tmp_path, check=0)
    assert list(vk.load(tmp_path / "run").conditions_.named) == ["environment_state"]
    assert "add --kind actions" in vaekit(*common, cwd=tmp_path, check=2).stderr


def test_its_settings_are_printed_and_changed_one_by_one(tmp_path):
    printed = vaekit(
        "fit", "data", "--kind", "actions", "--prior.components", 4, "--print-config", cwd=tmp_path, check=0
    )
    assert yaml.safe_load(printed.stdout)["prior"] == {"name": "mixture", "components": 4}
    (tmp_path / "settings.yaml").write_text(printed.stdout)
    again = vaekit("fit", "--config", "settings.yaml", "--print-config", cwd=tmp_path, check=0)
    assert again.stdout == printed.stdout
    assert vk.Policy(**TINY).fit(made_up()).model_.prior_head.prior.components == 8


def test_the_published_settings_are_named(demos):
    settings = vk.preset("act")
    assert settings["objective"] == {"name": "act", "kl_weight": 10}
    policy = vk.Policy(**{**settings, **TINY, "chunk_size": 10}).fit(demos)
    seen = {"state": demos.observations["state"][:1]}
    assert (policy.predict(seen) == policy.predict(seen, z=np.zeros(2))).all()
    with pytest.raises(UserError, match=r"no preset 'atc'; did you mean 'act'\?"):
        vk.preset("atc")


# -- mistakes ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"chunk_size": 0}, "chunk_size=0 has to be a whole number from 1"),
        ({"observations": ["stat"]}, r"no observation 'stat'; did you mean 'state'\?"),
        ({"observations": []}, "observations is empty"),
        ({"execute": 40}, "cannot play 40 actions of a chunk of 20"),
        ({"execute": "ensembel"}, "unknown execution 'ensembel'"),
        ({"z": "held"}, r"z='held' is not one of the choices"),
        ({"prior": "vamp"}, r"prior='vamp' is not one of the choices"),
        ({"size": "huge"}, r"size='huge' is not one of the choices"),
        ({"latent_dim": -1}, "latent_dim=-1 has to be a whole number from 0"),
        ({"backbone": {"name": "resnet18", "weights": "nowhere.pth"}, "observations": ["state"]}, "backbone"),
    ],
)
def test_a_wrong_setting_is_told_before_training(settings, said):
    with pytest.raises(UserError, match=said):
        vk.Policy(**{**TINY, **settings}).fit(made_up())


def test_an_observation_it_was_not_trained_for(policy):
    for seen, said in [
        ({"environment_state": np.zeros(2)}, "the observation has no 'state', which the policy was trained to see"),
        ({"state": np.zeros(3)}, r"'state' is float64 of shape \(3,\): give numbers of shape \(2,\)"),
        ({"state": np.array([0, np.nan])}, "observation 'state' is not finite"),
        ({"state": np.array([0, np.inf])}, r"observation 'state' is not finite: \[0.0, inf\]"),
    ]:
        policy.reset()
        with pytest.raises(UserError, match=said):
            policy.act(seen)


def test_an_unfitted_policy_says_so():
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        vk.Policy().act({"state": np.zeros(2)})


@pytest.mark.parametrize("run_of", ["VAE", "nothing"])
def test_a_rollout_needs_a_policy(run_of, tmp_path):
    if run_of == "VAE":
        vk.VAE(2, size="small", epochs=1).fit(np.random.default_rng(0).normal(size=(50, 3))).save(tmp_path / "run")
    said = vaekit("rollout", "run", "--env", "two-routes", cwd=tmp_path, check=2).stderr
    assert ("not a policy but a VAE" if run_of == "VAE" else "it does not exist") in said


def test_latents_of_demonstrations_have_a_verdict(policy, demos):
    found = policy.evaluate(demos, k=5)
    assert {"elbo", "kl", "active_units", "verdict"} <= found.keys()
    assert found["elbo"] == pytest.approx(-found["reconstruction"] - found["kl"], abs=1e-3)
    torch.testing.assert_close(policy.evaluate(demos, k=5)["elbo"], found["elbo"])


def test_lists_are_demonstrations_and_arrays_alone_are_not(tmp_path):
    made = made_up()
    observations = {name: values.tolist() for name, values in made.observations.items()}
    listed = Demonstrations(made.actions.tolist(), observations, made.episode_ends.tolist())
    found = [
        vk.Policy(**TINY, chunk_size=5, random_state=0).fit(each).predict(made.observations) for each in (made, listed)
    ]
    np.testing.assert_array_equal(*found)
    for wrong in (made.actions, {"actions": made.actions}, "a.npz"):
        with pytest.raises(UserError, match="give Demonstrations"):
            vk.Policy(**TINY).fit(wrong)
    with pytest.raises(UserError, match="hf download some/policy --local-dir policy"):
        vk.load_published("some/policy")
