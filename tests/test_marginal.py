"""An unknown condition means the marginal: against a model whose p(x|y) is known in closed form, and shares that are counted."""

import numpy as np
import pytest
import torch
from torch import nn

import vaekit as vk
from conftest import LinearGaussian
from vaekit.conditions import Conditions
from vaekit.evaluation import evaluate, importance_weighted
from vaekit.model import LatentModel
from vaekit.nets import ConditionEmbedding
from vaekit.nets.population import Population
from vaekit.structures.marginal import likeliest, marginal
from vaekit.training.data import Data

KIND = torch.tensor([0, 0, 1, 2])  # what rows had together, and how often: kind 1 is never of size 1
SIZE = torch.tensor([0, 1, 0, 1])
COUNTS = torch.tensor([50, 20, 20, 10])


class Moved(nn.Module):
    """A network of the linear Gaussian model, x moved by what is known of y: p(x|z,y) or q(z|x,y)."""

    def __init__(self, net, move, encodes):
        super().__init__()
        self.net, self.move, self.encodes = net, move, encodes

    def forward(self, h, c):
        return self.net(h - self.move(c)) if self.encodes else self.net(h) + self.move(c)


@pytest.fixture
def truth():
    return LinearGaussian()


def conditional(truth, classes, numbers, y, counts):
    """The model with x moved by y, its exact posterior, and log p(x|y) in closed form."""
    plain = truth.model()
    condition = ConditionEmbedding(classes, numbers).double()
    condition.population = Population(y, counts).double()
    move = nn.Linear(condition.features, truth.columns, bias=False).double()
    nets = (Moved(plain.encoder, move, True), Moved(plain.decoder, move, False))
    model = LatentModel(*nets, plain.likelihood, latent_dim=truth.latent_dim, condition=condition).double()

    def log_p(x, **y):
        with torch.no_grad():
            return truth.log_px(x - move(condition(y, len(x))))

    return model.requires_grad_(False), log_p


def of_labels(truth):
    return conditional(truth, {"kind": 3, "size": 2}, {}, {"kind": KIND, "size": SIZE}, COUNTS)


def mixture(x, log_p, rows):
    """log p(x) of the sum over some rows of the table above, by their shares."""
    shares = (COUNTS[rows] / COUNTS[rows].sum()).log()
    each = [log_p(x, kind=KIND[[i]].expand(len(x)), size=SIZE[[i]].expand(len(x))) for i in rows]
    return (torch.stack(each, dim=1) + shares).logsumexp(1)


def test_unknown_labels_are_summed_out_by_their_shares(truth):
    model, log_p = of_labels(truth)
    x = truth.rows(200)
    exact = mixture(x, log_p, [0, 1, 2, 3])
    for unknown in ({}, {"kind": torch.full((200,), -1)}):
        torch.testing.assert_close(importance_weighted(model, Data(x, None, unknown), 3), exact)
    results = evaluate(model, Data(x), k=2)
    assert results["iw_nll"] == pytest.approx(-exact.mean().item())
    assert results["elbo"] == pytest.approx(exact.mean().item(), abs=0.3)  # a sample of z for each row
    assert results["elbo"] == pytest.approx(-results["reconstruction"] - results["kl"])


def test_what_is_known_stays_and_rows_differ_in_it(truth):
    """Given a kind the size is summed out by its shares among rows of that kind; each row knows something else."""
    model, log_p = of_labels(truth)
    x = truth.rows(5)
    y = {"kind": torch.tensor([-1, 0, 1, -1, 2]), "size": torch.tensor([-1, -1, -1, 1, 1])}
    exact = torch.cat([mixture(x[[i]], log_p, rows) for i, rows in enumerate(([0, 1, 2, 3], [0, 1], [2], [1, 3], [3]))])
    torch.testing.assert_close(importance_weighted(model, Data(x, None, y), 2), exact)
    alone = [importance_weighted(model, Data(x, None, y)[slice(i, i + 1)], 2) for i in range(5)]
    torch.testing.assert_close(torch.cat(alone), exact)


def test_the_densities_of_z_are_those_of_its_own_distributions(truth):
    model, log_p = of_labels(truth)
    x = truth.rows(20)
    draw = marginal(model, x, k=3)
    torch.testing.assert_close(draw.log_pz, model.prior(None, 20).log_prob(draw.z))
    torch.testing.assert_close(draw.log_qz, draw.posterior.log_prob(draw.z))
    torch.testing.assert_close(draw.log_weight, mixture(x, log_p, [0, 1, 2, 3]).expand(3, -1))


def test_unknown_numbers_are_averaged_over_what_training_saw(truth):
    seen = torch.randn(500, 1, dtype=torch.float64)
    model, log_p = conditional(truth, {}, {"pose": 1}, {"pose": seen}, torch.ones(500))
    x = truth.rows(50)
    each = torch.stack([log_p(x, pose=value.expand(50, 1)) for value in seen], dim=1)
    exact = each.logsumexp(1) - np.log(500)
    found = importance_weighted(model, Data(x), 10)
    torch.testing.assert_close(found, exact, atol=0.05, rtol=0)
    assert (log_p(x, pose=torch.full((50, 1), torch.nan)) - exact).abs().mean() > 0.05  # what the network knows of it


