"""One workspace: its integrations, what is read next, and what a scrape is shown."""

from cdi_exporter.workspace.inventory import REMEMBERED_FOR
from cdi_exporter.workspace.workspace import Workspace

__all__ = ["REMEMBERED_FOR", "Workspace"]
