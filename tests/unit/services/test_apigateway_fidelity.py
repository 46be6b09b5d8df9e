"""The fidelity sheet's section "API Gateway REST" as a table: one row for each of its statements, and its faults 10 to
12 as far as they are the gateway's (through a whole server: tests/e2e/test_apigateway_openapi.py)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from apigateway_support import Cloud, header, invoke_uri

from preheat.kernel.function import InvokeResult
from preheat.kernel.http import HttpRequest, HttpResponse

EVENT_KEYS = [
    "resource",
    "path",
    "httpMethod",
    "headers",
    "multiValueHeaders",
    "queryStringParameters",
    "multiValueQueryStringParameters",
    "pathParameters",
    "stageVariables",
    "requestContext",
    "body",
    "isBase64Encoded",
]
HOST = ("Host", "127.0.0.1:4566")
Row = tuple[str, Callable[[Cloud], Any], Any]


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def event(cloud: Cloud, path: str = "/x", **parts: Any) -> Any:
    cloud.request(cloud.proxy(), path, **parts)
    return json.loads(cloud.functions.invocations[-1].payload)


def answered(payload: bytes, **api: Any) -> Callable[[Cloud], tuple[int, bytes]]:
    """(status, body) of what a proxy function's payload becomes for a client that accepts PNG."""

    def ask(cloud: Cloud) -> tuple[int, bytes]:
        cloud.functions.payload = payload
        response = cloud.request(cloud.proxy(**api), headers=[HOST, ("Accept", "image/png")])
        return response.status, response.body

    return ask


def refused(response: HttpResponse) -> tuple[int, str, str | None]:
    return response.status, response.body.decode(), header(response, "x-amzn-errortype")


def unknown(path: str, method: str) -> Callable[[Cloud], Any]:
    def ask(cloud: Cloud) -> Any:
        api = cloud.api()
        cloud.method(api, "/known", "POST")
        cloud.deploy(api)
        return refused(cloud.request(api, path, method=method))

    return ask


def custom(answer: bytes, error: str | None, **response: Any) -> Callable[[Cloud], tuple[int, bytes]]:
    """(status, body) of a non-proxy method with a default response and one more."""

    def ask(cloud: Cloud) -> tuple[int, bytes]:
        api = cloud.api()
        resource = cloud.method(api, "/x", type="AWS", integrationHttpMethod="POST", uri=invoke_uri())
        names = {"restApiId": api, "resourceId": resource, "httpMethod": "ANY"}
        for one in ({"statusCode": "200"}, {"statusCode": "400", **response}):
            cloud.call("put_method_response", **names, statusCode=one["statusCode"])
            cloud.call("put_integration_response", **names, **one)
        cloud.deploy(api)
        cloud.functions.payload, cloud.functions.function_error = answer, error
        got = cloud.request(api)
        return got.status, got.body

    return ask


def slow(cloud: Cloud) -> Any:
    api = cloud.api()
    uri = invoke_uri()
    cloud.method(api, "/x", type="AWS_PROXY", integrationHttpMethod="POST", uri=uri, timeoutInMillis=50)
    cloud.deploy(api)
    waiting: list[asyncio.Future[InvokeResult]] = []
    cloud.functions.behave = waiting.append

    async def ask() -> tuple[HttpResponse, bool]:
        response = await cloud.send(HttpRequest("GET", f"/_aws/execute-api/{api}/default/x", headers=[HOST]))
        (future,) = waiting
        running = not future.cancelled()
        cloud.functions.answer(future)
        return response, running

    response, still_running = asyncio.run(ask())
    return (*refused(response)[:2], still_running)


