"""More runs than the request budget allows the exporter to read one by one."""

import pytest

from cdi_exporter.config import ConfiguredIntegration
from cdi_exporter.config.settings import RateLimits, Refresh
from tests.harness import passes, rig, scripted, simulator, workspace
from tests.simulator import (
    HISTORY,
    LIST,
    PERMISSIONS,
    Fault,
    FaultKind,
    Simulator,
    many,
)
from tests.virtual import EPOCH, run, virtual_clock

HOUR = 3600.0
REFRESHED = "braze_cdi_integration_last_refresh_timestamp_seconds"


@pytest.mark.slow
def test_catch_up_is_never_postponed_permanently() -> None:
    """After hours without a scrape, older pages are read although newer runs keep coming."""

    async def main() -> None:
        clock = virtual_clock()
        specs = many(40, 1, interval=300.0, duration_median=20.0, duration_sigma=0.1)
        braze = Simulator(
            specs,
            clock.wall,
            key="simulated-key",
            limits={LIST: 50, HISTORY: 10},
            limit_window="sliding",
            latency=0.1,
        )
        refresh = Refresh(rate_limits=RateLimits(job_sync_status=10))
        config = workspace(refresh=refresh)
        async with rig(braze, workspaces=[config], clock=clock) as it:

            async def scrapes(hours: float) -> None:
                for _ in range(int(hours * 60)):
                    await passes(60)
                    page = await it.scrape()
                    shown.update(
                        {
                            spec.id: sum(page.all("braze_cdi_syncs_total", integration_id=spec.id))
                            for spec in specs
                        }
                    )
                    assert not any(page.all("braze_cdi_history_gaps_total"))

            shown: dict[str, float] = {}
            await scrapes(0.5)
            await passes(3 * HOUR)
            await scrapes(3.0)
            seen = EPOCH + 0.5 * HOUR
            for spec in specs:
                truth = braze.truth.finished_runs(spec.id, seen, clock.wall() - HOUR)
                assert shown[spec.id] >= len(truth), f"{spec.name} lags behind"
            assert braze.too_many == 0

    run(main())


@pytest.mark.slow
@pytest.mark.parametrize("listed", [True, False])
def test_newest_pages_are_read_while_catching_up_is_overdue(listed: bool) -> None:
    """After hours without a scrape, gauges are updated before all older pages are read."""

    async def main() -> None:
        clock = virtual_clock()
        specs = many(20, 1, interval=300.0, duration_median=20.0, duration_sigma=0.1)
        permissions = [*PERMISSIONS.values()] if listed else [PERMISSIONS[HISTORY]]
        braze = Simulator(
            specs,
            clock.wall,
            key="simulated-key",
            permissions=permissions,
            limits={LIST: 50, HISTORY: 5},
            limit_window="sliding",
            latency=0.1,
        )
        config = workspace(
            refresh=Refresh(rate_limits=RateLimits(job_sync_status=5)),
            integrations=tuple(ConfiguredIntegration(id=spec.id, name=None) for spec in specs),
        )
        async with rig(braze, workspaces=[config], clock=clock) as it:
            for _ in range(30):
                await passes(60)
                await it.scrape()
            await passes(6 * HOUR)
            missed = len(braze.truth.finished_runs(specs[0].id, EPOCH + 1800, clock.wall())) - 2
            caught_up = []
            for minute in range(240):
                await passes(60)
                page = await it.scrape()
                oldest = clock.wall() - min(page.all(REFRESHED))
                assert minute < 20 or oldest < 900, f"minute {minute}: {oldest:.0f} s old"
                counted = page.all("braze_cdi_syncs_total", status="success")
                caught_up.append(sum(each > missed for each in counted))
            last = caught_up.index(len(specs))
            assert caught_up[last // 2] >= len(specs) / 3, (
                "they catch up one after the other, not all at the end"
            )

    run(main())


def test_a_list_that_failed_is_soon_read_again() -> None:
    """A short failure of the list does not cause a read of every history."""

    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(clock, *(scripted(f"{number:03}", 3) for number in range(150)))
        refresh = Refresh(rate_limits=RateLimits(job_sync_status=20))
        async with rig(braze, workspaces=[workspace(refresh=refresh)], clock=clock) as it:

            async def scrapes(minutes: int) -> None:
                for _ in range(2 * minutes):
                    await it.scrape()
                    await passes(30)

            await scrapes(12)
            began = clock.wall()
            braze.faults = [Fault(began, began + 5, FaultKind.SERVER_ERROR, endpoint=LIST)]
            earlier = len(braze.traffic[LIST].times)
            await scrapes(3)
            later = [time for time in braze.traffic[LIST].times[earlier:] if time > began + 5]
            assert later
            assert later[0] < began + 100
            assert braze.traffic[HISTORY].statuses[200] < 200

    run(main())
