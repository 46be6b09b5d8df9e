"""Operations on Lambda authorizers."""

from __future__ import annotations

import re
from typing import Any

from msgspec import UNSET, UnsetType

from preheat.aws.context import OperationContext
from preheat.services.apigateway import errors
from preheat.services.apigateway.apis import ApiOperations
from preheat.services.apigateway.expressions import LAMBDA_URI
from preheat.services.apigateway.models import Authorizer, present, wire
from preheat.services.apigateway.paging import page
from preheat.services.apigateway.patch import integer, patch_members, patches, text
from preheat.services.apigateway.store import ApiState, new_id

_SOURCE = re.compile(r"method\.request\.(?:header|querystring)\.[^,\s]+|(?:context|stageVariables)\.[\w.-]+")
_MAX_TTL_S = 3600


class AuthorizerOperations(ApiOperations):
    """Create, Get, Update, Delete of Authorizer."""

    def create_authorizer(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state = self._store.apis.get(params["restApiId"])
        if state is None:  # AWS's words for an API that does not exist, here only (recorded)
            raise errors.conflict(
                "Unable to complete operation due to concurrent modification. Please try again later."
            )
        authorizer = authorizer_from(params, new_id(6))
        if any(other.name == authorizer.name for other in state.authorizers.values()):
            raise errors.bad_request("Authorizer name already exists")
        self._store.put_part(state.rest_api.id, "authorizers", authorizer.id, authorizer)
        return wire(authorizer)

    def get_authorizer(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return wire(self._authorizer(context, params)[1])

    def get_authorizers(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return page([wire(authorizer) for authorizer in self._api(context, params).authorizers.values()], params)

    def update_authorizer(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, authorizer = self._authorizer(context, params)
        changed = patch_members(
            authorizer,
            patches(params),
            {
                "name": ("name", text),
                "authorizerUri": ("authorizer_uri", text),
                "authorizerCredentials": ("authorizer_credentials", text),
                "identitySource": ("identity_source", text),
                "identityValidationExpression": ("identity_validation_expression", text),
                "authorizerResultTtlInSeconds": ("authorizer_result_ttl_in_seconds", integer),
            },
        )
        self._store.put_part(state.rest_api.id, "authorizers", changed.id, _checked(changed))
        return wire(changed)

    def delete_authorizer(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, authorizer = self._authorizer(context, params)
        for resource in state.resources.values():
            for method in resource.resource_methods.values():
                if method.authorizer_id == authorizer.id:
                    raise errors.conflict("Cannot delete authorizer that is referenced by methods")
        self._store.delete_part(state.rest_api.id, "authorizers", authorizer.id)
        return {}

    def _authorizer(self, context: OperationContext, params: dict[str, Any]) -> tuple[ApiState, Authorizer]:
        state = self._api(context, params)
        authorizer = state.authorizers.get(params["authorizerId"])
        if authorizer is None:
            raise errors.no_authorizer()
        return state, authorizer


def authorizer_from(params: dict[str, Any], authorizer_id: str) -> Authorizer:
    """The authorizer that CreateAuthorizer describes."""
    if params.get("type") not in ("TOKEN", "REQUEST"):
        raise errors.not_built(f"authorizer type {params.get('type')} (TOKEN and REQUEST are)")
    return _checked(
        Authorizer(
            id=authorizer_id,
            name=params["name"],
            type=params["type"],
            auth_type=params.get("authType") or "custom",
            authorizer_uri=params.get("authorizerUri") or "",
            authorizer_credentials=present(params.get("authorizerCredentials")),
            identity_source=present(params.get("identitySource")),
            identity_validation_expression=present(params.get("identityValidationExpression")),
            authorizer_result_ttl_in_seconds=_unset(params.get("authorizerResultTtlInSeconds")),
        )
    )


def _unset(value: int | None) -> int | UnsetType:
    return UNSET if value is None else value


def _checked(authorizer: Authorizer) -> Authorizer:
    """Raise BadRequestException for what could never authorise anybody."""
    if not LAMBDA_URI.fullmatch(authorizer.authorizer_uri):
        raise errors.bad_request("Invalid Authorizer URI: " + authorizer.authorizer_uri)
    if not 0 <= authorizer.ttl_s <= _MAX_TTL_S:
        raise errors.bad_request(f"authorizerResultTtlInSeconds should be between 0 and {_MAX_TTL_S}")
    sources = [part.strip() for part in str(authorizer.identity_source or "").split(",") if part.strip()]
    if any(not _SOURCE.fullmatch(source) for source in sources):
        raise errors.bad_request(f"Invalid identity source specified: {authorizer.identity_source}")
    if authorizer.type == "TOKEN" and len(sources) != 1:
        raise errors.bad_request("TOKEN authorizers need exactly one identity source, a request header")
    if not sources and authorizer.ttl_s:
        raise errors.bad_request("An identity source is needed where results are cached")
    if isinstance(authorizer.identity_validation_expression, str):
        try:
            re.compile(authorizer.identity_validation_expression)
        except re.error:
            raise errors.bad_request("Invalid identity validation expression specified") from None
    return authorizer
