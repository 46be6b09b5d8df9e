"""Threads below Python, which a fork leaves behind: of OpenMP, of BLAS, of an inference engine.

A pool that knows how to start again is ended before the snapshot and starts again where it is next used. GNU's OpenMP
(libgomp) would wait for ever for the threads it once had, but ends them when it is asked to (OpenMP 5.0,
`omp_pause_resource_all`); OpenBLAS and others end theirs when their process forks (pthread_atfork(3)).
"""

import contextlib
import ctypes
import os
import re

_OPENMP = re.compile(r"lib(gomp|i?omp5?)\b")
_OMP_PAUSE_HARD = 2


def alive():
    """The kernel's ids of this process's threads; none where there is no /proc."""
    try:
        return {int(thread) for thread in os.listdir("/proc/self/task")}
    except OSError:
        return set()


def settle():
    """End what can start again; what is `alive` afterwards, a fork loses."""
    if len(alive()) < 2:
        return
    for path in _loaded(_OPENMP):
        with contextlib.suppress(OSError, AttributeError):  # a copy in memory only, or from before OpenMP 5.0
            ctypes.CDLL(path, os.RTLD_NOLOAD | os.RTLD_NOW).omp_pause_resource_all(_OMP_PAUSE_HARD)
    trial = os.fork()
    if trial == 0:
        os._exit(0)
    with contextlib.suppress(ChildProcessError):  # the function's own code waits for children, too
        os.waitpid(trial, 0)


def _loaded(name):
    """Paths of the shared libraries in this process whose file is called so."""
    with open("/proc/self/maps") as maps:
        paths = {line.rstrip("\n").split(None, 5)[5] for line in maps if line.count("/")}
    return sorted(path for path in paths if name.match(os.path.basename(path)))
