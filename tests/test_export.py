"""A policy as an ONNX file: it must say what the policy says, and run where there is no PyTorch."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from vaekit import Policy
from vaekit.deploy.policy import Deployed, export_policy
from vaekit.errors import UserError
from vaekit.robots.environments import demonstrate, make
from vaekit.robots.onnx_policy import METADATA, OnnxPolicy
from vaekit.robots.rollout import load_policy, rollout

CHUNK, LATENT = 8, 3


@pytest.fixture(scope="module")
def demonstrations():
    torch.set_num_threads(1)
    found = demonstrate("two-routes", 12)
    rng = np.random.default_rng(0)  # a second observation, far from 0, in an order that is not the alphabet's
    found.observations["environment_state"] = rng.normal(100, 0.5, (len(found), 3)).astype(np.float32)
    return found


def fitted(demonstrations, **options):
    options = {"latent_dim": LATENT, "size": "small", "chunk_size": CHUNK, "epochs": 1, **options}
    return Policy(**options).fit(demonstrations)


@pytest.fixture(scope="module")
def mixture(demonstrations, tmp_path_factory):
    policy = fitted(demonstrations, execute=3)
    return policy, export_policy(policy, tmp_path_factory.mktemp("export") / "mixture.onnx")


def expected(policy, observations, noise):
    """What the policy says with z drawn from these numbers."""
    module = Deployed(policy)
    with torch.inference_mode():
        c = policy.model_.condition(policy.pack_observations(observations), len(noise))
        z, _ = module.choose(c, torch.from_numpy(noise), None, len(noise))
    return policy.predict(observations, z=z)


def some(demonstrations, rows):
    return {name: values[50 : 50 + rows] for name, values in demonstrations.observations.items()}


def agrees(policy, path, demonstrations):
    exported = OnnxPolicy(path)
    for rows in (1, 7):
        observations = some(demonstrations, rows)
        noise = np.random.default_rng(rows).standard_normal((rows, exported.about["noise"])).astype(np.float32)
        held = {"component": np.full(rows, -1)} if exported.about["component"] else {}
        found, *kept = exported.session.run(None, {**observations, "noise": noise, **held})
        if kept:  # and what was kept is kept
            held["component"] = kept[0]
            again, same = exported.session.run(None, {**observations, "noise": -noise, **held})
            assert (same == kept[0]).all()
            assert (again != found).any()
        assert found.shape == (rows, CHUNK, 2)
        assert np.allclose(found, expected(policy, observations, noise), atol=1e-5)
    return exported


def test_mixture(mixture, demonstrations):
    policy, path = mixture
    exported = agrees(policy, path, demonstrations)
    assert exported.about["noise"] == 1 + LATENT  # one for the component


@pytest.mark.parametrize("prior", ["standard", "conditional"])
def test_other_priors(demonstrations, tmp_path, prior):
    policy = fitted(demonstrations, prior=prior)
    agrees(policy, export_policy(policy, tmp_path / "policy.onnx"), demonstrations)


def test_at_temperature_0_a_normal_prior_gives_its_mean(demonstrations, tmp_path):
    policy = fitted(demonstrations, prior="conditional", temperature=0.0, execute=1)
    exported = OnnxPolicy(export_policy(policy, tmp_path / "policy.onnx"))
    policy.z = "mean"
    policy.reset()
    observation = {name: values[7] for name, values in demonstrations.observations.items()}
    assert np.allclose(exported.act(observation), policy.act(observation), atol=1e-5)


@pytest.mark.slow
def test_flow(demonstrations, tmp_path):
    policy = fitted(demonstrations, prior="flow")
    agrees(policy, export_policy(policy, tmp_path / "policy.onnx"), demonstrations)


@pytest.mark.parametrize("options", [{"z": "mean"}, {"latent_dim": 0, "prior": "standard"}], ids=["mean", "no-latent"])
def test_nothing_drawn(demonstrations, tmp_path, options):
    policy = fitted(demonstrations, **options)
    exported = OnnxPolicy(export_policy(policy, tmp_path / "policy.onnx"))
    assert "noise" not in [i.name for i in exported.session.get_inputs()]
    for _ in range(2):  # episodes
        policy.reset()
        exported.reset()
        for i in range(12):
            observation = {name: values[i] for name, values in demonstrations.observations.items()}
            assert np.allclose(exported.act(observation), policy.act(observation), atol=1e-5)


def test_given_z(mixture, demonstrations):
    policy, path = mixture
    exported = OnnxPolicy(path)
    for z in (np.zeros(LATENT), np.arange(LATENT)):
        policy.reset(z=z)
        exported.reset(z=z)
        for i in range(5):
            observation = {name: values[i] for name, values in demonstrations.observations.items()}
            assert policy.deciding == exported.deciding == (i % 3 == 0)
            assert np.allclose(exported.act(observation), policy.act(observation), atol=1e-5)
    with pytest.raises(UserError, match=r"z has the shape \(2,\): this policy's is \(3,\)"):
        exported.reset(z=[1, 2])


def test_rules_of_z(mixture, demonstrations, tmp_path):
    policy, path = mixture
    observation = {name: values[0] for name, values in demonstrations.observations.items()}

    def actions(exported, seed):
        exported.reset(seed)
        return np.stack([exported.act(observation) for _ in range(4)])

    episode = OnnxPolicy(path, execute=1)
    assert (actions(episode, 5) == actions(episode, 5)).all()
    assert (actions(episode, 5) != actions(episode, 6)).any()
    assert (actions(episode, 5)[0] == actions(episode, 5)).all()  # one z throughout
    assert (actions(episode, None) != actions(episode, None)).any()  # each episode has its own
    policy.z = "chunk"
    try:
        chunk = OnnxPolicy(export_policy(policy, tmp_path / "chunk.onnx"), execute=1)
    finally:
        policy.z = "episode"
    assert (actions(chunk, 5) == actions(chunk, 5)).all()
    assert (actions(chunk, 5)[0] != actions(chunk, 5)[1:]).any(axis=1).all()


def test_cameras(tmp_path):
    demonstrations = demonstrate("two-routes", 2, cameras=True)
    for name, pictures in demonstrations.observations.items():
        if name.startswith("images."):
            demonstrations.observations[name] = np.ascontiguousarray(pictures[:, :32, :32])
    policy = fitted(demonstrations, z="mean", epochs=1, batch_size=256)
    exported = OnnxPolicy(export_policy(policy, tmp_path / "policy.onnx"))
    assert exported.sees_cameras
    observation = {name: values[5] for name, values in demonstrations.observations.items()}
    policy.reset()
    assert np.allclose(exported.act(observation), policy.act(observation), atol=1e-5)
    camera = next(name for name in observation if name.startswith("images."))
    with pytest.raises(UserError, match=r"is float64 .*: give uint8 of shape \(32, 32, 3\)"):
        exported.act({**observation, camera: observation[camera] / 255})


def test_metadata(mixture):
    policy, path = mixture
    proto = onnx.load(path)
    (prop,) = proto.metadata_props
    about = json.loads(prop.value)
    assert prop.key == METADATA
    assert about["chunk_size"] == CHUNK
    assert about["execute"] == "3"
    assert about["z"] == "episode"
    assert about["fps"] == policy.kind_.fps
    assert about["action_names"] == ["vx", "vy"]
    assert about["observations"]["environment_state"] == {"dtype": "float32", "shape": [3]}
    assert about["seed"] == 0
    assert not any(node.metadata_props or node.doc_string for node in proto.graph.node)
    assert __file__.split("/tests/")[0].encode() not in path.read_bytes()  # no path of this machine


def test_no_torch_where_it_runs(mixture):
    _, path = mixture
    code = f"""
