"""Policies: what is stored is shown, and what is attached holds role and policy fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.kernel.http import HttpRequest
from preheat.services.identity.provider import IamProvider
from preheat.services.identity.store import TRUST_LAMBDA, IdentityStore

CONTEXT = OperationContext("iam", "", "us-east-1", "000000000000", "test", "id", HttpRequest("POST", "/"))
DOCUMENT = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
ARN = "arn:aws:iam::000000000000:policy/team/all"
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
ROLE = {"RoleName": "reader"}


@pytest.fixture
def iam(tmp_path: Path) -> IamProvider:
    made = IamProvider(IdentityStore(tmp_path, "000000000000"))
    made.create_role(CONTEXT, {**ROLE, "AssumeRolePolicyDocument": TRUST_LAMBDA})
    return made


def create(iam: IamProvider, name: str = "all", **more: Any) -> dict[str, Any]:
    params = {"PolicyName": name, "Path": "/team/", "PolicyDocument": DOCUMENT, **more}
    policy: dict[str, Any] = iam.create_policy(CONTEXT, params)["Policy"]
    return policy


def refused(iam: IamProvider, operation: str, **params: Any) -> tuple[int, str, str]:
    with pytest.raises(AwsError) as error:
        getattr(iam, operation)(CONTEXT, params)
    return error.value.status, error.value.code, error.value.message


def test_a_policy_from_creation_to_deletion(iam: IamProvider, tmp_path: Path) -> None:
    made = create(iam, Description="everything")
    assert (made["Arn"], made["DefaultVersionId"], made["AttachmentCount"]) == (ARN, "v1", 0)
    assert "Description" not in made, "GetPolicy alone shows it (API reference, Policy)"
    again = IamProvider(IdentityStore(tmp_path, "000000000000"))
    assert again.get_policy(CONTEXT, {"PolicyArn": ARN})["Policy"] == {**made, "Description": "everything"}
    version = iam.get_policy_version(CONTEXT, {"PolicyArn": ARN, "VersionId": "v1"})["PolicyVersion"]
    assert unquote(version["Document"]) == DOCUMENT
    message = "A policy called all already exists. Duplicate names are not allowed."
    assert refused(iam, "create_policy", PolicyName="all", PolicyDocument=DOCUMENT) == (
        409,
        "EntityAlreadyExists",
        message,
    )
    iam.attach_role_policy(CONTEXT, {**ROLE, "PolicyArn": ARN})
    assert iam.get_policy(CONTEXT, {"PolicyArn": ARN})["Policy"]["AttachmentCount"] == 1
    assert refused(iam, "delete_policy", PolicyArn=ARN)[:2] == (409, "DeleteConflict")
    iam.detach_role_policy(CONTEXT, {**ROLE, "PolicyArn": ARN})
    iam.delete_policy(CONTEXT, {"PolicyArn": ARN})
    assert refused(iam, "get_policy", PolicyArn=ARN) == (404, "NoSuchEntity", f"Policy {ARN} was not found.")


def test_policies_are_listed_in_pages(iam: IamProvider) -> None:
    for name in ("b", "a", "c"):
        create(iam, name)
    first = iam.list_policies(CONTEXT, {"MaxItems": 2})
    assert ([policy["PolicyName"] for policy in first["Policies"]], first["IsTruncated"]) == (["a", "b"], True)
    second = iam.list_policies(CONTEXT, {"MaxItems": 2, "Marker": first["Marker"]})
    assert ([policy["PolicyName"] for policy in second["Policies"]], second["IsTruncated"]) == (["c"], False)
    iam.attach_role_policy(CONTEXT, {**ROLE, "PolicyArn": ARN.replace("all", "b")})
    attached = iam.list_policies(CONTEXT, {"OnlyAttached": True})["Policies"]
    assert [policy["PolicyName"] for policy in attached] == ["b"]
    assert iam.list_policies(CONTEXT, {"Scope": "AWS"})["Policies"] == []
    assert iam.list_policies(CONTEXT, {"PathPrefix": "/other/"})["Policies"] == []


def test_a_role_keeps_what_is_attached_to_it(iam: IamProvider) -> None:
    for _ in range(2):
        iam.attach_role_policy(CONTEXT, {**ROLE, "PolicyArn": BASIC})
    assert iam.list_attached_role_policies(CONTEXT, ROLE)["AttachedPolicies"] == [
        {"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": BASIC}
    ]
    message = "Cannot delete entity, must detach all policies first."
    assert refused(iam, "delete_role", **ROLE) == (409, "DeleteConflict", message)
    iam.detach_role_policy(CONTEXT, {**ROLE, "PolicyArn": BASIC})
    assert refused(iam, "detach_role_policy", **ROLE, PolicyArn=BASIC)[:2] == (404, "NoSuchEntity")
    assert refused(iam, "attach_role_policy", **ROLE, PolicyArn=ARN)[2] == (
        f"Policy {ARN} does not exist or is not attachable."
    )
    assert refused(iam, "attach_role_policy", **ROLE, PolicyArn="name") == (
        (400, "InvalidInput", "ARN name is not valid.")  # localstack's test_role_attach_policy
    )
    iam.delete_role(CONTEXT, ROLE)


def test_a_roles_own_policies(iam: IamProvider) -> None:
    iam.put_role_policy(CONTEXT, {**ROLE, "PolicyName": "logs", "PolicyDocument": DOCUMENT})
    shown = iam.get_role_policy(CONTEXT, {**ROLE, "PolicyName": "logs"})
    assert unquote(shown["PolicyDocument"]) == DOCUMENT
    assert iam.list_role_policies(CONTEXT, ROLE)["PolicyNames"] == ["logs"]
    assert refused(iam, "delete_role", **ROLE)[2] == "Cannot delete entity, must delete policies first."
    assert refused(iam, "put_role_policy", **ROLE, PolicyName="bad", PolicyDocument="{")[:2] == (
        400,
        "MalformedPolicyDocument",
    )
    iam.delete_role_policy(CONTEXT, {**ROLE, "PolicyName": "logs"})
    assert refused(iam, "get_role_policy", **ROLE, PolicyName="logs")[2] == (
        "The role policy with name logs cannot be found."
    )
    iam.delete_role(CONTEXT, ROLE)
