"""One integration as the exporter follows it: what the list says, what was read, what is due.

Pure but for the arithmetic of time, which is handed in: `now` is in seconds of the event
loop, `wall` in Unix seconds here, `server` in Unix seconds of the API's clock.
"""

import math
from dataclasses import replace
from enum import IntEnum

from cdi_exporter.config import StaleAfter
from cdi_exporter.errors import ApiError, BadRequest, InvalidResponse
from cdi_exporter.ledger import IntegrationLedger, Known
from cdi_exporter.model import Counters, HistoryPage, Integration, Run
from cdi_exporter.snapshot import NOTHING_COUNTED, Facts, IntegrationSnapshot
from cdi_exporter.workspace.listed import Listed, Said
from cdi_exporter.workspace.record import Knowledge, Record

FIRST_BACKOFF = 5.0
LONGEST_BACKOFF = 900.0
CATCH_UP_WITHIN = 300.0
"""Seconds for which older pages give way to newest ones, and then a newest one to the older."""

LEAST_STALE_AFTER = 900.0
_CURSOR_REPEATS = "the cursor of the next page leads back to one that was read"


class Due(IntEnum):
    """Why a history is read; the lower, the sooner."""

    CHANGE = 0
    TURN = 1
    OVERDUE = 2
    """To catch up, and put off for long: takes turns with all that is more urgent."""
    CATCH_UP = 3
    AUDIT = 4


