"""HTTP APIs (v2) and function URLs on a fake Lambda."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from apigateway_support import ACCOUNT, FUNCTION_ARN, HOST, FakeLambda, HttpCloud, invoke_uri

from preheat.kernel.errors import AwsError
from preheat.kernel.function import FunctionUrl, FunctionVersion, InvokeResult
from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.services.apigateway.lambdas import Lambdas
from preheat.services.apigateway.v2.function_urls import FunctionUrls


@pytest.fixture
def cloud(tmp_path: Path) -> HttpCloud:
    return HttpCloud(tmp_path)


def header(response: HttpResponse, name: str) -> str | None:
    return next((value for key, value in response.headers if key.lower() == name.lower()), None)


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


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """(issuer's URL, signing key)"""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from jwt.algorithms import RSAAlgorithm

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    document = json.loads(RSAAlgorithm.to_jwk(key.public_key())) | {"kid": "k1", "use": "sig", "alg": "RS256"}
    path = tmp_path_factory.mktemp("jwks") / "jwks.json"
    path.write_text(json.dumps({"keys": [document]}))
    return f"file://{path}", key


def token(key: Any, **claims: Any) -> str:
    import jwt

    given = {"aud": "me", "sub": "user", "exp": int(time.time()) + 60, **claims}
    kept = {name: value for name, value in given.items() if value is not None}
    return jwt.encode(kept, key, algorithm="RS256", headers={"kid": "k1"})


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"scope": "read write"}, 200),
        ({"scp": ["write"]}, 200),
        ({"aud": None, "client_id": "me", "scope": "read"}, 200),
        ({"scope": "other"}, 403),
        ({}, 403),
        ({"aud": "you", "scope": "read"}, 401),
        ({"exp": 1, "scope": "read"}, 401),
        ({"exp": None, "scope": "read"}, 401),
        ({"iss": "http://other", "scope": "read"}, 401),
        ({"nbf": 99999999999, "scope": "read"}, 401),
    ],
)
def test_jwt(cloud: HttpCloud, issuer: tuple[str, Any], claims: dict[str, Any], status: int) -> None:
    api = guarded(cloud, issuer[0])
    signed = token(issuer[1], **{"iss": issuer[0], **claims})
    response = cloud.ask(api, "/x", headers=[HOST, ("Authorization", f"Bearer {signed}")])
    assert response.status == status
    if status == 200:
        authorizer = cloud.event()["requestContext"]["authorizer"]["jwt"]
        assert authorizer["claims"]["sub"] == "user"
        assert set(authorizer["scopes"]) <= {"read", "write"}
    else:
        assert not cloud.functions.invocations


@pytest.mark.parametrize("given", [None, "nonsense", "Bearer a.b.c", "Bearer eyJhbGciOiJub25lIn0.e30."])
def test_no_good_token(cloud: HttpCloud, issuer: tuple[str, Any], given: str | None) -> None:
    headers = [HOST, *([("Authorization", given)] if given else [])]
    response = cloud.ask(guarded(cloud, issuer[0]), "/x", headers=headers)
    assert (response.status, response.body) == (401, b'{"message":"Unauthorized"}')


def guarded(cloud: HttpCloud, issuer_url: str) -> str:
    api = cloud.api()
    authorizer = cloud.call(
        "create_authorizer",
        ApiId=api,
        Name="j",
        AuthorizerType="JWT",
        IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={"Issuer": issuer_url, "Audience": ["me"]},
    )
    cloud.route(
        api,
        "GET /x",
        AuthorizationType="JWT",
        AuthorizerId=authorizer["AuthorizerId"],
        AuthorizationScopes=["read", "write"],
    )
    cloud.call("create_stage", ApiId=api, StageName="$default", AutoDeploy=True)
    return api


def authorized(cloud: HttpCloud, answer: Any, **authorizer: Any) -> str:
    """An API whose route asks the function `auth` first, which answers this."""

    def behave(future: Any) -> None:
        if cloud.functions.functions[-1].name == "auth":
            future.set_result(InvokeResult(json.dumps(answer).encode(), None, "$LATEST", "r"))
        else:
            cloud.functions.answer(future)

    cloud.functions.behave = behave
    api = cloud.api()
    made = cloud.call(
        "create_authorizer",
        ApiId=api,
        **{
            "Name": "a",
            "AuthorizerType": "REQUEST",
            "AuthorizerUri": invoke_uri(f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:auth"),
            "AuthorizerPayloadFormatVersion": "2.0",
            "EnableSimpleResponses": True,
            "IdentitySource": ["$request.header.Authorization"],
            **authorizer,
        },
    )
    cloud.route(api, "GET /pets/{id}", AuthorizationType="CUSTOM", AuthorizerId=made["AuthorizerId"])
    cloud.call("create_stage", ApiId=api, StageName="prod", AutoDeploy=True)
    return api


WITH_TOKEN = [HOST, ("Authorization", "t")]
ALLOW = {"Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*/prod/GET/pets/*"}]}


def test_a_lambda_authorizer(cloud: HttpCloud) -> None:
    api = authorized(cloud, {"isAuthorized": True, "context": {"tier": "gold", "n": 1}})
    assert cloud.ask(api, "/prod/pets/1").status == 401
    assert not cloud.functions.invocations
    assert cloud.ask(api, "/prod/pets/1", headers=WITH_TOKEN).status == 200
    asked, served = (json.loads(one.payload) for one in cloud.functions.invocations)
    arn = f"arn:aws:execute-api:us-east-1:{ACCOUNT}:{api}/prod/GET/pets/1"
    assert (asked["type"], asked["routeArn"], asked["identitySource"]) == ("REQUEST", arn, ["t"])
    assert (asked["version"], asked["pathParameters"], "body" in asked) == ("2.0", {"id": "1"}, False)
    assert served["requestContext"]["authorizer"] == {"lambda": {"tier": "gold", "n": 1}}


