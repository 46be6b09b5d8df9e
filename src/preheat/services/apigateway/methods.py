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
        method = _new_method(state, params)
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
        responses = responses_of(method.method_responses)
        if status_code in responses:
            raise errors.conflict("Response already exists for this resource")
        response = MethodResponse(
            status_code=status_code,
            response_parameters=_as_given(params, "responseParameters"),
            response_models=_as_given(params, "responseModels"),
        )
        responses[status_code] = response
        self._keep(state, resource, msgspec.structs.replace(method, method_responses=responses))
        return wire(response)

    def get_method_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        method = self._method(params)[2]
        return wire(found_response(responses_of(method.method_responses), params))

    def delete_method_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource, method = self._method(params)
        responses = responses_of(method.method_responses)
        del responses[found_response(responses, params).status_code]
        self._keep(state, resource, msgspec.structs.replace(method, method_responses=present(responses)))
        return {}

    def put_integration(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource, method = self._method(params)
        integration = integration_from(params)
        self._keep(state, resource, msgspec.structs.replace(method, method_integration=integration))
        return wire(integration)

    def get_integration(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return wire(integration_of(self._method(params)[2]))

    def delete_integration(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource, method = self._method(params)
        integration_of(method)
        self._keep(state, resource, msgspec.structs.replace(method, method_integration=UNSET))
        return {}

    def put_integration_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource, method = self._method(params)
        status_code = _status_code(params)
        if not isinstance(method.method_integration, Integration):
            raise errors.not_found("No integration defined for method")
        response = integration_response_from(params, responses_of(method.method_responses).get(status_code))
        responses = responses_of(method.method_integration.integration_responses)
        responses[status_code] = response
        self._keep_integration(state, resource, method, responses)
        return wire(response)

    def get_integration_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        integration = integration_of(self._method(params)[2])
        return wire(found_response(responses_of(integration.integration_responses), params))

    def delete_integration_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource = self._resource(params)
        method = resource.resource_methods.get(params["httpMethod"])
        if method is None:  # not reported as a missing method, as everywhere else (recorded)
            raise errors.no_integration()
        responses = responses_of(integration_of(method).integration_responses)
        del responses[found_response(responses, params).status_code]
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
        integration = msgspec.structs.replace(integration_of(method), integration_responses=present(responses))
        self._keep(state, resource, msgspec.structs.replace(method, method_integration=integration))


def _new_method(state: ApiState, params: dict[str, Any]) -> Method:
    """Raises AWS's recorded refusals, and 501 for what would otherwise look protected and not be."""
    if params["httpMethod"] not in HTTP_METHODS:
        raise errors.bad_request(f"Invalid HttpMethod specified. Valid options are {','.join(HTTP_METHODS)}")
    authorization = (params.get("authorizationType") or "NONE").upper()  # "none" is taken, too (recorded)
    authorizer_id = params.get("authorizerId")
    validator_id = params.get("requestValidatorId")
    check_authorization(state, authorization, authorizer_id)
    if validator_id and validator_id not in state.validators:
        raise errors.bad_request("Invalid Request Validator identifier specified")
    check_models(state, params.get("requestModels"))
    return Method(
        http_method=params["httpMethod"],
        authorization_type=authorization,
        authorizer_id=present(authorizer_id if authorization == "CUSTOM" else None),
        authorization_scopes=present(params.get("authorizationScopes")),
        api_key_required=params.get("apiKeyRequired") or False,
        request_validator_id=present(validator_id),
        operation_name=present(params.get("operationName")),
        request_parameters=_request_parameters(params),
        request_models=present(params.get("requestModels")),
    )


def check_authorization(state: ApiState, authorization: str, authorizer_id: Any) -> None:
    if authorization in ("CUSTOM", "COGNITO_USER_POOLS") and authorizer_id not in state.authorizers:
        raise errors.bad_request(_NEEDS_AUTHORIZER)
    if authorization not in ("NONE", "CUSTOM", "AWS_IAM"):
        raise errors.not_built(f"authorizationType {authorization}")


def check_models(state: ApiState, models: dict[str, str] | None) -> None:
    for model in (models or {}).values():
        if model not in state.models:
            raise errors.bad_request(f"Invalid model identifier specified: {model}")


def _as_given(params: dict[str, Any], member: str) -> Any:
    """Kept even where it is empty (recorded: test_lifecycle_method_response)."""
    value = params.get(member)
    return UNSET if value is None else value


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


def responses_of(given: Any) -> dict[str, Any]:
    return dict(given) if isinstance(given, dict) else {}


def found_response(responses: dict[str, Any], params: dict[str, Any]) -> Any:
    response = responses.get(str(params["statusCode"]))
    if response is None:
        raise errors.no_response()
    return response


def integration_of(method: Method) -> Integration:
    if not isinstance(method.method_integration, Integration):
        raise errors.no_integration()
    return method.method_integration
