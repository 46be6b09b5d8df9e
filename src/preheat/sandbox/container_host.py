"""The process that starts containers, one for each server: a file run by itself, standard library only.

It keeps every mount in a mount namespace of its own, which the kernel ends with it; it adopts what `runc` leaves
behind (PR_SET_CHILD_SUBREAPER), so it learns how a container's first process really ended; and it kills all of them
when the server's end of the control socket closes, however the server went. Packets, JSON each:

  to us      {"launch": id, "directory", "layers": [highest first], "spec", "runc": [argv], "state": directory,
              "group": cgroup path, "tmp": directory, "fork_host": [argv] or absent, "isolated": whether that
              is in a new network, "fds": what each descriptor is: "output", "network" (a namespace), "tmp" (a mount
              for that directory), "join" (a cgroup.procs), "thaw <what to write there>", "control" (for the container),
              "forks" (for its fork host, which is the first process of its PID namespace and outlives it)}
             {"kill": id}
  from us    {"started": id, "pid"}    {"failed": id, "why"}    {"exited": id, "code"}
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

_CLONE_NEWNS = 0x00020000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 0x1, 0x2, 0x4, 0x4000, 0x40000
_MNT_DETACH = 2
_PR_SET_CHILD_SUBREAPER = 36
_MOVE_MOUNT, _MOVE_MOUNT_F_EMPTY_PATH, _HERE = 429, 4, -100
"""Numbered so on every architecture (scripts/syscall.tbl); the last is AT_FDCWD."""
_CGROUPS = Path("/sys/fs/cgroup")
_PACKET_BYTES = 1 << 20
_MAX_FDS = 16
_HOLDER = ["/bin/sh", "-c", 'trap "" CHLD; exec sleep infinity']
"""First process of each PID namespace: a handler must not be it (it would be deaf to its own signals). It ignores
SIGCHLD, so the kernel reaps the orphans that it inherits (wait(2), NOTES)."""
_CONTAINER_FD = 3
_LOG_TAIL = 2000
_DYING_S = 3.0

_libc = ctypes.CDLL(None, use_errno=True)


class Container:
    """One launch, from the request for it to its end."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.identity: str = message["launch"]
        self.directory = Path(message["directory"])
        self._state = Path(message["state"], self.identity)
        self._group: str = message["group"].strip("/")
        self._thaw: tuple[int, str] | None = None
        self.fork_host: list[str] = message.get("fork_host", [])
        self.isolated: bool = message.get("isolated", False)
        self.holder = 0
        self.starter = 0
        self.pid = 0

    @property
    def rootfs(self) -> Path:
        return self.directory / "rootfs"

    def keep_thaw(self, fd: int, word: str) -> None:
        self._thaw = os.dup(fd), word

    def kill(self) -> None:
        if self._thaw is not None:  # the frozen do not die
            with contextlib.suppress(OSError):
                os.write(self._thaw[0], self._thaw[1].encode())
        for pid in (self.starter, self.holder):
            if pid:
                os.kill(pid, signal.SIGKILL)  # not reaped yet, so nobody else's number

    def remove(self) -> None:
        """What runc keeps of a container that is gone: its state, and its group in the hierarchies it saw."""
        if self._thaw is not None:
            os.close(self._thaw[0])
        shutil.rmtree(self._state, ignore_errors=True)
        for root in (_CGROUPS / "devices", _CGROUPS):
            with contextlib.suppress(OSError):
                (root / self._group).rmdir()

    def remove_parent(self) -> None:
        with contextlib.suppress(OSError):
            (_CGROUPS / "devices" / self._group).parent.rmdir()


