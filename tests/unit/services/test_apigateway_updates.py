"""Patches of methods, integrations and their responses: what changes, what is refused, and that it survives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from apigateway_support import Cloud, invoke_uri

from preheat.kernel.errors import AwsError


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def operations(*changes: tuple[str, str] | tuple[str, str, str]) -> list[dict[str, str]]:
    return [dict(zip(("op", "path", "value"), change, strict=False)) for change in changes]


@pytest.fixture
def names(cloud: Cloud) -> dict[str, str]:
    """A method with a non-proxy integration and a response for 200."""
    api = cloud.api()
    resource = cloud.method(api, "/x", type="AWS", integrationHttpMethod="POST", uri=invoke_uri())
    found = {"restApiId": api, "resourceId": resource, "httpMethod": "ANY"}
    cloud.call("put_method_response", **found, statusCode="200")
    cloud.call("put_integration_response", **found, statusCode="200")
    return found


def test_an_integration(cloud: Cloud, names: dict[str, str]) -> None:
    changed = cloud.call(
        "update_integration",
        **names,
        patchOperations=operations(
            ("replace", "/timeoutInMillis", "5000"),
            ("replace", "/passthroughBehavior", "NEVER"),
            ("add", "/requestTemplates/application~1json", '{"a": 1}'),
            ("add", "/requestTemplates/text~1csv", "x"),
            ("remove", "/requestTemplates/text~1csv"),
            ("add", "/requestParameters/integration.request.header.X", "'y'"),
        ),
    )
    assert (changed["timeoutInMillis"], changed["passthroughBehavior"]) == (5000, "NEVER")
    assert changed["requestTemplates"] == {"application/json": '{"a": 1}'}
    assert changed["integrationResponses"] == {"200": {"statusCode": "200"}}
    cloud.open()
    assert cloud.call("get_integration", **names) == changed
    cloud.deploy(names["restApiId"])
    assert cloud.request(names["restApiId"], method="POST", body=b"{}").status == 200
    assert json.loads(cloud.functions.invocations[0].payload) == {"a": 1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("replace", "/timeoutInMillis", "30001"), "Timeout should be between"),
        (("replace", "/timeoutInMillis", "x"), "Timeout should be a number"),
        (("replace", "/uri", "nonsense"), "Invalid ARN"),
        (("add", "/requestParameters/x", "'y'"), "Invalid mapping expression parameter"),
        (("remove", "/requestTemplates/a~1b"), "Invalid parameter name specified"),
        (("replace", "/type", "MOCK"), "Invalid patch path"),
        (("replace", "/connectionType", "VPC_LINK"), "is not built"),
    ],
)
def test_an_integration_refused(cloud: Cloud, names: dict[str, str], change: Any, words: str) -> None:
    before = cloud.call("get_integration", **names)
    with pytest.raises(AwsError, match=words):
        cloud.call("update_integration", **names, patchOperations=operations(change))
    assert cloud.call("get_integration", **names) == before


def test_responses(cloud: Cloud, names: dict[str, str]) -> None:
    method = cloud.call(
        "update_method_response",
        **names,
        statusCode="200",
        patchOperations=operations(
            ("add", "/responseParameters/method.response.header.A", "true"),
            ("add", "/responseModels/application~1json", "Empty"),
        ),
    )
    assert method["responseParameters"] == {"method.response.header.A": True}
    integration = cloud.call(
        "update_integration_response",
        **names,
        statusCode="200",
        patchOperations=operations(
            ("add", "/responseParameters/method.response.header.A", "'a'"),
            ("add", "/responseTemplates/application~1json", "made"),
            ("replace", "/selectionPattern", ""),
        ),
    )
    assert integration["responseTemplates"] == {"application/json": "made"}
    cloud.deploy(names["restApiId"])
    response = cloud.request(names["restApiId"])
    assert (response.status, response.body, dict(response.headers)["A"]) == (200, b"made", "a")


@pytest.mark.parametrize(
    ("operation", "change", "words"),
    [
        (
            "update_integration_response",
            ("add", "/responseParameters/method.response.header.B", "'b'"),
            "Invalid mapping expression parameter specified: method.response.header.B",
        ),
        ("update_integration_response", ("replace", "/statusCode", "201"), "Invalid patch path"),
        ("update_method_response", ("add", "/responseModels/a~1b", "None"), "Invalid model identifier"),
        ("update_method_response", ("replace", "/statusCode", "201"), "Invalid patch path"),
    ],
)
def test_responses_refused(cloud: Cloud, names: dict[str, str], operation: str, change: Any, words: str) -> None:
    with pytest.raises(AwsError, match=words):
        cloud.call(operation, **names, statusCode="200", patchOperations=operations(change))
    with pytest.raises(AwsError, match="Invalid Response status code"):
        cloud.call(operation, **names, statusCode="404", patchOperations=operations(change))


def test_a_deployments_description(cloud: Cloud, names: dict[str, str]) -> None:
    deployment = cloud.deploy(names["restApiId"])
    found = {"restApiId": names["restApiId"], "deploymentId": deployment}
    cloud.call("update_deployment", **found, patchOperations=operations(("replace", "/description", "new")))
    cloud.open()
    assert cloud.call("get_deployment", **found)["description"] == "new"
    assert cloud.request(names["restApiId"]).status == 200
