"""When an integration is late: the age of its last delivery against Braze's schedule."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from cdi_exporter.clock import Instant
from cdi_exporter.config import StaleAfter
from cdi_exporter.model import HistoryPage, Integration, Run, Status
from cdi_exporter.snapshot import Facts
from cdi_exporter.web.status import IntegrationStatus
from cdi_exporter.workspace.integration import IntegrationState
from cdi_exporter.workspace.record import Record
from tests.harness import rig, scripted, simulator
from tests.virtual import EPOCH, instant, run, virtual_clock

MINUTE, HOUR, DAY, WEEK = 60.0, 3_600.0, 86_400.0, 604_800.0
TOOK = 60.0


@dataclass
class Life:
    """An integration whose list item and history are read from time to time."""

    now: float = EPOCH
    runs: list[Run] = field(default_factory=list)
    next_run: float | None = None
    state: IntegrationState = field(default_factory=lambda: IntegrationState("one"))

    def ran(self, start: float, status: Status = Status.SUCCESS, took: float = TOOK) -> None:
        """Add a run that is over."""
        self.runs.insert(0, Run(status, start, start + took, rows_synced=5))

    def every(self, interval: float, count: int) -> None:
        """Add runs at this interval, the last one finished now, and schedule the next one."""
        for number in range(count - 1, -1, -1):
            self.ran(self.now - TOOK - number * interval)
        self.next_run = self.now - TOOK + interval

    @property
    def item(self) -> Integration:
        """The list item as Braze returns it now."""
        last = self.runs[0] if self.runs else None
        return Integration(
            "one",
            last_job_start=last.start if last else None,
            last_job_status=last.status if last else None,
            next_scheduled_run=self.next_run,
        )

    def refresh(self, item: Integration | None = None) -> Facts:
        """Read the list, then the history if the list shows a change."""
        self.state.apply_list_item(item or self.item, self.instant, None)
        if self.state.reads.read_at is None or self.state.has_change:
            self.read()
        return self.state.snapshot().facts

    def read(self) -> None:
        """Read the newest page of the history."""
        page = HistoryPage(tuple(self.runs[:10]), next_cursor="older")
        self.state.apply_newest_page(page, self.state.fingerprint, self.instant)

    def restart(self) -> None:
        """The exporter restarts on its state file."""
        record = Record.from_json(self.state.record(self.instant).to_json())
        self.state = IntegrationState.restore("one", record, record, self.instant)

    @property
    def instant(self) -> Instant:
        """Now."""
        return instant(self.now - EPOCH)

    @property
    def late(self) -> bool:
        """Whether the integration is late according to the known facts."""
        return IntegrationStatus(self.state.snapshot(), self.now).late

    def pass_time(self, until: float, step: float) -> Iterator[float]:
        """Let time pass; the list is read at each step."""
        while self.now < until:
            self.now = min(until, self.now + step)
            yield self.now


def scheduled(life: Life, interval: float, until: float, step: float, took: float = TOOK) -> None:
    """Run as scheduled until `until`; the integration is never late."""
    assert life.next_run is not None
    under_way: float | None = None
    for now in life.pass_time(until, step):
        if under_way is not None and now >= under_way + took:
            life.runs[0] = Run(Status.SUCCESS, under_way, under_way + took, rows_synced=5)
            under_way = None
        if now >= life.next_run:
            under_way, life.next_run = life.next_run + 2, life.next_run + interval
            life.runs.insert(0, Run(Status.RUNNING, under_way))
        life.refresh()
        assert not life.late, f"late after {(now - EPOCH) / HOUR:.1f} h"


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize(
    ("before", "after", "days", "step"),
    [
        (HOUR, DAY, 10, 10 * MINUTE),
        (DAY, WEEK, 70, HOUR),
        (5 * MINUTE, HOUR, 2, MINUTE),
        (HOUR, 30 * DAY, 100, 2 * HOUR),
    ],
)
def test_a_schedule_that_becomes_less_frequent_is_not_late(
    before: float, after: float, days: float, step: float, restarts: bool
) -> None:
    """After Braze reports a new schedule, the interval of earlier runs is no longer the limit."""
    life = Life()
    life.every(before, 24)
    life.refresh()
    life.next_run = EPOCH + after
    for part in range(1, 5):
        scheduled(life, after, EPOCH + part * days * DAY / 4, step)
        if restarts:
            life.restart()


def test_the_limit_is_two_intervals_of_the_schedule_and_two_durations() -> None:
    """The interval is the typical one, or longer if the schedule says so."""
    life = Life()
    life.every(HOUR, 5)
    assert life.refresh().stale_after == 2 * HOUR + 2 * TOOK
    assert life.next_run is not None
    life.next_run += DAY
    assert life.refresh().stale_after == 2 * (HOUR + DAY) + 2 * TOOK
    life.next_run -= DAY + HOUR / 2
    assert life.refresh().stale_after == 2 * HOUR + 2 * TOOK


@pytest.mark.parametrize("runs", [1, 2])
def test_the_schedule_is_enough_without_runs(runs: int) -> None:
    """With fewer than three runs there is no typical interval, but Braze reports the next run."""
    life = Life()
    life.every(DAY, runs)
    assert life.refresh().stale_after == 2 * DAY


def test_the_limit_is_at_least_15_minutes() -> None:
    """The minimum also applies to a schedule of five minutes."""
    life = Life()
    life.every(5 * MINUTE, 1)
    assert life.refresh().stale_after == 900


@pytest.mark.parametrize("typical", [HOUR, DAY])
def test_an_integration_whose_runs_do_not_start_is_late(typical: float) -> None:
    """Braze moves the next run into the future and no run starts. The limit does not grow."""
    life = Life()
    life.every(typical, 24)
    life.refresh()
    found = None
    for now in life.pass_time(EPOCH + 5 * typical, typical / 20):
        assert life.next_run is not None
        if now >= life.next_run:
            life.next_run += typical
        life.refresh()
        if life.late and found is None:
            found = now
    assert found is not None
    assert found - EPOCH <= 2.2 * typical
    life.restart()
    assert life.late


def test_an_integration_whose_runs_do_not_start_after_a_schedule_change_is_late() -> None:
    """After 24 hourly runs the schedule is daily, and no run starts."""
    life = Life()
    life.every(HOUR, 24)
    life.refresh()
    life.next_run = EPOCH + DAY
    late = []
    for now in life.pass_time(EPOCH + 4 * DAY, 10 * MINUTE):
        if now >= life.next_run:
            life.next_run += DAY
        life.refresh()
        late.append(life.late)
    assert not any(late[: 2 * 24 * 6])
    assert all(late[int(2.1 * 24 * 6) :])


def test_a_next_run_that_stays_in_the_past_is_late() -> None:
    """Braze may also leave the time of a run that did not start in the past."""
    life = Life()
    life.every(HOUR, 24)
    life.refresh()
    for _ in life.pass_time(EPOCH + 3 * HOUR, 10 * MINUTE):
        life.refresh()
    assert life.late


@pytest.mark.parametrize("after", [24, 12])
def test_a_more_frequent_schedule_is_measured_by_its_own_interval(after: int) -> None:
    """Daily, then hourly: half of the last 20 runs determine the typical interval."""
    life = Life()
    life.every(DAY, 24)
    life.refresh()
    life.next_run = EPOCH + HOUR
    scheduled(life, HOUR, EPOCH + after * HOUR, 5 * MINUTE)
    stopped = life.now
    for now in life.pass_time(stopped + 6 * HOUR, 5 * MINUTE):
        assert life.next_run is not None
        if now >= life.next_run:
            life.next_run += HOUR
        life.refresh()
    assert life.late


@pytest.mark.parametrize("status", [Status.RUNNING, Status.ERROR])
def test_a_run_triggered_through_the_api_does_not_change_the_schedule(status: Status) -> None:
    """An extra run shortly before the next scheduled run is running or has failed."""
    life = Life()
    life.every(HOUR, 24)
    life.refresh()
    life.next_run = EPOCH + DAY
    scheduled(life, DAY, EPOCH + 2 * DAY - HOUR, 10 * MINUTE)
    if status is Status.RUNNING:
        life.runs.insert(0, Run(Status.RUNNING, life.now - MINUTE))
    else:
        life.ran(life.now - 2 * MINUTE, status)
    for _ in range(2):
        life.refresh()
        assert not life.late
        life.restart()


def test_a_run_that_the_list_does_not_show_yet_changes_nothing() -> None:
    """The history already shows the scheduled run, which started on time or slightly early."""
    life = Life()
    life.every(HOUR, 24)
    life.refresh()
    life.next_run = EPOCH + DAY
    before = life.refresh()
    stale = life.item
    for start in (EPOCH + DAY - 1, EPOCH + DAY + 1):
        ahead = replace(life, runs=[Run(Status.RUNNING, start), *life.runs], now=EPOCH + DAY + 2)
        ahead.refresh(stale)
        ahead.read()
        assert ahead.state.snapshot().facts.stale_after == before.stale_after


def test_a_schedule_that_is_resumed_after_months_is_not_late_at_once() -> None:
    """It is not late before its first run is due."""
    life = Life()
    life.every(HOUR, 24)
    life.refresh()
    life.next_run = None
    for _ in life.pass_time(EPOCH + 90 * DAY, DAY):
        life.refresh()
        assert not life.late
    life.next_run = life.now + HOUR
    life.refresh()
    assert not life.late
    for now in life.pass_time(life.now + 3 * HOUR, 10 * MINUTE):
        if now >= life.next_run:
            life.next_run += HOUR
        life.refresh()
    assert life.late


def test_without_a_schedule_nothing_is_late() -> None:
    """Event-driven and paused integrations have no next run."""
    life = Life()
    life.every(HOUR, 24)
    life.next_run = None
    assert life.refresh().stale_after is None


def test_an_unreadable_schedule_counts_as_a_schedule() -> None:
    """The typical interval of the runs so far is used instead."""
    life = Life()
    life.every(HOUR, 24)
    unreadable = replace(life.item, next_scheduled_run=None, schedule_unreadable=True)
    assert life.refresh(unreadable).stale_after == 2 * HOUR + 2 * TOOK


def test_without_the_list_the_typical_interval_is_used() -> None:
    """A key without the list permission gets no schedule."""
    life = Life()
    life.every(HOUR, 24)
    life.read()
    assert life.state.snapshot().facts.stale_after == 2 * HOUR + 2 * TOOK


@pytest.mark.parametrize(("after", "expected"), [(7200.0, 7200.0), (None, None)])
def test_a_configured_stale_after_takes_precedence(
    after: float | None, expected: float | None
) -> None:
    """This includes `never`, whatever Braze's schedule says."""
    life = Life()
    life.every(HOUR, 24)
    life.refresh()
    life.state.configure(StaleAfter("*", after))
    assert life.state.snapshot().facts.stale_after == expected


