"""The estimators: scikit-learn's own checks, and what they promise beyond them."""

import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import DataConversionWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

import vaekit as vk
from vaekit.conditions import Conditions
from vaekit.errors import UserError
from vaekit.nets import MLP

QUICK = {"size": "small", "epochs": 3, "sampler": "prior"}


@parametrize_with_checks([vk.VAE(2, size="small", epochs=1), vk.CVAE(2, **{**QUICK, "epochs": 1})])
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def cvae(digits):
    images, labels = digits
    return vk.CVAE(8, size="small", epochs=40, batch_size=64, learning_rate=4e-3, sampler="prior").fit(images, labels)


def test_scores_are_log_densities_in_the_units_of_the_data():
    """A VAE with linear networks is probabilistic PCA, and scores as scikit-learn's own (factor analysis) does, in any
    units: the density of 1000 x is that of x over 1000 a column."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 2)) @ rng.normal(size=(2, 6)) * 3 + rng.normal(size=(2000, 6)) + 10
    linear = partial(MLP, hidden=())
    fit = {"encoder": linear, "decoder": linear, "epochs": 60, "learning_rate": 1e-2, "sampler": "prior"}
    reference = FactorAnalysis(2).fit(x).score_samples(x)
    scores = vk.VAE(2, **fit).fit(x).score_samples(x[:500])
    assert scores.dtype == np.float64
    assert scores.mean() == pytest.approx(reference[:500].mean(), abs=0.1)
    assert np.corrcoef(scores, reference[:500])[0, 1] > 0.99
    thousand = vk.VAE(2, **fit).fit(1000 * x).score_samples(1000 * x[:500])
    np.testing.assert_allclose(thousand, scores - 6 * np.log(1000), atol=0.02)


def test_samples_have_the_distribution_of_the_data():
    rng = np.random.default_rng(0)
    x = rng.normal([3, -50], [0.5, 20], (3000, 2))
    x[:, 1] += 30 * x[:, 0]
    vae = vk.VAE(2, epochs=60).fit(x)
    new = vae.sample(4000)
    np.testing.assert_allclose(new.mean(0), x.mean(0), atol=0.12 * x.std(0).max())
    np.testing.assert_allclose(np.cov(new.T), np.cov(x.T), rtol=0.2, atol=0.1)
    assert not np.array_equal(vae.sample(5, random_state=1), vae.sample(5, random_state=2))
    np.testing.assert_array_equal(vae.sample(5, random_state=1), vae.sample(5, random_state=1))


@pytest.mark.parametrize(
    ("shape", "dtype", "top"),
    [((7, 5), np.uint8, 255), ((8, 8, 3), np.uint8, 255), ((6, 9, 4), np.float32, 1.0), ((5, 5), np.uint16, 60_000)],
)
def test_pictures_come_back_in_their_own_form(shape, dtype, top):
    x = (np.random.default_rng(0).random((60, *shape)) * top).astype(dtype)
    vae = vk.VAE(2, **QUICK).fit(x)
    for rows in (vae.reconstruct(x[:4]), vae.sample(4), vae.interpolate(x[0], x[1], 4)):
        assert rows.shape == (4, *shape)
        assert rows.dtype == dtype
        assert rows.min() >= 0
        assert rows.max() <= top
    assert vae.transform(x).shape == (60, 2)


def test_ends_of_an_interpolation_are_the_reconstructions(cvae, digits):
    images, _ = digits
    path = cvae.interpolate(images[0], images[1], steps=5)
    np.testing.assert_array_equal(path[[0, -1]], cvae.reconstruct(images[:2]))


def test_the_condition_decides_what_is_sampled(cvae, digits):
    images, labels = digits
    judge = LogisticRegression(max_iter=2000).fit(images.reshape(len(images), -1), labels)
    wanted = np.repeat(np.arange(10), 30)
    samples = cvae.sample(300, y=wanted)
    assert (judge.predict(samples.reshape(300, -1)) == wanted).mean() > 0.7
    one = cvae.sample(20, y=3, random_state=1)
    np.testing.assert_array_equal(one, cvae.sample(20, y=np.full(20, 3), random_state=1))
    free = judge.predict(cvae.sample(200).reshape(200, -1))
    assert len(np.unique(free)) >= 8  # unknown: every class


def test_guidance_is_surer_of_the_condition(cvae, digits):
    images, labels = digits
    judge = LogisticRegression(max_iter=5000).fit(images.reshape(-1, 64), labels)
    wanted = np.arange(300) % 10

    def said_of(guidance):
        rows = cvae.sample(300, y=wanted, guidance=guidance).reshape(300, -1)
        return judge.predict_log_proba(rows)[np.arange(300), wanted].mean()

    assert said_of(0.0) < said_of(1.0)
    np.testing.assert_array_equal(
        cvae.sample(5, y=3, random_state=1), cvae.sample(5, y=3, guidance=0.0, random_state=1)
    )
    drawn = [
        cvae.sample(300, guidance=g, random_state=1).reshape(300, -1) for g in (0.0, 1.0)
    ]  # a label that was drawn is asked for, too
    confidence = [judge.predict_proba(rows).max(1).mean() for rows in drawn]
    assert confidence[0] < confidence[1]


def test_guidance_needs_a_model_that_knows_of_no_condition(cvae, digits):
    images, labels = digits
    with pytest.raises(UserError, match="guidance=-1 has to be a number, 0 or more"):
        cvae.sample(2, y=3, guidance=-1)
    always = vk.CVAE(2, **QUICK, condition_dropout=0.0).fit(images[:100], labels[:100])
    for model, y in ((always, 3), (vk.VAE(2, **QUICK).fit(images[:100]), None)):
        with pytest.raises(UserError, match="trained with hidden conditions"):
            model.sample(2, y=y, guidance=1)


def test_knowing_the_label_makes_the_picture_likelier(cvae, digits):
    images, labels = digits
    assert cvae.score(images[:200], labels[:200]) > cvae.score(images[:200]) + 0.5
    assert cvae.score(images[:200], labels[:200]) > cvae.score(images[:200], (labels[:200] + 1) % 10) + 2


@pytest.mark.parametrize("form", [np.asarray, pd.Series, pd.DataFrame, torch.from_numpy, np.ndarray.tolist])
@pytest.mark.parametrize("model", [vk.CVAE, vk.SemiSupervisedVAE, vk.SemiSupervisedRegressor])
def test_y_may_be_a_column_in_any_form(model, form):
    """(N, 1), as Keras and MedMNIST give labels, a Series, a table or a tensor are the same y as (N,)."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 3)), rng.integers(0, 3, (30, 1))
    column = form(y.ravel() if form is pd.Series else y)
    quick = {"size": "small", "epochs": 1, "sampler": "prior"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataConversionWarning)
        found, expected = model(2, **quick).fit(x, column), model(2, **quick).fit(x, y.ravel())
    np.testing.assert_array_equal(found.score_samples(x, column, k=1), expected.score_samples(x, y.ravel(), k=1))
    np.testing.assert_array_equal(found.transform(x, column), expected.transform(x, y.ravel()))
    np.testing.assert_array_equal(found.sample(30, column), expected.sample(30, y.ravel()))


