"""The routes of the service, and their description (OpenAPI)."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import orjson
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from vaekit import __version__
from vaekit.errors import UserError, near_matches
from vaekit.serve.batcher import Full
from vaekit.serve.media import MEDIA
from vaekit.serve.metrics import Metrics
from vaekit.serve.models import Limits, Model
from vaekit.serve.operations import Operation, numbers_of, plain

log = logging.getLogger(__name__)

JSON = "application/json"
TYPES = {media.type: name for name, media in MEDIA.items()}
TEXTS = {
    400: "The body is not what its type says.", 401: "The token is missing or wrong.", 404: "There is no such model or operation.",
    406: "The result cannot be of this type.", 408: "The body did not come in time.", 413: "The body is too large.",
    415: "The body is of a type that this operation does not read.", 422: "The body does not fit the model.",
    429: "Too many requests wait: try again.", 503: "The service is ending, or has no answer in time.",
}  # fmt: skip
ERROR = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}


class Refused(HTTPException):
    """A request that is not answered: a status, and why in a line."""

    def __init__(self, status: int, why: str, **headers: str):
        super().__init__(status, why, headers or None)


def create_app(models: Mapping[str, Model], limits: Limits, metrics: Metrics) -> FastAPI:
    """The service of these models, by their names in paths."""
    app = FastAPI(
        title="vaekit", version=__version__, docs_url=None, redoc_url=None, separate_input_output_schemas=False
    )
    app.state.draining = False

    @app.get("/health", tags=["service"], responses=described(ok="The process lives."))
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/ready", tags=["service"], responses=described(503, ok="It takes requests."))
    async def ready() -> dict[str, str]:
        if app.state.draining:
            raise Refused(503, "the service is ending")
        return {"status": "ready"}

    @app.get(
        "/metrics",
        tags=["service"],
        responses={200: {"description": "Figures for Prometheus.", "content": {"text/plain": {}}}},
        response_class=Response,
    )
    async def figures() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/models", tags=["service"], responses=described(ok="The models, and what can be asked of each."))
    async def listed() -> dict[str, list[str]]:
        return {name: list(model.operations) for name, model in models.items()}

    for name, model in models.items():
        add_model(app, name, model)
        for operation in model.operations.values():
            add_operation(app, name, model, operation, limits, metrics)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, e: HTTPException) -> Response:
        why = e.detail
        if e.status_code == 404 and not isinstance(e, Refused):
            why = missing(request.url.path, models)
        # The body may not have been read, and may never end.
        headers = {**(e.headers or {}), "connection": "close"}
        return answer({"detail": why}, e.status_code, headers)

    return app


def add_model(app: FastAPI, name: str, model: Model) -> None:
    @app.get(f"/models/{name}", tags=[name], name=f"about {name}", responses=described(ok="What the model is."))
    async def about() -> dict[str, Any]:
        return model.about()


def add_operation(
    app: FastAPI, name: str, model: Model, operation: Operation, limits: Limits, metrics: Metrics
) -> None:
    check = jsonschema_rs.validator_for(operation.body())
    media = model.tasks.form.media if operation.main == "rows" else ("npy",) if operation.main else ()
    reads = {MEDIA[each].type: MEDIA[each] for each in media}
    shown = model.tasks.form.media if operation.shown == "rows" else ("npy",)
    writes = {MEDIA[each].type: MEDIA[each] for each in shown}
    count = metrics.of(name, operation.name)

    async def endpoint(request: Request) -> Response:
        begin, status = time.perf_counter(), 500
        try:
            async with asyncio.timeout(limits.deadline):
                wanted = chosen(request.headers.get("accept", JSON), writes)
                given = await read(request)
                result, notes = await model.do(operation, given)
            status = 200
            return written(result, notes, wanted)
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
        except Exception:
            log.exception("a fault in vaekit, in %s of %s", operation.name, name)
            raise Refused(500, "this is a fault in vaekit; the log of the service has the details") from None
        finally:
            count(status, time.perf_counter() - begin)

    async def read(request: Request) -> dict[str, Any]:
        kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
        if kind not in (JSON, *reads):
            raise Refused(415, f"the body is {kind[:60]!r}: {operation.name} reads {' or '.join([JSON, *reads])}")
        data = await body_of(request, limits)
        if kind == JSON:
            try:
                given = orjson.loads(data)
            except orjson.JSONDecodeError as e:
                raise Refused(400, f"the body is not JSON: {e}") from None
        else:
            given = in_query(request)
        if kind != JSON:
            rows = reads[kind].read(data, model.tasks.form)
            if len(rows) > limits.rows:
                raise Refused(422, f"{len(rows)} rows are too many at once: at most {limits.rows}")
            return {**given, str(operation.main): rows}
        if (error := next(check.iter_errors(given), None)) is not None:
            raise Refused(422, told(error))
        return given

    def written(result: Mapping[str, Any], notes: list[str], wanted: str) -> Response:
        if wanted == JSON:
            return answer({**plain(result, model.tasks), **({"notes": notes} if notes else {})})
        rows = result[operation.shown]
        data = writes[wanted].write(numbers_of(rows) if wanted == MEDIA["npy"].type else rows, model.tasks.form)
        return Response(data, media_type=wanted)

    app.add_api_route(
        f"/models/{name}/{operation.name}", endpoint, methods=["POST"], tags=[name], name=operation.name,
        operation_id=f"{operation.name}-{name}", summary=operation.says, response_class=Response,
        openapi_extra={"requestBody": {"required": True, "content": {JSON: {"schema": operation.body()}, **{t: {"schema": {"type": "string", "format": "binary"}} for t in reads}}}},
        responses={200: {"description": operation.says, "content": {JSON: {"schema": operation.result()}, **{t: {} for t in writes}}}}
        | described(400, 406, 408, 413, 415, 422, 429, 503),
    )  # fmt: skip


def described(*statuses: int, ok: str = "") -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of answers: of success, and of these errors."""
    errors: dict[int | str, dict[str, Any]] = {
        status: {"description": TEXTS[status], "content": {JSON: {"schema": ERROR}}} for status in (401, *statuses)
    }
    return errors | ({200: {"description": ok}} if ok else {})


