"""The explorer: what its page gets of a run, the server behind it, and the page as one file."""

import base64
import gzip
import http.client
import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

import vaekit as vk
from conftest import SCRIPT, TINY, dataset, fails, kill, mistake, people, start, vaekit
from vaekit.deploy.explorer import layouts, rows
from vaekit.deploy.explorer.html import write_html
from vaekit.deploy.explorer.pieces import Pieces
from vaekit.deploy.explorer.plan import Plan
from vaekit.deploy.explorer.scene import Scene, scene
from vaekit.deploy.explorer.server import LARGEST, Explorer
from vaekit.robots.environments import demonstrate
from vaekit.sources.series import to_series
from vaekit.uses.conformal import p_values

TEXTS = np.array(
    [f"the {a} {b} {c}" for a in ("old", "new", "red") for b in ("dog", "cat", "cow") for c in ("ran", "sat")] * 3
)
CLASSES = np.array([SCRIPT, "b"], dtype=object)


def seen(tmp_path: Path, model: Any, data: Any) -> Scene:
    return scene(model.save(tmp_path / "run"), vk.load(tmp_path / "run"), data)


@pytest.fixture(scope="module")
def pictures(digits: Any) -> Any:
    x, y = digits[0][:400], CLASSES[digits[1][:400] % 2]
    return vk.CVAE(**{**TINY, "latent_dim": 3}, network="mlp").fit(x, {"label": y}), dataset(
        x, {"label": y, "digit": digits[1][:400]}
    )


@pytest.fixture(scope="module")
def shown(pictures: Any, tmp_path_factory: Any) -> Scene:
    return seen(tmp_path_factory.mktemp("pictures"), *pictures)


# -- what the page gets ------------------------------------------------------------------------------------------------


def test_pictures(shown: Scene, pictures: Any) -> None:
    model, data = pictures
    about, t = shown.model, shown.tensors
    numbers = [int(name.removeprefix("picture ")) for name in about["map"]["names"]]
    assert sorted(numbers) == list(range(400))
    assert set(numbers[:40]) == set(model.divide(data)[1].tolist())  # held-out rows come first
    codes = model.transform(data.x[numbers], {"label": data.conditions["label"][numbers]})
    assert np.allclose(t["codes"], codes, atol=0.01)  # in 16 bits
    assert (about["row"], about["noun"], about["mean_samples"]) == ("picture", "pictures", True)
    assert [layout["name"] for layout in about["map"]["layouts"]][:2] == ["units", "PCA"]
    assert t["thumbs"].shape == (400, 8, 8, 1)
    assert abs(t["thumbs"][7, ..., 0] / 255 - data.x[numbers[7]] / 16).max() < 0.01
    assert abs(t["shown.x"][7, 0] - data.x[numbers[7]] / 16).max() < 1e-6
    assert "shown.mask" not in t
    assert [(c["name"], c["kind"]) for c in about["map"]["colours"]] == [("label", "label"), ("digit", "label")]
    assert about["map"]["colours"][0]["classes"] == [SCRIPT, "b"]
    assert (t["colour.digit"] == data.conditions["digit"][numbers]).all()
    assert (t["shown.y.label"] == t["colour.label"]).all()
    assert json.loads(shown.json)["graphs"]["decoder"]["inputs"]["y.label"] == {"dtype": "i32", "shape": ["rows"]}


def test_linear_layouts_lead_to_codes_and_back(shown: Scene) -> None:
    for i in range(2):
        points, basis, origin = (shown.tensors[f"layout.{i}{part}"] for part in ("", ".basis", ".origin"))
        assert np.allclose(basis @ basis.T, np.eye(2), atol=1e-6)
        assert np.allclose((shown.tensors["codes"] - origin) @ basis.T, points, atol=0.01)
        assert np.allclose((origin + points @ basis - origin) @ basis.T, points, atol=1e-5)
        extent = shown.tensors[f"layout.{i}.extent"]
        assert (points > extent[::2]).all()
        assert (points < extent[1::2]).all()


