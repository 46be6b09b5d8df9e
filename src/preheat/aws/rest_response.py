"""rest-json answers: a result's members to status, headers and body, by a plan compiled once per shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from preheat.aws import eventstream, json_codec
from preheat.aws.eventstream import EventStream
from preheat.aws.json_codec import Codec
from preheat.aws.model import Shape
from preheat.aws.rest_request import body_members
from preheat.aws.text_codec import TextWriter, text_writer
from preheat.kernel.http import Headers

JSON = "application/json"
Body = bytes | EventStream
"""Whole, or events that are sent as they come."""


class ResponsePlan:
    """Where each member of one output or error shape goes."""

    def __init__(self, shape: Shape, memo: dict[str, Codec | None]) -> None:
        self._shape_name = shape.name
        self._status: str | None = None
        self._headers: dict[str, tuple[str, TextWriter]] = {}
        self._prefixes: dict[str, str] = {}
        self._body: dict[str, tuple[str, Codec | None]] | None = None
        self._payload: str | None = shape.traits.get("payload")
        self._payload_type = JSON
        self._write_payload: Callable[[Any], Body] = bytes
        for name, member in shape.members.items():
            if name == self._payload:
                self._payload_type, self._write_payload = _payload_writer(member, memo)
            elif member.location == "statusCode":
                self._status = name
            elif member.location == "header":
                self._headers[name] = (member.wire_name(name), _header_writer(member))
            elif member.location == "headers":
                self._prefixes[name] = member.wire_name(name)
        in_body = body_members(shape)
        if in_body:
            self._body = {
                name: (member.wire_name(name), json_codec.writer(member, memo)) for name, member in in_body.items()
            }

    def render(self, result: Mapping[str, Any], status: int) -> tuple[int, Headers, Body]:
        """(status, headers with Content-Type where there is a body, body); TypeError for an unknown member."""
        headers: Headers = []
        body: dict[str, Any] = {}
        payload: Any = None
        for name, value in result.items():
            if self._body is not None and name in self._body:
                if value is not None:
                    wire_name, write = self._body[name]
                    body[wire_name] = value if write is None else write(value)
            elif name == self._payload:
                payload = value
            elif name == self._status:
                status = status if value is None else int(value)
            else:
                headers.extend(self._header(name, value))
        if status == 204:
            return status, headers, b""
        if self._body is not None:
            return status, _with_type(headers, JSON), json_codec.encode(body)
        if payload is not None:
            return status, _with_type(headers, self._payload_type), self._write_payload(payload)
        return status, headers, b""

    def _header(self, name: str, value: Any) -> Headers:
        if name in self._headers:
            wire_name, write = self._headers[name]
            return [] if value is None else [(wire_name, _header_text(write(value)))]
        if name in self._prefixes:
            prefix = self._prefixes[name]
            return [(prefix + key, _header_text(text)) for key, text in (value or {}).items()]
        raise TypeError(f"{self._shape_name} has no member {name!r}")


def _payload_writer(member: Shape, memo: dict[str, Codec | None]) -> tuple[str, Callable[[Any], Body]]:
    """(content type, writer). A string or blob is the body itself (Smithy: httpPayload)."""
    if member.traits.get("eventstream"):
        events = eventstream.writer(member, memo)
        return eventstream.CONTENT_TYPE, lambda value: EventStream(value, events) if _is_async(value) else events(value)
    if member.type == "blob":
        return "application/octet-stream", bytes
    if member.type == "string":
        return "text/plain", lambda value: str(value).encode()
    write = json_codec.writer(member, memo)
    return JSON, (lambda value: json_codec.encode(write(value))) if write else json_codec.encode


def _is_async(events: Any) -> bool:
    return hasattr(events, "__anext__")


def _header_writer(member: Shape) -> TextWriter:
    if member.type != "list":
        return text_writer(member, "rfc822")
    item = text_writer(member.member, "rfc822")
    quoted = member.member.type == "string"
    return lambda values: ", ".join(_quote(item(one)) if quoted else item(one) for one in values)


def _quote(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"' if "," in text or '"' in text else text


def _header_text(text: str) -> str:
    """UTF-8 octets as the latin-1 text that headers carry; a line break would end the header: ValueError."""
    if "\r" in text or "\n" in text or "\0" in text:
        raise ValueError("a header value cannot hold a line break")
    return text if text.isascii() else text.encode().decode("latin-1")


def _with_type(headers: Headers, content_type: str) -> Headers:
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", content_type))
    return headers
