"""Runs on the Hugging Face Hub: the unmodified huggingface_hub, and a small Hub on this machine."""

import json
import os
import resource
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest

import vaekit as package
from conftest import TINY, fails, mistake, people, process, vaekit
from hub_server import TOKEN, Hub
from vaekit.files import read_yaml

huggingface_hub = pytest.importorskip("huggingface_hub")
from huggingface_hub import ModelCard, constants  # noqa: E402

X = np.random.default_rng(0).normal(size=(60, 4))
NEEDED = {"config.yaml", "model.safetensors", "metrics.csv", "notes.json", "README.md"}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub, and a user who is logged in there and has an empty cache. The constants are read from the environment only once."""
    server = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield server
    server.shutdown()
    server.server_close()


def environment(hub, tmp_path):
    """The same for another process."""
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path),
        "HF_HUB_CACHE": constants.HF_HUB_CACHE,
        "HF_HUB_DISABLE_XET": "1",
    }


@pytest.fixture(scope="module")
def vae():
    return package.VAE(**TINY).fit(X)


@pytest.fixture
def run(vae, tmp_path):
    return vae.save(tmp_path / "run")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A run of a table, with its report and a calibration, as `vaekit fit` and `vaekit score` make it."""
    folder = tmp_path_factory.mktemp("table")
    pyarrow.csv.write_csv(people(300, 0), folder / "people.csv")
    options = ("--epochs", "2", "--size", "small", "--latent-dim", "2", "--condition", "sex", "--out", "run")
    vaekit("fit", folder / "people.csv", *options, check=0, cwd=folder)
    vaekit("score", "run", folder / "people.csv", check=0, cwd=folder)
    return folder / "run"


@pytest.fixture
def table_run(table, tmp_path):
    return shutil.copytree(table, tmp_path / "run")


# -- there and back ----------------------------------------------------------------------------------------------------


def test_a_run_goes_to_the_hub_and_comes_back(hub, vae, run) -> None:
    done = vaekit("push", run, "user/numbers", "--licence", "mit", "--message", "A first try", check=0)
    repository = hub.repositories["models", "user/numbers"]
    assert set(repository.files()) == NEEDED
    assert repository.messages[-1] == "A first try"
    assert f"user/numbers/commit/{repository.branches['main']}" in done.stderr
    back = package.load("hf://user/numbers")
    assert back.hub_ == f"hf://user/numbers@{repository.branches['main']}"
    assert np.array_equal(back.transform(X), vae.transform(X))
    assert np.array_equal(back.sample(5), package.load(run).sample(5))
    assert package.load(Path("hf://user/numbers")).hub_ == back.hub_  # a Path has lost a slash
    assert TOKEN not in done.stdout + done.stderr


def test_another_process_uses_a_run_from_the_hub(hub, run, tmp_path) -> None:
    vaekit("push", run, "user/numbers", check=0)
    (here := tmp_path / "here").mkdir()
    done = process("sample", "hf://user/numbers", "-n", 5, cwd=here, env=environment(hub, tmp_path), check=0)
    sha = hub.repositories["models", "user/numbers"].branches["main"]
    assert done.stderr.splitlines() == [f"user/numbers at commit {sha}", "5 samples in samples.csv"]
    assert len((here / "samples.csv").read_text().splitlines()) == 6


def test_only_what_a_run_needs_is_sent(hub, run) -> None:
    for name in ("report.html", "checkpoint.safetensors", "model.pkl", "pytorch_model.bin", ".env", "notes.json.bak"):
        (run / name).write_text("secret")
    for name in (
        "tensorboard/events",
        "detector-1/model.pkl",
        "language-model/checkpoint.safetensors",
        "data/rows.csv",
    ):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("secret")
    vaekit("push", run, "user/numbers", check=0)
    assert set(hub.repositories["models", "user/numbers"].files()) == NEEDED


def test_pickles_beside_a_run_are_never_fetched(hub, run) -> None:
    vaekit("push", run, "user/numbers", check=0)
    pickles = ("pytorch_model.bin", "optimizer.pt", "detector-1/model.pkl", "sampler-x.bin", "run.py")
    hub.repositories["models", "user/numbers"].commit("main", dict.fromkeys(pickles, b"\x80\x04cos\nsystem\n"), "more")
    package.load("hf://user/numbers")
    assert hub.fetched() == NEEDED
    assert not [path for path in Path(constants.HF_HUB_CACHE).rglob("*") if path.name in map(os.path.basename, pickles)]


