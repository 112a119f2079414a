"""Boundary cases of the ledger: one row, one second or one page more or less."""

import math
from itertools import pairwise

from cdi_exporter.ledger import ABANDONED_AFTER, MOST_PAGES, IntegrationLedger
from cdi_exporter.model import Run, Status
from tests.unit.ledger.test_ledger import (
    NOW,
    WHOLE,
    WITHOUT_START,
    failed,
    ledger,
    ok,
    page,
    restarted,
    running,
)


def partial(start: float) -> Run:
    """A partial run, which is a delivery but not a success."""
    return failed(start, Status.PARTIAL)


# Gaps


def test_a_history_that_ends_at_a_known_run_in_progress_has_no_gap() -> None:
    """No finished run is known, but the running one proves that nothing is missing."""
    it = ledger(running(300))
    it.read_newest(page(ok(500), ok(300)), NOW)
    assert (it.counters.total, it.counters.gaps) == (2, 0)


def test_one_known_run_is_enough_to_show_that_nothing_is_missing() -> None:
    """Of two runs in progress one has left the history, and it is the only gap."""
    it = ledger(running(300), running(200))
    it.read_newest(page(ok(500), running(300)), NOW)
    assert (it.counters.total, it.counters.gaps) == (1, 1)


def test_after_an_empty_history_nothing_is_missing() -> None:
    """All runs that are listed later have started since."""
    it = ledger()
    it.read_newest(page(ok(100)), NOW)
    assert (it.counters.total, it.counters.gaps) == (1, 0)
    assert restarted(ledger()).read_newest(page(ok(100)), NOW) == [ok(100)]


def test_after_a_history_without_a_known_run_something_may_be_missing() -> None:
    """The only run at the first read was given up at once, so no known run can be reached."""
    it = ledger(running(NOW - ABANDONED_AFTER - 10))
    assert not it.under_way
    it.read_newest(page(ok(NOW)), NOW)
    assert (it.counters.total, it.counters.gaps) == (1, 1)


def test_all_runs_of_a_new_integration_count_after_a_restart() -> None:
    it = restarted(IntegrationLedger(floor=-math.inf))
    it.read_newest(page(ok(300), ok(200)), NOW)
    assert (it.counters.total, it.counters.gaps) == (2, 0)


# Pages


def test_a_page_without_rows_connects_to_nothing() -> None:
    """Its rows were unreadable. The next page may contain older runs that count."""
    it = ledger(ok(100))
    it.read_newest(page(ok(500), cursor="a"), NOW)
    it.read_older(page(cursor="b"), NOW)
    assert it.counters.total == 0
    assert it.next_cursor == "b"
    it.read_older(page(ok(300), ok(100)), NOW)
    assert (it.counters.total, it.counters.gaps) == (2, 0)


def test_a_page_older_than_all_kept_runs_connects() -> None:
    """All its runs started no later than runs that were counted and forgotten."""
    it = ledger(*(ok(100.0 + each) for each in range(40, 0, -1)))
    it.read_newest(page(ok(500), cursor="a"), NOW)
    it.read_older(page(ok(116), ok(115), cursor="b"), NOW)
    assert (it.counters.total, it.counters.gaps) == (1, 0)
    assert it.next_cursor is None


def test_a_page_with_one_younger_row_does_not_connect() -> None:
    """Other runs that count may follow that row."""
    it = ledger(*(ok(100.0 + each) for each in range(40, 0, -1)))
    it.read_newest(page(ok(500), cursor="a"), NOW)
    it.read_older(page(ok(400), ok(116), cursor="b"), NOW)
    assert it.counters.total == 0
    assert it.next_cursor == "b"


def test_the_search_at_the_first_read_ends_after_the_most_pages() -> None:
    """A run in progress on every page does not make the search endless."""
    it = IntegrationLedger()
    it.read_newest(page(running(500), running(300), cursor="1"), NOW)
    for number in range(2, MOST_PAGES + 1):
        assert it.next_cursor == str(number - 1)
        it.read_older(page(running(300), cursor=str(number)), NOW)
    assert it.next_cursor is None
    assert it.counters.gaps == 0


