"""Modules that a long-running process must not import."""

import os
import subprocess
import sys

import pytest

OTHERS = {
    *("rich", "pygments", "pydantic"),
    *("cdi_exporter.check", "cdi_exporter.backfill", "cdi_exporter.demo", "cdi_exporter.simulator"),
}

PROGRAM = """
import sys
from unittest import mock
from cdi_exporter.__main__ import main
sys.argv[1:] = {arguments}
with mock.patch("cdi_exporter.threads.run_loop", lambda coroutine: coroutine.close()):
    main()
print(*sys.modules)
"""


def imported(*arguments: str, **environ: str) -> set[str]:
    """The modules imported by a command that stops before its event loop."""
    program = PROGRAM.replace("{arguments}", repr([*arguments]))
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return set(found.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("environ", [{}, {"BRAZE_API_KEY": "k", "CDI_EXPORTER_LOG_LEVEL": "warn"}])
def test_serve_does_not_import_the_modules_of_other_commands(environ: dict[str, str]) -> None:
    """This includes the check for unknown environment variables."""
    modules = imported("serve", **environ)
    assert "cdi_exporter.app" in modules
    assert "structlog" in modules
    assert modules.isdisjoint(OTHERS)


def test_a_health_check_imports_no_library_but_click() -> None:
    """A health check runs every few seconds."""
    program = """
import sys
from cdi_exporter.cli import healthcheck_command
print(*{name.partition(".")[0] for name in sys.modules})
"""
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    libraries = {"httpx", "starlette", "uvicorn", "yaml", "structlog", "jinja2", "rich", "asyncio"}
    assert libraries.isdisjoint(found.stdout.split())
