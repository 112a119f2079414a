"""The command `cdi-exporter`, also as `python -m cdi_exporter`."""

import os
import sys
from importlib import import_module

from cdi_exporter import signals

OTHER_COMMANDS = frozenset({"check", "backfill", "metrics", "healthcheck"})
"""Commands that end by themselves; every other command line serves."""


def main() -> None:
    """Take over the signals, then run the command line, whose modules take a while to import."""
    _open_standard_streams()
    serves = not OTHER_COMMANDS.intersection(sys.argv[1:2])
    signals.install(serves=serves)
    if serves:
        _import_without_rich()
    from cdi_exporter.cli import main as run  # noqa: PLC0415 -- see above

    run()


def _import_without_rich() -> None:
    """Import the libraries that would load rich and pygments, if they are installed, for nothing.

    structlog wants them for a console and httpx for its command line; both do without. A process
    that serves has neither, and keeps 4.5 MB and a third of a second this way.
    """
    hidden = ("rich", "pygments")
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import fail
    for library in ("structlog", "httpx"):
        import_module(library)
    for name in hidden:
        del sys.modules[name]


def _open_standard_streams() -> None:
    """Give a descriptor to standard streams that are closed.

    Otherwise a socket or the state file would become descriptor 2, and what a C library writes
    to stderr would end up in it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


if __name__ == "__main__":
    main()
