"""Gives the changes of one workspace to the journal, and logs runs once they are committed."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import structlog

from cdi_exporter.clock import Instant
from cdi_exporter.model import Run, in_future
from cdi_exporter.snapshot import WorkspaceSnapshot
from cdi_exporter.state import (
    Journal,
    PendingRow,
    Role,
    SharedSource,
    StoredWorkspace,
    UnreadableState,
    show,
    unreadable,
)
from cdi_exporter.typed_json import from_json
from cdi_exporter.workspace.api import Api
from cdi_exporter.workspace.integration import IntegrationState
from cdi_exporter.workspace.inventory import Inventory, records_of
from cdi_exporter.workspace.leader_status import LeaderStatus
from cdi_exporter.workspace.record import Record

log = structlog.get_logger()


class Publisher:
    """The changes of one workspace, on their way to and from the journal."""

    def __init__(
        self, inventory: Inventory, api: Api, journal: Journal, source: SharedSource
    ) -> None:
        self.name = source.name
        self._source = source
        self._inventory, self._api, self._journal = inventory, api, journal
        self._changed: set[str] = set()
        """Integrations that changed since the journal last collected changes."""
        self._watermarks_ahead: set[str] = set()
        """Integrations whose watermark was in the future at the last read."""
        self._closed = False
        self.leader_status = LeaderStatus()
        """The leader's status, while this exporter follows."""

    def restore(self) -> None:
        """Continue with what the journal has; raises StateError if that is unreadable."""
        stored = self._journal.attach(self._source)
        with self._readable(stored):
            self._restore(stored, records_of(stored), self._api.instant())
        self._journal.changed(self._source)

    @contextmanager
    def _readable(self, stored: StoredWorkspace) -> Iterator[None]:
        """Raise UnreadableState for rows that no exporter writes."""
        for row in stored.rows:
            if not row.id.strip() or row.id in (".", ".."):
                problem = f"integration {row.id!r}: id is not an integration ID"
                raise UnreadableState(unreadable(self.name, problem))
        try:
            yield
        except ValueError as error:
            raise UnreadableState(unreadable(self.name, f"integration {error}")) from error

    # With a state that other exporters share

    def read(self, stored: StoredWorkspace, *, whole: bool) -> Callable[[], None]:
        """Read what another exporter has committed, in any thread; raises UnreadableState.

        The result, called in the event loop, continues with it.
        """
        with self._readable(stored):
            records = records_of(stored)
        try:
            leader_status = from_json(LeaderStatus, stored.status or "{}")
        except ValueError as error:
            problem = f"unreadable status of the workspace {show(self.name)}: {error}"
            raise UnreadableState(problem) from error
        take = self._restore if whole else self._inventory.take

        def continue_with() -> None:
            take(stored, records, self._api.instant())
            self.leader_status = leader_status
            leader_status.show(self._inventory)

        return continue_with

    def _restore(
        self, stored: StoredWorkspace, records: Sequence[Record | None], instant: Instant
    ) -> None:
        self._changed.clear()
        self._inventory.restore(stored, records, instant)
        self._watermarks_ahead = {state.id for state in self._inventory if self._is_ahead(state)}

    def receive(self, integrations: Collection[str]) -> None:
        """Note that scrapers have received counters at 0 from another exporter."""
        for state in map(self._inventory.get, integrations):
            if state is not None and state.receive():
                self.note(state)

    # What changed

    def note(self, state: IntegrationState) -> None:
        """Give the journal an integration that may have changed."""
        if state.publication.unsaved and self._journal.keeps and not self._closed:
            self._changed.add(state.id)
            self._journal.changed(self._source)

    def note_refresh(self) -> None:
        """Give the journal which integrations came and went, and the result of a refresh."""
        if not self._closed:
            self._journal.changed(self._source)

    def received(self, snapshot: WorkspaceSnapshot) -> None:
        """Note that a scraper has received `snapshot`: its counters may rise from now on."""
        shown = {each.facts.id for each in snapshot.integrations if each.facts.counters}
        new = [
            state.id
            for state in self._inventory
            if state.id in shown and not state.publication.received_at_zero
        ]
        if new and self._journal.role(self.name) is Role.FOLLOWS:
            self._journal.received(self.name, new)
        else:
            self.receive(new)

    def page_read(self, state: IntegrationState, counted: Sequence[Run]) -> None:
        """Log the runs that a page counted once they cannot count again."""
        self._warn_of_watermark(state)
        state.publication.count(counted)
        if not self._journal.keeps:
            self._report(state, state.publication.counted_runs)

    async def settle(self, deadline: float) -> None:
        """Wait until counters are committed, until `deadline` (loop seconds) at most."""
        if self._journal.role(self.name) is Role.LEADS:
            await self._journal.settle(
                deadline, lambda: any(state.is_behind for state in self._inventory)
            )

    def changes(self) -> list[PendingRow]:
        """The rows that changed since the last call, or since the last one that did not raise."""
        moved, instant = self._inventory.moved, self._api.instant()
        changed = sorted(self._changed | moved)
        states = [self._inventory.find(identifier) for identifier in changed]
        records = [state.record(instant) if state else None for state in states]
        self._changed, self._inventory.moved = set(), set()
        rows = []
        for identifier, state, record in zip(changed, states, records, strict=True):
            same = state and record and not state.publication.save(record.knowledge)
            if not same or identifier in moved:
                rows.append(self._row(identifier, state, record))
        return rows

    def _row(
        self, identifier: str, state: IntegrationState | None, record: Record | None
    ) -> PendingRow:
        committed = None
        if state is not None and record is not None:
            counted_runs = state.publication.counted_runs
            committed = partial(self._committed, state, record, counted_runs)
        return PendingRow(
            self.name,
            identifier,
            listed=self._inventory.was_listed(identifier),
            left_at=self._inventory.left_at(identifier),
            record=record.to_json if record else None,
            committed=committed,
        )

    def _committed(self, state: IntegrationState, record: Record, counted_runs: int) -> None:
        state.commit(record)
        self._report(state, counted_runs)

    def _report(self, state: IntegrationState, counted_runs: int) -> None:
        for run in state.publication.report(counted_runs):
            facts = {
                "workspace": self.name,
                "integration_id": state.id,
                "integration_name": state.name,
                "status": run.status.value,
                "job_status": run.job_status,
                "rows_synced": run.rows_synced,
                "rows_failed": run.rows_failed,
                "duration_seconds": run.duration,
                "finished_at": _iso(run.finish),
            }
            known = {key: fact for key, fact in facts.items() if fact is not None}
            log.info("sync finished", **known)

    def _warn_of_watermark(self, state: IntegrationState) -> None:
        """Warn once if the watermark is in the future: Braze then syncs nothing older."""
        if not self._is_ahead(state):
            self._watermarks_ahead.discard(state.id)
        elif state.id not in self._watermarks_ahead:
            self._watermarks_ahead.add(state.id)
            log.warning(
                "watermark in the future",
                workspace=self.name,
                integration_id=state.id,
                integration_name=state.name,
                watermark=_iso(state.ledger.summary.watermark),
            )

    def _is_ahead(self, state: IntegrationState) -> bool:
        return in_future(state.ledger.summary.watermark, self._api.instant().server)

    def close(self) -> None:
        """Note nothing more."""
        self._closed = True


def _iso(time: float | None) -> str | None:
    return None if time is None else datetime.fromtimestamp(time, UTC).isoformat()
