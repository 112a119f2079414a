"""What the user wrote, as validated settings."""

from cdi_exporter.config.duration import format_duration, parse_duration
from cdi_exporter.config.load import from_environment, load_file
from cdi_exporter.config.secret import InlineKey, KeySource, Secret, inline_key
from cdi_exporter.config.settings import (
    ConfiguredIntegration,
    RateLimits,
    Refresh,
    Settings,
    StaleAfter,
    WorkspaceConfig,
)

__all__ = [
    "ConfiguredIntegration",
    "InlineKey",
    "KeySource",
    "RateLimits",
    "Refresh",
    "Secret",
    "Settings",
    "StaleAfter",
    "WorkspaceConfig",
    "format_duration",
    "from_environment",
    "inline_key",
    "load_file",
    "parse_duration",
]
