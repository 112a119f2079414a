"""`healthcheck`: whether the exporter with the same flags answers; for containers.

It runs every few seconds, so it imports nothing that serving needs: it declares the two flags
that it reads itself and lets the others of `serve` pass.
"""

import socket
import time

import click

from cdi_exporter.errors import StartError

TIMEOUT = 2.0
"""Seconds from connecting to the answer's first line."""

LONGEST_LINE = 1_000
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- not bound to
_HINT = "; with TLS or basic auth it needs --web.health-address"


@click.command("healthcheck", context_settings={"ignore_unknown_options": True})
@click.option(
    "--web.listen-address",
    "listen",
    multiple=True,
    default=[":10234"],
    envvar="CDI_EXPORTER_WEB_LISTEN_ADDRESS",
    show_default=True,
    help="Where to listen: :PORT, HOST:PORT or [::1]:PORT; repeatable.",
)
@click.option(
    "--web.health-address",
    "health",
    envvar="CDI_EXPORTER_WEB_HEALTH_ADDRESS",
    help="A second, plain listener for /-/healthy and /-/ready alone.",
)
@click.argument("others", nargs=-1, type=click.UNPROCESSED, metavar="[FLAGS OF SERVE]")
def command(listen: tuple[str, ...], health: str | None, others: tuple[str, ...]) -> None:
    """Tell by the exit status whether the exporter answers."""
    address = health or listen[0]
    problem = unhealthy(address)
    if problem:
        message = f"no healthy exporter at {address}: {problem}" + ("" if health else _HINT)
        raise StartError(message)


def unhealthy(address: str, timeout: float = TIMEOUT) -> str | None:
    """Why nothing healthy answers at `:PORT`, `HOST:PORT` or `[IPv6]:PORT`; None where it does."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65_535):
        return "expected an address with a port, such as 127.0.0.1:10235"
    try:
        line = _first_line(_EVERYWHERE.get(host, host), int(port), time.monotonic() + timeout)
    except TimeoutError:
        return f"no answer within {timeout:g} s"
    except OSError as error:
        return error.strerror or str(error)
    except UnicodeError:
        return "no host of this name"
    status = line.split(b" ")[1:2]
    if not line.startswith(b"HTTP/1.") or not status:
        return "the answer is not HTTP"
    return None if status == [b"200"] else f"it answers {status[0].decode('ascii', 'replace')!r}"


def _first_line(host: str, port: int, deadline: float) -> bytes:
    """The first line of the answer; what never ends is cut off. Raises OSError."""
    with socket.create_connection((host, port), deadline - time.monotonic()) as connection:
        connection.sendall(
            b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        answer = b""
        while b"\n" not in answer and len(answer) < LONGEST_LINE:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            part = connection.recv(LONGEST_LINE)
            if not part:
                break
            answer += part
    return answer.partition(b"\n")[0].strip()
