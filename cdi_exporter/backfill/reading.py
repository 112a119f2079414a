"""Reads the list and the histories from Braze, within half of the budget share.

A history is read from the newest page on. Each page is stored as soon as it is read. A temporary
failure is retried for some minutes. After that, a failure of the workspace ends the job; a failure
of one integration skips that integration.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import TypeVar

import structlog

from cdi_exporter.backfill.plan import Grid, url_digest
from cdi_exporter.backfill.progress import Progress
from cdi_exporter.backfill.run_store import RunStore, Span, shown
from cdi_exporter.backfill.spool import Chosen, Spool
from cdi_exporter.braze.client import Client
from cdi_exporter.braze.stats import RequestStats
from cdi_exporter.braze.wire import PAGE_SIZE
from cdi_exporter.clients import read_list
from cdi_exporter.clock import Clock
from cdi_exporter.config import WorkspaceConfig
from cdi_exporter.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    InvalidResponse,
    NotFound,
    RateLimited,
    StartError,
    Unauthorized,
)
from cdi_exporter.ledger import KEPT_RUNS
from cdi_exporter.model import Endpoint, HistoryPage, Integration, IntegrationsPage

AT_ONCE = 4
"""Histories of a workspace that are read at the same time, so that the budget and not the latency
of the API limits the rate."""

WAITS = (5.0, 15.0, 60.0, 180.0)
"""Seconds to wait before each retry; the client itself makes three attempts each time."""

MOST_PAGES_WITHOUT_NEWS = 200
"""Pages without a new run after which a history counts as endless: 2,000 runs."""

log = structlog.get_logger()

Page = TypeVar("Page")


async def listed(config: WorkspaceConfig, client: Client, clock: Clock) -> dict[str, Integration]:
    """The list of integrations by ID; empty if it may not be read but the IDs are configured.

    Raises StartError with the reason if it cannot be read.
    """
    stats = RequestStats()
    found: dict[str, Integration] = {}

    def page(cursor: str | None) -> Awaitable[IntegrationsPage]:
        return with_retries(partial(client.integrations, cursor, stats), clock)

    try:
        await read_list(page, found)
    except ApiError as error:
        if isinstance(error, Forbidden) and config.integrations is not None:
            return {}
        msg = f"workspace {config.name}: {error}"
        raise StartError(msg) from error
    return found


def choose(
    configs: Sequence[WorkspaceConfig],
    lists: Mapping[str, Mapping[str, Integration]],
    include: Sequence[str],
    histories: RunStore,
) -> list[Chosen]:
    """The selected integrations of all workspaces, numbered; sorted by ID within each workspace."""
    found: list[Chosen] = []
    for config in configs:
        items = lists[config.name]
        wanted = replace(config, include=tuple(include), exclude=())
        for identifier, name in sorted(config.watched(items).items()):
            if wanted.selects(identifier, name):
                source = histories.source(config.name, url_digest(config), identifier)
                scheduled = items[identifier].scheduled if identifier in items else None
                chosen = Chosen(len(found), source, config.name, identifier, name, scheduled)
                found.append(chosen)
    return found


class Reading:
    """Reads the histories of the chosen integrations as far back as the grid needs."""

    def __init__(
        self,
        spool: Spool,
        grid: Grid,
        chosen: Sequence[Chosen],
        clients: Mapping[str, Client],
        clock: Clock,
        *,
        progress: Progress,
    ) -> None:
        self._spool, self._grid, self._clock, self._progress = spool, grid, clock, progress
        self._histories = spool.histories
        self._chosen, self._clients = chosen, clients
        self._stats = RequestStats()
        self._left: dict[Chosen, int] = {}
        self._done = 0
        self.skipped: dict[Chosen, str] = {}

    @property
    def readable(self) -> list[Chosen]:
        """The integrations that are not skipped."""
        return [each for each in self._chosen if each not in self.skipped]

    async def first_pages(self) -> None:
        """Read the newest page of each history whose newest stored page is older than the range."""
        wanted = [each for each in self._chosen if self._current(each) is None]
        await self._read_all("first pages", wanted, lambda each: int(self._current(each) is None))

    async def rest(self) -> None:
        """Read everything that is missing."""
        await self._read_all("reading", self.readable, self.estimate)

    def seconds(self, left: Mapping[Chosen, int]) -> float:
        """Estimated seconds for so many requests; workspaces with the same key share a budget."""
        by_budget: Counter[int] = Counter()
        paces = {}
        for each, count in left.items():
            client = self._clients[each.workspace]
            by_budget[id(client.shared)] += count
            paces[id(client.shared)] = 60.0 / client.budgets[Endpoint.HISTORY].slots
        return max((count * paces[each] for each, count in by_budget.items()), default=0.0)

    def estimate(self, chosen: Chosen) -> int:
        """The estimated number of requests that one history still needs."""
        if not self._missing(chosen):
            return 0
        extent = self._histories.extent(chosen.source)
        spans = self._histories.spans(chosen.source)
        if extent is None or extent[0] < 2 or not spans:
            return 1
        runs, oldest, newest = extent
        interval = max(1.0, (newest - oldest) / (runs - 1))
        missing = max(0.0, oldest - self._grid.first)
        if self._current(chosen) is None or len(spans) > 1:
            missing += max(0.0, spans[-1].requested - spans[0].requested)
        lacking = KEPT_RUNS - self._histories.finished_before(chosen.source, self._grid.first)
        return max(1, math.ceil((missing / interval + max(0, lacking)) / PAGE_SIZE))

    # How far a history was read

    def _current(self, chosen: Chosen) -> Span | None:
        """The newest span of a history, if its newest page is as new as the range."""
        spans = self._histories.spans(chosen.source)
        if spans and spans[-1].has_pages and spans[-1].requested >= self._grid.last:
            return spans[-1]
        return None

    def _missing(self, chosen: Chosen) -> bool:
        """Whether anything is missing that the range needs."""
        span = self._current(chosen)
        if span is None or span.ended:
            return span is None
        # The range needs the runs known at its start. If a run on the oldest page was in progress
        # at that time, older pages may have more runs that were.
        enough = self._histories.finished_before(chosen.source, self._grid.first) >= KEPT_RUNS
        return not enough or span.oldest_end > self._grid.first

    def _span(self, chosen: Chosen) -> Span:
        """The span to continue: the current one, or a new one that is newer than the others."""
        spans = self._histories.spans(chosen.source)
        number = spans[-1].number + spans[-1].has_pages if spans else 1
        return self._current(chosen) or Span(number, self._clock.wall())

    # Requests

    async def _read_all(
        self, stage: str, wanted: Sequence[Chosen], expected: Callable[[Chosen], int]
    ) -> None:
        """Read the histories, a few of each workspace at a time.

        `expected` returns how many requests an integration probably still needs; 0 ends it.
        """
        self._left = {each: expected(each) for each in wanted}
        self._done = 0
        self._progress.start(stage, sum(self._left.values()))
        try:
            async with asyncio.TaskGroup() as tasks:
                for _, group in groupby(wanted, key=lambda each: each.workspace):
                    queue = iter([*group])
                    for _ in range(AT_ONCE):
                        tasks.create_task(self._read_each(queue, expected))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            self._progress.end()

    async def _read_each(self, queue: Iterator[Chosen], expected: Callable[[Chosen], int]) -> None:
        for chosen in queue:
            try:
                await self._read(chosen, expected)
            except ApiError as error:
                await self._failed(chosen, error)
            self._left[chosen] = 0

    async def _failed(self, chosen: Chosen, error: ApiError) -> None:
        """Skip an integration if only its own history fails; otherwise raise StartError."""
        of_the_key = isinstance(error, Unauthorized | Forbidden)
        of_the_integration = isinstance(error, BadRequest | NotFound)
        if of_the_key or not (of_the_integration or await self._others_readable(chosen)):
            msg = f"workspace {chosen.workspace}: {error}"
            raise StartError(msg) from error
        self._skip(chosen, str(error))

    def _skip(self, chosen: Chosen, problem: str) -> None:
        self.skipped[chosen] = problem
        log.warning(
            "integration skipped",
            workspace=chosen.workspace,
            integration_id=chosen.id,
            integration_name=chosen.name,
            problem=problem,
        )

    async def _others_readable(self, chosen: Chosen) -> bool:
        """Whether another history of the workspace, one that was read before, can be read now."""
        for each in self.readable:
            same = each.workspace == chosen.workspace and each.source != chosen.source
            if same and self._histories.spans(each.source):
                with suppress(ApiError):
                    await self._ask(each, None)
                    return True
                return False
        return False

    async def _read(self, chosen: Chosen, expected: Callable[[Chosen], int]) -> None:
        """Read pages of one history while `expected` is not 0; raises ApiError."""
        extent = self._histories.extent(chosen.source)
        without_news = 0
        most = MOST_PAGES_WITHOUT_NEWS + (extent[0] if extent else 0) // PAGE_SIZE
        resumed = True
        while self._left[chosen]:
            span = self._span(chosen)
            requested = self._clock.wall() if span.cursor is None else span.requested
            try:
                page = await with_retries(partial(self._ask, chosen, span.cursor), self._clock)
            except BadRequest:
                if span.cursor is None or not resumed:
                    raise  # the cause is not an old cursor that Braze no longer accepts
                self._histories.restart(chosen.source, span)
                continue
            resumed = False
            oldest_end = max((shown(run)[1] or math.inf for run in page.runs), default=-math.inf)
            ended = page.next_cursor is None or not (page.runs or page.invalid)
            extended = Span(span.number, requested, page.next_cursor, oldest_end, ended)
            unplaced = page.invalid - page.damaged + page.undated_running
            news = self._histories.take(chosen.source, extended, page.runs, unplaced)
            self._left[chosen] = expected(chosen)
            self._done += 1
            total = self._done + sum(self._left.values())
            self._progress.at(self._done, total, self.seconds(self._left))
            without_news = 0 if news else without_news + 1
            if not ended and (page.next_cursor == span.cursor or without_news > most):
                self._skip(chosen, "the pages of the history repeat themselves")
                return

    async def _ask(self, chosen: Chosen, cursor: str | None) -> HistoryPage:
        client = self._clients[chosen.workspace]
        permit = await client.permit(Endpoint.HISTORY, self._stats)
        return await client.history(chosen.id, cursor, permit)


async def with_retries(ask: Callable[[], Awaitable[Page]], clock: Clock) -> Page:
    """Call `ask`, again after temporary failures, and return its result; raises ApiError."""
    for wait in WAITS:
        try:
            return await ask()
        except ApiError as error:
            if not (error.retryable or isinstance(error, InvalidResponse | RateLimited)):
                raise
            log.warning("request failed, retrying", problem=str(error), wait_seconds=wait)
        await clock.sleep(wait)
    return await ask()
