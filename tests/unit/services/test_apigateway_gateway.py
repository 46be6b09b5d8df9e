"""The data plane on a fake Lambda: recognising requests, the proxy event to the key, and every way to fail."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from apigateway_support import ACCOUNT, FUNCTION_ARN, Cloud, invoke_uri

from preheat.kernel.errors import AwsError
from preheat.kernel.function import InvokeResult
from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.services.apigateway.gateway import Target

INTERNAL = b'{"message":"Internal server error"}'


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def header(response: HttpResponse, name: str) -> str | None:
    values = [value for key, value in response.headers if key.lower() == name.lower()]
    assert len(values) <= 1
    return values[0] if values else None


def event(cloud: Cloud) -> Any:
    return json.loads(cloud.functions.invocations[-1].payload)


@pytest.mark.parametrize(
    ("path", "host", "expected"),
    [
        ("/restapis/a1/prod/_user_request_/x/y", "h", Target("a1", "prod", "/x/y")),
        ("/restapis/a1/prod/_user_request_", "h", Target("a1", "prod", "")),
        ("/restapis/a1/prod/_user_request_/", "h", Target("a1", "prod", "/")),
        ("/restapis/a1/stages/prod", "h", None),
        ("/restapis", "h", None),
        ("/_aws/execute-api/a1/prod/x", "h", Target("a1", "prod", "/x")),
        ("/_aws/execute-api/a1/prod", "h", Target("a1", "prod", "")),
        ("/_aws/execute-api/a1", "h", Target("a1", "", "")),
        ("/_aws/execute-api/", "h", None),
        ("/prod/x", "a1.execute-api.localhost:4566", Target("a1", "prod", "/x")),
        ("/prod//x", "A1.execute-api.us-east-1.amazonaws.com", Target("a1", "prod", "//x")),
        ("//prod/x", "a1.execute-api.localhost", Target("a1", "prod", "/x")),
        ("/", "a1.execute-api.localhost", Target("a1", "", "")),
        ("/prod/x", "localhost:4566", None),
    ],
)
def test_match(cloud: Cloud, path: str, host: str, expected: Target | None) -> None:
    assert cloud.gateway.match(HttpRequest("GET", path, headers=[("Host", host)])) == expected


def test_the_event_key_by_key(cloud: Cloud) -> None:
    api = cloud.api()
    resource = cloud.method(api, "/{proxy+}")
    deployment = cloud.deploy(api, "prod", variables={"model": "v2"})
    response = cloud.request(
        api,
        "/a%2Bb/c+d/?q=1&q=two+words&e=&p=%2B",
        stage="prod",
        method="POST",
        body=b'{"values": [1]}',
        client_host="127.0.0.9",
        headers=[
            ("host", "127.0.0.1:4566"),
            ("user-Agent", "t/1"),
            ("aUThorization", "secret"),
            ("tEsT-HEADeR", "a"),
            ("tEsT-HEADeR", "b"),
            ("Connection", "keep-alive"),
            ("Content-Length", "15"),
            ("X-Forwarded-For", "10.0.0.1"),
        ],
    )
    assert response.status == 200
    got = event(cloud)
    context = got["requestContext"]
    trace = got["headers"]["X-Amzn-Trace-Id"]
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}", trace)
    headers = {
        "Host": "127.0.0.1:4566",
        "User-Agent": "t/1",
        "Authorization": "secret",
        "tEsT-HEADeR": "b",
        "X-Amzn-Trace-Id": trace,
        "X-Forwarded-For": "10.0.0.1, 127.0.0.9",
        "X-Forwarded-Port": "4566",
        "X-Forwarded-Proto": "http",
    }
    request_time, epoch_ms = context.pop("requestTime"), context.pop("requestTimeEpoch")
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", request_time)
    assert isinstance(epoch_ms, int)
    nulls = "accessKey accountId caller cognitoAuthenticationProvider cognitoAuthenticationType cognitoIdentityId"
    identity = dict.fromkeys(f"{nulls} cognitoIdentityPoolId principalOrgId user userArn".split())
    assert got == {
        "resource": "/{proxy+}",
        "path": "/a%2Bb/c+d/",
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": {**{name: [value] for name, value in headers.items()}, "tEsT-HEADeR": ["a", "b"]},
        "queryStringParameters": {"q": "two words", "e": "", "p": "+"},
        "multiValueQueryStringParameters": {"q": ["1", "two words"], "e": [""], "p": ["+"]},
        "pathParameters": {"proxy": "a%2Bb/c+d"},
        "stageVariables": {"model": "v2"},
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": api,
            "deploymentId": deployment,
            "domainName": "127.0.0.1",
            "domainPrefix": api,
            "extendedRequestId": header(response, "x-amz-apigw-id"),
            "httpMethod": "POST",
            "identity": {**identity, "sourceIp": "127.0.0.9", "userAgent": "t/1"},
            "path": "/prod/a%2Bb/c+d/",
            "protocol": "HTTP/1.1",
            "requestId": header(response, "x-amzn-RequestId"),
            "resourceId": resource,
            "resourcePath": "/{proxy+}",
            "stage": "prod",
        },
        "body": '{"values": [1]}',
        "isBase64Encoded": False,
    }


def test_absent_maps_are_null(cloud: Cloud) -> None:
    cloud.request(cloud.proxy("/hardcoded"), "//hardcoded")
    got = event(cloud)
    absent = ("queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "stageVariables", "body")
    assert [got[name] for name in absent] == [None] * 5
    assert got["path"] == "/hardcoded"
    assert got["requestContext"]["path"] == "/default//hardcoded"
    assert got["requestContext"]["identity"]["userAgent"] is None


def test_the_root_resource(cloud: Cloud) -> None:
    cloud.request(cloud.proxy("/"), "")
    assert (event(cloud)["path"], event(cloud)["requestContext"]["path"]) == ("/", "/default")


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("image/png", b"\x89\xff", (base64.b64encode(b"\x89\xff").decode(), True)),
        ("text/plain", b"plain", ("plain", False)),
        ("text/plain", b"\xffx", ("\ufffdx", False)),
    ],
)
def test_request_bodies(cloud: Cloud, content_type: str, body: bytes, expected: tuple[str, bool]) -> None:
    api = cloud.proxy(binaryMediaTypes=["image/*"])
    cloud.request(api, method="POST", body=body, headers=[("Content-Type", content_type)])
    assert (event(cloud)["body"], event(cloud)["isBase64Encoded"]) == expected


def test_the_invocation_and_the_response_headers(cloud: Cloud) -> None:
    cloud.functions.payload = b'{"statusCode": 201, "headers": {"a": "b"}, "body": "done"}'
    response = cloud.request(cloud.proxy(), received_ns=77)
    (invocation,) = cloud.functions.invocations
    request_id = header(response, "x-amzn-RequestId")
    assert uuid.UUID(request_id).version == uuid.UUID(invocation.request_id).version == 4
    assert request_id != invocation.request_id
    assert (invocation.gateway_request_id, invocation.received_ns) == (request_id, 77)
    assert invocation.invoked_arn == FUNCTION_ARN
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", invocation.trace_id)
    assert header(response, "X-Amzn-Trace-Id") == invocation.trace_id
    assert len(base64.b64decode(header(response, "x-amz-apigw-id") or "")) == 11
    assert (response.status, response.body, header(response, "a")) == (201, b"done", "b")
    assert header(response, "Content-Type") == "application/json"


def test_a_trace_is_carried_through(cloud: Cloud) -> None:
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    response = cloud.request(cloud.proxy(), headers=[("x-amzn-trace-id", trace)])
    assert cloud.functions.invocations[0].trace_id == header(response, "X-Amzn-Trace-Id") == trace
    assert event(cloud)["multiValueHeaders"]["X-Amzn-Trace-Id"] == [trace]


@pytest.mark.parametrize(
    ("path", "method", "status", "error_type", "body"),
    [
        ("/nowhere", "GET", 403, "MissingAuthenticationTokenException", b'{"message":"Missing Authentication Token"}'),
        ("/x", "DELETE", 403, "MissingAuthenticationTokenException", b'{"message":"Missing Authentication Token"}'),
        ("/x/%2e%2e/y", "GET", 400, "BadRequestException", b'{"message":"Bad Request"}'),
        ("/x/../y", "GET", 400, "BadRequestException", b'{"message":"Bad Request"}'),
        ("/x/%00", "GET", 400, "BadRequestException", b'{"message":"Bad Request"}'),
        ("/x/...", "GET", 403, "MissingAuthenticationTokenException", b'{"message":"Missing Authentication Token"}'),
    ],
)
def test_refused_paths(cloud: Cloud, path: str, method: str, status: int, error_type: str, body: bytes) -> None:
    api = cloud.api()
    cloud.method(api, "/x", "GET")
    cloud.deploy(api)
    response = cloud.request(api, path, method=method)
    assert (response.status, response.body) == (status, body)
    assert header(response, "x-amzn-ErrorType") == error_type
    assert header(response, "Content-Type") == "application/json"
    assert header(response, "x-amzn-RequestId")
    assert header(response, "x-amz-apigw-id")
    assert cloud.functions.invocations == []


@pytest.mark.parametrize(("api", "stage"), [(None, "other"), ("nosuchapi0", "default"), (None, "")])
def test_no_such_api_or_stage(cloud: Cloud, api: str | None, stage: str) -> None:
    response = cloud.request(api or cloud.proxy(), stage=stage)
    assert (response.status, response.body) == (403, b'{"message":"Forbidden"}')


def test_function_errors_and_malformed_answers_are_502(cloud: Cloud) -> None:
    api = cloud.proxy()
    cloud.functions.payload = b'"a string"'
    malformed = cloud.request(api)
    cloud.functions.payload, cloud.functions.function_error = b'{"errorMessage": "x"}', "Unhandled"
    raised = cloud.request(api)
    for response in (malformed, raised):
        assert (response.status, response.body) == (502, INTERNAL)
        assert header(response, "x-amzn-ErrorType") == "InternalServerErrorException"


def test_a_body_that_is_no_base64_is_500(cloud: Cloud) -> None:
    api = cloud.proxy(binaryMediaTypes=["*/*"])
    cloud.functions.payload = b'{"body": "?", "isBase64Encoded": true}'
    assert cloud.request(api).status == 500


def throttled(future: asyncio.Future[InvokeResult]) -> None:
    future.set_exception(AwsError("TooManyRequestsException", "Rate Exceeded.", 429))


def refused(future: asyncio.Future[InvokeResult]) -> None:
    future.cancel()
    raise AwsError("TooManyRequestsException", "Rate Exceeded.", 429)


def broken(future: asyncio.Future[InvokeResult]) -> None:
    future.set_exception(RuntimeError("a bug"))


def cancelled(future: asyncio.Future[InvokeResult]) -> None:
    future.cancel()


@pytest.mark.parametrize("behave", [throttled, refused, broken, cancelled])
def test_what_never_reached_the_function_is_500(cloud: Cloud, behave: Any, caplog: pytest.LogCaptureFixture) -> None:
    api = cloud.proxy()
    cloud.functions.behave = behave
    with caplog.at_level(logging.ERROR):
        response = cloud.request(api)
    assert (response.status, response.body) == (500, INTERNAL)
    assert header(response, "x-amzn-ErrorType") == "InternalServerErrorException"
    assert bool(caplog.records) == (behave is broken)


@pytest.mark.parametrize(
    "integration",
    [
        {"uri": invoke_uri(f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:missing")},
        {"uri": invoke_uri("${stageVariables.undefined}")},
        {"integrationHttpMethod": "GET"},
    ],
)
def test_an_unusable_integration_is_500(cloud: Cloud, integration: dict[str, str]) -> None:
    api = cloud.api()
    proxy = {"type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": invoke_uri()}
    cloud.method(api, "/x", **{**proxy, **integration})
    cloud.deploy(api)
    assert cloud.request(api).status == 500


def test_stage_variables_name_the_function(cloud: Cloud) -> None:
    api = cloud.api()
    uri = invoke_uri(f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:${{stageVariables.fn}}:live")
    cloud.method(api, "/x", type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    cloud.deploy(api, variables={"fn": "one"})
    cloud.request(api)
    operation = {"op": "replace", "path": "/variables/fn", "value": "two"}
    cloud.call("update_stage", restApiId=api, stageName="default", patchOperations=[operation])
    cloud.request(api)
    assert [function.name for function in cloud.functions.functions] == ["one", "two"]
    assert cloud.functions.invocations[1].invoked_arn.endswith(":function:two:live")


def test_time_out_while_the_function_completes(cloud: Cloud) -> None:
    """Neither a late answer nor a late error reaches the client, which has had its 504."""
    pending: list[asyncio.Future[InvokeResult]] = []
    cloud.functions.behave = pending.append
    api = cloud.api()
    proxy = {"type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": invoke_uri(), "timeoutInMillis": 50}
    cloud.method(api, "/x", **proxy)
    cloud.deploy(api)

    async def scenario() -> list[HttpResponse]:
        answers: list[HttpResponse] = []
        arrived = asyncio.Event()

        def respond(response: HttpResponse) -> None:
            answers.append(response)
            arrived.set()

        for _ in range(2):
            arrived.clear()
            cloud.gateway.serve(HttpRequest("GET", "/"), Target(api, "default", "/x"), respond)
            await arrived.wait()
        assert [future.done() for future in pending] == [False, False]
        pending[0].set_result(InvokeResult(b"{}", None, "$LATEST", "r"))
        pending[1].set_exception(RuntimeError("late"))
        await asyncio.wait(pending)
        return answers

    first, second = asyncio.run(scenario())
    assert (first.status, first.body) == (504, b'{"message":"Endpoint request timed out"}')
    assert second.status == 504


def test_too_large_is_413(cloud: Cloud) -> None:
    """Over API Gateway's 10 MB, and over Lambda's 6 MB for the whole event."""
    api = cloud.proxy()
    for size in (10 * 1024 * 1024 + 1, 6_291_456):
        response = cloud.request(api, method="POST", body=b"x" * size)
        assert (response.status, response.body) == (413, b'{"message":"Request Too Long"}')
    assert cloud.functions.invocations == []


def test_changes_are_live_only_after_a_deployment(cloud: Cloud) -> None:
    api = cloud.proxy("/old")
    cloud.method(api, "/new")
    assert cloud.request(api, "/new").status == 403
    old = cloud.call("get_stage", restApiId=api, stageName="default")["deploymentId"]
    cloud.call("delete_resource", restApiId=api, resourceId=cloud.resource(api, "/old"))
    assert cloud.request(api, "/old").status == 200
    cloud.deploy(api)
    assert (cloud.request(api, "/new").status, cloud.request(api, "/old").status) == (200, 403)
    operation = {"op": "replace", "path": "/deploymentId", "value": old}
    cloud.call("update_stage", restApiId=api, stageName="default", patchOperations=[operation])
    assert (cloud.request(api, "/new").status, cloud.request(api, "/old").status) == (403, 200)
    cloud.call("delete_rest_api", restApiId=api)
    assert cloud.request(api, "/old").status == 403


@pytest.mark.parametrize(
    ("request_template", "content_type", "status", "body"),
    [
        ('{"statusCode": 200}', "application/json", 204, b""),
        ('{"statusCode": 418}', "application/json", 418, b'{"tea": true}'),
        ("{ statusCode: 418 }", "application/json", 418, b'{"tea": true}'),  # the CDK's way to write it
        ("{ status Code: 418 }", "application/json", 500, INTERNAL),
        ('{"statusCode": 500}', "application/json", 204, b""),
        ("{}", "application/json", 500, INTERNAL),
        ('{"statusCode": 200}', "text/csv", 415, b'{"message":"Unsupported Media Type"}'),
    ],
)
def test_mock(cloud: Cloud, request_template: str, content_type: str, status: int, body: bytes) -> None:
    api = cloud.api()
    templates = {"application/json": request_template}
    resource = cloud.method(api, "/x", type="MOCK", requestTemplates=templates, passthroughBehavior="WHEN_NO_TEMPLATES")
    names = {"restApiId": api, "resourceId": resource, "httpMethod": "ANY"}
    origin = "method.response.header.Access-Control-Allow-Origin"
    cloud.call("put_method_response", **names, statusCode="204", responseParameters={origin: False})
    cloud.call("put_integration_response", **names, statusCode="204", responseParameters={origin: "'*'"})
    tea = {"application/json": '{"tea": true}'}
    cloud.call("put_integration_response", **names, statusCode="418", selectionPattern="4..", responseTemplates=tea)
    cloud.deploy(api)
    response = cloud.request(api, headers=[("Content-Type", content_type)])
    assert (response.status, response.body) == (status, body)
    assert header(response, "Access-Control-Allow-Origin") == ("*" if status == 204 else None)
    assert header(response, "x-amzn-RequestId")


def test_mock_without_a_response_mapping_is_500(cloud: Cloud) -> None:
    api = cloud.api()
    cloud.method(api, "/x", type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    cloud.deploy(api)
    assert cloud.request(api).status == 500


def test_a_restart_serves_what_was_deployed(cloud: Cloud) -> None:
    """Opened a second time beside the first, as after `kill -9`: nothing was closed."""
    api = cloud.proxy("/pets/{id}", variables={})
    cloud.open()
    assert cloud.request(api, "/pets/7").status == 200
    assert event(cloud)["pathParameters"] == {"id": "7"}


def test_a_disabled_endpoint_is_forbidden(cloud: Cloud) -> None:
    api = cloud.proxy("/x")
    for value, status in (("true", 403), ("false", 200)):
        operations = [{"op": "replace", "path": "/disableExecuteApiEndpoint", "value": value}]
        cloud.call("update_rest_api", restApiId=api, patchOperations=operations)
        assert cloud.request(api).status == status
