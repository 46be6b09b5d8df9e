"""The process that forks environments from a template in a container, one for each snapshot of an image function.

It is the first process of the template's PID namespace and runs nothing of the function. The template is forked once,
under ptrace, before its restore point's next instruction; that fork never runs. It holds the capabilities of a user
namespace which only this process and it are in, and for every environment it is made to enter that environment's
namespaces and to fork again. The child gives up every capability before its own first instruction.

An environment's namespaces belong to a `keeper`: the first process of its PID namespace, forked from this one, which
mounts /proc and /tmp, and with whose end everything in there ends. Packets, JSON each, with descriptors:

  to us      {"attach": the template's pid here, "view": of namespaces.View}    the gate, on which children call
             {"fork": id, "hostname", "tmp": directory, "from": what to copy into it or "", "disk": whether there is
                                         one, "thaw": word or ""}    the disk for that directory (a mount); where to
                                         write the word to thaw the child; for the child its end of its orders and, of
                                         a spare, what to copy ahead (`pages.RANGE`)
             {"close": true}             nothing more will be forked: end with the last environment
  from us    {"attached": true}   {"ready": true}   {"failed": why}   {"gone": true}: the fork source has died
             {"forked": id}       descriptors of the child and of its keeper (pidfd_open)
             {"failed": why, "fork": id}   {"exited": id, "code"}
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import signal
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preheat.sandbox import namespaces, ptrace

CONTROL_FD = 3
_PACKET_BYTES = 1 << 16
_CREDENTIALS = struct.Struct("=3i")
_CAP_HEADER = struct.pack("=Ii", 0x20080522, 0)
"""struct __user_cap_header_struct (capabilities(7), version 3) for the caller itself; 24 bytes of zeros follow."""
_PR_CAPBSET_DROP = 24


@dataclass(slots=True)
class _Environment:
    identity: str
    thaw: int
    thaw_word: str
    for_child: list[int]
    """Descriptors, until the child has come for them."""
    keeper: int = 0
    runtime: int = 0

    def end(self) -> None:
        """Let it die where it is frozen: the frozen do not."""
        self.hand_over(None)
        if self.thaw >= 0:
            with contextlib.suppress(OSError):  # its group has gone before it
                os.write(self.thaw, self.thaw_word.encode())
            os.close(self.thaw)
            self.thaw = -1

    def hand_over(self, private: socket.socket | None) -> None:
        """To the child, or to nobody."""
        with contextlib.suppress(OSError):  # it has died already
            if private is not None:
                socket.send_fds(private, [b"o"], self.for_child)
        while self.for_child:
            os.close(self.for_child.pop())


class ForkHost:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._gate: socket.socket | None = None
        self._source: _Source | None = None
        self._places: namespaces.Places | None = None
        self._environments: dict[int, _Environment] = {}
        """By the pid of their runtime."""
        self._closing = False

    def run(self, woken: socket.socket) -> None:
        """Serve until told to close and the last environment has ended, or until the server has gone."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(woken, select.POLLIN)
        while not (self._closing and not self._environments):
            ready = [fd for fd, _ in poll.poll()]
            if woken.fileno() in ready:
                woken.recv(4096)
                self._reap()
            if self._gate is not None and self._gate.fileno() in ready:
                self._announced(self._gate)
            if self._control.fileno() in ready and not self._hear(poll):
                break
        for environment in self._environments.values():
            environment.end()

    def _hear(self, poll: select.poll) -> bool:
        try:
            data, fds, _ = _receive(self._control)
        except ConnectionError:
            return False
        if not data:
            return False
        message = json.loads(data)
        try:
            if "attach" in message:
                self._gate = socket.socket(fileno=fds.pop())
                self._gate.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
                poll.register(self._gate, select.POLLIN)
                self._attach(message["attach"], namespaces.View(**message["view"]))
            elif "fork" in message:
                disk = fds.pop(0) if message["disk"] else None
                thaw = fds.pop(0) if message["thaw"] else -1
                environment = _Environment(message["fork"], thaw, message["thaw"], fds)
                fds = [] if disk is None else [disk]
                self._fork(environment, message, disk)
            else:
                self._closing = True
                if self._source is not None:
                    self._source.kill()
        except OSError as error:
            self._tell([], failed=str(error), **({"fork": message["fork"]} if "fork" in message else {}))
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _tell(self, fds: list[int], **message: Any) -> None:
        with contextlib.suppress(OSError):  # the server has gone: `_hear` ends us
            socket.send_fds(self._control, [json.dumps(message).encode()], fds)

    def _attach(self, template: int, view: namespaces.View) -> None:
        """Trace the template, which is at its restore point, let it fork, and end it: its fork is what stays."""
        traced = ptrace.Traced.seize(template, ptrace.TRACE_FORKS)
        self._tell([], attached=True)
        source = ptrace.Traced(traced.wait_for_fork())
        source.wait_until_born()
        source.set_options(ptrace.TRACE_FORKS | ptrace.KILL_WITH_TRACER | ptrace.SUSPEND_SECCOMP)
        os.kill(template, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            while True:
                traced.wait()  # its end: the fork is our child now
        _end_others(source.pid)
        with namespaces.user_namespace(view.uid, view.gid) as users:
            self._source = _Source(source, users)
            self._places = namespaces.Places(users, source.pid, view)
        self._tell([], ready=True)

    def _fork(self, environment: _Environment, message: dict[str, Any], disk: int | None) -> None:
        keeper = 0
        try:
            if self._source is None or self._places is None:
                raise OSError("the snapshot's fork source has died")
            keeper = self._places.make(Path(message["tmp"]), message["from"], disk, message["hostname"])
            runtime = self._source.fork_into(keeper, self._places.kinds)
        except OSError:
            environment.end()
            if keeper:
                os.kill(keeper, signal.SIGKILL)
            if self._source is not None and self._source.dead:
                self._end_source()
            raise
        environment.keeper, environment.runtime = keeper, runtime
        self._environments[runtime] = environment
        handles = [os.pidfd_open(runtime), os.pidfd_open(keeper)]
        self._tell(handles, forked=environment.identity)
        for handle in handles:
            os.close(handle)

    def _announced(self, gate: socket.socket) -> None:
        """A child has come into being and asks for its orders; the kernel says which one it is."""
        _, fds, pid = _receive(gate)
        environment = self._environments.get(pid)
        for fd in fds:
            with socket.socket(fileno=fd) as private:
                if environment is not None and environment.for_child:
                    environment.hand_over(private)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                continue
            if self._source is not None and pid == self._source.pid:
                self._end_source()
            ended = self._environments.pop(pid, None)
            if ended is not None:
                ended.end()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(ended.keeper, signal.SIGKILL)  # and with it whatever the environment left running
                self._tell([], exited=ended.identity, code=os.waitstatus_to_exitcode(status))

    def _end_source(self) -> None:
        self._source = None
        self._tell([], gone=True)


def _end_others(source: int) -> None:
    """What init has started and left running: it would see every environment's processes below its own."""
    while True:
        pids = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()} - {os.getpid(), source}
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # not ours yet: its parent goes first
                os.waitpid(pid, 0)


