"""GetExport: a deployed stage as an OpenAPI 3.0 or Swagger 2.0 document, which ImportRestApi takes again.

Shape and order as recorded in localstack's test_apigateway_extended (test_export_swagger_openapi, ..._oas30_openapi).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from preheat.aws.context import OperationContext
from preheat.services.apigateway import errors
from preheat.services.apigateway.deployments import DeploymentOperations
from preheat.services.apigateway.documents import ANY_METHOD, EXTENSION, INTEGRATION
from preheat.services.apigateway.export_parts import PLACES, integration_part, security_part, security_schemes
from preheat.services.apigateway.models import Deployment, Method, MethodResponse, RestApi

_DEFAULTS = ("Empty", "Error")
_JSON, _YAML = "application/json", "application/yaml"


class ExportOperations(DeploymentOperations):
    """GetExport."""

    def get_export(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """`parameters.extensions` names what of API Gateway's own is included: integrations, authorizers or apigateway,
        which is everything."""
        state, stage = self._stage(context, params)
        kind = params["exportType"]
        if kind not in ("oas30", "swagger"):
            raise errors.bad_request(f"No API exporter for type '{kind}'")
        accepts = params.get("accepts") or _JSON
        if accepts not in (_JSON, _YAML):
            raise errors.bad_request(f"Unsupported Accept {accepts}: {_JSON} and {_YAML} are")
        asked = set(((params.get("parameters") or {}).get("extensions") or "").split(","))
        deployment = state.deployments[stage.deployment_id]
        version = state.rest_api.version
        shown = version if isinstance(version, str) else deployment.created_date.strftime("%Y-%m-%dT%H:%M:%SZ")
        exporter = _Swagger if kind == "swagger" else _OpenApi
        host = _host(context, state.rest_api.id)
        document = exporter(deployment, asked).document(state.rest_api, shown, host, stage.stage_name)
        suffix = "json" if accepts == _JSON else "yaml"
        return {
            "contentType": "application/octet-stream",
            "contentDisposition": f'attachment; filename="{kind}_{shown}.{suffix}"',
            "body": json.dumps(document, indent=2).encode() if accepts == _JSON else _yaml(document),
        }


class _Exporter:
    """What both kinds have in common. `asked`: the extensions wanted."""

    schemas_at = ""

    def __init__(self, deployment: Deployment, asked: set[str]) -> None:
        self._deployment = deployment
        everything = "apigateway" in asked
        self._integrations = everything or "integrations" in asked
        self._authorizers = everything or "authorizers" in asked
        self._everything = everything

    def operation(self, method: Method, path: str) -> dict[str, Any]:
        raise NotImplementedError

    def paths(self) -> dict[str, Any]:
        paths: dict[str, Any] = {}
        for resource in sorted(self._deployment.resources, key=lambda resource: resource.path):
            item = paths.setdefault(resource.path, {})
            for name, method in resource.resource_methods.items():
                operation = self.operation(method, resource.path)
                if security := security_part(method, self._deployment.authorizers):
                    operation["security"] = security
                validator = self._deployment.validators.get(str(method.request_validator_id))
                if self._everything and validator is not None:
                    operation[EXTENSION + "request-validator"] = validator.name
                if self._integrations:
                    operation[INTEGRATION] = integration_part(method, resource.id)
                item[ANY_METHOD if name == "ANY" else name.lower()] = operation
        return paths

    def schemas(self) -> dict[str, Any]:
        """Models by name; the two that every API is born with only where they are used."""
        used = {name for resource in self._deployment.resources for name in _used(resource.resource_methods.values())}
        return {
            name: self._schema(schema)
            for name, schema in self._deployment.models.items()
            if name in used or name not in _DEFAULTS
        }

    def _schema(self, text: str) -> Any:
        def walked(value: Any) -> Any:
            if isinstance(value, dict):
                reference = value.get("$ref")
                if isinstance(reference, str) and "/models/" in reference:
                    return {"$ref": self.schemas_at + reference.rpartition("/")[2]}
                return {name: walked(item) for name, item in value.items() if name != "$schema"}
            return [walked(item) for item in value] if isinstance(value, list) else value

        return walked(json.loads(text))

    def security_schemes(self) -> dict[str, Any]:
        return security_schemes(self._deployment, with_extension=self._authorizers)

    def extensions(self) -> dict[str, Any]:
        if not self._everything:
            return {}
        deployment = self._deployment
        found: dict[str, Any] = {
            "request-validators": {
                str(one.name): {
                    "validateRequestBody": one.validate_request_body,
                    "validateRequestParameters": one.validate_request_parameters,
                }
                for one in deployment.validators.values()
            },
            "gateway-responses": {
                kind: _present(
                    statusCode=custom.status_code if isinstance(custom.status_code, str) else None,
                    responseParameters=custom.response_parameters,
                    responseTemplates=custom.response_templates,
                )
                for kind, custom in deployment.gateway_responses.items()
            },
            "binary-media-types": deployment.binary_media_types,
            "api-key-source": deployment.api_key_source if deployment.api_key_source != "HEADER" else None,
        }
        shown = {EXTENSION + name: value for name, value in found.items() if value}
        if deployment.minimum_compression_size is not None:
            shown[EXTENSION + "minimum-compression-size"] = deployment.minimum_compression_size
        return shown


class _Swagger(_Exporter):
    schemas_at = "#/definitions/"

    def document(self, rest_api: RestApi, version: str, host: str, stage: str) -> dict[str, Any]:
        return {
            "swagger": "2.0",
            "info": {**_present(description=_text(rest_api.description)), "version": version, "title": rest_api.name},
            "host": host,
            "basePath": f"/{stage}",
            "schemes": ["http"],
            "paths": self.paths(),
            **_present(securityDefinitions=self.security_schemes(), definitions=self.schemas()),
            **self.extensions(),
        }

    def operation(self, method: Method, path: str) -> dict[str, Any]:
        integration = method.method_integration
        templates = getattr(integration, "request_templates", None)
        answers = getattr(integration, "integration_responses", None)
        produced = [
            *_keys(response.response_models for response in _values(method.method_responses)),
            *_keys(response.response_templates for response in _values(answers)),
        ]
        return _present(
            operationId=_text(method.operation_name),
            consumes=list(dict.fromkeys(_keys((method.request_models, templates)))),
            produces=list(dict.fromkeys(produced)),
            parameters=[
                *_parameters(method, lambda required: {"required": required, "type": "string"}),
                *(
                    {"in": "body", "name": model, "required": True, "schema": {"$ref": self.schemas_at + model}}
                    for model in dict.fromkeys(_mapping(method.request_models).values())
                ),
            ],
        ) | {"responses": {one.status_code: self._response(one) for one in _values(method.method_responses)}}

    def _response(self, response: MethodResponse) -> dict[str, Any]:
        model = next(iter(_mapping(response.response_models).values()), None)
        return {
            "description": f"{response.status_code} response",
            **_present(
                schema={"$ref": self.schemas_at + model} if model else None,
                headers={name: {"type": "string"} for name in _header_names(response)},
            ),
        }


class _OpenApi(_Exporter):
    schemas_at = "#/components/schemas/"

    def document(self, rest_api: RestApi, version: str, host: str, stage: str) -> dict[str, Any]:
        server = {"url": f"http://{host}/{{basePath}}", "variables": {"basePath": {"default": stage}}}
        return {
            "openapi": "3.0.1",
            "info": {"title": rest_api.name, **_present(description=_text(rest_api.description)), "version": version},
            "servers": [server],
            "paths": self.paths(),
            "components": _present(schemas=self.schemas(), securitySchemes=self.security_schemes()),
            **self.extensions(),
        }

    def operation(self, method: Method, path: str) -> dict[str, Any]:
        models = _mapping(method.request_models)
        body = {"content": {kind: self._media(model) for kind, model in models.items()}, "required": True}
        return _present(
            operationId=_text(method.operation_name),
            parameters=_parameters(
                method, lambda required: {**_present(required=required), "schema": {"type": "string"}}
            ),
            requestBody=body if models else None,
        ) | {"responses": {one.status_code: self._response(one) for one in _values(method.method_responses)}}

    def _response(self, response: MethodResponse) -> dict[str, Any]:
        return {
            "description": f"{response.status_code} response",
            **_present(headers={name: {"schema": {"type": "string"}} for name in _header_names(response)}),
            "content": {kind: self._media(model) for kind, model in _mapping(response.response_models).items()},
        }

    def _media(self, model: str) -> dict[str, Any]:
        return {"schema": {"$ref": self.schemas_at + model}}


def _parameters(method: Method, form: Callable[[bool], dict[str, Any]]) -> list[dict[str, Any]]:
    parameters = []
    for name, required in _mapping(method.request_parameters).items():
        place, _, key = name.removeprefix("method.request.").partition(".")
        parameters.append({"name": key, "in": PLACES[place], **form(required)})
    return parameters


def _used(methods: Iterable[Method]) -> Iterable[str]:
    for method in methods:
        yield from _mapping(method.request_models).values()
        for response in _values(method.method_responses):
            yield from _mapping(response.response_models).values()


def _header_names(response: MethodResponse) -> list[str]:
    return [name.removeprefix("method.response.header.") for name in _mapping(response.response_parameters)]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _values(value: Any) -> list[Any]:
    return list(_mapping(value).values())


def _keys(maps: Iterable[Any]) -> list[str]:
    return [key for one in maps for key in _mapping(one)]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _present(**members: Any) -> dict[str, Any]:
    """Those that hold something."""
    return {name: value for name, value in members.items() if value}


def _host(context: OperationContext, api_id: str) -> str:
    """Where this server serves the API, as the client reached it."""
    port = (context.http.header("host") or "").rpartition(":")[2]
    return f"{api_id}.execute-api.localhost" + (f":{port}" if port.isdigit() else "")


def _yaml(document: dict[str, Any]) -> bytes:
    import yaml  # type: ignore[import-untyped]

    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    return text.encode()
