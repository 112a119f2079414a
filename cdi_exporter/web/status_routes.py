"""The routes of the status: the page, the same as JSON, and the page's own files."""

import gzip
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from cdi_exporter.braze.traffic import Exchange
from cdi_exporter.exposition import negotiate
from cdi_exporter.snapshot import WorkspaceSnapshot
from cdi_exporter.web.choice import Choice
from cdi_exporter.web.document import status_document
from cdi_exporter.web.page import Place, status_page
from cdi_exporter.web.status import WorkspaceStatus

STATIC = Path(__file__).parent / "static"


STATUS_JSON = "/api/v1/status"


class Known(Protocol):
    """A workspace as the status shows it; it is not asked to refresh."""

    def snapshot(self) -> WorkspaceSnapshot:
        """What is known now."""

    def recent(self) -> Sequence[Exchange]:
        """The last requests to the API, oldest first."""


class StatusSource(Protocol):
    """What the status shows."""

    @property
    def workspaces(self) -> Mapping[str, Known]:
        """The workspaces by name, as configured now."""

    def wall(self) -> float:
        """Unix seconds."""

    def offload(self, work: Callable[[], bytes]) -> Awaitable[bytes]:
        """Do the work of rendering beside the event loop."""


class StatusRoutes:
    """The handlers, over one source; `telemetry_path` is where the metrics are."""

    def __init__(self, source: StatusSource, telemetry_path: str) -> None:
        self._source, self._telemetry_path = source, telemetry_path

    def routes(self) -> list[BaseRoute]:
        """Without the page where the metrics have its path."""
        return [
            Route(STATUS_JSON, self.document),
            Mount("/static", StaticFiles(directory=STATIC)),
            *([Route("/", self.page)] if self._telemetry_path != "/" else []),
        ]

    async def page(self, request: Request) -> Response:
        """The status page."""
        choice, now = _choice(request), self._source.wall()
        every = [*self._source.workspaces]
        chosen = self._chosen(choice, now)
        place = Place(self._telemetry_path, request.headers.get("host") or "HOST:PORT")
        return await self._answer(
            request, _PAGE_HEADERS, lambda: status_page(chosen, every, choice, place, now)
        )

    async def document(self, request: Request) -> Response:
        """The same as JSON."""
        choice, now = _choice(request), self._source.wall()
        chosen = self._chosen(choice, now)
        return await self._answer(
            request, _JSON_HEADERS, lambda: _json(status_document(chosen, choice, now))
        )

    def _chosen(self, choice: Choice, now: float) -> list[WorkspaceStatus]:
        """The workspaces that are asked for, judged at `now`; Braze is asked nothing."""
        known = self._source.workspaces
        if choice.workspace and choice.workspace not in known:
            names = ", ".join(json.dumps(name, ensure_ascii=False) for name in known)
            raise HTTPException(404, f"no such workspace; known: {names}")
        return [
            WorkspaceStatus(workspace.snapshot(), workspace.recent(), now)
            for name, workspace in known.items()
            if choice.workspace in ("", name)
        ]

    async def _answer(
        self, request: Request, headers: Mapping[str, str], write: Callable[[], str]
    ) -> Response:
        """An answer as the client takes it; a name from the API may hold what is no UTF-8."""
        encodings = ", ".join(request.headers.getlist("accept-encoding"))
        compress = negotiate(None, encodings).gzip

        def work() -> bytes:
            body = write().encode("utf-8", "replace")
            return gzip.compress(body, compresslevel=1) if compress else body

        encoding = {"Content-Encoding": "gzip"} if compress else {}
        return Response(await self._source.offload(work), headers={**headers, **encoding})


def _choice(request: Request) -> Choice:
    try:
        return Choice.read(request.query_params)
    except ValueError as error:
        raise HTTPException(400, str(error)) from error


def _json(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


_COMMON_HEADERS = {
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}
_JSON_HEADERS = _COMMON_HEADERS | {"Content-Type": "application/json"}
_PAGE_HEADERS = _COMMON_HEADERS | {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}
