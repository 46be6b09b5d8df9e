"""rest-json requests: labels, query, headers and body to parameters, by a plan compiled once per operation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl
from urllib.request import parse_http_list

from preheat.aws import json_codec
from preheat.aws.json_codec import Codec
from preheat.aws.model import Shape
from preheat.aws.text_codec import TextReader, text_reader
from preheat.kernel.http import HttpRequest

_HTTP_DATE = re.compile(r"[A-Za-z]{3}, [^,]+")
_TEXT_PAYLOADS = {"string": lambda body: body.decode("utf-8", "replace"), "blob": bytes}


class RequestPlan:
    """Where each member of one input shape is found."""

    def __init__(self, shape: Shape, memo: dict[str, Codec]) -> None:
        self._labels: list[tuple[str, str, TextReader]] = []
        self._query: dict[str, tuple[str, Callable[[list[str]], Any]]] = {}
        self._query_map: tuple[str, bool] | None = None
        self._headers: dict[str, tuple[str, TextReader]] = {}
        self._prefixes: list[tuple[str, str]] = []
        self._payload: tuple[str, Callable[[bytes], Any]] | None = None
        self._body: Codec | None = None
        payload = shape.traits.get("payload")
        for name, member in shape.members.items():
            if name == payload:
                self._payload = (name, _payload_reader(member, memo))
            elif member.location is not None:
                self._bind(name, member)
        in_body = body_members(shape)
        if in_body:
            self._body = json_codec.object_reader(in_body, memo)

    def _bind(self, name: str, member: Shape) -> None:
        wire_name = member.wire_name(name)
        if member.location == "uri":
            self._labels.append((name, wire_name, text_reader(member)))
        elif member.location == "querystring" and member.type == "map":
            self._query_map = (name, member.value.type == "list")
        elif member.location == "querystring":
            self._query[wire_name] = (name, _query_reader(member))
        elif member.location == "header":
            self._headers[wire_name.lower()] = (name, _header_reader(member))
        elif member.location == "headers":
            self._prefixes.append((name, wire_name.lower()))

    def parse(self, request: HttpRequest, labels: Mapping[str, str]) -> dict[str, Any]:
        """The parameters; raises AwsError SerializationException."""
        params: dict[str, Any] = {}
        if self._body is not None and request.body:
            params.update(self._body(json_codec.decode(request.body)))
        elif self._payload is not None and request.body:
            params[self._payload[0]] = self._payload[1](request.body)
        for name, label, read in self._labels:
            params[name] = read(labels[label])
        if request.query and (self._query or self._query_map):
            self._parse_query(request.query, params)
        if self._headers or self._prefixes:
            self._parse_headers(request.headers, params)
        return params

    def _parse_query(self, query: str, params: dict[str, Any]) -> None:
        sent: dict[str, list[str]] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            sent.setdefault(name, []).append(value)
        for wire_name, (name, read) in self._query.items():
            if wire_name in sent:
                params[name] = read(sent[wire_name])
        if self._query_map is not None:
            name, is_list = self._query_map
            params[name] = sent if is_list else {key: values[-1] for key, values in sent.items()}

    def _parse_headers(self, headers: Iterable[tuple[str, str]], params: dict[str, Any]) -> None:
        for sent_name, text in headers:
            lower = sent_name.lower()
            if lower in self._headers:
                name, read = self._headers[lower]
                if name not in params:
                    params[name] = read(_utf8(text))
            for name, prefix in self._prefixes:
                if lower.startswith(prefix) and lower not in self._headers:
                    params.setdefault(name, {})[sent_name[len(prefix) :]] = _utf8(text)


def body_members(shape: Shape) -> dict[str, Shape]:
    """The members that make up the JSON body: those bound nowhere else, where no member is the payload."""
    if "payload" in shape.traits:
        return {}
    return {name: member for name, member in shape.members.items() if member.location is None}


def _payload_reader(member: Shape, memo: dict[str, Codec]) -> Callable[[bytes], Any]:
    if member.type in _TEXT_PAYLOADS:
        return _TEXT_PAYLOADS[member.type]
    read = json_codec.reader(member, memo)
    return lambda body: read(json_codec.decode(body))


def _query_reader(member: Shape) -> Callable[[list[str]], Any]:
    if member.type == "list":
        item = text_reader(member.member)
        return lambda values: [item(value) for value in values]
    read = text_reader(member)
    return lambda values: read(values[-1])


def _header_reader(member: Shape) -> TextReader:
    if member.type != "list":
        return text_reader(member)
    item = text_reader(member.member)
    if member.member.type == "timestamp":  # an HTTP date has a comma of its own
        return lambda text: [item(one) for one in _HTTP_DATE.findall(text) or text.split(",")]
    return lambda text: [item(_unquote(one)) for one in parse_http_list(text)]


def _unquote(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1].replace('\\"', '"')
    return text


def _utf8(text: str) -> str:
    """Header values arrive as latin-1 text; SDKs send UTF-8 (botocore.awsrequest)."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