import sys
from vaekit.robots.onnx_policy import OnnxPolicy
policy = OnnxPolicy({str(path)!r})
print(policy.act({{"state": [0.0, 0.0], "environment_state": [100.0, 100.0, 100.0]}}).shape)
assert not {{"torch", "sklearn", "scipy"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(2,)\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": None}, "the observation has no 'state'.*known: environment_state"),
        ({"state": np.zeros(3)}, r"observation 'state' is float64 of shape \(3,\): give numbers of shape \(2,\)"),
        ({"state": np.array([0.0, np.nan])}, r"observation 'state' is not finite: \[0.0, nan\]"),
        ({"state": np.array(["a", "b"])}, "observation 'state' is .U1 of shape .*: give numbers"),
    ],
)
def test_a_policy_and_its_exported_form_refuse_the_same_observations(mixture, demonstrations, change, message):
    policy, path = mixture
    observation = {name: values[0] for name, values in demonstrations.observations.items()} | change
    for actor in (policy, OnnxPolicy(path)):
        actor.reset()
        with pytest.raises(UserError, match=message):
            actor.act({name: values for name, values in observation.items() if values is not None})


def test_many_observations_at_once(mixture, demonstrations):
    policy, path = mixture
    observations = some(demonstrations, 5)
    z = np.linspace(-1, 1, LATENT)
    exported = OnnxPolicy(path)
    np.testing.assert_allclose(exported.predict(observations, z=z), policy.predict(observations, z=z), atol=1e-5)
    with pytest.raises(UserError, match=r"z has the shape \(5, 3\): give one z for all observations, \(3,\)"):
        exported.predict(observations, z=[z] * 5)
    for actor in (policy, OnnxPolicy(path)):
        with pytest.raises(
            UserError, match="differ in their number of steps: 'state' has 5, 'environment_state' has 2"
        ):
            actor.predict({**observations, "environment_state": observations["environment_state"][:2]})


