"""The clients of the configured workspaces: one each; those with the same key share one budget."""

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
"""Pages of a list that a command reads as a whole: more than any workspace needs, so that a broken
API cannot keep us."""

TransportFor = Callable[[WorkspaceConfig], Transport | None]


def over_the_network(config: WorkspaceConfig) -> Transport | None:
    """Reach the API over the network: proxies from the environment, TLS, keep-alive."""
    return None


@asynccontextmanager
async def clients_for(
    configs: Sequence[WorkspaceConfig],
    clock: Clock,
    transport: TransportFor,
    *,
    part: float = 1.0,
) -> AsyncIterator[dict[str, Client]]:
    """A client for each workspace by its name, until the context ends; raises ConfigError."""
    clients = Clients(clock, transport, part=part)
    clients.apply(configs, clients.prepare(configs))
    by_workspace = dict(clients.by_workspace)
    try:
        yield by_workspace
    finally:
        for client in set(by_workspace.values()):
            await client.aclose()


async def read_list(
    ask: Callable[[str | None], Awaitable[IntegrationsPage]], found: dict[str, Integration]
) -> None:
    """Read the whole list page by page into `found`, by ID. Raises ApiError.

    `ask` gives the page at a cursor, the first page for None.
    """
    cursor: str | None = None
    for _ in range(MOST_LIST_PAGES):
        page = await ask(cursor)
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
    """The clients of the configuration in force, by workspace.

    `part` is how much of the configured share of the limits they allow themselves, `environ`
    where proxies and certificates of the system are looked up.
    """

    def __init__(
        self,
        clock: Clock,
        transport: TransportFor,
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
        """The clients that a configuration needs, by workspace. Raises ConfigError.

        Some are new, and some go on: nothing changes in the latter before `apply`. Reads no
        file: keys were read with the configuration, certificates are read before a request.
        """
        clients: dict[str, Client] = {}
        mistakes: list[str] = []
        for config in configs:
            try:
                clients[config.name] = self._living(config) or self._new(config)
            except ConfigError as error:
                mistakes += error.mistakes
        if mistakes:
            raise ConfigError([*dict.fromkeys(mistakes)])
        return clients

    def apply(
        self, configs: Sequence[WorkspaceConfig], clients: Mapping[str, Client]
    ) -> list[Client]:
        """Put a configuration in force; the clients that are not needed any more, to be retired.

        A workspace whose key, or whose place in the file, changed keeps what its budget knows.
        """
        before, self.by_workspace = self.by_workspace, clients
        self._configs = {config.name: config for config in configs}
        for config in configs:
            client = clients[config.name]
            bounds = _bounds(config, self._part)
            client.configure(config.key, bounds, config.refresh.request_timeout)
            former = before.get(config.name)
            if former is not None and former.base_url == client.base_url:
                client.shared.remember(former.shared)
        needed = set(self.by_workspace.values())
        return [client for client in before.values() if client not in needed]

    def file_reloads(self) -> dict[tuple[str, ...], bool]:
        """By workspace and kind of file, whether its newest content is in use."""
        return {
            (name, kind): successful
            for name, client in self.by_workspace.items()
            for kind, successful in client.file_reloads().items()
        }

    def _living(self, config: WorkspaceConfig) -> Client | None:
        """The client of a workspace, if what cannot be changed in it is the same."""
        known = self._configs.get(config.name)
        same = known is not None and (known.endpoint, known.ca_file) == (
            config.endpoint,
            config.ca_file,
        )
        return self.by_workspace[config.name] if same else None

    def _new(self, config: WorkspaceConfig) -> Client:
        transport = self._transport(config)
        direct = transport is not None
        proxy = None if direct else self._proxies.proxy_for(config.endpoint)
        secure = config.endpoint.startswith("https:") or (
            proxy is not None and proxy.url.lower().startswith("https:")
        )
        # The certificates of a file are read once for all workspaces that name it.
        trust = self._trusts.setdefault(config.ca_file, Trust(config.ca_file, self._environ))
        return Client(
            config.endpoint,
            config.key,
            self._clock,
            bounds=_bounds(config, self._part),
            timeout=config.refresh.request_timeout,
            register=self._register,
            workspace=config.name,
            trust=trust if secure and not direct else None,
            proxy=proxy,
            transport=transport,
        )


def _bounds(config: WorkspaceConfig, part: float) -> Bounds:
    refresh = config.refresh
    return Bounds(
        {
            Endpoint.INTEGRATIONS: refresh.rate_limits.integrations,
            Endpoint.HISTORY: refresh.rate_limits.job_sync_status,
        },
        part * refresh.rate_limit_share,
    )
