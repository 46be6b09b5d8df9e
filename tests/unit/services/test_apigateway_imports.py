"""OpenAPI documents: imported, deployed and served; and TestInvokeMethod."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from apigateway_support import ACCOUNT, FUNCTION_ARN, Cloud, invoke_uri

from preheat.kernel.errors import AwsError

PROXY = {"type": "aws_proxy", "httpMethod": "POST", "uri": invoke_uri(), "passthroughBehavior": "when_no_match"}
AUTH_URI = invoke_uri(f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:auth")


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def document(**more: Any) -> dict[str, Any]:
    return {
        "openapi": "3.0.1",
        "info": {"title": "Iris", "version": "2026-01-01", "description": "predicts"},
        "paths": {
            "/predict/{model}": {
                "post": {
                    "operationId": "predict",
                    "parameters": [{"name": "model", "in": "path", "required": True}],
                    "requestBody": {
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Input"}}}
                    },
                    "responses": {"200": {"description": "ok", "headers": {"X-A": {"schema": {"type": "string"}}}}},
                    "x-amazon-apigateway-integration": PROXY,
                },
                "options": {
                    "responses": {"204": {"description": "CORS"}},
                    "x-amazon-apigateway-integration": {
                        "type": "mock",
                        "requestTemplates": {"application/json": '{"statusCode": 204}'},
                        "responses": {
                            "default": {
                                "statusCode": "204",
                                "responseParameters": {"method.response.header.Access-Control-Allow-Origin": "'*'"},
                            }
                        },
                    },
                },
            },
            "/": {"x-amazon-apigateway-any-method": {"x-amazon-apigateway-integration": PROXY}},
        },
        "components": {
            "schemas": {
                "Input": {
                    "type": "object",
                    "required": ["values"],
                    "properties": {"values": {"$ref": "#/components/schemas/Values"}},
                },
                "Values": {"type": "array", "items": {"type": "number"}},
            }
        },
        "x-amazon-apigateway-request-validators": {
            "all": {"validateRequestBody": True, "validateRequestParameters": True}
        },
        "x-amazon-apigateway-request-validator": "all",
        "x-amazon-apigateway-gateway-responses": {
            "DEFAULT_4XX": {"responseParameters": {"gatewayresponse.header.Access-Control-Allow-Origin": "'*'"}}
        },
        "x-amazon-apigateway-binary-media-types": ["image/png"],
        **more,
    }


def imported(cloud: Cloud, given: Any, operation: str = "import_rest_api", **params: Any) -> str:
    body = given if isinstance(given, bytes) else json.dumps(given).encode()
    api = str(cloud.call(operation, body=body, **params)["id"])
    cloud.deploy(api)
    return api


def test_import_and_serve(cloud: Cloud) -> None:
    api = imported(cloud, document())
    shown = cloud.call("get_rest_api", restApiId=api)
    assert (shown["name"], shown["description"], shown["version"]) == ("Iris", "predicts", "2026-01-01")
    assert shown["binaryMediaTypes"] == ["image/png"]
    paths = {
        item["path"]: sorted(item.get("resourceMethods", {}))
        for item in cloud.call("get_resources", restApiId=api)["items"]
    }
    assert paths == {"/": ["ANY"], "/predict": [], "/predict/{model}": ["OPTIONS", "POST"]}
    good = cloud.request(api, "/predict/iris", method="POST", body=b'{"values": [1]}')
    assert (good.status, good.body) == (200, b"ok")
    bad = cloud.request(api, "/predict/iris", method="POST", body=b'{"values": "x"}')
    assert (bad.status, dict(bad.headers)["Access-Control-Allow-Origin"]) == (400, "*")
    preflight = cloud.request(api, "/predict/iris", method="OPTIONS")
    assert (preflight.status, dict(preflight.headers)["Access-Control-Allow-Origin"]) == (204, "*")
    assert cloud.request(api, "/", method="GET").status == 200


def test_yaml_and_swagger(cloud: Cloud) -> None:
    text = f"""
swagger: "2.0"
info: {{title: pets}}
securityDefinitions:
  key: {{type: apiKey, name: x-api-key, in: header}}
  auth:
    type: apiKey
    name: Authorization
    in: header
    x-amazon-apigateway-authtype: custom
    x-amazon-apigateway-authorizer: {{type: token, authorizerUri: "{AUTH_URI}", authorizerResultTtlInSeconds: 60}}
paths:
  /open:
    get:
      x-amazon-apigateway-integration: {json.dumps(PROXY)}
  /keyed:
    get:
      security: [{{key: []}}]
      x-amazon-apigateway-integration: {json.dumps(PROXY)}
  /guarded:
    get:
      security: [{{auth: []}}]
      x-amazon-apigateway-integration: {json.dumps(PROXY)}
"""
    api = imported(cloud, text.encode())
    assert [cloud.request(api, path).status for path in ("/open", "/keyed", "/guarded")] == [200, 403, 401]
    (authorizer,) = cloud.call("get_authorizers", restApiId=api)["items"]
    assert authorizer["identitySource"] == "method.request.header.Authorization"
    assert authorizer["authorizerResultTtlInSeconds"] == 60


@pytest.mark.parametrize(
    ("server", "prepended"),
    [
        ({"url": "https://x.com/base-url/part/"}, "/base-url/part/test"),
        ({"url": "https://x.com/{basePath}", "variables": {"basePath": {"default": "v1"}}}, "/v1/test"),
        ({"url": "https://x.com", "variables": {"basePath": {"default": "/base-var"}}}, "/base-var/test"),
        ({"url": "https://x.com"}, "/test"),
    ],
)
def test_the_base_path_is_the_servers(cloud: Cloud, server: dict[str, Any], prepended: str) -> None:
    """localstack's test_import_rest_api_with_base_path_oas30."""
    paths = {"/test": {"get": {"x-amazon-apigateway-integration": PROXY}}}
    api = imported(cloud, document(servers=[server], paths=paths), parameters={"basepath": "prepend"})
    assert cloud.request(api, prepended).status == 200


