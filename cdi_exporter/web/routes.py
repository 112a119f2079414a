"""The HTTP paths of the exporter: metrics, probes, service discovery and the status page."""

import asyncio
import gzip
import json
import math
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from cdi_exporter.errors import ConfigError
from cdi_exporter.exposition import Format, negotiate
from cdi_exporter.exposition.writer import same_objects
from cdi_exporter.snapshot import WorkspaceSnapshot
from cdi_exporter.threads import Busy, result_of
from cdi_exporter.web.choice import Choice
from cdi_exporter.web.delivery import LargeResponse, Outstanding, gone, with_headers
from cdi_exporter.web.heads import valid_host
from cdi_exporter.web.status import WorkspaceStatus
from cdi_exporter.web.status_json import status_json
from cdi_exporter.web.status_page import status_page
from cdi_exporter.workspace import Workspace

STATIC = Path(__file__).parent / "static"

DEFAULT_TIMEOUT = 10.0
"""Seconds for a scrape without a timeout header: Prometheus' default scrape timeout."""

TIMEOUT_HEADER = "X-Prometheus-Scrape-Timeout-Seconds"

EXPOSITION_TYPES = frozenset(
    {"text/plain", "application/openmetrics-text", "application/vnd.google.protobuf"}
)
"""Media types of the exposition formats; only scrapers request them."""

DEFAULT_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-cache"))
"""Browsers must not guess content types or show cached copies."""

STATUS_JSON = "/api/v1/status"
PROBE, OWN, DISCOVERY = "/probe", "/-/metrics", "/sd"
HEALTHY, READY, RELOAD = "/-/healthy", "/-/ready", "/-/reload"
FIXED_PATHS = frozenset({PROBE, OWN, DISCOVERY, HEALTHY, READY, RELOAD, STATUS_JSON})
"""Paths that `--web.telemetry-path` cannot be; `/` is allowed, and replaces the status page."""

PAGE_SECONDS = 1.0
"""Seconds for which a rendered page is used again while its data is the same: it shows ages in
seconds."""

MOST_KEPT = 4
"""Most rendered pages that are kept: one with 1,000 integrations has about 2 MB."""

_JSON_HEADERS = {"Vary": "Accept-Encoding", "Content-Type": "application/json"}
_PAGE_HEADERS = {
    "Vary": "Accept-Encoding",
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}


class Source(Protocol):
    """The running exporter, as the routes use it."""

    workspaces: Mapping[str, Workspace]
    """The configured workspaces by name."""
    render_seconds: float
    """Seconds that rendering the metrics usually takes."""

    async def render(
        self, snapshots: Sequence[WorkspaceSnapshot], form: Format, *, own: bool
    ) -> bytes:
        """The exposition of the snapshots, and of the exporter itself if `own`."""

    def render_page(self, work: Callable[[], bytes]) -> Awaitable[bytes]:
        """Render a status page in another thread; raises Busy if too many wait."""

    async def reload(self) -> None:
        """Load the configuration again; raises ConfigError if it is invalid."""

    def wall(self) -> float:
        """Unix seconds."""


@dataclass(frozen=True, slots=True)
class WebOptions:
    """The values of the `--web` flags that the routes need."""

    telemetry_path: str = "/metrics"
    timeout_offset: float = 0.5
    enable_lifecycle: bool = False


