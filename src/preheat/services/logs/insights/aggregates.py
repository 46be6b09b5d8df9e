"""Aggregate functions of `stats` (user guide, "Aggregation functions in the stats command"). Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from preheat.services.logs.insights.values import Value, number, order


class Aggregate(Protocol):
    """Fed with each event's value (and its time in ms), then asked once."""

    def feed(self, value: Value, at_ms: int) -> None: ...

    def result(self) -> Value:
        """None where there was nothing to aggregate."""


class _Count:
    def __init__(self) -> None:
        self._count = 0

    def feed(self, value: Value, at_ms: int) -> None:
        self._count += value is not None

    def result(self) -> Value:
        return self._count


class _Distinct:
    def __init__(self) -> None:
        self._seen: set[tuple[int, float, str]] = set()

    def feed(self, value: Value, at_ms: int) -> None:
        if value is not None:
            self._seen.add(order(value))

    def result(self) -> Value:
        return len(self._seen)


class _Numbers:
    """All that sums, squares and extremes give."""

    def __init__(self, read: Callable[[_Numbers], Value]) -> None:
        self._read = read
        self.count = 0
        self.total: float = 0
        self.low, self.high = math.inf, -math.inf
        self._mean = self._squares = 0.0

    def feed(self, value: Value, at_ms: int) -> None:
        found = number(value)
        if found is None:
            return
        found = found + 0  # a plain number, however it would be shown
        self.count += 1
        self.total += found
        self.low, self.high = min(self.low, found), max(self.high, found)
        before = found - self._mean
        self._mean += before / self.count
        self._squares += before * (found - self._mean)

    @property
    def deviation(self) -> float:
        return math.sqrt(self._squares / self.count)

    def result(self) -> Value:
        return self._read(self) if self.count else None


class _Percentile:
    """The nearest rank."""

    def __init__(self, percent: float) -> None:
        self._percent = percent
        self._values: list[float] = []

    def feed(self, value: Value, at_ms: int) -> None:
        found = number(value)
        if found is not None:
            self._values.append(float(found))

    def result(self) -> Value:
        if not self._values:
            return None
        rank = math.ceil(self._percent / 100 * len(self._values))
        return sorted(self._values)[max(0, rank - 1)]


class _Chosen:
    """The value with the smallest or largest key: of the time, or of the value itself."""

    def __init__(self, by_time: bool, last: bool) -> None:
        self._by_time = by_time
        self._last = last
        self._best: tuple[tuple[float, float, str], Value] | None = None

    def feed(self, value: Value, at_ms: int) -> None:
        if value is None:
            return
        key = (0.0, float(at_ms), "") if self._by_time else order(value)
        if self._best is None or (key >= self._best[0] if self._last else key < self._best[0]):
            self._best = (key, value)

    def result(self) -> Value:
        if self._best is None:
            return None
        value = self._best[1]
        return int(value) if self._by_time and isinstance(value, int) else value  # a time comes as epoch ms


NUMBERS: dict[str, Callable[[_Numbers], Value]] = {
    "avg": lambda numbers: numbers.total / numbers.count,
    "sum": lambda numbers: numbers.total,
    "min": lambda numbers: numbers.low,
    "max": lambda numbers: numbers.high,
    "stddev": lambda numbers: numbers.deviation,
}
_CHOSEN = {
    "earliest": (True, False),
    "latest": (True, True),
    "sortsfirst": (False, False),
    "sortslast": (False, True),
}
NAMES = frozenset({"count", "count_distinct", "pct", "percentile", "median", *NUMBERS, *_CHOSEN})


def make(name: str, percent: float) -> Aggregate:
    """A new aggregate; `percent` counts for pct and percentile only."""
    if name == "count":
        return _Count()
    if name == "count_distinct":
        return _Distinct()
    if name in ("pct", "percentile", "median"):
        return _Percentile(percent)
    if name in NUMBERS:
        return _Numbers(NUMBERS[name])
    return _Chosen(*_CHOSEN[name])
