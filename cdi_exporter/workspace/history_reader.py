"""Reads the histories of one workspace: due reads go into a queue, each page to its ledger.

    due? ──► queue ──► page ──► ledger ──► due again?

Reads continue after the scrape or the refresh that queued them; each page shows at once.
"""

import asyncio
import math
from collections.abc import Iterable
from contextlib import ExitStack

import structlog

from cdi_exporter.braze.sharing import RequestPermit
from cdi_exporter.change_signal import ChangeSignal
from cdi_exporter.clock import Instant
from cdi_exporter.errors import ApiError, RateLimited
from cdi_exporter.model import Endpoint, Run
from cdi_exporter.workspace.api import Api
from cdi_exporter.workspace.defects import DEFECT, Defects
from cdi_exporter.workspace.history_access import REFUSALS, HistoryAccess, is_own_problem
from cdi_exporter.workspace.integration import IntegrationState
from cdi_exporter.workspace.inventory import Inventory
from cdi_exporter.workspace.publisher import Publisher
from cdi_exporter.workspace.read_queue import ReadQueue
from cdi_exporter.workspace.schedule import NEWEST_IS_DUE, ReadReason, next_read, recheck_interval

LOOK_EVERY = 5.0
"""Least seconds between two checks for due reads between refreshes: several scrapers share one."""

ANSWERED = 0.1
"""Seconds by which a check waits, so that the scrape that caused it is answered first."""

AT_ONE_GO, PAUSE = 200, 0.005
"""Integrations that a check handles before it pauses, and the seconds that it pauses, for the event
loop to do other work."""

log = structlog.get_logger()


