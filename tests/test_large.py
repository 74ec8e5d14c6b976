"""More rows than fit into memory: they stay in their files, and training, resuming and every use go on as with others."""

import os
import re
import shutil
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vaekit as vk
from conftest import assert_same, fails, kill_at_checkpoints, timeless, vaekit, weights, write_settings
from vaekit.estimators.large import streamed
from vaekit.frame import Frame
from vaekit.frame.groups import open_parquet
from vaekit.kinds.table import Table
from vaekit.sources import arrays

ROWS = 3000


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A folder of three Parquet files with row groups of 250 rows, of numbers, categories and gaps."""
    folder, random = tmp_path_factory.mktemp("parts"), np.random.default_rng(0)
    z = random.normal(size=ROWS)
    a = pa.array(z + random.normal(size=ROWS), mask=random.random(ROWS) < 0.1)
    label = np.array(["left", "right", "straight"])[random.integers(0, 3, ROWS)]
    whole = pa.table({"a": a, "n": random.poisson(np.exp(z) * 5), "kind": label, "z": np.round(z, 1)})
    for i, start_ in enumerate(range(0, ROWS, 1000)):
        pq.write_table(whole.slice(start_, 1000), folder / f"{i}.parquet", row_group_size=250, write_page_checksum=True)
    return folder


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A .npy file that counts as large."""
    monkeypatch.setattr(arrays, "STAYS", 0)
    monkeypatch.setattr("vaekit.sources.stored.AT_ONCE", 8 * 8 * 100)
    random = np.random.default_rng(0)
    x = (random.random((1000, 8, 8)) * np.linspace(20, 250, 1000)[:, None, None]).astype(np.uint8)
    np.save(tmp_path / "pictures.npy", x)
    return tmp_path / "pictures.npy", x


# -- rows in files -----------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-1000, 999), max_size=20))
def test_a_stored_array_is_that_array(tmp_path_factory, index):
    path = tmp_path_factory.getbasetemp() / "stored.npy"
    x = np.arange(3000, dtype=">i2").reshape(1000, 3)
    if not path.exists():
        np.save(path, x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "STAYS", 0)
        patch.setattr("vaekit.sources.stored.AT_ONCE", 6 * 70)
        stored = vk.read(path).x
    assert len(stored.groups) == 15
    assert (stored.shape, stored.dtype) == ((1000, 3), np.float64)
    np.testing.assert_array_equal(stored[np.array(index, dtype=int)], x[np.array(index, dtype=int)])
    np.testing.assert_array_equal(stored[5:300:7], x[5:300:7])
    np.testing.assert_array_equal(np.asarray(stored), x)
    np.testing.assert_array_equal(np.concatenate([stored.group(i) for i in range(15)]), x)


def test_the_groups_of_a_table_are_its_rows(table):
    frame = vk.read(str(table)).x
    assert list(frame.groups) == [250] * 12
    whole = pa.concat_tables([frame.group(i).table() for i in range(12)])
    assert whole.equals(frame.table())
    assert frame.fingerprint == vk.read(str(table)).x.fingerprint


def test_rows_are_packed_as_those_in_memory(table):
    frame = vk.read(str(table)).x
    kind = Table.infer(frame)
    x, mask = kind.pack(frame)
    rows = streamed(Packs(kind), frame, {}, 1 << 20, seed=0)
    found = rows[torch.arange(len(frame))]
    torch.testing.assert_close(found.x, x)
    assert torch.equal(found.mask, mask)


class Packs:
    """A kind that spreads no rounded numbers."""

    def __init__(self, kind):
        self.kind, self.event_shape, self.take = kind, kind.event_shape, kind.take

    def pack(self, rows, jitter):
        return self.kind.pack(rows)


# -- training ----------------------------------------------------------------------------------------------------------------


FIT = ("--size", "small", "--latent-dim", 3, "--batch-size", 100, "--sampler", "prior", "--memory", "90KiB")