class _Source:
    """The fork that never runs, from which every environment is forked."""

    def __init__(self, traced: ptrace.Traced, users: int) -> None:
        """`users`: a process in the user namespace to put it into, where it gains what it takes to fork on."""
        self.dead = False
        self._traced = traced
        self.pid = traced.pid
        self._born = traced.registers()
        self._fork = ptrace.fork_arguments(self._born)
        self._scratch = ptrace.scratch(self._born)
        traced.write(self._scratch, _CAP_HEADER + bytes(24))
        self._enter(users, namespaces.USER)
        # nothing that is forked from here can gain by exec what it does not hold
        for capability in range(namespaces.last_capability() + 1):
            self._call(ptrace.PRCTL, _PR_CAPBSET_DROP, capability, 0, 0, 0)

    def fork_into(self, keeper: int, kinds: int) -> int:
        """A child in the namespaces of these kinds that `keeper` lives in, without capabilities; returns its pid."""
        self._enter(keeper, kinds)
        flags, *others = self._fork
        child = ptrace.Traced(self._call(ptrace.CLONE, flags | namespaces.PARENT, *others))
        try:
            child.wait_until_born()
            registers = child.registers()
            child.call(ptrace.CAPSET, self._scratch, self._scratch + len(_CAP_HEADER), at=registers)
            child.let_go(registers)
        except OSError:
            os.kill(child.pid, signal.SIGKILL)
            raise
        return child.pid

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _enter(self, pid: int, kinds: int) -> None:
        handle = self._call(ptrace.PIDFD_OPEN, pid, 0)
        try:
            self._call(ptrace.SETNS, handle, kinds)
        finally:
            self._call(ptrace.CLOSE, handle)

    def _call(self, number: int, *arguments: int) -> int:
        try:
            return self._traced.call(number, *arguments, at=self._born)
        except ProcessLookupError:
            self.dead = True
            raise


def _receive(end: socket.socket) -> tuple[bytes, list[int], int]:
    """One packet, its descriptors, and who has sent it where the socket asks for that (else 0)."""
    ancillary_bytes = socket.CMSG_SPACE(4 * 4) + socket.CMSG_SPACE(_CREDENTIALS.size)
    data, ancillary, _, _ = end.recvmsg(_PACKET_BYTES, ancillary_bytes, socket.MSG_CMSG_CLOEXEC)
    fds, pid = array.array("i"), 0
    for _, kind, content in ancillary:
        if kind == socket.SCM_RIGHTS:
            fds.frombytes(content)
        elif kind == socket.SCM_CREDENTIALS:
            pid, _, _ = _CREDENTIALS.unpack(content)
    return data, list(fds), pid


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    namespaces.own_proc()
    if "isolated" in sys.argv[1:]:  # in a network of the template's own
        namespaces.loopback_up()
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ForkHost(socket.socket(fileno=CONTROL_FD)).run(woken)


if __name__ == "__main__":
    main()
