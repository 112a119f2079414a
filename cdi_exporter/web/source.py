"""What the web shows, as far as it knows the running exporter."""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from cdi_exporter.exposition import Format
from cdi_exporter.snapshot import WorkspaceSnapshot
from cdi_exporter.workspace import Workspace


class Source(Protocol):
    """The running exporter."""

    @property
    def workspaces(self) -> Mapping[str, Workspace]:
        """The workspaces by name, as configured now."""

    async def render(
        self, snapshots: Sequence[WorkspaceSnapshot], form: Format, *, own: bool
    ) -> bytes:
        """The exposition of the snapshots, and of the exporter itself if `own`."""

    def render_page(self, work: Callable[[], bytes]) -> Awaitable[bytes]:
        """Render a page for people in another thread; raises Busy if too many wait."""

    @property
    def render_seconds(self) -> float:
        """How long rendering takes these days."""

    async def reload(self) -> None:
        """Load the configuration again; raises ConfigError if it is wrong."""

    def wall(self) -> float:
        """Unix seconds."""


def known_names(workspaces: Iterable[str]) -> str:
    """The names to choose from, for an error message."""
    return "known: " + ", ".join(json.dumps(name, ensure_ascii=False) for name in workspaces)
