"""What the ledger makes of particular histories."""

from dataclasses import replace

import pytest

from cdi_exporter.braze.wire import HistoryPage
from cdi_exporter.ledger import ABANDONED_AFTER, MOST_PAGES, IntegrationLedger
from cdi_exporter.model import Run, Status

NOW = 10_000.0


def ok(start: float, finish: float | None = None, rows: int = 1) -> Run:
    return Run(Status.SUCCESS, start, start + 60 if finish is None else finish, rows_synced=rows)


def running(start: float) -> Run:
    return Run(Status.RUNNING, start)


def failed(start: float, status: Status = Status.ERROR) -> Run:
    return Run(status, start, start + 60)


def page(*runs: Run, cursor: str | None = None, **fields: object) -> HistoryPage:
    return HistoryPage(runs, next_cursor=cursor, **fields)  # type: ignore[arg-type]


def ledger(*runs: Run, cursor: str | None = None) -> IntegrationLedger:
    """A ledger that has seen one page."""
    made = IntegrationLedger()
    made.read_newest(page(*runs, cursor=cursor), NOW)
    return made


def test_the_baseline_is_not_counted() -> None:
    """Runs that exist at the first sight are known and not counted."""
    it = ledger(ok(300), ok(200), ok(100))
    assert it.counters.total == 0
    assert it.known.last == ok(300)


def test_a_run_under_way_at_the_first_sight_counts_when_it_ends() -> None:
    """It finishes after the integration was first seen."""
    it = ledger(running(300), ok(200))
    assert it.read_newest(page(ok(300), ok(200)), NOW) == [ok(300)]
    assert it.counters.total == 1
    assert not it.known.running


def test_of_a_new_integration_all_runs_count() -> None:
    """With an empty baseline the whole history counts, page after page."""
    it = IntegrationLedger(everything_counts=True)
    assert it.read_newest(page(ok(300), ok(200), cursor="c"), NOW) == []
    assert it.next_cursor == "c"
    assert len(it.read_older(page(ok(100)), NOW)) == 3
    assert it.counters.gaps == 0


def test_an_empty_history_is_a_baseline_too() -> None:
    """After an empty history whatever comes counts."""
    it = ledger()
    it.read_newest(page(ok(100)), NOW)
    assert it.counters.total == 1


def test_counters_wait_until_the_chain_connects() -> None:
    """Gauges move with the newest page; counters only when a known run is met."""
    it = ledger(ok(100))
    it.read_newest(page(ok(500), ok(400), cursor="a"), NOW)
    assert it.counters.total == 0
    assert it.known.last == ok(500)
    it.read_older(page(ok(300), ok(200), cursor="b"), NOW)
    assert it.counters.total == 0
    counted = it.read_older(page(ok(100)), NOW)
    assert [run.start for run in counted] == [200, 300, 400, 500]
    assert it.counters.total == 4
    assert not it.catching_up


def test_rows_that_shift_over_a_page_border_count_once() -> None:
    """A run added while pages are read moves the others down: they are met twice."""
    it = ledger(ok(100))
    it.read_newest(page(ok(500), ok(400), ok(300), cursor="a"), NOW)
    it.read_older(page(ok(300), ok(200), ok(100)), NOW)
    assert it.counters.total == 4


def test_an_interrupted_chain_is_resumed_where_it_was() -> None:
    """After an interruption the newest page is read anew, and the old cursor goes on."""
    it = ledger(ok(100))
    it.read_newest(page(ok(500), ok(400), cursor="a"), NOW)
    it.read_older(page(ok(300), cursor="b"), NOW)
    it.read_newest(page(ok(600), ok(500), cursor="a"), NOW)
    assert it.next_cursor == "b"
    it.read_older(page(ok(200), ok(100)), NOW)
    assert it.counters.total == 5