def guarded(kind: str) -> Callable[[Cloud], Any]:
    def ask(cloud: Cloud) -> Any:
        api = cloud.api()
        names = {"restApiId": api, "resourceId": cloud.method(api, "/x"), "httpMethod": "ANY"}
        replace = {"op": "replace", "path": "/apiKeyRequired", "value": "true"}
        cloud.call("update_method", **names, patchOperations=[replace])
        cloud.deploy(api)
        limits: dict[str, Any] = {
            "throttled": {"throttle": {"rateLimit": 0.001, "burstLimit": 1}},
            "quota": {"quota": {"limit": 1, "period": "DAY"}},
        }.get(kind, {})
        plan = cloud.call("create_usage_plan", name="p", apiStages=[{"apiId": api, "stage": "default"}], **limits)["id"]
        key = cloud.call("create_api_key", enabled=True)
        cloud.call("create_usage_plan_key", usagePlanId=plan, keyId=key["id"], keyType="API_KEY")
        value = "wrong" * 5 if kind == "bad key" else key["value"]
        for _ in range(2):
            response = cloud.request(api, headers=[HOST, ("x-api-key", value)])
        return refused(response)[:2]

    return ask


def validated(body: bytes) -> Callable[[Cloud], Any]:
    def ask(cloud: Cloud) -> Any:
        api = cloud.api()
        names = {"restApiId": api, "resourceId": cloud.method(api, "/x"), "httpMethod": "ANY"}
        validator = cloud.call(
            "create_request_validator", restApiId=api, validateRequestBody=True, validateRequestParameters=True
        )["id"]
        model = {"name": "M", "contentType": "application/json", "schema": '{"type": "object"}'}
        cloud.call("create_model", restApiId=api, **model)
        changes = {
            "/requestValidatorId": validator,
            "/requestModels/application~1json": "M",
            **({} if body else {f"/requestParameters/method.request.querystring.{name}": "true" for name in "xy"}),
        }
        operations = [{"op": "replace", "path": path, "value": value} for path, value in changes.items()]
        cloud.call("update_method", **names, patchOperations=operations)
        cloud.deploy(api)
        return refused(cloud.request(api, method="POST", body=body))[:2]

    return ask


def posted(body: bytes) -> Callable[[Cloud], int]:
    return lambda cloud: cloud.request(cloud.proxy(), method="POST", body=body).status


def asked(path: str) -> Callable[[Cloud], int]:
    return lambda cloud: cloud.request(cloud.proxy(), path).status


def reached(form: str) -> Callable[[Cloud], int]:
    def ask(cloud: Cloud) -> int:
        api = cloud.proxy("/{proxy+}", "prod")
        path = form.partition(" ")[0].format(id=api)
        host = form.partition(" ")[2].format(id=api) or "127.0.0.1:4566"
        request = HttpRequest("GET", path, headers=[("Host", host)])
        return asyncio.run(cloud.send(request)).status

    return ask


INTERNAL = (502, b'{"message":"Internal server error"}')
UNKNOWN = (403, '{"message":"Missing Authentication Token"}', "MissingAuthenticationTokenException")
PNG = b'{"body": "iVBORw==", "isBase64Encoded": true}'

