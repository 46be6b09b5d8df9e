"""Around a REST API's integration: canaries, compression, signatures, header names, events, TestInvokeAuthorizer."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from apigateway_support import ACCOUNT, Cloud, header, invoke_uri

from preheat.kernel.errors import AwsError
from preheat.kernel.function import InvokeResult

JSON = "application/json"
HOST = ("Host", "127.0.0.1:4566")
BODY = json.dumps({"body": "x" * 1000}).encode()


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def event(cloud: Cloud) -> Any:
    return json.loads(cloud.functions.invocations[-1].payload)


# canaries


def mock(cloud: Cloud, text: str, api: str | None = None) -> str:
    """An API whose method answers a template with the stage's variable in it."""
    api = api or cloud.api()
    template = {JSON: '{"statusCode": 200}'}
    resource = cloud.method(api, "/x", type="MOCK", requestTemplates=template)
    names = {"restApiId": api, "resourceId": resource, "httpMethod": "ANY", "statusCode": "200"}
    cloud.call("put_method_response", **names)
    answer = f"{text} $stageVariables.v $context.isCanaryRequest"
    cloud.call("put_integration_response", **names, responseTemplates={JSON: answer})
    return api


def with_canary(cloud: Cloud, percent: float) -> str:
    """A stage on the first deployment with a canary on the second."""
    api = mock(cloud, "old")
    cloud.deploy(api, "prod", variables={"v": "1"})
    resource = cloud.resource(api, "/x")
    cloud.call("delete_method", restApiId=api, resourceId=resource, httpMethod="ANY")
    mock(cloud, "new", api)
    canary = {"percentTraffic": percent, "stageVariableOverrides": {"v": "2"}}
    cloud.deploy(api, "prod", canarySettings=canary)
    return api


def answers(cloud: Cloud, api: str, count: int = 1) -> set[bytes]:
    return {cloud.request(api, "/x", "prod", headers=[HOST, ("Content-Type", JSON)]).body for _ in range(count)}


def test_a_canary_gets_its_part_of_the_requests(cloud: Cloud) -> None:
    random.seed(1)
    assert answers(cloud, with_canary(cloud, 50), 40) == {b"old 1 false", b"new 2 true"}


@pytest.mark.parametrize(("percent", "expected"), [(0, b"old 1 false"), (100, b"new 2 true")])
def test_a_canary_with_nothing_or_all(cloud: Cloud, percent: float, expected: bytes) -> None:
    assert answers(cloud, with_canary(cloud, percent), 5) == {expected}


def test_a_deployment_without_a_canary_leaves_the_canary_alone(cloud: Cloud) -> None:
    api = with_canary(cloud, 100)
    cloud.call(
        "update_stage",
        restApiId=api,
        stageName="prod",
        patchOperations=[{"op": "remove", "path": "/canarySettings"}],
    )
    assert answers(cloud, api) == {b"old 1 "}


# compression


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("deflate, gzip;q=0.5", "deflate"),
        ("*", "gzip"),
        ("gzip;q=0", None),
        ("br", None),
        (None, None),
    ],
)
def test_answers_are_compressed_as_the_client_likes(cloud: Cloud, accept: str | None, encoding: str | None) -> None:
    cloud.functions.payload = BODY
    headers = [HOST, *([("Accept-Encoding", accept)] if accept else [])]
    response = cloud.request(cloud.proxy(minimumCompressionSize=1000), headers=headers)
    plain = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[encoding](response.body)
    assert (header(response, "content-encoding"), plain) == (encoding, b"x" * 1000)


@pytest.mark.parametrize("api", [{}, {"minimumCompressionSize": 1001}])
def test_small_answers_and_other_apis_are_not_compressed(cloud: Cloud, api: dict[str, Any]) -> None:
    cloud.functions.payload = BODY
    response = cloud.request(cloud.proxy(**api), headers=[HOST, ("Accept-Encoding", "gzip")])
    assert (header(response, "content-encoding"), response.body) == (None, b"x" * 1000)


def test_a_function_that_compresses_is_left_alone(cloud: Cloud) -> None:
    cloud.functions.payload = b'{"headers": {"Content-Encoding": "br"}, "body": "own"}'
    response = cloud.request(cloud.proxy(minimumCompressionSize=0), headers=[HOST, ("Accept-Encoding", "gzip")])
    assert (header(response, "content-encoding"), response.body) == ("br", b"own")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (gzip.compress(b'{"a": 1}', mtime=0), 200),
        (b"not gzip", 415),
        (gzip.compress(b'{"a": 1}', mtime=0)[:-4], 415),
        (gzip.compress(b"x" * (11 * 2**20), mtime=0), 413),
    ],
    ids=["gzip", "no gzip", "truncated", "a bomb"],
)
def test_compressed_requests(cloud: Cloud, body: bytes, status: int) -> None:
    headers = [HOST, ("Content-Encoding", "gzip")]
    response = cloud.request(cloud.proxy(minimumCompressionSize=0), method="POST", headers=headers, body=body)
    assert response.status == status
    if status == 200:
        assert (event(cloud)["body"], "Content-Encoding" in event(cloud)["headers"]) == ('{"a": 1}', False)


# AWS_IAM

SCOPE = "AKIA/20260101/us-east-1/execute-api/aws4_request"


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ([], "", 403),
        ([("Authorization", "Bearer x")], "", 403),
        (
            [("Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/execute-api/aws4_request, X")],
            "",
            200,
        ),
        ([], "?X-Amz-Credential=" + SCOPE.replace("/", "%2F"), 200),
    ],
)
def test_iam_wants_a_signature(cloud: Cloud, headers: list[tuple[str, str]], query: str, status: int) -> None:
    api = cloud.api()
    resource = cloud.method(api, "/x")
    patch = {"op": "replace", "path": "/authorizationType", "value": "AWS_IAM"}
    cloud.call("update_method", restApiId=api, resourceId=resource, httpMethod="ANY", patchOperations=[patch])
    cloud.deploy(api)
    assert cloud.request(api, f"/x{query}", headers=[HOST, *headers]).status == status
    if status == 200:
        identity = event(cloud)["requestContext"]["identity"]
        assert (identity["accessKey"], identity["accountId"]) == ("AKIA", ACCOUNT)


