"""Which histories of a workspace are read next, and what comes of it.

    what is due ──► queue ──► a page ──► ledger ──► what is due now?

Reads go on after the scrape or the pass that asked for them; each page shows at once.
"""

import asyncio
import math
from collections.abc import Iterable
from contextlib import ExitStack

import structlog

from cdi_exporter.braze.permit import RequestPermit
from cdi_exporter.change_signal import ChangeSignal
from cdi_exporter.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    InvalidResponse,
    NotFound,
    RateLimited,
    Unauthorized,
)
from cdi_exporter.model import Endpoint, Run
from cdi_exporter.workspace.api import Api
from cdi_exporter.workspace.persistence import Persistence
from cdi_exporter.workspace.reads import Reads
from cdi_exporter.workspace.roster import Roster
from cdi_exporter.workspace.tracked import Due, Tracked

AUDIT_EVERY = 900.0
AUDIT_SHARE = 0.1
"""The part of the history budget that audits may take."""

LOOK_EVERY = 5.0
"""Seconds between two looks at what became due, where no pass begins."""

ANSWERED = 0.1
"""Seconds in which a scrape is answered that has nothing to wait for."""

AT_ONE_GO, PAUSE = 200, 0.005
"""Integrations that a look sees before it lets others work, and for how many seconds."""

MOST_FAILED_READS = 3

REFUSALS = (BadRequest, Unauthorized, Forbidden, NotFound)
"""Errors that say that a history may not be read, or that there is none."""

NEWEST = (Due.CHANGE, Due.TURN)
"""Reads of newest pages that are due by themselves, not by a guess."""

DEFECT = "a defect of the exporter: its log has the details; please report it"

log = structlog.get_logger()


