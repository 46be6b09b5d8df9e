"""Operations on methods, their integrations and the responses of both."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import UNSET

from preheat.aws.context import OperationContext
from preheat.services.apigateway import errors
from preheat.services.apigateway.integrations import integration_from, integration_response_from
from preheat.services.apigateway.models import Integration, Method, MethodResponse, Resource, present, wire
from preheat.services.apigateway.resources import ResourceOperations
from preheat.services.apigateway.store import ApiState

HTTP_METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD", "ANY")
_STATUS_CODE = re.compile(r"[1-5][0-9][0-9]")  # botocore's shape StatusCode
_NEEDS_AUTHORIZER = (
    "Invalid authorizer ID specified. Setting the authorization type to CUSTOM or COGNITO_USER_POOLS "
    "requires a valid authorizer."
)


class MethodOperations(ResourceOperations):
    """Put, Get, Delete of Method, MethodResponse, Integration and IntegrationResponse."""

    def put_method(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource = self._resource(params)
        method = _new_method(params)
        if method.http_method in resource.resource_methods:
            raise errors.conflict("Method already exists for this resource")
        return wire(self._keep(state, resource, method))

    def get_method(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return wire(self._method(params)[2])

    def delete_method(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource, method = self._method(params)
        methods = {name: kept for name, kept in resource.resource_methods.items() if name != method.http_method}
        self._store.put_resources(state.rest_api.id, [msgspec.structs.replace(resource, resource_methods=methods)])
        return {}

    def put_method_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource, method = self._method(params)
        status_code = _status_code(params)
        responses = _responses(method.method_responses)
        if status_code in responses:
            raise errors.conflict("Response already exists for this resource")
        response = MethodResponse(
            status_code=status_code,
            response_parameters=present(params.get("responseParameters")),
            response_models=present(params.get("responseModels")),
        )
        responses[status_code] = response
        self._keep(state, resource, msgspec.structs.replace(method, method_responses=responses))
        return wire(response)

    def get_method_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        method = self._method(params)[2]
        return wire(_found(_responses(method.method_responses), params))

    def delete_method_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource, method = self._method(params)
        responses = _responses(method.method_responses)
        del responses[_found(responses, params).status_code]
        self._keep(state, resource, msgspec.structs.replace(method, method_responses=present(responses)))
        return {}

    def put_integration(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource, method = self._method(params)
        integration = integration_from(params)
        self._keep(state, resource, msgspec.structs.replace(method, method_integration=integration))
        return wire(integration)

    def get_integration(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return wire(_integration(self._method(params)[2]))

    def delete_integration(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource, method = self._method(params)
        _integration(method)
        self._keep(state, resource, msgspec.structs.replace(method, method_integration=UNSET))
        return {}

    def put_integration_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource, method = self._method(params)
        status_code = _status_code(params)
        if not isinstance(method.method_integration, Integration):
            raise errors.not_found("No integration defined for method")
        response = integration_response_from(params, _responses(method.method_responses).get(status_code))
        responses = _responses(method.method_integration.integration_responses)
        responses[status_code] = response
        self._keep_integration(state, resource, method, responses)
        return wire(response)

    def get_integration_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        integration = _integration(self._method(params)[2])
        return wire(_found(_responses(integration.integration_responses), params))

    def delete_integration_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource, method = self._method(params)
        responses = _responses(_integration(method).integration_responses)
        del responses[_found(responses, params).status_code]
        self._keep_integration(state, resource, method, responses)
        return {}

    def _method(self, params: dict[str, Any]) -> tuple[ApiState, Resource, Method]:
        state, resource = self._resource(params)
        method = resource.resource_methods.get(params["httpMethod"])
        if method is None:
            raise errors.no_method()
        return state, resource, method

    def _keep(self, state: ApiState, resource: Resource, method: Method) -> Method:
        methods = {**resource.resource_methods, method.http_method: method}
        self._store.put_resources(state.rest_api.id, [msgspec.structs.replace(resource, resource_methods=methods)])
        return method

    def _keep_integration(self, state: ApiState, resource: Resource, method: Method, responses: Any) -> None:
        integration = msgspec.structs.replace(_integration(method), integration_responses=present(responses))
        self._keep(state, resource, msgspec.structs.replace(method, method_integration=integration))


def _new_method(params: dict[str, Any]) -> Method:
    """Raises AWS's recorded refusals, and 501 for what would otherwise look protected and not be."""
    if params["httpMethod"] not in HTTP_METHODS:
        raise errors.bad_request(f"Invalid HttpMethod specified. Valid options are {','.join(HTTP_METHODS)}")
    authorization = params.get("authorizationType") or "NONE"
    if authorization in ("CUSTOM", "COGNITO_USER_POOLS"):
        raise errors.bad_request(_NEEDS_AUTHORIZER)
    if authorization != "NONE":
        raise errors.not_built(f"authorizationType {authorization}")
    if params.get("apiKeyRequired"):
        raise errors.not_built("apiKeyRequired")
    if params.get("requestValidatorId"):
        raise errors.bad_request("Invalid Request Validator identifier specified")
    for model in (params.get("requestModels") or {}).values():
        if model not in ("Empty", "Error"):  # the two that every API is born with
            raise errors.bad_request(f"Invalid model identifier specified: {model}")
    return Method(
        http_method=params["httpMethod"],
        authorization_type=authorization,
        operation_name=present(params.get("operationName")),
        request_parameters=_request_parameters(params),
        request_models=present(params.get("requestModels")),
    )


def _request_parameters(params: dict[str, Any]) -> Any:
    parameters = params.get("requestParameters") or {}
    names = [name.rpartition(".")[2] for name in parameters]
    if len(set(names)) < len(names):
        raise errors.bad_request("Parameter names must be unique across querystring, header and path")
    return present(parameters)


def _status_code(params: dict[str, Any]) -> str:
    status_code = str(params["statusCode"])
    if not _STATUS_CODE.fullmatch(status_code):
        raise errors.bad_request("Invalid status code specified")
    return status_code


def _responses(given: Any) -> dict[str, Any]:
    return dict(given) if isinstance(given, dict) else {}


def _found(responses: dict[str, Any], params: dict[str, Any]) -> Any:
    response = responses.get(str(params["statusCode"]))
    if response is None:
        raise errors.no_response()
    return response


def _integration(method: Method) -> Integration:
    if not isinstance(method.method_integration, Integration):
        raise errors.no_integration()
    return method.method_integration
