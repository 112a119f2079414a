"""The configuration of the exporter: loading, validation, and the settings themselves."""

from cdi_exporter.config.environment import from_environment
from cdi_exporter.config.keys import KeySource, inline_key
from cdi_exporter.config.load import load_file
from cdi_exporter.config.secret import Secret
from cdi_exporter.config.settings import (
    ConfiguredIntegration,
    RateLimits,
    Refresh,
    Settings,
    StaleAfter,
    WorkspaceConfig,
)
from cdi_exporter.config.values import format_duration, parse_duration

__all__ = [
    "ConfiguredIntegration",
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
