"""Rounds against botocore's Stubber, which holds every call to AWS's own service models."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from preheat.warm import rounds
from preheat.warm.rounds import Answer

REPORT = "REPORT RequestId: {0}\tDuration: 1.00 ms\tBilled Duration: 1 ms\tMemory Size: 128 MB\tMax Memory Used: 9 MB\t"
JSON_REPORT = '{"time":"t","type":"platform.report","record":{"requestId":"id-2","metrics":{"initDurationMs": 81.5}}}'


def stubbed(service: str) -> tuple[Any, Stubber]:
    client = boto3.Session("x", "x", region_name="us-east-1").client(service, endpoint_url="http://127.0.0.1:1")  # type: ignore[call-overload]
    return client, Stubber(client)


@pytest.fixture
def logs() -> Iterator[tuple[Any, Stubber]]:
    client, stub = stubbed("logs")
    with stub:
        yield client, stub


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (REPORT.format("a") + "\n", None),
        (REPORT.format("a") + "Init Duration: 912.31 ms\t\n", 912.31),
        (REPORT.format("a") + "Restore Duration: 12.00 ms\tBilled Restore Duration: 3 ms\t\n", 12.0),
        (JSON_REPORT, 81.5),
        ("", None),
    ],
)
def test_cold_is_what_the_report_says(tail: str, expected: float | None) -> None:
    assert rounds.cold_ms(tail) == expected


def invoke(response: dict[str, Any] | str) -> Answer:
    client, stub = stubbed("lambda")
    asked = {"FunctionName": "f", "InvocationType": "RequestResponse", "LogType": "Tail", "Payload": b"{}"}
    if isinstance(response, str):
        stub.add_client_error("invoke", response)
    else:
        body = StreamingBody(io.BytesIO(b"{}"), 2)  # type: ignore[arg-type]
        metadata = {"RequestId": "id-1", "HTTPStatusCode": 200}
        stub.add_response("invoke", {"Payload": body, "ResponseMetadata": metadata, **response}, asked)
    with stub:
        return rounds.invoke_once(client, "f", b"{}")


def test_an_answer_is_read_from_its_log() -> None:
    tail = base64.b64encode((REPORT.format("id-1") + "Init Duration: 5.00 ms\t\n").encode()).decode()
    assert invoke({"LogResult": tail}) == Answer("id-1", cold_ms=5.0)
    assert invoke({"LogResult": "", "FunctionError": "Unhandled"}) == Answer("id-1", function_error=True)


def test_refusals_and_lost_connections_are_answers() -> None:
    assert invoke("TooManyRequestsException") == Answer("", refused="TooManyRequestsException")
    client, _ = stubbed("lambda")  # nothing answers there
    assert rounds.invoke_once(client, "f", b"{}").refused == "EndpointConnectionError"


def test_streams_are_found_by_request_id_in_either_format(logs: tuple[Any, Stubber]) -> None:
    client, stub = logs
    asked = {"logGroupName": "/aws/lambda/f", "startTime": 98_000, "filterPattern": ANY}
    events = [
        {"logStreamName": "s1", "message": REPORT.format("id-1")},
        {"logStreamName": "s2", "message": JSON_REPORT},
        {"logStreamName": "s9", "message": REPORT.format("of-somebody-else")},
    ]
    stub.add_response("filter_log_events", {"events": events[:1]}, asked)  # delivery takes a moment
    stub.add_response("filter_log_events", {"events": events}, asked)
    found = rounds.streams_of(client, "/aws/lambda/f", ["id-1", "id-2"], 100.0, 5.0, 0.0)
    assert found == {"id-1": "s1", "id-2": "s2"}
    stub.assert_no_pending_responses()


def test_streams_that_do_not_come_in_time_are_left_out(logs: tuple[Any, Stubber]) -> None:
    client, stub = logs
    stub.add_client_error("filter_log_events", "ResourceNotFoundException")
    assert rounds.streams_of(client, "/aws/lambda/f", ["id-1"], 100.0, 0.0, 0.0) == {}


def test_a_round_invokes_at_the_same_moment_and_counts_environments() -> None:
    together = threading.Barrier(3, timeout=20)  # passes only if three calls are under way at once
    ids = iter(["a", "b", "c"])
    lock = threading.Lock()

    def call() -> Answer:
        together.wait()
        with lock:
            return Answer(next(ids))

    done = rounds.run(4, 3, call, lambda asked, since: {"a": "s1", "b": "s1"})
    assert (done.number, done.environments, done.unknown, done.cold, done.failed) == (4, 1, 1, 0, 0)
    assert json.loads(json.dumps(done.as_dict()))["invocations"] == 3


class Starting:
    """A cloud where each pair of invocations finds what there is and starts one environment more, up to `most`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.calls = 0
        self.lock = threading.Lock()

    def invoke(self) -> Answer:
        with self.lock:
            self.calls += 1
            new = self.calls % 2 == 1 and self.calls // 2 < self.most
            return Answer(str(self.calls), cold_ms=7.0 if new else None)

    def streams(self, ids: Sequence[str], since: float) -> dict[str, str]:
        return {name: str(min((int(name) - 1) // 2, self.most - 1)) for name in ids}


def test_a_round_goes_on_while_environments_are_starting() -> None:
    done = rounds.run(1, 2, (cloud := Starting(9)).invoke, cloud.streams)
    assert (done.environments, done.cold, len(done.answers), done.as_dict()["cold_ms"]) == (2, 2, 4, [7.0, 7.0])
    done = rounds.run(1, 2, (cloud := Starting(1)).invoke, cloud.streams)
    assert (done.environments, done.cold, len(done.answers)) == (1, 1, 4)  # the second burst started none


def test_a_round_ends_though_every_answer_is_a_cold_start() -> None:
    done = rounds.run(1, 2, lambda: Answer("x", cold_ms=1.0), lambda asked, since: {"x": "s"})
    assert len(done.answers) == 2 * rounds.MOST_BURSTS


def test_refused_invocations_are_counted_by_their_code() -> None:
    done = rounds.run(1, 2, lambda: Answer("", refused="TooManyRequestsException"), lambda asked, since: {})
    assert (done.refused, done.environments, done.unknown) == ({"TooManyRequestsException": 2}, 0, 0)


def test_what_a_call_raises_is_raised() -> None:
    def call() -> Answer:
        raise LookupError("boom")

    with pytest.raises(LookupError, match="boom"):
        rounds.at_once(call, 3)


def test_the_event_tells_the_handler_how_long_to_hold() -> None:
    assert json.loads(rounds.payload(250)) == {"preheat": "warm", "hold_ms": 250}