class Host:
    def __init__(self, control: socket.socket, mark: str) -> None:
        name, _, value = mark.partition("=")
        self._control = control
        self._holder_environ = {**os.environ, name: value}
        self._home = {
            kind: os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            for name, kind in (("pid", _CLONE_NEWPID), ("net", _CLONE_NEWNET))
        }
        self._containers: dict[str, Container] = {}
        self._leaving: dict[int, Container] = {}
        """By the pid of their holder, whose end is the end of everything in its PID namespace."""
        self._early: dict[int, int] = {}
        """Ends of processes that are not known yet: a container's, heard of before its starter's."""
        self._last: Container | None = None

    def run(self, woken: socket.socket) -> None:
        """Serve until the server has gone; then end everything."""
        poll = select.poll()
        for end in (self._control, woken):
            poll.register(end, select.POLLIN)
        hearing = True
        while hearing:
            poll.poll()
            _drain(woken)
            self._reap()
            hearing = self._hear()
        poll.unregister(self._control)
        # fork hosts hear of it themselves, and thaw what they have forked before they end
        for container in self._containers.values():
            if not container.fork_host:
                container.kill()
        self._see_them_end(poll, woken)
        for container in self._containers.values():
            container.kill()
        self._see_them_end(poll, woken)
        if self._last is not None:
            self._last.remove_parent()

    def _see_them_end(self, poll: select.poll, woken: socket.socket) -> None:
        deadline = time.monotonic() + _DYING_S
        while (self._containers or self._leaving) and time.monotonic() < deadline:
            poll.poll(100)
            _drain(woken)
            self._reap()

    def _hear(self) -> bool:
        """Take every packet there is; False once the server has gone."""
        while True:
            try:
                data, fds = _receive(self._control)
            except BlockingIOError:
                return True
            except ConnectionError:
                return False
            if not data:
                return False
            message = json.loads(data)
            if "kill" in message:
                if message["kill"] in self._containers:
                    self._containers[message["kill"]].kill()
                continue
            try:
                self._launch(message, list(zip(message["fds"], fds, strict=True)))
            finally:
                for fd in fds:
                    os.close(fd)

    def _tell(self, **message: Any) -> None:
        with contextlib.suppress(OSError):  # the server has gone: `_hear` ends us
            self._control.send(json.dumps(message).encode())

    # starting

    def _launch(self, message: dict[str, Any], fds: list[tuple[str, int]]) -> None:
        container = self._last = Container(message)
        network = next((fd for name, fd in fds if name == "network"), None)
        mounted = False
        try:
            for name, fd in fds:
                if name.startswith("thaw "):
                    container.keep_thaw(fd, name.removeprefix("thaw "))
                elif name == "tmp":
                    _move_mount(fd, message["tmp"])
            container.rootfs.mkdir(parents=True, exist_ok=True)
            _mount_layers(message["layers"], container.rootfs)
            mounted = True
            container.holder = self._hold(container, network, dict(fds).get("forks"))
            _write_spec(message["spec"], container, network is not None or container.isolated)
            container.starter = _start(message["runc"], container, fds)
            self._containers[container.identity] = container
        except OSError as error:
            if mounted:
                _libc.umount2(os.fsencode(container.rootfs), _MNT_DETACH)
            if container.holder:
                self._leave(container)
            self._tell(failed=container.identity, why=str(error))

    def _hold(self, container: Container, network: int | None, forks: int | None) -> int:
        """New PID namespace, alive as long as its first process, whose pid is returned; that is in `network` too."""
        argv = container.fork_host or _HOLDER
        quiet = range(2 if container.fork_host else 3)  # a fork host's complaints are ours
        actions: list[Any] = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in quiet]
        if forks is not None:
            actions.append((os.POSIX_SPAWN_DUP2, forks, _CONTAINER_FD))
        _check(_libc.unshare(_CLONE_NEWPID | (_CLONE_NEWNET if container.isolated else 0)))
        try:
            if network is not None:
                _check(_libc.setns(network, _CLONE_NEWNET))
            return os.posix_spawn(argv[0], argv, self._holder_environ, file_actions=actions)
        finally:
            for kind, home in self._home.items():
                _check(_libc.setns(home, kind))

    # ends

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            leaving = self._leaving.pop(pid, None)
            if leaving is not None:
                leaving.remove()
            else:
                self._early[pid] = status
        for container in list(self._containers.values()):
            if self._early.pop(container.holder, None) is not None:
                container.holder = 0
            if container.starter in self._early:
                self._started(container, self._early.pop(container.starter))
            if container.pid in self._early:
                status = self._early.pop(container.pid)
                container.pid = 0
                if not container.fork_host:
                    self._leave(container)
                self._tell(exited=container.identity, code=os.waitstatus_to_exitcode(status))
            if container.fork_host and not (container.holder or container.starter or container.pid):
                self._leave(container)
        if not any(container.starter for container in self._containers.values()):
            self._early.clear()

    def _started(self, container: Container, status: int) -> None:
        container.starter = 0
        _libc.umount2(os.fsencode(container.rootfs), _MNT_DETACH)
        if status == 0:
            with contextlib.suppress(OSError, ValueError):  # its directory went with it: it has been killed
                container.pid = int((container.directory / "pid").read_text())
                self._tell(started=container.identity, pid=container.pid)
                return
        self._leave(container)
        self._tell(failed=container.identity, why=_last_line(container.directory / "runc.log"))

    def _leave(self, container: Container) -> None:
        """Its daemons die with their PID namespace; what runc keeps of it is removed after them."""
        container.kill()
        self._containers.pop(container.identity, None)
        if container.holder:
            self._leaving[container.holder] = container
        else:
            container.remove()


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """One packet. `socket.recv_fds` would not do: it ignores its flags."""
    ancillary_bytes = socket.CMSG_SPACE(_MAX_FDS * 4)
    flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    data, ancillary, _, _ = control.recvmsg(_PACKET_BYTES, ancillary_bytes, flags)
    fds = array.array("i")
    for _, _, content in ancillary:
        fds.frombytes(content)
    return data, list(fds)


