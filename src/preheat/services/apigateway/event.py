"""The Lambda proxy event, format 1.0, key by key.

Sources: localstack's test_lambda_aws_proxy_integration, recorded against AWS (which keys there are, header casing,
undecoded paths, decoded query, the last query value wins); the developer guide, "Input format of a Lambda function for
proxy integration". CloudFront's headers, which only edge-optimised APIs add, are left out.
"""

from __future__ import annotations

import base64
import time
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from preheat.kernel.http import HttpRequest
from preheat.services.apigateway.identifiers import RequestIds
from preheat.services.apigateway.stages import DeployedStage, Route

_DROPPED = frozenset(
    (
        "connection",
        "content-length",
        "content-md5",
        "expect",
        "max-forwards",
        "proxy-authenticate",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "www-authenticate",
    )
)
"""Request headers that no integration sees (developer guide, "Amazon API Gateway important notes")."""
_CAPITALISED = {"authorization": "Authorization", "user-agent": "User-Agent", "host": "Host"}
"""Whatever their casing was; all others keep theirs (recorded)."""
_OURS = frozenset(("x-amzn-trace-id", "x-forwarded-for", "x-forwarded-port", "x-forwarded-proto"))
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_encode = msgspec.json.Encoder().encode


def proxy_event(
    request: HttpRequest,
    stage: DeployedStage,
    route: Route,
    path: str,
    path_parameters: dict[str, str],
    ids: RequestIds,
) -> bytes:
    """The event as JSON. `path` is what follows the stage, as sent."""
    return _encode(event_fields(request, stage, route, path, path_parameters, ids))


def encode_event(event: dict[str, Any]) -> bytes:
    return _encode(event)


def event_fields(
    request: HttpRequest,
    stage: DeployedStage,
    route: Route,
    path: str,
    path_parameters: dict[str, str],
    ids: RequestIds,
) -> dict[str, Any]:
    """The event by its keys, in AWS's order."""
    headers, multi_headers = _headers(request, ids)
    query, multi_query = _query(request.query) if request.query else (None, None)
    body, is_base64 = _body(request, stage)
    now_s = time.time()
    domain_name = headers.get("Host", "").partition(":")[0]
    return {
        "resource": route.resource_path,
        "path": "/" + path.lstrip("/"),
        "httpMethod": request.method,
        "headers": headers,
        "multiValueHeaders": multi_headers,
        "queryStringParameters": query,
        "multiValueQueryStringParameters": multi_query,
        "pathParameters": path_parameters or None,
        "stageVariables": stage.variables,
        "requestContext": {
            "resourceId": route.resource_id,
            "resourcePath": route.resource_path,
            "httpMethod": request.method,
            "extendedRequestId": ids.extended,
            "requestTime": request_time(int(now_s)),
            "path": f"/{stage.name}{path}",
            "accountId": stage.account_id,
            "protocol": "HTTP/1.1",
            "stage": stage.name,
            "domainPrefix": stage.api_id,
            "requestTimeEpoch": int(now_s * 1000),
            "requestId": ids.request,
            "identity": {
                "cognitoIdentityPoolId": None,
                "accountId": None,
                "cognitoIdentityId": None,
                "caller": None,
                "sourceIp": request.client_host,
                "principalOrgId": None,
                "accessKey": None,
                "cognitoAuthenticationType": None,
                "cognitoAuthenticationProvider": None,
                "userArn": None,
                "userAgent": headers.get("User-Agent"),
                "user": None,
            },
            "domainName": domain_name,
            "deploymentId": stage.deployment_id,
            "apiId": stage.api_id,
        },
        "body": body,
        "isBase64Encoded": is_base64,
    }


def _headers(request: HttpRequest, ids: RequestIds) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Single (the last value wins) and multi-value maps, with what the gateway adds."""
    single: dict[str, str] = {}
    multi: dict[str, list[str]] = {}
    forwarded_for = request.client_host
    for name, value in request.headers:
        lower = name.lower()
        if lower in _DROPPED or lower in _OURS:
            if lower == "x-forwarded-for":
                forwarded_for = f"{value}, {forwarded_for}"
            continue
        name = _CAPITALISED.get(lower, name)
        single[name] = value
        if name in multi:
            multi[name].append(value)
        else:
            multi[name] = [value]
    port = single.get("Host", "").rpartition(":")[2]
    added = (
        ("X-Amzn-Trace-Id", ids.trace_header),
        ("X-Forwarded-For", forwarded_for),
        ("X-Forwarded-Port", port if port.isdigit() else "443" if request.tls else "80"),
        ("X-Forwarded-Proto", "https" if request.tls else "http"),
    )
    for name, value in added:
        single[name] = value
        multi[name] = [value]
    return single, multi


def _query(query: str) -> tuple[dict[str, str] | None, dict[str, list[str]] | None]:
    """A semicolon parts them, too (developer guide, "Important notes for REST APIs")."""
    pairs = parse_qsl(query.replace(";", "&"), keep_blank_values=True)
    multi: dict[str, list[str]] = {}
    for name, value in pairs:
        multi.setdefault(name, []).append(value)
    return dict(pairs) or None, multi or None


def _body(request: HttpRequest, stage: DeployedStage) -> tuple[str | None, bool]:
    """Text, or base64 where the Content-Type is one of the API's binary types. Text that is not UTF-8 loses its
    bad bytes, as it does on AWS."""
    if not request.body:
        return None, False
    if stage.binary and stage.binary.match(request.header("content-type")):
        return base64.b64encode(request.body).decode(), True
    return request.body.decode("utf-8", "replace"), False


_last_second: tuple[int, str] = (-1, "")


def request_time(epoch_s: int) -> str:
    """Common Log Format, `09/Apr/2015:12:34:56 +0000`; computed once a second."""
    global _last_second
    if _last_second[0] != epoch_s:
        year, month, day, hour, minute, second, *_ = time.gmtime(epoch_s)
        text = f"{day:02}/{_MONTHS[month - 1]}/{year}:{hour:02}:{minute:02}:{second:02} +0000"
        _last_second = (epoch_s, text)
    return _last_second[1]
