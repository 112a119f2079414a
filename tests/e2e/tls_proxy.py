"""A loopback proxy that terminates TLS and resolves every name to the simulated Braze."""

import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tests.e2e.processes import program

REFUSAL = (
    b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/html\r\ncontent-length: 27\r\n"
    b"connection: close\r\n\r\n<html>Access denied</html>\n"
)


def certificate(folder: Path, *names: str) -> Path:
    """A self-signed certificate for these hosts, its key in the same file."""
    command = [program("openssl"), "req", "-x509", "-newkey", "ec"]
    command += ["-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={names[0]}", "-keyout", "key", "-out", "cert"]
    command += ["-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "key").read_bytes() + (folder / "cert").read_bytes())
    return both


class _Tunnel(socketserver.StreamRequestHandler):
    server: "_Server"

    def handle(self) -> None:
        while self.rfile.readline().strip():  # the request, and its headers up to the empty line
            pass
        if self.server.upstream is None:
            self.wfile.write(REFUSAL)
            return
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with suppress(OSError), closing(self._opened()) as inside:
            upstream = socket.create_connection(("127.0.0.1", self.server.upstream))
            with closing(upstream):
                back = threading.Thread(target=_relay, args=(upstream, inside))
                back.start()
                _relay(inside, upstream)
                back.join()

    def _opened(self) -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server.certificate)
        return context.wrap_socket(self.connection, server_side=True)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, certificate: Path, upstream: int | None) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.certificate, self.upstream = certificate, upstream


def _relay(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(certificate: Path, upstream: int | None) -> Iterator[int]:
    """A proxy to a loopback port. With None, it refuses every connection. Yields its own port."""
    with _Server(certificate, upstream) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
