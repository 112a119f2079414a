"""One integration: its list item, its ledger, the state of its reads, and its snapshot. Pure."""

import math
from dataclasses import dataclass, field, replace

from cdi_exporter.clock import Instant
from cdi_exporter.config import StaleAfter
from cdi_exporter.errors import ApiError, BadRequest, InvalidResponse
from cdi_exporter.ledger import HistorySummary, IntegrationLedger
from cdi_exporter.model import HistoryPage, Integration, Run
from cdi_exporter.snapshot import Facts, IntegrationSnapshot
from cdi_exporter.workspace.list_view import ListFingerprint, ListView
from cdi_exporter.workspace.publication import Publication
from cdi_exporter.workspace.record import Knowledge, Record

FIRST_BACKOFF = 5.0
"""Seconds after the first failed read; doubled with each further one."""

LONGEST_BACKOFF = 900.0
"""Seconds, at most: every history is re-checked that often in any case."""

LEAST_STALE_AFTER = 900.0
"""Seconds, at least: one slow run of an integration that runs every few minutes is not late."""

_CURSOR_REPEATS = "the cursor of the next page was already read"


@dataclass(slots=True)
class ReadState:
    """The reads of one history, as `schedule` needs them; times in loop seconds."""

    read_at: float | None = None
    """When the newest page was last read."""
    refresh_number: int = 0
    """The refresh in which the newest page was last requested."""
    refused_in: int = 0
    """The refresh in which a read failed permanently: it is not repeated in that refresh."""
    behind_since: float | None = None
    """Since when older pages have to be read; None if they do not."""
    recheck_at: float = -math.inf
    not_before: float = -math.inf
    """When the history may be read again after a read that failed or was too early."""
    _attempts: int = 0
    """Reads in a row that failed or were too early."""
    _cursors: set[str] = field(default_factory=set)
    """Cursors that the pages from the newest one on contained."""

    def back_off(self, now: float) -> None:
        """Wait longer after each read that failed or was too early."""
        pause = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(self._attempts, 16))
        self.not_before = now + pause
        self._attempts += 1

    def reset_back_off(self) -> None:
        """Allow a read at once."""
        self._attempts, self.not_before = 0, -math.inf

    def follow(self, cursor: str | None, *, first: bool) -> None:
        """Note the cursor of a page; raises InvalidResponse if an earlier page had the same."""
        if first:
            self._cursors.clear()
        if cursor is None:
            return
        if cursor in self._cursors:
            raise InvalidResponse(_CURSOR_REPEATS)
        self._cursors.add(cursor)

    def note_catch_up(self, now: float, *, catching_up: bool) -> None:
        """Note whether older pages have to be read."""
        if not catching_up:
            self.behind_since = None
        elif self.behind_since is None:
            self.behind_since = now


