"""`check`: tests each workspace's key and permissions, and estimates the requests of watching."""

import asyncio

from cdi_exporter import __version__
from cdi_exporter.check.diagnosis import diagnose
from cdi_exporter.check.probe import SHARE, Probe
from cdi_exporter.check.report import CheckedDatabase, Report
from cdi_exporter.check.state_database import Describe, check_database
from cdi_exporter.check.text import show
from cdi_exporter.clients import TransportFor, clients_for
from cdi_exporter.clock import Clock
from cdi_exporter.config import Settings

__all__ = ["Report", "check", "show"]


async def check(
    settings: Settings,
    clock: Clock,
    *,
    scrape_interval: float = 60.0,
    offline: bool = False,
    transport: TransportFor | None = None,
    describe: Describe | None = None,
) -> Report:
    """Check all workspaces at the same time, and the database if `describe` is given.

    `scrape_interval` is in seconds. With `offline`, no request is sent. Raises ConfigError.
    """
    names = [config.name for config in settings.workspaces]
    database: CheckedDatabase | None = None
    async with clients_for(settings.workspaces, clock, transport, part=SHARE) as clients:
        probes = []
        for config in settings.workspaces:
            own = clients[config.name]
            same = (each for each in names if clients[each].shared is own.shared)
            sharing = [each for each in same if each != config.name]
            probes.append(Probe(config, own, clock, sharing))
        if not offline:
            probing = (probe.run() for probe in probes)
            database, *_ = await asyncio.gather(check_database(describe, names), *probing)
        checked = tuple(diagnose(probe, scrape_interval, offline=offline) for probe in probes)
    return Report(
        version=__version__,
        timestamp_seconds=clock.wall(),
        ok=all(each.ok for each in (*checked, database) if each),
        offline=offline,
        scrape_interval_seconds=scrape_interval,
        workspaces=checked,
        database=database,
    )
