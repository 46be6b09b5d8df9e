"""One environment's log stream: what its runtime writes and what the platform adds, in order."""

from __future__ import annotations

import asyncio
import logging
import os
import time

from preheat.execution.output import OutputParser
from preheat.kernel.function import LogEvent, LogSink

log = logging.getLogger(__name__)

_READ_BYTES = 262_144
TAIL_BYTES = 4096
"""X-Amz-Log-Result holds the last 4 KB of an invocation's log."""


def epoch_ms() -> int:
    return time.time_ns() // 1_000_000


class LogStream:
    """Reads the runtime's pipe as it fills, so that a handler never blocks on its own output.

    The pipe outlives a runtime: `open_pipe` gives each launch a new one after `close_pipe`.
    """

    def __init__(self, sink: LogSink, group: str, name: str) -> None:
        self.name = name
        self._sink = sink
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._fd = -1
        self._parser = OutputParser()
        self._pending: list[LogEvent] = []
        self._tail = ""
        sink.create_stream(group, name)

    def open_pipe(self) -> int:
        """The writing end, for the sandbox to pass on; `close_writing` it after the launch."""
        self.close_pipe()
        self._fd, writing = os.pipe()
        os.set_blocking(self._fd, False)
        self._loop.add_reader(self._fd, self._readable)
        return writing

    def close_writing(self, writing: int) -> None:
        """Our copy of the writing end, once the runtime has its own."""
        os.close(writing)

    def close_pipe(self) -> None:
        """Take what is left in the pipe, then close it. No harm in calling it twice."""
        if self._fd < 0:
            return
        self.drain()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1

    def add(self, message: str) -> None:
        """A platform line; held until the next `flush`. "" adds nothing."""
        if message:
            self._pending.append((epoch_ms(), message))

    def begin(self) -> None:
        """An invocation starts: its tail starts empty."""
        self._tail = ""

    def drain(self) -> None:
        """Take everything that the runtime has written so far, a last line without its end included."""
        if self._fd >= 0:
            while self._read():
                pass
        self._pending += self._parser.flush(epoch_ms())

    def flush(self) -> None:
        """Hand all events to the sink: after this they survive `kill -9`."""
        if self._pending:
            self.put(self.take())

    def take(self) -> list[LogEvent]:
        """The events added since the last flush, for `put` a little later."""
        taken, self._pending = self._pending, []
        self._tail = (self._tail + "".join([message for _, message in taken]))[-TAIL_BYTES:]
        return taken

    def put(self, events: list[LogEvent]) -> None:
        """Hand events to the sink: after this they survive `kill -9`."""
        try:
            self._sink.put(self._group, self.name, events)
        except OSError as error:  # a full disk must not cost the request its answer
            log.error("%s %s: %d log events lost: %s", self._group, self.name, len(events), error)

    def tail(self) -> bytes:
        """The last 4 KB of what was taken or flushed since `begin`."""
        return self._tail.encode()[-TAIL_BYTES:]

    def _readable(self) -> None:
        if self._read():
            self.flush()
        else:
            self._loop.remove_reader(self._fd)  # end of file: every writer has gone

    def _read(self) -> bool:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if data:
            self._pending += self._parser.feed(data, epoch_ms())
        return bool(data)