def _mount_layers(layers: list[str], rootfs: Path) -> None:
    """An overlay without an upper layer: nobody can write. Names are relative to their common directory, because
    mount(2) takes a page of options at most."""
    common = os.path.commonpath([Path(layer).parent for layer in layers])
    os.chdir(common)
    try:
        lower = ":".join(_escaped(os.path.relpath(layer, common)) for layer in layers)
        flags = _MS_RDONLY | _MS_NODEV | _MS_NOSUID
        options = f"lowerdir={lower}".encode()
        _check(_libc.mount(b"overlay", os.fsencode(rootfs), b"overlay", ctypes.c_ulong(flags), options))
    finally:
        os.chdir("/")


def _move_mount(fd: int, path: str) -> None:
    """Attach a mount that is in no namespace yet: in ours, so that it ends with us."""
    target = ctypes.c_char_p(os.fsencode(path))
    _check(_libc.syscall(_MOVE_MOUNT, fd, ctypes.c_char_p(b""), _HERE, target, _MOVE_MOUNT_F_EMPTY_PATH))


def _escaped(path: str) -> str:
    """Colons and backslashes divide the layers (overlayfs.rst, "Multiple lower layers")."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _write_spec(spec: dict[str, Any], container: Container, own_network: bool) -> None:
    """Add what is only known here: which PID and network namespaces to join."""
    for kind, name in (("pid", "pid"), ("network", "net"))[: 1 + own_network]:
        spec["linux"]["namespaces"].append({"type": kind, "path": f"/proc/{container.holder}/ns/{name}"})
    (container.directory / "config.json").write_text(json.dumps(spec))


def _start(argv: list[str], container: Container, fds: list[tuple[str, int]]) -> int:
    """Fork and become runc, which leaves the container to us and ends; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        for name, fd in fds:
            if name == "join":
                os.write(fd, b"0")
        output = dict(fds)["output"]
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        given = [output, *(fd for name, fd in fds if name == "control")]
        copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _CONTAINER_FD + len(given)) for fd in given]
        for place, fd in enumerate(copies, _CONTAINER_FD):
            os.dup2(fd, place)
        os.closerange(_CONTAINER_FD + len(given), 1024)
        os.chdir(container.directory)
        os.execvp(argv[0], argv)
    finally:
        os._exit(127)


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace")[-_LOG_TAIL:].strip().splitlines()
    except OSError:
        lines = []
    try:
        message: str = json.loads(lines[-1])["msg"]
    except (IndexError, KeyError, ValueError):
        return "runc ended without a word"
    return message.removeprefix("runc run failed: ").removeprefix("unable to start container process: ")


def _drain(woken: socket.socket) -> None:
    try:
        while woken.recv(4096):
            pass
    except BlockingIOError:
        pass


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _own_mounts() -> None:
    """A private mount namespace, in which runc finds no version 1 hierarchy but the one for devices: the server
    has placed the container in the others, and runc would make twelve groups more for each."""
    _check(_libc.unshare(_CLONE_NEWNS))
    _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None))
    if (_CGROUPS / "cgroup.controllers").exists():
        return
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in points:
        if point.startswith(f"{_CGROUPS}/") and not point.startswith(f"{_CGROUPS}/devices"):
            _libc.umount2(os.fsencode(point), _MNT_DETACH)


def main(control_fd: int, mark: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
    os.set_inheritable(control_fd, False)  # the server hears of our end by its closing
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
    _own_mounts()
    os.chdir("/")
    woken, wake = socket.socketpair()
    woken.setblocking(False)
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    Host(socket.socket(fileno=control_fd), mark).run(woken)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
