"""What real AWS answered to boto3, key by key and word by word: a table of recorded scenarios.

Source: the `.snapshot.json` files of localstack's tests/aws/services/apigateway. Each row names its scenario there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from apigateway_support import ACCOUNT, FakeLambda, FakeLogs, invoke_uri
from boto_in_process import cloud
from botocore.exceptions import ClientError

from preheat.services.apigateway.gateway import Gateway
from preheat.services.apigateway.provider import ApiGatewayProvider
from preheat.services.apigateway.store import Store

VOLATILE = ("ResponseMetadata", "id", "createdDate", "lastUpdatedDate", "rootResourceId", "cacheNamespace")
BAD, MISSING, INVALID = "BadRequestException", "NotFoundException", "ValidationException"
REST_API = {
    "apiKeySource": "HEADER",
    "disableExecuteApiEndpoint": False,
    "endpointConfiguration": {"ipAddressType": "ipv4", "types": ["EDGE"]},
    "name": "x",
}
SETTING = {
    "cacheDataEncrypted": False,
    "cacheTtlInSeconds": 300,
    "cachingEnabled": False,
    "dataTraceEnabled": False,
    "metricsEnabled": False,
    "requireAuthorizationForCacheControl": True,
    "throttlingBurstLimit": 5000,
    "throttlingRateLimit": 10000.0,
    "unauthorizedCacheControlHeaderStrategy": "SUCCEED_WITH_RESPONSE_HEADER",
}
INTEGRATION = {"cacheKeyParameters": [], "passthroughBehavior": "WHEN_NO_MATCH", "timeoutInMillis": 29000}


class Account:
    """A client, and the ids of an API with a MOCK method GET on its root, deployed to the stage `s`."""

    def __init__(self, client: Any) -> None:
        self.client = client
        made = client.create_rest_api(name="x")
        self.ids = {"api": made["id"], "root": made["rootResourceId"]}
        method = {"restApiId": made["id"], "resourceId": made["rootResourceId"], "httpMethod": "GET"}
        client.put_method(**method, authorizationType="NONE")
        client.put_method_response(**method, statusCode="200")
        client.put_integration(**method, type="MOCK")
        self.ids["one"] = client.create_deployment(restApiId=made["id"])["id"]
        self.ids["two"] = client.create_deployment(restApiId=made["id"])["id"]
        client.create_stage(restApiId=made["id"], stageName="s", deploymentId=self.ids["one"])
        self.ids["plan"] = client.create_usage_plan(name="p")["id"]

    def filled(self, given: Any) -> Any:
        """`given` with `<api>`, `<root>`, `<one>`, `<two>` and `<plan>` replaced."""
        if isinstance(given, dict):
            return {name: self.filled(value) for name, value in given.items()}
        if isinstance(given, list):
            return [self.filled(value) for value in given]
        for name, value in self.ids.items():
            given = given.replace(f"<{name}>", value) if isinstance(given, str) else given
        return given

    def call(self, operation: str, params: dict[str, Any]) -> Any:
        """The answer without what differs each time, or (code, message)."""
        try:
            answer = getattr(self.client, operation)(**self.filled(params))
        except ClientError as error:
            return error.response["Error"]["Code"], error.response["Error"]["Message"]
        return {name: value for name, value in answer.items() if name not in VOLATILE}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    async def provider() -> ApiGatewayProvider:
        functions, store = FakeLambda(), Store(tmp_path_factory.mktemp("snapshots") / "apigateway.db")
        return ApiGatewayProvider(store, Gateway(store, functions, functions, FakeLogs(), ACCOUNT))

    with cloud() as local:
        local.serve({"apigateway": local.run(provider)})
        yield local.client("apigateway")


@pytest.fixture
def account(client: Any) -> Account:
    return Account(client)


def patch(op: str, path: str, value: str | None = None, **more: str) -> dict[str, Any]:
    given = {"op": op, "path": path, "value": value, **more}
    return {name: one for name, one in given.items() if one is not None}


def update(kind: str, *patches: dict[str, Any], **names: str) -> tuple[str, dict[str, Any]]:
    return f"update_{kind}", {**names, "patchOperations": list(patches)}


def rest(*patches: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return update("rest_api", *patches, restApiId="<api>")


def stage(*patches: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return update("stage", *patches, restApiId="<api>", stageName="s")


def response(*patches: dict[str, Any], **names: str) -> tuple[str, dict[str, Any]]:
    return update("method_response", *patches, **{**GET, "statusCode": "200", **names})


def create(**params: Any) -> tuple[str, dict[str, Any]]:
    return "create_rest_api", {"name": "x", **params}


def integrate(kind: str, **params: Any) -> tuple[str, dict[str, Any]]:
    return "put_integration", {**GET, "type": kind, **params}


def wrong_op(shape: str, at: int = 1) -> str:
    return (
        f"Value 'wrong' at '{shape}.patchOperations.{at}.member.op' failed to satisfy constraint: "
        "Member must satisfy enum value set: [add, remove, move, test, replace, copy]"
    )


GET = {"restApiId": "<api>", "resourceId": "<root>", "httpMethod": "GET"}
COMPRESSION = "Invalid minimum compression size, must be between 0 and 10485760"
ONLY_REPLACE = "Invalid patch operation specified. Must be one of: [replace]"
WRONG_STATUS = (
    "Value 'wrong' at 'statusCode' failed to satisfy constraint: "
    r"Member must satisfy regular expression pattern: [1-5]\d\d"
)
WRONG_TYPE = (
    "Value '[wrong]' at 'createRestApiInput.endpointConfiguration.types' failed to satisfy constraint: Member must "
    "satisfy constraint: [Member must satisfy enum value set: [PRIVATE, EDGE, REGIONAL]]"
)
HEADER = "/responseParameters/method.response.header.my-header"
CANARY_CONTENT = "Invalid deployment content specified."
PRIVATE_IP = "Only dualstack ipAddressType is supported for Private APIs."

Row = tuple[str, tuple[str, dict[str, Any]], Any]
TABLE: list[Row] = [
    ("create_rest_api, empty description", create(description=""), (BAD, "Description cannot be an empty string")),
    ("create_rest_api, compression", create(minimumCompressionSize=-1), (BAD, COMPRESSION)),
    ("create_rest_api, version", create(version="v1"), {**REST_API, "version": "v1"}),
    ("create_rest_api, no binary types", create(binaryMediaTypes=[]), REST_API),
    (
        "endpoint configuration, types",
        create(endpointConfiguration={"types": ["wrong"], "ipAddressType": "ipv4"}),
        (INVALID, f"1 validation error detected: {WRONG_TYPE}"),
    ),
    (
        "endpoint configuration, none",
        create(endpointConfiguration={"types": []}),
        (BAD, "REGIONAL Configuration and EDGE Configuration cannot be both DISABLED."),
    ),
    (
        "endpoint configuration, two",
        create(endpointConfiguration={"types": ["EDGE", "REGIONAL"]}),
        (BAD, "Cannot create an api with multiple Endpoint Types."),
    ),
    (
        "endpoint configuration, private",
        create(endpointConfiguration={"types": ["PRIVATE"], "ipAddressType": "ipv4"}),
        (BAD, PRIVATE_IP),
    ),
    (
        "endpoint configuration, patched",
        rest(patch("replace", "/endpointConfiguration/types/EDGE", "PRIVATE")),
        {**REST_API, "endpointConfiguration": {"types": ["PRIVATE"], "ipAddressType": "dualstack"}, "tags": {}},
    ),
    (
        "endpoint configuration, wrong address type",
        rest(patch("replace", "/endpointConfiguration/ipAddressType", "wrong")),
        (BAD, "ipAddressType must be either ipv4 or dualstack."),
    ),
    (
        "update_rest_api, compression",
        rest(patch("replace", "/minimumCompressionSize", "10")),
        {**REST_API, "tags": {}, "minimumCompressionSize": 10},
    ),
    ("update_rest_api, no number", rest(patch("replace", "/minimumCompressionSize", "test")), (BAD, COMPRESSION)),
    ("update_rest_api, add", rest(patch("add", "/minimumCompressionSize", "10")), (BAD, ONLY_REPLACE)),
    (
        "update_rest_api, operation",
        rest(patch("test", "/name", "y")),
        (BAD, "Invalid patch operation specified. Must be 'add'|'remove'|'replace'"),
    ),
    (
        "update_rest_api, two wrong operations",
        rest(patch("wrong", "/x", "y"), patch("wrong", "/x", "y")),
        (
            INVALID,
            f"2 validation errors detected: {wrong_op('updateRestApiInput')}; {wrong_op('updateRestApiInput', 2)}",
        ),
    ),
    (
        "update_rest_api, binary types",
        rest(patch("add", "/binaryMediaTypes", "image/gif")),
        (BAD, "Invalid patch path /binaryMediaTypes"),
    ),
    (
        "update_resource, root",
        update("resource", patch("replace", "/pathPart", "z"), restApiId="<api>", resourceId="<root>"),
        (BAD, "Root resource cannot update its pathPart."),
    ),
    (
        "create_authorizer, unknown API",
        (
            "create_authorizer",
            {
                "restApiId": "nope",
                "name": "n",
                "type": "TOKEN",
                "authorizerUri": invoke_uri(),
                "identitySource": "method.request.header.Authorization",
            },
        ),
        ("ConflictException", "Unable to complete operation due to concurrent modification. Please try again later."),
    ),
    (
        "delete_gateway_response, unknown API",
        ("delete_gateway_response", {"restApiId": "fake", "responseType": "DEFAULT_4XX"}),
        (MISSING, f"Invalid API identifier specified {ACCOUNT}:fake"),
    ),
    (
        "put_gateway_response, wrong type",
        ("put_gateway_response", {"restApiId": "<api>", "responseType": "wrong"}),
        (
            INVALID,
            "1 validation error detected: Value 'wrong' at 'responseType' failed to satisfy constraint: Member must "
            "satisfy enum value set: [REQUEST_TOO_LARGE, RESOURCE_NOT_FOUND, AUTHORIZER_CONFIGURATION_ERROR, "
            "MISSING_AUTHENTICATION_TOKEN, BAD_REQUEST_BODY, INVALID_SIGNATURE, INVALID_API_KEY, "
            "BAD_REQUEST_PARAMETERS, AUTHORIZER_FAILURE, UNAUTHORIZED, INTEGRATION_TIMEOUT, ACCESS_DENIED, "
            "DEFAULT_4XX, DEFAULT_5XX, WAF_FILTERED, QUOTA_EXCEEDED, THROTTLED, API_CONFIGURATION_ERROR, "
            "UNSUPPORTED_MEDIA_TYPE, INTEGRATION_FAILURE, EXPIRED_TOKEN]",
        ),
    ),
    (
        "update_method_response, header",
        response(patch("remove", HEADER)),
        (MISSING, "Invalid parameter name specified"),
    ),
    (
        "update_method_response, model",
        response(patch("remove", "/responseModels/application~1json")),
        (MISSING, "Content-Type specified was not found"),
    ),
    (
        "update_method_response, path",
        response(patch("remove", "/wrong/x")),
        (BAD, "Invalid patch path /wrong/x"),
    ),
    (
        "update_method_response, status",
        response(patch("replace", HEADER, "true"), statusCode="201"),
        (MISSING, "Invalid Response status code specified"),
    ),
    (
        "update_method_response, two faults",
        response(patch("wrong", HEADER, "true"), statusCode="wrong"),
        (INVALID, f"2 validation errors detected: {wrong_op('updateMethodResponseInput')}; {WRONG_STATUS}"),
    ),
    (
        "update_method_response, both",
        response(patch("add", HEADER, "true"), patch("add", "/responseModels/application~1json", "Empty")),
        {
            "statusCode": "200",
            "responseModels": {"application/json": "Empty"},
            "responseParameters": {"method.response.header.my-header": True},
        },
    ),
    (
        "put_integration, type",
        integrate("HTTPS_PROXY"),
        (
            INVALID,
            "1 validation error detected: Value 'HTTPS_PROXY' at 'putIntegrationInput.type' failed to satisfy "
            "constraint: Member must satisfy enum value set: [HTTP, MOCK, AWS_PROXY, HTTP_PROXY, AWS]",
        ),
    ),
    (
        "put_integration, no method",
        integrate("HTTP", uri="http://example.com"),
        (BAD, "Enumeration value for HttpMethod must be non-empty"),
    ),
    (
        "put_integration, HTTP",
        integrate("HTTP_PROXY", uri="http://example.com", integrationHttpMethod="POST"),
        {
            **INTEGRATION,
            "connectionType": "INTERNET",
            "httpMethod": "POST",
            "type": "HTTP_PROXY",
            "uri": "http://example.com",
        },
    ),
    (
        "put_integration, no URI",
        integrate("HTTP", uri="non-valid-http", integrationHttpMethod="POST"),
        (BAD, "Invalid HTTP endpoint specified for URI"),
    ),
    (
        "put_integration, no ARN",
        integrate("AWS", uri="non-valid-arn", integrationHttpMethod="POST"),
        (BAD, "Invalid ARN specified in the request"),
    ),
    (
        "put_integration, ARN of a role",
        integrate("AWS", uri="arn:aws:iam::0000000000:role/service-role/asdf", integrationHttpMethod="POST"),
        (BAD, "AWS ARN for integration must contain path or action"),
    ),
    (
        "put_integration, MOCK",
        integrate("MOCK", uri="http://example.com", integrationHttpMethod="POST"),
        {**INTEGRATION, "type": "MOCK"},
    ),
    (
        "put_integration_response, empty template",
        (
            "put_integration_response",
            {**GET, "statusCode": "200", "selectionPattern": "", "responseTemplates": {"application/json": ""}},
        ),
        {"statusCode": "200", "selectionPattern": "", "responseTemplates": {"application/json": None}},
    ),
    (
        "put_integration_response, status",
        ("put_integration_response", {**GET, "statusCode": "wrong"}),
        (INVALID, f"1 validation error detected: {WRONG_STATUS}"),
    ),
    (
        "delete_integration_response, method",
        ("delete_integration_response", {**GET, "httpMethod": "POST", "statusCode": "200"}),
        (MISSING, "Invalid Integration identifier specified"),
    ),
    (
        "delete_integration_response, status",
        ("delete_integration_response", {**GET, "statusCode": "404"}),
        (MISSING, "Invalid Response status code specified"),
    ),
    (
        "update_stage, method settings",
        stage(
            patch("replace", "/*/*/throttling/burstLimit", "123"),
            patch("replace", "/*/*/caching/enabled", "true"),
            patch("replace", "/test/GET/throttling/burstLimit", "124"),
        ),
        {
            "cacheClusterEnabled": False,
            "cacheClusterStatus": "NOT_AVAILABLE",
            "deploymentId": "<one>",
            "methodSettings": {
                "*/*": {**SETTING, "throttlingBurstLimit": 123, "cachingEnabled": True},
                "test/GET": {**SETTING, "throttlingBurstLimit": 124, "cachingEnabled": True},
            },
            "stageName": "s",
            "tracingEnabled": False,
        },
    ),
    (
        "update_stage, no settings",
        stage(patch("remove", "/*/*")),
        (BAD, "Cannot remove method setting */* because there is no method setting for this method "),
    ),
    (
        "canary, added",
        stage(patch("add", "/canarySettings/deploymentId", "<two>")),
        (BAD, "Invalid add operation with path: /canarySettings/deploymentId"),
    ),
    (
        "canary, no deployment",
        stage(patch("replace", "/canarySettings/deploymentId", "deploy")),
        (BAD, "Deployment id does not exist"),
    ),
    (
        "canary, replaced",
        stage(patch("replace", "/canarySettings/deploymentId", "<two>")),
        {
            "cacheClusterEnabled": False,
            "cacheClusterStatus": "NOT_AVAILABLE",
            "canarySettings": {"deploymentId": "<two>", "percentTraffic": 0.0, "useStageCache": False},
            "deploymentId": "<one>",
            "methodSettings": {},
            "stageName": "s",
            "tracingEnabled": False,
        },
    ),
    (
        "canary, promotion",
        stage(patch("copy", "/variables", **{"from": "/canarySettings/stageVariableOverrides"})),
        (BAD, "Promotion not available. Canary does not exist."),
    ),
    (
        "canary, deployment without a stage",
        ("create_deployment", {"restApiId": "<api>", "canarySettings": {"percentTraffic": 50}}),
        (
            BAD,
            f"{CANARY_CONTENT}Non null and non empty stageName must be provided for canary deployment. "
            "Provided value is null",
        ),
    ),
    (
        "usage plan, no stage",
        update("usage_plan", patch("add", "/apiStages", "wrong"), usagePlanId="<plan>"),
        (BAD, "Invalid API Stage specified"),
    ),
    (
        "usage plan, unknown stage",
        update("usage_plan", patch("add", "/apiStages", "<api>:fake"), usagePlanId="<plan>"),
        (MISSING, "Invalid API Stage {api: <api>, stage: fake} specified for usageplan <plan>"),
    ),
    (
        "usage plan, stage that is not in it",
        update("usage_plan", patch("remove", "/apiStages", "<api>:s"), usagePlanId="<plan>"),
        (MISSING, "Invalid API Stage {api: <api>, stage: s} specified for usageplan <plan>"),
    ),
    ("usage plan, unknown", ("get_usage_plan_keys", {"usagePlanId": "bad-id"}), {"items": []}),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(row[0]))
def test_recorded(account: Account, row: Row) -> None:
    _, (operation, params), expected = row
    if isinstance(expected, tuple):
        expected = tuple(account.filled(list(expected)))
    assert account.call(operation, params) == account.filled(expected)


def test_a_canary_is_promoted(account: Account) -> None:
    """test_canary_promotion: the canary's deployment and variables become the stage's."""
    overrides = {"stageVariableOverrides": {"v": "new"}}
    account.call("create_deployment", {"restApiId": "<api>", "stageName": "s", "canarySettings": overrides})
    promoted = account.call(
        *stage(
            patch("replace", "/canarySettings/percentTraffic", "0.0"),
            patch("copy", "/deploymentId", **{"from": "/canarySettings/deploymentId"}),
            patch("copy", "/variables", **{"from": "/canarySettings/stageVariableOverrides"}),
        )
    )
    assert promoted["deploymentId"] == promoted["canarySettings"]["deploymentId"] != account.ids["one"]
    assert (promoted["variables"], promoted["canarySettings"]["percentTraffic"]) == ({"v": "new"}, 0.0)


def test_a_model_in_use_names_the_latest_method(account: Account) -> None:
    """test_put_method_model: a resource below the root is named before the root; an empty description is none."""
    model = {"restApiId": "<api>", "name": "Used", "contentType": "application/json", "schema": '{"type": "object"}'}
    made = account.call("create_model", model)
    emptied = update("model", patch("replace", "/description", ""), restApiId="<api>", modelName="Used")
    assert account.call(*emptied) == made
    account.ids["sub"] = account.client.create_resource(
        restApiId=account.ids["api"], parentId=account.ids["root"], pathPart="test"
    )["id"]
    for resource in ("<root>", "<sub>"):
        method = {"restApiId": "<api>", "resourceId": resource, "httpMethod": "ANY", "authorizationType": "NONE"}
        account.call("put_method", {**method, "requestModels": {"application/json": "Used"}})
    deletion = {"restApiId": "<api>", "modelName": "Used"}
    words = "Cannot delete model 'Used', is referenced in method request: "
    assert account.call("delete_model", deletion) == ("ConflictException", words + "/test/ANY")
    account.call("delete_resource", {"restApiId": "<api>", "resourceId": "<sub>"})
    assert account.call("delete_model", deletion) == ("ConflictException", words + "//ANY")


def test_a_deleted_api_leaves_its_usage_plans(account: Account) -> None:
    """As localstack's fixtures rely on, on AWS: a plan with stages cannot be deleted, one whose API is gone can."""
    account.call(*update("usage_plan", patch("add", "/apiStages", "<api>:s"), usagePlanId="<plan>"))
    plan = {"usagePlanId": "<plan>"}
    assert account.call("delete_usage_plan", plan) == (BAD, "Cannot delete Usage Plan, it has associated API stages")
    account.call("delete_rest_api", {"restApiId": "<api>"})
    assert account.call("get_usage_plan", plan)["apiStages"] == []
    assert account.call("delete_usage_plan", plan) == {}


