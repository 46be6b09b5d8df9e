"""GetMetricData: several metrics and expressions over them in one answer."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from preheat.services.metrics.expressions import evaluate
from preheat.services.metrics.failures import bad_token, invalid_query, not_built
from preheat.services.metrics.math_functions import Series, Value
from preheat.services.metrics.periods import Periods, check_count, moment, periods
from preheat.services.metrics.points import Point, statistic

MAX_DATAPOINTS = 100_800
"""GetMetricData's default and largest page (API reference)."""

_ID = re.compile(r"^[a-z][a-zA-Z0-9_]*$")
_DEFAULT_PERIOD_S = 300
_NESTED_MAX = 40
"""Expressions that lead on to expressions; enough for any dashboard, little enough for Python's stack."""

Gather = Callable[[Mapping[str, Any], str | None, Periods], tuple[dict[int, Point], list[str]]]
"""(Metric, unit, periods) to the points found, by the beginning of their period, and all units that there are."""


@dataclass(frozen=True, slots=True)
class Result:
    """One series of the answer; `units` are those that there are besides, where the query names none."""

    id: str
    label: str
    series: Series
    units: list[str]


@dataclass(slots=True)
class _Query:
    id: str
    name: str
    label: str
    shown: bool
    period_s: int
    stat: Mapping[str, Any] | None
    expression: str


class DataQueries:
    """The queries of one request; values are worked out once each, at first use."""

    def __init__(self, params: Mapping[str, Any], now: datetime, gather: Gather) -> None:
        self._start: datetime = params["StartTime"]
        self._end: datetime = params["EndTime"]
        self._now = now
        self._gather = gather
        self._queries = {query.id: query for query in map(_query, params["MetricDataQueries"])}
        if len(self._queries) < len(params["MetricDataQueries"]):
            raise invalid_query("The values of parameter Id in MetricDataQueries must be unique.")
        if not any(query.shown for query in self._queries.values()):
            raise invalid_query("At least one MetricDataQuery must have ReturnData set to true.")
        self._label_together()
        self._values: dict[str, Value] = {}
        self._units: dict[str, list[str]] = {}
        self._open: list[str] = []

    def _label_together(self) -> None:
        """Metrics of one name are told apart by statistic and period, where those differ (recorded on AWS)."""
        metrics = [query for query in self._queries.values() if query.stat is not None and query.shown]
        stats, lengths = {query.stat["Stat"] for query in metrics if query.stat}, {query.period_s for query in metrics}
        if len({query.name for query in metrics}) > 1:
            return
        for query in metrics:
            if query.label == query.name and query.stat is not None:
                parts = [query.stat["Stat"]] if len(stats) > 1 else []
                parts += [str(query.period_s)] if len(lengths) > 1 else []
                query.label = " ".join([query.name, *parts])

    def results(self) -> list[Result]:
        """What the request wants to see; an expression may give several series."""
        found: list[Result] = []
        for query in self._queries.values():
            if not query.shown:
                continue
            value = self._value(query.id)
            units = self._units.get(query.id, [])
            if isinstance(value, list):
                found += [Result(query.id, query.label, series, units) for series in value]
            elif isinstance(value, dict):
                found.append(Result(query.id, query.label, value, units))
            else:
                raise invalid_query(f"Error in expression '{query.id}': its result is a number, not a time series")
        return found

    def _value(self, query_id: str) -> Value:
        if query_id not in self._queries:
            raise invalid_query(f"Error in expression '{self._open[-1]}': unknown id {query_id}")
        if len(self._open) > _NESTED_MAX:
            raise invalid_query(f"Error in expression '{query_id}': it is nested too deeply")
        if query_id in self._open:
            raise invalid_query(f"Error in expression '{query_id}': it depends on itself")
        if query_id not in self._values:
            self._open.append(query_id)
            self._values[query_id] = self._computed(self._queries[query_id])
            self._open.pop()
        return self._values[query_id]

    def _computed(self, query: _Query) -> Value:
        asked = periods(self._start, self._end, query.period_s, self._now)
        if query.stat is None:
            check_count(self._start, self._end, query.period_s, MAX_DATAPOINTS)
            metrics = [other.id for other in self._queries.values() if other.stat is not None]
            grid = range(asked.start_s, asked.end_s, self._grid_step(query))
            return evaluate(query.expression, self._value, metrics, grid)
        read = statistic(query.stat["Stat"])
        gathered, self._units[query.id] = self._gather(query.stat["Metric"], query.stat.get("Unit"), asked)
        values = {at: read(gathered[at]) for at in sorted(gathered)}
        return {at: value for at, value in values.items() if value is not None}

    def _grid_step(self, query: _Query) -> int:
        """The period of the metrics that an expression is over: those of one expression must agree."""
        named = [self._queries[name] for name in re.findall(r"[A-Za-z_]\w*", query.expression) if name in self._queries]
        lengths = {other.period_s for other in named}
        return min(lengths) if lengths else query.period_s


def _query(given: Mapping[str, Any]) -> _Query:
    query_id, stat, expression = given["Id"], given.get("MetricStat"), given.get("Expression") or ""
    if not _ID.match(query_id):
        raise invalid_query(f"The value {query_id} for parameter Id must match {_ID.pattern}")
    if (stat is None) == (not expression):
        raise invalid_query(f"Query {query_id} must have either MetricStat or Expression.")
    if expression.lstrip().upper().startswith("SELECT "):
        raise not_built("Metrics Insights (SELECT)")
    period_s = stat["Period"] if stat is not None else given.get("Period") or _DEFAULT_PERIOD_S
    name = query_id if stat is None else stat["Metric"].get("MetricName", query_id)
    label, shown = given.get("Label") or name, given.get("ReturnData") is not False
    return _Query(query_id, name, label, shown, period_s, stat, expression)


def answer(params: Mapping[str, Any], results: list[Result]) -> dict[str, Any]:
    """One page of the results: MaxDatapoints are shared out evenly among them."""
    page = _page_number(params.get("NextToken"))
    share = max(1, (params.get("MaxDatapoints") or MAX_DATAPOINTS) // max(1, len(results)))
    newest_first = params.get("ScanBy") != "TimestampAscending"
    shown, more = [], False
    for result in results:
        times = sorted(result.series, reverse=newest_first)
        part = times[page * share : (page + 1) * share]
        unfinished = len(times) > (page + 1) * share
        more = more or unfinished
        one = {
            "Id": result.id,
            "Label": result.label,
            "Timestamps": [moment(at) for at in part],
            "Values": [result.series[at] for at in part],
            "StatusCode": "PartialData" if unfinished else "Complete",
        }
        if len(result.units) > 1:
            message = f"Multiple units returned: '[{', '.join(result.units)}]'"
            one["Messages"] = [{"Code": "MultipleUnits", "Value": message}]
        shown.append(one)
    found: dict[str, Any] = {"MetricDataResults": shown, "Messages": []}
    if more:
        found["NextToken"] = base64.urlsafe_b64encode(f"page {page + 1}".encode()).decode()
    return found


def _page_number(token: str | None) -> int:
    if not token:
        return 0
    try:
        text = base64.urlsafe_b64decode(token).decode()
    except ValueError as error:
        raise bad_token() from error
    word, _, number = text.partition(" ")
    if word != "page" or not number.isdecimal():
        raise bad_token()
    return int(number)