def test_several_conditions_by_name_and_unknown():
    rng = np.random.default_rng(0)
    kind = np.array(["a", "b", None], dtype=object)[rng.integers(0, 3, 400)]
    pose = rng.normal(size=(400, 2))
    pose[::7] = np.nan
    x = rng.normal(size=(400, 3)) + pd.Series(kind).map({"a": 5.0, "b": -5.0}).fillna(0).to_numpy()[:, None]
    vae = vk.CVAE(2, epochs=20).fit(x, {"kind": kind, "pose": pose})
    assert vae.sample(500, {"kind": "a"}).mean() > 3 > -3 > vae.sample(500, {"kind": "b", "pose": [0.0, 0.0]}).mean()
    assert vae.transform(x[:5], {"pose": pose[:5]}).shape == (5, 2)
    frame = pd.DataFrame({"kind": ["a", None, "b"], "pose": [0.0, 1.0, 2.0]})
    with pytest.raises(UserError, match="'pose' has 2 numbers per row, got 3"):
        vae.transform(x[:3], frame)


@pytest.mark.parametrize("dtype", ["string", "category", object])
@pytest.mark.parametrize("gap", [None, np.nan, pd.NA, pd.NaT])
def test_what_pandas_has_for_a_missing_label_is_no_class(dtype, gap):
    y = pd.Series(["a", "b", gap] * 10, dtype=dtype)
    assert Conditions.infer({"y": y}).named["y"].classes == ["a", "b"]
    assert vk.SemiSupervisedVAE()._targets(y).tolist() == ["a", "b", None] * 10