def test_a_branch_a_commit_and_the_main_line(hub, vae, run, tmp_path) -> None:
    other = package.VAE(**{**TINY, "latent_dim": 3}).fit(X)
    vaekit("push", run, "user/numbers", check=0)
    first = hub.repositories["models", "user/numbers"].branches["main"]
    other.push_to_hub("user/numbers", revision="wide")
    assert package.load("hf://user/numbers").latent_dim == 2
    assert package.load("hf://user/numbers@wide").latent_dim == 3
    other.push_to_hub("user/numbers")
    assert package.load("hf://user/numbers").latent_dim == 3
    assert package.load(f"hf://user/numbers@{first}").latent_dim == 2
    assert package.VAE.from_pretrained("user/numbers", revision=first).latent_dim == 2
    assert "no revision 'nothing'" in mistake(package.load, "hf://user/numbers@nothing")


def test_a_new_run_takes_the_place_of_the_old_one(hub, run) -> None:
    package.VAE(**{**TINY, "sampler": "gmm"}).fit(X).push_to_hub("user/numbers")
    repository = hub.repositories["models", "user/numbers"]
    repository.commit("main", {"notes.txt": b"of the user"}, "mine")
    assert "sampler-gmm.safetensors" in repository.files()
    vaekit("push", run, "user/numbers", check=0)
    assert set(repository.files()) == NEEDED | {"notes.txt"}
    assert not package.load("hf://user/numbers").samplers_


def test_verbs_leave_the_fetched_files_as_they_are(hub, table_run, tmp_path) -> None:
    vaekit("push", table_run, "user/people", check=0)
    folder = table_run.parent
    pyarrow.csv.write_csv(people(40, 1), folder / "new.csv")
    vaekit("info", "hf://user/people", check=0)
    before = {
        path: path.read_bytes() for path in Path(constants.HF_HUB_CACHE).rglob("snapshots/**/*") if path.is_file()
    }
    vaekit("evaluate", "hf://user/people", "new.csv", "--k", 5, cwd=folder, check=0)
    vaekit("sample", "hf://user/people", "-n", 5, "-c", "sex=f", cwd=folder, check=0)
    vaekit("score", "hf://user/people", "new.csv", "--calibrate", "new.csv", cwd=folder, check=0)
    assert (folder / "samples.csv").exists()
    assert (folder / "scores.csv").exists()
    assert before == {path: path.read_bytes() for path in before}
    options = ("--init", "hf://user/people", "--epochs", 1, "--no-report", "--out", "more")
    vaekit("fit", "new.csv", *options, cwd=folder, check=0)
    assert read_yaml(folder / "more/config.yaml")["data"]["init"] == "hf://user/people"


# -- estimators --------------------------------------------------------------------------------------------------------


def test_save_pretrained_and_from_pretrained(vae, tmp_path) -> None:
    folder = vae.save_pretrained(tmp_path / "run", licence="mit")
    assert {path.name for path in folder.iterdir()} == NEEDED
    back = package.VAE.from_pretrained(folder)
    assert np.array_equal(back.transform(X), vae.transform(X))
    assert "is a run of VAE, not of CVAE" in mistake(package.CVAE.from_pretrained, folder)
    assert "has no revision 'v2'" in mistake(package.VAE.from_pretrained, folder, revision="v2")
    assert "without an AnomalyDetector" in mistake(package.AnomalyDetector.from_pretrained, folder)


def test_a_detector_with_all_its_models(hub) -> None:
    detector = package.AnomalyDetector(package.VAE(**TINY)).fit(X)
    detector.push_to_hub("user/odd")
    back = package.AnomalyDetector.from_pretrained("user/odd")
    assert np.array_equal(back.p_values(X), detector.p_values(X))
    assert back.hub_.startswith("hf://user/odd@")
    files = hub.repositories["models", "user/odd"].files()
    assert set(files) == NEEDED | {"detector.safetensors"}
    card = files["README.md"].decode()
    assert "detector = vaekit.AnomalyDetector.load('hf://user/odd')" in card
    assert "detector.safetensors holds the codes of" in card


