"""Lambda authorizers: what they are asked, what their policies decide, and how refusals read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from apigateway_support import Cloud, invoke_uri, keyed, message, patched

from preheat.kernel.errors import AwsError
from preheat.kernel.function import InvokeResult
from preheat.kernel.http import HttpResponse
from preheat.services.apigateway.policy import BadPolicy, Verdict, evaluate

HOST = ("Host", "127.0.0.1:4566")
NOT_AUTHORIZED = "User is not authorized to access this resource"


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def guarded(cloud: Cloud, **authorizer: Any) -> str:
    """An API whose /x asks the function `auth` first."""
    api = cloud.api()
    resource = cloud.method(api, "/x")
    uri = invoke_uri("arn:aws:lambda:us-east-1:000000000000:function:auth")
    given = {
        "type": "TOKEN",
        "identitySource": "method.request.header.Authorization",
        "authorizerUri": uri,
        "name": "a",
        **authorizer,
    }
    made = cloud.call("create_authorizer", restApiId=api, **given)["id"]
    patched(cloud, api, resource, ("/authorizationType", "CUSTOM"), ("/authorizerId", made))
    return api


def policy(effect: str = "Allow", resource: str = "*", **more: Any) -> dict[str, Any]:
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": resource}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    return {"principalId": "me", "policyDocument": document, **more}


def authorizing(cloud: Cloud, answer: Any, error: str | None = None) -> None:
    """The authorizer's function answers this; the other one answers as before."""

    def behave(future: Any) -> None:
        if cloud.functions.functions[-1].name == "auth":
            future.set_result(InvokeResult(json.dumps(answer).encode(), error, "$LATEST", "r"))
        else:
            cloud.functions.answer(future)

    cloud.functions.behave = behave


def calls(cloud: Cloud, name: str) -> list[Any]:
    both = zip(cloud.functions.functions, cloud.functions.invocations, strict=True)
    return [json.loads(invocation.payload) for function, invocation in both if function.name == name]


def with_token(cloud: Cloud, api: str, token: str | None = "t1", **parts: Any) -> HttpResponse:
    return cloud.request(api, headers=[HOST, *([("Authorization", token)] if token else [])], **parts)


def test_a_token_authorizer(cloud: Cloud) -> None:
    api = guarded(cloud)
    authorizing(cloud, policy(context={"tier": "gold", "n": 5, "b": True}))
    assert with_token(cloud, api, "Bearer x").status == 200
    arn = f"arn:aws:execute-api:us-east-1:000000000000:{api}/default/GET/x"
    assert calls(cloud, "auth") == [{"type": "TOKEN", "methodArn": arn, "authorizationToken": "Bearer x"}]
    context = calls(cloud, "iris")[0]["requestContext"]["authorizer"]
    assert isinstance(context.pop("integrationLatency"), int)
    assert context == {"principalId": "me", "tier": "gold", "n": "5", "b": "true"}


def test_a_request_authorizer_sees_the_request_without_its_body(cloud: Cloud) -> None:
    api = guarded(
        cloud, type="REQUEST", identitySource="method.request.header.Authorization, method.request.querystring.q"
    )
    authorizing(cloud, policy())
    response = cloud.request(api, "/x?q=1", method="POST", body=b"secret", headers=[HOST, ("authorization", "t")])
    assert response.status == 200
    seen = calls(cloud, "auth")[0]
    assert (seen["type"], seen["queryStringParameters"], seen["httpMethod"]) == ("REQUEST", {"q": "1"}, "POST")
    assert "body" not in seen
    assert with_token(cloud, api).status == 401, "without q"


@pytest.mark.parametrize(
    ("answer", "error", "status", "body"),
    [
        (policy("Deny"), None, 403, {"Message": f"{NOT_AUTHORIZED} with an explicit deny in an identity-based policy"}),
        (policy("Allow", "arn:aws:execute-api:*:*:*/*/POST/*"), None, 403, {"Message": NOT_AUTHORIZED}),
        ({"errorMessage": "Unauthorized"}, "Unhandled", 401, {"message": "Unauthorized"}),
        ({"errorMessage": "boom"}, "Unhandled", 500, {"message": None}),
        ({"principalId": "x"}, None, 500, {"message": None}),
        ({"policyDocument": {"Statement": []}}, None, 500, {"message": None}),
        (policy(context={"deep": {"a": 1}}), None, 500, {"message": None}),
        ("text", None, 500, {"message": None}),
    ],
)
def test_refused_by_the_authorizer(
    cloud: Cloud, answer: Any, error: str | None, status: int, body: dict[str, str | None]
) -> None:
    """ "Message" with its capital is AWS's, in refusals by policy only."""
    api = guarded(cloud)
    authorizing(cloud, answer, error)
    response = with_token(cloud, api)
    assert (response.status, json.loads(response.body)) == (status, body)
    assert not calls(cloud, "iris")