@pytest.mark.parametrize(
    ("answer", "authorizer", "status"),
    [
        ({"isAuthorized": False}, {}, 403),
        ({"isAuthorized": "yes"}, {}, 500),
        ([1], {}, 500),
        ({"policyDocument": ALLOW}, {"EnableSimpleResponses": False}, 200),
        ({"policyDocument": ALLOW}, {"EnableSimpleResponses": False, "AuthorizerPayloadFormatVersion": "1.0"}, 200),
        ({"policyDocument": {"Statement": []}}, {"EnableSimpleResponses": False}, 403),
        ({"isAuthorized": True}, {"EnableSimpleResponses": False}, 500),
        ({"isAuthorized": True}, {"IdentitySource": ["$request.querystring.q"]}, 401),
    ],
)
def test_what_a_lambda_authorizer_says(cloud: HttpCloud, answer: Any, authorizer: dict[str, Any], status: int) -> None:
    assert cloud.ask(authorized(cloud, answer, **authorizer), "/prod/pets/1", headers=WITH_TOKEN).status == status


def test_a_lambda_authorizers_cache(cloud: HttpCloud) -> None:
    api = authorized(cloud, {"isAuthorized": True}, AuthorizerResultTtlInSeconds=60)
    for _ in range(3):
        assert cloud.ask(api, "/prod/pets/1", headers=WITH_TOKEN).status == 200
    assert [one.name for one in cloud.functions.functions].count("auth") == 1


def test_everything_survives_a_restart(cloud: HttpCloud, issuer: tuple[str, Any]) -> None:
    api = guarded(cloud, issuer[0])
    reads = ("get_routes", "get_integrations", "get_stages", "get_authorizers", "get_api")
    before = [cloud.call(read, ApiId=api) for read in reads]
    cloud.open()
    assert [cloud.call(read, ApiId=api) for read in reads] == before
    cloud.call("delete_api", ApiId=api)
    cloud.open()
    assert cloud.call("get_apis") == {"Items": []}


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


# function URLs


class Urls:
    def __init__(self, functions: FakeLambda, **url: Any) -> None:
        given = {"url_id": "u1", "function_arn": FUNCTION_ARN, "auth_type": "NONE", "invoke_mode": "BUFFERED", **url}
        self._found = functions.resolve("iris"), FunctionUrl(**given)

    def lookup_url(self, url_id: str) -> tuple[FunctionVersion, FunctionUrl] | None:
        return self._found if url_id == "u1" else None


def visit(functions: FakeLambda, request: HttpRequest, **url: Any) -> HttpResponse:
    plane = FunctionUrls(Urls(functions, **url), Lambdas(functions, functions))

    async def ask() -> HttpResponse:
        target = plane.match(request)
        assert target is not None
        answered: asyncio.Future[HttpResponse] = asyncio.get_running_loop().create_future()
        plane.serve(request, target, answered.set_result)
        return await answered

    return asyncio.run(ask())


URL_HOST = ("Host", "u1.lambda-url.us-east-1.localhost:4566")


@pytest.mark.parametrize(
    "request_",
    [HttpRequest("GET", "/a/b", "q=1", [URL_HOST]), HttpRequest("GET", "/_aws/lambda-url/u1/a/b", "q=1", [HOST])],
    ids=["host", "path"],
)
def test_a_function_url(request_: HttpRequest) -> None:
    functions = FakeLambda()
    functions.payload = b'{"statusCode": 202, "body": "hi", "cookies": ["a=1"]}'
    response = visit(functions, request_)
    assert (response.status, response.body, header(response, "set-cookie")) == (202, b"hi", "a=1")
    event = json.loads(functions.invocations[0].payload)
    assert (event["version"], event["rawPath"], event["rawQueryString"]) == ("2.0", "/a/b", "q=1")
    assert (event["requestContext"]["accountId"], event["requestContext"]["apiId"]) == ("anonymous", "u1")
    assert functions.invocations[0].gateway_request_id == header(response, "x-amzn-requestid")


def test_function_urls_refuse() -> None:
    functions = FakeLambda()
    other = HttpRequest("GET", "/", "", [("Host", "no.lambda-url.us-east-1.localhost")])
    assert visit(functions, other).status == 403
    plain = HttpRequest("GET", "/", "", [URL_HOST])
    response = visit(functions, plain, auth_type="AWS_IAM")
    assert (response.status, response.body) == (403, b'{"Message":"Forbidden"}')
    signed = HttpRequest("GET", "/", "", [URL_HOST, ("Authorization", "AWS4-HMAC-SHA256 Credential=x")])
    assert visit(functions, signed, auth_type="AWS_IAM").status == 200
    functions.function_error = "Unhandled"
    assert (visit(functions, plain).status, visit(functions, plain).body) == (502, b"Internal Server Error")
    functions.behave = lambda future: future.set_exception(AwsError("TooManyRequestsException", "x", 429))
    assert visit(functions, plain).status == 429


def test_function_url_cors() -> None:
    functions = FakeLambda()
    cors = {"AllowOrigins": ["*"], "AllowMethods": ["*"], "MaxAge": 1}
    preflight = [URL_HOST, ("Origin", "http://x"), ("Access-Control-Request-Method", "PUT")]
    response = visit(functions, HttpRequest("OPTIONS", "/", "", preflight), cors=cors)
    assert (response.status, header(response, "access-control-allow-origin")) == (204, "*")
    assert not functions.invocations
    response = visit(functions, HttpRequest("GET", "/", "", [URL_HOST, ("Origin", "http://x")]), cors=cors)
    assert (response.status, header(response, "access-control-allow-origin")) == (200, "*")
