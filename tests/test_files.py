"""Files of a run on a machine that is not kind: links that wait for us, two writers, kills and full disks."""

import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest

import vaekit as vk
from vaekit.cli import main
from vaekit.errors import UserError
from vaekit.files import locked, read_yaml, write_atomically, write_text
from vaekit.recipes.recipe import Recipe

ROWS = np.random.default_rng(0).normal(size=(60, 3))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that knows its source."""
    folder = tmp_path_factory.mktemp("files")
    np.save(folder / "x.npy", ROWS)
    recipe = Recipe(str(folder / "x.npy"), settings={"latent_dim": 2, "size": "small", "epochs": 2})
    return recipe.train(folder / "run", say=lambda line: None)[0]


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the command line in this process; returns its exit code and what it said on stderr."""

    def call(*args):
        monkeypatch.setattr(sys, "argv", ["vaekit", *map(str, args)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code, capsys.readouterr().err

    return call


# -- links -------------------------------------------------------------------------------------------------------------


def test_no_link_in_a_strangers_run_is_written_through(run, tmp_path, call):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for name in ("report.html", "evaluation.json", "latents.npy", "config.yaml", "scores.csv", "model.safetensors"):
        for planted in (f".{name}.tmp", f".{name}.part", f"{name}.tmp", ".vaekit-0000000000000000.tmp"):
            (run / planted).unlink(missing_ok=True)
            (run / planted).symlink_to(precious)
    for name in ("report.html", "evaluation.json", "latents.npy"):  # links in place of the files themselves
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(precious)
    for args in (["evaluate", run, "--k", 2], ["report", run], ["encode", run, tmp_path / "x.npy"]):
        np.save(tmp_path / "x.npy", ROWS[:5])
        code, said = call(*args)
        assert code == 0, said
        assert ("this reads" in said) == (args[0] != "encode")  # the run names its source, and may be a stranger's
        assert precious.read_text() == "mine"
    assert not (run / "report.html").is_symlink()


def test_a_new_file_is_as_any_other_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "ours", "a")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("what", ["folder", "pipe", "device"])
def test_only_plain_files_are_replaced(what, tmp_path):
    path = tmp_path / what
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "device": lambda: path.symlink_to("/dev/null")}[what]()
    with pytest.raises(UserError, match="not a plain file"):
        write_text(path, "a")
    assert path.exists()
    assert [p.name for p in tmp_path.iterdir()] == [what]


# -- two at once -------------------------------------------------------------------------------------------------------


def test_leftovers_of_the_killed_are_removed_and_files_being_written_are_not(tmp_path):
    old, new = tmp_path / ".vaekit-a.tmp", tmp_path / ".vaekit-b.tmp"
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (time.time() - 7200,) * 2)
    write_text(tmp_path / "whole", "a")
    assert not old.exists()
    assert new.exists()
    with locked(tmp_path):
        assert not new.exists()


def test_two_processes_save_into_one_place(tmp_path):
    vae = vk.VAE(2, size="small", epochs=1, sampler="prior").fit(ROWS)
    fork = multiprocessing.get_context("fork")
    failed = fork.Queue()

    def save():
        for _ in range(20):
            try:
                vae.save(tmp_path / "both")
            except Exception as e:
                failed.put(str(e))

    processes = [fork.Process(target=save) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert failed.empty(), failed.get()
    np.testing.assert_array_equal(vk.load(tmp_path / "both").transform(ROWS), vae.transform(ROWS))
    assert not list((tmp_path / "both").glob(".*"))


def test_a_run_that_is_being_trained_is_not_resumed(run, call):
    with locked(run):
        code, said = call("fit", "--resume", "--out", run, "--epochs", 3)
    assert code == 2
    assert f"another process is writing to {run}" in said
    assert call("fit", "--resume", "--out", run, "--epochs", 3, "--no-report")[0] == 0


def test_a_killed_process_leaves_no_lock(tmp_path):
    code = f"import os; from vaekit.files import locked; locked('{tmp_path}').__enter__(); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code])
    with locked(tmp_path):
        pass


def test_who_saves_waits_for_another(tmp_path):
    """The lock is per open file, so that it holds between threads of one process as well."""
    with locked(tmp_path), pytest.raises(UserError, match="another process"), locked(tmp_path, 0.1):
        pass


def test_an_error_while_writing_keeps_what_was_there(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")

    def fail(to):
        to.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


# -- YAML --------------------------------------------------------------------------------------------------------------

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{f'*{a}, ' * 9}]\n" for a, b in pairwise("abcdefghij")
)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (LAUGHS.encode(), "aliases"),
        (b"source: [" * 20_000, "nested too deeply"),
        (b"a: " + b"x" * (17 << 20), "larger than 16 MiB"),
        (b"\xff\xfe", "cannot be read as YAML"),
        (b"a: 2020-13-45", "cannot be read as YAML"),
        (b"a: " + b"1" * 10_000, "cannot be read as YAML"),
        (b"!!python/object/apply:os.system ['true']", "cannot be read as YAML"),
    ],
)
def test_yaml_of_a_stranger(content, says, tmp_path, run, call):
    """Read as settings, and as a run's config: one line, in no time."""
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=says):
        read_yaml(path)
    (run / "config.yaml").write_bytes(content)
    for args in (["info", run], ["fit", "digits", "--config", path], ["fit", "--resume", "--out", run]):
        code, said = call(*args)
        assert (code, said.count("\n")) == (2, 1), said
        assert says in said
