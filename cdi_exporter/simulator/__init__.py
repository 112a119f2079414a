"""A simulated Braze workspace: an ASGI application on a clock that it is given.

It answers the two CDI endpoints as Braze documents them, for the command `demo`. The tests
extend it with faults, scripted runs and a record of what really happened (`tests/simulator`).
Nothing that `serve` needs imports it.

    workspace = demo_workspace(seed=1, clock=clock)
    httpx.AsyncClient(transport=httpx.ASGITransport(workspace), base_url="https://braze")
"""

from cdi_exporter.simulator.showcase import (
    DEMO_INTEGRATIONS,
    DEMO_SPEED,
    demo_integrations,
    demo_retention,
    demo_workspace,
)
from cdi_exporter.simulator.simulated_workspace import (
    HISTORY,
    LIMITS,
    LIST,
    PERMISSIONS,
    SimulatedWorkspace,
)
from cdi_exporter.simulator.spec import Episode, IntegrationSpec, Profile

__all__ = [
    "DEMO_INTEGRATIONS",
    "DEMO_SPEED",
    "HISTORY",
    "LIMITS",
    "LIST",
    "PERMISSIONS",
    "Episode",
    "IntegrationSpec",
    "Profile",
    "SimulatedWorkspace",
    "demo_integrations",
    "demo_retention",
    "demo_workspace",
]
