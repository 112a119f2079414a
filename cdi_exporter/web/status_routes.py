"""The routes of the status: the page, the same as JSON, and the page's own files."""

import asyncio
import gzip
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from cdi_exporter.exposition import negotiate
from cdi_exporter.exposition.writer import same_objects
from cdi_exporter.threads import Busy
from cdi_exporter.web.choice import Choice
from cdi_exporter.web.delivery import LargeResponse, Outstanding
from cdi_exporter.web.heads import valid_host
from cdi_exporter.web.source import Source, known_names
from cdi_exporter.web.status import WorkspaceStatus
from cdi_exporter.web.status_json import status_document
from cdi_exporter.web.status_page import status_page

STATIC = Path(__file__).parent / "static"
STATUS_JSON = "/api/v1/status"

PAGE_SECONDS = 1.0
"""For which a rendered page is good, while the data stays the same: its ages count seconds."""

MOST_KEPT = 4
"""Rendered pages that are kept for that time: one of 1,000 integrations has about 2 MB."""


class StatusRoutes:
    """The handlers of the status page; `telemetry_path` is the path of the metrics."""

    def __init__(self, source: Source, telemetry_path: str) -> None:
        self._source, self._telemetry_path = source, telemetry_path
        self._outstanding = Outstanding()
        self._recent: dict[Hashable, tuple[Sequence[object], float, asyncio.Future[bytes]]] = {}
        """Pages by what was asked for: the data, when that was, and the page, which may still be
        in progress."""

    def routes(self) -> list[BaseRoute]:
        """Without the page if the metrics have its path."""
        return [
            Route(STATUS_JSON, self.document),
            Mount("/static", StaticFiles(directory=STATIC)),
            *([Route("/", self.page)] if self._telemetry_path != "/" else []),
        ]

    async def page(self, request: Request) -> Response:
        """The status page."""
        every = [*self._source.workspaces]
        host = valid_host(request.headers.get("host")) or "HOST:PORT"
        target = (host, self._telemetry_path)

        def write(chosen: Sequence[WorkspaceStatus], choice: Choice, now: float) -> str:
            return status_page(chosen, every, choice, target, now)

        return await self._answer(request, (host, *every), _PAGE_HEADERS, write)

    async def document(self, request: Request) -> Response:
        """The same as JSON."""

        def write(chosen: Sequence[WorkspaceStatus], choice: Choice, now: float) -> str:
            document = status_document(chosen, choice, now)
            return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

        return await self._answer(request, (), _JSON_HEADERS, write)

    async def _answer(
        self,
        request: Request,
        key: tuple[Hashable, ...],
        headers: Mapping[str, str],
        write: Callable[[Sequence[WorkspaceStatus], Choice, float], str],
    ) -> Response:
        """The answer as the client accepts it; `key` is what it depends on besides the query."""
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
            # Names from the API may hold what UTF-8 cannot carry.
            body = write(chosen, choice, now).encode("utf-8", "replace")
            return gzip.compress(body, compresslevel=1) if compress else body

        same = [each for snapshot, recent in data for each in (snapshot, *recent[-1:])]
        whole_key = (request.url.path, choice, compress, *key)
        try:
            body = await self._shared(whole_key, same, now, work)
        except Busy as error:
            text = "too many status pages are being rendered; try again in a second"
            raise HTTPException(503, text, headers={"Retry-After": "1"}) from error
        encoding = {"Content-Encoding": "gzip"} if compress else {}
        return LargeResponse(body, {**headers, **encoding}, self._outstanding)

    async def _shared(
        self, key: Hashable, data: Sequence[object], now: float, work: Callable[[], bytes]
    ) -> bytes:
        """The page, rendered once for all who ask for the same while `data` has the same objects.

        One of them that hangs up does not end the rendering for the others.
        """
        page = self._recent.pop(key, None)
        if page is None or not same_objects(page[0], data) or abs(now - page[1]) >= PAGE_SECONDS:
            page = (data, now, asyncio.ensure_future(self._source.render_page(work)))
        self._recent[key] = page
        while len(self._recent) > MOST_KEPT:
            del self._recent[next(iter(self._recent))]
        try:
            return await asyncio.shield(page[2])
        except Busy:
            self._recent.pop(key, None)
            raise


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
