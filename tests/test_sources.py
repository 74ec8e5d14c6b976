import csv
import gzip
import io
import os
import pickle
import sys
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from conftest import mistake, noise, save_picture
from vaekit.errors import MissingExtra, UserError, extra_needed, near_matches
from vaekit.sources import Dataset, read

SHARED = Path(__file__).parents[2] / "shared" / "data"
finite = {"allow_nan": False, "allow_infinity": False}
matrices = hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.floats(**finite))
each_example = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def shared(*parts):
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {path.name} here")
    return path


refused = partial(mistake, read)


def write_csv(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def write_idx(path, array, kind=8, size=None):
    header = bytes([0, 0, kind, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes((header + array.tobytes())[:size])
    return path


# ---- errors


def test_near_matches():
    assert near_matches("lable", ["a", "b", "label"]) == "; did you mean 'label'? (known: a, b, label)"
    assert near_matches("zzz", ["a", "b"]) == " (known: a, b)"
    assert near_matches("a", []) == ""
    assert near_matches("x", (f"c{i}" for i in range(30))).endswith("c19 and 10 more)")


def test_errors_are_one_line_and_of_the_right_kinds():
    assert str(UserError("two\nlines")) == "two lines"
    error = extra_needed("hf", "datasets")
    assert isinstance(error, (MissingExtra, UserError))
    assert isinstance(error, ImportError)
    assert "pip install 'vaekit[hf]'" in str(error)


# ---- the source, its rows, the Dataset


def test_digits():
    data = read("digits", conditions=["label"])
    assert (data.x.shape, data.x.dtype, data.x.max()) == ((1797, 8, 8), np.uint8, 16)
    assert (data.kind, data.name, data.columns, data.notes) == ("images", "digits", None, [])
    assert data.conditions["label"][:5].tolist() == [0, 1, 2, 3, 4]
    assert read("digits").conditions == {}


def test_picking_rows():
    everything = read("digits", conditions=["label"])
    one = read("digits[12]", conditions="label")
    assert one.x.shape == (1, 8, 8)
    assert one.name == "digits"
    assert one.conditions["label"].tolist() == [2]
    every = np.arange(1797)
    for text, rows in {
        "[10:20]": every[10:20],
        "[:3]": every[:3],
        "[1790:]": every[1790:],
        "[::500]": every[::500],
        "[-1]": [1796],
        "[-3:]": [1794, 1795, 1796],
        "[7, 0:2, 1]": [0, 1, 7],
        "[!1:1797]": [0],
        "[!0,2,4:]": [1, 3],
    }.items():
        assert np.array_equal(read("digits" + text).x, everything.x[rows]), text


@pytest.mark.parametrize(
    "rows", ["[1797]", "[0:1798]", "[-1798]", "[20:10]", "[5:5]", "[]", "[::0]", "[1-2]", "[0,1797]", "[0,]", "[!:]"]
)
def test_rows_out_of_range(rows):
    assert "1797 rows" in refused("digits" + rows)


def test_indexing_a_dataset():
    data = read("digits", conditions=["label"])
    assert isinstance(data[3], Dataset)
    assert len(data[3]) == 1
    assert len(data[2:5]) == 3
    assert data[np.array([5, 1])].conditions["label"].tolist() == [5, 1]
    assert len(list(data[:4])) == 4
    with pytest.raises(IndexError):
        data[1797]


def test_a_file_with_brackets_in_its_name_wins(tmp_path):
    np.save(tmp_path / "a[1].npy", np.zeros((3, 2)))
    np.save(tmp_path / "a.npy", np.ones((3, 2)))
    os.rename(tmp_path / "a[1].npy", tmp_path / "a.npy[1]")
    assert "is not a kind of file" in refused(tmp_path / "a.npy[1]")
    (tmp_path / "b[1]").mkdir()
    save_picture(tmp_path / "b[1]" / "p.png", noise(4, 4))
    assert len(read(tmp_path / "b[1]")) == 1
    assert len(read(f"{tmp_path}/b[1][0]")) == 1


def test_a_folder_named_digits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_picture(tmp_path / "digits" / "p.png", noise(4, 4))
    assert len(read("./digits")) == 1
    assert len(read(Path("digits"))) == 1
    assert "./digits" in read("digits").notes[0]


def test_unknown_condition():
    line = refused("digits", conditions=["lable"])
    assert "'lable'" in line
    assert "did you mean 'label'" in line


def test_optional_conditions(tmp_path):
    def unlabelled(source, *, lacks="label", also=()):
        data = read(source, conditions=[lacks, *also], optional_conditions=True)
        assert list(data.conditions) == list(also)
        assert data.notes == [f"{source} has no {lacks!r}, so it counts as unknown"]
        assert lacks in refused(source, conditions=[lacks])
        return data

    assert unlabelled("digits", lacks="style", also=["label"]).conditions["label"][2] == 2
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)), size=np.arange(3))
    unlabelled(tmp_path / "a.npz", also=["size"])
    assert unlabelled(write_csv(tmp_path / "a.csv", "a,b\n1,2\n"), also=["b"]).columns == ["a"]
    unlabelled(write_idx(tmp_path / "t-images-idx3-ubyte", noise(5, 4, 4)))
    unlabelled(write_idx(tmp_path / "t-ubyte", noise(5, 4, 4)))
    picture = save_picture(tmp_path / "loose" / "1.png", noise(4, 4))
    unlabelled(picture)
    unlabelled(picture.parent)


