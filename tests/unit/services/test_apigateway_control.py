"""The control plane: AWS's answers and AWS's words (recorded in localstack's public snapshot tests)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from apigateway_support import Cloud, invoke_uri, patch, refusal


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def test_create_rest_api(cloud: Cloud) -> None:
    created = cloud.call("create_rest_api", name="iris", description="d", tags={"k": "v"})
    assert re.fullmatch("[a-z0-9]{10}", created["id"])
    assert re.fullmatch("[a-z0-9]{10}", created["rootResourceId"])
    assert abs((datetime.now(UTC) - created["createdDate"]).total_seconds()) < 5
    rest = {key: value for key, value in created.items() if key not in ("id", "rootResourceId", "createdDate")}
    assert rest == {
        "name": "iris",
        "description": "d",
        "apiKeySource": "HEADER",
        "disableExecuteApiEndpoint": False,
        "endpointConfiguration": {"types": ["EDGE"], "ipAddressType": "ipv4"},
        "tags": {"k": "v"},
    }
    assert cloud.call("get_rest_api", restApiId=created["id"]) == created
    root = {"id": created["rootResourceId"], "path": "/"}
    assert cloud.call("get_resources", restApiId=created["id"]) == {"items": [root]}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"description": ""}, ("BadRequestException", 400, "Description cannot be an empty string")),
        ({"name": ""}, ("BadRequestException", 400, "Invalid request input")),
        ({"policy": "{}"}, ("NotImplementedException", 501, "policy (resource policies) is not built in")),
        ({"minimumCompressionSize": -1}, ("BadRequestException", 400, "Invalid minimum compression size, must be")),
        ({"endpointConfiguration": {"types": []}}, ("BadRequestException", 400, "REGIONAL Configuration and EDGE")),
    ],
)
def test_create_rest_api_refused(cloud: Cloud, params: dict[str, Any], expected: tuple[str, int, str]) -> None:
    code, status, message = refusal(lambda: cloud.call("create_rest_api", **{"name": "x", **params}))
    assert (code, status) == expected[:2]
    assert message.startswith(expected[2])


def test_pages(cloud: Cloud) -> None:
    ids = [cloud.api() for _ in range(28)]
    first = cloud.call("get_rest_apis")
    second = cloud.call("get_rest_apis", position=first["position"])
    assert [item["id"] for item in first["items"] + second["items"]] == ids
    assert len(first["items"]) == 25
    assert "position" not in second
    assert len(cloud.call("get_rest_apis", limit=500)["items"]) == 28
    for position in ("é", "!!", "LTE="):
        assert refusal(lambda p=position: cloud.call("get_rest_apis", position=p))[1] == 400


def test_update_rest_api(cloud: Cloud) -> None:
    api = cloud.api(binaryMediaTypes=["image/png", "image/jpeg"], description="d")

    def update(*operation: str) -> dict[str, Any]:
        return cloud.call("update_rest_api", restApiId=api, patchOperations=patch(*operation))

    replaced = update("replace", "/binaryMediaTypes/image~1png", "image/gif")
    assert replaced["binaryMediaTypes"] == ["image/jpeg", "image/gif"]
    assert replaced["tags"] == {}
    assert update("add", "/binaryMediaTypes/image~1*")["binaryMediaTypes"][-1] == "image/*"
    assert update("remove", "/binaryMediaTypes/image~1*")["binaryMediaTypes"] == ["image/jpeg", "image/gif"]
    assert "description" not in update("remove", "/description")
    assert update("replace", "/name", "new")["name"] == "new"
    assert update("replace", "/disableExecuteApiEndpoint", "true")["disableExecuteApiEndpoint"] is True
    only_replace = "Invalid patch operation specified. Must be one of: [replace]"
    assert refusal(lambda: update("add", "/name", "x")) == ("BadRequestException", 400, only_replace)
    for op in ("add", "replace", "remove"):
        message = refusal(lambda op=op: update(op, "/binaryMediaTypes", "x"))[2]
        assert message == "Invalid patch path /binaryMediaTypes"


def test_resources(cloud: Cloud) -> None:
    api = cloud.api()
    ids = {path: cloud.resource(api, path) for path in ("/parent/child/{proxy+}", "/parent/{id}", "/{proxy+}")}
    child = cloud.resource(api, "/parent/child")
    items = cloud.call("get_resources", restApiId=api)["items"]
    assert [item["path"] for item in items] == [
        "/",
        "/parent",
        "/parent/child",
        "/parent/child/{proxy+}",
        "/parent/{id}",
        "/{proxy+}",
    ]
    assert cloud.call("get_resource", restApiId=api, resourceId=ids["/parent/{id}"]) == {
        "id": ids["/parent/{id}"],
        "parentId": cloud.resource(api, "/parent"),
        "pathPart": "{id}",
        "path": "/parent/{id}",
    }
    assert re.fullmatch("[a-z0-9]{6}", child)
    cloud.call("delete_resource", restApiId=api, resourceId=cloud.resource(api, "/parent"))
    assert len(cloud.call("get_resources", restApiId=api)["items"]) == 2
    gone = ("NotFoundException", 404, "Invalid Resource identifier specified")
    assert refusal(lambda: cloud.call("get_resource", restApiId=api, resourceId=child)) == gone


@pytest.mark.parametrize(
    ("parent", "part", "expected"),
    [
        ("/", "pets", ("ConflictException", 409, "Another resource with the same parent already has this name: pets")),
        ("/", "a/b", ("BadRequestException", 400, "Resource's path part only allow")),
        ("/", "", ("BadRequestException", 400, "Resource's path part only allow")),
        ("/", "a\n", ("BadRequestException", 400, "Resource's path part only allow")),
        (
            "/",
            "{other}",
            (
                "BadRequestException",
                400,
                "A sibling ({proxy+}) of this resource already has a variable path part -- only one is allowed",
            ),
        ),
        (
            "/{proxy+}",
            "x",
            ("BadRequestException", 400, "Cannot create a child of a resource with a greedy path variable: {proxy+}"),
        ),
    ],
)
def test_create_resource_refused(cloud: Cloud, parent: str, part: str, expected: tuple[str, int, str]) -> None:
    api = cloud.api()
    cloud.resource(api, "/pets")
    cloud.resource(api, "/{proxy+}")
    parent_id = cloud.resource(api, parent)
    code, status, message = refusal(
        lambda: cloud.call("create_resource", restApiId=api, parentId=parent_id, pathPart=part)
    )
    assert (code, status) == expected[:2]
    assert message.startswith(expected[2])


def test_update_resource_moves_what_is_below(cloud: Cloud) -> None:
    api = cloud.api()
    child = cloud.resource(api, "/pets/sub/deep")
    pets, sub = cloud.resource(api, "/pets"), cloud.resource(api, "/pets/sub")
    root = cloud.resource(api, "/")

    def update(resource: str, *operation: str) -> dict[str, Any]:
        return cloud.call("update_resource", restApiId=api, resourceId=resource, patchOperations=patch(*operation))

    assert update(pets, "replace", "/pathPart", "dogs")["path"] == "/dogs"
    assert cloud.call("get_resource", restApiId=api, resourceId=child)["path"] == "/dogs/sub/deep"
    assert refusal(lambda: update(pets, "replace", "/parentId", child))[2] == "Resources cannot be cyclical."
    assert refusal(lambda: update(pets, "replace", "/parentId", pets))[2] == "Resources cannot be cyclical."
    assert update(sub, "replace", "/parentId", root)["path"] == "/sub"
    conflict = "Another resource with the same parent already has this name: dogs"
    assert refusal(lambda: update(sub, "replace", "/pathPart", "dogs")) == ("ConflictException", 409, conflict)
    assert refusal(lambda: update(sub, "remove", "/pathPart"))[2] == (
        "Invalid patch path  '/pathPart' specified for op 'remove'. Please choose supported operations"
    )
    assert refusal(lambda: update(sub, "replace", "/invalid", "x"))[2] == (
        "Invalid patch path  '/invalid' specified for op 'replace'. Must be one of: [/parentId, /pathPart]"
    )
    assert refusal(lambda: update(sub, "replace", "/parentId", "nosuch"))[1] == 404
    cloud.open()
    assert cloud.call("get_resource", restApiId=api, resourceId=child)["path"] == "/sub/deep"
    assert cloud.resource(api, "/sub/deep") == child


def test_methods(cloud: Cloud) -> None:
    api = cloud.api()
    resource = cloud.resource(api, "/x")
    names = {"restApiId": api, "resourceId": resource, "httpMethod": "ANY"}
    method = {"httpMethod": "ANY", "authorizationType": "NONE", "apiKeyRequired": False}
    assert cloud.call("put_method", **names, authorizationType="NONE") == method
    assert cloud.call("get_method", **names) == method
    listed = cloud.call("get_resource", restApiId=api, resourceId=resource)
    assert listed["resourceMethods"] == {"ANY": {}}
    embedded = cloud.call("get_resource", restApiId=api, resourceId=resource, embed=["methods"])
    assert embedded["resourceMethods"] == {"ANY": method}
    again = refusal(lambda: cloud.call("put_method", **names, authorizationType="NONE"))
    assert again == ("ConflictException", 409, "Method already exists for this resource")
    assert cloud.call("delete_method", **names) == {}
    gone = ("NotFoundException", 404, "Invalid Method identifier specified")
    assert refusal(lambda: cloud.call("get_method", **names)) == gone
    assert refusal(lambda: cloud.call("delete_method", **names)) == gone


@pytest.mark.parametrize(
    ("params", "status", "message"),
    [
        ({"restApiId": "nosuch"}, 404, "Invalid Resource identifier specified"),
        ({"resourceId": "nosuch"}, 404, "Invalid Resource identifier specified"),
        ({"httpMethod": "FETCH"}, 400, "Invalid HttpMethod specified. Valid options are GET,PUT,POST,DELETE,PATCH"),
        ({"authorizationType": "CUSTOM"}, 400, "Invalid authorizer ID specified. Setting the authorization type to"),
        ({"requestValidatorId": "x"}, 400, "Invalid Request Validator identifier specified"),
        ({"requestModels": {"application/json": "petModel"}}, 400, "Invalid model identifier specified: petModel"),
        ({"authorizationType": "OTHER"}, 501, "authorizationType OTHER is not built"),
        ({"authorizationType": "CUSTOM", "authorizerId": "no"}, 400, "Invalid authorizer ID specified. Setting the"),
        (
            {"requestParameters": {"method.request.header.a": True, "method.request.path.a": True}},
            400,
            "Parameter names must be unique across querystring, header and path",
        ),
    ],
)
def test_put_method_refused(cloud: Cloud, params: dict[str, Any], status: int, message: str) -> None:
    api = cloud.api()
    names = {"restApiId": api, "resourceId": cloud.resource(api, "/"), "httpMethod": "GET"}
    _, got, text = refusal(lambda: cloud.call("put_method", **{"authorizationType": "NONE", **names, **params}))
    assert (got, text[: len(message)]) == (status, message)


def test_integrations(cloud: Cloud) -> None:
    api = cloud.api()
    resource = cloud.method(api, "/x", "GET")
    names = {"restApiId": api, "resourceId": resource, "httpMethod": "GET"}
    integration = {
        "type": "AWS_PROXY",
        "httpMethod": "POST",
        "uri": invoke_uri(),
        "passthroughBehavior": "WHEN_NO_MATCH",
        "timeoutInMillis": 29000,
        "cacheNamespace": resource,
        "cacheKeyParameters": [],
    }
    assert cloud.call("get_integration", **names) == integration
    assert cloud.call("put_integration_response", **names, statusCode="200", selectionPattern="") == {
        "statusCode": "200",
        "selectionPattern": "",
    }
    assert cloud.call("put_method_response", **names, statusCode="200") == {"statusCode": "200"}
    method = cloud.call("get_method", **names)
    assert method["methodIntegration"]["integrationResponses"] == {"200": {"statusCode": "200", "selectionPattern": ""}}
    assert method["methodResponses"] == {"200": {"statusCode": "200"}}
    taken = refusal(lambda: cloud.call("put_method_response", **names, statusCode="200"))
    assert taken == ("ConflictException", 409, "Response already exists for this resource")
    for kind in ("method_response", "integration_response"):
        assert cloud.call(f"get_{kind}", **names, statusCode="200")["statusCode"] == "200"
        assert cloud.call(f"delete_{kind}", **names, statusCode="200") == {}
        gone = refusal(lambda kind=kind: cloud.call(f"get_{kind}", **names, statusCode="200"))
        assert gone == ("NotFoundException", 404, "Invalid Response status code specified")
    assert refusal(lambda: cloud.call("put_method_response", **names, statusCode="99"))[1] == 400
    assert cloud.call("delete_integration", **names) == {}
    missing = ("NotFoundException", 404, "Invalid Integration identifier specified")
    assert refusal(lambda: cloud.call("get_integration", **names)) == missing
    undefined = refusal(lambda: cloud.call("put_integration_response", **names, statusCode="200"))
    assert undefined == ("NotFoundException", 404, "No integration defined for method")


@pytest.mark.parametrize(
    ("params", "status", "message"),
    [
        ({"type": "LAMBDA"}, 400, "1 validation error detected: Value at 'putIntegrationInput.type' failed to satisfy"),
        ({"type": "HTTP"}, 400, "Invalid HTTP endpoint specified for URI"),
        ({"type": "HTTP", "integrationHttpMethod": "GET", "uri": "x"}, 400, "Invalid HTTP endpoint specified for URI"),
        (
            {"type": "HTTP_PROXY", "integrationHttpMethod": "GET", "uri": "ftp://localhost/"},
            400,
            "Invalid HTTP endpoint specified for URI",
        ),
        (
            {"type": "AWS", "integrationHttpMethod": "POST", "uri": "arn:aws:apigateway:us-east-1:sqs:path/0/q"},
            501,
            "an AWS integration with arn:aws:apigateway:us-east-1:sqs:path/0/q (Lambda functions are)",
        ),
        ({"type": "MOCK", "requestParameters": {"x": "'y'"}}, 400, "Invalid mapping expression parameter specified: x"),
        ({"integrationHttpMethod": None}, 400, "Enumeration value for HttpMethod must be non-empty"),
        ({"uri": "http://x"}, 400, "Invalid ARN specified in the request"),
        ({"uri": "arn:aws:lambda:x"}, 400, "AWS ARN for integration must contain path or action"),
        ({"uri": "arn:aws:apigateway:r:s3:path/b"}, 400, "Integrations of type 'AWS_PROXY' currently only supports"),
        ({"timeoutInMillis": 49}, 400, "Timeout should be between 50 ms and 29000 ms"),
        ({"timeoutInMillis": 29_001}, 400, "Timeout should be between 50 ms and 29000 ms"),
        ({"connectionType": "VPC_LINK"}, 501, "connectionType VPC_LINK is not built"),
        ({"httpMethod": "PUT"}, 404, "Invalid Method identifier specified"),
    ],
)
def test_put_integration_refused(cloud: Cloud, params: dict[str, Any], status: int, message: str) -> None:
    api = cloud.api()
    names = {"restApiId": api, "resourceId": cloud.method(api, "/x", "GET"), "httpMethod": "GET"}
    proxy = {"type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": invoke_uri()}
    _, got, text = refusal(lambda: cloud.call("put_integration", **{**names, **proxy, **params}))
    assert (got, text[: len(message)]) == (status, message)


@pytest.mark.parametrize(
    ("declared", "mapping", "status", "message"),
    [
        (None, {"method.response.header.a": "'x'"}, 400, "[No method response exists for method.]"),
        (["b"], {"method.response.header.a": "'x'"}, 400, "parameter specified: method.response.header.a]"),
        (["a\n"], {"method.response.header.a\n": "'x'"}, 400, "parameter specified: method.response.header.a\n]"),
        (["a"], {"method.response.header.a": "nothing.of.ours"}, 400, "expression specified: nothing.of.ours]"),
        (["a"], {"method.response.header.a": "'x\r\ny'"}, 400, "Invalid mapping expression specified: 'x"),
    ],
)
def test_response_mappings_refused(
    cloud: Cloud, declared: list[str] | None, mapping: dict[str, str], status: int, message: str
) -> None:
    api = cloud.api()
    names = {"restApiId": api, "resourceId": cloud.method(api, "/x", type="MOCK"), "httpMethod": "ANY"}
    if declared is not None:
        parameters = {f"method.response.header.{name}": False for name in declared}
        cloud.call("put_method_response", **names, statusCode="200", responseParameters=parameters)
    _, got, text = refusal(
        lambda: cloud.call("put_integration_response", **names, statusCode="200", responseParameters=mapping)
    )
    assert got == status
    assert message in text
