"""What hangs on a function beside its code: resource policy, tags, reserved concurrency; and the account."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import replace
from typing import Any

from preheat.aws.context import OperationContext
from preheat.services.lambda_.archive import MAX_UNZIPPED_BYTES, MAX_ZIPPED_BYTES
from preheat.services.lambda_.failures import conflict, invalid, not_found, precondition_failed
from preheat.services.lambda_.models import Function
from preheat.services.lambda_.registry import FunctionRegistry
from preheat.services.lambda_.validation import check_tags

_MIN_UNRESERVED = 100
"""Reserved concurrency must leave this much to functions without a reservation (Lambda quotas)."""

_TOTAL_CODE_BYTES = 80_530_636_800
"""75 GB, AWS's default quota for all packages of an account."""


class AccessOperations:
    """The part of the Lambda provider whose operations leave code and configuration alone."""

    def __init__(self, registry: FunctionRegistry, account_concurrency: int) -> None:
        self._registry = registry
        self._account_concurrency = account_concurrency

    # resource policy: stored and shown; nothing is ever refused for want of a permission

    def add_permission(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function = self._registry.find(params["FunctionName"], params.get("Qualifier"))
        _check_policy_revision(function, params.get("RevisionId"))
        statement_id = params["StatementId"]
        if any(statement["Sid"] == statement_id for statement in function.policy):
            raise conflict(
                f"The statement id ({statement_id}) provided already exists. "
                "Please provide a new statement id, or remove the existing statement."
            )
        statement = _statement(function.arn, context.account_id, params)
        self._store_policy(function, [*function.policy, statement])
        return {"Statement": _compact(statement)}

    def get_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function = self._registry.find(params["FunctionName"], params.get("Qualifier"))
        if not function.policy:
            raise not_found("The resource you requested does not exist.")
        document = {"Version": "2012-10-17", "Id": "default", "Statement": function.policy}
        return {"Policy": _compact(document), "RevisionId": function.policy_revision_id}

    def remove_permission(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function = self._registry.find(params["FunctionName"], params.get("Qualifier"))
        if not function.policy:
            raise not_found("No policy is associated with the given resource.")
        _check_policy_revision(function, params.get("RevisionId"))
        statement_id = params["StatementId"]
        rest = [statement for statement in function.policy if statement["Sid"] != statement_id]
        if len(rest) == len(function.policy):
            raise not_found(f"Statement {statement_id} is not found in resource policy.")
        self._store_policy(function, rest)
        return {}

    def _store_policy(self, function: Function, policy: list[dict[str, Any]]) -> None:
        self._registry.annotate(replace(function, policy=policy, policy_revision_id=str(uuid.uuid4())))

    # tags

    def tag_resource(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function = self._registry.find(params["Resource"])
        self._registry.annotate(replace(function, tags=check_tags({**function.tags, **params["Tags"]})))
        return {}

    def untag_resource(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function = self._registry.find(params["Resource"])
        rest = {key: value for key, value in function.tags.items() if key not in params["TagKeys"]}
        self._registry.annotate(replace(function, tags=rest))
        return {}

    def list_tags(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return {"Tags": self._registry.find(params["Resource"]).tags}

    # concurrency

    def put_function_concurrency(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function = self._registry.find(params["FunctionName"])
        wanted = params["ReservedConcurrentExecutions"]
        left = self._account_concurrency - self._reserved(other_than=function.name) - wanted
        if wanted > 0 and left < _MIN_UNRESERVED:
            raise invalid(
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{_MIN_UNRESERVED}]."
            )
        self._registry.annotate(replace(function, reserved_concurrency=wanted))
        return {"ReservedConcurrentExecutions": wanted}

    def get_function_concurrency(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        reserved = self._registry.find(params["FunctionName"]).reserved_concurrency
        return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}

    def delete_function_concurrency(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function = self._registry.find(params["FunctionName"])
        self._registry.annotate(replace(function, reserved_concurrency=None))
        return {}

    def _reserved(self, other_than: str = "") -> int:
        return sum(f.reserved_concurrency or 0 for f in self._registry.store if f.name != other_than)

    def get_account_settings(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return {
            "AccountLimit": {
                "TotalCodeSize": _TOTAL_CODE_BYTES,
                "CodeSizeUnzipped": MAX_UNZIPPED_BYTES,
                "CodeSizeZipped": MAX_ZIPPED_BYTES,
                "ConcurrentExecutions": self._account_concurrency,
                "UnreservedConcurrentExecutions": self._account_concurrency - self._reserved(),
            },
            "AccountUsage": {
                "TotalCodeSize": sum(function.code_size for function in self._registry.store),
                "FunctionCount": len(self._registry.store),
            },
        }


def _statement(function_arn: str, account_id: str, params: dict[str, Any]) -> dict[str, Any]:
    """One statement of a function's resource policy, as AddPermission makes it of its parameters."""
    principal = params["Principal"]
    shown: Any = {"AWS": principal}
    if principal == "*":
        shown = "*"
    elif re.fullmatch(r"\d{12}", principal):
        shown = {"AWS": f"arn:aws:iam::{principal}:root"}
    elif principal.endswith(".amazonaws.com"):
        shown = {"Service": principal}
    conditions: dict[str, dict[str, str]] = {}
    for operator, key, member in (
        ("StringEquals", "AWS:SourceAccount", "SourceAccount"),
        ("StringEquals", "lambda:EventSourceToken", "EventSourceToken"),
        ("StringEquals", "lambda:FunctionUrlAuthType", "FunctionUrlAuthType"),
        ("StringEquals", "aws:PrincipalOrgID", "PrincipalOrgID"),
        ("ArnLike", "AWS:SourceArn", "SourceArn"),
    ):
        if params.get(member):
            conditions.setdefault(operator, {})[key] = params[member]
    statement: dict[str, Any] = {
        "Sid": params["StatementId"],
        "Effect": "Allow",
        "Principal": shown,
        "Action": params["Action"],
        "Resource": function_arn,
    }
    if conditions:
        statement["Condition"] = conditions
    return statement


def _check_policy_revision(function: Function, expected: str | None) -> None:
    if expected is not None and expected != function.policy_revision_id:
        raise precondition_failed(
            "The RevisionId provided does not match the latest RevisionId. "
            "Call the GetPolicy API to retrieve the latest RevisionId"
        )


def _compact(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))
