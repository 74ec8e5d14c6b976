"""The explorer's page in a real browser, with a pointer that moves, over small models whose answers are known."""

import csv
import http.server
import io
import json
import re
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load, save

from explorer_models import PAGE, SCRIPT, Digits, Lines, Table, Texts, as_onnx, filled, html, p_values

EXPLORER = Path(__file__).resolve().parents[1] / "explorer"
PICTURE = '[aria-label="The decoded picture"]'
IDLE = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


class Explorer:
    """A page of the explorer, and what happened in it that should not."""

    def __init__(self, browser, path, **options):
        self.page = browser.new_page(viewport={"width": 1280, "height": 900}, **options)
        self.requests, self.troubles = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("console", lambda m: self.troubles.append(m.text) if m.type == "error" else None)
        self.page.goto(path.as_uri() if isinstance(path, Path) else path)
        self.page.wait_for_selector("[data-map]")
        self.page.evaluate(IDLE)

    @property
    def frame(self):
        """Left, top, width and height of the map inside its border."""
        return self.page.evaluate(
            """() => { const m = document.querySelector("[data-map]"), r = m.getBoundingClientRect();
            return [r.x + m.clientLeft, r.y + m.clientTop, m.clientWidth, m.clientHeight] }"""
        )

    def on_screen(self, extent, places):
        """Where places of the map are on the screen, as long as all of it is seen."""
        left, top, width, height = self.frame
        u0, u1, v0, v1 = map(float, extent)
        scale = min(width / (u1 - u0), height / (v1 - v0)) * 0.96
        u, v = np.asarray(places, float).T
        return np.stack(
            [left + width / 2 + (u - (u0 + u1) / 2) * scale, top + height / 2 - (v - (v0 + v1) / 2) * scale], 1
        )

    def on_map(self, extent, x, y):
        """The place of the map under a point of the screen."""
        left, top, width, height = self.frame
        u0, u1, v0, v1 = map(float, extent)
        scale = min(width / (u1 - u0), height / (v1 - v0)) * 0.96
        return (u0 + u1) / 2 + (x - left - width / 2) / scale, (v0 + v1) / 2 - (y - top - height / 2) / scale

    def picture(self, selector=PICTURE):
        """Values of grey of a drawn picture, from 0 to 1."""
        found = self.page.evaluate(
            """s => { const c = document.querySelector(s), d = c.getContext("2d").getImageData(0, 0, c.width, c.height);
            return [c.height, c.width, Array.from(d.data)] }""",
            selector,
        )
        return np.array(found[2]).reshape(found[0], found[1], 4)[..., 0] / 255

    def trust(self, which=0):
        """p-value and score that the page says, once the hand has rested."""
        bar = self.page.locator(".trust").nth(which)
        self.page.wait_for_function("i => document.querySelectorAll('.trust')[i]?.dataset.p", arg=which)
        return float(bar.get_attribute("data-p")), float(bar.get_attribute("data-score"))

    def codes(self, expression):
        return np.array(self.page.evaluate(f"() => Array.from({expression})"), np.float32)

    def pinned(self):
        return self.codes("explorer.state.pinned.z")

    def done(self, messages=0):
        assert self.troubles == []
        assert self.page.locator(".message").count() == messages
        assert self.page.title().startswith(("digits", "flowers"))
        self.page.close()


@pytest.fixture(scope="module")
def browser(page):
    return page.context.browser


@pytest.fixture(scope="module")
def digits_page(tmp_path_factory):
    made = Digits()
    model, tensors = made.page()
    path = tmp_path_factory.mktemp("explorer") / "digits.html"
    path.write_text(html(model, tensors), encoding="utf-8")
    return made, tensors, path


@pytest.fixture(scope="module")
def table_page(tmp_path_factory):
    made = Table()
    model, tensors = made.page()
    path = tmp_path_factory.mktemp("explorer") / "flowers.html"
    path.write_text(html(model, tensors), encoding="utf-8")
    return made, tensors, path


def test_the_picture_under_the_pointer_is_what_the_decoder_makes_of_that_place(browser, digits_page):
    """While the pointer moves, through the pinned row; and the score and p-value once it rests."""
    digits, tensors, path = digits_page
    explorer = Explorer(browser, path)
    base = digits.codes[0]
    np.testing.assert_array_equal(explorer.pinned(), base)  # the first row, to begin with
    left, top, width, height = explorer.frame
    explorer.page.mouse.move(left + width / 2, top + height / 2)
    for x, y in [(width * 0.4, height * 0.3), (width * 0.55, height * 0.62), (width * 0.5 + 3, height * 0.4)]:
        explorer.page.mouse.move(left + x, top + y, steps=5)
        explorer.page.evaluate(IDLE)
        z = base.copy()
        z[:2] = explorer.on_map(tensors["layout.0.extent"], left + x, top + y)
        np.testing.assert_allclose(explorer.picture(), digits.decode(z[None], digits.labels[0])[0], atol=1.5 / 255)
    p, score = explorer.trust()
    expected = digits.place(z[None], digits.labels[0])
    np.testing.assert_allclose(score, expected[0], rtol=1e-3)
    assert p == pytest.approx(p_values(expected, digits.places)[0], abs=1.01 / (len(digits.places) + 1))

    explorer.page.mouse.move(5, 5)  # off the map: the pinned row is shown again, beside itself
    explorer.page.evaluate(IDLE)
    np.testing.assert_allclose(explorer.picture(), digits.decode(base[None], digits.labels[0])[0], atol=1.5 / 255)
    np.testing.assert_allclose(explorer.picture('[aria-label="scan 0, itself"]'), digits.rows[0], atol=1.5 / 255)
    p, score = explorer.trust(1)
    expected = digits.score(digits.rows[:1])
    np.testing.assert_allclose(score, expected[0], rtol=2e-4)
    assert p == pytest.approx(p_values(expected, digits.calibration)[0], abs=1.01 / (len(digits.calibration) + 1))
    explorer.done()


