"""What the list shows of one integration, and how much of it the history has confirmed. Pure.

Times are in Unix seconds of the API's clock.
"""

import math
from dataclasses import dataclass

from cdi_exporter.ledger import HistorySummary
from cdi_exporter.model import Integration, Run, Status, Time

SAME_START = 1.0
"""Seconds by which the list's start time may differ from the history's."""

SKIPPED_BY = 240.0
"""A start so long after the scheduled one is another run's: they are 5 minutes apart at least."""

LAG = 120.0
"""Seconds that the list may take to show a run."""

DAY = 86_400.0

TRUSTED_AFTER = DAY
"""Seconds without a late report after which a list that missed a run is trusted again."""

SCHEDULE_REMEMBERED = 7 * DAY
"""Seconds since the list last showed a schedule, for which its loss is reported."""
EARLY = 60.0
"""Seconds by which a run may begin before its scheduled time, by clocks that differ."""


@dataclass(frozen=True, slots=True)
class ListFingerprint:
    """The parts of a list item that change when a run begins or ends."""

    start: Time | None
    status: Status | None
    watermark: Time | None
    word: str | None = None
    """Braze's own word for an unknown status, in lower case: two such words are a change."""

    @classmethod
    def of(cls, item: Integration) -> "ListFingerprint":
        """The part of an item that is compared."""
        word = item.last_job_word and item.last_job_word.lower()
        return cls(item.last_job_start, item.last_job_status, item.last_updated, word)


class ListView:
    """The newest list item; `known` is, throughout, what the ledger holds of the runs."""

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
        """What the list showed when the newest page of the history was last asked for."""
        self.seen_at = seen_at
        """When the item was given."""
        self.missed_at = missed_at
        """When the list last was silent about a run that the history held; None if trusted."""
        self.scheduled_at = scheduled_at
        """When the list last showed a schedule."""
        self.schedule_lost = schedule_lost
        """When the list first showed none after it had shown one within the last 7 days."""
        self.interval_since = interval_since
        """What `next_scheduled_run` follows by the schedule's interval, as of its last change."""

    def apply(self, item: Integration, server: float, known: HistorySummary) -> bool:
        """Take an item; whether it shows of runs what the one before did not."""
        before, fingerprint_before = self.item, self.fingerprint
        self.item, self.fingerprint, self.seen_at = item, ListFingerprint.of(item), server
        if before is not None and before.next_scheduled_run != item.next_scheduled_run:
            self._note_interval(before.next_scheduled_run, item, server, known)
        self._note_trust(item, server, known)
        self._note_schedule(before, item, server)
        if before is None or self.fingerprint == fingerprint_before:
            return False
        confirmed = fingerprint_before == self.confirmed_fingerprint
        if confirmed and (_only_begins(before, item, known) or _is_known(before, item, known)):
            self.confirmed_fingerprint = self.fingerprint
        return True

    def _note_interval(
        self, before: float | None, item: Integration, server: float, known: HistorySummary
    ) -> None:
        """Note the last start, or the scheduled time that passed without one, before the next.

        Noted only when the next scheduled run changes: a run that was started through the API
        meanwhile says nothing about the schedule. If runs are skipped, Braze may move the next
        one on, so that the last start alone would make the interval grow with the delay.
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
        """Whether it shows something that the history read so far does not have."""
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
        """Note whether a read brought a run that the list had been silent about for long."""
        if self.item is None or self.item.last_job_start is None:
            return
        shown = max(before.newest_start, self.item.last_job_start) + SAME_START
        if shown < known.newest_start < self.seen_at - LAG:
            self.missed_at = server

    def _note_trust(self, item: Integration, server: float, known: HistorySummary) -> None:
        """Trust a list again that has not been late for a day.

        It is distrusted for as long as it says nothing of a run that the history has shown.
        """
        if self.missed_at is None or item.last_job_start is None:
            return
        if item.last_job_start + SAME_START < known.newest_start < server - LAG:
            self.missed_at = server
        elif server - self.missed_at >= TRUSTED_AFTER:
            self.missed_at = None

    def _note_schedule(self, before: Integration | None, item: Integration, server: float) -> None:
        """Note since when an integration has no schedule that had one a short while ago.

        A schedule that cannot be read is neither lost nor kept: nothing is known of it.
        """
        if item.schedule_unreadable:
            return
        if item.next_scheduled_run is not None:
            self.scheduled_at, self.schedule_lost = server, None
            return
        if before is not None and before.next_scheduled_run is not None:
            # After a restart the record may be old: a run that was still to come is known to
            # have been scheduled until then.
            until = min(server, before.next_scheduled_run)
            self.scheduled_at = max(until, self.scheduled_at or until)
        if self.scheduled_at is None or server >= self.scheduled_at + SCHEDULE_REMEMBERED:
            self.schedule_lost = None
        elif self.schedule_lost is None:
            self.schedule_lost = server

    def expire_schedule(self, server: float) -> bool:
        """Stop reporting a schedule that was lost long ago; whether that is new."""
        lost = self.schedule_lost
        if lost is not None and self.item is not None:
            self._note_schedule(None, self.item, server)
        return self.schedule_lost != lost


def _only_begins(before: Integration, item: Integration, known: HistorySummary) -> bool:
    """Whether all that is new in `item` is that a run began after the last one known."""
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
    """Whether all that is new in `item` was read in the history before."""
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
    """Whether the list gives the run's status; unknown ones are compared by Braze's words."""
    words = [word and word.lower() for word in (run.job_status, item.last_job_word)]
    return run.status is item.last_job_status and words[0] == words[1]


def last_start(item: Integration, known: HistorySummary) -> float | None:
    """The last start before the item's next scheduled run, of those that are known.

    A start within `EARLY` of it is the scheduled run itself.
    """
    starts = [item.last_job_start, *(run.start for run in (*known.recent, *known.running))]
    limit = (item.next_scheduled_run or 0.0) - EARLY
    return max((start for start in starts if start is not None and start <= limit), default=None)
