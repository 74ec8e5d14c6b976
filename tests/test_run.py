"""The run directory: what goes in comes out, nothing is executed, and damage is told."""

import io
import pickle
import shutil
import zipfile
from functools import partial

import numpy as np
import pytest
import yaml

import vaekit as vk
from vaekit.errors import UserError
from vaekit.nets import MLP


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    images, labels = digits
    cvae = vk.CVAE(4, size="small", epochs=2, prior="conditional").fit(images, labels)
    return cvae, cvae.save(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained[1], tmp_path / "run")


def test_a_loaded_model_says_the_same(trained, digits):
    images, labels = digits
    cvae, folder = trained
    loaded = vk.load(folder)
    assert type(loaded) is vk.CVAE
    np.testing.assert_array_equal(loaded.transform(images[:9], labels[:9]), cvae.transform(images[:9], labels[:9]))
    np.testing.assert_array_equal(loaded.sample(5, y=3), cvae.sample(5, y=3))
    np.testing.assert_array_equal(loaded.score_samples(images[:5]), cvae.score_samples(images[:5]))
    assert loaded.get_params() == cvae.get_params()
    assert [row["epoch"] for row in loaded.history_] == [1, 2]


def test_saved_twice_it_is_the_same_file(trained, tmp_path):
    again = vk.load(trained[1]).save(tmp_path / "again")
    for name in ("config.yaml", "model.safetensors"):
        assert (again / name).read_bytes() == (trained[1] / name).read_bytes()


def test_rows_come_back_with_their_names_and_scales(tmp_path):
    x = np.random.default_rng(0).normal([5, -300, 0.001], [1, 50, 0.0001], (200, 3))
    vae = vk.VAE(2, size="small", epochs=2).fit(x)
    loaded = vk.load(vae.save(tmp_path / "run"))
    np.testing.assert_array_equal(loaded.reconstruct(x[:4]), vae.reconstruct(x[:4]))
    assert loaded.n_features_in_ == 3


def test_no_file_of_a_run_is_a_pickle(trained):
    for path in trained[1].iterdir():
        content = path.read_bytes()
        assert not zipfile.is_zipfile(io.BytesIO(content))
        with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, AttributeError)):
            pickle.loads(content)


def test_the_config_is_plain_and_readable(trained):
    text = (trained[1] / "config.yaml").read_text()
    values = yaml.safe_load(text)
    assert "!!" not in text
    assert values["settings"]["latent_dim"] == 4
    assert values["data"]["conditions"]["y"]["classes"] == list(range(10))


DAMAGE = {
    "no folder": (lambda r: shutil.rmtree(r), "does not exist"),
    "no config": (lambda r: (r / "config.yaml").unlink(), "no config.yaml"),
    "no weights": (lambda r: (r / "model.safetensors").unlink(), "is not there"),
    "weights cut": (lambda r: cut(r / "model.safetensors"), "damaged"),
    "weights empty": (lambda r: (r / "model.safetensors").write_bytes(b""), "damaged"),
    "weights foreign": (lambda r: (r / "model.safetensors").write_bytes(pickle.dumps({"a": 1})), "damaged"),
    "config cut": (lambda r: cut(r / "config.yaml"), "config"),
    "config not yaml": (lambda r: (r / "config.yaml").write_text("a: [1"), "YAML"),
    "config a list": (lambda r: (r / "config.yaml").write_text("- 1"), "lacks"),
    "config executes": (lambda r: (r / "config.yaml").write_text("!!python/object/apply:os.system ['true']"), "YAML"),
    "another latent": (lambda r: edit(r, "latent_dim: 4", "latent_dim: 5"), "do not fit"),
    "unknown setting": (lambda r: edit(r, "latent_dim: 4", "latent_dimm: 4"), "did you mean 'latent_dim'"),
    "unknown estimator": (lambda r: edit(r, "estimator: CVAE", "estimator: GAN"), "unknown estimator"),
    "unknown kind": (lambda r: edit(r, "kind: images", "kind: smells"), "do not fit"),
    "another number of classes": (lambda r: edit(r, "8, 9]", "8]"), "do not fit"),
}


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit(run, old, new):
    text = (run / "config.yaml").read_text()
    assert old in text
    (run / "config.yaml").write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told(damage, run):
    spoil, word = DAMAGE[damage]
    spoil(run)
    with pytest.raises(UserError, match=word):
        vk.load(run)


def test_own_networks_are_asked_for_by_name(tmp_path):
    net = partial(MLP, hidden=(7,))
    x = np.random.default_rng(0).normal(size=(50, 3))
    vae = vk.VAE(2, encoder=net, decoder=net, epochs=1).fit(x)
    folder = vae.save(tmp_path / "run")
    with pytest.raises(UserError, match=r"your own encoder, vaekit.nets.mlp.MLP: pass encoder="):
        vk.load(folder)
    loaded = vk.load(folder, encoder=net, decoder=net)
    np.testing.assert_array_equal(loaded.transform(x), vae.transform(x))
