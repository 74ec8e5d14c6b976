"""What the two faces of the service share: bodies, answers, and what goes wrong in between."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from vaekit.errors import UserError
from vaekit.serve.batcher import Full
from vaekit.serve.models import Limits

log = logging.getLogger(__name__)

JSON = "application/json"


class Refused(HTTPException):
    """A request that is not answered: a status, and why in a line."""

    def __init__(self, status: int, why: str, **headers: str):
        super().__init__(status, why, headers or None)


@contextmanager
def answering(count: Callable[[int, float], None], limits: Limits, what: str) -> Iterator[None]:
    """Count a request, and turn what goes wrong within it into an answer."""
    begin, status = time.perf_counter(), 200
    try:
        yield
    except HTTPException as e:
        status = e.status_code
        raise
    except UserError as e:
        status = 422
        raise Refused(422, str(e)) from None
    except Full:
        status = 429
        raise Refused(429, "too many requests wait: try again in a second", **{"retry-after": "1"}) from None
    except TimeoutError:
        status = 503
        raise Refused(503, f"no answer within {limits.deadline:g} seconds", **{"retry-after": "1"}) from None
    except ClientDisconnect:
        status = 499  # as nginx counts who went away
        raise Refused(400, "the body broke off") from None
    except Exception:
        status = 500
        log.exception("a fault in vaekit, in %s", what)
        raise Refused(500, "this is a fault in vaekit; the log of the service has the details") from None
    finally:
        count(status, time.perf_counter() - begin)


async def body_of(request: Request, limits: Limits) -> bytes:
    """The whole body. `Refused` if it is too large; the caller bounds the time."""
    too_large = Refused(413, f"the body has more than {limits.body >> 20} MiB: send less at once")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > limits.body:
        raise too_large
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limits.body:
            raise too_large
        parts.append(part)
    return b"".join(parts)


def parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as e:
        raise Refused(400, f"the body is not JSON: {e}") from None


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    data = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY, default=listed)
    return Response(data, status, headers, JSON)


def listed(value: Any) -> Any:
    """What orjson does not know: arrays of objects, and numbers of NumPy."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
