"""Operations on the authorizers of HTTP APIs: JWT and Lambda."""

from __future__ import annotations

from preheat.aws.context import OperationContext
from preheat.services.apigateway import errors
from preheat.services.apigateway.expressions import LAMBDA_URI
from preheat.services.apigateway.store import new_id
from preheat.services.apigateway.v2 import jwt_keys
from preheat.services.apigateway.v2.common import Operations, given, page
from preheat.services.apigateway.v2.routes import LAMBDA_ARN
from preheat.services.apigateway.v2.store import Document, HttpApi


class AuthorizerOperations(Operations):
    """Create, Get, Update, Delete of Authorizer."""

    def create_authorizer(self, context: OperationContext, params: Document) -> Document:
        state = self._api(params)
        return self._keep_authorizer(state, {**_new_authorizer(params), **given(params, "ApiId")})

    def get_authorizer(self, context: OperationContext, params: Document) -> Document:
        return self._found(params, "authorizers", "AuthorizerId", "Authorizer")[1]

    def get_authorizers(self, context: OperationContext, params: Document) -> Document:
        return page(self._api(params).authorizers.values(), params)

    def update_authorizer(self, context: OperationContext, params: Document) -> Document:
        state, authorizer = self._found(params, "authorizers", "AuthorizerId", "Authorizer")
        return self._keep_authorizer(state, {**authorizer, **given(params, "ApiId")})

    def delete_authorizer(self, context: OperationContext, params: Document) -> Document:
        return self._delete(params, "authorizers", "AuthorizerId", "Authorizer")

    def _keep_authorizer(self, state: HttpApi, authorizer: Document) -> Document:
        _check_authorizer(authorizer)
        self._store.put(state.api["ApiId"], "authorizers", authorizer["AuthorizerId"], authorizer)
        return authorizer


def _new_authorizer(params: Document) -> Document:
    """A REQUEST authorizer needs its payload format named, as on AWS; a JWT's answer has none."""
    return {
        "AuthorizerId": new_id(6),
        **({"EnableSimpleResponses": False} if params["AuthorizerType"] == "REQUEST" else {}),
    }


def _check_authorizer(authorizer: Document) -> None:
    if authorizer["AuthorizerType"] == "REQUEST":
        uri = authorizer.get("AuthorizerUri") or ""
        if not (LAMBDA_URI.fullmatch(uri) or LAMBDA_ARN.fullmatch(uri)):
            raise errors.bad_request("Invalid authorizer URI specified: " + uri)
        if authorizer.get("AuthorizerPayloadFormatVersion") not in ("1.0", "2.0"):
            raise errors.bad_request("AuthorizerPayloadFormatVersion is a required parameter for REQUEST authorizer")
        return
    configuration = authorizer.get("JwtConfiguration") or {}
    if not configuration.get("Issuer") or not configuration.get("Audience"):
        raise errors.bad_request("JwtConfiguration needs an issuer and an audience")
    if not jwt_keys.is_reachable(configuration["Issuer"]):
        raise errors.not_built(f"issuer {configuration['Issuer']} ({jwt_keys.REACHABLE} is)")
