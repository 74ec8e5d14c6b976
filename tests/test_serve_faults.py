"""Models as a service: bad clients, bad bodies, and the end."""

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from serving import Service, exported_models
from vaekit.errors import UserError
from vaekit.serve.batcher import Batcher
from vaekit.serve.guard import read_tokens

TOKEN = "a-token-that-is-long-enough"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return exported_models(tmp_path_factory)


@pytest.fixture(scope="module")
def codes():
    return {"z": [[0.1, -0.2]]}


def request(path, *headers):
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


DECODE = "/models/pictures/decode"


def reply(connection):
    """What comes back until the connection is closed."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_bodies_without_end(place, codes):
    with Service(place / "pictures", "--deadline", 1, "--body", 1) as service:
        address = ("127.0.0.1", service.port)
        with socket.create_connection(address) as c:  # it says that it is large
            c.sendall(request(DECODE, "Content-Type: application/json", "Content-Length: 10000000000"))
            assert b" 413 " in reply(c)
        with socket.create_connection(address) as c:  # it does not say how large it is
            c.sendall(request(DECODE, "Content-Type: application/json", "Transfer-Encoding: chunked"))
            with contextlib.suppress(OSError):
                for _ in range(1000):
                    c.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            assert b" 413 " in reply(c)
        with socket.create_connection(address) as c:  # it comes slowly
            c.sendall(request(DECODE, "Content-Type: application/json", "Content-Length: 100"))
            begin = time.monotonic()
            assert b" 503 " in reply(c)
            assert time.monotonic() - begin < 3
        with socket.create_connection(address) as c:  # it breaks off
            c.sendall(request(DECODE, "Content-Type: application/json", "Content-Length: 100") + b'{"z"')
        assert len(service.json(DECODE, codes)["rows"]) == 1


def test_many_large_bodies_at_once(place, codes):
    """All that is held of bodies is bounded, and is free again when a client goes away."""
    with Service(place / "pictures", "--body", 1) as service:
        for _ in range(3):
            large = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(12)]
            for each in large:
                each.sendall(
                    request(DECODE, "Content-Type: application/json", "Content-Length: 1000000") + b" " * 900_000
                )
            time.sleep(0.5)
            assert service.ask(DECODE, codes)[0] == 200
            for each in large:
                each.setblocking(False)
            refused = 0
            for each in large:
                with contextlib.suppress(BlockingIOError):
                    refused += b" 429 " in each.recv(1000)
            assert refused == 3  # nine are less than eight times 1 MiB
            for each in large:
                each.close()
            time.sleep(0.3)


def test_a_thousand_slow_clients(place, codes):
    with Service(place / "pictures", patience=1.5) as service:
        slow = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(1000)]
        for each in slow:
            each.sendall(b"POST /models/pictures/decode HTTP/1.1\r\nHost: loc")
        begin = time.monotonic()
        for _ in range(20):
            assert len(service.json(DECODE, codes)["rows"]) == 1
        assert time.monotonic() - begin < 5
        for each in slow:
            each.settimeout(10)
            assert reply(each) == b""  # it was closed
            each.close()


def test_no_room_to_wait_and_no_time(place, codes):
    large = {"n": 10_000}
    with Service(place / "pictures", "--waiting", 2) as service:
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(service.ask("/models/pictures/sample", large)))
            for _ in range(12)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        statuses = {status for status, *_ in found}
        assert statuses == {200, 429}
        assert all(headers["retry-after"] == "1" for status, headers, _ in found if status == 429)
        assert len(service.json(DECODE, codes)["rows"]) == 1
    with Service(place / "pictures", "--deadline", 0.02) as service:
        status, _, data = service.ask("/models/pictures/sample", large)
        assert (status, json.loads(data)["detail"]) == (503, "no answer within 0.02 seconds")
        for _ in range(100):  # what was asked for goes on in its thread, to the end
            if service.figure("vaekit_under_way") == 0:
                break
            time.sleep(0.1)
        assert service.figure("vaekit_under_way") == 0


@pytest.mark.parametrize("clients", [16])
def test_no_request_is_lost_at_the_end(place, codes, clients):
    body = json.dumps(codes)
    answered, lost, refused = [], [], []
    with Service(place / "pictures", "--drain", 1) as service:

        def ask():
            connection = None
            while True:
                try:
                    if connection is None:
                        connection = service.connect()
                        connection.connect()
                except OSError:
                    refused.append(1)  # it no longer takes connections: nothing was sent
                    return
                try:
                    connection.request("POST", DECODE, body, {"content-type": "application/json"})
                    answer = connection.getresponse()
                    assert answer.read()
                    answered.append(answer.status)
                    if answer.getheader("connection") == "close":
                        connection = None
                except (OSError, http.client.HTTPException) as e:
                    lost.append(e)
                    return

        threads = [threading.Thread(target=ask) for _ in range(clients)]
        for each in threads:
            each.start()
        time.sleep(1)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        status, *_ = service.ask("/ready")
        assert status == 503
        for each in threads:
            each.join(20)
        assert service.process.wait(20) == 0
    assert lost == []
    assert len(refused) == clients
    assert set(answered) == {200}


def test_ctrl_c_ends_it_at_once(place):
    with Service(place / "pictures") as service:
        begin = time.monotonic()
        assert service.end(signal.SIGINT) == 0
        assert time.monotonic() - begin < 3
        assert "served all that had come in\n" in service.said


def test_tokens(place, tmp_path, codes):
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN}\nanother-token-for-a-change\n")
    file.chmod(0o600)
    with Service(place / "pictures", "--host", "0.0.0.0", "--token-file", file) as service:
        for headers in (
            {},
            {"authorization": TOKEN},
            {"authorization": f"Bearer {TOKEN}x"},
            {"authorization": f"Basic {TOKEN}"},
        ):
            for path in (DECODE, "/metrics", "/openapi.json", "/nothing", "/v2/models/pictures-decode/infer"):
                status, found, data = service.ask(path, codes if path == DECODE else None, **headers)
                assert (status, found["www-authenticate"], TOKEN.encode() in data) == (401, "Bearer", False)
        for token in (TOKEN, "another-token-for-a-change"):
            assert service.json(DECODE, codes, authorization=f"Bearer {token}")["rows"]
        assert service.ask("/health")[0] == service.ask("/ready")[0] == service.ask("/v2/health/live")[0] == 200
        service.ask(DECODE, b"{", content_type="application/json", authorization=f"Bearer {TOKEN}")
        assert service.end() == 0
        assert TOKEN not in "".join(service.said)


def test_without_a_token_only_this_machine_may_ask(place, codes):
    with Service(place / "pictures") as service:
        for host in (
            "evil.example",
            f"evil.example:{service.port}",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
        ):
            assert service.ask(DECODE, codes, host=host)[0] == 403
        for host in ("localhost", f"localhost:{service.port}", "127.0.0.1", "[::1]:80"):
            assert service.ask(DECODE, codes, host=host)[0] == 200


def test_a_file_without_a_good_token(tmp_path):
    file = tmp_path / "tokens"
    with pytest.raises(UserError, match=r"cannot read the tokens in .*: No such file"):
        read_tokens(file)
    for text in ("", "\n \n", "short"):
        file.write_text(text)
        with pytest.raises(UserError, match="openssl rand -hex 32") as told:
            read_tokens(file)
        assert "short" not in str(told.value)


def started(*arguments):
    """The one line of an error at the start."""
    ran = subprocess.run(
        [sys.executable, "-m", "vaekit", "serve", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 2, ran.stderr
    return ran.stderr.splitlines()[-1]


def test_what_cannot_be_served_is_told(place, tmp_path):
    good = place / "pictures"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        said = started(good, "--port", other.getsockname()[1])
        assert re.search(
            r"port \d+ of 127.0.0.1 cannot be had \(Address already in use\): choose another with --port", said
        )
    assert "does not exist: give a run directory, or a folder of `vaekit export`" in started(
        tmp_path / "none", "--port", 0
    )
    assert "others can reach 0.0.0.0: ask for a token" in started(good, "--host", "0.0.0.0")
    (tmp_path / "pictures").symlink_to(good)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "table").symlink_to(place / "table")
    assert "two models have the name 'table'" in started(place / "table", place / "table", "--port", 0)
    (tmp_path / "empty").mkdir()
    assert "is not a run directory" in started(tmp_path / "empty", "--port", 0)


def test_one_task_that_fails_takes_no_other_with_it(place):
    """A graph that fails for all together is run for each."""
    import asyncio

    from vaekit.runtime.folder import Folder
    from vaekit.runtime.tasks import Tasks

    folder = Folder(place / "pictures")
    tasks = Tasks(folder)

    def wrong():
        yield "decoder", {"z": np.zeros((1, 2), np.float32), "y.y": np.zeros(9, np.int32)}

    def broken():
        yield from tasks.decode([[0.0, 0.0]], 0)
        raise UserError("this one")

    async def all_of_them():
        batcher = Batcher(folder)
        each = [tasks.decode([[i, 1.0]], i % 3) for i in range(6)]
        each[3:3] = [wrong(), broken(), tasks.decode([[0.0]], 0)]
        found = await asyncio.gather(*(batcher.do(task) for task in each), return_exceptions=True)
        assert batcher.under_way == 0
        batcher.close()
        return found

    found = asyncio.run(all_of_them())
    for i, (rows, notes) in enumerate(found[:3] + found[6:]):
        alone = asyncio.run(finished(folder, tasks.decode([[i, 1.0]], i % 3)))
        assert np.abs(rows.astype(int) - alone.astype(int)).max() <= 1
        assert notes == []
    assert all(isinstance(e, Exception) for e in found[3:6])
    assert [str(e) for e in found[4:6]] == ["this one", "latent codes have shape (N, 2), N at least 1, got (1, 1)"]


async def finished(folder, task):
    batcher = Batcher(folder)
    value, _ = await batcher.do(task)
    batcher.close()
    return value