@pytest.mark.parametrize(
    ("y", "word"),
    [
        ({"kind": "zebra"}, "no class 'zebra'"),
        ({"kinds": "a"}, "did you mean 'kind'"),
        ({"kind": ["a", "b"]}, "2 values for 3 rows"),
    ],
)
def test_wrong_conditions_are_told(y, word):
    vae = vk.CVAE(1, **QUICK).fit(np.random.default_rng(0).normal(size=(30, 2)), {"kind": ["a", "b", "c"] * 10})
    with pytest.raises(UserError, match=word):
        vae.sample(3, y)
    with pytest.raises(UserError, match="no conditions: leave y out"):
        vk.VAE(1, **QUICK).fit(np.eye(5)).sample(3, "zebra")


def test_missing_values_are_learned_around():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2000, 1))
    x = z @ np.array([[1.0, 2.0, -1.0]]) + 0.1 * rng.normal(size=(2000, 3))
    holes = np.where(rng.random(x.shape) < 0.2, np.nan, x)
    vae = vk.VAE(1, epochs=40, sampler="prior").fit(holes)
    error = np.abs(vae.reconstruct(holes) - x)[np.isnan(holes)].mean()
    assert error < 0.5 * np.abs(x).mean()
    assert np.isfinite(vae.score_samples(holes)).all()


def test_masked_values_are_missing_and_empty_columns_stay_empty():
    rng = np.random.default_rng(0)
    for X, missing in (
        (rng.normal(size=(80, 3)), rng.random((80, 3)) < 0.2),
        (rng.integers(0, 9, (80, 3)), np.arange(3) == 1),
    ):
        gaps = np.where(missing, np.nan, X)
        given = np.ma.masked_array(X, np.broadcast_to(missing, X.shape))
        model = vk.VAE(epochs=1, latent_dim=2, size="small").fit(given)
        scores = model.score_samples(given, k=5)
        assert np.isfinite(scores).all()
        np.testing.assert_array_equal(scores, model.score_samples(gaps, k=5))
        empty = np.isnan(gaps).all(0)
        for rows in (model.impute(given), model.sample(20), model.reconstruct(given)):
            np.testing.assert_array_equal(np.isnan(rows), np.broadcast_to(empty, rows.shape))
    with pytest.raises(UserError, match="no column has any value"):
        vk.VAE(epochs=1).fit(np.full((9, 2), np.nan))


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"size": "huge"}, "small, base, large"),
        ({"likelihood": "gaussian"}, "normal"),
        ({"latent_dim": 0}, "at least 1"),
        ({"validation": 1.0}, "from 0 to below 1"),
        ({"learning_rate": -1}, "above 0"),
        ({"prior": "conditional"}, "needs a condition"),
        ({"likelihood": "bernoulli"}, "0 to 1"),
        ({"likelihood": "categorical"}, "whole numbers"),
        ({"network": "conv"}, "needs pictures"),
        ({"encoder": lambda i, o, c: nn.Linear(3, 7)}, r"the encoder gives \(7,\) per row, but has to give \(4,\)"),
        ({"encoder": lambda i, o, c: nn.Linear(5, 4)}, "the encoder cannot take an input"),
        ({"encoder": nn.Linear(3, 4)}, "encoder is a network, of the type Linear: give a function encoder"),
        ({"decoder": nn.Identity()}, "decoder is a network"),
        ({"encoder": nn.Linear}, r"encoder\(in_shape, out_shape, condition_features\) cannot be called"),
        ({"decoder": lambda i, o, c: None}, "gives a NoneType: return a torch.nn.Module"),
    ],
)
def test_wrong_settings_are_told_before_training(settings, word):
    with pytest.raises(UserError, match=word):
        vk.VAE(**{"latent_dim": 2, **settings}).fit(np.random.default_rng(0).normal(size=(30, 3)) * 3)


@pytest.mark.parametrize("rows", [np.zeros((1, 3)), np.zeros((1, 8, 8)), np.zeros((0, 8, 8))])
def test_one_row_is_too_few(rows):
    with pytest.raises(ValueError, match="sample"):
        vk.VAE(**QUICK).fit(rows)


@pytest.mark.parametrize("shape", [(40, 3), (40, 6, 6)])
def test_infinities_are_named(shape):
    x = np.random.default_rng(0).normal(size=shape)
    x[(3,) + (1,) * (len(shape) - 1)] = np.inf
    with pytest.raises(ValueError, match=r"infinity|picture 3 holds inf"):
        vk.VAE(**QUICK).fit(x)


