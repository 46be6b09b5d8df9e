"""Work sent ahead: whoever reads it first has it, and nobody has it twice."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from preheat.execution.channel import Ahead, Ready, Work
from preheat.execution.logstream import LogStream
from preheat.execution.socket_channel import SocketChannel, SocketTransport
from preheat.guest.preheat_client import ChannelClosed, SocketClient


class Listener:
    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()

    def on_ready(self, ready: Ready) -> None:
        self.ready.set()

    def on_stream(self, content_type: str) -> None:
        return None

    def on_response(self, body: bytes, peak_kib: int) -> None:
        self.answers.put_nowait(body)

    def on_error(self, body: bytes, peak_kib: int) -> None:
        raise AssertionError(body)

    def on_init_error(self, body: bytes) -> None:
        raise AssertionError(body)


def work(number: int, size: int = 0) -> Work:
    return Work(f"{number:036d}", "arn", 0, "", "", b"%d" % number + b" " * size)


class Runtime(threading.Thread):
    """A real client; its handler waits for `go`, and gives back what it was given."""

    def __init__(self, channel: SocketChannel) -> None:
        super().__init__(daemon=True)
        fd = channel.child_fd()
        assert fd is not None
        null = os.open(os.devnull, os.O_WRONLY)
        self.client: Any = SocketClient(socket.socket(fileno=os.dup(fd)), 0, 0, False, null)  # type: ignore[no-untyped-call]
        self.go = threading.Semaphore(0)
        self.served: list[bytes] = []

    def run(self) -> None:
        try:
            while True:
                request = self.client.wait_next_invocation()
                self.go.acquire()
                self.served.append(request.event_body.strip())
                self.client.post_invocation_result(request.invoke_id, request.event_body)
        except (ChannelClosed, OSError):
            pass


def with_runtime(scenario: Callable[[SocketChannel, Listener, Runtime], Any]) -> None:
    async def run() -> None:
        listener = Listener()
        channel = await SocketTransport().open(listener)
        runtime = Runtime(channel)
        runtime.start()
        await listener.ready.wait()
        try:
            await asyncio.wait_for(scenario(channel, listener, runtime), 30)
        finally:
            runtime.client._channel.shutdown(socket.SHUT_RDWR)
            runtime.go.release(1000)
            runtime.join(10)
            channel.close()

    asyncio.run(run())


async def until(outcome: Ahead, take_back: Callable[[], Ahead]) -> None:
    while (found := take_back()) is not outcome:
        assert found is Ahead.BEHIND
        await asyncio.sleep(0)


def test_it_is_served_after_the_request_before() -> None:
    async def scenario(channel: SocketChannel, listener: Listener, runtime: Runtime) -> None:
        channel.send(work(1))
        take_back = channel.send_ahead(work(2))
        assert take_back is not None
        runtime.go.release(2)
        assert [await listener.answers.get(), await listener.answers.get()] == [b"1", b"2"]
        assert take_back() is Ahead.BEGUN

    with_runtime(scenario)


def test_what_is_taken_back_is_never_seen() -> None:
    async def scenario(channel: SocketChannel, listener: Listener, runtime: Runtime) -> None:
        channel.send(work(1))
        take_back = channel.send_ahead(work(2))
        assert take_back is not None
        await until(Ahead.TAKEN, take_back)
        runtime.go.release(2)
        assert await listener.answers.get() == b"1"
        channel.send(work(3, 100_000))
        assert (await listener.answers.get()).strip() == b"3"
        assert runtime.served == [b"1", b"3"]

    with_runtime(scenario)


def test_before_the_runtime_has_read_the_first_the_second_is_behind_it() -> None:
    async def scenario() -> None:
        channel = await SocketTransport().open(Listener())  # and nobody reads
        channel.send(work(1))
        take_back = channel.send_ahead(work(2))
        assert take_back is not None
        assert take_back() is Ahead.BEHIND
        channel.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [70_000, 6_000_000])
def test_a_large_one_is_not_sent_ahead(size: int) -> None:
    async def scenario(channel: SocketChannel, listener: Listener, runtime: Runtime) -> None:
        channel.send(work(1))
        assert channel.send_ahead(work(2, size)) is None
        runtime.go.release()
        assert await listener.answers.get() == b"1"

    with_runtime(scenario)


def test_whatever_the_timing_each_is_served_once_or_taken_back() -> None:
    chance = random.Random(7)

    async def scenario(channel: SocketChannel, listener: Listener, runtime: Runtime) -> None:
        taken, expected = [], []
        for number in range(0, 3000, 3):
            first, second = number, number + 1
            channel.send(work(first, chance.choice([0, 3000])))
            take_back = channel.send_ahead(work(second, chance.choice([0, 3000])))
            assert take_back is not None
            runtime.go.release(2)
            for _ in range(chance.randrange(200)):
                pass
            outcome = take_back()
            expected.append(b"%d" % first)
            if outcome is Ahead.TAKEN:
                taken.append(second)
                assert runtime.go.acquire(timeout=10)
                assert (await listener.answers.get()).strip() == b"%d" % first
                channel.send(work(number + 2))  # before anything else is sent ahead: `Following.take_back`
                runtime.go.release()
                expected.append(b"%d" % (number + 2))
                assert await listener.answers.get() == b"%d" % (number + 2)
            else:
                expected.append(b"%d" % second)
                assert (await listener.answers.get()).strip() == b"%d" % first
                assert (await listener.answers.get()).strip() == b"%d" % second
        assert runtime.served == expected

    with_runtime(scenario)


class Sink:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def create_stream(self, group: str, stream: str) -> None:
        pass

    def put(self, group: str, stream: str, events: Any) -> None:
        self.messages += [message for _, message in events]


def test_output_behind_a_mark_belongs_to_the_request_that_was_sent_ahead() -> None:
    mark = bytes.fromhex("a55a00ff00000000") + (1).to_bytes(8, "big")

    async def scenario() -> list[str]:
        sink = Sink()
        stream = LogStream(sink, "group", "stream")
        writing = stream.open_pipe()
        stream.begin("START 1\n")
        os.write(writing, b"one\nno end" + mark + b"two\n")
        stream.drain()
        stream.add("END 1\n")
        stream.begin("START 2\n", ahead=True)
        os.write(writing, mark + b"three\n")  # a mark of a request that has begun already
        stream.drain()
        stream.add("END 2\n")
        stream.flush()
        stream.close_writing(writing)
        stream.close_pipe()
        return sink.messages

    lines = asyncio.run(scenario())
    assert lines == ["START 1\n", "one\n", "no end", "END 1\n", "START 2\n", "two\n", "three\n", "END 2\n"]


def test_a_forged_mark_loses_nothing() -> None:
    mark = bytes.fromhex("a55a00ff00000000") + (1).to_bytes(8, "big")

    async def scenario() -> list[str]:
        sink = Sink()
        stream = LogStream(sink, "group", "stream")
        writing = stream.open_pipe()
        stream.begin("START 1\n")
        os.write(writing, mark + b"forged\n")
        stream.drain()
        stream.add("END 1\n")
        stream.begin("START 2\n")
        stream.flush()
        stream.close_writing(writing)
        stream.close_pipe()
        return sink.messages

    assert sorted(asyncio.run(scenario())) == ["END 1\n", "START 1\n", "START 2\n", "forged\n"]
