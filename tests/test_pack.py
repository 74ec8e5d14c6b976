"""`vaekit pack`: the rows of any source, in parts. They are read back here by Arrow and NumPy alone."""

import gzip
import os
import re
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy.io import wavfile

import vaekit as vk
from conftest import fails, kill, mistake, noise, process, save_picture, start, vaekit
from vaekit.kinds.audio import Audio
from vaekit.sources.manifest import MANIFEST, Manifest

SLOW = [HealthCheck.function_scoped_fixture]


def back(folder: Path) -> tuple[Manifest, pa.Table, np.ndarray | None]:
    """What the parts hold: all their columns, and x where it is an array."""
    about = Manifest.read(folder)
    files = [folder / shard.file for shard in about.shards]
    table = pa.concat_tables([pq.read_table(f, page_checksum_verification=True) for f in files])
    assert [pq.read_metadata(f).num_rows for f in files] == [shard.rows for shard in about.shards]
    assert len(table) == about.rows
    if about.shape is None:
        return about, table, None
    cells = b"".join(table["x"].to_pylist())
    return about, table, np.frombuffer(cells, np.dtype(about.dtype).newbyteorder("<")).reshape(-1, *about.shape)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_as_read(folder: Path, data) -> None:
    """The shards hold what `vaekit.read` returned, to the bit."""
    about, table, x = back(folder)
    assert (about.kind, about.name) == (data.kind, data.name)
    assert x is not None
    assert x.dtype == data.x.dtype
    np.testing.assert_array_equal(x, data.x)
    assert x.tobytes() == data.x.tobytes()
    assert set(data.conditions) == set(about.conditions)
    for name, values in {**data.conditions, **data.names}.items():
        found = table[name].to_pylist()
        wanted = [None if v is None or v != v else v for v in np.asarray(values).tolist()]
        assert found == wanted, name
    again = vk.read(folder, conditions=list(data.conditions))
    assert (again.kind, again.name) == (data.kind, data.name)
    np.testing.assert_array_equal(again.x, data.x)
    for name, values in {**data.conditions, **data.names}.items():
        np.testing.assert_array_equal({**again.conditions, **again.names}[name][:], values)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Pictures of 6x5 in two classes: grey, coloured and transparent ones, one that cannot be read, and what is known about them."""
    folder = tmp_path / "pictures"
    for i in range(30):
        pixels = noise(5, 6, seed=i) if i % 3 else noise(5, 6, 4, seed=i) if i == 24 else noise(5, 6, 3, seed=i)
        save_picture(folder / "ab"[i % 2] / f"{i:02}.png", pixels)
    (folder / "a" / "broken.png").write_bytes(b"no picture")
    cut = (folder / "b" / "03.png").read_bytes()
    (folder / "b" / "cut.png").write_bytes(cut[: len(cut) // 2])
    rows = [f"{'ab'[i % 2]}/{i:02}.png,{i if i % 5 else ''},{['x', 'y'][i % 2]}" for i in range(1, 30)]
    (folder / "metadata.csv").write_text("\n".join(["file_name,size,shape", *rows]))
    return folder


# -- sources -----------------------------------------------------------------------------------------------------------


def test_a_folder_of_pictures_with_all_that_is_known_about_them(pictures, tmp_path):
    said = vaekit("pack", pictures, "-o", tmp_path / "s", "--rows-per-shard", 7, check=0).stderr
    data = vk.read(pictures, conditions=["label", "size", "shape"])
    assert data.x.shape == (30, 5, 6, 4)
    assert_as_read(tmp_path / "s", data)
    about = Manifest.read(tmp_path / "s")
    assert [shard.rows for shard in about.shards] == [7, 7, 7, 7, 2]
    assert about.names == ["file", "label"]
    for note in data.notes:
        assert f"note: {note}" in " ".join(said.split()), note
    assert "2 of 32 pictures could not be read and were skipped" in said


def test_pictures_are_resized_and_pages_are_pictures(tmp_path):
    for i in range(3):
        save_picture(tmp_path / "p" / f"{i}.png", noise(8 + i, 9, 3, seed=i))
    frames = [Image.fromarray(noise(9, 7, seed=i)) for i in range(4)]
    frames[0].save(tmp_path / "p" / "many.tiff", save_all=True, append_images=frames[1:])
    vk.pack(tmp_path / "p", tmp_path / "s", resize=(4, 5), rows_per_shard=3)
    assert_as_read(tmp_path / "s", vk.read(tmp_path / "p", resize=(4, 5)))
    assert Manifest.read(tmp_path / "s").shape == [5, 4, 3]


def test_pictures_that_all_look_grey_are_grey_and_deep_ones_stay_deep(tmp_path):
    for i in range(3):
        save_picture(tmp_path / "g" / f"{i}.png", np.repeat(noise(4, 4, 1, seed=i), 3, axis=2))
        Image.fromarray(noise(4, 4, seed=i).astype(np.uint16) * 200).save(tmp_path / f"{i}.png")
    vk.pack(tmp_path / "g", tmp_path / "s")
    assert Manifest.read(tmp_path / "s").shape == [4, 4]
    (tmp_path / "d").mkdir()
    for i in range(3):
        (tmp_path / f"{i}.png").rename(tmp_path / "d" / f"{i}.png")
    assert_as_read(vk.pack(tmp_path / "d", tmp_path / "sd"), vk.read(tmp_path / "d"))


def test_colour_that_comes_late_is_not_lost(tmp_path):
    """A few pictures are looked at before: the coloured one is none of them."""
    for i in range(600):
        save_picture(tmp_path / "p" / f"{i:03}.png", np.repeat(noise(2, 2, 1, seed=i), 3, axis=2))
    save_picture(tmp_path / "p" / "595.png", noise(2, 2, 3, seed=1))
    with pytest.warns(vk.errors.Note, match="all are packed once more"):
        vk.pack(tmp_path / "p", tmp_path / "s", rows_per_shard=100)
    assert_as_read(tmp_path / "s", vk.read(tmp_path / "p"))


def test_pictures_of_two_sizes_are_refused_before_a_part_is_written(tmp_path):
    for i in range(5):
        save_picture(tmp_path / "p" / f"{i}.png", noise(8 + (i == 4), 9))
    assert "differ in size: 4 are 9x8, 1 are 9x9; bring them to one size" in fails(
        "pack", tmp_path / "p", "-o", tmp_path / "s"
    )
    assert not (tmp_path / "s").exists()
    (tmp_path / "p" / "4.png").write_bytes((tmp_path / "p" / "4.png").read_bytes()[:60])  # now it cannot be read
    vk.pack(tmp_path / "p", tmp_path / "s")
    assert Manifest.read(tmp_path / "s").rows == 4
    assert "cannot read 4.png" in fails("pack", tmp_path / "p", "-o", tmp_path / "t", "--strict")


@pytest.mark.parametrize("dtype", ["uint8", ">f4", "float16", "int32", "bool"])
def test_arrays_of_any_type(dtype, tmp_path):
    x = noise(50, 4, 3).astype(dtype)
    for name, array in {"rows": x.reshape(50, 12), "pictures": x, "columns": np.asfortranarray(x)}.items():
        np.save(tmp_path / f"{name}.npy", array)
        vk.pack(tmp_path / f"{name}.npy", tmp_path / name, rows_per_shard=15)
        assert_as_read(tmp_path / name, vk.read(tmp_path / f"{name}.npy"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_arrays_of_an_npz_file_are_conditions(save, tmp_path):
    more = {"y": np.arange(50) % 3, "name": np.array(["a", "b"] * 25), "pose": noise(50, 2) / 7, "other": noise(3)}
    save(tmp_path / "a.npz", x=np.asfortranarray(noise(50, 3, 4, 4)), **more)
    vk.pack(tmp_path / "a.npz", tmp_path / "s", rows_per_shard=20)
    data = vk.read(tmp_path / "a.npz", conditions=["y", "name", "pose"])
    assert_as_read(tmp_path / "s", data)


def test_the_digits(tmp_path):
    vaekit("pack", "digits", "-o", tmp_path / "s", check=0)
    assert_as_read(tmp_path / "s", vk.read("digits", conditions=["label"]))


@pytest.mark.parametrize("ending", [".txt", ".txt.gz"])
def test_the_lines_of_a_file(ending, tmp_path):
    text = "a b\r\n\n  c \rd\u2028e\nlast"
    open_ = gzip.open if ending.endswith("gz") else open
    with open_(tmp_path / f"t{ending}", "wb") as file:
        file.write(text.encode("utf-16"))
    vk.pack(tmp_path / f"t{ending}", tmp_path / "s", encoding="utf-16", rows_per_shard=3)
    about, table, _ = back(tmp_path / "s")
    data = vk.read(tmp_path / f"t{ending}", encoding="utf-16")
    assert table["x"].to_pylist() == data.x.tolist() == ["a b", "  c ", "d\u2028e", "last"]
    assert (about.kind, about.name, about.rows) == ("text", "t", 4)


def test_a_table_keeps_its_types_and_what_its_cells_mean(tmp_path):
    rows = [f"{i},{i / 7:.3f},{['yes', 'no', ''][i % 3]},{1 + i % 28:02}.02.2024" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["x,real,choice,day", *rows]))
    vk.pack(tmp_path / "t.csv", tmp_path / "s", rows_per_shard=15)
    about, table, _ = back(tmp_path / "s")
    data = vk.read(tmp_path / "t.csv")
    assert table.equals(data.x.table())
    assert (about.kind, about.shape, about.columns) == ("table", None, None)
    assert about.conditions == ["x", "real", "choice", "day"]
    assert table.schema.field("day").metadata == {b"format": b"%d.%m.%Y"}


def test_parquet_is_read_group_by_group_and_a_folder_of_it_is_a_table(tmp_path):
    frame = pd.DataFrame(
        {"n": range(100), "kind": pd.Categorical(list("abcde") * 20), "text": [f"t{i}" for i in range(100)]}
    )
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "t.parquet", row_group_size=17)
    vk.pack(tmp_path / "t.parquet", tmp_path / "s", rows_per_shard=30)
    table = back(tmp_path / "s")[1]
    assert table.to_pandas().equals(frame)
    for month in (1, 2):
        place = tmp_path / "big" / f"month={month}"
        place.mkdir(parents=True)
        pq.write_table(pa.Table.from_pandas(frame), place / "part-0.parquet")
    (tmp_path / "big" / "_SUCCESS").write_text("")
    vk.pack(tmp_path / "big", tmp_path / "b")
    assert back(tmp_path / "b")[1].to_pandas()["month"].tolist() == [1] * 100 + [2] * 100


def test_texts_of_a_table_with_its_other_columns_as_conditions(tmp_path):
    (tmp_path / "t.csv").write_text("stars,text,place\n5,so good,Rome\n1, ,Oslo\n,bad one,\n")
    vk.pack(f"{tmp_path / 't.csv'}:text", tmp_path / "s")
    about, table, _ = back(tmp_path / "s")
    assert table.to_pydict() == {"x": ["so good", "bad one"], "stars": [5, None], "place": ["Rome", None]}
    assert (about.kind, about.conditions) == ("text", ["stars", "place"])
    assert "no column 'txt'; did you mean 'text'" in mistake(vk.pack, tmp_path / "t.csv", tmp_path / "t", column="txt")


def test_sounds(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(9):
        path = tmp_path / "p" / "ab"[i % 2] / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        wavfile.write(path, [8000, 11025][i % 2], (rng.normal(0, 3000, 900 + 100 * i)).astype(np.int16))
    (tmp_path / "p" / "a" / "bad.wav").write_bytes(b"no sound")
    said = vaekit("pack", tmp_path / "p", "-o", tmp_path / "s", "--kind", "audio", "--rate", 8000, check=0).stderr
    data = Audio.read(str(tmp_path / "p"), {"rate": 8000}, conditions=["label"])
    data.name = "p"
    assert_as_read(tmp_path / "s", data)
    assert Manifest.read(tmp_path / "s").extra == {"rate": 8000}
    assert "files that were left out: 1" in said
    vk.pack(tmp_path / "p", tmp_path / "t", kind="audio", rate=8000, seconds=0.05)
    assert Manifest.read(tmp_path / "t").shape == [400]
    again = Audio.read(str(tmp_path / "s"), {}, conditions=["label"])
    np.testing.assert_array_equal(again.x[:], data.x)
    assert "has 8000 samples per second, not 16000" in mistake(Audio.read, str(tmp_path / "s"), {"rate": 16000})
    assert "holds no sounds" in mistake(Audio.read, str(vk.pack("digits", tmp_path / "d")), {})


def test_a_dataset_of_hugging_face_is_streamed(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    rows = {
        "picture": [Image.fromarray(noise(5, 4, 3, seed=i)) for i in range(40)],
        "label": [i % 3 for i in range(40)],
    }
    rows["size"] = [None if i % 7 == 0 else i for i in range(40)]
    kinds = {"picture": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])}
    data = datasets.Dataset.from_dict(rows, features=datasets.Features({**kinds, "size": datasets.Value("int64")}))
    (tmp_path / "set").mkdir()
    for i, some in enumerate((range(25), range(25, 40))):
        data.select(some).to_parquet(tmp_path / "set" / f"train-{i}.parquet")
    vk.pack(f"hf://{tmp_path / 'set'}", tmp_path / "s", rows_per_shard=11)
    assert not list((tmp_path / "cache").rglob("*.arrow"))
    assert_as_read(tmp_path / "s", vk.read(f"hf://{tmp_path / 'set'}", conditions=["label", "size"]))


# -- any rows ----------------------------------------------------------------------------------------------------------


@settings(max_examples=25, suppress_health_check=SLOW)
@given(
    x=st.sampled_from(["uint8", "float32", "int64", "uint16"]).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            st.tuples(st.integers(1, 40), st.integers(1, 5), st.integers(1, 3)),
            elements=hnp.from_dtype(np.dtype(dtype), allow_infinity=False),
        )
    ),
    rows=st.integers(1, 45),
)
def test_whatever_is_packed_comes_back(x, rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    np.savez(folder / "a.npz", x=x, y=np.arange(len(x)))
    vk.pack(folder / "a.npz", folder / "s", rows_per_shard=rows)
    about, table, found = back(folder / "s")
    assert found.tobytes() == x.tobytes()
    assert table["y"].to_pylist() == list(range(len(x)))
    assert len(about.shards) == -(-len(x) // rows)


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(
    lambda text: f"w{text}w"
)  # no numbers, no dates


@settings(max_examples=25, suppress_health_check=SLOW)
@given(
    texts=st.lists(st.one_of(st.none(), words), min_size=1, max_size=60),
    numbers=st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=60, max_size=60),
    group=st.integers(1, 30), rows=st.integers(1, 70),
)  # fmt: skip
def test_whatever_table_is_packed_comes_back(texts, numbers, group, rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    n = len(texts)
    table = pa.table({"a": pa.array(texts, pa.string()), "n": pa.array(numbers[:n], pa.int64()), "l": [[1]] * n})
    pq.write_table(table, folder / "t.parquet", row_group_size=group)
    vk.pack(folder / "t.parquet", folder / "s", rows_per_shard=rows)
    about, found, _ = back(folder / "s")
    assert found.equals(table)
    assert about.conditions == ["a", "n"]


# -- interruptions -----------------------------------------------------------------------------------------------------


def test_a_pack_that_is_killed_goes_on(pictures, tmp_path):
    for i in range(30, 700):
        save_picture(pictures / "a" / f"{i:04}.png", noise(5, 6, 3, seed=i))
    vk.pack(pictures, tmp_path / "whole", rows_per_shard=5)
    wanted = content(tmp_path / "whole")
    folder, kept = tmp_path / "s", {}
    for kills in range(3):
        running = start("pack", pictures, "-o", folder, "--rows-per-shard", "5")
        wait_for(lambda: len(parts(folder)) >= 30 * (kills + 1), running)  # noqa: B023
        kill(running)
        assert not (folder / MANIFEST).exists()
        assert all(os.stat(folder / name).st_mtime_ns == kept[name] for name in kept)
        kept = {
            name: os.stat(folder / name).st_mtime_ns for name in parts(folder)[:-1]
        }  # the last may not be noted yet
    said = process("pack", pictures, "-o", folder, "--rows-per-shard", "5", check=0).stderr
    assert int(re.search(r"parts that were there already, and were kept: (\d+)", said)[1]) >= len(kept) >= 89
    assert all(os.stat(folder / name).st_mtime_ns == kept[name] for name in kept)
    assert content(folder) == wanted


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("part-*"))


def wait_for(condition, running) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        assert running.poll() is None, running.stdout.read()
        time.sleep(0.005)


def test_a_pack_that_is_done_is_not_done_again_and_mends_what_is_gone(tmp_path):
    folder = vk.pack("digits", tmp_path / "s", rows_per_shard=500)
    wanted = content(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert (
        "holds all shards of digits already"
        in vaekit("pack", "digits", "-o", folder, "--rows-per-shard", 500, check=0).stderr
    )
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    (folder / "part-00001.parquet").unlink()
    vk.pack("digits", folder, rows_per_shard=500)
    assert content(folder) == wanted


def test_other_packs_and_other_folders_are_left_alone(tmp_path):
    folder = vk.pack("digits", tmp_path / "s", rows_per_shard=500)
    wanted = content(folder)
    np.save(tmp_path / "a.npy", noise(20, 3))
    assert "holds shards of another source" in mistake(vk.pack, tmp_path / "a.npy", folder)
    assert "with other options" in mistake(vk.pack, "digits", folder, rows_per_shard=400)
    assert content(folder) == wanted
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    assert "is not empty, and holds no shards" in fails("pack", "digits", "-o", tmp_path / "full")
    assert "is a file" in fails("pack", "digits", "-o", tmp_path / "a.npy")
    assert "not a folder of this machine" in mistake(vk.pack, "digits", "s3://bucket/digits")
    assert "holds shards already" in mistake(vk.pack, str(folder), tmp_path / "t")


def test_a_source_that_changes_is_told(pictures, tmp_path):
    for i in range(30, 300):
        save_picture(pictures / "a" / f"{i:03}.png", noise(5, 6, 3, seed=i))
    folder = tmp_path / "s"
    running = start("pack", pictures, "-o", folder, "--rows-per-shard", "2")
    wait_for(lambda: len(parts(folder)) >= 5, running)
    save_picture(pictures / "b" / "05.png", noise(5, 6, seed=99))
    said = running.communicate()[0]
    assert running.returncode == 2
    assert "changed while it was packed" in said
    assert not (folder / MANIFEST).exists()
    assert "before it changed" in fails("pack", pictures, "-o", folder, "--rows-per-shard", 2)


def test_a_full_disk_keeps_what_is_written(tmp_path):
    np.save(tmp_path / "a.npy", noise(2000, 100))
    small = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))}
    args = ("pack", tmp_path / "a.npy", "-o", tmp_path / "s", "--rows-per-shard")
    said = process(*args, 1500, check=2, **small).stderr
    assert "free space, and run the same command again" in said.splitlines()[-1]
    process(*args, 1500, check=0)
    assert_as_read(tmp_path / "s", vk.read(tmp_path / "a.npy"))


def test_damage_is_found(tmp_path):
    folder = vk.pack("digits", tmp_path / "s", rows_per_shard=500)
    assert "is whole" in vaekit("pack", folder, "--check", check=0).stderr
    first, second, third = (folder / f"part-0000{i}.parquet" for i in range(3))
    whole = first.read_bytes()
    first.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    second.unlink()
    third.write_bytes(third.read_bytes()[:-1])
    said = vaekit("pack", folder, "--check", check=2).stderr
    assert f"{first} was changed, or is damaged" in said
    assert f"{second} does not exist" in said
    assert f"{third} has" in said
    assert "parts that are missing or damaged: 3" in said
    manifest = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(manifest.replace("1797", "1796"))
    assert "_manifest.json is damaged, or was changed" in fails("pack", folder, "--check")


# -- mistakes ----------------------------------------------------------------------------------------------------------


def test_mistakes_are_told_in_one_line(pictures, tmp_path):
    to = ("-o", tmp_path / "s")
    np.save(tmp_path / "a.npy", np.array([[1.0, 2], [3, np.inf]]))
    np.savez(tmp_path / "x.npz", images=noise(9, 3, 3), x=np.arange(9))
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes(b"one\ntw\xe9\n")
    assert "give the folder to write, with -o" in fails("pack", "digits")
    assert "an infinity at row 1 (the first is 0), column 1" in fails("pack", tmp_path / "a.npy", *to)
    assert "has a column 'x'" in fails("pack", f"{tmp_path / 'x.npz'}:images", *to)
    assert "only pictures can be resized" in fails("pack", tmp_path / "t.csv", *to, "--resize", "8x8")
    assert "is not a table" in fails("pack", "digits", *to, "--column", "text")
    assert "has only blank lines (2)" in fails("pack", tmp_path / "blank.txt", *to)
    assert "line 2 (the first is 1): byte 0xe9 is not UTF-8" in fails("pack", tmp_path / "latin.txt", *to)
    assert "picks rows" in fails("pack", "digits[0:10]", *to)
    assert "--rate is not for this kind of source" in fails("pack", "digits", *to, "--rate", 8000)
    assert "--column is not for --kind audio" in fails("pack", pictures, *to, "--kind", "audio", "--column", "a")
    assert "holds no sound" in fails("pack", pictures, *to, "--kind", "audio")
    assert "series cannot be packed" in fails("pack", tmp_path / "t.csv", *to, "--kind", "series")
    assert "does not exist" in fails("pack", tmp_path / "nothing.npy", *to)
    assert "_manifest.json does not exist" in fails("pack", pictures, "--check")
    assert not (tmp_path / "s").exists()


def test_demonstrations_become_a_folder_of_lerobot(tmp_path):
    arrays = {"actions": noise(30, 2) / 9, "observations": noise(30, 3) / 9}
    np.savez(tmp_path / "d.npz", **arrays, episode_ends=np.array([10, 30]), fps=50)
    vaekit("pack", tmp_path / "d.npz", "-o", tmp_path / "robot", "--kind", "actions", check=0)
    found = vk.read_demonstrations(tmp_path / "robot")
    np.testing.assert_allclose(found.actions, arrays["actions"], rtol=1e-6)
    assert found.episode_ends.tolist() == [10, 30]
    assert "of LeRobot already" in fails("pack", tmp_path / "robot", "-o", tmp_path / "r2", "--kind", "actions")
