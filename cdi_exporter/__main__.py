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
    _import_without_rich()
    signals.install(serves=not OTHER_COMMANDS.intersection(sys.argv[1:2]))
    from cdi_exporter.cli import main as run  # noqa: PLC0415 -- see above

    run()


def _import_without_rich() -> None:
    """Import structlog and httpx as if rich and Pygments were not installed.

    They import these only for output that this program never writes, which takes 4 MB and a
    tenth of a second. The commands that do use rich import it themselves.
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
