"""What API Gateway answers by itself, and how an API may have it changed (gateway responses).

Sources: the fidelity sheet's API Gateway section; developer guide, "Gateway response types" (types and statuses);
localstack's snapshot tests recorded against AWS (test_apigateway_common, test_apigateway_lambda).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.services.apigateway.models import CustomResponse
from preheat.services.apigateway.variables import substitute

DEFAULT_TEMPLATE = '{"message":$context.error.messageString}'


class Refusal(NamedTuple):
    """One of AWS's default gateway responses: status, `x-amzn-ErrorType`, message, and its type in the API.

    `message` None is sent as null, under `member`. `detail` is `$context.error.validationErrorString`.
    """

    status: int
    error_type: str
    message: str | None
    response_type: str
    detail: str = ""
    member: str = "message"


class Refused(Exception):
    """Ends the way of a request with one of the gateway's own answers; `why` is for the log."""

    def __init__(self, refusal: Refusal, why: str = "") -> None:
        super().__init__(why or refusal.message)
        self.refusal = refusal


MISSING_AUTHENTICATION_TOKEN = Refusal(
    403, "MissingAuthenticationTokenException", "Missing Authentication Token", "MISSING_AUTHENTICATION_TOKEN"
)
FORBIDDEN = Refusal(403, "ForbiddenException", "Forbidden", "DEFAULT_4XX")
"""No such stage or API; AWS tells the two no better apart."""
BAD_REQUEST = Refusal(400, "BadRequestException", "Bad Request", "DEFAULT_4XX")
BROKEN_JSON = Refusal(400, "BadRequestException", "Invalid JSON in request body", "DEFAULT_4XX")
"""A mapping reads the body as JSON, and it is none (localstack's test_invalid_json_body_mapping, tried on AWS)."""
INVALID_BODY = Refusal(400, "BadRequestException", "Invalid request body", "BAD_REQUEST_BODY")
TOO_LARGE = Refusal(413, "RequestTooLargeException", "Request Too Long", "REQUEST_TOO_LARGE")
UNSUPPORTED_MEDIA_TYPE = Refusal(
    415, "UnsupportedMediaTypeException", "Unsupported Media Type", "UNSUPPORTED_MEDIA_TYPE"
)
UNAUTHORIZED = Refusal(401, "UnauthorizedException", "Unauthorized", "UNAUTHORIZED")
ACCESS_DENIED = Refusal(
    403,
    "AccessDeniedException",
    "User is not authorized to access this resource",
    "ACCESS_DENIED",
    member="Message",
)
"""The capital letter is AWS's, as people have captured it; a gateway response's own template says `message`."""
EXPLICIT_DENY = ACCESS_DENIED._replace(
    message=f"{ACCESS_DENIED.message} with an explicit deny in an identity-based policy"
)
AUTHORIZER_FAILED = Refusal(500, "AuthorizerConfigurationException", None, "AUTHORIZER_CONFIGURATION_ERROR")
INVALID_API_KEY = Refusal(403, "ForbiddenException", "Forbidden", "INVALID_API_KEY")
THROTTLED = Refusal(429, "TooManyRequestsException", "Too Many Requests", "THROTTLED")
QUOTA_EXCEEDED = Refusal(429, "LimitExceededException", "Limit Exceeded", "QUOTA_EXCEEDED")
INTERNAL_ERROR = Refusal(500, "InternalServerErrorException", "Internal server error", "API_CONFIGURATION_ERROR")
"""Also what a throttled function becomes: with a proxy integration Lambda's 429 never reaches the client
(repost.aws/knowledge-center/api-gateway-internal-server-error; repost.aws question QUfI6bsdd0SOiPeyimzxSkfQ)."""
BAD_GATEWAY = Refusal(502, "InternalServerErrorException", "Internal server error", "DEFAULT_5XX")
INTEGRATION_FAILURE = Refusal(
    504, "InternalServerErrorException", "Network error communicating with endpoint", "INTEGRATION_FAILURE"
)
TIMED_OUT = Refusal(504, "InternalServerErrorException", "Endpoint request timed out", "INTEGRATION_TIMEOUT")

