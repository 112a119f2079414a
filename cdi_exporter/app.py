"""The running exporter: settings → clients → workspaces → web; start and stop in order."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
from prometheus_client.core import Metric as Family

from cdi_exporter import __version__
from cdi_exporter.braze.client import Client, Clock, Endpoint, Transport
from cdi_exporter.config import Settings, WorkspaceConfig
from cdi_exporter.exposition import Exposition, Format, own_families, process_collectors
from cdi_exporter.snapshot import WorkspaceSnapshot
from cdi_exporter.web.app import WebOptions, create_app, create_health_app
from cdi_exporter.web.server import SHUTDOWN_SECONDS, Address, Listener, listen
from cdi_exporter.workspace import Workspace

log = structlog.get_logger()

TransportFor = Callable[[WorkspaceConfig], Transport | None]
Offload = Callable[[Callable[[], bytes]], Awaitable[bytes]]


def system_clock() -> Clock:
    """The machine's own time; to be called within the event loop."""
    loop = asyncio.get_running_loop()
    return Clock(time.time, loop.time, asyncio.sleep, random.SystemRandom())


def over_the_network(config: WorkspaceConfig) -> Transport | None:
    """Reach the API as httpx does: proxies from the environment, TLS, keep-alive."""
    return None


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the flags of `serve` say, apart from the configuration."""

    listen: Sequence[Address] = (Address("", 10_234),)
    health: Address | None = None
    web: WebOptions = field(default_factory=WebOptions)


class Exporter:
    """The workspaces of one configuration, and the exposition of them.

    `transport` gives the way to a workspace's API, `offload` runs the rendering beside the
    event loop.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        transport: TransportFor = over_the_network,
        offload: Offload = asyncio.to_thread,
    ) -> None:
        self._clock, self._offload = clock, offload
        self._exposition = Exposition()
        self._collectors = process_collectors()
        self._reloaded = clock.wall()
        self.render_seconds = 0.0
        clients = _clients(settings.workspaces, clock, transport)
        self._clients = set(clients.values())
        self.workspaces: Mapping[str, Workspace] = {
            config.name: Workspace(config, clients[config.name], clock)
            for config in settings.workspaces
        }

    def wall(self) -> float:
        """Unix seconds."""
        return self._clock.wall()

    async def render(
        self, snapshots: Sequence[WorkspaceSnapshot], form: Format, *, own: bool
    ) -> bytes:
        """The exposition of the snapshots, and of the exporter itself where `own`."""
        began = self._clock.monotonic()
        body = await self._offload(
            lambda: self._exposition.render(
                snapshots,
                own=self._own() if own else (),
                openmetrics=form.openmetrics,
                gzip=form.gzip,
            )
        )
        self.render_seconds = max(self._clock.monotonic() - began, self.render_seconds * 0.9)
        return body

    async def offload(self, work: Callable[[], bytes]) -> bytes:
        """Do the work of rendering beside the event loop."""
        return await self._offload(work)

    def _own(self) -> list[Family]:
        return [
            *own_families(
                __version__,
                reload_successful=True,
                reloaded=self._reloaded,
                state_writes_failed=0,
                collectors=self._collectors,
            )
        ]

    async def reload(self) -> None:
        """Load the configuration again."""
        raise NotImplementedError

    def release(self) -> None:
        """Answer the scrapes that wait with what is known."""
        for workspace in self.workspaces.values():
            workspace.release()

    async def close(self) -> None:
        """End what is under way and close the connections."""
        await asyncio.gather(*(workspace.close() for workspace in self.workspaces.values()))
        await asyncio.gather(*(client.aclose() for client in self._clients))


async def serve(
    exporter: Exporter, options: ServeOptions, serving: Callable[[], None] = lambda: None
) -> None:
    """Serve until SIGTERM or SIGINT; raises StartError where it cannot begin.

    `serving` is called once requests are answered.
    """
    sockets = [listen(address) for address in options.listen]
    listeners = [Listener(create_app(exporter, options.web), sockets)]
    if options.health is not None:
        listeners.append(Listener(create_health_app(exporter), [listen(options.health)]))
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    tasks = [asyncio.create_task(listener.serve()) for listener in listeners]
    for listener in listeners:
        await listener.started()
    for address in options.listen:
        log.info("listening", address=str(address), telemetry_path=options.web.telemetry_path)
    serving()
    await stopped.wait()
    log.info("stopping")
    exporter.release()
    for listener in listeners:
        listener.stop()
    with suppress(TimeoutError):
        async with asyncio.timeout(SHUTDOWN_SECONDS):
            await asyncio.gather(*tasks)
    await exporter.close()


def _clients(
    configs: Sequence[WorkspaceConfig], clock: Clock, transport: TransportFor
) -> dict[str, Client]:
    """A client for each workspace; those with the same endpoint and key share one."""
    groups: dict[tuple[str, str], list[WorkspaceConfig]] = {}
    for config in configs:
        groups.setdefault((config.endpoint, config.key.read().reveal()), []).append(config)
    clients = {}
    for group in groups.values():
        client = _client(group, clock, transport)
        clients.update({config.name: client for config in group})
    return clients


def _client(group: Sequence[WorkspaceConfig], clock: Clock, transport: TransportFor) -> Client:
    first, refreshes = group[0], [config.refresh for config in group]
    limits = [refresh.rate_limits for refresh in refreshes]
    return Client(
        first.endpoint,
        lambda: first.key.read().reveal(),
        clock,
        limits={
            Endpoint.INTEGRATIONS: min(limit.integrations for limit in limits),
            Endpoint.HISTORY: min(limit.job_sync_status for limit in limits),
        },
        share=min(refresh.rate_limit_share for refresh in refreshes),
        timeout=max(refresh.request_timeout for refresh in refreshes),
        ca_file=first.ca_file,
        transport=transport(first),
    )
