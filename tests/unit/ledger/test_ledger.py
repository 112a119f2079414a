"""How the ledger counts and summarises particular histories."""

import math
from dataclasses import replace

import pytest

from cdi_exporter.ledger import ABANDONED_AFTER, MOST_PAGES, IntegrationLedger
from cdi_exporter.model import FINISHED_STATUSES, HistoryPage, Run, Status
from cdi_exporter.workspace.record import Knowledge, Record

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
    """A ledger that has read one page."""
    made = IntegrationLedger()
    made.read_newest(page(*runs, cursor=cursor), NOW)
    return made


def test_the_baseline_is_not_counted() -> None:
    """Runs that exist at the first read are known and not counted."""
    it = ledger(ok(300), ok(200), ok(100))
    assert it.counters.total == 0
    assert it.summary.last == ok(300)


def test_a_run_in_progress_at_the_first_read_counts_when_it_ends() -> None:
    """It finishes after the integration was first read."""
    it = ledger(running(300), ok(200))
    assert it.read_newest(page(ok(300), ok(200)), NOW) == [ok(300)]
    assert it.counters.total == 1
    assert not it.summary.running


def test_all_runs_of_a_new_integration_count() -> None:
    """If everything counts, all pages of the history are read and counted."""
    it = IntegrationLedger(floor=-math.inf)
    assert it.read_newest(page(ok(300), ok(200), cursor="c"), NOW) == []
    assert it.next_cursor == "c"
    assert len(it.read_older(page(ok(100)), NOW)) == 3
    assert it.counters.gaps == 0


def test_an_empty_history_is_a_baseline_too() -> None:
    """After an empty history all later runs count."""
    it = ledger()
    it.read_newest(page(ok(100)), NOW)
    assert it.counters.total == 1


def test_counters_wait_until_the_chain_connects() -> None:
    """Gauges change with the newest page; counters change once a known run is reached."""
    it = ledger(ok(100))
    it.read_newest(page(ok(500), ok(400), cursor="a"), NOW)
    assert it.counters.total == 0
    assert it.summary.last == ok(500)
    it.read_older(page(ok(300), ok(200), cursor="b"), NOW)
    assert it.counters.total == 0
    counted = it.read_older(page(ok(100)), NOW)
    assert [run.start for run in counted] == [200, 300, 400, 500]
    assert it.counters.total == 4
    assert not it.catching_up


def test_rows_that_shift_over_a_page_border_count_once() -> None:
    """A run that is added between two reads moves other runs to the next page."""
    it = ledger(ok(100))
    it.read_newest(page(ok(500), ok(400), ok(300), cursor="a"), NOW)
    it.read_older(page(ok(300), ok(200), ok(100)), NOW)
    assert it.counters.total == 4


def test_an_interrupted_chain_is_resumed_where_it_was() -> None:
    """After an interruption the newest page is read again, and the old cursor is used."""
    it = ledger(ok(100))
    it.read_newest(page(ok(500), ok(400), cursor="a"), NOW)
    it.read_older(page(ok(300), cursor="b"), NOW)
    it.read_newest(page(ok(600), ok(500), cursor="a"), NOW)
    assert it.next_cursor == "b"
    it.read_older(page(ok(200), ok(100)), NOW)
    assert it.counters.total == 5


def test_a_chain_that_no_longer_overlaps_starts_again() -> None:
    """If the newest page shares no run with the collected ones, reading restarts at its end."""
    it = ledger(ok(100))
    it.read_newest(page(ok(500), cursor="a"), NOW)
    it.read_newest(page(ok(700), cursor="x"), NOW)
    assert it.next_cursor == "x"
    it.read_older(page(ok(600), ok(500), cursor="y"), NOW)
    it.read_older(page(ok(300), ok(100)), NOW)
    assert it.counters.total == 4


def test_the_end_of_history_before_a_known_run_is_a_gap() -> None:
    """Runs that Braze no longer lists may be lost; listed runs count."""
    it = ledger(ok(100))
    it.read_newest(page(ok(500), ok(400)), NOW)
    assert it.counters.total == 2
    assert it.counters.gaps == 1


