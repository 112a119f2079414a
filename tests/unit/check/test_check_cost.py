"""The estimated cost, compared with arithmetic and with a running exporter."""

import asyncio
from collections.abc import Iterable, Sequence

import pytest

from cdi_exporter.check.diagnosis import cost
from cdi_exporter.check.report import Cost
from cdi_exporter.config import ConfiguredIntegration, RateLimits, Refresh, WorkspaceConfig
from cdi_exporter.problems import HISTORY_PERMISSION
from tests.harness import KEY, rig, scripted, workspace
from tests.simulator import HISTORY, LIST, PERMISSIONS, IntegrationSpec, Simulator, many
from tests.unit.check.checking import checked, finding, one, simulated
from tests.virtual import EPOCH, run, virtual_clock

HOUR = 3_600.0


def cost_of(
    intervals: Sequence[float | None], *, listed: int | None, scrape_interval: float = 60.0
) -> Cost:
    """The cost with the documented limits at the default share."""
    return cost(
        intervals,
        listed=listed,
        scrape_interval=scrape_interval,
        min_interval=10.0,
        list_budget=40,
        history_budget=80,
    )


@pytest.mark.parametrize(
    ("scraped", "refreshed"), [(60, 60), (10, 10), (9, 9), (5, 10), (1, 9), (300, 300)]
)
def test_scrapes_in_quick_succession_share_a_refresh(scraped: float, refreshed: float) -> None:
    """A scrape starts a refresh at least 0.9 minimum intervals after the last refresh."""
    found = cost_of([HOUR] * 10, listed=10, scrape_interval=scraped)
    assert found.refresh_interval_seconds == refreshed
    assert found.integrations.requests_per_minute == pytest.approx(60 / refreshed, abs=0.01)
    assert found.keeps_up


def test_a_history_is_read_for_each_run_and_each_recheck() -> None:
    """Every 5 minutes; every hour with 4 re-checks in between; at most once per refresh."""
    found = cost_of([300.0] * 3 + [HOUR] * 3 + [1.0] * 2, listed=8)
    assert found.job_sync_status.requests_per_minute == pytest.approx(3 / 5 + 3 * 5 / 60 + 2)


def test_an_unknown_interval_is_assumed_to_be_the_mean_of_the_others() -> None:
    """If no interval is known, one hour is assumed."""
    found = cost_of([300.0, None], listed=2)
    assert found.intervals_assumed == 1
    assert found.job_sync_status.requests_per_minute == pytest.approx(0.4)
    assert cost_of([None], listed=1).job_sync_status.requests_per_minute == pytest.approx(
        5 / 60, abs=0.01
    )


def test_a_list_beyond_the_budget_is_read_as_often_as_the_budget_allows() -> None:
    """100 pages at 40 a minute take 2.5 minutes."""
    found = cost_of([HOUR] * 1000, listed=1000)
    assert found.refresh_interval_seconds == 150.0
    assert found.integrations.requests_per_minute == 40.0
    assert not found.keeps_up


def test_without_the_list_each_refresh_reads_each_history() -> None:
    """The budget for histories limits how often."""
    found = cost_of([HOUR] * 40, listed=None)
    assert found.job_sync_status.requests_per_minute == 40.0
    assert found.keeps_up
    found = cost_of([HOUR] * 160, listed=None)
    assert found.refresh_interval_seconds == 120.0
    assert not found.keeps_up


def test_histories_beyond_the_budget_are_reported() -> None:
    """More runs finish per minute than the budget allows to read, so their data is late."""
    busy = [scripted(f"i{each}") for each in range(5)]
    for each in busy:
        for number in range(9):
            each.run(EPOCH - 120 * number - 60, EPOCH - 120 * number - 50)
    limits = RateLimits(integrations=50, job_sync_status=1)
    found = one(simulated(*busy), refresh=Refresh(rate_limit_share=1.0, rate_limits=limits))
    assert found.cost is not None
    assert not found.cost.keeps_up
    assert "will be late" in finding(found, "budget_short").text


def test_a_budget_that_is_too_small_is_a_warning() -> None:
    """Watching works, but not every scrape causes a refresh."""
    found = one(simulated(*many(100, seed=1)), refresh=Refresh(rate_limits=RateLimits(5, 100)))
    assert found.ok
    assert "every 2 min 30 s" in finding(found, "budget_short").text


def test_a_lower_limit_reported_by_braze_applies() -> None:
    found = one(simulated(scripted("one", runs=3), limits={LIST: 10, HISTORY: 20}))
    assert found.cost is not None
    assert found.cost.integrations.budget_per_minute == 8
    assert found.cost.job_sync_status.budget_per_minute == 16


Population = Sequence[IntegrationSpec]


def measured(
    population: Population, config: WorkspaceConfig, permissions: Iterable[str], every: float
) -> tuple[float, float]:
    """Requests per minute to list and histories, measured over an hour of a running exporter."""

    async def main() -> tuple[float, float]:
        clock = virtual_clock()
        braze = Simulator(population, clock.wall, key=KEY, permissions=permissions, latency=0.1)
        traffic = [braze.traffic[endpoint].times for endpoint in (LIST, HISTORY)]
        async with rig(braze, workspaces=[config], clock=clock) as made:

            async def an_hour() -> list[int]:
                for _ in range(int(HOUR / every)):
                    due = clock.monotonic() + every
                    await made.scrape(seconds=10)
                    await asyncio.sleep(due - clock.monotonic())
                return [len(times) for times in traffic]

            before = await an_hour()
            lists, histories = (
                (after - earlier) / 60
                for after, earlier in zip(await an_hour(), before, strict=True)
            )
        return lists, histories

    return run(main())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "every", "listless"),
    [(20, 60.0, False), (50, 30.0, False), (20, 60.0, True)],
)
def test_the_estimate_matches_the_requests_of_a_running_exporter(
    number: int, every: float, listless: bool
) -> None:
    """The estimate differs by at most a quarter from the requests of one hour."""
    population = many(number, seed=3)
    permissions, named = [*PERMISSIONS.values()], None
    if listless:
        permissions = [HISTORY_PERMISSION]
        named = tuple(ConfiguredIntegration(each.id) for each in population)
    config = workspace(integrations=named)
    report = checked(
        simulated(*population, permissions=permissions), workspaces=[config], scrape_interval=every
    )
    reported = report.workspaces[0].cost
    assert reported is not None
    assert reported.keeps_up
    lists, histories = measured(population, config, permissions, every)
    assert reported.integrations.requests_per_minute == pytest.approx(lists, rel=0.1, abs=0.1)
    assert reported.job_sync_status.requests_per_minute == pytest.approx(
        histories, rel=0.25, abs=0.2
    )
