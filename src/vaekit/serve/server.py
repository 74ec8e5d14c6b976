"""The process: its port, its patience with clients, and its end."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vaekit.errors import Note, UserError
from vaekit.serve.app import create_app
from vaekit.serve.guard import Guard, is_loopback, read_tokens
from vaekit.serve.metrics import Metrics
from vaekit.serve.models import Limits, open_models

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds that a client has for the head of a request, and to read on
HEAD = 1 << 16  # bytes of it
LAST = 0.5  # seconds that the last connections have to send their request
BACKLOG = 2048  # connections that wait to be accepted
SWITCH = 0.0005  # seconds that a thread keeps the interpreter while another one waits: the default makes answers wait for 5 ms


def serve(
    places: Mapping[str, Path], host: str, port: int, token_file: Path | None, limits: Limits, drain: float,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Serve runs and exported models until SIGTERM or Ctrl-C.

    Args:
        places: of the models, by the names that they get in paths.
        drain: seconds in which, at the end, requests are still taken while those who balance the load learn of it.
    """
    tokens = read_tokens(token_file) if token_file else None
    if tokens is None and not is_loopback(host):
        raise UserError(f"others can reach {host}: ask for a token, with --token-file FILE; or serve on 127.0.0.1")
    warnings.simplefilter("ignore", Note)  # those of requests go into the answers
    metrics = Metrics()
    with listening(host, port) as place:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # while models are opened
        models = open_models(places, limits, metrics)
        app = create_app(models, limits, metrics, tokens is not None)
        config = uvicorn.Config(
            Guard(app, tokens), http=Patient, ws="none", lifespan="off", access_log=False, proxy_headers=False, log_level="error",
            server_header=False, backlog=BACKLOG, timeout_keep_alive=30, timeout_graceful_shutdown=int(limits.deadline) + 1,
        )  # fmt: skip
        raise_open_files()
        sys.setswitchinterval(SWITCH)
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{place.getsockname()[1]}"
        begins = partial(say, f"serving {', '.join(models)} at {address} (Ctrl-C ends it)")
        Server(config, app, place, drain, begins).run(sockets=[place])
    for model in models.values():
        model.batcher.close()
    say("served all that had come in")


class Server(uvicorn.Server):
    """A server that, told to end, first says that it is not ready, and answers on for a while: a request that was sent is answered."""

    def __init__(
        self, config: uvicorn.Config, app: Any, place: socket.socket, drain: float, begins: Callable[[], None]
    ):
        super().__init__(config)
        self.app, self.place, self.drain, self.begins = app, place, drain, begins
        self.last: list[asyncio.Task[Any]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if hasattr(signal, "SIGHUP"):  # a terminal that goes away ends it like SIGTERM
            signal.signal(signal.SIGHUP, self.handle_exit)
        self.begins()

    def handle_exit(self, sig: int, frame: Any) -> None:
        if self.should_exit:  # it was told twice
            self.force_exit = True
        elif self.app.state.draining or sig == signal.SIGINT:  # who presses Ctrl-C waits
            self.app.state.draining = self.should_exit = True
        else:
            self.app.state.draining = True
            loop = asyncio.get_running_loop()
            loop.call_soon_threadsafe(loop.call_later, self.drain, self.end)

    def end(self) -> None:
        """Accept the connections that wait, then close the port.

        Closing a port resets connections that wait at it. Therefore clients keep their connections up to this moment, so that few new
        ones come. From now on each answer asks its client to close the connection.
        """
        self.app.state.ending = True
        loop = asyncio.get_running_loop()
        self.place.listen(0)  # the fewer can come between the last one and the end
        with suppress(BlockingIOError):
            while True:
                connection, _ = self.place.accept()
                connection.setblocking(False)
                self.last.append(loop.create_task(loop.connect_accepted_socket(self.protocol, connection)))
        for server in self.servers:
            server.close()
        loop.call_later(LAST, setattr, self, "should_exit", True)

    def protocol(self) -> asyncio.Protocol:
        return Patient(self.config, self.server_state, self.lifespan.state)


class Patient(HttpToolsProtocol):
    """HTTP, with bounds on the head of a request, and on how long a client may not read its answer. The service itself bounds bodies."""

    late: asyncio.TimerHandle | None = None  # runs while the head of a request is awaited
    stalled: asyncio.TimerHandle | None = None  # runs while a client does not read
    head = 0  # bytes of the head so far

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.wait()

    def data_received(self, data: bytes) -> None:
        if self.late is None and (self.cycle is None or self.cycle.response_complete):
            self.wait()  # a head begins, though it may be empty lines for now
        super().data_received(data)
        self.head += len(data)
        if self.late and self.head > HEAD:
            self.transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n")
            self.transport.close()

    def on_headers_complete(self) -> None:
        stop(self.late)
        self.late = None
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        stop(self.late)
        stop(self.stalled)
        super().connection_lost(exc)

    def wait(self) -> None:
        self.late, self.head = self.loop.call_later(PATIENCE, self.transport.close), 0

    def pause_writing(self) -> None:
        super().pause_writing()
        self.look(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        stop(self.stalled)

    def look(self, left: int) -> None:
        """Abort if in a while nothing of what is left to send is read."""

        def again() -> None:
            now = self.transport.get_write_buffer_size()
            if now >= left:
                self.transport.abort()
            else:
                self.look(now)

        self.stalled = self.loop.call_later(PATIENCE, again)


def stop(timer: asyncio.TimerHandle | None) -> None:
    if timer:
        timer.cancel()


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


def raise_open_files() -> None:
    """Let the process have as many connections as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
