"""HTTP and HTTP_PROXY integrations, to targets on this machine only."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Mapping
from urllib.parse import quote, urlencode, urlsplit

from preheat.kernel.http import Headers
from preheat.services.apigateway import refusals
from preheat.services.apigateway.expressions import is_loopback
from preheat.services.apigateway.mapping import RequestMapping
from preheat.services.apigateway.refusals import Refused
from preheat.services.apigateway.translate import BackendResponse

_HOP_BY_HOP = frozenset(
    ("connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)
_NEVER_SENT = frozenset(("expect", "proxy-authenticate", "te"))
"""Dropped even where the integration maps them (recorded: test_apigateway_header_remapping_http)."""
_REMAPPED = frozenset(("connection", "content-length", "date", "server", "www-authenticate", "x-amzn-requestid"))


async def call_http(uri: str, method: str, mapping: RequestMapping, body: bytes, timeout_s: float) -> BackendResponse:
    """One request to the endpoint that `uri` names after `{name}` parts are filled in.

    Raises Refused: 500 where the URI is unusable or not on this machine, 504 where nobody answers in time.
    """
    for name, value in mapping.path.items():
        uri = uri.replace("{" + name + "}", quote(value, safe="/"))  # a greedy value keeps its slashes
    if "{" in uri:
        raise Refused(refusals.INTERNAL_ERROR, f"{uri}: requestParameters maps nothing to the part in braces")
    parts = urlsplit(uri)
    if not parts.hostname:
        raise Refused(refusals.INTERNAL_ERROR, "Invalid endpoint address")
    if parts.scheme != "http" or not is_loopback(parts.hostname or ""):
        raise Refused(refusals.INTERNAL_ERROR, f"{uri} is not http:// to this machine")
    target = parts.path or "/"
    query = "&".join(part for part in (parts.query, urlencode(mapping.querystring, doseq=True)) if part)
    try:
        return await asyncio.wait_for(
            asyncio.to_thread(
                _exchange,
                parts.hostname or "",
                parts.port or 80,
                method,
                f"{target}?{query}" if query else target,
                {name: value for name, value in mapping.header.items() if name.lower() not in _NEVER_SENT},
                body,
                timeout_s,
            ),
            timeout_s,
        )
    except TimeoutError as error:
        raise Refused(refusals.TIMED_OUT) from error
    except (OSError, http.client.HTTPException) as error:
        raise Refused(refusals.INTEGRATION_FAILURE, str(error)) from error


def passed_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The client's headers as an HTTP_PROXY target gets them."""
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}


def remapped(headers: Headers) -> Headers:
    """A proxied answer's headers: those that the gateway sets itself go by another name (recorded:
    test_http_integration_with_lambda)."""
    return [(f"x-amzn-Remapped-{name}" if name.lower() in _REMAPPED else name, value) for name, value in headers]


class _Connection(http.client.HTTPConnection):
    """Sends no Accept-Encoding of its own, as API Gateway does not (recorded: test_http_integration_method)."""

    def putrequest(self, method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = True) -> None:
        super().putrequest(method, url, skip_host, True)


def _exchange(
    host: str, port: int, method: str, target: str, headers: dict[str, str], body: bytes, timeout_s: float
) -> BackendResponse:
    connection = _Connection(host, port, timeout=timeout_s)
    try:
        connection.request(method, target, body=body or None, headers=headers)
        answer = connection.getresponse()
        kept: Headers = [(name, value) for name, value in answer.getheaders() if name.lower() != "transfer-encoding"]
        return BackendResponse(answer.status, kept, answer.read(), str(answer.status))
    finally:
        connection.close()
