"""One workspace: what a scrape begins, what it waits for, and what it is shown.

    scrape ──► passes ──► what changed? ──► histories ──► ledger
       ▲                                                    │
       └───────────────────── snapshot ◄────────────────────┘

Only a scrape makes the exporter ask. What it began goes on after the answer, and each page
shows in the snapshot as soon as it is read.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace

from cdi_exporter.braze.budget import INSTANT
from cdi_exporter.braze.client import Client
from cdi_exporter.change_signal import ChangeSignal
from cdi_exporter.clock import Clock
from cdi_exporter.config import WorkspaceConfig
from cdi_exporter.errors import ApiError
from cdi_exporter.model import RequestRecord
from cdi_exporter.snapshot import WorkspaceSnapshot
from cdi_exporter.state import NOTHING_KEPT, Memory
from cdi_exporter.workspace.api import Api
from cdi_exporter.workspace.histories import DEFECT, Histories
from cdi_exporter.workspace.passes import Passes
from cdi_exporter.workspace.persistence import Persistence
from cdi_exporter.workspace.roster import Roster

PATIENCE = 1.0
"""Seconds to wait for a workspace that failed last, while nothing at all is known of it."""


class Workspace:
    """One workspace, as scrapes and the configuration see it."""

    def __init__(
        self,
        config: WorkspaceConfig,
        client: Client,
        clock: Clock,
        journal: Memory = NOTHING_KEPT,
    ) -> None:
        """Begin with what the journal knows; raises StateError where that is unreadable."""
        self._name = config.name
        self._signal = signal = ChangeSignal()
        self._api = api = Api(client, clock)
        self._roster = roster = Roster(config, keeps=journal.keeps)
        self._persistence = persistence = Persistence(config.name, roster, api, journal)
        persistence.restore()
        self._histories = Histories(roster=roster, api=api, persistence=persistence, signal=signal)
        self._passes = Passes(
            config,
            roster=roster,
            api=api,
            histories=self._histories,
            persistence=persistence,
            signal=signal,
        )
        self._shown = WorkspaceSnapshot(config.name)
        self._closing = False

    @property
    def name(self) -> str:
        """The value of the label `workspace`."""
        return self._name

    def configure(self, config: WorkspaceConfig, client: Client) -> None:
        """Go on with another configuration; what is known of an integration stays."""
        self._api.client = client
        self._roster.configure(config)
        self._passes.configure(config)

    async def scrape(self, deadline: float) -> WorkspaceSnapshot:
        """Refresh, wait for what shows until `deadline` (loop seconds), tell what is known."""
        try:
            await self._refresh(deadline)
        except Exception as error:  # noqa: BLE001 -- a defect hides no other workspace
            self._histories.broke(error)
        return self.snapshot()

    async def _refresh(self, deadline: float) -> None:
        deadline = min(deadline, self._patience(deadline))
        self._passes.begin()
        await self._shows(deadline)
        await self._persistence.settle(deadline)

    def _patience(self, deadline: float) -> float:
        """Until when it is worth waiting for this workspace at all."""
        now, duration = self._api.now(), self._passes.duration
        known = any(tracked.read_at is not None for tracked in self._roster)
        if self._error is not None:
            return now if known else now + PATIENCE
        slow = duration is not None and duration > deadline - now
        return now if known and slow else deadline

    async def _shows(self, deadline: float) -> None:
        """Wait, at most until then, for what is under way and may show."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while not self._closing and self._worth_waiting(deadline - self._api.now()):
                    await self._signal.wait()

    def _worth_waiting(self, seconds: float) -> bool:
        """Whether what is under way may show within `seconds`."""
        return seconds > INSTANT and (
            self._passes.worth_waiting(seconds) or self._histories.worth_waiting(seconds)
        )

    @property
    def _error(self) -> ApiError | None:
        """Why the workspace cannot be read."""
        histories = self._histories
        return self._passes.failure or histories.denied or histories.defect or histories.refused

    def snapshot(self) -> WorkspaceSnapshot:
        """What is known now; the same object while nothing changes."""
        try:
            snapshot = self._snapshot()
        except Exception as error:  # noqa: BLE001 -- a defect hides no other workspace
            self._histories.broke(error)
            defect = ApiError(DEFECT)
            snapshot = replace(self._shown, up=False, error=defect.reason, problem=str(defect))
        if snapshot != self._shown:
            self._shown = snapshot
        return self._shown

    def _snapshot(self) -> WorkspaceSnapshot:
        passes, error = self._passes, self._error
        return WorkspaceSnapshot(
            name=self.name,
            integrations=tuple(tracked.snapshot() for tracked in self._roster),
            up=None if not passes.ended and error is None else error is None,
            error=error.reason if error else None,
            problem=str(error) if error else None,
            list_readable=passes.list_readable,
            last_refresh=passes.completed,
            refresh_duration=passes.duration,
            pending_reads=self._histories.pending,
            endpoints=self._api.snapshot(),
        )

    def served(self, snapshot: WorkspaceSnapshot) -> None:
        """Note that a scrape has seen `snapshot`: its counters may rise from now on."""
        for tracked in self._roster.served(shown.facts.id for shown in snapshot.integrations):
            self._persistence.note(tracked)

    def recent(self) -> tuple[RequestRecord, ...]:
        """The last requests to the API, oldest first."""
        return tuple(self._api.stats.recent)

    def release(self) -> None:
        """Answer the scrapes that wait with what is known, and begin nothing more."""
        self._closing = True
        self._passes.release()
        self._histories.release()
        self._persistence.close()
        self._signal.notify()

    def leave(self) -> None:
        """Hand over to the journal what is left to be written."""
        self._persistence.leave()

    async def close(self) -> None:
        """Answer the scrapes that wait, and end what is under way."""
        self.release()
        await self._passes.close()
        await self._histories.close()
        self.leave()