def test_shading_is_how_well_a_place_is_read_back(shown: Scene, pictures: Any) -> None:
    model, _ = pictures
    t = shown.tensors
    shading, (u0, u1, v0, v1) = t["layout.1.trust"], t["layout.1.extent"].tolist()
    rows, columns = shading.shape
    assert (u1 - u0) / (v1 - v0) == pytest.approx(columns / rows, rel=0.01)
    assert shading.max() > 100
    label = {"label": [CLASSES[shown.model["conditions"][0]["start"]]]}
    for row, column in ((0, 0), (rows // 2, columns // 3), (rows - 1, 1)):
        place = np.array([u0 + (column + 0.5) / columns * (u1 - u0), v0 + (row + 0.5) / rows * (v1 - v0)])
        z = t["layout.1.origin"] + place @ t["layout.1.basis"]
        again = model.transform(model.inverse_transform(z[None], label), label)
        score = -(t["codes"].astype(float).var(0) * (again - z) ** 2).sum()  # pictures are rounded to bytes on the way
        near = [p_values(np.array([score * factor]), t["calibration.place"])[0] for factor in (0.8, 1.25)]
        assert 255 * min(near) - 10 <= shading[row, column] <= 255 * max(near) + 10


def test_a_table(tmp_path: Path) -> None:
    table = people(300, 0)
    found = seen(tmp_path, vk.VAE(**TINY).fit(table), dataset(vk.VAE(**TINY).fit(table).kind_.take(table)))
    event = found.model["graphs"]["decoder"]["outputs"]["x"]["shape"][1:]
    assert found.tensors["shown.mask"].shape == found.tensors["shown.x"].shape == (300, *event)
    assert found.tensors["usual"].shape == tuple(event)
    assert np.isfinite(found.tensors["usual"]).all()
    kinds = {c["name"]: c["kind"] for c in found.model["map"]["colours"]}
    assert (kinds["job"], kinds["height"]) == ("label", "number")
    assert (found.tensors["colour.job"] == -1).any()  # unknown
    assert "draw" in found.graphs
    assert found.tensors["layout.0.trust"].max() > 50
    assert not found.model["mean_samples"]


def test_series(tmp_path: Path) -> None:
    series = to_series(np.sin(np.arange(400) / 5)[:, None] + np.random.default_rng(0).normal(0, 0.1, (400, 2)))
    found = seen(tmp_path, vk.SeriesVAE(window=16, **TINY).fit(series), series)
    assert (found.model["row"], found.model["score"]) == ("window", None)
    assert "score" not in found.graphs
    assert "calibration" not in found.tensors
    assert any("trust" in note for note in found.model["notes"])
    assert found.tensors["layout.0.trust"].max() > 50
    assert found.model["map"]["colours"][0]["name"] == "step"
    assert found.tensors["shown.x"].shape[1:] == (2, 16)


def test_texts(tmp_path: Path) -> None:
    found = seen(tmp_path, vk.VAE(kind={"tokenizer": "word"}, **TINY).fit(TEXTS), dataset(TEXTS))
    assert set(found.model["map"]["texts"]) <= set(TEXTS)
    assert found.tensors["shown.x"].dtype == np.int32
    assert found.model["row"] == "text"
    assert found.tensors["layout.0.trust"].ndim == 2


def test_audio(tmp_path: Path) -> None:
    clips = np.sin(np.arange(512) * np.linspace(0.1, 1, 40)[:, None]).astype(np.float32)
    found = seen(tmp_path, vk.VAE(kind={"name": "audio", "rate": 8000}, **TINY).fit(clips), dataset(clips))
    assert found.tensors["thumbs"].shape[0] == 40
    assert max(found.tensors["thumbs"].shape[1:3]) <= 32
    assert found.tensors["shown.x"].shape == (40, *found.model["form"]["event"])


def test_a_policy(tmp_path: Path) -> None:
    demonstrations = demonstrate("two-routes", 12)
    policy = vk.Policy(latent_dim=2, size="small", chunk_size=8, epochs=1).fit(demonstrations)
    found = seen(tmp_path, policy, demonstrations)
    size = found.tensors["shown.x"].shape[0]
    assert found.tensors["shown.y.state"].shape == (size, 2)
    assert {"encoder", "prior", "decoder"} <= found.graphs.keys()
    assert found.model["map"]["of"] == len(demonstrations)
    frame = int(found.model["map"]["names"][0].split()[1])
    first = policy.data_of(demonstrations)[torch.tensor([frame])]
    assert np.allclose(found.tensors["codes"][:1], policy.fitted_.encode_packed(first), atol=0.01)


def test_a_large_source_is_sampled(pictures: Any) -> None:
    model, _ = pictures
    many = dataset(np.zeros((1_000_000, 2), np.uint8), {"label": np.zeros(1_000_000, object)})
    asked = {}

    class Stub:
        division = staticmethod(lambda data: model.divide(data))

        @staticmethod
        def rows_of(data: Any, index: np.ndarray) -> Any:
            asked["rows"] = len(index)
            return rows.Data(torch.zeros(len(index), 2)), {"place": index.astype(float)}

    chosen = rows.chosen_rows(Stub, many)
    assert len(chosen) == rows.MOST == asked["rows"]
    assert chosen.of == 1_000_000
    assert (chosen.known["place"] == chosen.numbers).all()
    assert (np.diff(chosen.numbers) < 0).any()  # in random order


@pytest.mark.parametrize("d", [1, 2, 5])
def test_layouts_of_any_latent(d: int) -> None:
    codes = np.random.default_rng(0).normal(size=(30, d)).astype(np.float32)
    found, _ = layouts.layouts_of(codes)
    names = [layout.name for layout in found]
    assert names[: 1 + (d > 2)] == ["units", "PCA"][: 1 + (d > 2)]
    for layout in found:
        assert layout.points.shape == (30, 2)
        assert np.ptp(layout.points, axis=0).min() > 0
        z, there = layout.codes_at(layout.points, codes)
        assert z.shape == (30, d)
        assert there.all()


def test_a_bent_map_knows_where_it_is_empty() -> None:
    codes = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    bent = layouts.Layout("UMAP", ["", ""], codes[:, :2])
    z, there = bent.codes_at(np.array([codes[0, :2], [99.0, 99.0]]), codes)
    assert there.tolist() == [True, False]
    assert np.linalg.norm(z[0] - codes[0]) < np.linalg.norm(codes, axis=1).mean()


def test_one_row_and_units_that_do_nothing(pictures: Any, tmp_path: Path) -> None:
    model, data = pictures
    found = seen(tmp_path, model, data[:1])
    assert found.tensors["codes"].shape == (1, 3)
    assert found.model["score"] is None
    json.loads(found.json)


def test_a_language_model_has_no_map(tmp_path: Path) -> None:
    model = vk.VAE(**{**TINY, "latent_dim": 0}, kind={"tokenizer": "word"}).fit(TEXTS)
    model.save(tmp_path / "run")
    for command in (["explore"], ["export", "--html", "-o", tmp_path / "a.html"]):
        assert "no latent" in fails(command[0], tmp_path / "run", *command[1:])


# -- the server --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(shown: Scene) -> Any:
    import threading

    explorer = Explorer(shown)
    threading.Thread(target=explorer.serve_forever, daemon=True).start()
    yield explorer
    explorer.shutdown()
    explorer.server_close()


def ask(explorer: Explorer, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", explorer.server_address[1], timeout=30)
    kind = {} if body is None else {"Content-Type": "application/octet-stream"}
    given = {**kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request("GET" if body is None else "POST", path, body, given)
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read()
    connection.close()
    return found


def test_routes(served: Explorer, shown: Scene) -> None:
    status, headers, text = ask(served, "/")
    assert status == 200
    assert b'id="app"' in text
    assert b"{{" not in text.split(b"<script>")[0]
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert json.loads(ask(served, "/model.json")[2])["name"] == "run"
    plain, zipped = ask(served, "/tensors"), ask(served, "/tensors", Accept_Encoding="gzip, br")
    assert zipped[1]["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped[2]) == plain[2]
    assert load(plain[2]).keys() == shown.tensors.keys()
    assert ask(served, "/etc/passwd")[0] == ask(served, "/../page.py")[0] == 404


def test_graphs_say_what_the_estimator_says(served: Explorer, pictures: Any) -> None:
    model, data = pictures
    label = np.full(5, 1, np.int32)
    z = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    status, _, content = ask(served, "/graphs/decoder", save({"z": z, "y.label": label}))
    assert status == 200
    expected = model.inverse_transform(z, {"label": ["b"] * 5})
    assert abs((load(content)["x"][:, 0] * 16).clip(0, 16) - expected).max() <= 0.51  # which are whole numbers
    x = data.x[:5, None].astype(np.float32) / 16
    given = {"x": x, "mask": np.ones(x.shape, bool), "y.label": label}
    found = load(ask(served, "/graphs/encoder", save(given))[2])["z"]
    assert np.allclose(found, model.transform(data.x[:5], {"label": ["b"] * 5}), atol=1e-5)


def test_requests_that_are_refused(served: Explorer) -> None:
    port = served.server_address[1]
    assert ask(served, "/", Host="evil.example")[0] == 403
    assert ask(served, "/", Host=f"evil.example:{port}")[0] == 403
    assert ask(served, "/", Host=f"localhost:{port}")[0] == 200
    assert ask(served, "/graphs/nothing", save({"z": np.zeros((1, 3), np.float32)}))[0] == 404
    assert ask(served, "/graphs/decoder", b"{}", Content_Type="text/plain")[0] == 415
    good = {"z": np.zeros((1, 3), np.float32), "y.label": np.zeros(1, np.int32)}
    wrong = {
        "not a file": b"nonsense",
        "empty": b"",
        "an input too few": save({"z": good["z"]}),
        "another shape": save({**good, "z": np.zeros((1, 4), np.float32)}),
        "another type": save({**good, "z": np.zeros((1, 3), np.float64)}),
        "rows that differ": save({**good, "z": np.zeros((2, 3), np.float32)}),
        "a class that there is not": save({**good, "y.label": np.full(1, 99, np.int32)}),
    }
    for what, body in wrong.items():
        status, _, said = ask(served, "/graphs/decoder", body)
        assert (status, said.count(b"\n")) == (400, 0), (what, said)
    assert ask(served, "/graphs/decoder", b"x", Content_Length=str(LARGEST + 1))[0] == 413
    assert ask(served, "/graphs/decoder", save(good))[0] == 200  # it goes on


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_command(pictures: Any, tmp_path: Path, how: int) -> None:
    vaekit("fit", "digits", "--epochs", 1, "--out", tmp_path / "run", "--no-report", "--network", "mlp", check=0)
    running = start("explore", tmp_path / "run", "--no-browser")
    try:
        lines = []
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/", line := running.stdout.readline())):
            lines.append(line)
            assert line, lines
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        taken = fails("explore", tmp_path / "run", "--no-browser", "--port", found[1])
        assert f"port {found[1]}" in taken
        running.send_signal(how)
        assert running.wait(20) == 0
        assert "Traceback" not in running.stdout.read()
    finally:
        if running.poll() is None:
            kill(running)


# -- the page as one file ----------------------------------------------------------------------------------------------


def test_one_file(pictures: Any, tmp_path: Path) -> None:
    model, data = pictures
    model.save(tmp_path / "run")
    began = time.monotonic()
    shown = write_html(tmp_path / "run", vk.load(tmp_path / "run"), tmp_path / "play.html", data)
    assert time.monotonic() - began < 120
    text = (tmp_path / "play.html").read_text(encoding="utf-8")
    assert len(text) < 8 << 20
    assert SCRIPT not in text
    inside = re.search(r'id="model">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(inside)["conditions"][0]["classes"][0] == SCRIPT  # still data
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text.split("<script>")[0])
    packed = re.search(r'id="tensors">([^<]*)</script>', text)[1]
    tensors = load(gzip.decompress(base64.b64decode(packed)))
    assert shown.model["engine"] == json.loads(inside)["engine"] == "plain"
    used = {name for g in json.loads(inside)["plan"].values() for node in g["nodes"] for name in node["in"]}
    assert {name for name in used if name.startswith("weights.")} == {n for n in tensors if n.startswith("weights.")}
    assert 'id="wasm"' not in text


def test_in_a_browser(pictures: Any, tmp_path: Path, page: Any) -> None:
    """The page's graphs give what the model gives."""
    model, data = pictures
    model.save(tmp_path / "run")
    shown = write_html(tmp_path / "run", vk.load(tmp_path / "run"), tmp_path / "play.html", data)
    requests: list[str] = []
    page.on("request", lambda r: requests.append(r.url))
    page.goto((tmp_path / "play.html").as_uri())
    page.wait_for_function("window.explorer")
    z = np.random.default_rng(0).normal(size=(2, 3)).round(3)
    found = page.evaluate(
        """async (codes) => {
            const graphs = explorer.graphs, y = {label: Int32Array.of(1)}, z = codes.map((code) => Float32Array.from(code));
            const { x } = await graphs.decode(z, y), own = explorer.rows[0];
            const [code] = await graphs.encode([own], null, y), [score] = await graphs.score([own], null, y);
            return { x: x.map((row) => [...row]), code: [...code], score, sample: [...(await graphs.sample(1, y, 1, 1))[0]] };
        }""",
        z.tolist(),
    )
    label, row = torch.ones(1, dtype=torch.int32), torch.from_numpy(shown.tensors["shown.x"][:1])
    given = {"x": row, "mask": torch.ones(row.shape, dtype=torch.bool), "y.label": label}
    with torch.no_grad():
        x = shown.graphs["decoder"]({"z": torch.tensor(z).float(), "y.label": label.expand(2)})["x"]
        assert np.allclose(found["x"], x.flatten(1), atol=1e-4)
        assert np.allclose(found["code"], shown.graphs["encoder"](given)["z"][0], atol=1e-4)
        assert np.allclose(found["score"], shown.graphs["score"](given)["score"][0], rtol=1e-3)
    assert np.isfinite(found["sample"]).all()
    assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)


def test_a_table_is_drawn_in_a_browser(tmp_path: Path, page: Any) -> None:
    """By the page's own engine, as by PyTorch."""
    table = people(120, 0)
    model = vk.VAE(**TINY).fit(table)
    data = dataset(model.kind_.take(table))
    model.save(tmp_path / "run")
    shown = write_html(tmp_path / "run", vk.load(tmp_path / "run"), tmp_path / "play.html", data)
    assert shown.model["engine"] == "plain"
    rng = np.random.default_rng(0)
    width = shown.model["graphs"]["draw"]["inputs"]["noise"]["shape"][1]
    given = {"z": rng.normal(size=(4, model.latent_dim)), "noise": rng.normal(size=(4, width))}
    page.goto((tmp_path / "play.html").as_uri())
    page.wait_for_function("window.explorer")
    found = page.evaluate(
        """async (given) => {
            const inputs = Object.entries(given).map(([name, rows]) => [name, { data: Float32Array.from(rows.flat()), shape: [rows.length, rows[0].length] }]);
            const { x } = await explorer.engine.run("draw", Object.fromEntries(inputs));
            return [...x.data];
        }""",
        {name: values.tolist() for name, values in given.items()},
    )
    with torch.no_grad():
        x = shown.graphs["draw"]({name: torch.tensor(values).float() for name, values in given.items()})["x"]
    assert np.allclose(np.reshape(found, x.shape), x, atol=1e-4)


def test_weights_that_graphs_share_are_kept_once() -> None:
    from onnx import TensorProto, helper, numpy_helper

    def proto(shift: float) -> Any:
        kept = [numpy_helper.from_array(np.eye(3), "w"), numpy_helper.from_array(np.array([2**62, 1]), "ends")]
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["a"]),
            helper.make_node("Constant", [], ["c"], value_float=shift),
            helper.make_node("Cast", ["a"], ["b"], to=TensorProto.FLOAT),
            helper.make_node("Slice", ["b", "ends"], ["y"]),
        ]
        end = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3]) for name in "xy"]
        return helper.make_model(helper.make_graph(nodes, "g", end[:1], end[1:], kept))

    plan = Plan({"one": proto(1.0), "two": proto(2.0)})
    assert {name: (str(v.dtype), v.shape) for name, v in plan.weights.items()} == {
        "weights.0": ("float32", (3, 3)), "weights.1": ("int32", (2,)),
    }  # fmt: skip
    assert plan.weights["weights.1"].tolist() == [2**31 - 1, 1]
    one = plan.graphs["one"]["nodes"]
    assert one[0] == {"op": "MatMul", "in": ["x", "weights.0"], "out": ["a"], "attrs": {}}
    assert one[1]["attrs"] == {"value": [1.0], "dtype": "f32", "shape": []}
    assert one[2]["attrs"] == {"to": 1}
    assert plan.graphs["two"]["inputs"] == ["x"]


