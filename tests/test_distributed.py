"""Folders of parts: written by processes that are killed, gone on with, and the same bytes each time."""

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import fails, mistake, start, vaekit
from serving import exported_models
from vaekit.distributed import pool
from vaekit.distributed.parts import Parts
from vaekit.distributed.rows import Rows
from vaekit.distributed.use import use
from vaekit.distributed.work import Work, carried, opened
from vaekit.runtime import load

ROWS = 30_000

models = pytest.fixture(scope="session")(exported_models)


@pytest.fixture(scope="module")
def place(models, tmp_path_factory):
    """A folder with the exported models, and rows for the table among them."""
    place = tmp_path_factory.mktemp("many")
    for name in ("table", "pictures"):
        shutil.copytree(models / name, place / name)
    shutil.copy(models / "x.npy", place / "x.npy")
    rng = np.random.default_rng(1)
    words = pa.array(rng.choice(["a", "b"], ROWS), mask=rng.random(ROWS) < 0.2)
    sizes = pa.array(rng.gamma(2.0, size=ROWS), mask=rng.random(ROWS) < 0.2)
    table = pa.table({"id": np.arange(ROWS), "size": sizes, "word": words})
    pq.write_table(table, place / "rows.parquet", row_group_size=7001)
    (place / "parts").mkdir()
    pq.write_table(table.slice(0, 11_000), place / "parts" / "a.parquet")
    pq.write_table(table.slice(11_000), place / "parts" / "b.parquet", row_group_size=5000)
    return place


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*"))}


@pytest.fixture(scope="module")
def scores(place):
    """The parts of scores that nobody disturbed."""
    vaekit("score", place / "table", place / "rows.parquet", "-o", place / "scores", "--workers", 1, check=0)
    return content(place / "scores")


def command(place, out, *more):
    return ["score", place / "table", place / "rows.parquet", "-o", out, "--workers", "2", *more]


def workers(process):
    """The ids of the worker processes of a process."""
    try:
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def lives(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return "zombie" not in file.read()
    except OSError:
        return False


def test_scores_are_those_of_the_runtime(place, scores):
    found = pq.read_table(place / "scores")
    rows = pq.read_table(place / "rows.parquet")
    assert found.column_names == ["row", "score"]
    assert found["row"].to_pylist() == list(range(ROWS))
    some = np.random.default_rng(0).permutation(ROWS)[:300]
    np.testing.assert_array_equal(found["score"].to_numpy()[some], load(place / "table").score(rows.take(some)))
    assert [len(pq.read_table(place / "scores" / name)) for name in scores] == [4096] * 7 + [ROWS - 7 * 4096]
    assert [path.name for path in (place / "scores").iterdir() if path.name not in scores] == ["_parts.json"]


def test_the_parts_do_not_depend_on_the_workers_or_the_files(place, scores, tmp_path):
    vaekit("score", place / "table", place / "parts", "-o", tmp_path / "out", "--workers", 2, check=0)
    assert content(tmp_path / "out") == scores


def test_the_same_command_goes_on(place, scores, tmp_path):
    done = vaekit(*command(place, tmp_path / "out"), check=0)
    assert f"done: {ROWS} rows in 8 parts in" in done.stderr
    for part in (0, 5):
        (tmp_path / "out" / f"part-{part:05d}.parquet").unlink()
    kept = (tmp_path / "out" / "part-00001.parquet").stat().st_mtime_ns
    assert "8 parts, of which 6 were there" in vaekit(*command(place, tmp_path / "out"), check=0).stderr
    assert content(tmp_path / "out") == scores
    assert (tmp_path / "out" / "part-00001.parquet").stat().st_mtime_ns == kept
    assert "of which 8 were there" in vaekit(*command(place, tmp_path / "out"), check=0).stderr


def test_parents_that_are_killed(place, scores, tmp_path):
    rng = random.Random(0)
    for _ in range(4):
        process = start(*command(place, tmp_path / "out"))
        time.sleep(rng.uniform(0.3, 2.5))
        left = workers(process)
        process.kill()
        process.wait()
        for _ in range(100):  # they end with their parent
            if not any(map(lives, left)):
                break
            time.sleep(0.05)
        assert not any(map(lives, left))
    vaekit(*command(place, tmp_path / "out"), check=0)
    assert content(tmp_path / "out") == scores
    assert not list((tmp_path / "out").glob(".*"))


def test_workers_that_are_killed(place, scores, tmp_path):
    process, rng, killed = start(*command(place, tmp_path / "out")), random.Random(0), 0
    while process.poll() is None:
        time.sleep(rng.uniform(0.01, 0.03) if not killed else rng.uniform(0.3, 1.0))
        if (left := workers(process)) and killed < 5 and list((tmp_path / "out").glob("part-*")):
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(left), signal.SIGKILL)
                killed += 1
    assert process.wait() == 0, process.stdout.read()
    assert killed
    assert content(tmp_path / "out") == scores
    assert not list((tmp_path / "out").glob(".*"))


