"""A second face: the Open Inference Protocol over REST, with its extension of binary tensors.

Each operation of each model is a model of the protocol, MODEL-OPERATION, such as `digits-decode`. Its tensors follow from the JSON
Schemas of the operation: what is an array of numbers in JSON is a tensor, and a column NAME of a table is `rows.NAME`, a condition
`y.NAME`. https://github.com/kserve/open-inference-protocol
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response

from vaekit import __version__
from vaekit.errors import UserError, near_matches
from vaekit.forms.columns import written as as_text
from vaekit.serve.metrics import Metrics
from vaekit.serve.models import Model
from vaekit.serve.operations import Operation
from vaekit.serve.requests import Desk, Refused, answer, parsed

DTYPES = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "INT8": np.int8,
    "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip
WHOLE = {dtype for name, dtype in DTYPES.items() if not name.startswith("FP")}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
BYTES = "BYTES"
LEAVES = {"number": "FP64", "integer": "INT64", "boolean": "BOOL", "string": BYTES}
HEADER = "inference-header-content-length"
DRAWS = "draws"  # of rows that are columns there would be no tensors: it is for JSON alone
EXTENSIONS = ["binary_tensor_data"]

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Tensor:
    """A tensor of an operation.

    Attributes:
        path: where its values are in the body, or in the result. shape: -1 where it is free.
    """

    name: str
    path: tuple[str, ...]
    datatype: str
    shape: list[int]

    def about(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": self.shape}


def add_protocol(app: FastAPI, models: Mapping[str, Model], desk: Desk, metrics: Metrics) -> None:
    """Add its routes to the service."""
    served = {
        f"{m}-{o}": (m, model, operation) for m, model in models.items() for o, operation in model.operations.items()
    }
    counts = {name: metrics.of(m, f"{operation.name} (v2)") for name, (m, _, operation) in served.items()}
    known = {name: (tensors_in(operation), tensors_out(operation)) for name, (_, _, operation) in served.items()}

    def operation_of(name: str) -> Any:
        if name not in served:
            raise Refused(404, f"there is no model {name[:60]!r}{near_matches(name[:60], served)}")
        return served[name]

    def route(path: str, endpoint: Any, method: str = "GET") -> None:
        for each in (path, path.replace("/{name}", "/{name}/versions/{version}")) if "{name}" in path else (path,):
            app.add_api_route(each, endpoint, methods=[method], include_in_schema=False)

    async def server() -> dict[str, Any]:
        return {"name": "vaekit", "version": __version__, "extensions": EXTENSIONS}

    async def live() -> dict[str, bool]:
        return {"live": True}

    async def ready() -> Response:
        return answer({"ready": not app.state.draining}, 503 if app.state.draining else 200)

    async def model_ready(name: str) -> Response:
        operation_of(name)
        return answer({"name": name, "ready": not app.state.draining}, 503 if app.state.draining else 200)

    async def about(name: str) -> dict[str, Any]:
        operation_of(name)
        inputs, outputs = known[name]
        shapes = {"inputs": [t.about() for t in inputs], "outputs": [t.about() for t in outputs]}
        return {"name": name, "versions": [__version__], "platform": "vaekit", **shapes}

    async def infer(name: str, request: Request) -> Response:
        operation_of(name)
        return await desk.answer(request, inferred(name, request), counts[name], "error")

    async def inferred(name: str, request: Request) -> Response:
        _, model, operation = served[name]
        model.batcher.check_room()  # before the body is read
        message, binary = split(await desk.body(request), request.headers.get(HEADER))
        inputs, outputs = known[name]
        given = body_from(read_inputs(message, binary), message.get("parameters", {}), inputs, operation)
        result, notes = await model.do(operation, given)
        head: dict[str, Any] = {"model_name": name, "model_version": __version__, "id": str(message.get("id", ""))}
        if notes:
            head["parameters"] = {"notes": notes}
        return written(head, dict(as_tensors(result, outputs)), message)

    route("/v2", server)
    route("/v2/health/live", live)
    route("/v2/health/ready", ready)
    route("/v2/models/{name}", about)
    route("/v2/models/{name}/ready", model_ready)
    route("/v2/models/{name}/infer", infer, "POST")


# -- which tensors there are -------------------------------------------------------------------------------------------


def tensors_in(operation: Operation) -> list[Tensor]:
    """The inputs of an operation."""
    properties = operation.body()["properties"]
    return [t for name, schema in properties.items() if name != DRAWS for t in tensors(name, (name,), schema)]


def tensors_out(operation: Operation) -> list[Tensor]:
    """Its outputs."""
    return [t for name, s in operation.gives().items() if name != DRAWS for t in tensors(name, (name,), s)]


def tensors(name: str, path: tuple[str, ...], schema: Schema) -> Iterator[Tensor]:
    """The tensors that stand for a value of this schema."""
    if "properties" in schema:  # conditions, and observations
        for each, one in schema["properties"].items():
            for t in tensors(f"{name}.{each}", (*path, each), one):
                yield Tensor(t.name, t.path, t.datatype, [-1, *t.shape] if name == "y" and not t.shape else t.shape)
        return
    items = schema.get("items", {})
    if "properties" in items:  # rows of named columns
        for each, one in items["properties"].items():
            yield Tensor(f"{name}.{each}", (*path, each), leaf(one), [-1])
        return
    shape, schema = [], schema["anyOf"][0] if "anyOf" in schema else schema
    while schema.get("type") == "array":
        shape.append(
            schema["minItems"] if "minItems" in schema and schema.get("minItems") == schema.get("maxItems") else -1
        )
        schema = schema.get("items", {})
    yield Tensor(name, path, leaf(schema), shape or ([] if path[0] == "y" else [1]))


def leaf(schema: Schema) -> str:
    """The datatype of single values."""
    if "enum" in schema:
        values = [v for v in schema["enum"] if v is not None]
        kinds: dict[str, Any] = {"BOOL": bool, "INT64": int, "FP64": int | float}
        return next((name for name, type_ in kinds.items() if all(isinstance(v, type_) for v in values)), BYTES)
    types = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", ["number"])
    if types == ["boolean", "null"]:
        return BYTES  # which alone has room for what is missing
    return next((LEAVES[t] for t in types if t != "null"), "FP64")


# -- from tensors to a body, and back ----------------------------------------------------------------------------------


def split(data: bytes, header: str | None) -> tuple[dict[str, Any], bytes]:
    """A request's JSON, and the binary tensors behind it."""
    if header is not None and not (
        header.isascii() and header.isdecimal() and len(header) < 20 and int(header) <= len(data)
    ):
        raise Refused(400, f"{HEADER} is {header[:20]!r}: it has to be the length of the JSON, in bytes")
    at = len(data) if header is None else int(header)
    message = parsed(data[:at])
    if not isinstance(message, dict) or not isinstance(message.get("inputs", []), list):
        raise Refused(400, "the request has to be an object with a list of inputs")
    if not isinstance(message.get("parameters", {}), dict) or not isinstance(message.get("outputs", []), list):
        raise Refused(400, "parameters have to be an object, and outputs a list")
    return message, data[at:]