def test_the_newest_run_in_progress_does_not_start_a_search() -> None:
    """Only a run in progress behind a newer run can have others behind it."""
    it = ledger(running(300), ok(200), cursor="a")
    assert it.next_cursor is None
    assert ledger(ok(300), running(200), cursor="a").next_cursor == "a"
    assert ledger(ok(300), running(200)).next_cursor is None


def test_the_search_at_the_first_read_continues_from_any_row_of_later_pages() -> None:
    """On later pages the first row is also behind a newer run."""
    it = ledger(ok(500), running(400), cursor="a")
    it.read_older(page(running(300), ok(200), cursor="b"), NOW)
    assert it.next_cursor == "b"


def test_a_refused_cursor_restarts_at_the_newest_page() -> None:
    """The collected runs are kept and count once."""
    it = ledger(ok(100))
    it.read_newest(page(ok(500), ok(400), cursor="a"), NOW)
    it.read_older(page(ok(300), cursor="b"), NOW)
    it.restart_chain()
    assert it.next_cursor is None
    it.read_newest(page(ok(500), ok(400), cursor="x"), NOW)
    assert it.next_cursor == "x"
    it.read_older(page(ok(300), ok(100)), NOW)
    assert (it.counters.total, it.counters.gaps) == (3, 0)


def test_a_refused_cursor_ends_the_search_for_runs_in_progress() -> None:
    """The next search starts at the newest page."""
    it = ledger(running(500), running(400), cursor="a")
    it.restart_chain()
    assert it.next_cursor is None
    assert it.read_older(page(ok(50)), NOW) == []


def test_a_search_continues_after_a_restart() -> None:
    """A run on an older page that ended after the first read counts."""
    it = restarted(ledger(ok(500), running(400), cursor="a"))
    assert it.next_cursor == "a"
    counted = it.read_older(page(ok(300, NOW + 50), ok(200)), NOW + 100)
    assert counted == [ok(300, NOW + 50)]
    assert it.counters.total == 1
    assert it.summary.history_start == 200


# Runs in progress


def test_a_run_is_given_up_after_a_week_and_not_before() -> None:
    """Exactly a week is not too long."""
    it = ledger(running(NOW - 10), ok(200))
    it.expire(NOW - 10 + ABANDONED_AFTER)
    assert it.counters.gaps == 0
    assert len(it.under_way) == 1
    it.expire(NOW - 9 + ABANDONED_AFTER)
    assert it.counters.gaps == 1
    assert not it.under_way


def test_a_run_that_is_given_up_is_no_longer_shown() -> None:
    """The cached summary is updated."""
    it = ledger(running(NOW - 10), ok(200))
    assert it.summary.running
    it.expire(NOW + ABANDONED_AFTER)
    assert not it.summary.running


def test_a_run_in_progress_is_overlooked_only_behind_a_younger_one() -> None:
    """The newest run may simply take longer than usual."""
    it = ledger(running(300), ok(200), ok(100), ok(50))
    assert not it.overlooked(NOW)
    assert ledger(ok(400), running(300), ok(200), ok(100)).overlooked(NOW)
    assert not ledger(ok(300), running(300), ok(200), ok(100)).overlooked(NOW)


def test_a_run_in_progress_is_overlooked_only_after_its_usual_duration() -> None:
    """Before that it may still be running."""
    it = ledger(ok(400, 500), running(300), ok(200, 300), ok(100, 200))
    assert not it.overlooked(400)
    assert it.overlooked(401)


def test_a_page_with_all_known_runs_in_progress_counts_as_a_search() -> None:
    """The next search is due five minutes later."""
    rows = (ok(400), running(300), ok(200), ok(100))
    it = ledger(*rows)
    for now in (NOW, NOW + 100):
        it.read_newest(page(*rows), now)
    assert not it.overlooked(NOW + 399)
    assert it.overlooked(NOW + 400)


def test_nothing_is_overlooked_without_a_run_in_progress_or_while_older_pages_are_read() -> None:
    """There is no run to search for, or the search is already running."""
    assert not ledger(ok(400), ok(300)).overlooked(NOW)
    it = ledger(ok(400), running(300), cursor="a")
    assert it.next_cursor == "a"
    assert not it.overlooked(NOW)
    chain = ledger(ok(400), running(300))
    chain.read_newest(page(ok(600), cursor="a"), NOW)
    assert chain.catching_up
    assert not chain.overlooked(NOW)


