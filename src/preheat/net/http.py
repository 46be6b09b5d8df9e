"""An HTTP/1.1 server as an asyncio.Protocol on httptools: whole requests in, whole responses out.

No task and no coroutine per request: the handler gets the request and a `respond` callable and may call
it now or later. One request at a time per connection; pipelined ones wait their turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote_from_bytes

import httptools

from preheat.kernel.http import Headers, HttpRequest, HttpResponse

log = logging.getLogger(__name__)

Respond = Callable[[HttpResponse], None]
Handler = Callable[[HttpRequest, Respond], None]

_REASONS = {int(status): status.phrase.encode() for status in HTTPStatus}
_BODILESS = frozenset((204, 304))
_UNSAFE = str.maketrans("", "", "\r\n\0")
_URL_SAFE = bytes(range(0x21, 0x7F)).decode()
_PIPELINE_MAX = 32


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """`header_bytes`: API Gateway's 10,240 for the request line and headers together."""

    header_bytes: int = 10_240
    body_bytes: int = 80 * 2**20
    message_s: float = 30.0
    """A message not whole after this long closes its connection (slow-loris)."""
    idle_s: float = 120.0


class HttpServer:
    """What the connections of one listener share: handler, limits, the clock of time-outs."""

    def __init__(self, handler: Handler, limits: HttpLimits | None = None) -> None:
        self.handler = handler
        self.limits = limits or HttpLimits()
        self.connections: set[HttpConnection] = set()
        self.closing = False
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, host: str, port: int) -> int:
        """Start listening; returns the port (useful with 0). Raises OSError where it is taken."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: HttpConnection(self), host, port, backlog=2048)
        self._sweeper = loop.call_later(1.0, self._sweep, loop)
        port_: int = self._listener.sockets[0].getsockname()[1]
        return port_

    async def drain(self, grace_s: float) -> None:
        """Stop listening, let requests in flight finish for up to `grace_s`, then close."""
        self.closing = True
        if self._listener is not None:
            self._listener.close()
        deadline = time.monotonic() + grace_s
        while any(c.busy for c in self.connections) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        self.close()

    def close(self) -> None:
        """Close the listener and every connection now. No harm in calling it twice."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._listener is not None:
            self._listener.close()
        for connection in list(self.connections):
            connection.close()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        for connection in list(self.connections):
            connection.expire(now)
        self._sweeper = loop.call_later(1.0, self._sweep, loop)


