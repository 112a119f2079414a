"""One workspace: its integrations, what is due to be read, and what a scrape is shown."""

from cdi_exporter.workspace.scrape import Workspace

__all__ = ["Workspace"]