@pytest.mark.parametrize(
    ("member", "operation", "more"),
    [
        ("requestTemplates", "put_integration", {"type": "MOCK"}),
        ("responseTemplates", "put_integration_response", {"statusCode": "200"}),
    ],
)
def test_templates_on_the_wire(
    account: Account, monkeypatch: pytest.MonkeyPatch, member: str, operation: str, more: dict[str, Any]
) -> None:
    """Null is kept; no text is refused in API Gateway's words (test_put_integration_request_parameter_bool_type,
    test_integration_response_invalid_responsetemplates). botocore would send none of them."""
    monkeypatch.setattr(account.client, "_serializer", account.client._serializer._serializer)
    answers = [
        account.call(operation, {**GET, **more, member: {"application/json": given}}) for given in (None, True, 1)
    ]
    assert answers[0][member] == {"application/json": None}
    words = "class {} can not be converted to an String"
    number = "com.amazon.coral.value.json.numbers.TruncatingBigNumber"
    assert answers[1:] == [
        ("SerializationException", words.format("java.lang.Boolean")),
        ("SerializationException", words.format(number)),
    ]


def test_the_account_has_a_role_for_logs(client: Any) -> None:
    def account(operation: str, **params: Any) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(client, operation)(**params)
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    fresh = account("get_account")
    assert fresh["throttleSettings"] == {"burstLimit": 5000, "rateLimit": 10000.0}
    assert fresh["features"] == ["UsagePlans"]
    role = "arn:aws:iam::000000000000:role/logs"
    changed = account("update_account", patchOperations=[patch("replace", "/cloudwatchRoleArn", role)])
    assert changed == {**fresh, "cloudwatchRoleArn": role} == account("get_account")
    with pytest.raises(ClientError, match="Invalid patch path"):
        client.update_account(patchOperations=[patch("add", "/features/-", "x")])
    assert account("update_account", patchOperations=[patch("replace", "/cloudwatchRoleArn", "")]) == fresh
