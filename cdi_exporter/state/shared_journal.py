"""The journal of an exporter that shares its state with others, in one database.

                    beat, every 2 s                     ┌─► leads:   refreshes, commits
    exporter ──► renew leases, take free ones ──► role ─┼─► follows: reads what was committed
                                                        └─► cut off: refreshes, commits nothing

The role decides which part of the budget an exporter has, so that all exporters together never
exceed the whole, even if some cannot reach the database:

- The leader has three quarters, until its lease expires. With each beat and each commit it reports
  what it has spent, and it spends little more before it has. The next leader counts that.
- Exporters that are cut off divide the last quarter.
- Those that follow have none.

A lease counts from before the call that renewed it. So an exporter that was frozen notices that its
lease has expired before it sends anything; and the database refuses its commits by their epoch.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import structlog

from cdi_exporter.braze.budget import NOTHING, Allowance, BudgetReport
from cdi_exporter.braze.sharing import KeyBudgets, Spending
from cdi_exporter.clock import Clock
from cdi_exporter.errors import StartError
from cdi_exporter.model import Endpoint
from cdi_exporter.state.commit_queue import ChangeSource, CommitQueue, Offload, PendingRow
from cdi_exporter.state.journal import Journal, SharedSource
from cdi_exporter.state.shared import (
    BEAT_SECONDS,
    LEASE_SECONDS,
    Batch,
    Group,
    Lease,
    Role,
    SchemaTooNew,
    SharedStore,
)
from cdi_exporter.state.store import StateError, StoredWorkspace, WorkspaceRow
from cdi_exporter.threads import Worker
from cdi_exporter.typed_json import from_json, to_json

CALL_PATIENCE = 5.0
"""Most seconds for a call to the database: less than half of a lease."""

CLOCK_MARGIN = 1.0
"""Seconds by which an exporter ends its own leases early, because clocks do not run exactly alike.
It is cut off from that moment, so that it never follows what it led itself until then."""

LOOK_EVERY = 0.05
"""Seconds between two checks, at the start, whether the database has answered."""

START_PATIENCE = 5.0
"""Most seconds that the start waits for the database: the exporter also works without it."""

LEADERS_PART, PART_WHEN_CUT_OFF = 0.75, 0.25
"""Parts of the share of the limits: together one, so that they never exceed it."""

OTHERS_ASSUMED = 4
"""Other exporters that may also be cut off, assumed until the database has reported their number:
more than usual."""

UNREADABLE_FOR = 60.0
"""Seconds for which the lead is left to others after a workspace's state was unreadable."""

UNREAD_FOR = 3 * BEAT_SECONDS
"""The same after it could not be read in time, or the connection was lost: long enough for another
exporter to take the lead, and short if there is none."""

