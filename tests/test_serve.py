"""Models as a service: what it answers is what the models say."""

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
import tritonclient.http as triton
from PIL import Image

from serving import Service, exported_models
from vaekit.runtime import load

RNG = np.random.default_rng(0)
NPY, ARROW = "application/x-npy", "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return exported_models(tmp_path_factory)


@pytest.fixture(scope="module")
def service(place):
    with Service(*(place / name for name in ("pictures", "table", "robot"))) as service:
        yield service


@pytest.fixture(scope="module")
def pictures(place):
    return load(place / "pictures"), np.load(place / "x.npy")


def test_what_it_answers_is_what_the_model_says(service, pictures):
    model, X = pictures
    y, path = {"y": [0, 1, 2]}, "/models/pictures/"
    rows = X[:3].tolist()
    z = np.array(service.json(path + "encode", {"rows": rows, "y": y})["z"])
    np.testing.assert_allclose(z, model.encode(X[:3], [0, 1, 2]), rtol=1e-5, atol=1e-6)
    assert service.json(path + "decode", {"z": z.tolist(), "y": y})["rows"] == model.decode(z, [0, 1, 2]).tolist()
    assert service.json(path + "reconstruct", {"rows": rows})["rows"] == model.reconstruct(X[:3]).tolist()
    found = service.json(path + "score", {"rows": rows, "y": y})
    np.testing.assert_allclose(found["scores"], model.score(X[:3], [0, 1, 2]), rtol=1e-5)
    np.testing.assert_allclose(found["p_values"], model.p_values(X[:3], [0, 1, 2]), atol=0.05)
    new = service.json(path + "sample", {"n": 4, "y": {"y": [0, 1, None, 2]}, "seed": 5, "temperature": 0.5})["rows"]
    assert new == model.sample(4, [0, 1, None, 2], seed=5, temperature=0.5).tolist()
    way = service.json(path + "interpolate", {"rows": rows[:2], "steps": 5})["rows"]
    assert way == model.interpolate(X[:2], steps=5).tolist()
    about = service.json("/models/pictures")
    assert about["conditions"][0]["classes"] == [0, 1, 2]
    assert "act" in service.json("/models")["robot"]


def test_tables(service, place):
    model = load(place / "table")
    rows = [{"size": 1.5, "word": "a"}, {"size": None, "word": "b"}, {"size": 2, "word": None}]
    frame = {"size": [1.5, np.nan, 2], "word": ["a", "b", None]}
    np.testing.assert_allclose(
        service.json("/models/table/encode", {"rows": rows})["z"], model.encode(frame), rtol=1e-5, atol=1e-6
    )
    filled = service.json("/models/table/impute", {"rows": rows})["rows"]
    assert filled[0] == rows[0]
    assert [row["size"] for row in filled] == pytest.approx(model.impute(frame)["size"])
    assert filled[2]["word"] in ("a", "b")
    draws = service.json("/models/table/impute", {"rows": rows, "draws": 2})["draws"]
    assert [len(each) for each in draws] == [3, 3]
    new = service.json("/models/table/sample", {"n": 30})["rows"]
    assert {row["word"] for row in new} <= {"a", "b", None}
    odd = service.json("/models/table/encode", {"rows": [{"size": 1, "word": "new"}]})
    assert "classes that training never saw" in odd["notes"][0]
    assert "p_values" not in service.json(
        "/models/table/score", {"rows": rows}
    )  # it has no normal rows to compare with


def test_a_robot_has_its_episode(service, place):
    policy = load(place / "robot").policy
    inputs = {name: RNG.normal(size=(20, *one.shape)).astype(np.float32) for name, one in policy.inputs.items()}
    for step in range(12):  # more than a chunk
        seen = {name: values[step] for name, values in inputs.items()}
        asked = {"observation": {name: v.tolist() for name, v in seen.items()}, "begins": step == 0, "seed": 3}
        found = [service.json("/models/robot/act", {**asked, "episode": name})["action"] for name in "ab"]
        if step == 0:
            policy.reset(3)
        expected = policy.act(seen)
        for action in found:
            np.testing.assert_allclose(action, expected, rtol=1e-5, atol=1e-6)


