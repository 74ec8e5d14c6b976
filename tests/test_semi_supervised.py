"""Semi-supervised learning: the bound with y summed out, the estimators, and what rows without a label are worth."""

import re
import signal

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from sklearn.datasets import load_digits, make_blobs, make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import vaekit as vk
from conftest import dataset, start, vaekit
from vaekit.distributions import NormalPosterior
from vaekit.distributions.likelihoods import NormalLikelihood
from vaekit.errors import Note, UserError
from vaekit.evaluation.likelihood import shared_noise
from vaekit.model import LatentModel
from vaekit.nets import MLP, ConditionEmbedding
from vaekit.recipes.recipe import Recipe
from vaekit.structures.semi_supervised import SemiSupervisedClassifier, SemiSupervisedRegressor, jolted
from vaekit.training.data import split
from vaekit.uses.labels import alone, are_known, keep_some
from vaekit.uses.temperature import every_other, seen

QUICK = {"size": "small", "sampler": "prior", "epochs": 20, "batch_size": 64, "learning_rate": 1e-2, "calibrate": False}
CHECKED = {**QUICK, "epochs": 12}
TABLE = (
    "a DataFrame is a table, each column of which has a distribution of its own: another model than that of an array"
)
EXPECTED = {
    "SemiSupervisedVAE": {
        "check_classifiers_classes": "its last part has a class -1, which is what is unlabelled here",
        "check_classifier_data_not_an_array": TABLE,
    },
    "SemiSupervisedRegressor": {"check_regressor_data_not_an_array": TABLE},
}


@parametrize_with_checks(
    [vk.SemiSupervisedVAE(2, **CHECKED), vk.SemiSupervisedRegressor(2, **CHECKED)],
    expected_failed_checks=lambda estimator: EXPECTED[type(estimator).__name__],
)
def test_scikit_learn(estimator, check):
    check(estimator)


# -- the bound ---------------------------------------------------------------------------------------------------------


def small_model(kind: str):
    """One latent unit, two columns, random weights; float64."""
    torch.manual_seed(3)
    condition = ConditionEmbedding({"y": 3}) if kind == "label" else ConditionEmbedding(None, {"y": 1})
    flat = LatentModel(
        MLP((2,), (2,), condition.features, hidden=(8,)), MLP((1,), (2,), condition.features, hidden=(8,)),
        NormalLikelihood((2,), scale=0.5), latent_dim=1, posterior=NormalPosterior(1), condition=condition,
    )  # fmt: skip
    if kind == "label":
        shares = torch.tensor([0.2, 0.5, 0.3])
        return SemiSupervisedClassifier(flat, MLP((2,), (3,), hidden=(8,)), "y", shares=shares).double().eval()
    return SemiSupervisedRegressor(flat, MLP((2,), (2,), hidden=(8,)), "y").double().eval()


def density(model, x, y):
    """p(x|y) by quadrature over z."""
    z = torch.linspace(-7, 7, 1401, dtype=torch.float64)[:, None]
    loc = model.decode(z, {"y": y.expand(1401, *y.shape[1:])}).mean.detach().numpy()
    z = z[:, 0].numpy()
    return integrate.simpson(stats.norm.pdf(x, loc, 0.5).prod(1) * stats.norm.pdf(z), x=z)


def test_the_weight_sums_over_labels_and_integrates_over_codes():
    """By importance samples log p(x) = log sum_y p(y) p(x|y), and log p(x|y) where y is known, as quadrature has them."""
    model, x = small_model("label"), torch.tensor([[0.3, -0.2], [0.3, -0.2], [-0.5, 0.4]]).double()
    draw = model.draw(x, {"y": torch.tensor([-1, 2, -1])}, k=20_000, noise=shared_noise())
    found = draw.log_weight.logsumexp(0) - np.log(20_000)
    each = [[density(model, row.numpy(), torch.tensor([c])) for c in range(3)] for row in x[[0, 2]]]
    known = [np.log(np.dot(p, [0.2, 0.5, 0.3])) for p in each]
    np.testing.assert_allclose(found.detach(), [known[0], np.log(each[0][2]), known[1]], atol=0.02)
    assert (draw.elbo <= found).all()


