"""Internals of uvicorn that `web/server.py` and `web/connections.py` use.

They may change in any release. If one of these tests fails after an upgrade, read what uvicorn
changed, adapt these two modules, and only then raise the upper bound in pyproject.toml.
"""

import ast
import asyncio
import inspect
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from packaging.requirements import Requirement
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from cdi_exporter.web import connections, server

ROOT = Path(__file__).parents[3]
CHANGED = "uvicorn has changed inside: see the docstring of this file"

OVERRIDDEN: dict[Callable[..., object], list[str]] = {
    uvicorn.Server.__init__: ["self", "config"],
    uvicorn.Server.serve: ["self", "sockets"],
    uvicorn.Server.startup: ["self", "sockets"],
    uvicorn.Server.shutdown: ["self", "sockets"],
    uvicorn.Server.capture_signals: ["self"],
    H11Protocol.__init__: ["self", "config", "server_state", "app_state", "_loop"],
    H11Protocol.connection_made: ["self", "transport"],
    H11Protocol.connection_lost: ["self", "exc"],
    H11Protocol.data_received: ["self", "data"],
    H11Protocol.on_response_complete: ["self"],
    H11Protocol.pause_writing: ["self"],
    H11Protocol.resume_writing: ["self"],
    H11Protocol._unset_keepalive_if_required: ["self"],
    FlowControl.drain: ["self"],
    FlowControl.pause_reading: ["self"],
    FlowControl.resume_reading: ["self"],
}
"""The methods that we override or call, with their parameters."""


@pytest.mark.parametrize("method", OVERRIDDEN, ids=lambda method: method.__qualname__)
def test_the_methods_that_are_overridden_are_as_expected(method: Callable[..., object]) -> None:
    """Each method has the parameters that it is called with."""
    assert [*inspect.signature(method).parameters] == OVERRIDDEN[method], CHANGED
    asynchronous = method in (
        uvicorn.Server.serve,
        uvicorn.Server.startup,
        uvicorn.Server.shutdown,
        FlowControl.drain,
    )
    assert inspect.iscoroutinefunction(method) is asynchronous, CHANGED


def test_the_server_calls_the_overridden_methods() -> None:
    """`serve` starts, waits and shuts down with the methods that `Listener` overrides."""
    calls = inspect.getsource(uvicorn.Server)
    for call in ("self.capture_signals()", "self.startup(", "self.shutdown(", "self.should_exit"):
        assert call in calls, CHANGED
    state = uvicorn.Server(uvicorn.Config(lambda: None)).server_state
    assert isinstance(state, ServerState), CHANGED
    assert {"connections", "tasks"} <= vars(state).keys(), CHANGED


def test_the_protocol_calls_the_overridden_methods() -> None:
    """It calls `on_response_complete` and pauses and resumes the flow control."""
    protocol = inspect.getsource(H11Protocol)
    assert "on_response=self.on_response_complete" in protocol, CHANGED
    assert "self.flow.pause_writing()" in inspect.getsource(H11Protocol.pause_writing), CHANGED
    assert "self.flow.resume_writing()" in inspect.getsource(H11Protocol.resume_writing), CHANGED
    for name in ("send", "run_asgi"):
        assert "response_complete" in inspect.getsource(getattr(RequestResponseCycle, name)), name


def inherited(module: object, owner: str) -> Iterator[str]:
    """The attributes of `self` that the methods of a class use but do not define."""
    tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]
    (found,) = (each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == owner)
    own = {each.name for each in found.body if hasattr(each, "name")}
    used: set[str] = set()
    for node in ast.walk(found):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        if node.value.id == "self":
            (own if isinstance(node.ctx, ast.Store) else used).add(node.attr)
    yield from sorted(used - own)


def test_each_inherited_attribute_exists() -> None:
    """This covers the attributes of their bases that `Connection` and `Listener` use."""

    async def made() -> tuple[H11Protocol, uvicorn.Server]:
        config = uvicorn.Config(lambda: None, http="h11", ws="none", lifespan="off")
        config.load()
        return H11Protocol(config, ServerState(), {}), uvicorn.Server(config)

    protocol, plain = asyncio.run(made())
    used = [*inherited(connections, "Connection")]
    assert {"cycle", "flow", "transport", "loop", "_unset_keepalive_if_required"} <= {*used}
    missing = [name for name in used if not hasattr(protocol, name)]
    assert not missing, CHANGED
    missing = [name for name in inherited(server, "Listener") if not hasattr(plain, name)]
    assert not missing, CHANGED
    assert hasattr(FlowControl, "resume_writing"), CHANGED
    assert "write_paused" in inspect.getsource(FlowControl), CHANGED


@pytest.mark.parametrize("name", ["click", "PyYAML", "uvicorn"])
def test_dependencies_whose_internals_are_overridden_have_an_upper_bound(name: str) -> None:
    """A version that may change the internals is only installed after a review."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    required = {each.name: each for each in map(Requirement, project["dependencies"])}
    assert any(each.operator == "<" for each in required[name].specifier)
