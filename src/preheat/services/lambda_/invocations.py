"""Invoke: the checks before a request reaches the invoker, and the answer after, on the hot path."""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import json
import random
import re
import time
from urllib.parse import parse_qs, unquote

import msgspec

from preheat.aws.model import load_service
from preheat.aws.rest_json import RestJson
from preheat.aws.validation import Validator
from preheat.kernel.errors import AwsError
from preheat.kernel.function import Invocation, Invoker, InvokeResult
from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.kernel.stream import ResponseStream
from preheat.services.lambda_.asynchronous import EventQueue, new_event
from preheat.services.lambda_.failures import constraint, too_large
from preheat.services.lambda_.registry import FunctionRegistry

MAX_PAYLOAD_BYTES = 6_291_456
MAX_EVENT_BYTES = 1_048_576
"""Invocation payloads (Lambda quotas): synchronous 6 MB, asynchronous 1 MB."""
_MAX_CLIENT_CONTEXT_BYTES = 3583
"""API reference, Invoke: "Up to 3,583 bytes of base64-encoded data"."""

_LOG_TYPES = ("None", "Tail")

_RAW_JSON = msgspec.json.Decoder(type=msgspec.Raw)


class Invocations:
    """Starts invocations, for the provider (dicts) and for the front (HTTP, without the generic wire)."""

    def __init__(self, registry: FunctionRegistry, invoker: Invoker, queue: EventQueue) -> None:
        self._registry = registry
        self._invoker = invoker
        self._queue = queue

    def start(
        self,
        identifier: str,
        payload: bytes,
        *,
        request_id: str,
        received_ns: int,
        qualifier: str | None = None,
        invocation_type: str = "RequestResponse",
        client_context: str = "",
        trace_id: str = "",
        stream: ResponseStream | None = None,
    ) -> asyncio.Future[InvokeResult] | int:
        """Check and hand over; the status of a DryRun or Event that passed. Raises AwsError for what AWS refuses."""
        limit = MAX_PAYLOAD_BYTES if invocation_type != "Event" else MAX_EVENT_BYTES
        if len(payload) > limit:
            raise too_large(f"Request must be smaller than {limit} bytes for the InvokeFunction operation")
        try:
            function = self._registry.resolve(identifier, qualifier)
        except AwsError:
            _check_names(identifier, qualifier)
            raise
        if invocation_type == "DryRun":
            return 204
        check_json(payload)
        arn = function.arn
        if identifier not in (function.name, arn) or qualifier:
            qualifier = self._registry.parse(identifier, qualifier)[1]
            arn = f"{arn}:{qualifier}" if qualifier else arn
        context = _decoded_context(client_context) if client_context else ""
        trace_id = trace_id or new_trace_id(request_id)
        if invocation_type == "Event":
            body = payload or b"{}"
            self._queue.accept(new_event(function.name, qualifier, body, request_id, context, trace_id))
            return 202
        if invocation_type != "RequestResponse":
            rule = "Member must satisfy enum value set: [Event, RequestResponse, DryRun]"
            raise constraint(invocation_type, "invocationType", rule)
        return self._invoker.invoke(
            function,
            Invocation(
                request_id=request_id,
                payload=payload or b"{}",
                received_ns=received_ns or time.monotonic_ns(),
                invoked_arn=arn,
                client_context=context,
                trace_id=trace_id,
                stream=stream,
            ),
        )

    def invoke_http(self, request: HttpRequest, function_identifier: str) -> asyncio.Future[HttpResponse]:
        """Answer POST /2015-03-31/functions/{function_identifier}/invocations; the future never raises.

        `function_identifier` may still be percent-encoded. If the client goes away (the future is
        cancelled) the invocation runs to its end all the same.
        """
        answer: asyncio.Future[HttpResponse] = asyncio.get_running_loop().create_future()
        request_id = new_request_id()
        given = {"x-amz-invocation-type": "", "x-amz-log-type": "", "x-amz-client-context": "", "x-amzn-trace-id": ""}
        for name, value in request.headers:
            lowered = name.lower()
            if lowered in given:
                given[lowered] = value
        log_type = given["x-amz-log-type"]
        try:
            if log_type and log_type not in _LOG_TYPES:
                rule = f"Member must satisfy enum value set: [{', '.join(_LOG_TYPES)}]"
                raise constraint(log_type, "logType", rule)
            result = self.start(
                unquote(function_identifier) if "%" in function_identifier else function_identifier,
                request.body,
                request_id=request_id,
                received_ns=request.received_ns,
                qualifier=_qualifier(request.query) if request.query else None,
                invocation_type=given["x-amz-invocation-type"] or "RequestResponse",
                client_context=given["x-amz-client-context"],
                trace_id=given["x-amzn-trace-id"],
            )
        except AwsError as error:
            answer.set_result(error_response(error, request_id))
            return answer
        if isinstance(result, int):
            answer.set_result(HttpResponse(result, [("x-amzn-RequestId", request_id)]))
        else:
            result.add_done_callback(functools.partial(_settle, answer, request_id, log_type == "Tail"))
        return answer


def _settle(
    answer: asyncio.Future[HttpResponse], request_id: str, tail: bool, done: asyncio.Future[InvokeResult]
) -> None:
    """Turn what the invoker answered into the HTTP response, if anybody still waits for it."""
    error = AwsError("ServiceException", "Cancelled", 500) if done.cancelled() else done.exception()
    if answer.done():
        return
    if error is None:
        answer.set_result(_success(done.result(), tail))
        return
    if not isinstance(error, AwsError):
        asyncio.get_running_loop().call_exception_handler({"message": "invoke failed", "exception": error})
        error = AwsError("ServiceException", "Internal server error", 500)
    answer.set_result(error_response(error, request_id))


