"""What a person sees while work goes on: on a narrow terminal, on a wide one, and in a file."""

import io
import re
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

import vaekit as vk
from conftest import vaekit
from vaekit.cli.common import say
from vaekit.show import track as tracking
from vaekit.show.track import track
from vaekit.training.progress import ProgressBar

TERMS = {"reconstruction": 12155.31, "kl": 7.94}
ROW = {"epoch": 8, "valid_elbo": -12161.8, "step": 99, **TERMS}


def state(**changed):
    return SimpleNamespace(**{"epoch": 11, "best_epoch": 8, "best_score": -161.8, "stopped_early": False, **changed})


def seen(width, terminal=True, **changed):
    """What stands on a terminal of this width, as lines."""
    file = io.StringIO()
    with ProgressBar(Console(file=file, force_terminal=terminal, width=width, color_system=None)) as bar:
        bar.step(state(), 0.4, TERMS)
        bar.epoch(state(**changed), 0.41, ROW)
        bar.shown = 0.0
        bar.step(state(), 0.45, TERMS)
        if terminal:
            bar.shown = 1.0
            bar.bar.refresh()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue()).replace("\r", "\n").splitlines()


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_terminal_shows_epoch_bar_share_time_left_and_elbo(width):
    last = [line for line in seen(width) if "epoch 12" in line][-1]
    assert all(word in last for word in ("━", "45%", "left", "ELBO -12163")), last
    assert len(last.rstrip()) <= width


def test_a_wide_terminal_shows_all():
    last = [line for line in seen(160) if "epoch 12" in line][-1]
    assert "ELBO -12163.2 = -reconstruction 12155.3 - KL 7.94 nats  (validation -12161.8, best at epoch 8)" in last


def test_a_terminal_says_what_goes_on_until_the_first_step():
    file = io.StringIO()
    with ProgressBar(Console(file=file, force_terminal=True, width=100, color_system=None)) as bar:
        while "looking at the data" not in file.getvalue():
            time.sleep(0.01)
        bar.step(state(), 0.4, TERMS)
        before = file.getvalue()
        bar.bar.refresh()
        assert "looking at the data" not in file.getvalue().removeprefix(before)
    assert "looking at the data" not in " ".join(seen(100, terminal=False))


def test_what_stops_early_says_so_and_why():
    for terminal in (True, False):
        said = " ".join(" ".join(seen(100, terminal, stopped_early=True)).split())
        assert "stopped early, after epoch 8 and 41% of the run: no epoch after epoch 8 was better" in said


def test_in_a_file_work_is_a_line_every_few_seconds(monkeypatch, capsys):
    monkeypatch.setattr(tracking, "EVERY", 0.01)
    assert [time.sleep(0.02) or i for i in track(range(4), "score")] == [0, 1, 2, 3]
    assert capsys.readouterr().err.splitlines() == ["score: 25%", "score: 50%", "score: 75%", "score: 100%"]
    monkeypatch.setattr(tracking, "EVERY", 60)
    assert list(track([1, 2])) == [1, 2]
    assert capsys.readouterr().err == ""


@pytest.fixture(scope="module")
def fitted():
    x = np.random.default_rng(0).normal(size=(400, 3))
    return vk.VAE(2, size="small", epochs=1, sampler="prior").fit(x), x


def test_scores_of_few_rows_are_made_in_several_pieces(fitted):
    vae, x = fitted
    pieces = []
    scores = vae.score_samples(x, k=100, track=lambda work: (pieces.append(each) or each for each in work))
    assert len(pieces) > 1
    np.testing.assert_allclose(scores[:7], vae.score_samples(x[:7], k=100), rtol=1e-9)


def test_phases_are_silent_in_python_and_lines_on_the_command_line(fitted, capsys, tmp_path):
    vae, x = fitted
    vae.fit_sampler({"name": "gmm", "components": 2}, x[:50])
    assert capsys.readouterr().err == ""
    np.save(tmp_path / "x.npy", x[:60])
    line = ["fit", tmp_path / "x.npy", "--epochs", 1, "--size", "small", "--out", tmp_path / "run"]
    said = vaekit(*line, check=0).stderr
    phases = ("epoch 1:", "learning where the codes lie (sampler gmm)", "evaluating 6 rows", "writing the report")
    order = [said.index(text) for text in phases]
    assert order == sorted(order)


def test_ctrl_c_while_the_sampler_is_learned_says_what_is_there(monkeypatch, tmp_path):
    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("vaekit.estimators.vae.learn_sampler", stop)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(60, 3)))
    line = ["fit", tmp_path / "x.npy", "--epochs", 1, "--size", "small", "--out", tmp_path / "run"]
    assert f"`vaekit report {tmp_path / 'run'}`" in vaekit(*line, check=130).stderr
    assert vk.load(tmp_path / "run").sample(2).shape == (2, 3)


def test_a_line_on_a_terminal_breaks_between_words(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    say("vaekit: error: No such option: --epoch (see vaekit --help)")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(len(line) <= 40 for line in lines)
    assert " ".join(lines) == "vaekit: error: No such option: --epoch (see vaekit --help)"
