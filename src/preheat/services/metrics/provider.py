"""CloudWatch's operations on metrics. Alarms, dashboards, streams and anomaly detection are not built."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.kernel.function import FunctionDirectory
from preheat.services.metrics import custom
from preheat.services.metrics.data_queries import DataQueries, answer
from preheat.services.metrics.emf import EmbeddedMetrics, LogFile
from preheat.services.metrics.failures import bad_token, invalid_combination, missing
from preheat.services.metrics.ingest import JournalFiles, JournalMetrics
from preheat.services.metrics.periods import Periods, check_count, moment, periods
from preheat.services.metrics.points import Point, statistic
from preheat.services.metrics.store import MetricStore, Series

_LIST_PAGE = 500
_RECENT_S = 3 * 3600
"""ListMetrics' RecentlyActive=PT3H."""

_DATAPOINTS_MAX = 1440
"""GetMetricStatistics: datapoints of one call."""

_UNITS = (
    *("Megabits", "Terabits", "Gigabits", "Count", "Bytes", "Gigabytes", "Gigabytes/Second", "Kilobytes"),
    *("Kilobits/Second", "Terabytes", "Terabits/Second", "Bytes/Second", "Percent", "Megabytes", "Megabits/Second"),
    *("Milliseconds", "Microseconds", "Kilobytes/Second", "Gigabits/Second", "Megabytes/Second", "Bits", "Bits/Second"),
    *("Count/Second", "Seconds", "Kilobits", "Terabytes/Second", "None"),
)
"""Where GetMetricData's query names no unit and there are several, AWS takes the first in this order (seen there)."""

T = TypeVar("T")


class MetricsProvider:
    """Everything happens on one thread of its own, when somebody asks: serving functions neither waits nor counts.

    `log_files` gives the log streams' files, to be read for embedded metrics; it is called on the event loop.
    """

    def __init__(
        self,
        path: Path,
        journal: JournalFiles,
        functions: FunctionDirectory,
        log_files: Callable[[], Sequence[LogFile]],
    ) -> None:
        self._path = path
        self._journal = journal
        self._functions = functions
        self._log_files = log_files
        self._worker = ThreadPoolExecutor(1, "metrics")
        self._ended = threading.Event()
        self._opened: tuple[MetricStore, JournalMetrics, EmbeddedMetrics] | None = None

    def close(self) -> None:
        self._ended.set()
        self._worker.submit(self._close).result()
        self._worker.shutdown()

    def _close(self) -> None:
        if self._opened is not None:
            self._opened[0].close()

    # operations

    async def put_metric_data(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        points = custom.points(params, datetime.now(UTC))
        await self._on_worker(lambda store: _put(store, points))
        return {}

    async def list_metrics(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return await self._up_to_date(lambda store: _list(store, params))

    async def get_metric_statistics(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        plain, extended = params.get("Statistics") or [], params.get("ExtendedStatistics") or []
        if not plain and not extended:
            raise missing("At least one of the parameters Statistics and ExtendedStatistics must be specified.")
        if plain and extended:
            raise invalid_combination("The parameters Statistics and ExtendedStatistics are mutually exclusive.")
        read = {name: statistic(name) for name in [*plain, *extended]}
        asked = periods(params["StartTime"], params["EndTime"], params["Period"], datetime.now(UTC))
        check_count(params["StartTime"], params["EndTime"], params["Period"], _DATAPOINTS_MAX)

        def work(store: MetricStore) -> dict[str, Any]:
            datapoints = []
            for unit, point_at in _by_unit(store, params, asked):
                for at_s, point in sorted(point_at.items()):
                    found = {name: value for name in plain if (value := read[name](point)) is not None}
                    ranks = {name: value for name in extended if (value := read[name](point)) is not None}
                    shown = {"ExtendedStatistics": ranks} if extended else found
                    datapoints.append({"Timestamp": moment(at_s), **shown, "Unit": unit})
            return {"Label": params["MetricName"], "Datapoints": datapoints}

        return await self._up_to_date(work)

    async def get_metric_data(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        def work(store: MetricStore) -> dict[str, Any]:
            def gather(
                metric: Mapping[str, Any], unit: str | None, asked: Periods
            ) -> tuple[dict[int, Point], list[str]]:
                points = {one: found for one, found in _by_unit(store, {**metric, "Unit": unit}, asked) if found}
                taken = min(points, key=lambda one: _UNITS.index(one) if one in _UNITS else len(_UNITS), default="")
                return points.get(taken, {}), sorted(points)

            return answer(params, DataQueries(params, datetime.now(UTC), gather).results())

        return await self._up_to_date(work)

    # the thread

    async def _up_to_date(self, work: Callable[[MetricStore], T]) -> T:
        """Read what is new in the journal and the logs, then work, on the worker's thread."""
        files = self._log_files()

        def all_of_it(store: MetricStore) -> T:
            assert self._opened is not None
            _, journal, embedded = self._opened
            journal.read_on()
            embedded.read_on(files)
            return work(store)

        return await self._on_worker(all_of_it)

    async def _on_worker(self, work: Callable[[MetricStore], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, lambda: work(self._store()))

    def _store(self) -> MetricStore:
        if self._opened is None:
            store = MetricStore(self._path)
            store.forget_before(int(time.time()))
            journal = JournalMetrics(store, self._journal, self._is_reserved, self._ended)
            self._opened = (store, journal, EmbeddedMetrics(store))
        return self._opened[0]

    def _is_reserved(self, function: str) -> bool:
        try:
            return self._functions.resolve(function).reserved_concurrency is not None
        except AwsError:
            return False  # deleted meanwhile


def _put(store: MetricStore, points: Mapping[tuple[Series, int], Point]) -> None:
    with store.together():
        store.add(points)


def _named(store: MetricStore, metric: Mapping[str, Any], unit: str | None) -> list[Series]:
    """The series of one metric: exactly these dimensions, of any unit where none is named."""
    wanted = custom.dimensions(metric)
    found = store.series(metric.get("Namespace"), metric.get("MetricName"))
    return [series for series, _ in found if series.dimensions == wanted and unit in (None, series.unit)]


def _by_unit(store: MetricStore, params: Mapping[str, Any], asked: Periods) -> list[tuple[str, dict[int, Point]]]:
    """Data of different units are never mixed in one datapoint (API reference, GetMetricStatistics)."""
    named = _named(store, params, params.get("Unit"))
    return [(one.unit, asked.gather(store.points([one], asked.start_s, asked.end_s))) for one in named]


def _list(store: MetricStore, params: Mapping[str, Any]) -> dict[str, Any]:
    since_s = time.time() - _RECENT_S if params.get("RecentlyActive") else 0
    filters = [(one["Name"], one.get("Value")) for one in params.get("Dimensions") or ()]
    names: dict[str, Series] = {}
    for series, latest_s in store.series(params.get("Namespace"), params.get("MetricName")):
        held = dict(series.dimensions)
        if latest_s >= since_s and all(name in held and value in (None, held[name]) for name, value in filters):
            names.setdefault(repr((series.namespace, series.name, series.dimensions)), series)
    keys = sorted(names)
    if params.get("NextToken"):
        after = _decoded(params["NextToken"])
        keys = [key for key in keys if key > after]
    page = keys[:_LIST_PAGE]
    found: dict[str, Any] = {"Metrics": [_shown(names[key]) for key in page]}
    if len(keys) > _LIST_PAGE:
        found["NextToken"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
    return found


def _shown(series: Series) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in series.dimensions]
    return {"Namespace": series.namespace, "MetricName": series.name, "Dimensions": dimensions}


def _decoded(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except ValueError as error:
        raise bad_token() from error
