"""A simulated Braze on a socket, for benchmarks of the real exporter's process.

    python -m benchmarks.braze --port 1 --integrations 1000

Prints a line of JSON as soon as it serves. POST /change?number=10&runs=1 adds a finished run to
each of the next ten integrations. GET /read returns the number of requests so far.
"""

import argparse
import asyncio
import json
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Send

from benchmarks.world import World
from cdi_exporter.web.server import Address, Listener, listen
from tests.simulator import HISTORY, LIST


class Controlled:
    """The simulated API, and two more paths for the benchmark."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        traffic = self._world.simulator.traffic
        if scope["path"] == "/change":
            query = parse_qs(scope["query_string"].decode())
            self._world.change(int(query["number"][0]), int(query["runs"][0]))
            await Response()(scope, receive, send)
        elif scope["path"] == "/read":
            found = {name: len(traffic[name].times) for name in (LIST, HISTORY)}
            await JSONResponse(found)(scope, receive, send)
        else:
            await self._world.simulator(scope, receive, send)


async def serve(port: int, number: int) -> None:
    app = Controlled(World(number))
    listener = Listener(app, [listen(Address("127.0.0.1", port))])
    serving = asyncio.create_task(listener.serve())
    await listener.wait_started()
    print(json.dumps({"serving": True}), flush=True)
    await serving


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--integrations", type=int)
    wanted = parser.parse_args()
    asyncio.run(serve(wanted.port, wanted.integrations))


if __name__ == "__main__":
    main()
