"""A request's body as it comes: a sink that asks for time, and the fields after the body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.net.http import HttpServer, Respond

pytestmark = pytest.mark.anyio
MB = 2**20


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


class Sink:
    """Wants no more while `room` is not done."""

    def __init__(self) -> None:
        self.size = 0
        self.room: asyncio.Future[None] | None = None

    def write(self, data: bytes) -> asyncio.Future[None] | None:
        self.size += len(data)
        return self.room

    def abort(self) -> None:
        self.size = -1


class Served:
    def __init__(self) -> None:
        self.sink = Sink()
        self.requests: list[HttpRequest] = []

    def handle(self, request: HttpRequest, respond: Respond) -> None:
        self.requests.append(request)
        respond(HttpResponse(200))


@pytest.fixture
async def served() -> AsyncIterator[tuple[Served, int]]:
    made = Served()
    server = HttpServer(made.handle, None, lambda request: made.sink)
    yield made, await server.listen("127.0.0.1", 0)
    server.close()


async def test_reading_stops_until_a_sink_has_room(served: tuple[Served, int]) -> None:
    kept, port = served
    kept.sink.room = asyncio.get_running_loop().create_future()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (32 * MB))
    writer.write(bytes(32 * MB))
    before = -1
    while kept.sink.size != before:  # until the system's buffers are full, too
        before = kept.sink.size
        await asyncio.sleep(0.1)
    assert 0 < before < 8 * MB
    assert kept.requests == []
    kept.sink.room.set_result(None)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    assert kept.sink.size == 32 * MB
    writer.close()


async def test_a_client_that_leaves_a_waiting_sink_is_noticed(served: tuple[Served, int]) -> None:
    kept, port = served
    kept.sink.room = asyncio.get_running_loop().create_future()
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
    while not kept.sink.size:
        await asyncio.sleep(0.01)
    writer.close()
    kept.sink.room.set_result(None)
    async with asyncio.timeout(10):
        while kept.sink.size != -1:
            await asyncio.sleep(0.01)
    assert kept.requests == []


async def test_trailers_are_given_apart_from_the_headers(served: tuple[Served, int]) -> None:
    kept, port = served
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head + b"3\r\nabc\r\n0\r\nX-Error: late\r\nHost: evil\r\n\r\n")
    writer.write(b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await reader.read()
    first, second = kept.requests
    assert list(first.trailers) == [("X-Error", "late"), ("Host", "evil")]
    assert (first.header("X-Error"), first.header("Host")) == (None, "x")
    assert list(second.trailers) == []
    writer.close()