def test_a_click_pins_a_row_or_a_place_and_the_history_and_the_link_bring_it_back(browser, digits_page):
    digits, tensors, path = digits_page
    explorer = Explorer(browser, path)
    extent = tensors["layout.0.extent"]
    points = explorer.on_screen(extent, tensors["layout.0"])
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1) + 1e9 * np.eye(len(points))
    row = int(apart.min(1).argmax())  # the loneliest row, so that no other is meant
    explorer.page.mouse.click(*points[row])
    explorer.page.wait_for_function("row => explorer.state.pinned.row === row", arg=row)
    np.testing.assert_array_equal(explorer.pinned(), digits.codes[row])
    assert explorer.page.locator(".shown h2").inner_text() == f"scan {row}"
    pressed = explorer.page.locator('fieldset.condition button[aria-pressed="true"]')
    classes = [SCRIPT, *map(str, range(1, 10))]
    assert pressed.inner_text() == classes[digits.labels[row]]

    x, y = explorer.on_screen(extent, [(extent[0] + 0.2, extent[2] + 0.2)])[0]  # a corner without rows
    explorer.page.mouse.click(x, y)
    explorer.page.wait_for_function("() => explorer.state.pinned.row === null")
    place = digits.codes[row].copy()
    place[:2] = explorer.on_map(extent, x, y)
    np.testing.assert_allclose(explorer.pinned(), place, atol=1e-4)

    page = explorer.page
    page.click("#set-a")
    page.click("#back")
    np.testing.assert_array_equal(explorer.pinned(), digits.codes[row])
    page.click("#set-b")
    page.get_by_role("button", name="7", exact=True).click()
    page.select_option("#layout", label="PCA")
    page.select_option("#colour", "ink")
    page.select_option("select:has(option[value=round])", "round")
    page.wait_for_function("() => location.hash.includes('way=round') && location.hash.includes('y.label=7')")
    before = explorer.page.url
    again = Explorer(browser, before)
    state = again.page.evaluate("() => [explorer.layout.name, explorer.state.colour, explorer.state.way]")
    assert state == ["PCA", "ink", "round"]
    np.testing.assert_array_equal(again.pinned(), digits.codes[row])
    np.testing.assert_array_equal(again.codes("explorer.state.a"), explorer.codes("explorer.state.a"))
    np.testing.assert_array_equal(again.codes("explorer.state.b"), digits.codes[row])
    again.page.evaluate(IDLE)
    np.testing.assert_allclose(again.picture(), digits.decode(digits.codes[row][None], 7)[0], atol=1.5 / 255)
    explorer.done()
    again.done()


def test_a_lasso_saves_the_rows_inside_it(browser, digits_page):
    digits, tensors, path = digits_page
    explorer = Explorer(browser, path)
    places = tensors["layout.0"]
    corners = np.array([(-0.9, -0.8), (0.6, -1.0), (1.0, 0.7), (-0.5, 0.9)])
    explorer.page.click("#lasso")
    screen = explorer.on_screen(tensors["layout.0.extent"], corners)
    explorer.page.mouse.move(*screen[0])
    explorer.page.mouse.down()
    for x, y in screen[1:]:
        explorer.page.mouse.move(x, y, steps=3)
    explorer.page.mouse.up()
    with explorer.page.expect_download() as download:
        explorer.page.click("#save-rows")
    text = Path(download.value.path()).read_text(encoding="utf-8")
    table = list(csv.DictReader(io.StringIO(text)))
    # Inside a convex ring: on the same side of each of its lines (but for a pixel's width).
    ends = np.roll(corners, -1, 0)
    side = np.stack(
        [
            ((b - a)[0] * (places - a)[:, 1] - (b - a)[1] * (places - a)[:, 0]) / np.linalg.norm(b - a)
            for a, b in zip(corners, ends, strict=True)
        ]
    ).min(0)
    found = {int(row["row"]) for row in table}
    assert set(np.flatnonzero(side > 0.02)) <= found <= set(np.flatnonzero(side > -0.02))
    assert len(found) > 20
    for line in table:
        row = int(line["row"])
        assert line["name"] == f"scan {row}"
        assert line["label"] == [SCRIPT, *map(str, range(1, 10))][digits.labels[row]]
        code = [np.float32(line[f"z{i + 1}"]) for i in range(digits.units)]
        np.testing.assert_allclose(code, digits.codes[row], rtol=1e-6)
    explorer.done()


