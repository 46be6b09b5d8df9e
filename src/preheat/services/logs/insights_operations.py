"""CloudWatch Logs Insights' operations: queries are started, asked for, listed and stopped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.services.logs.failures import invalid, malformed_range, no_group_named, no_query, not_built, signed
from preheat.services.logs.insights.language import parse
from preheat.services.logs.insights.runner import QueryRun, QueryRunner, Source, place, read_record
from preheat.services.logs.insights.values import Instant, text
from preheat.services.logs.names import group_name
from preheat.services.logs.store import LogGroup, LogStore

_GROUPS_MAX = 50
_LISTED_MAX = 1000
_SIGNED = ("MalformedQueryException", "ResourceNotFoundException")


class InsightsOperations:
    """Part of `LogsProvider`, which sets these."""

    _store: LogStore
    _account_id: str
    _runner: QueryRunner

    def start_query(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"queryId": self._started(params).id}
        except AwsError as error:
            raise signed(error, context.request_id) if error.code in _SIGNED else error from None

    def _started(self, params: dict[str, Any]) -> QueryRun:
        language = params.get("queryLanguage") or "CWLI"
        if language != "CWLI":
            raise not_built(f"The query language {language}")
        groups = self._queried(params)
        query = parse(params["queryString"], params.get("limit"))
        start_s, end_s = params["startTime"], params["endTime"]
        if start_s > end_s:
            raise invalid("The query's start time must not be after its end time.")
        if all(end_s < group.created_ms // 1000 for group in groups):
            raise malformed_range(start_s, end_s)
        sources = [source for group in groups for source in self._sources(group)]
        window = (start_s * 1000, end_s * 1000 + 999)
        names = [group.name for group in groups]
        quoted = " ".join(f'"{name}"' for name in names)
        whole = f"SOURCE {quoted} START={window[0]} END={window[1]} | {params['queryString']}"
        return self._runner.start(query, whole, names, sources, window)

    def _queried(self, params: dict[str, Any]) -> list[LogGroup]:
        one = params.get("logGroupName")
        given = [
            names
            for names in ([one] if one else None, params.get("logGroupNames"), params.get("logGroupIdentifiers"))
            if names
        ]
        if len(given) != 1:
            raise invalid("Exactly one of logGroupName, logGroupNames and logGroupIdentifiers must be given.")
        names = list(dict.fromkeys(group_name(identifier) for identifier in given[0]))
        if len(names) > _GROUPS_MAX:
            raise invalid(f"A query can have no more than {_GROUPS_MAX} log groups.")
        known = {group.name: group for group in self._store.groups()}
        for name in names:
            if name not in known:
                raise no_group_named(name, self._account_id)
        return [known[name] for name in names]

    def _sources(self, group: LogGroup) -> Iterator[Source]:
        for stream in group.streams.values():
            yield Source(f"{self._account_id}:{group.name}", stream.name, stream.id, stream.path)

    def get_query_results(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        run = self._run(params["queryId"])
        status = run.status  # before the rows: they are there once it is Complete
        rows = run.rows if status == "Complete" else []
        return {
            "queryLanguage": "CWLI",
            "results": [[{"field": name, "value": value} for name, value in row] for row in rows],
            "statistics": {
                "recordsMatched": run.matched,
                "recordsScanned": run.scanned,
                "estimatedRecordsSkipped": 0,
                "bytesScanned": run.scanned_bytes,
                "estimatedBytesSkipped": 0,
                "logGroupsScanned": len(run.groups),
            },
            "status": status,
        }

    def stop_query(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        run = self._run(params["queryId"])
        if not run.unfinished:
            raise invalid(f"The query {run.id} has ended already, with status {run.status}.")
        self._runner.stop(run)
        return {"success": True}

    def describe_queries(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """Newest first. A token is the number of queries already shown."""
        group, status = params.get("logGroupName"), params.get("status")
        runs = [
            run
            for run in reversed(self._runner.runs.values())
            if group in (None, *run.groups) and status in (None, run.status)
        ]
        token = params.get("nextToken") or "0"
        if not token.isdecimal():
            raise invalid("The specified nextToken is invalid.")
        begin, count = int(token), params.get("maxResults") or _LISTED_MAX
        answer: dict[str, Any] = {"queries": [_described(run) for run in runs[begin : begin + count]]}
        if len(runs) > begin + count:
            answer["nextToken"] = str(begin + count)
        return answer

    def get_log_record(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        found = place(params["logRecordPointer"])
        for group in self._store.groups() if found else ():
            for source in self._sources(group):
                if found and source.stream_id == found[0] and (record := read_record(source, found[1])) is not None:
                    fields = record.all()
                    plain = {
                        name: int(value) if isinstance(value, Instant) else value for name, value in fields.items()
                    }
                    return {"logRecord": {name: text(value) for name, value in plain.items()}}
        raise invalid("The specified log record pointer is invalid.")

    def _run(self, query_id: str) -> QueryRun:
        run = self._runner.runs.get(query_id)
        if run is None:
            raise no_query()
        return run


def _described(run: QueryRun) -> dict[str, Any]:
    return {
        "queryLanguage": "CWLI",
        "queryId": run.id,
        "queryString": run.text,
        "status": run.status,
        "createTime": run.created_s * 1000,
        "logGroupName": run.groups[0],
    }
