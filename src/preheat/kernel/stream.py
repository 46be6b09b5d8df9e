"""A response on its way from a function that still writes it to whoever asked for it."""

from __future__ import annotations

import asyncio
from collections import deque

_ROOM_BYTES = 256 * 1024
"""The writer is asked to wait while the reader has this much before it."""


class BrokenOff(Exception):
    """Raised by the reader of a response that will never be whole: its client must not take it for whole."""


class ResponseStream:
    """One writer (the Runtime API), one reader (an async iterator of bytes), and little memory between them.

    `began` where the function streams; one that does not leaves it False, and the invocation's result has the payload.
    Whoever asked ends it when the invocation is over. A reader that leaves does not stop the function: what it writes
    is dropped (guide, "Response streaming": streamed responses are not interrupted when the client's connection is).
    """

    def __init__(self) -> None:
        self.began = False
        self.content_type = ""
        self.version = ""
        """The function's version that answers; set with `began`."""
        self.size = 0
        """Bytes written so far."""
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._left = False
        self._news: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    # the writing side

    def begin(self, content_type: str, version: str) -> None:
        self.began = True
        self.content_type, self.version = content_type, version
        self._tell()

    def write(self, data: bytes) -> asyncio.Future[None] | None:
        """Pass on; a future says that more is welcome once it is done."""
        self.size += len(data)
        if self._left or not data:
            return None
        self._chunks.append(data)
        self._held += len(data)
        self._tell()
        if self._held < _ROOM_BYTES:
            return None
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()
        return self._room

    def end(self) -> None:
        """Nothing more will come. No harm in calling it twice."""
        self._ended = True
        self._tell()

    # the reading side

    async def started(self) -> bool:
        """Wait until the first word of the response, or the end of an invocation without any; whether it began."""
        while not self.began and not self._ended:
            await self._wait()
        return self.began

    def __aiter__(self) -> ResponseStream:
        return self

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self._ended:
                raise StopAsyncIteration
            await self._wait()
        data = self._chunks.popleft()
        self._held -= len(data)
        if self._held < _ROOM_BYTES:
            self._make_room()
        return data

    async def aclose(self) -> None:
        """The reader leaves."""
        self._left = True
        self._chunks.clear()
        self._make_room()

    async def _wait(self) -> None:
        self._news = asyncio.get_running_loop().create_future()
        await self._news

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)
