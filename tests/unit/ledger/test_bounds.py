"""Upper bounds on the runs that a ledger keeps, and the gaps that they cause."""

from cdi_exporter.ledger import IntegrationLedger
from cdi_exporter.ledger.counting import KEPT_RUNS, MOST_ROWS, MOST_UNDER_WAY
from cdi_exporter.model import HistoryPage, Run, Status

NOW = 1_790_000_000.0


def running(count: int, newest: float = NOW) -> tuple[Run, ...]:
    return tuple(Run(Status.RUNNING, start=newest - number) for number in range(count))


def finished(count: int, newest: float = NOW) -> tuple[Run, ...]:
    return tuple(
        Run(Status.SUCCESS, start=newest - 10 * number, finish=newest - 10 * number + 5)
        for number in range(count)
    )


def test_runs_in_progress_are_bounded_at_the_first_read() -> None:
    """The newest are kept, each other one is a gap, and no further page is read."""
    ledger = IntegrationLedger()
    ledger.read_newest(HistoryPage(running(MOST_UNDER_WAY + 20), next_cursor="more"), NOW)
    assert len(ledger.under_way) == MOST_UNDER_WAY
    assert ledger.counters.gaps == 20
    assert min(run.start or 0 for run in ledger.under_way) == NOW - MOST_UNDER_WAY + 1
    assert ledger.next_cursor is None


def test_runs_in_progress_are_bounded_at_later_reads() -> None:
    """The bound also holds if later pages show more and more runs in progress."""
    ledger = IntegrationLedger()
    ledger.read_newest(HistoryPage(finished(10)), NOW)
    for number in range(1, 30):
        page = (*running(90, NOW + 100 * number), *finished(1))
        ledger.read_newest(HistoryPage(page), NOW + 100 * number)
        assert len(ledger.under_way) <= MOST_UNDER_WAY
    assert ledger.counters.gaps > 0
    assert ledger.counters.total == 0


def test_the_rows_of_a_chain_are_bounded() -> None:
    """A catch-up that reaches no known run is cut off and counted as a gap."""
    ledger = IntegrationLedger()
    ledger.read_newest(HistoryPage(finished(5, NOW)), NOW)
    later = NOW + 10_000_000
    page = HistoryPage(finished(100, later), next_cursor="0")
    counted = len(ledger.read_newest(page, later))
    pages = 1
    while ledger.chain is not None:
        newest = later - 1_000 * pages
        page = HistoryPage(finished(100, newest), next_cursor=str(pages))
        counted += len(ledger.read_older(page, later))
        pages += 1
        assert len(ledger.chain.rows if ledger.chain else ()) < MOST_ROWS
    assert pages == MOST_ROWS // 100
    assert counted == ledger.counters.total == MOST_ROWS
    assert ledger.counters.gaps == 1
    assert len(ledger.runs) <= KEPT_RUNS
