"""The reasons for a history read, and their order."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from cdi_exporter.errors import Forbidden, ServerError
from cdi_exporter.model import HistoryPage, Integration, Run, Status
from cdi_exporter.workspace.integration import FIRST_BACKOFF, LONGEST_BACKOFF, IntegrationState
from cdi_exporter.workspace.schedule import (
    CATCH_UP_WITHIN,
    RECHECK_EVERY,
    ReadReason,
    is_overdue,
    next_read,
    recheck_interval,
)
from tests.virtual import EPOCH, instant

RUNS = tuple(Run(Status.SUCCESS, EPOCH - 3600 * n, EPOCH - 3600 * n + 60) for n in (1, 2, 3))
ITEM = Integration("one", last_job_start=RUNS[0].start, last_job_status=Status.SUCCESS)
NEWER = replace(ITEM, last_job_start=EPOCH + 5)
BEHIND = HistoryPage((Run(Status.SUCCESS, EPOCH + 1, EPOCH + 2),), next_cursor="older")
REFRESH = 7


def read(item: Integration | None = ITEM, page: HistoryPage | None = None) -> IntegrationState:
    """An integration whose list item and history were read at loop second 0, in a refresh."""
    state = IntegrationState("one")
    if item is not None:
        state.apply_list_item(item, instant(0.0), None)
    state.apply_newest_page(HistoryPage(RUNS), state.fingerprint, instant(0.0))
    if page is not None:
        state.apply_newest_page(page, state.fingerprint, instant(0.0))
    state.reads.recheck_at = RECHECK_EVERY
    state.reads.refresh_number = REFRESH
    return state


def reason(
    state: IntegrationState,
    now: float = 1.0,
    refresh_number: int = REFRESH,
    *,
    round_robin: bool = False,
) -> ReadReason | None:
    return next_read(state, instant(now), refresh_number, round_robin=round_robin)


def shows_a_newer_run(state: IntegrationState) -> None:
    """The list shows a run that the history does not have."""
    state.apply_list_item(NEWER, instant(1.0), None)


def failed(state: IntegrationState) -> None:
    """A read failed with a temporary error."""
    state.read_failed(ServerError("503"), 1.0, REFRESH)


def refused(state: IntegrationState) -> None:
    """A read was refused in this refresh."""
    state.read_refused(Forbidden("403"), REFRESH)


def test_a_history_that_was_never_read_is_a_change() -> None:
    """It is read whatever the list shows."""
    assert reason(IntegrationState("one")) is ReadReason.CHANGE


def test_nothing_is_read_without_a_reason() -> None:
    """The history has the run that the list shows."""
    assert reason(read()) is None


def test_a_change_in_the_list_is_read() -> None:
    """Also in round-robin mode, in which each refresh reads every history."""
    state = read()
    shows_a_newer_run(state)
    assert reason(state) is ReadReason.CHANGE
    assert reason(state, refresh_number=REFRESH + 1, round_robin=True) is ReadReason.CHANGE


@pytest.mark.parametrize(
    ("refresh_number", "expected"), [(REFRESH, None), (REFRESH + 1, ReadReason.ROUND_ROBIN)]
)
def test_round_robin_reads_each_history_once_in_a_refresh(
    refresh_number: int, expected: ReadReason | None
) -> None:
    """Without a list, or for an integration that is not in the list."""
    assert reason(read(), refresh_number=refresh_number, round_robin=True) is expected
    assert reason(read(item=None), refresh_number=refresh_number) is expected


@pytest.mark.parametrize(
    ("now", "expected"), [(RECHECK_EVERY - 1, None), (RECHECK_EVERY, ReadReason.RECHECK)]
)
def test_a_history_is_rechecked_when_its_time_comes(
    now: float, expected: ReadReason | None
) -> None:
    """The re-check needs no other reason."""
    assert reason(read(), now) is expected


def test_a_catch_up_goes_before_a_recheck_and_after_a_change() -> None:
    """This holds while the catch-up is not overdue."""
    state = read(page=BEHIND)
    state.reads.recheck_at = 0.0
    assert reason(state) is ReadReason.CATCH_UP
    shows_a_newer_run(state)
    assert reason(state) is ReadReason.CHANGE


@pytest.mark.parametrize(
    ("since_newest", "expected"),
    [
        (CATCH_UP_WITHIN, ReadReason.OVERDUE),
        (CATCH_UP_WITHIN + 1, ReadReason.CHANGE),
    ],
)
def test_a_newest_page_read_long_ago_goes_before_an_overdue_catch_up(
    since_newest: float, expected: ReadReason
) -> None:
    """Reads of the newest page and of older pages alternate."""
    state = read(page=BEHIND)
    now = CATCH_UP_WITHIN + 100
    shows_a_newer_run(state)
    state.reads.read_at = now - since_newest
    assert reason(state, now) is expected


def test_an_overdue_catch_up_continues_if_no_newest_page_is_due() -> None:
    """The age of the newest page does not matter."""
    state = read(page=BEHIND)
    now = 3 * CATCH_UP_WITHIN
    assert reason(state, now) is ReadReason.OVERDUE


@pytest.mark.parametrize(("seconds", "overdue"), [(300.0, False), (300.1, True)])
@pytest.mark.parametrize("since", [0.0, 50.0])
def test_a_catch_up_is_overdue_after_five_minutes(
    since: float, seconds: float, overdue: bool
) -> None:
    """The time is counted from when the catch-up became necessary."""
    state = read(page=BEHIND)
    state.reads.behind_since = since
    assert is_overdue(state, since + seconds) is overdue
    assert not is_overdue(read(), since + seconds)


@pytest.mark.parametrize("happens", [failed, refused])
def test_a_read_that_failed_is_not_repeated_at_once(
    happens: Callable[[IntegrationState], None],
) -> None:
    """It is repeated in a later refresh, after its backoff."""
    state = read()
    shows_a_newer_run(state)
    happens(state)
    assert reason(state, 1.0) is None
    assert reason(state, 1.0 + FIRST_BACKOFF, REFRESH + 1) is ReadReason.CHANGE


def test_the_pause_after_failures_doubles_up_to_a_limit() -> None:
    """A successful read resets the backoff."""
    state = IntegrationState("one")
    pauses = []
    for _ in range(10):
        state.read_failed(ServerError("503"), 100.0, REFRESH)
        pauses.append(state.reads.not_before - 100.0)
    assert pauses[:4] == [FIRST_BACKOFF * factor for factor in (1, 2, 4, 8)]
    assert pauses[-1] == LONGEST_BACKOFF
    state.apply_newest_page(HistoryPage(RUNS), None, instant(100.0))
    assert state.reads.not_before < 0


def test_rechecks_take_a_bounded_part_of_the_budget() -> None:
    """Re-checks happen every 15 minutes, or less often to use a tenth of the budget at most."""
    assert recheck_interval(10, slots=40) == 900.0
    assert recheck_interval(60, slots=40) == 900.0
    assert recheck_interval(400, slots=40) == 6000.0


@pytest.mark.parametrize("each", ReadReason)
def test_only_catch_ups_read_older_pages(each: ReadReason) -> None:
    """Reads for other reasons read the newest page."""
    assert each.reads_older_page is (each in (ReadReason.OVERDUE, ReadReason.CATCH_UP))


def test_reasons_are_ordered_by_urgency() -> None:
    """The reads that a scrape waits for come first."""
    assert sorted(ReadReason) == [
        ReadReason.CHANGE,
        ReadReason.ROUND_ROBIN,
        ReadReason.OVERDUE,
        ReadReason.CATCH_UP,
        ReadReason.RECHECK,
    ]
