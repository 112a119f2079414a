"""The client against real servers on the loopback: broken answers, TLS and proxies."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cdi_exporter.clock import Clock
from cdi_exporter.errors import ApiError
from tests.e2e.processes import closed_port
from tests.unit.braze.client_helpers import KEY, ClientUnderTest, client_under_test
from tests.virtual import virtual_clock

Result = TypeVar("Result")
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

BODY = b'{"message": "success", "results": [{"job_status": "running"}]}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
ADDRESSES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.2")]
WHOLE = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the proxies and certificates of the machine from the environment."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def _no_pause(seconds: float) -> None:
    await asyncio.sleep(0)


def clock_without_pauses() -> Clock:
    """The loop's clock without the pauses between tries."""
    clock = virtual_clock()
    return Clock(clock.wall, clock.monotonic, _no_pause, clock.rng)


@asynccontextmanager
async def listening(speak: Speak, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a free port. It handles each connection with `speak`."""

    serving: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with suppress(OSError, asyncio.IncompleteReadError):
            await speak(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*serving)
        await server.wait_closed()


def answering(answer: bytes, *, received: list[bytes] | None = None) -> Speak:
    """Read a request, send an answer and close the connection."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if received is not None:
            received.append(request)
        writer.write(answer)
        await writer.drain()

    return speak


async def outcome(braze: ClientUnderTest) -> str:
    """The result of a request: the number of running rows, or the error message."""
    try:
        page = await braze.history()
    except ApiError as error:
        return f"{type(error).__name__}: {error}"
    return str(page.undated_running)


def over_tcp(speak: Speak, **settings: Any) -> tuple[str, dict[str, int]]:
    """The result of a request over plain TCP, and the counted codes."""

    async def main() -> tuple[str, dict[str, int]]:
        async with listening(speak) as port:
            url = f"http://127.0.0.1:{port}"
            async with client_under_test(
                base_url=url, clock=clock_without_pauses(), **settings
            ) as braze:
                result = await outcome(braze)
            assert braze.settled()
            return result, braze.codes()

    return asyncio.run(main())


# Broken answers


def test_a_complete_answer_is_read_over_a_socket() -> None:
    """The other tests need this to work."""
    assert over_tcp(answering(WHOLE)) == ("1", {"200": 1})


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        WHOLE[:-5],
        HEAD + b"content-length: 1000000\r\n\r\n" + BODY,
        HEAD + b"transfer-encoding: chunked\r\n\r\n10\r\n" + BODY[:16],
        HEAD + b"transfer-encoding: chunked\r\n\r\n10\r\n" + BODY[:16] + b"\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n" + BODY,
        HEAD + b"content-length: -1\r\n\r\n" + BODY,
        HEAD + b"x: " + b"y" * 200_000 + b"\r\n\r\n" + BODY,
        b"\x16\x03\x01\x02\x00 no HTTP at all\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=lambda answer: repr(answer[-40:]),
)
def test_an_answer_that_is_cut_short_is_a_failed_connection(answer: bytes) -> None:
    """A part of an answer is never used. The request is retried."""
    result, codes = over_tcp(answering(answer))
    assert result.startswith("ConnectionFailed: no answer")
    assert codes == {"connect_error": 3}


def test_a_retry_after_a_cut_answer_gets_the_page() -> None:
    answers = iter([WHOLE[:-5], b"", WHOLE])

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(next(answers))(reader, writer)

    assert over_tcp(speak) == ("1", {"connect_error": 2, "200": 1})


