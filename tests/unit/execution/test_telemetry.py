"""Telemetry on its way to a listener: batches, retries, what is dropped and said to be dropped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from preheat.execution.telemetry import Buffering, Destination, Subscription, Telemetry

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Sandbox:
    """An extension's listener: an HTTP server on a port of its own."""

    def __init__(self) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.statuses = iter(())
        self.answering = asyncio.Event()
        self.answering.set()
        self.port = 0

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for batch in self.batches for event in batch]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = int(next(line for line in head.split("\r\n") if line.startswith("Content-Length")).split()[1])
        body = await reader.readexactly(size)
        await self.answering.wait()
        status = next(self.statuses, 200)
        if status == 200:
            assert head.startswith("POST /telemetry HTTP/1.1\r\nHost: sandbox.localdomain:")
            self.batches.append(json.loads(body))
        writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % status)
        await writer.drain()
        writer.close()

    def wish(self, *types: Any, **buffering: int) -> Subscription:
        uri = f"http://sandbox.localdomain:{self.port}/telemetry"
        return Subscription("2022-12-13", list(types), Destination("HTTP", uri), Buffering(**buffering))


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    made = Sandbox()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


@pytest.fixture
async def telemetry() -> AsyncIterator[Telemetry]:
    made = Telemetry(json_logs=False)
    yield made
    made.close()


async def test_who_subscribes_during_init_hears_what_was_before(telemetry: Telemetry, sandbox: Sandbox) -> None:
    telemetry.emit("initStart", {"phase": "init"}, 1_665_532_815_064)
    telemetry.output("function", [(1_665_532_815_065, "hello\n")])
    telemetry.subscribe("probe", sandbox.wish("platform"))
    telemetry.emit("start", {"requestId": "r"}, 1_665_532_816_000)
    await telemetry.flush()
    assert sandbox.batches == [
        [
            {"time": "2022-10-12T00:00:15.064Z", "type": "platform.initStart", "record": {"phase": "init"}},
            {"time": "2022-10-12T00:00:16.000Z", "type": "platform.start", "record": {"requestId": "r"}},
        ]
    ]


async def test_a_batch_is_sent_when_it_is_full_or_old_enough(telemetry: Telemetry, sandbox: Sandbox) -> None:
    telemetry.subscribe("probe", sandbox.wish("function", maxItems=1000, timeoutMs=30_000))
    telemetry.output("function", [(0, "x")] * 1000)
    async with asyncio.timeout(10):
        while not sandbox.batches:
            await asyncio.sleep(0.01)
    assert len(sandbox.events) == 1000
    telemetry.subscribe("probe", sandbox.wish("function", timeoutMs=25))
    telemetry.output("function", [(0, "y")])
    async with asyncio.timeout(10):
        while len(sandbox.batches) < 2:
            await asyncio.sleep(0.01)
    assert sandbox.batches[1][-1]["record"] == "y"


async def test_a_listener_that_fails_is_asked_again(telemetry: Telemetry, sandbox: Sandbox) -> None:
    sandbox.statuses = iter((500, 503))
    telemetry.subscribe("probe", sandbox.wish("platform"))
    telemetry.emit("start", {}, 0)
    await telemetry.flush()
    assert len(sandbox.events) == 1


async def test_what_a_slow_listener_cannot_take_is_dropped_and_counted(telemetry: Telemetry, sandbox: Sandbox) -> None:
    telemetry.close_subscriptions()
    sandbox.answering.clear()
    telemetry.subscribe("probe", sandbox.wish("function", "platform", timeoutMs=25))
    for number in range(20):
        telemetry.output("function", [(0, f"{number:02}" + "x" * 100_000)])
    sandbox.answering.set()
    await telemetry.flush()
    async with asyncio.timeout(10):
        while not any(event["type"] == "platform.logsDropped" for event in sandbox.events):
            await asyncio.sleep(0.01)
    texts = [event["record"][:2] for event in sandbox.events if event["type"] == "function"]
    (dropped,) = [event["record"] for event in sandbox.events if event["type"] == "platform.logsDropped"]
    assert texts == [f"{number:02}" for number in range(len(texts))]
    assert len(texts) + dropped["droppedRecords"] == 20
    assert dropped["droppedBytes"] > 100_000 * dropped["droppedRecords"]
    assert "fallen behind" in dropped["reason"]


async def test_json_lines_are_objects_with_the_json_log_format(sandbox: Sandbox) -> None:
    telemetry = Telemetry(json_logs=True)
    telemetry.subscribe("probe", sandbox.wish("function"))
    telemetry.output("function", [(0, '{"level": "INFO"}\n'), (0, "{no json}\n"), (0, "plain\n")])
    await telemetry.flush()
    assert [event["record"] for event in sandbox.events] == [{"level": "INFO"}, "{no json}\n", "plain\n"]
    telemetry.close()


async def test_nothing_is_kept_where_nobody_can_subscribe(telemetry: Telemetry) -> None:
    assert telemetry.wanted
    telemetry.close_subscriptions()
    assert not telemetry.wanted
    telemetry.emit("start", {"never": "encoded" * 10}, 0)
    await telemetry.flush()
    assert not telemetry.open
