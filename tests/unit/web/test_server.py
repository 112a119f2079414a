"""Listening sockets."""

import socket

import pytest

from cdi_exporter.web.server import Address, listen


@pytest.mark.parametrize("host", ["", "127.0.0.1"])
def test_an_answer_is_sent_at_once(host: str) -> None:
    """The kernel must not hold back a part of an answer until the previous part is acknowledged."""
    with (
        listen(Address(host, 0)) as listening,
        socket.create_connection(("127.0.0.1", listening.getsockname()[1])),
    ):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
