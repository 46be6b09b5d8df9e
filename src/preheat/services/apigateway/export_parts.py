"""Parts of an exported document: integrations and security, in API Gateway's own extensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preheat.services.apigateway.documents import EXTENSION
from preheat.services.apigateway.integrations import MAX_TIMEOUT_MS
from preheat.services.apigateway.models import Authorizer, Deployment, Integration, Method, wire

PLACES = {"querystring": "query", "header": "header", "path": "path"}
_API_KEY, _SIGV4 = "api_key", "sigv4"
_AUTH_TYPE = EXTENSION + "authtype"


def integration_part(method: Method, resource_id: str) -> dict[str, Any]:
    """`x-amazon-apigateway-integration`, without what is as it would be anyway."""
    if not isinstance(method.method_integration, Integration):
        return {}
    given = wire(method.method_integration)
    responses = given.pop("integrationResponses", {})
    if given["timeoutInMillis"] == MAX_TIMEOUT_MS:
        del given["timeoutInMillis"]
    if given["cacheNamespace"] == resource_id:
        del given["cacheNamespace"]
    if not given["cacheKeyParameters"]:
        del given["cacheKeyParameters"]
    given.pop("connectionType", None)
    given["type"] = given["type"].lower()
    given["passthroughBehavior"] = given["passthroughBehavior"].lower()
    if responses:
        given["responses"] = {
            response.pop("selectionPattern", "") or "default": response for response in responses.values()
        }
    return given


def security_part(method: Method, authorizers: Mapping[str, Authorizer]) -> list[dict[str, list[str]]]:
    """The method's security requirements; everything in them is needed at once."""
    names = []
    authorizer = authorizers.get(str(method.authorizer_id))
    if authorizer is not None:
        names.append(authorizer.name)
    if method.authorization_type == "AWS_IAM":
        names.append(_SIGV4)
    if method.api_key_required:
        names.append(_API_KEY)
    return [{name: []} for name in names]


def security_schemes(deployment: Deployment, *, with_extension: bool) -> dict[str, Any]:
    """Authorizers, and API keys and signatures where a method asks for them."""
    methods = [method for resource in deployment.resources for method in resource.resource_methods.values()]
    schemes: dict[str, Any] = {}
    for authorizer in deployment.authorizers.values():
        schemes[authorizer.name] = _authorizer(authorizer, with_extension)
    if any(method.api_key_required for method in methods):
        schemes[_API_KEY] = {"type": "apiKey", "name": "x-api-key", "in": "header"}
    if any(method.authorization_type == "AWS_IAM" for method in methods):
        schemes[_SIGV4] = {"type": "apiKey", "name": "Authorization", "in": "header", _AUTH_TYPE: "awsSigv4"}
    return schemes


def _authorizer(authorizer: Authorizer, with_extension: bool) -> dict[str, Any]:
    source = authorizer.identity_source if isinstance(authorizer.identity_source, str) else ""
    token = authorizer.type == "TOKEN" and source.startswith("method.request.header.")
    scheme: dict[str, Any] = {
        "type": "apiKey",
        "name": source.removeprefix("method.request.header.") if token else "Unused",  # AWS's word for it
        "in": "header",
        _AUTH_TYPE: authorizer.auth_type,
    }
    if with_extension:
        given = wire(authorizer)
        for name in ("id", "name", "authType"):
            del given[name]
        scheme[EXTENSION + "authorizer"] = {**given, "type": authorizer.type.lower()}
    return scheme