def test_a_run_that_the_next_page_may_hold_is_not_given_up() -> None:
    """It started at the same time as the newest row of the last page, or earlier."""
    it = ledger(ok(400), running(300), ok(200))
    younger = [ok(1000.0 + each) for each in range(3)]
    it.read_newest(page(*reversed(younger), ok(400), cursor="a"), NOW)
    assert it.next_cursor == "a"
    it.read_older(page(ok(300), cursor="b"), NOW)
    assert it.counters.gaps == 0
    assert it.under_way == []


def test_a_run_that_pages_before_its_start_do_not_show_is_given_up() -> None:
    """The history is ordered by start, so the run is no longer in it."""
    it = ledger(ok(400), running(300), ok(200))
    younger = [ok(1000.0 + each) for each in range(3)]
    it.read_newest(page(*reversed(younger), ok(400), cursor="a"), NOW)
    it.read_older(page(ok(200), cursor="b"), NOW)
    assert it.counters.gaps == 1
    assert it.next_cursor is None


def test_a_run_that_a_page_with_newer_and_older_rows_lacks_is_not_given_up_yet() -> None:
    """Only a page that is older as a whole proves that the run has left the history."""
    it = ledger(ok(400), running(300), ok(200))
    it.read_newest(page(ok(1002), ok(1001), ok(1000), ok(400), ok(200), cursor="a"), NOW)
    assert it.counters.gaps == 0
    assert it.next_cursor == "a"


def test_a_run_that_started_with_the_newest_row_of_a_page_is_not_given_up() -> None:
    """Rows with the same start may be split between two pages."""
    it = ledger(ok(400), running(300), ok(200))
    it.read_newest(page(ok(1002), ok(1001), ok(1000), ok(400), cursor="a"), NOW)
    it.read_older(page(Run(Status.SUCCESS, finish=300.0), cursor="b"), NOW)
    assert it.counters.gaps == 0
    assert it.next_cursor == "b"


def test_the_search_for_a_run_in_progress_ends_after_the_most_pages() -> None:
    """The run is then neither found nor given up."""
    it = ledger(ok(400), running(300), ok(200))
    it.read_newest(page(ok(1000), ok(400), cursor="1"), NOW)
    for number in range(2, MOST_PAGES + 1):
        assert it.next_cursor == str(number - 1)
        it.read_older(page(ok(350), cursor=str(number)), NOW)
    assert it.next_cursor is None
    assert it.counters.gaps == 0


def test_without_a_usual_duration_a_run_in_progress_should_end_at_once() -> None:
    """Two runs are not enough for a usual duration."""
    assert ledger(ok(400), running(300)).overlooked(300.5)


def test_one_overlooked_run_in_progress_is_enough() -> None:
    """The newest run, which is also running, is not overlooked."""
    assert ledger(running(500), ok(400), running(300)).overlooked(NOW) is True
    assert ledger(running(500), ok(400)).overlooked(NOW) is False


# Counters


def test_rows_of_counted_runs_are_added() -> None:
    """A run without row counts adds none."""
    it = ledger(ok(100))
    without_rows = Run(Status.SUCCESS, 400.0, 460.0)
    first = Run(Status.PARTIAL, 300.0, 360.0, rows_synced=20, rows_failed=3)
    second = Run(Status.PARTIAL, 200.0, 260.0, rows_synced=5, rows_failed=4)
    it.read_newest(page(without_rows, first, second, ok(100)), NOW)
    assert (it.counters.rows_synced, it.counters.rows_failed) == (25, 7)


def test_a_run_that_had_ended_at_the_first_read_is_not_counted_from_an_older_page() -> None:
    """This includes a run that ended exactly at the first read."""
    it = ledger(ok(500), running(400), cursor="a")
    assert it.read_older(page(ok(300, NOW), ok(200)), NOW + 100) == []


def test_a_run_that_shares_the_oldest_start_of_the_first_page_counts_when_it_has_ended() -> None:
    """The next page shows it together with the run from the first page."""
    it = ledger(ok(500), running(400), cursor="a")
    other = ok(400, NOW + 50)
    assert it.read_older(page(running(400), other, ok(200)), NOW + 100) == [other]


def test_before_the_first_read_no_run_is_in_progress() -> None:
    assert IntegrationLedger().summary.undated_running == 0


# Summary


