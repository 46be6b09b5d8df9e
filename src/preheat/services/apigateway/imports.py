"""ImportRestApi and PutRestApi: an OpenAPI document, carried out by the other operations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import UNSET

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.services.apigateway import errors
from preheat.services.apigateway.apis import shown_api
from preheat.services.apigateway.authorizers import AuthorizerOperations, authorizer_from
from preheat.services.apigateway.customs import CustomResponseOperations
from preheat.services.apigateway.deployments import DeploymentOperations
from preheat.services.apigateway.models import Authorizer, RequestValidator, RestApi, present, wire
from preheat.services.apigateway.openapi import Imported, ImportedMethod, read
from preheat.services.apigateway.schemas import SchemaOperations, validator_from
from preheat.services.apigateway.store import ApiState, new_id

_LOCAL_REF = re.compile(r'"\$ref": "#/(?:components/schemas|definitions)/([a-zA-Z0-9]+)"')


class ImportOperations(DeploymentOperations, SchemaOperations, AuthorizerOperations, CustomResponseOperations):
    """A refused document leaves nothing behind and changes nothing."""

    def import_rest_api(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """`parameters` may hold `endpointConfigurationTypes` and `basepath` (API reference, ImportRestApi)."""
        parameters = params.get("parameters") or {}
        imported = read(params["body"], parameters.get("basepath", "ignore"))
        given = {name: value for name, value in imported.api.items() if value is not None}
        if types := parameters.get("endpointConfigurationTypes"):
            given["endpointConfiguration"] = {"types": types.split(",")}
        api_id = self._create(given, []).id
        try:
            self._fill(context, api_id, imported)
        except BaseException:
            self._store.delete_api(api_id)
            raise
        return wire(self._store.apis[api_id].rest_api)

    def put_rest_api(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """`mode` overwrite replaces the API's definition, merge adds to it; where both have something, the document's
        stays. Deployments and stages stay as they are, and so do the ids of paths that stay."""
        state = self._api(context, params)
        imported = read(params["body"], (params.get("parameters") or {}).get("basepath", "ignore"))
        merges = params.get("mode", "merge") == "merge"
        rest_api = _changed(state.rest_api, imported.api, merges)
        trial = new_id(10)
        self._store.copy_api(state.rest_api.id, trial)
        try:
            self._put(context, trial, imported, merges)
        finally:
            self._store.delete_api(trial)
        self._store.put_api(rest_api)
        self._put(context, rest_api.id, imported, merges)
        return shown_api(rest_api)

    def _put(self, context: OperationContext, api_id: str, imported: Imported, merges: bool) -> None:
        if not merges:
            self._empty(api_id, _with_parents(imported.paths))
        self._fill(context, api_id, imported)

    def _empty(self, api_id: str, kept_paths: set[str]) -> None:
        state = self._store.apis[api_id]
        gone = [resource.id for resource in state.resources.values() if resource.path not in kept_paths]
        self._store.delete_resources(api_id, gone)
        bare = [msgspec.structs.replace(resource, resource_methods={}) for resource in state.resources.values()]
        self._store.put_resources(api_id, bare)
        for kind in ("models", "validators", "authorizers", "gateway_responses"):
            for key in list(getattr(state, kind)):
                self._store.delete_part(api_id, kind, key)

    def _fill(self, context: OperationContext, api_id: str, imported: Imported) -> None:
        api = {"restApiId": api_id}
        state = self._store.apis[api_id]
        url = f"https://apigateway.amazonaws.com/restapis/{api_id}/models/"
        for model in imported.models:
            if model["name"] in state.models:
                self._store.delete_part(api_id, "models", model["name"])
            schema = _LOCAL_REF.sub(lambda match: f'"$ref": "{url}{match[1]}"', model["schema"])
            with _located(f"Unable to put model '{model['name']}'"):
                self.create_model(context, {**api, **model, "schema": schema})
        for name, given in imported.authorizers.items():
            with _located(f"Unable to put authorizer '{name}'"):
                authorizer = authorizer_from(given, _id_of(state.authorizers, name))
            self._store.put_part(api_id, "authorizers", authorizer.id, authorizer)
        for name, given in imported.validators.items():
            validator = validator_from({"name": name, **given}, _id_of(state.validators, name))
            self._store.put_part(api_id, "validators", validator.id, validator)
        for given in imported.gateway_responses:
            self.put_gateway_response(context, {**api, **given, "statusCode": str(given.get("statusCode") or "")})
        resources = {path: self._resource_for(context, api_id, path) for path in imported.paths}
        for method in imported.methods:
            with _located(f"Unable to put method '{method.http_method}' on resource at path '{method.path}'"):
                self._add(context, state, resources[method.path], method)

    def _resource_for(self, context: OperationContext, api_id: str, path: str) -> str:
        """The id of a path's resource, made with its parents where missing."""
        state = self._store.apis[api_id]
        at = state.rest_api.root_resource_id
        for part in filter(None, path.split("/")):
            known = state.children.get(at, {}).get(part)
            given = {"restApiId": api_id, "parentId": at, "pathPart": part}
            at = known or self.create_resource(context, given)["id"]
        return at

    def _add(self, context: OperationContext, state: ApiState, resource_id: str, method: ImportedMethod) -> None:
        names = {"restApiId": state.rest_api.id, "resourceId": resource_id, "httpMethod": method.http_method}
        given = dict(method.method)
        if method.authorizer is not None:
            given["authorizerId"] = _id_of(state.authorizers, method.authorizer)
        if method.validator is not None:
            if all(validator.name != method.validator for validator in state.validators.values()):
                raise errors.bad_request(f"Invalid request validator specified: {method.validator}")
            given["requestValidatorId"] = _id_of(state.validators, method.validator)
        if method.http_method in state.resources[resource_id].resource_methods:
            self.delete_method(context, names)
        self.put_method(context, {**names, **given})
        for status, response in method.responses.items():
            self.put_method_response(context, {**names, **response, "statusCode": status})
        if method.integration is not None:
            self.put_integration(context, {**names, **method.integration})
        for response in method.integration_responses:
            self.put_integration_response(context, {**names, **response})


