"""The journal: one JSON line per phase record, appended at once and never changed.

Lines go to segments `<data_dir>/journal/<epoch ms>.jsonl`; what `write` returned from survives
`kill -9`. The study reads them through `/_preheat/journal`.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from preheat.kernel.events import RECORD_TYPES, Record

log = logging.getLogger(__name__)

_SEGMENT_BYTES = 64 * 2**20
_CHUNK_BYTES = 8 * 2**20
_SEGMENTS_MAX = 32
"""2 GB of records, some six million invocations; the oldest segments go first."""


class Journal:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._encode = msgspec.json.Encoder().encode
        self._heads = {kind: b'{"type":"' + name.encode() + b'",' for kind, name in RECORD_TYPES.items()}
        self._fd = -1
        self._room = 0

    def write(self, record: Record) -> None:
        line = self._heads[type(record)] + self._encode(record)[1:] + b"\n"
        try:
            if self._room < len(line):
                self._rotate()
            os.write(self._fd, line)
        except OSError as error:  # a full disk must not cost the request its answer
            log.error("journal: a record was lost: %s", error)
            return
        self._room -= len(line)

    def read(self, since_ms: float = 0.0, function: str = "") -> Iterator[bytes]:
        """Lines (with their newline) of records from `since_ms` on, oldest first; a function's, if named.

        A line torn by a crash is left out.
        """
        segments = self._segments()
        for position, segment in enumerate(segments):
            following = segments[position + 1 : position + 2]
            if following and int(following[0].stem) < since_ms - 1_000_000:
                continue  # all of it is older: a record is written at most 900 s after it was received
            with segment.open("rb") as lines:
                for line in lines:
                    if line.endswith(b"\n") and _wanted(line, since_ms, function):
                        yield line

    def segment_at(self, at_ms: float) -> int:
        """The segment that was written to at a time (epoch ms); the oldest there is where it was before that."""
        numbers = [int(path.stem) for path in self._segments()]
        return max((number for number in numbers if number <= at_ms), default=min(numbers, default=0))

    def chunks(
        self, segment: int, offset: int, stop: tuple[int, int] | None = None
    ) -> Iterator[tuple[bytes, int, int]]:
        """(whole lines, segment, offset behind them) from a position on, in order of writing; up to `stop` where given.

        May run on any thread, beside `write`. A line torn by a crash is left out.
        """
        for path in self._segments():
            number = int(path.stem)
            if number < segment or (stop is not None and number > stop[0]):
                continue
            at = offset if number == segment else 0
            room = stop[1] - at if stop is not None and number == stop[0] else sys.maxsize
            try:
                lines = path.open("rb")
            except FileNotFoundError:
                continue  # the oldest segments go while somebody reads
            with lines:
                lines.seek(at)
                while (end := (data := lines.read(min(_CHUNK_BYTES, room))).rfind(b"\n") + 1) > 0:
                    at, room = at + end, room - end
                    lines.seek(at)
                    yield data[:end], number, at

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._room = 0

    def _segments(self) -> list[Path]:
        return sorted(self._directory.glob("*.jsonl"), key=lambda path: int(path.stem))

    def _rotate(self) -> None:
        self.close()
        segments = self._segments()
        for old in segments[: max(0, len(segments) - _SEGMENTS_MAX + 1)]:
            old.unlink()
        newest = int(segments[-1].stem) if segments else 0
        path = self._directory / f"{max(int(time.time() * 1000), newest + 1)}.jsonl"
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._room = _SEGMENT_BYTES


class _Stamp(msgspec.Struct):
    at_ms: float
    function: str


_stamp = msgspec.json.Decoder(_Stamp)


def _wanted(line: bytes, since_ms: float, function: str) -> bool:
    try:
        stamp = _stamp.decode(line)
    except msgspec.DecodeError:
        return False
    return stamp.at_ms >= since_ms and function in ("", stamp.function)