def test_the_history_starts_with_the_oldest_run_of_all_pages() -> None:
    """This run may no longer be kept."""
    it = ledger(ok(300), ok(100), ok(200))
    assert it.summary.history_start == 100
    for number in range(1, 60):
        it.read_newest(page(ok(1000.0 * number), ok(1000.0 * (number - 1) or 300)), NOW)
    assert it.summary.history_start == 100
    assert restarted(it).summary.history_start == 100


def test_a_history_without_starts_has_no_start() -> None:
    """The only run may have a finish but no start."""
    assert ledger(Run(Status.SUCCESS, finish=200.0)).summary.history_start is None
    assert ledger().summary.history_start is None


def test_typical_values_are_those_of_the_last_twenty_runs() -> None:
    """Ten runs take 100 s and ten take 200 s. The run before them is ignored."""
    lasting = [200] * 11 + [100] * 10
    runs = [ok(1000.0 * at, 1000.0 * at + each) for at, each in enumerate(lasting, 1)]
    assert ledger(*reversed(runs)).summary.typical_duration == 150


def test_the_typical_interval_has_no_error_of_binary_fractions() -> None:
    """Braze sends microseconds, which a double cannot represent exactly for today's dates."""
    runs = [ok(1_790_000_000 + each, 1_790_000_100) for each in (0.1, 0.4, 0.7)]
    assert ledger(*reversed(runs)).summary.typical_interval == 0.3


def test_the_last_success_is_the_newest_of_those_kept_and_forgotten() -> None:
    """A kept run finished later than all forgotten ones."""
    it = ledger(*(ok(1000.0 * each) for each in range(30, 0, -1)))
    assert len(it.runs) < 30
    assert it.summary.last_success == it.summary.last_delivery == 30_060


def test_the_newest_of_several_deliveries_on_older_pages_is_known() -> None:
    """The order in which they finished does not matter."""
    it = IntegrationLedger()
    it.read_newest(page(running(900), running(800), cursor="a"), NOW)
    rows = (running(700), ok(600), ok(500, 950), partial(400), partial(300))
    it.read_older(page(*rows, cursor="b"), NOW)
    assert (it.summary.last_success, it.summary.last_delivery) == (950, 950)
    other = IntegrationLedger()
    other.read_newest(page(running(900), running(800), cursor="a"), NOW)
    other.read_older(page(running(700), partial(600), partial(500), ok(400), cursor="b"), NOW)
    assert (other.summary.last_success, other.summary.last_delivery) == (460, 660)


def test_runs_that_are_collected_show_before_they_count() -> None:
    """A known run is shown as on the newest page, and each run is shown once."""
    it = ledger(running(300), ok(200))
    it.read_newest(page(ok(500), failed(400), failed(300), cursor="a"), NOW)
    assert it.counters.total == 0
    shown = it.summary
    assert shown.last == ok(500)
    assert not shown.running
    assert [run.start for run in shown.recent] == [200, 300, 400, 500]
    starts = [run.start or 0 for run in shown.recent]
    assert all(earlier < later for earlier, later in pairwise(starts))


def test_a_run_in_progress_that_no_page_shows_is_still_shown() -> None:
    """The other run has ended, which is shown before it is counted."""
    it = ledger(running(300), running(300), ok(100))
    it.read_newest(page(ok(700), ok(300, 360), cursor="a"), NOW)
    assert it.counters.total == 0
    assert it.summary.running == (running(300),)
    assert ok(300, 360) in it.summary.recent


def test_at_the_first_read_no_run_is_counted() -> None:
    """The result of a read is always a list."""
    assert IntegrationLedger().read_newest(page(ok(100)), NOW) == []


# Matching rows with runs


def test_a_finish_that_was_corrected_belongs_to_no_run() -> None:
    """A row with only the old finish is another run."""
    it = ledger(ok(100))
    it.read_newest(page(ok(500), ok(300, 360), cursor="a"), NOW)
    it.read_older(page(ok(300, 400), cursor="b"), NOW)
    it.read_older(page(Run(Status.SUCCESS, finish=360.0), ok(100)), NOW)
    assert it.counters.total == 3


def test_each_row_matches_the_most_similar_of_two_runs_with_one_start() -> None:
    """The order of the rows on the page does not matter."""
    it = ledger(running(300), failed(300), ok(100))
    it.read_newest(page(failed(300), running(300), ok(100)), NOW)
    assert it.counters.total == 0
    assert it.under_way == [running(300)]