def test_the_bound_is_the_mean_of_every_labels_own():
    model, x = small_model("label"), torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).double()
    draw = model.draw(x, k=7, noise=shared_noise())
    q = model.judge(x).softmax(1)
    each = [LatentModel.draw(model, x, {"y": torch.full((5,), c)}, k=7, noise=shared_noise()) for c in range(3)]
    log_px = sum(q[:, c] * each[c].log_px for c in range(3))
    kl = sum(q[:, c] * (each[c].kl + (q[:, c] / p).log()) for c, p in enumerate([0.2, 0.5, 0.3]))
    torch.testing.assert_close(draw.log_px, log_px)
    torch.testing.assert_close(draw.kl, kl, rtol=1e-6, atol=1e-6)
    known = model.draw(x, {"y": torch.full((5,), 1)}, k=7, noise=shared_noise())
    torch.testing.assert_close(known.log_px, each[1].log_px)
    torch.testing.assert_close(known.kl, each[1].kl)


def test_in_training_the_bound_and_its_gradient_are_right_on_average():
    """Of each row two of the three labels are looked at; the noise of z is the same throughout."""
    model, x = small_model("label"), torch.randn(4, 2, generator=torch.Generator().manual_seed(0)).double()
    model.generative, model.consistency = 1.0, 0.0
    many = x.repeat(4000, 1)
    same = torch.randn(1, 4, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def noise(k, rows, *shape):  # of z; what chooses a label has no shape beyond the rows
        return same.repeat(k, rows // 4, 1) if shape else torch.randn(k, rows, dtype=torch.float64)

    def of(rows):
        bound = model.draw(rows, noise=noise).elbo
        return bound.view(-1, 4).mean(0), torch.autograd.grad(bound.mean(), list(model.parameters()))

    exact, exact_gradient = of(x)
    torch.manual_seed(0)
    model.train()
    found, gradient = of(many)
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found, exact, atol=0.05, rtol=0.01)
    for a, b in zip(gradient, exact_gradient, strict=True):
        torch.testing.assert_close(a, b, atol=0.03, rtol=0.05)


def test_unknown_numbers_are_integrated_out():
    model, x = small_model("number"), torch.tensor([[0.3, -0.2], [0.3, -0.2]]).double()
    y = torch.tensor([[torch.nan], [0.7]])
    draw = model.draw(x, {"y": y}, k=20_000, noise=shared_noise())
    found = draw.log_weight.logsumexp(0).detach() - np.log(20_000)
    grid = np.linspace(-5, 5, 61)
    over_y = [density(model, x[0].numpy(), torch.tensor([[v]])) * stats.norm.pdf(v) for v in grid]
    np.testing.assert_allclose(found[0], np.log(integrate.simpson(over_y, x=grid)), atol=0.05)
    np.testing.assert_allclose(found[1], np.log(density(model, x[1].numpy(), y[1:])), atol=0.02)


def test_consistency_is_what_it_says():
    """A classifier that is linear changes most along the difference of its weights, and there by the radius."""
    torch.manual_seed(0)
    model = small_model("label")
    model.classifier = MLP((2,), (3,), hidden=()).double()
    with torch.no_grad():
        model.classifier.out.weight[2:], model.classifier.out.bias[2] = 0, -50.0  # only two of the labels
    x = torch.tensor([[0.1, 0.2], [-0.4, 0.3]]).double()
    h = model.judge(x)
    found = model._adversarial(x, None, h, shared_noise())
    difference = model.classifier.out.weight[0] - model.classifier.out.weight[1]
    step = model.radius * (x - x.mean(0)).square().sum(1).mean().sqrt() * difference / difference.norm()

    def change(direction):
        q, moved = h.log_softmax(1), model.judge(x + direction).log_softmax(1)
        return (q.exp() * (q - moved)).sum(1)

    some = [torch.tensor([np.cos(a), np.sin(a)]) * step.norm() for a in np.linspace(0, 2 * np.pi, 50)]
    worst = torch.stack([change(d) for d in some]).max(0).values.mean()
    assert found.item() == pytest.approx(worst.item(), rel=0.05)
    assert torch.maximum(change(step), change(-step)).mean().item() == pytest.approx(worst.item(), rel=0.01)


def test_jolted_pictures_are_the_same_pictures():
    x = torch.zeros(200, 1, 21, 21)
    x[:, :, 8:13, 8:13] = 1
    moved, _ = jolted(x, None, torch.randn)
    assert moved.shape == x.shape
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert moved.sum((1, 2, 3)).mean().item() == pytest.approx(25, rel=0.1)  # scaled up as often as down
    rows, columns = (moved.sum(d).squeeze(1) @ torch.arange(21.0) / moved.sum((1, 2, 3)) for d in (3, 2))
    assert (rows - 10).abs().max() < 2.5
    assert (columns - 10).abs().max() < 2.5


# -- the estimators ----------------------------------------------------------------------------------------------------


def few(y, each, seed=0, unlabelled=-1):
    """y, of which all but `each` of every class are unlabelled."""
    out = np.full(len(y), unlabelled, dtype=object)
    for c in np.unique(y):
        chosen = np.random.default_rng(seed).permutation(np.flatnonzero(y == c))[:each]
        out[chosen] = y[chosen]
    return out if unlabelled is None else out.astype(y.dtype)


@pytest.fixture(scope="module")
def moons():
    x, y = make_moons(400, noise=0.08, random_state=0)
    return x, y, vk.SemiSupervisedVAE(2, **{**QUICK, "epochs": 60}).fit(x, few(y, 4))


def test_rows_without_a_label_are_worth_something(moons):
    """Two half moons with four labels each: no straight line, and no labels alone, tell them apart as their shape does."""
    x, y, model = moons
    labelled = few(y, 4) >= 0
    alone = LogisticRegression().fit(x[labelled], y[labelled]).score(x, y)
    assert model.score(x, y) > max(0.88, alone + 0.05)


def test_samples_are_of_the_label_asked_for():
    x, y = make_blobs(400, centers=[[0, 0], [6, 0], [0, 6]], random_state=1)
    names = np.array(["a", "b", "c"])[y]
    model = vk.SemiSupervisedVAE(2, **QUICK).fit(x, few(names, 3, unlabelled=None))
    assert list(model.classes_) == ["a", "b", "c"]
    assert model.score(x, names) > 0.97
    np.testing.assert_allclose(model.sample(500, y="b").mean(0), [6, 0], atol=0.6)
    np.testing.assert_allclose(model.sample(3000).mean(0), [2, 2], atol=0.6)  # of all labels alike
    np.testing.assert_allclose(model.reconstruct(x[:50]).mean(0), x[:50].mean(0), atol=0.6)
    both = model.score_samples(np.array([[6.0, 0.0]]), y=["b"]), model.score_samples(np.array([[6.0, 0.0]]), y=["a"])
    assert both[0] > both[1] + 2


def test_a_run_says_the_same(moons, tmp_path):
    x, y, model = moons
    again = vk.load(model.save(tmp_path / "run"))
    np.testing.assert_array_equal(again.predict_proba(x[:20]), model.predict_proba(x[:20]))
    np.testing.assert_array_equal(again.classes_, model.classes_)
    np.testing.assert_array_equal(again.sample(5, y=1, random_state=1), model.sample(5, y=1, random_state=1))
    results = again.evaluate(x, k=20)
    assert results["elbo"] <= -results["iw_nll"] + 0.1
    assert np.isfinite(results["kl"])
    assert "accuracy" not in results
    results = again.evaluate(x, few(y, 30), k=2)
    assert results["known"] == 60
    labelled = few(y, 30) >= 0
    assert results["accuracy"] == model.score(x[labelled], y[labelled])


def test_a_run_that_was_stopped_goes_on(tmp_path):
    """The labelled rows, which a checkpoint does not hold, and their order are there again."""
    from vaekit.training import fit as training

    x, y = make_moons(200, noise=0.1, random_state=0)
    settings = {**QUICK, "epochs": 4}
    whole = vk.SemiSupervisedVAE(2, **settings).fit(x, few(y, 4))

    class Stop:
        def step(self, state, progress, terms):
            if state.step == 5:
                import signal

                signal.raise_signal(signal.SIGINT)

        def epoch(self, *args): ...

    assert training  # what is stopped
    rows, labels = x.copy(), {"y": few(y, 4)}
    part = vk.SemiSupervisedVAE(2, **settings)
    part.fit_data(dataset(rows, labels), folder=tmp_path / "run", watchers=[Stop()])
    assert part.interrupted_
    rest = vk.SemiSupervisedVAE(2, **settings)
    rest.fit_data(dataset(rows, labels), folder=tmp_path / "run", resume=True)
    np.testing.assert_array_equal(rest.predict_proba(x), whole.predict_proba(x))


def test_numbers_that_are_partly_missing():
    """A curve in three dimensions, the place along which is known in 20 rows."""
    rng = np.random.default_rng(0)
    place = rng.uniform(-3, 3, 600)
    x = np.c_[np.sin(place), np.cos(place), place**2 / 5] + 0.05 * rng.normal(size=(600, 3))
    y = 10 * place + 3
    known = y.copy()
    known[20:] = np.nan
    model = vk.SemiSupervisedRegressor(2, **{**QUICK, "epochs": 40}).fit(x, known)
    assert model.score(x[20:], y[20:]) > 0.8
    mean, deviation = model.predict(x[:30], return_std=True)
    assert mean.shape == deviation.shape == (30,)
    assert (deviation > 0).all()
    assert model.evaluate(x, y, k=2)["r2"] == pytest.approx(model.score(x, y))
    assert np.cos((30 - 3) / 10) < model.sample(200, y=3.0)[:, 1].mean() + 0.3  # y = 3 is at cos(0) = 1
    assert model.sample(4).shape == (4, 3)


def test_several_numbers_are_judged_where_they_are_known():
    x = np.random.default_rng(0).normal(size=(60, 4))
    y = np.where(np.arange(60)[:, None] < 20, x[:, :2], np.nan)
    model = vk.SemiSupervisedRegressor(2, **{**QUICK, "epochs": 2}).fit(x, y)
    assert "r2" not in model.evaluate(x, k=2)
    assert model.evaluate(x, y, k=2)["r2"] == pytest.approx(model.score(x[:20], y[:20]))


def test_every_kind_of_data():
    rng = np.random.default_rng(0)
    quick = {**QUICK, "epochs": 2}
    table = pd.DataFrame({"a": rng.normal(size=60), "b": rng.choice(["x", "y"], 60)})
    labels = np.where(table.b == "x", 1, 0)
    labels[10:] = -1
    model = vk.SemiSupervisedVAE(2, **quick).fit(table, labels)
    assert model.predict(table).shape == (60,)
    assert list(model.sample(5, y=1).columns) == ["a", "b", "y"]
    assert model.impute(table.assign(a=np.nan)).a.notna().all()
    assert model.evaluate(table, labels, k=2)["known"] == 10
    pictures = (rng.random((40, 9, 7)) * 255).astype(np.uint8)
    model = vk.SemiSupervisedVAE(2, **quick).fit(pictures, [0, 1, 2, None] * 10)
    assert model.sample(2, y=2).shape == (2, 9, 7)
    assert model.predict_proba(pictures).shape == (40, 3)
    assert model.interpolate(pictures[0], pictures[1], 3).shape == (3, 9, 7)
    texts = ["a good film", "a bad film", "what a film", "good"] * 6
    model = vk.SemiSupervisedVAE(2, **quick, kind={"tokenizer": "word"}).fit(texts, ["up", "down", None, "up"] * 6)
    assert set(model.predict(texts)) <= {"up", "down"}
    with torch.no_grad():
        model.model_.classifier.out.bias[0] += 1e3  # no row is in doubt
    x, mask = model.kind_.pack(texts)
    assert model.model_.train().draw(x.long(), mask=mask).elbo.isfinite().all()
    model.model_.eval()
    assert len(model.sample(3, y="up")) == 3


def test_m1_and_m2_are_a_pipeline(moons):
    x, y, _ = moons
    plain = {name: value for name, value in QUICK.items() if name != "calibrate"}
    stacked = make_pipeline(vk.VAE(2, **plain), vk.SemiSupervisedVAE(2, **QUICK)).fit(x, few(y, 20))
    assert stacked.score(x, y) > 0.8
    assert stacked[0].inverse_transform(stacked[1].sample(4, y=1)).shape == (4, 2)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        ([-1] * 30, "no row has a label"),
        ([None] * 30, "no row has a label"),
        ([0, 1] * 10, "30 rows"),
        ([0.5, 1.25, 2.75] * 10, "Unknown label type"),
        (None, "requires y"),
    ],
)
def test_labels_that_cannot_be(y, said):
    with pytest.raises(ValueError, match=said):
        vk.SemiSupervisedVAE(2).fit(np.random.default_rng(0).normal(size=(30, 2)), y)


