"""Operations on HTTP APIs themselves, quick creation and tags."""

from __future__ import annotations

import re

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.services.apigateway import errors
from preheat.services.apigateway.store import new_id
from preheat.services.apigateway.v2.common import given, page, refuse
from preheat.services.apigateway.v2.routes import RouteOperations
from preheat.services.apigateway.v2.stages import StageOperations
from preheat.services.apigateway.v2.store import Document, now

_REFUSED = ("CredentialsArn", "DisableSchemaValidation")


class ApiOperations(RouteOperations, StageOperations):
    """Create, Get, Update, Delete of Api; DeleteCorsConfiguration; TagResource, UntagResource, GetTags."""

    def create_api(self, context: OperationContext, params: Document) -> Document:
        """With `Target` also an integration, a route (`RouteKey`, else $default) and the $default stage."""
        if params.get("ProtocolType") != "HTTP":
            raise errors.not_built(f"protocol type {params.get('ProtocolType')}")
        refuse(params, _REFUSED)
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
            **given(params, "Target", "RouteKey"),
        }
        self._store.put(api_id, "api", api_id, api)
        if params.get("Target"):
            self._quick(context, api_id, params)
        return api

    def get_api(self, context: OperationContext, params: Document) -> Document:
        return self._api(params).api

    def get_apis(self, context: OperationContext, params: Document) -> Document:
        return page([state.api for state in self._store.apis.values()], params)

    def update_api(self, context: OperationContext, params: Document) -> Document:
        refuse(params, (*_REFUSED, "Target", "RouteKey"))
        api = {**self._api(params).api, **given(params, "ApiId")}
        self._store.put(api["ApiId"], "api", api["ApiId"], api)
        return api

    def delete_api(self, context: OperationContext, params: Document) -> Document:
        self._store.delete_api(self._api(params).api["ApiId"])
        return {}

    def delete_cors_configuration(self, context: OperationContext, params: Document) -> Document:
        api = {name: value for name, value in self._api(params).api.items() if name != "CorsConfiguration"}
        self._store.put(api["ApiId"], "api", api["ApiId"], api)
        return {}

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

    def _tagged(self, params: Document) -> Document:
        match = re.fullmatch(r"arn:aws[\w-]*:apigateway:[\w-]*::/apis/(\w+)", params["ResourceArn"])
        if match is None:
            raise errors.bad_request("Invalid ARN specified in the request")
        return self._api({"ApiId": match[1]}).api


def _endpoint(context: OperationContext, api_id: str) -> str:
    """The URL of the API on this server, as the client reached it."""
    port = (context.http.header("host") or "").rpartition(":")[2]
    return f"http://{api_id}.execute-api.localhost" + (f":{port}" if port.isdigit() else "")
