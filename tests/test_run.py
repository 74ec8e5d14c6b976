"""The run directory: what goes in comes out, nothing is executed, and damage is told."""

import io
import pickle
import shutil
import zipfile
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import vaekit as vk
from conftest import TINY, dataset
from vaekit.errors import Note, UserError
from vaekit.files import read_tensors, write_tensors
from vaekit.nets import MLP
from vaekit.recipes.recipe import Recipe
from vaekit.recipes.source import held_out
from vaekit.runs.directory import read_evaluation, save_evaluation
from vaekit.show.write import write_array
from vaekit.sources.base import from_here


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
    np.testing.assert_array_equal(loaded.sample(5, y=3, random_state=1), cvae.sample(5, y=3, random_state=1))
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
    "no weights": (lambda r: (r / "model.safetensors").unlink(), "does not exist"),
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
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("custom: vaekit.nets.mlp.MLP", "name: x"))
    with pytest.raises(UserError, match="your own encoder, which it does not name"):
        vk.load(folder)
    (folder / "config.yaml").write_text(config)
    loaded = vk.load(folder, encoder=net, decoder=net)
    np.testing.assert_array_equal(loaded.transform(x), vae.transform(x))


# -- files that do not belong together -------------------------------------------------------------------------------------

ROWS = np.random.default_rng(0).normal(size=(60, 3))


def changed(path, change):
    """The file with its tensors changed, and a hash that is right for them."""
    kind = "sampler" if path.name.startswith("sampler") else path.name.removesuffix(".safetensors")
    tensors, about = read_tensors(path, kind)
    write_tensors(path, {name: change(tensor) for name, tensor in tensors.items()}, kind, about)


@pytest.fixture(scope="module")
def with_sampler(tmp_path_factory):
    np.save(tmp_path_factory.getbasetemp() / "rows.npy", ROWS)
    recipe = Recipe(str(tmp_path_factory.getbasetemp() / "rows.npy"), settings={**TINY, "sampler": "gmm"})
    return recipe.train(tmp_path_factory.mktemp("runs") / "run", say=lambda line: None)[0]


@pytest.mark.parametrize("name", ["model.safetensors", "sampler-gmm.safetensors"])
@pytest.mark.parametrize(
    ("spoil", "says"),
    {
        "not finite": (lambda path: changed(path, lambda t: t * torch.nan), "not finite"),
        "whole numbers": (lambda path: changed(path, lambda t: t.to(torch.int64)), "int64"),
        "half precision": (lambda path: changed(path, lambda t: t.half()), "float16"),
        "complex": (lambda path: changed(path, lambda t: t.to(torch.complex64)), "complex64"),
        "a bit": (lambda path: path.write_bytes(path.read_bytes()[:-3] + b"abc"), "damaged"),
    }.values(),
)  # fmt: skip
def test_weights_that_are_not_what_was_saved_are_refused(name, spoil, says, with_sampler, tmp_path):
    run = shutil.copytree(with_sampler, tmp_path / "run")
    spoil(run / name)
    with pytest.raises(UserError, match=says):
        vk.load(run)


def test_weights_of_another_run_of_the_same_shape_are_refused(with_sampler, tmp_path):
    run = shutil.copytree(with_sampler, tmp_path / "run")
    other = vk.VAE(**TINY).fit(ROWS + 1).save(tmp_path / "other")
    shutil.copy(other / "model.safetensors", run)
    with pytest.raises(UserError, match="one belongs to another run"):
        vk.load(run)


def test_a_sampler_of_other_weights_is_left_out(with_sampler, tmp_path):
    run = shutil.copytree(with_sampler, tmp_path / "run")
    other = vk.VAE(**{**TINY, "sampler": "gmm"}).fit(ROWS + 1).save(tmp_path / "other")
    shutil.copy(other / "sampler-gmm.safetensors", run)
    with pytest.warns(Note, match="learned for another model"):
        assert not vk.load(run).samplers_
    assert vk.load(with_sampler).samplers_