def test_a_class_with_one_label_and_a_single_class_work():
    x = np.random.default_rng(0).normal(size=(30, 2))
    quick = {**QUICK, "epochs": 1}
    assert set(vk.SemiSupervisedVAE(2, **quick).fit(x, ["a", "b"] + [None] * 28).predict(x)) <= {"a", "b"}
    only = vk.SemiSupervisedVAE(2, **quick).fit(x, [7] + [-1] * 29)
    assert set(only.predict(x)) == {7}
    np.testing.assert_array_equal(only.predict_proba(x), 1.0)


def test_what_is_said_of_wrong_use(moons):
    x, _, model = moons
    with pytest.raises(UserError, match="give y too"):
        model.inverse_transform(model.transform(x[:2]))
    with pytest.raises(UserError, match="all values are NaN"):
        vk.SemiSupervisedRegressor(2).fit(x, np.full(len(x), np.nan))
    with pytest.raises(UserError, match="objective"):
        vk.SemiSupervisedVAE(2, objective="beta_tc").fit(x, np.zeros(len(x), int))
    with pytest.raises(UserError, match="consistency"):
        vk.SemiSupervisedVAE(2, consistency=-1).fit(x, np.zeros(len(x), int))


# -- how sure predictions are --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.3, 1.0, 5.0])
def test_a_temperature_takes_back_what_outputs_were_multiplied_by(factor):
    random = np.random.default_rng(0)
    h = random.normal(size=(4000, 3)) * 2
    y = [random.choice(3, p=row) for row in np.exp(h) / np.exp(h).sum(1, keepdims=True)]
    found = small_model("label").fit_temperature(torch.tensor(factor * h), torch.tensor(y))
    assert found == pytest.approx(factor, rel=0.1)
    model, raw = small_model("number"), torch.zeros(4000, 2, dtype=torch.float64)  # a standard Normal, nearly
    assert model.fit_temperature(raw, torch.tensor(factor * random.normal(size=(4000, 1)))) == pytest.approx(
        factor, rel=0.1
    )


