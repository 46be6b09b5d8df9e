"""Operations on the stages and deployments of HTTP APIs."""

from __future__ import annotations

import re

from preheat.aws.context import OperationContext
from preheat.services.apigateway import errors
from preheat.services.apigateway.store import new_id
from preheat.services.apigateway.v2.common import Operations, given, page, refuse
from preheat.services.apigateway.v2.store import Document, HttpApi, now

_STAGE_NAME = re.compile(r"\$default|[a-zA-Z0-9_-]{1,128}")
_STAGE_REFUSED = ("ClientCertificateId",)


class StageOperations(Operations):
    """Create, Get, Update, Delete of Stage; Create, Get, Delete of Deployment."""

    def create_stage(self, context: OperationContext, params: Document) -> Document:
        state = self._api(params)
        if not _STAGE_NAME.fullmatch(params["StageName"]):
            raise errors.bad_request("Stage name only allows a-zA-Z0-9_- or $default")
        if params["StageName"] in state.stages:
            raise errors.conflict("Stage already exists")
        stage = {
            "CreatedDate": now(),
            "AutoDeploy": False,
            "StageVariables": {},
            "RouteSettings": {},
            "DefaultRouteSettings": {"DetailedMetricsEnabled": False},
            "Tags": {},
            **given(params, "ApiId"),
        }
        refuse(params, _STAGE_REFUSED)
        return self._keep_stage(state, stage)

    def get_stage(self, context: OperationContext, params: Document) -> Document:
        return self._found(params, "stages", "StageName", "Stage")[1]

    def get_stages(self, context: OperationContext, params: Document) -> Document:
        return page(self._api(params).stages.values(), params)

    def update_stage(self, context: OperationContext, params: Document) -> Document:
        refuse(params, _STAGE_REFUSED)
        state, stage = self._found(params, "stages", "StageName", "Stage")
        changes = given(params, "ApiId")
        for name in ("RouteSettings", "StageVariables"):  # one entry at a time: the others stay
            if name in changes:
                changes[name] = {**stage[name], **changes[name]}
        return self._keep_stage(state, {**stage, **changes})

    def delete_route_settings(self, context: OperationContext, params: Document) -> Document:
        state, stage = self._found(params, "stages", "StageName", "Stage")
        key = params["RouteKey"]
        if key not in stage["RouteSettings"]:
            raise errors.not_found(f"Unable to find RouteSettings by key {key} within the stage {stage['StageName']}")
        kept = {name: value for name, value in stage["RouteSettings"].items() if name != key}
        self._keep_stage(state, {**stage, "RouteSettings": kept})
        return {}

    def delete_access_log_settings(self, context: OperationContext, params: Document) -> Document:
        state, stage = self._found(params, "stages", "StageName", "Stage")
        self._keep_stage(state, {name: value for name, value in stage.items() if name != "AccessLogSettings"})
        return {}

    def delete_stage(self, context: OperationContext, params: Document) -> Document:
        return self._delete(params, "stages", "StageName", "Stage")

    def _keep_stage(self, state: HttpApi, stage: Document) -> Document:
        if stage.get("DeploymentId") and stage["DeploymentId"] not in state.deployments:
            raise errors.bad_request("Deployment id does not exist")
        _check_settings(state, stage)
        stage["LastUpdatedDate"] = now()
        self._store.put(state.api["ApiId"], "stages", stage["StageName"], stage)
        return stage

    def create_deployment(self, context: OperationContext, params: Document) -> Document:
        state = self._api(params)
        if not state.routes:
            raise errors.bad_request("At least one route is required before deploying the Api.")
        stage = state.stages.get(params["StageName"]) if params.get("StageName") else None
        if params.get("StageName") and stage is None:
            raise errors.not_found("Unable to find Stage by name " + params["StageName"])
        if stage is not None and stage["AutoDeploy"]:
            raise errors.bad_request(
                f"Deployment is not allowed on stage '{stage['StageName']}' with AutoDeploy enabled"
            )
        deployment = {
            "DeploymentId": new_id(6),
            "AutoDeployed": False,
            "DeploymentStatus": "DEPLOYED",
            "CreatedDate": now(),
            **given(params, "ApiId", "StageName"),
            "_snapshot": state.snapshot(),
        }
        self._store.put(state.api["ApiId"], "deployments", deployment["DeploymentId"], deployment)
        if stage is not None:
            self._keep_stage(state, {**stage, "DeploymentId": deployment["DeploymentId"]})
        return shown(deployment)

    def get_deployment(self, context: OperationContext, params: Document) -> Document:
        return shown(self._found(params, "deployments", "DeploymentId", "Deployment")[1])

    def get_deployments(self, context: OperationContext, params: Document) -> Document:
        return page([shown(one) for one in self._api(params).deployments.values()], params)

    def delete_deployment(self, context: OperationContext, params: Document) -> Document:
        state, deployment = self._found(params, "deployments", "DeploymentId", "Deployment")
        if any(stage.get("DeploymentId") == deployment["DeploymentId"] for stage in state.stages.values()):
            raise errors.bad_request("Active stages pointing to this deployment must be moved or deleted")
        return self._delete(params, "deployments", "DeploymentId", "Deployment")


def _check_settings(state: HttpApi, stage: Document) -> None:
    known = {route["RouteKey"] for route in state.routes.values()}
    for key in stage["RouteSettings"]:
        if key not in known:
            raise errors.not_found(f"Unable to find Route by key {key} within the provided RouteSettings")
    log = stage.get("AccessLogSettings") or {}
    if log and ":log-group:" not in (log.get("DestinationArn") or ""):
        raise errors.bad_request("AccessLogSettings needs the DestinationArn of a CloudWatch Logs log group")
    if log and not any(f"$context.{name}" in (log.get("Format") or "") for name in ("requestId", "extendedRequestId")):
        raise errors.bad_request("Access log format must contain $context.requestId or $context.extendedRequestId")


def shown(deployment: Document) -> Document:
    return {name: value for name, value in deployment.items() if name != "_snapshot"}
