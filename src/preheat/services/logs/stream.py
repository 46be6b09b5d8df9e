"""One log stream: a file of JSON lines that only grows, and an index over it made when somebody reads."""

from __future__ import annotations

import errno
import os
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

_READ_BYTES = 8 << 20
"""Larger than the longest line: 1 MB of message, each byte escaped to six."""

_SEQUENCES = 10**18
_KEYS_PER_MS = 10**36
_DECODER = msgspec.json.Decoder(tuple[int, int, str])


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """`key` orders events over all streams: by time, then stream, then arrival; as 56 digits it is the eventId."""

    key: int
    timestamp_ms: int
    ingestion_ms: int
    message: str


@dataclass(slots=True, eq=False)
class LogStream:
    """Events in the file are `[timestamp_ms, ingestion_ms, message]`, one a line, in order of arrival.

    `fd` is -1 while the file is closed (the store opens it), `size_bytes` -1 until it was opened once.
    Readers see events in order of time; those of one millisecond in order of arrival.
    """

    id: int
    name: str
    created_ms: int
    path: Path
    fd: int = -1
    size_bytes: int = -1
    last_ingestion_ms: int = 0
    _indexed_bytes: int = 0
    _timestamps: array[int] = field(default_factory=lambda: array("q"))
    _offsets: array[int] = field(default_factory=lambda: array("q"))
    _order: array[int] | None = None
    """Arrival numbers in order of time; None while that is the order of arrival."""

    def open(self) -> None:
        """Open the file; the first time, cut off a line that a crash left half written."""
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        if self.size_bytes < 0:
            found = os.fstat(self.fd).st_size
            self.size_bytes = _whole_lines(self.fd, found)
            if self.size_bytes < found:
                os.ftruncate(self.fd, self.size_bytes)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @property
    def stored_bytes(self) -> int:
        """How large the file is, without reading it."""
        if self.size_bytes >= 0:
            return self.size_bytes
        try:
            return self.path.stat().st_size
        except FileNotFoundError:  # no event yet
            return 0

    def append(self, lines: bytes) -> None:
        """One write. If the disk is full nothing of it stays, and OSError is raised."""
        written = os.write(self.fd, lines)
        if written != len(lines):
            os.ftruncate(self.fd, self.size_bytes)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self.size_bytes += written

    # reading: the file must be open, and `refresh` comes first

    @property
    def stale(self) -> bool:
        """Whether `refresh` has something to do."""
        return self._indexed_bytes != self.size_bytes

    def refresh(self) -> None:
        """Index what was appended since the last time."""
        ordered = self._order is None
        before = self._timestamps[-1] if self._timestamps else 0
        while self._indexed_bytes < self.size_bytes:
            chunk = os.pread(self.fd, min(_READ_BYTES, self.size_bytes - self._indexed_bytes), self._indexed_bytes)
            lines = chunk[: chunk.rindex(b"\n")].split(b"\n")
            offset = self._indexed_bytes
            for line in lines:
                timestamp = int(line[1 : line.index(b",")])
                ordered = ordered and timestamp >= before
                before = timestamp
                self._timestamps.append(timestamp)
                self._offsets.append(offset)
                offset += len(line) + 1
            self._indexed_bytes = offset
            self.last_ingestion_ms = _DECODER.decode(lines[-1])[1]
        if not ordered:
            self._order = array("q", sorted(range(len(self._timestamps)), key=self._timestamps.__getitem__))

    def __len__(self) -> int:
        """How many events are indexed."""
        return len(self._timestamps)

    def _arrival(self, place: int) -> int:
        return place if self._order is None else self._order[place]

    def timestamp(self, place: int) -> int:
        """The time of the event at a place in order of time (negative places count from the end)."""
        return self._timestamps[self._arrival(place)]

    def key(self, place: int) -> int:
        arrival = self._arrival(place)
        return self._timestamps[arrival] * _KEYS_PER_MS + self.id * _SEQUENCES + arrival

    def between(self, start_ms: int | None, end_ms: int | None) -> tuple[int, int]:
        """Places [low, high) of the events with start_ms <= time < end_ms; None leaves a side open."""
        places = range(len(self))
        low = 0 if start_ms is None else bisect_left(places, start_ms, key=self.timestamp)
        high = len(self) if end_ms is None else bisect_left(places, end_ms, key=self.timestamp)
        return low, max(low, high)

    def first_after(self, key: int) -> int:
        """The place of the first event whose key is greater."""
        return bisect_right(range(len(self)), key, key=self.key)

    def first_from(self, key: int) -> int:
        """The place of the first event whose key is not smaller."""
        return bisect_left(range(len(self)), key, key=self.key)

    def read(self, place: int) -> StoredEvent:
        arrival = self._arrival(place)
        start = self._offsets[arrival]
        last = arrival + 1 == len(self._offsets)
        end = self._indexed_bytes if last else self._offsets[arrival + 1]
        timestamp_ms, ingestion_ms, message = _DECODER.decode(os.pread(self.fd, end - start, start))
        return StoredEvent(self.key(place), timestamp_ms, ingestion_ms, message)


def _whole_lines(fd: int, size: int) -> int:
    """How many of the first `size` bytes belong to finished lines."""
    end = size
    while end > 0:
        start = max(0, end - _READ_BYTES)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
