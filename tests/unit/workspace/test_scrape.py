"""When a scrape starts a refresh, how long it waits, and what it shows."""

import asyncio

import httpx
import pytest
import structlog

from cdi_exporter.config import ConfiguredIntegration
from tests.harness import Rig, passes, rig, scripted, simulator, workspace
from tests.simulator import HISTORY, LIST, Fault, FaultKind
from tests.virtual import EPOCH, run, virtual_clock

FOREVER = EPOCH + 1e9


def outage(start: float = EPOCH, end: float = FOREVER) -> Fault:
    return Fault(start, end, FaultKind.OUTAGE)


def hanging(start: float = EPOCH, end: float = FOREVER) -> Fault:
    return Fault(start, end, FaultKind.HANG, delay=1e6)


def test_the_first_scrape_shows_the_last_sync() -> None:
    """One scrape reads the list and the history, and shows rows, duration and status."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one")
        one.run(EPOCH - 100, EPOCH - 40, "partial", rows_synced=90, rows_failed=10)
        async with rig(simulator(clock, one), clock=clock) as it:
            page = await it.scrape()
        assert page("braze_cdi_last_sync_status", status="partial") == 1
        assert page("braze_cdi_last_sync_status", status="success") == 0
        assert page("braze_cdi_last_sync_rows_synced", integration_name="sync-one") == 90
        assert page("braze_cdi_last_sync_rows_failed") == 10
        assert page("braze_cdi_last_sync_duration_seconds") == 60
        assert page("braze_cdi_syncs_total", status="partial") == 0, "the baseline is not counted"
        assert page("braze_cdi_up") == 1

    run(main())


def test_a_run_that_finishes_later_counts_once() -> None:
    """A run is added to the counters once, even if it is read several times."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", runs=3)
        async with rig(simulator(clock, one), clock=clock) as it:
            await it.scrape()
            await passes(60)
            one.run(clock.wall() - 30, clock.wall() - 1, rows_synced=5, rows_failed=2)
            for _ in range(5):
                page = await it.scrape()
                await passes(60)
        assert page("braze_cdi_syncs_total", status="success") == 1
        assert page("braze_cdi_rows_synced_total") == 5
        assert page("braze_cdi_rows_failed_total") == 2
        assert page("braze_cdi_sync_duration_seconds_sum") == 29
        assert page("braze_cdi_sync_duration_seconds_count") == 1

    run(main())


def test_an_unchanged_integration_needs_no_history_read() -> None:
    """While the list is unchanged, only the list is requested."""

    async def main() -> None:
        clock = virtual_clock()
        async with rig(simulator(clock, scripted("one", 3), scripted("two", 3)), clock=clock) as it:
            for _ in range(20):
                await it.scrape()
                await passes(30)
            assert it.simulator.traffic[HISTORY].statuses[200] == 2
            assert it.simulator.traffic[LIST].statuses[200] == 20

    run(main())


