"""The frames that server and runtime exchange over a socket pair: length (4 bytes, big-endian), kind (1), payload.

`guest/preheat_client.py` is the other end and lists the kinds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_HEAD = struct.Struct("!IB")


def whole_frames(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """(kind, payload) of every whole frame, each taken off the buffer's front before it is given."""
    while len(buffer) >= _HEAD.size:
        size, kind = _HEAD.unpack_from(buffer)
        end = _HEAD.size + size
        if len(buffer) < end:
            return
        payload = bytes(memoryview(buffer)[_HEAD.size : end])
        del buffer[:end]
        yield kind, payload