class Handlers:
    """The handlers of the paths."""

    def __init__(self, source: Source, options: WebOptions) -> None:
        self._source, self._options = source, options
        # Separate limits, so that slow browsers never cause the answer of a scrape to be aborted.
        self._outstanding, self._outstanding_pages = Outstanding(), Outstanding()
        self._recent: dict[Hashable, tuple[Sequence[object], float, asyncio.Future[bytes]]] = {}
        """Rendered pages by request: the data, the time, and the page, which may still be in
        progress."""

    async def metrics(self, request: Request) -> Response:
        """The metrics of all workspaces and of the exporter itself."""
        return await self._exposition(request, self._source.workspaces, own=True)

    async def probe(self, request: Request) -> Response:
        """The metrics of one workspace."""
        name = request.query_params.get("workspace")
        known = self._source.workspaces
        if not name:
            raise HTTPException(400, "the parameter workspace is missing; " + known_names(known))
        if name not in known:
            raise HTTPException(404, "no such workspace; " + known_names(known))
        return await self._exposition(request, {name: known[name]}, own=False)

    async def own(self, request: Request) -> Response:
        """The metrics of the exporter itself."""
        return await self._exposition(request, {}, own=True)

    async def discovery(self, request: Request) -> Response:
        """The targets for Prometheus' `http_sd_configs`."""
        host = valid_host(request.headers.get("host"))
        if host is None:
            raise HTTPException(400, "the Host header is not host or host:port; nothing to scrape")
        groups = [
            {
                "targets": [host],
                "labels": {
                    "__metrics_path__": PROBE,
                    "__param_workspace": name,
                    "instance": f"{host}/{name}",
                },
            }
            for name in self._source.workspaces
        ]
        groups.append({"targets": [host], "labels": {"__metrics_path__": OWN}})
        return JSONResponse(groups)

    async def reload(self, request: Request) -> Response:
        """Load the configuration again."""
        if not self._options.enable_lifecycle:
            raise HTTPException(403, "Lifecycle API is not enabled.")
        if _from_another_site(request):
            raise HTTPException(403, "a web page of another site sent this request")
        try:
            await self._source.reload()
        except ConfigError as error:
            raise HTTPException(400, "\n".join(error.mistakes)) from error
        return PlainTextResponse("")

    async def _exposition(
        self, request: Request, workspaces: Mapping[str, Workspace], *, own: bool
    ) -> Response:
        form = negotiate(
            ", ".join(request.headers.getlist("accept")),
            ", ".join(request.headers.getlist("accept-encoding")),
        )
        scraped = [*workspaces.values()]
        if request.method == "GET":
            deadline = asyncio.get_running_loop().time() + self._time_to_wait(request)
            snapshots = await asyncio.gather(*(each.scrape(deadline) for each in scraped))
        else:
            snapshots = [each.snapshot() for each in scraped]
        if gone(request.scope):
            raise HTTPException(503, "the client has hung up")
        body = await self._source.render(snapshots, form, own=own)
        headers = {"Content-Type": form.content_type, "Vary": "Accept, Accept-Encoding"}
        if form.gzip:
            headers["Content-Encoding"] = "gzip"

        def served() -> None:
            for each, snapshot in zip(scraped, snapshots, strict=True):
                each.received(snapshot)

        after = served if _is_scraper(request) else None
        return LargeResponse(body, headers, self._outstanding, after)

    def _time_to_wait(self, request: Request) -> float:
        """Seconds to wait for workspaces: the scrape timeout minus the time for rendering."""
        try:
            timeout = float(request.headers.get(TIMEOUT_HEADER, ""))
        except ValueError:
            timeout = DEFAULT_TIMEOUT
        if not (math.isfinite(timeout) and timeout > 0):
            timeout = DEFAULT_TIMEOUT
        allowed = timeout - self._options.timeout_offset
        return max(0.0, allowed - min(2 * self._source.render_seconds, allowed / 2))

    async def page(self, request: Request) -> Response:
        """The status page."""
        names = [*self._source.workspaces]
        host = valid_host(request.headers.get("host")) or "HOST:PORT"
        path = self._options.telemetry_path
        write = partial(status_page, names=names, host=host, telemetry_path=path)
        return await self._status(request, write, _PAGE_HEADERS, host, *names)

    async def document(self, request: Request) -> Response:
        """The status as JSON."""
        return await self._status(request, status_json, _JSON_HEADERS)

    async def _status(
        self,
        request: Request,
        write: Callable[[Sequence[WorkspaceStatus], Choice, float], str],
        headers: Mapping[str, str],
        *key: Hashable,
    ) -> Response:
        """The status as HTML or JSON, compressed if the client accepts it.

        `key` is what the result depends on in addition to the query.
        """
        known, now = self._source.workspaces, self._source.wall()
        try:
            choice = Choice.read(request.query_params)
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        if choice.workspace and choice.workspace not in known:
            raise HTTPException(404, "no such workspace; " + known_names(known))
        wanted = [each for name, each in known.items() if choice.workspace in ("", name)]
        data = [(each.snapshot(), each.recent()) for each in wanted]
        compress = negotiate(None, ", ".join(request.headers.getlist("accept-encoding"))).gzip

        def work() -> bytes:
            chosen = [WorkspaceStatus(snapshot, recent, now) for snapshot, recent in data]
            # Names from the API may contain lone surrogates, which UTF-8 cannot encode.
            body = write(chosen, choice, now).encode("utf-8", "replace")
            return gzip.compress(body, compresslevel=1) if compress else body

        same = [each for snapshot, recent in data for each in (snapshot, *recent[-1:])]
        whole_key = (request.url.path, choice, compress, *key)
        body = await self._shared_page(whole_key, same, now, work)
        encoding = {"Content-Encoding": "gzip"} if compress else {}
        return LargeResponse(body, {**headers, **encoding}, self._outstanding_pages)

    async def _shared_page(
        self, key: Hashable, data: Sequence[object], now: float, work: Callable[[], bytes]
    ) -> bytes:
        """The page, rendered once for all equal requests while `data` has the same objects.

        If one client disconnects, rendering continues for the others.
        """
        page = self._recent.pop(key, None)
        if page is None or not same_objects(page[0], data) or abs(now - page[1]) >= PAGE_SECONDS:
            page = (data, now, asyncio.ensure_future(self._source.render_page(work)))
        self._recent[key] = page
        while len(self._recent) > MOST_KEPT:
            del self._recent[next(iter(self._recent))]
        try:
            return await result_of(page[2])
        except Busy as error:
            self._recent.pop(key, None)
            text = "too many status pages are being rendered; try again in a second"
            raise HTTPException(503, text, headers={"Retry-After": "1"}) from error


