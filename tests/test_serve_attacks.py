"""Models as a service: bodies and clients that mean harm. Each was a fault once."""

import contextlib
import io
import json
import signal
import socket
import threading
import time
import wave

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from serving import Service, exported_models

NPY, ARROW = "application/x-npy", "application/vnd.apache.arrow.stream"
ENCODE, DECODE = "/models/pictures/encode", "/models/pictures/decode"
CODES = {"z": [[0.1, -0.2]]}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return exported_models(tmp_path_factory)


@pytest.fixture(scope="module")
def service(place):
    with Service(place / "pictures", place / "table", patience=1.5) as service:
        yield service


def npy(header):
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def archive():
    file = io.BytesIO()
    np.savez_compressed(file, a=np.zeros((1000, 1000)))
    return file.getvalue()


def arrow(table, **options):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue()


NULLS = pa.table({"size": pa.nulls(2_000_000), "word": pa.nulls(2_000_000)})
TWICE = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["size", "size"])
ZEROS = pa.table({"size": np.zeros(100_000)})


@pytest.mark.parametrize(
    ("path", "body", "kind", "said"),
    [
        (ENCODE, archive(), NPY, "not a .npy file"),
        (ENCODE, npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"), NPY, "not a .npy file"),
        (ENCODE, npy("{'descr': '<f8', 'fortran_order': False, 'shape': " + "(" * 60), NPY, "not a .npy file"),
        ("/models/table/impute", arrow(NULLS), ARROW, "too many rows"),
        ("/models/table/impute", arrow(ZEROS, compression="zstd"), ARROW, "compressed"),
        ("/models/table/impute", arrow(TWICE), ARROW, "two columns of one name"),
        (ENCODE + '?y={"y":"\\ud800"}', b"", NPY, "a parameter is not JSON"),
        (ENCODE + "?y={}&y={}", b"", NPY, "given twice"),
        (DECODE, npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }") + b"\x7f" * 16, NPY, "lie between"),
    ],
)
def test_files_that_are_not_what_they_seem(service, path, body, kind, said):
    begin = time.monotonic()
    status, _, data = service.ask(path, body, method="POST", content_type=kind)
    assert (status, said in json.loads(data)["detail"]) == (422, True), data
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("rows", [[0.1] * 1_500_000, [[]] * 1_000_000, [[[1] * 6] * 6] * 60_000])
def test_a_large_body_that_does_not_fit_is_refused_at_once(service, rows):
    begin = time.monotonic()
    status, _, data = service.ask(ENCODE, {"rows": rows})
    assert status == 422
    assert len(data) < 1000
    assert time.monotonic() - begin < 10


def test_a_compressed_body_is_refused(service):
    status, *_ = service.ask(DECODE, b"x", content_type="application/json", content_encoding="gzip")
    assert status == 415


@pytest.mark.parametrize("more", [
    {"inputs": [{"name": "rows", "shape": [1], "datatype": "FP32", "data": [1], "parameters": "x"}]},
    {"inputs": [{"name": "rows", "shape": [1.5], "datatype": "FP32", "data": [1]}]},
    {"inputs": [{"name": "y.y", "shape": [1], "datatype": "INT64", "data": [1.5]}]},
    {"inputs": [{"name": "rows", "shape": [1], "datatype": "FP32", "data": [1]}] * 2},
    {"inputs": [], "outputs": [{"name": "z", "parameters": 3}]}, {"inputs": [], "outputs": [3]},
    {"parameters": {"rows": [[1], [1, 2]]}}, {"parameters": {"y": 3}}, {"inputs": [3]}, {"inputs": [{"name": "rows", "shape": [1], "datatype": [], "data": [1]}]},
])  # fmt: skip
def test_messages_that_no_client_would_send(service, more):
    status, _, data = service.ask("/v2/models/pictures-encode/infer", {"inputs": [], **more})
    assert status in (400, 422), data


def test_lengths_that_no_number_can_hold(service):
    for length in ("9" * 5000, "-1", "1e3", "²"):
        status, *_ = service.ask("/v2/models/pictures-encode/infer", b"{}", inference_header_content_length=length)
        assert status == 400
    deep = (
        b'{"inputs": [{"name": "rows", "shape": [1], "datatype": "FP32", "data": '
        + b"[" * 900
        + b"1"
        + b"]" * 900
        + b"}]}"
    )
    assert service.ask("/v2/models/pictures-encode/infer", deep)[0] in (400, 422)


def test_a_picture_of_16_bits_is_the_same_picture(service):
    shades = np.random.default_rng(0).integers(0, 256, (6, 6))
    found = []
    for image in (Image.fromarray(shades.astype(np.uint8)), Image.fromarray((shades * 257).astype(np.uint16))):
        file = io.BytesIO()
        image.save(file, "PNG")
        found.append(json.loads(service.ask(ENCODE, file.getvalue(), content_type="image/png")[2])["z"])
    assert found[0] == found[1]


def test_sound_that_is_cut(tmp_path):
    from vaekit.errors import UserError
    from vaekit.serve.media import read_wav

    class Form:
        rate = 8000

    file = io.BytesIO()
    with wave.open(file, "wb") as w:
        w.setparams((2, 2, 8000, 0, "NONE", ""))
        w.writeframes(b"\0" * 400)
    whole = file.getvalue()
    assert read_wav(whole, Form()).shape == (1, 100, 2)
    for cut in range(len(whole) - 4):
        with contextlib.suppress(UserError):  # and nothing else
            read_wav(whole[:cut], Form())
            read_wav(whole[:cut] + b"\xff" * 4 + whole[cut + 4 :], Form())


def closed(connection, within):
    """Whether the other side closes the connection in time."""
    connection.settimeout(within)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def test_a_head_has_an_end(service):
    with socket.create_connection(("127.0.0.1", service.port)) as c:
        c.sendall(b"POST / HTTP/1.1\r\n")
        with contextlib.suppress(OSError):
            for i in range(2000):
                c.sendall(f"x{i}: {'y' * 1000}\r\n".encode())
        assert closed(c, 5)
    with socket.create_connection(("127.0.0.1", service.port)) as c:  # empty lines before the next one
        c.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"alive" in c.recv(65536)
        c.sendall(b"\r\n")
        assert closed(c, 5)


def test_who_does_not_read_is_let_go(service):
    with socket.socket() as c:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.connect(("127.0.0.1", service.port))
        body = json.dumps({"n": 10_000}).encode()
        head = f"POST /models/table/sample HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        for _ in range(20):
            c.sendall(head.encode() + b"\r\n" + body)
        time.sleep(5)
        assert closed(c, 5)
    assert service.ask(DECODE, CODES)[0] == 200


def test_a_small_request_is_not_behind_all_large_ones(place):
    with Service(place / "pictures") as service:
        rows = np.zeros((10_000, 6, 6), np.uint8)
        file = io.BytesIO()
        np.save(file, rows)
        large = [
            threading.Thread(
                target=service.ask,
                args=('/models/pictures/score?y={"y":0}', file.getvalue()),
                kwargs={"content_type": NPY},
            )
            for _ in range(24)
        ]
        begin = time.monotonic()
        for each in large:
            each.start()
        time.sleep(0.3)
        took = []
        while any(each.is_alive() for each in large):
            start = time.monotonic()
            assert service.ask(DECODE, CODES)[0] == 200
            took.append(time.monotonic() - start)
        whole = time.monotonic() - begin
        assert max(took) < max(1.0, whole / 4)


def test_a_terminal_that_goes_away_ends_it_in_good_order(place):
    with Service(place / "pictures", "--drain", 0) as service:
        assert service.end(signal.SIGHUP) == 0
        assert "served all that had come in\n" in service.said


def test_every_address_of_this_machine_is_its_own(place):
    with (
        Service(place / "pictures", "--host", "127.0.0.2") as service,
        socket.create_connection(("127.0.0.2", service.port)) as c,
    ):
        c.sendall(f"GET /models HTTP/1.1\r\nHost: 127.0.0.2:{service.port}\r\nConnection: close\r\n\r\n".encode())
        assert b"200 OK" in c.recv(65536)