def test_killed_at_any_moment_it_resumes_to_the_same_bits(table, tmp_path):
    config = write_settings(tmp_path / "settings.yaml")
    fit = ("fit", table, *FIT, "--epochs", 3, "--config", config, "--no-report")
    said = vaekit(*fit, "--out", tmp_path / "whole", check=0).stderr
    assert re.search(
        r"the 3,000 rows stay in their files: [0-9,]+ at a time are read and shuffled, within --memory 90KiB", said
    )
    run = tmp_path / "killed"
    kills = kill_at_checkpoints(run, (0.02, 0.11, 0.19), *fit, "--out", run)
    assert kills >= 2, "training was over before it could be killed: the test tests nothing"
    vaekit("fit", "--resume", "--out", run, "--no-report", check=0)
    assert_same(weights(tmp_path / "whole"), weights(run))
    assert timeless(tmp_path / "whole") == timeless(run)


def test_it_learns_what_a_model_in_memory_learns(table):
    data = vk.read(str(table), conditions=["kind"])
    found = [
        vk.CVAE(3, size="small", epochs=15, batch_size=100, sampler="prior", trainer={"memory": memory}).fit_data(data)
        for memory in ("1GiB", "80KiB")
    ]
    assert not found[0].data_.get("memory")
    assert found[1].data_["memory"] == 80 << 10
    whole, parts = (each.history_[-1]["valid_elbo"] for each in found)
    assert parts == pytest.approx(whole, abs=0.15)  # nats, of about 6


def test_pictures_stay_in_their_file(pictures):
    path, x = pictures
    data = vk.read(path)
    vae = vk.VAE(2, size="small", epochs=3, batch_size=50, trainer={"memory": "60KiB"}, validation=0.1).fit_data(data)
    assert vae.data_["memory"] == 60 << 10
    np.testing.assert_array_equal(vae.score_samples(data.x), vae.score_samples(x))
    assert vae.sample(3).shape == (3, 8, 8)
    held_out = vae.held_out(vae.read(str(path)), 7)
    assert held_out.x.shape == (7, 8, 8)


def test_few_labels_among_many_rows(pictures):
    _, x = pictures
    data = vk.read(pictures[0])
    y = np.where(np.arange(1000) < 500, "dark", "bright").astype(object)
    y[np.arange(1000) % 10 > 0] = None
    data.conditions = {"light": y}
    model = vk.SemiSupervisedVAE(2, size="small", epochs=20, batch_size=50, trainer={"memory": "60KiB"}).fit_data(data)
    assert (model.predict(x[::50]) == np.where(np.arange(0, 1000, 50) < 500, "dark", "bright")).mean() > 0.9


def test_more_labels_than_fit_into_memory_are_refused(pictures):
    data = vk.read(pictures[0])
    data.conditions = {"light": np.arange(1000) % 2}
    model = vk.SemiSupervisedVAE(2, size="small", epochs=1, batch_size=50, trainer={"memory": "60KiB"})
    with pytest.raises(
        vk.errors.UserError, match=r"the 1,000 labelled rows are held in memory and take 250KiB, more than"
    ):
        model.fit_data(data)


def test_text_that_is_numbers_is_read_whole_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr("vaekit.sources.tables.LARGE", 100)
    numbers = pa.table({"n": [str(i) for i in range(50)], "m": list(range(50))})
    pq.write_table(numbers, tmp_path / "rows.parquet", row_group_size=10)
    with pytest.warns(vk.errors.Note, match="is held in memory whole, because the first rows of a column of text are"):
        assert not len(vk.read(tmp_path / "rows.parquet").x.groups)
    schema = {"n": {"kind": "categorical"}}
    assert len(vk.read(tmp_path / "rows.parquet", schema=schema).x.groups) == 5


@pytest.mark.parametrize("error", [KeyboardInterrupt, None])
def test_a_training_that_ends_early_leaves_no_thread(table, error):
    """Also while what it raised is looked at, as in a notebook."""

    class Stops:
        def step(self, state, progress, terms):
            if error and threading.active_count() > before:  # some read
                raise error
            if not error:
                os.utime(table / "2.parquet", ns=(1, 1))

        def epoch(self, state, progress, row):
            pass

    stamp = (table / "2.parquet").stat().st_mtime_ns
    before = threading.active_count()
    vae = vk.VAE(2, size="small", epochs=30, batch_size=10, sampler="prior", trainer={"memory": "60KiB"})
    with pytest.raises(error or vk.errors.UserError) as raised:
        vae.fit_data(vk.read(str(table)), watchers=[Stops()])
    os.utime(table / "2.parquet", ns=(stamp, stamp))
    assert error or "was changed while it was read" in str(raised.value)
    assert threading.active_count() <= before


