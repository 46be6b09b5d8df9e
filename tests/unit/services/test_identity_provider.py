"""Roles and callers: LabRole is there, sessions are recognised, errors are AWS's."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from preheat.aws.context import OperationContext
from preheat.kernel.credentials import function_credentials
from preheat.kernel.errors import AwsError
from preheat.kernel.http import HttpRequest
from preheat.services.identity.provider import IamProvider, StsProvider
from preheat.services.identity.store import TRUST_LAMBDA, IdentityStore

CONTEXT = OperationContext("sts", "", "us-east-1", "000000000000", "test", "id", HttpRequest("POST", "/"))
LAB_ROLE_ARN = "arn:aws:iam::000000000000:role/LabRole"


@pytest.fixture
def store(tmp_path: Path) -> IdentityStore:
    return IdentityStore(tmp_path, "000000000000")


def test_lab_role_is_there_from_the_start_and_stays_the_same(tmp_path: Path) -> None:
    role: dict[str, Any] = IamProvider(IdentityStore(tmp_path, "000000000000")).get_role(
        CONTEXT, {"RoleName": "LabRole"}
    )["Role"]
    assert (role["Arn"], role["Path"], role["MaxSessionDuration"]) == (LAB_ROLE_ARN, "/", 3600)
    assert role["RoleId"].startswith("AROA")
    assert role["CreateDate"].tzinfo is not None
    assert json.loads(unquote(role["AssumeRolePolicyDocument"]))["Statement"][0]["Effect"] == "Allow"
    again = IamProvider(IdentityStore(tmp_path, "000000000000")).get_role(CONTEXT, {"RoleName": "LabRole"})
    assert again["Role"] == role


def test_a_missing_role_is_no_such_entity(store: IdentityStore) -> None:
    for operation in ("get_role", "delete_role"):
        with pytest.raises(AwsError) as error:
            getattr(IamProvider(store), operation)(CONTEXT, {"RoleName": "nobody"})
        assert (error.value.status, error.value.code) == (404, "NoSuchEntity")
        assert error.value.message == "The role with name nobody cannot be found."


def test_roles_are_made_listed_in_pages_and_deleted(store: IdentityStore) -> None:
    iam = IamProvider(store)
    made = iam.create_role(
        CONTEXT,
        {
            "RoleName": "reader",
            "Path": "/team/",
            "AssumeRolePolicyDocument": TRUST_LAMBDA,
            "Tags": [{"Key": "a", "Value": "b"}],
            "MaxSessionDuration": 7200,
        },
    )["Role"]
    assert made["Arn"] == "arn:aws:iam::000000000000:role/team/reader"
    assert made["Tags"] == [{"Key": "a", "Value": "b"}]
    assert unquote(made["AssumeRolePolicyDocument"]) == TRUST_LAMBDA
    with pytest.raises(AwsError, match="Role with name reader already exists") as error:
        iam.create_role(CONTEXT, {"RoleName": "reader", "AssumeRolePolicyDocument": TRUST_LAMBDA})
    assert (error.value.status, error.value.code) == (409, "EntityAlreadyExists")
    first = iam.list_roles(CONTEXT, {"MaxItems": 1})
    assert ([role["RoleName"] for role in first["Roles"]], first["IsTruncated"]) == (["LabRole"], True)
    second = iam.list_roles(CONTEXT, {"MaxItems": 1, "Marker": first["Marker"]})
    assert ([role["RoleName"] for role in second["Roles"]], second["IsTruncated"]) == (["reader"], False)
    assert [role["RoleName"] for role in iam.list_roles(CONTEXT, {"PathPrefix": "/team/"})["Roles"]] == ["reader"]
    iam.delete_role(CONTEXT, {"RoleName": "reader"})
    assert [role["RoleName"] for role in iam.list_roles(CONTEXT, {})["Roles"]] == ["LabRole"]


def test_a_trust_policy_must_be_json(store: IdentityStore) -> None:
    for document in ("{", '"text"'):
        with pytest.raises(AwsError) as error:
            IamProvider(store).create_role(CONTEXT, {"RoleName": "x", "AssumeRolePolicyDocument": document})
        assert error.value.code == "MalformedPolicyDocument"


def test_any_key_is_the_accounts_root_and_an_assumed_role_is_itself(store: IdentityStore) -> None:
    sts = StsProvider(store)
    assert sts.get_caller_identity(CONTEXT, {}) == {
        "UserId": "000000000000",
        "Account": "000000000000",
        "Arn": "arn:aws:iam::000000000000:root",
    }
    answer = sts.assume_role(CONTEXT, {"RoleArn": LAB_ROLE_ARN, "RoleSessionName": "me", "DurationSeconds": 900})
    credentials = answer["Credentials"]
    assert credentials["AccessKeyId"].startswith("ASIA")
    assert len(credentials["AccessKeyId"]) == 20
    assert len(credentials["SecretAccessKey"]) == 40
    left = credentials["Expiration"] - datetime.now(UTC)
    assert timedelta(seconds=880) < left <= timedelta(seconds=900)
    arn = "arn:aws:sts::000000000000:assumed-role/LabRole/me"
    assert answer["AssumedRoleUser"]["Arn"] == arn
    caller = replace(CONTEXT, access_key_id=credentials["AccessKeyId"])
    assert sts.get_caller_identity(caller, {})["Arn"] == arn
    assert sts.get_caller_identity(caller, {})["UserId"] == answer["AssumedRoleUser"]["AssumedRoleId"]


@pytest.mark.parametrize("role", ["LabRole", "path/of/a/role-that-is-not-here"])
def test_a_function_is_a_session_of_its_role(store: IdentityStore, role: str) -> None:
    token = function_credentials(f"arn:aws:iam::000000000000:role/{role}", "iris")["AWS_SESSION_TOKEN"]
    http = HttpRequest("POST", "/", headers=[("X-Amz-Security-Token", token)])
    caller = StsProvider(store).get_caller_identity(replace(CONTEXT, http=http), {})
    assert caller["Arn"] == f"arn:aws:sts::000000000000:assumed-role/{role.rpartition('/')[2]}/iris"
    assert re.fullmatch("AROA[A-Z0-9]{16}:iris", caller["UserId"])


def test_expired_sessions_are_forgotten(store: IdentityStore) -> None:
    store.put_session("ASIAOLD", "arn:old", "id", 1)
    assert store.session("ASIAOLD") is None


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        (
            {"RoleArn": "arn:aws:iam::000000000000:role/Nobody"},
            "AccessDenied",
            "User: arn:aws:iam::000000000000:root is not authorized to perform: sts:AssumeRole on resource: "
            "arn:aws:iam::000000000000:role/Nobody",
        ),
        (
            {"RoleArn": LAB_ROLE_ARN, "DurationSeconds": 7200},
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ),
    ],
)
def test_what_cannot_be_assumed(store: IdentityStore, params: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(AwsError) as error:
        StsProvider(store).assume_role(CONTEXT, {"RoleSessionName": "me", **params})
    assert (error.value.code, error.value.message) == (code, message)


def test_a_role_as_recorded(store: IdentityStore) -> None:
    """localstack's test_create_describe_role, test_update_assume_role_policy, test_role_with_path_lifecycle."""
    iam, role = IamProvider(store), {"RoleName": "r"}
    made = iam.create_role(CONTEXT, {**role, "AssumeRolePolicyDocument": TRUST_LAMBDA})["Role"]
    assert "MaxSessionDuration" not in made
    shown = iam.get_role(CONTEXT, role)["Role"]
    assert shown == {**made, "MaxSessionDuration": 3600, "RoleLastUsed": {}}
    assert iam.update_assume_role_policy(CONTEXT, {**role, "PolicyDocument": '{"Statement": []}'}) == {}
    assert iam.update_role(CONTEXT, {**role, "Description": "d", "MaxSessionDuration": 7200}) == {}
    iam.tag_role(CONTEXT, {**role, "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]})
    iam.tag_role(CONTEXT, {**role, "Tags": [{"Key": "a", "Value": "3"}]})
    iam.untag_role(CONTEXT, {**role, "TagKeys": ["b"]})
    changed = iam.get_role(CONTEXT, role)["Role"]
    assert unquote(changed["AssumeRolePolicyDocument"]) == '{"Statement": []}'
    assert (changed["Description"], changed["MaxSessionDuration"]) == ("d", 7200)
    tags = [{"Key": "a", "Value": "3"}]
    assert iam.list_role_tags(CONTEXT, role) == {"Tags": tags, "IsTruncated": False}
    assert changed["Tags"] == tags
    with pytest.raises(AwsError, match="invalid Json"):
        iam.update_assume_role_policy(CONTEXT, {**role, "PolicyDocument": "no"})
