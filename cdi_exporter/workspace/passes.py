"""The passes over one workspace: the list page by page or, without it, each history in turn.

A scrape begins a pass, single flight; it goes on after the answer. The histories that a page
of the list asks for are read while the next pages are.
"""

import asyncio
import math
from collections.abc import Collection, Iterable

import structlog

from cdi_exporter.braze.wire import PAGE_SIZE
from cdi_exporter.change_signal import ChangeSignal
from cdi_exporter.config import WorkspaceConfig
from cdi_exporter.errors import ApiError, Forbidden, InvalidResponse, RateLimited, Unauthorized
from cdi_exporter.model import Endpoint, IntegrationsPage
from cdi_exporter.workspace.api import Api
from cdi_exporter.workspace.histories import DEFECT, Histories
from cdi_exporter.workspace.persistence import Persistence
from cdi_exporter.workspace.roster import MOST_INTEGRATIONS, Roster
from cdi_exporter.workspace.tracked import Tracked

FORBIDDEN_FOR = 900.0
"""Seconds after which a list that was forbidden is asked for again."""

LIST_AGAIN_AFTER = 60.0
"""Seconds of reading in turn after which a list that failed is asked for again."""

MOST_LIST_PAGES = MOST_INTEGRATIONS // PAGE_SIZE
"""Pages of the list that are read in one refresh."""

MOST_REFUSALS = 5

_LEADS_BACK = "the pages of the list lead nowhere new"
_TOO_MANY = (
    f"the workspace has more than {MOST_INTEGRATIONS} integrations; the first ones are watched: "
    "leave others out with exclude"
)

log = structlog.get_logger()