def test_the_keyboard_moves_the_cross_and_pins(browser, digits_page):
    digits, tensors, path = digits_page
    explorer = Explorer(browser, path)
    page, extent = explorer.page, tensors["layout.0.extent"]
    page.focus("[data-map]")
    start = explorer.on_screen(extent, tensors["layout.0"][:1])[0]
    for key in ["ArrowRight", "ArrowRight", "ArrowDown", "Shift+ArrowLeft"]:
        page.keyboard.press(key)
        page.evaluate(IDLE)
    z = digits.codes[0].copy()
    z[:2] = explorer.on_map(extent, start[0] + 16 - 48, start[1] + 8)
    np.testing.assert_allclose(explorer.codes("explorer.state.shown.z"), z, atol=1e-4)
    np.testing.assert_allclose(explorer.picture(), digits.decode(z[None], digits.labels[0])[0], atol=1.5 / 255)
    page.keyboard.press("n")  # the nearest row
    gaps = np.linalg.norm(tensors["layout.0"] - z[:2], axis=1)
    assert page.evaluate("() => explorer.state.pinned.row") == int(gaps.argmin())
    page.keyboard.press("Shift+ArrowUp")
    page.evaluate(IDLE)
    shown = explorer.codes("explorer.state.shown.z")
    page.keyboard.press("Enter")
    assert (
        np.abs(explorer.pinned() - shown).max() < 1e-4 or page.evaluate("() => explorer.state.pinned.row") is not None
    )
    page.keyboard.press("Control+z")
    assert page.evaluate("() => explorer.state.pinned.row") == int(gaps.argmin())

    # Every control is reached, and what has the focus is seen.
    reached = set()
    page.focus("#layout")
    for _ in range(80):
        reached.add(page.evaluate("() => document.activeElement.id || document.activeElement.textContent.trim()"))
        page.keyboard.press("Tab")
    assert {"layout", "colour", "lasso", "set-a", "sample", "back"} <= reached
    page.wait_for_function(
        "() => /Trust|normal|Rare|usual|Unlike/.test(document.querySelector('[role=status]').textContent)"
    )
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 1280
    explorer.done()


def test_a_place_of_a_bent_map_is_made_of_the_codes_near_it(browser, digits_page):
    digits, tensors, path = digits_page
    explorer = Explorer(browser, path)
    explorer.page.select_option("#layout", label="UMAP")
    explorer.page.evaluate(IDLE)
    places, extent = tensors["layout.2"], tensors["layout.2.extent"]
    left, top, width, height = explorer.frame
    x, y = left + width * 0.45, top + height * 0.55
    explorer.page.mouse.move(x, y)
    explorer.page.evaluate(IDLE)
    far = ((places.astype(float) - explorer.on_map(extent, x, y)) ** 2).sum(1)
    near = np.argsort(far)[:8]
    weights = np.exp(-2 * far[near] / far[near].max())
    z = (weights[:, None] * digits.codes[near]).sum(0) / weights.sum()
    np.testing.assert_allclose(explorer.codes("explorer.state.shown.z"), z, rtol=1e-3, atol=1e-3)
    # Where there is no code near, nothing is to be trusted, however normal the mean of the nearest is.
    grid = np.stack(
        np.meshgrid(np.linspace(left + 9, left + width - 9, 60), np.linspace(top + 9, top + height - 9, 60)), -1
    )
    points = grid.reshape(-1, 2)
    there = np.stack(explorer.on_map(extent, points[:, 0], points[:, 1]), 1)
    distance = np.sqrt(((there[:, None] - places[None, ::3]) ** 2).sum(-1)).min(1)
    assert distance.max() > 0.08 * (extent[3] - extent[2])
    explorer.page.mouse.move(*points[distance.argmax()])
    explorer.page.evaluate(IDLE)
    assert explorer.trust()[0] == pytest.approx(1 / (1 + len(tensors["calibration.place"])))
    explorer.done()


def test_the_ground_is_hatched_by_the_trust_of_places(browser, digits_page):
    """And anew for the pin and its conditions."""
    digits, tensors, path = digits_page
    explorer = Explorer(browser, path)
    page, extent = explorer.page, tensors["layout.0.extent"]
    page.click("#shade")
    page.wait_for_function("() => explorer.layout.ofPin && !explorer.state.shading", timeout=10000)
    height, width = page.evaluate("() => explorer.layout.trust.shape")
    found = explorer.codes("explorer.layout.trust.data").reshape(height, width)
    u = extent[0] + (np.arange(width) + 0.5) / width * (extent[1] - extent[0])
    v = extent[2] + (np.arange(height) + 0.5) / height * (extent[3] - extent[2])
    z = np.repeat(digits.codes[:1], width * height, 0)
    z[:, 0], z[:, 1] = np.tile(u, height), np.repeat(v, width)
    expected = 255 * p_values(digits.place(z, digits.labels[0]), digits.places).reshape(height, width)
    assert np.abs(found - expected).max() <= 255 * 2.01 / (len(digits.places) + 1)
    assert found.std() > 10
    explorer.done()


