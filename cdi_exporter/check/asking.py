"""Asks one workspace's API: the list whole, and as many histories as cost no waiting.

The key goes to the configured endpoint alone; other clusters are not tried.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import structlog

from cdi_exporter.braze.client import Client
from cdi_exporter.braze.stats import RequestStats
from cdi_exporter.check.trouble import Place
from cdi_exporter.clock import Clock
from cdi_exporter.config import WorkspaceConfig
from cdi_exporter.errors import (
    ApiError,
    BadRequest,
    ConnectionFailed,
    Forbidden,
    InvalidResponse,
    NotFound,
    RateLimited,
    RequestTimeout,
    Unauthorized,
)
from cdi_exporter.ledger import HistorySummary, IntegrationLedger
from cdi_exporter.model import FAILURES, Endpoint, HistoryPage, Integration

SHARE = 0.25
"""Of the exporter's own share of the limits: it may run at the same time."""

MOST_LIST_PAGES = 5_000
MOST_FAILURES = 2
"""Histories in a row that fail for no reason of their own, after which no more are read."""

NO_SUCH_ID = "00000000-0000-0000-0000-000000000000"
"""Tells the permission where no integration is known: Braze refuses the ID, or the key."""

TOLD_FROM = 2.0
LONGEST_WAIT = 90.0
"""Seconds of waiting for the budget that are told, and that are too long."""

log = structlog.get_logger()

Page = TypeVar("Page")


@dataclass(frozen=True, slots=True)
class Asked:
    """One workspace, and what is to be known of it beside the answers."""

    config: WorkspaceConfig
    place: Place
    scrape_interval: float
    sharing: Sequence[str] = ()
    """The other workspaces with the same endpoint and key, hence the same budget."""


@dataclass(slots=True)
class Answers:
    """What the API said of one workspace."""

    items: dict[str, Integration] = field(default_factory=dict)
    """The list by ID, as far as it was read."""
    complete: bool = False
    list_error: ApiError | None = None
    histories: dict[str, HistorySummary] = field(default_factory=dict)
    """What the newest page of a history says, by the integration's ID."""
    problems: dict[str, ApiError] = field(default_factory=dict)
    """Why a history could not be read, by the integration's ID."""
    history_error: ApiError | None = None
    """Why no history may be read, or no more."""
    limits: dict[Endpoint, int] = field(default_factory=dict)
    """Requests per minute, as the answers say."""
    skew: float = 0.0
    """Seconds by which Braze's clock is ahead."""
    now: float = 0.0
    """When the last answer came, in Unix seconds of Braze's clock."""


def named(config: WorkspaceConfig, items: dict[str, Integration]) -> dict[str, str]:
    """The names of the integrations that the exporter would watch, by ID."""
    if config.integrations is not None:
        known = {each.id: items.get(each.id) for each in config.integrations}
        return {
            each.id: each.name or (item.name if (item := known[each.id]) else None) or each.id
            for each in config.integrations
        }
    names = {item.id: item.name or item.id for item in items.values()}
    return {each: name for each, name in names.items() if config.selects(each, name)}


class Asking:
    """The questions to one workspace."""

    def __init__(self, config: WorkspaceConfig, client: Client, clock: Clock) -> None:
        self._config, self._client, self._clock = config, client, clock
        self._stats = RequestStats(tuple(Endpoint))
        self._found = Answers()

    async def ask(self) -> Answers:
        """Ask; what goes wrong stands in the answers."""
        try:
            await self._list()
        except ApiError as error:
            self._found.list_error = error
        if not isinstance(self._found.list_error, Unauthorized | ConnectionFailed | RequestTimeout):
            await self._histories()
        self._found.skew = self._client.skew
        self._found.now = self._clock.wall() + self._client.skew
        for endpoint, budget in self._client.budgets.items():
            if budget.last.limit:
                self._found.limits[endpoint] = budget.last.limit
        return self._found

    async def _list(self) -> None:
        cursor: str | None = None
        for _ in range(MOST_LIST_PAGES):
            ask = partial(self._client.integrations, cursor, self._stats)
            page = await self._patiently(Endpoint.INTEGRATIONS, ask)
            known = len(self._found.items)
            self._found.items |= {item.id: item for item in page.integrations}
            cursor = page.next_cursor
            if cursor is None:
                self._found.complete = True
                return
            if len(self._found.items) == known:
                break
        msg = "the pages of the list lead nowhere new"
        raise InvalidResponse(msg)

    async def _histories(self) -> None:
        failures = 0
        for identifier in self._wanted():
            try:
                page = await self._patiently(Endpoint.HISTORY, partial(self._history, identifier))
            except (Unauthorized, Forbidden, RateLimited) as error:
                self._found.history_error = error
                return
            except ApiError as error:
                self._found.problems[identifier] = error
                failures += not isinstance(error, BadRequest | NotFound)
                if failures >= MOST_FAILURES:
                    self._found.history_error = error
                    return
                continue
            failures = 0
            ledger = IntegrationLedger()
            ledger.read_newest(page, self._clock.wall() + self._client.skew)
            self._found.histories[identifier] = ledger.summary

    def _wanted(self) -> list[str]:
        """Whose histories are read: what the list lacks first, then failures, then the newest."""
        items = self._found.items

        def urgency(identifier: str) -> tuple[bool, bool, float]:
            item = items.get(identifier)
            failed = item is not None and item.last_job_status in FAILURES
            return item is not None, not failed, -((item and item.last_job_start) or 0.0)

        watched = sorted(named(self._config, items), key=urgency)
        one = next(iter(items), NO_SUCH_ID)
        return watched[: self._client.budgets[Endpoint.HISTORY].slots] or [one]

    async def _history(self, identifier: str) -> HistoryPage:
        permit = await self._client.permit(Endpoint.HISTORY, self._stats)
        return await self._client.history(identifier, None, permit)

    async def _patiently(self, endpoint: Endpoint, ask: Callable[[], Awaitable[Page]]) -> Page:
        """What `ask` gives; after a 429 once more. Raises ApiError."""
        self._tell_wait(endpoint)
        try:
            return await ask()
        except RateLimited:
            self._tell_wait(endpoint)
        return await ask()

    def _tell_wait(self, endpoint: Endpoint) -> None:
        """Tell how long the budget has to be waited for; raises RateLimited for too long."""
        seconds = self._client.budgets[endpoint].delay()
        if not TOLD_FROM < seconds < float("inf"):
            return
        if seconds > LONGEST_WAIT:
            msg = f"the rate limit of this endpoint is spent for another {seconds:.0f} s"
            raise RateLimited(msg)
        log.info(
            "waiting for the request budget",
            workspace=self._config.name,
            endpoint=endpoint.value,
            seconds=round(seconds),
        )
