"""`vaekit evolve`: a search for the best row of each cell, among rows that the model believes in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

import vaekit
from vaekit.cli.evolve import check_place
from vaekit.errors import UserError
from vaekit.evolution import Archive
from vaekit.evolution.emitters import LEAST, Shares, iso_line
from vaekit.evolution.functions import checked
from vaekit.evolution.pool import Here, Own, Pool

pytest.importorskip("ribs")

CELLS, RANGES = (8, 8), [(-3.0, 3.0), (-3.0, 3.0)]


def score(rows: np.ndarray) -> np.ndarray:
    return -np.abs(rows[:, 2:]).sum(1)


def features(rows: np.ndarray) -> np.ndarray:
    return rows[:, :2]


@pytest.fixture(scope="module", name="X")
def training_rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    two = rng.normal(size=(400, 2))
    return np.c_[two, two @ rng.normal(size=(2, 4)) + 0.05 * rng.normal(size=(400, 4))]


@pytest.fixture(scope="module")
def model(X: np.ndarray) -> vaekit.VAE:
    return vaekit.VAE(latent_dim=3, epochs=10, random_state=0).fit(X)


def search(model: vaekit.VAE, X: np.ndarray | None, **options: object) -> Archive:
    return vaekit.evolve(model, score, features, **{"X": X, "cells": CELLS, "ranges": RANGES, "budget": 400, **options})


# -- what is true of every archive -------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["latent", "raw", "mixed"])
def test_each_elite_is_what_its_row_says(model: vaekit.VAE, X: np.ndarray, space: str) -> None:
    archive = search(model, X, space=space)
    assert archive.history[-1]["evaluations"] == 400
    np.testing.assert_allclose(archive.objective, score(archive.rows))
    np.testing.assert_allclose(archive.measures, features(archive.rows))
    # The cell of an elite by its definition: which of eight equal parts of each range its measure lies in.
    places = np.clip(((archive.measures + 3) / 6 * 8).astype(int), 0, 7)
    assert (archive.cell == places[:, 0] * 8 + places[:, 1]).all()
    assert len(np.unique(archive.cell)) == len(archive) == round(archive.coverage * 64)
    decoded = np.isin(archive.emitter, ["latent", "cma", "rebuilt"])
    if decoded.any():
        np.testing.assert_allclose(archive.rows[decoded], model.inverse_transform(archive.z[decoded]), atol=1e-4)
    if not decoded.all():
        np.testing.assert_allclose(archive.z[~decoded], model.transform(archive.rows[~decoded]), atol=1e-4)


def test_a_longer_search_never_loses_a_cell_or_gets_worse(model: vaekit.VAE, X: np.ndarray) -> None:
    short, long = (search(model, X, budget=budget) for budget in (200, 400))
    best = dict(zip(long.cell, long.objective, strict=True))
    assert all(best[cell] >= value for cell, value in zip(short.cell, short.objective, strict=True))
    scores = [row["qd_score"] for row in long.history]
    assert scores == sorted(scores)


def test_no_elite_is_below_the_trust(model: vaekit.VAE, X: np.ndarray) -> None:
    archive = search(model, X, trust=0.2)
    assert (archive.p_value >= 0.2).all()
    assert archive.history[-1]["distrusted"] > 0
    assert archive.valid_coverage == archive.coverage


def test_p_values_of_new_rows_are_not_too_low(model: vaekit.VAE, X: np.ndarray) -> None:
    """Rows from where the data come from: at most a share a of their p-values is at most a. Rows from elsewhere have low ones."""
    from vaekit.evolution.search import as_dataset, belonging

    rng = np.random.default_rng(5)
    two = rng.normal(size=(2000, 2))
    mix = np.random.default_rng(0)
    mix.normal(size=(400, 2))
    new = np.c_[two, two @ mix.normal(size=(2, 4)) + 0.05 * rng.normal(size=(2000, 4))]
    judge = belonging(model, as_dataset(model, X, None))
    assert judge is not None
    p = judge.p_values(new, {})
    held_out = len(judge.normal[0])
    for a in (0.1, 0.2, 0.5):  # the share varies with the rows that were held out, as a Beta does
        room = norm.ppf(0.9999) * np.sqrt(a * (1 - a) * (1 / held_out + 1 / 2000))
        assert (p <= a).mean() <= a + room
    assert (judge.p_values(new + 10, {}) == 2 / (held_out + 1)).all()  # the lowest that there is


def test_the_same_seed_finds_the_same_archive(model: vaekit.VAE, X: np.ndarray) -> None:
    one, same, other = (search(model, X, budget=200, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.x, same.x)
    assert not np.array_equal(one.objective, other.objective)


def test_the_model_is_trained_again_on_elites(model: vaekit.VAE, X: np.ndarray) -> None:
    archive = search(model, X, refit=200)
    assert archive.fitted is not model.fitted_
    assert not np.array_equal(archive.fitted.encode(X).numpy(), model.fitted_.encode(X).numpy())
    np.testing.assert_allclose(archive.objective, score(archive.rows), rtol=1e-5)
    assert np.isfinite(archive.p_value).all()


# -- kinds of data -----------------------------------------------------------------------------------------------------


def test_the_cheapest_house_of_each_size_and_district() -> None:
    rng = np.random.default_rng(0)
    size, district = rng.uniform(30, 200, 600), rng.choice(["north", "south", "west"], 600)
    price = 1000 * size * np.where(district == "north", 2.0, 1.0) * rng.lognormal(0, 0.2, 600)
    houses = pd.DataFrame({"size": size, "district": district, "price": price})
    table = vaekit.VAE(latent_dim=3, epochs=15, random_state=0).fit(houses)
    archive = vaekit.evolve(
        table, "-column:price", "column:size,district", X=houses, cells=(6, 3), budget=300, trust=0.05
    )
    rows = archive.rows
    assert set(rows["district"]) <= {"north", "south", "west"}
    np.testing.assert_allclose(archive.objective, -rows["price"])
    assert (rows["district"].map({"north": 0, "south": 1, "west": 2}) == archive.measures[:, 1]).all()
    assert archive.names == ["size", "district"]


def test_pictures_and_a_condition(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 300)
    pictures = np.clip(40 + 150 * label[:, None, None] + rng.normal(0, 20, (300, 8, 8)), 0, 255).astype(np.uint8)
    cvae = vaekit.CVAE(latent_dim=2, epochs=40, size="small", network="mlp", random_state=0).fit(pictures, label)
    archive = vaekit.evolve(cvae, X=pictures, y=label, cells=(5, 5), budget=200, condition={"y": 1})
    assert archive.rows.dtype == np.uint8
    assert set(archive.y["y"].tolist()) == {1}
    assert archive.rows.mean() > 120  # the label's
    archive.write(tmp_path)
    again = Archive.read(tmp_path, cvae.fitted_)
    assert torch.equal(again.x, archive.x)
    assert again.y["y"].tolist() == archive.y["y"].tolist()
    assert again.history == archive.history


def test_texts_are_searched_in_the_latent_alone() -> None:
    texts = [f"{a} {b} runs" for a in ("a dog", "the cat", "my horse") for b in ("quickly", "slowly", "never")] * 12
    model = vaekit.VAE(latent_dim=4, epochs=2, size="small", random_state=0).fit(texts)
    with pytest.raises(UserError, match="cannot be varied: use space='latent'"):
        vaekit.evolve(model, lambda rows: [len(row) for row in rows], "latent", space="mixed")
    archive = vaekit.evolve(
        model, lambda rows: [len(row) for row in rows], "latent", cells=(4, 4), budget=60, batch_size=20
    )
    assert archive.objective.tolist() == [len(row) for row in archive.rows]


# -- choosing and keeping ----------------------------------------------------------------------------------------------


def test_choosing_elites(model: vaekit.VAE, X: np.ndarray, tmp_path: Path) -> None:
    archive = search(model, X)
    assert archive.best(3).objective.tolist() == sorted(archive.objective, reverse=True)[:3]
    near = archive.near((1.0, -1.0), 2)
    away = np.abs(archive.measures - [1, -1])
    assert near.cell.tolist() == archive.cell[np.argsort((away**2).sum(1))[:2]].tolist()
    frame = archive.to_frame()
    assert len(frame) == len(archive)
    archive.write(tmp_path)
    again = Archive.read(tmp_path, model.fitted_)
    assert all(np.array_equal(getattr(again, name), getattr(archive, name), equal_nan=name == "nearest") for name in ("z", "objective", "p_value", "nearest", "emitter"))  # fmt: skip
    other = vaekit.VAE(latent_dim=3, epochs=1, random_state=1).fit(X)
    with pytest.raises(UserError, match="an archive of another model"):
        Archive.read(tmp_path, other.fitted_)
    (tmp_path / "archive.safetensors").write_bytes((tmp_path / "archive.safetensors").read_bytes()[:-40])
    with pytest.raises(UserError, match=r"archive\.safetensors"):
        Archive.read(tmp_path, model.fitted_)


def test_a_copy_of_a_training_row_is_at_distance_0(model: vaekit.VAE, X: np.ndarray) -> None:
    training, _ = model.divide(X)
    archive = vaekit.evolve(
        model, score, features, X=X, cells=CELLS, ranges=RANGES, budget=100, batch_size=50, start=X[training[:50]]
    )
    copies = archive[archive.emitter == "start"]
    assert copies.nearest.max() < 1e-3
    assert archive[archive.emitter != "start"].nearest.min() > 0


# -- going on ----------------------------------------------------------------------------------------------------------


def test_a_search_that_was_cut_short_goes_on_to_the_same_bits(model: vaekit.VAE, X: np.ndarray, tmp_path: Path) -> None:
    whole = search(model, X, refit=150)
    search(model, X, refit=150, budget=300, folder=tmp_path)
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-100])  # cut within its last line, as by a kill
    calls = Counter[str]()

    def counted(rows: np.ndarray) -> np.ndarray:
        calls["rows"] += len(rows)
        return score(rows)

    counted.__name__ = "score"
    went_on = vaekit.evolve(
        model, counted, features, X=X, cells=CELLS, ranges=RANGES, budget=400, refit=150, folder=tmp_path, resume=True
    )
    assert calls["rows"] < 250  # those before were not evaluated again
    assert torch.equal(went_on.x, whole.x)
    assert went_on.objective.tolist() == whole.objective.tolist()
    assert went_on.p_value.tolist() == whole.p_value.tolist()
    with pytest.raises(UserError, match="holds a search: give --resume"):
        search(model, X, folder=tmp_path)
    with pytest.raises(UserError, match="seed=0, not 7"):
        search(model, X, refit=150, folder=tmp_path, resume=True, seed=7)
    with pytest.raises(UserError, match="no search to go on with"):
        search(model, X, folder=tmp_path / "new", resume=True)


FUNCTIONS = """
import os, time
import numpy as np
def score(rows):
    time.sleep(0.05)
    return -np.abs(rows[:, 2:]).sum(1)
