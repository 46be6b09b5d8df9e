"""ImportRestApi and PutRestApi: an OpenAPI document, carried out by the other operations."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.services.apigateway import errors
from preheat.services.apigateway.apis import default_models
from preheat.services.apigateway.authorizers import AuthorizerOperations
from preheat.services.apigateway.customs import CustomResponseOperations
from preheat.services.apigateway.deployments import DeploymentOperations
from preheat.services.apigateway.models import present, wire
from preheat.services.apigateway.openapi import Imported, ImportedMethod, read
from preheat.services.apigateway.schemas import SchemaOperations

_LOCAL_REF = re.compile(r'"\$ref": "#/(?:components/schemas|definitions)/([a-zA-Z0-9]+)"')


class ImportOperations(DeploymentOperations, SchemaOperations, AuthorizerOperations, CustomResponseOperations):
    """A refused document leaves nothing behind and changes nothing."""

    def import_rest_api(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """`parameters` may hold `endpointConfigurationTypes` (API reference, ImportRestApi)."""
        imported = read(params["body"])
        types = (params.get("parameters") or {}).get("endpointConfigurationTypes")
        given = {name: value for name, value in imported.api.items() if value is not None}
        if types:
            given["endpointConfiguration"] = {"types": types.split(",")}
        api_id = self.create_rest_api(context, given)["id"]
        try:
            self._fill(context, api_id, imported)
        except BaseException:
            self._store.delete_api(api_id)
            raise
        return wire(self._store.apis[api_id].rest_api)

    def put_rest_api(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """`mode` overwrite replaces the API's definition. Its deployments and stages stay as they are."""
        state = self._api(context, params)
        if params.get("mode", "merge") != "overwrite":
            raise errors.not_built("mode merge (overwrite is)")
        imported = read(params["body"])
        trial = self.import_rest_api(context, {"body": params["body"]})["id"]
        self._store.delete_api(trial)
        self._empty(state.rest_api.id)
        changes = {
            "description": present(imported.api["description"]),
            "version": present(imported.api["version"]),
            "binary_media_types": present(imported.api["binaryMediaTypes"]),
            "api_key_source": imported.api["apiKeySource"],
        }
        self._store.put_api(msgspec.structs.replace(state.rest_api, name=imported.api["name"], **changes))
        self._fill(context, state.rest_api.id, imported)
        return wire(self._store.apis[state.rest_api.id].rest_api)

    def _empty(self, api_id: str) -> None:
        state = self._store.apis[api_id]
        root = state.resources[state.rest_api.root_resource_id]
        self._store.delete_resources(api_id, [known for known in state.resources if known != root.id])
        self._store.put_resources(api_id, [msgspec.structs.replace(root, resource_methods={})])
        for kind in ("models", "validators", "authorizers", "gateway_responses"):
            for key in list(getattr(state, kind)):
                self._store.delete_part(api_id, kind, key)
        for model in default_models():
            self._store.put_part(api_id, "models", model.name, model)

    def _fill(self, context: OperationContext, api_id: str, imported: Imported) -> None:
        api = {"restApiId": api_id}
        url = f"https://apigateway.amazonaws.com/restapis/{api_id}/models/"
        for model in imported.models:
            if model["name"] in self._store.apis[api_id].models:  # an exported document brings Empty and Error along
                self._store.delete_part(api_id, "models", model["name"])
            schema = _LOCAL_REF.sub(lambda match: f'"$ref": "{url}{match[1]}"', model["schema"])
            self.create_model(context, {**api, **model, "schema": schema})
        authorizers = {
            name: self.create_authorizer(context, {**api, **given})["id"]
            for name, given in imported.authorizers.items()
        }
        validators = {
            name: self.create_request_validator(context, {**api, "name": name, **given})["id"]
            for name, given in imported.validators.items()
        }
        for given in imported.gateway_responses:
            self.put_gateway_response(context, {**api, **given, "statusCode": str(given.get("statusCode") or "")})
        resources = {path: self._resource_for(context, api_id, path) for path in imported.paths}
        for method in imported.methods:
            try:
                self._add(context, api_id, resources[method.path], method, authorizers, validators)
            except AwsError as error:
                where = f"Unable to put method '{method.http_method}' on resource at path '{method.path}'"
                raise AwsError(error.code, f"{where}: {error.message}", error.status) from None

    def _resource_for(self, context: OperationContext, api_id: str, path: str) -> str:
        """The id of a path's resource, made with its parents where missing."""
        state = self._store.apis[api_id]
        at = state.rest_api.root_resource_id
        for part in filter(None, path.split("/")):
            known = state.children.get(at, {}).get(part)
            given = {"restApiId": api_id, "parentId": at, "pathPart": part}
            at = known or self.create_resource(context, given)["id"]
        return at

    def _add(
        self,
        context: OperationContext,
        api_id: str,
        resource_id: str,
        method: ImportedMethod,
        authorizers: dict[str, str],
        validators: dict[str, str],
    ) -> None:
        names = {"restApiId": api_id, "resourceId": resource_id, "httpMethod": method.http_method}
        authorization = {"authorizationType": "NONE"}
        if method.authorizer is not None:
            authorization = {"authorizationType": "CUSTOM", "authorizerId": authorizers[method.authorizer]}
        validator = None
        if method.validator is not None:
            if method.validator not in validators:
                raise errors.bad_request(f"Invalid request validator specified: {method.validator}")
            validator = validators[method.validator]
        self.put_method(context, {**names, **method.method, **authorization, "requestValidatorId": validator})
        for status, given in method.responses.items():
            self.put_method_response(context, {**names, **given, "statusCode": status})
        if method.integration is not None:
            self.put_integration(context, {**names, **method.integration})
        for given in method.integration_responses:
            self.put_integration_response(context, {**names, **given})
