"""A deployed stage, compiled for serving: everything about a route that no request can change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from preheat.kernel.arn import parse_function
from preheat.services.apigateway.expressions import LAMBDA_URI, STAGE_VARIABLE
from preheat.services.apigateway.media import BinaryMediaTypes
from preheat.services.apigateway.models import (
    AccessLogSettings,
    CanarySettings,
    Deployment,
    Integration,
    Method,
    MethodSetting,
    Resource,
    Stage,
)
from preheat.services.apigateway.routing import RouteTree

_REFUSED = frozenset(("content-length", "transfer-encoding"))
_REFUSED_BY_LAMBDA = _REFUSED | {"authorization", "connection", "expect", "proxy-authenticate", "te"}


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
        "canary",
        "deployment",
        "deployment_id",
        "is_canary",
        "name",
        "region",
        "routes",
        "source",
        "variables",
    )

    def __init__(
        self,
        account_id: str,
        api_id: str,
        stage: Stage,
        deployment: Deployment,
        region: str,
        canary: Canary | None = None,
        *,
        is_canary: bool = False,
    ) -> None:
        self.account_id = account_id
        self.api_id = api_id
        self.region = region
        self.source = stage
        self.name = stage.stage_name
        self.deployment = deployment
        self.deployment_id = deployment.id
        self.variables = stage.variables if isinstance(stage.variables, dict) else None
        self.binary = BinaryMediaTypes(deployment.binary_media_types)
        self.canary = canary
        self.is_canary = is_canary
        compressed = deployment.minimum_compression_size is not None
        self.routes = RouteTree(
            (resource.path, name, _route(resource, method, stage, compressed))
            for resource in deployment.resources
            for name, method in resource.resource_methods.items()
        )


class Canary(NamedTuple):
    """The deployment that `percent` of a stage's requests get."""

    percent: float
    stage: DeployedStage


def deployed(
    account_id: str, api_id: str, stage: Stage, deployments: Mapping[str, Deployment], region: str
) -> DeployedStage:
    """The stage with its canary, if it has one."""
    settings = stage.canary_settings
    canary = None
    if isinstance(settings, CanarySettings):
        own = msgspec.structs.replace(stage, variables=stage.canary_variables() or UNSET)
        second = DeployedStage(account_id, api_id, own, deployments[settings.deployment_id], region, is_canary=True)
        canary = Canary(settings.percent_traffic, second)
    return DeployedStage(account_id, api_id, stage, deployments[stage.deployment_id], region, canary)


def refused_header(integration: Integration) -> str | None:
    """A header that an integration maps and must not: its requests all fail (500), whatever its type makes of mappings.

    Recorded in localstack's TestApiGatewayHeaderRemapping.
    """
    parameters = integration.request_parameters if isinstance(integration.request_parameters, dict) else {}
    refused = _REFUSED_BY_LAMBDA if integration.type.startswith("AWS") else _REFUSED
    prefix = "integration.request.header."
    names = (target.removeprefix(prefix) for target in parameters if target.startswith(prefix))
    return next((name for name in names if name.lower() in refused), None)


def _route(resource: Resource, method: Method, stage: Stage, compressed: bool) -> Route:
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
        or compressed
    )
    return Route(
        resource.id,
        resource.path,
        integration,
        _function_arn(integration, variables),
        integration.timeout_in_millis / 1000,
        method,
        integration.type == "AWS_PROXY" and not guarded and refused_header(integration) is None,
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
