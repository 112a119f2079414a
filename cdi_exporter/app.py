"""The running exporter: starts and stops its parts in order, and reloads the configuration."""

import asyncio
import platform
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
from prometheus_client.core import Metric as Family

from cdi_exporter import __version__, catalog, logs, signals
from cdi_exporter.catalog import Metric
from cdi_exporter.clients import Clients, TransportFor
from cdi_exporter.clock import Clock
from cdi_exporter.config import Settings
from cdi_exporter.errors import ConfigError, StartError
from cdi_exporter.exposition import Exposition, Format, own_families, process_collectors
from cdi_exporter.exposition.families import Values
from cdi_exporter.notify import READY, STOPPING, notify, reloading
from cdi_exporter.snapshot import WorkspaceSnapshot
from cdi_exporter.state import Journal, Role, StateError
from cdi_exporter.threads import Worker, in_thread
from cdi_exporter.web.routes import WebOptions, create_app, create_health_app
from cdi_exporter.web.security.guard import Security, guarded
from cdi_exporter.web.server import SHUTDOWN_SECONDS, Address, Listener, listen
from cdi_exporter.workspace import REMEMBERED_FOR, Workspace

log = structlog.get_logger()

HEALTH_CONNECTIONS = 50
"""Connections to the health address. Few clients use it."""

MOST_PAGES = 8
"""Status pages that are rendered or wait to be. One takes about 50 ms for 100 integrations, so the
last one is ready within a second."""

PAGE_REST = 1.0
"""The thread that renders status pages sleeps for as long as it worked. So scrapes have at least
half of a core, and of Python's global lock, while people reload the page."""

LOAD_SECONDS = 30.0
"""Seconds in which a reload must read the configuration. A single file that hangs is reported by
name after `files.FIRST_PATIENCE`; this is the limit for all files together."""

CLOSE_SECONDS = 3.0
"""Seconds for the last commit and for closing connections. Together with `SHUTDOWN_SECONDS` for
requests in progress, it is shorter than `signals.EXIT_PATIENCE`."""

Offload = Callable[[Callable[[], bytes]], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The settings of `serve` that are command-line flags."""

    listen: Sequence[Address] = (Address("", 10_234),)
    health: Address | None = None
    web_config: str | None = None
    web: WebOptions = field(default_factory=WebOptions)


class Exporter:
    """The workspaces of the current configuration, and the rendering of their metrics.

    `load` reads the settings at a reload. `transport` replaces the network, and `offload` the
    threads in which pages are rendered. `process_metrics` adds the `process_*` and `python_info`
    metrics.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        load: Callable[[], Awaitable[Settings]] | None = None,
        transport: TransportFor | None = None,
        offload: Offload | None = None,
        journal: Journal | None = None,
        process_metrics: bool = True,
    ) -> None:
        """Raises StateError if the state in the journal is invalid."""
        self._clock = clock
        self._offload = offload or Worker("rendering").run
        pages = Worker("status page", most_waiting=MOST_PAGES, rest=PAGE_REST)
        self.render_page: Offload = offload or pages.run
        """Renders a status page in another thread. Raises Busy if too many are waiting."""
        self._journal = journal or Journal()
        self._load = load
        self._reloading = asyncio.Lock()
        self._signalled = False
        """Whether a signal has requested a reload that has not started yet."""
        self._settings = settings
        self._exposition = Exposition()
        self._collectors = process_collectors() if process_metrics else ()
        self._reloaded = clock.wall()
        self._reload_successful = True
        self.security: Security | None = None
        self.render_seconds = 0.0
        self.workspaces: Mapping[str, Workspace] = {}
        self._clients = Clients(clock, transport)
        self._background: set[asyncio.Task[None]] = set()
        self._configure(settings)

    @property
    def serves_tls(self) -> bool:
        """Whether the web configuration enables TLS."""
        return self.security is not None and self.security.tls is not None

    def wall(self) -> float:
        """Unix seconds."""
        return self._clock.wall()

    async def render(
        self, snapshots: Sequence[WorkspaceSnapshot], form: Format, *, own: bool
    ) -> bytes:
        """Render the metrics of the snapshots, and the exporter's own metrics if `own`."""
        began = self._clock.monotonic()
        body = await self._offload(
            lambda: self._exposition.render(snapshots, form, own=self._metrics() if own else ())
        )
        self.render_seconds = max(self._clock.monotonic() - began, self.render_seconds * 0.9)
        return body

    def _metrics(self) -> list[Family]:
        """The exporter's own metrics. A metric without a value has no samples."""
        security, database_up = self.security, self._journal.database_up
        reloaded: Values = {} if security is None else {(): security.reloaded}
        successful: Values = {} if security is None else {(): security.reload_successful}
        leads: Values = {(name,): each.role is Role.LEADS for name, each in self.workspaces.items()}
        values: dict[Metric, Values] = {
            catalog.BUILD_INFO: {(__version__, platform.python_version()): 1},
            catalog.CONFIG_RELOAD_SUCCESSFUL: {(): self._reload_successful},
            catalog.CONFIG_RELOAD_TIME: {(): self._reloaded},
            catalog.WEB_CONFIG_RELOAD_SUCCESSFUL: successful,
            catalog.WEB_CONFIG_RELOAD_TIME: reloaded,
            catalog.STATE_WRITES_FAILED: {(): self._journal.failures},
            catalog.DATABASE_UP: {} if database_up is None else {(): database_up},
            catalog.LOG_LINES_DROPPED: {(): logs.dropped()},
            catalog.FILE_RELOAD_SUCCESSFUL: self._clients.file_reloads(),
            catalog.LEADER: leads if self._journal.shared else {},
        }
        return [*own_families(values, self._collectors)]

    def secure(self, web_config: str) -> None:
        """Load the web configuration. Raises ConfigError."""
        self.security = Security(web_config, self._clock.wall, self._clock.monotonic)

    async def reload(self) -> None:
        """Load and apply the configuration. Raises ConfigError, and then changes nothing.

        Workspaces and integrations that are still configured keep their state.
        """
        async with self._reloading:
            try:
                await self._reload()
            except ConfigError as error:
                self._reload_successful = False
                for problem in error.mistakes:
                    log.error("configuration reload failed", problem=problem)  # noqa: TRY400 -- not a defect
                raise
            self._reload_successful, self._reloaded = True, self._clock.wall()
        log.info("configuration reloaded", workspaces=len(self.workspaces))

    async def _reload(self) -> None:
        self._signalled = False
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                settings = await self._load() if self._load else self._settings
                await self._journal.idle()
            self._configure(settings)
        except TimeoutError as error:
            problem = f"the configuration or the state file could not be read in {LOAD_SECONDS:g} s"
            raise ConfigError([problem]) from error
        except StateError as error:
            raise ConfigError([str(error)]) from error

    def reload_soon(self) -> None:
        """Reload in the background after a signal. Errors are logged and set a metric.

        Signals that arrive before the reload starts cause only one reload.
        """
        if not self._signalled:
            self._signalled = True
            self._run_in_background(self._reload_quietly())

    async def _reload_quietly(self) -> None:
        notify(reloading())
        try:
            with suppress(ConfigError):
                await self.reload()
        finally:
            notify(READY)

    def _configure(self, settings: Settings) -> None:
        clients = self._clients.prepare(settings.workspaces)
        before = self.workspaces
        new = {
            config.name: Workspace(config, clients[config.name], self._clock, self._journal)
            for config in settings.workspaces
            if config.name not in before
        }
        unneeded = self._clients.apply(settings.workspaces, clients)
        for config in settings.workspaces:
            if config.name in before:
                before[config.name].configure(config, clients[config.name])
        names = [config.name for config in settings.workspaces]
        self.workspaces = {name: new.get(name) or before[name] for name in names}
        for name in before.keys() - self.workspaces.keys():
            before[name].release()
            before[name].hand_over()
            self._run_in_background(before[name].close())
        for client in unneeded:
            self._run_in_background(client.retire())
        self._journal.retain(names, self._clock.wall(), REMEMBERED_FOR)

    def _run_in_background(self, work: Coroutine[None, None, None]) -> None:
        """Run something in the background, and let `close` wait for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def start(self) -> None:
        """Start the journal. If exporters share it, wait some seconds for the others' state."""
        await self._journal.start()

    def release(self) -> None:
        """Answer all waiting scrapes with the current data."""
        for workspace in self.workspaces.values():
            workspace.release()

    async def close(self) -> None:
        """Wait for the last refreshes and commits, and close the connections."""
        await asyncio.gather(*(workspace.close() for workspace in self.workspaces.values()))
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._journal.close()
        await asyncio.gather(*(each.aclose() for each in self._clients.by_workspace.values()))


