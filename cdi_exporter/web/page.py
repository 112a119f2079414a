"""The status page: a person's view of what is known."""

from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, select_autoescape

from cdi_exporter import __version__
from cdi_exporter.snapshot import WorkspaceSnapshot


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("cdi_exporter.web"),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )


def status_page(snapshots: Sequence[WorkspaceSnapshot], telemetry_path: str, wall: float) -> str:
    """The page as HTML; `wall` is now, in Unix seconds."""
    return (
        _environment()
        .get_template("status.html")
        .render(workspaces=snapshots, telemetry_path=telemetry_path, now=wall, version=__version__)
    )
