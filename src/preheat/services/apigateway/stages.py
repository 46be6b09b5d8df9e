"""A deployed stage, compiled for serving: everything about a route that no request can change."""

from __future__ import annotations

import re
from typing import NamedTuple

from preheat.kernel.arn import parse_function
from preheat.services.apigateway.integrations import LAMBDA_URI
from preheat.services.apigateway.media import BinaryMediaTypes
from preheat.services.apigateway.models import Deployment, Integration, Method, Resource, Stage
from preheat.services.apigateway.routing import RouteTree

_STAGE_VARIABLE = re.compile(r"\$\{stageVariables\.(\w+)\}")


class Route(NamedTuple):
    """One method of one resource. `function_arn` is None where the integration is no usable Lambda proxy."""

    resource_id: str
    resource_path: str
    integration: Integration
    function_arn: str | None
    timeout_s: float


class DeployedStage:
    """What a stage serves. Built once for each `Stage` value, which never changes in place."""

    __slots__ = ("account_id", "api_id", "binary", "deployment_id", "name", "routes", "source", "variables")

    def __init__(self, account_id: str, api_id: str, stage: Stage, deployment: Deployment) -> None:
        self.account_id = account_id
        self.api_id = api_id
        self.source = stage
        self.name = stage.stage_name
        self.deployment_id = deployment.id
        self.variables = stage.variables if isinstance(stage.variables, dict) else None
        self.binary = BinaryMediaTypes(deployment.binary_media_types)
        self.routes = RouteTree(
            (resource.path, name, _route(resource, method, self.variables or {}))
            for resource in deployment.resources
            for name, method in resource.resource_methods.items()
        )


def _route(resource: Resource, method: Method, variables: dict[str, str]) -> Route:
    integration = method.method_integration
    if not isinstance(integration, Integration):  # CreateDeployment refuses such a method
        raise ValueError(f"{method.http_method} {resource.path} has no integration")
    return Route(
        resource.id,
        resource.path,
        integration,
        _function_arn(integration, variables) if integration.type == "AWS_PROXY" else None,
        integration.timeout_in_millis / 1000,
    )


def _function_arn(integration: Integration, variables: dict[str, str]) -> str | None:
    """The function that the URI names, stage variables filled in; None where Lambda could not be called with it.

    Lambda is invoked with POST only: another integration method is accepted and fails at run time (recorded:
    test_lambda_aws_proxy_integration_non_post_method).
    """
    if integration.http_method != "POST" or not isinstance(integration.uri, str):
        return None
    match = LAMBDA_URI.fullmatch(_STAGE_VARIABLE.sub(lambda name: variables.get(name[1], ""), integration.uri))
    if match is None:
        return None
    try:
        parse_function(match["function"])
    except ValueError:
        return None
    return match["function"]
