"""Which events make a page, and the tokens between pages. Everything works on keys (see `StoredEvent`)."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from preheat.services.logs.failures import bad_token
from preheat.services.logs.store import EVENT_OVERHEAD_BYTES
from preheat.services.logs.stream import LogStream, StoredEvent

MAX_EVENTS = 10_000
MAX_BYTES = 1_048_576
"""GetLogEvents and FilterLogEvents: at most 10,000 events or 1 MB a page."""

SCAN_EVENTS = 10_000
"""FilterLogEvents looks at no more than this in one call (about 0.1 s) and says by its token that there is more,
as AWS does: reading must not hold up the functions that are being served."""

_TOKEN = re.compile(r"^([fb])/(\d{56})$")


@dataclass(frozen=True, slots=True)
class Page:
    events: list[StoredEvent]
    forward: str
    backward: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """A gap in the order of events: after the event with `key` (forward) or before it (backward)."""

    forward: bool
    key: int


OLDEST, NEWEST = Cursor(True, 0), Cursor(False, 10**56 - 1)
"""Before and after all events."""


def event_id(key: int) -> str:
    return f"{key:056d}"


def token(cursor: Cursor) -> str:
    return f"{'f' if cursor.forward else 'b'}/{event_id(cursor.key)}"


def parse_token(given: str) -> Cursor:
    """Raises AwsError for what `token` never gave out."""
    match = _TOKEN.match(given)
    if match is None:
        raise bad_token()
    return Cursor(match[1] == "f", int(match[2]))


def stream_page(stream: LogStream, low: int, high: int, cursor: Cursor | None, from_head: bool, limit: int) -> Page:
    """A page of one stream out of the places [low, high). Without a cursor: its first or its last events.

    At either end of the stream the token that was used comes back, which is how readers know.
    """
    forward = cursor.forward if cursor else from_head
    if forward:
        begin = max(low, stream.first_after(cursor.key)) if cursor else low
        events = _fill(stream, range(begin, high), limit)
    else:
        end = min(high, stream.first_from(cursor.key)) if cursor else high
        events = _fill(stream, range(end - 1, low - 1, -1), limit)[::-1]
    if events:
        after, before = events[-1].key, events[0].key
    elif cursor is None:
        after = before = 0
    else:  # an empty page: one token as it came, the other at the same gap seen from the other side
        after = cursor.key if forward else max(0, cursor.key - 1)
        before = cursor.key + 1 if forward else cursor.key
    return Page(events, token(Cursor(True, after)), token(Cursor(False, before)))


def _fill(stream: LogStream, places: Iterable[int], limit: int) -> list[StoredEvent]:
    events: list[StoredEvent] = []
    room = MAX_BYTES
    for place in places:
        if len(events) == limit:
            break
        event = stream.read(place)
        room -= size_bytes(event.message)
        if room < 0 and events:
            break
        events.append(event)
    return events


def size_bytes(message: str) -> int:
    """An event's size as CloudWatch counts it."""
    return len(message.encode()) + EVENT_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class Found:
    """`events` with their streams; `next` is where to go on, None at the end."""

    events: list[tuple[LogStream, StoredEvent]]
    next: Cursor | None


def scan(
    streams: Iterable[LogStream],
    window: tuple[int | None, int | None],
    cursor: Cursor,
    limit: int,
    wanted: Callable[[str], bool],
    open_stream: Callable[[LogStream], LogStream],
) -> Found:
    """Events of several (indexed) streams with a time in `window` and a wanted message, from the cursor on: in order
    of time, or from the newest to the oldest where it looks backward."""
    events: list[tuple[LogStream, StoredEvent]] = []
    room = MAX_BYTES
    last_key = cursor.key
    places = (_places(stream, window, cursor) for stream in streams)
    merged = heapq.merge(*places, key=lambda item: item[0], reverse=not cursor.forward)
    for looked_at, (key, stream, place) in enumerate(merged):
        if looked_at == SCAN_EVENTS or len(events) == limit:
            return Found(events, Cursor(cursor.forward, last_key))
        event = open_stream(stream).read(place)
        if wanted(event.message):
            room -= size_bytes(event.message)
            if room < 0 and events:
                return Found(events, Cursor(cursor.forward, last_key))
            events.append((stream, event))
        last_key = key
    return Found(events, None)


def _places(
    stream: LogStream, window: tuple[int | None, int | None], cursor: Cursor
) -> Iterator[tuple[int, LogStream, int]]:
    low, high = stream.between(*window)
    if cursor.forward:
        places = range(max(low, stream.first_after(cursor.key)), high)
    else:
        places = range(min(high, stream.first_from(cursor.key)) - 1, low - 1, -1)
    for place in places:
        yield stream.key(place), stream, place