def test_files_as_bodies(service, pictures, place):
    model, X = pictures
    buffer = io.BytesIO()
    np.save(buffer, X[:2])
    path = "/models/pictures/"
    _, headers, data = service.ask(path + 'encode?y={"y":[0,1]}', buffer.getvalue(), content_type=NPY, accept=NPY)
    assert headers["content-type"] == NPY
    np.testing.assert_allclose(np.load(io.BytesIO(data)), model.encode(X[:2], [0, 1]), rtol=1e-5, atol=1e-6)
    png = io.BytesIO()
    Image.fromarray(X[0]).save(png, "PNG")
    status, _, data = service.ask(path + "reconstruct", png.getvalue(), content_type="image/png", accept="image/png")
    assert status == 200
    low, high = model.tasks.form.black, model.tasks.form.white
    shown = np.asarray(Image.open(io.BytesIO(data))) / 255 * (high - low) + low
    assert np.abs(shown - model.reconstruct(X[:1])[0]).max() <= 1
    table = pa.table({"size": [1.0, None], "word": ["a", None]})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    status, _, data = service.ask("/models/table/impute", sink.getvalue(), content_type=ARROW, accept=ARROW)
    assert status == 200, data
    filled = pa.ipc.open_stream(data).read_all()
    assert filled["size"][0].as_py() == 1.0
    assert filled["word"].null_count == 0


def test_many_at_once_get_what_one_gets(service, pictures):
    model, _ = pictures

    def one(seed):
        return service.json("/models/pictures/sample", {"n": 1 + seed % 3, "y": {"y": seed % 3}, "seed": seed})["rows"]

    before = service.figure("vaekit_batch_requests_count")
    with ThreadPoolExecutor(24) as pool:
        found = list(pool.map(one, range(120)))
    for seed, rows in enumerate(found):
        expected = model.sample(1 + seed % 3, seed % 3, seed=seed)
        assert np.abs(np.array(rows) - expected.astype(int)).max() <= 1  # the rounding of a product of another size
    assert service.figure("vaekit_batch_requests_count") - before < 240  # two graphs each, of which some went together


