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
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_RDONLY, _MS_REMOUNT = 2, 4, 8, 1, 0x20
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1
_SLEEP = "/bin/sleep"
_MADV_POPULATE_WRITE = 23  # Linux 5.14
_loaded = None
_environments = None  # (path, descriptor): where all environments' directories are, for a template
_NOFILE = 1024  # AWS's limit on file descriptors (Lambda quotas)
TASK_ROOT, RUNTIME_DIR = "/var/task", "/var/runtime"  # where AWS has the function's code and the runtime


def isolate(tmp, keep, layers=(), task="", runtime="", template=False):
    """Limit descriptors, die with the server, and put `tmp` at /tmp in a mount namespace of our own. A `template` keeps
    what it needs to do the same for its children.

    `keep` are directories below /tmp that must stay reachable (code, interpreter), `layers` what /opt
    shows, the first winning, `task` and `runtime` what /var/task and /var/runtime show, read-only. Returns whether
    /tmp, /opt and /var/task are our own; where the machine does not allow it the caller falls back to TMPDIR and to
    the directories' own paths.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _NOFILE if hard == resource.RLIM_INFINITY else min(_NOFILE, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        return False, False, False
    libc = _libc()
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        _own_mounts(libc)
    except OSError:
        return False, False, False
    own_opt, own_task = _mount_opt(libc, layers), _mount_var(libc, task, runtime)
    if template:
        global _environments
        root = os.path.dirname(os.path.dirname(tmp))
        _environments = root, os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return mount_tmp(tmp, keep), own_opt, own_task


def shown(path, task):
    """`path` as it is called once `task` is at /var/task."""
    return TASK_ROOT + path[len(task) :] if (path + "/").startswith(task + "/") else path


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


def name_sandbox():
    """Let `sandbox.localdomain` be this environment, as extensions call it; after `isolate` has put a /tmp there.
    Where it cannot be, 127.0.0.1 still can."""
    path = "/tmp/.preheat-hosts"
    try:
        with open("/etc/hosts") as file:
            hosts = file.read()
        with open(path, "w") as file:
            file.write(hosts + "\n127.0.0.1 sandbox.localdomain sandbox\n")
        _mount(_libc(), path, "/etc/hosts", _MS_BIND)
        os.unlink(path)
    except OSError:
        return


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
        except OSError:  # not root here: children share the machine's PID namespace
            if self._home >= 0:
                os.close(self._home)

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
    """In a forked child: mount, IPC and UTS namespaces of its own, and its own /proc if its pids are. The working
    directory is then that of all environments, which the template's /tmp may hide: from there `own_path` is found."""
    if not sys.platform.startswith("linux"):
        return False
    libc = _libc()
    try:
        if _environments is not None:
            os.fchdir(_environments[1])  # a new mount namespace takes the working directory along, and no descriptor
            os.close(_environments[1])
        _check(libc.unshare(_CLONE_NEWNS | _CLONE_NEWIPC | _CLONE_NEWUTS))
        _mount(libc, "none", "/", _MS_REC | _MS_PRIVATE)
        if own_pids:
            _check(libc.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(0), None))
    except OSError:
        return False
    return True


def own_path(path):
    """A path below the directory of all environments, after `own_namespaces`."""
    return path if _environments is None else os.path.relpath(path, _environments[0])


def mount_tmp(tmp, keep):
    """Put `tmp` at /tmp; False where that is not allowed."""
    try:
        _mount_tmp(_libc(), tmp, keep)
    except OSError:
        return False
    return True


def copy_pages(address, length):
    """As writing to them would, but nothing is written. No harm where nothing is mapped, or the kernel cannot."""
    _libc().madvise(ctypes.c_void_p(address), ctypes.c_size_t(length), _MADV_POPULATE_WRITE)


def _libc():
    """Loaded once: a forked child would pay for it in copied pages."""
    global _loaded
    if _loaded is None:
        _loaded = ctypes.CDLL(None, use_errno=True)
    return _loaded


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


def _mount_var(libc, task, runtime):
    """A /var of our own: the machine's entries, each where it was, and beside them the function's code and the runtime.

    Nothing is made on the machine's file system: the new /var lies in memory, and ends with the namespace. The working
    directory stays the machine's /var until all of it is in place.
    """
    if not task:
        return False
    home = os.getcwd()
    try:
        os.chdir("/var")
        _check(libc.mount(b"var", b"/var", b"tmpfs", ctypes.c_ulong(_MS_NOSUID | _MS_NODEV), b"mode=755"))
    except OSError:
        os.chdir(home)
        return False
    try:
        _show_entries(libc)
        for source, target in ((task, TASK_ROOT), (runtime, RUNTIME_DIR)):
            os.mkdir(target)
            if source:
                _mount(libc, source, target, _MS_BIND | _MS_REC)
                _read_only(libc, target)
        _read_only(libc, "/var")
    except OSError:
        libc.umount2(b"/var", _MNT_DETACH)
        os.chdir(home)
        return False
    os.chdir(shown(home, task))
    return True


def _show_entries(libc):
    """Those of the working directory, in the new /var."""
    with os.scandir(".") as entries:
        for entry in entries:
            target = "/var/" + entry.name
            if target in (TASK_ROOT, RUNTIME_DIR):
                continue
            if entry.is_symlink():
                os.symlink(os.readlink(entry.name), target)
            elif entry.is_dir():
                os.mkdir(target)
                _mount(libc, entry.name, target, _MS_BIND | _MS_REC)


def _read_only(libc, target):
    """In a user namespace what forbids set-user-id, devices and programs must stay (mount_namespaces(7))."""
    kept = os.statvfs(target).f_flag & (_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)  # ST_ and MS_ have the same values
    _mount(libc, "none", target, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | kept)


def _mount(libc, source, target, flags):
    _check(libc.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flags), None))


def _check(result):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
