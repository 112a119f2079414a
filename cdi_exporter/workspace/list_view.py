"""The list item of one integration, compared with its history. Pure.

Times are in Unix seconds of the API's clock.
"""

import math
from dataclasses import dataclass

from cdi_exporter.ledger import HistorySummary
from cdi_exporter.model import Integration, Run, Status, Time

SAME_START = 1.0
"""Seconds by which the list's start time may differ from the history's."""

SKIPPED_BY = 240.0
"""A start so many seconds after the scheduled time is another run's: runs are at least 5 minutes
apart."""

LAG = 120.0
"""Seconds by which the list may be late to show a run."""

DAY = 86_400.0

TRUSTED_AFTER = DAY
"""Seconds after which a list that missed a run is trusted again, if it missed no other."""

SCHEDULE_REMEMBERED = 7 * DAY
"""Seconds for which the loss of a schedule is reported, from when the list last showed it."""
EARLY = 60.0
"""Seconds by which a run may start before its scheduled time, because clocks differ."""


@dataclass(frozen=True, slots=True)
class ListFingerprint:
    """The parts of a list item that change when a run starts or ends."""

    start: Time | None
    status: Status | None
    watermark: Time | None
    word: str | None = None
    """Braze's text for an unknown status, in lower case: another text is a change."""

    @classmethod
    def of(cls, item: Integration) -> "ListFingerprint":
        """The part of an item that is compared."""
        word = item.last_job_word and item.last_job_word.lower()
        return cls(item.last_job_start, item.last_job_status, item.last_updated, word)


class ListView:
    """The newest list item; `known` is always the ledger's summary of the runs."""

    def __init__(
        self,
        item: Integration | None = None,
        *,
        confirmed_fingerprint: ListFingerprint | None = None,
        seen_at: float = -math.inf,
        missed_at: float | None = None,
        scheduled_at: float | None = None,
        schedule_lost: float | None = None,
        interval_since: float | None = None,
    ) -> None:
        self.item = item
        self.fingerprint = ListFingerprint.of(item) if item else None
        """What the item shows of runs."""
        self.confirmed_fingerprint = confirmed_fingerprint
        """What the list showed when the newest page of the history was last requested."""
        self.seen_at = seen_at
        """When the item was received."""
        self.missed_at = missed_at
        """When the list last lacked a run that the history had; None if the list is trusted."""
        self.scheduled_at = scheduled_at
        """When the list last showed a schedule."""
        self.schedule_lost = schedule_lost
        """When the schedule was lost, if the list showed one within the last 7 days."""
        self.interval_since = interval_since
        """The time from which the schedule's interval leads to `next_scheduled_run`, as of its last
        change."""

    def apply(self, item: Integration, server: float, known: HistorySummary) -> bool:
        """Apply an item; whether it shows something new about runs."""
        before, fingerprint_before = self.item, self.fingerprint
        self.item, self.fingerprint, self.seen_at = item, ListFingerprint.of(item), server
        if before is not None and before.next_scheduled_run != item.next_scheduled_run:
            self._note_interval(before.next_scheduled_run, item, server, known)
        self._note_trust(item, server, known)
        self._note_schedule(before, item, server)
        if before is None or self.fingerprint == fingerprint_before:
            return False
        confirmed = fingerprint_before == self.confirmed_fingerprint
        if confirmed and (_only_started(before, item, known) or _is_known(before, item, known)):
            self.confirmed_fingerprint = self.fingerprint
        return True

    def _note_interval(
        self, before: float | None, item: Integration, server: float, known: HistorySummary
    ) -> None:
        """Note from when the interval to the next scheduled run is measured.

        That is the last start, or a scheduled time that passed without one. It is noted only when
        the next scheduled run changes: a run that was started through the API meanwhile shows
        nothing about the schedule. Without the scheduled time, the interval would grow if Braze
        skips runs and moves the next one.
        """
        following = item.next_scheduled_run
        passed = before if before is not None and before <= server else None
        start = None if following is None else last_start(item, known)
        times = [time for time in (start, passed) if time is not None]
        self.interval_since = max(times, default=None)

    def schedule_interval(self, known: HistorySummary) -> float | None:
        """Seconds from the last start to the next scheduled run; None if that is not known."""
        if self.item is None or self.item.next_scheduled_run is None:
            return None
        since = self.interval_since
        if since is None:
            since = last_start(self.item, known)
        if since is None or since >= self.item.next_scheduled_run:
            return None
        return self.item.next_scheduled_run - since

    def has_change(self, known: HistorySummary) -> bool:
        """Whether it shows something that the history does not have yet."""
        if self.item is None or self.is_unreliable(known):
            return False
        return self.fingerprint != self.confirmed_fingerprint or self.history_lags(known)

    def is_unreliable(self, known: HistorySummary) -> bool:
        """Whether it does not show changes, so that the history is read round robin."""
        if self.item is None or self.missed_at is not None:
            return True
        shows = self.item.last_job_start is not None and self.item.last_job_status is not None
        return not shows and known.newest_start > 0

    def history_lags(self, known: HistorySummary) -> bool:
        """Whether it shows a run, or the end of one, that the history does not have yet."""
        item = self.item
        if item is None or item.last_job_start is None or item.last_job_status is Status.RUNNING:
            return False
        return item.last_job_start > known.newest_start + SAME_START or any(
            run.start is not None
            and abs(run.start - item.last_job_start) <= SAME_START
            and not _has_status(run, item)
            for run in known.running
        )

    def running_since(self, known: HistorySummary) -> float | None:
        """The start of a run in progress that only the list shows."""
        if self.item is None or self.item.last_job_status is not Status.RUNNING:
            return None
        start = self.item.last_job_start
        in_history = start is None or start <= known.newest_start + SAME_START
        return None if in_history else start

    def note_missed_run(self, before: HistorySummary, known: HistorySummary, server: float) -> None:
        """Note whether a read brought a run that the list should have shown long before."""
        if self.item is None or self.item.last_job_start is None:
            return
        shown = max(before.newest_start, self.item.last_job_start) + SAME_START
        if shown < known.newest_start < self.seen_at - LAG:
            self.missed_at = server

    def _note_trust(self, item: Integration, server: float, known: HistorySummary) -> None:
        """Trust a list again that has not been late for a day.

        It stays distrusted while it does not show a run that the history has.
        """
        if self.missed_at is None or item.last_job_start is None:
            return
        if item.last_job_start + SAME_START < known.newest_start < server - LAG:
            self.missed_at = server
        elif server - self.missed_at >= TRUSTED_AFTER:
            self.missed_at = None

    def _note_schedule(self, before: Integration | None, item: Integration, server: float) -> None:
        """Note when an integration lost its schedule.

        A schedule that cannot be parsed is neither lost nor present: nothing is known of it.
        """
        if item.schedule_unreadable:
            return
        if item.next_scheduled_run is not None:
            self.scheduled_at, self.schedule_lost = server, None
            return
        if before is not None and before.next_scheduled_run is not None:
            # After a restart the record may be old: a run in its future was scheduled at least
            # until then.
            until = min(server, before.next_scheduled_run)
            self.scheduled_at = max(until, self.scheduled_at or until)
        if self.scheduled_at is None or server >= self.scheduled_at + SCHEDULE_REMEMBERED:
            self.schedule_lost = None
        elif self.schedule_lost is None:
            self.schedule_lost = server

    def expire_schedule(self, server: float) -> bool:
        """Stop reporting a schedule that was lost long ago; whether that changed anything."""
        lost = self.schedule_lost
        if lost is not None and self.item is not None:
            self._note_schedule(None, self.item, server)
        return self.schedule_lost != lost


