"""Handles SIGTERM, SIGINT and SIGHUP during the whole life of the process.

`install` is called before other modules are imported, since the imports take most of the startup
time. Without a handler, SIGTERM has no effect on process 1 of a container, and SIGHUP ends any
other process.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

EXIT_PATIENCE = 9.0
"""Seconds after which a signal ends the process even if something hangs. Docker kills the process
after 10 s."""

_stop: Callable[[], object] | None = None
_reload: Callable[[], object] | None = None
_reload_wanted = False


def install(*, serves: bool) -> None:
    """Install the handlers. `serves`: whether the command runs until it is stopped.

    Until `handle` is called, SIGTERM and SIGINT end the process with status 0, and SIGHUP is
    remembered. Other commands end as they would without a handler.
    """
    if not serves:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
        return
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _on_stop)
    signal.signal(signal.SIGHUP, _on_reload)


def handle(stop: Callable[[], object], reload: Callable[[], object]) -> None:
    """Call `stop` at the first SIGTERM or SIGINT, and `reload` at each SIGHUP.

    `reload` is called immediately for a remembered SIGHUP. Both are called in the main thread,
    between any two instructions, so they should only wake the event loop.
    """
    global _stop, _reload
    install(serves=True)
    _stop, _reload = stop, reload
    if _reload_wanted:
        reload()


def _on_stop(signum: int, frame: FrameType | None) -> None:
    if _stop is None:
        os._exit(0)
    # Ignore further signals. A Python handler would not be enough: the interpreter removes it
    # before the process ends.
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    deadline = threading.Timer(EXIT_PATIENCE, os._exit, (0,))
    deadline.daemon = True
    deadline.start()
    _stop()


def _on_reload(signum: int, frame: FrameType | None) -> None:
    global _reload_wanted  # noqa: PLW0603 -- see above
    if _reload is None:
        _reload_wanted = True
    else:
        _reload()
