"""The ledger against a model of an integration's history, through the real wire format."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cdi_exporter.braze.wire import read_history
from cdi_exporter.ledger import KEPT_RUNS, IntegrationLedger
from cdi_exporter.model import HistoryPage
from cdi_exporter.workspace.record import Knowledge, Record

PAGE = 10
STATUSES = ("success", "Partial", "error", "config_error", "a new one")


@dataclass(eq=False)
class ModelRun:
    """A run in the model."""

    start: float
    finish: float | None = None
    status: str = "running"
    rows: int = 0
    watermark: float | None = None
    unreadable: bool = False
    """Whether its times are in an unreadable format at the moment."""
    baseline: bool = False
    shown: bool = False
    """Whether a page has shown it as finished."""
    without_start: bool = False

    def row(self) -> dict[str, object]:
        """The run as a row of Braze's response."""
        start = None if self.without_start else self.time(self.start)
        row: dict[str, object] = {"job_status": self.status, "sync_start_time": start}
        if self.finish is not None:
            row |= {
                "sync_finish_time": self.time(self.finish),
                "last_timestamp_synced": self.watermark and iso(self.watermark),
                "rows_synced": self.rows,
                "rows_failed_with_errors": None,
            }
        return row

    def time(self, seconds: float) -> object:
        """A time in Braze's format, or in an unreadable one."""
        return seconds if self.unreadable else iso(seconds)


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


