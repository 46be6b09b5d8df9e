"""Docker Engine's API (docs.docker.com/engine/api) over its Unix socket: the few calls that are needed.

Plain HTTP of the standard library rather than the `docker` package: that one is synchronous as well, takes 268 ms to
import and brings an HTTP stack of its own for what is a socket and a dozen paths.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

_CALL_S = 120.0
"""Of one call; loading an image counts from its last byte on."""
_PING_S = 5.0
_SOCKETS = ("/var/run/docker.sock", "~/.docker/run/docker.sock")
"""Where an engine listens: Linux, and Docker Desktop for one user."""


class DockerError(Exception):
    """The engine has refused, in its own words; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def socket_path(docker_host: str) -> Path:
    """The engine's socket: of `docker_host` (unix:///path) where given, else the first usual one that is there.

    Raises OSError for a host of another kind, and where nothing is found.
    """
    if docker_host:
        kind, _, path = docker_host.partition("://")
        if kind != "unix":
            raise OSError(f"DOCKER_HOST is {docker_host}: only an engine behind a Unix socket (unix:///path) will do")
        return Path(path)
    for name in _SOCKETS:
        found = Path(name).expanduser()
        if found.is_socket():
            return found
    raise OSError(f"no Docker engine listens at {_SOCKETS[0]} (set DOCKER_HOST=unix:///path for another place)")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("docker")
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(str(self._path))


class DockerApi:
    """Blocking calls, from any thread, each on a connection of its own. All raise DockerError and OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._prefix = ""

    def connect(self) -> None:
        """Ask which version of the API to speak: the engine's own, for requests without one are to go away."""
        connection = _Connection(self.path, _PING_S)
        with contextlib.closing(connection):
            connection.request("GET", "/_ping")
            answer = connection.getresponse()
            answer.read()
            version = answer.headers.get("Api-Version")
            if answer.status != 200 or not version:
                raise OSError(f"what listens at {self.path} is no Docker engine")
            self._prefix = f"/v{version}"

    def call(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """The answer's JSON; None where it has no body."""
        connection = _Connection(self.path, _CALL_S)
        with contextlib.closing(connection):
            answer = self._send(connection, method, path, body, query)
            data = answer.read()
        return json.loads(data) if data.strip() else None

    def load(self, archive: Iterable[bytes]) -> None:
        """`docker load` of a tar in pieces."""
        connection = _Connection(self.path, None)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/x-tar"}
            connection.request("POST", f"{self._prefix}/images/load?quiet=1", archive, headers, encode_chunked=True)
            answer = _checked(connection.getresponse())
            for line in answer.read().splitlines():  # what goes wrong late is told in the body, under status 200
                told = json.loads(line) if line.startswith(b"{") else {}
                if "error" in told:
                    raise DockerError(500, str(told["error"]))

    def events(self, connection: http.client.HTTPConnection, **filters: list[str]) -> Iterator[dict[str, Any]]:
        """What happens from now on, until the connection is shut down. Make it with `stream_connection`."""
        query = {"filters": json.dumps(filters)}
        answer = self._send(connection, "GET", "/events", None, query)
        for line in answer:
            yield json.loads(line)

    def stream_connection(self) -> http.client.HTTPConnection:
        """A connection without a time limit, opened; the caller's."""
        connection = _Connection(self.path, None)
        connection.connect()
        return connection

    def hijack(self, path: str, body: Any = None, **query: str) -> socket.socket:
        """Turn a connection into a two-way stream: attached standard input and output (API, "Attach to a container").

        Output comes in frames, 8 bytes of head each. The socket is the caller's.
        """
        connection = _Connection(self.path, _CALL_S)
        try:
            connection.putrequest("POST", self._url(path, query), skip_accept_encoding=True)
            data = json.dumps(body).encode() if body is not None else b""
            fields = {"Connection": "Upgrade", "Upgrade": "tcp", "Content-Type": "application/json"}
            for name, value in {**fields, "Content-Length": str(len(data))}.items():
                connection.putheader(name, value)
            connection.endheaders(data)
            head = _head(connection.sock)
            status = int(head.split(b" ", 2)[1])
            if status != 101:
                raise DockerError(status, head.partition(b"\r\n")[0].decode("latin-1"))
            raw: socket.socket = connection.sock
            connection.sock = None
        finally:
            connection.close()
        raw.settimeout(None)
        return raw

    def _url(self, path: str, query: dict[str, str]) -> str:
        pairs = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        return f"{self._prefix}{path}{'?' if pairs else ''}{pairs}"

    def _send(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Any, query: dict[str, str]
    ) -> http.client.HTTPResponse:
        data = json.dumps(body) if body is not None else None
        headers = {"Content-Type": "application/json"} if data is not None else {}
        connection.request(method, self._url(path, query), data, headers)
        return _checked(connection.getresponse())


def _checked(answer: http.client.HTTPResponse) -> http.client.HTTPResponse:
    if answer.status < 400:
        return answer
    data = answer.read()
    try:
        message = str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        message = data.decode("utf-8", "replace").strip() or answer.reason
    raise DockerError(answer.status, message)


def _head(raw: socket.socket) -> bytes:
    """The answer's head, byte by byte: what follows it belongs to the stream."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = raw.recv(1)
        if not byte:
            raise OSError("the Docker engine has closed the connection")
        head += byte
    return head
