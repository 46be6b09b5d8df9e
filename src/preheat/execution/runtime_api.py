"""The HTTP transport: AWS's Runtime API, complete enough for any client in any language.

Every runtime process gets a listener of its own on loopback, so that a request needs no credentials to be
told from another environment's. Answers follow AWS's emulator (FIDELITY.md, "Runtime API"; tag RIE).
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from preheat.execution.channel import Ready, RuntimeListener, Work
from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.net.http import HttpLimits, HttpServer, Respond
from preheat.sandbox.network import RUNTIME_API, Isolated, isolated

_BASE = "/2018-06-01/runtime"
_JSON = ("Content-Type", "application/json")
_OK = HttpResponse(202, [_JSON], b'{"status":"OK"}\n')
MAX_RESPONSE_BYTES = 6_291_556
"""The largest response: 6 MB and 100 bytes (FIDELITY.md; the same constant in RIE)."""
_LIMITS = HttpLimits(
    header_bytes=2 * 2**20,  # /error may carry an X-Ray cause of up to 1 MiB in a header
    body_bytes=MAX_RESPONSE_BYTES,  # of errors; a response has `_ResponseBody`
    idle_s=float("inf"),  # a runtime waits in /next for as long as nothing is asked of it
)


class _ResponseBody:
    """A response as it comes. Of one that is too large only what proves it is kept: the rest is read and
    dropped, so that the runtime hears of its mistake instead of a broken connection."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        room = MAX_RESPONSE_BYTES + 1 - len(self.data)
        if room > 0:
            self.data += data[:room]

    def abort(self) -> None:
        self.data.clear()


def _response_body(request: HttpRequest) -> _ResponseBody | None:
    return _ResponseBody() if request.method == "POST" and request.path.endswith("/response") else None


class RuntimeApiTransport:
    """`isolated`: each listener in a network namespace of its own, which holds nothing else (takes root)."""

    def __init__(self, *, isolated: bool = False) -> None:
        self._isolated = isolated

    async def open(self, listener: RuntimeListener) -> RuntimeApi:
        channel = RuntimeApi(listener)
        if self._isolated:
            await channel.listen_apart(await asyncio.to_thread(isolated))
        else:
            await channel.listen()
        return channel


class RuntimeApi:
    """One runtime process's Runtime API."""

    def __init__(self, listener: RuntimeListener) -> None:
        self._listener: RuntimeListener | None = listener
        self._server = HttpServer(self._handle, _LIMITS, _response_body)
        self._address = ""
        self._network_fd: int | None = None
        self._ready = False
        self._parked: Respond | None = None
        self._work: Work | None = None
        self._current: str | None = None
        self._answered: str | None = None

    async def listen(self) -> None:
        self._address = f"127.0.0.1:{await self._server.listen('127.0.0.1', 0)}"

    async def listen_apart(self, place: Isolated) -> None:
        self._network_fd = place.network_fd
        await self._server.listen_on(place.listener)
        self._address = "{}:{}".format(*RUNTIME_API)

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

    def close(self) -> None:
        self._listener = None
        self.launched()
        self._server.close()

    def _handle(self, request: HttpRequest, respond: Respond) -> None:
        if request.sink is not None:
            request.body = bytes(request.sink.data)
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
        else:
            respond(_refusal(404, "NotFound", "page not found"))

    def _next(self, request: HttpRequest, respond: Respond) -> None:
        if request.method != "GET":
            respond(_refusal(405, "MethodNotAllowed", "method not allowed"))
            return
        if self._parked is not None:  # a second /next is tolerated: the later one gets the work
            self._parked(_refusal(410, "Gone", "superseded by a later request for the next invocation"))
        self._parked = respond
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

    def _result(self, request: HttpRequest, request_id: str, verb: str) -> HttpResponse:
        if request_id != self._current:
            if request_id == self._answered:
                return _refusal(403, "InvalidStateTransition", "the invocation has been answered already")
            return _refusal(400, "InvalidRequestID", "Invalid request ID")
        if verb == "response" and len(request.body) > MAX_RESPONSE_BYTES:
            message = f"Exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."
            self._settle(request_id)
            if self._listener is not None:
                self._listener.on_response(request.body, 0)
            return _refusal(413, "RequestEntityTooLarge", message)
        self._settle(request_id)
        if self._listener is not None:
            (self._listener.on_response if verb == "response" else self._listener.on_error)(request.body, 0)
        return _OK

    def _settle(self, request_id: str) -> None:
        self._current = None
        self._answered = request_id

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


def _refusal(status: int, error_type: str, message: str) -> HttpResponse:
    body = json.dumps({"errorMessage": message, "errorType": error_type}).encode()
    return HttpResponse(status, [_JSON], body)