def test_a_chain_that_lost_touch_begins_anew() -> None:
    """Where the newest page does not touch what was collected, reading starts at its end."""
    it = ledger(ok(100))
    it.read_newest(page(ok(500), cursor="a"), NOW)
    it.read_newest(page(ok(700), cursor="x"), NOW)
    assert it.next_cursor == "x"
    it.read_older(page(ok(600), ok(500), cursor="y"), NOW)
    it.read_older(page(ok(300), ok(100)), NOW)
    assert it.counters.total == 4


def test_the_end_of_history_before_a_known_run_is_a_gap() -> None:
    """What Braze no longer lists may have been lost; what it lists counts."""
    it = ledger(ok(100))
    it.read_newest(page(ok(500), ok(400)), NOW)
    assert it.counters.total == 2
    assert it.counters.gaps == 1


def test_too_many_pages_are_a_gap() -> None:
    """Beyond the last page that is read the rest may be lost."""
    it = ledger(ok(100))
    it.read_newest(page(ok(1e6), cursor="0"), NOW)
    for number in range(1, MOST_PAGES):
        assert it.counters.gaps == 0
        it.read_older(page(ok(1e6 - number), cursor=str(number)), NOW)
    assert it.counters.gaps == 1
    assert it.counters.total == MOST_PAGES
    assert it.next_cursor is None


def test_an_emptied_history_is_no_gap_by_itself() -> None:
    """An idle integration's runs may leave the list; that alone loses nothing."""
    it = ledger(ok(100))
    it.read_newest(page(), NOW)
    assert it.counters.gaps == 0


def test_a_run_told_with_other_numbers_is_not_counted_again() -> None:
    """The newest word shows; the counter stays."""
    it = ledger(ok(100))
    it.read_newest(page(ok(200, rows=5), ok(100)), NOW)
    it.read_newest(page(ok(200, finish=280, rows=9), ok(100)), NOW)
    assert it.counters.total == 1
    assert it.counters.rows_synced == 5
    assert it.known.last == ok(200, finish=280, rows=9)


def test_two_runs_with_one_start_are_two_when_one_page_shows_both() -> None:
    """Rows with one start time are one run, unless a single page shows both."""
    it = ledger(ok(100))
    it.read_newest(page(ok(200), failed(200), ok(100)), NOW)
    assert (it.counters.success, it.counters.error) == (1, 1)
    it.read_newest(page(failed(200), ok(100)), NOW)
    assert it.counters.total == 2


def test_a_long_run_that_ends_after_younger_ones_counts() -> None:
    """It is known as under way and is not forgotten."""
    it = ledger(running(100), ok(50))
    younger = [ok(100 + 10 * number, 105 + 10 * number) for number in range(9, 0, -1)]
    it.read_newest(page(*younger, running(100), cursor="c"), NOW)
    it.read_older(page(ok(50)), NOW)
    assert it.counters.total == 9
    assert it.known.running == (running(100),)
    it.read_newest(page(*younger, ok(100, 9999), cursor="c"), NOW)
    assert it.counters.total == 10


def test_a_run_hidden_behind_younger_ones_is_looked_for() -> None:
    """Once its typical end has passed, and then at most every five minutes."""
    it = ledger(running(100), ok(50), ok(40), ok(30))
    younger = [ok(100 + 10 * number, 105 + 10 * number) for number in range(10, 0, -1)]
    it.read_newest(page(*younger, cursor="c"), NOW)
    assert it.next_cursor == "c", "the chain has not met a known run"
    it.read_older(page(running(100), ok(50)), NOW)
    assert it.next_cursor is None
    assert not it.overlooked(NOW + 299)
    assert it.overlooked(NOW + 300)
    it.read_newest(page(*younger, cursor="c"), NOW + 300)
    assert it.next_cursor == "c"
    it.read_older(page(ok(100, 5000), ok(50)), NOW + 301)
    assert it.counters.total == 11


