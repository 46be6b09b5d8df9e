"""Operations on deployments (snapshots) and stages (names that point at one)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from preheat.aws.context import OperationContext
from preheat.services.apigateway import errors
from preheat.services.apigateway.methods import MethodOperations
from preheat.services.apigateway.models import (
    AccessLogSettings,
    Deployment,
    Integration,
    MethodSetting,
    RestApi,
    Stage,
    present,
    wire,
)
from preheat.services.apigateway.paging import page
from preheat.services.apigateway.patch import (
    Patch,
    boolean,
    integer,
    number,
    patch_map,
    patch_members,
    patches,
    require_replace,
    text,
)
from preheat.services.apigateway.stages import setting_key
from preheat.services.apigateway.store import ApiState, new_id

_STAGE_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_STAGE_PATHS = (
    "/deploymentId, /description, /cacheClusterEnabled, /cacheClusterSize, /clientCertificateId, /accessLogSettings, "
    "/accessLogSettings/destinationArn, /accessLogSettings/format, /{resourcePath}/{httpMethod}/metrics/enabled, "
    "/{resourcePath}/{httpMethod}/logging/dataTrace, /{resourcePath}/{httpMethod}/logging/loglevel, "
    "/{resourcePath}/{httpMethod}/throttling/burstLimit/{resourcePath}/{httpMethod}/throttling/rateLimit"
    "/{resourcePath}/{httpMethod}/caching/ttlInSeconds, /{resourcePath}/{httpMethod}/caching/enabled, "
    "/{resourcePath}/{httpMethod}/caching/dataEncrypted, "
    "/{resourcePath}/{httpMethod}/caching/requireAuthorizationForCacheControl, "
    "/{resourcePath}/{httpMethod}/caching/unauthorizedCacheControlHeaderStrategy, /*/*/metrics/enabled, "
    "/*/*/logging/dataTrace, /*/*/logging/loglevel, /*/*/throttling/burstLimit /*/*/throttling/rateLimit "
    "/*/*/caching/ttlInSeconds, /*/*/caching/enabled, /*/*/caching/dataEncrypted, "
    "/*/*/caching/requireAuthorizationForCacheControl, /*/*/caching/unauthorizedCacheControlHeaderStrategy, "
    "/variables/{variable_name}, /tracingEnabled"
)
"""What AWS lists, its own missing commas included (recorded: error-update-doc-version)."""

_UNBUILT_STAGE_PATHS = ("cacheClusterEnabled", "cacheClusterSize", "clientCertificateId")
_UNBUILT_SETTINGS = ("metrics", "logging", "caching")
_THROTTLING = ("burstLimit", "rateLimit")
_UNBUILT_OPTIONS = ("canarySettings", "cacheClusterEnabled", "cacheClusterSize", "documentationVersion")


class DeploymentOperations(MethodOperations):
    """Create, Get, Delete of Deployment; Create, Get, Update, Delete of Stage."""

    def create_deployment(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """Take the snapshot and, with `stageName`, create that stage or move it here: only now changes are live."""
        state = self._api(context, params)
        _refuse_unbuilt(params)
        deployment = _snapshot(state, params)
        name = params.get("stageName")
        stage = _deployed_stage(state.stages.get(name), deployment.id, params) if name else None
        self._store.put_deployment(state.rest_api.id, deployment, stage)
        return _shown(deployment, embed=())

    def get_deployment(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return _shown(self._deployment(context, params)[1], params.get("embed") or ())

    def get_deployments(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        deployments = self._api(context, params).deployments.values()
        return page([_shown(deployment, embed=()) for deployment in deployments], params)

    def update_deployment(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, deployment = self._deployment(context, params)
        deployment = patch_members(deployment, patches(params), {"description": ("description", text)})
        self._store.put_deployment(state.rest_api.id, deployment)
        return _shown(deployment, embed=())

    def delete_deployment(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, deployment = self._deployment(context, params)
        if any(stage.deployment_id == deployment.id for stage in state.stages.values()):
            raise errors.bad_request("Active stages pointing to this deployment must be moved or deleted")
        self._store.delete_deployment(state.rest_api.id, deployment.id)
        return {}

    def create_stage(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state = self._api(context, params)
        _refuse_unbuilt(params)
        if params.get("stageName") in state.stages:
            raise errors.conflict("Stage already exists")
        if params.get("deploymentId") not in state.deployments:
            raise errors.bad_request("Deployment id does not exist")
        stage = _new_stage(params, params["deploymentId"], params.get("description"))
        self._store.put_stage(state.rest_api.id, stage)
        return wire(stage)

    def get_stage(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return wire(self._stage(context, params)[1])

    def get_stages(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """The list's member is `item`, not `items` (botocore's model)."""
        wanted = params.get("deploymentId")
        stages = self._api(context, params).stages.values()
        return {"item": [wire(stage) for stage in stages if wanted in (None, stage.deployment_id)]}

    def update_stage(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, stage = self._stage(context, params)
        for patch in patches(params):
            stage = _patched(state, stage, patch)
        stage = msgspec.structs.replace(stage, last_updated_date=_now())
        self._store.put_stage(state.rest_api.id, stage)
        return wire(stage)

    def delete_stage(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, stage = self._stage(context, params)
        self._store.delete_stage(state.rest_api.id, stage.stage_name)
        return {}

    def _deployment(self, context: OperationContext, params: dict[str, Any]) -> tuple[ApiState, Deployment]:
        state = self._api(context, params)
        deployment = state.deployments.get(params["deploymentId"])
        if deployment is None:
            raise errors.no_deployment()
        return state, deployment

    def _stage(self, context: OperationContext, params: dict[str, Any]) -> tuple[ApiState, Stage]:
        state = self._api(context, params)
        stage = state.stages.get(params["stageName"])
        if stage is None:
            raise errors.no_stage()
        return state, stage


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _refuse_unbuilt(params: dict[str, Any]) -> None:
    for option in _UNBUILT_OPTIONS:
        if params.get(option):
            raise errors.not_built(option)


def _snapshot(state: ApiState, params: dict[str, Any]) -> Deployment:
    """Every method needs an integration; an API without methods cannot be deployed (AWS's words, 400)."""
    resources = tuple(resource for resource in state.resources.values() if resource.resource_methods)
    if not resources:
        raise errors.bad_request("The REST API doesn't contain any methods")
    for resource in resources:
        for method in resource.resource_methods.values():
            if not isinstance(method.method_integration, Integration):
                raise errors.bad_request("No integration defined for method")
    return Deployment(
        id=new_id(6),
        created_date=_now(),
        description=present(params.get("description")),
        resources=resources,
        binary_media_types=_binary_media_types(state.rest_api),
        api_key_source=state.rest_api.api_key_source,
        models={model.name: model.schema for model in state.models.values()},
        validators=dict(state.validators),
        authorizers=dict(state.authorizers),
        gateway_responses=dict(state.gateway_responses),
    )


def _binary_media_types(rest_api: RestApi) -> list[str]:
    return rest_api.binary_media_types if isinstance(rest_api.binary_media_types, list) else []


def _deployed_stage(stage: Stage | None, deployment_id: str, params: dict[str, Any]) -> Stage:
    """The stage that CreateDeployment creates, or the existing one moved to the new deployment."""
    if stage is None:
        return _new_stage(params, deployment_id, params.get("stageDescription"))
    changes: dict[str, Any] = {"deployment_id": deployment_id, "last_updated_date": _now()}
    if params.get("stageDescription") is not None:
        changes["description"] = params["stageDescription"]
    if params.get("variables") is not None:
        changes["variables"] = present(params["variables"])
    if params.get("tracingEnabled") is not None:
        changes["tracing_enabled"] = params["tracingEnabled"]
    return msgspec.structs.replace(stage, **changes)


def _new_stage(params: dict[str, Any], deployment_id: str, description: str | None) -> Stage:
    name = params.get("stageName") or ""
    if not _STAGE_NAME.fullmatch(name):
        raise errors.bad_request("Stage name only allows a-zA-Z0-9_-")
    now = _now()
    return Stage(
        stage_name=name,
        deployment_id=deployment_id,
        created_date=now,
        last_updated_date=now,
        description=present(description),
        variables=present(params.get("variables")),
        tracing_enabled=params.get("tracingEnabled") or False,
        tags=present(params.get("tags")),
    )


def _patched(state: ApiState, stage: Stage, patch: Patch) -> Stage:
    replace = msgspec.structs.replace
    match patch.parts:
        case ("deploymentId",):
            require_replace(patch)
            if patch.value not in state.deployments:
                raise errors.bad_request("Deployment id does not exist")
            return replace(stage, deployment_id=patch.value)
        case ("description",):
            return replace(stage, description=UNSET if patch.op == "remove" else patch.value)
        case ("tracingEnabled",):
            require_replace(patch)
            return replace(stage, tracing_enabled=boolean(patch.value))
        case ("variables", *_):
            current = stage.variables if isinstance(stage.variables, dict) else {}
            return replace(stage, variables=present(patch_map(current, patch)))
        case ("accessLogSettings", *rest):
            return replace(stage, access_log_settings=_access_log(stage, tuple(rest), patch))
        case (known, *_) if known in _UNBUILT_STAGE_PATHS:
            raise errors.not_built(f"stage setting {patch.path}")
        case (path, method, "throttling", member) if member in _THROTTLING:
            return replace(stage, method_settings=_throttled(stage, setting_key(path, method), member, patch))
        case (path, method) if patch.op == "remove" and setting_key(path, method) in stage.method_settings:
            kept = {key: value for key, value in stage.method_settings.items() if key != setting_key(path, method)}
            return replace(stage, method_settings=kept)
        case (_, _, setting, _) if setting in _UNBUILT_SETTINGS:
            if patch.value.lower() in ("false", "off"):  # what they are anyway
                return stage
            raise errors.not_built(f"stage setting {patch.path}")
        case _:
            raise errors.bad_request(f"Invalid method setting path: {patch.path}. Must be one of: [{_STAGE_PATHS}]")


def _access_log(stage: Stage, rest: tuple[str, ...], patch: Patch) -> AccessLogSettings | UnsetType:
    current = stage.access_log_settings
    settings = current if isinstance(current, AccessLogSettings) else AccessLogSettings()
    if patch.op == "remove" and not rest:
        return UNSET
    if rest == ("destinationArn",):
        arn = patch.value.removesuffix(":*")
        if ":logs:" not in arn or ":log-group:" not in arn:
            raise errors.bad_request("Invalid ARN specified in the request. ARN should be of a CloudWatch Logs group")
        return msgspec.structs.replace(settings, destination_arn=arn)
    if rest == ("format",):
        if "$context.requestId" not in patch.value and "$context.extendedRequestId" not in patch.value:
            raise errors.bad_request("Access log format must contain $context.requestId or $context.extendedRequestId")
        return msgspec.structs.replace(settings, format=patch.value)
    raise errors.bad_request(f"Invalid patch path {patch.path}")


def _throttled(stage: Stage, key: str, member: str, patch: Patch) -> dict[str, MethodSetting]:
    setting = stage.method_settings.get(key, MethodSetting())
    limits: dict[str, Any] = (
        {"throttling_burst_limit": integer(patch.value)}
        if member == "burstLimit"
        else {"throttling_rate_limit": number(patch.value)}
    )
    return {**stage.method_settings, key: msgspec.structs.replace(setting, **limits)}


def _shown(deployment: Deployment, embed: Any) -> dict[str, Any]:
    """Without the snapshot itself; `embed=apisummary` adds path -> method -> authorisation."""
    document = {"id": deployment.id, "createdDate": deployment.created_date}
    if isinstance(deployment.description, str):
        document["description"] = deployment.description
    if "apisummary" in embed:
        document["apiSummary"] = {
            resource.path: {
                name: {"authorizationType": method.authorization_type, "apiKeyRequired": method.api_key_required}
                for name, method in resource.resource_methods.items()
            }
            for resource in deployment.resources
        }
    return document