def test_another_protocol_by_its_own_client(service, pictures, place):
    model, X = pictures
    client = triton.InferenceServerClient(f"127.0.0.1:{service.port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("pictures-encode")
    assert client.get_model_metadata("pictures-encode")["inputs"][0] == {
        "name": "rows", "datatype": "FP64", "shape": [-1, 6, 6],
    }  # fmt: skip
    rows, y = triton.InferInput("rows", [3, 6, 6], "UINT8"), triton.InferInput("y.y", [3], "INT64")
    y.set_data_from_numpy(np.array([0, 1, 2]))
    for binary in (True, False):
        rows.set_data_from_numpy(X[:3], binary_data=binary)
        wanted = [triton.InferRequestedOutput("z", binary_data=binary)]
        found = client.infer("pictures-encode", [rows, y], outputs=wanted, request_id="7")
        np.testing.assert_allclose(found.as_numpy("z"), model.encode(X[:3], [0, 1, 2]), rtol=1e-5, atol=1e-6)
        assert found.get_response()["id"] == "7"
    n = triton.InferInput("n", [1], "INT64")
    n.set_data_from_numpy(np.array([5]))
    assert client.infer("pictures-sample", [n]).as_numpy("rows").shape == (5, 6, 6)
    size, word = triton.InferInput("rows.size", [2], "FP64"), triton.InferInput("rows.word", [2], "BYTES")
    size.set_data_from_numpy(np.array([1.0, np.nan]))
    word.set_data_from_numpy(np.array(["a", "b"], dtype=object))
    found = client.infer("table-impute", [size, word])
    assert found.as_numpy("rows.size")[0] == 1.0
    assert found.as_numpy("rows.word").tolist() == [b"a", b"b"]
    policy = load(place / "robot").policy
    seen = []
    for name, one in policy.inputs.items():
        seen.append(triton.InferInput(f"observation.{name}", list(one.shape), "FP32"))
        seen[-1].set_data_from_numpy(np.zeros(one.shape, np.float32))
    assert client.infer("robot-act", seen).as_numpy("action").shape == (2,)
    for given, said in ((("pictures-x", [rows]), "did you mean"), (("pictures-encode", [y]), "'rows' is missing")):
        with pytest.raises(triton.InferenceServerException, match=said):
            client.infer(*given)


def test_it_says_how_odd_what_comes_in_is(service, pictures):
    _, X = pictures
    for _ in range(3):
        service.json("/models/pictures/score", {"rows": X.tolist(), "y": {"y": 0}})
    noise = RNG.choice([0, 255], (60, 6, 6)).tolist()
    usual = service.figure("vaekit_odd_share")
    for _ in range(20):
        service.json("/models/pictures/score", {"rows": noise, "y": {"y": 0}})
    assert usual < 0.5 < service.figure("vaekit_odd_share")
    time.sleep(1.5)
    rated = service.figure("vaekit_rated_rows_total")
    service.json("/models/pictures/encode", {"rows": X.tolist(), "y": {"y": 0}})
    time.sleep(1.5)  # other requests are looked at a second later
    assert service.figure("vaekit_rated_rows_total") == rated + 60


@pytest.mark.parametrize(("path", "body", "headers", "status", "said"), [
    ("pictures/encode", {"rows": [[[1, 2]]]}, {}, 422, "rows[0]"),
    ("pictures/encode", {"rows": []}, {}, 422, "rows: "),
    ("pictures/encode", {}, {}, 422, '"rows" is a required property'),
    ("pictures/encode", {"rows": [[["a"] * 6] * 6]}, {}, 422, 'is not of type'),
    ("pictures/encode", {"rows": [[[1e300] * 6] * 6]}, {}, 422, "greater than the maximum"),
    ("pictures/encode", {"rows": [[[1] * 6] * 6], "extra": 1}, {}, 422, "extra"),
    ("pictures/encode", {"rows": [[[1] * 6] * 6], "y": {"y": 9}}, {}, 422, "y.y: 9"),
    ("pictures/encode", {"rows": [[[1] * 6] * 6] * 2, "y": {"y": [1, 2, 0]}}, {}, 422, "3 values for 2 rows"),
    ("pictures/score", {"rows": [[[1] * 6] * 6]}, {}, 422, '"y" is a required property'),
    ("pictures/decode", {"z": [[1e9, 0]]}, {}, 422, "maximum"),
    ("pictures/decode", b'{"z": [[NaN, 0]]}', {"content_type": "application/json"}, 400, "not JSON"),
    ("pictures/decode", b"{", {"content_type": "application/json"}, 400, "not JSON"),
    ("pictures/decode", b"[" * 100_000, {"content_type": "application/json"}, 400, "not JSON"),
    ("pictures/decode", b"x", {"content_type": "text/html"}, 415, "decode reads application/json or application/x-npy"),
    ("pictures/encode", b"x", {"content_type": NPY}, 422, "not a .npy file"),
    ("pictures/encode", b"\x89PNG\r\n\x1a\n...", {"content_type": "image/png"}, 422, "not a PNG"),
    ("pictures/encode?y={", b"x", {"content_type": NPY}, 422, "a parameter is not JSON"),
    ("table/impute", b"x", {"content_type": ARROW}, 422, "not an Arrow stream"),
    ("pictures/encode", {"rows": [[[1] * 6] * 6]}, {"accept": "text/html"}, 406, "ask for application/json or application/x-npy"),
    ("table/impute", {"rows": [{"size": 1, "word": "a"}], "draws": 2}, {"accept": ARROW}, 406, "several draws"),
    ("pictures/sample", {"n": 10**9}, {}, 422, "n: "),
    ("picture/encode", {}, {}, 404, "there is no model 'picture'; did you mean 'pictures'?"),
    ("pictures/encod", {}, {}, 404, "no operation 'encod'; did you mean 'encode'?"),
    ("..%2f..%2fetc%2fpasswd/encode", {}, {}, 404, "there is no model"),
    ("robot/act", {"observation": {}}, {}, 422, "observation: "),
])  # fmt: skip
def test_what_does_not_fit_is_told(service, path, body, headers, status, said):
    found, _, data = service.ask(f"/models/{path}", body, **headers)
    assert (found, said in json.loads(data)["detail"]) == (status, True), data
    assert service.ask("/ready")[0] == 200


def test_an_array_of_objects_is_no_way_in(service):
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    status, _, data = service.ask("/models/pictures/encode", buffer.getvalue(), content_type=NPY)
    assert (status, b"not a .npy file of numbers" in data) == (422, True)


@pytest.mark.parametrize(("message", "said"), [
    ({"inputs": [{"name": "rows"}]}, "it lacks 'datatype'"), ({"inputs": 3}, "a list of inputs"), ([], "a list of inputs"),
    ({"inputs": [{"name": "rows", "shape": [1], "datatype": "FP99", "data": [1]}]}, "FP99"),
    ({"inputs": [{"name": "rows", "shape": [2], "datatype": "FP32", "data": [1]}]}, "do not fill the shape"),
    ({"inputs": [{"name": "rows", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 9}}]}, "fewer bytes"),
    ({"inputs": [{"name": "row", "shape": [1], "datatype": "FP32", "data": [1]}]}, "did you mean 'rows'"),
    ({"inputs": [{"name": "rows", "shape": [1], "datatype": "FP32", "data": [1]}]}, "got the shape (1,)"),
    ({"inputs": [], "outputs": 1}, "a list"),
])  # fmt: skip
def test_tensors_that_do_not_fit_are_told(service, message, said):
    status, _, data = service.ask("/v2/models/pictures-encode/infer", message)
    assert status in (400, 422)
    assert said in json.loads(data)["error"]