def test_optional_conditions_that_are_there_must_be_right(tmp_path):
    data = read("digits[:3]", conditions=["label"], optional_conditions=True)
    assert (data.conditions["label"].tolist(), data.notes) == ([0, 1, 2], [])
    save_picture(tmp_path / "a" / "1.png", noise(4, 4))
    save_picture(tmp_path / "loose.png", noise(4, 4))
    assert "loose.png" in refused(tmp_path, conditions=["label"], optional_conditions=True)
    images = write_idx(tmp_path / "t-images-idx3-ubyte", noise(5, 4, 4))
    write_idx(tmp_path / "t-labels-idx1-ubyte", np.arange(4, dtype=np.uint8))
    assert "5 images" in refused(images, conditions=["label"], optional_conditions=True)


def test_files_that_are_not_there(tmp_path):
    np.save(tmp_path / "train.npy", np.zeros((3, 2)))
    assert "did you mean 'train.npy'" in refused(tmp_path / "trian.npy")
    assert "nor does the folder" in refused(tmp_path / "no" / "a.npy")
    assert "did you mean 'digits'" in refused("digit")
    assert "empty" in refused("")


def test_unsupported_suffix(tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(3))
    line = refused(tmp_path / "model.pkl")
    assert ".parquet" in line
    assert ".npz" in line


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_no_permission(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 2)))
    (tmp_path / "a.npy").chmod(0)
    assert "no permission" in refused(tmp_path / "a.npy")


def test_no_permission_is_told(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.zeros((3, 2)))

    def refuse(self, *args):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    assert "no permission to read" in refused(tmp_path / "a.npy")


# ---- arrays


@each_example
@given(x=matrices)
def test_numbers_survive_npy_and_npz(tmp_path, x):
    np.save(tmp_path / "a.npy", x)
    np.savez(tmp_path / "a.npz", x=x, row=np.arange(len(x)))
    assert np.array_equal(read(tmp_path / "a.npy").x, x)
    data = read(tmp_path / "a.npz", conditions=["row"])
    assert np.array_equal(data.x, x)
    assert np.array_equal(data.conditions["row"], np.arange(len(x)))


@pytest.mark.parametrize("shape", [(5, 8, 7), (5, 8, 7, 1), (5, 8, 7, 3), (5, 8, 7, 4), (5, 3, 7, 3)])
def test_arrays_of_pictures(tmp_path, shape):
    np.save(tmp_path / "ünï.npy", noise(*shape))
    data = read(tmp_path / "ünï.npy")
    assert (data.kind, data.name, data.x.shape, data.x.dtype) == ("images", "ünï", shape, np.uint8)


