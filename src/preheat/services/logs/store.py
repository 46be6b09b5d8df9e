"""Where log events are kept: metadata in SQLite, events in one append-only file per stream."""

from __future__ import annotations

import shutil
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from preheat.kernel.database import connect
from preheat.kernel.function import LogEvent
from preheat.services.logs.failures import group_exists, no_group, no_stream, stream_exists
from preheat.services.logs.stream import LogStream

EVENT_OVERHEAD_BYTES = 26
MAX_EVENT_BYTES = 1_048_576
"""CloudWatch Logs quotas: the largest event, its 26 bytes of overhead included."""

_MAX_MESSAGE_BYTES = MAX_EVENT_BYTES - EVENT_OVERHEAD_BYTES
_OPEN_FILES = 64
"""Streams of environments that ended stay open until others take their place: few enough to be soon at a level."""
_MIGRATIONS = (
    """
    CREATE TABLE groups (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, created_ms INTEGER NOT NULL,
        class TEXT NOT NULL, retention_days INTEGER, tags TEXT NOT NULL
    ) STRICT;
    CREATE TABLE streams (
        id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL REFERENCES groups ON DELETE CASCADE,
        name TEXT NOT NULL, created_ms INTEGER NOT NULL, UNIQUE (group_id, name)
    ) STRICT
    """,
)
_ENCODER = msgspec.json.Encoder()


@dataclass(slots=True, eq=False)
class LogGroup:
    id: int
    name: str
    created_ms: int
    log_class: str
    retention_days: int | None
    tags: dict[str, str]
    streams: dict[str, LogStream] = field(default_factory=dict)


