"""Modules that `serve` must not import, because they take memory."""

import subprocess
import sys

PROGRAM = """
import sys
from cdi_exporter.__main__ import main
sys.argv = ["cdi-exporter", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
print("imported:", *sys.modules)
import rich.console
print("rich can be imported")
"""


def imported_by(*arguments: str) -> list[str]:
    """The modules that a command imports, in its own process."""
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    lines = found.stdout.splitlines()
    assert lines[-1] == "rich can be imported"
    return lines[-2].split()


def test_serve_imports_nothing_that_only_other_commands_need() -> None:
    """It imports neither rich, nor modules of other commands, nor the page's template engine."""
    imported = imported_by("serve", "--config.file=/nowhere")
    assert {"structlog", "httpx", "cdi_exporter.app"} <= {*imported}
    unneeded = ("rich", "pygments", "jinja2", "cdi_exporter.check", "cdi_exporter.backfill")
    assert [name for name in imported if name.startswith(unneeded)] == []
