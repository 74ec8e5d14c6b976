"""The report, as a file and in a real browser."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image
from scipy.io import wavfile
from sklearn.datasets import load_digits

import vaekit
from conftest import SCRIPT, check_page, dataset
from vaekit.deploy.report import write_report
from vaekit.kinds import kinds
from vaekit.kinds.base import Kind
from vaekit.kinds.rows import Rows
from vaekit.show.drawing import grid, picture, save_gif

TINY: dict[str, Any] = {"latent_dim": 3, "size": "small"}
SECTIONS = {
    "training", "reconstructions", "samples", "latent-map", "interpolations", "traversals", "units", "next", "settings",
}  # fmt: skip


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a CVAE of digits whose classes have hostile names."""
    data = load_digits()
    x, y = data.images[:256].astype(np.uint8), np.array([SCRIPT, "$a_b$", "a & b"])[data.target[:256] % 3]
    model = vaekit.CVAE(**TINY, epochs=6).fit(x, y)
    return write_report(tmp_path_factory.mktemp("<b>run"), model, dataset(x, {"y": y}), model.evaluate(x, y, k=2))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a CVAE of 15 columns with gaps, given a label and two numbers that are not always known."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 15))
    x[rng.random(x.shape) < 0.2] = np.nan
    y = {
        "kind": np.array(["left", "right", None], dtype=object)[rng.integers(0, 3, 120)],
        "size": np.where(rng.random(120) < 0.1, np.nan, rng.normal(size=120)),
        "place": rng.normal(size=(120, 2)),
    }
    columns = [f"a rather long name of column {i} <b>" for i in range(15)]
    model = vaekit.CVAE(**TINY, epochs=2).fit_rows(x, y, columns=columns)
    return write_report(tmp_path_factory.mktemp("rows"), model, dataset(x, y), model.evaluate(x, y, k=2))


@pytest.mark.parametrize(("name", "missing"), [("digits", set()), ("rows", {"interpolations"})])
def test_in_a_browser(name: str, missing: set[str], page: Any, request: pytest.FixtureRequest) -> None:
    check_page(page, request.getfixturevalue(name), SECTIONS - missing)
    if name == "digits":
        assert SCRIPT in page.inner_text("#samples")
        assert SCRIPT in page.inner_text("#latent-map")


def test_names_are_escaped_and_the_page_stands_alone(digits: Path, rows: Path) -> None:
    for path in (digits, rows):
        text = path.read_text(encoding="utf-8")
        assert SCRIPT not in text
        assert "<b>run" not in text
        assert "column 1 <b>" not in text
        assert not re.search(r"(src|href)=\"(?!data:|#)", text)
        assert not re.search(r"url\((?!#)", text)
        assert path.stat().st_size < 3e6
        assert not list(path.parent.glob(".*"))  # nothing half written stays behind


@pytest.mark.parametrize("latent_dim", [1, 2, 9])
def test_five_rows_of_one_column(latent_dim: int, tmp_path: Path) -> None:
    x = np.arange(40.0)[:, None]
    model = vaekit.VAE(latent_dim, size="small", epochs=1).fit(x)
    x[1] = np.nan
    text = write_report(tmp_path, model, dataset(x[:5]), model.evaluate(x[:5], k=2)).read_text(encoding="utf-8")
    assert f"vaekit sample {tmp_path.name} -n 64 -o samples.csv" in text


