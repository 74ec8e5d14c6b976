"""What people see of an evolved archive: its pictures, its report, and the explorer's page over its cells."""

import re
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vaekit as vk
from conftest import SCRIPT, TINY, check_page, people
from vaekit.deploy.explorer.evolved import archive_scene, write_explorer
from vaekit.deploy.explorer.server import Explorer as Server
from vaekit.deploy.report.evolved import shown_cells, spread, spread_columns, write_evolved
from vaekit.errors import UserError

SECTIONS = {"map", "history", "emitters", "best", "spread", "left-out", "settings", "commands"}
IDLE = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
DECODED = '[aria-label="The decoded picture"]'
CELLS = (4, 3)


@dataclass
class Archive:
    """The fields that the pages read of an archive."""

    fitted: Any
    x: Any
    z: Any
    y: Any
    objective: Any
    measures: Any
    p_value: Any
    emitter: Any
    evaluation: Any
    cell: Any
    cells: Any
    ranges: Any
    names: Any
    title: str
    trust: float = 0.0
    history: list = field(default_factory=list)

    def __len__(self):
        return len(self.objective)

    @property
    def coverage(self):
        return len(self) / np.prod(self.cells)

    @property
    def valid_coverage(self):
        return (self.p_value >= (self.trust or 0.05)).sum() / np.prod(self.cells)

    @property
    def qd_score(self):
        return self.objective.sum()


