"""The query protocol's results as XML, by shape (names as botocore's XML parser looks for them)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from preheat.aws.model import Shape
from preheat.aws.text_codec import text_writer

XmlWriter = Callable[[str, Any], str]
"""(element name, value) -> elements."""

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#xD;"})


def escape(text: str) -> str:
    """Characters XML 1.0 cannot hold become U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", text).translate(_ESCAPES)


def writer(shape: Shape, memo: dict[str, XmlWriter]) -> XmlWriter:
    if shape.type == "structure":
        return _structure_writer(shape, memo)
    if shape.type == "list":
        return _list_writer(shape, memo)
    if shape.type == "map":
        return _map_writer(shape, memo)
    write = text_writer(shape, "iso8601")
    return lambda name, value: f"<{name}>{escape(write(value))}</{name}>"


def _structure_writer(shape: Shape, memo: dict[str, XmlWriter]) -> XmlWriter:
    if shape.name in memo:
        return memo[shape.name]
    fields: dict[str, tuple[str, XmlWriter]] = {}

    def write(name: str, value: Mapping[str, Any]) -> str:
        parts = []
        for member, item in value.items():
            if member not in fields:
                raise TypeError(f"{shape.name} has no member {member!r}")
            if item is not None:
                element, write_item = fields[member]
                parts.append(write_item(element, item))
        return f"<{name}>{''.join(parts)}</{name}>"

    memo[shape.name] = write
    for member_name, member in shape.members.items():
        fields[member_name] = (member.wire_name(member_name), writer(member, memo))
    return write


def _list_writer(shape: Shape, memo: dict[str, XmlWriter]) -> XmlWriter:
    item = writer(shape.member, memo)
    if shape.traits.get("flattened"):
        own_name = shape.member.traits.get("locationName")
        return lambda name, values: "".join(item(own_name or name, one) for one in values)
    element = shape.member.wire_name("member")
    return lambda name, values: f"<{name}>{''.join(item(element, one) for one in values)}</{name}>"


def _map_writer(shape: Shape, memo: dict[str, XmlWriter]) -> XmlWriter:
    write_key, write_value = writer(shape.key, memo), writer(shape.value, memo)
    key_name, value_name = shape.key.wire_name("key"), shape.value.wire_name("value")

    def entries(element: str, values: Mapping[str, Any]) -> str:
        return "".join(
            f"<{element}>{write_key(key_name, key)}{write_value(value_name, value)}</{element}>"
            for key, value in values.items()
        )

    if shape.traits.get("flattened"):
        return entries
    return lambda name, values: f"<{name}>{entries('entry', values)}</{name}>"