def test_a_part_that_kills_its_workers(place, tmp_path, monkeypatch):
    make = pool.Worker.make

    def fatal(worker, part):
        make(worker, part)
        if part == 2:
            worker.process.kill()

    monkeypatch.setattr(pool.Worker, "make", fatal)
    told = mistake(use, place / "table", "score", str(place / "rows.parquet"), tmp_path / "out", workers=2)
    assert told.startswith("part 2 (rows 8192 to 12287): 3 workers died, the last one by out of memory, most likely")
    assert "parts are done and kept: the same command makes the others" in told


def test_ctrl_c_says_how_to_go_on(place, scores, tmp_path):
    process = start(*command(place, tmp_path / "out"))
    while not list((tmp_path / "out").glob("part-*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert "parts are done and kept: the same command makes the others" in said
    vaekit(*command(place, tmp_path / "out"), check=0)
    assert content(tmp_path / "out") == scores


def test_a_full_disk(place, scores, tmp_path):
    out = tmp_path / "out"
    vaekit(*command(place, out), check=0)
    (out / "part-00003.parquet").unlink()
    ran = subprocess.run(
        [sys.executable, "-m", "vaekit", *map(str, command(place, out))], capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)),
    )  # fmt: skip
    assert ran.returncode == 2
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("vaekit: error: ")]
    assert "part 3 (rows 12288 to 16383): cannot write" in line
    assert "7 of 8 parts are done and kept" in line
    assert content(out) == {name: data for name, data in scores.items() if name != "part-00003.parquet"}
    vaekit(*command(place, out), check=0)
    assert content(out) == scores


def test_another_command_is_refused(place, tmp_path):
    out = tmp_path / "out"
    vaekit(*command(place, out), check=0)
    assert "another 'verb'" in fails("encode", place / "table", place / "rows.parquet", "-o", out)
    changed = pq.read_table(place / "rows.parquet")
    pq.write_table(changed.set_column(1, "size", pa.array(np.ones(ROWS))), tmp_path / "rows.parquet")
    assert "another source" in fails("score", place / "table", tmp_path / "rows.parquet", "-o", out)
    shutil.copytree(place / "table", tmp_path / "other")
    about = json.loads((tmp_path / "other" / "model.json").read_text())
    from vaekit.runtime.folder import digest_of

    del about["digest"]
    about["name"] = "other"
    (tmp_path / "other" / "model.json").write_text(json.dumps({**about, "digest": digest_of(about)}))
    assert "another model" in fails("score", tmp_path / "other", place / "rows.parquet", "-o", out)
    assert "holds other files" in fails("score", place / "table", place / "rows.parquet", "-o", place)
    (out / "_parts.json").write_text("{")
    assert "is damaged" in fails(*command(place, out))


