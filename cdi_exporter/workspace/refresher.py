"""The refreshes of one workspace: the list page by page or, without it, the histories round robin.

A scrape starts a refresh unless one is in progress; it continues after the answer. Histories that
a page of the list queues are read while the next pages are.
"""

import asyncio
import math
from dataclasses import dataclass, replace

import structlog

from cdi_exporter.change_signal import ChangeSignal
from cdi_exporter.config import WorkspaceConfig
from cdi_exporter.errors import ApiError, Forbidden, InvalidResponse, RateLimited, Unauthorized
from cdi_exporter.model import Endpoint
from cdi_exporter.workspace.api import Api
from cdi_exporter.workspace.defects import DEFECT, Defects
from cdi_exporter.workspace.history_reader import HistoryReader
from cdi_exporter.workspace.inventory import MOST_INTEGRATIONS, Inventory
from cdi_exporter.workspace.list_reader import ListReader
from cdi_exporter.workspace.publisher import Publisher

FORBIDDEN_FOR = 900.0
"""Seconds after which a forbidden list is tried again: the key may have got more permissions."""

LIST_AGAIN_AFTER = 60.0
"""Seconds of round-robin reads after which a list that failed is tried again."""

EARLY = 0.9
"""Part of `min_interval` after which a scrape starts a refresh: scrapes are not exactly on time."""

WANTED_AFTER = 25.0
"""Seconds since the last refresh started, after which a scrape of another exporter starts one. If
all are scraped every 15 to 60 s, as usual, the leader's own scrapes start nearly all refreshes."""

