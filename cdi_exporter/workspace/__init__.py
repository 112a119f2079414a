"""One workspace: its integrations, what is due to be read, and the refresh."""

from cdi_exporter.workspace.refresh import Workspace

__all__ = ["Workspace"]
