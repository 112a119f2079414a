"""Why a history is read where several reasons hold, and which read comes first."""

import asyncio
import contextlib
from typing import cast

import pytest

from cdi_exporter.braze.permit import RequestPermit
from cdi_exporter.model import HistoryPage, Integration, Run, Status
from cdi_exporter.workspace.reads import Reads
from cdi_exporter.workspace.tracked import CATCH_UP_WITHIN, Due, Tracked
from tests.virtual import EPOCH, run

RUNS = [Run(Status.SUCCESS, EPOCH - 3600 * n, EPOCH - 3600 * n + 60) for n in (1, 2, 3)]
AUDIT_AT = 900.0


def tracked(*runs: Run) -> Tracked:
    """An integration whose list item and whole history were read at EPOCH, loop second 0."""
    one = Tracked("one")
    newest = max(runs, key=lambda each: each.order)
    item = Integration("one", last_job_start=newest.start, last_job_status=newest.status)
    one.see(item, EPOCH, EPOCH, None)
    one.took(HistoryPage(runs), one.asking(), 0.0, EPOCH, EPOCH)
    one.audit_at(AUDIT_AT)
    return one


@pytest.mark.parametrize(
    ("later", "due"),
    [
        pytest.param(10.0, Due.CHANGE, id="not overdue"),
        pytest.param(CATCH_UP_WITHIN + 10.0, Due.CHANGE, id="overdue, the newest page is old"),
        pytest.param(CATCH_UP_WITHIN + 30.0, Due.OVERDUE, id="overdue, the newest page is new"),
    ],
)
def test_of_one_integration_too_newest_and_older_pages_take_turns(later: float, due: Due) -> None:
    """What is overdue gives way to a newest page that was not read for as long."""
    one = tracked(*RUNS)
    page = HistoryPage((Run(Status.SUCCESS, EPOCH + 1, EPOCH + 2),), next_cursor="older")
    one.took(page, one.asking(), 0.0, EPOCH, EPOCH)
    if due is Due.OVERDUE:
        moment = CATCH_UP_WITHIN + 20.0
        one.took(page, one.asking(), moment, EPOCH + moment, EPOCH + moment)
    ended = Integration("one", last_job_start=EPOCH + later, last_job_status=Status.SUCCESS)
    one.see(ended, EPOCH + later, EPOCH + later, None)
    assert one.due(later, EPOCH + later, 1, listless=False) is due


def test_what_becomes_overdue_while_it_waits_goes_first_every_other_time() -> None:
    """A read that was asked for again with more urgency does not keep its old place."""

    async def main() -> None:
        made: list[str] = []

        async def turn() -> RequestPermit:
            await asyncio.sleep(1)
            return cast("RequestPermit", contextlib.nullcontext())

        async def read(identifier: str, turn: RequestPermit) -> None:
            made.append(identifier)

        reads = Reads(turn, read)
        for name in ("behind-1", "behind-2"):
            reads.put(name, Due.CATCH_UP)
        for name in ("changed-1", "changed-2", "changed-3"):
            reads.put(name, Due.CHANGE)
        reads.put("turn", Due.TURN)
        for name in ("behind-1", "behind-2"):
            reads.put(name, Due.OVERDUE)
        await asyncio.sleep(10)
        assert made == ["behind-1", "changed-1", "behind-2", "changed-2", "changed-3", "turn"]

    run(main())
