"""Payload format 2.0: the event of HTTP APIs and function URLs, and the response that a function's answer means.

Sources: API Gateway developer guide, "Create AWS Lambda proxy integrations for HTTP APIs"; Lambda developer guide,
"Invoking Lambda function URLs".
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.services.apigateway.event import request_time
from preheat.services.apigateway.identifiers import RequestIds
from preheat.services.apigateway.responses import Malformed, header_pair

_DROPPED = frozenset(
    (
        "connection",
        "cookie",
        "expect",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-amzn-trace-id",
        "x-forwarded-for",
        "x-forwarded-port",
        "x-forwarded-proto",
    )
)
STREAM_TYPE = "application/octet-stream"
"""Content-Type of a streamed response that names none."""
_TEXT_TYPES = ("text/", "application/json", "application/javascript", "application/xml")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request arrived. `raw_path` includes a named stage, as on AWS."""

    api_id: str
    account_id: str
    stage: str
    route_key: str
    raw_path: str
    path_parameters: dict[str, str] = field(default_factory=dict)
    stage_variables: dict[str, str] = field(default_factory=dict)
    authorizer: dict[str, Any] | None = None


def event_2_0(request: HttpRequest, place: Place, ids: RequestIds) -> dict[str, Any]:
    """The event; members that have nothing to hold are absent."""
    headers = _headers(request, ids)
    host = headers.get("host", "").partition(":")[0]
    body, is_base64 = body_text(request)
    now_s = time.time()
    context: dict[str, Any] = {
        "accountId": place.account_id,
        "apiId": place.api_id,
        **({"authorizer": place.authorizer} if place.authorizer is not None else {}),
        "domainName": host,
        "domainPrefix": host.partition(".")[0],
        "http": {
            "method": request.method,
            "path": place.raw_path,
            "protocol": "HTTP/1.1",
            "sourceIp": request.client_host,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": ids.request,
        "routeKey": place.route_key,
        "stage": place.stage,
        "time": request_time(int(now_s)),
        "timeEpoch": int(now_s * 1000),
    }
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": place.route_key,
        "rawPath": unquote(place.raw_path),
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": context,
        "isBase64Encoded": is_base64,
    }
    cookies = [part.strip() for name, value in request.headers if name.lower() == "cookie" for part in value.split(";")]
    if cookies:
        event["cookies"] = cookies
    if request.query:
        event["queryStringParameters"] = _joined(parse_qsl(request.query, keep_blank_values=True))
    if place.path_parameters:
        event["pathParameters"] = {name: unquote(value) for name, value in place.path_parameters.items()}
    if place.stage_variables:
        event["stageVariables"] = place.stage_variables
    if body is not None:
        event["body"] = body
    return event


def event_1_0(request: HttpRequest, place: Place, ids: RequestIds) -> dict[str, Any]:
    """Format 1.0 of an HTTP API: the keys of a REST API's event and `version`."""
    two = event_2_0(request, place, ids)
    multi: dict[str, list[str]] = {}
    for name, value in request.headers:
        if name.lower() not in _DROPPED or name.lower() == "cookie":
            multi.setdefault(name, []).append(value)
    multi |= {name: [two["headers"][name.lower()]] for name in ("X-Amzn-Trace-Id", "X-Forwarded-For")}
    query: dict[str, list[str]] = {}
    for name, value in parse_qsl(request.query, keep_blank_values=True):
        query.setdefault(name, []).append(value)
    http, context = two["requestContext"]["http"], two["requestContext"]
    return {
        "version": "1.0",
        "resource": place.route_key.partition(" ")[2] or place.route_key,
        "path": place.raw_path,
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in multi.items()},
        "multiValueHeaders": multi,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "requestContext": {
            "accountId": place.account_id,
            "apiId": place.api_id,
            **({"authorizer": _authorizer_1_0(place.authorizer)} if place.authorizer is not None else {}),
            "domainName": context["domainName"],
            "domainPrefix": context["domainPrefix"],
            "extendedRequestId": ids.extended,
            "httpMethod": request.method,
            "identity": {"sourceIp": http["sourceIp"], "userAgent": http["userAgent"]},
            "path": place.raw_path,
            "protocol": "HTTP/1.1",
            "requestId": ids.request,
            "requestTime": context["time"],
            "requestTimeEpoch": context["timeEpoch"],
            "resourceId": place.route_key,
            "resourcePath": place.route_key.partition(" ")[2] or place.route_key,
            "stage": place.stage,
        },
        "pathParameters": two.get("pathParameters"),
        "stageVariables": two.get("stageVariables"),
        "body": two.get("body"),
        "isBase64Encoded": two["isBase64Encoded"],
    }


