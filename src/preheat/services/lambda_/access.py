"""What hangs on a function beside its code: resource policy, tags, reserved concurrency; and the account."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from preheat.aws.context import OperationContext
from preheat.services.lambda_.archive import MAX_UNZIPPED_BYTES, MAX_ZIPPED_BYTES
from preheat.services.lambda_.failures import conflict, function_only, invalid, not_built, not_found, revision_mismatch
from preheat.services.lambda_.models import LATEST, Function, new_id
from preheat.services.lambda_.operations import Operations
from preheat.services.lambda_.validation import check_tags

MIN_UNRESERVED = 100
"""Reserved concurrency must leave this much to functions without a reservation (Lambda quotas)."""

_TOTAL_CODE_BYTES = 80_530_636_800
"""75 GB, AWS's default quota for all packages of an account."""


class AccessOperations(Operations):
    """The part of the Lambda provider whose operations leave code and configuration alone."""

    _account_concurrency: int

    # resource policy, of a function, a version or an alias: stored and shown; nothing is ever refused for want
    # of a permission

    def add_permission(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function, qualifier = self._registry.find_resource(params["FunctionName"], params.get("Qualifier"))
        if qualifier == LATEST:
            raise invalid("We currently do not support adding policies for $LATEST.")
        self._check_policy_revision(function, qualifier, params.get("RevisionId"))
        policy = self._policy(function, qualifier)
        statement_id = params["StatementId"]
        if any(statement["Sid"] == statement_id for statement in policy):
            raise conflict(
                f"The statement id ({statement_id}) provided already exists. "
                "Please provide a new statement id, or remove the existing statement."
            )
        resource = f"{function.arn}:{qualifier}" if qualifier else function.arn
        statement = _statement(resource, params)
        self._store_policy(function, qualifier, [*policy, statement])
        return {"Statement": _compact(statement)}

    def get_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name, qualifier = self._registry.parse(params["FunctionName"], params.get("Qualifier"))
        policy = self._policy(self._registry.find(name)[0], qualifier)
        if not policy:
            raise not_found("The resource you requested does not exist.")  # also of a version that does not
        document = {"Version": "2012-10-17", "Id": "default", "Statement": policy}
        function, _ = self._registry.find(name, qualifier)
        return {"Policy": _compact(document), "RevisionId": self._policy_revision(function, qualifier)}

    def remove_permission(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name, _ = self._registry.parse(params["FunctionName"], params.get("Qualifier"))
        if self._registry.store.get(name) is None:
            raise not_found(f"No policy found for: {self._registry.arn(name)}")
        function, qualifier = self._registry.find_resource(params["FunctionName"], params.get("Qualifier"))
        policy = self._policy(function, qualifier)
        if not policy:
            raise not_found("No policy is associated with the given resource.")
        statement_id = params["StatementId"]
        rest = [statement for statement in policy if statement["Sid"] != statement_id]
        if len(rest) == len(policy):
            raise not_found(f"Statement {statement_id} is not found in resource policy.")
        self._check_policy_revision(function, qualifier, params.get("RevisionId"))
        self._store_policy(function, qualifier, rest)
        return {}

    def _policy(self, function: Function, qualifier: str | None) -> list[dict[str, Any]]:
        return self._registry.store.attached(function.name).policies.get(qualifier or LATEST, [])

    def _policy_revision(self, function: Function, qualifier: str | None) -> str:
        """A policy has no revision of its own: it is the version's or the alias's (recorded on AWS)."""
        alias = self._registry.store.attached(function.name).aliases.get(qualifier or LATEST)
        return alias.revision_id if alias else function.revision_id

    def _check_policy_revision(self, function: Function, qualifier: str | None, expected: str | None) -> None:
        if expected is not None and expected != self._policy_revision(function, qualifier):
            raise revision_mismatch()

    def _store_policy(self, function: Function, qualifier: str | None, policy: list[dict[str, Any]]) -> None:
        attached = self._registry.store.attached(function.name)
        policies = {**attached.policies, qualifier or LATEST: policy}
        alias = attached.aliases.get(qualifier or LATEST)
        if alias is None:
            self._registry.attach(function.name, replace(attached, policies=policies), touch=function.version)
        else:
            aliases = {**attached.aliases, alias.name: replace(alias, revision_id=new_id())}
            self._registry.attach(function.name, replace(attached, policies=policies, aliases=aliases))

    # tags

    def tag_resource(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function = self._tagged(params)
        if not params["Tags"]:
            raise invalid("An error occurred and the request cannot be processed.")
        attached = self._registry.store.attached(function.name)
        self._store_tags(function, {**attached.tags, **params["Tags"]})
        return {}

    def untag_resource(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function = self._tagged(params)
        tags = self._registry.store.attached(function.name).tags
        self._store_tags(function, {key: value for key, value in tags.items() if key not in params["TagKeys"]})
        return {}

    def list_tags(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return {"Tags": self._registry.store.attached(self._tagged(params).name).tags}

    def _tagged(self, params: dict[str, Any]) -> Function:
        resource = params["Resource"]
        if ":event-source-mapping:" in resource:
            raise not_found(f"Event source mapping not found: {resource}")
        if ":code-signing-config:" in resource:
            raise not_built("Tags of code signing configurations")
        name, qualifier = self._registry.parse(resource)
        if qualifier is not None:
            raise invalid("Tags on function aliases and versions are not supported. Please specify a function ARN.")
        return self._registry.function(name)

    def _store_tags(self, function: Function, tags: dict[str, str]) -> None:
        attached = self._registry.store.attached(function.name)
        self._registry.attach(function.name, replace(attached, tags=check_tags(tags)), touch=LATEST)

    # concurrency

    def put_function_concurrency(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function = self._limited(params, missing=LATEST)
        wanted = params["ReservedConcurrentExecutions"]
        left = self._account_concurrency - self._reserved(other_than=function.name) - wanted
        if wanted > 0 and left < MIN_UNRESERVED:
            raise invalid(
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{MIN_UNRESERVED}].",
                typed=False,
            )
        attached = self._registry.store.attached(function.name)
        provisioned = sum(each.requested for each in attached.provisioned.values())
        if provisioned > wanted:
            raise invalid(  # the blanks are AWS's (recorded)
                f" ReservedConcurrentExecutions  {wanted} should not be lower than function's total provisioned "
                f"concurrency [{provisioned}].",
                typed=False,
            )
        self._registry.attach(function.name, replace(attached, reserved_concurrency=wanted))
        return {"ReservedConcurrentExecutions": wanted}

    def get_function_concurrency(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        reserved = self._registry.store.attached(self._registry.function(params["FunctionName"]).name)
        if reserved.reserved_concurrency is None:
            return {}
        return {"ReservedConcurrentExecutions": reserved.reserved_concurrency}

    def delete_function_concurrency(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function = self._limited(params)
        attached = self._registry.store.attached(function.name)
        self._registry.attach(function.name, replace(attached, reserved_concurrency=None))
        return {}

    def _limited(self, params: dict[str, Any], missing: str | None = None) -> Function:
        """Concurrency cannot even be named with $LATEST; AWS names a missing function with it (both recorded)."""
        name, qualifier = self._registry.parse(params["FunctionName"])
        if qualifier is not None:
            raise function_only()
        return self._registry.find(name, missing)[0]

    def _reserved(self, other_than: str = "") -> int:
        """Concurrency taken out of the account's pool: reserved, or provisioned where nothing is reserved."""
        taken = 0
        for function in self._registry.store:
            attached = self._registry.store.attached(function.name)
            if function.name != other_than and attached.reserved_concurrency is not None:
                taken += attached.reserved_concurrency
            elif function.name != other_than:
                taken += sum(each.requested for each in attached.provisioned.values())
        return taken

    def get_account_settings(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        store = self._registry.store
        versions = [version for latest in store for version in store.versions(latest.name)]
        layers = [version for layer in store.layers for version in layer.versions.values()]
        return {
            "AccountLimit": {
                "TotalCodeSize": _TOTAL_CODE_BYTES,
                "CodeSizeUnzipped": MAX_UNZIPPED_BYTES,
                "CodeSizeZipped": MAX_ZIPPED_BYTES,
                "ConcurrentExecutions": self._account_concurrency,
                "UnreservedConcurrentExecutions": self._account_concurrency - self._reserved(),
            },
            "AccountUsage": {
                "TotalCodeSize": sum(each.code_size for each in versions) + sum(each.code_size for each in layers),
                "FunctionCount": len(store),
            },
        }


def _statement(resource_arn: str, params: dict[str, Any]) -> dict[str, Any]:
    """One statement of a function's resource policy, as AddPermission makes it of its parameters."""
    shown = _principal(params["Principal"])
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
    if params.get("InvokedViaFunctionUrl") is not None:
        conditions["Bool"] = {"lambda:InvokedViaFunctionUrl": str(params["InvokedViaFunctionUrl"]).lower()}
    statement: dict[str, Any] = {
        "Sid": params["StatementId"],
        "Effect": "Allow",
        "Principal": shown,
        "Action": params["Action"],
        "Resource": resource_arn,
    }
    if conditions:
        statement["Condition"] = conditions
    return statement


def _compact(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))


def _principal(principal: str) -> Any:
    """As a policy shows who was named: everybody, an account, a service, or an identity's ARN."""
    if principal == "*":
        return "*"
    if re.fullmatch(r"\d{12}", principal):
        return {"AWS": f"arn:aws:iam::{principal}:root"}
    if re.fullmatch(r"[a-z0-9.-]+\.amazon(aws)?\.com(\.cn)?", principal):
        return {"Service": principal}
    if re.match(r"arn:aws[a-zA-Z-]*:(iam|sts):", principal):
        return {"AWS": principal}
    raise invalid("The provided principal was invalid. Please check the principal and try again.")
