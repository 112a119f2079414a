"""`healthcheck`: exit with status 0 if the exporter with the same flags answers; for containers.

It runs every few seconds, so it does not import the modules that `serve` needs. It declares only
the flags that it reads, and ignores the other flags of `serve`.
"""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from cdi_exporter.errors import StartError

TIMEOUT = 2.0
"""Most seconds until the first line of the answer: less than the usual timeout of a probe."""

LONGEST_LINE = 1_000
_REQUEST = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_TLS_RECORDS = (b"\x15", b"\x16")
"""The first byte of an alert and of a handshake: the server speaks TLS."""

_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- not bound to
_REFUSALS = (b"401", b"429")
"""Answers of an exporter that requires a password or limits requests: it is alive."""

_HINT = "; an exporter with a web configuration needs --web.config.file or --web.health-address"
FIRST_PROCESS = Path("/proc/1/cmdline")


@click.command("healthcheck", context_settings={"ignore_unknown_options": True})
@click.option(
    "--web.listen-address",
    "listen",
    multiple=True,
    default=[":10234"],
    envvar="CDI_EXPORTER_WEB_LISTEN_ADDRESS",
    show_default=True,
    help="Address of the exporter to query: :PORT, HOST:PORT or [::1]:PORT.",
)
@click.option(
    "--web.health-address",
    "health",
    envvar="CDI_EXPORTER_WEB_HEALTH_ADDRESS",
    help="Address of its plain listener, which is queried instead.",
)
@click.option(
    "--web.config.file",
    "web_config",
    envvar="CDI_EXPORTER_WEB_CONFIG_FILE",
    help="The exporter may have TLS, passwords or a rate limit.",
)
@click.argument("others", nargs=-1, type=click.UNPROCESSED, metavar="[FLAGS OF SERVE]")
@click.pass_context
def command(context: click.Context, /, **flags: Any) -> None:
    """Exit with status 0 if the exporter answers, else with 1.

    Without flags it uses those of process 1 if that is an exporter: in a container only that
    process has flags.
    """
    sources = {context.get_parameter_source(name) for name in flags}
    if ParameterSource.COMMANDLINE not in sources:
        first = flags_of(FIRST_PROCESS.read_bytes()) if FIRST_PROCESS.exists() else []
        flags = context.command.make_context("serve", first).params
    health: str | None = flags["health"]
    address = health or flags["listen"][0]
    secured = bool(flags["web_config"]) and not health
    if problem := unhealthy(address, secured=secured):
        hint = "" if health or secured else _HINT
        message = f"no healthy exporter at {address}: {problem}{hint}"
        raise StartError(message)


def flags_of(command_line: bytes) -> list[str]:
    """The flags in the command line of an exporter, as in /proc; none for other programs."""
    words = [os.fsdecode(word) for word in command_line.split(b"\0")[:-1]]
    for place, word in enumerate(words):
        if word.rpartition("/")[2] in ("cdi-exporter", "cdi_exporter"):
            return words[place + 1 :]
    return []


def unhealthy(address: str, *, secured: bool) -> str | None:
    """Why no healthy exporter answers at `:PORT`, `HOST:PORT` or `[IPv6]:PORT`; None if one does.

    `secured`: it may have TLS, passwords or a rate limit.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65_535):
        return "expected an address with a port, such as 127.0.0.1:10235"
    place = (_EVERYWHERE.get(host, host), int(port))
    deadline = time.monotonic() + TIMEOUT
    try:
        line = _first_line(place, deadline)
        if secured and not line and _speaks_tls(place, deadline):
            return None
    except TimeoutError:
        return f"no answer within {TIMEOUT:g} s"
    except OSError as error:
        return error.strerror or str(error)
    except UnicodeError:
        return "unknown host name"
    return _problem_with(line, secured=secured)


def _problem_with(line: bytes, *, secured: bool) -> str | None:
    """What is wrong with the first line of an answer; None if the exporter is healthy."""
    status = line.split(b" ")[1:2]
    if not line.startswith(b"HTTP/1.") or not status:
        return "the answer is not HTTP"
    if status == [b"200"] or (secured and status[0] in _REFUSALS):
        return None
    return f"it answers {status[0].decode('ascii', 'replace')!r}"


def _first_line(place: tuple[str, int], deadline: float) -> bytes:
    """The first line of the answer; empty if the server speaks TLS. Raises OSError."""
    answer = b""
    with socket.create_connection(place, deadline - time.monotonic()) as connection:
        connection.sendall(_REQUEST)
        with suppress(ConnectionResetError):
            while b"\n" not in answer and len(answer) < LONGEST_LINE:
                if not (part := _received(connection, deadline)):
                    break
                answer += part
    # A TLS server answers plain text with an alert, or closes the connection.
    return b"" if answer[:1] in _TLS_RECORDS else answer.partition(b"\n")[0].strip()


def _speaks_tls(place: tuple[str, int], deadline: float) -> bool:
    """Whether the server answers a TLS handshake with TLS. Raises OSError.

    The handshake is not completed: it may need a certificate, which a health check does not have.
    """
    import ssl  # noqa: PLC0415 -- takes longer than the rest, and is rarely needed

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    hello = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), hello).do_handshake()
    with socket.create_connection(place, deadline - time.monotonic()) as connection:
        connection.sendall(hello.read())
        return _received(connection, deadline)[:1] in _TLS_RECORDS


def _received(connection: socket.socket, deadline: float) -> bytes:
    """The next bytes; none at the end. Raises TimeoutError after the deadline."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
    return connection.recv(LONGEST_LINE)
