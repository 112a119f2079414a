"""When the journal writes the state file: grouped, in the background, and again after a failure."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import structlog

from cdi_exporter.clock import Clock
from cdi_exporter.state import PendingRow, Row, SqliteJournal, StateError, Store, WorkspaceRow
from tests.virtual import run, virtual_clock

MONTH = 30 * 86_400.0


class Disk(Store):
    """A state file whose disk can be full, slow or broken."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(str(path), clock.wall)
        self.clock = clock
        self.full = False
        self.broken = False
        self.seconds = 0.0
        self.started = 0
        """The number of commits that were started."""
        self.commits: list[tuple[float, int]] = []
        """The time and the number of rows of each commit."""

    def commit(self, rows: Sequence[Row], workspaces: Iterable[WorkspaceRow] = ()) -> None:  # type: ignore[override]
        """Raise StateError while the disk is full."""
        if self.full:
            raise StateError("database or disk is full")
        if self.broken:
            raise UnicodeError("unexpected")
        self.commits.append((self.clock.monotonic(), len(rows)))
        super().commit(rows, workspaces)

    async def offload(self, work: Callable[[], None]) -> None:
        self.started += 1
        await asyncio.sleep(self.seconds)
        work()


class Source:
    """A workspace with changes to write."""

    name = "w"

    def __init__(self) -> None:
        self.workspace_row = WorkspaceRow("w")
        self.dirty: list[PendingRow] = []
        self.committed: list[str] = []

    def change(self, key: str, record: str = "{}") -> None:
        self.dirty.append(
            PendingRow(
                "w",
                key,
                listed=True,
                record=lambda: record,
                committed=lambda: self.committed.append(record),
            )
        )

    def changes(self) -> list[PendingRow]:
        found, self.dirty = self.dirty, []
        return found


class Bench:
    """A journal with its disk and a source, in virtual time."""

    def __init__(self, folder: Path) -> None:
        self.clock = virtual_clock()
        self.disk = Disk(folder / "state.sqlite", self.clock)
        self.journal = SqliteJournal(self.disk, self.clock, offload=self.disk.offload)
        self.source = Source()

    def write(self, key: str, record: str = "{}") -> None:
        self.source.change(key, record)
        self.journal.changed(self.source)

    async def settled(self, seconds: float) -> float:
        """The seconds that a scrape waits, given this timeout."""
        began = self.clock.monotonic()
        await self.journal.settle(began + seconds, lambda: self.source.dirty or self.waits)
        return self.clock.monotonic() - began

    @property
    def waits(self) -> bool:
        return bool(self.journal._queue._waiting)


def test_commits_are_grouped(tmp_path: Path) -> None:
    """The first change is written at once. Later changes of one second are written together."""

    async def scenario() -> None:
        bench = Bench(tmp_path)
        for number in range(30):
            bench.write(f"{number}")
            await asyncio.sleep(0.1)
        await bench.journal.close()
        times = [at for at, _ in bench.disk.commits]
        assert times[0] - bench.clock.monotonic() <= -3.0
        assert all(later - earlier > 0.999 for earlier, later in pairwise(times[:-1]))
        assert len(times) <= 4 + 1
        assert sum(rows for _, rows in bench.disk.commits) == 30

    run(scenario())


def test_nothing_is_written_when_nothing_changed(tmp_path: Path) -> None:
    """A source without changes causes no transaction."""

    async def scenario() -> None:
        bench = Bench(tmp_path)
        for _ in range(5):
            bench.journal.changed(bench.source)
            await asyncio.sleep(2)
        await bench.journal.close()
        assert bench.disk.commits == []

    run(scenario())


def test_a_failed_write_is_repeated_with_the_newest_rows(tmp_path: Path) -> None:
    """While the disk is full, changes wait. Each failure counts, and only the first is logged."""

    async def scenario() -> None:
        bench = Bench(tmp_path)
        bench.disk.full = True
        with structlog.testing.capture_logs() as logs:
            bench.write("one", "older")
            await asyncio.sleep(10)
            bench.write("one", "newer")
            bench.write("two", "other")
            await asyncio.sleep(100)
            assert bench.source.committed == []
            failures = bench.journal.failures
            assert 5 <= failures <= 12
            bench.disk.full = False
            await asyncio.sleep(61)
        assert bench.source.committed == ["newer", "other"]
        assert bench.journal.failures == failures
        reported = [(entry["log_level"], entry["event"]) for entry in logs]
        assert reported == [("error", "state write failed"), ("info", "state write recovered")]
        assert logs[0]["problem"] == "database or disk is full"
        assert {row.record for row in bench.journal.attach(bench.source).rows} == {"newer", "other"}
        await bench.journal.close()

    run(scenario())


def test_pending_rows_are_part_of_what_attach_returns(tmp_path: Path) -> None:
    """A workspace that returns before its last rows were written gets these rows."""

    async def scenario() -> None:
        bench = Bench(tmp_path)
        bench.write("one", "written")
        await asyncio.sleep(1)
        bench.disk.full = True
        bench.source.change("one", "waiting")
        bench.journal.hand_over(bench.source)
        stored = bench.journal.attach(bench.source)
        assert [row.record for row in stored.rows] == ["waiting"]
        assert [row.record for row in stored.committed.values() if row] == ["written"]
        bench.disk.full = False
        await bench.journal.close()
        assert [rows for _, rows in bench.disk.commits] == [1, 1]

    run(scenario())


