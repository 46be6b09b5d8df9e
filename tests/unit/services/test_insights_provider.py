"""Logs Insights' operations: queries over log groups, started, read, listed and stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.kernel.http import HttpRequest
from preheat.services.logs.insights import runner
from preheat.services.logs.provider import LogsProvider
from preheat.services.logs.store import LogStore

CONTEXT = OperationContext("logs", "", "us-east-1", "000000000000", "test", "id", HttpRequest("POST", "/"))
GROUP = "/aws/lambda/iris"


class Logs:
    """A provider whose operations are called by keyword; `query` waits for the end."""

    def __init__(self, data_dir: Path) -> None:
        self.store = LogStore(data_dir)
        self.provider = LogsProvider(self.store, "us-east-1", "000000000000")
        self.now_s = int(time.time())

    def __getattr__(self, operation: str) -> Any:
        return lambda **params: getattr(self.provider, operation)(CONTEXT, params)

    def put(self, stream: str, *messages: str, group: str = GROUP, ago_s: int = 60) -> None:
        at_ms = (self.now_s - ago_s) * 1000
        self.store.create_stream(group, stream)
        self.store.put(group, stream, [(at_ms + number, message) for number, message in enumerate(messages)])

    def start(self, query: str, **facts: Any) -> str:
        asked = {"startTime": self.now_s - 3600, "endTime": self.now_s, "logGroupName": GROUP, **facts}
        given = {key: value for key, value in asked.items() if value is not None}
        return str(self.start_query(queryString=query, **given)["queryId"])

    def done(self, query_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while (found := self.get_query_results(queryId=query_id))["status"] in ("Scheduled", "Running"):
            assert time.monotonic() < deadline
            threading.Event().wait(0.005)
        return dict(found)

    def query(self, query: str, **facts: Any) -> list[dict[str, str]]:
        results = self.done(self.start(query, **facts))["results"]
        return [{cell["field"]: cell["value"] for cell in row} for row in results]


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    made = Logs(tmp_path)
    yield made
    made.provider.close()
    made.store.close()


def code(call: Any, **params: Any) -> tuple[str, str]:
    with pytest.raises(AwsError) as caught:
        call(**params)
    return caught.value.code, caught.value.message


def test_a_query_over_several_streams_with_its_statistics(logs: Logs) -> None:
    logs.put("one", "a 1", "b 2")
    logs.put("two", "a 3", ago_s=30)
    logs.put("old", "a 4", ago_s=7200)
    query_id = logs.start("filter @message like 'a' | fields @message, @logStream")
    done = logs.done(query_id)
    assert [[cell["value"] for cell in row[:2]] for row in done["results"]] == [["a 3", "two"], ["a 1", "one"]]
    assert [cell["field"] for cell in done["results"][0]] == ["@message", "@logStream", "@ptr"]
    assert done["status"] == "Complete"
    assert done["statistics"] == {
        "recordsMatched": 2,
        "recordsScanned": 3,
        "estimatedRecordsSkipped": 0,
        "bytesScanned": 3 * (3 + 26),
        "estimatedBytesSkipped": 0,
        "logGroupsScanned": 1,
    }


def test_groups_are_named_in_three_ways(logs: Logs) -> None:
    logs.put("s", "first")
    logs.put("s", "second", group="other")
    by_log = "fields @log | sort @log asc | display @log"
    both = ["000000000000:/aws/lambda/iris", "000000000000:other"]
    assert [row["@log"] for row in logs.query(by_log, logGroupName=None, logGroupNames=[GROUP, "other"])] == both
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}"
    found = logs.query(by_log, logGroupName=None, logGroupIdentifiers=[f"{arn}:*", "other"])
    assert [row["@log"] for row in found] == both


def test_the_window_takes_in_its_last_second(logs: Logs) -> None:
    at_s = logs.now_s + 60
    logs.put("s", "x", "y", ago_s=-60)
    assert logs.query("stats count(*) as c", startTime=at_s, endTime=at_s) == [{"c": "2"}]
    assert logs.query("stats count(*) as c", startTime=at_s + 1, endTime=at_s + 1) == []
    assert logs.query("stats count(*) as c", startTime=at_s - 1, endTime=at_s - 1) == []


def test_a_record_is_read_back_by_its_pointer(logs: Logs) -> None:
    logs.put("s", "first", '{"level":"INFO","user":{"id":7}}', "third")
    (row,) = logs.query("filter level = 'INFO'")
    record = logs.get_log_record(logRecordPointer=row["@ptr"])["logRecord"]
    assert (record["level"], record["user.id"], record["@logStream"]) == ("INFO", "7", "s")
    assert record["@timestamp"] == str((logs.now_s - 60) * 1000 + 1)
    for pointer in ("nonsense!", "OTkvMA=="):
        assert code(logs.get_log_record, logRecordPointer=pointer)[0] == "InvalidParameterException"


def test_queries_are_listed_newest_first_in_pages(logs: Logs) -> None:
    logs.put("s", "x")
    ids = [logs.start("limit 1") for _ in range(3)]
    logs.done(ids[-1])
    listed = logs.describe_queries(logGroupName=GROUP, status="Complete", maxResults=2)
    assert [query["queryId"] for query in listed["queries"]] == ids[:0:-1]
    window = f"START={logs.now_s - 3600}000 END={logs.now_s}999"
    assert listed["queries"][0]["queryString"] == f'SOURCE "{GROUP}" {window} | limit 1'
    rest = logs.describe_queries(maxResults=2, nextToken=listed["nextToken"])
    assert [query["queryId"] for query in rest["queries"]] == ids[:1]
    assert "nextToken" not in rest
    assert logs.describe_queries(status="Failed")["queries"] == []
    assert code(logs.describe_queries, nextToken="x")[0] == "InvalidParameterException"


def test_a_query_under_way_shows_so_and_can_be_stopped(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.put("s", "x")
    reading, go_on = threading.Event(), threading.Event()

    def record(*arguments: Any) -> Any:
        reading.set()
        assert go_on.wait(20)
        return original(*arguments)

    original = runner._record
    monkeypatch.setattr(runner, "_record", record)
    logs.put("s", "y")
    first, second = logs.start("limit 1"), logs.start("limit 1")
    assert reading.wait(20)
    assert logs.get_query_results(queryId=first)["status"] == "Running"
    assert logs.get_query_results(queryId=second)["status"] == "Scheduled"
    for query_id in (first, second):
        assert logs.stop_query(queryId=query_id) == {"success": True}
    go_on.set()
    assert logs.done(first)["status"] == logs.done(second)["status"] == "Cancelled"
    assert code(logs.stop_query, queryId=first)[0] == "InvalidParameterException"


def test_what_goes_wrong_inside_fails_the_query(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.put("s", "x")
    monkeypatch.setattr(runner, "_record", lambda *_: 1 / 0)
    assert logs.done(logs.start("limit 1"))["status"] == "Failed"


def test_old_results_make_room(logs: Logs) -> None:
    logs.put("s", "x")
    ids = [logs.start("limit 1") for _ in range(runner._KEPT)]
    logs.done(ids[-1])
    logs.start("limit 1")
    assert code(logs.get_query_results, queryId=ids[0])[0] == "ResourceNotFoundException"
    assert logs.get_query_results(queryId=ids[1])["status"] == "Complete"


def test_large_results_make_room(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_KEPT_CHARACTERS", 100)
    logs.put("s", "x" * 200)
    first = logs.start("display @message")
    logs.done(first)
    second = logs.start("display @message")
    logs.done(second)
    assert logs.get_query_results(queryId=first)["status"] == "Complete"  # the second had no size as it began
    logs.start("display @message")
    assert code(logs.get_query_results, queryId=first)[0] == "ResourceNotFoundException"


def test_a_half_written_line_and_a_stream_without_a_file_do_no_harm(logs: Logs) -> None:
    logs.put("s", "x")
    logs.store.create_stream(GROUP, "empty")
    stream = logs.store.stream(GROUP, "s")
    with stream.path.open("ab") as torn:
        torn.write(b"[17")
    assert logs.query("stats count(*) as c") == [{"c": "1"}]


def test_groups_are_listed_by_a_pattern_of_their_names(logs: Logs) -> None:
    for group in (GROUP, "/aws/lambda/other", "plain"):
        logs.put("s", "x", group=group)
    found = logs.list_log_groups(logGroupNamePattern="^/aws/lambda/iris|nothing")["logGroups"]
    assert [group["logGroupName"] for group in found] == [GROUP]
    first = logs.list_log_groups(limit=2)
    rest = logs.list_log_groups(nextToken=first["nextToken"])
    names = [group["logGroupName"] for page in (first, rest) for group in page["logGroups"]]
    assert names == [GROUP, "/aws/lambda/other", "plain"]


def test_a_group_by_name_and_by_arn_at_once_is_refused_in_awss_words(logs: Logs) -> None:
    """Recorded on AWS (LocalStack's test_describe_log_streams_with_log_group_identifier)."""
    refused = code(logs.describe_log_streams, logGroupName=GROUP, logGroupIdentifier=GROUP)
    assert refused == ("ValidationException", "LogGroup name and LogGroup ARN are mutually exclusive parameters.")
    assert code(logs.describe_log_streams)[0] == "InvalidParameterException"


def test_wrong_requests_are_refused(logs: Logs) -> None:
    logs.put("s", "x")
    assert code(logs.start, query="limit 1", logGroupName=None)[0] == "InvalidParameterException"
    assert code(logs.start, query="limit 1", logGroupNames=[GROUP])[0] == "InvalidParameterException"
    missing = code(logs.start, query="limit 1", logGroupName="nothing")
    assert missing == (
        "ResourceNotFoundException",
        "Log group 'nothing' does not exist for account ID '000000000000' (Service: AWSLogs; Status Code: 400; "
        "Error Code: ResourceNotFoundException; Request ID: id; Proxy: null)",
    )
    assert code(logs.start, query="limit 1", startTime=logs.now_s + 1)[0] == "InvalidParameterException"
    before = code(logs.start, query="limit 1", startTime=1, endTime=2)
    assert before[0] == "MalformedQueryException"
    assert "before the log groups creation time" in before[1]
    assert code(logs.start, query="limit", logGroupName=GROUP)[0] == "MalformedQueryException"
    assert code(logs.start, query="limit 1", queryLanguage="SQL")[0] == "NotImplementedException"
    assert code(logs.get_query_results, queryId="x")[0] == "ResourceNotFoundException"
