"""A single refresh that writes one page: its waits, its output, and counters across runs."""

import stat
from pathlib import Path

import pytest

from cdi_exporter.clock import Clock
from cdi_exporter.errors import StartError
from cdi_exporter.exposition import Format
from cdi_exporter.one_refresh import refresh_once, write_file
from tests.harness import Page, Rig, journal_on, rig, scripted, simulator
from tests.simulator import LIST, Fault, FaultKind, Simulator
from tests.virtual import EPOCH, run, virtual_clock


class Written(list[bytes]):
    """The pages that were written."""

    async def write(self, page: bytes) -> None:
        self.append(page)

    @property
    def page(self) -> Page:
        return Page(self[-1].decode())


async def refreshed(
    each: Rig, *, seconds: float = 120.0, openmetrics: bool = False
) -> tuple[list[str], Written]:
    written = Written()
    problems = await refresh_once(
        each.exporter, Format(openmetrics=openmetrics), seconds, written.write
    )
    return problems, written


def test_every_history_is_read_before_the_page_is_written() -> None:
    """This includes histories that do not fit into the budget of the first minute."""

    async def main() -> None:
        clock = virtual_clock()
        many = [scripted(f"i{number}", runs=3) for number in range(90)]
        async with rig(simulator(clock, *many), clock=clock) as each:
            problems, written = await refreshed(each)
            assert problems == []
            assert len(written.page.all("braze_cdi_last_sync_status", status="success")) == 90
            assert written.page("braze_cdi_history_reads_pending") == 0
            assert written.page("braze_cdi_up") == 1

    run(main())


def test_the_page_is_in_the_chosen_format() -> None:
    """Only an OpenMetrics page ends with `# EOF`."""

    async def main() -> None:
        clock = virtual_clock()
        async with rig(simulator(clock, scripted(runs=1)), clock=clock) as each:
            _, text = await refreshed(each)
            _, openmetrics = await refreshed(each, openmetrics=True)
            assert not text[0].endswith(b"# EOF\n")
            assert openmetrics[0].endswith(b"# EOF\n")

    run(main())


def test_a_workspace_that_cannot_be_read_is_reported_and_still_on_the_page() -> None:
    """The page has `braze_cdi_up` 0. The error line gives the reason."""

    async def main() -> None:
        clock = virtual_clock()
        simulated = simulator(clock, scripted(runs=1))
        simulated.key = "another"
        async with rig(simulated, clock=clock) as each:
            (problem,), written = await refreshed(each)
            assert problem.startswith("cannot read the workspace w: 401: ")
            assert written.page("braze_cdi_up") == 0

    run(main())


def test_the_wait_for_braze_is_bounded() -> None:
    """A refresh that does not finish in time is reported as an unreadable workspace."""

    async def main() -> None:
        clock = virtual_clock()
        simulated = simulator(clock, scripted(runs=1))
        simulated.faults = [Fault(EPOCH - 1, EPOCH + 1e6, FaultKind.HANG, LIST)]
        async with rig(simulated, clock=clock) as each:
            started = clock.monotonic()
            problems, _ = await refreshed(each, seconds=5.0)
            assert problems == ["cannot read the workspace w: no complete refresh within 5 s"]
            assert clock.monotonic() - started < 6

    run(main())


def test_counters_continue_from_run_to_run_with_a_state_file(tmp_path: Path) -> None:
    """Each process counts the runs that finished since the previous one, once."""

    async def main() -> None:
        clock = virtual_clock()
        integration = scripted(runs=3)
        simulated = simulator(clock, integration)
        counts = []
        for _ in range(4):
            counts.append(await counted(simulated, clock))
            start = EPOCH + clock.monotonic()
            integration.run(start + 1, start + 60, rows_synced=100)
            await clock.sleep(600.0)
        assert counts == [0, 1, 2, 3]

    async def counted(simulated: Simulator, clock: Clock) -> float | None:
        journal = journal_on(tmp_path / "state.sqlite", clock)
        async with rig(simulated, clock=clock, journal=journal) as each:
            _, written = await refreshed(each)
            return written.page("braze_cdi_syncs_total", status="success")

    run(main())


def test_a_page_that_was_not_written_does_not_count_as_a_scrape(tmp_path: Path) -> None:
    """The first page that is written shows the counter at 0, because 0 was never written before."""

    async def main() -> None:
        clock = virtual_clock()
        integration = scripted(runs=1)
        simulated = simulator(clock, integration)

        async def fails(page: bytes) -> None:
            raise StartError("disk full")

        async with rig(
            simulated, clock=clock, journal=journal_on(tmp_path / "state.sqlite", clock)
        ) as each:
            with pytest.raises(StartError):
                await refresh_once(each.exporter, Format(), 60.0, fails)
        integration.run(EPOCH + clock.monotonic() + 1, EPOCH + clock.monotonic() + 60)
        await clock.sleep(600.0)
        shown = []
        for _ in range(2):
            async with rig(
                simulated, clock=clock, journal=journal_on(tmp_path / "state.sqlite", clock)
            ) as each:
                _, written = await refreshed(each)
                shown.append(written.page("braze_cdi_syncs_total", status="success"))
        assert shown == [0, 1]

    run(main())


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """The file is readable for other programs. No temporary file remains in the folder."""
    path = tmp_path / "braze.prom"
    path.write_bytes(b"before")
    with path.open("rb") as before:
        write_file(path, b"after\n")
        assert before.read() == b"before"
    assert path.read_bytes() == b"after\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [*tmp_path.iterdir()] == [path]


def test_an_unwritable_file_is_an_error(tmp_path: Path) -> None:
    """The error gives the reason. No temporary file remains."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "something").touch()
    with pytest.raises(StartError, match="cannot write "):
        write_file(tmp_path / "folder", b"page")
    with pytest.raises(StartError, match="No such file or directory"):
        write_file(tmp_path / "missing" / "braze.prom", b"page")
    assert [*tmp_path.iterdir()] == [tmp_path / "folder"]