class HttpConnection(asyncio.Protocol):
    """One client connection."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._client = ""
        self._queue: deque[tuple[HttpRequest, bool]] = deque()
        self._serving = False
        self._since = time.monotonic()
        self._in_message = False
        self._refused = False
        self._reset_message()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if isinstance(peer, tuple) else ""
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._transport = None
        self._queue.clear()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # an offered upgrade (curl --http2 sends one) is declined by answering in HTTP/1.1
        except httptools.HttpParserError as error:
            if not self._refused:
                self._refuse(400, str(error.__context__ or error))

    def eof_received(self) -> bool:
        return self._serving or bool(self._queue)  # a half-closed client still gets its answer

    # httptools callbacks

    def on_message_begin(self) -> None:
        self._reset_message()
        self._in_message = True
        self._since = time.monotonic()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))
        self._count_header(len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        lengths = expect = chunked = False
        for name, value in self._headers:
            lowered = name.lower()
            if lowered == "content-length":
                lengths = True
                if value.isdigit() and int(value) > self._server.limits.body_bytes:
                    self._refuse(413, "request body too large")
            elif lowered == "transfer-encoding":
                chunked = True
            elif lowered == "expect":
                expect = value.lower() == "100-continue"
        if lengths and chunked:  # RFC 9112 6.1: the way requests are smuggled
            self._refuse(400, "Content-Length with Transfer-Encoding")
        elif expect and not self._refused and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size > self._server.limits.body_bytes:
            self._refuse(413, "request body too large")
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._in_message = False
        self._since = time.monotonic()
        if self._refused:
            return
        path, _, query = self._url.partition(b"?")
        request = HttpRequest(
            method=self._parser.get_method().decode("latin-1"),
            path=_text(path),
            query=_text(query),
            headers=self._headers,
            body=self._body[0] if len(self._body) == 1 else b"".join(self._body),
            client_host=self._client,
            received_ns=time.monotonic_ns(),
        )
        keep_alive: bool = self._parser.should_keep_alive()
        if self._serving or self._queue:
            self._queue.append((request, keep_alive))
            if len(self._queue) >= _PIPELINE_MAX and self._transport is not None:
                self._transport.pause_reading()
        else:
            self._serve(request, keep_alive)

    # ours

    @property
    def busy(self) -> bool:
        """A request is being served or waits for its turn."""
        return self._serving or bool(self._queue)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def expire(self, now: float) -> None:
        """Close what has been half a message, or idle, for too long."""
        limits = self._server.limits
        if self._in_message:
            if now - self._since > limits.message_s:
                self._refuse(408, "the request was not sent in time")
        elif not self.busy and now - self._since > limits.idle_s:
            self.close()

    def _reset_message(self) -> None:
        self._url = b""
        self._headers: Headers = []
        self._body: list[bytes] = []
        self._body_size = 0
        self._header_size = 0

    def _count_header(self, size: int) -> None:
        self._header_size += size
        if self._header_size > self._server.limits.header_bytes:
            self._refuse(431, "request headers too large")

    def _refuse(self, status: int, why: str) -> None:
        """Answer once, then close: the rest of what this client sends cannot be trusted."""
        if self._refused:
            return
        self._refused = True
        body = b'{"message":"%s"}' % why.replace('"', "'").translate(_UNSAFE).encode()
        head = b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        if self._transport is not None:
            if not self.busy:
                self._transport.write(head % (status, _REASONS.get(status, b""), len(body)) + body)
            self._transport.close()

    def _serve(self, request: HttpRequest, keep_alive: bool) -> None:
        self._serving = True
        answered = False

        def respond(response: HttpResponse) -> None:
            nonlocal answered
            if not answered:  # a late second answer (time-out and result) is dropped, never sent
                answered = True
                self._respond(request, response, keep_alive and not self._server.closing)

        try:
            self._server.handler(request, respond)
        except Exception:
            log.exception("handler failed on %s %s", request.method, request.path)
            respond(HttpResponse(500, [("Content-Type", "application/json")], b'{"message":"Internal server error"}'))

    def _respond(self, request: HttpRequest, response: HttpResponse, keep_alive: bool) -> None:
        self._serving = False
        self._since = time.monotonic()
        transport = self._transport
        if transport is None:
            return
        transport.write(encode_response(response, head_only=request.method == "HEAD", keep_alive=keep_alive))
        if not keep_alive:
            transport.close()
        elif self._queue:
            if len(self._queue) == _PIPELINE_MAX:
                with contextlib.suppress(RuntimeError):
                    transport.resume_reading()
            asyncio.get_running_loop().call_soon(self._serve_next)

    def _serve_next(self) -> None:
        if self._queue and not self._serving and self._transport is not None:
            self._serve(*self._queue.popleft())


def encode_response(response: HttpResponse, *, head_only: bool = False, keep_alive: bool = True) -> bytes:
    """The bytes on the wire. CR, LF and NUL are taken out of header names and values, so that what a
    function returns can never split a response; framing headers of its own are dropped."""
    status = response.status
    lines = [b"HTTP/1.1 %d %s\r\nDate: %s\r\n" % (status, _REASONS.get(status, b"Unknown"), _date())]
    for name, value in response.headers:
        if name.lower() in ("content-length", "transfer-encoding", "connection", "date"):
            continue
        line = f"{name}: {value}".translate(_UNSAFE)
        lines.append(line.encode("latin-1", "replace") + b"\r\n")
    if status not in _BODILESS:
        lines.append(b"Content-Length: %d\r\n" % len(response.body))
    lines.append(b"Connection: keep-alive\r\n\r\n" if keep_alive else b"Connection: close\r\n\r\n")
    if not head_only and status not in _BODILESS:
        lines.append(response.body)
    return b"".join(lines)


_date_cache: tuple[int, bytes] = (0, b"")


def _date() -> bytes:
    global _date_cache
    now = int(time.time())
    if _date_cache[0] != now:
        _date_cache = (now, formatdate(now, usegmt=True).encode())
    return _date_cache[1]


def _text(raw: bytes) -> str:
    """Request targets are ASCII; bytes beyond it, which some clients send bare, are percent-encoded."""
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        return quote_from_bytes(raw, safe=_URL_SAFE)