STATUSES = {
    "ACCESS_DENIED": "403",
    "API_CONFIGURATION_ERROR": "500",
    "AUTHORIZER_CONFIGURATION_ERROR": "500",
    "AUTHORIZER_FAILURE": "500",
    "BAD_REQUEST_BODY": "400",
    "BAD_REQUEST_PARAMETERS": "400",
    "DEFAULT_4XX": "",
    "DEFAULT_5XX": "",
    "EXPIRED_TOKEN": "403",
    "INTEGRATION_FAILURE": "504",
    "INTEGRATION_TIMEOUT": "504",
    "INVALID_API_KEY": "403",
    "INVALID_SIGNATURE": "403",
    "MISSING_AUTHENTICATION_TOKEN": "403",
    "QUOTA_EXCEEDED": "429",
    "REQUEST_TOO_LARGE": "413",
    "RESOURCE_NOT_FOUND": "404",
    "THROTTLED": "429",
    "UNAUTHORIZED": "401",
    "UNSUPPORTED_MEDIA_TYPE": "415",
    "WAF_FILTERED": "403",
}
"""Every response type and its default status; the two defaults have none of their own."""


def missing_parameters(names: list[str]) -> Refusal:
    message = f"Missing required request parameters: [{', '.join(names)}]"
    return Refusal(400, "BadRequestException", message, "BAD_REQUEST_PARAMETERS")


def plain_response(refusal: Refusal, own_headers: Headers) -> HttpResponse:
    """The default answer; `own_headers` are the request's ids."""
    headers = [("Content-Type", "application/json"), *own_headers, ("x-amzn-ErrorType", refusal.error_type)]
    return HttpResponse(refusal.status, headers, msgspec.json.encode({refusal.member: refusal.message}))


def custom_response(
    refusal: Refusal,
    customs: Mapping[str, CustomResponse],
    own_headers: Headers,
    request: HttpRequest,
    context: dict[str, Any],
    stage_variables: Mapping[str, str],
) -> HttpResponse:
    """The answer as the API's gateway responses want it: its own type's, else its family's default.

    `context` is `$context` of the request. Templates know variables only, no VTL (developer guide, "Set up a
    gateway response").
    """
    custom = customs.get(refusal.response_type) or customs.get(
        "DEFAULT_5XX" if refusal.status >= 500 else "DEFAULT_4XX"
    )
    if custom is None:
        return plain_response(refusal, own_headers)
    status = int(custom.status_code) if isinstance(custom.status_code, str) else refusal.status
    context = {**context, "error": error_context(refusal), "status": str(status)}
    templates = custom.response_templates or {"application/json": DEFAULT_TEMPLATE}
    accept = request.header("accept") or ""
    kind = next((kind for kind in (accept, "application/json") if kind in templates), next(iter(templates)))
    variables = {"context": context, "stageVariables": stage_variables}
    headers: Headers = [*own_headers, ("x-amzn-ErrorType", refusal.error_type)]
    for target, source in custom.response_parameters.items():
        value = _header_value(source, request, context)
        if value:
            headers.append((target.removeprefix("gatewayresponse.header."), value))
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.insert(0, ("Content-Type", kind))
    return HttpResponse(status, headers, substitute(templates[kind], variables).encode())


def error_context(refusal: Refusal) -> dict[str, str]:
    """`$context.error`."""
    return {
        "message": refusal.message or "",
        "messageString": msgspec.json.encode(refusal.message).decode(),
        "responseType": refusal.response_type,
        "validationErrorString": refusal.detail,
    }


def _header_value(source: str, request: HttpRequest, context: dict[str, Any]) -> str:
    """`'static'`, `context.x` or `method.request.{header,querystring}.x`; "" where there is nothing."""
    if source.startswith("'"):
        return source[1:-1]
    if source.startswith("context."):
        return substitute(f"${source}", {"context": context}, missing="")
    place, _, name = source.removeprefix("method.request.").partition(".")
    if place == "header":
        return request.header(name) or ""
    if place == "querystring":
        return dict(parse_qsl(request.query)).get(name, "")
    return ""
