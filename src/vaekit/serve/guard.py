"""Who may ask, and when no more is taken: around the whole service, before anything of a request is read."""

from __future__ import annotations

import codecs
import hmac
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from fastapi import Request

from vaekit.errors import UserError, note

OPEN = {"/health", "/ready", "/v2/health/live", "/v2/health/ready"}  # to all: who watches over a service has no token
SHORTEST = 16  # characters of a token


class Guard:
    """An ASGI application around the service.

    Args:
        app: the service. tokens: one of which a request has to bring. None: whoever asks by a name of this machine may ask; other names
            may be those of a page in a browser that leads here.
    """

    def __init__(self, app: Any, tokens: Sequence[bytes] | None):
        self.app, self.tokens = app, tokens

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = dict(scope["headers"])
        if self.app.state.draining:
            send = closing(send, self.app.state)
        if scope["path"] not in OPEN:
            if self.tokens is None and not is_local(headers.get(b"host", b"")):
                return await refuse(send, 403, "without a token only this machine may ask: call it localhost")
            if self.tokens is not None and not self.knows(headers.get(b"authorization", b"")):
                return await refuse(send, 401, "give a token: Authorization: Bearer TOKEN")
        endpoint = self.app.state.direct.get(scope["path"])
        if endpoint is None or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        # Straight to the operation: the layers and routes in between cost more than a small model does.
        answer = await endpoint(Request(scope, receive))
        await answer(scope, receive, send)

    def knows(self, authorization: bytes) -> bool:
        scheme, _, token = authorization.partition(b" ")
        # Each is compared, and in constant time: how long it takes tells nothing about them.
        found = [hmac.compare_digest(token.strip(), known) for known in self.tokens or ()]
        return scheme.lower() == b"bearer" and any(found)


def closing(send: Any, state: Any) -> Any:
    """A `send` that tells the client to use this connection no more, when no other can be had either."""

    async def last(message: Any) -> None:
        if state.ending and message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return last


async def refuse(send: Any, status: int, why: str) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps({"detail": why})})


def is_local(host: bytes) -> bool:
    """Whether a request's Host is this machine: localhost, or a loopback address, maybe with a port."""
    name = host.decode("latin-1").lower()
    return is_loopback(name.partition("]")[0][1:] if name.startswith("[") else name.rpartition(":")[0] or name)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_tokens(path: Path) -> list[bytes]:
    """The tokens in a file, one a line. UserError if there is no good one; the error never holds one."""
    try:
        lines = [line.strip() for line in path.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()]
        mode = path.stat().st_mode
    except OSError as e:
        raise UserError(f"cannot read the tokens in {path}: {e.strerror}") from None
    tokens = [line for line in lines if line]
    if not tokens or min(map(len, tokens)) < SHORTEST:
        raise UserError(
            f"{path} holds no token, or one below {SHORTEST} characters: make one with `openssl rand -hex 32 > {path}`"
        )
    if mode & 0o004:
        note(f"everybody on this machine can read {path}: chmod 600 {path}")
    return tokens