def test_a_gateway_response_for_a_denial_has_its_own_words(cloud: Cloud) -> None:
    api = guarded(cloud)
    cloud.call("put_gateway_response", restApiId=api, responseType="ACCESS_DENIED", statusCode="401")
    cloud.deploy(api)
    authorizing(cloud, policy("Deny"))
    response = with_token(cloud, api)
    assert (response.status, message(response)) == (
        401,
        f"{NOT_AUTHORIZED} with an explicit deny in an identity-based policy",
    )


def test_without_a_token_the_authorizer_is_not_asked(cloud: Cloud) -> None:
    api = guarded(cloud, identityValidationExpression="Bearer .+")
    authorizing(cloud, policy())
    for token in (None, "Basic x"):
        response = with_token(cloud, api, token)
        assert (response.status, message(response)) == (401, "Unauthorized")
    assert not cloud.functions.invocations
    assert with_token(cloud, api, "Bearer x").status == 200


@pytest.mark.parametrize(("ttl", "asked"), [(300, 1), (0, 3)])
def test_results_are_cached_by_identity(cloud: Cloud, ttl: int, asked: int) -> None:
    api = guarded(cloud, authorizerResultTtlInSeconds=ttl)
    authorizing(cloud, policy())
    assert [with_token(cloud, api, "same").status for _ in range(3)] == [200] * 3
    assert len(calls(cloud, "auth")) == asked
    with_token(cloud, api, "other")
    assert len(calls(cloud, "auth")) == asked + 1
    cloud.call("flush_stage_authorizers_cache", restApiId=api, stageName="default")
    with_token(cloud, api, "same")
    assert len(calls(cloud, "auth")) == asked + 2


def test_a_usage_key_from_the_authorizer(cloud: Cloud) -> None:
    api, key, _ = keyed(cloud)
    resource = cloud.resource(api, "/x")
    uri = invoke_uri("arn:aws:lambda:us-east-1:000000000000:function:auth")
    source = "method.request.header.Authorization"
    made = cloud.call(
        "create_authorizer", restApiId=api, name="a", type="TOKEN", identitySource=source, authorizerUri=uri
    )["id"]
    operations = [{"op": "replace", "path": "/apiKeySource", "value": "AUTHORIZER"}]
    cloud.call("update_rest_api", restApiId=api, patchOperations=operations)
    patched(cloud, api, resource, ("/authorizationType", "CUSTOM"), ("/authorizerId", made))
    authorizing(cloud, policy(usageIdentifierKey=key))
    assert with_token(cloud, api, "a").status == 200
    authorizing(cloud, policy())
    assert with_token(cloud, api, "b").status == 403


ARN = "arn:aws:execute-api:us-east-1:000000000000:a1/prod/GET/pets/1"


@pytest.mark.parametrize(
    ("statements", "verdict"),
    [
        ([("Allow", "execute-api:Invoke", "*")], Verdict.ALLOW),
        ([("Allow", "*", ARN)], Verdict.ALLOW),
        ([("Allow", "execute-api:*", ["x", "arn:aws:execute-api:*:*:a1/*/GET/pets/?"])], Verdict.ALLOW),
        ([("Allow", "execute-api:Invoke", "*"), ("Deny", "execute-api:invoke", "*/pets/*")], Verdict.DENY),
        ([("Allow", "execute-api:Invoke", "arn:aws:execute-api:*:*:a1/prod/GET/pets")], Verdict.NEITHER),
        ([("Allow", "execute-api:ManageConnections", "*")], Verdict.NEITHER),
        ([("Allow", "execute-api:Invoke", "arn.*")], Verdict.NEITHER),
        ([], Verdict.NEITHER),
    ],
)
def test_policies(statements: list[tuple[str, Any, Any]], verdict: Verdict) -> None:
    document = [{"Effect": effect, "Action": action, "Resource": resource} for effect, action, resource in statements]
    assert evaluate({"Statement": document}, ARN) is verdict


@pytest.mark.parametrize(
    "statement", [{}, {"Effect": "Maybe"}, {"Effect": "Allow"}, {"Effect": "Allow", "Action": "*", "Resource": 5}, 5]
)
def test_policies_that_are_none(statement: Any) -> None:
    with pytest.raises(BadPolicy):
        evaluate({"Statement": [statement]}, ARN)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"type": "COGNITO_USER_POOLS"}, "is not built"),
        ({"authorizerUri": "x"}, "Invalid Authorizer URI"),
        ({"identitySource": "x"}, "Invalid identity source"),
        ({"identitySource": ""}, "exactly one identity source"),
        ({"authorizerResultTtlInSeconds": 3601}, "between 0 and 3600"),
        ({"identityValidationExpression": "("}, "validation expression"),
    ],
)
def test_authorizers_refused(cloud: Cloud, given: dict[str, Any], words: str) -> None:
    with pytest.raises(AwsError, match=words):
        guarded(cloud, **given)
