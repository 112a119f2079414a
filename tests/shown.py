"""Hand-made snapshots behind the web application, for the tests of the status page."""

import asyncio
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import httpx
import uvicorn
from starlette.types import ASGIApp

from cdi_exporter.exposition import Format
from cdi_exporter.model import DELIVERIES, RequestRecord, Run, Status
from cdi_exporter.snapshot import EndpointSnapshot, Facts, IntegrationSnapshot, WorkspaceSnapshot
from cdi_exporter.web.routes import WebOptions, create_app
from cdi_exporter.workspace import Workspace

NOW = 1_790_000_000.0
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0

SUCCESS, PARTIAL, ERROR = Status.SUCCESS, Status.PARTIAL, Status.ERROR


class ShownWorkspace:
    """A workspace with a fixed snapshot, which fails if it is scraped."""

    def __init__(
        self, snapshot: WorkspaceSnapshot, exchanges: Sequence[RequestRecord] = ()
    ) -> None:
        self._snapshot, self._exchanges = snapshot, exchanges

    async def scrape(self, deadline: float) -> WorkspaceSnapshot:
        raise AssertionError("the web pages must not send requests to Braze")

    def snapshot(self) -> WorkspaceSnapshot:
        return self._snapshot

    def received(self, snapshot: WorkspaceSnapshot) -> None:
        raise AssertionError("the web pages must not count as a scrape")

    def recent(self) -> Sequence[RequestRecord]:
        return self._exchanges


class Shown:
    """The source of the web application, with workspaces that do not change."""

    render_seconds = 0.0

    def __init__(self, *workspaces: ShownWorkspace, now: float = NOW) -> None:
        self.now = now
        self.show(*workspaces)

    def show(self, *workspaces: ShownWorkspace) -> None:
        shown = {each.snapshot().name: each for each in workspaces}
        self.workspaces = cast(Mapping[str, Workspace], shown)

    async def render(
        self, snapshots: Sequence[WorkspaceSnapshot], form: Format, *, own: bool
    ) -> bytes:
        return b""

    async def render_page(self, work: Callable[[], bytes]) -> bytes:
        return work()

    async def reload(self) -> None: ...

    def wall(self) -> float:
        return self.now


def run(
    status: Status = SUCCESS,
    *,
    ago: float = 5 * MINUTE,
    took: float = 40.0,
    rows: int | None = 1_000,
    failed: int | None = 0,
    word: str | None = None,
) -> Run:
    """A run that ended `ago` seconds before NOW; `word` is Braze's text for its status."""
    end = NOW - ago
    return Run(status, end - took, end, end - took - MINUTE, rows, failed, word)


def facts(identifier: str, name: str | None = None, *runs: Run, **fields: object) -> Facts:
    """The facts of an integration that runs every 15 minutes, unless `fields` differ."""
    successes = [each.finish for each in runs if each.status is SUCCESS and each.finish]
    deliveries = [each.finish for each in runs if each.status in DELIVERIES and each.finish]
    values: dict[str, object] = {
        "type": "users_track",
        "status": "active",
        "warehouse": "snowflake",
        "last": runs[-1] if runs else None,
        "last_success": max(successes, default=None),
        "last_delivery": max(deliveries, default=None),
        "history_start": runs[0].start if runs else None,
        "watermark": runs[-1].watermark if runs else None,
        "consecutive_failures": 0,
        "running": 0,
        "next_scheduled": NOW + 10 * MINUTE,
        "typical_interval": 15 * MINUTE,
        "typical_duration": 40.0,
        "typical_rows": 1_000.0,
        "stale_after": 32 * MINUTE,
        "recent": runs,
    }
    return Facts(identifier, name or identifier, **(values | fields))  # type: ignore[arg-type]


def workspace(name: str, *shown: Facts | IntegrationSnapshot, **fields: object) -> ShownWorkspace:
    """A workspace that was refreshed 12 s ago, unless `fields` differ."""
    values: dict[str, object] = {
        "up": True,
        "last_refresh": NOW - 12,
        "refresh_duration": 1.4,
        "endpoints": (
            EndpointSnapshot("integrations", limit=50, remaining=46, reset=NOW + 31),
            EndpointSnapshot("job_sync_status", limit=100, remaining=91, reset=NOW + 31),
        ),
    }
    exchanges: object = fields.pop("exchanges", (exchange(),))
    snapshot = WorkspaceSnapshot(
        name,
        tuple(
            each if isinstance(each, IntegrationSnapshot) else IntegrationSnapshot(each, NOW, True)
            for each in shown
        ),
        **(values | fields),  # type: ignore[arg-type]
    )
    return ShownWorkspace(snapshot, exchanges)  # type: ignore[arg-type]


def exchange(
    endpoint: str = "integrations",
    code: str = "200",
    *,
    ago: float = 12.0,
    integration_id: str | None = None,
    seconds: float = 0.21,
) -> RequestRecord:
    """One request to the API."""
    return RequestRecord(NOW - ago, endpoint, integration_id, code, seconds)


def many(number: int, seed: int = 1) -> ShownWorkspace:
    """A workspace of many integrations with 24 runs each, all of them different."""
    draw = random.Random(seed)
    statuses = [SUCCESS] * 20 + [PARTIAL, ERROR, Status.CONFIG_ERROR, Status.UNKNOWN]
    shown = []
    for index in range(number):
        runs = [
            run(
                draw.choice(statuses),
                ago=back * 15 * MINUTE + draw.uniform(0, 600),
                took=draw.uniform(5, 90),
                rows=draw.randrange(50_000),
                failed=draw.randrange(50),
            )
            for back in range(24, -1, -1)
        ]
        shown.append(facts(f"id-{index:05d}", f"sync-{index:05d}", *runs[-24:]))
    exchanges = [exchange("job_sync_status", ago=50 - i) for i in range(50)]
    return workspace("crowd", *shown, exchanges=exchanges)