def read_inputs(message: Mapping[str, Any], binary: bytes) -> dict[str, np.ndarray]:
    """The tensors of a request, by name. `Refused` if one is not what it says."""
    found: dict[str, np.ndarray] = {}
    for each in message.get("inputs", []):
        try:
            name, datatype, shape = str(each["name"]), each["datatype"], each["shape"]
            if name in found:
                raise ValueError(f"{name[:60]!r} is given twice")
            if not isinstance(shape, list) or not all(type(n) is int for n in shape):
                raise ValueError("its shape has to be a list of whole numbers")
            if datatype != BYTES and datatype not in DTYPES:
                raise ValueError(f"its datatype is {datatype!r}, not one of {', '.join([*DTYPES, BYTES])}")
            size = object_of(each.get("parameters")).get("binary_data_size")
            if size is None:
                values = from_json(each["data"], datatype)
            else:
                if not 0 <= size <= len(binary):
                    raise ValueError("it has fewer bytes than it says")
                values, binary = from_bytes(binary[:size], datatype), binary[size:]
            if min(shape, default=1) < 0 or values.size != math.prod(shape):
                raise ValueError(f"it has {values.size} values, which do not fill the shape {shape}")
            found[name] = values.reshape(shape)
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError, AttributeError, struct.error) as e:
            lacks = f"it lacks {e}" if isinstance(e, KeyError) else str(e)
            raise Refused(400, f"an input is not a tensor: {lacks[:200]}") from None
    if binary:
        raise Refused(400, f"{len(binary)} bytes belong to no input")
    return found


def object_of(value: Any) -> dict[str, Any]:
    """A JSON object that may be missing."""
    if not isinstance(value or {}, dict):
        raise ValueError("parameters have to be an object")
    return value or {}


def from_json(data: Any, datatype: str) -> np.ndarray:
    flat = list(flattened(data))
    if datatype == BYTES:
        values = np.empty(len(flat), dtype=object)
        values[:] = flat
        return values
    if any(isinstance(v, str) for v in flat):
        raise ValueError(f"a text is no {datatype}")
    given = np.array(flat, np.float64 if None in flat else None)
    values = given if None in flat else given.astype(DTYPES[datatype])
    if DTYPES[datatype] in WHOLE and given.size and not np.array_equal(values, given, equal_nan=True):
        raise ValueError(f"its values are not all {datatype}")
    return values