def test_the_directions_are_those_that_change_the_picture_the_most(browser, digits_page):
    """Of a linear decoder, within its limits, these are known: the longest axes."""
    digits, _, path = digits_page
    explorer = Explorer(browser, path)
    page = explorer.page
    page.wait_for_selector(".cells")
    z = explorer.pinned()
    seen = digits.decode(z[None], digits.labels[0])[0].reshape(-1)
    open_ = (seen > 0.002) & (seen < 0.998)
    gram = digits.into[:, open_] @ digits.into[:, open_].T
    vectors = np.linalg.eigh(gram)[1]
    page.locator(".cells").first.locator("button").last.click()
    moved = explorer.pinned() - z
    assert abs(moved @ vectors[:, -1]) / np.linalg.norm(moved) > 0.98
    assert page.locator(".cells").count() == 5
    effects = [float(s.split()[1]) for s in page.locator(".effect").evaluate_all("x => x.map(e => e.title)")]
    assert effects == sorted(effects, reverse=True)
    explorer.done()


def test_a_way_between_two_places_plays_and_is_saved(browser, digits_page, tmp_path):
    _, _, path = digits_page
    explorer = Explorer(browser, path)
    page = explorer.page
    page.click("#set-a")
    page.click("#sample")
    page.wait_for_function("() => explorer.state.pinned.row === null")
    page.click("#set-b")
    page.wait_for_selector(".strip")
    assert page.locator(".strip button").count() == 9
    page.click("#play")
    page.wait_for_function("() => explorer.state.playing && explorer.state.live")
    a, b = explorer.codes("explorer.state.a"), explorer.codes("explorer.state.b")
    shown = explorer.codes("explorer.state.shown.z")
    t = (shown - a) @ (b - a) / ((b - a) @ (b - a))
    np.testing.assert_allclose(shown, a + t * (b - a), atol=1e-4)
    page.click("#play")
    with page.expect_download() as download:
        page.click("#gif")
    film = Image.open(download.value.path())
    assert (film.format, film.n_frames, film.size) == ("GIF", 46, (256, 256))
    explorer.done()


def test_a_file_is_placed_scored_and_explained_and_one_of_another_kind_is_refused(browser, digits_page, tmp_path):
    digits, _, path = digits_page
    explorer = Explorer(browser, path)
    page = explorer.page
    row = 350
    grey = np.round(digits.rows[row] * 255).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / f"{SCRIPT[1:7]}.png")
    page.set_input_files("input[type=file]", tmp_path / f"{SCRIPT[1:7]}.png")
    page.wait_for_function("() => explorer.state.pinned.given?.name === 'script.png'")
    np.testing.assert_allclose(explorer.pinned(), digits.codes[row], atol=0.05)
    score = explorer.trust(1)[1]
    np.testing.assert_allclose(score, digits.score(digits.rows[row : row + 1])[0], rtol=0.02)
    assert page.locator(".difference canvas").count() == 1
    (tmp_path / "song.mp3").write_bytes(b"not a picture")
    page.set_input_files("input[type=file]", tmp_path / "song.mp3")
    page.wait_for_selector(".message")
    assert "PNG or JPEG file was expected" in page.locator(".message").inner_text()
    explorer.done(messages=1)


def test_texts_stay_texts_and_nothing_is_asked_of_any_server(browser, digits_page):
    _, _, path = digits_page
    explorer = Explorer(browser, path)
    page = explorer.page
    assert page.locator("h1").inner_text() == f"digits {SCRIPT}"
    assert SCRIPT in page.locator(".notes").inner_text()
    assert SCRIPT in page.locator(".legend").inner_text()
    assert page.locator("#app script").count() == 0
    # All that was read is the page itself; what begins with data: or blob: is inside it.
    asked = [url for url in explorer.requests if not url.startswith(("data:", "blob:"))]
    assert asked == [path.as_uri()]
    labels = page.locator("canvas[role=img]").evaluate_all("x => x.map(c => c.getAttribute('aria-label'))")
    assert all(labels)
    explorer.done()


def test_a_phone_in_the_dark_without_webgl(page, browser, digits_page):
    """One column that a finger works on, with the map on a plain canvas."""
    path = digits_page[-1]
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, has_touch=True, color_scheme="dark", device_scale_factor=2
    )
    context.add_init_script(
        "const real = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...more) {"
        "return /webgl/.test(kind) ? null : real.call(this, kind, ...more) }"
    )
    phone = context.new_page()
    troubles = []
    phone.on("pageerror", lambda error: troubles.append(str(error)))
    phone.goto(path.as_uri())
    phone.wait_for_selector("[data-map]")
    assert "no WebGL" in phone.locator("#app").inner_text()
    assert phone.evaluate("() => document.documentElement.scrollWidth") == 360
    assert phone.evaluate("() => document.documentElement.dataset.theme") == "dark"
    phone.wait_for_function(
        "() => { const c = document.querySelectorAll('[data-map] > canvas')[1];"
        "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0) }"
    )
    box = phone.locator("[data-map]").bounding_box()
    phone.touchscreen.tap(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.45)
    phone.wait_for_function("() => explorer.state.history.length === 2")
    phone.click("#theme")
    assert phone.evaluate("() => document.documentElement.dataset.theme") == "light"
    assert troubles == []
    context.close()


