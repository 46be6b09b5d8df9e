"""The journal's records to the metrics of AWS/Lambda, incrementally: nothing is counted before somebody asks.

Names, dimensions and units after AWS Lambda's developer guide, "Types of metrics for Lambda functions"; a metric's
time is that at which the request came in, as there.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from preheat.services.metrics.concurrency import ALL, HORIZON_S, MINUTE_S, UNRESERVED, InProgress
from preheat.services.metrics.points import Point
from preheat.services.metrics.store import Dimensions, MetricStore, Series

NAMESPACE = "AWS/Lambda"
_SOURCE = "journal"
_INVOCATION, _THROTTLE = b'{"type":"invocation"', b'{"type":"throttle"'
_PROVISIONED = "provisioned-concurrency"


class JournalFiles(Protocol):
    """The journal as numbered files of lines that only grow (execution.journal.Journal)."""

    def segment_at(self, at_ms: float) -> int:
        """The file that was written to at a time; the oldest there is where it was before that."""

    def chunks(
        self, segment: int, offset: int, stop: tuple[int, int] | None = None
    ) -> Iterator[tuple[bytes, int, int]]:
        """(whole lines, segment, offset behind them) from a position on, in order; up to `stop` where given."""


class _Record(msgspec.Struct):
    at_ms: float
    function: str
    version: str = ""
    qualifier: str | None = None
    received_ns: int = 0
    finished_ns: int = 0
    duration_ms: float = 0.0
    status: str = ""
    init_type: str = ""


_decode = msgspec.json.Decoder(_Record).decode


@dataclass(slots=True)
class _Tally:
    """What one minute holds of one function, version and qualifier."""

    invocations: int = 0
    errors: int = 0
    throttles: int = 0
    provisioned: int = 0
    durations: dict[float, int] = field(default_factory=dict)


class JournalMetrics:
    """Reads on where it stopped, also after a restart: how far is written together with the points."""

    def __init__(
        self, store: MetricStore, journal: JournalFiles, is_reserved: Callable[[str], bool], ended: threading.Event
    ) -> None:
        self._store = store
        self._ended = ended
        self._journal = journal
        self._is_reserved = is_reserved
        self._in_progress: InProgress | None = None

    def read_on(self) -> None:
        """Bring the store up to date, or as far as it gets before `ended` is set. Raises OSError and sqlite3.Error;
        the next call then begins again."""
        in_progress, self._in_progress = self._in_progress or self._resumed(), None
        for lines, segment, offset in self._journal.chunks(*self._store.progress(_SOURCE)):
            if self._ended.is_set():
                return
            points = _points(_tallies(lines, in_progress))
            with self._store.together():
                self._store.add(points)
                self._store.replace(_level_points(in_progress))
                self._store.set_progress(_SOURCE, segment, offset)
        self._in_progress = in_progress

    def _resumed(self) -> InProgress:
        """The requests that may still overlap with those to come."""
        in_progress = InProgress(self._is_reserved)
        stop = self._store.progress(_SOURCE)
        if stop != (0, 0):
            first = self._journal.segment_at(stop[0] - HORIZON_S * 1000)
            for lines, _, _ in self._journal.chunks(first, 0, stop):
                _tallies(lines, in_progress)
                in_progress.settle()
        return in_progress


def _tallies(lines: bytes, in_progress: InProgress) -> dict[tuple[int, str, str, str | None], _Tally]:
    """By minute, function, version and qualifier."""
    tallies: dict[tuple[int, str, str, str | None], _Tally] = defaultdict(_Tally)
    for line in lines.splitlines():
        if line.startswith(_INVOCATION):
            record = _decode(line)
            began_s = record.at_ms / 1000
            in_progress.add(record.function, began_s, began_s + (record.finished_ns - record.received_ns) / 1e9)
        elif line.startswith(_THROTTLE):
            record = _decode(line)
            began_s = record.at_ms / 1000
        else:
            continue
        minute = int(began_s // MINUTE_S) * MINUTE_S
        tally = tallies[minute, record.function, record.version, record.qualifier]
        if not record.status:
            tally.throttles += 1
            continue
        tally.invocations += 1
        tally.errors += record.status != "ok"
        tally.provisioned += record.init_type == _PROVISIONED
        tally.durations[record.duration_ms] = tally.durations.get(record.duration_ms, 0) + 1
    return tallies


def _points(tallies: dict[tuple[int, str, str, str | None], _Tally]) -> dict[tuple[Series, int], Point]:
    points: dict[tuple[Series, int], Point] = defaultdict(Point)
    for (minute, function, version, qualifier), tally in tallies.items():
        for dimensions in _dimensions(function, version, qualifier):
            for name, unit, values in _values(tally):
                point = points[Series(NAMESPACE, name, dimensions, unit), minute]
                for value, times in values.items():
                    if times:
                        point.add(value, times)
    return {key: point for key, point in points.items() if point.count}


def _dimensions(function: str, version: str, qualifier: str | None) -> list[Dimensions]:
    """All functions; the function; what was asked for of it; and the version that ran, where that was an alias."""
    by_function = (("FunctionName", function),)
    if not version:
        return [(), by_function]
    named = qualifier or ("" if version == "$LATEST" else version)
    resource = ("Resource", f"{function}:{named}" if named else function)
    found: list[Dimensions] = [(), by_function, (*by_function, resource)]
    if named not in ("", version):
        found.append((("ExecutedVersion", version), *by_function, resource))
    return found


def _values(tally: _Tally) -> Iterator[tuple[str, str, dict[float, int]]]:
    """(metric, unit, how often each value). Errors and throttles are counted as 0 or 1 for each request, so that
    their average is a rate."""
    served = tally.invocations
    yield "Invocations", "Count", {1.0: served}
    yield "Errors", "Count", {0.0: served - tally.errors, 1.0: tally.errors}
    yield "Throttles", "Count", {0.0: served, 1.0: tally.throttles}
    yield "Duration", "Milliseconds", dict(tally.durations)
    yield "ProvisionedConcurrencyInvocations", "Count", {1.0: tally.provisioned}


def _level_points(in_progress: InProgress) -> dict[tuple[Series, int], Point]:
    points = {}
    for (function, minute), point in in_progress.changed().items():
        name = "UnreservedConcurrentExecutions" if function == UNRESERVED else "ConcurrentExecutions"
        together = function in (ALL, UNRESERVED)
        dimensions: Dimensions = () if together else (("FunctionName", function),)
        points[Series(NAMESPACE, name, dimensions, "Count"), minute] = point
    return points