def test_files_in_pieces_are_whole() -> None:
    from onnx import helper, numpy_helper

    shared, own = (np.random.default_rng(i).normal(size=2000).astype(np.float32) for i in range(2))
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(shared))], "loop", [], []
    )

    def proto(*kept: np.ndarray) -> Any:
        tensors = [numpy_helper.from_array(values, f"w{i}") for i, values in enumerate(kept)]
        return helper.make_model(
            helper.make_graph([helper.make_node("Loop", [], ["y"], body=inner)], "g", [], [], tensors)
        )

    protos = {"one": proto(shared, own, shared), "two": proto(own)}
    pieces = Pieces(protos)
    for name, expected in protos.items():
        whole = b"".join(pieces.tensors[piece].tobytes() for piece in pieces.of[name])
        assert whole == expected.SerializeToString()
    assert sum(values.nbytes for values in pieces.tensors.values()) < 2 * shared.nbytes + 2000
    assert {v.dtype.name for v in Pieces(protos, half=True).tensors.values()} == {"uint8", "float16"}


def test_mistakes(pictures: Any, tmp_path: Path) -> None:
    pictures[0].save(tmp_path / "run")
    assert "has to end in .html" in fails("export", tmp_path / "run", "--html", "-o", tmp_path / "a")
    assert "--k is for" in fails("export", tmp_path / "run", "--html", "-o", tmp_path / "a.html", "--k", 5)
    assert "does not know its source" in fails("explore", tmp_path / "run", "--no-browser")


