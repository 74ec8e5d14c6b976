"""Scores of how normal a row is: against closed forms, independent implementations, and pictures of another world."""

import itertools
import shutil

import numpy as np
import pandas as pd
import pyarrow.csv
import pytest
import scipy.fft
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import mahalanobis
from sklearn.metrics import roc_auc_score

import vaekit as vk
from conftest import LinearGaussian, vaekit
from vaekit.conditions import Conditions
from vaekit.distributions import Normal
from vaekit.errors import UserError
from vaekit.estimators import detector
from vaekit.estimators.detector import default
from vaekit.fitted import Fitted
from vaekit.kinds.rows import Rows
from vaekit.recipes.recipe import Recipe
from vaekit.training.data import split
from vaekit.uses.calibration import Calibration
from vaekit.uses.conformal import p_values
from vaekit.uses.scores import SCORES, auto, contributions, distance, gaussian, log_octaves, new_score


def fitted(truth, widen=1.0):
    """What training would have made, whose model is the linear Gaussian one."""
    kind = Rows(None, [0.0] * truth.columns, [1.0] * truth.columns)
    return Fitted("VAE", {}, kind, Conditions({}), {"name": "normal"}, truth.model(widen), 0, {})


def posterior(truth, x):
    """Mean (N, d) and scale (d,) of p(z|x), by hand."""
    W = truth.W.numpy()
    variance = 1 / (1 + (W**2).sum(0) / truth.sigma**2)
    return (x - truth.b.numpy()) @ W / truth.sigma**2 * variance, np.sqrt(variance)


@pytest.fixture
def rows(linear_gaussian):
    return linear_gaussian.rows(30).numpy()


@pytest.fixture(scope="module")
def digits_vae(digits):
    return vk.VAE(8, size="small", epochs=12, sampler="prior").fit(digits[0][:1000]).fitted_


# -- closed forms ------------------------------------------------------------------------------------------------------


