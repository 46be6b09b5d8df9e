import asyncio
import os
from collections.abc import Sequence

import pytest

from preheat.execution.logstream import TAIL_BYTES, LogStream
from preheat.kernel.function import LogEvent


class Sink:
    def __init__(self, broken: bool = False) -> None:
        self.broken = broken
        self.events: list[str] = []

    def create_stream(self, group: str, stream: str) -> None:
        pass

    def put(self, group: str, stream: str, events: Sequence[LogEvent]) -> None:
        if self.broken:
            raise OSError(28, "No space left on device")
        self.events += [message for _, message in events]


def test_what_was_written_before_the_drain_is_there_in_order() -> None:
    async def scenario() -> tuple[list[str], bytes]:
        sink = Sink()
        stream = LogStream(sink, "group", "stream")
        writing = stream.open_pipe()
        stream.begin("START\n")
        os.write(writing, b"one\ntwo without end")
        stream.close_writing(writing)
        stream.drain()
        stream.add("END\n")
        stream.flush()
        stream.close_pipe()
        return sink.events, stream.tail()

    events, tail = asyncio.run(scenario())
    assert events == ["START\n", "one\n", "two without end", "END\n"]
    assert tail == "".join(events).encode()


def test_a_line_whose_rest_is_late_stays_whole() -> None:
    async def scenario() -> list[str]:
        sink = Sink()
        stream = LogStream(sink, "group", "stream")
        writing = stream.open_pipe(None)
        os.write(writing, b"one\ntw")
        stream.drain()
        stream.add("END\n")
        os.write(writing, b"o\nlast")
        stream.close_writing(writing)
        stream.close_pipe()
        stream.flush()
        return sink.events

    assert asyncio.run(scenario()) == ["one\n", "END\n", "two\n", "last"]


def test_the_tail_is_the_last_4_kb() -> None:
    async def scenario() -> bytes:
        stream = LogStream(Sink(), "group", "stream")
        stream.begin("START\n")
        for number in range(1000):
            stream.add(f"line {number}\n")
        stream.flush()
        return stream.tail()

    tail = asyncio.run(scenario())
    assert len(tail) == TAIL_BYTES
    assert tail.endswith(b"line 999\n")


def test_a_full_disk_loses_events_but_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        stream = LogStream(Sink(broken=True), "group", "stream")
        stream.add("START\n")
        stream.flush()

    asyncio.run(scenario())
    assert "1 log events lost: [Errno 28] No space left on device" in caplog.text
