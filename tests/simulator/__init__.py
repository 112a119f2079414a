"""The simulated workspace for tests, with faults, scripts and the real state.

simulator = Simulator(many(100, seed=1), clock, limit_window="sliding", seed=1)
httpx.AsyncClient(transport=SimulatedTransport(simulator), base_url="https://braze")
simulator.truth.finished_runs(integration_id, since, until)
"""

from cdi_exporter.simulator.simulated_workspace import HISTORY, LIMITS, LIST, PERMISSIONS
from cdi_exporter.simulator.spec import Episode, IntegrationSpec, Profile
from tests.simulator.changing import ChangingSpec
from tests.simulator.faults import Fault, FaultKind, Unreachable
from tests.simulator.populations import EXCLUDED, many, mixed
from tests.simulator.requests import Request, Traffic
from tests.simulator.script import ScriptedIntegration, ScriptedRun
from tests.simulator.shared_window import WindowKind
from tests.simulator.transport import SimulatedTransport
from tests.simulator.truth import Truth, run_state
from tests.simulator.workspace import (
    DEMO_INTEGRATIONS,
    DEMO_SPEED,
    RetryHeader,
    Simulator,
    demo_workspace,
)

__all__ = [
    "DEMO_INTEGRATIONS",
    "DEMO_SPEED",
    "EXCLUDED",
    "HISTORY",
    "LIMITS",
    "LIST",
    "PERMISSIONS",
    "ChangingSpec",
    "Episode",
    "Fault",
    "FaultKind",
    "IntegrationSpec",
    "Profile",
    "Request",
    "RetryHeader",
    "ScriptedIntegration",
    "ScriptedRun",
    "SimulatedTransport",
    "Simulator",
    "Traffic",
    "Truth",
    "Unreachable",
    "WindowKind",
    "demo_workspace",
    "many",
    "mixed",
    "run_state",
]
