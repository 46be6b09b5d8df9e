"""IAM's roles and policies and STS, any credentials accepted: they tell who a caller is and refuse nobody."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from preheat.aws.context import OperationContext
from preheat.kernel.credentials import role_session
from preheat.kernel.errors import AwsError
from preheat.services.identity.policies import PolicyOperations, checked_document
from preheat.services.identity.store import IdentityStore, Role, new_id

_SESSION_S = 3600
_PAGE = 100


class IamProvider(PolicyOperations):
    """Roles: made, shown, listed, deleted, with their policies. Users and groups are not built."""

    def __init__(self, store: IdentityStore) -> None:
        self._store = store

    def create_role(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name, path = params["RoleName"], params.get("Path") or "/"
        if self._store.role(name) is not None:
            raise AwsError("EntityAlreadyExists", f"Role with name {name} already exists.", 409)
        role = Role(
            name=name,
            arn=f"arn:aws:iam::{context.account_id}:role{path}{name}",
            role_id=new_id("AROA"),
            created=datetime.now(UTC).replace(microsecond=0),
            trust_policy=checked_document(params["AssumeRolePolicyDocument"]),
            path=path,
            description=params.get("Description") or "",
            max_session_s=params.get("MaxSessionDuration") or 3600,
            tags=tuple(params.get("Tags") or ()),
        )
        self._store.put_role(role)
        shown = _shown(role)
        if "MaxSessionDuration" not in params:  # GetRole alone shows what was not given (recorded)
            del shown["MaxSessionDuration"]
        return {"Role": shown}

    def get_role(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """Nobody's use of a role is kept: `RoleLastUsed` is empty, as for one that was never used (recorded)."""
        return {"Role": {**_shown(self._role(params["RoleName"])), "RoleLastUsed": {}}}

    def update_role(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        role = self._role(params["RoleName"])
        description, longest_s = params.get("Description"), params.get("MaxSessionDuration")
        self._store.put_role(
            replace(
                role,
                description=role.description if description is None else description,
                max_session_s=longest_s or role.max_session_s,
            )
        )
        return {}

    def update_assume_role_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        role, document = self._role(params["RoleName"]), checked_document(params["PolicyDocument"])
        self._store.put_role(replace(role, trust_policy=document))
        return {}

    def tag_role(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        role = self._role(params["RoleName"])
        tags = {tag["Key"]: tag for tag in (*role.tags, *params["Tags"])}
        self._store.put_role(replace(role, tags=tuple(tags.values())))
        return {}

    def untag_role(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        role = self._role(params["RoleName"])
        kept = tuple(tag for tag in role.tags if tag["Key"] not in params["TagKeys"])
        self._store.put_role(replace(role, tags=kept))
        return {}

    def list_role_tags(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """All at once: a role has 50 at most."""
        return {"Tags": [dict(tag) for tag in self._role(params["RoleName"]).tags], "IsTruncated": False}

    def list_roles(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        prefix, after = params.get("PathPrefix") or "/", params.get("Marker") or ""
        roles = [role for role in self._store.roles() if role.path.startswith(prefix) and role.name > after]
        page = roles[: params.get("MaxItems") or _PAGE]
        answer: dict[str, Any] = {
            # ListRoles leaves the tags out (API reference: "this operation does not return" them)
            "Roles": [_shown(replace(role, tags=())) for role in page],
            "IsTruncated": len(page) < len(roles),
        }
        if answer["IsTruncated"]:
            answer["Marker"] = page[-1].name
        return answer

    def delete_role(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        role = self._role(params["RoleName"])
        for policies, how in ((role.attached, "detach all"), (role.inline, "delete")):
            if policies:
                raise AwsError("DeleteConflict", f"Cannot delete entity, must {how} policies first.", 409)
        self._store.delete_role(role.name)
        return {}


class StsProvider:
    """Who a caller is, and temporary credentials for a role."""

    def __init__(self, store: IdentityStore) -> None:
        self._store = store

    def get_caller_identity(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        root = f"arn:aws:iam::{context.account_id}:root"
        known = self._store.session(context.access_key_id) or self._function_session(context)
        arn, user_id = known or (root, context.account_id)
        return {"UserId": user_id, "Account": context.account_id, "Arn": arn}

    def _function_session(self, context: OperationContext) -> tuple[str, str] | None:
        """(arn, user id) where a function calls with the credentials of its environment."""
        session = role_session(context.http.header("x-amz-security-token") or "")
        if session is None:
            return None
        role_arn, name = session
        role_name = role_arn.rpartition("/")[2]
        role = self._store.role(role_name)
        made_up = hashlib.sha256(role_arn.encode()).hexdigest()[:16].upper()  # a function's role need not exist here
        role_id = role.role_id if role is not None else f"AROA{made_up}"
        return f"arn:aws:sts::{context.account_id}:assumed-role/{role_name}/{name}", f"{role_id}:{name}"

    def assume_role(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        arn, session_name = params["RoleArn"], params["RoleSessionName"]
        role = self._store.role(arn.rpartition("/")[2])
        if role is None or role.arn != arn:
            caller = self.get_caller_identity(context, {})["Arn"]
            message = f"User: {caller} is not authorized to perform: sts:AssumeRole on resource: {arn}"
            raise AwsError("AccessDenied", message, 403)
        duration_s = params.get("DurationSeconds") or _SESSION_S
        if duration_s > role.max_session_s:
            message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            raise AwsError("ValidationError", message)
        expires = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=duration_s)
        access_key_id, user_id = new_id("ASIA"), f"{role.role_id}:{session_name}"
        session_arn = f"arn:aws:sts::{context.account_id}:assumed-role/{role.name}/{session_name}"
        self._store.put_session(access_key_id, session_arn, user_id, int(expires.timestamp()))
        return {
            "Credentials": {
                "AccessKeyId": access_key_id,
                "SecretAccessKey": secrets.token_urlsafe(30),
                "SessionToken": secrets.token_urlsafe(192),
                "Expiration": expires,
            },
            "AssumedRoleUser": {"AssumedRoleId": user_id, "Arn": session_arn},
        }


def _shown(role: Role) -> dict[str, Any]:
    """A role on the wire; IAM sends policy documents percent-encoded (RFC 3986)."""
    shown: dict[str, Any] = {
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.role_id,
        "Arn": role.arn,
        "CreateDate": role.created,
        "AssumeRolePolicyDocument": quote(role.trust_policy, safe=""),
        "MaxSessionDuration": role.max_session_s,
    }
    if role.description:
        shown["Description"] = role.description
    if role.tags:
        shown["Tags"] = [dict(tag) for tag in role.tags]
    return shown
