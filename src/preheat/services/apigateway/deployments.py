"""Operations on deployments (snapshots) and stages (names that point at one)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from preheat.aws.context import OperationContext
from preheat.services.apigateway import errors
from preheat.services.apigateway.methods import MethodOperations
from preheat.services.apigateway.models import Deployment, Integration, RestApi, Stage, present, wire
from preheat.services.apigateway.paging import page
from preheat.services.apigateway.patch import patch_members, patches, text
from preheat.services.apigateway.stage_settings import canary_from, patched_stage
from preheat.services.apigateway.store import ApiState, new_id

_STAGE_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")


class DeploymentOperations(MethodOperations):
    """Create, Get, Delete of Deployment; Create, Get, Update, Delete of Stage."""

    def create_deployment(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """Take the snapshot and, with `stageName`, create that stage or move it here: only now changes are live.

        With `canarySettings` the stage stays and gets this deployment as its canary.
        """
        state = self._api(context, params)
        name = params.get("stageName")
        canary = params.get("canarySettings")
        if canary is not None:
            _check_canary(state, name)
        deployment = _snapshot(state, params)
        if canary is not None:
            settings = canary_from({**canary, "deploymentId": deployment.id})
            stage: Stage | None = msgspec.structs.replace(
                state.stages[str(name)], canary_settings=settings, last_updated_date=_now()
            )
        else:
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
        if any(deployment.id in stage.deployment_ids() for stage in state.stages.values()):
            raise errors.bad_request("Active stages pointing to this deployment must be moved or deleted")
        self._store.delete_deployment(state.rest_api.id, deployment.id)
        return {}

    def create_stage(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state = self._api(context, params)
        if params.get("documentationVersion"):
            raise errors.not_built("documentationVersion")
        if params.get("stageName") in state.stages:
            raise errors.conflict("Stage already exists")
        if params.get("deploymentId") not in state.deployments:
            raise errors.bad_request("Deployment id does not exist")
        stage = _new_stage(params, params["deploymentId"], params.get("description"))
        if params.get("canarySettings"):
            canary = canary_from({"deploymentId": stage.deployment_id, **params["canarySettings"]})
            if canary.deployment_id not in state.deployments:
                raise errors.bad_request("Deployment id does not exist")
            stage = msgspec.structs.replace(stage, canary_settings=canary)
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
        for patch in patches(params, copies=True):
            stage = patched_stage(state, stage, patch)
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


def _check_canary(state: ApiState, name: str | None) -> None:
    """AWS's words (recorded: test_create_canary_deployment_validation)."""
    problem = ""
    if not name:
        shown = "null" if name is None else name
        problem = f"Non null and non empty stageName must be provided for canary deployment. Provided value is {shown}"
    elif name not in state.stages:
        problem = f"Stage {name} must already be created before making a canary release deployment"
    if problem:
        raise errors.bad_request("Invalid deployment content specified." + problem)


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
        minimum_compression_size=_minimum_size(state.rest_api),
    )


def _binary_media_types(rest_api: RestApi) -> list[str]:
    return rest_api.binary_media_types if isinstance(rest_api.binary_media_types, list) else []


def _minimum_size(rest_api: RestApi) -> int | None:
    size = rest_api.minimum_compression_size
    return size if isinstance(size, int) else None


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
        cache_cluster_enabled=params.get("cacheClusterEnabled") or False,
        cache_cluster_size=present(params.get("cacheClusterSize")),
        tags=present(params.get("tags")),
    )


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
