"""hypothesis strategies for values of botocore's shapes, kept to what the wire can carry unambiguously."""

from __future__ import annotations

from datetime import UTC, datetime

from botocore.model import Shape
from hypothesis import strategies as st

_XML_TEXT = st.text(
    st.characters(
        min_codepoint=9,
        exclude_categories=("Cs",),
        exclude_characters=[chr(code) for code in (*range(0x0B, 0x0D), *range(0x0E, 0x20), 0xFFFE, 0xFFFF)],
    ),
    max_size=12,
)
_TOKEN = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='",'), min_size=1, max_size=12
)
_LABEL = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12).filter(lambda text: text != ".")
_MAX_DEPTH = 3


def values(shape: Shape, depth: int = 0) -> st.SearchStrategy:
    """A value of the shape; structures hold some of their members, lists and maps at least one item."""
    kind = shape.type_name
    if kind == "structure":
        return structures(shape, depth)
    if kind == "list":
        return st.lists(values(shape.member, depth + 1), min_size=1, max_size=2)
    if kind == "map":
        return st.dictionaries(_TOKEN, values(shape.value, depth + 1), min_size=1, max_size=2)
    return _scalars(shape)


def structures(shape: Shape, depth: int = 0) -> st.SearchStrategy:
    if depth > _MAX_DEPTH and not shape.is_tagged_union:
        return st.just({})
    required = {name: _member(shape, name, depth) for name in shape.members if _is_label(shape.members[name])}
    optional = [name for name in shape.members if name not in required]
    if not optional:
        return st.fixed_dictionaries(required)
    least, most = (1, 1) if shape.is_tagged_union else (0, 4)
    chosen = st.lists(st.sampled_from(optional), min_size=least, max_size=most, unique=True)
    return chosen.flatmap(
        lambda names: st.fixed_dictionaries({**required, **{name: _member(shape, name, depth) for name in names}})
    )


def _is_label(member: Shape) -> bool:
    return member.serialization.get("location") == "uri"


def _member(shape: Shape, name: str, depth: int) -> st.SearchStrategy:
    member = shape.members[name]
    location = member.serialization.get("location")
    if location == "statusCode":
        return st.sampled_from((200, 201, 202))
    if location in ("header", "headers"):
        return _TOKEN if member.type_name == "string" else values(member, depth + 1)
    if location == "uri":
        return _LABEL if member.type_name == "string" else values(member, depth + 1)
    if member.type_name == "blob" and shape.serialization.get("payload") == name:
        return st.text(st.characters(codec="ascii"), min_size=1, max_size=20).map(str.encode)
    return values(member, depth + 1)


def _scalars(shape: Shape) -> st.SearchStrategy:
    return {
        "string": _XML_TEXT,
        "character": _XML_TEXT,
        "integer": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "float": st.floats(allow_nan=False, allow_infinity=False),
        "double": st.floats(allow_nan=False, allow_infinity=False),
        "boolean": st.booleans(),
        "blob": st.binary(max_size=20),
        "timestamp": st.integers(0, 4102444800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    }[shape.type_name]