_TOO_MANY = (
    f"the workspace has more than {MOST_INTEGRATIONS} integrations; only the first ones are "
    "watched; leave out others with exclude"
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """The result of the refreshes so far."""

    ended: bool = False
    """Whether any refresh has ended."""
    failure: ApiError | None = None
    """Why the last one failed; None if it succeeded."""
    completed: float | None = None
    """When the last successful one ended, in Unix seconds."""
    duration: float | None = None
    """Its duration in seconds."""


class Refresher:
    """The refreshes of one workspace."""

    def __init__(
        self,
        config: WorkspaceConfig,
        *,
        inventory: Inventory,
        api: Api,
        histories: HistoryReader,
        publisher: Publisher,
        defects: Defects,
        signal: ChangeSignal,
    ) -> None:
        self._name, self._min_interval = config.name, config.refresh.min_interval
        self._inventory, self._api, self._histories = inventory, api, histories
        self._publisher, self._defects, self._signal = publisher, defects, signal
        self._list = ListReader(
            inventory=inventory,
            api=api,
            histories=histories,
            publisher=publisher,
            answered=self._list_answered,
        )
        self.last = RefreshResult()
        self.list_readable: bool | None = None
        """Whether the list could be read at the last try; None if it is not needed."""
        self._list_error: ApiError | None = None
        """Why the list could not be read."""
        self._list_lost = False
        """Whether it was logged that the list cannot be read."""
        self._forbidden_until = -math.inf
        self._task: asyncio.Task[None] | None = None
        self._started = -math.inf
        self._another = False
        """Whether a scrape needs a newer refresh than the one in progress."""
        self._got_answer = False
        """Whether the refresh in progress has received an answer."""
        self._closing = False

    def configure(self, config: WorkspaceConfig) -> None:
        """Continue with another configuration."""
        self._min_interval = config.refresh.min_interval
        self._forbidden_until = -math.inf

    @property
    def in_progress(self) -> bool:
        """Whether a refresh is in progress."""
        return self._task is not None and not self._task.done()

    def can_progress_within(self, seconds: float) -> bool:
        """Whether a refresh may show something within `seconds`."""
        endpoint = Endpoint.HISTORY if self._histories.round_robin else Endpoint.INTEGRATIONS
        return self.in_progress and not self._api.client.stalled(endpoint, seconds)

    def start(self) -> None:
        """Start a refresh if one is due, else queue what became due meanwhile; for each scrape."""
        if self._closing:
            return
        due = self._api.now() - self._started >= EARLY * self._min_interval
        if self.in_progress:
            self._another = due
            if self._got_answer:
                self._histories.look()
        elif due:
            self._task = asyncio.create_task(self._run())
        elif self.last.failure is None:
            self._histories.look()

    def wanted(self) -> None:
        """Start a refresh for a scrape of another exporter, unless this one's scrapes do."""
        if self._api.now() - self._started >= WANTED_AFTER:
            self.start()

    def pause(self) -> None:
        """Cancel the refresh in progress, and forget its results: another exporter leads."""
        if self._task is not None:
            self._task.cancel()
        self.last = RefreshResult()

    def release(self) -> None:
        """Start nothing more."""
        self._closing = True

    async def close(self) -> None:
        """Cancel the refresh in progress; a request that has started ends by itself."""
        self.release()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        """Refresh; with a long list again at once if a scrape came meanwhile.

        Otherwise the time until the next scrape would be added to each refresh of a long list.
        """
        self._another = True
        while self._another and not self._closing:
            self._another = False
            await self._refresh()
            self._another = self._another and self.last.failure is None and self._list.is_long

    async def _refresh(self) -> None:
        self._started = self._api.now()
        self._got_answer = False
        before, defect = self.last, None
        try:
            self._histories.start_refresh()
            self._defects.start_refresh()
            await self._read_and_note()
        except Exception as error:  # noqa: BLE001 -- a defect must not end the refreshes
            defect = error
            self._failed(ApiError(DEFECT))
        finally:
            self._signal.notify()
        if defect is not None:
            self._defects.report(defect)
        else:
            self._log(before)

    async def _read_and_note(self) -> None:
        try:
            await self._read()
            self._succeeded()
        except ApiError as error:
            self._failed(error)
        self._publisher.note_refresh()

    def _failed(self, error: ApiError) -> None:
        self.last = replace(self.last, ended=True, failure=error)
        self._histories.drop()

    def _succeeded(self) -> None:
        instant = self._api.instant()
        self._inventory.forget(instant)
        self._histories.queue_due(self._inventory)
        duration = instant.monotonic - self._started
        self.last = RefreshResult(ended=True, completed=instant.wall, duration=duration)

    def _log(self, previous: RefreshResult) -> None:
        """Log what this refresh changed."""
        lost, self._list_lost = self._list_lost, self._list_is_lost()
        name, failure, error = self._name, self.last.failure, self._list_error
        before = previous.failure
        if failure is None:
            if before is not None:
                log.info("refresh recovered", workspace=name)
            elif not previous.ended:
                known = len(self._inventory)
                log.info("first refresh succeeded", workspace=name, integrations=known)
        elif before is None or f"{before}" != f"{failure}":
            log.warning(
                "refresh failed", workspace=name, reason=failure.reason, problem=f"{failure}"
            )
        if self._list_lost and not lost:
            log.warning("list read failed", workspace=name, problem=f"{error}")
        elif lost and self.list_readable:
            log.info("list read recovered", workspace=name)

    def _list_is_lost(self) -> bool:
        """Whether histories are read without a list that should be readable.

        If the whole refresh fails, that is logged instead.
        """
        return self.list_readable is False and (self.last.failure is None or self._list_lost)

    async def _read(self) -> None:
        """Read the list, or the histories without it; raises ApiError."""
        if self._api.now() < self._forbidden_until:
            await self._read_round_robin()
            return
        try:
            complete = await self._list.read()
        except ApiError as error:
            unneeded = isinstance(error, Forbidden) and self._inventory.configured
            self.list_readable, self._list_error = None if unneeded else False, error
            if isinstance(error, Unauthorized | RateLimited):
                raise
            await self._read_without_list(error)
        else:
            self.list_readable, self._list_error = True, None
            if not complete:
                raise InvalidResponse(_TOO_MANY)

    def _list_answered(self) -> None:
        self._histories.round_robin, self._got_answer = False, True

    # Without the list

    async def _read_without_list(self, error: ApiError) -> None:
        """Continue without the list if possible; raises its `error` unless it is expected."""
        if isinstance(error, Forbidden) and self._inventory.configured:
            self._forbidden_until = self._api.now() + FORBIDDEN_FOR
            await self._read_round_robin()
            return
        if not len(self._inventory):
            raise error
        try:
            read = await self._read_round_robin(until=self._api.now() + LIST_AGAIN_AFTER)
        except ApiError:
            raise error from None
        if not read or isinstance(error, Forbidden):
            raise error

    async def _read_round_robin(self, until: float = math.inf) -> bool:
        """Read each history, the one read longest ago first; whether any was read.

        If nothing may be read yet, an earlier failure remains. After `until` (loop seconds) the
        rest is left to the next refresh, if a scrape waits for one.
        """
        histories = self._histories
        histories.round_robin = True
        before = histories.access.pages
        if not await histories.read_one():
            if self.last.failure is not None:
                raise self.last.failure
            return False
        self._got_answer = True
        histories.queue_due(self._inventory)
        while histories.newest_unread:
            if self._another and self._api.now() >= until:
                break
            await self._signal.wait()
        for problem in (self._defects.current, histories.access.unavailable, histories.refused):
            if problem is not None:
                raise problem
        return histories.access.pages > before
