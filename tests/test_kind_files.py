"""Files that kinds of data write: other programs read the same values from them."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image

from conftest import mistake, noise
from vaekit.frame import Frame
from vaekit.kinds.pictures import Images
from vaekit.kinds.rows import Rows
from vaekit.kinds.series import Series
from vaekit.kinds.table import Table
from vaekit.kinds.text import Text
from vaekit.show.write import STDOUT

ROWS = np.random.default_rng(0).normal(size=(6, 3))
PICTURES = noise(4, 7, 7)
BANDS = noise(4, 5, 8, 8)
LONG, SHORT = ROWS, ROWS[:4] + 1
TEXTS = np.array(["a man rides", 'says "no", then', "ends\nhere"], dtype=object)
TABLE = pa.table({"n": [1, None, 3, 4], "word": ["a", "b", None, "a"]})


def columns(path):
    read = pyarrow.csv.read_csv if path.suffix == ".csv" else pyarrow.parquet.read_table
    return read(path).to_pydict()


def values(path):
    """The numbers in a file, as rows."""
    if path.suffix in (".npy", ".npz"):
        found = np.load(path)
        found = found if path.suffix == ".npy" else found["x"]
        return found.reshape(len(found), -1)
    return np.array(list(columns(path).values())).T


def test_every_kind_names_forms_and_writes_them(tmp_path):
    """What a new kind owes: it is asked through `Kind`, whatever it is."""
    arrays = {"images": (Images.infer(PICTURES), PICTURES), "rows": (Rows.infer(ROWS), ROWS)}
    others = {
        "series": (Series.infer([LONG], window=2), LONG),
        "text": (Text.infer(TEXTS, tokenizer="char"), TEXTS),
        "table": (Table.infer(Frame.of(TABLE)), TABLE),
    }
    for name, (kind, rows) in (arrays | others).items():
        assert kind.why_not("samples") == ""
        for ending in kind.endings:
            kind.write(path := tmp_path / f"{name}{ending}", rows)
            assert path.stat().st_size
            if name in arrays and ending not in (".png", ".gif"):
                np.testing.assert_array_equal(values(path), rows.reshape(len(rows), -1))


def test_names_say_which_row_is_which(tmp_path):
    names = {"file": np.array([f"{i}.png" for i in range(6)])}
    for ending in (".csv", ".parquet"):
        path = tmp_path / f"rows{ending}"
        Rows.infer(ROWS, columns=["a", "b", "c"]).write(path, ROWS, names)
        assert columns(path) == {"file": names["file"].tolist(), **dict(zip("abc", ROWS.T.tolist(), strict=True))}


def tile(path, row, column, side=7):
    """One picture of a grid, at its own size."""
    scale = round(56 / side)
    image, step = np.asarray(Image.open(path)), side * scale + 2
    return image[row * step :, column * step :][: side * scale : scale, : side * scale : scale]


def test_pictures_are_a_grid_or_frames(tmp_path):
    kind = Images.infer(PICTURES)
    kind.write(tmp_path / "a.png", PICTURES, columns=2)
    np.testing.assert_array_equal(tile(tmp_path / "a.png", 1, 0), PICTURES[2])
    kind.write(tmp_path / "a.gif", PICTURES)
    assert Image.open(tmp_path / "a.gif").n_frames >= len(PICTURES)
    with pytest.warns(UserWarning, match=r"5 channels, and b\.png shows the first 3"):
        Images.infer(BANDS).write(tmp_path / "b.png", BANDS)


def test_pictures_stand_beside_their_reconstructions(tmp_path):
    kind, rebuilt = Images.infer(PICTURES), 255 - PICTURES
    said = kind.write_reconstructions(tmp_path / "a.png", PICTURES.astype(float), rebuilt)
    assert said == "4 of 4 pictures, each beside its reconstruction,"
    for i, (picture, new) in enumerate(zip(PICTURES, rebuilt, strict=True)):
        np.testing.assert_array_equal(tile(tmp_path / "a.png", i, 0), picture)
        np.testing.assert_array_equal(tile(tmp_path / "a.png", i, 1), new)
    assert kind.write_reconstructions(tmp_path / "a.npy", PICTURES, rebuilt) == "4 reconstructions"
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), rebuilt)


@pytest.mark.parametrize(
    ("rows", "names", "expected"),
    [
        (LONG, {}, {"step": [*range(6)]}),
        (LONG, {"time": np.arange(6) / 2}, {"time": [0, 0.5, 1, 1.5, 2, 2.5]}),
        ([LONG, SHORT], {}, {"series": [0] * 6 + [1] * 4, "step": [*range(6), *range(4)]}),
        (np.stack([LONG[:2], SHORT[:2]]), {}, {"window": [0, 0, 1, 1], "step": [0, 1, 0, 1]}),
    ],
    ids=["one", "timed", "several", "windows"],
)
def test_series_are_a_row_a_step(rows, names, expected, tmp_path):
    Series.infer([LONG], columns=["a", "b", "c"], window=2).write(tmp_path / "s.csv", rows, names)
    flat = np.concatenate([rows] if rows is LONG else list(rows))
    assert columns(tmp_path / "s.csv") == {**expected, **dict(zip("abc", flat.T.tolist(), strict=True))}


def test_series_of_one_length_are_one_array(tmp_path):
    kind = Series.infer([LONG], window=2)
    kind.write(tmp_path / "s.npy", [LONG, LONG + 1])
    np.testing.assert_array_equal(np.load(tmp_path / "s.npy"), np.stack([LONG, LONG + 1]))
    assert "different lengths: choose .csv" in mistake(kind.write, tmp_path / "t.npy", [LONG, SHORT])


def test_a_table_may_come_in_pieces(tmp_path):
    kind = Table.infer(Frame.of(TABLE))
    for ending in (".csv", ".parquet"):
        kind.write(tmp_path / f"whole{ending}", TABLE)
        kind.write(tmp_path / f"pieces{ending}", (TABLE.slice(i, 2) for i in (0, 2)))
        whole, pieces = (columns(tmp_path / f"{name}{ending}") for name in ("whole", "pieces"))
        assert whole == pieces
        assert whole["n"] == [1, None, 3, 4]  # whole numbers stay whole where one is missing


def test_texts_are_printed_below_each_other(tmp_path, capsys):
    kind = Text.infer(TEXTS, tokenizer="char")
    kind.write_reconstructions(STDOUT, TEXTS[:1], ["a dog"])
    kind.write_path(STDOUT, ["here", "there"], ["x", "y"])
    assert capsys.readouterr().out.splitlines() == ["a man rides", "-> a dog", "here", "-> x", "-> y", "there"]
    kind.write(tmp_path / "t.txt", TEXTS)
    assert (tmp_path / "t.txt").read_text().splitlines() == ["a man rides", 'says "no", then', "ends here"]
    kind.write_reconstructions(tmp_path / "t.csv", TEXTS, TEXTS[::-1])
    assert columns(tmp_path / "t.csv") == {"text": TEXTS.tolist(), "reconstruction": TEXTS[::-1].tolist()}


def test_an_end_of_a_path_is_a_text_or_names_one():
    kind = Text.infer(TEXTS, tokenizer="char")
    assert kind.typed("captions.txt [12]") == "captions.txt [12]"
    assert kind.typed("see notes.txt") == "see notes.txt"
    for row in ("captions.txt[12]", "a/reviews.csv:text[3]", "x.jsonl.gz[0]"):
        assert kind.typed(row) is None
    assert Rows.infer(ROWS).typed("anything") is None
