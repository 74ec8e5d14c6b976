"""A server that does nothing but answer, always alike: what the clients could ask of a server that costs nothing."""

from __future__ import annotations

import asyncio

import orjson
import uvloop
from common import job
from serving_common import model

given = job()
body = orjson.dumps({"rows": model(given).decode([given["z"]])}, option=orjson.OPT_SERIALIZE_NUMPY)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class Answering(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER)  # type: ignore[attr-defined]


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", given["port"])
    await server.serve_forever()


uvloop.run(main())
