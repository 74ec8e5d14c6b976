"""An exported model at work, without PyTorch."""

import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from packaging.requirements import Requirement

import vaekit as vk
from conftest import TINY
from vaekit.deploy.export import export
from vaekit.errors import Note, UserError
from vaekit.robots.environments import demonstrate
from vaekit.runtime import load
from vaekit.runtime.folder import digest_of
from vaekit.sources.base import Dataset
from vaekit.uses.calibration import Calibration
from vaekit.uses.conformal import p_values

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("runtime")


@pytest.fixture(scope="module")
def pictures(place):
    """A model of grey pictures and their labels, and its export."""
    labels = RNG.integers(0, 3, 60)
    X = (RNG.random((60, 6, 6)) * 60 + 60 * labels[:, None, None]).astype(np.uint8)
    vae = vk.CVAE(**TINY).fit(X, labels)
    odd = Calibration([vae.fitted_], "path")
    odd.calibrate((Dataset(X, "images", "", None, {"y": labels}, []), np.arange(60)), "here")
    assert export(vae, place / "pictures", odd=odd) == []
    return vae, X, labels, odd, place / "pictures"


def test_pictures(pictures):
    vae, X, labels, _, folder = pictures
    model = load(folder)
    np.testing.assert_allclose(model.encode(X, labels), vae.transform(X, labels), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.encode(X), vae.transform(X), rtol=1e-5, atol=1e-5)
    z = RNG.normal(size=(5, 2))
    assert np.abs(model.decode(z, 1).astype(int) - vae.fitted_.decode(z, 1)).max() <= 1
    rebuilt = model.reconstruct(X, labels)
    assert rebuilt.dtype == np.uint8
    assert np.abs(rebuilt.astype(int) - vae.reconstruct(X, labels)).max() <= 1
    assert model.sample(4, [0, 1, None, 2]).shape == (4, 6, 6)
    np.testing.assert_array_equal(model.sample(3, seed=1), model.sample(3, seed=1))
    assert model.encode(X[:1], 2).shape == (1, 2)


def test_a_score_needs_all_that_the_model_was_told(pictures):
    _, X, labels, _, folder = pictures
    model = load(folder)
    for y in (None, [None, *labels[1:]]):
        with pytest.raises(UserError, match="a score needs condition 'y' of every row"):
            model.p_values(X, y)


def test_a_score_is_of_its_row_alone(pictures):
    _, X, labels, odd, folder = pictures
    model = load(folder)
    scores = model.score(X, labels)
    np.testing.assert_allclose(model.score(X[7:9], labels[7:9]), scores[7:9], rtol=1e-5)
    np.testing.assert_allclose(scores, odd.score_samples(X, {"y": labels}), rtol=1e-4)
    assert len(model.calibration) == len(odd.scores)
    off = np.abs(model.p_values(X, labels) - p_values(scores, odd.scores))
    assert off.max() < 1.001 / (
        len(odd.scores) + 1
    )  # some rows are calibration rows too, and rounding decides which is larger