def test_saving_over_another_run_leaves_nothing_of_it(with_sampler, tmp_path):
    run = shutil.copytree(with_sampler, tmp_path / "run")
    save_evaluation(run, {"elbo": -1.0}, vk.load(run).fitted_)
    (run / "mine.txt").write_text("mine")
    (run / "language-model").mkdir()
    new = vk.VAE(3, size="small", epochs=1, sampler="prior").fit(ROWS + 100)
    new.save(run)
    names = {path.name for path in run.iterdir()}
    assert names == {"config.yaml", "model.safetensors", "metrics.csv", "notes.json", "mine.txt"}
    assert vk.load(run).notes_ == new.notes_
    np.testing.assert_array_equal(vk.load(run).transform(ROWS), new.transform(ROWS))
    with pytest.raises(UserError, match=r"no checkpoint.safetensors to continue from"):
        new.fit_data(dataset(ROWS + 100), folder=run, resume=True)


def test_saving_over_its_own_run_keeps_what_belongs_to_it(with_sampler, tmp_path):
    run = shutil.copytree(with_sampler, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    vk.load(run).save(run)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_checkpoint_of_another_run_is_refused(with_sampler, tmp_path):
    run = shutil.copytree(with_sampler, tmp_path / "run")
    np.save(tmp_path / "new.npy", ROWS + 100)
    other, _ = Recipe(str(tmp_path / "new.npy"), settings=dict(TINY)).train(tmp_path / "other", say=lambda line: None)
    shutil.copy(other / "checkpoint.safetensors", run)
    with pytest.raises(UserError, match="another run"):
        Recipe.read(run / "config.yaml").train(run, resume=True, say=lambda line: None)


def test_an_evaluation_is_believed_of_its_own_weights_alone(with_sampler, tmp_path):
    run = shutil.copytree(with_sampler, tmp_path / "run")
    vae = vk.load(run)
    save_evaluation(run, {"elbo": -1.0, "verdict": "good"}, vae.fitted_)
    assert read_evaluation(run, vae.fitted_) == {"elbo": -1.0, "verdict": "good"}
    assert read_evaluation(run, vk.VAE(**TINY).fit(ROWS + 1).fitted_) is None
    path = run / "evaluation.json"
    for text in (path.read_text().replace("-1.0", "-9.0"), "[" * 100_000, "[1]", "{}", "null", ""):
        path.write_text(text)
        assert read_evaluation(run, vae.fitted_) is None


def test_a_detector_of_other_weights_is_refused(tmp_path):
    vk.AnomalyDetector(vk.VAE(**TINY)).fit(ROWS).save(tmp_path / "a")
    vk.AnomalyDetector(vk.VAE(**TINY)).fit(ROWS + 1).save(tmp_path / "b")
    shutil.copy(tmp_path / "b" / "detector.safetensors", tmp_path / "a")
    with pytest.raises(UserError, match="another model"):
        vk.AnomalyDetector.load(tmp_path / "a")


def test_a_label_that_looks_like_a_number_stays_a_label(tmp_path):
    labels = np.array(["1e-3", "1e3", "yes", "0x1", "~", "2020-01-01"], dtype=object)
    cvae = vk.CVAE(2, size="small", epochs=1, sampler="prior").fit(ROWS, np.tile(labels, 10))
    loaded = vk.load(cvae.save(tmp_path / "run"))
    assert loaded.conditions_.to_config() == cvae.conditions_.to_config()


def test_a_run_of_a_newer_version_says_so(with_sampler, tmp_path):
    run = shutil.copytree(with_sampler, tmp_path / "run")
    edit(run, f"vaekit: {vk.__version__}", "vaekit: 99.0.dev1")
    with pytest.warns(Note, match=r"written by vaekit 99\.0\.dev1, which is newer"):
        vk.load(run)


def test_no_pickle_is_written(tmp_path):
    for name in ("a.npy", "a.npz"):
        with pytest.raises(UserError, match="a pickle"):
            write_array(tmp_path / name, np.array([{}, "a"], dtype=object), [])
    assert not list(tmp_path.iterdir())


def test_equal_content_is_equal_bytes(with_sampler, tmp_path):
    vae = vk.load(with_sampler)
    for name in ("model.safetensors", "sampler-gmm.safetensors", "config.yaml"):
        assert len({(vae.save(tmp_path / str(i)) / name).read_bytes() for i in range(10)}) == 1


def test_loading_leaves_the_random_numbers_of_the_host_alone(with_sampler):
    before = torch.get_rng_state()
    vk.load(with_sampler)
    assert torch.equal(before, torch.get_rng_state())


METRICS = [
    "words, and more words",
    "epoch,step\n1",
    "epoch,step,seconds\na,b,c\n",
    "a,b\n1,2\n",
    "epoch,step,seconds\nnan,1,1\n",
]
METRICS += ["epoch,step,seconds\n1,2,3,4\n", "epoch,step,seconds\n1,2\n"]


@pytest.mark.parametrize("content", [*map(str.encode, METRICS), b"epoch,step\xff\0\n1,2"])
def test_damaged_metrics_are_told(content, with_sampler, tmp_path):
    run = shutil.copytree(with_sampler, tmp_path / "run")
    (run / "metrics.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"metrics\.csv is damaged"):
        vk.load(run)


CONFIGS = {
    "settings": [None, [], "a"],
    "estimator": [["VAE"], None],
    "data": [None, [1], {}, {"kind": "rows", "schema": {}, "conditions": {"a": -1}, "fingerprint": ""}],
    "likelihood": ["normal"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in CONFIGS.items() for value in values])
def test_a_config_of_another_form_is_told(key, value, with_sampler, tmp_path):
    run = shutil.copytree(with_sampler, tmp_path / "run")
    values = yaml.safe_load((run / "config.yaml").read_text()) | {key: value}
    (run / "config.yaml").write_text(yaml.safe_dump(values))
    for do in (vk.load, lambda run: Recipe.read(run / "config.yaml")):
        with pytest.raises(UserError, match=r"config\.yaml is"):
            do(run)


@pytest.mark.parametrize("source", ["rows.npy", "more/rows.npy[0:30]"])
def test_a_relative_source_is_found_from_another_folder(source, tmp_path, monkeypatch):
    there, here = tmp_path / "there", tmp_path / "here"
    (there / "more").mkdir(parents=True)
    here.mkdir()
    for path in ("rows.npy", "more/rows.npy"):
        np.save(there / path, np.random.default_rng(0).normal(size=(40, 2)))
    monkeypatch.chdir(there)
    settings = {"size": "small", "epochs": 1, "sampler": "prior"}
    folder, fitted = Recipe(source=source, settings=settings).train(there / "run", say=list)
    held = held_out(fitted)
    monkeypatch.chdir(here)
    loaded = vk.load(folder)
    assert loaded.data_["source"] == source
    assert (held_out(loaded).x == held.x).all()
    again = Recipe.read(folder / "config.yaml")
    again.settings["epochs"] = 2
    assert len(again.train(folder, resume=True, say=list)[1].history_) == 2


def test_a_source_that_is_here_is_taken_from_here(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    for folder in (tmp_path, tmp_path / "there"):
        (folder / "rows.npy").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    for source in ("rows.npy", "rows.npy:x[3]", "digits", "hf://name", "nowhere.csv", str(tmp_path / "rows.npy")):
        assert from_here(source, str(tmp_path / "there")) == source
    assert from_here("rows.npy", None) == "rows.npy"
    (tmp_path / "there" / "other.npy").write_bytes(b"")
    assert from_here(["rows.npy", "other.npy[3]"], "there") == ["rows.npy", "there/other.npy[3]"]


def test_an_older_run_that_does_not_name_its_kind_has_the_same_recipe(tmp_path):
    np.save(tmp_path / "walk.npy", np.random.default_rng(0).normal(size=(60, 2)).cumsum(0))
    settings = {"kind": "series", "epochs": 1, "window": 8, "sampler": "prior"}
    folder, _ = Recipe(str(tmp_path / "walk.npy"), settings=settings).train(tmp_path / "run", say=list)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    del config["settings"]["kind"], config["settings"]["device"]
    config["settings"]["trainer"] = {"accelerator": "cpu"}
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(config))
    again = Recipe.read(tmp_path / "old.yaml")
    assert (again.estimator, again.settings["window"], again.conditions) == (vk.SeriesVAE, 8, [])
    assert again.settings["trainer"] == {}
    again.column = "x0"
    with pytest.raises(UserError, match="--column is not for --kind series: leave it out"):
        again.read_source()


def test_training_of_an_older_version_is_not_continued_and_the_way_on_is_named(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(30, 2)))
    recipe = Recipe(str(tmp_path / "x.npy"), settings={"epochs": 1, "sampler": "prior", "size": "small"})
    folder, _ = recipe.train(tmp_path / "run", say=list)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["settings"] |= {"kind": None, "binarize": None}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"written by an older vaekit .*binarize.* --init .*run and another --out"):
        recipe.train(folder, resume=True, say=list)