def test_the_command_line_uses_rows_in_files(table, tmp_path):
    vaekit("fit", table, *FIT, "--epochs", 2, "--out", tmp_path / "run", check=0)
    assert (tmp_path / "run/report.html").exists()
    for verb in (("score",), ("encode",), ("impute",)):
        vaekit(*verb, tmp_path / "run", table, "-o", tmp_path / "rows.csv", check=0)
        assert (tmp_path / "rows.csv").read_text().count("\n") == ROWS + 1


# -- what goes wrong ---------------------------------------------------------------------------------------------------------


def test_too_little_memory_is_named_before_training(table):
    said = fails("fit", table, *FIT[:-1], "5KiB")
    assert "memory 5KiB holds no two groups of rows: a group has 250 rows of" in said
    assert "give --memory" in said


@pytest.mark.parametrize("size", ["much", "-1GiB", "0", ""])
def test_a_size_that_is_none(table, size):
    assert "is not a size: write it as 500MiB or 2GiB" in fails("fit", table, "--memory", size)


def test_a_file_of_another_schema(table, tmp_path):
    folder = shutil.copytree(table, tmp_path / "parts")
    pq.write_table(pq.read_table(folder / "1.parquet").drop_columns(["n"]), folder / "1.parquet")
    said = fails("fit", folder, *FIT)
    assert (
        "1.parquet is of another schema: the first file has a column 'n' of int64, and this one no such column" in said
    )


@pytest.mark.parametrize("how", ["cut", "damaged"])
def test_a_file_that_is_damaged(table, tmp_path, how):
    folder = shutil.copytree(table, tmp_path / "parts")
    path = folder / "1.parquet"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = b"\0" * 40
    path.write_bytes(content[:middle] if how == "cut" else content)
    said = fails("fit", folder, *FIT)
    assert "1.parquet" in said or "damaged" in said


def test_a_file_that_changes_while_it_is_read(table, tmp_path):
    folder = shutil.copytree(table, tmp_path / "parts")
    frame = vk.read(str(folder)).x
    frame.group(0)
    os.utime(folder / "2.parquet", (1, 1))
    with pytest.raises(vk.errors.UserError, match=r"2\.parquet was changed while it was read: start again"):
        frame.group(11)


def test_an_array_that_changes_while_it_is_read(pictures):
    path, x = pictures
    stored = vk.read(path).x
    np.save(path, x[:500])
    with pytest.raises(vk.errors.UserError, match="was changed while it was read: start again"):
        stored.group(0)


def test_resuming_with_another_memory_is_refused(table, tmp_path):
    config = write_settings(tmp_path / "settings.yaml")
    vaekit("fit", table, *FIT, "--epochs", 1, "--config", config, "--out", tmp_path / "run", "--no-report", check=0)
    said = fails("fit", "--resume", "--out", tmp_path / "run", "--epochs", 2, "--memory", "120KiB")
    assert "was trained within another memory: resume with --memory 90KiB" in said


# -- other machines ----------------------------------------------------------------------------------------------------------


def test_a_folder_on_another_file_system(table):
    import fsspec

    there = fsspec.filesystem("memory")
    for path in table.glob("*.parquet"):
        there.pipe(f"/bucket/table/{path.name}", path.read_bytes())
    data = vk.read("memory://bucket/table")
    assert data.x.table().equals(vk.read(str(table)).x.table())
    assert len(vk.read("memory://bucket/table/1.parquet[5:10]")) == 5
    vae = vk.VAE(2, size="small", epochs=1, trainer={"memory": "90KiB"}, sampler="prior").fit_data(data)
    assert vae.data_["memory"]


def test_credentials_are_named_and_never_shown(monkeypatch):
    import fsspec

    def refuse(*args, **kwargs):
        raise PermissionError("the key SECRET123 is not valid")

    there = fsspec.filesystem("memory")
    monkeypatch.setattr(type(there), "info", refuse)
    said = fails("fit", "memory://locked/table")
    assert "SECRET123" not in said
    assert "check its name and the connection, and set its credentials" in said
    said = fails("fit", "s3://bucket/table")
    assert "AWS_ACCESS_KEY_ID" in said or "vaekit[cloud]" in said


def test_parquet_files_are_one_table(table):
    assert Frame(open_parquet(sorted(table.glob("*.parquet")))).rows == ROWS