@pytest.mark.parametrize("given", [EPOCH - 3 * DAY, EPOCH - TOOK, 1.0])
def test_a_next_run_before_the_last_start_is_ignored(given: float) -> None:
    """A stale or wrong time in the list does not change the limit."""
    life = Life()
    life.every(HOUR, 3)
    life.next_run = given
    assert life.refresh().stale_after == 2 * HOUR + 2 * TOOK


def test_partial_runs_are_deliveries() -> None:
    """Three of four runs are partial, and the integration is never late."""
    life = Life()
    life.every(HOUR, 24)
    life.refresh()
    assert life.next_run is not None
    for now in life.pass_time(EPOCH + DAY, 10 * MINUTE):
        if now >= life.next_run:
            number = len(life.runs)
            life.ran(life.next_run, Status.PARTIAL if number % 4 else Status.SUCCESS)
            life.next_run += HOUR
        life.refresh()
        assert not life.late


def test_a_schedule_change_is_not_late_over_ten_days_of_scrapes() -> None:
    """An integration changes from hourly to daily runs and is never late in the exposition."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", runs=24, next_run=EPOCH + DAY)
        async with rig(simulator(clock, one), clock=clock) as it:
            while clock.wall() < EPOCH + 10 * DAY:
                assert one.next_run is not None
                if clock.wall() >= one.next_run:
                    one.run(one.next_run, one.next_run + 60, rows_synced=1)
                    one.next_run += DAY
                page = await it.scrape()
                delivered = page("braze_cdi_last_delivery_timestamp_seconds")
                limit = page("braze_cdi_stale_after_seconds")
                assert delivered is not None
                assert limit is not None
                assert clock.wall() - delivered < limit
                await clock.sleep(30 * MINUTE)

    run(main())
