"""OpenAPI 3 documents as HTTP APIs read them: what operations they stand for.

Source: developer guide, "Working with OpenAPI definitions for HTTP APIs" and the pages of its extensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from preheat.services.apigateway import errors
from preheat.services.apigateway.documents import ANY_METHOD, EXTENSION, INTEGRATION, METHODS, Document

CORS_MEMBERS = {
    "allowOrigins": "AllowOrigins",
    "allowMethods": "AllowMethods",
    "allowHeaders": "AllowHeaders",
    "exposeHeaders": "ExposeHeaders",
    "maxAge": "MaxAge",
    "allowCredentials": "AllowCredentials",
}
INTEGRATION_MEMBERS = {
    "uri": "IntegrationUri",
    "httpMethod": "IntegrationMethod",
    "payloadFormatVersion": "PayloadFormatVersion",
    "timeoutInMillis": "TimeoutInMillis",
    "connectionType": "ConnectionType",
    "credentials": "CredentialsArn",
    "requestParameters": "RequestParameters",
    "responseParameters": "ResponseParameters",
    "integrationSubtype": "IntegrationSubtype",
}


@dataclass(slots=True)
class ImportedRoute:
    """Parameters of CreateRoute and CreateIntegration. `authorizer` is the document's name for it."""

    key: str
    integration: dict[str, Any] | None
    authorizer: str | None
    scopes: list[str]
    operation_name: str | None


@dataclass(slots=True)
class ImportedApi:
    """Parameters of CreateApi; authorizers by the document's names."""

    api: dict[str, Any]
    authorizers: dict[str, dict[str, Any]] = field(default_factory=dict)
    routes: list[ImportedRoute] = field(default_factory=list)


def read(body: str, base_path: str = "ignore") -> ImportedApi:
    """Raises BadRequestException for what is no OpenAPI 3 document."""
    document = Document(body.encode())
    root = document.root
    if "openapi" not in root:
        raise errors.bad_request("Only OpenAPI 3.0 is currently supported for HTTP APIs")
    if base_path not in ("ignore", "prepend", "split"):
        raise errors.bad_request(f"Invalid basepath {base_path}: ignore, prepend or split is expected")
    imported = ImportedApi(api=_api(root))
    schemes = (root.get("components") or {}).get("securitySchemes") or {}
    imported.authorizers = {
        name: _authorizer(document, name, scheme[EXTENSION + "authorizer"])
        for name, scheme in schemes.items()
        if EXTENSION + "authorizer" in scheme
    }
    base = document.base_path()
    prefix = {"ignore": "", "prepend": base, "split": base[len("/" + base.lstrip("/").partition("/")[0]) :]}[base_path]
    for path, item in (root.get("paths") or {}).items():
        for name in (*METHODS, ANY_METHOD):
            operation = (item or {}).get(name)
            if operation is not None:
                imported.routes.append(_route(document, f"{prefix}{path}", name, operation, imported.authorizers))
    return imported


def _api(root: Mapping[str, Any]) -> dict[str, Any]:
    info = root.get("info") or {}
    cors = root.get(EXTENSION + "cors") or {}
    value = EXTENSION + "tag-value"
    tags = {tag["name"]: tag[value] for tag in root.get("tags") or () if value in tag}
    endpoint = root.get(EXTENSION + "endpoint-configuration") or {}
    given = {
        "Name": info.get("title"),
        "Description": info.get("description"),
        "Version": None if info.get("version") is None else str(info["version"]),
        "CorsConfiguration": {CORS_MEMBERS[name]: value for name, value in cors.items() if name in CORS_MEMBERS}
        or None,
        "Tags": tags or None,
        "DisableExecuteApiEndpoint": endpoint.get("disableExecuteApiEndpoint"),
    }
    return {name: value for name, value in given.items() if value is not None}


def _authorizer(document: Document, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    document.check_uri(given.get("authorizerUri"))
    jwt = given.get("jwtConfiguration") or {}
    sources = given.get("identitySource")
    if isinstance(sources, str):
        sources = [source.strip() for source in sources.split(",")]
    kind = str(given.get("type", "")).upper()
    members = {
        "Name": name,
        "AuthorizerType": kind,
        "IdentitySource": sources or (["$request.header.Authorization"] if kind == "JWT" else None),
        "JwtConfiguration": {"Issuer": jwt.get("issuer"), "Audience": list(jwt.get("audience") or ())} if jwt else None,
        "AuthorizerUri": given.get("authorizerUri"),
        "AuthorizerCredentialsArn": given.get("authorizerCredentials"),
        "AuthorizerPayloadFormatVersion": _optional_text(given.get("authorizerPayloadFormatVersion")),
        "AuthorizerResultTtlInSeconds": given.get("authorizerResultTtlInSeconds"),
        "EnableSimpleResponses": given.get("enableSimpleResponses"),
    }
    return {member: value for member, value in members.items() if value is not None}


def _optional_text(value: Any) -> str | None:
    return None if value is None else str(value)


def _route(
    document: Document, path: str, name: str, operation: Mapping[str, Any], authorizers: Mapping[str, Any]
) -> ImportedRoute:
    default = operation.get("isDefaultRoute") or path.endswith("/$default")
    verb = "ANY" if name == ANY_METHOD else name.upper()
    given = operation.get(INTEGRATION)
    scopes: list[str] = []
    authorizer = None
    for requirement in operation.get("security", document.root.get("security")) or ():
        for scheme, wanted in requirement.items():
            if scheme in authorizers:
                authorizer, scopes = scheme, list(wanted or ())
    return ImportedRoute(
        key="$default" if default else f"{verb} {path}",
        integration=None if given is None else _integration(document, document.resolved(given)),
        authorizer=authorizer,
        scopes=scopes,
        operation_name=operation.get("operationId"),
    )


def _integration(document: Document, given: Mapping[str, Any]) -> dict[str, Any]:
    document.check_uri(given.get("uri"))
    mapped = {INTEGRATION_MEMBERS[name]: value for name, value in given.items() if name in INTEGRATION_MEMBERS}
    if "PayloadFormatVersion" in mapped:
        mapped["PayloadFormatVersion"] = str(mapped["PayloadFormatVersion"])
    if "ResponseParameters" in mapped:
        mapped["ResponseParameters"] = {str(status): value for status, value in mapped["ResponseParameters"].items()}
    return {**mapped, "IntegrationType": str(given.get("type", "")).upper()}
