"""OpenAPI documents of REST APIs: merged, exported, imported again, with base paths and CloudFormation's leftovers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from apigateway_support import ACCOUNT, FUNCTION_ARN, Cloud, invoke_uri

from preheat.kernel.errors import AwsError

INTEGRATION = "x-amazon-apigateway-integration"
PROXY = {"type": "aws_proxy", "httpMethod": "POST", "uri": invoke_uri()}
JSON = "application/json"


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def document(*paths: str, **more: Any) -> dict[str, Any]:
    made = {path: {"get": {INTEGRATION: PROXY}} for path in paths}
    return {"openapi": "3.0.1", "info": {"title": "a", "version": "1"}, "paths": made, **more}


def imported(cloud: Cloud, given: Any, **parameters: str) -> str:
    body = given if isinstance(given, bytes) else json.dumps(given).encode()
    return str(cloud.call("import_rest_api", body=body, parameters=parameters)["id"])


def put(cloud: Cloud, api: str, given: Any, **params: Any) -> Any:
    return cloud.call("put_rest_api", restApiId=api, body=json.dumps(given).encode(), **params)


def resources(cloud: Cloud, api: str) -> dict[str, str]:
    return {item["path"]: item["id"] for item in cloud.call("get_resources", restApiId=api)["items"]}


# merge and overwrite


def test_merging_adds_and_replaces(cloud: Cloud) -> None:
    """localstack's test_put_rest_api_mode_binary_media_types, and the API reference's words on `mode`."""
    first = {
        "x-amazon-apigateway-binary-media-types": ["image/png"],
        "components": {"schemas": {"Old": {}, "Both": {}}},
    }
    api = imported(cloud, document("/kept", "/both", **first))
    before = resources(cloud, api)
    second = {
        "x-amazon-apigateway-binary-media-types": ["image/gif"],
        "components": {"schemas": {"Both": {"type": "array"}, "New": {}}},
    }
    added = document("/both", "/new", **second)
    added["paths"]["/both"]["get"]["operationId"] = "replaced"
    answer = put(cloud, api, {**added, "info": {"version": "2"}}, mode="merge")
    assert (answer["name"], answer["version"], answer["binaryMediaTypes"]) == ("a", "2", ["image/png", "image/gif"])
    after = resources(cloud, api)
    assert sorted(after) == ["/", "/both", "/kept", "/new"]
    assert {path: after[path] for path in before} == before
    models = {item["name"]: item for item in cloud.call("get_models", restApiId=api)["items"]}
    assert sorted(models) == ["Both", "New", "Old"]
    assert json.loads(models["Both"]["schema"]) == {"type": "array"}
    method = cloud.call("get_method", restApiId=api, resourceId=after["/both"], httpMethod="GET")
    assert method["operationName"] == "replaced"


def test_overwriting_keeps_ids_of_paths_that_stay(cloud: Cloud) -> None:
    types = {"x-amazon-apigateway-binary-media-types": ["image/png"]}
    api = imported(cloud, document("/a/b", "/gone", **types))
    before = resources(cloud, api)
    answer = put(cloud, api, document("/a/b", "/a/c"), mode="overwrite")
    after = resources(cloud, api)
    assert sorted(after) == ["/", "/a", "/a/b", "/a/c"]
    assert (after["/a/b"], "binaryMediaTypes" in answer) == (before["/a/b"], False)


@pytest.mark.parametrize("mode", ["merge", "overwrite"])
def test_a_refused_document_changes_nothing(cloud: Cloud, mode: str) -> None:
    api = imported(cloud, document("/a"))
    broken = document("/a", "/b")
    broken["paths"]["/b"]["get"][INTEGRATION] = {**PROXY, "type": "wrong"}
    with pytest.raises(AwsError, match="Unable to put method 'GET' on resource at path '/b'"):
        put(cloud, api, broken, mode=mode)
    assert sorted(resources(cloud, api)) == ["/", "/a"]
    assert [item["id"] for item in cloud.call("get_rest_apis")["items"]] == [api]


# base paths

SERVERS = [{"url": "https://api.example.com/{basePath}", "variables": {"basePath": {"default": "/v1/part"}}}]


@pytest.mark.parametrize(
    ("mode", "paths"),
    [
        ("ignore", ["/", "/x"]),
        ("prepend", ["/", "/v1", "/v1/part", "/v1/part/x"]),
        ("split", ["/", "/part", "/part/x"]),
    ],
)
@pytest.mark.parametrize("base", [{"servers": SERVERS}, {"swagger": "2.0", "basePath": "/v1/part"}])
def test_base_paths(cloud: Cloud, mode: str, paths: list[str], base: dict[str, Any]) -> None:
    given = document("/x", **base)
    if "swagger" in given:
        del given["openapi"]
    assert sorted(resources(cloud, imported(cloud, given, basepath=mode))) == paths


def test_an_unknown_base_path_mode(cloud: Cloud) -> None:
    with pytest.raises(AwsError, match="Invalid basepath sideways"):
        imported(cloud, document("/x"), basepath="sideways")


# what CloudFormation or SAM would fill in

TEMPLATE = """openapi: "3.0.1"
info: {title: sam}
paths:
  /x:
    get:
      x-amazon-apigateway-integration:
        type: aws_proxy
        httpMethod: POST
        uri: %s