def test_a_run_in_progress_is_shown_without_a_history_read() -> None:
    """The list shows the run in progress and its start, so the history is not needed."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", runs=3)
        async with rig(simulator(clock, one), clock=clock) as it:
            page = await it.scrape()
            assert page("braze_cdi_syncs_running") == 0
            await passes(60)
            one.run(clock.wall() - 20)
            page = await it.scrape()
            assert it.simulator.traffic[HISTORY].statuses[200] == 1
            assert page("braze_cdi_syncs_running") == 1
            assert page("braze_cdi_running_sync_start_timestamp_seconds") == EPOCH + 40.2
            assert page("braze_cdi_last_sync_start_timestamp_seconds") == EPOCH - 3600

    run(main())


def test_simultaneous_scrapes_share_one_refresh() -> None:
    """Scrapes within `min_interval` share one refresh."""

    async def main() -> None:
        clock = virtual_clock()
        async with rig(simulator(clock, scripted("one", 3)), clock=clock) as it:
            await asyncio.gather(*(it.scrape() for _ in range(10)))
            await passes(8)
            await it.scrape()
            assert it.simulator.traffic[LIST].statuses[200] == 1
            await passes(2)
            await it.scrape()
            assert it.simulator.traffic[LIST].statuses[200] == 2

    run(main())


@pytest.mark.parametrize(
    ("timeout", "least", "most"),
    [(5, 4.0, 4.5), (30, 29.0, 29.5), (None, 9.0, 9.5), ("nonsense", 9.0, 9.5), (0.2, 0.0, 0.0)],
)
def test_a_scrape_waits_for_a_hanging_api_until_its_deadline(
    timeout: object, least: float, most: float
) -> None:
    """If nothing is known yet, a scrape waits for its timeout minus the safety offset."""

    async def main() -> None:
        clock = virtual_clock()
        async with rig(simulator(clock, scripted(), faults=[hanging()]), clock=clock) as it:
            headers = (
                {} if timeout is None else {"X-Prometheus-Scrape-Timeout-Seconds": str(timeout)}
            )
            response = await it.client.get("/metrics", headers=headers)
            assert response.status_code == 200
            assert least <= clock.monotonic() <= most

    run(main())


def test_a_scrape_does_not_wait_for_a_workspace_that_failed_last() -> None:
    """While the API is down, a scrape is answered at once with the last known values."""

    async def main() -> None:
        clock = virtual_clock()
        it: Rig
        async with rig(simulator(clock, scripted("one", 3)), clock=clock) as it:
            await it.scrape()
            it.simulator.faults.append(hanging())
            await passes(30)
            await it.scrape()
            await passes(60)
            began = clock.monotonic()
            page = await it.scrape()
            assert clock.monotonic() == began
            assert page("braze_cdi_up") == 0
            assert page("braze_cdi_refresh_error", reason="timeout") == 1
            assert page("braze_cdi_last_sync_rows_synced") == 100
            assert page("braze_cdi_last_refresh_timestamp_seconds") == pytest.approx(EPOCH, abs=1)

    run(main())


def test_a_failing_workspace_neither_hides_nor_delays_others() -> None:
    """While one workspace's API hangs, the other's data stays fresh and its probe is fast."""

    async def main() -> None:
        clock = virtual_clock()
        healthy = simulator(clock, scripted("one", 3))
        failing = simulator(clock, scripted("two", 3), faults=[hanging()])
        async with rig(healthy, failing, clock=clock) as it:
            page = await it.scrape("/probe?workspace=w0")
            assert clock.monotonic() < 1
            assert page("braze_cdi_last_sync_rows_synced", workspace="w0") == 100
            page = await it.scrape()
            assert page("braze_cdi_up", workspace="w0") == 1
            assert page("braze_cdi_last_sync_rows_synced", workspace="w0") == 100
            assert not page.all("braze_cdi_last_sync_rows_synced", workspace="w1")

    run(main())


def test_a_refresh_continues_after_its_scrape_and_shows_partial_results() -> None:
    """A refresh continues after a short scrape was answered. The next scrape shows its results."""

    async def main() -> None:
        clock = virtual_clock()
        many = [scripted(f"{number:03}", 3) for number in range(60)]
        async with rig(simulator(clock, *many, latency=1.0), clock=clock) as it:
            page = await it.scrape(seconds=4)
            assert clock.monotonic() <= 3.5
            some = len(page.all("braze_cdi_last_sync_rows_synced"))
            assert 0 < some < 60
            await passes(30)
            page = await it.scrape()
            assert len(page.all("braze_cdi_last_sync_rows_synced")) == 60

    run(main())


def test_without_a_scrape_no_request_is_sent() -> None:
    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", runs=3)
        async with rig(simulator(clock, one), clock=clock) as it:
            await passes(100)
            assert it.requests() == 0
            await it.scrape()
            await passes(10)
            before = it.requests()
            one.run(clock.wall() - 5, clock.wall() - 1)
            await passes(86_400)
            assert it.requests() == before

    run(main())


def test_reading_the_pages_sends_no_request() -> None:
    """HEAD requests, the web pages and the exporter's own metrics send no request to Braze."""

    async def main() -> None:
        clock = virtual_clock()
        async with rig(simulator(clock, scripted()), clock=clock) as it:
            for path in ("/", "/-/metrics", "/-/healthy", "/-/ready", "/sd"):
                assert (await it.client.get(path)).status_code == 200
            head = await it.client.head("/metrics")
            assert head.status_code == 200
            assert it.requests() == 0

    run(main())


