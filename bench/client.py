"""The client that times every sequential request: a bare socket, the same for Preheat and its peers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from types import TracebackType

HOST = "127.0.0.1"


def http_request(method: str, path: str, body: bytes = b"", *, close: bool = False) -> bytes:
    """The bytes of one request; `close` asks the server to close the connection after it."""
    head = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json"]
    head += [f"Content-Length: {len(body)}", *(["Connection: close"] if close else [])]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Connection:
    """One keep-alive connection. Raises OSError when it breaks and RuntimeError for an answer other than 200."""

    def __init__(self, port: int, timeout_s: float = 60) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> bytes:
        """Send one request, return the whole answer's body."""
        self._socket.sendall(request)
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._receive()
        head, body = received[:end], received[end + 4 :]
        length = content_length(head)
        while len(body) < length:
            body += self._receive()
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"answered {head.splitlines()[0].decode()}: {body[:200].decode(errors='replace')}")
        return body

    def _receive(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        return data

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def content_length(head: bytes) -> int:
    """Of a response's head, 0 if it does not say."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def timed_ms(action: Callable[[], object]) -> float:
    started = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - started) / 1e6


def keep_alive_ms(connection: Connection, request: bytes, count: int) -> list[float]:
    """`count` requests one after the other on one connection: the time of each."""
    return [timed_ms(lambda: connection.send(request)) for _ in range(count)]


def new_connection_ms(port: int, request: bytes, count: int) -> list[float]:
    """`count` requests one after the other, each on a connection of its own, whose set-up is part of its time."""

    def once() -> None:
        with Connection(port) as connection:
            connection.send(request)

    return [timed_ms(once) for _ in range(count)]