def test_constant_columns_and_constant_pictures_train():
    x = np.random.default_rng(0).normal(size=(100, 3))
    x[:, 1] = 7.5
    vae = vk.VAE(2, epochs=20).fit(x)
    np.testing.assert_allclose(vae.sample(50)[:, 1], 7.5, atol=0.5)
    vk.VAE(2, **QUICK).fit(np.full((50, 6, 6), 9, dtype=np.uint8)).score_samples(np.full((3, 6, 6), 9, dtype=np.uint8))


@pytest.mark.parametrize("likelihood", ["bernoulli", "categorical", "laplace", "normal"])
@pytest.mark.parametrize("shape", [(5,), (6, 6)])
def test_every_likelihood_on_every_kind(likelihood, shape):
    x = np.random.default_rng(0).integers(0, 2, (80, *shape)).astype(np.uint8 if len(shape) > 1 else float)
    vae = vk.VAE(2, likelihood=likelihood, **QUICK).fit(x)
    samples = vae.sample(40)
    assert samples.shape == (40, *shape)
    assert np.isfinite(vae.score_samples(x[:5])).all()
    if likelihood in ("bernoulli", "categorical") and len(shape) == 1:
        assert set(np.unique(samples)) <= {0.0, 1.0}


def test_binarize(digits):
    images, _ = digits
    vae = vk.VAE(4, kind={"binarize": "dynamic"}, **QUICK).fit(images)
    assert vae.likelihood_["name"] == "bernoulli"
    assert vae.score(images[:100]) < 0  # a probability now, no density
    with pytest.raises(UserError, match="dynamic, threshold"):
        vk.VAE(kind={"binarize": "sometimes"}, **QUICK).fit(images)


def test_wrong_shape_at_use_is_told(cvae):
    with pytest.raises(UserError, match=r"\(9, 9\) do not fit a model of pictures of shape \(8, 8\)"):
        cvae.reconstruct(np.zeros((2, 9, 9)))
    with pytest.raises(UserError, match="latent codes have shape"):
        cvae.inverse_transform(np.zeros((2, 3)))


def test_own_networks_with_their_own_randomness_are_reproducible(digits):
    images, _ = digits

    def encoder(in_shape, out_shape, condition_features):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Dropout(0.3), nn.ReLU(), nn.Linear(32, *out_shape)
        )

    a, b = (vk.VAE(2, encoder=encoder, **QUICK).fit(images).transform(images[:9]) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    torch.manual_seed(5)
    np.testing.assert_array_equal(a, vk.VAE(2, encoder=encoder, **QUICK).fit(images).transform(images[:9]))


def test_clone_and_pipeline(digits):
    images, labels = digits
    flat = images.reshape(len(images), -1)
    vae = vk.VAE(8, size="small", epochs=30, batch_size=32, learning_rate=2e-3, sampler="prior")
    pipe = make_pipeline(vae, LogisticRegression(max_iter=1000)).fit(flat, labels)
    assert pipe.score(flat, labels) > 0.7
    flow = {"name": "flow", "transforms": 2}
    assert clone(vk.CVAE(3, prior=flow)).get_params()["prior"] == flow


def test_samples_without_a_seed_differ_from_call_to_call_and_are_the_same_after_loading(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 2))
    vae = vk.VAE(latent_dim=2, size="small", epochs=1).fit(x)
    calls = [vae.sample(5) for _ in range(3)]
    assert len(np.unique(np.concatenate(calls), axis=0)) == 15
    loaded = vk.load(vae.save(tmp_path / "run"))
    np.testing.assert_array_equal([loaded.sample(5) for _ in range(3)], calls)
    np.testing.assert_array_equal(vae.fit(x).sample(5), calls[0])
    models = vk.SemiSupervisedVAE, vk.SemiSupervisedRegressor
    for model, y in zip(models, (["a", "b"] * 30, np.arange(60.0)), strict=True):
        some = model(latent_dim=2, size="small", epochs=1).fit(x, y)
        assert not np.array_equal(some.sample(5), some.sample(5))


def test_random_state_none_differs_from_fit_to_fit():
    x = np.random.default_rng(0).normal(size=(50, 3))
    a, b = (vk.VAE(2, random_state=None, **QUICK).fit(x).transform(x) for _ in range(2))
    assert not np.array_equal(a, b)
