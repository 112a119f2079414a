"""Queries one workspace's API: the whole list, and as many histories as need no waiting.

The key is sent only to the configured endpoint; other clusters are not tried.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property, partial
from typing import TypeVar

import structlog

from cdi_exporter.braze.client import Client
from cdi_exporter.braze.stats import RequestStats
from cdi_exporter.clients import read_list
from cdi_exporter.clock import Clock
from cdi_exporter.config import WorkspaceConfig
from cdi_exporter.errors import (
    ApiError,
    BadRequest,
    ConnectionFailed,
    Forbidden,
    NotFound,
    RateLimited,
    RequestTimeout,
    Unauthorized,
)
from cdi_exporter.ledger import HistorySummary, IntegrationLedger
from cdi_exporter.model import FAILURES, Endpoint, HistoryPage, Integration, IntegrationsPage

SHARE = 0.25
"""Of the exporter's own share of the limits: it may run at the same time."""

MOST_FAILURES = 2
"""Failed histories in a row, for a reason that concerns all, after which no more are read."""

NO_SUCH_ID = "00000000-0000-0000-0000-000000000000"
"""Shows the permission if no integration is known: Braze refuses either the ID or the key."""

LOGGED_WAIT = 2.0
"""Seconds of waiting for the budget from which it is logged: a person then wonders."""

LONGEST_WAIT = 90.0
"""Seconds of waiting that are too long: the window of the limits is 60 seconds."""

log = structlog.get_logger()

Page = TypeVar("Page")


class Probe:
    """One workspace and its circumstances; once it has `run`, also what the API answered."""

    def __init__(
        self,
        config: WorkspaceConfig,
        client: Client,
        clock: Clock,
        scrape_interval: float,
        sharing: Sequence[str],
    ) -> None:
        self.config, self.scrape_interval = config, scrape_interval
        self.sharing = sharing
        """The other workspaces with the same endpoint and key, hence the same budget."""
        self._client, self._clock = client, clock
        self._stats = RequestStats()
        self.items: dict[str, Integration] = {}
        """The list by ID, as far as it was read."""
        self.complete = False
        """Whether the whole list was read."""
        self.list_error: ApiError | None = None
        self.histories: dict[str, HistorySummary] = {}
        """A summary of the newest page of each history that was read, by the integration's ID."""
        self.problems: dict[str, ApiError] = {}
        """Why a history could not be read, by the integration's ID."""
        self.history_error: ApiError | None = None
        """Why no history may be read, or no more."""
        self.limits: dict[Endpoint, int] = {}
        """Requests per minute, according to the answers."""
        self.skew = 0.0
        """Seconds by which Braze's clock is ahead."""
        self.now = 0.0
        """When the last answer came, in Unix seconds of Braze's clock."""

    async def run(self) -> None:
        """Send the requests, and keep what went wrong."""
        try:
            await read_list(self._list_page, self.items)
            self.complete = True
        except ApiError as error:
            self.list_error = error
        if not isinstance(self.list_error, Unauthorized | ConnectionFailed | RequestTimeout):
            await self._read_histories()
        self.skew = self._client.skew
        self.now = self._clock.wall() + self.skew
        for endpoint, budget in self._client.budgets.items():
            if budget.last.limit:
                self.limits[endpoint] = budget.last.limit

    @property
    def list_forbidden(self) -> bool:
        """Whether the key lacks the permission for the list."""
        return _is_forbidden(self.list_error)

    @property
    def history_forbidden(self) -> bool:
        """Whether the key lacks the permission for histories."""
        return _is_forbidden(self.history_error)

    @property
    def key_works(self) -> bool | None:
        """Whether Braze knows the key; None if it did not say."""
        errors = (self.list_error, self.history_error)
        if any(isinstance(error, Unauthorized) and not error.web_page for error in errors):
            return False
        data = self.items or self.complete or self.histories
        return True if data or self.list_forbidden or self.history_forbidden else None

    def watermark(self, identifier: str) -> float | None:
        """The newest row that an integration synced, from its history, else from the list."""
        known, item = self.histories.get(identifier), self.items.get(identifier)
        if known is not None:
            return known.watermark
        return item.last_updated if item else None

    @cached_property
    def watched(self) -> dict[str, str]:
        """The names of the integrations that the exporter would watch, by ID.

        Only to be asked for after the list was read: it stays as it is then.
        """
        return self.config.watched(self.items)

    async def _read_histories(self) -> None:
        failures = 0
        for identifier in self._wanted():
            try:
                page = await self._patiently(Endpoint.HISTORY, partial(self._history, identifier))
            except (Unauthorized, Forbidden, RateLimited) as error:
                self.history_error = error
                return
            except ApiError as error:
                self.problems[identifier] = error
                failures += not isinstance(error, BadRequest | NotFound)
                if failures >= MOST_FAILURES:
                    self.history_error = error
                    return
                continue
            failures = 0
            ledger = IntegrationLedger()
            ledger.read_newest(page, self._clock.wall() + self._client.skew)
            self.histories[identifier] = ledger.summary

    def _wanted(self) -> list[str]:
        """The histories to read: what the list lacks first, then failures, then the newest."""
        items = self.items

        def urgency(identifier: str) -> tuple[bool, bool, float]:
            item = items.get(identifier)
            failed = item is not None and item.last_job_status in FAILURES
            return item is not None, not failed, -((item and item.last_job_start) or 0.0)

        watched = sorted(self.watched, key=urgency)
        one = next(iter(items), NO_SUCH_ID)
        return watched[: self._client.budgets[Endpoint.HISTORY].slots] or [one]

    async def _list_page(self, cursor: str | None) -> IntegrationsPage:
        ask = partial(self._client.integrations, cursor, self._stats)
        return await self._patiently(Endpoint.INTEGRATIONS, ask)

    async def _history(self, identifier: str) -> HistoryPage:
        permit = await self._client.permit(Endpoint.HISTORY, self._stats)
        return await self._client.history(identifier, None, permit)

    async def _patiently(self, endpoint: Endpoint, ask: Callable[[], Awaitable[Page]]) -> Page:
        """The result of `ask`; after a 429 it is called once more. Raises ApiError."""
        self._announce_wait(endpoint)
        try:
            return await ask()
        except RateLimited:
            self._announce_wait(endpoint)
        return await ask()

    def _announce_wait(self, endpoint: Endpoint) -> None:
        """Log how long the budget makes us wait; raises RateLimited if that is too long."""
        seconds = self._client.budgets[endpoint].delay()
        if not LOGGED_WAIT < seconds < float("inf"):
            return
        if seconds > LONGEST_WAIT:
            msg = f"the rate limit of this endpoint is spent for another {seconds:.0f} s"
            raise RateLimited(msg)
        log.info(
            "waiting for request budget",
            workspace=self.config.name,
            endpoint=endpoint.value,
            seconds=round(seconds),
        )


def _is_forbidden(error: ApiError | None) -> bool:
    """Whether Braze itself, and not a proxy, reports that a permission is missing."""
    return isinstance(error, Forbidden) and not error.web_page
