"""JSON bodies by shape: compiled once into closures, for reading requests and writing results.

Readers take decoded JSON and return Python values (bytes for blobs, aware datetimes); they raise
AwsError SerializationException in AWS's words (from public reports of `NUMBER_VALUE can not be converted
to a String` and `Start of structure or map found where not expected.`). Writers do the reverse, drop None
and raise TypeError for a member the model does not have: that is a fault of the provider.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from preheat.aws import timestamps
from preheat.aws.failures import malformed
from preheat.aws.model import Shape
from preheat.kernel.errors import AwsError

Codec = Callable[[Any], Any]


class Mismatch(AwsError):
    """A JSON value that does not fit its type; `in_java` says so in the words of API Gateway, which is older."""

    def __init__(self, token: str, wanted: str, java: str) -> None:
        super().__init__("SerializationException", f"{token} can not be converted to {_JAVA_TYPES.get(wanted, wanted)}")
        self._wanted = wanted
        self._java = java

    def in_java(self) -> AwsError:
        """Recorded: test_put_integration_request_parameter_bool_type, ..._response_invalid_responsetemplates."""
        name = _JAVA_TYPES.get(self._wanted)
        if name is None:  # a list, map or structure, of which nothing is recorded
            return self
        return malformed(f"class {self._java} can not be converted to an {name.rpartition(' ')[2]}")


_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_JAVA_TYPES = {
    "string": "a String",
    "character": "a String",
    "integer": "an Integer",
    "long": "a Long",
    "float": "a Float",
    "double": "a Double",
    "boolean": "a Boolean",
    "blob": "a Blob",
    "timestamp": "a Timestamp",
}


def decode(body: bytes) -> Any:
    """The JSON value of a request body; raises AwsError SerializationException."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(f"Could not parse request body into json: {error}") from error


encode = msgspec.json.Encoder().encode


def reader(shape: Shape, memo: dict[str, Codec]) -> Codec:
    """Compile the reader of a shape; `memo` (per service) ties recursive structures."""
    if shape.type == "structure":
        return _structure_reader(shape, memo)
    if shape.type == "list":
        return _list_reader(reader(shape.member, memo), bool(shape.traits.get("sparse")))
    if shape.type == "map":
        return _map_reader(reader(shape.value, memo), bool(shape.traits.get("sparse")))
    return _SCALAR_READERS[shape.type]


def writer(shape: Shape, memo: dict[str, Codec | None]) -> Codec | None:
    """Compile the writer of a shape; None where JSON takes the Python value as it is."""
    if shape.type == "structure":
        return _structure_writer(shape, memo)
    if shape.type == "list":
        item = writer(shape.member, memo)
        return None if item is None else _list_writer(item)
    if shape.type == "map":
        item = writer(shape.value, memo)
        return None if item is None else _map_writer(item)
    if shape.type == "timestamp":
        return timestamp_writer(shape.traits.get("timestampFormat", "unixTimestamp"))
    return _SCALAR_WRITERS.get(shape.type)


# ---- reading -------------------------------------------------------------------------------------


def _mismatch(value: Any, wanted: str) -> AwsError:
    if isinstance(value, dict):
        return malformed("Start of structure or map found where not expected.")
    if isinstance(value, list):
        return malformed("Start of list found where not expected")
    if isinstance(value, bool):
        return Mismatch("TRUE_VALUE" if value else "FALSE_VALUE", wanted, "java.lang.Boolean")
    if isinstance(value, str):
        return Mismatch("STRING_VALUE", wanted, "java.lang.String")
    return Mismatch("NUMBER_VALUE", wanted, "com.amazon.coral.value.json.numbers.TruncatingBigNumber")


def _structure_reader(shape: Shape, memo: dict[str, Codec]) -> Codec:
    if shape.traits.get("document"):
        return _as_is
    if shape.name in memo:
        return memo[shape.name]
    fields: dict[str, tuple[str, Codec]] = {}
    memo[shape.name] = read = _fields_reader(fields)
    fields.update(_read_fields(shape.members, memo))
    return read


def object_reader(members: Mapping[str, Shape], memo: dict[str, Codec]) -> Codec:
    """The reader of a JSON object that holds these members; others are ignored, as AWS does."""
    return _fields_reader(_read_fields(members, memo))


