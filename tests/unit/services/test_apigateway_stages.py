"""Deployments, stages and tags of REST APIs; what a restart and a failed write leave."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from apigateway_support import ACCOUNT, Cloud, patch, refusal


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def test_deployments_and_stages(cloud: Cloud) -> None:
    api = cloud.api()
    assert refusal(lambda: cloud.deploy(api))[2] == "The REST API doesn't contain any methods"
    cloud.call("put_method", restApiId=api, resourceId=cloud.resource(api, "/"), httpMethod="GET")
    empty = refusal(lambda: cloud.deploy(api))
    assert empty == ("BadRequestException", 400, "No integration defined for method")
    cloud.call("delete_method", restApiId=api, resourceId=cloud.resource(api, "/"), httpMethod="GET")
    cloud.method(api, "/x")
    first = cloud.call("create_deployment", restApiId=api, description="one")
    assert re.fullmatch("[a-z0-9]{6}", first["id"])
    assert sorted(first) == ["createdDate", "description", "id"]
    stage = cloud.call("create_stage", restApiId=api, stageName="s1", deploymentId=first["id"], variables={"a": "b"})
    assert stage.pop("createdDate") == stage.pop("lastUpdatedDate")
    assert stage == {
        "stageName": "s1",
        "deploymentId": first["id"],
        "cacheClusterEnabled": False,
        "cacheClusterStatus": "NOT_AVAILABLE",
        "methodSettings": {},
        "variables": {"a": "b"},
        "tracingEnabled": False,
    }
    active = ("BadRequestException", 400, "Active stages pointing to this deployment must be moved or deleted")
    delete_first = {"restApiId": api, "deploymentId": first["id"]}
    assert refusal(lambda: cloud.call("delete_deployment", **delete_first)) == active
    second = cloud.deploy(api, "s1")
    moved = cloud.call("get_stage", restApiId=api, stageName="s1")
    assert (moved["deploymentId"], moved["variables"]) == (second, {"a": "b"})
    assert cloud.call("delete_deployment", **delete_first) == {}
    gone = ("NotFoundException", 404, "Invalid Deployment identifier specified")
    assert refusal(lambda: cloud.call("get_deployment", **delete_first)) == gone
    summary = cloud.call("get_deployment", restApiId=api, deploymentId=second, embed=["apisummary"])["apiSummary"]
    assert summary == {"/x": {"ANY": {"authorizationType": "NONE", "apiKeyRequired": False}}}
    assert [item["id"] for item in cloud.call("get_deployments", restApiId=api)["items"]] == [second]
    assert cloud.call("get_stages", restApiId=api, deploymentId="other") == {"item": []}
    assert cloud.call("delete_stage", restApiId=api, stageName="s1") == {}
    unknown = ("NotFoundException", 404, "Invalid stage identifier specified")
    assert refusal(lambda: cloud.call("get_stage", restApiId=api, stageName="s1")) == unknown


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        ({"stageName": "default"}, "ConflictException", "Stage already exists"),
        ({"stageName": "a b"}, "BadRequestException", "Stage name only allows a-zA-Z0-9_-"),
        ({"deploymentId": "nosuch"}, "BadRequestException", "Deployment id does not exist"),
        ({"canarySettings": {"percentTraffic": 101}}, "BadRequestException", "Percent traffic must be between 0.0"),
        ({"canarySettings": {"deploymentId": "no"}}, "BadRequestException", "Deployment id does not exist"),
        ({"documentationVersion": "v1"}, "NotImplementedException", "documentationVersion is not built"),
        ({"restApiId": "nosuch"}, "NotFoundException", f"Invalid API identifier specified {ACCOUNT}:nosuch"),
    ],
)
def test_create_stage_refused(cloud: Cloud, params: dict[str, Any], code: str, message: str) -> None:
    api = cloud.proxy()
    deployment = cloud.call("get_deployments", restApiId=api)["items"][0]["id"]
    stage = {"restApiId": api, "stageName": "new", "deploymentId": deployment, **params}
    got, _, text = refusal(lambda: cloud.call("create_stage", **stage))
    assert (got, text[: len(message)]) == (code, message)


def test_update_stage(cloud: Cloud) -> None:
    api = cloud.proxy()

    def update(*operation: str) -> dict[str, Any]:
        return cloud.call("update_stage", restApiId=api, stageName="default", patchOperations=patch(*operation))

    assert update("replace", "/variables/a", "1")["variables"] == {"a": "1"}
    assert update("add", "/variables/b", "2")["variables"] == {"a": "1", "b": "2"}
    assert update("remove", "/variables/a")["variables"] == {"b": "2"}
    assert "variables" not in update("remove", "/variables/b")
    assert update("replace", "/description", "d")["description"] == "d"
    assert update("replace", "/tracingEnabled", "true")["tracingEnabled"] is True
    assert refusal(lambda: update("replace", "/clientCertificateId", "x"))[1] == 501
    assert refusal(lambda: update("replace", "/*/*/throttling/burstLimit", "x"))[1] == 400
    settings = update("replace", "/~1pets/GET/throttling/rateLimit", "2.5")["methodSettings"]
    assert settings["pets/GET"]["throttlingRateLimit"] == 2.5
    assert update("remove", "/~1pets/GET")["methodSettings"] == {}
    assert refusal(lambda: update("replace", "/deploymentId", "x"))[2] == "Deployment id does not exist"
    message = refusal(lambda: update("replace", "/documentation_version", "x"))[2]
    assert message.startswith("Invalid method setting path: /documentation_version. Must be one of: [/deploymentId, ")
    assert refusal(lambda: update("move", "/description", "x"))[1] == 400


def test_tags(cloud: Cloud) -> None:
    api = cloud.proxy()
    for arn in (
        f"arn:aws:apigateway:us-east-1::/restapis/{api}",
        f"arn:aws:apigateway:us-east-1::/restapis/{api}/stages/default",
    ):
        assert cloud.call("get_tags", resourceArn=arn) == {"tags": {}}
        cloud.call("tag_resource", resourceArn=arn, tags={"a": "1", "b": "2"})
        cloud.call("untag_resource", resourceArn=arn, tagKeys=["a"])
        assert cloud.call("get_tags", resourceArn=arn) == {"tags": {"b": "2"}}
    assert cloud.call("get_rest_api", restApiId=api)["tags"] == {"b": "2"}
    assert refusal(lambda: cloud.call("get_tags", resourceArn="nonsense"))[1] == 400
    assert refusal(lambda: cloud.call("get_tags", resourceArn=f"{arn}x"))[1] == 404


def test_everything_survives_a_restart(cloud: Cloud) -> None:
    api = cloud.proxy("/pets/{id}", tags={"a": "b"}, binaryMediaTypes=["image/png"])
    reads = [
        ("get_rest_apis", {}),
        ("get_resources", {"restApiId": api, "embed": ["methods"]}),
        ("get_deployments", {"restApiId": api}),
        ("get_stages", {"restApiId": api}),
    ]
    before = [cloud.call(operation, **params) for operation, params in reads]
    cloud.open()
    assert [cloud.call(operation, **params) for operation, params in reads] == before
    cloud.call("delete_rest_api", restApiId=api)
    cloud.open()
    assert cloud.call("get_rest_apis") == {"items": []}
    missing = ("NotFoundException", 404, f"Invalid API identifier specified {ACCOUNT}:{api}")
    assert refusal(lambda: cloud.call("get_rest_api", restApiId=api)) == missing


def test_a_failed_write_changes_nothing(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment and its stage are one transaction."""
    api = cloud.proxy()
    deployments = cloud.call("get_deployments", restApiId=api)
    write = cloud.store._write

    def fail_on_stage(table: str, *rest: Any) -> None:
        if table == "stages":
            raise OSError("disk full")
        write(table, *rest)

    monkeypatch.setattr(cloud.store, "_write", fail_on_stage)
    with pytest.raises(OSError, match="disk full"):
        cloud.deploy(api)
    assert cloud.call("get_deployments", restApiId=api) == deployments
    cloud.open()
    assert cloud.call("get_deployments", restApiId=api) == deployments