def test_an_unreachable_workspace_gets_one_request_with_retries_per_refresh() -> None:
    """While Braze is unreachable, a refresh makes one request with three tries."""

    async def main() -> None:
        clock = virtual_clock()
        async with rig(simulator(clock, scripted(), faults=[outage()]), clock=clock) as it:
            for number in range(1, 6):
                page = await it.scrape()
                await passes(30)
                assert it.requests() == 3 * number
            assert page("braze_cdi_refresh_error", reason="connection") == 1
            page = await it.scrape("/-/metrics")
            assert not page.all("braze_cdi_up"), "only the exporter's own metrics"

    run(main())


def test_an_unreachable_workspace_with_known_data_gets_few_more_requests() -> None:
    """If the list fails and integrations are known, a refresh also tries one history."""

    async def main() -> None:
        clock = virtual_clock()
        many = [scripted(f"{number:03}", 3) for number in range(30)]
        async with rig(simulator(clock, *many), clock=clock) as it:
            await it.scrape()
            await passes(30)
            it.simulator.faults.append(outage())
            for _ in range(10):
                before = it.requests()
                await it.scrape()
                await passes(120)
                assert it.requests() - before <= 6

    run(main())


def test_a_workspace_that_hangs_gets_no_more_requests() -> None:
    """Scrapes that arrive while a request hangs send no further requests."""

    async def main() -> None:
        clock = virtual_clock()
        many = [scripted(f"{number:03}", 3) for number in range(30)]
        async with rig(simulator(clock, *many), clock=clock) as it:
            await it.scrape()
            await passes(1200)  # re-checks are due
            it.simulator.faults.append(hanging())
            before = it.requests()
            for _ in range(5):
                await it.scrape(seconds=5)
                await passes(5)
            assert it.requests() - before <= 6

    run(main())


@pytest.mark.parametrize("kind", [FaultKind.ENDLESS, FaultKind.REPEATING_CURSOR])
def test_reading_a_list_whose_pages_repeat_stops(kind: FaultKind) -> None:
    """Repeating pages are an invalid response. The integrations on them are kept."""

    async def main() -> None:
        clock = virtual_clock()
        many = [scripted(f"{number:03}", 3) for number in range(25)]
        fault = Fault(EPOCH - 1, FOREVER, kind, endpoint=LIST)
        async with rig(simulator(clock, *many, faults=[fault]), clock=clock) as it:
            await it.scrape()
            await passes(30)
            page = await it.scrape()
            assert it.simulator.traffic[LIST].statuses[200] <= 8
            known = len(page.all("braze_cdi_last_sync_rows_synced"))
            assert known == (25 if kind is FaultKind.ENDLESS else 10)

    run(main())


