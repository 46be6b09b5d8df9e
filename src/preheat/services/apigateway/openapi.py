"""OpenAPI documents as API Gateway reads them: what operations they stand for, decided purely.

Source: developer guide, "OpenAPI extensions for API Gateway". OpenAPI 3.0 and Swagger 2.0, JSON or YAML.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from preheat.services.apigateway import errors

_METHODS = ("get", "put", "post", "delete", "patch", "options", "head")
_ANY = "x-amazon-apigateway-any-method"
_INTEGRATION = "x-amazon-apigateway-integration"
_PLACES = {"query": "querystring", "header": "header", "path": "path"}


@dataclass(slots=True)
class ImportedMethod:
    """Parameters of PutMethod, PutIntegration and so on, without the names of API and resource.

    `authorizer` and `validator` are the document's names for them.
    """

    path: str
    http_method: str
    method: dict[str, Any]
    authorizer: str | None
    validator: str | None
    responses: dict[str, dict[str, Any]]
    integration: dict[str, Any] | None
    integration_responses: list[dict[str, Any]]


@dataclass(slots=True)
class Imported:
    """A whole document: parameters of operations, by family."""

    api: dict[str, Any]
    models: list[dict[str, Any]] = field(default_factory=list)
    authorizers: dict[str, dict[str, Any]] = field(default_factory=dict)
    validators: dict[str, dict[str, Any]] = field(default_factory=dict)
    gateway_responses: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    methods: list[ImportedMethod] = field(default_factory=list)


def read(body: bytes) -> Imported:
    """Raises BadRequestException for what is no such document."""
    document = _document(body)
    info = document.get("info") or {}
    imported = Imported(
        api={
            "name": info.get("title") or "",
            "description": info.get("description"),
            "version": info.get("version"),
            "binaryMediaTypes": document.get("x-amazon-apigateway-binary-media-types"),
            "apiKeySource": document.get("x-amazon-apigateway-api-key-source", "HEADER"),
        }
    )
    components = document.get("components") or {}
    schemas = components.get("schemas") or document.get("definitions") or {}
    imported.models = [_model(name, schema) for name, schema in schemas.items()]
    schemes = components.get("securitySchemes") or document.get("securityDefinitions") or {}
    imported.authorizers = {
        name: _authorizer(name, scheme)
        for name, scheme in schemes.items()
        if "x-amazon-apigateway-authorizer" in scheme
    }
    imported.validators = {
        name: dict(given) for name, given in (document.get("x-amazon-apigateway-request-validators") or {}).items()
    }
    imported.gateway_responses = [
        {"responseType": kind, **given}
        for kind, given in (document.get("x-amazon-apigateway-gateway-responses") or {}).items()
    ]
    for path, item in (document.get("paths") or {}).items():
        imported.paths.append(path)
        imported.methods += _methods(document, path, item or {}, schemes)
    return imported


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        import yaml  # type: ignore[import-untyped]

        try:
            document = yaml.safe_load(body)
        except yaml.YAMLError:
            document = None
    if not isinstance(document, dict) or not ("openapi" in document or "swagger" in document):
        raise errors.bad_request(
            "Unable to parse API definition because of a malformed input: neither OpenAPI nor Swagger"
        )
    return document


def _model(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "contentType": "application/json",
        "description": schema.get("description"),
        "schema": json.dumps(schema),
    }


def _authorizer(name: str, scheme: Mapping[str, Any]) -> dict[str, Any]:
    given = scheme["x-amazon-apigateway-authorizer"]
    kind = str(given.get("type", "token")).upper()
    source = given.get("identitySource")
    if kind == "TOKEN" and not source:
        source = f"method.request.header.{scheme.get('name', 'Authorization')}"
    return {
        "name": name,
        "type": kind,
        "authType": scheme.get("x-amazon-apigateway-authtype"),
        "authorizerUri": given.get("authorizerUri"),
        "authorizerCredentials": given.get("authorizerCredentials"),
        "identitySource": source,
        "identityValidationExpression": given.get("identityValidationExpression"),
        "authorizerResultTtlInSeconds": given.get("authorizerResultTtlInSeconds", 300),
    }


def _methods(
    document: Mapping[str, Any], path: str, item: Mapping[str, Any], schemes: Mapping[str, Any]
) -> Iterator[ImportedMethod]:
    for name in (*_METHODS, _ANY):
        operation = item.get(name)
        if operation is None:
            continue
        parameters = [
            _resolved(document, given) for given in (*item.get("parameters", ()), *operation.get("parameters", ()))
        ]
        authorizer, key_required = _security(operation.get("security", document.get("security")), schemes)
        validator_key = "x-amazon-apigateway-request-validator"
        integration = operation.get(_INTEGRATION)
        responses = {
            str(code): _method_response(_resolved(document, given))
            for code, given in (operation.get("responses") or {}).items()
            if str(code).isdecimal()
        }
        integration_responses = [
            _integration_response(pattern, given)
            for pattern, given in ((integration or {}).get("responses") or {}).items()
        ]
        for response in integration_responses:  # a mapping needs its method response, which documents often leave out
            declared = responses.setdefault(response["statusCode"], {})
            for target in response.get("responseParameters") or {}:
                declared.setdefault("responseParameters", {}).setdefault(target, False)
        yield ImportedMethod(
            path=path,
            http_method="ANY" if name == _ANY else name.upper(),
            method={
                "apiKeyRequired": key_required,
                "operationName": operation.get("operationId"),
                "requestParameters": _request_parameters(parameters),
                "requestModels": _request_models(document, operation, parameters),
            },
            authorizer=authorizer,
            validator=operation.get(validator_key, document.get(validator_key)),
            responses=responses,
            integration=None if integration is None else _integration(integration),
            integration_responses=integration_responses,
        )


def _security(security: Any, schemes: Mapping[str, Any]) -> tuple[str | None, bool]:
    """(authorizer's name, is an API key needed?) of the requirements in force."""
    names = [name for requirement in security or () for name in requirement]
    authorizer = next((name for name in names if "x-amazon-apigateway-authorizer" in schemes.get(name, {})), None)
    keyed = any(
        schemes.get(name, {}).get("type") == "apiKey" and "x-amazon-apigateway-authorizer" not in schemes[name]
        for name in names
    )
    return authorizer, keyed


def _request_parameters(parameters: list[Mapping[str, Any]]) -> dict[str, bool]:
    return {
        f"method.request.{_PLACES[given['in']]}.{given['name']}": bool(given.get("required"))
        for given in parameters
        if given.get("in") in _PLACES
    }


def _request_models(
    document: Mapping[str, Any], operation: Mapping[str, Any], parameters: list[Mapping[str, Any]]
) -> dict[str, str]:
    """Models by content type: OpenAPI's `requestBody`, Swagger's body parameter."""
    body = _resolved(document, operation.get("requestBody") or {})
    found = {kind: _reference(media.get("schema")) for kind, media in (body.get("content") or {}).items()}
    for given in parameters:
        if given.get("in") == "body":
            found["application/json"] = _reference(given.get("schema"))
    return {kind: name for kind, name in found.items() if name}


def _method_response(given: Mapping[str, Any]) -> dict[str, Any]:
    headers = {f"method.response.header.{name}": False for name in given.get("headers") or {}}
    models = {kind: _reference(media.get("schema")) for kind, media in (given.get("content") or {}).items()}
    if given.get("schema"):
        models["application/json"] = _reference(given["schema"])
    return {
        "responseParameters": headers,
        "responseModels": {kind: name for kind, name in models.items() if name},
    }


def _integration(given: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in given.items() if name not in ("responses", "httpMethod", "type")}
    return {
        **kept,
        "type": str(given.get("type", "")).upper(),
        "integrationHttpMethod": given.get("httpMethod"),
        "passthroughBehavior": str(given.get("passthroughBehavior", "when_no_match")).upper(),
    }


def _integration_response(pattern: str, given: Mapping[str, Any]) -> dict[str, Any]:
    response = {**given, "statusCode": str(given.get("statusCode", "200"))}
    if pattern != "default":
        response["selectionPattern"] = pattern
    return response


def _resolved(document: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """A parameter, body or response, its local `$ref` followed."""
    reference = given.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return given
    found: Any = document
    for part in reference[2:].split("/"):
        found = found.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, Mapping) else {}
    if not isinstance(found, Mapping):
        raise errors.bad_request(f"Invalid OpenAPI input: {reference} names nothing")
    return found


def _reference(schema: Any) -> str | None:
    """The model that a schema refers to; inline schemas are no models of an API."""
    reference = schema.get("$ref") if isinstance(schema, Mapping) else None
    return reference.rpartition("/")[2] if isinstance(reference, str) else None
