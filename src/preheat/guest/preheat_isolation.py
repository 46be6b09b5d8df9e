"""What an environment takes away from itself before any user code runs."""

import ctypes
import os
import resource
import signal
import sys

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1
_SLEEP = "/bin/sleep"
_NOFILE = 1024  # AWS's limit on file descriptors (Lambda quotas)


def isolate(tmp, keep, layers=()):
    """Limit descriptors, die with the server, and put `tmp` at /tmp in a mount namespace of our own.

    `keep` are directories below /tmp that must stay reachable (code, interpreter), `layers` what /opt
    shows, the first winning. Returns whether /tmp and whether /opt are our own; where the machine does not
    allow it the caller falls back to TMPDIR and to the layers' own paths.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _NOFILE if hard == resource.RLIM_INFINITY else min(_NOFILE, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        return False, False
    libc = _libc()
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        _own_mounts(libc)
        own_opt = _mount_opt(libc, layers)
        _mount_tmp(libc, tmp, keep)
    except OSError:
        return False, False
    return True, own_opt


def _own_mounts(libc):
    if os.geteuid() == 0:
        _check(libc.unshare(_CLONE_NEWNS))
    else:
        uid, gid = os.geteuid(), os.getegid()
        _check(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS))
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open("/proc/self/" + name, "w") as file:
                file.write(text)
    _mount(libc, "none", "/", _MS_REC | _MS_PRIVATE)


class PidNamespaces:
    """Forks children into PID namespaces of their own, where the machine allows it.

    unshare(CLONE_NEWPID) moves only the next child; without the way back (setns) later forks would fail
    once that child has ended.
    """

    def __init__(self):
        self.active = False
        self._home = -1
        self._own_pid = os.getpid()
        if not sys.platform.startswith("linux") or not os.access(_SLEEP, os.X_OK):
            return
        self._libc = _libc()
        try:
            self._home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
            _check(self._libc.setns(self._home, _CLONE_NEWPID))
            self.active = True
        except OSError:
            pass  # not root here: children share the machine's PID namespace

    def fork(self):
        """(pid, pid of the namespace's init or 0); pid is 0 in the child.

        A namespace's first process is deaf to its own signals and its death ends the others: a handler must
        not be it. `sleep` is, spawned without copying our page tables, and in a process group of its own: what
        ends the template's leaves its children alone.
        """
        if not self.active:
            return os.fork(), 0
        _check(self._libc.unshare(_CLONE_NEWPID))
        try:
            devnull = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
            init = os.posix_spawn(_SLEEP, [_SLEEP, "infinity"], {}, file_actions=devnull, setpgroup=0)
            pid = os.fork()
            if pid == 0:
                os.close(self._home)
                return 0, 0
        finally:
            if os.getpid() == self._own_pid:
                _check(self._libc.setns(self._home, _CLONE_NEWPID))
        return pid, init


def own_namespaces(own_pids):
    """In a forked child: mount, IPC and UTS namespaces of its own, and its own /proc if its pids are."""
    if not sys.platform.startswith("linux"):
        return False
    libc = _libc()
    try:
        _check(libc.unshare(_CLONE_NEWNS | _CLONE_NEWIPC | _CLONE_NEWUTS))
        _mount(libc, "none", "/", _MS_REC | _MS_PRIVATE)
        if own_pids:
            _check(libc.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(0), None))
    except OSError:
        return False
    return True


def mount_tmp(tmp, keep):
    """Put `tmp` at /tmp; False where that is not allowed."""
    try:
        _mount_tmp(_libc(), tmp, keep)
    except OSError:
        return False
    return True


def _libc():
    return ctypes.CDLL(None, use_errno=True)


def _mount_tmp(libc, tmp, keep):
    for path in keep:
        target = os.path.join(tmp, os.path.relpath(path, "/tmp"))
        os.makedirs(target, exist_ok=True)
        _mount(libc, path, target, _MS_BIND | _MS_REC)
    _mount(libc, tmp, "/tmp", _MS_BIND | _MS_REC)


def _mount_opt(libc, layers):
    try:
        if len(layers) == 1:
            _mount(libc, layers[0], "/opt", _MS_BIND)
        elif layers:
            options = os.fsencode("lowerdir=" + ":".join(layers))
            _check(libc.mount(b"overlay", b"/opt", b"overlay", ctypes.c_ulong(0), options))
    except OSError:
        return False
    return bool(layers)


def _mount(libc, source, target, flags):
    _check(libc.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flags), None))


def _check(result):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
