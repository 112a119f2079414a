"""SIGTERM, SIGINT and SIGHUP, from the first moment of the process to the last.

`install` is called before the modules are imported, which takes most of the time of a start.
As process 1 of a container, only a signal with a handler has any effect; outside of one, a SIGHUP
without a handler ends the process.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

EXIT_PATIENCE = 9.0
"""Seconds from a signal to the end of the process, whatever hangs: Docker kills after 10 s."""

_stop: Callable[[], object] | None = None
_reload: Callable[[], object] | None = None
_reload_wanted = False


def install(*, serves: bool) -> None:
    """Take over the signals; `serves` says whether the command runs until it is stopped.

    Until `handle` is called there is nothing to finish: a signal that stops ends the process
    with status 0, and a SIGHUP is remembered. Other commands end as they would without a
    handler.
    """
    if not serves:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
        return
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _on_stop)
    signal.signal(signal.SIGHUP, _on_reload)


def handle(stop: Callable[[], object], reload: Callable[[], object]) -> None:
    """From now on call `stop` at the first SIGTERM or SIGINT, and `reload` at each SIGHUP.

    A SIGHUP that was remembered is handled at once. Both are called in the main thread, between
    any two instructions: they should only wake the event loop.
    """
    global _stop, _reload
    install(serves=True)
    _stop, _reload = stop, reload
    if _reload_wanted:
        reload()


def _on_stop(signum: int, frame: FrameType | None) -> None:
    if _stop is None:
        os._exit(0)
    # Further signals change nothing. Handlers of our own would not do: Python removes them before
    # the process is gone.
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