def test_an_error_that_is_cut_short_keeps_its_status() -> None:
    """The status arrived, but the body does not show that it came from Braze."""
    answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 1000\r\n\r\n{"
    result, codes = over_tcp(answering(answer))
    assert result.startswith("InvalidResponse: 404: something other than Braze answered")
    assert codes == {"404": 1}


def test_a_refused_connection_is_reported_with_its_address() -> None:
    """The message contains the text of the system error."""

    async def main() -> str:
        async with client_under_test(
            base_url=f"http://127.0.0.1:{port}", clock=clock_without_pauses()
        ) as braze:
            return await outcome(braze)

    with closed_port() as port:
        expected = f"ConnectionFailed: no answer from 127.0.0.1:{port}: Connection refused"
        assert asyncio.run(main()) == expected


def test_all_addresses_of_a_host_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """If every address fails, the message shows the first error."""

    async def main() -> str:
        loop = asyncio.get_running_loop()
        found = [(family, 1, 6, "", (host, port)) for family, host in ADDRESSES]

        async def resolve(*args: object, **options: object) -> list[Any]:
            return found

        monkeypatch.setattr(loop, "getaddrinfo", resolve)
        async with client_under_test(
            base_url=f"http://rest.test:{port}", clock=clock_without_pauses()
        ) as braze:
            return await outcome(braze)

    with closed_port() as port:
        expected = f"ConnectionFailed: no answer from rest.test:{port}: Connection refused"
        assert asyncio.run(main()) == expected


def test_a_silent_server_times_out() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    result, codes = over_tcp(speak, timeout=0.05)
    assert result == "RequestTimeout: no complete answer within 0.05 s"
    assert codes == {"timeout": 3}


def test_a_body_that_trickles_times_out() -> None:
    """Each part arrives in time, but the whole body does not."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"content-length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.005)

    assert over_tcp(speak, timeout=0.1)[1] == {"timeout": 3}


def test_a_connection_serves_several_requests() -> None:
    """The connection is kept open, because each TLS handshake takes time."""
    connections = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while True:
            await answering(WHOLE)(reader, writer)

    async def main() -> None:
        async with (
            listening(speak) as port,
            client_under_test(
                base_url=f"http://127.0.0.1:{port}", clock=clock_without_pauses()
            ) as braze,
        ):
            for _ in range(3):
                assert await outcome(braze) == "1"

    asyncio.run(main())
    assert len(connections) == 1


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for rest.test and the loopback, with its key in the same file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=rest.test", "-keyout", "key", "-out", "cert"]
    command += ["-addext", "subjectAltName=DNS:rest.test,IP:127.0.0.1"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "key").read_bytes() + (folder / "cert").read_bytes())
    return both


def server_side(certificate: Path) -> ssl.SSLContext:
    """The TLS context of the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def over_tls(
    certificate: Path, host: str = "127.0.0.1", ca_file: str | None = None
) -> tuple[str, list[bytes]]:
    """The result of a request over TLS, and the requests that the server received."""
    received: list[bytes] = []

    async def main() -> str:
        speak = answering(WHOLE, received=received)
        async with listening(speak, server_side(certificate)) as port:
            url = f"https://{host}:{port}"
            async with client_under_test(
                base_url=url, ca_file=ca_file, clock=clock_without_pauses()
            ) as braze:
                return await outcome(braze)

    return asyncio.run(main()), received


def test_an_untrusted_certificate_is_refused(certificate: Path) -> None:
    """The server receives no request and no key. The error names the reason."""
    result, received = over_tls(certificate)
    assert result.startswith("ConnectionFailed: no answer from ")
    assert "certificate verify failed" in result
    assert received == []


def test_a_certificate_of_the_ca_file_is_trusted(certificate: Path) -> None:
    """A proxy may present a certificate of its own."""
    result, received = over_tls(certificate, ca_file=str(certificate))
    assert result == "1"
    assert f"Bearer {KEY}".encode() in received[0]


def test_a_certificate_for_another_host_is_refused(certificate: Path) -> None:
    """A trusted CA is not enough. The host name must match."""
    result, received = over_tls(certificate, "localhost", ca_file=str(certificate))
    assert result.startswith("ConnectionFailed: no answer from ")
    assert received == []


def test_a_server_without_tls_is_a_failed_connection() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def main() -> str:
        async with (
            listening(speak) as port,
            client_under_test(
                base_url=f"https://127.0.0.1:{port}", clock=clock_without_pauses()
            ) as braze,
        ):
            return await outcome(braze)

    assert asyncio.run(main()).startswith("ConnectionFailed: no answer from ")


# Proxies


@asynccontextmanager
async def proxying(received: list[bytes], target: int | None) -> AsyncIterator[int]:
    """An HTTP proxy that connects each tunnel to `target`. Without a target it answers 407."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        if target is None:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            await writer.drain()
            return
        there, back = await asyncio.open_connection("127.0.0.1", target)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_carry(reader, back), _carry(there, writer))
        await back.wait_closed()

    async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while part := await source.read(2**16):
                received.append(part)
                sink.write(part)
                await sink.drain()
        sink.close()

    async with listening(speak) as port:
        yield port


def test_a_proxy_of_the_environment_is_used(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tunnel hides the key from the proxy. ca_file also applies through the tunnel."""
    received: list[bytes] = []

    async def main() -> str:
        async with (
            listening(answering(WHOLE), server_side(certificate)) as target,
            proxying(received, target) as port,
        ):
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            async with client_under_test(
                ca_file=str(certificate), clock=clock_without_pauses()
            ) as braze:
                return await outcome(braze)

    assert asyncio.run(main()) == "1"
    assert received[0].startswith(b"CONNECT rest.test:443 ")
    assert len(received) > 1
    assert KEY.encode() not in b"".join(received)


def test_no_proxy_is_used_for_a_host_listed_in_no_proxy(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[bytes] = []
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    result, received = over_tls(certificate, ca_file=str(certificate))
    assert (result, len(received)) == ("1", 1)


def test_a_refusing_proxy_never_receives_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is a failed connection. It shows neither the key nor the proxy's password."""
    received: list[bytes] = []

    async def main() -> str:
        async with proxying(received, None) as port:
            monkeypatch.setenv("HTTPS_PROXY", f"http://someone:password@127.0.0.1:{port}")
            async with client_under_test(clock=clock_without_pauses()) as braze:
                return await outcome(braze)

    result = asyncio.run(main())
    assert result.startswith("ConnectionFailed: no answer from ")
    assert result.endswith(": 407 Proxy Authentication Required")
    assert KEY.encode() not in b"".join(received)