# -- bodies ------------------------------------------------------------------------------------------------------------


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


def in_query(request: Request) -> dict[str, Any]:
    """What goes with a body that is a file: each parameter of the query is JSON, such as ?y={"label":3}&seed=1"""
    try:
        return {name: json.loads(text) for name, text in request.query_params.items()}
    except (ValueError, RecursionError):
        raise Refused(422, 'a parameter is not JSON: write it as in ?y={"label":3}&seed=1') from None


def told(error: Any) -> str:
    """An error of a JSON Schema in a line."""
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.instance_path).lstrip(".")
    return f"{place or 'the body'}: {' '.join(error.message.split())[:300]}"


def chosen(accept: str, writes: Mapping[str, Any]) -> str:
    """The type of the answer, of those that a client accepts: JSON where it can be."""
    wanted = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    if any(part in (JSON, "*/*", "application/*", "") for part in wanted):
        return JSON
    for part in wanted:
        if part in writes:
            return part
    raise Refused(406, f"the answer cannot be {accept[:60]!r}: ask for {' or '.join([JSON, *writes])}")


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    data = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY, default=listed)
    return Response(data, status, headers, JSON)


def listed(value: Any) -> Any:
    """What orjson does not know: arrays of objects, and numbers of NumPy."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def missing(path: str, models: Mapping[str, Model]) -> str:
    parts = path.strip("/").split("/")
    if len(parts) >= 2 and parts[0] == "models":
        if parts[1] not in models:
            return f"there is no model {parts[1][:60]!r}{near_matches(parts[1][:60], models)}"
        if len(parts) == 3:
            return f"model {parts[1]!r} has no operation {parts[2][:60]!r}{near_matches(parts[2][:60], models[parts[1]].operations)}"
    return f"there is nothing at {path[:60]!r}: see /openapi.json"
