"""A service of one route by FastAPI, which decodes each request by itself: as its tutorial has it, or tuned by hand."""

from __future__ import annotations

from typing import Any

import orjson
import uvicorn
from common import job
from fastapi import FastAPI, Response
from pydantic import BaseModel
from serving_common import model


class Codes(BaseModel):
    z: list[list[float]]


given = job()
decoder, app = model(given), FastAPI()


def plain(codes: Codes) -> dict[str, Any]:
    return {"rows": decoder.decode(codes.z).tolist()}


async def tuned(codes: Codes) -> Response:
    rows = decoder.decode(codes.z)
    return Response(orjson.dumps({"rows": rows}, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


app.post(given["path"])(tuned if given["tuned"] else plain)
uvicorn.run(app, port=given["port"], log_level="warning", access_log=False)