async def serve(
    exporter: Exporter, options: ServeOptions, serving: Callable[[], None] = lambda: None
) -> None:
    """Serve until SIGTERM or SIGINT. Raises StartError or ConfigError if it cannot start.

    `serving` is called when the server starts to answer requests.
    """
    listeners = await _listeners(exporter, options)
    await exporter.start()
    tasks = [asyncio.create_task(listener.serve()) for listener in listeners]
    for listener, task in zip(listeners, tasks, strict=True):
        await _started(listener, task)
    for address in options.listen:
        log.debug("listening", address=str(address), telemetry_path=options.web.telemetry_path)
    serving()
    notify(READY)
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    signals.handle(
        stop=lambda: loop.call_soon_threadsafe(stopped.set),
        reload=lambda: loop.call_soon_threadsafe(exporter.reload_soon),
    )
    await stopped.wait()
    notify(STOPPING)
    log.info("stopping")
    exporter.release()
    for listener in listeners:
        listener.stop()
    await _at_most(SHUTDOWN_SECONDS, asyncio.gather(*tasks))
    await _at_most(CLOSE_SECONDS, exporter.close())


async def _listeners(exporter: Exporter, options: ServeOptions) -> list[Listener]:
    """Open the sockets, in other threads: resolving an address or reading a file may block."""
    if options.web_config is not None:
        web_config = options.web_config
        await in_thread(lambda: exporter.secure(web_config))
    sockets = await in_thread(lambda: [listen(address) for address in options.listen])
    app, security = create_app(exporter, options.web), exporter.security
    if security is None:
        listeners = [Listener(app, sockets)]
    else:
        listeners = [Listener(guarded(app, security), sockets, security.tls)]
    if options.health is not None:  # served without authentication
        address = options.health
        health = await in_thread(lambda: listen(address, flag="--web.health-address"))
        listeners.append(Listener(create_health_app(), [health], most=HEALTH_CONNECTIONS))
    return listeners


async def _started(listener: Listener, task: "asyncio.Task[None]") -> None:
    """Wait until a listener answers requests, or raise the error with which it ended."""
    started = asyncio.ensure_future(listener.wait_started())
    await asyncio.wait([started, task], return_when=asyncio.FIRST_COMPLETED)
    if not started.done():
        started.cancel()
        task.result()
        message = "the server ended before it answered requests"
        raise StartError(message)


async def _at_most(seconds: float, work: Awaitable[object]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await work