def test_one_half_of_the_labels_has_each_class():
    y = torch.tensor([0] * 10 + [1] * 3 + [2])
    half = every_other(y, 0)
    counts = torch.bincount(y[half], minlength=3)
    assert (counts - torch.tensor([5, 1.5, 0.5])).abs().max() <= 0.5
    assert not seen(y, half)[y == 2].any() or half[y == 2].all()
    by_size = every_other(torch.arange(9.0)[:, None], 0)
    assert by_size.tolist() == [True, False] * 4 + [True]


def test_probabilities_are_as_sure_as_predictions_are_right(tmp_path):
    """Of digits after a short run, in which each is right more often than its probability says."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(y))
    x, y = x[order].reshape(-1, 8, 8).astype(np.uint8), y[order]
    labels = np.where(np.arange(1200) < 120, y[:1200], -1)
    model = vk.SemiSupervisedVAE(size="small", epochs=10, learning_rate=3e-3, sampler="prior").fit(x[:1200], labels)
    test, truth = x[1200:], y[1200:]
    sure = model.predict_proba(test)
    assert vk.load(model.save(tmp_path / "run")).predict_proba(test) == pytest.approx(sure)
    at_one = model._judged(test).softmax(1).numpy()
    assert log_loss(truth, sure) < log_loss(truth, at_one) - 0.05
    assert (sure.argmax(1) == at_one.argmax(1)).all()
    right = (model.predict(test) == truth).mean()
    assert abs(sure.max(1).mean() - right) < abs(at_one.max(1).mean() - right)


def test_too_few_labels_are_not_calibrated_and_a_note_says_so():
    x, y = load_digits(return_X_y=True)
    with pytest.warns(
        Note, match="probabilities are not calibrated and may be far too sure: calibration takes 20 known labels"
    ):
        model = vk.SemiSupervisedVAE(2, **{**QUICK, "epochs": 1, "calibrate": True}).fit(x, few(y, 1))
    assert model.temperature_ == 1


# -- the command line --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels") / "run"
    quick = [
        "--size",
        "small",
        "--epochs",
        4,
        "--learning-rate",
        0.003,
        "--sampler",
        "prior",
        "--no-calibrate",
        "--no-report",
    ]
    done = vaekit("fit", "digits", "--label-column", "label", "--labels", 40, *quick, "--out", folder, check=0)
    return folder, done.stderr


def test_fit_says_what_labels_are_worth(run):
    folder, said = run
    assert "'label' is known in 1797 of 1797 rows: 3 183, 1 182, 5 182, " in said
    assert "; the model learns from 40 of these" in said
    right, alone = map(
        float, re.search(r"predicted right ([\d.]+)% of 180 labels; ([\d.]+)% by the same network", said).groups()
    )
    model = vk.load(folder)
    _, held_out = split(1797, 0.1, 0)
    x, y = load_digits(return_X_y=True)
    assert 100 * model.score(x[held_out].reshape(-1, 8, 8), y[held_out]) == pytest.approx(right, abs=0.01)
    assert right > 50
    assert alone > 50


def test_the_comparison_has_the_steps_of_the_run_and_no_decoder(monkeypatch):
    """It is counted how often a classifier and a decoder are asked."""
    x, y = load_digits(return_X_y=True)
    model = vk.SemiSupervisedVAE(2, **{**QUICK, "epochs": 3, "batch_size": 300}).fit(x, few(y, 4))
    asked, decoded, shown = [], [], []
    judge = type(model.model_)._judge
    monkeypatch.setattr(type(model.model_), "_judge", lambda *a: asked.append(len(a[1])) or judge(*a))
    monkeypatch.setattr(type(model.model_), "decode", lambda *a: decoded.append(1))
    some = np.flatnonzero(few(y, 4) >= 0)
    other = alone(model, model.packed(x[some], y[some]), lambda work: shown.append(len(work)) or work)
    steps = 3 * int(0.9 * len(y) / 300)
    assert (asked, decoded, shown) == ([40] * steps, [], [steps])
    assert other.score(x[some], y[some]) > model.score(x[some], y[some]) - 0.5
    assert other.score(x, y) != model.score(x, y)


def test_a_comparison_is_kept_and_can_be_left_out(run):
    folder, said = run
    assert "by the same network trained on the labels alone" in said
    written = (folder / "labels-alone.safetensors").stat().st_mtime_ns
    printed = vaekit("evaluate", folder, "digits[0:20]", "--k", 2, check=0).stdout
    assert re.search(r"of 20 labels; [\d.]+% by the same network trained on the labels alone\n", printed)
    assert (folder / "labels-alone.safetensors").stat().st_mtime_ns == written
    printed = vaekit("evaluate", folder, "digits[0:20]", "--k", 2, "--no-comparison", check=0).stdout
    assert "% of 20 labels\n" in printed


def test_ctrl_c_after_training_says_how_to_go_on(tmp_path):
    quick = ["--size", "small", "--epochs", 1, "--sampler", "prior", "--labels", 10, "--out", tmp_path / "r"]
    process = start("fit", "digits", "--label-column", "label", *quick)
    for line in process.stdout:
        if "comparing with a classifier" in line:
            process.send_signal(signal.SIGINT)
            break
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith(f"stopped; {tmp_path / 'r'} is trained; `vaekit evaluate")
    assert len(vk.load(tmp_path / "r").predict(load_digits().images[:2])) == 2


UNKNOWN = [None, np.nan, -1, "-1", "-1.0", "", " ", "nan", "NA", "?"]


@given(st.lists(st.sampled_from(UNKNOWN), min_size=1, max_size=9))
def test_words_for_unknown_are_unknown(unknown):
    values = np.array(["sport", *unknown, "other"], dtype=object)
    assert are_known(values, True).tolist() == [True, *[False] * len(unknown), True]


def test_minus_1_among_words_is_unknown_and_a_note_counts_it(tmp_path):
    """NumPy makes "-1" of -1 there; and the same y in a file is read alike."""
    x = np.random.default_rng(0).normal(size=(60, 2))
    y = np.array([f"d{i % 3}" for i in range(60)], dtype="U9")
    y[30:] = -1
    y[20:30] = "Unknown"
    quick = {**QUICK, "epochs": 1}
    with (
        pytest.warns(Note, match=r"count as unknown: '-1' \(30 rows\)"),
        pytest.warns(Note, match="learns 'Unknown' as a class"),
    ):
        model = vk.SemiSupervisedVAE(2, **quick).fit(x, y)
    assert model.classes_.tolist() == ["Unknown", "d0", "d1", "d2"]
    pd.DataFrame(x).assign(y=y).to_csv(tmp_path / "t.csv", index=False)
    said = []
    recipe = Recipe(str(tmp_path / "t.csv"), label_column="y", settings=quick)
    with (
        pytest.warns(Note, match="count as unknown: '-1' .30 rows"),
        pytest.warns(Note, match="learns 'Unknown' as a class"),
    ):
        _, estimator = recipe.train(tmp_path / "run", say=said.append)
    assert estimator.classes_.tolist() == model.classes_.tolist()
    assert "'y' is known in 30 of 60 rows: Unknown 10, d0 7, d1 7, d2 6" in said[1]


def test_a_label_that_is_unknown_is_predicted_before_a_row_is_rebuilt(moons):
    x, y, model = moons
    some = np.where(np.arange(len(y)) % 2, y, -1)
    whole = np.where(some < 0, model.predict(x), some)
    np.testing.assert_array_equal(model.reconstruct(x, some), model.reconstruct(x, whole))
    np.testing.assert_array_equal(
        model.reconstruct(x, {}), model.reconstruct(x, model.predict(x))
    )  # as of a file without labels
    np.testing.assert_array_equal(model.reconstruct(x, 1), model.reconstruct(x, np.ones(len(x), int)))


def test_scores_are_of_rows_whose_label_is_known(moons):
    x, y, model = moons
    some = np.arange(0, len(y), 3)
    hidden = np.full(len(y), -1)
    hidden[some] = y[some]
    right = model.score(x[some], y[some])
    assert model.score(x, hidden) == pytest.approx(right)
    weight = np.random.default_rng(0).random(len(y))
    expected = np.average(model.predict(x[some]) == y[some], weights=weight[some])
    assert model.score(x, hidden, sample_weight=weight) == pytest.approx(expected)
    with pytest.raises(UserError, match="unknown in all rows"):
        model.score(x, np.full(len(y), -1))


def test_a_search_of_settings_judges_by_the_known_labels(moons):
    x, y, _ = moons
    names = np.array(["left", "right"])[y].astype(object)
    names[np.arange(len(y)) % 4 > 0] = "-1"
    search = GridSearchCV(vk.SemiSupervisedVAE(2, **QUICK), {"consistency": [0.0, 1.0]}, cv=2, refit=False)
    search.fit(x, names)
    assert (search.cv_results_["mean_test_score"] > 0.7).all()


def test_the_labels_kept_are_balanced_and_none_is_held_out():
    y = load_digits(return_X_y=True)[1]
    kept = keep_some("label", y, 45, 0.1, 0, True)
    rows = np.flatnonzero(kept != None)  # noqa: E711
    assert set(np.bincount(y[rows])) == {4, 5}
    assert (kept[rows] == y[rows]).all()
    assert not set(rows) & set(split(len(y), 0.1, 0)[1].tolist())
    assert not np.array_equal(kept, keep_some("label", y, 45, 0.1, 1, True))


def test_predictions_are_a_table(run, tmp_path):
    folder, _ = run
    done = vaekit("predict", folder, "digits[0:50]", "-o", tmp_path / "labels.csv", check=0)
    assert "of the 50 labels in SOURCE are predicted right" in done.stderr
    found = pd.read_csv(tmp_path / "labels.csv")
    assert list(found.columns) == ["label", *(f"p({c})" for c in range(10))]
    np.testing.assert_allclose(found.filter(like="p(").sum(axis=1), 1)
    np.testing.assert_array_equal(found.label, vk.load(folder).predict(load_digits().images[:50]))


def test_the_other_verbs_know_such_a_run(run, tmp_path):
    folder, _ = run
    vaekit("sample", folder, "--condition", 3, "-n", 4, "-o", tmp_path / "three.npy", check=0)
    assert np.load(tmp_path / "three.npy").shape == (4, 8, 8)
    said = vaekit("evaluate", folder, "--k", 5, check=0).stdout
    assert re.search(r"predicted right [\d.]+% of 180 labels; [\d.]+% by the same network", said), said
    assert "SemiSupervisedVAE" in vaekit("info", folder, check=0).stdout
    again = vaekit("fit", "--config", folder / "config.yaml", "--print-config", check=0).stdout
    assert "label_column: label" in again
    assert "labels: 40" in again


def test_m2_has_a_name(tmp_path):
    printed = vaekit("fit", "digits", "--label-column", "label", "--preset", "m2", "--print-config", check=0).stdout
    settings = yaml.safe_load(printed)
    assert settings["consistency"] == 0
    assert settings["generative"] == 1
    x, y = load_digits(return_X_y=True)
    quick = {**QUICK, "epochs": 30, "learning_rate": 5e-3}
    model = vk.SemiSupervisedVAE(random_state=0, **quick, **vk.preset("m2")).fit(x, few(y, 4))
    assert model.score(x, y) > 0.7  # the bound, of many nats, does not drown the labels


def test_numbers_from_a_table(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    table = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "price": x @ [2.0, 1.0] + 7})
    table.loc[rng.permutation(200)[:120], "price"] = np.nan
    table.to_csv(tmp_path / "rows.csv", index=False)
    quick = [
        "--size",
        "small",
        "--epochs",
        3,
        "--sampler",
        "prior",
        "--no-report",
        "--no-comparison",
        "--out",
        tmp_path / "run",
    ]
    done = vaekit("fit", tmp_path / "rows.csv", "--label-column", "price:number", *quick, check=0)
    assert "'price' is known in 80 of 200 rows; the model learns from 70 of these" in done.stderr
    assert re.search(r"^R2 +-?[\d.]+ of \d+ known values$", done.stderr, re.MULTILINE)
    vaekit("predict", tmp_path / "run", tmp_path / "rows.csv", "-o", tmp_path / "out.csv", check=0)
    assert list(pd.read_csv(tmp_path / "out.csv").columns) == ["price", "price sd"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--labels", 100], "needs --label-column"),
        (["--label-column", "label", "--labels", 5], "10 classes"),
        (["--label-column", "label", "--labels", 5000], "1617 training rows"),
        (["--label-column", "colour"], "no label or column 'colour'"),
        (["--label-column", "label", "--condition", "label"], "leave them out"),
    ],
)
def test_mistakes_are_told(options, said, tmp_path):
    done = vaekit("fit", "digits", *options, "--out", tmp_path / "run", check=2)
    assert said in done.stderr.splitlines()[-1]
