"""A REST API in front of a function, as the Lambda console's API Gateway trigger makes it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from preheat.deploy.target import Clients, Target
from preheat.kernel.arn import invocation_arn, parse_function


@dataclass(frozen=True, slots=True)
class Api:
    """`host` + `/<stage>/<function>` is the function's URL."""

    api_id: str
    host: str
    url: str


def put(clients: Clients, target: Target, *, function_arn: str, name: str, stage: str) -> Api:
    """Create or reuse `<name>-api` with `/<name>` ANY as a proxy to the function, and deploy it to a stage.

    A qualified ARN makes the API call that alias or version, which needs a permission of its own.
    """
    api_id = _find_api(clients, f"{name}-api") or _create_api(clients, f"{name}-api", name)
    resource_id = _resource(clients, api_id, name)
    _method(clients, api_id, resource_id, invocation_arn(target.region, function_arn))
    _permit(clients, target, api_id, function_arn, name)
    clients.apigateway.create_deployment(restApiId=api_id, stageName=stage)
    return Api(api_id, host(target, api_id), f"{host(target, api_id)}/{stage}/{name}")


def host(target: Target, api_id: str) -> str:
    """AWS's own host name, or the local cloud's path form of it, which needs no name resolution."""
    if target.local:
        return f"{target.endpoints['apigateway']}/_aws/execute-api/{api_id}"
    suffix = "amazonaws.com.cn" if target.region.startswith("cn-") else "amazonaws.com"
    return f"https://{api_id}.execute-api.{target.region}.{suffix}"


def _find_api(clients: Clients, api_name: str) -> str | None:
    for page in clients.apigateway.get_paginator("get_rest_apis").paginate():
        for api in page["items"]:
            if api.get("name") == api_name:
                return api["id"]
    return None


def _create_api(clients: Clients, api_name: str, function: str) -> str:
    api = clients.apigateway.create_rest_api(
        name=api_name,
        description=f"Made by preheat deploy for the function {function}",
        endpointConfiguration={"types": ["REGIONAL"]},
    )
    return api["id"]


def _resource(clients: Clients, api_id: str, name: str) -> str:
    root_id = ""
    for page in clients.apigateway.get_paginator("get_resources").paginate(restApiId=api_id):
        for resource in page["items"]:
            if resource["path"] == f"/{name}":
                return resource["id"]
            if resource["path"] == "/":
                root_id = resource["id"]
    return clients.apigateway.create_resource(restApiId=api_id, parentId=root_id, pathPart=name)["id"]


def _method(clients: Clients, api_id: str, resource_id: str, uri: str) -> None:
    """ANY with a proxy integration; putting an integration again replaces it, putting a method again is a conflict."""
    gateway = clients.apigateway
    with suppress(gateway.exceptions.ConflictException):
        gateway.put_method(restApiId=api_id, resourceId=resource_id, httpMethod="ANY", authorizationType="NONE")
    gateway.put_integration(
        restApiId=api_id,
        resourceId=resource_id,
        httpMethod="ANY",
        type="AWS_PROXY",
        integrationHttpMethod="POST",  # Lambda's Invoke is a POST, whatever the client's method
        uri=uri,
    )


def _permit(clients: Clients, target: Target, api_id: str, function_arn: str, name: str) -> None:
    account_id = function_arn.split(":")[4]
    _, qualifier = parse_function(function_arn)
    qualified = {"Qualifier": qualifier} if qualifier else {}
    with suppress(clients.lambda_.exceptions.ResourceConflictException):  # given by an earlier deploy
        clients.lambda_.add_permission(
            FunctionName=name,
            StatementId=f"apigateway-{api_id}",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:{target.region}:{account_id}:{api_id}/*/*/{name}",
            **qualified,  # type: ignore[arg-type]
        )