class Passes:
    """The passes over one workspace."""

    def __init__(
        self,
        config: WorkspaceConfig,
        *,
        roster: Roster,
        api: Api,
        histories: Histories,
        persistence: Persistence,
        signal: ChangeSignal,
    ) -> None:
        self._name, self._min_interval = config.name, config.refresh.min_interval
        self._roster, self._api = roster, api
        self._histories, self._persistence, self._signal = histories, persistence, signal
        self.ended = 0
        """Passes since the start."""
        self.failure: ApiError | None = None
        """Why the last one failed."""
        self.completed: float | None = None
        """When the last one that got through ended, in Unix seconds."""
        self.duration: float | None = None
        """What it took, in seconds."""
        self.list_readable: bool | None = None
        """Whether the list could be read when it was last tried; None if it need not be."""
        self._list_error: ApiError | None = None
        """Why it could not be read."""
        self._list_lost = False
        """Whether it was logged that the list cannot be read."""
        self._task: asyncio.Task[None] | None = None
        self._began = -math.inf
        self._another = False
        """Whether a scrape came to whom the pass that is under way is an old one."""
        self._gets_through = False
        """Whether the pass that is under way has got an answer."""
        self._list_pages = 0
        self._too_many = False
        """Whether the last list had more integrations than are followed."""
        self._forbidden_until = -math.inf
        self._closing = False

    def configure(self, config: WorkspaceConfig) -> None:
        """Go on with another configuration."""
        self._min_interval = config.refresh.min_interval
        self._forbidden_until = -math.inf

    @property
    def under_way(self) -> bool:
        """Whether a pass is being made."""
        return self._task is not None and not self._task.done()

    def worth_waiting(self, seconds: float) -> bool:
        """Whether a pass may show something within `seconds`."""
        asks = Endpoint.HISTORY if self._histories.listless else Endpoint.INTEGRATIONS
        return self.under_way and not self._api.client.stalled(asks, seconds)

    def begin(self) -> None:
        """A scrape comes: begin a pass where one is due, else see what became due meanwhile."""
        if self._closing:
            return
        due = self._api.now() - self._began >= 0.9 * self._min_interval
        if self.under_way:
            self._another = due
            if self._gets_through:
                self._histories.look()
        elif due:
            self._task = asyncio.create_task(self._run())
        elif self.failure is None:
            self._histories.look()

    def release(self) -> None:
        """Begin nothing more."""
        self._closing = True

    async def close(self) -> None:
        """End what is under way; a request that has started ends by itself."""
        self.release()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        """A pass; and, of a long list, another at once where a scrape came meanwhile.

        Else each round of a long list would take longer by the time until the next scrape.
        """
        self._another = True
        while self._another and not self._closing:
            self._another = False
            await self._pass()
            self._another = self._another and self.failure is None and self._long

    async def _pass(self) -> None:
        self._began = self._api.now()
        self._gets_through = False
        before, defect = self.failure, None
        try:
            self._histories.begin_turn()
            await self._refresh()
            self._done()
        except ApiError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 -- a defect must not end the refreshes
            defect = error
            self._failed(ApiError(DEFECT))
        finally:
            self.ended += 1
            self._signal.notify()
        if defect is not None:
            self._histories.broke(defect)
        else:
            self._log(before)

    def _failed(self, error: ApiError) -> None:
        self.failure = error
        self._histories.drop()

    def _done(self) -> None:
        duration = self._api.now() - self._began
        completed = self._api.wall()
        self._roster.forget(completed, self._api.server())
        self._persistence.note_roster()
        self._histories.consider(self._roster)
        self.failure, self.completed, self.duration = None, completed, duration

    def _log(self, before: ApiError | None) -> None:
        """Log what this pass changed; nothing else follows that this could prevent."""
        lost, self._list_lost = self._list_lost, self._list_is_lost()
        name, failure, error = self._name, self.failure, self._list_error
        if failure is None:
            if before is not None:
                log.info("refresh works again", workspace=name)
        elif before is None or f"{before}" != f"{failure}":
            log.warning(
                "refresh failed", workspace=name, reason=failure.reason, problem=f"{failure}"
            )
        if self._list_lost and not lost:
            log.warning("list not readable", workspace=name, problem=f"{error}")
        elif lost and self.list_readable:
            log.info("list readable again", workspace=name)

    def _list_is_lost(self) -> bool:
        """Whether histories are read without a list that should be there.

        While the refresh fails as a whole, that is logged instead.
        """
        return self.list_readable is False and (self.failure is None or self._list_lost)

    async def _refresh(self) -> None:
        if self._api.now() < self._forbidden_until:
            await self._read_in_turn()
            return
        try:
            await self._read_list()
        except ApiError as error:
            normal = isinstance(error, Forbidden) and self._roster.configured
            self.list_readable, self._list_error = None if normal else False, error
            if isinstance(error, Unauthorized | RateLimited):
                raise
            await self._without_list(error)
        else:
            self.list_readable, self._list_error = True, None
            if self._too_many:
                raise InvalidResponse(_TOO_MANY)

    # The list

    @property
    def _long(self) -> bool:
        """Whether the list takes more than a minute's budget; the first one is never known to."""
        return self._list_pages > self._api.budget(Endpoint.INTEGRATIONS).slots

    async def _read_list(self) -> None:
        """Read the list page by page; each item may bring a history read with it."""
        listed: set[str] = set()
        cursor: str | None = None
        self._roster.refused = 0
        invalid = 0
        for number in range(MOST_LIST_PAGES):
            page = await self._page(cursor, patient=number > 0)
            self._histories.listless, self._gets_through = False, True
            invalid += page.invalid - page.damaged
            found = {item.id for item in page.integrations}
            if page.next_cursor is not None and found <= listed:
                raise InvalidResponse(_LEADS_BACK)
            listed |= found
            self._take(page, first=number == 0)
            cursor = page.next_cursor
            if cursor is None:
                self._list_pages = number + 1
                self._ends(listed, complete=not invalid)
                break
        self._too_many = cursor is not None or self._roster.refused > 0

    async def _page(self, cursor: str | None, *, patient: bool) -> IntegrationsPage:
        """One page; a refusal amid the list costs a wait, not what was read before it."""
        for _ in range(MOST_REFUSALS if patient else 0):
            try:
                return await self._api.integrations(cursor)
            except RateLimited:
                continue
        return await self._api.integrations(cursor)

    def _take(self, page: IntegrationsPage, *, first: bool) -> None:
        """See what a page tells of, and what has to be read for that."""
        ids = [item.id for item in page.integrations]
        before = [each for each in map(self._roster.get, ids) if each is not None]
        lost = {each.id for each in before if each.listed.schedule_lost is not None}
        wall, server = self._api.wall(), self._api.server()
        seen = [self._roster.see(item, wall, server) for item in page.integrations]
        tracked = [each for each in seen if each is not None]
        for each in tracked:
            self._persistence.note(each)
        self._histories.consider(tracked)
        if first:
            self._histories.consider(self._roster)
        self._log_changes(before, lost)

    def _log_changes(self, before: Iterable[Tracked], lost: Collection[str]) -> None:
        """Log what a page of the list changed about integrations that were followed."""
        for each in before:
            facts = {
                "workspace": self._name,
                "integration_id": each.id,
                "integration_name": each.name,
            }
            if self._roster.get(each.id) is None:
                log.info("integration excluded", **facts)
            elif each.listed.schedule_lost is not None and each.id not in lost:
                log.warning("schedule lost", **facts)
            elif each.id in lost and each.item and each.item.next_scheduled_run is not None:
                log.info("schedule returned", **facts)

    def _ends(self, listed: set[str], *, complete: bool) -> None:
        if not complete:
            return
        for tracked in self._roster.complete(listed, self._api.now(), self._api.wall()):
            log.info("integration left", workspace=self._name, integration_id=tracked.id)

    # Without the list

    async def _without_list(self, error: ApiError) -> None:
        """Go on without the list where that is possible, and say so where it is not normal."""
        if isinstance(error, Forbidden) and self._roster.configured:
            self._forbidden_until = self._api.now() + FORBIDDEN_FOR
            await self._read_in_turn()
            return
        if not len(self._roster):
            raise error
        try:
            read = await self._read_in_turn(until=self._api.now() + LIST_AGAIN_AFTER)
        except ApiError:
            raise error from None
        if not read or isinstance(error, Forbidden):
            raise error

    async def _read_in_turn(self, until: float = math.inf) -> bool:
        """A pass without the list: the history of each integration, the longest unread first.

        Tells whether any was read. Where nothing may be asked anew, a failure stays one.
        After `until` (loop seconds) the rest is left to the pass that a scrape wants next.
        """
        histories = self._histories
        histories.listless = True
        before = histories.pages
        if not await histories.try_one():
            if self.failure is not None:
                raise self.failure
            return False
        self._gets_through = True
        histories.consider(self._roster)
        while histories.newest_unread:
            if self._another and self._api.now() >= until:
                break
            await self._signal.wait()
        if histories.given_up is not None:
            raise histories.given_up
        if histories.refused is not None:
            raise histories.refused
        return histories.pages > before
