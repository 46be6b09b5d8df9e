"""The server's side of a template in a container, and of the `fork_host` that forks environments from it.

The image's own bootstrap runs init with our client in it. At its restore point the fork host takes over: the template
ends, its fork stays, and what is forked from that has namespaces of its own and no power to make any.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

from preheat.sandbox import ptrace
from preheat.sandbox.cgroup import Cgroup
from preheat.sandbox.container import ContainerSandbox
from preheat.sandbox.namespaces import View
from preheat.sandbox.protocol import Launch
from preheat.sandbox.runc_spec import GID, MASKED, READ_ONLY, UID
from preheat.sandbox.template import Child, Template, TemplateError
from preheat.sandbox.tmp_disk import TmpDisks

_PACKET_BYTES = 1 << 16
_ATTACH_LIMIT_S = 10.0
_NOT_PYTHON = (
    "the image's entry point did not start AWS's runtime client for Python (awslambdaric): "
    "SnapStart takes images whose entry point runs `python -m awslambdaric`, as Lambda's own Python images do"
)


class ContainerTemplate(Template):
    """`Template`, where environments are forked by a fork host."""

    def __init__(self, sandbox: ContainerSandbox, disks: TmpDisks, *, isolated: bool) -> None:
        super().__init__(sandbox)
        self._disks = disks
        self._tmp_mb = 0
        self._with_disk: set[str] = set()
        """The /tmp directories that have one; it is kept over a reset."""
        self._place = sandbox
        self._isolated = isolated
        self._greeted = False
        self._forks: socket.socket | None = None
        self._taken_over = False
        self._attached: asyncio.Future[None] = self._loop.create_future()
        self._source: asyncio.Future[None] = self._loop.create_future()
        self._named: dict[str, Child] = {}

    async def take(self, launch: Launch, limit_s: float) -> None:
        why = ptrace.unusable()
        if why is not None:
            raise TemplateError(f"SnapStart of functions from images does not work on this machine: {why}", b"")
        self._forks, self._place.forks = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._forks.setblocking(False)
        self._tmp_mb = launch.tmp_mb
        self._loop.add_reader(self._forks.fileno(), self._forks_heard)
        try:
            with self._place.forks:
                await super().take(launch, limit_s)
            await asyncio.wait_for(self._hand_over(), _ATTACH_LIMIT_S)
        except TimeoutError:
            raise TemplateError("the template could not be forked in time", b"") from None

    async def _hand_over(self) -> None:
        """Let the fork host trace the template, then have it fork: the last thing that it does."""
        while (pid := self._place.pid) is None:  # runc tells a moment after the container has begun
            if self.died:
                raise TemplateError("the template ended at its restore point", b"")
            await asyncio.sleep(0.002)
        assert self._control is not None
        view = View(UID, GID, MASKED, READ_ONLY, self._isolated)
        gate, children = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with gate, children:
            self._ask({"attach": _innermost(pid), "view": asdict(view)}, [gate.fileno()])
            await self._attached
            self._taken_over = True
            socket.send_fds(self._control, [json.dumps({"hosted": True}).encode()], [children.fileno()])
            await self._source

    def fork(self, tmp: str, keep: list[str], fresh: bool, written: int | None, cgroup: Cgroup | None) -> Child:
        if self.died:
            raise TemplateError("the snapshot's fork source has died", b"")
        identity = uuid.uuid4().hex
        ours, theirs = socket.socketpair()
        child = Child(ours)
        with theirs:
            disk = self._disk(tmp)
            thaw = cgroup.open_thaw() if cgroup is not None else None
            own = [*disk, *([] if thaw is None else [thaw[0]])]
            wish = {"fork": identity, "hostname": identity[:12], "tmp": tmp, "disk": bool(disk)}
            wish["from"] = str(self._place.tmp) if fresh and any(self._place.tmp.iterdir()) else ""
            wish["thaw"] = "" if thaw is None else thaw[1]
            try:
                self._ask(wish, [*own, theirs.fileno(), *([] if written is None else [written])])
            except OSError as error:
                ours.close()
                raise TemplateError(f"the snapshot's fork host has died: {error}", b"") from None
            finally:
                for fd in own:
                    os.close(fd)
        self._named[identity] = child
        return child

    def _disk(self, tmp: str) -> list[int]:
        """What to put at /tmp the first time, where this machine can limit its size."""
        if tmp in self._with_disk:
            return []
        try:
            disk = self._disks.take(self._tmp_mb)
        except OSError:  # `ContainerFactory.limits` says so, where it is foreseeable
            return []
        self._with_disk.add(tmp)
        return [disk]

    def close(self) -> None:
        """Children live on: the fork host stays until the last of them has ended, and reports how."""
        self.died = True
        self._close_control()
        with contextlib.suppress(OSError):
            self._ask({"close": True}, [])
        if all(child.unwanted for child in self._named.values()):
            self._forks_ended()

    # the fork host

    def _ask(self, message: dict[str, Any], fds: list[int]) -> None:
        if self._forks is None:
            raise OSError("it is closed")
        socket.send_fds(self._forks, [json.dumps(message).encode()], fds)

    def _forks_heard(self) -> None:
        while self._forks is not None:
            try:
                data, fds, _, _ = socket.recv_fds(self._forks, _PACKET_BYTES, 2)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if not data:
                self._forks_ended()
                return
            self._take_message(json.loads(data), fds)

    def _take_message(self, message: dict[str, Any], fds: list[int]) -> None:
        if "forked" in message:
            runtime, keeper = map(_described, fds)
            child = self._named.get(message["forked"])
            if child is not None and runtime > 0:
                child.forked(runtime, max(keeper, 0))
        elif "exited" in message:
            self._end(message["exited"], message["code"])
        elif "fork" in message:
            child = self._named.get(message["fork"])
            if child is not None:
                child.refusal = message["failed"]
            self._end(message["fork"], 1)
        elif "failed" in message:
            for awaited in (self._attached, self._source):
                if not awaited.done():
                    awaited.set_exception(TemplateError(f"the template cannot be forked: {message['failed']}", b""))
        elif "attached" in message:
            self._attached.set_result(None)
        elif "ready" in message:
            self._source.set_result(None)
        elif "gone" in message:
            self.died = True
        for fd in fds:
            os.close(fd)

    def _end(self, identity: str, code: int) -> None:
        child = self._named.pop(identity, None)
        if child is not None:
            child.end(code)

    def _forks_ended(self) -> None:
        """With it everything in its PID namespace."""
        self.died = True
        if self._forks is not None:
            self._loop.remove_reader(self._forks.fileno())
            self._forks.close()
            self._forks = None
        self.sandbox.destroy()
        for identity in list(self._named):
            self._end(identity, -9)

    # the template

    def _heard(self, kind: str, payload: bytes) -> None:
        if kind == "H":
            self._greeted = True
        super()._heard(kind, payload)

    def _exited(self, code: int) -> None:
        if self._taken_over:
            return  # as it should
        super()._exited(code)

    def _why_ended(self, code: int) -> str:
        why = super()._why_ended(code)
        return why if self._greeted or self.sandbox.refusal or self._init_error else f"{why}: {_NOT_PYTHON}"


def _innermost(pid: int) -> int:
    """A process's number in its own PID namespace (proc(5), NSpid)."""
    return int(_line(f"/proc/{pid}/status", "NSpid:")[-1])


def _described(fd: int) -> int:
    """The number, in our own PID namespace, of the process that a descriptor is of (-1: it has ended)."""
    return int(_line(f"/proc/self/fdinfo/{fd}", "Pid:")[0])


def _line(path: str, name: str) -> list[str]:
    return next(line for line in Path(path).read_text().splitlines() if line.startswith(name)).split()[1:]