@pytest.mark.parametrize("channels", [4, 2])
def test_pictures_without_condition_validation_or_history(channels: int, tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((30, 20, 90, channels), dtype=np.float32)
    x[0, :5] = np.nan
    model = vaekit.VAE(2, size="small", epochs=1, validation=0).fit(x)
    results = model.evaluate(x[:5], k=2)
    known = {"colours": np.arange(5) / 7}  # what the model does not know can still colour its map
    text = write_report(tmp_path, model, dataset(x[:5], known), results).read_text(encoding="utf-8")
    assert "coloured by colours" in text
    model.fitted_.history = []
    assert 'id="training"' not in write_report(tmp_path, model, dataset(x[:5]), results).read_text(encoding="utf-8")


def test_rows_to_show_are_those_that_were_held_out_and_some_that_were_not() -> None:
    x = np.arange(40.0)[:, None]
    model = vaekit.VAE(1, size="small", epochs=1, validation=0.25).fit(x)
    held_out, learned = model.held_out(dataset(x)).x, model.learned_from(dataset(x), 100).x
    assert len(held_out) == 10
    assert np.array_equal(np.sort(np.concatenate([held_out, learned]), axis=0), x)
    assert len(model.learned_from(dataset(x), 7)) == 7
    assert len(model.held_out(dataset(x), 7)) == 7


class Lines(Rows):
    """Rows of numbers, as a kind of data that says nothing about its report."""

    noun = "lines"
    report = Kind.report


class Sounds(Lines):
    """The same, which people hear."""

    noun = "sounds"

    def preview(self, rows: np.ndarray, label: str) -> Markup:
        players = []
        for row in rows:
            file = io.BytesIO()
            wavfile.write(file, 8000, row.astype(np.float32))
            data = base64.b64encode(file.getvalue()).decode()
            player = Markup('<audio controls aria-label="{}" src="data:audio/wav;base64,{}"></audio>')
            players.append(player.format(label, data))
        return Markup("").join(players)


@pytest.mark.parametrize(("kind", "shown"), [(Lines, "[0. 0. 0.]"), (Sounds, None)])
def test_a_kind_without_a_report_gets_the_plain_one(
    kind: type[Rows], shown: str | None, tmp_path: Path, page: Any, monkeypatch: Any
) -> None:
    monkeypatch.setitem(kinds(), "rows", kind)
    x = np.random.default_rng(0).normal(size=(60, 3))
    x[0] = 0
    y = np.array([SCRIPT, "b"])[np.arange(60) % 2]
    model = vaekit.CVAE(**TINY, epochs=1).fit_rows(x, {"y": y})
    held_out = dataset(x[:5], {"y": y[:5]})
    check_page(page, write_report(tmp_path, model, held_out, model.evaluate(x, y, k=2)), SECTIONS)
    assert f"From one {kind.noun[:-1]} to another" in page.inner_text("#interpolations")
    if shown:
        assert shown in page.inner_text("#reconstructions")
    else:
        page.wait_for_function("[...document.querySelectorAll('audio')].every(a => a.readyState > 0)")
        assert page.evaluate("document.querySelectorAll('#reconstructions div > audio').length") == 10


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int32"])
@pytest.mark.parametrize(("channels", "mode"), [((), "L"), ((1,), "L"), ((3,), "RGB"), ((4,), "RGBA")])
def test_grid(dtype: str, channels: tuple[int, ...], mode: str) -> None:
    images = np.zeros((5, 8, 6, *channels), dtype)
    images[1:] = 3
    image = grid(images, columns=2, scale=4, low=0, high=3, gap=1)
    assert image.size == (2 * 24 + 1, 3 * 32 + 2)
    assert image.mode == mode
    one = np.asarray(image.convert("RGBA").convert("L"))
    assert (one[33:65, :24] == 255).all()
    if mode != "RGBA":  # a transparent black shows what is behind it
        assert (one[:32, :24] == 0).all()
    assert picture(image, 'a "b"').startswith('<img class="pixels" src="data:image/png;base64,')


def test_grid_chooses_its_own_form() -> None:
    assert grid(np.zeros((64, 8, 8)), low=0, high=1).width in range(450, 700)
    assert grid(np.zeros((1, 28, 28), np.uint8)).size == (56, 56)
    assert grid(np.full((2, 300, 200), np.nan)).size == (402, 300)
    assert grid(np.zeros((3, 4, 4)), background=None).mode == "LA"
    with pytest.raises(ValueError, match=r"\(3, 4, 4, 2\)"):
        grid(np.zeros((3, 4, 4, 2)))


def test_gif_runs_forth_and_back(tmp_path: Path) -> None:
    frames = [grid(np.full((1, 8, 8), i / 3), low=0, high=1) for i in range(4)]
    save_gif(frames, tmp_path / "no-ending")
    with Image.open(tmp_path / "no-ending") as image:
        assert (image.format, image.n_frames) == ("GIF", 6)
        assert image.info["duration"] == 120
