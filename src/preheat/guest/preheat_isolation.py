"""What an environment takes away from itself before any user code runs."""

import ctypes
import os
import resource
import signal
import sys

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1
_NOFILE = 1024  # AWS's limit on file descriptors (Lambda quotas)


def isolate(tmp, keep):
    """Limit descriptors, die with the server, and put `tmp` at /tmp in a mount namespace of our own.

    `keep` are directories below /tmp that must stay reachable (code, interpreter). True if /tmp is our
    own; False where the machine does not allow it: the caller then falls back to TMPDIR.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _NOFILE if hard == resource.RLIM_INFINITY else min(_NOFILE, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        _own_mounts(libc)
        _mount_tmp(libc, tmp, keep)
    except OSError:
        return False
    return True


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


def _mount_tmp(libc, tmp, keep):
    for path in keep:
        target = os.path.join(tmp, os.path.relpath(path, "/tmp"))
        os.makedirs(target, exist_ok=True)
        _mount(libc, path, target, _MS_BIND | _MS_REC)
    _mount(libc, tmp, "/tmp", _MS_BIND | _MS_REC)


def _mount(libc, source, target, flags):
    _check(libc.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flags), None))


def _check(result):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
