"""Files of init that an environment has to itself, as after a snapshot of memory and disk (AWS, "SnapStart"): what init
has put into /tmp, and where in an open file the next read or write is. A fork has the one not and shares the other."""

import contextlib
import fcntl
import os
import stat

_KEPT_FLAGS = os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK
_TMP = "/tmp/"


class Files:
    """Looked for at the snapshot; then, in each child, `copy_tmp` while it still sees the template's, and `reopen`."""

    def __init__(self, own_tmp):
        """`own_tmp`: /tmp is the template's and not the machine's."""
        self._opened = list(_opened())
        self._in_tmp = os.listdir(_TMP) if own_tmp else []

    def copy_tmp(self, target, keep):
        """To a directory that will be the child's /tmp; `keep` lies below /tmp, and is mounted there instead."""
        mounted = {path[len(_TMP) :].partition("/")[0] for path in keep}
        names = [_TMP + name for name in self._in_tmp if name not in mounted]
        if names:
            os.makedirs(target, exist_ok=True)
            with contextlib.suppress(OSError):  # no cp on this machine
                os.waitpid(os.posix_spawnp("cp", ["cp", "-a", "--", *names, target], os.environ), 0)

    def reopen(self):
        """Under the same numbers, at the same places; what lies in /tmp in the child's own."""
        for fd, path in self._opened:
            with contextlib.suppress(OSError):  # such as of a file that may not be opened again: it stays shared
                flags = fcntl.fcntl(fd, fcntl.F_GETFL) & _KEPT_FLAGS
                own = os.open(path if path.startswith(_TMP) else "/proc/self/fd/%d" % fd, flags | os.O_CLOEXEC)
                os.lseek(own, os.lseek(fd, 0, os.SEEK_CUR), os.SEEK_SET)
                os.dup2(own, fd, inheritable=os.get_inheritable(fd))
                os.close(own)


def _opened():
    """(descriptor, path) of the regular files that are open."""
    try:
        numbers = sorted(map(int, os.listdir("/proc/self/fd")))
    except OSError:
        return
    for fd in numbers:
        with contextlib.suppress(OSError):  # the listing's own
            if stat.S_ISREG(os.fstat(fd).st_mode):
                yield fd, os.readlink("/proc/self/fd/%d" % fd)
