"""Reads the list of integrations page by page; each page may queue reads of histories."""

from collections.abc import Callable, Collection, Iterable

import structlog

from cdi_exporter.braze.wire import PAGE_SIZE
from cdi_exporter.errors import InvalidResponse, RateLimited
from cdi_exporter.model import Endpoint, IntegrationsPage
from cdi_exporter.workspace.api import Api
from cdi_exporter.workspace.history_reader import HistoryReader
from cdi_exporter.workspace.integration import IntegrationState
from cdi_exporter.workspace.inventory import MOST_INTEGRATIONS, Inventory
from cdi_exporter.workspace.publisher import Publisher

MOST_LIST_PAGES = MOST_INTEGRATIONS // PAGE_SIZE
"""Most pages of the list that are read in one refresh."""

MOST_REFUSALS = 5
"""Most retries of one page after a 429: each waits until Braze allows it."""

_LEADS_BACK = "the pages of the list repeat themselves"
log = structlog.get_logger()


class ListReader:
    """Reads the list of one workspace; `answered` is called for each page that arrives."""

    def __init__(
        self,
        *,
        inventory: Inventory,
        api: Api,
        histories: HistoryReader,
        publisher: Publisher,
        answered: Callable[[], None],
    ) -> None:
        self._inventory, self._api, self._histories = inventory, api, histories
        self._publisher, self._answered = publisher, answered
        self._pages = 0
        """Pages of the last complete list."""

    @property
    def is_long(self) -> bool:
        """Whether the list takes more than a minute's budget; False before the first one."""
        return self._pages > self._api.budget(Endpoint.INTEGRATIONS).slots

    async def read(self) -> bool:
        """Read the whole list; whether every integration of it is followed. Raises ApiError."""
        listed: set[str] = set()
        cursor: str | None = None
        self._inventory.refused = 0
        left_out = 0
        for number in range(MOST_LIST_PAGES):
            page = await self._page(cursor, patient=number > 0)
            self._answered()
            left_out += page.invalid - page.damaged
            found = {item.id for item in page.integrations}
            if page.next_cursor is not None and found <= listed:
                raise InvalidResponse(_LEADS_BACK)
            listed |= found
            self._apply(page, first=number == 0)
            cursor = page.next_cursor
            if cursor is None:
                self._pages = number + 1
                if not left_out:
                    self._note_complete(listed)
                break
        return cursor is None and not self._inventory.refused

    async def _page(self, cursor: str | None, *, patient: bool) -> IntegrationsPage:
        """One page; with `patient` a 429 causes a wait, so that earlier pages are not lost."""
        for _ in range(MOST_REFUSALS if patient else 0):
            try:
                return await self._api.integrations(cursor)
            except RateLimited:
                continue
        return await self._api.integrations(cursor)

    def _apply(self, page: IntegrationsPage, *, first: bool) -> None:
        """Apply a page, and queue the histories that have to be read because of it."""
        ids = [item.id for item in page.integrations]
        before = [state for state in map(self._inventory.get, ids) if state is not None]
        lost = {state.id for state in before if state.list_view.schedule_lost is not None}
        instant = self._api.instant()
        applied = [self._inventory.apply_list_item(item, instant) for item in page.integrations]
        states = [state for state in applied if state is not None]
        for state in states:
            self._publisher.note(state)
        self._histories.queue_due(states)
        if first:
            self._histories.queue_due(self._inventory)
        self._log_changes(before, lost)

    def _log_changes(self, before: Iterable[IntegrationState], lost: Collection[str]) -> None:
        """Log what a page changed about integrations that were already followed."""
        for state in before:
            facts = {
                "workspace": self._publisher.name,
                "integration_id": state.id,
                "integration_name": state.name,
            }
            if self._inventory.get(state.id) is None:
                log.info("integration excluded", **facts)
            elif state.list_view.schedule_lost is not None and state.id not in lost:
                log.warning("schedule lost", **facts)
            elif state.id in lost and state.item and state.item.next_scheduled_run is not None:
                log.info("schedule returned", **facts)

    def _note_complete(self, listed: set[str]) -> None:
        for state in self._inventory.complete_list(listed, self._api.instant()):
            workspace = self._publisher.name
            log.info("integration removed", workspace=workspace, integration_id=state.id)
