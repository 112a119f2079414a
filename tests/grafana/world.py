"""A workspace with every kind of problem, on a socket: python -m tests.grafana.world PORT NOW.

The server and the tests build the workspace with the same code, so the tests know its real state.
Times are seconds relative to NOW.
"""

import sys
import time
from collections.abc import Callable
from urllib.parse import parse_qs

import uvicorn

from tests.e2e.braze_server import KEY
from tests.simulator import ScriptedIntegration, Simulator

HOUR = 3600.0
MINUTE = 60.0


class World:
    """Ten integrations, each in a different state."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.users = self._hourly("users-hourly", rows=1000, takes=90.0)
        self.orders = self._hourly("orders (EU) v1.2", status="partial", rows=70, failed=30)
        self.purchases = self._hourly("purchases", status="config_error", rows=None, failed=None)
        self.emails = self._failing()
        self.catalog = self._stuck()
        self.loyalty = self._hourly("loyalty-tiers", rows=300, last=90 * MINUTE)
        self.events = self._hourly("events-s3", rows=50, last=3 * MINUTE, warehouse="s3")
        self.events.next_run = None
        self.consents = self._hourly("consent-flags", status="quarantined", rows=5, failed=1)
        self.deleted = self._hourly("deleted-users", rows=150)
        start = now - 8 * MINUTE
        self.deleted.run(start, start + 30, rows_synced=0)
        self.newcomer = ScriptedIntegration("id-newcomer", "newcomer", next_run=now + HOUR)

    @property
    def integrations(self) -> list[ScriptedIntegration]:
        """All integrations."""
        return [each for each in vars(self).values() if isinstance(each, ScriptedIntegration)]

    def simulator(self, clock: Callable[[], float] = time.time, key: str = KEY) -> Simulator:
        """The simulated workspace."""
        return Simulator(self.integrations, clock, key=key, latency=0.02)

    def finish(self, at: float) -> None:
        """Finish three runs: with a few failed rows, with mostly failed rows, and with an error."""
        self.users.run(at - 20, at, "partial", rows_synced=400, rows_failed=25, watermark=at - 30)
        self.orders.run(at - 40, at, "partial", rows_synced=10, rows_failed=90, watermark=at - 50)
        self.emails.run(at - 5, at, "error", rows_synced=0, rows_failed=0)

    def _hourly(
        self,
        name: str,
        *,
        rows: int | None,
        failed: int | None = 0,
        status: str = "success",
        takes: float = 30.0,
        last: float = 10 * MINUTE,
        warehouse: str = "snowflake",
    ) -> ScriptedIntegration:
        """Five runs that start an hour apart. The last one finished `last` seconds ago."""
        made = ScriptedIntegration(
            f"id-{name.partition(' ')[0]}",
            name,
            warehouse=warehouse,
            next_run=self.now - last - takes + HOUR,
        )
        for number in range(4, -1, -1):
            finish = self.now - last - number * HOUR
            made.run(
                finish - takes,
                finish,
                status,
                rows_synced=rows,
                rows_failed=failed,
                watermark=finish - 2 * takes,
            )
        return made

    def _failing(self) -> ScriptedIntegration:
        """Five successful runs, the last four hours ago, then three failed ones."""
        made = self._hourly("email-subscriptions", rows=240, last=4 * HOUR)
        made.next_run = self.now + 30 * MINUTE
        for number in range(3, 0, -1):
            start = self.now - number * HOUR + 30 * MINUTE
            made.run(start, start + 10, "error", rows_synced=0, rows_failed=0)
        return made

    def _stuck(self) -> ScriptedIntegration:
        """Successful runs, and one that has been in progress for three hours."""
        made = self._hourly("catalog-items", rows=90, last=3.2 * HOUR)
        made.run(self.now - 3 * HOUR)
        made.next_run = self.now - 2 * HOUR
        return made


def main() -> None:
    """Serve until terminated. A POST to /finish?at=TIME finishes runs."""
    world = World(float(sys.argv[2]))
    simulator = world.simulator()

    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        if scope["type"] == "http" and scope["path"] == "/finish":
            world.finish(float(parse_qs(scope["query_string"].decode())["at"][0]))
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await simulator(scope, receive, send)

    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", date_header=False
    )


if __name__ == "__main__":
    main()
