"""Published versions and aliases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from preheat.aws.context import OperationContext
from preheat.services.lambda_.attachments import Alias, Attached
from preheat.services.lambda_.failures import conflict, constraint, function_not_found, invalid, not_found
from preheat.services.lambda_.models import LATEST, configuration, listed, new_id
from preheat.services.lambda_.operations import Operations
from preheat.services.lambda_.pages import page, version_key
from preheat.services.lambda_.provisioned import Provisioning
from preheat.services.lambda_.validation import check_revision

Value = TypeVar("Value")


class VersionOperations(Operations):
    """The part of the Lambda provider that is about versions and what points to them."""

    _provisioning: Provisioning

    def publish_version(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function = self._registry.function(params["FunctionName"])
        with self._registry.changing(function):
            check_revision(params.get("RevisionId"), function.revision_id)
            wanted = params.get("CodeSha256")
            if wanted and wanted != function.code_sha256:
                raise invalid(
                    f"CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST "
                    f"({function.code_sha256}). Please try again with the CodeSHA256 in $LATEST."
                )
            version = self._registry.publish(function, params.get("Description"))
        return configuration(version, version.version)

    def list_versions_by_function(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function = self._registry.function(params["FunctionName"])
        return page(
            "Versions",
            self._registry.store.versions(function.name),
            lambda version: version_key(version.version),
            params,
            lambda version: listed(version, qualified=True),
        )

    # aliases

    def create_alias(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name, _ = self._registry.parse(params["FunctionName"])
        self._check_version(name, params["FunctionVersion"])  # first: AWS names a missing function with the version
        name, alias = self._registry.function(params["FunctionName"]).name, params["Name"]
        attached = self._registry.store.attached(name)
        if alias in attached.aliases:
            raise conflict(f"Alias already exists: {self._registry.arn(name)}:{alias}")
        weights = self._weights(name, params["FunctionVersion"], params.get("RoutingConfig"))
        made = Alias(alias, params["FunctionVersion"], new_id(), params.get("Description") or "", weights)
        self._put_alias(name, attached, made)
        return self._shown(name, made)

    def get_alias(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name = self._registry.function(params["FunctionName"]).name
        return self._shown(name, self._registry.alias(name, params["Name"]))

    def list_aliases(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name = self._registry.function(params["FunctionName"]).name
        version = params.get("FunctionVersion")
        aliases = self._registry.store.attached(name).aliases.values()
        wanted = [alias for alias in aliases if version is None or version in (alias.version, *alias.weights)]
        return page("Aliases", wanted, lambda alias: alias.name, params, lambda alias: self._shown(name, alias))

    def update_alias(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name = self._registry.function(params["FunctionName"]).name
        alias = self._registry.store.attached(name).aliases.get(params["Name"])
        if alias is None:
            raise not_found(f"Alias not found: {self._registry.arn(name)}:{params['Name']}")
        check_revision(params.get("RevisionId"), alias.revision_id)
        version = params.get("FunctionVersion") or alias.version
        self._check_version(name, version)
        weights = alias.weights
        if params.get("RoutingConfig") is not None:
            weights = self._weights(name, version, params["RoutingConfig"])
        description = alias.description if params.get("Description") is None else params["Description"]
        changed = Alias(alias.name, version, new_id(), description, weights)
        self._put_alias(name, self._registry.store.attached(name), changed)
        return self._shown(name, changed)

    def delete_alias(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """Deleting what is not there is no error (recorded on AWS)."""
        name = self._registry.function(params["FunctionName"]).name
        attached = self._registry.store.attached(name)
        rest = {key: alias for key, alias in attached.aliases.items() if key != params["Name"]}
        if len(rest) < len(attached.aliases):
            self._registry.attach(name, replace(attached, aliases=rest))
            self.forget_qualifier(name, params["Name"])
        return {}

    def forget_qualifier(self, name: str, qualifier: str) -> None:
        """What hangs on a version or alias goes with it."""
        attached = self._registry.store.attached(name)
        rest = replace(
            attached,
            policies=_without(attached.policies, qualifier),
            provisioned=_without(attached.provisioned, qualifier),
            event_invoke=_without(attached.event_invoke, qualifier),
            urls=_without(attached.urls, qualifier),
        )
        self._registry.attach(name, rest)
        self._provisioning.apply(name)

    def _put_alias(self, name: str, attached: Attached, alias: Alias) -> None:
        self._registry.attach(name, replace(attached, aliases={**attached.aliases, alias.name: alias}))
        self._provisioning.apply(name)

    def _check_version(self, name: str, version: str) -> None:
        if self._registry.store.get(name, version) is None:
            raise function_not_found(f"{self._registry.arn(name)}:{version}")

    def _weights(self, name: str, version: str, routing: dict[str, Any] | None) -> dict[str, float]:
        """AdditionalVersionWeights after AWS's checks, in AWS's order (recorded)."""
        weights: dict[str, float] = dict((routing or {}).get("AdditionalVersionWeights") or {})
        if len(weights) > 1:
            raise invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")
        for other, weight in weights.items():
            if weight >= 1.0:
                raise constraint(
                    f"{{{other}={weight}}}",
                    "routingConfig.additionalVersionWeights",
                    "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, "
                    "Member must have value greater than or equal to 0.0, Member must not be null]",
                )
            if other == version:
                raise invalid(
                    f"Invalid function version {version}. "
                    f"Function version {version} is already included in routing configuration."
                )
            if LATEST in (version, other):
                words = "$LATEST is not supported for an alias pointing to more than 1 version"
                raise invalid(words, typed=False)
            self._check_version(name, other)
        return weights

    def _shown(self, name: str, alias: Alias) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "AliasArn": f"{self._registry.arn(name)}:{alias.name}",
            "Name": alias.name,
            "FunctionVersion": alias.version,
            "Description": alias.description,
            "RevisionId": alias.revision_id,
        }
        if alias.weights:
            shown["RoutingConfig"] = {"AdditionalVersionWeights": alias.weights}
        return shown


def _without(items: dict[str, Value], key: str) -> dict[str, Value]:
    return {other: value for other, value in items.items() if other != key}
