"""Custom runtimes (provided.al2023) and streamed responses as the Lambda service sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lambda_harness import CONTEXT, FakeInvoker, created, creation, provider_in

from preheat.kernel.errors import AwsError
from preheat.kernel.function import FunctionVersion, Invocation, InvokeResult

SNAP = {"ApplyOn": "PublishedVersions"}
BROKEN = {"errorType": "Model.Broken", "errorMessage": "in the middle"}


def run(directory: Path, test: Callable[[Any], Awaitable[None]], invoker: FakeInvoker | None = None) -> None:
    async def started() -> None:
        async with provider_in(directory, invoker) as provider:
            await test(provider)

    asyncio.run(started())


def test_a_custom_runtime_is_neither_compiled_nor_snapshotted(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def test(provider: Any) -> None:
        made = await created(provider, Runtime="provided.al2023")
        assert made["Runtime"] == "provided.al2023"
        function = provider.resolve("iris")
        assert not list(Path(function.code_dir).rglob("*.pyc"))
        with pytest.raises(AwsError) as refused:
            await provider.create_function(CONTEXT, creation("snap", Runtime="provided.al2", SnapStart=SNAP))
        assert refused.value.message == "provided.al2 is not supported for SnapStart enabled functions."
        await provider.update_function_configuration(CONTEXT, {"FunctionName": "iris", "SnapStart": SNAP})
        await provider.settled()
        provider.publish_version(CONTEXT, {"FunctionName": "iris"})
        await provider.settled()
        assert invoker.prepared == []

    run(tmp_path, test, invoker)


class Streaming(FakeInvoker):
    """Writes what it is told to into the invocation's stream; the result comes when `done` is set."""

    def __init__(self, pieces: list[bytes], error: dict[str, str] | None = None) -> None:
        super().__init__()
        self.pieces = pieces
        self.error = error
        self.done = asyncio.Event()
        self.running: set[asyncio.Task[None]] = set()

    def invoke(self, function: FunctionVersion, invocation: Invocation) -> asyncio.Future[InvokeResult]:
        future: asyncio.Future[InvokeResult] = asyncio.get_running_loop().create_future()
        stream = invocation.stream
        assert stream is not None

        async def write() -> None:
            stream.begin("text/plain", function.version)
            for piece in self.pieces:
                stream.write(piece)
            await self.done.wait()
            payload = msgspec.json.encode(self.error) if self.error else b""
            outcome = "Unhandled" if self.error else None
            future.set_result(InvokeResult(payload, outcome, function.version, invocation.request_id, b"the tail\n"))

        task = asyncio.get_running_loop().create_task(write())
        self.running.add(task)
        return future


def test_events_are_there_before_the_invocation_is_over(tmp_path: Path) -> None:
    invoker = Streaming([b"one", b"x" * 100_000])

    async def test(provider: Any) -> None:
        await created(provider)
        answer = await provider.invoke_with_response_stream(CONTEXT, {"FunctionName": "iris", "LogType": "Tail"})
        assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
        events = answer["EventStream"]
        sizes = [len((await anext(events))["PayloadChunk"]["Payload"]) for _ in range(3)]
        assert sizes == [3, 65_536, 34_464]  # pieces are cut, never joined
        invoker.done.set()
        assert await anext(events) == {"InvokeComplete": {"LogResult": "dGhlIHRhaWwK"}}
        assert [event async for event in events] == []

    run(tmp_path, test, invoker)


def test_the_last_event_says_how_a_stream_broke_off(tmp_path: Path) -> None:
    invoker = Streaming([b"half"], BROKEN)

    async def test(provider: Any) -> None:
        await created(provider)
        invoker.done.set()
        answer = await provider.invoke_with_response_stream(CONTEXT, {"FunctionName": "iris"})
        *chunks, last = [event async for event in answer["EventStream"]]
        assert chunks == [{"PayloadChunk": {"Payload": b"half"}}]
        complete = last["InvokeComplete"]
        assert (complete["ErrorCode"], msgspec.json.decode(complete["ErrorDetails"])) == ("Model.Broken", BROKEN)

    run(tmp_path, test, invoker)


def test_a_throttled_invocation_is_an_error_and_no_stream(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    def throttle(function: FunctionVersion, invocation: Invocation) -> InvokeResult:
        raise AwsError("TooManyRequestsException", "Rate Exceeded.", 429)

    invoker.answer = throttle

    async def test(provider: Any) -> None:
        await created(provider)
        with pytest.raises(AwsError, match="Rate Exceeded"):
            await provider.invoke_with_response_stream(CONTEXT, {"FunctionName": "iris"})

    run(tmp_path, test, invoker)