@contextmanager
def _located(where: str) -> Iterator[None]:
    """Say before an error where in the document it is."""
    try:
        yield
    except AwsError as error:
        raise AwsError(error.code, f"{where}: {error.message}", error.status) from None


def _id_of(known: Mapping[str, Authorizer] | Mapping[str, RequestValidator], name: str) -> str:
    """The id of what has a name, or a new one."""
    return next((part.id for part in known.values() if part.name == name), None) or new_id(6)


def _with_parents(paths: Iterable[str]) -> set[str]:
    found = {"/"}
    for path in paths:
        parts = path.strip("/").split("/")
        found.update("/" + "/".join(parts[: count + 1]) for count in range(len(parts)))
    return found


def _changed(rest_api: RestApi, given: Mapping[str, Any], merges: bool) -> RestApi:
    """The API's own members from a document; merging keeps what the document does not say, and unites binary types
    (recorded: test_put_rest_api_mode_binary_media_types)."""
    if not merges and not given["name"]:
        raise errors.bad_request("Invalid request input")
    types = list(given["binaryMediaTypes"] or ())
    if merges:
        old = rest_api.binary_media_types if isinstance(rest_api.binary_media_types, list) else []
        types = [*old, *(kind for kind in types if kind not in old)]
    members = {
        "description": "description",
        "version": "version",
        "minimum_compression_size": "minimumCompressionSize",
        "disable_execute_api_endpoint": "disableExecuteApiEndpoint",
        "api_key_source": "apiKeySource",
    }
    changes = {attribute: given[name] for attribute, name in members.items() if given[name] is not None}
    if not merges:
        changes = {"description": UNSET, "version": UNSET, "api_key_source": "HEADER", **changes}
    return msgspec.structs.replace(
        rest_api, name=given["name"] or rest_api.name, binary_media_types=present(types), **changes
    )
