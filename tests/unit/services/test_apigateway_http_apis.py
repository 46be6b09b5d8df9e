"""HTTP APIs (v2) on a fake Lambda: events, answers, routes, stages, CORS, what is refused."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import pytest
from apigateway_support import ACCOUNT, FUNCTION_ARN, HOST, HttpCloud, header

from preheat.kernel.errors import AwsError


@pytest.fixture
def cloud(tmp_path: Path) -> HttpCloud:
    return HttpCloud(tmp_path)


def test_quick_create_serves_at_once(cloud: HttpCloud) -> None:
    api = cloud.api(Target=FUNCTION_ARN)
    cloud.functions.payload = b'{"hello": "world"}'
    response = cloud.ask(api, "/any/path")
    assert (response.status, response.body) == (200, b'{"hello": "world"}')
    assert header(response, "content-type") == "application/json"
    assert header(response, "apigw-requestid")
    shown = cloud.call("get_api", ApiId=api)
    assert shown["ApiEndpoint"] == f"http://{api}.execute-api.localhost:4566"
    assert cloud.call("get_stages", ApiId=api)["Items"][0]["StageName"] == "$default"


def test_the_event_2_0_key_by_key(cloud: HttpCloud) -> None:
    api = cloud.api()
    cloud.route(api, "POST /pets/{id}")
    cloud.call("create_stage", ApiId=api, StageName="prod", AutoDeploy=True, StageVariables={"model": "v2"})
    headers = [HOST, ("X-Multi", "1"), ("x-multi", "2"), ("Cookie", "a=1; b=2"), ("User-Agent", "t")]
    response = cloud.ask(
        api, "/prod/pets/p%201?q=1&q=2&r=", "POST", headers=[*headers, ("Content-Type", "text/plain")], body=b"text"
    )
    assert (response.status, response.body) == (200, b"ok")
    event = cloud.event()
    context = event.pop("requestContext")
    trace = event["headers"].pop("x-amzn-trace-id")
    assert trace.startswith("Root=1-")
    assert event == {
        "version": "2.0",
        "routeKey": "POST /pets/{id}",
        "rawPath": "/prod/pets/p 1",
        "rawQueryString": "q=1&q=2&r=",
        "cookies": ["a=1", "b=2"],
        "headers": {
            "host": "a1.execute-api.localhost:4566",
            "x-multi": "1,2",
            "user-agent": "t",
            "content-type": "text/plain",
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-port": "4566",
            "x-forwarded-proto": "http",
        },
        "queryStringParameters": {"q": "1,2", "r": ""},
        "pathParameters": {"id": "p 1"},
        "stageVariables": {"model": "v2"},
        "body": "text",
        "isBase64Encoded": False,
    }
    assert abs(context.pop("timeEpoch") / 1000 - time.time()) < 5
    assert context.pop("time")
    assert context.pop("requestId") == header(response, "x-amzn-requestid")
    assert context == {
        "accountId": ACCOUNT,
        "apiId": api,
        "domainName": "a1.execute-api.localhost",
        "domainPrefix": "a1",
        "http": {
            "method": "POST",
            "path": "/prod/pets/p%201",
            "protocol": "HTTP/1.1",
            "sourceIp": "127.0.0.1",
            "userAgent": "t",
        },
        "routeKey": "POST /pets/{id}",
        "stage": "prod",
    }


@pytest.mark.parametrize(
    ("content_type", "body", "expected", "encoded"),
    [
        ("application/json; charset=utf-8", b'{"a": 1}', '{"a": 1}', False),
        ("application/x-www-form-urlencoded", b"a=1", base64.b64encode(b"a=1").decode(), True),
        ("image/png", b"\x89PNG", base64.b64encode(b"\x89PNG").decode(), True),
        ("text/plain", b"\xff", base64.b64encode(b"\xff").decode(), True),
    ],
)
def test_request_bodies(cloud: HttpCloud, content_type: str, body: bytes, expected: str, encoded: bool) -> None:
    api = cloud.api(Target=FUNCTION_ARN)
    cloud.ask(api, "/", "POST", headers=[HOST, ("Content-Type", content_type)], body=body)
    assert (cloud.event()["body"], cloud.event()["isBase64Encoded"]) == (expected, encoded)


@pytest.mark.parametrize(
    ("payload", "status", "body", "headers"),
    [
        (b'{"statusCode": 201, "headers": {"X-A": "b"}, "body": "made"}', 201, b"made", {"X-A": "b"}),
        (b'{"statusCode": "404"}', 404, b"", {"content-type": "application/json"}),
        (b'{"statusCode": 200, "body": "aGk=", "isBase64Encoded": true}', 200, b"hi", {}),
        (b'{"statusCode": 200, "cookies": ["a=1"]}', 200, b"", {"set-cookie": "a=1"}),
        (b'"Hello"', 200, b"Hello", {"content-type": "application/json"}),
        (b"[1, 2]", 200, b"[1, 2]", {}),
        (b"null", 200, b"null", {}),
        (b'{"statusCode": "x"}', 500, b'{"message":"Internal Server Error"}', {}),
        (b'{"statusCode": 200, "headers": {"X": "a\\r\\nY: b"}}', 500, b'{"message":"Internal Server Error"}', {}),
        (b'{"statusCode": 200, "body": "%", "isBase64Encoded": true}', 500, b'{"message":"Internal Server Error"}', {}),
        (b"no JSON", 500, b'{"message":"Internal Server Error"}', {}),
    ],
)
def test_responses_2_0(cloud: HttpCloud, payload: bytes, status: int, body: bytes, headers: dict[str, str]) -> None:
    api = cloud.api(Target=FUNCTION_ARN)
    cloud.functions.payload = payload
    response = cloud.ask(api, "/")
    assert (response.status, response.body) == (status, body)
    for name, value in headers.items():
        assert header(response, name) == value


def test_a_function_error_is_500(cloud: HttpCloud) -> None:
    api = cloud.api(Target=FUNCTION_ARN)
    cloud.functions.function_error = "Unhandled"
    assert (cloud.ask(api, "/").status, cloud.ask(api, "/").body) == (500, b'{"message":"Internal Server Error"}')


def test_a_slow_function_is_503(cloud: HttpCloud) -> None:
    api = cloud.api(Target=FUNCTION_ARN)
    (integration,) = cloud.call("get_integrations", ApiId=api)["Items"]
    cloud.call("update_integration", ApiId=api, IntegrationId=integration["IntegrationId"], TimeoutInMillis=50)
    cloud.functions.behave = lambda future: None
    assert (cloud.ask(api, "/").status, cloud.ask(api, "/").body) == (503, b'{"message":"Service Unavailable"}')


def test_payload_1_0(cloud: HttpCloud) -> None:
    api = cloud.api()
    cloud.route(api, "ANY /pets/{proxy+}", "1.0")
    cloud.call("create_stage", ApiId=api, StageName="$default", AutoDeploy=True)
    cloud.functions.payload = b'{"statusCode": 200, "body": "aGk=", "isBase64Encoded": true}'
    response = cloud.ask(api, "/pets/a/b?q=1&q=2", headers=[HOST, ("X-A", "1"), ("X-A", "2")])
    assert (response.status, response.body) == (200, b"hi")
    event = cloud.event()
    assert (event["version"], event["resource"], event["path"]) == ("1.0", "/pets/{proxy+}", "/pets/a/b")
    assert (event["queryStringParameters"], event["multiValueHeaders"]["X-A"]) == ({"q": "2"}, ["1", "2"])
    assert (event["pathParameters"], event["body"]) == ({"proxy": "a/b"}, None)
    cloud.functions.payload = b'"not a proxy response"'
    assert cloud.ask(api, "/pets/x").status == 500


def test_routes_by_priority_and_stages(cloud: HttpCloud) -> None:
    api = cloud.api()
    for key in ("GET /a/b", "ANY /a/{x}", "GET /{proxy+}", "$default"):
        cloud.route(api, key)
    cloud.call("create_stage", ApiId=api, StageName="$default", AutoDeploy=True)
    expected = {
        ("GET", "/a/b"): "GET /a/b",
        ("POST", "/a/b"): "ANY /a/{x}",
        ("GET", "/c/d"): "GET /{proxy+}",
        ("POST", "/c/d"): "$default",
    }
    for (method, path), key in expected.items():
        assert cloud.ask(api, path, method).status == 200
        assert cloud.event()["routeKey"] == key


def test_without_automatic_deployment_changes_wait(cloud: HttpCloud) -> None:
    api = cloud.api()
    cloud.route(api, "GET /a")
    cloud.call("create_stage", ApiId=api, StageName="prod")
    assert cloud.ask(api, "/prod/a").status == 404
    cloud.call("create_deployment", ApiId=api, StageName="prod")
    assert cloud.ask(api, "/prod/a").status == 200
    cloud.route(api, "GET /b")
    assert cloud.ask(api, "/prod/b").status == 404
    cloud.open()
    assert [cloud.ask(api, path).status for path in ("/prod/a", "/prod/b", "/a")] == [200, 404, 404]
    assert "_snapshot" not in cloud.call("get_deployments", ApiId=api)["Items"][0]


def test_cors(cloud: HttpCloud) -> None:
    cors = {
        "AllowOrigins": ["http://ok.example"],
        "AllowMethods": ["GET", "POST"],
        "AllowHeaders": ["x-a"],
        "ExposeHeaders": ["x-b"],
        "MaxAge": 60,
        "AllowCredentials": True,
    }
    api = cloud.api(Target=FUNCTION_ARN, CorsConfiguration=cors)
    preflight = [HOST, ("Origin", "http://ok.example"), ("Access-Control-Request-Method", "POST")]
    response = cloud.ask(api, "/", "OPTIONS", headers=preflight)
    assert (response.status, response.body, cloud.functions.invocations) == (204, b"", [])
    got = {name.lower(): value for name, value in response.headers if name.lower().startswith("access")}
    assert got == {
        "access-control-allow-origin": "http://ok.example",
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET,POST",
        "access-control-allow-headers": "x-a",
        "access-control-max-age": "60",
    }
    cloud.functions.payload = b'{"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "*"}}'
    for origin, allowed in (("http://ok.example", "http://ok.example"), ("http://evil.example", None)):
        response = cloud.ask(api, "/", headers=[HOST, ("Origin", origin)])
        assert header(response, "access-control-allow-origin") == allowed
    cloud.call("update_api", ApiId=api, DisableExecuteApiEndpoint=True)
    assert cloud.ask(api, "/").status == 404
    cloud.call("update_api", ApiId=api, DisableExecuteApiEndpoint=False)
    cloud.call("delete_cors_configuration", ApiId=api)
    assert header(cloud.ask(api, "/"), "access-control-allow-origin") == "*"


def test_refusals(cloud: HttpCloud) -> None:
    api = cloud.api(Target=FUNCTION_ARN)
    integration = cloud.call("get_integrations", ApiId=api)["Items"][0]["IntegrationId"]
    refused: list[tuple[int, str, dict[str, Any]]] = [
        (404, "get_api", {"ApiId": "no"}),
        (404, "get_route", {"RouteId": "no"}),
        (501, "create_api", {"ProtocolType": "WEBSOCKET", "Name": "w"}),
        (400, "create_route", {"RouteKey": "FETCH /x"}),
        (409, "create_route", {"RouteKey": "$default"}),
        (400, "create_route", {"RouteKey": "GET /x", "Target": "integrations/no"}),
        (501, "create_route", {"RouteKey": "GET /x", "AuthorizationType": "AWS_IAM"}),
        (400, "create_route", {"RouteKey": "GET /x", "AuthorizationType": "JWT"}),
        (400, "create_integration", {"IntegrationType": "MOCK"}),
        (400, "create_integration", {"IntegrationType": "AWS_PROXY", "IntegrationUri": "x"}),
        (
            400,
            "create_integration",
            {"IntegrationType": "HTTP_PROXY", "IntegrationMethod": "GET", "IntegrationUri": "example.com"},
        ),
        (400, "delete_integration", {"IntegrationId": integration}),
        (409, "create_stage", {"StageName": "$default"}),
        (400, "create_stage", {"StageName": "a b"}),
        (400, "create_deployment", {"StageName": "$default"}),
        (
            501,
            "create_authorizer",
            {
                "Name": "a",
                "AuthorizerType": "JWT",
                "IdentitySource": ["$request.header.Authorization"],
                "JwtConfiguration": {"Issuer": "https://example.com", "Audience": ["a"]},
            },
        ),
    ]
    for status, operation, params in refused:
        with pytest.raises(AwsError) as raised:
            cloud.call(operation, **{"ApiId": api, **params})
        assert raised.value.status == status, operation