def test_too_many_pages_are_a_gap() -> None:
    """Runs beyond the last page that is read may be lost."""
    it = ledger(ok(100))
    it.read_newest(page(ok(1e6), cursor="0"), NOW)
    for number in range(1, MOST_PAGES):
        assert it.counters.gaps == 0
        it.read_older(page(ok(1e6 - number), cursor=str(number)), NOW)
    assert it.counters.gaps == 1
    assert it.counters.total == MOST_PAGES
    assert it.next_cursor is None


def test_an_emptied_history_is_not_a_gap() -> None:
    """Old runs of an idle integration may leave the history without a loss."""
    it = ledger(ok(100))
    it.read_newest(page(), NOW)
    assert it.counters.gaps == 0


def test_a_run_reported_with_other_numbers_is_not_counted_again() -> None:
    """The newest values are shown; the counters do not change."""
    it = ledger(ok(100))
    it.read_newest(page(ok(200, rows=5), ok(100)), NOW)
    it.read_newest(page(ok(200, finish=280, rows=9), ok(100)), NOW)
    assert it.counters.total == 1
    assert it.counters.rows_synced == 5
    assert it.summary.last == ok(200, finish=280, rows=9)


def test_runs_sharing_a_start_time_on_one_page_are_counted_separately() -> None:
    """Rows with the same start are one run, unless one page contains both."""
    it = ledger(ok(100))
    it.read_newest(page(ok(200), failed(200), ok(100)), NOW)
    assert (it.counters.success, it.counters.error) == (1, 1)
    it.read_newest(page(failed(200), ok(100)), NOW)
    assert it.counters.total == 2


def test_a_long_run_that_ends_after_younger_ones_counts() -> None:
    """It is known as running and is not forgotten."""
    it = ledger(running(100), ok(50))
    younger = [ok(100 + 10 * number, 105 + 10 * number) for number in range(9, 0, -1)]
    it.read_newest(page(*younger, running(100), cursor="c"), NOW)
    it.read_older(page(ok(50)), NOW)
    assert it.counters.total == 9
    assert it.summary.running == (running(100),)
    it.read_newest(page(*younger, ok(100, 9999), cursor="c"), NOW)
    assert it.counters.total == 10


def test_a_run_hidden_behind_newer_ones_is_searched_for() -> None:
    """The search starts after its typical end, and repeats at most every five minutes."""
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


def test_overtaken_runs_are_searched_for_at_the_first_read() -> None:
    """If a run in progress is older than another run on a page, the next page is read."""
    it = IntegrationLedger()
    it.read_newest(page(running(500), running(400), cursor="a"), NOW)
    assert it.next_cursor == "a"
    it.read_older(page(running(300), ok(200), cursor="b"), NOW)
    it.read_older(page(ok(100), ok(50), cursor="c"), NOW)
    assert it.next_cursor is None
    assert len(it.summary.running) == 3
    assert it.counters.total == 0


def test_a_lookback_does_not_count_forgotten_runs_again() -> None:
    """A run that was counted and dropped as too old is not counted when a page shows it again."""
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


def test_a_lookback_does_not_count_runs_that_no_chain_has_reached() -> None:
    """Runs that moved to an older page are counted by the chain from the newest page."""
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


def test_a_run_that_leaves_the_history_while_in_progress_is_a_gap() -> None:
    """Its result will never be known."""
    it = ledger(running(300), ok(200))
    it.read_newest(page(ok(400), ok(200)), NOW)
    assert it.counters.gaps == 1
    assert not it.summary.running
    assert it.counters.total == 1


def test_a_run_that_never_ends_is_given_up() -> None:
    """After a week it is a gap, and does not return."""
    it = ledger(running(NOW - 10), ok(200))
    it.expire(NOW + ABANDONED_AFTER - 11)
    assert it.counters.gaps == 0
    it.expire(NOW + ABANDONED_AFTER)
    assert it.counters.gaps == 1
    it.read_newest(page(running(NOW - 10), ok(200)), NOW + ABANDONED_AFTER)
    assert not it.summary.running
    it.expire(NOW + ABANDONED_AFTER + 1)
    assert it.counters.gaps == 1


