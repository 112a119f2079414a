"""Watermarks in the future, unknown statuses and unreadable times, from JSON to exposition."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from tests.harness import Rig, journal_on, rig, scripted, simulator
from tests.simulator import HISTORY, ScriptedIntegration
from tests.virtual import EPOCH, run, virtual_clock

FAR = 4_070_908_800.0
"""2099."""

WATERMARK = "braze_cdi_watermark_timestamp_seconds"


def events(logs: Sequence[Any], name: str) -> list[Any]:
    """The log lines of one event."""
    return [each for each in logs if each["event"] == name]


async def shown(it: Rig) -> dict[str, Any]:
    """The only integration in the status document."""
    document = (await it.client.get("/api/v1/status")).json()
    (integration,) = document["workspaces"][0]["integrations"]
    return dict(integration)


async def after(it: Rig, seconds: float = 60.0) -> Any:
    """The page of a scrape after this time."""
    await asyncio.sleep(seconds)
    return await it.scrape()


def test_a_watermark_in_the_future_is_reported_once_until_a_normal_one(tmp_path: Path) -> None:
    """It is one warning and one concern, also across a restart. A normal watermark ends both."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted(runs=3)
        workspace = simulator(clock, one)
        path = tmp_path / "state.sqlite"
        with structlog.testing.capture_logs() as logs:
            async with rig(workspace, clock=clock, journal=journal_on(path, clock)) as it:
                await it.scrape()
                now = clock.wall()
                one.run(now, now + 30, rows_synced=1, watermark=FAR)
                for _ in range(3):
                    page = await after(it)
                assert page(WATERMARK) == FAR
                assert [each["kind"] for each in (await shown(it))["concerns"]] == ["watermark"]
            async with rig(workspace, clock=clock, journal=journal_on(path, clock)) as it:
                await after(it)
                one.run(clock.wall(), clock.wall() + 30, rows_synced=1, watermark=FAR - 60)
                page = await after(it)
                assert page(WATERMARK) == FAR - 60
                now = clock.wall()
                one.run(now, now + 30, rows_synced=1, watermark=now - 5)
                page = await after(it)
                assert page(WATERMARK) == now - 5
                assert (await shown(it))["concerns"] == []
                assert len(events(logs, "watermark in the future")) == 1
                one.run(clock.wall(), clock.wall() + 30, rows_synced=1, watermark=FAR)
                await after(it)
        (first, second) = events(logs, "watermark in the future")
        assert first == {
            "event": "watermark in the future",
            "log_level": "warning",
            "workspace": "w",
            "integration_id": "one",
            "integration_name": "sync-one",
            "watermark": "2099-01-01T00:00:00+00:00",
        }
        assert second == first

    run(main())


def test_an_unknown_status_is_shown_with_brazes_text() -> None:
    """The text is in the log line, on the page and in the JSON. Failures are still consecutive."""

    async def main() -> None:
        clock = virtual_clock()
        one = ScriptedIntegration("one", "sync-one")
        one.run(EPOCH - 7200, EPOCH - 7140)
        one.run(EPOCH - 3600, EPOCH - 3540, "error")
        async with rig(simulator(clock, one), clock=clock) as it:
            await it.scrape()
            with structlog.testing.capture_logs() as logs:
                now = clock.wall()
                one.run(now, now + 30, "limit_exceeded", rows_synced=7)
                page = await after(it)
            (line,) = events(logs, "sync finished")
            assert (line["status"], line["job_status"]) == ("unknown", "limit_exceeded")
            assert page("braze_cdi_syncs_total", status="unknown") == 1
            assert page("braze_cdi_consecutive_failures") == 1
            status = await shown(it)
            assert status["last_sync"]["status"] == "unknown"
            assert status["last_sync"]["job_status"] == "limit_exceeded"
            assert status["recent_syncs"][-1]["job_status"] == "limit_exceeded"
            assert [each["kind"] for each in status["concerns"]] == ["unknown"]
            assert "limit_exceeded" in (await it.client.get("/")).text
            with structlog.testing.capture_logs() as logs:
                one.run(clock.wall(), clock.wall() + 30, "error")
                page = await after(it)
            assert page("braze_cdi_consecutive_failures") == 2
            assert "job_status" not in events(logs, "sync finished")[0]

    run(main())


def test_an_unknown_status_of_a_run_in_progress_is_shown_with_brazes_text() -> None:
    """The run has no finish, so it is not counted."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted(runs=3)
        fields = {"job_status": "limit_exceeded"}
        one.run(EPOCH - 60, overrides=fields)
        one.list_fields = {"last_job_status": "limit_exceeded"}
        async with rig(simulator(clock, one), clock=clock) as it:
            page = await it.scrape()
            assert page("braze_cdi_syncs_running") == 1
            status = await shown(it)
            assert status["running_sync_job_status"] == "limit_exceeded"
            assert [each["kind"] for each in status["concerns"]] == ["unknown"]

    run(main())


def test_an_unknown_status_that_changes_in_the_list_is_read() -> None:
    """A different unknown status is a change; the same one is not."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted(runs=3)
        added = one.run(EPOCH - 100, EPOCH - 50, "limit_exceeded")
        async with rig(simulator(clock, one), clock=clock) as it:
            await it.scrape()
            reads = len(it.simulator.traffic[HISTORY].times)
            await after(it)
            assert len(it.simulator.traffic[HISTORY].times) == reads
            added.end(EPOCH - 50, "canceled")
            await after(it)
            assert len(it.simulator.traffic[HISTORY].times) == reads + 1
            assert (await shown(it))["last_sync"]["job_status"] == "canceled"

    run(main())


def test_integrations_are_removed_while_the_list_has_unreadable_times() -> None:
    """An item with an unreadable time is not missing, so the list is complete. It is counted."""

    async def main() -> None:
        clock = virtual_clock()
        bad = scripted("bad", 3, list_fields={"last_updated_at": 1_790_000_000})
        gone = scripted("gone", 3)
        async with rig(simulator(clock, bad, gone), clock=clock) as it:
            await it.scrape()
            it.simulator.remove("gone")
            for _ in range(15):
                page = await after(it)
            assert page("braze_cdi_integrations") == 1
            assert (page("braze_cdi_api_invalid_items_total", endpoint="integrations") or 0) >= 15

    run(main())


def test_a_run_whose_times_cannot_be_read_for_a_while_counts_once() -> None:
    """Braze writes its times in another format for a while."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted(runs=3)
        async with rig(simulator(clock, one), clock=clock) as it:
            await it.scrape()
            added = one.run(clock.wall(), rows_synced=5)
            await after(it)
            names = ("sync_start_time", "sync_finish_time")
            added.overrides = dict.fromkeys(names, "Wed, 25 Mar 2026 12:00:00 GMT")
            added.end(clock.wall(), rows_synced=5)
            for _ in range(3):
                page = await after(it)
            assert page("braze_cdi_syncs_total", status="success") == 0
            assert (page("braze_cdi_api_invalid_items_total", endpoint="job_sync_status") or 0) > 0
            added.overrides = {}
            added.end(added.finish / 1e6 if added.finish else 0.0, rows_synced=5)
            for _ in range(3):
                page = await after(it, 400)
            assert page("braze_cdi_syncs_total", status="success") == 1
            assert page("braze_cdi_rows_synced_total") == 5
            assert page("braze_cdi_syncs_running") == 0
            assert page("braze_cdi_history_gaps_total") == 0

    run(main())
