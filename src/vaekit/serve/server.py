"""The process: its port, its patience with clients, and its end."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import resource
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vaekit.errors import Note, UserError
from vaekit.serve.app import create_app
from vaekit.serve.guard import Guard, read_tokens
from vaekit.serve.metrics import Metrics
from vaekit.serve.models import Limits, open_models

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds that a client has for the head of a request
BACKLOG = 2048  # connections that wait to be accepted
SWITCH = 0.0005  # seconds that a thread keeps the interpreter while another one waits: the default makes answers wait for 5 ms


def serve(
    places: Sequence[str], host: str, port: int, token_file: Path | None, limits: Limits, drain: float,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Serve runs and exported models until SIGTERM or Ctrl-C.

    Args:
        drain: seconds in which, at the end, requests are still taken while those who balance the load learn of it.
    """
    tokens = read_tokens(token_file) if token_file else None
    if tokens is None and not is_loopback(host):
        raise UserError(f"others can reach {host}: ask for a token, with --token-file FILE; or serve on 127.0.0.1")
    warnings.simplefilter("ignore", Note)  # those of requests go into the answers
    metrics = Metrics()
    with listening(host, port) as place:
        models = open_models(places, limits, metrics)
        app = create_app(models, limits, metrics)
        config = uvicorn.Config(
            Guard(app, tokens), http=Patient, ws="none", lifespan="off", access_log=False, log_level="warning",
            server_header=False, backlog=BACKLOG, timeout_keep_alive=30, timeout_graceful_shutdown=int(limits.deadline) + 1,
        )  # fmt: skip
        raise_open_files()
        sys.setswitchinterval(SWITCH)
        shown = f"[{host}]" if ":" in host else host
        say(f"serving {', '.join(models)} at http://{shown}:{place.getsockname()[1]} (Ctrl-C ends it)")
        server = Server(config, app, drain)
        server.run(sockets=[place])
    for model in models.values():
        model.batcher.close()
    say("served all that had come in")


class Server(uvicorn.Server):
    """A server that, told to end, first says that it is not ready, and answers on for a while: a request that was sent is answered."""

    def __init__(self, config: uvicorn.Config, app: Any, drain: float):
        super().__init__(config)
        self.app, self.drain = app, drain

    def handle_exit(self, sig: int, frame: Any) -> None:
        if self.app.state.draining or sig == signal.SIGINT:  # who presses Ctrl-C waits
            self.app.state.draining = True
            return super().handle_exit(sig, frame)
        self.app.state.draining = True
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(loop.call_later, self.drain, self.end)

    def end(self) -> None:
        self.should_exit = True


class Patient(HttpToolsProtocol):
    """HTTP, with a bound on the seconds that the head of a request may take. The service itself bounds those of its body."""

    late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.wait()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.wait()

    def on_headers_complete(self) -> None:
        self.stop()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self.stop()
        super().connection_lost(exc)

    def wait(self) -> None:
        self.stop()
        self.late = self.loop.call_later(PATIENCE, self.transport.close)

    def stop(self) -> None:
        if self.late:
            self.late.cancel()


def listening(host: str, port: int) -> socket.socket:
    """A socket on this port. UserError if it cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        place = socket.socket(family, socket.SOCK_STREAM)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
        # Nagle's algorithm would hold the second half of an answer back; accepted connections inherit this.
        place.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as e:
        raise UserError(f"port {port} of {host} cannot be had ({e.strerror}): choose another with --port") from None
    return place


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def raise_open_files() -> None:
    """Let the process have as many connections as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
