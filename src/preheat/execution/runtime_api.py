"""The HTTP transport: AWS's Runtime API, complete enough for any client in any language.

Every runtime process gets a listener of its own on loopback, so that a request needs no credentials to be
told from another environment's. Answers follow AWS's emulator (FIDELITY.md, "Runtime API"; tag RIE).
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from typing import Any

from preheat.execution import payloads
from preheat.execution.channel import Ready, RuntimeListener, Work
from preheat.execution.extensions_api import PREFIXES, ExtensionsApi
from preheat.execution.response_body import MODE, STREAMING, Body, StreamedBody, WholeBody, is_streaming, trailing_error
from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.net.http import HttpLimits, HttpServer, Respond
from preheat.sandbox.network import Place

_BASE = "/2018-06-01/runtime"
_JSON = ("Content-Type", "application/json")
_OK = HttpResponse(202, [_JSON], b'{"status":"OK"}\n')
_LIMITS = HttpLimits(
    header_bytes=2 * 2**20,  # /error may carry an X-Ray cause of up to 1 MiB in a header
    body_bytes=payloads.MAX_RESPONSE_BYTES,  # of errors; a response has a sink
    message_s=float("inf"),  # a response may be written for as long as its function may run
    idle_s=float("inf"),  # a runtime waits in /next for as long as nothing is asked of it
)
_LAST_WORDS_S = 0.25
"""A stream that has begun ends with its connection; so long where a child process still holds that, or nobody reads
the response."""


class RuntimeApiTransport:
    """`place` makes where each runtime finds its listener, in a thread; without it, loopback."""

    def __init__(self, place: Callable[[], Place] | None = None) -> None:
        self._place = place

    async def open(self, listener: RuntimeListener) -> RuntimeApi:
        channel = RuntimeApi(listener)
        if self._place is not None:
            await channel.listen_at(await asyncio.to_thread(self._place))
        else:
            await channel.listen()
        return channel


class RuntimeApi:
    """One runtime process's Runtime API."""

    def __init__(self, listener: RuntimeListener) -> None:
        self.extensions_api: ExtensionsApi | None = None
        """What extensions speak, on the same address."""
        self._listener: RuntimeListener | None = listener
        self._server = HttpServer(self._handle, _LIMITS, self._response_body)
        self._place: Place | None = None
        self._address = ""
        self._network_fd: int | None = None
        self._ready = False
        self._parked: Respond | None = None
        self._work: Work | None = None
        self._current: str | None = None
        self._answered: str | None = None
        self._streamed: StreamedBody | None = None

    async def listen(self) -> None:
        self._address = f"127.0.0.1:{await self._server.listen('127.0.0.1', 0)}"

    async def listen_at(self, place: Place) -> None:
        self._place, self._address, self._network_fd = place, place.address, place.network_fd
        if place.guests is not None:
            self._server = HttpServer(self._from_guests, _LIMITS, self._response_body)
        await self._server.listen_on(place.listener)

    def child_fd(self) -> int | None:
        return None

    def network_fd(self) -> int | None:
        return self._network_fd

    def environ(self) -> dict[str, str]:
        return {"AWS_LAMBDA_RUNTIME_API": self._address}

    def launched(self) -> None:
        if self._network_fd is not None:
            os.close(self._network_fd)
            self._network_fd = None

    def send(self, work: Work) -> None:
        self._work = work
        self._hand_over()

    def send_ahead(self, work: Work) -> None:
        return None  # over HTTP the runtime asks for its next request when it is done with the last

    async def last_words(self) -> None:
        for _ in range(3):  # turns of the loop: to accept its last connection, and to read from it
            await asyncio.sleep(0)
        until = time.monotonic() + _LAST_WORDS_S
        while self._streamed is not None and not self._streamed.broken and time.monotonic() < until:
            await asyncio.sleep(0.001)

    def close(self) -> None:
        self._listener = None
        self.launched()
        self._server.close()

    def _from_guests(self, request: HttpRequest, respond: Respond) -> None:
        """Others are on the same network: only whom the place admits is the runtime."""
        if self._place is not None and self._place.guests is not None and request.client_host in self._place.guests:
            self._handle(request, respond)
        else:
            respond(_refusal(403, "AccessDenied", "this is another environment's Runtime API"))

    def _handle(self, request: HttpRequest, respond: Respond) -> None:
        path = request.path
        if path == f"{_BASE}/invocation/next":
            self._next(request, respond)
        elif path == "/ping" or path == "/2018-06-01/ping":
            respond(HttpResponse(200, [], b"pong"))
        elif path in (f"{_BASE}/init/error", f"{_BASE}/restore/error"):
            self._post(request, respond, self._init_error)
        elif path.startswith(f"{_BASE}/invocation/") and path.count("/") == 5:
            _, _, _, _, request_id, verb = path.split("/")
            if verb in ("response", "error"):
                self._post(request, respond, lambda r: self._result(r, request_id, verb))
            else:
                respond(_refusal(404, "NotFound", "page not found"))
        elif self.extensions_api is not None and path.startswith(PREFIXES):
            self.extensions_api.handle(request, respond)
        else:
            respond(_refusal(404, "NotFound", "page not found"))

    def _next(self, request: HttpRequest, respond: Respond) -> None:
        if request.method != "GET":
            respond(_refusal(405, "MethodNotAllowed", "method not allowed"))
            return
        if self._parked is not None:  # a second /next is tolerated: the later one gets the work
            self._parked(_refusal(410, "Gone", "superseded by a later request for the next invocation"))
        self._parked = respond
        if self._streamed is not None and self._streamed.broken and self._current is not None:
            # it has given a response up in the middle and lives on; one that dies is reported by its exit
            message = "the response ended before it was whole"
            self._settle(self._current, error=payloads.error("Runtime.TruncatedResponse", message))
        if not self._ready:
            self._ready = True
            if self._listener is not None:
                self._listener.on_ready(Ready())
        self._hand_over()

    def _hand_over(self) -> None:
        work, parked = self._work, self._parked
        if work is None or parked is None:
            return
        self._work = self._parked = None
        self._current = work.request_id
        headers: Headers = [
            _JSON,  # exactly this: awslambdaric hands the handler raw bytes otherwise
            ("Lambda-Runtime-Aws-Request-Id", work.request_id),
            ("Lambda-Runtime-Deadline-Ms", str(work.deadline_ms)),
            ("Lambda-Runtime-Invoked-Function-Arn", work.arn),
        ]
        if work.trace_id:
            headers.append(("Lambda-Runtime-Trace-Id", work.trace_id))
        if work.client_context:
            headers.append(("Lambda-Runtime-Client-Context", work.client_context))
        parked(HttpResponse(200, headers, work.event))

    def _post(self, request: HttpRequest, respond: Respond, then: Any) -> None:
        if request.method != "POST":
            respond(_refusal(405, "MethodNotAllowed", "method not allowed"))
        else:
            respond(then(request))

    def _response_body(self, request: HttpRequest) -> Body | None:
        """Where the body of a response goes, decided by its head."""
        if request.method != "POST" or not request.path.endswith("/response"):
            return None
        ours = self._current is not None and request.path == f"{_BASE}/invocation/{self._current}/response"
        if ours and self._streamed is None and self._listener is not None and is_streaming(request):
            stream = self._listener.on_stream(request.header("content-type") or "")
            if stream is not None:
                self._streamed = StreamedBody(stream)
                return self._streamed
        return WholeBody()

    def _result(self, request: HttpRequest, request_id: str, verb: str) -> HttpResponse:
        if request_id != self._current:
            if request_id == self._answered:
                return _refusal(403, "InvalidStateTransition", "the invocation has been answered already")
            return _refusal(400, "InvalidRequestID", "Invalid request ID")
        if verb == "error":
            self._settle(request_id, error=request.body)
            return _OK
        if self._streamed is not None:
            if request.sink is not self._streamed:
                return _refusal(403, "InvalidStateTransition", "a response to the invocation has begun already")
            return self._streamed_result(request, request_id, self._streamed)
        if request.header(MODE) not in (None, STREAMING):
            message = "Invalid function response mode"
            self._settle(request_id, error=payloads.error("Runtime.InvalidResponseModeHeader", message))
            return _refusal(400, "InvalidFunctionResponseMode", message)
        body = bytes(request.sink.data)
        error = trailing_error(request.trailers) if is_streaming(request) else None
        if len(body) > payloads.MAX_RESPONSE_BYTES and error is None:
            self._settle(request_id, body)
            return _too_large(payloads.MAX_RESPONSE_BYTES)
        self._settle(request_id, body, error)
        return _OK

    def _streamed_result(self, request: HttpRequest, request_id: str, streamed: StreamedBody) -> HttpResponse:
        if streamed.too_large:
            self._settle(request_id, error=payloads.response_too_large(payloads.MAX_STREAM_BYTES))
            return _too_large(payloads.MAX_STREAM_BYTES)
        self._settle(request_id, error=trailing_error(request.trailers))
        return _OK

    def _settle(self, request_id: str, body: bytes = b"", error: bytes | None = None) -> None:
        self._current = self._streamed = None
        self._answered = request_id
        if self._listener is None:
            return
        if error is None:
            self._listener.on_response(body, 0)
        else:
            self._listener.on_error(error, 0)

    def _init_error(self, request: HttpRequest) -> HttpResponse:
        if self._ready:
            return _refusal(403, "InvalidStateTransition", "init is over")
        if self._listener is not None:
            self._listener.on_init_error(_typed(request))
        return _OK


def _typed(request: HttpRequest) -> bytes:
    """The error with the type its header gives: hooks' errors name the hook there, not in the body."""
    given = request.header("Lambda-Runtime-Function-Error-Type")
    try:
        error = json.loads(request.body)
    except ValueError:
        return request.body
    if not given or not isinstance(error, dict):
        return request.body
    return json.dumps({**error, "errorType": given}).encode()


def _too_large(limit: int) -> HttpResponse:
    return _refusal(413, "RequestEntityTooLarge", f"Exceeded maximum allowed payload size ({limit} bytes).")


def _refusal(status: int, error_type: str, message: str) -> HttpResponse:
    body = json.dumps({"errorMessage": message, "errorType": error_type}).encode()
    return HttpResponse(status, [_JSON], body)
