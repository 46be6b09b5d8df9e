"""CBOR bodies by shape (RFC 8949, as Smithy's rpcv2Cbor uses it): timestamps are tag 1, blobs byte strings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preheat.aws.failures import malformed
from preheat.aws.model import Shape


def decode(body: bytes) -> Any:
    """The value of a request body, times as datetimes; raises AwsError SerializationException."""
    import cbor2  # 30 ms, for the few services that speak it

    try:
        return cbor2.loads(body)
    except (cbor2.CBORError, ValueError, OverflowError, RecursionError) as error:
        raise malformed(f"Could not parse request body into cbor: {error}") from error


def encode(shape: Shape | None, value: Mapping[str, Any]) -> bytes:
    """A structure's members by their names in the model; raises TypeError for one it does not have."""
    import cbor2

    return cbor2.dumps({} if shape is None else _prepared(shape, value), datetime_as_timestamp=True)


def _prepared(shape: Shape, value: Any) -> Any:
    if value is None:
        return None
    if shape.type == "structure":
        return _members(shape, value)
    if shape.type == "list":
        item = shape.member
        return [_prepared(item, one) for one in value]
    if shape.type == "map":
        item = shape.value
        return {key: _prepared(item, one) for key, one in value.items()}
    if shape.type in ("float", "double"):
        return float(value)
    return value


def _members(shape: Shape, value: Mapping[str, Any]) -> dict[str, Any]:
    members = shape.members
    unknown = value.keys() - members.keys()
    if unknown:
        raise TypeError(f"{shape.name} has no member {min(unknown)!r}")
    present = {name: item for name, item in value.items() if item is not None}
    return {members[name].wire_name(name): _prepared(members[name], item) for name, item in present.items()}
