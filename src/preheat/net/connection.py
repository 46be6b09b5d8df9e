"""One client's connection, as an asyncio.Protocol on httptools.

No task and no coroutine per whole response: the handler gets the request and a `respond` callable and may call
it now or later. One request at a time per connection; pipelined ones wait their turn, and so does a refusal.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import httptools

from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.kernel.stream import BrokenOff
from preheat.net.contract import BodySink, Handler, HttpLimits
from preheat.net.encoding import BODILESS, encode_head, encode_response, refusal
from preheat.net.requests import Refused, check_headers, set_target
from preheat.net.upgrades import body_parser

log = logging.getLogger(__name__)

_PIPELINE_MAX = 32
_PIPELINE_BYTES = 2**20
"""Reading stops while more than this many pipelined requests, or bytes of their bodies, wait their turn."""
_LINGER_S = 5.0
"""After a refusal, what the client still sends is read and dropped for this long: closing at once would
reset the connection and destroy the answer on its way (RFC 9112, 9.6)."""


@dataclass(slots=True)
class Front:
    """What the connections of one listener share."""

    handler: Handler
    limits: HttpLimits
    stream: Callable[[HttpRequest], BodySink | None] | None = None
    connections: set[HttpConnection] = field(default_factory=set)
    closing: bool = False


class _Turn(NamedTuple):
    """A request in line. `chunks`: the client knows chunked bodies (HTTP/1.1)."""

    request: HttpRequest
    keep_alive: bool
    chunks: bool


class HttpConnection(asyncio.Protocol):
    """Reading: bytes -> parser -> `_queue` -> handler. Writing: `_answer`, in the requests' order."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._client = ""
        self._tls = False
        self._queue: deque[_Turn] = deque()
        self._queued_bytes = 0
        self._serving = False
        self._stream: asyncio.Task[None] | None = None
        self._since = time.monotonic()
        self._in_message = False
        self._continue_due = False
        self._reading_paused = False
        self._writing_paused_at: float | None = None
        self._writable: asyncio.Future[None] | None = None
        self._deaf = False  # nothing that the client sends matters any more
        self._eof = False
        self._last_word = b""  # a refusal, sent when all requests before it are answered
        self._lingering_since: float | None = None
        self._sink: BodySink | None = None
        self._body_apart: int | None = None  # its size, 0 if chunked, where it follows an offered upgrade
        self._request = HttpRequest("", "")
        self._headers: Headers = []
        self._reset_message()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if isinstance(peer, tuple) else ""
        self._tls = transport.get_extra_info("sslcontext") is not None
        self._front.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.connections.discard(self)
        self._transport = None
        if self._stream is not None:
            self._stream.cancel()
        self._abort_sink()
        for turn in self._queue:
            if turn.request.sink is not None:
                turn.request.sink.abort()
        self._queue.clear()

    def data_received(self, data: bytes) -> None:
        while data and not self._deaf:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                # an offered upgrade (curl --http2 sends one) is declined by answering in HTTP/1.1
                data = data[upgrade.args[0] :]
                if self._body_apart is not None:
                    self._parser, self._body_apart = body_parser(self, self._body_apart), None
            except httptools.HttpParserCallbackError as error:
                refused = error.__context__
                if not isinstance(refused, Refused):
                    log.exception("a parser callback failed")
                    refused = Refused(500, "Internal server error")
                self._refuse(refused.status, str(refused))
            except httptools.HttpParserError as error:
                self._refuse(400, str(error))

    def eof_received(self) -> bool:
        self._eof = True
        if self._in_message:
            self._refuse(400, "the request ended before it was whole")
        return not self._tls and (self.busy or bool(self._last_word))  # a half-closed client still gets its answers

    def pause_writing(self) -> None:
        self._writing_paused_at = time.monotonic()

    def resume_writing(self) -> None:
        self._writing_paused_at = None
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._serve_next()

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
        headers, self._headers = self._headers, []  # what comes now are trailers: never merged (RFC 9110, 6.5.1)
        self._request = HttpRequest(self._parser.get_method().decode("latin-1"), "", "", headers, b"", self._client)
        self._request.tls = self._tls
        version = self._parser.get_http_version()
        expected, self._continue_due, offer = check_headers(headers, version)
        self._body_apart = expected if offer and self._parser.should_upgrade() else None
        set_target(self._request, self._url)
        if self._front.stream is not None:
            self._request.sink = self._sink = self._front.stream(self._request)
        if self._sink is None and expected > self._front.limits.body_bytes:
            raise Refused(413, "request body too large")
        if self._continue_due and not self.busy:
            self._send_continue()

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._sink is not None:
            if (room := self._sink.write(body)) is not None and not self._reading_paused:
                self._pause_reading()
                room.add_done_callback(lambda _: self._resume_reading())
        elif self._body_size > self._front.limits.body_bytes:
            raise Refused(413, "request body too large")
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._body_apart is not None:
            return
        self._in_message = self._continue_due = False
        self._since = time.monotonic()
        request, self._sink = self._request, None
        if self._headers:
            request.trailers = self._headers
        request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request.received_ns = time.monotonic_ns()
        keep_alive: bool = self._parser.should_keep_alive()
        self._deaf = not keep_alive
        turn = _Turn(request, keep_alive, self._parser.get_http_version() != "1.0")
        if self._serving or self._queue or self._writing_paused_at is not None:
            self._enqueue(turn)
        else:
            self._serve(turn)

    # ours

    @property
    def busy(self) -> bool:
        """A request is being served or waits for its turn."""
        return self._serving or bool(self._queue)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def expire(self, now: float) -> None:
        """Cut off what has been half a message, unread, lingering or idle for too long."""
        limits = self._front.limits
        if self._lingering_since is not None:
            if now - self._lingering_since > _LINGER_S:
                self.close()
        elif self._writing_paused_at is not None:
            if now - self._writing_paused_at > limits.write_s and self._transport is not None:
                self._transport.abort()
        elif self._in_message:
            if not self._reading_paused and now - self._since > limits.message_s + (
                self._body_size / limits.body_bytes_per_s
            ):
                self._refuse(408, "the request was not sent in time")
        elif not self.busy and now - self._since > limits.idle_s:
            self.close()

    def _reset_message(self) -> None:
        self._url = b""
        self._headers = []
        self._body: list[bytes] = []
        self._body_size = 0
        self._header_size = 0

    def _count_header(self, size: int) -> None:
        self._header_size += size
        if self._header_size > self._front.limits.header_bytes:
            raise Refused(431, "request headers too large")

    def _send_continue(self) -> None:
        self._continue_due = False
        if self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, status: int, why: str) -> None:
        """Answer once, after all that came before: the rest of what this client sends cannot be trusted."""
        if self._deaf:
            return
        self._deaf = True
        self._in_message = False
        self._abort_sink()
        self._last_word = refusal(status, why)
        if not self.busy:
            self._say_last_word()

    def _say_last_word(self) -> None:
        transport = self._transport
        if transport is None:
            return
        transport.write(self._last_word)
        if self._eof or not transport.can_write_eof():
            transport.close()
            return
        transport.write_eof()
        self._lingering_since = time.monotonic()
        self._resume_reading()

    def _abort_sink(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.abort()

    def _enqueue(self, turn: _Turn) -> None:
        self._queue.append(turn)
        self._queued_bytes += len(turn.request.body)
        if len(self._queue) >= _PIPELINE_MAX or self._queued_bytes > _PIPELINE_BYTES:
            self._pause_reading()

    def _pause_reading(self) -> None:
        self._reading_paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._since = time.monotonic()
            self._transport.resume_reading()

    def _serve(self, turn: _Turn) -> None:
        self._serving = True
        answered = False

        def respond(response: HttpResponse) -> None:
            nonlocal answered
            if not answered:  # a late second answer (time-out and result) is dropped, never sent
                answered = True
                self._answer(turn, response)

        try:
            self._front.handler(turn.request, respond)
        except Exception:
            log.exception("handler failed on %s %s", turn.request.method, turn.request.path)
            respond(HttpResponse(500, [("Content-Type", "application/json")], b'{"message":"Internal server error"}'))

    def _serve_next(self) -> None:
        if not self._queue or self._serving or self._transport is None or self._writing_paused_at is not None:
            return
        turn = self._queue.popleft()
        self._queued_bytes -= len(turn.request.body)
        if len(self._queue) < _PIPELINE_MAX // 2 and self._queued_bytes <= _PIPELINE_BYTES:
            self._resume_reading()
        self._serve(turn)

    def _answer(self, turn: _Turn, response: HttpResponse) -> None:
        transport = self._transport
        keep_alive = turn.keep_alive and not self._front.closing
        if response.stream is not None:
            self._stream = asyncio.get_running_loop().create_task(self._send(turn, response, keep_alive))
        elif transport is None:
            self._serving = False
        else:
            transport.write(encode_response(response, head_only=turn.request.method == "HEAD", keep_alive=keep_alive))
            self._turn_over(keep_alive)

    def _turn_over(self, keep_alive: bool) -> None:
        """The response is written: whatever the connection owes its client next."""
        self._serving = False
        self._since = time.monotonic()
        if not keep_alive:
            self.close()
        elif self._queue:
            asyncio.get_running_loop().call_soon(self._serve_next)
        elif self._last_word:
            self._say_last_word()
        elif self._eof:
            self.close()
        elif self._continue_due:
            self._send_continue()

    async def _send(self, turn: _Turn, response: HttpResponse, keep_alive: bool) -> None:
        """A streamed response; the stream is closed in every case."""
        chunked = response.length is None and turn.chunks
        by_close = response.length is None and not chunked
        keep_alive = keep_alive and not by_close
        whole = False
        try:
            if self._transport is not None:
                framing = b"" if by_close else b"Transfer-Encoding: chunked\r\n"
                if response.length is not None:
                    framing = b"Content-Length: %d\r\n" % response.length
                bodiless = response.status in BODILESS
                self._transport.write(
                    encode_head(response.status, response.headers, b"" if bodiless else framing, keep_alive)
                )
                whole = bodiless or turn.request.method == "HEAD" or await self._pump(response, chunked)
        except BrokenOff as error:
            log.info("the response to %s %s broke off: %s", turn.request.method, turn.request.path, error)
        except Exception:
            log.exception("the response to %s %s broke off", turn.request.method, turn.request.path)
        finally:
            self._stream = None
            await _close(response)
        if whole:
            self._turn_over(keep_alive)
        elif self._transport is not None:
            self._serving = False
            _reset(self._transport) if by_close else self._transport.close()

    async def _pump(self, response: HttpResponse, chunked: bool) -> bool:
        """Write the stream as fast as the client reads. False where it was not of the announced length."""
        assert response.stream is not None
        sent = 0
        async for data in response.stream:
            sent += len(data)
            if response.length is not None and sent > response.length:
                return False
            if data and self._transport is not None:
                self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
            if self._writing_paused_at is not None:
                self._writable = asyncio.get_running_loop().create_future()
                await self._writable
        if chunked and self._transport is not None:
            self._transport.write(b"0\r\n\r\n")
        return response.length is None or sent == response.length


def _reset(transport: asyncio.Transport) -> None:
    """Close so that the client sees an error and not the end of a response."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _close(response: HttpResponse) -> None:
    aclose = getattr(response.stream, "aclose", None)
    if aclose is not None:
        try:
            await aclose()
        except Exception:
            log.exception("closing a response's stream failed")
