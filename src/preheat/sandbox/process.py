"""The `process` sandbox: a plain child process, for trusted code, needing no privilege.

Each environment has its own /tmp (a mount namespace where the machine allows one, else TMPDIR), its own
environment variables and rlimits, and dies with all its children. Memory and pids are capped by cgroups
where those are writable.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import preheat
from preheat.kernel.interpreters import interpreter
from preheat.kernel.runtimes import is_custom
from preheat.sandbox.cgroup import Cgroup, CgroupParent, hierarchies
from preheat.sandbox.protocol import Companions, Launch, OnExit
from preheat.sandbox.runtimes import Runtimes
from preheat.sandbox.soon import remove_tree, until_done

log = logging.getLogger(__name__)

_GUEST = Path(preheat.__file__).parent / "guest"
_NO_RUNTIME = Path("/var/runtime")
"""LAMBDA_RUNTIME_DIR of a custom runtime, where nothing is."""
MARK = "_PREHEAT_TMP"
"""In every environment's first process: names its /tmp, and so finds what a dead server left behind."""


class ProcessFactory:
    """Makes process sandboxes whose files lie below `root`."""

    name = "process"

    def __init__(self, root: Path, runtimes: Runtimes) -> None:
        self.root = root.absolute()
        self.runtimes = runtimes
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        self.cgroups = CgroupParent(f"preheat-{digest}", guarded=True)

    def create(self, environment: str) -> ProcessSandbox:
        return ProcessSandbox(self, environment)

    def limits(self) -> list[str]:
        found = []
        if not hierarchies():
            found.append("memory, process counts and CPU share are not limited: no writable cgroup")
        if not sys.platform.startswith("linux"):
            found.append("/tmp is shared: functions get their own directory through TMPDIR only")
        return found

    def reap(self) -> int:
        """Everything below our root belongs to environments of an earlier server: none of them is ours."""
        killed = 0
        for group in self.cgroups.left_over():
            killed += group.kill()
            group.remove()
        killed += kill_marked(str(self.root))
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True, exist_ok=True)
        return killed

    def close(self) -> None:
        self.cgroups.remove()


class ProcessSandbox:
    """One environment's place: a directory, a cgroup, at most one process tree."""

    origin = "init"
    output_pipe: str | None = ""
    refusal = ""

    def __init__(self, factory: ProcessFactory, environment: str) -> None:
        self._factory = factory
        self._directory = factory.root / environment
        self.tmp = self._directory / "tmp"
        self.tmp.mkdir(parents=True, exist_ok=True)
        self.tmp.chmod(0o1777)
        self._cgroup: Cgroup | None = None
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._oom_seen = 0
        self._supervised = False

    def launch(self, launch: Launch, on_exit: OnExit) -> None:
        command = interpreter(launch.runtime)
        runtime_dir = self._runtime_dir(launch.runtime)
        environ = {
            **launch.environ,
            "LAMBDA_TASK_ROOT": launch.code_dir,
            "LAMBDA_RUNTIME_DIR": str(runtime_dir),
            "_LAMBDA_TELEMETRY_LOG_FD": str(launch.output_fd),
            "_PREHEAT_TASK": _task(launch),
            "_PREHEAT_KEEP": os.pathsep.join(self.kept(launch)),
            "_PREHEAT_LAYERS": os.pathsep.join(launch.layer_dirs),
            MARK: str(self.tmp),
        }
        descriptors = [launch.output_fd]
        if launch.channel_fd is not None:
            environ["_PREHEAT_CHANNEL_FD"] = str(launch.channel_fd)
            descriptors.append(launch.channel_fd)
        if launch.control_fd is not None:
            environ["_PREHEAT_CONTROL_FD"] = str(launch.control_fd)
            descriptors.append(launch.control_fd)
        if is_custom(launch.runtime):
            environ["_PREHEAT_CUSTOM"] = "1"
        if launch.companions is not None:
            environ |= _companion_variables(launch.companions)
            descriptors += [launch.companions.control_fd, launch.companions.output_fd]
        self._supervised = launch.companions is not None
        if self._cgroup is None and self._factory.cgroups.paths:
            self._cgroup = self._factory.cgroups.child(self._environment, launch.memory_mb)
        process = subprocess.Popen(
            [str(command), "-S", str(_GUEST)],
            env=environ,
            cwd=launch.code_dir,
            stdin=subprocess.DEVNULL,
            stdout=launch.output_fd,
            stderr=launch.output_fd,
            pass_fds=descriptors,
            start_new_session=True,
        )
        if self._cgroup is not None:
            self._cgroup.add(process.pid)
        self._process = process
        _watch(process, on_exit)

    def unlimit(self) -> None:
        if self._cgroup is not None:
            self._cgroup.unlimit()

    def kept(self, launch: Launch) -> list[str]:
        """What of this launch lies below /tmp and must stay reachable under the environment's own /tmp."""
        read = [Path(path) for path in (launch.code_dir, *launch.layer_dirs)]
        read += [Path(launch.image.root)] if launch.image is not None else []
        return _below_tmp(interpreter(launch.runtime), self._runtime_dir(launch.runtime), *read)

    def _runtime_dir(self, runtime: str) -> Path:
        return _NO_RUNTIME if is_custom(runtime) else self._factory.runtimes.directory(runtime)

    def kill(self) -> None:
        process = self._process
        if process is None:
            return
        self._process = None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if self._cgroup is not None:
            self._cgroup.kill()
        else:
            kill_marked(str(self.tmp))

    def destroy(self) -> None:
        self.kill()
        until_done(lambda: remove_tree(self._directory))
        if self._cgroup is not None:
            until_done(self._cgroup.remove)

    def limit_cpu(self, share: float | None) -> None:
        if self._cgroup is not None:
            self._cgroup.limit_cpu(share)

    def freeze(self) -> None:
        self._stop_or_go(signal.SIGSTOP, Cgroup.freeze)

    def thaw(self) -> None:
        self._stop_or_go(signal.SIGCONT, Cgroup.thaw)

    def _stop_or_go(self, number: signal.Signals, by_cgroup: Callable[[Cgroup], bool]) -> None:
        """By the cgroup where there is one, else by a signal to the runtime's process group."""
        if self._process is None or (self._cgroup is not None and by_cgroup(self._cgroup)):
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def peak_memory_mb(self) -> int:
        if self._process is not None:
            pids = _children(self._process.pid) if self._supervised else [self._process.pid]
            if peak := sum(map(peak_of, pids)):
                return peak
        # it has ended: its group's, files that it has read included
        return self._cgroup.peak_memory_mb() if self._cgroup is not None else 0

    def out_of_memory(self) -> bool:
        """Since the last time this was asked."""
        kills = self._cgroup.oom_kills() if self._cgroup is not None else 0
        seen, self._oom_seen = self._oom_seen, kills
        return kills > seen


