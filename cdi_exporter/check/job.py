"""One check: ask each workspace's API, or the configuration alone, and report."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from cdi_exporter import __version__
from cdi_exporter.braze.client import Client
from cdi_exporter.check.asking import SHARE, Asked, Asking
from cdi_exporter.check.judging import judged, unasked
from cdi_exporter.check.report import CheckedWorkspace, Report
from cdi_exporter.check.trouble import Place
from cdi_exporter.clients import TransportFor, clients_for, over_the_network
from cdi_exporter.clock import Clock
from cdi_exporter.config import Settings


@dataclass(frozen=True, slots=True)
class Options:
    """What the flags of `check` say; `environ` tells of proxies."""

    scrape_interval: float = 60.0
    offline: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)


async def check(
    settings: Settings, options: Options, clock: Clock, transport: TransportFor = over_the_network
) -> Report:
    """Check all workspaces at the same time."""
    clients = clients_for(settings.workspaces, clock, transport, part=SHARE)
    asked = [
        Asked(
            config,
            Place(config.endpoint, options.environ, config.ca_file),
            options.scrape_interval,
            [
                name
                for name, client in clients.items()
                if client.shared is clients[config.name].shared and name != config.name
            ],
        )
        for config in settings.workspaces
    ]
    try:
        if options.offline:
            checked = [unasked(each) for each in asked]
        else:
            checked = await asyncio.gather(
                *(_ask(each, clients[each.config.name], clock) for each in asked)
            )
    finally:
        for client in set(clients.values()):
            await client.aclose()
    return Report(
        version=__version__,
        timestamp_seconds=clock.wall(),
        ok=all(each.ok for each in checked),
        offline=options.offline,
        scrape_interval_seconds=options.scrape_interval,
        workspaces=tuple(checked),
    )


async def _ask(asked: Asked, client: Client, clock: Clock) -> CheckedWorkspace:
    return judged(asked, await Asking(asked.config, client, clock).ask())
