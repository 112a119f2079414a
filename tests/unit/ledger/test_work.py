"""The work of the ledger per page, which grows linearly with the page.

The work is measured in calls of Python functions, so that the result does not depend on the time.
"""

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from cdi_exporter.ledger import ABANDONED_AFTER, MOST_PAGES, IntegrationLedger
from cdi_exporter.model import HistoryPage, Run, Status

NOW = 10_000_000.0
GROWTH = 2.5
"""The factor that twice the input may need; 4 would be quadratic."""


def work(do: Callable[[], object]) -> int:
    """The number of function calls that `do` makes, including the steps of generators."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        do()
    finally:
        sys.setprofile(before)
    return calls


def ok(start: float, finish: float | None = None) -> Run:
    return Run(Status.SUCCESS, start, start + 60 if finish is None else finish, start, 1, 0)


def running(number: int) -> Run:
    return Run(Status.RUNNING, NOW - 10.0 * number)


def finished(number: int) -> Run:
    return ok(NOW - 10.0 * number)


def same_start(number: int) -> Run:
    return ok(NOW - 1e6, NOW - 10.0 * number)


def same_start_running(number: int) -> Run:
    return Run(Status.RUNNING, NOW - 1e6, watermark=float(number))


def same_finish(number: int) -> Run:
    return ok(NOW - 1e6 - number, NOW - 1e6)


def without_start(number: int) -> Run:
    return Run(Status.SUCCESS, finish=NOW - 10.0 * number)


def failing(number: int) -> Run:
    return Run(Status.ERROR, NOW - 10.0 * number)


EACH = [running, finished, same_start, same_start_running, same_finish, without_start, failing]


def reading(make: Callable[[int], Run], rows: int, *, connected: bool) -> int:
    """The work of reading a page of so many rows three times, and of expiring all its runs."""
    it = IntegrationLedger()
    it.read_newest(HistoryPage((ok(1.0),)), NOW)
    known = (ok(1.0),) if connected else ()
    cursor = None if connected else "more"

    def read() -> None:
        for _ in range(3):
            page = HistoryPage((*map(make, range(rows)), *known), next_cursor=cursor)
            it.read_newest(page, NOW)
            assert it.summary.last is not None
        it.expire(NOW + 2 * ABANDONED_AFTER)

    return work(read)


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("make", EACH)
def test_twice_the_rows_take_twice_the_work(make: Callable[[int], Run], connected: bool) -> None:
    """This holds for runs in progress, finished runs, and runs with the same start or finish."""
    few = reading(make, 400, connected=connected)
    many = reading(make, 800, connected=connected)
    assert many < GROWTH * few


def settling(pages: int) -> tuple[int, int]:
    """The work of the last page of a catch-up, which completes it, and of the page before."""
    it = IntegrationLedger()
    it.read_newest(HistoryPage((ok(1.0),)), NOW)
    rows = [finished(number) for number in range(10 * pages)]
    taken = []
    for number in range(pages):
        last = number == pages - 1
        shown = tuple(rows[10 * number : 10 * number + 10])
        page = HistoryPage(shown + ((ok(1.0),) if last else ()), next_cursor=str(number))
        read = it.read_older if number else it.read_newest

        def take(page: HistoryPage = page, read: Callable[..., object] = read) -> None:
            read(page, NOW)

        taken.append(work(take))
    assert it.counters.total == 10 * pages
    return taken[-1], taken[-2]


def test_a_chain_of_many_pages_settles_in_proportion() -> None:
    """The page that completes the catch-up counts all rows once."""
    (few, _), (many, _) = settling(MOST_PAGES // 4), settling(MOST_PAGES // 2)
    assert many < GROWTH * few
    assert many < 40 * 10 * MOST_PAGES // 2


def test_a_page_of_a_long_chain_takes_no_more_work_than_of_a_short_one() -> None:
    """Runs collected earlier are not processed again for each page."""
    (_, few), (_, many) = settling(10), settling(MOST_PAGES - 10)
    assert many <= few + 10
