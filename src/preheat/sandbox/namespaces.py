"""Namespaces for environments that are forked inside a container: what `fork_host` makes, and who lives in them.

Everything here belongs to one user namespace, so that it takes no power over the machine to join it. Identities are
mapped one to one: files look as they do in a container that was not forked.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from preheat.sandbox.ptrace import CLONE

MOUNT, UTS, IPC, USER, PID, NETWORK = 0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
"""CLONE_NEW* of clone(2)."""
PARENT = 0x8000
"""CLONE_PARENT."""
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT = 0x1, 0x2, 0x4, 0x8, 0x20
_BIND, _REC, _PRIVATE = 0x1000, 0x4000, 0x40000
_TIGHT = _NOSUID | _NODEV | _NOEXEC
_DETACH = 2
_PR_SET_DUMPABLE = 4
_OPEN_TREE, _MOVE_MOUNT = 428, 429
"""The same numbers on every architecture (scripts/syscall.tbl)."""
_HERE = -100
"""AT_FDCWD."""
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC, _MOVE_MOUNT_F_EMPTY_PATH = 1, os.O_CLOEXEC, 4
_SIOCSIFFLAGS, _IFF_UP_RUNNING = 0x8914, 0x41
_ALL_IDS = "0 0 4294967295\n"
_PREPARED = b"+"
GUEST_MOUNT = "/.preheat"
"""Where the template finds our client; environments have done with it."""

_libc = ctypes.CDLL(None, use_errno=True)


def open_tree(path: Path) -> int:
    """A descriptor of a directory, or of what is mounted there, as a mount that is nowhere yet. Raises OSError."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    fd = _libc.syscall(_OPEN_TREE, _HERE, ctypes.c_char_p(os.fsencode(path)), ctypes.c_uint(flags))
    _check(min(fd, 0))
    return int(fd)


def own_proc() -> None:
    """A /proc that shows this process's own PID namespace, in a mount namespace of its own."""
    _unshare(MOUNT)
    _mount("none", "/", "", _REC | _PRIVATE)
    _mount("proc", "/proc", "proc", _TIGHT)


def last_capability() -> int:
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


@contextlib.contextmanager
def user_namespace(uid: int, gid: int) -> Iterator[int]:
    """The pid of a process in a new user namespace that belongs to `uid`, who may enter it. Ends with the context:
    whoever should keep the namespace must have joined by then."""

    def become_owner() -> None:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        _unshare(USER)
        _check(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0))  # or those who join could not look at it

    pid = _child(become_owner)
    try:
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{name}").write_text(_ALL_IDS)
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@dataclass(frozen=True, slots=True)
class View:
    """What environments see. `isolated`: of the network, only themselves; paths below /proc are hidden or read-only."""

    uid: int
    gid: int
    masked: list[str]
    read_only: list[str]
    isolated: bool


class Places:
    """Makes namespaces for environments of one template. The process that calls this moves into the user namespace
    of the process `users`, and keeps no power outside of it."""

    def __init__(self, users: int, template: int, view: View) -> None:
        """`template` is a process whose files the environments see."""
        self._view = view
        self._users = os.pidfd_open(users)
        self._template = os.open(f"/proc/{template}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._fresh = IPC | UTS | (NETWORK if view.isolated else 0)
        self.kinds = MOUNT | PID | self._fresh
        base = _child(self._make_base)
        self._base = os.open(f"/proc/{base}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        os.kill(base, signal.SIGKILL)
        os.waitpid(base, 0)
        _setns(self._users, USER)
        _unshare(MOUNT)

    def make(self, tmp: Path, copied: str, disk: int | None, hostname: str) -> int:
        """The pid of a new keeper. `tmp` is the directory to show as /tmp; `disk`, a mount that is nowhere yet, is put
        there first, for this keeper and those after it: it goes when the directory does. `copied` is a directory whose
        entries are copied there, or ""."""
        if disk is not None:
            _move_mount(disk, str(tmp))
        if copied:
            subprocess.run(["cp", "-a", "--", f"{copied}/.", str(tmp)], check=False)
        tree = open_tree(tmp)
        try:
            return _child(lambda: self._furnish(tree, hostname), PID)
        finally:
            os.close(tree)

    def _make_base(self) -> None:
        """The template's files without its /tmp and /proc. A /proc that hides nothing has to lie there, or the kernel
        would not let a user namespace mount another (user_namespaces(7), mount_namespaces(7): nothing is revealed)."""
        _setns(self._template, MOUNT)
        _unshare(MOUNT)
        for path in ("/tmp", "/proc", GUEST_MOUNT):
            _check(_libc.umount2(os.fsencode(path), _DETACH))
        _mount("proc", "/proc", "proc", _TIGHT)
        _setns(self._users, USER)
        _unshare(MOUNT)

    def _furnish(self, tmp: int, hostname: str) -> None:
        """In the keeper: what an environment's own namespaces hold. It gives up its capabilities last."""
        _check(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0))
        os.setsid()
        _setns(self._base, MOUNT)
        _unshare(MOUNT | self._fresh)
        _move_mount(tmp, "/tmp")
        _mount("none", "/tmp", "", _REMOUNT | _BIND | _NOSUID | _NODEV)
        _mount("proc", "/proc", "proc", _TIGHT)
        _hide(self._view.masked, self._view.read_only)
        socket.sethostname(hostname)
        if self._fresh & NETWORK:
            loopback_up()
        header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)
        _check(_libc.capset(header, nothing))


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP_RUNNING))


