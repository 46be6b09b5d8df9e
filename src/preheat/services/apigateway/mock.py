"""MOCK integrations: an answer from templates alone, without a backend (typically CORS preflight).

Source: developer guide, "Mock integrations": the request template yields `{"statusCode": N}`, which selects the
integration response. Templates here are literal; PutIntegration refuses VTL until it is built.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.services.apigateway.models import Integration, IntegrationResponse
from preheat.services.apigateway.responses import INTERNAL_ERROR, UNSUPPORTED_MEDIA_TYPE, GatewayResponse

_JSON = "application/json"
_HEADER = "method.response.header."


class _Selected(msgspec.Struct):
    statusCode: int


def mock_response(integration: Integration, request: HttpRequest) -> HttpResponse | GatewayResponse:
    """The mapped answer, or the gateway's own where the mapping is incomplete."""
    body = _request_body(integration, request)
    if body is None:
        return UNSUPPORTED_MEDIA_TYPE
    try:
        status = msgspec.json.decode(body, type=_Selected).statusCode
    except msgspec.MsgspecError:
        return INTERNAL_ERROR
    chosen = _select(integration, str(status))
    if chosen is None or int(chosen.status_code) < 200:  # an interim status cannot end an exchange
        return INTERNAL_ERROR
    content_type, template = _template(chosen, request.header("accept"))
    headers = _static_headers(chosen)
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", content_type))
    return HttpResponse(int(chosen.status_code), headers, template.encode())


def _request_body(integration: Integration, request: HttpRequest) -> bytes | None:
    """The request template for the Content-Type, or the body itself as `passthroughBehavior` allows; else None."""
    templates = integration.request_templates if isinstance(integration.request_templates, dict) else {}
    content_type = (request.header("content-type") or _JSON).partition(";")[0].strip()
    if content_type in templates:
        return templates[content_type].encode()
    behaviour = integration.passthrough_behavior
    if behaviour == "NEVER" or (behaviour == "WHEN_NO_TEMPLATES" and templates):
        return None
    return request.body


def _select(integration: Integration, status: str) -> IntegrationResponse | None:
    """The first whose selection pattern matches the whole status, else the one without a pattern."""
    responses = integration.integration_responses
    candidates = list(responses.values()) if isinstance(responses, dict) else []
    for response in candidates:
        if response.selection_pattern and re.fullmatch(response.selection_pattern, status):
            return response
    return next((response for response in candidates if not response.selection_pattern), None)


def _template(response: IntegrationResponse, accept: str | None) -> tuple[str, str]:
    """(content type, text): by Accept, else JSON's, else the first; nothing where there is none."""
    templates: Mapping[str, str] = response.response_templates if isinstance(response.response_templates, dict) else {}
    if not templates:
        return _JSON, ""
    for wanted in (accept, _JSON):
        if wanted is not None and wanted in templates:
            return wanted, templates[wanted]
    return next(iter(templates.items()))


def _static_headers(response: IntegrationResponse) -> Headers:
    """`method.response.header.X: 'value'` as a header; PutIntegrationResponse admits no other mapping yet."""
    parameters = response.response_parameters if isinstance(response.response_parameters, dict) else {}
    return [(name[len(_HEADER) :], source[1:-1]) for name, source in parameters.items() if name.startswith(_HEADER)]
