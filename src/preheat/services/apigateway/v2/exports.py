"""An HTTP API as an OpenAPI 3 document, which ImportApi takes again."""

from __future__ import annotations

from typing import Any

from preheat.services.apigateway.documents import ANY_METHOD, EXTENSION, INTEGRATION
from preheat.services.apigateway.v2.openapi import CORS_MEMBERS, INTEGRATION_MEMBERS
from preheat.services.apigateway.v2.store import Document


def exported(api: Document, parts: Document, stage: str | None, *, extensions: bool) -> dict[str, Any]:
    """`parts` are routes, integrations and authorizers by id, as `HttpApi.snapshot` gives them."""
    paths: dict[str, Any] = {}
    for route in parts["routes"].values():
        method, _, path = route["RouteKey"].partition(" ")
        item = paths.setdefault(path or "/$default", {})
        name = ANY_METHOD if method in ("ANY", "$default") else method.lower()
        item[name] = _operation(route, parts, extensions)
    suffix = "" if stage in (None, "$default") else f"/{stage}"
    document: dict[str, Any] = {
        "openapi": "3.0.1",
        "info": {"title": api["Name"], "version": api.get("Version") or "1.0"},
        "servers": [{"url": f"{api['ApiEndpoint']}{suffix}"}],
        "paths": paths,
    }
    if api.get("Description"):
        document["info"]["description"] = api["Description"]
    if extensions:
        schemes = {one["Name"]: _scheme(one) for one in parts["authorizers"].values()}
        if schemes:
            document["components"] = {"securitySchemes": schemes}
        cors = api.get("CorsConfiguration")
        if cors:
            names = {member: name for name, member in CORS_MEMBERS.items()}
            document[EXTENSION + "cors"] = {names[member]: value for member, value in cors.items()}
        if api["Tags"]:
            document["tags"] = [{"name": key, EXTENSION + "tag-value": value} for key, value in api["Tags"].items()]
        document[EXTENSION + "importexport-version"] = "1.0"
    return document


def _operation(route: Document, parts: Document, extensions: bool) -> dict[str, Any]:
    key = route["RouteKey"]
    operation: dict[str, Any] = {"responses": {"default": {"description": f"Default response for {key}"}}}
    if route.get("OperationName"):
        operation["operationId"] = route["OperationName"]
    names = [part[1:-1].removesuffix("+") for part in key.partition(" ")[2].split("/") if part.startswith("{")]
    if names:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if not extensions:
        return operation
    if key == "$default":
        operation["isDefaultRoute"] = True
    authorizer = parts["authorizers"].get(route.get("AuthorizerId", ""))
    if authorizer is not None:
        operation["security"] = [{authorizer["Name"]: route.get("AuthorizationScopes") or []}]
    integration = parts["integrations"].get(route.get("Target", "").removeprefix("integrations/"))
    if integration is not None:
        shown = {name: integration[member] for name, member in INTEGRATION_MEMBERS.items() if member in integration}
        operation[INTEGRATION] = {**shown, "type": integration["IntegrationType"].lower()}
    return operation


def _scheme(authorizer: Document) -> dict[str, Any]:
    given: dict[str, Any] = {"type": authorizer["AuthorizerType"].lower()}
    if authorizer.get("IdentitySource"):
        given["identitySource"] = ",".join(authorizer["IdentitySource"])
    if authorizer.get("JwtConfiguration"):
        jwt = authorizer["JwtConfiguration"]
        given["jwtConfiguration"] = {"issuer": jwt["Issuer"], "audience": jwt["Audience"]}
    for name, member in (
        ("authorizerUri", "AuthorizerUri"),
        ("authorizerPayloadFormatVersion", "AuthorizerPayloadFormatVersion"),
        ("authorizerResultTtlInSeconds", "AuthorizerResultTtlInSeconds"),
        ("enableSimpleResponses", "EnableSimpleResponses"),
    ):
        if authorizer.get(member) is not None:
            given[name] = authorizer[member]
    kind: dict[str, Any] = {"type": "apiKey", "name": "Authorization", "in": "header"}
    if given["type"] == "jwt":
        kind = {"type": "oauth2", "flows": {}}
    return {**kind, EXTENSION + "authorizer": given}