def test_the_likeliest_label_is_found_and_what_is_known_is_kept(truth):
    model, log_p = of_labels(truth)
    x, y = truth.rows(300), {"size": torch.tensor([-1, 1]).repeat(150)}
    joint = torch.stack([log_p(x, kind=KIND[[i]].expand(300), size=SIZE[[i]].expand(300)) for i in range(4)], dim=1)
    joint = joint + COUNTS.log()
    joint[1::2, [0, 2]] = -torch.inf
    best, found = joint.argmax(1), likeliest(model, x, y)
    assert (found["kind"] == KIND[best]).double().mean() > 0.99
    assert (found["size"][1::2] == 1).all()


# -- conditions as users give them -------------------------------------------------------------------------------------


def schema(**y):
    y = {
        name: np.asarray(values, dtype=object if isinstance(values[0], str | None) else None)
        for name, values in y.items()
    }
    learned = Conditions.infer(y)
    learned.learn(y, learned.pack(y, len(next(iter(y.values())))))
    return learned


def test_what_is_drawn_goes_together_as_in_training():
    """Shares within sampling error; values that never met do not meet; numbers are those of their label."""
    random = np.random.default_rng(0)
    make = random.choice(["bmw", "fiat"], 3000, p=[0.3, 0.7])
    model = np.where(make == "bmw", "x5", random.choice(["500", "panda"], 3000))
    price = np.where(make == "bmw", 60.0, 15.0) + random.normal(size=3000)
    learned = schema(make=make.tolist(), model=model.tolist(), price=price)
    drawn = learned.fill({}, 4000, random)
    assert np.mean(drawn["make"] == "bmw") == pytest.approx(np.mean(make == "bmw"), abs=0.03)
    assert set(zip(drawn["make"], drawn["model"], strict=True)) == {("bmw", "x5"), ("fiat", "500"), ("fiat", "panda")}
    assert (np.abs(drawn["price"] - np.where(drawn["make"] == "bmw", 60, 15)) < 5).all()
    given = learned.fill({"model": np.array(["x5", None] * 50, dtype=object), "price": 16.0}, 100, random)
    assert (given["model"][::2] == "x5").all()
    assert (given["price"] == 16.0).all()
    assert set(given["model"][1::2]) <= {"500", "panda"}  # at that price
    assert np.quantile(drawn["price"], [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(price, [0.1, 0.5, 0.9]), abs=1)


def test_labels_that_never_met_are_drawn_all_the_same():
    learned = schema(a=["x", "y"] * 50, b=["u", "v"] * 50)
    assert set(learned.fill({"a": "x", "b": "v"}, 3, np.random.default_rng(0))["b"]) == {"v"}
    model = vk.CVAE(2, size="small", epochs=1, sampler="prior").fit(
        np.zeros((4, 2)), {"a": np.array(["x", None] * 2, object), "b": np.array([None, "v"] * 2, object)}
    )
    assert model.sample(3).shape == (3, 2)


def test_rows_of_which_labels_and_numbers_are_unknown_are_scored_as_if_alone():
    """In a model of the user's, whose numbers are of 32 bits; the label is summed out given the number."""
    random = np.random.default_rng(0)
    kind, pose = random.integers(0, 3, 80), random.normal(size=80)
    x = kind[:, None] + random.normal(size=(80, 3))
    model = vk.CVAE(2, size="small", epochs=1, sampler="prior").fit(x, {"kind": kind, "pose": pose})
    y = {"kind": np.array([0, None, 1, None], dtype=object), "pose": np.array([0.1, 0.2, np.nan, np.nan])}
    together = model.score_samples(x[:4], y, k=4)
    alone = [model.score_samples(x[[i]], {n: v[[i]] for n, v in y.items()}, k=4) for i in range(4)]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-6)
    assert model.evaluate(x, k=2)["elbo"] <= -model.evaluate(x, k=2)["iw_nll"] + 0.5


def test_without_a_row_that_has_all_conditions_the_user_is_told():
    half = np.array(["x", None], dtype=object)
    with pytest.warns(vk.errors.Note, match="no row has values for all of a, b"):
        assert schema(a=half, b=half[::-1]).seen is None


def test_groups_of_unknown_label_come_as_often_and_as_sharp_as_in_the_data(tmp_path):
    random = np.random.default_rng(0)
    centres = np.array([[-5.0, 0], [5, 0], [0, 8]])
    y = random.choice(3, 600, p=[0.7, 0.2, 0.1])
    x = centres[y] + 0.5 * random.normal(size=(600, 2))
    model = vk.CVAE(2, size="small", sampler="prior", epochs=60, batch_size=50, learning_rate=5e-3).fit(x, y)

    def apart(rows):
        distance = np.linalg.norm(rows[:, None] - centres, axis=2)
        return np.bincount(distance.argmin(1), minlength=3) / len(rows), distance.min(1).mean()

    (shares, spread), (drawn, found) = apart(x), apart(model.sample(3000))
    assert drawn == pytest.approx(shares, abs=4 * np.sqrt(0.25 / 3000))
    assert found == pytest.approx(spread, rel=0.3)
    each = np.stack([model.score_samples(x[:50], np.full(50, c), k=20) for c in range(3)], axis=1)
    expected = np.logaddexp.reduce(each + np.log(np.bincount(y) / 600), axis=1)
    np.testing.assert_allclose(model.score_samples(x[:50], k=20), expected, rtol=1e-6)
    again = vk.load(model.save(tmp_path / "run"))
    np.testing.assert_array_equal(again.sample(20, random_state=1), model.sample(20, random_state=1))
    np.testing.assert_array_equal(again.score_samples(x[:5]), model.score_samples(x[:5]))
