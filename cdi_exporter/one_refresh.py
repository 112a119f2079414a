"""Refreshes all workspaces once and writes the metrics, for node_exporter's textfile collector."""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import structlog

from cdi_exporter.app import Exporter
from cdi_exporter.errors import StartError
from cdi_exporter.exposition import Format
from cdi_exporter.wording import duration, things

READABLE_BY_ALL = 0o644
"""File mode with which node_exporter, which usually runs as another user, can read the file."""

log = structlog.get_logger()


async def refresh_once(
    exporter: Exporter, form: Format, patience: float, write: Callable[[bytes], Awaitable[object]]
) -> list[str]:
    """Refresh, write the metrics, and return an error line for each unreadable workspace.

    Waits for the list and for all due history reads, at most `patience` seconds. Like a scrape, the
    metrics count as received only after they were written.
    """
    workspaces = [*exporter.workspaces.values()]
    deadline = asyncio.get_running_loop().time() + patience
    await asyncio.gather(*(each.scrape(deadline) for each in workspaces))
    snapshots = await asyncio.gather(*(each.finish(deadline) for each in workspaces))
    await write(await exporter.render(snapshots, form, own=True))
    for workspace, snapshot in zip(workspaces, snapshots, strict=True):
        workspace.received(snapshot)
        if snapshot.up and snapshot.pending_reads:
            left = things(snapshot.pending_reads, "history read")
            problem = f"{left} did not fit into {duration(patience)}; raise --timeout"
            log.warning("refresh incomplete", workspace=snapshot.name, problem=problem)
    nothing = f"no complete refresh within {duration(patience)}"
    unread = [each for each in snapshots if not each.up]
    return [f"cannot read the workspace {each.name}: {each.problem or nothing}" for each in unread]


def write_file(path: Path, page: bytes) -> None:
    """Replace a file atomically, so that readers never see a part of it. Raises StartError."""
    try:
        descriptor, temporary = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, READABLE_BY_ALL)
                file.write(page)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, path)  # noqa: PTH105 -- both are names, not paths
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108 -- as above
            raise
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}"
        raise StartError(msg) from error
