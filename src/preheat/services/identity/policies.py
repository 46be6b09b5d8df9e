"""Permission policies: made, attached to roles, shown again. Nothing is refused for want of one.

Messages are those of IAM's API reference and of public answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.services.identity.store import IdentityStore, Policy, Role, new_id

_PAGE = 100
_OF_AWS = "arn:aws:iam::aws:policy/"
"""AWS's own policies can be attached by any name: there is no list of them here."""


class PolicyOperations:
    """The part of IAM that is about policies."""

    _store: IdentityStore

    def create_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name, path = params["PolicyName"], params.get("Path") or "/"
        arn = f"arn:aws:iam::{context.account_id}:policy{path}{name}"
        if any(policy.name == name for policy in self._store.policies()):
            message = f"A policy called {name} already exists. Duplicate names are not allowed."
            raise AwsError("EntityAlreadyExists", message, 409)
        policy = Policy(
            arn=arn,
            name=name,
            policy_id=new_id("ANPA"),
            path=path,
            created=datetime.now(UTC).replace(microsecond=0),
            document=checked_document(params["PolicyDocument"]),
            description=params.get("Description") or "",
        )
        self._store.put_policy(policy)
        return {"Policy": self._policy_shown(replace(policy, description=""))}

    def get_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return {"Policy": self._policy_shown(self._policy(params["PolicyArn"]))}

    def get_policy_version(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        policy = self._policy(params["PolicyArn"])
        if params["VersionId"] != "v1":
            message = f"Policy {policy.arn} version {params['VersionId']} does not exist or is not attachable."
            raise _missing(message)
        return {
            "PolicyVersion": {
                "Document": quote(policy.document, safe=""),
                "VersionId": "v1",
                "IsDefaultVersion": True,
                "CreateDate": policy.created,
            }
        }

    def list_policies(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """Of this account; AWS's own are not listed."""
        prefix = params.get("PathPrefix") or "/"
        found = [policy for policy in self._store.policies() if policy.path.startswith(prefix)]
        if params.get("Scope") == "AWS":
            found = []
        if params.get("OnlyAttached"):
            found = [policy for policy in found if self._attachments(policy.arn)]
        names = [policy.name for policy in found]
        shown = [self._policy_shown(replace(policy, description="")) for policy in found]
        return _page("Policies", names, shown, params)

    def delete_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        policy = self._policy(params["PolicyArn"])
        if self._attachments(policy.arn):
            raise AwsError("DeleteConflict", "Cannot delete a policy attached to entities.", 409)
        self._store.delete_policy(policy.arn)
        return {}

    # on roles

    def attach_role_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """Attaching what is attached is no error (API reference)."""
        role, arn = self._role(params["RoleName"]), params["PolicyArn"]
        if not arn.startswith("arn:"):
            raise AwsError("InvalidInput", f"ARN {arn} is not valid.")  # recorded: test_role_attach_policy
        if not arn.startswith(_OF_AWS) and self._store.policy(arn) is None:
            raise _missing(f"Policy {arn} does not exist or is not attachable.")
        self._store.put_role(replace(role, attached={**role.attached, arn: arn.rpartition("/")[2]}))
        return {}

    def detach_role_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        role, arn = self._role(params["RoleName"]), params["PolicyArn"]
        if arn not in role.attached:
            raise _missing(f"Policy {arn} was not found.")
        rest = {other: name for other, name in role.attached.items() if other != arn}
        self._store.put_role(replace(role, attached=rest))
        return {}

    def list_attached_role_policies(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        attached = sorted((name, arn) for arn, name in self._role(params["RoleName"]).attached.items())
        shown = [{"PolicyName": name, "PolicyArn": arn} for name, arn in attached]
        return _page("AttachedPolicies", [f"{name} {arn}" for name, arn in attached], shown, params)

    def put_role_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        role = self._role(params["RoleName"])
        inline = {**role.inline, params["PolicyName"]: checked_document(params["PolicyDocument"])}
        self._store.put_role(replace(role, inline=inline))
        return {}

    def get_role_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        role, name = self._inline(params)
        document = quote(role.inline[name], safe="")
        return {"RoleName": role.name, "PolicyName": name, "PolicyDocument": document}

    def list_role_policies(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        names = sorted(self._role(params["RoleName"]).inline)
        return _page("PolicyNames", names, names, params)

    def delete_role_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        role, name = self._inline(params)
        rest = {other: document for other, document in role.inline.items() if other != name}
        self._store.put_role(replace(role, inline=rest))
        return {}

    def _inline(self, params: Mapping[str, Any]) -> tuple[Role, str]:
        role, name = self._role(params["RoleName"]), params["PolicyName"]
        if name not in role.inline:
            raise _missing(f"The role policy with name {name} cannot be found.")
        return role, name

    def _role(self, name: str) -> Role:
        role = self._store.role(name)
        if role is None:
            raise _missing(f"The role with name {name} cannot be found.")
        return role

    def _policy(self, arn: str) -> Policy:
        policy = self._store.policy(arn)
        if policy is None:
            raise _missing(f"Policy {arn} was not found.")
        return policy

    def _attachments(self, arn: str) -> int:
        return sum(arn in role.attached for role in self._store.roles())

    def _policy_shown(self, policy: Policy) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "PolicyName": policy.name,
            "PolicyId": policy.policy_id,
            "Arn": policy.arn,
            "Path": policy.path,
            "DefaultVersionId": "v1",
            "AttachmentCount": self._attachments(policy.arn),
            "PermissionsBoundaryUsageCount": 0,
            "IsAttachable": True,
            "CreateDate": policy.created,
            "UpdateDate": policy.created,
        }
        return {**shown, "Description": policy.description} if policy.description else shown


def checked_document(document: str) -> str:
    """A policy as it was given; raises AwsError MalformedPolicyDocument."""
    try:
        if not isinstance(json.loads(document), dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise AwsError("MalformedPolicyDocument", "This policy contains invalid Json") from error
    return document


def _missing(message: str) -> AwsError:
    return AwsError("NoSuchEntity", message, 404)


def _page(member: str, keys: Sequence[str], shown: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """One page of what is in the order of its keys; the marker is the last one's key."""
    after = params.get("Marker") or ""
    rest = [(key, item) for key, item in zip(keys, shown, strict=True) if key > after]
    page = rest[: params.get("MaxItems") or _PAGE]
    answer: dict[str, Any] = {member: [item for _, item in page], "IsTruncated": len(page) < len(rest)}
    if answer["IsTruncated"]:
        answer["Marker"] = page[-1][0]
    return answer
