"""Queries one workspace's API: the whole list, and as many histories as the budget allows at once.

The key is sent only to the configured endpoint. Other clusters are not tried.
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
"""The part of the exporter's share of the limits that `check` uses, as both may run together."""

MOST_FAILURES = 2
"""Failures in a row after which no more histories are read: the next ones would fail as well."""

NO_SUCH_ID = "00000000-0000-0000-0000-000000000000"
"""Tests the permission if no integration is known: Braze rejects either the ID or the key."""

LOGGED_WAIT = 2.0
"""Seconds of waiting for the budget that are logged: a user would wonder about a longer wait."""

LONGEST_WAIT = 90.0
"""Seconds of waiting that are too long, as the rate limits count windows of 60 seconds."""

log = structlog.get_logger()

Page = TypeVar("Page")


class Probe:
    """One workspace, and what its API answered after `run`.

    `sharing` has the other workspaces with the same endpoint and key, and so the same budget.
    """

    def __init__(
        self, config: WorkspaceConfig, client: Client, clock: Clock, sharing: Sequence[str]
    ) -> None:
        self.config, self.sharing = config, sharing
        self.client, self._clock = client, clock
        self._stats = RequestStats()
        self.items: dict[str, Integration] = {}
        """The integrations in the list by ID, as far as the list was read."""
        self.list_error: ApiError | None = None
        """Why the list could not be read to its end; None if it was."""
        self.histories: dict[str, HistorySummary] = {}
        """A summary of the newest page of each history that was read, by integration ID."""
        self.problems: dict[str, ApiError] = {}
        """Why single histories could not be read, by integration ID."""
        self.history_error: ApiError | None = None
        """Why the other histories were not read."""
        self.now = 0.0
        """The time after the last answer, in Unix seconds of Braze's clock."""

    async def run(self) -> None:
        """Send the requests, and keep the answers and errors."""
        try:
            await read_list(self._list_page, self.items)
        except ApiError as error:
            self.list_error = error
        if not isinstance(self.list_error, Unauthorized | ConnectionFailed | RequestTimeout):
            await self._read_histories()
        self.now = self._clock.wall() + self.client.skew

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
        """Whether Braze knows the key; None if no answer shows it."""
        errors = (self.list_error, self.history_error)
        if any(isinstance(error, Unauthorized) and not error.web_page for error in errors):
            return False
        data = self.items or self.list_error is None or self.histories
        return True if data or self.list_forbidden or self.history_forbidden else None

    def watermark(self, identifier: str) -> float | None:
        """The watermark of an integration, from its history or else from the list."""
        known, item = self.histories.get(identifier), self.items.get(identifier)
        if known is not None:
            return known.watermark
        return item.last_updated if item else None

    @cached_property
    def watched(self) -> dict[str, str]:
        """The names by ID of the integrations to watch. Cached, so first read the list."""
        return self.config.watched(self.items)

    async def _read_histories(self) -> None:
        """Read unlisted integrations first, then those with failed runs, then the newest runs."""
        items = self.items

        def urgency(identifier: str) -> tuple[bool, bool, float]:
            item = items.get(identifier)
            failed = item is not None and item.last_job_status in FAILURES
            return item is not None, not failed, -((item and item.last_job_start) or 0.0)

        slots = self.client.budgets[Endpoint.HISTORY].slots
        wanted = sorted(self.watched, key=urgency)[:slots]
        failures = 0
        for identifier in wanted or [next(iter(items), NO_SUCH_ID)]:
            try:
                page = await self._request(Endpoint.HISTORY, partial(self._history, identifier))
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
            ledger.read_newest(page, self._clock.wall() + self.client.skew)
            self.histories[identifier] = ledger.summary

    async def _list_page(self, cursor: str | None) -> IntegrationsPage:
        ask = partial(self.client.integrations, cursor, self._stats)
        return await self._request(Endpoint.INTEGRATIONS, ask)

    async def _history(self, identifier: str) -> HistoryPage:
        permit = await self.client.permit(Endpoint.HISTORY, self._stats)
        return await self.client.history(identifier, None, permit)

    async def _request(self, endpoint: Endpoint, ask: Callable[[], Awaitable[Page]]) -> Page:
        """The result of `ask`, which is called once more after a 429. Raises ApiError."""
        self._announce_wait(endpoint)
        try:
            return await ask()
        except RateLimited:
            self._announce_wait(endpoint)
        return await ask()

    def _announce_wait(self, endpoint: Endpoint) -> None:
        """Log how long the budget makes `check` wait. Raises RateLimited if that is too long."""
        seconds = self.client.budgets[endpoint].delay()
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
    """Whether a permission is missing according to Braze itself, not to a proxy."""
    return isinstance(error, Forbidden) and not error.web_page
