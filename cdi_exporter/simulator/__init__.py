"""A simulated Braze workspace as an ASGI application, with a clock that is passed in.

It answers the two CDI endpoints as Braze documents them, for the command `demo`. The tests extend
it with faults, scripted runs and a record of what really happened (`tests/simulator`). `serve` does
not import it.

    workspace = demo_workspace(seed=1, integrations=12, speed=60, clock=clock)
    httpx.AsyncClient(transport=httpx.ASGITransport(workspace), base_url="https://braze")
"""

from cdi_exporter.simulator.showcase import demo_workspace

__all__ = ["demo_workspace"]