@pytest.mark.parametrize("shape", [(5, 3, 8, 7), (5, 8, 7, 3), (5, 6, 8, 7)])
def test_arrays_keep_their_axes_when_they_are_resized(tmp_path, shape):
    x = np.zeros(shape, np.uint8)
    np.save(tmp_path / "a.npy", x)
    assert np.array_equal(read(tmp_path / "a.npy").x, x)
    small = (5, 4, 3, 3) if shape[3] == 3 else (*shape[:2], 4, 3)
    assert read(tmp_path / "a.npy", resize=(3, 4)).x.shape == small


@pytest.mark.parametrize(("dtype", "becomes"), [(">i4", "f8"), ("?", "f8"), ("f4", "f4"), (">f4", "f4"), ("f2", "f4")])
def test_rows_are_floats_of_the_machine(tmp_path, dtype, becomes):
    np.save(tmp_path / "a.npy", np.eye(3).astype(dtype))
    x = read(tmp_path / "a.npy").x
    assert x.dtype == np.dtype(becomes)
    assert np.array_equal(x, np.eye(3))


@pytest.mark.parametrize(
    ("x", "word"),
    [
        (np.zeros(3), "(N, D)"),
        (np.float64(3), "(N, D)"),
        (np.zeros((2, 5, 5, 5, 5)), "(N, D)"),
        (np.zeros((0, 3)), "no rows"),
        (np.zeros((3, 0)), "rows without values"),
        (np.array([["a", "b"]]), "numbers"),
        (np.zeros((2, 2), complex), "numbers"),
        (np.zeros((2, 2), "datetime64[s]"), "numbers"),
        (np.array([[1, np.nan], [np.inf, 2]]), "row 1 (the first is 0), column 0"),
        (np.full((1, 2, 2), -np.inf), "row 0 (the first is 0), pixel (0, 0)"),
    ],
)
def test_arrays_that_are_no_data(tmp_path, x, word):
    np.save(tmp_path / "a.npy", x)
    assert word in refused(tmp_path / "a.npy")


def test_nan_is_missing_not_wrong(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1, np.nan]]))
    assert np.isnan(read(tmp_path / "a.npy").x[0, 1])


class Boom:
    def __reduce__(self):
        return sys.exit, ("a pickle was opened",)


def test_pickles_are_never_opened(tmp_path):
    trap = np.array([[Boom(), 2]], dtype=object)
    np.save(tmp_path / "a.npy", trap, allow_pickle=True)
    assert "pickled" in refused(tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", X=trap)
    assert "pickled Python objects were left out: X" in refused(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", X=np.zeros((3, 2)), info=trap)
    assert len(read(tmp_path / "c.npz")) == 3
    for name in ("d.npy", "d.npz"):
        (tmp_path / name).write_bytes(pickle.dumps(Boom()))
        assert "not a NumPy" in refused(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.parquet", "a.png", "a-ubyte", "a-ubyte.gz"])
@pytest.mark.parametrize("content", [b"", b"hello, world", b"\x1f\x8b\x08 no gzip", b"PK\x03\x04 no zip"])
def test_foreign_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert name in refused(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("size", [40, 200, -20])
def test_truncated_arrays(tmp_path, name, size):
    (np.save if name == "a.npy" else np.savez_compressed)(tmp_path / name, np.random.default_rng(0).random((30, 4)))
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:size])
    assert "damaged" in refused(tmp_path / name)


def test_damaged_headers(tmp_path):
    header = io.BytesIO()
    claims = {"descr": "<f8", "fortran_order": False, "shape": (10**13, 4)}
    np.lib.format.write_array_header_1_0(header, claims)
    (tmp_path / "a.npy").write_bytes(header.getvalue())
    assert "memory" in refused(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(header.getvalue().replace(b"}", b" "))
    assert "damaged" in refused(tmp_path / "a.npy")


def test_which_array_of_an_npz(tmp_path):
    file = tmp_path / "a.npz"
    np.savez(file, images=noise(4, 5, 5), other=np.zeros((4, 2)), name=np.array(["a", "b", "c", "d"]), size=3)
    data = read(file, conditions=["other", "name"])
    assert data.x.shape == (4, 5, 5)
    assert data.conditions["name"].tolist() == ["a", "b", "c", "d"]
    assert data.conditions["other"].shape == (4, 2)
    assert "(known: other, name)" in refused(file, conditions=["size"])
    assert read(f"{file}:other").kind == "rows"
    assert len(read(f"{file}:other[1:3]")) == 2
    assert "images (4, 5, 5)" in refused(f"{file}:nope")
    np.savez(file, train=np.zeros((4, 2)), test=np.zeros((2, 2)))
    line = refused(file)
    assert "train (4, 2), test (2, 2)" in line
    assert "a.npz:NAME" in line
    np.savez(file, table=np.zeros((4, 2)), y=np.arange(4))
    assert read(file).x.shape == (4, 2)
    with zipfile.ZipFile(tmp_path / "docs.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "docs.npz" in refused(tmp_path / "docs.npz")


def test_a_sparse_matrix_is_told(tmp_path):
    scipy.sparse.save_npz(tmp_path / "a.npz", scipy.sparse.eye(4, format="csr"))
    assert "toarray()" in refused(tmp_path / "a.npz")


def test_an_infinite_condition(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 2)), y=np.array([0, np.inf]))
    assert "row 1 (the first is 0) of the condition 'y'" in refused(tmp_path / "a.npz", conditions=["y"])


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.uint16, np.float32])
def test_resizing_arrays(tmp_path, dtype):
    np.save(tmp_path / "a.npy", (noise(3, 8, 6, 3) > 99).astype(dtype))
    x = read(tmp_path / "a.npy", resize=(3, 4)).x
    assert (x.shape, x.dtype, x.min() >= 0, x.max() <= 1) == ((3, 4, 3, 3), dtype, True, True)
    np.save(tmp_path / "a.npy", np.zeros((3, 2)))
    assert "--resize" in refused(tmp_path / "a.npy", resize=(3, 4))
    assert "at least 1" in refused(tmp_path / "a.npy", resize=(0, 4))


