"""A response between its writer and its reader."""

from __future__ import annotations

import asyncio

import pytest

from preheat.kernel.stream import ResponseStream

pytestmark = pytest.mark.anyio
HALF = 128 * 1024


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_what_is_written_is_read_in_order() -> None:
    stream = ResponseStream()
    stream.begin("text/plain", "7")
    for word in (b"a", b"", b"b"):
        assert stream.write(word) is None
    stream.end()
    assert [chunk async for chunk in stream] == [b"a", b"b"]
    assert (stream.began, stream.content_type, stream.version, stream.size) == (True, "text/plain", "7", 2)


async def test_a_reader_waits_for_the_first_word_or_the_end() -> None:
    begun, ended = ResponseStream(), ResponseStream()
    waiting = [asyncio.create_task(stream.started()) for stream in (begun, ended)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    begun.begin("", "$LATEST")
    ended.end()
    assert await asyncio.gather(*waiting) == [True, False]


async def test_the_writer_is_asked_to_wait_until_there_is_room() -> None:
    stream = ResponseStream()
    assert stream.write(bytes(HALF)) is None
    room = stream.write(bytes(HALF))
    assert room is not None
    assert stream.write(b"more") is room
    assert not room.done()
    await anext(stream)
    assert room.done()


async def test_nothing_is_kept_for_a_reader_who_has_left() -> None:
    stream = ResponseStream()
    stream.write(bytes(HALF))
    room = stream.write(bytes(HALF))
    await stream.aclose()
    assert room is not None
    assert room.done()
    assert stream.write(bytes(10 * HALF)) is None
    stream.end()
    assert [chunk async for chunk in stream] == []
    assert stream.size == 12 * HALF
