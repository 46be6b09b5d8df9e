"""A deployed stage, compiled for serving: everything about a route that no request can change."""

from __future__ import annotations

from typing import NamedTuple

from preheat.kernel.arn import parse_function
from preheat.services.apigateway.expressions import LAMBDA_URI, STAGE_VARIABLE
from preheat.services.apigateway.media import BinaryMediaTypes
from preheat.services.apigateway.models import (
    AccessLogSettings,
    Deployment,
    Integration,
    Method,
    MethodSetting,
    Resource,
    Stage,
)
from preheat.services.apigateway.routing import RouteTree


class Route(NamedTuple):
    """One method of one resource. `function_arn` is None where the integration calls no usable Lambda function.

    `plain`: a Lambda proxy that nothing guards, served without a task (`gateway`); all others by `pipeline`.
    """

    resource_id: str
    resource_path: str
    integration: Integration
    function_arn: str | None
    timeout_s: float
    method: Method
    plain: bool
    setting: MethodSetting | None


class DeployedStage:
    """What a stage serves. Built once for each `Stage` value, which never changes in place."""

    __slots__ = (
        "account_id",
        "api_id",
        "binary",
        "deployment",
        "deployment_id",
        "name",
        "region",
        "routes",
        "source",
        "variables",
    )

    def __init__(self, account_id: str, api_id: str, stage: Stage, deployment: Deployment, region: str) -> None:
        self.account_id = account_id
        self.api_id = api_id
        self.region = region
        self.source = stage
        self.name = stage.stage_name
        self.deployment = deployment
        self.deployment_id = deployment.id
        self.variables = stage.variables if isinstance(stage.variables, dict) else None
        self.binary = BinaryMediaTypes(deployment.binary_media_types)
        self.routes = RouteTree(
            (resource.path, name, _route(resource, method, stage))
            for resource in deployment.resources
            for name, method in resource.resource_methods.items()
        )


def _route(resource: Resource, method: Method, stage: Stage) -> Route:
    integration = method.method_integration
    if not isinstance(integration, Integration):  # CreateDeployment refuses such a method
        raise ValueError(f"{method.http_method} {resource.path} has no integration")
    variables = stage.variables if isinstance(stage.variables, dict) else {}
    setting = _setting(stage, resource.path, method.http_method)
    guarded = (
        method.authorization_type != "NONE"
        or method.api_key_required
        or isinstance(method.request_validator_id, str)
        or setting is not None
        or isinstance(stage.access_log_settings, AccessLogSettings)
    )
    return Route(
        resource.id,
        resource.path,
        integration,
        _function_arn(integration, variables),
        integration.timeout_in_millis / 1000,
        method,
        integration.type == "AWS_PROXY" and not guarded,
        setting,
    )


def setting_key(resource_path: str, http_method: str) -> str:
    """How `methodSettings` names a method: `pets/GET`, slashes within the path as `~1`; `*/*` is the whole stage."""
    path = "*" if resource_path == "*" else resource_path.lstrip("/").replace("/", "~1") or "~1"
    return f"{path}/{http_method}"


def _setting(stage: Stage, resource_path: str, http_method: str) -> MethodSetting | None:
    settings = stage.method_settings
    return settings.get(setting_key(resource_path, http_method)) or settings.get("*/*")


def _function_arn(integration: Integration, variables: dict[str, str]) -> str | None:
    """The function that the URI names, stage variables filled in; None where Lambda could not be called with it.

    Lambda is invoked with POST only: another integration method is accepted and fails at run time (recorded:
    test_lambda_aws_proxy_integration_non_post_method).
    """
    if integration.http_method != "POST" or not isinstance(integration.uri, str):
        return None
    match = LAMBDA_URI.fullmatch(STAGE_VARIABLE.sub(lambda name: variables.get(name[1], ""), integration.uri))
    if match is None:
        return None
    try:
        parse_function(match["function"])
    except ValueError:
        return None
    return match["function"]