class Histories:
    """The histories of one workspace."""

    def __init__(
        self,
        *,
        roster: Roster,
        api: Api,
        persistence: Persistence,
        signal: ChangeSignal,
    ) -> None:
        self._roster, self._api = roster, api
        self._persistence, self._signal = persistence, signal
        self._reads = Reads(api.permit, self._read_due, self.broke)
        self._turn = 0
        """Counts the passes."""
        self.listless = False
        """Whether the list cannot be read, so that each history has its turn in each pass."""
        self.denied: ApiError | None = None
        """Why no history may be read, while that is so."""
        self.defect: ApiError | None = None
        """A defect of the exporter that was met since the last pass began."""
        self._defect_met: tuple[str, int] | None = None
        """What the last one was, and in which turn."""
        self._all_refused = False
        """Whether it was logged that every integration is refused."""
        self.pages = 0
        """Pages read since the start."""
        self._failed = 0
        """Reads in a row that failed for no reason of the integration's own."""
        self._last_error: ApiError | None = None
        self._refused: set[str] = set()
        """Integrations whose histories were refused, since one was read."""
        self._over = 0
        """The last turn in which nothing more was to be read."""
        self._looked = -math.inf
        self._looking: asyncio.Task[None] | None = None
        for tracked in roster:
            tracked.audit_at(api.now() + api.clock.rng.uniform(0.0, self._audit_interval()))

    @property
    def pending(self) -> int:
        """How many reads wait, less audits."""
        return self._reads.waiting(*(due for due in Due if due is not Due.AUDIT))

    @property
    def newest_unread(self) -> bool:
        """Whether newest pages are due that are not read yet."""
        return bool(self._reads.waiting(*NEWEST) or self._reads.under_way(*NEWEST))

    @property
    def given_up(self) -> ApiError | None:
        """Why nothing more is read before the next pass."""
        return self.defect or (self._last_error if self._failed >= MOST_FAILED_READS else None)

    @property
    def refused(self) -> ApiError | None:
        """Why there is nothing to read, while every configured integration is refused."""
        if not self._roster.configured or not len(self._roster):
            return None
        if not all(isinstance(tracked.problem, REFUSALS) for tracked in self._roster):
            return None
        return next(iter(self._roster)).problem

    def worth_waiting(self, seconds: float) -> bool:
        """Whether a newest page may be read within `seconds`.

        Reads in turn, which no pass over the list waits for, are worth it where all of them
        fit the budget.
        """
        budget = self._api.budget(Endpoint.HISTORY)
        all_fit = budget.used + self._reads.waiting(Due.TURN) / budget.slots <= 1
        newest = NEWEST if all_fit else (Due.CHANGE,)
        if self._reads.under_way(*newest):
            return True
        waiting = self._reads.waiting(*newest) > 0
        return waiting and not self._api.client.stalled(Endpoint.HISTORY, seconds)

    # What is due

    def begin_turn(self) -> None:
        """A pass begins: what failed may be tried again."""
        self._turn += 1
        self._failed, self.defect = 0, None

    def drop(self) -> None:
        """Forget what waits; what is under way goes on."""
        self._reads.clear()

    def release(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()

    async def close(self) -> None:
        """End everything at once."""
        self.release()
        if self._looking is not None:
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._reads.close()

    def look(self) -> None:
        """See what became due by the passing of time alone, beside the scrapes.

        Scrapes that come together share a look; none waits for it.
        """
        looks = self._looking is not None and not self._looking.done()
        if not looks and self._api.now() - self._looked >= LOOK_EVERY:
            self._looked = self._api.now()
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        try:
            await self._api.clock.sleep(ANSWERED)
            several = [*self._roster]
            for begin in range(0, len(several), AT_ONE_GO):
                self.consider(several[begin : begin + AT_ONE_GO])
                await self._api.clock.sleep(PAUSE)
        except Exception as error:  # noqa: BLE001 -- a defect is reported, whatever it is
            self.broke(error)

    def broke(self, error: Exception) -> None:
        """Note a defect of the exporter: the next pass tries again. Logged once while it lasts."""
        known, self._defect_met = self._defect_met, (repr(error), self._turn)
        lasts = known is not None and known[0] == repr(error) and self._turn - known[1] <= 2
        self.defect = ApiError(DEFECT)
        self._reads.clear()
        self._signal.notify()
        if not lasts:
            log.error(
                "refresh failed by a defect", workspace=self._persistence.name, exc_info=error
            )

    def consider(self, several: Iterable[Tracked]) -> None:
        """Put into the queue what is due."""
        server = self._api.server()
        for tracked in several if self.denied is None else self._probe():
            if self._held_back():
                return
            tracked.expire(server)
            self._persistence.note(tracked)
            due = self._due(tracked)
            if due is not None:
                self._put(tracked, due)

    def _put(self, tracked: Tracked, due: Due) -> None:
        """Ask for a read, before those of its kind that have waited for less long."""
        since = tracked.read_at
        if due in (Due.OVERDUE, Due.CATCH_UP):
            since = tracked.behind_since
        self._reads.put(tracked.id, due, -math.inf if since is None else since)

    def _due(self, tracked: Tracked) -> Due | None:
        """Why its history is to be read now."""
        now, server = self._api.now(), self._api.server()
        return tracked.due(now, server, self._turn, listless=self.listless)

    def _held_back(self) -> bool:
        """Whether reads wait for the next pass: too many failed, or the key was refused."""
        return self._failed >= MOST_FAILED_READS or self._over == self._turn

    def _probe(self) -> list[Tracked]:
        """Where no history may be read, the one that tries for all in this pass, due or not."""
        if self._reads.busy or self._held_back():
            return []
        for tracked in sorted(self._roster, key=lambda tracked: tracked.refused_in):
            tracked.audit_at(self._api.now())
            if self._due(tracked) is not None:
                return [tracked]
        return []

    def _audit_interval(self) -> float:
        slots = self._api.budget(Endpoint.HISTORY).slots
        spread = 60.0 * len(self._roster) / (AUDIT_SHARE * slots)
        return max(AUDIT_EVERY, spread) * self._api.clock.rng.uniform(0.9, 1.1)

    # Reading

    async def try_one(self) -> bool:
        """Read the newest page that is longest unread, of those due; whether there was any.

        Raises ApiError where that failed for no reason of the integration's own.
        """
        due = [tracked for tracked in self._roster if self._due(tracked) is not None]
        if not due:
            return False
        first = min(due, key=lambda each: (each.refused_in, each.read_at or -math.inf))
        with ExitStack() as unused:
            turn = unused.enter_context(await self._api.permit())
            error = await self._read(first, Due.TURN, turn, unused)
        its_own = (BadRequest, NotFound) if self.denied else (BadRequest, NotFound, Forbidden)
        if error is not None and not isinstance(error, its_own):
            raise error
        return True

    async def _read_due(self, identifier: str, turn: RequestPermit) -> None:
        """Read what is due by now; what was put into the queue may be known meanwhile."""
        tracked = self._roster.get(identifier)
        try:
            with ExitStack() as unused:
                unused.enter_context(turn)
                due = self._due(tracked) if tracked else None
                if tracked is not None and due is not None:
                    await self._read(tracked, due, turn, unused)
        except Exception:
            if tracked is not None:
                tracked.failed(ApiError(DEFECT), self._api.now(), self._turn)
            log.exception(
                "history not read by a defect",
                workspace=self._persistence.name,
                integration_id=identifier,
            )
        finally:
            self._signal.notify()

    async def _read(
        self, tracked: Tracked, due: Due, turn: RequestPermit, unused: ExitStack
    ) -> ApiError | None:
        """Read one page of a history; the error where it failed.

        `unused` gives the turn back unless a request takes it over.
        """
        older = due in (Due.CATCH_UP, Due.OVERDUE)
        cursor = tracked.ledger.next_cursor if older else None
        try:
            counted = await self._page(tracked, cursor, turn, unused)
        except ApiError as error:
            self._read_failed(tracked, error)
            return error
        finally:
            self._persistence.note(tracked)
            self._signal.notify()
        try:
            self._read_done(tracked)
        finally:
            self._persistence.finished(tracked, counted)
        return None

    async def _page(
        self, tracked: Tracked, cursor: str | None, turn: RequestPermit, unused: ExitStack
    ) -> list[Run]:
        """Read the newest page, or an older one; the runs that it counted."""
        asked = tracked.asking()
        if cursor is None:
            tracked.turn = self._turn
        unused.pop_all()
        page = await self._api.history(tracked.id, cursor, turn)
        now, server = self._api.now(), self._api.server()
        if cursor is not None:
            return tracked.took_older(page, now, server)
        counted = tracked.took(page, asked, now, self._api.wall(), server)
        tracked.audit_at(now + self._audit_interval())
        return counted

    def _read_done(self, tracked: Tracked) -> None:
        self._failed, self._all_refused = 0, False
        self._refused.clear()
        self.pages += 1
        if self.denied is not None:
            self.denied, self._over = None, 0
            self.consider(self._roster)
        elif tracked.ledger.next_cursor is not None:
            due = self._due(tracked)
            if due is not None:
                self._put(tracked, due)

    def _read_failed(self, tracked: Tracked, error: ApiError) -> None:
        """Note a failure where it belongs: to the key, to the endpoint, to the integration."""
        if isinstance(error, RateLimited):
            return
        if isinstance(error, Unauthorized | Forbidden) and self._refusal(tracked, error):
            return
        tracked.failed(error, self._api.now(), self._turn)
        if error.retryable or isinstance(error, InvalidResponse):
            self._failed += 1
            self._last_error = error
        if self._failed >= MOST_FAILED_READS:
            self._reads.clear()
        known, self._all_refused = self._all_refused, self.refused is not None
        name = self._persistence.name
        log.warning(
            "history not read", workspace=name, integration_id=tracked.id, problem=f"{error}"
        )
        if self._all_refused and not known:
            log.warning("every integration refused", workspace=name, problem=f"{error}")

    def _refusal(self, tracked: Tracked, error: ApiError) -> bool:
        """Whether the key may read no history: it never did, or several in a row were refused.

        One that is refused while others are read is its integration's own trouble.
        """
        self._refused.add(tracked.id)
        several = not self.pages or len(self._refused) >= min(MOST_FAILED_READS, len(self._roster))
        if several or isinstance(error, Unauthorized):
            self._over = self._turn
            self._reads.clear()
        if not several and self.denied is None:
            return False
        known, self.denied = self.denied, error
        tracked.refused(error, self._turn)
        if known is None:
            log.warning(
                "history not readable", workspace=self._persistence.name, problem=str(error)
            )
        return True
