"""ImportApi and ReimportApi: an OpenAPI document, carried out by the other operations. ExportApi: the way back."""

from __future__ import annotations

import json
from typing import Any

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.services.apigateway import errors
from preheat.services.apigateway.v2.apis import ApiOperations
from preheat.services.apigateway.v2.authorizers import AuthorizerOperations
from preheat.services.apigateway.v2.exports import exported
from preheat.services.apigateway.v2.openapi import ImportedApi, read
from preheat.services.apigateway.v2.store import Document, HttpApi

_PARTS = ("routes", "integrations", "authorizers")


class ImportOperations(ApiOperations, AuthorizerOperations):
    """A refused document leaves nothing behind and changes nothing."""

    def import_api(self, context: OperationContext, params: Document) -> Document:
        """Without a stage: that is the caller's to create, as on AWS."""
        imported = read(params["Body"], params.get("Basepath") or "ignore")
        _refuse_warnings(params, imported)
        api = self._new_api(context, imported)
        try:
            self._fill(context, api["ApiId"], imported)
        except BaseException:
            self._store.delete_api(api["ApiId"])
            raise
        return self._api({"ApiId": api["ApiId"]}).api

    def reimport_api(self, context: OperationContext, params: Document) -> Document:
        """Replaces the API's definition; its stages and deployments stay as they are."""
        state = self._api(params)
        imported = read(params["Body"], params.get("Basepath") or "ignore")
        _refuse_warnings(params, imported)
        trial = self._new_api(context, imported)["ApiId"]
        try:
            self._fill(context, trial, imported)
        finally:
            self._store.delete_api(trial)
        self._empty(state)
        api = {name: value for name, value in state.api.items() if name not in ("CorsConfiguration", "Description")}
        self._store.put(api["ApiId"], "api", api["ApiId"], {**api, **imported.api})
        self._fill(context, api["ApiId"], imported)
        return self._api(params).api

    def export_api(self, context: OperationContext, params: Document) -> Document:
        """The API as it is, or as its stage serves it. `IncludeExtensions` is on unless told otherwise."""
        state = self._api(params)
        if params.get("Specification") != "OAS30":
            raise errors.bad_request("Invalid specification: OAS30 is expected")
        parts, stage = state.snapshot(), params.get("StageName")
        if stage:
            found = self._found(params, "stages", "StageName", "Stage")[1]
            if not found["AutoDeploy"]:
                parts = state.deployments[found["DeploymentId"]]["_snapshot"]
        document = exported(state.api, parts, stage, extensions=params.get("IncludeExtensions", True) is not False)
        if params.get("OutputType") == "YAML":
            import yaml  # type: ignore[import-untyped]

            return {"body": yaml.safe_dump(document, sort_keys=False).encode()}
        return {"body": json.dumps(document, indent=2).encode()}

    def _new_api(self, context: OperationContext, imported: ImportedApi) -> Document:
        if not imported.api.get("Name"):
            raise errors.bad_request("The OpenAPI definition needs a title (info.title): it is the API's name")
        return self.create_api(context, {**imported.api, "ProtocolType": "HTTP"})

    def _empty(self, state: HttpApi) -> None:
        for kind in _PARTS:
            for key in list(getattr(state, kind)):
                self._store.delete(state.api["ApiId"], kind, key)

    def _fill(self, context: OperationContext, api_id: str, imported: ImportedApi) -> None:
        api = {"ApiId": api_id}
        authorizers = {
            name: self.create_authorizer(context, {**api, **given}) for name, given in imported.authorizers.items()
        }
        made: dict[str, str] = {}
        for route in imported.routes:
            try:
                given: dict[str, Any] = {**api, "RouteKey": route.key, "OperationName": route.operation_name}
                if route.integration is not None:
                    same = json.dumps(route.integration, sort_keys=True)  # routes with equal integrations share one
                    if same not in made:
                        made[same] = self.create_integration(context, {**api, **route.integration})["IntegrationId"]
                    given["Target"] = f"integrations/{made[same]}"
                if route.authorizer is not None:
                    authorizer = authorizers[route.authorizer]
                    given["AuthorizerId"] = authorizer["AuthorizerId"]
                    given["AuthorizationType"] = "JWT" if authorizer["AuthorizerType"] == "JWT" else "CUSTOM"
                    given["AuthorizationScopes"] = route.scopes or None
                self.create_route(context, given)
            except AwsError as error:
                raise AwsError(error.code, f"{route.key}: {error.message}", error.status) from None


def _refuse_warnings(params: Document, imported: ImportedApi) -> None:
    """What AWS warns of: a route that leads nowhere."""
    bare = [route.key for route in imported.routes if route.integration is None]
    if params.get("FailOnWarnings") and bare:
        raise errors.bad_request(f"Warnings found during import: no integration for {', '.join(bare)}")