# ---- idx


@pytest.mark.parametrize("kind", [(8, "u1"), (9, "i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")])
def test_idx_types(tmp_path, kind):
    x = np.arange(24).reshape(2, 3, 4).astype(kind[1])
    data = read(write_idx(tmp_path / "a-ubyte", x, kind[0]))
    assert np.array_equal(data.x, x)
    assert data.x.dtype.isnative
    assert data.name == tmp_path.name


def test_idx_labels_and_damage(tmp_path):
    images, labels = tmp_path / "t-images-idx3-ubyte", tmp_path / "t-labels-idx1-ubyte"
    write_idx(images, noise(5, 4, 4))
    assert "labels" in refused(images, conditions=["label"])
    write_idx(labels, np.arange(5, dtype=np.uint8))
    assert read(images, conditions=["label"]).conditions["label"].tolist() == [0, 1, 2, 3, 4]
    assert "give the images file" in refused(labels)
    write_idx(labels, np.arange(4, dtype=np.uint8))
    assert "5 images" in refused(images, conditions=["label"])
    assert "truncated" in refused(write_idx(images, noise(5, 4, 4), size=50))
    assert "truncated" in refused(write_idx(images, noise(5, 4, 4), size=9))
    assert "longer" in refused(write_idx(images, noise(5, 4, 4).astype("i2")))
    assert "not an idx file" in refused(write_idx(images, noise(5, 4, 4), kind=7))
    packed = tmp_path / "t-images-idx3-ubyte.gz"
    packed.write_bytes(gzip.compress(noise(5, 4, 4).tobytes())[:-20])
    assert "truncated" in refused(packed)