def test_a_newest_row_without_times_is_shown_but_not_counted() -> None:
    """It changes only the last status and the consecutive failures."""
    it = ledger(ok(100))
    undated = Run(Status.CONFIG_ERROR)
    it.read_newest(page(ok(100), undated=undated), NOW)
    assert it.summary.last == undated
    assert it.summary.consecutive_failures == 1
    assert it.counters.total == 0


def test_failures_in_a_row_include_dropped_runs() -> None:
    """Failures are still counted when their runs are no longer kept."""
    it = ledger(ok(0.5))
    for number in range(1, 60):
        rows = [failed(number * 10), failed(number * 10 - 10) if number > 1 else ok(0.5)]
        it.read_newest(page(*rows, cursor="more"), NOW)
    assert it.summary.consecutive_failures == 59
    assert it.summary.last_success == 60.5
    it.read_newest(page(ok(1000), failed(590), cursor="more"), NOW)
    assert it.summary.consecutive_failures == 0


def test_typical_values_are_medians_of_at_least_three() -> None:
    """Two runs are not enough for a typical value."""
    two = ledger(ok(200), ok(100)).summary
    assert (two.typical_interval, two.typical_duration, two.typical_rows) == (None, None, None)
    it = ledger(ok(1000, 1100, 7), ok(400, 440, 3), ok(100, 120, 5)).summary
    assert (it.typical_interval, it.typical_duration, it.typical_rows) == (450, 40, 5)


def test_runs_are_ordered_by_finish() -> None:
    """The last sync is the one that finished last, not the one that started last."""
    it = ledger(ok(200, 210), ok(100, 500))
    assert it.summary.last == ok(100, 500)


@pytest.mark.parametrize("status", [Status.ERROR, Status.CONFIG_ERROR])
def test_a_run_without_a_finish_is_ordered_by_its_start(status: Status) -> None:
    """A row with a final status and only a start is a finished run."""
    it = ledger(ok(100))
    it.read_newest(page(Run(status, 300), ok(100)), NOW)
    assert it.summary.last == Run(status, 300)
    assert it.counters.total == 1
    assert it.counters.duration_count == 0


def test_a_row_with_only_a_finish_is_identified_by_it() -> None:
    """It counts once although it is read twice."""
    it = ledger(ok(100))
    only_finish = Run(Status.SUCCESS, finish=900)
    for _ in range(2):
        it.read_newest(page(only_finish, ok(100)), NOW)
    assert it.counters.total == 1


def test_an_unknown_status_is_over_once_it_has_a_finish() -> None:
    """Without a finish the run is still running."""
    it = ledger(ok(100))
    it.read_newest(page(Run(Status.UNKNOWN, 200), ok(100)), NOW)
    assert it.counters.total == 0
    assert len(it.summary.running) == 1
    it.read_newest(page(Run(Status.UNKNOWN, 200, 300), ok(100)), NOW)
    assert it.counters.unknown == 1


WHOLE, WITHOUT_START = ok(200, 260), Run(Status.SUCCESS, None, 260.0, rows_synced=1)


@pytest.mark.parametrize("rows", [(WITHOUT_START, WHOLE), (WHOLE, WITHOUT_START)])
def test_a_start_that_appears_or_disappears_is_not_a_second_run(rows: tuple[Run, Run]) -> None:
    """A row with a known finish is the same run, whether counted, baseline or not yet connected."""
    first, second = rows
    counted = ledger(ok(100))
    for row in (first, second, first, second):
        counted.read_newest(page(row, ok(100)), NOW)
    assert counted.counters.total == 1
    assert len(counted.summary.recent) == 2
    baseline = ledger(first, ok(100))
    baseline.read_newest(page(ok(300), second, ok(100)), NOW)
    assert baseline.counters.total == 1
    apart = ledger(ok(100))
    apart.read_newest(page(ok(300), first, cursor="a"), NOW)
    apart.read_older(page(second, ok(100)), NOW)
    assert apart.counters.total == 2


