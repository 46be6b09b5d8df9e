"""One environment's log stream: what its runtime writes and what the platform adds, in order."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable

from preheat.execution.output import MARK_MS, OutputParser
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
        self._late = False
        self._following: list[LogEvent] | None = None
        self._begun_ahead = 0
        self._tail = ""
        self.tap: Callable[[list[LogEvent]], None] | None = None
        """Hears what the runtime writes, besides the sink (Telemetry API)."""
        sink.create_stream(group, name)

    def open_pipe(self, name: str | None = "") -> int:
        """The writing end, for the sandbox to pass on; `close_writing` it after the launch. `name`: of a named pipe;
        None where output may be late."""
        self.close_pipe()
        self._late = name is None
        self._begun_ahead = 0
        if name:
            self._fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            writing = os.open(name, os.O_WRONLY | os.O_CLOEXEC)
        else:
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
        self._late = False
        self.drain()
        self._settle()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1

    def add(self, message: str) -> None:
        """A platform line; held until the next `flush`. "" adds nothing."""
        if message:
            self._pending.append((epoch_ms(), message))

    def extend(self, events: list[LogEvent]) -> None:
        """What others than the runtime write into the same stream (extensions)."""
        self._pending += events
        self.flush()

    def begin(self, line: str, ahead: bool = False) -> None:
        """An invocation starts with this line: its tail starts empty.

        `ahead`: its runtime has begun already, and what that wrote behind its mark comes after the line.
        """
        self._tail = ""
        self._begun_ahead += ahead
        if not ahead:
            self._settle()
        self.add(line)
        self._settle()

    def _settle(self) -> None:
        following, self._following = self._following, None
        self._pending += following or ()

    def drain(self) -> None:
        """Take everything that the runtime has written so far; a last line without its end, too, unless the rest of
        it may be on its way."""
        if self._fd >= 0:
            while self._read():
                pass
        if self._following is None and not self._late:
            self._take_in(self._parser.flush(epoch_ms()))

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
            self._take_in(self._parser.feed(data, epoch_ms()))
        return bool(data)

    def _take_in(self, events: list[LogEvent]) -> None:
        for event in events:
            if event[0] == MARK_MS:
                if event[1] == str(self._begun_ahead + 1):  # an older one is of a request begun long since
                    self._following = []
            elif self._following is None:
                self._pending.append(event)
            else:
                self._following.append(event)
        if self.tap is not None:
            self.tap(events)