def test_a_folder_of_mnists_own_files(tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    write_idx(folder / "t10k-images-idx3-ubyte", noise(2, 4, 4))
    assert "holds no pictures" in refused(folder)
    images = write_idx(folder / "train-images-idx3-ubyte", noise(5, 4, 4))
    assert "has no labels" in refused(folder, conditions=["label"])
    labels = write_idx(folder / "train-labels-idx1-ubyte", np.arange(5, dtype=np.uint8))
    for packed in (False, True):
        if packed:  # as they are published
            for path in (images, labels):
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
        data = read(folder, conditions=["label"])
        assert (data.kind, data.name, data.notes) == ("images", "mnist", [])
        assert np.array_equal(data.x, noise(5, 4, 4))
        assert data.conditions["label"].tolist() == [0, 1, 2, 3, 4]
        assert read(f"{folder}[1:3]", conditions=["label"]).conditions["label"].tolist() == [1, 2]


def test_mnist_as_a_folder():
    shared("fashion_mnist", "train-labels-idx1-ubyte.gz")
    data = read(SHARED / "fashion_mnist", conditions=["label"])
    assert data.describe() == "60000 pictures of 28x28 given label"
    assert np.bincount(data.conditions["label"]).tolist() == [6000] * 10


# ---- pictures


def test_folder_of_classes(tmp_path):
    for i, label in enumerate(["b", "ä", "a"]):
        save_picture(tmp_path / "set" / label / "deep" / f"{i}.PNG", np.full((4, 6), i))
    save_picture(tmp_path / "set" / ".cache" / "9.png", noise(9, 9))
    (tmp_path / "set" / "a" / "notes.txt").write_text("no picture")
    data = read(tmp_path / "set", conditions=["label"])
    assert (data.name, data.kind, data.x.shape, data.x.dtype) == ("set", "images", (3, 4, 6), np.uint8)
    assert data.conditions["label"].tolist() == ["a", "b", "ä"]
    assert data.x[:, 0, 0].tolist() == [2, 0, 1]


def test_loose_pictures_have_no_label(tmp_path):
    save_picture(tmp_path / "a" / "1.png", noise(4, 4))
    save_picture(tmp_path / "loose.png", noise(4, 4))
    assert len(read(tmp_path)) == 2
    assert "loose.png" in refused(tmp_path, conditions=["label"])


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff"])
def test_every_suffix(tmp_path, suffix):
    data = read(save_picture(tmp_path / f"p.{suffix}", np.full((4, 5, 3), (250, 5, 5))))
    assert data.x.shape == (1, 4, 5, 3)
    assert abs(data.x[0, 2, 2].astype(int) - [250, 5, 5]).max() < 12
    assert data.name == "p"


def test_channels_follow_what_the_pictures_hold(tmp_path):
    save_picture(tmp_path / "1.png", np.full((4, 4, 4), (9, 9, 9, 255)))  # grey, whatever its mode says
    Image.fromarray(np.full((4, 4), 7, np.uint8)).convert("P").save(tmp_path / "2.png")
    assert read(tmp_path).x.shape == (2, 4, 4)
    palette = Image.fromarray(np.full((4, 4, 3), (200, 0, 0), np.uint8)).convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "3.gif")
    x = read(tmp_path).x
    assert x.shape == (3, 4, 4, 3)
    assert x[:, 0, 0].tolist() == [[9, 9, 9], [7, 7, 7], [200, 0, 0]]
    palette.save(tmp_path / "4.png", transparency=0)
    x = read(tmp_path).x
    assert x.shape == (4, 4, 4, 4)
    assert x[:3, ..., 3].min() == 255
    assert x[3, ..., 3].max() == 0


