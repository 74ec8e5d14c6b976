"""Feature networks, distances and disentanglement from the command line, with real files."""

import json

import numpy as np
import pytest

import vaekit as vk
from conftest import real, vaekit
from vaekit.errors import UserError
from vaekit.evaluation import FeatureNetwork, disentanglement
from vaekit.recipes.measures import columns, distances, factor_scores
from vaekit.sources import Dataset


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measures") / "run"
    quick = ["--size", "small", "--epochs", 3, "--latent-dim", 3, "--no-report"]
    vaekit("fit", "digits", "--condition", "label", *quick, "--out", folder, check=0)
    return folder


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    path = tmp_path_factory.mktemp("features") / "digits.safetensors"
    done = vaekit("features", "digits", "--label", "label", "--epochs", 8, "-o", path, check=0)
    network = FeatureNetwork.load(path)
    assert network.accuracy["label"] > 0.9
    assert network.hash in done.stderr
    return path


def test_evaluate_prints_distances_beside_their_floor_and_the_factors(run, features):
    done = vaekit("evaluate", run, "--features", features, "--factors", "label", "--k", 2, check=0)
    for said in ("I(x; z)", "shuffle gap", "Frechet", "recall", "MIG", FeatureNetwork.load(features).hash):
        assert said in done.stdout


def test_json_holds_all_of_it_and_so_does_the_run(run, features):
    done = vaekit("evaluate", run, "digits", "--features", features, "--factors", "label", "--k", 2, "--json", check=0)
    results = json.loads(done.stdout)
    assert results == json.loads((run / "evaluation.json").read_text())
    assert results["distances"]["rows"] == 898
    # A model of three epochs is far from the digits, and the digits are not far from themselves.
    assert results["distances"]["frechet"] > 4 * results["distances"]["floor"]["frechet"]
    assert results["distances"]["floor"]["recall"] > 0.8
    digits = vk.read("digits", conditions=["label"])
    codes = vk.load(run).transform(digits.x, digits.conditions)
    assert results["disentanglement"] == disentanglement(codes, digits.conditions["label"], ["label"])


def test_mistakes_are_told_in_one_line(run):
    for arguments, said in {
        ("evaluate", run, "--factors", "colour"): "(known: label)",
        ("evaluate", run, "--features", run / "model.safetensors"): "not a feature network",
        ("features", "digits", "--label", "colour", "-o", "f.safetensors"): "colour",
        ("features", "digits", "-o", "f.safetensors"): "--label",
    }.items():
        told = vaekit(*arguments, check=2).stderr
        assert said in told
        assert told.count("vaekit: error: ") == 1
        assert told.splitlines()[-1].startswith("vaekit: error: ")  # what was read is said before


def test_rows_of_numbers_have_no_features(tmp_path):
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(40, 3)), label=np.arange(40) % 2)
    done = vaekit("features", tmp_path / "rows.npz", "--label", "label", "-o", tmp_path / "f", check=2)
    assert "rows of numbers" in done.stderr


def test_samples_are_drawn_under_the_conditions_of_the_data(features):
    """An estimator that gives back digits of the class it is asked for is as near as the digits themselves, also where
    the data hold one class only; one that ignores the class is not."""
    digits = vk.read("digits", conditions=["label"])
    ones = digits[np.flatnonzero(digits.conditions["label"] == 1)]

    class Recall:
        conditions_ = type("Schema", (), {"named": {"label": None}})

        def sample(self, n, y, random_state):
            rng = np.random.default_rng(random_state)
            found = [rng.choice(np.flatnonzero(digits.conditions["label"] == label)) for label in y["label"]]
            return digits.x[found]

    network = FeatureNetwork.load(features)
    asked = distances(Recall(), ones, network)
    assert asked["rows"] == len(ones) // 2
    assert asked["frechet"] < 2 * asked["floor"]["frechet"]
    Recall.conditions_.named = {}
    Recall.sample = lambda self, n, y, random_state: digits.x[:n]
    assert distances(Recall(), ones, network)["frechet"] > 10 * asked["frechet"]


def test_an_array_of_factors_is_a_column_each():
    data = {"factors": np.arange(6).reshape(3, 2), "label": np.arange(3)}
    found = columns(data, ["label", "factors"])
    assert list(found) == ["label", "factors[0]", "factors[1]"]
    np.testing.assert_array_equal(found["factors[1]"], [1, 3, 5])
    with pytest.raises(UserError, match="'age'"):
        columns(data, ["age"])


def test_factors_of_real_sprites():
    """A code that is two of the six known factors stands for these two, one a unit, and knows nothing of the others."""
    with np.load(real("lpc_sprites/lpc_sprites.npz")) as arrays:
        factors = arrays["factors"]

    class Known:
        conditions_ = type("Schema", (), {"named": {}})

        def transform(self, x, y):
            return factors[:, [0, 4]].astype(float)

    data = Dataset(np.zeros((len(factors), 1)), "rows", "sprites", None, {"factors": factors}, [])
    scores = factor_scores(Known(), data, ["factors"])
    assert [scores["factors"][f"factors[{i}]"]["mig"] for i in range(6)] == pytest.approx([1, 0, 0, 0, 1, 0], abs=0.01)
    assert scores["factors"]["factors[4]"]["informativeness"] == 1
    assert scores["factors"]["factors[1]"]["informativeness"] < 0.3


def test_help_is_a_page():
    assert "--label" in vaekit("features", "--help", check=0).stdout
    shown = vaekit("evaluate", "--help", check=0).stdout
    assert "--features" in shown
    assert "--factors" in shown
