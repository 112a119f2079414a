"""One workspace: the refresh that a scrape starts, single flight, and what to ask next.

    scrape ──► list pass ──► items ──► what changed? ──► queue ──► history reads ──► ledger
       ▲                                                              │
       └───────────────────────── snapshot ◄──────────────────────────┘

A pass reads the list or, where that cannot be read, the history of each integration in
turn. Only `scrape` and a pass put reads into the queue; both go on after the answer, and
each page shows in the snapshot as soon as it is read.
"""

import asyncio
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial

import structlog

from cdi_exporter.braze.budget import INSTANT, WINDOW
from cdi_exporter.braze.client import Client, Clock, Endpoint, Turn
from cdi_exporter.braze.traffic import Exchange, Traffic
from cdi_exporter.braze.wire import IntegrationsPage
from cdi_exporter.config import WorkspaceConfig
from cdi_exporter.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    InvalidResponse,
    NotFound,
    RateLimited,
    Unauthorized,
)
from cdi_exporter.model import Run
from cdi_exporter.snapshot import WorkspaceSnapshot
from cdi_exporter.state import NOTHING_KEPT, Change, Memory, StateError
from cdi_exporter.workspace.reads import Reads
from cdi_exporter.workspace.rhythm import Bursts, Rhythm
from cdi_exporter.workspace.roster import News, Roster
from cdi_exporter.workspace.tracked import Due, Tracked

AUDIT_EVERY = 900.0
AUDIT_SHARE = 0.1
"""The part of the history budget that audits may take."""

KEPT_FOR_CHANGES = 0.05
"""The part of the history budget that reads before the list tells leave to those after it."""

FORBIDDEN_FOR = 900.0
"""Seconds after which a list that was forbidden is asked for again."""

LOOK_EVERY = 5.0
"""Seconds between two looks at what became due, where no pass begins."""

LIST_AGAIN_AFTER = 60.0
"""Seconds of reading in turn after which a list that failed is asked for again."""

MOST_LIST_PAGES = 5_000
MOST_REFUSALS = 5
MOST_FAILED_READS = 3
PATIENCE = 1.0
"""Seconds to wait for a workspace that failed last, while nothing at all is known of it."""

_LEADS_BACK = "the pages of the list lead nowhere new"
_DEFECT = "a defect of the exporter: its log has the details; please report it"

log = structlog.get_logger()


