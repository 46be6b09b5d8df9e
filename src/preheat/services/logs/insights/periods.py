"""Lengths of time as queries write them (`5m`, `1h`, `2 weeks` without the space), and rounding times to them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from preheat.services.logs.insights.values import Instant

_WORD = re.compile(r"^(\d+)([a-z]+)$")
_UNITS_MS = {
    **dict.fromkeys(("ms", "msec", "millisecond"), 1),
    **dict.fromkeys(("s", "sec", "second"), 1000),
    **dict.fromkeys(("m", "min", "minute"), 60_000),
    **dict.fromkeys(("h", "hr", "hour"), 3_600_000),
    **dict.fromkeys(("d", "day"), 86_400_000),
    **dict.fromkeys(("w", "week"), 7 * 86_400_000),
}
_UNITS_MONTHS = {
    **dict.fromkeys(("mo", "mon", "month"), 1),
    **dict.fromkeys(("q", "qtr", "quarter"), 3),
    **dict.fromkeys(("y", "yr", "year"), 12),
}

Period = tuple[int, int]
"""(milliseconds, months), one of them 0."""


def parse(word: str) -> Period | None:
    """None where it is no length of time. Units of several characters may end in s."""
    match = _WORD.match(word)
    if match is None or int(match[1]) == 0:
        return None
    count = int(match[1])
    for unit in (match[2], match[2].removesuffix("s") if len(match[2]) > 2 else ""):
        if unit in _UNITS_MS:
            return count * _UNITS_MS[unit], 0
        if unit in _UNITS_MONTHS:
            return 0, count * _UNITS_MONTHS[unit]
    return None


def floor(at_ms: int, period: Period) -> Instant:
    """The beginning of the period, in UTC, that a time falls into."""
    length_ms, months = period
    if length_ms:
        return Instant(at_ms // length_ms * length_ms)
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return _month((moment.year * 12 + moment.month - 1) // months * months)


def ceil(at_ms: int, period: Period) -> Instant:
    begin = floor(at_ms, period)
    if begin == at_ms:
        return begin
    if period[0]:
        return Instant(begin + period[0])
    moment = datetime.fromtimestamp(begin / 1000, UTC)
    return _month(moment.year * 12 + moment.month - 1 + period[1])


def _month(number: int) -> Instant:
    """The first moment of a month, counted from year 0."""
    return Instant(int(datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp() * 1000))