def test_sixteen_bit_grey(tmp_path):
    deep = np.array([[0, 70], [40000, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    Image.fromarray(deep).save(tmp_path / "b.tif")
    x = read(tmp_path).x
    assert x.dtype == np.uint16
    assert np.array_equal(x, [deep, deep])
    save_picture(tmp_path / "c.png", noise(2, 2))
    assert "uint16" in refused(tmp_path)


def test_mixed_sizes(tmp_path):
    for i, size in enumerate([(4, 6), (4, 6), (4, 6), (8, 8), (8, 8), (5, 5)]):
        save_picture(tmp_path / f"{i}.png", noise(*size))
    line = refused(tmp_path)
    assert "3 are 6x4, 2 are 8x8, other sizes: 1;" in line
    assert "--resize 6x4" in line
    assert read(tmp_path, resize=(5, 3)).x.shape == (6, 3, 5)


def test_transparent_pixels_do_not_bleed_when_resized(tmp_path):
    pixels = np.zeros((8, 8, 4))
    pixels[:, :3] = (255, 0, 0, 255)
    x = read(save_picture(tmp_path / "a.png", pixels), resize=(4, 4)).x[0]
    assert (x[x[..., 3] > 20][:, 0] > 250).all()


def test_unreadable_pictures(tmp_path):
    for i in range(9):
        save_picture(tmp_path / str(i % 2) / f"{i}.png", noise(20, 20, seed=i))
    cut = tmp_path / "0" / "2.png"
    cut.write_bytes(cut.read_bytes()[:200])
    (tmp_path / "1" / "1.png").write_text("no picture")
    data = read(tmp_path, conditions=["label"])
    assert len(data) == 7
    assert data.conditions["label"].tolist() == ["0"] * 4 + ["1"] * 3
    assert data.notes == [
        "2 of 9 pictures could not be read and were skipped: 0/2.png (truncated), 1/1.png (not a picture)"
    ]
    assert "0/2.png (truncated)" in refused(tmp_path, strict=True)
    assert "truncated" in refused(cut)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"")
    assert refused(tmp_path).count(".png") == 5


def test_a_disguised_program_is_not_run(tmp_path):
    Image.fromarray(noise(4, 4)).save(tmp_path / "a.eps")
    os.rename(tmp_path / "a.eps", tmp_path / "a.png")
    assert "not a picture" in refused(tmp_path / "a.png")


def test_folders_without_pictures(tmp_path):
    assert "holds no pictures" in refused(tmp_path)
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    assert "a.csv" in refused(tmp_path)


# ---- tables


@each_example
@given(x=matrices)
def test_numbers_survive_csv_and_parquet(tmp_path, x):
    names = [f"c {i}" for i in range(x.shape[1])]
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows([names, *x.tolist()])
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    pq.write_table(pa.table(dict(zip(names, x.T, strict=True))), tmp_path / "a.parquet")
    for name in ("a.csv", "a.csv.gz", "a.parquet"):
        data = read(tmp_path / name)
        assert (data.kind, data.name, data.columns, len(data)) == ("table", "a", names, len(x))
        assert np.array_equal(data.x.numbers(), x)


TABLE = "a,b,city,rank,ok\n1,2.5,Bonn,3,true\n,-1e3,,1,False\n4, 7 ,Łódź,,TRUE\n"


@pytest.fixture
def table(tmp_path):
    return write_csv(tmp_path / "täble.csv", TABLE)


def test_csv_types_and_missing_values(table):
    data = read(table, conditions=["city", "rank"])
    assert data.columns == ["a", "b", "ok"]
    assert np.array_equal(data.x.numbers(), [[1, 2.5, 1], [np.nan, -1000, 0], [4, 7, 1]], equal_nan=True)
    assert data.conditions["city"].tolist() == ["Bonn", None, "Łódź"]
    assert np.array_equal(data.conditions["rank"], [3, 1, np.nan], equal_nan=True)
    assert data.notes == []


def test_columns_by_name(table):
    data = read(table, conditions=["city"], columns=["b", "a"])
    assert data.columns == ["b", "a"]
    assert data.x.numbers()[0].tolist() == [2.5, 1]
    assert "rank, ok" in data.notes[0]
    assert "lacks the columns c, d" in refused(table, columns=["a", "c", "d"])


def test_columns_of_arrays_go_by_number(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 2)))
    assert read(tmp_path / "a.npy", columns=["p", "q"]).columns == ["p", "q"]
    assert "2 columns without names" in refused(tmp_path / "a.npy", columns=["p"])
    assert "pictures" in refused("digits", columns=["p"])