def example() -> Shown:
    """A production workspace with every kind of trouble, and a sandbox that cannot be read."""
    draw = random.Random(7)

    def history(
        tail: Sequence[tuple[Status, int, int]] = (),
        *,
        every: float = 15 * MINUTE,
        last: float = 6 * MINUTE,
        rows: float = 1_000,
        took: float = 40,
        length: int = 24,
    ) -> list[Run]:
        usual = [
            (SUCCESS, round(rows * draw.uniform(0.7, 1.3)), 0) for _ in range(length - len(tail))
        ]
        outcomes = [*usual, *tail]
        return [
            run(
                status,
                ago=last + every * (len(outcomes) - 1 - place),
                took=took * draw.uniform(0.8, 1.2),
                rows=synced,
                failed=failed,
            )
            for place, (status, synced, failed) in enumerate(outcomes)
        ]

    hourly = history(every=HOUR, last=22 * MINUTE, rows=48_000, took=190)
    orders = history(
        [(PARTIAL, 8_210, 96), (SUCCESS, 9_004, 0), (PARTIAL, 7_793, 1_204)], rows=9_000
    )
    email = history([(ERROR, 0, 2_402)] * 4, rows=2_400)
    purchases = history([(Status.CONFIG_ERROR, 0, 0)] * 5, every=30 * MINUTE, rows=700)
    catalog = history(every=30 * MINUTE, last=95 * MINUTE, rows=15_000, took=300)
    tokens = history(every=20 * MINUTE, last=17 * MINUTE, rows=1_200)
    loyalty = history(every=30 * MINUTE, last=78 * MINUTE, rows=3_300)
    consent = [*history(rows=400), run(Status.UNKNOWN, rows=402, word="limit_exceeded")]
    events = history(every=20 * MINUTE, last=3 * MINUTE, rows=30_000, took=150)
    churn = history(every=DAY, last=5 * HOUR, rows=120_000, took=1_500, length=11)
    sandbox = history(every=HOUR, last=100 * MINUTE, rows=250)
    production = workspace(
        "production",
        facts("6f1c", "users-attributes-hourly", *hourly, stale_after=2 * HOUR + 380,
              next_scheduled=NOW + 38 * MINUTE),
        facts("2b7e", "orders-snowflake", *orders, type="events"),
        facts("91d0", "email-subscription", *email, warehouse="bigquery", stale_after=2 * HOUR,
              consecutive_failures=4),
        facts("c4a8", "purchases-redshift", *purchases, warehouse="redshift", type="events",
              stale_after=4 * HOUR, consecutive_failures=5),
        facts("77e3", "catalog-items", *catalog, warehouse="databricks", type="catalogs",
              running=1, running_since=NOW - 66 * MINUTE, typical_duration=300.0,
              stale_after=2 * HOUR, next_scheduled=NOW + 24 * MINUTE),
        facts("0a5f", "push-tokens-s3", *tokens, warehouse="s3", next_scheduled=None,
              stale_after=None),
        facts("e812", "loyalty-tiers", *loyalty, warehouse="fabric", stale_after=62 * MINUTE,
              next_scheduled=NOW - 48 * MINUTE),
        facts("5d39", "consent-flags", *consent, warehouse="redshift"),
        facts("b6f4", "web-events", *events, warehouse="bigquery", type="events", running=1,
              running_since=NOW - 50, stale_after=45 * MINUTE, next_scheduled=NOW + 17 * MINUTE),
        facts("38ca", "churn-scores", *churn, warehouse="databricks",
              stale_after=2 * DAY + 50 * MINUTE, next_scheduled=NOW + 19 * HOUR),
        exchanges=[
            exchange("integrations", ago=12, seconds=0.182),
            exchange("job_sync_status", ago=11.4, integration_id="2b7e", seconds=0.236),
            exchange("job_sync_status", ago=11.1, integration_id="b6f4", seconds=0.203),
        ],
    )  # fmt: skip
    broken = workspace(
        "sandbox",
        facts("aa01", "users-sandbox", *sandbox, stale_after=3 * HOUR),
        up=False,
        error="unauthorized",
        problem=(
            "401: Braze does not know this API key; check the key, and that the endpoint is the "
            "one of the key's workspace"
        ),
        last_refresh=NOW - 42 * MINUTE,
        endpoints=(EndpointSnapshot("integrations"), EndpointSnapshot("job_sync_status")),
        exchanges=[
            exchange("integrations", "401", ago=minutes * MINUTE + 12, seconds=0.09)
            for minutes in range(3, -1, -1)
        ],
    )
    return Shown(production, broken)


def get(source: Shown, path: str = "/", **options: Any) -> httpx.Response:
    """The response of the web application to a request."""

    async def request() -> httpx.Response:
        app = create_app(source, WebOptions(**options.pop("web", {})))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://exporter:10234"
        ) as client:
            return await client.request(options.pop("method", "GET"), path, **options)

    return asyncio.run(request())


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Serve the application on a free local port, and yield its URL without a trailing slash."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, ws="none")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