def test_a_row_of_a_table_is_shown_with_its_distributions(browser, table_page, tmp_path):
    table, _, path = table_page
    explorer = Explorer(browser, path)
    page = explorer.page
    values = dict(
        zip(
            page.locator("table.row tbody th").all_inner_texts(),
            page.locator("table.row tbody tr").evaluate_all("r => r.map(x => x.querySelectorAll('td')[1].innerText)"),
            strict=True,
        )
    )
    z = explorer.pinned()
    decoded = table.decode(z[None])
    assert values == table.words(decoded["x"][0])
    titles = page.locator("td.spread").evaluate_all("x => x.map(e => e.title)")
    likely = re.match(r"(.+?): (\d+) %", titles[0])
    assert likely is not None
    assert likely[1] == table.classes[0][decoded["bins"][0, 0].argmax()]
    assert int(likely[2]) == pytest.approx(100 * decoded["bins"][0, 0, :3].max(), abs=0.51)

    (tmp_path / "mine.csv").write_text(f'kind,length,width,note\n{SCRIPT},4.5,,"b, c"\n')
    page.set_input_files("input[type=file]", tmp_path / "mine.csv")
    page.wait_for_function("() => explorer.state.pinned.given?.name === 'mine.csv'")
    given = explorer.codes("explorer.state.pinned.given.x")
    np.testing.assert_allclose(given, [1, 0.5, 0, 2, 2], atol=1e-5)
    assert page.locator("table.row tbody td").nth(0).inner_text() == SCRIPT
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    page.set_input_files("input[type=file]", tmp_path / "other.csv")
    page.wait_for_selector(".message")
    assert "none of the model's columns" in page.locator(".message").inner_text()
    explorer.done(messages=1)


def opened(browser, tmp_path, made):
    path = tmp_path / "lines.html"
    path.write_text(html(*made.page()), encoding="utf-8")
    return Explorer(browser, path)


def array(view, event, **more):
    form = {"type": "array", "view": view, "event": list(event), "mean": [1.0], "scale": [2.0], "columns": None}
    return form | {"low": None, "high": None, "step": None, "binarize": None} | more


def basis(*shape):
    return np.random.default_rng(4).normal(size=shape)


def given(explorer, file):
    """What the page makes of a file that is put in."""
    explorer.page.set_input_files("input[type=file]", file)
    explorer.page.wait_for_function("name => explorer.state.pinned.given?.name === name", arg=file.name)
    return explorer.codes("explorer.state.pinned.given.x")


def moves(explorer):
    """What is shown follows the pointer in this form, too, and is said in words."""
    left, top, width, height = explorer.frame
    explorer.page.mouse.move(left + width * 0.4, top + height * 0.5)
    explorer.page.mouse.move(left + width * 0.52, top + height * 0.45, steps=4)
    explorer.page.evaluate(IDLE)
    explorer.page.wait_for_function("() => document.querySelector('[role=status]').textContent.length > 20")
    assert explorer.page.evaluate("() => explorer.state.live !== null")
    return explorer.codes("explorer.state.shown.z"), explorer.codes("explorer.state.shown.x")


def test_series_are_curves(browser, tmp_path):
    made = Lines(array("curves", (2, 30), columns=["heart", "breath"]), (2, 30), basis(4, 2, 30))
    explorer = opened(browser, tmp_path, made)
    z, x = moves(explorer)
    np.testing.assert_allclose(x, made.decode(z[None]).ravel(), rtol=1e-4, atol=1e-4)
    assert explorer.page.locator(".u-wrap canvas").count() == 1
    rows = made.decode(made.codes[3:4])[0] * 2 + 1
    (tmp_path / "day.csv").write_text("heart,breath\n" + "".join(f"{a},{b}\n" for a, b in rows.T))
    np.testing.assert_allclose(given(explorer, tmp_path / "day.csv"), made.decode(made.codes[3:4]).ravel(), atol=1e-4)
    np.testing.assert_allclose(explorer.pinned(), made.codes[3], atol=1e-3)
    assert explorer.troubles == []


def test_numbers_are_a_list(browser, tmp_path):
    made = Lines(array("numbers", (5,), mean=[1.0] * 5, scale=[2.0] * 5), (5,), basis(3, 5))
    explorer = opened(browser, tmp_path, made)
    moves(explorer)
    explorer.page.mouse.move(5, 5)
    explorer.page.evaluate(IDLE)
    shown = explorer.page.locator("table.row tbody tr").evaluate_all("r => r.map(x => +x.cells[2].innerText)")
    np.testing.assert_allclose(shown, made.decode(made.codes[:1])[0] * 2 + 1, rtol=1e-3)
    assert explorer.troubles == []


