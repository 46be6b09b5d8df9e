"""Refusals and answers recorded against AWS (localstack's test_apigateway_api.snapshot.json), case by case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from apigateway_support import ACCOUNT, Cloud

from preheat.kernel.errors import AwsError

NO_API = f"Invalid API identifier specified {ACCOUNT}:no"
NO_SCHEMA = "Model schema must have at least 1 property or array items defined"


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def refusal(cloud: Cloud, operation: str, **params: Any) -> tuple[str, int, str]:
    with pytest.raises(AwsError) as raised:
        cloud.call(operation, **params)
    return raised.value.code, raised.value.status, raised.value.message


def patch(op: str, path: str | None, value: str | None = None) -> list[dict[str, Any]]:
    given = {"op": op, "path": path, "value": value}
    return [{name: item for name, item in given.items() if item is not None}]


MODEL = {"name": "calc", "contentType": "application/json", "schema": '{"type": "object"}'}


@pytest.mark.parametrize(
    ("operation", "params", "expected"),
    [
        ("create_model", {"restApiId": "no", **MODEL}, ("NotFoundException", 404, NO_API)),
        ("get_models", {"restApiId": "no"}, ("NotFoundException", 404, NO_API)),
        (
            "get_model",
            {"restApiId": "no", "modelName": "m"},
            ("NotFoundException", 404, "Invalid model name specified: m"),
        ),
        (
            "delete_model",
            {"restApiId": "no", "modelName": "m"},
            ("NotFoundException", 404, "Invalid model name specified: m"),
        ),
        ("create_model", MODEL, ("ConflictException", 409, "Model name already exists for this REST API")),
        ("create_model", {**MODEL, "name": ""}, ("BadRequestException", 400, "Model name must be non-empty")),
        ("create_model", {**MODEL, "name": "n", "schema": ""}, ("BadRequestException", 400, NO_SCHEMA)),
        ("create_model", {"name": "n", "contentType": "application/xml"}, ("BadRequestException", 400, NO_SCHEMA)),
        (
            "update_model",
            {"modelName": "calc", "patchOperations": patch("add", "/wrong-path", "x")},
            (
                "BadRequestException",
                400,
                "Invalid patch path  '/wrong-path' specified for op 'add'. Please choose supported operations",
            ),
        ),
        (
            "update_model",
            {"modelName": "calc", "patchOperations": patch("replace", "/name", "x")},
            (
                "BadRequestException",
                400,
                "Invalid patch path  '/name' specified for op 'replace'. Must be one of: [/description, /schema]",
            ),
        ),
        (
            "update_model",
            {"modelName": "calc", "patchOperations": patch("replace", "/schema", "")},
            ("BadRequestException", 400, NO_SCHEMA),
        ),
        (
            "create_request_validator",
            {"restApiId": "no", "name": "v"},
            ("BadRequestException", 400, "Invalid REST API identifier specified"),
        ),
        ("get_request_validators", {"restApiId": "no"}, ("NotFoundException", 404, NO_API)),
        (
            "get_request_validator",
            {"restApiId": "no", "requestValidatorId": "v"},
            ("NotFoundException", 404, "Invalid Request Validator identifier specified"),
        ),
        (
            "delete_request_validator",
            {"requestValidatorId": "v"},
            ("NotFoundException", 404, "Invalid Request Validator identifier specified"),
        ),
        ("get_gateway_responses", {"restApiId": "no"}, ("NotFoundException", 404, NO_API)),
        (
            "delete_gateway_response",
            {"responseType": "DEFAULT_4XX"},
            ("NotFoundException", 404, "Gateway response type not defined on api"),
        ),
        (
            "test_invoke_method",
            {"restApiId": "no", "resourceId": "r", "httpMethod": "GET"},
            ("NotFoundException", 404, "Invalid Resource identifier specified"),
        ),
    ],
)
def test_refused(cloud: Cloud, operation: str, params: dict[str, Any], expected: tuple[str, int, str]) -> None:
    api = cloud.api()
    cloud.call("create_model", restApiId=api, **MODEL)
    assert refusal(cloud, operation, **{"restApiId": api, **params}) == expected


def test_models_are_listed_by_name(cloud: Cloud) -> None:
    api = cloud.api()
    cloud.call("create_model", restApiId=api, **{**MODEL, "name": "CalcOutput"})
    items = cloud.call("get_models", restApiId=api)["items"]
    assert [item["name"] for item in items] == ["CalcOutput", "Empty", "Error"]
    assert items[1]["description"] == "This is a default empty schema model"


@pytest.mark.parametrize(
    ("op", "path", "value", "words"),
    [
        ("add", "/validateRequestBody", "true", "specified for op 'add'. Please choose supported operations"),
        ("remove", "/validateRequestBody", None, "specified for op 'remove'. Please choose supported operations"),
        (
            "replace",
            "/invalidPath",
            "x",
            "Must be one of: [/name, /validateRequestParameters, /validateRequestBody]",
        ),
        ("replace", "/name", "", "Request Validator name cannot be blank"),
    ],
)
def test_validator_patches_refused(cloud: Cloud, op: str, path: str, value: str | None, words: str) -> None:
    api = cloud.api()
    made = cloud.call("create_request_validator", restApiId=api, name="v")
    assert made == {"id": made["id"], "name": "v", "validateRequestBody": False, "validateRequestParameters": False}
    names = {"restApiId": api, "requestValidatorId": made["id"]}
    assert refusal(cloud, "update_request_validator", **names, patchOperations=patch(op, path, value))[2].endswith(
        words
    )
    turned_on = cloud.call(
        "update_request_validator", **names, patchOperations=patch("replace", "/validateRequestBody", "true")
    )
    without_value = cloud.call(
        "update_request_validator", **names, patchOperations=patch("replace", "/validateRequestBody")
    )
    assert (turned_on["validateRequestBody"], without_value["validateRequestBody"]) == (True, False)


@pytest.mark.parametrize(
    ("operations", "code", "words"),
    [
        (patch("add", "/authorizationType", "x"), "BadRequestException", "Must be one of: [replace]"),
        (patch("remove", "/apiKeyRequired"), "BadRequestException", "Must be one of: [replace]"),
        (patch("replace", "/httpMethod", "GET"), "BadRequestException", "Invalid patch path /httpMethod"),
        (patch("replace", "/requestParameters", "x"), "BadRequestException", "Invalid patch path /requestParameters"),
        (
            patch("add", "/requestModels/application/json", "Empty"),
            "BadRequestException",
            "Invalid patch path /requestModels/application/json",
        ),
        (
            patch("replace", "/authorizationType", "CUSTOM"),
            "BadRequestException",
            "Setting the authorization type to CUSTOM or COGNITO_USER_POOLS requires a valid authorizer.",
        ),
        (
            patch("replace", "/requestValidatorId", "no"),
            "BadRequestException",
            "Invalid Request Validator identifier specified",
        ),
    ],
)
def test_method_patches_refused(cloud: Cloud, operations: list[dict[str, Any]], code: str, words: str) -> None:
    api = cloud.api()
    names = {"restApiId": api, "resourceId": cloud.method(api, "/x"), "httpMethod": "ANY"}
    got = refusal(cloud, "update_method", **names, patchOperations=operations)
    assert (got[0], got[1]) == (code, 400)
    assert got[2].endswith(words)


def test_a_method_takes_and_forgets_what_does_not_apply(cloud: Cloud) -> None:
    api = cloud.api()
    names = {"restApiId": api, "resourceId": cloud.method(api, "/x"), "httpMethod": "ANY"}
    for path, value in (("/apiKeyRequired", "no boolean"), ("/authorizerId", "abc123")):
        method = cloud.call("update_method", **names, patchOperations=patch("replace", path, value))
        assert (method["apiKeyRequired"], method["authorizationType"]) == (False, "NONE")
        assert "authorizerId" not in method


def test_gateway_responses_inherit_their_familys_default(cloud: Cloud) -> None:
    api = cloud.api()
    cloud.call(
        "put_gateway_response",
        restApiId=api,
        responseType="DEFAULT_5XX",
        statusCode="599",
        responseParameters={"gatewayresponse.header.a": "'b'"},
    )
    shown = {item["responseType"]: item for item in cloud.call("get_gateway_responses", restApiId=api)["items"]}
    assert list(shown) == sorted(shown)
    inherited = shown["API_CONFIGURATION_ERROR"]
    assert (inherited["statusCode"], inherited["defaultResponse"]) == ("599", True)
    assert inherited["responseParameters"] == {"gatewayresponse.header.a": "'b'"}
    assert shown["ACCESS_DENIED"]["statusCode"] == "403"
    assert "statusCode" not in shown["DEFAULT_4XX"]


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        (patch("add", "/statusCode", "444"), ("BadRequestException", 400, "Invalid patch path /statusCode")),
        (patch("remove", "/statusCode"), ("BadRequestException", 400, "Invalid patch path /statusCode")),
        (
            patch("replace", "/responseParameters/gatewayresponse.header.none", "'x'"),
            ("NotFoundException", 404, "Invalid parameter name specified"),
        ),
        (patch("add", None, "x"), ("BadRequestException", 400, "Invalid patch path null")),
        (patch("replace", "/wrongPath", "x"), ("BadRequestException", 400, "Invalid patch path /wrongPath")),
        (
            patch("replace", "/responseTemplates/application~1json"),
            ("BadRequestException", 400, "Invalid null or empty value in responseTemplates"),
        ),
        (
            patch("add", "/responseParameters/gatewayresponse.header.a"),
            ("BadRequestException", 400, "Invalid null or empty value in responseParameters"),
        ),
        (
            patch("move", "/statusCode", "x"),
            ("BadRequestException", 400, "Invalid patch operation specified. Must be 'add'|'remove'|'replace'"),
        ),
    ],
)
def test_gateway_response_patches_refused(
    cloud: Cloud, operations: list[dict[str, Any]], expected: tuple[str, int, str]
) -> None:
    api = cloud.api()
    names = {"restApiId": api, "responseType": "DEFAULT_4XX"}
    assert refusal(cloud, "update_gateway_response", **names, patchOperations=operations) == expected


def test_an_http_integration_and_its_responses(cloud: Cloud) -> None:
    api = cloud.api()
    integration = {"type": "HTTP", "integrationHttpMethod": "POST", "uri": "http://localhost:1/x"}
    names = {"restApiId": api, "resourceId": cloud.method(api, "/x", "GET", **integration), "httpMethod": "GET"}
    shown = cloud.call("get_integration", **names)
    assert (shown["connectionType"], shown["passthroughBehavior"]) == ("INTERNET", "WHEN_NO_MATCH")
    cloud.call("put_method_response", **names, statusCode="200")
    given = {"statusCode": "200", "selectionPattern": "2\\d{2}"}
    assert cloud.call("put_integration_response", **names, **given, responseTemplates={}) == {
        **given,
        "responseTemplates": {},
    }
    binary = {**given, "contentHandling": "CONVERT_TO_BINARY"}
    assert cloud.call("put_integration_response", **names, **binary) == binary
    cloud.call("delete_integration_response", **names, statusCode="200")
    assert "integrationResponses" not in cloud.call("get_integration", **names)
