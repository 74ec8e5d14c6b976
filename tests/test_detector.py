"""The anomaly detector: scikit-learn's checks, PyOD's conventions, and promises that hold whatever was learned."""

from functools import partial

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import vaekit as vk
from vaekit.errors import Note, UserError
from vaekit.estimators import detector
from vaekit.nets import MLP
from vaekit.training.data import split
from vaekit.uses.scores import Exemplars

QUICK = {"size": "small", "epochs": 3, "sampler": "prior"}


@parametrize_with_checks([vk.AnomalyDetector(vk.VAE(2, **QUICK))])
def test_scikit_learn(estimator, check):
    check(estimator)


def ring(rows, seed):
    """Points around a circle, in units of their own, and a column of noise."""
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(0, 2 * np.pi, rows), rng.normal(3, 0.15, rows)
    return np.stack([radius * np.cos(angle), 10 * radius * np.sin(angle) + 5, rng.normal(size=rows)], axis=1)


@pytest.fixture(scope="module")
def fitted():
    vae = vk.VAE(4, size="small", epochs=80, likelihood={"name": "normal", "scale": 0.3}, sampler="prior")
    return vk.AnomalyDetector(vae).fit(ring(2000, 0))


@pytest.fixture
def quick_defaults(monkeypatch):
    of = detector.default
    monkeypatch.setattr(detector, "default", lambda *a: [vae.set_params(epochs=80) for vae in of(*a)])


def spiral(rows, seed, turn=0.0):
    rng = np.random.default_rng(seed)
    t = rng.uniform(np.pi, 3.5 * np.pi, rows)
    return (t + turn)[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1) + 0.15 * rng.normal(size=(rows, 2))


def test_rows_between_dense_ones_are_odd(quick_defaults, tmp_path):
    """Between the arms of a spiral are no rows, and many all around: much noise blurs the arms."""
    rows, odd = spiral(600, 0), spiral(150, 1, turn=np.pi)
    fitted = vk.AnomalyDetector().fit(rows)
    judged, truth = np.concatenate([spiral(300, 2), odd]), np.repeat([0, 1], [300, 150])
    each = [score(vae.fitted_, judged) for score, vae in zip(fitted.calibration_.parts, fitted.models_, strict=True)]
    assert roc_auc_score(truth, -fitted.score_samples(judged)) > max(0.9, roc_auc_score(truth, -each[0]) + 0.02)
    np.testing.assert_allclose(fitted.score_samples(judged), np.log(np.mean(np.exp(each), axis=0)))
    again = vk.AnomalyDetector.load(fitted.save(tmp_path / "run"))
    np.testing.assert_array_equal(again.score_samples(judged), fitted.score_samples(judged))
    assert vk.AnomalyDetector(method="kl").fit(rows[:50]).models_[1:] == []


def test_what_no_ellipse_around_the_data_can_tell(fitted):
    """The middle of a ring is where the data's mean is, and none of the data."""
    rows = np.concatenate([ring(500, 1), (ring(500, 2) - [0, 5, 0]) * [0.1, 0.1, 1] + [0, 5, 0]])
    truth = np.repeat([0, 1], 500)
    assert roc_auc_score(truth, -fitted.score_samples(rows)) > 0.97
    assert roc_auc_score(truth, LedoitWolf().fit(ring(2000, 0)).mahalanobis(rows)) < 0.5


def test_normal_rows_get_small_p_values_as_rarely_as_they_say(fitted):
    """Of m new rows the number with p <= a is Beta-binomial, given n calibration rows and scores without ties."""
    p, n, m = fitted.p_values(ring(2000, 3)), len(fitted.calibration_scores_), 2000
    assert n == 400
    assert p.min() >= 1 / (n + 1)
    for alpha in (0.01, 0.05, 0.1, 0.5):
        rank = int(alpha * (n + 1))
        low, high = stats.betabinom(m, rank, n + 1 - rank).ppf([1e-4, 1 - 1e-4])
        assert low <= (p <= alpha).sum() <= high


def test_nothing_is_learned_from_calibration_rows():
    """Whatever they hold, the model and the scores of others are the same."""
    x = ring(200, 0)
    _, held_out = split(200, 0.2, 0)
    changed = x.copy()
    changed[held_out.numpy()] *= 7
    detectors = [vk.AnomalyDetector(vk.VAE(2, **QUICK)).fit(rows) for rows in (x, changed)]
    new = ring(50, 1)
    np.testing.assert_array_equal(*(d.score_samples(new) for d in detectors))
    first, second = (d.calibration_scores_ for d in detectors)
    assert len(first) == 40
    assert (first != second).all()


