"""The explorer's page with Python behind it, on this machine alone.

    GET  /              the page
    GET  /model.json    what it shows, see `scene.py`
    GET  /tensors       its tensors, a safetensors file
    POST /graphs/NAME   inputs of a graph as a safetensors file -> its outputs, the same way; 400 and a line of text on an error

Only 127.0.0.1 listens, and a request has to name it: other pages in the same browser can neither read nor ask for anything.
"""

from __future__ import annotations

import gzip
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import save
from safetensors.torch import load as load_tensors

from vaekit.deploy.explorer.page import page, policy
from vaekit.deploy.explorer.scene import Scene
from vaekit.deploy.graphs import Graph
from vaekit.errors import UserError

HOST = "127.0.0.1"
LARGEST = 64 << 20  # bytes of a request
BYTES, TEXT = "application/octet-stream", "text/plain; charset=utf-8"
DTYPES = {"f32": torch.float32, "i32": torch.int32, "bool": torch.bool, "u8": torch.uint8}
HEADERS = {
    "Content-Security-Policy": f"{policy()}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # another run may be served at this address next
}


class Refused(Exception):  # noqa: N818
    """A request that is not answered: a status, and why in a line."""

    def __init__(self, status: HTTPStatus, why: str):
        super().__init__(why)
        self.status = status


@contextmanager
def had(port: int) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise UserError(f"port {port} cannot be had ({e.strerror}): choose another, or leave --port out") from e


def check_port(port: int) -> None:
    """UserError if another program has it."""
    with had(port), socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does it
        tried.bind((HOST, port))


class Explorer(ThreadingHTTPServer):
    """Serves one scene. port: 0 takes one that is free. UserError if another program has it."""

    daemon_threads = True

    def __init__(self, scene: Scene, port: int = 0):
        self.scene, self.running = scene, threading.Lock()
        tensors = save({name: np.require(values, requirements="C") for name, values in scene.tensors.items()})
        self.files: dict[str, tuple[str, bytes]] = {
            "/": ("text/html; charset=utf-8", page(scene.model["name"]).encode()),
            "/model.json": ("application/json", scene.json.encode()),
            "/tensors": (BYTES, tensors),
        }
        self.zipped = {path: gzip.compress(content, 1) for path, (_, content) in self.files.items()}
        with had(port):
            super().__init__((HOST, port), Handler)

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}/"

    def run(self, name: str, content: bytes) -> bytes:
        """The outputs of a graph, as a safetensors file."""
        if name not in self.scene.graphs:
            raise Refused(HTTPStatus.NOT_FOUND, f"this model has no graph {name!r}")
        given = checked(content, self.scene.model["graphs"][name])
        with self.running:  # one at a time: more would only share the same cores
            found = outputs(self.scene.graphs[name], given)
        return save({name: np.require(t.numpy(), requirements="C") for name, t in found.items()})

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that is closed while it is answered is no error."""


@torch.inference_mode()
def outputs(graph: Graph, given: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    try:
        return graph(given)
    except (RuntimeError, IndexError, ValueError) as e:  # such as a class that there is not
        raise Refused(HTTPStatus.BAD_REQUEST, f"the graph cannot compute that: {' '.join(str(e).split())[:300]}") from e


def checked(content: bytes, signature: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Inputs of a graph. `Refused` if they are not what its signature says."""
    try:
        given = load_tensors(content)
    except (SafetensorError, ValueError, KeyError) as e:
        raise Refused(HTTPStatus.BAD_REQUEST, "the body is not a safetensors file") from e
    wanted = signature["inputs"]
    if given.keys() != wanted.keys():
        raise Refused(HTTPStatus.BAD_REQUEST, f"the inputs are {', '.join(wanted)}, got {', '.join(given) or 'none'}")
    rows = next((len(t) for name, t in given.items() if wanted[name]["shape"] and t.ndim), 0)
    if rows > signature["rows"]:
        raise Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{rows} rows are too many at once: at most {signature['rows']}"
        )
    for name, t in given.items():
        about = wanted[name]
        if (t.dtype, list(t.shape)) != (DTYPES[about["dtype"]], [rows if n == "rows" else n for n in about["shape"]]):
            said = f"{about['dtype']} of shape {about['shape']}, got {t.dtype} of shape {list(t.shape)}"
            raise Refused(HTTPStatus.BAD_REQUEST, f"{name} has to be {said}")
    return given


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Explorer
    server_version, sys_version = "vaekit", ""
    protocol_version = "HTTP/1.1"
    timeout = 60
    # An answer goes out whole and at once: otherwise each takes 40 ms more.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.answer(self.file)

    def do_POST(self) -> None:
        self.answer(self.graph)

    def file(self) -> tuple[str, bytes, bool]:
        path = self.path.split("?")[0]
        if path not in self.server.files:
            raise Refused(HTTPStatus.NOT_FOUND, f"there is nothing at {path[:100]!r}")
        zipped = "gzip" in self.headers.get("Accept-Encoding", "")
        kind, content = self.server.files[path]
        return kind, self.server.zipped[path] if zipped else content, zipped

    def graph(self) -> tuple[str, bytes, bool]:
        if not self.path.startswith("/graphs/"):
            raise Refused(HTTPStatus.NOT_FOUND, f"there is nothing at {self.path[:100]!r}")
        if self.headers.get_content_type() != BYTES:
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body has to be {BYTES}")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "the request does not say how long its body is")
        if int(length) > LARGEST:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {LARGEST >> 20} MB")
        content = self.rfile.read(int(length))
        return BYTES, self.server.run(self.path.removeprefix("/graphs/"), content), False

    def answer(self, find: Callable[[], tuple[str, bytes, bool]]) -> None:
        status, zipped = HTTPStatus.OK, False
        try:
            port = self.server.server_address[1]
            if self.headers.get("Host", "").lower() not in (f"{HOST}:{port}", f"localhost:{port}"):
                raise Refused(HTTPStatus.FORBIDDEN, f"open {self.server.address}")  # a stranger's name that leads here
            kind, content, zipped = find()
        except Refused as e:
            status, kind, content = e.status, TEXT, f"{e}".encode()
            self.close_connection = True  # its body may not have been read
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **HEADERS}.items():
            self.send_header(name, value)
        if zipped:
            self.send_header("Content-Encoding", "gzip")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged: the page asks many times a second."""


def serve(explorer: Explorer, browser: bool, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C, or a signal to end."""
    ended = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    thread = threading.Thread(target=explorer.serve_forever, daemon=True)
    thread.start()
    say(f"explore it at {explorer.address} (Ctrl-C ends it)")
    try:
        if browser and not webbrowser.open(explorer.address):
            say("no browser could be opened here: open the address yourself")
        ended.wait()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        explorer.shutdown()
        explorer.server_close()