def test_clips_are_heard_as_they_are_in_python(browser, tmp_path):
    import torch
    from scipy.io import wavfile

    from vaekit.kinds.audio import FLOOR, Audio

    kind = Audio(8000, 4000, 256, mean=-6.0, scale=2.0)
    event = kind.event_shape
    form = {"type": "clips", "event": list(event), "rate": 8000, "samples": 4000, "frame": 256}
    explorer = opened(
        browser, tmp_path, Lines(form | {"mean": -6.0, "scale": 2.0, "floor": FLOOR}, event, basis(3, *event))
    )
    moves(explorer)
    t = np.arange(4000) / 8000
    sound = (0.4 * np.sin(2 * np.pi * (300 + 400 * t) * t)).astype(np.float32)
    wavfile.write(tmp_path / "voice.wav", 8000, sound)
    expected = kind.batch(torch.from_numpy(sound)[None])[0]
    np.testing.assert_allclose(given(explorer, tmp_path / "voice.wav"), expected.ravel(), atol=2e-3)
    with explorer.page.expect_download() as download:
        explorer.page.get_by_role("button", name="Save the clip itself as a WAV file").click()
    rate, heard = wavfile.read(download.value.path())
    assert (rate, len(heard)) == (8000, 4000)
    found, wanted = (kind.spectrum(torch.from_numpy(s)[None]).abs() for s in (heard / np.float32(32767), sound))
    assert (found - wanted).norm() < 0.1 * wanted.norm()
    assert explorer.troubles == []


def test_actions_are_a_fan(browser, tmp_path):
    state = {
        "name": "state",
        "kind": "number",
        "mean": [0.0],
        "scale": [1.0],
        "low": [-2.0],
        "high": [2.0],
        "start": [0.5],
    }
    form = {"type": "chunk", "mean": [0.0] * 3, "scale": [1.0] * 3, "names": ["x", "y", "grip"], "fps": 10}
    made = Lines(form | {"chunk_size": 12, "event": [3, 12]}, (3, 12), basis(4, 3, 12), [state])
    explorer = opened(browser, tmp_path, made)
    moves(explorer)
    labels = explorer.page.locator(".fans canvas").evaluate_all("x => x.map(c => c.getAttribute('aria-label'))")
    assert labels == ["x, 21 ways", "y, 21 ways", "grip, 21 ways"]
    assert explorer.troubles == []


def test_texts_are_read_and_written_as_the_tokenizer_does(browser, tmp_path):
    from vaekit.kinds.text import byte_pairs

    seen = ["the cat's naïve idea — it'll rain 2025 times", "don't panic, the rain in Spain"] * 3
    tokenizer = byte_pairs(seen, vocabulary=300)
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    form = {
        "type": "tokens",
        "level": "bpe",
        "longest": 24,
        "event": [24],
        "vocabulary": len(tokens) + 1,
        "tokens": tokens,
    }
    made = Texts(form | {"merges": merges, "unknown": None})
    explorer = opened(browser, tmp_path, made)
    z, x = moves(explorer)
    written = made.decode(z[None])[0]
    np.testing.assert_array_equal(x, written)
    end = list(written).index(0) if 0 in written else 24
    # A text is written on the page as the tokenizer writes it (white space at its ends is not seen).
    text = tokenizer.decode([i - 1 for i in written[:end]])
    assert "".join(explorer.page.locator("blockquote.shown").inner_text().split()) == "".join(text.split())
    for text in ["the cat  didn't\nrain", "naïve — 2025 ☂ times…"]:
        (tmp_path / "text.txt").write_text(text, encoding="utf-8")
        explorer.page.evaluate("() => explorer.pinRow(1)")
        codes = [i + 1 for i in tokenizer.encode(text).ids][:24]
        np.testing.assert_array_equal(given(explorer, tmp_path / "text.txt"), codes + [0] * (24 - len(codes)))
    assert explorer.page.locator("#app script").count() == 0