def features(rows):
    return rows[:, :2]
"""


def command(folder: Path, *more: str) -> list[str]:
    own = ["--objective", "f.py:score", "--measures", "f.py:features", "--cells", "8x8", "--range", "-3..3,-3..3"]
    return [
        sys.executable,
        "-m",
        "vaekit",
        "evolve",
        "run",
        *own,
        "--budget",
        "600",
        "--batch-size",
        "30",
        "-o",
        str(folder),
        *more,
    ]


def test_a_killed_command_goes_on(model: vaekit.VAE, X: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "f.py").write_text(FUNCTIONS)
    options = "--epochs 5 --latent-dim 3 --no-report --out run"
    fit = [sys.executable, "-m", "vaekit", "fit", "x.npy", *options.split()]
    subprocess.run(fit, cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(command(tmp_path / "whole"), cwd=tmp_path, check=True, capture_output=True)
    process = subprocess.Popen(
        command(tmp_path / "cut"), cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True
    )
    journal = tmp_path / "cut" / "journal.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 8:
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = subprocess.run(
        command(tmp_path / "cut", "--resume"), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "600 rows evaluated" in done.stderr
    whole, cut = (Archive.read(tmp_path / name) for name in ("whole", "cut"))
    assert torch.equal(whole.x, cut.x)
    assert whole.p_value.tolist() == cut.p_value.tolist()
    files = {path.name for path in (tmp_path / "cut").iterdir()}
    assert files >= {
        "archive.parquet",
        "archive.png",
        "archive.svg",
        "archive.html",
        "report.html",
        "elites.csv",
        "model",
    }
    assert json.loads(journal.read_text().splitlines()[0])["objective"] == "f.py:score"


# -- functions that fail -----------------------------------------------------------------------------------------------


def test_rows_that_fail_are_counted_and_never_stored(model: vaekit.VAE, X: np.ndarray) -> None:
    def picky(rows: np.ndarray) -> np.ndarray:
        if (rows[:, 0] > 1).any():
            raise ValueError("too far to the right")
        return np.where(rows[:, 1] > 1, np.nan, score(rows))

    archive = vaekit.evolve(model, picky, features, X=X, cells=CELLS, ranges=RANGES, budget=200)
    assert (archive.measures[:, :2] <= 1).all()
    assert set(archive.failed) == {"ValueError: too far to the right", "the value is not a number below 1e+30"}
    assert archive.history[-1]["failed"] == sum(archive.failed.values()) > 0


BAD = """
import os, time
def hangs(rows):
    if (rows < -1).any():
        time.sleep(60)
    return rows.sum(1)
