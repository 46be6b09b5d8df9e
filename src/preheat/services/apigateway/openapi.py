"""OpenAPI documents as API Gateway reads them: what operations they stand for, decided purely.

Source: developer guide, "OpenAPI extensions for API Gateway". OpenAPI 3.0 and Swagger 2.0, JSON or YAML.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from preheat.services.apigateway import errors
from preheat.services.apigateway.documents import ANY_METHOD, EXTENSION, INTEGRATION, METHODS, Document

_AUTHORIZER = EXTENSION + "authorizer"
_AUTH_TYPE = EXTENSION + "authtype"
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


def read(body: bytes, base_path: str = "ignore") -> Imported:
    """Raises BadRequestException for what is no such document. `base_path`: ignore, prepend or split."""
    document = Document(body)
    root = document.root
    imported = Imported(api=_api(root))
    schemas = (root.get("components") or {}).get("schemas") or root.get("definitions") or {}
    imported.models = [_model(name, schema) for name, schema in schemas.items()]
    schemes = (root.get("components") or {}).get("securitySchemes") or root.get("securityDefinitions") or {}
    imported.authorizers = {
        name: _authorizer(document, name, scheme) for name, scheme in schemes.items() if _AUTHORIZER in scheme
    }
    validators = root.get(EXTENSION + "request-validators") or {}
    imported.validators = {name: dict(given) for name, given in validators.items()}
    customs = root.get(EXTENSION + "gateway-responses") or {}
    imported.gateway_responses = [{"responseType": kind, **given} for kind, given in customs.items()]
    prefix = _prefix(document, base_path)
    for path, item in (root.get("paths") or {}).items():
        whole = f"{prefix}{path}".rstrip("/") or "/"
        imported.paths.append(whole)
        imported.methods += _methods(document, whole, item or {}, schemes, imported.models)
    return imported


def _api(root: Mapping[str, Any]) -> dict[str, Any]:
    info = root.get("info") or {}
    if root.get(EXTENSION + "policy"):
        raise errors.not_built(f"{EXTENSION}policy (resource policies)")
    endpoint = dict(root.get(EXTENSION + "endpoint-configuration") or {})
    return {
        "name": info.get("title") or "",
        "description": info.get("description"),
        "version": None if info.get("version") is None else str(info["version"]),
        "binaryMediaTypes": root.get(EXTENSION + "binary-media-types"),
        "apiKeySource": root.get(EXTENSION + "api-key-source"),
        "minimumCompressionSize": root.get(EXTENSION + "minimum-compression-size"),
        "disableExecuteApiEndpoint": endpoint.pop("disableExecuteApiEndpoint", None),
        "endpointConfiguration": endpoint or None,
    }


def _prefix(document: Document, base_path: str) -> str:
    """Developer guide, "Set the OpenAPI basePath property": split drops the first part, which would be the stage's."""
    if base_path not in ("ignore", "prepend", "split"):
        raise errors.bad_request(f"Invalid basepath {base_path}: ignore, prepend or split is expected")
    if base_path == "ignore":
        return ""
    base = document.base_path()
    if base_path == "prepend":
        return base
    _, slash, rest = base.lstrip("/").partition("/")
    return slash + rest


def _model(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "contentType": "application/json",
        "description": schema.get("description"),
        "schema": json.dumps(schema),
    }


def _authorizer(document: Document, name: str, scheme: Mapping[str, Any]) -> dict[str, Any]:
    given = scheme[_AUTHORIZER]
    document.check_uri(given.get("authorizerUri"))
    kind = str(given.get("type", "token")).upper()
    source = given.get("identitySource")
    if kind == "TOKEN" and not source:
        source = f"method.request.header.{scheme.get('name', 'Authorization')}"
    return {
        "name": name,
        "type": kind,
        "authType": scheme.get(_AUTH_TYPE),
        "authorizerUri": given.get("authorizerUri"),
        "authorizerCredentials": given.get("authorizerCredentials"),
        "identitySource": source,
        "identityValidationExpression": given.get("identityValidationExpression"),
        "authorizerResultTtlInSeconds": given.get("authorizerResultTtlInSeconds"),
    }


class _Namer:
    """Names the models that schemas refer to; a schema that stands inline becomes a model of its own, as on AWS."""

    def __init__(self, where: str, models: list[dict[str, Any]]) -> None:
        self._where = where
        self._models = models

    def name(self, schema: Any) -> str | None:
        if not isinstance(schema, Mapping) or not schema:
            return None
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return reference.rpartition("/")[2]
        digest = hashlib.sha256(f"{self._where} {json.dumps(schema)}".encode()).hexdigest()[:6]
        model = _model(f"MODEL{digest}", schema)
        if all(known["name"] != model["name"] for known in self._models):
            self._models.append(model)
        return str(model["name"])