def flattened(data: Any) -> Iterator[Any]:
    if isinstance(data, list):
        for each in data:
            yield from flattened(each)
    else:
        yield data


def from_bytes(data: bytes, datatype: str) -> np.ndarray:
    if datatype != BYTES:
        return np.frombuffer(data, np.dtype(DTYPES[datatype]).newbyteorder("<")).astype(DTYPES[datatype])
    texts, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        at += 4 + length
        if at > len(data):
            raise ValueError("a text has fewer bytes than it says")
        texts.append(data[at - length : at].decode())
    values = np.empty(len(texts), dtype=object)
    values[:] = texts
    return values


def body_from(
    given: Mapping[str, np.ndarray], parameters: Mapping[str, Any], known: Sequence[Tensor], operation: Operation
) -> dict[str, Any]:
    """The body of an operation from tensors; single values may also be parameters."""
    by_name = {t.name: t for t in known}
    if unknown := [name for name in given if name not in by_name]:
        raise UserError(f"there is no input {unknown[0][:60]!r}{near_matches(unknown[0][:60], by_name)}")
    own = {name for name in by_name if by_name[name].path[0] not in ("y", operation.main)}
    body: dict[str, Any] = {name: value for name, value in parameters.items() if name in own}
    for name, values in given.items():
        path = by_name[name].path
        if path[0] == operation.main:
            value: Any = values
        elif by_name[name].shape == [1]:  # a single value
            if values.size != 1:
                raise UserError(f"input {name!r} is one value, and has {values.size}")
            value = values.reshape(-1).tolist()[0]
        else:
            value = plain_values(values)
        place = body
        for step in path[:-1]:
            place = place.setdefault(step, {})
        place[path[-1]] = value
    main = body.pop(str(operation.main), None)
    if operation.main and main is None:
        raise UserError(f"the input {operation.main!r} is missing")
    return operation.check(body, main)


def plain_values(values: np.ndarray) -> Any:
    """Values of conditions and observations as a JSON body would have them: NaN is unknown."""
    if values.dtype.kind == "f" and np.isnan(values).any():
        return np.where(np.isnan(values), np.array(None), values.astype(object)).tolist()
    return values.tolist()


def as_tensors(result: Mapping[str, Any], outputs: Sequence[Tensor]) -> Iterator[tuple[str, np.ndarray]]:
    """A result as tensors by name, of the types that were announced; columns of a table have names of their own."""
    types = {t.name: t.datatype for t in outputs}
    for name, value in result.items():
        columns = {f"{name}.{each}": v for each, v in value.items()} if isinstance(value, Mapping) else {name: value}
        for each, values in columns.items():
            array, dtype = as_text(np.asarray(values)), DTYPES.get(types.get(each, BYTES))
            yield each, array.astype(object if dtype is None or array.dtype.kind in "OUS" else dtype)


def written(head: Mapping[str, Any], found: Mapping[str, np.ndarray], message: Mapping[str, Any]) -> Response:
    """The answer: those outputs that are wanted, in JSON or as binary tensors, as the request says."""
    try:
        wanted = {str(each["name"]): object_of(each.get("parameters")) for each in message.get("outputs", [])}
    except (KeyError, TypeError, AttributeError, ValueError):
        raise Refused(400, "an output is an object with a name, and parameters that are an object") from None
    if unknown := [name for name in wanted if name not in found]:
        raise UserError(f"there is no output {unknown[0][:60]!r}{near_matches(unknown[0][:60], found)}")
    by_default = bool(message.get("parameters", {}).get("binary_data_output", False))
    outputs, binary = [], b""
    for name in wanted or found:
        values = found[name]
        about: dict[str, Any] = {"name": name, "datatype": NAMES.get(values.dtype, BYTES), "shape": list(values.shape)}
        if wanted.get(name, {}).get("binary_data", by_default):
            data = to_bytes(values)
            about["parameters"], binary = {"binary_data_size": len(data)}, binary + data
        else:
            flat = values.ravel()
            about["data"] = np.ascontiguousarray(flat) if values.dtype in NAMES else [*map(text, flat.tolist())]
        outputs.append(about)
    answered = answer({**head, "outputs": outputs})
    if not binary:
        return answered
    data = bytes(answered.body)
    return Response(data + binary, headers={HEADER: str(len(data))}, media_type="application/octet-stream")


def text(value: Any) -> str:
    return "" if value is None else str(value)


def to_bytes(values: np.ndarray) -> bytes:
    if values.dtype in NAMES:
        return values.astype(values.dtype.newbyteorder("<")).tobytes()
    parts = [text(v).encode() for v in values.ravel().tolist()]
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)
