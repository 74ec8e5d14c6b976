"""Training goes on from a fitted model: with its weights, its scaling and its classes, in Python and by `--init`."""

import numpy as np
import pytest
import torch
import yaml

import vaekit as vk
from conftest import TINY
from vaekit.errors import UserError
from vaekit.recipes.recipe import Recipe
from vaekit.robots.demonstrations import Demonstrations
from vaekit.runs.directory import read_config

STILL = dict(warm_start=True, learning_rate=1e-12)  # a step that moves nothing: what is left is where training starts


def rows(seed, scale=1.0):
    return scale * np.random.default_rng(seed).normal(size=(64, 3))


def texts(seed):
    return [" ".join(np.random.default_rng(seed + i).choice(["one", "two", "three"], 4)) for i in range(64)]


def walk(seed, scale=1.0):
    return scale * np.random.default_rng(seed).normal(size=(60, 2)).cumsum(0)


@pytest.mark.parametrize(
    ("estimator", "data", "other"),
    [
        (vk.VAE(**TINY), rows(0), rows(1, 5.0)),
        (vk.VAE(**TINY), texts(0), texts(100)),
        (vk.VAE(**TINY, prior="vamp"), rows(0), rows(1, 5.0)),
        (vk.SeriesVAE(**TINY, window=8), walk(0), walk(1, 5.0)),
    ],
    ids=["rows", "texts", "learned inputs", "series"],
)
def test_training_starts_where_the_model_stands(estimator, data, other):
    estimator.fit(data)
    before, scaling = estimator.transform(data), estimator.kind_
    estimator.set_params(**STILL).fit(other)
    assert estimator.kind_ is scaling
    np.testing.assert_allclose(estimator.transform(data), before, atol=1e-4)
    estimator.set_params(warm_start=False).fit(other)
    assert not np.allclose(estimator.transform(data), before, atol=1e-2)


def test_a_label_that_the_model_does_not_know_is_refused():
    model = vk.CVAE(**TINY).fit(rows(0), np.repeat(["a", "b"], 32)).set_params(**STILL)
    model.fit(rows(1), np.repeat("b", 64))
    assert model.conditions_.named["y"].classes == ["a", "b"]
    codes = model.transform(rows(1), np.repeat("a", 64))
    with pytest.raises(UserError, match="has no class 'c'"):
        model.fit(rows(1), np.repeat("c", 64))
    np.testing.assert_array_equal(model.transform(rows(1), np.repeat("a", 64)), codes)  # nothing is lost by the mistake


def test_another_size_is_refused():
    model = vk.VAE(**TINY).fit(rows(0))
    with pytest.raises(UserError, match="describe another model than the one to continue from"):
        model.set_params(warm_start=True, latent_dim=3).fit(rows(0))


def demonstrations(seed):
    rng = np.random.default_rng(seed)
    return Demonstrations(rng.normal(size=(60, 2)), {"state": rng.normal(size=(60, 3))}, np.array([20, 40, 60]), 10.0)


def test_a_policy_goes_on():
    policy = vk.Policy(size="small", latent_dim=2, epochs=1, chunk_size=4).fit(demonstrations(0))
    queries = policy.model_.decoder.queries.detach().clone()
    policy.set_params(warm_start=True, learning_rate=1e-5).fit(demonstrations(1))
    moved = (policy.model_.decoder.queries - queries).abs().max()
    assert 0 < moved < 1e-3


def test_a_policy_of_resized_pictures_takes_the_robots_own():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (20, 16, 24, 3), np.uint8)
    demos = Demonstrations(rng.normal(size=(20, 2)), {"images.top": frames}, np.array([10, 20]), 10.0)
    policy = vk.Policy(size="small", latent_dim=0, epochs=1, chunk_size=2)
    policy.fit_data(demos, origin={"resize": [24, 16]})
    large = np.repeat(np.repeat(frames[:1], 4, axis=1), 4, axis=2)  # Lanczos of such blocks gives them back, nearly
    np.testing.assert_allclose(
        policy.predict({"images.top": large}), policy.predict({"images.top": frames[:1]}), atol=0.2
    )


def test_init_trains_a_run_further(tmp_path):
    np.save(tmp_path / "a.npy", rows(0))
    np.save(tmp_path / "b.npy", rows(1, 5.0))
    first = Recipe(source=str(tmp_path / "a.npy"), settings=dict(TINY))
    _, start = first.train(tmp_path / "run", say=lambda _: None)
    further = Recipe.going_on(str(tmp_path / "run"))
    further.source, further.settings["learning_rate"] = str(tmp_path / "b.npy"), 1e-12
    _, model = further.train(tmp_path / "further", say=lambda _: None)
    np.testing.assert_allclose(model.transform(rows(0)), start.transform(rows(0)), atol=1e-4)
    config = read_config(tmp_path / "further")
    assert config["data"]["init"] == str(tmp_path / "run")
    again = Recipe.read(tmp_path / "further" / "config.yaml")  # as `--resume` does
    _, resumed = again.train(tmp_path / "further", resume=True, say=lambda _: None)
    weights = (m.model_.state_dict() for m in (model, resumed))
    assert all(torch.equal(a, b) for a, b in zip(*(w.values() for w in weights), strict=True))
    assert yaml.safe_load(further.to_yaml())["latent_dim"] == 2
