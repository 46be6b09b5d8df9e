"""The query protocol's requests: `Tags.member.1.Key=a&...` to parameters, by shape.

Names follow botocore's QuerySerializer and Smithy's awsQuery: a structure's members by `locationName`, a
list as `.member.N` (or its member's `locationName`; nothing where flattened), a map as `.entry.N.key|value`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from preheat.aws.failures import malformed
from preheat.aws.model import Shape
from preheat.aws.text_codec import text_reader

Tree = dict[str, Any]
"""Keys are the parts between dots; the empty key holds the value of the name that ends here."""

FormReader = Callable[[Tree], Any]


def decode(body: bytes) -> Tree:
    """The tree of a form body or query string; raises AwsError SerializationException."""
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True)
    except ValueError as error:
        raise malformed(f"The request body is not a form: {error}") from error
    root: Tree = {}
    for name, value in pairs:
        node = root
        for part in name.split("."):
            node = node.setdefault(part, {})
        node[""] = value
    return root


def reader(shape: Shape, memo: dict[str, FormReader]) -> FormReader:
    if shape.type == "structure":
        return _structure_reader(shape, memo)
    if shape.type == "list":
        return _list_reader(shape, memo)
    if shape.type == "map":
        return _map_reader(shape, memo)
    read = text_reader(shape)
    return lambda tree: read(tree.get("", ""))


def _structure_reader(shape: Shape, memo: dict[str, FormReader]) -> FormReader:
    if shape.name in memo:
        return memo[shape.name]
    fields: dict[str, tuple[str, FormReader]] = {}

    def read(tree: Tree) -> dict[str, Any]:
        return {fields[part][0]: fields[part][1](branch) for part, branch in tree.items() if part in fields}

    memo[shape.name] = read
    for name, member in shape.members.items():
        field = (name, reader(member, memo))
        fields[member.wire_name(name)] = field
        if member.type == "list" and member.traits.get("flattened"):  # botocore uses the elements' name here
            fields[member.member.wire_name(member.wire_name(name))] = field
    return read


def _list_reader(shape: Shape, memo: dict[str, FormReader]) -> FormReader:
    item = reader(shape.member, memo)
    part = None if shape.traits.get("flattened") else shape.member.wire_name("member")

    def read(tree: Tree) -> list[Any]:
        return [item(branch) for branch in _numbered(tree if part is None else tree.get(part, {}))]

    return read


def _map_reader(shape: Shape, memo: dict[str, FormReader]) -> FormReader:
    read_key, read_value = reader(shape.key, memo), reader(shape.value, memo)
    key_part, value_part = shape.key.wire_name("key"), shape.value.wire_name("value")
    flattened = bool(shape.traits.get("flattened"))

    def read(tree: Tree) -> dict[str, Any]:
        entries = _numbered(tree if flattened else tree.get("entry", {}))
        return {
            read_key(entry.get(key_part, {})): read_value(entry[value_part]) for entry in entries if value_part in entry
        }

    return read


def _numbered(tree: Tree) -> list[Tree]:
    """Branches 1, 2, ... in numeric order, whatever gaps or order they were sent in."""
    return [tree[part] for part in sorted((part for part in tree if part.isdecimal()), key=int)]
