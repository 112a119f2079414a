"""Decides when the history of an integration is read next, and why. Pure."""

from enum import IntEnum

from cdi_exporter.clock import Instant
from cdi_exporter.workspace.integration import IntegrationState

CATCH_UP_WITHIN = 300.0
"""Seconds of catch-up for which newest pages go first; then they alternate with older pages."""

RECHECK_EVERY = 900.0
"""Seconds between two reads of a history for which there is no other reason. A defect of the list,
or a change that it never shows, is found within this time."""

RECHECK_SHARE = 0.1
"""The part of the history budget for re-checks: a tenth, so that changes are not delayed. With more
than about 60 integrations they are less frequent than `RECHECK_EVERY`."""


class ReadReason(IntEnum):
    """Why a history is read; a lower value is more urgent."""

    CHANGE = 0
    """The list shows something that the history read so far does not have."""
    ROUND_ROBIN = 1
    """The list does not show changes, so that each refresh reads the history."""
    OVERDUE = 2
    """A catch-up that has waited for long; it alternates with everything more urgent."""
    CATCH_UP = 3
    """Older pages are needed to reach runs that are already known."""
    RECHECK = 4
    """There is no other reason; see `RECHECK_EVERY`."""

    @property
    def reads_older_page(self) -> bool:
        """Whether the next older page is read instead of the newest."""
        return self in (ReadReason.OVERDUE, ReadReason.CATCH_UP)


NEWEST_IS_DUE = (ReadReason.CHANGE, ReadReason.ROUND_ROBIN)
"""Reasons for which a scrape waits."""


def next_read(
    state: IntegrationState, instant: Instant, refresh_number: int, *, round_robin: bool
) -> ReadReason | None:
    """Why the history should be read now; None if it should not.

    `refresh_number` is the number of the current refresh. With `round_robin` each refresh reads
    every history, because the list cannot be read.
    """
    reads, now = state.reads, instant.monotonic
    if now < reads.not_before or reads.refused_in == refresh_number:
        return None
    newest = _newest_page(state, instant, refresh_number, round_robin=round_robin)
    if is_overdue(state, now):
        recently_read = reads.read_at is not None and now - reads.read_at <= CATCH_UP_WITHIN
        return ReadReason.OVERDUE if recently_read or newest is None else newest
    if newest is None and state.is_catching_up:
        return ReadReason.CATCH_UP
    if newest is None and now >= reads.recheck_at:
        return ReadReason.RECHECK
    return newest


def _newest_page(
    state: IntegrationState, instant: Instant, refresh_number: int, *, round_robin: bool
) -> ReadReason | None:
    never_read = state.reads.read_at is None
    if never_read or state.has_change or state.ledger.overlooked(instant.server):
        return ReadReason.CHANGE
    if state.reads.refresh_number < refresh_number and (round_robin or state.list_unreliable):
        return ReadReason.ROUND_ROBIN
    return None


def is_overdue(state: IntegrationState, now: float) -> bool:
    """Whether older pages have waited so long that newest pages no longer go first."""
    since = state.reads.behind_since
    return since is not None and now - since > CATCH_UP_WITHIN


def recheck_interval(integrations: int, slots: int) -> float:
    """Seconds between two re-checks of a history, with so many requests (`slots`) per minute."""
    return max(RECHECK_EVERY, 60.0 * integrations / (RECHECK_SHARE * slots))
