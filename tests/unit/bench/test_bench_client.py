"""The measuring client against a server that answers in awkward pieces."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from bench.client import HOST, Connection, http_request, keep_alive_ms

ANSWERS = [
    [b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 5\r\n\r\nhe", b"llo"],
    [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"],
    [b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops"],
]


@pytest.fixture
def port() -> Iterator[int]:
    """A server that answers one connection's requests with ANSWERS in order, then closes it."""

    def serve(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for pieces in ANSWERS:
                peer.recv(65536)
                for piece in pieces:
                    peer.sendall(piece)
            peer.recv(65536)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        thread.join(timeout=10)
        assert not thread.is_alive()


def test_answers_are_read_whole_and_failures_raise(port: int) -> None:
    request = http_request("POST", "/x", b"{}")
    with Connection(port, timeout_s=5) as connection:
        assert connection.send(request) == b"hello"
        (took_ms,) = keep_alive_ms(connection, request, 1)
        assert took_ms > 0
        with pytest.raises(RuntimeError, match="502 Bad Gateway: oops"):
            connection.send(request)
        with pytest.raises(ConnectionResetError):
            connection.send(request)


def test_the_request_is_one_a_server_understands() -> None:
    head, body = http_request("POST", "/x", b'{"a": 1}', close=True).split(b"\r\n\r\n")
    assert head.splitlines()[0] == b"POST /x HTTP/1.1"
    assert {b"Content-Length: 8", b"Connection: close"} <= set(head.splitlines())
    assert body == b'{"a": 1}'
