"""Creates and replaces the API clients of the configured workspaces."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import structlog

from cdi_exporter.braze.client import Client, Transport
from cdi_exporter.braze.proxies import Proxies
from cdi_exporter.braze.sharing import Bounds, Register
from cdi_exporter.braze.trust import Trust
from cdi_exporter.clock import Clock
from cdi_exporter.config import WorkspaceConfig
from cdi_exporter.errors import ConfigError, InvalidResponse
from cdi_exporter.model import Endpoint, Integration, IntegrationsPage

log = structlog.get_logger()

MOST_LIST_PAGES = 5_000
"""Pages of a list that a command reads: more than any workspace has. Without a limit, a faulty API
could keep a command running forever."""

TransportFor = Callable[[WorkspaceConfig], Transport]
"""Returns what sends the requests of a workspace, in place of the network."""


@asynccontextmanager
async def clients_for(
    configs: Sequence[WorkspaceConfig],
    clock: Clock,
    transport: TransportFor | None,
    *,
    part: float = 1.0,
) -> AsyncIterator[dict[str, Client]]:
    """The clients by workspace name, until the context ends. Raises ConfigError."""
    clients = Clients(clock, transport, part=part)
    clients.apply(configs, clients.prepare(configs))
    by_workspace = dict(clients.by_workspace)
    try:
        yield by_workspace
    finally:
        for client in by_workspace.values():
            await client.aclose()


async def read_list(
    request: Callable[[str | None], Awaitable[IntegrationsPage]], found: dict[str, Integration]
) -> None:
    """Read the whole list of integrations into `found`, by ID. Raises ApiError.

    `request` returns the page at a cursor; None means the first page.
    """
    cursor: str | None = None
    for _ in range(MOST_LIST_PAGES):
        page = await request(cursor)
        known = len(found)
        found |= {item.id: item for item in page.integrations}
        cursor = page.next_cursor
        if cursor is None:
            return
        if len(found) == known:
            break
    msg = "the pages of the list repeat themselves"
    raise InvalidResponse(msg)


class Clients:
    """The clients of the current configuration, by workspace name.

    `transport` replaces the network. `part` is the part of each `rate_limit_share` that the clients
    use. `environ` has the variables for proxies and the system's certificates.
    """

    def __init__(
        self,
        clock: Clock,
        transport: TransportFor | None = None,
        *,
        part: float = 1.0,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._clock, self._transport, self._part = clock, transport, part
        self._environ = environ
        self._proxies = Proxies(environ)
        for variable, entry in self._proxies.ignored:
            log.warning("NO_PROXY entry ignored", variable=variable, entry=entry)
        self._register = Register(clock)
        self._trusts: dict[str | None, Trust] = {}
        self._configs: Mapping[str, WorkspaceConfig] = {}
        self.by_workspace: Mapping[str, Client] = {}

    def prepare(self, configs: Sequence[WorkspaceConfig]) -> dict[str, Client]:
        """The clients for a new configuration, by workspace name. Raises ConfigError.

        Existing clients are reused if possible, and do not change before `apply`. No file is read.
        """
        clients: dict[str, Client] = {}
        mistakes: list[str] = []
        for config in configs:
            known = self._configs.get(config.name)
            if known and (known.endpoint, known.ca_file) == (config.endpoint, config.ca_file):
                clients[config.name] = self.by_workspace[config.name]
                continue
            try:
                clients[config.name] = self._new(config)
            except ConfigError as error:
                mistakes += error.mistakes
        if mistakes:
            raise ConfigError([*dict.fromkeys(mistakes)])
        return clients

    def apply(
        self, configs: Sequence[WorkspaceConfig], clients: Mapping[str, Client]
    ) -> list[Client]:
        """Use a new configuration and its clients, and return the clients to retire.

        If a workspace has a new client or a new key, its earlier requests still count.
        """
        before, self.by_workspace = self.by_workspace, clients
        self._configs = {config.name: config for config in configs}
        for config in configs:
            client = clients[config.name]
            client.configure(config.key, self._bounds(config), config.refresh.request_timeout)
            former = before.get(config.name)
            if former is not None and former.base_url == client.base_url:
                client.shared.remember(former.shared)
        needed = set(clients.values())
        return [client for client in before.values() if client not in needed]

    def file_reloads(self) -> dict[tuple[str, ...], bool]:
        """Whether the newest content of each file is in use, by workspace and kind of file."""
        return {
            (name, kind): successful
            for name, client in self.by_workspace.items()
            for kind, successful in client.file_reloads().items()
        }

    def _new(self, config: WorkspaceConfig) -> Client:
        transport = self._transport(config) if self._transport else None
        proxy = trust = None
        if transport is None:
            proxy = self._proxies.proxy_for(config.endpoint)
            urls = (config.endpoint, proxy.url.lower() if proxy else "")
            if any(url.startswith("https:") for url in urls):
                # One object for all workspaces with the same file, which is read only once.
                trust = Trust(config.ca_file, self._environ)
                trust = self._trusts.setdefault(config.ca_file, trust)
        return Client(
            config.endpoint,
            config.key,
            self._clock,
            bounds=self._bounds(config),
            timeout=config.refresh.request_timeout,
            register=self._register,
            workspace=config.name,
            trust=trust,
            proxy=proxy,
            transport=transport,
        )

    def _bounds(self, config: WorkspaceConfig) -> Bounds:
        limits = {
            Endpoint.INTEGRATIONS: config.refresh.rate_limits.integrations,
            Endpoint.HISTORY: config.refresh.rate_limits.job_sync_status,
        }
        return Bounds(limits, self._part * config.refresh.rate_limit_share)
