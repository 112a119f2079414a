"""What the list tells of a run that the history has told before is no change."""

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
BEGUN = replace(ITEM, last_job_start=START, last_job_status=Status.RUNNING)
RUNNING = Run(Status.RUNNING, START)
ENDED = Run(Status.PARTIAL, START, EPOCH - 50, EPOCH - 60, 7, 1)
TOLD = replace(BEGUN, last_job_status=ENDED.status, last_updated=ENDED.watermark)


def tracked(*reads: Run, item: Integration = BEGUN) -> IntegrationState:
    """An integration whose history was read ahead of the list, which then said `item`."""
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
        pytest.param([RUNNING], BEGUN, id="begun, seen under way"),
        pytest.param([ENDED], BEGUN, id="begun, seen finished"),
        pytest.param([ENDED], TOLD, id="finished, seen finished"),
        pytest.param([RUNNING, ENDED], TOLD, id="finished, seen from its begin to its end"),
    ],
)
def test_a_run_that_was_read_is_not_read_again(reads: list[Run], item: Integration) -> None:
    """The list tells of it later, and only the list was asked."""
    one = tracked(*reads, item=item)
    assert not one.has_change
    assert one.snapshot().refreshed == EPOCH + 10


@pytest.mark.parametrize(
    ("reads", "item"),
    [
        pytest.param([RUNNING], TOLD, id="its end was not read"),
        pytest.param([ENDED], replace(TOLD, last_job_status=Status.ERROR), id="another status"),
        pytest.param([ENDED], replace(TOLD, last_job_start=START + 0.002), id="another run"),
        pytest.param([ENDED], replace(TOLD, last_updated=EPOCH + 5), id="another watermark"),
        pytest.param([], TOLD, id="nothing was read"),
    ],
)
def test_anything_else_is_a_change(reads: list[Run], item: Integration) -> None:
    """What the history has not told is read."""
    assert tracked(*reads, item=item).has_change


UNKNOWN = replace(ENDED, status=Status.UNKNOWN, job_status="Limit_Exceeded")
SAID = replace(TOLD, last_job_status=Status.UNKNOWN, last_job_word="limit_exceeded")


def test_an_unknown_status_that_was_read_is_not_read_again() -> None:
    """It is the same word, in any spelling."""
    assert not tracked(UNKNOWN, item=SAID).has_change


@pytest.mark.parametrize("word", ["canceled", None])
def test_another_unknown_status_is_a_change(word: str | None) -> None:
    """Two words that this version does not know are not the same."""
    assert tracked(UNKNOWN, item=replace(SAID, last_job_word=word)).has_change
    one = tracked(UNKNOWN, item=SAID)
    one.apply_list_item(replace(SAID, last_job_word=word), instant(20.0), None)
    assert one.has_change


def test_the_same_unknown_status_in_another_case_is_not_a_change() -> None:
    """Statuses are compared without regard to case."""
    one = tracked(UNKNOWN, item=SAID)
    one.apply_list_item(replace(SAID, last_job_word="LIMIT_EXCEEDED"), instant(20.0), None)
    assert not one.has_change


def test_an_unknown_status_without_a_finish_is_waited_for_until_the_history_has_it() -> None:
    """The list says how it ended, the history lags behind with another word."""
    waiting = Run(Status.UNKNOWN, START, job_status="queued")
    one = tracked(waiting, item=SAID)
    one.apply_newest_page(HistoryPage((waiting, OLDER)), one.fingerprint, instant(5.0, EPOCH))
    assert one.has_change
    over = replace(waiting, job_status="limit_exceeded")
    one.apply_newest_page(HistoryPage((over, OLDER)), one.fingerprint, instant(6.0, EPOCH))
    assert not one.has_change


def test_a_change_of_two_runs_with_one_start_is_read() -> None:
    """Of two runs with one start the list cannot tell which one it means."""
    twin = replace(ENDED, finish=EPOCH - 40)
    one = tracked(ENDED)
    one.apply_newest_page(HistoryPage((ENDED, twin, OLDER)), one.fingerprint, instant(5.0, EPOCH))
    one.apply_list_item(TOLD, instant(20.0), None)
    assert one.has_change


def test_a_change_that_is_not_read_yet_stays_due() -> None:
    """An end that the list told before, and that was not read yet, stays a change."""
    earlier = Run(Status.RUNNING, START - 300)
    ended = replace(ITEM, last_job_start=earlier.start, last_updated=EPOCH)
    one = tracked(item=ITEM)
    one.apply_newest_page(
        HistoryPage((RUNNING, earlier, OLDER)), one.fingerprint, instant(1.0, EPOCH)
    )
    one.apply_list_item(ended, instant(20.0), None)
    assert one.has_change
    one.apply_list_item(BEGUN, instant(30.0), None)
    assert one.has_change