class HistoryReader:
    """The reads of one workspace's histories."""

    def __init__(
        self,
        *,
        inventory: Inventory,
        api: Api,
        publisher: Publisher,
        defects: Defects,
        signal: ChangeSignal,
    ) -> None:
        self._inventory, self._api, self._publisher = inventory, api, publisher
        self._defects, self._signal = defects, signal
        self._queue = ReadQueue(api.permit, self._read_queued, defects.report)
        self.access = HistoryAccess()
        self.refresh_number = 0
        """The number of the current refresh."""
        self.round_robin = False
        """Whether each refresh reads every history, because the list cannot be read."""
        self._all_refused = False
        """Whether it was logged that all integrations are refused."""
        self._looked_at = -math.inf
        self._looking: asyncio.Task[None] | None = None
        self.spread_rechecks()

    def spread_rechecks(self) -> None:
        """Spread the re-checks of restored integrations over time."""
        for state in self._inventory:
            interval = self._recheck_interval()
            state.reads.recheck_at = self._api.now() + self._api.clock.rng.uniform(0.0, interval)

    @property
    def pending(self) -> int:
        """How many reads wait, without re-checks."""
        reasons = (reason for reason in ReadReason if reason is not ReadReason.RECHECK)
        return self._queue.waiting(*reasons)

    @property
    def busy(self) -> bool:
        """Whether any read waits or is in progress."""
        return self._queue.busy

    @property
    def newest_unread(self) -> bool:
        """Whether any newest page still has to be read."""
        return bool(self._queue.waiting(*NEWEST_IS_DUE) or self._queue.under_way(*NEWEST_IS_DUE))

    @property
    def refused(self) -> ApiError | None:
        """The error if every configured integration is refused."""
        if not self._inventory.configured or not len(self._inventory):
            return None
        if not all(isinstance(state.problem, REFUSALS) for state in self._inventory):
            return None
        return next(iter(self._inventory)).problem

    def can_progress_within(self, seconds: float) -> bool:
        """Whether a newest page may be read within `seconds`.

        Round-robin reads, which no refresh from the list waits for, count if all of them fit
        the budget.
        """
        budget = self._api.budget(Endpoint.HISTORY)
        all_fit = budget.used + self._queue.waiting(ReadReason.ROUND_ROBIN) / budget.slots <= 1
        newest = NEWEST_IS_DUE if all_fit else (ReadReason.CHANGE,)
        if self._queue.under_way(*newest):
            return True
        waiting = self._queue.waiting(*newest) > 0
        return waiting and not self._api.client.stalled(Endpoint.HISTORY, seconds)

    # Due reads

    def start_refresh(self) -> None:
        """Start a refresh: what failed is tried again."""
        self.refresh_number += 1
        self.access.start_refresh()

    def drop(self) -> None:
        """Drop the waiting reads; those in progress continue."""
        self._queue.clear()

    def stop_looking(self) -> None:
        """Stop checking for due reads."""
        if self._looking is not None:
            self._looking.cancel()

    async def close(self) -> None:
        """End everything at once."""
        self.stop_looking()
        if self._looking is not None:
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._queue.close()

    def look(self) -> None:
        """Queue, in the background, the reads that are due because time has passed.

        Scrapes that arrive together share a check; none waits for it.
        """
        looks = self._looking is not None and not self._looking.done()
        if not looks and self._api.now() - self._looked_at >= LOOK_EVERY:
            self._looked_at = self._api.now()
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        try:
            await self._api.clock.sleep(ANSWERED)
            states = [*self._inventory]
            for start in range(0, len(states), AT_ONE_GO):
                self.queue_due(states[start : start + AT_ONE_GO])
                await self._api.clock.sleep(PAUSE)
        except Exception as error:  # noqa: BLE001 -- any error here is a defect, and is reported
            self._defects.report(error)

    def queue_due(self, states: Iterable[IntegrationState]) -> None:
        """Queue the due reads of these integrations."""
        instant = self._api.instant()
        for state in states if self.access.denied is None else self._probe():
            if self.access.is_over(self.refresh_number):
                return
            state.expire(instant.server)
            self._publisher.note(state)
            self._queue_read(state, self._next_read(state, instant))

    def _queue_read(self, state: IntegrationState, reason: ReadReason | None) -> None:
        """Queue a read; of those with the same reason the one that waited longest goes first."""
        if reason is not None:
            reads = state.reads
            since = reads.behind_since if reason.reads_older_page else reads.read_at
            self._queue.put(state.id, reason, -math.inf if since is None else since)

    def _next_read(self, state: IntegrationState, instant: Instant) -> ReadReason | None:
        return next_read(state, instant, self.refresh_number, round_robin=self.round_robin)

    def _probe(self) -> list[IntegrationState]:
        """The one history to try in this refresh, due or not, while the key may not read any."""
        if self._queue.busy or self.access.is_over(self.refresh_number):
            return []
        instant = self._api.instant()
        for state in sorted(self._inventory, key=lambda state: state.reads.refused_in):
            state.reads.recheck_at = instant.monotonic
            if self._next_read(state, instant) is not None:
                return [state]
        return []

    def _recheck_interval(self) -> float:
        slots = self._api.budget(Endpoint.HISTORY).slots
        jitter = self._api.clock.rng.uniform(0.9, 1.1)  # so that they do not come together
        return recheck_interval(len(self._inventory), slots) * jitter

    # Reading

    async def read_one(self) -> bool:
        """Read the newest page of the due history that was read longest ago; whether there was one.

        Raises ApiError if that failed and the integration is not the cause.
        """
        instant = self._api.instant()
        due = [state for state in self._inventory if self._next_read(state, instant) is not None]
        if not due:
            return False
        first = min(due, key=lambda one: (one.reads.refused_in, one.reads.read_at or -math.inf))
        with ExitStack() as unused:
            permit = unused.enter_context(await self._api.permit())
            error = await self._read(first, ReadReason.ROUND_ROBIN, permit, unused)
        if error is not None and not is_own_problem(error, self.access.denied):
            raise error
        return True

    async def _read_queued(self, identifier: str, permit: RequestPermit) -> None:
        """Read what is due now: the reason for which it was queued may be gone."""
        state = self._inventory.get(identifier)
        try:
            with ExitStack() as unused:
                unused.enter_context(permit)
                reason = self._next_read(state, self._api.instant()) if state else None
                if state is not None and reason is not None:
                    await self._read(state, reason, permit, unused)
        except Exception:
            if state is not None:
                state.read_failed(ApiError(DEFECT), self._api.now(), self.refresh_number)
            log.exception(
                "internal error",
                workspace=self._publisher.name,
                integration_id=identifier,
            )
        finally:
            self._signal.notify()

    async def _read(
        self, state: IntegrationState, reason: ReadReason, permit: RequestPermit, unused: ExitStack
    ) -> ApiError | None:
        """Read one page of a history; return the error if that failed.

        `unused` gives the permit back unless a request uses it.
        """
        cursor = state.ledger.next_cursor if reason.reads_older_page else None
        try:
            counted = await self._page(state, cursor, permit, unused)
        except ApiError as error:
            self._read_failed(state, error)
            return error
        finally:
            self._publisher.note(state)
            self._signal.notify()
        try:
            self._read_done(state)
        finally:
            self._publisher.page_read(state, counted)
        return None

    async def _page(
        self, state: IntegrationState, cursor: str | None, permit: RequestPermit, unused: ExitStack
    ) -> list[Run]:
        """Read the newest page, or an older one; the runs that it counted."""
        fingerprint = state.fingerprint
        if cursor is None:
            state.reads.refresh_number = self.refresh_number
        unused.pop_all()
        page = await self._api.history(state.id, cursor, permit)
        instant = self._api.instant()
        if cursor is not None:
            return state.apply_older_page(page, instant)
        counted = state.apply_newest_page(page, fingerprint, instant)
        state.reads.recheck_at = instant.monotonic + self._recheck_interval()
        return counted

    def _read_done(self, state: IntegrationState) -> None:
        self._all_refused = False
        if self.access.page_read():
            self.queue_due(self._inventory)
        elif state.ledger.next_cursor is not None:
            self._queue_read(state, self._next_read(state, self._api.instant()))

    def _read_failed(self, state: IntegrationState, error: ApiError) -> None:
        """Note a failure of the key, of the endpoint, or of the integration."""
        if isinstance(error, RateLimited):
            return
        denied = self.access.denied
        refused = self.access.is_refused(state.id, error, self.refresh_number, len(self._inventory))
        if refused:
            state.read_refused(error, self.refresh_number)
            if denied is None:
                log.warning(
                    "history access denied", workspace=self._publisher.name, problem=str(error)
                )
        else:
            self._failed(state, error)
        if self.access.is_over(self.refresh_number):
            self._queue.clear()

    def _failed(self, state: IntegrationState, error: ApiError) -> None:
        """Note a failure that is not one of the key."""
        state.read_failed(error, self._api.now(), self.refresh_number)
        self.access.failed(error)
        known, self._all_refused = self._all_refused, self.refused is not None
        name = self._publisher.name
        log.warning(
            "history read failed", workspace=name, integration_id=state.id, problem=f"{error}"
        )
        if self._all_refused and not known:
            log.warning("all integration IDs rejected", workspace=name, problem=f"{error}")
