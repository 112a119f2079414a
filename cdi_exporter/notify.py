"""Reports the state of the process to systemd, by the protocol of sd_notify(3).

The exporter does not depend on it: no function raises an error or blocks.
"""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

READY = "READY=1"
"""The exporter answers requests and handles signals, or a reload has ended."""

STOPPING = "STOPPING=1"


def reloading() -> str:
    """The message that a reload starts; READY ends the reload.

    systemd 253 and newer need the monotonic time to match the message with their signal.
    """
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}"


def notify(message: str, environ: Mapping[str, str] = os.environ) -> None:
    """Send a message to the socket in the environment variable NOTIFY_SOCKET, if it is set."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # the name of an abstract socket
    with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.connect(address)
        sender.send(message.encode())
