"""List changes about runs that the history has already shown."""

from dataclasses import replace

import pytest

from cdi_exporter.model import HistoryPage, Integration, Run, Status
from cdi_exporter.workspace.integration import IntegrationState
from tests.virtual import EPOCH, instant

START = EPOCH - 100
OLDER = Run(Status.SUCCESS, EPOCH - 1000, EPOCH - 900, EPOCH - 950, 5, 0)
ITEM = Integration(
    "one",
    name="users",
    last_updated=OLDER.watermark,
    last_job_start=OLDER.start,
    last_job_status=OLDER.status,
)
STARTED_ITEM = replace(ITEM, last_job_start=START, last_job_status=Status.RUNNING)
RUNNING = Run(Status.RUNNING, START)
ENDED = Run(Status.PARTIAL, START, EPOCH - 50, EPOCH - 60, 7, 1)
ENDED_ITEM = replace(STARTED_ITEM, last_job_status=ENDED.status, last_updated=ENDED.watermark)


def tracked(*reads: Run, item: Integration = STARTED_ITEM) -> IntegrationState:
    """An integration whose history was read ahead of the list, which then shows `item`."""
    one = IntegrationState("one")
    one.apply_list_item(ITEM, instant(0.0), None)
    one.apply_newest_page(HistoryPage((OLDER,)), one.fingerprint, instant(0.0))
    for number, newest in enumerate(reads, 1):
        page = HistoryPage((newest, OLDER))
        one.apply_newest_page(page, one.fingerprint, instant(float(number)))
    one.apply_list_item(item, instant(10.0), None)
    return one


@pytest.mark.parametrize(
    ("reads", "item"),
    [
        pytest.param([RUNNING], STARTED_ITEM, id="started, read while running"),
        pytest.param([ENDED], STARTED_ITEM, id="started, read when finished"),
        pytest.param([ENDED], ENDED_ITEM, id="finished, read when finished"),
        pytest.param(
            [RUNNING, ENDED], ENDED_ITEM, id="finished, read while running and when finished"
        ),
    ],
)
def test_a_run_that_was_read_is_not_read_again(reads: list[Run], item: Integration) -> None:
    """The list shows it later, and no history read is needed."""
    one = tracked(*reads, item=item)
    assert not one.has_change
    assert one.snapshot().refreshed == EPOCH + 10


@pytest.mark.parametrize(
    ("reads", "item"),
    [
        pytest.param([RUNNING], ENDED_ITEM, id="the end was not read"),
        pytest.param(
            [ENDED], replace(ENDED_ITEM, last_job_status=Status.ERROR), id="another status"
        ),
        pytest.param([ENDED], replace(ENDED_ITEM, last_job_start=START + 0.002), id="another run"),
        pytest.param([ENDED], replace(ENDED_ITEM, last_updated=EPOCH + 5), id="another watermark"),
        pytest.param([], ENDED_ITEM, id="nothing was read"),
    ],
)
def test_a_run_that_was_not_read_is_a_change(reads: list[Run], item: Integration) -> None:
    """A run, status or watermark that the history has not shown is read."""
    assert tracked(*reads, item=item).has_change


UNKNOWN_RUN = replace(ENDED, status=Status.UNKNOWN, job_status="Limit_Exceeded")
UNKNOWN_ITEM = replace(ENDED_ITEM, last_job_status=Status.UNKNOWN, last_job_word="limit_exceeded")


def test_an_unknown_status_that_was_read_is_not_read_again() -> None:
    """The text is the same, apart from upper and lower case."""
    assert not tracked(UNKNOWN_RUN, item=UNKNOWN_ITEM).has_change


@pytest.mark.parametrize("word", ["canceled", None])
def test_another_unknown_status_is_a_change(word: str | None) -> None:
    """Two different unknown statuses are not equal."""
    assert tracked(UNKNOWN_RUN, item=replace(UNKNOWN_ITEM, last_job_word=word)).has_change
    one = tracked(UNKNOWN_RUN, item=UNKNOWN_ITEM)
    one.apply_list_item(replace(UNKNOWN_ITEM, last_job_word=word), instant(20.0), None)
    assert one.has_change


def test_the_same_unknown_status_in_another_case_is_not_a_change() -> None:
    one = tracked(UNKNOWN_RUN, item=UNKNOWN_ITEM)
    one.apply_list_item(replace(UNKNOWN_ITEM, last_job_word="LIMIT_EXCEEDED"), instant(20.0), None)
    assert not one.has_change


def test_an_unknown_status_is_a_change_until_the_history_has_it() -> None:
    """The list shows the final status while the history still shows an earlier one."""
    waiting = Run(Status.UNKNOWN, START, job_status="queued")
    one = tracked(waiting, item=UNKNOWN_ITEM)
    one.apply_newest_page(HistoryPage((waiting, OLDER)), one.fingerprint, instant(5.0, EPOCH))
    assert one.has_change
    over = replace(waiting, job_status="limit_exceeded")
    one.apply_newest_page(HistoryPage((over, OLDER)), one.fingerprint, instant(6.0, EPOCH))
    assert not one.has_change


def test_a_change_of_two_runs_with_one_start_is_read() -> None:
    """If two runs have the same start, the list does not identify which one it shows."""
    twin = replace(ENDED, finish=EPOCH - 40)
    one = tracked(ENDED)
    one.apply_newest_page(HistoryPage((ENDED, twin, OLDER)), one.fingerprint, instant(5.0, EPOCH))
    one.apply_list_item(ENDED_ITEM, instant(20.0), None)
    assert one.has_change


def test_a_change_that_is_not_read_yet_stays_due() -> None:
    """An end that the list showed before, and that was not read yet, stays a change."""
    earlier = Run(Status.RUNNING, START - 300)
    ended = replace(ITEM, last_job_start=earlier.start, last_updated=EPOCH)
    one = tracked(item=ITEM)
    one.apply_newest_page(
        HistoryPage((RUNNING, earlier, OLDER)), one.fingerprint, instant(1.0, EPOCH)
    )
    one.apply_list_item(ended, instant(20.0), None)
    assert one.has_change
    one.apply_list_item(STARTED_ITEM, instant(30.0), None)
    assert one.has_change
