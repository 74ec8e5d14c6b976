"""A service of one route by LitServe, which waits 2 ms for more requests and decodes up to 64 at once."""

from __future__ import annotations

from typing import Any

import litserve
import numpy as np
import orjson
from common import job
from fastapi import Response
from serving_common import model


class Decoder(litserve.LitAPI):
    def __init__(self, given: dict[str, Any]):
        super().__init__(max_batch_size=64, batch_timeout=0.002, api_path=given["path"])
        self.given = given

    def setup(self, device: str) -> None:
        self.model = model(self.given)

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # LitServe reads a type as a form to check
        return request["z"][0]

    def batch(self, codes: list[list[float]]) -> np.ndarray:
        return np.array(codes)

    def predict(self, codes: np.ndarray) -> np.ndarray:
        return self.model.decode(codes)

    def unbatch(self, rows: np.ndarray) -> list[np.ndarray]:
        return list(rows)

    def encode_response(self, row: np.ndarray) -> Response:
        return Response(orjson.dumps({"rows": [row]}, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


if __name__ == "__main__":
    given = job()
    server = litserve.LitServer(Decoder(given), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=given["port"], num_api_servers=1, generate_client_file=False, log_level="warning")
