"""What a follower shows: the data committed by the leader, and its freshness."""

import asyncio
import re

from cdi_exporter.state import Role
from tests.harness import scripted
from tests.shared_exporters import Replica
from tests.simulator import HISTORY, Fault, FaultKind
from tests.unit.state.test_shared_journal import Site, roles, site
from tests.virtual import run

OWN = re.compile(r"^(# .*|braze_cdi_api_.*|cdi_exporter_.*|process_.*|python_.*)$")


def shown(text: str) -> list[str]:
    """The lines about the workspace and its integrations, sorted."""
    return sorted(line for line in text.splitlines() if not OWN.match(line))


def without_times(lines: list[str]) -> list[str]:
    """Without the refresh times, which may be older on a follower."""
    return [line for line in lines if "integration_last_refresh" not in line]


async def pair(it: Site) -> tuple[Replica, Replica]:
    a = await it.exporter("a")
    await asyncio.sleep(3)
    b = await it.exporter("b")
    for _ in range(2):
        await a.scrape()
        await asyncio.sleep(12)
    assert roles(a, b) == [Role.LEADS, Role.FOLLOWS]
    return a, b


def test_a_follower_shows_what_the_leader_shows() -> None:
    """Facts, counters and the workspace state are equal; the freshness may lag slightly."""
    several = [scripted("one", runs=4), scripted("two", runs=2), scripted("idle")]

    async def main() -> None:
        async with site(*several) as it:
            a, b = await pair(it)
            now = it.clock.wall()
            several[0].run(now - 40, now - 10, rows_synced=11, rows_failed=2)
            await a.scrape()
            await asyncio.sleep(2)
            leads, follows = await a.scrape(), await b.scrape()
            assert without_times(shown(leads.text)) == without_times(shown(follows.text))
            assert follows("braze_cdi_rows_synced_total", integration_id="one") == 11
            name = "braze_cdi_integration_last_refresh_timestamp_seconds"
            for each in several:
                older = leads(name, integration_id=each.id), follows(name, integration_id=each.id)
                assert older[0] is not None
                assert older[1] is not None
                assert older[0] - 3 <= older[1] <= older[0]

    run(main())


def test_a_follower_shows_why_the_workspace_cannot_be_read() -> None:
    async def main() -> None:
        async with site() as it:
            a, b = await pair(it)
            now = it.clock.wall()
            it.simulator.faults.append(Fault(now, now + 600, FaultKind.SERVER_ERROR, status=401))
            await a.scrape()
            await asyncio.sleep(3)
            page = await b.scrape()
            assert page("braze_cdi_up") == 0
            assert page("braze_cdi_refresh_error", reason="unauthorized") == 1
            await asyncio.sleep(700)
            await a.scrape()
            await asyncio.sleep(3)
            assert (await b.scrape())("braze_cdi_up") == 1

    run(main())


def test_the_leader_refreshes_if_only_a_follower_is_scraped() -> None:
    one = scripted(runs=3)

    async def main() -> None:
        async with site(one) as it:
            a = await it.exporter("a")
            await asyncio.sleep(3)
            b = await it.exporter("b")
            for _ in range(4):
                await b.scrape()
                await asyncio.sleep(30)
            one.run(it.clock.wall() - 40, it.clock.wall() - 10, rows_synced=11)
            for _ in range(3):
                page = await b.scrape()
                await asyncio.sleep(30)
            assert roles(a, b) == [Role.LEADS, Role.FOLLOWS]
            assert page("braze_cdi_rows_synced_total") == 11
            assert page("braze_cdi_syncs_total", status="success") == 1

    run(main())


