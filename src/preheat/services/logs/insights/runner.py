"""Queries under way and done: one thread works them off in turn, so that no reader holds up a function."""

from __future__ import annotations

import base64
import binascii
import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from preheat.services.logs.insights.language import Counts, Query
from preheat.services.logs.insights.records import Record
from preheat.services.logs.insights.values import text

log = logging.getLogger(__name__)

_KEPT = 100
_KEPT_CHARACTERS = 64 << 20
"""Results of this many queries, of this size together, can be read, the newest's in any case; AWS keeps them for seven
days."""

_EVENT_OVERHEAD_BYTES = 26
_PUT_AHEAD_MS = 2 * 3_600_000
"""PutLogEvents takes events up to two hours ahead: a file not written since may still hold them."""

_event = msgspec.json.Decoder(tuple[int, int, str])


@dataclass(frozen=True, slots=True)
class Source:
    """One log stream's file; `log` is `<account>:<group>`."""

    log: str
    stream: str
    stream_id: int
    path: Path


@dataclass(slots=True)
class QueryRun:
    """`text` is the query with its source and times before it, as DescribeQueries shows it (recorded on AWS).

    `status` is one of AWS's: Scheduled, Running, Complete, Failed, Cancelled. `rows` are (field, value) pairs.
    """

    id: str
    text: str
    groups: list[str]
    created_s: int
    status: str = "Scheduled"
    rows: list[list[tuple[str, str]]] = field(default_factory=list)
    size: int = 0
    """Characters in the rows."""
    matched: int = 0
    scanned: int = 0
    scanned_bytes: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def unfinished(self) -> bool:
        return self.status in ("Scheduled", "Running")


class _StoppedError(Exception):
    pass


class QueryRunner:
    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, "insights")
        self.runs: OrderedDict[str, QueryRun] = OrderedDict()
        """By id, oldest first."""

    def close(self) -> None:
        """End what is under way."""
        for run in self.runs.values():
            run.stopping.set()
        self._worker.shutdown()

    def start(
        self, query: Query, words: str, groups: list[str], sources: Sequence[Source], window: tuple[int, int]
    ) -> QueryRun:
        """`window` is (first, last) millisecond of the events wanted."""
        run = QueryRun(str(uuid.uuid4()), words, groups, int(time.time()))
        self.runs[run.id] = run
        self._forget()
        self._worker.submit(_work, run, query, sources, window)
        return run

    def _forget(self) -> None:
        """Drop the oldest results that are too many or too large."""
        size = 0
        for number, run in enumerate(reversed(list(self.runs.values()))):
            size += run.size
            if not run.unfinished and (number >= _KEPT or size - run.size > _KEPT_CHARACTERS):
                del self.runs[run.id]

    def stop(self, run: QueryRun) -> None:
        run.stopping.set()
        if run.status == "Scheduled":
            run.status = "Cancelled"


def _work(run: QueryRun, query: Query, sources: Sequence[Source], window: tuple[int, int]) -> None:
    if run.stopping.is_set():
        run.status = "Cancelled"
        return
    run.status = "Running"
    counts = Counts()
    try:
        found = query.run(_records(run, sources, window), counts)
        columns = [*query.columns, *(["@ptr"] if query.with_pointer else [])]
        run.rows = [[(name, text(value)) for name in columns if (value := row.get(name)) is not None] for row in found]
        run.size = sum(len(value) for row in run.rows for _, value in row)
        run.matched = counts.matched
        run.status = "Complete"
    except _StoppedError:
        run.status = "Cancelled"
    except Exception:  # whatever goes wrong in here, the client must not wait for ever
        log.exception("Logs Insights query %s failed: %s", run.id, run.text)
        run.status = "Failed"


def _records(run: QueryRun, sources: Sequence[Source], window: tuple[int, int]) -> Iterator[Record]:
    for source in sources:
        try:
            if source.path.stat().st_mtime * 1000 + _PUT_AHEAD_MS < window[0]:
                continue
            with source.path.open("rb") as lines:
                offset = 0
                for line in lines:
                    start, offset = offset, offset + len(line)
                    if not line.endswith(b"\n"):
                        break  # being written
                    if run.stopping.is_set():
                        raise _StoppedError
                    if window[0] <= int(line[1 : line.index(b",")]) <= window[1]:
                        run.scanned += 1
                        yield _record(run, source, start, line)
        except FileNotFoundError:
            continue  # no event yet, or deleted meanwhile


def _record(run: QueryRun, source: Source, start: int, line: bytes) -> Record:
    timestamp_ms, ingestion_ms, message = _event.decode(line)
    run.scanned_bytes += len(message.encode()) + _EVENT_OVERHEAD_BYTES
    return Record(timestamp_ms, ingestion_ms, message, source.log, source.stream, pointer(source.stream_id, start))


def pointer(stream_id: int, offset: int) -> str:
    """An event's @ptr."""
    return base64.urlsafe_b64encode(f"{stream_id}/{offset}".encode()).decode()


def place(found: str) -> tuple[int, int] | None:
    """(stream id, offset) of a @ptr; None for what is none."""
    try:
        stream, _, offset = base64.urlsafe_b64decode(found).decode().partition("/")
    except (ValueError, binascii.Error):
        return None
    return (int(stream), int(offset)) if stream.isdecimal() and offset.isdecimal() else None


def read_record(source: Source, offset: int) -> Record | None:
    """The event at a place in a stream's file."""
    try:
        with source.path.open("rb") as lines:
            lines.seek(offset)
            timestamp_ms, ingestion_ms, message = _event.decode(lines.readline())
    except (OSError, msgspec.DecodeError):
        return None
    return Record(timestamp_ms, ingestion_ms, message, source.log, source.stream, pointer(source.stream_id, offset))
