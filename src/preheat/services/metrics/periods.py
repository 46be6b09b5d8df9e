"""Which periods a query covers (API reference, GetMetricStatistics and GetMetricData). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from preheat.services.metrics.failures import invalid_combination, invalid_value
from preheat.services.metrics.points import Point

_DAY_S = 86_400
_HIGH_RESOLUTION_S = (1, 5, 10, 20, 30)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Periods:
    """Equal periods of `length_s` from `start_s` (epoch seconds) up to `end_s`, exclusive."""

    start_s: int
    end_s: int
    length_s: int

    @property
    def count(self) -> int:
        return max(0, -(-(self.end_s - self.start_s) // self.length_s))

    def gather(self, points: Iterable[tuple[int, Point]]) -> dict[int, Point]:
        """Points by the beginning of their period."""
        gathered: dict[int, Point] = {}
        for at_s, point in points:
            start = self.start_s + (at_s - self.start_s) // self.length_s * self.length_s
            gathered.setdefault(start, Point()).merge(point)
        return gathered


def periods(start: datetime, end: datetime, length_s: int, now: datetime) -> Periods:
    """The periods of a query. The start is rounded down: to the minute, for times over 15 days ago to 5 minutes, over
    63 days to the hour; with a period below a minute, to that. Raises AwsError for a wrong period or range."""
    if length_s not in _HIGH_RESOLUTION_S and (length_s < 60 or length_s % 60):
        raise invalid_value(
            f"The value {length_s} for parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60 seconds."
        )
    if start >= end:
        raise invalid_value("The parameter StartTime must be less than the parameter EndTime.")
    age_days = (now - start).days
    step = length_s if length_s < 60 else 60 if age_days < 15 else 300 if age_days < 63 else 3600
    return Periods(int(seconds(start) // step) * step, int(-(-seconds(end) // 1)), length_s)


def check_count(start: datetime, end: datetime, length_s: int, most: int) -> None:
    """Raise AwsError for more datapoints than one answer holds: by the times as given, before any rounding (recorded:
    localstack's test_invalid_amount_of_datapoints)."""
    count = -((start - end) // timedelta(seconds=length_s))
    if count > most:
        raise invalid_combination(
            f"You have requested up to {count} datapoints, which exceeds the limit of {most}. "
            "You may reduce the datapoints requested by increasing Period, or decreasing the time range."
        )


def seconds(moment: datetime) -> float:
    return (moment - _EPOCH).total_seconds()


def moment(at_s: float) -> datetime:
    return _EPOCH + timedelta(seconds=at_s)
