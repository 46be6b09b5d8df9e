"""Operations on the routes and integrations of HTTP APIs."""

from __future__ import annotations

import re

from preheat.aws.context import OperationContext
from preheat.services.apigateway import errors
from preheat.services.apigateway.expressions import LAMBDA_URI
from preheat.services.apigateway.store import new_id
from preheat.services.apigateway.v2.common import Operations, given, page, refuse
from preheat.services.apigateway.v2.parameters import check_parameters
from preheat.services.apigateway.v2.store import Document, HttpApi

LAMBDA_ARN = re.compile(r"arn:aws[\w-]*:lambda:.+:function:.+")
_ROUTE_KEY = re.compile(r"\$default|(?:ANY|GET|HEAD|OPTIONS|PATCH|POST|PUT|DELETE) /\S*")


class RouteOperations(Operations):
    """Create, Get, Update, Delete of Route and Integration."""

    def create_route(self, context: OperationContext, params: Document) -> Document:
        state = self._api(params)
        route = {"RouteId": new_id(7), "ApiKeyRequired": False, "AuthorizationType": "NONE", **given(params, "ApiId")}
        return self._keep_route(state, route)

    def get_route(self, context: OperationContext, params: Document) -> Document:
        return self._found(params, "routes", "RouteId", "Route")[1]

    def get_routes(self, context: OperationContext, params: Document) -> Document:
        return page(self._api(params).routes.values(), params)

    def update_route(self, context: OperationContext, params: Document) -> Document:
        state, route = self._found(params, "routes", "RouteId", "Route")
        return self._keep_route(state, {**route, **given(params, "ApiId")})

    def delete_route(self, context: OperationContext, params: Document) -> Document:
        return self._delete(params, "routes", "RouteId", "Route")

    def _keep_route(self, state: HttpApi, route: Document) -> Document:
        if not _ROUTE_KEY.fullmatch(route["RouteKey"]):
            raise errors.bad_request(
                f"The provided route key is not formatted properly for HTTP protocol: {route['RouteKey']}"
            )
        if route["ApiKeyRequired"]:
            raise errors.bad_request("apiKeyRequired is not currently supported for HTTP APIs")
        if any(
            other["RouteKey"] == route["RouteKey"] and other["RouteId"] != route["RouteId"]
            for other in state.routes.values()
        ):
            raise errors.conflict(f"Route with key {route['RouteKey']} already exists for this API")
        target = route.get("Target", "")
        if target and target.removeprefix("integrations/") not in state.integrations:
            raise errors.bad_request("Invalid integration ID specified in Target: " + target)
        kind = route["AuthorizationType"]
        if kind not in ("NONE", "JWT", "CUSTOM"):
            raise errors.not_built(f"authorizationType {kind} of an HTTP API's route")
        authorizer = state.authorizers.get(route.get("AuthorizerId", ""))
        if kind != "NONE" and (authorizer is None or (kind == "JWT") != (authorizer["AuthorizerType"] == "JWT")):
            raise errors.bad_request("Invalid authorizer ID specified")
        self._store.put(state.api["ApiId"], "routes", route["RouteId"], route)
        return route

    def create_integration(self, context: OperationContext, params: Document) -> Document:
        state = self._api(params)
        integration = {
            "IntegrationId": new_id(7),
            "ConnectionType": "INTERNET",
            "TimeoutInMillis": 30_000,
            "PayloadFormatVersion": "1.0",
            **given(params, "ApiId"),
        }
        return self._keep_integration(state, integration)

    def get_integration(self, context: OperationContext, params: Document) -> Document:
        return self._found(params, "integrations", "IntegrationId", "Integration")[1]

    def get_integrations(self, context: OperationContext, params: Document) -> Document:
        return page(self._api(params).integrations.values(), params)

    def update_integration(self, context: OperationContext, params: Document) -> Document:
        state, integration = self._found(params, "integrations", "IntegrationId", "Integration")
        return self._keep_integration(state, {**integration, **given(params, "ApiId")})

    def delete_integration(self, context: OperationContext, params: Document) -> Document:
        state, integration = self._found(params, "integrations", "IntegrationId", "Integration")
        own_id = integration["IntegrationId"]
        for route in state.routes.values():
            if route.get("Target") == f"integrations/{own_id}":
                raise errors.bad_request(
                    f"Cannot delete Integration '{own_id}' when it is used by Route '{route['RouteId']}'"
                )
        return self._delete(params, "integrations", "IntegrationId", "Integration")

    def _keep_integration(self, state: HttpApi, integration: Document) -> Document:
        _check_integration(integration)
        self._store.put(state.api["ApiId"], "integrations", integration["IntegrationId"], integration)
        return integration


def _check_integration(integration: Document) -> None:
    kind, uri = integration["IntegrationType"], integration.get("IntegrationUri") or ""
    if integration["ConnectionType"] != "INTERNET":
        raise errors.not_built(f"connectionType {integration['ConnectionType']}")
    refuse(integration, ("IntegrationSubtype", "RequestTemplates"))
    check_parameters(integration)
    if integration["PayloadFormatVersion"] not in ("1.0", "2.0"):
        raise errors.bad_request("PayloadFormatVersion must be 1.0 or 2.0")
    if kind == "AWS_PROXY":
        if not (LAMBDA_URI.fullmatch(uri) or LAMBDA_ARN.fullmatch(uri)):
            raise errors.bad_request("Invalid function ARN or invalid uri specified for Lambda integration: " + uri)
    elif kind == "HTTP_PROXY":
        if not re.match(r"https?://[^/]", uri):  # what lies beyond this machine is refused when it is called
            raise errors.bad_request("Invalid HTTP endpoint specified for URI")
        if not integration.get("IntegrationMethod"):
            raise errors.bad_request("IntegrationMethod is required for HTTP_PROXY")
    else:
        raise errors.bad_request(f"Integration type {kind} is not supported for HTTP APIs")