def test_runs_overtaken_at_the_first_sight_are_looked_for() -> None:
    """A page that shows runs under way behind younger ones is followed by the next."""
    it = IntegrationLedger()
    it.read_newest(page(running(500), running(400), cursor="a"), NOW)
    assert it.next_cursor == "a"
    it.read_older(page(running(300), ok(200), cursor="b"), NOW)
    it.read_older(page(ok(100), ok(50), cursor="c"), NOW)
    assert it.next_cursor is None
    assert len(it.known.running) == 3
    assert it.counters.total == 0


def test_a_look_behind_counts_nothing_again_that_was_forgotten() -> None:
    """A run that was counted, and dropped as too old, is met where a slow first look goes on."""
    baseline = [ok(100.0 * each) for each in range(10, 3, -1)]
    under_way = [running(1300), running(1200), running(1100)]
    it = ledger(*under_way, *baseline, cursor="older")
    began = [running(100.0 * each) for each in range(21, 13, -1)]
    it.read_older(page(running(1100), *baseline, ok(300), ok(200), cursor="oldest"), NOW)
    counted = [ok(100.0 * each, NOW + each) for each in range(46, 21, -1)]
    it.read_newest(page(*counted[:10], cursor="a"), NOW + 100)
    it.read_older(page(*counted[10:20], cursor="b"), NOW + 100)
    it.read_older(page(*counted[20:], *began[:5], cursor="c"), NOW + 100)
    it.read_older(page(*began[5:], *under_way, *baseline[:4], cursor="d"), NOW + 100)
    assert it.counters.total == len(counted)
    assert it.next_cursor == "oldest"
    it.read_older(page(*counted[20:], *began[:5], cursor="e"), NOW + 100)
    assert it.counters.total == len(counted)


def test_a_look_behind_counts_nothing_that_no_chain_has_reached() -> None:
    """Runs that pushed the page down meanwhile are left to the chain from the newest page."""
    it = IntegrationLedger()
    it.read_newest(page(running(500), running(400), ok(300), cursor="a"), NOW)
    assert it.next_cursor == "a"
    it.read_older(page(ok(800), ok(700), cursor="b"), NOW)
    assert it.counters.total == 0
    it.read_newest(page(ok(1000), ok(900), cursor="x"), NOW)
    it.read_older(page(ok(800), ok(700), cursor="y"), NOW)
    it.read_older(page(ok(600), running(500), cursor="z"), NOW)
    it.read_older(page(running(400), ok(300), cursor="w"), NOW)
    assert it.counters.total == 5


def test_a_run_that_left_the_history_while_under_way_is_a_gap() -> None:
    """Nobody will ever tell how it ended."""
    it = ledger(running(300), ok(200))
    it.read_newest(page(ok(400), ok(200)), NOW)
    assert it.counters.gaps == 1
    assert not it.known.running
    assert it.counters.total == 1


def test_a_run_that_never_ends_is_given_up() -> None:
    """After a week it is a gap, and does not come back."""
    it = ledger(running(NOW - 10), ok(200))
    it.expire(NOW + ABANDONED_AFTER - 11)
    assert it.counters.gaps == 0
    it.expire(NOW + ABANDONED_AFTER)
    assert it.counters.gaps == 1
    it.read_newest(page(running(NOW - 10), ok(200)), NOW + ABANDONED_AFTER)
    assert not it.known.running
    it.expire(NOW + ABANDONED_AFTER + 1)
    assert it.counters.gaps == 1


def test_an_undated_row_in_the_newest_place_shows_and_is_not_counted() -> None:
    """It sets the status and the failures in a row, nothing else."""
    it = ledger(ok(100))
    undated = Run(Status.CONFIG_ERROR)
    it.read_newest(page(ok(100), undated=undated), NOW)
    assert it.known.last == undated
    assert it.known.consecutive_failures == 1
    assert it.counters.total == 0


def test_failures_in_a_row_are_counted_over_what_was_dropped() -> None:
    """More failures than runs are kept still add up."""
    it = ledger(ok(0.5))
    for number in range(1, 60):
        rows = [failed(number * 10), failed(number * 10 - 10) if number > 1 else ok(0.5)]
        it.read_newest(page(*rows, cursor="more"), NOW)
    assert it.known.consecutive_failures == 59
    assert it.known.last_success == 60.5
    it.read_newest(page(ok(1000), failed(590), cursor="more"), NOW)
    assert it.known.consecutive_failures == 0


