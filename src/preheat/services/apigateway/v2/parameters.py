"""Parameter mapping of HTTP APIs: what an integration changes in requests before and in responses after.

Source: developer guide, "Transform API requests and responses for HTTP APIs".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.services.apigateway import errors
from preheat.services.apigateway.responses import Malformed, header_pair
from preheat.services.apigateway.v2.store import Document
from preheat.services.apigateway.variables import lookup, text_of

_REQUEST_KEY = re.compile(
    r"(?P<action>append|overwrite|remove):(?P<place>header|querystring)\.(?P<name>.+)|overwrite:path"
)
_RESPONSE_KEY = re.compile(r"(?P<action>append|overwrite|remove):(?P<place>header)\.(?P<name>.+)|overwrite:statuscode")
_STATUS = re.compile(r"[2-5][0-9][0-9]")
_REFERENCE = re.compile(r"\$\{(?P<braced>[^}]+)\}|^\$(?P<bare>[\w.\-\[\]]+)$")
_RESERVED = frozenset(
    (
        *("authorization", "connection", "content-encoding", "content-length", "content-location", "forwarded"),
        *("keep-alive", "origin", "proxy-authenticate", "proxy-authorization", "te", "trailers", "transfer-encoding"),
        *("upgrade", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "via"),
    )
)
_RESERVED_PREFIXES = ("access-control-", "apigw-", "x-amz-", "x-amzn-")
Find = Callable[[str], Any]
"""What a reference such as `request.header.a` stands for; None where there is nothing."""


def check_parameters(integration: Document) -> None:
    """Raise BadRequestException for mappings that AWS does not take."""
    for key in integration.get("RequestParameters") or {}:
        _check_key(key, _REQUEST_KEY)
    for status, mapped in (integration.get("ResponseParameters") or {}).items():
        if not _STATUS.fullmatch(status):
            raise errors.bad_request(f"Invalid status code {status} in ResponseParameters: 200 to 599 are possible")
        for key in mapped:
            _check_key(key, _RESPONSE_KEY)


def _check_key(key: str, form: re.Pattern[str]) -> None:
    match = form.fullmatch(key)
    if match is None:
        raise errors.bad_request(f"Invalid mapping expression specified: {key}")
    name = (match["name"] or "").lower()
    if match["place"] == "header" and (name in _RESERVED or name.startswith(_RESERVED_PREFIXES)):
        raise errors.bad_request(f"Operations on header {match['name']} are restricted")


def mapped_request(integration: Document, request: HttpRequest, path: str, find: Find) -> tuple[HttpRequest, str]:
    """(request, path below the stage) as the integration gets them."""
    headers, query = list(request.headers), parse_qsl(request.query, keep_blank_values=True)
    pairs = query
    for key, value in (integration.get("RequestParameters") or {}).items():
        if key == "overwrite:path":
            path = _text(value, find) or path
            continue
        action, _, target = key.partition(":")
        place, _, name = target.partition(".")
        if place == "header":
            headers = _header(headers, action, name, _text(value, find))
        else:
            pairs = _query(pairs, action, name, _text(value, find))
    text = request.query if pairs == query else urlencode(pairs)
    return replace(request, headers=headers, query=text), path


def mapped_response(integration: Document, response: HttpResponse, find: Find) -> HttpResponse:
    """The response with what is mapped for its status. `find` knows the response, too. Raises Malformed."""
    changed: Mapping[str, str] = (integration.get("ResponseParameters") or {}).get(str(response.status)) or {}
    headers = response.headers
    status = response.status
    for key, value in changed.items():
        text = _text(value, lambda name: _found_in_response(name, response, find))
        if key == "overwrite:statuscode":
            if text is None or not _STATUS.fullmatch(text):
                raise Malformed(f"overwrite:statuscode {text!r}")
            status = int(text)
            continue
        action, _, target = key.partition(":")
        headers = _header(headers, action, target.partition(".")[2], text)
    safe = [pair for name, text in headers if (pair := header_pair(name, text)) is not None] if changed else headers
    return replace(response, status=status, headers=safe)


def request_finder(request: HttpRequest, path: str, parameters: Mapping[str, str], context: Mapping[str, Any]) -> Find:
    """References into a request: `request.header.x`, `request.querystring.x`, `request.body.x`, `request.path[.x]`,
    `context.x`, `stageVariables.x`; the last two from `context`, which has `stageVariables` as a member."""

    def find(name: str) -> Any:
        first, *steps = name.split(".")
        if first == "context":
            return lookup(context, steps)
        if first == "stageVariables":
            return (context.get("stageVariables") or {}).get(".".join(steps))
        if first != "request" or not steps:
            return None
        place, key = steps[0], ".".join(steps[1:])
        if place == "header":
            values = [value for header, value in request.headers if header.lower() == key.lower()]
            return ",".join(values) if values else None
        if place == "querystring":
            found = [value for pair, value in parse_qsl(request.query, keep_blank_values=True) if pair == key]
            return ",".join(found) if found else None
        if place == "path":
            return parameters.get(key) if key else path
        return _body(request.body, steps[1:]) if place == "body" else None

    return find


def _found_in_response(name: str, response: HttpResponse, find: Find) -> Any:
    first, *steps = name.split(".")
    if first != "response" or not steps:
        return find(name)
    if steps[0] == "header":
        key = ".".join(steps[1:]).lower()
        return next((value for header, value in response.headers if header.lower() == key), None)
    return _body(response.body, steps[1:]) if steps[0] == "body" else None


def _body(body: bytes, steps: list[str]) -> Any:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return lookup(document, steps) if steps else document


def _text(value: str, find: Find) -> str | None:
    """A value with its references filled in; None where it is one reference, and that finds nothing."""
    whole = _REFERENCE.fullmatch(value)
    if whole is not None:
        found = find((whole["braced"] or whole["bare"]).removeprefix("$"))
        return None if found is None else text_of(found)

    def filled(match: re.Match[str]) -> str:
        found = find((match["braced"] or match["bare"]).removeprefix("$"))
        return "" if found is None else text_of(found)

    return _REFERENCE.sub(filled, value)


def _header(headers: Headers, action: str, name: str, value: str | None) -> Headers:
    """Headers after one action; a second value goes after a comma."""
    others = [(key, old) for key, old in headers if key.lower() != name.lower()]
    if action == "remove":
        return others
    if value is None:
        return headers
    old = [text for key, text in headers if key.lower() == name.lower()] if action == "append" else []
    return [*others, (name, ",".join([*old, value]))]


def _query(pairs: list[tuple[str, str]], action: str, name: str, value: str | None) -> list[tuple[str, str]]:
    others = pairs if action == "append" else [(key, old) for key, old in pairs if key != name]
    return others if action == "remove" or value is None else [*others, (name, value)]
