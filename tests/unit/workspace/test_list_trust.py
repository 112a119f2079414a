"""A list that was late about a run is distrusted for a day."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.harness import KEY, Rig, rig, scripted, simulator
from tests.simulator import HISTORY, ScriptedIntegration, Simulator, many
from tests.unit.workspace.test_restart import StatefulSetup, finish
from tests.virtual import run, virtual_clock

HOUR, DAY = 3600.0, 86_400.0
EVERY = 300.0
"""Seconds between two scrapes."""

PER_HOUR = 12


def freeze_list_item(one: ScriptedIntegration) -> None:
    """Freeze the list item: from now on it shows the newest run of this moment."""
    newest = max(each.start for each in one.runs) / 1e6
    one.list_fields = {
        "last_job_start_time": datetime.fromtimestamp(newest, UTC).isoformat(),
        "last_job_status": "success",
    }


async def scrapes(it: Rig, seconds: float, *hourly: ScriptedIntegration) -> int:
    """Scrape while `hourly` have one run per hour; return the number of history reads."""
    before = len(it.simulator.traffic[HISTORY].times)
    for number in range(int(seconds / EVERY)):
        if number % 12 == 6:
            for one in hourly:
                finish(one, it.clock, 1)
        await asyncio.sleep(EVERY)
        await it.scrape()
    return len(it.simulator.traffic[HISTORY].times) - before


async def incident(it: Rig, *several: ScriptedIntegration) -> None:
    """The list is late about one run of each integration."""
    await it.scrape()
    for one in several:
        freeze_list_item(one)
    await scrapes(it, 1.5 * HOUR, *several)
    for one in several:
        one.list_fields = {}


@pytest.mark.parametrize("keeps_running", [True, False], ids=["hourly", "no further run"])
def test_a_list_that_was_late_once_is_trusted_again_after_a_day(keeps_running: bool) -> None:
    """For a day each refresh reads the history; then only changes are read."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", 3)
        async with rig(simulator(clock, one), clock=clock) as it:
            await incident(it, one)
            running = (one,) if keeps_running else ()
            assert await scrapes(it, 22 * HOUR, *running) >= 22 * PER_HOUR - 1
            await scrapes(it, 3 * HOUR, *running)
            assert await scrapes(it, 4 * HOUR, *running) <= 4 * 5

    run(main())


@pytest.mark.parametrize("crash", [True, False])
def test_a_restart_does_not_change_whether_the_list_is_trusted(tmp_path: Path, crash: bool) -> None:
    """The day is counted from when the list was late, across restarts."""
    one = scripted("one", 3)

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one)
        async with setup.exporter(crash=crash) as first:
            await incident(first, one)
            await scrapes(first, 12 * HOUR, one)
            await asyncio.sleep(5)
        async with setup.exporter(crash=crash) as second:
            assert await scrapes(second, HOUR, one) >= PER_HOUR - 1
            await scrapes(second, 13 * HOUR, one)
            await asyncio.sleep(5)
        async with setup.exporter() as third:
            assert await scrapes(third, 4 * HOUR, one) <= 4 * 5

    run(scenario())


@pytest.mark.slow
def test_a_list_that_stays_late_stays_distrusted() -> None:
    """It stays distrusted although the history was read in time."""

    async def main() -> None:
        clock = virtual_clock()
        (spec,) = many(1, 3, interval=HOUR, duration_median=60.0, duration_sigma=0.1)
        braze = Simulator([spec], clock.wall, key=KEY, latency=0.1, list_lag=1200.0)
        async with rig(braze, clock=clock) as it:
            await scrapes(it, 6 * HOUR)
            assert await scrapes(it, 48 * HOUR) >= 48 * PER_HOUR - 1

    run(main())


def test_an_incident_of_many_integrations_does_not_use_the_budget_permanently() -> None:
    """While the list is distrusted, histories are read in turns; after a day the reads stop."""

    async def main() -> None:
        clock = virtual_clock()
        several = [scripted(f"{number:03}", 3) for number in range(200)]
        async with rig(simulator(clock, *several), clock=clock) as it:
            await scrapes(it, HOUR)
            await incident(it, *several)
            assert await scrapes(it, HOUR) >= 200 * (PER_HOUR - 1)
            await asyncio.sleep(DAY)
            await scrapes(it, HOUR)
            assert await scrapes(it, HOUR) <= 200 * 5
            assert it.simulator.too_many == 0


@pytest.mark.slow
def test_round_robin_reads_every_history_equally_often() -> None:
    """Every history is read equally often, and the budget is not exceeded."""

    async def main() -> None:
        clock = virtual_clock()
        several = [scripted(f"{number:03}", 3) for number in range(200)]
        braze = simulator(clock, *several, list_has_last_job=False)
        async with rig(braze, clock=clock) as it:
            await scrapes(it, HOUR)
            began = clock.wall()
            for _ in range(60):
                await asyncio.sleep(10)
                await it.scrape()
            recent = it.simulator.traffic[HISTORY].recent
            reads = Counter(each.integration_id for each in recent if each.time > began)
            assert len(reads) == 200
            assert max(reads.values()) - min(reads.values()) <= 1
            assert reads.total() <= 80 * 11
            assert it.simulator.too_many == 0

    run(main())
