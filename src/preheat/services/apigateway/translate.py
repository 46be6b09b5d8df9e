"""Non-proxy integrations: templates and mappings around a backend's own request and response.

Source: developer guide, "Data transformations"; `$input.params`, passthrough behaviours and selection patterns as
recorded in localstack's test_apigateway_integrations and test_apigateway_lambda.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, NamedTuple

from preheat.kernel.http import Headers, HttpResponse
from preheat.services.apigateway import refusals
from preheat.services.apigateway.call import Call
from preheat.services.apigateway.mapping import map_response
from preheat.services.apigateway.models import Integration, IntegrationResponse
from preheat.services.apigateway.refusals import Refused
from preheat.services.apigateway.responses import Malformed, header_pair
from preheat.services.apigateway.variables import text_of
from preheat.services.apigateway.vtl import NotJson, TemplateFailed, render

_JSON = "application/json"


class BackendResponse(NamedTuple):
    """What an integration answered. `selector` is what selection patterns are held against."""

    status: int
    headers: Headers
    body: bytes
    selector: str


def request_body(call: Call) -> bytes:
    """The integration's request body: from the template for the Content-Type, or as `passthroughBehavior` allows.

    Raises Refused: 415 for a body that may not pass, 400 for broken JSON, 500 for a template that fails.
    """
    integration = call.route.integration
    templates = integration.request_templates if isinstance(integration.request_templates, dict) else {}
    content_type = (call.request.header("content-type") or _JSON).partition(";")[0].strip().lower()
    body = _request_payload(call)
    if content_type in templates:
        template = templates[content_type]
        if template is None:
            return body
        context = call.context()
        try:
            text = _rendered(call, template, body, context)
        except NotJson as error:
            raise Refused(refusals.BROKEN_JSON, str(error)) from error
        call.overrides = {name: context[name] for name in call.overrides}
        return text.encode()
    behaviour = integration.passthrough_behavior
    if behaviour == "NEVER" or (behaviour == "WHEN_NO_TEMPLATES" and templates):
        raise Refused(refusals.UNSUPPORTED_MEDIA_TYPE)
    return body


def response(call: Call, answer: BackendResponse) -> HttpResponse:
    """The client's response: the chosen integration response's status, mapped headers, and template.

    Raises Refused (500) where no integration response fits or a template fails.
    """
    chosen = _select(call.route.integration, answer.selector)
    if chosen is None:
        raise Refused(refusals.INTERNAL_ERROR, "no integration response matches and there is no default one")
    body = _response_payload(call, chosen, answer)
    content_type, template = _template(chosen, call.request.header("accept"))
    status = int(chosen.status_code)
    override: dict[str, Any] = call.overrides["responseOverride"]
    if template is not None:
        context = call.context()
        try:
            body = _rendered(call, template, body, context).encode()
        except NotJson as error:
            raise Refused(refusals.INTERNAL_ERROR, f"mapping template: {error}") from error
        override = context["responseOverride"]
    parameters = chosen.response_parameters if isinstance(chosen.response_parameters, dict) else {}
    headers = _safe(map_response(call, parameters, answer.headers, answer.body.decode("utf-8", "replace")))
    for name, value in override["header"].items():
        headers = [(key, old) for key, old in headers if key.lower() != name.lower()]
        headers += _safe([(name, text_of(item)) for item in (value if isinstance(value, list) else [value])])
    if isinstance(override["status"], int) and 200 <= override["status"] <= 599:  # others are ignored, as on AWS
        status = override["status"]
    if status < 200:  # an interim status cannot end an exchange
        raise Refused(refusals.INTERNAL_ERROR, f"status {status} cannot end an exchange")
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.insert(0, ("Content-Type", content_type))
    return HttpResponse(status, headers, body)


def _safe(headers: Headers) -> Headers:
    """Headers under the names that the client sees. Raises Refused where one could split the response."""
    try:
        return [pair for name, value in headers if (pair := header_pair(name, value)) is not None]
    except Malformed as error:
        raise Refused(refusals.INTERNAL_ERROR, f"mapped {error}") from error


def lambda_selector(payload: bytes) -> str:
    """A function's `errorMessage`, or "": what selection patterns of a Lambda integration see. Nothing is no error,
    so that `.+` and `(\n|.)+` mean any (developer guide, "Handle custom Lambda errors in API Gateway")."""
    try:
        document = json.loads(payload)
    except ValueError:
        return ""
    message = document.get("errorMessage") if isinstance(document, dict) else None
    return message if isinstance(message, str) else ""


def _rendered(call: Call, template: str, body: bytes, context: dict[str, Any]) -> str:
    """Raises NotJson where the template reads a body that is none, Refused (500) for all else that fails."""
    params = {"path": call.path_parameters, "querystring": call.query(), "header": call.headers()}
    try:
        return render(template, body.decode(), params, context, call.stage.variables or {})
    except NotJson:
        raise
    except UnicodeDecodeError as error:  # recorded: localstack's TestApiGatewayS3BinarySupport
        raise Refused(refusals.INTERNAL_ERROR, "a mapping template for a binary body") from error
    except TemplateFailed as error:
        raise Refused(refusals.INTERNAL_ERROR, f"mapping template: {error}") from error


def _request_payload(call: Call) -> bytes:
    """The request's body as `contentHandling` wants it (developer guide, "Content type conversions in API Gateway").

    Raises Refused (500).
    """
    body, handling = call.request.body, call.route.integration.content_handling
    if call.stage.binary and call.stage.binary.match(call.request.header("content-type")):
        return base64.b64encode(body) if handling == "CONVERT_TO_TEXT" else body
    return _decoded(body) if handling == "CONVERT_TO_BINARY" else _utf8(body)


def _response_payload(call: Call, chosen: IntegrationResponse, answer: BackendResponse) -> bytes:
    """The answer's body as `contentHandling`, its Content-Type and the client's Accept want it (same source).

    Raises Refused (500).
    """
    body, binary, handling = answer.body, call.stage.binary, chosen.content_handling
    content_type = next((value for name, value in answer.headers if name.lower() == "content-type"), None)
    accepted = bool(binary) and binary.match(call.request.header("accept"))
    as_text = handling == "CONVERT_TO_TEXT" or (not isinstance(handling, str) and not accepted)
    if binary and binary.match(content_type):
        return base64.b64encode(body) if as_text else body
    return _utf8(body) if as_text else _decoded(body.strip(b'"'))


def _utf8(body: bytes) -> bytes:
    """Text that is not UTF-8 loses its bad bytes, as it does on AWS."""
    return body.decode("utf-8", "replace").encode()


def _decoded(body: bytes) -> bytes:
    try:
        return base64.b64decode(body, validate=True)
    except ValueError as error:
        raise Refused(refusals.INTERNAL_ERROR, "the body is not base64") from error


def _select(integration: Integration, selector: str) -> IntegrationResponse | None:
    """The first whose selection pattern matches the whole text, else the one without a pattern."""
    responses = integration.integration_responses
    candidates = list(responses.values()) if isinstance(responses, dict) else []
    for candidate in candidates:
        if candidate.selection_pattern and re.fullmatch(str(candidate.selection_pattern), selector, re.DOTALL):
            return candidate
    return next((candidate for candidate in candidates if not candidate.selection_pattern), None)


def _template(chosen: IntegrationResponse, accept: str | None) -> tuple[str, str | None]:
    """(content type, template): by Accept, else JSON's, else the first; None where the body passes as it is."""
    templates = chosen.response_templates if isinstance(chosen.response_templates, dict) else {}
    if not templates:
        return _JSON, None
    for wanted in (accept, _JSON):
        if wanted is not None and wanted in templates:
            return wanted, templates[wanted] or None
    content_type, template = next(iter(templates.items()))
    return content_type, template or None
