"""Every query of every panel, compared with the real state of the simulated workspace.

Two real exporters read the simulated Braze, and a real Prometheus scrapes them and evaluates the
real rules. Variables in the queries are replaced as in Grafana.
"""

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
from tests.grafana.truth import Fact, Known, known
from tools.dashboards.promql import CURRENT, NOW, REASON_CODES, SILENT
from tools.dashboards.states import (
    CODES,
    IDLE_CODE,
    NO_DATA_CODE,
    RUNNING_CODE,
    STATES,
    UNKNOWN_CODE,
)

ALL = Chosen(range=600, interval=1, scrape_interval=5)
ONE = replace(ALL, variables={"workspace": ["production"], "integration": ["orders (EU) v1.2"]})
CONDITIONS = ("late", "stuck", "missed", "config_error")
"""States for which there is an alert with the same condition."""
SECONDS = 20.0
"""The tolerance of ages in seconds: scrapes, refreshes and a slow machine delay them."""
ESTIMATE = 0.25
"""The relative error of `increase`, which extrapolates, with few samples."""

Wanted = Mapping[str, Any] | Callable[[Mapping[str, float]], bool]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All processes from Braze to Prometheus."""
    with stack(tmp_path_factory.mktemp("grafana")) as made:
        yield made


def key(metric: Mapping[str, str], names: Mapping[str, str]) -> str:
    """The name of the integration that a series belongs to, or else its other labels."""
    if "integration_name" in metric:
        return metric["integration_name"]
    if "integration_id" in metric:
        return names[metric["integration_id"]]
    hidden = ("instance", "job", "python_version", "version")
    return "/".join(value for name, value in sorted(metric.items()) if name not in hidden)


def answers(made: Stack, target: Object, chosen: Chosen, at: float) -> dict[str, float]:
    """The result of a query as Grafana would show it, by integration or labels."""
    expr = chosen.filled(target["expr"]).replace(":1m]", ":1s]")  # scrapes are more frequent
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
    """The expected result of each query at a moment, by panel and query."""

    def __init__(self, made: Stack, at: float) -> None:
        self.at = at
        self.finished = made.finished
        self.known = known(made.world, made.finished, at)

    def of_each(self, fact: Fact, *, within: float = 0.0, rel: float = 1e-9) -> dict[str, Any]:
        """A fact about each integration that has it."""
        facts = {name: fact(each) for name, each in self.known.items()}
        return {
            name: pytest.approx(value, abs=within, rel=rel)
            for name, value in facts.items()
            if value is not None
        }

    def column(self, fact: Fact, *, within: float = 0.0, rel: float = 1e-9) -> dict[str, Any]:
        """The same for a table, in which each integration has a cell."""
        unknown: dict[str, Any] = dict.fromkeys(self.known, UNKNOWN_CODE)
        return unknown | self.of_each(fact, within=within, rel=rel)

    def highest(self, fact: Fact, *, within: float = 0.0) -> dict[str, Any]:
        """The highest value among the integrations that have the fact."""
        facts = [value for each in self.all if (value := fact(each)) is not None]
        return {"": pytest.approx(max(facts), abs=within)}

    def age(self, moment: Fact) -> Fact:
        """The age of a moment."""

        def fact(each: Known) -> float | None:
            when = moment(each)
            return None if when is None else self.at - when

        return fact

    def number(self, condition: Callable[[Known], bool]) -> dict[str, float]:
        """The number of integrations that meet the condition."""
        return {"": sum(map(condition, self.known.values()))}

    def counted(self, fact: Callable[[Known], float]) -> float:
        """The sum over the counted runs."""
        return sum(map(fact, self.known.values()))

    @property
    def all(self) -> list[Known]:
        """All integrations."""
        return list(self.known.values())

    def panels(self) -> dict[tuple[str, str], Wanted]:
        """The expected result by panel and query."""
        return (
            self._first_screen()
            | self._rows()
            | self._exporter()
            | self._one()
            | self._one_over_time()
        )

    def _first_screen(self) -> dict[tuple[str, str], Wanted]:
        table = "Integrations, the most urgent first"
        trust = {"production": CURRENT, "europe": REASON_CODES["unauthorized"]}
        return {
            ("Can this page be trusted?", "A"): trust,
            ("Late", "A"): self.number(lambda each: each.late),
            ("Failing", "A"): self.number(lambda each: each.status is Status.ERROR),
            ("Config errors", "A"): self.number(lambda each: each.status is Status.CONFIG_ERROR),
            ("Partial", "A"): self.number(lambda each: each.status is Status.PARTIAL),
            ("Stuck", "A"): {"": 1},
            ("Missed", "A"): {"": 1},
            (table, "rows"): self.of_each(one),
            (table, "state"): self.column(state_code),
            (table, "since"): self.column(self.state_start, within=2 * SECONDS * 1000),
            (table, "act"): self.column(cause_code),
            (table, "failures"): self.column(lambda each: each.failures),
            (table, "running"): self.column(self.age(lambda each: each.running_since), within=0.01),
            (table, "age"): self.column(self.age(lambda each: each.last_delivery), within=0.01),
            (table, "limit"): self.column(lambda each: each.stale_after, within=0.01),
            (table, "lost"): self.column(lambda each: each.counted.rows_failed, rel=ESTIMATE),
            ("State over time, the 12 in most trouble", "A"): self.of_each(state_code),
        }

    def state_start(self, each: Known) -> float | None:
        """When its state started, in milliseconds, if that was in the time range."""
        if each.status is not Status.CONFIG_ERROR:
            if each.late:
                return 1000 * ((each.since or 0) + (each.stale_after or 0))
            if each.missed:
                return next_run(each)
        return 1000 * self.finished if each.script.name == "users-hourly" else None

    def _rows(self) -> dict[tuple[str, str], Wanted]:
        synced = self.counted(lambda each: each.counted.rows_synced)
        hourly = "Rows synced per hour"
        return {
            ("Failed rows, top 10", "A"): self.of_each(
                lambda each: each.counted.rows_failed or None, rel=ESTIMATE
            ),
            ("Share of rows that failed, top 10", "A"): self.of_each(
                lambda each: (
                    each.counted.rows_failed / (each.counted.rows_failed + each.counted.rows_synced)
                    if each.counted.rows_failed
                    else None
                ),
                rel=0.02,
            ),
            (hourly, "A"): {"": pytest.approx(synced, rel=ESTIMATE)},
            (hourly, "B"): {"": pytest.approx(HOUR_BEFORE, rel=0.05)},
            ("Fewest rows, of the typical number", "A"): self.of_each(of_typical_rows),
            ("Longest runs, of the typical duration", "A"): self.of_each(
                lambda each: (
                    (each.of_last(duration) or 0) / each.typical_duration
                    if each.typical_duration
                    else None
                )
            ),
        }

    def _exporter(self) -> dict[tuple[str, str], Wanted]:
        both = {"production": 0.0, "europe": 0.0}
        table, left = "Workspaces", "API limit left, lowest workspace"
        return {
            (table, "rows"): both,
            (table, "state"): {"production": CURRENT, "europe": REASON_CODES["unauthorized"]},
            (table, "age"): {
                "production": pytest.approx(0, abs=SECONDS),
                "europe": UNKNOWN_CODE,
            },
            (table, "took"): lambda found: (
                0 < found["production"] < SECONDS and found["europe"] == UNKNOWN_CODE
            ),
            (table, "known"): {"production": len(self.known), "europe": 0},
            (table, "old"): {"production": 0, "europe": UNKNOWN_CODE},
            (table, "pending"): both,
            (table, "left"): lambda found: set(found) == set(both) and 0 < found["production"] <= 1,
            (table, "gaps"): {"production": 0, "europe": UNKNOWN_CODE},
            (table, "invalid"): both,
            (left, "A"): lambda found: 0 < found[""] <= 1,
            (left, "B"): lambda found: 0 < found[""] <= 1,
            ("API requests by answer", "A"): lambda found: (
                set(found) == {"200", "401"} and found["200"] > 0
            ),
            ("Duration of refreshes and requests", "A"): lambda found: 0 < found[""] < SECONDS,
            ("Duration of refreshes and requests", "B"): lambda found: 0 < found[""] < SECONDS,
        }

    def _one(self) -> dict[tuple[str, str], Wanted]:
        delivery = [self.at - each.last_delivery for each in self.all if each.last_delivery]
        return {
            ("State", "A"): self.highest(state_code),
            ("Since", "A"): self.highest(self.state_start, within=2 * SECONDS * 1000),
            ("Last delivery", "A"): {"": pytest.approx(min(delivery), abs=0.01)},
            ("Last delivery", "B"): self.highest(lambda each: each.stale_after, within=0.01),
            ("Failed in a row", "A"): self.highest(lambda each: each.failures),
            ("Running for", "A"): self.highest(
                self.age(lambda each: each.running_since), within=0.01
            ),
            ("Running for", "B"): self.highest(lambda each: each.typical_duration),
            ("Next run", "A"): self.highest(next_run, within=1),
            ("Facts", "rows"): self.of_each(one),
            ("Facts", "interval"): self.column(lambda each: each.typical_interval),
            ("Facts", "duration"): self.column(lambda each: each.typical_duration),
            ("Facts", "typical"): self.column(lambda each: each.typical_rows),
            ("Facts", "lost"): self.column(nothing),
        }

    def _one_over_time(self) -> dict[tuple[str, str], Wanted]:
        runs: dict[str, Any] = {
            status: pytest.approx(
                sum(each.counted.syncs(status) for each in self.all), rel=ESTIMATE
            )
            for status in FINISHED_STATUSES
        }
        timeline, rows = "State, and runs in progress", "Rows of the last run"
        ages = "Age of the newest row and of the last delivery"
        return {
            (timeline, "A"): self.of_each(state_code) | {"newcomer": NO_DATA_CODE},
            (timeline, "B"): self.of_each(
                lambda each: RUNNING_CODE if each.running_since else IDLE_CODE
            ),
            ("Finished runs per hour", "A"): runs,
            (rows, "A"): self.of_each(rows_synced),
            (rows, "B"): self.of_each(lambda each: each.typical_rows),
            (rows, "C"): {"users-hourly": ROWS_WEEK_AGO},
            ("Failed rows of the last run", "A"): self.of_each(
                lambda each: each.of_last(lambda run: run.rows_failed)
            ),
            (ages, "A"): self.of_each(self.age(lambda each: each.watermark), within=2),
            (ages, "B"): self.of_each(self.age(lambda each: each.last_delivery), within=2),
            (ages, "C"): self.of_each(self.age(lambda each: each.last_success), within=2),
            (ages, "D"): self.of_each(lambda each: each.stale_after, within=0.01),
            ("Run duration", "A"): self.of_each(lambda each: each.of_last(duration)),
            ("Run duration", "B"): self.of_each(lambda each: each.typical_duration),
        }


def one(each: Known) -> float:
    """The value 1 for each integration."""
    return 1.0


def nothing(each: Known) -> float | None:
    """A fact that no integration has."""
    return None


def state_code(each: Known) -> float | None:
    """The number of the most urgent state."""
    if each.status is None:
        return None
    if each.status is not Status.CONFIG_ERROR:
        if each.late:
            return CODES["late"]
        if each.missed:
            return CODES["missed"]
    return CODES[each.status.value]


def cause_code(each: Known) -> float | None:
    """The number of the most urgent state.

    For a late integration, the number of the cause if known.
    """
    if each.running_since:
        return CODES["stuck"]
    if each.missed:
        return CODES["missed"]
    if each.status is Status.ERROR:
        return CODES["error"]
    return state_code(each)


def rows_synced(each: Known) -> float | None:
    """The rows of the last run."""
    return each.of_last(lambda run: run.rows_synced)


def of_typical_rows(each: Known) -> float | None:
    """The rows of the last run, if it succeeded, relative to the typical rows."""
    rows, typical = rows_synced(each), each.typical_rows
    succeeded = each.status is Status.SUCCESS
    return None if rows is None or not typical or not succeeded else rows / typical


def duration(run: Any) -> float | None:
    """The duration of the run."""
    return None if run.duration is None else float(run.duration)


def next_run(each: Known) -> float | None:
    """The time of the next run in milliseconds."""
    return None if each.script.next_run is None else each.script.next_run * 1000


def check(found: Mapping[str, float], wanted: Wanted, where: str) -> None:
    """Compare the result of a query with the expected one."""
    if callable(wanted):
        assert wanted(found), (where, found)
    else:
        assert found == wanted, where


def test_every_panel_shows_the_real_state(running: Stack) -> None:
    """Each query of both dashboards is compared, and none is left out."""
    at = running.moment()
    wanted = Expected(running, at).panels()
    compared = set()
    for name, dashboard in DASHBOARDS.items():
        for panel, target in targets(dashboard):
            place = (panel["title"], target["refId"])
            check(answers(running, target, ALL, at), wanted[place], f"{name} {place}")
            compared.add(place)
    assert compared == set(wanted)


def test_panels_show_only_the_selected_integration(running: Stack) -> None:
    """The selected integration has a name with many special characters."""
    at = running.moment()
    wanted = Expected(running, at).panels()
    name = "orders (EU) v1.2"
    for dashboard in DASHBOARDS.values():
        for panel, target in targets(dashboard):
            expected = wanted[panel["title"], target["refId"]]
            if not callable(expected) and name in expected:
                check(answers(running, target, ONE, at), {name: expected[name]}, panel["title"])


def test_the_lanes_are_sorted_by_urgency(running: Stack) -> None:
    """Grafana draws the lanes in the order in which Prometheus returns the series."""
    target = next(
        target
        for panel, target in targets(DASHBOARDS["braze-cdi-overview"])
        if panel["type"] == "state-timeline"
    )
    at = running.moment()
    states = [
        value
        for _, value in running.last(
            ALL.filled(target["expr"]).replace(":1m]", ":1s]"), at - 60, at, 1
        )
    ]
    assert len(states) > 5
    assert states == sorted(states, reverse=True)


@pytest.mark.parametrize(
    ("name", "alert"),
    [(state.name, f"BrazeCDI{state.alert}") for state in STATES if state.name in CONDITIONS],
)
def test_a_state_matches_its_alert(running: Stack, name: str, alert: str) -> None:
    """The dashboards use the thresholds of the alerts.

    A misconfigured integration has one alert.
    """
    at = running.moment()
    shown = running.instant(ALL.filled(NOW.condition(name)), at)
    firing = running.instant(f'ALERTS{{alertname="{alert}",alertstate="firing"}}', at)
    names = {metric["integration_name"] for metric, _ in shown}
    assert names
    misconfigured = set() if name == "config_error" else {running.world.purchases.name}
    assert {metric["integration_name"] for metric, _ in firing} == names - misconfigured


def test_a_workspace_that_was_never_read_shows_no_data(running: Stack) -> None:
    """No panel shows zero or success if nothing is known."""
    chosen = replace(ALL, variables={"workspace": ["europe"], "integration": ".+"})
    at = running.moment()
    for panel, target in targets(DASHBOARDS["braze-cdi-overview"]):
        if panel["title"] in ("Late", "Failing", "Partial", "Config errors", "Stuck", "Missed"):
            assert answers(running, target, chosen, at) == {}, panel["title"]


def test_variables_and_annotations_have_values(running: Stack) -> None:
    """Variables list the workspaces and integrations. Annotations show firing alerts and starts."""
    at = running.moment()
    for dashboard in DASHBOARDS.values():
        queries = expressions(dashboard)

        def series(place: str, queries: Mapping[str, str] = queries) -> list[Mapping[str, str]]:
            return [
                each
                for each, _ in running.last(ALL.filled(queries[place]), at - 60, at, ALL.interval)
            ]

        assert {each["workspace"] for each in series("variable workspace")} == {
            "production",
            "europe",
        }
        assert {each["integration_name"] for each in series("variable integration")} == {
            each.name for each in running.world.integrations
        }
        alerts = {each["alertname"] for each in series("annotation Critical alerts")}
        assert {"BrazeCDIApiUnauthorized", "BrazeCDISyncLate"} <= alerts
        assert "BrazeCDISyncStuck" not in alerts, "it is a warning"
        restarts = running.last(
            ALL.filled(queries["annotation Exporter restarts"]), at - 60, at, ALL.interval
        )
        assert len(restarts) == 2
        for _, started in restarts:
            assert abs(started / 1000 - running.world.now) < 2 * 60


@contextmanager
def silent(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Stop the processes with SIGSTOP, and continue them at the end for the other tests."""
    try:
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def test_an_outage_is_shown(running: Stack) -> None:
    """While no exporter responds, the timeline shows no data and a text shows why."""
    by_title = {
        panel["title"]: target for panel, target in targets(DASHBOARDS["braze-cdi-overview"])
    }

    def gives(title: str) -> set[float]:
        return set(answers(running, by_title[title], ALL, time.time()).values())

    timeline, trust = "State over time, the 12 in most trouble", "Can this page be trusted?"
    with silent(running.exporters):
        eventually(lambda: gives(timeline) == {NO_DATA_CODE}, "the timeline shows no data")
        assert gives(trust) == {SILENT}
