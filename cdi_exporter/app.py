"""The running exporter: settings → clients → workspaces → web; start and stop in order."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from socket import socket

import structlog
from prometheus_client.core import Metric as Family
from starlette.types import ASGIApp

from cdi_exporter import __version__
from cdi_exporter.clients import Clients, TransportFor, over_the_network
from cdi_exporter.clock import Clock
from cdi_exporter.config import Settings
from cdi_exporter.errors import ConfigError
from cdi_exporter.exposition import Exposition, Format, own_families, process_collectors
from cdi_exporter.files import in_thread
from cdi_exporter.snapshot import WorkspaceSnapshot
from cdi_exporter.state import NOTHING_KEPT, Memory, StateError
from cdi_exporter.web.app import WebOptions, create_app, create_health_app
from cdi_exporter.web.security import Guard, Security
from cdi_exporter.web.server import SHUTDOWN_SECONDS, Address, Listener, listen
from cdi_exporter.workspace import Workspace

log = structlog.get_logger()

HEALTH_CONNECTIONS = 50
"""Of the health address: probes are few."""

Offload = Callable[[Callable[[], bytes]], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the flags of `serve` say, apart from the configuration."""

    listen: Sequence[Address] = (Address("", 10_234),)
    health: Address | None = None
    web_config: str | None = None
    web: WebOptions = field(default_factory=WebOptions)


class Exporter:
    """The workspaces of one configuration, and the exposition of them.

    `load` gives the settings anew at a reload, `transport` the way to a workspace's API;
    `offload` runs the rendering beside the event loop.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        load: Callable[[], Settings] | None = None,
        transport: TransportFor = over_the_network,
        offload: Offload = asyncio.to_thread,
        journal: Memory = NOTHING_KEPT,
    ) -> None:
        """Raises StateError where what the journal has kept is unreadable."""
        self._clock, self._offload = clock, offload
        self._journal = journal
        self._load = load or (lambda: settings)
        self._reloading = asyncio.Lock()
        self._exposition = Exposition()
        self._collectors = process_collectors()
        self._reloaded = clock.wall()
        self._reload_successful = True
        self.security: Security | None = None
        self.render_seconds = 0.0
        self.workspaces: Mapping[str, Workspace] = {}
        self._clients = Clients(clock, transport)
        self._leaving: set[asyncio.Task[None]] = set()
        self._configure(settings)

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
        security = self.security
        return [
            *own_families(
                __version__,
                reload_successful=self._reload_successful,
                reloaded=self._reloaded,
                state_writes_failed=self._journal.failures,
                web_reload_successful=security.reload_successful if security else None,
                web_reloaded=security.reloaded if security else None,
                file_reloads=self._clients.file_reloads(),
                collectors=self._collectors,
            )
        ]

    def secure(self, web_config: str) -> None:
        """Load the web configuration, whose state shows in the metrics. Raises ConfigError."""
        self.security = Security(web_config, self._clock.wall, self._clock.monotonic)

    async def reload(self) -> None:
        """Load the configuration again; raises ConfigError where it is wrong, and keeps the old.

        Nothing that is still configured loses what is known of it.
        """
        async with self._reloading:
            await self._reload()

    async def _reload(self) -> None:
        await self._journal.idle()
        try:
            # Files may be on a mount that hangs, and a large file takes time.
            settings = await asyncio.wrap_future(in_thread(self._load))
        except ConfigError as error:
            self._reload_successful = False
            for mistake in error.mistakes:
                log.error("configuration not loaded", problem=mistake)  # noqa: TRY400 -- no defect
            raise
        try:
            self._configure(settings)
        except StateError as error:
            self._reload_successful = False
            log.error("configuration not loaded", problem=str(error))  # noqa: TRY400 -- no defect
            raise ConfigError([str(error)]) from error
        self._reload_successful, self._reloaded = True, self._clock.wall()
        log.info("configuration loaded", workspaces=len(self.workspaces))

    def reload_soon(self) -> None:
        """Reload on a signal; what is wrong stands in the log and in a metric."""
        self._leave(self._reload_quietly())

    async def _reload_quietly(self) -> None:
        with suppress(ConfigError):
            await self.reload()

    def _configure(self, settings: Settings) -> None:
        prepared = self._clients.prepare(settings.workspaces)
        clients = prepared.by_workspace
        before = self.workspaces
        new = {
            config.name: Workspace(config, clients[config.name], self._clock, self._journal)
            for config in settings.workspaces
            if config.name not in before
        }
        unneeded = self._clients.apply(prepared)
        for config in settings.workspaces:
            if config.name in before:
                before[config.name].configure(config, clients[config.name])
        names = [config.name for config in settings.workspaces]
        self.workspaces = {name: new.get(name) or before[name] for name in names}
        self._exposition.retain(self.workspaces)
        for name in before.keys() - self.workspaces.keys():
            before[name].release()
            before[name].leave()
            self._leave(before[name].close())
        for client in unneeded:
            self._leave(client.retire())
        self._journal.retain(names, self._clock.wall())

    def _leave(self, ending: Coroutine[None, None, None]) -> None:
        """End something beside the work that goes on."""
        task = asyncio.get_running_loop().create_task(ending)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def release(self) -> None:
        """Answer the scrapes that wait with what is known."""
        for workspace in self.workspaces.values():
            workspace.release()

    async def close(self) -> None:
        """End what is under way and close the connections."""
        await asyncio.gather(*(workspace.close() for workspace in self.workspaces.values()))
        await self._journal.close()
        await asyncio.gather(*(each.aclose() for each in self._clients.by_workspace.values()))


async def serve(
    exporter: Exporter, options: ServeOptions, serving: Callable[[], None] = lambda: None
) -> None:
    """Serve until SIGTERM or SIGINT; raises StartError or ConfigError where it cannot begin.

    `serving` is called once requests are answered.
    """
    if options.web_config:
        exporter.secure(options.web_config)
    sockets = [listen(address) for address in options.listen]
    listeners = [_listener(create_app(exporter, options.web), sockets, exporter.security)]
    if options.health is not None:
        health = create_health_app(exporter)
        listeners.append(Listener(health, [listen(options.health)], most=HEALTH_CONNECTIONS))
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    loop.add_signal_handler(signal.SIGHUP, exporter.reload_soon)
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


def _listener(app: ASGIApp, sockets: Sequence[socket], security: Security | None) -> Listener:
    """The listener of the exporter itself; the health address needs no credentials."""
    if security is None:
        return Listener(app, sockets)
    return Listener(Guard(app, security), sockets, security.tls)
