"""What may refuse a request before its integration: keys, limits, validators; how it then answers; access logs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from apigateway_support import Cloud, ask_with_key, header, keyed, message, patched

from preheat.kernel.errors import AwsError
from preheat.services.apigateway.buckets import Bucket

HOST = ("Host", "127.0.0.1:4566")


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


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


def test_api_keys(cloud: Cloud) -> None:
    api, key, _ = keyed(cloud)
    for bad in (None, "x" * 20):
        response = ask_with_key(cloud, api, bad)
        assert (response.status, message(response)) == (403, "Forbidden")
    assert ask_with_key(cloud, api, key).status == 200
    identity = json.loads(cloud.functions.invocations[-1].payload)["requestContext"]["identity"]
    assert identity["apiKey"] == key
    other = cloud.call("create_api_key", enabled=True)["value"]
    assert ask_with_key(cloud, api, other).status == 403, "not in a plan of this stage"
    key_id = cloud.call("get_api_keys", nameQuery="k")["items"][0]["id"]
    cloud.call(
        "update_api_key", apiKey=key_id, patchOperations=[{"op": "replace", "path": "/enabled", "value": "false"}]
    )
    assert ask_with_key(cloud, api, key).status == 403


def test_a_quota_holds_over_a_restart(cloud: Cloud) -> None:
    api, key, plan = keyed(cloud, quota={"limit": 2, "period": "DAY"})
    assert [ask_with_key(cloud, api, key).status for _ in range(2)] == [200, 200]
    cloud.open()
    response = ask_with_key(cloud, api, key)
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
    assert [ask_with_key(cloud, api, key).status for _ in range(3)] == [200, 200, 429]
    assert message(ask_with_key(cloud, api, key)) == "Too Many Requests"


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
    form = (
        "$context.requestId $context.httpMethod $context.path $context.status $context.error.message "
        "$context.error.messageString $context.integration.status $context.integrationStatus "
        "$context.integration.requestId $context.awsEndpointRequestId $context.none"
    )
    settings = {
        "/accessLogSettings/destinationArn": "arn:aws:logs:us-east-1:000000000000:log-group:api-logs:*",
        "/accessLogSettings/format": form,
    }
    operations = [{"op": "replace", "path": path, "value": value} for path, value in settings.items()]
    stage = cloud.call("update_stage", restApiId=api, stageName="default", patchOperations=operations)
    assert stage["accessLogSettings"]["format"] == form
    cloud.functions.payload = b'{"statusCode": 404}'
    request_id = header(cloud.request(api, "/x"), "x-amzn-requestid")
    cloud.functions.payload = b"malformed"
    failed_id = header(cloud.request(api, "/x"), "x-amzn-requestid")
    ((group, _),) = cloud.logs.lines
    assert group == "api-logs"
    (lines,) = cloud.logs.lines.values()
    assert lines == [
        f"{request_id} GET /default/x 404 - - 404 200 r r -",
        f'{failed_id} GET /default/x 502 Internal server error "Internal server error" 200 200 r r -',
    ]
    for path, value in (("destinationArn", "x"), ("format", "no id")):
        with pytest.raises(AwsError):
            cloud.call(
                "update_stage",
                restApiId=api,
                stageName="default",
                patchOperations=[{"op": "replace", "path": f"/accessLogSettings/{path}", "value": value}],
            )
