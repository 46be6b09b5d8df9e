"""The server's side of a template: one initialised runtime, forked for every environment.

`guest/preheat_snapshot.py` is the other side and lists the frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from preheat.kernel.errors import PreheatError
from preheat.kernel.frames import whole_frames
from preheat.sandbox.cgroup import Cgroup
from preheat.sandbox.protocol import Launch, OnExit, Sandbox

_FORKED = struct.Struct("!II")
_ENDED = struct.Struct("!Ii")


class TemplateError(PreheatError):
    """Init of a template failed; `body` is the runtime's own error payload, b"" where it just ended."""

    def __init__(self, message: str, body: bytes) -> None:
        super().__init__(message)
        self.body = body


class Child:
    """One forked process, from the request for it to its end: a spare until it gets its orders."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self.pid: int | None = None
        self._namespace_init = 0
        self.ended = False
        self.on_pid: Callable[[int], None] | None = None
        self.on_exit: OnExit | None = None
        self.refusal = ""
        """Why it has come to no process, where it did not."""
        self._kill_wanted = False

    @property
    def unwanted(self) -> bool:
        """It has ended, or will in a moment."""
        return self.ended or self._kill_wanted

    def give_orders(self, environ: dict[str, str], fds: list[int]) -> None:
        """Make it an environment: its own variables, its output and its channel."""
        with contextlib.suppress(OSError):  # it has died: its end is reported
            socket.send_fds(self._orders, [json.dumps(environ).encode()], fds)
        self._orders.close()

    def forked(self, pid: int, namespace_init: int) -> None:
        self.pid = pid
        self._namespace_init = namespace_init
        if self.on_pid is not None:
            self.on_pid(pid)
            if namespace_init:
                self.on_pid(namespace_init)
        if self._kill_wanted:
            self.kill()

    def kill(self) -> None:
        """SIGKILL it and all of its PID namespace, or its session where it has none."""
        self._kill_wanted = True
        self._orders.close()
        if self.pid is not None and not self.ended:
            targets = [(os.kill, self.pid), (os.killpg, self.pid)]
            if self._namespace_init:
                targets.append((os.kill, self._namespace_init))
            for kill, pid in targets:
                with contextlib.suppress(ProcessLookupError):
                    kill(pid, signal.SIGKILL)

    def end(self, code: int) -> None:
        if self.ended:
            return
        self.ended = True
        self._orders.close()
        if self.on_exit is not None:
            self.on_exit(code)


class Template(asyncio.Protocol):
    """Start it once with `take`; then `fork` as often as wanted until it `died`."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.warnings: list[dict[str, Any]] = []
        self.died = False
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._control: socket.socket | None = None
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._forking: deque[Child] = deque()
        self._children: dict[int, Child] = {}
        self._init_error = b""

    async def take(self, launch: Launch, limit_s: float) -> None:
        """Run init up to the restore point. Raises TemplateError if it fails or takes longer."""
        ours, theirs = socket.socketpair()
        self._control = ours.dup()
        ours.setblocking(False)
        await self._loop.create_connection(lambda: self, sock=ours)
        with theirs:
            self.sandbox.launch(replace(launch, control_fd=theirs.fileno()), self._exited)
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), limit_s)
        except TimeoutError:
            self.close()
            raise TemplateError(f"init took longer than {limit_s:g} s", b"") from None

    def fork(self, tmp: str, keep: list[str], fresh: bool, written: int | None, cgroup: Cgroup | None) -> Child:
        """Ask for one more child with its /tmp; its pid follows. Raises TemplateError where the template
        has died. `keep`: what lies below the machine's /tmp and must stay reachable; `fresh`: this /tmp gets what init
        has put into the template's; `written`: a file of
        pages to copy ahead of demand (`pages.RANGE`); `cgroup`: where the child is to live."""
        if self.died or self._control is None:
            raise TemplateError("the snapshot's template has died", b"")
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                wish = json.dumps({"tmp": tmp, "keep": keep, "fresh": fresh}).encode()
                socket.send_fds(self._control, [wish], [theirs.fileno(), *([] if written is None else [written])])
            except OSError as error:
                ours.close()
                raise TemplateError(f"the snapshot's template has died: {error}", b"") from None
        child = Child(ours)
        self._forking.append(child)
        return child

    def close(self) -> None:
        """Kill the template; children live on. No harm in calling it twice."""
        self.died = True
        self._close_control()
        self.sandbox.destroy()

    def _close_control(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        for kind, payload in whole_frames(self._buffer):
            self._heard(chr(kind), payload)

    def _heard(self, kind: str, payload: bytes) -> None:
        if kind == "F":
            pid, namespace_init = _FORKED.unpack(payload)
            child = self._forking.popleft()
            self._children[pid] = child
            child.forked(pid, namespace_init)
        elif kind == "E":
            pid, code = _ENDED.unpack(payload)
            ended = self._children.pop(pid, None)
            if ended is not None:
                ended.end(code)
        elif kind == "S":
            self.warnings = json.loads(payload)
            if not self._ready.done():
                self._ready.set_result(None)
        elif kind == "X":
            self._init_error = payload

    def _exited(self, code: int) -> None:
        """The template itself has ended: before its snapshot init has failed, later nothing more can be forked."""
        self.died = True
        if not self._ready.done():
            self._ready.set_exception(TemplateError(self._why_ended(code), self._init_error))
        for child in self._forking:
            child.end(1)
        self._forking.clear()
        for pid, child in self._children.items():
            _watch_orphan(pid, child)
        self._children.clear()

    def _why_ended(self, code: int) -> str:
        return self.sandbox.refusal or f"the runtime exited with status {code}"


def _watch_orphan(pid: int, child: Child) -> None:
    """Only a parent learns how a process ended; without one its end is still seen, as a kill."""
    loop = asyncio.get_running_loop()
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        loop.call_soon(child.end, -signal.SIGKILL)
        return

    def ended() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        child.end(-signal.SIGKILL)

    loop.add_reader(pidfd, ended)