# Each operation of the plain engine, with inputs that show what is peculiar to it.
X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
POSITIVE, WHOLE, B = np.abs(X) + 0.1, np.int64, X > 0
ONE_VALUE = [
    "Abs",
    "Ceil",
    "Cos",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Identity",
    "LeakyRelu",
    "Neg",
    "Relu",
    "Round",
    "Sigmoid",
    "Sign",
]
ONE_VALUE += ["Sin", "Softplus", "Tanh"]
TWO_VALUES = [
    "Add",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Min",
    "Mul",
    "Sub",
    "Sum",
]
REDUCTIONS = ["L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]
OPERATIONS = [
    *[(op, {}, [3 * X]) for op in ONE_VALUE],
    *[(op, {}, [POSITIVE]) for op in ("Log", "Reciprocal", "Sqrt")],
    *[(op, {}, [X, other]) for op in TWO_VALUES for other in (X[::-1], X[0, :, :1], np.float32([0.3]))],
    *[(f"Reduce{op}", {"keepdims": 0}, [X, np.array([1, -1], WHOLE)]) for op in REDUCTIONS],
    *[(f"Reduce{op}", {}, [X]) for op in REDUCTIONS],
    ("Add", {}, [np.array([1, 2], WHOLE), np.array([5], WHOLE)]), ("Div", {}, [np.array([7, -7], WHOLE), np.array([2], WHOLE)]),
    ("And", {}, [B, B[:1]]), ("Or", {}, [B, B[:1]]), ("Xor", {}, [B, B[:1]]), ("Not", {}, [B]),
    ("ArgMax", {"axis": -1, "keepdims": 0}, [X]), ("ArgMin", {"axis": 1}, [X]),
    ("Cast", {"to": 7}, [3 * X]), ("Cast", {"to": 9}, [np.float32([0, 0.4, -2])]), ("Cast", {"to": 1}, [B]),
    ("Clip", {}, [X, np.float32(-0.5), np.float32(0.5)]),
    ("Concat", {"axis": -1}, [X, X[..., :2], X]), ("Concat", {"axis": 0}, [X, X]),
    ("ConstantOfShape", {}, [np.array([2, 3], WHOLE)]), ("CumSum", {"exclusive": 1}, [X, np.array(1, WHOLE)]),
    ("CumSum", {"reverse": 1}, [X, np.array(-1, WHOLE)]), ("Expand", {}, [X[:, :1], np.array([2, 3, 1], WHOLE)]),
    ("Flatten", {"axis": 2}, [X]), ("Gather", {"axis": 1}, [X, np.array([[2, -1], [0, 0]], WHOLE)]),
    ("GatherElements", {"axis": 2}, [X, np.array([[[1, 3], [0, 0], [2, -1]]] * 2, WHOLE)]),
    ("Gemm", {"transA": 1, "alpha": 0.5, "beta": 2.0}, [X[0], X[1], X[0, 0]]), ("Gemm", {"transB": 1}, [X[0], X[1], X[0, 0, :3]]),
    ("Tile", {}, [X, np.array([2, 1, 3], WHOLE)]), ("Tile", {}, [X[0, 0], np.array([2], WHOLE)]),
    ("Pad", {}, [X, np.array([1, 0, -1, 0, 2, 1], WHOLE), np.float32(7)]), ("Pad", {}, [X, np.array([2, 1], WHOLE), np.float32(0), np.array([-1], WHOLE)]),
    ("GatherND", {}, [X, np.array([[[0, 2], [1, -1]]], WHOLE)]), ("GatherND", {}, [X, np.array([[1, 0, 3]], WHOLE)]),
    ("Einsum", {"equation": "dc,bc...->bd..."}, [X[0, :2, :3], X]), ("Einsum", {"equation": "kb,kb...->b..."}, [X[0].T, X.transpose(2, 1, 0)]),
    ("Einsum", {"equation": "i,j->ij"}, [X[0, 0], X[0, :, 0]]), ("Einsum", {"equation": "...ij,...jk->...ik"}, [X, X.transpose(0, 2, 1)]),
    ("Add", {}, [X.astype(np.float64), 1e-9 * X.astype(np.float64)]), ("Cast", {"to": 11}, [X]),
    ("IsInf", {}, [np.float32([1, np.inf, -np.inf])]), ("IsNaN", {}, [np.float32([1, np.nan])]),
    ("LayerNormalization", {"axis": -1}, [X, X[0, 0], X[0, 1]]), ("LogSoftmax", {"axis": 1}, [5 * X]), ("Softmax", {}, [5 * X]),
    ("MatMul", {}, [X, X[0].T]), ("MatMul", {}, [X, X.transpose(0, 2, 1)]), ("MatMul", {}, [X[0], X[0, 0]]), ("MatMul", {}, [X[0, 0], X[0].T]),
    ("OneHot", {"axis": 1}, [np.array([[0, 2], [-1, 1]], WHOLE), np.array(3, WHOLE), np.float32([-1, 2])]),
    ("Pow", {}, [POSITIVE, X]), ("Range", {}, [np.array(v, WHOLE) for v in (1, 8, 3)]),
    ("Reshape", {}, [X, np.array([0, -1, 2], WHOLE)]), ("Shape", {}, [X]), ("Shape", {"start": 1}, [X]),
    ("Slice", {}, [X, np.array([-1, 0], WHOLE), np.array([-10, 2**62], WHOLE), np.array([1, 2], WHOLE), np.array([-1, 2], WHOLE)]),
    ("Slice", {}, [X, np.array([1], WHOLE), np.array([-1], WHOLE), np.array([-1], WHOLE)]),
    ("Split", {"axis": 2}, [X, np.array([1, 3], WHOLE)]), ("Squeeze", {}, [X[:1], np.array([0], WHOLE)]),
    ("Transpose", {"perm": [2, 0, 1]}, [X]), ("Unsqueeze", {}, [X, np.array([-1, 0], WHOLE)]), ("Where", {}, [B, X, X[0, 0]]),
]  # fmt: skip


def test_the_plain_engine_computes_what_onnxruntime_does(browser, digits_page, tmp_path):
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    made, expected = Digits(), []
    model, tensors = made.page()
    for i, (op, attrs, inputs) in enumerate(OPERATIONS):
        names, outs = [f"weights.{i}.{j}" for j in range(len(inputs))], ["a", "b"] if op == "Split" else ["a"]
        model["plan"][f"op{i}"] = {
            "nodes": [{"op": op, "in": names, "out": outs, "attrs": attrs}], "inputs": [], "outputs": outs,
        }  # fmt: skip
        # Whole numbers are of 32 bits in a page, and "to the end" is the greatest of them.
        tensors |= {
            n: np.clip(t, -(2**31) + 1, 2**31 - 1).astype(np.int32) if t.dtype == WHOLE else np.asarray(t)
            for n, t in zip(names, inputs, strict=True)
        }
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node(op, names, outs, **attrs)], op, [],
            [onnx.ValueInfoProto(name=n) for n in outs],
            [onnx.numpy_helper.from_array(np.array(t, order="C"), n) for n, t in zip(names, inputs, strict=True)],
        )  # fmt: skip
        proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
        expected.append(onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {}))
    path = tmp_path / "operations.html"
    path.write_text(html(model, tensors), encoding="utf-8")
    explorer = Explorer(browser, path)
    found = explorer.page.evaluate(
        """async n => { const all = [];
        for (let i = 0; i < n; i++) all.push(Object.values(await explorer.engine.run(`op${i}`, {})).map(
            t => [t.shape, Array.from(t.data, v => Number.isFinite(v) ? v : String(v))]));
        return all }""",
        len(OPERATIONS),
    )
    for (op, attrs, _), ours, theirs in zip(OPERATIONS, found, expected, strict=True):
        for (shape, data), right in zip(ours, theirs, strict=True):
            assert tuple(shape) == right.shape, (op, attrs)
            values = np.array([float(v) for v in data]).reshape(shape)
            np.testing.assert_allclose(values, right.astype(float), rtol=2e-5, atol=2e-6, err_msg=f"{op} {attrs}")
    assert {op for op, _, _ in OPERATIONS} | {"Constant"} == set(json.loads((PAGE / "plain-ops.json").read_text()))
    explorer.done()


