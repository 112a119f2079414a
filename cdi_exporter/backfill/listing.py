"""The chosen integrations: those of the configuration or the list that are wanted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from cdi_exporter.backfill.plan import url_digest
from cdi_exporter.backfill.reading import with_retries
from cdi_exporter.backfill.run_store import RunStore
from cdi_exporter.backfill.spool import Chosen
from cdi_exporter.braze.client import Client
from cdi_exporter.braze.stats import RequestStats
from cdi_exporter.clock import Clock
from cdi_exporter.config import ConfiguredIntegration, WorkspaceConfig
from cdi_exporter.errors import ApiError, Forbidden, InvalidResponse, StartError
from cdi_exporter.model import Endpoint, Integration

MOST_PAGES = 5_000
"""More than the integrations of any workspace need, so that a broken API cannot keep us."""


async def listed(config: WorkspaceConfig, client: Client, clock: Clock) -> dict[str, Integration]:
    """The list of integrations by ID; empty if the key may not read it and need not.

    Raises StartError with the reason if it cannot be read.
    """
    stats = RequestStats(tuple(Endpoint))
    found: dict[str, Integration] = {}
    cursor: str | None = None
    try:
        for _ in range(MOST_PAGES):
            page = await with_retries(partial(client.integrations, cursor, stats), clock)
            known = len(found)
            found |= {item.id: item for item in page.integrations}
            cursor = page.next_cursor
            if cursor is None:
                return found
            if len(found) == known:
                break
        msg = "the pages of the list repeat themselves"
        raise InvalidResponse(msg)
    except ApiError as error:
        if isinstance(error, Forbidden) and config.integrations is not None:
            return {}
        msg = f"workspace {config.name}: {error}"
        raise StartError(msg) from error


def choose(
    configs: Sequence[WorkspaceConfig],
    lists: Mapping[str, Mapping[str, Integration]],
    include: Sequence[str],
    histories: RunStore,
) -> list[Chosen]:
    """The integrations of all workspaces that are wanted, numbered; by ID within each."""
    found: list[Chosen] = []
    for config in configs:
        items = lists[config.name]
        wanted = replace(config, include=tuple(include), exclude=())
        named = config.integrations or [
            ConfiguredIntegration(item.id)
            for item in items.values()
            if config.selects(item.id, item.name or item.id)
        ]
        for each in sorted(named, key=lambda each: each.id):
            item = items.get(each.id)
            name = each.name or (item.name if item else None) or each.id
            if wanted.selects(each.id, name):
                source = histories.source(config.name, url_digest(config), each.id)
                scheduled = item.scheduled if item else None
                found.append(Chosen(len(found), source, config.name, each.id, name, scheduled))
    return found
