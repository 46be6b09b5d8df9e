"""What real AWS answered to boto3 about APIs, methods, integrations and responses, key by key and word by word.

Source and means: `apigateway_account`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from apigateway_account import BAD, GET, INVALID, MISSING, Account, Row, local_client, patch, update
from apigateway_support import ACCOUNT, invoke_uri

REST_API = {
    "apiKeySource": "HEADER",
    "disableExecuteApiEndpoint": False,
    "endpointConfiguration": {"ipAddressType": "ipv4", "types": ["EDGE"]},
    "name": "x",
}
INTEGRATION = {"cacheKeyParameters": [], "passthroughBehavior": "WHEN_NO_MATCH", "timeoutInMillis": 29000}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with local_client(tmp_path_factory.mktemp("snapshots")) as local:
        yield local


@pytest.fixture
def account(client: Any) -> Account:
    return Account(client)


def rest(*patches: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return update("rest_api", *patches, restApiId="<api>")


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
PRIVATE_IP = "Only dualstack ipAddressType is supported for Private APIs."

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
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(row[0]))
def test_recorded(account: Account, row: Row) -> None:
    account.meets(row)


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