class LogStore:
    """A `LogSink`, and what the provider reads. All methods run on the event loop's thread.

    Files are `<data_dir>/logs/<group id>/<stream id>.jsonl`; ids are never used twice, so what a deleted
    group leaves behind after a crash belongs to nobody and is swept at the next start.
    """

    def __init__(self, data_dir: Path) -> None:
        self._db = connect(data_dir / "logs.db", _MIGRATIONS)
        self._root = data_dir.absolute() / "logs"
        self._root.mkdir(exist_ok=True)
        self._open: OrderedDict[LogStream, None] = OrderedDict()
        self._groups: dict[str, LogGroup] = {}
        self._load()

    def _load(self) -> None:
        by_id: dict[int, LogGroup] = {}
        for row in self._db.execute("SELECT * FROM groups ORDER BY name"):
            group = LogGroup(
                row["id"],
                row["name"],
                row["created_ms"],
                row["class"],
                row["retention_days"],
                msgspec.json.decode(row["tags"]),
            )
            by_id[group.id] = self._groups[group.name] = group
        for row in self._db.execute("SELECT * FROM streams ORDER BY group_id, name"):
            group = by_id[row["group_id"]]
            group.streams[row["name"]] = self._stream(group, row["id"], row["name"], row["created_ms"])
        for directory in self._root.iterdir():
            group_of = by_id.get(int(directory.name)) if directory.name.isdecimal() else None
            if group_of is None:
                shutil.rmtree(directory, ignore_errors=True)
                continue
            known = {stream.path for stream in group_of.streams.values()}
            for path in directory.iterdir():
                if path not in known:
                    path.unlink()

    def _stream(self, group: LogGroup, stream_id: int, name: str, created_ms: int) -> LogStream:
        return LogStream(stream_id, name, created_ms, self._root / str(group.id) / f"{stream_id}.jsonl")

    def close(self) -> None:
        for stream in self._open:
            stream.close()
        self._open.clear()
        self._db.close()

    # LogSink

    def create_stream(self, group: str, stream: str) -> None:
        """Make the stream, and the group where missing; no harm if both exist."""
        entry = self._groups.get(group) or self.add_group(group)
        if stream not in entry.streams:
            self.add_stream(group, stream)

    def put(self, group: str, stream: str, events: Sequence[LogEvent]) -> None:
        """Append events to a stream, which is made again if somebody has deleted it. One write.

        A message above CloudWatch's limit is cut to it. Raises OSError when the disk is full.
        """
        if not events:
            return
        try:
            target = self._groups[group].streams[stream]
        except KeyError:
            self.create_stream(group, stream)
            target = self._groups[group].streams[stream]
        now_ms = time.time_ns() // 1_000_000
        try:
            lines = _ENCODER.encode_lines([(timestamp, now_ms, message) for timestamp, message in events])
        except UnicodeEncodeError:
            lines = b""
        if not lines or len(lines) > _MAX_MESSAGE_BYTES:
            lines = _ENCODER.encode_lines([(timestamp, now_ms, _capped(message)) for timestamp, message in events])
        if target.fd < 0:
            self._opened(target)
        else:
            self._open.move_to_end(target)
        target.append(lines)

    # groups

    def group(self, name: str) -> LogGroup:
        """Raises AwsError ResourceNotFoundException."""
        group = self._groups.get(name)
        if group is None:
            raise no_group()
        return group

    def groups(self) -> Iterator[LogGroup]:
        """In order of name."""
        return iter([self._groups[name] for name in sorted(self._groups)])

    def add_group(self, name: str, log_class: str = "STANDARD", tags: Mapping[str, str] | None = None) -> LogGroup:
        """Raises AwsError ResourceAlreadyExistsException."""
        if name in self._groups:
            raise group_exists()
        now_ms = time.time_ns() // 1_000_000
        statement = "INSERT INTO groups (name, created_ms, class, tags) VALUES (?, ?, ?, ?)"
        encoded = msgspec.json.encode(tags or {}).decode()
        row_id = self._db.execute(statement, (name, now_ms, log_class, encoded)).lastrowid or 0
        group = LogGroup(row_id, name, now_ms, log_class, None, dict(tags or {}))
        self._groups[name] = group
        return group

    def delete_group(self, name: str) -> None:
        group = self.group(name)
        self._db.execute("DELETE FROM groups WHERE id = ?", (group.id,))
        del self._groups[name]
        for stream in group.streams.values():
            self._closed(stream)
        shutil.rmtree(self._root / str(group.id), ignore_errors=True)

    def set_retention(self, name: str, days: int | None) -> None:
        group = self.group(name)
        self._db.execute("UPDATE groups SET retention_days = ? WHERE id = ?", (days, group.id))
        group.retention_days = days

    def set_tags(self, name: str, tags: dict[str, str]) -> None:
        group = self.group(name)
        self._db.execute("UPDATE groups SET tags = ? WHERE id = ?", (msgspec.json.encode(tags).decode(), group.id))
        group.tags = tags

    # streams

    def stream(self, group: str, name: str) -> LogStream:
        """Raises AwsError ResourceNotFoundException."""
        stream = self.group(group).streams.get(name)
        if stream is None:
            raise no_stream()
        return stream

    def add_stream(self, group_name: str, name: str) -> None:
        """Raises AwsError ResourceAlreadyExistsException."""
        group = self.group(group_name)
        if name in group.streams:
            raise stream_exists()
        now_ms = time.time_ns() // 1_000_000
        statement = "INSERT INTO streams (group_id, name, created_ms) VALUES (?, ?, ?)"
        row_id = self._db.execute(statement, (group.id, name, now_ms)).lastrowid or 0
        stream = self._stream(group, row_id, name, now_ms)
        stream.path.parent.mkdir(exist_ok=True)
        group.streams[name] = stream

    def delete_stream(self, group_name: str, name: str) -> None:
        stream = self.stream(group_name, name)
        self._db.execute("DELETE FROM streams WHERE id = ?", (stream.id,))
        del self.group(group_name).streams[name]
        self._closed(stream)
        stream.path.unlink(missing_ok=True)

    # files

    def files(self) -> list[tuple[int, Path]]:
        """(id, file) of every stream; ids are never used twice."""
        return [(stream.id, stream.path) for group in self._groups.values() for stream in group.streams.values()]

    def readable(self, stream: LogStream) -> LogStream:
        """The stream, open and indexed up to its end."""
        if stream.fd < 0:
            self._opened(stream)
        stream.refresh()
        return stream

    def refreshed(self, stream: LogStream) -> LogStream:
        """The stream with an index up to date, opened only if there is something new to read."""
        return self.readable(stream) if stream.stale else stream

    def stored_bytes(self, group: LogGroup) -> int:
        return sum(stream.stored_bytes for stream in group.streams.values())

    def _opened(self, stream: LogStream) -> None:
        stream.open()
        self._open[stream] = None
        if len(self._open) > _OPEN_FILES:
            self._open.popitem(last=False)[0].close()

    def _closed(self, stream: LogStream) -> None:
        self._open.pop(stream, None)
        stream.close()


def _capped(message: str) -> str:
    """The message within CloudWatch's limit and encodable: what is no Unicode becomes a question mark."""
    encoded = message.encode(errors="replace")
    return encoded[:_MAX_MESSAGE_BYTES].decode(errors="ignore")