def test_bad_input_is_told_at_once(place, tmp_path):
    table, rows, out = place / "table", place / "rows.parquet", tmp_path / "out"
    for words, said in (
        (["predict", table, rows, "-o", out], "without the graph 'predict'"), (["score", table, rows, "-o", out, "--fdr", "0.1"], "--fdr is for a file"),
        (["score", table, rows, "-o", out, "-k", "3"], "No such option"), (["score", table, rows, "-o", out, "--k", "3"], "was exported, and has one score"),
        (["score", table, rows, "-o", tmp_path / "a.csv", "--workers", "2"], "--workers is for a folder of parts"),
        (["score", table, rows, "-o", out, "--device", "cuda"], "computed on the CPU"), (["score", table, tmp_path / "no.parquet", "-o", out], "does not exist"),
        (["score", table, rows, "-o", out, "--engine", "rey"], "did you mean 'ray'"), (["score", table, rows, "-o", "s3://b/out"], "lie on a disk"),
        (["score", place / "pictures", place / "x.npy", "-o", out], "needs condition 'y' of every row"),
    ):  # fmt: skip
        assert said in fails(*words)
    lacking = pq.read_table(rows).drop_columns(["size"])
    pq.write_table(lacking, tmp_path / "lacking.parquet")
    assert "X has no column 'size'" in fails("score", table, tmp_path / "lacking.parquet", "-o", tmp_path / "b")
    whole = rows.read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read" in fails("score", table, tmp_path / "cut.parquet", "-o", tmp_path / "c")
    broken = bytearray(whole)
    broken[len(whole) // 2 : len(whole) // 2 + 400] = bytes(400)
    (tmp_path / "broken.parquet").write_bytes(bytes(broken))
    assert not {"Traceback", "fault"} & set(
        vaekit("encode", table, tmp_path / "broken.parquet", "-o", tmp_path / "d").stderr.split()
    )


def test_a_row_that_cannot_be_scored_is_named(place, tmp_path):
    table = pq.read_table(place / "rows.parquet")
    sizes = table["size"].to_numpy(zero_copy_only=False).copy()
    sizes[20_001] = np.inf
    pq.write_table(table.set_column(1, "size", pa.array(sizes)), tmp_path / "rows.parquet")
    told = fails("score", place / "table", tmp_path / "rows.parquet", "-o", tmp_path / "out", "--workers", "2")
    assert "part 4 (rows 16384 to 20479): rows 19" in told
    assert "column 'size' holds an infinity at row" in told


def test_codes_and_gaps(place, tmp_path):
    rows, model = pq.read_table(place / "rows.parquet"), load(place / "table")
    vaekit("encode", place / "table", place / "rows.parquet", "-o", tmp_path / "codes", check=0)
    codes = pq.read_table(tmp_path / "codes").to_pandas()
    np.testing.assert_array_equal(codes[:500].to_numpy(), model.encode(rows.slice(0, 500)))
    pq.write_table(rows.slice(0, 5000), tmp_path / "few.parquet")
    vaekit("impute", place / "table", tmp_path / "few.parquet", "-o", tmp_path / "filled", check=0)
    filled = pq.read_table(tmp_path / "filled")
    assert filled.schema.equals(rows.schema)
    assert not any(column.null_count for column in filled.columns)
    known = rows["size"].slice(0, 5000).is_valid().to_numpy()
    np.testing.assert_array_equal(filled["size"].to_numpy()[known], rows["size"].slice(0, 5000).to_pandas()[known])
    assert filled.slice(300, 7).select(["size", "word"]).to_pydict() == {
        name: list(values) for name, values in model.impute(rows.slice(300, 7).select(["size", "word"])).items()
    }


def test_samples(place, tmp_path):
    for name, count in (("one", 1), ("two", 2)):
        vaekit("sample", place / "table", "-n", 9000, "--seed", 3, "-o", tmp_path / name, "--workers", count, check=0)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    found = pq.read_table(tmp_path / "one").to_pandas()
    wanted = pd.DataFrame(load(place / "table").sample(9000, seed=3))
    np.testing.assert_array_equal(found["size"], wanted["size"])
    vaekit("sample", place / "pictures", "-n", 50, "-c", "1", "-o", tmp_path / "pictures", check=0)
    assert pq.read_table(tmp_path / "pictures").num_columns == 36


def test_sources_that_are_no_parquet_files(place, tmp_path):
    vaekit("encode", place / "pictures", place / "x.npy", "-o", tmp_path / "a", check=0)
    X = np.load(place / "x.npy")
    codes = load(place / "pictures").encode(X)
    np.testing.assert_array_equal(pq.read_table(tmp_path / "a").to_pandas().to_numpy(), codes)
    rows = pq.read_table(place / "rows.parquet").slice(0, 50)
    rows.to_pandas().to_csv(tmp_path / "rows.csv", index=False)
    vaekit("score", place / "table", tmp_path / "rows.csv", "-o", tmp_path / "b", check=0)
    np.testing.assert_array_equal(pq.read_table(tmp_path / "b")["score"], load(place / "table").score(rows))
    # shards of pictures: the bytes of a row in a column x, and a manifest that says what they are
    bytes_of = pa.array([x.tobytes() for x in X], pa.binary(36))
    (tmp_path / "shards").mkdir()
    pq.write_table(pa.table({"x": bytes_of, "y": np.arange(60) % 3}), tmp_path / "shards" / "part-00000.parquet")
    (tmp_path / "shards" / "_manifest.json").write_text(json.dumps({"dtype": "uint8", "shape": [6, 6]}))
    vaekit("score", place / "pictures", tmp_path / "shards", "-o", tmp_path / "c", check=0)
    scores, p = load(place / "pictures").rate(X, np.arange(60) % 3)
    found = pq.read_table(tmp_path / "c")
    np.testing.assert_array_equal(found["score"], scores)
    np.testing.assert_array_equal(found["p_value"], p)


def test_a_run_is_exported_first(tmp_path):
    X = np.random.default_rng(0).normal(size=(80, 4)).round(3)
    np.savetxt(tmp_path / "x.csv", X, delimiter=",", header="a,b,c,d", comments="")
    vaekit(
        "fit",
        tmp_path / "x.csv",
        "--latent-dim",
        2,
        "--size",
        "small",
        "--epochs",
        1,
        "--out",
        tmp_path / "run",
        "--no-report",
        check=0,
    )
    vaekit(
        "score", tmp_path / "run", tmp_path / "x.csv", "--score", "loglik", "--k", 4, "-o", tmp_path / "out", check=0
    )
    found = pq.read_table(tmp_path / "out")
    assert found.column_names == ["row", "score", "p_value"]
    assert len(found) == 80
    done = vaekit(
        "score", tmp_path / "run", tmp_path / "x.csv", "--score", "loglik", "--k", 4, "-o", tmp_path / "out", check=0
    )
    assert "of which 1 were there" in done.stderr
    assert "another 'options'" in fails("score", tmp_path / "run", tmp_path / "x.csv", "-o", tmp_path / "out")


def test_rows_are_read_by_number(place):
    rows, table = Rows(str(place / "parts")), pq.read_table(place / "rows.parquet")
    for first, last in ((0, 1), (0, ROWS), (10_999, 11_001), (15_998, 16_003), (ROWS - 1, ROWS)):
        found = pa.concat_tables(rows.read(first, last, ["id", "size"]))
        assert found.equals(table.slice(first, last - first).select(["id", "size"]))


@pytest.mark.parametrize("rows", [1, 4096, 4097, 10**6, 10**9])
def test_every_row_is_in_one_part(rows, tmp_path):
    parts = Parts(tmp_path, "score", {}, "", rows)
    spans = [parts.span(part) for part in range(len(parts))]
    assert [0, *(stop for _, stop in spans)] == [*(first for first, _ in spans), rows]
    assert parts.size % 1024 == 0


def test_a_model_that_is_carried(place):
    rows = pq.read_table(place / "rows.parquet").slice(0, 20)
    work = opened(carried(place / "table"), "score")
    assert work(rows).equals(Work(place / "table")(rows))
    assert opened(carried(place / "table"), "score") is work
    assert Work(place / "table")(rows.slice(0, 0)).schema.equals(work(rows).schema)
    assert work(rows).column_names == ["id", "size", "word", "score"]


def test_no_torch_in_a_worker():
    code = "import sys, vaekit.distributed.worker, vaekit.distributed.ray, vaekit.distributed.spark; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