def test_an_unknown_status_without_a_finish_is_not_a_change() -> None:
    """If the list and the history show the same status, the history is not read again."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", runs=3)
        one.run(EPOCH - 100, overrides={"job_status": "queued"})
        one.list_fields = {"last_job_status": "queued"}
        async with rig(simulator(clock, one), clock=clock) as it:
            for _ in range(10):
                await it.scrape()
                await passes(60)
            assert it.simulator.traffic[HISTORY].statuses[200] == 1

    run(main())


@pytest.mark.parametrize("number", [5, 200])
def test_integrations_are_fresh_even_if_the_list_shows_no_runs(number: int) -> None:
    """With few integrations, a scrape waits for the round-robin reads."""

    async def main() -> None:
        clock = virtual_clock()
        several = [scripted(f"{number:03}", 3) for number in range(number)]
        braze = simulator(clock, *several, list_has_last_job=False)
        async with rig(braze, clock=clock) as it:
            for _ in range(10):
                await it.scrape()
                await passes(30)
            several[0].run(clock.wall() - 20, clock.wall() - 1, rows_synced=5)
            began = clock.monotonic()
            page = await it.scrape()
            assert clock.monotonic() - began < 5
            if number == 5:
                assert page("braze_cdi_rows_synced_total", integration_id="000") == 5

    run(main())


def test_without_the_list_permission_configured_ids_are_read() -> None:
    """A key without `cdi.integration_list` works if the IDs are configured."""

    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(
            clock,
            scripted("one", 3),
            scripted("two", 3),
            permissions=["cdi.integration_job_status"],
        )
        config = workspace(
            integrations=(
                ConfiguredIntegration(id="one", name="users"),
                ConfiguredIntegration(id="two", name=None),
                ConfiguredIntegration(id="nowhere", name=None),
            )
        )
        async with rig(braze, workspaces=[config], clock=clock) as it:
            page = await it.scrape()
            assert page("braze_cdi_up") == 1
            assert page("braze_cdi_last_sync_rows_synced", integration_name="users") == 100
            assert page("braze_cdi_last_sync_rows_synced", integration_name="two") == 100
            assert page("braze_cdi_integration_up", integration_id="nowhere") == 0
            assert page("braze_cdi_integration_up", integration_id="two") == 1
            assert page("braze_cdi_integrations") == 3
            for _ in range(20):
                await passes(30)
                await it.scrape()
            assert it.simulator.traffic[LIST].statuses[403] == 1, "requested again every 15 minutes"
            await passes(300)
            await it.scrape()
            assert it.simulator.traffic[LIST].statuses[403] == 2

    run(main())


@pytest.mark.parametrize("kind", [FaultKind.BAD_MESSAGE, FaultKind.NO_RESULTS, FaultKind.HTML])
def test_a_workspace_without_a_valid_response_stays_down(kind: FaultKind) -> None:
    """While the list and the histories fail, it is down, even if no history read is due yet."""

    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(clock, scripted("one", 3))
        async with rig(braze, clock=clock) as it:
            await it.scrape()
            braze.faults = [Fault(0, 9e9, kind)]
            await passes(20)
            await it.scrape()
            for _ in range(60):
                await passes(11)
                page = await it.scrape()
                assert page("braze_cdi_up") == 0
                assert sum(page.all("braze_cdi_refresh_error")) == 1
            braze.faults = []
            await passes(11)
            await it.scrape()
            await passes(11)
            assert (await it.scrape())("braze_cdi_up") == 1

    run(main())


def test_a_failed_round_robin_refresh_stays_failed_until_a_history_is_read() -> None:
    """Without the list permission, a read that is postponed does not count as a success."""

    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(clock, scripted("one", 3), permissions=["cdi.integration_job_status"])
        config = workspace(integrations=(ConfiguredIntegration(id="one", name=None),))
        async with rig(braze, workspaces=[config], clock=clock) as it:
            assert (await it.scrape())("braze_cdi_up") == 1
            braze.faults = [Fault(0, 9e9, FaultKind.SERVER_ERROR)]
            await passes(20)
            await it.scrape()
            for _ in range(60):
                await passes(11)
                assert (await it.scrape())("braze_cdi_up") == 0

    run(main())


def test_discovery_without_the_list_permission_names_it() -> None:
    """With `auto`, a missing list permission is an error that names the permission."""

    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(clock, scripted(), permissions=["cdi.integration_job_status"])
        async with rig(braze, clock=clock) as it:
            page = await it.scrape()
            assert page("braze_cdi_up") == 0
            assert page("braze_cdi_refresh_error", reason="forbidden") == 1
            assert "cdi.integration_list" in (await it.client.get("/")).text

    run(main())


def test_a_wrong_key_gets_one_request_per_refresh() -> None:
    """A 401 ends the refresh and is not retried within it."""

    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(clock, scripted())
        braze.key = "another"
        async with rig(braze, clock=clock) as it:
            page = await it.scrape()
            assert it.requests() == 1
            assert page("braze_cdi_refresh_error", reason="unauthorized") == 1
            assert page("braze_cdi_api_requests_total", code="401") == 1

    run(main())


def test_reads_due_between_refreshes_delay_no_scrape() -> None:
    """The read starts after the scrape was answered. The next scrape shows its result."""

    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(clock, scripted("one", 3))
        braze.faults = [Fault(0, EPOCH + 5, FaultKind.SERVER_ERROR, HISTORY)]
        async with rig(braze, clock=clock) as it:
            await it.scrape()
            await passes(EPOCH + 8.5 - clock.wall())
            began, before = clock.wall(), it.requests()
            for _ in range(3):
                page = await it.scrape()
                assert page("braze_cdi_integration_up") == 0
            assert (clock.wall(), it.requests()) == (began, before)
            await passes(0.4)
            page = await it.scrape()
            assert page("braze_cdi_integration_up") == 1
            assert it.requests() == before + 1

    run(main())


def test_after_a_429_requests_wait_for_retry_after() -> None:
    """After a 429, no request is sent before its Retry-After is over."""

    async def main() -> None:
        clock = virtual_clock()
        other_tool = Fault(EPOCH - 60, EPOCH + 90, FaultKind.OTHER_TOOL, per_minute=1e4)
        braze = simulator(clock, scripted("one", 3), faults=[other_tool], limit_window="fixed")
        async with rig(braze, clock=clock) as it:
            page = await it.scrape()
            assert page("braze_cdi_refresh_error", reason="rate_limited") == 1
            requests = it.requests()
            assert requests == 1
            for _ in range(30):
                await passes(10)
                page = await it.scrape()
            assert page("braze_cdi_up") == 1
            assert page("braze_cdi_refresh_error", reason="rate_limited") == 0

    run(main())


def test_a_scrape_during_shutdown_is_answered_with_the_known_data() -> None:
    """A waiting scrape is answered at once when the exporter stops."""

    async def main() -> None:
        clock = virtual_clock()
        async with rig(simulator(clock, scripted(), faults=[hanging()]), clock=clock) as it:
            waiting = asyncio.create_task(it.scrape())
            await passes(1)
            it.exporter.release()
            await waiting
            assert clock.monotonic() == 1

    run(main())


def test_a_client_that_disconnects_cancels_nothing() -> None:
    """A refresh continues after the client that started it has disconnected."""

    async def main() -> None:
        clock = virtual_clock()
        async with rig(simulator(clock, scripted("one", 3), latency=2.0), clock=clock) as it:
            impatient = asyncio.create_task(it.client.get("/metrics"))
            await passes(1)
            impatient.cancel()
            with pytest.raises(asyncio.CancelledError):
                await impatient
            await passes(5)
            page = await it.scrape()
            assert page("braze_cdi_last_sync_rows_synced") == 100
            assert it.requests() == 2

    run(main())


def test_wrong_methods_and_paths_are_rejected() -> None:
    """Wrong methods and paths get 405, 404 or 400, and send no request to Braze."""

    async def main() -> None:
        clock = virtual_clock()
        async with rig(simulator(clock, scripted()), clock=clock) as it:
            statuses = {
                ("POST", "/metrics"): 405,
                ("DELETE", "/"): 405,
                ("GET", "/nothing"): 404,
                ("GET", "/metrics/"): 404,
                ("GET", "/probe"): 400,
                ("GET", "/probe?workspace=nobody"): 404,
                ("POST", "/-/reload"): 403,
                ("GET", "/-/reload"): 405,
            }
            for (method, path), status in statuses.items():
                response: httpx.Response = await it.client.request(method, path)
                assert response.status_code == status, (method, path)
            assert '"w"' in (await it.client.get("/probe?workspace=nobody")).text
            assert it.requests() == 0

    run(main())


def test_the_first_successful_refresh_is_logged_once() -> None:
    """The log line contains the number of integrations, which confirms a working start."""

    async def main() -> None:
        clock = virtual_clock()
        with structlog.testing.capture_logs() as logs:
            async with rig(simulator(clock, scripted(runs=1)), clock=clock) as it:
                for _ in range(3):
                    await it.scrape()
                    await clock.sleep(60.0)
        first = [each for each in logs if each["event"] == "first refresh succeeded"]
        assert [(each["workspace"], each["integrations"]) for each in first] == [("w", 1)]

    run(main())