def test_the_likelihood_of_a_model_that_is_known(linear_gaussian, rows):
    score = new_score("loglik", fitted(linear_gaussian))
    expected = linear_gaussian.log_px(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(score(fitted(linear_gaussian), rows), expected, rtol=1e-6)  # the scale is one of 32 bits


def test_reconstruction_is_the_density_at_the_posterior_mean(linear_gaussian, rows):
    mean, _ = posterior(linear_gaussian, rows)
    rebuilt = mean @ linear_gaussian.W.numpy().T + linear_gaussian.b.numpy()
    expected = scipy.stats.norm.logpdf(rows, rebuilt, linear_gaussian.sigma).sum(1)
    found = new_score("reconstruction", None)(fitted(linear_gaussian), rows)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_kl_is_that_of_two_normals(linear_gaussian, rows):
    mean, scale = posterior(linear_gaussian, rows)
    q = torch.distributions.Normal(torch.from_numpy(mean), torch.from_numpy(scale))
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    np.testing.assert_allclose(new_score("kl", None)(fitted(linear_gaussian), rows), -expected, rtol=1e-9)


@pytest.mark.parametrize("widen", [0.4, 1.0, 2.5])
def test_the_regret_is_what_the_encoder_lost(linear_gaussian, rows, widen):
    """The best posterior is the true one, so the ELBO rises by KL(q || p(z|x)), the same for every row here."""
    mean, scale = (torch.from_numpy(t) for t in posterior(linear_gaussian, rows))
    q, p = torch.distributions.Normal(mean, widen * scale), torch.distributions.Normal(mean, scale)
    expected = -torch.distributions.kl_divergence(q, p).sum(-1).numpy()
    found = new_score("regret", None)(fitted(linear_gaussian, widen), rows)
    assert (found <= 0).all()
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_the_regret_is_large_where_the_encoder_errs(linear_gaussian, rows):
    """An encoder that is wrong by one posterior scale in each unit loses half a nat in each."""
    vae = fitted(linear_gaussian)
    _, scale = posterior(linear_gaussian, rows)
    with torch.no_grad():
        vae.model.encoder.bias[: len(scale)] += torch.from_numpy(scale)
    found = new_score("regret", vae)(vae, rows)
    np.testing.assert_allclose(found, -len(scale) / 2, atol=0.02)


def test_contributions_are_the_expected_surprise_of_each_column(linear_gaussian, rows):
    mean, scale = posterior(linear_gaussian, rows)
    W, sigma = linear_gaussian.W.numpy(), linear_gaussian.sigma
    off = rows - (mean @ W.T + linear_gaussian.b.numpy())
    expected = 0.5 * np.log(2 * np.pi * sigma**2) + (off**2 + (W**2 @ scale**2)) / (2 * sigma**2)
    found = contributions(fitted(linear_gaussian, widen=1.3), rows, k=20_000)  # weights make up for the width
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_contributions_name_the_column_that_is_wrong(linear_gaussian, rows):
    vae = fitted(linear_gaussian)
    usual = np.median(contributions(vae, linear_gaussian.rows(300, seed=2).numpy()), axis=0)
    for column in range(rows.shape[1]):
        bad = rows.copy()
        bad[:, column] += 20 * linear_gaussian.sigma
        bad[0, (column + 1) % 6] = np.nan
        found = contributions(vae, bad) - usual
        assert (found.argmax(1) == column).mean() > 0.9, column
        assert contributions(vae, bad)[0, (column + 1) % 6] == 0


def test_a_normal_gives_each_element_its_part():
    g = torch.Generator().manual_seed(0)
    loc, x = torch.randn(3, 5, 4, generator=g), torch.randn(5, 4, generator=g)
    normal = Normal(1, loc, torch.tensor([0.5, 1.0, 2.0, 4.0]), torch.tensor(0.3))
    elements = normal.log_prob_elements(x)
    expected = scipy.stats.norm.logpdf(x.numpy(), loc.numpy(), normal.scale.numpy()) - 0.3
    np.testing.assert_allclose(elements, expected, rtol=1e-5)
    torch.testing.assert_close(elements.sum(-1), normal.log_prob(x))


# -- the path ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 12), (4, 7, 9)])
def test_octaves_hold_all_the_energy(shape):
    """By SciPy's own transform in three dimensions; the parts of each octave add to the picture's square."""
    g = np.random.default_rng(0)
    x = g.uniform(size=(2, *shape))
    waves = scipy.fft.dctn(x, axes=(1, 2, 3), norm="ortho") ** 2
    across, along = np.meshgrid(*(np.arange(n) / n for n in shape[1:]), indexing="ij")
    frequency = np.maximum(across, along)
    halvings = int(np.ceil(np.log2(max(shape[1:]))))
    edges = [0.0, *(1 / max(shape[1:]) * 2.0**i for i in range(halvings)), 2.0]
    bands = [(low <= frequency + 1e-12) & (frequency + 1e-12 < high) for low, high in itertools.pairwise(edges)]
    expected = np.stack([waves[:, :, band].mean(-1) for band in bands if band.any()], axis=-1)
    found = np.exp(log_octaves(torch.from_numpy(x)).numpy()) - (1 / 255) ** 2 / 12
    np.testing.assert_allclose(found, expected.reshape(2, -1), rtol=1e-6, atol=1e-12)


@given(st.integers(1, 15))
def test_a_wave_is_in_its_octave(frequency):
    i = torch.arange(16)
    wave = torch.cos(torch.pi * (i + 0.5) * frequency / 16).expand(1, 1, 16, 16)
    assert log_octaves(wave).argmax().item() == 1 + int(np.log2(frequency))


def test_a_shift_of_all_pixels_moves_the_mean_alone():
    x = torch.rand(4, 3, 8, 8, dtype=torch.float64)
    before, after = (log_octaves(t).reshape(4, 3, -1) for t in (x, x + 1))
    torch.testing.assert_close(before[:, 1:], after[:, 1:])  # axes of colour without grey
    torch.testing.assert_close(before[..., 1:], after[..., 1:])
    assert (after[:, 0, 0] > before[:, 0, 0]).all()


def test_the_distance_is_that_of_mahalanobis():
    rng = np.random.default_rng(0)
    reference, some = rng.normal(size=(20_000, 3)) @ rng.normal(size=(3, 3)), rng.normal(size=(5, 3))
    inverse = np.linalg.inv(np.cov(reference.T, bias=True))
    expected = [mahalanobis(row, reference.mean(0), inverse) ** 2 for row in some]
    np.testing.assert_allclose(distance(torch.from_numpy(some), gaussian(reference)), expected, rtol=2e-3)


def test_the_distance_of_few_rows_and_of_a_column_that_is_constant_is_finite():
    few = np.c_[np.random.default_rng(0).normal(size=(4, 6)), np.ones(4)]
    assert distance(torch.from_numpy(few), gaussian(few)).isfinite().all()
    assert distance(torch.from_numpy(few[:1] + np.eye(7)[6]), gaussian(few))[0] > 1e6


def test_sizes_of_the_path_are_those_published(linear_gaussian, rows):
    vae = fitted(linear_gaussian)
    score = SCORES["path"]().fit(vae, rows)
    mean, scale = posterior(linear_gaussian, rows)
    left = rows - (mean @ linear_gaussian.W.numpy().T + linear_gaussian.b.numpy())
    norms = [np.linalg.norm(t, axis=1).mean() for t in (left, mean, scale[None])]
    np.testing.assert_allclose(score.learned["mean"], norms, rtol=1e-6)


@pytest.mark.parametrize("world", ["noise", "one grey", "inverted", "smooth"])
def test_pictures_of_another_world_are_told_in_one_pass(digits_vae, digits, world):
    rng, test = np.random.default_rng(0), digits[0][1400:]
    score = new_score("auto", digits_vae).fit(digits_vae, digits[0][1000:1400])
    ramps = np.linspace(0, 16, 8)[:, None] * np.ones(8) * rng.uniform(0.3, 1, (len(test), 1, 1))
    far = {
        "noise": rng.integers(0, 17, test.shape),
        "one grey": np.broadcast_to(rng.integers(0, 17, (len(test), 1, 1)), test.shape),
        "inverted": 16 - test.astype(int),
        "smooth": ramps.round(),
    }[world].astype(np.uint8)
    own = score(digits_vae, test)
    assert roc_auc_score(np.r_[np.ones(len(own)), np.zeros(len(far))], np.r_[own, score(digits_vae, far)]) > 0.99


# -- every score -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCORES)
def test_a_score_does_not_depend_on_the_rows_beside_it(name, digits_vae, digits):
    x = digits[0]
    score = new_score(name, digits_vae).fit(digits_vae, x[1000:1200])
    together = score(digits_vae, x[:8])
    assert together.shape == (8,)
    assert together.dtype == np.float64
    np.testing.assert_allclose(together, np.concatenate([score(digits_vae, x[i : i + 1]) for i in range(8)]), rtol=1e-4)
    np.testing.assert_allclose(together, np.flip(score(digits_vae, x[7::-1])), rtol=1e-4)


def test_missing_values_are_integrated_out(linear_gaussian, rows):
    """log p of what is there is that of the marginal Normal; every score leaves the rest out."""
    vae, x = fitted(linear_gaussian), rows.copy()
    x[:, 3] = np.nan
    W, left = np.delete(linear_gaussian.W.numpy(), 3, 0), np.delete(rows, 3, 1)
    covariance = W @ W.T + linear_gaussian.sigma**2 * np.eye(5)
    expected = scipy.stats.multivariate_normal(np.delete(linear_gaussian.b.numpy(), 3), covariance).logpdf(left)
    np.testing.assert_allclose(new_score("loglik", vae, k=20_000)(vae, x), expected, atol=0.1)
    for name in SCORES:
        assert np.isfinite(new_score(name, vae).fit(vae, rows)(vae, x)).all(), name


@pytest.mark.parametrize(
    "options", [{"prior": "mixture"}, {"posterior": "full"}, {"structure": "ladder"}, {"structure": "vq"}]
)
def test_other_parts_have_scores_too(options, digits):
    vae = (
        vk.VAE(size="small" if "structure" not in options else "base", epochs=1, sampler="prior", **options)
        .fit(digits[0][:200])
        .fitted_
    )
    for name in SCORES:
        if name in ("regret", "exemplars") and "prior" not in options:
            with pytest.raises(UserError, match="flat model"):
                new_score(name, vae).fit(vae, digits[0][200:250])(vae, digits[0][:3])
        else:
            assert np.isfinite(new_score(name, vae).fit(vae, digits[0][200:250])(vae, digits[0][:3])).all(), name


def test_mistakes_with_scores(digits_vae, digits):
    with pytest.raises(UserError, match="did you mean 'path'"):
        new_score("paht", digits_vae)
    with pytest.raises(UserError, match="'kl' has no option 'k'"):
        new_score("kl", digits_vae, k=3)
    with pytest.raises(UserError, match="fitted"):
        new_score("path", digits_vae)(digits_vae, digits[0][:2])
    with pytest.raises(UserError, match="at least 2"):
        new_score("path", digits_vae).fit(digits_vae, digits[0][:1])


def test_auto_is_what_suits_the_model(linear_gaussian, digits_vae):
    rows = fitted(linear_gaussian)
    assert auto(rows) == "exemplars"
    assert auto(rows, learns=False) == "loglik"  # no rows to learn from
    assert auto(digits_vae) == auto(digits_vae, learns=False) == "path"
    x, y = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 2
    quick = {"size": "small", "epochs": 1, "sampler": "prior"}
    conditional = vk.CVAE(1, **quick).fit(x, y).fitted_
    assert auto(conditional) == auto(vk.VAE(1, posterior="full", **quick).fit(x).fitted_) == "loglik"
    with pytest.raises(UserError, match="without conditions"):
        new_score("exemplars", conditional).fit(conditional, x, {"label": y})


# -- a run that remembers its normal rows ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two columns that go together and a third: a file to learn from, and one whose last two rows are odd."""
    folder = tmp_path_factory.mktemp("odd")
    rng = np.random.default_rng(0)
    a = rng.normal(size=1100)
    lines = [f"{v:.4f},{2 * v + 0.1 * e:.4f},{c:.4f}" for v, e, c in zip(a, *rng.normal(size=(2, 1100)), strict=True)]
    (folder / "train.csv").write_text("a,b,c\n" + "\n".join(lines[:1000]) + "\n")
    (folder / "new.csv").write_text("a,b,c\n" + "\n".join([*lines[1000:], "1,-2,0", "0,0,9"]) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(table):
    settings = {"size": "small", "latent_dim": 2, "epochs": 60, "batch_size": 64, "sampler": "prior", "validation": 0.3}
    recipe = Recipe(source=str(table / "train.csv"), settings=settings)
    return recipe.train(table / "run", say=lambda line: None)[0]


def test_score_tells_the_odd_rows_and_their_columns(run, table, tmp_path):
    score = ["--score", "loglik", "--fdr", 0.2, "--contributions"]
    done = vaekit("score", run, table / "new.csv", *score, "-o", tmp_path / "s.csv", check=0)
    assert "300 calibration rows" in done.stderr
    found = pyarrow.csv.read_csv(tmp_path / "s.csv").to_pydict()
    assert list(found) == ["row", "score", "p_value", *(f"contribution_{c}" for c in "abc"), "anomaly"]
    assert found["anomaly"][-2:] == [True, True]
    assert sum(found["anomaly"]) < 8
    assert found["p_value"][-1] == pytest.approx(1 / 301)
    assert found["contribution_c"][-1] > 3 > max(found["contribution_a"][-1], found["contribution_b"][-1])
    assert max(found["contribution_a"][-2], found["contribution_b"][-2]) > 3 > found["contribution_c"][-2]


def test_a_run_judges_later_rows_without_its_source(run, table, tmp_path):
    new, out = table / "new.csv", tmp_path / "s.csv"
    for to in ("before.csv", "after.csv"):
        vaekit("score", run, new, "--score", "reconstruction", "-o", tmp_path / to, check=0)
        if to == "before.csv":
            (table / "train.csv").rename(table / "moved.csv")
    try:
        assert (tmp_path / "before.csv").read_bytes() == (tmp_path / "after.csv").read_bytes()
        assert "no p-values" in vaekit("score", run, new, "--score", "kl", "-o", out, check=0).stderr
        assert pyarrow.csv.read_csv(out).column_names == ["row", "score"]
        assert "--calibrate" in vaekit("score", run, new, "--score", "kl", "--fdr", 0.1, check=2).stderr
        assert "--calibrate" in vaekit("score", run, new, "--score", "path", check=2).stderr
        vaekit("score", run, new, "--score", "path", "--calibrate", table / "moved.csv", "-o", out, check=0)
        assert "p_value" in pyarrow.csv.read_csv(out).column_names
    finally:
        (table / "moved.csv").rename(table / "train.csv")


def test_a_calibration_is_of_these_weights_and_whole(run, table, tmp_path):
    vae, data = vk.load(run), vk.read(str(table / "train.csv"))
    path, every = tmp_path / "calibration-path.safetensors", np.arange(len(data))
    odd = Calibration([vae.fitted_], "path")
    odd.calibrate((data, every), "here", shares=True)
    assert (len(odd.scores), len(odd.usual)) == (500, 3)
    odd.write(path)
    again = Calibration.find(tmp_path, [vk.load(run).fitted_], "path")
    first, second = (next(o.judge(data[:20], shares=True)) for o in (odd, again))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    other = vk.load(run)
    with torch.no_grad():
        next(other.model_.parameters()).add_(1e-3)
    assert Calibration.find(tmp_path, [other.fitted_], "path") is None
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError, match="damaged"):
        Calibration.find(tmp_path, [vae.fitted_], "path")


def test_calibration_rows_are_enough_and_score_options_are_kept_apart(run, table, tmp_path):
    vae, data = vk.load(run).fitted_, vk.read(str(table / "train.csv"))
    with pytest.raises(UserError, match="calibration takes at least 3 normal rows"):
        Calibration([vae], "path").calibrate((data, np.arange(2)), "here")
    odd = Calibration([vae], "loglik", k=2)
    odd.calibrate((data, np.arange(50)), "here")
    odd.write(tmp_path / "calibration-loglik.safetensors")
    assert Calibration.find(tmp_path, [vae], "loglik", k=2) is not None
    assert Calibration.find(tmp_path, [vae], "loglik", k=3) is None


def test_exemplars_at_the_command_line_are_the_rows_that_the_run_learned_from(run, table, tmp_path):
    """`auto` is the same score; it is `loglik` where the run cannot read its source."""
    out, vae, data = tmp_path / "s.csv", vk.load(run).fitted_, vk.read(str(table / "train.csv"))
    learned, _ = split(len(data), 0.3, 0)
    score = new_score("exemplars", vae).fit(vae, data[learned.numpy()].x)
    new = vk.read(str(table / "new.csv")).x
    shutil.copytree(run, tmp_path / "run")
    for options in ([], ["--score", "exemplars"]):
        vaekit("score", tmp_path / "run", table / "new.csv", *options, "-o", out, check=0)
        np.testing.assert_allclose(pyarrow.csv.read_csv(out)["score"], score(vae, new), rtol=1e-9)
    vk.load(run).save(tmp_path / "moved")
    (table / "train.csv").rename(table / "away.csv")
    try:
        assert (
            "the score is loglik" in vaekit("score", tmp_path / "moved", table / "new.csv", "-o", out, check=0).stderr
        )
        np.testing.assert_allclose(pyarrow.csv.read_csv(out)["score"], new_score("loglik", vae)(vae, new), rtol=1e-9)
    finally:
        (table / "away.csv").rename(table / "train.csv")


def test_rows_that_a_score_learned_from_never_calibrate_it(run, table):
    """Exemplars without training rows are one half of the normal rows, each time anew, and the other half gives the p-values."""
    data = vk.read(str(table / "new.csv"))
    odd = Calibration([vk.load(run).fitted_], "exemplars")
    for _ in range(2):
        odd.calibrate((data, np.arange(100)), "here")
        assert len(odd.scores) == len(odd.score.learned["loc"]) == 50
    odd.calibrate((data, np.arange(100)), "here", (data, np.array([100, 101])))
    odd.calibrate((data, np.arange(90)), "there")  # what was learned from training rows is kept
    assert (len(odd.scores), len(odd.score.learned["loc"])) == (90, 2)


def test_score_takes_the_calibration_of_a_saved_detector(table, tmp_path, monkeypatch):
    """With the p-values of the detector itself, of all its models; other normal rows change these and no score."""
    monkeypatch.setattr(detector, "default", lambda *a: [vae.set_params(epochs=2) for vae in default(*a)])
    x, new = (np.loadtxt(table / f"{name}.csv", delimiter=",", skiprows=1) for name in ("train", "new"))
    fitted = vk.AnomalyDetector().fit(x[:300])
    run, out = fitted.save(tmp_path / "run"), tmp_path / "s.csv"
    np.save(tmp_path / "new.npy", new)
    np.save(tmp_path / "normal.npy", x[300:500])
    found = []
    for options in ([], ["--calibrate", tmp_path / "normal.npy"], []):
        vaekit("score", run, tmp_path / "new.npy", *options, "-o", out, check=0)
        found.append(pyarrow.csv.read_csv(out))
        np.testing.assert_allclose(found[-1]["score"], fitted.score_samples(new), rtol=1e-9)
    np.testing.assert_array_equal(found[0]["p_value"], fitted.p_values(new))
    for other in found[1:]:
        expected = p_values(fitted.score_samples(new), fitted.score_samples(x[300:500]))
        np.testing.assert_array_equal(other["p_value"], expected)
    np.testing.assert_array_equal(vk.AnomalyDetector.load(run).p_values(new), fitted.p_values(new))


def test_linear_gaussian_is_what_it_says():
    """The model these tests lean on, by another way: its log p(x) integrates its own prior."""
    truth, x = LinearGaussian(), LinearGaussian().rows(3)
    z = torch.randn(200_000, truth.latent_dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean = z @ truth.W.T + truth.b
    log_p = torch.stack([torch.distributions.Normal(mean, truth.sigma).log_prob(row).sum(-1) for row in x])
    torch.testing.assert_close(log_p.logsumexp(1) - np.log(len(z)), truth.log_px(x), atol=0.1, rtol=0)


@pytest.mark.parametrize("kind", ["rows", "table", "pictures"])
def test_a_row_scores_the_same_whatever_is_beside_it(kind, digits):
    """To the rounding of 32 bits: libraries multiply other shapes in another order."""
    rows = np.random.default_rng(0).normal(size=(150, 5))
    if kind == "pictures":
        X = digits[0][:60]
    elif kind == "rows":
        X = rows
    else:
        X = pd.DataFrame({"a": np.where(rows[:, 0] > 0, "x", "y"), "b": rows[:, 1], "c": rows[:, 2]})
    model = vk.VAE(2, size="small", epochs=1, sampler="prior", random_state=0).fit(X)
    scores = model.score_samples(X, k=60)
    pieces = [X[i : i + 7] for i in range(0, len(X), 7)]
    np.testing.assert_allclose(
        np.concatenate([model.score_samples(p, k=60) for p in pieces]), scores, rtol=1e-6, atol=1e-5
    )
    np.testing.assert_allclose(model.score_samples(X[::-1], k=60)[::-1], scores, rtol=1e-6, atol=1e-5)