def known_names(workspaces: Iterable[str]) -> str:
    """The known names, for an error message."""
    return "known: " + ", ".join(json.dumps(name, ensure_ascii=False) for name in workspaces)


def _from_another_site(request: Request) -> bool:
    """Whether the request's headers show that a web page of another origin sent it."""
    site = request.headers.get("sec-fetch-site", "none")
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    return site not in ("none", "same-origin") or (
        origin is not None and origin.partition("://")[2] != host
    )


def _is_scraper(request: Request) -> bool:
    """Whether a scraper sent the request, so that the answer is stored in a database.

    Scrapers send a timeout or request an exposition format; browsers and curl do neither.
    """
    accepted = ",".join(request.headers.getlist("accept")).lower()
    asks = any(each.partition(";")[0].strip() in EXPOSITION_TYPES for each in accepted.split(","))
    return request.method == "GET" and (asks or TIMEOUT_HEADER in request.headers)


HEALTH_ROUTES = (
    Route(HEALTHY, PlainTextResponse("cdi-exporter is healthy.\n"), methods=["GET"]),
    Route(READY, PlainTextResponse("cdi-exporter is ready.\n"), methods=["GET"]),
)
"""Both answer as soon as requests are served; neither depends on Braze."""


def create_app(source: Source, options: WebOptions) -> Starlette:
    """The ASGI application on the exporter's own port."""
    handlers = Handlers(source, options)
    return _application(
        [
            Route(options.telemetry_path, handlers.metrics),
            Route(PROBE, handlers.probe),
            Route(OWN, handlers.own),
            Route(DISCOVERY, handlers.discovery),
            Route(RELOAD, handlers.reload, methods=["POST"]),
            *HEALTH_ROUTES,
            Route(STATUS_JSON, handlers.document),
            Mount("/static", StaticFiles(directory=STATIC)),
            # Last, because the telemetry path may also be `/`; then there is no status page.
            Route("/", handlers.page),
        ]
    )


def create_health_app() -> Starlette:
    """The ASGI application of the health address."""
    return _application(HEALTH_ROUTES)


def _application(routes: Sequence[BaseRoute]) -> Starlette:
    """An application with these paths only; a path with a trailing slash is not redirected."""
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: _plain_error},
        middleware=[Middleware(default_headers)],
    )
    app.router.redirect_slashes = False
    return app


def default_headers(app: ASGIApp) -> ASGIApp:
    """Add `DEFAULT_HEADERS` to each response."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, with_headers(send, DEFAULT_HEADERS))

    return answer


async def _plain_error(request: Request, error: Exception) -> Response:
    failure = cast(HTTPException, error)
    return PlainTextResponse(f"{failure.detail}\n", failure.status_code, failure.headers)