def archive_of(fitted, z, objective, measures, cells, ranges, names, title, rng, y=None):
    """The archive that MAP-Elites keeps of candidates z (N, latent_dim): the best of each cell."""
    ranges = np.asarray(ranges, float)
    share = (measures - ranges[:, 0]) / (ranges[:, 1] - ranges[:, 0])
    order = np.argsort(-objective, kind="stable")
    order = order[((share >= 0) & (share < 1)).all(1)[order]]
    flat = np.ravel_multi_index(tuple((share[order] * cells).astype(int).T), cells)
    cell, first = np.unique(flat, return_index=True)
    kept = order[first]
    n, of = len(kept), len(z)
    y = {name: values[kept] for name, values in (y or {}).items()}
    event = fitted.kind.event_shape
    x = fitted.pack(fitted.decode(z[kept], y or None), y or None).x if n else torch.zeros(0, *event)
    score = float(objective[kept].sum())
    history = [
        {"evaluations": int(of * s), "coverage": n / np.prod(cells) * s, "valid_coverage": 0.8 * n / np.prod(cells) * s,
         "qd_score": score * s, "best": float(objective[kept].max()) if n else np.nan, "failed": 2, "outside": of - len(order),
         "distrusted": 0, "share_latent": 0.5 * s, "share_raw": 0.8 - 0.5 * s, "share_rebuilt": 0.2}
        for s in (0.2, 0.4, 0.7, 1)
    ]  # fmt: skip
    return Archive(
        fitted, fitted.kind.batch(x, lambda *shape: torch.full(shape, 0.5)), z[kept], y, objective[kept], measures[kept],
        rng.uniform(0, 1, n) ** 2, np.array(["latent", "raw", "rebuilt"])[rng.integers(0, 3, n)], rng.integers(0, of, n), cell,
        tuple(cells), ranges, names, title, 0.0, history,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pictures(digits):
    """A conditional model of pictures, and its archive: 7 elites, each with a label, in cells that are chosen by hand."""
    labels = digits[1][:300].astype(str).astype(object)
    model = vk.CVAE(**TINY, network="mlp").fit(digits[0][:300], {"label": labels})
    rng = np.random.default_rng(0)
    where = np.array([[0, 0], [1, 0], [3, 0], [0, 1], [2, 1], [1, 2], [3, 2]])  # across, upwards
    measures = np.stack([10 + (where[:, 0] + 0.5) / 4 * 8, -1 + (where[:, 1] + 0.5) / 3 * 2], 1)
    objective = np.array([0.0, 1, 2, 3, 4, 5, 10])
    y = {"label": np.array([str(i) for i in range(7)], object)}
    z = rng.normal(size=(7, 2)).astype(np.float32)
    found = archive_of(
        model.fitted_, z, objective, measures, CELLS, [[10, 18], [-1, 1]], ["ink & more", "slant"], "score", rng, y
    )
    # In the order of cells: (0, 0), (0, 1), (1, 0), (1, 2), (2, 1), (3, 0), (3, 2).
    found.p_value = np.array([0.5, 0.01, 0.6, np.nan, 0.9, 0.2, 0.8])
    normal = model.fitted_.pack(digits[0][:40], {"label": labels[:40]})
    return SimpleNamespace(archive=found, where=where[np.argsort(np.ravel_multi_index(where.T, CELLS))], normal=normal)


@pytest.fixture(scope="module")
def folder(pictures, tmp_path_factory):
    made = tmp_path_factory.mktemp("evolved") / "digits-evolved"
    made.mkdir()
    write_explorer(pictures.archive, made, pictures.normal)
    write_evolved(pictures.archive, made, {"space": "mixed", "ranges": None}, "vaekit evolve runs/digits")
    return made


def elite(where, cell):
    """The number of the elite of a cell."""
    return int(np.flatnonzero((where == cell).all(1))[0])


# -- which cell is where -----------------------------------------------------------------------------------------------


def test_the_first_measure_goes_across_and_the_second_upwards(pictures):
    found = shown_cells(pictures.archive)
    assert found.shape == CELLS
    for i, (across, upwards) in enumerate(pictures.where):
        assert found[across, upwards] == i
    assert (found >= 0).sum() == 7


def test_a_third_measure_leaves_the_best_of_each_cell(pictures):
    three = Archive(**vars(pictures.archive))
    three.cells, three.names, three.ranges = (2, 2, 2), ["a", "b", "c"], np.array([[0, 1]] * 3)
    corners = np.array([(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1), (0, 1, 0), (1, 1, 0), (1, 1, 1)])
    three.cell, three.objective = np.ravel_multi_index(corners.T, (2, 2, 2)), np.array([1.0, 5, 7, 2, 0, 3, 3.5])
    three.measures = corners + 0.5
    assert shown_cells(three).tolist() == [[1, 4], [2, 6]]
    found = archive_scene(three, SimpleNamespace(resolve=lambda: SimpleNamespace(name="three")), pictures.normal)
    layouts = found.model["map"]["layouts"]
    assert [each["name"] for each in layouts] == ["a, b", "a, c", "b, c"]
    assert [each["over"] for each in layouts] == ["c", "b", "a"]
    assert found.tensors["rows"].tolist() == np.argsort(-three.objective).tolist()  # the best first
    # Elite 2 is at (1, 0, 0): the right half across, the lower upwards, of a map that is 1.25 wide and 1 high.
    np.testing.assert_allclose(found.tensors["layout.0"][0], [0.75 * 1.25, 0.25])
    np.testing.assert_allclose(found.tensors["layout.1"][1], [0.25 * 1.25, 0.75])  # elite 1, at (0, 0, 1), over a and c


def test_the_spread_lies_as_the_map_does(pictures):
    lines = spread(pictures.archive)
    assert [name for name, _ in lines] == ["0.3333 to 1", "−0.3333 to 0.3333", "−1 to −0.3333"]
    assert spread_columns(pictures.archive) == ["10 to 12", "12 to 14", "14 to 16", "16 to 18"]
    there = [[each is not None for each in line] for _, line in lines]
    assert there == [[False, True, False, True], [True, False, True, False], [True, True, False, True]]
    assert lines[0][1][3]["objective"] == "10"
    assert [[each["odd"] for each in line if each] for _, line in lines] == [[False, False], [True, False], [False] * 3]


def test_the_picture_has_the_best_elite_at_the_upper_right(folder):
    """Yellow is the highest: its cell spans the last quarter across and the last third upwards."""
    pixels = np.asarray(Image.open(folder / "archive.png").convert("RGB")).astype(int)
    coloured = np.ptp(pixels, axis=2) > 60
    coloured[:, round(0.9 * pixels.shape[1]) :] = False  # the scale of colours
    rows, columns = np.nonzero(coloured)
    left, right, top, bottom = columns.min(), columns.max(), rows.min(), rows.max()
    cell = pixels[top + (bottom - top) // 6, left + 7 * (right - left) // 8]
    assert cell[0] > 150 > cell[2]
    empty = pixels[top + (bottom - top) // 6, left + (right - left) // 8]
    assert empty.min() > 245
    svg = (folder / "archive.svg").read_text(encoding="utf-8")
    assert "ink &amp; more" in svg
    assert len(svg) < 60_000


# -- the report --------------------------------------------------------------------------------------------------------


def test_report(folder, page):
    check_page(page, folder / "report.html", SECTIONS)
    assert (folder / "report.html").stat().st_size < 400_000
    said = " ".join(page.inner_text("main").split())
    assert "7 of 12 cells have an elite. 5 of them belong to the data" in said
    assert "58.3%" in said  # 7 of 12
    assert "The share of the cells that have an elite." in said
    assert "vaekit evolve runs/digits --resume" in said
    assert page.locator("#spread img").count() == 7
    assert page.locator("#spread .odd").count() == 1
    assert page.locator("#left-out tbody tr").all_inner_texts()[0].split()[:2] == ["failed", "2"]
    assert page.locator("a").get_attribute("href") == "archive.html"


def test_one_measure_without_p_values_in_a_table(tmp_path, page):
    model = vk.VAE(**TINY).fit(people(200, 0))
    rng = np.random.default_rng(0)
    z = rng.normal(size=(60, 2)).astype(np.float32)
    measures = z[:, :1]
    found = archive_of(model.fitted_, z, -(z[:, 1] ** 2), measures, (8,), [[-1.5, 1.5]], [SCRIPT], SCRIPT, rng)
    found.p_value[:] = np.nan
    write_evolved(found, tmp_path)
    check_page(page, tmp_path / "report.html", SECTIONS - {"settings"})
    said = " ".join(page.inner_text("main").split())
    assert "No cell is hatched" in said
    assert "belong" not in said
    assert "job " in page.inner_text("#best .texts")
    shown = archive_scene(found, tmp_path)
    assert shown.model["map"]["layouts"][0]["cells"] == [8, 1]
    assert "colour.p-value" not in shown.tensors
    assert shown.tensors["trusted"].all()
    assert any("children are not judged" in note for note in shown.model["notes"])


def test_an_empty_archive(pictures, tmp_path, page):
    z, rng = np.zeros((5, 2), np.float32), np.random.default_rng(0)
    empty = archive_of(
        pictures.archive.fitted, z, np.ones(5), np.full((5, 2), 9.0), (3, 3), [[0, 1]] * 2, ["a", "b"], "score", rng
    )
    write_evolved(empty, tmp_path)
    check_page(page, tmp_path / "report.html", {"history", "left-out", "commands"})
    assert "0 of 9 cells have an elite. Every row that was tried failed" in " ".join(page.inner_text("main").split())
    with pytest.raises(UserError, match="no elite"):
        write_explorer(empty, tmp_path)


# -- the explorer ------------------------------------------------------------------------------------------------------


class Explorer:
    """The page of the archive in a browser."""

    def __init__(self, page, folder):
        self.page, self.troubles, self.requests = page, [], []
        page.set_viewport_size({"width": 1280, "height": 900})
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", lambda m: self.troubles.append(m.text) if m.type == "error" else None)
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(folder if isinstance(folder, str) else (folder / "archive.html").as_uri())
        page.wait_for_selector("[data-map]")
        self.rest()

    def rest(self):
        self.page.evaluate(IDLE)
        self.page.wait_for_function("() => !explorer.busy && !explorer.wanted")
        self.page.evaluate(IDLE)

    def at(self, across, upwards):
        """Where the middle of a cell is on the screen. The map is 1.25 wide and 1 high, with 3 % more on each side."""
        left, top, width, height = self.page.evaluate(
            """() => { scrollTo(0, 0); const m = document.querySelector("[data-map]"), r = m.getBoundingClientRect();
            return [r.x + m.clientLeft, r.y + m.clientTop, m.clientWidth, m.clientHeight] }"""
        )
        scale = min(width / (1.06 * 1.25), height / 1.06) * 0.96
        u, v = (across + 0.5) / CELLS[0] * 1.25, (upwards + 0.5) / CELLS[1]
        return left + width / 2 + (u - 0.625) * scale, top + height / 2 - (v - 0.5) * scale

    def picture(self, selector):
        found = self.page.evaluate(
            """s => { const c = document.querySelector(s), d = c.getContext("2d").getImageData(0, 0, c.width, c.height);
            return [c.height, c.width, Array.from(d.data)] }""",
            selector,
        )
        return np.array(found[2]).reshape(found[0], found[1], 4)[..., 0] / 255 * 16

    def shown(self):
        return self.page.inner_text("section[aria-label=Shown]")

    def colour(self, across, upwards):
        """Of the canvas of cells, near the lower left of a cell's middle."""
        x, y = self.at(across, upwards)
        return self.page.evaluate(
            """([x, y]) => { const c = document.querySelectorAll("[data-map] > canvas")[1], r = c.getBoundingClientRect(), f = c.width / r.width;
            return Array.from(c.getContext("2d").getImageData((x - r.x) * f, (y - r.y) * f, 1, 1).data) }""",
            [x, y],
        )


def test_the_explorer_of_an_archive(pictures, folder, page):
    """The best elite first; a hand over a cell shows its elite with its own condition; a click shows children; two breed."""
    archive, where = pictures.archive, pictures.where
    assert (folder / "archive.html").stat().st_size < 1_000_000
    seen = Explorer(page, folder)
    best = elite(where, (3, 2))
    decoded = archive.fitted.decode(archive.z, archive.y)
    assert page.locator("section[aria-label=Shown] h2").inner_text() == f"elite {best}"
    assert np.abs(seen.picture(DECODED) - decoded[best]).max() < 0.6  # rows are rounded to whole numbers
    assert seen.colour(3, 2)[0] > 200  # yellow
    assert seen.colour(0, 2)[3] == 0  # an empty cell

    for cell in ((2, 1), (0, 0)):
        i = elite(where, cell)
        x, y = seen.at(*cell)
        page.mouse.move(x - 2, y)
        page.mouse.move(x, y)
        seen.rest()
        assert np.abs(seen.picture(DECODED) - decoded[i]).max() < 0.6  # by its own label
        said = seen.shown()
        assert said.startswith(f"elite {i}")
        assert f"p = {archive.p_value[i]:.2f}" in said
        assert re.search(rf"score\s+{archive.objective[i]:g}\s", said)
        assert re.search(rf"ink & more\s+{archive.measures[i, 0]:g}\s", said)

    page.mouse.click(*seen.at(2, 1))
    seen.rest()
    first = elite(where, (2, 1))
    assert page.evaluate("explorer.state.pinned.row") == page.evaluate(
        f"explorer.model.map.names.indexOf('elite {first}')"
    )
    page.wait_for_function("() => document.querySelectorAll('#children .cell').length === 12")
    page.click("#parent-a")
    page.mouse.click(*seen.at(0, 0))
    seen.rest()
    page.click("#parent-b")
    page.wait_for_function("() => document.querySelectorAll('#breed .cell').length === 12")
    page.wait_for_function("() => /p = /.test(document.querySelector('#breed .cell').title)")  # children are judged
    page.locator("#breed input").fill("0.05")
    page.wait_for_timeout(300)
    a, b = archive.z[first], archive.z[elite(where, (0, 0))]
    spreads, shares = archive.z.std(0), []
    for child in (0, 6, 11):
        page.locator("#breed .cell").nth(child).click()
        z = np.array(page.evaluate("Array.from(explorer.state.pinned.z)"))
        share = ((z - a) @ (b - a)) / ((b - a) @ (b - a))
        assert np.abs((z - a - share * (b - a)) / spreads).max() < 0.05 / 2 * 6  # little beside the line from a to b
        shares.append(share)
    assert shares == sorted(shares)
    assert -0.35 < shares[0] < 0.5 < shares[2] < 1.35
    seen.rest()
    label = {"label": [archive.y["label"][elite(where, (0, 0))]]}
    child = archive.fitted.decode(z[None], label)[0]
    assert np.abs(seen.picture(DECODED) - child).max() < 0.6
    assert page.evaluate("explorer.state.pinned.row") is None

    page.mouse.click(*seen.at(0, 2))  # an empty cell is a place that stays where it was clicked
    seen.rest()
    assert page.evaluate("explorer.state.pinned.row") is None
    assert "Score" not in page.locator("section[aria-label=Shown] dl").inner_text()
    page.set_viewport_size({"width": 390, "height": 800})
    seen.rest()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert seen.troubles == []
    assert {url.split(":")[0] for url in seen.requests} <= {"file", "data", "blob"}


def test_a_server_shows_the_same(pictures, tmp_path, page):
    server = Server(archive_scene(pictures.archive, tmp_path, pictures.normal))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        seen = Explorer(page, server.address)
        page.mouse.move(*seen.at(1, 2))
        seen.rest()
        i = elite(pictures.where, (1, 2))
        decoded = pictures.archive.fitted.decode(pictures.archive.z, pictures.archive.y)[i]
        assert np.abs(seen.picture(DECODED) - decoded).max() < 0.6
        assert seen.shown().startswith(f"elite {i}")
        assert seen.troubles == []
    finally:
        server.shutdown()
        server.server_close()
