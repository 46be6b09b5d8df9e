"""Versions behind the alias `live`, against botocore's Stubber: the calls, their order, and whose versions go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from preheat.deploy import functions, run, target, versions
from preheat.deploy.deployment import Deployment, Plan, Sample, find
from preheat.deploy.target import Clients, Target
from preheat.kernel.errors import PreheatError

ARN = "arn:aws:lambda:us-east-1:000000000000:function:demo"
NAME = {"FunctionName": "demo"}
LIVE = {**NAME, "Name": "live"}
ON_LIVE = {**NAME, "Qualifier": "live"}
LOCAL = target.choose("local", environ={})


class Lambda:
    """Stubbed clients; `expect` in the order in which the calls must come."""

    def __init__(self) -> None:
        self.clients: Clients = target.connect(LOCAL)
        self.stub = Stubber(self.clients.lambda_)
        self.stub.activate()

    def expect(self, operation: str, params: dict[str, Any], result: dict[str, Any] | str) -> None:
        if isinstance(result, str):
            self.stub.add_client_error(operation, result, "no", expected_params=params)
        else:
            self.stub.add_response(operation, result, params)

    def expect_version(self, number: str) -> None:
        self.expect("publish_version", {**NAME, "Description": "preheat why"}, {"Version": number})
        self.expect("get_function_configuration", {**NAME, "Qualifier": number}, {"State": "Active"})

    def expect_deleted(self, number: str, description: str = "preheat deploy 1") -> None:
        one = {**NAME, "Qualifier": number}
        self.expect("get_function_configuration", one, {"Description": description})
        if description.startswith("preheat "):
            self.expect("delete_function", one, {})

    def publish(self, said: list[str], *, provisioned: int = 0, snap_start: bool = False) -> versions.Published:
        return versions.publish(
            self.clients,
            LOCAL,
            name="demo",
            provisioned=provisioned,
            reason="why",
            snap_start=snap_start,
            say=said.append,
        )


@pytest.fixture
def cloud() -> Iterator[Lambda]:
    made = Lambda()
    yield made
    made.stub.assert_no_pending_responses()


def alias(version: str, description: str = "preheat deploy") -> dict[str, Any]:
    return {"AliasArn": f"{ARN}:live", "Name": "live", "FunctionVersion": version, "Description": description}


def test_the_first_version_gets_an_alias(cloud: Lambda) -> None:
    cloud.expect_version("1")
    cloud.expect("get_alias", LIVE, "ResourceNotFoundException")
    cloud.expect("create_alias", {**LIVE, "FunctionVersion": "1", "Description": "preheat deploy"}, alias("1"))
    said: list[str] = []
    assert cloud.publish(said, snap_start=True) == versions.Published("1", f"{ARN}:live")
    assert said == ["function demo: version 1, taking its snapshot", "function demo: alias live is version 1"]


@pytest.mark.parametrize("description", ["preheat deploy 1", "somebody's"])
def test_the_next_version_takes_over_and_only_ours_is_deleted(cloud: Lambda, description: str) -> None:
    cloud.expect_version("2")
    cloud.expect("get_alias", LIVE, alias("1"))
    cloud.expect("delete_provisioned_concurrency_config", ON_LIVE, {})
    cloud.expect("update_alias", {**LIVE, "FunctionVersion": "2"}, alias("2"))
    cloud.expect_deleted("1", description)
    assert cloud.publish([]).version == "2"


def test_an_unchanged_function_keeps_its_version(cloud: Lambda) -> None:
    cloud.expect_version("1")
    cloud.expect("get_alias", LIVE, alias("1"))
    cloud.expect("delete_provisioned_concurrency_config", ON_LIVE, {})
    cloud.expect("update_alias", {**LIVE, "FunctionVersion": "1"}, alias("1"))
    assert cloud.publish([]).version == "1"


def test_provisioned_environments_are_waited_for(cloud: Lambda) -> None:
    expect_provisioning(cloud, {"Status": "IN_PROGRESS"}, {"Status": "READY"})
    said: list[str] = []
    assert cloud.publish(said, provisioned=3).version == "1"
    assert said[-1] == "function demo: initialising 3 provisioned environments"


def test_provisioning_that_fails_says_why(cloud: Lambda) -> None:
    expect_provisioning(cloud, {"Status": "FAILED", "StatusReason": "FUNCTION_ERROR_INIT_FAILURE"})
    with pytest.raises(PreheatError, match="concurrency 3: FAILED: FUNCTION_ERROR_INIT_FAILURE") as caught:
        cloud.publish([], provisioned=3)
    assert caught.value.exit_code == 254


def expect_provisioning(cloud: Lambda, *states: dict[str, Any]) -> None:
    cloud.expect_version("1")
    cloud.expect("get_alias", LIVE, "ResourceNotFoundException")
    cloud.expect("create_alias", {**LIVE, "FunctionVersion": "1", "Description": ANY}, alias("1"))
    cloud.expect("put_provisioned_concurrency_config", {**ON_LIVE, "ProvisionedConcurrentExecutions": 3}, states[0])
    for state in states:
        cloud.expect("get_provisioned_concurrency_config", ON_LIVE, state)


def test_a_version_that_fails_is_one_line_with_the_reason(cloud: Lambda) -> None:
    cloud.expect("publish_version", {**NAME, "Description": "preheat why"}, {"Version": "1"})
    failed = {"State": "Failed", "StateReason": "Error: Runtime.ImportModuleError: no module"}
    cloud.expect("get_function_configuration", {**NAME, "Qualifier": "1"}, failed)
    with pytest.raises(PreheatError, match=r"Runtime\.ImportModuleError: no module"), target.spoken(LOCAL):
        cloud.publish([])


def test_withdrawing_ends_what_runs_and_spares_what_is_not_ours(cloud: Lambda) -> None:
    cloud.expect("get_alias", LIVE, alias("4"))
    cloud.expect("delete_provisioned_concurrency_config", ON_LIVE, {})
    cloud.expect("delete_alias", LIVE, {})
    cloud.expect_deleted("4")
    versions.withdraw(cloud.clients, "demo")
    cloud.expect("get_alias", LIVE, alias("4", "production"))
    versions.withdraw(cloud.clients, "demo")


def test_snap_start_is_asked_for_and_taken_back(cloud: Lambda, tmp_path: Path) -> None:
    ready = {"State": "Active", "LastUpdateStatus": "Successful"}
    common = {**NAME, "Runtime": ANY, "Handler": ANY, "Role": "r", "MemorySize": ANY, "Timeout": ANY}
    common["Environment"] = {"Variables": {}}
    for before, wanted, apply_on in ((None, True, "PublishedVersions"), ("PublishedVersions", False, "None")):
        full = {**common, "SnapStart": {"ApplyOn": apply_on}}
        if before is None:
            cloud.expect("get_function_configuration", NAME, "ResourceNotFoundException")
            cloud.expect("create_function", {**full, "Code": {"ZipFile": b"x"}, "PackageType": "Zip"}, ready)
        else:
            cloud.expect(
                "get_function_configuration", NAME, {**ready, "PackageType": "Zip", "SnapStart": {"ApplyOn": before}}
            )
            cloud.expect("get_function", NAME, {"Configuration": ready})
            cloud.expect("update_function_configuration", full, ready)
            cloud.expect("get_function", NAME, {"Configuration": ready})
            cloud.expect("update_function_code", {**NAME, "ZipFile": b"x"}, ready)
        cloud.expect("get_function", NAME, {"Configuration": ready})
        cloud.expect("get_function_configuration", NAME, ready)
        plan = Plan(tmp_path, "demo", snap_start=wanted)
        functions.put(cloud.clients, LOCAL, plan, "r", {"ZipFile": b"x"}, [].append)


def test_both_at_once_are_refused_before_anything_is_built(cloud: Lambda, tmp_path: Path) -> None:
    plan = Plan(tmp_path, "demo", snap_start=True, provisioned=1)
    with pytest.raises(PreheatError, match="exclude each other") as caught:
        run.deploy(plan, LOCAL, cloud.clients, tmp_path / ".preheat", [].append)
    assert caught.value.exit_code == 252


def test_a_fresh_start_of_a_version_is_a_new_version(
    cloud: Lambda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 7.0)
    ready = {"State": "Active", "LastUpdateStatus": "Successful"}
    cloud.expect("update_function_configuration", {**NAME, "Description": "preheat load 7.000000"}, ready)
    cloud.expect("get_function", NAME, {"Configuration": ready})
    cloud.expect("publish_version", {**NAME, "Description": "preheat load 7.000000"}, {"Version": "2"})
    cloud.expect("get_function_configuration", {**NAME, "Qualifier": "2"}, {"State": "Active"})
    cloud.expect("get_alias", LIVE, alias("1"))
    cloud.expect("delete_provisioned_concurrency_config", ON_LIVE, {})
    cloud.expect("update_alias", {**LIVE, "FunctionVersion": "2"}, alias("2"))
    cloud.expect_deleted("1")
    fresh = run.start_fresh(record(LOCAL), LOCAL, cloud.clients, tmp_path, [].append)
    assert (fresh.version, fresh.qualifier) == ("2", "live")
    assert find(tmp_path, "demo") == fresh


def record(where: Target) -> Deployment:
    text = dict.fromkeys(("runtime", "handler", "role_arn", "api_id", "stage", "host", "url", "project_dir"), "x")
    return Deployment(
        target=where.name,
        region=where.region,
        profile=None,
        endpoint_url=where.endpoint_url,
        function="demo",
        function_arn=ARN,
        version="1",
        memory_mb=512,
        timeout_s=30,
        build_dir="x",
        curl="x",
        invoke_web_request="x",
        deployed_at=1.0,
        sample=Sample({}, {}, []),
        qualifier="live",
        snap_start=True,
        **text,
    )
