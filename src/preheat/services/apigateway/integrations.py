"""Integrations from an operation's parameters: what may be configured, and in which words it is refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from msgspec import UNSET, UnsetType

from preheat.kernel.errors import AwsError
from preheat.services.apigateway import errors
from preheat.services.apigateway.expressions import (
    LAMBDA_URI,
    REQUEST_SOURCE,
    REQUEST_TARGET,
    RESPONSE_SOURCE,
    RESPONSE_TARGET,
)
from preheat.services.apigateway.models import Integration, IntegrationResponse, MethodResponse, present

TYPES = ("HTTP", "MOCK", "AWS_PROXY", "HTTP_PROXY", "AWS")
MIN_TIMEOUT_MS = 50
MAX_TIMEOUT_MS = 29_000
"""botocore's model, PutIntegration timeoutInMillis: 50 to 29,000 ms."""


def integration_from(params: dict[str, Any]) -> Integration:
    """The integration that PutIntegration describes."""
    kind = params.get("type")
    if kind not in TYPES:
        raise AwsError(
            "ValidationException",
            "1 validation error detected: Value at 'putIntegrationInput.type' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{', '.join(TYPES)}]",
        )
    if kind in ("AWS_PROXY", "AWS"):
        _check_lambda(params, kind)
    elif kind in ("HTTP", "HTTP_PROXY"):
        _check_http(params)
    _check_options(params)
    for target, source in (params.get("requestParameters") or {}).items():
        if not REQUEST_TARGET.fullmatch(target):
            raise errors.bad_request(f"Invalid mapping expression parameter specified: {target}")
        if not REQUEST_SOURCE.fullmatch(source):
            raise errors.bad_request(f"Invalid mapping expression specified: {source}")
    return Integration(
        type=kind,
        # A mock has neither method nor URI, whatever was given (recorded: test_integration_mock_with_path_param,
        # test_put_integration_validation).
        http_method=UNSET if kind == "MOCK" else present(params.get("integrationHttpMethod")),
        uri=UNSET if kind == "MOCK" else present(params.get("uri")),
        connection_type="INTERNET" if kind.startswith("HTTP") else UNSET,  # shown for these alone (recorded)
        credentials=present(params.get("credentials")),
        request_parameters=present(params.get("requestParameters")),
        request_templates=present(_templates(params.get("requestTemplates"))),
        passthrough_behavior=params.get("passthroughBehavior", "WHEN_NO_MATCH"),
        content_handling=present(params.get("contentHandling")),
        timeout_in_millis=params.get("timeoutInMillis", MAX_TIMEOUT_MS),
        cache_namespace=params.get("cacheNamespace") or params["resourceId"],
        cache_key_parameters=list(params.get("cacheKeyParameters") or ()),
    )


def integration_response_from(params: dict[str, Any], method_response: MethodResponse | None) -> IntegrationResponse:
    """The response mapping that PutIntegrationResponse describes.

    `method_response` is the method's declaration for the same status: each mapped header must stand there.
    """
    parameters = params.get("responseParameters") or {}
    declared = method_response.response_parameters if method_response else None
    for name, source in parameters.items():
        if method_response is None:
            raise _bad_mapping("No method response exists for method.")
        if not RESPONSE_TARGET.fullmatch(name) or name not in (declared if isinstance(declared, dict) else {}):
            raise _bad_mapping(f"Invalid mapping expression parameter specified: {name}")
        if not RESPONSE_SOURCE.fullmatch(source):
            raise _bad_mapping(f"Invalid mapping expression specified: {source}")
    return IntegrationResponse(
        status_code=str(params["statusCode"]),
        # An empty pattern is kept: it marks the default response (recorded).
        selection_pattern=params["selectionPattern"] if "selectionPattern" in params else present(None),
        response_parameters=present(parameters),
        # An empty map is kept, an empty template becomes null (recorded: test_put_integration_response_templates).
        response_templates=_templates(params.get("responseTemplates")),
        content_handling=present(params.get("contentHandling")),
    )


def _templates(given: dict[str, str | None] | None) -> dict[str, str | None] | UnsetType:
    return UNSET if given is None else {kind: template or None for kind, template in given.items()}


def _check_lambda(params: dict[str, Any], kind: str) -> None:
    uri = params.get("uri") or ""
    if not params.get("integrationHttpMethod"):
        raise errors.bad_request("Enumeration value for HttpMethod must be non-empty")
    if not uri.startswith("arn:"):
        raise errors.bad_request("Invalid ARN specified in the request")
    if ":path/" not in uri and ":action/" not in uri:
        raise errors.bad_request("AWS ARN for integration must contain path or action")
    if LAMBDA_URI.fullmatch(uri):
        return
    if kind == "AWS":
        raise errors.not_built(f"an AWS integration with {uri} (Lambda functions are)")
    raise errors.bad_request(
        "Integrations of type 'AWS_PROXY' currently only supports Lambda function and Firehose stream invocations."
    )


def _check_http(params: dict[str, Any]) -> None:
    """Any endpoint may be stored, as PetStore's; what lies beyond this machine is refused when it is called."""
    uri = params.get("uri") or ""
    if not params.get("integrationHttpMethod"):
        raise errors.bad_request("Enumeration value for HttpMethod must be non-empty")
    if "${stageVariables." in uri:  # looked at when it is called
        return
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https"):
        raise errors.bad_request("Invalid HTTP endpoint specified for URI")


def _check_options(params: dict[str, Any]) -> None:
    timeout_ms = params.get("timeoutInMillis", MAX_TIMEOUT_MS)
    if not MIN_TIMEOUT_MS <= timeout_ms <= MAX_TIMEOUT_MS:
        raise errors.bad_request(f"Timeout should be between {MIN_TIMEOUT_MS} ms and {MAX_TIMEOUT_MS} ms")
    if params.get("connectionType", "INTERNET") != "INTERNET":
        raise errors.not_built(f"connectionType {params['connectionType']}")
    if params.get("responseTransferMode", "BUFFERED") != "BUFFERED":
        raise errors.not_built(f"responseTransferMode {params['responseTransferMode']}")


def _bad_mapping(problem: str) -> AwsError:
    return errors.bad_request(
        f"Invalid mapping expression specified: Validation Result: warnings : [], errors : [{problem}]"
    )