def test_decisions_at_a_false_discovery_rate(fitted):
    """900 normal rows and 100 that are far off: nearly all of these are found, and among what is found few are normal."""
    odd = ring(100, 5) * [3, 1, 1] + [0, 0, 4]
    found = fitted.predict(np.concatenate([ring(900, 4), odd]), fdr=0.1) == -1
    assert found[900:].mean() > 0.8
    assert found[:900].sum() / found.sum() < 0.3
    assert (fitted.predict(ring(300, 6), fdr=0.001) == 1).all()  # less than 400 calibration rows can tell


def test_rows_of_which_none_can_be_called_an_anomaly_are_told(fitted):
    n = len(fitted.calibration_scores_)
    rows = ring(400, 9)
    usual = rows[np.argsort(fitted.p_values(rows))[200:]]
    for fdr, said in {0.001: "nothing among 200 rows", 0.1: "no fewer than 5 anomalies among 200 rows"}.items():
        with pytest.warns(Note, match=f"with {n} calibration rows a false-discovery rate of {fdr:g} finds {said}"):
            assert (fitted.predict(usual, fdr=fdr) == 1).all()


def test_the_threshold_is_the_contamination():
    x = ring(400, 0)
    for share in (0.05, 0.25):
        detector = vk.AnomalyDetector(vk.VAE(2, **QUICK), contamination=share).fit(x)
        assert (detector.predict(x) == -1).mean() == share
        np.testing.assert_array_equal(detector.predict(x) == -1, detector.decision_function(x) < 0)