Result = TypeVar("Result")
Reports = dict[Endpoint, BudgetReport]

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class _Member:
    """A workspace of this exporter, and what is known of its lease and its data in the database."""

    source: SharedSource
    epoch: int | None = None
    """The epoch of the lease that this exporter holds, once it has read what it continues with."""
    until: float = -math.inf
    """When that lease expires, in loop seconds."""
    version: int | None = None
    """The newest version that the source has; None if everything must be read."""
    read_epoch: int = 0
    """The epoch that was read with it."""
    received: set[str] = field(default_factory=set)
    """Integrations whose counters scrapers received at 0 from others; noted once it leads."""
    led: bool = False
    """Whether it led at the last check."""
    not_before: float = -math.inf
    """When the lead may be taken again, in loop seconds."""
    problem: str | None = None
    """Why the lead was left to others, as logged; None once it was taken."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    reading: asyncio.Task[None] | None = None
    """The last read while it follows."""
    asking: asyncio.Task[None] | None = None
    """The last request to the leader for newer data."""
    to_report: set[str] = field(default_factory=set)
    """Integrations whose counters a scraper received at 0, to be reported to the leader."""

    def holds(self, lease: Lease | None) -> bool:
        """Whether this exporter already leads with that lease.

        One that was just taken is new even if its epoch is known: then the database was restored.
        """
        return lease is not None and not lease.taken and lease.epoch == self.epoch


class SharedJournal(Journal):
    """The journal of an exporter with a shared database.

    `connect` makes a connection, which is opened when it is first used; `place` names the database
    in the log.
    """

    keeps = shared = True
    _queue: CommitQueue

    def __init__(
        self,
        place: str,
        connect: Callable[[], SharedStore],
        clock: Clock,
        *,
        offload: Callable[[str], Offload] = lambda name: Worker(name).run,
    ) -> None:
        self._place, self._clock = place, clock
        # Beats, commits and reads have a connection and a thread each: none waits for another.
        self._store, self._commits, self._reads = connect(), connect(), connect()
        self._offload = offload("database")
        self._offload_commit = offload("state")
        self._offload_read = offload("reads")
        self._queue = CommitQueue(place, self._prepare, clock, self._commit)
        self._members: dict[str, _Member] = {}
        self._last_beat = -math.inf
        """When the last successful beat started, in loop seconds."""
        self._others = OTHERS_ASSUMED
        self._up: bool | None = None
        self._task: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        """Calls to the database for which no beat waits."""
        self._committing: list[tuple[KeyBudgets, Reports]] = []
        """The budgets and their reports in the commit in progress."""
        self._refused: SchemaTooNew | None = None
        """Why this exporter is too old for the database, found by its first beats."""

    @property
    def database_up(self) -> bool:
        """Whether the last beat reached the database."""
        return bool(self._up)

    async def start(self) -> None:
        """Start the beats; wait some seconds until the leaders and the stored data are known.

        Raises StartError if the database was migrated by a newer exporter.
        """
        self._task = asyncio.create_task(self._beats())
        with suppress(TimeoutError):
            async with asyncio.timeout(START_PATIENCE):
                while self._up is None or (self._up and not self._settled()):
                    await self._clock.sleep(LOOK_EVERY)
        if self._refused is not None:
            raise StartError(str(self._refused)) from self._refused

    def _settled(self) -> bool:
        """Whether all workspaces were read, and the leases that were taken were renewed."""
        return all(
            member.version is not None and (member.epoch is None or math.isfinite(member.until))
            for member in self._members.values()
        )

    def role(self, workspace: str) -> Role:
        """What this exporter does for a workspace now."""
        member = self._members.get(workspace)
        now = self._clock.monotonic()
        if member is not None and now < self._until(member):
            return Role.LEADS
        reached = now < self._last_beat + LEASE_SECONDS - CLOCK_MARGIN
        return Role.FOLLOWS if reached else Role.CUT_OFF

    def _until(self, member: _Member) -> float:
        """When the first lease expires of the workspaces that share this one's budget."""
        budgets = member.source.budgets
        return min(each.until for each in self._members.values() if each.source.budgets is budgets)

    # Data from the workspaces

    def attach(self, source: SharedSource) -> StoredWorkspace:
        """Start to store a workspace; nothing is known before the database was read."""
        self._members[source.name] = _Member(source)
        return StoredWorkspace()

    def changed(self, source: ChangeSource) -> None:
        """Note that `source` has changes; only those of a leader are written."""
        if self._is_led(source):
            super().changed(source)

    def hand_over(self, source: ChangeSource) -> None:
        """Take over what a workspace that ends has to write, if it is led."""
        if self._is_led(source):
            super().hand_over(source)

    def _is_led(self, source: ChangeSource) -> bool:
        """Whether this exporter holds the lease, as far as it knows."""
        member = self._members.get(source.name)
        return member is not None and member.source is source and member.epoch is not None

    async def settle(self, until: float, needed: Callable[[], object]) -> None:
        """Wait, until then (loop seconds) at most, for the commits that are `needed`."""
        if self._up:
            await super().settle(until, needed)

    def retain(self, workspaces: Sequence[str], wall: float, remembered_for: float) -> None:
        """Follow and lead these workspaces; forget others after `remembered_for` seconds."""
        del wall  # the database has its own clock
        for name in self._members.keys() - set(workspaces):
            del self._members[name]
        self._queue.also(partial(self._commits.retain, workspaces, remembered_for), workspaces)
        self._allow()

    def _prepare(
        self, rows: Sequence[PendingRow], workspaces: Sequence[WorkspaceRow]
    ) -> Callable[[], Collection[str]]:
        """A commit of each workspace with its current epoch; without an epoch, rows are refused."""
        own = {row.name: row for row in workspaces}
        by_workspace: dict[str, list[PendingRow]] = {name: [] for name in own}
        for row in rows:
            by_workspace.setdefault(row.workspace, []).append(row)
        batches, refused = [], set()
        self._committing = []
        for name, pending in by_workspace.items():
            member = self._members.get(name)
            if member is None or member.epoch is None:
                refused.add(name)
                continue
            report = member.source.budgets.report()
            self._committing.append((member.source.budgets, report))
            workspace = own.get(name, WorkspaceRow(name))
            batches.append((workspace, member.epoch, pending, to_json(Spending.of(report))))

        def commit() -> Collection[str]:
            return refused | set(
                self._commits.commit(
                    Batch(workspace, epoch, [row.row() for row in pending], spending)
                    for workspace, epoch, pending, spending in batches
                )
            )

        return commit

    async def _commit(self, work: Callable[[], None]) -> None:
        """Make a commit in its thread; with it other exporters can see what was spent."""
        reports = self._committing
        await self._within_patience(self._offload_commit, work)
        for budgets, report in reports:
            budgets.note_reported(report)

    # Beats

    async def _beats(self) -> None:
        while True:
            try:
                again = await self._beat()
            except StateError as error:
                again = False
                self._refused = error if isinstance(error, SchemaTooNew) else None
                self._failed(str(error))
            except Exception:
                again = False
                log.exception("internal error")
            self._allow()
            if not again:
                await self._clock.sleep(BEAT_SECONDS)

    async def _beat(self) -> bool:
        """Renew and take leases, and act on them; whether another beat must follow at once.

        Nothing is sent under a lease that was just taken. First the next beat must report, for
        others to see, what the leader before has spent.
        """
        began = self._clock.monotonic()
        shares = self._shares()
        reports = [budgets.report() for budgets, _ in shares]
        groups = [
            self._group(members, report)
            for (_, members), report in zip(shares, reports, strict=True)
        ]
        beat = await self._call(partial(self._store.beat, groups))
        self._succeeded(began, beat.others)
        found = [
            (budgets, report, {each: beat.leases.get(each.source.name) for each in members})
            for (budgets, members), report in zip(shares, reports, strict=True)
        ]
        for budgets, report, leases in found:
            self._renew(budgets, report, leases, began)
        again = False
        for budgets, _, leases in found:
            if again and _new(leases) and self._clock.monotonic() - began >= BEAT_SECONDS:
                # The next beat must renew the other leases in time. It takes this one again.
                continue
            again = await self._take_up(budgets, leases) or again
        return again

    def _shares(self) -> list[tuple[KeyBudgets, list[_Member]]]:
        """The workspaces, grouped by the budgets that they share."""
        shares: dict[int, tuple[KeyBudgets, list[_Member]]] = {}
        for member in self._members.values():
            budgets = member.source.budgets
            shares.setdefault(id(budgets), (budgets, []))[1].append(member)
        return [*shares.values()]

    @staticmethod
    def _assume(budgets: KeyBudgets, leases: Sequence[Lease], under_way_for: float) -> None:
        """Count what the leader before has spent; if that is unknown, the whole budget."""
        if all(lease.taken and lease.epoch == 1 for lease in leases):
            return  # there was no leader before
        newest = min(leases, key=lambda lease: lease.spending_age)
        try:
            spending = from_json(Spending, newest.spending or "")
        except ValueError:
            spending = None
        budgets.assume(spending, newest.spending_age, under_way_for)

    def _renew(
        self,
        budgets: KeyBudgets,
        report: Reports,
        leases: Mapping[_Member, Lease | None],
        began: float,
    ) -> None:
        """Continue with leases that were renewed. Waits for nothing, so that all are in time."""
        for member, lease in leases.items():
            if lease is not None and member.holds(lease):
                member.until = began + LEASE_SECONDS - CLOCK_MARGIN
                self._lead(member, lease)
        if all(member.holds(lease) for member, lease in leases.items()):
            self._allow()
            budgets.note_reported(report)

    async def _take_up(self, budgets: KeyBudgets, leases: Mapping[_Member, Lease | None]) -> bool:
        """Start to lead with new leases, follow the holders of the others; whether any is new.

        Leases with which this exporter cannot lead are given back: if a workspace cannot be read,
        or if two exporters hold leases of one budget. Then the one that holds the first leads.
        """
        new = _new(leases)
        if new:
            request_timeout = max(member.source.request_timeout for member in leases)
            self._assume(budgets, new, request_timeout)
        for member, lease in leases.items():
            try:
                await self._apply(member, lease)
            except Exception as error:  # noqa: BLE001 -- an error of one workspace stops no other
                await self._give_up(budgets, leases, error)
                return False
        first = min(leases, key=lambda member: member.source.name)
        if any(leases.values()) and leases[first] is None:
            await self._give_back(budgets, leases)
            return False
        return bool(new)

    async def _apply(self, member: _Member, lease: Lease | None) -> None:
        """Start to lead with a new lease, or follow its holder."""
        if member.holds(lease):
            return
        if lease is not None or member.epoch is not None:
            self._lose(member)
        if lease is not None:
            await self._catch_up(member)
            member.received |= lease.received
            member.epoch, member.problem = lease.epoch, None
            log.info("lead taken", workspace=member.source.name, epoch=lease.epoch)
        elif member.version is None:
            self._read_soon(member)  # no beat waits for it

    async def _give_up(
        self, budgets: KeyBudgets, members: Collection[_Member], error: Exception
    ) -> None:
        """Leave the lead to others, one of which may be able to read the state."""
        pause = UNREAD_FOR if type(error) is StateError else UNREADABLE_FOR
        for member in members:
            member.not_before = self._clock.monotonic() + pause
        await self._give_back(budgets, members)
        problem = str(error)
        known = any(member.problem == problem for member in members)
        for member in members:
            member.problem = problem
        if not known:
            defect = None if isinstance(error, StateError) else error
            log.error("state unreadable", database=self._place, problem=problem, exc_info=defect)

    async def _give_back(self, budgets: KeyBudgets, members: Collection[_Member]) -> None:
        """Give back the leases of workspaces that share a budget."""
        for member in members:
            if member.epoch is not None:
                self._lose(member)
        self._allow()
        await self._call(partial(self._store.release, [self._group(members, budgets.report())]))

    def _lead(self, member: _Member, lease: Lease) -> None:
        """Do what other exporters ask of the leader."""
        received, member.received = member.received | lease.received, set()
        if received:
            member.source.receive(received)
        if lease.wanted:
            member.source.refresh_wanted()
        if not member.led:
            member.led = True
            self.changed(member.source)

    def _lose(self, member: _Member) -> None:
        """Forget what is known: another exporter holds the lease, or held it meanwhile."""
        if member.epoch is not None:
            log.warning("lead lost", workspace=member.source.name, epoch=member.epoch)
        member.epoch, member.until, member.version = None, -math.inf, None
        self._queue.drop(member.source.name)

    def _allow(self) -> None:
        """Give each budget the part that belongs to the exporter's role; note changed roles."""
        for budgets, members in self._shares():
            roles = {self.role(member.source.name) for member in members}
            if roles == {Role.LEADS}:
                until = min(member.until for member in members)
                budgets.allow(Allowance(LEADERS_PART, until=until))
            elif Role.CUT_OFF in roles:
                part = PART_WHEN_CUT_OFF / max(1, self._others)
                budgets.allow(Allowance(part, least=0))
            elif budgets.allowance is not NOTHING:
                budgets.allow(NOTHING)
            for member in members:
                self._note_role(member)

    def _note_role(self, member: _Member) -> None:
        role = self.role(member.source.name)
        if role is not Role.LEADS:
            member.led = False
        if role is Role.CUT_OFF:
            # What it reads from now on is not committed until it renews its lease, if no other
            # exporter has taken it by then. Otherwise it must read everything.
            member.version = None
        elif role is Role.FOLLOWS:
            member.source.pause()

    def _succeeded(self, began: float, others: int) -> None:
        self._last_beat, self._others = began, others
        if self._up is False:
            log.info("database reachable again", database=self._place)
            self._queue.retry()
        self._up = True

    def _failed(self, problem: str) -> None:
        if self._up is not False:
            log.error("database unreachable", database=self._place, problem=problem)
        self._up = False

    # Data from other exporters

    async def follow(self, source: SharedSource, until: float) -> None:
        """Have `source` take what the leader has committed; until then (loop seconds) at most."""
        member = self._members.get(source.name)
        if member is None or self.role(source.name) is not Role.FOLLOWS:
            return
        self._ask(source.name, ())
        if member.reading is not None and not member.reading.done():
            await self._wait(member.reading, until)  # it may have begun before the newest commit
        await self._wait(self._read_soon(member), until)

    def _read_soon(self, member: _Member) -> asyncio.Task[None]:
        """Read what is new, unless a read is in progress."""
        if member.reading is None or member.reading.done():
            member.reading = self._in_background(partial(self._catch_up, member))
        return member.reading

    async def _wait(self, task: asyncio.Task[None], until: float) -> None:
        """Wait for a task until then (loop seconds) at most; it continues after that."""
        await asyncio.wait([task], timeout=max(0.0, until - self._clock.monotonic()))

    def received(self, workspace: str, integrations: Collection[str]) -> None:
        """Report to the leader which counters a scraper has received at 0 from this exporter."""
        self._ask(workspace, integrations)

    def _ask(self, workspace: str, received: Collection[str]) -> None:
        """Ask the leader for newer data, in the background, one call at a time."""
        member = self._members.get(workspace)
        if member is None:
            return
        member.to_report |= set(received)
        if member.asking is None or member.asking.done():
            member.asking = self._in_background(partial(self._send, member))

    async def _send(self, member: _Member) -> None:
        received, member.to_report = frozenset(member.to_report), set()
        ask = partial(self._reads.ask, member.source.name, received)
        await self._call(ask, self._offload_read)

    def _in_background(self, call: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Make a call to the database; if that fails, the next scrape or beat tries again."""

        async def work() -> None:
            try:
                with suppress(StateError):  # the next beat meets the error, too
                    await call()
            except Exception:
                log.exception("internal error")

        task = asyncio.create_task(work())
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _catch_up(self, member: _Member) -> None:
        """Read what is new, or everything, and have the source take it; raises StateError."""
        async with member.lock:
            if member.epoch is not None:
                return
            since = member.version
            read = partial(self._read, member.source, since, member.read_epoch)
            found, take = await self._call(read, self._offload_read)
            if member.version == since:  # else its role changed meanwhile
                take()
                member.version, member.read_epoch = found.version, found.epoch

    def _read(
        self, source: SharedSource, since: int | None, epoch: int
    ) -> tuple[StoredWorkspace, Callable[[], None]]:
        """Read a workspace in the thread of reads, and what takes that over.

        Everything is read if another exporter leads now, or if the database was restored.
        """
        found = self._reads.read(source.name, since)
        if since is not None and (found.epoch != epoch or found.version < since):
            since, found = None, self._reads.read(source.name)
        if found.version == since:
            return found, lambda: None
        return found, source.read(found, whole=since is None)

    async def _call(self, call: Callable[[], Result], offload: Offload | None = None) -> Result:
        """Make a call to the database in a thread; raises StateError, also if it takes long."""
        results: list[Result] = []

        def work() -> None:
            results.append(call())

        await self._within_patience(offload or self._offload, work)
        return results[0]

    @staticmethod
    async def _within_patience(offload: Offload, work: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(CALL_PATIENCE):
                await offload(work)
        except TimeoutError as error:
            problem = f"no answer within {CALL_PATIENCE:g} s"
            raise StateError(problem) from error

    def _group(self, members: Collection[_Member], report: Reports) -> Group:
        """The workspaces of one budget, with what was spent of it."""
        now = self._clock.monotonic()
        return Group(
            tuple(sorted(each.source.name for each in members)),
            to_json(Spending.of(report)),
            may_lead=all(each.not_before <= now for each in members),
            epochs={each.source.name: each.epoch for each in members if each.epoch is not None},
        )

    async def close(self) -> None:
        """Try once to write what waits, then give the leases back with what was spent."""
        tasks = [*self._background, *([] if self._task is None else [self._task])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._queue.close()
        groups = []
        for budgets, members in self._shares():
            budgets.allow(NOTHING)
            groups.append(self._group(members, budgets.report()))
        with suppress(StateError):
            await self._call(partial(self._store.release, groups))
            await self._call(self._store.close)
            await self._call(self._reads.close, self._offload_read)
            await self._call(self._commits.close, self._offload_commit)


def _new(leases: Mapping[_Member, Lease | None]) -> list[Lease]:
    """The leases with which this exporter does not lead yet."""
    return [lease for member, lease in leases.items() if lease and not member.holds(lease)]