def test_text_and_unknown_columns(table):
    assert read(table).columns == ["a", "b", "city", "rank", "ok"]
    with pytest.raises(UserError, match="'city' holds text, such as 'Bonn'"):
        read(table).x.numbers()
    assert "did you mean 'city'" in refused(table, conditions=["cty"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n3,x\n5,6\n", ["'b'", "row 1", "'x'", "mixes"]),
        ("a,b\n" + "1,2\n" * 400_000 + "1,x\n", ["'b'", "row 400000", "'x'"]),
        ("a,b,a\n1,2,3\n", ["2 columns named 'a'"]),
        ("a,b\n", ["no rows"]),
        ("a,b", ["no rows"]),
        ("", ["is empty"]),
        ("\n\n", ["is empty"]),
        ("a,b,c\n1,2,3\n4,5", ["Row #3", "Expected 3 columns, got 2"]),
    ],
)
def test_bad_tables(tmp_path, text, words):
    line = refused(write_csv(tmp_path / "a.csv", text))
    assert [word for word in words if word not in line] == []


def test_csv_in_other_dress(tmp_path):
    data = read(write_csv(tmp_path / "a.csv", "1,2\n3,4\n"))
    assert data.columns == ["column_0", "column_1"]
    assert data.x.numbers().tolist() == [[1, 2], [3, 4]]
    assert "no header" in data.notes[0]
    data = read(write_csv(tmp_path / "a.csv", "39, Private, x\n40, Private, y\n"))  # its words come again
    assert (len(data), data.columns) == (2, ["column_0", "column_1", "column_2"])
    assert len(read(write_csv(tmp_path / "a.csv", "2019, total, x\n40, Private, y\n"))) == 1
    for text in ("a;b\n1;2\n", "a\tb\r\n1\t2\r\n", "\ufeff\n a , b\n1, 2\n", '"a","b"\n"1","2"\n\n'):
        data = read(write_csv(tmp_path / "a.csv", text))
        assert (data.columns, data.x.numbers().tolist()) == (["a", "b"], [[1, 2]])
    data = read(write_csv(tmp_path / "a.csv", '"a\nb",t\n1,"x\ny"\n'), conditions=["t"])
    assert (data.columns, data.conditions["t"].tolist()) == (["a\nb"], ["x\ny"])
    assert read(write_csv(tmp_path / "a.csv", ",a\n0,5\n")).columns == ["column_0", "a"]
    assert "UTF-8" in refused(write_csv(tmp_path / "a.csv", "a,naïve\n1,é\n", "latin-1"))
    cut = tmp_path / "b.csv.gz"
    cut.write_bytes(gzip.compress(TABLE.encode())[:-15])
    assert "truncated" in refused(cut)


