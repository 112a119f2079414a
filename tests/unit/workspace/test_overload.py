"""More runs than the budget lets the exporter read one by one."""

from cdi_exporter.config.settings import RateLimits, Refresh
from cdi_exporter.simulator import HISTORY, LIST, Simulator, many
from tests.harness import passes, rig, workspace
from tests.virtual import EPOCH, run, virtual_clock

HOUR = 3600.0


def test_catching_up_is_not_put_off_for_ever() -> None:
    """After hours that nobody watched, older pages are read although newer runs keep coming."""

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