def dies(rows):
    if (rows < -1).any():
        os._exit(3)
    return rows.sum(1)
"""


@pytest.mark.parametrize(("function", "why"), [("hangs", "longer than 0.5 s"), ("dies", "ended with 3")])
def test_a_row_that_hangs_or_kills_its_process_is_the_only_one_lost(function: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text(BAD)
    pool, failed = Pool([Own.of(f"{tmp_path}/f.py:{function}")], 2, 0.5), Counter[str]()
    rows = np.arange(12.0).reshape(6, 2)
    rows[3] = -5
    found = pool.evaluate(rows, failed)
    pool.close()
    values = np.full(6, np.nan)
    for part, (each,) in found:
        values[part] = each
    assert values.tolist()[:3] + values.tolist()[4:] == rows.sum(1)[[0, 1, 2, 4, 5]].tolist()
    assert np.isnan(values[3])
    ((said, times),) = failed.items()
    assert (why in said, times) == (True, 1)


def test_a_function_that_always_hangs_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text(BAD)
    pool = Pool([Own.of(f"{tmp_path}/f.py:hangs")], 1, 0.2)
    with pytest.raises(UserError, match=r"f\.py:hangs hangs: 10 calls in a row"):
        pool.evaluate(np.full((40, 2), -5.0), Counter())
    pool.close()


@given(st.lists(st.booleans(), min_size=1, max_size=30))
@settings(deadline=None)
def test_exactly_the_rows_that_raise_are_left_out(bad: list[bool]) -> None:
    def raises(rows: np.ndarray) -> np.ndarray:
        if rows.any():
            raise RuntimeError("bad")
        return np.zeros(len(rows))

    failed = Counter[str]()
    found = Here([Own.of(raises)]).evaluate(np.array(bad), failed)
    assert sorted(i for part, _ in found for i in range(part.start, part.stop)) == [
        i for i, each in enumerate(bad) if not each
    ]
    assert failed.total() == sum(bad)


def test_bad_input_is_told_in_a_line(model: vaekit.VAE, X: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("def skore(rows): return 1\n")
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    cases: list[tuple[dict[str, object], str]] = [
        ({"objective": f"{tmp_path}/g.py:score"}, "there is no file"),
        ({"objective": f"{tmp_path}/f.py:score"}, "has no function 'score'; did you mean 'skore'"),
        ({"objective": f"{tmp_path}/broken.py:score"}, "cannot be run: ModuleNotFoundError"),
        ({"objective": f"{tmp_path}/f.py:skore"}, r"gave the shape \(\) for 100 rows: return \(100,\)"),
        ({"objective": "columns:a"}, "there is no objective 'columns:a'"),
        ({"objective": "column:x9"}, "have no column 'x9'"),
        ({"measures": "pca:3"}, "has 3 measures, but cells are given for 2"),
        ({"measures": lambda rows: rows[:, :3]}, r"gave the shape \(100, 3\)"),
        (
            {"objective": lambda rows: rows[:, 0] * np.nan},
            "no row of the first generation could be evaluated; 100 of 100",
        ),
        ({"budget": 50}, "below a generation of 100"),
        ({"cells": (0, 5)}, "1 or more"),
        ({"ranges": [(0, 1)]}, r"give \(low, high\) for each of the 2 measures"),
        ({"space": "row"}, "has to be one of auto, latent, mixed, raw"),
        ({"X": None, "trust": 0.05}, "needs rows that the model was trained on"),
        ({"X": X[:9]}, "X has 9 rows, but the model was trained on 400"),
    ]
    for options, message in cases:
        with pytest.raises(UserError, match=message):
            vaekit.evolve(
                model, **{"objective": score, "measures": features, "X": X, "cells": CELLS, "ranges": RANGES, **options}
            )  # type: ignore[arg-type]


def test_measures_are_several_functions_with_their_names(model: vaekit.VAE, X: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("def first(rows): return rows[:, 0]\ndef second(rows): return rows[:, 1]\n")
    one = search(model, X)
    for measures in (f"{tmp_path}/f.py:first,second", [lambda rows: rows[:, 0], lambda rows: rows[:, 1]]):
        archive = vaekit.evolve(model, score, measures, X=X, cells=CELLS, ranges=RANGES, budget=400)
        assert archive.measures.tolist() == one.measures.tolist()
        if isinstance(measures, str):
            assert archive.names == ["first", "second"]
    with pytest.raises(UserError, match="has 2 measures, but cells are given for 1"):
        vaekit.evolve(model, score, f"{tmp_path}/f.py:first,second", X=X, cells=(5,), budget=400)
    with pytest.raises(UserError, match="several objectives"):
        vaekit.evolve(model, f"{tmp_path}/f.py:first,second", "pca:2", X=X, cells=CELLS, budget=400)


def test_a_search_goes_on_with_the_same_text_of_functions_only(
    model: vaekit.VAE, X: np.ndarray, tmp_path: Path
) -> None:
    file, about = tmp_path / "f.py", {"X": X, "cells": CELLS, "ranges": RANGES, "folder": tmp_path / "out"}
    file.write_text("def score(rows): return rows[:, 0]\n")
    vaekit.evolve(model, f"{file}:score", features, budget=200, **about)
    vaekit.evolve(model, f"{file}:score", features, budget=300, resume=True, **about)
    file.write_text("def score(rows): return -rows[:, 0]\n")
    with pytest.raises(UserError, match=r"holds a search with the text of .*f.py="):
        vaekit.evolve(model, f"{file}:score", features, budget=400, resume=True, **about)


def test_a_folder_that_cannot_be_written_to_is_told_first() -> None:
    with pytest.raises(UserError, match="/proc cannot be written to"):  # not even by root
        check_place(Path("/proc/archive"))


def test_an_archive_does_not_go_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    for place in ("taken", "taken/archive"):
        with pytest.raises(UserError, match="taken is a file"):
            check_place(tmp_path / place)


def test_a_smaller_budget_cuts_a_generation_and_a_larger_one_goes_on(
    model: vaekit.VAE, X: np.ndarray, tmp_path: Path
) -> None:
    whole = search(model, X, budget=230)
    search(model, X, budget=150, folder=tmp_path)
    went_on = search(model, X, budget=230, folder=tmp_path, resume=True)
    assert torch.equal(went_on.x, whole.x)
    with pytest.raises(UserError, match="holds a search of 230 rows already"):
        search(model, X, budget=150, folder=tmp_path, resume=True)
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'{"rows"', b"{rows", 1))
    with pytest.raises(UserError, match="is damaged"):
        search(model, X, budget=230, folder=tmp_path, resume=True)


def test_a_search_that_failed_at_once_leaves_nothing_in_the_way(
    model: vaekit.VAE, X: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no row of the first generation"):
        vaekit.evolve(model, lambda rows: ["a"] * len(rows), "latent", budget=100, folder=tmp_path)
    assert len(search(model, X, budget=100, folder=tmp_path))


def test_nothing_in_the_ranges_is_an_empty_archive(model: vaekit.VAE, X: np.ndarray, tmp_path: Path) -> None:
    archive = search(model, X, budget=300, ranges=[(90, 91), (90, 91)], refit=100)
    assert (len(archive), archive.history[-1]["outside"]) == (0, 300)
    archive.write(tmp_path)
    assert len(Archive.read(tmp_path, model.fitted_)) == 0


def test_a_function_may_change_its_rows(model: vaekit.VAE, X: np.ndarray) -> None:
    def spoils(rows: np.ndarray) -> np.ndarray:
        found = score(rows)
        rows[:] = 0
        return found

    archive = vaekit.evolve(model, spoils, features, X=X, cells=CELLS, ranges=RANGES, budget=200)
    np.testing.assert_allclose(archive.objective, score(archive.rows), rtol=1e-5)
    np.testing.assert_allclose(archive.measures, features(archive.rows), rtol=1e-5)


def test_functions_of_one_file_share_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text(
        "seen = []\ndef a(rows): return seen.append(1) or [1]\ndef b(rows): return [len(seen)]\n"
    )
    here = Here([Own.of(f"{tmp_path}/f.py:{name}") for name in "ab"])
    assert [each.tolist() for each in here(np.zeros((1, 2)))] == [[1], [1]]


def test_tables_are_written_and_dates_are_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    built = pd.to_datetime("1990-01-01") + pd.to_timedelta(rng.integers(0, 9000, 300), "D")
    houses = pd.DataFrame({"size": rng.uniform(30, 200, 300), "built": built})
    table = vaekit.VAE(latent_dim=2, epochs=5, random_state=0).fit(houses)
    archive = vaekit.evolve(table, "column:size", "column:built", X=houses, cells=(5,), budget=100)
    expected = (archive.rows["built"] - pd.Timestamp(0)) / pd.Timedelta(days=1)
    np.testing.assert_allclose(archive.measures[:, 0], expected)
    assert len(pd.read_csv(archive.write(tmp_path) / "elites.csv")) == len(archive)


# -- parts -------------------------------------------------------------------------------------------------------------


def test_iso_line_variation_has_the_moments_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    a, b, spread = np.zeros((200_000, 2)), np.tile([3.0, 0.0], (200_000, 1)), np.array([1.0, 2.0])
    children = iso_line(a, b, spread, rng)
    expected = np.sqrt([0.03**2 + (0.2 * 3) ** 2, (2 * 0.03) ** 2])
    np.testing.assert_allclose(children.std(0), expected, rtol=0.01)
    np.testing.assert_allclose(children.mean(0), 0, atol=0.01)


@given(st.integers(20, 500), st.lists(st.integers(0, 50), min_size=3, max_size=3))
def test_shares_add_up_and_none_is_forgotten(rows: int, entered: list[int]) -> None:
    shares = Shares(["a", "b", "c"])
    emitter = np.repeat(["a", "b", "c"], 50)
    hits = np.concatenate([np.arange(50) < n for n in entered])
    for _ in range(20):
        shares.learn(emitter, hits)
    assert sum(shares.now.values()) == pytest.approx(1)
    assert min(shares.now.values()) >= LEAST - 1e-9
    assert sum(shares.split(rows).values()) == rows
    order = np.argsort(entered)
    assert (
        np.diff([list(shares.now.values())[i] for i in order]) >= -1e-9
    ).all()  # the better one has no smaller share


def test_what_a_function_gives_has_one_number_a_row() -> None:
    assert checked(np.array([1, 2, 3]), "f", 3, 1).shape == (3, 1)
    for values, numbers in [([1, 2], 1), ([[1, 2]] * 3, 1), ([1, 2, 3], 2)]:
        with pytest.raises(UserError, match="f gave"):
            checked(np.array(values), "f", 3, numbers)
