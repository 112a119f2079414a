"""One workspace: what a scrape starts, waits for and returns.

    scrape ──► refresher ──► what changed? ──► history reader ──► ledger
       ▲                                                            │
       └────────────────────────── snapshot ◄───────────────────────┘

Only a scrape makes the exporter send requests. What it started continues after the answer, and
the snapshot shows each page as soon as it is read.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace

from cdi_exporter.braze.budget import INSTANT
from cdi_exporter.braze.client import Client
from cdi_exporter.braze.sharing import KeyBudgets
from cdi_exporter.change_signal import ChangeSignal
from cdi_exporter.clock import Clock
from cdi_exporter.config import WorkspaceConfig
from cdi_exporter.errors import ApiError
from cdi_exporter.model import RequestRecord
from cdi_exporter.snapshot import WorkspaceSnapshot
from cdi_exporter.state import Journal, PendingRow, Role, StoredWorkspace, WorkspaceRow
from cdi_exporter.typed_json import to_json
from cdi_exporter.workspace.api import Api
from cdi_exporter.workspace.defects import DEFECT, Defects
from cdi_exporter.workspace.history_reader import HistoryReader
from cdi_exporter.workspace.inventory import Inventory
from cdi_exporter.workspace.leader_status import LeaderStatus
from cdi_exporter.workspace.publisher import Publisher
from cdi_exporter.workspace.refresher import Refresher

FINISH_EVERY = 0.05
"""Seconds between two checks whether a single refresh is finished: less than a request takes."""

PATIENCE = 1.0
"""Seconds that a scrape waits for a workspace of which nothing is known, if its refresh failed."""


class Workspace:
    """One workspace, as scrapes and the configuration see it."""

    def __init__(
        self,
        config: WorkspaceConfig,
        client: Client,
        clock: Clock,
        journal: Journal | None = None,
    ) -> None:
        """Continue with what the journal has; raises StateError if that is unreadable."""
        journal = journal or Journal()
        self._name = config.name
        self._signal = ChangeSignal()
        self._api = Api(client, clock)
        self._defects = Defects(config.name, self._defect_met)
        self._journal = journal
        self._inventory = Inventory(config, keeps_state=journal.keeps, shared=journal.shared)
        self._publisher = Publisher(self._inventory, self._api, journal, self)
        self._publisher.restore()
        self._histories = HistoryReader(
            inventory=self._inventory,
            api=self._api,
            publisher=self._publisher,
            defects=self._defects,
            signal=self._signal,
        )
        self._refresher = Refresher(
            config,
            inventory=self._inventory,
            api=self._api,
            histories=self._histories,
            publisher=self._publisher,
            defects=self._defects,
            signal=self._signal,
        )
        self._shown = WorkspaceSnapshot(config.name)
        self._closing = False

    @property
    def name(self) -> str:
        """The value of the label `workspace`."""
        return self._name

    def configure(self, config: WorkspaceConfig, client: Client) -> None:
        """Continue with another configuration; what is known of an integration stays."""
        self._api.client = client
        self._inventory.configure(config)
        self._refresher.configure(config)

    async def scrape(self, deadline: float) -> WorkspaceSnapshot:
        """Refresh, wait for results until `deadline` (loop seconds), return what is known."""
        try:
            await self._journal.follow(self, deadline)
            if self.role is not Role.FOLLOWS:
                deadline = min(deadline, self._patience(deadline))
                self._refresher.start()
                await self._wait_for_pages(deadline)
            await self._publisher.settle(deadline)
        except Exception as error:  # noqa: BLE001 -- a defect must not hide other workspaces
            self._defects.report(error)
        return self.snapshot()

    async def finish(self, deadline: float) -> WorkspaceSnapshot:
        """Wait until `deadline` for the refresh and all history reads, including catch-up."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while self._refresher.in_progress or self._histories.busy:
                    await self._api.clock.sleep(FINISH_EVERY)
        await self._publisher.settle(deadline)
        return self.snapshot()

    def _patience(self, deadline: float) -> float:
        """Until when it is useful to wait for this workspace."""
        now, duration = self._api.now(), self._refresher.last.duration
        known = any(state.reads.read_at is not None for state in self._inventory)
        if self._error is not None:
            return now if known else now + PATIENCE
        slow = duration is not None and duration > deadline - now
        return now if known and slow else deadline

    async def _wait_for_pages(self, deadline: float) -> None:
        """Wait until `deadline` for pages that are being read or may be."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while not self._closing and self._can_progress_until(deadline):
                    await self._signal.wait()

    def _can_progress_until(self, deadline: float) -> bool:
        seconds = deadline - self._api.now()
        return seconds > INSTANT and (
            self._refresher.can_progress_within(seconds)
            or self._histories.can_progress_within(seconds)
        )

    def _defect_met(self) -> None:
        self._histories.drop()
        self._signal.notify()

    @property
    def _error(self) -> ApiError | None:
        """Why the workspace cannot be read."""
        return (
            self._refresher.last.failure
            or self._histories.access.denied
            or self._defects.current
            or self._histories.refused
        )

    def snapshot(self) -> WorkspaceSnapshot:
        """What is known now; the same object while nothing changes."""
        try:
            snapshot = self._snapshot()
        except Exception as error:  # noqa: BLE001 -- a defect hides no other workspace
            self._defects.report(error)
            defect = ApiError(DEFECT)
            snapshot = replace(self._shown, up=False, error=defect.reason, problem=str(defect))
        if snapshot != self._shown:
            self._shown = snapshot
        return self._shown

    def _snapshot(self) -> WorkspaceSnapshot:
        snapshot, status = self._own_snapshot(), self._publisher.leader_status
        unrefreshed = not self._refresher.last.ended and status.last_refresh is not None
        if self.role is Role.FOLLOWS or unrefreshed:
            return status.applied_to(snapshot)
        return snapshot

    def _own_snapshot(self) -> WorkspaceSnapshot:
        """What this exporter knows from its own requests."""
        last, error = self._refresher.last, self._error
        return WorkspaceSnapshot(
            name=self.name,
            integrations=tuple(state.snapshot() for state in self._inventory),
            up=None if not last.ended and error is None else error is None,
            error=error.reason if error else None,
            problem=str(error) if error else None,
            list_readable=self._refresher.list_readable,
            last_refresh=last.completed,
            refresh_duration=last.duration,
            pending_reads=self._histories.pending,
            endpoints=self._api.snapshot(),
            role=self.role.value if self._journal.shared else None,
        )

    # With a state that other exporters share

    @property
    def role(self) -> Role:
        """What this exporter does for the workspace; see `Role`."""
        return self._journal.role(self.name)

    @property
    def budgets(self) -> KeyBudgets:
        """The budgets of the workspace's key."""
        return self._api.client.shared

    @property
    def request_timeout(self) -> float:
        """Seconds that a request may be under way."""
        return self._api.client.timeout

    @property
    def workspace_row(self) -> WorkspaceRow:
        """The workspace's own row in the state, with a status for other exporters."""
        inventory = self._inventory
        status = to_json(LeaderStatus.of(self._snapshot())) if self._journal.shared else None
        return WorkspaceRow(self.name, inventory.list_read, inventory.forgotten, status)

    def changes(self) -> list[PendingRow]:
        """The rows of its integrations that changed; called again if it raises."""
        return self._publisher.changes()

    def read(self, stored: StoredWorkspace, *, whole: bool) -> Callable[[], None]:
        """Read what another exporter has committed, in any thread; raises UnreadableState.

        The result, called in the event loop, continues with it.
        """
        take = self._publisher.read(stored, whole=whole)

        def continue_with() -> None:
            take()
            if whole:
                self._histories.spread_rechecks()

        return continue_with

    def receive(self, integrations: Collection[str]) -> None:
        """Note that scrapers have received counters at 0 from another exporter."""
        self._publisher.receive(integrations)

    def pause(self) -> None:
        """Send no more requests until the next scrape, and show what the leader knows."""
        self._refresher.pause()
        self._histories.drop()

    def refresh_wanted(self) -> None:
        """Refresh soon, because another exporter was scraped."""
        self._refresher.wanted()

    def received(self, snapshot: WorkspaceSnapshot) -> None:
        """Note that a scraper has received `snapshot`: its counters may rise from now on."""
        self._publisher.received(snapshot)

    def recent(self) -> tuple[RequestRecord, ...]:
        """The last requests to the API, oldest first."""
        return tuple(self._api.stats.recent)

    def release(self) -> None:
        """Answer the waiting scrapes with what is known, and start nothing more."""
        self._closing = True
        self._refresher.release()
        self._histories.stop_looking()
        self._publisher.close()
        self._signal.notify()

    def hand_over(self) -> None:
        """Give the journal what is not yet written."""
        self._journal.hand_over(self)

    async def close(self) -> None:
        """Answer the waiting scrapes, and end what is in progress."""
        self.release()
        await self._refresher.close()
        await self._histories.close()
        self.hand_over()
