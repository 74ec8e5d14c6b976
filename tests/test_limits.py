"""Values are checked by what is declared beside them: in Python, from YAML and from the command line, before the data is read."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import vaekit as vk
from conftest import dataset
from vaekit.errors import UserError
from vaekit.files import parse_yaml
from vaekit.recipes.recipe import Recipe
from vaekit.robots.policy import Policy
from vaekit.settings.limits import (
    Many,
    Number,
    Positive,
    Seed,
    Share,
    ShareBelow1,
    Whole,
    Within,
    check,
    fits,
    hints_of,
)
from vaekit.training import Training

ANY_NUMBER = st.one_of(st.integers(), st.floats(), st.sampled_from([10**400, -(10**400), 2**64]))


@given(ANY_NUMBER)
def test_numbers_fit_where_arithmetic_says_so(value):
    finite = not (isinstance(value, float) and not math.isfinite(value))
    whole = isinstance(value, int)
    assert fits(value, int) == (whole and 1 <= value <= 10**6)
    assert fits(value, Whole) == (whole and 0 <= value <= 10**6)
    assert fits(value, Many) == (whole and 1 <= value <= 10**9)
    assert fits(value, Seed) == (whole and 0 <= value < 2**32)
    representable = finite and abs(value) <= sys.float_info.max
    assert fits(value, float) == (representable and value >= 0)
    assert fits(value, Number) == representable
    assert fits(value, Positive) == (representable and value > 0)
    assert fits(value, Share) == (finite and 0 <= value <= 1)
    assert fits(value, ShareBelow1) == (finite and 0 <= value < 1)
    assert fits(value, int | None) == fits(value, int)


@pytest.mark.parametrize(
    ("value", "hint", "said"),
    [
        ("8", int, "n='8' has to be a whole number from 1 to 1,000,000"),
        (8.0, int, "n=8.0 has to be a whole number"),
        (True, int, "n=True has to be a whole number"),
        (True, float, "n=True has to be a number, 0 or more"),
        ("1e-3", Positive | None, "n='1e-3' has to be a number above 0"),
        (None, float, "n=None has to be a number"),
        (2, Annotated[float, Within(0, 1, above=True)], "n=2 has to be a number above 0 and at most 1"),
        (1, ShareBelow1, "n=1 has to be a number from 0 to below 1"),
        (1, bool, "n=1 has to be true or false"),
        ("cnov", Literal["conv", "mlp"], r"n='cnov' is not one of the choices; did you mean 'conv'\? \(known: conv, mlp\)"),
        (3, Literal["conv", "mlp"] | None, r"n=3 is not one of the choices \(known: conv, mlp\)"),
        ("label", list[str], "n='label' has to be a list, each a word"),
        ([8], tuple[int, int], "n=\\[8\\] has to be a list of 2, each a whole number"),
        ([1, 0], int | Sequence[int], "n=\\[1, 0\\] has to be a whole number .* or a list, each a whole number"),
        (3, str | Mapping, "n=3 has to be a word or a dict"),
        ("x" * 5000, int, "n='x.*' has to be"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_in_one_short_line(value, hint, said):
    with pytest.raises(UserError, match=said) as e:
        check("n", value, hint)
    assert len(str(e.value)) < 200


def test_what_fits():
    for value, hint in [
        (np.int64(3), int), (np.float32(0.5), Share), (np.bool_(True), bool | np.bool_), ("a", str), (None, int | None),
        ([1, 2], tuple[int, int]), ((1, 2), Sequence[int]), ({}, str | Mapping), (["a"], list[str]), (3, int | Sequence[int]),
    ]:  # fmt: skip
        check("n", value, hint)


@pytest.mark.parametrize("estimator", [vk.VAE, vk.CVAE, vk.SeriesVAE, vk.SemiSupervisedVAE, Policy, Training])
def test_every_default_fits_its_own_declaration(estimator):
    hints, values = hints_of(estimator), vars(estimator())
    for name, value in values.items():
        check(name, value, hints[name])


WRONG = {
    "epochs": ["ten", 2.5, 0, -1, 10**12, True],
    "batch_size": [64.0, "64", 0],
    "latent_dim": [8.0, "8", -1, 10**12],
    "patience": ["0.2", -1, math.nan, None],
    "validation": ["10%", 1, -0.1],
    "random_state": [-1, "a", 2**64],
    "minutes": ["5m", 0],
    "learning_rate": [0, "fast", math.inf],
    "cell_dropout": ["a", 1.5],
    "trainer": [{"precison": "32"}, {"precision": "16-true"}, {"devices": 0}, {"nodes": -1}, {"seed": -1}, 3],
    "network": ["cnov", 3],
    "size": ["huge", 3, {"width": 8}],
    "schema": [["a"]],
    "conditions": ["label", [3], 3],
    "resize": ["8x8", [8], [8, 0], [8, 8, 8]],
    "strict": ["no", 1],
    "source": [3, [3]],
    "labels": ["x", 0, 1.5],
    "column": [3],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_setting_in_yaml_is_told_before_the_source_is_read(tmp_path, name, value):
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump({"source": "nowhere.csv", name: value}))
    with pytest.raises(UserError, match=name) as e:
        Recipe.read(path)
    assert "nowhere" not in str(e.value)


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "+1e-3", "1.e-3", "10e-4", "0.001"])
def test_a_number_in_yaml_is_a_number(text):
    assert parse_yaml(f"learning_rate: {text}") == {"learning_rate": 0.001}


def test_words_in_yaml_stay_words():
    assert parse_yaml("[1e, e-3, 1e-3m, a1e-3, '1e-3', 10%]") == ["1e", "e-3", "1e-3m", "a1e-3", "1e-3", "10%"]


def test_condition_dropout_is_a_share(tmp_path):
    for value in (5, -1, "a"):
        with pytest.raises(UserError, match=f"condition_dropout={value!r} has to be a number from 0 to 1"):
            vk.CVAE(condition_dropout=value).fit(np.zeros((20, 2)), np.arange(20) % 2)


def test_numbers_of_numpy_are_numbers_and_can_be_saved(tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 2))
    fitted = vk.VAE(
        np.int64(2), epochs=np.int32(1), learning_rate=np.float32(0.001), size="small", sampler="prior"
    ).fit(x)
    assert vk.load(fitted.save(tmp_path / "run")).latent_dim == 2


def test_no_row_left_to_learn_from_is_told_before_anything_is_written(tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(UserError, match=r"validation=0.9999 holds out all 30 rows"):
        vk.VAE(2, validation=0.9999, size="small").fit_data(dataset(x), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        ({"device": "evil"}, "device='evil' is not on this machine"),
        ({"device": "mps"}, "device='mps' is not on this machine"),
        ({"strategy": "evil"}, "cannot train with .*evil"),
        ({"strategy": "deepspeed"}, "cannot train with .*deepspeed"),
    ],
)
def test_what_this_machine_cannot_train_with_is_told(tmp_path, trainer, said):
    x = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(UserError, match=said):
        vk.VAE(2, size="small", trainer=trainer).fit_data(dataset(x), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_arguments_of_methods_are_checked_too():
    x = np.random.default_rng(0).normal(size=(30, 2))
    vae = vk.VAE(2, epochs=1, size="small", sampler="prior").fit(x)
    for call, said in [
        (lambda: vae.sample(10**30), "n_samples=1000000000.* has to be a whole number from 1"),
        (lambda: vae.sample("3"), "n_samples='3' has to be"),
        (lambda: vae.sample(3, random_state=-1), "random_state=-1 has to be a whole number from 0 to 4,294,967,295"),
        (lambda: vae.sample(3, temperature=None), "temperature=None has to be a number, 0 or more"),
        (lambda: vae.impute(x, draws=0.5), "draws=0.5 has to be a whole number"),
        (lambda: vae.interpolate(x[0], x[1], 10**9), "steps=1000000000 has to be a whole number from 2 to 10,000"),
        (lambda: vk.AnomalyDetector(contamination="a").fit(x), "contamination='a' has to be a number above 0 and at most 0.5"),
        (lambda: vk.AnomalyDetector(random_state=-1).fit(x), "random_state=-1"),
        (lambda: vk.AnomalyDetector(vk.VAE).fit(x), "estimator=.* has to be a VAE"),
    ]:  # fmt: skip
        with pytest.raises(UserError, match=said):
            call()