def test_a_start_is_kept_if_later_rows_lack_it() -> None:
    """The run keeps its start and duration, and takes its other values from the newer row."""
    it = ledger(ok(100))
    it.read_newest(page(WHOLE, ok(100)), NOW)
    it.read_newest(page(replace(WITHOUT_START, rows_synced=9), ok(100)), NOW)
    assert it.summary.last == replace(WHOLE, rows_synced=9)


def test_runs_sharing_a_finish_on_one_page_are_counted_separately() -> None:
    """This holds even if one row has only the finish of the other."""
    it = ledger(ok(100))
    it.read_newest(page(WHOLE, WITHOUT_START, ok(100)), NOW)
    assert it.counters.total == 2
    it.read_newest(page(WHOLE, WITHOUT_START, ok(100)), NOW)
    assert it.counters.total == 2


# The watermark


FAR = 4_070_908_800.0
"""2099, which UPDATED_AT of a warehouse may contain."""


def marked(start: float, watermark: float | None, finish: float | None = None) -> Run:
    return replace(ok(start, finish), watermark=watermark)


def restarted(it: IntegrationLedger) -> IntegrationLedger:
    """The ledger after a restart with a state file."""
    record = Record.from_json(Record(Knowledge(it.state())).to_json())
    return IntegrationLedger.restore(record.knowledge.ledger)


def test_the_watermark_is_that_of_the_newest_run() -> None:
    """The newest one is not the greatest: a date in 2099 is corrected by the next run."""
    it = ledger(marked(100, 90))
    it.read_newest(page(marked(200, FAR), marked(100, 90)), NOW)
    assert it.summary.watermark == FAR
    it = restarted(it)
    it.read_newest(page(marked(300, 290), marked(200, FAR)), NOW)
    assert it.summary.watermark == 290
    assert restarted(it).summary.watermark == 290


def test_a_run_without_a_watermark_keeps_the_previous_one() -> None:
    """Failed runs sync no rows, and runs in progress have not finished."""
    under_way = Run(Status.RUNNING, 300, watermark=299)
    it = ledger(under_way, failed(200), marked(100, 90), marked(50, FAR))
    assert it.summary.watermark == 90


def test_the_newest_run_is_the_one_that_finished_last() -> None:
    """A long run that started earlier may finish later."""
    assert ledger(marked(200, 190, 210), marked(100, 95, 500)).summary.watermark == 95
    startless = replace(marked(100, 80), start=None, finish=900.0)
    assert ledger(marked(800, 790, 850), startless).summary.watermark == 80
    unfinished = Run(Status.ERROR, 700, watermark=70)
    assert ledger(unfinished, marked(600, 60, 690)).summary.watermark == 70


def test_a_run_reported_again_changes_the_watermark() -> None:
    """The newest values are shown."""
    it = ledger(marked(100, FAR))
    it.read_newest(page(marked(100, 95)), NOW)
    assert it.summary.watermark == 95


def test_the_watermark_of_a_dropped_run_is_kept_until_a_newer_one_arrives() -> None:
    """After many failed runs it is still the last known watermark, also after a restart."""
    it = ledger(marked(2, FAR), marked(1, 0.5))
    for number in range(1, 80):
        newest = failed(number * 100)
        before = failed(number * 100 - 100) if number > 1 else marked(2, FAR)
        it.read_newest(page(newest, before, cursor="more"), NOW)
    assert it.summary.watermark == FAR
    it = restarted(it)
    assert it.summary.watermark == FAR
    it.read_newest(page(marked(9000, 8990), failed(7900), cursor="more"), NOW)
    assert it.summary.watermark == 8990
    for number in range(91, 160):
        newest, before = failed(number * 100), failed(number * 100 - 100)
        it.read_newest(page(newest, before if number > 91 else marked(9000, 8990)), NOW)
    assert restarted(it).summary.watermark == 8990


def test_older_pages_at_the_first_read_do_not_change_the_watermark() -> None:
    """They are only read to find runs in progress."""
    it = IntegrationLedger()
    it.read_newest(page(running(900), running(800), failed(700), cursor="a"), NOW)
    it.read_older(page(running(600), marked(500, 490), marked(400, FAR), cursor="b"), NOW)
    it.read_older(page(marked(300, FAR), marked(200, 190)), NOW)
    assert it.summary.watermark == 490
    assert restarted(it).summary.watermark == 490


