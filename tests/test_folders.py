"""Folders of pictures: what is in them, what is left out, and what is known of each picture."""

import os
import struct
import tempfile
import time
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

import vaekit as vk
from conftest import mistake, noise, save_picture, vaekit
from vaekit.recipes.recipe import Recipe
from vaekit.sources import read
from vaekit.sources.pictures import Pile

refused = partial(mistake, read)


def png16(path, pixels):
    """Colours of 16 bits, which Pillow cannot write."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def test_what_is_not_read_is_said(tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.HEIC").write_bytes(bytes(9))
    assert "4 .heic files were not read: 0.HEIC, 1.HEIC, 2.HEIC, ...; save them as .png" in refused(tmp_path)
    save_picture(tmp_path / "a.png", noise(4, 4))
    for name in ("notes.txt", "README", "Thumbs.db", "desktop.ini", ".DS_Store", "._a.png"):
        (tmp_path / name).write_text("no picture")
    said = read(tmp_path).notes
    assert [note.split(";")[0] for note in said] == [
        "4 .heic files were not read: 0.HEIC, 1.HEIC, 2.HEIC, ...",
        "1 nameless file was not read: README",
        "1 .txt file was not read: notes.txt",
    ]


@pytest.mark.parametrize("suffix", ["ppm", "pnm", "jfif", "webp", "avif"])
def test_more_suffixes(tmp_path, suffix):
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("Pillow was built without AVIF")
    form = {"jfif": "JPEG", "pnm": "PPM"}.get(suffix)
    x = read(save_picture(tmp_path / f"p.{suffix}", np.full((8, 8, 3), (250, 5, 5)), format=form)).x
    assert abs(x[0, 4, 4].astype(int) - [250, 5, 5]).max() < 12


def test_grey_and_bits_of_netpbm(tmp_path):
    save_picture(tmp_path / "a.pgm", noise(4, 4))
    Image.fromarray(noise(4, 4) > 99).save(tmp_path / "b.pbm")
    x = read(tmp_path).x
    assert np.array_equal(x, [noise(4, 4), 255 * (noise(4, 4) > 99)])


def test_pages_and_frames_are_pictures(tmp_path):
    deep = [Image.fromarray(noise(4, 4, seed=i).astype(np.uint16) * 200) for i in range(5)]
    deep[0].save(tmp_path / "stack.tif", save_all=True, append_images=deep[1:])
    data = read(tmp_path)
    assert np.array_equal(data.x, deep)
    assert data.names["file"].tolist() == [f"stack.tif[{i}]" for i in range(5)]
    assert data.notes == ["1 of 1 files hold several pages or frames, and each was read as a picture: stack.tif has 5"]
    assert np.array_equal(read(f"{tmp_path}/stack.tif[3]").x[0], deep[3])  # so that a name is a source
    frames = [Image.fromarray(noise(4, 4, seed=i)) for i in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert np.array_equal(read(tmp_path / "a.gif").x, frames)
    frames[0].save(tmp_path / "thumb.tif", save_all=True, append_images=[Image.fromarray(noise(2, 2))])
    data = read(tmp_path / "thumb.tif")
    assert len(data) == 1
    assert (
        data.notes[0]
        == "pages that were left out, because their size is not that of the first page of the file: 1 (thumb.tif)"
    )


def test_colours_of_16_bits(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65536, (6, 5, 3))
    png16(tmp_path / "a.png", pixels)
    data = read(tmp_path)
    assert np.array_equal(data.x[0], pixels >> 8)
    assert data.notes == ["only 8 of 16 bits per colour were read in 1 of 1 pictures: a.png; give a .npy to keep all"]
    (tmp_path / "b.ppm").write_bytes(b"P6 5 6 65535\n" + pixels.astype(">u2").tobytes())
    assert "of 16 bits" in read(tmp_path / "b.ppm").notes[0]


def test_channels_that_were_added_are_said(tmp_path):
    save_picture(tmp_path / "grey.png", noise(4, 4))
    save_picture(tmp_path / "colour.png", noise(4, 4, 3))
    assert read(tmp_path).notes == ["grey pictures that became colour pictures, like the others: 1 of 2 (grey.png)"]
    save_picture(tmp_path / "glass.png", noise(4, 4, 4))
    assert "pictures with transparent pixels: 1 of 3 (glass.png)" in read(tmp_path).notes[1]
    cmyk = tmp_path / "cmyk" / "a.jpg"
    cmyk.parent.mkdir()
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(cmyk)
    assert read(cmyk).x[0, 0, 0].tolist()[0] > 200


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["L", "RGB", "RGBA"]), st.integers(1, 3)), min_size=1, max_size=9), st.booleans()
)
def test_pictures_with_any_channels_and_pages_become_one_array(files, smaller):
    random = np.random.default_rng(0)
    wanted = []
    with tempfile.TemporaryDirectory() as folder:
        for i, (mode, count) in enumerate(files):
            shape = (5, 6, len(mode)) if len(mode) > 1 else (5, 6)
            pages = random.integers(0, 250, (count, *shape), dtype=np.uint8)
            first, *others = [Image.fromarray(page) for page in pages]
            first.save(Path(folder) / f"{i}.tiff", save_all=True, append_images=others)
            wanted += [np.asarray(page.convert("RGBA")) for page in (first, *others)]
        x = read(folder, resize=(3, 2) if smaller else None).x
    channels = max(len(mode) for mode, _ in files)
    assert x.shape == (len(wanted), *((2, 3) if smaller else (5, 6)), *([channels] if channels > 1 else []))
    if not smaller:
        np.testing.assert_array_equal(x, np.stack(wanted)[..., :channels] if channels > 1 else np.stack(wanted)[..., 0])


def test_pictures_are_turned_as_the_camera_was_held(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6  # the top is on the right
    Image.fromarray(noise(4, 6)).save(tmp_path / "a.png", exif=turned)
    assert np.array_equal(read(tmp_path / "a.png").x[0], np.rot90(noise(4, 6), -1))


def test_links_are_followed_and_loops_are_not(tmp_path):
    for i in range(3):
        save_picture(tmp_path / "real" / f"{i}.png", noise(4, 4))
    classes = tmp_path / "classes"
    save_picture(classes / "dogs" / "0.png", noise(4, 4))
    os.symlink(tmp_path / "real", classes / "cats")
    os.symlink(classes, classes / "dogs" / "back")
    os.symlink(classes / "cats", tmp_path / "real" / "again")
    data = read(classes, conditions=["label"])
    assert data.conditions["label"].tolist() == ["cats"] * 3 + ["dogs"]


def test_the_label_is_the_first_folder(tmp_path):
    for part in ("train", "val"):
        for kind in ("cat", "dog"):
            save_picture(tmp_path / part / kind / "0.png", noise(4, 4))
    data = read(tmp_path, conditions=["label"])
    assert data.conditions["label"].tolist() == ["train", "train", "val", "val"]
    assert (
        "pictures deeper than one folder: 4 of 4, such as train/cat/0.png; the first folder, 'train', is its label"
        in data.notes[0]
    )
    assert read(tmp_path / "train", conditions=["label"]).notes == []


# ---- names


def test_each_picture_keeps_its_name(tmp_path):
    for i in range(12):
        save_picture(tmp_path / "ab"[i % 2] / f"{i}.png", noise(4, 4, seed=i))
    (tmp_path / "a" / "2.png").write_text("damaged")
    names = sorted(f"{'ab'[i % 2]}/{i}.png" for i in range(12) if i != 2)
    data = read(tmp_path)
    assert data.names["file"].tolist() == names
    assert data.names["label"].tolist() == [name[0] for name in names]
    for row, name in enumerate(names):
        assert np.array_equal(data.x[row], noise(4, 4, seed=int(name[2:-4])))
    assert data[3:5].names["file"].tolist() == names[3:5]
    assert read(f"{tmp_path}[4]").names["file"].tolist() == names[4:5]
    assert read("digits[:3]").names == {}


def test_names_are_written_beside_what_is_made_of_pictures(tmp_path):
    for i in range(24):
        save_picture(tmp_path / "set" / "ab"[i % 2] / f"{i}.png", noise(4, 4, seed=i))
    (tmp_path / "set" / "a" / "0.png").write_text("damaged")
    names = read(tmp_path / "set").names

    run, labelled, folder = tmp_path / "run", tmp_path / "labelled", tmp_path / "set"
    quick = ["--size", "small", "--epochs", 1, "--latent-dim", 2, "--no-report"]
    vaekit("fit", folder, *quick, "--out", run, check=0)
    vaekit("fit", folder, *quick, "--label-column", "label", "--out", labelled, check=0)
    for verb, path in (("encode", run), ("reconstruct", run), ("score", run), ("impute", run), ("predict", labelled)):
        options = ["--score", "loglik", "--k", 2] if verb == "score" else []
        vaekit(verb, path, folder, *options, "-o", tmp_path / "out.csv", check=0)
        table = pyarrow.csv.read_csv(tmp_path / "out.csv")
        assert table["file"].to_pylist() == names["file"].tolist()
        if verb != "predict":  # whose labels are what it predicts
            assert table["label"].to_pylist() == names["label"].tolist()


# ---- what a table says of them


@pytest.fixture
def birds(tmp_path):
    for i in range(6):
        save_picture(tmp_path / "birds" / "ab"[i // 3] / f"{i}.png", noise(4, 4, seed=i))
    return tmp_path / "birds"


def test_a_table_beside_the_pictures(birds):
    rows = ["file_name,kind,age", "b/4.png,owl,3", "a/0.png,kite,1", "./a/1.png,,2", "b\\5.png,owl,5", "no.png,owl,9"]
    (birds / "metadata.csv").write_text("\n".join(rows))
    assert read(birds).notes == []
    data = read(birds, conditions=["kind", "age", "label"])
    assert data.conditions["kind"].tolist() == ["kite", None, None, None, "owl", "owl"]
    np.testing.assert_array_equal(data.conditions["age"], [1, 2, np.nan, np.nan, 3, 5])
    assert data.conditions["label"].tolist() == ["a"] * 3 + ["b"] * 3
    assert data.notes == [
        "pictures that metadata.csv does not name: 2 of 6 (a/2.png, b/3.png); their conditions are unknown",
        "rows of metadata.csv that name no picture here: 1 of 5 (no.png)",
    ]
    assert "did you mean 'kind'" in refused(birds, conditions=["kid"])
    assert read(birds, conditions=["label"]).notes == []
    (birds / "metadata.csv").write_text("file_name,kind\n")
    assert "names no picture" in refused(birds, conditions=["kind"])


def test_a_table_that_is_named(birds, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("id;kind\n" + "".join(f"bird {i};{'xy'[i % 2]}\n" for i in range(6)))
    assert "names no picture" in refused(birds, conditions=["kind"], metadata=table)
    table.write_text("image;kind\n" + "".join(f"{i}.png;{'xy'[i % 2]}\n" for i in reversed(range(6))))
    for above in ("", "# by hand\n# 2020\n"):
        table.write_text(above + table.read_text())
        assert read(birds, conditions=["kind"], metadata=table).conditions["kind"].tolist() == list("xyxyxy")
    save_picture(birds / "b" / "0.png", noise(4, 4))  # a name that two have tells nothing
    assert read(birds, conditions=["kind"], metadata=table).conditions["kind"].tolist()[:2] == [None, "y"]
    assert "is not a file" in refused(birds, metadata=tmp_path / "none.csv")
    assert "--metadata" in refused("digits", metadata=table)


def test_names_of_pictures_that_look_like_numbers(tmp_path):
    for i in range(3):
        save_picture(tmp_path / f"00{i}.png", noise(4, 4))
    (tmp_path / "metadata.csv").write_text("id,kind\n000,x\n001,y\n002,z\n")
    assert read(tmp_path, conditions=["kind"]).conditions["kind"].tolist() == ["x", "y", "z"]


def test_a_run_remembers_the_table(birds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = Path("labels.csv")
    table.write_text("image,kind\n" + "".join(f"{i}.png,{'xy'[i % 2]}\n" for i in range(6)))
    recipe = Recipe(str(birds), ["kind"], metadata=str(table), settings={"epochs": 1, "size": "small"})
    folder, _ = recipe.train(tmp_path / "run", say=lambda line: None)
    estimator = vk.load(folder)
    monkeypatch.chdir(birds)
    assert estimator.read(str(birds)).conditions["kind"].tolist() == list("xyxyxy")
    save_picture(tmp_path / "others" / "9.png", noise(4, 4))
    assert estimator.read(str(tmp_path / "others")).conditions == {}


def test_many_small_pictures_are_read_quickly(tmp_path):
    first = save_picture(tmp_path / "0.png", noise(4, 4))
    for i in range(1, 3000):
        os.link(first, tmp_path / f"{i}.png")
    start = time.process_time()
    assert len(read(tmp_path)) == 3000
    assert time.process_time() - start < 6


def test_pictures_grow_beyond_their_room_past_one_of_another_size():
    pile = Pile(1)
    grey, colour = noise(2, 2), noise(2, 2, 3, seed=1)
    for picture in (grey, noise(3, 3), colour):
        pile.add(picture)
    assert pile.sizes == [(2, 2), (3, 3), (2, 2)]
    assert (pile.array[2] == colour).all()
    assert (pile.array[0] == grey[..., None]).all()
