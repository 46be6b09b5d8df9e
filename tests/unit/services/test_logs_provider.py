"""CloudWatch Logs' operations: pages and tokens, the rules of a batch, errors in AWS's words."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.kernel.http import HttpRequest
from preheat.services.logs import pages
from preheat.services.logs.provider import LogsProvider
from preheat.services.logs.store import LogStore

CONTEXT = OperationContext("logs", "", "us-east-1", "000000000000", "test", "id", HttpRequest("POST", "/"))
GROUP = "/aws/lambda/iris"
HOUR_MS = 3_600_000


class Logs:
    """A provider whose operations are called by keyword."""

    def __init__(self, data_dir: Path) -> None:
        self.store = LogStore(data_dir)
        self._provider = LogsProvider(self.store, "us-east-1", "000000000000")

    def __getattr__(self, operation: str) -> Any:
        return lambda **params: getattr(self._provider, operation)(CONTEXT, params)

    def put(self, stream: str, *events: tuple[int, str]) -> None:
        self.store.put(GROUP, stream, events)


def read(answer: dict[str, Any]) -> list[str]:
    return [event["message"] for event in answer["events"]]


def test_groups_are_made_described_and_deleted(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    for name in ("/aws/lambda/b", "/aws/lambda/a", "other"):
        logs.create_log_group(logGroupName=name, tags={"k": "v"})
    logs.put_retention_policy(logGroupName="other", retentionInDays=7)
    described = logs.describe_log_groups(logGroupNamePrefix="/aws/")["logGroups"]
    assert [group["logGroupName"] for group in described] == ["/aws/lambda/a", "/aws/lambda/b"]
    assert described[0]["arn"] == "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/a:*"
    assert described[0]["logGroupArn"] == "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/a"
    assert described[0]["storedBytes"] == 0
    (other,) = logs.describe_log_groups(logGroupNamePattern="the")["logGroups"]
    assert other["retentionInDays"] == 7
    logs.delete_retention_policy(logGroupName="other")
    assert logs.describe_log_groups(logGroupNamePattern="the")["logGroups"][0]["retentionInDays"] is None
    logs.delete_log_group(logGroupName="other")
    assert logs.describe_log_groups(logGroupNamePattern="the") == {"logGroups": []}


def test_tags_by_name_and_by_arn(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.create_log_group(logGroupName=GROUP, tags={"a": "1"})
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}"
    logs.tag_resource(resourceArn=arn, tags={"b": "2"})
    logs.tag_log_group(logGroupName=GROUP, tags={"c": "3"})
    logs.untag_resource(resourceArn=f"{arn}:*", tagKeys=["a"])
    logs.untag_log_group(logGroupName=GROUP, tags=["b"])
    assert logs.list_tags_for_resource(resourceArn=arn) == {"tags": {"c": "3"}}
    assert logs.list_tags_log_group(logGroupName=GROUP) == {"tags": {"c": "3"}}


@pytest.mark.parametrize(
    ("operation", "params", "code", "message"),
    [
        (
            "create_log_group",
            {"logGroupName": GROUP},
            "ResourceAlreadyExistsException",
            "The specified log group already exists",
        ),
        (
            "create_log_stream",
            {"logGroupName": GROUP, "logStreamName": "s"},
            "ResourceAlreadyExistsException",
            "The specified log stream already exists",
        ),
        (
            "delete_log_group",
            {"logGroupName": "no"},
            "ResourceNotFoundException",
            "The specified log group does not exist.",
        ),
        (
            "create_log_stream",
            {"logGroupName": "no", "logStreamName": "s"},
            "ResourceNotFoundException",
            "The specified log group does not exist.",
        ),
        (
            "get_log_events",
            {"logGroupName": GROUP, "logStreamName": "no"},
            "ResourceNotFoundException",
            "The specified log stream does not exist.",
        ),
        (
            "put_log_events",
            {"logGroupName": GROUP, "logStreamName": "no", "logEvents": [{"timestamp": 1, "message": "x"}]},
            "ResourceNotFoundException",
            "The specified log stream does not exist.",
        ),
        (
            "get_log_events",
            {"logGroupName": GROUP, "logStreamName": "s", "nextToken": "f/12"},
            "InvalidParameterException",
            "The specified nextToken is invalid.",
        ),
        (
            "filter_log_events",
            {"logGroupName": GROUP, "nextToken": "nonsense"},
            "InvalidParameterException",
            "The specified nextToken is invalid.",
        ),
        (
            "describe_log_streams",
            {"logGroupName": GROUP, "orderBy": "LastEventTime", "logStreamNamePrefix": "s"},
            "InvalidParameterException",
            "Cannot order by LastEventTime with a logStreamNamePrefix.",
        ),
        (
            "describe_log_groups",
            {"logGroupNamePrefix": "a", "logGroupNamePattern": "b"},
            "InvalidParameterException",
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ),
    ],
)
def test_errors(tmp_path: Path, operation: str, params: dict[str, Any], code: str, message: str) -> None:
    logs = Logs(tmp_path)
    logs.put("s", (1, "x"))
    with pytest.raises(AwsError) as error:
        getattr(logs, operation)(**params)
    assert (error.value.status, error.value.code, error.value.message) == (400, code, message)


def test_streams_by_name_and_by_last_event_in_pages(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.put("a", (30, "x"))
    logs.put("b", (10, "x"), (40, "y"), (20, "late"))
    logs.put("c", (20, "x"))
    logs.create_log_stream(logGroupName=GROUP, logStreamName="never")

    def names(**params: Any) -> list[str]:
        found: list[str] = []
        while True:
            answer = logs.describe_log_streams(logGroupName=GROUP, limit=3, **params)
            found += [stream["logStreamName"] for stream in answer["logStreams"]]
            if "nextToken" not in answer:
                return found
            params["nextToken"] = answer["nextToken"]

    assert names() == ["a", "b", "c", "never"]
    assert names(descending=True) == ["never", "c", "b", "a"]
    assert names(orderBy="LastEventTime", descending=True) == ["b", "a", "c", "never"]
    assert names(logStreamNamePrefix="n") == ["never"]
    streams = {s["logStreamName"]: s for s in logs.describe_log_streams(logGroupName=GROUP)["logStreams"]}
    assert (streams["b"]["firstEventTimestamp"], streams["b"]["lastEventTimestamp"]) == (10, 40)
    assert abs(streams["b"]["lastIngestionTime"] - time.time() * 1000) < 60_000
    assert "lastEventTimestamp" not in streams["never"]
    logs.delete_log_stream(logGroupName=GROUP, logStreamName="never")
    assert names() == ["a", "b", "c"]


def test_stream_facts_survive_a_restart(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.put("a", (30, "x"), (10, "y"))
    before = logs.describe_log_streams(logGroupName=GROUP)
    stored = logs.describe_log_groups()["logGroups"][0]["storedBytes"]
    logs.store.close()
    again = Logs(tmp_path)
    assert again.describe_log_streams(logGroupName=GROUP) == before
    assert again.describe_log_groups()["logGroups"][0]["storedBytes"] == stored > 0


def test_reading_forward_ends_with_the_same_token_and_goes_on_when_there_is_more(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.put("s", *[(at, f"m{at}") for at in range(5)])
    where = {"logGroupName": GROUP, "logStreamName": "s"}
    first = logs.get_log_events(**where, startFromHead=True, limit=3)
    assert read(first) == ["m0", "m1", "m2"]
    assert re.fullmatch(r"f/\d{56}", first["nextForwardToken"])
    second = logs.get_log_events(**where, nextToken=first["nextForwardToken"], limit=3)
    assert read(second) == ["m3", "m4"]
    end = logs.get_log_events(**where, nextToken=second["nextForwardToken"])
    assert (end["events"], end["nextForwardToken"]) == ([], second["nextForwardToken"])
    assert read(logs.get_log_events(**where, nextToken=end["nextBackwardToken"], limit=2)) == ["m3", "m4"]
    logs.put("s", (9, "m9"))
    assert read(logs.get_log_events(**where, nextToken=end["nextForwardToken"])) == ["m9"]


def test_without_start_from_head_the_latest_come_and_reading_goes_backward(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.put("s", *[(at, f"m{at}") for at in range(5)])
    where = {"logGroupName": GROUP, "logStreamName": "s"}
    last = logs.get_log_events(**where, limit=2)
    assert read(last) == ["m3", "m4"]
    before = logs.get_log_events(**where, limit=2, nextToken=last["nextBackwardToken"])
    assert read(before) == ["m1", "m2"]
    first = logs.get_log_events(**where, limit=2, nextToken=before["nextBackwardToken"])
    assert read(first) == ["m0"]
    end = logs.get_log_events(**where, nextToken=first["nextBackwardToken"])
    assert (end["events"], end["nextBackwardToken"]) == ([], first["nextBackwardToken"])
    assert read(logs.get_log_events(**where, nextToken=end["nextForwardToken"], limit=1)) == ["m0"]


def test_times_bound_what_is_read_start_included_end_not(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.put("s", *[(at, f"m{at}") for at in range(5)])
    window = {"logGroupName": GROUP, "startTime": 1, "endTime": 3}
    assert read(logs.get_log_events(**window, logStreamName="s")) == ["m1", "m2"]
    assert read(logs.filter_log_events(**window)) == ["m1", "m2", "m3"], "the API reference differs between the two"


def test_a_filter_gives_the_newest_first_where_asked(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    since = 1_704_067_200_000
    for at in range(5):
        logs.put("ab"[at % 2], (since + at, f"m{at}"))
    where: dict[str, Any] = {"logGroupName": GROUP, "startTime": since + 1, "limit": 2}
    first = logs.filter_log_events(**where, startFromHead=False)
    assert read(first) == ["m4", "m3"]
    second = logs.filter_log_events(**where, nextToken=first["nextToken"])  # the direction is the token's
    assert read(second) == ["m2", "m1"]
    assert "nextToken" not in second
    with pytest.raises(AwsError, match="on or after Jan 1, 2024"):
        logs.filter_log_events(logGroupName=GROUP, startTime=since - 1, startFromHead=False)


def test_a_page_is_at_most_a_megabyte(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    for at in range(4):
        logs.put("s", (at, "x" * 400_000))
    where = {"logGroupName": GROUP, "logStreamName": "s", "startFromHead": True}
    first = logs.get_log_events(**where)
    assert len(first["events"]) == 2
    assert len(logs.get_log_events(**where, nextToken=first["nextForwardToken"])["events"]) == 2
    found = logs.filter_log_events(logGroupName=GROUP)
    assert len(found["events"]) == 2
    assert "nextToken" in found


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=30),
    st.integers(1, 7),
    st.booleans(),
)
def test_pages_of_a_filter_give_every_event_once_interleaved_by_time(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int]], limit: int, oldest_first: bool
) -> None:
    logs = Logs(tmp_path_factory.mktemp("logs"))
    logs.create_log_group(logGroupName=GROUP)
    for number, (stream, at) in enumerate(events):
        logs.put(stream, (at, f"{'KEEP' if number % 3 else 'DROP'} {number}"))
    seen: list[dict[str, Any]] = []
    token: dict[str, Any] = {"startFromHead": oldest_first}
    while True:
        answer = logs.filter_log_events(logGroupName=GROUP, filterPattern="KEEP", limit=limit, **token)
        assert len(answer["events"]) <= limit
        seen += answer["events"]
        if "nextToken" not in answer:
            break
        token = {"nextToken": answer["nextToken"]}
    expected = [(at, stream, number) for number, (stream, at) in enumerate(events) if number % 3]
    assert sorted(event["message"] for event in seen) == sorted(f"KEEP {number}" for _, _, number in expected)
    assert [event["timestamp"] for event in seen] == sorted((at for at, _, _ in expected), reverse=not oldest_first)
    assert len({event["eventId"] for event in seen}) == len(seen)
    assert all(re.fullmatch(r"\d{56}", event["eventId"]) for event in seen)
    logs.store.close()


def test_a_scan_is_bounded_and_its_token_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "SCAN_EVENTS", 10)
    logs = Logs(tmp_path)
    logs.put("s", *[(at, "hay") for at in range(25)], (99, "needle"))
    params: dict[str, Any] = {"logGroupName": GROUP, "filterPattern": "needle"}
    answers = []
    while True:
        answers.append(logs.filter_log_events(**params))
        if "nextToken" not in answers[-1]:
            break
        params["nextToken"] = answers[-1]["nextToken"]
    assert [read(answer) for answer in answers] == [[], [], ["needle"]]


def test_streams_can_be_chosen(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    for name in ("x1", "x2", "y"):
        logs.put(name, (1, name))
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}:*"
    assert read(logs.filter_log_events(logGroupIdentifier=arn, logStreamNamePrefix="x")) == ["x1", "x2"]
    assert read(logs.filter_log_events(logGroupName=GROUP, logStreamNames=["y", "x1", "y"])) == ["x1", "y"]
    with pytest.raises(AwsError, match="stream does not exist"):
        logs.filter_log_events(logGroupName=GROUP, logStreamNames=["z"])


def put(logs: Logs, *events: tuple[int, str]) -> dict[str, Any]:
    logs.store.create_stream(GROUP, "s")
    answer: dict[str, Any] = logs.put_log_events(
        logGroupName=GROUP,
        logStreamName="s",
        logEvents=[{"timestamp": at, "message": message} for at, message in events],
    )
    return answer


def test_put_log_events_takes_what_is_in_time_and_says_what_is_not(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    now = int(time.time() * 1000)
    answer = put(logs, (now - HOUR_MS, "early"), (now, "now"), (now + 3 * HOUR_MS, "too new"))
    assert answer["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 2}
    old = now - 14 * 24 * HOUR_MS
    answer = put(logs, (old - HOUR_MS, "too old"), (old + HOUR_MS, "old"))
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    logs.put_retention_policy(logGroupName=GROUP, retentionInDays=1)
    answer = put(logs, (now - 30 * HOUR_MS, "expired"), (now - 20 * HOUR_MS, "fresh"))
    assert answer["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}
    assert "rejectedLogEventsInfo" not in put(logs, (now, "fine"))
    assert read(logs.get_log_events(logGroupName=GROUP, logStreamName="s")) == [
        "old",
        "fresh",
        "early",
        "now",
        "fine",
    ]


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([(5, "b"), (4, "a")], "must be in chronological order"),
        ([(0, "a"), (24 * HOUR_MS + 1, "b")], "cannot span more than 24 hours"),
        ([(0, "x" * 1_048_551)], "Log event too large: 1048577 bytes exceeds limit of 1048576"),
        ([(0, "x" * 600_000), (0, "x" * 448_525)], "Upload too large: 1048577 bytes exceeds limit of 1048576"),
    ],
)
def test_a_bad_batch_is_refused_as_a_whole(tmp_path: Path, events: list[tuple[int, str]], message: str) -> None:
    logs = Logs(tmp_path)
    now = int(time.time() * 1000) - 2 * 24 * HOUR_MS
    with pytest.raises(AwsError, match=message):
        put(logs, *[(now + at, text) for at, text in events])
    assert read(logs.get_log_events(logGroupName=GROUP, logStreamName="s")) == []


def test_only_valid_events_count_for_the_span_of_a_batch(tmp_path: Path) -> None:
    logs, now = Logs(tmp_path), int(time.time() * 1000)
    answer = put(logs, (now - 15 * 24 * HOUR_MS, "too old"), (now, "now"))
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    assert read(logs.get_log_events(logGroupName=GROUP, logStreamName="s")) == ["now"]


def test_the_largest_batch_passes(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    put(logs, (int(time.time() * 1000), "x" * 1_048_550))
    assert len(read(logs.get_log_events(logGroupName=GROUP, logStreamName="s"))[0]) == 1_048_550


def test_only_the_retentions_of_aws_are_taken(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.create_log_group(logGroupName=GROUP)
    with pytest.raises(AwsError, match=r"Value '2' at 'retentionInDays' failed to satisfy constraint"):
        logs.put_retention_policy(logGroupName=GROUP, retentionInDays=2)