"""


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ('!Sub "arn:aws:apigateway:${AWS::Region}:lambda:path/x"', "!Sub"),
        ("!GetAtt Predict.Arn", "!GetAtt"),
        ('{"Fn::Sub": "arn:${Predict.Arn}"}', "Fn::Sub"),
        ('"arn:aws:apigateway:${AWS::Region}:lambda:path/x"', "${AWS::Region}"),
        ("\n          Fn::Sub: arn", "Fn::Sub"),
    ],
)
def test_placeholders_are_refused_with_their_line(cloud: Cloud, uri: str, named: str) -> None:
    body = (TEMPLATE % uri).encode()
    line = 10 if uri.startswith("\n") else 9
    with pytest.raises(AwsError) as raised:
        imported(cloud, body)
    assert raised.value.code == "BadRequestException"
    assert raised.value.message.startswith(f"Line {line}: {named} is CloudFormation's to fill in")
    assert "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/" in raised.value.message


def test_stage_variables_are_no_placeholders(cloud: Cloud) -> None:
    uri = invoke_uri(f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:${{stageVariables.name}}")
    api = imported(cloud, (TEMPLATE % json.dumps(uri)).encode())
    cloud.deploy(api, variables={"name": "iris"})
    assert cloud.request(api).status == 200
    assert cloud.functions.invocations[-1].invoked_arn == FUNCTION_ARN


# what methods take from the document


def test_inline_schemas_path_parameters_and_iam(cloud: Cloud) -> None:
    given = document()
    given["paths"]["/pets/{id}"] = {
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
        "post": {
            "security": [{"sigv4": []}],
            "requestBody": {"content": {JSON: {"schema": {"type": "object", "required": ["a"]}}}},
            INTEGRATION: PROXY,
        },
    }
    scheme = {
        "type": "apiKey",
        "name": "Authorization",
        "in": "header",
        "x-amazon-apigateway-authtype": "awsSigv4",
    }
    given["components"] = {"securitySchemes": {"sigv4": scheme}}
    api = imported(cloud, given)
    method = cloud.call("get_method", restApiId=api, resourceId=resources(cloud, api)["/pets/{id}"], httpMethod="POST")
    assert (method["authorizationType"], method["requestParameters"]) == (
        "AWS_IAM",
        {"method.request.path.id": True},
    )
    name = method["requestModels"][JSON]
    schema = cloud.call("get_model", restApiId=api, modelName=name)["schema"]
    assert json.loads(schema) == {"type": "object", "required": ["a"]}


# exports


def petstore(cloud: Cloud) -> str:
    given = document(
        **{
            "x-amazon-apigateway-request-validators": {"all": {"validateRequestBody": True}},
            "x-amazon-apigateway-binary-media-types": ["image/png"],
            "x-amazon-apigateway-gateway-responses": {
                "DEFAULT_4XX": {"responseParameters": {"gatewayresponse.header.A": "'b'"}}
            },
            "components": {
                "schemas": {"Pet": {"type": "object", "required": ["type"]}},
                "securitySchemes": {
                    "key": {"type": "apiKey", "name": "x-api-key", "in": "header"},
                    "auth": {
                        "type": "apiKey",
                        "name": "Authorization",
                        "in": "header",
                        "x-amazon-apigateway-authtype": "custom",
                        "x-amazon-apigateway-authorizer": {"type": "token", "authorizerUri": invoke_uri()},
                    },
                },
            },
        }
    )
    reference = {"schema": {"$ref": "#/components/schemas/Pet"}}
    given["paths"]["/pets/{id}"] = {
        "post": {
            "operationId": "put",
            "security": [{"auth": []}],
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
                {"name": "q", "in": "query", "schema": {"type": "string"}},
            ],
            "requestBody": {"content": {JSON: reference}},
            "responses": {"200": {"description": "ok", "content": {JSON: reference}}},
            "x-amazon-apigateway-request-validator": "all",
            INTEGRATION: {
                "type": "aws",
                "httpMethod": "POST",
                "uri": invoke_uri(),
                "responses": {"default": {"statusCode": "200", "responseTemplates": {JSON: "x"}}},
            },
        },
        "get": {"security": [{"key": []}], INTEGRATION: PROXY},
    }
    api = imported(cloud, given)
    cloud.deploy(api, "prod")
    return api


def export(cloud: Cloud, api: str, kind: str = "oas30", **params: Any) -> Any:
    return cloud.call("get_export", restApiId=api, stageName="prod", exportType=kind, **params)


EVERYTHING = {"parameters": {"extensions": "apigateway"}}


@pytest.mark.parametrize("kind", ["oas30", "swagger"])
@pytest.mark.parametrize("accepts", [JSON, "application/yaml"])
def test_what_is_exported_imports_as_the_same(cloud: Cloud, kind: str, accepts: str) -> None:
    api = petstore(cloud)
    answer = export(cloud, api, kind, accepts=accepts, **EVERYTHING)
    suffix = accepts.rpartition("/")[2]
    assert answer["contentDisposition"] == f'attachment; filename="{kind}_1.{suffix}"'
    again = imported(cloud, answer["body"])
    cloud.deploy(again, "prod")
    first, second = (document_of(cloud, one, kind) for one in (api, again))
    assert first == second
    assert cloud.request(again, "/pets/1", "prod").status == 403


def document_of(cloud: Cloud, api: str, kind: str) -> Any:
    """An exported document without the API's own address and ids."""
    body = export(cloud, api, kind, **EVERYTHING)["body"].decode().replace(api, "<api>")
    read = json.loads(body)
    for item in read["paths"].values():
        for operation in item.values():
            operation.get(INTEGRATION, {}).pop("cacheNamespace", None)
    return read


def test_without_extensions_it_is_plain_openapi(cloud: Cloud) -> None:
    api = petstore(cloud)
    plain = export(cloud, api)["body"].decode()
    assert INTEGRATION not in plain
    read = json.loads(plain)
    assert read["openapi"] == "3.0.1"
    assert sorted(read["paths"]["/pets/{id}"]) == ["get", "post"]
    assert read["components"]["schemas"] == {"Pet": {"type": "object", "required": ["type"]}}
    assert read["servers"][0]["variables"]["basePath"] == {"default": "prod"}
    swagger = yaml.safe_load(export(cloud, api, "swagger", accepts="application/yaml")["body"])
    assert (swagger["swagger"], swagger["basePath"]) == ("2.0", "/prod")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"kind": "raml"}, "No API exporter for type 'raml'"),
        ({"accepts": "text/plain"}, "Unsupported Accept text/plain"),
    ],
)
def test_exports_refused(cloud: Cloud, params: dict[str, Any], words: str) -> None:
    with pytest.raises(AwsError, match=words):
        export(cloud, petstore(cloud), **params)