def test_parquet_types(tmp_path):
    table = pa.table(
        {
            "i": pa.array([1, None, 3], pa.int64()),
            "b": [True, False, True],
            "h": pa.array([1, 2, 3], pa.float16()),
            "d": pa.array([1, 2, 3]).cast(pa.decimal128(30, 2)),
            "none": pa.nulls(3),
            "word": pa.array(["x", "y", "x"]).dictionary_encode(),
            "day": pa.array([1, 2, None], pa.date32()),
            "list": [[1], [2], [3]],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    data = read(tmp_path / "a.parquet", conditions=["word", "day", "b"], columns=["i", "h", "d", "none"])
    nan = np.nan
    assert np.array_equal(data.x.numbers(), [[1, 1, 1, nan], [nan, 2, 2, nan], [3, 3, 3, nan]], equal_nan=True)
    assert data.conditions["word"].tolist() == ["x", "y", "x"]
    assert data.conditions["day"].tolist() == ["1970-01-02", "1970-01-03", None]
    assert data.conditions["b"].tolist() == [True, False, True]
    assert "list" in refused(tmp_path / "a.parquet", conditions=["list"])
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    assert "damaged" in refused(tmp_path / "a.parquet")


# ---- Hugging Face


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    (tmp_path / "set").mkdir()
    return datasets


def test_hugging_face_rows(hub, tmp_path):
    features = hub.Features(a=hub.Value("float32"), b=hub.Value("int64"), kind=hub.ClassLabel(names=["cat", "dog"]))
    hub.Dataset.from_dict({"a": [1, 2, 3], "b": [4, 5, 6], "kind": [1, 0, -1]}, features).to_parquet(
        tmp_path / "set" / "train.parquet"
    )
    data = read(f"hf://{tmp_path}/set[:3]", conditions=["kind"])
    assert (data.name, data.columns, data.x.numbers().tolist()) == ("set", ["a", "b"], [[1, 4], [2, 5], [3, 6]])
    assert data.conditions["kind"].tolist() == ["dog", "cat", None]
    assert len(read(f"hf://{tmp_path}/set:train", columns=["b"])) == 3
    assert "validation" in refused(f"hf://{tmp_path}/set:validation")
    assert "could not be loaded" in refused(f"hf://{tmp_path}/nowhere")


def test_hugging_face_texts(hub, tmp_path):
    features = hub.Features(sentence=hub.Value("string"), kind=hub.ClassLabel(names=["bad", "good"]))
    rows = {"sentence": ["a dull film", "", "a fine one"], "kind": [0, 1, 1]}
    hub.Dataset.from_dict(rows, features).to_parquet(tmp_path / "set" / "train.parquet")
    data = read(f"hf://{tmp_path}/set", column="sentence", conditions=["kind"])
    assert (data.kind, data.x.tolist()) == ("text", ["a dull film", "a fine one"])
    assert data.conditions["kind"].tolist() == ["bad", "good"]
    assert "did you mean 'sentence'" in refused(f"hf://{tmp_path}/set", column="sentences")


def test_hugging_face_pictures(hub, tmp_path):
    def encoded(seed):
        file = io.BytesIO()
        Image.fromarray(noise(6, 5, 3, seed=seed)).save(file, "png")
        return {"bytes": file.getvalue()[: 60 if seed == 1 else None], "path": None}

    features = hub.Features(image=hub.Image(), kind=hub.ClassLabel(names=["cat", "dog"]), size=hub.Value("int64"))
    rows = {"image": [encoded(i) for i in range(3)], "kind": [1, 0, 1], "size": [7, 8, 9]}
    hub.Dataset.from_dict(rows, features).to_parquet(tmp_path / "set" / "train.parquet")
    data = read(f"hf://{tmp_path}/set", conditions=["kind", "size"])
    assert (data.kind, data.name, data.columns) == ("images", "set", None)
    assert np.array_equal(data.x, [noise(6, 5, 3, seed=0), noise(6, 5, 3, seed=2)])
    assert data.conditions["kind"].tolist() == ["dog", "dog"]
    assert data.conditions["size"].tolist() == [7, 9]
    assert "row 1" in data.notes[0]


def test_hugging_face_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"vaekit\[hf\]"):
        read("hf://mnist")


# ---- real data


def test_fashion_mnist():
    data = read(shared("fashion_mnist", "train-images-idx3-ubyte.gz"), conditions=["label"])
    assert (data.x.shape, data.x.dtype, data.name) == ((60000, 28, 28), np.uint8, "fashion_mnist")
    assert np.bincount(data.conditions["label"]).tolist() == [6000] * 10


def test_lpc_sprites():
    data = read(shared("lpc_sprites", "lpc_sprites.npz"), conditions=["factors"])
    assert data.x.shape == (15552, 64, 64, 3)
    assert data.conditions["factors"].shape == (15552, 6)


def test_california_housing():
    path = shared("tabular", "california_housing.csv.gz")
    data = read(path, conditions=["ocean_proximity"])
    assert data.x.shape == (20640, 9)
    assert np.isnan(data.x.numbers()[:, data.columns.index("total_bedrooms")]).sum() == 207
    assert len(np.unique(data.conditions["ocean_proximity"])) == 5


def test_noto_emoji_as_a_folder(tmp_path):
    emoji = read(shared("noto_emoji", "noto_emoji_64.npz"), conditions=["skin_tone"])
    for i in range(0, len(emoji), 60):
        save_picture(tmp_path / str(emoji.conditions["skin_tone"][i]) / f"{i:04}.png", emoji.x[i])
    data = read(tmp_path, conditions=["label"])
    rows = [int(path.stem) for path in sorted(tmp_path.rglob("*.png"))]
    assert np.array_equal(data.x, emoji.x[rows])
    assert data.conditions["label"].tolist() == emoji.conditions["skin_tone"][rows].astype(str).tolist()
    assert read(tmp_path, resize=(16, 16)).x.shape == (len(rows), 16, 16, 4)
