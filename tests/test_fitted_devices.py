"""What a fitted model says does not depend on its device: the CPU, or the one that `elsewhere` gives."""

import numpy as np
import pandas as pd
import pytest

import vaekit as vk
from conftest import dataset
from elsewhere import DEVICE, elsewhere
from vaekit.deploy.report import write_report
from vaekit.robots.environments import demonstrate
from vaekit.uses.scores import SCORES, new_score

pytestmark = pytest.mark.gpu
QUICK = {"size": "small", "epochs": 1, "latent_dim": 2}
RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.normal(size=(30, 3))
GAPPY = np.where(RANDOM.random((30, 3)) < 0.2, np.nan, NUMBERS)
LABELS = RANDOM.integers(0, 3, 30)
PICTURES = RANDOM.integers(0, 256, (20, 8, 8)).astype(np.uint8)
TABLE = pd.DataFrame({"a": GAPPY[:, 0], "b": RANDOM.choice(["x", "y"], 30), "c": LABELS})
TEXTS = np.array([*["red green blue", "green red", "blue blue green red"] * 4, "red ___ blue"], dtype=object)
SERIES = np.where(np.arange(100)[:, None] // 4 == 9, np.nan, RANDOM.normal(size=(100, 2)))
CAUSAL = {"name": "causal", "width": 16, "heads": 2, "layers": 1}

FITS = {
    "rows": (vk.VAE(sampler="gmm", **QUICK), GAPPY),
    "labelled rows": (vk.CVAE(sampler={"name": "flow", "transforms": 1}, **QUICK), NUMBERS, LABELS),
    "pictures": (vk.VAE(network="mlp", sampler="prior", **QUICK), PICTURES),
    "table": (vk.VAE(sampler="prior", **QUICK), TABLE),
    "texts": (vk.VAE(kind={"tokenizer": "word"}, likelihood=CAUSAL, sampler="prior", **QUICK), TEXTS),
    "series": (vk.SeriesVAE(window=16, sampler="prior", **QUICK), SERIES),
    "few labels": (vk.SemiSupervisedVAE(calibrate=False, **QUICK), NUMBERS, np.where(LABELS == 2, -1, LABELS)),
}  # fmt: skip


def said(model, X):
    """What a model says of rows, by what it was asked."""
    found = {
        "transform": model.transform(X),
        "reconstruct": model.reconstruct(X),
        "score_samples": model.score_samples(X, k=3),
        "sample": model.sample(5, random_state=1),
        "impute": model.impute(X, draws=2, random_state=1),
        "evaluate": model.evaluate(X, k=3),
    }
    if isinstance(model, vk.SemiSupervisedVAE):
        return found | {"predict": model.predict(X), "predict_proba": model.predict_proba(X)}
    if model.kind_.name == "text":
        return found
    for name in (name for name in SCORES if name != "exemplars" or not model.conditions_.named):
        found[name] = new_score(name, model.fitted_).fit(model.fitted_, X)(model.fitted_, X)
    return found | {"inverse_transform": model.inverse_transform(found["transform"])}


def assert_same(here, there):
    """To the rounding of 32 bits."""
    if isinstance(here, dict):
        assert_same(list(here.values()), [there[name] for name in here])
    elif isinstance(here, (list, tuple)):
        for pair in zip(here, there, strict=True):
            assert_same(*pair)
    elif isinstance(here, pd.DataFrame):
        pd.testing.assert_frame_equal(here, there)
    elif np.asarray(here).dtype.kind == "f":
        np.testing.assert_allclose(there, here, rtol=1e-3, atol=1e-5)
    else:
        assert np.array_equal(here, there)


@pytest.mark.parametrize("name", FITS)
def test_a_fitted_model_says_the_same_elsewhere(name):
    estimator, X, *y = FITS[name]
    model = estimator.fit(X, *y)
    here = said(model, X)
    with elsewhere():
        model.fitted_.to(DEVICE)
        assert_same(here, said(model, X))


def test_a_report_is_written_elsewhere(tmp_path):
    estimator, X = FITS["pictures"]
    model = estimator.fit(X)
    with elsewhere():
        model.fitted_.to(DEVICE)
        model.save(tmp_path)
        assert write_report(tmp_path, model, dataset(X), model.evaluate(X, k=2)).stat().st_size > 10_000


def test_a_policy_acts_the_same_elsewhere():
    demonstrations = demonstrate("two-routes", 4)
    policy = vk.Policy(**QUICK).fit(demonstrations)
    seen = {name: values[:3] for name, values in demonstrations.observations.items()}
    here = policy.predict(seen), policy.evaluate(demonstrations, k=2)
    with elsewhere():
        policy.fitted_.to(DEVICE)
        assert_same(here, (policy.predict(seen), policy.evaluate(demonstrations, k=2)))
