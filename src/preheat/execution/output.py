"""What a runtime writes, as log events in the order written.

Standard output, standard error and the telemetry log's frames share one pipe, so their order is theirs.
Plain text is one event per line; a frame (FIDELITY.md, "Log framing") is one event whatever lines it has.
"""

from __future__ import annotations

import struct
import time

from preheat.kernel.function import LogEvent

_FRAME = struct.Struct("!IIQ")
_MAGIC = b"\xa5\x5a\x00"
"""The first bytes of every frame type; never valid UTF-8, so text does not hold them."""
MARK_TYPE = 0xA55A00FF
"""Our own frame, without a body: what follows belongs to the n-th request that the runtime was sent ahead
(`guest/preheat_client.py`); n stands in the place of the time."""
MARK_MS = -1
"""The time of such a mark among events: (MARK_MS, str(n))."""
EVENT_MAX_BYTES = 262_144
"""A longer event is cut into several, as CloudWatch's agents do (256 KB an event)."""


class OutputParser:
    """Feed it what came out of the pipe; it gives back whole events."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes, now_ms: int) -> list[LogEvent]:
        events: list[LogEvent] = []
        rest = self._pending + data if self._pending else data
        while rest:
            mark = rest.find(_MAGIC)
            if mark == 0:
                event, rest, whole = _frame(rest)
                if not whole:
                    break
                if event is not None:
                    events.append(event)
                continue
            text = rest if mark < 0 else rest[:mark]
            if mark < 0 and (newline := text.rfind(b"\n") + 1) < len(text) and len(text) - newline < EVENT_MAX_BYTES:
                _lines(text[:newline], now_ms, events)
                rest = rest[newline:]
                break
            _lines(text, now_ms, events)
            rest = rest[len(text) :]
        self._pending = rest
        return _in_order(events, now_ms) if len(events) > 1 else events

    def flush(self, now_ms: int) -> list[LogEvent]:
        """What is left without a line's end, or of a frame that never became whole."""
        events: list[LogEvent] = []
        if not self._pending:
            return events
        rest, self._pending = self._pending, b""
        _lines(rest, now_ms, events)
        return events


def _in_order(events: list[LogEvent], now_ms: int) -> list[LogEvent]:
    """A frame says when it was written, text is given the time of reading: text before a frame is no younger than it,
    or whoever sorts by time would see it after."""
    latest, ordered = now_ms, []
    for at_ms, message in reversed(events):
        if at_ms != MARK_MS:
            at_ms = latest = min(at_ms, latest)
        ordered.append((at_ms, message))
    return ordered[::-1]


def _frame(data: bytes) -> tuple[LogEvent | None, bytes, bool]:
    """(event, rest, whether the frame was whole). A frame too long to be one is taken as text."""
    if len(data) < _FRAME.size:
        return None, data, False
    kind, size, at_us = _FRAME.unpack_from(data)
    if kind == MARK_TYPE:
        return (MARK_MS, str(at_us)), data[_FRAME.size :], True
    if size > 4 * EVENT_MAX_BYTES:
        return (int(time.time() * 1000), data[:4].decode("utf-8", "replace")), data[4:], True
    end = _FRAME.size + size
    if len(data) < end:
        return None, data, False
    message = data[_FRAME.size : end].decode("utf-8", "replace")
    return (at_us // 1000, message), data[end:], True


def _lines(text: bytes, now_ms: int, events: list[LogEvent]) -> None:
    *lines, last = text.split(b"\n")  # by LF alone: a CR stays inside its event, as on AWS
    for line in (*(line + b"\n" for line in lines), last):
        pieces = range(0, len(line), EVENT_MAX_BYTES)
        events.extend((now_ms, line[at : at + EVENT_MAX_BYTES].decode("utf-8", "replace")) for at in pieces)