def test_code_of_the_author_is_not_fetched(hub) -> None:
    def encoder(in_shape, out_shape, condition_features):
        from torch import nn

        return nn.Linear(in_shape[0], out_shape[0])

    mine = package.VAE(**TINY, encoder=encoder).fit(X)
    mine.push_to_hub("user/mine")
    assert "pass encoder= to vaekit.load" in mistake(package.load, "hf://user/mine")
    back = package.load("hf://user/mine", encoder=encoder)
    assert np.array_equal(back.transform(X), mine.transform(X))
    assert (
        "Its networks are code of the author" in hub.repositories["models", "user/mine"].files()["README.md"].decode()
    )


# -- the card ----------------------------------------------------------------------------------------------------------


def test_the_card_says_what_the_run_is(hub, table_run) -> None:
    vaekit("push", table_run, "user/people", "--licence", "cc-by-4.0", check=0)
    text = hub.repositories["models", "user/people"].files()["README.md"].decode()
    card = ModelCard(text)
    assert card.data.library_name == "vaekit"
    assert card.data.license == "cc-by-4.0"
    results = json.loads((table_run / "evaluation.json").read_text())
    found = {each.metric_type: each.metric_value for each in card.data.eval_results}
    assert found["elbo"] == pytest.approx(results["elbo"])
    assert {"elbo", "iw_nll", "kl", "active_units"} <= found.keys()
    for said in (
        "vaekit sample hf://user/people -n 16 -o samples.csv -c sex=f", "model = vaekit.load('hf://user/people')",
        "rows = model.sample(16, y={'sex': 'f'})", "vaekit export hf://user/people", "    age: integer, 18 to 79",
        "    sex: one of 2 labels (f, m)", results["verdict"], "score loglik: p-values from 30 rows", "quantiles of each column of numbers",
        "config.yaml holds all 2 classes of sex", "of the synthetic rows are nearer to training rows",
    ):  # fmt: skip
        assert said in text, said


def test_the_card_says_what_it_does_not_know(vae, tmp_path) -> None:
    text = (vae.save_pretrained(tmp_path / "run") / "README.md").read_text()
    assert "Not evaluated: run `vaekit evaluate RUN` before pushing." in text
    assert "None was named" in text
    assert "no check of whether a model of rows of numbers repeats" in text
    assert "model-index" not in text


def test_the_python_of_a_card_runs(hub, table_run, tmp_path) -> None:
    vaekit("push", table_run, "user/people", check=0)
    text = hub.repositories["models", "user/people"].files()["README.md"].decode()
    known = {}
    exec(text.split("```python\n")[1].split("```")[0], known)
    assert len(known["rows"]) == 16
    assert set(known["rows"]["sex"]) == {"f"}


def test_what_data_says_is_not_read_as_markdown(tmp_path) -> None:
    names = np.array(["<script>alert(1)</script>", "```\n# [a](http://b)"])
    cvae = package.CVAE(**TINY).fit(X, {"who": names[np.arange(60) % 2]})
    text = (cvae.save_pretrained(tmp_path / "run") / "README.md").read_text()
    lines = text.split("---\n")[2].splitlines()
    for line in lines:
        assert "<script>" not in line or line.startswith(("    ", "vaekit sample", "rows = ")), line
    assert sum(line.startswith("```") for line in lines) == 6
    assert not [line for line in lines if line.startswith("# [")]


def test_a_card_of_the_user_is_kept(hub, run) -> None:
    (run / "README.md").write_text("# Mine\n")
    done = vaekit("push", run, "user/numbers", "--licence", "mit", check=0)
    assert "is yours, so it is kept as it is; license: mit has to stand in its head" in done.stderr
    assert hub.repositories["models", "user/numbers"].files()["README.md"] == b"# Mine\n"


def test_a_licence_stays_until_another_is_named(hub, run) -> None:
    for options, licence in ((("--licence", "mit"), "mit"), ((), "mit"), (("--licence", "apache-2.0"), "apache-2.0")):
        vaekit("push", run, "user/numbers", *options, check=0)
        text = hub.repositories["models", "user/numbers"].files()["README.md"].decode()
        assert ModelCard(text).data.license == licence
    assert "is not an identifier" in fails("push", run, "user/numbers", "--licence", "mine: all")


