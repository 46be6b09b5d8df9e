"""The control plane of HTTP APIs: botocore's `apigatewayv2`, protocol type HTTP."""

from __future__ import annotations

import re
from typing import Any

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.services.apigateway import errors
from preheat.services.apigateway.expressions import LAMBDA_URI, is_loopback
from preheat.services.apigateway.store import new_id
from preheat.services.apigateway.v2 import jwt_keys
from preheat.services.apigateway.v2.store import Document, HttpApi, HttpApiStore, now

_LAMBDA_ARN = re.compile(r"arn:aws[\w-]*:lambda:.+:function:.+")
_ROUTE_KEY = re.compile(r"\$default|(?:ANY|GET|HEAD|OPTIONS|PATCH|POST|PUT|DELETE) /\S*")
_STAGE_NAME = re.compile(r"\$default|[a-zA-Z0-9_-]{1,128}")
_MAX_RESULTS = 100
_API_REFUSED = ("CredentialsArn", "DisableSchemaValidation")
_STAGE_REFUSED = ("ClientCertificateId", "AccessLogSettings", "DefaultRouteSettings", "RouteSettings")


class HttpApiProvider:
    """Create, Get, Update, Delete of Api, Route, Integration, Stage, Deployment and Authorizer, and tags."""

    def __init__(self, store: HttpApiStore) -> None:
        self._store = store

    # APIs

    def create_api(self, context: OperationContext, params: Document) -> Document:
        """With `Target` also an integration, a route (`RouteKey`, else $default) and the $default stage."""
        if params.get("ProtocolType") != "HTTP":
            raise errors.not_built(f"protocol type {params.get('ProtocolType')}")
        _refuse(params, _API_REFUSED)
        api_id = new_id(10)
        api = {
            "ApiId": api_id,
            "ApiEndpoint": _endpoint(context, api_id),
            "ApiKeySelectionExpression": "$request.header.x-api-key",
            "RouteSelectionExpression": "$request.method $request.path",
            "CreatedDate": now(),
            "DisableExecuteApiEndpoint": False,
            "IpAddressType": "ipv4",
            "Tags": {},
            **_given(params, "Target", "RouteKey"),
        }
        self._store.put(api_id, "api", api_id, api)
        if params.get("Target"):
            self._quick(context, api_id, params)
        return api

    def get_api(self, context: OperationContext, params: Document) -> Document:
        return self._api(params).api

    def get_apis(self, context: OperationContext, params: Document) -> Document:
        return _page([state.api for state in self._store.apis.values()], params)

    def update_api(self, context: OperationContext, params: Document) -> Document:
        _refuse(params, (*_API_REFUSED, "Target", "RouteKey"))
        api = {**self._api(params).api, **_given(params, "ApiId")}
        self._store.put(api["ApiId"], "api", api["ApiId"], api)
        return api

    def delete_api(self, context: OperationContext, params: Document) -> Document:
        self._store.delete_api(self._api(params).api["ApiId"])
        return {}

    def delete_cors_configuration(self, context: OperationContext, params: Document) -> Document:
        api = {name: value for name, value in self._api(params).api.items() if name != "CorsConfiguration"}
        self._store.put(api["ApiId"], "api", api["ApiId"], api)
        return {}

    # routes

    def create_route(self, context: OperationContext, params: Document) -> Document:
        state = self._api(params)
        route = {"RouteId": new_id(7), "ApiKeyRequired": False, "AuthorizationType": "NONE", **_given(params, "ApiId")}
        return self._keep_route(state, route)

    def get_route(self, context: OperationContext, params: Document) -> Document:
        return self._found(params, "routes", "RouteId", "Route")[1]

    def get_routes(self, context: OperationContext, params: Document) -> Document:
        return _page(self._api(params).routes.values(), params)

    def update_route(self, context: OperationContext, params: Document) -> Document:
        state, route = self._found(params, "routes", "RouteId", "Route")
        return self._keep_route(state, {**route, **_given(params, "ApiId")})

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

    # integrations

    def create_integration(self, context: OperationContext, params: Document) -> Document:
        state = self._api(params)
        integration = {
            "IntegrationId": new_id(7),
            "ConnectionType": "INTERNET",
            "TimeoutInMillis": 30_000,
            "PayloadFormatVersion": "1.0",
            **_given(params, "ApiId"),
        }
        return self._keep_integration(state, integration)

    def get_integration(self, context: OperationContext, params: Document) -> Document:
        return self._found(params, "integrations", "IntegrationId", "Integration")[1]

    def get_integrations(self, context: OperationContext, params: Document) -> Document:
        return _page(self._api(params).integrations.values(), params)

    def update_integration(self, context: OperationContext, params: Document) -> Document:
        state, integration = self._found(params, "integrations", "IntegrationId", "Integration")
        return self._keep_integration(state, {**integration, **_given(params, "ApiId")})

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

    # stages and deployments

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
            **_given(params, "ApiId"),
        }
        _refuse(params, _STAGE_REFUSED)
        return self._keep_stage(state, stage)

    def get_stage(self, context: OperationContext, params: Document) -> Document:
        return self._found(params, "stages", "StageName", "Stage")[1]

    def get_stages(self, context: OperationContext, params: Document) -> Document:
        return _page(self._api(params).stages.values(), params)

    def update_stage(self, context: OperationContext, params: Document) -> Document:
        _refuse(params, _STAGE_REFUSED)
        state, stage = self._found(params, "stages", "StageName", "Stage")
        return self._keep_stage(state, {**stage, **_given(params, "ApiId")})

    def delete_stage(self, context: OperationContext, params: Document) -> Document:
        return self._delete(params, "stages", "StageName", "Stage")

    def _keep_stage(self, state: HttpApi, stage: Document) -> Document:
        if stage.get("DeploymentId") and stage["DeploymentId"] not in state.deployments:
            raise errors.bad_request("Deployment id does not exist")
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
            **_given(params, "ApiId", "StageName"),
            "_snapshot": state.snapshot(),
        }
        self._store.put(state.api["ApiId"], "deployments", deployment["DeploymentId"], deployment)
        if stage is not None:
            self._keep_stage(state, {**stage, "DeploymentId": deployment["DeploymentId"]})
        return _shown(deployment)

    def get_deployment(self, context: OperationContext, params: Document) -> Document:
        return _shown(self._found(params, "deployments", "DeploymentId", "Deployment")[1])

    def get_deployments(self, context: OperationContext, params: Document) -> Document:
        return _page([_shown(one) for one in self._api(params).deployments.values()], params)

    def delete_deployment(self, context: OperationContext, params: Document) -> Document:
        state, deployment = self._found(params, "deployments", "DeploymentId", "Deployment")
        if any(stage.get("DeploymentId") == deployment["DeploymentId"] for stage in state.stages.values()):
            raise errors.bad_request("Active stages pointing to this deployment must be moved or deleted")
        return self._delete(params, "deployments", "DeploymentId", "Deployment")

    # authorizers

    def create_authorizer(self, context: OperationContext, params: Document) -> Document:
        state = self._api(params)
        return self._keep_authorizer(state, {**_new_authorizer(params), **_given(params, "ApiId")})

    def get_authorizer(self, context: OperationContext, params: Document) -> Document:
        return self._found(params, "authorizers", "AuthorizerId", "Authorizer")[1]

    def get_authorizers(self, context: OperationContext, params: Document) -> Document:
        return _page(self._api(params).authorizers.values(), params)

    def update_authorizer(self, context: OperationContext, params: Document) -> Document:
        state, authorizer = self._found(params, "authorizers", "AuthorizerId", "Authorizer")
        return self._keep_authorizer(state, {**authorizer, **_given(params, "ApiId")})

    def delete_authorizer(self, context: OperationContext, params: Document) -> Document:
        return self._delete(params, "authorizers", "AuthorizerId", "Authorizer")

    def _keep_authorizer(self, state: HttpApi, authorizer: Document) -> Document:
        _check_authorizer(authorizer)
        self._store.put(state.api["ApiId"], "authorizers", authorizer["AuthorizerId"], authorizer)
        return authorizer

    # tags

    def tag_resource(self, context: OperationContext, params: Document) -> Document:
        api = self._tagged(params)
        self._store.put(
            api["ApiId"], "api", api["ApiId"], {**api, "Tags": {**api["Tags"], **(params.get("Tags") or {})}}
        )
        return {}

    def untag_resource(self, context: OperationContext, params: Document) -> Document:
        api = self._tagged(params)
        kept = {name: value for name, value in api["Tags"].items() if name not in params["TagKeys"]}
        self._store.put(api["ApiId"], "api", api["ApiId"], {**api, "Tags": kept})
        return {}

    def get_tags(self, context: OperationContext, params: Document) -> Document:
        return {"Tags": self._tagged(params)["Tags"]}

    # ours

    def _quick(self, context: OperationContext, api_id: str, params: Document) -> None:
        target = params["Target"]
        kind = "AWS_PROXY" if target.startswith("arn:") else "HTTP_PROXY"
        given = {"ApiId": api_id, "IntegrationType": kind, "IntegrationUri": target}
        try:
            integration = self.create_integration(
                context,
                {**given, "PayloadFormatVersion": "2.0"}
                if kind == "AWS_PROXY"
                else {**given, "IntegrationMethod": "ANY"},
            )
            route_key = params.get("RouteKey") or "$default"
            self.create_route(
                context,
                {"ApiId": api_id, "RouteKey": route_key, "Target": f"integrations/{integration['IntegrationId']}"},
            )
            self.create_stage(context, {"ApiId": api_id, "StageName": "$default", "AutoDeploy": True})
        except AwsError:
            self._store.delete_api(api_id)
            raise

    def _api(self, params: Document) -> HttpApi:
        state = self._store.apis.get(params["ApiId"])
        if state is None:
            raise errors.not_found(f"Invalid API identifier specified {params['ApiId']}")
        return state

    def _found(self, params: Document, kind: str, member: str, what: str) -> tuple[HttpApi, Document]:
        state = self._api(params)
        document: Document | None = getattr(state, kind).get(params[member])
        if document is None:
            raise errors.not_found(f"Unable to find {what} by id {params[member]} within {state.api['ApiId']}")
        return state, document

    def _delete(self, params: Document, kind: str, member: str, what: str) -> Document:
        state, _ = self._found(params, kind, member, what)
        self._store.delete(state.api["ApiId"], kind, params[member])
        return {}

    def _tagged(self, params: Document) -> Document:
        match = re.fullmatch(r"arn:aws[\w-]*:apigateway:[\w-]*::/apis/(\w+)", params["ResourceArn"])
        if match is None:
            raise errors.bad_request("Invalid ARN specified in the request")
        return self._api({"ApiId": match[1]}).api


