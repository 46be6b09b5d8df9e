"""Bodies as they come and responses as they are made, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from front_support import Held, front, run

from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.net.http import Respond


class Sink:
    def __init__(self) -> None:
        self.data = bytearray()
        self.aborted = asyncio.Event()
        self.aborts = 0
        self.wrote = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.data += data
        self.wrote.set()

    def abort(self) -> None:
        self.aborts += 1
        self.aborted.set()


class Uploads:
    """A `stream` that takes the bodies of /upload."""

    def __init__(self) -> None:
        self.sinks: list[Sink] = []

    def __call__(self, request: HttpRequest) -> Sink | None:
        assert request.body == b""
        if request.path != "/upload":
            return None
        self.sinks.append(Sink())
        return self.sinks[-1]


def finish(request: HttpRequest, respond: Respond) -> None:
    size = -1 if request.sink is None else len(request.sink.data)
    respond(HttpResponse(200, [], b"%d %d" % (size, len(request.body))))


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_goes_to_its_sink_whatever_its_size(size: int, chunked: bool) -> None:
    async def scenario() -> None:
        async with front(finish, stream=Uploads(), body_bytes=10) as running, running.client() as client:
            for _ in range(2):
                if chunked:
                    client.get("/upload", "Transfer-Encoding: chunked", method="PATCH")
                    if size:
                        client.send(b"%x\r\n%b\r\n" % (size, b"x" * size))
                    client.send(b"0\r\n\r\n")
                else:
                    client.get("/upload", f"Content-Length: {size}", method="PATCH")
                    client.send(b"x" * size)
                assert (await client.answer()).body == b"%d 0" % size
            client.get("/other", method="POST", body=b"12")
            assert (await client.answer()).body == b"-1 2"
            client.get("/other", method="POST", body=b"x" * 11)
            assert (await client.answer()).status == 413

    run(scenario())


def test_a_sink_is_told_when_its_client_leaves() -> None:
    async def scenario() -> None:
        uploads = Uploads()
        async with front(finish, stream=uploads) as running, running.client() as client:
            client.get("/upload", "Content-Length: 100", method="PATCH")
            client.send(b"half")
            while not uploads.sinks or not uploads.sinks[0].data:
                await asyncio.sleep(0)
            client.reset()
            await asyncio.wait_for(uploads.sinks[0].aborted.wait(), 5)
            assert uploads.sinks[0].aborts == 1

    run(scenario())


def test_a_sink_is_told_of_a_protocol_error() -> None:
    async def scenario() -> None:
        uploads = Uploads()
        async with front(finish, stream=uploads) as running, running.client() as client:
            client.get("/upload", "Transfer-Encoding: chunked", method="PATCH")
            client.send(b"2\r\nokzz")
            assert (await client.answer()).status == 400
            assert uploads.sinks[0].aborts == 1

    run(scenario())


def test_a_whole_upload_whose_turn_never_comes_is_aborted() -> None:
    async def scenario() -> None:
        held, uploads = Held(), Uploads()
        async with front(held, stream=uploads) as running, running.client() as client:
            client.get("/first")
            await held.take()
            client.get("/upload", method="PATCH", body=b"whole")
            while not uploads.sinks or not uploads.sinks[0].data:
                await asyncio.sleep(0)
            client.reset()
            await asyncio.wait_for(uploads.sinks[0].aborted.wait(), 5)
            assert not held.requests

    run(scenario())


def test_a_sink_that_fails_is_a_500() -> None:
    class Full(Sink):
        def write(self, data: bytes) -> None:
            raise OSError(28, "No space left on device")

    async def scenario() -> None:
        sink = Full()
        async with front(finish, stream=lambda request: sink) as running, running.client() as client:
            client.get("/upload", method="PATCH", body=b"x")
            assert (await client.answer()).status == 500
            assert sink.aborts == 1

    run(scenario())


class Source:
    """An endless (or counted) stream that notes how far it came and that it was closed."""

    def __init__(self, pieces: int, piece: bytes = b"x" * 10_000, error: Exception | None = None) -> None:
        self.made = 0
        self.closed = asyncio.Event()
        self._pieces = pieces
        self._piece = piece
        self._error = error

    async def __call__(self) -> AsyncIterator[bytes]:
        try:
            while self.made < self._pieces:
                self.made += 1
                yield self._piece
                await asyncio.sleep(0)
            if self._error is not None:
                raise self._error
        finally:
            self.closed.set()


def streaming(*sources: Source, length: int | None = None, status: int = 200) -> Held | object:
    waiting = list(sources)

    def handler(request: HttpRequest, respond: Respond) -> None:
        respond(HttpResponse(status, [("Content-Type", "t")], stream=waiting.pop(0)(), length=length))

    return handler


@pytest.mark.parametrize("length", [None, 30_000])
def test_streamed_responses_on_one_connection(length: int | None) -> None:
    async def scenario() -> None:
        sources = Source(3), Source(3)
        async with front(streaming(*sources, length=length)) as running, running.client() as client:
            client.get()
            client.get()
            for source in sources:
                answer = await client.answer()
                assert answer.body == b"x" * 30_000
                assert ("transfer-encoding" in answer.headers) == (length is None)
                assert ("content-length" in answer.headers) == (length is not None)
                assert source.closed.is_set()

    run(scenario())


def test_an_empty_stream_and_empty_pieces() -> None:
    async def scenario() -> None:
        sources = Source(0), Source(3, b""), Source(1, b"end")
        async with front(streaming(*sources)) as running, running.client() as client:
            for expected in (b"", b"", b"end"):
                client.get()
                assert (await client.answer()).body == expected

    run(scenario())


def test_http_1_0_gets_no_chunks_and_a_close() -> None:
    async def scenario() -> None:
        async with front(streaming(Source(2))) as running, running.client() as client:
            client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            status, headers = await client.head()
            assert (status, headers["connection"]) == (200, "close")
            assert await client.rest() == b"x" * 20_000

    run(scenario())


def test_head_of_a_stream_sends_nothing_and_closes_it() -> None:
    async def scenario() -> None:
        source = Source(2)
        async with front(streaming(source, Source(1), length=10_000)) as running, running.client() as client:
            client.get(method="HEAD")
            client.get()
            assert (await client.answer(head_only=True)).headers["content-length"] == "10000"
            assert (await client.answer()).body == b"x" * 10_000
            assert source.made == 0

    run(scenario())


@pytest.mark.parametrize(
    ("source", "length"),
    [(Source(1, error=RuntimeError("midway")), None), (Source(1), 10_001), (Source(2), 10_000)],
    ids=["error", "too short", "too long"],
)
def test_a_stream_that_goes_wrong_breaks_off_so_that_the_client_can_tell(source: Source, length: int | None) -> None:
    async def scenario() -> None:
        async with front(streaming(source, length=length)) as running, running.client() as client:
            client.get()
            status, _ = await client.head()
            rest = await client.rest()
            assert status == 200
            if length is None:
                assert not rest.endswith(b"0\r\n\r\n")
            elif source.made == 1:
                assert len(rest) < length
            assert source.closed.is_set()

    run(scenario())


def test_an_error_in_a_stream_delimited_by_the_close_is_a_reset() -> None:
    async def scenario() -> None:
        async with front(streaming(Source(1, error=RuntimeError("x")))) as running, running.client() as client:
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                await client.rest()

    run(scenario())


def test_a_stream_is_made_no_faster_than_it_is_read_and_closed_when_the_client_leaves() -> None:
    async def scenario() -> None:
        source = Source(10**9, b"x" * 100_000)
        async with front(streaming(source)) as running, running.client(limit=1024) as client:
            client.get()
            await client.head()
            made = -1
            while made != source.made:
                made = source.made
                await asyncio.sleep(0.1)  # until it stands still
            assert made < 500
            client.reset()
            await asyncio.wait_for(source.closed.wait(), 5)

    run(scenario())


def test_drain_waits_for_a_stream() -> None:
    async def scenario() -> None:
        go = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b"1"
            await go.wait()
            yield b"2"

        def handler(request: HttpRequest, respond: Respond) -> None:
            respond(HttpResponse(200, [], stream=slow()))

        async with front(handler) as running, running.client() as client:
            client.get()
            await client.head()
            draining = asyncio.create_task(running.server.drain(5))
            await asyncio.sleep(0)
            go.set()
            assert await client.rest() == b"1\r\n1\r\n1\r\n2\r\n0\r\n\r\n"
            await draining

    run(scenario())
