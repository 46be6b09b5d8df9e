"""Parameter mappings: `integration.request.header.X: method.request.querystring.y`, and back again.

Source: developer guide, "Mapping parameters: data mapping reference".
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from preheat.kernel.http import Headers
from preheat.services.apigateway import refusals
from preheat.services.apigateway.call import Call
from preheat.services.apigateway.expressions import REQUEST_TARGET, RESPONSE_TARGET
from preheat.services.apigateway.refusals import Refused
from preheat.services.apigateway.variables import lookup, text_of
from preheat.services.apigateway.vtl import NotJson, TemplateFailed, parse_body, select


@dataclass(slots=True)
class RequestMapping:
    """What an integration's request gets besides its body."""

    header: dict[str, str] = field(default_factory=dict)
    querystring: dict[str, str | list[str]] = field(default_factory=dict)
    path: dict[str, str] = field(default_factory=dict)


def map_request(call: Call, parameters: dict[str, str]) -> RequestMapping:
    """`integration.request.*` of a call. A source that is absent maps to nothing.

    Raises Refused (400) where the body is read and is broken JSON.
    """
    mapped = RequestMapping()
    for target, source in parameters.items():
        match = REQUEST_TARGET.fullmatch(target)
        value = _request_value(call, source)
        if match is None or value is None:
            continue
        if match["place"] == "querystring" and isinstance(value, list):
            mapped.querystring[match["name"]] = [str(item) for item in value]
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else text_of(value)
            getattr(mapped, match["place"])[match["name"]] = text
    for place, values in call.overrides["requestOverride"].items():
        getattr(mapped, place).update({name: text_of(value) for name, value in values.items()})
    return mapped


def map_response(call: Call, parameters: dict[str, str], headers: Headers, body: str) -> Headers:
    """`method.response.header.*` from an integration's response."""
    mapped: Headers = []
    for target, source in parameters.items():
        match = RESPONSE_TARGET.fullmatch(target)
        value = _response_value(call, source, headers, body)
        if match is not None and value is not None:
            mapped.append((match["name"], text_of(value)))
    return mapped


def _request_value(call: Call, source: str) -> Any:
    if source.startswith("'"):
        return source[1:-1]
    if source.startswith("method.request.body"):
        return _request_body_value(call, source.removeprefix("method.request.body"))
    if source.startswith("method.request."):
        place, _, name = source.removeprefix("method.request.").partition(".")
        if place == "path":
            value = call.path_parameters.get(name)
            return None if value is None else unquote(value)
        if place == "querystring":
            return call.query().get(name)
        if place == "multivaluequerystring":
            return (call.event["multiValueQueryStringParameters"] or {}).get(name)
        if place == "multivalueheader":
            return [value for key, value in call.request.headers if key.lower() == name.lower()] or None
        return call.request.header(name)
    return _variable(call, source)


def _response_value(call: Call, source: str, headers: Headers, body: str) -> Any:
    if source.startswith("'"):
        return source[1:-1]
    if source.startswith("integration.response.body"):
        return _body_value(body, source.removeprefix("integration.response.body"))
    if source.startswith("integration.response."):
        place, _, name = source.removeprefix("integration.response.").partition(".")
        values = [value for key, value in headers if key.lower() == name.lower()]
        if not values:
            return None
        return ",".join(values) if place == "multivalueheader" else values[-1]
    return _variable(call, source)


def _variable(call: Call, source: str) -> Any:
    first, *steps = source.split(".")
    if first == "context":
        return lookup(call.context(), steps)
    if first == "stageVariables":
        return (call.stage.variables or {}).get(".".join(steps))
    return None


def _request_body_value(call: Call, path: str) -> Any:
    """The same of the request; no body is `{}`, and broken JSON is refused even where all of it is wanted
    (localstack's test_body_mapping_empty and test_invalid_json_body_mapping, tried on AWS)."""
    body = call.request.body.decode("utf-8", "replace") or "{}"
    try:
        parse_body(body)
    except NotJson as error:
        raise Refused(refusals.BROKEN_JSON, str(error)) from error
    return _body_value(body, path)


def _body_value(body: str, path: str) -> Any:
    """The body itself, or what a JSONPath (`.a.b`) finds in it; None for nothing."""
    if not path:
        return body or None
    try:
        return select(json.loads(body), f"${path}")
    except (ValueError, TemplateFailed):
        return None