def test_a_finished_row_matches_the_run_in_progress_of_two_with_one_start() -> None:
    """The row's finish differs from that of the finished run, so it is not a correction of it."""
    it = ledger(failed(300), running(300), ok(100))
    it.read_newest(page(ok(300, 400), ok(100)), NOW)
    assert it.counters.total == 1
    assert it.under_way == []


def test_a_third_run_with_one_start_and_finish_is_counted() -> None:
    """The two known runs are each on the page once."""
    it = ledger(ok(300), failed(300), ok(100))
    it.read_newest(page(ok(300), failed(300), ok(300, 500), ok(100)), NOW)
    assert it.counters.total == 1


def test_a_row_that_could_be_either_of_two_runs_is_a_third_run() -> None:
    """Both runs finished at that time, and the row has no start."""
    it = ledger(ok(300, 360), ok(200, 360), ok(100))
    it.read_newest(page(ok(300, 360), ok(200, 360), ok(100)), NOW)
    it.read_newest(page(Run(Status.SUCCESS, finish=360.0), ok(100)), NOW)
    assert it.counters.total == 1
    assert len(it.runs) == 4


def test_the_rows_of_the_run_that_is_new_are_counted() -> None:
    """It is the run whose finish no known run has."""
    it = ledger(ok(300, 360, rows=1), ok(300, 400, rows=2), ok(100))
    it.read_newest(page(ok(300, 500, rows=50), ok(300, 360), ok(300, 400, rows=2), ok(100)), NOW)
    assert it.counters.rows_synced == 50


def test_two_runs_with_one_start_may_end_on_different_pages() -> None:
    """Two runs in progress are known, so the second row is not a correction of the first."""
    it = ledger(running(300), running(300), ok(100))
    it.read_newest(page(ok(700), ok(300, 360), cursor="a"), NOW)
    it.read_older(page(ok(300, 400), ok(100)), NOW)
    assert it.counters.total == 3


def test_one_of_two_runs_in_progress_with_one_start_ends() -> None:
    """The other one is still running."""
    it = ledger(running(300), running(300), ok(100))
    it.read_newest(page(running(300), ok(300, 360), ok(100)), NOW)
    assert it.counters.total == 1
    assert it.under_way == [running(300)]


def test_a_run_without_a_start_next_to_one_with_its_finish_has_no_duration() -> None:
    """One page contains both, so they are two runs."""
    it = ledger(WHOLE, ok(100))
    it.read_newest(page(WHOLE, WITHOUT_START, ok(100)), NOW)
    assert (it.counters.total, it.counters.duration_count) == (1, 0)


def test_a_corrected_run_is_still_one_of_two_with_its_finish() -> None:
    """A row with only that finish could be either of them, so it is a third run."""
    it = ledger(ok(100))
    it.read_newest(page(ok(300, 360), ok(200, 360), cursor="a"), NOW)
    it.read_newest(page(ok(300, 360, rows=9), cursor="a"), NOW)
    it.read_older(page(Run(Status.SUCCESS, finish=360.0), ok(100)), NOW)
    assert it.counters.total == 3


def test_a_known_run_whose_finish_is_corrected_to_that_of_another_is_still_the_same_run() -> None:
    """The other run has a finish but no start."""
    it = ledger(Run(Status.SUCCESS, finish=400.0), ok(300, 360), ok(100))
    it.read_newest(page(ok(300, 400, rows=9), ok(100)), NOW)
    assert ok(300, 400, rows=9) in it.runs
    assert Run(Status.SUCCESS, finish=400.0) in it.runs
    assert it.counters.total == 0


def test_a_run_that_was_forgotten_is_not_counted_when_it_is_shown_again() -> None:
    """This holds after a long run, which started earlier, was forgotten later."""
    it = ledger(*(ok(100.0 * each) for each in range(30, 0, -1)), running(50))
    it.read_newest(page(ok(50, 5000), ok(3000)), NOW)
    before = ok(3000)
    for number in range(40):
        newest = ok(6000.0 + 100 * number)
        it.read_newest(page(newest, before), NOW)
        before = newest
        total = it.counters.total
        it.read_newest(page(newest, ok(1000)), NOW)
        assert it.counters.total == total