def test_typical_values_are_medians_of_at_least_three() -> None:
    """Two runs say nothing of what is typical."""
    two = ledger(ok(200), ok(100)).known
    assert (two.typical_interval, two.typical_duration, two.typical_rows) == (None, None, None)
    it = ledger(ok(1000, 1100, 7), ok(400, 440, 3), ok(100, 120, 5)).known
    assert (it.typical_interval, it.typical_duration, it.typical_rows) == (450, 40, 5)


def test_order_is_by_finish() -> None:
    """The last sync is the one that finished last, not the one that started last."""
    it = ledger(ok(200, 210), ok(100, 500))
    assert it.known.last == ok(100, 500)


@pytest.mark.parametrize("status", [Status.ERROR, Status.CONFIG_ERROR])
def test_a_run_without_a_finish_is_ordered_by_its_start(status: Status) -> None:
    """A terminal row with a start alone is a finished run."""
    it = ledger(ok(100))
    it.read_newest(page(Run(status, 300), ok(100)), NOW)
    assert it.known.last == Run(status, 300)
    assert it.counters.total == 1
    assert it.counters.duration_count == 0


def test_a_row_with_a_finish_alone_is_keyed_by_it() -> None:
    """Read twice it counts once."""
    it = ledger(ok(100))
    only_finish = Run(Status.SUCCESS, finish=900)
    for _ in range(2):
        it.read_newest(page(only_finish, ok(100)), NOW)
    assert it.counters.total == 1


def test_an_unknown_status_is_over_once_it_has_a_finish() -> None:
    """Without a finish the run is under way."""
    it = ledger(ok(100))
    it.read_newest(page(Run(Status.UNKNOWN, 200), ok(100)), NOW)
    assert it.counters.total == 0
    assert len(it.known.running) == 1
    it.read_newest(page(Run(Status.UNKNOWN, 200, 300), ok(100)), NOW)
    assert it.counters.unknown == 1


WHOLE, STARTLESS = ok(200, 260), Run(Status.SUCCESS, None, 260.0, rows_synced=1)


@pytest.mark.parametrize("words", [(STARTLESS, WHOLE), (WHOLE, STARTLESS)])
def test_a_start_that_comes_or_goes_makes_no_second_run(words: tuple[Run, Run]) -> None:
    """A finish that is known is that run's, counted, in the baseline or not yet connected."""
    first, second = words
    counted = ledger(ok(100))
    for word in (first, second, first, second):
        counted.read_newest(page(word, ok(100)), NOW)
    assert counted.counters.total == 1
    assert len(counted.known.recent) == 2
    baseline = ledger(first, ok(100))
    baseline.read_newest(page(ok(300), second, ok(100)), NOW)
    assert baseline.counters.total == 1
    apart = ledger(ok(100))
    apart.read_newest(page(ok(300), first, cursor="a"), NOW)
    apart.read_older(page(second, ok(100)), NOW)
    assert apart.counters.total == 2


def test_a_start_is_kept_for_what_was_told_with_it() -> None:
    """Where it goes, the run still has its start and duration; its other numbers are the new."""
    it = ledger(ok(100))
    it.read_newest(page(WHOLE, ok(100)), NOW)
    it.read_newest(page(replace(STARTLESS, rows_synced=9), ok(100)), NOW)
    assert it.known.last == replace(WHOLE, rows_synced=9)


def test_two_that_one_page_shows_are_two() -> None:
    """Also where one has only the finish of the other."""
    it = ledger(ok(100))
    it.read_newest(page(WHOLE, STARTLESS, ok(100)), NOW)
    assert it.counters.total == 2
    it.read_newest(page(WHOLE, STARTLESS, ok(100)), NOW)
    assert it.counters.total == 2
