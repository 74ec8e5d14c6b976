"""Runs that PyTorch serves, on the CPU or a GPU: they say what the estimator says."""

import numpy as np
import pytest
import torch

import vaekit as vk
from conftest import TINY
from elsewhere import GPU
from vaekit.errors import UserError
from vaekit.robots.environments import demonstrate
from vaekit.runtime import Runtime
from vaekit.serve.engine import Computed, Whole, tasks_of
from vaekit.sources.base import Dataset
from vaekit.uses.calibration import Calibration

pytestmark = pytest.mark.gpu
RNG = np.random.default_rng(0)
DEVICE = torch.device("cuda:0" if GPU else "cpu")


@pytest.mark.parametrize("score", ["loglik", "exemplars"])
def test_graphs_say_what_the_estimator_says(score):
    X = RNG.integers(0, 256, (40, 6, 6)).astype(np.uint8)
    vae = vk.VAE(**TINY).fit(X)
    odd = Calibration([vae.fitted_], score)
    odd.calibrate(
        (Dataset(X, "images", "", None, {}, []), np.arange(30)),
        "here",
        (Dataset(X, "images", "", None, {}, []), np.arange(30)),
    )
    z, rebuilt, scores = vae.transform(X), vae.reconstruct(X), odd.score_samples(X, {})
    model = Runtime(Computed(vae, "model", odd, DEVICE))
    np.testing.assert_allclose(model.encode(X), z, rtol=1e-3, atol=1e-4)
    assert np.abs(model.reconstruct(X).astype(int) - rebuilt).max() <= 1
    np.testing.assert_allclose(model.score(X), scores, rtol=0.05)
    assert model.p_values(X).shape == (40,)
    assert model.sample(3, seed=1).shape == (3, 6, 6)
    assert vae.fitted_.device.type == DEVICE.type


def test_a_policy_keeps_its_episode():
    shown = demonstrate("two-routes", 6)
    policy = vk.Policy(latent_dim=3, size="small", chunk_size=4, epochs=1, z="mean", device="cpu").fit(shown)
    row = {name: values[0] for name, values in shown.observations.items()}
    policy.reset(0)
    expected = [policy.act(row) for _ in range(6)]
    served = Computed(policy, "robot", None, DEVICE).policy()
    served.reset(0)
    np.testing.assert_allclose([served.act(row) for _ in range(6)], expected, rtol=1e-3, atol=1e-4)


def test_a_language_model_is_asked_as_a_whole(tmp_path):
    texts = [f"{a} {b}" for a in ("red", "blue") for b in ("cat", "dog", "house")] * 4
    causal = {"name": "causal", "width": 16, "heads": 2, "layers": 1}
    model = vk.VAE(**{**TINY, "latent_dim": 0}, likelihood=causal, kind={"tokenizer": "word"}).fit(texts)
    model.save(tmp_path / "run")
    tasks = tasks_of(tmp_path / "run", "run", tmp_path, 1, "cuda" if GPU else "cpu")
    assert isinstance(tasks, Whole)
    with pytest.raises(StopIteration) as end:
        next(tasks.score(texts[:3]))
    np.testing.assert_allclose(end.value.value, model.score_samples(texts[:3]), rtol=1e-3)
    with pytest.raises(StopIteration) as end:
        next(tasks.sample(2, seed=3))
    assert len(end.value.value) == 2


def test_a_device_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="is not on this machine"):
        tasks_of(tmp_path, "x", tmp_path, 1, "cuda:99")
