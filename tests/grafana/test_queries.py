"""Every query of every panel, against what is true in the simulated workspace.

Simulated Braze → two real exporters → a real Prometheus with the real rules; each query is
filled in as Grafana does.
"""

import math
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from cdi_exporter.model import FINISHED_STATUSES, Status
from tests.e2e.processes import eventually
from tests.grafana.grafana import DASHBOARDS, Chosen, Object, expressions, targets
from tests.grafana.stack import HOUR_BEFORE, ROWS_WEEK_AGO, Series, Stack, stack
from tests.grafana.truth import Fact, HistorySummary, known
from tools.dashboards.promql import READABLE, REASON_CODES
from tools.dashboards.statuses import CODES, IDLE_CODE, NO_DATA_CODE

ALL = Chosen(range=600, interval=15, scrape_interval=5)
ONE = replace(ALL, variables={"workspace": ["production"], "integration": ["orders (EU) v1.2"]})
SECONDS = 20.0
"""By how much an age may differ: scrapes, refreshes and a slow machine."""
ESTIMATE = 0.25
"""`increase` extrapolates; over few samples by this share."""

Wanted = Mapping[str, Any] | Callable[[Mapping[str, float]], bool]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole way from Braze to Prometheus."""
    with stack(tmp_path_factory.mktemp("grafana")) as made:
        yield made


def key(metric: Mapping[str, str], names: Mapping[str, str]) -> str:
    """What a series is of: an integration by its name, else its other labels."""
    if "integration_name" in metric:
        return metric["integration_name"]
    if "integration_id" in metric:
        return names[metric["integration_id"]]
    hidden = ("instance", "job", "python_version", "version")
    return "/".join(value for name, value in sorted(metric.items()) if name not in hidden)


def answers(made: Stack, target: Object, chosen: Chosen, at: float) -> dict[str, float]:
    """What Grafana would show of a query, by what it is of."""
    expr = chosen.filled(target["expr"])
    series: Series = (
        made.instant(expr, at)
        if target["instant"]
        else made.last(expr, at - 60, at, chosen.interval)
    )
    names = {each.id: each.name for each in made.world.integrations}
    found = {key(metric, names): value for metric, value in series}
    per_instance = any("instance" in metric for metric, _ in series)
    assert per_instance or len(found) == len(series), series
    return found


class Expected:
    """What each query must give, by panel and query, at a moment."""

    def __init__(self, made: Stack, at: float) -> None:
        self.at = at
        self.known = known(made.world, made.finished, at)
        self.started = made.world.now

    def of_each(self, fact: Fact, *, within: float = 0.0, rel: float = 1e-9) -> dict[str, Any]:
        """A fact of each integration that has it."""
        facts = {name: fact(each) for name, each in self.known.items()}
        return {
            name: pytest.approx(value, abs=within, rel=rel)
            for name, value in facts.items()
            if value is not None
        }

    def column(self, fact: Fact, *, within: float = 0.0) -> dict[str, Any]:
        """The same in a table, where each integration has a cell."""
        empty = dict.fromkeys(self.known, pytest.approx(math.nan, nan_ok=True))
        return empty | self.of_each(fact, within=within)

    def age(self, moment: Fact) -> Fact:
        """How long ago it was."""

        def fact(each: HistorySummary) -> float | None:
            when = moment(each)
            return None if when is None else self.at - when

        return fact

    def number(self, condition: Callable[[HistorySummary], bool]) -> dict[str, float]:
        """How many integrations are so."""
        return {"": sum(map(condition, self.known.values()))}

    def counted(self, fact: Callable[[HistorySummary], float]) -> float:
        """The sum over what was counted."""
        return sum(map(fact, self.known.values()))

    def panels(self) -> dict[tuple[str, str], Wanted]:
        """Panel and query → what it must give."""
        return (
            self._trust()
            | self._stale_or_failed()
            | self._lost_rows()
            | self._hanging()
            | self._patterns()
            | self._volumes()
            | self._one()
            | self._speed()
            | self._exporter()
        )

    def _trust(self) -> dict[tuple[str, str], Wanted]:
        both = {"production": 0.0, "europe": 0.0}
        late = sum((each.lateness or 0) > 1 for each in self.known.values())
        failing = sum(each.status in (Status.ERROR, Status.CONFIG_ERROR) for each in self.all)
        none = pytest.approx(math.nan, nan_ok=True)
        return {
            ("Exporter", "A"): {"": 1},
            ("Unreadable", "A"): {"": 1},
            ("Oldest refresh", "A"): {"": pytest.approx(0, abs=SECONDS)},
            ("Workspaces", "pending"): both,
            ("Workspaces", "state"): {
                "production": READABLE,
                "europe": REASON_CODES["unauthorized"],
            },
            ("Workspaces", "refresh"): {
                "production": pytest.approx(0, abs=SECONDS),
                "europe": none,
            },
            ("Workspaces", "integrations"): {"production": len(self.known), "europe": 0},
            ("Workspaces", "late"): {"production": late, "europe": none},
            ("Workspaces", "failing"): {"production": failing, "europe": none},
            ("Workspaces", "budget"): lambda found: (
                set(found) == set(both) and all(0 < value <= 1 for value in found.values())
            ),
        }

    @property
    def all(self) -> list[HistorySummary]:
        """Each integration."""
        return list(self.known.values())

    def _stale_or_failed(self) -> dict[tuple[str, str], Wanted]:
        return {
            ("Late", "A"): self.number(lambda each: (each.lateness or 0) > 1),
            ("Config errors", "A"): self.number(lambda each: each.status is Status.CONFIG_ERROR),
            ("Failing", "A"): self.number(lambda each: each.status is Status.ERROR),
            ("Partial", "A"): self.number(lambda each: each.status is Status.PARTIAL),
            ("Integrations", "integration"): self.of_each(one),
            ("Integrations", "status"): self.column(status_code),
            ("Integrations", "late"): self.column(lambda each: each.lateness, within=0.01),
            ("Integrations", "age"): self.column(
                self.age(lambda each: each.last_delivery), within=0.01
            ),
            ("Integrations", "limit"): self.column(lambda each: each.stale_after, within=0.01),
            ("Integrations", "failures"): self.column(lambda each: each.failures),
            ("Integrations", "rows"): self.column(rows_synced),
            ("Integrations", "lost"): self.column(lambda each: each.share_failed),
        }

    def _lost_rows(self) -> dict[tuple[str, str], Wanted]:
        failed = self.counted(lambda each: each.counted.rows_failed)
        synced = self.counted(lambda each: each.counted.rows_synced)
        share = failed / (failed + synced)
        return {
            ("Rows not written", "A"): {"": pytest.approx(failed, rel=ESTIMATE)},
            ("Share not written", "A"): {"": pytest.approx(share, rel=0.02)},
            ("Most rows not written, top 10", "A"): self.of_each(
                lambda each: each.counted.rows_failed, rel=ESTIMATE
            ),
            ("Largest share not written, top 10", "A"): self.of_each(
                lambda each: (
                    each.counted.rows_failed / (each.counted.rows_failed + each.counted.rows_synced)
                    if each.counted.rows_synced
                    else None
                ),
                rel=0.02,
            ),
        }

    def _hanging(self) -> dict[tuple[str, str], Wanted]:
        table = "Runs under way, and next runs"
        return {
            ("Hanging runs", "A"): {"": 1},
            ("Missed starts", "A"): {"": 1},
            (table, "integration"): self.of_each(one),
            (table, "running"): self.column(self.age(lambda each: each.running_since), within=0.01),
            (table, "typical"): self.column(lambda each: each.typical_duration),
            (table, "next"): self.column(next_run, within=1),
            (table, "lost"): self.column(nothing),
            (table, "overdue"): self.column(
                lambda each: (
                    self.at - (each.script.next_run or 0)
                    if each.script.name == "loyalty-tiers"
                    else None
                ),
                within=SECONDS,
            ),
            (table, "finished"): self.column(
                self.age(lambda each: each.of_last(lambda run: run.finish)), within=0.01
            ),
        }

    def _patterns(self) -> dict[tuple[str, str], Wanted]:
        last = self.of_each(status_code)
        runs: dict[str, Any] = {
            status: pytest.approx(
                sum(each.counted.syncs(status) for each in self.all), rel=ESTIMATE
            )
            for status in FINISHED_STATUSES
        }
        timeline = "Last run, and runs under way"
        return {
            ("Status over time, the 20 with most trouble", "A"): last,
            (timeline, "A"): last | {"newcomer": NO_DATA_CODE},
            (timeline, "B"): self.of_each(
                lambda each: CODES[Status.RUNNING] if each.running_since else IDLE_CODE
            ),
            ("Finished runs by hour", "A"): runs,
        }

    def _volumes(self) -> dict[tuple[str, str], Wanted]:
        synced = self.counted(lambda each: each.counted.rows_synced)
        rows = "Rows of the last run"
        hourly = "Rows synced within an hour, and a week before"
        return {
            (hourly, "A"): {"production": pytest.approx(synced, rel=ESTIMATE)},
            (hourly, "B"): {"production": pytest.approx(HOUR_BEFORE, rel=0.05)},
            ("Smallest last runs, share of typical rows", "A"): self.of_each(of_typical_rows),
            (rows, "A"): self.of_each(rows_synced),
            (rows, "B"): self.of_each(lambda each: each.typical_rows),
            (rows, "C"): {"users-hourly": ROWS_WEEK_AGO},
            ("Rows not written by the last run", "A"): self.of_each(
                lambda each: each.of_last(lambda run: run.rows_failed)
            ),
        }

    def _one(self) -> dict[tuple[str, str], Wanted]:
        every = self.counted(lambda each: each.counted.total)
        good = self.counted(lambda each: each.counted.success)
        facts = "What it is"
        lateness = max(each.lateness or 0 for each in self.all)
        return {
            ("Last run", "A"): {"": CODES[Status.CONFIG_ERROR]},
            ("Age ÷ limit", "A"): {"": pytest.approx(lateness, abs=0.01)},
            ("Confirmed ago", "A"): {"": pytest.approx(0, abs=2 * SECONDS)},
            ("Failed in a row", "A"): {"": max(each.failures for each in self.all)},
            ("Under way", "A"): {"": 1},
            ("Successful runs", "A"): {"": pytest.approx(good / every, rel=0.02)},
            (facts, "integration"): self.of_each(one),
            (facts, "interval"): self.column(lambda each: each.typical_interval),
            (facts, "duration"): self.column(lambda each: each.typical_duration),
            (facts, "rows"): self.column(lambda each: each.typical_rows),
            (facts, "limit"): self.column(lambda each: each.stale_after, within=0.01),
            (facts, "next"): self.column(next_run, within=1),
        }

    def _speed(self) -> dict[tuple[str, str], Wanted]:
        ages = "Age of the newest row, and of the last delivery"
        return {
            (ages, "A"): self.of_each(self.age(lambda each: each.watermark), within=2),
            (ages, "B"): self.of_each(self.age(lambda each: each.last_delivery), within=2),
            (ages, "C"): self.of_each(self.age(lambda each: each.last_success), within=2),
            (ages, "D"): self.of_each(lambda each: each.stale_after, within=0.01),
            ("Run duration", "A"): self.of_each(lambda each: each.of_last(duration)),
            ("Run duration", "B"): self.of_each(
                lambda each: (
                    each.counted.duration_sum / each.counted.duration_count
                    if each.counted.duration_count
                    else None
                ),
                rel=0.02,
            ),
            ("Run duration", "C"): self.of_each(lambda each: each.typical_duration),
            ("Duration ÷ typical, all chosen", "A"): self.of_each(
                lambda each: each.of_last(
                    lambda run: (run.duration or 0) / (each.typical_duration or math.nan)
                )
            ),
        }

    def _exporter(self) -> dict[tuple[str, str], Wanted]:
        workspaces = {"production": 0.0, "europe": 0.0}
        started = pytest.approx((self.started + 30) * 1000, abs=60_000)
        return {
            ("API limit left", "A"): lambda found: (
                {"integrations/production", "job_sync_status/production"} <= set(found)
                and all(0 < value <= 1 for value in found.values())
            ),
            ("API requests by answer", "A"): lambda found: (
                found["200/integrations/production"] > 0
                and "401/integrations/europe" in found
                and {name.partition("/")[0] for name in found} == {"200", "401"}
            ),
            ("Waiting for the request budget", "A"): lambda found: (
                len(found) == 4 and all(0 <= value < 1 for value in found.values())
            ),
            ("Refresh duration", "A"): lambda found: 0 < found["production"] < SECONDS,
            ("API request duration", "A"): lambda found: 0 < found["integrations"] < SECONDS,
            ("API request duration", "B"): lambda found: 0 < found["integrations"] < SECONDS,
            ("History reads waiting", "A"): workspaces,
            ("Unreadable items", "A"): {"": 0},
            ("History gaps", "A"): {"": 0},
            ("Unreadable integrations", "A"): {"": 0},
            ("Not confirmed for an hour", "A"): {"": 0},
            ("Configuration", "A"): {"": 1},
            ("State writes failed", "A"): {"": 0},
            ("Key and CA files", "A"): {"": 1},
            ("Log lines dropped", "A"): {"": 0},
            ("Memory", "A"): lambda found: 2e7 < found[""] < 1e9,
            ("Processor", "A"): lambda found: 0 <= found[""] < 2,
            ("Instances", "instance"): {"": 1},
            ("Instances", "started"): {"": started},
            ("Instances", "loaded"): {"": started},
        }


def one(each: HistorySummary) -> float:
    """That there is one."""
    return 1.0


def nothing(each: HistorySummary) -> float | None:
    """What no integration has."""
    return None


def status_code(each: HistorySummary) -> float | None:
    """The number of the last status."""
    return None if each.status is None else CODES[each.status]


def rows_synced(each: HistorySummary) -> float | None:
    """Rows of the last run."""
    return each.of_last(lambda run: run.rows_synced)


def of_typical_rows(each: HistorySummary) -> float | None:
    """Rows of the last run in terms of what is typical."""
    rows, typical = rows_synced(each), each.typical_rows
    return None if rows is None or not typical else rows / typical


def duration(run: Any) -> float | None:
    """How long it took."""
    return None if run.duration is None else float(run.duration)


def next_run(each: HistorySummary) -> float | None:
    """In milliseconds."""
    return None if each.script.next_run is None else each.script.next_run * 1000


def check(found: Mapping[str, float], wanted: Wanted, where: str) -> None:
    """Compare what a query gives."""
    if callable(wanted):
        assert wanted(found), (where, found)
    else:
        assert found == wanted, where


def test_every_panel_tells_the_truth(running: Stack) -> None:
    """Each query of both dashboards gives what is true; none is left out."""
    at = running.moment()
    wanted = Expected(running, at).panels()
    asked = set()
    for name, dashboard in DASHBOARDS.items():
        for panel, target in targets(dashboard):
            place = (panel["title"], target["refId"])
            check(answers(running, target, ALL, at), wanted[place], f"{name} {place}")
            asked.add(place)
    assert asked == set(wanted)


def test_what_is_chosen_is_what_is_shown(running: Stack) -> None:
    """One integration, whose name is full of special characters."""
    at = running.moment()
    wanted = Expected(running, at).panels()
    name = "orders (EU) v1.2"
    for dashboard in DASHBOARDS.values():
        for panel, target in targets(dashboard):
            expected = wanted[panel["title"], target["refId"]]
            if not callable(expected) and name in expected:
                check(answers(running, target, ONE, at), {name: expected[name]}, panel["title"])
    tile = next(
        target
        for panel, target in targets(DASHBOARDS["braze-cdi-overview"])
        if panel["title"] == "Rows not written"
    )
    assert answers(running, tile, ONE, at) == {"": pytest.approx(90, rel=ESTIMATE)}


def test_a_workspace_that_was_never_read_shows_no_data(running: Stack) -> None:
    """Not a single panel says that all is well, or zero, where nothing is known."""
    chosen = replace(ALL, variables={"workspace": ["europe"], "integration": ".+"})
    at = running.moment()
    for panel, target in targets(DASHBOARDS["braze-cdi-overview"]):
        if panel["title"] in ("Late", "Failing", "Partial", "Config errors", "Hanging runs"):
            assert answers(running, target, chosen, at) == {}, panel["title"]


def test_variables_and_annotations_have_values(running: Stack) -> None:
    """What can be chosen; alerts that fire; each start of an exporter, by its time."""
    at = running.moment()
    for dashboard in DASHBOARDS.values():
        asked = expressions(dashboard)

        def series(place: str, asked: Mapping[str, str] = asked) -> list[Mapping[str, str]]:
            return [
                each
                for each, _ in running.last(ALL.filled(asked[place]), at - 60, at, ALL.interval)
            ]

        assert {each["workspace"] for each in series("variable workspace")} == {
            "production",
            "europe",
        }
        assert {each["integration_name"] for each in series("variable integration")} == {
            each.name for each in running.world.integrations
        }
        alerts = {each["alertname"] for each in series("annotation Alerts")}
        assert {"BrazeCDIApiUnauthorized", "BrazeCDISyncLate", "BrazeCDISyncStuck"} <= alerts
        restarts = running.last(
            ALL.filled(asked["annotation Exporter restarts"]), at - 60, at, ALL.interval
        )
        assert len(restarts) == 2
        for _, started in restarts:
            assert abs(started / 1000 - running.world.now) < 2 * 60


@contextmanager
def silent(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """The processes stand still; after that they go on, as other tests want them to."""
    try:
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def test_an_outage_is_seen(running: Stack) -> None:
    """While no exporter answers, the timeline says no data and the first row is loud."""
    by_title = {
        panel["title"]: target for panel, target in targets(DASHBOARDS["braze-cdi-overview"])
    }

    def gives(title: str) -> set[float]:
        return set(answers(running, by_title[title], ALL, time.time()).values())

    timeline = "Status over time, the 20 with most trouble"
    with silent(running.exporters):
        eventually(lambda: gives(timeline) == {NO_DATA_CODE}, "the timeline says no data")
        assert gives("Exporter") == {0}
