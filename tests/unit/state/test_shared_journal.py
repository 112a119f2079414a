"""Leadership with a shared database: leases, failover, fencing, and cut-off exporters."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import structlog

from cdi_exporter.braze.budget import NOTHING
from cdi_exporter.clock import Clock
from cdi_exporter.config import Settings
from cdi_exporter.model import Endpoint
from cdi_exporter.state import Role, StateError, StoredWorkspace
from cdi_exporter.state.shared import LEASE_SECONDS
from tests.harness import scripted, simulator, workspace
from tests.shared_exporters import Replica, replica
from tests.shared_memory import MemoryDatabase
from tests.simulator import HISTORY, LIST, ScriptedIntegration, Simulator
from tests.virtual import EPOCH, run, virtual_clock


class Site:
    """A database, a workspace and exporters."""

    def __init__(self, *integrations: ScriptedIntegration) -> None:
        self.clock: Clock = virtual_clock()
        self.database = MemoryDatabase(self.clock.wall)
        self.simulator: Simulator = simulator(self.clock, *(integrations or [scripted(runs=3)]))
        self.stack = AsyncExitStack()

    async def exporter(self, name: str, **settings: object) -> Replica:
        """Start another exporter, which runs until the end of the test."""
        entering = replica(name, self.database, self.simulator, self.clock, **settings)  # type: ignore[arg-type]
        return await self.stack.enter_async_context(entering)

    def requests(self) -> int:
        return sum(len(each.times) for each in self.simulator.traffic.values())


@asynccontextmanager
async def site(*integrations: ScriptedIntegration) -> AsyncIterator[Site]:
    it = Site(*integrations)
    async with it.stack:
        yield it


def roles(*replicas: Replica) -> list[Role]:
    return [each.journal.role("w") for each in replicas]


def test_the_first_exporter_leads_and_the_second_follows() -> None:
    async def main() -> None:
        async with site() as it:
            a = await it.exporter("a")
            await asyncio.sleep(1)
            b = await it.exporter("b")
            assert roles(a, b) == [Role.LEADS, Role.FOLLOWS]
            await a.scrape()
            before = it.requests()
            await asyncio.sleep(60)
            await b.scrape()
            await asyncio.sleep(1)
            assert it.requests() == before  # the leader checks for requested refreshes every 2 s
            assert it.database.workspaces["w"].epoch == 1

    run(main())


def test_another_exporter_leads_soon_after_the_leader_is_gone() -> None:
    """The lease ends in the same way if the leader crashes or loses the database."""

    async def main() -> None:
        async with site() as it:
            a, b = await it.exporter("a"), await it.exporter("b")
            await asyncio.sleep(5)
            a.connected = False
            began = it.clock.monotonic()
            while b.journal.role("w") is not Role.LEADS:
                assert [each for each in roles(a, b) if each is Role.LEADS] in ([], [Role.LEADS])
                await asyncio.sleep(0.1)
            assert it.clock.monotonic() - began < 20
            assert a.journal.role("w") is not Role.LEADS
            await asyncio.sleep(20)
            assert roles(a, b) == [Role.CUT_OFF, Role.LEADS]
            a.connected = True
            await asyncio.sleep(5)
            assert roles(a, b) == [Role.FOLLOWS, Role.LEADS]

    run(main())


def test_a_stopping_leader_releases_its_leases_at_once() -> None:
    async def main() -> None:
        async with site() as it:
            entering = replica("a", it.database, it.simulator, it.clock)
            a = await entering.__aenter__()
            b = await it.exporter("b")
            await asyncio.sleep(3)
            assert roles(a, b) == [Role.LEADS, Role.FOLLOWS]
            await entering.__aexit__(None, None, None)
            await asyncio.sleep(3)
            assert b.journal.role("w") is Role.LEADS

    run(main())


def test_a_leader_whose_lease_is_still_free_continues_without_reading_again() -> None:
    """Runs that it read without being able to commit them are committed when it reconnects."""
    one = scripted(runs=3)

    async def main() -> None:
        async with site(one) as it:
            a = await it.exporter("a")
            await asyncio.sleep(3)
            await a.scrape()
            await asyncio.sleep(3)
            await a.scrape()
            a.connected = False
            await asyncio.sleep(60)
            one.run(it.clock.wall() - 30, it.clock.wall() - 1, rows_synced=7)
            page = await a.scrape()
            assert page("braze_cdi_last_sync_rows_synced") == 7
            assert page("braze_cdi_syncs_total", status="success") == 0
            a.connected = True
            await asyncio.sleep(10)
            page = await a.scrape()
            assert page("braze_cdi_syncs_total", status="success") == 1
            assert it.database.workspaces["w"].epoch == 1

    run(main())


def test_a_leader_that_was_replaced_commits_nothing_more() -> None:
    """Its uncommitted counts are discarded, and the new leader counts them once."""
    one = scripted(runs=3)

    async def main() -> None:
        async with site(one) as it:
            a, b = await it.exporter("a"), await it.exporter("b")
            await asyncio.sleep(3)
            for _ in range(2):
                await a.scrape()
                await asyncio.sleep(12)
            a.connected = False
            await asyncio.sleep(30)
            one.run(it.clock.wall() - 30, it.clock.wall() - 1, rows_synced=7)
            await a.scrape()  # it reads the run, but cannot commit it
            a.connected = True
            await asyncio.sleep(3)
            assert roles(a, b) == [Role.FOLLOWS, Role.LEADS]
            with structlog.testing.capture_logs() as logs:
                await b.scrape()
                await asyncio.sleep(12)
                pages = [await a.scrape(), await b.scrape()]
            assert [entry["event"] for entry in logs].count("sync finished") == 1
            for page in pages:
                assert page("braze_cdi_syncs_total", status="success") == 1
            authors = {(commit.epoch, commit.exporter) for commit in it.database.commits}
            assert authors <= {(1, "a"), (2, "b")}

    run(main())


def test_if_the_response_to_a_lease_is_lost_it_is_taken_again() -> None:
    async def main() -> None:
        async with site() as it:
            a = await it.exporter("a", connected=True)
            a.answers = False
            await asyncio.sleep(60)
            assert a.journal.role("w") is Role.CUT_OFF
            a.answers = True
            await asyncio.sleep(5)
            assert a.journal.role("w") is Role.LEADS

    run(main())


def test_workspaces_with_the_same_key_have_the_same_leader() -> None:
    """They share a request budget, which two leaders would exceed."""

    async def main() -> None:
        async with site() as it:
            several = [workspace("w"), replace(workspace("v"), endpoint="https://w.test")]
            a = await it.exporter("a", workspaces=several)
            b = await it.exporter("b", workspaces=several)
            await asyncio.sleep(5)
            for name in ("v", "w"):
                assert a.journal.role(name) is Role.LEADS
            assert b.exporter.workspaces["w"].budgets.allowance is NOTHING
            lease = it.database.workspaces["v"]
            lease.holder, lease.epoch = "c", lease.epoch + 1
            lease.expires_at = it.clock.wall() + 3600
            await asyncio.sleep(LEASE_SECONDS + 5)
            assert a.journal.role("w") is not Role.LEADS

    run(main())


def test_an_exporter_starts_without_the_database() -> None:
    """Gauges are shown. Counters are not, because other exporters may have shown higher values."""

    async def main() -> None:
        async with site() as it:
            a = await it.exporter("a", connected=False)
            page = await a.scrape()
            assert page("braze_cdi_up") == 1
            assert page("braze_cdi_last_sync_rows_synced") == 100
            assert page.all("braze_cdi_syncs_total") == []
            assert page.all("braze_cdi_rows_synced_total") == []
            assert a.journal.database_up is False
            a.connected = True
            await asyncio.sleep(15)
            page = await a.scrape()
            assert page.all("braze_cdi_syncs_total") == [0.0] * 5
            assert a.journal.database_up

    run(main())


def test_cut_off_exporters_share_the_last_quarter() -> None:
    """Two of three are cut off while the third leads. Together they stay within the share."""

    async def main() -> None:
        integrations = [scripted(f"i{number}", runs=1) for number in range(120)]
        async with site(*integrations) as it:
            three = [await it.exporter(name) for name in "abc"]
            await asyncio.sleep(70)
            for each in three[1:]:
                each.connected = False
            await asyncio.sleep(70)
            for _ in range(30):
                for each in three:
                    await each.scrape(seconds=2)
                await asyncio.sleep(10)
            for endpoint, most in ((LIST, 40), (HISTORY, 80)):
                assert it.simulator.traffic[endpoint].busiest(60) <= most
            own = three[1].exporter.workspaces["w"].budgets
            assert own.allowance.part == 0.25 / 2

    run(main())


def test_a_state_that_cannot_be_read_is_left_to_others_and_logged_once() -> None:
    async def main() -> None:
        async with site() as it:
            a = await it.exporter("a")
            await asyncio.sleep(3)
            await a.scrape()
            await asyncio.sleep(3)
            lease = it.database.workspaces["w"]
            row, version = lease.rows["one"]
            lease.rows["one"] = (replace(row, record='{"knowledge": 7}'), version)
            lease.holder, lease.epoch = None, lease.epoch + 1
            with structlog.testing.capture_logs() as logs:
                await asyncio.sleep(130)
            events = [entry["event"] for entry in logs]
            assert events.count("state unreadable") == 1
            assert a.journal.role("w") is Role.FOLLOWS
            assert lease.holder is None
            assert (await a.scrape())("braze_cdi_syncs_total", status="success") == 0
            lease.rows["one"] = (row, version)
            await asyncio.sleep(70)
            assert a.journal.role("w") is Role.LEADS
            lease.rows["one"] = (replace(row, record='{"knowledge": 7}'), version)
            lease.holder, lease.epoch = None, lease.epoch + 1
            with structlog.testing.capture_logs() as logs:
                await asyncio.sleep(130)
            events = [entry["event"] for entry in logs]
            assert events.count("state unreadable") == 1  # it is logged again

    run(main())


def test_a_new_leader_knows_the_former_leaders_requests() -> None:
    """After a failover the new leader uses only the budget that the old one left."""

    async def main() -> None:
        integrations = [scripted(f"i{number}", runs=1) for number in range(100)]
        async with site(*integrations) as it:
            a, b = await it.exporter("a"), await it.exporter("b")
            await asyncio.sleep(3)
            await a.scrape()
            await asyncio.sleep(20)
            a.connected = False
            await asyncio.sleep(LEASE_SECONDS + 5)
            assert b.journal.role("w") is Role.LEADS
            for _ in range(12):
                await b.scrape(seconds=5)
                await a.scrape(seconds=5)
                await asyncio.sleep(10)
            for endpoint, most in ((LIST, 40), (HISTORY, 80)):
                assert it.simulator.traffic[endpoint].busiest(60) <= most
            assert it.clock.wall() < EPOCH + 3600

    run(main())


def test_a_leader_that_loses_the_database_never_shows_older_values() -> None:
    """It continues on its own as soon as its lease has ended."""

    async def main() -> None:
        async with site() as it:
            a = await it.exporter("a")
            await asyncio.sleep(5)
            await a.scrape()
            a.connected = False
            for _ in range(300):
                await asyncio.sleep(0.1)
                assert roles(a) != [Role.FOLLOWS]
                assert (await a.scrape(seconds=1))("braze_cdi_up") == 1

    run(main())


def led(replica_: Replica, *names: str) -> list[str]:
    """The workspaces that this exporter leads."""
    return [name for name in names if replica_.journal.role(name) is Role.LEADS]


def test_workspaces_whose_keys_become_the_same_get_one_leader() -> None:
    """The two workspaces had different leaders. One of the leaders gives up its lease."""

    async def main() -> None:
        async with site() as it:
            apart = [workspace("v"), workspace("w")]
            together = [workspace("v"), replace(workspace("w"), endpoint="https://v.test")]
            a = await it.exporter("a", workspaces=[workspace("v")])
            b = await it.exporter("b", workspaces=[workspace("w")])
            await asyncio.sleep(5)
            for each in (a, b):
                each.exporter._configure(Settings(tuple(apart)))
            await asyncio.sleep(20)
            assert [led(a, "v", "w"), led(b, "v", "w")] == [["v"], ["w"]]
            for each in (a, b):
                each.exporter._configure(Settings(tuple(together)))
            await asyncio.sleep(30)
            assert [led(a, "v", "w"), led(b, "v", "w")] == [["v", "w"], []]

    run(main())


def test_an_unreadable_workspace_leaves_all_workspaces_of_its_key_to_others() -> None:
    """They share a budget, so another exporter must lead all of them."""

    async def main() -> None:
        async with site() as it:
            several = [workspace("v"), replace(workspace("w"), endpoint="https://v.test")]
            a = await it.exporter("a", workspaces=several)
            await asyncio.sleep(3)
            b = await it.exporter("b", workspaces=several)
            await asyncio.sleep(3)
            assert led(a, "v", "w") == ["v", "w"]
            lease = it.database.workspaces["w"]
            lease.status, lease.holder = '{"up": "yes"}', None
            lease.epoch, lease.version = lease.epoch + 1, lease.version + 1
            b.connected = False  # so that `a` finds it first
            await asyncio.sleep(3)
            b.connected = True
            lease.status = None
            await asyncio.sleep(20)
            assert led(b, "v", "w") == ["v", "w"]

    run(main())


def test_other_workspaces_are_led_if_one_cannot_be_read_in_time() -> None:
    async def main() -> None:
        async with site() as it:
            several = [workspace("v"), workspace("w")]
            a = await it.exporter("a", workspaces=several)
            await asyncio.sleep(3)
            read = a.journal._reads.read

            def failing(workspace: str, since: int | None = None) -> StoredWorkspace:
                if workspace == "v":
                    raise StateError("canceling statement due to statement timeout")
                return read(workspace, since)

            a.journal._reads.read = failing  # type: ignore[method-assign]
            lease = it.database.workspaces["v"]
            lease.holder, lease.epoch = None, lease.epoch + 1
            for _ in range(60):
                await asyncio.sleep(1)
                assert led(a, "v", "w") == ["w"]
            b = await it.exporter("b", workspaces=several)
            await asyncio.sleep(40)
            assert led(b, "v", "w") == ["v"]

    run(main())


def test_a_lease_that_was_taken_in_an_older_copy_of_the_database_is_not_a_renewal() -> None:
    """The epoch may be the same, but the committed data is not."""

    async def main() -> None:
        async with site() as it:
            a = await it.exporter("a")
            b = await it.exporter("b")
            await asyncio.sleep(3)
            for _ in range(2):
                await a.scrape()
                await asyncio.sleep(12)
            it.database.workspaces.clear()  # the database was created again
            for _ in range(3):
                await asyncio.sleep(12)
                await a.scrape()
            await asyncio.sleep(3)
            pages = [await a.scrape(), await b.scrape()]
            for page in pages:
                assert page("braze_cdi_syncs_total", status="success") == 0

    run(main())


def test_a_started_exporter_leads_all_free_workspaces() -> None:
    """Otherwise a command that refreshes once would show nothing."""

    async def main() -> None:
        async with site() as it:
            a = await it.exporter("a", delay=0.3)
            assert roles(a) == [Role.LEADS]
            assert (await a.scrape())("braze_cdi_up") == 1

    run(main())


def test_a_read_that_started_before_the_lead_was_taken_is_discarded() -> None:
    """It is older than the state with which the exporter continues."""

    async def main() -> None:
        async with site() as it:
            a = await it.exporter("a")
            await asyncio.sleep(3)
            b = await it.exporter("b", delay=0.3)
            for _ in range(2):
                await a.scrape()
                await asyncio.sleep(12)
            member = b.journal._members["w"]
            scrape = asyncio.create_task(b.journal.follow(member.source, math.inf))
            await asyncio.sleep(0.1)
            b.journal._lose(member)
            await scrape
            assert member.version is None

    run(main())


def test_if_the_response_to_a_lease_comes_too_late_it_is_taken_again() -> None:
    """The new leader knows how much budget the former one has used."""

    async def main() -> None:
        async with site(*[scripted(f"i{number}", runs=1) for number in range(30)]) as it:
            a, b = await it.exporter("a"), await it.exporter("b")
            await asyncio.sleep(3)
            await a.scrape()
            await asyncio.sleep(10)
            a.connected = False
            offload = b.journal._offload

            async def late(work: Callable[[], None]) -> None:
                await offload(work)
                if it.database.workspaces["w"].holder == "b":
                    b.journal._offload = offload
                    await asyncio.sleep(60)

            b.journal._offload = late
            await asyncio.sleep(25)
            assert b.journal.role("w") is Role.LEADS
            assert it.database.workspaces["w"].epoch == 3
            budget = b.exporter.workspaces["w"].budgets.budgets[Endpoint.HISTORY]
            assert 30 <= len(budget.spent()) < 50

    run(main())


def test_reads_for_scrapes_do_not_delay_beats() -> None:
    """With many workspaces and a slow database, the exporter is not considered cut off."""

    async def main() -> None:
        async with site() as it:
            several = [workspace(f"w{number}") for number in range(10)]
            await it.exporter("a", workspaces=several)
            await asyncio.sleep(3)
            b = await it.exporter("b", workspaces=several, delay=0.4)
            for _ in range(20):
                await b.scrape(seconds=5)
                assert b.journal.database_up
                await asyncio.sleep(0.1)

    run(main())


def test_an_exporter_that_was_cut_off_follows_while_it_reads_everything_again() -> None:
    """Otherwise it would be cut off again before it has read everything."""

    async def main() -> None:
        async with site() as it:
            several = [workspace(f"w{number}") for number in range(10)]
            await it.exporter("a", workspaces=several)
            b = await it.exporter("b", workspaces=several, delay=2.0)
            b.connected = False
            await asyncio.sleep(30)
            assert b.journal.role("w0") is Role.CUT_OFF
            b.connected = True
            await asyncio.sleep(10)
            for _ in range(60):
                assert b.journal.role("w0") is Role.FOLLOWS
                await asyncio.sleep(1)

    run(main())


def test_two_exporters_with_many_keys_and_a_slow_database_find_a_leader_for_each() -> None:
    """Reading all workspaces takes longer than a lease. Those already read are led meanwhile."""
    many = [workspace(f"w{number}") for number in range(40)]

    async def main() -> None:
        async with site() as it:
            both = [await it.exporter(name, workspaces=many, delay=0.4) for name in "ab"]
            await asyncio.sleep(60)
            for each in many:
                leaders = [one for one in both if one.journal.role(each.name) is Role.LEADS]
                assert len(leaders) == 1, each.name
            epochs = {name: one.epoch for name, one in it.database.workspaces.items()}
            await asyncio.sleep(60)
            assert epochs == {name: one.epoch for name, one in it.database.workspaces.items()}

    run(main())
