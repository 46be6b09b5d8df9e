"""The server's side of the process that starts external extensions and the runtime (`guest/preheat_supervisor.py`)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Protocol

import msgspec

from preheat.execution.logstream import epoch_ms
from preheat.execution.output import OutputParser
from preheat.kernel.function import LogEvent
from preheat.sandbox.protocol import Companions

_READ_BYTES = 262_144


class SupervisorListener(Protocol):
    def on_exit(self, name: str, code: int) -> None:
        """An extension has ended, or the runtime (""): exit status, or minus the signal's number."""

    def on_extension_output(self, events: list[LogEvent]) -> None: ...


class _End(msgspec.Struct):
    exited: str
    code: int


class Supervisor:
    """One launch's. `close` after it, or before."""

    def __init__(self, listener: SupervisorListener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._control, self._theirs = socket.socketpair()
        self._control.setblocking(False)
        self._output_fd, self._writing_fd = os.pipe()
        os.set_blocking(self._output_fd, False)
        self._parser = OutputParser()
        self._heard = b""
        self._loop.add_reader(self._control.fileno(), self._hear)
        self._loop.add_reader(self._output_fd, self._read)

    def companions(self, paths: tuple[str, ...]) -> Companions:
        return Companions(paths, self._theirs.fileno(), self._writing_fd)

    def launched(self) -> None:
        """The process has its ends of both."""
        self._theirs.close()
        if self._writing_fd >= 0:
            os.close(self._writing_fd)
            self._writing_fd = -1

    def start_runtime(self) -> None:
        self._say(b"G")

    def terminate_runtime(self) -> None:
        self._say(b"T")

    def kill_runtime(self) -> None:
        self._say(b"K")

    def close(self) -> None:
        """Everything that it has started ends. What the extensions have written is taken first."""
        self.launched()
        if self._control.fileno() < 0:
            return
        self._read()
        self._listener.on_extension_output(self._parser.flush(epoch_ms()))
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        if self._output_fd >= 0:
            self._loop.remove_reader(self._output_fd)
            os.close(self._output_fd)

    def _say(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # it has ended: the sandbox tells
            self._control.send(word)

    def _hear(self) -> None:
        try:
            data = self._control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._control.fileno())
            return
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            end = msgspec.json.decode(line, type=_End)
            self._listener.on_exit(end.exited, end.code)

    def _read(self) -> None:
        while self._output_fd >= 0:
            try:
                data = os.read(self._output_fd, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._loop.remove_reader(self._output_fd)
                os.close(self._output_fd)
                self._output_fd = -1
                return
            self._listener.on_extension_output(self._parser.feed(data, epoch_ms()))
