"""One check: query each workspace's API, or look only at the configuration, and report."""

import asyncio
from collections.abc import Mapping, Sequence

from cdi_exporter import __version__
from cdi_exporter.braze.client import Client
from cdi_exporter.check.diagnosis import diagnose, diagnose_offline
from cdi_exporter.check.probe import SHARE, Probe, Target
from cdi_exporter.check.report import CheckedDatabase, CheckedWorkspace, Report
from cdi_exporter.check.state_database import Describe, check_database
from cdi_exporter.clients import TransportFor, clients_for, over_the_network
from cdi_exporter.clock import Clock
from cdi_exporter.config import Settings


async def check(
    settings: Settings,
    clock: Clock,
    *,
    scrape_interval: float = 60.0,
    offline: bool = False,
    environ: Mapping[str, str] | None = None,
    transport: TransportFor = over_the_network,
    describe: Describe | None = None,
) -> Report:
    """Check all workspaces at the same time, and the database, if there is one to `describe`.

    Proxies are looked up in `environ`. Offline nothing is contacted.
    """
    clients = clients_for(settings.workspaces, clock, transport, part=SHARE)
    targets = {
        config.name: Target(config, scrape_interval, environ or {}, _sharing(config.name, clients))
        for config in settings.workspaces
    }
    database: CheckedDatabase | None = None
    try:
        if offline:
            checked = [diagnose_offline(target) for target in targets.values()]
        else:
            database, checked = await asyncio.gather(
                _database(describe, [*targets]),
                asyncio.gather(
                    *(_check(target, clients[name], clock) for name, target in targets.items())
                ),
            )
    finally:
        for client in set(clients.values()):
            await client.aclose()
    return Report(
        version=__version__,
        timestamp_seconds=clock.wall(),
        ok=all(each.ok for each in (*checked, database) if each),
        offline=offline,
        scrape_interval_seconds=scrape_interval,
        workspaces=tuple(checked),
        database=database,
    )


async def _database(describe: Describe | None, workspaces: Sequence[str]) -> CheckedDatabase | None:
    return await check_database(describe, workspaces) if describe else None


def _sharing(name: str, clients: Mapping[str, Client]) -> tuple[str, ...]:
    """The other workspaces with the budget of this one."""
    shared = clients[name].shared
    return tuple(
        each for each, client in clients.items() if client.shared is shared and each != name
    )


async def _check(target: Target, client: Client, clock: Clock) -> CheckedWorkspace:
    return diagnose(target, await Probe(target.config, client, clock).run())
