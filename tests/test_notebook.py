"""What notebooks show: cards, tables and figures."""

from __future__ import annotations

import copy
import json
import pickle
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import sklearn
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits

import vaekit as vk
from conftest import SCRIPT, TINY, check_page, dataset, mistake
from vaekit.recipes.evaluate import evaluate
from vaekit.show.curves import Curves
from vaekit.show.notebook import Results

DIGITS = load_digits()
X, Y = DIGITS.images[:120].astype(np.uint8), np.array([SCRIPT, "$a_b$", "a & b"])[DIGITS.target[:120] % 3]
NAME = "<b>kind</b>"
ROWS = np.random.default_rng(0).normal(size=(60, 3))
FRAME = pd.DataFrame({"a <i>": ROWS[:, 0], "n": np.arange(60) % 7, "word": ["u", "v"] * 30})
VOID = {"meta", "br", "hr", "img", "path", "use", "line", "rect"}


class Strict(HTMLParser):
    """Fails where a tag is not closed, or is closed and was not opened; keeps the text and the tags."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.words = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: Any) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += "" if self.open and self.open[-1] == "style" else data


@pytest.fixture(scope="module")
def model() -> Any:
    return vk.CVAE(**{**TINY, "epochs": 4}).fit(X, {NAME: Y})


@pytest.fixture(scope="module")
def rows() -> Any:
    return vk.VAE(**TINY).fit(ROWS)


def test_a_fitted_estimator_is_a_card_and_another_one_a_diagram(model: Any, tmp_path: Path) -> None:
    shown = Strict(model._repr_html_())
    for word in ("CVAE", "120 pictures of 8×8 pixels, grey", f"{NAME} (3 classes)", "2 units", "4 epochs"):
        assert word in shown.words
    best = max(row["valid_elbo"] for row in model.history_)
    assert f"{best:,.2f} nats, validation".replace("-", "−") in shown.words
    assert "svg" in shown.tags
    assert "script" not in shown.tags
    assert model._repr_mimebundle_()["text/html"] == model._repr_html_()
    assert "sk-" in vk.VAE()._repr_html_()
    assert "sk-" in vk.VAE()._repr_mimebundle_()["text/html"]
    with sklearn.config_context(display="text"):
        assert "text/html" not in model._repr_mimebundle_()
        assert not hasattr(model, "_repr_html_")
    assert "sk-" in sklearn.pipeline.make_pipeline(model)._repr_html_()
    # what the run directory keeps is shown of a loaded one
    run = model.save(tmp_path / "run")
    verdict = evaluate(run, model, dataset(X, {NAME: Y}), 2)["verdict"]
    assert verdict in Strict(vk.load(run)._repr_html_()).words


def test_notes_and_verdicts_are_escaped(model: Any) -> None:
    one = copy.deepcopy(model)
    one.fitted_.notes, one.fitted_.verdict, one.fitted_.interrupted = [f"note {SCRIPT}"], f"verdict {SCRIPT}", True
    shown = Strict(one._repr_html_())
    assert "script" not in shown.tags
    assert f"note {SCRIPT}" in shown.words
    assert f"verdict {SCRIPT}" in shown.words
    assert ", interrupted" in shown.words
    table = Strict(Results(elbo=-1.5, verdict=SCRIPT, **{SCRIPT: [1]})._repr_html_())
    assert "script" not in table.tags
    assert SCRIPT in table.words


def test_results_are_a_dict_and_read_well(model: Any) -> None:
    found = model.evaluate(X, {NAME: Y}, k=2)
    assert isinstance(found, dict)
    assert found == dict(found) == json.loads(json.dumps(found)) == pickle.loads(pickle.dumps(found))
    lines = repr(found).splitlines()
    assert lines[0].split() == ["ELBO", f"{found['elbo']:.2f}".replace("-", "−"), "nats"]
    assert lines[-1] == found["verdict"]
    assert f"{found['active_units']} of 2" in repr(found)
    shown = Strict(found._repr_html_())
    assert "IW-NLL (k=2)" in shown.words
    assert found["verdict"] in shown.words
    assert repr(Results(a=1)) == "{'a': 1}"
    assert repr(Results(iw_nll=1.0)) == "IW-NLL  1.00 nats"
    assert isinstance(vk.SemiSupervisedVAE(**TINY).fit(X, Y).evaluate(X, Y, k=2), Results)


def test_cards_in_a_browser(model: Any, page: Any, tmp_path: Path) -> None:
    detector = vk.AnomalyDetector(vk.VAE(**TINY)).fit(ROWS)
    assert "held out" in Strict(detector._repr_html_()).words
    shown = [model._repr_html_(), model.evaluate(X, {NAME: Y}, k=2)._repr_html_(), detector._repr_html_()]
    for colours in ("background: #fff; color: #111", "background: #111; color: #ddd"):
        head = '<!DOCTYPE html><meta charset="utf-8"><link rel="icon" href="data:,"><meta name="viewport" content="width=device-width">'
        (tmp_path / "page.html").write_text(f'{head}<body style="{colours}">{"".join(shown)}', encoding="utf-8")
        check_page(page, tmp_path / "page.html", set())
        ink = page.evaluate("getComputedStyle(document.querySelector('.vaekit td')).color")
        assert ink == page.evaluate("getComputedStyle(document.body).color")


def lines(axes: Any) -> list[np.ndarray]:
    return [np.asarray(line.get_ydata()) for line in axes.lines]


def test_curves_have_the_history(model: Any, tmp_path: Path) -> None:
    figure = vk.plot.curves(model)
    assert isinstance(figure, Figure)
    elbo, _, kl = figure.axes
    np.testing.assert_allclose(lines(kl)[0], [row["kl"] for row in model.history_])
    np.testing.assert_allclose(lines(elbo)[1], [row["valid_elbo"] for row in model.history_])
    figure.savefig(tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size[0] > 500
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert plt.get_fignums() == []  # pyplot would show it again, and keep it
    assert Curves.of([], "best") is None


def test_the_map_of_codes_has_a_point_a_row_in_the_colour_of_its_class(model: Any, rows: Any) -> None:
    (axes,) = vk.plot.latent(model, X, {NAME: Y}).axes
    (points,) = axes.collections
    codes = model.transform(X, {NAME: Y})
    where = np.asarray(points.get_offsets())
    assert len(where) == len(X)
    assert np.corrcoef(where[:, 0], codes[:, 0])[0, 1] > 0.9
    assert np.corrcoef(where[:, 1], codes[:, 1])[0, 1] > 0.9
    colours = [to_hex(c) for c in points.get_facecolors()]
    assert all(len({c for c, y in zip(colours, Y, strict=True) if y == name}) == 1 for name in set(Y))
    assert {text.get_text() for text in axes.get_legend().get_texts()} == set(map(cut, set(Y)))
    assert len(vk.plot.latent(rows, ROWS, ROWS[:, 0]).axes) == 2  # the second says what the colours are
    figure, own = plt.subplots()
    assert vk.plot.latent(rows, ROWS, ax=own) is figure
    plt.close(figure)
    assert "there are 60 codes, but 'y' has 5 values" in mistake(vk.plot.latent, rows, ROWS, np.arange(5))


def cut(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"


def test_pictures_are_drawn_pixel_by_pixel(model: Any) -> None:
    figure = vk.plot.samples(model, 6, {NAME: Y[:6]}, random_state=3)
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    first = model.sample(6, {NAME: Y[:6]}, random_state=3)[0]
    scale = 56 // 8
    np.testing.assert_allclose(drawn[: 8 * scale : scale, : 8 * scale : scale, 0], first * (255 / X.max()), atol=2)
    figure = vk.plot.reconstructions(model, X, {NAME: Y}, n=10)
    drawn = np.asarray(figure.axes[0].images[0].get_array())[..., 0]
    np.testing.assert_allclose(drawn[: 8 * scale : scale, : 8 * scale : scale], X[0] * (255 / X.max()), atol=2)
    back = model.reconstruct(X[:10], {NAME: Y[:10]})
    below = 8 * scale + 2
    np.testing.assert_allclose(drawn[below : below + 8 * scale : scale, : 8 * scale : scale], back[0] * (255 / X.max()), atol=2)  # fmt: skip
    assert (drawn[-8:, -8:] == 255).all()  # 10 pictures in lines of 8 leave places over


def test_columns_and_series_have_a_panel_each(rows: Any) -> None:
    figure = vk.plot.reconstructions(rows, ROWS)
    assert [axes.get_title() for axes in figure.axes] == ["x0", "x1", "x2"]
    back = rows.reconstruct(ROWS)
    np.testing.assert_allclose(lines(figure.axes[1])[1], back[:, 1])
    assert len(vk.plot.samples(rows, 50, X=ROWS).axes) == 3
    table = vk.VAE(**TINY).fit(FRAME)
    for figure in (vk.plot.samples(table, 20, X=FRAME), vk.plot.reconstructions(table, FRAME)):
        assert [axes.get_title() for axes in figure.axes] == ["a <i>", "n"]
    series = np.sin(np.arange(120.0) / 4)[:, None] * [1, 2]
    windows = vk.SeriesVAE(**TINY, window=16).fit(series)
    figure = vk.plot.reconstructions(windows, series)
    np.testing.assert_allclose(lines(figure.axes[1])[0], series[:, 1])
    assert len(vk.plot.samples(windows, 3).axes[0].lines) == 3


def test_scores_fill_what_is_odd() -> None:
    scores, p = np.array([-9.0, -1.0, 0.0, 1.0, np.nan]), np.array([0.01, 0.3, 0.5, 0.9, np.nan])
    (axes,) = vk.plot.scores(scores, p).axes
    *_, odd = axes.patches
    assert odd.get_data().values.sum() == pytest.approx(1 / 4)
    assert axes.get_legend().get_texts()[0].get_text() == "p ≤ 0.05: 1 rows"
    assert "4 scores and 1 p-values" in mistake(vk.plot.scores, scores[:4], [0.1])


def test_what_cannot_be_drawn_is_said_in_a_line() -> None:
    texts = ["a red bird", "the blue fish", "a dog ran", "the cat sat"] * 5
    model = vk.VAE(**TINY).fit(texts)
    assert "print model.sample(4)" in mistake(vk.plot.samples, model, 4)
    assert "print model.reconstruct(X)" in mistake(vk.plot.reconstructions, model, texts)
    words = vk.VAE(**TINY).fit(FRAME[["word"]])
    assert "no column of this table holds numbers" in mistake(vk.plot.samples, words, 4)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        vk.plot.curves(vk.VAE())