def _methods(
    document: Document, path: str, item: Mapping[str, Any], schemes: Mapping[str, Any], models: list[dict[str, Any]]
) -> Iterator[ImportedMethod]:
    for name in (*METHODS, ANY_METHOD):
        operation = item.get(name)
        if operation is None:
            continue
        both = (*item.get("parameters", ()), *operation.get("parameters", ()))
        parameters = [document.resolved(given) for given in both]
        verb = "ANY" if name == ANY_METHOD else name.upper()
        named = _Namer(f"{verb} {path}", models)
        integration = None if operation.get(INTEGRATION) is None else document.resolved(operation[INTEGRATION])
        authorization, authorizer, key_required = _security(document, operation, schemes)
        validator_key = EXTENSION + "request-validator"
        responses, integration_responses = _responses(document, operation, integration or {}, named)
        yield ImportedMethod(
            path=path,
            http_method=verb,
            method={
                "authorizationType": authorization,
                "apiKeyRequired": key_required,
                "operationName": operation.get("operationId"),
                "requestParameters": _request_parameters(path, parameters),
                "requestModels": _request_models(document, operation, parameters, named),
            },
            authorizer=authorizer,
            validator=operation.get(validator_key, document.root.get(validator_key)),
            responses=responses,
            integration=None if integration is None else _integration(document, integration),
            integration_responses=integration_responses,
        )


def _responses(
    document: Document, operation: Mapping[str, Any], integration: Mapping[str, Any], named: _Namer
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """(method responses by status, integration responses). A mapping needs its method response, which documents
    often leave out."""
    responses = {
        str(code): _method_response(document.resolved(given), named)
        for code, given in (operation.get("responses") or {}).items()
        if str(code).isdecimal()
    }
    integrated = [
        _integration_response(pattern, given) for pattern, given in (integration.get("responses") or {}).items()
    ]
    for response in integrated:
        declared = responses.setdefault(response["statusCode"], {})
        targets = dict.fromkeys(response.get("responseParameters") or {}, False)
        if targets:
            declared["responseParameters"] = {**targets, **(declared.get("responseParameters") or {})}
    return responses, integrated


def _security(
    document: Document, operation: Mapping[str, Any], schemes: Mapping[str, Any]
) -> tuple[str, str | None, bool]:
    """(authorization type, authorizer's name, is an API key needed?) of the requirements in force."""
    security = operation.get("security", document.root.get("security"))
    names = [name for requirement in security or () for name in requirement]
    authorizer = next((name for name in names if _AUTHORIZER in schemes.get(name, {})), None)
    signed = any(schemes.get(name, {}).get(_AUTH_TYPE) == "awsSigv4" for name in names)
    own = str((operation.get(EXTENSION + "auth") or {}).get("type", "")).upper()
    keyed = any(
        scheme.get("type") == "apiKey" and _AUTHORIZER not in scheme and scheme.get(_AUTH_TYPE) != "awsSigv4"
        for scheme in (schemes.get(name, {}) for name in names)
    )
    kind = own or ("CUSTOM" if authorizer is not None else "AWS_IAM" if signed else "NONE")
    return kind, authorizer if kind == "CUSTOM" else None, keyed


def _request_parameters(path: str, parameters: list[Mapping[str, Any]]) -> dict[str, bool]:
    """As declared; the path's own are required, declared or not (test_import_with_global_api_key_authorizer)."""
    declared = {
        f"method.request.{_PLACES[given['in']]}.{given['name']}": bool(given.get("required"))
        for given in parameters
        if given.get("in") in _PLACES
    }
    own = [part[1:-1].removesuffix("+") for part in path.split("/") if part.startswith("{")]
    return {**{f"method.request.path.{name}": True for name in own}, **declared}


def _request_models(
    document: Document, operation: Mapping[str, Any], parameters: list[Mapping[str, Any]], named: _Namer
) -> dict[str, str]:
    """Models by content type: OpenAPI's `requestBody`, Swagger's body parameter."""
    body = document.resolved(operation.get("requestBody") or {})
    found = {kind: named.name(media.get("schema")) for kind, media in (body.get("content") or {}).items()}
    kinds = operation.get("consumes") or document.root.get("consumes") or ["application/json"]
    for given in parameters:
        if given.get("in") == "body":
            found.update((kind, named.name(given.get("schema"))) for kind in kinds)
    return {kind: name for kind, name in found.items() if name}


def _method_response(given: Mapping[str, Any], named: _Namer) -> dict[str, Any]:
    """Without the members that would be empty, as AWS imports them (recorded)."""
    headers = {f"method.response.header.{name}": False for name in given.get("headers") or {}}
    models = {kind: named.name(media.get("schema")) for kind, media in (given.get("content") or {}).items()}
    if given.get("schema"):
        models["application/json"] = named.name(given["schema"])
    return {
        "responseParameters": headers or None,
        "responseModels": {kind: name for kind, name in models.items() if name} or None,
    }


def _integration(document: Document, given: Mapping[str, Any]) -> dict[str, Any]:
    document.check_uri(given.get("uri"))
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
