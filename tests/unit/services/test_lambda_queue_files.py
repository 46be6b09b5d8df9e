"""Where asynchronous invocations end: dead letters and records in files, and the disk that they leave."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from lambda_harness import ARN, CONTEXT, FakeInvoker, created, provider_in

from preheat.kernel.function import FunctionVersion, Invocation, InvokeResult
from preheat.kernel.http import HttpRequest
from preheat.services.lambda_.events import Event, EventStore
from preheat.services.lambda_.queue_files import QueueFiles
from preheat.services.lambda_.store import FunctionStore

IRIS = {"FunctionName": "iris"}
EVENT = {**IRIS, "InvocationType": "Event", "Payload": b'{"petals": 4}'}
QUEUE = "arn:aws:sqs:us-east-1:000000000000:failed"
BUS = "arn:aws:events:us-east-1:000000000000:event-bus/results"
MEGABYTE = 1_048_576


def failing(function: FunctionVersion, invocation: Invocation) -> InvokeResult:
    payload = b'{"errorMessage": "no", "errorType": "ValueError"}'
    return InvokeResult(payload, "Unhandled", function.version, invocation.request_id)


def messages(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def event(number: int, payload: bytes = b"{}") -> Event:
    return Event(str(number), "iris", "", payload, accepted_ms=0, due_ms=0)


def test_a_dead_letter_is_the_event_itself(tmp_path: Path) -> None:
    invoker = FakeInvoker()
    invoker.answer = failing

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            made = await created(provider, DeadLetterConfig={"TargetArn": QUEUE})
            assert made["DeadLetterConfig"] == {"TargetArn": QUEUE}
            provider.put_function_event_invoke_config(CONTEXT, {**IRIS, "MaximumRetryAttempts": 0})
            await provider.invoke(CONTEXT, EVENT)
            await provider.drained()
            (message,) = messages(tmp_path / "queues" / "sqs" / "failed.jsonl")
            assert message["Body"] == '{"petals": 4}'
            assert message["MessageAttributes"] == {  # recorded on AWS
                "RequestID": {"DataType": "String", "StringValue": CONTEXT.request_id},
                "ErrorCode": {"DataType": "Number", "StringValue": "200"},
                "ErrorMessage": {"DataType": "String", "StringValue": "no"},
            }
            assert len(invoker.asked) == 1

    asyncio.run(scenario())


def test_an_empty_dead_letter_config_changes_nothing_an_empty_arn_removes_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider, DeadLetterConfig={"TargetArn": QUEUE})
            await provider.settled()
            kept = await provider.update_function_configuration(CONTEXT, {**IRIS, "DeadLetterConfig": {}})
            assert kept["DeadLetterConfig"] == {"TargetArn": QUEUE}  # recorded on AWS
            await provider.settled()
            removed = await provider.update_function_configuration(
                CONTEXT, {**IRIS, "DeadLetterConfig": {"TargetArn": ""}}
            )
            assert "DeadLetterConfig" not in removed

    asyncio.run(scenario())


@pytest.mark.parametrize(("outcome", "member"), [("Success", "OnSuccess"), ("Failure", "OnFailure")])
def test_a_record_for_a_bus_is_an_event_of_it(tmp_path: Path, outcome: str, member: str) -> None:
    invoker = FakeInvoker()
    if outcome == "Failure":
        invoker.answer = failing

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            config = {"MaximumRetryAttempts": 0, "DestinationConfig": {member: {"Destination": BUS}}}
            provider.put_function_event_invoke_config(CONTEXT, {**IRIS, **config})
            await provider.invoke(CONTEXT, EVENT)
            await provider.drained()

    asyncio.run(scenario())
    (message,) = messages(tmp_path / "queues" / "events" / "event-bus_results.jsonl")
    body = json.loads(message["Body"])
    assert body.pop("time").endswith("Z")
    assert len(body.pop("id")) == 36
    assert body.pop("detail")["requestPayload"] == {"petals": 4}
    assert body == {  # recorded on AWS
        "version": "0",
        "detail-type": f"Lambda Function Invocation Result - {outcome}",
        "source": "lambda",
        "account": "000000000000",
        "region": "us-east-1",
        "resources": [BUS, f"{ARN}iris:$LATEST"],
    }


def test_a_full_file_becomes_the_older_one_and_the_newest_messages_are_kept(tmp_path: Path) -> None:
    files = QueueFiles(tmp_path, max_file_bytes=2000)
    path = files.path(QUEUE)
    for number in range(100):
        files.send(QUEUE, str(number).encode())
        found = sorted(path.parent.iterdir())
        assert all(each.stat().st_size <= 2000 for each in found)
    assert found == [path, path.with_name("failed.jsonl.1")]
    kept = [int(message["Body"]) for message in messages(found[1]) + messages(found[0])]
    assert kept == list(range(100 - len(kept), 100))
    assert len(kept) > 10


def test_a_message_larger_than_a_file_is_kept_whole(tmp_path: Path) -> None:
    files = QueueFiles(tmp_path, max_file_bytes=100)
    for _ in range(2):
        files.send(QUEUE, b"x" * 1000)
    assert [len(message["Body"]) for message in messages(files.path(QUEUE))] == [1000]


def test_nothing_of_a_message_stays_where_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, write = QueueFiles(tmp_path), os.write
    files.send(QUEUE, b"first")
    monkeypatch.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:7]))
    with pytest.raises(OSError, match="No space left"):
        files.send(QUEUE, b"second")
    monkeypatch.undo()
    files.send(QUEUE, b"third")
    assert [message["Body"] for message in messages(files.path(QUEUE))] == ["first", "third"]


def test_an_event_is_over_when_its_destination_cannot_be_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    QueueFiles(tmp_path).path(QUEUE).mkdir(parents=True)  # no file can be where a directory is
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            config = {"DestinationConfig": {"OnSuccess": {"Destination": QUEUE}}}
            provider.put_function_event_invoke_config(CONTEXT, {**IRIS, **config})
            await provider.invoke(CONTEXT, EVENT)
            await provider.drained()
        async with provider_in(tmp_path, invoker) as provider:
            await provider.drained()
        assert len(invoker.asked) == 1

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert f"a message for {QUEUE} is lost" in caplog.text


def test_finished_events_leave_the_disk(tmp_path: Path) -> None:
    payload = b'"' + b"x" * 1_000_000 + b'"'
    path = tmp_path / "lambda.db"

    async def scenario() -> None:
        async with provider_in(tmp_path, FakeInvoker()) as provider:
            await created(provider)
            await provider.settled()
            headers = [("X-Amz-Invocation-Type", "Event")]
            for _ in range(40):
                answer = await provider.invoke_http(HttpRequest("POST", "/", headers=headers, body=payload), "iris")
                assert answer.status == 202
            store = EventStore(provider._registry.store.db)
            assert len(list(store.waiting())) > 30
            await provider.drained()
            async with asyncio.timeout(60):
                while provider._queue._tidying is not None:
                    await asyncio.sleep(0.01)
            assert not store.give_back()

    asyncio.run(scenario())
    assert path.stat().st_size < 12 * MEGABYTE


def test_a_file_of_an_older_preheat_learns_to_shrink(tmp_path: Path) -> None:
    path = tmp_path / "lambda.db"
    store = FunctionStore(path)
    store.db.executescript("PRAGMA auto_vacuum=0; VACUUM")
    events = EventStore(store.db)
    for number in range(20):
        events.add(event(number, b"x" * MEGABYTE))
    store.close()
    events = EventStore((store := FunctionStore(path)).db)
    assert sorted(int(name) for _, name in events.waiting()) == list(range(20))
    for number in range(19):
        events.remove(str(number))
    while events.give_back():
        pass
    assert events.get("19") == event(19, b"x" * MEGABYTE)
    store.close()
    assert path.stat().st_size < 12 * MEGABYTE
