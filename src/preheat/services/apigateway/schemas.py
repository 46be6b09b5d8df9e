"""Operations on models and request validators.

Refusals as recorded in localstack's test_apigateway_api: an unknown API is reported as an unknown model or validator
wherever both are named.
"""

from __future__ import annotations

import json
import re
from typing import Any

from preheat.aws.context import OperationContext
from preheat.services.apigateway import errors
from preheat.services.apigateway.apis import ApiOperations
from preheat.services.apigateway.models import Model, RequestValidator, present, wire
from preheat.services.apigateway.paging import page
from preheat.services.apigateway.patch import Member, boolean, patch_members, patches
from preheat.services.apigateway.store import ApiState, new_id

_MODEL_NAME = re.compile(r"[a-zA-Z0-9]+")


class SchemaOperations(ApiOperations):
    """Create, Get, Update, Delete of Model and RequestValidator."""

    def create_model(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state = self._api(context, params)
        name = params.get("name") or ""
        if not name:
            raise errors.bad_request("Model name must be non-empty")
        if not _MODEL_NAME.fullmatch(name):
            raise errors.bad_request("Model name must be alphanumeric: " + name)
        if not params.get("contentType"):
            raise errors.bad_request("Content-Type must be non-empty")
        if name in state.models:
            raise errors.conflict("Model name already exists for this REST API")
        model = Model(
            id=new_id(6),
            name=name,
            description=present(params.get("description")),
            schema=_schema(params.get("schema") or ""),
            content_type=params["contentType"],
        )
        self._store.put_part(state.rest_api.id, "models", name, model)
        return wire(model)

    def get_model(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return wire(self._model(context, params)[1])

    def get_models(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        models = self._api(context, params).models
        return page([wire(models[name]) for name in sorted(models)], params)

    def update_model(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, model = self._model(context, params)
        members: dict[str, Member] = {"description": ("description", present), "schema": ("schema", _schema)}
        model = patch_members(model, patches(params), members)
        self._store.put_part(state.rest_api.id, "models", model.name, model)
        return wire(model)

    def delete_model(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, model = self._model(context, params)
        user = _user_of(state, model.name)
        if user is not None:
            raise errors.conflict(f"Cannot delete model '{model.name}', is referenced in method request: {user}")
        self._store.delete_part(state.rest_api.id, "models", model.name)
        return {}

    def create_request_validator(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state = self._store.apis.get(params["restApiId"])
        if state is None:
            raise errors.bad_request("Invalid REST API identifier specified")
        validator = validator_from(params, new_id(6))
        self._store.put_part(state.rest_api.id, "validators", validator.id, validator)
        return wire(validator)

    def get_request_validator(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return wire(self._validator(context, params)[1])

    def get_request_validators(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return page([wire(validator) for validator in self._api(context, params).validators.values()], params)

    def update_request_validator(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, validator = self._validator(context, params)
        changed = patch_members(
            validator,
            patches(params),
            {
                "name": ("name", _validator_name),
                "validateRequestParameters": ("validate_request_parameters", boolean),
                "validateRequestBody": ("validate_request_body", boolean),
            },
        )
        self._store.put_part(state.rest_api.id, "validators", changed.id, changed)
        return wire(changed)

    def delete_request_validator(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, validator = self._validator(context, params)
        self._store.delete_part(state.rest_api.id, "validators", validator.id)
        return {}

    def _model(self, context: OperationContext, params: dict[str, Any]) -> tuple[ApiState, Model]:
        state = self._store.apis.get(params["restApiId"])
        model = state.models.get(params["modelName"]) if state else None
        if state is None or model is None:
            raise errors.no_model(params["modelName"])
        return state, model

    def _validator(self, context: OperationContext, params: dict[str, Any]) -> tuple[ApiState, RequestValidator]:
        state = self._store.apis.get(params["restApiId"])
        validator = state.validators.get(params["requestValidatorId"]) if state else None
        if state is None or validator is None:
            raise errors.no_validator()
        return state, validator


def validator_from(params: dict[str, Any], validator_id: str) -> RequestValidator:
    """The validator that CreateRequestValidator describes."""
    return RequestValidator(
        id=validator_id,
        name=present(params.get("name")),
        validate_request_body=params.get("validateRequestBody") or False,
        validate_request_parameters=params.get("validateRequestParameters") or False,
    )


def _validator_name(given: str) -> str:
    if not given:
        raise errors.bad_request("Request Validator name cannot be blank")
    return given


def _schema(given: str) -> str:
    """The schema as given, once it is known to be JSON and a schema of draft 4."""
    import jsonschema_rs

    if not given:
        raise errors.bad_request("Model schema must have at least 1 property or array items defined")
    try:
        document = json.loads(given)
        # References to other models are followed when a request is validated; here they need only be references.
        jsonschema_rs.Draft4Validator(document, retriever=lambda uri: {})
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise errors.bad_request(
            f"Invalid model specified: Validation Result: warnings : [], errors : [{error}]"
        ) from None
    return given


def _user_of(state: ApiState, name: str) -> str | None:
    """A method that uses a model, as `<path>/<http method>`: "//ANY" for the root's, which is named last (recorded)."""
    for resource in reversed(state.resources.values()):
        for method in resource.resource_methods.values():
            used = method.request_models if isinstance(method.request_models, dict) else {}
            if name in used.values():
                return f"{resource.path}/{method.http_method}"
    return None
