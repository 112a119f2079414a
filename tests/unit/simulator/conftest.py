"""Skips the tests with Braze's models unless they are installed, as `make` does."""

from importlib.metadata import distributions

_INSTALLED = any(each.name == "braze-mcp-server" for each in distributions())
collect_ignore = [] if _INSTALLED else ["test_braze_models.py"]