class IntegrationState:
    """One integration of a workspace."""

    def __init__(
        self, identifier: str, name: str | None = None, publication: Publication | None = None
    ) -> None:
        self.id = identifier
        self.configured_name = name
        self.ledger = IntegrationLedger()
        self.list_view = ListView()
        self.reads = ReadState()
        self.publication = publication or Publication()
        self.problem: ApiError | None = None
        """Why the last read failed."""
        self._refreshed: float | None = None
        """When the facts were last confirmed, in Unix seconds."""
        self._stale_after: StaleAfter | None = None
        self._snapshot: IntegrationSnapshot | None = None
        """The current snapshot; None after a change."""
        self._facts = Facts(identifier, "")
        """The facts of the last snapshot."""

    @property
    def item(self) -> Integration | None:
        """The newest list item."""
        return self.list_view.item

    @property
    def name(self) -> str:
        """The configured name, else the API's, else the ID."""
        return self.configured_name or (self.item.name if self.item else None) or self.id

    def configure(self, stale_after: StaleAfter | None) -> None:
        """Set the age at which the user considers this integration late; None: calculate it."""
        self._stale_after = stale_after
        self._snapshot = None

    # The list

    def apply_list_item(
        self, item: Integration, instant: Instant, stale_after: StaleAfter | None
    ) -> None:
        """Apply a list item; `stale_after` is what the user configured for it."""
        before = self._from_list
        if self.list_view.apply(item, instant.server, self.ledger.summary):
            self.reads.reset_back_off()
        self._stale_after = stale_after
        if before != self._from_list:
            self._note_change()
        if self.reads.read_at is not None and not self.list_unreliable and not self.has_change:
            self._confirm(instant.wall)

    @property
    def _from_list(self) -> tuple[Integration | None, float | None, bool]:
        """The parts of the list view that are shown or stored."""
        view = self.list_view
        return view.item, view.schedule_lost, view.missed_at is None

    @property
    def has_change(self) -> bool:
        """Whether the list shows something that the history does not have yet."""
        return self.list_view.has_change(self.ledger.summary)

    @property
    def list_unreliable(self) -> bool:
        """Whether the list does not show changes, so that the history is read round robin."""
        return self.list_view.is_unreliable(self.ledger.summary)

    @property
    def fingerprint(self) -> ListFingerprint | None:
        """What the list shows when a read starts; pass it to `apply_newest_page`."""
        return self.list_view.fingerprint

    # The history

    def apply_newest_page(
        self, page: HistoryPage, fingerprint: ListFingerprint | None, instant: Instant
    ) -> list[Run]:
        """Apply the newest page; return the runs that it counted."""
        before, first = self.ledger.summary, self.reads.read_at is None
        self.reads.follow(page.next_cursor, first=True)
        counted = self.ledger.read_newest(page, instant.server)
        self.reads.note_catch_up(instant.monotonic, catching_up=self.is_catching_up)
        self.reads.read_at, self.problem = instant.monotonic, None
        self.list_view.confirmed_fingerprint = fingerprint
        if self.list_view.history_lags(self.ledger.summary):
            self.reads.back_off(instant.monotonic)
        else:
            self.reads.reset_back_off()
        if not first:
            self.list_view.note_missed_run(before, self.ledger.summary, instant.server)
        self._note_change()
        self._confirm(instant.wall)
        return counted

    def apply_older_page(self, page: HistoryPage, instant: Instant) -> list[Run]:
        """Apply an older page; return the runs that it counted.

        Raises InvalidResponse if its cursor is a repeated one.
        """
        self.reads.follow(page.next_cursor, first=False)
        self._note_change()
        counted = self.ledger.read_older(page, instant.server)
        self.reads.note_catch_up(instant.monotonic, catching_up=self.is_catching_up)
        return counted

    @property
    def is_catching_up(self) -> bool:
        """Whether older pages have to be read."""
        return self.ledger.next_cursor is not None or self.ledger.catching_up

    def read_failed(self, error: ApiError, now: float, refresh_number: int) -> None:
        """Note that a read of the history failed, at `now` in loop seconds."""
        if isinstance(error, BadRequest | InvalidResponse):
            self.ledger.restart_chain()
        self.reads.back_off(now)
        self.read_refused(error, refresh_number)

    def read_refused(self, error: ApiError, refresh_number: int) -> None:
        """Note a failure that the integration did not cause, such as a refused key."""
        self.problem = error
        if not error.retryable:
            self.reads.refused_in = refresh_number
        self._note_change()

    def expire(self, server: float) -> None:
        """Give up runs that have been running for too long, and forget a lost schedule."""
        gaps = self.ledger.counters.gaps
        self.ledger.expire(server)
        if self.list_view.expire_schedule(server) or self.ledger.counters.gaps != gaps:
            self._note_change()

    def follow(self, refreshed: float | None, problem: str | None) -> None:
        """Show the freshness and the problem that the leader of the workspace reports."""
        if problem != (str(self.problem) if self.problem else None):
            self.problem = ApiError(problem) if problem else None
            self._snapshot = None
        if refreshed is not None and refreshed != self._refreshed:
            self._confirm(refreshed)

    def _confirm(self, wall: float) -> None:
        """Note that the facts were true at `wall`."""
        self._refreshed = wall
        if self._snapshot is not None:
            self._snapshot = replace(self._snapshot, refreshed=wall)

    def _note_change(self) -> None:
        self._snapshot = None
        self.publication.unsaved = True

    # What outlives the process

    @property
    def is_behind(self) -> bool:
        """Whether counters wait only for their commit to be shown."""
        return self.publication.is_behind(self.ledger.counters)

    def receive(self) -> bool:
        """Note that a scraper has received the counters; whether that is the first time."""
        first = self.publication.receive()
        if first:
            self._note_change()
        return first

    def commit(self, record: Record) -> None:
        """Note that `record` is committed."""
        if self.publication.commit(record.knowledge):
            self._snapshot = None

    def record(self, instant: Instant) -> Record:
        """The record to write."""
        self.publication.unsaved = False
        view, read_at = self.list_view, self.reads.read_at
        return Record(
            Knowledge(
                ledger=self.ledger.state(),
                item=view.item,
                answered=view.confirmed_fingerprint,
                zero_served=self.publication.received_at_zero,
                list_missed_at=view.missed_at,
                schedule_lost=view.schedule_lost,
                interval_since=view.interval_since,
            ),
            read_at=None if read_at is None else instant.wall - (instant.monotonic - read_at),
            seen_server=view.seen_at if math.isfinite(view.seen_at) else None,
            scheduled_at=view.scheduled_at,
            refreshed=self._refreshed,
        )

    @classmethod
    def restore(
        cls,
        identifier: str,
        record: Record,
        committed: Record | None,
        instant: Instant,
        *,
        shared: bool = False,
    ) -> "IntegrationState":
        """The integration with this record, which may be old.

        `committed` is what the state has: the same record, an older one, or none. `shared` as in
        `Publication`.
        """
        known = record.knowledge
        held = committed.knowledge if committed else None
        state = cls(identifier, publication=Publication.restore(known, held, shared=shared))
        state.ledger = IntegrationLedger.restore(known.ledger)
        state.list_view = ListView(
            known.item,
            confirmed_fingerprint=known.answered,
            seen_at=-math.inf if record.seen_server is None else record.seen_server,
            missed_at=known.list_missed_at,
            scheduled_at=record.scheduled_at,
            schedule_lost=known.schedule_lost,
            interval_since=known.interval_since,
        )
        if record.read_at is not None:
            state.reads.read_at = instant.monotonic - max(0.0, instant.wall - record.read_at)
        if record.refreshed is not None:
            state._refreshed = min(record.refreshed, instant.wall)
        state.reads.note_catch_up(instant.monotonic, catching_up=state.is_catching_up)
        return state

    # What is shown

    def snapshot(self) -> IntegrationSnapshot:
        """Its snapshot; the same object until something changes."""
        if self._snapshot is None:
            facts = self._new_facts()
            if facts != self._facts:
                self._facts = facts
            unread = self.reads.read_at is None and self.problem is None
            self._snapshot = IntegrationSnapshot(
                facts=self._facts,
                refreshed=self._refreshed,
                up=None if unread else not self.problem,
                problem=str(self.problem) if self.problem else None,
            )
        return self._snapshot

    def _new_facts(self) -> Facts:
        known, item = self.ledger.summary, self.item
        read = self.reads.read_at is not None
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
            schedule_lost=self.list_view.schedule_lost,
            counters=self.publication.visible(self.ledger.counters),
            recent=known.recent,
        )

    def _running(self, known: HistorySummary) -> tuple[int | None, float | None]:
        """How many runs are in progress, and the start of the oldest one."""
        starts = [run.start for run in known.running if run.start is not None]
        only_in_list = self.list_view.running_since(known)
        if only_in_list is not None:
            starts.append(only_in_list)
        if not starts and not known.undated_running and self.reads.read_at is None:
            shown = self.item is not None and self.item.last_job_status is not None
            return (0 if shown else None), None
        return len(starts) + known.undated_running, min(starts, default=None)

    def _stale_after_seconds(self, known: HistorySummary) -> float | None:
        """The age of the last delivery at which the integration is late; None if never.

        Two intervals plus two typical durations. The interval is that of the runs so far or
        that of Braze's schedule, whichever is greater, so that an integration is not late
        because its schedule became less frequent.
        """
        if self._stale_after is not None:
            return self._stale_after.after
        if self.item is not None and not self.item.scheduled:
            return None
        intervals = (known.typical_interval, self.list_view.schedule_interval(known))
        interval = max((each for each in intervals if each is not None), default=None)
        if interval is None:
            return None
        return max(LEAST_STALE_AFTER, 2 * interval + 2 * (known.typical_duration or 0.0))