# header names


@pytest.mark.parametrize("name", ["Server", "Date", "WWW-Authenticate", "Authorization", "User-Agent"])
def test_remapped_headers(cloud: Cloud, name: str) -> None:
    cloud.functions.payload = json.dumps({"headers": {name: "own"}}).encode()
    response = cloud.request(cloud.proxy())
    assert (header(response, f"x-amzn-Remapped-{name}"), header(response, name)) == ("own", None)


@pytest.mark.parametrize("name", ["Authorization", "Connection", "Expect", "TE", "Transfer-Encoding"])
def test_headers_that_no_request_to_lambda_may_map(cloud: Cloud, name: str) -> None:
    """localstack's TestApiGatewayHeaderRemapping: configured, deployed, and every request fails."""
    api = cloud.api()
    cloud.method(
        api,
        "/x",
        type="AWS_PROXY",
        integrationHttpMethod="POST",
        uri=invoke_uri(),
        requestParameters={f"integration.request.header.{name}": "'x'"},
    )
    cloud.deploy(api)
    assert cloud.request(api).status == 500
    assert not cloud.functions.invocations


# events


@pytest.mark.parametrize("payload", [b'{"a": 1}', b'"text"'])
def test_events_go_through_lambdas_queue(cloud: Cloud, payload: bytes) -> None:
    api = cloud.api()
    resource = cloud.method(
        api,
        "/x",
        type="AWS",
        integrationHttpMethod="POST",
        uri=invoke_uri(),
        requestParameters={"integration.request.header.X-Amz-Invocation-Type": "method.request.header.Kind"},
    )
    names = {"restApiId": api, "resourceId": resource, "httpMethod": "ANY", "statusCode": "202"}
    cloud.call("put_method_response", **names)
    cloud.call("put_integration_response", **names)
    cloud.deploy(api)
    kind = [HOST, ("Content-Type", JSON), ("Kind", "Event")]
    response = cloud.request(api, method="POST", headers=kind, body=payload)
    assert (response.status, response.body, cloud.functions.events) == (202, b"", [payload])
    waited = cloud.request(api, method="POST", headers=[HOST, ("Content-Type", JSON)], body=payload)
    assert (waited.status, len(cloud.functions.events), len(cloud.functions.invocations)) == (202, 1, 1)


# TestInvokeAuthorizer


def authorizer(cloud: Cloud, answer: Any, **given: Any) -> dict[str, Any]:
    """Parameters that name an authorizer which answers this."""

    def behave(future: Any) -> None:
        future.set_result(InvokeResult(json.dumps(answer).encode(), None, "$LATEST", "r"))

    cloud.functions.behave = behave
    api = cloud.api()
    made = cloud.call(
        "create_authorizer",
        restApiId=api,
        **{
            "name": "a",
            "type": "TOKEN",
            "authorizerUri": invoke_uri(),
            "identitySource": "method.request.header.Authorization",
            **given,
        },
    )
    return {"restApiId": api, "authorizerId": made["id"]}


POLICY = {"Statement": [{"Action": "execute-api:Invoke", "Effect": "Deny", "Resource": "*"}]}


def test_an_authorizer_is_tested(cloud: Cloud) -> None:
    names = authorizer(cloud, {"principalId": "me", "policyDocument": POLICY})
    for _ in range(2):
        tested = cloud.call("test_invoke_authorizer", **names, headers={"Authorization": "t"})
    assert (tested["clientStatus"], tested["principalId"], json.loads(tested["policy"])) == (0, "me", POLICY)
    assert "Using valid authorizer policy for principal: me" in tested["log"]
    assert isinstance(tested["latency"], int)
    assert len(cloud.functions.invocations) == 2
    assert (event(cloud)["type"], event(cloud)["authorizationToken"]) == ("TOKEN", "t")


def test_a_request_authorizer_is_tested_with_what_the_request_has(cloud: Cloud) -> None:
    source = "method.request.querystring.q, stageVariables.v"
    names = authorizer(cloud, {"principalId": "me", "policyDocument": POLICY}, type="REQUEST", identitySource=source)
    given = {"pathWithQueryString": "/p?q=1", "stageVariables": {"v": "2"}}
    assert cloud.call("test_invoke_authorizer", **names, **given)["clientStatus"] == 0
    assert event(cloud)["queryStringParameters"] == {"q": "1"}
    assert cloud.call("test_invoke_authorizer", **names)["clientStatus"] == 401


@pytest.mark.parametrize(
    ("answer", "headers", "status"), [({}, {"Authorization": "t"}, 500), ({"principalId": "me"}, {}, 401)]
)
def test_an_authorizer_that_fails_its_test(cloud: Cloud, answer: Any, headers: dict[str, str], status: int) -> None:
    tested = cloud.call("test_invoke_authorizer", **authorizer(cloud, answer), headers=headers)
    assert (tested["clientStatus"], "policy" in tested) == (status, False)
    assert "Execution failed due to authorizer error" in tested["log"]


def test_no_authorizer_to_test(cloud: Cloud) -> None:
    with pytest.raises(AwsError, match="Invalid Authorizer identifier specified"):
        cloud.call("test_invoke_authorizer", restApiId=cloud.api(), authorizerId="nope")