def _given(params: Document, *without: str) -> Document:
    return {name: value for name, value in params.items() if value is not None and name not in without}


def _refuse(params: Document, names: tuple[str, ...]) -> None:
    for name in names:
        if params.get(name):
            raise errors.not_built(f"{name} of an HTTP API")


def _check_integration(integration: Document) -> None:
    kind, uri = integration["IntegrationType"], integration.get("IntegrationUri") or ""
    if integration["ConnectionType"] != "INTERNET":
        raise errors.not_built(f"connectionType {integration['ConnectionType']}")
    _refuse(integration, ("IntegrationSubtype", "RequestParameters", "ResponseParameters", "RequestTemplates"))
    if integration["PayloadFormatVersion"] not in ("1.0", "2.0"):
        raise errors.bad_request("PayloadFormatVersion must be 1.0 or 2.0")
    if kind == "AWS_PROXY":
        if not (LAMBDA_URI.fullmatch(uri) or _LAMBDA_ARN.fullmatch(uri)):
            raise errors.bad_request("Invalid function ARN or invalid uri specified for Lambda integration: " + uri)
    elif kind == "HTTP_PROXY":
        host = re.fullmatch(r"http://(\[[^\]]+\]|[^/:?]+)(?::\d+)?(?:[/?].*)?", uri)
        if host is None or not is_loopback(host[1].strip("[]")):
            raise errors.not_built("an HTTP integration with a target beyond this machine")
        if not integration.get("IntegrationMethod"):
            raise errors.bad_request("IntegrationMethod is required for HTTP_PROXY")
    else:
        raise errors.bad_request(f"Integration type {kind} is not supported for HTTP APIs")