def test_an_older_configuration_says_the_same(tmp_path):
    (tmp_path / "old.yaml").write_text("{source: x.csv, kind: null, tokenizer: word, binarize: null, latent_dim: 3}")
    recipe = Recipe.read(tmp_path / "old.yaml")
    assert (recipe.source, recipe.kind) == ("x.csv", "auto")
    assert recipe.settings == {"latent_dim": 3, "kind": {"name": "auto", "tokenizer": "word"}}
    (tmp_path / "odd.yaml").write_text("{settings: {latent_dim: 3}}")
    with pytest.raises(UserError, match="unknown setting 'settings'"):
        Recipe.read(tmp_path / "odd.yaml")


FRAME = pd.DataFrame(ROWS, columns=["a", "b", "c"])
FITTED = {
    "VAE": lambda: vk.VAE(**TINY | {"sampler": "gmm"}).fit(FRAME),
    "CVAE": lambda: vk.CVAE(**TINY).fit(ROWS, ROWS[:, 0] > 0),
    "SeriesVAE": lambda: vk.SeriesVAE(window=4, **TINY).fit(ROWS),
    "SemiSupervisedVAE": lambda: vk.SemiSupervisedVAE(**TINY).fit(ROWS, np.where(ROWS[:, 0] > 0, "a", "b")),
    "SemiSupervisedRegressor": lambda: vk.SemiSupervisedRegressor(**TINY).fit(FRAME, ROWS[:, 1]),
}
LEARNED = (
    "history_", "notes_", "interrupted_", "temperature_", "classes_", "n_features_in_", "feature_names_in_", "kind_", "seed_",
    "likelihood_", "data_",
)  # fmt: skip


