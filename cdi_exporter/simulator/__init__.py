"""A simulated Braze workspace: an ASGI application on a clock that it is given.

It answers the two CDI endpoints as Braze documents them, faults included, for the command
`demo` and for tests. Nothing that `serve` needs imports it.

    simulator = Simulator(many(100, seed=1), clock, limit_window="sliding", seed=1)
    httpx.AsyncClient(transport=httpx.ASGITransport(simulator), base_url="https://braze")
    simulator.truth.finished_runs(integration_id, since, until)
"""

from cdi_exporter.simulator.app import (
    HISTORY,
    LIMITS,
    LIST,
    PERMISSIONS,
    RetryHeader,
    Simulator,
)
from cdi_exporter.simulator.demo import DEMO_INTEGRATIONS, DEMO_SPEED, demo_workspace
from cdi_exporter.simulator.faults import Fault, FaultKind, Unreachable
from cdi_exporter.simulator.limits import Request, Traffic, WindowKind
from cdi_exporter.simulator.populations import EXCLUDED, many, mixed
from cdi_exporter.simulator.run import SimulatedRun
from cdi_exporter.simulator.script import ScriptedIntegration
from cdi_exporter.simulator.spec import Episode, IntegrationSpec, Profile
from cdi_exporter.simulator.truth import Truth

__all__ = [
    "DEMO_INTEGRATIONS",
    "DEMO_SPEED",
    "EXCLUDED",
    "HISTORY",
    "LIMITS",
    "LIST",
    "PERMISSIONS",
    "Episode",
    "Fault",
    "FaultKind",
    "IntegrationSpec",
    "Profile",
    "Request",
    "RetryHeader",
    "ScriptedIntegration",
    "SimulatedRun",
    "Simulator",
    "Traffic",
    "Truth",
    "Unreachable",
    "WindowKind",
    "demo_workspace",
    "many",
    "mixed",
]
