"""What the two faces of the service share: bodies, answers, and what goes wrong in between."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
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
BODIES = 8  # of the largest size that may be in memory together
HELD = "vaekit.held"  # of a request's scope: bytes of its body
LAST = {"connection": "close"}  # after an error: the body may not have been read, and may never end


class Refused(HTTPException):
    """A request that is not answered: a status, and why in a line."""

    def __init__(self, status: int, why: str, **headers: str):
        super().__init__(status, why, headers or None)


class Desk:
    """The place where requests come in. It bounds their cost, counts them, and puts failures into words.

    Attributes:
        held: bytes of bodies that are in memory now.
    """

    def __init__(self, limits: Limits):
        self.limits, self.held = limits, 0

    async def answer(
        self, request: Request, work: Awaitable[Response], count: Callable[[int, float], None], key: str = "detail"
    ) -> Response:
        """The answer to a request; where something goes wrong, what it was, under this key."""
        begin = time.perf_counter()
        status, why, headers = 200, "", {}
        try:
            async with asyncio.timeout(self.limits.deadline):
                return await work
        except Refused as e:
            status, why = e.status_code, e.detail
        except UserError as e:
            status, why = 422, str(e)
        except Full:
            status, why, headers = 429, "too many requests wait: try again in a second", {"retry-after": "1"}
        except TimeoutError:
            status, why, headers = 503, f"no answer within {self.limits.deadline:g} seconds", {"retry-after": "1"}
        except ClientDisconnect:
            status, why = 400, "the body broke off"
        except Exception:
            log.exception("a fault in vaekit, at %s", request.url.path)
            status, why = 500, "this is a fault in vaekit; the log of the service has the details"
        finally:
            self.held -= request.scope.pop(HELD, 0)
            count(status, time.perf_counter() - begin)
        return answer({key: why}, status, {**headers, **LAST})

    async def body(self, request: Request) -> bytes:
        """The whole body. `Refused` if it is too large, `Full` if all bodies together are; `answer` bounds the time."""
        most = self.limits.body
        too_large = Refused(413, f"the body has more than {most >> 20} MiB: send less at once")
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > most:
            raise too_large
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise too_large
            if self.held + len(part) > BODIES * most:
                raise Full
            self.held += len(part)
            request.scope[HELD] = size
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
    """Turn what orjson does not know into lists: arrays of objects, and numbers of NumPy."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
