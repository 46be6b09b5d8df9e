"""What one period of one metric holds, and the statistics of it. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from preheat.services.metrics.failures import invalid_value

_DIGITS = 4
"""Values are told apart to this many digits: percentiles are true to 0.05%, and a period holds at most 9,000 values a
decade. Count, sum, minimum and maximum are exact."""

Statistic = Callable[["Point"], float | None]
"""None where the period has no such statistic."""


@dataclass(slots=True)
class Point:
    """The values of one period. `spread` counts them; it is short of `count` where only a statistic set was put."""

    count: float = 0.0
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    spread: dict[float, float] = field(default_factory=dict)

    def add(self, value: float, times: float = 1.0) -> None:
        self.add_set(value * times, times, value, value)
        rounded = float(f"{value:.{_DIGITS}g}")
        self.spread[rounded] = self.spread.get(rounded, 0.0) + times

    def add_set(self, total: float, count: float, low: float, high: float) -> None:
        self.count += count
        self.total += total
        self.low = min(self.low, low)
        self.high = max(self.high, high)

    def merge(self, other: Point) -> None:
        self.add_set(other.total, other.count, other.low, other.high)
        for value, times in other.spread.items():
            self.spread[value] = self.spread.get(value, 0.0) + times

    @property
    def ranked(self) -> list[tuple[float, float]]:
        """(value, how often) in order; empty where the values are not known, or some are negative.

        CloudWatch has no percentiles then (user guide, "Statistics definitions").
        """
        if self.count <= 0 or self.low < 0 or sum(self.spread.values()) < self.count:
            return []
        return sorted(self.spread.items())


def statistic(name: str) -> Statistic:
    """A statistic by its name: the five plain ones, p90, tm99, TM(10%:90%), WM, PR, TC, TS and IQM (user guide,
    "Statistics definitions"). Raises AwsError InvalidParameterValue for any other."""
    if name in _PLAIN:
        return _PLAIN[name]
    if name.upper() == "IQM":
        return _between("TM", "25%", "75%")
    short = _SHORT.match(name)
    if short is not None and float(short[2]) <= 100:
        if short[1].lower() == "p":
            return _percentile(float(short[2]))
        return _between(short[1].upper(), "", f"{short[2]}%")
    full = _RANGE.match(name)
    if full is not None and (full[2] or full[3]) and _same_kind(full[2], full[3]):
        return _between(full[1].upper(), full[2], full[3])
    raise invalid_value(f"The value {name} for parameter Statistic is not supported.")


_PLAIN: dict[str, Statistic] = {
    "SampleCount": lambda point: point.count,
    "Sum": lambda point: point.total,
    "Average": lambda point: point.total / point.count if point.count else None,
    "Minimum": lambda point: point.low,
    "Maximum": lambda point: point.high,
}
_SHORT = re.compile(r"^(p|tm|wm|tc|ts)(\d{1,3}(?:\.\d{1,10})?)$", re.IGNORECASE)
_RANGE = re.compile(
    r"^(TM|WM|TC|TS|PR)\(\s*(\d+(?:\.\d+)?%?)?\s*:\s*(\d+(?:\.\d+)?%?)?\s*\)$",
    re.IGNORECASE,
)


def _same_kind(low: str | None, high: str | None) -> bool:
    """Percentages or values, not one of each."""
    return not low or not high or low.endswith("%") == high.endswith("%")


def _percentile(percent: float) -> Statistic:
    """The nearest rank, and the exact ends."""

    def read(point: Point) -> float | None:
        ranked = point.ranked
        if not ranked:
            return None
        wanted, seen = percent / 100 * point.count, 0.0
        for value, times in ranked:
            seen += times
            if seen >= wanted - 1e-9:
                return min(max(value, point.low), point.high)
        return point.high

    return read


def _between(kind: str, low: str | None, high: str | None) -> Statistic:
    """Trimmed mean, winsorised mean, percentile rank, trimmed count or trimmed sum of what lies above `low` and up to
    `high`: percentages of the values in order, or values themselves; an open end takes everything."""

    def read(point: Point) -> float | None:
        ranked = point.ranked
        if not ranked:
            return None
        inside, below = _shares(ranked, point.count, low, high)
        count = sum(inside.values())
        total = sum(value * times for value, times in inside.items())
        if kind == "TC":
            return count
        if kind == "TS":
            return total
        if kind == "PR":
            return 100 * count / point.count
        if not count:
            return None
        if kind == "WM":
            above = point.count - below - count
            total += below * min(inside) + above * max(inside)
            count = point.count
        return total / count

    return read


def _shares(
    ranked: list[tuple[float, float]], count: float, low: str | None, high: str | None
) -> tuple[Mapping[float, float], float]:
    """(how much of each value is inside the bounds, how many values are below them)."""
    inside: dict[float, float] = {}
    below = seen = 0.0
    by_rank = (low or high or "").endswith("%")
    least = float((low or "0").rstrip("%")) if low else -math.inf
    most = float((high or "0").rstrip("%")) if high else math.inf
    first, last = least / 100 * count, most / 100 * count
    for value, times in ranked:
        if by_rank:
            part = max(0.0, min(seen + times, last) - max(seen, first))
            below += max(0.0, min(seen + times, first) - seen)
        else:
            part = times if least < value <= most else 0.0
            below += times if value <= least else 0.0
        if part > 0:
            inside[value] = part
        seen += times
    return inside, below