@pytest.mark.parametrize("fit", FITTED.values(), ids=FITTED)
def test_what_a_fitted_estimator_knows_is_there_after_load(fit, tmp_path):
    model = fit()
    again = vk.load(model.save(tmp_path / "run"))
    for name in LEARNED:
        assert hasattr(again, name) == hasattr(model, name), name
        np.testing.assert_equal(getattr(again, name, None), getattr(model, name, None), err_msg=name)
    assert again.samplers_.keys() == model.samplers_.keys()


def test_notes_that_are_made_after_training_are_in_the_run_too(tmp_path):
    model = vk.VAE(**{**TINY, "sampler": "auto"}).fit_data(dataset(ROWS), folder=tmp_path / "run")
    assert any(
        "sampler gmm" in text for text in model.notes_
    )  # random rows of few epochs: it is no better than the prior
    assert vk.load(tmp_path / "run").notes_ == model.notes_
    few = np.where(np.arange(len(ROWS)) < 6, np.arange(len(ROWS)) % 2, -1)
    labelled = vk.SemiSupervisedVAE(**TINY).fit_data(dataset(ROWS, {"y": few}), folder=tmp_path / "labels")
    assert any("not calibrated" in text for text in labelled.notes_)
    assert vk.load(tmp_path / "labels").notes_ == labelled.notes_


@pytest.mark.parametrize("model", [vk.VAE(**TINY), vk.AnomalyDetector(vk.VAE(**TINY))], ids=["VAE", "AnomalyDetector"])
def test_an_estimator_whose_fit_fails_is_as_before(model):
    model.fit(FRAME)
    before, found = dict(vars(model)), model.score_samples(FRAME)
    for bad in (np.full((5, 4), np.inf), ROWS[:1], ROWS[:, :0]):
        with pytest.raises(ValueError, match=r"."):
            model.fit(bad)
        assert vars(model) == before
    np.testing.assert_array_equal(model.score_samples(FRAME), found)
