"""What API Gateway makes of a proxy function's answer.

Sources: the fidelity sheet's API Gateway section; localstack's test_aws_proxy_response_payload_format_validation
(recorded against AWS); the developer guide, "Output format of a Lambda function for proxy integration".
"""

from __future__ import annotations

import base64
import re
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from preheat.kernel.http import Headers, HttpResponse
from preheat.services.apigateway.media import BinaryMediaTypes

Scalar = str | bool | int | float | None


_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_STATUS = re.compile(r"[0-9]{3}")
_REMAPPED = frozenset(
    (
        *("authorization", "connection", "content-length", "content-md5", "date", "expect", "host", "max-forwards"),
        *("proxy-authenticate", "server", "trailer", "upgrade", "user-agent", "www-authenticate"),
    )
)
"""Sent on as `x-amzn-Remapped-<name>`: developer guide, "Amazon API Gateway important notes"; recorded in localstack's
TestApiGatewayHeaderRemapping."""
_OWN = frozenset(("x-amzn-requestid", "x-amz-apigw-id", "x-amzn-trace-id", "transfer-encoding"))
"""The gateway's own to set (or nobody's): a function's value is dropped."""


class _ProxyResponse(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Jackson reads a function's answer on AWS: scalars turn into text, structures in their place do not."""

    status_code: int | float | str | UnsetType = UNSET
    headers: dict[str, Scalar] | None = None
    multi_value_headers: dict[str, list[Scalar] | None] | None = None
    body: Scalar = None
    is_base64_encoded: bool | str | None = msgspec.field(default=None, name="isBase64Encoded")


class Malformed(Exception):
    """Not a proxy response: the client gets 502."""


class NotBase64(Exception):
    """A binary response whose body is not base64: the client gets 500 (recorded)."""


_decode = msgspec.json.Decoder(_ProxyResponse).decode


def proxy_response(payload: bytes, accept: str | None, binary: BinaryMediaTypes) -> HttpResponse:
    """The HTTP response that a function's payload stands for, without the gateway's own headers.

    Raises Malformed or NotBase64.
    """
    try:
        answer = _decode(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise Malformed(str(error)) from error
    status = _status(answer.status_code)
    headers = _headers(answer)
    body = _body(answer, accept, binary)
    if status in (204, 304):  # these have no body in HTTP: RFC 9110, 15.3.5 and 15.4.5
        body = b""
    return HttpResponse(status, headers, body)


def _status(given: Any) -> int:
    """200 where absent; a number or its text. What no final HTTP response can have is malformed, too (unverified)."""
    if given is UNSET:
        return 200
    if isinstance(given, str):
        if not _STATUS.fullmatch(given):
            raise Malformed(f"statusCode {given!r}")
        status = int(given)
    else:
        status = int(given)
    if not 200 <= status <= 599:
        raise Malformed(f"statusCode {given!r}")
    return status


def _headers(answer: _ProxyResponse) -> Headers:
    """`headers` and `multiValueHeaders` merged into one list; the latter come first and decide the casing."""
    multi = {name: values for name, values in (answer.multi_value_headers or {}).items() if values}
    headers: Headers = []
    casing = {name.lower(): name for name in multi}
    for name, values in multi.items():
        for value in values:
            _append(headers, name, value)
    for name, single in (answer.headers or {}).items():
        merged = casing.get(name.lower())
        if merged is None:
            _append(headers, name, single)
        elif single not in multi[merged]:
            _append(headers, merged, single)
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    return headers


def _append(headers: Headers, name: str, value: Scalar) -> None:
    pair = header_pair(name, value)
    if pair is not None:
        headers.append(pair)


def header_pair(name: str, value: Any) -> tuple[str, str] | None:
    """One header as the wire may carry it; None for one that is dropped.

    A name or value that could split the response is malformed.
    """
    lower = name.lower()
    if value is None or lower in _OWN:
        return None
    text = _text(value)
    if not _TOKEN.fullmatch(name) or _CONTROL.search(text):
        raise Malformed(f"header {name!r}")
    if not text.isascii():
        text = text.encode().decode("latin-1")
    return f"x-amzn-Remapped-{name}" if lower in _REMAPPED else name, text


def _text(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _body(answer: _ProxyResponse, accept: str | None, binary: BinaryMediaTypes) -> bytes:
    """base64 is decoded only where the client's Accept names a binary media type of the API (recorded)."""
    encoded = answer.is_base64_encoded
    if isinstance(encoded, str):
        if encoded.lower() not in ("true", "false"):
            raise Malformed(f"isBase64Encoded {encoded!r}")
        encoded = encoded.lower() == "true"
    text = _text(answer.body)
    if encoded and binary and binary.match(accept):
        try:
            return base64.b64decode(text, validate=True)
        except ValueError as error:  # binascii.Error, or characters that are not ASCII
            raise NotBase64("body is not base64") from error
    return text.encode()
