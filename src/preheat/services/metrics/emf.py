"""Metrics that handlers print: the embedded metric format (CloudWatch user guide, "Specification: Embedded metric
format"). Log files are read when metrics are asked for, on from where the last reading stopped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from preheat.services.metrics.points import Point
from preheat.services.metrics.store import MetricStore, Series

LogFile = tuple[int, Path]
"""A log stream's number, never used twice, and its file of `[time, ingestion time, message]` lines."""

_MARK = b"CloudWatchMetrics"
_READ_BYTES = 8 << 20
_VALUES_MAX = 100
"""The most values one metric may have in one line."""

_event = msgspec.json.Decoder(tuple[int, int, str])


class EmbeddedMetrics:
    def __init__(self, store: MetricStore) -> None:
        self._store = store
        self._read: dict[int, int] = {}
        """How far each file is read in this process, also where nothing was found that is worth a transaction."""

    def read_on(self, files: Sequence[LogFile]) -> None:
        """Bring the store up to date with these files. Raises sqlite3.Error."""
        for number, path in files:
            source = f"log/{number}"
            start = self._read.get(number)
            if start is None:
                start = self._store.progress(source)[1]
            for lines, offset in _chunks(path, start) if _size(path) > start else ():
                if _MARK in lines:
                    points: dict[tuple[Series, int], Point] = defaultdict(Point)
                    for line in lines.splitlines():
                        if _MARK in line:
                            _count(line, points)
                    with self._store.together():
                        self._store.add(points)
                        self._store.set_progress(source, 0, offset)
                self._read[number] = offset


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # nothing written yet, or deleted meanwhile


def _chunks(path: Path, offset: int) -> Iterator[tuple[bytes, int]]:
    """(whole lines, offset behind them) from an offset on."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(offset)
        while (end := (data := file.read(_READ_BYTES)).rfind(b"\n") + 1) > 0:
            offset += end
            file.seek(offset)
            yield data[:end], offset


def _count(line: bytes, points: dict[tuple[Series, int], Point]) -> None:
    """One log event. What is no valid embedded metric is a log line like any other."""
    try:
        timestamp_ms, _, message = _event.decode(line)
        document = msgspec.json.decode(message)
        metadata = document["_aws"]
        at_s = metadata.get("Timestamp", timestamp_ms) / 1000
        for directive in metadata["CloudWatchMetrics"]:
            _apply(directive, document, at_s, points)
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError):
        return


def _apply(
    directive: dict[str, Any], document: dict[str, Any], at_s: float, points: dict[tuple[Series, int], Point]
) -> None:
    for names in directive.get("Dimensions") or [[]]:
        dimensions = tuple(sorted((name, str(document[name])) for name in names))
        for metric in directive["Metrics"]:
            found = document.get(metric["Name"])
            values = found if isinstance(found, list) else [found]
            step = 1 if metric.get("StorageResolution") == 1 else 60
            series = Series(directive["Namespace"], metric["Name"], dimensions, metric.get("Unit") or "None")
            for value in values[:_VALUES_MAX]:
                if isinstance(value, int | float) and not isinstance(value, bool):
                    points[series, int(at_s // step) * step].add(float(value))
