"""Asynchronous invocations: accepted, tried again, given up, delivered; and never lost."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lambda_harness import ARN, CONTEXT, FakeInvoker, created, provider_in

from preheat.kernel.errors import AwsError
from preheat.kernel.function import FunctionVersion, Invocation, InvokeResult
from preheat.kernel.http import HttpRequest
from preheat.services.lambda_.attachments import EventInvoke
from preheat.services.lambda_.event_rules import Over, Rules, after_refusal, after_result, rules
from preheat.services.lambda_.events import Event

IRIS = {"FunctionName": "iris"}
EVENT = {**IRIS, "InvocationType": "Event", "Payload": b'{"petals": 4}'}
QUEUE = "arn:aws:sqs:us-east-1:000000000000:failed"


def failing(payload: bytes = b'{"errorMessage": "no", "errorType": "ValueError"}') -> Any:
    def answer(function: FunctionVersion, invocation: Invocation) -> InvokeResult:
        return InvokeResult(payload, "Unhandled", function.version, invocation.request_id)

    return answer


def messages(data_dir: Path, name: str = "failed") -> list[dict[str, Any]]:
    path = data_dir / "queues" / "sqs" / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def configured(provider: Any, **config: Any) -> None:
    provider.put_function_event_invoke_config(CONTEXT, {**IRIS, **config})


def test_an_event_is_accepted_at_once_and_run_with_its_own_request_id(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            request = HttpRequest(
                "POST",
                "/2015-03-31/functions/iris/invocations",
                headers=[("X-Amz-Invocation-Type", "Event"), ("X-Amzn-Trace-Id", "Root=1-a-b")],
                body=b'{"petals": 4}',
            )
            answer = await provider.invoke_http(request, "iris")
            assert (answer.status, answer.body, invoker.asked) == (202, b"", [])
            await provider.drained()
            ((_, invocation),) = invoker.asked
            assert answer.headers == [("x-amzn-RequestId", invocation.request_id)]
            assert (invocation.payload, invocation.trace_id) == (b'{"petals": 4}', "Root=1-a-b")
            assert invocation.invoked_arn == f"{ARN}iris"
            assert await provider.invoke(CONTEXT, EVENT) == {"StatusCode": 202}
            await provider.drained()
            assert provider.invoke_async(CONTEXT, {**IRIS, "InvokeArgs": b"{}"}) == {"Status": 202}
            await provider.drained()
            assert len(invoker.asked) == 3

    asyncio.run(scenario())


def test_what_cannot_be_accepted_is_refused_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            for params, code in (
                ({"Payload": b"{nope"}, "InvalidRequestContentException"),
                ({"Payload": b'"' + b"x" * 1_048_575 + b'"'}, "RequestEntityTooLargeException"),
                ({"FunctionName": "rose"}, "ResourceNotFoundException"),
            ):
                with pytest.raises(AwsError) as error:
                    await provider.invoke(CONTEXT, {**EVENT, **params})
                assert error.value.code == code
            largest = b'"' + b"x" * 1_048_574 + b'"'
            assert await provider.invoke(CONTEXT, {**EVENT, "Payload": largest}) == {"StatusCode": 202}

    asyncio.run(scenario())


def test_two_retries_then_the_destination_has_the_record(tmp_path: Path) -> None:
    invoker = FakeInvoker()
    invoker.answer = failing()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker, async_retry_s=0.01) as provider:
            await created(provider)
            await configured(provider, DestinationConfig={"OnFailure": {"Destination": QUEUE}})
            await provider.invoke(CONTEXT, EVENT)
            await provider.drained()
            assert [invocation.request_id for _, invocation in invoker.asked] == [CONTEXT.request_id] * 3
            (message,) = messages(tmp_path)
            record = json.loads(message["Body"])
            assert record.pop("timestamp").endswith("Z")
            assert message["TargetArn"] == QUEUE
            assert record == {
                "version": "1.0",
                "requestContext": {
                    "requestId": CONTEXT.request_id,
                    "functionArn": f"{ARN}iris:$LATEST",
                    "condition": "RetriesExhausted",
                    "approximateInvokeCount": 3,
                },
                "requestPayload": {"petals": 4},
                "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
                "responsePayload": {"errorMessage": "no", "errorType": "ValueError"},
            }

    asyncio.run(scenario())


def test_success_goes_to_another_function(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            await created(provider, "rose")
            await configured(provider, DestinationConfig={"OnSuccess": {"Destination": f"{ARN}rose"}})
            await provider.invoke(CONTEXT, EVENT)
            await provider.drained()
            assert [function.name for function, _ in invoker.asked] == ["iris", "rose"]
            record = json.loads(invoker.asked[1][1].payload)
            assert record["requestContext"]["condition"] == "Success"
            assert record["responsePayload"] == {"ok": True}

    asyncio.run(scenario())


def test_a_throttle_is_tried_again_without_counting(tmp_path: Path) -> None:
    invoker = FakeInvoker()
    serve = invoker.answer
    refusals = [AwsError("TooManyRequestsException", "Rate Exceeded.", 429)]

    def answer(function: FunctionVersion, invocation: Invocation) -> InvokeResult:
        if refusals:
            raise refusals.pop()
        return serve(function, invocation)

    invoker.answer = answer

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            await configured(provider, DestinationConfig={"OnSuccess": {"Destination": QUEUE}})
            await provider.invoke(CONTEXT, EVENT)
            await provider.drained()
            record = json.loads(messages(tmp_path)[0]["Body"])
            assert record["requestContext"]["approximateInvokeCount"] == 1
            assert len(invoker.asked) == 2

    asyncio.run(scenario())


def test_no_reserved_concurrency_sends_events_straight_to_the_destination(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            provider.put_function_concurrency(CONTEXT, {**IRIS, "ReservedConcurrentExecutions": 0})
            await configured(provider, DestinationConfig={"OnFailure": {"Destination": QUEUE}})
            await provider.invoke(CONTEXT, EVENT)
            await provider.drained()
            record = json.loads(messages(tmp_path)[0]["Body"])
            assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
            assert "responsePayload" not in record
            assert invoker.asked == []

    asyncio.run(scenario())


def test_an_event_survives_the_server_and_keeps_its_count(tmp_path: Path) -> None:
    first, second = FakeInvoker(), FakeInvoker()
    first.answer = failing()

    async def scenario() -> None:
        async with provider_in(tmp_path, first, async_retry_s=0.3) as provider:
            await created(provider)
            await configured(provider, DestinationConfig={"OnSuccess": {"Destination": QUEUE}})
            await provider.invoke(CONTEXT, EVENT)
            while not first.asked:
                await asyncio.sleep(0)
        async with provider_in(tmp_path, second) as provider:
            await provider.drained()
            assert second.asked[0][1].payload == b'{"petals": 4}'
            record = json.loads(messages(tmp_path)[0]["Body"])
            assert record["requestContext"]["approximateInvokeCount"] == 2

    asyncio.run(scenario())


def test_events_go_with_their_function(tmp_path: Path) -> None:
    invoker = FakeInvoker()
    invoker.answer = failing()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker, async_retry_s=0.05) as provider:
            await created(provider)
            await provider.invoke(CONTEXT, EVENT)
            while not invoker.asked:
                await asyncio.sleep(0)
            provider.delete_function(CONTEXT, IRIS)
            await created(provider)
            await provider.drained()
            assert len(invoker.asked) == 1

    asyncio.run(scenario())


def test_a_backlog_is_worked_off(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            for number in range(600):
                request = HttpRequest(
                    "POST", "/", headers=[("X-Amz-Invocation-Type", "Event")], body=str(number).encode()
                )
                assert (await provider.invoke_http(request, "iris")).status == 202
            await provider.drained()
            assert sorted(int(invocation.payload) for _, invocation in invoker.asked) == list(range(600))

    asyncio.run(scenario())


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(0, 2))
@settings(max_examples=15, deadline=None)
def test_every_accepted_event_ends_exactly_once(failures: list[int], retries: int) -> None:
    """Each event fails as often as its number says; its record tells where it ended and after how many attempts."""
    invoker = FakeInvoker()
    seen: Counter[str] = Counter()

    def answer(function: FunctionVersion, invocation: Invocation) -> InvokeResult:
        seen[invocation.request_id] += 1
        failed = seen[invocation.request_id] <= json.loads(invocation.payload)
        return InvokeResult(b"{}", "Unhandled" if failed else None, function.version, invocation.request_id)

    invoker.answer = answer

    async def scenario(data_dir: Path) -> None:
        async with provider_in(data_dir, invoker, async_retry_s=0.001) as provider:
            await created(provider)
            destinations = {"OnFailure": {"Destination": QUEUE}, "OnSuccess": {"Destination": f"{QUEUE}-not"}}
            await configured(provider, MaximumRetryAttempts=retries, DestinationConfig=destinations)
            for number in failures:
                headers = [("X-Amz-Invocation-Type", "Event")]
                request = HttpRequest("POST", "/", headers=headers, body=str(number).encode())
                assert (await provider.invoke_http(request, "iris")).status == 202
            await provider.drained()
        ended = {name: [json.loads(m["Body"]) for m in messages(data_dir, name)] for name in ("failed", "failed-not")}
        assert sorted(r["requestPayload"] for r in ended["failed"]) == sorted(n for n in failures if n > retries)
        assert sorted(r["requestPayload"] for r in ended["failed-not"]) == sorted(n for n in failures if n <= retries)
        for record in ended["failed"] + ended["failed-not"]:
            attempts = min(record["requestPayload"], retries) + 1
            assert record["requestContext"]["approximateInvokeCount"] == attempts
            assert seen[record["requestContext"]["requestId"]] == attempts

    with TemporaryDirectory() as directory:
        asyncio.run(scenario(Path(directory)))


# the rules, purely

NOW = 1_000_000_000
FAILED = InvokeResult(b"{}", "Unhandled", "1", "id")


def event(**more: Any) -> Event:
    return Event(**{"id": "id", "name": "iris", "qualifier": "", "payload": b"{}", "accepted_ms": NOW, "due_ms": NOW,
                    **more})  # fmt: skip


def test_retries_after_one_and_two_minutes() -> None:
    first = after_result(event(), FAILED, Rules(), NOW)
    assert isinstance(first, Event)
    assert (first.attempts, first.due_ms - NOW) == (1, 60_000)
    second = after_result(first, FAILED, Rules(), NOW + 60_000)
    assert isinstance(second, Event)
    assert (second.attempts, second.due_ms - NOW) == (2, 180_000)
    third = after_result(second, FAILED, Rules(), NOW + 180_000)
    assert isinstance(third, Over)
    assert third.condition == "RetriesExhausted"


@given(st.integers(0, 2), st.integers(60, 21_600), st.lists(st.booleans(), max_size=60))
def test_no_event_outlives_its_age_or_its_retries(retries: int, age_s: int, refused: list[bool]) -> None:
    given_rules = rules(EventInvoke(0, max_retries=retries, max_age_s=age_s), 60.0)
    current: Event | Over = event()
    for each in refused:
        if isinstance(current, Over):
            break
        now_ms = current.due_ms
        before = current
        current = (after_refusal if each else _fail)(current, given_rules, now_ms)
        if isinstance(current, Event):
            assert before.due_ms <= current.due_ms <= NOW + age_s * 1000
            assert current.attempts <= retries


def _fail(current: Event, given_rules: Rules, now_ms: int) -> Event | Over:
    return after_result(current, FAILED, given_rules, now_ms)


def test_backoff_doubles_up_to_five_minutes() -> None:
    waits, current = [], event()
    for _ in range(12):
        before = current.due_ms
        current = after_refusal(current, Rules(), before)
        waits.append((current.due_ms - before) / 1000)
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


# EventInvokeConfig


def test_event_invoke_config_from_put_to_delete(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            await created(provider, "rose")
            put = provider.put_function_event_invoke_config(
                CONTEXT, {**IRIS, "MaximumRetryAttempts": 1, "MaximumEventAgeInSeconds": 90}
            )
            assert put["FunctionArn"] == f"{ARN}iris:$LATEST"
            assert put["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}
            update = provider.update_function_event_invoke_config(
                CONTEXT, {**IRIS, "DestinationConfig": {"OnSuccess": {"Destination": f"{ARN}rose"}}}
            )
            assert (update["MaximumRetryAttempts"], update["MaximumEventAgeInSeconds"]) == (1, 90)
            assert update["DestinationConfig"]["OnSuccess"] == {"Destination": f"{ARN}rose"}
            assert provider.get_function_event_invoke_config(CONTEXT, IRIS) == update
            again = provider.put_function_event_invoke_config(CONTEXT, {**IRIS, "MaximumRetryAttempts": 0})
            assert again["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}, "put overwrites"
            assert again["MaximumEventAgeInSeconds"] is None
            listed = provider.list_function_event_invoke_configs(CONTEXT, IRIS)
            assert listed == {"FunctionEventInvokeConfigs": [again]}
            provider.delete_function_event_invoke_config(CONTEXT, IRIS)
            for call in (
                provider.get_function_event_invoke_config,
                provider.delete_function_event_invoke_config,
            ):
                with pytest.raises(AwsError) as error:
                    call(CONTEXT, IRIS)
                assert error.value.message == f"The function {ARN}iris:$LATEST doesn't have an EventInvokeConfig"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "You must specify at least one of error handling or destination setting."),
        ({"FunctionName": "nobody", "MaximumRetryAttempts": 1}, "The function doesn't exist."),
        ({"Qualifier": "9", "MaximumRetryAttempts": 1}, "The function doesn't exist."),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": f"{ARN}nobody"}}},
            f"The destination ARN {ARN}nobody is invalid.",
        ),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": f"{ARN}iris"}}},
            "You can't specify the function as a destination for itself.",
        ),
        (
            {"DestinationConfig": {"OnSuccess": {"Destination": "arn:aws:iam:us-east-1:000000000000:role/x"}}},
            "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination="
            "arn:aws:iam:us-east-1:000000000000:role/x), onFailure=null) is invalid.",
        ),
    ],
)
def test_event_invoke_config_refused(tmp_path: Path, params: dict[str, Any], message: str) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            with pytest.raises(AwsError) as error:
                provider.put_function_event_invoke_config(CONTEXT, {**IRIS, **params})
            assert error.value.message == message

    asyncio.run(scenario())