def _new_authorizer(params: Document) -> Document:
    """A REQUEST authorizer needs its payload format named, as on AWS; a JWT's answer has none."""
    return {
        "AuthorizerId": new_id(6),
        **({"EnableSimpleResponses": False} if params["AuthorizerType"] == "REQUEST" else {}),
    }


def _check_authorizer(authorizer: Document) -> None:
    if authorizer["AuthorizerType"] == "REQUEST":
        uri = authorizer.get("AuthorizerUri") or ""
        if not (LAMBDA_URI.fullmatch(uri) or _LAMBDA_ARN.fullmatch(uri)):
            raise errors.bad_request("Invalid authorizer URI specified: " + uri)
        if authorizer.get("AuthorizerPayloadFormatVersion") not in ("1.0", "2.0"):
            raise errors.bad_request("AuthorizerPayloadFormatVersion is a required parameter for REQUEST authorizer")
        return
    configuration = authorizer.get("JwtConfiguration") or {}
    if not configuration.get("Issuer") or not configuration.get("Audience"):
        raise errors.bad_request("JwtConfiguration needs an issuer and an audience")
    if not jwt_keys.is_reachable(configuration["Issuer"]):
        raise errors.not_built(f"issuer {configuration['Issuer']} ({jwt_keys.REACHABLE} is)")


def _endpoint(context: OperationContext, api_id: str) -> str:
    """The URL of the API on this server, as the client reached it."""
    port = (context.http.header("host") or "").rpartition(":")[2]
    return f"http://{api_id}.execute-api.localhost" + (f":{port}" if port.isdigit() else "")


def _page(documents: Any, params: Document) -> Document:
    items = list(documents)
    token, size = params.get("NextToken") or "0", params.get("MaxResults") or str(_MAX_RESULTS)
    if not token.isdecimal() or not size.isdecimal() or not int(size):
        raise errors.bad_request("Invalid NextToken or MaxResults")
    end = int(token) + min(int(size), _MAX_RESULTS)
    return {"Items": items[int(token) : end], **({"NextToken": str(end)} if end < len(items) else {})}


def _shown(deployment: Document) -> Document:
    return {name: value for name, value in deployment.items() if name != "_snapshot"}