TABLE: list[Row] = [
    ("event keys", lambda cloud: list(event(cloud)), EVENT_KEYS),
    (
        "absent maps are null",
        lambda cloud: [event(cloud)[key] for key in ("queryStringParameters", "stageVariables", "body")],
        [None, None, None],
    ),
    ("header casing kept", lambda cloud: event(cloud, headers=[HOST, ("x-OWN", "v")])["headers"]["x-OWN"], "v"),
    ("the context's path includes the stage", lambda cloud: event(cloud)["requestContext"]["path"], "/default/x"),
    (
        "the last query value wins",
        lambda cloud: [
            event(cloud, "/x?q=1&q=2")[key] for key in ("queryStringParameters", "multiValueQueryStringParameters")
        ],
        [{"q": "2"}, {"q": ["1", "2"]}],
    ),
    ("unknown key", answered(b'{"statusCode": 200, "x": 1}'), INTERNAL),
    ("non-list multiValueHeaders", answered(b'{"multiValueHeaders": {"a": "b"}}'), INTERNAL),
    ("non-numeric statusCode", answered(b'{"statusCode": "x"}'), INTERNAL),
    ("bare string", answered(b'"x"'), INTERNAL),
    ("{} is 200 and empty", answered(b"{}"), (200, b"")),
    ('"201" is accepted', answered(b'{"statusCode": "201"}'), (201, b"")),
    ("base64 is decoded where Accept matches", answered(PNG, binaryMediaTypes=["image/png"]), (200, b"\x89PNG")),
    ("base64 is not decoded elsewhere", answered(PNG), (200, b"iVBORw==")),
    (
        "application/json is the default type",
        lambda cloud: header(cloud.request(cloud.proxy()), "content-type"),
        "application/json",
    ),
    ("unknown path", unknown("/other", "POST"), UNKNOWN),
    ("unknown method", unknown("/known", "GET"), UNKNOWN),
    ("bad key", guarded("bad key"), (403, '{"message":"Forbidden"}')),
    ("throttled", guarded("throttled"), (429, '{"message":"Too Many Requests"}')),
    ("quota", guarded("quota"), (429, '{"message":"Limit Exceeded"}')),
    ("too slow, and the function completes", slow, (504, '{"message":"Endpoint request timed out"}', True)),
    (
        "over 10 MB",
        lambda cloud: cloud.request(cloud.proxy(), method="POST", body=b"x" * (10 * 2**20 + 1)).status,
        413,
    ),
    ("missing parameters", validated(b""), (400, '{"message":"Missing required request parameters: [x, y]"}')),
    ("invalid body", validated(b"[]"), (400, '{"message":"Invalid request body"}')),
    (
        "response headers",
        lambda cloud: [
            bool(header(cloud.request(cloud.proxy()), name))
            for name in ("x-amzn-RequestId", "x-amz-apigw-id", "X-Amzn-Trace-Id")
        ],
        [True, True, True],
    ),
    (
        "selectionPattern matches errorMessage",
        custom(b'{"errorMessage": "bad x"}', "Unhandled", selectionPattern="bad.*"),
        (400, b'{"errorMessage": "bad x"}'),
    ),
    (
        "unmapped function errors are 200",
        custom(b'{"errorMessage": "other"}', "Unhandled", selectionPattern="bad.*"),
        (200, b'{"errorMessage": "other"}'),
    ),
    (
        "$input.path prints objects as Java does",
        custom(
            b'{"errorMessage": "bad", "o": {"foo": "bar"}}',
            "Unhandled",
            selectionPattern="bad",
            responseTemplates={"application/json": "$input.path('$.o')"},
        ),
        (400, b"{foo=bar}"),
    ),
    ("fault 10: 7 MB payload", posted(b"x" * 7_000_000), 413),
    ("fault 10: malformed JSON", validated(b'{"a":'), (400, '{"message":"Invalid request body"}')),
    ("fault 11: CRLF in a header", answered(b'{"headers": {"a": "b\\r\\nSet-Cookie: c"}}'), INTERNAL),
    ("fault 11: CRLF in a header's name", answered(b'{"headers": {"a\\r\\nb": "c"}}'), INTERNAL),
    ("fault 12: %2e%2e", asked("/%2e%2e/x"), 400),
    ("fault 12: a dot segment", asked("/../x"), 400),
    ("fault 12: %00", asked("/x%00"), 400),
    ("fault 12: // within a path", unknown("/known//x", "POST"), UNKNOWN),
    ("URL form 1", reached("/restapis/{id}/prod/_user_request_/x"), 200),
    ("URL form 2", reached("/_aws/execute-api/{id}/prod/x"), 200),
    ("URL form 3", reached("/prod/x {id}.execute-api.localhost:4566"), 200),
    ("URL form 3, AWS's own domain", reached("/prod/x {id}.execute-api.us-east-1.amazonaws.com"), 200),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(row[0]))
def test_the_sheet(cloud: Cloud, row: Row) -> None:
    _, found, expected = row
    assert found(cloud) == expected


def test_missing_authentication_token_is_42_bytes() -> None:
    assert len(UNKNOWN[1]) == 42