def test_paths_of_this_machine_stay_here(hub, table_run, tmp_path) -> None:
    for path in table_run.glob("calibration-*"):  # they say where the rows came from, beside tensors that are hashed
        path.unlink()
    done = vaekit("push", table_run, "user/people", check=0)
    assert "names a path" not in done.stderr
    folder = read_yaml(table_run / "config.yaml")["data"]["folder"]
    for name, content in hub.repositories["models", "user/people"].files().items():
        assert folder.encode() not in content, name
        assert str(Path.home()).encode() not in content, name
    data = package.load("hf://user/people").data_
    assert data["source"] == "people.csv"
    assert "folder" not in data


def test_a_path_that_has_to_stay_is_told(hub, table_run) -> None:
    done = vaekit("push", table_run, "user/people", check=0)
    assert "note: calibration-loglik.safetensors: names a path of this machine" in done.stderr


# -- a Space -----------------------------------------------------------------------------------------------------------


def test_a_space_says_which_rows_it_shows(hub, tmp_path) -> None:
    pytest.importorskip("onnx")
    np.save(tmp_path / "x.npy", X)
    options = ("--epochs", 1, "--size", "small", "--latent-dim", 2, "--sampler", "prior", "--no-report", "--out", "run")
    vaekit("fit", "x.npy", *options, cwd=tmp_path, check=0)
    done = vaekit("push", "run", "user/numbers", "--space", "--licence", "mit", cwd=tmp_path, check=0)
    assert "note: the Space holds 60 rows of x.npy" in done.stderr
    space = hub.repositories["spaces", "user/numbers"]
    assert space.sdk == "static"
    assert set(space.files()) == {"index.html", "README.md"}
    head = read_yaml_head(space.files()["README.md"].decode())
    assert (head["sdk"], head["models"], head["license"]) == ("static", ["user/numbers"], "mit")
    assert b"<!doctype html>" in space.files()["index.html"][:100].lower()
    assert done.stderr.index("the Space holds") < done.stderr.index("/commit/")


def test_nothing_is_sent_if_there_is_no_page(hub, run) -> None:
    assert "source" in fails("push", run, "user/numbers", "--space")  # it was trained from Python
    assert not hub.repositories


def read_yaml_head(text):
    import yaml

    return yaml.safe_load(text.split("---\n")[1])


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("user", "lacks the user or the name"),
        ("a/b/c", "cannot be the name of a repository"),
        ("../etc", "cannot be the name of a repository"),
        ("user/../x", "cannot be the name of a repository"),
        ("user/na me", "cannot be the name of a repository"),
        ("user/name@", "is not the name of a revision"),
        ("user/name@../../x", "is not the name of a revision"),
        ("user/name@a b", "is not the name of a revision"),
        ("user/name@/etc/passwd", "is not the name of a revision"),
    ],
)
def test_a_wrong_name_is_refused_before_anything_is_asked(hub, run, name, said) -> None:
    assert said in mistake(package.load, f"hf://{name}")
    assert said in fails("info", f"hf://{name}")
    if "@" not in name:
        assert said in fails("push", run, name)
    assert not hub.requests


def test_a_repository_without_a_run_says_what_it_holds(hub) -> None:
    weights = {"config.json": b"{}", "pytorch_model.bin": b"\x80", "model.safetensors": b"x", ".gitattributes": b""}
    hub.add("user/other", weights)
    said = mistake(package.load, "hf://user/other")
    assert "hf://user/other does not hold a run of vaekit, but a pickle (pytorch_model.bin) and config.json" in said
    hub.add("user/foreign", {"config.yaml": b"model: {width: 3}\n", "model.safetensors": b"x" * 1000})
    assert "does not hold a run of vaekit, but config.yaml" in mistake(package.load, "hf://user/foreign")
    hub.add("user/empty", {})
    assert "but nothing" in mistake(package.load, "hf://user/empty")
    assert hub.fetched() == {"config.yaml"}


def test_a_damaged_run_is_refused(hub, run) -> None:
    vaekit("push", run, "user/numbers", check=0)
    repository = hub.repositories["models", "user/numbers"]
    repository.commit("main", {"model.safetensors": repository.files()["model.safetensors"][:-8]}, "cut")
    assert "model.safetensors is damaged" in mistake(package.load, "hf://user/numbers")


