"""The socket transport: frames over a socket pair to `guest/preheat_client.py`, which lists them.

We keep the runtime's end of the pair as well. Work sent ahead lies unread in it until the runtime asks for its next
request, one frame at a time; whoever reads it first has it, so reading it ourselves takes it back.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import cast

from preheat.execution.channel import Ahead, Ready, RuntimeListener, Work
from preheat.kernel.frames import whole_frames

_INVOKE = struct.Struct("!IBIQI")
_READY = struct.Struct("!QQB")
_PEAK = struct.Struct("!IB")
_INVOKED, _AHEAD = b"IA"
_NEXT, _RESPONSE, _ERROR, _INIT_ERROR = b"NREX"
_AHEAD_MAX_BYTES = 65_536
"""Work sent ahead must fit into the socket's buffer as a whole (208 KB by default)."""
_TELLING_BYTES = 64
"""So much of a frame tells it from every other: its request id is among them."""


class SocketTransport:
    async def open(self, listener: RuntimeListener) -> SocketChannel:
        ours, theirs = socket.socketpair()
        channel = SocketChannel(listener, theirs)
        ours.setblocking(False)
        await asyncio.get_running_loop().create_connection(lambda: channel, sock=ours)
        return channel


class SocketChannel(asyncio.Protocol):
    def __init__(self, listener: RuntimeListener, theirs: socket.socket) -> None:
        self._listener: RuntimeListener | None = listener
        self._theirs: socket.socket | None = theirs
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()
        self._poll_until = 0.0

    def child_fd(self) -> int | None:
        assert self._theirs is not None
        return self._theirs.fileno()

    def network_fd(self) -> int | None:
        return None

    def environ(self) -> dict[str, str]:
        return {}

    def launched(self) -> None:
        pass

    def send(self, work: Work) -> None:
        if self._transport is None:
            return  # the runtime has just died: its exit is reported by the sandbox
        self._transport.write(_frame(_INVOKED, work))
        if work.poll_us:
            self._poll_until = time.monotonic() + work.poll_us / 1e6
            self._loop.call_soon(self._poll)

    def send_ahead(self, work: Work) -> Callable[[], Ahead] | None:
        transport = self._transport
        frame = _frame(_AHEAD, work)
        if transport is None or self._theirs is None or len(frame) > _AHEAD_MAX_BYTES:
            return None
        if transport.get_write_buffer_size():
            return None
        transport.write(frame)
        return partial(_take_back, self._theirs, frame)

    def _poll(self) -> None:
        """Keep the loop from sleeping until the answer is there or the time is over."""
        if time.monotonic() < self._poll_until:
            self._loop.call_soon(self._poll)

    async def last_words(self) -> None:
        await asyncio.sleep(0)  # no more than a buffer is left, which one turn of the loop reads, ...
        await asyncio.sleep(0)  # ... and the turn that told of the end may have begun before it was written

    def close(self) -> None:
        self._listener = None
        if self._theirs is not None:
            self._theirs.close()
            self._theirs = None
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._poll_until = 0.0
        self._buffer += data
        for kind, payload in whole_frames(self._buffer):
            self._dispatch(kind, payload)

    def _dispatch(self, kind: int, payload: bytes) -> None:
        listener = self._listener
        if listener is None:
            return
        if kind in (_RESPONSE, _ERROR):
            peak_kib, _ = _PEAK.unpack_from(payload)
            body = payload[_PEAK.size :]
            if kind == _RESPONSE:
                listener.on_response(body, peak_kib)
            else:
                listener.on_error(body, peak_kib)
        elif kind == _NEXT:
            started_ns, runtime_ready_ns, own_tmp = _READY.unpack(payload)
            listener.on_ready(Ready(started_ns, runtime_ready_ns, bool(own_tmp)))
        elif kind == _INIT_ERROR:
            listener.on_init_error(payload)


def _frame(kind: int, work: Work) -> bytes:
    meta = "\0".join((work.request_id, work.arn, work.trace_id, work.client_context)).encode()
    size = _INVOKE.size - 5 + len(meta) + len(work.event)
    return _INVOKE.pack(size, kind, work.linger_us, work.deadline_ms, len(meta)) + meta + work.event


def _take_back(theirs: socket.socket, frame: bytes) -> Ahead:
    telling = frame[:_TELLING_BYTES]
    try:
        if theirs.recv(len(telling), socket.MSG_DONTWAIT | socket.MSG_PEEK) != telling:
            return Ahead.BEHIND
        theirs.recv(len(frame), socket.MSG_DONTWAIT)
    except BlockingIOError:
        return Ahead.BEGUN
    return Ahead.TAKEN
