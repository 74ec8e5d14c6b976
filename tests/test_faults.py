"""Faults: a disk that is full and a process that is killed, at every single call that writes a run's files; and damaged files."""

import gzip
import os
import random
import shutil
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import faults
import vaekit as vk
from faults import CASES
from vaekit.errors import UserError
from vaekit.recipes.evaluate import evaluate
from vaekit.recipes.recipe import Recipe
from vaekit.recipes.source import held_out
from vaekit.robots.published import load_published
from vaekit.runs.describe import describe_run
from vaekit.runs.directory import read_evaluation
from vaekit.sources import base


@pytest.mark.parametrize("case", CASES)
def test_writing_can_stop_at_any_call(case, tmp_path):
    told = subprocess.run(
        [sys.executable, faults.__file__, case, str(tmp_path)], capture_output=True, text=True, timeout=600
    )
    assert told.returncode == 0, told.stderr[-2000:]


# -- damage ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each form of file there is, with what verbs leave in it."""
    folder, rng = tmp_path_factory.mktemp("damage"), np.random.default_rng(0)
    rows = [f"{rng.integers(18, 80)},{['Oslo', 'Rome', 'Bonn'][i % 3]}" for i in range(40)]
    (folder / "t.csv").write_text("\n".join(["age,city", *rows]))
    (folder / "x.txt").write_text(
        "".join(f"the {a} is {b}\n" for a in ["cat", "dog", "cow", "hen"] for b in ["big", "red", "old"])
    )
    found = []
    for name in ("t.csv", "x.txt"):
        recipe = Recipe(str(folder / name), settings={"latent_dim": 1, "size": "small", "epochs": 1})
        run, estimator = recipe.train(folder / name[0], say=lambda line: None)
        evaluate(run, estimator, held_out(estimator), 1)
        found.append(run)
    return found


def spoil(run, rng):
    """Damage one file of a run in one of many ways; returns which, for the message."""
    path = rng.choice(sorted(path for path in run.iterdir() if path.is_file()))
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content) + 1)
    way = rng.choice(["value", "bits", "cut", "insert", "zeros", "words", "other"])
    if way == "value":
        path = run / "config.yaml"
        values = yaml.safe_load(path.read_text())
        within, key = rng.choice(sorted(places(values), key=str))
        within[key] = rng.choice([None, [], {}, "x", -1, 1e308, True, "", [1, 2], {"a": 1}, 10**30, float("nan")])
        content = yaml.safe_dump(values).encode()
    elif way == "bits":
        for _ in range(rng.choice([1, 20])):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif way == "cut":
        del content[at:]
    elif way == "insert":
        content[at:at] = rng.randbytes(rng.choice([1, 100]))
    elif way == "zeros":
        content[at : at + 50] = bytes(len(content[at : at + 50]))
    elif way == "words":
        content = b"not what it was\n" * 20
    else:
        content = rng.choice(sorted(run.glob("*.safetensors"))).read_bytes()
    path.write_bytes(bytes(content))
    return f"{path.name}: {way} {at}"


def places(values):
    """Every container of a config's values, and each key in it."""
    for key in values if isinstance(values, dict) else range(len(values)):
        yield values, key
        if isinstance(values[key], dict | list):
            yield from places(values[key])


def test_any_damage_is_told_in_one_line(runs, tmp_path):
    """Or it does no harm. Nothing else is raised."""
    told = 0
    for seed in range(60):
        rng = random.Random(seed)
        run = shutil.copytree(runs[seed % 2], tmp_path / str(seed))
        what = spoil(run, rng)
        for do in (describe_run, lambda run: vk.load(run).sample(2), lambda run: Recipe.read(run / "config.yaml")):
            try:
                do(run)
            except UserError:
                told += 1
            except Exception as e:
                pytest.fail(f"{runs[seed % 2].name}, {what}: {type(e).__name__} {e}")
    assert told > 60


def test_no_pipe_keeps_the_reader_waiting(runs, tmp_path):
    """A stranger's archive may hold one under any name."""
    for i, source in enumerate(runs):
        for name in (path.name for path in source.iterdir()):
            run = shutil.copytree(source, tmp_path / f"{i}-{name}")
            (run / name).unlink()
            os.mkfifo(run / name)
            with suppress(UserError):
                read_evaluation(run, vk.load(run).fitted_)
            with suppress(UserError):
                Recipe.read(run / "config.yaml")


def test_a_parquet_file_of_damaged_pages_is_told(tmp_path):
    table = pa.table({"a": np.arange(3000) % 7 / 2, "b": [f"name {i % 50}" for i in range(3000)]})
    pq.write_table(table, tmp_path / "a.parquet")
    content, told = (tmp_path / "a.parquet").read_bytes(), 0
    for at in range(20, len(content) - 10, len(content) // 12):
        damaged = bytearray(content)
        damaged[at : at + 40] = random.Random(at).randbytes(len(damaged[at : at + 40]))
        (tmp_path / "b.parquet").write_bytes(damaged)
        try:
            data = vk.read(str(tmp_path / "b.parquet"))
            assert sum(len(piece) for piece in data.x.pieces()) == 3000
        except UserError as e:
            told += 1
            assert "damaged" in str(e) or "could not be read" in str(e)  # noqa: PT017
    assert told > 6


def test_a_source_without_an_end_is_refused(tmp_path, monkeypatch):
    """A small file that unpacks to a thousand times its size, and a device."""
    monkeypatch.setattr(base, "memory", lambda: 2 << 20)
    with gzip.open(tmp_path / "a.csv.gz", "wb") as file:
        file.write(b"1,2\n" * (1 << 20))
    (tmp_path / "b.csv").symlink_to("/dev/zero")
    for name in ("a.csv.gz", "b.csv"):
        with pytest.raises(UserError, match="half of this machine's memory"):
            vk.read(tmp_path / name)


def test_a_published_policy_whose_config_is_nested_without_end(tmp_path):
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="cannot be read as JSON"):
        load_published(tmp_path)
