"""Which reason applies if there are several, and which history is read first."""

import asyncio
import contextlib
from typing import cast

import pytest

from cdi_exporter.braze.sharing import RequestPermit
from cdi_exporter.model import HistoryPage, Integration, Run, Status
from cdi_exporter.workspace.integration import IntegrationState
from cdi_exporter.workspace.read_queue import ReadQueue
from cdi_exporter.workspace.schedule import CATCH_UP_WITHIN, ReadReason, next_read
from tests.virtual import EPOCH, instant, run

RUNS = [Run(Status.SUCCESS, EPOCH - 3600 * n, EPOCH - 3600 * n + 60) for n in (1, 2, 3)]
RECHECK_AT = 900.0


def state_of(*runs: Run) -> IntegrationState:
    """An integration whose list item and whole history were read at EPOCH, loop second 0."""
    one = IntegrationState("one")
    newest = max(runs, key=lambda each: each.order)
    item = Integration("one", last_job_start=newest.start, last_job_status=newest.status)
    one.apply_list_item(item, instant(0.0), None)
    one.apply_newest_page(HistoryPage(runs), one.fingerprint, instant(0.0))
    one.reads.recheck_at = RECHECK_AT
    return one


@pytest.mark.parametrize(
    ("later", "due"),
    [
        pytest.param(10.0, ReadReason.CHANGE, id="not overdue"),
        pytest.param(CATCH_UP_WITHIN + 10.0, ReadReason.CHANGE, id="overdue, newest page old"),
        pytest.param(CATCH_UP_WITHIN + 30.0, ReadReason.OVERDUE, id="overdue, newest page new"),
    ],
)
def test_newest_and_older_pages_of_one_integration_alternate(later: float, due: ReadReason) -> None:
    """An overdue catch-up waits if the newest page was not read for as long."""
    one = state_of(*RUNS)
    page = HistoryPage((Run(Status.SUCCESS, EPOCH + 1, EPOCH + 2),), next_cursor="older")
    one.apply_newest_page(page, one.fingerprint, instant(0.0))
    if due is ReadReason.OVERDUE:
        moment = CATCH_UP_WITHIN + 20.0
        one.apply_newest_page(page, one.fingerprint, instant(moment))
    ended = Integration("one", last_job_start=EPOCH + later, last_job_status=Status.SUCCESS)
    one.apply_list_item(ended, instant(later), None)
    assert next_read(one, instant(later), 1, round_robin=False) is due


def test_an_overdue_catch_up_alternates_with_changes() -> None:
    """A read that is requested again with more urgency moves up in the queue."""

    async def main() -> None:
        made: list[str] = []

        async def permit() -> RequestPermit:
            await asyncio.sleep(1)
            return cast("RequestPermit", contextlib.nullcontext())

        async def read(identifier: str, permit: RequestPermit) -> None:
            made.append(identifier)

        def report(error: Exception) -> None:
            raise error

        reads = ReadQueue(permit, read, report)
        for name in ("behind-1", "behind-2"):
            reads.put(name, ReadReason.CATCH_UP)
        for name in ("changed-1", "changed-2", "changed-3"):
            reads.put(name, ReadReason.CHANGE)
        reads.put("round robin", ReadReason.ROUND_ROBIN)
        for name in ("behind-1", "behind-2"):
            reads.put(name, ReadReason.OVERDUE)
        await asyncio.sleep(10)
        assert made == [
            "behind-1",
            "changed-1",
            "behind-2",
            "changed-2",
            "changed-3",
            "round robin",
        ]

    run(main())