def _authorizer_1_0(found: dict[str, Any]) -> dict[str, Any]:
    """Format 1.0 and `$context` have no level between: the token's claims, or the Lambda authorizer's context."""
    flat: dict[str, Any] = found.get("jwt") or found.get("lambda") or {}
    return flat


def response_2_0(payload: bytes, *, compact: bool = False) -> HttpResponse:
    """The response that an answer means: itself as JSON unless it is an object with a `statusCode`.

    A function URL's is `compact`: without blanks (recorded on AWS). Raises Malformed.
    """
    try:
        answer = msgspec.json.decode(payload)
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from error
    if not isinstance(answer, dict) or "statusCode" not in answer:
        whole = msgspec.json.encode(answer) if compact else payload
        body = answer.encode() if isinstance(answer, str) else whole
        return HttpResponse(200, [("Content-Type", "application/json")], body)
    return HttpResponse(_status(answer["statusCode"]), _response_headers(answer), _response_body(answer))


def streamed_head(prelude: bytes) -> tuple[int, Headers]:
    """(status, headers) of a response that is streamed after its prelude. Raises Malformed."""
    try:
        head = msgspec.json.decode(prelude)
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from error
    if not isinstance(head, dict):
        raise Malformed("the prelude is not an object")
    return _status(head.get("statusCode", 200)), _response_headers(head, STREAM_TYPE)


def body_text(request: HttpRequest) -> tuple[str | None, bool]:
    """(body, is it base64?): text for text types, and for UTF-8 without a type (the latter unverified)."""
    if not request.body:
        return None, False
    kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if not kind or kind.startswith(_TEXT_TYPES) or kind.endswith(("+json", "+xml")):
        try:
            return request.body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(request.body).decode(), True


def _headers(request: HttpRequest, ids: RequestIds) -> dict[str, str]:
    forwarded = request.header("x-forwarded-for")
    pairs = [(name.lower(), value) for name, value in request.headers if name.lower() not in _DROPPED]
    headers = _joined(pairs)
    port = headers.get("host", "").rpartition(":")[2]
    headers["x-amzn-trace-id"] = ids.trace_header
    headers["x-forwarded-for"] = f"{forwarded}, {request.client_host}" if forwarded else request.client_host
    headers["x-forwarded-port"] = port if port.isdigit() else "443" if request.tls else "80"
    headers["x-forwarded-proto"] = "https" if request.tls else "http"
    return headers


def _joined(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Repeated names hold all their values, with commas between."""
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _status(given: Any) -> int:
    try:
        status = int(given)
    except (TypeError, ValueError) as error:
        raise Malformed(f"statusCode {given!r}") from error
    if isinstance(given, bool) or not 200 <= status <= 599:
        raise Malformed(f"statusCode {given!r}")
    return status


def _response_headers(answer: dict[str, Any], default_type: str = "application/json") -> Headers:
    given, cookies = answer.get("headers") or {}, answer.get("cookies") or []
    if not isinstance(given, dict) or not isinstance(cookies, list):
        raise Malformed("headers or cookies")
    pairs = [header_pair(name, value) for name, value in given.items()]
    pairs += [header_pair("set-cookie", cookie) for cookie in cookies]
    headers: Headers = [pair for pair in pairs if pair is not None]
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", default_type))
    return headers


def _response_body(answer: dict[str, Any]) -> bytes:
    body = answer.get("body")
    if body is None:
        return b""
    text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
    if not answer.get("isBase64Encoded"):
        return text.encode()
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Malformed("body is not base64") from error
