"""A service of one route by Ray Serve, which waits 2 ms for more requests and decodes up to 64 at once."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

import numpy as np
import orjson
import ray
from common import job
from ray import serve
from serving_common import model
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(max_ongoing_requests=256, ray_actor_options={"num_cpus": 0})
class Decoder:
    def __init__(self, given: dict[str, Any]):
        self.model = model(given)

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)
    async def decode(self, codes: list[list[float]]) -> list[np.ndarray]:
        return list(self.model.decode(codes))

    async def __call__(self, request: Request) -> Response:
        row = await self.decode((await request.json())["z"][0])
        return Response(orjson.dumps({"rows": [row]}, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


if __name__ == "__main__":
    given = job()
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    serve.start(http_options={"host": "127.0.0.1", "port": given["port"]}, logging_config={"enable_access_log": False})
    serve.run(Decoder.bind(given), route_prefix=given["path"])
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    over.wait()
    serve.shutdown()
    ray.shutdown()
