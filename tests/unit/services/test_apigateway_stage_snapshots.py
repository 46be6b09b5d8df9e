"""What real AWS answered to boto3 about stages, canaries, usage plans, API keys and the account.

Source and means: `apigateway_account`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from apigateway_account import BAD, MISSING, Account, Row, local_client, patch, update
from botocore.exceptions import ClientError

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
CANARY_CONTENT = "Invalid deployment content specified."


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with local_client(tmp_path_factory.mktemp("snapshots")) as local:
        yield local


@pytest.fixture
def account(client: Any) -> Account:
    return Account(client)


def stage(*patches: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return update("stage", *patches, restApiId="<api>", stageName="s")


TABLE: list[Row] = [
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
    (
        "API key, name",
        ("create_api_key", {"name": "k" * 1025}),
        (BAD, "Invalid API Key name, can be at most 1024 characters."),
    ),
    (
        "API key, description",
        ("create_api_key", {"name": "k", "description": "d" * 125_001}),
        (BAD, "Invalid API Key description specified."),
    ),
    (
        "API key, patched description",
        update("api_key", patch("replace", "/description", "d" * 125_001), apiKey="<key>"),
        (BAD, "Invalid API Key description specified."),
    ),
    (
        "API key, path",
        update("api_key", patch("replace", "/value", "x"), apiKey="<key>"),
        (
            BAD,
            "Invalid patch path  '/value' specified for op 'replace'. "
            "Must be one of: [/description, /enabled, /name, /customerId]",
        ),
    ),
    ("usage plan, unknown", ("get_usage_plan_keys", {"usagePlanId": "bad-id"}), {"items": []}),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(row[0]))
def test_recorded(account: Account, row: Row) -> None:
    account.meets(row)


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


def test_a_deleted_api_leaves_its_usage_plans(account: Account) -> None:
    """As localstack's fixtures rely on, on AWS: a plan with stages cannot be deleted, one whose API is gone can."""
    account.call(*update("usage_plan", patch("add", "/apiStages", "<api>:s"), usagePlanId="<plan>"))
    plan = {"usagePlanId": "<plan>"}
    assert account.call("delete_usage_plan", plan) == (BAD, "Cannot delete Usage Plan, it has associated API stages")
    account.call("delete_rest_api", {"restApiId": "<api>"})
    assert account.call("get_usage_plan", plan)["apiStages"] == []
    assert account.call("delete_usage_plan", plan) == {}


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
