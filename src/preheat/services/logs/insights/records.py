"""A log event and the fields CloudWatch discovers in it (user guide, "Supported logs and discovered fields"). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from preheat.services.logs.insights.values import Discovered, Instant, Value

_BYTES_PER_MB = 1_000_000
"""Memory sizes are discovered in bytes, 1.28E8 for 128 MB (seen in real log records)."""

_PLATFORM = re.compile(r"^(START|END|REPORT) RequestId: (\S+)")
_REPORTED = {
    "@duration": (re.compile(r"\tDuration: ([\d.]+) ms"), 1),
    "@billedDuration": (re.compile(r"\tBilled Duration: ([\d.]+) ms"), 1),
    "@initDuration": (re.compile(r"\tInit Duration: ([\d.]+) ms"), 1),
    "@memorySize": (re.compile(r"\tMemory Size: ([\d.]+) MB"), _BYTES_PER_MB),
    "@maxMemoryUsed": (re.compile(r"\tMax Memory Used: ([\d.]+) MB"), _BYTES_PER_MB),
}
_TRACED = {
    "@xrayTraceId": re.compile(r"XRAY TraceId: (\S+)"),
    "@xraySegmentId": re.compile(r"SegmentId: (\S+)"),
}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_LINE_HEAD = re.compile(rf"^(?:\[\w+\]\t)?\d{{4}}-\d\d-\d\dT[\d:.]+Z[\t ]({_UUID.pattern})")
"""A runtime's own line: `[INFO]\\t<time>\\t<request id>\\t...` (Python) or `<time>\\t<request id>\\t...` (Node.js)."""

_STEPS = re.compile(r"[^.\[\]]+")
_DECODER = json.JSONDecoder()


@dataclass(slots=True)
class Record:
    """One event; `pointer` is its @ptr, `log` is `<account>:<group>`."""

    timestamp_ms: int
    ingestion_ms: int
    message: str
    log: str
    stream: str
    pointer: str
    _document: Value = None
    _decoded: bool = False
    _fields: dict[str, Value] = field(default_factory=dict)

    def get(self, name: str) -> Value:
        """A field's value, None where the event has no such field."""
        if name not in self._fields:
            self._fields[name] = self._find(name)
        return self._fields[name]

    def _find(self, name: str) -> Value:
        if not name.startswith("@"):
            return select(self._json(), name)
        if name in _BASIC:
            return _BASIC[name](self)
        if name in ("@type", "@requestId"):
            return self._platform(name)
        if name in _TRACED:
            traced = _TRACED[name].search(self.message)
            return traced[1] if traced else None
        if name in _REPORTED and self.message.startswith("REPORT RequestId:"):
            pattern, unit = _REPORTED[name]
            found = pattern.search(self.message)
            return Discovered(float(found[1]) * unit) if found else None
        return select(self._json(), name)

    def _platform(self, name: str) -> str | None:
        line = _PLATFORM.match(self.message)
        if line is not None:
            return line[1] if name == "@type" else line[2]
        own = _LINE_HEAD.match(self.message) if name == "@requestId" else None
        return own[1] if own else None

    def _json(self) -> Value:
        """The first JSON object in the message."""
        if not self._decoded:
            self._decoded = True
            start = self.message.find("{")
            if start >= 0:
                try:
                    self._document = _DECODER.raw_decode(self.message, start)[0]
                except (ValueError, RecursionError):
                    self._document = None
        return self._document

    def all(self) -> dict[str, Value]:
        """Every field there is, nested ones by their dotted names (GetLogRecord)."""
        names = [*_BASIC, "@type", "@requestId", *_REPORTED, *_TRACED]
        found = {name: value for name in names if (value := self.get(name)) is not None}
        return {**found, **dict(_flat("", self._json()))}


_BASIC: dict[str, Callable[[Record], Value]] = {
    "@timestamp": lambda record: Instant(record.timestamp_ms),
    "@ingestionTime": lambda record: Instant(record.ingestion_ms),
    "@message": lambda record: record.message,
    "@logStream": lambda record: record.stream,
    "@log": lambda record: record.log,
    "@ptr": lambda record: record.pointer,
}


def select(document: Value, path: str) -> Value:
    """What a dotted path means in a JSON document: `a.b`, `a.0.b` and `a[0].b`; a name with dots in it wins."""
    if isinstance(document, dict) and path in document:
        return document[path]
    for step in _STEPS.findall(path):
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return None
    return document


def _flat(prefix: str, document: Value) -> list[tuple[str, Value]]:
    if isinstance(document, dict):
        items = [(str(key), value) for key, value in document.items()]
    elif isinstance(document, list):
        items = [(str(place), value) for place, value in enumerate(document)]
    else:
        return [(prefix, document)] if prefix and document is not None else []
    return [pair for name, value in items for pair in _flat(f"{prefix}.{name}" if prefix else name, value)]