def _only_started(before: Integration, item: Integration, known: HistorySummary) -> bool:
    """Whether the only news in `item` is that a run started after the last known one."""
    if item.last_job_start is None or item.last_job_status is not Status.RUNNING:
        return False
    scheduled = before.next_scheduled_run
    return (
        before.last_job_status is not Status.RUNNING
        and before.last_job_start is not None
        and item.last_job_start > known.newest_start + SAME_START
        and before.last_job_start <= known.newest_start + SAME_START
        and item.last_updated == before.last_updated
        and not known.running
        and not (scheduled is not None and item.last_job_start > scheduled + SKIPPED_BY)
    )


def _is_known(before: Integration, item: Integration, known: HistorySummary) -> bool:
    """Whether the history already has everything that is new in `item`."""
    met: list[Run] = [
        run for run in (*known.recent, *known.running) if run.start == item.last_job_start
    ]
    return (
        len(met) == 1
        and item.last_job_start == known.newest_start
        and (item.last_job_status is Status.RUNNING or _has_status(met[0], item))
        and item.last_updated in (before.last_updated, known.watermark)
    )


def _has_status(run: Run, item: Integration) -> bool:
    """Whether the list shows the run's status; unknown ones are compared by Braze's text."""
    words = [word and word.lower() for word in (run.job_status, item.last_job_word)]
    return run.status is item.last_job_status and words[0] == words[1]


def last_start(item: Integration, known: HistorySummary) -> float | None:
    """The last known start before the item's next scheduled run.

    A start within `EARLY` of it is the scheduled run itself.
    """
    starts = [item.last_job_start, *(run.start for run in (*known.recent, *known.running))]
    limit = (item.next_scheduled_run or 0.0) - EARLY
    return max((start for start in starts if start is not None and start <= limit), default=None)