class LedgerMachine(RuleBasedStateMachine):
    """Runs start, end, overlap and change while pages are read in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0
        self.runs: list[ModelRun] = []
        self.ledger = IntegrationLedger()
        self.seen = False
        self.counted = 0
        self.rows_counted = 0
        self.last_totals = 0

    @initialize(before=st.integers(0, 35), new=st.booleans(), running=st.booleans())
    def world(self, before: int, new: bool, running: bool) -> None:
        for _ in range(before):
            self.start_run()
            self.end_youngest()
        if running and not new:
            self.start_run()
        self.ledger = IntegrationLedger(floor=-math.inf if new else None)
        for run in self.runs:
            run.baseline = not new and run.finish is not None

    # The workspace

    def start_run(self) -> None:
        self.now += 60
        self.runs.append(ModelRun(self.now))

    def end_youngest(self) -> None:
        self.now += 10
        run = self.under_way()[-1]
        run.finish, run.status, run.rows = self.now, "success", 7

    def under_way(self) -> list[ModelRun]:
        return [run for run in self.runs if run.finish is None]

    @rule()
    def starts_a_run(self) -> None:
        if self.seen or len(self.under_way()) < 3:
            self.start_run()

    @precondition(lambda self: self.under_way())
    @rule(
        data=st.data(),
        status=st.sampled_from(STATUSES),
        rows=st.integers(0, 99),
        watermark=st.none() | st.integers(1, 10**9),
    )
    def ends_a_run(
        self, data: st.DataObject, status: str, rows: int, watermark: float | None
    ) -> None:
        self.now += 5
        run = data.draw(st.sampled_from(self.under_way()))
        run.finish, run.status, run.rows, run.watermark = self.now, status, rows, watermark
        run.baseline = not self.seen and self.ledger.floor is None

    @rule(count=st.integers(1, 45))
    def many_runs_finish(self, count: int) -> None:
        for _ in range(count):
            self.start_run()
            self.end_youngest()
            self.runs[-1].baseline = not self.seen and self.ledger.floor is None

    @precondition(lambda self: any(run.finish for run in self.runs))
    @rule(data=st.data(), rows=st.integers(100, 199))
    def is_shown_with_other_numbers(self, data: st.DataObject, rows: int) -> None:
        """One of the newest finished runs gets other row counts, as a correction by Braze."""
        run = data.draw(st.sampled_from([run for run in self.runs if run.finish][-5:]))
        run.rows = rows

    @precondition(lambda self: any(run.shown for run in self.runs))
    @rule(data=st.data())
    def is_shown_without_its_start(self, data: st.DataObject) -> None:
        """A run that was shown as finished loses its start, or gets it back."""
        run = data.draw(st.sampled_from([run for run in self.runs if run.shown][-5:]))
        run.without_start = not run.without_start

    @precondition(lambda self: self.seen and self.runs)
    @rule(data=st.data(), restarted=st.booleans(), reads=st.integers(1, 3))
    def cannot_be_read_for_a_while(self, data: st.DataObject, restarted: bool, reads: int) -> None:
        """Some of the newest rows are unreadable for a while, and then readable again."""
        for run in data.draw(st.lists(st.sampled_from(self.runs[-5:]))):
            run.unreadable = True
        for _ in range(reads):
            self.reads_the_newest_page()
            if self.ledger.next_cursor is not None:
                self.reads_an_older_page()
        if restarted:
            self.is_restarted()
        for run in self.runs:
            run.unreadable = False
        self.reads_the_newest_page()

    def drop_runs_hidden_from_the_first_page(self) -> None:
        """At the first read, runs in progress behind a full page of newer runs are unknown."""
        shown = sorted(self.runs, key=lambda run: -run.start)[:PAGE]
        self.runs = [run for run in self.runs if run.finish is not None or run in shown]

    # The reader

    def page(self, skip: int) -> HistoryPage:
        newest_first = sorted(self.runs, key=lambda run: -run.start)
        shown = newest_first[skip : skip + PAGE]
        rows = [run.row() for run in shown]
        for run in shown:
            run.shown = run.shown or (run.finish is not None and not run.unreadable)
        more = skip + PAGE < len(newest_first)
        link = f'</x?cursor={skip + PAGE}>; rel="next"' if more else None
        return read_history({"message": "success", "results": rows}, link)

    @rule()
    def reads_the_newest_page(self) -> None:
        if not self.seen:
            self.drop_runs_hidden_from_the_first_page()
        counted = self.ledger.read_newest(self.page(0), self.now)
        self.seen = True
        self.counted += len(counted)
        self.rows_counted += sum(run.rows_synced or 0 for run in counted)

    @precondition(lambda self: self.ledger.next_cursor is not None)
    @rule()
    def reads_an_older_page(self) -> None:
        cursor = self.ledger.next_cursor
        assert cursor is not None
        counted = self.ledger.read_older(self.page(int(cursor)), self.now)
        self.counted += len(counted)
        self.rows_counted += sum(run.rows_synced or 0 for run in counted)

    @precondition(lambda self: self.ledger.catching_up)
    @rule()
    def loses_the_cursor(self) -> None:
        self.ledger.restart_chain()

    @rule()
    def is_restarted(self) -> None:
        """A ledger that is written to the state file and read again is unchanged."""
        record = Record.from_json(Record(Knowledge(self.ledger.state())).to_json())
        restored = IntegrationLedger.restore(record.knowledge.ledger)
        assert restored.state() == self.ledger.state()
        assert restored.summary == self.ledger.summary
        self.ledger = restored

    @precondition(lambda self: self.seen)
    @rule()
    def catches_up(self) -> None:
        """Two rounds of reads, minutes apart, leave no run uncounted."""
        for _ in range(2):
            self.now += 400
            self.reads_the_newest_page()
            for _ in range(1000):
                if self.ledger.next_cursor is not None:
                    self.reads_an_older_page()
                elif self.ledger.overlooked(self.now):
                    self.reads_the_newest_page()
                else:
                    break
        truth = [run for run in self.runs if run.finish is not None and not run.baseline]
        assert self.ledger.counters.total == len(truth)
        assert self.ledger.counters.gaps == 0
        assert len(self.ledger.summary.running) == len(self.under_way())
        self.summary_matches_the_model()

    def summary_matches_the_model(self) -> None:
        """The summary matches the runs that were shown, in the order of their finish."""
        known = self.ledger.summary
        over = sorted(
            (run for run in self.runs if run.finish is not None and run.shown),
            key=lambda run: run.finish or 0.0,
        )
        marked = [run.watermark for run in over if run.watermark is not None]
        assert known.watermark == (marked[-1] if marked else None)
        good = [run.finish for run in over if run.status.lower() in ("success", "partial")]
        assert known.last_delivery == (good[-1] if good else None)
        failures = 0
        for run in over:
            failed = run.status in ("error", "config_error")
            failures = failures + failed if failed or run.status == "a new one" else 0
        assert known.consecutive_failures == failures

    @invariant()
    def returned_runs_match_counters_that_never_fall(self) -> None:
        total = self.ledger.counters.total
        assert total == self.counted
        assert self.ledger.counters.rows_synced == self.rows_counted
        assert total >= self.last_totals
        self.last_totals = total

    @invariant()
    def counts_no_run_twice(self) -> None:
        finished = sum(1 for run in self.runs if run.finish is not None and not run.baseline)
        assert self.ledger.counters.total <= finished

    @invariant()
    def is_bounded(self) -> None:
        assert len(self.ledger.runs) <= KEPT_RUNS + len(self.ledger.under_way)


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(
    max_examples=6 * settings().max_examples,  # 600 by default; fewer in `make check`
    stateful_step_count=40,
    deadline=None,
)