class Workspace:
    """The refresh of one workspace. Public: `scrape`, `snapshot`, `served`, `close`."""

    def __init__(
        self,
        config: WorkspaceConfig,
        client: Client,
        clock: Clock,
        journal: Memory = NOTHING_KEPT,
    ) -> None:
        """Begin with what the journal knows; raises StateError where that is unreadable."""
        self.config = config
        self.traffic = Traffic(tuple(Endpoint))
        self._client, self._clock = client, clock
        self._journal = journal
        self._roster = Roster(config, keeps=journal.keeps)
        self._counted: dict[str, list[Run]] = {}
        """Runs counted, but not committed and told yet."""
        self._changed: set[str] = set()
        """Integrations that the journal has to write."""
        self._reads = Reads(self._history_turn, self._read_due)
        self._rhythm = Rhythm()
        self._bursts = Bursts(self._rhythm)
        self._pass: asyncio.Task[None] | None = None
        self._pass_began = -math.inf
        self._scrapes_waiting = 0
        self._paced = False
        """Whether the pages of the list are not read as fast as the budget allows."""
        self._another = False
        """Whether a scrape came while a long pass was under way."""
        self._looked = -math.inf
        self._gets_through = False
        """Whether the pass that is under way has got an answer."""
        self._turn = 0
        self._list_pages = 0
        self._listless = False
        self._list_forbidden_until = -math.inf
        self._failure: ApiError | None = None
        """Why the last pass failed."""
        self._denied: ApiError | None = None
        """Why no history may be read, while that is so."""
        self._failed_reads = 0
        """Reads in a row that failed for no reason of the integration's own."""
        self._last_error: ApiError | None = None
        self._histories_read = 0
        self._passes = 0
        self._last_refresh: float | None = None
        self._refresh_duration: float | None = None
        self._restore()
        self._unserved = {tracked.id for tracked in self._roster if not tracked.zero_served}
        self._shown = WorkspaceSnapshot(config.name)
        self._moved = asyncio.Event()
        self._closing = False

    @property
    def name(self) -> str:
        """The value of the label `workspace`."""
        return self.config.name

    def configure(self, config: WorkspaceConfig, client: Client) -> None:
        """Go on with another configuration; what is known of an integration stays."""
        self.config, self._client = config, client
        self._roster.configure(config)
        self._list_forbidden_until = -math.inf
        self._unserved |= {tracked.id for tracked in self._roster if not tracked.zero_served}

    # A scrape

    async def scrape(self, deadline: float) -> WorkspaceSnapshot:
        """Refresh, wait for what shows until `deadline` (loop seconds), tell what is known."""
        deadline = min(deadline, self._patience(deadline))
        self._rhythm.note(self._now())
        self._begin()
        self._scrapes_waiting += 1
        try:
            await self._shows(deadline)
        finally:
            self._scrapes_waiting -= 1
        await self._journal.settle(deadline, lambda: any(one.behind for one in self._roster))
        return self.snapshot()

    async def _shows(self, deadline: float) -> None:
        """Wait, at most until then, for what is under way and may show."""
        while not self._closing and self._worth_waiting(deadline - self._now()):
            try:
                async with asyncio.timeout_at(deadline):
                    await self._moved.wait()
            except TimeoutError:
                break

    def snapshot(self) -> WorkspaceSnapshot:
        """What is known now; the same object while nothing changes."""
        error = self._failure or self._denied
        snapshot = WorkspaceSnapshot(
            name=self.name,
            integrations=tuple(tracked.snapshot() for tracked in self._roster),
            up=None if not self._passes and error is None else error is None,
            error=error.reason if error else None,
            problem=str(error) if error else None,
            last_refresh=self._last_refresh,
            refresh_duration=self._refresh_duration,
            pending_reads=self._reads.waiting(*(due for due in Due if due is not Due.AUDIT)),
            endpoints=tuple(
                self.traffic.endpoints[endpoint].snapshot(self._client.budgets[endpoint].last)
                for endpoint in Endpoint
            ),
        )
        if snapshot != self._shown:
            self._shown = snapshot
        return self._shown

    def served(self, snapshot: WorkspaceSnapshot) -> None:
        """Note that a scrape has seen `snapshot`: its counters may rise from now on."""
        if self._unserved:
            for shown in snapshot.integrations:
                self._unserved.discard(shown.facts.id)
                if tracked := self._roster.get(shown.facts.id):
                    tracked.served()
                    self._note(tracked)

    def recent(self) -> tuple[Exchange, ...]:
        """The last requests to the API, oldest first."""
        return tuple(self.traffic.recent)

    async def close(self) -> None:
        """Answer the scrapes that wait, and end what is under way."""
        self.release()
        if self._pass is not None:
            self._pass.cancel()
            await asyncio.gather(self._pass, return_exceptions=True)
        await self._reads.close()
        self._journal.leave(self)

    # What outlives the process

    @property
    def list_read(self) -> bool:
        """Whether the whole list was ever read."""
        return self._roster.list_read

    def changes(self) -> list[Change]:
        """What the journal has to write; asked for once."""
        now, wall = self._now(), self._clock.wall()
        dirty, self._changed = self._changed, set()
        return [self._change(each) for each in self._roster.changed(dirty, now, wall)]

    def _change(self, news: News) -> Change:
        counted = self._counted.get(news.id, [])[:]

        def committed() -> None:
            if news.tracked is None or news.record is None:
                return
            news.tracked.committed(news.record)
            untold = self._counted.get(news.id, [])
            while untold and any(untold[0] is run for run in counted):
                self._log_finished(news.tracked, untold.pop(0))

        return Change((self.name, news.id), partial(news.row, self.name), committed)

    def _restore(self) -> None:
        now, wall = self._now(), self._clock.wall()
        try:
            self._roster.restore(self._journal.load(self.name), now, wall)
        except ValueError as error:
            problem = (
                f"unreadable record in the workspace {self.name!r}, integration {error};"
                " put a copy back that is sound, or move the file away to begin anew"
            )
            raise StateError(problem) from error
        self._journal.changed(self)
        for tracked in self._roster:
            tracked.audit_at(now + self._clock.rng.uniform(0.0, self._audit_interval()))

    def _note(self, tracked: Tracked) -> None:
        """Have the journal write what changed of an integration."""
        if self._journal.keeps and tracked.dirty and not self._closing:
            self._changed.add(tracked.id)
            self._journal.changed(self)

    def release(self) -> None:
        """Answer the scrapes that wait with what is known."""
        self._closing = True
        self._notify()

    def _patience(self, deadline: float) -> float:
        """Until when it is worth waiting for this workspace at all."""
        now = self._now()
        known = any(tracked.read_at is not None for tracked in self._roster)
        if self._failure is not None:
            return now if known else now + PATIENCE
        slow = self._refresh_duration is not None and self._refresh_duration > deadline - now
        return now if known and slow else deadline

    def _worth_waiting(self, seconds: float) -> bool:
        """Whether what is under way may show within `seconds`."""
        if seconds <= INSTANT:
            return False
        if self._pass_runs and not self._client.stalled(self._asked, seconds):
            return True
        newest = (Due.CHANGE, Due.TURN) if self._room_for_turns else (Due.CHANGE,)
        if self._reads.under_way(*newest):
            return True
        waiting = self._reads.waiting(*newest) > 0
        return waiting and not self._client.stalled(Endpoint.HISTORY, seconds)

    @property
    def _room_for_turns(self) -> bool:
        """Whether the reads in turn, which no pass over the list waits for, all fit the budget."""
        budget = self._client.budgets[Endpoint.HISTORY]
        return budget.used + self._reads.waiting(Due.TURN) / budget.slots <= 1

    @property
    def _asked(self) -> Endpoint:
        return Endpoint.HISTORY if self._listless else Endpoint.INTEGRATIONS

    @property
    def _pass_runs(self) -> bool:
        return self._pass is not None and not self._pass.done()

    def _begin(self) -> None:
        if self._closing:
            return
        due = self._now() - self._pass_began >= 0.9 * self.config.refresh.min_interval
        if self._pass_runs:
            self._another = due
            if self._gets_through:
                self._look()
        elif due:
            self._pass = asyncio.create_task(self._run_passes())
        elif self._failure is None:
            self._look()

    def _look(self) -> None:
        """See what became due by the passing of time alone; scrapes that come together share it."""
        if self._now() - self._looked >= LOOK_EVERY:
            self._looked = self._now()
            self._consider(self._roster)

    # A pass

    async def _run_passes(self) -> None:
        """A pass; and another at once where it took so long that a scrape came meanwhile."""
        self._another = True
        while self._another and not self._closing:
            self._another = False
            await self._run_pass()
            self._another = self._another and self._failure is None

    async def _run_pass(self) -> None:
        self._pass_began = self._now()
        self._turn += 1
        self._gets_through = False
        self._failed_reads = 0
        try:
            await self._refresh()
        except ApiError as error:
            self._pass_failed(error)
        except Exception:
            log.exception("refresh failed by a defect", workspace=self.name)
            self._pass_failed(ApiError(_DEFECT))
        else:
            self._pass_done()
        finally:
            self._passes += 1
            self._notify()

    async def _refresh(self) -> None:
        if self._now() < self._list_forbidden_until:
            await self._read_in_turn()
            return
        try:
            await self._read_list()
        except (Unauthorized, RateLimited):
            raise
        except ApiError as error:
            await self._without_list(error)

    async def _without_list(self, error: ApiError) -> None:
        """Go on without the list where that is possible, and say so where it is not normal."""
        if isinstance(error, Forbidden) and self._roster.configured:
            self._list_forbidden_until = self._now() + FORBIDDEN_FOR
            await self._read_in_turn()
            return
        if not len(self._roster):
            raise error
        log.warning("list of integrations not read", workspace=self.name, problem=str(error))
        try:
            read = await self._read_in_turn(until=self._now() + LIST_AGAIN_AFTER)
        except ApiError:
            raise error from None
        if not read or isinstance(error, Forbidden):
            raise error

    async def _read_list(self) -> None:
        """Read the list page by page; each item may bring a history read with it."""
        listed: set[str] = set()
        cursor: str | None = None
        invalid = 0
        for number in range(MOST_LIST_PAGES):
            await self._page_due()
            page = await self._list_page(cursor, patient=number > 0)
            self._listless, self._gets_through = False, True
            invalid += page.invalid
            found = {item.id for item in page.integrations}
            if page.next_cursor is not None and found <= listed:
                raise InvalidResponse(_LEADS_BACK)
            listed |= found
            wall, server = self._clock.wall(), self._server_time()
            seen = [self._roster.see(item, wall, server) for item in page.integrations]
            self._welcome(tracked for tracked in seen if tracked is not None)
            if number == 0 or (self._in_bursts and self._bursts.over):
                self._consider(self._roster, burst_over=self._bursts.over)
            cursor = page.next_cursor
            if cursor is None:
                self._list_pages = number + 1
                self._list_ends(listed, complete=not invalid)
                return
        raise InvalidResponse(_LEADS_BACK)

    @property
    def _long(self) -> bool:
        """Whether the list takes more than a minute's budget; the first one is never known to."""
        return self._list_pages > self._client.budgets[Endpoint.INTEGRATIONS].slots

    @property
    def _in_bursts(self) -> bool:
        """Whether its pages are read right before scrapes."""
        return self._paced and self._bursts.in_rhythm

    async def _page_due(self) -> None:
        """Wait until the next page of the list is to be read.

        A short list is read at once, and so is one that a scrape waits for.
        """
        self._paced = self._long and not self._scrapes_waiting
        if self._paced:
            slots = self._client.budgets[Endpoint.INTEGRATIONS].slots
            seconds = self.traffic.endpoints[Endpoint.INTEGRATIONS].typical_seconds
            due = self._bursts.due(self._now(), slots, seconds)
            await self._clock.sleep(max(0.0, due - self._now()))

    async def _list_page(self, cursor: str | None, *, patient: bool) -> IntegrationsPage:
        """One page; a refusal amid the list costs a wait, not what was read before it."""
        for _ in range(MOST_REFUSALS if patient else 0):
            try:
                return await self._client.integrations(cursor, self.traffic)
            except RateLimited:
                continue
        return await self._client.integrations(cursor, self.traffic)

    def _list_ends(self, listed: set[str], *, complete: bool) -> None:
        if not complete:
            return
        left = self._roster.complete(listed, self._now(), self._clock.wall())
        for tracked in left:
            log.info("integration left", workspace=self.name, integration_id=tracked.id)

    async def _read_in_turn(self, until: float = math.inf) -> bool:
        """A pass without the list: the history of each integration, the longest unread first.

        Tells whether any was read. Where nothing may be asked anew, a failure stays one.
        After `until` (loop seconds) the rest is left to the pass that a scrape wants next.
        """
        self._listless = True
        before = self._histories_read
        due = [tracked for tracked in self._roster if self._due(tracked) is not None]
        if not due:
            if self._failure is not None:
                raise self._failure
            return False
        first = min(due, key=lambda tracked: tracked.read_at or -math.inf)
        turn = await self._history_turn()
        error = await self._read(first, Due.TURN, turn)
        if error is not None and not isinstance(error, BadRequest | NotFound):
            raise error
        self._gets_through = True
        self._consider(self._roster)
        newest = (Due.CHANGE, Due.TURN)
        while self._reads.waiting(*newest) or self._reads.under_way(*newest):
            if self._another and self._now() >= until:
                break
            await self._moved.wait()
        if self._failed_reads >= MOST_FAILED_READS and self._last_error is not None:
            raise self._last_error
        return self._histories_read > before

    def _pass_failed(self, error: ApiError) -> None:
        self._reads.clear()
        if self._failure is None or self._failure.reason != error.reason:
            log.warning(
                "refresh failed", workspace=self.name, reason=error.reason, problem=str(error)
            )
        self._failure = error

    def _pass_done(self) -> None:
        if self._failure is not None:
            log.info("refresh works again", workspace=self.name)
        self._failure = None
        self._last_refresh = self._clock.wall()
        self._roster.forget(self._last_refresh)
        self._journal.changed(self)
        self._refresh_duration = self._now() - self._pass_began
        self._consider(self._roster)

    # What to read

    def _consider(self, several: Iterable[Tracked], *, burst_over: bool = False) -> None:
        """Put into the queue what is due.

        Where the list is read in bursts, a read that it does not ask for waits until one is
        over: what it asks for goes first.
        """
        guess = burst_over or not self._in_bursts
        server = self._server_time()
        for tracked in several:
            if self._held_back():
                return
            tracked.expire(server)
            self._note(tracked)
            due = self._due(tracked, guess=guess)
            if due is not None:
                self._put(tracked, due)

    def _put(self, tracked: Tracked, due: Due) -> None:
        """Ask for a read, before those of its kind that gain less, or wait for less long."""
        since = tracked.read_at
        if due is Due.EXPECTED:
            since = -tracked.expected(self._server_time(), self._refresh_duration or 0.0)
        elif due in (Due.OVERDUE, Due.CATCH_UP):
            since = tracked.behind_since
        self._reads.put(tracked.id, due, -math.inf if since is None else since)

    def _due(self, tracked: Tracked, *, guess: bool = True) -> Due | None:
        """Why its history is to be read now; with `guess` also in vain where that is spared."""
        due = partial(
            tracked.due,
            self._now(),
            self._server_time(),
            self._turn,
            listless=self._listless,
            list_seconds=self._refresh_duration or 0.0,
        )
        reason = due(guess=guess)
        if reason is Due.EXPECTED and not self._may_guess():
            return due(guess=False)
        return reason

    def _may_guess(self) -> bool:
        """Whether the budget has so much to spare that a read may turn out to be in vain."""
        budget, now = self._client.budgets[Endpoint.HISTORY], self._now()
        if self._in_bursts:
            share = min(1.0, self._bursts.gap / WINDOW)
            return (
                self._bursts.nearly_over(now)
                and budget.used_since(now - self._bursts.gap / 2) < share
            )
        return budget.used <= 1 - KEPT_FOR_CHANGES

    def _held_back(self) -> bool:
        """Whether reads wait for the next pass: too many failed, or one tries for all."""
        if self._failed_reads >= MOST_FAILED_READS:
            return True
        return self._denied is not None and self._reads.busy

    async def _read_due(self, identifier: str, turn: Turn) -> None:
        """Read what is due by now; what was put into the queue may be known meanwhile."""
        tracked = self._roster.get(identifier)
        due = self._due(tracked) if tracked else None
        if tracked is None or due is None:
            with turn:
                self._notify()
                return
        try:
            await self._read(tracked, due, turn)
        except Exception:
            log.exception(
                "history not read by a defect", workspace=self.name, integration_id=identifier
            )
            tracked.failed(ApiError(_DEFECT), self._now())

    async def _read(self, tracked: Tracked, due: Due, turn: Turn) -> ApiError | None:
        """Read one page of a history; the error where it failed."""
        older = due in (Due.CATCH_UP, Due.OVERDUE)
        cursor = tracked.ledger.next_cursor if older else None
        asked = tracked.asking()
        if cursor is None:
            tracked.turn = self._turn
        try:
            page = await self._client.history(tracked.id, cursor, turn)
            server = self._server_time()
            if cursor is None:
                now, wall = self._now(), self._clock.wall()
                counted = tracked.took(page, asked, now, wall, server)
                tracked.audit_at(now + self._audit_interval())
            else:
                counted = tracked.took_older(page, self._now(), server)
            if counted and self._journal.keeps:
                self._counted.setdefault(tracked.id, []).extend(counted)
        except ApiError as error:
            self._read_failed(tracked, error)
            return error
        finally:
            self._note(tracked)
            self._notify()
        self._read_done(tracked, counted)
        return None

    def _read_done(self, tracked: Tracked, counted: list[Run]) -> None:
        self._failed_reads = 0
        self._histories_read += 1
        for run in () if self._journal.keeps else counted:
            self._log_finished(tracked, run)
        if self._denied is not None:
            self._denied = None
            self._consider(self._roster)
        elif tracked.ledger.next_cursor is not None:
            due = self._due(tracked, guess=False)
            if due is not None:
                self._put(tracked, due)

    def _read_failed(self, tracked: Tracked, error: ApiError) -> None:
        """Note a failure where it belongs: to the key, to the endpoint, to the integration."""
        if isinstance(error, Unauthorized | Forbidden):
            if self._denied is None:
                log.warning("history not readable", workspace=self.name, problem=str(error))
            self._denied = error
            self._reads.clear()
            return
        if isinstance(error, RateLimited):
            return
        tracked.failed(error, self._now())
        log.warning(
            "history not read",
            workspace=self.name,
            integration_id=tracked.id,
            problem=str(error),
        )
        if error.retryable or isinstance(error, InvalidResponse):
            self._failed_reads += 1
            self._last_error = error
        if self._failed_reads >= MOST_FAILED_READS:
            self._reads.clear()

    def _audit_interval(self) -> float:
        slots = self._client.budgets[Endpoint.HISTORY].slots
        spread = 60.0 * len(self._roster) / (AUDIT_SHARE * slots)
        return max(AUDIT_EVERY, spread) * self._clock.rng.uniform(0.9, 1.1)

    def _welcome(self, several: Iterable[Tracked]) -> None:
        """Take note of integrations that a list page told of."""
        tracked = list(several)
        self._unserved.update(one.id for one in tracked if not one.zero_served)
        for one in tracked:
            self._note(one)
        self._consider(tracked)

    def _log_finished(self, tracked: Tracked, run: Run) -> None:
        facts = {
            "workspace": self.name,
            "integration_id": tracked.id,
            "integration_name": tracked.name,
            "status": run.status.value,
            "rows_synced": run.rows_synced,
            "rows_failed": run.rows_failed,
            "duration_seconds": run.duration,
            "finished_at": run.finish and datetime.fromtimestamp(run.finish, UTC).isoformat(),
        }
        log.info("sync finished", **{key: fact for key, fact in facts.items() if fact is not None})

    async def _history_turn(self) -> Turn:
        return await self._client.turn(Endpoint.HISTORY, self.traffic)

    # Time

    def _now(self) -> float:
        return self._clock.monotonic()

    def _server_time(self) -> float:
        return self._clock.wall() + self._client.skew

    def _notify(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