def _read_fields(members: Mapping[str, Shape], memo: dict[str, Codec]) -> dict[str, tuple[str, Codec]]:
    return {member.wire_name(name): (name, reader(member, memo)) for name, member in members.items()}


def _fields_reader(fields: Mapping[str, tuple[str, Codec]]) -> Codec:
    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise _mismatch(value, "a structure")
        result = {}
        for wire_name, item in value.items():
            if item is not None and (field := fields.get(wire_name)) is not None:
                result[field[0]] = field[1](item)
        return result

    return read


def _list_reader(item: Codec, sparse: bool) -> Codec:
    def read(value: Any) -> list[Any]:
        if type(value) is not list:
            raise _mismatch(value, "a list")
        return [None if one is None else item(one) for one in value if sparse or one is not None]

    return read


def _map_reader(item: Codec, sparse: bool) -> Codec:
    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise _mismatch(value, "a map")
        return {key: None if one is None else item(one) for key, one in value.items() if sparse or one is not None}

    return read


def _as_is(value: Any) -> Any:
    return value


def _read_string(value: Any) -> str:
    if type(value) is str:
        return value
    raise _mismatch(value, "string")


def _read_integer(value: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    raise _mismatch(value, "integer")


def _read_float(value: Any) -> float:
    if type(value) is int or type(value) is float:
        return float(value)  # AWS shows it back as 2.0
    if type(value) is str and value in _NON_FINITE:
        return _NON_FINITE[value]
    raise _mismatch(value, "double")


def _read_boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise _mismatch(value, "boolean")


def read_blob(value: Any) -> bytes:
    if type(value) is bytes:  # CBOR has them as they are
        return value
    if type(value) is not str:
        raise _mismatch(value, "blob")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed(f"Invalid base64: {error}") from error


def _read_timestamp(value: Any) -> datetime:
    if type(value) is datetime:  # CBOR's tag 1
        return value
    if type(value) is bool or not isinstance(value, str | int | float):
        raise _mismatch(value, "timestamp")
    try:
        return timestamps.parse(value)
    except ValueError as error:
        raise malformed(str(error)) from error


_SCALAR_READERS: dict[str, Codec] = {
    "string": _read_string,
    "character": _read_string,
    "integer": _read_integer,
    "long": _read_integer,
    "float": _read_float,
    "double": _read_float,
    "boolean": _read_boolean,
    "blob": read_blob,
    "timestamp": _read_timestamp,
}


# ---- writing -------------------------------------------------------------------------------------


def _structure_writer(shape: Shape, memo: dict[str, Codec | None]) -> Codec | None:
    if shape.traits.get("document"):
        return None
    if shape.name in memo:
        return memo[shape.name]
    fields: dict[str, tuple[str, Codec | None]] = {}

    def write(value: Mapping[str, Any]) -> dict[str, Any]:
        result = {}
        for name, item in value.items():
            if name not in fields:
                raise TypeError(f"{shape.name} has no member {name!r}")
            if item is not None:
                wire_name, encode_item = fields[name]
                result[wire_name] = item if encode_item is None else encode_item(item)
        return result

    memo[shape.name] = write
    for name, member in shape.members.items():
        fields[name] = (member.wire_name(name), writer(member, memo))
    return write


def _list_writer(item: Codec) -> Codec:
    def write(value: Any) -> list[Any]:
        return [None if one is None else item(one) for one in value]

    return write


def _map_writer(item: Codec) -> Codec:
    def write(value: Any) -> dict[str, Any]:
        return {key: None if one is None else item(one) for key, one in value.items()}

    return write


def timestamp_writer(style: str) -> Codec:
    if style == "unixTimestamp":
        return timestamps.epoch_seconds
    return lambda moment: timestamps.render(moment, style)


def _write_float(value: float) -> float | str:
    """JSON has no words for these; AWS's protocols write them as strings (Smithy: awsJson1_1, number)."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _write_blob(value: bytes) -> str:
    return base64.b64encode(value).decode()


_SCALAR_WRITERS: dict[str, Codec] = {"float": _write_float, "double": _write_float, "blob": _write_blob}