def test_onnxruntime_in_the_page_shows_the_same(browser, digits_page, tmp_path):
    pytest.importorskip("onnx")
    digits, _, _ = digits_page
    path = tmp_path / "digits.html"
    path.write_text(html(*as_onnx(*digits.page())), encoding="utf-8")
    assert path.stat().st_size < 8e6
    explorer = Explorer(browser, path)
    explorer.page.wait_for_selector(PICTURE)
    expected = digits.decode(digits.codes[:1], digits.labels[0])
    np.testing.assert_allclose(explorer.picture(), expected[0], atol=1.5 / 255)
    np.testing.assert_allclose(explorer.trust()[1], digits.place(digits.codes[:1], digits.labels[0])[0], rtol=1e-3)
    np.testing.assert_allclose(explorer.trust(1)[1], digits.score(digits.rows[:1])[0], rtol=2e-4)
    assert [url for url in explorer.requests if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    explorer.done()


def test_the_served_page_asks_its_server_and_no_other(browser, digits_page):
    digits, _, _ = digits_page
    model, tensors = digits.page()
    tensors = {n: np.array(t, order="C") for n, t in tensors.items() if not n.startswith("weights.")}
    asked = []

    class Answers(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def answer(self, body, status=200):
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.send_header("content-type", "text/html" if self.path == "/" else "application/octet-stream")
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            pages = {
                "/": lambda: filled(title="digits", data="", ort="").encode(),
                "/model.json": lambda: json.dumps(model | {"engine": "server"}).encode(),
                "/tensors": lambda: save(tensors),
            }
            self.answer(pages[self.path]())

        def do_POST(self):
            given = load(self.rfile.read(int(self.headers["content-length"])))
            asked.append((self.path, {n: (t.dtype.name, t.shape) for n, t in given.items()}))
            if self.path == "/graphs/decoder":
                x = [digits.decode(z[None], y) for z, y in zip(given["z"], given["y.label"], strict=True)]
                return self.answer(save({"x": np.stack(x).astype(np.float32)}))
            if self.path == "/graphs/encoder":
                return self.answer(save({"z": digits.encode(given["x"])}))
            if self.path == "/graphs/score":
                return self.answer(save({"score": digits.score(given["x"]).astype(np.float32)}))
            return self.answer(b"the machine is tired", 400)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        explorer = Explorer(browser, address)
        explorer.page.wait_for_selector(PICTURE)
        expected = digits.decode(digits.codes[:1], digits.labels[0])
        np.testing.assert_allclose(explorer.picture(), expected[0], atol=1.5 / 255)
        np.testing.assert_allclose(explorer.trust()[1], digits.place(digits.codes[:1], digits.labels[0])[0], rtol=1e-3)
        explorer.page.click("#sample")
        explorer.page.wait_for_selector(".message")
        assert "the machine is tired" in explorer.page.locator(".message").inner_text()
        assert ("/graphs/decoder", {"z": ("float32", (1, 6)), "y.label": ("int32", (1,))}) in asked
        assert all(url.startswith((address, "data:", "blob:")) for url in explorer.requests)
        explorer.page.close()
        server.shutdown()


def test_what_a_browser_lacks_is_said(browser, digits_page):
    _, _, path = digits_page
    old = browser.new_page()
    old.add_init_script("delete window.DecompressionStream")
    old.goto(path.as_uri())
    assert "has no DecompressionStream" in old.locator("[role=alert]").inner_text()
    old.close()


def test_the_built_page_is_what_its_sources_make(tmp_path):
    """Nobody changes one without the other."""
    if not (EXPLORER / "node_modules").is_dir():
        pytest.skip("explorer/node_modules is not there: run `npm ci` in explorer")
    done = subprocess.run(
        ["node", "build.mjs", str(tmp_path)], cwd=EXPLORER, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for built in sorted(tmp_path.iterdir()):
        assert (PAGE / built.name).read_bytes() == built.read_bytes(), f"{built.name}: run `npm run build` in explorer"
    assert {p.name for p in tmp_path.iterdir()} == {
        p.name for p in PAGE.iterdir() if p.is_file() and not p.name.endswith(".py")
    }