def _hide(masked: list[str], read_only: list[str]) -> None:
    """As runc does it of a container's own /proc; the rest is inherited, and nobody can take it away."""
    for path in _present(masked):
        if path.is_dir():
            _mount("tmpfs", str(path), "tmpfs", _RDONLY)
        else:
            _mount("/dev/null", str(path), "", _BIND)
    for path in _present(read_only):
        _mount(str(path), str(path), "", _BIND | _REC)
        _mount("none", str(path), "", _REMOUNT | _BIND | _RDONLY | _TIGHT)


def _present(names: list[str]) -> list[Path]:
    return [path for path in map(Path, names) if path.is_relative_to("/proc") and path.exists()]


def _child(prepare: Callable[[], None], kinds: int = 0) -> int:
    """Fork a process, in new namespaces of these kinds, that prepares itself and then only lives; returns its pid once
    it has. Raises OSError.

    It ignores SIGCHLD, so the kernel reaps the orphans that it inherits as the first process of a PID namespace.
    """
    told, telling = os.pipe2(os.O_CLOEXEC)
    pid = _fork(kinds)
    if pid == 0:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            try:
                prepare()
                os.write(telling, _PREPARED)
            except OSError as error:
                os.write(telling, str(error).encode())
                os._exit(1)
            os.closerange(0, os.sysconf("SC_OPEN_MAX"))
            while True:
                signal.pause()
        finally:
            os._exit(1)
    os.close(telling)
    with os.fdopen(told, "rb") as pipe:
        answer = pipe.read()
    if answer != _PREPARED:
        os.waitpid(pid, 0)
        raise OSError(answer.decode() or "a process of the snapshot's own ended without a word")
    return pid


def _fork(kinds: int) -> int:
    """`os.fork` into new namespaces. unshare(2) would not do: there is no way back without power over the old ones."""
    api = ctypes.pythonapi
    api.PyOS_BeforeFork()
    pid = int(api.syscall(CLONE, ctypes.c_ulong(kinds | signal.SIGCHLD), 0, 0, 0, 0))
    if pid == 0:
        api.PyOS_AfterFork_Child()
        return 0
    api.PyOS_AfterFork_Parent()
    _check(min(pid, 0))
    return pid


def _unshare(kinds: int) -> None:
    _check(_libc.unshare(kinds))


def _setns(fd: int, kinds: int) -> None:
    _check(_libc.setns(fd, kinds))


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    what = [os.fsencode(name) or None for name in (source, target, kind)]
    _check(_libc.mount(*what, ctypes.c_ulong(flags), None), target)


def _move_mount(fd: int, target: str) -> None:
    to, flags = ctypes.c_char_p(os.fsencode(target)), ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH)
    _check(_libc.syscall(_MOVE_MOUNT, fd, ctypes.c_char_p(b""), _HERE, to, flags), target)


def _check(result: int, what: str = "") -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what or None)
