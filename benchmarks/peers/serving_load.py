"""Clients of a server, each of which sends the next request as soon as the last one is answered, over a connection that stays open.

Each request ends in one of these ways: it is answered, by a status of 200 or by another one (errors); it is lost, which means that it was
sent and that the connection ended before the answer; it waits at the end (waiting). A client that cannot connect sends nothing and stops
(refused). All clients are one thread that waits with epoll and reads no more of an answer than it has to, so that it costs
little beside a server. Linux only.
"""

from __future__ import annotations

import itertools
import math
import os
import select
import signal
import socket
import time
from collections import Counter
from typing import Any

import numpy as np
from common import job, report

DRAIN = 10.0  # seconds that an answer may take after the last request


class Clients:
    """Counts what becomes of requests, each of which is bytes; they take turns."""

    def __init__(self, port: int, requests: list[bytes], at_most: int | None = None):
        self.address, self.requests = ("127.0.0.1", port), itertools.islice(itertools.cycle(requests), at_most)
        self.poll, self.waiting = select.epoll(), dict[int, tuple[socket.socket, bytearray, float]]()
        self.found, self.took = Counter[str](), list[float]()

    def ask(self, connection: socket.socket | None = None) -> None:
        """Send the next request over this connection, or over a new one if it has ended."""
        request = next(self.requests, None)
        while request:
            try:
                connection = connection or self.connected()
            except OSError:
                self.found["refused"] += 1
                return
            if is_open(connection):
                try:
                    connection.send(request)
                except OSError:  # it ended just now, and nothing was sent
                    pass
                else:
                    self.waiting[connection.fileno()] = connection, bytearray(), time.perf_counter()
                    return
            connection.close()
            connection = None

    def connected(self) -> socket.socket:
        connection = socket.create_connection(self.address, timeout=DRAIN)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        self.poll.register(connection, select.EPOLLIN)
        return connection

    def run(self, seconds: float) -> float:
        """Go on for some seconds, or until no client waits. Returns the seconds that it took."""
        begin = time.perf_counter()
        while self.waiting and (left := begin + seconds - time.perf_counter()) > 0:
            for number, _ in self.poll.poll(min(left, DRAIN)):
                self.receive(number)
        return time.perf_counter() - begin

    def receive(self, number: int) -> None:
        connection, answer, sent = self.waiting[number]
        try:
            data = connection.recv(1 << 16)
        except OSError:  # the connection was reset
            data = b""
        answer += data
        end = answer.find(b"\r\n\r\n") + 4
        head = bytes(answer[:end]).lower()
        if data and (end < 4 or len(answer) < end + length(head)):
            return  # more of it will come
        del self.waiting[number]
        if data:
            self.took.append(time.perf_counter() - sent)
            self.found["answered" if head[9:12] == b"200" else "errors"] += 1
        else:
            self.found["lost"] += 1
        if not data or b"\nconnection: close" in head:
            connection.close()
            return self.ask()
        self.ask(connection)


def is_open(connection: socket.socket) -> bool:
    """Whether the server has not ended a connection on which nothing is awaited."""
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False


def length(head: bytes) -> int:
    """Bytes of the body of an answer."""
    return int(head.split(b"\ncontent-length:")[1].split(b"\r\n")[0])


def post(path: str, body: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def load(
    port: int, requests: list[list[str]], clients: int, seconds: float = math.inf, warm_up: float = 0.0,
    at_most: int | None = None, stop: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What becomes of the requests.

    Args:
        requests: path and body of each. seconds: to count, after as many to warm up. at_most: so many requests, which may end it sooner.
        stop: number of a process that is told to stop after these seconds. Clients go on until none can connect, or for DRAIN seconds.
    """
    all_of_them = Clients(port, [post(*each) for each in requests], at_most)
    for _ in range(clients):
        all_of_them.ask()
    all_of_them.run(warm_up)
    all_of_them.took.clear()
    all_of_them.found.clear()
    took = all_of_them.run(seconds)
    rate = len(all_of_them.took) / took
    about: dict[str, Any] = {"in_flight": len(all_of_them.waiting)}
    if stop:
        about["stopped"] = time.monotonic()
        os.kill(stop, signal.SIGTERM)
        before = len(all_of_them.took)
        all_of_them.run(DRAIN)
        about["after"] = len(all_of_them.took) - before
    all_of_them.requests = iter(())
    all_of_them.run(0.0 if stop else DRAIN)
    p50, p99 = np.percentile(all_of_them.took or [np.nan], [50, 99]) * 1e3
    counts = {name: all_of_them.found[name] for name in ("answered", "errors", "lost", "refused")}
    return {"rate": rate, "p50": p50, "p99": p99, **counts, "waiting": len(all_of_them.waiting), **about}


if __name__ == "__main__":
    given = job()
    del given["torch"]
    report(**load(**given))