def test_contributions_name_the_column_that_breaks_the_rule():
    """Six columns that rise and fall together: where one is changed alone, it is named; unchanged rows name none."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 1)) * [1, 2, -3, 4, 5, 6] + 0.3 * rng.normal(size=(1500, 6)) * [1, 2, 3, 4, 5, 6]
    detector = vk.AnomalyDetector(vk.VAE(1, size="small", epochs=40, sampler="prior")).fit(x[:1000])
    column, new = rng.integers(0, 6, 500), x[1000:].copy()
    new[np.arange(500), column] += (1.5 * np.array([1, 2, 3, 4, 5, 6]))[column]
    found = detector.contributions(new)
    assert found.shape == new.shape
    assert (found.argmax(1) == column).mean() > 0.95
    assert np.abs(np.median(detector.contributions(x[1000:]), axis=0)).max() < 0.2  # nats


@pytest.mark.parametrize("settings", [{"posterior": "full"}, {"posterior": "iaf"}, {"prior": "flow"}])
def test_other_models(settings):
    detector = vk.AnomalyDetector(vk.VAE(2, **settings, **QUICK)).fit(ring(200, 0))
    assert detector.p_values(ring(20, 1)).shape == (20,)


def test_missing_values():
    x = ring(400, 0)
    x[np.random.default_rng(0).random(x.shape) < 0.1] = np.nan
    detector = vk.AnomalyDetector(vk.VAE(2, **QUICK)).fit(x)
    assert np.isfinite(detector.score_samples(x)).all()
    np.testing.assert_array_equal(detector.contributions(x)[np.isnan(x)], 0)


def test_exemplars_are_a_mixture_with_a_known_density():
    """With a linear decoder each exemplar's density is a Normal: loc W + b, and W diag(scale^2) W' + sigma^2."""
    x = np.random.default_rng(0).normal(size=(500, 2)) @ [[3, 1, 0], [0, 1, -2]] + [5, 0, 0]
    linear = partial(MLP, hidden=())
    vae = vk.VAE(2, encoder=linear, decoder=linear, epochs=60, learning_rate=3e-3, sampler="prior").fit(x)
    score = Exemplars(k=2000, most=40).fit(vae.fitted_, x)
    weight, b, sigma = (
        p.detach().double().numpy()
        for p in (vae.model_.decoder.out.weight, vae.model_.decoder.out.bias, vae.model_.likelihood.scale)
    )
    scale, mean = np.array(vae.kind_.scale), np.array(vae.kind_.mean)
    known = [
        stats.multivariate_normal(weight @ m + b, weight @ np.diag(s**2) @ weight.T + np.diag(sigma**2))
        for m, s in zip(score.learned["loc"], score.learned["scale"], strict=True)
    ]
    rows = x[:30]
    exact = np.mean([d.pdf((rows - mean) / scale) for d in known], axis=0)
    np.testing.assert_allclose(score(vae.fitted_, rows), np.log(exact) - np.log(scale).sum(), atol=0.1)
    assert len(score.learned["loc"]) == 40


@pytest.mark.parametrize("method", ["auto", "loglik", "reconstruction", "kl", "path"])
def test_methods_on_pictures_and_rows(method, digits):
    images, _ = digits
    for x in (images[:200], ring(200, 0)):
        detector = vk.AnomalyDetector(vk.VAE(2, **QUICK), method=method).fit(x)
        p = detector.p_values(x[:20])
        assert ((p > 0) & (p <= 1)).all()
        assert detector.contributions(x[:3]).shape == x[:3].shape
        alone = np.concatenate([detector.score_samples(x[i : i + 1]) for i in range(5)])
        np.testing.assert_allclose(alone, detector.score_samples(x[:20])[:5], rtol=1e-4)


@pytest.mark.parametrize("method", ["auto", "path"])
def test_it_comes_back_from_a_folder(method, tmp_path):
    x = ring(300, 0)
    detector = vk.AnomalyDetector(vk.VAE(2, **QUICK), method=method, contamination=0.2).fit(x)
    back = vk.AnomalyDetector.load(detector.save(tmp_path / "run"))
    for answer in ("score_samples", "p_values", "predict", "contributions"):
        np.testing.assert_array_equal(getattr(back, answer)(x), getattr(detector, answer)(x))
    assert back.contamination == 0.2
    np.testing.assert_array_equal(vk.load(tmp_path / "run").transform(x), detector.model_.transform(x))


def test_in_pyod():
    base = pytest.importorskip("pyod.models.base")
    x = ring(300, 0)
    detector = vk.AnomalyDetector(vk.VAE(2, **QUICK)).fit(x)
    theirs = vk.to_pyod(detector)
    assert isinstance(theirs, base.BaseDetector)
    np.testing.assert_array_equal(theirs.predict(x), (1 - detector.predict(x)) // 2)
    np.testing.assert_array_equal(theirs.labels_, theirs.predict(x))
    np.testing.assert_array_equal(theirs.decision_scores_, -detector.score_samples(x))
    assert theirs.threshold_ == pytest.approx(-detector.offset_)
    assert theirs.predict_proba(x).shape == (300, 2)
    again = clone(theirs).fit(x)
    np.testing.assert_array_equal(again.decision_scores_, theirs.decision_scores_)


@pytest.mark.parametrize(
    ("settings", "rows", "words"),
    [
        ({"contamination": 0.6}, 50, "contamination=0.6"),
        ({"calibration": 0}, 50, "calibration=0"),
        ({"method": "exemplar"}, 50, "did you mean 'exemplars'"),
        ({"method": "paths"}, 50, "did you mean 'path'"),
        ({"method": "path"}, 4, "at least 3 normal rows"),
    ],
)
def test_what_cannot_be_is_said(settings, rows, words):
    with pytest.raises(UserError, match=words):
        vk.AnomalyDetector(vk.VAE(2, **QUICK), **settings).fit(ring(rows, 0))


def test_tables_of_any_kind():
    """Columns that are categories, with gaps; the same answers for a table of pandas and of Arrow."""
    pandas, arrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"a": rng.normal(size=200), "b": rng.choice(["x", "y", None], 200)})
    found = [vk.AnomalyDetector(vk.VAE(2, **QUICK)).fit(t).p_values(t) for t in (frame, arrow.Table.from_pandas(frame))]
    np.testing.assert_array_equal(*found)
    detector = vk.AnomalyDetector(vk.VAE(2, **QUICK)).fit(frame)
    assert detector.contributions(frame).shape == (200, 2)
    assert list(detector.feature_names_in_) == ["a", "b"]


def test_texts(tmp_path):
    texts = [f"{who} {does} {what}" for who in ("a man", "a dog") for does in ("sees", "likes") for what in "xyzuvw"]
    detector = vk.AnomalyDetector(vk.VAE(2, size="small", epochs=1, sampler="prior")).fit(texts)
    back = vk.AnomalyDetector.load(detector.save(tmp_path / "run"))
    np.testing.assert_array_equal(back.p_values(texts), detector.p_values(np.array(texts, object)))
    np.testing.assert_array_equal(back.score_samples(texts), back.model_.score_samples(texts))  # log p(x)
    with pytest.raises(UserError, match="texts have no columns"):
        back.contributions(texts)


def test_without_calibration_rows_there_are_no_p_values():
    few = vk.AnomalyDetector(vk.VAE(2, **QUICK)).fit(ring(8, 0))
    assert few.score_samples(ring(3, 1)).shape == (3,)
    with pytest.raises(UserError, match="at least 10 rows"):
        few.p_values(ring(3, 1))


def test_a_folder_without_a_detector_is_none(tmp_path):
    vk.VAE(2, **QUICK).fit(ring(50, 0)).save(tmp_path / "run")
    with pytest.raises(UserError, match="without an AnomalyDetector"):
        vk.AnomalyDetector.load(tmp_path / "run")