def test_put_overwrites_what_the_next_deployment_serves(cloud: Cloud) -> None:
    api = imported(cloud, document())
    simple = {
        "openapi": "3.0.1",
        "info": {"title": "new"},
        "paths": {"/new": {"get": {"x-amazon-apigateway-integration": PROXY}}},
    }
    cloud.call("put_rest_api", restApiId=api, mode="overwrite", body=json.dumps(simple).encode())
    assert cloud.request(api, "/new").status == 403
    assert cloud.request(api, "/").status == 200
    cloud.deploy(api)
    assert cloud.request(api, "/new").status == 200
    assert cloud.request(api, "/").status == 403
    assert cloud.call("get_rest_api", restApiId=api)["name"] == "new"
    assert cloud.call("get_models", restApiId=api)["items"] == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{}", "Unable to parse API definition"),
        (b": :\n\t-", "Unable to parse API definition"),
        (b"[1]", "Unable to parse API definition"),
        (
            json.dumps(document(**{"x-amazon-apigateway-request-validator": "none"})).encode(),
            "Unable to put method 'POST' on resource at path '/predict/{model}'",
        ),
        (b'{"openapi": "3.0.1", "info": {}, "paths": {}}', "Invalid request input"),
    ],
)
def test_a_refused_document_leaves_nothing(cloud: Cloud, body: bytes, words: str) -> None:
    with pytest.raises(AwsError, match="(?s).*" + words.replace("{", r"\{").replace("}", r"\}")):
        cloud.call("import_rest_api", body=body)
    assert cloud.call("get_rest_apis")["items"] == []
    api = imported(cloud, document())
    before = cloud.call("get_resources", restApiId=api, embed=["methods"])
    with pytest.raises(AwsError):
        cloud.call("put_rest_api", restApiId=api, mode="overwrite", body=body)
    assert cloud.call("get_resources", restApiId=api, embed=["methods"]) == before


def test_invoke_method(cloud: Cloud) -> None:
    api = cloud.api()
    resource = cloud.method(api, "/{id}")
    names = {"restApiId": api, "resourceId": resource, "httpMethod": "ANY"}
    operations = [{"op": "replace", "path": "/apiKeyRequired", "value": "true"}]
    cloud.call("update_method", **names, patchOperations=operations)
    answer = cloud.call(
        "test_invoke_method",
        **names,
        pathWithQueryString="/p1?q=1",
        body='{"a": 1}',
        headers={"X-A": "b"},
        stageVariables={"v": "1"},
    )
    assert (answer["status"], answer["body"]) == (200, "ok")
    assert answer["headers"]["Content-Type"] == "application/json"
    trace = answer["headers"]["X-Amzn-Trace-Id"]
    log = [line.partition(" : ")[2] for line in answer["log"].splitlines()[2:]]
    function = f"https://lambda.us-east-1.amazonaws.com/2015-03-31/functions/{FUNCTION_ARN}/invocations"
    endpoint = [line for line in log if line.startswith(("Endpoint", "Received")) and function not in line]
    assert [line.partition(":")[0] for line in endpoint] == [
        "Endpoint request headers",
        "Endpoint request body after transformations",
        "Received response. Status",
        "Endpoint response headers",
        "Endpoint response body before transformations",
    ]
    assert log == [
        "HTTP Method: GET, Resource Path: /p1",
        "Method request path: {id=p1}",
        "Method request query string: {q=1}",
        "Method request headers: {X-A=b}",
        'Method request body before transformations: {"a": 1}',
        f"Endpoint request URI: {function}",
        *endpoint[:2],
        f"Sending request to {function}",
        *endpoint[2:],
        "Method response body after transformations: ok",
        f"Method response headers: {{Content-Type=application/json, X-Amzn-Trace-Id={trace}}}",
        "Successfully completed execution",
        "Method completed with status: 200",
    ]
    elsewhere = cloud.call("test_invoke_method", **names, pathWithQueryString="/random/test")
    assert elsewhere["status"] == 200
    assert "Method request path: {}" in elsewhere["log"]
    event = json.loads(cloud.functions.invocations[0].payload)
    assert (event["pathParameters"], event["queryStringParameters"], event["body"]) == (
        {"id": "p1"},
        {"q": "1"},
        '{"a": 1}',
    )
    assert event["stageVariables"] == {"v": "1"}
    assert (event["headers"], event["multiValueHeaders"]) == ({"X-A": "b"}, {"X-A": ["b"]})
    context = event["requestContext"]
    assert (context["stage"], context["path"], context["domainName"]) == (
        "test-invoke-stage",
        "/{id}",
        "testPrefix.testDomainName",
    )
    assert (context["identity"]["sourceIp"], context["identity"]["apiKey"]) == (
        "test-invoke-source-ip",
        "test-invoke-api-key",
    )
    bare = json.loads(cloud.functions.invocations[1].payload)
    assert (bare["headers"], bare["multiValueHeaders"], bare["body"]) == (None, None, None)