# Deliveries and failures


def test_a_partial_run_is_a_delivery() -> None:
    """Its rows were delivered; the last success is older."""
    it = ledger(failed(300), failed(200, Status.PARTIAL), ok(100))
    assert it.summary.last_delivery == 260
    assert it.summary.last_success == 160


def test_the_last_delivery_outlives_the_runs_that_are_kept() -> None:
    """This also holds after restarts, and for older pages at the first read."""
    it = ledger(failed(1, Status.PARTIAL), ok(0.5))
    for number in range(1, 60):
        before = failed(number * 10 - 10) if number > 1 else failed(1, Status.PARTIAL)
        it.read_newest(page(failed(number * 10), before, cursor="more"), NOW)
    assert (it.summary.last_delivery, it.summary.last_success) == (61, 60.5)
    assert restarted(it).summary.last_delivery == 61
    first = IntegrationLedger()
    first.read_newest(page(running(900), running(800), cursor="a"), NOW)
    first.read_older(page(running(600), failed(500, Status.PARTIAL), ok(400), cursor="b"), NOW)
    assert first.summary.last_delivery == 560


UNKNOWN = Status.UNKNOWN


@pytest.mark.parametrize(
    ("statuses", "failures"),
    [
        ("u", 0),
        ("eu", 1),
        ("eue", 2),
        ("euuceu", 3),
        ("seue", 2),
        ("epu", 0),
        ("sue", 1),
        ("usu", 0),
    ],
)
def test_an_unknown_status_neither_counts_nor_ends_a_series(statuses: str, failures: int) -> None:
    """Letters from the oldest run on: success, partial, error, config error, unknown."""
    by_letter = {each.value[0]: each for each in FINISHED_STATUSES}
    runs = [failed(100.0 * at, by_letter[each]) for at, each in enumerate(statuses, 1)]
    it = ledger(*reversed(runs))
    assert it.summary.consecutive_failures == failures
    assert restarted(it).summary.consecutive_failures == failures


def test_a_series_of_failures_includes_runs_that_are_no_longer_kept() -> None:
    """Every third run has an unknown status, and none delivers."""
    it = ledger(ok(0.5))
    history: list[Run] = [ok(0.5)]
    for number in range(1, 90):
        history.insert(0, failed(number * 10, UNKNOWN if number % 3 == 0 else Status.ERROR))
        it.read_newest(page(*history[:2], cursor="more"), NOW)
        if number % 20 == 0:
            it = restarted(it)
    assert it.summary.consecutive_failures == 60
    it.read_newest(page(failed(1000, Status.PARTIAL), history[0], cursor="more"), NOW)
    assert it.summary.consecutive_failures == 0


def test_an_undated_failure_adds_to_a_series_across_an_unknown_status() -> None:
    """It counts as the newest run."""
    it = ledger(failed(200, UNKNOWN), failed(100))
    it.read_newest(page(failed(200, UNKNOWN), failed(100), undated=Run(Status.ERROR)), NOW)
    assert it.summary.consecutive_failures == 2


# Times that cannot be read


def test_a_run_in_progress_is_not_given_up_while_rows_cannot_be_identified() -> None:
    """An unidentified row may be that run. Once it is readable, it counts once."""
    it = ledger(running(300), ok(200))
    it.read_newest(page(ok(400), ok(200), unidentified=1), NOW)
    assert it.counters.gaps == 0
    assert it.summary.running == (running(300),)
    it = restarted(it)
    it.read_newest(page(ok(400), ok(300), ok(200)), NOW + 1000)
    assert (it.counters.total, it.counters.gaps) == (2, 0)
    assert not it.summary.running


def test_a_chain_with_unidentified_rows_gives_up_no_run() -> None:
    """A restart during the catch-up does not change this."""
    it = ledger(running(50), ok(40))
    it.read_newest(page(ok(500), ok(400), cursor="a", unidentified=2), NOW)
    it = restarted(it)
    it.read_older(page(ok(300), ok(40)), NOW)
    assert (it.counters.total, it.counters.gaps) == (3, 0)
    assert it.summary.running == (running(50),)
    assert it.next_cursor is None
