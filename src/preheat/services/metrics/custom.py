"""PutMetricData's rules (API reference, PutMetricData and MetricDatum), to points. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from preheat.services.metrics.failures import invalid_combination, invalid_value, missing
from preheat.services.metrics.periods import seconds
from preheat.services.metrics.points import Point
from preheat.services.metrics.store import Dimensions, Series

_LARGEST = 2.0**360
_OLDEST = timedelta(days=14)
_NEWEST = timedelta(hours=2)
_DATA_MAX = 1000


def points(params: Mapping[str, Any], now: datetime) -> dict[tuple[Series, int], Point]:
    """The points of one request; raises AwsError for what CloudWatch does not take."""
    namespace = params["Namespace"]
    if namespace.startswith("AWS/"):
        raise invalid_value("The value AWS/ for parameter Namespace is invalid.")
    data = list(params.get("MetricData") or ())
    for group in params.get("EntityMetricData") or ():
        data += group.get("MetricData") or ()
    if not data:
        raise missing("The parameter MetricData is required.")
    if len(data) > _DATA_MAX:
        raise invalid_value(f"The collection MetricData must not have a size greater than {_DATA_MAX}.")
    found: dict[tuple[Series, int], Point] = defaultdict(Point)
    for number, datum in enumerate(data, start=1):
        at = datum.get("Timestamp") or now
        if not now - _OLDEST <= at <= now + _NEWEST:
            raise invalid_value(
                f"The parameter MetricData.member.{number}.Timestamp must specify a time within the past two weeks "
                "and no more than two hours in the future."
            )
        step = 1 if datum.get("StorageResolution") == 1 else 60
        series = Series(namespace, datum["MetricName"], dimensions(datum), datum.get("Unit") or "None")
        _add(found[series, int(seconds(at) // step) * step], datum, f"MetricData.member.{number}")
    return found


def dimensions(holder: Mapping[str, Any]) -> Dimensions:
    """In order of name."""
    return tuple(sorted((one["Name"], one.get("Value") or "") for one in holder.get("Dimensions") or ()))


def _add(point: Point, datum: Mapping[str, Any], where: str) -> None:
    given = [name for name in ("Value", "Values", "StatisticValues") if datum.get(name) is not None]
    if not given:
        raise missing(f"At least one of the parameters must be specified for {where}: Value, Values, StatisticValues.")
    if given == ["Values", "StatisticValues"]:  # taken, for all its reference says (localstack's validated test)
        given = ["StatisticValues"]
    if len(given) > 1:
        raise invalid_combination(
            f"The parameters {where}.{given[0]} and {where}.{given[1]} are mutually exclusive and you have specified "
            "both."
        )
    if given == ["StatisticValues"]:
        kept = datum["StatisticValues"]
        low, high, count = kept["Minimum"], kept["Maximum"], kept["SampleCount"]
        if count <= 0 or low > high:
            raise invalid_value(f"The values of parameter {where}.StatisticValues do not fit together.")
        if low == high:
            point.add(_checked(low, where), count)
        else:
            point.add_set(_checked(kept["Sum"], where), count, _checked(low, where), _checked(high, where))
        return
    values = datum["Values"] if given == ["Values"] else [datum["Value"]]
    counts = datum.get("Counts") or [1.0] * len(values)
    if len(counts) != len(values):
        raise invalid_value(f"The parameters {where}.Values and {where}.Counts must be of the same size.")
    for value, times in zip(values, counts, strict=True):
        if times > 0:
            point.add(_checked(value, where), times)


def _checked(value: float, where: str) -> float:
    if not math.isfinite(value) or abs(value) > _LARGEST:
        raise invalid_value(f"The value {value} for parameter {where}.Value is invalid.")
    return float(value)
