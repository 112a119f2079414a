"""The clients of some workspaces: one for each API key and endpoint, and with it one budget."""

from collections.abc import Callable, Collection, Sequence
from typing import TypedDict

from cdi_exporter.braze.answers import Endpoint
from cdi_exporter.braze.client import Client, Transport
from cdi_exporter.clock import Clock
from cdi_exporter.config import WorkspaceConfig

TransportFor = Callable[[WorkspaceConfig], Transport | None]


def over_the_network(config: WorkspaceConfig) -> Transport | None:
    """Reach the API as httpx does: proxies from the environment, TLS, keep-alive."""
    return None


def clients_for(
    configs: Sequence[WorkspaceConfig],
    clock: Clock,
    transport: TransportFor,
    *,
    part: float = 1.0,
    living: Collection[Client] = (),
) -> dict[str, Client]:
    """A client for each workspace by its name; those with the same endpoint and key share one.

    `part` is how much of the configured share of the limits they allow themselves. Of the
    `living` clients those that still fit go on, and keep what their budgets know.
    """
    groups: dict[tuple[str, str, str | None], list[WorkspaceConfig]] = {}
    for config in configs:
        place = (config.endpoint, config.key.read().reveal(), config.ca_file)
        groups.setdefault(place, []).append(config)
    clients = {}
    for place, group in groups.items():
        bounds = _bounds(group, part)
        client = next((known for known in living if known.place == place), None)
        if client is None:
            client = _client(group, clock, transport, bounds)
        else:
            client.configure(_key_of(group), **bounds)
        clients.update({config.name: client for config in group})
    return clients


class _Bounds(TypedDict):
    limits: dict[Endpoint, int]
    share: float
    timeout: float


def _client(
    group: Sequence[WorkspaceConfig], clock: Clock, transport: TransportFor, bounds: _Bounds
) -> Client:
    first = group[0]
    return Client(
        first.endpoint,
        _key_of(group),
        clock,
        ca_file=first.ca_file,
        transport=transport(first),
        **bounds,
    )


def _key_of(group: Sequence[WorkspaceConfig]) -> Callable[[], str]:
    source = group[0].key
    return lambda: source.read().reveal()


def _bounds(group: Sequence[WorkspaceConfig], part: float) -> _Bounds:
    """What the workspaces of one client allow; the least of it where they differ."""
    refreshes = [config.refresh for config in group]
    limits = [refresh.rate_limits for refresh in refreshes]
    return {
        "limits": {
            Endpoint.INTEGRATIONS: min(limit.integrations for limit in limits),
            Endpoint.HISTORY: min(limit.job_sync_status for limit in limits),
        },
        "share": part * min(refresh.rate_limit_share for refresh in refreshes),
        "timeout": max(refresh.request_timeout for refresh in refreshes),
    }