def test_a_page_that_would_be_too_large(pictures: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from onnx import helper

    from vaekit.deploy.explorer import html

    model, data = pictures
    model.save(tmp_path / "run")
    monkeypatch.setattr(html, "LARGEST", 1000)
    linear = helper.make_graph([helper.make_node("Identity", ["z"], ["x"])], "g", [], [])
    monkeypatch.setattr(html, "exported", lambda *given: (helper.make_model(linear).SerializeToString(), {}))
    assert "use `vaekit explore" in mistake(write_html, tmp_path / "run", model, tmp_path / "a.html", data)
    assert not (tmp_path / "a.html").exists()


def test_a_weight_that_16_bits_cannot_hold_keeps_its_32():
    from onnx import helper, numpy_helper

    small, large = np.full(2000, 1.5, np.float32), np.full(2000, 1e6, np.float32)
    weights = [numpy_helper.from_array(values, name) for name, values in (("small", small), ("large", large))]
    graph = helper.make_graph([], "graph", [], [], initializer=weights)
    pieces = Pieces({"decoder": helper.make_model(graph)}, half=True)
    found = {t.dtype.str: t for t in pieces.tensors.values() if t.dtype.kind == "f"}
    assert (found["<f2"] == small).all()
    assert (found["<f4"] == large).all()