def test_wrong_files(mixture, tmp_path):
    policy, path = mixture
    with pytest.raises(UserError, match="does not exist: write it with `vaekit export RUN"):
        OnnxPolicy(tmp_path / "none.onnx")
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="not an ONNX file, or is damaged"):
        OnnxPolicy(tmp_path / "cut.onnx")
    proto = onnx.load(path)
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "foreign.onnx")
    with pytest.raises(UserError, match="is not a policy of vaekit"):
        OnnxPolicy(tmp_path / "foreign.onnx")
    onnx.helper.set_model_props(proto, {METADATA: json.dumps({"format": 99})})
    onnx.save(proto, tmp_path / "newer.onnx")
    with pytest.raises(UserError, match="has format 99"):
        OnnxPolicy(tmp_path / "newer.onnx")
    with pytest.raises(UserError, match=r"does not end in \.onnx"):
        export_policy(policy, tmp_path / "policy.pt")
    with pytest.raises(UserError, match="execute=20: cannot play 20 actions of a chunk of 8"):
        OnnxPolicy(path, execute=20)


def test_atomic(mixture, tmp_path, monkeypatch):
    """A file that failed its check does not take the place of one that passed."""
    policy, _ = mixture
    there = tmp_path / "policy.onnx"
    there.write_bytes(b"as it was")
    monkeypatch.setattr("vaekit.deploy.policy.TOLERANCE", -1.0)
    with pytest.raises(RuntimeError, match="nothing was written"):
        export_policy(policy, there)
    assert there.read_bytes() == b"as it was"
    assert list(tmp_path.iterdir()) == [there]


def test_rollout(demonstrations, tmp_path):
    seen = demonstrate("two-routes", 12)
    path = export_policy(fitted(seen), tmp_path / "policy.onnx")
    found = rollout(load_policy(path, execute="4"), make("two-routes"), episodes=2)
    assert found["episodes"] == 2
    with pytest.raises(UserError, match="the rule for z is fixed in"):
        load_policy(path, z="mean")


def test_a_policy_that_is_told_its_task(demonstrations, tmp_path):
    told = replace(demonstrations, tasks=np.array(["up", "down"], object)[np.arange(len(demonstrations)) % 2])
    policy = fitted(told, observations=["state", "task"], z="mean", prior="conditional", execute=2)
    exported = OnnxPolicy(export_policy(policy, tmp_path / "told.onnx"))
    for task in ("up", "down"):
        seen = {"state": demonstrations.observations["state"][7], "task": task}
        policy.reset()
        exported.reset()
        np.testing.assert_allclose(exported.act(seen), policy.act(seen), atol=1e-4)
    for actor in (policy, exported):
        actor.reset()
        with pytest.raises(UserError, match=r"no class 'upp'; did you mean 'up'\?"):
            actor.act({**seen, "task": "upp"})
        chunks = actor.predict({"state": np.zeros((2, 2)), "task": "up"})  # the same task at each step
        np.testing.assert_array_equal(chunks, actor.predict({"state": np.zeros((2, 2)), "task": ["up", "up"]}))
