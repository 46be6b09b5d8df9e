"""Layers: published, listed, shared by policy, attached to functions."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.services.lambda_.code import CodeStore
from preheat.services.lambda_.failures import conflict, invalid, not_found, precondition_failed
from preheat.services.lambda_.layer_models import Layer, LayerVersion
from preheat.services.lambda_.models import LayerUse, code_id, last_modified_now, new_id
from preheat.services.lambda_.operations import Operations
from preheat.services.lambda_.pages import page
from preheat.services.lambda_.runtimes import check_compatible, check_listed_runtime
from preheat.services.lambda_.sources import source

_MAX_LAYERS = 5
_ARN = re.compile(
    r"arn:(?:aws[a-zA-Z-]*):lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):layer:(?P<name>[a-zA-Z0-9-_]+)"
    r"(?::(?P<version>\d+))?"
)
_NO_SUCH = "The resource you requested does not exist."


class LayerOperations(Operations):
    """The part of the Lambda provider that is about layers."""

    _code: CodeStore

    async def publish_layer_version(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name = self._layer_name(params["LayerName"])
        check_compatible(params.get("CompatibleRuntimes") or [], params.get("CompatibleArchitectures") or [])
        async with self._code.adding(source(params["Content"])) as package:
            arn = f"arn:aws:lambda:{context.region}:{context.account_id}:layer:{name}"
            layer = self._registry.store.layer(name) or Layer(name, arn)
            version = LayerVersion(
                version=layer.next_version,
                arn=f"{arn}:{layer.next_version}",
                code_sha256=package.sha256,
                code_size=package.size_bytes,
                created=last_modified_now(),
                description=params.get("Description") or "",
                license_info=params.get("LicenseInfo"),
                runtimes=params.get("CompatibleRuntimes") or [],
                architectures=params.get("CompatibleArchitectures") or [],
            )
            self._store_version(replace(layer, next_version=layer.next_version + 1), version)
        return self._layer_shown(context, layer, version)

    def get_layer_version(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        if params["VersionNumber"] < 1:
            raise invalid("Layer Version Cannot be less than 1")
        name = self._layer_name(params["LayerName"])
        return self._layer_shown(context, *self._layer_version(name, str(params["VersionNumber"])))

    def get_layer_version_by_arn(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        match = _ARN.fullmatch(params["Arn"])
        if match is None or match["version"] is None:  # one of AWS's own: the model lets no others through
            raise not_found(_NO_SUCH)
        return self._layer_shown(context, *self._layer_version(match["name"], match["version"]))

    def delete_layer_version(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """Functions that have it keep it; deleting what is not there is no error (API reference)."""
        if params["VersionNumber"] < 1:
            raise invalid("Layer Version Cannot be less than 1")
        layer = self._registry.store.layer(self._layer_name(params["LayerName"]))
        if layer is not None:
            rest = {key: each for key, each in layer.versions.items() if key != str(params["VersionNumber"])}
            self._registry.store.put_layer(replace(layer, versions=rest))
        return {}

    def list_layers(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        check_listed_runtime(params.get("CompatibleRuntime"))
        matching = [(layer, _newest(layer, params)) for layer in self._registry.store.layers]
        return page(
            "Layers",
            [(layer, version) for layer, version in matching if version is not None],
            lambda item: item[0].name,
            params,
            lambda item: {
                "LayerName": item[0].name,
                "LayerArn": item[0].arn,
                "LatestMatchingVersion": _listed(item[1]),
            },
        )

    def list_layer_versions(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        check_listed_runtime(params.get("CompatibleRuntime"))
        layer = self._registry.store.layer(self._layer_name(params["LayerName"]))
        versions = [version for version in layer.newest_first if _fits(version, params)] if layer else []
        return page("LayerVersions", versions, lambda version: f"{10**9 - version.version:010d}", params, _listed)

    # policies of layer versions: stored and shown

    def add_layer_version_permission(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        layer, version = self._shared(params)
        statement_id = params["StatementId"]
        if any(statement["Sid"] == statement_id for statement in version.policy):
            raise conflict(
                f"The statement id ({statement_id}) provided already exists. "
                "Please provide a new statement id, or remove the existing statement."
            )
        self._check_layer_policy(version, params)
        statement = {
            "Sid": statement_id,
            "Effect": "Allow",
            "Principal": params["Principal"],
            "Action": params["Action"],
            "Resource": version.arn,
        }
        if params.get("OrganizationId"):
            statement["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": params["OrganizationId"]}}
        version = replace(version, policy=[*version.policy, statement], policy_revision_id=new_id())
        self._store_version(layer, version)
        return {"Statement": json.dumps(statement, separators=(",", ":")), "RevisionId": version.policy_revision_id}

    def remove_layer_version_permission(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        layer, version = self._shared(params)
        self._check_layer_policy(version, params)
        rest = [statement for statement in version.policy if statement["Sid"] != params["StatementId"]]
        if len(rest) == len(version.policy):
            raise not_found(f"Statement {params['StatementId']} is not found in resource policy.")
        self._store_version(layer, replace(version, policy=rest, policy_revision_id=new_id()))
        return {}

    def get_layer_version_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        _, version = self._shared(params)
        if not version.policy_revision_id:
            raise not_found("No policy is associated with the given resource.")
        document = {"Version": "2012-10-17", "Id": "default", "Statement": version.policy}
        return {"Policy": json.dumps(document, separators=(",", ":")), "RevisionId": version.policy_revision_id}

    def _shared(self, params: dict[str, Any]) -> tuple[Layer, LayerVersion]:
        name, number = self._layer_name(params["LayerName"]), str(params["VersionNumber"])
        try:
            return self._layer_version(name, number)
        except AwsError as error:
            arn = f"arn:aws:lambda:{self._settings.region}:{self._settings.account_id}:layer:{name}:{number}"
            raise not_found(f"Layer version {arn} does not exist.") from error

    def _check_layer_policy(self, version: LayerVersion, params: dict[str, Any]) -> None:
        if params.get("RevisionId") and params["RevisionId"] != version.policy_revision_id:
            raise precondition_failed(
                "The Revision Id provided does not match the latest Revision Id. "
                "Call the GetLayerPolicy API to retrieve the latest Revision Id"
            )

    # for functions

    def _layer_uses(self, arns: list[str]) -> list[LayerUse]:
        """What CreateFunction and UpdateFunctionConfiguration attach, after AWS's checks."""
        if len(arns) > _MAX_LAYERS:
            raise invalid(f"Cannot reference more than {_MAX_LAYERS} layers.")
        seen: dict[str, str] = {}
        uses = []
        for arn in arns:
            use = self._layer_use(arn)
            layer = arn.rpartition(":")[0]
            if layer in seen:
                raise invalid(
                    "Two different versions of the same layer are not allowed to be referenced in the same function. "
                    f"{seen[layer]} and {arn} are versions of the same layer."
                )
            seen[layer] = arn
            uses.append(use)
        return uses

    def _layer_use(self, arn: str) -> LayerUse:
        match = _ARN.fullmatch(arn)
        if match is None:  # one of AWS's own: the model lets no others through
            raise invalid(f"Layer version {arn} does not exist.")
        if match["region"] != self._settings.region:
            raise invalid(
                "Layers are not in the same region as the function. "
                f"Layers are expected to be in region {self._settings.region}."
            )
        layer = self._registry.store.layer(match["name"])
        version = layer.versions.get(match["version"]) if layer else None
        if version is None or match["account"] != self._settings.account_id:
            raise invalid(f"Layer version {arn} does not exist.")
        return LayerUse(arn, version.code_sha256, version.code_size)

    # shared

    def _layer_name(self, name_or_arn: str) -> str:
        match = _ARN.fullmatch(name_or_arn)
        return match["name"] if match else name_or_arn

    def _layer_version(self, name: str, number: str) -> tuple[Layer, LayerVersion]:
        layer = self._registry.store.layer(name)
        version = layer.versions.get(number) if layer else None
        if layer is None or version is None:
            raise not_found(_NO_SUCH)
        return layer, version

    def _store_version(self, layer: Layer, version: LayerVersion) -> None:
        versions = {**layer.versions, str(version.version): version}
        self._registry.store.put_layer(replace(layer, versions=versions))

    def _layer_shown(self, context: OperationContext, layer: Layer, version: LayerVersion) -> dict[str, Any]:
        return {
            "Content": {
                "Location": self._location(context, code_id(version.code_sha256)),
                "CodeSha256": version.code_sha256,
                "CodeSize": version.code_size,
            },
            "LayerArn": layer.arn,
            **_listed(version),
        }


def _listed(version: LayerVersion) -> dict[str, Any]:
    return {
        "LayerVersionArn": version.arn,
        "Version": version.version,
        "Description": version.description,
        "CreatedDate": version.created,
        "CompatibleRuntimes": version.runtimes,
        "CompatibleArchitectures": version.architectures,
        "LicenseInfo": version.license_info,
    }


def _newest(layer: Layer, params: dict[str, Any]) -> LayerVersion | None:
    return next((version for version in layer.newest_first if _fits(version, params)), None)


def _fits(version: LayerVersion, params: dict[str, Any]) -> bool:
    """Whether a version is listed for CompatibleRuntime and CompatibleArchitecture; one that names none fits none."""
    runtime, architecture = params.get("CompatibleRuntime"), params.get("CompatibleArchitecture")
    return (runtime is None or runtime in version.runtimes) and (
        architecture is None or architecture in version.architectures
    )