def _success(result: InvokeResult, tail: bool) -> HttpResponse:
    headers = [
        ("Content-Type", "application/json"),
        ("x-amzn-RequestId", result.request_id),
        ("X-Amz-Executed-Version", result.executed_version),
    ]
    if result.function_error:
        headers.append(("X-Amz-Function-Error", result.function_error))
    if tail:
        headers.append(("X-Amz-Log-Result", base64.b64encode(result.log_tail).decode()))
    return HttpResponse(200, headers, result.payload)


@functools.cache
def _wire() -> RestJson:
    return RestJson(load_service("lambda"))


def error_response(error: AwsError, request_id: str) -> HttpResponse:
    """The error exactly as the generic wire would put it."""
    return _wire().error(error, request_id)


@functools.cache
def _validator() -> Validator:
    return Validator(load_service("lambda"))


def _check_names(identifier: str, qualifier: str | None) -> None:
    """The model's rules on names, for a request that has found nothing: what is found keeps them."""
    given = {"FunctionName": identifier, "Qualifier": qualifier}
    _validator().validate(load_service("lambda").operations["Invoke"], given)


_VERSION_BITS = (0xF << 76) | (0x3 << 62)
_VERSION_4 = (0x4 << 76) | (0x2 << 62)


def new_request_id() -> str:
    """A version 4 UUID at a fifth of uuid.uuid4()'s cost: unique, but no secret."""
    text = f"{random.getrandbits(128) & ~_VERSION_BITS | _VERSION_4:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_trace_id(request_id: str) -> str:
    """An X-Ray header as Lambda makes it for a request that brought none: not sampled."""
    digits = request_id.replace("-", "")
    return f"Root=1-{int(time.time()):08x}-{digits[:24]};Parent={digits[16:]};Sampled=0"


def check_json(payload: bytes) -> None:
    """Raise InvalidRequestContentException, with the place, unless `payload` is one JSON value or empty."""
    if not payload:
        return
    try:
        _RAW_JSON.decode(payload)
        if not payload.isascii():
            payload.decode()
    except (ValueError, RecursionError):
        # msgspec refuses a little more than AWS does (a lone surrogate), so the standard library decides
        try:
            json.loads(payload.decode(), parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            detail = _detail(payload, error)
            raise AwsError(
                "InvalidRequestContentException",
                f"Could not parse request body into json: Could not parse payload into json: {detail}",
            ) from error


def _no_constant(name: str) -> None:
    raise json.JSONDecodeError("not JSON", name, 0)


_VALUE = "JSON String, Number, Array, Object or token 'null', 'true' or 'false'"
_EXPECTED = {
    "Expecting value": f"expected a valid value ({_VALUE})",
    "Expecting ':' delimiter": "was expecting a colon to separate field name and value",
    "Expecting property name enclosed in double quotes": "was expecting double-quote to start field name",
}
"""What Jackson says where Python says the key; else nothing is added."""


def _detail(payload: bytes, error: Exception) -> str:
    """What AWS's parser (Jackson) would say about it, as far as it can be told from Python's.

    Columns are those just behind what was read (recorded on AWS; Jackson's UTF8StreamJsonParser).
    """
    if isinstance(error, RecursionError):
        return "Document nesting depth exceeds the maximum allowed"
    text = payload.decode("latin-1")  # a character a byte: Jackson counts bytes
    start = error.start if isinstance(error, UnicodeDecodeError) else _byte_position(payload, error)
    read = start + 1
    word = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*").match(text, start)
    if isinstance(error, UnicodeDecodeError):
        first = not text[:start].strip()
        what = _unexpected(text[start], _EXPECTED["Expecting value"]) if first else _invalid_byte(payload[start])
    elif start >= len(text):
        what, read = "Unexpected end-of-input", start
    elif word and getattr(error, "msg", "") in ("Expecting value", "not JSON"):
        what, read = f"Unrecognized token '{word[0]}': was expecting ({_VALUE})", min(word.end() + 1, len(text))
    else:
        what = _unexpected(text[start], _EXPECTED.get(getattr(error, "msg", ""), ""))
    line, column = text.count("\n", 0, read) + 1, read - text.rfind("\n", 0, read)
    shown = payload[:500].decode(errors="replace")
    return f'{what}\n at [Source: (byte[])"{shown}"; line: {line}, column: {column}]'


def _byte_position(payload: bytes, error: Exception) -> int:
    return len(payload.decode()[: error.pos].encode()) if isinstance(error, json.JSONDecodeError) else 0


def _invalid_byte(byte: int) -> str:
    return f"Invalid UTF-8 start byte 0x{byte:02x}"


def _unexpected(character: str, expected: str) -> str:
    code = ord(character)
    shown = f"(CTRL-CHAR, code {code})" if code < 32 or 127 <= code < 160 else f"'{character}' (code {code})"
    return f"Unexpected character ({shown})" + (f": {expected}" if expected else "")


def _decoded_context(encoded: str) -> str:
    """ClientContext as the runtime gets it: JSON on one line of ASCII, fit for a header."""
    try:
        if len(encoded) > _MAX_CLIENT_CONTEXT_BYTES:
            raise ValueError("too long")
        value = json.loads(base64.b64decode(encoded, validate=True))
        if not isinstance(value, dict):
            raise ValueError("not an object")
    except (ValueError, binascii.Error) as error:
        raise AwsError(
            "InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object."
        ) from error
    return json.dumps(value)


def _qualifier(query: str) -> str | None:
    values = parse_qs(query).get("Qualifier")
    return values[0] if values else None
