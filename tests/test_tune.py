"""`vaekit tune`: real searches of small models, by several processes, which are killed and go on."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from conftest import check_page, fails, kill, mistake, people, start, vaekit
from vaekit.files import read_yaml
from vaekit.kinds import kinds
from vaekit.recipes.recipe import Recipe
from vaekit.recipes.space import Space
from vaekit.recipes.study import DEAD, JOURNAL, Study, Worker, best_of
from vaekit.recipes.tune import tune

optuna = pytest.importorskip("optuna")

DIGITS = ("digits[:300]", "--epochs", 4, "--latent-dim", 4, "--size", "small")
TRIALS = 10


def trials(folder: Path) -> list[Any]:
    """The trials in a folder, as Optuna reads them."""
    backend = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
    study = optuna.load_study(study_name="vaekit", storage=optuna.storages.JournalStorage(backend))
    return study.get_trials()


def ends(folder: Path) -> list[Any]:
    """What counts: the settings, the bound and the end of each trial."""
    found = [(t.user_attrs["settings"], t.value, t.state.name) for t in trials(folder) if t.state.name != "FAIL"]
    assert {state for *_, state in found} <= {"COMPLETE", "PRUNED"}
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    """A search that nothing disturbed, and what it said."""
    folder = tmp_path_factory.mktemp("tune") / "whole"
    return folder, vaekit("tune", *DIGITS, "-o", folder, "--trials", TRIALS, check=0)


def wait_for(folder: Path, text: str, times: int) -> None:
    """Wait until a journal holds a text so many times."""
    until = time.monotonic() + 60
    while not (folder / JOURNAL).exists() or (folder / JOURNAL).read_text().count(text) < times:
        assert time.monotonic() < until
        time.sleep(0.02)


# -- a search ----------------------------------------------------------------------------------------------------------


def test_the_best_settings_train_the_model_that_the_trial_had(whole, tmp_path):
    folder, done = whole
    found = ends(folder)
    assert len(found) == TRIALS
    first, best = found[0], max((t for t in found if t[2] == "COMPLETE"), key=lambda t: t[1])
    assert first[0] == {"prior": "standard", "batch_size": 128, "learning_rate": 0.001}  # what fit would take
    assert best[1] > first[1] + 1
    config = read_yaml(folder / "best.yaml")
    assert {name: config[name] for name in best[0]} == best[0]
    assert (config["source"], config["epochs"], config["latent_dim"]) == ("digits[:300]", 4, 4)
    vaekit(
        "fit", "--config", folder / "best.yaml", "--out", tmp_path / "run", "--sampler", "prior", "--no-report", check=0
    )
    rows = np.genfromtxt(tmp_path / "run" / "metrics.csv", delimiter=",", names=True)
    assert max(rows["valid_elbo"]) == best[1]  # to the bit
    said = done.stderr.splitlines()
    assert sum(line.startswith("trial ") and " nats" in line and "batch_size" in line for line in said) == TRIALS
    assert f"{best[1]:.2f}".replace("-", "−") in said[-3]
    assert said[-2] == f"train it: vaekit fit --config {folder / 'best.yaml'} --out {folder / 'best'}"


def test_a_trial_that_falls_behind_is_pruned_at_a_share_of_the_run(whole):
    folder, _ = whole
    pruned = [t for t in trials(folder) if t.state.name == "PRUNED"]
    assert pruned
    for trial in pruned:
        assert trial.last_step < 20
        assert trial.user_attrs["found"]["epochs"] < 4
        others = [
            t.intermediate_values[trial.last_step] for t in trials(folder)[: trial.number] if t.state.name == "COMPLETE"
        ]
        assert max(trial.intermediate_values.values()) < np.median(others)


def test_the_same_command_goes_on_and_gives_what_one_search_gives(whole, tmp_path):
    folder, _ = whole
    for asked, there in ((5, 5), (TRIALS, TRIALS), (3, TRIALS)):
        vaekit("tune", *DIGITS, "-o", tmp_path / "parts", "--trials", asked, check=0)
        assert len(ends(tmp_path / "parts")) == there
    assert ends(tmp_path / "parts") == ends(folder)


def test_a_killed_search_goes_on_with_the_settings_that_it_was_trying(whole, tmp_path):
    folder, _ = whole
    killed = start("tune", *DIGITS, "-o", tmp_path / "s", "--trials", TRIALS)
    wait_for(tmp_path / "s", '"step":', 22)  # in the second trial
    kill(killed)
    vaekit("tune", *DIGITS, "-o", tmp_path / "s", "--trials", TRIALS, check=0)
    assert ends(tmp_path / "s") == ends(folder)
    assert len(trials(tmp_path / "s")) in (TRIALS, TRIALS + 1)  # it may have died between two trials


def test_two_processes_share_the_trials_and_one_of_them_dies(tmp_path):
    command = ("tune", "digits[:300]", "--epochs", 2, "--size", "small", "-o", tmp_path / "s", "--trials", 16)
    both = [start(*command) for _ in range(2)]
    wait_for(tmp_path / "s", f"-{both[0].pid}-", 2)
    wait_for(tmp_path / "s", f"-{both[1].pid}-", 2)
    kill(both[0])
    said = [process.communicate(timeout=120)[0] for process in both]
    assert both[1].returncode == 0, said
    assert len(ends(tmp_path / "s")) == 16
    told = [int(n) for text in said for n in re.findall(r"^trial (\d+): (?!\d+%)", text, re.MULTILINE)]
    there = [t.number for t in trials(tmp_path / "s") if t.state.name != "FAIL"]
    assert len(told) == len(set(told))
    assert set(told) <= set(there)
    assert len(there) - len(told) <= 1  # of the process that died, between keeping a result and telling it


class Stopping(io.TextIOWrapper):
    """A terminal at which someone presses Ctrl-C when they read a text."""

    def __init__(self, text: str):
        super().__init__(io.BytesIO(), "utf-8", write_through=True)
        self.text = text

    def write(self, text: str) -> int:
        if text.startswith(self.text):
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


def test_ctrl_c_says_how_to_go_on(tmp_path):
    command = ("tune", *DIGITS, "-o", tmp_path / "s", "--trials", 4)
    stopped = vaekit(*command, stderr=Stopping("trial 1: "), check=130)
    assert stopped.stderr.splitlines()[-1] == "stopped after 2 of 4 trials; the same command continues"
    assert {"best.yaml", "report.html"} <= {path.name for path in (tmp_path / "s").iterdir()}


def test_a_trial_that_ctrl_c_stops_is_tried_again(tmp_path):
    recipe = Recipe("digits[:300]", settings={"epochs": 500, "size": "small"})
    timer = threading.Timer(1.5, signal.raise_signal, [signal.SIGINT])
    timer.start()
    found = tune(recipe, tmp_path / "s", say=lambda line: None)
    assert (found.interrupted, found.best, found.ended) == (True, None, 0)
    assert [t.state.name for t in trials(tmp_path / "s")] == ["FAIL", "WAITING"]
    assert list(dict.fromkeys(str(t.settings) for t in found.trials)) == [str(found.space.defaults())]


def test_a_search_ends_when_its_time_is_over(tmp_path):
    done = vaekit("tune", *DIGITS, "-o", tmp_path / "s", "--search-minutes", 0, check=2)
    assert "error: no trial has ended yet" in done.stderr


def test_a_table_in_python(tmp_path):
    parquet.write_table(people(300, 0), tmp_path / "people.parquet")
    recipe = Recipe(str(tmp_path / "people.parquet"), settings={"epochs": 1, "size": "small"})
    found = tune(
        recipe, tmp_path / "s", trials=2, search=["cell_dropout", "prior.components=5..20"], say=lambda line: None
    )
    assert best_of(found.trials) == found.best
    assert found.first == found.trials[0]
    assert found.trials[1].settings["batch_size"] in (128, 256, 512, 1024, 2048)
    assert {"cell_dropout"} <= found.best.settings.keys()
    assert found.save().name == "best.yaml"


# -- what is searched --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_has_something_to_search_that_holds_its_defaults(kind):
    settings = {"kind": kind} if kinds()[kind].estimator else {}
    space = Space(Recipe("x", settings=settings), kinds()[kind])
    assert list(space.ranges) == ["latent_dim", "size", "prior", "batch_size", "learning_rate"]
    assert space.defaults().keys() == space.ranges.keys()


def test_what_changes_the_meaning_of_the_bound_is_not_searched():
    known = Space(Recipe("digits"), kinds()["images"]).known
    assert not known.keys() & {
        "likelihood",
        "kind",
        "validation",
        "random_state",
        "epochs",
        "minutes",
        "window",
        "chunk_size",
    }


def test_what_is_given_is_fixed_and_what_a_structure_lacks_is_left_out():
    recipe = Recipe("digits", settings={"latent_dim": 8, "structure": "vq", "learning_rate": 0.1, "prior": None})
    assert list(Space(recipe, kinds()["images"]).ranges) == ["batch_size"]
    recipe = Recipe("digits", settings={"latent_dim": 8})
    space = Space(recipe, kinds()["images"], ["structure=vq,ladder", "posterior"])
    chosen, values = space.chosen(
        optuna.trial.FixedTrial({"structure": "vq", "batch_size": 64, "learning_rate": 0.00123456})
    )
    assert values == {"structure": "vq", "batch_size": 64, "learning_rate": 0.00123}
    assert chosen.settings == values
    chosen.check()
    assert recipe.settings == {"latent_dim": 8}


def test_an_option_is_tried_with_the_part_that_has_it():
    recipe = Recipe("digits", settings={"objective": "auto"})
    space = Space(recipe, kinds()["images"], ["prior.components=10..500", "prior=mixture,flow", "objective.beta=0.5,1"])
    assert (space.ranges["prior.components"].log, space.ranges["prior.components"].whole) == (True, True)
    fixed = {"latent_dim": 3, "size": "base", "batch_size": 64, "learning_rate": 0.001, "objective.beta": 0.5}
    chosen, values = space.chosen(optuna.trial.FixedTrial({**fixed, "prior": "flow"}))
    assert "prior.components" not in values
    assert chosen.settings["prior"] == "flow"
    chosen, _ = space.chosen(optuna.trial.FixedTrial({**fixed, "prior": "mixture", "prior.components": 20}))
    assert chosen.settings["prior"] == {"name": "mixture", "components": 20}
    assert chosen.settings["objective"] == {"name": "elbo", "beta": 0.5}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("latnt-dim", "did you mean 'latent_dim'?"),
        ("likelihood", "this cannot be searched"),
        ("latent_dim=128..2", "give the smaller number first"),
        ("latent_dim=2.5..9", "has to be a whole number"),
        ("learning_rate=-1..1", "has to be a number above 0"),
        ("batch_size=many,few", "has to be a whole number"),
        ("prior=flow", "fix it with --prior flow"),
        ("prior=flwo,standard", "did you mean 'flow'?"),
        ("prior=1..3", "is not one of the choices"),
        ("size=tiny,base", "is not one of the choices"),
        ("prior.componets=1..9", "did you mean 'components'?"),
        ("prior.components", "needs values"),
        ("likelihood.scale=1..2", "this cannot be searched"),
    ],
)
def test_a_setting_that_cannot_be_searched_is_refused(asked, said):
    assert said in mistake(Space, Recipe("digits"), kinds()["images"], [asked])


def test_what_cannot_go_together_is_refused(tmp_path):
    out = ("-o", tmp_path / "s")
    assert "another option already fixes it" in fails("tune", *DIGITS, *out, "--search", "latent_dim=2..4")
    assert "nothing is left to search" in fails(
        "tune", *DIGITS, *out, "--prior", "flow", "--batch-size", 64, "--learning-rate", 0.01
    )
    assert "--init continues a run" in fails("tune", "digits", *out, "--init", write_run(tmp_path))
    assert "run the same command once on each device" in fails("tune", "digits", *out, "--devices", 2)
    assert "--validation above 0" in fails("tune", "digits", *out, "--validation", 0)
    assert "Missing option '--out'" in fails("tune", "digits")
    assert not (tmp_path / "s").exists()


def write_run(folder: Path) -> Path:
    vaekit(
        "fit",
        *DIGITS[:1],
        "--epochs",
        1,
        "--size",
        "small",
        "--sampler",
        "prior",
        "--no-report",
        "--out",
        folder / "run",
        check=0,
    )
    return folder / "run"


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_settings_that_do_not_go_together_are_trials_with_a_reason(tmp_path):
    done = vaekit(
        "tune",
        *DIGITS,
        "-o",
        tmp_path / "s",
        "--trials",
        5,
        "--prior",
        "vamp",
        "--search",
        "posterior=normal,maf",
        check=0,
    )
    assert "refused: prior 'vamp' needs posterior 'normal'" in done.stderr
    assert {t.state.name for t in trials(tmp_path / "s")} == {"COMPLETE", "PRUNED"}
    assert "prior &#39;vamp&#39; needs posterior &#39;normal&#39;" in (tmp_path / "s" / "report.html").read_text()


def test_a_search_in_which_nothing_works_ends_with_the_commonest_reason(tmp_path):
    done = vaekit("tune", *DIGITS, "-o", tmp_path / "s", "--prior", "vamp", "--search", "posterior=iaf,maf", check=2)
    assert re.search(r"error: none of 5 trials gave a bound; 5 of them: prior 'vamp' needs", done.stderr)


def test_a_folder_holds_one_search(whole, tmp_path):
    folder, _ = whole
    for given, said in (
        (("--latent-dim", 5), "its latent_dim is 4, and here it is 5"),
        (("--search", "posterior"), "its search of posterior is absent"),
        (("--seed", 1), "its random_state is 0, and here it is 1"),
    ):
        assert said in fails("tune", *DIGITS, "-o", folder, *given)
    other = ("digits[:299]", *DIGITS[1:])
    assert "its data is digits: 300 pictures of 8x8" in fails("tune", *other, "-o", folder)
    assert "cannot make the folder" in fails("tune", *DIGITS, "-o", folder / "best.yaml")


def test_rows_that_changed_end_the_search(tmp_path):
    rng = np.random.default_rng(0)
    rows = tmp_path / "rows.npy"
    np.save(rows, rng.normal(size=(100, 3)))
    command = ("tune", rows, "--epochs", 1, "--size", "small", "-o", tmp_path / "s", "--trials")
    vaekit(*command, 1, check=0)
    np.save(rows, rng.normal(size=(100, 3)))
    assert "the source has changed since" in vaekit(*command, 2, check=2).stderr
    assert [t.state.name for t in trials(tmp_path / "s")] == ["COMPLETE", "FAIL", "WAITING"]


def test_a_journal_that_was_cut_is_mended_and_a_damaged_one_refused(whole, tmp_path):
    folder, _ = whole
    content = (folder / JOURNAL).read_bytes()
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / JOURNAL).write_bytes(content + b'{"op_code":5,"wor')
    done = vaekit("tune", *DIGITS, "-o", tmp_path / "s", "--trials", TRIALS, check=0)
    assert "was cut off, and is left out" in done.stderr
    assert ends(tmp_path / "s") == ends(folder)
    (tmp_path / "s" / JOURNAL).write_bytes(content.replace(b"op_code", b"code", 7).replace(b"code", b"op_code", 6))
    assert "is damaged at line 7" in fails("tune", *DIGITS, "-o", tmp_path / "s")
    (tmp_path / "s" / JOURNAL).write_bytes(b"\x89PNG\n" + content)
    assert "is damaged at line 1" in fails("tune", *DIGITS, "-o", tmp_path / "s")
    other = json.dumps({"op_code": 0, "worker_id": "x", "study_name": "mine", "directions": [1]}) + "\n"
    (tmp_path / "s" / JOURNAL).write_text(other)
    assert "holds another study, 'mine'" in fails("tune", *DIGITS, "-o", tmp_path / "s")


@contextlib.contextmanager
def small_disk(size: int):
    """Files cannot become larger than `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_loses_nothing(whole, tmp_path):
    folder, _ = whole
    with small_disk(10_000):
        done = vaekit("tune", *DIGITS, "-o", tmp_path / "s", "--trials", TRIALS, check=2)
    assert "free space, and give the same command again" in done.stderr.splitlines()[-1]
    vaekit("tune", *DIGITS, "-o", tmp_path / "s", "--trials", 4, check=0)
    assert ends(tmp_path / "s") == ends(folder)[:4]


# -- who is alive ------------------------------------------------------------------------------------------------------


def test_a_process_is_dead_if_it_has_gone_or_was_silent_for_long(tmp_path):
    with Worker(tmp_path) as me, Worker(tmp_path) as other:
        assert me.is_alive(me.name)
        assert not me.is_alive(
            other.name
        )  # this process has another name, so that was one before it with the same number
        far = tmp_path / "far-1-00000000"
        far.touch()
        assert me.is_alive(far.name)
        os.utime(far, (0, me.path.stat().st_mtime - DEAD - 1))
        assert not me.is_alive(far.name)
        assert not me.is_alive("far-2-00000000")
        assert not me.is_alive("")
    assert not me.path.exists()


def test_a_trial_that_was_given_up_is_tried_again_and_counts_once(tmp_path):
    study = Study(tmp_path / "s", {"data": "x"}, 0, {"a": 1})
    trial = study.ask(1)
    assert trial.suggest_int("a", 0, 9) == 1
    trial.set_user_attr("settings", {"a": 1})
    study.again(trial)
    assert not study.done(trial, 1.0, {})
    again = study.ask(1)
    assert again.suggest_int("a", 0, 9) == 1
    assert study.done(again, 2.0, {"kl": 1.0, "epochs": 3})
    assert study.ask(1) is None
    assert [(t.state, t.settings) for t in study.trials] == [("stopped", {"a": 1}), ("done", {"a": 1})]


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_page_shows_the_search(whole, page):
    folder, _ = whole
    check_page(page, folder / "report.html", {"best", "history", "importances", "slices", "trials", "space"})
    shown = page.inner_text("main")
    best = max(t.value for t in trials(folder) if t.state.name == "COMPLETE")
    assert f"{best:.2f}".replace("-", "−") in shown
    assert f"{TRIALS} of {TRIALS} trials" in shown
    assert page.locator("#trials tbody tr").count() == TRIALS
    assert page.locator("#slices svg").count() == 3