def test_what_a_model_cannot_do(pictures, tmp_path):
    _, X, *_, folder = pictures
    model = load(folder)
    for do, said in (
        (lambda: model.predict(X), "without the graph 'predict': .*few labels"), 
        (lambda: model.act({}), "without the graph 'policy'"), (lambda: model.sample(0), "n is 0"), (lambda: model.sample(1, temperature=-1), "temperature is -1"),
        (lambda: model.decode(np.zeros((2, 9))), r"\(N, 2\)"), (lambda: model.decode([[np.nan, 0]]), "not finite"),
        (lambda: model.sample(2, 9), "no class 9"), (lambda: model.sample(2, {"labels": 1}), "no condition 'labels'"),
        (lambda: model.encode(X[:0]), "no rows"), (lambda: model.encode(X[:, :5]), "do not fit"), (lambda: model.impute(X, draws=0), "draws is 0"),
        (lambda: model.encode(X[:3], [1, 2]), "2 values for 3 rows"), (lambda: load(tmp_path), "does not exist: give the folder"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            do()


def test_a_folder_that_was_changed(pictures, tmp_path):
    *_, folder = pictures
    about = json.loads((folder / "model.json").read_text())
    for name in about["files"]:
        (tmp_path / name).write_bytes((folder / name).read_bytes())

    def told(**changes):
        said = {**about, **changes}
        (tmp_path / "model.json").write_text(json.dumps({**said, "digest": digest_of(said)}))
        return load(tmp_path)

    (tmp_path / "model.json").write_text(json.dumps({**about, "latent_dim": 3}))
    with pytest.raises(UserError, match=r"model\.json was changed after the export"):
        load(tmp_path)
    del about["digest"]

    for changes, said in (
        ({"format": 2}, "has format 2.*upgrade"), ({"format": None}, "not of a model that vaekit exported"), ({"form": {"type": "x"}}, "unknown"),
        ({"conditions": [{"name": "a"}]}, "cannot be read"), ({"conditions": [{"name": "a", "kind": "label"}]}, "cannot be read"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            told(**changes)
    del about["files"]["prior.onnx"]
    (tmp_path / "encoder.onnx").write_bytes(b"other")
    model = told()
    with pytest.raises(UserError, match=r"encoder\.onnx was changed after the export"):
        model.encode(np.zeros((1, 6, 6), np.uint8))
    with pytest.raises(UserError, match="without the graph 'prior'"):
        model.sample(1)
    (tmp_path / "decoder.onnx").unlink()
    with pytest.raises(UserError, match=r"decoder\.onnx does not exist"):
        told().decode(np.zeros((1, 2)))
    with pytest.raises(UserError, match="lacks 'files'"):
        told(files=[])
    for text, said in (("{", "is damaged"), ('{"format": 1}', "was changed"), ("[]", "not of a model")):
        (tmp_path / "model.json").write_text(text)
        with pytest.raises(UserError, match=said):
            load(tmp_path)


@pytest.fixture(scope="module")
def table(place):
    """A model of a table with gaps and a condition, and its export."""
    n = 200
    frame = pd.DataFrame({
        "size": np.round(RNG.gamma(2.0, size=n), 2), "n": RNG.integers(0, 900, n), "word": RNG.choice(["a", "b", "<i>"], n),
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(RNG.permutation(n), unit="D"),
    })  # fmt: skip
    frame.loc[RNG.random(n) < 0.2, "size"] = np.nan
    frame.loc[RNG.random(n) < 0.2, "word"] = None
    age = RNG.normal(50, 9, n)
    vae = vk.CVAE(**TINY).fit(frame, {"age": age})
    assert export(vae, place / "table", k=8) == []
    return vae, frame, age, place / "table"


def test_tables(table):
    vae, frame, age, folder = table
    model = load(folder)
    rows = {name: frame[name].tolist() for name in frame}
    np.testing.assert_allclose(model.encode(rows, age), vae.transform(frame, {"age": age}), rtol=1e-5, atol=1e-5)
    found, wanted = model.reconstruct(rows, age), vae.reconstruct(frame, {"age": age})
    for name in ("size", "n"):
        close = np.isclose(
            found[name].astype(float), wanted[name].to_numpy(float, na_value=np.nan), atol=1, equal_nan=True
        )
        assert close.mean() > 0.99
    new = model.sample(50, [None, 40.0] * 25)
    assert list(new) == ["size", "n", "word", "day", "age"]
    assert new["day"].dtype.kind == "M"
    assert set(new["word"].tolist()) <= {"a", "b", "<i>", None}
    assert (new["age"][1::2] == 40).all()
    assert not np.isnan(new["age"]).any()


def test_gaps_are_filled(table):
    vae, frame, age, folder = table
    model = load(folder)
    filled = model.impute(frame, age)
    gaps = frame["size"].isna().to_numpy()
    assert not np.isnan(filled["size"]).any()
    np.testing.assert_array_equal(filled["size"][~gaps], frame["size"][~gaps])
    assert None not in filled["word"].tolist()
    several = model.impute(frame[:20], age[:20], draws=3, seed=1)
    assert len(several) == 3
    spread = np.std([each["size"] for each in several], axis=0)
    assert (spread[gaps[:20]] > 0).any()
    assert (spread[~gaps[:20]] < 1e-12).all()
    usual = vae.impute(frame, {"age": age})["size"].to_numpy()
    assert np.abs(filled["size"] - usual).max() < 4 * np.nanstd(frame["size"])


def test_an_unknown_class_is_noted(table):
    _, frame, _, folder = table
    with pytest.warns(Note, match="classes that training never saw"):
        load(folder).encode(frame[:2].assign(word="new"))


@pytest.mark.slow  # tracing its graphs takes half a minute
def test_texts(tmp_path):
    texts = [f"{a} {b}" for a in ("a red", "a blue", "the old") for b in ("cat", "dog", "house", "tree")] * 5
    vae = vk.VAE(**TINY, kind={"tokenizer": {"name": "word", "longest": 8}}).fit(texts)
    export(vae, tmp_path / "texts", k=2)
    model = load(tmp_path / "texts")
    np.testing.assert_allclose(model.encode(texts), vae.transform(texts), rtol=1e-5, atol=1e-5)
    assert model.reconstruct(texts[:5]).tolist() == vae.reconstruct(texts[:5]).tolist()
    assert model.sample(3).shape == (3,)
    np.testing.assert_allclose(model.score(texts[1:3]), model.score(texts)[1:3], rtol=1e-4)


def test_rows(tmp_path):
    X = RNG.normal(size=(80, 5)) * [1, 2, 3, 4, 5]
    X[RNG.random(X.shape) < 0.1] = np.nan
    vae = vk.VAE(**TINY).fit(X)
    export(vae, tmp_path / "rows", k=4)
    model = load(tmp_path / "rows")
    np.testing.assert_allclose(model.encode(X), vae.transform(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.reconstruct(X), vae.reconstruct(X), rtol=1e-5, atol=1e-4)
    filled = model.impute(X)
    np.testing.assert_array_equal(filled[~np.isnan(X)], X[~np.isnan(X)])
    assert np.isfinite(filled).all()
    assert model.sample(6).shape == (6, 5)
    assert model.impute(X[:3], draws=2)[1].shape == (3, 5)
    assert model.encode(X[:1]).shape == (1, 2)


@pytest.mark.slow  # tracing its graphs takes half a minute
def test_series(tmp_path):
    steps = np.cumsum(RNG.normal(size=(120, 2)), axis=0)
    vae = vk.SeriesVAE(latent_dim=2, size="small", epochs=2, window=8).fit(steps)
    export(vae, tmp_path / "series")
    model = load(tmp_path / "series")
    (rebuilt,) = vae.fitted_.kind.reconstruct(vae.fitted_, steps)
    np.testing.assert_allclose(model.reconstruct(steps), rebuilt, rtol=1e-5, atol=1e-4)
    assert model.sample(3).shape == (3, 8, 2)
    assert model.encode(steps).shape == (113, 2)


@pytest.mark.slow  # tracing its graphs takes half a minute
def test_sound(tmp_path):
    time = np.arange(1000) / 8000
    clips = np.stack([np.sin(2 * np.pi * f * time) for f in RNG.uniform(200, 900, 12)]).astype(np.float32)
    vae = vk.VAE(**TINY, kind={"name": "audio", "rate": 8000}).fit(clips)
    export(vae, tmp_path / "sound", k=2)
    model = load(tmp_path / "sound")
    np.testing.assert_allclose(model.encode(clips), vae.transform(clips), rtol=1e-4, atol=1e-4)
    assert model.reconstruct(clips).shape == clips.shape
    assert model.sample(2).dtype == np.float32


@pytest.mark.slow  # tracing its graphs takes half a minute
def test_few_labels(tmp_path):
    truth = RNG.integers(0, 3, 90)
    X = RNG.normal(size=(90, 4)) + 3 * truth[:, None]
    labels = np.where(RNG.random(90) < 0.5, truth, -1)
    vae = vk.SemiSupervisedVAE(latent_dim=2, size="small", epochs=2).fit(X, labels)
    export(vae, tmp_path / "labels", k=2)
    model = load(tmp_path / "labels")
    np.testing.assert_allclose(model.predict_proba(X), vae.predict_proba(X), atol=1e-5)
    np.testing.assert_array_equal(model.predict(X), vae.predict(X))
    np.testing.assert_allclose(model.reconstruct(X), vae.reconstruct(X), rtol=1e-4, atol=1e-4)


def test_a_policy(tmp_path):
    found = demonstrate("two-routes", 12)
    policy = vk.Policy(latent_dim=3, size="small", chunk_size=8, epochs=1, z="mean").fit(found)
    export(policy, tmp_path / "policy")
    model = load(tmp_path / "policy")
    row = {name: values[0] for name, values in found.observations.items()}
    for each in (model, policy):
        each.reset(seed=0)
    for _ in range(10):
        np.testing.assert_allclose(model.act(row), policy.act(row), rtol=1e-4, atol=1e-5)


# -- without PyTorch ---------------------------------------------------------------------------------------------------------

BARE = """
import importlib.util, json, sys
sys.path[:0] = [sys.argv[1]]
import vaekit.runtime
assert not {"onnxruntime", "yaml"} & set(sys.modules), "more than NumPy was imported"
for name in ("torch", "scipy", "pandas", "pyarrow", "sklearn", "yaml", "tokenizers"):
    assert importlib.util.find_spec(name) is None, name
model = vaekit.runtime.load(sys.argv[2])
import numpy as np
X = np.load(sys.argv[3])
z = model.encode(X)
np.savez(sys.argv[4], z=z, rebuilt=model.reconstruct(X), shown=model.decode(z), score=model.score(X, 0), p=model.p_values(X, 0), new=model.sample(5))
"""


def linked(folder, *names):
    """A folder with the packages of these distributions and of all that they need, and vaekit, and nothing else."""
    folder.mkdir()
    found, left = set(), list(names)
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        dist = distribution(name)
        tops = {file.parts[0] for file in dist.files or [] if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            if not (folder / top).exists():
                (folder / top).symlink_to(dist.locate_file(top))
        needs = map(Requirement, dist.requires or [])
        left += [need.name for need in needs if not need.marker or need.marker.evaluate({"extra": ""})]
    (folder / "vaekit").symlink_to(Path(vk.__file__).parent)
    assert "torch" not in found
    return folder


def bare(site, *arguments):
    """Run Python with the packages of a folder alone."""
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", *map(str, arguments[:1]), str(site), *map(str, arguments[1:])], capture_output=True, text=True
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_no_torch_where_it_runs(pictures, tmp_path):
    vae, X, *_, folder = pictures
    np.save(tmp_path / "x.npy", X)
    site = linked(tmp_path / "site", "numpy", "onnxruntime")
    bare(site, BARE, folder, tmp_path / "x.npy", tmp_path / "found.npz")
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_allclose(found["z"], vae.transform(X), rtol=1e-5, atol=1e-5)
        assert np.abs(found["shown"].astype(int) - vae.fitted_.decode(found["z"])).max() <= 1
        assert np.abs(found["rebuilt"].astype(int) - vae.reconstruct(X)).max() <= 1
        assert found["new"].shape == (5, 6, 6)
        np.testing.assert_array_equal(found["score"], load(folder).score(X, 0))
    said = bare(site, "import sys; sys.path[:0] = [sys.argv[1]]\nfrom vaekit.forms import open_form\nfrom vaekit.errors import UserError\n"
        "form = open_form({'type': 'tokens', 'event': [4], 'level': 'word', 'longest': 4, 'tokens': ['a']})\n"
        "try: form.pack(['a'])\nexcept UserError as e: print(e)")  # fmt: skip
    assert said.strip() == "texts need the package tokenizers, which is not installed: pip install tokenizers"
