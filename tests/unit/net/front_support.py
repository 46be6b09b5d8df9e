"""A front on a real socket and a client that sends raw bytes."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.net.http import HttpLimits, HttpServer, Respond

TIMEOUT_S = 10.0
"""Far more than anything here takes: what has not come by then never will."""


def echo(request: HttpRequest, respond: Respond) -> None:
    """Answers with what it was asked: method, target and body."""
    target = f"{request.path}?{request.query}" if request.query else request.path
    respond(HttpResponse(200, [("X-Seen", f"{request.method} {target}")], request.body))


@dataclass
class Held:
    """A handler that keeps its requests until the test answers them."""

    requests: list[tuple[HttpRequest, Respond]] = field(default_factory=list)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, request: HttpRequest, respond: Respond) -> None:
        self.requests.append((request, respond))
        self._came.set()

    async def take(self) -> tuple[HttpRequest, Respond]:
        while not self.requests:
            self._came.clear()
            await asyncio.wait_for(self._came.wait(), TIMEOUT_S)
        return self.requests.pop(0)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def get(self, path: str = "/", *headers: str, method: str = "GET", body: bytes = b"") -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: h", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    async def line(self) -> bytes:
        return await asyncio.wait_for(self.reader.readline(), TIMEOUT_S)

    async def head(self) -> tuple[int, dict[str, str]]:
        status_line = await self.line()
        assert status_line.startswith(b"HTTP/1.1 "), status_line
        headers: dict[str, str] = {}
        while (line := await self.line()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return int(status_line.split()[1]), headers

    async def answer(self, *, head_only: bool = False) -> Answer:
        status, headers = await self.head()
        body = b""
        if not head_only and headers.get("transfer-encoding") == "chunked":
            while size := int(await self.line(), 16):
                body += await self.reader.readexactly(size)
                assert await self.line() == b"\r\n"
            assert await self.line() == b"\r\n"
        elif not head_only and "content-length" in headers:
            body = await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), TIMEOUT_S)
        return Answer(status, headers, body)

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        return await asyncio.wait_for(self.reader.read(), TIMEOUT_S)

    def reset(self) -> None:
        """Vanish: the server sees a lost connection, not the end of what is sent."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


@dataclass
class Running:
    server: HttpServer
    port: int

    @asynccontextmanager
    async def client(self, limit: int = 2**16) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=limit)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()


@asynccontextmanager
async def front(handler: Callable[[HttpRequest, Respond], None] = echo, **limits: Any) -> AsyncIterator[Running]:
    stream = limits.pop("stream", None)
    server = HttpServer(handler, HttpLimits(**{"sweep_s": 0.02, **limits}), stream)
    try:
        yield Running(server, await server.listen("127.0.0.1", 0))
    finally:
        server.close()


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 4 * TIMEOUT_S))
