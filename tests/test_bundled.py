"""The sets of data that come with the package: real files in the formats of others, each with its licence, each trains."""

import csv
import datetime
import gzip
import importlib.util
import wave
import zipfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import DATA, fails, real, vaekit
from vaekit import bundled
from vaekit.bundled import BUNDLED, write
from vaekit.bundled.plucked import Instrument, pluck
from vaekit.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
FAST = ["--size", "small", "--latent-dim", "2", "--epochs", "1", "--no-report"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with every set in it."""
    folder = tmp_path_factory.mktemp("bundled")
    for name in BUNDLED:
        vaekit("data", name, cwd=folder, check=0)
    return folder


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_clothes_are_pictures_in_a_folder_for_each_class(folder):
    pictures = sorted((folder / "clothes").rglob("*.png"))
    assert Counter(path.parent.name for path in pictures) == dict.fromkeys(bundled.CLOTHES, 100)
    for path in pictures:
        with Image.open(path) as picture:
            assert (picture.size, picture.mode) == ((28, 28), "L")


def test_clothes_are_those_of_fashion_mnist(folder):
    content = gzip.decompress(real("fashion_mnist/train-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress(real("fashion_mnist/train-labels-idx1-ubyte.gz").read_bytes())[8:]
    known = {content[16 + 784 * i : 800 + 784 * i]: label for i, label in enumerate(labels)}
    for path in (folder / "clothes").rglob("*.png"):
        assert known[Image.open(path).tobytes()] == bundled.CLOTHES.index(path.parent.name)


def test_people_are_rows_of_adult_with_its_gaps(folder):
    lines = gzip.decompress(real("tabular/adult.data.gz").read_bytes()).decode().splitlines()
    known = [[cell.strip() for cell in line.split(",")] for line in lines if line]
    originals = Counter(",".join(row[:2] + row[3:8] + row[9:]) for row in known)
    rows = table(folder / "people.csv")
    found = Counter(",".join(cell or "?" for cell in row.values()) for row in rows)
    assert found <= originals
    assert len(rows) == 2500
    gaps = Counter(name for row in rows for name, cell in row.items() if not cell)
    assert set(gaps) == {"work", "occupation", "native_country"}
    assert set(rows[0]) & {"fnlwgt", "race"} == set()


def test_the_taxi_series_is_whole_and_has_its_five_odd_days(folder):
    rows = table(folder / "taxi.csv")
    times = [datetime.datetime.fromisoformat(row["time"]) for row in rows]
    assert {b - a for a, b in pairwise(times)} == {datetime.timedelta(minutes=30)}
    passengers = np.array([float(row["passengers"]) for row in rows])
    days = Counter(time.date() for time in times)
    readme = (bundled.HERE / "README.md").read_text()
    for day in ("2014-11-02", "2014-11-27", "2014-12-25", "2015-01-01", "2015-01-27"):
        assert days[datetime.date.fromisoformat(day)] == 48
        assert day in readme
    storm = passengers[[time.date() == datetime.date(2015, 1, 27) for time in times]]
    weeks = passengers.reshape(-1, 48).sum(1)
    assert storm.sum() == weeks.min()  # when the city closed its streets


def test_texts_are_lines_that_differ(folder):
    captions = (folder / "captions.txt").read_text("utf-8").splitlines()
    assert len(set(captions)) == len(captions) == 2000
    assert all(5 <= len(text.split()) <= 25 for text in captions)
    messages = table(folder / "messages.csv")
    labels = ["delivery", "fault", "payment", "praise", "question", "return"]
    assert Counter(row["label"] for row in messages) == dict.fromkeys(labels, 300)
    assert len({row["text"] for row in messages}) == 1800


def test_notes_are_sounds_of_four_instruments(folder):
    found = Counter()
    for path in (folder / "notes").rglob("*.wav"):
        found[path.parent.name] += 1
        with wave.open(str(path)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (8000, 1, 4000)
            sound = np.frombuffer(file.readframes(4000), "<i2") / 32768
        assert 0.85 < abs(sound).max() < 0.95
        assert abs(sound[-10:]).max() < 0.05
    assert found == dict.fromkeys(("banjo", "bass", "guitar", "harp"), 50)


@pytest.mark.parametrize("period", [12, 40, 140])
def test_a_string_sounds_at_the_pitch_of_its_length(period):
    """The mean of two neighbours comes half a sample late: the lowest tone has the period of the noise and half a sample."""
    sound = pluck(np.random.default_rng(0).normal(size=period), Instrument(0, 0, keeps=0.999, dark=0.9))
    spectrum = abs(np.fft.rfft(sound, 1 << 17))
    assert 8000 * spectrum.argmax() / (1 << 17) == pytest.approx(8000 / (period + 0.5), rel=0.01)


def test_the_list_names_size_source_licence_and_the_next_command(folder):
    said = vaekit("data", check=0).stdout
    readme = (bundled.HERE / "README.md").read_text("utf-8")
    for name, each in BUNDLED.items():
        path = folder / each.target
        size = sum(file.stat().st_size for file in ([path] if each.ending else path.rglob("*.*"))) / 1e6
        assert f"{size:.1f} MB" == each.size
        (line,) = [line for line in said.splitlines() if line.startswith(name)]
        for what in (each.target, f"{each.rows:,}", each.size, each.source, each.licence):
            assert what in line
        assert f"next: {each.next(each.target.rstrip('/'))}" in said
        (about,) = [line for line in readme.splitlines() if line.startswith(f"| {name} |")]
        assert each.licence.split(",")[0] in about


def test_a_set_says_what_to_run_next(tmp_path):
    said = vaekit("data", "people", "-o", tmp_path / "crowd.csv", check=0).stderr
    assert f"next: vaekit fit {tmp_path / 'crowd.csv'}" in said
    assert [path.name for path in tmp_path.iterdir()] == ["crowd.csv"]


def test_nothing_is_replaced_but_the_same_set_is_welcome(tmp_path):
    for name in ("people", "clothes"):
        path = write(name, tmp_path / BUNDLED[name].target)
        before = path.stat().st_mtime_ns
        assert write(name, path).stat().st_mtime_ns == before
    (tmp_path / "people.csv").write_text("mine")
    (tmp_path / "clothes" / "dress" / "mine.png").write_text("mine")
    for name in ("people", "clothes"):
        assert "exists already" in fails("data", name, cwd=tmp_path)
    assert (tmp_path / "people.csv").read_text() == "mine"
    assert (tmp_path / "clothes" / "dress" / "mine.png").read_text() == "mine"


def test_a_folder_is_whole_or_absent(tmp_path, monkeypatch):
    real_write, count = Path.write_bytes, iter(range(300))

    def full(path, content):
        if next(count) == 200:
            raise OSError(28, "No space left on device")
        return real_write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        write("clothes", tmp_path / "clothes")
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_one_line(tmp_path):
    assert "did you mean 'notes'? (known: clothes, people, captions, taxi, messages, notes)" in fails("data", "note")
    assert "ends in .csv" in fails("data", "people", "-o", tmp_path / "people.parquet")
    assert "does not exist" in fails("data", "clothes", "-o", tmp_path / "nowhere" / "clothes")
    (tmp_path / "clothes").write_text("mine")
    assert "exists already" in fails("data", "clothes", cwd=tmp_path)


@pytest.mark.parametrize("name", BUNDLED)
def test_every_set_trains_by_the_command_that_it_names(name, folder, tmp_path):
    rows = {"captions": "[:200]", "messages": "[:200]", "people": "[:300]", "taxi": "[:2000]"}
    source, *options = BUNDLED[name].next(folder / BUNDLED[name].target).split()[2:]
    vaekit("fit", source + rows.get(name, "[::10]"), *options, *FAST, "--out", tmp_path / "run", check=0)
    assert (tmp_path / "run" / "evaluation.json").exists()


def test_the_script_makes_the_same_files_again(tmp_path, monkeypatch):
    for needed in ("fashion_mnist", "tabular", "timeseries/nab.zip"):
        real(needed)
    spec = importlib.util.spec_from_file_location("make_bundled", ROOT / "examples" / "bundled.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    with zipfile.ZipFile(DATA / "timeseries" / "nab.zip") as nab:
        (tmp_path / "nyc_taxi.csv").write_bytes(nab.read("data/realKnownCause/nyc_taxi.csv"))
    texts = {
        "people": make.people(DATA / "tabular" / "adult.data.gz"),
        "taxi": make.taxi(tmp_path / "nyc_taxi.csv"),
        "captions": make.captions(),
        "messages": make.messages(),
    }
    for name, content in texts.items():
        assert bundled.contents(name) == {"": content}
