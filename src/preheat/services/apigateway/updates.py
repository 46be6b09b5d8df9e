"""Patching methods, integrations and the responses of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from preheat.aws.context import OperationContext
from preheat.services.apigateway import errors
from preheat.services.apigateway.integrations import integration_from, integration_response_from
from preheat.services.apigateway.methods import (
    MethodOperations,
    check_authorization,
    check_models,
    found_response,
    integration_of,
    responses_of,
)
from preheat.services.apigateway.models import Method, present, wire
from preheat.services.apigateway.patch import Patch, boolean, patches, require_replace
from preheat.services.apigateway.store import ApiState

_METHOD_MAPS = {"requestParameters": "request_parameters", "requestModels": "request_models"}
_METHOD_MEMBERS = {
    "authorizationType": "authorization_type",
    "authorizerId": "authorizer_id",
    "apiKeyRequired": "api_key_required",
    "requestValidatorId": "request_validator_id",
    "operationName": "operation_name",
}
_INTEGRATION_MAPS = ("requestTemplates", "requestParameters")
_INTEGRATION_MEMBERS = (
    "uri",
    "httpMethod",
    "credentials",
    "timeoutInMillis",
    "passthroughBehavior",
    "contentHandling",
    "cacheNamespace",
    "connectionType",
)
_NO_PARAMETER = "Invalid parameter name specified"
_NO_CONTENT_TYPE = "Content-Type specified was not found"
_RESPONSE_MAPS = ("responseParameters", "responseTemplates")
_RESPONSE_MEMBERS = ("selectionPattern", "contentHandling")


class UpdateOperations(MethodOperations):
    """Update of Method, MethodResponse, Integration and IntegrationResponse."""

    def update_method(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource, method = self._method(params)
        for patch in patches(params):
            method = _patched_method(method, patch)
        if method.authorization_type == "NONE":  # an authorizer's id is then taken and forgotten (recorded)
            method = msgspec.structs.replace(method, authorizer_id=UNSET)
        _check_method(state, method)
        return wire(self._keep(state, resource, method))

    def update_method_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource, method = self._method(params)
        responses = responses_of(method.method_responses)
        response = found_response(responses, params)
        for patch in patches(params):
            match patch.parts:
                case ("responseParameters", name):
                    given = boolean(patch.value)
                    changed = _changed_map(response.response_parameters, name, given, patch, _NO_PARAMETER)
                    response = msgspec.structs.replace(response, response_parameters=changed)
                case ("responseModels", name):
                    check_models(state, {} if patch.op == "remove" else {name: patch.value})
                    changed = _changed_map(response.response_models, name, patch.value, patch, _NO_CONTENT_TYPE)
                    response = msgspec.structs.replace(response, response_models=changed)
                case _:
                    raise errors.bad_request(f"Invalid patch path {patch.path}")
        responses[response.status_code] = response
        self._keep(state, resource, msgspec.structs.replace(method, method_responses=responses))
        return wire(response)

    def update_integration(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """The outcome must be what PutIntegration would take."""
        state, resource, method = self._method(params)
        old = integration_of(method)
        document = wire(old)
        for patch in patches(params):
            _patch_document(document, patch, _INTEGRATION_MEMBERS, _INTEGRATION_MAPS)
        if isinstance(document.get("timeoutInMillis"), str):
            document["timeoutInMillis"] = _milliseconds(document["timeoutInMillis"])
        document["integrationHttpMethod"] = document.pop("httpMethod", None)
        checked = integration_from({**document, "resourceId": resource.id})
        new = msgspec.structs.replace(checked, integration_responses=old.integration_responses)
        self._keep(state, resource, msgspec.structs.replace(method, method_integration=new))
        return wire(new)

    def update_integration_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """The outcome must be what PutIntegrationResponse would take."""
        state, resource, method = self._method(params)
        responses = responses_of(integration_of(method).integration_responses)
        document = wire(found_response(responses, params))
        for patch in patches(params):
            _patch_document(document, patch, _RESPONSE_MEMBERS, _RESPONSE_MAPS)
        declared = responses_of(method.method_responses).get(document["statusCode"])
        response = integration_response_from(document, declared)
        responses[response.status_code] = response
        self._keep_integration(state, resource, method, responses)
        return wire(response)


def _patched_method(method: Method, patch: Patch) -> Method:
    """Refusals as recorded (test_update_method_validation)."""
    match patch.parts:
        case ("requestParameters" | "requestModels" as member, name):
            value = boolean(patch.value) if member == "requestParameters" else patch.value
            attribute = _METHOD_MAPS[member]
            changed = _changed_map(getattr(method, attribute), name, value, patch)
            return msgspec.structs.replace(method, **{attribute: changed})
        case (member,) if member in _METHOD_MEMBERS:
            require_replace(patch)
            given = boolean(patch.value) if member == "apiKeyRequired" else present(patch.value)
            if member == "authorizationType":
                given = patch.value or "NONE"
            return msgspec.structs.replace(method, **{_METHOD_MEMBERS[member]: given})
        case _:
            raise errors.bad_request(f"Invalid patch path {patch.path}")


def _check_method(state: ApiState, method: Method) -> None:
    check_authorization(state, method.authorization_type, method.authorizer_id)
    check_models(state, method.request_models if isinstance(method.request_models, dict) else {})
    if isinstance(method.request_validator_id, str) and method.request_validator_id not in state.validators:
        raise errors.bad_request("Invalid Request Validator identifier specified")


def _patch_document(document: dict[str, Any], patch: Patch, members: tuple[str, ...], maps: tuple[str, ...]) -> None:
    match patch.parts:
        case (member,) if member in members:
            if patch.op == "remove":
                document.pop(member, None)
            else:
                document[member] = patch.value
        case (member, name) if member in maps:
            document[member] = _changed_map(document.get(member, {}), name, patch.value, patch)
            if document[member] is UNSET:
                del document[member]
        case _:
            raise _bad_path(patch, (*members, *maps))


def _changed_map(current: Any, name: str, value: Any, patch: Patch, replace_needs: str = "") -> Any:
    """A map with one entry changed. What is removed must exist; with `replace_needs`, also what is replaced."""
    changed = dict(current) if isinstance(current, Mapping) else {}
    if name not in changed and (patch.op == "remove" or (patch.op == "replace" and replace_needs)):
        raise errors.not_found(replace_needs or _NO_PARAMETER)
    if patch.op == "remove":
        del changed[name]
    else:
        changed[name] = value
    return present(changed)


def _milliseconds(text: str) -> int:
    if not text.isdecimal():
        raise errors.bad_request("Timeout should be a number of milliseconds")
    return int(text)


def _bad_path(patch: Patch, known: tuple[str, ...]) -> Exception:
    allowed = ", ".join(f"/{name}" for name in known)
    return errors.bad_request(
        f"Invalid patch path  '{patch.path}' specified for op '{patch.op}'. Must be one of: [{allowed}]"
    )
