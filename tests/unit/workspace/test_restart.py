"""An exporter with a state file that stops or crashes, and starts again."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from cdi_exporter.app import Exporter
from cdi_exporter.clock import Clock
from cdi_exporter.config import ConfiguredIntegration, Settings, WorkspaceConfig
from cdi_exporter.state import SqliteJournal, StateError, Store
from cdi_exporter.state.schema import APPLICATION_ID, STEPS
from cdi_exporter.workspace import REMEMBERED_FOR
from tests.harness import Rig, inline, journal_on, rig, scripted, simulator, workspace
from tests.simulation.direct import DirectTransport
from tests.simulator import (
    HISTORY,
    LIST,
    PERMISSIONS,
    Fault,
    FaultKind,
    ScriptedIntegration,
    Simulator,
)
from tests.virtual import EPOCH, run, virtual_clock


class StatefulSetup:
    """A simulated workspace, a state file, and exporters that start and stop."""

    def __init__(self, folder: Path, *integrations: ScriptedIntegration) -> None:
        self.path = folder / "state.sqlite"
        self.clock: Clock = virtual_clock()
        self.simulator: Simulator = simulator(self.clock, *integrations)

    @asynccontextmanager
    async def exporter(
        self, *, crash: bool = False, config: WorkspaceConfig | None = None
    ) -> AsyncIterator[Rig]:
        """Run an exporter on the state file; with `crash` its last changes are not written."""
        store = Store(str(self.path), self.clock.wall)
        journal = SqliteJournal(store, self.clock, offload=inline)
        workspaces = [config or workspace()]
        try:
            async with rig(
                self.simulator, workspaces=workspaces, clock=self.clock, journal=journal
            ) as one:
                yield one
                if crash:
                    store.close()
        finally:
            store.close()

    def read(self) -> int:
        """The number of history requests so far."""
        return len(self.simulator.traffic[HISTORY].times)


def finish(integration: ScriptedIntegration, clock: Clock, rows: int = 40) -> None:
    """Add a run that has just finished."""
    now = clock.wall()
    integration.run(now - 30, now, rows_synced=rows)


@pytest.mark.parametrize("crash", [False, True])
def test_runs_that_finish_meanwhile_are_counted_once(tmp_path: Path, crash: bool) -> None:
    """After a restart the counters continue and include the runs that finished in between."""
    one = scripted(runs=3)

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one)
        async with setup.exporter(crash=crash) as first:
            assert (await first.scrape())("braze_cdi_syncs_total", status="success") == 0
            await asyncio.sleep(60)
            finish(one, setup.clock)
            page = await first.scrape()
            assert page("braze_cdi_syncs_total", status="success") == 1
            assert page("braze_cdi_rows_synced_total") == 40
        for _ in range(35):
            await asyncio.sleep(300)
            finish(one, setup.clock)
        async with setup.exporter() as second:
            await second.scrape()
            await asyncio.sleep(60)
            page = await second.scrape()
            assert page("braze_cdi_syncs_total", status="success") == 36
            assert page("braze_cdi_rows_synced_total") == 36 * 40
            assert page("braze_cdi_history_gaps_total") == 0

    run(scenario())


def test_a_restart_does_not_read_unchanged_histories(tmp_path: Path) -> None:
    """If the list is unchanged, no history is read and the values are shown as before."""
    integrations = [scripted(str(number), runs=5) for number in range(30)]

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, *integrations)
        async with setup.exporter() as first:
            await first.scrape()
            before = await first.scrape()
        before_restart = setup.read()
        async with setup.exporter() as second:
            after = await second.scrape()
            assert setup.read() == before_restart
            for name in ("braze_cdi_last_sync_rows_synced", "braze_cdi_typical_sync_rows"):
                assert after.all(name) == before.all(name)
            assert after("braze_cdi_integrations") == 30

    run(scenario())


def test_known_data_is_shown_while_braze_is_down(tmp_path: Path) -> None:
    """An exporter that starts during an outage shows the last values and their age."""
    one = scripted(runs=3)

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one)
        async with setup.exporter() as first:
            known = await first.scrape()
        await asyncio.sleep(600)
        setup.simulator.faults = [Fault(0, 9e9, FaultKind.OUTAGE)]
        async with setup.exporter() as second:
            page = await second.scrape()
            assert page("braze_cdi_up") == 0
            assert page("braze_cdi_last_sync_rows_synced") == 100
            name = "braze_cdi_integration_last_refresh_timestamp_seconds"
            assert page(name) == known(name)
            assert page("braze_cdi_integration_info") == 1

    run(scenario())


def test_all_runs_of_a_new_integration_count_after_a_crash(tmp_path: Path) -> None:
    """An integration created while the exporter was down is new: all its runs count."""
    one, late = scripted("one", runs=3), scripted("late")

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one)
        async with setup.exporter(crash=True) as first:
            await first.scrape()
            await asyncio.sleep(2)
        for _ in range(4):
            await asyncio.sleep(60)
            finish(late, setup.clock, rows=10)
        setup.simulator.add(late)
        async with setup.exporter() as second:
            await second.scrape()
            await asyncio.sleep(60)
            page = await second.scrape()
            late_ = {"integration_id": "late"}
            assert page("braze_cdi_syncs_total", status="success", **late_) == 4
            assert page("braze_cdi_rows_synced_total", integration_id="one") == 0

    run(scenario())


def test_counters_wait_while_nothing_can_be_written(tmp_path: Path) -> None:
    """While the disk is full, gauges change and counters stay; later the counters catch up."""
    one = scripted(runs=3)

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one)
        async with setup.exporter() as rig_:
            await rig_.scrape()
            await asyncio.sleep(60)
            store = Store.__new__(Store)
            journal = rig_.exporter._journal
            assert isinstance(journal, SqliteJournal)
            good, journal._store = journal._store, store
            store.path = "full"
            store.commit = _full  # type: ignore[method-assign, assignment]
            finish(one, setup.clock, rows=7)
            page = await rig_.scrape()
            assert page("braze_cdi_last_sync_rows_synced") == 7
            assert page("braze_cdi_syncs_total", status="success") == 0
            page = await rig_.scrape()
            assert page("cdi_exporter_state_writes_failed_total") is not None
            assert page("cdi_exporter_state_writes_failed_total") > 0  # type: ignore[operator]
            journal._store = good
            await asyncio.sleep(120)
            page = await rig_.scrape()
            assert page("braze_cdi_syncs_total", status="success") == 1

    run(scenario())


def _full(*args: object) -> None:
    raise StateError("database or disk is full")


def test_a_removed_integration_returns_with_its_counters(tmp_path: Path) -> None:
    """An integration that returns within 30 days, after a restart, keeps its counters."""
    one, other = scripted("one", runs=3), scripted("other", runs=3)

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one, other)
        async with setup.exporter() as first:
            await first.scrape()
            await asyncio.sleep(60)
            finish(one, setup.clock)
            await first.scrape()
            setup.simulator.remove("one")
            for _ in range(30):
                await asyncio.sleep(60)
                page = await first.scrape()
            assert page.all("braze_cdi_rows_synced_total", integration_id="one") == []
        async with setup.exporter() as second:
            page = await second.scrape()
            assert page.all("braze_cdi_rows_synced_total", integration_id="one") == []
            setup.simulator.add(one)
            await asyncio.sleep(60)
            page = await second.scrape()
            assert page("braze_cdi_rows_synced_total", integration_id="one") == 40

    run(scenario())


def test_state_belongs_to_a_workspace_name_and_an_integration_id(tmp_path: Path) -> None:
    """Another workspace name starts from zero; an ID that becomes configured continues."""
    one = scripted("one", runs=3)

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one)
        async with setup.exporter() as first:
            await first.scrape()
            await asyncio.sleep(60)
            finish(one, setup.clock)
            await first.scrape()
        async with setup.exporter(config=workspace("elsewhere")) as second:
            page = await second.scrape()
            assert page("braze_cdi_rows_synced_total") == 0
        ids = (ConfiguredIntegration("one", "chosen name"),)
        async with setup.exporter(config=workspace(integrations=ids)) as third:
            page = await third.scrape()
            name = {"integration_name": "chosen name"}
            assert page("braze_cdi_rows_synced_total", **name) == 40

    run(scenario())


def test_an_unreadable_record_stops_the_start(tmp_path: Path) -> None:
    """A malformed record is an error, and is not treated as missing."""
    one = scripted("one", runs=3)

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one)
        async with setup.exporter() as first:
            await first.scrape()
        with sqlite3.connect(setup.path) as connection:
            connection.execute("UPDATE integrations SET record = '{\"knowledge\": 1}'")
        connection.close()
        journal = journal_on(setup.path, setup.clock)
        with pytest.raises(StateError) as error:
            Exporter(Settings((workspace(),)), setup.clock, journal=journal)
        assert str(error.value) == (
            "unreadable record in the workspace 'w', integration 'one': knowledge: expected"
            " an object; restore a backup, or move it away to start with no history"
        )
        await journal.close()

    run(scenario())


def test_a_long_catch_up_continues_after_a_crash(tmp_path: Path) -> None:
    """Each run counts once, even if crashes interrupted the catch-up several times."""
    one = scripted(runs=30)

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one)
        async with setup.exporter() as first:
            await first.scrape()
            await asyncio.sleep(5)
        for _ in range(300):
            await asyncio.sleep(60)
            finish(one, setup.clock, rows=1)
        for _ in range(6):
            async with setup.exporter(crash=True) as next_:
                await next_.scrape(seconds=1)
                await asyncio.sleep(1)
        async with setup.exporter() as last:
            await last.scrape()
            await asyncio.sleep(60)
            page = await last.scrape()
            assert page("braze_cdi_rows_synced_total") == 300
            assert page("braze_cdi_history_gaps_total") == 0

    run(scenario())


def test_a_reload_keeps_counters_that_wait_to_be_written(tmp_path: Path) -> None:
    """A workspace that is removed from the configuration and added again continues."""
    one = scripted(runs=3)

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one)
        async with setup.exporter() as rig_:
            await rig_.scrape()
            await asyncio.sleep(60)
            finish(one, setup.clock)
            await rig_.scrape()
            await reload(rig_, workspace("other"))
            await reload(rig_, workspace())
            counters = rig_.exporter.workspaces["w"].snapshot().integrations[0].facts.counters
            assert counters
            assert counters.rows_synced == 40

    run(scenario())


async def reload(rig_: Rig, *configs: WorkspaceConfig) -> None:
    """Give the exporter another configuration; every workspace uses the same simulator."""

    async def load() -> Settings:
        return Settings(configs)

    rig_.exporter._load = load
    rig_.exporter._clients._transport = lambda _: DirectTransport(rig_.simulator)
    await rig_.exporter.reload()


def test_a_reload_shows_only_committed_counters(tmp_path: Path) -> None:
    """Counters wait for their commit across reloads, and are shown once they are written."""
    one = scripted(runs=3)

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one)
        async with setup.exporter() as rig_:
            await rig_.scrape()
            await asyncio.sleep(60)
            journal = rig_.exporter._journal
            assert isinstance(journal, SqliteJournal)
            commit = journal._store.commit
            journal._store.commit = _full  # type: ignore[method-assign, assignment]
            finish(one, setup.clock)
            await rig_.scrape()
            await reload(rig_, workspace("other"))
            await asyncio.sleep(1)
            await reload(rig_, workspace())
            page = await rig_.scrape()
            assert page("braze_cdi_last_sync_rows_synced") == 40
            assert page("braze_cdi_rows_synced_total") == 0
            journal._store.commit = commit  # type: ignore[method-assign]
            await asyncio.sleep(120)
            page = await rig_.scrape()
            assert page("braze_cdi_rows_synced_total") == 40

    run(scenario())


@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_each_run_is_logged_once_however_slow_the_disk_is(tmp_path: Path, seconds: float) -> None:
    """A reload during a slow commit neither repeats nor loses a log line."""
    one = scripted(runs=3)

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one)
        async with setup.exporter() as rig_:
            await rig_.scrape()
            await asyncio.sleep(60)
            journal = rig_.exporter._journal
            assert isinstance(journal, SqliteJournal)
            journal._queue._offload = slow(seconds)
            with structlog.testing.capture_logs() as logs:
                for rows in (1, 2, 3):
                    finish(one, setup.clock, rows)
                    await rig_.scrape()
                    await asyncio.sleep(11)
                finish(one, setup.clock, 4)
                await rig_.scrape(seconds=1)
                rig_.exporter.workspaces["w"].hand_over()
                await asyncio.sleep(60)
        reported_rows = [
            entry["rows_synced"] for entry in logs if entry["event"] == "sync finished"
        ]
        assert reported_rows == [1, 2, 3, 4]

    run(scenario())


def slow(seconds: float) -> Callable[[Callable[[], None]], Awaitable[None]]:
    """A disk that needs so many seconds before and after each write."""

    async def offload(work: Callable[[], None]) -> None:
        await asyncio.sleep(seconds)
        work()
        await asyncio.sleep(seconds)

    return offload


def test_state_files_of_the_first_release_are_read(tmp_path: Path) -> None:
    """The state of the first release is shown while Braze is unreachable."""

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path)
        dump = Path(__file__).parents[1] / "state" / "format-1.sql"
        with sqlite3.connect(setup.path) as connection:
            connection.executescript(dump.read_text("utf-8"))
        connection.close()
        setup.simulator.faults = [Fault(0, 9e9, FaultKind.OUTAGE)]
        async with setup.exporter(config=workspace("production")) as rig_:
            page = await rig_.scrape()
            assert page("braze_cdi_integrations") == 1
            assert page("braze_cdi_syncs_total", status="success", integration_id="5f2c") == 1
            assert page("braze_cdi_rows_synced_total") == 40
            assert page("braze_cdi_sync_duration_seconds_sum") == 30
            assert page("braze_cdi_last_sync_start_timestamp_seconds") == 1790000030.3
            assert page("braze_cdi_typical_sync_rows") == 105
            assert page("braze_cdi_history_start_timestamp_seconds") == 1789964000

    run(scenario())


def records(setup: StatefulSetup) -> dict[str, bool]:
    """The IDs in the state file, and whether each has a record."""
    with sqlite3.connect(setup.path) as connection:
        rows = connection.execute("SELECT id, record IS NOT NULL FROM integrations").fetchall()
    connection.close()
    return {key: bool(known) for key, known in rows}


@pytest.mark.parametrize("restart", [False, True])
def test_workspaces_that_are_no_longer_configured_are_forgotten(
    tmp_path: Path, restart: bool
) -> None:
    """They are forgotten 30 days after they left the configuration, even if the list is not
    readable.
    """
    both = [scripted("one", runs=3), scripted("other", runs=3)]
    named = [workspace(integrations=tuple(map(ConfiguredIntegration, ids))) for ids in ONE_AND_BOTH]

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, *both)
        setup.simulator.permissions -= {PERMISSIONS[LIST]}
        async with setup.exporter(config=named[1]) as first:
            await first.scrape()
            await asyncio.sleep(20)
            if not restart:
                await reload(first, named[0])
                await month(first)
        if restart:
            async with setup.exporter(config=named[0]) as second:
                await month(second)
        assert records(setup) == {"one": True}

    async def month(rig_: Rig) -> None:
        await rig_.scrape()
        await asyncio.sleep(REMEMBERED_FOR - 60)
        await rig_.scrape()
        await asyncio.sleep(20)
        kept = rig_.exporter._journal._store.load("w")  # type: ignore[attr-defined]
        assert sum(row.record is not None for row in kept.rows) == 2
        await asyncio.sleep(600)
        await rig_.scrape()
        await asyncio.sleep(20)

    run(scenario())


ONE_AND_BOTH = (("one",), ("one", "other"))


@pytest.mark.parametrize("jump", [-5 * 86_400.0, 5 * 86_400.0])
def test_a_changed_system_clock_loses_nothing(tmp_path: Path, jump: float) -> None:
    """Each run counts once, and no refresh time lies in the future."""
    one = scripted(runs=3)

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one)
        braze = setup.clock
        async with setup.exporter(crash=True) as first:
            await first.scrape()
            await asyncio.sleep(60)
            finish(one, braze)
            await first.scrape()
        setup.clock = replace(braze, wall=lambda: braze.wall() + jump)
        finish(one, braze, rows=2)
        setup.simulator.faults = [Fault(0, EPOCH + 120, FaultKind.OUTAGE)]
        async with setup.exporter() as second:
            page = await second.scrape()
            name = "braze_cdi_integration_last_refresh_timestamp_seconds"
            refreshed = page(name)
            assert refreshed is not None
            assert refreshed <= setup.clock.wall()
            assert page("braze_cdi_rows_synced_total") == 40
            for _ in range(6):
                await asyncio.sleep(60)
                page = await second.scrape()
            assert page("braze_cdi_rows_synced_total") == 42
            assert page("braze_cdi_history_gaps_total") == 0

    run(scenario())


def format_1(path: Path, record: dict[str, object]) -> None:
    """Write a state file of the first format, with one integration."""
    with sqlite3.connect(path) as connection:
        STEPS[0](connection)
        connection.execute("PRAGMA user_version = 1")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("INSERT INTO workspaces VALUES ('w', 1, NULL)")
        values = ("w", "one", 1, None, json.dumps(record))
        connection.execute("INSERT INTO integrations VALUES (?, ?, ?, ?, ?)", values)
    connection.close()


FAR = 4_070_908_800.0
"""2099: the watermark of a run that is no longer in the record."""


@pytest.mark.parametrize(
    ("watermark", "shown"),
    [
        pytest.param(FAR, None, id="in the future: ignored"),
        pytest.param(EPOCH - 90_000, EPOCH - 90_000, id="in the past"),
    ],
)
def test_a_file_of_the_first_format_continues_with_right_values(
    tmp_path: Path, watermark: float, shown: float | None
) -> None:
    """The last success, the watermark and the failures of old runs are kept, and updated later."""
    one = ScriptedIntegration("one", "sync-one")
    for number in range(24, 0, -1):
        start = EPOCH - 3600 * number
        one.run(start, start + 60, "error", rows_failed=1)
    runs = [
        {"status": "error", "start": each.start / 1e6, "finish": (each.finish or 0) / 1e6}
        for each in one.runs
    ]
    older = {"success": EPOCH - 90_060, "watermark": watermark, "failures": 5}
    ledger = {
        "seen": True,
        "counters": {"success": 3, "error": 7},
        "runs": runs,
        "floor": EPOCH - 90_000,
        "first_seen": EPOCH - 200_000,
        "history_start": EPOCH - 300_000,
        "older": older,
    }
    item = {"id": "one", "name": "sync-one", "last_job_start": EPOCH - 3600}
    item |= {"last_job_status": "error"}
    fingerprint = {"start": EPOCH - 3600, "status": "error", "watermark": None}
    knowledge = {"ledger": ledger, "item": item, "answered": fingerprint, "zero_served": True}
    format_1(
        tmp_path / "state.sqlite",
        {"knowledge": knowledge, "read_at": EPOCH, "read_server": EPOCH, "seen_server": EPOCH},
    )

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one)
        for _ in range(2):
            async with setup.exporter() as it:
                page = await it.scrape()
                assert page("braze_cdi_watermark_timestamp_seconds") == shown
                assert page("braze_cdi_last_delivery_timestamp_seconds") == EPOCH - 90_060
                assert page("braze_cdi_consecutive_failures") == 29
                assert page("braze_cdi_syncs_total", status="error") == 7
        await asyncio.sleep(60)
        now = setup.clock.wall()
        one.run(now - 30, now, "partial", rows_synced=1, watermark=now - 40)
        async with setup.exporter() as it:
            page = await it.scrape()
            assert page("braze_cdi_watermark_timestamp_seconds") == now - 40
            assert page("braze_cdi_last_delivery_timestamp_seconds") == now
            assert page("braze_cdi_last_success_timestamp_seconds") == EPOCH - 90_060
            assert page("braze_cdi_consecutive_failures") == 0
            assert page("braze_cdi_syncs_total", status="partial") == 1

    run(scenario())


def test_a_record_that_cannot_be_read_is_reported_after_an_upgrade_too(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    format_1(path, {"knowledge": {"ledger": {"older": "none"}}})

    async def scenario() -> None:
        with pytest.raises(StateError, match="unreadable record in the workspace 'w'"):
            async with StatefulSetup(tmp_path, scripted(runs=3)).exporter():
                pass

    run(scenario())