def test_counters_rise_once_any_exporter_has_shown_them_at_zero() -> None:
    """The 0 of a new integration may be scraped from a follower."""
    old, new = scripted("old", runs=1), scripted("new")

    async def main() -> None:
        async with site(old) as it:
            _, b = await pair(it)
            new.run(it.clock.wall() - 40, it.clock.wall() - 10, rows_synced=11)
            it.simulator.add(new)
            values = []
            for _ in range(8):
                page = await b.scrape()
                values.append(page("braze_cdi_syncs_total", integration_id="new", status="success"))
                await asyncio.sleep(30)
            shown = [value for value in values if value is not None]
            assert shown[0] == 0
            assert shown[-1] == 1

    run(main())


def test_a_new_leader_keeps_showing_what_was_known() -> None:
    """Nothing disappears between the failover and the first refresh."""

    async def main() -> None:
        async with site() as it:
            a, b = await pair(it)
            before = await b.scrape()
            a.connected = False
            for _ in range(40):
                page = await b.scrape(seconds=1)
                assert page("braze_cdi_up") == 1
                assert {*before.names()} - {*page.names()} <= {"braze_cdi_history_reads_pending"}
                await asyncio.sleep(1)
            assert b.journal.role("w") is Role.LEADS

    run(main())


def test_an_integration_removed_by_the_leader_is_removed_on_the_follower() -> None:
    stays, leaves = scripted("stays", runs=1), scripted("leaves", runs=1)

    async def main() -> None:
        async with site(stays, leaves) as it:
            a, b = await pair(it)
            it.simulator.remove("leaves")
            for _ in range(80):
                await a.scrape()
                await asyncio.sleep(12)
            pages = [await a.scrape(), await b.scrape()]
            for page in pages:
                assert page.all("braze_cdi_integrations") == [1.0]
                assert page.all("braze_cdi_syncs_total", integration_id="leaves") == []

    run(main())


def test_the_status_page_shows_the_role() -> None:
    """It also says what to do if the database is unreachable."""

    async def main() -> None:
        async with site() as it:
            a, b = await pair(it)
            for each, role, words in (
                (a, "leads", ""),
                (b, "follows", "Another exporter leads this workspace."),
            ):
                (found,) = (await each.client.get("/api/v1/status")).json()["workspaces"]
                assert found["role"] == role
                page = (await each.client.get("/")).text
                assert words in page
                assert ("API budget" in page) == (role == "leads")
            b.connected = False
            await asyncio.sleep(30)
            (found,) = (await b.client.get("/api/v1/status")).json()["workspaces"]
            assert found["role"] == "cut off"
            assert "cannot be reached" in (await b.client.get("/")).text

    run(main())


def test_a_new_leader_does_not_read_unchanged_histories() -> None:
    """It continues from the committed state."""
    several = [scripted(f"i{number}", runs=3) for number in range(40)]

    async def main() -> None:
        async with site(*several) as it:
            a, b = await pair(it)
            await asyncio.sleep(60)
            await a.scrape()
            a.connected = False
            histories = it.simulator.traffic[HISTORY].times
            before = len(histories)
            for _ in range(10):
                await b.scrape()
                await asyncio.sleep(15)
            assert b.journal.role("w") is Role.LEADS
            assert len(histories) - before <= 40 * 150 / 900 + 5  # the usual re-checks

    run(main())


def test_data_read_too_late_for_a_scrape_is_shown_by_the_next() -> None:
    """The read continues after the scrape was answered, and does not restart with each scrape."""
    one = scripted(runs=3)

    async def main() -> None:
        async with site(one) as it:
            a = await it.exporter("a")
            await asyncio.sleep(3)
            for _ in range(2):
                await a.scrape()
                await asyncio.sleep(12)
            b = await it.exporter("b", delay=2.0)
            await asyncio.sleep(12)
            one.run(it.clock.wall() - 30, it.clock.wall() - 1)
            await a.scrape()
            await asyncio.sleep(3)
            began = it.clock.monotonic()
            await b.scrape(seconds=2)
            assert it.clock.monotonic() - began < 2
            await asyncio.sleep(10)
            page = await b.scrape(seconds=2)
            assert page("braze_cdi_syncs_total", status="success") == 1

    run(main())
