"""AWS's event stream encoding (`application/vnd.amazon.eventstream`): messages of headers and a payload.

A message is: total length, headers' length, CRC-32 of these eight bytes, headers, payload, CRC-32 of all before
(big-endian; Smithy specification, "Amazon Event Stream").
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from preheat.aws import json_codec
from preheat.aws.json_codec import Codec
from preheat.aws.model import Shape

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7
"""The type of a header value that is a string."""


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message; header names are at most 255 bytes and values 65,535."""
    block = b"".join(_header(name.encode(), value.encode()) for name, value in headers.items())
    prelude = struct.pack("!II", 16 + len(block) + len(payload), len(block))
    head = prelude + struct.pack("!I", zlib.crc32(prelude)) + block
    return head + payload + struct.pack("!I", zlib.crc32(payload, zlib.crc32(head)))


def _header(name: bytes, value: bytes) -> bytes:
    return struct.pack("!B", len(name)) + name + struct.pack("!BH", _STRING, len(value)) + value


def writer(shape: Shape, memo: dict[str, Codec | None]) -> Callable[[Iterable[Mapping[str, Any]]], bytes]:
    """Encodes events, each a dict of one member of the event stream's shape, e.g. `{"PayloadChunk": {...}}`."""
    members = {name: _event_writer(name, member, memo) for name, member in shape.members.items()}

    def write(events: Iterable[Mapping[str, Any]]) -> bytes:
        return b"".join(members[name](value) for event in events for name, value in event.items())

    return write


def _event_writer(name: str, shape: Shape, memo: dict[str, Codec | None]) -> Callable[[Mapping[str, Any]], bytes]:
    headers = {":message-type": "event", ":event-type": name}
    blob = next((member for member, each in shape.members.items() if each.traits.get("eventpayload")), None)
    if blob is not None:
        raw = {**headers, ":content-type": "application/octet-stream"}
        return lambda value: message(raw, bytes(value.get(blob) or b""))
    typed = {**headers, ":content-type": "application/json"}
    write = json_codec.writer(shape, memo)
    return lambda value: message(typed, json_codec.encode(write(value) if write else value))


class EventStream:
    """The messages of events that are still to come, as the body of a response. Whoever reads it closes it."""

    def __init__(
        self, events: AsyncIterator[Mapping[str, Any]], write: Callable[[Iterable[Mapping[str, Any]]], bytes]
    ) -> None:
        self._events = events
        self._write = write

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> bytes:
        return self._write([await anext(self._events)])

    async def aclose(self) -> None:
        aclose = getattr(self._events, "aclose", None)
        if aclose is not None:
            await aclose()