def _task(launch: Launch) -> str:
    """What /var/task shows: an image's working directory may lie elsewhere."""
    return launch.code_dir if launch.image is None else f"{launch.image.root}/var/task"


def peak_of(pid: int) -> int:
    """A process's peak resident memory in MB (VmHWM); 0 where it cannot be known."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return -(-int(status.split("VmHWM:")[1].split()[0]) // 1024)
    except (OSError, IndexError, ValueError):
        return 0


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _companion_variables(companions: Companions) -> dict[str, str]:
    return {
        "_PREHEAT_SUPERVISOR_FD": str(companions.control_fd),
        "_PREHEAT_EXTENSIONS_FD": str(companions.output_fd),
        "_PREHEAT_EXTENSIONS": os.pathsep.join(companions.paths),
    }


def _below_tmp(command: Path, runtime_dir: Path, *code_dirs: Path) -> list[str]:
    """What a runtime reads that lies below /tmp and would vanish under the environment's own /tmp."""
    needed = [*code_dirs, runtime_dir, _GUEST, command.parent.parent, command.resolve().parent.parent]
    if runtime_dir.is_dir():
        needed += [link.resolve().parent for link in runtime_dir.iterdir() if link.is_symlink()]
    tmp = Path("/tmp")
    below = sorted({path for path in map(Path.absolute, needed) if tmp in path.parents})
    return [str(path) for path in below if not any(other in path.parents for other in below)]


def _watch(process: subprocess.Popen[bytes], on_exit: OnExit) -> None:
    """Call `on_exit` in the running loop when the process has ended, and reap it."""
    loop = asyncio.get_running_loop()
    try:
        pidfd = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not Linux, or a kernel before 5.3

        def wait() -> None:
            code = process.wait()
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(on_exit, code)

        threading.Thread(target=wait, daemon=True).start()
        return

    def exited() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        on_exit(process.wait())

    loop.add_reader(pidfd, exited)


def kill_marked(prefix: str) -> int:
    """Kill every process whose environment names a /tmp below `prefix`, until none is found.

    For machines without cgroups, and for orphans: a daemon that left its session keeps the environment
    it was started with (/proc/<pid>/environ).
    """
    wanted = f"{MARK}={prefix}".encode()
    killed = 0
    for _ in range(20):
        found = [pid for pid in _pids() if wanted in _environ(pid)]
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        if not found:
            break
    return killed


def _pids() -> list[int]:
    proc = Path("/proc")
    return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()] if proc.is_dir() else []


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