def test_a_newer_run_is_noted(hub, run) -> None:
    vaekit("push", run, "user/numbers", check=0)
    repository = hub.repositories["models", "user/numbers"]
    newer = repository.files()["config.yaml"].replace(b"vaekit: 0.1.0", b"vaekit: 99.0.0")
    repository.commit("main", {"config.yaml": newer}, "newer")
    with pytest.warns(package.errors.Note, match=r"99\.0\.0, which is newer"):
        package.load("hf://user/numbers")


def test_tokens(hub, run, monkeypatch) -> None:
    hub.add("user/secret", {}, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    for said in (fails("push", run, "user/numbers"), fails("info", "hf://user/secret")):
        assert "the Hub refuses the token in HF_TOKEN" in said
        assert "hf_wrong" not in said
    monkeypatch.delenv("HF_TOKEN")
    said = fails("push", run, "user/numbers")
    assert "no token" in said
    assert "HF_TOKEN" in said
    assert constants.HF_TOKEN_PATH in said
    assert "you are not logged in" in fails("info", "hf://user/secret")
    Path(constants.HF_TOKEN_PATH).write_text(TOKEN)
    vaekit("push", run, "user/secret", "--private", check=0)
    vaekit("info", "hf://user/secret", check=0)


def test_what_a_token_may_not_do(hub, run) -> None:
    assert "there is no repository user/nothing, or it is private" in fails("info", "hf://user/nothing")
    assert "may not do that with other/numbers" in fails("push", run, "other/numbers")
    vaekit("push", run, "user/numbers", check=0)
    assert "exists and is public" in fails("push", run, "user/numbers", "--private")


def test_without_a_network(hub, run, monkeypatch) -> None:
    vaekit("push", run, "user/numbers", check=0)
    package.load("hf://user/numbers")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert package.load("hf://user/numbers").latent_dim == 2
    assert "HF_HUB_OFFLINE forbids the network" in mistake(package.load, "hf://user/other")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.shutdown()
    hub.server_close()
    huggingface_hub.close_session()
    with pytest.warns(package.errors.Note, match="cannot be reached: this is user/numbers as it was fetched before"):
        assert package.load("hf://user/numbers").latent_dim == 2
    assert "cannot be reached, and hf://user/other is not in the cache" in mistake(package.load, "hf://user/other")
    assert "cannot be reached" in fails("push", run, "user/numbers")


def test_a_download_that_breaks_off_goes_on_when_it_is_tried_again(hub, run) -> None:
    vaekit("push", run, "user/numbers", check=0)
    hub.cuts["model.safetensors"] = 1000
    said = mistake(package.load, "hf://user/numbers")
    assert "the Hub answers 503" in said
    assert "try again" in said
    assert not list(Path(constants.HF_HUB_CACHE).rglob("snapshots/**/model.safetensors"))
    hub.cuts.clear()
    before = len(hub.requests)
    assert package.load("hf://user/numbers").latent_dim == 2
    again = [path for method, path in hub.requests[before:] if method == "GET" and "/resolve/" in path]
    assert [path.rpartition("/")[2] for path in again] == ["model.safetensors"]


def test_half_a_run_in_the_cache_is_not_loaded(hub, run, monkeypatch) -> None:
    vaekit("push", run, "user/numbers", check=0)
    hub.cuts["metrics.csv"] = 0
    assert "503" in mistake(package.load, "hf://user/numbers")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "not in the cache" in mistake(package.load, "hf://user/numbers")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
def test_a_full_disk(hub, run, tmp_path) -> None:
    vaekit("push", run, "user/numbers", check=0)
    small = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, 6_000))}
    done = process("info", "hf://user/numbers", env=environment(hub, tmp_path), check=2, **small)
    assert "the disk is full: free space in" in done.stderr
    assert "HF_HOME" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert package.load("hf://user/numbers").latent_dim == 2  # in this process there is room


def test_the_package_is_named_where_it_is_missing(run, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for said in (fails("push", run, "user/numbers"), mistake(package.load, "hf://user/numbers")):
        assert "pip install 'vaekit[hub]'" in said
