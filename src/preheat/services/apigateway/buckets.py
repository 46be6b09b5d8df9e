"""Token buckets and quota periods: decided purely, on a clock that the caller brings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta


class Bucket:
    """`rate` requests a second, `burst` at once; starts full. Times are seconds of any steady clock."""

    __slots__ = ("_at_s", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: int, now_s: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._at_s = now_s

    def limits(self) -> tuple[float, int]:
        return self._rate, self._burst

    def take(self, now_s: float) -> bool:
        """One request: True where it may pass."""
        self._tokens = min(float(self._burst), self._tokens + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Buckets:
    """One bucket per key, made anew when its limits change."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, ...], Bucket] = {}

    def take(self, key: tuple[str, ...], rate: float, burst: int, now_s: float) -> bool:
        bucket = self._buckets.get(key)
        if bucket is None or bucket.limits() != (rate, burst):
            bucket = self._buckets[key] = Bucket(rate, burst, now_s)
        return bucket.take(now_s)


def period_start(period: str, today: date) -> date:
    """First day of the quota's period: today, the week's Sunday (unverified), or the month's first."""
    if period == "WEEK":
        return today - timedelta(days=(today.weekday() + 1) % 7)
    return today.replace(day=1) if period == "MONTH" else today


def used_since(usage: Mapping[str, int], start: date) -> int:
    """Requests counted from a day on; `usage` is by day, YYYY-MM-DD."""
    first = start.isoformat()
    return sum(used for day, used in usage.items() if day >= first)
