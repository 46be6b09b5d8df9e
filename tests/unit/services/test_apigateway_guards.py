"""What may refuse a request before its integration: authorizers, keys, limits, validators; and how it then answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from apigateway_support import Cloud, invoke_uri

from preheat.kernel.errors import AwsError
from preheat.kernel.function import InvokeResult
from preheat.kernel.http import HttpResponse
from preheat.services.apigateway.buckets import Bucket
from preheat.services.apigateway.policy import BadPolicy, Verdict, evaluate

HOST = ("Host", "127.0.0.1:4566")


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def header(response: HttpResponse, name: str) -> str | None:
    return next((value for key, value in response.headers if key.lower() == name.lower()), None)


def message(response: HttpResponse) -> Any:
    return json.loads(response.body)["message"]


def patched(cloud: Cloud, api: str, resource: str, *changes: tuple[str, str]) -> None:
    """UpdateMethod of ANY, then a deployment."""
    operations = [{"op": "replace", "path": path, "value": value} for path, value in changes]
    cloud.call("update_method", restApiId=api, resourceId=resource, httpMethod="ANY", patchOperations=operations)
    cloud.deploy(api)


# validators


def validated(cloud: Cloud) -> str:
    api = cloud.api()
    resource = cloud.method(api, "/{id}")
    schema = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
        "required": ["values"],
        "properties": {"values": {"$ref": f"https://apigateway.amazonaws.com/restapis/{api}/models/Values"}},
    }
    values = {"type": "array", "items": {"type": "number"}, "minItems": 1}
    for name, document in (("Values", values), ("Input", schema)):
        cloud.call(
            "create_model", restApiId=api, name=name, contentType="application/json", schema=json.dumps(document)
        )
    validator = cloud.call(
        "create_request_validator",
        restApiId=api,
        name="v",
        validateRequestBody=True,
        validateRequestParameters=True,
    )["id"]
    patched(
        cloud,
        api,
        resource,
        ("/requestValidatorId", validator),
        ("/requestModels/application~1json", "Input"),
        ("/requestParameters/method.request.querystring.q", "true"),
        ("/requestParameters/method.request.header.X-A", "true"),
        ("/requestParameters/method.request.querystring.free", "false"),
    )
    return api


@pytest.mark.parametrize(
    ("path", "headers", "body", "expected"),
    [
        ("/1?q=1", [("x-a", "1")], b'{"values": [1.5]}', None),
        ("/1?q=1", [("x-a", "1"), ("Content-Type", "text/csv")], b"1,2", None),
        ("/1", [], b'{"values": [1.5]}', "Missing required request parameters: [X-A, q]"),
        ("/1?q=", [("x-a", " ")], b'{"values": [1.5]}', "Missing required request parameters: [X-A, q]"),
        ("/1?q=1", [("x-a", "1")], b'{"values": ["x"]}', "Invalid request body"),
        ("/1?q=1", [("x-a", "1")], b'{"values": []}', "Invalid request body"),
        ("/1?q=1", [("x-a", "1")], b"{}", "Invalid request body"),
        ("/1?q=1", [("x-a", "1")], b"", "Invalid request body"),
        ("/1?q=1", [("x-a", "1")], b"{", "Invalid request body"),
    ],
)
def test_validation(cloud: Cloud, path: str, headers: list[tuple[str, str]], body: bytes, expected: str | None) -> None:
    response = cloud.request(validated(cloud), path, method="POST", headers=[HOST, *headers], body=body)
    if expected is None:
        assert (response.status, response.body) == (200, b"ok")
    else:
        assert (response.status, message(response)) == (400, expected)
        assert header(response, "x-amzn-errortype") == "BadRequestException"
        assert not cloud.functions.invocations


@pytest.mark.parametrize("schema", ["{", '{"type": 5}'])
def test_a_model_must_be_a_schema(cloud: Cloud, schema: str) -> None:
    with pytest.raises(AwsError, match="Invalid model specified"):
        cloud.call("create_model", restApiId=cloud.api(), name="M", contentType="application/json", schema=schema)


# keys and plans


def keyed(cloud: Cloud, **plan: Any) -> tuple[str, str, str]:
    """(API that wants a key, key value, plan id)"""
    api = cloud.api()
    patched(cloud, api, cloud.method(api, "/x"), ("/apiKeyRequired", "true"))
    key = cloud.call("create_api_key", name="k", enabled=True)
    plan_id = cloud.call("create_usage_plan", name="p", apiStages=[{"apiId": api, "stage": "default"}], **plan)["id"]
    cloud.call("create_usage_plan_key", usagePlanId=plan_id, keyId=key["id"], keyType="API_KEY")
    return api, key["value"], plan_id


def ask(cloud: Cloud, api: str, key: str | None, path: str = "/x") -> HttpResponse:
    return cloud.request(api, path, headers=[HOST, *([("x-api-key", key)] if key else [])])


def test_api_keys(cloud: Cloud) -> None:
    api, key, _ = keyed(cloud)
    for bad in (None, "x" * 20):
        response = ask(cloud, api, bad)
        assert (response.status, message(response)) == (403, "Forbidden")
    assert ask(cloud, api, key).status == 200
    identity = json.loads(cloud.functions.invocations[-1].payload)["requestContext"]["identity"]
    assert identity["apiKey"] == key
    other = cloud.call("create_api_key", enabled=True)["value"]
    assert ask(cloud, api, other).status == 403, "not in a plan of this stage"
    key_id = cloud.call("get_api_keys", nameQuery="k")["items"][0]["id"]
    cloud.call(
        "update_api_key", apiKey=key_id, patchOperations=[{"op": "replace", "path": "/enabled", "value": "false"}]
    )
    assert ask(cloud, api, key).status == 403


def test_a_quota_holds_over_a_restart(cloud: Cloud) -> None:
    api, key, plan = keyed(cloud, quota={"limit": 2, "period": "DAY"})
    assert [ask(cloud, api, key).status for _ in range(2)] == [200, 200]
    cloud.open()
    response = ask(cloud, api, key)
    assert (response.status, message(response)) == (429, "Limit Exceeded")
    assert header(response, "x-amzn-errortype") == "LimitExceededException"
    today = datetime.now(UTC).date().isoformat()
    usage = cloud.call("get_usage", usagePlanId=plan, startDate=today, endDate=today)["items"]
    assert list(usage.values()) == [[[2, 0]]]


@pytest.mark.parametrize(
    "throttle",
    [
        {"throttle": {"rateLimit": 0.001, "burstLimit": 2}},
        {"apiStages": {"/x/ANY": {"rateLimit": 0.001, "burstLimit": 2}}},
    ],
    ids=["plan", "method"],
)
def test_a_plan_throttles(cloud: Cloud, throttle: dict[str, Any]) -> None:
    api, key, plan = keyed(cloud, **({} if "apiStages" in throttle else throttle))
    for method, limits in throttle.get("apiStages", {}).items():
        operations = [
            {
                "op": "replace",
                "path": f"/apiStages/{api}:default/throttle/{method.replace('/', '~1')}/{name}",
                "value": str(value),
            }
            for name, value in limits.items()
        ]
        cloud.call("update_usage_plan", usagePlanId=plan, patchOperations=operations)
    assert [ask(cloud, api, key).status for _ in range(3)] == [200, 200, 429]
    assert message(ask(cloud, api, key)) == "Too Many Requests"


def test_a_stage_throttles_a_method(cloud: Cloud) -> None:
    api = cloud.api()
    for path in ("/x", "/y"):
        cloud.method(api, path)
    cloud.deploy(api)
    operations = [
        {"op": "replace", "path": f"/~1x/ANY/throttling/{name}", "value": value}
        for name, value in (("burstLimit", "1"), ("rateLimit", "0.001"))
    ]
    cloud.call("update_stage", restApiId=api, stageName="default", patchOperations=operations)
    assert [cloud.request(api, path).status for path in ("/x", "/x", "/y", "/y")] == [200, 429, 200, 200]


def test_a_bucket_fills_at_its_rate_and_no_higher_than_its_burst() -> None:
    bucket = Bucket(rate=2.0, burst=3, now_s=0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(0.5), bucket.take(0.5)] == [True, False]
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_plans_and_keys_refused(cloud: Cloud) -> None:
    api, _, plan = keyed(cloud)
    key = cloud.call("get_api_keys")["items"][0]["id"]
    refusals = {
        "API Stage not found": lambda: cloud.call(
            "create_usage_plan", name="p", apiStages=[{"apiId": api, "stage": "no"}]
        ),
        "at least 20 characters": lambda: cloud.call("create_api_key", value="short"),
        "already has this key": lambda: cloud.call(
            "create_usage_plan_key", usagePlanId=plan, keyId=key, keyType="API_KEY"
        ),
        "has associated API stages": lambda: cloud.call("delete_usage_plan", usagePlanId=plan),
        "Invalid Usage Plan ID specified": lambda: cloud.call("get_usage_plan", usagePlanId="no"),
        "Invalid API Key identifier specified": lambda: cloud.call("get_api_key", apiKey="no"),
    }
    for words, call in refusals.items():
        with pytest.raises(AwsError, match=words):
            call()
    cloud.call("delete_api_key", apiKey=key)
    assert cloud.call("get_usage_plan_keys", usagePlanId=plan)["items"] == []
    assert "value" not in cloud.call("get_api_key", apiKey=cloud.call("create_api_key")["id"])


# authorizers


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
    ("answer", "error", "status", "expected"),
    [
        (policy("Deny"), None, 403, "User is not authorized to access this resource with an explicit deny"),
        (policy("Allow", "arn:aws:execute-api:*:*:*/*/POST/*"), None, 403, "User is not authorized to access this res"),
        ({"errorMessage": "Unauthorized"}, "Unhandled", 401, "Unauthorized"),
        ({"errorMessage": "boom"}, "Unhandled", 500, None),
        ({"principalId": "x"}, None, 500, None),
        ({"policyDocument": {"Statement": []}}, None, 500, None),
        (policy(context={"deep": {"a": 1}}), None, 500, None),
        ("text", None, 500, None),
    ],
)
def test_refused_by_the_authorizer(
    cloud: Cloud, answer: Any, error: str | None, status: int, expected: str | None
) -> None:
    api = guarded(cloud)
    authorizing(cloud, answer, error)
    response = with_token(cloud, api)
    assert response.status == status
    assert message(response) is None if expected is None else message(response).startswith(expected)
    assert not calls(cloud, "iris")


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


# gateway responses


def test_gateway_responses(cloud: Cloud) -> None:
    api = cloud.proxy("/x")
    cloud.call(
        "put_gateway_response",
        restApiId=api,
        responseType="MISSING_AUTHENTICATION_TOKEN",
        statusCode="404",
        responseParameters={
            "gatewayresponse.header.Access-Control-Allow-Origin": "'*'",
            "gatewayresponse.header.X-Echo": "method.request.header.X-In",
            "gatewayresponse.header.X-Stage": "context.stage",
        },
        responseTemplates={"application/json": '{"error":$context.error.messageString,"id":"$context.requestId"}'},
    )
    assert cloud.request(api, "/no").status == 403, "not deployed yet"
    cloud.deploy(api)
    response = cloud.request(api, "/no", headers=[HOST, ("X-In", "in")])
    assert response.status == 404
    assert json.loads(response.body) == {
        "error": "Missing Authentication Token",
        "id": header(response, "x-amzn-requestid"),
    }
    assert [header(response, name) for name in ("access-control-allow-origin", "x-echo", "x-stage")] == [
        "*",
        "in",
        "default",
    ]


def test_the_family_default(cloud: Cloud) -> None:
    api = cloud.proxy("/x")
    for family, status in (("DEFAULT_4XX", "418"), ("DEFAULT_5XX", "599")):
        cloud.call("put_gateway_response", restApiId=api, responseType=family, statusCode=status)
    cloud.deploy(api)
    assert cloud.request(api, "/no").status == 418
    cloud.functions.payload = b"malformed"
    response = cloud.request(api, "/x")
    assert (response.status, response.body) == (599, b'{"message":"Internal server error"}')


def test_gateway_response_operations(cloud: Cloud) -> None:
    api = cloud.api()
    listed = cloud.call("get_gateway_responses", restApiId=api, limit=500)["items"]
    assert len(listed) == 21
    assert all(item["defaultResponse"] for item in listed)
    name = {"restApiId": api, "responseType": "THROTTLED"}
    assert cloud.call("get_gateway_response", **name) == {
        "responseType": "THROTTLED",
        "statusCode": "429",
        "responseParameters": {},
        "responseTemplates": {"application/json": '{"message":$context.error.messageString}'},
        "defaultResponse": True,
    }
    operations = [
        {"op": "replace", "path": "/statusCode", "value": "503"},
        {"op": "add", "path": "/responseParameters/gatewayresponse.header.A", "value": "'a'"},
        {"op": "add", "path": "/responseTemplates/text~1plain", "value": "slow down"},
    ]
    updated = cloud.call("update_gateway_response", **name, patchOperations=operations)
    assert (updated["statusCode"], updated["defaultResponse"]) == ("503", False)
    assert updated["responseTemplates"]["text/plain"] == "slow down"
    cloud.open()
    assert cloud.call("get_gateway_response", **name) == updated
    cloud.call("delete_gateway_response", **name)
    with pytest.raises(AwsError, match="not defined on api"):
        cloud.call("delete_gateway_response", **name)
    with pytest.raises(AwsError, match="Invalid gateway response type"):
        cloud.call("get_gateway_response", restApiId=api, responseType="NO")


# access logs


def test_access_logs(cloud: Cloud) -> None:
    api = cloud.proxy("/x")
    form = "$context.requestId $context.httpMethod $context.path $context.status $context.error.message $context.none"
    settings = {
        "/accessLogSettings/destinationArn": "arn:aws:logs:us-east-1:000000000000:log-group:api-logs:*",
        "/accessLogSettings/format": form,
    }
    operations = [{"op": "replace", "path": path, "value": value} for path, value in settings.items()]
    stage = cloud.call("update_stage", restApiId=api, stageName="default", patchOperations=operations)
    assert stage["accessLogSettings"]["format"] == form
    request_id = header(cloud.request(api, "/x"), "x-amzn-requestid")
    cloud.functions.payload = b"malformed"
    failed_id = header(cloud.request(api, "/x"), "x-amzn-requestid")
    ((group, _),) = cloud.logs.lines
    assert group == "api-logs"
    (lines,) = cloud.logs.lines.values()
    assert lines == [
        f"{request_id} GET /default/x 200 - -",
        f"{failed_id} GET /default/x 502 Internal server error -",
    ]
    for path, value in (("destinationArn", "x"), ("format", "no id")):
        with pytest.raises(AwsError):
            cloud.call(
                "update_stage",
                restApiId=api,
                stageName="default",
                patchOperations=[{"op": "replace", "path": f"/accessLogSettings/{path}", "value": value}],
            )
