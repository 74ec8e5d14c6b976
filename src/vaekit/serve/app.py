"""The routes of the service, and their description (OpenAPI)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Depends, FastAPI, Request, Response
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from vaekit import __version__
from vaekit.errors import near_matches
from vaekit.serve.media import MEDIA
from vaekit.serve.metrics import Metrics
from vaekit.serve.models import Limits, Model
from vaekit.serve.operations import Operation, numbers_of, plain
from vaekit.serve.protocol import add_protocol
from vaekit.serve.requests import JSON, LAST, Desk, Refused, answer, parsed

TEXTS = {
    400: "The body is not what its type says.", 401: "The token is missing or wrong.", 404: "There is no such model or operation.",
    406: "The result cannot be of this type.", 413: "The body is too large.",
    415: "The body is of a type that this operation does not read.", 422: "The body does not fit the model.",
    429: "Too many requests wait: try again.", 503: "The service is ending, or has no answer in time.",
}  # fmt: skip
IN_QUERY = 'The rows may also come as a file. Then the other fields are parameters of the query, each as JSON: `?y={"label":3}&seed=1`.'
ERROR: dict[str, Any] = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}


def create_app(models: Mapping[str, Model], limits: Limits, metrics: Metrics, secured: bool) -> FastAPI:
    """The service of these models, by their names in paths. secured: whether requests have to bring a token, see `Guard`."""
    app = FastAPI(
        title="vaekit", version=__version__, docs_url=None, redoc_url=None, separate_input_output_schemas=False,
        dependencies=[Depends(HTTPBearer(auto_error=False))] if secured else [],
    )  # fmt: skip
    app.state.draining = app.state.ending = False
    app.state.direct = {}
    desk = Desk(limits)

    @app.get("/health", tags=["service"], responses=described(ok="The process lives."))
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/ready", tags=["service"], responses=described(503, ok="It takes requests."))
    async def ready() -> dict[str, str]:
        if app.state.draining:
            raise Refused(503, "the service is ending")
        return {"status": "ready"}

    @app.get("/metrics", tags=["service"], responses=described(ok="Figures for Prometheus."), response_class=Response)
    async def figures() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/models", tags=["service"], responses=described(ok="The models, and what can be asked of each."))
    async def listed() -> dict[str, list[str]]:
        return {name: list(model.operations) for name, model in models.items()}

    for name, model in models.items():
        add_model(app, name, model)
        for operation in model.operations.values():
            add_operation(app, name, model, operation, desk, metrics)
    add_protocol(app, models, desk, metrics)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, e: HTTPException) -> Response:
        why = e.detail
        if e.status_code == 404 and not isinstance(e, Refused):
            why = missing(request.url.path, models)
        key = "error" if request.url.path.startswith("/v2") else "detail"  # as each of the two faces says it
        return answer({key: why}, e.status_code, {**(e.headers or {}), **LAST})

    return app


def add_model(app: FastAPI, name: str, model: Model) -> None:
    @app.get(f"/models/{name}", tags=[name], name=f"about {name}", responses=described(ok="What the model is."))
    async def about() -> dict[str, Any]:
        return model.about()


def add_operation(app: FastAPI, name: str, model: Model, operation: Operation, desk: Desk, metrics: Metrics) -> None:
    media = model.tasks.form.media if operation.main == "rows" else ("npy",) if operation.main else ()
    reads = {MEDIA[each].type: MEDIA[each] for each in media}
    shown = model.tasks.form.media if operation.shown == "rows" else ("npy",)
    writes = {MEDIA[each].type: MEDIA[each] for each in shown}
    count = metrics.of(name, operation.name)

    async def endpoint(request: Request) -> Response:
        return await desk.answer(request, work(request), count)

    async def work(request: Request) -> Response:
        model.batcher.check_room()  # before the body is read
        wanted = chosen(request.headers.get("accept", JSON), writes)
        result, notes = await model.do(operation, await read(request))
        return written(result, notes, wanted)

    async def read(request: Request) -> dict[str, Any]:
        kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
        if kind not in (JSON, *reads):
            raise Refused(415, f"the body is {kind[:60]!r}: {operation.name} reads {' or '.join([JSON, *reads])}")
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Refused(415, "the body is compressed: send it as it is")
        data = await desk.body(request)
        if kind == JSON:
            return operation.check(parsed(data))
        return operation.check(in_query(request), reads[kind].read(data, model.tasks.form))

    def written(result: Mapping[str, Any], notes: list[str], wanted: str) -> Response:
        if wanted == JSON:
            return answer({**plain(result, model.tasks), **({"notes": notes} if notes else {})})
        if operation.shown not in result:
            raise Refused(406, f"several draws cannot be {wanted}: ask for {JSON}")
        rows = result[operation.shown]
        data = writes[wanted].write(numbers_of(rows) if wanted == MEDIA["npy"].type else rows, model.tasks.form)
        return Response(data, media_type=wanted)

    path = f"/models/{name}/{operation.name}"
    app.state.direct[path] = endpoint
    files = {t: {"schema": {"type": "string", "format": "binary"}} for t in reads}
    body = {"required": True, "content": {JSON: {"schema": operation.body()}, **files}}
    result = {JSON: {"schema": operation.result()}, **{t: {} for t in writes}}
    app.add_api_route(
        path, endpoint, methods=["POST"], tags=[name], name=operation.name,
        operation_id=f"{operation.name}-{name}", summary=operation.says, description=IN_QUERY if reads else "",
        response_class=Response,
        openapi_extra={"requestBody": body},
        responses={
            **described(400, 406, 413, 415, 422, 429, 503),
            200: {"description": operation.says, "content": result},
        },
    )  # fmt: skip


def described(*statuses: int, ok: str = "") -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of answers: of success, and of these errors."""
    errors: dict[int | str, dict[str, Any]] = {
        status: {"description": TEXTS[status], "content": {JSON: {"schema": ERROR}}} for status in (401, *statuses)
    }
    return {**errors, 200: {"description": ok}} if ok else errors


def in_query(request: Request) -> dict[str, Any]:
    """The parameters that go with a body that is a file: each parameter of the query is JSON, such as ?y={"label":3}&seed=1"""
    found = request.query_params.multi_items()
    try:
        given = {name: orjson.loads(text) for name, text in found}
    except (ValueError, RecursionError):
        raise Refused(422, 'a parameter is not JSON: write it as in ?y={"label":3}&seed=1') from None
    if len(given) < len(found):
        raise Refused(422, "a parameter is given twice: give each once")
    return given


def chosen(accept: str, writes: Mapping[str, Any]) -> str:
    """The type of the answer, of those that a client accepts: JSON where it can be."""
    wanted = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    if any(part in (JSON, "*/*", "application/*", "") for part in wanted):
        return JSON
    for part in wanted:
        if part in writes:
            return part
    raise Refused(406, f"the answer cannot be {accept[:60]!r}: ask for {' or '.join([JSON, *writes])}")


def missing(path: str, models: Mapping[str, Model]) -> str:
    parts = path.strip("/").split("/")
    if len(parts) >= 2 and parts[0] == "models":
        if parts[1] not in models:
            return f"there is no model {parts[1][:60]!r}{near_matches(parts[1][:60], models)}"
        if len(parts) == 3:
            return f"model {parts[1]!r} has no operation {parts[2][:60]!r}{near_matches(parts[2][:60], models[parts[1]].operations)}"
    return f"there is nothing at {path[:60]!r}: see /openapi.json"
