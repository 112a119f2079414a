"""A simulated Braze workspace on a socket: python -m tests.e2e.braze_server PORT."""

import sys
import time

import uvicorn

from tests.simulator import ScriptedIntegration, Simulator

KEY = "canary-key-4f1d"
NAMES = {"good": "users-hourly", "lossy": "orders", "broken": "purchases"}


def integrations(now: float) -> list[ScriptedIntegration]:
    """Three integrations with three runs each, an hour apart."""
    good, lossy, broken = (ScriptedIntegration(*each) for each in NAMES.items())
    for number in range(3, 0, -1):
        start = now - 3600 * number
        good.run(start, start + 90, rows_synced=1000)
        lossy.run(start, start + 30, "partial", rows_synced=70, rows_failed=30)
        broken.run(start, start + 5, "config_error", rows_synced=None, rows_failed=None)
    return [good, lossy, broken]


def main() -> None:
    """Serve until terminated. A POST to /finish adds a finished run to the first integration."""
    known = integrations(time.time())
    simulator = Simulator(known, time.time, key=KEY, latency=0.02)

    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        if scope["type"] == "http" and scope["path"] == "/finish":
            now = time.time()
            known[0].run(now - 20, now, "partial", rows_synced=400, rows_failed=25)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await simulator(scope, receive, send)

    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", date_header=False
    )


if __name__ == "__main__":
    main()