def test_a_scrape_waits_for_a_commit_but_never_for_a_bad_disk(tmp_path: Path) -> None:
    """A scrape waits for a fast commit, not for a full disk, and only briefly for a slow one."""

    async def scenario() -> None:
        bench = Bench(tmp_path)
        assert await bench.settled(9) == 0
        bench.disk.seconds = 0.3
        bench.write("one")
        assert 0.3 <= await bench.settled(9) < 0.4
        await asyncio.sleep(5)
        bench.disk.seconds = 1000.0
        bench.write("two")
        assert await bench.settled(0.25) == 0.25
        assert 1.4 <= await bench.settled(9) <= 1.6
        await asyncio.sleep(1)
        assert await bench.settled(9) == 0
        await asyncio.sleep(2000)
        bench.disk.seconds, bench.disk.full = 0.0, True
        bench.write("three")
        await asyncio.sleep(0.1)
        assert await bench.settled(9) == 0
        bench.disk.full = False
        await bench.journal.close()

    run(scenario())


def test_closing_writes_the_pending_rows(tmp_path: Path) -> None:
    """Closing loses nothing, even during the pause between two commits."""

    async def scenario() -> None:
        bench = Bench(tmp_path)
        bench.write("one", "a")
        await asyncio.sleep(0.1)
        bench.write("two", "b")
        await bench.journal.close()
        assert bench.source.committed == ["a", "b"]

    run(scenario())


def test_a_removed_workspace_does_not_block_a_new_one_of_the_same_name(tmp_path: Path) -> None:
    """A new workspace with the same name is still written after the old one was handed over."""

    async def scenario() -> None:
        bench = Bench(tmp_path)
        bench.write("one", "new")
        bench.journal.hand_over(Source())
        await asyncio.sleep(0.1)
        assert bench.source.committed == ["new"]
        await bench.journal.close()

    run(scenario())


def test_a_slow_disk_does_not_hold_up_the_event_loop(tmp_path: Path) -> None:
    """Writes happen in the background. A reload waits for the running commit."""

    async def scenario() -> None:
        bench = Bench(tmp_path)
        bench.disk.seconds = 50.0
        bench.write("one")
        await asyncio.sleep(1)
        bench.journal.retain(["w"], bench.clock.wall(), MONTH)
        assert bench.clock.monotonic() == 1.0
        await bench.journal.idle()
        assert bench.clock.monotonic() == 50.0
        await bench.journal.close()
        assert bench.clock.monotonic() <= 100.0

    run(scenario())


def test_a_close_during_a_commit_writes_nothing_twice(tmp_path: Path) -> None:
    """Closing awaits the running commit and starts no other one for the same rows."""

    async def scenario() -> None:
        bench = Bench(tmp_path)
        bench.disk.seconds = 3.0
        bench.write("one", "a")
        await asyncio.sleep(1)
        await bench.journal.close()
        assert bench.source.committed == ["a"]
        assert bench.disk.started == 1

    run(scenario())


def test_an_unexpected_error_counts_as_a_failed_write(tmp_path: Path) -> None:
    """An unexpected error is counted, logged and retried."""

    async def scenario() -> None:
        bench = Bench(tmp_path)
        bench.disk.broken = True
        with structlog.testing.capture_logs() as logs:
            bench.write("one", "a")
            await asyncio.sleep(1)
        assert bench.journal.failures == 1
        assert [entry["event"] for entry in logs] == ["state write failed"]
        assert isinstance(logs[0]["exc_info"], UnicodeError)
        bench.disk.broken = False
        await asyncio.sleep(10)
        assert bench.source.committed == ["a"]
        await bench.journal.close()

    run(scenario())


def test_a_callback_that_raises_does_not_stop_others(tmp_path: Path) -> None:
    """If one callback fails, the others are still called, and the journal still closes."""

    async def scenario() -> None:
        bench = Bench(tmp_path)
        bench.write("one", "a")

        def failing() -> None:
            raise UnicodeError("unexpected")

        bench.source.dirty.insert(0, PendingRow("w", "two", listed=True, committed=failing))
        with structlog.testing.capture_logs() as logs:
            await asyncio.sleep(1)
        assert [entry["event"] for entry in logs] == ["internal error"]
        assert bench.source.committed == ["a"]
        bench.write("one", "b")
        await bench.journal.close()
        assert bench.source.committed == ["a", "b"]

    run(scenario())


def test_a_returning_workspace_is_written_as_complete_again(tmp_path: Path) -> None:
    """A workspace that was forgotten is written to the file as a new one."""

    async def scenario() -> None:
        bench = Bench(tmp_path)
        bench.source.workspace_row = WorkspaceRow("w", complete=True)
        month = MONTH + 60
        for names, days in ((["w"], 0.0), ([], 0.0), ([], month), (["w"], month)):
            bench.journal.retain(names, bench.clock.wall() + days, MONTH)
            if names:
                bench.journal.changed(bench.source)
            await asyncio.sleep(5)
        assert bench.disk.load("w").complete
        await bench.journal.close()

    run(scenario())
