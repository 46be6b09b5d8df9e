"""Operations on gateway responses: what an API answers where the gateway itself does."""

from __future__ import annotations

from typing import Any

import msgspec

from preheat.aws.context import OperationContext
from preheat.services.apigateway import errors
from preheat.services.apigateway.apis import ApiOperations
from preheat.services.apigateway.models import CustomResponse, present, wire
from preheat.services.apigateway.paging import page
from preheat.services.apigateway.patch import Patch, patches
from preheat.services.apigateway.refusals import DEFAULT_TEMPLATE, STATUSES
from preheat.services.apigateway.store import ApiState


class CustomResponseOperations(ApiOperations):
    """Put, Get, Update, Delete of GatewayResponse."""

    def put_gateway_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state = self._api(context, params)
        kind = _kind(params)
        custom = CustomResponse(
            response_type=kind,
            status_code=present(params.get("statusCode") or STATUSES[kind]),
            response_parameters=params.get("responseParameters") or {},
            response_templates=params.get("responseTemplates") or {"application/json": DEFAULT_TEMPLATE},
        )
        self._store.put_part(state.rest_api.id, "gateway_responses", kind, custom)
        return wire(custom)

    def get_gateway_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return wire(_shown(self._api(context, params), _kind(params)))

    def get_gateway_responses(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state = self._api(context, params)
        return page([wire(_shown(state, kind)) for kind in STATUSES], params)

    def update_gateway_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state = self._api(context, params)
        custom = msgspec.structs.replace(_shown(state, _kind(params)), default_response=False)
        for patch in patches(params):
            custom = _patched(custom, patch)
        self._store.put_part(state.rest_api.id, "gateway_responses", custom.response_type, custom)
        return wire(custom)

    def delete_gateway_response(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state = self._api(context, params)
        kind = _kind(params)
        if kind not in state.gateway_responses:
            raise errors.not_found("Gateway response type not defined on api")
        self._store.delete_part(state.rest_api.id, "gateway_responses", kind)
        return {}


def _kind(params: dict[str, Any]) -> str:
    """The wire has refused other types before; imported documents come past it."""
    kind: str = params["responseType"]
    if kind not in STATUSES:
        raise errors.bad_request(f"Invalid gateway response type specified: {kind}")
    return kind


def _shown(state: ApiState, kind: str) -> CustomResponse:
    """The API's own, or what it is by default: its family's default where the API has one (recorded)."""
    own = state.gateway_responses.get(kind)
    if own is not None:
        return own
    family = "DEFAULT_5XX" if STATUSES[kind].startswith("5") else "DEFAULT_4XX"
    default = state.gateway_responses.get(family) if STATUSES[kind] else None
    if default is not None:
        status_code = default.status_code or STATUSES[kind]
        return msgspec.structs.replace(default, response_type=kind, status_code=status_code, default_response=True)
    return CustomResponse(
        response_type=kind,
        status_code=present(STATUSES[kind]),
        response_templates={"application/json": DEFAULT_TEMPLATE},
        default_response=True,
    )


def _patched(custom: CustomResponse, patch: Patch) -> CustomResponse:
    """Only what exists may be replaced, and nothing by an empty value (recorded)."""
    match patch.parts:
        case ("statusCode",) if patch.op == "replace":
            return msgspec.structs.replace(custom, status_code=present(patch.value))
        case ("responseParameters" | "responseTemplates" as member, key):
            attribute = "response_parameters" if member == "responseParameters" else "response_templates"
            changed = dict(getattr(custom, attribute))
            if patch.op != "add" and key not in changed:
                raise errors.not_found("Invalid parameter name specified")
            if patch.op == "remove":
                del changed[key]
            elif not patch.value:
                raise errors.bad_request(f"Invalid null or empty value in {member}")
            else:
                changed[key] = patch.value
            return msgspec.structs.replace(custom, **{attribute: changed})
        case _:
            raise errors.bad_request(f"Invalid patch path {patch.path or 'null'}")
