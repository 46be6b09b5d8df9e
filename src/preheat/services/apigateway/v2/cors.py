"""CORS as HTTP APIs and function URLs do it by themselves.

Source: developer guide, "Configure CORS for HTTP APIs": preflights are answered without the integration, and the
configured headers replace whatever CORS headers the backend sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preheat.kernel.http import Headers, HttpRequest, HttpResponse


def is_preflight(request: HttpRequest) -> bool:
    return (
        request.method == "OPTIONS"
        and request.header("origin") is not None
        and request.header("access-control-request-method") is not None
    )


def preflight_response(request: HttpRequest, cors: Mapping[str, Any]) -> HttpResponse:
    """204, with the headers only where origin and method are allowed; the browser refuses otherwise."""
    headers = allow_headers(request, cors)
    method = request.header("access-control-request-method") or ""
    methods = cors.get("AllowMethods") or []
    if headers and ("*" in methods or method in methods):
        headers.append(("Access-Control-Allow-Methods", ",".join(methods)))
        if cors.get("AllowHeaders"):
            headers.append(("Access-Control-Allow-Headers", ",".join(cors["AllowHeaders"])))
        if cors.get("MaxAge"):
            headers.append(("Access-Control-Max-Age", str(cors["MaxAge"])))
    return HttpResponse(204, headers)


def with_cors(request: HttpRequest, response: HttpResponse, cors: Mapping[str, Any]) -> HttpResponse:
    response.headers = [
        (name, value) for name, value in response.headers if not name.lower().startswith("access-control-")
    ]
    headers = allow_headers(request, cors)
    if headers and cors.get("ExposeHeaders"):
        headers.append(("Access-Control-Expose-Headers", ",".join(cors["ExposeHeaders"])))
    response.headers += headers
    return response


def allow_headers(request: HttpRequest, cors: Mapping[str, Any]) -> Headers:
    """Origin and credentials; nothing for an origin that is not allowed."""
    origin = request.header("origin")
    origins = cors.get("AllowOrigins") or []
    if origin is None or not any(_allows(allowed, origin) for allowed in origins):
        return []
    headers: Headers = [("Access-Control-Allow-Origin", "*" if "*" in origins else origin)]
    if "*" not in origins:
        headers.append(("Vary", "Origin"))
    if cors.get("AllowCredentials"):
        headers.append(("Access-Control-Allow-Credentials", "true"))
    return headers


def _allows(allowed: str, origin: str) -> bool:
    """The origin itself, `*`, or a scheme with a wildcard (`https://*`)."""
    return allowed in ("*", origin) or (allowed.endswith("://*") and origin.startswith(allowed[:-1]))
