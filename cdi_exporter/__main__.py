"""Entry point of `cdi-exporter` and `python -m cdi_exporter`."""

import os
import sys
from importlib import import_module

from cdi_exporter import signals

OTHER_COMMANDS = frozenset({"check", "backfill", "metrics", "healthcheck"})
"""Commands that end by themselves. Any other command line runs a server."""


def main() -> None:
    """Install signal handlers, then import and run the command line, which takes longer."""
    _open_standard_streams()
    serves = not OTHER_COMMANDS.intersection(sys.argv[1:2])
    signals.install(serves=serves)
    if serves:
        _import_without_rich()
    from cdi_exporter.cli import main as run  # noqa: PLC0415 -- see above

    run()


def _import_without_rich() -> None:
    """Import structlog and httpx without rich and Pygments.

    They would import these for output that the exporter never writes, which takes 4 MB and 0.1 s.
    Commands that use rich import it themselves.
    """
    absent = dict.fromkeys(("rich", "pygments"))
    sys.modules.update(absent)  # type: ignore[arg-type]  # None: "not installed"
    try:
        import_module("structlog")
        import_module("httpx")
    finally:
        for name in absent:
            del sys.modules[name]


def _open_standard_streams() -> None:
    """Open /dev/null in place of standard streams that are closed.

    Otherwise a socket or the state file could become descriptor 2, and a C library could write
    its error messages into it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


if __name__ == "__main__":
    main()
