"""CloudWatch Logs' operations."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from preheat.aws.context import OperationContext
from preheat.services.logs import pages
from preheat.services.logs.batches import check_batch, check_span, split_batch
from preheat.services.logs.failures import bad_token, both_name_and_arn, invalid
from preheat.services.logs.filters import compile_pattern
from preheat.services.logs.insights.runner import QueryRunner
from preheat.services.logs.insights_operations import InsightsOperations
from preheat.services.logs.names import group_name
from preheat.services.logs.store import LogGroup, LogStore
from preheat.services.logs.stream import LogStream

_DESCRIBE_PAGE = 50
_RETENTION_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip
"""API reference, PutRetentionPolicy. Stored and shown; nothing is deleted by age."""
_NEWEST_FIRST_SINCE_MS = 1_704_067_200_000
"""1 January 2024: FilterLogEvents gives newer events alone newest first (API reference, startFromHead)."""

T = TypeVar("T")


class LogsProvider(InsightsOperations):
    """One method per operation, over a `LogStore`; `close` after the last."""

    def __init__(self, store: LogStore, region: str, account_id: str) -> None:
        self._store = store
        self._account_id = account_id
        self._runner = QueryRunner()
        self._arn_prefix = f"arn:aws:logs:{region}:{account_id}:log-group:"

    def close(self) -> None:
        self._runner.close()

    # groups

    def create_log_group(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        self._store.add_group(params["logGroupName"], params.get("logGroupClass") or "STANDARD", params.get("tags"))
        return {}

    def delete_log_group(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        self._store.delete_group(params["logGroupName"])
        return {}

    def describe_log_groups(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        prefix, pattern = params.get("logGroupNamePrefix") or "", params.get("logGroupNamePattern") or ""
        if prefix and pattern:
            raise invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
        named = [group_name(identifier) for identifier in params.get("logGroupIdentifiers") or ()]
        groups = [
            group
            for group in self._store.groups()
            if group.name.startswith(prefix) and pattern in group.name and (not named or group.name in named)
        ]
        page, token = _paged(groups, params, lambda group: group.name)
        return _with_token({"logGroups": [self._described(group) for group in page]}, token)

    def list_log_groups(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        pattern, log_class = params.get("logGroupNamePattern") or "", params.get("logGroupClass")
        groups = [
            group
            for group in self._store.groups()
            if re.search(pattern, group.name) and log_class in (None, group.log_class)
        ]
        page, token = _paged(groups, params, lambda group: group.name)
        shown = [
            {"logGroupName": one.name, "logGroupArn": self._arn_prefix + one.name, "logGroupClass": one.log_class}
            for one in page
        ]
        return _with_token({"logGroups": shown}, token)

    def _described(self, group: LogGroup) -> dict[str, Any]:
        arn = self._arn_prefix + group.name
        return {
            "logGroupName": group.name,
            "creationTime": group.created_ms,
            "retentionInDays": group.retention_days,
            "metricFilterCount": 0,
            "arn": f"{arn}:*",
            "storedBytes": self._store.stored_bytes(group),
            "logGroupClass": group.log_class,
            "logGroupArn": arn,
        }

    def put_retention_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        days = params["retentionInDays"]
        if days not in _RETENTION_DAYS:
            allowed = ", ".join(map(str, _RETENTION_DAYS))
            raise invalid(
                f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
                f"Member must satisfy enum value set: [{allowed}]"
            )
        self._store.set_retention(params["logGroupName"], days)
        return {}

    def delete_retention_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        self._store.set_retention(params["logGroupName"], None)
        return {}

    # tags, by name (the older operations) and by ARN

    def tag_log_group(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return self._tag(params["logGroupName"], params["tags"])

    def untag_log_group(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return self._untag(params["logGroupName"], params["tags"])

    def list_tags_log_group(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return {"tags": self._store.group(params["logGroupName"]).tags}

    def tag_resource(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return self._tag(group_name(params["resourceArn"]), params["tags"])

    def untag_resource(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return self._untag(group_name(params["resourceArn"]), params["tagKeys"])

    def list_tags_for_resource(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return {"tags": self._store.group(group_name(params["resourceArn"])).tags}

    def _tag(self, name: str, tags: dict[str, str]) -> dict[str, Any]:
        self._store.set_tags(name, {**self._store.group(name).tags, **tags})
        return {}

    def _untag(self, name: str, keys: Iterable[str]) -> dict[str, Any]:
        gone = set(keys)
        tags = {key: value for key, value in self._store.group(name).tags.items() if key not in gone}
        self._store.set_tags(name, tags)
        return {}

    def _group_name(self, params: dict[str, Any]) -> str:
        name, identifier = params.get("logGroupName"), params.get("logGroupIdentifier")
        if name is not None and identifier is not None:
            raise both_name_and_arn()
        if name is None and identifier is None:
            raise invalid("One of logGroupName and logGroupIdentifier must be given.")
        return name or group_name(identifier or "")

    # streams

    def create_log_stream(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        self._store.add_stream(params["logGroupName"], params["logStreamName"])
        return {}

    def delete_log_stream(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        self._store.delete_stream(params["logGroupName"], params["logStreamName"])
        return {}

    def describe_log_streams(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        group = self._store.group(self._group_name(params))
        prefix = params.get("logStreamNamePrefix") or ""
        by_time = params.get("orderBy") == "LastEventTime"
        if by_time and prefix:
            raise invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
        streams = [stream for name, stream in group.streams.items() if name.startswith(prefix)]
        if by_time:
            streams = [self._store.refreshed(stream) for stream in streams]
            order: Callable[[LogStream], str] = _by_last_event
        else:
            order = _by_name
        page, token = _paged(streams, params, order)
        described = [self._described_stream(group, self._store.refreshed(stream)) for stream in page]
        return _with_token({"logStreams": described}, token)

    def _described_stream(self, group: LogGroup, stream: LogStream) -> dict[str, Any]:
        described: dict[str, Any] = {
            "logStreamName": stream.name,
            "creationTime": stream.created_ms,
            "arn": f"{self._arn_prefix}{group.name}:log-stream:{stream.name}",
            "storedBytes": 0,  # always, since June 2019 (API reference, LogStream)
        }
        if len(stream):
            described["firstEventTimestamp"] = stream.timestamp(0)
            described["lastEventTimestamp"] = stream.timestamp(-1)
            described["lastIngestionTime"] = stream.last_ingestion_ms
        return described

    # events

    def put_log_events(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        group_name, stream_name = params["logGroupName"], params["logStreamName"]
        retention_days = self._store.group(group_name).retention_days
        stream = self._store.stream(group_name, stream_name)
        events = [(event["timestamp"], event["message"]) for event in params["logEvents"]]
        check_batch(events)
        accepted, rejected = split_batch([at for at, _ in events], time.time_ns() // 1_000_000, retention_days)
        check_span(events[accepted])
        self._store.put(group_name, stream_name, events[accepted])
        answer: dict[str, Any] = {"nextSequenceToken": pages.event_id(self._store.refreshed(stream).size_bytes)}
        if rejected:
            answer["rejectedLogEventsInfo"] = rejected
        return answer

    def get_log_events(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        stream = self._store.readable(self._store.stream(self._group_name(params), params["logStreamName"]))
        cursor = pages.parse_token(params["nextToken"]) if params.get("nextToken") else None
        low, high = stream.between(params.get("startTime"), params.get("endTime"))
        limit = params.get("limit") or pages.MAX_EVENTS
        page = pages.stream_page(stream, low, high, cursor, bool(params.get("startFromHead")), limit)
        events = [
            {"timestamp": event.timestamp_ms, "message": event.message, "ingestionTime": event.ingestion_ms}
            for event in page.events
        ]
        return {"events": events, "nextForwardToken": page.forward, "nextBackwardToken": page.backward}

    def filter_log_events(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        start_ms, end_ms = params.get("startTime"), params.get("endTime")
        cursor = pages.parse_token(params["nextToken"]) if params.get("nextToken") else _first_cursor(params)
        group = self._store.group(self._group_name(params))
        wanted = compile_pattern(params.get("filterPattern") or "")
        window = (start_ms, None if end_ms is None else end_ms + 1)  # unlike GetLogEvents', the end belongs to it
        streams = [self._store.refreshed(stream) for stream in self._chosen(group, params)]
        limit = params.get("limit") or pages.MAX_EVENTS
        found = pages.scan(streams, window, cursor, limit, wanted, self._store.readable)
        events = [
            {
                "logStreamName": stream.name,
                "timestamp": event.timestamp_ms,
                "message": event.message,
                "ingestionTime": event.ingestion_ms,
                "eventId": pages.event_id(event.key),
            }
            for stream, event in found.events
        ]
        token = None if found.next is None else pages.token(found.next)
        return _with_token({"events": events, "searchedLogStreams": []}, token)

    def _chosen(self, group: LogGroup, params: dict[str, Any]) -> list[LogStream]:
        names, prefix = params.get("logStreamNames"), params.get("logStreamNamePrefix")
        if names and prefix:
            raise invalid("logStreamNames and logStreamNamePrefix are mutually exclusive parameters.")
        if names:
            return [self._store.stream(group.name, name) for name in dict.fromkeys(names)]
        return [stream for name, stream in group.streams.items() if name.startswith(prefix or "")]


def _first_cursor(params: dict[str, Any]) -> pages.Cursor:
    """Where FilterLogEvents begins (API reference; the words of the refusal are ours)."""
    if params.get("startFromHead") is not False:
        return pages.OLDEST
    start_ms = params.get("startTime")
    if start_ms is not None and start_ms < _NEWEST_FIRST_SINCE_MS:
        raise invalid("startFromHead can be false only with a startTime on or after Jan 1, 2024 00:00:00 UTC.")
    return pages.NEWEST


def _by_name(stream: LogStream) -> str:
    return stream.name


def _by_last_event(stream: LogStream) -> str:
    """Streams that never had an event come first; fixed width, so that text compares as numbers do."""
    return f"{stream.timestamp(-1) if len(stream) else 0:020d}{stream.name}"


def _paged(items: list[T], params: dict[str, Any], order: Callable[[T], str]) -> tuple[list[T], str | None]:
    """(items of this page, token of the next or None). A token names the last item given, so it stays good
    while items come and go."""
    descending = bool(params.get("descending"))
    items = sorted(items, key=order, reverse=descending)
    if params.get("nextToken"):
        after = _decode(params["nextToken"])
        items = [item for item in items if (order(item) < after if descending else order(item) > after)]
    limit = params.get("limit") or _DESCRIBE_PAGE
    page = items[:limit]
    return page, _encode(order(page[-1])) if len(items) > limit else None


def _with_token(answer: dict[str, Any], token: str | None) -> dict[str, Any]:
    if token is not None:
        answer["nextToken"] = token
    return answer


def _encode(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def _decode(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except ValueError as error:
        raise bad_token() from error