class Tracked:
    """One integration of a workspace."""

    def __init__(self, identifier: str, name: str | None = None) -> None:
        self.id = identifier
        self.configured_name = name
        self.ledger = IntegrationLedger()
        self.listed = Listed()
        self.read_at: float | None = None
        """When the newest page was last read, in loop seconds."""
        self.turn = 0
        """The last turn in which the newest page was read; see `Due.TURN`."""
        self.refused_in = 0
        """The last turn in which a read failed for good: not to be tried again within it."""
        self.behind_since: float | None = None
        """Since when older pages are to be read, in loop seconds."""
        self.absences = 0
        self.absent_since: float | None = None
        self.zero_served = False
        """Whether a scrape has seen the counters before they first rose."""
        self.durable: Counters | None = None
        """The counters that are committed; None where the exporter keeps no state."""
        self.dirty = False
        """Whether anything changed that may have to be written."""
        self.written: Knowledge | None = None
        """What was last handed over to be written."""
        self.watermark_ahead = False
        """Whether the watermark was in the future when the last page was read."""
        self.refreshed: float | None = None
        self.problem: ApiError | None = None
        self._cursors: set[str] = set()
        """Cursors that the pages since the newest one gave."""
        self._attempts = 0
        """Reads in a row that failed, or did not hold what the list promised."""
        self._not_before = -math.inf
        self._audit_at = -math.inf
        self._stale_after: StaleAfter | None = None
        self._snapshot: IntegrationSnapshot | None = None
        self._shown = Facts(identifier, "")

    @property
    def item(self) -> Integration | None:
        """The newest list item."""
        return self.listed.item

    @property
    def name(self) -> str:
        """The configured name, else the API's, else the ID."""
        return self.configured_name or (self.item.name if self.item else None) or self.id

    def configure(self, stale_after: StaleAfter | None) -> None:
        """Take the user's own word on when this integration is late."""
        self._stale_after = stale_after
        self._snapshot = None

    # What the list says

    def see(
        self, item: Integration, wall: float, server: float, stale_after: StaleAfter | None
    ) -> None:
        """Take a list item; `stale_after` is what the user configured for it."""
        before = self._from_list
        if self.listed.see(item, server, self.ledger.known):
            self._attempts, self._not_before = 0, -math.inf
        self._stale_after = stale_after
        if before != self._from_list:
            self._changes()
        if self.read_at is not None and not self.in_turn and not self.changed:
            self.confirm(wall)

    @property
    def _from_list(self) -> tuple[Integration | None, float | None, bool]:
        """What of the list is shown, or is kept across restarts."""
        listed = self.listed
        return listed.item, listed.schedule_lost, listed.missed_at is None

    def confirm(self, wall: float) -> None:
        """Note that what is known was true at `wall`."""
        self.refreshed = wall
        if self._snapshot is not None:
            self._snapshot = replace(self._snapshot, refreshed=wall)

    @property
    def changed(self) -> bool:
        """Whether the list tells of something that the history read so far does not hold."""
        return self.listed.changed(self.ledger.known)

    @property
    def in_turn(self) -> bool:
        """Whether the list does not tell of changes, so that the history is read in turn."""
        return self.listed.silent(self.ledger.known)

    # What the history says

    def asking(self) -> Said | None:
        """What the list says as a read of the newest page begins; handed to `took`."""
        return self.listed.says

    def took(
        self, page: HistoryPage, asked: Said | None, now: float, wall: float, server: float
    ) -> list[Run]:
        """Take the newest page; return the runs that were counted by it."""
        known, first = self.ledger.known, self.read_at is None
        self._cursors.clear()
        self._follow(page)
        counted = self.ledger.read_newest(page, server)
        self._reads_on(now)
        self.read_at, self.listed.answered, self.problem = now, asked, None
        if self.listed.awaits(self.ledger.known):
            self._back_off(now)
        else:
            self._attempts, self._not_before = 0, -math.inf
        if not first:
            self.listed.note_silence(known, self.ledger.known, server)
        self._changes()
        self.confirm(wall)
        return counted

    def took_older(self, page: HistoryPage, now: float, server: float) -> list[Run]:
        """Take an older page; return the runs that were counted by it.

        Raises InvalidResponse where its cursor leads back.
        """
        self._follow(page)
        self._changes()
        counted = self.ledger.read_older(page, server)
        self._reads_on(now)
        return counted

    @property
    def _catches_up(self) -> bool:
        return self.ledger.next_cursor is not None or self.ledger.catching_up

    def overdue(self, now: float) -> bool:
        """Whether older pages have waited for so long that newer ones no longer go first."""
        return self.behind_since is not None and now - self.behind_since > CATCH_UP_WITHIN

    def _reads_on(self, now: float) -> None:
        if not self._catches_up:
            self.behind_since = None
        elif self.behind_since is None:
            self.behind_since = now

    def _follow(self, page: HistoryPage) -> None:
        if page.next_cursor is not None:
            if page.next_cursor in self._cursors:
                raise InvalidResponse(_CURSOR_REPEATS)
            self._cursors.add(page.next_cursor)

    def failed(self, error: ApiError, now: float, turn: int) -> None:
        """A read of the history failed."""
        if isinstance(error, BadRequest | InvalidResponse):
            self.ledger.restart_chain()
        self._back_off(now)
        self._has_problem(error, turn)

    def refused(self, error: ApiError, turn: int) -> None:
        """A read failed as any would: the key may read none."""
        self._has_problem(error, turn)

    def _has_problem(self, error: ApiError, turn: int) -> None:
        self.problem = error
        if not error.retryable:
            self.refused_in = turn
        self._changes()

    def expire(self, server: float) -> None:
        """Give up runs that are marked as running for too long, and forget a lost schedule."""
        gaps = self.ledger.counters.gaps
        self.ledger.expire(server)
        if self.listed.expire_schedule(server) or self.ledger.counters.gaps != gaps:
            self._changes()

    def _back_off(self, now: float) -> None:
        self._not_before = now + min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(self._attempts, 16))
        self._attempts += 1

    # What outlives the process

    def _changes(self) -> None:
        self._snapshot = None
        self.dirty = True

    @property
    def behind(self) -> bool:
        """Whether counters that may be shown are not committed yet."""
        return self.zero_served and self.durable not in (None, self.ledger.counters)

    def committed(self, record: Record) -> None:
        """Note that `record` cannot be lost any more."""
        if record.knowledge.zero_served and self.durable is not None:
            self.durable = record.knowledge.ledger.counters
            self._snapshot = None

    def record(self, now: float, wall: float) -> Record:
        """What is to be written; `now` in seconds of the event loop, `wall` in Unix seconds."""
        self.dirty = False
        return Record(
            Knowledge(
                ledger=self.ledger.state(),
                item=self.item,
                answered=self.listed.answered,
                zero_served=self.zero_served,
                list_missed_at=self.listed.missed_at,
                schedule_lost=self.listed.schedule_lost,
                interval_since=self.listed.interval_since,
            ),
            read_at=None if self.read_at is None else wall - (now - self.read_at),
            seen_server=_finite(self.listed.seen_at),
            scheduled_at=self.listed.scheduled_at,
            refreshed=self.refreshed,
        )

    @classmethod
    def restore(cls, identifier: str, record: Record, now: float, wall: float) -> "Tracked":
        """The integration that gave this record, perhaps long ago."""
        tracked, known = cls(identifier), record.knowledge
        tracked.written = known
        tracked.ledger = IntegrationLedger.restore(known.ledger)
        tracked.listed = Listed(
            known.item,
            answered=known.answered,
            seen_at=-math.inf if record.seen_server is None else record.seen_server,
            missed_at=known.list_missed_at,
            scheduled_at=record.scheduled_at,
            schedule_lost=known.schedule_lost,
            interval_since=known.interval_since,
        )
        tracked.zero_served = known.zero_served
        tracked.durable = known.ledger.counters if known.zero_served else NOTHING_COUNTED
        if record.read_at is not None:
            tracked.read_at = now - max(0.0, wall - record.read_at)
        tracked.refreshed = None if record.refreshed is None else min(record.refreshed, wall)
        tracked._reads_on(now)
        return tracked

    def ahead_of(self, durable: Record | None) -> None:
        """Note that only `durable` is committed of what was restored."""
        known = durable.knowledge if durable else None
        self.durable = known.ledger.counters if known and known.zero_served else NOTHING_COUNTED

    # What is due

    def due(  # noqa: PLR0911 -- the reasons, the most urgent first
        self, now: float, server: float, turn: int, *, listless: bool
    ) -> Due | None:
        """Why the history should be read now, None where it need not be.

        `turn` counts the passes; in a `listless` one each integration has its turn.
        """
        if now < self._not_before or self.refused_in == turn:
            return None
        overdue = self.overdue(now)
        if overdue and self.read_at is not None and now - self.read_at <= CATCH_UP_WITHIN:
            return Due.OVERDUE
        if self.read_at is None or self.changed or self.ledger.overlooked(server):
            return Due.CHANGE
        if self.turn < turn and (listless or self.in_turn):
            return Due.TURN
        if overdue:
            return Due.OVERDUE
        if self._catches_up:
            return Due.CATCH_UP
        return Due.AUDIT if now >= self._audit_at else None

    def audit_at(self, when: float) -> None:
        """Put the next audit off until then, in loop seconds."""
        self._audit_at = when

    # What is shown

    def snapshot(self) -> IntegrationSnapshot:
        """What is shown of it; the same object until something changes."""
        if self._snapshot is None:
            facts = self._facts()
            if facts != self._shown:
                self._shown = facts
            self._snapshot = IntegrationSnapshot(
                facts=self._shown,
                refreshed=self.refreshed,
                up=None if self.read_at is None and self.problem is None else not self.problem,
                problem=str(self.problem) if self.problem else None,
            )
        return self._snapshot

    def served(self) -> None:
        """A scrape has seen the counters; from now on they may rise."""
        if not self.zero_served:
            self.zero_served = True
            self._changes()

    def _facts(self) -> Facts:
        known, item = self.ledger.known, self.item
        read = self.read_at is not None
        running, since = self._running(known)
        return Facts(
            id=self.id,
            name=self.name,
            type=item.type if item else None,
            status=item.status if item else None,
            warehouse=item.warehouse if item else None,
            last=known.last,
            last_success=known.last_success,
            last_delivery=known.last_delivery,
            history_start=known.history_start,
            watermark=known.watermark,
            consecutive_failures=known.consecutive_failures if read else None,
            running=running,
            running_since=since,
            running_job_status=next((run.job_status for run in known.running), None),
            next_scheduled=item.next_scheduled_run if item else None,
            typical_interval=known.typical_interval,
            typical_duration=known.typical_duration,
            typical_rows=known.typical_rows,
            stale_after=self._stale_after_seconds(known),
            schedule_lost=self.listed.schedule_lost,
            counters=self._counters,
            recent=known.recent,
        )

    @property
    def _counters(self) -> Counters:
        """The counters as they may be shown."""
        if not self.zero_served:
            return NOTHING_COUNTED
        return self.ledger.counters if self.durable is None else self.durable

    def _running(self, known: Known) -> tuple[int | None, float | None]:
        starts = [run.start for run in known.running if run.start is not None]
        listed = self.listed.running_since(known)
        if listed is not None:
            starts.append(listed)
        if not starts and not known.undated_running and self.read_at is None:
            told = self.item is not None and self.item.last_job_status is not None
            return (0 if told else None), None
        return len(starts) + known.undated_running, min(starts, default=None)

    def _stale_after_seconds(self, known: Known) -> float | None:
        """The age of the last delivery at which the integration is late; None if never.

        Two intervals plus two typical durations. The interval is that of the runs so far or
        that of Braze's schedule, whichever is greater, so that an integration is not late
        because its schedule became less frequent.
        """
        if self._stale_after is not None:
            return self._stale_after.after
        if self.item is not None and not self.item.scheduled:
            return None
        intervals = (known.typical_interval, self.listed.schedule_interval(known))
        interval = max((each for each in intervals if each is not None), default=None)
        if interval is None:
            return None
        return max(LEAST_STALE_AFTER, 2 * interval + 2 * (known.typical_duration or 0.0))


def _finite(time: float) -> float | None:
    return time if math.isfinite(time) else None
