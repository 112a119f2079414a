"""What the service manager is informed of: systemd's protocol, as sd_notify(3) describes it.

The exporter works the same without it, so nothing here ever raises or waits.
"""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

READY = "READY=1"
"""Requests are answered, and signals are handled; also: a reload is over."""

STOPPING = "STOPPING=1"


def reloading() -> str:
    """A reload begins. READY ends it.

    systemd 253 and newer want the time, on the clock that all processes share, to know that the
    message follows its signal.
    """
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}"


def notify(message: str, environ: Mapping[str, str] = os.environ) -> None:
    """Send a message to the socket that `NOTIFY_SOCKET` names, if there is one."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # the name of an abstract socket
    with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.connect(address)
        sender.send(message.encode())
